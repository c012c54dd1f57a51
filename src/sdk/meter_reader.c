// Readers: one thread each, so that an exporter that hangs holds up nobody longer than he asked for.
#define SONDE_TARGET "sonde::metrics"
#include "base/alloc.h"
#include "base/clock.h"
#include "sdk/env.h"
#include "sdk/meter.h"
#include "sdk/sdk.h"
#include <signal.h>
#include <time.h>

enum { COLLECT = 1, FLUSH = 2, END = 4 };

struct producer {
    struct producer *next;
    sonde_produce_fn *fn;
    void *arg;
};

struct sonde_reader {
    struct sonde_reader *next; // of the provider
    struct sonde_meter_provider *provider;
    uint32_t config;
    struct sonde_reader_options o;
    struct sonde_metric_filter filter;
    uint8_t temporality[SONDE_INSTRUMENT_KINDS];
    struct meter_states states; // the thread's
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t thread;
    struct producer *producers;
    unsigned wish, asked, answered, limit_ms;
    bool ok, stopped, finished;
};

// ---- the reader's thread --------------------------------------------------------------------------------------------
static bool export_all(struct sonde_reader *r, struct sonde_collection *c, unsigned limit_ms)
{
    struct meter_metric *m = c->first;
    struct sonde_metrics batch;
    size_t at = 0;
    bool ok = !c->failed;
    while (ok && m && meter_batch(c, &m, &at, r->o.max_points, &batch))
        ok = r->o.export_batch(r->o.arg, &batch, limit_ms);
    return ok && !c->failed;
}

static bool collect(struct sonde_reader *r, unsigned limit_ms)
{
    struct sonde_collection c;
    if (!r->o.export_batch)
        return true;
    meter_collection_init(&c, r->temporality, &r->states, r->o.filter ? &r->filter : NULL);
    meter_collect_provider(&c, r->provider, r->config);
    pthread_mutex_lock(&r->lock);
    struct producer *p = r->producers; // they are only added, in front
    pthread_mutex_unlock(&r->lock);
    bool ok = true;
    for (; p; p = p->next)
        ok = p->fn(p->arg, r->o.filter ? &r->filter : NULL, &c) && ok;
    meter_states_sweep(&r->states);
    ok = export_all(r, &c, limit_ms < r->o.timeout_ms ? limit_ms : r->o.timeout_ms) && ok;
    meter_collection_free(&c);
    return ok;
}

static bool serve(struct sonde_reader *r, unsigned wish, unsigned limit_ms)
{
    bool ok = collect(r, limit_ms);
    if (wish & (FLUSH | END) && r->o.flush)
        ok = r->o.flush(r->o.arg, limit_ms) && ok;
    if (wish & END && r->o.shutdown)
        ok = r->o.shutdown(r->o.arg, limit_ms) && ok;
    return ok;
}

