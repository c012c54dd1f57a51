// The ring: one mapped file a process, in which every record lies before anything else happens to it. It survives the
// process (kill -9 included) and is read by the backend thread, by `sonde inspect ring` and by an agent that adopts it.
//
// File, little-endian, every constant asserted in ring.c:
//   0            struct ring_head, RING_HEAD bytes: magic, version, geometry, clock calibration, process, build id, and from
//                byte 1024 on what limits of call sites hold back
//   dict_at      call-site dictionary, dict_size bytes, append only, dict_used bytes valid (release store):
//                  u32 size (whole entry, multiple of 4) · u32 number · u32 line · u8 level · u8 n_fields · u8 is_span · u8
//                  n_args then strings, each u16 length + bytes: target, file, message; then a field each: u8 type, string key
//   chunks_at    n_chunks chunks of chunk_size bytes; only the first n_backed have memory behind them
//
// Chunk: struct ring_chunk (64 bytes), then records up to `commit`. A chunk belongs to one thread at a time; a thread fills
// chunk after chunk, so its records are the chunks of its number in the order of seq. Chunks that the backend has read go
// back to the pool in that order and are overwritten last: the file always holds the latest records of the process,
// written out or not.
//
// Record, 8-byte aligned:
//   u32 size · u32 what (bits 0-23 site number, 24-27 enum rec_kind, 28-31 REC_ flags) · u64 tick
//   REC_IN_SPAN: 16 bytes trace id, 8 bytes span id          REC_EXTERN: u64 pointer, u64 bytes (see below)
//   one u64 a value: the number, or for a string u32 length (0xffffffff: absent) and u32 bytes kept here
//   the kept bytes of the strings, one after the other. Strings are also: bytes and ids as they are; arrays of numbers, 8 bytes
//   an element (bool 1); arrays of strings, u32 length + bytes an element; an error, i64 code + message (0xff: none, the code is
//   an errno); the fields of SONDE_LOG_ARRAY, each u8 type · u8 0 · u16 key length · u32 value length · key · value
// A record larger than RING_RECORD_MAX keeps the beginning of its strings here and all of it in the sender's heap (REC_EXTERN,
// same layout from the values on), for the backend only.
//
// Commit: the owner writes the record, then stores the chunk's new `commit` with release order. A reader that loads
// `next` before `commit` knows, when next is not 0, that commit is final. What lies behind commit was never finished: a
// reader that finds a sensible beginning there counts one torn record.
//
// Threads: ring_push and ring_thread_* by their owner; ring_read_* by one reader; the pool of chunks has a mutex (`lock`,
// innermost, taken once in some hundred records). The backend never overwrites unread chunks: when all are unread, records are
// dropped and counted. The protocol is checked by tests/model/ring.pml.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/slice.h"
#include <pthread.h>
#include <sonde/sonde.h>
#include <string.h>
#include <sys/types.h>

#define RING_MAGIC "SONDRNG1"
enum {
    RING_VERSION = 3,
    RING_HEAD = 4096,
    RING_DICT = 1 << 20,
    RING_CHUNK = 16 << 10,
    RING_CHUNK_HEAD = 64,
    RING_CHUNKS_MAX = 4096, // address space; memory is given as used
    RING_GROW = 16,         // chunks that get memory in one step
    RING_RECORD_MAX = 4096,
    RING_DEAD = 32,    // files of dead processes that are kept
    RING_COPIES = 100, // files of one name and process number
    RING_BUILD_ID_MAX = 32,
    RING_LIMITS = 100,
};

// What a limit of a call site held back since the start, and how much of that a line told. The last one: all that have no place.
struct ring_limit {
    uint32_t site; // 0: none, or the last
    uint32_t reserved;
    uint64_t suppressed, told; // atomics
};

struct ring_head {
    char magic[8];
    uint32_t version, head_size;
    uint64_t dict_at, chunks_at;
    uint32_t dict_size, dict_used; // dict_used: atomic
    uint32_t chunk_size, n_chunks;
    uint32_t n_backed;  // atomic
    uint32_t cal_index; // atomic: which calibration is valid
    struct clock_cal cal[2];
    int64_t start_ns;
    uint32_t pid, clean; // clean: 1 after an orderly shutdown
    uint64_t lost;       // atomic: records dropped by all threads
    char sdk_version[32];
    char service[128];
    char program[128];
    uint8_t build_id_n, build_id[RING_BUILD_ID_MAX]; // the linker's, of the program; 0 bytes: it has none
    uint8_t reserved[559];
    struct ring_limit limit[RING_LIMITS];
};

