// The log's way back. At opening, requests that no part covers are decoded again, by as many threads as there are
// processors; small ones are joined. The filter of repeated requests is filled later, by the log's thread before its
// first commit: from the rows in memory, and from the covered requests that the log still has.
#include "base/alloc.h"
#include "base/limits.h"
#include "store/store_int.h"
#include <stdio.h>
#include <unistd.h>

enum {
    JOB_BYTES = 256 << 10, // of requests, for one thread at a time
    MAX_HELPERS = 7,
    JOIN_BELOW = 64, // rows: batches smaller than this become one when there are JOIN_MIN or more
    JOIN_MIN = 8,
};

// A request, then what was made of it (or of it and its neighbours).
struct item {
    struct table *table;
    struct wal_record r;
    uint64_t last; // first: r.sequence
    size_t log;
    struct batch *batch;
    uint64_t *hashes; // when only these are wanted: of the kept rows, in the batch's arena
    uint32_t n_hashes;
};
struct job {
    uint32_t from, to; // items
    enum errc rc;
    struct error err;
};
struct replay {
    struct store *store;
    bool hashes; // covered requests' hashes are wanted, not their rows
    struct item *item;
    uint32_t n, cap;
    struct job *job;
    uint32_t n_jobs;
    _Atomic uint32_t next_job;
};

// ---- one request ----------------------------------------------------------------------------------------------------
// Decodes a record again. *out null: it cannot be (said on stderr), or has no rows.
static enum errc decode(const struct wal_record *r, struct batch **out, struct error *err)
{
    struct wire_options opt = {.received_ns = r->received_ns, .discover_service = r->discover};
    struct wire_report report = {0};
    struct error e = {0};
    *out = NULL;
    enum errc rc = wire_decode(r->format, r->payload, false, &opt, out, &report, &e);
    if (rc == ERR_NOMEM)
        return ERR(err, NOMEM, "replaying the log at sequence %llu: out of memory", (unsigned long long)r->sequence);
    if (rc != ERR_OK) {
        fprintf(stderr, "sonde: log sequence %llu (%s) cannot be decoded any more: %s; its rows are left out\n",
                (unsigned long long)r->sequence, wire_text(r->format), e.msg);
        *out = NULL;
    } else if ((*out)->rows == 0) {
        batch_unref(*out);
        *out = NULL;
    } else if ((*out)->rows != r->rows) {
        fprintf(stderr, "sonde: log sequence %llu gave %u rows and gives %u now\n", (unsigned long long)r->sequence, r->rows,
                (*out)->rows);
    }
    return ERR_OK;
}

// The record's list of dropped rows, in the batch's arena. Null when out of memory.
static uint32_t *dropped_of(const struct wal_record *r, struct batch *b)
{
    uint32_t *d = arena_alloc(&b->arena, r->n_dropped * sizeof *d);
    if (d && r->n_dropped)
        memcpy(d, r->dropped, r->n_dropped * sizeof *d);
    return d;
}

// The kept rows' hashes.
static bool hash_item(struct item *it, const uint32_t *dropped)
{
    struct batch *b = it->batch;
    uint64_t *h = arena_alloc(&b->arena, b->rows * sizeof *h);
    if (!h)
        return false;
    batch_row_hashes(b, h);
    uint32_t n = 0;
    for (uint32_t r = 0, k = 0; r < b->rows; r++) {
        if (k < it->r.n_dropped && dropped[k] == r)
            k++;
        else
            h[n++] = h[r];
    }
    it->hashes = h;
    it->n_hashes = n;
    return true;
}

static enum errc make_batch(struct item *it, bool hashes, struct error *err)
{
    TRY(decode(&it->r, &it->batch, err));
    if (!it->batch)
        return ERR_OK;
    uint32_t *dropped = dropped_of(&it->r, it->batch);
    bool ok = dropped != NULL;
    if (ok && hashes) {
        ok = hash_item(it, dropped);
    } else if (ok && it->r.n_dropped) {
        it->batch = batch_drop(it->batch, dropped, it->r.n_dropped);
        ok = it->batch != NULL;
    }
    return ok ? ERR_OK : ERR(err, NOMEM, "replaying the log: out of memory");
}

