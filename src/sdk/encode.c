#include "sdk/encode.h"
#include "base/limits.h"
#include "base/pb.h"
#include "base/utf8.h"
#include "sdk/value.h"
#include <stdio.h>
#include <unistd.h>

// ---- values -----------------------------------------------------------------------------------------------------------
static void put_string(struct buf *b, uint32_t field, struct slice s)
{
    if (utf8_valid(s)) {
        pb_w_bytes(b, field, s);
        return;
    }
    size_t mark = pb_w_begin(b, field); // protobuf strings must be UTF-8
    utf8_append_clean(b, s);
    pb_w_end(b, mark);
}

static void put_any(struct buf *b, enum sonde_type type, uint64_t u, struct slice s);

// ArrayValue {1 values}
static void put_array(struct buf *b, enum sonde_type type, struct slice s)
{
    struct rec_value v;
    size_t array = pb_w_begin(b, 5);
    while (rec_value_next(type, &s, &v)) {
        size_t any = pb_w_begin(b, 1);
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
    put_string(b, 1, text.err == ERR_OK ? buf_slice(&text) : SLICE_NONE);
    buf_free(&text);
}

// AnyValue {1 string, 2 bool, 3 int, 4 double, 5 array, 7 bytes}
static void put_any(struct buf *b, enum sonde_type type, uint64_t u, struct slice s)
{
    double f;
    memcpy(&f, &u, 8);
    switch (type) {
    case SONDE_TYPE_STR:
        put_string(b, 1, s);
        break;
    case SONDE_TYPE_BOOL:
        pb_w_bool(b, 2, u != 0);
        break;
    case SONDE_TYPE_INT:
        pb_w_i64(b, 3, (int64_t)u);
        break;
    case SONDE_TYPE_UINT:
        if (u <= INT64_MAX) {
            pb_w_i64(b, 3, (int64_t)u);
        } else { // AnyValue has no unsigned: the digits keep the value whole
            char text[24];
            pb_w_bytes(b, 1, slice_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)u)));
        }
        break;
    case SONDE_TYPE_F64:
        pb_w_double(b, 4, f);
        break;
    case SONDE_TYPE_BYTES:
        pb_w_bytes(b, 7, s);
        break;
    default:
        if (rec_value_is_array(type))
            put_array(b, type, s);
        else
            put_text(b, type, u, s);
        break;
    }
}

// KeyValue {1 key, 2 AnyValue}
static void put_attr(struct buf *b, uint32_t field, struct slice key, enum sonde_type type, uint64_t u, struct slice s)
{
    size_t kv = pb_w_begin(b, field);
    put_string(b, 1, key);
    size_t any = pb_w_begin(b, 2);
    put_any(b, type, u, s);
    pb_w_end(b, any);
    pb_w_end(b, kv);
}

static void put_packed(struct buf *b, struct slice fields)
{
    struct packed p;
    packed_read(&p, fields);
    for (size_t i = 0; i < p.n; i++)
        if (!p.field[i].replaced)
            put_attr(b, 6, p.field[i].key, p.field[i].v.type, p.field[i].v.u, p.field[i].v.s);
    packed_free(&p);
}

