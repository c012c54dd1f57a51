#define SONDE_TARGET "inference::frontend::metrics"
#include "front_metrics.h"
#include "base/clock.h"

#include <ctype.h>
#include <stdlib.h>

struct front_metrics fm;

static const char *model; // lower case: the label's value

// ---- the families ---------------------------------------------------------------------------------------------------
static void *of_model(struct sonde_registry *r, enum sonde_metric_type vec, const char *name, const struct buckets *b,
                      const char *help)
{
    void *v = family(r, vec, name, "model", b, help);
    switch (vec) {
    case SONDE_INT_COUNTER_VEC:
        return sonde_int_counter_vec_with(v, &model, 1);
    case SONDE_INT_GAUGE_VEC:
        return sonde_int_gauge_vec_with(v, &model, 1);
    default:
        return sonde_histogram_vec_with(v, &model, 1);
    }
}

// Those of Dynamo's table, adjustable by <env>_MIN, _MAX and _COUNT.
static void *of_model_env(struct sonde_registry *r, const char *name, const char *env, double min, double max, size_t count,
                          const char *help)
{
    struct buckets b;
    b.n = sonde_buckets_env(env, min, max, count, b.v);
    return of_model(r, SONDE_HISTOGRAM_VEC, name, &b, help);
}

static void start_requests(struct sonde_registry *r)
{
    fm.requests = family(r, SONDE_INT_COUNTER_VEC, "requests_total", "model,endpoint,request_type,status,error_type", NULL,
                         "finished requests");
    fm.started =
        family(r, SONDE_INT_COUNTER_VEC, "requests_started_total", "model,endpoint,request_type", NULL, "requests received");
    fm.inflight = of_model(r, SONDE_INT_GAUGE_VEC, "inflight_requests", NULL, "requests from their start to their last byte");
    fm.active = of_model(r, SONDE_INT_GAUGE_VEC, "active_requests", NULL, "requests whose body is read, until their end");
    fm.queued = of_model(r, SONDE_INT_GAUGE_VEC, "queued_requests", NULL, "requests without their first token");
    fm.disconnected = family(r, SONDE_INT_GAUGE, "disconnected_clients", NULL, NULL, "clients that went away");
    fm.cancelled = of_model(r, SONDE_INT_COUNTER_VEC, "model_cancellation_total", NULL, "requests whose client went away");
    fm.rejected = of_model(r, SONDE_INT_COUNTER_VEC, "model_rejection_total", NULL, "requests refused for want of room");
    fm.tokens = of_model(r, SONDE_INT_COUNTER_VEC, "output_tokens_total", NULL, "tokens generated so far");
    fm.duration = of_model_env(r, "request_duration_seconds", "DYN_METRICS_REQUEST_DURATION", 1, 512, 10, "time of a request");
    fm.input = of_model_env(r, "input_sequence_tokens", "DYN_METRICS_INPUT_SEQUENCE", 50, 128000, 12, "tokens of the prompt");
    fm.cached =
        of_model_env(r, "cached_tokens", "DYN_METRICS_INPUT_SEQUENCE", 50, 128000, 12, "tokens of the prompt found cached");
    fm.output = of_model_env(r, "output_sequence_tokens", "DYN_METRICS_OUTPUT_SEQUENCE", 50, 32000, 10, "tokens of the answer");
    fm.ttft =
        of_model_env(r, "time_to_first_token_seconds", "DYN_METRICS_TTFT", 0.001, 480, 18, "from the request to its first token");
    fm.itl = of_model_env(r, "inter_token_latency_seconds", "DYN_METRICS_ITL", 0.001, 80, 20, "between the tokens of a request");
    struct sonde_histogram_vec *latency =
        family(r, SONDE_HISTOGRAM_VEC, "tokenizer_latency_ms", "operation", BUCKETS(0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
               "reading of a prompt; writing of an answer, a token's share of it");
    fm.tokenize = sonde_histogram_vec_with(latency, SONDE_VALUES("tokenize"));
    fm.detokenize = sonde_histogram_vec_with(latency, SONDE_VALUES("detokenize"));
}

static void start_model(struct sonde_registry *r)
{
    fm.ready = of_model(r, SONDE_INT_GAUGE_VEC, "model_ready", NULL, "1 while workers of both phases are usable");
    fm.kv_blocks = of_model(r, SONDE_INT_GAUGE_VEC, "model_total_kv_blocks", NULL, "blocks of a decode worker's KV pool");
    fm.block_size = of_model(r, SONDE_INT_GAUGE_VEC, "model_kv_cache_block_size", NULL, "tokens of a KV block");
    fm.max_seqs = of_model(r, SONDE_INT_GAUGE_VEC, "model_max_num_seqs", NULL, "sequences that a decode worker takes");
    fm.max_tokens = of_model(r, SONDE_INT_GAUGE_VEC, "model_max_num_batched_tokens", NULL, "tokens of a prefill chunk");
    fm.context = of_model(r, SONDE_INT_GAUGE_VEC, "model_context_length", NULL, "tokens of prompt and answer at most");
    sonde_int_gauge_set(fm.context, front.set.context);
    sonde_int_gauge_set(of_model(r, SONDE_INT_GAUGE_VEC, "model_migration_limit", NULL, "attempts after the first one"),
                        front.set.retries);
    struct sonde_int_counter_vec *migrations = family(r, SONDE_INT_COUNTER_VEC, "model_migration_total", "model,migration_type",
                                                      NULL, "requests that were given to another worker");
    fm.migrations = sonde_int_counter_vec_with(migrations, SONDE_VALUES(model, "new_request"));
}

static void start_workers(struct sonde_registry *r)
{
    static const char who[] = "worker_id,dp_rank,worker_type";
    fm.last_ttft = family(r, SONDE_GAUGE_VEC, "worker_last_time_to_first_token_seconds", who, NULL, "of its latest request");
    fm.last_itl = family(r, SONDE_GAUGE_VEC, "worker_last_inter_token_latency_seconds", who, NULL, "of its latest token");
    fm.last_input = family(r, SONDE_INT_GAUGE_VEC, "worker_last_input_sequence_tokens", who, NULL, "of its latest request");
    fm.decode_blocks = family(r, SONDE_INT_GAUGE_VEC, "worker_active_decode_blocks", who, NULL, "blocks of its KV pool in use");
    fm.prefill_tokens =
        family(r, SONDE_INT_GAUGE_VEC, "worker_active_prefill_tokens", who, NULL, "tokens of prompts that it is computing");
}

// The router's part, and the process's.
static void start_router(void)
{
    struct sonde_registry *root = sonde_registry_new(SONDE_DYNAMO_PREFIX);
    sonde_registry_label(root, "router_id", front.service.instance, NULL);
    struct sonde_registry *r = sonde_registry_child(sonde_registry_child(root, "dynamo", NULL), "frontend", NULL);
    struct buckets b;
    b.n = sonde_buckets_env("DYN_METRICS_TTFT", 0.001, 480, 18, b.v);
    fm.router_requests = family(r, SONDE_INT_COUNTER_VEC, "router_requests_total", "phase,outcome", NULL,
                                "attempts at a worker, by their outcome");
    fm.router_ttft = family(r, SONDE_HISTOGRAM_VEC, "router_time_to_first_token_seconds", "phase", &b,
                            "from the choice of a worker to the first it said");
    struct sonde_metric_error err;
    if (!sonde_registry_add_process(root, &err))
        SONDE_ERROR("no process metrics", SONDE_STR("error", err.message));
    append_page(fm.page, root);
}

static const char *on_update(void *arg)
{
    sonde_int_gauge_set(fm.ready, atomic_load_explicit(&front.usable, memory_order_relaxed));
    return NULL;
}

void front_metrics_start(void)
{
    const char *prefix = getenv("DYN_METRICS_PREFIX");
    char text[80];
    snprintf(text, sizeof text, "%s_", prefix && *prefix ? prefix : "dynamo_frontend");
    fm.page = sonde_registry_new(text);
    char *lower = strdup(front.set.model);
    for (char *p = lower; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    model = lower ? lower : "";
    start_requests(fm.page);
    start_model(fm.page);
    start_workers(fm.page);
    start_router();
    sonde_registry_on_update(fm.page, on_update, NULL);
}

// ---- one request ----------------------------------------------------------------------------------------------------
static const char *type_of(const struct chat *c)
{
    return c->p.stream ? "stream" : "unary";
}

// A model that is not served is no label: anybody may send any name.
static const char *model_of(const struct chat *c)
{
    return strcmp(c->model, front.set.model) == 0 ? model : "unknown";
}

static const char *error_type(int status)
{
    static const struct {
        int status;
        const char *type;
    } table[] = {{200, ""},          {400, "validation"},  {404, "not_found"},
                 {499, "cancelled"}, {503, "unavailable"}, {504, "response_timeout"},
                 {529, "overload"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == status)
            return table[i].type;
    return status < 500 ? "validation" : "internal";
}

void chat_counts_begin(struct chat *c)
{
    sonde_int_gauge_add(fm.inflight, 1);
    sonde_int_gauge_add(fm.queued, 1);
}

void chat_counts_read(struct chat *c, int64_t took_ns)
{
    sonde_int_gauge_add(fm.active, 1);
    sonde_int_counter_add(sonde_int_counter_vec_with(fm.started, SONDE_VALUES(model_of(c), "chat_completions", type_of(c))), 1);
    IN_SPAN(c->span, sonde_histogram_observe(fm.tokenize, (double)took_ns / 1e6));
}

#define WHO(worker, phase) SONDE_VALUES((worker)->id, "0", phase)

void chat_counts_first(struct chat *c)
{
    double s = (double)(c->first_ns - c->started_ns) / 1e9;
    sonde_int_gauge_add(fm.queued, -1);
    IN_SPAN(c->span, {
        sonde_histogram_observe(fm.ttft, s);
        sonde_histogram_observe(fm.input, (double)c->p.prompt_tokens);
        sonde_histogram_observe(fm.cached, 0);
    });
    sonde_int_counter_add(fm.tokens, 1);
    const char *const prefill[] = {c->prefill_id, "0", "prefill"};
    sonde_gauge_set(sonde_gauge_vec_with(fm.last_ttft, prefill, 3), s);
    sonde_int_gauge_set(sonde_int_gauge_vec_with(fm.last_input, prefill, 3), c->p.prompt_tokens);
}

void chat_counts_token(struct chat *c, int64_t gap_ns)
{
    double s = (double)gap_ns / 1e9;
    sonde_int_counter_add(fm.tokens, 1);
    IN_SPAN(c->span, sonde_histogram_observe(fm.itl, s));
    sonde_gauge_set(sonde_gauge_vec_with(fm.last_itl, WHO(c->worker, "decode")), s);
}

void chat_counts_end(struct chat *c, int status, int64_t now_ns)
{
    sonde_int_gauge_add(fm.inflight, -1);
    sonde_int_gauge_add(fm.active, -1);
    if (!c->first_ns)
        sonde_int_gauge_add(fm.queued, -1);
    if (status == 499) {
        sonde_int_gauge_add(fm.disconnected, 1);
        sonde_int_counter_add(fm.cancelled, 1);
    }
    if (status == 529)
        sonde_int_counter_add(fm.rejected, 1);
    struct sonde_int_counter *requests =
        sonde_int_counter_vec_with(fm.requests, SONDE_VALUES(model_of(c), "chat_completions", type_of(c),
                                                             status == 200 ? "success" : "error", error_type(status)));
    IN_SPAN(c->span, {
        sonde_int_counter_add(requests, 1);
        if (c->pool) { // it was taken
            sonde_histogram_observe(fm.duration, (double)(now_ns - c->started_ns) / 1e9);
            sonde_histogram_observe(fm.output, (double)c->tokens);
        }
        if (c->tokens)
            sonde_histogram_observe(fm.detokenize, (double)c->writing_ns / 1e6 / (double)c->tokens);
    });
}

void chat_counts_routed(struct chat *c, const char *outcome)
{
    sonde_int_counter_add(sonde_int_counter_vec_with(fm.router_requests, SONDE_VALUES(c->pool->phase, outcome)), 1);
}

void chat_counts_retry(struct chat *c)
{
    sonde_int_counter_add(fm.migrations, 1);
}

void worker_counts(const struct pool *p, const struct worker *w)
{
    if (!w->id[0])
        return;
    if (p == &front.decode) {
        sonde_int_gauge_set(fm.kv_blocks, w->card.total_blocks);
        sonde_int_gauge_set(fm.block_size, w->card.block_size);
        sonde_int_gauge_set(fm.max_seqs, w->card.max_seqs);
        sonde_int_gauge_set(sonde_int_gauge_vec_with(fm.decode_blocks, WHO(w, "decode")), w->card.active_blocks);
    } else {
        sonde_int_gauge_set(fm.max_tokens, w->card.max_batched_tokens);
        sonde_int_gauge_set(sonde_int_gauge_vec_with(fm.prefill_tokens, WHO(w, "prefill")), w->card.active_tokens);
    }
}
