#include "query/logs.h"
#include <stdlib.h>

// The rows kept so far, as a heap with the one to be given up next on top.
struct top {
    struct log_entry **e;
    uint32_t n, cap, limit;
    bool forward;
    size_t bytes, max_bytes;
};

// a stands before b in the answer.
static bool before(bool forward, const struct log_entry *a, const struct log_entry *b)
{
    if (a->time != b->time)
        return forward ? a->time < b->time : a->time > b->time;
    return forward ? a->seq < b->seq : a->seq > b->seq;
}

static void sift_up(struct top *t, uint32_t i)
{
    for (; i && before(t->forward, t->e[(i - 1) / 2], t->e[i]); i = (i - 1) / 2) {
        struct log_entry *x = t->e[i];
        t->e[i] = t->e[(i - 1) / 2];
        t->e[(i - 1) / 2] = x;
    }
}

static void sift_down(struct top *t, uint32_t n)
{
    for (uint32_t i = 0;;) {
        uint32_t c = 2 * i + 1;
        if (c >= n)
            return;
        if (c + 1 < n && before(t->forward, t->e[c], t->e[c + 1]))
            c++;
        if (!before(t->forward, t->e[i], t->e[c]))
            return;
        struct log_entry *x = t->e[i];
        t->e[i] = t->e[c];
        t->e[c] = x;
        i = c;
    }
}

static size_t entry_size(const struct log_entry *e)
{
    size_t n = sizeof *e + sizeof *e->labels * e->n_labels + e->line.n;
    for (uint32_t i = 0; i < e->n_labels; i++)
        n += e->labels[i].name.n + e->labels[i].value.n;
    return n;
}

static struct slice copy_into(char **p, struct slice s)
{
    if (s.n)
        memcpy(*p, s.p, s.n);
    struct slice out = slice_of(*p, s.n);
    *p += s.n;
    return out;
}

// One block: the entry, its labels, its bytes.
static struct log_entry *entry_new(const struct rows *r)
{
    uint32_t n;
    struct row_label *l = row_labels(&r->row, r->row.scratch, &n);
    if (!l)
        return NULL;
    struct log_entry shape = {.time = r->row.time, .seq = r->seq, .line = r->row.line, .labels = l, .n_labels = n};
    struct log_entry *e = malloc(entry_size(&shape));
    if (!e)
        return NULL;
    *e = shape;
    e->labels = (struct row_label *)(e + 1);
    char *p = (char *)(e->labels + n);
    for (uint32_t i = 0; i < n; i++)
        e->labels[i] = (struct row_label){copy_into(&p, l[i].name), copy_into(&p, l[i].value), l[i].from};
    e->line = copy_into(&p, shape.line);
    return e;
}

static enum errc check_size(const struct top *t, struct error *err)
{
    if (t->bytes <= t->max_bytes)
        return ERR_OK;
    return ERR(err, LIMIT, "the answer is larger than the query's memory budget of %zu MiB: lower the limit", t->max_bytes >> 20);
}

static enum errc add(struct top *t, struct log_entry *e, struct error *err)
{
    t->bytes += entry_size(e);
    if (t->n == t->limit) {
        t->bytes -= entry_size(t->e[0]);
        free(t->e[0]);
        t->e[0] = e;
        sift_down(t, t->n);
        return check_size(t, err);
    }
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? t->cap * 2 : 256;
        struct log_entry **more = realloc(t->e, cap * sizeof *more);
        if (!more) {
            free(e);
            return ERR(err, NOMEM, "out of memory collecting log lines");
        }
        t->e = more;
        t->cap = cap;
    }
    t->e[t->n++] = e;
    sift_up(t, t->n - 1);
    return check_size(t, err);
}

static enum errc collect(struct query *q, const struct log_query *l, struct rows *r, struct top *t, struct error *err)
{
    for (;;) {
        bool more;
        TRY(rows_next(r, &more, err));
        if (!more)
            return ERR_OK;
        struct log_entry probe = {.time = r->row.time, .seq = r->seq};
        if (t->n == t->limit && !before(t->forward, &probe, t->e[0]))
            continue;
        struct log_entry *e = entry_new(r);
        if (!e)
            return ERR(err, NOMEM, "out of memory collecting log lines");
        TRY(add(t, e, err));
        if (t->n < t->limit)
            continue;
        // Full: rows beyond the worst one kept are not worth reading.
        if (l->forward)
            r->ceil = t->e[0]->time;
        else
            r->floor = t->e[0]->time;
    }
}

// Takes the heap apart: worst last.
static void sort_top(struct top *t)
{
    for (uint32_t n = t->n; n > 1; n--) {
        struct log_entry *worst = t->e[0];
        t->e[0] = t->e[n - 1];
        t->e[n - 1] = worst;
        sift_down(t, n - 1);
    }
}

static uint32_t thin(struct top *t, int64_t interval, uint32_t limit)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        int64_t gap = n ? t->e[i]->time - t->e[n - 1]->time : 0;
        if (n == 0 || (n < limit && (gap < 0 ? -gap : gap) >= interval))
            t->e[n++] = t->e[i];
        else
            free(t->e[i]);
    }
    return n;
}

enum errc log_query_run(struct query *q, const struct log_query *l, struct log_result *out, struct error *err)
{
    *out = (struct log_result){0};
    struct top t = {.limit = l->interval > 0 ? UINT32_MAX : l->limit, .forward = l->forward, .max_bytes = q->limits.max_memory};
    struct rows_options o = {.selector = &l->selector,
                             .pipeline = &l->pipeline,
                             .from = l->from,
                             .to = l->to,
                             .newest_first = !l->forward,
                             .line = true,
                             .need = ROWS_LABELS};
    struct rows r;
    enum errc rc;
    GO(rows_open(&r, q, &o, err));
    GO(collect(q, l, &r, &t, err));
    sort_top(&t);
    if (l->interval > 0)
        t.n = thin(&t, l->interval, l->limit);
    q->stats.entries = t.n;
out:
    rows_close(&r);
    *out = (struct log_result){t.e, t.n};
    if (rc != ERR_OK)
        log_result_free(out);
    return rc;
}

void log_result_free(struct log_result *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        free(r->entries[i]);
    free(r->entries);
    *r = (struct log_result){0};
}
