// Metrics in OpenTelemetry's shape: providers, meters, instruments, views, readers. The cells below are those of
// sonde/metrics.h, so an update through a bound instrument costs the same few nanoseconds.
//
//   struct sonde_meter *m = sonde_meter_get(NULL, &(struct sonde_scope){.name = "my.library", .version = "1.0"});
//   struct sonde_instrument_options o = {.name = "http.server.requests", .unit = "{request}"};
//   struct sonde_instrument *requests = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &o);
//   struct sonde_field a[] = {SONDE_FIELD(SONDE_STR("http.route", "/v1/chat")), SONDE_FIELD(SONDE_INT("status", 200))};
//   sonde_instrument_add(requests, 1, a, 2);                       // looks the series up, ~100 ns
//   struct sonde_bound *b = sonde_instrument_bind(requests, a, 2); // resolved once
//   sonde_bound_add(b, 1);                                         // ~2 ns
//
// Where it goes: the library's own OTLP export sends every provider that is not private, readers get what they ask for, and
// sonde_registry_add_meters puts a provider's instruments on a Prometheus page.
// Attributes: SONDE_STR, SONDE_INT, SONDE_UINT, SONDE_DUR, SONDE_F64 and SONDE_BOOL; others are left out. Of a key given twice
// the last counts. Order does not matter. At most 64 count. Attributes that a view or an advice filters out of a series still
// show on the exemplars of that series (filtered_attributes): what must not leave the process must not be given to an instrument.
// Handles live as long as their provider; null is accepted everywhere and does nothing. Strings are copied.
// Thread rule: everything from any thread; sonde_meter_provider_free must be the last use of the provider and all of it.
// In a forked child instruments go on; readers do not (their threads are the parent's), and say false.
// An update takes no lock; the first one of a new series does. Callbacks run on the thread that collects, must not collect
// themselves, and must return soon: a reader waits for them.
#pragma once
#include <sonde/metrics.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sonde_meter_provider;
struct sonde_meter;
struct sonde_instrument;
struct sonde_bound;
struct sonde_reader;

struct sonde_scope {
    const char *name, *version, *schema_url; // null: ""
    const struct sonde_field *attributes;
    size_t n_attributes;
};

enum sonde_instrument_kind {
    SONDE_INSTRUMENT_COUNTER = 1,    // adds amounts >= 0
    SONDE_INSTRUMENT_UPDOWN_COUNTER, // adds amounts of either sign
    SONDE_INSTRUMENT_HISTOGRAM,      // values >= 0
    SONDE_INSTRUMENT_GAUGE,          // the last value
    SONDE_INSTRUMENT_ASYNC_COUNTER,  // totals, told by a callback at each collection
    SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER,
    SONDE_INSTRUMENT_ASYNC_GAUGE,
    SONDE_INSTRUMENT_KINDS,
};
enum sonde_aggregation {
    SONDE_AGGREGATION_DEFAULT, // by the kind: sum, last value, or explicit histogram
    SONDE_AGGREGATION_DROP,
    SONDE_AGGREGATION_SUM,                   // not for gauges
    SONDE_AGGREGATION_LAST_VALUE,            //
    SONDE_AGGREGATION_EXPLICIT_HISTOGRAM,    // not for asynchronous instruments; without minimum and maximum
    SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM, // as above; at most 160 buckets on either side of 0, scale 8 to -4 by what is seen
    SONDE_AGGREGATIONS,
};
enum sonde_temporality { SONDE_TEMPORALITY_DEFAULT, SONDE_TEMPORALITY_DELTA, SONDE_TEMPORALITY_CUMULATIVE };

