// Opening, closing, statistics.
#include "base/alloc.h"
#include "base/limits.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void store_options_default(struct store_options *o)
{
    *o = (struct store_options){
        .head_max_bytes = MIB(64),
        .head_max_age_ns = 300ll * 1000000000,
        .head_max_log_bytes = MIB(8),
        .wal_segment_bytes = MIB(8),
        .wal_keep_bytes = MIB(32),
        .resource_cache = MIB(256),
        .discover_service = true,
    };
}

static char *path_in(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = mem_alloc(n);
    if (p)
        snprintf(p, n, "%s/%s", dir, name);
    return p;
}

static enum errc make_dir(const char *path, struct error *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return ERR_OK;
    if (errno == ENOSPC || errno == EDQUOT)
        return ERR(err, FULL, "making %s: %s", path, strerror(errno));
    return ERR(err, IO, "making %s: %s; name a directory that may be written with --data", path, strerror(errno));
}

// One process at a time has the directory.
static enum errc lock_dir(struct store *s, struct error *err)
{
    char *path = path_in(s->dir, "lock");
    if (!path)
        return ERR(err, NOMEM, "no memory to open the store");
    s->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    enum errc rc = ERR_OK;
    if (s->lock_fd < 0)
        rc = ERR(err, IO, "opening %s: %s", path, strerror(errno));
    else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        rc = ERR(err, DENIED, "%s is in use by another process; stop it or use another directory", s->dir);
    mem_free(path);
    return rc;
}

static enum errc prepare_dirs(struct store *s, struct error *err)
{
    s->parts_dir = path_in(s->dir, "parts");
    if (!s->parts_dir)
        return ERR(err, NOMEM, "no memory to open the store");
    TRY(make_dir(s->dir, err));
    TRY(lock_dir(s, err));
    return make_dir(s->parts_dir, err);
}

static enum errc open_log(struct store *s, struct error *err)
{
    uint64_t next;
    TRY(catalog_open(s, &next, err));
    char *path = path_in(s->dir, "wal");
    if (!path)
        return ERR(err, NOMEM, "no memory to open the store");
    enum errc rc = wal_open(&s->wal, path, s->opt.wal_segment_bytes, s->opt.wal_keep_bytes, next, err);
    mem_free(path);
    TRY(rc);
    if (s->lost)
        TRY(wal_uncover(&s->wal, err));
    catalog_set_aside(s);
    return store_replay(s, err);
}

static void store_free(struct store *s)
{
    for (uint32_t i = 0; i < s->n_tables; i++)
        table_free(s->tables[i]);
    mem_free(s->tables);
    catalog_forget_lost(s);
    wal_close(&s->wal);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->queue_lock);
    pthread_mutex_destroy(&s->tables_lock);
    pthread_mutex_destroy(&s->flush_lock);
    pthread_mutex_destroy(&s->work_lock);
    pthread_cond_destroy(&s->queue_more);
    pthread_cond_destroy(&s->queue_room);
    pthread_cond_destroy(&s->work_more);
    pthread_cond_destroy(&s->work_done);
    mem_free(s->parts_dir);
    mem_free(s->dir);
    mem_free(s);
}

enum errc store_open(struct store **out, const struct store_options *o, struct error *err)
{
    *out = NULL;
    struct store *s = mem_zalloc(sizeof *s);
    if (!s)
        return ERR(err, NOMEM, "no memory to open the store");
    s->opt = *o;
    s->lock_fd = -1;
    s->wal.fd = -1;
    s->queue_end = &s->queue;
    pthread_mutex_init(&s->queue_lock, NULL);
    pthread_mutex_init(&s->tables_lock, NULL);
    pthread_mutex_init(&s->flush_lock, NULL);
    pthread_mutex_init(&s->work_lock, NULL);
    pthread_condattr_t steady; // see store_deadline
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&s->queue_more, &steady);
    pthread_cond_init(&s->queue_room, &steady);
    pthread_cond_init(&s->work_more, &steady);
    pthread_cond_init(&s->work_done, &steady);
    pthread_condattr_destroy(&steady);
    enum errc rc = ERR_OK;
    s->dir = mem_alloc(strlen(o->dir) + 1);
    if (!s->dir) {
        rc = ERR(err, NOMEM, "no memory to open the store");
        goto out;
    }
    strcpy(s->dir, o->dir);
    s->opt.dir = s->dir;
    GO(prepare_dirs(s, err));
    GO(open_log(s, err));
    s->replayed = true;
    GO(commit_start(s, err));
    GO(worker_start(s, err));
    *out = s;
    return ERR_OK;
out:
    commit_stop(s);
    store_free(s);
    return rc;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    commit_stop(s);
    worker_stop(s);
    store_flush(s, NULL); // a failure was told on stderr; the log keeps the rows
    store_free(s);
}

static enum errc count_table(struct table *t, void *arg)
{
    struct store_stats *o = arg;
    pthread_mutex_lock(&t->lock);
    o->rows_head += t->head.rows + t->flushing.rows;
    o->bytes_head += t->head.bytes + t->flushing.bytes;
    o->parts += t->n_parts;
    for (uint32_t i = 0; i < t->n_parts; i++) {
        o->rows_parts += t->parts[i]->info.rows;
        o->bytes_disk += t->parts[i]->info.bytes;
    }
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

void store_stats(struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){
        .appended_rows = atomic_load(&s->stats.appended_rows),
        .duplicate_rows = atomic_load(&s->stats.duplicate_rows),
        .commits = atomic_load(&s->stats.commits),
        .commit_errors = atomic_load(&s->stats.commit_errors),
        .replayed_requests = atomic_load(&s->stats.replayed_requests),
        .torn_bytes = s->wal.torn_bytes,
        .commit_ns_total = atomic_load(&s->stats.commit_ns_total),
        .commit_ns_max = atomic_load(&s->stats.commit_ns_max),
    };
    tables_each(s, count_table, out);
    wal_size(&s->wal, &out->wal_bytes, &out->wal_segments);
}
