// The exporter behind the pipeline: encodes spans and log records when they pass, gathers them into batches, and gives each batch
// to every destination of its signal (OTLP, console, file, the program's own). Metrics are read by a timer. What a destination
// cannot take yet waits in memory, then in the spool, both bounded; what fits nowhere is dropped and counted. Says once when a
// collector goes and once when it is back.
//
//   backend ──encode──► queue (one a signal) ──► batcher thread ──► destination: list ──► its worker threads ──► collector
//   meter  ──reader thread────────────────────────────┘                       └─► spool
//
// Environment: sonde/export.h. All functions take null for "no export". Thread rule: any thread, unless said otherwise.
#pragma once
#include "sdk/export_stats.h"
#include "sdk/pipeline.h"

struct export;
enum {
    EXPORT_QUEUE_BYTES = 32 << 20,
    EXPORT_SPARE_MAX = 2 << 20, // kept of a delivered request
    EXPORT_BACKOFF_MIN_MS = 200,
    EXPORT_BACKOFF_MAX_MS = 5000,
};

struct export *export_new(const char *service, const char *resource); // null: nothing is to be exported
void export_attach(struct export *e, struct pipeline *p);             // makes the pipeline feed it; under drain or before it runs
void export_describe(struct export *e, const char *service, const char *resource);
void export_redescribe(void);                       // the resource has changed (sdk.export's)
bool export_flush(struct export *e, int64_t until); // monotonic ns; true if all was delivered
bool export_flush_signal(struct export *e, enum export_signal s, int64_t until);
bool export_stop_signal(struct export *e, enum export_signal s, int64_t until);
bool export_stop(struct export *e, int64_t until);
void export_counts(struct export *e, struct sonde_counts *out);
void export_before_fork(struct export *e); // keeps the queues consistent over a fork; also for null
void export_after_fork(struct export *e);  // in the parent
void export_forked(struct export *e);      // in the child: the parent's e is not used any more
