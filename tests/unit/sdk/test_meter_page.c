// Instruments as Prometheus families: names, units, labels, types, metadata, exemplars; beside a registry's own.
#include "meter_dump.h"

#define OPTIONS(...)  (&(struct sonde_instrument_options){__VA_ARGS__})
#define PROVIDER(...) sonde_meter_provider_new(&(struct sonde_meter_provider_options){__VA_ARGS__})

static void page_is(struct sonde_meter_provider *p, const struct sonde_meter_page_options *o, enum sonde_exposition e,
                    const char *want)
{
    size_t n;
    char *page = sonde_meter_text(p, o, e, &n);
    CHECK(page != NULL);
    CHECK_STR(slice_of(page, n), want);
    free(page);
}

static const struct sonde_meter_page_options plain = {.no_target_info = true, .no_scope_labels = true};

// Exponential buckets as classic ones: bounds are powers of two whatever the scale; protobuf has the buckets themselves.
static void exponential(void **state)
{
    (void)state;
    static const struct {
        double v[4];
        const char *om, *text;
    } rows[] = {
        {{1, 3, 4, 5}, "0.5:0 1.0:1 2.0:1 4.0:3 8.0:4 +Inf:4", "0.5:0 1:1 2:1 4:3 8:4 +Inf:4"},
        {{0, 0, 3}, "0.0:2 2.0:2 4.0:3 +Inf:3", "0:2 2:2 4:3 +Inf:3"},
        {{0}, "0.0:1 +Inf:1", "0:1 +Inf:1"},
        {{0.1}, "0.0625:0 0.125:1 +Inf:1", "0.0625:0 0.125:1 +Inf:1"},
        {{1e-300, 1e300}, NULL, NULL}, // coarse: only that it is in order
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%zu", i);
        struct sonde_view view = {.aggregation = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM};
        struct sonde_meter_provider *p = PROVIDER(.is_private = true, .views = &view, .n_views = 1);
        struct sonde_instrument *h =
            sonde_instrument_new(sonde_meter_get(p, NULL), SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h", .f64 = true));
        for (int k = 0; k < 4; k++)
            if (k == 0 || rows[i].v[k] > 0 || (k == 1 && rows[i].v[2] > 0))
                sonde_instrument_add_f64(h, rows[i].v[k], NULL, 0);
        for (int om = 0; om < 2; om++) {
            char got[4096] = "", le[64], *page = sonde_meter_text(p, &plain, om ? SONDE_EXPOSITION_OPENMETRICS : 0, NULL);
            double last = -1;
            for (char *at = page; (at = strstr(at, "le=\"")); at++) {
                unsigned long long n = 0;
                CHECK(sscanf(at, "le=\"%63[^\"]\"} %llu", le, &n) == 2);
                CHECK(strtod(le, NULL) > last);
                last = strtod(le, NULL);
                snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s:%llu", *got ? " " : "", le, n);
            }
            if (rows[i].text)
                CHECK_STR(slice_str(got), om ? rows[i].om : rows[i].text);
            free(page);
        }
        size_t n;
        char *proto = sonde_meter_text(p, &plain, SONDE_EXPOSITION_PROTOBUF, &n);
        CHECK(proto && memmem(proto, n, "\x62", 1)); // positive_span
        CHECK(proto && !memmem(proto, n, "le", 2) && n < 2000);
        free(proto);
        sonde_meter_provider_free(p);
    }
    check_done();
}

// X39, X41, X42, X49-X52: name and type of one instrument.
static void names(void **state)
{
    (void)state;
    static const struct {
        enum sonde_instrument_kind kind;
        const char *name, *unit, *want;
        bool no_total, no_units;
    } rows[] = {
        {SONDE_INSTRUMENT_COUNTER, "http.server.requests", "{request}", "http_server_requests_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "http.server.requests", "{request}", "http_server_requests counter", 1, 0},
        {SONDE_INSTRUMENT_COUNTER, "requests.total", "", "requests_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "a.b-c/d_e", "", "a_b_c_d_e_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "a..b--c", "", "a_b_c_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "io", "By", "io_bytes_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "io", "By", "io_total counter", 0, 1},
        {SONDE_INSTRUMENT_COUNTER, "io.bytes", "By", "io_bytes_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "io.bytes.total", "By", "io_bytes_total counter", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "cpu", "s", "cpu_seconds_total counter", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "speed", "m/s", "speed_meters_per_second gauge", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "rate", "By/min", "rate_bytes_per_minute gauge", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "rate", "{packet}/s", "rate_per_second gauge", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "use", "1", "use_ratio gauge", 0, 0},
        {SONDE_INSTRUMENT_COUNTER, "use", "1", "use_total counter", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "use", "%", "use_percent gauge", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "temperature", "Cel", "temperature_celsius gauge", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "x", "widgets", "x_widgets gauge", 0, 0},
        {SONDE_INSTRUMENT_GAUGE, "cost", "$", "cost_dollars gauge", 0, 0},
        {SONDE_INSTRUMENT_UPDOWN_COUNTER, "active", "{request}", "active gauge", 0, 0},
        {SONDE_INSTRUMENT_UPDOWN_COUNTER, "memory", "MiBy", "memory_mebibytes gauge", 0, 0},
        {SONDE_INSTRUMENT_HISTOGRAM, "latency", "ms", "latency_milliseconds histogram", 0, 0},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s %s", rows[i].name, rows[i].unit);
        struct sonde_meter_provider *p = PROVIDER(.is_private = true);
        struct sonde_meter_page_options o = {.no_target_info = true, .no_total = rows[i].no_total, .no_units = rows[i].no_units};
        sonde_instrument_add(
            sonde_instrument_new(sonde_meter_get(p, NULL), rows[i].kind, OPTIONS(.name = rows[i].name, .unit = rows[i].unit)), 1,
            NULL, 0);
        char want[200], *page = sonde_meter_text(p, &o, SONDE_EXPOSITION_TEXT, NULL);
        snprintf(want, sizeof want, "# TYPE %s\n", rows[i].want);
        CHECK_STR(slice_cut(slice_str(page), strlen(want)), want);
        free(page);
        sonde_meter_provider_free(p);
    }
    check_done();
}

static void fill(struct sonde_meter_provider *p)
{
    static const double bounds[] = {1, 2.5};
    struct sonde_meter *m = sonde_meter_get(p, &(struct sonde_scope){"lib", "1.0", "https://s", ATTRS(A("team.name", "kv"))});
    struct sonde_instrument *c =
        sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "req", .description = "all of\nthem \\ \"x\""));
    struct sonde_instrument *h = sonde_instrument_new(
        m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "lat", .unit = "s", .f64 = true, .bounds = bounds, .n_bounds = 2));
    struct sonde_instrument *g = sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "g", .f64 = true));
    sonde_instrument_add(
        c, 2, ATTRS(A("http.route", "/a\"b\\\n"), A("http/route", "z"), I("n", 5), SONDE_FIELD(SONDE_BOOL("ok", true))));
    sonde_instrument_add(c, 1, NULL, 0);
    sonde_instrument_add_f64(h, 1, NULL, 0);
    sonde_instrument_add_f64(h, 2, NULL, 0);
    sonde_instrument_add_f64(h, 9, NULL, 0);
    sonde_instrument_add_f64(g, 0.25, ATTRS(A("1st", "x")));
}

