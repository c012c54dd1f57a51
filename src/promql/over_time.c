// Functions over windows that look at values alone: *_over_time, changes, absent is elsewhere (calls.c).
#include "promql/eval_int.h"
#include <stdlib.h>

double prom_sum(const double *v, uint32_t n)
{
    double sum = 0, c = 0;
    for (uint32_t i = 0; i < n; i++)
        kahan_add(v[i], &sum, &c);
    return isinf(sum) ? sum : sum + c;
}

double prom_mean(const double *v, uint32_t n)
{
    double sum = 0, c = 0, mean;
    uint32_t i = 0;
    for (; i < n; i++) {
        double was = sum, was_c = c;
        kahan_add(v[i], &sum, &c);
        if (isinf(sum) && !isinf(v[i]) && !isinf(was)) { // the sum is too large: on with the mean
            mean = was / i;
            c = was_c / i;
            break;
        }
    }
    if (i == n)
        return isinf(sum) ? sum / n : (sum + c) / n;
    for (; i < n; i++) {
        double part = (double)i / (i + 1);
        if (isinf(mean) && (isinf(v[i]) ? (mean > 0) == (v[i] > 0) : !isnan(v[i])))
            continue;
        c *= part;
        mean *= part;
        kahan_add(v[i] / (i + 1), &mean, &c);
    }
    return isinf(mean) ? mean : mean + c;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    if (isnan(x) || isnan(y))
        return isnan(y) - isnan(x); // NaN first
    return (x > y) - (x < y);
}

