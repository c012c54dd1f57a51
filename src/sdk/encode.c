#include "sdk/encode.h"
#include "base/limits.h"
#include "base/pb.h"
#include "base/utf8.h"
#include "event/otlp_numbers.h"
#include "sdk/env.h"
#include "sdk/value.h"
#include <stdio.h>

// ---- values ---------------------------------------------------------------------------------------------------------
// Most texts are ASCII, and short.
static inline bool text_valid(struct slice s)
{
    uint64_t bits = 0, w;
    uint32_t half[2];
    if (s.n >= 8) { // whole words; the last one may overlap the one before
        for (size_t i = 0; i + 8 < s.n; i += 8) {
            memcpy(&w, s.p + i, 8);
            bits |= w;
        }
        memcpy(&w, s.p + s.n - 8, 8);
        bits |= w;
    } else if (s.n >= 4) {
        memcpy(&half[0], s.p, 4);
        memcpy(&half[1], s.p + s.n - 4, 4);
        bits = half[0] | half[1];
    } else {
        for (size_t i = 0; i < s.n; i++)
            bits |= (uint8_t)s.p[i];
    }
    return !(bits & 0x8080808080808080u) || utf8_valid(s);
}

static void put_string(struct buf *b, uint32_t field, struct slice s)
{
    if (text_valid(s)) {
        pb_w_bytes(b, field, s);
        return;
    }
    size_t mark = pb_w_begin(b, field); // protobuf strings must be UTF-8
    utf8_append_clean(b, s);
    pb_w_end(b, mark);
}

static void put_any(struct buf *b, enum sonde_type type, uint64_t u, struct slice s);

static void put_array(struct buf *b, enum sonde_type type, struct slice s)
{
    struct rec_value v;
    size_t array = pb_w_begin(b, PB_ANY_ARRAY);
    while (rec_value_next(type, &s, &v)) {
        size_t any = pb_w_begin(b, PB_ARRAY_VALUES);
        put_any(b, v.type, v.u, v.s);
        pb_w_end(b, any);
    }
    pb_w_end(b, array);
}

// What JSON lines tell as a string, so that both ways find the same text.
static void put_text(struct buf *b, enum sonde_type type, uint64_t u, struct slice s)
{
    struct buf text;
    buf_init(&text, LINE_MAX);
    rec_value_string(&text, type, u, s);
    put_string(b, PB_ANY_STRING, text.err == ERR_OK ? buf_slice(&text) : SLICE_NONE);
    buf_free(&text);
}

static void put_any(struct buf *b, enum sonde_type type, uint64_t u, struct slice s)
{
    double f;
    memcpy(&f, &u, 8);
    switch (type) {
    case SONDE_TYPE_STR:
        put_string(b, PB_ANY_STRING, s);
        break;
    case SONDE_TYPE_BOOL:
        pb_w_bool(b, PB_ANY_BOOL, u != 0);
        break;
    case SONDE_TYPE_INT:
        pb_w_i64(b, PB_ANY_INT, (int64_t)u);
        break;
    case SONDE_TYPE_UINT:
        if (u <= INT64_MAX) {
            pb_w_i64(b, PB_ANY_INT, (int64_t)u);
        } else { // AnyValue has no unsigned: the digits keep the value whole
            char text[24];
            pb_w_bytes(b, PB_ANY_STRING, slice_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)u)));
        }
        break;
    case SONDE_TYPE_F64:
        pb_w_double(b, PB_ANY_DOUBLE, f);
        break;
    case SONDE_TYPE_BYTES:
        pb_w_bytes(b, PB_ANY_BYTES, s);
        break;
    default:
        if (rec_value_is_array(type))
            put_array(b, type, s);
        else
            put_text(b, type, u, s);
        break;
    }
}

