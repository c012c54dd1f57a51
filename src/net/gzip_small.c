#include "net/gzip_small.h"
#include "base/alloc.h"

// Lengths 3 … 258 and distances 1 … 32768 are a code and extra bits behind it (RFC 1951, 3.2.5).
static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                           33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static inline unsigned distance_extra(unsigned code)
{
    return code < 4 ? 0 : code / 2 - 1;
}

enum { WINDOW = 32768, MATCH_MIN = 4, MATCH_MAX = 258, HASH_BITS = 13, HEAD = 10, TAIL = 8 };

static uint32_t checksum(struct slice s)
{
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < s.n; i++)
        crc = crc >> 8 ^ table[(crc ^ (uint8_t)s.p[i]) & 255];
    return ~crc;
}

// ---- packing --------------------------------------------------------------------------------------------------------------
struct packer {
    uint8_t *to;
    uint64_t bits; // not written yet, the first in the lowest place
    unsigned n;
};

static void put(struct packer *p, uint32_t bits, unsigned n)
{
    p->bits |= (uint64_t)bits << p->n;
    for (p->n += n; p->n >= 8; p->n -= 8, p->bits >>= 8)
        *p->to++ = (uint8_t)p->bits;
}

// Codes go with their highest bit first.
static void put_code(struct packer *p, uint32_t code, unsigned n)
{
    uint32_t turned = 0;
    for (unsigned i = 0; i < n; i++)
        turned |= (code >> i & 1) << (n - 1 - i);
    put(p, turned, n);
}

