// What leaves the process over OTLP and its likes: exporters, processors, the resource. Not included by sonde.h.
//
// Thread rule: every function here may be called from any thread, but not from a signal handler. Callbacks run on threads of the
// library (one at a time for each exporter); they may log, but must not call what waits for the output: sonde_flush,
// sonde_shutdown, the functions here.
//
// In the environment (bad values are told on stderr, then the default holds):
//   OTEL_EXPORT_ENABLED            truthy: spans and log records are exported; another non-empty value: they are not
//   OTEL_TRACES_EXPORTER           list of otlp (default), console, otlp/file, otlp/stdout, zipkin, none. Setting it exports
//                                  spans even when OTEL_EXPORT_ENABLED is not set; so does the next
//   OTEL_LOGS_EXPORTER             the same without zipkin
//   OTEL_METRICS_EXPORTER          otlp, console, otlp/file, otlp/stdout, prometheus (the status server's page), none; metrics go
//                                  out only when it is set
//   OTEL_EXPORTER_OTLP_[TRACES_|LOGS_|METRICS_]…
//                                  ENDPOINT, PROTOCOL (grpc, as in Dynamo; http/protobuf, http/json), HEADERS, COMPRESSION (none,
//                                  gzip), TIMEOUT (10000 ms: one export with all its retries), CERTIFICATE, CLIENT_KEY,
//                                  CLIENT_CERTIFICATE, INSECURE
//   OTEL_BSP_*, OTEL_BLRP_*        SCHEDULE_DELAY (200 ms), EXPORT_TIMEOUT (30000 ms), MAX_QUEUE_SIZE (65536),
//                                  MAX_EXPORT_BATCH_SIZE (2048)
//   OTEL_METRIC_EXPORT_INTERVAL, OTEL_METRIC_EXPORT_TIMEOUT   60000, 30000 ms
//   OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT, _VALUE_LENGTH_LIMIT   128, none; else OTEL_ATTRIBUTE_…
//   OTEL_EXPORTER_ZIPKIN_ENDPOINT, _TIMEOUT   http://localhost:9411/api/v2/spans, 10000 ms
//   OTEL_EXPORTER_ZIPKIN_PROTOCOL  json (default), protobuf, v1/json, v1/thrift
//   SONDE_OTLP_ENDPOINTS           more destinations, "URL,URL": all three signals, same protocol and headers; none waits for
//                                  another
//   SONDE_OTLP_CONCURRENCY         requests in flight at one destination, 1 (default) to 16
//   SONDE_OTLP_MAX_REQUEST, SONDE_OTLP_MAX_RESPONSE   bytes, 64 MiB and 4 MiB; larger batches are split
//   SONDE_OTLP_FILE                of otlp/file; SONDE_OTLP_FILE_BYTES (100 MiB) rotates it, SONDE_OTLP_FILE_KEEP (5) stay
//   SONDE_SPOOL_DIR                what the memory queue has no room for, or is left at the end, waits there; off by default
//   SONDE_SPOOL_BYTES              at most so much of it, 256 MiB
//   SONDE_RESOURCE_DETECTORS       list of host, os, process, container, k8s, config and names given to
//                                  sonde_resource_detector_add; all (default), none
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum sonde_signal { SONDE_TRACES, SONDE_LOGS, SONDE_METRICS, SONDE_SIGNALS };

// ---- flush and end of one signal ------------------------------------------------------------------------------------
// Everything of the signal recorded before the call is exported, at most for timeout_ms; true if it was delivered.
SONDE_API bool sonde_signal_flush(enum sonde_signal signal, unsigned timeout_ms);
// The same, and nothing of the signal is exported any more. Later calls do nothing and return true.
SONDE_API bool sonde_signal_shutdown(enum sonde_signal signal, unsigned timeout_ms);

// ---- exporters of one's own -----------------------------------------------------------------------------------------
enum sonde_export_result {
    SONDE_EXPORT_OK,
    SONDE_EXPORT_RETRY, // the same again later (bounded by the signal's queue)
    SONDE_EXPORT_FAILED // given up, counted as dropped
};
// One batch: an encoded Export{Trace,Logs,Metrics}ServiceRequest (which is also TracesData, LogsData, MetricsData).
struct sonde_export_batch {
    enum sonde_signal signal;
    const void *otlp;
    size_t n;
    size_t items; // spans, log records, data points in it
};
struct sonde_exporter {
    unsigned signals; // bits 1 << SONDE_TRACES …
    // simple: each span and log record is given out by itself, as soon as it is read from the ring; else in batches. Never at the
    // same time from two threads.
    bool simple;
    enum sonde_export_result (*export_batch)(void *arg, const struct sonde_export_batch *batch);
    bool (*force_flush)(void *arg, unsigned timeout_ms); // may be null; true: what was given out is out
    bool (*shutdown)(void *arg, unsigned timeout_ms);    // may be null; called once, nothing comes after it
    void *arg;
};
enum { SONDE_EXPORTERS_MAX = 8, SONDE_PROCESSORS_MAX = 8 };
// Beside those of the environment; also in forked children. False: the options make no sense, or there are too many.
SONDE_API bool sonde_exporter_add(const struct sonde_exporter *x);

