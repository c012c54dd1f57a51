// The HTTP/1 syntax, fed in pieces as the network would: the first byte of the input seeds where it is cut. Whole and
// in pieces must give the same answer.
#include "net/http1.h"
#include <stdint.h>
#include <stdlib.h>

struct outcome {
    enum h1_result scan, chunks;
    size_t head, body, used;
    int status;
};

static unsigned next(unsigned *seed)
{
    return *seed = *seed * 1103515245u + 12345u, *seed >> 16;
}

static void chunks(struct slice in, unsigned *seed, struct outcome *o)
{
    struct h1_chunks c = {0};
    o->chunks = H1_MORE;
    size_t all = in.n;
    while (in.n && o->chunks == H1_MORE) {
        struct slice part = slice_cut(in, seed ? 1 + next(seed) % 7 : in.n), piece;
        size_t had = part.n;
        while ((o->chunks = h1_chunks_next(&c, &part, &piece)) == H1_DATA)
            o->body += piece.n;
        in = slice_from(in, had - part.n);
    }
    o->used = all - in.n;
}

static struct outcome run(const uint8_t *data, size_t size, unsigned *seed)
{
    struct outcome o = {.scan = H1_MORE};
    struct h1_scan s = {0};
    for (size_t n = 0; o.scan == H1_MORE && n < size;) {
        n += seed ? 1 + next(seed) % 9 : size;
        n = n < size ? n : size;
        o.scan = h1_scan(&s, (const char *)data, n, &o.head);
    }
    o.status = s.status;
    if (o.scan != H1_DONE)
        return o;
    struct http_header store[MAX_HTTP_HEADERS];
    struct h1_head h = {.headers = store};
    char *text = malloc(o.head);
    if (!text)
        return o;
    memcpy(text, data, o.head);
    o.status = h1_parse_request(text, o.head, &h);
    memcpy(text, data, o.head);
    struct h1_head reply = {.headers = store};
    int bad = h1_parse_response(text, o.head, &reply);
    free(text);
    if ((o.status == 0 && h.chunked) || (bad == 0 && reply.chunked))
        chunks(slice_of(data + o.head, size - o.head), seed, &o);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    unsigned seed = data[0];
    struct outcome whole = run(data + 1, size - 1, NULL), pieces = run(data + 1, size - 1, &seed);
    if (whole.scan != pieces.scan || whole.status != pieces.status || whole.head != pieces.head ||
        whole.chunks != pieces.chunks || whole.body != pieces.body || whole.used != pieces.used)
        abort();
    return 0;
}
