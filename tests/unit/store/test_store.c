// The store from outside: append, scan, reopen, flush, repeated requests, retention, trimming of the log.
#include "base/clock.h"
#include "base/limits.h"
#include "util.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { MANY = 100000 };
static unsigned seen[MANY];

// Lines [0, n) once each, nothing else.
static void expect_lines(struct store *s, unsigned n)
{
    uint64_t rows = count_lines(s, seen, MANY);
    for (unsigned i = 0; i < n; i++)
        if (seen[i] != 1)
            fail_msg("line %u is there %u times", i, seen[i]);
    assert_int_equal(rows, n);
}

static void survives_every_way_of_ending(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool flush_before, close;
    } row[] = {{"flush on close", false, true}, {"flush, then more, then close", true, true}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char *dir = temp_dir();
        struct store *s = open_store(dir);
        expect_lines(s, 0);
        OK(append_lines(s, 1, 0, 10));
        OK(append_lines(s, 2, 10, 1000));
        expect_lines(s, 1010);
        if (row[i].flush_before)
            OK(store_flush(s, NULL));
        expect_lines(s, 1010);
        OK(append_lines(s, 1, 1010, 1));
        store_close(s);
        s = open_store(dir);
        expect_lines(s, 1011);
        struct store_stats st;
        store_stats(s, &st);
        assert_int_equal(st.rows_head, 0);
        assert_int_equal(st.rows_parts, 1011);
        assert_int_equal(st.replayed_requests, 0);
        OK(append_lines(s, 1, 1011, 5));
        expect_lines(s, 1016);
        store_close(s);
        temp_remove(dir);
    }
}

// The directory as it stands while the store is open (what SIGKILL leaves), copied aside.
static char *copy_of(const char *dir)
{
    char *to = temp_dir(), cmd[600];
    snprintf(cmd, sizeof cmd, "cp -r %s/. %s/", dir, to);
    assert_int_equal(system(cmd), 0);
    return to;
}

static void replays_what_no_part_covers(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    OK(append_lines(s, 1, 0, 100));
    OK(store_flush(s, NULL));
    OK(append_lines(s, 1, 100, 50));
    OK(append_lines(s, 3, 150, 50));
    char *copy = copy_of(dir);
    struct store *t = open_store(copy);
    struct store_stats st;
    store_stats(t, &st);
    assert_int_equal(st.replayed_requests, 2);
    assert_int_equal(st.rows_head, 100);
    assert_int_equal(st.rows_parts, 100);
    expect_lines(t, 200);
    store_close(t);
    t = open_store(copy);
    expect_lines(t, 200);
    store_close(t);
    store_close(s);
    temp_remove(copy);
    temp_remove(dir);
}

static void a_repeated_request_counts_once(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    OK(append_lines(s, 1, 0, 100));
    OK(append_lines(s, 1, 0, 100)); // wholly repeated
    expect_lines(s, 100);
    OK(append_lines(s, 1, 50, 100)); // in part
    expect_lines(s, 150);
    OK(store_flush(s, NULL));
    OK(append_lines(s, 1, 100, 60)); // after a flush: 150 … 159 are new
    expect_lines(s, 160);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.duplicate_rows, 100 + 50 + 50);
    assert_int_equal(st.appended_rows, 160);
    char *copy = copy_of(dir);
    struct store *t = open_store(copy); // as after SIGKILL
    expect_lines(t, 160);
    OK(append_lines(t, 1, 0, 160)); // covered ones and replayed ones are both known
    expect_lines(t, 160);
    store_close(t);
    t = open_store(copy);
    OK(append_lines(t, 1, 155, 10));
    expect_lines(t, 165);
    store_close(t);
    store_close(s);
    temp_remove(copy);
    temp_remove(dir);
}

static void equal_lines_are_one_within_a_request_and_between_two(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    struct slice twice = SLICE("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"5\",\"x\"],[\"5\",\"x\"]]}]}");
    struct scan_request q = all_logs();
    OK(append_raw(s, SLICE_NONE, WIRE_LOKI_JSON, twice));
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 1);
    OK(append_raw(s, SLICE_NONE, WIRE_LOKI_JSON, twice));
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 1);
    store_close(s);
    temp_remove(dir);
}

