// Spans: an application's handle is small and holds the ids; everything said about a span is a record in the ring, and the
// backend puts the span together.
//
// A span that is dropped pushes nothing: its ids are made when somebody looks, and what is said about it stays in the handle
// (`said`) until a log record is made inside of it. Then it is told: its start, and what was said, go into the ring after all, so
// that lines are the same whether a trace is sampled or not; it is never exported.
//
// Handles come from a list of the thread's own, so that a start costs no allocation in the long run.
#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "sdk/context.h"
#include "sdk/sdk.h"
#include "sdk/trace.h"
#include "sdk/value.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

// C code that takes the functions' addresses, and bindings, use these; the header's macros add the call site.
#undef sonde_span_start
#undef sonde_span_start_at
#undef sonde_span_start_with

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || \
    HAS_FEATURE(thread_sanitizer)
enum { FREE_MAX = 0 }; // use behind the end shall be seen
#define SANITIZED 1
#else
enum { FREE_MAX = 64 }; // handles that a thread keeps
#define SANITIZED 0
#endif
enum { SAID_MAX = 512, PACK_STACK = 1024 };
enum { LAZY_HIGH = 1, LAZY_LOW = 2, LAZY_SPAN = 4 }; // halves of the trace id and the span id that are still to be made

struct sonde_span {
    struct sonde_context context; // its first 24 bytes are the ids as records carry them
    uint32_t refs;                // atomic
    union {
        struct {
            uint64_t fresh[3]; // all of these, as a new span has them
        };
        struct {
            bool entered, dead, ended, dropped, keep;
            bool told, lock;     // of a dropped one: atomics
            uint8_t lazy;        // LAZY_
            unsigned level;      // atomic: that a span directive gives to records inside it
            unsigned level_of;   // atomic: generation of the filter that said so
            uint32_t conditions; // atomic: of that filter's span directives, fulfilled by its attributes
            uint16_t said_n;
        };
    };
    struct sonde_site *site;  // may be null
    struct sonde_span *below; // on the thread's stack; of the list of free handles
    uint64_t parent;          // id; 0: none
    unsigned generation;      // of the ring that knows it
    uint32_t tracer;
    uint8_t kind;
    char name[128]; // its beginning, for span directives and forked children
    char said[SAID_MAX];
};
_Static_assert(offsetof(struct sonde_context, span_id) == 16, "the ids lie together");

static struct sonde_span nothing = {.dead = true, .ended = true}; // for a process without memory

__thread struct sonde_span *tls_span __attribute__((tls_model("initial-exec")));
static __thread struct sonde_span *tls_free __attribute__((tls_model("initial-exec")));
static __thread struct sonde_span *tls_spare __attribute__((tls_model("initial-exec"))); // the last one put back
static __thread unsigned tls_n_free __attribute__((tls_model("initial-exec")));

static __attribute__((noinline)) struct sonde_span *handle_get_slow(void)
{
    struct sonde_span *s = tls_free;
    if (s) {
        tls_free = s->below;
        tls_n_free--;
        return s;
    }
    if (!tls_ring)
        sdk_thread(); // from now on the thread's end is noticed
    return mem_alloc(sizeof *s);
}

static __attribute__((noinline)) void handle_put_slow(struct sonde_span *s)
{
    if (tls_n_free >= FREE_MAX) {
        mem_free(s);
        return;
    }
    s->below = tls_free;
    tls_free = s;
    tls_n_free++;
}

static inline struct sonde_span *handle_get(void)
{
    struct sonde_span *s = tls_spare;
    tls_spare = NULL;
    return __builtin_expect(s != NULL, 1) ? s : handle_get_slow();
}

static inline void handle_put(struct sonde_span *s)
{
    if (__builtin_expect(FREE_MAX > 0 && !tls_spare, 1))
        tls_spare = s;
    else
        handle_put_slow(s);
}

void sdk_span_forget(void)
{
    tls_span = NULL;
    mem_free(tls_spare);
    tls_spare = NULL;
    while (tls_free) {
        struct sonde_span *s = tls_free;
        tls_free = s->below;
        mem_free(s);
    }
    tls_n_free = 0;
}

