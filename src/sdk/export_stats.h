// What the exporter knows of itself, for the SDK's own metrics (otel.sdk.*).
// Thread rule: any thread.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum export_signal { EXPORT_TRACES, EXPORT_LOGS, EXPORT_METRICS, EXPORT_SIGNALS };

// Why records did not arrive; error.type of processed and exported.
enum export_failure {
    EXPORT_QUEUE_FULL,  // "queue_full": no room in memory (and none in the spool)
    EXPORT_TOO_LARGE,   // "too_large": one record over the limit of a request
    EXPORT_REJECTED,    // "rejected": the collector took the request, but not these
    EXPORT_REFUSED,     // "refused": a final status
    EXPORT_UNREACHABLE, // "unreachable": still waiting when the process ended
    EXPORT_SPOOL_LOST,  // "spool_lost": the spool was full, or its file damaged
    EXPORT_FAILURES,
};

struct export_stats {
    bool on;                             // the signal is exported at all
    uint64_t queue_size, queue_capacity; // records
    uint64_t processed;                  // records that the processor took
    uint64_t inflight;                   // records in requests under way
    uint64_t exported;                   // accepted by a destination; with several, each counts
    uint64_t failed[EXPORT_FAILURES];
    uint64_t operations, operation_ns;   // attempts to deliver, and what they took in all
    uint64_t operations_failed;          // of them
    uint64_t spooled, spool_sent;        // records written to the spool, and delivered from there
    uint64_t collections, collection_ns; // metrics: readings of the registry
};

void export_stats(enum export_signal signal, struct export_stats *out);
const char *export_failure_text(enum export_failure f);