static void a_span_of_the_same_ids_is_the_same_span(void **state)
{
    (void)state;
#define SPAN                                                                                                                   \
    "{\"traceId\":\"0102030405060708090a0b0c0d0e0f10\",\"spanId\":\"0102030405060708\",\"name\":\"op\",\"startTimeUnixNano\":" \
    "\"1000\",\"endTimeUnixNano\":\"5000\"}"
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    struct slice twice = SLICE("{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" SPAN "," SPAN "]}]}]}");
    struct scan_request q = all_logs();
    q.signal = SIGNAL_SPAN;
    for (int i = 0; i < 2; i++) {
        OK(append_raw(s, SLICE_NONE, WIRE_OTLP_TRACES_JSON, twice));
        assert_int_equal(scan_rows(s, &q, NULL, NULL), 1);
    }
    store_close(s);
    temp_remove(dir);
}

static void tenants_do_not_see_each_other(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    struct slice req = SLICE("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"5\",\"x\"]]}]}");
    static const char *const name[] = {"", "one", "two", "a/b", "\xc3\xa9"};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
            struct scan_request q = all_logs();
            q.tenant = slice_str(name[i]);
            OK(append_raw(s, q.tenant, WIRE_LOKI_JSON, req));
            assert_int_equal(scan_rows(s, &q, NULL, NULL), 1);
        }
        struct scan_request q = all_logs();
        q.tenant = SLICE("nobody");
        assert_int_equal(scan_rows(s, &q, NULL, NULL), 0);
        store_close(s);
        s = open_store(dir);
    }
    store_close(s);
    temp_remove(dir);
}

static void one_row_requests_do_not_stay_single(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    for (unsigned i = 0; i < 3000; i++) {
        struct buf b;
        buf_init(&b, KIB(64));
        push_text(&b, (int)(i % 3), i, 1);
        struct wire_options opt = {.received_ns = T0, .discover_service = true};
        struct wire_report report = {0};
        struct batch *batch;
        OK(wire_decode(WIRE_LOKI_JSON, buf_slice(&b), true, &opt, &batch, &report, &e_));
        OK(store_append(s, SLICE_NONE, WIRE_LOKI_JSON, buf_slice(&b), T0, batch, NULL, NULL, &e_));
        buf_free(&b);
    }
    OK(append_lines(s, 0, 3000, 1)); // in order: when this is committed, all are
    expect_lines(s, 3001);
    struct table *t = table_find(s, SLICE_NONE, SIGNAL_LOG);
    pthread_mutex_lock(&t->lock);
    uint32_t batches = t->head.n;
    pthread_mutex_unlock(&t->lock);
    assert_true(batches < 60);
    char *copy = copy_of(dir);
    store_close(s);
    s = open_store(copy);
    expect_lines(s, 3001);
    store_close(s);
    temp_remove(copy);
    temp_remove(dir);
}

static void small_heads(struct store_options *o)
{
    o->head_max_bytes = KIB(64);
    o->wal_segment_bytes = o->wal_keep_bytes = KIB(32);
}

static void flushes_by_size_and_trims_the_log(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_with(dir, small_heads);
    for (unsigned i = 0; i < 60; i++)
        OK(append_lines(s, 1, i * 200, 200));
    struct store_stats st;
    for (int i = 0; i < 600; i++) { // the worker does it soon
        store_stats(s, &st);
        if (st.rows_parts > 6000)
            break;
        usleep(50000);
    }
    assert_true(st.rows_parts > 6000);
    OK(store_flush(s, NULL));
    store_stats(s, &st);
    assert_true(st.wal_segments <= 4); // 60 requests filled about 12
    assert_int_equal(st.rows_head, 0);
    expect_lines(s, 12000);
    store_close(s);
    s = open_with(dir, small_heads);
    expect_lines(s, 12000);
    store_close(s);
    temp_remove(dir);
}

