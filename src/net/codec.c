#include "net/codec.h"
#include <libdeflate.h>
#include <snappy-c.h>
#include <zstd.h>

bool codec_from_name(struct slice name, enum codec *out)
{
    static const struct {
        const char *name;
        enum codec codec;
    } table[] = {{"", CODEC_NONE},           {"identity", CODEC_NONE}, {"gzip", CODEC_GZIP},    {"x-gzip", CODEC_GZIP},
                 {"deflate", CODEC_DEFLATE}, {"zstd", CODEC_ZSTD},     {"snappy", CODEC_SNAPPY}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (slice_ieq(name, slice_str(table[i].name))) {
            *out = table[i].codec;
            return true;
        }
    }
    return false;
}

// "deflate" is the zlib format (RFC 9110 §8.4.1.2); some clients send it bare.
static enum errc inflate_body(struct slice in, size_t max, struct buf *out, struct error *err)
{
    struct libdeflate_decompressor *z = libdeflate_alloc_decompressor();
    if (!z)
        return ERR(err, NOMEM, "no memory to unpack deflate");
    enum libdeflate_result r = LIBDEFLATE_INSUFFICIENT_SPACE;
    enum errc rc = ERR_OK;
    bool bare = false;
    size_t room = in.n * 8 < 4096 ? 4096 : in.n * 8, made = 0;
    for (bool last = false; !last && r == LIBDEFLATE_INSUFFICIENT_SPACE; room *= 2) {
        last = room >= max;
        room = last ? max : room;
        char *to = buf_reserve(out, room);
        if (!to) {
            rc = ERR(err, LIMIT, "the deflate body unpacks to more than memory allows");
            break;
        }
        r = bare ? LIBDEFLATE_BAD_DATA : libdeflate_zlib_decompress(z, in.p, in.n, to, room, &made);
        if (r == LIBDEFLATE_BAD_DATA) {
            bare = true;
            r = libdeflate_deflate_decompress(z, in.p, in.n, to, room, &made);
        }
    }
    libdeflate_free_decompressor(z);
    if (rc != ERR_OK)
        return rc;
    if (r == LIBDEFLATE_INSUFFICIENT_SPACE)
        return ERR(err, LIMIT, "the deflate body unpacks to more than the limit of %zu bytes", max);
    if (r != LIBDEFLATE_SUCCESS)
        return ERR(err, CORRUPT, "the body is not valid deflate");
    out->n += made;
    return ERR_OK;
}

static enum errc unzstd(struct slice in, size_t max, struct buf *out, struct error *err)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (!z)
        return ERR(err, NOMEM, "no memory to unpack zstd");
    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 27); // a window is memory too: 128 MiB at most
    ZSTD_inBuffer from = {in.p, in.n, 0};
    size_t made = 0, left = 1;
    enum errc rc = ERR_OK;
    while (rc == ERR_OK && (from.pos < from.size || left)) {
        size_t piece = max - made < ZSTD_DStreamOutSize() ? max - made : ZSTD_DStreamOutSize();
        char *to = buf_reserve(out, piece);
        if (!to) {
            rc = ERR(err, LIMIT, "the zstd body unpacks to more than memory allows");
            break;
        }
        ZSTD_outBuffer o = {to, piece, 0};
        size_t before = from.pos;
        left = ZSTD_decompressStream(z, &o, &from);
        out->n += o.pos;
        made += o.pos;
        if (ZSTD_isError(left))
            rc = ERR(err, CORRUPT, "the body is not valid zstd: %s", ZSTD_getErrorName(left));
        else if (left && made == max && o.pos == 0 && from.pos == before)
            rc = ERR(err, LIMIT, "the zstd body unpacks to more than the limit of %zu bytes", max);
        else if (left && from.pos == before && o.pos == 0)
            rc = ERR(err, CORRUPT, "the zstd body ends early");
    }
    ZSTD_freeDCtx(z);
    return rc;
}

static enum errc unsnappy(struct slice in, size_t max, struct buf *out, struct error *err)
{
    size_t n = 0;
    if (snappy_uncompressed_length(in.p, in.n, &n) != SNAPPY_OK)
        return ERR(err, CORRUPT, "the body is not valid snappy");
    if (n > max)
        return ERR(err, LIMIT, "the snappy body unpacks to %zu bytes, the limit is %zu", n, max);
    char *to = buf_reserve(out, n);
    if (!to)
        return ERR(err, LIMIT, "the snappy body unpacks to more than memory allows");
    if (snappy_uncompress(in.p, in.n, to, &n) != SNAPPY_OK)
        return ERR(err, CORRUPT, "the body is not valid snappy");
    out->n += n;
    return ERR_OK;
}

enum errc codec_decode(enum codec c, struct slice in, size_t max, struct buf *out, struct error *err)
{
    switch (c) {
    case CODEC_NONE:
        if (in.n > max)
            return ERR(err, LIMIT, "the body is larger than the limit of %zu bytes", max);
        buf_add(out, in);
        return out->err;
    case CODEC_GZIP:
        return codec_gunzip(in, max, out, err);
    case CODEC_DEFLATE:
        return inflate_body(in, max, out, err);
    case CODEC_ZSTD:
        return unzstd(in, max, out, err);
    case CODEC_SNAPPY:
        return unsnappy(in, max, out, err);
    }
    return ERR(err, UNSUPPORTED, "codec %d is not known", (int)c);
}