// ---- exemplars ------------------------------------------------------------------------------------------------------
enum sonde_exemplar_filter {
    SONDE_EXEMPLARS_ENV, // OTEL_METRICS_EXEMPLAR_FILTER = always_on, always_off, trace_based (default)
    SONDE_EXEMPLARS_ALWAYS_OFF,
    SONDE_EXEMPLARS_ALWAYS_ON,
    SONDE_EXEMPLARS_TRACE_BASED, // while the calling thread's current span is sampled
};
struct sonde_exemplar {
    double value;
    int64_t time_ns; // since 1970
    bool has_span;
    uint8_t trace_id[16], span_id[8];
    const struct sonde_field *attributes; // those that the series does not have
    size_t n_attributes;
};
// A reservoir of one's own, for a view. Several threads offer at once; collect runs alone with other collects. attributes holds
// all that were given, sorted, valid during the call.
struct sonde_reservoir {
    void *(*make)(void *arg); // for one series; null: the series has no exemplars
    void (*offer)(void *state, double value, const struct sonde_field *attributes, size_t n, const struct sonde_context *context,
                  int64_t time_ns); // context may be null
    // Fills at most max of out and returns how many; what it points to must live until the next collect of the state.
    size_t (*collect)(void *state, struct sonde_exemplar *out, size_t max);
    void (*free)(void *state);
    void *arg;
};

// ---- providers ------------------------------------------------------------------------------------------------------
// A view applies to the instruments that meet all its criteria (null or 0: any; * stands for any characters, ? for one) and says
// what becomes of them (null or 0: as it was). Without a matching view an instrument gets its defaults; with several it has a
// stream for each.
struct sonde_view {
    const char *instrument_name;
    enum sonde_instrument_kind kind;
    const char *unit, *meter_name, *meter_version, *meter_schema_url;

    const char *name, *description; // name: for views that select a single instrument
    const char *const *keep;        // attribute keys to keep; n_keep 0 and keep not null: none
    size_t n_keep;
    const char *const *leave_out; // attribute keys not to keep
    size_t n_leave_out;
    enum sonde_aggregation aggregation;
    const double *bounds; // of explicit histograms
    size_t n_bounds;
    unsigned cardinality; // series of the stream, the overflow one included; 0: the reader's
    const struct sonde_reservoir *reservoir;
    bool no_min_max; // histograms: do not record the smallest and the largest value
};
struct sonde_meter_provider_options {
    const char *resource; // "k=v,k2=v2": attributes beside and over the process's own
    const struct sonde_view *views;
    size_t n_views;
    bool first_view_only; // of several matching views the first alone applies
    bool is_private;      // not sent by the library's own OTLP export
    enum sonde_exemplar_filter exemplar_filter;
};
// Null options: all defaults. Null without memory.
SONDE_API struct sonde_meter_provider *sonde_meter_provider_new(const struct sonde_meter_provider_options *o);
SONDE_API void sonde_meter_provider_free(struct sonde_meter_provider *p); // shuts down with 1 s; null is fine
// The provider meant by null in sonde_meter_get: made at its first use with default options, unless another was set.
SONDE_API struct sonde_meter_provider *sonde_meter_provider_default(void);
SONDE_API void sonde_meter_provider_set_default(struct sonde_meter_provider *p); // null: back to the library's own
// All readers collect and export now; true if all succeeded within the time.
SONDE_API bool sonde_meter_provider_flush(struct sonde_meter_provider *p, unsigned timeout_ms);
// The same for the last time, then their exporters are shut down and instruments no longer record. False also the second time.
SONDE_API bool sonde_meter_provider_shutdown(struct sonde_meter_provider *p, unsigned timeout_ms);

// Which meters are on. Rules replace those set before, apply at once to existing meters and to later ones; the last that matches
// a meter's name decides, without any it is on.
struct sonde_meter_rule {
    const char *meter_name; // * and ? as in views
    bool off;
};
SONDE_API bool sonde_meter_provider_configure(struct sonde_meter_provider *p, const struct sonde_meter_rule *rules, size_t n);

// ---- meters and instruments -----------------------------------------------------------------------------------------
// The meter of that scope, the same for an equal one. A null or empty name works, is warned about and kept. p null: the default
// provider. Null without memory.
SONDE_API struct sonde_meter *sonde_meter_get(struct sonde_meter_provider *p, const struct sonde_scope *scope);

