// The prefill worker: reads prompts, keeps their KV cache until a decode worker has pulled it.
//
//   POST /generate {"request_id", "model", "prompt_tokens"} → {"kv": {"url", "tokens"}, "instance_id", "prefill_ms"}
//   GET  /kv/{id}  the cache's bytes (a token stands for KV_WIRE_BYTES of them), paced by the simulated bandwidth
//
// A request waits for a slot and for KV blocks (span queue), is then computed in chunks (span prefill).
#define SONDE_TARGET "inference::prefill"
#include "base/clock.h"
#include "fault.h"
#include "kv_pool.h"
#include "service.h"
#include "work_metrics.h"
#include "work_status.h"
#include <sonde/genai.h>

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#define CANARY "canary" // the request id of the payload that the status server sends
enum { KV_WIRE_BYTES = 16, KV_PIECES = 4, SWEEP_NS = 50 * 1000000 };

struct settings {
    const char *listen, *fault, *dump, *phases;
    int64_t slots, queue, blocks, chunk, base_ns, token_ns, slow_factor, bandwidth, kv_ttl_ns;
    bool engine_metrics;
};

#define ROW(flag, type, value, min, max, arg, about, field)                             \
    {                                                                                   \
        flag, NULL, type, value, min, max, arg, about, offsetof(struct settings, field) \
    }
static const struct setting rows[] = {
    ROW("listen", SETTING_STR, "127.0.0.1:8081", 0, 0, "ADDR", "where to listen; port 0 takes a free one", listen),
    ROW("slots", SETTING_INT, "4", 1, 1024, "N", "prompts computed at the same time", slots),
    ROW("queue", SETTING_INT, "128", 0, 100000, "N", "requests that may wait; more are refused as overloaded", queue),
    ROW("kv-blocks", SETTING_INT, "8192", 1, 10000000, "N", "blocks of 16 tokens in the KV pool", blocks),
    ROW("chunk", SETTING_INT, "512", 16, 1000000, "TOKENS", "tokens of one prefill chunk", chunk),
    ROW("base", SETTING_DURATION, "4ms", 0, 0, "TIME", "cost of a chunk, whatever its length", base_ns),
    ROW("per-token", SETTING_DURATION, "60us", 0, 0, "TIME", "cost of a prompt token", token_ns),
    ROW("slow-factor", SETTING_INT, "20", 1, 10000, "N", "how many times slower the fault slow-prefill is", slow_factor),
    ROW("bandwidth", SETTING_SIZE, "12GB", 1, INT64_MAX, "BYTES", "KV transfer, bytes a second (a token has 128 KiB)", bandwidth),
    ROW("kv-ttl", SETTING_DURATION, "10s", 0, 0, "TIME", "how long a cache is kept for a decode worker to pull", kv_ttl_ns),
    ROW("engine-metrics", SETTING_BOOL, "false", 0, 0, NULL, "serve the engine's families (vllm:…) on /metrics too",
        engine_metrics),
    ROW("fault", SETTING_STR, NULL, 0, 0, "NAME[=SHARE],…", "faults for a share of the requests; here: slow-prefill, kv-timeout",
        fault),
    {"phases", NULL, SETTING_STR, "spans", 0, 0, "HOW", PHASES_ABOUT, offsetof(struct settings, phases), "spans marks"},
    ROW("dump-config-to", SETTING_STR, NULL, 0, 0, "FILE", DUMP_ABOUT, dump),
};

struct job { // one request to /generate
    struct job *next;
    struct http_req *req;
    struct sonde_span *span, *phase; // the same with --phases marks
    struct loop_timer *timer;
    int64_t tokens, done, blocks, received_ns, started_ns;
    bool aborted;
    enum fault fault;
    bool told_waiting;
    char request_id[64];
};

struct kv { // a computed cache
    struct kv *next;
    int64_t tokens, blocks, expires_ns;
    int readers, reads;
    char id[33], request_id[64];
};

