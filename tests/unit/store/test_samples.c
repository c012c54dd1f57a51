// Samples through the store: head, part, merge, log; and the bytes of their times and values.
#include "base/limits.h"
#include "base/pb.h"
#include "event/sample.h"
#include "store/part_encode.h"
#include "store/part_rd.h"
#include "util.h"
#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ll

static void put_label(struct buf *b, const char *name, const char *value)
{
    size_t mark = pb_w_begin(b, 1);
    pb_w_bytes(b, 1, slice_str(name));
    pb_w_bytes(b, 2, slice_str(value));
    pb_w_end(b, mark);
}

// A remote write of `series` series, one sample each at T0 + step s; value = series * 1000 + step.
static void write_request(struct buf *b, unsigned series, unsigned step, bool metadata)
{
    for (unsigned s = 0; s < series; s++) {
        char name[20];
        snprintf(name, sizeof name, "m%u", s);
        size_t mark = pb_w_begin(b, 1);
        put_label(b, "__name__", name);
        put_label(b, "job", "j");
        size_t sample = pb_w_begin(b, 2);
        pb_w_double(b, 1, s == 1 ? sample_from_bits(SAMPLE_STALE) : s * 1000.0 + step);
        pb_w_i64(b, 2, T0 / MS + step * 1000ll);
        pb_w_end(b, sample);
        pb_w_end(b, mark);
    }
    size_t mark = metadata ? pb_w_begin(b, 3) : 0;
    if (metadata) {
        pb_w_u64(b, 1, 2);
        pb_w_bytes(b, 2, SLICE("m0"));
        pb_w_end(b, mark);
    }
}

static void append(struct store *s, unsigned series, unsigned step)
{
    struct buf b;
    buf_init(&b, MIB(16));
    write_request(&b, series, step, true);
    OK(append_raw(s, SLICE_NONE, WIRE_WRITE1, buf_slice(&b)));
    buf_free(&b);
}

enum { SERIES = 50, STEPS = 40 };

struct found {
    unsigned rows[SERIES], metadata, wrong;
};

static void look(void *arg, const struct batch *b, uint32_t row)
{
    struct found *f = arg;
    const struct resource *r = &b->resources[b->resource[row]];
    struct value v;
    if (!r->n_labels) {
        f->metadata++;
        f->wrong += !slice_eq(column_str(b->field[FIELD_NAME], row), SLICE("m0")) ||
                    !slice_eq(column_str(b->field[FIELD_METRIC_TYPE], row), SLICE("gauge"));
        return;
    }
    int64_t series = -1, step = (b->time[row] - T0) / (1000 * MS);
    struct slice name = resource_label(r, SLICE("__name__"));
    bool ok = name.n > 1 && slice_to_i64(slice_from(name, 1), &series) && series >= 0 && series < SERIES &&
              column_value(b->field[FIELD_VALUE], row, &v);
    if (ok) {
        f->rows[series]++;
        ok = series == 1 ? sample_is_stale(v.f64) : v.f64 == (double)(series * 1000 + step);
    }
    f->wrong += !ok;
}

static void check_all(struct store *s)
{
    struct found f = {.wrong = 0};
    struct scan_request q = {.signal = SIGNAL_SAMPLE, .from = INT64_MIN, .to = INT64_MAX, .fields = UINT64_MAX};
    assert_int_equal(scan_rows(s, &q, look, &f), SERIES * STEPS + 1);
    assert_int_equal(f.wrong, 0);
    assert_int_equal(f.metadata, 1);
    for (int i = 0; i < SERIES; i++)
        assert_int_equal(f.rows[i], STEPS);
}

static bool is_m7(void *arg, const struct resource *r)
{
    (void)arg;
    return slice_eq(resource_label(r, SLICE("__name__")), SLICE("m7"));
}

static bool count_resource(void *arg, const struct resource *r)
{
    struct resource again = *r;
    resource_identify(&again);
    assert_true(id128_eq(again.hash, r->hash) && id128_eq(again.labels_hash, r->labels_hash));
    ++*(unsigned *)arg;
    return true;
}

static void samples_in_head_part_and_log(void **state)
{
    char *dir = temp_dir();
    struct store *s = open_store(dir);
    for (unsigned step = 0; step < STEPS; step++) {
        append(s, SERIES, step);
        append(s, SERIES, step); // again: stored once
    }
    check_all(s);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.rows_head, SERIES * STEPS + 1);
    assert_int_equal(st.duplicate_rows, SERIES * STEPS + 2 * STEPS - 1);
    OK(store_flush(s, NULL));
    check_all(s);
    struct scan_request one = {.signal = SIGNAL_SAMPLE,
                               .from = T0 + 5 * 1000 * MS,
                               .to = T0 + 8 * 1000 * MS,
                               .fields = 1ull << FIELD_VALUE,
                               .match = is_m7};
    assert_int_equal(scan_rows(s, &one, NULL, NULL), 3);
    unsigned n = 0;
    OK(store_resources(s, SLICE_NONE, SIGNAL_SAMPLE, T0 + 1, INT64_MAX, count_resource, &n, NULL));
    assert_int_equal(n, SERIES); // metadata is of the hour's beginning
    store_close(s);
    s = open_store(dir); // the part's list of series is read anew
    check_all(s);
    n = 0;
    OK(store_resources(s, SLICE_NONE, SIGNAL_SAMPLE, INT64_MIN, INT64_MAX, count_resource, &n, NULL));
    assert_int_equal(n, SERIES + 1);
    store_close(s);
    temp_remove(dir);
}