// ---- a job ----------------------------------------------------------------------------------------------------------
// Small batches of one table that follow each other, from item `at` on: into `in`, and their items into `from`.
static uint32_t small_run(struct item *v, uint32_t at, uint32_t to, struct batch **in, struct item **from)
{
    uint32_t n = 0;
    for (uint32_t i = at; i < to; i++) {
        if (v[i].table != v[at].table || !v[i].batch)
            continue;
        if (v[i].batch->rows >= JOIN_BELOW || table_part_between(v[at].table, v[at].r.sequence, v[i].last))
            break;
        in[n] = v[i].batch;
        from[n++] = &v[i];
    }
    return n;
}

// One-row requests would each keep an arena. When memory is short they do.
static void join_small(struct item *v, uint32_t from, uint32_t to)
{
    struct batch **in = mem_alloc((to - from) * sizeof *in);
    struct item **it = mem_alloc((to - from) * sizeof *it);
    for (uint32_t at = from; in && it && at < to; at++) {
        uint32_t n = v[at].batch ? small_run(v, at, to, in, it) : 0;
        struct batch *b = n >= JOIN_MIN ? batch_merge(in, n, MAX_BATCH_MEMORY) : NULL;
        for (uint32_t i = 0; b && i < n; i++) {
            batch_unref(it[i]->batch);
            it[i]->batch = NULL;
            if (i) {
                it[0]->log += it[i]->log;
                it[0]->last = it[i]->last;
            }
        }
        if (b)
            v[at].batch = b;
    }
    mem_free(in);
    mem_free(it);
}

static void *work(void *arg)
{
    struct replay *p = arg;
    for (;;) {
        uint32_t k = atomic_fetch_add(&p->next_job, 1);
        if (k >= p->n_jobs)
            return NULL;
        struct job *j = &p->job[k];
        for (uint32_t i = j->from; i < j->to && j->rc == ERR_OK; i++)
            j->rc = make_batch(&p->item[i], p->hashes, &j->err);
        if (j->rc == ERR_OK && !p->hashes)
            join_small(p->item, j->from, j->to);
    }
}

static enum errc make_jobs(struct replay *p, struct error *err)
{
    p->n_jobs = 0;
    p->job = mem_zalloc((p->n + 1) * sizeof *p->job);
    if (!p->job)
        return ERR(err, NOMEM, "replaying the log: out of memory");
    size_t bytes = JOB_BYTES;
    for (uint32_t i = 0; i < p->n; i++) {
        if (bytes >= JOB_BYTES) {
            p->job[p->n_jobs++].from = i;
            bytes = 0;
        }
        bytes += p->item[i].log;
        p->job[p->n_jobs - 1].to = i + 1;
    }
    atomic_store(&p->next_job, 0);
    return ERR_OK;
}

// Decodes what was gathered. A helper that cannot be started is done without.
static enum errc run_jobs(struct replay *p, struct error *err)
{
    pthread_t helper[MAX_HELPERS];
    uint32_t n = 0;
    TRY(make_jobs(p, err));
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    while (n < MAX_HELPERS && n + 1 < cpus && n + 1 < p->n_jobs && pthread_create(&helper[n], NULL, work, p) == 0)
        n++;
    work(p);
    for (uint32_t i = 0; i < n; i++)
        pthread_join(helper[i], NULL);
    for (uint32_t i = 0; i < p->n_jobs; i++)
        if (p->job[i].rc != ERR_OK) {
            if (err)
                *err = p->job[i].err;
            return p->job[i].rc;
        }
    return ERR_OK;
}

static void forget_items(struct replay *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        batch_unref(p->item[i].batch);
    p->n = 0;
    mem_free(p->job);
    p->job = NULL;
}

static enum errc gather(struct replay *p, struct table *t, const struct wal_record *r, struct error *err)
{
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 256;
        struct item *v = mem_realloc(p->item, cap * sizeof *v);
        if (!v)
            return ERR(err, NOMEM, "replaying the log: out of memory");
        p->item = v;
        p->cap = cap;
    }
    p->item[p->n++] = (struct item){.table = t, .r = *r, .last = r->sequence, .log = replay_cost(r)};
    return ERR_OK;
}