// X40, X43-X48, X54, X56, X57: whole pages.
static void pages(void **state)
{
    (void)state;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true, .exemplar_filter = SONDE_EXEMPLARS_ALWAYS_OFF);
    fill(p);
#define SCOPE "otel_scope_name=\"lib\",otel_scope_schema_url=\"https://s\",otel_scope_team_name=\"kv\",otel_scope_version=\"1.0\""
    page_is(p, &(struct sonde_meter_page_options){.no_target_info = true}, SONDE_EXPOSITION_TEXT,
            "# TYPE g gauge\ng{_1st=\"x\"," SCOPE "} 0.25\n"
            "# TYPE lat_seconds histogram\n"
            "lat_seconds_bucket{" SCOPE ",le=\"1\"} 1\nlat_seconds_bucket{" SCOPE ",le=\"2.5\"} 2\nlat_seconds_bucket{" SCOPE
            ",le=\"+Inf\"} 3\n"
            "lat_seconds_sum{" SCOPE "} 12\nlat_seconds_count{" SCOPE "} 3\n"
            "# HELP req_total all of\\nthem \\\\ \"x\"\n# TYPE req_total counter\n"
            "req_total{http_route=\"/a\\\"b\\\\\\n;z\",n=\"5\",ok=\"true\"," SCOPE "} 2\n"
            "req_total{" SCOPE "} 1\n");
    page_is(p, &plain, SONDE_EXPOSITION_OPENMETRICS,
            "# TYPE g gauge\ng{_1st=\"x\"} 0.25\n"
            "# TYPE lat_seconds histogram\n# UNIT lat_seconds seconds\n"
            "lat_seconds_bucket{le=\"1.0\"} 1\nlat_seconds_bucket{le=\"2.5\"} 2\nlat_seconds_bucket{le=\"+Inf\"} 3\n"
            "lat_seconds_sum 12\nlat_seconds_count 3\n"
            "# HELP req all of\\nthem \\\\ \\\"x\\\"\n# TYPE req counter\n"
            "req_total 1\nreq_total{http_route=\"/a\\\"b\\\\\\n;z\",n=\"5\",ok=\"true\"} 2\n# EOF\n");
    sonde_meter_provider_free(p);
    check_done();
}