struct send { // one GET /kv/{id}
    struct send *next;
    struct http_req *req;
    struct sonde_span *span;
    struct loop_timer *timer;
    struct kv *kv;
    int pieces;
    bool stalled;
};

static struct {
    struct settings set;
    struct service service;
    struct fault_mix faults;
    struct kv_pool pool;
    struct job *waiting, **waiting_end;
    int64_t n_waiting, n_running, tokens; // tokens: of the prompts that are computed now
    bool marks;
    struct kv *caches;
    struct send *sends;
    struct loop_timer *sweep, *admit;
} my;

static void tell_state(void)
{
    work_state(&my.pool, my.n_running, my.n_waiting);
}

// ---- the cache ------------------------------------------------------------------------------------------------------
static struct kv *kv_find(struct slice id)
{
    struct kv *k = my.caches;
    while (k && !slice_eq(slice_str(k->id), id))
        k = k->next;
    return k;
}

static void kv_drop(struct kv *k)
{
    struct kv **at = &my.caches;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    kv_give(&my.pool, k->blocks);
    free(k);
    tell_state();
    loop_timer_set(my.admit, 0);
}

// ---- phases ---------------------------------------------------------------------------------------------------------
static void phase_end(struct job *job)
{
    if (job->phase != job->span)
        sonde_span_end(job->phase);
    job->phase = NULL;
}

static void phase_start(struct job *job, const char *name)
{
    phase_end(job);
    job->phase = my.marks ? job->span : sonde_span_start(name, SONDE_KIND_INTERNAL, sonde_span_context(job->span));
}

static void mark(struct job *job, enum sonde_phase p)
{
    if (my.marks)
        sonde_phase(job->span, p);
}

// ---- computing ------------------------------------------------------------------------------------------------------
static void job_free(struct job *job)
{
    IN_SPAN(job->span, sonde_histogram_observe(work.engine.e2e, (double)(clock_mono_ns() - job->received_ns) / 1e9));
    work_end(job->span, job->received_ns, job->aborted);
    tell_state();
    phase_end(job);
    sonde_span_end(job->span);
    loop_timer_free(job->timer);
    free(job);
    my.service.active--;
    loop_timer_set(my.admit, 0);
}

static void job_reply(struct job *job, const struct kv *k)
{
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "kv");
    jw_obj(&w);
    JW_KEY(&w, "url");
    char url[160];
    snprintf(url, sizeof url, "%s/kv/%s", my.service.url, k->id);
    jw_str(&w, slice_str(url));
    JW_KEY(&w, "tokens");
    jw_i64(&w, k->tokens);
    jw_obj_end(&w);
    JW_KEY(&w, "instance_id");
    jw_str(&w, slice_str(my.service.instance));
    JW_KEY(&w, "prefill_ms");
    jw_f64(&w, (double)(clock_mono_ns() - job->started_ns) / 1e6);
    jw_obj_end(&w);
    work_sent((int64_t)b.n);
    work_first_response(job->span, job->received_ns);
    reply_json(job->req, 200, &b);
}

static void job_done(struct job *job)
{
    double ms = (double)(clock_mono_ns() - job->started_ns) / 1e6;
    mark(job, SONDE_PHASE_PREFILL_END);
    phase_end(job);
    my.n_running--;
    my.tokens -= job->tokens;
    struct kv *k = calloc(1, sizeof *k);
    if (!k) {
        kv_give(&my.pool, job->blocks);
        work_error("generate");
        reply_error(job->req, 500, "server_error", "out_of_memory", NULL, "no memory to keep the KV cache");
        job_free(job);
        return;
    }
    *k = (struct kv){
        .next = my.caches, .tokens = job->tokens, .blocks = job->blocks, .expires_ns = clock_mono_ns() + my.set.kv_ttl_ns};
    chance_id(k->id);
    memcpy(k->request_id, job->request_id, sizeof k->request_id);
    my.caches = k;
    IN_SPAN(job->span, SONDE_INFO("Prefill completed", SONDE_INT("prompt_tokens", job->tokens), SONDE_F64("prefill_ms", ms),
                                  SONDE_INT("kv_blocks", job->blocks)));
    job_reply(job, k);
    bool canary = strcmp(job->request_id, CANARY) == 0;
    job_free(job);
    if (canary) // nobody comes for it
        kv_drop(k);
}

