#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

// The name that counts: OTEL_EXPORTER_OTLP_<signal>_<what> when it is set and not blank (*own), else OTEL_EXPORTER_OTLP_<what>.
static const char *otlp_name(const char *signal, const char *what, bool *own, char name[96])
{
    snprintf(name, 96, "OTEL_EXPORTER_OTLP_%s_%s", signal, what);
    const char *v = env_get(name);
    *own = slice_trim(slice_str(v ? v : "")).n > 0;
    if (!*own)
        snprintf(name, 96, "OTEL_EXPORTER_OTLP_%s", what);
    return name;
}

static struct slice otlp_env(const char *signal, const char *what, bool *own)
{
    char name[96];
    const char *v = env_get(otlp_name(signal, what, own, name));
    return slice_trim(slice_str(v ? v : ""));
}

static void complain(const char *signal, const char *what, struct slice value, const char *why)
{
    char text[400];
    int n = snprintf(text, sizeof text, "sonde: OTEL_EXPORTER_OTLP_[%s_]%s: '%.*s' %s\n", signal, what,
                     (int)(value.n < 100 ? value.n : 100), value.p, why);
    sdk_note(text, (size_t)n);
}

static size_t unescape(char *out, struct slice in)
{
    size_t o = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t byte = (uint8_t)in.p[i];
        if (byte == '%' && i + 2 < in.n && hex_decode(&byte, 1, slice_of(in.p + i + 1, 2)))
            i += 2;
        out[o++] = (char)byte;
    }
    return o;
}

static bool header_ok(struct slice name, const char *value, size_t n)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !memchr("!#$%&'*+-.^_`|~", name.p[i], 15))
            return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return false;
    return name.n > 0;
}

static void read_headers(struct export_queue *q)
{
    bool own;
    struct slice rest = otlp_env(q->env, "HEADERS", &own), part;
    size_t used = 0;
    while (rest.n && slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        ptrdiff_t eq = slice_find(part, SLICE("="));
        if (!part.n)
            continue;
        struct slice name = eq > 0 ? slice_trim(slice_cut(part, (size_t)eq)) : SLICE_NONE;
        struct slice value = eq > 0 ? slice_trim(slice_from(part, (size_t)eq + 1)) : SLICE_NONE;
        if (q->n_headers == HEADERS_MAX || used + name.n + value.n > sizeof q->header_text) {
            complain(q->env, "HEADERS", part, "is left out: too many headers");
            continue;
        }
        char *at = q->header_text + used;
        for (size_t i = 0; i < name.n; i++)
            at[i] = (char)tolower((unsigned char)name.p[i]);
        size_t n = unescape(at + name.n, value);
        if (!header_ok(slice_of(at, name.n), at + name.n, n)) {
            complain(q->env, "HEADERS", part, "is left out: a header is name=value");
            continue;
        }
        q->header[q->n_headers++] = (struct http_header){slice_of(at, name.n), slice_of(at + name.n, n)};
        used += name.n + n;
    }
}

static void read_protocol(struct export_queue *q)
{
    static const char *const words[] = {"grpc", "http/protobuf", "http/json"};
    bool own;
    char name[96];
    struct slice v = otlp_env(q->env, "PROTOCOL", &own);
    for (unsigned i = 0; i < 3; i++)
        if (slice_ieq(v, slice_str(words[i])))
            q->protocol = (enum protocol)i;
    if (v.n && q->protocol == PROTOCOL_GRPC && !slice_ieq(v, SLICE("grpc")))
        complain(q->env, "PROTOCOL", v, "is neither grpc nor http/protobuf nor http/json; grpc is used");
    v = otlp_env(q->env, "COMPRESSION", &own);
    q->gzip = slice_ieq(v, SLICE("gzip"));
    if (v.n && !q->gzip && !slice_ieq(v, SLICE("none")))
        complain(q->env, "COMPRESSION", v, "is neither gzip nor none; none is used");
    q->timeout_ns = env_int(otlp_name(q->env, "TIMEOUT", &own, name)) * 1000000;
    q->zipkin_timeout_ns = env_int("OTEL_EXPORTER_ZIPKIN_TIMEOUT") * 1000000;
}

