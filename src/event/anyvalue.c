#include "event/anyvalue.h"
#include "event/otlp_numbers.h"
#include "event/otlp_schema.h"
#include "event/wire.h"

// The alternative that counts: the last one on the wire.
struct any {
    enum pb_any is;
    bool b;
    int64_t i64;
    double f64;
    struct slice s;     // string, bytes
    struct pb children; // array, kvlist
};

static bool any_parse(struct pb *r, struct any *a)
{
    *a = (struct any){0};
    while (pb_next(r)) {
        uint32_t field = r->field;
        bool ok = true;
        switch (field) {
        case PB_ANY_STRING:
        case PB_ANY_BYTES:
            ok = pb_bytes(r, &a->s);
            break;
        case PB_ANY_BOOL:
            ok = pb_bool(r, &a->b);
            break;
        case PB_ANY_INT:
            ok = pb_i64(r, &a->i64);
            break;
        case PB_ANY_DOUBLE:
            ok = pb_double(r, &a->f64);
            break;
        case PB_ANY_ARRAY:
        case PB_ANY_KVLIST:
            ok = pb_message(r, &a->children);
            break;
        default:
            pb_skip(r);
            continue;
        }
        if (ok)
            a->is = (enum pb_any)field;
    }
    return !r->failed;
}

bool anyvalue_read(struct pb *r, struct slice any, struct value *out)
{
    struct any a;
    if (!any_parse(r, &a))
        return false;
    switch (a.is) {
    case PB_ANY_STRING:
        *out = (struct value){.kind = COL_STR, .s = a.s};
        break;
    case PB_ANY_BOOL:
        *out = (struct value){.kind = COL_BOOL, .b = a.b};
        break;
    case PB_ANY_INT:
        *out = (struct value){.kind = COL_I64, .i64 = a.i64};
        break;
    case PB_ANY_DOUBLE:
        *out = (struct value){.kind = COL_F64, .f64 = a.f64};
        break;
    default:
        *out = (struct value){.kind = COL_ANY, .s = any};
        break;
    }
    return true;
}

// ---- plain JSON -----------------------------------------------------------------------------------------------------

static void any_plain(struct pb *r, struct jw *w);

static void pair_plain(struct pb *r, struct jw *w)
{
    struct slice key = SLICE("");
    struct pb value = {0};
    bool has_value = false;
    while (pb_next(r)) {
        if (r->field == PB_PAIR_KEY)
            pb_bytes(r, &key);
        else if (r->field == PB_PAIR_VALUE)
            has_value |= pb_message(r, &value);
        else
            pb_skip(r);
    }
    jw_key(w, key);
    if (has_value)
        any_plain(&value, w);
    else
        jw_null(w);
}

static void children_plain(struct pb *r, struct jw *w, void (*one)(struct pb *, struct jw *))
{
    struct pb child;
    while (pb_next(r)) {
        if (r->field != PB_ARRAY_VALUES)
            pb_skip(r);
        else if (pb_message(r, &child))
            one(&child, w);
    }
}

static void any_plain(struct pb *r, struct jw *w)
{
    struct any a;
    any_parse(r, &a);
    switch (a.is) {
    case PB_ANY_NONE:
        jw_null(w);
        break;
    case PB_ANY_STRING:
        jw_str(w, a.s);
        break;
    case PB_ANY_BOOL:
        jw_bool(w, a.b);
        break;
    case PB_ANY_INT:
        jw_i64(w, a.i64);
        break;
    case PB_ANY_DOUBLE:
        jw_f64(w, a.f64);
        break;
    case PB_ANY_ARRAY:
        jw_arr(w);
        children_plain(&a.children, w, any_plain);
        jw_arr_end(w);
        break;
    case PB_ANY_KVLIST:
        jw_obj(w);
        children_plain(&a.children, w, pair_plain);
        jw_obj_end(w);
        break;
    case PB_ANY_BYTES:
        jw_base64(w, a.s);
        break;
    }
}

// Checked before anything is written: a damaged value must not leave half a JSON text behind.
static bool any_good(struct slice any)
{
    struct pb r;
    bool dirty = false;
    pb_init(&r, any, NULL);
    return otlp_check(&r, &otlp_any_value, &dirty);
}

enum errc anyvalue_json(struct slice any, struct jw *w)
{
    if (!any_good(any)) {
        jw_null(w);
        return ERR_CORRUPT;
    }
    struct pb r;
    pb_init(&r, any, NULL);
    any_plain(&r, w);
    return w->b->err;
}

// ---- one after the other --------------------------------------------------------------------------------------------

// Steps to the next field of that number and gives its content; *rest is what follows.
static bool next_message(struct slice *rest, uint32_t field, struct slice *out)
{
    struct pb r;
    pb_init(&r, *rest, NULL);
    while (pb_next(&r)) {
        if (r.field != field || r.wire != PB_LEN) {
            pb_skip(&r);
            continue;
        }
        if (!pb_bytes(&r, out))
            break;
        *rest = slice_of(r.p, (size_t)(r.end - r.p));
        return true;
    }
    *rest = SLICE_NONE;
    return false;
}

bool span_event_next(struct slice *events, struct span_event *out)
{
    struct slice m;
    if (!next_message(events, PB_SPAN_EVENTS, &m))
        return false;
    *out = (struct span_event){.name = SLICE(""), .attrs = m};
    struct pb r;
    pb_init(&r, m, NULL);
    while (pb_next(&r)) {
        uint64_t t;
        if (r.field == PB_EVENT_TIME && pb_fixed64(&r, &t))
            out->time = t > INT64_MAX ? INT64_MAX : (int64_t)t;
        else if (r.field == PB_EVENT_NAME)
            pb_bytes(&r, &out->name);
        else if (r.field != PB_EVENT_TIME)
            pb_skip(&r);
    }
    return true;
}

bool span_event_attr(struct slice *attrs, struct attr *out)
{
    struct slice m, any = SLICE("");
    if (!next_message(attrs, PB_EVENT_ATTRS, &m))
        return false;
    *out = (struct attr){.key = SLICE("")};
    struct pb r;
    pb_init(&r, m, NULL);
    while (pb_next(&r)) {
        if (r.field == PB_PAIR_KEY)
            pb_bytes(&r, &out->key);
        else if (r.field == PB_PAIR_VALUE)
            pb_bytes(&r, &any);
        else
            pb_skip(&r);
    }
    pb_init(&r, any, NULL);
    if (!anyvalue_read(&r, any, &out->value))
        out->value = (struct value){.kind = COL_ANY, .s = SLICE("")};
    return true;
}
