#include "sdk/export.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include "sdk/meter_otlp.h"
#include "sdk/sdk.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// ---- filling the queues (the backend) -------------------------------------------------------------------------------
// Whether one more record can wait: here and at the destination that has the fewest waiting. Slower ones lose for themselves.
static bool has_room(const struct export_queue *q)
{
    if (q->bytes.n > EXPORT_QUEUE_BYTES || q->bytes.err != ERR_OK)
        return false;
    for (size_t i = 0; i < q->n_dests; i++)
        if (q->dest[i]->spool || (q->n + q->taken + q->dest[i]->waiting < q->max && q->dest[i]->bytes <= EXPORT_QUEUE_BYTES))
            return q->n + q->taken < q->max;
    return false;
}

// Room for one more message; else it is counted as dropped. Under the lock.
static struct encode_message *queue_add(struct export_queue *q, const struct encode_scope *scope)
{
    bool ok = has_room(q);
    if (ok && q->n == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 256;
        struct encode_message *m = mem_realloc(q->m, cap * sizeof *m);
        ok = m != NULL;
        if (ok) {
            q->m = m;
            q->cap = cap;
        }
    }
    if (!ok) {
        q->stats.failed[EXPORT_QUEUE_FULL]++;
        return NULL;
    }
    q->m[q->n] = (struct encode_message){.scope = *scope, .at = q->bytes.n};
    return &q->m[q->n];
}

static void queue_added(struct export *e, struct export_queue *q)
{
    struct encode_message *m = &q->m[q->n];
    if (q->bytes.err != ERR_OK) { // the message did not fit whole; forget its beginning
        q->bytes.err = ERR_OK;
        q->bytes.n = m->at;
        q->stats.failed[EXPORT_QUEUE_FULL]++;
        return;
    }
    m->n = q->bytes.n - m->at;
    q->stats.processed++;
    if (q->n++ == 0)
        q->first_at = clock_mono_ns();
    if (q->n == 1 || q->n == q->batch)
        pthread_cond_signal(&e->wake);
}

static bool wants_batches(const struct export_queue *q)
{
    for (size_t i = 0; i < q->n_dests; i++)
        if (!q->dest[i]->custom.simple)
            return true;
    return false;
}

// To those of the program's exporters that want each record by itself. The backend, without the lock.
static void give_simple(struct export *e, struct export_queue *q, const struct encode_scope *scope, struct slice message)
{
    struct encode_message m = {.scope = *scope, .n = message.n};
    struct export_batch b = {.refs = 1, .signal = q->signal, .items = 1};
    for (size_t i = 0; i < q->n_dests; i++) {
        struct export_dest *d = q->dest[i];
        if (!d->custom.simple || q->closed)
            continue;
        if (!b.request.max) {
            buf_init(&b.request, q->request_max);
            export_resource(e);
            pthread_mutex_lock(&e->resource_lock);
            encode_request(&b.request, buf_slice(&e->resource), buf_slice(&e->schema), message.p, &m, 1);
            pthread_mutex_unlock(&e->resource_lock);
        }
        enum outcome o = custom_send(d, &b);
        pthread_mutex_lock(&e->lock);
        q->stats.exported += o == SENT;
        q->stats.failed[EXPORT_REFUSED] += o != SENT;
        pthread_mutex_unlock(&e->lock);
    }
    buf_free(&b.request);
}

// A record that is needed outside of the queue: processors look at it first, simple exporters get it at once.
static void add_encoded(struct export *e, struct export_queue *q, const struct encode_scope *scope, const struct line *l,
                        int64_t observed)
{
    if (l && !processors_emit(l, observed, &e->scratch))
        return;
    if (e->scratch.err != ERR_OK || !q->on)
        return;
    give_simple(e, q, scope, buf_slice(&e->scratch));
    if (!wants_batches(q))
        return;
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, scope)) {
        buf_add(&q->bytes, buf_slice(&e->scratch));
        queue_added(e, q);
    }
    pthread_mutex_unlock(&e->lock);
}

