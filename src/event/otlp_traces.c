// opentelemetry.proto.trace.v1.Span → one row.
#include "base/limits.h"
#include "event/decode.h"
#include "event/otlp_numbers.h"
#include "event/otlp_schema.h"

// What is checked, or put together from several fields, once all have been seen.
struct span_parts {
    struct slice trace_id, span_id, name, status, events, links;
    uint64_t start, end;
};

static void count_field(struct decode *d, struct pb *r, enum field f)
{
    uint32_t u;
    if (pb_u32(r, &u) && u)
        batch_field_i64(d->b, f, u);
}

static bool read_fields(struct decode *d, struct pb *r, struct span_parts *p)
{
    while (pb_next(r)) {
        struct slice s;
        struct attr a;
        uint32_t u;
        switch (r->field) {
        case PB_SPAN_TRACE_ID:
            pb_bytes(r, &p->trace_id);
            break;
        case PB_SPAN_ID:
            pb_bytes(r, &p->span_id);
            break;
        case PB_SPAN_TRACE_STATE:
            if (pb_bytes(r, &s) && s.n)
                batch_field_str(d->b, FIELD_TRACE_STATE, decode_text(d, s));
            break;
        case PB_SPAN_PARENT_ID:
            if (pb_bytes(r, &s) && s.n == 8 && load_be64(s.p))
                batch_field_id64(d->b, FIELD_PARENT_ID, load_be64(s.p));
            break;
        case PB_SPAN_NAME:
            pb_bytes(r, &p->name);
            break;
        case PB_SPAN_KIND:
            count_field(d, r, FIELD_KIND);
            break;
        case PB_SPAN_START:
            pb_fixed64(r, &p->start);
            break;
        case PB_SPAN_END:
            pb_fixed64(r, &p->end);
            break;
        case PB_SPAN_ATTRS:
            if (!pb_bytes(r, &s) || !decode_attr(d, s, &a))
                return false;
            batch_set(d->b, COL_ATTR, a.key, a.value);
            break;
        case PB_SPAN_DROPPED_ATTRS:
            count_field(d, r, FIELD_DROPPED_ATTRS);
            break;
        case PB_SPAN_EVENTS:
            if (pb_raw_field(r, &s))
                decode_merge(d, &p->events, s);
            break;
        case PB_SPAN_DROPPED_EVENTS:
            count_field(d, r, FIELD_DROPPED_EVENTS);
            break;
        case PB_SPAN_LINKS:
            if (pb_raw_field(r, &s))
                decode_merge(d, &p->links, s);
            break;
        case PB_SPAN_DROPPED_LINKS:
            count_field(d, r, FIELD_DROPPED_LINKS);
            break;
        case PB_SPAN_STATUS:
            if (pb_bytes(r, &s))
                decode_merge(d, &p->status, s);
            break;
        case PB_SPAN_FLAGS:
            if (pb_fixed32(r, &u) && u)
                batch_field_i64(d->b, FIELD_FLAGS, u);
            break;
        default:
            pb_skip(r);
        }
    }
    return !r->failed;
}

static bool set_status(struct decode *d, struct slice status)
{
    struct pb r;
    struct slice s;
    decode_part(d, &r, status);
    while (pb_next(&r)) {
        if (r.field == PB_STATUS_MESSAGE && pb_bytes(&r, &s) && s.n)
            batch_field_str(d->b, FIELD_STATUS_MESSAGE, decode_text(d, s));
        else if (r.field == PB_STATUS_CODE)
            count_field(d, &r, FIELD_STATUS);
        else if (r.field != PB_STATUS_MESSAGE)
            pb_skip(&r);
    }
    return !r.failed;
}

// Events and links stay encoded, but must be readable and UTF-8 like everything else.
static bool set_encoded(struct decode *d, enum field f, struct slice raw)
{
    struct pb r;
    bool dirty = false;
    if (!raw.n)
        return true;
    decode_part(d, &r, raw);
    r.depth = 4; // below request, resource, scope, span
    if (!otlp_check(&r, &otlp_span, &dirty))
        return false;
    if (dirty) {
        struct buf clean;
        buf_init(&clean, MAX_HTTP_BODY * 3);
        pb_init(&r, raw, NULL);
        if (!otlp_clean(&r, &otlp_span, &clean))
            d->b->failed = true;
        raw = batch_dup(d->b, buf_slice(&clean));
        buf_free(&clean);
    }
    batch_field_str(d->b, f, raw);
    return true;
}

bool decode_span(struct decode *d, struct pb *r, uint32_t resource, const struct scope *scope)
{
    struct span_parts p = {.name = SLICE("")};
    uint32_t row = batch_row(d->b, 0, resource);
    if (d->b->failed || !read_fields(d, r, &p))
        return false;
    p.name = decode_text(d, p.name);
    bool good_trace = p.trace_id.n == 16 && !id128_zero(id128_load(p.trace_id.p));
    bool good_span = p.span_id.n == 8 && load_be64(p.span_id.p);
    if (!good_trace || !good_span) {
        const struct slice *bad = good_trace ? &p.span_id : &p.trace_id;
        decode_reject(d, 1, "span \"%.*s\": %s id of %zu bytes; it must be %d bytes and not all zero", decode_shown(p.name),
                      p.name.p, good_trace ? "span" : "trace", bad->n, good_trace ? 8 : 16);
        batch_row_cancel(d->b);
        return true;
    }
    batch_field_id128(d->b, FIELD_TRACE_ID, id128_load(p.trace_id.p));
    batch_field_id64(d->b, FIELD_SPAN_ID, load_be64(p.span_id.p));
    batch_field_str(d->b, FIELD_NAME, p.name);
    batch_field_i64(d->b, FIELD_DURATION, p.end > p.start ? decode_time(p.end - p.start) : 0);
    decode_scope(d, scope);
    d->b->time[row] = decode_time(p.start);
    return set_status(d, p.status) && set_encoded(d, FIELD_EVENTS, p.events) && set_encoded(d, FIELD_LINKS, p.links);
}
