// Vector aggregations, at each step over the series that have a value there.
#include "query/expr.h"
#include <math.h>
#include <stdlib.h>

struct group { // series.extra of the answer
    double *n, *mean, *m2;
};

static enum errc over_budget(struct error *err)
{
    return ERR(err, LIMIT, "the query needs more than its memory budget");
}

static void add(enum agg_fn fn, struct series *g, uint32_t k, double v)
{
    struct group *x = g->extra;
    double n = ++x->n[k];
    switch (fn) {
    case AGG_SUM:
    case AGG_AVG:
        g->v[k] = g->has[k] ? g->v[k] + v : v;
        break;
    case AGG_MIN:
        if (!g->has[k] || isnan(g->v[k]) || v < g->v[k])
            g->v[k] = v;
        break;
    case AGG_MAX:
        if (!g->has[k] || isnan(g->v[k]) || v > g->v[k])
            g->v[k] = v;
        break;
    case AGG_COUNT:
        g->v[k] = n;
        break;
    default: { // stddev, stdvar: Welford
        double d = v - x->mean[k];
        x->mean[k] += d / n;
        x->m2[k] += d * (v - x->mean[k]);
        g->v[k] = x->m2[k] / n;
    }
    }
    g->has[k] = 1;
}

static enum errc reduce(const struct expr_agg *e, const struct expr_env *env, const struct matrix *in, struct matrix *out,
                        struct error *err)
{
    for (uint32_t i = 0; i < in->n; i++) {
        const struct series *s = &in->s[i];
        struct label *l = arena_alloc(out->arena, sizeof *l * (s->n + 1u));
        bool added;
        struct series *g = l ? matrix_series(out, l, grouping_pick(&e->group, s->l, s->n, l), &added) : NULL;
        if (!g)
            return over_budget(err);
        if (added) {
            struct group *x = g->extra = ARENA_NEW(out->arena, struct group);
            if (!x || !(x->n = ARENA_ARRAY(out->arena, double, env->steps)) ||
                !(x->mean = ARENA_ARRAY(out->arena, double, env->steps)) ||
                !(x->m2 = ARENA_ARRAY(out->arena, double, env->steps)))
                return over_budget(err);
        }
        for (uint32_t k = 0; k < env->steps; k++)
            if (s->has[k])
                add(e->fn, g, k, s->v[k]);
    }
    for (uint32_t i = 0; i < out->n; i++) {
        struct series *g = &out->s[i];
        const double *n = ((struct group *)g->extra)->n;
        for (uint32_t k = 0; k < env->steps; k++) {
            if (e->fn == AGG_AVG)
                g->v[k] /= n[k] > 0 ? n[k] : 1;
            else if (e->fn == AGG_STDDEV)
                g->v[k] = sqrt(g->v[k]);
        }
    }
    return ERR_OK;
}

// ---- topk, bottomk: the series themselves, with the values of the steps where they are among the k ------------------

struct rank {
    double v;
    uint32_t series;
    uint64_t group;
    bool most;
};

static int by_rank(const void *x, const void *y)
{
    const struct rank *a = x, *b = y;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    bool na = isnan(a->v), nb = isnan(b->v);
    if (na || nb) // NaN last
        return na != nb ? (na ? 1 : -1) : (a->series > b->series) - (a->series < b->series);
    if (a->v != b->v)
        return (a->v > b->v) == a->most ? -1 : 1;
    return (a->series > b->series) - (a->series < b->series);
}

static enum errc top(const struct expr_agg *e, const struct expr_env *env, struct matrix *in, struct matrix *out,
                     struct error *err)
{
    struct rank *r = ARENA_ARRAY(out->arena, struct rank, in->n);
    uint64_t *group = ARENA_ARRAY(out->arena, uint64_t, in->n);
    if (!r || !group)
        return over_budget(err);
    matrix_finish(in); // ties go to the series that sorts first
    for (uint32_t i = 0; i < in->n; i++) {
        struct series *s = &in->s[i];
        struct label *l = arena_alloc(out->arena, sizeof *l * (s->n + 1u));
        if (!l)
            return over_budget(err);
        group[i] = labels_hash(l, grouping_pick(&e->group, s->l, s->n, l));
    }
    for (uint32_t k = 0; k < env->steps; k++) {
        uint32_t n = 0, taken = 0;
        for (uint32_t i = 0; i < in->n; i++)
            if (in->s[i].has[k])
                r[n++] = (struct rank){in->s[i].v[k], i, group[i], e->fn != AGG_BOTTOMK};
        qsort(r, n, sizeof *r, by_rank);
        for (uint32_t i = 0; i < n; i++) {
            taken = i && r[i].group == r[i - 1].group ? taken + 1 : 1;
            if (taken > e->param)
                in->s[r[i].series].has[k] = 0;
        }
        if ((k & 255) == 255)
            TRY(query_check(env->q, err));
    }
    *out = *in;
    matrix_finish(out);
    return ERR_OK;
}

static int ascending(const void *x, const void *y)
{
    const struct series *a = x, *b = y;
    bool na = isnan(a->v[0]), nb = isnan(b->v[0]);
    if (na || nb)
        return na - nb;
    if (a->v[0] != b->v[0])
        return a->v[0] < b->v[0] ? -1 : 1;
    return labels_cmp(a->l, a->n, b->l, b->n);
}

static int descending(const void *x, const void *y)
{
    const struct series *a = x, *b = y;
    bool na = isnan(a->v[0]), nb = isnan(b->v[0]);
    if (na || nb)
        return na - nb;
    if (a->v[0] != b->v[0])
        return a->v[0] > b->v[0] ? -1 : 1;
    return labels_cmp(a->l, a->n, b->l, b->n);
}

enum errc expr_eval_agg(const struct expr_agg *e, const struct expr_env *env, struct matrix *out, struct error *err)
{
    struct matrix in;
    if (e->fn == AGG_APPROX_TOPK && env->steps > 1)
        return ERR(err, INPUT, "approx_topk is only supported on instant queries; use topk");
    TRY(expr_eval(e->arg, env, &in, err));
    switch (e->fn) {
    case AGG_APPROX_TOPK:
    case AGG_TOPK:
    case AGG_BOTTOMK:
        return top(e, env, &in, out, err);
    case AGG_SORT:
    case AGG_SORT_DESC:
        matrix_finish(&in);
        *out = in;
        if (env->steps == 1 && out->n) { // a range answer has no order of its own
            qsort(out->s, out->n, sizeof *out->s, e->fn == AGG_SORT ? ascending : descending);
            out->ordered = true;
        }
        return ERR_OK;
    default:
        return reduce(e, env, &in, out, err);
    }
}