static bool has_simple(const struct export_queue *q)
{
    bool any = false;
    for (size_t i = 0; i < q->n_dests; i++)
        any = any || q->dest[i]->custom.simple;
    return any;
}

static void add_log(void *arg, const struct line *l)
{
    struct export *e = arg;
    struct export_queue *q = &e->q[EXPORT_LOGS];
    // Targets live on, those of the library's own lines (whose site does not) are literals.
    struct encode_scope scope = {.name = l->site->target, .more = l->site->scope};
    int64_t observed = clock_wall_ns();
    if (!q->on && !e->has_processors)
        return;
    if (e->has_processors || has_simple(q)) {
        buf_reset(&e->scratch);
        encode_log(&e->scratch, l, observed);
        add_encoded(e, q, &scope, e->has_processors ? l : NULL, observed);
        return;
    }
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, &scope)) {
        encode_log(&q->bytes, l, observed);
        queue_added(e, q);
    }
    pthread_mutex_unlock(&e->lock);
}

static void add_span(void *arg, const struct bspan *s, int64_t end)
{
    struct export *e = arg;
    struct export_queue *q = &e->q[EXPORT_TRACES];
    struct encode_scope scope = encode_span_scope(s);
    if (!q->on)
        return;
    if (has_simple(q)) {
        buf_reset(&e->scratch);
        encode_span(&e->scratch, s, end);
        add_encoded(e, q, &scope, NULL, 0);
        return;
    }
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, &scope)) {
        encode_span(&q->bytes, s, end);
        queue_added(e, q);
    }
    pthread_mutex_unlock(&e->lock);
}

void export_attach(struct export *e, struct pipeline *p)
{
    p->on_log = e ? add_log : NULL;
    p->on_span = e ? add_span : NULL;
    p->arg = e;
}

// ---- the batcher ----------------------------------------------------------------------------------------------------
static void make_resource(struct export *e)
{
    char service[sizeof e->service], options[sizeof e->options];
    pthread_mutex_lock(&e->lock);
    bool make = e->describe;
    e->describe = false;
    memcpy(service, e->service, sizeof service);
    memcpy(options, e->options, sizeof options);
    pthread_mutex_unlock(&e->lock);
    if (!make)
        return;
    struct sonde_resource *r = resource_make(service, options);
    pthread_mutex_lock(&e->resource_lock);
    buf_reset(&e->resource);
    buf_reset(&e->schema);
    resource_encode(&e->resource, r);
    buf_str(&e->schema, sonde_resource_schema_url(r));
    pthread_mutex_unlock(&e->resource_lock);
    sonde_resource_free(r);
}

void export_resource(struct export *e)
{
    pthread_mutex_lock(&e->describing); // nobody goes on without it
    make_resource(e);
    pthread_mutex_unlock(&e->describing);
}

// When the queue wants to become a batch: INT64_MAX for never. Under the lock.
static int64_t due(const struct export_queue *q)
{
    return q->n == 0 ? INT64_MAX : q->n >= q->batch ? 0 : q->first_at + q->delay_ns;
}

static void wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t at)
{
    if (at == INT64_MAX) {
        pthread_cond_wait(c, lock);
        return;
    }
    struct timespec ts = {at / 1000000000, at % 1000000000};
    pthread_cond_timedwait(c, lock, &ts);
}

// Takes all that waits into the batcher's hands. Under the lock.
static void take(struct export_queue *q)
{
    struct buf bytes = q->out_bytes;
    struct encode_message *m = q->out;
    size_t cap = q->out_cap;
    q->out_bytes = q->bytes;
    q->out = q->m;
    q->out_n = q->taken = q->n;
    q->out_cap = q->cap;
    buf_reset(&bytes);
    q->bytes = bytes;
    q->m = m;
    q->cap = cap;
    q->n = 0;
}

