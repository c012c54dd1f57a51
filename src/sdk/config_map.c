// From the model to the settings: each property of the schema that the library has becomes the setting that means the same.
#include "sdk/config_file.h"
#include "sdk/config_model.h"
#include "sdk/env.h"
#include <stdio.h>
#include <stdlib.h>

struct pair {
    const char *path, *setting;
};

static void all(struct mapping *m, const struct sonde_config_node *n, const struct pair *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        map_scalar(m, n, rows[i].path, rows[i].setting);
}

// ---- processors -----------------------------------------------------------------------------------------------------
static void batch(struct mapping *m, const char *prefix, const struct sonde_config_node *n)
{
    static const char *const rows[][2] = {{"schedule_delay", "SCHEDULE_DELAY"},
                                          {"export_timeout", "EXPORT_TIMEOUT"},
                                          {"max_queue_size", "MAX_QUEUE_SIZE"},
                                          {"max_export_batch_size", "MAX_EXPORT_BATCH_SIZE"}};
    char name[64];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "OTEL_%s_%s", prefix, rows[i][1]);
        map_scalar(m, n, rows[i][0], name);
    }
}

// Each for itself: no waiting for others.
static void simple(struct mapping *m, const char *prefix, int line)
{
    char name[64];
    snprintf(name, sizeof name, "OTEL_%s_SCHEDULE_DELAY", prefix);
    map_put(m, name, SLICE("0"), line, false);
    snprintf(name, sizeof name, "OTEL_%s_MAX_EXPORT_BATCH_SIZE", prefix);
    map_put(m, name, SLICE("1"), line, false);
}

// The entries of a provider's list; null when there is none, or something else stands there.
static const struct sonde_config_node *entries(struct mapping *m, const struct sonde_config_node *provider, const char *key)
{
    const struct sonde_config_node *list = sonde_config_get(provider, key);
    if (provider && provider->type != SONDE_NODE_MAP && provider->type != SONDE_NODE_NULL)
        map_note(m, provider, "a map is expected here; it is left out");
    if (!list || list->type == SONDE_NODE_NULL)
        return NULL;
    if (list->type == SONDE_NODE_LIST)
        return list->first;
    map_note(m, list, "a list is expected here, each entry behind a -; it is left out");
    return NULL;
}

static void processors(struct mapping *m, const struct sonde_config_node *provider, const char *signal, const char *prefix)
{
    bool traces = strcmp(signal, "TRACES") == 0;
    const struct sonde_config_node *first = entries(m, provider, "processors"), *properties;
    bool batches = false; // for all exporters then: none gets each item for itself
    for (const struct sonde_config_node *n = first; n; n = n->next) {
        const char *name = map_component(n, &properties);
        batches = batches || (name && strcmp(name, "batch") == 0);
    }
    for (const struct sonde_config_node *n = first; n; n = n->next) {
        const char *name = map_component(n, &properties);
        const struct sonde_config_node *exporter = sonde_config_get(properties, "exporter");
        bool ours = name && (strcmp(name, "batch") == 0 || strcmp(name, "simple") == 0);
        if (!name) {
            map_note(m, n, "a processor is expected here, as batch:");
        } else if (!ours) {
            map_other(m, traces ? "span_processor" : "log_record_processor", name, properties, n);
        } else if (!exporter) {
            map_note(m, n, "a processor without an exporter is left out");
        } else {
            if (name[0] == 'b')
                batch(m, prefix, properties);
            else if (!batches)
                simple(m, prefix, n->line);
            map_exporter(m, signal, traces ? "span_exporter" : "log_record_exporter", exporter);
        }
    }
}

// Without any exporter of its own a signal is not exported.
static void none_left(struct mapping *m, const char *signal)
{
    char name[64];
    struct setting_found found;
    snprintf(name, sizeof name, "OTEL_%s_EXPORTER", signal);
    if (!config_file_setting(name, &found))
        map_put(m, name, SLICE("none"), 0, false);
}

