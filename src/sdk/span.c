// Handles of spans: an application's memory of one, its end, and which one is current.
//
// Handles come from a list of the thread's own, so that a start costs no allocation in the long run.
#include "base/alloc.h"
#include "sdk/span_int.h"

struct sonde_span sdk_span_nothing = {.dead = true, .ended = true};

static __thread struct sonde_span *tls_free __attribute__((tls_model("initial-exec")));
static __thread unsigned tls_n_free __attribute__((tls_model("initial-exec")));

struct sonde_span *sdk_span_handle_slow(void)
{
    struct sonde_span *s = tls_free;
    if (s) {
        tls_free = s->below;
        tls_n_free--;
        return s;
    }
    if (tls_ready) {
        s = tls_ready;
        tls_ready = NULL;
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
    mem_free(tls_ready);
    mem_free(tls_spare);
    tls_ready = tls_spare = NULL;
    while (tls_free) {
        struct sonde_span *s = tls_free;
        tls_free = s->below;
        mem_free(s);
    }
    tls_n_free = 0;
}

struct sonde_span *sonde_span_hold(struct sonde_span *s)
{
    if (s && !s->dead) {
        span_soil(s);
        __atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
    }
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
    if (!sdk_span_push_end(s, end_ns))
        sdk_span_end_lost((const uint8_t *)&s->context); // it begins with both ids
}

void sdk_span_finish(struct sonde_span *s, int64_t end_ns)
{
    if (!s || s->dead || __atomic_load_n(&s->ended, __ATOMIC_RELAXED))
        return;
    if (s->entered)
        sonde_span_exit(s); // a forgotten exit must not leave a dangling current span
    if (span_heard(s))
        end_recorded(s, end_ns);
    __atomic_store_n(&s->ended, true, __ATOMIC_RELAXED);
    release(s);
}

void sonde_span_end_at(struct sonde_span *s, int64_t end_ns)
{
    sdk_span_finish(s, end_ns);
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
    if (sdk.span_events && span_heard(s))
        sdk_span_push(s, REC_SPAN_ENTER, NULL);
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
            if (sdk.span_events && span_heard(s))
                sdk_span_push(s, REC_SPAN_EXIT, NULL);
            return;
        }
    }
}

const struct sonde_context *sonde_span_context(const struct sonde_span *s)
{
    return s ? span_context_of(s) : &sdk_span_nothing.context;
}

const struct sonde_context *sonde_current(void)
{
    return tls_span ? span_context_of(tls_span) : NULL;
}

struct sonde_span *sonde_span_current(void)
{
    return tls_span;
}
