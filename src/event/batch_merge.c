// Copying rows between batches, and the merge of many batches into one sorted one.
//
// The merge works by column, never by row: first every input row gets its place in the output, then each output column
// is filled from the input columns of the same key by scattering values to those places.
#include "event/batch.h"
#include <stdlib.h>

void batch_copy_row(struct batch *to, const struct batch *from, uint32_t row)
{
    uint32_t resource = batch_resource_copy(to, &from->resources[from->resource[row]]);
    uint32_t before = to->rows;
    batch_row(to, from->time[row], resource);
    if (to->rows == before)
        return;
    for (uint32_t i = 0; i < from->n_columns; i++) {
        const struct column *c = &from->columns[i];
        struct value v;
        if (!column_value(c, row, &v))
            continue;
        if (column_is_text(v.kind))
            v.s = batch_dup(to, v.s);
        if (c->scope != COL_FIELD) {
            uint32_t known = to->n_columns;
            uint32_t at = batch_column(to, c->scope, FIELD_NONE, c->kind, c->name);
            if (at != UINT32_MAX && at >= known) // new: its name must live in `to`
                to->columns[at].name = batch_dup(to, c->name);
            batch_set(to, c->scope, c->name, v);
        } else if (column_is_text(v.kind)) {
            batch_field_str(to, c->field, v.s);
        } else if (v.kind == COL_I64) {
            batch_field_i64(to, c->field, v.i64);
        } else if (v.kind == COL_F64) {
            batch_field_f64(to, c->field, v.f64);
        } else if (v.kind == COL_ID64) {
            batch_field_id64(to, c->field, v.id64);
        } else if (v.kind == COL_ID128) {
            batch_field_id128(to, c->field, v.id128);
        }
    }
}

// ---- order ----------------------------------------------------------------------------------------------------------

struct entry {
    int64_t time;
    uint32_t rank; // of the resource in the output
    uint32_t seq;  // position among all input rows, in the order given
};

struct merge {
    struct batch *out;
    struct batch *const *in;
    size_t n_in;
    uint32_t rows;
    uint32_t *base;  // first seq of each input
    uint32_t *place; // seq → output row
    struct entry *a, *b;
    uint64_t *bits;  // which output rows have a value, for the column at hand
    uint32_t *ranks; // number of one bits before each word
};

struct ranked {
    struct resource r;
    uint32_t old;
};

static int resource_order(const void *a, const void *b)
{
    const struct resource *x = &((const struct ranked *)a)->r, *y = &((const struct ranked *)b)->r;
    int c = id128_cmp(x->labels_hash, y->labels_hash);
    return c ? c : id128_cmp(x->hash, y->hash);
}

// Series by their labels: those of a metric, which queries want together, stand together, and like each other.
static int series_order(const void *a, const void *b)
{
    const struct resource *x = &((const struct ranked *)a)->r, *y = &((const struct ranked *)b)->r;
    for (uint32_t i = 0; i < x->n_labels && i < y->n_labels; i++) {
        int c = slice_cmp(x->labels[i].name, y->labels[i].name);
        c = c ? c : slice_cmp(x->labels[i].value, y->labels[i].value);
        if (c)
            return c;
    }
    return x->n_labels != y->n_labels ? (x->n_labels > y->n_labels ? 1 : -1) : resource_order(a, b);
}

// The resources that rows have, into the output. number: of each input's resources in turn, the number there. A block of a part
// brings the whole part's list and has rows of a few.
static bool copy_resources(struct merge *m, uint32_t *number)
{
    for (size_t i = 0; i < m->n_in; i++) {
        const struct batch *in = m->in[i];
        for (uint32_t r = 0; r < in->rows; r++) {
            uint32_t *to = &number[in->resource[r]];
            if (*to == UINT32_MAX)
                *to = batch_resource_copy(m->out, &in->resources[in->resource[r]]);
        }
        number += in->n_resources;
    }
    return !m->out->failed;
}

