// opentelemetry.proto.logs.v1.LogRecord → one row.
#include "base/limits.h"
#include "event/decode.h"
#include "event/otlp_numbers.h"

static void set_body(struct decode *d, struct slice any, const struct value *v)
{
    if (v->kind == COL_STR) {
        batch_field_str(d->b, FIELD_BODY, v->s);
        return;
    }
    if (v->kind == COL_ANY && !any.n) { // no body at all
        batch_field_str(d->b, FIELD_BODY, SLICE(""));
        return;
    }
    struct buf text;
    struct jw w = jw_to(&text);
    buf_init(&text, MAX_BATCH_MEMORY);
    value_json(&w, v);
    if (text.err != ERR_OK)
        d->b->failed = true;
    batch_field_str(d->b, FIELD_BODY, batch_dup(d->b, buf_slice(&text)));
    buf_free(&text);
    batch_field_str(d->b, FIELD_BODY_ANY, v->kind == COL_ANY ? v->s : any);
}

struct log_times {
    uint64_t time, observed;
};

static bool read_fields(struct decode *d, struct pb *r, struct log_times *t, struct slice *body)
{
    while (pb_next(r)) {
        struct slice s;
        struct attr a;
        uint32_t u;
        uint64_t severity;
        switch (r->field) {
        case PB_LOG_TIME:
            pb_fixed64(r, &t->time);
            break;
        case PB_LOG_SEVERITY:
            if (pb_u64(r, &severity) && severity)
                batch_field_i64(d->b, FIELD_SEVERITY, (int32_t)severity);
            break;
        case PB_LOG_SEVERITY_TEXT:
            if (pb_bytes(r, &s) && s.n)
                batch_field_str(d->b, FIELD_SEVERITY_TEXT, decode_text(d, s));
            break;
        case PB_LOG_BODY:
            if (pb_bytes(r, &s))
                decode_merge(d, body, s);
            break;
        case PB_LOG_ATTRS:
            if (!pb_bytes(r, &s) || !decode_attr(d, s, &a))
                return false;
            batch_set(d->b, COL_ATTR, a.key, a.value);
            break;
        case PB_LOG_DROPPED_ATTRS:
            if (pb_u32(r, &u) && u)
                batch_field_i64(d->b, FIELD_DROPPED_ATTRS, u);
            break;
        case PB_LOG_FLAGS:
            if (pb_fixed32(r, &u) && u)
                batch_field_i64(d->b, FIELD_FLAGS, u);
            break;
        case PB_LOG_TRACE_ID:
            if (pb_bytes(r, &s) && s.n == 16 && !id128_zero(id128_load(s.p)))
                batch_field_id128(d->b, FIELD_TRACE_ID, id128_load(s.p));
            break;
        case PB_LOG_SPAN_ID:
            if (pb_bytes(r, &s) && s.n == 8 && load_be64(s.p))
                batch_field_id64(d->b, FIELD_SPAN_ID, load_be64(s.p));
            break;
        case PB_LOG_OBSERVED:
            pb_fixed64(r, &t->observed);
            break;
        case PB_LOG_EVENT_NAME:
            if (pb_bytes(r, &s) && s.n)
                batch_field_str(d->b, FIELD_EVENT_NAME, decode_text(d, s));
            break;
        default:
            pb_skip(r);
        }
    }
    return !r->failed;
}

bool decode_log_record(struct decode *d, struct pb *r, uint32_t resource, const struct scope *scope)
{
    struct log_times t = {0};
    struct slice body = SLICE("");
    struct value v;
    uint32_t row = batch_row(d->b, 0, resource);
    if (d->b->failed || !read_fields(d, r, &t, &body) || !decode_any(d, body, &v))
        return false;
    set_body(d, body, &v);
    decode_scope(d, scope);
    if (t.observed)
        batch_field_i64(d->b, FIELD_OBSERVED, decode_time(t.observed));
    d->b->time[row] = t.time ? decode_time(t.time) : t.observed ? decode_time(t.observed) : d->opt->received_ns;
    return true;
}
