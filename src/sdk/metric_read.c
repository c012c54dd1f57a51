// Values as a reader sees them, while writers go on.
#include "base/alloc.h"
#include "sdk/metric.h"
#include <math.h>
#include <stdlib.h>

uint64_t metric_histogram_read(const struct metric_series *s, uint64_t *count, double *sum)
{
    uint32_t n = s->bounds->n + 1;
    uint64_t total = 0;
    *sum = 0;
    memset(count, 0, n * sizeof *count);
    METRIC_EACH_SHARD(shard)
    {
        metric_word *w = metric_peek(shard, s->slot);
        if (!w)
            continue;
        for (uint32_t i = 0; i < n; i++)
            count[i] += atomic_load_explicit(w + 1 + i, memory_order_relaxed);
        *sum += metric_double(atomic_load_explicit(w, memory_order_relaxed));
    }
    for (uint32_t i = 0; i < n; i++)
        total += count[i];
    return total;
}

uint64_t sonde_histogram_count(const struct sonde_histogram *h)
{
    const struct metric_series *s = (const struct metric_series *)h;
    if (!s)
        return 0;
    if (s->kind == METRIC_NATIVE) {
        struct metric_native n;
        metric_native_read(s, &n);
        return n.count;
    }
    uint64_t count[SONDE_BUCKETS_MAX + 1];
    double sum;
    return metric_histogram_read(s, count, &sum);
}

double sonde_histogram_sum(const struct sonde_histogram *h)
{
    const struct metric_series *s = (const struct metric_series *)h;
    if (!s)
        return 0;
    return metric_sum_f64(s->slot + (s->kind == METRIC_NATIVE));
}

// ---- quantiles ------------------------------------------------------------------------------------------------------
static double native_quantile(const struct metric_native *h, double q)
{
    double rank = q * (double)h->count, seen = 0;
    for (uint32_t i = h->negative.n; i-- > 0;) { // from the lowest value on
        uint64_t c = h->negative.count[i];
        if (c && seen + (double)c >= rank)
            return -metric_native_bound(h->scale, h->negative.min + (int64_t)i + 1) *
                   exp2(-ldexp((rank - seen) / (double)c, -h->scale));
        seen += (double)c;
    }
    if (h->zero && seen + (double)h->zero >= rank)
        return 0;
    seen += (double)h->zero;
    for (uint32_t i = 0; i < h->positive.n; i++) {
        uint64_t c = h->positive.count[i];
        if (c && (seen + (double)c >= rank || i + 1 == h->positive.n))
            return metric_native_bound(h->scale, h->positive.min + (int64_t)i) *
                   exp2(ldexp((rank - seen) / (double)c, -h->scale));
        seen += (double)c;
    }
    return NAN;
}

static double classic_quantile(const struct metric_bounds *b, const uint64_t *count, uint64_t total, double q)
{
    double rank = q * (double)total, seen = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        double c = (double)count[i];
        if (c > 0 && seen + c >= rank) {
            double from = i ? b->bound[i - 1] : b->bound[0] < 0 ? b->bound[0] : 0;
            return from + (b->bound[i] - from) * (rank - seen) / c;
        }
        seen += c;
    }
    return b->n ? b->bound[b->n - 1] : NAN; // above the last bound nothing is known
}

double sonde_histogram_quantile(const struct sonde_histogram *h, double q)
{
    const struct metric_series *s = (const struct metric_series *)h;
    if (!s || !(q >= 0 && q <= 1))
        return NAN;
    if (s->kind == METRIC_NATIVE) {
        struct metric_native n;
        metric_native_read(s, &n);
        return n.count ? native_quantile(&n, q) : NAN;
    }
    uint64_t count[SONDE_BUCKETS_MAX + 1];
    double sum;
    uint64_t total = metric_histogram_read(s, count, &sum);
    return total ? classic_quantile(s->bounds, count, total, q) : NAN;
}

