// Quantiles, fractions and moments of histograms, native and classic.
#include "promql/eval_int.h"
#include <stdlib.h>

// ---- native -----------------------------------------------------------------------------------------------------------

static uint32_t bucket_count(const struct prom_hist *h)
{
    return h->neg.n + h->pos.n + (h->zero_count != 0);
}

// The zero bucket of a histogram with one side has but one side; the open buckets of custom bounds have none.
static void close_bucket(const struct prom_hist *h, struct prom_bucket *b)
{
    if (h->schema != HISTOGRAM_CUSTOM) {
        if (b->lower < 0 && b->upper > 0) {
            b->lower = !h->neg.n && h->pos.n ? 0 : b->lower;
            b->upper = h->neg.n && !h->pos.n ? 0 : b->upper;
        }
    } else if (isinf(b->lower)) {
        b->lower = b->upper <= 0 ? b->upper : 0;
    } else if (isinf(b->upper)) {
        b->upper = b->lower;
    }
}

// What lies below the given part of the bucket: buckets grow exponentially, and so does what is in them.
static double inside(const struct prom_hist *h, const struct prom_bucket *b, double part)
{
    if (h->schema == HISTOGRAM_CUSTOM || (b->lower <= 0 && b->upper >= 0))
        return b->lower + (b->upper - b->lower) * part;
    double lower = log2(fabs(b->lower)), upper = log2(fabs(b->upper));
    return b->lower > 0 ? exp2(lower + (upper - lower) * part) : -exp2(upper + (lower - upper) * (1 - part));
}

static double hist_quantile(double q, const struct prom_hist *h)
{
    struct prom_bucket b = {0};
    uint32_t n = bucket_count(h);
    if (isnan(q) || h->count == 0)
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    bool forward = isnan(h->sum) || q < 0.5; // NaN were counted, but lie in no bucket
    double rank = (forward ? q : 1 - q) * h->count, count = 0;
    for (uint32_t i = 0; i < n; i++) {
        prom_hist_bucket(h, forward ? i : n - 1 - i, &b);
        count += b.count;
        if (count >= rank)
            break;
    }
    close_bucket(h, &b);
    if (count < rank)
        return isnan(h->sum) ? NAN : forward ? b.upper : b.lower;
    rank = forward ? rank - (count - b.count) : count - rank;
    return inside(h, &b, rank / b.count);
}

// How many observations are below x.
static double below(const struct prom_hist *h, double x)
{
    struct prom_bucket b;
    double count = 0;
    for (uint32_t i = 0; prom_hist_bucket(h, i, &b); i++) {
        close_bucket(h, &b);
        if (x >= b.upper) {
            count += b.count;
            continue;
        }
        if (x <= b.lower)
            break;
        double part;
        if (h->schema == HISTOGRAM_CUSTOM || (b.lower <= 0 && b.upper >= 0)) {
            part = (x - b.lower) / (b.upper - b.lower);
        } else {
            double lower = log2(fabs(b.lower)), upper = log2(fabs(b.upper)), at = log2(fabs(x));
            part = b.lower > 0 ? (at - lower) / (upper - lower) : 1 - (at - upper) / (lower - upper);
        }
        return count + b.count * part;
    }
    return count;
}

