// Pages: text 0.0.4 and OpenMetrics byte for byte, exemplars, negotiation, callbacks, the process's families.
#include "base/clock.h"
#include "base/pb.h"
#include "check.h"
#include "sdk/metric.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define OPTIONS(...)               \
    &(struct sonde_metric_options) \
    {                              \
        __VA_ARGS__                \
    }
#define LABELS(...)                                \
    .labels = (struct sonde_label[]){__VA_ARGS__}, \
    .n_labels = sizeof((struct sonde_label[]){__VA_ARGS__}) / sizeof(struct sonde_label)
#define VARS(...)                                      \
    .label_names = (const char *const[]){__VA_ARGS__}, \
    .n_label_names = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define BUCKETS(...) .buckets = (double[]){__VA_ARGS__}, .n_buckets = sizeof((double[]){__VA_ARGS__}) / sizeof(double)

static void page_is(struct sonde_registry *r, enum sonde_exposition e, const char *want)
{
    size_t n;
    char *page = sonde_registry_text(r, e, &n);
    assert_non_null(page);
    CHECK_STR(slice_of(page, n), want);
    CHECK_INT(strlen(page), n);
    free(page);
}

static struct sonde_registry *hierarchy(struct sonde_registry **ns, struct sonde_registry **component,
                                        struct sonde_registry **endpoint)
{
    struct sonde_registry *root = sonde_registry_new(SONDE_DYNAMO_PREFIX);
    *ns = sonde_registry_child(root, "my-ns", NULL);
    *component = sonde_registry_child(*ns, "@@123", NULL);
    *endpoint = sonde_registry_child(*component, "generate", NULL);
    return root;
}

static void levels(void **state)
{
    (void)state;
    struct sonde_registry *ns, *component, *endpoint, *root = hierarchy(&ns, &component, &endpoint);
    sonde_gauge_set(sonde_gauge_new(root, OPTIONS(.name = "at root", .help = "h"), NULL), 0.5);
    sonde_int_gauge_set(sonde_int_gauge_new(ns, OPTIONS(.name = "at_ns"), NULL), -3);
    sonde_counter_add(
        sonde_counter_new(component, OPTIONS(.name = "at_component_total", .help = "h", LABELS({"model", "m\"\\\n"})), NULL),
        7.5);
    sonde_int_counter_add(sonde_int_counter_new(endpoint, OPTIONS(.name = "dynamo_component_at_endpoint"), NULL), 50000);
    struct sonde_registry *below = sonde_registry_child(endpoint, "deeper", NULL);
    sonde_int_gauge_set(sonde_int_gauge_new(below, OPTIONS(.name = "below"), NULL), 1);
    sonde_registry_label(component, "worker_id", "a1f", NULL); // from now on
    sonde_int_gauge_set(sonde_int_gauge_new(endpoint, OPTIONS(.name = "later", LABELS({"zone", "1"})), NULL), 1);
    check_row("root");
    page_is(
        root, SONDE_EXPOSITION_TEXT,
        "# HELP dynamo_component_at_component_total h\n"
        "# TYPE dynamo_component_at_component_total counter\n"
        "dynamo_component_at_component_total{dynamo_component=\"_123\",dynamo_namespace=\"my_ns\",model=\"m\\\"\\\\\\n\"} 7.5\n"
        "# TYPE dynamo_component_at_ns gauge\n"
        "dynamo_component_at_ns{dynamo_namespace=\"my_ns\"} -3\n"
        "# HELP dynamo_component_at_root h\n"
        "# TYPE dynamo_component_at_root gauge\n"
        "dynamo_component_at_root 0.5\n"
        "# TYPE dynamo_component_below gauge\n"
        "dynamo_component_below{dynamo_component=\"_123\",dynamo_endpoint=\"generate\",dynamo_namespace=\"my_ns\"} 1\n"
        "# TYPE dynamo_component_dynamo_component_at_endpoint counter\n"
        "dynamo_component_dynamo_component_at_endpoint{dynamo_component=\"_123\",dynamo_endpoint=\"generate\","
        "dynamo_namespace=\"my_ns\"} 50000\n"
        "# TYPE dynamo_component_later gauge\n"
        "dynamo_component_later{dynamo_component=\"_123\",dynamo_endpoint=\"generate\",dynamo_namespace=\"my_ns\",worker_id="
        "\"a1f\","
        "zone=\"1\"} 1\n");
    check_row("a part");
    page_is(below, SONDE_EXPOSITION_TEXT,
            "# TYPE dynamo_component_below gauge\n"
            "dynamo_component_below{dynamo_component=\"_123\",dynamo_endpoint=\"generate\",dynamo_namespace=\"my_ns\"} 1\n");
    sonde_registry_free(root);
    // nested namespaces shift, as in Dynamo
    root = sonde_registry_new(NULL);
    endpoint =
        sonde_registry_child(sonde_registry_child(sonde_registry_child(root, "outer", NULL), "inner", NULL), "worker", NULL);
    sonde_int_gauge_set(sonde_int_gauge_new(endpoint, OPTIONS(.name = "x"), NULL), 1);
    check_row("no prefix, nested");
    page_is(root, SONDE_EXPOSITION_TEXT,
            "# TYPE x gauge\nx{dynamo_component=\"inner\",dynamo_endpoint=\"worker\",dynamo_namespace=\"outer\"} 1\n");
    sonde_registry_free(root);
    check_done();
}