// ---- ids ------------------------------------------------------------------------------------------------------------
static bool zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

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
static __attribute__((noinline)) void make_ids(struct sonde_span *s)
{
    if (s->lazy & LAZY_HIGH)
        make_word(s->context.trace_id);
    if (s->lazy & LAZY_LOW)
        make_word(s->context.trace_id + 8);
    if (s->lazy & LAZY_SPAN)
        make_word(s->context.span_id);
    __atomic_store_n(&s->lazy, 0, __ATOMIC_RELEASE);
}

static inline const struct sonde_context *context_of(const struct sonde_span *s)
{
    if (__builtin_expect(__atomic_load_n(&s->lazy, __ATOMIC_ACQUIRE), 0))
        make_ids((struct sonde_span *)(uintptr_t)s);
    return &s->context;
}

static void put_word(uint8_t *at, uint64_t word)
{
    memcpy(at, &word, 8);
}

// ---- span directives ------------------------------------------------------------------------------------------------
// By the filter that holds now.
static void update_level(struct sonde_span *s)
{
    unsigned now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE), level = 0;
    if (__atomic_load_n(&s->level_of, __ATOMIC_RELAXED) != now)
        __atomic_store_n(&s->conditions, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&s->level_of, now, __ATOMIC_RELAXED);
    if (__atomic_load_n(&level_now.max_span_level, __ATOMIC_RELAXED)) {
        struct site *site = s->site ? site_get(&sdk.sites, s->site->number) : NULL;
        level =
            level_span(site ? site->target : SLICE_NONE, slice_str(s->name), __atomic_load_n(&s->conditions, __ATOMIC_RELAXED));
    }
    __atomic_store_n(&s->level, level, __ATOMIC_RELAXED);
}

unsigned sdk_span_level(void)
{
    unsigned level = 0, now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE);
    for (struct sonde_span *s = tls_span; s; s = s->below) {
        if (__atomic_load_n(&s->level_of, __ATOMIC_RELAXED) != now)
            update_level(s);
        unsigned own = __atomic_load_n(&s->level, __ATOMIC_RELAXED);
        level = own > level ? own : level;
    }
    return level;
}

// An attribute may fulfil a directive's condition. Rare: only while a filter has one.
static void fulfil(struct sonde_span *s, const char *key, enum sonde_type type, const struct sonde_arg *value)
{
    char text[64];
    struct slice v = slice_of(text, 0);
    switch (type) {
    case SONDE_TYPE_STR:
        v = slice_of(value->value.s, value->n == SIZE_MAX ? 0 : value->n);
        break;
    case SONDE_TYPE_F64:
        v.n = (size_t)snprintf(text, sizeof text, "%.17g", value->value.f);
        break;
    case SONDE_TYPE_BOOL:
        v = slice_str(value->value.u ? "true" : "false");
        break;
    case SONDE_TYPE_UINT:
        v.n = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value->value.u);
        break;
    case SONDE_TYPE_INT:
        v.n = (size_t)snprintf(text, sizeof text, "%lld", (long long)value->value.i);
        break;
    default:
        return;
    }
    unsigned now = __atomic_load_n(&level_now.generation, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&s->level_of, __ATOMIC_RELAXED) != now) {
        __atomic_store_n(&s->conditions, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&s->level_of, now, __ATOMIC_RELAXED);
    }
    __atomic_fetch_or(&s->conditions, level_field(slice_str(key), v), __ATOMIC_RELAXED);
    update_level(s);
}

static inline bool conditions(void)
{
    return __builtin_expect(__atomic_load_n(&level_now.n_conditions, __ATOMIC_RELAXED) > 0, 0);
}

