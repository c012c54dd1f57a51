// A chat completion from the workers' side: choose one for prefill, then one for decode, call it, follow its reply, try again.
#define SONDE_TARGET "inference::frontend::route"
#include "base/clock.h"
#include "front_metrics.h"

#include <inttypes.h>
#include <sonde/genai.h>

enum { TICK_NS = 25 * 1000000 };

void route_drop(struct chat *c)
{
    struct http_call *call = c->call;
    c->call = NULL;
    if (call)
        http_call_cancel(call);
}

void route_end(struct chat *c, const char *outcome, const char *error_type)
{
    if (!c->route)
        return;
    chat_counts_routed(c, outcome);
    sonde_span_str(c->route, "request.outcome", outcome);
    if (error_type) {
        sonde_span_str(c->route, "error.type", error_type);
        sonde_span_status(c->route, SONDE_STATUS_ERROR, error_type);
        IN_SPAN(c->route, SONDE_WARN("route request failed", SONDE_F64("elapsed_ms", ms_since(c->route_ns, clock_mono_ns())),
                                     SONDE_INT("tokens_completed", c->tokens)));
    } else {
        IN_SPAN(c->route,
                SONDE_DEBUG("route request completed", SONDE_F64("elapsed_ms", ms_since(c->route_ns, clock_mono_ns()))));
    }
    c->failed = *sonde_span_context(c->route);
    sonde_span_end(c->route);
    c->route = NULL;
}

// ---- what a worker says ---------------------------------------------------------------------------------------------
// Tries once more, soon, if attempts are left.
static bool again(struct chat *c)
{
    int64_t retries = c->fault == FAULT_RETRY_STORM ? front.set.storm_retries : front.set.retries;
    if (c->attempt >= retries)
        return false;
    c->attempt++;
    chat_counts_retry(c);
    c->retry_ns = clock_mono_ns() + front.set.retry_delay_ns;
    loop_timer_set(c->tick, front.set.retry_delay_ns);
    return true;
}

// The reply was not 200.
static void worker_refused(struct chat *c)
{
    char type[48], message[400];
    error_read(buf_slice(&c->reply), type, sizeof type, message, sizeof message);
    if (c->status == 503) {
        route_end(c, "rejected", "worker_overloaded");
        if (!again(c))
            chat_fail(c, 529, "overloaded_error", "worker_overloaded", NULL,
                      "Overloaded: every attempt was refused, the workers' queues are full");
    } else if (c->status == 504) {
        route_end(c, "timeout", type);
        chat_fail(c, 504, "timeout_error", type, NULL, message);
    } else if (c->status == 400) {
        route_end(c, "rejected", type);
        chat_fail(c, 400, "invalid_request_error", NULL, NULL, message);
    } else {
        route_end(c, "error", type);
        chat_fail(c, 500, "server_error", type, NULL, message);
    }
}

// The connection failed, or broke.
static void worker_lost(struct chat *c, const struct error *why)
{
    sonde_span_exception(c->route, &(struct sonde_exception){.type = "ConnectionError", .message = why->msg});
    bool connect =
        c->status == 0 && slice_starts(slice_str(why->msg), SLICE("cannot ")); // "cannot connect to …", "cannot find …"
    route_end(c, connect ? "connection_failed" : "worker_disconnected", connect ? "cannot_connect" : "disconnected");
    IN_SPAN(c->span, worker_aside(c->worker, c->pool->phase, why->msg));
    if (connect && again(c))
        return;
    char text[120];
    snprintf(text, sizeof text, "the %s worker was lost %s", c->pool->phase,
             c->tokens ? "before the answer was complete" : "before it answered");
    chat_fail(c, 503, "service_unavailable", connect ? "no_worker" : "worker_disconnected", NULL,
              connect ? "no backend worker available" : text);
}

static void first_token(struct chat *c)
{
    c->first_ns = c->last_ns = clock_mono_ns();
    chat_counts_first(c);
    sonde_phase(c->span, SONDE_PHASE_FIRST_TOKEN);
    IN_SPAN(c->span, SONDE_DEBUG("first token", SONDE_F64("after_ms", ms_since(c->started_ns, c->first_ns))));
    if (!c->p.stream)
        return;
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    http_reply_header(c->req, SLICE("cache-control"), SLICE("no-cache"));
    http_stream_begin(c->req, 200, SLICE("text/event-stream"));
    c->begun = true;
    openai_delta(c, "assistant", SLICE(""), NULL, &b);
    http_stream_write(c->req, buf_slice(&b));
    buf_free(&b);
}

