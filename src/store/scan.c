// Scans: a snapshot of a table's head batches and parts, cut into sources (a head batch, a block of a part), visited in
// order of time. What time, resource or trace id rule out is skipped without being read.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/answers.h"
#include "store/store_int.h"
#include <stdlib.h>
#include <unistd.h>

// ---- the snapshot ---------------------------------------------------------------------------------------------------
struct snapshot {
    struct head_batch *head; // one reference to each batch
    struct part **parts;     // likewise
    uint32_t n_head, n_parts;
};

static void snapshot_free(struct snapshot *v)
{
    for (uint32_t i = 0; i < v->n_head; i++)
        batch_unref(v->head[i].batch);
    for (uint32_t i = 0; i < v->n_parts; i++)
        part_unref(v->parts[i]);
    mem_free(v->head);
    mem_free(v->parts);
    *v = (struct snapshot){0};
}

// What overlaps [from, to) by start time, or by [start, end] when overlap.
static enum errc snapshot_take(struct table *t, int64_t from, int64_t to, bool overlap, struct snapshot *out, struct error *err)
{
    *out = (struct snapshot){0};
    if (!t)
        return ERR_OK;
    pthread_mutex_lock(&t->lock);
    out->head = mem_alloc(((size_t)t->head.n + t->flushing.n + 1) * sizeof *out->head);
    out->parts = mem_alloc(((size_t)t->n_parts + 1) * sizeof *out->parts);
    bool ok = out->head && out->parts;
    for (int k = 0; ok && k < 2; k++) {
        const struct head_list *h = k ? &t->head : &t->flushing;
        for (uint32_t i = 0; i < h->n; i++) {
            const struct head_batch *e = &h->v[i];
            if (e->batch->min_time < to && (overlap ? e->max_end : e->batch->max_time) >= from) {
                batch_ref(e->batch);
                out->head[out->n_head++] = *e;
            }
        }
    }
    for (uint32_t i = 0; ok && i < t->n_parts; i++) {
        const struct part_info *p = &t->parts[i]->info;
        if (p->min_time < to && (overlap ? p->max_end : p->max_time) >= from)
            out->parts[out->n_parts++] = part_ref(t->parts[i]);
    }
    pthread_mutex_unlock(&t->lock);
    if (ok)
        return ERR_OK;
    snapshot_free(out);
    return ERR(err, NOMEM, "no memory to begin a scan");
}

enum { NO = 1, YES = 2 }; // answers

// ---- scans ----------------------------------------------------------------------------------------------------------
struct source {
    int64_t key; // newest_first: its newest time, else its oldest
    uint32_t index, block;
    bool head;
};
struct scan_part {
    bool ready, any;
    bool *match;             // per resource
    bool *want;              // per column
    int32_t trace, duration; // column numbers, -1: none
};
struct scan {
    struct scan_request q;
    struct arena arena; // of the request's copies and the lists below
    struct snapshot view;
    struct scan_part *parts;
    struct source *source;
    size_t n_sources, at;
    struct answers answers;
    struct part_cursor cursor;
    bool *match; // of a head batch's resources
    uint32_t match_cap;
    uint32_t *rows;
    uint32_t rows_cap;
    int fd; // of the part read last
    uint32_t fd_part;
    uint32_t hint;
};

static int newest_first(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    if (x->head != y->head) // what arrived last comes first
        return x->head ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? 1 : -1;
    return (x->block < y->block) - (x->block > y->block);
}
static int oldest_first(const void *a, const void *b)
{
    return newest_first(b, a);
}

static enum errc list_sources(struct scan *s, struct error *err)
{
    const struct snapshot *v = &s->view;
    size_t max = v->n_head;
    for (uint32_t i = 0; i < v->n_parts; i++)
        max += v->parts[i]->info.n_blocks;
    s->source = mem_alloc((max + 1) * sizeof *s->source);
    s->parts = mem_zalloc(((size_t)v->n_parts + 1) * sizeof *s->parts);
    if (!s->source || !s->parts)
        return ERR(err, NOMEM, "no memory to list %zu blocks", max);
    for (uint32_t i = 0; i < v->n_head; i++) {
        const struct batch *b = v->head[i].batch;
        s->source[s->n_sources++] = (struct source){s->q.newest_first ? b->max_time : b->min_time, i, 0, true};
    }
    for (uint32_t i = 0; i < v->n_parts; i++) {
        const struct part *p = v->parts[i];
        for (uint32_t k = 0; k < p->info.n_blocks; k++) {
            const struct part_block *b = &p->blocks[k];
            if (b->min_time < s->q.to && (s->q.overlap ? b->max_end : b->max_time) >= s->q.from)
                s->source[s->n_sources++] = (struct source){s->q.newest_first ? b->max_time : b->min_time, i, k, false};
            else if (s->q.budget)
                s->q.budget->blocks_skipped++;
        }
    }
    if (s->n_sources)
        qsort(s->source, s->n_sources, sizeof *s->source, s->q.newest_first ? newest_first : oldest_first);
    return ERR_OK;
}

