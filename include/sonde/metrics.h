// libsonde's metrics: counters, gauges and histograms whose updates cost a few nanoseconds, exposed as Prometheus text or
// OpenMetrics.
//
//   struct sonde_registry *root = sonde_registry_new(SONDE_DYNAMO_PREFIX);
//   struct sonde_registry *ns = sonde_registry_child(root, "prod", NULL);        // dynamo_namespace="prod"
//   struct sonde_registry *worker = sonde_registry_child(ns, "decode", NULL);    // dynamo_component="decode"
//   struct sonde_metric_options o = {.name = "requests_total", .help = "requests the handler took"};
//   struct sonde_int_counter *requests = sonde_int_counter_new(worker, &o, NULL);
//   sonde_int_counter_add(requests, 1);   // dynamo_component_requests_total{dynamo_component="decode",dynamo_namespace="prod"} 1
//   char *page = sonde_registry_text(root, sonde_exposition_negotiate(accept), &n);   // free(page)
//
// Updates: counters and histograms are kept once per thread and added up at a scrape, so an update takes no lock, no atomic
// read-modify-write and no line of another core; a thread's first update of a metric may allocate. What a thread counted stays
// when it ends, and its memory serves the next thread. Gauges are one atomic each. Everything accepts null handles and
// does nothing with them, so a failed constructor needs no special case. Not for signal handlers.
// A scrape stops no writer. Within one histogram the count is always that of its buckets; the sum may be ahead or behind by the
// observations that are being made at that moment.
// Lifetime: handles live as long as their root registry.
// Thread rule: everything from any thread, but sonde_registry_free, which must be the last use of the whole tree.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ---- registries -----------------------------------------------------------------------------------------------------
#define SONDE_DYNAMO_PREFIX "dynamo_component_"

enum sonde_metric_errc {
    SONDE_METRIC_OK,
    SONDE_METRIC_NAME,              // a name that cannot be sanitised: empty, or nothing but underscores
    SONDE_METRIC_LABEL_AUTOMATIC,   // a label that the registry adds by itself
    SONDE_METRIC_LABEL_DUPLICATE,   // a label key twice
    SONDE_METRIC_LABEL_RESERVED,    // le of a histogram
    SONDE_METRIC_BUCKETS,           // given for another type than Histogram, too many, or not ascending
    SONDE_METRIC_LABELS_MISSING,    // a vector without variable labels
    SONDE_METRIC_LABELS_UNEXPECTED, // variable labels for a type that is no vector
    SONDE_METRIC_EXISTS,            // same full name and same constant labels
    SONDE_METRIC_INCONSISTENT,      // same full name with other help, type or label names
    SONDE_METRIC_LIMIT,
    SONDE_METRIC_NOMEM,
    SONDE_METRIC_ARGUMENT, // null or out of range
};
struct sonde_metric_error {
    enum sonde_metric_errc code;
    char message[400]; // a sentence: what was wrong, where, what to do
};

// A root. Every full name below it is prefix + sanitised name; null or "": no prefix. Null without memory.
struct sonde_registry;
SONDE_API struct sonde_registry *sonde_registry_new(const char *prefix);
SONDE_API void sonde_registry_free(struct sonde_registry *root); // with all children, metrics and handles; null is fine
// The registry of that name below parent, made when it is new: runtime → namespace → component → endpoint. Its metrics get the
// automatic labels dynamo_namespace, dynamo_component and dynamo_endpoint by position (first, second, third level; none below),
// the values sanitised like label names ("my-ns" → "my_ns"). What is registered in a child shows in each parent too.
SONDE_API struct sonde_registry *sonde_registry_child(struct sonde_registry *parent, const char *name,
                                                      struct sonde_metric_error *err);
// One more automatic label (worker_id …) for the metrics created from now on in this registry and below. The value is taken as it
// is.
SONDE_API bool sonde_registry_label(struct sonde_registry *r, const char *name, const char *value,
                                    struct sonde_metric_error *err);

// ---- metrics --------------------------------------------------------------------------------------------------------
enum sonde_metric_type {
    SONDE_COUNTER = 1,
    SONDE_COUNTER_VEC,
    SONDE_INT_COUNTER,
    SONDE_INT_COUNTER_VEC,
    SONDE_GAUGE,
    SONDE_GAUGE_VEC,
    SONDE_INT_GAUGE,
    SONDE_INT_GAUGE_VEC,
    SONDE_HISTOGRAM,
    SONDE_HISTOGRAM_VEC,
    SONDE_NATIVE_HISTOGRAM,     // base-2 exponential buckets that fit themselves to what is observed: at most 160 on either
    SONDE_NATIVE_HISTOGRAM_VEC, // side of 0, relative width 2^(2^-scale) with scale 8 (0.3 %) down to -4 as needed
};

