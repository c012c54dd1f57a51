// Statistics of small samples. Welch's test: B. L. Welch, Biometrika 34 (1947); the incomplete beta function by its continued
// fraction (Lentz).
#include "results/results_int.h"
#include <stdlib.h>

double stat_mean(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return n ? sum / (double)n : NAN;
}

static double variance(const double *v, size_t n)
{
    double mean = stat_mean(v, n), sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (v[i] - mean) * (v[i] - mean);
    return n > 1 ? sum / (double)(n - 1) : 0;
}

double stat_deviation(const double *v, size_t n)
{
    return n ? sqrt(variance(v, n)) : NAN;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

double stat_percentile(double *v, size_t n, double p)
{
    if (n == 0)
        return NAN;
    qsort(v, n, sizeof *v, ascending);
    double at = p / 100 * (double)(n - 1);
    size_t low = (size_t)at;
    return low + 1 < n ? v[low] + (v[low + 1] - v[low]) * (at - (double)low) : v[n - 1];
}

static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1), f;
    d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
    f = d;
    for (int m = 1; m <= 300; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int half = 0; half < 2; half++) {
            double t = half ? odd : even;
            d = 1 + t * d;
            c = 1 + t / c;
            d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
            c = fabs(c) < 1e-300 ? 1e-300 : c;
            f *= d * c;
            if (half && fabs(d * c - 1) < 1e-12)
                return f;
        }
    }
    return f;
}

// The regularized incomplete beta function.
static double beta(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double stat_welch(const double *a, size_t n, const double *b, size_t m)
{
    if (n < 2 || m < 2)
        return NAN;
    double va = variance(a, n) / (double)n, vb = variance(b, m) / (double)m, gap = stat_mean(a, n) - stat_mean(b, m);
    if (va + vb == 0)
        return gap == 0 ? 1 : 0;
    double t2 = gap * gap / (va + vb);
    double freedom = (va + vb) * (va + vb) / (va * va / (double)(n - 1) + vb * vb / (double)(m - 1));
    return beta(freedom / 2, 0.5, freedom / (freedom + t2));
}

double stat_proportions(double ok_a, double n_a, double ok_b, double n_b)
{
    if (n_a < 1 || n_b < 1)
        return NAN;
    double all = (ok_a + ok_b) / (n_a + n_b), spread = sqrt(all * (1 - all) * (1 / n_a + 1 / n_b));
    if (spread == 0)
        return 1;
    return erfc(fabs(ok_a / n_a - ok_b / n_b) / spread / sqrt(2));
}

// ---- requests worth showing -----------------------------------------------------------------------------------------
static bool before(const struct result_request *x, const struct result_request *y, bool by_time)
{
    return by_time ? x->start_ns < y->start_ns : x->latency > y->latency;
}

static void insert(struct result_request *list, uint32_t *n, const struct result_request *q, bool by_time)
{
    uint32_t at = *n;
    while (at > 0 && before(q, &list[at - 1], by_time))
        at--;
    if (at == RESULTS_SLOWEST)
        return;
    uint32_t move = (*n < RESULTS_SLOWEST ? *n : RESULTS_SLOWEST - 1) - at;
    memmove(&list[at + 1], &list[at], move * sizeof *list);
    list[at] = *q;
    *n += *n < RESULTS_SLOWEST;
}

void tally_add(struct tally *t, const struct result_request *q)
{
    if (q->error.n)
        insert(t->failed, &t->n_failed, q, true);
    else if (!isnan(q->latency))
        insert(t->slow, &t->n_slow, q, false);
}

enum errc tally_keep(struct arena *a, struct result *r, const struct tally *t)
{
    r->slow = ARENA_ARRAY(a, struct result_request, t->n_slow + 1);
    r->failed = ARENA_ARRAY(a, struct result_request, t->n_failed + 1);
    if (!r->slow || !r->failed)
        return ERR_NOMEM;
    memcpy(r->slow, t->slow, t->n_slow * sizeof *r->slow);
    memcpy(r->failed, t->failed, t->n_failed * sizeof *r->failed);
    r->n_slow = t->n_slow;
    r->n_failed = t->n_failed;
    return ERR_OK;
}
