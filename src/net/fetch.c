// Blocking calls: a private loop that turns until the one call is done.
#include "net/client.h"
#include "net/codec.h"

enum { FETCH_OWN_HEADERS = 2 };

struct http_session {
    struct loop *loop;
    struct http_client *client;
};

struct http_session *http_session_new(void)
{
    struct http_session *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    if (loop_new(&s->loop, NULL) != ERR_OK || http_client_new(&s->client, s->loop, NULL) != ERR_OK) {
        http_session_free(s);
        return NULL;
    }
    return s;
}

enum errc http_session_tls(struct http_session *s, const struct tls_options *o, struct error *err)
{
    return http_client_tls(s->client, o, err);
}

void http_session_free(struct http_session *s)
{
    if (!s)
        return;
    http_client_free(s->client);
    loop_free(s->loop);
    mem_free(s);
}

void http_answer_free(struct http_answer *a)
{
    buf_free(&a->body);
    arena_free(&a->head);
    *a = (struct http_answer){0};
}

struct state {
    const struct http_fetch *f;
    struct http_answer *out;
    struct error *err;
    enum errc rc;
    bool done, stopped; // stopped: by us, on_done's reason does not count
};

static void on_head(struct http_call *k, int status, const struct http_header *h, size_t n, void *arg)
{
    struct state *s = arg;
    struct http_answer *a = s->out;
    struct http_header *to = ARENA_ARRAY(&a->head, struct http_header, n + 1);
    a->status = status;
    a->content_type = SLICE("");
    for (size_t i = 0; to && i < n; i++) {
        to[i] = (struct http_header){arena_dup(&a->head, h[i].name), arena_dup(&a->head, h[i].value)};
        if (slice_eq(h[i].name, SLICE("content-type")))
            a->content_type = to[i].value;
    }
    a->headers = to;
    a->n_headers = to ? n : 0;
}

static void on_data(struct http_call *k, struct slice bytes, void *arg)
{
    struct state *s = arg;
    if (s->f->on_data) {
        if (s->f->on_data(bytes, s->f->arg))
            return;
        s->stopped = true;
    } else {
        buf_add(&s->out->body, bytes);
        if (s->out->body.err == ERR_OK)
            return;
        s->stopped = true;
        s->rc = ERR(s->err, LIMIT, "the reply from %s is larger than %zu bytes", s->f->url, s->out->body.max);
    }
    http_call_cancel(k);
}

static void on_done(struct http_call *k, bool ok, const struct error *why, void *arg)
{
    struct state *s = arg;
    s->done = true;
    if (!ok && !s->stopped) {
        s->rc = why->code;
        if (s->err && s->err->code == ERR_OK)
            *s->err = *why;
    }
}

enum errc session_run(struct http_session *s, const struct http_call_options *o, const bool *done, struct error *err)
{
    loop_turn(s->loop, 0); // connections that the server closed meanwhile are noticed here
    struct http_call *k;
    TRY(call_start(s->client, o, true, &k, err));
    enum errc rc = ERR_OK;
    while (rc == ERR_OK && !*done)
        rc = loop_turn(s->loop, -1);
    if (!*done) // the call must not outlive its caller's state
        http_call_cancel(k);
    return rc == ERR_OK ? rc : ERR(err, IO, "waiting for %s failed", o->url);
}

// A body in gzip becomes a plain one; other codings were not asked for and are left alone.
static enum errc unpack(const struct http_fetch *f, struct http_answer *a, struct error *err)
{
    struct slice coding = SLICE_NONE;
    struct buf plain;
    for (size_t i = 0; i < a->n_headers; i++) {
        if (slice_eq(a->headers[i].name, SLICE("content-encoding")))
            coding = a->headers[i].value;
    }
    if (!slice_ieq(coding, SLICE("gzip")) || !a->body.n) // a reply to HEAD has no body
        return ERR_OK;
    buf_init(&plain, a->body.max);
    enum errc rc = codec_gunzip(buf_slice(&a->body), a->body.max, &plain, err);
    if (rc != ERR_OK) {
        buf_free(&plain);
        error_prefix(err, "the reply from %s: ", f->url);
        return rc;
    }
    buf_free(&a->body);
    a->body = plain;
    return ERR_OK;
}

static enum errc fetch_on(struct http_session *s, const struct http_fetch *f, struct http_answer *out, struct error *err)
{
    struct buf packed;
    buf_init(&packed, f->body.n + CODEC_SLACK);
    struct state st = {.f = f, .out = out, .err = err};
    struct http_call_options o = {.url = f->url, .body = f->body, .timeout_ns = f->timeout_ns, .arg = &st};
    o.method = f->method ? f->method : f->body.n ? "POST" : "GET";
    o.on_head = on_head;
    o.on_data = on_data;
    o.on_done = on_done;
    struct http_header *h = ARENA_ARRAY(&out->head, struct http_header, f->n_headers + FETCH_OWN_HEADERS);
    enum errc rc = h ? ERR_OK : ERR(err, NOMEM, "no memory for the request to %s", f->url);
    if (rc == ERR_OK && f->n_headers)
        memcpy(h, f->headers, f->n_headers * sizeof *h);
    o.headers = h;
    o.n_headers = f->n_headers;
    if (rc == ERR_OK && f->gzip && f->body.n && codec_gzip(f->body, &packed) == ERR_OK) {
        o.body = buf_slice(&packed);
        h[o.n_headers++] = (struct http_header){SLICE("content-encoding"), SLICE("gzip")};
    }
    if (rc == ERR_OK && f->accept_gzip && codec_has_gzip())
        h[o.n_headers++] = (struct http_header){SLICE("accept-encoding"), SLICE("gzip")};
    if (rc == ERR_OK)
        rc = session_run(s, &o, &st.done, err);
    buf_free(&packed);
    rc = rc != ERR_OK ? rc : st.rc;
    return rc == ERR_OK && f->accept_gzip && !f->on_data ? unpack(f, out, err) : rc;
}

enum errc http_fetch(struct http_session *s, const struct http_fetch *f, struct http_answer *out, struct error *err)
{
    struct http_session *own = s ? NULL : http_session_new();
    *out = (struct http_answer){0};
    arena_init(&out->head, MAX_REPLY_HEAD);
    buf_init(&out->body, f->reply_max ? f->reply_max : MAX_HTTP_REPLY);
    if (!s && !own)
        return ERR(err, NOMEM, "no memory for a connection to %s", f->url);
    enum errc rc = fetch_on(s ? s : own, f, out, err);
    http_session_free(own);
    if (rc != ERR_OK)
        http_answer_free(out);
    return rc;
}
