// Range aggregations. A window at step T covers (T - range - offset, T - offset]. Counts and bytes are added up in
// place: each row adds itself to the steps whose windows hold it, as a difference array, so that the cost of a row does
// not depend on how far windows overlap. Unwrapped values are collected per series and sorted, then each window is
// looked at.
#include "query/expr.h"
#include "query/rows.h"
#include <math.h>
#include <stdlib.h>

struct sample {
    int64_t time;
    uint64_t seq;
    double v;
};

struct acc {                // series.extra
    double *count;          // difference array of rows
    struct sample *samples; // unwrap
    uint32_t n, cap;
};

struct ranger {
    const struct expr_range *e;
    const struct expr_env *env;
    struct matrix *m;
    struct error *err;
    int64_t start;         // first step minus offset
    double *present;       // absent_over_time: difference array
    uint32_t *by_resource; // series number + 1 for plain rows of the current batch
    uint32_t n_resources;
    uint64_t batch;
    uint64_t work; // samples looked at since the last query_check
};
enum { CHECK_WORK = 1 << 20 };

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b > 0);
}

// Steps whose window holds t: [lo, hi); false if none.
static bool window(const struct ranger *g, int64_t t, uint32_t *lo, uint32_t *hi)
{
    int64_t step = g->env->step > 0 ? g->env->step : 1;
    int64_t a = ceil_div(t - g->start, step), b = ceil_div(t + g->e->range - g->start, step);
    if (a < 0)
        a = 0;
    if (b > g->env->steps)
        b = g->env->steps;
    *lo = (uint32_t)a;
    *hi = b > 0 ? (uint32_t)b : 0;
    return a < b;
}

static void spread(double *d, uint32_t lo, uint32_t hi, double v, uint32_t steps)
{
    d[lo] += v;
    if (hi < steps)
        d[hi] -= v;
}

// The labels that make a row's series.
static uint32_t series_labels(const struct ranger *g, const struct row *w, struct label *out)
{
    uint32_t n;
    struct row_label *l = row_labels(w, w->scratch, &n);
    const struct grouping *by = g->e->group.given ? &g->e->group : g->e->projected ? &g->e->project : NULL;
    uint32_t k = 0;
    if (!l)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        if (slice_eq(l[i].name, LABEL_PRESERVE) || slice_eq(l[i].name, LABEL_ERROR_DETAILS))
            continue;
        if (g->e->unwrap && slice_eq(l[i].name, g->e->unwrap_label))
            continue;
        if (by && (!by->given || grouping_has(by, l[i].name) == by->without))
            continue;
        if (by && !l[i].value.n)
            continue;
        out[k++] = (struct label){l[i].name, l[i].value};
    }
    return k;
}

static struct series *series_of(struct ranger *g, const struct rows *r)
{
    if (g->batch != r->batches) {
        g->batch = r->batches;
        if (r->batch->n_resources > g->n_resources) {
            free(g->by_resource);
            g->n_resources = r->batch->n_resources;
            g->by_resource = malloc(g->n_resources * sizeof *g->by_resource);
        }
        if (!g->by_resource) {
            g->n_resources = 0;
            return NULL;
        }
        memset(g->by_resource, 0, g->n_resources * sizeof *g->by_resource);
    }
    if (r->plain && g->by_resource[r->resource])
        return &g->m->s[g->by_resource[r->resource] - 1];
    struct label room[MAX_ROW_LABELS + 2];
    uint32_t n = series_labels(g, &r->row, room);
    bool added;
    struct series *s = matrix_series(g->m, room, n, &added);
    if (!s)
        return NULL;
    if (added) {
        struct acc *a = s->extra = ARENA_NEW(g->m->arena, struct acc);
        if (a && !g->e->unwrap)
            a->count = ARENA_ARRAY(g->m->arena, double, g->env->steps);
        if (!a || (!g->e->unwrap && !a->count))
            return NULL;
    }
    if (r->plain)
        g->by_resource[r->resource] = (uint32_t)(s - g->m->s) + 1;
    return s;
}

static enum errc row_error(const struct ranger *g, const struct row *w)
{
    if (!w->error.n || w->preserve_error)
        return ERR_OK;
    bool parser = slice_eq(w->error, SLICE("JSONParserErr")) || slice_eq(w->error, SLICE("LogfmtParserErr"));
    if (parser && g->e->count_parser_errors)
        return ERR_OK;
    return ERR(g->err, INPUT,
               "pipeline error: %.*s (%.*s) in line \"%.*s\": filter such lines with | __error__=\"\", or drop the label with | "
               "drop __error__",
               (int)w->error.n, w->error.p, (int)(w->error_details.n < 100 ? w->error_details.n : 100), w->error_details.p,
               (int)(w->line.n < 100 ? w->line.n : 100), w->line.p);
}

static enum errc over_budget(const struct ranger *g)
{
    return ERR(g->err, LIMIT,
               "more series or samples than the query's memory budget holds: narrow the selector or group by fewer labels");
}

