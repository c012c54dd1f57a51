// From a selector to samples by series: one scan of the store for all steps.
#include "promql/eval_int.h"
#include <stdlib.h>

struct gathering {
    struct prom_eval *e;
    const struct prom_node *selector;
    bool keep_stale;
    struct prom_raw *raw;
    uint32_t n, cap;
    struct id128 *hashes; // [raw]
    uint32_t *table;      // number + 1
    uint32_t table_size;
};

static bool matches(void *arg, const struct resource *r)
{
    const struct prom_node *n = arg;
    if (r->n_labels == 0)
        return false;
    for (uint32_t i = 0; i < n->n_matchers; i++)
        if (!matcher_test(&n->matchers[i], resource_label(r, n->matchers[i].name)))
            return false;
    return true;
}

static bool copy_labels(struct gathering *g, struct prom_raw *raw, const struct resource *r)
{
    raw->l = ARENA_ARRAY(g->e->a, struct label, r->n_labels + 1);
    raw->n_labels = r->n_labels;
    for (uint32_t i = 0; raw->l && i < r->n_labels; i++) {
        raw->l[i] = (struct label){arena_dup(g->e->a, r->labels[i].name), arena_dup(g->e->a, r->labels[i].value)};
        if (!raw->l[i].name.p || !raw->l[i].value.p)
            return false;
    }
    return raw->l != NULL;
}

static bool rehash(struct gathering *g)
{
    uint32_t size = g->table_size ? g->table_size * 2 : 256;
    g->table = arena_zalloc_array(g->e->a, sizeof *g->table, size);
    if (!g->table)
        return false;
    g->table_size = size;
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t at = (uint32_t)g->hashes[i].lo & (size - 1);
        while (g->table[at])
            at = (at + 1) & (size - 1);
        g->table[at] = i + 1;
    }
    return true;
}

// Number of the series, UINT32_MAX when out of memory.
static uint32_t series_of(struct gathering *g, const struct resource *r)
{
    if ((g->n + 1) * 2 > g->table_size && !rehash(g))
        return UINT32_MAX;
    uint32_t at = (uint32_t)r->labels_hash.lo & (g->table_size - 1);
    for (; g->table[at]; at = (at + 1) & (g->table_size - 1))
        if (id128_eq(g->hashes[g->table[at] - 1], r->labels_hash))
            return g->table[at] - 1;
    if (g->n == g->cap) {
        uint32_t cap = g->cap ? g->cap * 2 : 64;
        struct prom_raw *raw = arena_grow(g->e->a, g->raw, g->cap * sizeof *raw, cap * sizeof *raw);
        struct id128 *hashes = raw ? arena_grow(g->e->a, g->hashes, g->cap * sizeof *hashes, cap * sizeof *hashes) : NULL;
        if (!hashes)
            return UINT32_MAX;
        g->raw = raw;
        g->hashes = hashes;
        g->cap = cap;
    }
    g->raw[g->n] = (struct prom_raw){0};
    if (!copy_labels(g, &g->raw[g->n], r))
        return UINT32_MAX;
    g->hashes[g->n] = r->labels_hash;
    g->table[at] = g->n + 1;
    return g->n++;
}

static bool grow_floats(struct gathering *g, struct prom_raw *raw)
{
    uint32_t cap = raw->cap ? raw->cap * 2 : 32;
    int64_t *t = arena_grow(g->e->a, raw->t, raw->cap * sizeof *t, cap * sizeof *t);
    double *v = t ? arena_grow(g->e->a, raw->v, raw->cap * sizeof *v, cap * sizeof *v) : NULL;
    if (!v)
        return false;
    raw->t = t, raw->v = v, raw->cap = cap;
    return true;
}

static bool add_hist(struct gathering *g, struct prom_raw *raw, int64_t t, struct slice bytes)
{
    struct prom_hist *h = prom_hist_decode(g->e->a, bytes);
    if (!h)
        return !arena_failed(g->e->a); // bytes that are none are left out
    if (!g->keep_stale && sample_is_stale(h->sum))
        return true;
    if (raw->n_h == raw->cap_h) {
        uint32_t cap = raw->cap_h ? raw->cap_h * 2 : 16;
        int64_t *ht = arena_grow(g->e->a, raw->ht, raw->cap_h * sizeof *ht, cap * sizeof *ht);
        struct prom_hist **hs =
            ht ? arena_grow(g->e->a, raw->h, raw->cap_h * sizeof(struct prom_hist *), cap * sizeof(struct prom_hist *)) : NULL;
        if (!hs)
            return false;
        raw->ht = ht, raw->h = hs, raw->cap_h = cap;
    }
    raw->ht[raw->n_h] = t;
    raw->h[raw->n_h++] = h;
    return true;
}

