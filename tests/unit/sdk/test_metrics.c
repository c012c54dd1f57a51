// Names, labels, what may be registered, buckets, values, the limit of series, native histograms.
#include "base/alloc.h"
#include "check.h"
#include "sdk/metric.h"
#include <math.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *name, *label; // null: refused
    } rows[] = {
        {"requests_total", "requests_total", "requests_total"},
        {"123test", "_123test", "_123test"},
        {"@test", "_test", "_test"},
        {"__test", "__test", "test"},
        {"my-metric.x", "my_metric_x", "my_metric_x"},
        {"my-ns", "my_ns", "my_ns"},
        {"@@123", "__123", "_123"},
        {"vllm:x", "vllm:x", "vllm_x"},
        {":x", "_:x", "_x"},
        {"_x", "_x", "_x"},
        {"___x", "___x", "x"},
        {"____x", "____x", "x"},
        {"a b", "a_b", "a_b"},
        {"grün", "gr_n", "gr_n"},
        {"\xff\xfe", NULL, NULL},
        {"a\nb", "a_b", "a_b"},
        {"9", "_9", "_9"},
        {"", NULL, NULL},
        {"_", NULL, NULL},
        {"___", NULL, NULL},
        {"@-.", NULL, NULL},
        {NULL, NULL, NULL},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char out[METRIC_NAME_MAX + 2] = "untouched";
        check_row("%s", rows[i].raw ? rows[i].raw : "(null)");
        CHECK((metric_name_clean(out, rows[i].raw) == ERR_OK) == (rows[i].name != NULL));
        if (rows[i].name)
            CHECK_STR(slice_str(out), rows[i].name);
        CHECK((metric_label_clean(out, rows[i].raw) == ERR_OK) == (rows[i].label != NULL));
        if (rows[i].label)
            CHECK_STR(slice_str(out), rows[i].label);
    }
    char out[METRIC_NAME_MAX + 2], long_name[METRIC_NAME_MAX + 2];
    memset(long_name, '7', sizeof long_name);
    long_name[METRIC_NAME_MAX + 1] = 0;
    CHECK(metric_name_clean(out, long_name) == ERR_INPUT);
    long_name[METRIC_NAME_MAX] = 0;
    CHECK(metric_name_clean(out, long_name) == ERR_OK && strlen(out) == METRIC_NAME_MAX + 1);
    check_done();
}

