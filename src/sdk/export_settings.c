#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

// OTEL_EXPORTER_OTLP_<signal>_<what>, else OTEL_EXPORTER_OTLP_<what>; blank counts as unset.
static struct slice otlp_env(const char *signal, const char *what, bool *own)
{
    char name[96];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_%s", signal, what);
    const char *v = env_get(name);
    struct slice s = slice_trim(slice_str(v ? v : ""));
    *own = s.n > 0;
    if (!s.n) {
        snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s", what);
        v = env_get(name);
        s = slice_trim(slice_str(v ? v : ""));
    }
    return s;
}

static uint64_t number_env(const char *name, uint64_t otherwise, uint64_t min, uint64_t max)
{
    const char *v = env_get(name);
    uint64_t n;
    if (!v || !*v)
        return otherwise;
    if (slice_to_u64(slice_trim(slice_str(v)), &n) && n >= min && n <= max)
        return n;
    char text[300];
    sdk_note(text, (size_t)snprintf(text, sizeof text, "sonde: %s: '%.60s' is not a number from %llu to %llu; %llu is used\n",
                                    name, v, (unsigned long long)min, (unsigned long long)max, (unsigned long long)otherwise));
    return otherwise;
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
    bool own;
    struct slice v = otlp_env(q->env, "PROTOCOL", &own);
    q->grpc = !slice_ieq(v, SLICE("http/protobuf"));
    if (v.n && q->grpc && !slice_ieq(v, SLICE("grpc")))
        complain(q->env, "PROTOCOL", v, "is neither grpc nor http/protobuf; grpc is used");
    v = otlp_env(q->env, "COMPRESSION", &own);
    q->gzip = slice_ieq(v, SLICE("gzip"));
    if (v.n && !q->gzip && !slice_ieq(v, SLICE("none")))
        complain(q->env, "COMPRESSION", v, "is neither gzip nor none; none is used");
    v = otlp_env(q->env, "TIMEOUT", &own);
    uint64_t ms = EXPORT_TIMEOUT_MS;
    if (v.n && (!slice_to_u64(v, &ms) || ms == 0 || ms > 600000)) {
        complain(q->env, "TIMEOUT", v, "is not a number of milliseconds; 10000 is used");
        ms = EXPORT_TIMEOUT_MS;
    }
    q->timeout_ns = (int64_t)ms * 1000000;
}

static bool read_endpoint(struct export_queue *q)
{
    bool own;
    struct slice v = otlp_env(q->env, "ENDPOINT", &own);
    if (!v.n)
        v = q->grpc ? SLICE("http://localhost:4317") : SLICE("http://localhost:4318");
    const char *scheme = slice_find(v, SLICE("://")) < 0 ? "http://" : "";
    struct url url;
    struct error err = {0};
    while (!own && v.n && v.p[v.n - 1] == '/')
        v.n--;
    int n = snprintf(q->url, sizeof q->url, "%s%.*s%s%s", scheme, (int)v.n, v.p, q->grpc || own ? "" : "/v1/",
                     q->grpc || own ? "" : q->word);
    if (n >= (int)sizeof q->url || url_parse(q->url, &url, &err) != ERR_OK) {
        complain(q->env, "ENDPOINT", v, "is no URL of the form http://host:port; this signal is not exported");
        return false;
    }
    return true;
}

void export_configure(struct export_queue *q, const char *prefix)
{
    char name[64];
    const char *v;
    snprintf(name, sizeof name, "OTEL_%s_EXPORTER", q->env);
    v = env_get(name);
    if (v && strcmp(v, "none") == 0)
        return;
    read_protocol(q);
    read_headers(q);
    q->on = read_endpoint(q);
    snprintf(name, sizeof name, "OTEL_%s_SCHEDULE_DELAY", prefix);
    q->delay_ns = (int64_t)number_env(name, EXPORT_DELAY_MS, 0, 3600000) * 1000000;
    snprintf(name, sizeof name, "OTEL_%s_MAX_QUEUE_SIZE", prefix);
    q->max = number_env(name, EXPORT_QUEUE, 1, 1 << 22);
    snprintf(name, sizeof name, "OTEL_%s_MAX_EXPORT_BATCH_SIZE", prefix);
    q->batch = number_env(name, EXPORT_BATCH, 1, 1 << 16);
    if (q->batch > q->max)
        q->batch = q->max;
    buf_init(&q->bytes, EXPORT_QUEUE_BYTES + MIB(8));
    buf_init(&q->out_bytes, EXPORT_QUEUE_BYTES + MIB(8));
    q->backoff_ns = (int64_t)EXPORT_BACKOFF_MIN_MS * 1000000;
}
