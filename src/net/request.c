// The life of a request: made by a protocol, filled, dispatched to its handler, released.
#include "net/codec.h"
#include "net/server.h"

static struct sreq *req_of(const struct http_req *r)
{
    return (struct sreq *)(uintptr_t)r;
}

struct sreq *req_new(struct conn *c)
{
    struct sreq *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    arena_init(&r->arena, MAX_REQUEST_MEMORY);
    buf_init(&r->body, MAX_HTTP_IGNORED);
    r->body_max = MAX_HTTP_IGNORED;
    r->refs = 1;
    r->grpc_status = -1;
    r->moved = loop_now(c->sl->loop);
    pthread_mutex_init(&r->lock, NULL);
    r->pub.arena = &r->arena;
    r->pub.loop = c->sl->loop;
    struct slice peer = arena_dup(&r->arena, slice_str(c->peer));
    r->pub.peer = peer.p ? peer.p : "";
    r->conn = c;
    r->next = c->reqs;
    if (c->reqs)
        c->reqs->prev = r;
    c->reqs = r;
    return r;
}

static void body_release(struct sreq *r, struct http_server *s)
{
    atomic_fetch_sub(&s->bodies, r->body_counted);
    r->body_counted = 0;
}

void req_detach(struct sreq *r)
{
    struct conn *c = r->conn;
    if (!c)
        return;
    pthread_mutex_lock(&r->lock);
    r->gone = true;
    pthread_mutex_unlock(&r->lock);
    if (r->prev)
        r->prev->next = r->next;
    else
        c->reqs = r->next;
    if (r->next)
        r->next->prev = r->prev;
    segs_clear(&r->out);
    body_release(r, conn_server(c));
    r->conn = NULL;
    req_unref(r);
}