// How many messages from `at` make one request: no more than a batch, and no more bytes than a request may have. 0: the first
// alone is too large.
static size_t fit(const struct export_queue *q, size_t at, size_t overhead)
{
    // As JSON the same takes some times more: ids as hex, numbers as digits, names of the fields.
    size_t room = q->request_max / (q->json ? 6 : 1), n = 0;
    room = room > overhead ? room - overhead : 0;
    for (; at + n < q->out_n && n < q->batch; n++) {
        size_t size = q->out[at + n].n + 16 + q->out[at + n].scope.name.n;
        if (size > room)
            break;
        room -= size;
    }
    return n;
}

static struct export_batch *make_batch(struct export *e, struct export_queue *q, size_t at, size_t n)
{
    struct export_batch *b = mem_zalloc(sizeof *b);
    if (!b)
        return NULL;
    *b = (struct export_batch){.refs = 1, .signal = q->signal, .items = n};
    pthread_mutex_lock(&e->lock);
    b->request = e->spare;
    buf_init(&e->spare, 0);
    pthread_mutex_unlock(&e->lock);
    buf_reset(&b->request);
    b->request.max = MIB(72);
    buf_reserve(&b->request, q->out_bytes.n < MIB(64) && n == q->out_n ? q->out_bytes.n + KIB(16) : 0);
    pthread_mutex_lock(&e->resource_lock);
    encode_request(&b->request, buf_slice(&e->resource), buf_slice(&e->schema), q->out_bytes.p, q->out + at, n);
    pthread_mutex_unlock(&e->resource_lock);
    if (b->request.err == ERR_OK)
        return b;
    buf_free(&b->request);
    mem_free(b);
    return NULL;
}

static void make_batches(struct export *e, struct export_queue *q)
{
    export_resource(e);
    pthread_mutex_lock(&e->resource_lock);
    size_t overhead = e->resource.n + e->schema.n + 256;
    pthread_mutex_unlock(&e->resource_lock);
    for (size_t at = 0; at < q->out_n;) {
        size_t n = fit(q, at, overhead), skip = n ? 0 : 1;
        struct export_batch *b = n ? make_batch(e, q, at, n) : NULL;
        at += n + skip;
        pthread_mutex_lock(&e->lock);
        if (e->left && b)
            batch_put(e, b);
        else if (b)
            export_give(e, q, b);
        else if (!e->left)
            q->stats.failed[skip ? EXPORT_TOO_LARGE : EXPORT_QUEUE_FULL] += n + skip;
        q->taken = e->left ? 0 : q->out_n - at;
        pthread_mutex_unlock(&e->lock);
    }
    buf_reset(&q->out_bytes);
}

static void wake_all(struct export *e)
{
    for (int i = 0; i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++)
            pthread_cond_broadcast(&e->q[i].dest[k]->wake);
    pthread_cond_broadcast(&e->done);
}

// Makes batches of what is due, or of all when a flush asks; when to come back. Under the lock, which is given up meanwhile.
static int64_t turn(struct export *e)
{
    int64_t next = INT64_MAX;
    bool any = false, asked = false;
    for (int i = 0; i < EXPORT_METRICS; i++) {
        struct export_queue *q = &e->q[i];
        unsigned ticket = e->flush_asked;
        bool flush = q->flushed != ticket || e->stop;
        if (q->n && (flush || due(q) <= clock_mono_ns())) {
            take(q);
            pthread_mutex_unlock(&e->lock);
            make_batches(e, q);
            pthread_mutex_lock(&e->lock);
            any = true;
        }
        if (q->flushed != ticket) { // what comes after the flush was asked for is not its business
            q->flushed = ticket;
            q->flushed_to = e->numbered;
            asked = true;
        }
    }
    if (asked)
        wake_all(e);
    for (int i = 0; i < EXPORT_METRICS; i++) {
        int64_t at = due(&e->q[i]);
        next = at < next ? at : next;
        any = any || e->q[i].flushed != e->flush_asked;
    }
    return any ? 0 : next;
}