enum errc store_scan(struct store *st, const struct scan_request *q, struct scan **out, struct error *err)
{
    *out = NULL;
    struct scan *s = mem_zalloc(sizeof *s);
    if (!s)
        return ERR(err, NOMEM, "no memory to begin a scan");
    s->q = *q;
    s->fd = -1;
    arena_init(&s->arena, MAX_QUERY_MEMORY);
    part_cursor_init(&s->cursor, MAX_QUERY_MEMORY);
    enum errc rc;
    struct slice *names = ARENA_ARRAY(&s->arena, struct slice, q->n_attrs);
    for (size_t i = 0; names && i < q->n_attrs; i++)
        names[i] = arena_dup(&s->arena, q->attrs[i]);
    s->q.attrs = names;
    if (arena_failed(&s->arena)) {
        rc = ERR(err, NOMEM, "no memory to begin a scan");
        goto out;
    }
    GO(snapshot_take(table_find(st, q->tenant, q->signal), q->from, q->to, q->overlap, &s->view, err));
    GO(list_sources(s, err));
    *out = s;
    return ERR_OK;
out:
    scan_close(s);
    return rc;
}

void scan_close(struct scan *s)
{
    if (!s)
        return;
    if (s->q.budget && s->source) // the reader had enough
        s->q.budget->blocks_skipped += s->n_sources - s->at;
    if (s->fd >= 0)
        close(s->fd);
    part_cursor_free(&s->cursor);
    snapshot_free(&s->view);
    answers_free(&s->answers);
    mem_free(s->source);
    mem_free(s->parts);
    mem_free(s->match);
    mem_free(s->rows);
    arena_free(&s->arena);
    mem_free(s);
}

// Asks the request's match once for each distinct resource. *any: at least one of them is wanted.
static enum errc match_resources(struct scan *s, const struct resource *r, uint32_t n, bool *match, bool *any, struct error *err)
{
    *any = false;
    for (uint32_t i = 0; i < n; i++) {
        match[i] = true;
        if (s->q.match) {
            uint8_t *a = answer_of(&s->answers, r[i].hash);
            if (!a)
                return ERR(err, NOMEM, "no memory to match %u resources", n);
            if (!*a)
                *a = s->q.match(s->q.match_arg, &r[i]) ? YES : NO;
            match[i] = *a == YES;
        }
        *any = *any || match[i];
    }
    return ERR_OK;
}

static bool wanted(const struct scan *s, const struct part_column *c)
{
    if (c->scope == COL_FIELD)
        return s->q.fields >> c->field & 1;
    bool yes = s->q.all_attrs;
    for (size_t i = 0; !yes && i < s->q.n_attrs; i++)
        yes = slice_eq(s->q.attrs[i], c->name);
    return yes;
}

// Once for each part: its resources matched, its columns chosen.
static enum errc ready_part(struct scan *s, uint32_t index, struct error *err)
{
    struct part *p = s->view.parts[index];
    struct scan_part *sp = &s->parts[index];
    if (sp->ready)
        return ERR_OK;
    TRY(part_resources(p, s->fd, err));
    sp->match = arena_alloc(&s->arena, p->info.n_resources);
    sp->want = arena_alloc(&s->arena, p->info.n_columns);
    if (!sp->match || !sp->want)
        return ERR(err, LIMIT, "no memory within the query's budget to match resources");
    sp->trace = sp->duration = -1;
    for (uint32_t i = 0; i < p->info.n_columns; i++) {
        const struct part_column *c = &p->columns[i];
        sp->want[i] = wanted(s, c);
        if (c->scope == COL_FIELD && c->field == FIELD_TRACE_ID)
            sp->trace = (int32_t)i;
        if (c->scope == COL_FIELD && c->field == FIELD_DURATION)
            sp->duration = (int32_t)i;
    }
    TRY(match_resources(s, p->resources, p->info.n_resources, sp->match, &sp->any, err));
    sp->ready = true;
    return ERR_OK;
}

static bool in_time(const struct scan *s, const struct batch *b, uint32_t row, uint32_t *hint)
{
    int64_t t = b->time[row], end;
    if (!s->q.overlap)
        return s->q.from <= t && t < s->q.to;
    const struct column *d = b->field[FIELD_DURATION];
    int64_t i = d ? column_find_hint(d, row, hint) : -1;
    if (i < 0)
        end = t;
    else if (__builtin_add_overflow(t, d->i64[i], &end))
        end = INT64_MAX;
    return t < s->q.to && end >= s->q.from;
}

