// Exporters of a configuration file, and the helpers of config_map.c.
#include "sdk/config_file.h"
#include "sdk/config_model.h"
#include <ctype.h>
#include <stdio.h>

// ---- helpers --------------------------------------------------------------------------------------------------------
void map_put(struct mapping *m, const char *setting, struct slice value, int line, bool join)
{
    if (!config_file_put(setting, value, line, join))
        m->failed = true;
}

void map_note(struct mapping *m, const struct sonde_config_node *n, const char *what)
{
    buf_printf(m->notes, "sonde: configuration file, line %d: %s\n", n ? n->line : 0, what);
}

void map_scalar(struct mapping *m, const struct sonde_config_node *n, const char *path, const char *setting)
{
    const struct sonde_config_node *at = sonde_config_get(n, path);
    if (!at || at->type == SONDE_NODE_NULL)
        return;
    if (at->type == SONDE_NODE_MAP || at->type == SONDE_NODE_LIST)
        map_note(m, at, "a single value is expected here; the entry is left out");
    else
        map_put(m, setting, slice_str(at->text), at->line, false);
}

void map_encode(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c > 0x20 && c < 0x7f && !strchr(",;=%\"\\", c))
            buf_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

const char *map_component(const struct sonde_config_node *n, const struct sonde_config_node **properties)
{
    *properties = NULL;
    if (n && n->type == SONDE_NODE_STR)
        return n->text;
    if (!n || n->type != SONDE_NODE_MAP || !n->first)
        return NULL;
    *properties = n->first;
    return n->first->key;
}

void map_other(struct mapping *m, const char *kind, const char *name, const struct sonde_config_node *properties,
               const struct sonde_config_node *where)
{
    bool known;
    char text[320];
    if (component_make(kind, name, properties, &known)) {
        m->parts->components++;
        return;
    }
    snprintf(text, sizeof text,
             known ? "the provider of %s %.100s could not make it" : "no provider for %s %.100s is registered; it is left out",
             kind, name);
    map_note(m, where, text);
}

// ---- exporters ------------------------------------------------------------------------------------------------------
static void otlp_setting(struct mapping *m, const char *signal, const struct sonde_config_node *n, const char *path,
                         const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_%s", signal, what);
    map_scalar(m, n, path, name);
}

// A list of {name, value}, and a list in one text; those of the first win.
static void headers(struct mapping *m, const char *signal, const struct sonde_config_node *n)
{
    const struct sonde_config_node *list = sonde_config_get(n, "headers"), *text = sonde_config_get(n, "headers_list");
    struct buf b;
    char name[96];
    buf_init(&b, 65536);
    if (text && text->type == SONDE_NODE_STR)
        buf_str(&b, text->text);
    for (const struct sonde_config_node *h = list ? list->first : NULL; h; h = h->next) {
        const struct sonde_config_node *key = list->type == SONDE_NODE_MAP ? h : sonde_config_get(h, "name");
        const struct sonde_config_node *value = list->type == SONDE_NODE_MAP ? h : sonde_config_get(h, "value");
        if (!key || !value)
            continue;
        buf_str(&b, b.n ? "," : "");
        buf_str(&b, list->type == SONDE_NODE_MAP ? key->key : key->text);
        buf_char(&b, '=');
        map_encode(&b, value->text);
    }
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_HEADERS", signal);
    if (b.n)
        map_put(m, name, buf_slice(&b), (list ? list : text)->line, false);
    buf_free(&b);
}

