// Receivers: OTLP (HTTP protobuf and JSON, gRPC), Loki push, Prometheus' remote write. All go one way: decode, append, answer
// when the write-ahead log has it on disk. Wire formats differ in the content type they take and in the shape of the answer; that
// is the table below.
#include "serve/receive.h"
#include "base/clock.h"
#include "base/limits.h"
#include "serve/delta.h"

#include <inttypes.h>
#include <stdio.h>

static const struct receive_kind kinds[] = {
    {RECEIVER_OTLP_LOGS, WIRE_OTLP_LOGS_PB, WIRE_OTLP_LOGS_JSON, false, ANSWER_OTLP, "rejectedLogRecords"},
    {RECEIVER_OTLP_TRACES, WIRE_OTLP_TRACES_PB, WIRE_OTLP_TRACES_JSON, false, ANSWER_OTLP, "rejectedSpans"},
    {RECEIVER_OTLP_LOGS, WIRE_OTLP_LOGS_PB, WIRE_OTLP_LOGS_JSON, true, ANSWER_OTLP, "rejectedLogRecords"},
    {RECEIVER_OTLP_TRACES, WIRE_OTLP_TRACES_PB, WIRE_OTLP_TRACES_JSON, true, ANSWER_OTLP, "rejectedSpans"},
    {RECEIVER_LOKI, WIRE_LOKI_PB, WIRE_LOKI_JSON, false, ANSWER_LOKI, NULL},
    {RECEIVER_OTLP_METRICS, WIRE_OTLP_METRICS_PB, WIRE_OTLP_METRICS_JSON, false, ANSWER_OTLP, "rejectedDataPoints"},
    {RECEIVER_OTLP_METRICS, WIRE_OTLP_METRICS_PB, WIRE_OTLP_METRICS_JSON, true, ANSWER_OTLP, "rejectedDataPoints"},
    {RECEIVER_WRITE, WIRE_WRITE1, 0, false, ANSWER_WRITE, NULL},
    {RECEIVER_TEXT, WIRE_METRICS_TEXT, 0, false, ANSWER_WRITE, NULL},
};

#define CLOCK_SKEW_NS 60000000000ll // of senders: before the server's start by their clock is before it in truth

// ---- the way in -----------------------------------------------------------------------------------------------------