static enum errc add_batch(struct gathering *g, const struct scan_batch *sb)
{
    const struct batch *b = sb->batch;
    const struct column *value = b->field[FIELD_VALUE], *hist = b->field[FIELD_HISTOGRAM];
    uint32_t value_hint = 0, hist_hint = 0, known = UINT32_MAX, number = 0;
    TRY(prom_count(g->e, sb->n_rows));
    for (uint32_t i = 0; i < sb->n_rows; i++) {
        uint32_t row = sb->rows[i];
        if (b->resource[row] != known) {
            known = b->resource[row];
            number = series_of(g, &b->resources[known]);
            if (number == UINT32_MAX)
                return prom_no_memory(g->e);
        }
        struct prom_raw *raw = &g->raw[number];
        int64_t t = b->time[row] / 1000000, at = value ? column_find_hint(value, row, &value_hint) : -1;
        if (at >= 0) {
            double v = value->f64[at];
            if (!g->keep_stale && sample_is_stale(v))
                continue;
            if (raw->n == raw->cap && !grow_floats(g, raw))
                return prom_no_memory(g->e);
            raw->t[raw->n] = t;
            raw->v[raw->n++] = v;
        } else if (hist && (at = column_find_hint(hist, row, &hist_hint)) >= 0 && !add_hist(g, raw, t, hist->s[at])) {
            return prom_no_memory(g->e);
        }
    }
    return ERR_OK;
}

// ---- by time, each time once --------------------------------------------------------------------------------------------

struct timed {
    int64_t t;
    union {
        double v;
        struct prom_hist *h;
    };
};

static int by_time(const void *a, const void *b)
{
    const struct timed *x = a, *y = b;
    return (x->t > y->t) - (x->t < y->t);
}

static bool in_order(const int64_t *t, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (t[i] <= t[i - 1])
            return false;
    return true;
}

static enum errc put_in_order(struct gathering *g, struct prom_raw *raw, bool hists)
{
    uint32_t n = hists ? raw->n_h : raw->n, k = 0;
    int64_t *t = hists ? raw->ht : raw->t;
    if (in_order(t, n))
        return ERR_OK;
    struct timed *all = malloc(n * sizeof *all);
    if (!all)
        return prom_no_memory(g->e);
    for (uint32_t i = 0; i < n; i++) {
        all[i].t = t[i];
        if (hists)
            all[i].h = raw->h[i];
        else
            all[i].v = raw->v[i];
    }
    qsort(all, n, sizeof *all, by_time);
    for (uint32_t i = 0; i < n; i++) {
        bool again = k && t[k - 1] == all[i].t;
        bool wins = !again || (hists ? all[i].h->count > raw->h[k - 1]->count : sample_wins(raw->v[k - 1], all[i].v));
        k -= again && wins;
        if (!wins)
            continue;
        t[k] = all[i].t;
        if (hists)
            raw->h[k++] = all[i].h;
        else
            raw->v[k++] = all[i].v;
    }
    free(all);
    if (hists)
        raw->n_h = k;
    else
        raw->n = k;
    return ERR_OK;
}

static int by_labels(const void *a, const void *b)
{
    const struct prom_raw *x = a, *y = b;
    return labels_cmp(x->l, x->n_labels, y->l, y->n_labels);
}

static int64_t to_ns(int64_t ms)
{
    return ms > 9000000000000ll ? 9000000000000000000ll : ms < -9000000000000ll ? -9000000000000000000ll : ms * 1000000;
}

enum errc prom_gather(struct prom_eval *e, const struct prom_node *selector, int64_t from, int64_t to, bool keep_stale,
                      struct prom_raw **out, uint32_t *n)
{
    struct gathering g = {.e = e, .selector = selector, .keep_stale = keep_stale};
    struct scan_request want = {.tenant = e->q->tenant,
                                .signal = SIGNAL_SAMPLE,
                                .from = to_ns(from) + (e->r->closed_windows ? 0 : 1),
                                .to = to_ns(to) + 1,
                                .match = matches,
                                .match_arg = (void *)selector,
                                .fields = 1ull << FIELD_VALUE | 1ull << FIELD_HISTOGRAM,
                                .budget = &e->q->budget};
    struct scan_batch b;
    void *scan = NULL;
    enum errc rc;
    GO(e->q->source.scan(e->q->source.arg, &want, &scan, e->err));
    for (;;) {
        GO(query_check(e->q, e->err));
        GO(e->q->source.next(scan, &b, e->err));
        if (!b.batch)
            break;
        GO(add_batch(&g, &b));
    }
    for (uint32_t i = 0; i < g.n; i++) {
        GO(put_in_order(&g, &g.raw[i], false));
        GO(put_in_order(&g, &g.raw[i], true));
    }
    if (g.n)
        qsort(g.raw, g.n, sizeof *g.raw, by_labels);
    *out = g.raw;
    *n = g.n;
out:
    if (scan)
        e->q->source.close(scan);
    return rc;
}
