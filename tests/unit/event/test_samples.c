// Metrics of all wire formats as samples: a request against the lines it must give.
#include "base/limits.h"
#include "event/decode.h"
#include "event/metrics_text.h"
#include "event/sample.h"
#include "event/write.h"
#include "support.h"

#define NOW 1700000000123456789ll // arrival: …123 ms; the hour began at 1699999200

static void print_side(struct buf *b, const char *name, const struct histogram_side *s)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        buf_printf(b, " %s%+d:", name, s->spans[i].offset);
        for (uint32_t k = 0; k < s->spans[i].length; k++) {
            buf_char(b, k ? ',' : '[');
            buf_f64(b, s->counts[at++]);
        }
        buf_char(b, ']');
    }
}

static void print_histogram(struct buf *b, struct slice bytes)
{
    struct histogram_sample h;
    struct arena a;
    arena_init(&a, MIB(1));
    assert_int_equal(histogram_decode(bytes, &a, &h), ERR_OK);
    buf_printf(b, " schema %d count %g sum %s%g zero %g/%g", h.schema, h.count, sample_is_stale(h.sum) ? "stale " : "",
               sample_is_stale(h.sum) ? 0 : h.sum, h.zero_count, h.zero_threshold);
    print_side(b, "p", &h.positive);
    print_side(b, "n", &h.negative);
    for (uint32_t i = 0; i < h.n_bounds; i++)
        buf_printf(b, " <=%g", h.bounds[i]);
    arena_free(&a);
}

static void print_row(struct buf *b, const struct batch *batch, uint32_t row)
{
    const struct resource *r = &batch->resources[batch->resource[row]];
    struct value v;
    struct exemplar e;
    assert_int_equal(r->n_attrs, 0);
    if (!r->n_labels)
        buf_printf(b, "# %.*s %.*s", (int)column_str(batch->field[FIELD_NAME], row).n,
                   column_str(batch->field[FIELD_NAME], row).p, (int)column_str(batch->field[FIELD_METRIC_TYPE], row).n,
                   column_str(batch->field[FIELD_METRIC_TYPE], row).p);
    for (uint32_t i = 0; i < r->n_labels; i++)
        buf_printf(b, "%s%.*s=%.*s", i ? "," : "", (int)r->labels[i].name.n, r->labels[i].name.p, (int)r->labels[i].value.n,
                   r->labels[i].value.p);
    for (enum field f = FIELD_UNIT; f <= FIELD_DESCRIPTION; f++)
        if (column_str(batch->field[f], row).n)
            buf_printf(b, " \"%.*s\"", (int)column_str(batch->field[f], row).n, column_str(batch->field[f], row).p);
    if (column_value(batch->field[FIELD_VALUE], row, &v)) {
        buf_char(b, ' ');
        if (sample_is_stale(v.f64))
            buf_str(b, "stale");
        else
            buf_f64(b, v.f64);
    }
    if (column_str(batch->field[FIELD_HISTOGRAM], row).n)
        print_histogram(b, column_str(batch->field[FIELD_HISTOGRAM], row));
    assert_int_equal(batch->time[row] % 1000000, 0);
    buf_printf(b, " @%lld", (long long)(batch->time[row] / 1000000));
    if (column_i64(batch->field[FIELD_START], row, 0))
        buf_printf(b, " since %lld", (long long)(column_i64(batch->field[FIELD_START], row, 0) / 1000000));
    if (column_i64(batch->field[FIELD_FLAGS], row, 0))
        buf_str(b, " delta");
    for (struct slice rest = column_str(batch->field[FIELD_EXEMPLARS], row); exemplar_next(&rest, &e);) {
        buf_printf(b, " # %g@%lld", e.value, (long long)(e.time / 1000000));
        for (uint32_t i = 0; i < e.n_labels; i++)
            buf_printf(b, " %.*s=%.*s", (int)e.labels[i].name.n, e.labels[i].name.p, (int)e.labels[i].value.n,
                       e.labels[i].value.p);
    }
}

