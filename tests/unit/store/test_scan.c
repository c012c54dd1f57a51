// Scans over the head, over parts and over both: typed columns, sparse columns, time, resources, trace ids, spans that
// overlap a range, order and bounds, budgets.
#include "base/clock.h"
#include "base/limits.h"
#include "util.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const SPANS =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"front\"}}]},"
    "\"scopeSpans\":[{\"scope\":{\"name\":\"lib\",\"version\":\"2\"},\"spans\":["
    "{\"traceId\":\"0102030405060708090a0b0c0d0e0f10\",\"spanId\":\"0102030405060708\",\"name\":\"root\",\"kind\":2,"
    "\"startTimeUnixNano\":\"1000\",\"endTimeUnixNano\":\"5000\",\"status\":{\"code\":2,\"message\":\"bad\"},"
    "\"attributes\":[{\"key\":\"n\",\"value\":{\"intValue\":\"-7\"}},{\"key\":\"d\",\"value\":{\"doubleValue\":0.5}},"
    "{\"key\":\"yes\",\"value\":{\"boolValue\":true}},{\"key\":\"s\",\"value\":{\"stringValue\":\"text\"}},"
    "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"}]}}}],"
    "\"events\":[{\"timeUnixNano\":\"1500\",\"name\":\"first token\"}]},"
    "{\"traceId\":\"0102030405060708090a0b0c0d0e0f10\",\"spanId\":\"0102030405060709\",\"parentSpanId\":\"0102030405060708\","
    "\"name\":\"child\",\"kind\":1,\"startTimeUnixNano\":\"2000\",\"endTimeUnixNano\":\"2000\","
    "\"attributes\":[{\"key\":\"n\",\"value\":{\"stringValue\":\"seven\"}}]},"
    "{\"traceId\":\"ff02030405060708090a0b0c0d0e0f10\",\"spanId\":\"0a02030405060709\",\"name\":\"other\",\"kind\":1,"
    "\"startTimeUnixNano\":\"9000\",\"endTimeUnixNano\":\"9500\"}]}]}]}";

static struct scan_request all_spans(void)
{
    struct scan_request q = all_logs();
    q.signal = SIGNAL_SPAN;
    return q;
}

static int find_name;
static void check_span(void *arg, const struct batch *b, uint32_t r)
{
    (void)arg;
    struct value v;
    struct slice name = column_str(b->field[FIELD_NAME], r);
    assert_true(slice_eq(resource_label(&b->resources[b->resource[r]], SLICE("service_name")), SLICE("front")));
    assert_non_null(resource_attr(&b->resources[b->resource[r]], SLICE("service.name")));
    assert_true(slice_eq(column_str(b->field[FIELD_SCOPE_NAME], r), SLICE("lib")));
    if (slice_eq(name, SLICE("root"))) {
        find_name |= 1;
        assert_int_equal(b->time[r], 1000);
        assert_int_equal(column_i64(b->field[FIELD_DURATION], r, -1), 4000);
        assert_int_equal(column_i64(b->field[FIELD_STATUS], r, -1), 2);
        assert_int_equal(column_id64(b->field[FIELD_SPAN_ID], r), 0x0102030405060708ull);
        assert_true(column_id128(b->field[FIELD_TRACE_ID], r).hi == 0x0102030405060708ull);
        assert_true(slice_eq(column_str(b->field[FIELD_STATUS_MESSAGE], r), SLICE("bad")));
        assert_true(batch_attr(b, COL_ATTR, SLICE("n"), r, &v) && v.kind == COL_I64 && v.i64 == -7);
        assert_true(batch_attr(b, COL_ATTR, SLICE("d"), r, &v) && v.kind == COL_F64 && v.f64 == 0.5);
        assert_true(batch_attr(b, COL_ATTR, SLICE("yes"), r, &v) && v.kind == COL_BOOL && v.b);
        assert_true(batch_attr(b, COL_ATTR, SLICE("s"), r, &v) && slice_eq(v.s, SLICE("text")));
        assert_true(batch_attr(b, COL_ATTR, SLICE("list"), r, &v) && v.kind == COL_ANY);
        struct slice events = column_str(b->field[FIELD_EVENTS], r);
        struct span_event e;
        assert_true(span_event_next(&events, &e) && e.time == 1500 && slice_eq(e.name, SLICE("first token")));
    } else if (slice_eq(name, SLICE("child"))) {
        find_name |= 2;
        assert_true(batch_attr(b, COL_ATTR, SLICE("n"), r, &v) && v.kind == COL_STR && slice_eq(v.s, SLICE("seven")));
        assert_false(batch_attr(b, COL_ATTR, SLICE("d"), r, &v));
        assert_int_equal(column_id64(b->field[FIELD_PARENT_ID], r), 0x0102030405060708ull);
        assert_int_equal(column_i64(b->field[FIELD_STATUS], r, 0), 0);
    } else {
        find_name |= 4;
        assert_false(batch_attr(b, COL_ATTR, SLICE("n"), r, &v));
    }
}