// Lengths below 128 take one byte each, which is most attributes: no back-patching then.
static bool put_short(struct buf *b, uint32_t field, struct slice key, enum sonde_type type, uint64_t u, struct slice s)
{
    bool text = type == SONDE_TYPE_STR, number = type == SONDE_TYPE_INT || (type == SONDE_TYPE_UINT && u <= INT64_MAX);
    size_t value = text ? 2 + s.n : type == SONDE_TYPE_BOOL ? 2 : type == SONDE_TYPE_F64 ? 9 : 11;
    if (key.n > 60 || (text && s.n > 40) || !(text || number || type == SONDE_TYPE_BOOL || type == SONDE_TYPE_F64))
        return false;
    if (!text_valid(key) || (text && !text_valid(s)))
        return false;
    const size_t most = key.n + value + 8;
    bool room = b->err == ERR_OK && most < b->cap - b->n;
    char *start = __builtin_expect(room, 1) ? b->p + b->n : buf_reserve(b, most), *p = start;
    if (!p)
        return true; // the buffer remembers
    *p++ = (char)PB_TAG(field, PB_LEN);
    char *kv = p++;
    *p++ = PB_TAG(PB_PAIR_KEY, PB_LEN);
    *p++ = (char)key.n;
    rec_copy(p, key.p, key.n);
    p += key.n;
    *p++ = PB_TAG(PB_PAIR_VALUE, PB_LEN);
    char *any = p++;
    if (text) {
        *p++ = PB_TAG(PB_ANY_STRING, PB_LEN);
        *p++ = (char)s.n;
        rec_copy(p, s.p, s.n);
        p += s.n;
    } else if (type == SONDE_TYPE_F64) {
        *p++ = PB_TAG(PB_ANY_DOUBLE, PB_FIXED64);
        memcpy(p, &u, 8);
        p += 8;
    } else {
        *p++ = (char)PB_TAG(type == SONDE_TYPE_BOOL ? PB_ANY_BOOL : PB_ANY_INT, PB_VARINT);
        u = type == SONDE_TYPE_BOOL ? u != 0 : u;
        for (; u >= 0x80; u >>= 7)
            *p++ = (char)(u | 0x80);
        *p++ = (char)u;
    }
    *any = (char)(p - any - 1);
    *kv = (char)(p - kv - 1);
    b->n += (size_t)(p - start);
    return true;
}

static void put_attr(struct buf *b, uint32_t field, struct slice key, enum sonde_type type, uint64_t u, struct slice s)
{
    if (field < 16 && put_short(b, field, key, type, u, s))
        return;
    size_t kv = pb_w_begin(b, field);
    put_string(b, PB_PAIR_KEY, key);
    size_t any = pb_w_begin(b, PB_PAIR_VALUE);
    put_any(b, type, u, s);
    pb_w_end(b, any);
    pb_w_end(b, kv);
}

void encode_attr(struct buf *out, uint32_t field, struct slice key, enum sonde_type type, uint64_t u, struct slice s)
{
    put_attr(out, field, key, type, u, s);
}

// ---- limits of log records ------------------------------------------------------------------------------------------
static struct {
    uint32_t count, length; // characters
} limits = {128, UINT32_MAX};

static uint32_t limit_env(const char *own, const char *general, uint32_t otherwise)
{
    const char *v = env_get(own);
    int64_t n = env_int(v && *v ? own : general);
    return n < 0 ? otherwise : (uint32_t)n;
}

void encode_limits_read(void)
{
    limits.count = limit_env("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", 128);
    limits.length = limit_env("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", UINT32_MAX);
}

static struct slice shorten(struct slice s)
{
    size_t chars = 0, i = 0;
    for (; i < s.n && (chars < limits.length || (s.p[i] & 0xc0) == 0x80); i++)
        chars += (s.p[i] & 0xc0) != 0x80;
    return slice_cut(s, i);
}

struct log_attrs {
    struct buf *b;
    uint32_t n, dropped;
};

static void put_log_attr(struct log_attrs *a, struct slice key, enum sonde_type type, uint64_t u, struct slice s)
{
    struct buf cut;
    if (a->n == limits.count) {
        a->dropped++;
        return;
    }
    a->n++;
    if (__builtin_expect(limits.length == UINT32_MAX, 1) || (type != SONDE_TYPE_STR && type != SONDE_TYPE_STRS)) {
        put_attr(a->b, PB_LOG_ATTRS, key, type, u, s);
        return;
    }
    if (type == SONDE_TYPE_STR) {
        put_attr(a->b, PB_LOG_ATTRS, key, type, u, shorten(s));
        return;
    }
    struct rec_value v;
    buf_init(&cut, LINE_MAX);
    while (rec_value_next(type, &s, &v)) { // elements as they stand in a record: length, bytes
        struct slice e = shorten(v.s);
        uint32_t n = (uint32_t)e.n;
        buf_put(&cut, &n, sizeof n);
        buf_add(&cut, e);
    }
    put_attr(a->b, PB_LOG_ATTRS, key, type, u, buf_slice(&cut));
    buf_free(&cut);
}

