#include "serve/delta.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "event/sample.h"

#include <pthread.h>
#include <stdio.h>

enum { FIRST_SLOTS = 256 };

struct total {
    struct id128 key; // zero: free
    int64_t time, start;
    double value;
    char *histogram; // encoded; null: a number
    uint32_t histogram_n;
    bool stored; // of a series that is looked for: the store has it
};

struct delta {
    pthread_mutex_t lock;
    struct total *slot; // open addressing
    uint32_t n, cap;
    int64_t newest; // time of all points
};

struct delta *delta_new(void)
{
    struct delta *d = mem_zalloc(sizeof *d);
    if (d)
        pthread_mutex_init(&d->lock, NULL);
    return d;
}

void delta_free(struct delta *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < d->cap; i++)
        mem_free(d->slot[i].histogram);
    mem_free(d->slot);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

static struct total *find(struct total *slot, uint32_t cap, struct id128 key)
{
    uint32_t at = (uint32_t)key.lo & (cap - 1);
    while (!id128_zero(slot[at].key) && !id128_eq(slot[at].key, key))
        at = (at + 1) & (cap - 1);
    return &slot[at];
}

// Into a table of `cap`, without what has been idle.
static bool rebuild(struct delta *d, uint32_t cap)
{
    struct total *slot = mem_zalloc(cap * sizeof *slot);
    uint32_t n = 0;
    if (!slot)
        return false;
    for (uint32_t i = 0; i < d->cap; i++) {
        struct total *t = &d->slot[i];
        if (id128_zero(t->key))
            continue;
        if (d->newest - t->time > DELTA_IDLE_NS) {
            mem_free(t->histogram);
            continue;
        }
        *find(slot, cap, t->key) = *t;
        n++;
    }
    mem_free(d->slot);
    d->slot = slot;
    d->cap = cap;
    d->n = n;
    return true;
}

// The series' total, made when it is new. Null: there are too many.
static struct total *total_of(struct delta *d, struct id128 key)
{
    struct total *t = d->cap ? find(d->slot, d->cap, key) : NULL;
    if (t && !id128_zero(t->key))
        return t;
    if (d->n >= MAX_DELTA_SERIES && (!rebuild(d, d->cap) || d->n >= MAX_DELTA_SERIES))
        return NULL;
    if ((d->n + 1) * 2 > d->cap && !rebuild(d, d->cap ? d->cap * 2 : FIRST_SLOTS))
        return NULL;
    t = find(d->slot, d->cap, key);
    *t = (struct total){.key = key};
    d->n++;
    return t;
}

static bool keep_histogram(struct total *t, struct slice bytes)
{
    char *copy = mem_alloc(bytes.n + 1);
    if (!copy)
        return false;
    memcpy(copy, bytes.p, bytes.n);
    mem_free(t->histogram);
    t->histogram = copy;
    t->histogram_n = (uint32_t)bytes.n;
    return true;
}

// Adds an encoded histogram to the total; false: no memory.
static bool add_histogram(struct total *t, struct slice bytes)
{
    struct histogram_sample x, y, sum;
    struct arena a;
    struct buf out;
    bool ok = true;
    if (!t->histogram)
        return keep_histogram(t, bytes);
    arena_init(&a, MAX_HISTOGRAM_MEMORY);
    buf_init(&out, MAX_HISTOGRAM_BYTES);
    ok = histogram_decode(slice_of(t->histogram, t->histogram_n), &a, &x) == ERR_OK &&
         histogram_decode(bytes, &a, &y) == ERR_OK && histogram_add(&x, &y, &a, &sum) == ERR_OK;
    if (ok) {
        histogram_encode(&sum, &out);
        ok = out.err == ERR_OK && keep_histogram(t, buf_slice(&out));
    }
    buf_free(&out);
    arena_free(&a);
    return ok;
}

// The values of one row, to be read and written.
struct cell {
    double *value;
    struct slice *histogram;
    int64_t *start;
};