// All rows, one a line, sorted.
static char *text_of(const struct batch *b)
{
    char **lines = malloc((b->rows + 1) * sizeof *lines);
    for (uint32_t i = 0; i < b->rows; i++) {
        struct buf line;
        buf_init(&line, MIB(1));
        print_row(&line, b, i);
        buf_char(&line, 0);
        lines[i] = line.p;
    }
    char *all = joined(lines, b->rows);
    free(lines);
    return all;
}

static struct batch *decode(enum wire_format f, struct slice bytes, struct wire_report *report)
{
    struct wire_options opt = {.received_ns = NOW};
    struct error err = {0};
    struct batch *b;
    if (wire_decode(f, bytes, false, &opt, &b, report, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    return b;
}

// What a server writes to its log for a batch gives the same rows again.
static void check_write2(const struct batch *b, const char *want)
{
    struct buf pb;
    struct wire_report report;
    buf_init(&pb, MIB(8));
    if (b->field[FIELD_FLAGS])
        return;
    assert_int_equal(write2_encode(b, &pb), ERR_OK);
    struct batch *again = decode(WIRE_WRITE2, buf_slice(&pb), &report);
    assert_int_equal(report.rejected, 0);
    char *got = text_of(again);
    assert_string_equal(got, want);
    free(got);
    batch_unref(again);
    buf_free(&pb);
}

static void check(enum wire_format f, struct slice bytes, const char *want, uint32_t accepted, const char *reason)
{
    struct wire_report report;
    struct batch *b = decode(f, bytes, &report);
    char *got = text_of(b);
    assert_string_equal(got, want);
    assert_int_equal(report.accepted, accepted);
    assert_int_equal(report.rejected > 0, reason != NULL);
    if (reason && !strstr(report.reason[0], reason))
        fail_msg("reason \"%s\" has no \"%s\"", report.reason[0], reason);
    check_write2(b, got);
    free(got);
    batch_unref(b);
}

// ---- OTLP -----------------------------------------------------------------------------------------------------------
#define RESOURCE                                                                                                \
    "'resource':{'attributes':[{'key':'service.name','value':{'stringValue':'fe'}},{'key':'service.namespace'," \
    "'value':{'stringValue':'dyn'}},{'key':'service.instance.id','value':{'stringValue':'i1'}}]}"
#define METRICS(resource, metrics) "{'resourceMetrics':[{" resource ",'scopeMetrics':[{'metrics':[" metrics "]}]}]}"
#define BASE                       ",instance=i1,job=dyn/fe,service_instance_id=i1,service_name=fe,service_namespace=dyn"

static const struct {
    const char *json, *want;
    uint32_t accepted;
    const char *reason;
} otlp[] = {
    // a gauge; integers; units in words; attributes of all types
    {METRICS(RESOURCE, "{'name':'kv.usage','unit':'1','description':'how full','gauge':{'dataPoints':[{'timeUnixNano':"
                       "'1700000000500999999','asInt':'-7','attributes':[{'key':'gpu.id','value':{'intValue':'3'}},{'key':'ok',"
                       "'value':{'boolValue':true}},{'key':'f','value':{'doubleValue':0.5}},{'key':'l','value':{'arrayValue':"
                       "{'values':[{'stringValue':'x'}]}}}]}]}}"),
     "# kv_usage_ratio gauge \"ratio\" \"how full\" @1699999200000\n"
     "__name__=kv_usage_ratio,f=0.5,gpu_id=3,instance=i1,job=dyn/fe,l=[\"x\"],ok=true,service_instance_id=i1,service_name=fe,"
     "service_namespace=dyn -7 @1700000000500\n",
     1, NULL},
    // counters: _total; start; exemplar with its trace; a point without time is of now
    {METRICS(RESOURCE,
             "{'name':'requests','sum':{'aggregationTemporality':2,'isMonotonic':true,'dataPoints':[{"
             "'startTimeUnixNano':'1600000000000000000','asDouble':5,'exemplars':[{'timeUnixNano':'1700000000000000000',"
             "'asDouble':1,'traceId':'000102030405060708090a0b0c0d0e0f','spanId':'0102030405060708',"
             "'filteredAttributes':[{'key':'k','value':{'stringValue':'v'}}]}]}]}}"),
     "# requests_total counter @1699999200000\n"
     "__name__=requests_total" BASE " 5 @1700000000123 since 1600000000000 # 1@1700000000000 k=v span_id=0102030405060708 "
     "trace_id=000102030405060708090a0b0c0d0e0f\n",
     1, NULL},
    // up-down counters are gauges; delta is marked; no temporality is refused
    {METRICS(RESOURCE, "{'name':'active','unit':'{request}','sum':{'aggregationTemporality':2,'dataPoints':[{'asInt':'2'}]}},"
                       "{'name':'d','sum':{'aggregationTemporality':1,'isMonotonic':true,'dataPoints':[{'asInt':'2'}]}},"
                       "{'name':'bad','sum':{'dataPoints':[{'asInt':'2'},{'asInt':'3'}]}}"),
     "# active gauge @1699999200000\n"
     "# d_total counter @1699999200000\n"
     "__name__=active" BASE " 2 @1700000000123\n"
     "__name__=d_total" BASE " 2 @1700000000123 delta\n",
     2, "temporality"},
    // no recorded value: the series ends; a point without a value is refused
    {METRICS(RESOURCE, "{'name':'g','gauge':{'dataPoints':[{'flags':1},{'attributes':[]}]}}"),
     "# g gauge @1699999200000\n"
     "__name__=g" BASE " stale @1700000000123\n",
     1, "without a value"},
    // histograms
    {METRICS(RESOURCE, "{'name':'ttft','unit':'s','histogram':{'aggregationTemporality':2,'dataPoints':[{'count':'6','sum':1.25,"
                       "'bucketCounts':['1','2','3'],'explicitBounds':[0.5,10],'exemplars':[{'asDouble':0.5},{'asDouble':99}],"
                       "'timeUnixNano':'1700000001000000000'}]}}"),
     "# ttft_seconds histogram \"seconds\" @1699999200000\n"
     "__name__=ttft_seconds_bucket,instance=i1,job=dyn/fe,le=+Inf,service_instance_id=i1,service_name=fe,service_namespace=dyn 6 "
     "@1700000001000 # 99@0\n"
     "__name__=ttft_seconds_bucket,instance=i1,job=dyn/fe,le=0.5,service_instance_id=i1,service_name=fe,service_namespace=dyn 1 "
     "@1700000001000 # 0.5@0\n"
     "__name__=ttft_seconds_bucket,instance=i1,job=dyn/fe,le=10,service_instance_id=i1,service_name=fe,service_namespace=dyn 3 "
     "@1700000001000\n"
     "__name__=ttft_seconds_count" BASE " 6 @1700000001000\n"
     "__name__=ttft_seconds_sum" BASE " 1.25 @1700000001000\n",
     1, NULL},
    // a histogram without buckets or sum; one that is none
    {METRICS("'resource':{}", "{'name':'h','histogram':{'aggregationTemporality':2,'dataPoints':[{'count':'6'},"
                              "{'count':'1','bucketCounts':['1'],'explicitBounds':[1]}]}}"),
     "# h histogram @1699999200000\n"
     "__name__=h_bucket,le=+Inf,service_name=unknown_service 6 @1700000000123\n"
     "__name__=h_count,service_name=unknown_service 6 @1700000000123\n",
     1, "one bucket more"},
    // exponential: buckets shift by one, scales over 8 are merged, gaps make spans
    {METRICS("'resource':{}",
             "{'name':'e','exponentialHistogram':{'aggregationTemporality':2,'dataPoints':[{'count':'12','sum':3,"
             "'scale':1,'zeroCount':'2','positive':{'offset':-3,'bucketCounts':['0','1','0','2','0','0','0','3']},"
             "'negative':{'offset':5,'bucketCounts':['4']},'zeroThreshold':0.01}]}},"
             "{'name':'f','exponentialHistogram':{'aggregationTemporality':2,'dataPoints':[{'count':'10','scale':10,"
             "'positive':{'offset':2,'bucketCounts':['1','2','3','4']}}]}},"
             "{'name':'x','exponentialHistogram':{'aggregationTemporality':2,'dataPoints':[{'scale':-5}]}}"),
     "# e histogram @1699999200000\n"
     "# f histogram @1699999200000\n"
     "__name__=e,service_name=unknown_service schema 1 count 12 sum 3 zero 2/0.01 p-1:[1,0,2] p+3:[3] n+6:[4] @1700000000123\n"
     "__name__=f,service_name=unknown_service schema 8 count 10 sum 0 zero 0/1e-128 p+1:[3,7] @1700000000123\n",
     2, "scale -5"},
    // summaries
    {METRICS("'resource':{}",
             "{'name':'s','summary':{'dataPoints':[{'count':'2','sum':3,'quantileValues':[{'quantile':0.5,'value':1},"
             "{'quantile':1,'value':'NaN'}]}]}}"),
     "# s summary @1699999200000\n"
     "__name__=s,quantile=0.5,service_name=unknown_service 1 @1700000000123\n"
     "__name__=s,quantile=1,service_name=unknown_service NaN @1700000000123\n"
     "__name__=s_count,service_name=unknown_service 2 @1700000000123\n"
     "__name__=s_sum,service_name=unknown_service 3 @1700000000123\n",
     1, NULL},
    // keys that become one; names of the model move aside; the rest of the resource in target_info; the scope
    {"{'resourceMetrics':[{'resource':{'attributes':[{'key':'service.name','value':{'stringValue':'fe'}},{'key':'host.name',"
     "'value':{'stringValue':'h'}}]},'scopeMetrics':[{'schemaUrl':'u','scope':{'name':'lib','version':'2','attributes':[{'key':'"
     "a.b',"
     "'value':{'stringValue':'c'}}]},'metrics':[{'name':'g','gauge':{'dataPoints':[{'asInt':'1','attributes':[{'key':'x_y','"
     "value':"
     "{'stringValue':'2'}},{'key':'x.y','value':{'stringValue':'1'}},{'key':'job','value':{'stringValue':'j'}},{'key':'e','value'"
     ":"
     "{'stringValue':''}}]}]}}]}]}]}",
     "# g gauge @1699999200000\n"
     "__name__=g,exported_job=j,job=fe,otel_scope_a_b=c,otel_scope_name=lib,otel_scope_schema_url=u,otel_scope_version=2,"
     "service_name=fe,x_y=1;2 1 @1700000000123\n"
     "__name__=target_info,host_name=h,job=fe,service_name=fe 1 @1700000000123\n",
     1, NULL},
};

static char *quoted(const char *text)
{
    char *s = strdup(text);
    for (char *p = s; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return s;
}

static void otlp_metrics_are_samples(void **state)
{
    for (size_t i = 0; i < sizeof otlp / sizeof *otlp; i++) {
        char *json = quoted(otlp[i].json);
        check(WIRE_OTLP_METRICS_JSON, slice_str(json), otlp[i].want, otlp[i].accepted, otlp[i].reason);
        free(json);
    }
}

// ---- remote write ---------------------------------------------------------------------------------------------------
static void put_label(struct buf *b, const char *name, const char *value)
{
    size_t mark = pb_w_begin(b, 1);
    pb_w_bytes(b, 1, slice_str(name));
    pb_w_bytes(b, 2, slice_str(value));
    pb_w_end(b, mark);
}

static void put_sample(struct buf *b, double v, int64_t ms)
{
    size_t mark = pb_w_begin(b, 2);
    pb_w_double(b, 1, v);
    pb_w_i64(b, 2, ms);
    pb_w_end(b, mark);
}

static void remote_write_1(void **state)
{
    struct buf b;
    struct histogram_span span = {-1, 2};
    double counts[] = {3, 1};
    buf_init(&b, MIB(1));
    size_t mark = pb_w_begin(&b, 1);
    put_label(&b, "job", "x");
    put_label(&b, "__name__", "up"); // not sorted
    put_label(&b, "gone", "");
    put_sample(&b, 1, 1700000000001);
    put_sample(&b, sample_from_bits(SAMPLE_STALE), 1700000000002);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 1); // exemplars come alone
    put_label(&b, "__name__", "h_bucket");
    size_t e = pb_w_begin(&b, 3);
    put_label(&b, "trace_id", "abc");
    pb_w_double(&b, 2, 0.5);
    pb_w_i64(&b, 3, 1700000000003);
    pb_w_end(&b, e);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 1);
    put_label(&b, "__name__", "native");
    write_histogram_put(
        &b, 4,
        &(struct histogram_sample){
            .schema = -2, .count = 6, .sum = 2.5, .zero_count = 2, .zero_threshold = 0.25, .positive = {&span, counts, 1, 2}},
        1700000000004);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 1); // no name
    put_label(&b, "job", "x");
    put_sample(&b, 1, 1700000000001);
    put_sample(&b, 1, 1700000000002);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 1); // a label twice
    put_label(&b, "__name__", "a");
    put_label(&b, "__name__", "b");
    put_sample(&b, 1, 1700000000001);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 3);
    pb_w_u64(&b, 1, 1);
    pb_w_bytes(&b, 2, SLICE("r_total"));
    pb_w_bytes(&b, 4, SLICE("Requests."));
    pb_w_end(&b, mark);
    check(WIRE_WRITE1, buf_slice(&b),
          "# r_total counter \"Requests.\" @1699999200000\n"
          "__name__=h_bucket @1700000000003 # 0.5@1700000000003 trace_id=abc\n"
          "__name__=native schema -2 count 6 sum 2.5 zero 2/0.25 p-1:[3,1] @1700000000004\n"
          "__name__=up,job=x 1 @1700000000001\n"
          "__name__=up,job=x stale @1700000000002\n",
          3, "without __name__");
    struct wire_report report;
    struct batch *batch = decode(WIRE_WRITE1, buf_slice(&b), &report);
    assert_int_equal(report.rejected, 3);
    assert_int_equal(report.histograms, 1);
    assert_int_equal(report.exemplars, 1);
    batch_unref(batch);
    buf_free(&b);
}