static bool rank_resources(struct merge *m)
{
    struct batch *out = m->out;
    size_t most = 1;
    for (size_t i = 0; i < m->n_in; i++)
        most += m->in[i]->n_resources;
    uint32_t *number = malloc(most * sizeof *number), *rank = NULL;
    struct ranked *sorted = NULL;
    if (number)
        memset(number, 0xff, most * sizeof *number);
    bool ok = number && copy_resources(m, number);
    if (ok) {
        sorted = malloc((out->n_resources + 1u) * sizeof *sorted);
        rank = malloc((out->n_resources + 1u) * sizeof *rank);
        ok = sorted && rank;
    }
    if (ok) {
        for (uint32_t i = 0; i < out->n_resources; i++)
            sorted[i] = (struct ranked){out->resources[i], i};
        qsort(sorted, out->n_resources, sizeof *sorted, out->signal == SIGNAL_SAMPLE ? series_order : resource_order);
        for (uint32_t i = 0; i < out->n_resources; i++) {
            out->resources[i] = sorted[i].r;
            rank[sorted[i].old] = i;
        }
        out->resource_index = NULL; // numbers have changed; nothing is added any more
        out->resource_index_size = 0;
        size_t at = 0;
        for (size_t i = 0; i < m->n_in; i++) {
            const struct batch *in = m->in[i];
            for (uint32_t r = 0; r < in->rows; r++)
                m->a[m->base[i] + r] = (struct entry){in->time[r], rank[number[at + in->resource[r]]], m->base[i] + r};
            at += in->n_resources;
        }
    }
    free(number);
    free(sorted);
    free(rank);
    return ok;
}

// Stable counting sort by rank, a → b.
static bool sort_by_rank(struct merge *m)
{
    uint32_t n = m->out->n_resources;
    uint32_t *start = calloc(n + 1u, sizeof *start);
    if (!start)
        return false;
    for (uint32_t i = 0; i < m->rows; i++)
        start[m->a[i].rank + 1]++;
    for (uint32_t i = 1; i <= n; i++)
        start[i] += start[i - 1];
    for (uint32_t i = 0; i < m->rows; i++)
        m->b[start[m->a[i].rank]++] = m->a[i];
    free(start);
    return true;
}

static bool ordered(const struct entry *x, const struct entry *y)
{
    return x->rank < y->rank || (x->rank == y->rank && x->time <= y->time);
}

static void merge_runs(struct entry *to, const struct entry *x, uint32_t nx, const struct entry *y, uint32_t ny)
{
    uint32_t i = 0, k = 0, o = 0;
    while (i < nx && k < ny)
        to[o++] = ordered(&x[i], &y[k]) ? x[i++] : y[k++];
    if (i < nx)
        memcpy(to + o, x + i, (nx - i) * sizeof *to);
    else if (k < ny)
        memcpy(to + o, y + k, (ny - k) * sizeof *to);
}

// Natural merge sort of b by (rank, time), stable: inputs are mostly sorted already, so runs are long and few.
static bool sort_by_time(struct merge *m)
{
    uint32_t *end = malloc((m->rows + 1u) * sizeof *end); // of each run
    if (!end)
        return false;
    uint32_t runs = 0;
    for (uint32_t i = 1; i < m->rows; i++)
        if (!ordered(&m->b[i - 1], &m->b[i]))
            end[runs++] = i;
    end[runs++] = m->rows;
    while (runs > 1) {
        uint32_t at = 0, kept = 0;
        for (uint32_t i = 0; i < runs; i += 2) {
            uint32_t mid = end[i], to = i + 1 < runs ? end[i + 1] : mid;
            merge_runs(m->a + at, m->b + at, mid - at, m->b + mid, to - mid);
            end[kept++] = at = to;
        }
        runs = kept;
        struct entry *swap = m->a;
        m->a = m->b;
        m->b = swap;
    }
    free(end);
    return true;
}

// ---- columns --------------------------------------------------------------------------------------------------------

// Equal strings of a column mostly stand near each other: a small cache of those copied last keeps one copy of many.
enum { SHARED_SLOTS = 64, SHARED_MAX = 128 };

