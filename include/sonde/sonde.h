// libsonde: structured logs, spans and trace context for serving processes.
//
//   #include <sonde/sonde.h>
//   int main(void) {
//       sonde_init(&(struct sonde_options){.service = "decode-worker"});
//       SONDE_INFO("worker ready", SONDE_STR("worker", "w-1"), SONDE_INT("slots", 8));
//       struct sonde_span *s = sonde_span_start("handle_payload", SONDE_KIND_SERVER, &parent_context);
//       sonde_span_enter(s);                     // records of this thread now carry its ids
//       SONDE_DEBUG("kv transfer", SONDE_F64("ms", 1.25));
//       sonde_span_exit(s);
//       sonde_span_end(s);
//       sonde_shutdown(2000);
//   }
//
// A span or context that is passed between threads needs the caller's own ordering, as any object does.
//
// Everything works before sonde_init (lines are kept and written by the defaults), is safe from any thread, never
// throws, never ends the process and never blocks longer than stated. Configuration comes from the environment, and options given
// to sonde_init lose against it:
//   DYN_LOG                        filter: info | warn,my::target=debug,[span{field=value}]=trace (default info)
//   DYN_LOGGING_CONFIG_PATH        TOML file with log_level and a table log_filters; DYN_LOG wins
//   SONDE_FLIGHT_LEVEL, SONDE_RETRO   what the flight recorder keeps, and whether errors bring it out (sonde/sink.h)
//   SONDE_LOG_STDERR…, SONDE_LOG_FILE…   where lines go, rotation, loss (sonde/sink.h)
//   SONDE_LOG_CONTROL              file with a filter that is watched while the process runs (sonde/sink.h)
//   DYN_LOGGING_JSONL              1, true, on, yes: lines as JSON; DYN_LOGGING_CONSOLE_FORMAT=readable|jsonl overrides it
//   DYN_LOGGING_SPAN_EVENTS        truthy: SPAN_FIRST_ENTRY and SPAN_CLOSED lines (JSON only)
//   DYN_LOG_USE_LOCAL_TZ           truthy: local time with offset instead of UTC
//   DYN_SDK_DISABLE_ANSI_LOGGING, NO_COLOR   no colour on a terminal (elsewhere there is none)
//   SONDE_RING_DIR                 of the crash-surviving ring file; default $XDG_RUNTIME_DIR/sonde or /dev/shm/sonde-<uid>
//   SONDE_RING_BYTES               (also SONDE_RING_SIZE) bytes of it, 262144 to 67108864, default 8388608
//   SONDE_RING_KEEP                truthy: the file stays after an orderly end too
//   OTEL_EXPORT_ENABLED            truthy: export spans and log records over OTLP
//   OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER=none, OTEL_LOGS_EXPORTER=none
//   OTEL_EXPORTER_OTLP_[TRACES_|LOGS_]{ENDPOINT,PROTOCOL,HEADERS,COMPRESSION,TIMEOUT}   grpc (default) or http/protobuf
//   OTEL_TRACES_SAMPLE_RATIO       of new traces, 0 to 1, default 1
//   OTEL_BSP_*, OTEL_BLRP_*        SCHEDULE_DELAY (200 ms), MAX_QUEUE_SIZE (65536), MAX_EXPORT_BATCH_SIZE (2048)
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SONDE_API __attribute__((visibility("default")))

// ---- life ---------------------------------------------------------------------------------------------------------
struct sonde_options {
    const char *service;  // service.name when OTEL_SERVICE_NAME does not say
    const char *resource; // more resource attributes "k=v,k2=v2", before OTEL_RESOURCE_ATTRIBUTES
};
SONDE_API void sonde_init(const struct sonde_options *o); // null: defaults. Idempotent; later calls do nothing.
// Writes out and exports what is pending, at most for timeout_ms. Called at exit by itself with 2000.
// Returns true if everything got out. Records after it go to stderr directly.
SONDE_API bool sonde_shutdown(unsigned timeout_ms);
SONDE_API bool sonde_flush(unsigned timeout_ms); // same without stopping

// ---- records --------------------------------------------------------------------------------------------------------
enum sonde_level { SONDE_LEVEL_ERROR = 1, SONDE_LEVEL_WARN, SONDE_LEVEL_INFO, SONDE_LEVEL_DEBUG, SONDE_LEVEL_TRACE };

#ifndef SONDE_TARGET
#define SONDE_TARGET __FILE__ // a file may define its own before the include; a path is turned into a::b::c
#endif

// The macros SONDE_ERROR … SONDE_TRACE(message, field…) stand in sonde/log.h: static call-site record, one relaxed load
// when disabled. Fields: SONDE_KV(key, value), SONDE_STR, SONDE_INT, SONDE_BYTES, SONDE_ERRNO, SONDE_DUR …; messages with
// arguments: SONDE_INFOF; limits: SONDE_WARN_LIMIT. Keys are literals; messages are literals.

// ---- spans and context ------------------------------------------------------------------------------------------------
struct sonde_context {
    uint8_t trace_id[16], span_id[8]; // all zero: none
    uint8_t flags;                    // bit 0 sampled
    bool remote;
    char request_id[129]; // x-request-id, "" if none
    char tracestate[513]; // "" if none
};