static void finish(struct receive *r, const struct error *err)
{
    atomic_fetch_sub(&r->route->server->inflight, r->bytes);
    if (err->code == ERR_OK)
        receive_answer_ok(r);
    else
        receive_answer_error(r, err);
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

// application/x-protobuf;proto=io.prometheus.write.v2.Request, and without proto the first version.
static enum wire_format choose_write(struct slice type)
{
    struct slice rest = type, part, key;
    enum wire_format f = WIRE_WRITE1;
    if (type.n && !media_is(type, SLICE("application/x-protobuf")))
        return 0;
    while (slice_split(&rest, ';', &part)) {
        struct slice value = slice_trim(part);
        if (!slice_split(&value, '=', &key) || !slice_ieq(slice_trim(key), SLICE("proto")))
            continue;
        value = value.p ? slice_trim(value) : SLICE("");
        if (value.n > 1 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = slice_of(value.p + 1, value.n - 2);
        if (slice_eq(value, SLICE("io.prometheus.write.v2.Request")))
            f = WIRE_WRITE2;
        else
            f = slice_eq(value, SLICE("prometheus.WriteRequest")) ? WIRE_WRITE1 : 0;
    }
    return f;
}

// Which of the route's formats the content type names; 0 if none.
static enum wire_format choose_format(struct receive *r)
{
    struct slice type = http_req_header(r->req, SLICE("content-type"));
    const struct receive_kind *k = r->route->kind;
    if (k->grpc || k->receiver == RECEIVER_TEXT)
        return k->protobuf;
    r->json = k->json && media_is(type, SLICE("application/json"));
    if (r->json)
        return k->json;
    if (k->answer == ANSWER_WRITE)
        return choose_write(type);
    if (media_is(type, SLICE("application/x-protobuf")) || media_is(type, SLICE("application/protobuf")))
        return k->protobuf;
    return k->receiver == RECEIVER_LOKI && type.n == 0 ? k->protobuf : 0;
}

// Loki's protobuf body and remote write's are a snappy block. Under another content coding (zstd, gzip) the server has unpacked a
// remote write already.
static enum errc unsnappy(struct receive *r, struct slice *body, struct error *err)
{
    struct slice coding = http_req_header(r->req, SLICE("content-encoding"));
    struct buf raw;
    if (r->route->kind->answer == ANSWER_WRITE && coding.n && !slice_ieq(slice_trim(coding), SLICE("snappy")))
        return ERR_OK;
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

// What the log keeps must decode to the same rows whenever it is read, and running totals are not in the request: the request is
// written anew with them.
static enum errc make_cumulative(struct receive *r, struct slice tenant, const struct wire_options *opt, struct batch **batch,
                                 struct slice *body, struct error *err)
{
    struct wire_report again;
    struct buf out;
    const struct server *s = r->route->server;
    buf_init(&out, MAX_WAL_RECORD);
    delta_recall(s->delta, s->store, tenant, *batch, s->started_ns + CLOCK_SKEW_NS);
    delta_apply(s->delta, tenant, *batch, &r->report);
    enum errc rc = write2_encode(*batch, &out);
    batch_unref(*batch);
    *batch = NULL;
    struct slice copy = rc == ERR_OK ? arena_dup(r->req->arena, buf_slice(&out)) : SLICE_NONE;
    buf_free(&out);
    if (!copy.p)
        return ERR(err, LIMIT, "no memory to make a request of %zu bytes cumulative; send less at once", body->n);
    *body = copy;
    return wire_decode(WIRE_WRITE2, *body, true, opt, batch, &again, err);
}

static enum errc receive_into(struct receive *r, struct error *err)
{
    struct server *s = r->route->server;
    enum wire_format f = choose_format(r);
    struct slice tenant, body = r->req->body;
    r->format = f;
    if (!f) {
        struct slice type = http_req_header(r->req, SLICE("content-type"));
        return ERR(
            err, UNSUPPORTED, "content-type \"%.*s\" is not accepted here: send application/x-protobuf%s", (int)type.n, type.p,
            r->route->kind->json ? " or application/json" : ", of prometheus.WriteRequest or io.prometheus.write.v2.Request");
    }
    TRY(server_tenant(r->req, &tenant, err));
    if (f == WIRE_LOKI_PB || f == WIRE_WRITE1 || f == WIRE_WRITE2)
        TRY(unsnappy(r, &body, err));
    atomic_fetch_add(&receive_stats(r)->bytes, body.n);
    struct wire_options opt = {.received_ns = clock_wall_ns(), .discover_service = s->settings->discover_service};
    struct batch *batch = NULL;
    // The batch refers to the body, which lives until the answer; store_append makes it independent.
    TRY(wire_decode(f, body, true, &opt, &batch, &r->report, err));
    if (batch->field[FIELD_FLAGS] && batch->signal == SIGNAL_SAMPLE) {
        f = WIRE_WRITE2;
        TRY(make_cumulative(r, tenant, &opt, &batch, &body, err));
    }
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
    atomic_fetch_add(&receive_stats(r)->requests, 1);
    uint64_t before = atomic_fetch_add(&s->inflight, r->bytes);
    if (before + r->bytes > (uint64_t)s->settings->inflight_bytes && before > 0)
        ERR(&err, FULL, "%" PRIu64 " bytes are waiting to be written already; try again in a second", before);
    else if (receive_into(r, &err) == ERR_OK)
        return; // the log's thread answers
    if (err.code == ERR_UNSUPPORTED && !route->kind->grpc) {
        atomic_fetch_sub(&s->inflight, r->bytes);
        atomic_fetch_add(&receive_stats(r)->failed, 1);
        http_reply_text(req, 415, "%s", err.msg);
        return;
    }
    finish(r, &err);
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
        {"POST", "/v1/metrics", 5, "OTLP metrics, protobuf or JSON"},
        {"POST", "/otlp/v1/metrics", 5, "OTLP metrics, beside Loki's path for logs"},
        {"POST", "/api/v1/otlp/v1/metrics", 5, "OTLP metrics, Prometheus' path"},
        {"GRPC", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", 6, "OTLP metrics over gRPC"},
        {"POST", "/api/v1/write", 7, "Prometheus remote write 1.0 and 2.0"},
        {"POST", "/api/v1/import/prometheus", 8, "a page of metrics, Prometheus text or OpenMetrics"},
    };
    static struct receive_route routes[sizeof kinds / sizeof *kinds];
    size_t n = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        routes[i] = (struct receive_route){s, &kinds[i]};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && n < max; i++)
        out[n++] =
            (struct http_route){rows[i].method, rows[i].path, receive, &routes[rows[i].kind], MAX_HTTP_BODY, rows[i].about};
    return n;
}