void req_unref(struct sreq *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    struct seg_queue rest = {r->first, r->last, 0};
    segs_clear(&rest);
    segs_clear(&r->out);
    buf_free(&r->body);
    arena_free(&r->arena);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

// ---- the head -------------------------------------------------------------------------------------------------------
static bool is_grpc(const struct http_req *q)
{
    struct slice t = http_req_header(q, SLICE("content-type"));
    return q->version == 20 && slice_eq(q->method, SLICE("POST")) && slice_starts(t, SLICE("application/grpc")) &&
           (t.n == 16 || t.p[16] == '+' || t.p[16] == ';');
}

// gRPC methods stand in the table under the method "GRPC", so that a plain POST to such a path finds nothing.
int req_head(struct sreq *r, struct slice target, int64_t content_length, const char **why)
{
    struct http_req *q = &r->pub;
    const char *mark = memchr(target.p, '?', target.n);
    struct slice raw = slice_cut(target, mark ? (size_t)(mark - target.p) : target.n), allow;
    q->query = mark ? slice_from(target, raw.n + 1) : SLICE("");
    r->grpc = is_grpc(q);
    r->head_only = slice_eq(q->method, SLICE("HEAD"));
    if (!percent_decode(&r->arena, raw, false, &q->path) || memchr(q->path.p, 0, q->path.n)) {
        q->path = raw;
        *why = "the path holds a bad percent escape";
        return 400;
    }
    q->route = route_find(&conn_server(r->conn)->o, r->grpc ? SLICE("GRPC") : q->method, raw, &r->arena, q->param, &allow);
    if (q->route && q->route->body_max)
        r->body_max = q->route->body_max;
    r->body.max = r->body_max + (r->grpc ? 5 : 0);
    if (!q->route && allow.n)
        http_reply_header(q, SLICE("allow"), allow);
    if (content_length > 0 && (uint64_t)content_length > r->body.max) {
        *why = "the body is larger than this path allows";
        return 413;
    }
    return 0;
}

// n more bytes of bodies are held. 0 or the status; counted either way, until body_release.
static int body_count(struct sreq *r, size_t n, const char **why)
{
    r->body_counted += n;
    if (atomic_fetch_add(&conn_server(r->conn)->bodies, n) + n <= MAX_HTTP_BODIES)
        return 0;
    *why = "too many request bodies at once, try again later";
    return 503;
}

int req_body(struct sreq *r, struct slice bytes, const char **why)
{
    if (bytes.n > r->body.max - r->body.n) {
        *why = "the body is larger than this path allows";
        return 413;
    }
    int status = body_count(r, bytes.n, why);
    if (status)
        return status;
    buf_add(&r->body, bytes);
    if (r->body.err != ERR_OK) {
        *why = "out of memory for the body";
        return 503;
    }
    return 0;
}

// ---- refusals -------------------------------------------------------------------------------------------------------
static enum grpc_status grpc_status_of(int http)
{
    switch (http) {
    case 400:
        return GRPC_INTERNAL;
    case 404:
    case 405:
    case 415:
        return GRPC_UNIMPLEMENTED;
    case 413:
    case 431:
        return GRPC_RESOURCE_EXHAUSTED;
    case 503:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

// The server's own answers close the request like a handler's: through the public calls, with the replier's reference.
void req_refuse(struct sreq *r, int status, const char *why)
{
    const struct http_server_options *o = &conn_server(r->conn)->o;
    struct http_req *q = &r->pub;
    r->refused = true;
    body_release(r, conn_server(r->conn));
    buf_free(&r->body);
    q->body = SLICE_NONE;
    atomic_fetch_add(&r->refs, 1);
    if (r->grpc)
        grpc_reply(q, grpc_status_of(status), why, SLICE_NONE);
    else if (status == 404 && o->not_found)
        o->not_found(q, o->not_found_arg);
    else if (o->refused && status != 404 && status != 405)
        o->refused(q, status, why, o->refused_arg);
    else
        http_reply_text(q, status, "%s", why);
}

static int content_coding(struct sreq *r, struct slice name, size_t max, struct slice in, const char **why)
{
    enum codec codec;
    if (!codec_from_name(name, &codec)) {
        http_reply_header(&r->pub, SLICE("accept-encoding"), SLICE("gzip, deflate, zstd"));
        *why = "the content encoding is unknown; gzip, deflate and zstd are understood";
        return 415;
    }
    // snappy is a Loki push without a frame: its decoder knows what to expect
    if (codec == CODEC_NONE || codec == CODEC_SNAPPY || !in.n) {
        r->pub.body = in;
        return 0;
    }
    struct buf plain;
    struct error err = {0};
    buf_init(&plain, max);
    enum errc rc = codec_decode(codec, in, max, &plain, &err);
    if (rc != ERR_OK) {
        buf_free(&plain);
        struct slice text = arena_dup(&r->arena, slice_str(err.msg));
        *why = text.p ? text.p : "the body cannot be decoded";
        return rc == ERR_LIMIT ? 413 : rc == ERR_NOMEM ? 503 : 400;
    }
    buf_free(&r->body);
    r->body = plain;
    r->pub.body = buf_slice(&r->body);
    body_release(r, conn_server(r->conn));
    return body_count(r, plain.n, why);
}

// One length-prefixed message: flag, 4 bytes length, bytes (gRPC over HTTP/2, "Requests").
static int grpc_unframe(struct sreq *r, const char **why)
{
    struct slice in = buf_slice(&r->body);
    const uint8_t *h = (const uint8_t *)in.p;
    if (in.n < 5 || ((size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4]) != in.n - 5 || h[0] > 1) {
        *why = "the request must be exactly one length-prefixed gRPC message";
        return 400;
    }
    struct slice coding = http_req_header(&r->pub, SLICE("grpc-encoding")), message = slice_from(in, 5);
    if (!h[0]) {
        r->pub.body = message;
        return 0;
    }
    if (!slice_eq(coding, SLICE("gzip"))) {
        http_reply_header(&r->pub, SLICE("grpc-accept-encoding"), SLICE("identity,gzip"));
        *why = "the grpc-encoding is unknown; gzip is understood";
        return 415;
    }
    return content_coding(r, coding, r->body_max, message, why);
}

void req_dispatch(struct sreq *r)
{
    struct http_req *q = &r->pub;
    const char *why = NULL;
    int status = 0;
    if (!q->route) {
        bool wrong_method = r->n_reply > 0; // only Allow is there yet
        req_refuse(r, wrong_method ? 405 : 404,
                   r->grpc        ? "there is no such gRPC method"
                   : wrong_method ? "the path does not answer this method"
                                  : "there is nothing at this path");
        return;
    }
    if (!q->route->body_max && !r->grpc)
        q->body = SLICE("");
    else if (r->grpc)
        status = grpc_unframe(r, &why);
    else
        status = content_coding(r, http_req_header(q, SLICE("content-encoding")), r->body_max, buf_slice(&r->body), &why);
    if (status) {
        req_refuse(r, status, why);
        return;
    }
    if (!q->body.p)
        q->body = SLICE("");
    atomic_fetch_add(&r->refs, 1);
    q->route->fn(q, q->route->arg);
}

// ---- what a handler reads -------------------------------------------------------------------------------------------
static const struct http_header *find(const struct http_req *r, struct slice name)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (slice_eq(r->headers[i].name, name))
            return &r->headers[i];
    }
    return NULL;
}

struct slice http_req_header(const struct http_req *r, struct slice name)
{
    const struct http_header *h = find(r, name);
    return h ? h->value : SLICE("");
}

bool http_req_has_header(const struct http_req *r, struct slice name)
{
    return find(r, name);
}

bool http_req_gone(const struct http_req *r)
{
    return req_of(r)->gone || req_of(r)->half_closed;
}

// A weight of 0 refuses: "q=0", "q=0.000".
static bool refused_by_weight(struct slice weight)
{
    if (!slice_ieq(slice_cut(weight, 2), SLICE("q=")))
        return false;
    for (size_t i = 2; i < weight.n; i++) {
        if (weight.p[i] != '0' && weight.p[i] != '.')
            return false;
    }
    return true;
}

bool http_req_accepts_gzip(const struct http_req *r)
{
    struct slice list = http_req_header(r, SLICE("accept-encoding")), part, word;
    bool any = false;
    while (slice_split(&list, ',', &part)) {
        if (!slice_split(&part, ';', &word))
            continue;
        word = slice_trim(word);
        if (slice_ieq(word, SLICE("gzip")) || slice_ieq(word, SLICE("x-gzip")))
            return !refused_by_weight(slice_trim(part));
        if (slice_eq(word, SLICE("*")))
            any = !refused_by_weight(slice_trim(part));
    }
    return any;
}

// A bad escape is kept as it was written: the handler will say what is wrong with the value.
static struct slice param_text(struct arena *a, struct slice raw)
{
    struct slice out;
    return percent_decode(a, raw, true, &out) ? out : raw;
}

static void params_add(struct sreq *r, struct slice text)
{
    for (struct slice part; slice_split(&text, '&', &part);) {
        if (!part.n)
            continue;
        if (r->n_params == r->cap_params) {
            size_t size = sizeof *r->params, cap = r->cap_params ? r->cap_params * 2 : 16;
            struct http_header *more = arena_grow(&r->arena, r->params, r->n_params * size, cap * size);
            if (!more)
                return;
            r->params = more;
            r->cap_params = cap;
        }
        const char *eq = memchr(part.p, '=', part.n);
        struct slice name = slice_cut(part, eq ? (size_t)(eq - part.p) : part.n);
        struct slice value = eq ? slice_from(part, name.n + 1) : SLICE("");
        r->params[r->n_params++] = (struct http_header){param_text(&r->arena, name), param_text(&r->arena, value)};
    }
}

static void params_read(struct sreq *r)
{
    if (r->params_done)
        return;
    r->params_done = true;
    params_add(r, r->pub.query);
    struct slice type = http_req_header(&r->pub, SLICE("content-type"));
    struct slice form = SLICE("application/x-www-form-urlencoded");
    if (slice_eq(r->pub.method, SLICE("POST")) && slice_ieq(slice_cut(type, form.n), form))
        params_add(r, r->pub.body);
}

bool http_req_param(struct http_req *q, struct slice name, int nth, struct slice *out)
{
    struct sreq *r = req_of(q);
    params_read(r);
    for (size_t i = 0; i < r->n_params; i++) {
        if (slice_eq(r->params[i].name, name) && nth-- == 0) {
            *out = r->params[i].value;
            return true;
        }
    }
    return false;
}

bool http_req_param_at(struct http_req *q, int k, struct slice *name, struct slice *out)
{
    struct sreq *r = req_of(q);
    params_read(r);
    if (k < 0 || (size_t)k >= r->n_params)
        return false;
    *name = r->params[k].name;
    *out = r->params[k].value;
    return true;
}
