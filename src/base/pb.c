#include "base/pb.h"
#include "base/limits.h"

void pb_init(struct pb *r, struct slice bytes, struct error *err)
{
    const uint8_t *p = (const uint8_t *)(bytes.n ? bytes.p : "");
    *r = (struct pb){.start = p, .p = p, .tag = p, .end = p + bytes.n, .err = err};
}

static bool fail(struct pb *r, enum errc code, const char *what)
{
    if (!r->failed)
        error_raise(r->err, code, __FILE__, __LINE__, "protobuf: %s at byte %zu", what, (size_t)(r->p - r->start));
    for (; r; r = r->parent)
        r->failed = true;
    return false;
}

static bool varint(struct pb *r, uint64_t *v)
{
    const uint8_t *p = r->p;
    if (__builtin_expect(p < r->end && *p < 0x80, 1)) {
        *v = *p;
        r->p = p + 1;
        return true;
    }
    uint64_t all = 0;
    for (unsigned shift = 0; shift < 70; shift += 7, p++) {
        if (p == r->end)
            return fail(r, ERR_CORRUPT, "number cut off");
        if (shift == 63 && *p > 1)
            return fail(r, ERR_CORRUPT, "number of more than 64 bits");
        all |= (uint64_t)(*p & 0x7f) << shift;
        if (*p < 0x80) {
            *v = all;
            r->p = p + 1;
            return true;
        }
    }
    return fail(r, ERR_CORRUPT, "number of more than 64 bits");
}

bool pb_next(struct pb *r)
{
    uint64_t key;
    r->tag = r->p;
    if (r->failed || r->p == r->end || !varint(r, &key))
        return false;
    const uint8_t *after = r->p;
    r->p = r->tag; // a failure names the tag
    if (key >> 3 == 0 || key >> 32 != 0)
        return fail(r, ERR_CORRUPT, "field number out of range");
    unsigned wire = key & 7;
    if (wire == 3 || wire == 4)
        return fail(r, ERR_CORRUPT, "a group, which is not supported,");
    if (wire > PB_FIXED32)
        return fail(r, ERR_CORRUPT, "unknown wire type");
    r->p = after;
    r->field = (uint32_t)(key >> 3);
    r->wire = (enum pb_wire)wire;
    return true;
}

static bool expect(struct pb *r, enum pb_wire wire)
{
    static const char *const text[] = {
        [PB_VARINT] = "field is not a varint",
        [PB_FIXED64] = "field is not a 64-bit value",
        [PB_LEN] = "field is not a string, bytes or message",
        [PB_FIXED32] = "field is not a 32-bit value",
    };
    if (r->failed)
        return false;
    if (r->wire == wire)
        return true;
    r->p = r->tag;
    return fail(r, ERR_CORRUPT, text[wire]);
}

bool pb_u64(struct pb *r, uint64_t *v)
{
    return expect(r, PB_VARINT) && varint(r, v);
}

bool pb_i64(struct pb *r, int64_t *v)
{
    uint64_t u;
    if (!pb_u64(r, &u))
        return false;
    *v = (int64_t)u;
    return true;
}

bool pb_u32(struct pb *r, uint32_t *v)
{
    uint64_t u;
    if (!pb_u64(r, &u))
        return false;
    *v = (uint32_t)u;
    return true;
}

bool pb_bool(struct pb *r, bool *v)
{
    uint64_t u;
    if (!pb_u64(r, &u))
        return false;
    *v = u != 0;
    return true;
}

static bool fixed(struct pb *r, unsigned n, uint64_t *v)
{
    if ((size_t)(r->end - r->p) < n)
        return fail(r, ERR_CORRUPT, "fixed-size value cut off");
    *v = 0;
    for (unsigned i = 0; i < n; i++)
        *v |= (uint64_t)r->p[i] << 8 * i;
    r->p += n;
    return true;
}

bool pb_fixed64(struct pb *r, uint64_t *v)
{
    return expect(r, PB_FIXED64) && fixed(r, 8, v);
}

bool pb_fixed32(struct pb *r, uint32_t *v)
{
    uint64_t u;
    if (!expect(r, PB_FIXED32) || !fixed(r, 4, &u))
        return false;
    *v = (uint32_t)u;
    return true;
}

bool pb_double(struct pb *r, double *v)
{
    uint64_t u;
    if (!pb_fixed64(r, &u))
        return false;
    memcpy(v, &u, sizeof *v);
    return true;
}