static void errors(void **state)
{
    (void)state;
    static const struct sonde_label automatic[] = {{"model", "m"}, {"dynamo_component", "x"}}, twice[] = {{"a", "1"}, {"a", "2"}},
                                    alike[] = {{"a-b", "1"}, {"a.b", "2"}}, one[] = {{"model", "m"}}, none[] = {{"", "1"}},
                                    le[] = {{"le", "1"}}, deeper[] = {{"dynamo_endpoint", "x"}}, null_value[] = {{"a", NULL}},
                                    worker[] = {{"worker_id", "7"}};
    static const char *const var[] = {"status"}, *const same_as_constant[] = {"model"},
                             *const var_automatic[] = {"dynamo_namespace"};
    static const double up[] = {1, 2}, down[] = {1, 3, 2}, equal[] = {1, 1}, nan[] = {1, NAN};
    static double many[SONDE_BUCKETS_MAX + 1];
    for (int i = 0; i <= SONDE_BUCKETS_MAX; i++)
        many[i] = i;
#define LABELS(l)  .labels = l, .n_labels = COUNT(l)
#define VARS(v)    .label_names = v, .n_label_names = COUNT(v)
#define BUCKETS(b) .buckets = b, .n_buckets = COUNT(b)
    static const struct {
        enum sonde_metric_type type;
        struct sonde_metric_options o;
        enum sonde_metric_errc code;
        const char *says;
    } rows[] = {
        {SONDE_COUNTER, {.name = "a", LABELS(automatic)}, SONDE_METRIC_LABEL_AUTOMATIC, "\"dynamo_component\" is automatic"},
        {SONDE_COUNTER, {.name = "a", LABELS(deeper)}, SONDE_METRIC_LABEL_AUTOMATIC, "\"dynamo_endpoint\" is automatic"},
        {SONDE_COUNTER, {.name = "a", LABELS(worker)}, SONDE_METRIC_LABEL_AUTOMATIC, "\"worker_id\" is automatic"},
        {SONDE_COUNTER_VEC, {.name = "a", VARS(var_automatic)}, SONDE_METRIC_LABEL_AUTOMATIC, "\"dynamo_namespace\""},
        {SONDE_GAUGE, {.name = "a", LABELS(twice)}, SONDE_METRIC_LABEL_DUPLICATE, "label key \"a\""},
        {SONDE_GAUGE, {.name = "a", LABELS(alike)}, SONDE_METRIC_LABEL_DUPLICATE, "label key \"a_b\""},
        {SONDE_GAUGE_VEC, {.name = "a", LABELS(one), VARS(same_as_constant)}, SONDE_METRIC_LABEL_DUPLICATE, "\"model\""},
        {SONDE_COUNTER, {.name = "a", BUCKETS(up)}, SONDE_METRIC_BUCKETS, "not for Counter"},
        {SONDE_INT_GAUGE_VEC, {.name = "a", BUCKETS(up), VARS(var)}, SONDE_METRIC_BUCKETS, "not for IntGaugeVec"},
        {SONDE_NATIVE_HISTOGRAM, {.name = "a", BUCKETS(up)}, SONDE_METRIC_BUCKETS, "not for NativeHistogram"},
        {SONDE_HISTOGRAM, {.name = "a", BUCKETS(down)}, SONDE_METRIC_BUCKETS, "number 3"},
        {SONDE_HISTOGRAM, {.name = "a", BUCKETS(equal)}, SONDE_METRIC_BUCKETS, "number 2"},
        {SONDE_HISTOGRAM, {.name = "a", BUCKETS(nan)}, SONDE_METRIC_BUCKETS, "number 2"},
        {SONDE_HISTOGRAM, {.name = "a", BUCKETS(many)}, SONDE_METRIC_BUCKETS, "at most 512"},
        {SONDE_COUNTER_VEC, {.name = "a"}, SONDE_METRIC_LABELS_MISSING, "CounterVec needs"},
        {SONDE_INT_COUNTER_VEC, {.name = "a"}, SONDE_METRIC_LABELS_MISSING, "IntCounterVec needs"},
        {SONDE_GAUGE_VEC, {.name = "a"}, SONDE_METRIC_LABELS_MISSING, "GaugeVec needs"},
        {SONDE_INT_GAUGE_VEC, {.name = "a"}, SONDE_METRIC_LABELS_MISSING, "IntGaugeVec needs"},
        {SONDE_HISTOGRAM_VEC, {.name = "a"}, SONDE_METRIC_LABELS_MISSING, "HistogramVec needs"},
        {SONDE_COUNTER, {.name = "a", VARS(var)}, SONDE_METRIC_LABELS_UNEXPECTED, "Counter takes no"},
        {SONDE_HISTOGRAM, {.name = "a", VARS(var)}, SONDE_METRIC_LABELS_UNEXPECTED, "Histogram takes no"},
        {SONDE_INT_GAUGE, {.name = "a", VARS(var)}, SONDE_METRIC_LABELS_UNEXPECTED, "IntGauge takes no"},
        {SONDE_COUNTER,
         {.name = "taken", .help = "h"},
         SONDE_METRIC_EXISTS,
         "dynamo_component_taken\" is registered already with the same"},
        {SONDE_COUNTER, {.name = "taken", .help = "other"}, SONDE_METRIC_INCONSISTENT, "other help"},
        {SONDE_GAUGE, {.name = "taken", .help = "h"}, SONDE_METRIC_INCONSISTENT, "as Counter, not Gauge"},
        {SONDE_COUNTER, {.name = "taken", .help = "h", LABELS(one)}, SONDE_METRIC_INCONSISTENT, "another set of label names"},
        {SONDE_COUNTER_VEC, {.name = "taken", .help = "h", VARS(var)}, SONDE_METRIC_INCONSISTENT, "another set of label names"},
        {SONDE_COUNTER, {.name = "times_sum"}, SONDE_METRIC_INCONSISTENT, "same names as those of"},
        {SONDE_HISTOGRAM,
         {.name = "queue"},
         SONDE_METRIC_INCONSISTENT,
         "same names as those of \"dynamo_component_queue_count\""},
        {SONDE_HISTOGRAM, {.name = "a", LABELS(le)}, SONDE_METRIC_LABEL_RESERVED, "\"le\""},
        {SONDE_COUNTER, {.name = "a", LABELS(none)}, SONDE_METRIC_NAME, "label name \"\""},
        {SONDE_COUNTER, {.name = "a", LABELS(null_value)}, SONDE_METRIC_ARGUMENT, "\"a\" has no value"},
        {SONDE_COUNTER, {.name = ""}, SONDE_METRIC_NAME, "cannot be sanitised"},
        {SONDE_COUNTER, {.name = "@@"}, SONDE_METRIC_NAME, "\"@@\""},
        {SONDE_COUNTER, {.name = NULL}, SONDE_METRIC_NAME, "(null)"},
        {(enum sonde_metric_type)99, {.name = "a"}, SONDE_METRIC_ARGUMENT, "known type"},
    };
    struct sonde_registry *root = sonde_registry_new(SONDE_DYNAMO_PREFIX), *ns = sonde_registry_child(root, "ns", NULL),
                          *worker_registry = sonde_registry_child(ns, "worker", NULL);
    assert_true(sonde_registry_label(worker_registry, "worker_id", "7", NULL));
    struct sonde_metric_options o = {.name = "taken", .help = "h"};
    assert_non_null(sonde_counter_new(worker_registry, &o, NULL));
    assert_non_null(sonde_histogram_new(worker_registry, &(struct sonde_metric_options){.name = "times"}, NULL));
    assert_non_null(sonde_gauge_new(worker_registry, &(struct sonde_metric_options){.name = "queue_count"}, NULL));
    uint32_t before = root->n_families;
    char *page = sonde_registry_text(root, SONDE_EXPOSITION_TEXT, NULL);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct sonde_metric_error err;
        check_row("%zu %s", i, rows[i].o.name ? rows[i].o.name : "");
        CHECK(!sonde_metric_new(worker_registry, rows[i].type, &rows[i].o, &err));
        CHECK_INT(err.code, rows[i].code);
        if (!strstr(err.message, rows[i].says))
            CHECK_STR(slice_str(err.message), rows[i].says);
        CHECK(!sonde_metric_new(worker_registry, rows[i].type, &rows[i].o, NULL));
        CHECK_INT(root->n_families, before);
    }
    char *after = sonde_registry_text(root, SONDE_EXPOSITION_TEXT, NULL);
    CHECK_STR(slice_str(after), page);
    free(page);
    free(after);
    // the same name elsewhere in the tree: other constant values are welcome
    struct sonde_registry *other = sonde_registry_child(ns, "other", NULL);
    sonde_registry_label(other, "worker_id", "7", NULL);
    CHECK(sonde_counter_new(other, &o, NULL));
    struct sonde_metric_error err;
    CHECK(!sonde_counter_new(other, &o, &err) && err.code == SONDE_METRIC_EXISTS);
    CHECK(!sonde_counter_new(ns, &o, &err) && err.code == SONDE_METRIC_INCONSISTENT); // fewer labels than below
    CHECK(!sonde_registry_label(other, "worker_id", "8", &err) && err.code == SONDE_METRIC_LABEL_AUTOMATIC);
    CHECK(!sonde_registry_child(ns, "--", &err) && err.code == SONDE_METRIC_NAME);
    CHECK(!sonde_registry_child(NULL, "a", &err) && err.code == SONDE_METRIC_ARGUMENT);
    CHECK(sonde_registry_child(ns, "worker", NULL) == worker_registry);
    sonde_registry_free(root);
    check_done();
}