static struct slice share(struct batch *out, struct slice *slots, struct slice s)
{
    if (s.n > SHARED_MAX)
        return batch_dup(out, s);
    struct slice *slot = &slots[hash64(s.p, s.n) % SHARED_SLOTS];
    if (!slot->p || !slice_eq(*slot, s))
        *slot = batch_dup(out, s);
    return *slot;
}

static void value_copy(struct batch *out, struct column *to, uint32_t at, const struct column *from, uint32_t i,
                       struct slice *slots)
{
    switch (to->kind) {
    case COL_STR:
    case COL_BYTES:
    case COL_ANY:
        to->s[at] = share(out, slots, from->s[i]);
        break;
    case COL_ID128:
        to->id128[at] = from->id128[i];
        break;
    case COL_BOOL:
        to->b[at] = from->b[i];
        break;
    default:
        to->id64[at] = from->id64[i];
        break;
    }
}

// One input column of the output column at hand.
struct part {
    const struct column *c;
    uint32_t base;
    uint32_t out; // output column
};

static uint32_t part_place(const struct merge *m, const struct part *p, uint32_t i)
{
    return m->place[p->base + (p->c->row ? p->c->row[i] : i)];
}

struct cell {
    uint32_t row, part, i;
};

static int cell_order(const void *a, const void *b)
{
    const struct cell *x = a, *y = b;
    return (x->row > y->row) - (x->row < y->row);
}

// A column with very few values: sorting them beats walking a bitmap of all rows.
static bool fill_few(struct merge *m, struct column *to, const struct part *parts, uint32_t n_parts)
{
    struct cell *cells = malloc(to->n * sizeof *cells);
    if (!cells)
        return false;
    struct slice slots[SHARED_SLOTS] = {{0}};
    uint32_t n = 0;
    for (uint32_t k = 0; k < n_parts; k++)
        for (uint32_t i = 0; i < parts[k].c->n; i++)
            cells[n++] = (struct cell){part_place(m, &parts[k], i), k, i};
    qsort(cells, n, sizeof *cells, cell_order);
    for (uint32_t i = 0; i < n; i++) {
        to->row[i] = cells[i].row;
        value_copy(m->out, to, i, parts[cells[i].part].c, cells[i].i, slots);
    }
    free(cells);
    return true;
}

// The place of each value is the number of output rows before it that have one.
static void fill_many(struct merge *m, struct column *to, const struct part *parts, uint32_t n_parts)
{
    uint32_t words = (m->rows + 63) / 64;
    struct slice slots[SHARED_SLOTS] = {{0}};
    memset(m->bits, 0, words * sizeof *m->bits);
    for (uint32_t k = 0; k < n_parts; k++)
        for (uint32_t i = 0; i < parts[k].c->n; i++) {
            uint32_t row = part_place(m, &parts[k], i);
            m->bits[row / 64] |= 1ull << (row % 64);
        }
    uint32_t before = 0;
    for (uint32_t w = 0; w < words; w++) {
        m->ranks[w] = before;
        for (uint64_t left = m->bits[w]; left; left &= left - 1)
            to->row[before++] = w * 64 + (uint32_t)__builtin_ctzll(left);
    }
    for (uint32_t k = 0; k < n_parts; k++)
        for (uint32_t i = 0; i < parts[k].c->n; i++) {
            uint32_t row = part_place(m, &parts[k], i);
            uint64_t below = m->bits[row / 64] & ((1ull << (row % 64)) - 1);
            value_copy(m->out, to, m->ranks[row / 64] + (uint32_t)__builtin_popcountll(below), parts[k].c, i, slots);
        }
}

static void fill_dense(struct merge *m, struct column *to, const struct part *parts, uint32_t n_parts)
{
    struct slice slots[SHARED_SLOTS] = {{0}};
    for (uint32_t k = 0; k < n_parts; k++)
        for (uint32_t i = 0; i < parts[k].c->n; i++)
            value_copy(m->out, to, part_place(m, &parts[k], i), parts[k].c, i, slots);
}

