// Wire formats to and from batches. One file a format (otlp_logs.c, otlp_traces.c, otlp_json.c, loki_push.c,
// otlp_encode.c). Decoders are pure functions of (bytes, received time): the write-ahead log keeps the request as it
// came and replay decodes it again, so the same bytes must always give the same rows.
#pragma once
#include "event/batch.h"

// X(name, number on disk, signal, text). Numbers are part of the write-ahead log's format: never change one.
#define WIRE_LIST(X)                                                     \
    X(OTLP_LOGS_PB, 1, SIGNAL_LOG, "otlp-logs-protobuf")                 \
    X(OTLP_LOGS_JSON, 2, SIGNAL_LOG, "otlp-logs-json")                   \
    X(OTLP_TRACES_PB, 3, SIGNAL_SPAN, "otlp-traces-protobuf")            \
    X(OTLP_TRACES_JSON, 4, SIGNAL_SPAN, "otlp-traces-json")              \
    X(LOKI_PB, 5, SIGNAL_LOG, "loki-protobuf") /* already un-snappied */ \
    X(LOKI_JSON, 6, SIGNAL_LOG, "loki-json")                             \
    X(OTLP_METRICS_PB, 7, SIGNAL_SAMPLE, "otlp-metrics-protobuf")        \
    X(OTLP_METRICS_JSON, 8, SIGNAL_SAMPLE, "otlp-metrics-json")          \
    X(WRITE1, 9, SIGNAL_SAMPLE, "remote-write-1")      /* un-snappied */ \
    X(WRITE2, 10, SIGNAL_SAMPLE, "remote-write-2")     /* likewise */    \
    X(METRICS_TEXT, 11, SIGNAL_SAMPLE, "metrics-text") /* Prometheus, or OpenMetrics when it ends in # EOF */

enum wire_format {
#define X(name, number, signal, text) WIRE_##name = number,
    WIRE_LIST(X)
#undef X
};
enum signal wire_signal(enum wire_format f);
const char *wire_text(enum wire_format f); // null for an unknown number

// What a receiver accepted and refused. Refused rows never make the whole request fail: they are counted, and the
// first reasons are kept for the answer (OTLP partial success; Loki's 400 that lists up to ten).
struct wire_report {
    uint32_t accepted, rejected;    // log records, spans, data points, samples
    uint32_t histograms, exemplars; // of samples: how many of the accepted are histograms; exemplars kept
    uint32_t n_reasons;
    char reason[10][200];
};

struct wire_options {
    int64_t received_ns;   // stands in for a record without any time
    bool discover_service; // Loki push: add service_name from the first of Loki's list of labels, else unknown_service
};

// Decodes a whole request. On ERR_OK *out is a sealed batch (possibly with 0 rows) that refers to `bytes`:
// bytes must outlive it unless `keep` is false, in which case the decoder copies them into the arena first.
// A request that cannot be read at all: an error that names the byte; nothing is returned. One that needs more memory than
// MAX_BATCH_MEMORY: ERR_LIMIT. report and err may be null. Timestamps are not judged by age: that is for the receiver.
enum errc wire_decode(enum wire_format f, struct slice bytes, bool keep, const struct wire_options *opt, struct batch **out,
                      struct wire_report *report, struct error *err);

// Batch → ExportLogsServiceRequest / ExportTraceServiceRequest (also TracesData: the same bytes), grouped by resource
// and scope. rows: null = all; then n_rows is not looked at. A Loki resource becomes string attributes. JSON: the OTLP mapping
// (hex ids, 64-bit integers as strings).
enum errc otlp_encode(const struct batch *b, const uint32_t *rows, uint32_t n_rows, struct buf *out);
enum errc otlp_encode_json(const struct batch *b, const uint32_t *rows, uint32_t n_rows, struct buf *out);
// A batch of samples → io.prometheus.write.v2.Request, which WIRE_WRITE2 decodes to the same rows (FLAGS are not kept, rows
// of SAMPLE_DROPPED are left out). What a server changed or read itself (scrapes, deltas made cumulative) goes to the log like
// this.
enum errc write2_encode(const struct batch *b, struct buf *out);
// An encoded AnyValue as plain JSON ({"a":1}). ERR_CORRUPT: it cannot be read; null is written.
enum errc anyvalue_json(struct slice any, struct jw *w);
// Span events kept in FIELD_EVENTS, one after the other: false at the end.
struct span_event {
    int64_t time;
    struct slice name;
    struct slice attrs; // for span_event_attr: what it has not given yet
};
bool span_event_next(struct slice *events, struct span_event *out);
// The next attribute of an event; false at the end. Arrays, maps and bytes come as COL_ANY. Strings from a decoded batch are
// UTF-8.
bool span_event_attr(struct slice *attrs, struct attr *out);