// Every allocation in turn fails: the constructor says so, and the name is free afterwards.
static void no_memory(void **state)
{
    (void)state;
    static const char *const var[] = {"status"};
    static const struct sonde_label label[] = {{"model", "m"}};
    struct sonde_registry *root = sonde_registry_new(NULL);
    int failed = 0;
    char name[METRIC_NAME_MAX];
    for (int i = 0; i < 3000; i++) { // the arena takes memory in large pieces: only some of these need one
        snprintf(name, sizeof name, "m%d_%0100d", i, i);
        struct sonde_metric_options o = {.name = name, .help = "h", LABELS(label), VARS(var)};
        struct sonde_metric_error err;
        mem_fail_after(1 + i % 3);
        struct sonde_histogram_vec *v = sonde_histogram_vec_new(root, &o, &err);
        struct sonde_histogram *h = sonde_histogram_vec_with(v, SONDE_VALUES("ok"));
        mem_fail_after(0);
        if (!v) {
            failed++;
            assert_int_equal(err.code, SONDE_METRIC_NOMEM);
            v = sonde_histogram_vec_new(root, &o, &err);
            assert_non_null(v);
        }
        h = sonde_histogram_vec_with(v, SONDE_VALUES("ok"));
        assert_non_null(h);
        sonde_histogram_observe(h, 1);
        assert_int_equal(sonde_histogram_count(h), 1);
    }
    assert_true(failed > 0);
    sonde_registry_free(root);
}