// Fills s->rows with the rows that fit.
static enum errc choose_rows(struct scan *s, const struct batch *b, const bool *match, uint32_t *n, struct error *err)
{
    *n = 0;
    if (b->rows > s->rows_cap) {
        mem_free(s->rows);
        s->rows_cap = 0;
        s->rows = mem_alloc(b->rows * sizeof *s->rows);
        if (!s->rows)
            return ERR(err, NOMEM, "no memory to scan %u rows", b->rows);
        s->rows_cap = b->rows;
    }
    bool by_trace = !id128_zero(s->q.trace_id);
    const struct column *tr = b->field[FIELD_TRACE_ID];
    uint32_t time_hint = 0;
    if (!by_trace) {
        for (uint32_t r = 0; r < b->rows; r++)
            if (match[b->resource[r]] && in_time(s, b, r, &time_hint))
                s->rows[(*n)++] = r;
        return ERR_OK;
    }
    for (uint32_t i = 0; tr && i < tr->n; i++) {
        uint32_t r = tr->row ? tr->row[i] : i;
        if (id128_eq(tr->id128[i], s->q.trace_id) && match[b->resource[r]] && in_time(s, b, r, &time_hint))
            s->rows[(*n)++] = r;
    }
    return ERR_OK;
}

static enum errc visit_head(struct scan *s, const struct source *src, struct scan_batch *out, struct error *err)
{
    const struct head_batch *h = &s->view.head[src->index];
    const struct batch *b = h->batch;
    bool any;
    if (!id128_zero(s->q.trace_id) && !head_may_have_trace(h, s->q.trace_id)) {
        if (s->q.budget)
            s->q.budget->blocks_skipped++;
        return ERR_OK;
    }
    if (b->n_resources > s->match_cap) {
        mem_free(s->match);
        s->match_cap = 0;
        s->match = mem_alloc(b->n_resources);
        if (!s->match)
            return ERR(err, NOMEM, "no memory to match %u resources", b->n_resources);
        s->match_cap = b->n_resources;
    }
    TRY(match_resources(s, b->resources, b->n_resources, s->match, &any, err));
    if (!any) {
        if (s->q.budget)
            s->q.budget->blocks_skipped++;
        return ERR_OK;
    }
    uint32_t n;
    TRY(choose_rows(s, b, s->match, &n, err));
    if (s->q.budget) {
        s->q.budget->blocks++;
        s->q.budget->rows += b->rows;
        s->q.budget->bytes += h->memory;
    }
    if (n)
        *out = (struct scan_batch){.batch = b, .rows = s->rows, .n_rows = n};
    return ERR_OK;
}

static enum errc use_file(struct scan *s, uint32_t index, struct error *err)
{
    if (s->fd >= 0 && s->fd_part == index)
        return ERR_OK;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = part_file(s->view.parts[index], err);
    s->fd_part = index;
    return s->fd >= 0 ? ERR_OK : ERR_IO;
}

// Whether the block can hold a row that fits, without reading its columns.
static enum errc may_fit(struct scan *s, const struct source *src, bool *may, struct error *err)
{
    struct part *p = s->view.parts[src->index];
    const struct scan_part *sp = &s->parts[src->index];
    const struct part_block *b = &p->blocks[src->block];
    *may = false;
    for (uint32_t r = b->min_resource; sp->any && !*may && r <= b->max_resource; r++)
        *may = sp->match[r];
    if (*may && !id128_zero(s->q.trace_id))
        return part_may_have_trace(p, s->fd, src->block, s->q.trace_id, may, err);
    return ERR_OK;
}

static enum errc visit_block(struct scan *s, const struct source *src, struct scan_batch *out, struct error *err)
{
    struct part *p = s->view.parts[src->index];
    struct scan_part *sp = &s->parts[src->index];
    struct part_cursor *c = &s->cursor;
    bool may;
    uint32_t n;
    TRY(use_file(s, src->index, err));
    TRY(ready_part(s, src->index, err));
    TRY(may_fit(s, src, &may, err));
    if (!may) {
        if (s->q.budget)
            s->q.budget->blocks_skipped++;
        return ERR_OK;
    }
    enum errc rc;
    GO(part_cursor_block(c, p, s->fd, src->block, err));
    if (!id128_zero(s->q.trace_id) && sp->trace >= 0)
        GO(part_cursor_column(c, (uint32_t)sp->trace, err));
    if (s->q.overlap && sp->duration >= 0)
        GO(part_cursor_column(c, (uint32_t)sp->duration, err));
    GO(choose_rows(s, &c->out, sp->match, &n, err));
    for (uint32_t i = 0; n && i < p->info.n_columns; i++)
        if (sp->want[i])
            GO(part_cursor_column(c, i, err));
    if (n)
        *out = (struct scan_batch){.batch = &c->out, .rows = s->rows, .n_rows = n};
out:
    if (s->q.budget) {
        s->q.budget->blocks++;
        s->q.budget->rows += p->blocks[src->block].rows;
        s->q.budget->bytes += c->bytes_read;
    }
    return rc;
}

