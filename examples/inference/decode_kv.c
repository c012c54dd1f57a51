// The pull of a prompt's KV cache from the prefill worker that computed it.
#define SONDE_TARGET "inference::decode::kv"
#include "base/clock.h"
#include "decode.h"

static void on_head(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg)
{
    ((struct seq *)arg)->pull_status = status;
}

static void on_data(struct http_call *c, struct slice bytes, void *arg)
{
    ((struct seq *)arg)->pulled_bytes += (int64_t)bytes.n;
}

static void fail(struct seq *s, bool timeout, const char *why)
{
    sonde_span_str(s->phase, "error.type", timeout ? "timeout" : "kv_transfer_failed");
    sonde_span_status(s->phase, SONDE_STATUS_ERROR, why);
    sonde_span_exception(s->phase,
                         &(struct sonde_exception){.type = timeout ? "TimeoutError" : "ConnectionError", .message = why});
    if (timeout)
        IN_SPAN(s->phase, SONDE_ERROR("pulling KV caches failed: Timeout waiting for P side ready", SONDE_STR("peer", s->kv_url),
                                      SONDE_STR("request_id", s->request_id), SONDE_INT("received_bytes", s->pulled_bytes),
                                      SONDE_INT("timeout_ms", decode.set.kv_timeout_ns / 1000000)));
    else
        IN_SPAN(s->phase, SONDE_ERROR("pulling KV caches failed", SONDE_STR("peer", s->kv_url),
                                      SONDE_STR("request_id", s->request_id), SONDE_STR("error", why)));
    if (timeout)
        seq_fail(s, 504, "kv_transfer_timeout", "the KV cache did not arrive from the prefill worker in time");
    else
        seq_fail(s, 502, "kv_transfer_failed", why);
}

static void on_done(struct http_call *c, bool ok, const struct error *why, void *arg)
{
    struct seq *s = arg;
    s->pull = NULL;
    if (!ok && why->code == ERR_CANCELLED)
        return; // by kv_cancel, whose caller ends the sequence
    char text[ERROR_MESSAGE_MAX];
    if (!ok) {
        fail(s, why->code == ERR_TIMEOUT, why->msg);
    } else if (s->pull_status != 200) {
        snprintf(text, sizeof text, "the prefill worker answered %d: its KV cache is released, or it was restarted",
                 s->pull_status);
        fail(s, false, text);
    } else {
        IN_SPAN(s->phase, SONDE_DEBUG("KV cache received", SONDE_INT("tokens", s->prompt),
                                      SONDE_INT("bytes", s->prompt * KV_BYTES_PER_TOKEN)));
        seq_mark(s, SONDE_PHASE_KV_TRANSFER_END);
        seq_run(s);
    }
}

void kv_pull(struct seq *s)
{
    seq_enter(s, SEQ_LOADING);
    seq_phase(s, "kv_transfer");
    seq_mark(s, SONDE_PHASE_KV_TRANSFER_START);
    sonde_span_str(s->phase, "peer", s->kv_url);
    sonde_span_int(s->phase, "kv_bytes", s->prompt * KV_BYTES_PER_TOKEN);
    if (strcmp(s->kv_url, "none") == 0) {
        seq_run(s);
        return;
    }
    struct headers hs = {0};
    headers_context(&hs, s->phase, s->baggage, false);
    if (s->fault != FAULT_NONE)
        headers_add(&hs, SLICE("x-sonde-fault"), slice_str(fault_names[s->fault]));
    const struct http_call_options o = {.method = "GET",
                                        .url = s->kv_url,
                                        .headers = hs.h,
                                        .n_headers = hs.n,
                                        .timeout_ns = decode.set.kv_timeout_ns,
                                        .on_head = on_head,
                                        .on_data = on_data,
                                        .on_done = on_done,
                                        .arg = s};
    struct error err = {0};
    if (http_client_start(decode.service.client, &o, &s->pull, &err) != ERR_OK)
        fail(s, false, err.msg);
}

void kv_cancel(struct seq *s)
{
    if (s->pull)
        http_call_cancel(s->pull);
    s->pull = NULL;
}