static struct sonde_registry *sample_registry(void)
{
    struct sonde_registry *r = sonde_registry_new(NULL);
    struct sonde_histogram_vec *v =
        sonde_histogram_vec_new(r,
                                OPTIONS(.name = "ttft_seconds", .help = "time \"to\"\nfirst \\ token", .unit = "seconds",
                                        VARS("model", "a_kind"), BUCKETS(0, 1, 2.5, 1e6, 0x1p60)),
                                NULL);
    struct sonde_histogram *h = sonde_histogram_vec_with(v, SONDE_VALUES("tiny", "b"));
    sonde_histogram_observe(h, 0);
    sonde_histogram_observe(h, 0.1);
    sonde_histogram_observe(h, 3e18);
    sonde_histogram_vec_with(v, SONDE_VALUES("zeta", "a"));
    sonde_histogram_vec_with(v, SONDE_VALUES("alpha", "b"));
    sonde_gauge_set(sonde_gauge_new(r, OPTIONS(.name = "nan"), NULL), NAN);
    sonde_gauge_set(sonde_gauge_new(r, OPTIONS(.name = "inf"), NULL), -INFINITY);
    sonde_counter_vec_new(r, OPTIONS(.name = "unused_total", VARS("a")), NULL); // not shown before its first use
    sonde_counter_add(sonde_counter_new(r, OPTIONS(.name = "no_suffix"), NULL), 0.1);
    sonde_int_counter_add(sonde_int_counter_new(r, OPTIONS(.name = "nan_total"), NULL),
                          UINT64_MAX); // beside the gauge of that name
    struct sonde_histogram *n = sonde_native_histogram_new(r, OPTIONS(.name = "native"), NULL);
    sonde_histogram_observe(n, 2);
    sonde_histogram_observe(n, 0.5);
    return r;
}

static void golden(void **state)
{
    (void)state;
    struct sonde_registry *r = sample_registry();
    check_row("text");
    page_is(r, SONDE_EXPOSITION_TEXT,
            "# TYPE inf gauge\ninf -Inf\n"
            "# TYPE nan gauge\nnan NaN\n"
            "# TYPE nan_total counter\nnan_total 18446744073709551615\n"
            "# TYPE native histogram\nnative_bucket{le=\"0.25\"} 0\nnative_bucket{le=\"0.5\"} 1\nnative_bucket{le=\"1\"} "
            "1\nnative_bucket{le=\"2\"} 2\n"
            "native_bucket{le=\"+Inf\"} 2\nnative_sum 2.5\nnative_count 2\n"
            "# TYPE no_suffix counter\nno_suffix 0.1\n"
            "# HELP ttft_seconds time \"to\"\\nfirst \\\\ token\n"
            "# TYPE ttft_seconds histogram\n"
            "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"0\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"1\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"2.5\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"1000000\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"1152921504606847000\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"+Inf\"} 0\n"
            "ttft_seconds_sum{a_kind=\"a\",model=\"zeta\"} 0\n"
            "ttft_seconds_count{a_kind=\"a\",model=\"zeta\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"alpha\",le=\"0\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"alpha\",le=\"1\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"alpha\",le=\"2.5\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"alpha\",le=\"1000000\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"alpha\",le=\"1152921504606847000\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"alpha\",le=\"+Inf\"} 0\n"
            "ttft_seconds_sum{a_kind=\"b\",model=\"alpha\"} 0\n"
            "ttft_seconds_count{a_kind=\"b\",model=\"alpha\"} 0\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"tiny\",le=\"0\"} 1\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"tiny\",le=\"1\"} 2\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"tiny\",le=\"2.5\"} 2\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"tiny\",le=\"1000000\"} 2\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"tiny\",le=\"1152921504606847000\"} 2\n"
            "ttft_seconds_bucket{a_kind=\"b\",model=\"tiny\",le=\"+Inf\"} 3\n"
            "ttft_seconds_sum{a_kind=\"b\",model=\"tiny\"} 3000000000000000000\n"
            "ttft_seconds_count{a_kind=\"b\",model=\"tiny\"} 3\n");
    size_t n;
    char *page = sonde_registry_text(r, SONDE_EXPOSITION_OPENMETRICS, &n);
    check_row("OpenMetrics");
    static const char start[] = "# TYPE inf gauge\ninf -Inf\n"
                                "# TYPE nan gauge\nnan NaN\n"
                                "# TYPE nan_total unknown\nnan_total 18446744073709551615\n"
                                "# TYPE native histogram\nnative_bucket{le=\"0.25\"} 0\nnative_bucket{le=\"0.5\"} "
                                "1\nnative_bucket{le=\"1.0\"} 1\nnative_bucket{le=\"2.0\"} 2\n"
                                "native_bucket{le=\"+Inf\"} 2\nnative_sum 2.5\nnative_count 2\n"
                                "# TYPE no_suffix counter\nno_suffix_total 0.1\n"
                                "# HELP ttft_seconds time \\\"to\\\"\\nfirst \\\\ token\n"
                                "# TYPE ttft_seconds histogram\n"
                                "# UNIT ttft_seconds seconds\n"
                                "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"0.0\"} 0\n"
                                "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"1.0\"} 0\n"
                                "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"2.5\"} 0\n"
                                "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"1e+06\"} 0\n"
                                "ttft_seconds_bucket{a_kind=\"a\",model=\"zeta\",le=\"1.152921504606847e+18\"} 0\n";
    CHECK_SLICE(slice_cut(slice_of(page, n), sizeof start - 1), slice_str(start));
    CHECK_STR(slice_of(page + n - 6, 6), "# EOF\n");
    free(page);
    sonde_registry_free(r);
    check_done();
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *want;
    } rows[] = {
        {0, "0.0"},           {1, "1.0"},
        {-1, "-1.0"},         {0.1, "0.1"},
        {0.001, "0.001"},     {0.0001, "0.0001"},
        {0.00001, "1e-05"},   {1e-9, "1e-09"},
        {100000, "100000.0"}, {1e6, "1e+06"},
        {1e10, "1e+10"},      {123456.5, "123456.5"},
        {2.5, "2.5"},         {1234567, "1.234567e+06"},
        {1e100, "1e+100"},    {0.30000000000000004, "0.30000000000000004"},
        {INFINITY, "+Inf"},   {-INFINITY, "-Inf"},
        {NAN, "NaN"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, 100);
        check_row("%g", rows[i].v);
        metric_text_f64_om(&b, rows[i].v);
        CHECK_STR(buf_slice(&b), rows[i].want);
        buf_free(&b);
    }
    check_done();
}

