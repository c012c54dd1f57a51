// The records of spans in the ring.
#include "sdk/span_int.h"

enum { SHORT_NAME = 64 };

bool sdk_span_push_types(const struct sonde_span *s, enum rec_kind kind, uint32_t site, const uint8_t *types,
                         const struct sonde_arg *args, uint32_t n)
{
    struct ring_thread *t = tls_ring ? tls_ring : sdk_thread();
    if (!t) {
        sdk_lost(0, false);
        return false;
    }
    bool ok = ring_push(t, (uint32_t)kind << 24 | site, s->context.trace_id, types, args, n, RING_WAIT);
    sdk_wrote();
    return ok;
}

void sdk_span_push(const struct sonde_span *s, enum rec_kind kind, const struct sonde_arg *args)
{
    uint32_t n;
    const uint8_t *types = rec_types(kind, &n);
    sdk_span_push_types(s, kind, 0, types, args, n);
}

bool sdk_span_push_end(const struct sonde_span *s, int64_t end)
{
    static const uint8_t types[] = {SONDE_TYPE_INT};
    struct ring_thread *t = tls_ring;
    struct sonde_arg a = {.value.i = end};
    if (__builtin_expect(!t || end, 0))
        return sdk_span_push_types(s, REC_SPAN_END, 0, types, &a, 1);
    if (!span_open_record(t, s, (uint32_t)REC_SPAN_DONE << 24, SPAN_HEAD))
        return false;
    span_close_record(t, SPAN_HEAD);
    return true;
}

// A span that starts now, without request ids and state, with a short name.
static inline bool push_plain_start(const struct sonde_span *s, const char *name, size_t n, uint64_t what)
{
    const struct sonde_context *c = &s->context;
    struct ring_thread *t = tls_ring;
    if (!t || n > SHORT_NAME || c->request_id[0] || c->tracestate[0])
        return false;
    const size_t size = (SPAN_HEAD + 24 + n + 7) & ~(size_t)7;
    const uint64_t values[3] = {s->parent, what, rec_slot(n, n)};
    char *p = span_open_record(t, s, (uint32_t)REC_SPAN_PLAIN << 24 | (s->site ? s->site->number : 0), size);
    if (p) {
        memcpy(p, values, sizeof values);
        rec_copy(p + sizeof values, name, n);
        span_close_record(t, size);
    }
    return true;
}

void sdk_span_push_start(const struct sonde_span *s, const char *name, uint64_t bits, int64_t start)
{
    static const uint8_t types[] = {SONDE_TYPE_UINT, SONDE_TYPE_UINT, SONDE_TYPE_INT,
                                    SONDE_TYPE_STR,  SONDE_TYPE_STR,  SONDE_TYPE_STR};
    const struct sonde_context *c = &s->context;
    const uint64_t what = c->flags | (uint64_t)s->kind << 8 | (s->keep ? REC_KEEP : 0) | (uint64_t)s->tracer << 32 | bits;
    const size_t length = strlen(name);
    if (__builtin_expect(!start && !c->dynamo_request_id[0] && push_plain_start(s, name, length, what), 1))
        return;
    struct sonde_arg a[6] = {
        {.value.u = s->parent},
        {.value.u = what},
        {.value.i = start},
        {.value.s = name, .n = length},
        {.value.s = c->request_id, .n = c->request_id[0] ? strlen(c->request_id) : 0},
        {.value.s = c->tracestate, .n = c->tracestate[0] ? strlen(c->tracestate) : 0},
    };
    sdk_span_push_types(s, REC_SPAN_START, s->site ? s->site->number : 0, types, a, 6);
    if (__builtin_expect(c->dynamo_request_id[0] != 0, 0)) {
        struct sonde_arg id[2] = {sonde_arg_str("x_dynamo_request_id"), sonde_arg_str(c->dynamo_request_id)};
        sdk_span_push(s, (enum rec_kind)(REC_SPAN_ATTR + SONDE_TYPE_STR - 1), id);
    }
}

void sdk_span_push_more(const struct sonde_span *s, uint64_t what, int64_t time, const char *text, const uint8_t *ids,
                        struct slice fields)
{
    struct sonde_arg a[5] = {sonde_arg_uint(what), sonde_arg_int(time), sonde_arg_str(text),
                             sonde_arg_data(ids ? (const char *)ids : "", ids ? 24 : 0),
                             sonde_arg_data(fields.p ? fields.p : "", fields.n)};
    sdk_span_push(s, REC_SPAN_MORE, a);
}

void sdk_span_adopt(void)
{
    for (struct sonde_span *s = tls_span; s; s = s->below) {
        if (s->generation != sdk.generation) {
            s->generation = sdk.generation;
            s->parent = 0;
            s->kind = SONDE_KIND_INTERNAL;
            s->keep = false;
            if (!s->dropped || s->told)
                sdk_span_push_start(s, s->name, REC_INHERITED, 0);
        }
    }
}