// ---- rows, at opening -----------------------------------------------------------------------------------------------
static struct table *table_of(struct store *s, const struct wal_record *r)
{
    return wire_text(r->format) ? table_get(s, r->tenant, wire_signal(r->format)) : NULL;
}

// The segment's requests come into the heads, in their order.
static enum errc insert_items(struct replay *p, struct error *err)
{
    struct store *s = p->store;
    TRY(run_jobs(p, err));
    for (uint32_t i = 0; i < p->n; i++) {
        struct item *it = &p->item[i];
        if (it->batch && table_insert(it->table, it->batch, it->r.sequence, it->last, it->log) != ERR_OK)
            return ERR(err, NOMEM, "replaying the log: out of memory");
        it->batch = NULL;
    }
    atomic_fetch_add(&s->stats.replayed_requests, p->n);
    if (atomic_load(&s->head_bytes) > s->opt.head_max_bytes * HEAD_PRESSURE)
        return store_flush(s, err);
    return ERR_OK;
}

static enum errc replay_one(void *arg, const struct wal_record *r, struct error *err)
{
    struct replay *p = arg;
    if (!r) {
        enum errc rc = insert_items(p, err);
        forget_items(p);
        return rc;
    }
    struct table *t = table_of(p->store, r);
    if (!t) {
        fprintf(stderr, "sonde: log sequence %llu has the unknown format %d, written by a newer version? It is left out\n",
                (unsigned long long)r->sequence, (int)r->format);
        return ERR_OK;
    }
    return table_covers(t, r->sequence) ? ERR_OK : gather(p, t, r, err);
}

enum errc store_replay(struct store *s, struct error *err)
{
    struct replay p = {.store = s};
    enum errc rc = wal_replay(&s->wal, true, replay_one, &p, err);
    forget_items(&p);
    mem_free(p.item);
    return rc;
}

// ---- the filter, before the first commit ----------------------------------------------------------------------------
static bool needs_no_filter(struct store *s)
{
    pthread_mutex_lock(&s->queue_lock);
    bool yes = s->queue_closed && !s->queue;
    pthread_mutex_unlock(&s->queue_lock);
    return yes;
}

static enum errc rebuild_one(void *arg, const struct wal_record *r, struct error *err)
{
    struct replay *p = arg;
    if (needs_no_filter(p->store))
        return ERR_CANCELLED;
    if (r) {
        struct table *t = table_of(p->store, r);
        return t && table_covers(t, r->sequence) ? gather(p, t, r, err) : ERR_OK;
    }
    enum errc rc = run_jobs(p, err);
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->item[i].n_hashes; k++)
            dedup_restore(&p->item[i].table->dedup, p->item[i].hashes[k]);
    forget_items(p);
    return rc;
}

static enum errc rebuild_head(struct table *t, void *arg)
{
    (void)arg;
    uint32_t n;
    struct batch **v = table_head_batches(t, &n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t *h = mem_alloc(v[i]->rows * sizeof *h);
        if (h)
            batch_row_hashes(v[i], h);
        for (uint32_t r = 0; h && r < v[i]->rows; r++)
            dedup_restore(&t->dedup, h[r]);
        mem_free(h);
        batch_unref(v[i]);
    }
    mem_free(v);
    return ERR_OK;
}

static enum errc has_part(struct table *t, void *arg)
{
    pthread_mutex_lock(&t->lock);
    *(bool *)arg |= t->n_parts > 0;
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

// From the oldest to the newest, so that what is forgotten for want of room is the oldest.
void store_rebuild_filter(struct store *s)
{
    struct replay p = {.store = s, .hashes = true};
    struct error err = {0};
    enum errc rc = ERR_OK;
    bool covered = false;
    pthread_mutex_lock(&s->flush_lock); // no head becomes a part in between, where neither reading would find it
    tables_each(s, has_part, &covered); // asked now: the worker may have written one since the opening
    if (covered)
        rc = wal_replay(&s->wal, false, rebuild_one, &p, &err);
    tables_each(s, rebuild_head, NULL);
    pthread_mutex_unlock(&s->flush_lock);
    if (rc != ERR_OK && rc != ERR_CANCELLED)
        fprintf(stderr, "sonde: the filter of repeated requests is incomplete: %s\n", err.msg);
    forget_items(&p);
    mem_free(p.item);
}