// Every check is made on the head, then on the part, then on the part after a reopening.
static void in_all_places(struct store *(*fill)(const char *dir), void (*check)(struct store *s))
{
    char *dir = temp_dir();
    struct store *s = fill(dir);
    check(s);
    OK(store_flush(s, NULL));
    check(s);
    store_close(s);
    s = open_store(dir);
    check(s);
    store_close(s);
    temp_remove(dir);
}

static struct store *fill_spans(const char *dir)
{
    struct store *s = open_store(dir);
    OK(append_raw(s, SLICE_NONE, WIRE_OTLP_TRACES_JSON, slice_str(SPANS)));
    return s;
}

static void check_types(struct store *s)
{
    struct scan_request q = all_spans();
    find_name = 0;
    assert_int_equal(scan_rows(s, &q, check_span, NULL), 3);
    assert_int_equal(find_name, 7);
}
static void keeps_every_type(void **state)
{
    (void)state;
    in_all_places(fill_spans, check_types);
}

static void check_ranges(struct store *s)
{
    static const struct {
        int64_t from, to;
        bool overlap;
        uint64_t rows;
    } row[] = {
        {1000, 1001, false, 1}, {1001, 2000, false, 0}, {1001, 2001, false, 1}, {0, 9001, false, 3},
        {0, 9000, false, 2},    {1001, 2000, true, 1},  {5000, 5001, true, 1},  {5001, 9000, true, 0},
        {2000, 2001, true, 2},  {9400, 9500, true, 1},  {9501, 9999, true, 0},  {0, 1000, true, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int newest = 0; newest < 2; newest++) {
            struct scan_request q = all_spans();
            q.from = row[i].from;
            q.to = row[i].to;
            q.overlap = row[i].overlap;
            q.newest_first = newest;
            uint64_t n = scan_rows(s, &q, NULL, NULL);
            if (n != row[i].rows)
                fail_msg("row %zu: %llu rows, not %llu", i, (unsigned long long)n, (unsigned long long)row[i].rows);
        }
}
static void time_ranges_and_overlap(void **state)
{
    (void)state;
    in_all_places(fill_spans, check_ranges);
}

static void check_traces(struct store *s)
{
    struct scan_request q = all_spans();
    q.trace_id = (struct id128){0x0102030405060708ull, 0x090a0b0c0d0e0f10ull};
    assert_int_equal(scan_rows(s, &q, check_span, NULL), 2);
    q.fields = 0; // its column is not wanted, but needed
    q.all_attrs = false;
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 2);
    q.trace_id.lo++;
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 0);
}
static void a_trace_by_its_id(void **state)
{
    (void)state;
    in_all_places(fill_spans, check_traces);
}

static void check_columns(void *arg, const struct batch *b, uint32_t r)
{
    (void)arg, (void)r;
    for (uint32_t i = 0; i < b->n_columns; i++)
        assert_true(b->columns[i].field == FIELD_NAME || slice_eq(b->columns[i].name, SLICE("n")));
    assert_non_null(b->field[FIELD_NAME]);
}
static void reads_only_wanted_columns(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = fill_spans(dir);
    OK(store_flush(s, NULL));
    struct scan_request q = all_spans();
    struct slice names[] = {SLICE("n")};
    q.fields = 1ull << FIELD_NAME;
    q.all_attrs = false;
    q.attrs = names;
    q.n_attrs = 1;
    assert_int_equal(scan_rows(s, &q, check_columns, NULL), 3);
    store_close(s);
    temp_remove(dir);
}

// 20 streams, 40,000 lines: several blocks.
static struct store *fill_streams(const char *dir)
{
    struct store *s = open_store(dir);
    for (unsigned i = 0; i < 20; i++)
        OK(append_lines(s, (int)i, i * 2000, 2000));
    return s;
}
static struct store *fill_streams_in_parts(const char *dir)
{
    struct store *s = open_store(dir);
    for (unsigned i = 0; i < 20; i++) {
        OK(append_lines(s, (int)i, i * 2000, 2000));
        if (i % 5 == 2)
            OK(store_flush(s, NULL));
    }
    return s;
}

static bool match_app(void *arg, const struct resource *r)
{
    return slice_eq(resource_label(r, SLICE("app")), slice_str(arg));
}
static bool match_count(void *arg, const struct resource *r)
{
    (void)r;
    ++*(int *)arg;
    return true;
}