// Labels of any length, in any order, of any bytes: the short way and the general one agree.
static void labels_of_remote_write(void **state)
{
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    const char *const values[] = {"", "v", "\xc3\xa4", "\xff bad", longer};
    const char *const shown[] = {"", "v", "\xc3\xa4", "\xef\xbf\xbd bad", longer};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int behind = 0; behind < 2; behind++) {
            struct buf b;
            struct wire_report report;
            buf_init(&b, MIB(1));
            size_t mark = pb_w_begin(&b, 1);
            put_label(&b, "__name__", "m");
            if (behind)
                put_sample(&b, 1, 1);
            size_t l = pb_w_begin(&b, 1); // value first
            pb_w_bytes(&b, 2, slice_str(values[i]));
            pb_w_bytes(&b, 1, SLICE("turned"));
            pb_w_end(&b, l);
            put_label(&b, "plain", values[i]);
            if (!behind)
                put_sample(&b, 1, 1);
            pb_w_end(&b, mark);
            struct batch *batch = decode(WIRE_WRITE1, buf_slice(&b), &report);
            assert_int_equal(batch->rows, 1);
            const struct resource *r = &batch->resources[0];
            assert_int_equal(r->n_labels, *values[i] ? 3 : 1);
            assert_slice(resource_label(r, SLICE("plain")), shown[i]);
            assert_slice(resource_label(r, SLICE("turned")), shown[i]);
            batch_unref(batch);
            buf_free(&b);
        }
}

