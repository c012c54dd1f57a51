// What a span says: attributes, its name, status, events, links, exceptions.
#include "base/limits.h"
#include "sdk/span_int.h"

enum { PACK_STACK = 1024 };

// ---- fields --------------------------------------------------------------------------------------------------------
struct pack {
    size_t n;
    struct buf more; // where the stack is too small
    char stack[PACK_STACK];
};

static struct slice pack_fields(struct pack *k, const struct sonde_field *fields, size_t n)
{
    k->more.p = NULL;
    k->n = 0;
    for (size_t i = 0; i < n; i++) {
        size_t put = packed_put(k->stack + k->n, PACK_STACK - k->n, &fields[i]);
        if (put == SIZE_MAX) {
            buf_init(&k->more, MIB(256));
            for (i = 0; i < n; i++)
                packed_append(&k->more, &fields[i]);
            return k->more.err == ERR_OK ? buf_slice(&k->more) : SLICE_NONE;
        }
        k->n += put;
    }
    return slice_of(k->stack, k->n);
}

static void pack_free(struct pack *k)
{
    if (k->more.p)
        buf_free(&k->more);
}

void sdk_span_say_fields(struct sonde_span *s, uint64_t what, int64_t time, const char *text, const uint8_t *ids,
                         const struct sonde_field *fields, size_t n)
{
    struct pack k;
    sdk_span_push_more(s, what, time, text, ids, pack_fields(&k, fields, n));
    pack_free(&k);
}

// Attributes alone, as sdk_span_push_more writes them.
static void say_attributes(struct sonde_span *s, const struct sonde_field *fields, size_t n)
{
    struct pack k;
    struct ring_thread *t = tls_ring;
    struct slice packed = pack_fields(&k, fields, n);
    const size_t size = (SPAN_HEAD + 40 + packed.n + 7) & ~(size_t)7;
    if (__builtin_expect(t && size <= RING_RECORD_MAX, 1)) {
        const uint64_t values[5] = {MORE_FIELDS, 0, rec_slot(SIZE_MAX, 0), 0, rec_slot(packed.n, packed.n)};
        char *p = span_open_record(t, s, (uint32_t)REC_SPAN_MORE << 24, size);
        if (p) {
            memcpy(p, values, sizeof values);
            memcpy(p + sizeof values, packed.p ? packed.p : "", packed.n);
            span_close_record(t, size);
        }
    } else {
        sdk_span_push_more(s, MORE_FIELDS, 0, NULL, NULL, packed);
    }
    pack_free(&k);
}

// ---- attributes ----------------------------------------------------------------------------------------------------
// As ring_push with the key and the value, without its loops.
static inline void push_attribute(const struct sonde_span *s, const char *key, enum sonde_type type, struct sonde_arg value)
{
    bool text = type == SONDE_TYPE_STR;
    size_t key_n = strlen(key), value_n = text && value.n != SIZE_MAX ? value.n : 0;
    uint32_t what = (uint32_t)(REC_SPAN_ATTR + type - 1) << 24 | REC_IN_SPAN;
    struct ring_thread *t = tls_ring ? tls_ring : sdk_thread();
    if (!t)
        return;
    if (__builtin_expect(key_n > RING_RECORD_MAX || value_n > RING_RECORD_MAX || key_n + value_n > RING_RECORD_MAX - 56, 0)) {
        uint8_t types[2] = {SONDE_TYPE_STR, (uint8_t)type};
        struct sonde_arg a[2] = {sonde_arg_strn(key, key_n), value};
        sdk_span_push_types(s, (enum rec_kind)(REC_SPAN_ATTR + type - 1), 0, types, a, 2);
        return;
    }
    size_t size = (sizeof(struct rec_head) + 24 + 16 + key_n + value_n + 7) & ~(size_t)7;
    if (__builtin_expect(!ring_enter(t, what, RING_WAIT), 0))
        return;
    char *p = ring_begin(t, what, size, RING_WAIT);
    if (__builtin_expect(p != NULL, 1)) {
        uint64_t slot[2] = {rec_slot(key_n, key_n), text ? rec_slot(value.n, value_n) : value.value.u};
        memcpy(p, s->context.trace_id, 24);
        memcpy(p + 24, slot, 16);
        rec_copy(p + 40, key, key_n);
        if (text)
            rec_copy(p + 40 + key_n, value.value.s, value_n);
        ring_commit(t, size);
    }
    ring_leave(t);
    sdk_wrote();
}

static __attribute__((noinline)) void attribute(struct sonde_span *s, const char *key, enum sonde_type type,
                                                struct sonde_arg value)
{
    if (!s || !key)
        return;
    if (span_conditions())
        sdk_span_fulfil(s, key, type, &value);
    if (__builtin_expect(!span_heard(s), 0)) {
        if (s->dropped)
            sdk_span_remember(s, &(struct sonde_field){key, (unsigned char)type, value}, 1);
        return;
    }
    push_attribute(s, key, type, value);
}

