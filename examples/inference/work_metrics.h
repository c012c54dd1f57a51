// What a worker counts: of Dynamo's work handler (dynamo_component_…, dynamo_work_handler_…) and of its engine (vllm:…).
// Updates come from the loop; a scrape may come from any thread, so what it shows is kept in gauges and never read from the
// engine.
#pragma once
#include "kv_pool.h"
#include "metrics.h"
#include "service.h"

struct work_metrics {
    struct sonde_registry *page; // root of all, what /metrics shows
    struct sonde_int_counter *requests, *request_bytes, *response_bytes, *cancelled, *rejected;
    struct sonde_int_counter_vec *errors;
    struct sonde_int_gauge *inflight, *total_blocks, *active_blocks, *queue_depth, *active_tasks, *engine_requests, *engine_queue;
    struct sonde_gauge *cache_usage, *kv_usage, *prefix_hits;
    struct sonde_histogram *duration, *transit, *first_response, *permit_wait;
    struct { // of the engine, one label set each
        struct sonde_histogram *e2e, *ttft, *itl;
        struct sonde_gauge *kv, *gpu;
        struct sonde_int_gauge *running, *waiting;
        struct sonde_int_counter *preemptions;
    } engine;
};
extern struct work_metrics work;

// component: "prefill" or "backend". slots, queue, blocks: the worker's capacities. engine: with the vllm:… families, which an
// engine would bring along.
void work_metrics_start(const struct service *s, const char *component, int64_t slots, int64_t queue, int64_t blocks,
                        bool engine);
// The state after any change of it.
void work_state(const struct kv_pool *pool, int64_t running, int64_t waiting);

// One request. begin counts it, end observes its duration with the span's trace as exemplar.
void work_begin(const struct http_req *r);
void work_sent(int64_t bytes);
void work_error(const char *type);     // deserialization, generate, publish_response …: as in Dynamo
void work_waited(int64_t received_ns); // it leaves the queue now
void work_first_response(struct sonde_span *span, int64_t received_ns);      // its first bytes go out now
void work_end(struct sonde_span *span, int64_t received_ns, bool cancelled); // monotonic ns
