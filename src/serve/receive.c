// Receivers: OTLP (HTTP protobuf and JSON, gRPC) and Loki push. All go one way: decode, append, answer when the write-ahead log
// has it on disk. Wire formats differ in the content type they take and in the shape of the answer; that is the table below.
#include "base/clock.h"
#include "base/limits.h"
#include "base/pb.h"
#include "serve/serve.h"

#include <inttypes.h>
#include <stdio.h>

struct receive_kind {
    enum receiver receiver;
    enum wire_format protobuf, json;
    bool grpc;
    const char *rejected_json; // name of OTLP's count of refused rows in JSON; null: Loki
};

static const struct receive_kind kinds[] = {
    {RECEIVER_OTLP_LOGS, WIRE_OTLP_LOGS_PB, WIRE_OTLP_LOGS_JSON, false, "rejectedLogRecords"},
    {RECEIVER_OTLP_TRACES, WIRE_OTLP_TRACES_PB, WIRE_OTLP_TRACES_JSON, false, "rejectedSpans"},
    {RECEIVER_OTLP_LOGS, WIRE_OTLP_LOGS_PB, WIRE_OTLP_LOGS_JSON, true, "rejectedLogRecords"},
    {RECEIVER_OTLP_TRACES, WIRE_OTLP_TRACES_PB, WIRE_OTLP_TRACES_JSON, true, "rejectedSpans"},
    {RECEIVER_LOKI, WIRE_LOKI_PB, WIRE_LOKI_JSON, false, NULL},
};

// One receiver of one server: the argument of its route.
struct receive_route {
    struct server *server;
    const struct receive_kind *kind;
};

// A request between its arrival and its acknowledgement.
struct receive {
    const struct receive_route *route;
    struct http_req *req;
    bool json;
    size_t bytes;
    struct wire_report report;
};

static struct receiver_stats *stats_of(const struct receive *r)
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

