// A slice: a pointer and a length, not owned, not terminated. Passed by value.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE(lit) ((struct slice){"" lit "", sizeof(lit) - 1})
#define SLICE_NONE ((struct slice){0})
// The same in the initializers of static tables, where only constants may stand.
#define SLICE_INIT(lit)            \
    {                              \
        "" lit "", sizeof(lit) - 1 \
    }

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}
static inline struct slice slice_str(const char *s)
{
    return (struct slice){s, s ? strlen(s) : 0};
}
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}
static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline struct slice slice_from(struct slice s, size_t at)
{
    return at >= s.n ? slice_of(s.p + s.n, 0) : slice_of(s.p + at, s.n - at);
}
static inline struct slice slice_cut(struct slice s, size_t n)
{
    return slice_of(s.p, n < s.n ? n : s.n);
}

// Equal when ASCII letters of either case count as the same.
bool slice_ieq(struct slice a, struct slice b);
// Without the spaces and tabs (and CR, LF) at both ends.
struct slice slice_trim(struct slice s);
// First occurrence of needle in s, or -1. An empty needle is found at 0.
ptrdiff_t slice_find(struct slice s, struct slice needle);
// Splits off what stands before the first sep; returns false at the end. *rest starts as the whole; a text
// "a,b," gives "a", "b", "". At the end rest->p is null; an empty text whose p is not null gives one "".
bool slice_split(struct slice *rest, char sep, struct slice *part);
// The whole slice as a decimal number; false if it is not one or does not fit.
bool slice_to_i64(struct slice s, int64_t *out);
bool slice_to_u64(struct slice s, uint64_t *out);
// Correctly rounded; also accepts "NaN", "Inf", "+Inf", "-Inf" of any case. False for anything else, and for hex.
bool slice_to_f64(struct slice s, double *out);
// Lower-case hex of n bytes into out (2n characters, not terminated).
void hex_encode(char *out, const void *bytes, size_t n);
int hex_of_char(char c); // of one hex digit of either case; -1 if it is none
// Exactly 2n hex digits of either case to n bytes; false otherwise.
bool hex_decode(void *out, size_t n, struct slice text);