void sonde_span_str(struct sonde_span *s, const char *key, const char *value)
{
    attribute(s, key, SONDE_TYPE_STR, sonde_arg_str(value));
}
void sonde_span_strn(struct sonde_span *s, const char *key, const char *value, size_t n)
{
    attribute(s, key, SONDE_TYPE_STR, sonde_arg_strn(value, n));
}
void sonde_span_int(struct sonde_span *s, const char *key, int64_t value)
{
    attribute(s, key, SONDE_TYPE_INT, sonde_arg_int(value));
}
void sonde_span_uint(struct sonde_span *s, const char *key, uint64_t value)
{
    attribute(s, key, SONDE_TYPE_UINT, sonde_arg_uint(value));
}
void sonde_span_f64(struct sonde_span *s, const char *key, double value)
{
    attribute(s, key, SONDE_TYPE_F64, sonde_arg_f64(value));
}
void sonde_span_bool(struct sonde_span *s, const char *key, bool value)
{
    attribute(s, key, SONDE_TYPE_BOOL, sonde_arg_uint(value));
}

void sonde_span_attributes(struct sonde_span *s, const struct sonde_field *fields, size_t n)
{
    if (!s)
        return;
    if (span_conditions())
        for (size_t i = 0; i < n; i++)
            if (fields[i].key)
                sdk_span_fulfil(s, fields[i].key, (enum sonde_type)fields[i].type, &fields[i].arg);
    if (span_heard(s))
        say_attributes(s, fields, n);
    else if (s->dropped)
        sdk_span_remember(s, fields, n);
}

// ---- all else ------------------------------------------------------------------------------------------------------
void sonde_span_name(struct sonde_span *s, const char *name)
{
    if (name && span_heard(s))
        sdk_span_push_more(s, MORE_NAME, 0, name, NULL, SLICE_NONE);
}

void sonde_span_status(struct sonde_span *s, enum sonde_status status, const char *message)
{
    struct sonde_arg a[2] = {sonde_arg_uint((uint64_t)status), sonde_arg_str(message)};
    if (span_heard(s))
        sdk_span_push(s, REC_SPAN_STATUS, a);
}

void sonde_span_event_with(struct sonde_span *s, const char *name, int64_t time_ns, const struct sonde_field *fields, size_t n)
{
    if (span_heard(s))
        sdk_span_say_fields(s, MORE_EVENT, time_ns, name ? name : "", NULL, fields, n);
}

void sonde_span_event_at(struct sonde_span *s, const char *name, int64_t time_ns)
{
    struct sonde_arg a[2] = {sonde_arg_int(time_ns), sonde_arg_str(name ? name : "")};
    if (span_heard(s))
        sdk_span_push(s, REC_SPAN_EVENT, a);
}

void sonde_span_event(struct sonde_span *s, const char *name)
{
    sonde_span_event_at(s, name, 0);
}

void sonde_span_link(struct sonde_span *s, const struct sonde_link *link)
{
    if (!span_heard(s) || !link || !link->context)
        return;
    const struct sonde_context *c = link->context;
    // Ids without a value are allowed where attributes or a tracestate say something.
    if (span_zero(c->trace_id, 24) && !link->n_attributes && !c->tracestate[0])
        return;
    sdk_span_say_fields(s, MORE_LINK | (uint64_t)c->flags << 8 | (uint64_t)c->remote << 16, 0, c->tracestate, c->trace_id,
                        link->attributes, link->n_attributes);
}

void sonde_span_exception(struct sonde_span *s, const struct sonde_exception *e)
{
    enum { OWN = 3 };
    if (!span_heard(s) || !e || !(e->type || e->message))
        return;
    char stack[8192];
    size_t n = 0;
    struct sonde_field own[OWN];
    const char *trace_text = e->stack ? e->stack : e->capture_stack ? trace_stack(stack, sizeof stack) : NULL;
    if (e->type)
        own[n++] = (struct sonde_field){"exception.type", SONDE_TYPE_STR, sonde_arg_str(e->type)};
    if (e->message)
        own[n++] = (struct sonde_field){"exception.message", SONDE_TYPE_STR, sonde_arg_str(e->message)};
    if (trace_text)
        own[n++] = (struct sonde_field){"exception.stacktrace", SONDE_TYPE_STR, sonde_arg_str(trace_text)};
    struct buf packed;
    buf_init(&packed, MIB(256));
    for (size_t i = 0; i < n; i++)
        packed_append(&packed, &own[i]);
    for (size_t i = 0; i < e->n_fields; i++) // later ones replace
        packed_append(&packed, &e->fields[i]);
    if (packed.err == ERR_OK)
        sdk_span_push_more(s, MORE_EVENT, 0, "exception", NULL, buf_slice(&packed));
    buf_free(&packed);
}
