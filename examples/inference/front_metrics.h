// What the frontend counts: Dynamo's dynamo_frontend_… families, and of its router dynamo_component_router_….
// Prefix and buckets follow DYN_METRICS_PREFIX and DYN_METRICS_{TTFT,ITL,…}_{MIN,MAX,COUNT}.
#pragma once
#include "frontend.h"
#include "metrics.h"

struct front_metrics {
    struct sonde_registry *page;
    struct sonde_int_gauge *inflight, *queued, *active, *disconnected, *ready;
    struct sonde_histogram *duration, *input, *output, *cached, *ttft, *itl, *tokenize, *detokenize;
    struct sonde_int_counter *tokens, *migrations, *cancelled, *rejected;
    struct sonde_int_counter_vec *requests, *started, *router_requests;
    struct sonde_histogram_vec *router_ttft;
    struct sonde_int_gauge *kv_blocks, *block_size, *max_seqs, *max_tokens, *context;
    struct sonde_gauge_vec *last_ttft, *last_itl;
    struct sonde_int_gauge_vec *last_input, *decode_blocks, *prefill_tokens;
};
extern struct front_metrics fm;

void front_metrics_start(void);
// A request goes begin → first_token → token … → end; read tells when its body has been read and what that took.
void chat_counts_begin(struct chat *c);
void chat_counts_read(struct chat *c, int64_t took_ns);
void chat_counts_first(struct chat *c);
void chat_counts_token(struct chat *c, int64_t gap_ns);
void chat_counts_end(struct chat *c, int status, int64_t now_ns);
void chat_counts_routed(struct chat *c, const char *outcome); // an attempt ended
void chat_counts_retry(struct chat *c);                       // and another follows
// Of a worker's answer to the probe.
void worker_counts(const struct pool *p, const struct worker *w);