static bool fill_column(struct merge *m, struct column *to, const struct part *parts, uint32_t n_parts)
{
    struct batch *out = m->out;
    uint32_t total = 0;
    for (uint32_t k = 0; k < n_parts; k++)
        total += parts[k].c->n;
    to->n = to->cap = total;
    to->v = arena_alloc(&out->arena, total * column_width(to->kind));
    to->row = total < m->rows ? arena_alloc(&out->arena, total * sizeof *to->row) : NULL;
    if (!to->v || (total < m->rows && !to->row))
        return false;
    if (total == m->rows)
        fill_dense(m, to, parts, n_parts);
    else if (total < m->rows / 256)
        return fill_few(m, to, parts, n_parts);
    else
        fill_many(m, to, parts, n_parts);
    return true;
}

static int part_order(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    if (x->out != y->out)
        return x->out > y->out ? 1 : -1;
    return (x->base > y->base) - (x->base < y->base);
}

static bool merge_columns(struct merge *m)
{
    struct batch *out = m->out;
    size_t most = 1, n = 0;
    for (size_t i = 0; i < m->n_in; i++)
        most += m->in[i]->n_columns;
    struct part *parts = malloc(most * sizeof *parts);
    if (!parts)
        return false;
    for (size_t i = 0; i < m->n_in; i++)
        for (uint32_t k = 0; k < m->in[i]->n_columns; k++) {
            const struct column *c = &m->in[i]->columns[k];
            uint32_t known = out->n_columns;
            uint32_t to = c->n ? batch_column(out, c->scope, c->field, c->kind, c->name) : UINT32_MAX;
            if (to == UINT32_MAX)
                continue;
            if (to >= known)
                out->columns[to].name = batch_dup(out, c->name);
            parts[n++] = (struct part){c, m->base[i], to};
        }
    qsort(parts, n, sizeof *parts, part_order);
    bool ok = !out->failed;
    for (size_t i = 0, end; ok && i < n; i = end) {
        for (end = i + 1; end < n && parts[end].out == parts[i].out; end++)
            ;
        ok = fill_column(m, &out->columns[parts[i].out], parts + i, (uint32_t)(end - i));
    }
    free(parts);
    return ok && !out->failed;
}

static bool merge_rows(struct merge *m)
{
    struct batch *out = m->out;
    if (!rank_resources(m) || !sort_by_rank(m) || !sort_by_time(m))
        return false;
    out->time = arena_alloc(&out->arena, m->rows * sizeof *out->time);
    out->resource = arena_alloc(&out->arena, m->rows * sizeof *out->resource);
    if (!out->time || !out->resource)
        return false;
    for (uint32_t i = 0; i < m->rows; i++) {
        out->time[i] = m->b[i].time;
        out->resource[i] = m->b[i].rank;
        m->place[m->b[i].seq] = i;
    }
    out->rows = out->cap = m->rows;
    return true;
}

struct batch *batch_merge(struct batch *const *in, size_t n, size_t max)
{
    struct merge m = {.in = in, .n_in = n, .out = batch_new(n ? in[0]->signal : SIGNAL_LOG, max)};
    bool ok = false;
    uint64_t rows = 0;
    m.base = malloc((n + 1) * sizeof *m.base);
    if (!m.out || !m.base)
        goto out;
    for (size_t i = 0; i < n; i++) {
        m.base[i] = (uint32_t)rows;
        rows += in[i]->rows;
    }
    if (rows >= UINT32_MAX)
        goto out;
    m.rows = (uint32_t)rows;
    m.place = malloc((rows + 1) * sizeof *m.place);
    m.a = malloc((rows + 1) * sizeof *m.a);
    m.b = malloc((rows + 1) * sizeof *m.b);
    m.bits = malloc((rows / 64 + 1) * sizeof *m.bits);
    m.ranks = malloc((rows / 64 + 1) * sizeof *m.ranks);
    if (!m.place || !m.a || !m.b || !m.bits || !m.ranks)
        goto out;
    ok = merge_rows(&m) && merge_columns(&m) && batch_seal(m.out);
out:
    if (!ok) {
        batch_unref(m.out);
        m.out = NULL;
    }
    free(m.base);
    free(m.place);
    free(m.a);
    free(m.b);
    free(m.bits);
    free(m.ranks);
    return m.out;
}
