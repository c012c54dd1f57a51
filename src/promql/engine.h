// Evaluation of a PromQL tree over samples, at one time or at equal steps.
//
//   struct query q;  query_init(&q, source, tenant, &limits, &err);       memory, budget, time-out, cancelling
//   struct prom_request r = {.start = t, .end = t};                       ms; prom_request_default fills the options
//   struct prom_result out;
//   if (promql_eval(&q, tree, &r, &out, &err) == ERR_OK) …                 everything lives in q.arena
//
// Every selector reads its samples once, for all steps; windows slide over them. All steps are evaluated together: a value of
// type vector is a table of series, each with a place for every step.
// Errors: ERR_INPUT (the expression cannot be evaluated over this data: many-to-many matching, the same labels twice),
// ERR_LIMIT (samples, steps, memory), ERR_TIMEOUT, ERR_CANCELLED, and those of the store.
#pragma once
#include "event/sample.h"
#include "promql/promql.h"
#include "query/query.h"

// A native histogram, its buckets sorted by index, empty ones left out. Bounds: event/sample.h.
struct prom_buckets {
    int32_t *index;
    double *count;
    uint32_t n;
};
struct prom_hist {
    int32_t schema;
    enum histogram_hint hint;
    double zero_threshold, zero_count, count, sum;
    struct prom_buckets pos, neg;
    const double *bounds; // HISTOGRAM_CUSTOM only
    uint32_t n_bounds;
};
// One bucket, from the lowest to the highest.
struct prom_bucket {
    double lower, upper, count;
    bool lower_inclusive, upper_inclusive;
};
// The i-th bucket with something in it; false past the end.
bool prom_hist_bucket(const struct prom_hist *h, uint32_t i, struct prom_bucket *out);

enum { PROM_HAS_NONE, PROM_HAS_FLOAT, PROM_HAS_HIST };
struct prom_series {
    struct label *l; // sorted by name
    uint32_t n;
    uint64_t hash;
    uint8_t *has; // [step]: PROM_HAS_…
    double *v;
    struct prom_hist **h; // null where no step has one
};
struct prom_vector {
    struct prom_series *s;
    uint32_t n, cap;
    uint32_t *table; // number + 1 of the series, by hash; made when first needed
    uint32_t table_size;
    bool ordered; // by sort or topk: the order is part of the answer
};

// Samples of one series as they are, by time.
struct prom_raw {
    struct label *l;
    uint32_t n_labels;
    uint32_t n, n_h, cap, cap_h;
    int64_t *t; // ms
    double *v;
    int64_t *ht;
    struct prom_hist **h;
};

struct prom_request {
    int64_t start, end, step; // ms; start == end: one time
    bool instant;             // one time; then range vectors and strings may be the answer
    int64_t lookback;         // ms; how old the sample of an instant selector may be
    int64_t subquery_step;    // ms, where a subquery names none
    uint64_t max_samples;     // gathered and made, together
    bool closed_windows;      // [from, to] as before Prometheus 3.0; else (from, to]
};
enum { PROM_MAX_NOTES = 10 };
struct prom_result {
    enum prom_type type;
    uint32_t steps;
    struct prom_vector vector; // of a scalar: one series without labels
    struct prom_raw *raw;      // PROM_MATRIX
    uint32_t n_raw;
    struct slice text; // PROM_STRING
    // what should be known about the answer, each once
    struct slice warnings[PROM_MAX_NOTES], infos[PROM_MAX_NOTES];
    uint32_t n_warnings, n_infos;
    uint64_t samples; // gathered
};

enum { PROM_LOOKBACK_MS = 300000, PROM_MAX_STEPS = 11000 };
#define PROM_MAX_SAMPLES 50000000ull
#define PROM_MAX_MEMORY  MIB(1024)
void prom_request_default(struct prom_request *r);
enum errc promql_eval(struct query *q, const struct promql *p, const struct prom_request *r, struct prom_result *out,
                      struct error *err);