static void otlp(struct mapping *m, const char *signal, const char *protocol, const struct sonde_config_node *n, int line)
{
    static const char *const rows[][2] = {
        {"endpoint", "ENDPOINT"},
        {"compression", "COMPRESSION"},
        {"timeout", "TIMEOUT"},
        {"insecure", "INSECURE"},
        {"tls.insecure", "INSECURE"},
        {"certificate", "CERTIFICATE"},
        {"certificate_file", "CERTIFICATE"},
        {"tls.ca_file", "CERTIFICATE"},
        {"client_key", "CLIENT_KEY"},
        {"client_key_file", "CLIENT_KEY"},
        {"tls.key_file", "CLIENT_KEY"},
        {"client_certificate", "CLIENT_CERTIFICATE"},
        {"client_certificate_file", "CLIENT_CERTIFICATE"},
        {"tls.cert_file", "CLIENT_CERTIFICATE"},
    };
    char name[96];
    const struct sonde_config_node *encoding = sonde_config_get(n, "encoding");
    if (encoding && strcmp(encoding->text, "json") == 0)
        protocol = "http/json";
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_PROTOCOL", signal);
    map_put(m, name, slice_str(protocol), line, false);
    otlp_setting(m, signal, n, "protocol", "PROTOCOL"); // of older files
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        otlp_setting(m, signal, n, rows[i][0], rows[i][1]);
    headers(m, signal, n);
    if (strcmp(signal, "METRICS") == 0) {
        map_scalar(m, n, "temporality_preference", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
        map_scalar(m, n, "default_histogram_aggregation", "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
    }
}

static void file(struct mapping *m, const struct sonde_config_node *n, const char *list, int line)
{
    const struct sonde_config_node *to = sonde_config_get(n, "output_stream");
    const char *text = to ? to->text : "stdout";
    bool path = strncmp(text, "file://", 7) == 0;
    map_put(m, list, path ? SLICE("otlp/file") : SLICE("otlp/stdout"), line, true);
    if (path)
        map_put(m, "SONDE_OTLP_FILE", slice_str(text + 7), to->line, false);
}

static const struct sonde_config_node *but_endpoint(const struct sonde_config_node *n)
{
    while (n && n->key && strcmp(n->key, "endpoint") == 0)
        n = n->next;
    return n;
}

// All of both but entries named endpoint.
static bool same(const struct sonde_config_node *a, const struct sonde_config_node *b)
{
    const struct sonde_config_node *x = but_endpoint(a ? a->first : NULL), *y = but_endpoint(b ? b->first : NULL);
    bool empty = !a || !b || a->type == SONDE_NODE_NULL || b->type == SONDE_NODE_NULL; // as a map without entries
    if (!empty && (a->type != b->type || strcmp(a->text ? a->text : "", b->text ? b->text : "") != 0))
        return false;
    while (x && y && strcmp(x->key ? x->key : "", y->key ? y->key : "") == 0 && same(x, y)) {
        x = but_endpoint(x->next);
        y = but_endpoint(y->next);
    }
    return !x && !y;
}

// What is sent to one destination of a signal goes to the others in the same way.
static void otlp_more(struct mapping *m, const char *signal, const struct map_otlp *first, const char *kind,
                      const struct sonde_config_node *properties, const struct sonde_config_node *n)
{
    const struct sonde_config_node *to = sonde_config_get(properties, "endpoint");
    char name[64];
    snprintf(name, sizeof name, "SONDE_OTLP_%s_ENDPOINTS", signal);
    if (strcmp(first->kind, kind) != 0 || !same(first->properties, properties))
        map_note(
            m, n,
            "a further OTLP exporter of a signal must be as the first but for its endpoint (the same keys in the same order); "
            "it is left out");
    else if (!to || !to->text || !*to->text || strchr(to->text, ','))
        map_note(m, n, "a further OTLP exporter of a signal needs an endpoint of its own; it is left out");
    else
        map_put(m, name, slice_str(to->text), to->line, true);
}

void map_exporter(struct mapping *m, const char *signal, const char *kind, const struct sonde_config_node *n)
{
    static const char *const known[][3] = {
        {"otlp_http", "otlp", "http/protobuf"}, {"otlp_grpc", "otlp", "grpc"}, {"otlp", "otlp", "http/protobuf"},
        {"console", "console", NULL},           {"zipkin", "zipkin", NULL},    {"none", "none", NULL}};
    const struct sonde_config_node *properties;
    const char *name = map_component(n, &properties);
    char list[64];
    snprintf(list, sizeof list, "OTEL_%s_EXPORTER", signal);
    if (!name) {
        map_note(m, n, "an exporter is expected here, as otlp_http:");
        return;
    }
    map_put(m, "OTEL_EXPORT_ENABLED", SLICE("true"), n->line, false);
    if (strncmp(name, "otlp_file", 9) == 0) {
        file(m, properties, list, n->line);
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct map_otlp *first = &m->otlp[signal[0] == 'T' ? 0 : signal[0] == 'L' ? 1 : 2];
        if (strcmp(name, known[i][0]) != 0)
            continue;
        if (known[i][2] && first->kind) {
            otlp_more(m, signal, first, known[i][2], properties, n);
            return;
        }
        if (known[i][2])
            *first = (struct map_otlp){known[i][2], properties};
        map_put(m, list, slice_str(known[i][1]), n->line, true);
        if (known[i][2])
            otlp(m, signal, known[i][2], properties, n->line);
        if (strcmp(name, "zipkin") == 0) {
            map_scalar(m, properties, "endpoint", "OTEL_EXPORTER_ZIPKIN_ENDPOINT");
            map_scalar(m, properties, "timeout", "OTEL_EXPORTER_ZIPKIN_TIMEOUT");
        }
        return;
    }
    map_other(m, kind, name, properties, n);
}
