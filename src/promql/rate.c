// Functions over windows that look at time too: rate and its like, deriv, predict_linear, smoothing.
#include "promql/eval_int.h"

#define FUNCTION(name) \
    static int name(struct prom_eval *e, const struct prom_node *n, const struct prom_window *w, double *v, struct prom_hist **h)

static const struct prom_node *argument(const struct prom_node *n)
{
    return n->arg[n->fn->id == FN_quantile_over_time ? 1 : 0];
}

// A counter's name ends in one of these; said where it does not.
static void check_counter(struct prom_eval *e, const struct prom_node *n)
{
    static const char *const ends[] = {"_total", "_sum", "_count", "_bucket"};
    const struct prom_node *a = argument(n);
    while (a->kind == PROM_PAREN)
        a = a->arg[0];
    if (a->kind != PROM_RANGE || !a->arg[0]->name.p)
        return;
    struct slice name = a->arg[0]->name;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t len = strlen(ends[i]);
        if (name.n >= len && memcmp(name.p + name.n - len, ends[i], len) == 0)
            return;
    }
    prom_warn(e, false, a, "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"%.*s\"",
              (int)slice_cut(name, 100).n, name.p);
}

// Last minus first; what a counter lost at its resets is added.
static double difference(const struct prom_window *w, bool counter)
{
    double sum = w->v[w->n - 1] - w->v[0];
    for (uint32_t i = 1; counter && i < w->n; i++)
        if (w->v[i] < w->v[i - 1])
            sum += w->v[i - 1];
    return sum;
}

static struct prom_hist *hist_difference(struct prom_eval *e, const struct prom_window *w, bool counter)
{
    struct prom_hist *sum = prom_hist_add(e->a, w->h[w->n_h - 1], w->h[0], -1);
    for (uint32_t i = 1; counter && sum && i < w->n_h; i++)
        if (prom_hist_reset(e->a, w->h[i], w->h[i - 1]))
            sum = prom_hist_add(e->a, sum, w->h[i - 1], 1);
    if (sum)
        sum->hint = HISTOGRAM_HINT_GAUGE;
    return sum;
}

// The samples do not reach the ends of the window. They are taken to go on to an end that is near (1.1 of their distance), else
// for half a distance; a counter not below 0.
static double extrapolation(const struct prom_window *w, int64_t first, int64_t last, uint32_t n, double start, double gain,
                            bool counter)
{
    double to_start = (double)(first - w->from) / 1000, to_end = (double)(w->to - last) / 1000;
    double sampled = (double)(last - first) / 1000, average = sampled / (n - 1), near = average * 1.1;
    if (to_start >= near)
        to_start = average / 2;
    if (counter && gain > 0 && start >= 0)
        to_start = fmin(to_start, sampled * (start / gain));
    if (to_end >= near)
        to_end = average / 2;
    return (sampled + to_start + to_end) / sampled;
}

static int extrapolated(struct prom_eval *e, const struct prom_node *n, const struct prom_window *w, bool counter,
                        bool per_second, double *v, struct prom_hist **h)
{
    double seconds = per_second ? (double)(w->to - w->from) / 1000 : 1;
    if (w->n && w->n_h) {
        prom_warn(e, true, argument(n), "encountered a mix of histograms and floats");
        return PROM_HAS_NONE;
    }
    if (w->n > 1) {
        *v = difference(w, counter);
        *v *= extrapolation(w, w->t[0], w->t[w->n - 1], w->n, w->v[0], *v, counter) / seconds;
        return PROM_HAS_FLOAT;
    }
    if (w->n_h < 2)
        return PROM_HAS_NONE;
    *h = hist_difference(e, w, counter);
    if (!*h) {
        prom_warn(e, true, argument(n), "the histograms of a window have different kinds of buckets");
        return PROM_HAS_NONE;
    }
    prom_hist_scale(*h, extrapolation(w, w->ht[0], w->ht[w->n_h - 1], w->n_h, w->h[0]->count, (*h)->count, counter) / seconds);
    return PROM_HAS_HIST;
}

FUNCTION(rate)
{
    if (w->n)
        check_counter(e, n);
    return extrapolated(e, n, w, true, true, v, h);
}
FUNCTION(increase)
{
    if (w->n)
        check_counter(e, n);
    return extrapolated(e, n, w, true, false, v, h);
}
FUNCTION(delta)
{
    return extrapolated(e, n, w, false, false, v, h);
}

