// Known metrics for the tests of other readers (tests/blackbox/test_metrics.py): writes to stdout what its argument asks for.
//   text, openmetrics, protobuf   the page
//   otlp [MAX]                    requests, each behind its length (4 bytes, big endian); MAX points each at most
//   otlp-twice                    the same counters 1000 ms later, for deltas
#include "sdk/meter_otlp.h"
#include <arpa/inet.h>
#include <sonde/meter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS(...)  (&(struct sonde_metric_options){__VA_ARGS__})
#define IOPTIONS(...) (&(struct sonde_instrument_options){__VA_ARGS__})
#define ATTRS(...) \
    ((const struct sonde_field[]){__VA_ARGS__}), sizeof((const struct sonde_field[]){__VA_ARGS__}) / sizeof(struct sonde_field)

static struct sonde_int_counter *requests;
static struct sonde_instrument *tokens;

static struct sonde_registry *registry(void)
{
    static const char *const names[] = {"model", "status"};
    static const double bounds[] = {0.1, 1, 10};
    struct sonde_registry *root = sonde_registry_new(SONDE_DYNAMO_PREFIX), *ns = sonde_registry_child(root, "prod", NULL);
    struct sonde_int_counter_vec *v = sonde_int_counter_vec_new(
        ns, OPTIONS(.name = "requests_total", .help = "requests", .label_names = names, .n_label_names = 2), NULL);
    requests = sonde_int_counter_vec_with(v, SONDE_VALUES("qwen", "success"));
    sonde_int_counter_add(requests, 41);
    sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES("a\"\\\nb", "error")), 1);
    sonde_counter_add(sonde_counter_new(root, OPTIONS(.name = "seconds_total", .help = "time", .unit = "seconds"), NULL), 1.5);
    sonde_gauge_set(sonde_gauge_new(root, OPTIONS(.name = "usage", .help = "0 to 1"), NULL), 0.25);
    sonde_int_gauge_set(sonde_int_gauge_new(root, OPTIONS(.name = "inflight", .help = "now"), NULL), -3);
    struct sonde_histogram *h = sonde_histogram_new(
        root, OPTIONS(.name = "ttft_seconds", .help = "first token", .buckets = bounds, .n_buckets = 3), NULL);
    struct sonde_span *s = sonde_span_start(
        "s", SONDE_KIND_INTERNAL, &(struct sonde_context){.trace_id = {0xab, [15] = 1}, .span_id = {0xcd, [7] = 2}, .flags = 1});
    sonde_span_enter(s);
    sonde_histogram_observe(h, 0.5);
    sonde_span_exit(s);
    sonde_span_end(s);
    sonde_histogram_observe(h, 0.05);
    sonde_histogram_observe(h, 100);
    struct sonde_histogram *n = sonde_native_histogram_new(root, OPTIONS(.name = "itl_seconds", .help = "between tokens"), NULL);
    sonde_histogram_observe(n, 0);
    sonde_histogram_observe(n, 1);
    sonde_histogram_observe(n, 1.001);
    sonde_histogram_observe(n, -1);
    return root;
}

static const char *engine(void *arg, struct sonde_text *t)
{
    (void)arg;
    static const char text[] =
        "# HELP vllm:hits hits\n# TYPE vllm:hits counter\nvllm:hits{model=\"m\"} 7\n"
        "# TYPE vllm:lat histogram\nvllm:lat_bucket{le=\"1\"} 2\nvllm:lat_bucket{le=\"5\"} 3\nvllm:lat_bucket{le=\"+Inf\"} 4\n"
        "vllm:lat_sum 20\nvllm:lat_count 4\n"
        "engine_untyped 3.5\n";
    sonde_text_append(t, text, sizeof text - 1);
    return NULL;
}

static void told(void *arg, struct sonde_observer *o)
{
    sonde_observe(o, arg, 12345, NULL, 0);
}

