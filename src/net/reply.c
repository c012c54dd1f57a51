// Replies: what a handler says, from whatever thread, turned into segments in the request's queue.
#include "net/server.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { GZIP_WORTH_IT = 1024, REPLY_TEXT_MAX = 4096 };

static struct sreq *req_of(const struct http_req *r)
{
    return (struct sreq *)(uintptr_t)r;
}

// The loop's thread carries out what was queued.
static void drain(struct sreq *r)
{
    pthread_mutex_lock(&r->lock);
    struct seg *s = r->first;
    bool broken = r->broken;
    r->first = r->last = NULL;
    r->queued = 0;
    r->posted = false;
    pthread_mutex_unlock(&r->lock);
    struct conn *c = r->conn;
    if (c && broken) {
        if (c->kind == CONN_H2)
            nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_INTERNAL_ERROR);
        else
            conn_done(c);
    }
    for (struct seg *next; s; s = next) {
        next = s->next;
        if (!r->conn || broken || c->dead)
            seg_free(s);
        else if (c->kind == CONN_H2)
            h2_apply(r, s);
        else
            h1_apply(r, s);
    }
    if (c)
        conn_kick(c);
}

static void drain_posted(struct loop_item *it)
{
    struct sreq *r = (struct sreq *)((char *)it - offsetof(struct sreq, item));
    drain(r);
    req_unref(r);
}

