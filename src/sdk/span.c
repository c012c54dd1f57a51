// Spans: an application's handle is small and holds the ids; everything said about a span is a record in the ring, and the
// backend puts the span together.
#include "base/alloc.h"
#include "base/hash.h"
#include "sdk/context.h"
#include "sdk/sdk.h"
#include <math.h>
#include <stdio.h>

// C code that takes the functions' addresses, and bindings, use these; the header's macros add the call site.
#undef sonde_span_start
#undef sonde_span_start_at

struct sonde_span {
    uint8_t ids[24]; // as records carry them
    struct sonde_context context;
    unsigned generation;      // of the ring that knows it
    struct sonde_site *site;  // may be null
    struct sonde_span *below; // on the thread's stack
    bool entered, dead;
    unsigned level;      // that a span directive gives to records inside it
    unsigned level_of;   // generation of the filter that said so
    uint32_t conditions; // of that filter's span directives, fulfilled by its attributes
    char name[128];      // its beginning, for span directives and forked children
};

static struct sonde_span nothing = {.dead = true}; // for a process without memory

__thread struct sonde_span *tls_span __attribute__((tls_model("initial-exec")));

const uint8_t *sdk_span_ids(void)
{
    return tls_span->ids;
}

// By the filter that holds now.
static void update_level(struct sonde_span *s)
{
    unsigned now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE);
    if (s->level_of != now)
        s->conditions = 0;
    s->level_of = now;
    s->level = 0;
    if (!__atomic_load_n(&level_now.max_span_level, __ATOMIC_RELAXED))
        return;
    struct site *site = s->site ? site_get(&sdk.sites, s->site->number) : NULL;
    s->level = level_span(site ? site->target : SLICE_NONE, slice_str(s->name), s->conditions);
}

unsigned sdk_span_level(void)
{
    unsigned level = 0, now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE);
    for (struct sonde_span *s = tls_span; s; s = s->below) {
        if (s->level_of != now)
            update_level(s);
        level = s->level > level ? s->level : level;
    }
    return level;
}

void sdk_span_forget(void)
{
    tls_span = NULL;
}

// ---- records ----------------------------------------------------------------------------------------------------------
static void push(const struct sonde_span *s, enum rec_kind kind, uint32_t site, const struct sonde_arg *args)
{
    if (s->dead)
        return;
    struct ring_thread *t = tls_ring ? tls_ring : sdk_thread();
    if (!t)
        return;
    uint32_t n;
    const uint8_t *types = rec_types(kind, &n);
    ring_push(t, (uint32_t)kind << 24 | site, s->ids, types, args, n, RING_WAIT);
    sdk_wrote();
}

static void push_start(const struct sonde_span *s, const char *name, const uint8_t parent[8], bool remote, bool inherited,
                       enum sonde_kind kind, int64_t start)
{
    const struct sonde_context *c = &s->context;
    struct sonde_arg a[6] = {{.n = 0}};
    memcpy(&a[0].value.u, parent, 8);
    a[1].value.u = c->flags | (uint64_t)kind << 8 | (uint64_t)remote << 16 | (inherited ? REC_INHERITED : 0);
    a[2].value.i = start;
    a[3] = sonde_arg_str(name ? name : "");
    a[4] = sonde_arg_str(c->request_id);
    a[5] = sonde_arg_str(c->tracestate);
    push(s, REC_SPAN_START, s->site ? s->site->number : 0, a);
}

void sdk_span_adopt(void)
{
    static const uint8_t none[8];
    for (struct sonde_span *s = tls_span; s; s = s->below) {
        if (s->generation != sdk.generation) {
            s->generation = sdk.generation;
            push_start(s, s->name, none, false, true, SONDE_KIND_INTERNAL, 0);
        }
    }
}

// ---- start and end ----------------------------------------------------------------------------------------------------
static bool zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

static void random_bytes(uint8_t *p, size_t n)
{
    do {
        for (size_t i = 0; i < n; i += 8) {
            uint64_t r = random_u64();
            memcpy(p + i, &r, 8);
        }
    } while (zero(p, n));
}

// By the last seven bytes of the trace id, so that every service with the same ratio decides the same.
static bool sampled(const uint8_t trace_id[16])
{
    uint64_t r = 0;
    for (int i = 9; i < 16; i++)
        r = r << 8 | trace_id[i];
    return sdk.sample_ratio >= 1 || (double)r < sdk.sample_ratio * 0x1p56;
}

static void inherit(struct sonde_span *s, const struct sonde_context *parent, uint8_t parent_id[8])
{
    struct sonde_context *c = &s->context;
    memset(parent_id, 0, 8);
    c->request_id[0] = c->tracestate[0] = 0;
    c->remote = false;
    if (parent)
        memcpy(c->request_id, parent->request_id, strnlen(parent->request_id, sizeof c->request_id - 1) + 1);
    c->request_id[sizeof c->request_id - 1] = 0;
    if (parent && !zero(parent->trace_id, 16)) {
        memcpy(c->trace_id, parent->trace_id, 16);
        memcpy(parent_id, parent->span_id, 8);
        memcpy(c->tracestate, parent->tracestate, strnlen(parent->tracestate, sizeof c->tracestate - 1) + 1);
        c->tracestate[sizeof c->tracestate - 1] = 0;
        c->flags = parent->flags & 3;
    } else {
        random_bytes(c->trace_id, 16);
        c->flags = 2 | sampled(c->trace_id); // random in the sense of Trace Context Level 2
    }
    random_bytes(c->span_id, 8);
    memcpy(s->ids, c->trace_id, 16);
    memcpy(s->ids + 16, c->span_id, 8);
}