static void buckets(void **state)
{
    (void)state;
    static const struct {
        double min, max;
        size_t count;
        const char *want;
    } rows[] = {
        {1, 256, 10, "0 1.9 3.4 6.3 12 22 40 75 140 260"},
        {1, 512, 10, "0 2 4 8 16 32 64 130 260 510"},
        {50, 128000, 12, "0 100 210 430 870 1800 3600 7400 15000 31000 63000 130000"},
        {50, 32000, 10, "0 100 210 430 880 1800 3700 7600 16000 32000"},
        {0.001, 480, 18, "0 0.0022 0.0047 0.01 0.022 0.047 0.1 0.22 0.47 1 2.2 4.7 10 22 48 100 220 480"},
        {0.001, 2, 13, "0 0.0019 0.0035 0.0067 0.013 0.024 0.045 0.084 0.16 0.3 0.56 1.1 2"},
        {0.001, 80, 20, "0 0.0018 0.0033 0.0059 0.011 0.02 0.035 0.064 0.12 0.21 0.38 0.69 1.2 2.3 4.1 7.4 13 24 44 80"},
        {0.001, 10, 14, "0 0.002 0.0041 0.0084 0.017 0.035 0.07 0.14 0.29 0.59 1.2 2.4 4.9 10"},
        {1, 2, 0, ""},
        {1, 2, 1, "0"},
        {1, 2, 2, "0 2"},
        {1, 1.1, 8, "0 1 1.1"}, // equal neighbours go
        {0, 2, 5, ""},
        {-1, 2, 5, ""},
        {2, 2, 5, ""},
        {3, 2, 5, ""},
        {NAN, 2, 5, ""},
        {1, INFINITY, 5, ""},
        {1, 2, 513, ""},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        double out[SONDE_BUCKETS_MAX];
        check_row("%g %g %zu", rows[i].min, rows[i].max, rows[i].count);
        size_t n = sonde_buckets(rows[i].min, rows[i].max, rows[i].count, out);
        struct buf b;
        buf_init(&b, 65536);
        for (size_t k = 0; k < n; k++) {
            buf_put(&b, " ", k > 0);
            buf_f64(&b, out[k]);
        }
        CHECK_STR(buf_slice(&b), rows[i].want);
        buf_free(&b);
    }
    double out[SONDE_BUCKETS_MAX];
    check_row("environment");
    setenv("T_TTFT_MAX", "512", 1);
    CHECK(sonde_buckets_env("T_TTFT", 1, 256, 10, out) == 10 && out[9] == 510);
    setenv("T_TTFT_COUNT", "2", 1);
    CHECK(sonde_buckets_env("T_TTFT", 1, 256, 10, out) == 2 && out[1] == 510);
    static const char *const invalid[] = {"0", "513", "x", "2.5", "-1", "nan"};
    for (size_t i = 0; i < COUNT(invalid); i++) {
        check_row("environment, count %s", invalid[i]);
        setenv("T_TTFT_COUNT", invalid[i], 1);
        CHECK(sonde_buckets_env("T_TTFT", 1, 256, 10, out) == 10 && out[9] == 260);
    }
    check_done();
}

