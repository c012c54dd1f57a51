// The client's HTTP/2 connection, prior knowledge; each call is a stream.
#include "net/client.h"
#include <stdio.h>

enum { OUT_SOFT = 128 << 10 }; // no more is made before it is sent: the same memory, still in the cache, serves for the rest

static struct http_call *call_of(nghttp2_session *s, int32_t id)
{
    return nghttp2_session_get_stream_user_data(s, id);
}

static size_t body_size(const struct http_call *k)
{
    return k->o.head.n + k->o.body.n;
}

// ---- sending --------------------------------------------------------------------------------------------------------
static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *to, size_t n, uint32_t *flags, nghttp2_data_source *src,
                         void *arg)
{
    struct http_call *k = call_of(s, id);
    if (!k)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t done = 0;
    while (done < n && k->body_at < body_size(k)) {
        bool in_head = k->body_at < k->o.head.n;
        struct slice part = in_head ? slice_from(k->o.head, k->body_at) : slice_from(k->o.body, k->body_at - k->o.head.n);
        part = slice_cut(part, n - done);
        memcpy(to + done, part.p, part.n);
        done += part.n;
        k->body_at += part.n;
    }
    if (k->body_at == body_size(k))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)done;
}

void ch2_start(struct http_call *k)
{
    struct cconn *c = k->conn;
    char host[300], length[24];
    bool v6 = strchr(k->url.host, ':');
    snprintf(host, sizeof host, "%s%s%s:%d", v6 ? "[" : "", k->url.host, v6 ? "]" : "", k->url.port);
    size_t n = 0;
    nghttp2_nv *h = arena_alloc(&k->arena, (k->o.n_headers + 5) * sizeof *h);
    if (!h) {
        c->dead = true;
        return;
    }
    h[n++] = h2_nv(SLICE(":method"), slice_str(k->o.method));
    h[n++] = h2_nv(SLICE(":scheme"), k->url.tls ? SLICE("https") : SLICE("http"));
    h[n++] = h2_nv(SLICE(":authority"), slice_str(host));
    h[n++] = h2_nv(SLICE(":path"), k->url.path);
    for (size_t i = 0; i < k->o.n_headers; i++) {
        struct slice name = k->o.headers[i].name;
        if (!slice_eq(name, SLICE("host")) && !slice_eq(name, SLICE("connection")) && !slice_eq(name, SLICE("content-length")) &&
            !slice_eq(name, SLICE("transfer-encoding")))
            h[n++] = h2_nv(name, k->o.headers[i].value);
    }
    if (body_size(k))
        h[n++] = h2_nv(SLICE("content-length"), slice_of(length, (size_t)snprintf(length, sizeof length, "%zu", body_size(k))));
    nghttp2_data_provider from = {.read_callback = read_body};
    k->stream = nghttp2_submit_request(c->h2, NULL, h, n, body_size(k) ? &from : NULL, k);
    k->sent = true;
    if (k->stream < 0)
        c->dead = true;
}

void ch2_fill(struct cconn *c)
{
    while (c->out.n < OUT_SOFT && !c->dead) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(c->h2, &p);
        if (n < 0 || (n > 0 && !segs_put(&c->out, p, (size_t)n)))
            c->dead = true;
        if (n <= 0)
            return;
    }
}

void ch2_cancel(struct cconn *c, int32_t stream)
{
    nghttp2_session_set_stream_user_data(c->h2, stream, NULL);
    nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
}

// ---- receiving ------------------------------------------------------------------------------------------------------
static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct http_call *k = call_of(s, f->hd.stream_id);
    if (k)
        k->fields.n = k->fields.bytes = 0;
    return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *np, size_t nn, const uint8_t *vp, size_t vn,
                     uint8_t flags, void *arg)
{
    struct http_call *k = call_of(s, f->hd.stream_id);
    if (!k)
        return 0;
    k->answered = true;
    return h2_headers_add(&k->fields, &k->arena, slice_of(np, nn), slice_of(vp, vn)) == ERR_OK
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void headers_done(struct http_call *k)
{
    int64_t status = 0;
    struct h2_headers *f = &k->fields;
    if (k->head_done) {
        if (k->o.on_trailers)
            k->o.on_trailers(k, f->at, f->n, k->o.arg);
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (slice_eq(f->at[i].name, SLICE(":status")))
            slice_to_i64(f->at[i].value, &status);
        else
            f->at[kept++] = f->at[i];
    }
    f->n = kept;
    if (status < 200)
        return; // informational: the real head follows
    k->head_done = true;
    if (k->o.on_head)
        k->o.on_head(k, (int)status, f->at, f->n, k->o.arg);
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct cconn *c = arg;
    if (f->hd.type == NGHTTP2_GOAWAY) {
        c->goaway = true;
        return 0;
    }
    struct http_call *k = f->hd.stream_id ? call_of(s, f->hd.stream_id) : NULL;
    if (!k || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS)
        headers_done(k);
    k = call_of(s, f->hd.stream_id); // a callback may have cancelled it
    if (!k || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    nghttp2_session_set_stream_user_data(s, f->hd.stream_id, NULL);
    if (k->body_at < body_size(k)) // answered before the request was whole: the rest is of no use
        nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_NO_ERROR);
    c->reused = true;
    call_detach(k);
    call_finish(k, NULL);
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
    struct http_call *k = call_of(s, id);
    if (k && k->o.on_data && n)
        k->o.on_data(k, slice_of(p, n), k->o.arg);
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    struct cconn *c = arg;
    struct http_call *k = call_of(s, id);
    if (!k)
        return 0;
    nghttp2_session_set_stream_user_data(s, id, NULL);
    struct error e = {0};
    ERR(&e, NET, "%s:%d ended the stream without a whole reply (%s)", c->host, c->port, nghttp2_http2_strerror(code));
    if (code == NGHTTP2_REFUSED_STREAM) {
        c->goaway = true; // not handled at all: another connection may serve it
        c->reused = true;
    }
    call_lost(k, &e);
    return 0;
}

enum errc ch2_session(struct cconn *c)
{
    static const struct h2_callbacks calls = {on_begin_headers, on_header, on_frame, on_data, on_close};
    static const nghttp2_settings_entry set[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                 {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_WINDOW},
                                                 {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HTTP_HEAD}};
    return h2_session(&c->h2, false, &calls, set, sizeof set / sizeof *set, CLIENT_WINDOW, c);
}

void ch2_input(struct cconn *c, const char *p, size_t n)
{
    ssize_t got = nghttp2_session_mem_recv(c->h2, (const uint8_t *)p, n);
    if (got >= 0)
        return;
    struct error e = {0};
    ERR(&e, NET, "%s:%d does not speak HTTP/2 as it should: %s", c->host, c->port, nghttp2_strerror((int)got));
    cconn_lose(c, &e);
}
