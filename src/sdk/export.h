// The OTLP exporter: spans and log records over gRPC or HTTP/protobuf, on a thread of its own. Encodes when a record passes,
// queues encoded messages (bounded in number and bytes; what does not fit is dropped and counted), sends when a batch is full or
// the delay is over, retries with backoff while the collector is away. Says once when it goes and once when it is back.
//
// Environment: OTEL_EXPORT_ENABLED (truthy: on), OTEL_SDK_DISABLED, OTEL_EXPORTER_OTLP_[TRACES_|LOGS_]{ENDPOINT,PROTOCOL,HEADERS,
// TIMEOUT,COMPRESSION}, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_/OTEL_BLRP_{SCHEDULE_DELAY,MAX_QUEUE_SIZE,MAX_EXPORT_BATCH_SIZE}.
// All functions take null for "no export".
#pragma once
#include "sdk/pipeline.h"

struct export;
enum {
    EXPORT_DELAY_MS = 200, // default of both signals, so that a request is visible within a second
    EXPORT_QUEUE = 65536,  // messages of one signal
    EXPORT_BATCH = 2048,
    EXPORT_QUEUE_BYTES = 32 << 20,
    EXPORT_TIMEOUT_MS = 10000, // of one attempt
    EXPORT_BACKOFF_MIN_MS = 200,
    EXPORT_BACKOFF_MAX_MS = 5000,
};

struct export *export_new(const char *service, const char *resource); // null: export is off
void export_attach(struct export *e, struct pipeline *p);             // makes the pipeline feed it
void export_describe(struct export *e, const char *service, const char *resource);
bool export_flush(struct export *e, int64_t until); // monotonic ns; true if all was delivered
bool export_stop(struct export *e, int64_t until);
void export_counts(struct export *e, struct sonde_counts *out);
void export_before_fork(struct export *e); // keeps the queues consistent over a fork
void export_after_fork(struct export *e);  // in the parent
