// The decode worker: pulls a prompt's KV cache from the prefill worker, then streams tokens.
//
//   POST /generate {"request_id", "prompt_tokens", "max_tokens", "finish_reason", "kv": {"url"}} →
//        (the URL "none": there is no cache to pull, as a canary has none)
//        one JSON object a line: {"text": "word "} for each token, at last {"finish_reason", "tokens"} or {"error": {…}}
#define SONDE_TARGET "inference::decode"
#include "decode.h"
#include "base/clock.h"
#include "base/hash.h"

#include <stddef.h>
#include <stdlib.h>

struct decode decode;

#define ROW(flag, type, value, min, max, arg, about, field)                                    \
    {                                                                                          \
        flag, NULL, type, value, min, max, arg, about, offsetof(struct decode_settings, field) \
    }
static const struct setting rows[] = {
    ROW("listen", SETTING_STR, "127.0.0.1:8082", 0, 0, "ADDR", "where to listen; port 0 takes a free one", listen),
    ROW("max-seqs", SETTING_INT, "16", 1, 4096, "N", "sequences in the engine at the same time", max_seqs),
    ROW("queue", SETTING_INT, "128", 0, 100000, "N", "requests that may wait; more are refused as overloaded", queue),
    ROW("kv-blocks", SETTING_INT, "2048", 1, 10000000, "N", "blocks of 16 tokens in the KV pool", blocks),
    ROW("itl", SETTING_DURATION, "8ms", 0, 0, "TIME", "a step with one sequence", itl_ns),
    ROW("itl-per-seq", SETTING_DURATION, "400us", 0, 0, "TIME", "what each further sequence adds to a step", itl_seq_ns),
    ROW("recompute", SETTING_DURATION, "60us", 0, 0, "TIME", "cost of a token that is computed again after a preemption",
        recompute_ns),
    ROW("kv-timeout", SETTING_DURATION, "2s", 1, INT64_MAX, "TIME", "limit of a KV transfer", kv_timeout_ns),
    ROW("engine-metrics", SETTING_BOOL, "false", 0, 0, NULL, "serve the engine's families (vllm:…) on /metrics too",
        engine_metrics),
    ROW("fault", SETTING_STR, NULL, 0, 0, "NAME[=SHARE],…",
        "faults for a share of the requests; here: kv-timeout, cuda-oom, crash, hang, retry-storm, lost-worker", fault),
    {"phases", NULL, SETTING_STR, "spans", 0, 0, "HOW", PHASES_ABOUT, offsetof(struct decode_settings, phases), "spans marks"},
    ROW("dump-config-to", SETTING_STR, NULL, 0, 0, "FILE", DUMP_ABOUT, dump),
};

struct wanted {
    int64_t prompt, max_tokens;
    struct slice request_id, url, finish;
};

static void read_kv(struct json *j, struct wanted *w)
{
    struct slice key;
    json_object(j);
    while (!j->failed && json_next_key(j, &key)) {
        if (slice_eq(key, SLICE("url")))
            json_string(j, &w->url);
        else
            json_skip(j, NULL);
    }
}

static bool read_request(struct http_req *r, struct wanted *w)
{
    struct json j;
    struct slice key;
    *w = (struct wanted){.finish = SLICE("length")};
    json_init(&j, r->body, r->arena, NULL);
    json_object(&j);
    while (!j.failed && json_next_key(&j, &key)) {
        if (slice_eq(key, SLICE("prompt_tokens")))
            json_i64(&j, &w->prompt);
        else if (slice_eq(key, SLICE("max_tokens")))
            json_i64(&j, &w->max_tokens);
        else if (slice_eq(key, SLICE("request_id")))
            json_string(&j, &w->request_id);
        else if (slice_eq(key, SLICE("finish_reason")))
            json_string(&j, &w->finish);
        else if (slice_eq(key, SLICE("kv")))
            read_kv(&j, w);
        else
            json_skip(&j, NULL);
    }
    return !j.failed && json_finish(&j) && w->prompt > 0 && w->max_tokens > 0 && w->url.n > 0;
}

// Answers what cannot be taken; true if it did.
static bool refuse(struct http_req *r, struct sonde_span *span, const struct wanted *w, bool good, enum fault fault,
                   int64_t received_ns)
{
    if (!good) {
        work_error("deserialization");
        reply_error(r, 400, "invalid_request_error", NULL, NULL,
                    "a JSON object with prompt_tokens, max_tokens and kv.url is wanted");
    } else if (kv_blocks(w->prompt + w->max_tokens) > decode.pool.total) {
        work_error("invalid_message");
        IN_SPAN(span, SONDE_WARN("sequence is larger than the KV cache", SONDE_INT("prompt_tokens", w->prompt),
                                 SONDE_INT("max_tokens", w->max_tokens), SONDE_INT("kv_blocks", decode.pool.total)));
        reply_error(r, 400, "invalid_request_error", "context_length_exceeded", NULL,
                    "prompt and answer are larger than the whole KV cache");
    } else if (decode.service.draining || decode.n_waiting >= decode.set.queue || fault == FAULT_RETRY_STORM) {
        sonde_int_counter_add(work.rejected, 1);
        IN_SPAN(span, SONDE_WARN("request rejected, worker overloaded", SONDE_INT("waiting", decode.n_waiting),
                                 SONDE_INT("running", decode.n_running), SONDE_INT("queue_limit", decode.set.queue)));
        sonde_span_str(span, "error.type", "worker_overloaded");
        reply_error(r, 503, "worker_overloaded", NULL, NULL,
                    decode.service.draining ? "shutting down" : "too many requests are waiting");
    } else {
        return false;
    }
    sonde_span_str(span, "request.outcome", "rejected");
    work_end(span, received_ns, false);
    sonde_span_end(span);
    return true;
}