static void check_streams(struct store *s)
{
    static unsigned seen[40000];
    assert_int_equal(count_lines(s, seen, 40000), 40000);
    for (unsigned i = 0; i < 40000; i++)
        assert_int_equal(seen[i], 1);
    for (int newest = 0; newest < 2; newest++) {
        struct scan_request q = all_logs();
        struct budget b = {0};
        char app[] = "app7";
        q.newest_first = newest;
        q.match = match_app;
        q.match_arg = app;
        q.budget = &b;
        assert_int_equal(scan_rows(s, &q, NULL, NULL), 2000);
        assert_true(b.blocks_skipped > 0); // other streams' blocks were not read
        q.from = T0 + 15000ll * LINE_STEP;
        q.to = T0 + 16500ll * LINE_STEP;
        assert_int_equal(scan_rows(s, &q, NULL, NULL), 1000);
        int asked = 0;
        q = all_logs();
        q.newest_first = newest;
        q.match = match_count;
        q.match_arg = &asked;
        assert_int_equal(scan_rows(s, &q, NULL, NULL), 40000);
        assert_int_equal(asked, 20); // once for each resource, not for each batch
    }
}
static void streams_order_and_bounds(void **state)
{
    (void)state;
    in_all_places(fill_streams, check_streams);
    in_all_places(fill_streams_in_parts, check_streams);
}

// Who wants the newest lines stops when the bound says that no newer one comes: few blocks are read, and they hold them.
static void check_newest(struct store *s)
{
    struct scan_request q = all_logs();
    struct budget whole = {0}, b = {0};
    struct scan *scan;
    struct scan_batch sb = {.bound = INT64_MAX};
    q.newest_first = true;
    q.budget = &whole;
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 40000);
    q.budget = &b;
    int64_t wanted = T0 + 39900ll * LINE_STEP; // all rows from here on
    unsigned n = 0;
    OK(store_scan(s, &q, &scan, NULL));
    while (sb.bound >= wanted) {
        OK(scan_next(scan, &sb, NULL));
        assert_non_null(sb.batch);
        for (uint32_t i = 0; i < sb.n_rows; i++)
            n += sb.batch->time[sb.rows[i]] >= wanted;
    }
    scan_close(scan);
    assert_int_equal(n, 100);
    assert_true(b.blocks <= (whole.blocks + 3) / 4);
    assert_int_equal(b.blocks + b.blocks_skipped, whole.blocks);
}
static void the_newest_need_few_blocks(void **state)
{
    (void)state;
    in_all_places(fill_streams_in_parts, check_newest);
}

static void check_resources(struct store *s)
{
    int n = 0;
    OK(store_resources(s, SLICE_NONE, SIGNAL_LOG, INT64_MIN, INT64_MAX, match_count, &n, NULL));
    assert_int_equal(n, 20);
    n = 0;
    OK(store_resources(s, SLICE_NONE, SIGNAL_LOG, T0 + 1999ll * LINE_STEP, T0 + 2001ll * LINE_STEP, match_count, &n, NULL));
    assert_int_equal(n, 2);
    n = 0;
    OK(store_resources(s, SLICE_NONE, SIGNAL_SPAN, INT64_MIN, INT64_MAX, match_count, &n, NULL));
    assert_int_equal(n, 0);
}
static void lists_resources(void **state)
{
    (void)state;
    in_all_places(fill_streams, check_resources);
    in_all_places(fill_streams_in_parts, check_resources);
}

static void budgets_end_a_scan(void **state)
{
    (void)state;
    static const bool yes = true;
    const struct {
        struct budget b;
        enum errc rc;
    } row[] = {{{.max_bytes = 1000}, ERR_LIMIT},
               {{.cancelled = &yes}, ERR_CANCELLED},
               {{.deadline_mono = clock_mono_ns() - 1}, ERR_TIMEOUT},
               {{.max_bytes = 1 << 30, .deadline_mono = clock_mono_ns() + 600000000000ll}, ERR_OK}};
    char *dir = temp_dir();
    struct store *s = fill_streams(dir);
    for (int place = 0; place < 2; place++) {
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            struct scan_request q = all_logs();
            struct budget b = row[i].b;
            struct scan *scan;
            struct scan_batch sb;
            enum errc rc;
            q.budget = &b;
            OK(store_scan(s, &q, &scan, NULL));
            do
                rc = scan_next(scan, &sb, NULL);
            while (rc == ERR_OK && sb.batch);
            assert_int_equal(rc, row[i].rc);
            if (rc == ERR_OK)
                assert_int_equal(b.rows, 40000);
            scan_close(scan);
        }
        OK(store_flush(s, NULL));
    }
    store_close(s);
    temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_type),         cmocka_unit_test(time_ranges_and_overlap),
        cmocka_unit_test(a_trace_by_its_id),        cmocka_unit_test(reads_only_wanted_columns),
        cmocka_unit_test(streams_order_and_bounds), cmocka_unit_test(lists_resources),
        cmocka_unit_test(budgets_end_a_scan),       cmocka_unit_test(the_newest_need_few_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
