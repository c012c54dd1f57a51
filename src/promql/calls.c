// Function calls: those over windows, those of one value, of time, and those that look at whole vectors.
#include "promql/eval_int.h"
#include <stdlib.h>
#include <time.h>

// ---- over windows -----------------------------------------------------------------------------------------------------

static bool after(const struct prom_eval *e, int64_t t, int64_t from)
{
    return e->r->closed_windows ? t >= from : t > from;
}

struct cursor {
    uint32_t from, to;
};
static void slide(const struct prom_eval *e, struct cursor *c, const int64_t *t, uint32_t n, int64_t from, int64_t to)
{
    while (c->to < n && t[c->to] <= to)
        c->to++;
    while (c->from < c->to && !after(e, t[c->from], from))
        c->from++;
}

static enum errc one_series(struct prom_eval *e, const struct prom_node *n, prom_range_fn *fn, const struct prom_ranges *r,
                            const struct prom_raw *raw, const struct prom_vector *params, struct prom_series *s)
{
    struct cursor floats = {0}, hists = {0};
    for (uint32_t step = 0; step < e->steps; step++) {
        struct prom_window w = {.now = prom_time(e, step)};
        struct prom_hist *h = NULL;
        double v = 0;
        w.to = prom_reference(e, r->modified, w.now);
        w.from = w.to - r->range;
        slide(e, &floats, raw->t, raw->n, w.from, w.to);
        slide(e, &hists, raw->ht, raw->n_h, w.from, w.to);
        w.n = floats.to - floats.from;
        w.n_h = hists.to - hists.from;
        if (!w.n && !w.n_h)
            continue;
        if (w.n)
            w.t = raw->t + floats.from, w.v = raw->v + floats.from;
        if (w.n_h)
            w.ht = raw->ht + hists.from, w.h = raw->h + hists.from;
        for (int p = 0; p < 2; p++)
            w.param[p] = params[p].n ? params[p].s[0].v[step] : NAN;
        int has = fn(e, n, &w, &v, &h);
        if (has == PROM_HAS_FLOAT)
            prom_series_set(s, step, v);
        else if (has == PROM_HAS_HIST && !prom_series_set_hist(e, s, step, h))
            return prom_no_memory(e);
    }
    return arena_failed(e->a) ? prom_no_memory(e) : ERR_OK;
}

static enum errc check_smoothing(struct prom_eval *e, const struct prom_vector *params)
{
    static const char *const names[] = {"smoothing", "trend"};
    for (int p = 0; p < 2; p++)
        for (uint32_t t = 0; t < e->steps; t++)
            if (!(params[p].s[0].v[t] > 0 && params[p].s[0].v[t] < 1))
                return ERR(e->err, INPUT, "invalid %s factor. Expected: 0 < factor < 1, got: %f", names[p], params[p].s[0].v[t]);
    return ERR_OK;
}

static enum errc over_range(struct prom_eval *e, const struct prom_node *n, prom_range_fn *fn, struct prom_vector *out)
{
    struct prom_vector params[2] = {0};
    struct prom_ranges r;
    uint32_t range_arg = n->fn->id == FN_quantile_over_time ? 1 : 0, k = 0;
    for (uint32_t i = 0; i < n->n_args; i++)
        if (i != range_arg)
            TRY(prom_eval_node(e, n->arg[i], &params[k++]));
    if (n->fn->id == FN_holt_winters || n->fn->id == FN_double_exponential_smoothing)
        TRY(check_smoothing(e, params));
    TRY(prom_eval_range(e, n->arg[range_arg], &r));
    for (uint32_t i = 0; i < r.n; i++) {
        struct prom_series *s = prom_series_add(e, out, r.raw[i].l, r.raw[i].n_labels);
        if (!s)
            return prom_no_memory(e);
        TRY(one_series(e, n, fn, &r, &r.raw[i], params, s));
        if ((i & 63) == 63)
            TRY(query_check(e->q, e->err));
    }
    TRY(prom_count(e, (uint64_t)out->n * e->steps));
    prom_vector_trim(out, e->steps);
    if (n->fn->id == FN_last_over_time || n->fn->id == FN_first_over_time)
        return ERR_OK;
    return prom_drop_names(e, out, true);
}

// ---- absent -----------------------------------------------------------------------------------------------------------

