// The worker: turns heads into parts when they are large or old, removes parts past their retention, trims the log.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/store_int.h"
#include <stdio.h>
#include <unistd.h>

enum {
    PASS_NS = 1000000000, // a pass at least every second
    BUSY_PASSES = 32,     // under load parts are merged after so many flushes only: merging can wait, commits cannot
    LOG_DISTANCE = 4,     // a table with few rows keeps the log of the others from being trimmed
};

static enum errc write_part(struct table *t, struct error *err)
{
    struct store *s = t->store;
    uint32_t n = t->flushing.n; // nobody changes the list while it is flushing
    struct batch **in = mem_alloc((n + 1) * sizeof *in);
    uint64_t first = t->flushing.v[0].first, last = t->flushing.v[n - 1].last;
    char *path = catalog_path(s, t, first, last);
    struct batch *all = NULL;
    struct part *p = NULL;
    bool written = false;
    enum errc rc = ERR_OK;
    for (uint32_t i = 0; in && i < n; i++)
        in[i] = t->flushing.v[i].batch;
    if (in)
        all = batch_merge(in, n, MAX_FLUSH_MEMORY);
    if (!all || !path) {
        rc = ERR(err, NOMEM, "no memory to write a part of %llu rows", (unsigned long long)t->flushing.rows);
        goto out;
    }
    GO(part_write(path, all, &(struct part_meta){t->tenant, first, last}, err));
    written = true;
    GO(part_open(path, &p, err));
    if (table_flushed(t, p) != ERR_OK) {
        rc = ERR(err, NOMEM, "no memory for the list of parts");
        goto out;
    }
    p = NULL;
out:
    if (written && rc != ERR_OK)
        unlink(path); // else it would cover rows that are still in the head
    part_unref(p);
    batch_unref(all);
    mem_free(path);
    mem_free(in);
    return rc;
}

// Of what is in memory: the last when it was taken, and the first of what is left.
static uint64_t last_sequence(struct table *t)
{
    pthread_mutex_lock(&t->lock);
    const struct head_list *h = t->head.n ? &t->head : &t->flushing;
    uint64_t last = h->v[h->n - 1].last;
    pthread_mutex_unlock(&t->lock);
    return last;
}

static uint64_t first_sequence(struct table *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t first = t->head.n ? t->head.v[0].first : UINT64_MAX;
    pthread_mutex_unlock(&t->lock);
    return first;
}

// Under flush_lock.
static enum errc flush_table(struct table *t, struct error *err)
{
    if (!t->flushing.n && !table_take_head(t))
        return ERR_OK;
    enum errc rc;
    uint64_t last = last_sequence(t);
    do {
        rc = write_part(t, err);
        if (rc != ERR_OK)
            table_flush_failed(t);
    } while (rc == ERR_OK && t->flushing.n == 0 && first_sequence(t) <= last && table_take_head(t));
    if (rc != ERR_OK && !atomic_load(&t->store->flush_failing))
        fprintf(stderr, "sonde: writing a part failed, its rows stay in memory and in the log: %s\n",
                err ? err->msg : errc_text(rc));
    atomic_store(&t->store->flush_failing, rc != ERR_OK);
    return rc;
}

struct pass {
    struct error err;
    enum errc rc; // of the first failed flush
    bool all;     // not only the large and old
    bool flushed, merged;
    int64_t now;
    uint64_t uncovered;
};

static bool is_due(struct table *t, const struct pass *p)
{
    const struct store_options *o = &t->store->opt;
    pthread_mutex_lock(&t->lock);
    const struct head_list *h = &t->head;
    uint64_t behind = atomic_load(&t->store->log_bytes) - h->log_at; // log from its first row on
    bool due = t->flushing.n || (h->n && (p->all || h->bytes > o->head_max_bytes || h->log > table_log_max(t) ||
                                          behind > LOG_DISTANCE * table_log_max(t) || p->now - h->since > o->head_max_age_ns));
    pthread_mutex_unlock(&t->lock);
    return due;
}

static enum errc flush_due(struct table *t, void *arg)
{
    struct pass *p = arg;
    if (!is_due(t, p))
        return ERR_OK;
    struct error err = {0};
    enum errc rc = flush_table(t, &err);
    if (rc == ERR_OK) {
        p->flushed = true;
    } else if (p->rc == ERR_OK) {
        p->rc = rc;
        p->err = err;
    }
    return ERR_OK; // the other tables are tried all the same
}