static void copy(char *out, size_t size, struct slice s)
{
    snprintf(out, size, "%.*s", (int)s.n, s.p ? s.p : "");
}

static void on_generate(struct http_req *r, void *arg)
{
    http_reply_header(r, SLICE("x-instance-id"), slice_str(decode.service.instance));
    struct sonde_context caller;
    context_of_request(&caller, r);
    struct sonde_span *span = sonde_span_start("handle_payload", SONDE_KIND_SERVER, &caller);
    sonde_span_str(span, "component", "backend");
    sonde_span_str(span, "endpoint", "generate");
    sonde_span_str(span, "namespace", "dynamo");
    sonde_span_str(span, "instance_id", decode.service.instance);
    struct wanted w;
    int64_t received_ns = clock_mono_ns();
    work_begin(r);
    bool good = read_request(r, &w);
    enum fault fault = fault_of_request(r, &decode.faults);
    char id[64];
    copy(id, sizeof id, w.request_id);
    sonde_span_str(span, "request_id", id);
    if (refuse(r, span, &w, good, fault, received_ns))
        return;
    struct seq *s = calloc(1, sizeof *s);
    if (!s) {
        work_end(span, received_ns, false);
        sonde_span_end(span);
        reply_error(r, 500, "server_error", "out_of_memory", NULL, "no memory for the request");
        return;
    }
    *s = (struct seq){.req = r,
                      .span = span,
                      .prompt = w.prompt,
                      .max_tokens = w.max_tokens,
                      .fault = fault,
                      .baggage = baggage_of_request(r),
                      .received_ns = received_ns,
                      .word = random_u64() >> 8};
    copy(s->finish, sizeof s->finish, w.finish);
    copy(s->request_id, sizeof s->request_id, w.request_id);
    copy(s->kv_url, sizeof s->kv_url, w.url);
    IN_SPAN(span, SONDE_INFO("request received", SONDE_INT("prompt_tokens", s->prompt), SONDE_INT("max_tokens", s->max_tokens)));
    engine_add(s);
}

static void on_health(struct http_req *r, void *arg)
{
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, decode.service.draining ? SLICE("draining") : SLICE("ready"));
    JW_KEY(&w, "component");
    jw_str(&w, SLICE("backend"));
    JW_KEY(&w, "instance_id");
    jw_str(&w, slice_str(decode.service.instance));
    JW_KEY(&w, "running");
    jw_i64(&w, decode.n_running);
    JW_KEY(&w, "waiting");
    jw_i64(&w, decode.n_waiting);
    JW_KEY(&w, "preemptions");
    jw_i64(&w, decode.n_preemptions);
    JW_KEY(&w, "kv_usage");
    jw_f64(&w, (double)decode.pool.used / (double)decode.pool.total);
    JW_KEY(&w, "kv_total_blocks");
    jw_i64(&w, decode.pool.total);
    JW_KEY(&w, "kv_active_blocks");
    jw_i64(&w, decode.pool.used);
    JW_KEY(&w, "kv_block_size");
    jw_i64(&w, KV_BLOCK);
    JW_KEY(&w, "max_num_seqs");
    jw_i64(&w, decode.set.max_seqs);
    jw_obj_end(&w);
    http_reply_header(r, SLICE("x-instance-id"), slice_str(decode.service.instance));
    reply_json(r, decode.service.draining ? 503 : 200, &b);
}

static const struct http_route routes[] = {
    {"POST", "/generate", on_generate, NULL, MAX_SERVICE_BODY, "generate tokens"},
    {"GET", "/health", on_health, NULL, 0, "state"},
};

int main(int argc, char **argv)
{
    struct error err = {0};
    const struct http_server_options o = {.routes = routes, .n_routes = sizeof routes / sizeof *routes};
    service_settings("decode: a simulated decode worker", rows, sizeof rows / sizeof *rows, &decode.set, argc, argv);
    decode.pool.total = decode.set.blocks;
    decode.marks = strcmp(decode.set.phases, "marks") == 0;
    if (fault_mix_parse(decode.set.fault, &decode.faults, &err) != ERR_OK ||
        service_start(&decode.service,
                      &(const struct service_about){"decode", rows, sizeof rows / sizeof *rows, &decode.set, decode.set.dump},
                      decode.set.listen, &o, &err) != ERR_OK) {
        fprintf(stderr, "decode: %s\n", err.msg);
        return 1;
    }
    work_metrics_start(&decode.service, "backend", decode.set.max_seqs, decode.set.queue, decode.pool.total,
                       decode.set.engine_metrics);
    if (engine_start() != ERR_OK)
        return 1;
    work_status_start(&decode.service, "backend",
                      "{\"request_id\":\"canary\",\"prompt_tokens\":1,\"max_tokens\":1,\"kv\":{\"url\":\"none\"}}", engine_kick);
    SONDE_INFO("engine ready", SONDE_INT("max_seqs", decode.set.max_seqs), SONDE_INT("kv_blocks", decode.set.blocks));
    return service_run(&decode.service);
}