// ---- records --------------------------------------------------------------------------------------------------------
static bool push_types(const struct sonde_span *s, enum rec_kind kind, uint32_t site, const uint8_t *types,
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

static void push(const struct sonde_span *s, enum rec_kind kind, const struct sonde_arg *args)
{
    uint32_t n;
    const uint8_t *types = rec_types(kind, &n);
    push_types(s, kind, 0, types, args, n);
}

// The two records of each span, written without the detour over arguments. Null: dropped, and counted.
static inline char *open_record(struct ring_thread *t, const struct sonde_span *s, uint32_t what, size_t size)
{
    if (!ring_enter(t, what, RING_WAIT))
        return NULL;
    char *p = ring_begin(t, what | REC_IN_SPAN, size, RING_WAIT);
    if (__builtin_expect(!p, 0)) {
        ring_leave(t);
        return NULL;
    }
    memcpy(p, s->context.trace_id, 24);
    return p + 24;
}
static inline void close_record(struct ring_thread *t, size_t size)
{
    ring_commit(t, size);
    ring_leave(t);
    sdk_wrote();
}
enum { SPAN_HEAD = sizeof(struct rec_head) + 24, SHORT_NAME = 64 };

static bool push_end(const struct sonde_span *s, int64_t end)
{
    static const uint8_t types[] = {SONDE_TYPE_INT};
    struct ring_thread *t = tls_ring;
    struct sonde_arg a = {.value.i = end};
    if (__builtin_expect(!t, 0))
        return push_types(s, REC_SPAN_END, 0, types, &a, 1);
    char *p = open_record(t, s, (uint32_t)REC_SPAN_END << 24, SPAN_HEAD + 8);
    if (!p)
        return false;
    memcpy(p, &end, 8);
    close_record(t, SPAN_HEAD + 8);
    return true;
}

// A span without request ids and state, with a short name.
static inline bool push_plain_start(const struct sonde_span *s, const char *name, size_t n, uint64_t what, int64_t start)
{
    const struct sonde_context *c = &s->context;
    struct ring_thread *t = tls_ring;
    if (!t || n > SHORT_NAME || c->request_id[0] || c->tracestate[0])
        return false;
    const size_t size = (SPAN_HEAD + 48 + n + 7) & ~(size_t)7;
    const uint64_t values[6] = {s->parent, what, (uint64_t)start, rec_slot(n, n), 0, 0};
    char *p = open_record(t, s, (uint32_t)REC_SPAN_START << 24 | (s->site ? s->site->number : 0), size);
    if (p) {
        memcpy(p, values, sizeof values);
        rec_copy(p + sizeof values, name, n);
        close_record(t, size);
    }
    return true;
}

static void push_start(const struct sonde_span *s, const char *name, uint64_t bits, int64_t start)
{
    static const uint8_t types[] = {SONDE_TYPE_UINT, SONDE_TYPE_UINT, SONDE_TYPE_INT,
                                    SONDE_TYPE_STR,  SONDE_TYPE_STR,  SONDE_TYPE_STR};
    const struct sonde_context *c = &s->context;
    const uint64_t what = c->flags | (uint64_t)s->kind << 8 | (s->keep ? REC_KEEP : 0) | (uint64_t)s->tracer << 32 | bits;
    const size_t length = strlen(name);
    if (__builtin_expect(!c->dynamo_request_id[0] && push_plain_start(s, name, length, what, start), 1))
        return;
    struct sonde_arg a[6] = {
        {.value.u = s->parent},
        {.value.u = what},
        {.value.i = start},
        {.value.s = name, .n = length},
        {.value.s = c->request_id, .n = c->request_id[0] ? strlen(c->request_id) : 0},
        {.value.s = c->tracestate, .n = c->tracestate[0] ? strlen(c->tracestate) : 0},
    };
    push_types(s, REC_SPAN_START, s->site ? s->site->number : 0, types, a, 6);
    if (__builtin_expect(c->dynamo_request_id[0] != 0, 0)) {
        struct sonde_arg id[2] = {sonde_arg_str("x_dynamo_request_id"), sonde_arg_str(c->dynamo_request_id)};
        push(s, (enum rec_kind)(REC_SPAN_ATTR + SONDE_TYPE_STR - 1), id);
    }
}

static void push_more(const struct sonde_span *s, uint64_t what, int64_t time, const char *text, const uint8_t *ids,
                      struct slice fields)
{
    struct sonde_arg a[5] = {sonde_arg_uint(what), sonde_arg_int(time), sonde_arg_str(text),
                             sonde_arg_data(ids ? (const char *)ids : "", ids ? 24 : 0),
                             sonde_arg_data(fields.p ? fields.p : "", fields.n)};
    push(s, REC_SPAN_MORE, a);
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
                push_start(s, s->name, REC_INHERITED, 0);
        }
    }
}

// ---- dropped spans --------------------------------------------------------------------------------------------------
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
        make_ids(s);
        push_start(s, s->name, s->generation == sdk.generation ? 0 : REC_INHERITED, 0);
        if (s->said_n)
            push_more(s, MORE_FIELDS, 0, NULL, NULL, slice_of(s->said, s->said_n));
        __atomic_store_n(&s->told, true, __ATOMIC_RELEASE);
    }
    unlock(s);
}

