// The server's HTTP/2 connection: nghttp2 does frames, flow control and header compression; a stream is a request.
#include "net/h2.h"
#include "net/server.h"
#include <stdio.h>

// ---- receiving ------------------------------------------------------------------------------------------------------
static struct sreq *stream_of(nghttp2_session *s, int32_t id)
{
    return nghttp2_session_get_stream_user_data(s, id);
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct conn *c = arg;
    if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct sreq *r = req_new(c);
    if (!r)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    r->pub.version = 20;
    r->pub.method = r->pub.path = r->pub.query = SLICE("");
    r->stream = f->hd.stream_id;
    nghttp2_session_set_stream_user_data(s, r->stream, r);
    return 0;
}

static void add_header(struct sreq *r, struct slice name, struct slice value)
{
    enum errc rc = h2_headers_add(&r->fields, &r->arena, name, value);
    if (rc != ERR_OK)
        r->head_status = rc == ERR_LIMIT ? 431 : 503;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *np, size_t nn, const uint8_t *vp, size_t vn,
                     uint8_t flags, void *arg)
{
    struct sreq *r = stream_of(s, f->hd.stream_id);
    struct slice name = slice_of(np, nn), value = slice_of(vp, vn);
    if (!r || r->head_status || f->headers.cat != NGHTTP2_HCAT_REQUEST) // trailers of a request are of no use here
        return 0;
    if (slice_eq(name, SLICE(":method"))) {
        r->pub.method = arena_dup(&r->arena, value);
    } else if (slice_eq(name, SLICE(":path"))) {
        if (value.n > MAX_HTTP_TARGET)
            r->head_status = 414;
        else
            r->target = arena_dup(&r->arena, value);
    } else if (slice_eq(name, SLICE(":authority"))) {
        add_header(r, SLICE("host"), value);
    } else if (nn && np[0] != ':') {
        add_header(r, name, value);
    }
    return 0;
}

static int64_t content_length(const struct http_req *q)
{
    int64_t n;
    return slice_to_i64(http_req_header(q, SLICE("content-length")), &n) ? n : -1;
}

static void head_done(struct sreq *r)
{
    const char *why = NULL;
    r->pub.headers = r->fields.at;
    r->pub.n_headers = r->fields.n;
    int status = r->head_status;
    if (status == 0 && (!r->target.n || (r->target.p[0] != '/' && !slice_eq(r->target, SLICE("*"))))) {
        status = 400;
        why = "the request target must begin with '/'";
    }
    if (status == 0)
        status = req_head(r, r->target, content_length(&r->pub), &why);
    if (status == 413 && !r->pub.route)
        req_dispatch(r); // there is nothing at this path: that is the better answer
    else if (status)
        req_refuse(r, status, why ? why : status == 414 ? "the path is longer than 32 KiB" : "the headers are too large");
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct conn *c = arg;
    if (f->hd.type == NGHTTP2_GOAWAY)
        return 0; // the client opens no more streams; those that run are served
    if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
        return 0;
    struct sreq *r = stream_of(s, f->hd.stream_id);
    if (!r)
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
        head_done(r);
        r = stream_of(s, f->hd.stream_id);
    }
    if (r && !r->refused && (f->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        r->refused = true; // whatever still comes is not for the body
        req_dispatch(r);
    }
    (void)c;
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
    struct sreq *r = stream_of(s, id);
    const char *why = NULL;
    if (!r)
        return 0;
    r->moved = loop_now(r->pub.loop);
    if (r->refused) { // the answer is under way; read on for a while so that the client sees it
        r->discarded += n;
        if (r->discarded > MAX_HTTP_LINGER)
            nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
        return 0;
    }
    int status = req_body(r, slice_of(p, n), &why);
    if (status)
        req_refuse(r, status, why);
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    struct sreq *r = stream_of(s, id);
    if (r) {
        nghttp2_session_set_stream_user_data(s, id, NULL);
        req_detach(r);
    }
    return 0;
}

enum errc h2_start(struct conn *c)
{
    static const struct h2_callbacks calls = {on_begin_headers, on_header, on_frame, on_data, on_close};
    static const nghttp2_settings_entry set[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, H2_FRAME},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HTTP_HEAD},
    };
    return h2_session(&c->h2, true, &calls, set, sizeof set / sizeof *set, H2_WINDOW, c);
}

void h2_input(struct conn *c, const char *p, size_t n)
{
    if (nghttp2_session_mem_recv(c->h2, (const uint8_t *)p, n) < 0)
        conn_done(c);
}

void h2_fill(struct conn *c)
{
    while (c->out.n < SERVER_OUT_SOFT / 2 && !c->dead) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(c->h2, &p);
        if (n < 0 || (n > 0 && !segs_put(&c->out, p, (size_t)n)))
            conn_done(c);
        if (n <= 0)
            return;
    }
}

// Does the client hold the stream up: by a body that goes no further, before or after the answer, or by a window that it does not
// open? A stream whose turn has not come, or whose handler works, waits for us.
static bool held_up(const struct conn *c, const struct sreq *r)
{
    if (!r->refused || (r->ended && !r->out.n))
        return true;
    return r->out.n && (nghttp2_session_get_remote_window_size(c->h2) <= 0 ||
                        nghttp2_session_get_stream_remote_window_size(c->h2, r->stream) <= 0);
}

