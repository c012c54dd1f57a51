#include "sdk/export.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <signal.h>
#include <stdlib.h>

// ---- filling the queues (the backend) -------------------------------------------------------------------------------------
// Room for one more message; else it is counted as dropped. Under the lock.
static struct encode_message *queue_add(struct export_queue *q, struct slice scope)
{
    if (q->n + (q->out_n - q->out_at) >= q->max || q->bytes.n > EXPORT_QUEUE_BYTES || q->bytes.err != ERR_OK) {
        q->dropped++;
        return NULL;
    }
    if (q->n == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 256;
        struct encode_message *m = mem_realloc(q->m, cap * sizeof *m);
        if (!m) {
            q->dropped++;
            return NULL;
        }
        q->m = m;
        q->cap = cap;
    }
    q->m[q->n] = (struct encode_message){.scope = scope, .at = q->bytes.n};
    return &q->m[q->n];
}

static void queue_added(struct export *e, struct export_queue *q)
{
    struct encode_message *m = &q->m[q->n];
    if (q->bytes.err != ERR_OK) { // the message did not fit whole; forget its beginning
        q->bytes.err = ERR_OK;
        q->bytes.n = m->at;
        q->dropped++;
        return;
    }
    m->n = q->bytes.n - m->at;
    if (q->n++ == 0)
        q->first_at = clock_mono_ns();
    if (q->n == 1 || q->n == q->batch)
        pthread_cond_signal(&e->wake);
}

static void add_log(void *arg, const struct line *l)
{
    struct export *e = arg;
    struct export_queue *q = &e->q[1];
    // The library's own lines have no site that lives on: their scope is a literal.
    struct slice scope = l->message.p ? SLICE("sonde") : l->site->target;
    if (!q->on)
        return;
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, scope)) {
        encode_log(&q->bytes, l, clock_wall_ns());
        queue_added(e, q);
    }
    pthread_mutex_unlock(&e->lock);
}

