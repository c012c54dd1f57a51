// The one instance of libsonde in a process, and how its parts reach each other.
//
// Locks, outermost first: those of level.h, life (start, stop, fork, registration of call sites), drain (whoever empties the
// rings), ring.lock. A record takes none of them; the first record of a call site or of a thread takes life.
#pragma once
#include "sdk/level.h"
#include "sdk/pipeline.h"
#include "sdk/sink.h"
#include <stdatomic.h>

enum sdk_phase { SDK_NONE, SDK_RUNNING, SDK_STOPPED };
enum {
    SDK_POLL_NS = 1000000,
    SDK_POLL_SPANS_NS = 20000000,
    SDK_POLL_QUIET_NS = 100000000,
    SDK_POLL_MAX_NS = 10000000,
    SDK_DOZE_AFTER_NS = 2000000000,
    SDK_DOZE_NS = 250000000,
    SDK_RING_AGAIN_NS = 100000000 // after there was no memory for it
};

// How the backend rests. DOZE: until a record comes; NAP: for some milliseconds, records do not end it but a flush or a ring that
// fills up; GONE: there is none, a record is written by its own thread.
enum sdk_doze { SDK_AWAKE, SDK_DOZE, SDK_GONE, SDK_NAP };
enum sdk_waker { SDK_WAKE_NOBODY, SDK_WAKE_LINES, SDK_WAKE_ALL }; // whose records call sdk_wrote_slow

struct export;
struct sdk {
    pthread_mutex_t life;
    atomic_int phase; // enum sdk_phase
    atomic_bool stopping;
    struct ring *ring;       // null before the first use and in a fresh child
    unsigned generation;     // counts forks: a child's ring is another one
    atomic_bool span_events; // plain loads: a sink may come at any time
    unsigned flight_level;   // records up to it are held when the filter does not let them out; 0: none
    unsigned want_level;     // atomic: the same for sinks with their own filter
    unsigned held_level;     // atomic: the larger of both
    char service[128], resource[1024];
    struct site_table sites;
    uint32_t n_sites;
    // backend
    pthread_mutex_t drain;
    struct pipeline pipe;
    bool has_thread;
    atomic_int dozing; // futex: enum sdk_doze
    atomic_uint flush_asked, flush_done;
    atomic_llong flush_until; // monotonic
    atomic_bool flush_ok;     // of the last one: everything was written
    struct sink_episode lost; // by the ring, not told yet
    uint64_t lost_seen;       // of the ring's count
    int64_t calibrated_at;
    struct export *export; // null: nothing is exported
    struct {
        struct ring *ring;
        struct export *export;
        struct pipeline pipe;
    } parents; // in a forked child: never used, kept reachable so that leak checkers are not misled
};
extern struct sdk sdk;

// What all calls read; written when the backend falls asleep for long and when it wakes.
extern struct sdk_hot {
    atomic_int wake; // enum sdk_waker
} __attribute__((aligned(64))) sdk_hot;

// What a thread needs at hand, in one cache line of the static TLS block.
extern __thread struct sdk_tls {
    struct ring_thread ring;
    struct sonde_span *span; // the current one; null: none
    // Handles to start the next span on; null: none. ready: of a dropped span, all in it as the next one needs it (LAZY_CLEAN).
    struct sonde_span *ready, *spare;
} __attribute__((aligned(64))) sdk_tls __attribute__((tls_model("initial-exec")));
_Static_assert(sizeof(struct sdk_tls) == 64, "a call reads one line of it");
#define tls_ring_thread (sdk_tls.ring)
#define tls_span        (sdk_tls.span)
#define tls_ready       (sdk_tls.ready)
#define tls_spare       (sdk_tls.spare)
static inline struct ring_thread *sdk_attached(void) // null: the thread has written nothing yet
{
    return tls_ring_thread.lane ? &tls_ring_thread : NULL;
}
#define tls_ring (sdk_attached())

struct ring_thread *sdk_thread(void);     // the calling thread's ring; starts the library if needed; null if impossible
void sdk_start(void);                     // idempotent
void sdk_lost(unsigned level, bool held); // counts a record for which there was no memory before the ring; level 0: a span's
void sdk_wrote_slow(void);                // wakes a sleeping backend, or writes out at once when there is none any more
static inline void sdk_wrote(void)        // something about a span
{
    if (__builtin_expect(atomic_load_explicit(&sdk_hot.wake, memory_order_relaxed) == SDK_WAKE_ALL, 0))
        sdk_wrote_slow();
}
static inline void sdk_wrote_line(void)
{
    if (__builtin_expect(atomic_load_explicit(&sdk_hot.wake, memory_order_relaxed) != SDK_WAKE_NOBODY, 0))
        sdk_wrote_slow();
}
void sdk_wake(void);    // ends the backend's rest, whatever it is
void sdk_pressed(void); // the same, of a ring that fills up
// span_lost.c
void sdk_span_end_lost(const uint8_t *ids); // 24 bytes; the ring had no room for that span's end: the backend forgets it
bool sdk_span_ends_take(void);              // the backend, before a round: those whose records the round will have read; any
void sdk_span_ends_forget(void);            // and behind it
bool sdk_enter(void);                       // before taking a lock; false in a signal handler that interrupted a holder
void sdk_leave(void);
void sdk_register(struct sonde_site *site);        // gives it a number and a state
uint64_t log_shape(const struct sonde_site *site); // log.c: what sonde_log_write wants to know of the types
unsigned sdk_span_level(void);                     // what the current spans' directives let through on this thread
const uint8_t *sdk_span_ids(void);                 // 24 bytes of the current span, or null
void sdk_span_adopt(void);                         // after a fork: makes the current span known to the new ring
void sdk_span_forget(void);                        // the calling thread ends
bool sdk_tells(unsigned level);                    // of itself: OTEL_LOG_LEVEL none, error, warn, info (default), debug
void sdk_note(const char *text, size_t n);         // plain lines to stderr (configuration complaints)
void sdk_held_level(void);                         // after a change of sinks

// backend.c
void backend_start(void);
void backend_release(const uint8_t trace_id[16]); // writes out what is held of a trace
void backend_run(bool last);                      // empties the rings once; any thread, takes drain
bool backend_flush(int64_t deadline_ns);          // monotonic
void backend_stop(int64_t deadline_ns);
bool backend_inside(void); // the calling thread is in a round, in a sink's callback: it holds drain
