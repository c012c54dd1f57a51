#include "sdk/value.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "sdk/line.h"
#include <stdlib.h>

// As Rust's and Go's durations: the largest unit up to seconds, no zeros behind.
static void put_duration(struct buf *out, int64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *unit;
    } units[] = {{1000000000, "s"}, {1000000, "ms"}, {1000, "\xc2\xb5s"}, {1, "ns"}};
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    size_t i = 0;
    while (i < 3 && v < units[i].ns)
        i++;
    if (ns < 0)
        buf_char(out, '-');
    buf_u64(out, v / units[i].ns);
    uint64_t rest = v % units[i].ns;
    if (rest)
        buf_char(out, '.');
    for (uint64_t digit = units[i].ns / 10; rest; digit /= 10) {
        buf_char(out, (char)('0' + rest / digit));
        rest %= digit;
    }
    buf_str(out, units[i].unit);
}

static void put_error(struct buf *out, struct slice s)
{
    int64_t code;
    if (s.n < 8)
        return;
    memcpy(&code, s.p, 8);
    s = slice_from(s, 8);
    if (slice_eq(s, SLICE("\xff"))) {
        char text[128];
        buf_printf(out, "%s (os error %lld)", strerror_r((int)code, text, sizeof text), (long long)code);
        return;
    }
    buf_add(out, s);
    if (code)
        buf_printf(out, " (error %lld)", (long long)code);
}

void rec_value_string(struct buf *out, enum sonde_type type, uint64_t u, struct slice s)
{
    if (type == SONDE_TYPE_DURATION)
        put_duration(out, (int64_t)u);
    else if (type == SONDE_TYPE_ERROR)
        put_error(out, s);
    else
        buf_hex(out, s.p, s.n);
}

// ---- arrays ---------------------------------------------------------------------------------------------------------
bool rec_value_is_array(enum sonde_type type)
{
    return type >= SONDE_TYPE_INTS && type <= SONDE_TYPE_STRS;
}

bool rec_value_next(enum sonde_type array, struct slice *rest, struct rec_value *element)
{
    static const uint8_t types[] = {SONDE_TYPE_INT, SONDE_TYPE_UINT, SONDE_TYPE_F64, SONDE_TYPE_BOOL, SONDE_TYPE_STR};
    *element = (struct rec_value){.type = (enum sonde_type)types[array - SONDE_TYPE_INTS]};
    size_t size = array == SONDE_TYPE_BOOLS ? 1 : array == SONDE_TYPE_STRS ? 4 : 8;
    if (rest->n < size)
        return false;
    memcpy(&element->u, rest->p, size);
    *rest = slice_from(*rest, size);
    if (array == SONDE_TYPE_STRS) {
        element->s = slice_cut(*rest, element->u);
        *rest = slice_from(*rest, element->s.n);
    }
    return true;
}

static void put_array(struct buf *out, enum sonde_type type, struct slice s, bool json)
{
    struct rec_value v;
    bool more = false;
    buf_char(out, '[');
    while (rec_value_next(type, &s, &v)) {
        if (more)
            buf_put(out, ", ", json ? 1 : 2);
        more = true;
        if (json)
            line_json_value(out, v.type, v.u, v.s);
        else
            line_text_value(out, v.type, v.u, v.s);
    }
    buf_char(out, ']');
}

static void put_quoted(struct buf *out, enum sonde_type type, uint64_t u, struct slice s, bool json)
{
    struct buf text;
    buf_init(&text, LINE_MAX);
    rec_value_string(&text, type, u, s);
    struct slice made = text.err == ERR_OK ? buf_slice(&text) : SLICE_NONE;
    out->err = out->err == ERR_OK ? text.err : out->err;
    if (json)
        line_json_value(out, SONDE_TYPE_STR, 0, made);
    else
        line_text_value(out, SONDE_TYPE_STR, 0, made);
    buf_free(&text);
}

void rec_value_json(struct buf *out, enum sonde_type type, uint64_t u, struct slice s)
{
    if (rec_value_is_array(type)) {
        put_array(out, type, s, true);
    } else if (type == SONDE_TYPE_ERROR) {
        put_quoted(out, type, u, s, true);
    } else if (type == SONDE_TYPE_BYTES) {
        struct jw w = {.b = out};
        jw_base64(&w, s);
    } else {
        buf_char(out, '"');
        rec_value_string(out, type, u, s);
        buf_char(out, '"');
    }
}

void rec_value_text(struct buf *out, enum sonde_type type, uint64_t u, struct slice s)
{
    if (rec_value_is_array(type)) {
        put_array(out, type, s, false);
    } else if (type == SONDE_TYPE_ERROR) {
        put_quoted(out, type, u, s, false);
    } else if (type == SONDE_TYPE_BYTES) {
        buf_str(out, "0x");
        buf_hex(out, s.p, s.n);
    } else {
        rec_value_string(out, type, u, s);
    }
}

// ---- packed fields --------------------------------------------------------------------------------------------------
struct packed_head {
    uint8_t type, reserved;
    uint16_t key_n;
    uint32_t value_n;
};