// Sets the timer for the next chunk: its tokens, slowed by the prompts that share the device.
static void job_chunk(struct job *job)
{
    int64_t left = job->tokens - job->done, n = left < my.set.chunk ? left : my.set.chunk;
    double ns = ((double)my.set.base_ns + (double)n * (double)my.set.token_ns) * (1 + 0.3 * (double)(my.n_running - 1)) *
                chance_jitter(0.08);
    if (job->fault == FAULT_SLOW_PREFILL)
        ns *= (double)my.set.slow_factor;
    IN_SPAN(job->phase, SONDE_DEBUG("scheduled prefill chunk", SONDE_INT("tokens", n), SONDE_INT("computed", job->done),
                                    SONDE_INT("running", my.n_running), SONDE_F64("estimate_ms", ns / 1e6)));
    job->done += n;
    loop_timer_set(job->timer, (int64_t)ns);
}

static void on_chunk(struct loop_timer *t, void *arg)
{
    struct job *job = arg;
    if (http_req_gone(job->req)) {
        IN_SPAN(job->span, SONDE_INFO("Aborted request", SONDE_INT("computed_tokens", job->done)));
        sonde_span_str(job->span, "request.outcome", "cancelled");
        my.n_running--;
        my.tokens -= job->tokens;
        kv_give(&my.pool, job->blocks);
        job->aborted = true;
        reply_error(job->req, 499, "cancelled", NULL, NULL, "the caller is gone");
        job_free(job);
    } else if (job->done >= job->tokens) {
        job_done(job);
    } else {
        job_chunk(job);
    }
}

static void job_start(struct job *job)
{
    my.n_running++;
    my.tokens += job->tokens;
    work_waited(job->received_ns);
    tell_state();
    mark(job, SONDE_PHASE_SCHEDULED);
    phase_start(job, "prefill");
    mark(job, SONDE_PHASE_PREFILL_START);
    sonde_span_int(job->phase, "gen_ai.usage.input_tokens", job->tokens);
    sonde_span_int(job->phase, "kv_blocks", job->blocks);
    sonde_span_int(job->phase, "running", my.n_running);
    job->started_ns = clock_mono_ns();
    job_chunk(job);
}

// Starts what waits, in order, while there are slots and blocks.
static void admit(struct loop_timer *t, void *arg)
{
    while (my.waiting && my.n_running < my.set.slots && !work_paused()) {
        struct job *job = my.waiting;
        if (!kv_take(&my.pool, job->blocks)) {
            if (!job->told_waiting)
                IN_SPAN(job->phase,
                        SONDE_DEBUG("waiting for KV blocks", SONDE_INT("needed", job->blocks),
                                    SONDE_INT("free", my.pool.total - my.pool.used), SONDE_INT("waiting", my.n_waiting)));
            job->told_waiting = true;
            return;
        }
        my.waiting = job->next;
        if (!my.waiting)
            my.waiting_end = &my.waiting;
        my.n_waiting--;
        job_start(job);
    }
}

static void kick(void)
{
    loop_timer_set(my.admit, 0);
}

// ---- POST /generate -------------------------------------------------------------------------------------------------
static bool read_request(struct http_req *r, int64_t *tokens, struct slice *request_id)
{
    struct json j;
    struct slice key;
    *tokens = 0;
    *request_id = SLICE_NONE;
    json_init(&j, r->body, r->arena, NULL);
    json_object(&j);
    while (!j.failed && json_next_key(&j, &key)) {
        if (slice_eq(key, SLICE("prompt_tokens")))
            json_i64(&j, tokens);
        else if (slice_eq(key, SLICE("request_id")))
            json_string(&j, request_id);
        else
            json_skip(&j, NULL);
    }
    return !j.failed && json_finish(&j) && *tokens > 0;
}