static enum errc check_budget(const struct scan *s, struct error *err)
{
    const struct budget *b = s->q.budget;
    if (!b)
        return ERR_OK;
    if (b->cancelled && __atomic_load_n(b->cancelled, __ATOMIC_RELAXED))
        return ERR(err, CANCELLED, "the query was cancelled");
    if (b->deadline_mono && clock_mono_ns() > b->deadline_mono)
        return ERR(err, TIMEOUT, "the query ran out of time; ask for a shorter range or a narrower selector");
    if (b->max_bytes && b->bytes > b->max_bytes)
        return ERR(err, LIMIT, "the query read more than its %llu bytes; ask for a shorter range or a narrower selector",
                   (unsigned long long)b->max_bytes);
    return ERR_OK;
}

// What is known about all that comes after the source visited last.
static int64_t bound_after(const struct scan *s)
{
    if (s->at == s->n_sources)
        return s->q.newest_first ? INT64_MIN : INT64_MAX;
    int64_t key = s->source[s->at].key;
    if (s->q.newest_first)
        return key < s->q.to ? key : s->q.to - 1;
    return s->q.overlap || key > s->q.from ? key : s->q.from;
}

enum errc scan_next(struct scan *s, struct scan_batch *out, struct error *err)
{
    *out = (struct scan_batch){0};
    while (s->at < s->n_sources) {
        TRY(check_budget(s, err));
        const struct source *src = &s->source[s->at];
        s->at++;
        TRY(src->head ? visit_head(s, src, out, err) : visit_block(s, src, out, err));
        if (out->batch) {
            out->bound = bound_after(s);
            return ERR_OK;
        }
    }
    return check_budget(s, err);
}

// ---- resources ------------------------------------------------------------------------------------------------------
struct listing {
    struct answers seen;
    int64_t from, to;
    bool (*fn)(void *arg, const struct resource *r);
    void *arg;
    bool stop;
};

static enum errc list_one(struct listing *l, const struct resource *r, struct error *err)
{
    uint8_t *a = answer_of(&l->seen, r->hash);
    if (!a)
        return ERR(err, NOMEM, "no memory to list resources");
    if (!*a) {
        *a = YES;
        l->stop = !l->fn(l->arg, r);
    }
    return ERR_OK;
}

static enum errc list_head(struct listing *l, const struct batch *b, struct error *err)
{
    uint32_t before = UINT32_MAX; // rows of one resource often follow each other
    for (uint32_t r = 0; r < b->rows && !l->stop; r++) {
        if (b->resource[r] == before || b->time[r] < l->from || b->time[r] >= l->to)
            continue;
        before = b->resource[r];
        TRY(list_one(l, &b->resources[before], err));
    }
    return ERR_OK;
}

static enum errc list_part(struct listing *l, struct part *p, struct error *err)
{
    if (!__atomic_load_n(&p->resources, __ATOMIC_ACQUIRE)) {
        int fd = part_file(p, err);
        if (fd < 0)
            return ERR_IO;
        enum errc rc = part_resources(p, fd, err);
        close(fd);
        TRY(rc);
    }
    for (uint32_t i = 0; i < p->info.n_resources && !l->stop; i++)
        if (p->resource_min[i] < l->to && p->resource_max[i] >= l->from)
            TRY(list_one(l, &p->resources[i], err));
    return ERR_OK;
}

enum errc store_resources(struct store *s, struct slice tenant, enum signal signal, int64_t from, int64_t to,
                          bool (*fn)(void *arg, const struct resource *r), void *arg, struct error *err)
{
    struct listing l = {.from = from, .to = to, .fn = fn, .arg = arg};
    struct snapshot v;
    TRY(snapshot_take(table_find(s, tenant, signal), from, to, false, &v, err));
    enum errc rc = ERR_OK;
    for (uint32_t i = 0; i < v.n_head && !l.stop; i++)
        GO(list_head(&l, v.head[i].batch, err));
    for (uint32_t i = 0; i < v.n_parts && !l.stop; i++)
        GO(list_part(&l, v.parts[i], err));
out:
    snapshot_free(&v);
    answers_free(&l.seen);
    return rc;
}
