// The JSON mapping of OTLP, both ways, driven by the tables of otlp_schema.c. Reading goes through protobuf so that the two
// encodings of a request cannot give different rows.
#include "base/utf8.h"
#include "event/otlp_schema.h"

// ---- JSON → protobuf ------------------------------------------------------------------------------------------------

// Hex that is none becomes one byte: an id of a wrong length, which costs that record and not the whole request.
static void hex_from_json(struct slice text, uint32_t field, struct buf *out)
{
    char id[64];
    size_t n = text.n / 2;
    if (text.n % 2 || n > sizeof id || !hex_decode(id, n, text)) {
        id[0] = 0;
        n = 1;
    }
    pb_w_bytes(out, field, slice_of(id, n));
}

static bool number_from_json(struct json *j, const struct otlp_field *f, struct buf *out)
{
    uint64_t u;
    int64_t i;
    double d;
    bool b;
    switch (f->type) {
    case OTLP_I64:
        if (json_i64(j, &i))
            pb_w_i64(out, f->number, i);
        break;
    case OTLP_FIXED64:
        if (json_u64(j, &u))
            pb_w_fixed64(out, f->number, u);
        break;
    case OTLP_SFIXED64:
        if (json_i64(j, &i))
            pb_w_fixed64(out, f->number, (uint64_t)i);
        break;
    case OTLP_U64:
        if (json_u64(j, &u))
            pb_w_u64(out, f->number, u);
        break;
    case OTLP_S32:
        if (json_i64(j, &i) && (i < INT32_MIN || i > INT32_MAX))
            json_fail(j, "a number that fits 32 bits was expected");
        else if (!j->failed)
            pb_w_u64(out, f->number, (uint32_t)((uint32_t)i << 1 ^ (uint32_t)(i >> 31)));
        break;
    case OTLP_DOUBLE:
        if (json_f64(j, &d))
            pb_w_double(out, f->number, d);
        break;
    case OTLP_BOOL:
        if (json_bool(j, &b))
            pb_w_bool(out, f->number, b);
        break;
    case OTLP_U32:
    case OTLP_FIXED32:
        if (json_i64(j, &i) && (i < INT32_MIN || i > UINT32_MAX))
            json_fail(j, "a number that fits 32 bits was expected");
        else if (!j->failed && f->type == OTLP_U32)
            pb_w_u64(out, f->number, (uint32_t)i);
        else if (!j->failed)
            pb_w_fixed32(out, f->number, (uint32_t)i);
        break;
    default:
        break;
    }
    return !j->failed;
}

static bool value_from_json(struct json *j, const struct otlp_field *f, struct buf *out)
{
    struct slice s, bytes;
    switch (f->type) {
    case OTLP_STRING:
        if (json_string(j, &s))
            pb_w_bytes(out, f->number, s);
        return !j->failed;
    case OTLP_HEX:
        if (json_string(j, &s))
            hex_from_json(s, f->number, out);
        return !j->failed;
    case OTLP_BASE64:
        if (json_string(j, &s)) {
            if (!base64_decode(j->arena, s, &bytes))
                return json_fail(j, "base64 was expected");
            pb_w_bytes(out, f->number, bytes);
        }
        return !j->failed;
    case OTLP_MESSAGE: {
        size_t mark = pb_w_begin(out, f->number);
        bool ok = otlp_from_json(j, f->message, out);
        pb_w_end(out, mark);
        return ok;
    }
    default:
        return number_from_json(j, f, out);
    }
}

// Numbers are packed: their values without tags.
static bool packed_from_json(struct json *j, const struct otlp_field *f, struct buf *out)
{
    size_t mark = pb_w_begin(out, f->number);
    while (json_next_item(j)) {
        size_t at = out->n;
        if (!number_from_json(j, f, out))
            break;
        size_t tag = f->number < 16 ? 1 : 2;
        if (out->err == ERR_OK && out->n > at + tag) {
            memmove(out->p + at, out->p + at + tag, out->n - at - tag);
            out->n -= tag;
        }
    }
    pb_w_end(out, mark);
    return !j->failed;
}

bool otlp_from_json(struct json *j, const struct otlp_message *m, struct buf *out)
{
    struct slice key;
    json_object(j);
    while (json_next_key(j, &key)) {
        const struct otlp_field *f = otlp_field_by_name(m, key);
        if (!f || json_peek(j) == JSON_NULL) {
            json_skip(j, NULL);
        } else if (!f->repeated) {
            value_from_json(j, f, out);
        } else if (otlp_packed(f, PB_LEN)) {
            if (json_array(j))
                packed_from_json(j, f, out);
        } else if (json_array(j)) {
            while (json_next_item(j))
                value_from_json(j, f, out);
        }
    }
    return !j->failed;
}

// ---- protobuf → JSON ------------------------------------------------------------------------------------------------

static void double_to_json(double d, struct jw *w)
{
    if (d != d)
        jw_str(w, SLICE("NaN"));
    else if (d > 1.7976931348623157e308)
        jw_str(w, SLICE("Infinity"));
    else if (d < -1.7976931348623157e308)
        jw_str(w, SLICE("-Infinity"));
    else
        jw_f64(w, d);
}

static bool value_to_json(struct pb *r, const struct otlp_field *f, struct jw *w);