static void answer_error(struct receive *r, const struct error *err)
{
    atomic_fetch_add(&stats_of(r)->failed, 1);
    int status = http_code(err->code);
    if (r->route->kind->grpc) {
        grpc_reply(r->req, grpc_code(err->code), err->msg, SLICE_NONE);
        return;
    }
    if (status == 503)
        http_reply_header(r->req, SLICE("retry-after"), SLICE("1"));
    if (!r->route->kind->rejected_json) {
        http_reply_text(r->req, status, "%s", err->msg);
        return;
    }
    struct buf b;
    buf_init(&b, KIB(8));
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
    buf_init(&why, KIB(8));
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

static void answer_ok(struct receive *r)
{
    struct receiver_stats *st = stats_of(r);
    atomic_fetch_add(&st->rows, r->report.accepted);
    atomic_fetch_add(&st->rejected_rows, r->report.rejected);
    struct buf b;
    buf_init(&b, KIB(16));
    if (!r->route->kind->rejected_json) { // Loki: what was good is kept, the answer tells of the rest
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

// ---- the way in -----------------------------------------------------------------------------------------------------

static void finish(struct receive *r, const struct error *err)
{
    atomic_fetch_sub(&r->route->server->inflight, r->bytes);
    if (err->code == ERR_OK)
        answer_ok(r);
    else
        answer_error(r, err);
}

// From the log's thread.
static void committed(void *arg, enum errc rc)
{
    struct error err = {0};
    if (rc == ERR_FULL)
        ERR(&err, FULL,
            "the disk of the data directory is full: nothing of this request was stored; free some space and send it again");
    else if (rc != ERR_OK)
        error_raise(&err, rc, __FILE__, __LINE__,
                    "the write-ahead log could not be written (%s): nothing of this request was stored", errc_text(rc));
    finish(arg, &err);
}

static bool media_is(struct slice type, struct slice want)
{
    struct slice rest = type, first;
    return slice_split(&rest, ';', &first) && slice_ieq(slice_trim(first), want);
}

// Which of the route's two formats the content type names; 0 if neither.
static enum wire_format choose_format(struct receive *r)
{
    struct slice type = http_req_header(r->req, SLICE("content-type"));
    const struct receive_kind *k = r->route->kind;
    if (k->grpc)
        return k->protobuf;
    r->json = media_is(type, SLICE("application/json"));
    if (r->json)
        return k->json;
    if (media_is(type, SLICE("application/x-protobuf")) || media_is(type, SLICE("application/protobuf")))
        return k->protobuf;
    return k->receiver == RECEIVER_LOKI && type.n == 0 ? k->protobuf : 0;
}

// Loki's protobuf body is a snappy block.
static enum errc unpack_loki(struct receive *r, struct slice *body, struct error *err)
{
    struct buf raw;
    buf_init(&raw, MAX_HTTP_BODY);
    enum errc rc = codec_decode(CODEC_SNAPPY, *body, MAX_HTTP_BODY, &raw, err);
    if (rc == ERR_OK) {
        struct slice copy = arena_dup(r->req->arena, buf_slice(&raw));
        if (!copy.p)
            rc = ERR(err, NOMEM, "no memory for a push of %zu bytes", raw.n);
        *body = copy;
    } else if (rc != ERR_LIMIT) {
        rc = error_prefix(err, "body is not a snappy block: ");
    }
    buf_free(&raw);
    return rc;
}

static enum errc receive_into(struct receive *r, struct error *err)
{
    struct server *s = r->route->server;
    enum wire_format f = choose_format(r);
    struct slice tenant, body = r->req->body;
    if (!f) {
        struct slice type = http_req_header(r->req, SLICE("content-type"));
        return ERR(err, UNSUPPORTED,
                   "content-type \"%.*s\" is not accepted here: send application/x-protobuf or application/json", (int)type.n,
                   type.p);
    }
    TRY(server_tenant(r->req, &tenant, err));
    if (f == WIRE_LOKI_PB)
        TRY(unpack_loki(r, &body, err));
    atomic_fetch_add(&stats_of(r)->bytes, body.n);
    struct wire_options opt = {.received_ns = clock_wall_ns(), .discover_service = s->settings->discover_service};
    struct batch *batch = NULL;
    // The batch refers to the body, which lives until the answer; store_append makes it independent.
    TRY(wire_decode(f, body, true, &opt, &batch, &r->report, err));
    if (batch->rows == 0) { // nothing to keep: done at once
        batch_unref(batch);
        committed(r, ERR_OK);
        return ERR_OK;
    }
    return store_append(s->store, tenant, f, body, opt.received_ns, batch, committed, r, err);
}

static void receive(struct http_req *req, void *arg)
{
    const struct receive_route *route = arg;
    struct server *s = route->server;
    struct receive *r = ARENA_NEW(req->arena, struct receive);
    struct error err = {0};
    if (!r) {
        http_reply_text(req, 503, "out of memory");
        return;
    }
    *r = (struct receive){.route = route, .req = req, .bytes = req->body.n};
    atomic_fetch_add(&stats_of(r)->requests, 1);
    uint64_t before = atomic_fetch_add(&s->inflight, r->bytes);
    if (before + r->bytes > (uint64_t)s->settings->inflight_bytes && before > 0)
        ERR(&err, FULL, "%" PRIu64 " bytes are waiting to be written already; try again in a second", before);
    else if (receive_into(r, &err) == ERR_OK)
        return; // the log's thread answers
    if (err.code == ERR_UNSUPPORTED && !route->kind->grpc) {
        atomic_fetch_sub(&s->inflight, r->bytes);
        atomic_fetch_add(&stats_of(r)->failed, 1);
        http_reply_text(req, 415, "%s", err.msg);
        return;
    }
    finish(r, &err);
}

// So that a sender of all three signals is told what to do, and not that it has a wrong address.
static const char no_metrics[] =
    "this server keeps logs and traces, no metrics: let a Prometheus scrape the senders, or send metrics "
    "elsewhere (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT), or none (OTEL_METRICS_EXPORTER=none)";

static void refuse_metrics(struct http_req *req, void *arg)
{
    (void)arg;
    if (slice_eq(slice_str(req->route->method), SLICE("GRPC")))
        grpc_reply(req, GRPC_UNIMPLEMENTED, no_metrics, SLICE_NONE);
    else
        http_reply_text(req, 501, "%s", no_metrics);
}

size_t receive_routes(struct server *s, struct http_route *out, size_t max)
{
    static const struct {
        const char *method, *path;
        int kind;
        const char *about;
    } rows[] = {
        {"POST", "/v1/logs", 0, "OTLP logs, protobuf or JSON"},
        {"POST", "/otlp/v1/logs", 0, "OTLP logs, Loki's path"},
        {"POST", "/v1/traces", 1, "OTLP traces, protobuf or JSON"},
        {"GRPC", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", 2, "OTLP logs over gRPC"},
        {"GRPC", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", 3, "OTLP traces over gRPC"},
        {"POST", "/loki/api/v1/push", 4, "Loki push, snappy protobuf or JSON"},
        {"POST", "/api/prom/push", 4, "Loki push, old path"},
    };
    static struct receive_route routes[sizeof kinds / sizeof *kinds];
    size_t n = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        routes[i] = (struct receive_route){s, &kinds[i]};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && n < max; i++)
        out[n++] =
            (struct http_route){rows[i].method, rows[i].path, receive, &routes[rows[i].kind], MAX_HTTP_BODY, rows[i].about};
    static const char *const metrics[][2] = {{"POST", "/v1/metrics"},
                                             {"GRPC", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"}};
    for (size_t i = 0; i < 2 && n < max; i++)
        out[n++] =
            (struct http_route){metrics[i][0], metrics[i][1], refuse_metrics, NULL, MAX_HTTP_BODY, "OTLP metrics: refused"};
    return n;
}