// Many small parts become few; a merge that was killed before it removed the old parts leaves each row once.
static void small_parts_are_merged(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    for (unsigned i = 0; i < 7; i++) {
        OK(append_lines(s, (int)(i % 3), i * 100, 100));
        OK(store_flush(s, NULL));
    }
    char *old = copy_of(dir); // of the parts before the merge
    for (unsigned i = 7; i < 20; i++) {
        OK(append_lines(s, (int)(i % 3), i * 100, 100));
        OK(store_flush(s, NULL));
    }
    struct store_stats st = {.parts = 20};
    for (int i = 0; i < 1500 && st.parts > 7; i++) {
        worker_wake(s);
        usleep(20000);
        store_stats(s, &st);
    }
    assert_true(st.parts <= 7);
    assert_int_equal(st.rows_parts, 2000);
    expect_lines(s, 2000);
    store_close(s);
    char cmd[600];
    snprintf(cmd, sizeof cmd, "cp -rn %s/parts/. %s/parts/", old, dir);
    assert_int_equal(system(cmd), 0);
    s = open_store(dir);
    expect_lines(s, 2000);
    store_stats(s, &st);
    assert_true(st.parts <= 7);
    store_close(s);
    s = open_store(dir);
    expect_lines(s, 2000);
    store_close(s);
    temp_remove(old);
    temp_remove(dir);
}

static void young_heads(struct store_options *o)
{
    o->head_max_age_ns = 1;
}

static void flushes_by_age(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_with(dir, young_heads);
    OK(append_lines(s, 1, 0, 10));
    struct store_stats st = {0};
    for (int i = 0; i < 600 && !st.parts; i++) {
        usleep(50000);
        store_stats(s, &st);
    }
    assert_int_equal(st.parts, 1);
    expect_lines(s, 10);
    store_close(s);
    temp_remove(dir);
}

static void keep_one_hour(struct store_options *o)
{
    o->retention_ns = 3600ll * 1000000000;
}

static void removes_what_is_past_retention(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_with(dir, keep_one_hour);
    char text[200];
    snprintf(text, sizeof text, "{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"%lld\",\"now\"]]}]}",
             (long long)clock_wall_ns());
    struct scan_request q = all_logs();
    OK(append_lines(s, 1, 0, 10)); // of 2023
    OK(store_flush(s, NULL));
    OK(append_raw(s, SLICE_NONE, WIRE_LOKI_JSON, slice_str(text)));
    OK(store_flush(s, NULL));
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 1);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.parts, 1);
    store_close(s);
    s = open_with(dir, keep_one_hour);
    OK(store_flush(s, NULL)); // the log may still have had the old rows
    assert_int_equal(scan_rows(s, &q, NULL, NULL), 1);
    store_close(s);
    temp_remove(dir);
}

static void one_process_has_the_directory(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct store *s = open_store(dir), *t;
    struct store_options o;
    struct error err = {0};
    store_options_default(&o);
    o.dir = dir;
    assert_int_equal(store_open(&t, &o, &err), ERR_DENIED);
    assert_null(t);
    assert_non_null(strstr(err.msg, dir));
    store_close(s);
    s = open_store(dir);
    store_close(s);
    temp_remove(dir);
}

static void refuses_what_cannot_be_stored(void **state)
{
    (void)state;
    char *dir = temp_dir(), name[MAX_TENANT + 1];
    struct store *s = open_store(dir);
    memset(name, 't', sizeof name);
    assert_int_equal(append_raw(s, slice_of(name, sizeof name), WIRE_LOKI_JSON, SLICE("{\"streams\":[]}")), ERR_LIMIT);
    OK(append_raw(s, slice_of(name, MAX_TENANT), WIRE_LOKI_JSON, SLICE("{\"streams\":[]}"))); // no rows: nothing to store
    store_close(s);
    temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_every_way_of_ending),
        cmocka_unit_test(replays_what_no_part_covers),
        cmocka_unit_test(a_repeated_request_counts_once),
        cmocka_unit_test(equal_lines_are_one_within_a_request_and_between_two),
        cmocka_unit_test(a_span_of_the_same_ids_is_the_same_span),
        cmocka_unit_test(tenants_do_not_see_each_other),
        cmocka_unit_test(one_row_requests_do_not_stay_single),
        cmocka_unit_test(flushes_by_size_and_trims_the_log),
        cmocka_unit_test(small_parts_are_merged),
        cmocka_unit_test(flushes_by_age),
        cmocka_unit_test(removes_what_is_past_retention),
        cmocka_unit_test(one_process_has_the_directory),
        cmocka_unit_test(refuses_what_cannot_be_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