static void token(struct chat *c, struct slice text)
{
    int64_t now = clock_mono_ns();
    if (c->tokens++ == 0)
        first_token(c);
    else
        chat_counts_token(c, now - c->last_ns);
    c->last_ns = now;
    if (!c->p.stream) {
        buf_add(&c->text, text);
        c->writing_ns += clock_mono_ns() - now;
        return;
    }
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    openai_delta(c, NULL, text, NULL, &b);
    http_stream_write(c->req, buf_slice(&b));
    buf_free(&b);
    c->writing_ns += clock_mono_ns() - now;
}

// One line of the decode worker's stream.
static bool on_line(struct slice line, void *arg)
{
    struct chat *c = arg;
    struct arena a;
    struct json j;
    struct slice key, text;
    arena_init(&a, MAX_SERVICE_LINE);
    json_init(&j, line, &a, NULL);
    json_object(&j);
    while (!j.failed && json_next_key(&j, &key)) {
        if (slice_eq(key, SLICE("text"))) {
            if (json_string(&j, &text))
                token(c, text);
        } else if (slice_eq(key, SLICE("finish_reason"))) {
            if (json_string(&j, &text))
                snprintf(c->finish, sizeof c->finish, "%.*s", (int)text.n, text.p);
        } else if (slice_eq(key, SLICE("error"))) {
            error_read(line, c->error_type, sizeof c->error_type, c->error_message, sizeof c->error_message);
            json_skip(&j, NULL);
        } else {
            json_skip(&j, NULL);
        }
    }
    if (j.failed) {
        snprintf(c->error_type, sizeof c->error_type, "bad_stream");
        snprintf(c->error_message, sizeof c->error_message, "the decode worker sent a line that is not JSON");
    }
    arena_free(&a);
    return true;
}

static void decode_done(struct chat *c)
{
    if (c->error_type[0]) {
        route_end(c, "error", c->error_type);
        chat_fail(c, 500, "server_error", c->error_type, NULL, c->error_message);
    } else if (!c->finish[0]) {
        worker_lost(c, &(struct error){.msg = "stream ended before generation completed"});
    } else {
        route_end(c, "success", NULL);
        chat_success(c);
    }
}

static void read_kv_url(struct chat *c)
{
    struct arena a;
    struct json j;
    struct slice key, url = SLICE_NONE;
    arena_init(&a, MAX_SERVICE_LINE);
    json_init(&j, buf_slice(&c->reply), &a, NULL);
    json_object(&j);
    while (!j.failed && json_next_key(&j, &key)) {
        if (!slice_eq(key, SLICE("kv"))) {
            json_skip(&j, NULL);
            continue;
        }
        json_object(&j);
        while (!j.failed && json_next_key(&j, &key))
            if (slice_eq(key, SLICE("url")))
                json_string(&j, &url);
            else
                json_skip(&j, NULL);
    }
    snprintf(c->kv_url, sizeof c->kv_url, "%.*s", j.failed ? 0 : (int)url.n, url.p ? url.p : "");
    arena_free(&a);
}

static void prefill_done(struct chat *c)
{
    read_kv_url(c);
    if (!c->kv_url[0]) {
        route_end(c, "error", "bad_reply");
        chat_fail(c, 500, "server_error", "bad_reply", NULL, "the prefill worker's reply holds no kv.url");
        return;
    }
    route_end(c, "success", NULL);
    IN_SPAN(c->span, SONDE_INFO("Prefill completed", SONDE_STR("worker_id", c->prefill_id),
                                SONDE_F64("elapsed_ms", ms_since(c->route_ns, clock_mono_ns()))));
    c->pool = &front.decode;
    c->attempt = 0;
    route_attempt(c);
}

// ---- calling a worker -----------------------------------------------------------------------------------------------
static void on_head(struct http_call *call, int status, const struct http_header *h, size_t n, void *arg)
{
    struct chat *c = arg;
    c->status = status;
    c->heard_ns = clock_mono_ns();
    if (status == 200)
        IN_SPAN(c->route, sonde_histogram_observe(sonde_histogram_vec_with(fm.router_ttft, &c->pool->phase, 1),
                                                  ms_since(c->route_ns, c->heard_ns) / 1e3));
    for (size_t i = 0; i < n; i++)
        if (slice_eq(h[i].name, SLICE("x-instance-id")))
            worker_learn(c->worker, h[i].value);
    char *id = c->pool == &front.prefill ? c->prefill_id : c->decode_id;
    snprintf(id, sizeof c->prefill_id, "%s", c->worker->id);
    sonde_span_str(c->route, "worker_id", worker_name(c->worker));
}

static void on_data(struct http_call *call, struct slice bytes, void *arg)
{
    struct chat *c = arg;
    c->heard_ns = clock_mono_ns();
    if (c->pool == &front.decode && c->status == 200)
        lines_feed(&c->lines, bytes, on_line, c);
    else
        buf_add(&c->reply, bytes);
}