// ---- what a scrape sees ---------------------------------------------------------------------------------------------
static bool below(const struct sonde_registry *r, const struct sonde_registry *top)
{
    while (r && r != top)
        r = r->parent;
    return r == top;
}

enum errc metric_view_take(struct metric_view *v, struct sonde_registry *r)
{
    struct sonde_registry *root = r->root;
    size_t n_series = 0;
    *v = (struct metric_view){0};
    pthread_mutex_lock(&root->lock);
    for (uint32_t i = 0; i < root->n_families; i++)
        n_series += root->families[i]->n_series;
    size_t head = root->n_families * sizeof *v->families;
    v->block = mem_alloc(head + n_series * sizeof(struct metric_series *));
    if (v->block) {
        v->families = v->block;
        struct metric_series **to = (struct metric_series **)((char *)v->block + head);
        for (uint32_t i = 0; i < root->n_families; i++) {
            struct metric_family *f = root->families[i];
            struct metric_family_view *fv = &v->families[v->n];
            *fv = (struct metric_family_view){f, to, 0};
            for (uint32_t k = 0; k < f->n_series; k++)
                if (below(f->series[k]->metric->registry, r))
                    to[fv->n++] = f->series[k];
            to += fv->n;
            v->n += fv->n > 0;
        }
    }
    pthread_mutex_unlock(&root->lock);
    return v->block ? ERR_OK : ERR_NOMEM;
}

static int by_labels(const void *a, const void *b)
{
    const struct metric_series *x = *(struct metric_series *const *)a, *y = *(struct metric_series *const *)b;
    int c = slice_cmp(x->labels, y->labels);
    return c ? c : (x->serial > y->serial) - (x->serial < y->serial);
}

static int sort_of(enum metric_kind k) // what a page calls it
{
    return k <= METRIC_INT_COUNTER ? 0 : k <= METRIC_INT_GAUGE ? 1 : 2;
}

// The view whose next family has the smallest name; null: none has one left.
static const struct metric_view *first_of(const struct metric_view *v, size_t n)
{
    const struct metric_view *first = NULL;
    for (size_t i = 0; i < n; i++)
        if (v[i].n && (!first || slice_cmp(v[i].families->family->name, first->families->family->name) < 0))
            first = &v[i];
    return first;
}

static void drop_doubles(struct metric_family_view *f)
{
    uint32_t kept = 0;
    qsort(f->series, f->n, sizeof *f->series, by_labels);
    for (uint32_t i = 0; i < f->n; i++)
        if (!kept || !slice_eq(f->series[i]->labels, f->series[kept - 1]->labels))
            f->series[kept++] = f->series[i];
    f->n = kept;
}

enum errc metric_view_join(struct metric_view *out, struct metric_view *v, size_t n)
{
    size_t n_families = 0, n_series = 0;
    const struct metric_view *first;
    for (size_t i = 0; i < n; i++) {
        n_families += v[i].n;
        for (uint32_t k = 0; k < v[i].n; k++)
            n_series += v[i].families[k].n;
    }
    size_t head = n_families * sizeof *out->families;
    *out = (struct metric_view){.block = mem_alloc(head + n_series * sizeof(struct metric_series *))};
    if (!out->block)
        return ERR_NOMEM;
    struct metric_series **to = (struct metric_series **)((char *)out->block + head);
    out->families = out->block;
    while ((first = first_of(v, n))) {
        struct metric_family_view *f = &out->families[out->n++];
        *f = (struct metric_family_view){first->families->family, to, 0};
        for (size_t i = 0; i < n; i++) {
            if (!v[i].n || !slice_eq(v[i].families->family->name, f->family->name))
                continue;
            const struct metric_family_view *one = v[i].families++;
            v[i].n--;
            if (sort_of(one->family->kind) != sort_of(f->family->kind))
                continue;
            memcpy(to + f->n, one->series, one->n * sizeof *to);
            f->n += one->n;
        }
        drop_doubles(f);
        to += f->n;
    }
    return ERR_OK;
}

void metric_view_free(struct metric_view *v)
{
    mem_free(v->block);
}