static enum errc add_row(struct ranger *g, const struct rows *r)
{
    uint32_t lo, hi;
    const struct row *w = &r->row;
    TRY(row_error(g, w));
    if (!window(g, w->time, &lo, &hi))
        return ERR_OK;
    if (g->present) {
        spread(g->present, lo, hi, 1, g->env->steps);
        return ERR_OK;
    }
    struct series *s = series_of(g, r);
    if (!s)
        return over_budget(g);
    struct acc *a = s->extra;
    if (!g->e->unwrap) {
        spread(a->count, lo, hi, 1, g->env->steps);
        if (g->e->fn == RANGE_BYTES || g->e->fn == RANGE_BYTES_RATE)
            spread(s->v, lo, hi, (double)w->line.n, g->env->steps);
        return ERR_OK;
    }
    if (a->n == a->cap) {
        uint32_t cap = a->cap ? a->cap * 2 : 16;
        a->samples = arena_grow(g->m->arena, a->samples, a->cap * sizeof *a->samples, cap * sizeof *a->samples);
        if (!a->samples)
            return over_budget(g);
        a->cap = cap;
    }
    a->samples[a->n++] = (struct sample){w->time, r->seq, w->value};
    return ERR_OK;
}

static void finish_counts(const struct ranger *g, struct series *s)
{
    const struct acc *a = s->extra;
    double seconds = (double)g->e->range / 1e9, rows = 0, bytes = 0;
    for (uint32_t k = 0; k < g->env->steps; k++) {
        rows += a->count[k];
        bytes += s->v[k];
        s->has[k] = rows > 0.5;
        switch (g->e->fn) {
        case RANGE_COUNT:
            s->v[k] = rows;
            break;
        case RANGE_RATE:
            s->v[k] = rows / seconds;
            break;
        case RANGE_BYTES:
            s->v[k] = bytes;
            break;
        default:
            s->v[k] = bytes / seconds;
        }
    }
}

static int by_time(const void *x, const void *y)
{
    const struct sample *a = x, *b = y;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

// Puts the k-th smallest value in its place, smaller ones before it (Hoare's selection). No NaN among them.
static void select_kth(double *v, uint32_t n, uint32_t k)
{
    int64_t lo = 0, hi = (int64_t)n - 1;
    while (lo < hi) {
        double pivot = v[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i > j)
                break;
            double x = v[i];
            v[i++] = v[j];
            v[j--] = x;
        }
        if ((int64_t)k <= j)
            hi = j;
        else if ((int64_t)k >= i)
            lo = i;
        else
            return;
    }
}

static double quantile(const struct sample *w, uint32_t n, double q, double *room)
{
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        room[i] = w[i].v;
        if (isnan(room[i]))
            room[i] = -INFINITY; // below all others
    }
    double rank = q * (double)(n - 1);
    uint32_t lo = (uint32_t)rank;
    double weight = rank - floor(rank);
    select_kth(room, n, lo);
    if (weight == 0 || lo + 1 == n)
        return room[lo];
    double next = room[lo + 1];
    for (uint32_t i = lo + 2; i < n; i++)
        if (room[i] < next)
            next = room[i];
    return room[lo] * (1 - weight) + next * weight;
}

static double variance(const struct sample *w, uint32_t n)
{
    double mean = 0, m2 = 0;
    for (uint32_t i = 0; i < n; i++) {
        double d = w[i].v - mean;
        mean += d / (double)(i + 1);
        m2 += d * (w[i].v - mean);
    }
    return m2 / (double)n;
}

// Prometheus's rate of a counter: resets added, extrapolated to the window's edges, but not beyond half an average
// gap when the edge is far, and not below zero.
static double counter_rate(const struct ranger *g, const struct sample *w, uint32_t n, int64_t to)
{
    if (n < 2)
        return 0;
    double rise = w[n - 1].v - w[0].v;
    for (uint32_t i = 1; i < n; i++)
        if (w[i].v < w[i - 1].v)
            rise += w[i - 1].v;
    double first = (double)(w[0].time - (to - g->e->range)) / 1e9, last = (double)(to - w[n - 1].time) / 1e9;
    double sampled = (double)(w[n - 1].time - w[0].time) / 1e9, gap = sampled / (double)(n - 1);
    if (first >= gap * 1.1)
        first = gap / 2;
    if (last >= gap * 1.1)
        last = gap / 2;
    if (rise > 0 && w[0].v >= 0) {
        double to_zero = sampled * (w[0].v / rise);
        if (to_zero < first)
            first = to_zero;
    }
    double over = sampled + first + last;
    return rise * (over / sampled) / ((double)g->e->range / 1e9);
}

static double sum_of(const struct sample *w, uint32_t n)
{
    double s = 0;
    for (uint32_t i = 0; i < n; i++)
        s += w[i].v;
    return s;
}

static double extreme(const struct sample *w, uint32_t n, bool max)
{
    double x = w[0].v;
    for (uint32_t i = 1; i < n; i++)
        if (isnan(x) || (max ? w[i].v > x : w[i].v < x))
            x = w[i].v;
    return x;
}

