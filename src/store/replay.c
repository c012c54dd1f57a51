// The log's way back: at opening, requests that no part covers are decoded again; those that are covered only fill the
// filter of repeated requests, which the log's thread does before its first commit.
#include "base/limits.h"
#include "store/store_int.h"
#include <stdio.h>

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

// The kept rows' hashes go into the filter.
static enum errc remember(struct table *t, struct batch *b, const uint32_t *dropped, uint32_t n,
                          void (*add)(struct dedup *, uint64_t))
{
    uint64_t *h = arena_alloc(&b->arena, b->rows * sizeof *h);
    if (!h)
        return ERR_NOMEM;
    batch_row_hashes(b, h);
    for (uint32_t r = 0, k = 0; r < b->rows; r++) {
        if (k < n && dropped[k] == r)
            k++;
        else
            add(&t->dedup, h[r]);
    }
    return ERR_OK;
}

static struct table *table_of(struct store *s, const struct wal_record *r)
{
    return wire_text(r->format) ? table_get(s, r->tenant, wire_signal(r->format)) : NULL;
}

static enum errc replay_one(void *arg, const struct wal_record *r, struct error *err)
{
    struct store *s = arg;
    struct table *t = table_of(s, r);
    if (!t) {
        fprintf(stderr, "sonde: log sequence %llu has the unknown format %d, written by a newer version? It is left out\n",
                (unsigned long long)r->sequence, (int)r->format);
        return ERR_OK;
    }
    if (table_covers(t, r->sequence)) {
        s->rebuild_filter = true; // later, in the log's thread: opening does not wait for it
        return ERR_OK;
    }
    struct batch *b;
    TRY(decode(r, &b, err));
    if (!b)
        return ERR_OK;
    uint32_t *dropped = dropped_of(r, b);
    enum errc rc = dropped ? remember(t, b, dropped, r->n_dropped, dedup_add) : ERR_NOMEM;
    if (rc == ERR_OK && r->n_dropped) {
        struct batch *kept = batch_without(b, dropped, r->n_dropped);
        batch_unref(b);
        b = kept;
        rc = b ? ERR_OK : ERR_NOMEM;
    }
    if (rc == ERR_OK)
        rc = table_insert(t, b, r->sequence);
    else
        batch_unref(b);
    if (rc != ERR_OK)
        return error_raise(err, rc, __FILE__, __LINE__, "replaying the log: %s", errc_text(rc));
    atomic_fetch_add(&s->stats.replayed_requests, 1);
    if (atomic_load(&s->head_bytes) > s->opt.head_max_bytes * HEAD_PRESSURE)
        return store_flush(s, err);
    return ERR_OK;
}

enum errc store_replay(struct store *s, struct error *err)
{
    return wal_replay(&s->wal, true, replay_one, s, err);
}

static enum errc rebuild_one(void *arg, const struct wal_record *r, struct error *err)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->queue_lock);
    bool stop = s->queue_closed && !s->queue;
    pthread_mutex_unlock(&s->queue_lock);
    if (stop)
        return ERR_CANCELLED;
    struct table *t = table_of(s, r);
    struct batch *b = NULL;
    if (!t || !table_covers(t, r->sequence))
        return ERR_OK;
    TRY(decode(r, &b, err));
    uint32_t *dropped = b ? dropped_of(r, b) : NULL;
    if (dropped)
        remember(t, b, dropped, r->n_dropped, dedup_add_older); // read after newer ones: it may not push them out
    batch_unref(b);
    return ERR_OK;
}

enum errc store_rebuild_filter(struct store *s)
{
    struct error err = {0};
    enum errc rc = wal_replay(&s->wal, false, rebuild_one, s, &err);
    if (rc != ERR_OK && rc != ERR_CANCELLED)
        fprintf(stderr, "sonde: the filter of repeated requests is incomplete: %s\n", err.msg);
    return rc;
}
