// Which destinations there are, and how batches are made; export_way.c reads how each is spoken to.
#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <stdio.h>

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
    d->way = &q->way;
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

// The last one that was added, before anything uses it.
static void export_dest_remove(struct export_dest *d)
{
    d->q->dest[--d->q->n_dests] = NULL;
    export_dest_free(d);
}

// Each destination has a directory of its own; so do two that differ in what is said to the same place.
static void add_spool(struct export_dest *d, struct slice way)
{
    char name[64];
    const char *dir = env_get_path("SONDE_SPOOL_DIR");
    uint64_t hash = hash64(d->url, strlen(d->url)) ^ (way.n ? hash64(way.p, way.n) : 0);
    if (!dir || !*dir)
        return;
    snprintf(name, sizeof name, "%s-%016llx", d->q->word, (unsigned long long)hash);
    d->spool = spool_new(dir, name, (uint64_t)env_int("SONDE_SPOOL_BYTES"));
    d->in_spool = d->spool && spool_any(d->spool);
}

// list: the setting that it is an entry of, which may go on behind the URL. Null: the signal's own endpoint.
static void add_otlp(struct export_queue *q, const char *list, struct slice entry, bool as_given)
{
    struct export_dest *d;
    ptrdiff_t end = list ? slice_find(entry, SLICE(";")) : -1;
    struct slice way = end < 0 ? SLICE("") : slice_from(entry, (size_t)end + 1);
    struct export_way *own = end < 0 ? NULL : export_way_new(q, list, way);
    if ((end >= 0 && !own) || !export_dest_add(q, DEST_OTLP, &d)) {
        mem_free(own);
        return;
    }
    d->way = own ? own : d->way;
    if (export_otlp_url(d, list, slice_trim(slice_cut(entry, end < 0 ? entry.n : (size_t)end)), as_given)) {
        q->json = q->json || d->way->protocol == PROTOCOL_JSON;
        add_spool(d, way);
    } else {
        export_dest_remove(d);
    }
}

static void read_endpoints(struct export_queue *q)
{
    bool own;
    struct slice v = export_endpoint(q, &own), part;
    if (!v.n)
        v = q->way.protocol == PROTOCOL_GRPC ? SLICE("http://localhost:4317") : SLICE("http://localhost:4318");
    add_otlp(q, NULL, v, own);
    static const char *const own_list[] = {"SONDE_OTLP_TRACES_ENDPOINTS", "SONDE_OTLP_LOGS_ENDPOINTS",
                                           "SONDE_OTLP_METRICS_ENDPOINTS"};
    const char *lists[] = {"SONDE_OTLP_ENDPOINTS", own_list[q->signal]};
    for (int i = 0; i < 2; i++) {
        const char *more = env_get(lists[i]);
        v = slice_str(more ? more : "");
        while (v.n && slice_split(&v, ',', &part)) {
            part = slice_trim(part);
            if (part.n)
                add_otlp(q, lists[i], part, i == 1);
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
    q->to_zipkin.timeout_ns = env_int("OTEL_EXPORTER_ZIPKIN_TIMEOUT") * 1000000;
    if (!export_dest_add(q, DEST_ZIPKIN, &d))
        return;
    d->way = &q->to_zipkin; // OTLP's headers and certificates are for OTLP
    if (export_set_url(d, slice_str(url), "http://", NULL, true)) {
        add_spool(d, SLICE(""));
    } else {
        char text[300], *at = strrchr(url, '@'); // a password is not shown
        sdk_note(text, (size_t)snprintf(text, sizeof text,
                                        "sonde: OTEL_EXPORTER_ZIPKIN_ENDPOINT: '%.150s' is no URL; nothing is sent there\n",
                                        at ? at + 1 : url));
        export_dest_remove(d);
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
    q->timeout_max_ns = INT64_MAX;
    if (q->signal == EXPORT_METRICS) {
        int64_t ms = env_int("OTEL_METRIC_EXPORT_TIMEOUT"), interval = env_int("OTEL_METRIC_EXPORT_INTERVAL");
        q->timeout_max_ns = (ms < interval ? ms : interval) * 1000000;
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
    q->timeout_max_ns = whole > 0 ? whole : INT64_MAX;
    if (q->batch > q->max)
        q->batch = q->max;
}

void export_configure(struct export *e, struct export_queue *q)
{
    read_batching(q);
    q->request_max = (size_t)env_int("SONDE_OTLP_MAX_REQUEST");
    buf_init(&q->bytes, EXPORT_QUEUE_BYTES + MIB(8));
    buf_init(&q->out_bytes, EXPORT_QUEUE_BYTES + MIB(8));
    e->concurrency = (unsigned)env_int("SONDE_OTLP_CONCURRENCY");
    e->reply_max = (size_t)env_int("SONDE_OTLP_MAX_RESPONSE");
    e->interval_ns = env_int("OTEL_METRIC_EXPORT_INTERVAL") * 1000000;
    bool wanted = export_wanted(q->signal);
    export_way_read(q, wanted);
    if (wanted)
        add_exporters(q);
}