// What the selector's equations say about the labels of the series that is missing.
static struct label *absent_labels(struct prom_eval *e, const struct prom_node *n, uint32_t *out_n)
{
    struct label *l = arena_alloc(e->a, sizeof *l);
    uint32_t k = 0;
    *out_n = 0;
    while (n->kind == PROM_PAREN)
        n = n->arg[0];
    n = n->kind == PROM_RANGE ? n->arg[0] : n;
    if (n->kind != PROM_SELECTOR)
        return l;
    for (uint32_t i = 0; l && i < n->n_matchers; i++) {
        const struct matcher *m = &n->matchers[i];
        bool twice = false;
        for (uint32_t j = 0; j < n->n_matchers; j++)
            twice = twice || (j != i && slice_eq(n->matchers[j].name, m->name));
        if (m->op == MATCH_EQ && !twice && !slice_eq(m->name, SLICE("__name__")))
            l = prom_labels_set(e, l, k, m->name, m->value, &k);
    }
    *out_n = k;
    return l;
}

static enum errc put_absent(struct prom_eval *e, const struct prom_node *arg, const uint8_t *present, struct prom_vector *out)
{
    uint32_t n;
    struct label *l = absent_labels(e, arg, &n);
    struct prom_series *s = l ? prom_series_add(e, out, l, n) : NULL;
    if (!s)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++)
        if (!present[t])
            prom_series_set(s, t, 1);
    prom_vector_trim(out, e->steps);
    return ERR_OK;
}

static enum errc absent(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    uint8_t *present = arena_zalloc(e->a, e->steps);
    struct prom_vector v = {0};
    if (!present)
        return prom_no_memory(e);
    if (n->fn->id == FN_absent)
        TRY(prom_eval_node(e, n->arg[0], &v));
    else
        TRY(over_range(e, n, prom_range_function(FN_last_over_time), &v));
    for (uint32_t i = 0; i < v.n; i++)
        for (uint32_t t = 0; t < e->steps; t++)
            present[t] |= v.s[i].has[t];
    return put_absent(e, n->arg[0], present, out);
}

// ---- one value --------------------------------------------------------------------------------------------------------

static double sign_of(double v)
{
    return v < 0 ? -1 : v > 0 ? 1 : v;
}
static double degrees(double v)
{
    return v * 180 / M_PI;
}
static double radians(double v)
{
    return v * M_PI / 180;
}

static double (*float_function(enum prom_fn f))(double)
{
    switch (f) {
#define X(name, fn) \
    case FN_##name: \
        return fn;
        X(abs, fabs)
        X(acos, acos)
        X(acosh, acosh)
        X(asin, asin)
        X(asinh, asinh)
        X(atan, atan)
        X(atanh, atanh)
        X(ceil, ceil)
        X(cos, cos)
        X(cosh, cosh)
        X(deg, degrees)
        X(exp, exp)
        X(floor, floor)
        X(ln, log)
        X(log10, log10)
        X(log2, log2)
        X(rad, radians)
        X(sgn, sign_of)
        X(sin, sin)
        X(sinh, sinh)
        X(sqrt, sqrt)
        X(tan, tan)
        X(tanh, tanh)
#undef X
    default:
        return NULL;
    }
}

// Largest and smallest as NaN spreads, unlike fmax and fmin.
static double larger(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}
static double smaller(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}

static bool with_params(enum prom_fn f, double v, double a, double b, double *out)
{
    switch (f) {
    case FN_clamp:
        *out = larger(a, smaller(b, v));
        return !(b < a);
    case FN_clamp_min:
        *out = larger(a, v);
        return true;
    case FN_clamp_max:
        *out = smaller(a, v);
        return true;
    default: // round: a is what to round to
        *out = floor(v * (1 / a) + 0.5) / (1 / a);
        return true;
    }
}

static enum errc with_scalars(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    struct prom_vector a = {0}, b = {0};
    TRY(prom_eval_node(e, n->arg[0], v));
    if (n->n_args > 1)
        TRY(prom_eval_node(e, n->arg[1], &a));
    if (n->n_args > 2)
        TRY(prom_eval_node(e, n->arg[2], &b));
    prom_drop_hists(e, v);
    for (uint32_t i = 0; i < v->n; i++)
        for (uint32_t t = 0; t < e->steps; t++) {
            struct prom_series *s = &v->s[i];
            if (s->has[t] && !with_params(n->fn->id, s->v[t], a.n ? a.s[0].v[t] : 1, b.n ? b.s[0].v[t] : 0, &s->v[t]))
                s->has[t] = PROM_HAS_NONE;
        }
    prom_vector_trim(v, e->steps);
    return prom_drop_names(e, v, false);
}