// ---- LogRecord --------------------------------------------------------------------------------------------------------
// 1 time_unix_nano, 11 observed_time_unix_nano, 2 severity_number, 3 severity_text, 5 body, 6 attributes, 8 flags, 9 trace_id,
// 10 span_id, 12 event_name
void encode_log(struct buf *b, const struct line *l, int64_t observed)
{
    static const uint8_t severity[] = {0, 17, 13, 9, 5, 1};
    const struct site *site = l->site;
    pb_w_fixed64(b, 1, (uint64_t)l->time);
    pb_w_fixed64(b, 11, (uint64_t)observed);
    pb_w_u64(b, 2, severity[site->level]);
    pb_w_bytes(b, 3, slice_str(level_text(site->level)));
    size_t body = pb_w_begin(b, 5);
    put_string(b, 1, l->message.p ? l->message : site->message);
    pb_w_end(b, body);
    for (unsigned i = 0; l->rec && i < site->n; i++)
        if (!l->rec->v[i].absent && memchr(site->order, (int)i, site->n_order))
            put_attr(b, 6, site->key[i], l->rec->v[i].type, l->rec->v[i].u, l->rec->v[i].s);
    if (l->rec && site->with_fields)
        put_packed(b, l->rec->v[1].s);
    for (uint32_t i = 0; i < l->n_extra; i++)
        put_attr(b, 6, slice_str(l->extra[i].key), l->extra[i].type ? l->extra[i].type : SONDE_TYPE_INT,
                 (uint64_t)l->extra[i].value, SLICE_NONE);
    if (l->span) {
        if (l->span->request_id.n)
            put_attr(b, 6, SLICE("x_request_id"), SONDE_TYPE_STR, 0, l->span->request_id);
        pb_w_fixed32(b, 8, l->span->flags);
        pb_w_bytes(b, 9, slice_of(l->span->trace_id, 16));
        pb_w_bytes(b, 10, slice_of(l->span->span_id, 8));
    }
    if (site->file.n) {
        size_t name = pb_w_begin(b, 12);
        buf_str(b, "event ");
        buf_add(b, site->file);
        buf_printf(b, ":%u", site->line);
        pb_w_end(b, name);
    }
}

// ---- Span -------------------------------------------------------------------------------------------------------------
// 1 trace_id, 2 span_id, 3 trace_state, 4 parent_span_id, 5 name, 6 kind, 7 start, 8 end, 9 attributes, 10 dropped attributes,
// 11 events {1 time, 2 name}, 12 dropped events, 15 status {2 message, 3 code}, 16 flags
void encode_span(struct buf *b, const struct bspan *s, int64_t end)
{
    pb_w_bytes(b, 1, slice_of(s->trace_id, 16));
    pb_w_bytes(b, 2, slice_of(s->span_id, 8));
    if (s->tracestate.n)
        put_string(b, 3, s->tracestate);
    if (s->has_parent)
        pb_w_bytes(b, 4, slice_of(s->parent_id, 8));
    put_string(b, 5, s->name);
    pb_w_u64(b, 6, s->kind);
    pb_w_fixed64(b, 7, (uint64_t)s->start_ns);
    pb_w_fixed64(b, 8, (uint64_t)(end > s->start_ns ? end : s->start_ns));
    bool told = false;
    for (uint32_t i = 0; i < s->n_fields; i++) {
        put_attr(b, 9, s->field[i].key, s->field[i].type, s->field[i].u, s->field[i].s);
        told = told || slice_eq(s->field[i].key, SLICE("x_request_id"));
    }
    if (s->request_id.n && !told)
        put_attr(b, 9, SLICE("x_request_id"), SONDE_TYPE_STR, 0, s->request_id);
    if (s->dropped_fields)
        pb_w_u64(b, 10, s->dropped_fields);
    for (uint32_t i = 0; i < s->n_events; i++) {
        size_t event = pb_w_begin(b, 11);
        pb_w_fixed64(b, 1, (uint64_t)s->event[i].time);
        put_string(b, 2, s->event[i].name);
        pb_w_end(b, event);
    }
    if (s->dropped_events)
        pb_w_u64(b, 12, s->dropped_events);
    if (s->status) {
        size_t status = pb_w_begin(b, 15);
        if (s->status_message.n)
            put_string(b, 2, s->status_message);
        pb_w_u64(b, 3, s->status);
        pb_w_end(b, status);
    }
    // Bit 8: it is known whether the parent is remote; bit 9: it is.
    pb_w_fixed32(b, 16, s->flags | 0x100u | (s->remote ? 0x200u : 0));
}