// X38, X57: several meters in one family: one help, one type, no line twice.
static void meeting(void **state)
{
    (void)state;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_meter *a = sonde_meter_get(p, &(struct sonde_scope){.name = "a"}),
                       *b = sonde_meter_get(p, &(struct sonde_scope){.name = "b"});
    sonde_instrument_add(sonde_instrument_new(a, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "r", .description = "first")), 1, NULL,
                         0);
    sonde_instrument_add(sonde_instrument_new(b, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "r", .description = "second")), 2,
                         NULL, 0);
    sonde_instrument_add(sonde_instrument_new(b, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "r_total")), 3, NULL, 0);
    page_is(p, &(struct sonde_meter_page_options){.no_target_info = true}, SONDE_EXPOSITION_TEXT,
            "# HELP r_total first\n# TYPE r_total counter\nr_total{otel_scope_name=\"a\"} 1\nr_total{otel_scope_name=\"b\"} 2\n");
    page_is(p, &plain, SONDE_EXPOSITION_TEXT, "# HELP r_total first\n# TYPE r_total counter\nr_total 1\n");
    sonde_meter_provider_free(p);
    check_done();
}

// "le" is the bucket's own label: a user's attribute of that name moves aside, as a scrape would move it.
static void bucket_label(void **state)
{
    (void)state;
    static const double bounds[] = {1};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_meter *m = sonde_meter_get(p, NULL);
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("le", "x")), SONDE_FIELD(SONDE_INT("a", 1))};
    sonde_instrument_add(
        sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h", .bounds = bounds, .n_bounds = 1)), 1, f, 2);
    sonde_instrument_add(sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "i")), 2, f, 2);
    page_is(p, &plain, SONDE_EXPOSITION_TEXT,
            "# TYPE h histogram\nh_bucket{a=\"1\",exported_le=\"x\",le=\"1\"} 1\n"
            "h_bucket{a=\"1\",exported_le=\"x\",le=\"+Inf\"} 1\nh_sum{a=\"1\",exported_le=\"x\"} 1\n"
            "h_count{a=\"1\",exported_le=\"x\"} 1\n# TYPE i gauge\ni{a=\"1\",le=\"x\"} 2\n");
    sonde_meter_provider_free(p);
    check_done();
}

// X59.
static void target(void **state)
{
    (void)state;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true, .resource = "service.name=mine,team=kv");
    sonde_instrument_add(sonde_instrument_new(sonde_meter_get(p, NULL), SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "g")), 1, NULL,
                         0);
    char *page = sonde_meter_text(p, NULL, SONDE_EXPOSITION_TEXT, NULL),
         *om = sonde_meter_text(p, NULL, SONDE_EXPOSITION_OPENMETRICS, NULL);
    CHECK(slice_starts(slice_str(page), SLICE("# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{")));
    CHECK(strstr(page, "service_name=\"mine\"") && strstr(page, "team=\"kv\"") && strstr(page, "telemetry_sdk_language=\"") &&
          strstr(page, "} 1\n# TYPE g gauge\n"));
    CHECK(slice_starts(slice_str(om), SLICE("# HELP target Target metadata\n# TYPE target info\ntarget_info{")));
    free(page);
    free(om);
    sonde_meter_provider_free(p);
    check_done();
}