// Answers what cannot be taken; true if it did.
static bool refuse(struct http_req *r, struct sonde_span *span, int64_t tokens, bool good, int64_t received_ns)
{
    if (!good) {
        work_error("deserialization");
        reply_error(r, 400, "invalid_request_error", NULL, "prompt_tokens", "a JSON object with prompt_tokens above 0 is wanted");
    } else if (kv_blocks(tokens) > my.pool.total) {
        work_error("invalid_message");
        IN_SPAN(span, SONDE_WARN("prompt is larger than the KV cache", SONDE_INT("prompt_tokens", tokens),
                                 SONDE_INT("kv_blocks", my.pool.total)));
        reply_error(r, 400, "invalid_request_error", "context_length_exceeded", NULL,
                    "the prompt is larger than the whole KV cache");
    } else if (my.service.draining || my.n_waiting >= my.set.queue) {
        sonde_int_counter_add(work.rejected, 1);
        IN_SPAN(span, SONDE_WARN("request rejected, worker overloaded", SONDE_INT("waiting", my.n_waiting),
                                 SONDE_INT("running", my.n_running)));
        reply_error(r, 503, "worker_overloaded", NULL, NULL,
                    my.service.draining ? "shutting down" : "too many requests are waiting");
    } else {
        return false;
    }
    sonde_span_str(span, "request.outcome", "rejected");
    work_end(span, received_ns, false);
    sonde_span_end(span);
    return true;
}

static void on_generate(struct http_req *r, void *arg)
{
    http_reply_header(r, SLICE("x-instance-id"), slice_str(my.service.instance));
    struct sonde_context caller;
    context_of_request(&caller, r);
    struct sonde_span *span = sonde_span_start("handle_payload", SONDE_KIND_SERVER, &caller);
    sonde_span_str(span, "component", "prefill");
    sonde_span_str(span, "endpoint", "generate");
    sonde_span_str(span, "namespace", "dynamo");
    sonde_span_str(span, "instance_id", my.service.instance);
    int64_t tokens;
    struct slice id;
    int64_t received_ns = clock_mono_ns();
    work_begin(r);
    bool good = read_request(r, &tokens, &id);
    if (refuse(r, span, tokens, good, received_ns))
        return;
    struct job *job = calloc(1, sizeof *job);
    struct loop_timer *timer = job ? loop_timer_new(my.service.loop, on_chunk, job) : NULL;
    if (!timer) {
        free(job);
        work_end(span, received_ns, false);
        sonde_span_end(span);
        reply_error(r, 500, "server_error", "out_of_memory", NULL, "no memory for the request");
        return;
    }
    *job = (struct job){.req = r,
                        .span = span,
                        .timer = timer,
                        .tokens = tokens,
                        .received_ns = received_ns,
                        .blocks = kv_blocks(tokens),
                        .fault = fault_of_request(r, &my.faults)};
    snprintf(job->request_id, sizeof job->request_id, "%.*s", (int)id.n, id.p ? id.p : "");
    sonde_span_str(span, "request_id", job->request_id);
    IN_SPAN(span, SONDE_INFO("request received", SONDE_INT("prompt_tokens", tokens)));
    phase_start(job, "queue");
    mark(job, SONDE_PHASE_QUEUED);
    sonde_span_int(job->phase, "waiting", my.n_waiting);
    IN_SPAN(job->phase, SONDE_DEBUG("queued", SONDE_INT("waiting", my.n_waiting), SONDE_INT("running", my.n_running)));
    my.service.active++;
    my.n_waiting++;
    tell_state();
    *my.waiting_end = job;
    my.waiting_end = &job->next;
    admit(NULL, NULL);
}