static void add_span(void *arg, const struct bspan *s, int64_t end)
{
    struct export *e = arg;
    struct export_queue *q = &e->q[0];
    if (!q->on)
        return;
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, s->site ? s->site->target : SLICE("sonde"))) {
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

// ---- the thread ----------------------------------------------------------------------------------------------------------
// When the queue wants to be sent: INT64_MAX for never. Under the lock.
static int64_t due(const struct export_queue *q)
{
    if (!q->on || (q->n == 0 && q->out_at == q->out_n))
        return INT64_MAX;
    if (q->out_at < q->out_n)
        return q->retry_at;
    int64_t at = q->n >= q->batch ? 0 : q->first_at + q->delay_ns;
    return at > q->retry_at ? at : q->retry_at;
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

static void *loop(void *arg)
{
    struct export *e = arg;
    pthread_setname_np(pthread_self(), "sonde-export");
    pthread_mutex_lock(&e->lock);
    for (;;) {
        int64_t now = clock_mono_ns(), next = INT64_MAX;
        bool urgent = e->stop || e->flush_asked != e->flush_done;
        bool go[SIGNALS];
        for (int i = 0; i < SIGNALS; i++) {
            int64_t at = due(&e->q[i]);
            go[i] = at <= now || urgent;
            next = at < next ? at : next;
        }
        if (!go[0] && !go[1]) {
            wait_until(&e->wake, &e->lock, next);
            continue;
        }
        unsigned asked = e->flush_asked;
        bool stop = e->stop, ok = true;
        pthread_mutex_unlock(&e->lock);
        for (int i = 0; i < SIGNALS; i++)
            if (go[i])
                ok = export_send_queue(e, &e->q[i]) && ok;
        pthread_mutex_lock(&e->lock);
        if (urgent) {
            e->flush_ok = ok;
            e->flush_done = asked;
            e->until = 0;
            pthread_cond_broadcast(&e->done);
        }
        if (stop)
            break;
    }
    e->finished = true;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

// ---- life -------------------------------------------------------------------------------------------------------------------
void export_describe(struct export *e, const char *service, const char *resource)
{
    if (!e)
        return;
    const char *lists[] = {resource, env_get("OTEL_RESOURCE_ATTRIBUTES")};
    pthread_mutex_lock(&e->lock);
    buf_reset(&e->resource);
    encode_resource(&e->resource, service, lists, 2);
    pthread_mutex_unlock(&e->lock);
}

static void free_all(struct export *e)
{
    for (int i = 0; i < SIGNALS; i++) {
        struct export_queue *q = &e->q[i];
        buf_free(&q->bytes);
        buf_free(&q->out_bytes);
        mem_free(q->m);
        mem_free(q->out);
        if (q->session)
            net_part()->session_free(q->session);
    }
    buf_free(&e->resource);
    mem_free(e);
}

struct export *export_new(const char *service, const char *resource)
{
    sigset_t all, old;
    pthread_condattr_t attr;
    const char *disabled = env_get("OTEL_SDK_DISABLED");
    if (!sdk_truthy("OTEL_EXPORT_ENABLED") || (disabled && slice_ieq(slice_str(disabled), SLICE("true"))))
        return NULL;
    struct export *e = mem_zalloc(sizeof *e);
    if (!e)
        return NULL;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->wake, &attr);
    pthread_cond_init(&e->done, &attr);
    pthread_condattr_destroy(&attr);
    buf_init(&e->resource, MIB(1));
    e->q[0].word = "traces";
    e->q[0].env = "TRACES";
    e->q[0].grpc_path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    e->q[1].word = "logs";
    e->q[1].env = "LOGS";
    e->q[1].grpc_path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    export_configure(&e->q[0], "BSP");
    export_configure(&e->q[1], "BLRP");
    const struct net_part *net = e->q[0].on || e->q[1].on ? net_part() : NULL;
    for (int i = 0; i < SIGNALS; i++)
        e->q[i].session = e->q[i].on && net ? net->session_new() : NULL;
    for (int i = 0; i < SIGNALS; i++)
        e->q[i].gzip = e->q[i].gzip && e->q[i].on && net_gzip();
    export_describe(e, service, resource);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e->has_thread = pthread_create(&e->thread, NULL, loop, e) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!e->has_thread) {
        free_all(e);
        return NULL;
    }
    return e;
}

bool export_flush(struct export *e, int64_t until)
{
    if (!e)
        return true;
    pthread_mutex_lock(&e->lock);
    unsigned ticket = ++e->flush_asked;
    e->until = until;
    pthread_cond_signal(&e->wake);
    while ((int)(e->flush_done - ticket) < 0 && clock_mono_ns() < until)
        wait_until(&e->done, &e->lock, until);
    bool ok = (int)(e->flush_done - ticket) >= 0 && e->flush_ok;
    pthread_mutex_unlock(&e->lock);
    return ok;
}

bool export_stop(struct export *e, int64_t until)
{
    if (!e)
        return true;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    e->until = until;
    pthread_cond_signal(&e->wake);
    while (!e->finished && clock_mono_ns() < until)
        wait_until(&e->done, &e->lock, until);
    bool finished = e->finished, ok = finished && e->flush_ok;
    // What is left behind is lost, and says so in the counts.
    for (int i = 0; finished && i < SIGNALS; i++)
        e->q[i].dropped += e->q[i].n + (e->q[i].out_n - e->q[i].out_at), e->q[i].on = false;
    pthread_mutex_unlock(&e->lock);
    // A thread that hangs in a call keeps its state; the process is about to end anyway.
    if (finished)
        pthread_join(e->thread, NULL);
    else
        pthread_detach(e->thread);
    return ok;
}

void export_counts(struct export *e, struct sonde_counts *out)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    out->export_spans_sent = e->q[0].sent;
    out->export_spans_dropped = e->q[0].dropped;
    out->export_logs_sent = e->q[1].sent;
    out->export_logs_dropped = e->q[1].dropped;
    pthread_mutex_unlock(&e->lock);
}

void export_before_fork(struct export *e)
{
    if (e)
        pthread_mutex_lock(&e->lock);
}
void export_after_fork(struct export *e)
{
    if (e)
        pthread_mutex_unlock(&e->lock);
}