static int last_two(struct prom_eval *e, const struct prom_window *w, bool rate, double *v, struct prom_hist **h)
{
    bool hist = w->n_h > 1 && w->n == 0;
    if (w->n < 2 && !hist)
        return PROM_HAS_NONE;
    int64_t ms = hist ? w->ht[w->n_h - 1] - w->ht[w->n_h - 2] : w->t[w->n - 1] - w->t[w->n - 2];
    if (ms == 0)
        return PROM_HAS_NONE;
    if (hist) {
        struct prom_hist *a = w->h[w->n_h - 2], *b = w->h[w->n_h - 1];
        *h = rate && prom_hist_reset(e->a, b, a) ? prom_hist_copy(e->a, b) : prom_hist_add(e->a, b, a, -1);
        if (!*h)
            return PROM_HAS_NONE;
        (*h)->hint = HISTOGRAM_HINT_GAUGE;
        if (rate)
            prom_hist_scale(*h, 1000 / (double)ms);
        return PROM_HAS_HIST;
    }
    double a = w->v[w->n - 2], b = w->v[w->n - 1];
    *v = rate && b < a ? b : b - a;
    if (rate)
        *v /= (double)ms / 1000;
    return PROM_HAS_FLOAT;
}
FUNCTION(irate)
{
    if (w->n)
        check_counter(e, n);
    return last_two(e, w, true, v, h);
}
FUNCTION(idelta)
{
    return last_two(e, w, false, v, h);
}

FUNCTION(resets)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < w->n; i++)
        count += w->v[i] < w->v[i - 1];
    for (uint32_t i = 1; i < w->n_h; i++)
        count += prom_hist_reset(e->a, w->h[i], w->h[i - 1]);
    *v = count;
    return PROM_HAS_FLOAT;
}

// Least squares through the samples; the intercept is the value at time `at`.
static double regression(const struct prom_window *w, int64_t at, double *intercept)
{
    double n = w->n, x = 0, y = 0, xy = 0, x2 = 0, cx = 0, cy = 0, cxy = 0, cx2 = 0;
    bool constant = true;
    for (uint32_t i = 0; i < w->n; i++) {
        double t = (double)(w->t[i] - at) / 1e3;
        constant = constant && w->v[i] == w->v[0];
        kahan_add(t, &x, &cx);
        kahan_add(w->v[i], &y, &cy);
        kahan_add(t * w->v[i], &xy, &cxy);
        kahan_add(t * t, &x2, &cx2);
    }
    if (constant) {
        *intercept = isinf(w->v[0]) ? NAN : w->v[0];
        return isinf(w->v[0]) ? NAN : 0;
    }
    x += cx, y += cy, xy += cxy, x2 += cx2;
    double slope = (xy - x * y / n) / (x2 - x * x / n);
    *intercept = y / n - slope * x / n;
    return slope;
}

FUNCTION(deriv)
{
    double intercept;
    if (w->n < 2)
        return PROM_HAS_NONE;
    *v = regression(w, w->t[0], &intercept);
    return PROM_HAS_FLOAT;
}
FUNCTION(predict_linear)
{
    double intercept;
    if (w->n < 2)
        return PROM_HAS_NONE;
    double slope = regression(w, w->now, &intercept);
    *v = slope * w->param[0] + intercept;
    return PROM_HAS_FLOAT;
}

FUNCTION(double_exponential_smoothing)
{
    double smooth = w->param[0], trend = w->param[1];
    if (w->n < 2)
        return PROM_HAS_NONE;
    double before = 0, level = w->v[0], slope = w->v[1] - w->v[0];
    for (uint32_t i = 1; i < w->n; i++) {
        if (i > 1)
            slope = trend * (level - before) + (1 - trend) * slope;
        double next = smooth * w->v[i] + (1 - smooth) * (level + slope);
        before = level;
        level = next;
    }
    *v = level;
    return PROM_HAS_FLOAT;
}

prom_range_fn *prom_rate_function(enum prom_fn f)
{
    switch (f) {
#define X(name)     \
    case FN_##name: \
        return name;
        X(rate)
        X(increase)
        X(delta)
        X(irate)
        X(idelta)
        X(resets)
        X(deriv)
        X(predict_linear)
        X(double_exponential_smoothing)
#undef X
    case FN_holt_winters:
        return double_exponential_smoothing;
    default:
        return NULL;
    }
}