// ---- GET /kv/{id} ---------------------------------------------------------------------------------------------------
static void send_end(struct send *s)
{
    struct send **at = &my.sends;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    http_stream_end(s->req);
    sonde_span_end(s->span);
    loop_timer_free(s->timer);
    s->kv->readers--;
    free(s);
    my.service.active--;
}

static void on_piece(struct loop_timer *t, void *arg)
{
    struct send *s = arg;
    struct kv *k = s->kv;
    if (http_req_gone(s->req)) {
        IN_SPAN(s->span, SONDE_WARN("KV transfer broken off by the receiver", SONDE_INT("pieces_sent", s->pieces)));
        sonde_span_str(s->span, "request.outcome", "cancelled"); // its span tells whose fault that was
        send_end(s);
        return;
    }
    static const char zeros[4096];
    int64_t n = k->tokens * KV_WIRE_BYTES * (s->pieces + 1) / KV_PIECES - k->tokens * KV_WIRE_BYTES * s->pieces / KV_PIECES;
    if (s->stalled && s->pieces) { // looks at the connection, sends nothing
        loop_timer_set(s->timer, SWEEP_NS);
        return;
    }
    for (; n > 0; n -= (int64_t)sizeof zeros)
        http_stream_write(s->req, slice_of(zeros, n < (int64_t)sizeof zeros ? (size_t)n : sizeof zeros));
    if (++s->pieces < KV_PIECES) {
        loop_timer_set(s->timer, k->tokens * KV_BYTES_PER_TOKEN / KV_PIECES * 1000 / (my.set.bandwidth / 1000000 + 1));
        return;
    }
    IN_SPAN(s->span, SONDE_DEBUG("KV cache sent", SONDE_INT("tokens", k->tokens)));
    k->reads++;
    send_end(s);
    if (k->readers == 0)
        kv_drop(k);
}

static void on_kv(struct http_req *r, void *arg)
{
    struct sonde_context caller;
    context_of_request(&caller, r);
    struct sonde_span *span = sonde_span_start("kv_send", SONDE_KIND_SERVER, &caller);
    sonde_span_str(span, "component", "prefill");
    sonde_span_str(span, "endpoint", "kv");
    sonde_span_str(span, "instance_id", my.service.instance);
    struct kv *k = kv_find(r->param[0]);
    struct send *s = k ? calloc(1, sizeof *s) : NULL;
    struct loop_timer *timer = s ? loop_timer_new(my.service.loop, on_piece, s) : NULL;
    if (!timer) {
        free(s);
        IN_SPAN(span, SONDE_WARN("no such KV cache", SONDE_STRN("id", r->param[0].p, r->param[0].n)));
        sonde_span_status(span, SONDE_STATUS_ERROR, "no such KV cache");
        sonde_span_end(span);
        reply_error(r, 404, "kv_not_found", NULL, NULL, "this worker holds no such KV cache (released, or of another process)");
        return;
    }
    *s = (struct send){.next = my.sends,
                       .req = r,
                       .span = span,
                       .timer = timer,
                       .kv = k,
                       .stalled = fault_of_request(r, &my.faults) == FAULT_KV_TIMEOUT};
    my.sends = s;
    k->readers++;
    my.service.active++;
    sonde_span_str(span, "request_id", k->request_id);
    sonde_span_int(span, "kv_bytes", k->tokens * KV_BYTES_PER_TOKEN);
    http_stream_begin(r, 200, SLICE("application/octet-stream"));
    loop_timer_set(timer, k->tokens * KV_BYTES_PER_TOKEN / KV_PIECES * 1000 / (my.set.bandwidth / 1000000 + 1));
}

// Requests whose caller went away while they waited.
static void sweep_waiting(void)
{
    for (struct job **at = &my.waiting, *job; (job = *at) != NULL;) {
        if (!http_req_gone(job->req)) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        if (!*at)
            my.waiting_end = at;
        my.n_waiting--;
        IN_SPAN(job->span, SONDE_INFO("Aborted request", SONDE_INT("computed_tokens", 0)));
        sonde_span_str(job->span, "request.outcome", "cancelled");
        job->aborted = true;
        reply_error(job->req, 499, "cancelled", NULL, NULL, "the caller is gone");
        job_free(job);
    }
}