// ---- Resource ---------------------------------------------------------------------------------------------------------
enum { RESOURCE_ATTRS = 64 };
struct pair {
    struct slice key, value;
};

static size_t set_pair(struct pair *pairs, size_t n, struct slice key, struct slice value)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(pairs[i].key, key)) {
            pairs[i].value = value;
            return n;
        }
    }
    if (n < RESOURCE_ATTRS)
        pairs[n++] = (struct pair){key, value};
    return n;
}

// Percent escapes in place; text is the caller's copy.
static struct slice unescape(char *p, size_t n)
{
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte;
        if (p[i] == '%' && i + 2 < n && hex_decode(&byte, 1, slice_of(p + i + 1, 2))) {
            p[o++] = (char)byte;
            i += 2;
        } else {
            p[o++] = p[i];
        }
    }
    return slice_of(p, o);
}

void encode_resource(struct buf *out, const char *service, const char *const *lists, size_t n_lists)
{
    struct pair pairs[RESOURCE_ATTRS];
    char copies[4][4096], host[256] = "", instance[280];
    size_t n = 0;
    gethostname(host, sizeof host - 1);
    snprintf(instance, sizeof instance, "%s:%d", host, (int)getpid()); // tells two workers of one service apart
    n = set_pair(pairs, n, SLICE("telemetry.sdk.name"), SLICE("sonde"));
    n = set_pair(pairs, n, SLICE("telemetry.sdk.language"), SLICE("c"));
    n = set_pair(pairs, n, SLICE("telemetry.sdk.version"), SLICE(SONDE_VERSION));
    if (host[0])
        n = set_pair(pairs, n, SLICE("host.name"), slice_str(host));
    n = set_pair(pairs, n, SLICE("service.instance.id"), slice_str(instance));
    for (size_t l = 0; l < n_lists && l < 4; l++) {
        snprintf(copies[l], sizeof copies[l], "%s", lists[l] ? lists[l] : "");
        struct slice rest = slice_str(copies[l]), part;
        while (slice_split(&rest, ',', &part)) {
            ptrdiff_t eq = slice_find(part, SLICE("="));
            struct slice key = eq > 0 ? slice_trim(slice_cut(part, (size_t)eq)) : SLICE_NONE;
            struct slice value = eq > 0 ? slice_trim(slice_from(part, (size_t)eq + 1)) : SLICE_NONE;
            if (key.n)
                n = set_pair(pairs, n, key, unescape((char *)(uintptr_t)value.p, value.n));
        }
    }
    // The service's name is decided before: OTEL_SERVICE_NAME, the program's own, the list's.
    n = set_pair(pairs, n, SLICE("service.name"), slice_str(service));
    for (size_t i = 0; i < n; i++)
        put_attr(out, 1, pairs[i].key, SONDE_TYPE_STR, 0, pairs[i].value);
    put_attr(out, 1, SLICE("process.pid"), SONDE_TYPE_INT, (uint64_t)getpid(), SLICE_NONE);
}

// ---- request ----------------------------------------------------------------------------------------------------------
// 1 Resource{Logs,Spans} {1 resource, 2 Scope{Logs,Spans} {1 scope {1 name}, 2 message …}}
void encode_request(struct buf *b, struct slice resource, const char *bytes, const struct encode_message *m, size_t n)
{
    size_t top = pb_w_begin(b, 1);
    pb_w_bytes(b, 1, resource);
    for (size_t i = 0; i < n; i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = !slice_eq(m[k].scope, m[i].scope);
        if (!first)
            continue;
        size_t group = pb_w_begin(b, 2);
        size_t scope = pb_w_begin(b, 1);
        put_string(b, 1, m[i].scope);
        pb_w_end(b, scope);
        for (size_t k = i; k < n; k++)
            if (slice_eq(m[k].scope, m[i].scope))
                pb_w_bytes(b, 2, slice_of(bytes + m[k].at, m[k].n));
        pb_w_end(b, group);
    }
    pb_w_end(b, top);
}
