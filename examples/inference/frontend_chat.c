// A chat completion from the client's side: read and check the request, open its span, send what became of it.
#define SONDE_TARGET "inference::frontend::chat"
#include "base/clock.h"
#include "front_metrics.h"

#include <sonde/genai.h>
#include <stdlib.h>

// ---- the end --------------------------------------------------------------------------------------------------------
static void chat_attributes(struct chat *c, int status, const char *outcome)
{
    struct sonde_span *s = c->span;
    if (c->p.prompt_tokens)
        sonde_span_int(s, "input_tokens", c->p.prompt_tokens);
    if (c->pool)
        sonde_span_int(s, "output_tokens", c->tokens);
    if (c->first_ns)
        sonde_span_f64(s, "ttft_ms", ms_since(c->started_ns, c->first_ns));
    if (c->tokens > 1)
        sonde_span_f64(s, "avg_itl_ms", ms_since(c->first_ns, c->last_ns) / (double)(c->tokens - 1));
    if (c->prefill_id[0])
        sonde_span_str(s, "prefill_worker_id", c->prefill_id);
    if (c->decode_id[0])
        sonde_span_str(s, "decode_worker_id", c->decode_id);
    sonde_span_str(s, "request.outcome", outcome);
    sonde_span_int(s, "http.response.status_code", status);
}

static void gen_ai(struct chat *c)
{
    sonde_genai_request(c->span, &(struct sonde_genai_request){.operation = "chat",
                                                               .provider = "sonde",
                                                               .model = c->model[0] ? c->model : NULL,
                                                               .stream = c->p.stream,
                                                               .max_tokens = c->p.drawn ? 0 : c->p.max_tokens,
                                                               .temperature = c->p.has_temperature ? &c->p.temperature : NULL,
                                                               .top_p = c->p.has_top_p ? &c->p.top_p : NULL});
    if (!c->pool)
        return;
    char id[64];
    snprintf(id, sizeof id, "chatcmpl-%s", c->request_id);
    const char *const finish[] = {c->finish};
    double first = c->first_ns ? ms_since(c->started_ns, c->first_ns) / 1e3 : 0;
    sonde_genai_response(c->span, &(struct sonde_genai_response){
                                      .id = id,
                                      .model = c->model,
                                      .finish_reasons = finish,
                                      .n_finish_reasons = c->finish[0] != 0,
                                      .input_tokens = c->p.prompt_tokens,
                                      .output_tokens = c->tokens,
                                      .time_to_first_chunk = first,
                                      .time_to_first_token = first,
                                      .time_per_output_token =
                                          c->tokens > 1 ? ms_since(c->first_ns, c->last_ns) / 1e3 / (double)(c->tokens - 1) : 0});
}

// The GenAI attributes come last, so that they stand on the span and not on every log line within it.
static void chat_free(struct chat *c, int status)
{
    chat_counts_end(c, status, clock_mono_ns());
    gen_ai(c);
    sonde_span_end(c->route);
    sonde_span_end(c->span);
    sonde_ctx_unref(c->baggage);
    loop_timer_free(c->tick);
    buf_free(&c->reply);
    buf_free(&c->lines.rest);
    buf_free(&c->text);
    free(c);
    front.service.active--;
}

// After the answer is handed over: the last line and the end of the span. outcome: the status that the request would have had,
// if its stream had not begun with a 200.
static void chat_sent(struct chat *c, int status, int outcome)
{
    double ms = ms_since(c->started_ns, clock_mono_ns());
    if (outcome >= 500)
        IN_SPAN(c->span, SONDE_ERROR("http response sent", SONDE_INT("status", status), SONDE_F64("latency_ms", ms)));
    else
        IN_SPAN(c->span, SONDE_INFO("http response sent", SONDE_INT("status", status), SONDE_F64("latency_ms", ms)));
    chat_free(c, outcome);
}

static void send_failure(struct chat *c, int status, const char *type, const char *code, const char *param, const char *message)
{
    if (!c->begun) {
        reply_error(c->req, status, type, code, param, message);
        return;
    }
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    buf_str(&b, "event: error\ndata: ");
    error_json(&b, type, code, param, message);
    buf_str(&b, "\n\n");
    http_stream_write(c->req, buf_slice(&b));
    http_stream_end(c->req);
    buf_free(&b);
}

// code: OpenAI's error.code, also the span's error.type.
void chat_fail(struct chat *c, int status, const char *type, const char *code, const char *param, const char *message)
{
    route_drop(c);
    double ms = ms_since(c->started_ns, clock_mono_ns());
    const char *kind = code ? code : type;
    sonde_span_str(c->span, "error.type", kind);
    chat_attributes(c, c->begun ? 200 : status, "error");
    if (status < 500) {
        IN_SPAN(c->span, SONDE_WARN("request completed", SONDE_STR("status", "error"), SONDE_STR("error_detail", message),
                                    SONDE_F64("elapsed_ms", ms)));
    } else {
        sonde_span_status(c->span, SONDE_STATUS_ERROR, message);
        IN_SPAN(c->span, SONDE_ERROR("request completed", SONDE_STR("status", "error"), SONDE_STR("error_detail", message),
                                     SONDE_F64("elapsed_ms", ms), SONDE_INT("attempts", c->attempt + 1)));
    }
    bool begun = c->begun;
    send_failure(c, status, type, code, param, message);
    chat_sent(c, begun ? 200 : status, status);
}

