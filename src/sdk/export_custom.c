// What the program adds: exporters and log processors. Kept for the life of the process, so that a forked child has them, too.
#include "base/alloc.h"
#include "base/limits.h"
#include "event/otlp_numbers.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // of the lists; they only grow
static struct sonde_exporter exporters[SONDE_EXPORTERS_MAX];
static size_t n_exporters;
static struct processor {
    struct sonde_log_processor p;
    bool stopped;
} processors[SONDE_PROCESSORS_MAX];
static size_t n_processors; // atomic: the backend reads it

void custom_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void custom_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static unsigned left_ms(int64_t until)
{
    int64_t left = until - clock_mono_ns();
    return left <= 0 ? 0 : left / 1000000 > 600000 ? 600000 : (unsigned)(left / 1000000);
}

// ---- exporters ------------------------------------------------------------------------------------------------------
static void attach_one(struct export *e, const struct sonde_exporter *x)
{
    for (int s = 0; s < EXPORT_SIGNALS; s++) {
        struct export_dest *d;
        if ((x->signals & 1u << s) && !e->q[s].closed && export_dest_add(&e->q[s], DEST_CUSTOM, &d)) {
            memcpy(d->url, "exporter", 9);
            d->custom = *x;
        }
    }
}

void custom_attach(struct export *e)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_exporters; i++)
        attach_one(e, &exporters[i]);
    e->has_processors = n_processors > 0;
    pthread_mutex_unlock(&lock);
}

// Makes what runs already know. Its lists are read under its lock by all but the backend, which holds drain.
static void announce(const struct sonde_exporter *x)
{
    sdk_start();
    if (!sdk_enter())
        return;
    pthread_mutex_lock(&sdk.life);
    struct export *e = sdk.phase == SDK_RUNNING ? sdk.export : NULL;
    pthread_mutex_lock(&sdk.drain);
    if (e) {
        pthread_mutex_lock(&e->lock);
        if (x)
            attach_one(e, x);
        else
            e->has_processors = true;
        for (int s = 0; s < EXPORT_SIGNALS; s++)
            e->q[s].on = e->q[s].n_dests > 0 && !e->q[s].closed;
        reader_start(e);
        pthread_mutex_unlock(&e->lock);
    } else if (sdk.phase == SDK_RUNNING) {
        e = export_new(sdk.service, sdk.resource);
        __atomic_store_n(&sdk.export, e, __ATOMIC_RELEASE);
        export_attach(e, &sdk.pipe);
    }
    pthread_mutex_unlock(&sdk.drain);
    pthread_mutex_unlock(&sdk.life);
    sdk_leave();
}

bool sonde_exporter_add(const struct sonde_exporter *x)
{
    bool ok = x && x->export_batch && (x->signals & ((1u << SONDE_SIGNALS) - 1));
    pthread_mutex_lock(&lock);
    ok = ok && n_exporters < SONDE_EXPORTERS_MAX;
    pthread_mutex_unlock(&lock);
    if (!ok)
        return false;
    sdk_start(); // first, or the start would attach it, and then announce again
    pthread_mutex_lock(&lock);
    exporters[n_exporters++] = *x;
    pthread_mutex_unlock(&lock);
    announce(x);
    return true;
}

enum outcome custom_send(struct export_dest *d, const struct export_batch *b)
{
    struct sonde_export_batch batch = {(enum sonde_signal)b->signal, b->request.p, b->request.n, b->items};
    pthread_mutex_lock(&d->call);
    enum sonde_export_result r = d->custom.export_batch(d->custom.arg, &batch);
    pthread_mutex_unlock(&d->call);
    return r == SONDE_EXPORT_OK ? SENT : r == SONDE_EXPORT_RETRY ? RETRY : REFUSED;
}