struct sonde_label {
    const char *name, *value;
};
// All strings are copied. Names of metrics and labels are sanitised: "my-metric.x" → "my_metric_x", "123test" → "_123test",
// label "__test" → "test".
struct sonde_metric_options {
    const char *name, *help;
    const char *unit;                 // of OpenMetrics ("seconds"), written where the name ends in it; may be null
    const struct sonde_label *labels; // constant
    size_t n_labels;
    const char *const *label_names; // variable, vectors alone; values are given in this order
    size_t n_label_names;
    const double *buckets; // upper bounds, ascending, +Inf not needed; null: 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10
    size_t n_buckets;      // at most SONDE_BUCKETS_MAX
    unsigned max_series;   // of the full name over all registries, by whoever makes it first; 0: 2000. Label sets beyond it share
                         // one series with all variable values "__overflow__", and count in sonde_metrics_overflow_total{family}
};
enum { SONDE_BUCKETS_MAX = 512, SONDE_METRIC_LABELS_MAX = 64 };

struct sonde_counter;
struct sonde_int_counter;
struct sonde_gauge;
struct sonde_int_gauge;
struct sonde_histogram;
struct sonde_counter_vec;
struct sonde_int_counter_vec;
struct sonde_gauge_vec;
struct sonde_int_gauge_vec;
struct sonde_histogram_vec;

// Null with *err filled (may be null) when refused; nothing stays registered then. The typed forms below are what to use.
SONDE_API void *sonde_metric_new(struct sonde_registry *r, enum sonde_metric_type type, const struct sonde_metric_options *o,
                                 struct sonde_metric_error *err);
