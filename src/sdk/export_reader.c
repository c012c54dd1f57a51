// The periodic reader: collects metrics each OTEL_METRIC_EXPORT_INTERVAL on a thread of its own, because that runs callbacks of
// the program. Delivery is the destinations' business; what could not be delivered within the timeout is told, and the next
// reading has newer values.
#include "base/alloc.h"
#include "base/limits.h"
#include "base/pb.h"
#include "sdk/export_int.h"
#include "sdk/meter_counts.h"
#include "sdk/meter_otlp.h"
#include "sdk/sdk.h"
#include <signal.h>

// The request with the schema's URL behind its one ResourceMetrics {3 schema_url}.
static void add_request(struct buf *to, struct slice request, struct slice schema)
{
    struct pb r;
    struct slice body;
    pb_init(&r, request, NULL);
    if (!schema.n || !pb_next(&r) || r.field != 1 || !pb_bytes(&r, &body) || r.p != r.end) {
        buf_add(to, request);
        return;
    }
    size_t top = pb_w_begin(to, 1);
    buf_add(to, body);
    pb_w_bytes(to, 3, schema);
    pb_w_end(to, top);
}

static bool give(void *arg, struct slice request, size_t points)
{
    struct export *e = arg;
    struct export_queue *q = &e->q[EXPORT_METRICS];
    struct export_batch *b = mem_zalloc(sizeof *b);
    if (!b)
        return false;
    *b = (struct export_batch){.refs = 1, .signal = EXPORT_METRICS, .items = points};
    buf_init(&b->request, request.n + KIB(8));
    pthread_mutex_lock(&e->resource_lock);
    add_request(&b->request, request, buf_slice(&e->schema));
    pthread_mutex_unlock(&e->resource_lock);
    pthread_mutex_lock(&e->lock);
    q->stats.processed += points;
    export_give(e, q, b);
    pthread_mutex_unlock(&e->lock);
    return true;
}

static void collect(struct export *e)
{
    struct export_queue *q = &e->q[EXPORT_METRICS];
    struct buf resource;
    int64_t start = clock_mono_ns();
    export_resource(e);
    buf_init(&resource, RESOURCE_MAX);
    pthread_mutex_lock(&e->resource_lock);
    buf_add(&resource, buf_slice(&e->resource));
    pthread_mutex_unlock(&e->resource_lock);
    e->meter = e->meter ? e->meter : meter_otlp_new();
    if (e->meter)
        meter_otlp_collect(e->meter, buf_slice(&resource), q->batch, give, e, NULL);
    buf_free(&resource);
    int64_t took = clock_mono_ns() - start;
    meter_self_collection(took);
    pthread_mutex_lock(&e->lock);
    q->stats.collections++;
    q->stats.collection_ns += (uint64_t)took;
    pthread_mutex_unlock(&e->lock);
}

static void *read_loop(void *arg)
{
    struct export *e = arg;
    struct export_queue *q = &e->q[EXPORT_METRICS];
    int64_t next = clock_mono_ns() + e->interval_ns;
    pthread_setname_np(pthread_self(), "sonde-metrics");
    pthread_mutex_lock(&e->lock);
    while (!e->stop && !q->closed) {
        unsigned asked = e->collect_asked;
        int64_t now = clock_mono_ns();
        if (asked == e->collect_done && now < next) {
            struct timespec ts = {next / 1000000000, next % 1000000000};
            pthread_cond_timedwait(&e->tick, &e->lock, &ts);
            continue;
        }
        pthread_mutex_unlock(&e->lock);
        collect(e);
        pthread_mutex_lock(&e->lock);
        while (next <= now) // on the grid of the first; what was missed is not made up for
            next += e->interval_ns;
        e->collect_done = asked;
        pthread_cond_broadcast(&e->done);
    }
    e->reader_ended = true;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void reader_start(struct export *e)
{
    sigset_t all, old;
    if (e->has_reader || !e->q[EXPORT_METRICS].n_dests)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); // the application's signals are not for our threads
    e->has_reader = pthread_create(&e->reader, NULL, read_loop, e) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}