struct sonde_instrument_options {
    const char *name;        // a letter, then up to 254 of letters, digits, _ . - /; others are warned about and give null
    const char *unit;        // at most 63 ASCII characters; others are warned about and left out
    const char *description; // UTF-8, cut to 4096 bytes
    bool f64;                // values are doubles, not integers
    const double *bounds;    // advice: of an explicit histogram; null: 0 5 10 25 50 75 100 250 500 750 1000 2500 5000 7500 10000
    size_t n_bounds;
    const char *const *attributes; // advice: the only attribute keys a series gets unless a view says otherwise; null: all
    size_t n_attributes;
};
// The same name again (in any case) in one meter: the same instrument if kind, unit and value type agree, and the first
// description stays. If they do not, a second instrument under the name seen first. Both with a warning where something differs.
SONDE_API struct sonde_instrument *sonde_instrument_new(struct sonde_meter *m, enum sonde_instrument_kind kind,
                                                        const struct sonde_instrument_options *o);
// Whether a value would be kept now: false when its meter is off, its views drop it, or the provider was shut down.
SONDE_API bool sonde_instrument_enabled(const struct sonde_instrument *i);

// Adds to counters, records for histograms and gauges; ignored by asynchronous ones. Negative amounts of counters and histograms,
// and values that are not finite, are ignored. An integer instrument rounds doubles.
SONDE_API void sonde_instrument_add(struct sonde_instrument *i, int64_t v, const struct sonde_field *attributes, size_t n);
SONDE_API void sonde_instrument_add_f64(struct sonde_instrument *i, double v, const struct sonde_field *attributes, size_t n);
// The series of these attributes, for many updates. Null without memory.
SONDE_API struct sonde_bound *sonde_instrument_bind(struct sonde_instrument *i, const struct sonde_field *attributes, size_t n);
SONDE_API void sonde_bound_add(struct sonde_bound *b, int64_t v);
SONDE_API void sonde_bound_add_f64(struct sonde_bound *b, double v);

// Callbacks of asynchronous instruments: called at each collection, tell the current totals or values of one or several
// instruments of this provider. An attribute set that is not told is not exported then.
struct sonde_observer;
typedef void sonde_observe_fn(void *arg, struct sonde_observer *o);
SONDE_API bool sonde_instrument_callback(struct sonde_instrument *i, sonde_observe_fn *fn, void *arg);
SONDE_API void sonde_instrument_callback_remove(struct sonde_instrument *i, sonde_observe_fn *fn, void *arg);
SONDE_API void sonde_observe(struct sonde_observer *o, struct sonde_instrument *i, int64_t v,
                             const struct sonde_field *attributes, size_t n);
SONDE_API void sonde_observe_f64(struct sonde_observer *o, struct sonde_instrument *i, double v,
                                 const struct sonde_field *attributes, size_t n);

// ---- what readers get -----------------------------------------------------------------------------------------------
enum sonde_data_kind { SONDE_DATA_GAUGE = 1, SONDE_DATA_SUM, SONDE_DATA_HISTOGRAM, SONDE_DATA_EXPONENTIAL };
struct sonde_buckets_f {
    int32_t offset; // index of counts[0]: bucket i holds (base^i, base^(i+1)], base = 2^(2^-scale)
    size_t n;
    const uint64_t *counts;
};
struct sonde_point {
    const struct sonde_field *attributes; // sorted by key
    size_t n_attributes;
    int64_t start_ns, time_ns; // since 1970; start 0 for gauges
    int64_t i;                 // sums and gauges of integers
    double f;                  // sums and gauges of doubles
    uint64_t count;            // histograms
    double sum;
    const uint64_t *counts; // explicit: n_bounds + 1, not cumulative
    int scale;              // exponential
    uint64_t zero;
    struct sonde_buckets_f positive, negative;
    const struct sonde_exemplar *exemplars;
    size_t n_exemplars;
    bool has_min_max; // histograms: the smallest and largest value that the point counts are known
    double min, max;
};
struct sonde_metric_data {
    const struct sonde_scope *scope;
    const char *name, *unit, *description; // never null
    enum sonde_data_kind kind;
    enum sonde_temporality temporality; // of sums and histograms
    bool monotonic, f64;
    const double *bounds; // explicit
    size_t n_bounds;
    const struct sonde_point *points;
    size_t n_points;
};
struct sonde_metrics {
    const char *resource; // the provider's own attributes "k=v,…" beside those of the process, or ""
    const struct sonde_metric_data *metrics;
    size_t n, n_points;
};