static void put_symbol(struct packer *p, unsigned symbol)
{
    if (symbol < 144)
        put_code(p, 0x30 + symbol, 8);
    else if (symbol < 256)
        put_code(p, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        put_code(p, symbol - 256, 7);
    else
        put_code(p, 0xc0 + symbol - 280, 8);
}

static void put_match(struct packer *p, unsigned length, unsigned distance)
{
    unsigned l = 28, d = 29;
    while (length_base[l] > length)
        l--;
    put_symbol(p, 257 + l);
    put(p, length - length_base[l], length_extra[l]);
    while (distance_base[d] > distance)
        d--;
    put_code(p, d, 5);
    put(p, distance - distance_base[d], distance_extra(d));
}

static uint32_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static void put_matches(struct packer *p, struct slice in, uint32_t *last)
{
    size_t at = 0;
    while (at < in.n) {
        size_t length = 0, distance = 0, room = in.n - at < MATCH_MAX ? in.n - at : MATCH_MAX;
        if (room >= MATCH_MIN) {
            uint32_t *slot = &last[load4(in.p + at) * 2654435761u >> (32 - HASH_BITS)]; // position + 1
            distance = *slot ? at + 1 - *slot : 0;
            if (distance && distance <= WINDOW)
                while (length < room && in.p[at + length] == in.p[at - distance + length])
                    length++;
            *slot = (uint32_t)at + 1;
        }
        if (length >= MATCH_MIN)
            put_match(p, (unsigned)length, (unsigned)distance);
        else
            put_symbol(p, (uint8_t)in.p[at]);
        at += length >= MATCH_MIN ? length : 1;
    }
}

enum errc gzip_small_pack(struct slice in, struct buf *out)
{
    static const uint8_t head[HEAD] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    if (in.n >= UINT32_MAX)
        return ERR_LIMIT;
    uint8_t *to = (uint8_t *)buf_reserve(out, HEAD + in.n + in.n / 8 + 16 + TAIL); // no symbol has more than nine bits
    uint32_t *last = mem_zalloc(sizeof *last << HASH_BITS);
    if (!to || !last) {
        mem_free(last);
        return to ? ERR_NOMEM : out->err;
    }
    memcpy(to, head, HEAD);
    struct packer p = {.to = to + HEAD};
    put(&p, 1, 1); // the last block
    put(&p, 1, 2); // fixed codes
    put_matches(&p, in, last);
    put_symbol(&p, 256);
    put(&p, 0, 7); // to a whole byte
    uint32_t tail[2] = {checksum(in), (uint32_t)in.n};
    memcpy(p.to, tail, TAIL);
    out->n += (size_t)(p.to - to) + TAIL;
    mem_free(last);
    return ERR_OK;
}

// ---- unpacking ------------------------------------------------------------------------------------------------------------
enum { CODES_MAX = 288, BITS_MAX = 15 };
struct codes { // canonical: how many of each length, and the symbols in the order of their codes
    uint16_t count[BITS_MAX + 1], symbol[CODES_MAX];
};
struct unpacker {
    const uint8_t *p, *end;
    uint32_t bits;
    unsigned n;
    bool failed;
    struct buf *out;
    size_t start, limit; // of this member; of all
    struct codes lengths, distances;
};

static uint32_t take(struct unpacker *u, unsigned n)
{
    while (u->n < n) {
        if (u->p == u->end) {
            u->failed = true;
            return 0;
        }
        u->bits |= (uint32_t)*u->p++ << u->n;
        u->n += 8;
    }
    uint32_t v = u->bits & ((1u << n) - 1);
    u->bits >>= n;
    u->n -= n;
    return v;
}

// False when the lengths ask for more codes than there are.
static bool make_codes(struct codes *c, const uint8_t *length, unsigned n)
{
    uint16_t next[BITS_MAX + 1] = {0};
    int left = 1;
    memset(c->count, 0, sizeof c->count);
    for (unsigned i = 0; i < n; i++)
        c->count[length[i]]++;
    c->count[0] = 0;
    for (int i = 1; i <= BITS_MAX; i++) {
        left = left * 2 - c->count[i];
        if (left < 0)
            return false;
        if (i < BITS_MAX)
            next[i + 1] = (uint16_t)(next[i] + c->count[i]);
    }
    for (unsigned i = 0; i < n; i++)
        if (length[i])
            c->symbol[next[length[i]]++] = (uint16_t)i;
    return true;
}

static unsigned symbol(struct unpacker *u, const struct codes *c)
{
    int code = 0, first = 0, index = 0;
    for (int i = 1; i <= BITS_MAX && !u->failed; i++) {
        code |= (int)take(u, 1);
        if (code - c->count[i] < first)
            return c->symbol[index + code - first];
        index += c->count[i];
        first = (first + c->count[i]) << 1;
        code <<= 1;
    }
    u->failed = true;
    return 0;
}

static bool room(struct unpacker *u, size_t n)
{
    if (u->out->n + n > u->limit || !buf_reserve(u->out, n)) {
        u->out->err = u->out->err == ERR_OK ? ERR_LIMIT : u->out->err;
        u->failed = true;
    }
    return !u->failed;
}

static void copy_back(struct unpacker *u, unsigned length_code)
{
    if (length_code >= 29) {
        u->failed = true;
        return;
    }
    size_t length = length_base[length_code] + take(u, length_extra[length_code]);
    unsigned d = symbol(u, &u->distances);
    if (u->failed || d >= 30) {
        u->failed = true;
        return;
    }
    size_t distance = distance_base[d] + take(u, distance_extra(d));
    if (distance > u->out->n - u->start)
        u->failed = true;
    if (u->failed || !room(u, length))
        return;
    for (char *to = u->out->p + u->out->n, *end = to + length; to < end; to++) // may run into what it writes
        *to = to[-(ptrdiff_t)distance];
    u->out->n += length;
}

static void coded_block(struct unpacker *u)
{
    while (!u->failed) {
        unsigned s = symbol(u, &u->lengths);
        if (u->failed || s == 256)
            return;
        if (s > 256)
            copy_back(u, s - 257);
        else if (room(u, 1))
            u->out->p[u->out->n++] = (char)s;
    }
}

static void fixed_codes(struct unpacker *u)
{
    uint8_t length[CODES_MAX];
    for (unsigned i = 0; i < CODES_MAX; i++)
        length[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_codes(&u->lengths, length, CODES_MAX);
    memset(length, 5, 30);
    make_codes(&u->distances, length, 30);
}

static void own_codes(struct unpacker *u)
{
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t length[CODES_MAX + 32] = {0};
    unsigned n_lengths = take(u, 5) + 257, n_distances = take(u, 5) + 1, n = take(u, 4) + 4;
    for (unsigned i = 0; i < n; i++)
        length[order[i]] = (uint8_t)take(u, 3);
    u->failed = u->failed || n_lengths > 286 || n_distances > 30 || !make_codes(&u->lengths, length, 19);
    memset(length, 0, 19);
    for (unsigned i = 0; i < n_lengths + n_distances && !u->failed;) {
        unsigned s = symbol(u, &u->lengths), times = 1;
        uint8_t value = (uint8_t)s;
        if (s >= 16) {
            times = s == 16 ? 3 + take(u, 2) : s == 17 ? 3 + take(u, 3) : 11 + take(u, 7);
            value = s == 16 && i ? length[i - 1] : 0;
            u->failed = u->failed || (s == 16 && !i);
        }
        u->failed = u->failed || i + times > n_lengths + n_distances;
        for (; times && !u->failed; times--)
            length[i++] = value;
    }
    u->failed = u->failed || !length[256] || !make_codes(&u->lengths, length, n_lengths) ||
                !make_codes(&u->distances, length + n_lengths, n_distances);
}

static void stored_block(struct unpacker *u)
{
    u->bits = u->n = 0; // up to the byte's end
    if (u->end - u->p < 4) {
        u->failed = true;
        return;
    }
    size_t n = (size_t)u->p[0] | (size_t)u->p[1] << 8, check = (size_t)u->p[2] | (size_t)u->p[3] << 8;
    u->p += 4;
    u->failed = n != (check ^ 0xffff) || n > (size_t)(u->end - u->p);
    if (u->failed || !room(u, n))
        return;
    memcpy(u->out->p + u->out->n, u->p, n);
    u->out->n += n;
    u->p += n;
}

static void body(struct unpacker *u)
{
    bool last = false;
    while (!last && !u->failed) {
        last = take(u, 1);
        unsigned kind = take(u, 2);
        if (kind == 0) {
            stored_block(u);
        } else if (kind == 3) {
            u->failed = true;
        } else {
            kind == 1 ? fixed_codes(u) : own_codes(u);
            coded_block(u);
        }
    }
}

// Behind the ten fixed bytes: extra field, name, comment, checksum.
static void skip_head(struct unpacker *u, uint8_t flags)
{
    if (flags & 4) {
        size_t n = u->end - u->p < 2 ? SIZE_MAX : 2 + ((size_t)u->p[0] | (size_t)u->p[1] << 8);
        u->failed = n > (size_t)(u->end - u->p);
        u->p += u->failed ? 0 : n;
    }
    for (int i = 0; i < 2 && !u->failed; i++) {
        if (!(flags & (i ? 16 : 8)))
            continue;
        const uint8_t *nul = memchr(u->p, 0, (size_t)(u->end - u->p));
        u->failed = !nul;
        u->p = nul ? nul + 1 : u->p;
    }
    if (flags & 2) {
        u->failed = u->failed || u->end - u->p < 2;
        u->p += u->failed ? 0 : 2;
    }
}

static void member(struct unpacker *u)
{
    uint32_t tail[2];
    u->start = u->out->n;
    u->bits = u->n = 0;
    u->failed = u->end - u->p < HEAD || u->p[0] != 0x1f || u->p[1] != 0x8b || u->p[2] != 8 || (u->p[3] & 0xe0);
    if (u->failed)
        return;
    u->p += HEAD;
    skip_head(u, u->p[3 - HEAD]);
    body(u);
    if (u->failed || u->end - u->p < TAIL) {
        u->failed = true;
        return;
    }
    memcpy(tail, u->p, TAIL);
    u->p += TAIL;
    struct slice made = slice_of(u->out->p + u->start, u->out->n - u->start);
    u->failed = tail[1] != (uint32_t)made.n || tail[0] != checksum(made);
}

enum errc gzip_small_unpack(struct slice in, size_t max, struct buf *out, struct error *err)
{
    struct unpacker *u = mem_zalloc(sizeof *u);
    if (!u)
        return ERR(err, NOMEM, "no memory to unpack gzip");
    u->p = (const uint8_t *)in.p;
    u->end = u->p + in.n;
    u->out = out;
    u->limit = out->n + max;
    enum errc rc = in.n ? ERR_OK : ERR(err, CORRUPT, "the gzip body is empty");
    while (rc == ERR_OK && u->p < u->end) {
        member(u);
        if (u->failed && out->err != ERR_OK)
            rc = ERR(err, LIMIT, "the gzip body unpacks to more than the limit of %zu bytes", max);
        else if (u->failed)
            rc = ERR(err, CORRUPT, "the body is not valid gzip");
    }
    mem_free(u);
    return rc;
}
