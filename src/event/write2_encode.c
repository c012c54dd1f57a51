// Batches of samples as io.prometheus.write.v2.Request: one timeseries a series with all of its points.
#include "event/write.h"
#include <stdlib.h>

struct symbols {
    struct arena *a;
    struct slice *v;
    uint32_t n, cap;
    uint32_t *slot; // number + 1
    uint32_t slots;
};

static bool rehash(struct symbols *s)
{
    uint32_t slots = s->slots ? s->slots * 2 : 256;
    uint32_t *slot = ARENA_ARRAY(s->a, uint32_t, slots);
    if (!slot)
        return false;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t at = (uint32_t)hash64(s->v[i].p, s->v[i].n) & (slots - 1);
        while (slot[at])
            at = (at + 1) & (slots - 1);
        slot[at] = i + 1;
    }
    s->slot = slot;
    s->slots = slots;
    return true;
}

static uint32_t symbol(struct symbols *s, struct slice text)
{
    if ((s->n + 1) * 2 > s->slots && !rehash(s))
        return 0;
    uint32_t at = (uint32_t)hash64(text.p, text.n) & (s->slots - 1);
    for (; s->slot[at]; at = (at + 1) & (s->slots - 1))
        if (slice_eq(s->v[s->slot[at] - 1], text))
            return s->slot[at] - 1;
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 128;
        struct slice *v = arena_grow(s->a, s->v, s->n * sizeof *v, cap * sizeof *v);
        if (!v)
            return 0;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n] = text;
    s->slot[at] = s->n + 1;
    return s->n++;
}

struct encoder {
    const struct batch *b;
    struct arena a;
    struct symbols symbols;
    struct buf out; // the timeseries; symbols come before
    bool corrupt;
};

static void put_refs(struct encoder *e, uint32_t field, const struct label *l, uint32_t n)
{
    size_t mark = pb_w_begin(&e->out, field);
    for (uint32_t i = 0; i < n; i++) {
        pb_w_varint(&e->out, symbol(&e->symbols, l[i].name));
        pb_w_varint(&e->out, symbol(&e->symbols, l[i].value));
    }
    pb_w_end(&e->out, mark);
}

static void put_exemplars(struct encoder *e, struct slice bytes)
{
    struct exemplar x;
    while (exemplar_next(&bytes, &x)) {
        size_t mark = pb_w_begin(&e->out, 4);
        put_refs(e, 1, x.labels, x.n_labels);
        pb_w_double(&e->out, 2, x.value);
        pb_w_i64(&e->out, 3, x.time / 1000000);
        pb_w_end(&e->out, mark);
    }
}

static void put_point(struct encoder *e, uint32_t row)
{
    const struct batch *b = e->b;
    struct value v;
    int64_t ms = b->time[row] / 1000000;
    struct slice h = column_str(b->field[FIELD_HISTOGRAM], row);
    if (h.n) {
        struct histogram_sample s;
        struct arena a;
        arena_init(&a, MIB(64));
        if (histogram_decode(h, &a, &s) == ERR_OK)
            write_histogram_put(&e->out, 3, &s, ms);
        else
            e->corrupt = true;
        arena_free(&a);
    } else if (column_value(b->field[FIELD_VALUE], row, &v)) {
        size_t mark = pb_w_begin(&e->out, 2);
        pb_w_double(&e->out, 1, v.f64);
        pb_w_i64(&e->out, 2, ms);
        pb_w_end(&e->out, mark);
    }
}

// One timeseries of the rows rows[0 … n): they have one series, and one start.
static void put_series(struct encoder *e, const uint32_t *rows, uint32_t n)
{
    const struct batch *b = e->b;
    const struct resource *r = &b->resources[b->resource[rows[0]]];
    size_t mark = pb_w_begin(&e->out, 5);
    put_refs(e, 1, r->labels, r->n_labels);
    for (uint32_t i = 0; i < n; i++)
        put_point(e, rows[i]);
    for (uint32_t i = 0; i < n; i++)
        put_exemplars(e, column_str(b->field[FIELD_EXEMPLARS], rows[i]));
    int64_t start = column_i64(b->field[FIELD_START], rows[0], 0);
    if (start)
        pb_w_i64(&e->out, 6, start / 1000000);
    pb_w_end(&e->out, mark);
}

static void put_metadata(struct encoder *e, uint32_t row)
{
    const struct batch *b = e->b;
    struct label name = {SLICE("__name__"), column_str(b->field[FIELD_NAME], row)};
    struct slice type = column_str(b->field[FIELD_METRIC_TYPE], row);
    uint32_t number = METADATA_TYPES;
    while (number-- > 1 && !slice_eq(type, slice_str(write_types[number])))
        ;
    size_t mark = pb_w_begin(&e->out, 5);
    put_refs(e, 1, &name, 1);
    size_t meta = pb_w_begin(&e->out, 5);
    pb_w_u64(&e->out, 1, number);
    pb_w_u64(&e->out, 3, symbol(&e->symbols, column_str(b->field[FIELD_DESCRIPTION], row)));
    pb_w_u64(&e->out, 4, symbol(&e->symbols, column_str(b->field[FIELD_UNIT], row)));
    pb_w_end(&e->out, meta);
    pb_w_end(&e->out, mark);
}

struct order {
    uint32_t resource, row;
    int64_t start;
};

static int by_series(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->resource != y->resource)
        return x->resource < y->resource ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static void put_rows(struct encoder *e, struct order *order, uint32_t *rows)
{
    const struct batch *b = e->b;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->rows; i++)
        if (column_i64(b->field[FIELD_FLAGS], i, 0) != SAMPLE_DROPPED)
            order[n++] = (struct order){b->resource[i], i, column_i64(b->field[FIELD_START], i, 0)};
    qsort(order, n, sizeof *order, by_series);
    for (uint32_t i = 0; i < n; i++)
        rows[i] = order[i].row;
    for (uint32_t i = 0, end; i < n; i = end) {
        bool series = b->resources[order[i].resource].n_labels > 0;
        end = i + 1;
        while (end < n && order[end].resource == order[i].resource && order[end].start == order[i].start &&
               !column_str(b->field[FIELD_EXEMPLARS], rows[end]).n) // a series' exemplars belong to its first point
            end++;
        if (series)
            put_series(e, rows + i, end - i);
        for (uint32_t k = i; !series && k < end; k++)
            put_metadata(e, rows[k]);
    }
}

enum errc write2_encode(const struct batch *b, struct buf *out)
{
    struct encoder e = {.b = b};
    arena_init(&e.a, MAX_BATCH_MEMORY);
    buf_init(&e.out, MAX_BATCH_MEMORY);
    e.symbols.a = &e.a;
    symbol(&e.symbols, SLICE(""));
    struct order *order = ARENA_ARRAY(&e.a, struct order, b->rows + 1);
    uint32_t *rows = ARENA_ARRAY(&e.a, uint32_t, b->rows + 1);
    if (order && rows)
        put_rows(&e, order, rows);
    for (uint32_t i = 0; i < e.symbols.n; i++)
        pb_w_bytes(out, 4, e.symbols.v[i]);
    buf_add(out, buf_slice(&e.out));
    enum errc rc = e.corrupt ? ERR_CORRUPT : e.out.err != ERR_OK ? e.out.err : arena_failed(&e.a) ? ERR_LIMIT : out->err;
    buf_free(&e.out);
    arena_free(&e.a);
    return rc;
}