static void never_flush(struct store_options *o)
{
    o->head_max_bytes = o->head_max_log_bytes = MIB(1024);
}

// As a killed process leaves it: the log has all, parts have nothing.
static void samples_come_back_from_the_log(void **state)
{
    char *dir = temp_dir(), *other = temp_dir(), command[3000];
    struct store *s = open_with(dir, never_flush);
    for (unsigned step = 0; step < STEPS; step++) {
        append(s, SERIES, step);
        append(s, SERIES, step);
    }
    snprintf(command, sizeof command, "cp -r '%s/wal' '%s/'", dir, other);
    assert_int_equal(system(command), 0);
    struct store *copy = open_store(other);
    check_all(copy);
    store_close(copy);
    store_close(s);
    temp_remove(dir);
    temp_remove(other);
}

static void no_cache(struct store_options *o)
{
    o->resource_cache = 0;
}

static void lists_of_series_are_given_back(void **state)
{
    char *dir = temp_dir();
    struct store *s = open_with(dir, no_cache);
    for (unsigned step = 0; step < STEPS; step++) {
        append(s, SERIES, step);
        if (step % 10 == 9)
            OK(store_flush(s, NULL));
    }
    for (int round = 0; round < 3; round++) {
        check_all(s); // loads them
        OK(store_flush(s, NULL));
        struct table *t = table_find(s, SLICE_NONE, SIGNAL_SAMPLE);
        pthread_mutex_lock(&t->lock);
        assert_true(t->n_parts > 0);
        for (uint32_t i = 0; i < t->n_parts; i++)
            assert_int_equal(part_resource_memory(t->parts[i]), 0);
        pthread_mutex_unlock(&t->lock);
    }
    store_close(s);
    temp_remove(dir);
}

// ---- bytes ----------------------------------------------------------------------------------------------------------
static uint64_t dice(void)
{
    static uint64_t x = 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static double any_value(int kind, double before)
{
    static const double special[] = {0, -0.0, INFINITY, -INFINITY, 1e300, 5e-324, 4503599627370495.0, 4503599627370497.0, -1};
    switch (kind) {
    case 0:
        return before + (double)(dice() % 10);
    case 1:
        return (double)(dice() % 100000) / 1000;
    case 2:
        return before + (double)dice() / 1e19;
    case 3:
        return sample_from_bits(dice());
    case 4:
        return special[dice() % (sizeof special / sizeof *special)];
    case 5:
        return sample_from_bits(SAMPLE_STALE);
    default:
        return before + 15;
    }
}

static void values_keep_their_bits(void **state)
{
    static double v[MAX_PART_BLOCK_ROWS], got[MAX_PART_BLOCK_ROWS];
    for (int round = 0; round < 400; round++) {
        uint32_t n = 1 + (uint32_t)(dice() % (round % 20 ? 700 : MAX_PART_BLOCK_ROWS));
        int kind = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (i % 100 == 0)
                kind = (int)(dice() % 7);
            v[i] = any_value(kind, i ? v[i - 1] : 0);
        }
        struct buf b;
        buf_init(&b, MIB(1));
        part_encode_numbers(&b, v, n);
        assert_int_equal(b.err, ERR_OK);
        struct rd r = rd_of(buf_slice(&b));
        part_decode_numbers(&r, got, n);
        assert_false(r.bad);
        assert_true(r.p == r.end);
        assert_memory_equal(v, got, n * sizeof *v);
        for (int cut = 0; cut < 20 && b.n; cut++) { // never beyond the end
            r = rd_of(slice_of(b.p, dice() % b.n));
            part_decode_numbers(&r, got, n);
            assert_true(r.bad);
        }
        buf_free(&b);
    }
}

static void regular_values_are_small(void **state)
{
    static double v[8192];
    const struct {
        int kind;
        size_t most; // bytes for 8192 values
    } rows[] = {{6, 8192 + 400}, {0, 8192 + 600}, {1, 3 * 8192}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b;
        buf_init(&b, MIB(1));
        for (int k = 0; k < 8192; k++)
            v[k] = any_value(rows[i].kind, k ? v[k - 1] : 0);
        part_encode_numbers(&b, v, 8192);
        if (b.n > rows[i].most)
            fail_msg("kind %d takes %zu bytes", rows[i].kind, b.n);
        buf_free(&b);
    }
}

static void times_come_back(void **state)
{
    static const int64_t special[] = {0, -1, INT64_MIN, INT64_MAX, T0, T0 + MS, -T0};
    int64_t v[1000], got[1000];
    for (int round = 0; round < 200; round++) {
        uint32_t n = 1 + (uint32_t)(dice() % 1000);
        int64_t unit = round % 4 == 0 ? 1 : round % 4 == 1 ? 1000 : round % 4 == 2 ? MS : 1000 * MS;
        for (uint32_t i = 0; i < n; i++)
            v[i] = round % 10 == 9 ? special[dice() % 7] : (T0 / unit + (int64_t)i * 15000 + (int64_t)(dice() % 4)) * unit;
        struct buf b;
        buf_init(&b, MIB(1));
        part_encode_steps(&b, v, n);
        struct rd r = rd_of(buf_slice(&b));
        part_decode_steps(&r, got, n);
        assert_false(r.bad);
        assert_true(r.p == r.end);
        assert_memory_equal(v, got, n * sizeof *v);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_in_head_part_and_log),   cmocka_unit_test(samples_come_back_from_the_log),
        cmocka_unit_test(lists_of_series_are_given_back), cmocka_unit_test(values_keep_their_bits),
        cmocka_unit_test(regular_values_are_small),       cmocka_unit_test(times_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
