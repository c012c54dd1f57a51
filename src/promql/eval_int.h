// Shared by the files of the engine.
#pragma once
#include "base/limits.h"
#include "promql/engine.h"
#include "query/matrix.h"
#include <math.h>

struct prom_scratch {
    double *p;
    uint32_t cap;
};
struct prom_eval {
    struct query *q;
    struct arena *a;
    const struct promql *p;
    const struct prom_request *r;
    struct prom_result *out; // for notes
    struct error *err;
    uint64_t samples;
    struct prom_scratch *scratch;
    // the times at hand: those of the request, or of a subquery
    int64_t start, step;
    uint32_t steps;
};
static inline int64_t prom_time(const struct prom_eval *e, uint32_t step)
{
    return e->start + (int64_t)step * e->step;
}

// A window of one series at one step. Floats and histograms stand apart, each by time.
struct prom_window {
    const int64_t *t;
    const double *v;
    uint32_t n;
    const int64_t *ht;
    struct prom_hist *const *h;
    uint32_t n_h;
    int64_t from, to; // ms, moved by offset
    int64_t now;      // the step's own time
    double param[2];  // scalars of the call
};

enum errc prom_no_memory(struct prom_eval *e);               // ERR_LIMIT
enum errc prom_count(struct prom_eval *e, uint64_t samples); // ERR_LIMIT above the maximum
void prom_warn(struct prom_eval *e, bool warning, const struct prom_node *n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

// ---- vectors (vector.c) -----------------------------------------------------------------------------------------------
// A new series without values; null when out of memory. Labels are not copied.
struct prom_series *prom_series_add(struct prom_eval *e, struct prom_vector *v, struct label *l, uint32_t n);
struct prom_series *prom_series_find_or_add(struct prom_eval *e, struct prom_vector *v, struct label *l, uint32_t n);
bool prom_series_set_hist(struct prom_eval *e, struct prom_series *s, uint32_t step, struct prom_hist *h);
static inline void prom_series_set(struct prom_series *s, uint32_t step, double v)
{
    s->v[step] = v;
    s->has[step] = PROM_HAS_FLOAT;
}
// Labels without the name. Then the same labels twice at one step are an error; without `strict` what does not overlap becomes
// one.
enum errc prom_drop_names(struct prom_eval *e, struct prom_vector *v, bool strict);
enum errc prom_unique(struct prom_eval *e, struct prom_vector *v, bool strict);
// Takes out series without any value.
void prom_vector_trim(struct prom_vector *v, uint32_t steps);
void prom_drop_hists(struct prom_eval *e, struct prom_vector *v);
// Labels that by/without or on/ignoring leave, in the arena. Without: the name goes too.
struct label *prom_labels_pick(struct prom_eval *e, const struct label *l, uint32_t n, const struct prom_names *names,
                               bool without, uint32_t *out_n);
struct label *prom_labels_set(struct prom_eval *e, const struct label *l, uint32_t n, struct slice name, struct slice value,
                              uint32_t *out_n); // an empty value takes the label out
struct slice prom_label(const struct label *l, uint32_t n, struct slice name);
void prom_labels_text(struct buf *out, const struct label *l, uint32_t n);

// ---- evaluation -------------------------------------------------------------------------------------------------------
enum errc prom_eval_node(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out);
// A range vector as samples by series. *range of it, and what `now` is moved by.
struct prom_ranges {
    struct prom_raw *raw;
    uint32_t n;
    const struct prom_node *modified; // whose offset and @ hold
    int64_t range;
};
enum errc prom_eval_range(struct prom_eval *e, const struct prom_node *n, struct prom_ranges *out);
// Time at which a selector looks when the step's time is now.
int64_t prom_reference(const struct prom_eval *e, const struct prom_node *selector, int64_t now);
// Samples of all matching series in (from, to] or [from, to], ms. keep_stale: stale markers stay.
enum errc prom_gather(struct prom_eval *e, const struct prom_node *selector, int64_t from, int64_t to, bool keep_stale,
                      struct prom_raw **out, uint32_t *n);
// The value of an instant selector; times: of the samples in their place.
enum errc prom_eval_selector(struct prom_eval *e, const struct prom_node *n, bool times, struct prom_vector *out);

enum errc prom_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out);
enum errc prom_aggregate(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out);
enum errc prom_binary(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out);
enum errc prom_label_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v);
enum errc prom_hist_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v, const struct prom_vector *args);
double prom_quantile(double q, double *values, uint32_t n); // sorts them
// Functions over a window: PROM_HAS_…, and the value.
typedef int prom_range_fn(struct prom_eval *e, const struct prom_node *n, const struct prom_window *w, double *v,
                          struct prom_hist **h);
prom_range_fn *prom_range_function(enum prom_fn f); // null if it is none
prom_range_fn *prom_rate_function(enum prom_fn f);

static inline void kahan_add(double x, double *sum, double *c)
{
    double t = *sum + x;
    if (isinf(t))
        *c = 0;
    else if (fabs(*sum) >= fabs(x))
        *c += (*sum - t) + x;
    else
        *c += (x - t) + *sum;
    *sum = t;
}
// Sum and mean; the mean does not overflow where the sum does.
double prom_sum(const double *v, uint32_t n);
double prom_mean(const double *v, uint32_t n);

// ---- native histograms (hist.c); null or false: out of memory (see arena_failed) or they do not go together ---------------
struct prom_hist *prom_hist_decode(struct arena *a, struct slice bytes);
struct prom_hist *prom_hist_copy(struct arena *a, const struct prom_hist *h);
void prom_hist_scale(struct prom_hist *h, double f);
struct prom_hist *prom_hist_add(struct arena *a, const struct prom_hist *x, const struct prom_hist *y, double sign);
bool prom_hist_equal(const struct prom_hist *x, const struct prom_hist *y);
bool prom_hist_reset(struct arena *a, const struct prom_hist *now, const struct prom_hist *before);
