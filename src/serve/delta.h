// Delta temporality made cumulative: senders of OTLP that tell the change since their last export get the counters that
// rate() and increase() want. The running totals are kept in memory for each series: after a restart, or after DELTA_IDLE_NS
// without a point, a series begins at 0 again, which queries see as the reset of a counter.
//
// Points of a series must come in the order of their times: one that comes again gives the total that it gave before, so a
// repeated request adds nothing (after a restart: the store is asked), and an older one is refused. Thread rule: any thread.
#pragma once
#include "store/store.h"

#define DELTA_IDLE_NS 3600000000000ll
enum { MAX_DELTA_SERIES = 200000 }; // about 20 MiB; above it, further series are refused

struct delta;
struct delta *delta_new(void); // null: out of memory
void delta_free(struct delta *d);
// Before delta_apply: of series without a total, whether the store has the very point, from before the restart: a request whose
// answer a killed server did not give comes again, and would be a reset of the counter that adds it once more. Looks for points
// with a time below `before` alone, since all later ones are new.
void delta_recall(struct delta *d, struct store *s, struct slice tenant, const struct batch *b, int64_t before);
// Rewrites VALUE, HISTOGRAM and START of the rows marked SAMPLE_DELTA, in a batch that nobody else refers to. Rows that are
// refused become SAMPLE_DROPPED and are counted in the report.
void delta_apply(struct delta *d, struct slice tenant, struct batch *b, struct wire_report *report);
