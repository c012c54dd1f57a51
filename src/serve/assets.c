#include "serve/assets.h"

static const struct asset *find(struct slice name)
{
    for (size_t i = 0; i < assets_count; i++) {
        if (slice_eq(slice_str(assets_table[i].name), name))
            return &assets_table[i];
    }
    return NULL;
}

// "/ui/app.0123456789.js" of an older build must not be answered with HTML; "/ui/request/x.js" is a page's path.
static bool looks_like_file(struct slice rest)
{
    static const struct slice ends[] = {SLICE(".js"), SLICE(".css"), SLICE(".svg"), SLICE(".map"), SLICE(".ico"), SLICE(".html")};
    if (memchr(rest.p, '/', rest.n))
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (rest.n > ends[i].n && slice_eq(slice_from(rest, rest.n - ends[i].n), ends[i]))
            return true;
    }
    return false;
}

static struct slice opaque_tag(struct slice tag)
{
    tag = slice_trim(tag);
    return slice_starts(tag, SLICE("W/")) ? slice_from(tag, 2) : tag;
}

// RFC 9110 §13.1.2: any tag of the list, compared weakly, or "*".
static bool unchanged(const struct http_req *r, const struct asset *a)
{
    struct slice list = http_req_header(r, SLICE("if-none-match")), tag;
    while (slice_split(&list, ',', &tag)) {
        tag = opaque_tag(tag);
        if (slice_eq(tag, SLICE("*")) || (tag.n && slice_eq(tag, opaque_tag(slice_str(a->etag)))))
            return true;
    }
    return false;
}

static void common_headers(struct http_req *r)
{
    http_reply_header(r, SLICE("content-security-policy"), slice_str(assets_csp));
    http_reply_header(r, SLICE("x-content-type-options"), SLICE("nosniff"));
    http_reply_header(r, SLICE("referrer-policy"), SLICE("same-origin"));
}

static void send_plain(struct http_req *r, const struct asset *a, struct slice packed)
{
    struct buf plain;
    buf_init(&plain, a->size);
    struct error err = {0};
    if (codec_decode(CODEC_GZIP, packed, a->size, &plain, &err) == ERR_OK)
        http_reply(r, 200, slice_str(a->type), buf_slice(&plain));
    else
        http_reply_text(r, 500, "%s could not be decompressed: %s", a->name, err.msg);
    buf_free(&plain);
}

static void send_asset(struct http_req *r, const struct asset *a)
{
    struct slice packed = slice_of(assets_bytes + a->at, a->gzip_size);
    common_headers(r);
    http_reply_header(r, SLICE("etag"), slice_str(a->etag));
    http_reply_header(r, SLICE("vary"), SLICE("accept-encoding"));
    http_reply_header(r, SLICE("cache-control"), a->immutable ? SLICE("public, max-age=31536000, immutable") : SLICE("no-cache"));
    if (unchanged(r, a)) {
        http_reply(r, 304, SLICE_NONE, SLICE_NONE);
    } else if (http_req_accepts_gzip(r)) {
        http_reply_header(r, SLICE("content-encoding"), SLICE("gzip"));
        http_reply(r, 200, slice_str(a->type), packed);
    } else {
        send_plain(r, a, packed);
    }
}

static void page(struct http_req *r, void *arg)
{
    const struct asset *a = find(r->param[0]);
    if (!a && looks_like_file(r->param[0])) {
        http_reply_text(r, 404, "the page has no file %.*s; reload it, it may be of an older version", (int)r->param[0].n,
                        r->param[0].p);
        return;
    }
    if (!a)
        a = find(SLICE("index.html"));
    if (a)
        send_asset(r, a);
    else
        http_reply_text(r, 404, "this program was built without its page");
}

// Not permanent: another program may have this port tomorrow.
static void to_page(struct http_req *r, void *arg)
{
    http_reply_header(r, SLICE("location"), SLICE("/ui/"));
    http_reply_text(r, 302, "The page is at /ui/");
}

size_t assets_routes(struct http_route *out, size_t max)
{
    static const struct http_route rows[] = {
        {.method = "GET", .path = "/", .fn = to_page, .about = "to the page"},
        {.method = "GET", .path = "/ui", .fn = to_page, .about = "to the page"},
        {.method = "GET", .path = "/ui/{*}", .fn = page, .about = "the page: requests, one request, logs, metrics"},
    };
    size_t n = sizeof rows / sizeof *rows;
    if (max < n)
        return 0;
    memcpy(out, rows, sizeof rows);
    return n;
}