struct ring_chunk {
    uint32_t commit; // atomic: bytes valid, from the chunk's start
    uint32_t next;   // atomic: number + 1 of the chunk in which its thread went on; 0: none
    uint64_t seq;    // atomic: from 1, counts all chunks of the process; 0 while being set up or never used
    uint32_t thread; // number of the ring_lane
    uint32_t tid;    // of the operating system, when it was opened
    uint64_t opened; // tick
    char name[16];   // of the thread
    char reserved[16];
};

enum rec_kind {
    REC_LOG,
    REC_SPAN_START, // uint parent id (bytes as they are), uint flags | kind << 8 | REC_ bits below | tracer << 32, int start, str
                    // name, request id, tracestate
    REC_SPAN_END,   // int end; 0: the tick
    REC_SPAN_ENTER, // only with span events
    REC_SPAN_EXIT,
    REC_SPAN_STATUS, // uint status, str message
    REC_SPAN_EVENT,  // int time, str name
    REC_THREAD,      // uint tid, str name: another thread goes on with this lane
    REC_SPAN_ATTR,   // + type - 1: str key, the value
    REC_SPAN_MORE =
        REC_SPAN_ATTR + 5, // uint enum rec_more | flags << 8 | remote << 16, int time, str text, bytes ids, packed fields
    // Nearly all spans, in fewer bytes:
    REC_SPAN_PLAIN, // as REC_SPAN_START with its tick as the start, no request id and no tracestate: uint parent id, uint flags …
                    // as above, str name
    REC_SPAN_DONE, // as REC_SPAN_END with its tick as the end: no values
    REC_KINDS,
};
_Static_assert(REC_KINDS <= 16, "four bits of a record's head");
#define REC_IN_SPAN 0x10000000u
#define REC_EXTERN  0x20000000u
#define REC_HELD    0x40000000u // below the filter: kept here, not written out (cleared when it was, after all)
enum rec_more {
    MORE_FIELDS, // attributes
    MORE_EVENT,  // time, text: its name, fields
    MORE_LINK,   // flags, remote, ids: trace and span, text: tracestate, fields
    MORE_NAME,   // text: the span's new name
};
#define REC_INHERITED (1u << 17) // a forked child's copy of a span that its parent owns: never exported
#define REC_KEEP      (1u << 18) // not sampled, but exported when a span of the local trace ends in an error

struct rec_head {
    uint32_t size, what;
    uint64_t tick;
};
static inline enum rec_kind rec_kind(uint32_t what)
{
    return (enum rec_kind)(what >> 24 & 15);
}
static inline uint32_t rec_site(uint32_t what)
{
    return what & 0xffffff;
}

// Values that stand behind the others with a length, as strings do.
static inline bool rec_is_string(unsigned type)
{
    const uint32_t numbers =
        1u << SONDE_TYPE_INT | 1u << SONDE_TYPE_UINT | 1u << SONDE_TYPE_F64 | 1u << SONDE_TYPE_BOOL | 1u << SONDE_TYPE_DURATION;
    return !(numbers >> (type & 31) & 1);
}
// The bytes of such a value in a record, and writing at most `room` of them; returns how many were written.
size_t rec_string_size(unsigned type, const struct sonde_arg *a);
size_t rec_string_put(char *to, size_t room, unsigned type, const struct sonde_arg *a);

// ---- reading a record (any reader) ----------------------------------------------------------------------------------
struct rec_value {
    enum sonde_type type;
    bool absent;
    bool cut; // only the beginning of the string is there
    uint64_t u;
    struct slice s;
};
enum { REC_VALUES_MAX = SONDE_FIELDS_MAX + 1 }; // a format's %m adds one
struct rec {
    enum rec_kind kind;
    uint32_t site;
    uint64_t tick;
    bool in_span, held;
    uint8_t trace_id[16], span_id[8];
    uint32_t n;
    struct rec_value v[REC_VALUES_MAX];
    char *heap; // the sender's copy (REC_EXTERN), to be freed by who consumes the record
};
// Types of the values of the kinds other than REC_LOG; *n gets their number.
const uint8_t *rec_types(enum rec_kind kind, uint32_t *n);
// Reads one record of `size` bytes at p. own: p is in this process's ring, so that a heap copy may be followed. False:
// damaged (nothing is read outside p).
bool rec_read(struct rec *out, const char *p, size_t size, const uint8_t *types, uint32_t n, bool own);

