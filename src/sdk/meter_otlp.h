// Everything measured in this process as OTLP ExportMetricsServiceRequests (protobuf): the registries (sonde/metrics.h; scope
// "dynamo.runtime.metrics", cumulative since the root was made unless the preference asks for deltas) and the meters of all
// providers that are exported (sonde/meter.h; a start time of its own for each series).
// Read once, in meter_otlp_new: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE (cumulative, delta, lowmemory) and
// OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION (explicit_bucket_histogram, base2_exponential_bucket_histogram).
//
//   struct meter_otlp *o = meter_otlp_new();
//   each interval: meter_otlp_collect(o, resource, 0, queue_it, queue, &points);   // queue_it gets each request, whole
//
// Transport, timer and retries are the caller's. With deltas a request that is not delivered is a gap: the next collection goes
// on from this one. Thread rule: one thread at a time for one object. Collecting runs the callbacks of registries and instruments
// on the calling thread; it must hold no lock that such a callback may want.
#pragma once
#include "base/error.h"
#include "base/slice.h"

struct meter_otlp;
struct meter_otlp *meter_otlp_new(void); // null without memory
void meter_otlp_free(struct meter_otlp *o);

// Gets one encoded request and the number of data points in it; request lives until it returns. False: no more, collecting ends.
typedef bool meter_otlp_send_fn(void *arg, struct slice request, size_t points);

// Collects once. resource: the encoded Resource message without tag and length. max_points: of one request, 0: no limit (a
// request is cut at 4 MiB nevertheless). *points (may be null) gets the number of data points of all requests. Nothing to tell:
// no request, ERR_OK. ERR_NOMEM, ERR_LIMIT: what was sent up to then stands.
enum errc meter_otlp_collect(struct meter_otlp *o, struct slice resource, size_t max_points, meter_otlp_send_fn *send, void *arg,
                             size_t *points);
