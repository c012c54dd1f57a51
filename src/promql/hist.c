// Native histograms: from their bytes, arithmetic, comparison. Buckets are kept sparse and sorted, so that histograms of
// different resolution meet by halving the finer one's indexes.
#include "promql/eval_int.h"
#include <stdlib.h>

static bool flatten(struct arena *a, const struct histogram_side *in, struct prom_buckets *out)
{
    int64_t index = 0;
    uint32_t k = 0;
    out->index = arena_alloc(a, in->n * sizeof *out->index);
    out->count = arena_alloc(a, in->n * sizeof *out->count);
    if (!out->index || !out->count)
        return false;
    for (uint32_t i = 0; i < in->n_spans; i++) {
        index += in->spans[i].offset;
        for (uint32_t j = 0; j < in->spans[i].length && k < in->n; j++, k++, index++) {
            if (in->counts[k] == 0 || index > INT32_MAX / 2 || index < INT32_MIN / 2)
                continue;
            out->index[out->n] = (int32_t)index;
            out->count[out->n++] = in->counts[k];
        }
    }
    return true;
}

struct prom_hist *prom_hist_decode(struct arena *a, struct slice bytes)
{
    struct histogram_sample s;
    if (histogram_decode(bytes, a, &s) != ERR_OK)
        return NULL;
    struct prom_hist *h = ARENA_NEW(a, struct prom_hist);
    if (!h)
        return NULL;
    *h = (struct prom_hist){.schema = s.schema,
                            .hint = s.hint,
                            .zero_threshold = s.zero_threshold,
                            .zero_count = s.zero_count,
                            .count = s.count,
                            .sum = s.sum,
                            .bounds = s.bounds,
                            .n_bounds = s.n_bounds};
    return flatten(a, &s.positive, &h->pos) && flatten(a, &s.negative, &h->neg) ? h : NULL;
}

static bool copy_side(struct arena *a, const struct prom_buckets *in, struct prom_buckets *out)
{
    out->n = in->n;
    out->index = arena_alloc(a, in->n * sizeof *out->index);
    out->count = arena_alloc(a, in->n * sizeof *out->count);
    if (!out->index || !out->count)
        return false;
    if (in->n) {
        memcpy(out->index, in->index, in->n * sizeof *out->index);
        memcpy(out->count, in->count, in->n * sizeof *out->count);
    }
    return true;
}

struct prom_hist *prom_hist_copy(struct arena *a, const struct prom_hist *h)
{
    struct prom_hist *c = ARENA_NEW(a, struct prom_hist);
    if (!c)
        return NULL;
    *c = *h;
    return copy_side(a, &h->pos, &c->pos) && copy_side(a, &h->neg, &c->neg) ? c : NULL;
}

static void scale_side(struct prom_buckets *b, double f)
{
    for (uint32_t i = 0; i < b->n; i++)
        b->count[i] *= f;
}

void prom_hist_scale(struct prom_hist *h, double f)
{
    h->zero_count *= f;
    h->count *= f;
    h->sum *= f;
    scale_side(&h->pos, f);
    scale_side(&h->neg, f);
    if (f < 0)
        h->hint = HISTOGRAM_HINT_GAUGE;
}

// ---- bounds -----------------------------------------------------------------------------------------------------------

// Upper bound of the bucket, of its absolute value on the negative side.
static double upper_bound(const struct prom_hist *h, int64_t index)
{
    if (h->schema == HISTOGRAM_CUSTOM)
        return index < 0 ? -INFINITY : index >= h->n_bounds ? INFINITY : h->bounds[index];
    return exp2(ldexp((double)index, -h->schema));
}

bool prom_hist_bucket(const struct prom_hist *h, uint32_t i, struct prom_bucket *out)
{
    if (i < h->neg.n) {
        uint32_t k = h->neg.n - 1 - i;
        *out = (struct prom_bucket){-upper_bound(h, h->neg.index[k]), -upper_bound(h, h->neg.index[k] - 1ll), h->neg.count[k],
                                    true, false};
        return true;
    }
    i -= h->neg.n;
    if (h->zero_count != 0) {
        if (i == 0) {
            *out = (struct prom_bucket){-h->zero_threshold, h->zero_threshold, h->zero_count, true, true};
            return true;
        }
        i--;
    }
    if (i >= h->pos.n)
        return false;
    *out = (struct prom_bucket){upper_bound(h, h->pos.index[i] - 1ll), upper_bound(h, h->pos.index[i]), h->pos.count[i],
                                h->schema == HISTOGRAM_CUSTOM && h->pos.index[i] == 0, true};
    return true;
}

// ---- bringing two to the same shape -------------------------------------------------------------------------------------

static void coarser_side(struct prom_buckets *b, int by)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        int32_t index = ((b->index[i] - 1) >> by) + 1;
        if (k && b->index[k - 1] == index) {
            b->count[k - 1] += b->count[i];
        } else {
            b->index[k] = index;
            b->count[k++] = b->count[i];
        }
    }
    b->n = k;
}

static void coarser(struct prom_hist *h, int32_t schema)
{
    if (schema >= h->schema)
        return;
    coarser_side(&h->pos, h->schema - schema);
    coarser_side(&h->neg, h->schema - schema);
    h->schema = schema;
}

// Takes the buckets that begin below the threshold into the zero bucket. Gives the bound of the last, if that lies above.
static double absorb_side(struct prom_hist *h, struct prom_buckets *b, double threshold)
{
    uint32_t k = 0;
    double reached = threshold;
    for (uint32_t i = 0; i < b->n; i++) {
        if (upper_bound(h, b->index[i] - 1ll) < threshold) {
            h->zero_count += b->count[i];
            reached = fmax(reached, upper_bound(h, b->index[i]));
        } else {
            b->index[k] = b->index[i];
            b->count[k++] = b->count[i];
        }
    }
    b->n = k;
    return reached;
}

