// gRPC unary calls, blocking, on an HTTP session.
#include "base/json.h"
#include "base/pb.h"
#include "net/client.h"
#include "net/codec.h"
#include <stdio.h>

enum { GRPC_HEAD = 5, GRPC_OWN_HEADERS = 6 };

void grpc_answer_free(struct grpc_answer *a)
{
    buf_free(&a->body);
    *a = (struct grpc_answer){.retry_after_ns = -1};
}

struct state {
    struct grpc_answer *out;
    struct error *err;
    struct arena arena;
    struct buf raw;
    enum errc rc;
    int http_status;
    bool done, stopped, gzip, has_status;
};

static void message_text(struct state *s, struct slice v)
{
    struct slice text;
    if (!percent_decode(&s->arena, v, false, &text))
        text = v;
    snprintf(s->out->message, sizeof s->out->message, "%.*s", (int)text.n, text.p);
}

// google.rpc.Status, whose details (3) are Any {type_url 1, value 2}; a RetryInfo holds a Duration {seconds 1, nanos 2}.
static void retry_info(struct pb *any, struct grpc_answer *out)
{
    struct slice type = SLICE_NONE, value = SLICE_NONE;
    struct pb info, delay;
    uint64_t seconds = 0, nanos = 0;
    while (pb_next(any)) {
        if (any->field == 1)
            pb_bytes(any, &type);
        else if (any->field == 2)
            pb_bytes(any, &value);
        else
            pb_skip(any);
    }
    if (any->failed || slice_find(type, SLICE("google.rpc.RetryInfo")) < 0)
        return;
    out->retry_after_ns = 0;
    pb_init(&info, value, NULL);
    while (pb_next(&info)) {
        if (info.field != 1 || !pb_message(&info, &delay)) {
            pb_skip(&info);
            continue;
        }
        while (pb_next(&delay)) {
            if (delay.field == 1)
                pb_u64(&delay, &seconds);
            else if (delay.field == 2)
                pb_u64(&delay, &nanos);
            else
                pb_skip(&delay);
        }
    }
    if (seconds < 1000000 && nanos < 1000000000)
        out->retry_after_ns = (int64_t)(seconds * 1000000000 + nanos);
}

static void status_details(struct state *s, struct slice base64)
{
    struct slice bytes;
    struct pb r, any;
    if (!base64_decode(&s->arena, base64, &bytes))
        return;
    pb_init(&r, bytes, NULL);
    while (pb_next(&r)) {
        if (r.field == 3 && pb_message(&r, &any))
            retry_info(&any, s->out);
        else if (r.field != 3)
            pb_skip(&r);
    }
}

static void on_fields(struct http_call *k, const struct http_header *h, size_t n, void *arg)
{
    struct state *s = arg;
    int64_t code;
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(h[i].name, SLICE("grpc-status"))) {
            s->has_status = true;
            s->out->status = slice_to_i64(h[i].value, &code) && code >= 0 && code <= 16 ? (int)code : GRPC_UNKNOWN;
        } else if (slice_eq(h[i].name, SLICE("grpc-message"))) {
            message_text(s, h[i].value);
        } else if (slice_eq(h[i].name, SLICE("grpc-status-details-bin"))) {
            status_details(s, h[i].value);
        } else if (slice_eq(h[i].name, SLICE("grpc-encoding"))) {
            s->gzip = slice_eq(h[i].value, SLICE("gzip"));
        }
    }
}

static void on_head(struct http_call *k, int status, const struct http_header *h, size_t n, void *arg)
{
    struct state *s = arg;
    s->http_status = status;
    on_fields(k, h, n, arg);
}

static void on_data(struct http_call *k, struct slice bytes, void *arg)
{
    struct state *s = arg;
    buf_add(&s->raw, bytes);
    if (s->raw.err == ERR_OK)
        return;
    s->stopped = true;
    s->rc = ERR(s->err, LIMIT, "the gRPC reply is larger than %zu bytes", s->raw.max);
    http_call_cancel(k);
}

static void on_done(struct http_call *k, bool ok, const struct error *why, void *arg)
{
    struct state *s = arg;
    s->done = true;
    if (ok || s->stopped)
        return;
    s->rc = why->code;
    if (s->err && s->err->code == ERR_OK)
        *s->err = *why;
}