static void exemplars(void **state)
{
    (void)state;
    struct sonde_registry *r = sonde_registry_new(NULL);
    struct sonde_counter *c = sonde_counter_new(r, OPTIONS(.name = "c_total"), NULL);
    struct sonde_int_counter *n = sonde_int_counter_new(r, OPTIONS(.name = "n_total"), NULL);
    struct sonde_gauge *g = sonde_gauge_new(r, OPTIONS(.name = "g"), NULL);
    struct sonde_histogram *h = sonde_histogram_new(r, OPTIONS(.name = "h", BUCKETS(1, 2)), NULL);
    struct sonde_context parent = {.flags = 1};
    memset(parent.trace_id, 0xab, 16);
    memset(parent.span_id, 0xcd, 8);
    sonde_histogram_observe(h, 0.5); // outside of a span: none
    struct sonde_span *span = sonde_span_start("request", SONDE_KIND_SERVER, &parent);
    sonde_span_enter(span);
    int64_t from = clock_wall_ns();
    sonde_histogram_observe(h, 1.25);
    sonde_histogram_observe(h, 1.5); // one between two scrapes
    sonde_counter_add(c, 2);
    sonde_int_counter_add(n, 3);
    sonde_gauge_add(g, 1);
    char id[17];
    hex_encode(id, sonde_span_context(span)->span_id, 8);
    id[16] = 0;
    sonde_span_end(span);
    parent.flags = 0;
    struct sonde_span *unsampled = sonde_span_start("unsampled", SONDE_KIND_SERVER, &parent);
    sonde_span_enter(unsampled);
    sonde_histogram_observe(h, 0.75);
    sonde_span_end(unsampled);
    assert_true(sonde_histogram_observe_exemplar(h, 5, (struct sonde_label[]){{"trace_id", "x\"y"}, {"who", "w"}}, 2));

    size_t length;
    char *page = sonde_registry_text(r, SONDE_EXPOSITION_OPENMETRICS, &length), *at;
    // the times differ from run to run: they are checked, and taken out
    struct buf b;
    buf_init(&b, 65536);
    struct slice rest = slice_of(page, length), line;
    while (rest.p && slice_split(&rest, '\n', &line)) {
        ptrdiff_t mark = slice_find(line, SLICE(" # {")), end = (ptrdiff_t)line.n;
        while (mark >= 0 && line.p[end - 1] != ' ')
            end--;
        if (mark >= 0) {
            double time;
            check_row("%.*s", (int)line.n, line.p);
            CHECK(slice_to_f64(slice_from(line, (size_t)end), &time));
            CHECK(time > (double)from * 1e-9 - 0.002 && time < (double)clock_wall_ns() * 1e-9 + 0.002);
        }
        buf_put(&b, line.p, (size_t)end);
        buf_char(&b, '\n');
    }
    free(page);
    char want[2000];
    snprintf(want, sizeof want,
             "# TYPE c counter\nc_total 2 # {trace_id=\"abababababababababababababababab\",span_id=\"%s\"} 2 \n"
             "# TYPE g gauge\ng 1\n"
             "# TYPE h histogram\n"
             "h_bucket{le=\"1.0\"} 2\n"
             "h_bucket{le=\"2.0\"} 4 # {trace_id=\"abababababababababababababababab\",span_id=\"%s\"} 1.25 \n"
             "h_bucket{le=\"+Inf\"} 5 # {trace_id=\"x\\\"y\",who=\"w\"} 5 \n"
             "h_sum 9\nh_count 5\n"
             "# TYPE n counter\nn_total 3 # {trace_id=\"abababababababababababababababab\",span_id=\"%s\"} 3 \n# EOF\n\n",
             id, id, id);
    check_row("page");
    CHECK_STR(buf_slice(&b), want);
    buf_free(&b);

    check_row("text has none");
    page = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, &length);
    CHECK(slice_find(slice_of(page, length), SLICE("trace_id")) < 0);
    free(page);
    // renewed after a scrape
    parent.flags = 1;
    span = sonde_span_start("request", SONDE_KIND_SERVER, &parent);
    sonde_span_enter(span);
    sonde_histogram_observe(h, 1.75);
    sonde_span_end(span);
    page = sonde_registry_text(r, SONDE_EXPOSITION_OPENMETRICS, &length);
    check_row("renewed");
    CHECK((at = strstr(page, "h_bucket{le=\"2.0\"} 5 # {trace_id=\"abababababababababababababababab\"")) &&
          strstr(at, "} 1.75 "));
    free(page);
    sonde_registry_free(r);
    check_done();
}