bool custom_flush(struct export_dest *d, int64_t until)
{
    if (d->kind != DEST_CUSTOM || !d->custom.force_flush)
        return true;
    pthread_mutex_lock(&d->call);
    bool ok = d->custom.force_flush(d->custom.arg, left_ms(until));
    pthread_mutex_unlock(&d->call);
    return ok;
}

void custom_stop(struct export_dest *d, int64_t until)
{
    if (d->kind != DEST_CUSTOM || !d->custom.shutdown)
        return;
    // Of several signals the last one ends it.
    for (int s = 0; s < EXPORT_SIGNALS; s++)
        for (size_t i = 0; i < d->e->q[s].n_dests; i++) {
            struct export_dest *o = d->e->q[s].dest[i];
            if (o != d && o->kind == DEST_CUSTOM && o->custom.shutdown == d->custom.shutdown && o->custom.arg == d->custom.arg) {
                d->custom.shutdown = NULL;
                return;
            }
        }
    pthread_mutex_lock(&d->call);
    d->custom.shutdown(d->custom.arg, left_ms(until));
    d->custom.shutdown = NULL;
    pthread_mutex_unlock(&d->call);
}

// ---- log processors -------------------------------------------------------------------------------------------------
bool sonde_log_processor_add(const struct sonde_log_processor *p)
{
    bool ok = p && p->on_emit;
    sdk_start();
    pthread_mutex_lock(&lock);
    ok = ok && n_processors < SONDE_PROCESSORS_MAX;
    if (ok) {
        processors[n_processors].p = *p;
        __atomic_store_n(&n_processors, n_processors + 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    if (ok)
        announce(NULL);
    return ok;
}

bool processors_any(void)
{
    return __atomic_load_n(&n_processors, __ATOMIC_ACQUIRE) > 0;
}

struct shown {
    struct sonde_log_record record; // first: what is handed out
    struct buf *encoded;
};

static void add_attr(struct sonde_log_record *record, const char *key, enum sonde_type type, uint64_t u, struct slice s)
{
    struct shown *shown = (struct shown *)record;
    encode_attr(shown->encoded, PB_LOG_ATTRS, slice_str(key), type, u, s);
    record->otlp = shown->encoded->p;
    record->otlp_n = shown->encoded->n;
}

void sonde_log_record_add_str(struct sonde_log_record *record, const char *key, const char *value)
{
    add_attr(record, key, SONDE_TYPE_STR, 0, slice_str(value));
}

void sonde_log_record_add_int(struct sonde_log_record *record, const char *key, int64_t value)
{
    add_attr(record, key, SONDE_TYPE_INT, (uint64_t)value, SLICE_NONE);
}

bool processors_emit(const struct line *l, int64_t observed, struct buf *encoded)
{
    const struct site *site = l->site;
    struct slice message = l->message.p ? l->message : site->message;
    struct shown shown = {.encoded = encoded};
    struct sonde_log_record *r = &shown.record;
    *r = (struct sonde_log_record){.time_ns = l->time,
                                   .observed_ns = observed,
                                   .level = (enum sonde_level)site->level,
                                   .target = site->target.p,
                                   .target_n = site->target.n,
                                   .message = message.p,
                                   .message_n = message.n,
                                   .otlp = encoded->p,
                                   .otlp_n = encoded->n};
    if (l->span) {
        r->in_span = true;
        r->flags = l->span->flags & 3;
        memcpy(r->trace_id, l->span->trace_id, 16);
        memcpy(r->span_id, l->span->span_id, 8);
    }
    size_t n = __atomic_load_n(&n_processors, __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < n; i++) {
        const struct processor *p = &processors[i];
        if (__atomic_load_n(&p->stopped, __ATOMIC_RELAXED) ||
            (p->p.enabled && !p->p.enabled(p->p.arg, r->level, r->target, r->target_n)))
            continue;
        if (!p->p.on_emit(p->p.arg, r))
            return false;
    }
    return true;
}

bool processors_flush(int64_t until)
{
    bool ok = true;
    size_t n = __atomic_load_n(&n_processors, __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < n; i++)
        if (processors[i].p.force_flush && !__atomic_load_n(&processors[i].stopped, __ATOMIC_RELAXED))
            ok = processors[i].p.force_flush(processors[i].p.arg, left_ms(until)) && ok;
    return ok;
}

void processors_stop(int64_t until)
{
    size_t n = __atomic_load_n(&n_processors, __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < n; i++)
        if (!__atomic_exchange_n(&processors[i].stopped, true, __ATOMIC_RELAXED) && processors[i].p.shutdown)
            processors[i].p.shutdown(processors[i].p.arg, left_ms(until));
}

// ---- flush and end of one signal ------------------------------------------------------------------------------------
static int64_t deadline(unsigned ms)
{
    return clock_mono_ns() + (int64_t)ms * 1000000;
}

bool sonde_signal_flush(enum sonde_signal signal, unsigned timeout_ms)
{
    int64_t until = deadline(timeout_ms);
    if (sdk.phase != SDK_RUNNING || signal >= SONDE_SIGNALS)
        return true;
    bool ok = backend_flush(until);
    return export_flush_signal(sdk.export, (enum export_signal)signal, until) && ok;
}

bool sonde_signal_shutdown(enum sonde_signal signal, unsigned timeout_ms)
{
    int64_t until = deadline(timeout_ms);
    if (sdk.phase != SDK_RUNNING || signal >= SONDE_SIGNALS)
        return true;
    bool ok = backend_flush(until);
    ok = export_stop_signal(sdk.export, (enum export_signal)signal, until) && ok;
    if (signal == SONDE_LOGS)
        processors_stop(until);
    return ok;
}

// ---- in memory ------------------------------------------------------------------------------------------------------
struct sonde_memory_exporter {
    pthread_mutex_t lock;
    struct sonde_export_batch *batch;
    size_t n, cap;
};

struct sonde_memory_exporter *sonde_memory_exporter_new(void)
{
    struct sonde_memory_exporter *m = mem_zalloc(sizeof *m);
    if (m)
        pthread_mutex_init(&m->lock, NULL);
    return m;
}

static enum sonde_export_result keep(void *arg, const struct sonde_export_batch *batch)
{
    struct sonde_memory_exporter *m = arg;
    enum sonde_export_result r = SONDE_EXPORT_FAILED;
    pthread_mutex_lock(&m->lock);
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        struct sonde_export_batch *more = mem_realloc(m->batch, cap * sizeof *more);
        m->batch = more ? more : m->batch;
        m->cap = more ? cap : m->cap;
    }
    char *copy = m->n < m->cap ? mem_alloc(batch->n + 1) : NULL;
    if (copy) {
        memcpy(copy, batch->otlp, batch->n);
        m->batch[m->n] = *batch;
        m->batch[m->n++].otlp = copy;
        r = SONDE_EXPORT_OK;
    }
    pthread_mutex_unlock(&m->lock);
    return r;
}

struct sonde_exporter sonde_memory_exporter_of(struct sonde_memory_exporter *m)
{
    return (struct sonde_exporter){.signals = (1u << SONDE_SIGNALS) - 1, .export_batch = keep, .arg = m};
}

size_t sonde_memory_exporter_count(struct sonde_memory_exporter *m)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->n;
    pthread_mutex_unlock(&m->lock);
    return n;
}

bool sonde_memory_exporter_get(struct sonde_memory_exporter *m, size_t i, struct sonde_export_batch *out)
{
    pthread_mutex_lock(&m->lock);
    bool ok = i < m->n;
    if (ok)
        *out = m->batch[i];
    pthread_mutex_unlock(&m->lock);
    return ok;
}

void sonde_memory_exporter_reset(struct sonde_memory_exporter *m)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++)
        mem_free((void *)(uintptr_t)m->batch[i].otlp);
    m->n = 0;
    pthread_mutex_unlock(&m->lock);
}
