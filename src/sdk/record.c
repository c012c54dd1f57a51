// Reading one record of a ring, and the values that are more than a number; the writer is ring_push, the layout stands in ring.h.
#include "sdk/ring.h"

const uint8_t *rec_types(enum rec_kind kind, uint32_t *n)
{
    enum { S = SONDE_TYPE_STR, I = SONDE_TYPE_INT, U = SONDE_TYPE_UINT, F = SONDE_TYPE_F64, B = SONDE_TYPE_BOOL };
    enum { Y = SONDE_TYPE_BYTES, P = SONDE_TYPE_FIELDS };
    static const struct {
        uint8_t n, types[6];
    } rows[REC_KINDS] = {
        [REC_SPAN_START] = {6, {U, U, I, S, S, S}},
        [REC_SPAN_END] = {1, {I}},
        [REC_SPAN_STATUS] = {2, {U, S}},
        [REC_SPAN_EVENT] = {2, {I, S}},
        [REC_THREAD] = {2, {U, S}},
        [REC_SPAN_ATTR + S - 1] = {2, {S, S}},
        [REC_SPAN_ATTR + I - 1] = {2, {S, I}},
        [REC_SPAN_ATTR + U - 1] = {2, {S, U}},
        [REC_SPAN_ATTR + F - 1] = {2, {S, F}},
        [REC_SPAN_ATTR + B - 1] = {2, {S, B}},
        [REC_SPAN_MORE] = {5, {U, I, S, Y, P}},
        [REC_SPAN_PLAIN] = {3, {U, U, S}},
        [REC_SPAN_DONE] = {0, {0}},
    };
    *n = kind < REC_KINDS ? rows[kind].n : 0;
    return kind < REC_KINDS ? rows[kind].types : NULL;
}

static bool read_values(struct rec *out, const char *p, size_t size, const uint8_t *types, uint32_t n)
{
    if (n > REC_VALUES_MAX || size < 8 * (size_t)n)
        return false;
    const char *s = p + 8 * (size_t)n, *end = p + size;
    for (uint32_t i = 0; i < n; i++) {
        struct rec_value *v = &out->v[i];
        *v = (struct rec_value){.type = (enum sonde_type)types[i]};
        memcpy(&v->u, p + 8 * (size_t)i, 8);
        if (!rec_is_string(types[i]))
            continue;
        uint32_t length = (uint32_t)v->u, kept = (uint32_t)(v->u >> 32);
        v->absent = length == UINT32_MAX;
        v->cut = !v->absent && kept < length;
        if (kept > (size_t)(end - s))
            return false;
        v->s = slice_of(s, kept);
        s += kept;
    }
    out->n = n;
    return true;
}

bool rec_read(struct rec *out, const char *p, size_t size, const uint8_t *types, uint32_t n, bool own)
{
    struct rec_head h;
    if (size < sizeof h)
        return false;
    memcpy(&h, p, sizeof h);
    const char *at = p + sizeof h, *end = p + size;
    out->kind = rec_kind(h.what);
    out->site = rec_site(h.what);
    out->tick = h.tick;
    out->heap = NULL;
    out->in_span = h.what & REC_IN_SPAN;
    out->held = h.what & REC_HELD;
    if (out->in_span) {
        if (end - at < 24)
            return false;
        memcpy(out->trace_id, at, 16);
        memcpy(out->span_id, at + 16, 8);
        at += 24;
    }
    if (h.what & REC_EXTERN) {
        uint64_t ext[2];
        if (end - at < 16)
            return false;
        memcpy(ext, at, 16);
        at += 16;
        if (own && ext[1]) {
            out->heap = (char *)(uintptr_t)ext[0];
            return read_values(out, out->heap, ext[1], types, n);
        }
    }
    return read_values(out, at, (size_t)(end - at), types, n);
}

// ---- values with a length -------------------------------------------------------------------------------------------
static size_t strings_size(const char *const *p, size_t n)
{
    size_t size = 4 * n;
    for (size_t i = 0; i < n; i++)
        size += p[i] ? strlen(p[i]) : 0;
    return size;
}

size_t rec_string_size(unsigned type, const struct sonde_arg *a)
{
    if (type == SONDE_TYPE_ERROR)
        return 8 + (a->value.s ? strlen(a->value.s) : 1);
    if (a->n == SIZE_MAX)
        return 0;
    switch (type) {
    case SONDE_TYPE_INTS:
    case SONDE_TYPE_UINTS:
    case SONDE_TYPE_F64S:
        return a->n * 8;
    case SONDE_TYPE_STRS:
        return strings_size((const char *const *)(const void *)a->value.s, a->n);
    default:
        return a->n;
    }
}

struct piece { // where bytes go until there is no more room
    char *p;
    size_t room;
};

static void put(struct piece *to, const void *p, size_t n)
{
    n = n < to->room ? n : to->room;
    memcpy(to->p, p, n);
    to->p += n;
    to->room -= n;
}

size_t rec_string_put(char *to, size_t room, unsigned type, const struct sonde_arg *a)
{
    struct piece at = {to, room};
    if (type == SONDE_TYPE_ERROR) {
        int64_t code = (int64_t)a->n;
        put(&at, &code, 8);
        put(&at, a->value.s ? a->value.s : "\xff", a->value.s ? strlen(a->value.s) : 1);
    } else if (type == SONDE_TYPE_STRS && a->n != SIZE_MAX) {
        const char *const *strings = (const char *const *)(const void *)a->value.s;
        for (size_t i = 0; i < a->n; i++) {
            uint32_t n = strings[i] ? (uint32_t)strlen(strings[i]) : 0;
            put(&at, &n, 4);
            put(&at, strings[i] ? strings[i] : "", n);
        }
    } else {
        size_t n = rec_string_size(type, a);
        put(&at, n ? a->value.s : "", n);
    }
    return room - at.room;
}
