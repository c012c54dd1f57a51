// The codings of libsonde: gzip, by the zlib of the host system, which is looked for when the first body wants it. Without it
// requests are sent as they are and packed replies are refused. The sonde program has codec.c and codec_gzip.c in this place.
#include "base/limits.h"
#include "net/codec.h"
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16, GZIP_MEMORY = 8, GZIP_SPARE = 64 }; // +16: gzip's frame; bodies are sent once: speed before size
enum { PIECE = 64 << 10 };

static struct {
    int (*deflate_init)(z_streamp, int, int, int, int, int, const char *, int);
    int (*deflate)(z_streamp, int);
    int (*deflate_end)(z_streamp);
    uLong (*deflate_bound)(z_streamp, uLong);
    int (*inflate_init)(z_streamp, int, const char *, int);
    int (*inflate)(z_streamp, int);
    int (*inflate_reset)(z_streamp);
    int (*inflate_end)(z_streamp);
} z;
static bool have;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    static const char *const names[] = {"deflateInit2_", "deflate", "deflateEnd",   "deflateBound",
                                        "inflateInit2_", "inflate", "inflateReset", "inflateEnd"};
    void *lib = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL), **to = (void **)&z;
    have = lib;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        to[i] = lib ? dlsym(lib, names[i]) : NULL;
        have = have && to[i];
    }
}

bool codec_has_gzip(void)
{
    pthread_once(&once, load);
    return have;
}

enum errc codec_gzip(struct slice in, struct buf *out)
{
    z_stream s = {0};
    if (!codec_has_gzip() || in.n > UINT_MAX / 2)
        return ERR_UNSUPPORTED;
    if (z.deflate_init(&s, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY, ZLIB_VERSION, sizeof s) !=
        Z_OK)
        return ERR_NOMEM;
    size_t room = z.deflate_bound(&s, in.n) + GZIP_SPARE;
    char *to = buf_reserve(out, room);
    s.next_in = (Bytef *)(uintptr_t)in.p;
    s.avail_in = (uInt)in.n;
    s.next_out = (Bytef *)to;
    s.avail_out = (uInt)room;
    int rc = to ? z.deflate(&s, Z_FINISH) : Z_OK;
    size_t made = s.total_out;
    z.deflate_end(&s);
    if (rc != Z_STREAM_END)
        return to ? ERR_BUG : out->err;
    out->n += made;
    return ERR_OK;
}

// Unpacks member after member, piece by piece, so that no byte above max is ever held.
static enum errc unpack(z_stream *s, size_t max, struct buf *out, struct error *err)
{
    size_t made = 0;
    for (;;) {
        char over, *to = made < max ? buf_reserve(out, max - made < PIECE ? max - made : PIECE) : &over;
        if (!to)
            return ERR(err, LIMIT, "the gzip body unpacks to more than memory allows (%zu bytes)", max);
        s->next_out = (Bytef *)to;
        s->avail_out = made == max ? 1 : max - made < PIECE ? (uInt)(max - made) : PIECE;
        size_t room = s->avail_out;
        int rc = z.inflate(s, Z_NO_FLUSH);
        size_t n = room - s->avail_out;
        if (made == max && n)
            return ERR(err, LIMIT, "the gzip body unpacks to more than the limit of %zu bytes", max);
        made += n;
        out->n += n;
        if (rc == Z_STREAM_END && !s->avail_in)
            return ERR_OK;
        if (rc == Z_STREAM_END)
            rc = z.inflate_reset(s);
        if (rc != Z_OK)
            return ERR(err, CORRUPT, "the body is not valid gzip");
    }
}

enum errc codec_gunzip(struct slice in, size_t max, struct buf *out, struct error *err)
{
    z_stream s = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};
    if (!codec_has_gzip())
        return ERR(err, UNSUPPORTED, "the body is gzip and libz.so.1 is not installed here");
    if (!in.n || in.n > UINT_MAX)
        return ERR(err, CORRUPT, "the gzip body is empty or too large");
    if (z.inflate_init(&s, GZIP_WINDOW, ZLIB_VERSION, sizeof s) != Z_OK)
        return ERR(err, NOMEM, "no memory to unpack gzip");
    enum errc rc = unpack(&s, max, out, err);
    z.inflate_end(&s);
    return rc;
}

bool codec_from_name(struct slice name, enum codec *out)
{
    *out = name.n && !slice_ieq(name, SLICE("identity")) ? CODEC_GZIP : CODEC_NONE;
    return *out == CODEC_NONE || slice_ieq(name, SLICE("gzip"));
}

enum errc codec_decode(enum codec c, struct slice in, size_t max, struct buf *out, struct error *err)
{
    if (c == CODEC_GZIP)
        return codec_gunzip(in, max, out, err);
    if (c != CODEC_NONE)
        return ERR(err, UNSUPPORTED, "codec %d is not built in", (int)c);
    if (in.n > max)
        return ERR(err, LIMIT, "the body is larger than the limit of %zu bytes", max);
    buf_add(out, in);
    return out->err;
}
