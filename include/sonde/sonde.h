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
//   OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED, OTEL_LOG_LEVEL
//   OTEL_{TRACES,LOGS,METRICS}_EXPORTER, OTEL_EXPORTER_OTLP_…, SONDE_OTLP_…, SONDE_SPOOL_…   sonde/export.h
//   OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_TRACES_SAMPLE_RATIO, SONDE_TRACES_KEEP_ERRORS   sonde/sampler.h
//   OTEL_PROPAGATORS               sonde/context.h
//   OTEL_[SPAN_]ATTRIBUTE_{COUNT,VALUE_LENGTH}_LIMIT, OTEL_SPAN_{EVENT,LINK}_COUNT_LIMIT, OTEL_{EVENT,LINK}_ATTRIBUTE_COUNT_LIMIT
//   OTEL_BSP_*, OTEL_BLRP_*        SCHEDULE_DELAY (200 ms), MAX_QUEUE_SIZE (65536), MAX_EXPORT_BATCH_SIZE (2048)
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SONDE_API __attribute__((visibility("default")))
// Called through its address instead of a stub: one line of code less that a single call after other work must fetch.
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define SONDE_NEAR __attribute__((noplt))
#endif
#endif
#ifndef SONDE_NEAR
#define SONDE_NEAR
#endif

// ---- life -----------------------------------------------------------------------------------------------------------
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

// What was lost so far in this process: records that found the ring full, and records and spans that the exporter dropped.
struct sonde_counts {
    uint64_t records_lost, export_logs_dropped, export_spans_dropped, export_logs_sent, export_spans_sent;
    uint64_t records_lost_level[6]; // of records_lost: [0] spans, [1] ERROR … [5] TRACE
    uint64_t held_lost;             // below the filter, for which even the flight recorder had no room; not in records_lost
};
SONDE_API void sonde_counts_get(struct sonde_counts *out);
#ifdef __cplusplus
}
#endif
#include <sonde/context.h>
#include <sonde/log.h>
#include <sonde/sampler.h>
#include <sonde/sink.h>
#include <sonde/trace.h>