void chat_cancelled(struct chat *c)
{
    route_end(c, "cancelled", NULL);
    route_drop(c);
    chat_attributes(c, 499, "cancelled");
    IN_SPAN(c->span, SONDE_INFO("request completed", SONDE_STR("status", "cancelled"),
                                SONDE_STR("error_detail", "the client closed the connection"),
                                SONDE_F64("elapsed_ms", ms_since(c->started_ns, clock_mono_ns()))));
    if (c->begun)
        http_stream_end(c->req);
    else
        reply_error(c->req, 499, "cancelled", NULL, NULL, "the client closed the connection");
    chat_free(c, 499);
}

void chat_success(struct chat *c)
{
    struct buf b;
    buf_init(&b, MAX_SERVICE_REPLY);
    chat_attributes(c, 200, "success");
    IN_SPAN(c->span, SONDE_INFO("request completed", SONDE_STR("status", "success"),
                                SONDE_F64("elapsed_ms", ms_since(c->started_ns, clock_mono_ns()))));
    if (c->p.stream) {
        openai_delta(c, NULL, SLICE_NONE, c->finish, &b);
        if (c->p.include_usage)
            openai_usage(c, &b);
        buf_str(&b, "data: [DONE]\n\n");
        http_stream_write(c->req, buf_slice(&b));
        http_stream_end(c->req);
        buf_free(&b);
    } else {
        openai_completion(c, &b);
        reply_json(c->req, 200, &b);
    }
    chat_sent(c, 200, 200);
}

// ---- the start ------------------------------------------------------------------------------------------------------
// Method, URI, ids: what is known before the body is read.
static void start_span(struct chat *c)
{
    struct sonde_context caller;
    context_of_request(&caller, c->req);
    c->baggage = baggage_of_request(c->req);
    sonde_new_request_id(c->request_id);
    if (!caller.request_id[0])
        memcpy(caller.request_id, c->request_id, sizeof c->request_id);
    struct sonde_span *s = c->span = sonde_span_start("http-request", SONDE_KIND_SERVER, &caller);
    char uri[256];
    snprintf(uri, sizeof uri, "%.*s%s%.*s", (int)c->req->path.n, c->req->path.p, c->req->query.n ? "?" : "", (int)c->req->query.n,
             c->req->query.p ? c->req->query.p : "");
    sonde_span_str(s, "method", "POST");
    sonde_span_str(s, "uri", uri);
    sonde_span_str(s, "version", c->req->version == 20 ? "HTTP/2.0" : c->req->version == 10 ? "HTTP/1.0" : "HTTP/1.1");
    sonde_span_str(s, "request_id", c->request_id);
    http_reply_header(c->req, SLICE("x-request-id"), slice_str(caller.request_id));
}

void on_chat(struct http_req *r, void *arg)
{
    struct chat *c = calloc(1, sizeof *c);
    struct loop_timer *tick = c ? loop_timer_new(front.service.loop, chat_tick, c) : NULL;
    if (!tick) {
        free(c);
        reply_error(r, 500, "server_error", "out_of_memory", NULL, "no memory for the request");
        return;
    }
    c->req = r;
    c->tick = tick;
    c->started_ns = clock_mono_ns();
    c->created = clock_wall_ns() / 1000000000;
    buf_init(&c->reply, MAX_SERVICE_REPLY);
    buf_init(&c->text, MAX_SERVICE_REPLY);
    front.service.active++;
    start_span(c);
    chat_counts_begin(c);
    int64_t from = clock_mono_ns();
    const struct chat_limits limits = {front.set.model, front.set.context};
    struct chat_refusal no;
    bool good = chat_params_read(r->body, &limits, r->arena, &c->p, &no);
    snprintf(c->model, sizeof c->model, "%.*s", (int)c->p.model.n, c->p.model.p ? c->p.model.p : "");
    if (c->model[0])
        sonde_span_str(c->span, "model", c->model);
    chat_counts_read(c, clock_mono_ns() - from);
    IN_SPAN(c->span, SONDE_INFO("request received", SONDE_STR("endpoint", "chat_completions"),
                                SONDE_STR("request_type", c->p.stream ? "stream" : "unary"),
                                SONDE_INT("input_tokens", c->p.prompt_tokens), SONDE_INT("max_tokens", c->p.max_tokens)));
    if (!good) {
        chat_fail(c, no.status, "invalid_request_error", no.code, no.param, no.message);
        return;
    }
    if (front.service.draining) {
        chat_fail(c, 503, "service_unavailable", "shutting_down", NULL, "the frontend is shutting down");
        return;
    }
    c->fault = fault_of_request(r, &front.faults);
    c->pool = &front.prefill;
    route_attempt(c);
}
