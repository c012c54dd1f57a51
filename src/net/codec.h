// Content codings. Two bodies for this: codec.c and codec_gzip.c (all codings, in the sonde program), codec_zlib.c (gzip alone,
// what libsonde needs to send and receive).
#pragma once
#include "net/http.h"

// Whether gzip can be made and read here.
bool codec_has_gzip(void);
// A gzip body (one or more members) of any size up to max. ERR_CORRUPT for a damaged one, ERR_LIMIT above max.
enum errc codec_gunzip(struct slice in, size_t max, struct buf *out, struct error *err);
// CODEC_NONE for "" and "identity". False for a name not known here.
bool codec_from_name(struct slice name, enum codec *out);