// An exporter that keeps what it gets, for tests.
struct sonde_memory_exporter;
SONDE_API struct sonde_memory_exporter *sonde_memory_exporter_new(void);
// To be given to sonde_exporter_add after a choice of signals.
SONDE_API struct sonde_exporter sonde_memory_exporter_of(struct sonde_memory_exporter *m);
SONDE_API size_t sonde_memory_exporter_count(struct sonde_memory_exporter *m); // batches
// The i-th; its bytes are valid until the reset. False past the end.
SONDE_API bool sonde_memory_exporter_get(struct sonde_memory_exporter *m, size_t i, struct sonde_export_batch *out);
SONDE_API void sonde_memory_exporter_reset(struct sonde_memory_exporter *m);

// ---- log processors of one's own ------------------------------------------------------------------------------------
// Sees each log record before the exporters do, in the order of adding; valid during the call.
struct sonde_log_record {
    int64_t time_ns, observed_ns;
    enum sonde_level level;
    const char *target; // with their lengths: not terminated
    size_t target_n;
    const char *message;
    size_t message_n;
    bool in_span;
    uint8_t trace_id[16], span_id[8], flags;
    const void *otlp; // the encoded LogRecord with all its attributes
    size_t otlp_n;
};
struct sonde_log_processor {
    // False: the record goes no further. record: to be passed to sonde_log_record_add_*.
    bool (*on_emit)(void *arg, struct sonde_log_record *record);
    // Whether records of that level and target are wanted; may be null. A record that no processor wants is not shown to them.
    bool (*enabled)(void *arg, enum sonde_level level, const char *target, size_t target_n);
    bool (*force_flush)(void *arg, unsigned timeout_ms); // may be null
    bool (*shutdown)(void *arg, unsigned timeout_ms);    // may be null
    void *arg;
};
SONDE_API bool sonde_log_processor_add(const struct sonde_log_processor *p);
// One more attribute for those that come after. Key and value are copied.
SONDE_API void sonde_log_record_add_str(struct sonde_log_record *record, const char *key, const char *value);
SONDE_API void sonde_log_record_add_int(struct sonde_log_record *record, const char *key, int64_t value);

// ---- resource -------------------------------------------------------------------------------------------------------
// Attributes of who sends, and the URL of the schema they follow. Never changed after it was made. Fields are made with
// SONDE_FIELD(SONDE_STR("key", "value")).
struct sonde_resource;
SONDE_API struct sonde_resource *sonde_resource_new(const struct sonde_field *attributes, size_t n, const char *schema_url);
// Both may be null (empty). updating wins where a key is in both. Schema URL: that of the one that has one; when they differ,
// updating's, which is told once on stderr.
SONDE_API struct sonde_resource *sonde_resource_merge(const struct sonde_resource *old, const struct sonde_resource *updating);
SONDE_API void sonde_resource_free(struct sonde_resource *r);
SONDE_API size_t sonde_resource_count(const struct sonde_resource *r);
struct sonde_resource_attribute { // valid as long as the resource
    const char *key, *text;       // text: the value as text, numbers in decimal; both terminated
    size_t text_n;
    unsigned char type; // enum sonde_type
};
SONDE_API bool sonde_resource_at(const struct sonde_resource *r, size_t i, struct sonde_resource_attribute *out);
SONDE_API bool sonde_resource_find(const struct sonde_resource *r, const char *key, struct sonde_resource_attribute *out);
SONDE_API const char *sonde_resource_schema_url(const struct sonde_resource *r); // "" if none
// What this process exports with: a copy, to be freed.
SONDE_API struct sonde_resource *sonde_resource_current(void);
// More attributes, or others, from now on; wins over what was found, loses against OTEL_RESOURCE_ATTRIBUTES.
SONDE_API bool sonde_resource_update(const struct sonde_resource *r);

// A detector finds attributes; called when export starts (and in a forked child's first export). It gives the resource away;
// null: nothing found. What a later detector finds wins, and the environment over all. False: too many, or the name is taken.
typedef struct sonde_resource *sonde_resource_detector_fn(void *arg);
SONDE_API bool sonde_resource_detector_add(const char *name, sonde_resource_detector_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif
