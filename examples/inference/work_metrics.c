#define SONDE_TARGET "inference::metrics"
#include "work_metrics.h"
#include "base/clock.h"
#include "work_status.h"

#include <inttypes.h>
#include <stdlib.h>

struct work_metrics work;

static double since(int64_t ns)
{
    return (double)(clock_mono_ns() - ns) / 1e9;
}

static void start_component(const struct service *s, const char *component, int64_t blocks)
{
    struct sonde_registry *root = work.page = sonde_registry_new(SONDE_DYNAMO_PREFIX);
    char id[20];
    snprintf(id, sizeof id, "%" PRIx64,
             (uint64_t)strtoull(s->instance, NULL, 10)); // hexadecimal here, decimal in logs: as Dynamo
    sonde_registry_label(root, "worker_id", id, NULL);
    struct sonde_registry *parts = sonde_registry_child(sonde_registry_child(root, "dynamo", NULL), component, NULL);
    struct sonde_registry *r = sonde_registry_child(parts, "generate", NULL);
    const struct buckets *seconds = BUCKETS(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600);
    work.requests = family(r, SONDE_INT_COUNTER, "requests_total", NULL, NULL, "requests that the work handler took");
    work.request_bytes = family(r, SONDE_INT_COUNTER, "request_bytes_total", NULL, NULL, "bytes of requests");
    work.response_bytes = family(r, SONDE_INT_COUNTER, "response_bytes_total", NULL, NULL, "bytes of replies");
    work.cancelled = family(r, SONDE_INT_COUNTER, "cancellation_total", NULL, NULL, "requests whose caller went away");
    work.errors = family(r, SONDE_INT_COUNTER_VEC, "errors_total", "error_type", NULL, "requests that failed");
    work.inflight = family(r, SONDE_INT_GAUGE, "inflight_requests", NULL, NULL, "requests under way");
    work.duration = family(r, SONDE_HISTOGRAM, "request_duration_seconds", NULL, seconds, "time from a request to its last byte");
    work.total_blocks = family(parts, SONDE_INT_GAUGE, "kvstats_total_blocks", NULL, NULL, "blocks of the KV pool");
    work.active_blocks = family(parts, SONDE_INT_GAUGE, "kvstats_active_blocks", NULL, NULL, "blocks of the KV pool in use");
    work.cache_usage =
        family(parts, SONDE_GAUGE, "kvstats_gpu_cache_usage_percent", NULL, NULL, "share of the KV pool in use, 0 to 1");
    work.prefix_hits = family(parts, SONDE_GAUGE, "kvstats_gpu_prefix_cache_hit_rate", NULL, NULL,
                              "share of prompt tokens found cached, 0 to 1");
    work.kv_usage = family(parts, SONDE_GAUGE, "gpu_cache_usage_percent", NULL, NULL, "share of the KV pool in use, 0 to 1");
    sonde_int_gauge_set(family(parts, SONDE_INT_GAUGE, "total_blocks", NULL, NULL, "blocks of the KV pool"), blocks);
    sonde_int_gauge_set(work.total_blocks, blocks);
    struct sonde_metric_error err;
    if (!sonde_registry_add_process(root, &err))
        SONDE_ERROR("no process metrics", SONDE_STR("error", err.message));
}

