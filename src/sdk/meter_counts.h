// What the library counts of itself beside the exporter's own counters (export_stats.h), for the metrics otel.sdk.*.
// Thread rule: any thread.
#pragma once
#include "sdk/export_stats.h"
#include <stdatomic.h>

struct meter_counts {
    _Atomic uint64_t spans_started, spans_ended, logs_created; // as the backend reads them from the ring
};
extern struct meter_counts meter_counts;
static inline void meter_count(_Atomic uint64_t *c)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed); // one writer
}
// One attempt to deliver, one reading of all metrics: into the histograms of durations, where somebody wants them.
void meter_self_operation(enum export_signal signal, int64_t ns, bool ok);
void meter_self_collection(int64_t ns);