static struct cell cell_of(struct batch *b, uint32_t row)
{
    struct cell c = {0};
    int64_t i;
    if (b->field[FIELD_VALUE] && (i = column_find(b->field[FIELD_VALUE], row)) >= 0)
        c.value = &b->field[FIELD_VALUE]->f64[i];
    if (b->field[FIELD_HISTOGRAM] && (i = column_find(b->field[FIELD_HISTOGRAM], row)) >= 0)
        c.histogram = &b->field[FIELD_HISTOGRAM]->s[i];
    if (b->field[FIELD_START] && (i = column_find(b->field[FIELD_START], row)) >= 0)
        c.start = &b->field[FIELD_START]->i64[i];
    return c;
}

// Null, or why the row is refused.
static const char *apply_row(struct delta *d, struct id128 key, struct batch *b, uint32_t row, struct cell *c)
{
    int64_t time = b->time[row];
    struct total *t = total_of(d, key);
    if (!t)
        return "there are too many series of delta temporality; let the sender export cumulative values";
    if (t->time && time < t->time)
        return "a point of delta temporality is older than the one before it in its series";
    if (t->time != time) {
        bool idle = t->time && time - t->time > DELTA_IDLE_NS;
        if (idle) {
            mem_free(t->histogram);
            *t = (struct total){.key = key};
        }
        if (!t->time)
            t->start = c->start ? *c->start : time;
        if (c->histogram && !add_histogram(t, *c->histogram))
            return "no memory to add a histogram of delta temporality";
        t->value += c->value ? *c->value : 0;
        t->time = time;
    }
    d->newest = time > d->newest ? time : d->newest;
    if (c->value)
        *c->value = t->value;
    if (c->histogram && t->histogram)
        *c->histogram = batch_dup(b, slice_of(t->histogram, t->histogram_n));
    if (c->start)
        *c->start = t->start;
    return NULL;
}

static struct id128 key_of(const struct resource *r, uint64_t tenant)
{
    return (struct id128){hash_mix(r->hash.hi, tenant) | 1, hash_mix(r->hash.lo, tenant)};
}

static uint64_t tenant_hash(struct slice tenant)
{
    return hash64(tenant.p, tenant.n);
}

// ---- what the store has of a request ----------------------------------------------------------------------------------
// The request's series that have no total, each with the time of its first point.
struct lookup {
    struct total *slot;
    uint32_t n, cap;
    uint64_t tenant;
    int64_t from, to; // of their times
};

static bool lookup_add(struct lookup *l, struct id128 key, int64_t time, uint32_t rows)
{
    while (l->cap < 2 * (size_t)rows + 2)
        l->cap = l->cap ? l->cap * 2 : FIRST_SLOTS;
    if (!l->slot)
        l->slot = mem_zalloc(l->cap * sizeof *l->slot);
    if (!l->slot)
        return false;
    struct total *t = find(l->slot, l->cap, key);
    if (id128_zero(t->key))
        *t = (struct total){.key = key, .time = time};
    t->time = time < t->time ? time : t->time;
    l->from = l->n == 0 || time < l->from ? time : l->from;
    l->to = l->n == 0 || time > l->to ? time : l->to;
    l->n++;
    return true;
}

// False: there is nothing to look for.
static bool lookup_fill(struct lookup *l, struct delta *d, const struct batch *b, int64_t before)
{
    const struct column *flags = b->field[FIELD_FLAGS];
    bool ok = true;
    pthread_mutex_lock(&d->lock);
    for (uint32_t i = 0; ok && flags && i < flags->n; i++) {
        uint32_t row = flags->row ? flags->row[i] : i;
        struct id128 key = key_of(&b->resources[b->resource[row]], l->tenant);
        if (flags->i64[i] == SAMPLE_DELTA && b->time[row] < before && (!d->cap || id128_zero(find(d->slot, d->cap, key)->key)))
            ok = lookup_add(l, key, b->time[row], flags->n);
    }
    pthread_mutex_unlock(&d->lock);
    return l->slot != NULL;
}

