// The declarative configuration file: YAML, substitution, the model, what becomes of it.
#include "check.h"
#include "sdk/child.h"
#include "sdk/config_file.h"
#include "sdk/config_model.h"
#include "sdk/env.h"
#include "sdk/meter.h"
#include "sdk/settings_sdk.h"
#include <fcntl.h>
#include <sonde/config.h>
#include <sonde/meter.h>

// ---- substitution ---------------------------------------------------------------------------------------------------
// The rows of the specification's table, and its errors.
static const struct {
    const char *in, *want; // want null: an error
} put_rows[] = {
    {"plain", "plain"},
    {"${STRING_VALUE}", "value"},
    {"${env:STRING_VALUE}", "value"},
    {"${BOOL_VALUE}", "true"},
    {"${INT_VALUE}", "1"},
    {"foo ${STRING_VALUE} ${FLOAT_VALUE}", "foo value 1.1"},
    {"${UNDEFINED_KEY}", ""},
    {"${UNDEFINED_KEY:-fallback}", "fallback"},
    {"${EMPTY:-fallback}", "fallback"},
    {"${STRING_VALUE:-fallback}", "value"},
    {"${UNDEFINED_KEY:-}", ""},
    {"${UNDEFINED_KEY:-a:b-c d}", "a:b-c d"},
    {"${REPLACE_ME}", "${DO_NOT_REPLACE_ME}"}, // once is enough
    {"${UNDEFINED_KEY:-${STRING_VALUE}}", "${STRING_VALUE}"},
    {"$${STRING_VALUE}", "${STRING_VALUE}"},
    {"$$${STRING_VALUE}", "$value"},
    {"$$$${STRING_VALUE}", "$${STRING_VALUE}"},
    {"$${STRING_VALUE:-fallback}", "${STRING_VALUE:-fallback}"},
    {"a $$ b", "a $ b"},
    {"a $ b", "a $ b"},
    {"$STRING_VALUE", "$STRING_VALUE"},
    {"${VALUE_WITH_SECRETS}", "a: [b\nc"}, // no new structure
    {"${1API}", NULL},
    {"${}", NULL},
    {"${A-B}", NULL},
    {"${STRING_VALUE:?error}", NULL},
    {"${STRING_VALUE", NULL},
    {"${env:}", NULL},
    {"${UNDEFINED:-a\nb}", NULL},
};

static void variables(void)
{
    setenv("STRING_VALUE", "value", 1);
    setenv("BOOL_VALUE", "true", 1);
    setenv("INT_VALUE", "1", 1);
    setenv("FLOAT_VALUE", "1.1", 1);
    setenv("HEX_VALUE", "0xdeadbeef", 1);
    setenv("EMPTY", "", 1);
    setenv("REPLACE_ME", "${DO_NOT_REPLACE_ME}", 1);
    setenv("DO_NOT_REPLACE_ME", "Never use this value", 1);
    setenv("VALUE_WITH_SECRETS", "a: [b\nc", 1);
    unsetenv("UNDEFINED_KEY");
}

static void test_substitution(void **state)
{
    (void)state;
    variables();
    for (size_t i = 0; i < CHECK_ROWS(put_rows); i++) {
        struct arena arena;
        struct slice out;
        struct error err = {0};
        bool put;
        arena_init(&arena, MIB(8));
        check_row("%s", put_rows[i].in);
        bool ok = config_substitute(slice_str(put_rows[i].in), &arena, &out, &put, &err);
        if (put_rows[i].want && CHECK(ok))
            CHECK_STR(out, put_rows[i].want);
        else
            CHECK(!ok && strstr(err.msg, "write ${NAME}"));
        arena_free(&arena);
    }
    check_done();
}

