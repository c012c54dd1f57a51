#include "net/codec.h"
#include <libdeflate.h>

enum { GZIP_LEVEL = 1, FIRST_GUESS = 8 }; // bodies are sent once: speed before the last per cent

bool codec_has_gzip(void)
{
    return true;
}

enum errc codec_gzip(struct slice in, struct buf *out)
{
    struct libdeflate_compressor *z = libdeflate_alloc_compressor(GZIP_LEVEL);
    if (!z)
        return ERR_NOMEM;
    size_t bound = libdeflate_gzip_compress_bound(z, in.n);
    char *to = buf_reserve(out, bound);
    size_t n = to ? libdeflate_gzip_compress(z, in.p, in.n, to, bound) : 0;
    libdeflate_free_compressor(z);
    if (!n)
        return to ? ERR_BUG : out->err;
    out->n += n;
    return ERR_OK;
}

// One member. The uncompressed size is not known before (the trailer's can lie): guess, and double up to the cap.
static enum errc member(struct libdeflate_decompressor *z, struct slice *in, size_t max, struct buf *out, struct error *err)
{
    size_t start = out->n, room = in->n * FIRST_GUESS < 4096 ? 4096 : in->n * FIRST_GUESS;
    for (;; room *= 2) {
        bool last = room >= max - start;
        room = last ? max - start : room;
        char *to = buf_reserve(out, room);
        if (!to)
            return ERR(err, LIMIT, "the gzip body unpacks to more than memory allows (%zu bytes)", max);
        size_t used = 0, made = 0;
        enum libdeflate_result r = libdeflate_gzip_decompress_ex(z, in->p, in->n, to, room, &used, &made);
        if (r == LIBDEFLATE_INSUFFICIENT_SPACE && !last)
            continue;
        if (r == LIBDEFLATE_INSUFFICIENT_SPACE)
            return ERR(err, LIMIT, "the gzip body unpacks to more than the limit of %zu bytes", max);
        if (r != LIBDEFLATE_SUCCESS || used == 0)
            return ERR(err, CORRUPT, "the body is not valid gzip");
        out->n += made;
        *in = slice_from(*in, used);
        return ERR_OK;
    }
}

enum errc codec_gunzip(struct slice in, size_t max, struct buf *out, struct error *err)
{
    struct libdeflate_decompressor *z = libdeflate_alloc_decompressor();
    if (!z)
        return ERR(err, NOMEM, "no memory to unpack gzip");
    enum errc rc = in.n ? ERR_OK : ERR(err, CORRUPT, "the gzip body is empty");
    size_t end = out->n + max;
    while (rc == ERR_OK && in.n)
        rc = member(z, &in, end, out, err);
    libdeflate_free_decompressor(z);
    return rc;
}