static void *loop(void *arg)
{
    struct export *e = arg;
    pthread_setname_np(pthread_self(), "sonde-export");
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++)
            dest_begin(e->q[i].dest[k]);
    for (;;) {
        int64_t next = turn(e);
        if (!next)
            continue;
        if (e->stop)
            break;
        if (next > clock_mono_ns())
            wait_until(&e->wake, &e->lock, next);
    }
    e->finished = true;
    wake_all(e);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

// ---- life -----------------------------------------------------------------------------------------------------------
static void describe(struct export *e, const char *service, const char *resource)
{
    snprintf(e->service, sizeof e->service, "%s", service);
    snprintf(e->options, sizeof e->options, "%s", resource);
    e->describe = true;
}

void export_describe(struct export *e, const char *service, const char *resource)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    describe(e, service, resource);
    pthread_mutex_unlock(&e->lock);
}

void export_redescribe(void)
{
    struct export *e = __atomic_load_n(&sdk.export, __ATOMIC_ACQUIRE);
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->describe = true;
    pthread_mutex_unlock(&e->lock);
}

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

static bool start_thread(struct export *e)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); // the application's signals are not for our threads
    e->has_thread = pthread_create(&e->thread, NULL, loop, e) == 0;
    if (e->has_thread)
        reader_start(e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e->has_thread;
}

void export_dest_free(struct export_dest *d)
{
    spool_free(d->spool);
    if (d->way != &d->q->way && d->way != &d->q->to_zipkin)
        mem_free((void *)(uintptr_t)d->way);
    mem_free(d);
}

static void free_all(struct export *e)
{
    for (int i = 0; i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++)
            export_dest_free(e->q[i].dest[k]);
    buf_free(&e->resource);
    buf_free(&e->schema);
    buf_free(&e->scratch);
    buf_free(&e->spare);
    mem_free(e);
}