static enum errc drop_old(struct table *t, void *arg)
{
    int64_t oldest = *(int64_t *)arg;
    pthread_mutex_lock(&t->lock);
    uint32_t k = 0;
    for (uint32_t i = 0; i < t->n_parts; i++) {
        struct part *p = t->parts[i];
        if (p->info.max_time < oldest) {
            part_remove(p);
            part_unref(p);
        } else {
            t->parts[k++] = p;
        }
    }
    t->n_parts = k;
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

static enum errc lowest_uncovered(struct table *t, void *arg)
{
    struct pass *p = arg;
    pthread_mutex_lock(&t->lock);
    if (t->head.n && t->head.v[0].first < p->uncovered)
        p->uncovered = t->head.v[0].first;
    if (t->flushing.n && t->flushing.v[0].first < p->uncovered)
        p->uncovered = t->flushing.v[0].first;
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

static enum errc compact(struct table *t, void *arg)
{
    struct error err = {0};
    struct pass *p = arg;
    if (table_compact(t, &p->merged, &err) != ERR_OK)
        fprintf(stderr, "sonde: merging parts: %s\n", err.msg);
    return ERR_OK;
}

static enum errc count_resources(struct table *t, void *arg)
{
    size_t *sum = arg;
    pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; i < t->n_parts; i++)
        *sum += part_resource_memory(t->parts[i]);
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

// The oldest parts' first: new ones are asked for more often.
static enum errc drop_resources(struct table *t, void *arg)
{
    size_t *sum = arg;
    pthread_mutex_lock(&t->lock); // references to parts are taken under it
    for (uint32_t i = 0; i<t->n_parts && * sum> t->store->opt.resource_cache / 2; i++) {
        size_t n = part_resource_memory(t->parts[i]);
        if (n && part_forget_resources(t->parts[i]))
            *sum -= n < *sum ? n : *sum;
    }
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

static void trim_resources(struct store *s)
{
    size_t sum = 0;
    tables_each(s, count_resources, &sum);
    if (sum > s->opt.resource_cache)
        tables_each(s, drop_resources, &sum);
}

static void flush_and_trim(struct store *s, struct pass *p)
{
    // Many tables below their own limit can be too much together.
    p->all = p->all || atomic_load(&s->head_bytes) > 2 * s->opt.head_max_bytes;
    tables_each(s, flush_due, p);
    if (p->flushed && s->replayed) {         // replay itself goes by the list of segments
        p->uncovered = wal_settled(&s->wal); // first: commits go on while the heads are looked at
        tables_each(s, lowest_uncovered, p);
        wal_trim(&s->wal, p->uncovered);
    }
}

void store_flush_due(struct store *s)
{
    struct pass p = {.now = clock_mono_ns()};
    flush_and_trim(s, &p);
}

static enum errc run_pass(struct store *s, bool all, struct error *err)
{
    struct pass p = {.all = all, .now = clock_mono_ns()};
    pthread_mutex_lock(&s->flush_lock);
    flush_and_trim(s, &p);
    if (s->opt.retention_ns > 0) {
        int64_t oldest = clock_wall_ns() - s->opt.retention_ns;
        tables_each(s, drop_old, &oldest);
    }
    trim_resources(s);
    if (!all && (!p.flushed || ++s->busy_passes >= BUSY_PASSES)) {
        s->busy_passes = 0;
        tables_each(s, compact, &p);
    }
    pthread_mutex_unlock(&s->flush_lock);
    if (p.merged)
        worker_wake(s); // there may be more
    if (p.rc != ERR_OK && err && err->code == ERR_OK)
        *err = p.err;
    return p.rc;
}

enum errc store_flush(struct store *s, struct error *err)
{
    return run_pass(s, true, err);
}

void store_deadline(struct timespec *ts, int64_t ns)
{
    clock_gettime(CLOCK_MONOTONIC, ts);
    ns += ts->tv_nsec;
    ts->tv_sec += ns / 1000000000;
    ts->tv_nsec = ns % 1000000000;
}

static void *worker_main(void *arg)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->work_lock);
    while (!s->work_closed) {
        struct timespec until;
        store_deadline(&until, PASS_NS);
        // After a failure the disk gets a pause: the next try is the second's, not the next append's.
        bool pause = atomic_load(&s->flush_failing);
        while (!s->work_closed && (pause || !s->work_wanted))
            if (pthread_cond_timedwait(&s->work_more, &s->work_lock, &until) != 0)
                break;
        if (s->work_closed)
            break;
        s->work_wanted = false;
        pthread_mutex_unlock(&s->work_lock);
        run_pass(s, false, NULL);
        pthread_mutex_lock(&s->work_lock);
        pthread_cond_broadcast(&s->work_done);
    }
    pthread_mutex_unlock(&s->work_lock);
    return NULL;
}

void worker_wake(struct store *s)
{
    pthread_mutex_lock(&s->work_lock);
    s->work_wanted = true;
    pthread_cond_signal(&s->work_more);
    pthread_mutex_unlock(&s->work_lock);
}

void worker_wait(struct store *s)
{
    struct timespec until;
    store_deadline(&until, PASS_NS / 10);
    pthread_mutex_lock(&s->work_lock);
    pthread_cond_timedwait(&s->work_done, &s->work_lock, &until);
    pthread_mutex_unlock(&s->work_lock);
}

enum errc worker_start(struct store *s, struct error *err)
{
    int e = pthread_create(&s->worker, NULL, worker_main, s);
    if (e)
        return ERR(err, NOMEM, "starting the store's worker: %s", strerror(e));
    s->worker_running = true;
    return ERR_OK;
}

void worker_stop(struct store *s)
{
    pthread_mutex_lock(&s->work_lock);
    s->work_closed = true;
    pthread_cond_broadcast(&s->work_more);
    pthread_mutex_unlock(&s->work_lock);
    if (s->worker_running)
        pthread_join(s->worker, NULL);
    s->worker_running = false;
}
