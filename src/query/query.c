#include "query/query.h"
#include "base/clock.h"
#include "base/limits.h"
#include <stdlib.h>

// ---- sources --------------------------------------------------------------------------------------------------------

static enum errc source_scan(void *arg, const struct scan_request *q, void **scan, struct error *err)
{
    struct scan *s = NULL;
    enum errc rc = store_scan(arg, q, &s, err);
    *scan = s;
    return rc;
}
static enum errc source_next(void *scan, struct scan_batch *out, struct error *err)
{
    return scan_next(scan, out, err);
}
static void source_close(void *scan)
{
    scan_close(scan);
}
static enum errc source_resources(void *arg, struct slice tenant, enum signal signal, int64_t from, int64_t to,
                                  bool (*fn)(void *arg, const struct resource *r), void *fn_arg, struct error *err)
{
    return store_resources(arg, tenant, signal, from, to, fn, fn_arg, err);
}

struct query_source query_source_store(struct store *s)
{
    return (struct query_source){s, source_scan, source_next, source_close, source_resources};
}

struct memory_scan {
    const struct batch_list *list;
    struct scan_request q;
    uint32_t at;
    uint32_t *rows;
};

static enum errc memory_open(void *arg, const struct scan_request *q, void **scan, struct error *err)
{
    struct memory_scan *s = calloc(1, sizeof *s);
    if (!s)
        return ERR(err, NOMEM, "out of memory");
    s->list = arg;
    s->q = *q;
    *scan = s;
    return ERR_OK;
}

static enum errc memory_next(void *scan, struct scan_batch *out, struct error *err)
{
    struct memory_scan *s = scan;
    *out = (struct scan_batch){0};
    while (s->at < s->list->n) {
        uint32_t k = s->at++;
        const struct batch *b = s->list->batches[s->q.newest_first ? s->list->n - 1 - k : k];
        free(s->rows);
        s->rows = malloc((b->rows + 1) * sizeof *s->rows);
        if (!s->rows)
            return ERR(err, NOMEM, "out of memory");
        uint32_t n = 0;
        for (uint32_t r = 0; r < b->rows; r++)
            if (b->time[r] >= s->q.from && b->time[r] < s->q.to &&
                (!s->q.match || s->q.match(s->q.match_arg, &b->resources[b->resource[r]])))
                s->rows[n++] = r;
        if (!n)
            continue;
        *out = (struct scan_batch){b, s->rows, n, s->q.newest_first ? INT64_MAX : INT64_MIN};
        break;
    }
    return ERR_OK;
}

static void memory_close(void *scan)
{
    struct memory_scan *s = scan;
    if (s)
        free(s->rows);
    free(s);
}

static enum errc memory_resources(void *arg, struct slice tenant, enum signal signal, int64_t from, int64_t to,
                                  bool (*fn)(void *arg, const struct resource *r), void *fn_arg, struct error *err)
{
    const struct batch_list *l = arg;
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t r = 0; r < l->batches[i]->rows; r++)
            if (l->batches[i]->time[r] >= from && l->batches[i]->time[r] < to &&
                !fn(fn_arg, &l->batches[i]->resources[l->batches[i]->resource[r]]))
                return ERR_OK;
    return ERR_OK;
}

struct query_source query_source_batches(const struct batch_list *list)
{
    return (struct query_source){(void *)list, memory_open, memory_next, memory_close, memory_resources};
}

// ---- the query ------------------------------------------------------------------------------------------------------

void query_limits_default(struct query_limits *l)
{
    *l = (struct query_limits){.max_series = 2000,
                               .max_entries = 50000,
                               .max_steps = 11000,
                               .timeout_ns = 60 * 1000000000ll,
                               .max_memory = MAX_QUERY_MEMORY};
}