static void exemplar_limits(void **state)
{
    (void)state;
    char runes_122[245] = "", runes_123[247] = ""; // of two bytes each
    for (int i = 0; i < 123; i++) {
        memcpy(runes_123 + 2 * i, "\xc3\xa4", 2);
        if (i < 122)
            memcpy(runes_122 + 2 * i, "\xc3\xa4", 2);
    }
    const struct {
        struct sonde_label labels[2];
        size_t n;
        bool kept;
    } rows[] = {
        {{{"id", "1"}}, 1, true},
        {{{0}}, 0, true},
        {{{"id", "1"}, {"id", "2"}}, 2, false},
        {{{"1d", "1"}}, 1, false},
        {{{"i-d", "1"}}, 1, false},
        {{{NULL, "1"}}, 1, false},
        {{{"id", NULL}}, 1, false},
        {{{"id", "\xff"}}, 1, false},
        {{{"abcdef", runes_122}}, 1, true},
        {{{"abcdef", runes_123}}, 1, false},
        {{{"abcde", runes_123}}, 1, true},
    };
    struct sonde_registry *r = sonde_registry_new(NULL);
    struct sonde_int_counter *n = sonde_int_counter_new(r, OPTIONS(.name = "n_total"), NULL);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%zu", i);
        CHECK(sonde_int_counter_add_exemplar(n, 1, rows[i].labels, rows[i].n) == rows[i].kept);
        CHECK_INT(sonde_int_counter_value(n), i + 1); // counted in any case
    }
    sonde_registry_free(r);
    check_done();
}

// Text is UTF-8 whatever was given, and OpenMetrics has a sum only where it cannot fall.
static void corners(void **state)
{
    (void)state;
    struct sonde_registry *r = sonde_registry_new(NULL);
    sonde_registry_label(r, "node", "n\xff", NULL);
    sonde_int_gauge_new(r, OPTIONS(.name = "a", .help = "h\xfe\r\n", LABELS({"l", "v\xff"})), NULL);
    struct sonde_metric_error err;
    assert_null(sonde_int_gauge_new(r, OPTIONS(.name = "a", .help = "h\xfe\r\n", LABELS({"l", "v\xfe"})), &err));
    CHECK_INT(err.code, SONDE_METRIC_EXISTS); // all of it is the same when it is clean
    sonde_histogram_observe(sonde_histogram_new(r, OPTIONS(.name = "below", BUCKETS(-1, 1)), NULL), 5);
    sonde_histogram_observe(sonde_histogram_new(r, OPTIONS(.name = "fell", BUCKETS(1)), NULL), -5);
    sonde_histogram_observe(sonde_histogram_new(r, OPTIONS(.name = "fine", BUCKETS(1)), NULL), 5);
    sonde_histogram_observe(sonde_native_histogram_new(r, OPTIONS(.name = "nat"), NULL), -5);
    char *text = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, NULL),
         *om = sonde_registry_text(r, SONDE_EXPOSITION_OPENMETRICS, NULL);
    CHECK(strstr(text, "# HELP a h\xef\xbf\xbd \\n\n"));
    CHECK(strstr(text, "a{l=\"v\xef\xbf\xbd\",node=\"n\xef\xbf\xbd\"} 0\n"));
    static const char *const names[] = {"below", "fell", "fine", "nat"};
    for (int i = 0; i < 4; i++) {
        char sum[32], count[32];
        check_row("%s", names[i]);
        snprintf(sum, sizeof sum, "\n%s_sum{", names[i]);
        snprintf(count, sizeof count, "\n%s_count{", names[i]);
        CHECK(strstr(text, sum) && strstr(text, count));
        CHECK_INT(strstr(om, sum) != NULL, i == 2);
        CHECK_INT(strstr(om, count) != NULL, i == 2);
    }
    free(text);
    free(om);
    sonde_registry_free(r);
    check_done();
}