static bool packed_to_json(struct pb *r, const struct otlp_field *f, struct jw *w)
{
    struct slice s = SLICE_NONE;
    struct pb each;
    pb_bytes(r, &s);
    pb_init(&each, s, NULL);
    each.wire = f->type == OTLP_FIXED64 || f->type == OTLP_SFIXED64 || f->type == OTLP_DOUBLE ? PB_FIXED64
                : f->type == OTLP_FIXED32                                                     ? PB_FIXED32
                                                                                              : PB_VARINT;
    while (each.p < each.end && !each.failed)
        value_to_json(&each, f, w);
    r->failed |= each.failed;
    return !r->failed;
}

static void text_to_json(struct pb *r, enum otlp_type type, struct jw *w)
{
    struct slice s = SLICE("");
    pb_bytes(r, &s);
    if (type == OTLP_HEX)
        jw_hex(w, s.p, s.n);
    else if (type == OTLP_BASE64)
        jw_base64(w, s);
    else
        jw_str(w, s);
}

static void number_to_json(struct pb *r, enum otlp_type type, struct jw *w)
{
    uint64_t u = 0;
    int64_t i = 0;
    uint32_t u32 = 0;
    double d = 0;
    switch (type) {
    case OTLP_U32:
        pb_u32(r, &u32);
        jw_u64(w, u32);
        break;
    case OTLP_I64:
        pb_i64(r, &i);
        jw_str_i64(w, i);
        break;
    case OTLP_FIXED64:
        pb_fixed64(r, &u);
        jw_str_u64(w, u);
        break;
    case OTLP_SFIXED64:
        pb_fixed64(r, &u);
        jw_str_i64(w, (int64_t)u);
        break;
    case OTLP_U64:
        pb_u64(r, &u);
        jw_str_u64(w, u);
        break;
    case OTLP_S32:
        pb_u64(r, &u);
        jw_i64(w, (int32_t)((uint32_t)(u >> 1) ^ (0u - (uint32_t)(u & 1))));
        break;
    case OTLP_FIXED32:
        pb_fixed32(r, &u32);
        jw_u64(w, u32);
        break;
    default:
        pb_double(r, &d);
        double_to_json(d, w);
    }
}

static bool value_to_json(struct pb *r, const struct otlp_field *f, struct jw *w)
{
    struct pb child;
    bool b = false;
    if (otlp_packed(f, r->wire))
        return packed_to_json(r, f, w);
    switch (f->type) {
    case OTLP_STRING:
    case OTLP_HEX:
    case OTLP_BASE64:
        text_to_json(r, f->type, w);
        break;
    case OTLP_BOOL:
        pb_bool(r, &b);
        jw_bool(w, b);
        break;
    case OTLP_MESSAGE:
        if (!pb_message(r, &child))
            jw_null(w);
        else if (!otlp_to_json(&child, f->message, w))
            r->failed = true;
        break;
    default:
        number_to_json(r, f->type, w);
    }
    return !r->failed;
}

// What a message holds: which known fields (bit i: m->fields[i]), where the value of the last of each ends, and whether they
// stand in a plain order: each field's occurrences together, one of what is not repeated.
struct survey {
    uint32_t present;
    bool plain;
    const uint8_t *last[32];
};

static void look_over(struct pb r, const struct otlp_message *m, struct survey *s)
{
    uint32_t newest = 0;
    s->present = 0;
    s->plain = true;
    while (pb_next(&r)) {
        const struct otlp_field *f = otlp_field_by_number(m, r.field);
        pb_skip(&r);
        if (!f)
            continue;
        uint32_t bit = 1u << (f - m->fields);
        if ((s->present & bit) && (newest != bit || !f->repeated))
            s->plain = false;
        newest = bit;
        s->present |= bit;
        s->last[f - m->fields] = r.p;
    }
    if (m->oneof) {
        s->plain = s->plain && s->present == newest;
        s->present = newest;
    }
}

// One walk, in the order of the wire.
static void plain_to_json(struct pb *r, const struct otlp_message *m, struct jw *w)
{
    const struct otlp_field *open = NULL;
    while (pb_next(r)) {
        const struct otlp_field *f = otlp_field_by_number(m, r->field);
        if (!f) {
            pb_skip(r);
            continue;
        }
        if (f != open) {
            if (open && open->repeated)
                jw_arr_end(w);
            jw_key(w, f->json);
            if (f->repeated)
                jw_arr(w);
            open = f;
        }
        value_to_json(r, f, w);
    }
    if (open && open->repeated)
        jw_arr_end(w);
}

// One walk for each field that occurs.
static void field_to_json(struct pb *r, const struct otlp_field *f, const uint8_t *last, struct jw *w)
{
    jw_key(w, f->json);
    if (f->repeated)
        jw_arr(w);
    struct pb walk = *r;
    while (walk.p != last && pb_next(&walk)) {
        struct pb ahead = walk;
        pb_skip(&ahead);
        if (walk.field == f->number && (f->repeated || ahead.p == last))
            value_to_json(&walk, f, w);
        else
            walk = ahead;
    }
    r->failed |= walk.failed;
    if (f->repeated)
        jw_arr_end(w);
}

bool otlp_to_json(struct pb *r, const struct otlp_message *m, struct jw *w)
{
    struct survey s;
    look_over(*r, m, &s);
    jw_obj(w);
    if (s.plain)
        plain_to_json(r, m, w);
    for (uint32_t i = 0; !s.plain && i < m->n && !r->failed; i++)
        if (s.present & 1u << i)
            field_to_json(r, &m->fields[i], s.last[i], w);
    jw_obj_end(w);
    return !r->failed;
}
