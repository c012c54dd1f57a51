// sum, avg, topk …: series into groups once, then step by step.
#include "promql/eval_int.h"
#include <stdlib.h>

struct groups {
    struct prom_vector v; // one series a group: the answer of most aggregations
    uint32_t *of;         // [input series] its group
    uint32_t *members;    // input series, group by group
    uint32_t *first;      // [group] where its members begin; one more at the end
};

static enum errc make_groups(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in, struct groups *g)
{
    *g = (struct groups){0};
    g->of = arena_alloc(e->a, (in->n + 1) * sizeof *g->of);
    g->members = arena_alloc(e->a, (in->n + 1) * sizeof *g->members);
    if (!g->of || !g->members)
        return prom_no_memory(e);
    for (uint32_t i = 0; i < in->n; i++) {
        uint32_t k;
        struct label *l = prom_labels_pick(e, in->s[i].l, in->s[i].n, &n->grouping, n->without, &k);
        struct prom_series *s = l ? prom_series_find_or_add(e, &g->v, l, k) : NULL;
        if (!s)
            return prom_no_memory(e);
        g->of[i] = (uint32_t)(s - g->v.s);
    }
    g->first = ARENA_ARRAY(e->a, uint32_t, g->v.n + 2);
    uint32_t *at = ARENA_ARRAY(e->a, uint32_t, g->v.n + 2);
    if (!g->first || !at)
        return prom_no_memory(e);
    for (uint32_t i = 0; i < in->n; i++)
        g->first[g->of[i] + 1]++;
    for (uint32_t k = 0; k < g->v.n; k++)
        g->first[k + 1] += g->first[k];
    memcpy(at, g->first, (g->v.n + 1) * sizeof *at);
    for (uint32_t i = 0; i < in->n; i++)
        g->members[at[g->of[i]]++] = i;
    return ERR_OK;
}

// ---- one number for a group -------------------------------------------------------------------------------------------

static double variance(const double *v, uint32_t n)
{
    double mean = 0, m2 = 0;
    for (uint32_t i = 0; i < n; i++) {
        double delta = v[i] - mean;
        mean += delta / (i + 1);
        m2 += delta * (v[i] - mean);
    }
    return m2 / n;
}

static double reduce(enum prom_agg agg, double *v, uint32_t n, double param)
{
    double best = v[0];
    switch (agg) {
    case PROM_AGG_SUM:
        return prom_sum(v, n);
    case PROM_AGG_AVG:
        return prom_mean(v, n);
    case PROM_AGG_MIN:
        for (uint32_t i = 1; i < n; i++)
            best = v[i] < best || isnan(best) ? v[i] : best;
        return best;
    case PROM_AGG_MAX:
        for (uint32_t i = 1; i < n; i++)
            best = v[i] > best || isnan(best) ? v[i] : best;
        return best;
    case PROM_AGG_STDDEV:
        return sqrt(variance(v, n));
    case PROM_AGG_STDVAR:
        return variance(v, n);
    default:
        return prom_quantile(param, v, n);
    }
}

static enum errc reduce_hists(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in,
                              const struct groups *g, uint32_t group, uint32_t t)
{
    struct prom_hist *sum = NULL;
    uint32_t count = 0;
    for (uint32_t m = g->first[group]; m < g->first[group + 1]; m++) {
        const struct prom_series *s = &in->s[g->members[m]];
        if (s->has[t] != PROM_HAS_HIST)
            continue;
        struct prom_hist *next = sum ? prom_hist_add(e->a, sum, s->h[t], 1) : s->h[t];
        if (!next && arena_failed(e->a))
            return prom_no_memory(e);
        if (!next) {
            prom_warn(e, true, n, "histograms of different kinds of buckets cannot be added");
            return ERR_OK;
        }
        sum = next;
        count++;
    }
    if (sum && n->agg == PROM_AGG_AVG) {
        sum = prom_hist_copy(e->a, sum);
        if (!sum)
            return prom_no_memory(e);
        prom_hist_scale(sum, 1.0 / count);
    }
    return !sum || prom_series_set_hist(e, &g->v.s[group], t, sum) ? ERR_OK : prom_no_memory(e);
}

