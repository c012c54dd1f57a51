// The server's HTTP/1 connection: one request at a time, in order; further pipelined bytes wait in c->in.
#include "net/server.h"
#include <stdio.h>

enum { COPY_BODY_BELOW = 4096 };

static void put(struct conn *c, struct slice s)
{
    if (!segs_put(&c->out, s.p, s.n))
        conn_done(c);
}

// The reply is queued whole: make ready for the next request, or for the end.
static void finish(struct sreq *r)
{
    struct conn *c = r->conn;
    req_detach(r);
    c->since = 0;
    if (c->unread) {
        c->state = H1_LINGER;
        c->since = loop_now(c->sl->loop);
    } else if (!c->keep_alive || c->eof || c->sl->stopping) {
        c->closing = true;
    } else {
        c->state = H1_HEAD;
        c->scan = (struct h1_scan){0};
    }
}

// Answers without having read the rest of the request: the connection cannot be used again.
static void refuse(struct sreq *r, int status, const char *why, bool unread)
{
    struct conn *c = r->conn;
    c->keep_alive = false;
    c->unread = unread;
    c->state = H1_WAIT;
    if (status == 413 && !r->pub.route)
        req_dispatch(r); // there is nothing at this path: that is the better answer
    else
        req_refuse(r, status, why);
}

static void complete(struct sreq *r)
{
    r->conn->state = H1_WAIT;
    req_dispatch(r);
}

static bool copy_headers(struct sreq *r, const struct h1_head *h)
{
    struct http_header *to = arena_alloc(&r->arena, h->n_headers * sizeof *to);
    if (!to)
        return false;
    if (h->n_headers)
        memcpy(to, h->headers, h->n_headers * sizeof *to);
    r->pub.headers = to;
    r->pub.n_headers = h->n_headers;
    return true;
}

static void begin(struct conn *c, const char *text, size_t n)
{
    struct http_header store[MAX_HTTP_HEADERS];
    struct h1_head h = {.headers = store};
    struct sreq *r = req_new(c);
    struct slice copy = r ? arena_dup(&r->arena, slice_of(text, n)) : SLICE_NONE;
    if (!copy.p) {
        conn_done(c);
        return;
    }
    int status = h1_parse_request((char *)copy.p, n, &h);
    const char *why = h.why;
    r->pub.version = h.version ? h.version : 11;
    r->pub.path = r->pub.query = SLICE("");
    c->keep_alive = h.keep_alive;
    c->since = 0;
    if (status || !copy_headers(r, &h)) {
        refuse(r, status ? status : 503, status ? why : "out of memory", true);
        return;
    }
    r->pub.method = h.method;
    status = req_head(r, h.target, h.content_length, &why);
    if (status) {
        refuse(r, status, why, h.chunked || h.content_length > 0);
    } else if (h.chunked || h.content_length > 0) {
        c->state = h.chunked ? H1_CHUNKED : H1_LENGTH;
        c->chunks = (struct h1_chunks){0};
        c->left = h.chunked ? 0 : (uint64_t)h.content_length;
        r->want_continue = h.expect_continue;
        if (!h.chunked)
            buf_reserve(&r->body, c->left < KIB(256) ? (size_t)c->left : KIB(256));
    } else {
        complete(r);
    }
}

static size_t take_length(struct conn *c, struct slice in)
{
    const char *why = NULL;
    struct sreq *r = c->reqs;
    struct slice piece = slice_cut(in, c->left < in.n ? (size_t)c->left : in.n);
    c->left -= piece.n;
    int status = req_body(r, piece, &why);
    if (status)
        refuse(r, status, why, c->left > 0);
    else if (!c->left)
        complete(r);
    return piece.n;
}

static size_t take_chunks(struct conn *c, struct slice in)
{
    const char *why = NULL;
    struct sreq *r = c->reqs;
    struct slice rest = in, piece;
    for (;;) {
        enum h1_result got = h1_chunks_next(&c->chunks, &rest, &piece);
        int status = got == H1_BAD ? 400 : got == H1_DATA ? req_body(r, piece, &why) : 0;
        if (status) {
            refuse(r, status, got == H1_BAD ? c->chunks.why : why, true);
            return in.n - rest.n;
        }
        if (got == H1_DONE)
            complete(r);
        if (got != H1_DATA)
            return in.n - rest.n;
    }
}

// The head while it arrives. Returns what was consumed; 0 to wait for more.
static size_t take_head(struct conn *c, struct slice in)
{
    size_t head = 0;
    switch (h1_scan(&c->scan, in.p, in.n, &head)) {
    case H1_DONE:
        begin(c, in.p, head);
        return head;
    case H1_MORE:
        if (!c->since)
            c->since = loop_now(c->sl->loop);
        return 0;
    default:
        break;
    }
    struct sreq *r = req_new(c);
    if (!r) {
        conn_done(c);
        return in.n;
    }
    r->pub.version = 11;
    r->pub.method = r->pub.path = r->pub.query = SLICE("");
    refuse(r, c->scan.status, c->scan.why, true);
    return in.n;
}