#define SONDE_METRIC_NEW_(name, type)                                                                                     \
    static inline struct sonde_##name *sonde_##name##_new(struct sonde_registry *r, const struct sonde_metric_options *o, \
                                                          struct sonde_metric_error *err)                                 \
    {                                                                                                                     \
        return (struct sonde_##name *)sonde_metric_new(r, type, o, err);                                                  \
    }
SONDE_METRIC_NEW_(counter, SONDE_COUNTER)
SONDE_METRIC_NEW_(counter_vec, SONDE_COUNTER_VEC)
SONDE_METRIC_NEW_(int_counter, SONDE_INT_COUNTER)
SONDE_METRIC_NEW_(int_counter_vec, SONDE_INT_COUNTER_VEC)
SONDE_METRIC_NEW_(gauge, SONDE_GAUGE)
SONDE_METRIC_NEW_(gauge_vec, SONDE_GAUGE_VEC)
SONDE_METRIC_NEW_(int_gauge, SONDE_INT_GAUGE)
SONDE_METRIC_NEW_(int_gauge_vec, SONDE_INT_GAUGE_VEC)
SONDE_METRIC_NEW_(histogram, SONDE_HISTOGRAM)
SONDE_METRIC_NEW_(histogram_vec, SONDE_HISTOGRAM_VEC)
#undef SONDE_METRIC_NEW_
static inline struct sonde_histogram *sonde_native_histogram_new(struct sonde_registry *r, const struct sonde_metric_options *o,
                                                                 struct sonde_metric_error *err)
{
    return (struct sonde_histogram *)sonde_metric_new(r, SONDE_NATIVE_HISTOGRAM, o, err);
}
static inline struct sonde_histogram_vec *
sonde_native_histogram_vec_new(struct sonde_registry *r, const struct sonde_metric_options *o, struct sonde_metric_error *err)
{
    return (struct sonde_histogram_vec *)sonde_metric_new(r, SONDE_NATIVE_HISTOGRAM_VEC, o, err);
}

// The metric of these label values, in the order of label_names; made at its first use (a vector shows nothing before). A look-up
// takes no lock and ~50 ns: keep the handle where it matters. n must be the number of label_names, else null. A null value counts
// as "", values are cut to 2048 bytes, invalid UTF-8 becomes U+FFFD.
SONDE_API struct sonde_counter *sonde_counter_vec_with(struct sonde_counter_vec *v, const char *const *values, size_t n);
SONDE_API struct sonde_int_counter *sonde_int_counter_vec_with(struct sonde_int_counter_vec *v, const char *const *values,
                                                               size_t n);
SONDE_API struct sonde_gauge *sonde_gauge_vec_with(struct sonde_gauge_vec *v, const char *const *values, size_t n);
SONDE_API struct sonde_int_gauge *sonde_int_gauge_vec_with(struct sonde_int_gauge_vec *v, const char *const *values, size_t n);
SONDE_API struct sonde_histogram *sonde_histogram_vec_with(struct sonde_histogram_vec *v, const char *const *values, size_t n);
#ifndef __cplusplus
// sonde_counter_vec_with(v, SONDE_VALUES("chat", "200"))
#define SONDE_VALUES(...) ((const char *const[]){__VA_ARGS__}), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)
#endif

// ---- updates and readings -------------------------------------------------------------------------------------------
// Negative and non-finite amounts are ignored.
SONDE_API void sonde_counter_add(struct sonde_counter *c, double v);
SONDE_API double sonde_counter_value(const struct sonde_counter *c);
SONDE_API void sonde_int_counter_add(struct sonde_int_counter *c, uint64_t v);
SONDE_API uint64_t sonde_int_counter_value(const struct sonde_int_counter *c);

SONDE_API void sonde_gauge_set(struct sonde_gauge *g, double v);
SONDE_API void sonde_gauge_add(struct sonde_gauge *g, double v); // negative: subtracts
SONDE_API double sonde_gauge_value(const struct sonde_gauge *g);
SONDE_API void sonde_int_gauge_set(struct sonde_int_gauge *g, int64_t v);
SONDE_API void sonde_int_gauge_set_uint(struct sonde_int_gauge *g, uint64_t v); // above INT64_MAX: INT64_MAX
SONDE_API void sonde_int_gauge_add(struct sonde_int_gauge *g, int64_t v);
SONDE_API int64_t sonde_int_gauge_value(const struct sonde_int_gauge *g);

// A value that is not finite is ignored.
SONDE_API void sonde_histogram_observe(struct sonde_histogram *h, double v);
SONDE_API uint64_t sonde_histogram_count(const struct sonde_histogram *h);
SONDE_API double sonde_histogram_sum(const struct sonde_histogram *h);
// Estimate of the q-quantile (0 to 1): within the bucket that holds it, linear for classic, geometric for native ones. NaN if
// empty.
SONDE_API double sonde_histogram_quantile(const struct sonde_histogram *h, double q);

// Exemplars: an update of a counter or histogram while the calling thread's current span is sampled keeps value, time, trace_id
// and span_id, one for each counter and bucket, renewed after each scrape that showed it. OTEL_METRICS_EXEMPLAR_FILTER=always_off
// switches that off. These keep the given labels instead, always; false if they are invalid or longer than 128 characters
// together (the value counts nevertheless).
SONDE_API bool sonde_counter_add_exemplar(struct sonde_counter *c, double v, const struct sonde_label *labels, size_t n);
SONDE_API bool sonde_int_counter_add_exemplar(struct sonde_int_counter *c, uint64_t v, const struct sonde_label *labels,
                                              size_t n);
SONDE_API bool sonde_histogram_observe_exemplar(struct sonde_histogram *h, double v, const struct sonde_label *labels, size_t n);

// ---- buckets --------------------------------------------------------------------------------------------------------
// Dynamo's generator: 0, then count - 1 values evenly spaced in the logarithm from min (left out) to max, rounded to two
// significant digits, equal neighbours dropped. out holds count values. Returns how many were made; 0 with a warning logged if
// min or max is not finite, min <= 0, min >= max or count > SONDE_BUCKETS_MAX.
SONDE_API size_t sonde_buckets(double min, double max, size_t count, double *out);
// The same with <env_prefix>_MIN, _MAX and _COUNT from the environment in place of the defaults given; what they make invalid is
// warned about and the defaults are used. out holds SONDE_BUCKETS_MAX values.
SONDE_API size_t sonde_buckets_env(const char *env_prefix, double min, double max, size_t count, double *out);

// ---- exposition -----------------------------------------------------------------------------------------------------
// The text forms know no exponential buckets: there a native histogram has classic ones at the powers of two.
enum sonde_exposition {
    SONDE_EXPOSITION_TEXT,        // Prometheus text 0.0.4
    SONDE_EXPOSITION_OPENMETRICS, // 1.0, with exemplars
    SONDE_EXPOSITION_PROTOBUF,    // io.prometheus.client.MetricFamily, delimited: exemplars, and the buckets of native histograms
};
// What an Accept header asks for; text for null, unknown and undecided ones.
SONDE_API enum sonde_exposition sonde_exposition_negotiate(const char *accept);
SONDE_API const char *sonde_exposition_content_type(enum sonde_exposition e); // static storage
// The page of this registry and all below it: update callbacks run first, then families sorted by name, series by label values,
// then the text of callbacks. Null-terminated, the caller frees it with free(); *n (may be null) gets its length. Null without
// memory.
SONDE_API char *sonde_registry_text(struct sonde_registry *r, enum sonde_exposition e, size_t *n);

// Runs before each page of r or of a registry above it, on the scraping thread; may update, make series and register. Returns
// null, or a sentence about what failed, which is logged at ERROR while the page goes on.
typedef const char *sonde_update_fn(void *arg);
SONDE_API bool sonde_registry_on_update(struct sonde_registry *r, sonde_update_fn *fn, void *arg);
// Appends text in exposition format 0.0.4 behind the families (metrics of an engine that keeps its own); in an OpenMetrics page
// it is translated: gauges x_created of Python's library go with their x, a family whose name the page has is left out, and a
// counter x_total beside another family x has no type. An error as above leaves this text out.
struct sonde_text;
SONDE_API void sonde_text_append(struct sonde_text *t, const char *p, size_t n);
typedef const char *sonde_text_fn(void *arg, struct sonde_text *t);
SONDE_API bool sonde_registry_on_text(struct sonde_registry *r, sonde_text_fn *fn, void *arg);

// Adds to the root of r, once: process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes,
// process_open_fds, process_max_fds, process_start_time_seconds, process_threads, <prefix>uptime_seconds, and of libsonde itself
// sonde_records_lost_total, sonde_export_{logs,spans}_{sent,dropped}_total, sonde_metrics_updates_lost_total.
SONDE_API bool sonde_registry_add_process(struct sonde_registry *r, struct sonde_metric_error *err);

#ifdef __cplusplus
}
#endif
