// How meters are kept. A view (or the default) makes a stream of an instrument: a name, an aggregation, a filter of attribute
// keys. A stream has series by attribute set; each keeps its numbers in cells of metric.h, always as totals since it began.
// Readers that want the same aggregation and cardinality of a kind share a stream ("config"); deltas are made when they collect,
// from what the reader saw last (meter_state.c).
//
// Locks, outermost first: reader.exporting (one collection and export at a time), meter_all (list of providers),
// provider.collecting (callbacks of one collection), provider.lock (all that is registered or made). Updates of known series take
// none.
#pragma once
#include "sdk/metric.h"
#include <sonde/meter.h>

enum {
    METER_ATTRIBUTES = 64,
    METER_NAME_MAX = 255,
    METER_UNIT_MAX = 63,
    METER_DESCRIPTION_MAX = 4096,
    METER_CARDINALITY = 2000,
    METER_CONFIGS = 8,          // different wishes of one provider's readers
    METER_STREAMS = 32,         // of one instrument
    METER_RESERVOIR = 4,        // exemplars of a sum or gauge
    METER_RESERVOIR_NATIVE = 20 // of an exponential histogram
};

// ---- attribute sets (meter_attrs.c) ----
struct meter_attrs {
    uint32_t n;
    struct sonde_field f[METER_ATTRIBUTES]; // sorted by key; STR, INT, F64 and BOOL; not owned
};
void meter_attrs_read(struct meter_attrs *out, const struct sonde_field *f, size_t n);
uint64_t meter_attrs_hash(const struct sonde_field *f, uint32_t n);
bool meter_attrs_equal(const struct sonde_field *a, uint32_t n_a, const struct sonde_field *b, uint32_t n_b);
// A copy in the arena; null without memory.
struct sonde_field *meter_attrs_copy(struct arena *a, const struct sonde_field *f, uint32_t n);
bool meter_match(const char *pattern, const char *text, bool fold); // * and ?; a null pattern matches all

// ---- exemplars (meter_exemplar.c) ----
struct meter_exemplar {
    atomic_bool shown;
    atomic_flag busy;
    bool set, has_span;
    uint8_t ids[24];
    double value;
    int64_t time;
    uint32_t n_attributes;
    struct sonde_field *attributes; // one malloc'd block with its texts
    size_t room;                    // of that block
};
struct meter_reservoir {
    uint32_t n;
    atomic_uint seen; // fixed size: offered since the last collection
    void *custom;
    struct meter_exemplar e[];
};

// What the cell of a gauge holds before its first value.
#define METER_NOT_SET_F64 0x7ff8736f6e646531ull
#define METER_NOT_SET_INT 0x8000000000000000ull

struct meter_config {
    uint8_t aggregation[SONDE_INSTRUMENT_KINDS];
    unsigned cardinality[SONDE_INSTRUMENT_KINDS];
};

// What a reader of deltas has not been told yet of a series' smallest and largest value.
struct meter_extremes {
    struct meter_extremes *next;
    const struct meter_states *reader;
    double low, high;
};
enum { METER_EXTREMES_READERS = 8 }; // readers of deltas of one series that get them

struct meter_series {
    struct metric_series cell;
    // Bits of the smallest and largest value since they were last taken (+Inf and -Inf: none; the other way round: not wanted).
    // Of all threads: a new extreme is rare.
    metric_word low, high;
    double taken_low, taken_high;   // of all that was taken; under provider.collecting, as the readers are
    struct meter_extremes *readers; // in the provider's arena
    struct meter_stream *stream;
    struct meter_series *next; // of the stream, in order of their making
    struct sonde_field *attributes;
    uint32_t n_attributes;
    int64_t start;
    uint64_t turn; // asynchronous: the collection it was told in
    _Atomic(struct meter_reservoir *) reservoir;
};
struct meter_table {
    uint32_t mask, n;
    _Atomic(struct meter_series *) slot[];
};

struct meter_stream {
    struct sonde_instrument *instrument;
    const char *name, *description;
    enum sonde_aggregation aggregation; // never default or drop
    enum metric_kind kind;
    const struct metric_bounds *bounds;
    const char *const *keep, *const *leave_out; // keep null: all
    size_t n_keep, n_leave_out;
    bool filters, extremes;
    unsigned cardinality, n_series;
    uint32_t configs; // bits: whose readers take it
    const struct sonde_reservoir *reservoir;
    _Atomic(struct meter_table *) table;
    _Atomic(struct meter_series *) first; // complete up to its last
    struct meter_series *last;
    _Atomic(struct meter_series *) overflow;
};

struct meter_callback {
    struct meter_callback *next;
    sonde_observe_fn *fn;
    void *arg;
    struct sonde_instrument *instrument;
};

struct sonde_instrument {
    struct sonde_instrument *next; // of the meter, in order
    struct sonde_meter *meter;
    enum sonde_instrument_kind kind;
    const char *name, *unit, *description;
    bool f64, rising, async;
    uint32_t n_streams;
    struct meter_stream *streams; // fixed once made
    int64_t born, before;         // wall ns: creation; the collection before the current one (asynchronous)
};