// The index of leading bits finds what a search over all bounds finds.
static void bounds(void **state)
{
    (void)state;
    static const double sets[][6] = {{0.005, 0.01, 0.5, 1, 2.5, 10},
                                     {-5, -1, 0, 1, 1.0000001, 1e9},
                                     {-3, -2, -1, -0.5, -0.25, 0},
                                     {1e-300, 1e-9, 1, 1e9, 1e200, 1e300},
                                     {0, 5e-324, 1e-310, 3e-308, 1, 2}};
    struct arena a;
    arena_init(&a, MIB(4));
    for (size_t k = 0; k < COUNT(sets); k++) {
        const double *s = sets[k];
        struct metric_bounds *b = metric_bounds_new(&a, s, 6);
        assert_non_null(b);
        for (int i = -400; i < 400; i++)
            for (int near = 0; near < 18 + 4; near++) {
                double v = near < 18 ? nextafter(s[near / 3], near % 3 == 0   ? -INFINITY
                                                              : near % 3 == 1 ? INFINITY
                                                                              : s[near / 3])
                                     : ldexp(near % 2 ? 1.37 : -1.37, near / 20 ? i : i * 2);
                if (!isfinite(v))
                    continue;
                uint32_t want = 0;
                while (want < 6 && v > s[want])
                    want++;
                check_row("set %zu, %g", k, v);
                CHECK_INT(metric_bounds_find(b, v), want);
            }
    }
    arena_free(&a);
    check_done();
}

static void values(void **state)
{
    (void)state;
    struct sonde_registry *r = sonde_registry_new(NULL);
#define NEW(type, text) sonde_##type##_new(r, &(struct sonde_metric_options){.name = text}, NULL)
    struct sonde_counter *c = NEW(counter, "c");
    sonde_counter_add(c, 1.5);
    sonde_counter_add(c, 0);
    sonde_counter_add(c, -1);
    sonde_counter_add(c, NAN);
    sonde_counter_add(c, INFINITY);
    sonde_counter_add(c, 0.25);
    assert_true(sonde_counter_value(c) == 1.75);
    struct sonde_int_counter *n = NEW(int_counter, "n");
    sonde_int_counter_add(n, UINT64_MAX - 1);
    sonde_int_counter_add(n, 1);
    assert_true(sonde_int_counter_value(n) == UINT64_MAX);
    struct sonde_gauge *g = NEW(gauge, "g");
    sonde_gauge_set(g, 2.5);
    sonde_gauge_add(g, -4);
    assert_true(sonde_gauge_value(g) == -1.5);
    struct sonde_int_gauge *i = NEW(int_gauge, "i");
    sonde_int_gauge_set(i, -5);
    sonde_int_gauge_add(i, 2);
    assert_true(sonde_int_gauge_value(i) == -3);
    sonde_int_gauge_set_uint(i, UINT64_MAX);
    assert_true(sonde_int_gauge_value(i) == INT64_MAX);
    struct sonde_histogram *h = NEW(histogram, "h");
    static const double observed[] = {0, 0.005, 0.0051, 1, 9.99, 10, 10.01, -3, NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < COUNT(observed); k++)
        sonde_histogram_observe(h, observed[k]);
    assert_int_equal(sonde_histogram_count(h), 8); // without what is not finite
    assert_true(fabs(sonde_histogram_sum(h) - 28.0101) < 1e-9);
    uint64_t count[12];
    double sum;
    metric_histogram_read((struct metric_series *)h, count, &sum);
    static const uint64_t want[12] = {3, 1, 0, 0, 0, 0, 0, 1, 0, 0, 2, 1};
    assert_memory_equal(count, want, sizeof want);
    assert_true(fabs(sonde_histogram_quantile(h, 1) - 10) < 1e-9); // above the last bound nothing is known
    assert_true(sonde_histogram_quantile(h, 0.25) <= 0.005);
    assert_true(isnan(sonde_histogram_quantile(h, 2)) && isnan(sonde_histogram_quantile(NULL, 0.5)));
    sonde_counter_add(NULL, 1);
    sonde_int_counter_add(NULL, 1);
    sonde_gauge_set(NULL, 1);
    sonde_gauge_add(NULL, 1);
    sonde_int_gauge_set(NULL, 1);
    sonde_int_gauge_add(NULL, 1);
    sonde_histogram_observe(NULL, 1);
    assert_null(sonde_counter_vec_with(NULL, SONDE_VALUES("a")));
    sonde_registry_free(r);
    sonde_registry_free(NULL);
}