static bool over_window(const struct ranger *g, const struct sample *w, uint32_t n, int64_t to, double *room, double *out)
{
    switch (g->e->fn) {
    case RANGE_RATE:
        *out = sum_of(w, n) / ((double)g->e->range / 1e9);
        return true;
    case RANGE_SUM:
        *out = sum_of(w, n);
        return true;
    case RANGE_AVG:
        *out = sum_of(w, n) / (double)n;
        return true;
    case RANGE_MIN:
    case RANGE_MAX:
        *out = extreme(w, n, g->e->fn == RANGE_MAX);
        return true;
    case RANGE_STDVAR:
        *out = variance(w, n);
        return true;
    case RANGE_STDDEV:
        *out = sqrt(variance(w, n));
        return true;
    case RANGE_QUANTILE:
        *out = quantile(w, n, g->e->param, room);
        return true;
    case RANGE_FIRST:
        *out = w[0].v;
        return true;
    case RANGE_LAST:
        *out = w[n - 1].v;
        return true;
    case RANGE_RATE_COUNTER:
        *out = counter_rate(g, w, n, to);
        return true;
    default:
        return false;
    }
}

static enum errc finish_samples(struct ranger *g, struct series *s)
{
    struct acc *a = s->extra;
    double *room = g->e->fn == RANGE_QUANTILE ? arena_alloc(g->m->arena, a->n * sizeof *room) : NULL;
    if (g->e->fn == RANGE_QUANTILE && !room)
        return over_budget(g);
    qsort(a->samples, a->n, sizeof *a->samples, by_time);
    uint32_t lo = 0, hi = 0;
    for (uint32_t k = 0; k < g->env->steps; k++) {
        int64_t to = g->start + (int64_t)k * g->env->step;
        while (hi < a->n && a->samples[hi].time <= to)
            hi++;
        while (lo < hi && a->samples[lo].time <= to - g->e->range)
            lo++;
        if (hi > lo)
            s->has[k] = over_window(g, a->samples + lo, hi - lo, to, room, &s->v[k]);
        g->work += hi - lo + 1;
        if (g->work > CHECK_WORK) {
            g->work = 0;
            TRY(query_check(g->env->q, g->err));
        }
    }
    return ERR_OK;
}

// The labels that the selector fixes: those with exactly one matcher, an equality.
static enum errc finish_absent(const struct ranger *g)
{
    enum { FIXED_MAX = 64 };
    struct label l[FIXED_MAX];
    uint32_t n = 0;
    const struct selector *sel = &g->e->selector;
    for (uint32_t i = 0; i < sel->n && n < FIXED_MAX; i++) {
        uint32_t same = 0;
        for (uint32_t k = 0; k < sel->n; k++)
            same += slice_eq(sel->m[k].name, sel->m[i].name);
        if (sel->m[i].op == MATCH_EQ && same == 1)
            l[n++] = (struct label){sel->m[i].name, sel->m[i].value};
    }
    n = labels_sort(l, n);
    if (g->e->projected) {
        struct label kept[FIXED_MAX];
        n = grouping_pick(&g->e->project, l, n, kept);
        memcpy(l, kept, n * sizeof *l);
    }
    struct series *s = matrix_series(g->m, l, n, NULL);
    if (!s)
        return over_budget(g);
    double rows = 0;
    for (uint32_t k = 0; k < g->env->steps; k++) {
        rows += g->present[k];
        s->has[k] = rows < 0.5;
        s->v[k] = 1;
    }
    return ERR_OK;
}

static bool needs_line(const struct expr_range *e)
{
    return e->fn == RANGE_BYTES || e->fn == RANGE_BYTES_RATE;
}

enum errc expr_eval_range(const struct expr_range *e, const struct expr_env *env, struct matrix *out, struct error *err)
{
    struct ranger g = {.e = e, .env = env, .m = out, .err = err, .start = env->start - e->offset};
    const struct grouping *by = e->group.given ? &e->group : e->projected ? &e->project : NULL;
    bool no_labels = e->fn == RANGE_ABSENT || (by && !by->given) || (by && !by->without && by->n == 0);
    struct rows_options o = {.selector = &e->selector,
                             .pipeline = &e->pipeline,
                             .from = g.start - e->range + 1,
                             .to = g.start + (int64_t)(env->steps - 1) * env->step + 1,
                             .line = needs_line(e),
                             .need = no_labels ? ROWS_NOTHING : ROWS_LABELS,
                             .names = by && by->given && !by->without ? by->names : NULL,
                             .n_names = by ? by->n : 0};
    struct rows r;
    enum errc rc;
    bool more = true;
    if (e->fn == RANGE_ABSENT) {
        g.present = ARENA_ARRAY(out->arena, double, env->steps);
        if (!g.present)
            return over_budget(&g);
    }
    GO(rows_open(&r, env->q, &o, err));
    while (more) {
        GO(rows_next(&r, &more, err));
        if (more)
            GO(add_row(&g, &r));
    }
    for (uint32_t i = 0; i < out->n; i++) {
        if (e->unwrap)
            GO(finish_samples(&g, &out->s[i]));
        else
            finish_counts(&g, &out->s[i]);
    }
    if (g.present)
        GO(finish_absent(&g));
out:
    rows_close(&r);
    free(g.by_resource);
    return rc;
}