static void remote_write_2(void **state)
{
    static const char *const symbols[] = {"", "__name__", "h_bucket", "le", "1", "seconds", "How long.", "trace_id", "abc"};
    struct buf b;
    buf_init(&b, MIB(1));
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        pb_w_bytes(&b, 4, slice_str(symbols[i]));
    size_t mark = pb_w_begin(&b, 5);
    pb_w_bytes(&b, 1, SLICE("\x01\x02\x03\x04"));
    put_sample(&b, 7, 1700000000001);
    size_t part = pb_w_begin(&b, 4);
    pb_w_bytes(&b, 1, SLICE("\x07\x08"));
    pb_w_double(&b, 2, 0.5);
    pb_w_i64(&b, 3, 1700000000000);
    pb_w_end(&b, part);
    part = pb_w_begin(&b, 5);
    pb_w_u64(&b, 1, 3);
    pb_w_u64(&b, 3, 6);
    pb_w_u64(&b, 4, 5);
    pb_w_end(&b, part);
    pb_w_i64(&b, 6, 1600000000000);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 5); // a reference to nothing
    pb_w_bytes(&b, 1, SLICE("\x01\x63"));
    put_sample(&b, 7, 1700000000001);
    pb_w_end(&b, mark);
    mark = pb_w_begin(&b, 5); // one reference too many
    pb_w_bytes(&b, 1, SLICE("\x01\x02\x03"));
    put_sample(&b, 7, 1700000000001);
    pb_w_end(&b, mark);
    check(WIRE_WRITE2, buf_slice(&b),
          "# h histogram \"seconds\" \"How long.\" @1699999200000\n"
          "__name__=h_bucket,le=1 7 @1700000000001 since 1600000000000 # 0.5@1700000000000 trace_id=abc\n",
          1, "last symbol");
    buf_free(&b);
}

