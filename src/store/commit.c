// Group commit: store_append queues, one thread takes all that waits, writes it to the log at once, syncs once,
// shows the rows to scans and only then tells the waiting.
//
// Exactly once: which rows of a request are repeated is decided before it is written and stands in its record, so that
// replay gives the same rows whatever the filter remembers by then.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/store_int.h"
#include <stdio.h>

// ---- taking a request in --------------------------------------------------------------------------------------------
struct move {
    uintptr_t from, to, n;
};

static void move_slice(struct slice *s, const struct move *m)
{
    uintptr_t p = (uintptr_t)s->p;
    if (p >= m->from && p + s->n <= m->from + m->n) // also the empty ones: no pointer is left to what the caller frees
        s->p = (const char *)(p - m->from + m->to);
}

// What referred to the request's bytes refers to the copy in the batch's arena afterwards.
static void move_strings(struct batch *b, const struct move *m)
{
    for (uint32_t c = 0; c < b->n_columns; c++) {
        struct column *col = &b->columns[c];
        move_slice(&col->name, m);
        for (uint32_t i = 0; column_is_text(col->kind) && i < col->n; i++)
            move_slice(&col->s[i], m);
    }
    for (uint32_t r = 0; r < b->n_resources; r++) {
        struct resource *res = &b->resources[r];
        for (uint32_t i = 0; i < res->n_labels; i++) {
            move_slice(&res->labels[i].name, m);
            move_slice(&res->labels[i].value, m);
        }
        for (uint32_t i = 0; i < res->n_attrs; i++) {
            move_slice(&res->attrs[i].key, m);
            if (column_is_text(res->attrs[i].value.kind))
                move_slice(&res->attrs[i].value.s, m);
        }
    }
}

// A copy, sealed, without the rows named. Null: out of memory.
static struct batch *without(const struct batch *b, const uint32_t *dropped, uint32_t n)
{
    struct batch *out = batch_new(b->signal, MAX_BATCH_MEMORY);
    if (!out)
        return NULL;
    uint32_t d = 0;
    for (uint32_t r = 0; r < b->rows; r++) {
        if (d < n && dropped[d] == r)
            d++;
        else
            batch_copy_row(out, b, r);
    }
    if (!batch_seal(out)) {
        batch_unref(out);
        return NULL;
    }
    return out;
}

static bool drops_end(const struct batch *b, const uint32_t *dropped, uint32_t n)
{
    return n && dropped[0] == b->rows - n; // ascending: all from there on
}

struct batch *batch_drop(struct batch *b, const uint32_t *dropped, uint32_t n)
{
    if (drops_end(b, dropped, n)) {
        batch_cut(b, b->rows - n);
        return b;
    }
    struct batch *out = without(b, dropped, n);
    batch_unref(b);
    return out;
}

static bool is_closing(struct store *s)
{
    pthread_mutex_lock(&s->queue_lock);
    bool yes = s->queue_closed;
    pthread_mutex_unlock(&s->queue_lock);
    return yes;
}

// Makes the request independent of the caller's memory and computes what needs no lock.
static enum errc prepare(struct request *q, struct slice raw, struct error *err)
{
    struct batch *b = q->batch;
    if (__atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) > 1) { // somebody else reads it: it must not change
        struct batch *copy = without(b, NULL, 0);
        if (!copy)
            return ERR(err, NOMEM, "no memory to take in a request of %u rows", b->rows);
        batch_unref(b);
        q->batch = b = copy;
    }
    q->raw = arena_dup(&b->arena, raw);
    q->hashes = arena_alloc(&b->arena, b->rows * sizeof *q->hashes);
    q->dropped = arena_alloc(&b->arena, b->rows * sizeof *q->dropped);
    if (!q->raw.p || !q->hashes || !q->dropped)
        return ERR(err, LIMIT, "a request of %zu bytes and %u rows needs more memory than one may (%zu bytes)", raw.n, b->rows,
                   (size_t)MAX_BATCH_MEMORY);
    move_strings(b, &(struct move){(uintptr_t)raw.p, (uintptr_t)q->raw.p, raw.n});
    batch_row_hashes(b, q->hashes);
    return ERR_OK;
}

static enum errc enqueue(struct store *s, struct request *q, struct error *err)
{
    pthread_mutex_lock(&s->queue_lock);
    while (!s->queue_closed && s->queue && s->queue_bytes + q->raw.n > MAX_WAL_QUEUE)
        pthread_cond_wait(&s->queue_room, &s->queue_lock);
    enum errc rc = ERR_OK;
    if (s->queue_closed) {
        rc = ERR(err, CLOSED, "the store is closing");
    } else {
        *s->queue_end = q;
        s->queue_end = &q->next;
        s->queue_bytes += q->raw.n;
        pthread_cond_signal(&s->queue_more);
    }
    pthread_mutex_unlock(&s->queue_lock);
    return rc;
}

