// Merging parts: a table that gets little leaves many small parts, one every head_max_age. COMPACT_WIDTH neighbours of
// about one size become one, or COMPACT_LEAST of them that are large already. The new part covers their sequences, so a crash at
// any moment leaves each row once: at opening, a part whose sequences another covers is removed.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/store_int.h"
#include <unistd.h>

enum {
    COMPACT_WIDTH = 8,
    COMPACT_LEAST = 4,             // parts, when more would make too large a one
    COMPACT_MAX_ROWS = 512 << 10,  // of the result: a merge happens in memory
    COMPACT_MAX_SAMPLES = 2 << 20, // of samples, which are small, and whose series are worth having once
    COMPACT_PAUSE_S = 60,          // after a failure
};

// Replayed rows of a lost part that lie between the two sequences are still in memory: a part may not cover them.
static bool spans_head(const struct table *t, uint64_t first, uint64_t last)
{
    for (int k = 0; k < 2; k++) {
        const struct head_list *h = k ? &t->head : &t->flushing;
        for (uint32_t i = 0; i < h->n && h->v[i].first < last; i++)
            if (h->v[i].last > first)
                return true;
    }
    return false;
}

// The first run of COMPACT_WIDTH neighbours of which none has more than half the rows: a large part waits until as much
// has come after it, so that a row is rewritten a few times at most. False: none.
static uint32_t find_run(struct table *t, struct part *run[COMPACT_WIDTH])
{
    uint32_t found = 0, max_rows = t->signal == SIGNAL_SAMPLE ? COMPACT_MAX_SAMPLES : COMPACT_MAX_ROWS;
    pthread_mutex_lock(&t->lock);
    for (uint32_t at = 0; !found && at + COMPACT_LEAST <= t->n_parts; at++) {
        uint64_t rows = 0, bytes = 0, largest = 0;
        uint32_t n = 0;
        bool more = false;
        for (; n < COMPACT_WIDTH && at + n < t->n_parts; n++) {
            struct part *p = t->parts[at + n];
            more = rows + p->info.rows > max_rows || bytes + p->info.bytes > MAX_COMPACT_BYTES;
            if (p->damaged || more)
                break;
            rows += p->info.rows;
            bytes += p->info.bytes;
            largest = p->info.rows > largest ? p->info.rows : largest;
        }
        bool enough = n == COMPACT_WIDTH || (more && n >= COMPACT_LEAST);
        bool take = enough && rows >= 2 * largest && !spans_head(t, t->parts[at]->info.first, t->parts[at + n - 1]->info.last);
        found = take ? n : 0;
        for (uint32_t i = 0; i < found; i++)
            run[i] = part_ref(t->parts[at + i]);
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

struct merge {
    struct part_cursor *cursor; // one a block, all alive until the merge is done
    struct batch **in;
    uint32_t n, cap;
};

static enum errc read_part(struct merge *m, struct part *p, struct error *err)
{
    int fd = part_file(p, err);
    if (fd < 0)
        return ERR_IO;
    enum errc rc = ERR_OK;
    for (uint32_t b = 0; b < p->info.n_blocks && rc == ERR_OK; b++) {
        struct part_cursor *c = &m->cursor[m->n];
        part_cursor_init(c, MAX_QUERY_MEMORY);
        m->in[m->n++] = &c->out;
        rc = part_cursor_block(c, p, fd, b, err);
        for (uint32_t i = 0; i < p->info.n_columns && rc == ERR_OK; i++)
            rc = part_cursor_column(c, i, err);
    }
    close(fd);
    if (rc == ERR_CORRUPT)
        p->damaged = true;
    return rc;
}

static enum errc merge_run(struct table *t, struct part *run[COMPACT_WIDTH], uint32_t n, struct error *err)
{
    struct merge m = {0};
    struct batch *all = NULL;
    struct part *p = NULL;
    bool written = false;
    uint64_t first = run[0]->info.first, last = run[n - 1]->info.last;
    char *path = catalog_path(t->store, t, first, last);
    for (uint32_t i = 0; i < n; i++)
        m.cap += run[i]->info.n_blocks;
    m.cursor = mem_zalloc(m.cap * sizeof *m.cursor);
    m.in = mem_zalloc(m.cap * sizeof *m.in);
    enum errc rc = ERR_OK;
    if (!m.cursor || !m.in || !path) {
        rc = ERR(err, NOMEM, "no memory to merge %u blocks", m.cap);
        goto out;
    }
    for (uint32_t i = 0; i < n; i++)
        GO(read_part(&m, run[i], err));
    store_flush_due(t->store); // a merge takes long: heads do not wait for it
    all = batch_merge(m.in, m.n, MAX_FLUSH_MEMORY);
    if (!all) {
        rc = ERR(err, NOMEM, "no memory to merge %u blocks", m.n);
        goto out;
    }
    GO(part_write(path, all, &(struct part_meta){t->tenant, first, last}, err));
    written = true;
    GO(part_open(path, &p, err));
    rc = table_add_part(t, p);
    if (rc == ERR_OK)
        p = NULL;
out:
    if (written && rc != ERR_OK)
        unlink(path);
    part_unref(p);
    batch_unref(all);
    for (uint32_t i = 0; i < m.n; i++)
        part_cursor_free(&m.cursor[i]);
    mem_free(m.cursor);
    mem_free(m.in);
    mem_free(path);
    return rc;
}

enum errc table_compact(struct table *t, bool *merged, struct error *err)
{
    struct part *run[COMPACT_WIDTH];
    uint32_t n = t->compact_after > clock_mono_ns() ? 0 : find_run(t, run);
    if (!n)
        return ERR_OK;
    enum errc rc = merge_run(t, run, n, err);
    *merged = *merged || rc == ERR_OK;
    if (rc != ERR_OK)
        t->compact_after = clock_mono_ns() + COMPACT_PAUSE_S * 1000000000ll;
    for (uint32_t i = 0; i < n; i++)
        part_unref(run[i]);
    return rc;
}
