// Spans that the sampler dropped. Nearly all there is of them is the short way of their start and end.
//
// Such a span pushes nothing: its ids are made when somebody looks, and what is said about it stays in the handle (`said`) until
// a log record is made inside of it. Then it is told: its start, and what was said, go into the ring after all, so that lines are
// the same whether a trace is sampled or not; it is never exported.
#include "sdk/span_int.h"

// C code that takes the functions' addresses, and bindings, use these; the header's macros add the call site.
#undef sonde_span_start
#undef sonde_span_start_at
#undef sonde_span_start_with

static bool try_lock(struct sonde_span *s)
{
    return !__atomic_exchange_n(&s->lock, true, __ATOMIC_ACQUIRE);
}
static void unlock(struct sonde_span *s)
{
    __atomic_store_n(&s->lock, false, __ATOMIC_RELEASE);
}

// Enclosing spans first, so that the backend finds the parents.
static void tell(struct sonde_span *s)
{
    if (s->below)
        tell(s->below);
    if (!s->dropped || trace.disabled || __atomic_load_n(&s->told, __ATOMIC_ACQUIRE) || !try_lock(s))
        return; // locked: a signal handler inside of us, or another thread that is at it
    if (!s->told) {
        if (s->site && __atomic_load_n(&s->site->state, __ATOMIC_ACQUIRE) == SONDE_SITE_NEW)
            sdk_register(s->site);
        sdk_span_make_ids(s);
        sdk_span_push_start(s, s->name, s->generation == sdk.generation ? 0 : REC_INHERITED, 0);
        if (s->said_n)
            sdk_span_push_more(s, MORE_FIELDS, 0, NULL, NULL, slice_of(s->said, s->said_n));
        __atomic_store_n(&s->told, true, __ATOMIC_RELEASE);
    }
    unlock(s);
}

const uint8_t *sdk_span_ids(void)
{
    struct sonde_span *s = tls_span;
    if (__builtin_expect(s->dropped, 0)) {
        if (trace.disabled)
            return span_zero(s->context.trace_id, 16) ? NULL : s->context.trace_id;
        tell(s);
        sdk_span_make_ids(s);
    }
    return s->context.trace_id;
}

void sdk_span_remember(struct sonde_span *s, const struct sonde_field *fields, size_t n)
{
    if (s->dead || s->ended || trace.disabled || !try_lock(s))
        return;
    span_soil(s);
    for (size_t i = 0; i < n; i++) {
        size_t put = packed_put(s->said + s->said_n, SAID_MAX - s->said_n, &fields[i]);
        s->said_n = (uint16_t)(put == SIZE_MAX ? s->said_n : s->said_n + put);
    }
    unlock(s);
}

// ---- start and end -------------------------------------------------------------------------------------------------
// Several fields at once: flags, remote and an empty request id.
_Static_assert(offsetof(struct sonde_context, flags) == 24 && offsetof(struct sonde_context, remote) == 25 &&
                   offsetof(struct sonde_context, request_id) == 26,
               "clean tells where they lie");

// As a dropped one without a parent starts, but for its site, name, kind and generation.
static void clean(struct sonde_span *s)
{
    const uint32_t flags = 2;
    memset(s->context.trace_id, 0, 24);
    memcpy((char *)s + offsetof(struct sonde_span, context.flags), &flags, 4);
    s->context.tracestate[0] = s->context.dynamo_request_id[0] = 0;
    s->refs = 1;
    s->fresh[0] = FRESH_CLEAN;
    memset(&s->fresh[1], 0, 2 * sizeof s->fresh[1]);
    s->below = NULL;
    s->parent = 0;
    s->tracer = 0;
}

// Without a question dropped: what the usual samplers decide, nothing replaced (trace.quick), a short name and no texts to
// inherit. Calls nothing, and writes as little as possible; the call site registers when the span is told. Null: the general way.
static inline __attribute__((always_inline)) struct sonde_span *start_root(struct sonde_span *s, struct sonde_site *site,
                                                                           const char *name, enum sonde_kind kind)
{
    if (!span_copy_short(s->name, name))
        return NULL;
    s->site = site;
    s->generation = sdk.generation;
    s->kind = (uint8_t)kind;
    return s;
}