static void negotiation(void **state)
{
    (void)state;
    enum { T = SONDE_EXPOSITION_TEXT, O = SONDE_EXPOSITION_OPENMETRICS, P = SONDE_EXPOSITION_PROTOBUF };
    static const struct {
        const char *accept;
        int want;
    } rows[] = {
        {NULL, T},
        {"", T},
        {"*/*", T},
        {"text/plain", T},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", T},
        {"application/openmetrics-text", O},
        {"application/openmetrics-text;version=1.0.0", O},
        {"Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", O},
        {"application/openmetrics-text;version=0.0.1", O},
        {"application/openmetrics-text;version=2.0.0", T},
        {"application/openmetrics-text;q=0", T},
        {"application/openmetrics-text;q=x", T},
        {"application/openmetrics-text;q=0.4,text/plain;q=0.5", T},
        {"application/openmetrics-text;q=0.5,text/plain;q=0.5", O},
        {"application/openmetrics-text;q=0.5,text/plain;version=1.0.0;q=0.9", O},
        // Prometheus 2.42
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/"
         "plain;version=0.0.4;q=0.5,"
         "*/*;q=0.1",
         O},
        // Prometheus 3
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
         O},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/"
         "plain;version=0.0.4;q=0.3",
         P},
        {"application/vnd.google.protobuf", T},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", T},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.1,text/plain", T},
        {",,;;=,q", T},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s", rows[i].accept ? rows[i].accept : "(null)");
        CHECK_INT(sonde_exposition_negotiate(rows[i].accept), rows[i].want);
    }
    CHECK_STR(slice_str(sonde_exposition_content_type(SONDE_EXPOSITION_TEXT)), "text/plain; version=0.0.4; charset=utf-8");
    CHECK_STR(slice_str(sonde_exposition_content_type(SONDE_EXPOSITION_OPENMETRICS)),
              "application/openmetrics-text; version=1.0.0; charset=utf-8");
    check_done();
}

static const char *set_gauge(void *arg)
{
    sonde_gauge_add(arg, 1);
    return NULL;
}

static const char *fails(void *arg)
{
    return *(int *)arg += 1, "the engine does not answer";
}

static const char *engine(void *arg, struct sonde_text *t)
{
    sonde_text_append(t, arg, strlen(arg));
    return NULL;
}

static const char *no_engine(void *arg, struct sonde_text *t)
{
    sonde_text_append(t, "half a line", 11);
    return arg;
}

static void callbacks(void **state)
{
    (void)state;
    struct sonde_registry *ns, *component, *endpoint, *root = hierarchy(&ns, &component, &endpoint);
    struct sonde_gauge *g = sonde_gauge_new(root, OPTIONS(.name = "g"), NULL);
    int failures = 0;
    static char a[] = "# HELP vllm:x of the engine\n# TYPE vllm:x counter\nvllm:x{engine=\"0\"} 12\n# TYPE dynamo_component_g "
                      "gauge\ndynamo_component_g 9",
                b[] = "sglang:y 1 1500\n# TYPE vllm:x counter\nvllm:x{engine=\"1\"} 13\n";
    assert_true(sonde_registry_on_update(component, fails, &failures));
    assert_true(sonde_registry_on_update(endpoint, set_gauge, g));
    assert_true(sonde_registry_on_text(root, engine, a));
    assert_true(sonde_registry_on_text(root, no_engine, "the engine is gone"));
    assert_true(sonde_registry_on_text(endpoint, engine, b));
    assert_false(sonde_registry_on_update(NULL, set_gauge, g) || sonde_registry_on_text(root, NULL, NULL));
    check_row("text");
    page_is(root, SONDE_EXPOSITION_TEXT,
            "# TYPE dynamo_component_g gauge\ndynamo_component_g 1\n"
            "# HELP vllm:x of the engine\n# TYPE vllm:x counter\nvllm:x{engine=\"0\"} 12\n# TYPE dynamo_component_g gauge\n"
            "dynamo_component_g 9\nsglang:y 1 1500\n# TYPE vllm:x counter\nvllm:x{engine=\"1\"} 13\n");
    check_row("OpenMetrics"); // a family that is there already is not there twice
    page_is(root, SONDE_EXPOSITION_OPENMETRICS,
            "# TYPE dynamo_component_g gauge\ndynamo_component_g 2\n"
            "# HELP vllm:x of the engine\n# TYPE vllm:x counter\nvllm:x_total{engine=\"0\"} 12\nvllm:x_total{engine=\"1\"} 13\n"
            "sglang:y 1 1.500\n# EOF\n");
    CHECK_INT(failures, 2);
    check_row("a part runs its own alone");
    page_is(endpoint, SONDE_EXPOSITION_TEXT, b);
    CHECK_INT(failures, 2);
    CHECK(sonde_gauge_value(g) == 3);
    sonde_registry_free(root);
    check_done();
}