// Gives back what nobody came for.
static void sweep(struct loop_timer *t, void *arg)
{
    sweep_waiting();
    int64_t now = clock_mono_ns();
    for (struct kv *k = my.caches, *next; k; k = next) {
        next = k->next;
        if (k->expires_ns > now || k->readers)
            continue;
        SONDE_WARN("Releasing expired KV blocks for request", SONDE_STR("request_id", k->request_id),
                   SONDE_INT("blocks", k->blocks), SONDE_INT("retrieved_by", k->reads),
                   SONDE_F64("within_seconds", (double)my.set.kv_ttl_ns / 1e9));
        kv_drop(k);
    }
    loop_timer_set(t, SWEEP_NS);
}

static void on_health(struct http_req *r, void *arg)
{
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, my.service.draining ? SLICE("draining") : SLICE("ready"));
    JW_KEY(&w, "component");
    jw_str(&w, SLICE("prefill"));
    JW_KEY(&w, "instance_id");
    jw_str(&w, slice_str(my.service.instance));
    JW_KEY(&w, "running");
    jw_i64(&w, my.n_running);
    JW_KEY(&w, "waiting");
    jw_i64(&w, my.n_waiting);
    JW_KEY(&w, "kv_usage");
    jw_f64(&w, (double)my.pool.used / (double)my.pool.total);
    JW_KEY(&w, "active_tokens");
    jw_i64(&w, my.tokens);
    JW_KEY(&w, "max_num_batched_tokens");
    jw_i64(&w, my.set.chunk);
    jw_obj_end(&w);
    http_reply_header(r, SLICE("x-instance-id"), slice_str(my.service.instance));
    reply_json(r, my.service.draining ? 503 : 200, &b);
}

static const struct http_route routes[] = {
    {"POST", "/generate", on_generate, NULL, MAX_SERVICE_BODY, "compute a prompt"},
    {"GET", "/kv/{id}", on_kv, NULL, 0, "pull a KV cache"},
    {"GET", "/health", on_health, NULL, 0, "state"},
};

int main(int argc, char **argv)
{
    struct error err = {0};
    const struct http_server_options o = {.routes = routes, .n_routes = sizeof routes / sizeof *routes};
    service_settings("prefill: a simulated prefill worker", rows, sizeof rows / sizeof *rows, &my.set, argc, argv);
    my.pool.total = my.set.blocks;
    my.marks = strcmp(my.set.phases, "marks") == 0;
    my.waiting_end = &my.waiting;
    if (fault_mix_parse(my.set.fault, &my.faults, &err) != ERR_OK ||
        service_start(&my.service,
                      &(const struct service_about){"prefill", rows, sizeof rows / sizeof *rows, &my.set, my.set.dump},
                      my.set.listen, &o, &err) != ERR_OK) {
        fprintf(stderr, "prefill: %s\n", err.msg);
        return 1;
    }
    work_metrics_start(&my.service, "prefill", my.set.slots, my.set.queue, my.pool.total, my.set.engine_metrics);
    my.sweep = loop_timer_new(my.service.loop, sweep, NULL);
    my.admit = loop_timer_new(my.service.loop, admit, NULL);
    if (!my.sweep || !my.admit)
        return 1;
    loop_timer_set(my.sweep, SWEEP_NS);
    work_status_start(&my.service, "prefill", "{\"request_id\":\"" CANARY "\",\"prompt_tokens\":1}", kick);
    SONDE_INFO("engine ready", SONDE_INT("slots", my.set.slots), SONDE_INT("kv_blocks", my.set.blocks),
               SONDE_INT("chunk_tokens", my.set.chunk));
    return service_run(&my.service);
}
