// Content codings in two halves: gzip alone (what libsonde needs to send and receive), and all of them.
#pragma once
#include "net/http.h"

// A gzip body (one or more members) of any size up to max. ERR_CORRUPT for a damaged one, ERR_LIMIT above max.
enum errc codec_gunzip(struct slice in, size_t max, struct buf *out, struct error *err);
// CODEC_NONE for "" and "identity". False for a name not known here.
bool codec_from_name(struct slice name, enum codec *out);