// What OpenMetrics makes of names that meet, whoever brings them, and of the pages that Python's library writes.
static void names_that_meet(void **state)
{
    (void)state;
    static const struct {
        const char *what, *counter, *gauge, *text, *want;
    } rows[] = {
        {"a registry's counter and gauge", "x_total", "x", "", "# TYPE x gauge\nx 2\n# TYPE x_total unknown\nx_total 1\n# EOF\n"},
        {"an engine's counter", NULL, "x", "# TYPE x_total counter\nx_total 3\n",
         "# TYPE x gauge\nx 2\n# TYPE x_total unknown\nx_total 3\n# EOF\n"},
        {"an engine's gauge", "x_total", NULL, "# TYPE x gauge\nx 3\n", "# TYPE x counter\nx_total 1\n# EOF\n"},
        {"both an engine's", NULL, NULL, "# TYPE x_total counter\nx_total 3\n# TYPE x gauge\nx 4\n",
         "# TYPE x_total unknown\nx_total 3\n# TYPE x gauge\nx 4\n# EOF\n"},
        {"the same counter", "x_total", NULL, "# TYPE x_total counter\nx_total 3\n", "# TYPE x counter\nx_total 1\n# EOF\n"},
        {"nothing but the suffix", "_total_total", NULL, "# TYPE _total counter\n_total 3\n",
         "# TYPE _total counter\n_total_total 1\n# EOF\n"},
        {"when a counter began", NULL, NULL,
         "# TYPE x_total counter\nx_total{a=\"1\"} 3\nx_total{a=\"2\"} 4\n# HELP x_created when\n# TYPE x_created gauge\n"
         "x_created{a=\"1\"} 1.5e+09\nx_created{a=\"2\"} 1.6e+09\n",
         "# TYPE x counter\nx_total{a=\"1\"} 3\nx_created{a=\"1\"} 1.5e+09\nx_total{a=\"2\"} 4\nx_created{a=\"2\"} 1.6e+09\n"
         "# EOF\n"},
        {"when histograms and summaries began, said before and in another order", NULL, NULL,
         "# TYPE h_created gauge\nh_created{a=\"2\"} 7\nh_created{a=\"1\"} 6\nh_created{a=\"0\"} 5\n"
         "# TYPE h histogram\nh_bucket{a=\"1\",le=\"+Inf\"} 1\nh_sum{a=\"1\"} 2\nh_count{a=\"1\"} 1\n"
         "h_bucket{a=\"2\",le=\"+Inf\"} 0\nh_sum{a=\"2\"} 0\nh_count{a=\"2\"} 0\n"
         "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n# TYPE s_created gauge\ns_created 8\n",
         "# TYPE h histogram\nh_bucket{a=\"1\",le=\"+Inf\"} 1\nh_sum{a=\"1\"} 2\nh_count{a=\"1\"} 1\nh_created{a=\"1\"} 6\n"
         "h_bucket{a=\"2\",le=\"+Inf\"} 0\nh_sum{a=\"2\"} 0\nh_count{a=\"2\"} 0\nh_created{a=\"2\"} 7\n"
         "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\ns_created 8\n# EOF\n"},
        {"the beginning of something else", NULL, NULL, "# TYPE x gauge\nx 1\n# TYPE x_created gauge\nx_created 2\n",
         "# TYPE x gauge\nx 1\n# TYPE x_created gauge\nx_created 2\n# EOF\n"},
        {"a histogram of negative values", NULL, NULL,
         "# TYPE h histogram\nh_bucket{a=\"1\",le=\"-1\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 1\nh_sum{a=\"1\"} 9\nh_count{a=\"1\"} "
         "1\n"
         "h_bucket{a=\"2\",le=\"+Inf\"} 1\nh_sum{a=\"2\"} -9\nh_count{a=\"2\"} 1\n"
         "h_bucket{a=\"3\",le=\"+Inf\"} 1\nh_sum{a=\"3\"} 9\nh_count{a=\"3\"} 1\n",
         "# TYPE h histogram\nh_bucket{a=\"1\",le=\"-1.0\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 1\n"
         "h_bucket{a=\"2\",le=\"+Inf\"} 1\n"
         "h_bucket{a=\"3\",le=\"+Inf\"} 1\nh_sum{a=\"3\"} 9\nh_count{a=\"3\"} 1\n# EOF\n"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char text[1024];
        struct sonde_registry *r = sonde_registry_new(NULL);
        check_row("%s", rows[i].what);
        snprintf(text, sizeof text, "%s", rows[i].text);
        if (rows[i].counter)
            sonde_int_counter_add(sonde_int_counter_new(r, OPTIONS(.name = rows[i].counter), NULL), 1);
        if (rows[i].gauge)
            sonde_int_gauge_set(sonde_int_gauge_new(r, OPTIONS(.name = rows[i].gauge), NULL), 2);
        sonde_registry_on_text(r, engine, text);
        page_is(r, SONDE_EXPOSITION_OPENMETRICS, rows[i].want);
        sonde_registry_free(r);
    }
    check_done();
}

static double value_of(const char *page, const char *name)
{
    struct slice rest = slice_str(page), line;
    double v = NAN;
    while (rest.p && slice_split(&rest, '\n', &line))
        if (slice_starts(line, slice_str(name)) && line.p[strlen(name)] == ' ')
            slice_to_f64(slice_from(line, strlen(name) + 1), &v);
    return v;
}

static void process(void **state)
{
    (void)state;
    struct sonde_registry *ns, *component, *endpoint, *root = hierarchy(&ns, &component, &endpoint);
    struct sonde_metric_error err;
    double now = (double)clock_wall_ns() * 1e-9;
    assert_true(sonde_registry_add_process(endpoint, &err)); // goes to the root
    assert_true(sonde_registry_add_process(root, &err));     // once
    usleep(2000);
    char *page = sonde_registry_text(root, SONDE_EXPOSITION_TEXT, NULL);
    CHECK(value_of(page, "process_cpu_seconds_total") >= 0);
    CHECK(value_of(page, "process_resident_memory_bytes") > 100000);
    CHECK(value_of(page, "process_virtual_memory_bytes") >= value_of(page, "process_resident_memory_bytes"));
    CHECK(value_of(page, "process_open_fds") >= 3);
    CHECK(value_of(page, "process_max_fds") >= value_of(page, "process_open_fds"));
    CHECK(value_of(page, "process_threads") >= 1);
    double started = value_of(page, "process_start_time_seconds");
    CHECK(started > now - 100 && started < now + 2);
    CHECK(value_of(page, "dynamo_component_uptime_seconds") >= 0.002);
    CHECK(value_of(page, "sonde_records_lost_total") == 0);
    CHECK(value_of(page, "sonde_export_spans_dropped_total") == 0);
    CHECK(strstr(page, "# TYPE process_cpu_seconds_total counter\n") && strstr(page, "# TYPE process_open_fds gauge\n"));
    free(page);
    sonde_registry_free(root);
    root = sonde_registry_new(NULL);
    sonde_gauge_new(root, OPTIONS(.name = "process_threads"), NULL);
    CHECK(!sonde_registry_add_process(root, &err) && err.code == SONDE_METRIC_EXISTS && strstr(err.message, "process_threads"));
    page_is(root, SONDE_EXPOSITION_TEXT, "# TYPE process_threads gauge\nprocess_threads 0\n"); // nothing stays behind
    sonde_registry_free(root);
    check_done();
}

// ---- protobuf: printed as text by a reader that knows nothing of the writer -----------------------------------------
static void message_print(struct buf *out, struct pb *r, int depth)
{
    while (pb_next(r)) {
        uint64_t v;
        double d;
        struct slice text;
        struct pb child;
        buf_printf(out, " %u:", r->field);
        if (r->wire == PB_VARINT && pb_u64(r, &v)) {
            buf_u64(out, v);
        } else if (r->wire == PB_FIXED64 && pb_double(r, &d)) {
            buf_f64(out, d);
        } else if (r->wire == PB_LEN &&
                   ((depth == 0 && r->field == 4) || (depth == 1) ||
                    (depth == 2 && r->field != 10 && r->field != 13 && !(r->field <= 2)) ||
                    (depth == 3 && r->field != 2 && r->field != 1)) &&
                   pb_message(r, &child)) {
            buf_char(out, '{');
            message_print(out, &child, depth + 1);
            buf_str(out, " }");
        } else if (pb_bytes(r, &text)) {
            buf_char(out, '"');
            for (size_t i = 0; i < text.n; i++)
                if (text.p[i] >= ' ' && text.p[i] < 127)
                    buf_char(out, text.p[i]);
                else
                    buf_printf(out, "<%u>", (unsigned char)text.p[i]);
            buf_char(out, '"');
        }
    }
}

static void protobuf(void **state)
{
    (void)state;
    static char engine_text[] =
        "# TYPE e_total counter\ne_total{x=\"1\"} 12 1500\n# TYPE eh histogram\neh_bucket{m=\"a\",le=\"1\"} 2\n"
        "eh_bucket{m=\"a\",le=\"+Inf\"} 3\neh_sum{m=\"a\"} 4.5\neh_count{m=\"a\"} 3\neh_count{m=\"b\"} 1\n"
        "# TYPE es summary\nes{quantile=\"0.5\"} 7\nes_sum 8\nes_count 9\nplain 1\n";
    struct sonde_registry *r = sonde_registry_new(NULL);
    sonde_int_counter_add_exemplar(sonde_int_counter_new(r, OPTIONS(.name = "a_total", .help = "h", LABELS({"l", "v"})), NULL), 7,
                                   (struct sonde_label[]){{"k", "w"}}, 1);
    sonde_gauge_set(sonde_gauge_new(r, OPTIONS(.name = "b_seconds", .unit = "seconds"), NULL), -0.5);
    struct sonde_histogram *h = sonde_histogram_new(r, OPTIONS(.name = "c", BUCKETS(1, 2)), NULL);
    sonde_histogram_observe(h, 1.5);
    sonde_histogram_observe(h, 9);
    h = sonde_native_histogram_new(r, OPTIONS(.name = "d"), NULL);
    sonde_histogram_observe(h, 1); // index -1 at scale 8: Prometheus' 0
    sonde_histogram_observe(h, 1);
    sonde_histogram_observe(h, 1.0068); // three buckets further
    sonde_histogram_observe(h, 0);
    sonde_histogram_observe(h, -2);
    sonde_native_histogram_new(r, OPTIONS(.name = "empty"), NULL);
    sonde_registry_on_text(r, engine, engine_text);
    static const char *const want[] = {
        "1:\"a_total\" 2:\"h\" 3:0 4:{ 1:{ 1:\"l\" 2:\"v\" } 3:{ 1:7 2:\"EXEMPLAR\" } }",
        "1:\"b_seconds\" 2:\"\" 3:1 4:{ 2:{ 1:-0.5 } } 5:\"seconds\"",
        "1:\"c\" 2:\"\" 3:4 4:{ 7:{ 1:2 2:10.5 3:{ 1:0 2:1 } 3:{ 1:1 2:2 } 3:{ 1:2 2:+Inf } } }",
        "1:\"d\" 2:\"\" 3:4 4:{ 7:{ 1:5 2:1.0068000000000001 5:16 7:1 9:{ 1:512 2:1 } 10:\"<2>\" 12:{ 1:0 2:4 } "
        "13:\"<4><3><0><2>\" "
        "} }",
        "1:\"empty\" 2:\"\" 3:4 4:{ 7:{ 1:0 2:0 5:16 7:0 12:{ } } }",
        "1:\"e_total\" 2:\"\" 3:0 4:{ 1:{ 1:\"x\" 2:\"1\" } 3:{ 1:12 } 6:1500 }",
        ("1:\"eh\" 2:\"\" 3:4 4:{ 1:{ 1:\"m\" 2:\"a\" } 7:{ 3:{ 1:2 2:1 } 3:{ 1:3 2:+Inf } 2:4.5 1:3 } } 4:{ 1:{ 1:\"m\" 2:\"b\" "
         "} 7:{ 1:1 } }"),
        "1:\"es\" 2:\"\" 3:2 4:{ 4:{ 3:{ 1:0.5 2:7 } 2:8 1:9 } }",
        "1:\"plain\" 2:\"\" 3:3 4:{ 5:{ 1:1 } }",
    };
    size_t n, i = 0;
    char *page = sonde_registry_text(r, SONDE_EXPOSITION_PROTOBUF, &n);
    assert_non_null(page);
    for (size_t at = 0; at < n; i++) {
        uint64_t length = 0;
        for (int shift = 0;; shift += 7) {
            uint8_t byte = (uint8_t)page[at++];
            length |= (uint64_t)(byte & 127) << shift;
            if (byte < 128)
                break;
        }
        struct pb reader;
        struct buf out;
        buf_init(&out, 65536);
        check_row("message %zu", i);
        if (!CHECK(at + length <= n && i < CHECK_ROWS(want)))
            break;
        pb_init(&reader, slice_of(page + at, length), NULL);
        message_print(&out, &reader, 0);
        CHECK(!reader.failed);
        at += length;
        if (i == 0) { // its time differs from run to run
            ptrdiff_t from = slice_find(buf_slice(&out), SLICE(" 2:\"<10>"));
            CHECK(from > 0 && slice_find(buf_slice(&out), SLICE("<10><1>k<18><1>w<17>")) > 0);
            out.n = from > 0 ? (size_t)from : out.n;
            buf_str(&out, " 2:\"EXEMPLAR\" } }");
        }
        CHECK_STR(slice_from(buf_slice(&out), 1), want[i]);
        buf_free(&out);
    }
    CHECK_INT(i, CHECK_ROWS(want));
    free(page);
    sonde_registry_free(r);
    check_done();
}

// Values of labels that are no UTF-8, or too long, make no page that its readers refuse.
static void odd_values(void **state)
{
    (void)state;
    struct sonde_registry *r = sonde_registry_new(NULL);
    struct sonde_int_counter_vec *v = sonde_int_counter_vec_new(r, OPTIONS(.name = "n_total", VARS("a")), NULL);
    char *longer = malloc(3002);
    memset(longer, 'x', 3001);
    memcpy(longer + 2047, "\xc3\xa4", 2); // the cut falls into this character
    longer[3001] = 0;
    sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES("\xff")), 1);
    sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES("\xfe")), 1); // reads the same: one series
    sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES(longer)), 1);
    sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES(NULL)), 1);
    sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES("")), 1);
    struct buf want;
    buf_init(&want, 10000);
    buf_str(&want, "# TYPE n_total counter\nn_total{a=\"\"} 2\nn_total{a=\"");
    buf_put(&want, longer, 2047);
    buf_str(&want, "\"} 1\nn_total{a=\"\xef\xbf\xbd\"} 2\n");
    buf_put(&want, "", 1);
    page_is(r, SONDE_EXPOSITION_TEXT, want.p);
    buf_free(&want);
    free(longer);
    sonde_registry_free(r);
    check_done();
}

int main(void)
{
    setenv("SONDE_RING_SIZE", "262144", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),      cmocka_unit_test(golden),          cmocka_unit_test(numbers),
        cmocka_unit_test(exemplars),   cmocka_unit_test(exemplar_limits), cmocka_unit_test(corners),
        cmocka_unit_test(negotiation), cmocka_unit_test(callbacks),       cmocka_unit_test(process),
        cmocka_unit_test(odd_values),  cmocka_unit_test(protobuf),        cmocka_unit_test(names_that_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