bool pb_bytes(struct pb *r, struct slice *v)
{
    uint64_t n;
    const uint8_t *at = r->p;
    if (!expect(r, PB_LEN) || !varint(r, &n))
        return false;
    if (n > (uint64_t)(r->end - r->p)) {
        r->p = at;
        return fail(r, ERR_CORRUPT, "length reaches beyond the end");
    }
    *v = slice_of(r->p, (size_t)n);
    r->p += n;
    return true;
}

bool pb_string(struct pb *r, struct slice *v)
{
    return pb_bytes(r, v);
}

bool pb_message(struct pb *r, struct pb *child)
{
    struct slice bytes;
    const uint8_t *start = r->start;
    *child = (struct pb){.start = start, .p = r->p, .end = r->p, .tag = r->p, .err = r->err, .failed = true};
    if (r->depth + 1 >= MAX_PB_DEPTH && !r->failed)
        return fail(r, ERR_LIMIT, "messages nested too deeply");
    if (!pb_bytes(r, &bytes))
        return false;
    const uint8_t *p = (const uint8_t *)bytes.p;
    *child = (struct pb){.start = start, .p = p, .tag = p, .end = p + bytes.n, .err = r->err, .depth = r->depth + 1, .parent = r};
    return true;
}

void pb_skip(struct pb *r)
{
    uint64_t number;
    struct slice bytes;
    if (r->failed)
        return;
    switch (r->wire) {
    case PB_VARINT:
        varint(r, &number);
        break;
    case PB_FIXED64:
        fixed(r, 8, &number);
        break;
    case PB_FIXED32:
        fixed(r, 4, &number);
        break;
    case PB_LEN:
        pb_bytes(r, &bytes);
        break;
    }
}

bool pb_raw_field(struct pb *r, struct slice *raw)
{
    const uint8_t *tag = r->tag;
    pb_skip(r);
    if (r->failed)
        return false;
    *raw = slice_of(tag, (size_t)(r->p - tag));
    return true;
}

// ---- writer ---------------------------------------------------------------------------------------------------------
static unsigned varint_size(uint64_t v)
{
    return (unsigned)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

static char *put_varint(char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

void pb_w_varint(struct buf *b, uint64_t v)
{
    char text[10];
    buf_put(b, text, (size_t)(put_varint(text, v) - text));
}

static char *put_tag(char *p, uint32_t field, enum pb_wire wire)
{
    return put_varint(p, PB_TAG((uint64_t)field, wire));
}

void pb_w_u64(struct buf *b, uint32_t field, uint64_t v)
{
    char text[20];
    buf_put(b, text, (size_t)(put_varint(put_tag(text, field, PB_VARINT), v) - text));
}

void pb_w_i64(struct buf *b, uint32_t field, int64_t v)
{
    pb_w_u64(b, field, (uint64_t)v);
}
void pb_w_bool(struct buf *b, uint32_t field, bool v)
{
    pb_w_u64(b, field, v);
}

static void put_fixed(struct buf *b, uint32_t field, enum pb_wire wire, uint64_t v)
{
    char text[20], *p = put_tag(text, field, wire);
    for (int n = wire == PB_FIXED64 ? 8 : 4; n > 0; n--, v >>= 8)
        *p++ = (char)v;
    buf_put(b, text, (size_t)(p - text));
}

void pb_w_fixed64(struct buf *b, uint32_t field, uint64_t v)
{
    put_fixed(b, field, PB_FIXED64, v);
}
void pb_w_fixed32(struct buf *b, uint32_t field, uint32_t v)
{
    put_fixed(b, field, PB_FIXED32, v);
}

void pb_w_double(struct buf *b, uint32_t field, double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    pb_w_fixed64(b, field, u);
}

void pb_w_bytes(struct buf *b, uint32_t field, struct slice v)
{
    char head[20];
    buf_put(b, head, (size_t)(put_varint(put_tag(head, field, PB_LEN), v.n) - head));
    buf_put(b, v.p, v.n);
}

size_t pb_w_begin(struct buf *b, uint32_t field)
{
    char head[12], *p = put_tag(head, field, PB_LEN);
    *p++ = 0; // the length, if it fits into one byte
    buf_put(b, head, (size_t)(p - head));
    return b->n;
}

void pb_w_end(struct buf *b, size_t mark)
{
    if (b->err != ERR_OK)
        return;
    size_t n = b->n - mark;
    unsigned more = varint_size(n) - 1;
    if (more) {
        if (!buf_reserve(b, more))
            return;
        memmove(b->p + mark + more, b->p + mark, n);
        b->n += more;
    }
    put_varint(b->p + mark - 1, n);
}