struct export *export_new(const char *service, const char *resource)
{
    static const struct {
        const char *word, *env, *grpc_path;
    } rows[EXPORT_SIGNALS] = {
        {"traces", "TRACES", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
        {"logs", "LOGS", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"},
        {"metrics", "METRICS", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"},
    };
    struct export *e = env_on("OTEL_SDK_DISABLED") ? NULL : mem_zalloc(sizeof *e);
    bool any = false;
    if (!e) {
        static const char text[] = "sonde: no memory for the exporter: nothing is exported\n";
        if (!env_on("OTEL_SDK_DISABLED"))
            sdk_note(text, sizeof text - 1);
        return NULL;
    }
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->resource_lock, NULL);
    pthread_mutex_init(&e->describing, NULL);
    cond_init(&e->wake);
    cond_init(&e->done);
    cond_init(&e->tick);
    buf_init(&e->resource, RESOURCE_MAX);
    buf_init(&e->schema, KIB(4));
    buf_init(&e->scratch, MIB(64));
    encode_limits_read();
    for (int i = 0; i < EXPORT_SIGNALS; i++) {
        struct export_queue *q = &e->q[i];
        *q = (struct export_queue){
            .e = e, .signal = (enum export_signal)i, .word = rows[i].word, .env = rows[i].env, .grpc_path = rows[i].grpc_path};
        export_configure(e, q);
    }
    custom_attach(e);
    describe(e, service, resource);
    for (int i = 0; i < EXPORT_SIGNALS; i++) {
        e->q[i].on = e->q[i].n_dests > 0;
        any = any || e->q[i].on;
    }
    if ((!any && !e->has_processors) || !start_thread(e)) {
        free_all(e);
        return NULL;
    }
    return e;
}

// Whether everything that was there when `ticket` was drawn is delivered, or cannot be now (*ok).
static bool settled(const struct export *e, unsigned signals, unsigned ticket, unsigned collected, bool *ok)
{
    *ok = true;
    bool done = true;
    for (int i = 0; i < EXPORT_SIGNALS; i++) {
        const struct export_queue *q = &e->q[i];
        if (!(signals & 1u << i) || !q->on)
            continue;
        if (i == EXPORT_METRICS ? e->has_reader && !e->reader_ended && (int)(e->collect_done - collected) < 0
                                : (int)(q->flushed - ticket) < 0)
            return false;
        uint64_t to = i == EXPORT_METRICS ? e->numbered : q->flushed_to;
        for (size_t k = 0; k < q->n_dests; k++)
            done = dest_settled(q->dest[k], to, ticket, ok) && done;
    }
    return done;
}

static bool flush_locked(struct export *e, unsigned signals, int64_t until)
{
    bool ok = false, done = false;
    unsigned ticket = ++e->flush_asked, collected = e->collect_asked;
    if ((signals & 1u << EXPORT_METRICS) && e->has_reader)
        collected = ++e->collect_asked;
    e->until = until > e->until ? until : e->until;
    e->flushers++;
    pthread_cond_signal(&e->wake);
    pthread_cond_broadcast(&e->tick);
    while (!(done = settled(e, signals, ticket, collected, &ok)) && clock_mono_ns() < until)
        wait_until(&e->done, &e->lock, until);
    if (--e->flushers == 0 && !e->stop)
        e->until = 0;
    return done && ok;
}

static bool custom_flush_all(struct export *e, unsigned signals, int64_t until)
{
    bool ok = true;
    for (int i = 0; i < EXPORT_SIGNALS; i++) {
        pthread_mutex_lock(&e->lock);
        size_t n = signals & 1u << i ? e->q[i].n_dests : 0; // grows while the program adds exporters
        pthread_mutex_unlock(&e->lock);
        for (size_t k = 0; k < n; k++)
            ok = custom_flush(e->q[i].dest[k], until) && ok;
    }
    return ok && (!(signals & 1u << EXPORT_LOGS) || processors_flush(until));
}

static bool flush(struct export *e, unsigned signals, int64_t until)
{
    if (!e)
        return true;
    pthread_mutex_lock(&e->lock);
    bool ok = flush_locked(e, signals, until);
    pthread_mutex_unlock(&e->lock);
    return custom_flush_all(e, signals, until) && ok;
}

bool export_flush(struct export *e, int64_t until)
{
    return flush(e, (1u << EXPORT_SIGNALS) - 1, until);
}

bool export_flush_signal(struct export *e, enum export_signal s, int64_t until)
{
    return flush(e, 1u << s, until);
}

bool export_stop_signal(struct export *e, enum export_signal s, int64_t until)
{
    if (!e || e->q[s].closed)
        return true;
    bool ok = flush(e, 1u << s, until);
    struct export_queue *q = &e->q[s];
    pthread_mutex_lock(&e->lock);
    q->on = false;
    q->closed = true;
    for (size_t k = 0; k < q->n_dests; k++) {
        dest_leave(q->dest[k]);
        pthread_cond_broadcast(&q->dest[k]->wake);
    }
    pthread_cond_broadcast(&e->tick);
    pthread_mutex_unlock(&e->lock);
    for (size_t k = 0; k < q->n_dests; k++)
        custom_stop(q->dest[k], until);
    return ok;
}

static bool all_ended(const struct export *e)
{
    bool ended = e->finished && (!e->has_reader || e->reader_ended);
    for (int i = 0; i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++)
            ended = ended && dest_idle(e->q[i].dest[k]);
    return ended;
}

// A thread that hangs in a call keeps its state; the process is about to end anyway.
static void part(pthread_t thread, bool ended)
{
    if (ended)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
}

static uint64_t lost_by(const struct export_queue *q)
{
    uint64_t n = 0;
    for (int k = 0; k < EXPORT_FAILURES; k++)
        n += q->stats.failed[k];
    return n;
}

// What is left behind waits in the spool, or is lost and says so in the counts; how many of each signal. Under the lock.
static void leave(struct export *e, uint64_t lost[EXPORT_SIGNALS])
{
    e->left = true;
    for (int i = 0; i < EXPORT_SIGNALS; i++) {
        struct export_queue *q = &e->q[i];
        lost[i] = lost_by(q);
        q->on = false;
        q->stats.failed[EXPORT_UNREACHABLE] += q->n + q->taken;
        for (size_t k = 0; k < q->n_dests; k++)
            dest_leave(q->dest[k]);
        q->n = q->taken = 0;
        lost[i] = lost_by(q) - lost[i];
    }
}

static void tell_left(const uint64_t lost[EXPORT_SIGNALS])
{
    char text[200];
    if (!(lost[EXPORT_TRACES] | lost[EXPORT_LOGS]) || !sdk_tells(SONDE_LEVEL_WARN))
        return;
    int n = snprintf(text, sizeof text, "sonde: shutdown left %llu spans and %llu log records unexported\n",
                     (unsigned long long)lost[EXPORT_TRACES], (unsigned long long)lost[EXPORT_LOGS]);
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT}; // the end does not wait for who reads it
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT))
        sdk_note(text, (size_t)n);
}

