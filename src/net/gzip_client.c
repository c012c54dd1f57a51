// What the client calls for gzip, in libsonde: the small one in the place of codec_gzip.c.
#include "net/codec.h"
#include "net/gzip_small.h"

enum errc codec_gzip(struct slice in, struct buf *out)
{
    return gzip_small_pack(in, out);
}

enum errc codec_gunzip(struct slice in, size_t max, struct buf *out, struct error *err)
{
    return gzip_small_unpack(in, max, out, err);
}
