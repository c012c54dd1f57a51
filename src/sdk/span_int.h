// What the files of an application's spans share: span.c (handles, the end, the current span), span_start.c (the start: ids,
// inheritance, the sampler's decision), span_dropped.c (spans that are not recorded), span_say.c (what a span says), span_push.c
// (their records in the ring), span_level.c (span directives of the filter), span_lost.c (ends for which the ring had no room).
//
// An application's handle is small and holds the ids; everything said about a span is a record in the ring, and the backend puts
// the span together.
#pragma once
#include "sdk/context.h"
#include "sdk/sdk.h"
#include "sdk/trace.h"
#include "sdk/value.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#if defined(__has_feature)
#define SPAN_HAS_FEATURE(x) __has_feature(x)
#else
#define SPAN_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || SPAN_HAS_FEATURE(address_sanitizer) || \
    SPAN_HAS_FEATURE(thread_sanitizer)
enum { FREE_MAX = 0 }; // use behind the end shall be seen
#define SANITIZED 1
#else
enum { FREE_MAX = 64 }; // handles that a thread keeps
#define SANITIZED 0
#endif
enum { SAID_MAX = 512 };
// Halves of the trace id and the span id that are still to be made; clean: of a dropped one without a parent, as it started.
enum { LAZY_HIGH = 1, LAZY_LOW = 2, LAZY_SPAN = 4, LAZY_CLEAN = 8 };

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

extern struct sonde_span sdk_span_nothing; // for a process without memory

// span.c
struct sonde_span *sdk_span_handle_slow(void);              // null without memory
void sdk_span_finish(struct sonde_span *s, int64_t end_ns); // the end of any span

static inline struct sonde_span *span_handle(void)
{
    struct sonde_span *s = tls_spare;
    tls_spare = NULL;
    return __builtin_expect(s != NULL, 1) ? s : sdk_span_handle_slow();
}

// span_start.c
void sdk_span_make_ids(struct sonde_span *s);
struct sonde_span *sdk_span_begin(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                  const struct sonde_context *parent, const struct sonde_span_options *o);

// span_dropped.c
// What is said about a dropped one.
void sdk_span_remember(struct sonde_span *s, const struct sonde_field *fields, size_t n);

// span_level.c
void sdk_span_update_level(struct sonde_span *s); // by the filter that holds now
// An attribute may fulfil a directive's condition. Rare: only while a filter has one.
void sdk_span_fulfil(struct sonde_span *s, const char *key, enum sonde_type type, const struct sonde_arg *value);
static inline bool span_conditions(void)
{
    return __builtin_expect(__atomic_load_n(&level_now.n_conditions, __ATOMIC_RELAXED) > 0, 0);
}

// span_push.c
void sdk_span_push(const struct sonde_span *s, enum rec_kind kind, const struct sonde_arg *args);
// False: the ring had no room.
bool sdk_span_push_types(const struct sonde_span *s, enum rec_kind kind, uint32_t site, const uint8_t *types,
                         const struct sonde_arg *args, uint32_t n);
bool sdk_span_push_end(const struct sonde_span *s, int64_t end);
void sdk_span_push_start(const struct sonde_span *s, const char *name, uint64_t bits, int64_t start);
void sdk_span_push_more(const struct sonde_span *s, uint64_t what, int64_t time, const char *text, const uint8_t *ids,
                        struct slice fields);
// span_say.c
void sdk_span_say_fields(struct sonde_span *s, uint64_t what, int64_t time, const char *text, const uint8_t *ids,
                         const struct sonde_field *fields, size_t n);

// The two records of each span, written without the detour over arguments. Null: dropped, and counted.
static inline char *span_open_record(struct ring_thread *t, const struct sonde_span *s, uint32_t what, size_t size)
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

static inline void span_close_record(struct ring_thread *t, size_t size)
{
    ring_commit(t, size);
    ring_leave(t);
    sdk_wrote();
}
enum { SPAN_HEAD = sizeof(struct rec_head) + 24 };

static inline const struct sonde_context *span_context_of(const struct sonde_span *s)
{
    if (__builtin_expect(__atomic_load_n(&s->lazy, __ATOMIC_ACQUIRE), 0))
        sdk_span_make_ids((struct sonde_span *)(uintptr_t)s);
    return &s->context;
}

// Whether what is said goes into the ring.
static inline bool span_heard(const struct sonde_span *s)
{
    return s && !s->dead && !__atomic_load_n(&s->ended, __ATOMIC_RELAXED) &&
           (!s->dropped || __atomic_load_n(&s->told, __ATOMIC_ACQUIRE));
}

static inline bool span_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

static inline bool span_zero_id(const uint8_t id[16])
{
    uint64_t word[2];
    memcpy(word, id, 16);
    return !(word[0] | word[1]);
}

// Before something is written to a handle that clean() would have to take back.
static inline void span_soil(struct sonde_span *s)
{
    if (__atomic_load_n(&s->lazy, __ATOMIC_RELAXED) & LAZY_CLEAN)
        __atomic_fetch_and(&s->lazy, (uint8_t)~LAZY_CLEAN, __ATOMIC_RELAXED);
}

// The flags of a dropped span as it starts, written and read in one piece: byte 3 is `dropped`, byte 7 `lazy`.
#define FRESH_DROPPED ((uint64_t)1 << 24)
#define FRESH_LAZY(l) ((uint64_t)(l) << 56)
#define FRESH_CLEAN   (FRESH_DROPPED | FRESH_LAZY(LAZY_HIGH | LAZY_LOW | LAZY_SPAN | LAZY_CLEAN))
#define FRESH_STATE   (FRESH_LAZY(1) - 1) // all but `lazy`
_Static_assert(offsetof(struct sonde_span, dropped) - offsetof(struct sonde_span, fresh) == 3 &&
                   offsetof(struct sonde_span, lazy) - offsetof(struct sonde_span, fresh) == 7 && sizeof(bool) == 1,
               "FRESH_ tells where they lie");

// A name shorter than 16 bytes, which most are, read at once where it lies in one page. False: another one.
static inline __attribute__((always_inline)) bool span_copy_short(char to[128], const char *from)
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
