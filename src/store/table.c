// Tables: the head's batches and the list of parts of one tenant and signal.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/part_encode.h"
#include "store/store_int.h"

// Small batches are merged when a row of MERGE_WIDTH of them stands at the end, by tiers of 16, 256 … rows: so each
// row is copied a few times at most, and a head of one-row requests does not stay one.
enum { MERGE_WIDTH = 16, MERGE_BELOW = 1024 };

enum { FILTER_FROM = 64 }; // ids: fewer are compared as quickly

static struct table *find_locked(struct store *s, struct slice tenant, enum signal signal)
{
    for (uint32_t i = 0; i < s->n_tables; i++)
        if (s->tables[i]->signal == signal && slice_eq(s->tables[i]->tenant, tenant))
            return s->tables[i];
    return NULL;
}

struct table *table_find(struct store *s, struct slice tenant, enum signal signal)
{
    pthread_mutex_lock(&s->tables_lock);
    struct table *t = find_locked(s, tenant, signal);
    pthread_mutex_unlock(&s->tables_lock);
    return t;
}

static struct table *table_new(struct store *s, struct slice tenant, enum signal signal)
{
    struct table *t = mem_zalloc(sizeof *t + tenant.n);
    if (!t)
        return NULL;
    char *name = (char *)(t + 1);
    if (tenant.n)
        memcpy(name, tenant.p, tenant.n);
    t->store = s;
    t->tenant = slice_of(name, tenant.n);
    t->signal = signal;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

struct table *table_get(struct store *s, struct slice tenant, enum signal signal)
{
    pthread_mutex_lock(&s->tables_lock);
    struct table *t = find_locked(s, tenant, signal);
    if (!t && s->n_tables == s->cap_tables) {
        uint32_t cap = s->cap_tables ? s->cap_tables * 2 : 8;
        struct table **p = mem_realloc(s->tables, cap * sizeof *p);
        if (!p)
            goto out;
        s->tables = p;
        s->cap_tables = cap;
    }
    if (!t && (t = table_new(s, tenant, signal)))
        s->tables[s->n_tables++] = t;
out:
    pthread_mutex_unlock(&s->tables_lock);
    return t;
}

static void head_clear(struct head_list *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        batch_unref(h->v[i].batch);
    mem_free(h->v);
    *h = (struct head_list){0};
}

void table_free(struct table *t)
{
    head_clear(&t->head);
    head_clear(&t->flushing);
    for (uint32_t i = 0; i < t->n_parts; i++)
        part_unref(t->parts[i]);
    mem_free(t->parts);
    dedup_free(&t->dedup);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

enum errc tables_each(struct store *s, enum errc (*fn)(struct table *t, void *arg), void *arg)
{
    enum errc rc = ERR_OK;
    for (uint32_t i = 0; rc == ERR_OK; i++) {
        pthread_mutex_lock(&s->tables_lock);
        struct table *t = i < s->n_tables ? s->tables[i] : NULL;
        pthread_mutex_unlock(&s->tables_lock);
        if (!t)
            break;
        rc = fn(t, arg);
    }
    return rc;
}

// How many parts begin at or before the sequence. Under the lock.
static uint32_t parts_up_to(const struct table *t, uint64_t sequence)
{
    uint32_t lo = 0, hi = t->n_parts;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (t->parts[mid]->info.first <= sequence)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool part_between(const struct table *t, uint64_t after, uint64_t before)
{
    uint32_t next = parts_up_to(t, after);
    return next < t->n_parts && t->parts[next]->info.first < before;
}

bool table_part_between(struct table *t, uint64_t after, uint64_t before)
{
    pthread_mutex_lock(&t->lock);
    bool yes = part_between(t, after, before);
    pthread_mutex_unlock(&t->lock);
    return yes;
}

bool table_covers(struct table *t, uint64_t sequence)
{
    pthread_mutex_lock(&t->lock);
    uint32_t lo = parts_up_to(t, sequence);
    bool yes = lo && t->parts[lo - 1]->info.last >= sequence;
    pthread_mutex_unlock(&t->lock);
    return yes;
}

// The newest time in it; of spans the latest end.
static int64_t latest_end(const struct batch *b)
{
    int64_t max = b->max_time;
    const struct column *d = b->field[FIELD_DURATION];
    if (b->signal != SIGNAL_SPAN || !d)
        return max;
    for (uint32_t i = 0; i < d->n; i++) {
        int64_t end;
        if (__builtin_add_overflow(b->time[d->row ? d->row[i] : i], d->i64[i], &end))
            end = INT64_MAX;
        max = end > max ? end : max;
    }
    return max;
}

static uint32_t tier(uint32_t rows)
{
    return rows < 16 ? 0 : rows < 256 ? 1 : rows < MERGE_BELOW ? 2 : UINT32_MAX;
}

// Whether MERGE_WIDTH batches at the end are of the last one's tier or a lower one.
static bool mergeable(const struct table *t)
{
    const struct head_list *h = &t->head;
    uint32_t n = 0, top = h->n ? tier(h->v[h->n - 1].batch->rows) : UINT32_MAX;
    if (top == UINT32_MAX)
        return false;
    while (n < MERGE_WIDTH && n < h->n && tier(h->v[h->n - 1 - n].batch->rows) <= top)
        n++;
    return n == MERGE_WIDTH && !part_between(t, h->v[h->n - n].first, h->v[h->n - 1].last);
}

// The batch is not visible yet: its arena may still grow.
static void add_filter(struct head_batch *e)
{
    const struct column *c = e->batch->field[FIELD_TRACE_ID];
    if (!c || c->n < FILTER_FROM)
        return;
    uint64_t bits = part_bloom_bits(part_count_ids(c->id128, c->n));
    uint8_t *p = arena_zalloc(&e->batch->arena, bits / 8);
    for (uint32_t i = 0; p && i < c->n; i++)
        if (i == 0 || !id128_eq(c->id128[i], c->id128[i - 1]))
            part_bloom_add(p, bits, c->id128[i]);
    e->traces = p;
    e->trace_bits = (uint32_t)bits;
}

bool head_may_have_trace(const struct head_batch *h, struct id128 trace)
{
    return h->batch->field[FIELD_TRACE_ID] && (!h->traces || part_bloom_has(h->traces, h->trace_bits, trace));
}

static struct head_batch head_entry(struct batch *b, uint64_t first, uint64_t last, size_t log)
{
    struct head_batch e = {.batch = b, .first = first, .last = last, .max_end = latest_end(b), .log = log};
    add_filter(&e);
    e.memory = batch_memory(b);
    return e;
}

// Merges the last MERGE_WIDTH batches if that many are small. False when there is nothing (more) to merge.
// Only the log's thread changes the list, except that a flush may take it away: then the merge is dropped.
static bool merge_tail(struct table *t)
{
    struct batch *in[MERGE_WIDTH];
    pthread_mutex_lock(&t->lock);
    uint64_t swaps = t->swaps;
    bool enough = mergeable(t);
    uint32_t at = t->head.n - MERGE_WIDTH;
    for (uint32_t i = 0; enough && i < MERGE_WIDTH; i++)
        in[i] = batch_ref(t->head.v[at + i].batch);
    pthread_mutex_unlock(&t->lock);
    if (!enough)
        return false;
    struct batch *b = batch_merge(in, MERGE_WIDTH, MAX_BATCH_MEMORY);
    for (uint32_t i = 0; i < MERGE_WIDTH; i++)
        batch_unref(in[i]);
    if (!b)
        return false;
    struct head_batch e = head_entry(b, 0, 0, 0);
    pthread_mutex_lock(&t->lock);
    bool same = t->swaps == swaps;
    if (same) {
        struct head_batch *v = &t->head.v[at];
        e.first = v[0].first;
        e.last = v[MERGE_WIDTH - 1].last;
        size_t before = 0;
        for (uint32_t i = 0; i < MERGE_WIDTH; i++) {
            before += v[i].memory;
            e.log += v[i].log;
            batch_unref(v[i].batch);
        }
        v[0] = e;
        t->head.n = at + 1;
        t->head.bytes += e.memory - before;
        atomic_fetch_add(&t->store->head_bytes, e.memory - before);
    }
    pthread_mutex_unlock(&t->lock);
    if (!same)
        batch_unref(b);
    return same;
}

enum errc table_insert(struct table *t, struct batch *b, uint64_t first, uint64_t last, size_t cost)
{
    struct store *s = t->store;
    struct head_batch e = head_entry(b, first, last, cost);
    pthread_mutex_lock(&t->lock);
    struct head_list *h = &t->head;
    if (h->n == h->cap) {
        uint32_t cap = h->cap ? h->cap * 2 : 64;
        struct head_batch *v = mem_realloc(h->v, cap * sizeof *v);
        if (!v) {
            pthread_mutex_unlock(&t->lock);
            return ERR_NOMEM;
        }
        h->v = v;
        h->cap = cap;
    }
    if (!h->n) {
        h->since = clock_mono_ns();
        h->log_at = atomic_load(&s->log_bytes);
    }
    atomic_fetch_add(&s->log_bytes, cost);
    h->log += cost;
    h->v[h->n++] = e;
    h->bytes += e.memory;
    h->rows += b->rows;
    bool full = h->bytes > s->opt.head_max_bytes || h->log > table_log_max(t);
    atomic_fetch_add(&s->head_bytes, e.memory);
    pthread_mutex_unlock(&t->lock);
    while (s->replayed && merge_tail(t))
        ;
    if (full)
        worker_wake(s);
    return ERR_OK;
}

struct batch **table_head_batches(struct table *t, uint32_t *n)
{
    *n = 0;
    pthread_mutex_lock(&t->lock);
    struct batch **v = mem_alloc(((size_t)t->head.n + t->flushing.n + 1) * sizeof *v);
    for (int k = 0; v && k < 2; k++) {
        const struct head_list *h = k ? &t->head : &t->flushing;
        for (uint32_t i = 0; i < h->n; i++)
            v[(*n)++] = batch_ref(h->v[i].batch);
    }
    pthread_mutex_unlock(&t->lock);
    return v;
}

// Room for one more part.
static bool reserve_part(struct table *t)
{
    if (t->n_parts < t->cap_parts)
        return true;
    uint32_t cap = t->cap_parts ? t->cap_parts * 2 : 8;
    struct part **v = mem_realloc(t->parts, cap * sizeof *v);
    if (!v)
        return false;
    t->parts = v;
    t->cap_parts = cap;
    return true;
}

static enum errc add_part_locked(struct table *t, struct part *p)
{
    if (!reserve_part(t))
        return ERR_NOMEM;
    for (uint32_t i = 0; i < t->n_parts; i++)
        if (t->parts[i]->info.first <= p->info.first && t->parts[i]->info.last >= p->info.last) {
            part_remove(p); // a merge was interrupted before it removed what it had merged
            part_unref(p);
            return ERR_OK;
        }
    uint32_t k = 0;
    for (uint32_t i = 0; i < t->n_parts; i++) {
        struct part *old = t->parts[i];
        if (old->info.first >= p->info.first && old->info.last <= p->info.last) {
            part_remove(old);
            part_unref(old);
        } else {
            t->parts[k++] = old;
        }
    }
    t->n_parts = k;
    uint32_t at = t->n_parts++;
    for (; at > 0 && t->parts[at - 1]->info.first > p->info.first; at--)
        t->parts[at] = t->parts[at - 1];
    t->parts[at] = p;
    return ERR_OK;
}

enum errc table_add_part(struct table *t, struct part *p)
{
    pthread_mutex_lock(&t->lock);
    enum errc rc = add_part_locked(t, p);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

// The first n batches begin a list of their own; false when out of memory. Under the lock.
static bool split_head(struct table *t, uint32_t n)
{
    struct head_list *h = &t->head, *f = &t->flushing;
    struct head_batch *v = mem_alloc(n * sizeof *v);
    if (!v)
        return false;
    memcpy(v, h->v, n * sizeof *v);
    *f = (struct head_list){.v = v, .n = n, .cap = n, .since = h->since, .log_at = h->log_at};
    for (uint32_t i = 0; i < n; i++) {
        f->bytes += v[i].memory;
        f->rows += v[i].batch->rows;
        f->log += v[i].log;
    }
    memmove(h->v, h->v + n, (h->n - n) * sizeof *v);
    h->n -= n;
    h->bytes -= f->bytes;
    h->rows -= f->rows;
    h->log -= f->log;
    h->log_at += f->log; // at least that much came before its new first row
    t->swaps++;
    return true;
}

bool table_take_head(struct table *t)
{
    pthread_mutex_lock(&t->lock);
    struct head_list *h = &t->head;
    bool any = h->n > 0;
    uint32_t n = any;
    while (any && n < h->n && !part_between(t, h->v[0].first, h->v[n].last))
        n++;
    if (any && n == h->n) {
        t->flushing = *h;
        *h = (struct head_list){0};
        t->swaps++;
    } else if (any) {
        any = split_head(t, n);
    }
    pthread_mutex_unlock(&t->lock);
    return any;
}

enum errc table_flushed(struct table *t, struct part *p)
{
    pthread_mutex_lock(&t->lock);
    enum errc rc = add_part_locked(t, p);
    struct head_list old = t->flushing;
    if (rc == ERR_OK) {
        t->flushing = (struct head_list){0};
        atomic_fetch_sub(&t->store->head_bytes, old.bytes);
    }
    pthread_mutex_unlock(&t->lock);
    if (rc == ERR_OK)
        head_clear(&old);
    return rc;
}

enum errc table_flush_failed(struct table *t)
{
    enum errc rc = ERR_OK;
    pthread_mutex_lock(&t->lock);
    struct head_list *a = &t->flushing, *b = &t->head;
    if (b->n) {
        struct head_batch *v = mem_realloc(a->v, (a->n + b->n) * sizeof *v);
        if (!v) {
            rc = ERR_NOMEM;
            goto out;
        }
        memcpy(v + a->n, b->v, b->n * sizeof *v);
        *a = (struct head_list){.v = v,
                                .n = a->n + b->n,
                                .cap = a->n + b->n,
                                .bytes = a->bytes + b->bytes,
                                .rows = a->rows + b->rows,
                                .since = a->since,
                                .log = a->log + b->log,
                                .log_at = a->log_at};
        mem_free(b->v);
    }
    t->head = *a;
    t->flushing = (struct head_list){0};
    t->swaps++;
out:
    pthread_mutex_unlock(&t->lock);
    return rc;
}