// ---- model ----------------------------------------------------------------------------------------------------------
static const struct {
    const char *yaml, *path;
    enum sonde_node_type type;
    const char *text;
    int line;
} model_rows[] = {
    {"a: 1\nb: two\n", "b", SONDE_NODE_STR, "two", 2},
    {"a: 1", "a", SONDE_NODE_INT, "1", 1},
    {"a: -17", "a", SONDE_NODE_INT, "-17", 1},
    {"a: 1.5e3", "a", SONDE_NODE_F64, "1.5e3", 1},
    {"a: 1.1.1", "a", SONDE_NODE_STR, "1.1.1", 1},
    {"a: True", "a", SONDE_NODE_BOOL, "true", 1},
    {"a: yes", "a", SONDE_NODE_STR, "yes", 1}, // YAML 1.2
    {"a:", "a", SONDE_NODE_NULL, "", 1},
    {"a: ~", "a", SONDE_NODE_NULL, "", 1},
    {"a: ''", "a", SONDE_NODE_STR, "", 1},
    {"a: \"1\"", "a", SONDE_NODE_STR, "1", 1},
    {"a: ${INT_VALUE}", "a", SONDE_NODE_INT, "1", 1},
    {"a: \"${INT_VALUE}\"", "a", SONDE_NODE_STR, "1", 1},
    {"a: ${BOOL_VALUE}", "a", SONDE_NODE_BOOL, "true", 1},
    {"a: ${FLOAT_VALUE}", "a", SONDE_NODE_F64, "1.1", 1},
    {"a: ${HEX_VALUE}", "a", SONDE_NODE_INT, "0xdeadbeef", 1},
    {"a: ${UNDEFINED_KEY}", "a", SONDE_NODE_NULL, "", 1},
    {"a: ${VALUE_WITH_SECRETS}", "a", SONDE_NODE_STR, "a: [b\nc", 1},
    {"${STRING_VALUE}: x", "${STRING_VALUE}", SONDE_NODE_STR, "x", 1}, // keys stay
    {"a: [x, {y: z}]", "a.1.y", SONDE_NODE_STR, "z", 1},
    {"a:\n  - b: 1\n  - b: 2\n", "a.1.b", SONDE_NODE_INT, "2", 3},
    {"a: &x {k: v}\nb: *x\n", "b.k", SONDE_NODE_STR, "v", 1},
    {"a: &x {k: v, l: 1}\nb:\n  <<: *x\n  l: 2\n", "b.k", SONDE_NODE_STR, "v", 1},
    {"a: &x {k: v, l: 1}\nb:\n  <<: *x\n  l: 2\n", "b.l", SONDE_NODE_INT, "2", 4}, // its own wins
    {"{\"json\": {\"too\": [1, true]}}", "json.too.1", SONDE_NODE_BOOL, "true", 1},
    {"a: |\n  two\n  lines\n", "a", SONDE_NODE_STR, "two\nlines\n", 1},
};

static void test_model(void **state)
{
    (void)state;
    variables();
    for (size_t i = 0; i < CHECK_ROWS(model_rows); i++) {
        char error[400];
        check_row("%s", model_rows[i].yaml);
        struct sonde_config *c = sonde_config_parse(model_rows[i].yaml, strlen(model_rows[i].yaml), error, sizeof error);
        const struct sonde_config_node *n = sonde_config_get(sonde_config_root(c), model_rows[i].path);
        if (!CHECK(c && n)) {
            fprintf(stderr, "%s\n", error);
            continue;
        }
        CHECK_INT(n->type, model_rows[i].type);
        CHECK_STR(slice_str(n->text), model_rows[i].text);
        CHECK_INT(n->line, model_rows[i].line);
        sonde_config_free(c);
    }
    check_done();
}

static const struct {
    const char *yaml, *error;
} bad_rows[] = {
    {"", "line 1: the file must be a map"},
    {"just text", "line 1: the file must be a map"},
    {"a: 1\na: 2\n", "line 2: the same key twice"},
    {"a: 1\nb: [1\n", "line 3:"},
    {"a: 1\nb: ${1X}\n", "line 2: \"${1X}\""},
    {"a: *nobody\n", "line 1: an alias"},
    {"[a]: 1\n", "line 1: a key must be a text"},
    {"a: 1\n---\nb: 2\n", "line 3: a second document"},
    {"a: \"x\\0y\"\n", "U+0000"},
    {"\t- a", "line 1:"},
};