// ---- text -----------------------------------------------------------------------------------------------------------
static const struct {
    const char *text, *want, *error;
    uint32_t accepted;
} pages[] = {
    {"# HELP r_total Help\\nme.\n# TYPE r_total counter\nr_total{a=\"x\\\"y\",b=\"\"} 3 1700000000001\nr_total\t4\r\n\n# "
     "any\nbare NaN\n",
     "# r_total counter \"Help\nme.\" @1699999200000\n__name__=bare NaN @1700000000123\n__name__=r_total 4 @1700000000123\n"
     "__name__=r_total,a=x\"y 3 @1700000000001\n",
     NULL, 3},
    {"# TYPE r counter\n# UNIT r s\nr_total{a=\"x\"} 3 1700000000.5 # {trace_id=\"ab\"} 0.5 1700000000.25\n# TYPE g unknown\n# "
     "EOF\n",
     "# g unknown @1699999200000\n# r_total counter \"s\" @1699999200000\n"
     "__name__=r_total,a=x 3 @1700000000500 # 0.5@1700000000250 trace_id=ab\n",
     NULL, 1},
    {"{\"a.b\",\"l.m\"=\"v\"} +Inf\n", "__name__=a.b,l.m=v +Inf @1700000000123\n", NULL, 1},
    {"a 1\nb{c} 2\n", NULL, "line 2: '='", 0},
    {"a x\n", NULL, "line 1: the value", 0},
    {"a 1 2.5\n", NULL, "milliseconds", 0},
    {"a{b=\"c} 1\n", NULL, "not closed", 0},
    {"1a 2\n", NULL, "a name", 0},
    {"a 1 2 3\n", NULL, "something stands behind", 0},
};