// Names of files that are kept as they stand in the environment's copy.
static void read_tls(struct export_queue *q)
{
    static const char *const what[] = {"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"};
    const char **to[] = {&q->tls.ca_file, &q->tls.cert_file, &q->tls.key_file};
    bool own;
    char name[96];
    for (int i = 0; i < 3; i++) {
        const char *v = env_get_path(otlp_name(q->env, what[i], &own, name));
        *to[i] = v && *v ? v : NULL;
    }
    if (!q->tls.cert_file != !q->tls.key_file)
        complain(q->env, q->tls.key_file ? "CLIENT_KEY" : "CLIENT_CERTIFICATE",
                 slice_str(q->tls.key_file ? q->tls.key_file : q->tls.cert_file),
                 "is of no use without the other of key and certificate");
}

bool export_is_url(const char *url)
{
    struct slice s = slice_str(url);
    if (slice_ieq(slice_cut(s, 7), SLICE("http://")))
        s = slice_from(s, 7);
    else if (slice_ieq(slice_cut(s, 8), SLICE("https://")))
        s = slice_from(s, 8);
    else
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == 0x7f)
            return false;
    size_t host = strcspn(s.p, ":/");
    if (s.p[0] == '[')
        host = strcspn(s.p, "]") + 1;
    if (!host || host > s.n)
        return false;
    if (s.p[host] == ':') {
        size_t digits = strspn(s.p + host + 1, "0123456789");
        char end = s.p[host + 1 + digits];
        long port = digits && digits < 6 ? atol(s.p + host + 1) : 0;
        return port > 0 && port < 65536 && (!end || end == '/');
    }
    return true;
}

// url for q of an endpoint; as_given: with the path that it has.
static bool make_url(struct export_queue *q, struct slice v, bool as_given, char *url, size_t size)
{
    bool own;
    const char *scheme = "";
    struct slice given = v;
    if (slice_find(v, SLICE("://")) < 0) // gRPC's word for TLS; of HTTP no standard speaks
        scheme = q->protocol == PROTOCOL_GRPC && !slice_ieq(otlp_env(q->env, "INSECURE", &own), SLICE("true")) ? "https://"
                                                                                                               : "http://";
    while (!as_given && v.n && v.p[v.n - 1] == '/')
        v.n--;
    bool path = q->protocol != PROTOCOL_GRPC && !as_given;
    int n = snprintf(url, size, "%s%.*s%s%s", scheme, (int)v.n, v.p, path ? "/v1/" : "", path ? q->word : "");
    if (n < (int)size && export_is_url(url))
        return true;
    complain(q->env, "ENDPOINT", given, "is no URL of the form http://host:port; nothing is exported there");
    return false;
}

bool export_dest_add(struct export_queue *q, enum dest_kind kind, struct export_dest **out)
{
    pthread_condattr_t attr;
    struct export_dest *d = q->n_dests < DESTS_MAX ? mem_zalloc(sizeof *d) : NULL;
    if (!d) {
        char text[100];
        sdk_note(text, (size_t)snprintf(text, sizeof text, "sonde: %s for a destination: %s are not exported there\n",
                                        q->n_dests < DESTS_MAX ? "no memory" : "no room", q->word));
        return false;
    }
    d->e = q->e;
    d->q = q;
    d->kind = kind;
    d->backoff_ns = (int64_t)EXPORT_BACKOFF_MIN_MS * 1000000;
    pthread_mutex_init(&d->call, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attr);
    pthread_condattr_destroy(&attr);
    q->dest[q->n_dests++] = d;
    if (out)
        *out = d;
    return true;
}

