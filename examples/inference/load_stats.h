// What the load generator counts and prints.
#pragma once
#include "base/buf.h"
#include "fault.h"

enum { MAX_KINDS = 64, MAX_SUMMARY = 64 << 10 };

// Values of one measure, all kept: quantiles are exact.
struct samples {
    double *v;
    size_t n, cap;
    bool sorted;
};
void samples_add(struct samples *s, double v);        // without memory the value is left out
double samples_quantile(struct samples *s, double q); // nearest rank; NaN when empty
double samples_mean(const struct samples *s);

struct kind {
    char name[80];
    int64_t n;
};

struct load_stats {
    int64_t sent, ok, failed, streamed, output_tokens, input_tokens;
    int64_t fault_sent[FAULT_COUNT], fault_failed[FAULT_COUNT];
    struct kind kinds[MAX_KINDS]; // errors
    size_t n_kinds;
    struct samples ttft_ms, itl_ms, e2e_ms; // of good answers; ttft and itl of streamed ones
    double seconds;
};
void stats_error(struct load_stats *s, const char *kind);
void stats_text(struct load_stats *s, struct buf *out);
void stats_json(struct load_stats *s, struct buf *out);
void stats_free(struct load_stats *s);
