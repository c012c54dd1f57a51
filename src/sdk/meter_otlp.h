// Metrics as OTLP: what the exporter's periodic reader asks for.
#pragma once
#include "base/buf.h"
#include "base/error.h"

enum metric_temporality { METRIC_CUMULATIVE, METRIC_DELTA, METRIC_LOWMEMORY };

// One encoded ExportMetricsServiceRequest with that many data points; valid during the call.
typedef void metrics_batch_fn(void *arg, struct slice request, size_t points);

struct metrics_collect {
    struct slice resource; // encoded Resource message, put into each request
    struct slice schema_url;
    enum metric_temporality temporality; // OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE
    bool exponential;                    // OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION
    size_t max_points;                   // of one request
    metrics_batch_fn *fn;
    void *arg;
};

// Reads all instruments and families of the process and calls fn once for each request; not at all when there are no points. One
// caller at a time (the reader); delta counts from its last call.
enum errc metrics_collect_otlp(const struct metrics_collect *c);