static enum errc each_value(struct prom_eval *e, const struct prom_node *n, double (*fn)(double), struct prom_vector *v)
{
    TRY(prom_eval_node(e, n->arg[0], v));
    prom_drop_hists(e, v);
    for (uint32_t i = 0; i < v->n; i++)
        for (uint32_t t = 0; t < e->steps; t++)
            if (v->s[i].has[t])
                v->s[i].v[t] = fn(v->s[i].v[t]);
    prom_vector_trim(v, e->steps);
    return prom_drop_names(e, v, false);
}

// ---- dates ------------------------------------------------------------------------------------------------------------

static double of_date(enum prom_fn f, double v)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct tm d;
    time_t t = (time_t)v;
    if (!(v > -6e10 && v < 2e11) || !gmtime_r(&t, &d))
        return NAN;
    int year = d.tm_year + 1900;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    switch (f) {
    case FN_minute:
        return d.tm_min;
    case FN_hour:
        return d.tm_hour;
    case FN_day_of_month:
        return d.tm_mday;
    case FN_day_of_week:
        return d.tm_wday;
    case FN_day_of_year:
        return d.tm_yday + 1;
    case FN_month:
        return d.tm_mon + 1;
    case FN_year:
        return year;
    default:
        return days[d.tm_mon] + (leap && d.tm_mon == 1);
    }
}

static enum errc now(struct prom_eval *e, struct prom_vector *v)
{
    struct prom_series *s = prom_series_add(e, v, NULL, 0);
    if (!s)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++)
        prom_series_set(s, t, (double)prom_time(e, t) / 1000);
    return ERR_OK;
}

static enum errc date(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    if (n->n_args)
        TRY(prom_eval_node(e, n->arg[0], v));
    else
        TRY(now(e, v));
    prom_drop_hists(e, v);
    for (uint32_t i = 0; i < v->n; i++)
        for (uint32_t t = 0; t < e->steps; t++)
            if (v->s[i].has[t])
                v->s[i].v[t] = of_date(n->fn->id, v->s[i].v[t]);
    prom_vector_trim(v, e->steps);
    return prom_drop_names(e, v, false);
}

static enum errc timestamp(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    const struct prom_node *a = n->arg[0];
    while (a->kind == PROM_PAREN)
        a = a->arg[0];
    if (a->kind == PROM_SELECTOR) {
        TRY(prom_eval_selector(e, a, true, v));
        return prom_drop_names(e, v, false);
    }
    TRY(prom_eval_node(e, a, v));
    for (uint32_t i = 0; i < v->n; i++)
        for (uint32_t t = 0; t < e->steps; t++)
            if (v->s[i].has[t])
                prom_series_set(&v->s[i], t, (double)prom_time(e, t) / 1000);
    return prom_drop_names(e, v, false);
}

// ---- whole vectors ----------------------------------------------------------------------------------------------------

static enum errc to_scalar(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    struct prom_vector v = {0};
    TRY(prom_eval_node(e, n->arg[0], &v));
    struct prom_series *s = prom_series_add(e, out, NULL, 0);
    if (!s)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++) {
        uint32_t found = 0;
        double value = NAN;
        for (uint32_t i = 0; i < v.n; i++)
            if (v.s[i].has[t] == PROM_HAS_FLOAT && found++ == 0)
                value = v.s[i].v[t];
        prom_series_set(s, t, found == 1 ? value : NAN);
    }
    return ERR_OK;
}

static int values_up(const void *a, const void *b)
{
    double x = ((const struct prom_series *)a)->v[0], y = ((const struct prom_series *)b)->v[0];
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y); // NaN last
    return (x > y) - (x < y);
}
static int values_down(const void *a, const void *b)
{
    double x = ((const struct prom_series *)a)->v[0], y = ((const struct prom_series *)b)->v[0];
    return isnan(x) || isnan(y) ? isnan(x) - isnan(y) : (x < y) - (x > y);
}