struct sonde_bound {
    const atomic_bool *on; // its meter's
    bool rising, always;   // refuses negative amounts; every value may become an exemplar
    bool single;           // one series, not always
    uint32_t n, n_attributes;
    struct sonde_field *attributes; // all that were given
    struct meter_series *series[];
};

struct sonde_meter {
    struct sonde_meter *next; // of the provider, in order
    struct sonde_meter_provider *provider;
    struct sonde_scope scope; // copied, attributes sorted
    atomic_bool on;
    _Atomic(struct sonde_instrument *) first;
    struct sonde_instrument *last;
};

struct sonde_meter_provider {
    struct sonde_meter_provider *next; // of all
    pthread_mutex_t lock, collecting;
    struct arena arena;
    const char *resource;
    struct sonde_view *views;
    size_t n_views;
    struct metric_bounds **view_bounds;
    bool first_view_only, is_private, stopped, self;
    atomic_uchar exemplars; // enum sonde_exemplar_filter, decided
    struct meter_config configs[METER_CONFIGS];
    uint32_t n_configs;
    _Atomic(struct sonde_meter *) first;
    struct sonde_meter *last;
    struct meter_callback *callbacks;
    struct sonde_meter_rule *rules;
    size_t n_rules;
    struct sonde_reader *readers;
    uint64_t turn; // under collecting
};

extern pthread_mutex_t meter_all_lock;
extern struct sonde_meter_provider *meter_all;

// ---- updates (meter_update.c) ----
// The series of these attributes in a stream, made when it is new, or the overflow one; null without memory.
struct meter_series *meter_series_with(struct meter_stream *s, const struct meter_attrs *given);
void meter_offer(struct meter_series *s, double v, const struct sonde_field *all, uint32_t n);
// Copies the exemplars taken at or after `since` into the arena; *n gets their number.
const struct sonde_exemplar *meter_exemplars(struct meter_series *s, struct arena *a, int64_t since, size_t *n);
void meter_reservoir_free(struct meter_series *s);

// ---- collecting (meter_collect.c, meter_state.c) ----
struct meter_metric {
    struct meter_metric *next;
    struct sonde_metric_data d;
    const char *resource;
};
struct meter_state {
    uint64_t key, turn;
    int64_t start, time;
    int64_t i;
    double f, sum;
    uint64_t count, zero;
    int scale;
    int32_t offset[2];
    uint32_t n[2];    // explicit: n[0] buckets
    uint64_t *counts; // both sides, one behind the other
    uint32_t room;
};
struct meter_states {
    struct meter_state **slot;
    uint32_t size, n;
    uint64_t turn;
};
struct sonde_collection {
    struct arena arena;
    struct meter_metric *first, **last;
    size_t n_points;
    int64_t now;                              // wall ns
    const uint8_t *temporality;               // by instrument kind, decided
    const struct sonde_metric_filter *filter; // null: all
    struct meter_states *states;
    bool failed;
};
void meter_collection_init(struct sonde_collection *c, const uint8_t *temporality, struct meter_states *states,
                           const struct sonde_metric_filter *filter);
void meter_collection_free(struct sonde_collection *c);
// What the provider's instruments measured, of that config's streams. Runs callbacks.
void meter_collect_provider(struct sonde_collection *c, struct sonde_meter_provider *p, uint32_t config);
void meter_collect_registry(struct sonde_collection *c, struct sonde_registry *root);                    // meter_registry.c
bool meter_point_read(struct sonde_collection *c, const struct metric_series *s, struct sonde_point *p); // false: nothing there
// The point in the temporality that the collection wants for that kind; false: nothing to tell. key: the series'.
bool meter_temporality(struct sonde_collection *c, enum sonde_data_kind kind, bool monotonic, bool f64,
                       enum sonde_temporality have, enum sonde_temporality want, uint64_t key, struct sonde_point *p);
bool meter_passes(const struct sonde_collection *c, const struct sonde_metric_data *d);
struct meter_metric *meter_metric_add(struct sonde_collection *c, const struct sonde_metric_data *d, const char *resource);
void meter_states_sweep(struct meter_states *s); // forgets what the last collection did not show
void meter_states_free(struct meter_states *s);
uint32_t meter_config_of(struct sonde_meter_provider *p, const struct meter_config *c, bool *ok); // provider locked

// A batch of at most max_points points (0: all), from *m and its point *at on; both move on. Lives in the collection's arena.
bool meter_batch(struct sonde_collection *c, struct meter_metric **m, size_t *at, size_t max_points, struct sonde_metrics *out);
void meter_encode(struct buf *b, struct slice resource, const struct sonde_metrics *batch); // meter_otlp.c
// All of the list, which were shut down; false, and none, if an exporter still hangs.
bool meter_readers_free(struct sonde_reader *r);
void meter_self_gone(struct sonde_meter_provider *p); // meter_self.c: forgets its instruments
