// Reading the bytes of a part that may be anything: a bounded reader whose failure sticks, and whole pieces.
#pragma once
#include "base/limits.h"
#include "store/part_format.h"

struct rd {
    const uint8_t *p, *end;
    bool bad; // sticky: it ran over the end
};

static inline struct rd rd_of(struct slice s)
{
    return (struct rd){(const uint8_t *)s.p, (const uint8_t *)s.p + s.n, false};
}
static inline size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->p);
}

static inline uint64_t rd_varint(struct rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint8_t c = *r->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

static inline const uint8_t *rd_bytes(struct rd *r, uint64_t n)
{
    if (n > rd_left(r)) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return r->p - n;
}

static inline int64_t rd_fixed(struct rd *r)
{
    int64_t v = 0;
    const uint8_t *p = rd_bytes(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

static inline uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 1);
    return p ? *p : 0;
}

static inline struct slice rd_text(struct rd *r)
{
    uint64_t n = rd_varint(r);
    const uint8_t *p = rd_bytes(r, n);
    return slice_of(p, p ? n : 0);
}

static inline struct id128 rd_id128(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 16);
    return p ? id128_load(p) : (struct id128){0};
}

// A varint that must not be above max.
static inline uint32_t rd_count(struct rd *r, uint64_t max)
{
    uint64_t v = rd_varint(r);
    if (v > max)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)v;
}

static inline struct part_piece rd_piece(struct rd *r)
{
    struct part_piece p = {.zstd = rd_varint(r) != 0};
    p.offset = rd_varint(r);
    p.stored = rd_count(r, 2 * MAX_PART_PIECE);
    p.raw = rd_count(r, MAX_PART_PIECE);
    p.check = (uint64_t)rd_fixed(r);
    return p;
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

// What part_encode_steps and part_encode_numbers wrote; r->bad for anything else.
void part_decode_steps(struct rd *r, int64_t *v, uint32_t n);
void part_decode_numbers(struct rd *r, double *v, uint32_t n);
// Reads a piece of the part (fd: its file), checks and decompresses it into the arena. what: its name in an error.
enum errc part_read_piece(const struct part *p, int fd, const struct part_piece *c, struct arena *a, struct slice *out,
                          const char *what, struct error *err);