// ---- the ring of this process ---------------------------------------------------------------------------------------
struct ring;
// What a thread needs to write; its owner's alone, who may keep it where it likes (libsonde: in static TLS, so that a call
// touches few cache lines and pages).
struct ring_thread {
    char *at, *end; // free part of the chunk
    struct ring_chunk *chunk;
    struct ring_lane *lane; // null: not attached
    volatile uint32_t busy; // a call is under way on this thread (a signal handler must not write)
    bool tsc;               // clock_use_tsc
};

// The records of one thread after the other. Owned by the ring.
struct ring_lane {
    struct ring *ring;
    struct ring_thread rest; // what the last thread left, while there is none
    uint32_t number, tid;
    char name[17];
    struct ring_lane *next;      // list of all, never removed
    struct ring_lane *next_idle; // list of those whose thread has ended
    struct ring_chunk *first;    // atomic: the first chunk it ever got
    // reader
    struct ring_chunk *read __attribute__((aligned(64)));
    uint32_t read_at, read_to;
} __attribute__((aligned(64)));

struct ring {
    struct ring_head *head;
    char *base;
    size_t mapped;
    int fd;    // -1: anonymous; -2: the host closed it and it could not be opened again
    dev_t dev; // of the file: a host may close descriptors that it does not know
    ino_t ino;
    char path[512];    // "" if anonymous
    int copy;          // of those with its name and process number, from 1
    uint32_t n_chunks; // there is address space for; less than RING_CHUNKS_MAX under RLIMIT_AS
    uint32_t nominal;  // chunks that are used before old ones are overwritten
    pthread_mutex_t lock;
    uint32_t fresh;                // first chunk never used
    uint32_t fresh_before;         // the same at the last ring_grow_ahead
    bool stuck;                    // atomic: a wait for room ended in vain and no chunk was read since
    bool no_space;                 // the last attempt to get more memory failed
    uint32_t block_ms, drop_below; // atomics: ring_policy
    void (*pressed)(void);         // may be null: a thread took a chunk while RING_PRESSED of the ring is unread
    // Atomics: what was dropped by level (0: spans), below the filter, and when since ring_lost_episode.
    uint64_t lost_level[6], lost_held, lost_first, lost_last;
    uint64_t seq;
    uint32_t retired[RING_CHUNKS_MAX]; // queue of read chunks, oldest first
    uint32_t retired_at, retired_n;
    bool is_retired[RING_CHUNKS_MAX];
    struct ring_lane *lanes; // atomic
    struct ring_lane *idle;
    uint32_t n_lanes;
};

// How a record meets a ring whose chunks are all unread: dropped, or waits up to 10 ms; its level for the counts and policies.
enum { RING_DROP = 0, RING_WAIT = 1 };
#define RING_LEVEL(level) ((unsigned)(level) << 4)
enum { RING_WAIT_MS = 10, RING_RESERVE = 8 }; // low records leave one chunk in RING_RESERVE to the others
enum { RING_PRESSED = 16 };                   // one chunk in so many

// Makes the file DIR/<service>-<pid>.ring, or <service>.2-<pid>.ring … where there is one; when that fails, anonymous memory and
// the reason in err (ERR_OK all the same unless there is no memory at all). size: bytes of chunks.
enum errc ring_new(struct ring **out, const char *service, size_t size, struct error *err);
size_t ring_build_id(uint8_t *out, size_t max);        // build_id.c; returns its bytes
void ring_rename(struct ring *r, const char *service); // once the service is known
void ring_free(struct ring *r, bool remove_file);
void ring_forget(struct ring *r); // in a forked child: the mapping is not there any more; the structure stays
struct clock_cal ring_clock(const struct ring *r);
void ring_each_second(struct ring *r); // backend: refreshes the clock's calibration, asks for memory anew after a full disk
void ring_grow_ahead(struct ring *r);  // backend: memory for the next chunks, so that senders do not fault
// Appends to the dictionary; false when it is full (records still work, a later reader lacks the words).
bool ring_dict_add(struct ring *r, const char *entry, size_t n);

