// Prometheus' text format 0.0.4 and OpenMetrics 1.0 → samples: pages that are scraped, and pages that are pushed.
// Thread rule: none.
#pragma once
#include "event/wire.h"

struct metrics_text {
    struct slice text;
    bool openmetrics;           // times are seconds, a counter's family has no _total
    int64_t now;                // ns: of samples that have no time of their own
    const struct label *target; // job, instance …: a page's own label of such a name becomes exported_<name>. Not sorted
    uint32_t n_target;
    // A scrape: its report as series up, scrape_duration_seconds, scrape_samples_scraped, scrape_series_added and
    // scrape_samples_post_metric_relabeling; and of the series of `before` (the scrape before it; null: none) that are no longer
    // there, a stale marker.
    bool scrape, up;
    double seconds;
    const struct batch *before;
    int64_t before_time; // `now` of it
};

// A sealed batch that holds a copy of the text. ERR_SYNTAX names the line and what was expected; nothing is returned then.
// A label set twice on a page: the first one counts. ERR_LIMIT above MAX_BATCH_MEMORY. report and err may be null.
enum errc metrics_text_read(const struct metrics_text *t, struct batch **out, struct wire_report *report, struct error *err);
