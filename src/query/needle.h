// Substring search for line filters: one needle, many short texts. Compares two bytes of the needle with 32 positions
// at once (AVX2, chosen at run time; portable path by memmem), then the rest.
// Thread rule: immutable once made.
#pragma once
#include "base/slice.h"

struct needle {
    struct slice text; // not owned
    size_t at[2];      // the two places of the needle that are compared first: the rarest bytes of ordinary log text
};

struct needle needle_of(struct slice text);
// First occurrence, or -1. An empty needle is found at 0.
ptrdiff_t needle_find(const struct needle *n, struct slice s);
static inline bool needle_in(const struct needle *n, struct slice s)
{
    return needle_find(n, s) >= 0;
}