static double hist_fraction(double lower, double upper, const struct prom_hist *h)
{
    if (h->count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    return lower >= upper ? 0 : (below(h, upper) - below(h, lower)) / h->count;
}

static double hist_variance(const struct prom_hist *h)
{
    struct prom_bucket b;
    double mean = h->sum / h->count, sum = 0, c = 0;
    for (uint32_t i = 0; prom_hist_bucket(h, i, &b); i++) {
        double middle;
        if (h->schema == HISTOGRAM_CUSTOM) {
            close_bucket(h, &b);
            middle = (b.upper + b.lower) / 2;
        } else if (b.lower <= 0 && b.upper >= 0) {
            middle = 0;
        } else {
            middle = sqrt(b.upper * b.lower);
            middle = b.upper < 0 ? -middle : middle;
        }
        kahan_add(b.count * (middle - mean) * (middle - mean), &sum, &c);
    }
    return (sum + c) / h->count;
}

// ---- classic: one series a bucket, its upper bound in the label le ---------------------------------------------------------

struct le {
    double upper, count;
};

static int by_upper(const void *a, const void *b)
{
    const struct le *x = a, *y = b;
    return (x->upper > y->upper) - (x->upper < y->upper);
}

// Sorted, equal bounds as one, never falling. False when they are no histogram: fewer than two, or no +Inf.
static bool prepare(struct le *b, uint32_t *n, bool *forced)
{
    uint32_t k = 0;
    qsort(b, *n, sizeof *b, by_upper);
    if (*n == 0 || b[*n - 1].upper != INFINITY)
        return false;
    for (uint32_t i = 0; i < *n; i++) {
        if (k && b[k - 1].upper == b[i].upper)
            b[k - 1].count += b[i].count;
        else
            b[k++] = b[i];
    }
    *n = k;
    for (uint32_t i = 1; i < k; i++) {
        double before = b[i - 1].count;
        if (b[i].count < before && fabs(before - b[i].count) > 1e-12 * fmax(fabs(before), fabs(b[i].count)))
            *forced = true;
        if (b[i].count < before || fabs(b[i].count - before) <= 1e-12 * fmax(fabs(before), fabs(b[i].count)))
            b[i].count = before;
    }
    return k >= 2;
}

static double classic_quantile(double q, struct le *b, uint32_t n)
{
    double total = b[n - 1].count, rank = q * total, from = 0, before = 0;
    uint32_t i = 0;
    if (total == 0 || isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    while (i < n - 1 && !(b[i].count >= rank))
        i++;
    if (i == n - 1)
        return b[n - 2].upper;
    if (i == 0 && b[0].upper <= 0)
        return b[0].upper;
    if (i > 0) {
        from = b[i - 1].upper;
        before = b[i - 1].count;
    }
    return from + (b[i].upper - from) * ((rank - before) / (b[i].count - before));
}

static double classic_below(double x, const struct le *b, uint32_t n)
{
    double from = b[0].upper <= 0 ? -INFINITY : 0, before = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (x < b[i].upper) {
            if (x <= from)
                return before;
            return isinf(from) || isinf(b[i].upper) ? before : before + (b[i].count - before) * (x - from) / (b[i].upper - from);
        }
        from = b[i].upper;
        before = b[i].count;
    }
    return before;
}

static double classic_fraction(double lower, double upper, const struct le *b, uint32_t n)
{
    if (b[n - 1].count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    return lower >= upper ? 0 : (classic_below(upper, b, n) - classic_below(lower, b, n)) / b[n - 1].count;
}

// ---- the calls --------------------------------------------------------------------------------------------------------

// One output series, and the buckets that belong to it.
struct classic {
    uint32_t *member; // series of the input
    double *upper;
    uint32_t n, cap;
};

static bool add_member(struct prom_eval *e, struct classic *c, uint32_t series, double upper)
{
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 16;
        uint32_t *member = arena_grow(e->a, c->member, c->cap * sizeof *member, cap * sizeof *member);
        double *uppers = member ? arena_grow(e->a, c->upper, c->cap * sizeof *uppers, cap * sizeof *uppers) : NULL;
        if (!uppers)
            return false;
        c->member = member, c->upper = uppers, c->cap = cap;
    }
    c->member[c->n] = series;
    c->upper[c->n++] = upper;
    return true;
}

static enum errc classic_steps(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in,
                               const struct classic *c, const struct prom_vector *args, struct prom_series *out)
{
    struct le *b = arena_alloc(e->a, (c->n + 1) * sizeof *b);
    if (!b)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++) {
        uint32_t k = 0;
        bool forced = false;
        double x = args[0].s[0].v[t];
        for (uint32_t i = 0; i < c->n; i++)
            if (in->s[c->member[i]].has[t] == PROM_HAS_FLOAT)
                b[k++] = (struct le){c->upper[i], in->s[c->member[i]].v[t]};
        if (k == 0)
            continue;
        if (out->has[t]) {
            prom_warn(e, true, n, "a series has both classic and native histograms; none is taken");
            out->has[t] = PROM_HAS_NONE;
            continue;
        }
        bool fine = prepare(b, &k, &forced);
        if (n->fn->id == FN_histogram_fraction)
            prom_series_set(out, t, fine ? classic_fraction(x, args[1].s[0].v[t], b, k) : NAN);
        else
            prom_series_set(out, t,
                            fine       ? classic_quantile(x, b, k)
                            : isnan(x) ? NAN
                            : x < 0    ? -INFINITY
                            : x > 1    ? INFINITY
                                       : NAN);
        if (forced)
            prom_warn(e, false, n, "input to %s needed to be fixed for monotonicity", n->fn->name);
    }
    return ERR_OK;
}