bool export_stop(struct export *e, int64_t until)
{
    if (!e)
        return true;
    bool ok = export_flush(e, until);
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    e->until = until;
    pthread_cond_broadcast(&e->wake);
    pthread_cond_broadcast(&e->tick);
    while (!all_ended(e) && clock_mono_ns() < until)
        wait_until(&e->done, &e->lock, until);
    bool finished = e->finished, read = e->reader_ended;
    uint64_t lost[EXPORT_SIGNALS];
    leave(e, lost);
    pthread_mutex_unlock(&e->lock);
    tell_left(lost);
    part(e->thread, finished);
    if (e->has_reader)
        part(e->reader, read);
    for (int i = 0; i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++) {
            struct export_dest *d = e->q[i].dest[k];
            pthread_mutex_lock(&e->lock);
            unsigned n = d->n_workers;
            bool idle = dest_idle(d);
            pthread_mutex_unlock(&e->lock);
            for (unsigned w = 0; w < n; w++)
                part(d->worker[w], idle);
            custom_stop(d, until);
        }
    processors_stop(until);
    return ok;
}

void export_counts(struct export *e, struct sonde_counts *out)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    out->export_spans_sent = e->q[EXPORT_TRACES].stats.exported;
    out->export_spans_dropped = lost_by(&e->q[EXPORT_TRACES]);
    out->export_logs_sent = e->q[EXPORT_LOGS].stats.exported;
    out->export_logs_dropped = lost_by(&e->q[EXPORT_LOGS]);
    pthread_mutex_unlock(&e->lock);
}

void export_stats(enum export_signal signal, struct export_stats *out)
{
    struct export *e = __atomic_load_n(&sdk.export, __ATOMIC_ACQUIRE);
    *out = (struct export_stats){0};
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    const struct export_queue *q = &e->q[signal];
    *out = q->stats;
    out->on = q->on;
    out->queue_capacity = q->max;
    out->queue_size = q->n + q->taken;
    for (size_t i = 0; i < q->n_dests; i++)
        out->queue_size += q->dest[i]->waiting;
    pthread_mutex_unlock(&e->lock);
}

const char *export_failure_text(enum export_failure f)
{
    static const char *const text[EXPORT_FAILURES] = {"queue_full", "too_large",   "rejected",
                                                      "refused",    "unreachable", "spool_lost"};
    return f < EXPORT_FAILURES ? text[f] : "";
}

void export_before_fork(struct export *e)
{
    custom_before_fork();
    resource_before_fork();
    if (e) {
        pthread_mutex_lock(&e->lock);
        pthread_mutex_lock(&e->resource_lock);
    }
}

void export_after_fork(struct export *e)
{
    if (e) {
        pthread_mutex_unlock(&e->resource_lock);
        pthread_mutex_unlock(&e->lock);
    }
    resource_after_fork();
    custom_after_fork();
}

void export_forked(struct export *e)
{
    for (int i = 0; e && i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++)
            if (e->q[i].dest[k]->spool)
                spool_forked(e->q[i].dest[k]->spool);
    export_file_forked();
    resource_after_fork();
    custom_after_fork();
}