// ---- readers --------------------------------------------------------------------------------------------------------
// Exports are never concurrent for one reader and get at most max_points points each. False: failure.
typedef bool sonde_export_fn(void *arg, const struct sonde_metrics *batch, unsigned timeout_ms);
typedef bool sonde_export_end_fn(void *arg, unsigned timeout_ms);

// Producers bring metrics of other sources into a reader's collections. The filter is the reader's, to be asked before work is
// done; whether or not the producer asks, the reader applies it.
struct sonde_metric_filter {
    bool (*metric)(void *arg, const struct sonde_scope *scope, const char *name, enum sonde_data_kind kind, const char *unit);
    // may be null: all points
    bool (*point)(void *arg, const struct sonde_scope *scope, const char *name, const struct sonde_field *attributes, size_t n);
    void *arg;
};
struct sonde_collection;
typedef bool sonde_produce_fn(void *arg, const struct sonde_metric_filter *filter, struct sonde_collection *to);
// Deltas become totals, and totals deltas, as the reader wants them. What m points to must live until the producer is called
// again or removed. False without memory.
SONDE_API bool sonde_collection_add(struct sonde_collection *to, const struct sonde_metric_data *m);

struct sonde_reader_options {
    sonde_export_fn *export_batch;
    sonde_export_end_fn *flush, *shutdown; // of the exporter; may be null
    void *arg;
    bool periodic;        // collects and exports by itself, on a thread of its own
    unsigned interval_ms; // 0: OTEL_METRIC_EXPORT_INTERVAL, else 60000
    unsigned timeout_ms;  // of one export, told to it; 0: OTEL_METRIC_EXPORT_TIMEOUT, else 30000
    size_t max_points;    // of one export; 0: no limit
    // by enum sonde_instrument_kind, [0] for all kinds that have none of their own
    enum sonde_aggregation aggregation[SONDE_INSTRUMENT_KINDS];
    enum sonde_temporality temporality[SONDE_INSTRUMENT_KINDS]; // default: cumulative
    unsigned cardinality[SONDE_INSTRUMENT_KINDS];               // default 2000
    const struct sonde_metric_filter *filter;
};
// Null without memory; or, with a warning, when its aggregations or cardinalities are none of the readers before it and the
// provider has instruments already.
SONDE_API struct sonde_reader *sonde_reader_new(struct sonde_meter_provider *p, const struct sonde_reader_options *o);
SONDE_API bool sonde_reader_producer(struct sonde_reader *r, sonde_produce_fn *fn, void *arg);
SONDE_API bool sonde_reader_collect(struct sonde_reader *r, unsigned timeout_ms); // collects and exports now
SONDE_API bool sonde_reader_flush(struct sonde_reader *r, unsigned timeout_ms);   // and flushes the exporter
SONDE_API bool sonde_reader_shutdown(struct sonde_reader *r, unsigned timeout_ms);

// ---- Prometheus -----------------------------------------------------------------------------------------------------
// Instruments on a page: names and keys sanitised, the unit's word and _total appended, labels otel_scope_name, _version,
// _schema_url and otel_scope_<attribute>, a family target_info with the resource. Keys that become the same are joined, their
// values separated by ";". Of instruments that become one family with different types the first stays; other help texts are left
// out. All with a warning in the log, once. In text, exponential histograms have classic buckets at the powers of two; their own
// are in protobuf.
struct sonde_meter_page_options {
    bool no_scope_labels, no_target_info, no_total, no_units;
    sonde_produce_fn *producer; // metrics of another source; its deltas become totals where a registry keeps the page
    void *producer_arg;
};
SONDE_API char *sonde_meter_text(struct sonde_meter_provider *p, const struct sonde_meter_page_options *o,
                                 enum sonde_exposition e, size_t *n); // free(page); null without memory
// Appends the provider's families to each page of r or of a registry above it. A name that the registry has itself is left out.
// The provider must outlive the registry.
SONDE_API bool sonde_registry_add_meters(struct sonde_registry *r, struct sonde_meter_provider *p,
                                         const struct sonde_meter_page_options *o);
// Adds libsonde's own metrics otel.sdk.* as a meter "sonde" of the provider; SONDE_SELF_METRICS=true does it for the default one.
SONDE_API bool sonde_meter_provider_add_self(struct sonde_meter_provider *p);

#ifdef __cplusplus
}
#endif