static double native_value(enum prom_fn f, const struct prom_hist *h, double a, double b)
{
    switch (f) {
    case FN_histogram_avg:
        return h->sum / h->count;
    case FN_histogram_count:
        return h->count;
    case FN_histogram_sum:
        return h->sum;
    case FN_histogram_stddev:
        return sqrt(hist_variance(h));
    case FN_histogram_stdvar:
        return hist_variance(h);
    case FN_histogram_fraction:
        return hist_fraction(a, b, h);
    default:
        return hist_quantile(a, h);
    }
}

static bool read_le(struct slice s, double *out)
{
    return s.p && slice_to_f64(s, out) && !isnan(*out);
}

// Series of the answer, and which series of the input are their buckets.
static enum errc group(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in, struct prom_vector *out,
                       struct classic **groups, const struct prom_vector *args)
{
    const struct prom_names le = {(struct slice[]){SLICE("le")}, 1};
    uint32_t cap = 0;
    for (uint32_t i = 0; i < in->n; i++) {
        const struct prom_series *s = &in->s[i];
        double upper;
        bool bucket = read_le(prom_label(s->l, s->n, SLICE("le")), &upper), floats = false;
        for (uint32_t t = 0; t < e->steps && !floats; t++)
            floats = s->has[t] == PROM_HAS_FLOAT;
        if (floats && !bucket && !s->h) {
            prom_warn(e, true, n, "bucket label \"le\" is missing or has a malformed value of \"%.*s\"",
                      (int)slice_cut(prom_label(s->l, s->n, SLICE("le")), 60).n, prom_label(s->l, s->n, SLICE("le")).p);
            continue;
        }
        uint32_t n_labels;
        const struct prom_names none = {0};
        struct label *l = prom_labels_pick(e, s->l, s->n, floats && bucket ? &le : &none, true, &n_labels);
        struct prom_series *to = l ? prom_series_find_or_add(e, out, l, n_labels) : NULL;
        if (!to)
            return prom_no_memory(e);
        uint32_t number = (uint32_t)(to - out->s);
        if (number >= cap) {
            uint32_t more = cap ? cap * 2 : 16;
            struct classic *g = arena_zalloc_array(e->a, sizeof *g, more);
            if (!g)
                return prom_no_memory(e);
            if (cap)
                memcpy(g, *groups, cap * sizeof *g);
            *groups = g;
            cap = more;
        }
        if (bucket && floats && !add_member(e, &(*groups)[number], i, upper))
            return prom_no_memory(e);
        for (uint32_t t = 0; s->h && t < e->steps; t++) {
            double x = args[0].n ? args[0].s[0].v[t] : 0, y = args[1].n ? args[1].s[0].v[t] : 0;
            if (s->has[t] == PROM_HAS_HIST)
                prom_series_set(to, t, native_value(n->fn->id, s->h[t], x, y));
        }
    }
    return ERR_OK;
}

enum errc prom_hist_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v, const struct prom_vector *args)
{
    bool classic = n->fn->id == FN_histogram_quantile || n->fn->id == FN_histogram_fraction;
    struct prom_vector out = {0};
    struct classic *groups = NULL;
    for (uint32_t i = 0; !classic && i < v->n; i++) // these look at native ones alone
        for (uint32_t t = 0; t < e->steps; t++)
            if (v->s[i].has[t] == PROM_HAS_FLOAT)
                v->s[i].has[t] = PROM_HAS_NONE;
    if (n->fn->id == FN_histogram_quantile)
        for (uint32_t t = 0; t < e->steps; t++)
            if (!(args[0].s[0].v[t] >= 0 && args[0].s[0].v[t] <= 1))
                prom_warn(e, true, n->arg[0], "quantile value should be between 0 and 1, got %g", args[0].s[0].v[t]);
    TRY(group(e, n, v, &out, &groups, args));
    for (uint32_t i = 0; i < out.n; i++)
        if (groups[i].n)
            TRY(classic_steps(e, n, v, &groups[i], args, &out.s[i]));
    *v = out;
    prom_vector_trim(v, e->steps);
    return ERR_OK;
}