// Bytes of the field; 0: absent.
static size_t packed_size(const struct sonde_field *f, struct packed_head *h)
{
    bool string = rec_is_string(f->type), known = f->type >= SONDE_TYPE_STR && f->type < SONDE_TYPE_MESSAGE;
    if (!known || !f->key || (string && f->type != SONDE_TYPE_ERROR && f->arg.n == SIZE_MAX))
        return 0;
    size_t key_n = strlen(f->key), value_n = string ? rec_string_size(f->type, &f->arg) : 8;
    if (value_n >= UINT32_MAX)
        return 0;
    *h = (struct packed_head){f->type, 0, (uint16_t)(key_n < 4000 ? key_n : 4000), (uint32_t)value_n};
    return sizeof *h + h->key_n + value_n;
}

static void write_packed(char *p, const struct packed_head *h, const struct sonde_field *f)
{
    memcpy(p, h, sizeof *h);
    memcpy(p + sizeof *h, f->key, h->key_n);
    p += sizeof *h + h->key_n;
    if (rec_is_string(f->type))
        rec_string_put(p, h->value_n, f->type, &f->arg);
    else
        memcpy(p, &f->arg.value.u, 8);
}

// A number or a string, which most are.
static inline size_t put_simple(char *to, size_t room, const struct sonde_field *f)
{
    bool string = f->type == SONDE_TYPE_STR;
    size_t key_n = strlen(f->key), value_n = string ? f->arg.n : 8, size = sizeof(struct packed_head) + key_n + value_n;
    if (key_n >= 4000 || value_n > room || size > room)
        return SIZE_MAX;
    struct packed_head h = {f->type, 0, (uint16_t)key_n, (uint32_t)value_n};
    memcpy(to, &h, sizeof h);
    rec_copy(to + sizeof h, f->key, key_n);
    to += sizeof h + key_n;
    if (string)
        rec_copy(to, f->arg.value.s, value_n);
    else
        memcpy(to, &f->arg.value.u, 8);
    return size;
}

size_t packed_put(char *to, size_t room, const struct sonde_field *f)
{
    struct packed_head h;
    if (f->type >= SONDE_TYPE_STR && f->type <= SONDE_TYPE_BOOL && f->key &&
        !(f->type == SONDE_TYPE_STR && f->arg.n == SIZE_MAX)) {
        size_t simple = put_simple(to, room, f);
        if (simple != SIZE_MAX)
            return simple;
    }
    size_t n = packed_size(f, &h);
    if (n > room)
        return SIZE_MAX;
    if (n)
        write_packed(to, &h, f);
    return n;
}

void packed_append(struct buf *to, const struct sonde_field *f)
{
    struct packed_head h;
    size_t n = packed_size(f, &h);
    char *p = n ? buf_reserve(to, n) : NULL;
    if (p) {
        write_packed(p, &h, f);
        to->n += n;
    }
}

bool packed_next(struct slice *rest, struct packed_field *f)
{
    struct packed_head h;
    if (rest->n < sizeof h)
        return false;
    memcpy(&h, rest->p, sizeof h);
    struct slice body = slice_from(*rest, sizeof h);
    if (h.type < SONDE_TYPE_STR || h.type >= SONDE_TYPE_MESSAGE || body.n < (size_t)h.key_n + h.value_n)
        return false;
    *f = (struct packed_field){.key = slice_cut(body, h.key_n), .v = {.type = (enum sonde_type)h.type}};
    struct slice value = slice_cut(slice_from(body, h.key_n), h.value_n);
    *rest = slice_from(body, (size_t)h.key_n + h.value_n);
    if (rec_is_string(h.type))
        f->v.s = value;
    else if (value.n == 8)
        memcpy(&f->v.u, value.p, 8);
    else
        return false;
    return true;
}

static int by_key(const void *a, const void *b)
{
    const struct packed_field *x = *(struct packed_field *const *)a, *y = *(struct packed_field *const *)b;
    int c = slice_cmp(x->key, y->key);
    return c ? c : (x > y) - (x < y);
}

static void mark_replaced(struct packed *p)
{
    struct packed_field **order = mem_alloc(p->n * sizeof *order);
    p->failed = !order;
    for (size_t i = 0; order && i < p->n; i++)
        order[i] = &p->field[i];
    if (order && p->n)
        qsort(order, p->n, sizeof *order, by_key);
    for (size_t i = 1; order && i < p->n; i++)
        order[i - 1]->replaced = slice_eq(order[i - 1]->key, order[i]->key);
    mem_free(order);
}

void packed_read(struct packed *out, struct slice s)
{
    struct packed_field f;
    size_t n = 0, renamed = 0;
    memset(out, 0, sizeof *out);
    buf_init(&out->names, MIB(32));
    for (struct slice rest = s; packed_next(&rest, &f); n++)
        renamed += site_reserved(f.key) ? f.key.n + 6 : 0;
    out->field = n ? mem_alloc(n * sizeof *out->field) : NULL;
    out->failed = (n && !out->field) || (renamed && !buf_reserve(&out->names, renamed)); // room first: the names must not move
    if (!n || out->failed)
        return;
    for (; out->n < n && packed_next(&s, &f); out->n++) {
        if (site_reserved(f.key)) {
            size_t at = out->names.n;
            buf_str(&out->names, "field.");
            buf_add(&out->names, f.key);
            f.key = slice_of(out->names.p + at, out->names.n - at);
        }
        out->field[out->n] = f;
    }
    mark_replaced(out);
}

void packed_free(struct packed *p)
{
    mem_free(p->field);
    buf_free(&p->names);
}