enum errc query_init(struct query *q, struct query_source source, struct slice tenant, const struct query_limits *l,
                     struct error *err)
{
    *q = (struct query){.source = source, .limits = *l};
    arena_init(&q->arena, l->max_memory);
    q->tenant = arena_dup(&q->arena, tenant);
    q->budget = (struct budget){.max_bytes = l->max_bytes, .cancelled = &q->cancelled};
    if (l->timeout_ns)
        q->budget.deadline_mono = clock_mono_ns() + l->timeout_ns;
    return q->tenant.p ? ERR_OK : ERR(err, NOMEM, "out of memory");
}

void query_free(struct query *q)
{
    arena_free(&q->arena);
}
void query_cancel(struct query *q)
{
    __atomic_store_n(&q->cancelled, true, __ATOMIC_RELAXED);
}

enum errc query_check(const struct query *q, struct error *err)
{
    if (__atomic_load_n(&q->cancelled, __ATOMIC_RELAXED) || (q->gone && q->gone(q->gone_arg)))
        return ERR(err, CANCELLED, "the client is gone");
    if (q->budget.deadline_mono && clock_mono_ns() > q->budget.deadline_mono)
        return ERR(err, TIMEOUT, "the query ran longer than %lld s: narrow the time range or the selector",
                   (long long)(q->limits.timeout_ns / 1000000000));
    return ERR_OK;
}

bool selector_match(const struct selector *s, const struct resource *r)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!matcher_test(&s->m[i], resource_label(r, s->m[i].name)))
            return false;
    return true;
}

struct collect {
    struct query *q;
    const struct selector *s;
    struct label_set *sets;
    uint32_t n, cap;
    uint32_t *table; // number + 1
    uint32_t size;
    bool failed;
};

static void rehash(struct collect *c)
{
    uint32_t size = c->size ? c->size * 2 : 256;
    uint32_t *t = ARENA_ARRAY(&c->q->arena, uint32_t, size);
    if (!t) {
        c->failed = true;
        return;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t at = (uint32_t)c->sets[i].hash.lo & (size - 1);
        while (t[at])
            at = (at + 1) & (size - 1);
        t[at] = i + 1;
    }
    c->table = t;
    c->size = size;
}

static bool collect_stream(void *arg, const struct resource *r)
{
    struct collect *c = arg;
    if (!selector_match(c->s, r))
        return true;
    if (c->n * 2 >= c->size)
        rehash(c);
    if (c->failed)
        return false;
    uint32_t at = (uint32_t)r->labels_hash.lo & (c->size - 1);
    for (; c->table[at]; at = (at + 1) & (c->size - 1))
        if (id128_eq(c->sets[c->table[at] - 1].hash, r->labels_hash))
            return true;
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 64;
        struct label_set *s = arena_grow(&c->q->arena, c->sets, c->cap * sizeof *s, cap * sizeof *s);
        if (!s) {
            c->failed = true;
            return false;
        }
        c->sets = s;
        c->cap = cap;
    }
    struct label_set *set = &c->sets[c->n];
    *set = (struct label_set){ARENA_ARRAY(&c->q->arena, struct label, r->n_labels), r->n_labels, r->labels_hash};
    for (uint32_t i = 0; set->l && i < r->n_labels; i++)
        set->l[i] = (struct label){arena_dup(&c->q->arena, r->labels[i].name), arena_dup(&c->q->arena, r->labels[i].value)};
    c->table[at] = ++c->n;
    c->failed = arena_failed(&c->q->arena);
    return !c->failed;
}

enum errc query_streams(struct query *q, const struct selector *s, int64_t from, int64_t to, struct label_set **out, uint32_t *n,
                        struct error *err)
{
    struct collect c = {.q = q, .s = s};
    TRY(q->source.resources(q->source.arg, q->tenant, SIGNAL_LOG, from, to, collect_stream, &c, err));
    if (c.failed)
        return ERR(err, LIMIT, "too many streams for the memory of one query: narrow the selector");
    *out = c.sets;
    *n = c.n;
    return ERR_OK;
}
