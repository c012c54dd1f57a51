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
static const struct sonde_config_node *headers(const struct sonde_config_node *n, struct buf *b)
{
    const struct sonde_config_node *list = sonde_config_get(n, "headers"), *text = sonde_config_get(n, "headers_list");
    if (text && text->type == SONDE_NODE_STR)
        buf_str(b, text->text);
    for (const struct sonde_config_node *h = list ? list->first : NULL; h; h = h->next) {
        const struct sonde_config_node *key = list->type == SONDE_NODE_MAP ? h : sonde_config_get(h, "name");
        const struct sonde_config_node *value = list->type == SONDE_NODE_MAP ? h : sonde_config_get(h, "value");
        if (!key || !value)
            continue;
        buf_str(b, b->n ? "," : "");
        buf_str(b, list->type == SONDE_NODE_MAP ? key->key : key->text);
        buf_char(b, '=');
        map_encode(b, value->text);
    }
    return list ? list : text;
}

// What an OTLP exporter of the file may say, and the end of the variable that means the same.
static const char *const otlp_rows[][2] = {
    {"endpoint", "ENDPOINT"},
    {"protocol", "PROTOCOL"}, // of older files
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

static const char *otlp_protocol(const char *kind, const struct sonde_config_node *n)
{
    const struct sonde_config_node *encoding = sonde_config_get(n, "encoding");
    return encoding && encoding->text && strcmp(encoding->text, "json") == 0 ? "http/json" : kind;
}

static void otlp(struct mapping *m, const char *signal, const char *kind, const struct sonde_config_node *n, int line)
{
    struct buf b;
    char name[96];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_PROTOCOL", signal);
    map_put(m, name, slice_str(otlp_protocol(kind, n)), line, false);
    for (size_t i = 0; i < sizeof otlp_rows / sizeof *otlp_rows; i++)
        otlp_setting(m, signal, n, otlp_rows[i][0], otlp_rows[i][1]);
    buf_init(&b, 65536);
    const struct sonde_config_node *at = headers(n, &b);
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_HEADERS", signal);
    if (b.n)
        map_put(m, name, buf_slice(&b), at->line, false);
    buf_free(&b);
    if (strcmp(signal, "METRICS") == 0) {
        map_scalar(m, n, "temporality_preference", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
        map_scalar(m, n, "default_histogram_aggregation", "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
    }
}

// A further exporter of the signal: an entry of SONDE_OTLP_<SIGNAL>_ENDPOINTS that says all of it, so that nothing of the first,
// a secret in its headers for one, goes to another.
static void otlp_more(struct mapping *m, const char *signal, const char *kind, const struct sonde_config_node *n, int line)
{
    static const char *const words[] = {"traces", "logs", "metrics"};
    const struct sonde_config_node *to = sonde_config_get(n, "endpoint");
    bool given = to && to->text && *to->text;
    struct buf b, list;
    char name[64];
    buf_init(&b, 65536);
    buf_init(&list, 65536);
    if (given && strpbrk(to->text, ",;")) {
        map_note(m, to,
                 "the endpoint of a further OTLP exporter must be without , and ; which is %2C and %3B in a URL; the exporter is "
                 "left out");
        return;
    }
    if (given)
        buf_str(&b, to->text);
    else
        buf_printf(&b, "http://localhost:%s%s", kind[0] == 'g' ? "4317" : "4318/v1/",
                   kind[0] == 'g' ? ""
                                  : words[signal[0] == 'T'   ? 0
                                          : signal[0] == 'L' ? 1
                                                             : 2]);
    buf_printf(&b, ";protocol=%s", otlp_protocol(kind, n));
    for (size_t i = 1; i < sizeof otlp_rows / sizeof *otlp_rows; i++) {
        const struct sonde_config_node *at = sonde_config_get(n, otlp_rows[i][0]);
        if (!at || !at->text || !*at->text || at->type == SONDE_NODE_NULL)
            continue;
        buf_char(&b, ';');
        for (const char *c = otlp_rows[i][1]; *c; c++)
            buf_char(&b, (char)tolower((unsigned char)*c));
        buf_char(&b, '=');
        map_encode(&b, at->text);
    }
    headers(n, &list);
    buf_char(&list, 0);
    if (list.n > 1 && list.err == ERR_OK) {
        buf_str(&b, ";headers=");
        map_encode(&b, list.p);
    }
    for (int i = 0; i < 2 && signal[0] == 'M'; i++) {
        static const char *const whole[] = {"temporality_preference", "default_histogram_aggregation"};
        const struct sonde_config_node *at = sonde_config_get(n, whole[i]);
        if (at)
            map_note(m, at, "how metrics are aggregated is the same for all exporters; the first one's holds");
    }
    snprintf(name, sizeof name, "SONDE_OTLP_%s_ENDPOINTS", signal);
    if (b.err == ERR_OK)
        map_put(m, name, buf_slice(&b), line, true);
    buf_free(&b);
    buf_free(&list);
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
        bool *first = &m->otlp[signal[0] == 'T' ? 0 : signal[0] == 'L' ? 1 : 2];
        if (strcmp(name, known[i][0]) != 0)
            continue;
        if (known[i][2] && *first) {
            otlp_more(m, signal, known[i][2], properties, n->line);
            return;
        }
        *first = *first || known[i][2];
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