// An error also under the names of the conventions.
static void put_exception(struct log_attrs *a, struct slice s)
{
    struct buf text;
    buf_init(&text, LINE_MAX);
    rec_value_string(&text, SONDE_TYPE_ERROR, 0, s);
    bool system = s.n == 9 && s.p[8] == (char)0xff;
    put_log_attr(a, SLICE("exception.type"), SONDE_TYPE_STR, 0, system ? SLICE("errno") : SLICE("error"));
    put_log_attr(a, SLICE("exception.message"), SONDE_TYPE_STR, 0, text.err == ERR_OK ? buf_slice(&text) : SLICE_NONE);
    buf_free(&text);
}

static void put_field(struct log_attrs *a, struct slice key, const struct rec_value *v, struct slice *error)
{
    put_log_attr(a, key, v->type, v->u, v->s);
    if (v->type == SONDE_TYPE_ERROR && !error->p)
        *error = v->s;
}

// event: gets the event's name, which is no attribute in OTLP.
static void put_packed(struct log_attrs *a, struct slice fields, struct slice *error, struct slice *event)
{
    struct packed p;
    packed_read(&p, fields);
    for (size_t i = 0; i < p.n; i++)
        if (p.field[i].v.type == SONDE_TYPE_STR && slice_eq(p.field[i].key, SLICE("event.name")))
            *event = p.field[i].v.s;
        else if (!p.field[i].replaced)
            put_field(a, p.field[i].key, &p.field[i].v, error);
    packed_free(&p);
}

// ---- LogRecord ------------------------------------------------------------------------------------------------------
void encode_log(struct buf *b, const struct line *l, int64_t observed)
{
    static const uint8_t severity[] = {0, 17, 13, 9, 5, 1};
    const struct site *site = l->site;
    pb_w_fixed64(b, PB_LOG_TIME, (uint64_t)l->time);
    pb_w_fixed64(b, PB_LOG_OBSERVED, (uint64_t)observed);
    pb_w_u64(b, PB_LOG_SEVERITY, severity[site->level]);
    pb_w_bytes(b, PB_LOG_SEVERITY_TEXT, slice_str(level_text(site->level)));
    size_t body = pb_w_begin(b, PB_LOG_BODY);
    put_string(b, PB_ANY_STRING, l->message.p ? l->message : site->message);
    pb_w_end(b, body);
    struct log_attrs attrs = {.b = b};
    struct slice error = SLICE_NONE, event = SLICE_NONE;
    for (unsigned i = 0; l->rec && i < site->n; i++)
        if (!l->rec->v[i].absent && memchr(site->order, (int)i, site->n_order))
            put_field(&attrs, site->key[i], &l->rec->v[i], &error);
    if (l->rec && site->with_fields)
        put_packed(&attrs, l->rec->v[1].s, &error, &event);
    if (error.p)
        put_exception(&attrs, error);
    if (attrs.dropped)
        pb_w_u64(b, PB_LOG_DROPPED_ATTRS, attrs.dropped);
    for (uint32_t i = 0; i < l->n_extra; i++)
        put_attr(b, PB_LOG_ATTRS, slice_str(l->extra[i].key), l->extra[i].type ? l->extra[i].type : SONDE_TYPE_INT,
                 (uint64_t)l->extra[i].value, SLICE_NONE);
    if (l->span) {
        if (l->span->request_id.n)
            put_attr(b, PB_LOG_ATTRS, SLICE("x_request_id"), SONDE_TYPE_STR, 0, l->span->request_id);
        pb_w_fixed32(b, PB_LOG_FLAGS, l->span->flags & 3);
        pb_w_bytes(b, PB_LOG_TRACE_ID, slice_of(l->span->trace_id, 16));
        pb_w_bytes(b, PB_LOG_SPAN_ID, slice_of(l->span->span_id, 8));
    }
    if (event.n) {
        put_string(b, PB_LOG_EVENT_NAME, event);
    } else if (site->file.n) {
        size_t name = pb_w_begin(b, PB_LOG_EVENT_NAME);
        buf_str(b, "event ");
        buf_add(b, site->file);
        buf_printf(b, ":%u", site->line);
        pb_w_end(b, name);
    }
}

