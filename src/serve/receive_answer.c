// What receivers answer: OTLP in the request's encoding, Loki and remote write in text.
#include "base/limits.h"
#include "base/pb.h"
#include "serve/receive.h"

#include <inttypes.h>
#include <stdio.h>

struct receiver_stats *receive_stats(const struct receive *r)
{
    return &r->route->server->receivers[r->route->kind->receiver];
}

// ---- answers --------------------------------------------------------------------------------------------------------

// google.rpc.Status { 1 code, 2 message } in the encoding of the request.
static void status_body(bool json, int grpc_code, const char *message, struct buf *out)
{
    if (json) {
        struct jw w = jw_to(out);
        jw_obj(&w);
        JW_KEY(&w, "code");
        jw_i64(&w, grpc_code);
        JW_KEY(&w, "message");
        jw_str(&w, slice_str(message));
        jw_obj_end(&w);
    } else {
        pb_w_i64(out, 1, grpc_code);
        pb_w_bytes(out, 2, slice_str(message));
    }
}

static enum grpc_status grpc_code(enum errc code)
{
    switch (code) {
    case ERR_OK:
        return GRPC_OK;
    case ERR_INPUT:
    case ERR_SYNTAX:
    case ERR_CORRUPT:
        return GRPC_INVALID_ARGUMENT;
    case ERR_LIMIT:
        return GRPC_RESOURCE_EXHAUSTED;
    default:
        return GRPC_UNAVAILABLE; // full disk, no memory, closing: the client keeps the data and tries again
    }
}

static int http_code(enum errc code)
{
    switch (code) {
    case ERR_INPUT:
    case ERR_SYNTAX:
    case ERR_CORRUPT: // of the client's bytes
        return 400;
    case ERR_LIMIT:
        return 413;
    default:
        return 503;
    }
}

// Remote write 2.0 wants to know what was written, whatever the status.
static void write_counts(struct receive *r, bool stored)
{
    static const char *const names[] = {"x-prometheus-remote-write-samples-written",
                                        "x-prometheus-remote-write-histograms-written",
                                        "x-prometheus-remote-write-exemplars-written"};
    const struct wire_report *p = &r->report;
    uint32_t counts[] = {p->accepted - p->histograms, p->histograms, p->exemplars};
    if (r->format != WIRE_WRITE2)
        return;
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "%" PRIu32, stored ? counts[i] : 0);
        http_reply_header(r->req, slice_str(names[i]), slice_str(text));
    }
}

void receive_answer_error(struct receive *r, const struct error *err)
{
    atomic_fetch_add(&receive_stats(r)->failed, 1);
    int status = http_code(err->code);
    if (r->route->kind->grpc) {
        grpc_reply(r->req, grpc_code(err->code), err->msg, SLICE_NONE);
        return;
    }
    if (status == 503)
        http_reply_header(r->req, SLICE("retry-after"), SLICE("1"));
    if (r->route->kind->answer != ANSWER_OTLP) {
        if (r->route->kind->answer == ANSWER_WRITE)
            write_counts(r, false);
        http_reply_text(r->req, status, "%s", err->msg);
        return;
    }
    struct buf b;
    buf_init(&b, MAX_SHORT_TEXT);
    status_body(r->json, grpc_code(err->code), err->msg, &b);
    http_reply(r->req, status, r->json ? SLICE("application/json") : SLICE("application/x-protobuf"), buf_slice(&b));
    buf_free(&b);
}

static void reasons_text(const struct wire_report *rep, struct buf *out)
{
    buf_printf(out, "%" PRIu32 " of %" PRIu32 " refused: ", rep->rejected, rep->rejected + rep->accepted);
    for (uint32_t i = 0; i < rep->n_reasons; i++)
        buf_printf(out, "%s%s", i ? "; " : "", rep->reason[i]);
}

// Export…ServiceResponse { 1 partial_success { 1 rejected, 2 error_message } }; unset on full success.
static void otlp_body(const struct receive *r, struct buf *out)
{
    struct buf why;
    buf_init(&why, MAX_SHORT_TEXT);
    if (r->report.rejected)
        reasons_text(&r->report, &why);
    if (r->json) {
        struct jw w = jw_to(out);
        jw_obj(&w);
        if (r->report.rejected) {
            JW_KEY(&w, "partialSuccess");
            jw_obj(&w);
            jw_key(&w, slice_str(r->route->kind->rejected_json));
            jw_str_u64(&w, r->report.rejected);
            JW_KEY(&w, "errorMessage");
            jw_str(&w, buf_slice(&why));
            jw_obj_end(&w);
        }
        jw_obj_end(&w);
    } else if (r->report.rejected) {
        size_t mark = pb_w_begin(out, 1);
        pb_w_i64(out, 1, r->report.rejected);
        pb_w_bytes(out, 2, buf_slice(&why));
        pb_w_end(out, mark);
    }
    buf_free(&why);
}

void receive_answer_ok(struct receive *r)
{
    struct receiver_stats *st = receive_stats(r);
    atomic_fetch_add(&st->rows, r->report.accepted);
    atomic_fetch_add(&st->rejected_rows, r->report.rejected);
    struct buf b;
    buf_init(&b, MAX_SHORT_TEXT);
    if (r->route->kind->answer == ANSWER_WRITE)
        write_counts(r, true);
    if (r->route->kind->answer != ANSWER_OTLP) { // what was good is kept, the answer tells of the rest
        if (r->report.rejected) {
            reasons_text(&r->report, &b);
            http_reply_text(r->req, 400, "%.*s", (int)b.n, b.p);
        } else {
            http_reply(r->req, 204, SLICE_NONE, SLICE_NONE);
        }
    } else {
        otlp_body(r, &b);
        if (r->route->kind->grpc)
            grpc_reply(r->req, GRPC_OK, "", buf_slice(&b));
        else
            http_reply(r->req, 200, r->json ? SLICE("application/json") : SLICE("application/x-protobuf"), buf_slice(&b));
    }
    buf_free(&b);
}
