// How metrics are kept. A number that only grows (a counter, a bucket, a sum) is one word in every thread's shard, written by
// that thread alone with plain loads and stores; a reader adds the shards up. All metrics of the process share one space of
// slots:
//
//   series ──slot──► shard of thread 1: pages[slot / 1024][slot % 1024]      a page is made when its thread first writes to it
//                    shard of thread 2: …                                    shards are never freed: when a thread ends, the next
//                                                                            new thread goes on adding to the numbers it left
//
// A registry tree has one table of families, in its root, sorted by name: a name's type, help and label names are the same
// wherever it is registered. Names, series and labels live in the root's arena until the root is freed.
//
// Locks, outermost first: a root's lock (registration, new series, the list of series for a scrape), then slots_lock
// (metric_cell.c). Readers of values and of a vector's table take none.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/limits.h"
#include <pthread.h>
#include <sonde/metrics.h>
#include <stdatomic.h>

enum {
    METRIC_PAGE_WORDS = 1024, // of 8 bytes
    METRIC_PAGES = 2048,
    METRIC_SERIES_DEFAULT = 2000,
    METRIC_VALUE_MAX = 2048,     // bytes of a label value
    METRIC_HELP_MAX = 16384,     // of a help text
    METRIC_EXEMPLAR_RUNES = 128, // names and values of an exemplar, as OpenMetrics allows
    METRIC_NAME_MAX = 512,
};

typedef _Atomic uint64_t metric_word;
#define METRIC_NO_SLOT UINT32_MAX

// ---- cells (metric_cell.c) ----
struct metric_shard {
    struct metric_shard *next; // all shards, newest first, never unlinked
    atomic_uint used;          // 1: a living thread writes to it
    void *raw;                 // as allocated
    _Atomic(metric_word *) pages[METRIC_PAGES];
};
extern __thread struct metric_shard *tls_shard __attribute__((tls_model("initial-exec")));
extern _Atomic(struct metric_shard *) metric_shards;
extern atomic_ullong metric_updates_lost; // no memory for a shard or a page
metric_word *metric_cell_slow(uint32_t slot);

// The calling thread's word of that slot; null without memory (counted).
static inline metric_word *metric_cell(uint32_t slot)
{
    struct metric_shard *s = tls_shard;
    if (__builtin_expect(s != NULL, 1)) {
        metric_word *p = atomic_load_explicit(&s->pages[slot / METRIC_PAGE_WORDS], memory_order_relaxed);
        if (__builtin_expect(p != NULL, 1))
            return p + slot % METRIC_PAGE_WORDS;
    }
    return metric_cell_slow(slot);
}
// The same where the thread has written near there before, else null.
static inline metric_word *metric_cell_quick(uint32_t slot)
{
    struct metric_shard *s = tls_shard;
    metric_word *p = s ? atomic_load_explicit(&s->pages[slot / METRIC_PAGE_WORDS], memory_order_relaxed) : NULL;
    return p ? p + slot % METRIC_PAGE_WORDS : NULL;
}
// The same of another thread's shard, for reading; null if it never wrote near there.
static inline metric_word *metric_peek(struct metric_shard *s, uint32_t slot)
{
    metric_word *p = atomic_load_explicit(&s->pages[slot / METRIC_PAGE_WORDS], memory_order_acquire);
    return p ? p + slot % METRIC_PAGE_WORDS : NULL;
}
#define METRIC_EACH_SHARD(s) \
    for (struct metric_shard *s = atomic_load_explicit(&metric_shards, memory_order_acquire); s; s = s->next)