// ---- Span -----------------------------------------------------------------------------------------------------------
static void put_fields(struct buf *b, uint32_t number, const struct field *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        put_attr(b, number, f[i].key, f[i].type, f[i].u, f[i].s);
}

// Bit 8: it is known whether the parent is remote; bit 9: it is.
static uint32_t span_flags(uint8_t flags, bool remote)
{
    return (flags & 3) | 0x100u | (remote ? 0x200u : 0);
}

static void put_link(struct buf *b, const struct span_link *l)
{
    size_t link = pb_w_begin(b, PB_SPAN_LINKS);
    pb_w_bytes(b, PB_LINK_TRACE_ID, slice_of(l->trace_id, 16));
    pb_w_bytes(b, PB_LINK_SPAN_ID, slice_of(l->span_id, 8));
    if (l->tracestate.n)
        put_string(b, PB_LINK_TRACE_STATE, l->tracestate);
    put_fields(b, PB_LINK_ATTRS, l->field, l->n_fields);
    if (l->dropped_fields)
        pb_w_u64(b, PB_LINK_DROPPED_ATTRS, l->dropped_fields);
    pb_w_fixed32(b, PB_LINK_FLAGS, span_flags(l->flags, l->remote));
    pb_w_end(b, link);
}

static void put_event(struct buf *b, const struct moment *m)
{
    size_t event = pb_w_begin(b, PB_SPAN_EVENTS);
    pb_w_fixed64(b, PB_EVENT_TIME, (uint64_t)m->time);
    put_string(b, PB_EVENT_NAME, m->name);
    put_fields(b, PB_EVENT_ATTRS, m->field, m->n_fields);
    if (m->dropped_fields)
        pb_w_u64(b, PB_EVENT_DROPPED_ATTRS, m->dropped_fields);
    pb_w_end(b, event);
}

// The fields whose lengths are known. False without memory.
static bool put_fixed(struct buf *b, const struct bspan *s, int64_t end)
{
    char *p = buf_reserve(b, 18 + 10 + 10 + 2 + 9 + 9 + 6), *start = p;
    if (!p)
        return false;
    *p++ = PB_TAG(PB_SPAN_TRACE_ID, PB_LEN);
    *p++ = 16;
    memcpy(p, s->trace_id, 16);
    p += 16;
    *p++ = PB_TAG(PB_SPAN_ID, PB_LEN);
    *p++ = 8;
    memcpy(p, s->span_id, 8);
    p += 8;
    if (s->has_parent) {
        *p++ = PB_TAG(PB_SPAN_PARENT_ID, PB_LEN);
        *p++ = 8;
        memcpy(p, s->parent_id, 8);
        p += 8;
    }
    *p++ = PB_TAG(PB_SPAN_KIND, PB_VARINT);
    *p++ = (char)s->kind;
    end = end > s->start_ns ? end : s->start_ns;
    *p++ = PB_TAG(PB_SPAN_START, PB_FIXED64);
    memcpy(p, &s->start_ns, 8);
    p += 8;
    *p++ = PB_TAG(PB_SPAN_END, PB_FIXED64);
    memcpy(p, &end, 8);
    p += 8;
    uint32_t flags = span_flags(s->flags, s->remote);
    *p++ = (char)(0x80 | (PB_TAG(PB_SPAN_FLAGS, PB_FIXED32) & 0x7f)); // a varint of two bytes
    *p++ = PB_TAG(PB_SPAN_FLAGS, PB_FIXED32) >> 7;
    memcpy(p, &flags, 4);
    p += 4;
    b->n += (size_t)(p - start);
    return true;
}

