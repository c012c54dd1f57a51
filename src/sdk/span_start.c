// The start of a span: its ids, what it inherits, and whether it is recorded.
#include "base/hash.h"
#include "sdk/span_int.h"

// C code that takes the functions' addresses, and bindings, use these; the header's macros add the call site.
#undef sonde_span_start
#undef sonde_span_start_at
#undef sonde_span_start_with

// ---- ids -----------------------------------------------------------------------------------------------------------
static uint64_t random_word(void)
{
    uint64_t r;
    do
        r = random_u64();
    while (__builtin_expect(!r, 0));
    return r;
}

static void make_word(uint8_t *at)
{
    uint64_t none = 0;
    __atomic_compare_exchange_n((uint64_t *)(void *)at, &none, random_word(), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

// Several threads may look at the same time: the first one's ids hold.
void sdk_span_make_ids(struct sonde_span *s)
{
    if (s->lazy & LAZY_HIGH)
        make_word(s->context.trace_id);
    if (s->lazy & LAZY_LOW)
        make_word(s->context.trace_id + 8);
    if (s->lazy & LAZY_SPAN)
        make_word(s->context.span_id);
    __atomic_store_n(&s->lazy, 0, __ATOMIC_RELEASE);
}

static void put_word(uint8_t *at, uint64_t word)
{
    memcpy(at, &word, 8);
}

// ---- start ---------------------------------------------------------------------------------------------------------
struct begin { // what is known while a span starts
    const char *name;
    const struct sonde_context *parent; // null: a new trace, and no request ids
    bool has_parent;
    enum sonde_decision decision;
    struct sonde_sample_out out;
};

// Apart, so that who calls it rarely needs no registers for it.
static __attribute__((noinline)) void copy_most(char *to, const char *from, size_t size)
{
    size_t n = strnlen(from, size - 1);
    memcpy(to, from, n);
    to[n] = 0;
}

static inline void copy_name(char to[128], const char *from)
{
    if (!span_copy_short(to, from))
        copy_most(to, from, 128);
}

static inline void copy_text(char *to, const char *from, size_t size)
{
    to[0] = 0;
    if (__builtin_expect(from[0] != 0, 0))
        copy_most(to, from, size);
}

static inline void inherit(struct sonde_span *s, const struct begin *b)
{
    struct sonde_context *c = &s->context;
    const struct sonde_context *parent = b->parent;
    c->remote = false;
    c->tracestate[0] = c->request_id[0] = c->dynamo_request_id[0] = 0;
    s->parent = 0;
    if (parent) {
        copy_text(c->request_id, parent->request_id, sizeof c->request_id);
        copy_text(c->dynamo_request_id, parent->dynamo_request_id, sizeof c->dynamo_request_id);
    }
    if (b->has_parent) {
        memcpy(c->trace_id, parent->trace_id, 16);
        memcpy(&s->parent, parent->span_id, 8);
        copy_text(c->tracestate, parent->tracestate, sizeof c->tracestate);
        c->flags = parent->flags & 7;
    } else {
        c->flags = 2; // random in the sense of Trace Context Level 2
    }
}

// The ids that a replaced generator makes.
static void generate(struct sonde_span *s, const struct sonde_id_generator *g, bool new_trace)
{
    struct sonde_context *c = &s->context;
    if (new_trace) {
        memset(c->trace_id, 0, 16);
        g->trace_id(g->arg, c->trace_id);
        c->flags = g->random ? 2 : 0;
        if (span_zero(c->trace_id, 16)) // it must not be
            put_word(c->trace_id + 8, random_word());
    }
    memset(c->span_id, 0, 8);
    g->span_id(g->arg, c->span_id);
    if (span_zero(c->span_id, 8))
        put_word(c->span_id, random_word());
}

static void generate_now(struct sonde_span *s, bool new_trace)
{
    const struct sonde_id_generator *g = atomic_load_explicit(&trace.ids, memory_order_acquire);
    if (__builtin_expect(g != NULL, 0)) {
        generate(s, g, new_trace);
        return;
    }
    if (new_trace) {
        put_word(s->context.trace_id, random_word());
        put_word(s->context.trace_id + 8, random_word());
    }
    put_word(s->context.span_id, random_word());
}

// The span's id, and the halves of the trace's that are still to be made.
static inline void fill_ids(struct sonde_context *c, uint8_t lazy)
{
    uint64_t word[3];
    unsigned n = lazy == (LAZY_HIGH | LAZY_LOW) ? 3 : lazy ? 2 : 1, i = 0;
    random_u64s(word, n);
    for (unsigned k = 0; k < n; k++)
        word[k] = __builtin_expect(word[k] != 0, 1) ? word[k] : random_word();
    if (lazy & LAZY_HIGH)
        put_word(c->trace_id, word[i++]);
    if (lazy & LAZY_LOW)
        put_word(c->trace_id + 8, word[i++]);
    put_word(c->span_id, word[i]);
}

// A dropped span's ids are made when somebody looks.
static inline void generate_later(struct sonde_span *s, uint8_t lazy)
{
    if (lazy & LAZY_HIGH)
        put_word(s->context.trace_id, 0);
    if (lazy & LAZY_LOW)
        put_word(s->context.trace_id + 8, 0);
    put_word(s->context.span_id, 0);
    s->lazy = lazy | LAZY_SPAN;
}

static void ask(struct sonde_span *s, struct begin *b, const struct sonde_span_options *o)
{
    static const struct sonde_context none;
    const struct sonde_sampler *sampler = atomic_load_explicit(&trace.sampler, memory_order_acquire);
    struct sonde_sample_in in = {.parent = b->parent ? b->parent : &none,
                                 .ctx = sonde_ctx_current(),
                                 .trace_id = s->context.trace_id,
                                 .name = b->name,
                                 .kind = (enum sonde_kind)s->kind};
    if (o) {
        in.attributes = o->attributes;
        in.n_attributes = o->n_attributes;
        in.links = o->links;
        in.n_links = o->n_links;
    }
    generate_now(s, !b->has_parent);
    b->out.tracestate = s->context.tracestate;
    b->decision = sonde_sampler_ask(sampler, &in, &b->out);
    s->context.flags = (uint8_t)((s->context.flags & 6) | (b->decision == SONDE_RECORD_SAMPLE));
}

// Decides, and makes the ids that the decision needs at once.
static void decide(struct sonde_span *s, struct begin *b, const struct sonde_span_options *o)
{
    struct sonde_context *c = &s->context;
    enum trace_mode mode = atomic_load_explicit(&trace.mode, memory_order_relaxed);
    bool on = true;
    uint8_t lazy = b->has_parent ? 0 : LAZY_HIGH | LAZY_LOW;
    if (__builtin_expect(mode == TRACE_ASK, 0)) {
        ask(s, b, o);
        return;
    }
    if (__builtin_expect(atomic_load_explicit(&trace.ids, memory_order_relaxed) != NULL, 0)) {
        generate_now(s, !b->has_parent);
        if (!b->has_parent && mode == TRACE_PARENT)
            on = trace_randomness(c->trace_id) >= trace.threshold;
        lazy = 0xff;
    } else if (!b->has_parent && mode == TRACE_PARENT && trace.threshold) {
        put_word(c->trace_id + 8, random_word());
        on = trace_randomness(c->trace_id) >= trace.threshold;
        lazy = LAZY_HIGH;
    }
    if (mode == TRACE_OFF || (mode == TRACE_PARENT_OFF && !b->has_parent))
        on = false;
    else if (b->has_parent && mode != TRACE_ON)
        on = c->flags & 1;
    c->flags = (uint8_t)((c->flags & 6) | on);
    b->decision = on ? SONDE_RECORD_SAMPLE : trace.keep_errors || sdk.span_events ? SONDE_RECORD_ONLY : SONDE_DROP;
    if (lazy == 0xff)
        return;
    if (b->decision == SONDE_DROP) {
        generate_later(s, lazy);
        return;
    }
    fill_ids(c, lazy);
    if (on && !b->has_parent && trace.state[0] && mode == TRACE_PARENT)
        memcpy(c->tracestate, trace.state, sizeof trace.state);
}

static void say_start(struct sonde_span *s, const struct begin *b, const struct sonde_span_options *o)
{
    sdk_span_push_start(s, b->name, b->has_parent && b->parent->remote ? 1u << 16 : 0, o ? o->start_ns : 0);
    if (__builtin_expect(b->out.n_attributes > 0, 0))
        sdk_span_say_fields(s, MORE_FIELDS, 0, NULL, NULL, b->out.attributes, b->out.n_attributes < 8 ? b->out.n_attributes : 8);
}

static void tell_processors(struct sonde_span *s, const struct begin *b)
{
    static const struct sonde_context none;
    unsigned n = atomic_load_explicit(&trace.n_processors, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if (trace.processor[i].on_start)
            trace.processor[i].on_start(trace.processor[i].arg, s, b->parent ? b->parent : &none);
}

static struct sonde_span *disabled(struct sonde_span *s, const struct begin *b)
{
    s->dropped = true;
    if (b->parent)
        s->context = *b->parent;
    else
        memset(&s->context, 0, sizeof s->context);
    return s;
}

static void begin(struct sonde_span *s, struct begin *b, const struct sonde_span_options *o)
{
    if (trace.disabled) {
        disabled(s, b);
        return;
    }
    decide(s, b, o);
    if (b->decision == SONDE_DROP) {
        s->dropped = true;
        return;
    }
    s->keep = trace.keep_errors && b->decision == SONDE_RECORD_ONLY;
    say_start(s, b, o);
    if (__builtin_expect(atomic_load_explicit(&trace.n_processors, memory_order_relaxed) > 0, 0))
        tell_processors(s, b);
}

struct sonde_span *sdk_span_begin(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                  const struct sonde_context *parent, const struct sonde_span_options *o)
{
    if (__builtin_expect(atomic_load_explicit(&sdk.phase, memory_order_acquire) == SDK_NONE, 0))
        sdk_start();
    if (site && __builtin_expect(__atomic_load_n(&site->state, __ATOMIC_ACQUIRE) == SONDE_SITE_NEW, 0))
        sdk_register(site);
    struct sonde_span *s = span_handle();
    if (!s)
        return &sdk_span_nothing;
    struct begin b;
    b.out.n_attributes = 0;
    b.name = name ? name : "";
    b.parent = parent ? parent : tls_span && !(o && o->root) ? span_context_of(tls_span) : NULL;
    b.has_parent = b.parent && !(o && o->root) && !span_zero_id(b.parent->trace_id);
    s->generation = sdk.generation;
    s->site = site;
    s->below = NULL;
    s->refs = 1;
    memset(s->fresh, 0, sizeof s->fresh);
    s->kind = (uint8_t)kind;
    s->tracer = o && o->tracer ? o->tracer->number : 0;
    copy_name(s->name, b.name);
    if (__builtin_expect(__atomic_load_n(&level_now.max_span_level, __ATOMIC_RELAXED) > 0, 0))
        sdk_span_update_level(s);
    inherit(s, &b);
    begin(s, &b, o);
    return s;
}

struct sonde_span *sonde_span_start_with_site(struct sonde_site *site, const char *name, const struct sonde_span_options *o)
{
    if (!o)
        return sdk_span_begin(site, name, SONDE_KIND_INTERNAL, NULL, NULL);
    struct sonde_span *s = sdk_span_begin(site, name, o->kind ? o->kind : SONDE_KIND_INTERNAL, o->parent, o);
    for (size_t i = 0; i < o->n_links; i++)
        sonde_span_link(s, &o->links[i]);
    if (o->n_attributes)
        sonde_span_attributes(s, o->attributes, o->n_attributes);
    return s;
}
struct sonde_span *sonde_span_start_at_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                            const struct sonde_context *parent, int64_t start_ns)
{
    struct sonde_span_options o = {.start_ns = start_ns};
    return sdk_span_begin(site, name, kind, parent, &o);
}

struct sonde_span *sonde_span_start_at(const char *name, enum sonde_kind kind, const struct sonde_context *parent,
                                       int64_t start_ns)
{
    return sonde_span_start_at_site(NULL, name, kind, parent, start_ns);
}
struct sonde_span *sonde_span_start_with(const char *name, const struct sonde_span_options *o)
{
    return sonde_span_start_with_site(NULL, name, o);
}

struct sonde_span *sonde_span_scope_(struct sonde_site *site, const char *name, const struct sonde_field *fields, size_t n)
{
    struct sonde_span_options o = {.attributes = fields, .n_attributes = n};
    struct sonde_span *s =
        n ? sonde_span_start_with_site(site, name, &o) : sonde_span_start_site(site, name, SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    return s;
}