static void widen_zero(struct prom_hist *h, double threshold)
{
    while (h->zero_threshold < threshold) {
        double p = absorb_side(h, &h->pos, threshold), n = absorb_side(h, &h->neg, threshold);
        h->zero_threshold = threshold;
        threshold = fmax(p, n);
    }
}

static bool custom_equal(const struct prom_hist *x, const struct prom_hist *y)
{
    if (x->n_bounds != y->n_bounds)
        return false;
    for (uint32_t i = 0; i < x->n_bounds; i++)
        if (x->bounds[i] != y->bounds[i])
            return false;
    return true;
}

// Both are ours to change. False: they have nothing in common.
static bool align(struct prom_hist *x, struct prom_hist *y)
{
    bool cx = x->schema == HISTOGRAM_CUSTOM, cy = y->schema == HISTOGRAM_CUSTOM;
    if (cx || cy)
        return cx && cy && custom_equal(x, y);
    while (x->zero_threshold < y->zero_threshold || y->zero_threshold < x->zero_threshold) {
        widen_zero(x, y->zero_threshold);
        widen_zero(y, x->zero_threshold);
    }
    coarser(x, y->schema);
    coarser(y, x->schema);
    return true;
}

// ---- arithmetic -------------------------------------------------------------------------------------------------------

static bool add_side(struct arena *a, const struct prom_buckets *x, const struct prom_buckets *y, double sign,
                     struct prom_buckets *out)
{
    uint32_t i = 0, j = 0;
    out->index = arena_alloc(a, ((size_t)x->n + y->n) * sizeof *out->index);
    out->count = arena_alloc(a, ((size_t)x->n + y->n) * sizeof *out->count);
    if (!out->index || !out->count)
        return false;
    out->n = 0;
    while (i < x->n || j < y->n) {
        bool take_x = i < x->n && (j == y->n || x->index[i] <= y->index[j]);
        bool take_y = j < y->n && (i == x->n || y->index[j] <= x->index[i]);
        int32_t index = take_x ? x->index[i] : y->index[j];
        double count = (take_x ? x->count[i] : 0) + sign * (take_y ? y->count[j] : 0);
        i += take_x;
        j += take_y;
        if (count != 0) {
            out->index[out->n] = index;
            out->count[out->n++] = count;
        }
    }
    return true;
}

struct prom_hist *prom_hist_add(struct arena *a, const struct prom_hist *x, const struct prom_hist *y, double sign)
{
    struct prom_hist *l = prom_hist_copy(a, x), *r = prom_hist_copy(a, y);
    if (!l || !r || !align(l, r))
        return NULL;
    l->count += sign * r->count;
    l->sum += sign * r->sum;
    l->zero_count += sign * r->zero_count;
    if (sign < 0 || l->hint == HISTOGRAM_HINT_GAUGE || r->hint == HISTOGRAM_HINT_GAUGE)
        l->hint = HISTOGRAM_HINT_GAUGE;
    else if (l->hint != r->hint)
        l->hint = HISTOGRAM_HINT_UNKNOWN;
    struct prom_buckets pos, neg;
    if (!add_side(a, &l->pos, &r->pos, sign, &pos) || !add_side(a, &l->neg, &r->neg, sign, &neg))
        return NULL;
    l->pos = pos;
    l->neg = neg;
    return l;
}

static bool same_number(double x, double y)
{
    return x == y || (isnan(x) && isnan(y));
}
static bool side_equal(const struct prom_buckets *x, const struct prom_buckets *y)
{
    for (uint32_t i = 0; i < x->n && i < y->n; i++)
        if (x->index[i] != y->index[i] || x->count[i] != y->count[i])
            return false;
    return x->n == y->n;
}

bool prom_hist_equal(const struct prom_hist *x, const struct prom_hist *y)
{
    return x->schema == y->schema && same_number(x->count, y->count) && same_number(x->sum, y->sum) &&
           x->zero_count == y->zero_count && x->zero_threshold == y->zero_threshold && custom_equal(x, y) &&
           side_equal(&x->pos, &y->pos) && side_equal(&x->neg, &y->neg);
}

// Whether a bucket of `before` has less in `now`.
static bool side_fell(const struct prom_buckets *now, const struct prom_buckets *before)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < before->n; i++) {
        while (k < now->n && now->index[k] < before->index[i])
            k++;
        double has = k < now->n && now->index[k] == before->index[i] ? now->count[k] : 0;
        if (has < before->count[i])
            return true;
    }
    return false;
}

bool prom_hist_reset(struct arena *a, const struct prom_hist *now, const struct prom_hist *before)
{
    if (now->hint == HISTOGRAM_HINT_RESET || now->hint == HISTOGRAM_HINT_NO_RESET)
        return now->hint == HISTOGRAM_HINT_RESET;
    if (now->count < before->count || now->schema > before->schema || now->zero_threshold < before->zero_threshold)
        return true;
    struct prom_hist *b = prom_hist_copy(a, before), *n = prom_hist_copy(a, now);
    if (!b || !n)
        return false; // the arena's failure ends the query
    if (!align(n, b) || n->zero_threshold != now->zero_threshold)
        return true;
    return n->zero_count < b->zero_count || side_fell(&n->pos, &b->pos) || side_fell(&n->neg, &b->neg);
}