size_t h1_input(struct conn *c, const char *p, size_t n)
{
    size_t at = 0, took = 1;
    while (!c->dead && !c->closing && at < n && took) {
        struct slice in = slice_of(p + at, n - at);
        switch (c->state) {
        case H1_HEAD: // a client that does not read its replies gets no further ones
            took = c->out.n > SERVER_OUT_SOFT || c->sl->stopping ? 0 : take_head(c, in);
            break;
        case H1_LENGTH:
            took = take_length(c, in);
            break;
        case H1_CHUNKED:
            took = take_chunks(c, in);
            break;
        default: // H1_WAIT, H1_LINGER
            took = c->unread ? in.n : 0;
            c->lingered += took;
            if (c->lingered > MAX_HTTP_LINGER)
                conn_done(c);
        }
        at += took;
    }
    if ((c->state == H1_LENGTH || c->state == H1_CHUNKED) && c->reqs && c->reqs->want_continue) {
        c->reqs->want_continue = false;
        if (c->reqs->body.n == 0) // the client waits before it sends the body
            put(c, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    return c->closing ? n : at;
}

void h1_eof(struct conn *c)
{
    if (c->state == H1_WAIT && c->reqs)
        c->reqs->half_closed = true;
    else
        c->closing = true;
}

void h1_timeout(struct conn *c)
{
    put(c, SLICE("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
    while (c->reqs)
        req_detach(c->reqs);
    c->closing = true;
    conn_kick(c);
}

// ---- replies --------------------------------------------------------------------------------------------------------
static void put_header(struct conn *c, struct slice name, struct slice value)
{
    put(c, name);
    put(c, SLICE(": "));
    put(c, value);
    put(c, SLICE("\r\n"));
}

static void put_head(struct sreq *r, int status, int64_t length)
{
    struct conn *c = r->conn;
    char line[128];
    int n = snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\ndate: %s\r\n", status, http_status_text(status), http_date());
    put(c, slice_of(line, (size_t)n));
    for (size_t i = 0; i < r->n_reply; i++)
        put_header(c, r->reply[i].name, r->reply[i].value);
    if (length >= 0 && status != 204 && status != 304) { // 304: that of the reply with a body, or none
        n = snprintf(line, sizeof line, "content-length: %lld\r\n", (long long)length);
        put(c, slice_of(line, (size_t)n));
    } else if (r->chunked) {
        put(c, SLICE("transfer-encoding: chunked\r\n"));
    }
    if (c->sl->stopping || c->eof)
        c->keep_alive = false;
    if (!c->keep_alive)
        put(c, SLICE("connection: close\r\n"));
    else if (r->pub.version == 10)
        put(c, SLICE("connection: keep-alive\r\n"));
    put(c, SLICE("\r\n"));
}

static void apply_reply(struct sreq *r, struct seg *s)
{
    struct conn *c = r->conn;
    put_head(r, s->status, (int64_t)s->n);
    if (r->head_only || s->status == 204 || s->status == 304) {
        seg_free(s);
    } else if (s->n < COPY_BODY_BELOW) {
        put(c, slice_of(s->data, s->n));
        seg_free(s);
    } else {
        segs_push(&c->out, s);
    }
    finish(r);
}

static void apply_data(struct sreq *r, struct seg *s)
{
    struct conn *c = r->conn;
    char line[32];
    if (r->head_only || !r->streaming) {
        seg_free(s);
        return;
    }
    if (c->out.n + s->n > MAX_HTTP_PENDING) { // the client does not keep up: the stream is cut
        seg_free(s);
        conn_done(c);
        return;
    }
    if (r->chunked)
        put(c, slice_of(line, (size_t)snprintf(line, sizeof line, "%zx\r\n", s->n)));
    segs_push(&c->out, s);
    if (r->chunked)
        put(c, SLICE("\r\n"));
    r->unsent = c->out.n;
}

void h1_apply(struct sreq *r, struct seg *s)
{
    switch (s->kind) {
    case SEG_DATA:
        apply_data(r, s);
        return;
    case SEG_BEGIN:
        r->streaming = true;
        r->chunked = r->pub.version == 11;
        if (!r->chunked)
            r->conn->keep_alive = false;
        put_head(r, s->status, -1);
        break;
    case SEG_END:
        if (r->chunked && !r->head_only)
            put(r->conn, SLICE("0\r\n\r\n"));
        finish(r);
        break;
    default: // SEG_REPLY; gRPC does not come over HTTP/1
        apply_reply(r, s);
        return;
    }
    seg_free(s);
}
