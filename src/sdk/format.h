// printf's formats, taken apart: what a call has to copy of its arguments, and the text made of the copies behind the ring.
#pragma once
#include "base/buf.h"
#include <sonde/sonde.h>

enum { FMT_WIDTH_MAX = 4096, FMT_WIDE_MAX = 1024 };

// How a call copies one argument.
struct fmt_arg {
    int32_t precision; // of a string: bytes, FMT_NO_PRECISION, or FMT_PRECISION_OF - index of the argument that tells it
    bool wide;         // %ls, %S
    bool pointer;      // %p
};
enum { FMT_NO_PRECISION = -1, FMT_PRECISION_OF = -2 };

// Fills n rows; true when the format asks for errno (%m).
bool fmt_scan(struct slice format, struct fmt_arg *args, unsigned n);

struct rec;
struct site;
// Appends the message of a record whose call site has arguments (site->n_args).
void fmt_write(struct buf *out, const struct site *site, const struct rec *rec);