static struct timespec at(int64_t ns)
{
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static void *run(void *arg)
{
    struct sonde_reader *r = arg;
    int64_t interval = (int64_t)r->o.interval_ms * 1000000, due = clock_mono_ns() + interval;
    unsigned wish = 0;
    pthread_mutex_lock(&r->lock);
    while (!(wish & END)) {
        struct timespec until = at(due);
        unsigned ticket = r->asked;
        wish = r->wish;
        r->wish = 0;
        bool late = r->o.periodic && clock_mono_ns() >= due;
        if (!wish && !late) {
            if (r->o.periodic)
                pthread_cond_timedwait(&r->wake, &r->lock, &until);
            else
                pthread_cond_wait(&r->wake, &r->lock);
            continue;
        }
        unsigned limit = wish ? r->limit_ms : r->o.timeout_ms;
        pthread_mutex_unlock(&r->lock);
        bool ok = wish ? serve(r, wish, limit) : collect(r, limit);
        if (late)
            due = clock_mono_ns() + interval;
        pthread_mutex_lock(&r->lock);
        if (wish) {
            r->answered = ticket;
            r->ok = ok;
            pthread_cond_broadcast(&r->done);
        }
    }
    r->finished = true;
    pthread_cond_broadcast(&r->done);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

// ---- its users ------------------------------------------------------------------------------------------------------
// Asks; the ticket to wait for, or 0: the reader was shut down.
static unsigned ask(struct sonde_reader *r, unsigned wish, unsigned timeout_ms)
{
    unsigned ticket = 0;
    pthread_mutex_lock(&r->lock);
    if (!r->stopped) {
        r->wish |= wish;
        r->limit_ms = timeout_ms;
        r->stopped = wish & END;
        r->asked += r->asked + 1 ? 1 : 2; // never 0
        ticket = r->asked;
        pthread_cond_signal(&r->wake);
    }
    pthread_mutex_unlock(&r->lock);
    return ticket;
}

static bool await(struct sonde_reader *r, unsigned ticket, int64_t until)
{
    struct timespec t = at(until);
    bool in_time = ticket != 0;
    pthread_mutex_lock(&r->lock);
    while (in_time && (int)(r->answered - ticket) < 0)
        in_time = pthread_cond_timedwait(&r->done, &r->lock, &t) == 0 || (int)(r->answered - ticket) >= 0;
    bool ok = in_time && r->ok;
    pthread_mutex_unlock(&r->lock);
    return ok;
}

static bool one(struct sonde_reader *r, unsigned wish, unsigned timeout_ms)
{
    int64_t until = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    return r && await(r, ask(r, wish, timeout_ms), until);
}

bool sonde_reader_collect(struct sonde_reader *r, unsigned timeout_ms)
{
    return one(r, COLLECT, timeout_ms);
}
bool sonde_reader_flush(struct sonde_reader *r, unsigned timeout_ms)
{
    return one(r, FLUSH, timeout_ms);
}
bool sonde_reader_shutdown(struct sonde_reader *r, unsigned timeout_ms)
{
    return one(r, END, timeout_ms);
}

// All are asked before any is waited for: they share the time.
static bool all(struct sonde_meter_provider *p, unsigned wish, unsigned timeout_ms)
{
    int64_t until = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    struct sonde_reader *r[64];
    unsigned ticket[64], n = 0;
    bool ok = true;
    pthread_mutex_lock(&p->lock);
    for (struct sonde_reader *k = p->readers; k && n < 64; k = k->next)
        r[n++] = k;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++)
        ticket[i] = ask(r[i], wish, timeout_ms);
    for (unsigned i = 0; i < n; i++)
        ok = await(r[i], ticket[i], until) && ok;
    return ok;
}

bool sonde_meter_provider_flush(struct sonde_meter_provider *p, unsigned timeout_ms)
{
    return p && !p->stopped && all(p, FLUSH, timeout_ms);
}

bool sonde_meter_provider_shutdown(struct sonde_meter_provider *p, unsigned timeout_ms)
{
    if (!p)
        return false;
    pthread_mutex_lock(&p->lock);
    bool before = p->stopped;
    pthread_mutex_unlock(&p->lock);
    if (before)
        return false;
    bool ok = all(p, END, timeout_ms); // while the meters are on: what they have is the last collection
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    for (struct sonde_meter *m = atomic_load_explicit(&p->first, memory_order_relaxed); m; m = m->next)
        atomic_store_explicit(&m->on, false, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static bool start(struct sonde_reader *r)
{
    pthread_condattr_t attr;
    sigset_t every, old;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, &attr);
    pthread_cond_init(&r->done, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &old);
    bool ok = pthread_create(&r->thread, NULL, run, r) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

struct sonde_reader *sonde_reader_new(struct sonde_meter_provider *p, const struct sonde_reader_options *o)
{
    struct sonde_reader *r = p && o && !p->stopped ? mem_zalloc(sizeof *r) : NULL;
    struct meter_config c = {0};
    bool ok;
    if (!r)
        return NULL;
    r->provider = p;
    r->o = *o;
    if (o->filter)
        r->filter = *o->filter;
    r->o.interval_ms = o->interval_ms ? o->interval_ms : (unsigned)env_int("OTEL_METRIC_EXPORT_INTERVAL");
    r->o.timeout_ms = o->timeout_ms ? o->timeout_ms : (unsigned)env_int("OTEL_METRIC_EXPORT_TIMEOUT");
    for (int k = 0; k < SONDE_INSTRUMENT_KINDS; k++) {
        unsigned t = o->temporality[k] ? o->temporality[k] : o->temporality[0];
        r->temporality[k] = t == SONDE_TEMPORALITY_DELTA ? SONDE_TEMPORALITY_DELTA : SONDE_TEMPORALITY_CUMULATIVE;
        c.aggregation[k] = o->aggregation[k] < SONDE_AGGREGATIONS ? (uint8_t)o->aggregation[k] : 0;
        c.cardinality[k] = o->cardinality[k];
    }
    pthread_mutex_lock(&p->lock);
    r->config = meter_config_of(p, &c, &ok);
    if (ok && (ok = start(r))) {
        r->next = p->readers;
        p->readers = r;
    }
    pthread_mutex_unlock(&p->lock);
    if (!ok) {
        SONDE_WARN("a metrics reader is refused: its aggregations or cardinalities are new, and the provider has instruments "
                   "already (or its "
                   "thread cannot start); make readers before instruments");
        mem_free(r);
        return NULL;
    }
    return r;
}

bool sonde_reader_producer(struct sonde_reader *r, sonde_produce_fn *fn, void *arg)
{
    struct producer *p = r && fn ? mem_alloc(sizeof *p) : NULL;
    if (!p)
        return false;
    pthread_mutex_lock(&r->lock);
    *p = (struct producer){r->producers, fn, arg};
    r->producers = p;
    pthread_mutex_unlock(&r->lock);
    return true;
}

void meter_after_fork(void)
{
    meter_all_lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    for (struct sonde_meter_provider *p = meter_all; p; p = p->next) {
        p->lock = p->collecting = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        for (struct sonde_reader *r = p->readers; r; r = r->next) { // its thread is the parent's
            r->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
            r->stopped = true;
        }
    }
}

bool meter_readers_free(struct sonde_reader *r)
{
    for (struct sonde_reader *k = r; k; k = k->next) {
        pthread_mutex_lock(&k->lock);
        bool finished = k->finished;
        pthread_mutex_unlock(&k->lock);
        if (!finished)
            return false;
    }
    while (r) {
        struct sonde_reader *next = r->next;
        pthread_join(r->thread, NULL);
        while (r->producers) {
            struct producer *p = r->producers->next;
            mem_free(r->producers);
            r->producers = p;
        }
        meter_states_free(&r->states);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->wake);
        pthread_cond_destroy(&r->done);
        mem_free(r);
        r = next;
    }
    return true;
}
