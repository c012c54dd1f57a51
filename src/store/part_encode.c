// Numbers, texts, values and columns as the bytes of a part (part_format.h).
#include "store/part_encode.h"
#include "base/alloc.h"
#include "base/limits.h"

enum { DICT_SLOTS = 1024 };

void part_put_varint(struct buf *b, uint64_t v)
{
    char *p = buf_reserve(b, 10);
    if (!p)
        return;
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        p[n++] = (char)(v | 0x80);
    p[n++] = (char)v;
    b->n += n;
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}
void part_put_fixed(struct buf *b, int64_t v)
{
    buf_put(b, &v, sizeof v);
}
void part_put_text(struct buf *b, struct slice s)
{
    part_put_varint(b, s.n);
    buf_add(b, s);
}
void part_put_id128(struct buf *b, struct id128 id)
{
    char bytes[16];
    id128_store(bytes, id);
    buf_put(b, bytes, sizeof bytes);
}
void part_put_piece(struct buf *b, const struct part_piece *p)
{
    part_put_varint(b, p->zstd);
    part_put_varint(b, p->offset);
    part_put_varint(b, p->stored);
    part_put_varint(b, p->raw);
    part_put_fixed(b, (int64_t)p->check);
}

void part_put_value(struct buf *b, const struct value *v)
{
    buf_char(b, (char)v->kind);
    switch (v->kind) {
    case COL_I64:
        part_put_fixed(b, v->i64);
        break;
    case COL_F64:
        buf_put(b, &v->f64, sizeof v->f64);
        break;
    case COL_BOOL:
        buf_char(b, v->b ? 1 : 0);
        break;
    case COL_ID64:
        buf_put(b, &v->id64, sizeof v->id64);
        break;
    case COL_ID128:
        part_put_id128(b, v->id128);
        break;
    default:
        part_put_text(b, v->s);
    }
}

void part_encode_delta(struct buf *b, const int64_t *v, uint32_t n)
{
    int64_t before = 0;
    for (uint32_t i = 0; i < n; i++) {
        part_put_varint(b, zigzag((int64_t)((uint64_t)v[i] - (uint64_t)before)));
        before = v[i];
    }
}

void part_encode_runs(struct buf *b, const uint32_t *v, uint32_t n)
{
    uint32_t before = 0;
    for (uint32_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && v[i + run] == v[i]; run++)
            ;
        part_put_varint(b, v[i] - before);
        part_put_varint(b, run);
        before = v[i];
    }
}

static void encode_plain_text(struct buf *b, const struct slice *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        part_put_varint(b, s[i].n);
    for (uint32_t i = 0; i < n; i++)
        buf_add(b, s[i]);
}

// False when there are too many different texts for a dictionary.
static bool encode_dict(struct buf *b, const struct slice *s, uint32_t n)
{
    uint16_t slot[DICT_SLOTS] = {0}; // number + 1
    uint32_t first[PART_DICT_MAX], n_dict = 0;
    uint8_t choice[MAX_PART_BLOCK_ROWS];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t h = (uint32_t)hash64(s[i].p, s[i].n) & (DICT_SLOTS - 1);
        while (slot[h] && !slice_eq(s[first[slot[h] - 1]], s[i]))
            h = (h + 1) & (DICT_SLOTS - 1);
        if (!slot[h]) {
            if (n_dict == PART_DICT_MAX || n_dict * 2 > n)
                return false;
            first[n_dict++] = i;
            slot[h] = (uint16_t)n_dict;
        }
        choice[i] = (uint8_t)(slot[h] - 1);
    }
    part_put_varint(b, n_dict);
    for (uint32_t i = 0; i < n_dict; i++)
        part_put_text(b, s[first[i]]);
    buf_put(b, choice, n);
    return true;
}

enum part_encoding part_encode_values(struct buf *b, const struct column *c, uint32_t from, uint32_t n)
{
    switch (c->kind) {
    case COL_I64:
        part_encode_delta(b, c->i64 + from, n);
        return PART_DELTA;
    case COL_F64:
        part_encode_numbers(b, c->f64 + from, n);
        return PART_NUMBERS;
    case COL_BOOL:
        for (uint32_t i = 0; i < n; i++)
            buf_char(b, c->b[from + i] ? 1 : 0);
        return PART_PLAIN;
    case COL_ID64:
        buf_put(b, c->id64 + from, n * sizeof *c->id64);
        return PART_PLAIN;
    case COL_ID128:
        for (uint32_t i = 0; i < n; i++)
            part_put_id128(b, c->id128[from + i]);
        return PART_PLAIN;
    default:
        if (encode_dict(b, c->s + from, n))
            return PART_DICT;
        encode_plain_text(b, c->s + from, n);
        return PART_PLAIN;
    }
}

uint32_t part_count_ids(const struct id128 *v, uint32_t n)
{
    uint64_t bits = 64; // four a possible id: where two fall on one bit, one is not counted
    while (bits < 4 * (uint64_t)n)
        bits *= 2;
    uint64_t *seen = mem_zalloc(bits / 8);
    uint32_t count = 0;
    if (!seen)
        return n;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at = part_bloom_bit(v[i], 0, bits), bit = 1ull << (at & 63);
        count += !(seen[at / 64] & bit);
        seen[at / 64] |= bit;
    }
    mem_free(seen);
    return count;
}