static enum errc group_step(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in, const struct groups *g,
                            uint32_t group, uint32_t t, double param, double *values)
{
    uint32_t floats = 0, hists = 0;
    for (uint32_t m = g->first[group]; m < g->first[group + 1]; m++) {
        const struct prom_series *s = &in->s[g->members[m]];
        hists += s->has[t] == PROM_HAS_HIST;
        if (s->has[t] == PROM_HAS_FLOAT)
            values[floats++] = s->v[t];
    }
    if (n->agg == PROM_AGG_COUNT || n->agg == PROM_AGG_GROUP) {
        if (floats + hists)
            prom_series_set(&g->v.s[group], t, n->agg == PROM_AGG_COUNT ? floats + hists : 1);
        return ERR_OK;
    }
    if (hists && (n->agg == PROM_AGG_SUM || n->agg == PROM_AGG_AVG)) {
        if (!floats)
            return reduce_hists(e, n, in, g, group, t);
        prom_warn(e, true, n->arg[0], "encountered a mix of histograms and floats for aggregation");
        return ERR_OK;
    }
    if (hists)
        prom_warn(e, false, n->arg[0], "ignored histogram in %s aggregation", prom_aggs[n->agg].text);
    if (floats)
        prom_series_set(&g->v.s[group], t, reduce(n->agg, values, floats, param));
    return ERR_OK;
}

static enum errc one_each(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in,
                          const struct prom_vector *param, struct groups *g, struct prom_vector *out)
{
    double *values = arena_alloc(e->a, (in->n + 1) * sizeof *values);
    if (!values)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++) {
        double p = param->n ? param->s[0].v[t] : 0;
        if (n->agg == PROM_AGG_QUANTILE && !(p >= 0 && p <= 1) && in->n)
            prom_warn(e, true, n->arg[1], "quantile value should be between 0 and 1, got %g", p);
        for (uint32_t k = 0; k < g->v.n; k++)
            TRY(group_step(e, n, in, g, k, t, p, values));
    }
    *out = g->v;
    prom_vector_trim(out, e->steps);
    return ERR_OK;
}

// ---- some of the series themselves --------------------------------------------------------------------------------------

struct ranked {
    double v;
    uint32_t series;
};
static int largest_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (isnan(x->v) || isnan(y->v)) { // NaN last
        if (isnan(x->v) != isnan(y->v))
            return isnan(x->v) - isnan(y->v);
    } else if (x->v != y->v) {
        return x->v < y->v ? 1 : -1;
    }
    return (x->series > y->series) - (x->series < y->series);
}
static int smallest_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (isnan(x->v) || isnan(y->v) || x->v == y->v)
        return largest_first(a, b);
    return x->v > y->v ? 1 : -1;
}

static bool chosen_by_ratio(const struct prom_series *s, double ratio)
{
    double at = (double)s->hash / 0x1p64;
    return ratio >= 0 ? at < ratio : at >= 1 + ratio;
}

// How many of k may stay; false when there is no such number.
static enum errc how_many(struct prom_eval *e, const struct prom_node *n, double k, uint32_t *out)
{
    *out = 0;
    if (n->agg == PROM_AGG_LIMIT_RATIO) {
        if (isnan(k))
            return ERR(e->err, INPUT, "Ratio value NaN is NaN");
        if (fabs(k) > 1)
            prom_warn(e, true, n->arg[1], "ratio value should be between -1 and 1, got %g", k);
        return ERR_OK;
    }
    if (!(k > -0x1p63 && k < 0x1p63))
        return ERR(e->err, INPUT, "Scalar value %g overflows int64", k);
    *out = k < 1 ? 0 : k > UINT32_MAX ? UINT32_MAX : (uint32_t)k;
    return ERR_OK;
}

static void choose(const struct prom_node *n, const struct prom_vector *in, const struct groups *g, uint32_t group, uint32_t t,
                   uint32_t most, double ratio, struct ranked *all, uint8_t *keep, uint32_t *order, uint32_t *n_order)
{
    uint32_t k = 0;
    bool rank = n->agg == PROM_AGG_TOPK || n->agg == PROM_AGG_BOTTOMK;
    for (uint32_t m = g->first[group]; m < g->first[group + 1]; m++) {
        const struct prom_series *s = &in->s[g->members[m]];
        bool fits = rank ? s->has[t] == PROM_HAS_FLOAT : s->has[t] != PROM_HAS_NONE;
        if (fits && (n->agg != PROM_AGG_LIMIT_RATIO || chosen_by_ratio(s, ratio)))
            all[k++] = (struct ranked){s->v[t], g->members[m]};
    }
    if (rank && k)
        qsort(all, k, sizeof *all, n->agg == PROM_AGG_TOPK ? largest_first : smallest_first);
    if (n->agg != PROM_AGG_LIMIT_RATIO && k > most)
        k = most;
    for (uint32_t i = 0; i < k; i++) {
        keep[all[i].series] = 1;
        order[(*n_order)++] = all[i].series;
    }
}

