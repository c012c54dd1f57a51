// The sum of two native histograms.
#include "event/sample.h"

struct bucket {
    int64_t index;
    double count;
};

// The bucket of a coarser schema that holds bucket i: upper bounds belong to their bucket.
static int64_t coarser(int64_t i, int shift)
{
    return shift > 0 ? ((i - 1) >> shift) + 1 : i;
}

static double upper_bound(int64_t index, int schema)
{
    return exp2((double)index * exp2(-schema));
}

// Appends the buckets of one side, in the given schema; those within the zero bucket go there.
static uint32_t list(const struct histogram_side *s, int shift, const struct histogram_sample *to, struct bucket *out,
                     double *zero)
{
    int64_t at = 0;
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        at += s->spans[i].offset;
        for (uint32_t j = 0; j < s->spans[i].length && k < s->n; j++, at++, k++) {
            int64_t index = coarser(at, shift);
            if (s->counts[k] == 0)
                continue;
            if (upper_bound(index, to->schema) <= to->zero_threshold)
                *zero += s->counts[k];
            else if (n && out[n - 1].index == index)
                out[n - 1].count += s->counts[k];
            else
                out[n++] = (struct bucket){index, s->counts[k]};
        }
    }
    return n;
}

static bool spans_of(const struct bucket *v, uint32_t n, struct arena *a, struct histogram_side *out)
{
    *out = (struct histogram_side){.spans = ARENA_ARRAY(a, struct histogram_span, n), .counts = ARENA_ARRAY(a, double, n)};
    if (!out->spans || !out->counts)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        int64_t gap = i ? v[i].index - v[i - 1].index - 1 : v[i].index;
        if (i && gap == 0)
            out->spans[out->n_spans - 1].length++;
        else
            out->spans[out->n_spans++] = (struct histogram_span){(int32_t)gap, 1};
        out->counts[out->n++] = v[i].count;
    }
    return true;
}

static bool add_side(const struct histogram_side *x, int x_shift, const struct histogram_side *y, int y_shift, struct arena *a,
                     struct histogram_sample *to, struct histogram_side *out)
{
    struct bucket *p = ARENA_ARRAY(a, struct bucket, x->n), *q = ARENA_ARRAY(a, struct bucket, y->n);
    struct bucket *sum = ARENA_ARRAY(a, struct bucket, (size_t)x->n + y->n);
    uint32_t i = 0, k = 0, n = 0;
    if (!p || !q || !sum)
        return false;
    uint32_t n_p = list(x, x_shift, to, p, &to->zero_count), n_q = list(y, y_shift, to, q, &to->zero_count);
    while (i < n_p || k < n_q) {
        if (k == n_q || (i < n_p && p[i].index < q[k].index)) {
            sum[n++] = p[i++];
        } else if (i == n_p || q[k].index < p[i].index) {
            sum[n++] = q[k++];
        } else {
            sum[n++] = (struct bucket){p[i].index, p[i].count + q[k].count};
            i++;
            k++;
        }
    }
    return spans_of(sum, n, a, out);
}

enum errc histogram_add(const struct histogram_sample *x, const struct histogram_sample *y, struct arena *a,
                        struct histogram_sample *out)
{
    if (x->schema == HISTOGRAM_CUSTOM || y->schema == HISTOGRAM_CUSTOM)
        return ERR_UNSUPPORTED;
    *out =
        (struct histogram_sample){.schema = x->schema < y->schema ? x->schema : y->schema,
                                  .zero_threshold = x->zero_threshold > y->zero_threshold ? x->zero_threshold : y->zero_threshold,
                                  .zero_count = x->zero_count + y->zero_count,
                                  .count = x->count + y->count,
                                  .sum = x->sum + y->sum};
    int xs = x->schema - out->schema, ys = y->schema - out->schema;
    return add_side(&x->positive, xs, &y->positive, ys, a, out, &out->positive) &&
                   add_side(&x->negative, xs, &y->negative, ys, a, out, &out->negative)
               ? ERR_OK
               : ERR_LIMIT;
}
