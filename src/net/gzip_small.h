// gzip in a few kilobytes of code, for libsonde: the exporter's bodies are repetitive, so matches with fixed codes take most of
// what there is to gain, and a client unpacks small answers only. The collector uses libdeflate (codec_gzip.c).
#pragma once
#include "base/buf.h"
#include "base/error.h"

enum errc gzip_small_pack(struct slice in, struct buf *out);
// All members of `in`; more than max bytes of output: ERR_LIMIT. Checks each member's checksum and length.
enum errc gzip_small_unpack(struct slice in, size_t max, struct buf *out, struct error *err);