double prom_quantile(double q, double *values, uint32_t n)
{
    if (n == 0 || isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    qsort(values, n, sizeof *values, by_value);
    double rank = q * (n - 1), lower = fmax(0, floor(rank)), upper = fmin(n - 1, lower + 1), weight = rank - floor(rank);
    return values[(uint32_t)lower] * (1 - weight) + values[(uint32_t)upper] * weight;
}

// Both moments about the mean.
static double variance(const double *v, uint32_t n)
{
    double count = 0, mean = 0, c_mean = 0, aux = 0, c_aux = 0;
    for (uint32_t i = 0; i < n; i++) {
        count++;
        double delta = v[i] - (mean + c_mean);
        kahan_add(delta / count, &mean, &c_mean);
        kahan_add(delta * (v[i] - (mean + c_mean)), &aux, &c_aux);
    }
    return (aux + c_aux) / count;
}

static int mixed(struct prom_eval *e, const struct prom_node *n, const struct prom_window *w)
{
    if (w->n && w->n_h)
        prom_warn(e, true, n->arg[0], "encountered a mix of histograms and floats");
    return w->n && w->n_h;
}

// The window's values in a place that may be sorted: one for all windows, as large as the largest.
static double *scratch(struct prom_eval *e, const struct prom_window *w)
{
    struct prom_scratch *s = e->scratch;
    if (w->n > s->cap) {
        double *p = arena_alloc(e->a, 2 * (size_t)w->n * sizeof *p);
        if (!p)
            return NULL;
        *s = (struct prom_scratch){p, 2 * w->n};
    }
    memcpy(s->p, w->v, w->n * sizeof *s->p);
    return s->p;
}

#define FUNCTION(name) \
    static int name(struct prom_eval *e, const struct prom_node *n, const struct prom_window *w, double *v, struct prom_hist **h)

FUNCTION(sum_over_time)
{
    if (mixed(e, n, w))
        return PROM_HAS_NONE;
    if (w->n) {
        *v = prom_sum(w->v, w->n);
        return PROM_HAS_FLOAT;
    }
    *h = w->h[0];
    for (uint32_t i = 1; i < w->n_h && *h; i++)
        *h = prom_hist_add(e->a, *h, w->h[i], 1);
    return *h ? PROM_HAS_HIST : PROM_HAS_NONE;
}

FUNCTION(avg_over_time)
{
    if (w->n && !w->n_h) {
        *v = prom_mean(w->v, w->n);
        return PROM_HAS_FLOAT;
    }
    int has = sum_over_time(e, n, w, v, h);
    if (has == PROM_HAS_HIST && (*h = prom_hist_copy(e->a, *h)))
        prom_hist_scale(*h, 1.0 / w->n_h);
    return *h ? has : PROM_HAS_NONE;
}

FUNCTION(count_over_time)
{
    *v = w->n + w->n_h;
    return PROM_HAS_FLOAT;
}
FUNCTION(present_over_time)
{
    *v = 1;
    return PROM_HAS_FLOAT;
}

static int some_floats(const struct prom_window *w)
{
    return w->n ? PROM_HAS_FLOAT : PROM_HAS_NONE;
}

FUNCTION(max_over_time)
{
    for (uint32_t i = 0; i < w->n; i++)
        *v = i == 0 || w->v[i] > *v || isnan(*v) ? w->v[i] : *v;
    return some_floats(w);
}
FUNCTION(min_over_time)
{
    for (uint32_t i = 0; i < w->n; i++)
        *v = i == 0 || w->v[i] < *v || isnan(*v) ? w->v[i] : *v;
    return some_floats(w);
}
FUNCTION(ts_of_max_over_time)
{
    double m = 0;
    for (uint32_t i = 0; i < w->n; i++)
        if (i == 0 || w->v[i] >= m || isnan(m)) {
            m = w->v[i];
            *v = (double)w->t[i] / 1000;
        }
    return some_floats(w);
}
FUNCTION(ts_of_min_over_time)
{
    double m = 0;
    for (uint32_t i = 0; i < w->n; i++)
        if (i == 0 || w->v[i] <= m || isnan(m)) {
            m = w->v[i];
            *v = (double)w->t[i] / 1000;
        }
    return some_floats(w);
}

static bool last_is_hist(const struct prom_window *w)
{
    return w->n_h && (!w->n || w->ht[w->n_h - 1] > w->t[w->n - 1]);
}
static bool first_is_hist(const struct prom_window *w)
{
    return w->n_h && (!w->n || w->ht[0] < w->t[0]);
}
FUNCTION(last_over_time)
{
    if (last_is_hist(w)) {
        *h = w->h[w->n_h - 1];
        return PROM_HAS_HIST;
    }
    *v = w->v[w->n - 1];
    return PROM_HAS_FLOAT;
}
FUNCTION(first_over_time)
{
    if (first_is_hist(w)) {
        *h = w->h[0];
        return PROM_HAS_HIST;
    }
    *v = w->v[0];
    return PROM_HAS_FLOAT;
}
FUNCTION(ts_of_last_over_time)
{
    *v = (double)(last_is_hist(w) ? w->ht[w->n_h - 1] : w->t[w->n - 1]) / 1000;
    return PROM_HAS_FLOAT;
}
FUNCTION(ts_of_first_over_time)
{
    *v = (double)(first_is_hist(w) ? w->ht[0] : w->t[0]) / 1000;
    return PROM_HAS_FLOAT;
}

FUNCTION(stdvar_over_time)
{
    if (w->n)
        *v = variance(w->v, w->n);
    return some_floats(w);
}
FUNCTION(stddev_over_time)
{
    if (w->n)
        *v = sqrt(variance(w->v, w->n));
    return some_floats(w);
}

FUNCTION(quantile_over_time)
{
    double *copy = w->n ? scratch(e, w) : NULL, q = w->param[0];
    if (!copy)
        return PROM_HAS_NONE;
    if (!(q >= 0 && q <= 1))
        prom_warn(e, true, n->arg[0], "quantile value should be between 0 and 1, got %g", q);
    *v = prom_quantile(q, copy, w->n);
    return PROM_HAS_FLOAT;
}
FUNCTION(mad_over_time)
{
    double *copy = w->n ? scratch(e, w) : NULL;
    if (!copy)
        return PROM_HAS_NONE;
    double median = prom_quantile(0.5, copy, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        copy[i] = fabs(copy[i] - median);
    *v = prom_quantile(0.5, copy, w->n);
    return PROM_HAS_FLOAT;
}

FUNCTION(changes)
{
    uint32_t count = 0, i = 1, k = 1;
    for (; i < w->n; i++)
        count += w->v[i] != w->v[i - 1] && !(isnan(w->v[i]) && isnan(w->v[i - 1]));
    for (; k < w->n_h; k++)
        count += !prom_hist_equal(w->h[k], w->h[k - 1]);
    *v = count + (w->n && w->n_h);
    return PROM_HAS_FLOAT;
}

prom_range_fn *prom_range_function(enum prom_fn f)
{
    switch (f) {
#define X(name)     \
    case FN_##name: \
        return name;
        X(sum_over_time)
        X(avg_over_time)
        X(count_over_time)
        X(present_over_time)
        X(max_over_time)
        X(min_over_time)
        X(ts_of_max_over_time)
        X(ts_of_min_over_time)
        X(last_over_time)
        X(first_over_time)
        X(ts_of_last_over_time)
        X(ts_of_first_over_time)
        X(stdvar_over_time)
        X(stddev_over_time)
        X(quantile_over_time)
        X(mad_over_time)
        X(changes)
#undef X
    default:
        return prom_rate_function(f);
    }
}