static inline double metric_double(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, 8);
    return d;
}
static inline uint64_t metric_bits(double d)
{
    uint64_t u;
    memcpy(&u, &d, 8);
    return u;
}
// Only the owner of a shard writes to it: no read-modify-write needed.
static inline void metric_bump(metric_word *w, uint64_t n)
{
    atomic_store_explicit(w, atomic_load_explicit(w, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void metric_bump_f64(metric_word *w, double v)
{
    atomic_store_explicit(w, metric_bits(metric_double(atomic_load_explicit(w, memory_order_relaxed)) + v), memory_order_relaxed);
}
// The same as a double in memory, fewer instructions: faster where they are what an update waits for, slower where it waits for
// the sum before (a processor hands integers on from store to load sooner). An aligned double is written whole on the machines
// named.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(__SANITIZE_THREAD__)
typedef volatile double __attribute__((may_alias)) metric_f64;
static inline void metric_bump_f64_short(metric_word *w, double v)
{
    metric_f64 *d = (metric_f64 *)(void *)w;
    *d = *d + v;
}
#else
#define metric_bump_f64_short metric_bump_f64
#endif
uint32_t metric_slots_take(uint32_t n);            // n consecutive words in one page, all zero; METRIC_NO_SLOT: none left
void metric_slots_give(uint32_t slot, uint32_t n); // nobody uses them any more
uint64_t metric_sum_u64(uint32_t slot);
double metric_sum_f64(uint32_t slot);
size_t metric_shard_count(void);
uint64_t metric_serial(void); // of a new series: never the same again in this process

// ---- names and buckets (metric_name.c) ----
// Writes the sanitised form of a name of at most METRIC_NAME_MAX bytes to out; ERR_INPUT if there is none.
enum errc metric_name_clean(char out[METRIC_NAME_MAX + 2], const char *raw);
enum errc metric_label_clean(char out[METRIC_NAME_MAX + 2], const char *raw);

// Bounds of a classic histogram with an index from a value's leading bits to the first bucket that may hold it.
struct metric_bounds {
    uint32_t n;              // without +Inf
    uint32_t shift, n_index; // bits >> shift - first is the place in index
    int64_t first;
    uint16_t *index;
    double *bound;            // n + 1, the last is +Inf
    struct slice *le, *le_om; // n + 1 texts: 1 and 1.0
};
struct metric_bounds *metric_bounds_new(struct arena *a, const double *bound, size_t n);
uint32_t metric_bounds_far(const struct metric_bounds *b, double v); // outside of the index
// The bucket of v; METRIC_NO_BUCKET if v is not finite.
#define METRIC_NO_BUCKET UINT32_MAX
static inline uint32_t metric_bounds_find(const struct metric_bounds *b, double v)
{
    uint64_t at = (uint64_t)(((int64_t)metric_bits(v) >> b->shift) - b->first);
    if (__builtin_expect(at >= b->n_index, 0))
        return metric_bounds_far(b, v);
    uint32_t i = b->index[at];
    while (v > b->bound[i]) // few steps of the index hold a bound: well predicted, and faster than arithmetic
        i++;
    return i;
}

// ---- registry (metric_registry.c, metric_series.c) ----
enum metric_kind { METRIC_COUNTER, METRIC_INT_COUNTER, METRIC_GAUGE, METRIC_INT_GAUGE, METRIC_HISTOGRAM, METRIC_NATIVE };

struct metric_exemplar {
    atomic_bool shown; // a scrape took it: wants renewal
    atomic_flag busy;  // held for a few copies; a writer that meets another goes away
    bool set;
    uint8_t ids[24];
    char *labels; // rendered, instead of ids; malloc'd
    double value;
    int64_t time; // ns since 1970
};

struct metric_series {
    uint32_t slot; // counter: its word; histogram: sum, then buckets; native: see metric_native.c
    uint8_t kind;
    bool absolute; // a counter whose total is set from elsewhere, in `value`
    const struct metric_bounds *bounds;
    metric_word value;                           // gauges
    _Atomic(struct metric_exemplar *) exemplars; // one for a counter, one a bucket
    struct metric *metric;
    struct slice *values; // of all labels, in the family's order
    struct slice *given;  // of the variable labels, in the caller's order
    uint64_t hash, serial;
    struct slice labels; // a="b",c="d"
};

struct metric_table {
    uint32_t mask, n;
    _Atomic(struct metric_series *) slot[];
};

struct metric {
    struct metric *next; // of the family
    struct metric_family *family;
    struct sonde_registry *registry;
    const struct metric_bounds *bounds;
    struct slice *constant; // values, in the order of the family's constant names
    uint32_t n_vars;
    _Atomic(struct metric_table *) table; // of a vector
    _Atomic(struct metric_series *) overflow;
    struct metric_series *one; // of a scalar
    uint8_t *from;             // family label → 2 · index of constant, or 2 · index of variable + 1
};

struct metric_family {
    struct slice name, help, unit;
    enum metric_kind kind;
    uint32_t n_labels, n_constant;
    struct slice *labels;    // all names, sorted
    struct slice *constants; // constant names, sorted
    struct metric *metrics;
    struct metric_series **series; // sorted by values
    uint32_t n_series, series_cap, max_series;
    struct metric_series *overflowed; // counter of sonde_metrics_overflow_total, once there is one
};

struct metric_callback {
    struct metric_callback *next;
    sonde_update_fn *update;
    sonde_text_fn *text;
    void *arg;
    struct meter_page *page; // a provider's instruments
};

struct sonde_registry {
    struct sonde_registry *root, *parent, *children, *sibling;
    struct slice name;
    unsigned depth;             // 0: root
    struct sonde_label *labels; // automatic, own ones (names clean)
    uint32_t n_labels;
    _Atomic(struct metric_callback *) callbacks; // in order of their registration
    // root only
    pthread_mutex_t lock;
    struct arena arena;
    struct slice prefix;
    struct metric_family **families; // sorted by name
    uint32_t n_families, families_cap;
    struct metric *overflow; // sonde_metrics_overflow_total
    bool has_process;
    int64_t born, born_wall; // monotonic ns; ns since 1970
    struct sonde_registry *next_root;
};

// All roots; the lock is recursive, for callbacks that make one.
extern pthread_mutex_t metric_roots_lock;
extern struct sonde_registry *metric_roots;
void meter_after_fork(void);                          // in the child, for the locks of meters
uint32_t metric_words(const struct metric_series *s); // of its slot range
// With the root's lock held. Full name, no automatic labels (families of the library's own). absolute: counters whose total is
// set.
struct metric *metric_register(struct sonde_registry *r, enum sonde_metric_type type, const struct sonde_metric_options *o,
                               bool own, bool absolute, struct sonde_metric_error *err);
bool metric_refuse(struct sonde_metric_error *err, enum sonde_metric_errc code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));             // false
bool metric_no_memory(struct sonde_metric_error *err); // false
// Whether r or a registry above it adds that label, or Dynamo's hierarchy keeps it for one below.
bool metric_label_automatic(const struct sonde_registry *r, const char *name);
struct metric_family *metric_family_find(struct sonde_registry *root, struct slice name, uint32_t *at);
// Series of these label values, with the root's lock held; null without memory.
struct metric_series *metric_series_make(struct metric *m, const struct slice *given, uint64_t hash, bool overflow);
struct metric_series *metric_with(struct metric *m, const char *const *values, size_t n);
// A copy of at most max bytes of s (may be null), as valid UTF-8; p null without memory.
struct slice metric_text_keep(struct arena *a, const char *s, size_t max);

// ---- reading (metric_read.c) ----
enum { METRIC_NATIVE_MAX = 160, METRIC_NATIVE_SCALE = 8 };
struct metric_native_side {
    int32_t min; // index of count[0]: bucket i holds (base^i, base^(i+1)], base = 2^(2^-scale)
    uint32_t n;
    uint64_t count[METRIC_NATIVE_MAX];
};
struct metric_native {
    int scale;
    uint64_t zero, count;
    double sum;
    struct metric_native_side positive, negative; // negative: of the absolute values
};
// The words of such a histogram (metric_native.c says more) and the update of one that has its range already, which is nearly
// all.
enum {
    METRIC_NATIVE_STEPS = 1 << METRIC_NATIVE_SCALE,
    METRIC_NATIVE_GUESS = 10,
    METRIC_NATIVE_SUM = 1,
    METRIC_NATIVE_STATE = 3,
    METRIC_NATIVE_RANGE = 4,
    METRIC_NATIVE_BUCKETS = 6,
    METRIC_NATIVE_USED = 2,
};
// step[j]: mantissa bits of 2^(j/256); guess[its top bits]: how many are surely below; at most one more is.
extern uint64_t metric_native_step[METRIC_NATIVE_STEPS + 1] __attribute__((visibility("hidden")));
extern uint16_t metric_native_guess[1 << METRIC_NATIVE_GUESS] __attribute__((visibility("hidden")));
bool metric_native_slow(metric_word *w, double v);

static inline int32_t metric_native_finest(uint64_t bits) // of a positive, normal value
{
    uint32_t j = metric_native_guess[bits >> (52 - METRIC_NATIVE_GUESS) & ((1u << METRIC_NATIVE_GUESS) - 1)];
    j += metric_native_step[j] < (bits & ((1ull << 52) - 1));
    return (int32_t)(bits >> 52) * METRIC_NATIVE_STEPS + (int32_t)j -
           (1023 * METRIC_NATIVE_STEPS + 1); // an exact bound belongs to
} // the bucket below it
static inline int32_t metric_native_origin(uint64_t state, int side)
{
    return (int32_t)((int64_t)(side ? state : state << 24) >> 40);
}
// Less than 160 lie between two indices in use: no division is needed.
static inline uint32_t metric_native_place(int32_t i, int32_t origin)
{
    int32_t at = i - origin;
    return (uint32_t)(at + ((at >> 31) & METRIC_NATIVE_MAX));
}
// False: not done, metric_native_slow must.
static inline bool metric_native_quick(metric_word *w, double v)
{
    uint64_t bits = metric_bits(v), state = atomic_load_explicit(w + METRIC_NATIVE_STATE, memory_order_relaxed);
    // positive and normal, and there were such (so the tables are there)
    if (__builtin_expect(bits - (1ull << 52) >= 2046ull << 52 || !(state & METRIC_NATIVE_USED), 0))
        return false;
    int32_t i = metric_native_finest(bits) >> (state >> 8 & 0xff);
    uint64_t r = atomic_load_explicit(w + METRIC_NATIVE_RANGE, memory_order_relaxed);
    if (__builtin_expect(i < (int32_t)(uint32_t)r || i > (int32_t)(r >> 32), 0))
        return false;
    metric_bump(w + METRIC_NATIVE_BUCKETS + metric_native_place(i, metric_native_origin(state, 0)), 1);
    metric_bump_f64_short(w + METRIC_NATIVE_SUM, v);
    return true;
}
__attribute__((always_inline)) static inline bool metric_native_observe(uint32_t slot, double v) // false: not counted
{
    metric_word *w = metric_cell(slot);
    return __builtin_expect(w != NULL, 1) && (metric_native_quick(w, v) || metric_native_slow(w, v));
}
void metric_native_read(const struct metric_series *s, struct metric_native *out);
uint32_t metric_native_words(void);
double metric_native_bound(int scale, int64_t index); // base^index
// Exponential buckets as classic ones, for pages that have no other: bounds are the powers of two from the one below the lowest
// value to the one above the highest, and 0 where something is not above it. They are exact, and stay where they are when the
// scale changes. below: how many are not above 0; count[i] those in (base^(first + i), base^(first + i + 1)].
typedef void metric_le_fn(void *arg, double le, uint64_t up_to);
void metric_native_classic(int scale, uint64_t below, int64_t first, const uint64_t *count, size_t n, metric_le_fn *line,
                           void *arg);
// count gets bounds->n + 1 numbers, not cumulative; returns their sum.
uint64_t metric_histogram_read(const struct metric_series *s, uint64_t *count, double *sum);

// What a scrape sees: series of one registry and those below it, sorted. Valid while the root lives; free with metric_view_free.
struct metric_view {
    struct metric_family_view {
        struct metric_family *family;
        struct metric_series **series;
        uint32_t n;
    } * families;
    uint32_t n;
    void *block;
};
enum errc metric_view_take(struct metric_view *v, struct sonde_registry *r);
// The families of n views, those of one name made one: of the first one's type, and of series with the same labels the oldest.
// The views are empty then.
enum errc metric_view_join(struct metric_view *out, struct metric_view *v, size_t n);
void metric_view_free(struct metric_view *v);
// A copy of series s's exemplar i. labels: to be rendered into b as {…}. False: none.
bool metric_exemplar_read(struct metric_series *s, uint32_t i, struct buf *b, double *value, int64_t *time);
void metric_exemplar_offer(struct metric_series *s, uint32_t i, double v);

// ---- pages (metric_expose.c, meter_page.c) ----
// Names of the families that stand on a page; each form allows a name once. All zero is empty.
struct metric_names {
    bool om;
    struct arena arena;
    struct slice *slot;
    uint32_t size, n;
};
void metric_names_init(struct metric_names *t, enum sonde_exposition e);
void metric_names_free(struct metric_names *t);
// Enters a family; false: the page has it, it is to be left out. *shown: what it is called there, which is name but for a counter
// x_total in OpenMetrics. That one is x; where the page has another x it stays x_total, and has no type.
bool metric_names_take(struct metric_names *t, struct slice name, bool counter, struct slice *shown);
// Appends a provider's families.
struct meter_page;
void meter_page_write(struct meter_page *m, enum sonde_exposition e, struct metric_names *names, struct buf *b);
void meter_page_free(struct meter_page *m);
bool metric_callback_add(struct sonde_registry *r, struct metric_callback c);
enum errc metric_expose(struct sonde_registry *const *r, size_t n, enum sonde_exposition e, struct buf *out); // one page of all
// For readers of values: runs the update callbacks, takes the view, and appends what the text callbacks say to texts.
enum errc metric_gather(struct sonde_registry *r, struct metric_view *view, struct buf *texts);

// ---- lines of pages (metric_text.c); om: as OpenMetrics has them ----
void metric_text_f64_om(struct buf *b, double v);          // OpenMetrics' canonical form: 1.0, 0.001, 1e+06
void metric_text_label(struct buf *b, struct slice value); // escaped as in "…"
// The line of HELP. A carriage return becomes a blank: some readers take it for the line's end.
void metric_text_help(struct buf *b, struct slice name, struct slice help, bool om);
bool metric_text_ends(struct slice name, struct slice end); // in _ and that word, behind something
// The line of TYPE, and one of UNIT where the name ends in unit, as OpenMetrics wants it.
void metric_text_type(struct buf *b, struct slice name, struct slice type, struct slice unit);
// name, suffix, {labels,le="…"} and a blank. le may be empty.
void metric_text_start(struct buf *b, struct slice name, const char *suffix, struct slice labels, struct slice le);
struct metric_text_buckets { // a histogram on a page
    struct buf *b;
    struct slice name, labels;
    bool om;
};
void metric_text_bucket(const struct metric_text_buckets *h, double le, uint64_t up_to); // without the line's end
void metric_text_bucket_line(void *buckets, double le, uint64_t up_to);                  // a metric_le_fn
// _sum and _count. OpenMetrics has a sum only where it cannot fall: of values that are not negative. rising: none was, as far as
// is known.
void metric_text_tail(const struct metric_text_buckets *h, double sum, uint64_t count, bool rising);

// ---- protobuf (metric_proto.c) ----
struct expfmt;
struct expfmt_family;
// One MetricFamily with its length in front. count: room for SONDE_BUCKETS_MAX + 1 numbers.
void metric_proto_family(const struct metric_family_view *f, uint64_t *count, struct buf *b);
// histograms (may be null): where the points of the histograms to come stand, in order; one that is not null is exponential and
// goes out as such. Moves on.
struct sonde_point;
void metric_proto_text(const struct expfmt *e, const struct expfmt_family *f, const struct sonde_point ***histograms,
                       struct buf *b);