// Each destination has a directory of its own.
static void add_spool(struct export_dest *d)
{
    char name[64];
    const char *dir = env_get_path("SONDE_SPOOL_DIR");
    if (!dir || !*dir)
        return;
    snprintf(name, sizeof name, "%s-%016llx", d->q->word, (unsigned long long)hash64(d->url, strlen(d->url)));
    d->spool = spool_new(dir, name, (uint64_t)env_int("SONDE_SPOOL_BYTES"));
    d->in_spool = d->spool && spool_any(d->spool);
}

static void add_otlp(struct export_queue *q, struct slice endpoint, bool as_given)
{
    struct export_dest *d;
    char url[sizeof d->url];
    if (make_url(q, endpoint, as_given, url, sizeof url) && export_dest_add(q, DEST_OTLP, &d)) {
        memcpy(d->url, url, sizeof url);
        add_spool(d);
    }
}

static void read_endpoints(struct export_queue *q)
{
    bool own;
    struct slice v = otlp_env(q->env, "ENDPOINT", &own), part;
    if (!v.n)
        v = q->protocol == PROTOCOL_GRPC ? SLICE("http://localhost:4317") : SLICE("http://localhost:4318");
    add_otlp(q, v, own);
    static const char *const own_list[] = {"SONDE_OTLP_TRACES_ENDPOINTS", "SONDE_OTLP_LOGS_ENDPOINTS",
                                           "SONDE_OTLP_METRICS_ENDPOINTS"};
    const char *more[] = {env_get("SONDE_OTLP_ENDPOINTS"), env_get(own_list[q->signal])};
    for (int i = 0; i < 2; i++) {
        v = slice_str(more[i] ? more[i] : "");
        while (v.n && slice_split(&v, ',', &part)) {
            part = slice_trim(part);
            if (part.n)
                add_otlp(q, part, i == 1);
        }
    }
}

static void add_zipkin(struct export_queue *q)
{
    struct export_dest *d;
    char url[sizeof d->url];
    q->zipkin = (enum zipkin_form)env_choice("OTEL_EXPORTER_ZIPKIN_PROTOCOL");
    if (!env_text("OTEL_EXPORTER_ZIPKIN_ENDPOINT", url, sizeof url))
        snprintf(url, sizeof url, "http://localhost:9411/api/v%d/spans", q->zipkin < ZIPKIN_V1_JSON ? 2 : 1);
    if (!export_is_url(url)) {
        char text[300];
        sdk_note(text,
                 (size_t)snprintf(text, sizeof text,
                                  "sonde: OTEL_EXPORTER_ZIPKIN_ENDPOINT: '%.150s' is no URL; nothing is sent there\n", url));
    } else if (export_dest_add(q, DEST_ZIPKIN, &d)) {
        memcpy(d->url, url, sizeof url);
        add_spool(d);
    }
}

static const char *exporters(enum export_signal s)
{
    static const char *const names[] = {"OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER"};
    const char *v = env_get(names[s]);
    return v && slice_trim(slice_str(v)).n ? v : NULL;
}

// Metrics go out only when they are asked for, as in Dynamo.
bool export_wanted(enum export_signal s)
{
    const char *v = env_get("OTEL_EXPORT_ENABLED");
    bool said = v && slice_trim(slice_str(v)).n, on = env_on("OTEL_EXPORT_ENABLED");
    if (s == EXPORT_METRICS)
        return exporters(s) != NULL;
    return on || (!said && exporters(s));
}

static void add_local(struct export_queue *q, enum dest_kind kind, const char *word)
{
    struct export_dest *d;
    const char *path = env_get_path("SONDE_OTLP_FILE");
    if (kind == DEST_FILE && (!path || !*path)) {
        static const char text[] = "sonde: OTEL_…_EXPORTER: the file exporter needs SONDE_OTLP_FILE; left out\n";
        sdk_note(text, sizeof text - 1);
    } else if (export_dest_add(q, kind, &d)) {
        snprintf(d->url, sizeof d->url, "%s", kind == DEST_FILE ? path : word);
    }
}