const uint8_t *sdk_span_ids(void)
{
    struct sonde_span *s = tls_span;
    if (__builtin_expect(s->dropped, 0)) {
        if (trace.disabled)
            return zero(s->context.trace_id, 16) ? NULL : s->context.trace_id;
        tell(s);
        make_ids(s);
    }
    return s->context.trace_id;
}

// Whether what is said goes into the ring.
static inline bool heard(const struct sonde_span *s)
{
    return s && !s->dead && !__atomic_load_n(&s->ended, __ATOMIC_RELAXED) &&
           (!s->dropped || __atomic_load_n(&s->told, __ATOMIC_ACQUIRE));
}

static void remember(struct sonde_span *s, const struct sonde_field *fields, size_t n)
{
    if (s->dead || s->ended || trace.disabled || !try_lock(s))
        return;
    for (size_t i = 0; i < n; i++) {
        size_t put = packed_put(s->said + s->said_n, SAID_MAX - s->said_n, &fields[i]);
        s->said_n = (uint16_t)(put == SIZE_MAX ? s->said_n : s->said_n + put);
    }
    unlock(s);
}

// ---- fields ---------------------------------------------------------------------------------------------------------
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

static void say_fields(struct sonde_span *s, uint64_t what, int64_t time, const char *text, const uint8_t *ids,
                       const struct sonde_field *fields, size_t n)
{
    struct pack k;
    push_more(s, what, time, text, ids, pack_fields(&k, fields, n));
    pack_free(&k);
}

// Attributes alone, as push_more writes them.
static void say_attributes(struct sonde_span *s, const struct sonde_field *fields, size_t n)
{
    struct pack k;
    struct ring_thread *t = tls_ring;
    struct slice packed = pack_fields(&k, fields, n);
    const size_t size = (SPAN_HEAD + 40 + packed.n + 7) & ~(size_t)7;
    if (__builtin_expect(t && size <= RING_RECORD_MAX, 1)) {
        const uint64_t values[5] = {MORE_FIELDS, 0, rec_slot(SIZE_MAX, 0), 0, rec_slot(packed.n, packed.n)};
        char *p = open_record(t, s, (uint32_t)REC_SPAN_MORE << 24, size);
        if (p) {
            memcpy(p, values, sizeof values);
            memcpy(p + sizeof values, packed.p ? packed.p : "", packed.n);
            close_record(t, size);
        }
    } else {
        push_more(s, MORE_FIELDS, 0, NULL, NULL, packed);
    }
    pack_free(&k);
}

// ---- start and end --------------------------------------------------------------------------------------------------
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

// A name shorter than 16 bytes, which most are, read at once where it lies in one page. False: another one.
static inline __attribute__((always_inline)) bool copy_short(char to[128], const char *from)
{
#if defined(__SSE2__) && !SANITIZED
    if (((uintptr_t)from & 4095) > 4080)
        return false;
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)from);
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) == 0)
        return false;
    _mm_storeu_si128((__m128i *)(void *)to, v); // with the 0, and what lies behind it
    return true;
#else
    (void)to, (void)from;
    return false;
#endif
}

static inline void copy_name(char to[128], const char *from)
{
    if (!copy_short(to, from))
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
        c->flags = parent->flags & 3;
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
        if (zero(c->trace_id, 16)) // it must not be
            put_word(c->trace_id + 8, random_word());
    }
    memset(c->span_id, 0, 8);
    g->span_id(g->arg, c->span_id);
    if (zero(c->span_id, 8))
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
    s->context.flags = (uint8_t)((s->context.flags & 2) | (b->decision == SONDE_RECORD_SAMPLE));
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
    c->flags = (uint8_t)((c->flags & 2) | on);
    b->decision = on ? SONDE_RECORD_SAMPLE : trace.keep_errors || sdk.span_events ? SONDE_RECORD_ONLY : SONDE_DROP;
    if (lazy == 0xff)
        return;
    if (b->decision == SONDE_DROP) {
        generate_later(s, lazy);
        return;
    }
    if (lazy & LAZY_HIGH)
        put_word(c->trace_id, random_word());
    if (lazy & LAZY_LOW)
        put_word(c->trace_id + 8, random_word());
    put_word(c->span_id, random_word());
    if (on && !b->has_parent && trace.state[0] && mode == TRACE_PARENT)
        memcpy(c->tracestate, trace.state, sizeof trace.state);
}