static void limit(void **state)
{
    (void)state;
    static const char *const names[] = {"path", "status"};
    struct sonde_registry *r = sonde_registry_new(NULL);
    struct sonde_metric_options o = {.name = "hits_total", .label_names = names, .n_label_names = 2, .max_series = 3};
    struct sonde_int_counter_vec *v = sonde_int_counter_vec_new(r, &o, NULL);
    for (int i = 0; i < 10; i++) {
        char path[8];
        snprintf(path, sizeof path, "/%d", i);
        sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES(path, "200")), 1);
    }
    assert_ptr_equal(sonde_int_counter_vec_with(v, SONDE_VALUES("/1", "200")),
                     sonde_int_counter_vec_with(v, SONDE_VALUES("/1", "200")));
    assert_ptr_equal(sonde_int_counter_vec_with(v, SONDE_VALUES("__overflow__", "__overflow__")),
                     sonde_int_counter_vec_with(v, SONDE_VALUES("/x", "1")));
    assert_null(sonde_int_counter_vec_with(v, SONDE_VALUES("/1")));
    assert_null(sonde_int_counter_vec_with(v, SONDE_VALUES("/1", "2", "3")));
    char *page = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, NULL);
    check_row("page");
    CHECK_STR(slice_str(page), "# TYPE hits_total counter\n"
                               "hits_total{path=\"/0\",status=\"200\"} 1\n"
                               "hits_total{path=\"/1\",status=\"200\"} 1\n"
                               "hits_total{path=\"/2\",status=\"200\"} 1\n"
                               "hits_total{path=\"__overflow__\",status=\"__overflow__\"} 7\n"
                               "# HELP sonde_metrics_overflow_total label sets beyond the limit of a metric's series\n"
                               "# TYPE sonde_metrics_overflow_total counter\n"
                               "sonde_metrics_overflow_total{family=\"hits_total\"} 9\n");
    free(page);
    sonde_registry_free(r);
    check_done();
}

// Slots of a freed registry serve the next one, from zero.
static void reuse(void **state)
{
    (void)state;
    uint32_t slot = 0;
    for (int i = 0; i < 50; i++) {
        struct sonde_registry *r = sonde_registry_new(NULL);
        struct sonde_histogram *h = NEW(native_histogram, "h");
        assert_int_equal(sonde_histogram_count(h), 0);
        sonde_histogram_observe(h, 3);
        struct metric_series *s = (struct metric_series *)h;
        assert_true(i == 0 || s->slot == slot);
        slot = s->slot;
        sonde_registry_free(r);
    }
}