// By itself, as the next two, so that the way of one without a parent on a clean handle saves no registers.
static __attribute__((noinline)) struct sonde_span *start_unclean(struct sonde_site *site, const char *name, enum sonde_kind kind)
{
    struct sonde_span *s = tls_spare;
    if (s && name && (__atomic_load_n(&trace.quick, __ATOMIC_RELAXED) & TRACE_QUICK_ROOT)) {
        clean(s);
        if (start_root(s, site, name, kind)) {
            tls_spare = NULL;
            return s;
        }
    }
    return sdk_span_begin(site, name, kind, NULL, NULL);
}

static inline struct sonde_span *start_child(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                             const struct sonde_context *parent)
{
    struct sonde_span *s = tls_spare;
    unsigned quick = __atomic_load_n(&trace.quick, __ATOMIC_RELAXED), children = quick & TRACE_QUICK_CHILD;
    if (!children || !s || !name || (parent->flags & 1) || parent->request_id[0] || parent->tracestate[0] ||
        parent->dynamo_request_id[0] || span_zero_id(parent->trace_id) || !span_copy_short(s->name, name))
        return NULL;
    tls_spare = NULL;
    clean(s);
    memcpy(s->context.trace_id, parent->trace_id, 16);
    s->context.flags = parent->flags & 2;
    s->fresh[0] = FRESH_DROPPED | FRESH_LAZY(LAZY_SPAN);
    memcpy(&s->parent, parent->span_id, 8);
    s->site = site;
    s->generation = sdk.generation;
    s->kind = (uint8_t)kind;
    return s;
}

static __attribute__((noinline)) struct sonde_span *start_inner(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                                const struct sonde_context *parent)
{
    struct sonde_span *current = tls_span, *s = NULL;
    if (parent || !__atomic_load_n(&current->lazy, __ATOMIC_ACQUIRE))
        s = start_child(site, name, kind, parent ? parent : &current->context);
    return s ? s : sdk_span_begin(site, name, kind, parent, NULL);
}

struct sonde_span *sonde_span_start_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                         const struct sonde_context *parent)
{
    if (__builtin_expect(parent || tls_span, 0))
        return start_inner(site, name, kind, parent);
    if (__builtin_expect(!(__atomic_load_n(&trace.quick, __ATOMIC_RELAXED) & TRACE_QUICK_ROOT), 0))
        return sdk_span_begin(site, name, kind, NULL, NULL);
    struct sonde_span *s = tls_ready;
    if (!s || !name || !start_root(s, site, name, kind))
        return start_unclean(site, name, kind);
    tls_ready = NULL;
    return s;
}
struct sonde_span *sonde_span_start(const char *name, enum sonde_kind kind, const struct sonde_context *parent)
{
    return sonde_span_start_site(NULL, name, kind, parent);
}

static __attribute__((noinline)) void end_dropped(struct sonde_span *s)
{
    bool quiet = (__atomic_load_n(&s->fresh[0], __ATOMIC_RELAXED) & FRESH_STATE) == FRESH_DROPPED;
    if (quiet && !tls_spare && __atomic_load_n(&s->refs, __ATOMIC_ACQUIRE) == 1) // nothing was told of it, and it is not current
        tls_spare = s;
    else
        sdk_span_finish(s, 0);
}

void sonde_span_end(struct sonde_span *s)
{
    uint64_t fresh = s && FREE_MAX > 0 ? __atomic_load_n(&s->fresh[0], __ATOMIC_RELAXED) : 0;
    if (__builtin_expect(fresh == FRESH_CLEAN && !tls_ready, 1)) // nobody has asked anything of it, or held it
        tls_ready = s;
    else if (fresh & FRESH_DROPPED)
        end_dropped(s);
    else
        sdk_span_finish(s, 0);
}