// PING or SETTINGS now and then keep a connection, not the streams that stand still on it.
void h2_reset_stalled(struct conn *c, int64_t now)
{
    for (struct sreq *r = c->reqs; r; r = r->next) {
        if (now - r->moved <= conn_server(c)->o.stall_ns || !held_up(c, r))
            continue;
        bool answered = r->ended && !r->out.n; // RFC 9113 §8.1: no error, the rest of the request is not needed
        nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, r->stream, answered ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        r->moved = now; // once, though the socket may be full
    }
}

// GOAWAY: streams that run are finished, new ones are refused.
void h2_shutdown(struct conn *c)
{
    if (!c->goaway)
        nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->h2), NGHTTP2_NO_ERROR, NULL,
                              0);
    c->goaway = true;
}

// ---- replies --------------------------------------------------------------------------------------------------------
static size_t grpc_trailers(const struct sreq *r, nghttp2_nv out[2], char digits[12])
{
    int n = snprintf(digits, 12, "%d", r->grpc_status);
    out[0] = h2_nv(SLICE("grpc-status"), slice_of(digits, (size_t)n));
    if (!r->grpc_message.n)
        return 1;
    out[1] = h2_nv(SLICE("grpc-message"), r->grpc_message);
    return 2;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *to, size_t n, uint32_t *flags, nghttp2_data_source *src,
                         void *arg)
{
    struct sreq *r = src->ptr;
    size_t k = segs_take(&r->out, to, n);
    r->unsent = r->out.n;
    r->moved = loop_now(r->pub.loop);
    if (r->out.n)
        return (ssize_t)k;
    if (!r->ended) {
        r->deferred = k == 0;
        return k ? (ssize_t)k : NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (r->grpc_status >= 0) {
        nghttp2_nv t[2];
        char digits[12];
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(s, id, t, grpc_trailers(r, t, digits));
    }
    return (ssize_t)k;
}

// Headers, then the body from r->out if there is one.
static void submit(struct sreq *r, int status, int64_t length, bool body)
{
    nghttp2_nv h[MAX_REPLY_HEADERS + 5];
    size_t n = 0;
    char code[12], len[24], digits[12];
    const char *date = http_date();
    h[n++] = h2_nv(SLICE(":status"), slice_of(code, (size_t)snprintf(code, sizeof code, "%d", status)));
    h[n++] = h2_nv(SLICE("date"), slice_str(date));
    for (size_t i = 0; i < r->n_reply; i++) {
        if (!slice_eq(r->reply[i].name, SLICE("connection")) && !slice_eq(r->reply[i].name, SLICE("transfer-encoding")))
            h[n++] = h2_nv(r->reply[i].name, r->reply[i].value);
    }
    if (length >= 0 && status != 204 && status != 304)
        h[n++] = h2_nv(SLICE("content-length"), slice_of(len, (size_t)snprintf(len, sizeof len, "%lld", (long long)length)));
    if (!body && r->grpc_status >= 0)
        n += grpc_trailers(r, h + n, digits);
    nghttp2_data_provider from = {.source.ptr = r, .read_callback = read_body};
    if (nghttp2_submit_response(r->conn->h2, r->stream, h, n, body ? &from : NULL) != 0)
        conn_done(r->conn);
}

static void resume(struct sreq *r)
{
    if (!r->deferred)
        return;
    r->deferred = false;
    nghttp2_session_resume_data(r->conn->h2, r->stream);
}

static void apply_data(struct sreq *r, struct seg *s)
{
    if (r->head_only || r->ended || !r->streaming) {
        seg_free(s);
        return;
    }
    if (r->out.n + s->n > MAX_HTTP_PENDING) { // the client does not keep up: the stream is cut
        seg_free(s);
        r->ended = true;
        nghttp2_submit_rst_stream(r->conn->h2, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_ENHANCE_YOUR_CALM);
        return;
    }
    if (!r->out.n)
        r->moved = loop_now(r->pub.loop);
    segs_push(&r->out, s);
    r->unsent = r->out.n;
    resume(r);
}

static void apply_reply(struct sreq *r, struct seg *s)
{
    int status = s->status;
    bool grpc = s->kind == SEG_GRPC;
    int64_t length = grpc ? -1 : (int64_t)s->n;
    bool body = s->n && !r->head_only && status != 204 && status != 304;
    if (grpc) {
        r->grpc_status = status;
        body = status == GRPC_OK;
        status = 200;
    }
    r->ended = true;
    if (body)
        segs_push(&r->out, s);
    else
        seg_free(s);
    submit(r, status, length, body);
}

void h2_apply(struct sreq *r, struct seg *s)
{
    if (s->kind != SEG_DATA)
        r->moved = loop_now(r->pub.loop);
    switch (s->kind) {
    case SEG_DATA:
        apply_data(r, s);
        return;
    case SEG_BEGIN:
        r->streaming = true;
        submit(r, s->status, -1, !r->head_only);
        break;
    case SEG_END:
        r->ended = true;
        resume(r);
        break;
    default:
        apply_reply(r, s);
        return;
    }
    seg_free(s);
}
