// Native histograms and exemplars as bytes; identities and precedence of samples.
#include "event/sample.h"
#include "support.h"

static void check_side(const struct histogram_side *x, const struct histogram_side *y)
{
    assert_int_equal(x->n_spans, y->n_spans);
    assert_int_equal(x->n, y->n);
    for (uint32_t i = 0; i < x->n_spans; i++) {
        assert_int_equal(x->spans[i].offset, y->spans[i].offset);
        assert_int_equal(x->spans[i].length, y->spans[i].length);
    }
    for (uint32_t i = 0; i < x->n; i++)
        assert_int_equal(sample_bits(x->counts[i]), sample_bits(y->counts[i]));
}

static void histograms_come_back(void **state)
{
    struct histogram_span spans[] = {{-3, 2}, {1, 3}};
    double whole[] = {1, 5, 0, 1e15, 7}, parts[] = {0.5, 2, 3, 4, -1}, bounds[] = {0.1, 1, INFINITY};
    struct histogram_sample rows[] = {
        {.schema = 3,
         .zero_threshold = 1e-128,
         .zero_count = 2,
         .count = 1e15 + 15,
         .sum = -4.5,
         .positive = {spans, whole, 2, 5}},
        {.schema = -4, .hint = HISTOGRAM_HINT_GAUGE, .count = 3.5, .negative = {spans, parts, 2, 5}},
        {.schema = 0, .positive = {spans, whole, 2, 5}, .negative = {spans, whole, 2, 5}, .hint = HISTOGRAM_HINT_RESET},
        {.schema = HISTOGRAM_CUSTOM, .count = 6, .bounds = bounds, .n_bounds = 3, .positive = {spans, whole, 1, 2}},
        {.schema = 8},
        {.sum = sample_from_bits(SAMPLE_STALE)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b;
        struct arena a;
        struct histogram_sample h;
        buf_init(&b, 1 << 16);
        arena_init(&a, 1 << 16);
        histogram_encode(&rows[i], &b);
        assert_int_equal(histogram_decode(buf_slice(&b), &a, &h), ERR_OK);
        assert_int_equal(h.schema, rows[i].schema);
        assert_int_equal(h.hint, rows[i].hint);
        assert_int_equal(sample_bits(h.sum), sample_bits(rows[i].sum));
        assert_true(h.count == rows[i].count && h.zero_count == rows[i].zero_count);
        assert_true(h.zero_threshold == rows[i].zero_threshold);
        check_side(&h.positive, &rows[i].positive);
        check_side(&h.negative, &rows[i].negative);
        assert_int_equal(h.n_bounds, rows[i].n_bounds);
        for (uint32_t k = 0; k < h.n_bounds; k++)
            assert_true(h.bounds[k] == bounds[k]);
        for (size_t n = 0; n < b.n; n++) // every cut is seen
            assert_int_equal(histogram_decode(slice_of(b.p, n), &a, &h), ERR_CORRUPT);
        buf_free(&b);
        arena_free(&a);
    }
}

static void histograms_add_up(void **state)
{
    // x: schema 1, buckets 1, 2 and 4; y: schema 0, buckets -1, 0 and 1
    struct histogram_span sx[] = {{1, 2}, {1, 1}}, sy[] = {{-1, 3}};
    double cx[] = {1, 2, 3}, cy[] = {10, 20, 30};
    struct histogram_sample x = {
        .schema = 1, .zero_count = 1, .count = 7, .sum = 2, .positive = {sx, cx, 2, 3}, .negative = {sx, cx, 1, 2}};
    struct histogram_sample y = {.schema = 0, .zero_threshold = 0.5, .count = 60, .sum = 3, .positive = {sy, cy, 1, 3}}, sum;
    struct arena a;
    arena_init(&a, 1 << 16);
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(histogram_add(turn ? &y : &x, turn ? &x : &y, &a, &sum), ERR_OK);
        assert_int_equal(sum.schema, 0);
        assert_true(sum.count == 67 && sum.sum == 5 && sum.zero_threshold == 0.5);
        assert_true(sum.zero_count == 1 + 10); // y's bucket -1 reaches up to 0.5
        // buckets of schema 0: x's 1 and 2 are 1, its 4 is 2; y has 0 and 1
        assert_int_equal(sum.positive.n, 3);
        assert_int_equal(sum.positive.n_spans, 1);
        assert_int_equal(sum.positive.spans[0].offset, 0);
        assert_true(sum.positive.counts[0] == 20 && sum.positive.counts[1] == 33 && sum.positive.counts[2] == 3);
        assert_int_equal(sum.negative.n, 1);
        assert_true(sum.negative.counts[0] == 3);
    }
    y.schema = HISTOGRAM_CUSTOM;
    assert_int_equal(histogram_add(&x, &y, &a, &sum), ERR_UNSUPPORTED);
    arena_free(&a);
}

static void exemplars_come_back(void **state)
{
    struct exemplar e = {.time = 1700000000123000000, .value = 0.25, .n_labels = 2};
    e.labels[0] = (struct label){SLICE("span_id"), SLICE("0102030405060708")};
    e.labels[1] = (struct label){SLICE("trace_id"), SLICE("0102030405060708090a0b0c0d0e0f10")};
    struct exemplar bare = {.value = -1}, got;
    struct buf b;
    buf_init(&b, 1 << 16);
    exemplar_encode(&e, &b);
    exemplar_encode(&bare, &b);
    struct slice rest = buf_slice(&b);
    assert_true(exemplar_next(&rest, &got));
    assert_int_equal(got.time, e.time);
    assert_true(got.value == e.value);
    assert_int_equal(got.n_labels, 2);
    assert_slice(got.labels[1].value, "0102030405060708090a0b0c0d0e0f10");
    assert_true(exemplar_next(&rest, &got));
    assert_int_equal(got.n_labels, 0);
    assert_true(got.value == -1);
    assert_false(exemplar_next(&rest, &got));
    assert_int_equal(rest.n, 0);
    buf_free(&b);
}

static void one_of_two_values_wins(void **state)
{
    double stale = sample_from_bits(SAMPLE_STALE);
    const struct {
        double loser, winner;
    } rows[] = {{1, 2}, {-INFINITY, 0}, {NAN, 1}, {stale, 1}, {stale, NAN}, {NAN, -INFINITY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(sample_wins(rows[i].loser, rows[i].winner));
        assert_false(sample_wins(rows[i].winner, rows[i].loser));
    }
}

static void a_sample_is_its_series_time_and_value(void **state)
{
    const struct {
        int64_t time;
        double value;
        bool exemplar, same;
    } rows[] = {{1, 2, false, true}, {1, 2, true, false}, {2, 2, false, false}, {1, 3, false, false}};
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct batch *b = batch_new(SIGNAL_SAMPLE, 1 << 20);
        batch_row(b, rows[i].time, batch_resource(b, &(struct label){SLICE("__name__"), SLICE("up")}, 1, NULL, 0));
        batch_field_f64(b, FIELD_VALUE, rows[i].value);
        batch_field_i64(b, FIELD_START, (int64_t)i);
        if (rows[i].exemplar)
            batch_field_str(b, FIELD_EXEMPLARS, SLICE("x"));
        assert_true(batch_seal(b));
        first = i ? first : batch_row_hash(b, 0);
        assert_int_equal(batch_row_hash(b, 0) == first, rows[i].same);
        batch_unref(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histograms_come_back),
        cmocka_unit_test(histograms_add_up),
        cmocka_unit_test(exemplars_come_back),
        cmocka_unit_test(one_of_two_values_wins),
        cmocka_unit_test(a_sample_is_its_series_time_and_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