static void say_start(struct sonde_span *s, const struct begin *b, const struct sonde_span_options *o)
{
    push_start(s, b->name, b->has_parent && b->parent->remote ? 1u << 16 : 0, o ? o->start_ns : 0);
    if (__builtin_expect(b->out.n_attributes > 0, 0))
        say_fields(s, MORE_FIELDS, 0, NULL, NULL, b->out.attributes, b->out.n_attributes < 8 ? b->out.n_attributes : 8);
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

static inline bool zero_id(const uint8_t id[16])
{
    uint64_t word[2];
    memcpy(word, id, 16);
    return !(word[0] | word[1]);
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

static __attribute__((noinline)) struct sonde_span *start(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                          const struct sonde_context *parent, const struct sonde_span_options *o)
{
    if (__builtin_expect(atomic_load_explicit(&sdk.phase, memory_order_acquire) == SDK_NONE, 0))
        sdk_start();
    if (site && __builtin_expect(__atomic_load_n(&site->state, __ATOMIC_ACQUIRE) == SONDE_SITE_NEW, 0))
        sdk_register(site);
    struct sonde_span *s = handle_get();
    if (!s)
        return &nothing;
    struct begin b;
    b.out.n_attributes = 0;
    b.name = name ? name : "";
    b.parent = parent ? parent : tls_span && !(o && o->root) ? context_of(tls_span) : NULL;
    b.has_parent = b.parent && !(o && o->root) && !zero_id(b.parent->trace_id);
    s->generation = sdk.generation;
    s->site = site;
    s->below = NULL;
    s->refs = 1;
    memset(s->fresh, 0, sizeof s->fresh);
    s->kind = (uint8_t)kind;
    s->tracer = o && o->tracer ? o->tracer->number : 0;
    copy_name(s->name, b.name);
    if (__builtin_expect(__atomic_load_n(&level_now.max_span_level, __ATOMIC_RELAXED) > 0, 0))
        update_level(s);
    inherit(s, &b);
    begin(s, &b, o);
    return s;
}

// The flags of a dropped span as it starts, written and read in one piece: byte 3 is `dropped`, byte 7 `lazy`.
#define FRESH_DROPPED ((uint64_t)1 << 24)
#define FRESH_LAZY(l) ((uint64_t)(l) << 56)
#define FRESH_STATE   (FRESH_LAZY(1) - 1) // all but `lazy`
_Static_assert(offsetof(struct sonde_span, dropped) - offsetof(struct sonde_span, fresh) == 3 &&
                   offsetof(struct sonde_span, lazy) - offsetof(struct sonde_span, fresh) == 7 && sizeof(bool) == 1,
               "FRESH_ tells where they lie");

// Several fields at once: flags, remote and an empty request id; the generation and no tracer.
_Static_assert(offsetof(struct sonde_context, flags) == 24 && offsetof(struct sonde_context, remote) == 25 &&
                   offsetof(struct sonde_context, request_id) == 26 &&
                   offsetof(struct sonde_span, tracer) - offsetof(struct sonde_span, generation) == 4,
               "start_dropped tells where they lie");

// Without a question dropped: what the usual samplers decide, nothing replaced (trace.quick), a short name and no texts to
// inherit. Calls nothing, and writes as little as possible; the call site registers when the span is told. Null: the general way.
static inline __attribute__((always_inline)) struct sonde_span *
start_dropped(struct sonde_site *site, const char *name, enum sonde_kind kind, const struct sonde_context *parent)
{
    struct sonde_span *s = tls_spare;
    unsigned quick = __atomic_load_n(&trace.quick, __ATOMIC_RELAXED);
    if (!quick || !s || !name || sdk.span_events || __atomic_load_n(&level_now.max_span_level, __ATOMIC_RELAXED))
        return NULL;
    uint64_t trace_id[2] = {0, 0}, parent_id = 0, lazy = LAZY_HIGH | LAZY_LOW | LAZY_SPAN;
    uint32_t flags = 2;
    if (parent) {
        memcpy(trace_id, parent->trace_id, 16);
        if (parent->request_id[0] | parent->tracestate[0] | parent->dynamo_request_id[0])
            return NULL;
    }
    if (trace_id[0] | trace_id[1]) {
        flags = parent->flags;
        if (!(quick & TRACE_QUICK_CHILD) || (flags & 1))
            return NULL;
        memcpy(&parent_id, parent->span_id, 8);
        lazy = LAZY_SPAN;
    } else if (!(quick & TRACE_QUICK_ROOT)) {
        return NULL;
    }
    if (!copy_short(s->name, name))
        return NULL;
    tls_spare = NULL;
    memcpy(s->context.trace_id, trace_id, 16);
    put_word(s->context.span_id, 0);
    flags &= 2;
    memcpy((char *)s + offsetof(struct sonde_span, context.flags), &flags, 4);
    s->context.tracestate[0] = s->context.dynamo_request_id[0] = 0;
    s->refs = 1;
    s->fresh[0] = FRESH_DROPPED | FRESH_LAZY(lazy);
    memset(&s->fresh[1], 0, 2 * sizeof s->fresh[1]);
    s->site = site;
    s->below = NULL;
    s->parent = parent_id;
    uint64_t generation = sdk.generation;
    memcpy((char *)s + offsetof(struct sonde_span, generation), &generation, 8);
    s->kind = (uint8_t)kind;
    return s;
}

// By itself, so that the shorter way of one without a parent saves no registers.
static __attribute__((noinline)) struct sonde_span *start_inner(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                                const struct sonde_context *parent)
{
    struct sonde_span *current = tls_span, *s = NULL;
    if (parent || !__atomic_load_n(&current->lazy, __ATOMIC_ACQUIRE))
        s = start_dropped(site, name, kind, parent ? parent : &current->context);
    return s ? s : start(site, name, kind, parent, NULL);
}

struct sonde_span *sonde_span_start_with_site(struct sonde_site *site, const char *name, const struct sonde_span_options *o)
{
    if (!o)
        return start(site, name, SONDE_KIND_INTERNAL, NULL, NULL);
    struct sonde_span *s = start(site, name, o->kind ? o->kind : SONDE_KIND_INTERNAL, o->parent, o);
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
    return start(site, name, kind, parent, &o);
}
struct sonde_span *sonde_span_start_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                         const struct sonde_context *parent)
{
    if (parent || tls_span)
        return start_inner(site, name, kind, parent);
    struct sonde_span *s = start_dropped(site, name, kind, NULL);
    return s ? s : start(site, name, kind, NULL, NULL);
}
struct sonde_span *sonde_span_start(const char *name, enum sonde_kind kind, const struct sonde_context *parent)
{
    return sonde_span_start_site(NULL, name, kind, parent);
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

struct sonde_span *sonde_span_hold(struct sonde_span *s)
{
    if (s && !s->dead)
        __atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

static inline void release(struct sonde_span *s)
{
    // Alone: nobody else can come to hold it now.
    if (__atomic_load_n(&s->refs, __ATOMIC_ACQUIRE) == 1 || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
        handle_put(s);
}

void sonde_span_release(struct sonde_span *s)
{
    if (s && !s->dead)
        release(s);
}

static __attribute__((noinline)) void end_recorded(struct sonde_span *s, int64_t end_ns)
{
    if (!s->dropped && __builtin_expect(atomic_load_explicit(&trace.n_processors, memory_order_acquire) > 0, 0))
        for (unsigned i = 0; i < trace.n_processors; i++)
            if (trace.processor[i].on_ending)
                trace.processor[i].on_ending(trace.processor[i].arg, s, end_ns);
    if (!push_end(s, end_ns))
        sdk_span_end_lost((const uint8_t *)&s->context); // it begins with both ids
}

static __attribute__((noinline)) void end(struct sonde_span *s, int64_t end_ns)
{
    if (!s || s->dead || __atomic_load_n(&s->ended, __ATOMIC_RELAXED))
        return;
    if (s->entered)
        sonde_span_exit(s); // a forgotten exit must not leave a dangling current span
    if (heard(s))
        end_recorded(s, end_ns);
    __atomic_store_n(&s->ended, true, __ATOMIC_RELAXED);
    release(s);
}

void sonde_span_end_at(struct sonde_span *s, int64_t end_ns)
{
    end(s, end_ns);
}

void sonde_span_end(struct sonde_span *s)
{
    // A dropped one of which nothing was told, that is not current and that nobody holds.
    if (s && FREE_MAX > 0 && (__atomic_load_n(&s->fresh[0], __ATOMIC_RELAXED) & FRESH_STATE) == FRESH_DROPPED && !tls_spare &&
        __atomic_load_n(&s->refs, __ATOMIC_ACQUIRE) == 1) {
        tls_spare = s;
        return;
    }
    end(s, 0);
}

bool sonde_span_is_recording(const struct sonde_span *s)
{
    return s && !s->dead && !s->dropped && !__atomic_load_n(&s->ended, __ATOMIC_RELAXED);
}

// ---- current span ---------------------------------------------------------------------------------------------------
void sonde_span_enter(struct sonde_span *s)
{
    if (!s || s->dead || s->entered || __atomic_load_n(&s->ended, __ATOMIC_RELAXED))
        return;
    s->entered = true;
    s->below = tls_span;
    tls_span = s;
    if (s->generation != sdk.generation)
        sdk_span_adopt();
    if (sdk.span_events && heard(s))
        push(s, REC_SPAN_ENTER, NULL);
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
            if (sdk.span_events && heard(s))
                push(s, REC_SPAN_EXIT, NULL);
            return;
        }
    }
}

const struct sonde_context *sonde_span_context(const struct sonde_span *s)
{
    return s ? context_of(s) : &nothing.context;
}

const struct sonde_context *sonde_current(void)
{
    return tls_span ? context_of(tls_span) : NULL;
}

struct sonde_span *sonde_span_current(void)
{
    return tls_span;
}

// ---- what a span says -----------------------------------------------------------------------------------------------
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
        push_types(s, (enum rec_kind)(REC_SPAN_ATTR + type - 1), 0, types, a, 2);
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
    if (conditions())
        fulfil(s, key, type, &value);
    if (__builtin_expect(!heard(s), 0)) {
        if (s->dropped)
            remember(s, &(struct sonde_field){key, (unsigned char)type, value}, 1);
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
    if (conditions())
        for (size_t i = 0; i < n; i++)
            if (fields[i].key)
                fulfil(s, fields[i].key, (enum sonde_type)fields[i].type, &fields[i].arg);
    if (heard(s))
        say_attributes(s, fields, n);
    else if (s->dropped)
        remember(s, fields, n);
}

void sonde_span_name(struct sonde_span *s, const char *name)
{
    if (name && heard(s))
        push_more(s, MORE_NAME, 0, name, NULL, SLICE_NONE);
}

void sonde_span_status(struct sonde_span *s, enum sonde_status status, const char *message)
{
    struct sonde_arg a[2] = {sonde_arg_uint((uint64_t)status), sonde_arg_str(message)};
    if (heard(s))
        push(s, REC_SPAN_STATUS, a);
}

void sonde_span_event_with(struct sonde_span *s, const char *name, int64_t time_ns, const struct sonde_field *fields, size_t n)
{
    if (heard(s))
        say_fields(s, MORE_EVENT, time_ns, name ? name : "", NULL, fields, n);
}

void sonde_span_event_at(struct sonde_span *s, const char *name, int64_t time_ns)
{
    struct sonde_arg a[2] = {sonde_arg_int(time_ns), sonde_arg_str(name ? name : "")};
    if (heard(s))
        push(s, REC_SPAN_EVENT, a);
}

void sonde_span_event(struct sonde_span *s, const char *name)
{
    sonde_span_event_at(s, name, 0);
}

void sonde_span_link(struct sonde_span *s, const struct sonde_link *link)
{
    if (!heard(s) || !link || !link->context)
        return;
    const struct sonde_context *c = link->context;
    // Ids without a value are allowed where attributes or a tracestate say something.
    if (zero(c->trace_id, 24) && !link->n_attributes && !c->tracestate[0])
        return;
    say_fields(s, MORE_LINK | (uint64_t)c->flags << 8 | (uint64_t)c->remote << 16, 0, c->tracestate, c->trace_id,
               link->attributes, link->n_attributes);
}

void sonde_span_exception(struct sonde_span *s, const struct sonde_exception *e)
{
    enum { OWN = 3 };
    if (!heard(s) || !e || !(e->type || e->message))
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
        push_more(s, MORE_EVENT, 0, "exception", NULL, buf_slice(&packed));
    buf_free(&packed);
}