enum sonde_kind { SONDE_KIND_INTERNAL = 1, SONDE_KIND_SERVER, SONDE_KIND_CLIENT, SONDE_KIND_PRODUCER, SONDE_KIND_CONSUMER };
enum sonde_status { SONDE_STATUS_UNSET, SONDE_STATUS_OK, SONDE_STATUS_ERROR };

struct sonde_span; // free-standing: may be started, used and ended on different threads and event-loop turns

// parent null: the current span of this thread, or a new trace. A parent with a zero trace id: a new trace (its
// request_id is kept). Never returns null: without memory a span that records nothing.
SONDE_API struct sonde_span *sonde_span_start(const char *name, enum sonde_kind kind, const struct sonde_context *parent);
// As above with an explicit start, ns since 1970 (back-dated spans).
SONDE_API struct sonde_span *sonde_span_start_at(const char *name, enum sonde_kind kind, const struct sonde_context *parent,
                                                 int64_t start_ns);
// Both are also macros that add the place of the call (target, file, line), which SPAN_CLOSED lines and the exported scope tell.
struct sonde_site;
SONDE_API struct sonde_span *sonde_span_start_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                   const struct sonde_context *parent);
SONDE_API struct sonde_span *sonde_span_start_at_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                      const struct sonde_context *parent, int64_t start_ns);
#define SONDE_SPAN_SITE_(call, ...)                                                                                         \
    __extension__({                                                                                                         \
        static struct sonde_site sonde_span_site_ = {0, 0, __LINE__, SONDE_LEVEL_INFO, 0, 1, 0, "", SONDE_TARGET, __FILE__, \
                                                     0, 0, 0};                                                              \
        call(&sonde_span_site_, __VA_ARGS__);                                                                               \
    })
#define sonde_span_start(...)    SONDE_SPAN_SITE_(sonde_span_start_site, __VA_ARGS__)
#define sonde_span_start_at(...) SONDE_SPAN_SITE_(sonde_span_start_at_site, __VA_ARGS__)
SONDE_API void sonde_span_end(struct sonde_span *s); // frees it; null is fine
SONDE_API void sonde_span_end_at(struct sonde_span *s, int64_t end_ns);
// Becomes current on this thread (a stack). A span is entered on one thread at a time, and left there before another ends it.
SONDE_API void sonde_span_enter(struct sonde_span *s);
SONDE_API void sonde_span_exit(struct sonde_span *s);
SONDE_API const struct sonde_context *sonde_span_context(const struct sonde_span *s); // valid until the span's end; never null
SONDE_API const struct sonde_context *sonde_current(void); // of this thread's current span; null if none
// Keys and values are copied.
SONDE_API void sonde_span_str(struct sonde_span *s, const char *key, const char *value);
SONDE_API void sonde_span_strn(struct sonde_span *s, const char *key, const char *value, size_t n);
SONDE_API void sonde_span_int(struct sonde_span *s, const char *key, int64_t value);
SONDE_API void sonde_span_f64(struct sonde_span *s, const char *key, double value);
SONDE_API void sonde_span_bool(struct sonde_span *s, const char *key, bool value);
SONDE_API void sonde_span_status(struct sonde_span *s, enum sonde_status status, const char *message);
SONDE_API void sonde_span_event(struct sonde_span *s, const char *name); // now
SONDE_API void sonde_span_event_at(struct sonde_span *s, const char *name, int64_t time_ns);

// Propagation. get returns a header's value (n-th of that name; lower-case name) or null; set is called once a header.
typedef const char *sonde_get_fn(void *carrier, const char *name, int nth, size_t *len);
typedef void sonde_set_fn(void *carrier, const char *name, const char *value, size_t len);
// Reads traceparent, tracestate, x-request-id by the W3C rules. False if there was no valid traceparent (the context
// then has a zero trace id, and the request id if one was sent).
SONDE_API bool sonde_extract(struct sonde_context *out, sonde_get_fn *get, void *carrier);
SONDE_API void sonde_inject(const struct sonde_context *c, sonde_set_fn *set, void *carrier);
// Ids as text, each ended by a 0: "00-<trace>-<span>-<flags>"; "" if the context has no ids.
SONDE_API void sonde_traceparent(const struct sonde_context *c, char out[56]);
// Makes c's request id the given one if it is valid (1 to 128 printable ASCII characters); false and unchanged otherwise.
SONDE_API bool sonde_set_request_id(struct sonde_context *c, const char *id, size_t n);
// What was lost so far in this process: records that found the ring full, and records and spans that the exporter dropped.
struct sonde_counts {
    uint64_t records_lost, export_logs_dropped, export_spans_dropped, export_logs_sent, export_spans_sent;
    uint64_t records_lost_level[6]; // of records_lost: [0] spans, [1] ERROR … [5] TRACE
    uint64_t held_lost;             // below the filter, for which even the flight recorder had no room; not in records_lost
};
SONDE_API void sonde_counts_get(struct sonde_counts *out);
// A new request id (UUID version 4) as text.
SONDE_API void sonde_new_request_id(char out[37]);

#ifdef __cplusplus
}
#endif
#include <sonde/log.h>
#include <sonde/sink.h>