// Texts with numbers in them in the order of the numbers: a2 before a10.
static int natural(struct slice a, struct slice b)
{
    size_t i = 0, j = 0;
    while (i < a.n && j < b.n) {
        unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[j];
        if (x >= '0' && x <= '9' && y >= '0' && y <= '9') {
            size_t m = i, k = j, n;
            while (m < a.n && a.p[m] == '0')
                m++;
            while (k < b.n && b.p[k] == '0')
                k++;
            for (n = 0;; n++) {
                bool p = m + n < a.n && a.p[m + n] >= '0' && a.p[m + n] <= '9',
                     q = k + n < b.n && b.p[k + n] >= '0' && b.p[k + n] <= '9';
                if (p != q)
                    return p ? 1 : -1;
                if (!p)
                    break;
            }
            int c = memcmp(a.p + m, b.p + k, n);
            if (c)
                return c;
            i = m + n, j = k + n;
        } else if (x != y) {
            return x < y ? -1 : 1;
        } else {
            i++, j++;
        }
    }
    return (a.n - i > b.n - j) - (a.n - i < b.n - j);
}

static int labels_up(const void *a, const void *b, void *arg)
{
    const struct prom_series *x = a, *y = b;
    const struct prom_node *n = arg;
    for (uint32_t i = 1; i < n->n_args; i++) {
        int c = natural(prom_label(x->l, x->n, n->arg[i]->text), prom_label(y->l, y->n, n->arg[i]->text));
        if (c)
            return c;
    }
    return labels_cmp(x->l, x->n, y->l, y->n);
}
static int labels_down(const void *a, const void *b, void *arg)
{
    return -labels_up(a, b, arg);
}

static enum errc sorted(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    TRY(prom_eval_node(e, n->arg[0], v));
    if (e->steps > 1 || v->n == 0) // a range has its own order
        return ERR_OK;
    bool by_label = n->fn->id == FN_sort_by_label || n->fn->id == FN_sort_by_label_desc;
    if (!by_label)
        prom_drop_hists(e, v);
    prom_vector_trim(v, e->steps);
    if (by_label)
        qsort_r(v->s, v->n, sizeof *v->s, n->fn->id == FN_sort_by_label ? labels_up : labels_down, (void *)n);
    else
        qsort(v->s, v->n, sizeof *v->s, n->fn->id == FN_sort ? values_up : values_down);
    v->ordered = true;
    return ERR_OK;
}

static enum errc histogram_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    struct prom_vector args[2] = {0};
    for (uint32_t i = 0; i + 1 < n->n_args; i++)
        TRY(prom_eval_node(e, n->arg[i], &args[i]));
    TRY(prom_eval_node(e, n->arg[n->n_args - 1], v));
    return prom_hist_call(e, n, v, args);
}

enum errc prom_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    prom_range_fn *over = prom_range_function(n->fn->id);
    double (*simple)(double) = float_function(n->fn->id);
    struct prom_series *s;
    if (over)
        return over_range(e, n, over, out);
    if (simple)
        return each_value(e, n, simple, out);
    switch (n->fn->id) {
    case FN_absent:
    case FN_absent_over_time:
        return absent(e, n, out);
    case FN_clamp:
    case FN_clamp_max:
    case FN_clamp_min:
    case FN_round:
        return with_scalars(e, n, out);
    case FN_time:
        return now(e, out);
    case FN_pi:
        s = prom_series_add(e, out, NULL, 0);
        for (uint32_t t = 0; s && t < e->steps; t++)
            prom_series_set(s, t, M_PI);
        return s ? ERR_OK : prom_no_memory(e);
    case FN_vector:
        return prom_eval_node(e, n->arg[0], out);
    case FN_scalar:
        return to_scalar(e, n, out);
    case FN_timestamp:
        return timestamp(e, n, out);
    case FN_sort:
    case FN_sort_desc:
    case FN_sort_by_label:
    case FN_sort_by_label_desc:
        return sorted(e, n, out);
    case FN_label_replace:
    case FN_label_join:
        TRY(prom_eval_node(e, n->arg[0], out));
        return prom_label_call(e, n, out);
    case FN_histogram_avg:
    case FN_histogram_count:
    case FN_histogram_fraction:
    case FN_histogram_quantile:
    case FN_histogram_stddev:
    case FN_histogram_stdvar:
    case FN_histogram_sum:
        return histogram_call(e, n, out);
    default:
        return date(e, n, out);
    }
}