// Attaches the calling thread; false without memory.
bool ring_thread_get(struct ring *r, struct ring_thread *t);
void ring_thread_end(struct ring_thread *t); // the calling thread ends: another may go on with its lane

// Writes one record. ids: 24 bytes or null. False if it was dropped (counted in head->lost).
bool ring_push(struct ring_thread *t, uint32_t what, const uint8_t *ids, const uint8_t *types, const struct sonde_arg *args,
               uint32_t n, unsigned how);

// The same in pieces, for who knows its record beforehand: ring_enter, ring_begin, the bytes behind the head, ring_commit,
// ring_leave. False: a signal handler interrupted a record of this thread (the loss is counted).
bool ring_interrupted(struct ring_thread *t, uint32_t what, unsigned how);
bool ring_make_room(struct ring_thread *t, size_t size, unsigned how, bool held, uint64_t tick);
static inline bool ring_enter(struct ring_thread *t, uint32_t what, unsigned how)
{
    if (__builtin_expect(t->busy, 0))
        return ring_interrupted(t, what, how);
    t->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return true;
}
static inline void ring_leave(struct ring_thread *t)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    t->busy = 0;
}
// size: of the whole record, a multiple of 8, at most RING_RECORD_MAX. Null: dropped, and counted.
static inline char *ring_begin(struct ring_thread *t, uint32_t what, size_t size, unsigned how)
{
#if defined(__x86_64__)
    uint64_t tick = __builtin_expect(t->tsc, 1) ? __builtin_ia32_rdtsc() : clock_tick_slow();
#else
    uint64_t tick = clock_tick();
#endif
    if (__builtin_expect(t->end - t->at < (ptrdiff_t)size, 0) && !ring_make_room(t, size, how, what & REC_HELD, tick))
        return NULL;
    char *p = t->at;
    struct rec_head h = {(uint32_t)size, what, tick};
    memcpy(p, &h, sizeof h);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // the head first: a reader can tell that a record was begun
    return p + sizeof h;
}
static inline void ring_commit(struct ring_thread *t, size_t size)
{
    t->at += size;
    __atomic_store_n(&t->chunk->commit, (uint32_t)(t->at - (char *)t->chunk), __ATOMIC_RELEASE);
}
// A string's value: its length, and how much of it is kept.
static inline uint64_t rec_slot(size_t length, size_t kept)
{
    return (length >= UINT32_MAX ? UINT32_MAX : (uint64_t)length) | (uint64_t)kept << 32;
}
// memcpy of what is mostly short, without a call.
static inline void rec_copy(char *to, const char *from, size_t n)
{
    if (n >= 16) {
        if (n > 32) {
            memcpy(to, from, n);
            return;
        }
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else if (n) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

// Reader: takes note of what is committed by now; true if there is something.
bool ring_read_refresh(struct ring *r, struct ring_lane *l);
// The next record's bytes, without moving; null if none. Moves over exhausted chunks, which go back to the pool.
const char *ring_read_peek(struct ring *r, struct ring_lane *l);
static inline void ring_read_next(struct ring_lane *l, uint32_t size)
{
    l->read_at += size;
}
// What was read and is still there. Calls see() with a chunk that went back to the pool and was not opened again since that seq;
// the pool is locked meanwhile. `to`: where its records end.
typedef void ring_see_fn(void *arg, struct ring_chunk *c, uint32_t to);
void ring_see_retired(struct ring *r, uint32_t number, uint64_t seq, ring_see_fn *see, void *arg);
uint32_t ring_chunks(struct ring *r); // used so far
uint32_t ring_chunk_number(const struct ring *r, const struct ring_chunk *c);
uint64_t ring_lost(const struct ring *r);                  // without those below the filter
void ring_lose(struct ring *r, unsigned level, bool held); // counts a record that never came to ring_push; level 0: a span's
// block_ms: that long every record waits for room (0: only RING_WAIT does); drop_below: records less severe are low (0: none).
// Records below the filter always are. After a wait in vain nobody waits until a chunk was read.
void ring_policy(struct ring *r, unsigned block_ms, unsigned drop_below);
// Ticks of the first and last loss since the last call; false: there was none.
bool ring_lost_episode(struct ring *r, uint64_t *first, uint64_t *last);