static void native_index(void **state)
{
    (void)state;
    // 2^k is the upper, inclusive bound of its bucket; values on either side of bounds fall where they belong
    struct sonde_registry *r = sonde_registry_new(NULL);
    char name[16];
    for (int i = 0; i < 400; i++) {
        double v = i < 40 ? ldexp(1, i * 50 - 1000)
                          : exp2((i * 7 - 1400) / 256.0) * (i % 3 == 0   ? 1
                                                            : i % 3 == 1 ? 1.0000001
                                                                         : 0.9999999);
        snprintf(name, sizeof name, "h%d", i);
        struct sonde_histogram *h = NEW(native_histogram, name);
        struct metric_native n;
        sonde_histogram_observe(h, v);
        metric_native_read((struct metric_series *)h, &n);
        check_row("%a", v);
        CHECK(n.positive.n == 1 && n.positive.count[0] == 1 && n.scale == METRIC_NATIVE_SCALE);
        double from = metric_native_bound(n.scale, n.positive.min), to = metric_native_bound(n.scale, n.positive.min + 1);
        CHECK(v > from * (1 - 1e-12) && v <= to * (1 + 1e-12)); // exp2 of a large number is not exact
        if (i < 40)
            CHECK_INT(n.positive.min, (i * 50 - 1000) * 256 - 1);
    }
    sonde_registry_free(r);
    check_done();
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void native_accuracy(void **state)
{
    (void)state;
    enum { N = 20000 };
    static const struct {
        const char *name;
        double low, octaves; // values from low over so many octaves
        int scale;           // expected at the end, at least
        int negative;        // every so many-th value
    } rows[] = {
        {"within half an octave", 0.02, 0.5, 8, 0},
        {"one octave", 1, 1, 7, 0},
        {"1 ms to 16 s", 0.001, 14, 3, 0},
        {"both signs", 0.001, 10, 3, 2},
        {"40 octaves", 1e-6, 40, 1, 0},
        {"1000 octaves", 1e-300, 1000, -3, 3},
    };
    static double v[N];
    for (size_t k = 0; k < CHECK_ROWS(rows); k++) {
        struct sonde_registry *r = sonde_registry_new(NULL);
        struct sonde_histogram *h = NEW(native_histogram, "h");
        double sum = 0;
        uint64_t x = 88172645463325252u;
        for (int i = 0; i < N; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            v[i] = rows[k].low * exp2(rows[k].octaves * (double)(x >> 11) * 0x1p-53);
            if (rows[k].negative && i % rows[k].negative == 0)
                v[i] = -v[i];
            if (i % 1000 == 999)
                v[i] = 0;
            sum += v[i];
            sonde_histogram_observe(h, v[i]);
        }
        qsort(v, N, sizeof *v, by_value);
        struct metric_native n;
        metric_native_read((struct metric_series *)h, &n);
        check_row("%s", rows[k].name);
        CHECK_INT(n.count, N);
        CHECK_INT(n.zero, N / 1000);
        CHECK(n.positive.n <= METRIC_NATIVE_MAX && n.negative.n <= METRIC_NATIVE_MAX);
        CHECK(n.scale >= rows[k].scale);
        CHECK(n.sum == sum && sonde_histogram_sum(h) == sum);
        double relative = exp2(ldexp(1, -n.scale)) * (1 + 1e-9);
        for (double q = 0.001; q < 1; q += 0.0137) {
            double got = sonde_histogram_quantile(h, q), want = v[(size_t)(q * N)];
            check_row("%s, q %.3f: %g for %g", rows[k].name, q, got, want);
            // within one bucket of the exact value, or of its neighbour in rank
            double next = v[(size_t)(q * N) ? (size_t)(q * N) - 1 : 0];
            bool near = (got == 0 && (want == 0 || next == 0));
            near =
                near || (got * copysign(1, want) > 0 && fabs(got) <= fabs(want) * relative && fabs(got) >= fabs(want) / relative);
            near =
                near || (got * copysign(1, next) > 0 && fabs(got) <= fabs(next) * relative && fabs(got) >= fabs(next) / relative);
            CHECK(near);
        }
        sonde_registry_free(r);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),        cmocka_unit_test(errors),          cmocka_unit_test(no_memory), cmocka_unit_test(buckets),
        cmocka_unit_test(bounds),       cmocka_unit_test(values),          cmocka_unit_test(limit),     cmocka_unit_test(reuse),
        cmocka_unit_test(native_index), cmocka_unit_test(native_accuracy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
