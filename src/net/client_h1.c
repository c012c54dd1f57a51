// The client's HTTP/1 connection: one call at a time.
#include "net/client.h"

static bool has_header(const struct http_call *k, struct slice name)
{
    for (size_t i = 0; i < k->o.n_headers; i++) {
        if (slice_eq(k->o.headers[i].name, name))
            return true;
    }
    return false;
}

void ch1_start(struct http_call *k)
{
    struct cconn *c = k->conn;
    struct buf b;
    buf_init(&b, MAX_REQUEST_HEAD);
    bool v6 = strchr(k->url.host, ':');
    buf_str(&b, k->o.method);
    buf_char(&b, ' ');
    buf_add(&b, k->url.path);
    buf_str(&b, " HTTP/1.1\r\n");
    if (!has_header(k, SLICE("host")))
        buf_printf(&b, "host: %s%s%s:%d\r\n", v6 ? "[" : "", k->url.host, v6 ? "]" : "", k->url.port);
    for (size_t i = 0; i < k->o.n_headers; i++) {
        struct slice name = k->o.headers[i].name; // framing is ours
        if (slice_eq(name, SLICE("content-length")) || slice_eq(name, SLICE("transfer-encoding")))
            continue;
        buf_add(&b, name);
        buf_str(&b, ": ");
        buf_add(&b, k->o.headers[i].value);
        buf_str(&b, "\r\n");
    }
    if (k->o.body.n || strcmp(k->o.method, "POST") == 0 || strcmp(k->o.method, "PUT") == 0)
        buf_printf(&b, "content-length: %zu\r\n", k->o.body.n);
    buf_str(&b, "\r\n");
    c->scan = (struct h1_scan){0};
    buf_reset(&c->in);
    if (b.err != ERR_OK || !segs_put(&c->out, b.p, b.n))
        c->dead = true;
    k->sent = true;
    buf_free(&b);
}

static void broken(struct cconn *c, const char *why)
{
    struct error e = {0};
    ERR(&e, NET, "bad reply from %s:%d: %s", c->host, c->port, why);
    cconn_lose(c, &e);
}

// extra: bytes that came after the reply, which nobody asked for.
static void complete(struct cconn *c, size_t extra)
{
    struct http_call *k = c->calls;
    size_t idle = 0;
    for (struct cconn *o = c->client->conns; o; o = o->next)
        idle += !o->n_calls;
    // a request that was not sent whole leaves the connection in the middle of nowhere
    if (!c->keep_alive || extra || k->body_at < k->o.body.n || c->out.n || idle >= CLIENT_IDLE_MAX)
        c->dead = true;
    c->reused = true;
    call_detach(k);
    call_finish(k, NULL);
}

static void head(struct cconn *c, char *text, size_t n, size_t extra)
{
    struct http_header store[MAX_HTTP_HEADERS];
    struct h1_head h = {.headers = store};
    struct http_call *k = c->calls;
    struct slice copy = arena_dup(&k->arena, slice_of(text, n));
    if (!copy.p || h1_parse_response((char *)(uintptr_t)copy.p, n, &h)) {
        broken(c, copy.p ? h.why : "out of memory for its head");
        return;
    }
    c->scan = (struct h1_scan){0};
    if (h.status == 101) {
        broken(c, "it switches to a protocol that nobody asked for");
        return;
    }
    if (h.status < 200)
        return; // 100 Continue and its like: the real head follows
    c->keep_alive = h.keep_alive;
    c->chunks = (struct h1_chunks){0};
    c->left = h.content_length > 0 ? (uint64_t)h.content_length : 0;
    if (k->head_request || h.status == 204 || h.status == 304 || (h.content_length == 0 && !h.chunked))
        c->body = BODY_NONE;
    else
        c->body = h.chunked ? BODY_CHUNKED : h.content_length > 0 ? BODY_LENGTH : BODY_EOF;
    if (c->body == BODY_EOF)
        c->keep_alive = false;
    k->head_done = true;
    if (k->o.on_head)
        k->o.on_head(k, h.status, h.headers, h.n_headers, k->o.arg);
    if (!c->dead && c->body == BODY_NONE)
        complete(c, extra);
}

static void deliver(struct http_call *k, struct slice piece)
{
    if (k->o.on_data && piece.n)
        k->o.on_data(k, piece, k->o.arg);
}

// Body bytes. Returns what was consumed. A callback may end the call: then the connection is dead.
static size_t body(struct cconn *c, struct slice in)
{
    struct http_call *k = c->calls;
    struct slice rest = in, piece;
    if (c->body == BODY_EOF) {
        deliver(k, in);
        return in.n;
    }
    if (c->body == BODY_LENGTH) {
        piece = slice_cut(in, c->left < in.n ? (size_t)c->left : in.n);
        c->left -= piece.n;
        deliver(k, piece);
        if (!c->dead && !c->left)
            complete(c, in.n - piece.n);
        return piece.n;
    }
    while (!c->dead) {
        enum h1_result r = h1_chunks_next(&c->chunks, &rest, &piece);
        if (r == H1_DATA) {
            deliver(k, piece);
            continue;
        }
        if (r == H1_BAD)
            broken(c, c->chunks.why);
        else if (r == H1_DONE)
            complete(c, rest.n);
        break;
    }
    return in.n - rest.n;
}

static size_t consume(struct cconn *c, char *p, size_t n)
{
    size_t at = 0;
    while (at < n && !c->dead) {
        struct http_call *k = c->calls;
        size_t len = 0;
        if (!k) { // nobody asked
            c->dead = true;
            break;
        }
        k->answered = true;
        if (k->head_done) {
            at += body(c, slice_of(p + at, n - at));
            continue;
        }
        enum h1_result r = h1_scan(&c->scan, p + at, n - at, &len);
        if (r == H1_MORE)
            break;
        if (r == H1_BAD) {
            broken(c, c->scan.why);
            break;
        }
        head(c, p + at, len, n - at - len);
        at += len;
    }
    return at;
}

void ch1_input(struct cconn *c, const char *p, size_t n)
{
    if (!c->in.n) {
        size_t used = consume(c, (char *)(uintptr_t)p, n);
        if (!c->dead && used < n)
            buf_put(&c->in, p + used, n - used);
    } else {
        buf_put(&c->in, p, n);
        size_t used = c->in.err == ERR_OK ? consume(c, c->in.p, c->in.n) : 0;
        if (!c->dead)
            buf_drop(&c->in, used < c->in.n ? used : c->in.n);
    }
    if (!c->dead && c->in.err != ERR_OK)
        broken(c, "its head is too large");
}

void ch1_eof(struct cconn *c)
{
    if (c->calls && c->calls->head_done && c->body == BODY_EOF)
        complete(c, 0);
    c->dead = true;
}