struct sonde_span *sonde_span_start_at_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                            const struct sonde_context *parent, int64_t start_ns)
{
    sdk_start();
    if (site && __atomic_load_n(&site->state, __ATOMIC_ACQUIRE) == SONDE_SITE_NEW)
        sdk_register(site);
    struct sonde_span *s = mem_alloc(sizeof *s);
    if (!s)
        return &nothing;
    uint8_t parent_id[8];
    if (!parent && tls_span)
        parent = &tls_span->context;
    s->generation = sdk.generation;
    s->site = site;
    s->below = NULL;
    s->entered = s->dead = false;
    s->level = s->conditions = s->level_of = 0;
    size_t length = name ? strnlen(name, sizeof s->name - 1) : 0;
    memcpy(s->name, name ? name : "", length);
    s->name[length] = 0;
    inherit(s, parent, parent_id);
    update_level(s);
    push_start(s, name, parent_id, parent && parent->remote, false, kind, start_ns);
    return s;
}

struct sonde_span *sonde_span_start_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                         const struct sonde_context *parent)
{
    return sonde_span_start_at_site(site, name, kind, parent, 0);
}
struct sonde_span *sonde_span_start(const char *name, enum sonde_kind kind, const struct sonde_context *parent)
{
    return sonde_span_start_at_site(NULL, name, kind, parent, 0);
}
struct sonde_span *sonde_span_start_at(const char *name, enum sonde_kind kind, const struct sonde_context *parent,
                                       int64_t start_ns)
{
    return sonde_span_start_at_site(NULL, name, kind, parent, start_ns);
}

void sonde_span_end_at(struct sonde_span *s, int64_t end_ns)
{
    if (!s || s->dead)
        return;
    sonde_span_exit(s); // a forgotten exit must not leave a dangling current span
    struct sonde_arg a = {.value.i = end_ns};
    push(s, REC_SPAN_END, 0, &a);
    mem_free(s);
}

void sonde_span_end(struct sonde_span *s)
{
    sonde_span_end_at(s, 0);
}

// ---- current span -----------------------------------------------------------------------------------------------------
void sonde_span_enter(struct sonde_span *s)
{
    if (!s || s->dead || s->entered)
        return;
    s->entered = true;
    s->below = tls_span;
    tls_span = s;
    if (s->generation != sdk.generation)
        sdk_span_adopt();
    if (sdk.span_events)
        push(s, REC_SPAN_ENTER, 0, NULL);
}

void sonde_span_exit(struct sonde_span *s)
{
    if (!s || s->dead || !s->entered)
        return;
    for (struct sonde_span **at = &tls_span; *at; at = &(*at)->below) {
        if (*at == s) {
            *at = s->below;
            s->entered = false;
            s->below = NULL;
            if (sdk.span_events)
                push(s, REC_SPAN_EXIT, 0, NULL);
            return;
        }
    }
}

const struct sonde_context *sonde_span_context(const struct sonde_span *s)
{
    return s ? &s->context : &nothing.context;
}

const struct sonde_context *sonde_current(void)
{
    return tls_span ? &tls_span->context : NULL;
}

// ---- what a span says -------------------------------------------------------------------------------------------------
static void attribute(struct sonde_span *s, const char *key, enum sonde_type type, struct sonde_arg value)
{
    if (!s || !key)
        return;
    struct sonde_arg a[2] = {sonde_arg_str(key), value};
    push(s, (enum rec_kind)(REC_SPAN_ATTR + type - 1), 0, a);
    if (__builtin_expect(__atomic_load_n(&level_now.n_conditions, __ATOMIC_RELAXED) > 0, 0)) {
        char text[64];
        struct slice v = slice_of(text, 0);
        switch (type) {
        case SONDE_TYPE_STR:
            v = slice_of(value.value.s, value.n == SIZE_MAX ? 0 : value.n);
            break;
        case SONDE_TYPE_F64:
            v.n = (size_t)snprintf(text, sizeof text, "%.17g", value.value.f);
            break;
        case SONDE_TYPE_BOOL:
            v = slice_str(value.value.u ? "true" : "false");
            break;
        case SONDE_TYPE_UINT:
            v.n = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value.value.u);
            break;
        default:
            v.n = (size_t)snprintf(text, sizeof text, "%lld", (long long)value.value.i);
            break;
        }
        if (s->level_of != __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE))
            s->conditions = 0, s->level_of = level_now.generation;
        s->conditions |= level_field(slice_str(key), v);
        update_level(s);
    }
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
void sonde_span_f64(struct sonde_span *s, const char *key, double value)
{
    attribute(s, key, SONDE_TYPE_F64, sonde_arg_f64(value));
}
void sonde_span_bool(struct sonde_span *s, const char *key, bool value)
{
    attribute(s, key, SONDE_TYPE_BOOL, sonde_arg_uint(value));
}

void sonde_span_status(struct sonde_span *s, enum sonde_status status, const char *message)
{
    struct sonde_arg a[2] = {sonde_arg_uint((uint64_t)status), sonde_arg_str(message)};
    if (s)
        push(s, REC_SPAN_STATUS, 0, a);
}

void sonde_span_event_at(struct sonde_span *s, const char *name, int64_t time_ns)
{
    struct sonde_arg a[2] = {sonde_arg_int(time_ns), sonde_arg_str(name ? name : "")};
    if (s)
        push(s, REC_SPAN_EVENT, 0, a);
}

void sonde_span_event(struct sonde_span *s, const char *name)
{
    sonde_span_event_at(s, name, 0);
}