// ---- sampler --------------------------------------------------------------------------------------------------------
static const char *plain_sampler(const char *name, bool parent)
{
    static const char *const rows[][3] = {{"always_on", "always_on", "parentbased_always_on"},
                                          {"always_off", "always_off", "parentbased_always_off"},
                                          {"trace_id_ratio_based", "traceidratio", "parentbased_traceidratio"},
                                          {"probability/development", "traceidratio", "parentbased_traceidratio"},
                                          {"jaeger_remote", "jaeger_remote", "parentbased_jaeger_remote"},
                                          {"jaeger_remote/development", "jaeger_remote", "parentbased_jaeger_remote"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(name, rows[i][0]) == 0)
            return rows[i][1 + parent];
    return NULL;
}

static void jaeger(struct mapping *m, const struct sonde_config_node *n, int line)
{
    const struct sonde_config_node *endpoint = sonde_config_get(n, "endpoint"), *interval = sonde_config_get(n, "interval");
    const struct sonde_config_node *initial = sonde_config_get(n, "initial_sampler"), *properties;
    const char *name = map_component(initial, &properties), *word = name ? plain_sampler(name, false) : NULL;
    const struct sonde_config_node *ratio = sonde_config_get(properties, "ratio");
    struct buf b;
    buf_init(&b, 4096);
    if (endpoint && endpoint->text)
        buf_printf(&b, "endpoint=%s,", endpoint->text);
    if (interval && interval->text)
        buf_printf(&b, "pollingIntervalMs=%s,", interval->text);
    if (word && (word[0] == 'a' || (word[0] == 't' && ratio && ratio->text)))
        buf_printf(&b, "initialSamplingRate=%s,", word[0] == 't' ? ratio->text : word[8] == 'n' ? "1" : "0");
    else if (initial)
        map_note(m, initial, "an initial sampler is always_on, always_off or a ratio here; it is left out");
    if (b.n)
        map_put(m, "OTEL_TRACES_SAMPLER_ARG", slice_cut(buf_slice(&b), b.n - 1), line, false);
    buf_free(&b);
}

static void sampler(struct mapping *m, const struct sonde_config_node *n)
{
    static const char *const usual[][2] = {{"remote_parent_sampled", "always_on"},
                                           {"remote_parent_not_sampled", "always_off"},
                                           {"local_parent_sampled", "always_on"},
                                           {"local_parent_not_sampled", "always_off"}};
    const struct sonde_config_node *properties, *inner;
    const char *name = map_component(n, &properties);
    bool parent = name && strcmp(name, "parent_based") == 0;
    if (!name)
        return;
    for (size_t i = 0; parent && i < 4; i++) {
        const struct sonde_config_node *child = sonde_config_get(properties, usual[i][0]);
        const char *is = map_component(child, &inner);
        if (is && strcmp(is, usual[i][1]) != 0)
            map_note(m, child, "a parent's decision is kept; another sampler here is left out");
    }
    const struct sonde_config_node *root = parent ? sonde_config_get(properties, "root") : n;
    const char *kind = root ? map_component(root, &properties) : "always_on";
    const char *word = kind ? plain_sampler(kind, parent) : NULL;
    if (!word) {
        map_other(m, "sampler", kind ? kind : name, properties, n);
        return;
    }
    map_put(m, "OTEL_TRACES_SAMPLER", slice_str(word), n->line, false);
    if (strncmp(kind, "jaeger_remote", 13) == 0)
        jaeger(m, properties, n->line);
    else
        map_scalar(m, properties, "ratio", "OTEL_TRACES_SAMPLER_ARG");
}

// ---- the rest -------------------------------------------------------------------------------------------------------
static void propagators(struct mapping *m, const struct sonde_config_node *root)
{
    static const char known[] = " tracecontext baggage b3 b3multi jaeger xray ottrace none ";
    const struct sonde_config_node *list = sonde_config_get(root, "propagator.composite"), *properties;
    const struct sonde_config_node *text = sonde_config_get(root, "propagator.composite_list");
    struct setting_found found;
    for (const struct sonde_config_node *n = list ? list->first : NULL; n; n = n->next) {
        const char *name = map_component(n, &properties);
        char word[128];
        snprintf(word, sizeof word, " %.100s ", name ? name : "");
        if (name && strstr(known, word))
            map_put(m, "OTEL_PROPAGATORS", slice_str(name), n->line, true);
        else if (name)
            map_other(m, "propagator", name, properties, n);
    }
    if (text && text->type == SONDE_NODE_STR && text->text[0])
        map_put(m, "OTEL_PROPAGATORS", slice_str(text->text), text->line, true);
    if (!config_file_setting("OTEL_PROPAGATORS", &found)) // none given: none used
        map_put(m, "OTEL_PROPAGATORS", SLICE("none"), 0, false);
    config_file_setting("OTEL_PROPAGATORS", &found);
    if (found.text && strcmp(found.text, "none") != 0)
        snprintf(m->parts->propagators, sizeof m->parts->propagators, "%s", found.text);
}

static void resource(struct mapping *m, const struct sonde_config_node *root)
{
    const struct sonde_config_node *list = sonde_config_get(root, "resource.attributes");
    const struct sonde_config_node *text = sonde_config_get(root, "resource.attributes_list");
    struct buf b;
    buf_init(&b, 1 << 20);
    if (text && text->type == SONDE_NODE_STR)
        buf_str(&b, text->text); // entries of attributes come later and win
    for (const struct sonde_config_node *n = list ? list->first : NULL; n; n = n->next) {
        const struct sonde_config_node *name = sonde_config_get(n, "name"), *value = sonde_config_get(n, "value");
        const char *key = list->type == SONDE_NODE_MAP ? n->key : name ? name->text : NULL;
        value = list->type == SONDE_NODE_MAP ? n : value;
        if (!key || !value || value->type == SONDE_NODE_MAP || value->type == SONDE_NODE_LIST) {
            map_note(m, n, "a resource attribute needs a name and a single value; it is left out");
            continue;
        }
        buf_str(&b, b.n ? "," : "");
        buf_str(&b, key);
        buf_char(&b, '=');
        map_encode(&b, value->text);
        if (strcmp(key, "service.name") == 0)
            map_put(m, "OTEL_SERVICE_NAME", slice_str(value->text), value->line, false);
    }
    if (b.n)
        map_put(m, "OTEL_RESOURCE_ATTRIBUTES", buf_slice(&b), (list ? list : text)->line, false);
    buf_free(&b);
}

static void reader(struct mapping *m, const struct sonde_config_node *n)
{
    const struct sonde_config_node *properties, *inner;
    const char *name = map_component(n, &properties);
    const struct sonde_config_node *exporter = sonde_config_get(properties, "exporter");
    if (!name) {
        map_note(m, n, "a reader is expected here, as periodic: or pull:");
    } else if (strcmp(name, "periodic") == 0) {
        map_scalar(m, properties, "interval", "OTEL_METRIC_EXPORT_INTERVAL");
        map_scalar(m, properties, "timeout", "OTEL_METRIC_EXPORT_TIMEOUT");
        if (exporter)
            map_exporter(m, "METRICS", "metric_exporter", exporter);
        else
            map_note(m, n, "a reader without an exporter is left out");
    } else if (strcmp(name, "pull") == 0) {
        const char *what = map_component(exporter, &inner);
        if (what && strncmp(what, "prometheus", 10) == 0) {
            map_put(m, "OTEL_METRICS_EXPORTER", SLICE("prometheus"), n->line, true);
            map_scalar(m, inner, "host", "OTEL_EXPORTER_PROMETHEUS_HOST");
            map_scalar(m, inner, "port", "OTEL_EXPORTER_PROMETHEUS_PORT");
        } else if (what) {
            map_other(m, "metric_exporter", what, inner, n);
        }
    } else {
        map_other(m, "metric_reader", name, properties, n);
    }
}

static void detectors(struct mapping *m, const struct sonde_config_node *root)
{
    const struct sonde_config_node *list = sonde_config_get(root, "resource.detection/development.detectors"), *properties;
    static const char known[] = " container host process service os k8s ";
    for (const struct sonde_config_node *n = list ? list->first : NULL; n; n = n->next) {
        const char *name = map_component(n, &properties);
        char word[128];
        snprintf(word, sizeof word, " %.100s ", name ? name : "");
        if (name && strstr(known, word)) {
            if (strcmp(name, "service") != 0)
                map_put(m, "SONDE_RESOURCE_DETECTORS", slice_str(name), n->line, true);
        } else if (name) {
            map_other(m, "resource_detector", name, properties, n);
        }
    }
}

static const struct pair general[] = {
    {"disabled", "OTEL_SDK_DISABLED"},
    {"log_level", "OTEL_LOG_LEVEL"},
    {"attribute_limits.attribute_value_length_limit", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
    {"attribute_limits.attribute_count_limit", "OTEL_ATTRIBUTE_COUNT_LIMIT"},
    {"tracer_provider.limits.attribute_value_length_limit", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
    {"tracer_provider.limits.attribute_count_limit", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"},
    {"tracer_provider.limits.event_count_limit", "OTEL_SPAN_EVENT_COUNT_LIMIT"},
    {"tracer_provider.limits.link_count_limit", "OTEL_SPAN_LINK_COUNT_LIMIT"},
    {"tracer_provider.limits.event_attribute_count_limit", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"},
    {"tracer_provider.limits.link_attribute_count_limit", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"},
    {"logger_provider.limits.attribute_value_length_limit", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"},
    {"logger_provider.limits.attribute_count_limit", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"},
    {"meter_provider.exemplar_filter", "OTEL_METRICS_EXEMPLAR_FILTER"},
};

bool config_map(const struct sonde_config *c, struct sonde_config_parts *parts, struct buf *notes, struct error *err)
{
    struct mapping m = {.c = c, .parts = parts, .notes = notes};
    const struct sonde_config_node *root = c->root, *format = sonde_config_get(root, "file_format");
    const struct sonde_config_node *tracer = sonde_config_get(root, "tracer_provider");
    const struct sonde_config_node *meter = sonde_config_get(root, "meter_provider");
    const struct sonde_config_node *logger = sonde_config_get(root, "logger_provider");
    const struct sonde_config_node *off = sonde_config_get(root, "disabled");
    *parts = (struct sonde_config_parts){0};
    if (!format || !(strncmp(format->text, "0.", 2) == 0 || strncmp(format->text, "1.", 2) == 0)) {
        ERR(err, INPUT,
            format ? "line %d: file_format %s is not known; write \"1.0\"" : "file_format is missing; write file_format: \"1.0\"",
            format ? format->line : 0, format ? format->text : "");
        return false;
    }
    parts->disabled = off && strcmp(off->text, "true") == 0;
    parts->tracer_provider = tracer && !parts->disabled;
    parts->meter_provider = meter && !parts->disabled;
    parts->logger_provider = logger && !parts->disabled;
    all(&m, root, general, sizeof general / sizeof *general);
    resource(&m, root);
    detectors(&m, root);
    propagators(&m, root);
    processors(&m, tracer, "TRACES", "BSP");
    sampler(&m, sonde_config_get(tracer, "sampler"));
    processors(&m, logger, "LOGS", "BLRP");
    for (const struct sonde_config_node *n = entries(&m, meter, "readers"); n; n = n->next)
        reader(&m, n);
    none_left(&m, "TRACES");
    none_left(&m, "LOGS");
    none_left(&m, "METRICS");
    if (m.failed)
        ERR(err, NOMEM, "no memory for the configuration file");
    return !m.failed;
}