static void request_free(struct request *q)
{
    batch_unref(q->batch);
    batch_unref(q->kept);
    mem_free(q);
}

enum errc store_append(struct store *s, struct slice tenant, enum wire_format f, struct slice raw, int64_t received_ns,
                       struct batch *batch, store_commit_fn *done, void *arg, struct error *err)
{
    enum errc rc = ERR_OK;
    struct request *q = mem_zalloc(sizeof *q);
    if (!q) {
        batch_unref(batch);
        return ERR(err, NOMEM, "no memory to take in a request");
    }
    q->batch = batch;
    q->done = done;
    q->arg = arg;
    if (!wire_text(f) || wire_signal(f) != batch->signal) {
        rc = ERR(err, BUG, "format %d does not fit the batch's signal", (int)f);
        goto out;
    }
    if (tenant.n > MAX_TENANT) {
        rc = ERR(err, LIMIT, "the tenant's name has %zu bytes, %d are allowed", tenant.n, MAX_TENANT);
        goto out;
    }
    if (raw.n + MAX_TENANT + 4 * (size_t)batch->rows > MAX_WAL_RECORD) {
        rc = ERR(err, LIMIT,
                 "a request of %zu bytes and %u rows is larger than a log record may be (%zu bytes); send less at once", raw.n,
                 batch->rows, (size_t)MAX_WAL_RECORD);
        goto out;
    }
    q->table = table_get(s, tenant, batch->signal);
    if (!q->table) {
        rc = ERR(err, NOMEM, "no memory for another tenant");
        goto out;
    }
    GO(prepare(q, raw, err));
    q->record = (struct wal_record){
        .received_ns = received_ns,
        .format = f,
        .discover = s->opt.discover_service,
        .rows = q->batch->rows,
        .tenant = q->table->tenant,
        .payload = q->raw,
        .payload_hash = hash64(q->raw.p, q->raw.n),
    };
    GO(enqueue(s, q, err));
    return ERR_OK;
out:
    request_free(q);
    return rc;
}

// ---- the log's thread -----------------------------------------------------------------------------------------------
// Finds the rows that are stored already, or stand twice in the request: the same time, content and metadata in one stream is the
// same event, as in Loki, and a span with the same ids is the same span.
static void find_repeated(struct request *q)
{
    struct dedup *d = &q->table->dedup;
    uint32_t n = 0;
    for (uint32_t r = 0; r < q->batch->rows; r++) {
        if (dedup_seen(d, q->hashes[r]))
            q->dropped[n++] = r;
        else
            dedup_add_pending(d, q->hashes[r]);
    }
    q->record.dropped = q->dropped;
    q->record.n_dropped = n;
    q->logged = n < q->batch->rows;
}

// What is in the log must come into the head: memory for the rows that are kept is had before.
static enum errc make_kept(struct request *q)
{
    uint32_t n = q->record.n_dropped;
    if (!q->logged || !n || drops_end(q->batch, q->dropped, n))
        return ERR_OK;
    q->kept = without(q->batch, q->dropped, n);
    return q->kept ? ERR_OK : ERR_NOMEM;
}

// Shows a committed request to scans. Without memory for a place in the list all commits wait for it. A store that closes
// meanwhile takes nothing more: a later request's part would cover this one, which the log still has for the next start.
static enum errc publish(struct request *q, uint64_t sequence)
{
    struct store *s = q->table->store;
    uint32_t n = q->record.n_dropped;
    atomic_fetch_add(&s->stats.appended_rows, q->batch->rows - n);
    atomic_fetch_add(&s->stats.duplicate_rows, n);
    if (!q->logged)
        return ERR_OK;
    if (!q->kept && n)
        batch_cut(q->batch, q->batch->rows - n);
    struct batch **b = q->kept ? &q->kept : &q->batch;
    while (table_insert(q->table, *b, sequence, sequence, replay_cost(&q->record)) != ERR_OK) {
        s->commit_stuck = is_closing(s);
        if (s->commit_stuck)
            return ERR_NOMEM;
        worker_wake(s);
        worker_wait(s);
    }
    *b = NULL;
    return ERR_OK;
}

