// A growable byte buffer with a named maximum (base/limits.h). Appends never half-succeed: the first failure sticks
// in `err`, later appends are ignored, so a writer checks once at the end.
// Thread rule: one thread at a time.
#pragma once
#include "base/error.h"
#include "base/slice.h"

struct buf {
    char *p;
    size_t n, cap, max;
    enum errc err; // ERR_OK, ERR_LIMIT or ERR_NOMEM
};

void buf_init(struct buf *b, size_t max); // allocates nothing yet
void buf_free(struct buf *b);
void buf_reset(struct buf *b); // empties, keeps the memory, clears err
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->p, b->n);
}

// Room for n more bytes: returns where they go (then add to b->n), NULL on failure.
char *buf_reserve(struct buf *b, size_t n);
void buf_put_slow(struct buf *b, const void *p, size_t n); // buf_put where it has to grow, or may not append
static inline void buf_put(struct buf *b, const void *p, size_t n)
{
    if (__builtin_expect(n - 1 >= b->cap - b->n || b->err != ERR_OK, 0)) { // n = 0 goes there too
        buf_put_slow(b, p, n);
        return;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}
static inline void buf_char(struct buf *b, char c)
{
    if (__builtin_expect(b->n == b->cap || b->err != ERR_OK, 0))
        buf_put_slow(b, &c, 1);
    else
        b->p[b->n++] = c;
}
static inline void buf_add(struct buf *b, struct slice s)
{
    buf_put(b, s.p, s.n);
}
void buf_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_u64(struct buf *b, uint64_t v); // decimal
void buf_i64(struct buf *b, int64_t v);
void buf_f64(struct buf *b, double v); // shortest text that reads back the same: 3 → "3", 0.1 → "0.1", 1e+30, NaN, +Inf, -Inf
void buf_hex(struct buf *b, const void *p, size_t n);
void buf_drop(struct buf *b, size_t n); // removes n bytes from the front
