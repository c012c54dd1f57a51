// What the two halves of OTLP's metrics share: the frame with its numbers (otlp_metrics.c), and histograms, summaries and
// exemplars (otlp_histogram.c). Inside event/ only.
#pragma once
#include "event/decode.h"
#include "event/sample.h"

enum metric_data { METRIC_NONE, METRIC_GAUGE, METRIC_SUM, METRIC_HISTOGRAM, METRIC_EXPONENTIAL, METRIC_SUMMARY };

struct labels {
    struct label v[MAX_SERIES_LABELS + 2];
    uint32_t n;
    bool bad; // refused and counted
};

struct metrics {
    struct decode *d;
    struct arena scratch; // of one point
    // the resource
    struct labels base; // job, instance, what all signals of it have as labels
    struct attr *attrs;
    uint32_t n_attrs;
    bool identified; // job or instance is known
    int64_t newest;  // sample so far
    struct labels scope;
    // the metric
    struct slice name, unit, description;           // as sent
    struct slice family, words, type;               // translated
    struct slice sum_name, count_name, bucket_name; // histograms and summaries
    bool delta, monotonic, refused;
};

struct point {
    uint64_t start, time;
    uint32_t flags;
    bool stale; // "no recorded value"
};

// The labels of a point's attributes, in field `field`. False: cannot be read. out->bad: refused.
bool metrics_point_labels(struct metrics *m, struct slice point, uint32_t field, struct labels *out);
// A row of the series name{resource, scope, point, more}. False: refused and counted.
bool metrics_emit(struct metrics *m, struct slice name, const struct labels *point, struct slice more_name,
                  struct slice more_value, int64_t time, const struct sample *s);
void metrics_count(struct metrics *m, const struct point *p, bool stored); // one data point
// The exemplars in field `field` of a point whose value lies in (above, up_to], encoded. False: cannot be read.
bool metrics_exemplars(struct metrics *m, struct slice point, uint32_t field, double above, double up_to, struct slice *out);

bool metrics_histogram_point(struct metrics *m, struct slice message);
bool metrics_exponential_point(struct metrics *m, struct slice message);
bool metrics_summary_point(struct metrics *m, struct slice message);