// Queues a segment (null: out of memory, the reply is cut). The caller still holds its reference.
static void queue(struct sreq *r, struct seg *s)
{
    pthread_mutex_lock(&r->lock);
    bool gone = r->gone, here = false;
    if (gone) {
        if (s)
            seg_free(s);
    } else {
        here = loop_here(r->pub.loop);
        if (!s || (s->kind == SEG_DATA && r->queued + s->n > MAX_HTTP_PENDING)) {
            r->broken = true;
            if (s)
                seg_free(s);
        } else {
            s->next = NULL;
            if (r->last)
                r->last->next = s;
            else
                r->first = s;
            r->last = s;
            r->queued += s->n;
        }
        if (!here && !r->posted) {
            r->posted = true;
            atomic_fetch_add(&r->refs, 1);
            r->item.fn = drain_posted;
            loop_post_item(r->pub.loop, &r->item);
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (!gone && here)
        drain(r);
}

static struct seg *seg_copy(enum seg_kind kind, int status, struct slice bytes)
{
    struct seg *s = seg_new(kind, status, bytes.n);
    if (s && bytes.n) {
        memcpy(s->data, bytes.p, bytes.n);
        s->n = bytes.n;
    }
    return s;
}

static bool clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

void http_reply_header(struct http_req *q, struct slice name, struct slice value)
{
    struct sreq *r = req_of(q);
    // a value with a line break would let its author write headers of his own
    if (r->n_reply == MAX_REPLY_HEADERS - 4 || !clean(name) || !clean(value))
        return;
    struct http_header h = {arena_dup(&r->arena, name), arena_dup(&r->arena, value)};
    if (!h.name.p || !h.value.p)
        return;
    for (char *p = (char *)h.name.p; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p |= 0x20;
    }
    if (slice_eq(h.name, SLICE("content-encoding")))
        r->encoded = true;
    r->reply[r->n_reply++] = h;
}

// For names and values that live long enough; there is room for four of these.
static void own_header(struct sreq *r, struct slice name, struct slice value)
{
    if (r->n_reply < MAX_REPLY_HEADERS)
        r->reply[r->n_reply++] = (struct http_header){name, value};
}

static void content_type(struct sreq *r, struct slice type)
{
    type = clean(type) ? arena_dup(&r->arena, type) : SLICE_NONE;
    if (type.n)
        own_header(r, SLICE("content-type"), type);
}

static bool compressible(struct slice type)
{
    static const char *const words[] = {"text/", "json", "xml", "javascript", "protobuf", "wasm", "svg"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (slice_find(type, slice_str(words[i])) >= 0)
            return true;
    }
    return false;
}

static struct seg *gzip_seg(struct slice body)
{
    struct buf b;
    buf_init(&b, MAX_HTTP_REPLY);
    struct seg *s = NULL;
    if (codec_gzip(body, &b) == ERR_OK && b.n < body.n)
        s = seg_copy(SEG_REPLY, 0, buf_slice(&b));
    buf_free(&b);
    return s;
}

void http_reply(struct http_req *q, int status, struct slice type, struct slice body)
{
    struct sreq *r = req_of(q);
    struct seg *s = NULL;
    content_type(r, type);
    if (body.n > GZIP_WORTH_IT && !r->encoded && compressible(type)) {
        own_header(r, SLICE("vary"), SLICE("accept-encoding"));
        s = http_req_accepts_gzip(q) ? gzip_seg(body) : NULL;
        if (s)
            own_header(r, SLICE("content-encoding"), SLICE("gzip"));
    }
    if (!s)
        s = seg_copy(SEG_REPLY, 0, body);
    if (s)
        s->status = status;
    queue(r, s);
    req_unref(r);
}

void http_reply_text(struct http_req *q, int status, const char *fmt, ...)
{
    char text[REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text - 1, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n > sizeof text - 2 ? sizeof text - 2 : (size_t)n;
    text[len++] = '\n';
    own_header(req_of(q), SLICE("x-content-type-options"), SLICE("nosniff"));
    http_reply(q, status, SLICE("text/plain; charset=utf-8"), slice_of(text, len));
}

void http_stream_begin(struct http_req *q, int status, struct slice type)
{
    struct sreq *r = req_of(q);
    content_type(r, type);
    queue(r, seg_new(SEG_BEGIN, status, 0));
}

void http_stream_write(struct http_req *q, struct slice bytes)
{
    if (bytes.n && !req_of(q)->gone)
        queue(req_of(q), seg_copy(SEG_DATA, 0, bytes));
}

size_t http_stream_pending(const struct http_req *q)
{
    struct sreq *r = req_of(q);
    pthread_mutex_lock(&r->lock);
    size_t n = r->queued + r->unsent;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void http_stream_end(struct http_req *q)
{
    struct sreq *r = req_of(q);
    queue(r, seg_new(SEG_END, 0, 0));
    req_unref(r);
}

// ---- gRPC -----------------------------------------------------------------------------------------------------------
// grpc-message: printable ASCII but '%' stands for itself, all else is %XX.
static struct slice grpc_message(struct arena *a, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = strlen(text), k = 0;
    n = n > 2000 ? 2000 : n;
    char *to = arena_alloc(a, n * 3 + 1);
    if (!to)
        return SLICE_NONE;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c < 0x7f && c != '%') {
            to[k++] = (char)c;
        } else {
            to[k++] = '%';
            to[k++] = hex[c >> 4];
            to[k++] = hex[c & 15];
        }
    }
    return slice_of(to, k);
}

void grpc_reply(struct http_req *q, enum grpc_status status, const char *message, struct slice body)
{
    struct sreq *r = req_of(q);
    if (!r->grpc) { // a refusal told in gRPC to a client that does not speak it
        http_reply_text(q, status == GRPC_OK ? 200 : 500, "%s", message ? message : "");
        return;
    }
    own_header(r, SLICE("content-type"), SLICE("application/grpc"));
    r->grpc_message = message && *message ? grpc_message(&r->arena, message) : SLICE_NONE;
    struct seg *s, *z = NULL;
    // packed when the client packs: who sends plain over a fast wire wants no work spent on it
    if (status == GRPC_OK && body.n > GZIP_WORTH_IT && slice_eq(http_req_header(q, SLICE("grpc-encoding")), SLICE("gzip")))
        z = gzip_seg(body);
    if (z) {
        own_header(r, SLICE("grpc-encoding"), SLICE("gzip"));
        body = slice_of(z->data, z->n);
    }
    s = seg_new(SEG_GRPC, status, body.n + 5);
    if (s && status == GRPC_OK) {
        uint8_t head[5] = {z != NULL, (uint8_t)(body.n >> 24), (uint8_t)(body.n >> 16), (uint8_t)(body.n >> 8), (uint8_t)body.n};
        memcpy(s->data, head, 5);
        if (body.n)
            memcpy(s->data + 5, body.p, body.n);
        s->n = body.n + 5;
    }
    seg_free(z);
    queue(r, s);
    req_unref(r);
}

// ---- date -----------------------------------------------------------------------------------------------------------
const char *http_date(void)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static __thread char text[64];
    static __thread time_t of;
    time_t now = time(NULL);
    if (now != of) {
        struct tm t;
        gmtime_r(&now, &t);
        snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * t.tm_wday, t.tm_mday,
                 months + 3 * t.tm_mon, t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
        of = now;
    }
    return text;
}