static bool looked_for(void *arg, const struct resource *r)
{
    const struct lookup *l = arg;
    return !id128_zero(find(l->slot, l->cap, key_of(r, l->tenant))->key);
}

// Of several values of one time the one that queries take.
static void lookup_row(struct lookup *l, struct batch *b, uint32_t row)
{
    struct total *t = find(l->slot, l->cap, key_of(&b->resources[b->resource[row]], l->tenant));
    struct cell c = cell_of(b, row);
    if (b->time[row] != t->time || (!c.value && !c.histogram) || (c.value && sample_is_stale(*c.value)))
        return;
    if (c.value && t->stored && !sample_wins(t->value, *c.value))
        return;
    if (c.histogram && !keep_histogram(t, *c.histogram))
        return;
    t->stored = true;
    t->value = c.value ? *c.value : 0;
    t->start = c.start ? *c.start : t->time;
}

static void lookup_keep(struct lookup *l, struct delta *d)
{
    pthread_mutex_lock(&d->lock);
    for (uint32_t i = 0; i < l->cap; i++) {
        struct total *found = &l->slot[i], *t = found->stored ? total_of(d, found->key) : NULL;
        if (t && !t->time) { // else another request was faster
            *t = *found;
            found->histogram = NULL;
            d->newest = t->time > d->newest ? t->time : d->newest;
        }
        mem_free(found->histogram);
    }
    pthread_mutex_unlock(&d->lock);
}

void delta_recall(struct delta *d, struct store *s, struct slice tenant, const struct batch *b, int64_t before)
{
    struct lookup l = {.tenant = tenant_hash(tenant)};
    struct scan *scan;
    struct scan_batch got;
    if (!lookup_fill(&l, d, b, before))
        return;
    struct scan_request q = {.tenant = tenant,
                             .signal = SIGNAL_SAMPLE,
                             .from = l.from,
                             .to = l.to < INT64_MAX ? l.to + 1 : INT64_MAX,
                             .match = looked_for,
                             .match_arg = &l,
                             .fields = 1ull << FIELD_VALUE | 1ull << FIELD_HISTOGRAM | 1ull << FIELD_START};
    if (store_scan(s, &q, &scan, NULL) == ERR_OK) {
        while (scan_next(scan, &got, NULL) == ERR_OK && got.batch)
            for (uint32_t i = 0; i < got.n_rows; i++)
                lookup_row(&l, (struct batch *)(uintptr_t)got.batch, got.rows[i]);
        scan_close(scan);
    }
    lookup_keep(&l, d);
    mem_free(l.slot);
}

// ---- a request ----------------------------------------------------------------------------------------------------------
// A point of a histogram is many rows and counts once.
static bool is_first_of_point(const struct resource *r)
{
    struct slice name = resource_label(r, SLICE("__name__"));
    return !resource_label(r, SLICE("le")).n && !(name.n > 4 && memcmp(name.p + name.n - 4, "_sum", 4) == 0);
}

void delta_apply(struct delta *d, struct slice tenant, struct batch *b, struct wire_report *report)
{
    struct column *flags = b->field[FIELD_FLAGS];
    uint64_t seed = tenant_hash(tenant);
    pthread_mutex_lock(&d->lock);
    for (uint32_t i = 0; flags && i < flags->n; i++) {
        uint32_t row = flags->row ? flags->row[i] : i;
        const struct resource *r = &b->resources[b->resource[row]];
        struct id128 key = key_of(r, seed);
        struct cell c = cell_of(b, row);
        if (flags->i64[i] != SAMPLE_DELTA)
            continue;
        const char *why = apply_row(d, key, b, row, &c);
        if (!why)
            continue;
        flags->i64[i] = SAMPLE_DROPPED;
        if (!is_first_of_point(r))
            continue;
        report->rejected++;
        report->accepted -= report->accepted > 0;
        if (report->n_reasons < sizeof report->reason / sizeof *report->reason)
            snprintf(report->reason[report->n_reasons++], sizeof *report->reason, "%s", why);
    }
    pthread_mutex_unlock(&d->lock);
}