static void pages_of_text(void **state)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        struct wire_options opt = {.received_ns = NOW};
        struct error err = {0};
        struct batch *b;
        if (pages[i].want) {
            check(WIRE_METRICS_TEXT, slice_str(pages[i].text), pages[i].want, pages[i].accepted, NULL);
            continue;
        }
        assert_int_equal(wire_decode(WIRE_METRICS_TEXT, slice_str(pages[i].text), false, &opt, &b, NULL, &err), ERR_SYNTAX);
        if (!strstr(err.msg, pages[i].error))
            fail_msg("\"%s\" has no \"%s\"", err.msg, pages[i].error);
    }
}

// Two scrapes: what is gone ends, the target's labels win, the report is there.
static void scrapes(void **state)
{
    struct label target[] = {{SLICE("job"), SLICE("j")}, {SLICE("instance"), SLICE("i")}};
    struct metrics_text t = {.text = SLICE("a{job=\"own\"} 1\nb 2\ntimed 3 1600000000000\n"),
                             .now = NOW,
                             .target = target,
                             .n_target = 2,
                             .scrape = true,
                             .up = true,
                             .seconds = 0.5};
    struct batch *first, *second, *third;
    assert_int_equal(metrics_text_read(&t, &first, NULL, NULL), ERR_OK);
    char *got = text_of(first);
    assert_string_equal(got, "__name__=a,exported_job=own,instance=i,job=j 1 @1700000000123\n"
                             "__name__=b,instance=i,job=j 2 @1700000000123\n"
                             "__name__=scrape_duration_seconds,instance=i,job=j 0.5 @1700000000123\n"
                             "__name__=scrape_samples_post_metric_relabeling,instance=i,job=j 3 @1700000000123\n"
                             "__name__=scrape_samples_scraped,instance=i,job=j 3 @1700000000123\n"
                             "__name__=scrape_series_added,instance=i,job=j 3 @1700000000123\n"
                             "__name__=timed,instance=i,job=j 3 @1600000000000\n"
                             "__name__=up,instance=i,job=j 1 @1700000000123\n");
    free(got);
    t.before = first;
    t.before_time = NOW;
    t.now = NOW + 1000000000;
    t.text = SLICE("b 3\n");
    assert_int_equal(metrics_text_read(&t, &second, NULL, NULL), ERR_OK);
    got = text_of(second);
    assert_non_null(strstr(got, "__name__=a,exported_job=own,instance=i,job=j stale @1700000001123\n"));
    assert_non_null(strstr(got, "__name__=b,instance=i,job=j 3 @1700000001123\n"));
    assert_non_null(strstr(got, "scrape_series_added,instance=i,job=j 0 "));
    assert_null(strstr(got, "timed"));
    free(got);
    t.before = second;
    t.before_time = t.now;
    t.now += 1000000000;
    t.text = SLICE("");
    t.up = false;
    assert_int_equal(metrics_text_read(&t, &third, NULL, NULL), ERR_OK);
    got = text_of(third);
    assert_null(strstr(got, "__name__=a,"));
    assert_non_null(strstr(got, "__name__=b,instance=i,job=j stale @1700000002123\n"));
    assert_non_null(strstr(got, "__name__=up,instance=i,job=j 0 @1700000002123\n"));
    check_write2(third, got);
    free(got);
    batch_unref(third);
    batch_unref(second);
    batch_unref(first);
}

// A request cut anywhere is an error or a shorter request, never a crash.
static void cut_requests(void **state)
{
    struct wire_options opt = {.received_ns = NOW};
    for (size_t i = 0; i < sizeof otlp / sizeof *otlp; i++) {
        char *json = quoted(otlp[i].json);
        struct wire_report report;
        struct batch *b = decode(WIRE_OTLP_METRICS_JSON, slice_str(json), &report);
        struct buf pb;
        buf_init(&pb, MIB(1));
        assert_int_equal(write2_encode(b, &pb), ERR_OK);
        batch_unref(b);
        for (size_t n = 0; n < pb.n; n++)
            if (wire_decode(WIRE_WRITE2, slice_of(pb.p, n), false, &opt, &b, &report, NULL) == ERR_OK)
                batch_unref(b);
        buf_free(&pb);
        free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(otlp_metrics_are_samples),
        cmocka_unit_test(remote_write_1),
        cmocka_unit_test(labels_of_remote_write),
        cmocka_unit_test(remote_write_2),
        cmocka_unit_test(cut_requests),
        cmocka_unit_test(pages_of_text),
        cmocka_unit_test(scrapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