static void instruments(struct sonde_meter_provider *p)
{
    static const double bounds[] = {1, 10};
    struct sonde_meter *m =
        sonde_meter_get(p, &(struct sonde_scope){"lib", "1.2", "https://schema", ATTRS(SONDE_FIELD(SONDE_STR("team", "kv")))});
    tokens = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER,
                                  IOPTIONS(.name = "gen.tokens", .unit = "{token}", .description = "tokens made"));
    sonde_instrument_add(tokens, 5,
                         ATTRS(SONDE_FIELD(SONDE_STR("model", "q")), SONDE_FIELD(SONDE_INT("n", -2)),
                               SONDE_FIELD(SONDE_BOOL("b", true)), SONDE_FIELD(SONDE_F64("f", 0.5))));
    sonde_instrument_add_f64(sonde_instrument_new(m, SONDE_INSTRUMENT_UPDOWN_COUNTER, IOPTIONS(.name = "active", .f64 = true)),
                             -2.5, NULL, 0);
    sonde_instrument_add(sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, IOPTIONS(.name = "queue")), 9, NULL, 0);
    struct sonde_instrument *h = sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM,
                                                      IOPTIONS(.name = "latency", .unit = "ms", .bounds = bounds, .n_bounds = 2));
    sonde_instrument_add(h, 1, NULL, 0);
    sonde_instrument_add(h, 7, NULL, 0);
    sonde_instrument_add(h, 70, NULL, 0);
    sonde_instrument_add(sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, IOPTIONS(.name = "raw.bytes")), 1,
                         ATTRS(SONDE_FIELD(SONDE_STR("k", "a\xff"))));
    struct sonde_instrument *a =
        sonde_instrument_new(m, SONDE_INSTRUMENT_ASYNC_COUNTER, IOPTIONS(.name = "bytes.read", .unit = "By"));
    sonde_instrument_callback(a, told, a);
}

static bool put(void *arg, struct slice request, size_t points)
{
    (void)arg;
    (void)points;
    uint32_t n = htonl((uint32_t)request.n);
    fwrite(&n, 4, 1, stdout);
    fwrite(request.p, 1, request.n, stdout);
    return true;
}

static void otlp(struct meter_otlp *o, size_t max)
{
    // Resource{attributes: {key: "service.name" value: {string_value: "emit"}}}
    static const char resource[] = "\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04"
                                   "emit";
    if (meter_otlp_collect(o, slice_of(resource, sizeof resource - 1), max, put, NULL, NULL) != ERR_OK)
        exit(1);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "text";
    struct sonde_registry *root = registry();
    struct sonde_meter_provider *p = sonde_meter_provider_new(&(struct sonde_meter_provider_options){.resource = "team=blue"});
    instruments(p);
    sonde_registry_on_text(root, engine, NULL);
    if (strncmp(what, "otlp", 4) == 0) {
        struct meter_otlp *o = meter_otlp_new();
        otlp(o, argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
        if (strcmp(what, "otlp-twice") == 0) {
            sonde_int_counter_add(requests, 9);
            sonde_instrument_add(tokens, 8,
                                 ATTRS(SONDE_FIELD(SONDE_STR("model", "q")), SONDE_FIELD(SONDE_INT("n", -2)),
                                       SONDE_FIELD(SONDE_BOOL("b", true)), SONDE_FIELD(SONDE_F64("f", 0.5))));
            otlp(o, 0);
        }
        meter_otlp_free(o);
    } else {
        size_t n;
        sonde_registry_add_meters(root, p, NULL);
        char *page = sonde_registry_text(root,
                                         what[0] == 'o'   ? SONDE_EXPOSITION_OPENMETRICS
                                         : what[0] == 'p' ? SONDE_EXPOSITION_PROTOBUF
                                                          : SONDE_EXPOSITION_TEXT,
                                         &n);
        fwrite(page, 1, n, stdout);
        free(page);
    }
    sonde_registry_free(root);
    sonde_meter_provider_free(p);
    return 0;
}