static enum errc some(struct prom_eval *e, const struct prom_node *n, struct prom_vector *in, const struct prom_vector *param,
                      struct groups *g, struct prom_vector *out)
{
    struct ranked *all = arena_alloc(e->a, (in->n + 1) * sizeof *all);
    uint8_t *keep = arena_alloc(e->a, in->n + 1);
    uint32_t *order = arena_alloc(e->a, (in->n + 1) * sizeof *order), n_order = 0;
    if (!all || !keep || !order)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++) {
        uint32_t most;
        TRY(how_many(e, n, param->s[0].v[t], &most));
        memset(keep, 0, in->n + 1);
        n_order = 0;
        for (uint32_t k = 0; k < g->v.n; k++)
            choose(n, in, g, k, t, most, param->s[0].v[t], all, keep, order, &n_order);
        for (uint32_t i = 0; i < in->n; i++)
            if (!keep[i])
                in->s[i].has[t] = PROM_HAS_NONE;
    }
    *out = *in;
    if (e->steps == 1) { // the order of ranks is part of an instant answer
        struct prom_series *s = arena_alloc(e->a, (n_order + 1) * sizeof *s);
        if (!s)
            return prom_no_memory(e);
        for (uint32_t i = 0; i < n_order; i++)
            s[i] = in->s[order[i]];
        *out = (struct prom_vector){.s = s, .n = n_order, .cap = n_order + 1, .ordered = true};
    }
    prom_vector_trim(out, e->steps);
    return ERR_OK;
}

// ---- count_values -----------------------------------------------------------------------------------------------------

static enum errc count_values(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *in,
                              struct prom_vector *out)
{
    const struct prom_node *label = n->arg[1];
    char text[400];
    while (label->kind == PROM_PAREN)
        label = label->arg[0];
    if (!label->text.n)
        return ERR(e->err, INPUT, "invalid label name \"\" in count_values()");
    for (uint32_t i = 0; i < in->n; i++) {
        uint32_t k, more;
        struct label *l = prom_labels_pick(e, in->s[i].l, in->s[i].n, &n->grouping, n->without, &k);
        for (uint32_t t = 0; l && t < e->steps; t++) {
            struct buf b = {.p = text, .cap = sizeof text, .max = sizeof text};
            if (in->s[i].has[t] != PROM_HAS_FLOAT)
                continue;
            prom_float_f(&b, in->s[i].v[t]);
            struct label *with = prom_labels_set(e, l, k, label->text, arena_dup(e->a, buf_slice(&b)), &more);
            struct prom_series *s = with ? prom_series_find_or_add(e, out, with, more) : NULL;
            if (!s)
                return prom_no_memory(e);
            prom_series_set(s, t, s->has[t] ? s->v[t] + 1 : 1);
        }
        if (!l)
            return prom_no_memory(e);
    }
    prom_vector_trim(out, e->steps);
    return ERR_OK;
}

enum errc prom_aggregate(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    struct prom_vector in = {0}, param = {0};
    struct groups g;
    TRY(prom_eval_node(e, n->arg[0], &in));
    if (n->agg == PROM_AGG_COUNT_VALUES)
        return count_values(e, n, &in, out);
    if (n->n_args == 2)
        TRY(prom_eval_node(e, n->arg[1], &param));
    TRY(make_groups(e, n, &in, &g));
    switch (n->agg) {
    case PROM_AGG_TOPK:
    case PROM_AGG_BOTTOMK:
    case PROM_AGG_LIMITK:
    case PROM_AGG_LIMIT_RATIO:
        return some(e, n, &in, &param, &g, out);
    default:
        return one_each(e, n, &in, &param, &g, out);
    }
}