// Holds commits back while flushes catch up; ERR_FULL when they cannot.
static enum errc wait_for_room(struct store *s)
{
    size_t max = s->opt.head_max_bytes * HEAD_PRESSURE;
    while (atomic_load(&s->head_bytes) > max) {
        if (atomic_load(&s->flush_failing))
            return ERR_FULL;
        worker_wake(s);
        worker_wait(s);
    }
    return ERR_OK;
}

static void count_commit(struct store *s, int64_t began)
{
    uint64_t ns = (uint64_t)(clock_mono_ns() - began);
    atomic_fetch_add(&s->stats.commits, 1);
    atomic_fetch_add(&s->stats.commit_ns_total, ns);
    if (ns > atomic_load(&s->stats.commit_ns_max)) // one writer
        atomic_store(&s->stats.commit_ns_max, ns);
}

static enum errc write_group(struct store *s, struct request *list, uint32_t n, uint64_t *first)
{
    struct wal_record *r = mem_alloc(n * sizeof *r);
    struct error err = {0};
    if (!r)
        return ERR_NOMEM;
    uint32_t k = 0;
    for (struct request *q = list; q; q = q->next)
        if (q->logged)
            r[k++] = q->record;
    int64_t began = clock_mono_ns();
    enum errc rc = k ? wal_write(&s->wal, r, k, &err) : ERR_OK;
    if (rc == ERR_OK && k) {
        *first = r[0].sequence;
        count_commit(s, began);
    }
    // Every failing request is told to its sender; the log of the server gets the first of a row of failures.
    if (rc != ERR_OK && !s->commit_failing)
        fprintf(stderr, "sonde: commit failed: %s\n", err.msg);
    s->commit_failing = rc != ERR_OK;
    mem_free(r);
    return rc;
}

static void commit_group(struct store *s, struct request *list)
{
    uint32_t n = 0;
    uint64_t sequence = 0;
    enum errc rc = s->commit_stuck ? ERR_CLOSED : wait_for_room(s);
    for (struct request *q = list; q; q = q->next, n++) {
        find_repeated(q);
        if (rc == ERR_OK)
            rc = make_kept(q);
    }
    if (rc == ERR_OK)
        rc = write_group(s, list, n, &sequence);
    if (rc != ERR_OK)
        atomic_fetch_add(&s->stats.commit_errors, n);
    for (struct request *q = list, *next; q; q = next) {
        next = q->next;
        enum errc one = rc;
        if (rc == ERR_OK) {
            dedup_commit(&q->table->dedup);
            one = s->commit_stuck ? ERR_NOMEM : publish(q, sequence);
            sequence += q->logged;
        } else {
            dedup_forget(&q->table->dedup);
        }
        if (q->done)
            q->done(q->arg, one);
        request_free(q);
    }
}

enum { SETTLE_NS = 200000000 };

// The filter's many rows wait until the first request is there, or a moment: opening needs the processors first.
static void settle(struct store *s)
{
    struct timespec until;
    store_deadline(&until, SETTLE_NS);
    pthread_mutex_lock(&s->queue_lock);
    while (!s->queue && !s->queue_closed)
        if (pthread_cond_timedwait(&s->queue_more, &s->queue_lock, &until) != 0)
            break;
    pthread_mutex_unlock(&s->queue_lock);
}

static void *log_main(void *arg)
{
    struct store *s = arg;
    settle(s);
    store_rebuild_filter(s);
    for (;;) {
        pthread_mutex_lock(&s->queue_lock);
        while (!s->queue && !s->queue_closed)
            pthread_cond_wait(&s->queue_more, &s->queue_lock);
        struct request *list = s->queue;
        s->queue = NULL;
        s->queue_end = &s->queue;
        s->queue_bytes = 0;
        pthread_cond_broadcast(&s->queue_room);
        pthread_mutex_unlock(&s->queue_lock);
        if (!list)
            return NULL;
        commit_group(s, list);
    }
}

enum errc commit_start(struct store *s, struct error *err)
{
    int e = pthread_create(&s->log_thread, NULL, log_main, s);
    if (e)
        return ERR(err, NOMEM, "starting the log's thread: %s", strerror(e));
    s->log_running = true;
    return ERR_OK;
}

void commit_stop(struct store *s)
{
    pthread_mutex_lock(&s->queue_lock);
    s->queue_closed = true;
    pthread_cond_broadcast(&s->queue_more);
    pthread_cond_broadcast(&s->queue_room);
    pthread_mutex_unlock(&s->queue_lock);
    if (s->log_running)
        pthread_join(s->log_thread, NULL);
    s->log_running = false;
}