// X58: exemplars on counters and buckets of an OpenMetrics page, with the attributes that a view dropped.
static void exemplars(void **state)
{
    (void)state;
    static const double bounds[] = {1};
    static const char *const keep[] = {"k"};
    struct sonde_view v = {.instrument_name = "*", .keep = keep, .n_keep = 1};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true, .views = &v, .n_views = 1);
    struct sonde_meter *m = sonde_meter_get(p, NULL);
    struct sonde_instrument *c = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *h =
        sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h", .f64 = true, .bounds = bounds, .n_bounds = 1));
    struct sonde_span *s = sonde_span_start("s", SONDE_KIND_INTERNAL, NULL);
    char id[33], want[600], long_value[200];
    memset(long_value, 'v', 199);
    long_value[199] = 0;
    sonde_span_enter(s);
    sonde_instrument_add(c, 1, ATTRS(A("user.id", "7"), A("long", long_value)));
    sonde_instrument_add_f64(h, 0.5, NULL, 0);
    sonde_instrument_add_f64(h, 4, NULL, 0);
    sonde_span_exit(s);
    hex_encode(id, sonde_span_context(s)->trace_id, 16);
    id[32] = 0;
    sonde_span_end(s);
    char *page = sonde_meter_text(p, &plain, SONDE_EXPOSITION_OPENMETRICS, NULL);
    static const struct {
        const char *line, *value;
    } lines[] = {{"c_total 1 # {trace_id=\"%s\",span_id=\"", ",user_id=\"7\"} 1 "},
                 {"h_bucket{le=\"1.0\"} 1 # {trace_id=\"%s\",span_id=\"", "\"} 0.5 "},
                 {"h_bucket{le=\"+Inf\"} 2 # {trace_id=\"%s\",span_id=\"", "\"} 4 "}};
    for (size_t i = 0; i < CHECK_ROWS(lines); i++) {
        check_row("%s", lines[i].line);
        snprintf(want, sizeof want, lines[i].line, id);
        char *at = strstr(page, want);
        CHECK(at && strstr(at, lines[i].value) && strstr(at, lines[i].value) < strchr(at, '\n'));
    }
    CHECK(!strstr(page, "vvv"));
    char *text = sonde_meter_text(p, &plain, SONDE_EXPOSITION_TEXT, NULL);
    CHECK(!strstr(text, " # {"));
    free(text);
    free(page);
    sonde_meter_provider_free(p);
    check_done();
}

static struct sonde_metric_data delta;
static bool produce(void *arg, const struct sonde_metric_filter *filter, struct sonde_collection *to)
{
    (void)arg;
    (void)filter;
    return sonde_collection_add(to, &delta);
}

// X53, X55 on a page that a registry keeps; a registry's own families stay before, and win.
static void in_registry(void **state)
{
    (void)state;
    struct sonde_registry *r = sonde_registry_new("");
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_point point = {.i = 5};
    delta = (struct sonde_metric_data){.name = "d",
                                       .kind = SONDE_DATA_SUM,
                                       .monotonic = true,
                                       .temporality = SONDE_TEMPORALITY_DELTA,
                                       .points = &point,
                                       .n_points = 1};
    struct sonde_meter_page_options o = plain;
    o.producer = produce;
    CHECK(sonde_registry_add_meters(r, p, &o));
    sonde_int_counter_add(sonde_int_counter_new(r, &(struct sonde_metric_options){.name = "own_total", .help = "h"}, NULL), 1);
    sonde_instrument_add(sonde_instrument_new(sonde_meter_get(p, NULL), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "own")), 9,
                         NULL, 0);
    sonde_instrument_add(sonde_instrument_new(sonde_meter_get(p, NULL), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "b")), 9, NULL,
                         0);
    for (int i = 1; i <= 2; i++) {
        char want[300];
        size_t n;
        char *page = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, &n);
        snprintf(want, sizeof want,
                 "# HELP own_total h\n# TYPE own_total counter\nown_total 1\n# TYPE b_total counter\nb_total 9\n# TYPE d_total "
                 "counter\nd_total %d\n",
                 5 * i);
        CHECK_STR(slice_of(page, n), want);
        free(page);
    }
    size_t n;
    char *proto = sonde_registry_text(r, SONDE_EXPOSITION_PROTOBUF, &n);
    CHECK(proto && slice_find(slice_of(proto, n), SLICE("b_total")) > 0);
    free(proto);
    sonde_registry_free(r);
    sonde_meter_provider_free(p);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),        cmocka_unit_test(exponential), cmocka_unit_test(pages),     cmocka_unit_test(meeting),
        cmocka_unit_test(bucket_label), cmocka_unit_test(target),      cmocka_unit_test(exemplars), cmocka_unit_test(in_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