static void start_handler(int64_t slots, int64_t queue)
{
    struct sonde_registry *r = sonde_registry_new("dynamo_");
    work.queue_depth = family(r, SONDE_INT_GAUGE, "work_handler_queue_depth", NULL, NULL, "requests that wait");
    work.active_tasks = family(r, SONDE_INT_GAUGE, "work_handler_pool_active_tasks", NULL, NULL, "requests being worked on");
    work.transit = family(r, SONDE_HISTOGRAM, "work_handler_network_transit_seconds", NULL,
                          BUCKETS(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1),
                          "time from the frontend to here, by the wall clocks of both");
    work.permit_wait = family(r, SONDE_HISTOGRAM, "work_handler_permit_wait_seconds", NULL,
                              BUCKETS(0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60), "time in the queue");
    work.first_response = family(r, SONDE_HISTOGRAM, "work_handler_time_to_first_response_seconds", NULL,
                                 BUCKETS(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
                                 "time to the reply's first bytes");
    work.rejected = family(r, SONDE_INT_COUNTER, "rejection_request_total", NULL, NULL, "requests refused for want of room");
    work.engine_requests = family(r, SONDE_INT_GAUGE, "engine_request", NULL, NULL, "requests in the engine");
    work.engine_queue = family(r, SONDE_INT_GAUGE, "request_queue", NULL, NULL, "requests that wait for the engine");
    sonde_int_gauge_set(family(r, SONDE_INT_GAUGE, "work_handler_pool_capacity", NULL, NULL, "requests worked on at most"),
                        slots);
    sonde_int_gauge_set(family(r, SONDE_INT_GAUGE, "work_handler_queue_capacity", NULL, NULL, "requests that may wait"), queue);
    append_page(work.page, r);
}

// An engine knows nothing of Dynamo's labels; it has its own.
static void *engine_one(struct sonde_registry *r, enum sonde_metric_type vec, const char *name, const struct buckets *b,
                        const char *help)
{
    static const char *const values[] = {"0", "tiny"};
    void *v = family(r, vec, name, "engine,model_name", b, help);
    switch (vec) {
    case SONDE_INT_COUNTER_VEC:
        return sonde_int_counter_vec_with(v, values, 2);
    case SONDE_INT_GAUGE_VEC:
        return sonde_int_gauge_vec_with(v, values, 2);
    case SONDE_GAUGE_VEC:
        return sonde_gauge_vec_with(v, values, 2);
    default:
        return sonde_histogram_vec_with(v, values, 2);
    }
}

static void start_engine(void)
{
    struct sonde_registry *r = sonde_registry_new("vllm:");
    work.engine.running =
        engine_one(r, SONDE_INT_GAUGE_VEC, "num_requests_running", NULL, "requests that get tokens in each step");
    work.engine.waiting = engine_one(r, SONDE_INT_GAUGE_VEC, "num_requests_waiting", NULL, "requests that wait");
    work.engine.kv = engine_one(r, SONDE_GAUGE_VEC, "kv_cache_usage_perc", NULL, "share of the KV pool in use, 0 to 1");
    work.engine.gpu = engine_one(r, SONDE_GAUGE_VEC, "gpu_cache_usage_perc", NULL, "the same under its older name");
    work.engine.preemptions =
        engine_one(r, SONDE_INT_COUNTER_VEC, "num_preemptions_total", NULL, "sequences put back for want of KV blocks");
    work.engine.e2e =
        engine_one(r, SONDE_HISTOGRAM_VEC, "e2e_request_latency_seconds",
                   BUCKETS(0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680),
                   "time of a request in the engine");
    work.engine.ttft = engine_one(
        r, SONDE_HISTOGRAM_VEC, "time_to_first_token_seconds",
        BUCKETS(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
        "time to a request's first token");
    work.engine.itl =
        engine_one(r, SONDE_HISTOGRAM_VEC, "inter_token_latency_seconds",
                   BUCKETS(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80),
                   "time between tokens");
    append_page(work.page, r);
}

void work_metrics_start(const struct service *s, const char *component, int64_t slots, int64_t queue, int64_t blocks, bool engine)
{
    start_component(s, component, blocks);
    start_handler(slots, queue);
    if (engine)
        start_engine();
    work_state(&(const struct kv_pool){.total = blocks}, 0, 0);
}

void work_state(const struct kv_pool *pool, int64_t running, int64_t waiting)
{
    double share = pool->total ? (double)pool->used / (double)pool->total : 0;
    sonde_int_gauge_set(work.active_blocks, pool->used);
    sonde_gauge_set(work.cache_usage, share);
    sonde_gauge_set(work.kv_usage, share);
    sonde_gauge_set(work.engine.kv, share);
    sonde_gauge_set(work.engine.gpu, share);
    sonde_int_gauge_set(work.queue_depth, waiting);
    sonde_int_gauge_set(work.engine_queue, waiting);
    sonde_int_gauge_set(work.engine.waiting, waiting);
    sonde_int_gauge_set(work.active_tasks, running);
    sonde_int_gauge_set(work.engine_requests, running);
    sonde_int_gauge_set(work.engine.running, running);
}

// ---- one request ----------------------------------------------------------------------------------------------------
void work_begin(const struct http_req *r)
{
    sonde_int_counter_add(work.requests, 1);
    sonde_int_counter_add(work.request_bytes, r->body.n);
    sonde_int_gauge_add(work.inflight, 1);
    struct slice sent = http_req_header(r, SLICE("x-frontend-send-ts-ns"));
    char text[24];
    snprintf(text, sizeof text, "%.*s", (int)sent.n, sent.p ? sent.p : "");
    int64_t at = strtoll(text, NULL, 10), now = clock_wall_ns();
    if (at > 0 && at <= now)
        sonde_histogram_observe(work.transit, (double)(now - at) / 1e9);
}

void work_sent(int64_t bytes)
{
    sonde_int_counter_add(work.response_bytes, (uint64_t)bytes);
}

void work_error(const char *type)
{
    sonde_int_counter_add(sonde_int_counter_vec_with(work.errors, &type, 1), 1);
}

void work_waited(int64_t received_ns)
{
    sonde_histogram_observe(work.permit_wait, since(received_ns));
}

void work_first_response(struct sonde_span *span, int64_t received_ns)
{
    IN_SPAN(span, sonde_histogram_observe(work.first_response, since(received_ns)));
}

void work_end(struct sonde_span *span, int64_t received_ns, bool cancelled)
{
    sonde_int_gauge_add(work.inflight, -1);
    if (cancelled)
        sonde_int_counter_add(work.cancelled, 1);
    else
        work_served();
    IN_SPAN(span, sonde_histogram_observe(work.duration, since(received_ns)));
}