static void on_done(struct http_call *call, bool ok, const struct error *why, void *arg)
{
    struct chat *c = arg;
    if (!c->call)
        return; // route_drop: its caller goes on
    c->call = NULL;
    if (!ok && !c->finish[0])
        worker_lost(c, why);
    else if (c->status != 200)
        worker_refused(c);
    else if (c->pool == &front.prefill)
        prefill_done(c);
    else
        decode_done(c);
}

static void call_body(struct chat *c, struct buf *out)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "request_id");
    jw_str(&w, slice_str(c->request_id));
    JW_KEY(&w, "model");
    jw_str(&w, slice_str(c->model));
    JW_KEY(&w, "prompt_tokens");
    jw_i64(&w, c->p.prompt_tokens);
    JW_KEY(&w, "max_tokens");
    jw_i64(&w, c->p.max_tokens);
    JW_KEY(&w, "finish_reason");
    jw_str(&w, c->p.drawn ? SLICE("stop") : SLICE("length"));
    if (c->kv_url[0]) {
        JW_KEY(&w, "kv");
        jw_obj(&w);
        JW_KEY(&w, "url");
        jw_str(&w, slice_str(c->kv_url));
        jw_obj_end(&w);
    }
    jw_obj_end(&w);
}

static enum errc start_call(struct chat *c, struct error *err)
{
    struct headers hs = {0};
    headers_add(&hs, SLICE("content-type"), SLICE("application/json"));
    headers_context(&hs, c->route, c->baggage, true);
    if (c->fault != FAULT_NONE)
        headers_add(&hs, SLICE("x-sonde-fault"), slice_str(fault_names[c->fault]));
    char url[MAX_WORKER_URL + 16];
    snprintf(url, sizeof url, "%s/generate", c->worker->url);
    struct buf body;
    buf_init(&body, MAX_SERVICE_LINE);
    call_body(c, &body);
    // The tick watches for silence; the whole call may be long.
    const struct http_call_options o = {.method = "POST",
                                        .url = url,
                                        .headers = hs.h,
                                        .n_headers = hs.n,
                                        .body = buf_slice(&body),
                                        .timeout_ns = 3600 * (int64_t)1000000000,
                                        .on_head = on_head,
                                        .on_data = on_data,
                                        .on_done = on_done,
                                        .arg = c};
    enum errc rc =
        body.err ? ERR(err, LIMIT, "the call's body is too large") : http_client_start(front.service.client, &o, &c->call, err);
    buf_free(&body);
    return rc;
}

void route_attempt(struct chat *c)
{
    c->retry_ns = 0;
    c->status = 0;
    buf_reset(&c->reply);
    c->worker = pool_pick(c->pool);
    if (!c->worker) {
        IN_SPAN(c->span, SONDE_WARN("no worker to choose from", SONDE_STR("phase", c->pool->phase),
                                    SONDE_INT("put_aside", (int64_t)c->pool->n)));
        chat_fail(c, 503, "service_unavailable", "no_worker", NULL, "no backend worker available");
        return;
    }
    c->route = sonde_span_start("router.route_request", SONDE_KIND_CLIENT, sonde_span_context(c->span));
    sonde_span_str(c->route, "worker_id", worker_name(c->worker));
    sonde_span_str(c->route, "phase", c->pool->phase);
    sonde_span_str(c->route, "router_mode", "round-robin");
    sonde_span_str(c->route, "request_id", c->request_id);
    sonde_span_int(c->route, "request.attempt", c->attempt);
    if (c->attempt) {
        const struct sonde_field why[] = {SONDE_FIELD(SONDE_STR("link.reason", "retry"))};
        sonde_span_link(c->route, &(struct sonde_link){&c->failed, why, 1});
    }
    c->route_ns = c->heard_ns = clock_mono_ns();
    IN_SPAN(c->route, SONDE_INFO("Selected worker", SONDE_STR("url", c->worker->url)));
    struct error err = {0};
    if (start_call(c, &err) == ERR_OK)
        loop_timer_set(c->tick, TICK_NS);
    else
        worker_lost(c, &err);
}

static void on_silence(struct chat *c)
{
    char text[160];
    snprintf(text, sizeof text, "Gateway Timeout: nothing was heard from the %s worker for %" PRId64 " ms", c->pool->phase,
             front.set.timeout_ns / 1000000);
    route_end(c, "timeout", "response_timeout");
    chat_fail(c, 504, "timeout_error", "response_timeout", NULL, text);
}

void chat_tick(struct loop_timer *t, void *arg)
{
    struct chat *c = arg;
    int64_t now = clock_mono_ns();
    loop_timer_set(t, TICK_NS);
    if (http_req_gone(c->req))
        chat_cancelled(c);
    else if (c->retry_ns && now >= c->retry_ns)
        route_attempt(c);
    else if (!c->retry_ns && now - c->heard_ns >= front.set.timeout_ns)
        on_silence(c);
}