// What a proxy's HTTP status means (gRPC, "HTTP to gRPC Status Code Mapping").
static int from_http(int status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return 16; // UNAUTHENTICATED
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static enum errc finish(struct state *s, const char *url, struct error *err)
{
    struct grpc_answer *a = s->out;
    a->http_status = s->http_status;
    if (s->http_status != 200) {
        a->status = from_http(s->http_status);
        snprintf(a->message, sizeof a->message, "HTTP status %d", s->http_status);
        return ERR_OK;
    }
    if (!s->has_status)
        return ERR(err, NET, "%s replied without a grpc-status: is this a gRPC server?", url);
    if (a->status != GRPC_OK)
        return ERR_OK;
    struct slice in = buf_slice(&s->raw);
    const uint8_t *h = (const uint8_t *)in.p;
    if (in.n < GRPC_HEAD || ((size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4]) != in.n - GRPC_HEAD)
        return ERR(err, NET, "%s replied with something else than one gRPC message", url);
    in = slice_from(in, GRPC_HEAD);
    if (h[0] && !s->gzip)
        return ERR(err, UNSUPPORTED, "%s replied in an encoding that was not offered", url);
    if (h[0])
        return codec_gunzip(in, a->body.max, &a->body, err);
    buf_add(&a->body, in);
    return a->body.err;
}

// The message as it is sent, behind its head. gzip: what is wanted; becomes false where gzip is not at hand.
static enum errc frame(uint8_t head[GRPC_HEAD], struct buf *packed, struct slice *message, bool *gzip, struct error *err)
{
    enum errc rc = *gzip ? codec_gzip(*message, packed) : ERR_UNSUPPORTED;
    *gzip = rc == ERR_OK;
    if ((rc != ERR_OK && rc != ERR_UNSUPPORTED) || packed->err != ERR_OK)
        return ERR(err, NOMEM, "no memory for a gRPC message of %zu bytes", message->n);
    if (*gzip)
        *message = buf_slice(packed);
    head[0] = *gzip;
    for (int i = 1; i < GRPC_HEAD; i++)
        head[i] = (uint8_t)(message->n >> (32 - 8 * i));
    return ERR_OK;
}

static enum errc run(struct http_session *session, const struct grpc_request *r, struct slice head, struct slice message,
                     bool gzip, struct state *s, struct error *err)
{
    char timeout[32];
    int64_t timeout_ns = r->timeout_ns > 0 ? r->timeout_ns : CLIENT_TIMEOUT_NS;
    snprintf(timeout, sizeof timeout, "%lldm", (long long)(timeout_ns / 1000000 + 1));
    size_t base = strlen(r->url);
    while (base && r->url[base - 1] == '/')
        base--;
    struct slice whole = arena_printf(&s->arena, "%.*s%s", (int)base, r->url, r->path);
    struct http_header *h = ARENA_ARRAY(&s->arena, struct http_header, r->n_metadata + GRPC_OWN_HEADERS);
    if (!whole.p || !h)
        return ERR(err, NOMEM, "no memory for a gRPC call");
    size_t k = 0;
    h[k++] = (struct http_header){SLICE("content-type"), SLICE("application/grpc")};
    h[k++] = (struct http_header){SLICE("te"), SLICE("trailers")};
    h[k++] = (struct http_header){SLICE("grpc-accept-encoding"), gzip ? SLICE("identity,gzip") : SLICE("identity")};
    h[k++] = (struct http_header){SLICE("grpc-timeout"), slice_str(timeout)};
    h[k++] = (struct http_header){SLICE("user-agent"), SLICE("sonde/" SONDE_VERSION)};
    if (gzip)
        h[k++] = (struct http_header){SLICE("grpc-encoding"), SLICE("gzip")};
    if (r->n_metadata)
        memcpy(h + k, r->metadata, r->n_metadata * sizeof *h);
    struct http_call_options o = {.method = "POST", .url = whole.p, .headers = h, .n_headers = k + r->n_metadata};
    o.head = head;
    o.body = message;
    o.timeout_ns = timeout_ns;
    o.http2 = true;
    o.on_head = on_head;
    o.on_data = on_data;
    o.on_trailers = on_fields;
    o.on_done = on_done;
    o.arg = s;
    TRY(session_run(session, &o, &s->done, err));
    TRY(s->rc);
    return finish(s, r->url, err);
}

enum errc grpc_send(struct http_session *session, const struct grpc_request *r, struct grpc_answer *out, struct error *err)
{
    struct http_session *own = session ? NULL : http_session_new();
    struct state s = {.out = out, .err = err};
    struct slice message = r->message;
    struct buf packed;
    enum errc rc;
    uint8_t head[GRPC_HEAD];
    bool gzip = r->gzip;
    size_t reply_max = r->reply_max ? r->reply_max : MAX_HTTP_REPLY;
    *out = (struct grpc_answer){.retry_after_ns = -1};
    buf_init(&out->body, reply_max);
    buf_init(&packed, message.n + CODEC_SLACK);
    buf_init(&s.raw, reply_max + GRPC_HEAD);
    arena_init(&s.arena, MAX_REPLY_HEAD);
    if (!session && !own) {
        rc = ERR(err, NOMEM, "no memory for a connection to %s", r->url);
        goto out;
    }
    GO(frame(head, &packed, &message, &gzip, err));
    rc = run(session ? session : own, r, slice_of((const char *)head, sizeof head), message, gzip, &s, err);
out:
    if (rc != ERR_OK)
        grpc_answer_free(out);
    http_session_free(own);
    buf_free(&packed);
    buf_free(&s.raw);
    arena_free(&s.arena);
    return rc;
}

enum errc grpc_fetch(struct http_session *session, const char *url, const char *path, const struct http_header *metadata,
                     size_t n, struct slice message, bool gzip, int64_t timeout_ns, struct grpc_answer *out, struct error *err)
{
    const struct grpc_request r = {.url = url,
                                   .path = path,
                                   .metadata = metadata,
                                   .n_metadata = n,
                                   .message = message,
                                   .gzip = gzip,
                                   .timeout_ns = timeout_ns};
    return grpc_send(session, &r, out, err);
}