static void add_exporters(struct export_queue *q)
{
    static const struct {
        const char *word;
        enum dest_kind kind;
    } local[] = {{"console", DEST_CONSOLE}, {"otlp/stdout", DEST_STDOUT}, {"otlp/file", DEST_FILE}, {"file", DEST_FILE}};
    const char *list = exporters(q->signal);
    struct slice rest = slice_str(list ? list : "otlp"), part;
    unsigned seen = 0;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        bool known = !part.n || slice_ieq(part, SLICE("none")) ||
                     (q->signal == EXPORT_METRICS && slice_ieq(part, SLICE("prometheus"))); // the status server's matter
        for (size_t i = 0; i < sizeof local / sizeof *local; i++)
            if (slice_ieq(part, slice_str(local[i].word))) {
                known = true;
                if (!(seen & 1u << local[i].kind))
                    add_local(q, local[i].kind, local[i].word);
                seen |= 1u << local[i].kind;
            }
        if (slice_ieq(part, SLICE("otlp"))) {
            if (!(seen & 1u << DEST_OTLP))
                read_endpoints(q);
            seen |= 1u << DEST_OTLP;
        } else if (q->signal == EXPORT_TRACES && slice_ieq(part, SLICE("zipkin"))) {
            if (!(seen & 1u << DEST_ZIPKIN))
                add_zipkin(q);
            seen |= 1u << DEST_ZIPKIN;
        } else if (!known) {
            char text[200];
            sdk_note(text, (size_t)snprintf(text, sizeof text,
                                            "sonde: OTEL_%s_EXPORTER: '%.*s' is no exporter that is known here; left out\n",
                                            q->env, (int)(part.n < 60 ? part.n : 60), part.p));
        }
    }
}

static void read_batching(struct export_queue *q)
{
    static const char *const prefix[] = {"OTEL_BSP", "OTEL_BLRP"};
    char name[64];
    if (q->signal == EXPORT_METRICS) {
        int64_t ms = env_int("OTEL_METRIC_EXPORT_TIMEOUT"), interval = env_int("OTEL_METRIC_EXPORT_INTERVAL");
        ms = ms < interval ? ms : interval;
        q->timeout_ns = ms * 1000000 < q->timeout_ns ? ms * 1000000 : q->timeout_ns;
        q->max = 1 << 20;
        q->batch = 8192;
        return;
    }
    snprintf(name, sizeof name, "%s_SCHEDULE_DELAY", prefix[q->signal]);
    q->delay_ns = env_int(name) * 1000000;
    snprintf(name, sizeof name, "%s_MAX_QUEUE_SIZE", prefix[q->signal]);
    q->max = (size_t)env_int(name);
    snprintf(name, sizeof name, "%s_MAX_EXPORT_BATCH_SIZE", prefix[q->signal]);
    q->batch = (size_t)env_int(name);
    snprintf(name, sizeof name, "%s_EXPORT_TIMEOUT", prefix[q->signal]);
    int64_t whole = env_int(name) * 1000000;
    if (whole > 0 && whole < q->timeout_ns)
        q->timeout_ns = whole;
    if (q->batch > q->max)
        q->batch = q->max;
}

void export_configure(struct export *e, struct export_queue *q)
{
    read_protocol(q);
    read_batching(q);
    q->request_max = (size_t)env_int("SONDE_OTLP_MAX_REQUEST");
    buf_init(&q->bytes, EXPORT_QUEUE_BYTES + MIB(8));
    buf_init(&q->out_bytes, EXPORT_QUEUE_BYTES + MIB(8));
    e->concurrency = (unsigned)env_int("SONDE_OTLP_CONCURRENCY");
    e->reply_max = (size_t)env_int("SONDE_OTLP_MAX_RESPONSE");
    e->interval_ns = env_int("OTEL_METRIC_EXPORT_INTERVAL") * 1000000;
    if (!export_wanted(q->signal))
        return;
    read_headers(q);
    read_tls(q);
    add_exporters(q);
}