void encode_span(struct buf *b, const struct bspan *s, int64_t end)
{
    bool told = false;
    if (!put_fixed(b, s, end))
        return;
    if (s->tracestate.n)
        put_string(b, PB_SPAN_TRACE_STATE, s->tracestate);
    put_string(b, PB_SPAN_NAME, s->name);
    put_fields(b, PB_SPAN_ATTRS, s->field, s->n_fields);
    for (uint32_t i = 0; s->request_id.n && i < s->n_fields && !told; i++)
        told = slice_eq(s->field[i].key, SLICE("x_request_id"));
    if (s->request_id.n && !told)
        put_attr(b, PB_SPAN_ATTRS, SLICE("x_request_id"), SONDE_TYPE_STR, 0, s->request_id);
    if (s->dropped_fields)
        pb_w_u64(b, PB_SPAN_DROPPED_ATTRS, s->dropped_fields);
    for (uint32_t i = 0; i < s->n_events; i++)
        put_event(b, &s->event[i]);
    if (s->dropped_events)
        pb_w_u64(b, PB_SPAN_DROPPED_EVENTS, s->dropped_events);
    for (uint32_t i = 0; i < s->n_links; i++)
        put_link(b, &s->link[i]);
    if (s->dropped_links)
        pb_w_u64(b, PB_SPAN_DROPPED_LINKS, s->dropped_links);
    if (s->status) {
        size_t status = pb_w_begin(b, PB_SPAN_STATUS);
        if (s->status_message.n)
            put_string(b, PB_STATUS_MESSAGE, s->status_message);
        pb_w_u64(b, PB_STATUS_CODE, s->status);
        pb_w_end(b, status);
    }
}

// ---- request --------------------------------------------------------------------------------------------------------
struct encode_scope encode_span_scope(const struct bspan *s)
{
    if (s->scope)
        return (struct encode_scope){s->scope->identity, s->scope};
    return (struct encode_scope){s->site ? s->site->target : SLICE("sonde"), NULL};
}

static bool same_scope(const struct encode_scope *a, const struct encode_scope *b)
{
    return a->more == b->more && (a->more || (a->name.n == b->name.n && (a->name.p == b->name.p || slice_eq(a->name, b->name))));
}

static void put_scope(struct buf *b, const struct encode_scope *s)
{
    size_t scope = pb_w_begin(b, PB_GROUP_HEAD);
    put_string(b, PB_SCOPE_NAME, s->more ? s->more->name : s->name);
    if (s->more && s->more->version.n)
        put_string(b, PB_SCOPE_VERSION, s->more->version);
    for (uint32_t i = 0; s->more && i < s->more->n_fields; i++) {
        const struct field *f = &s->more->field[i];
        put_attr(b, PB_SCOPE_ATTRS, f->key, f->type, f->u, f->s);
    }
    pb_w_end(b, scope);
}

// A record or span of a group; most are shorter than 16 KiB.
static void put_message(struct buf *b, struct slice s)
{
    char *p = s.n < 1 << 14 ? buf_reserve(b, s.n + 3) : NULL, *start = p;
    if (!p) {
        pb_w_bytes(b, PB_GROUP_ITEMS, s);
        return;
    }
    *p++ = PB_TAG(PB_GROUP_ITEMS, PB_LEN);
    if (s.n < 0x80) {
        *p++ = (char)s.n;
    } else {
        *p++ = (char)(s.n | 0x80);
        *p++ = (char)(s.n >> 7);
    }
    memcpy(p, s.p, s.n);
    b->n += (size_t)(p - start) + s.n;
}

void encode_request(struct buf *b, struct slice resource, struct slice schema, const char *bytes, const struct encode_message *m,
                    size_t n)
{
    size_t top = pb_w_begin(b, PB_REQUEST_GROUPS);
    pb_w_bytes(b, PB_GROUP_HEAD, resource);
    for (size_t i = 0; i < n; i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = !same_scope(&m[k].scope, &m[i].scope);
        if (!first)
            continue;
        size_t group = pb_w_begin(b, PB_GROUP_ITEMS);
        put_scope(b, &m[i].scope);
        for (size_t k = i; k < n; k++)
            if (same_scope(&m[k].scope, &m[i].scope))
                put_message(b, slice_of(bytes + m[k].at, m[k].n));
        if (m[i].scope.more && m[i].scope.more->schema_url.n)
            put_string(b, PB_GROUP_SCHEMA, m[i].scope.more->schema_url);
        pb_w_end(b, group);
    }
    if (schema.n)
        pb_w_bytes(b, PB_GROUP_SCHEMA, schema);
    pb_w_end(b, top);
}