static void test_bad_files(void **state)
{
    (void)state;
    struct buf deep;
    char error[400];
    for (size_t i = 0; i < CHECK_ROWS(bad_rows); i++) {
        check_row("%s", bad_rows[i].yaml);
        CHECK(!sonde_config_parse(bad_rows[i].yaml, strlen(bad_rows[i].yaml), error, sizeof error));
        CHECK(strstr(error, bad_rows[i].error) || !check_str(__FILE__, __LINE__, slice_str(error), slice_str(bad_rows[i].error)));
    }
    buf_init(&deep, MIB(4));
    for (int i = 0; i < 200; i++)
        buf_str(&deep, "{a: ");
    CHECK(!sonde_config_parse(deep.p, deep.n, error, sizeof error));
    CHECK(strstr(error, "too deep"));
    buf_reset(&deep); // each level holds the last ten times
    buf_str(&deep, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++)
        buf_printf(&deep, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1,
                   i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    CHECK(!sonde_config_parse(deep.p, deep.n, error, sizeof error));
    CHECK(strstr(error, "too large"));
    CHECK(!sonde_config_parse_file("/nonexistent.yaml", error, sizeof error));
    CHECK(strstr(error, "/nonexistent.yaml: No such file"));
    buf_free(&deep);
    check_done();
}

// ---- creating -------------------------------------------------------------------------------------------------------
static const char whole[] =
    "file_format: \"1.0\"\n"
    "attribute_limits: {attribute_count_limit: 64}\n"
    "resource:\n"
    "  attributes_list: \"a=1,service.name=list\"\n"
    "  attributes:\n"
    "    - {name: service.name, value: \"my, service\"}\n"
    "    - {name: cores, value: 8, type: int}\n"
    "propagator: {composite: [{tracecontext: }, {b3: }], composite_list: \"baggage\"}\n"
    "tracer_provider:\n"
    "  processors:\n"
    "    - batch:\n"
    "        schedule_delay: 500\n"
    "        max_queue_size: 100\n"
    "        exporter:\n"
    "          otlp_http:\n"
    "            endpoint: ${ENDPOINT:-http://collector:4318}/v1/traces\n"
    "            headers: [{name: api-key, value: \"a,b\"}]\n"
    "            headers_list: \"x=y\"\n"
    "            compression: gzip\n"
    "            timeout: 2500\n"
    "            tls: {ca_file: /etc/ca.pem}\n"
    "            encoding: json\n"
    "    - simple: {exporter: {console: {}}}\n"
    "    - my_processor: {level: 9, deep: {list: [1, 2]}}\n"
    "  limits: {event_count_limit: 7}\n"
    "  sampler:\n"
    "    parent_based: {root: {trace_id_ratio_based: {ratio: 0.25}}}\n"
    "meter_provider:\n"
    "  readers:\n"
    "    - periodic: {interval: 1234, exporter: {otlp_grpc: {endpoint: \"http://m:4317\", temporality_preference: delta}}}\n"
    "    - pull: {exporter: {prometheus/development: {host: 127.0.0.1, port: 0}}}\n"
    "  exemplar_filter: always_off\n"
    "logger_provider:\n"
    "  processors:\n"
    "    - batch: {exporter: {otlp_file/development: {output_stream: \"file:///tmp/x.jsonl\"}}}\n"
    "  limits: {attribute_value_length_limit: 4096}\n"
    "unknown_future_thing: {kept: [yes]}\n";

static const struct {
    const char *name, *value;
    int line;
} made_rows[] = {
    {"OTEL_ATTRIBUTE_COUNT_LIMIT", "64", 2},
    {"OTEL_RESOURCE_ATTRIBUTES", "a=1,service.name=list,service.name=my%2C%20service,cores=8", 6},
    {"OTEL_SERVICE_NAME", "my, service", 6},
    {"OTEL_PROPAGATORS", "tracecontext,b3,baggage", 8},
    {"OTEL_BSP_MAX_QUEUE_SIZE", "100", 13},
    {"OTEL_EXPORT_ENABLED", "true", 0},
    {"OTEL_TRACES_EXPORTER", "otlp,console", 15},
    {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", 15},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces", 16},
    {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x=y,api-key=a%2Cb", 17},
    {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip", 19},
    {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500", 20},
    {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/etc/ca.pem", 21},
    {"OTEL_SPAN_EVENT_COUNT_LIMIT", "7", 25},
    {"OTEL_TRACES_SAMPLER", "parentbased_traceidratio", 27},
    {"OTEL_TRACES_SAMPLER_ARG", "0.25", 27},
    {"OTEL_METRIC_EXPORT_INTERVAL", "1234", 30},
    {"OTEL_METRICS_EXPORTER", "otlp,prometheus", 30},
    {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:4317", 30},
    {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc", 30},
    {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", 30},
    {"OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1", 31},
    {"OTEL_EXPORTER_PROMETHEUS_PORT", "0", 31},
    {"OTEL_METRICS_EXEMPLAR_FILTER", "always_off", 32},
    {"OTEL_LOGS_EXPORTER", "otlp/file", 35},
    {"SONDE_OTLP_FILE", "/tmp/x.jsonl", 35},
    {"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4096", 36},
};

static const struct sonde_config_node *made_with;
static bool make(void *arg, const char *kind, const char *name, const struct sonde_config_node *properties)
{
    CHECK_STR(slice_str(kind), "span_processor");
    CHECK_STR(slice_str(name), "my_processor");
    made_with = properties;
    return arg == &made_with;
}

static void test_create(void **state)
{
    (void)state;
    char error[400];
    struct sonde_config_parts parts;
    setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "3", 1); // does not count any more
    struct sonde_config *c = sonde_config_parse(whole, sizeof whole - 1, error, sizeof error);
    assert_non_null(c);
    CHECK(sonde_component_register("span_processor", "my_processor", make, &made_with));
    CHECK(!sonde_component_register("span_processor", "", make, NULL));
    CHECK(sonde_config_create(c, &parts, error, sizeof error));
    CHECK(parts.tracer_provider && parts.meter_provider && parts.logger_provider && !parts.disabled);
    CHECK_STR(slice_str(parts.propagators), "tracecontext,b3,baggage");
    CHECK_INT(parts.components, 1);
    CHECK_STR(slice_str(sonde_config_get(made_with, "deep.list.1")->text), "2"); // D5, D12: its properties are there, all
    for (size_t i = 0; i < CHECK_ROWS(made_rows); i++) {
        struct env_value v = sdk_setting_value((size_t)sdk_setting_find(made_rows[i].name));
        check_row("%s", made_rows[i].name);
        CHECK_STR(slice_str(v.text), made_rows[i].value);
        CHECK_STR(slice_str(env_get(made_rows[i].name)), made_rows[i].value);
        CHECK(v.from == ENV_FROM_FILE && v.line > 0);
        if (made_rows[i].line)
            CHECK_INT(v.line, made_rows[i].line);
    }
    CHECK_INT(env_int("OTEL_SPAN_LINK_COUNT_LIMIT"), 128);
    CHECK(sonde_config_current() == sonde_config_root(c));
    CHECK_STR(slice_str(sonde_config_get(sonde_config_current(), "unknown_future_thing.kept.0")->text), "yes");
    config_file_clear();
    CHECK_INT(env_int("OTEL_SPAN_LINK_COUNT_LIMIT"), 3);
    CHECK(sonde_component_register("span_processor", "my_processor", NULL, NULL));
    sonde_config_free(c);
    unsetenv("OTEL_SPAN_LINK_COUNT_LIMIT");
    check_done();
}

static const struct {
    const char *yaml, *setting, *value;
    bool tracer, meter, logger;
} small_rows[] = {
    {"file_format: '1.0'\n", "OTEL_TRACES_EXPORTER", "none", false, false, false},
    {"file_format: '1.0'\n", "OTEL_PROPAGATORS", "none", false, false, false},
    {"file_format: 0.3\ntracer_provider: {processors: [{batch: {exporter: {otlp: {protocol: grpc}}}}]}",
     "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {processors: [{simple: {exporter: {otlp_grpc: }}}]}", "OTEL_BSP_SCHEDULE_DELAY", "0",
     true, false, false},
    {"file_format: '1.0'\ntracer_provider: {sampler: {parent_based: {root: {jaeger_remote/development: {endpoint: "
     "http://j:14250, interval: 500,"
     " initial_sampler: {trace_id_ratio_based: {ratio: 0.5}}}}}}}",
     "OTEL_TRACES_SAMPLER_ARG", "endpoint=http://j:14250,pollingIntervalMs=500,initialSamplingRate=0.5", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {sampler: {jaeger_remote/development: {initial_sampler: {always_on: }}}}",
     "OTEL_TRACES_SAMPLER_ARG", "initialSamplingRate=1", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {sampler: {jaeger_remote/development: {initial_sampler: {parent_based: }}}}",
     "OTEL_TRACES_SAMPLER_ARG", "(none)", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {sampler: {always_off: }}", "OTEL_TRACES_SAMPLER", "always_off", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {sampler: {parent_based: {root: {always_off: }}}}", "OTEL_TRACES_SAMPLER",
     "parentbased_always_off", true, false, false},
    {"file_format: '1.0'\ndisabled: true\ntracer_provider: {}\n", "OTEL_SDK_DISABLED", "true", false, false, false},
    {"file_format: '1.0'\nlogger_provider: {processors: [{batch: {exporter: {console: }}}]}", "OTEL_LOGS_EXPORTER", "console",
     false, false, true},
    {"file_format: '1.0'\npropagator: {composite: [tracecontext, b3multi]}", "OTEL_PROPAGATORS", "tracecontext,b3multi", false,
     false, false},
    // where one batches, none gets each item for itself
    {"file_format: '1.0'\ntracer_provider: {processors: [{batch: {max_queue_size: 9, exporter: {otlp_http: }}}, {simple: "
     "{exporter: "
     "{console: }}}]}",
     "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "(none)", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {processors: [{simple: {exporter: {console: }}}, {batch: {exporter: {otlp_http: }}}]}",
     "OTEL_BSP_SCHEDULE_DELAY", "(none)", true, false, false},
    // a further OTLP exporter says all of itself, and has nothing of the first
    {"file_format: '1.0'\ntracer_provider: {processors: [{batch: {exporter: {otlp_http: {endpoint: 'http://a/v1/traces', "
     "headers: [{name: k, value: v}]}}}}, {batch: {exporter: {otlp_http: {endpoint: 'http://b/v1/traces', headers: [{name: k, "
     "value: 'w;,x'}], timeout: 500, compression: gzip}}}}]}",
     "SONDE_OTLP_TRACES_ENDPOINTS",
     "http://b/v1/traces;protocol=http/protobuf;compression=gzip;timeout=500;headers=k%3Dw%253B%252Cx", true, false, false},
    {"file_format: '1.0'\ntracer_provider: {processors: [{batch: {exporter: {otlp_http: {endpoint: 'http://a/v1/traces', "
     "headers: [{name: k, value: v}]}}}}, {batch: {exporter: {otlp_http: {endpoint: 'http://b/v1/traces', encoding: json}}}}]}",
     "SONDE_OTLP_TRACES_ENDPOINTS", "http://b/v1/traces;protocol=http/json", true, false, false},
    {"file_format: '1.0'\nlogger_provider: {processors: [{batch: {exporter: {otlp_http: }}}, {batch: {exporter: {otlp_grpc: "
     "{tls: "
     "{ca_file: /ca.pem, insecure: true}}}}}, {batch: {exporter: {otlp_http: {headers_list: 'a=b,c=d'}}}}]}",
     "SONDE_OTLP_LOGS_ENDPOINTS",
     "http://localhost:4317;protocol=grpc;insecure=true;certificate=/ca.pem,http://localhost:4318/v1/"
     "logs;protocol=http/protobuf;headers=a%3Db%2Cc%3Dd",
     false, false, true},
    {"file_format: '1.0'\ntracer_provider: {processors: [{batch: {exporter: {otlp_http: }}}, {batch: {exporter: {otlp_http: "
     "{endpoint: 'http://b,c/v1/traces'}}}}]}",
     "SONDE_OTLP_TRACES_ENDPOINTS", "(none)", true, false, false},
};

static void test_small_files(void **state)
{
    (void)state;
    char error[400];
    for (size_t i = 0; i < CHECK_ROWS(small_rows); i++) {
        struct sonde_config_parts p;
        check_row("%s", small_rows[i].yaml);
        struct sonde_config *c = sonde_config_parse(small_rows[i].yaml, strlen(small_rows[i].yaml), error, sizeof error);
        if (CHECK(c && sonde_config_create(c, &p, error, sizeof error))) {
            const char *v = env_get(small_rows[i].setting);
            CHECK_STR(slice_str(v ? v : "(none)"), small_rows[i].value);
            CHECK(p.tracer_provider == small_rows[i].tracer && p.meter_provider == small_rows[i].meter &&
                  p.logger_provider == small_rows[i].logger);
        }
        config_file_clear();
        sonde_config_free(c);
    }
    struct sonde_config *c = sonde_config_parse("a: 1", 4, error, sizeof error);
    CHECK(!sonde_config_create(c, NULL, error, sizeof error) && strstr(error, "file_format is missing"));
    sonde_config_free(c);
    CHECK(!sonde_config_create(NULL, NULL, error, sizeof error));
    CHECK(!config_file_active());
    check_done();
}

// ---- views ----------------------------------------------------------------------------------------------------------
static int views(void *arg)
{
    static const char yaml[] = "file_format: '1.0'\n"
                               "meter_provider:\n"
                               "  readers: [{pull: {exporter: {prometheus/development: {host: 127.0.0.1, port: 0}}}}]\n"
                               "  views:\n"
                               "    - selector: {instrument_name: latency, instrument_type: histogram, meter_name: m}\n"
                               "      stream:\n"
                               "        name: renamed\n"
                               "        aggregation: {explicit_bucket_histogram: {boundaries: [1, 2.5], record_min_max: false}}\n"
                               "        attribute_keys: {included: [kept]}\n"
                               "    - selector: {instrument_name: gone}\n"
                               "      stream: {aggregation: {drop: {}}}\n";
    char error[400];
    struct sonde_config_parts p = {0};
    (void)arg;
    struct sonde_config *c = sonde_config_parse(yaml, sizeof yaml - 1, error, sizeof error);
    CHECK(c && sonde_config_create(c, &p, error, sizeof error) && p.meter);
    CHECK(sonde_meter_provider_default() == p.meter);
    struct sonde_meter *m = sonde_meter_get(NULL, &(struct sonde_scope){.name = "m"});
    struct sonde_instrument_options o = {.name = "latency"}, gone = {.name = "gone"};
    struct sonde_instrument *h = sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, &o);
    struct sonde_instrument *g = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &gone);
    struct sonde_field a[] = {SONDE_FIELD(SONDE_STR("kept", "x")), SONDE_FIELD(SONDE_STR("left", "y"))};
    sonde_instrument_add(h, 2, a, 2);
    sonde_instrument_add(g, 2, NULL, 0);
    char *page = sonde_meter_text(p.meter, NULL, SONDE_EXPOSITION_TEXT, NULL);
    CHECK(page && strstr(page, "renamed_bucket{") && strstr(page, "le=\"2.5\"") && strstr(page, "kept=\"x\""));
    CHECK(page && !strstr(page, "left=") && !strstr(page, "gone") && !strstr(page, "latency"));
    if (check_failures)
        fprintf(stderr, "%s\n", page);
    CHECK(p.meter && p.meter->views[0].no_min_max && !p.meter->views[1].no_min_max);
    free(page);
    return check_failures;
}

static void test_views(void **state)
{
    struct buf err;
    (void)state;
    CHECK_INT(child_run(views, NULL, (const char *[]){NULL}, &err), 0);
    if (check_failures)
        fprintf(stderr, "%s\n", err.p);
    buf_free(&err);
    check_done();
}

// ---- as a process ---------------------------------------------------------------------------------------------------
static char path[64];
static int started(void *arg)
{
    char error[200];
    sonde_init(NULL);
    SONDE_INFO("hello");
    sonde_flush(1000);
    if (arg) {
        CHECK(env_get("OTEL_BSP_MAX_QUEUE_SIZE") == NULL); // the environment's is ignored
        CHECK_STR(slice_str(env_get("OTEL_SERVICE_NAME")), "from-file-s");
        struct env_value v = sdk_setting_value((size_t)sdk_setting_find("OTEL_SERVICE_NAME"));
        CHECK_STR(slice_str(v.file), path);
        CHECK_INT(v.line, 2);
        struct sonde_config *c = sonde_config_parse("file_format: '1.0'", 18, NULL, 0);
        CHECK(!sonde_config_create(c, NULL, error, sizeof error));
        sonde_config_free(c);
        CHECK(strstr(error, "libsonde runs already"));
    } else {
        CHECK_STR(slice_str(env_get("OTEL_BSP_MAX_QUEUE_SIZE")), "77");
    }
    return check_failures;
}

static void test_process(void **state)
{
    static const struct {
        const char *yaml, *note;
    } rows[] = {
        {"file_format: '1.0'\nresource: {attributes: [{name: service.name, value: 'from-file-${S}'}]}\n", NULL},
        {"file_format: '1.0'\nresource: {attributes: [{name: service.name, value: 'from-file-${S}'}]}\n"
         "tracer_provider: {processors: [{other: {a: 1}}]}\n",
         "line 3: no provider for span_processor other is registered; it is left out"},
        {"file_format: '1.0'\nresource: {attributes: [{name: service.name, value: 'from-file-${S}'}]}\n"
         "tracer_provider: hello\n",
         "line 3: a map is expected here; it is left out"},
        {"file_format: '1.0'\nresource: {attributes: [{name: service.name, value: 'from-file-${S}'}]}\n"
         "meter_provider: {readers: {periodic: }}\n",
         "line 3: a list is expected here, each entry behind a -"},
        {"file_format: '1.0'\nresource: {attributes: [{name: service.name, value: 'from-file-${S}'}]}\n"
         "logger_provider: {processors: }\ntracer_provider:\n",
         NULL},
        {"file_format: [", "; the environment is used instead"},
        {"file_format: 7\n", "file_format 7 is not known"},
        {NULL, "No such file or directory; the environment is used instead"},
    };
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char env[128];
        struct buf err;
        snprintf(path, sizeof path, "%s/otel.yaml", child_dir);
        unlink(path);
        int fd = rows[i].yaml ? open(path, O_WRONLY | O_CREAT, 0600) : -1;
        if (fd >= 0) {
            dprintf(fd, "%s", rows[i].yaml);
            close(fd);
        }
        check_row("%s", rows[i].yaml ? rows[i].yaml : "none");
        snprintf(env, sizeof env, "OTEL_CONFIG_FILE=%s", path);
        CHECK_INT(
            child_run(started, i < 5 ? &path : NULL, (const char *[]){env, "OTEL_BSP_MAX_QUEUE_SIZE=77", "S=s", NULL}, &err), 0);
        CHECK_INT(count_of(&err, "hello"), 1); // whatever the file is
        CHECK_INT(count_of(&err, "sonde: "), rows[i].note != NULL);
        CHECK(!rows[i].note || count_of(&err, rows[i].note) == 1);
        if (check_failures)
            fprintf(stderr, "%s\n", err.p);
        buf_free(&err);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_substitution), cmocka_unit_test(test_model),       cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_create),       cmocka_unit_test(test_small_files), cmocka_unit_test(test_process),
        cmocka_unit_test(test_views),
    };
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
