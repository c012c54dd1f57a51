// Building a batch: rows, columns, resources.
#include "event/batch.h"
#include <stdlib.h>

const char *field_text(enum field f)
{
    static const char *const text[] = {
#define X(name, kind, text) text,
        FIELD_LIST(X)
#undef X
    };
    return f < FIELD_COUNT ? text[f] : "";
}

enum col_kind field_kind(enum field f)
{
    static const unsigned char kinds[] = {
#define X(name, kind, text) kind,
        FIELD_LIST(X)
#undef X
    };
    return f < FIELD_COUNT ? (enum col_kind)kinds[f] : COL_STR;
}

size_t column_width(enum col_kind k)
{
    static const unsigned char width[] = {
        [COL_I64] = 8,
        [COL_F64] = 8,
        [COL_BOOL] = sizeof(bool),
        [COL_STR] = sizeof(struct slice),
        [COL_BYTES] = sizeof(struct slice),
        [COL_ANY] = sizeof(struct slice),
        [COL_ID64] = 8,
        [COL_ID128] = 16,
    };
    return width[k];
}

struct batch *batch_new(enum signal signal, size_t max)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->signal = signal;
    b->refs = 1;
    arena_init(&b->arena, max);
    return b;
}

struct batch *batch_ref(struct batch *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

void batch_unref(struct batch *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    arena_free(&b->arena);
    free(b);
}

size_t batch_memory(const struct batch *b)
{
    return sizeof *b + b->arena.used;
}

struct slice batch_dup(struct batch *b, struct slice s)
{
    struct slice d = arena_dup(&b->arena, s);
    if (!d.p)
        b->failed = true;
    return d;
}

// ---- arrays that grow in the arena ----------------------------------------------------------------------------------

// A place for `want` elements where there were `have`; the old array is returned when the arena refuses (b->failed).
static void *grown(struct batch *b, void *old, uint32_t have, uint32_t want, size_t width)
{
    void *p = arena_grow(&b->arena, old, have * width, want * width);
    if (!p)
        b->failed = true;
    return p;
}

static bool rows_grow(struct batch *b)
{
    uint32_t cap = b->cap ? b->cap * 2 : 16;
    int64_t *time = grown(b, b->time, b->rows, cap, sizeof *time);
    if (!time)
        return false;
    b->time = time;
    uint32_t *resource = grown(b, b->resource, b->rows, cap, sizeof *resource);
    if (!resource)
        return false;
    b->resource = resource;
    b->cap = cap;
    return true;
}

static bool column_grow(struct batch *b, struct column *c)
{
    uint32_t cap = c->cap ? c->cap * 2 : 4;
    size_t width = column_width(c->kind);
    void *v = grown(b, c->v, c->n, cap, width);
    if (!v)
        return false;
    c->v = v;
    if (c->row) {
        uint32_t *row = grown(b, c->row, c->n, cap, sizeof *row);
        if (!row)
            return false;
        c->row = row;
    }
    c->cap = cap;
    return true;
}

// From "value i belongs to row i" to row numbers written down.
static bool column_make_sparse(struct batch *b, struct column *c)
{
    uint32_t cap = c->cap ? c->cap : 1;
    c->row = arena_alloc(&b->arena, cap * sizeof *c->row);
    if (!c->row) {
        b->failed = true;
        return false;
    }
    for (uint32_t i = 0; i < c->n; i++)
        c->row[i] = i;
    return true;
}

// ---- columns --------------------------------------------------------------------------------------------------------

static uint64_t column_hash(enum col_scope scope, enum field f, enum col_kind kind, struct slice name)
{
    return hash64_seed(name.p, name.n, (uint64_t)scope << 32 | (uint64_t)f << 8 | (uint64_t)kind);
}

static bool index_grow(struct batch *b)
{
    uint32_t size = b->index_size ? b->index_size * 2 : 64;
    uint32_t *index = arena_zalloc(&b->arena, size * sizeof *index);
    if (!index) {
        b->failed = true;
        return false;
    }
    for (uint32_t i = 0; i < b->n_columns; i++) {
        const struct column *c = &b->columns[i];
        uint32_t at = (uint32_t)column_hash(c->scope, c->field, c->kind, c->name) & (size - 1);
        while (index[at])
            at = (at + 1) & (size - 1);
        index[at] = i + 1;
    }
    b->index = index;
    b->index_size = size;
    return true;
}

static void point_fields(struct batch *b)
{
    memset(b->field, 0, sizeof b->field);
    for (uint32_t i = 0; i < b->n_columns; i++)
        if (b->columns[i].scope == COL_FIELD)
            b->field[b->columns[i].field] = &b->columns[i];
}

static bool columns_grow(struct batch *b)
{
    uint32_t cap = b->cap_columns ? b->cap_columns * 2 : 32;
    struct column *p = grown(b, b->columns, b->n_columns, cap, sizeof *p);
    if (!p)
        return false;
    b->columns = p;
    b->cap_columns = cap;
    point_fields(b);
    return true;
}

// UINT32_MAX when memory ran out.
uint32_t batch_column(struct batch *b, enum col_scope scope, enum field f, enum col_kind kind, struct slice name)
{
    if (scope == COL_FIELD) {
        if (b->field[f])
            return (uint32_t)(b->field[f] - b->columns);
        kind = field_kind(f);
        name = SLICE_NONE;
    } else {
        f = FIELD_NONE;
    }
    if ((b->n_columns + 1) * 2 > b->index_size && !index_grow(b))
        return UINT32_MAX;
    uint32_t mask = b->index_size - 1, at = (uint32_t)column_hash(scope, f, kind, name) & mask;
    for (; b->index[at]; at = (at + 1) & mask) {
        const struct column *c = &b->columns[b->index[at] - 1];
        if (c->scope == scope && c->kind == kind && c->field == f && slice_eq(c->name, name))
            return b->index[at] - 1;
    }
    if (b->n_columns == b->cap_columns && !columns_grow(b))
        return UINT32_MAX;
    uint32_t i = b->n_columns++;
    b->columns[i] = (struct column){.scope = scope, .kind = kind, .field = f, .name = name};
    b->index[at] = i + 1;
    if (scope == COL_FIELD)
        b->field[f] = &b->columns[i];
    return i;
}

static bool touched_grow(struct batch *b)
{
    uint32_t cap = b->cap_touched ? b->cap_touched * 2 : 64;
    uint32_t *p = grown(b, b->touched, b->n_touched, cap, sizeof *p);
    if (!p)
        return false;
    b->touched = p;
    b->cap_touched = cap;
    return true;
}

// Where the current row's value goes, or -1 when memory ran out.
static int64_t column_place(struct batch *b, struct column *c)
{
    uint32_t row = b->rows - 1;
    if (c->n && (c->row ? c->row[c->n - 1] : c->n - 1) == row)
        return c->n - 1;
    if (!c->row && c->n != row && !column_make_sparse(b, c))
        return -1;
    if (c->n == c->cap && !column_grow(b, c))
        return -1;
    if (b->n_touched == b->cap_touched && !touched_grow(b))
        return -1;
    b->touched[b->n_touched++] = (uint32_t)(c - b->columns);
    if (b->n_touched > b->known_touched)
        b->known_touched = b->n_touched;
    if (c->row)
        c->row[c->n] = row;
    return c->n++;
}

static void column_put(struct column *c, int64_t i, const struct value *v)
{
    switch (c->kind) {
    case COL_I64:
        c->i64[i] = v->i64;
        break;
    case COL_F64:
        c->f64[i] = v->f64;
        break;
    case COL_BOOL:
        c->b[i] = v->b;
        break;
    case COL_STR:
    case COL_BYTES:
    case COL_ANY:
        c->s[i] = v->s;
        break;
    case COL_ID64:
        c->id64[i] = v->id64;
        break;
    case COL_ID128:
        c->id128[i] = v->id128;
        break;
    }
}

static void put(struct batch *b, uint32_t column, const struct value *v)
{
    if (column == UINT32_MAX || !b->rows)
        return;
    struct column *c = &b->columns[column];
    int64_t i = column_place(b, c);
    if (i >= 0)
        column_put(c, i, v);
}

void batch_set(struct batch *b, enum col_scope scope, struct slice name, struct value v)
{
    if (b->n_touched < b->known_touched) {
        const struct column *guess = &b->columns[b->touched[b->n_touched]];
        if (guess->kind == v.kind && guess->scope == scope && slice_eq(guess->name, name)) {
            put(b, b->touched[b->n_touched], &v);
            return;
        }
    }
    put(b, batch_column(b, scope, FIELD_NONE, v.kind, name), &v);
}

void batch_field_i64(struct batch *b, enum field f, int64_t v)
{
    put(b, batch_column(b, COL_FIELD, f, COL_I64, SLICE_NONE), &(struct value){.kind = COL_I64, .i64 = v});
}

void batch_field_f64(struct batch *b, enum field f, double v)
{
    put(b, batch_column(b, COL_FIELD, f, COL_F64, SLICE_NONE), &(struct value){.kind = COL_F64, .f64 = v});
}

void batch_field_str(struct batch *b, enum field f, struct slice v)
{
    put(b, batch_column(b, COL_FIELD, f, COL_STR, SLICE_NONE), &(struct value){.kind = COL_STR, .s = v});
}

void batch_field_id64(struct batch *b, enum field f, uint64_t v)
{
    put(b, batch_column(b, COL_FIELD, f, COL_ID64, SLICE_NONE), &(struct value){.kind = COL_ID64, .id64 = v});
}

void batch_field_id128(struct batch *b, enum field f, struct id128 v)
{
    put(b, batch_column(b, COL_FIELD, f, COL_ID128, SLICE_NONE), &(struct value){.kind = COL_ID128, .id128 = v});
}

// ---- rows -----------------------------------------------------------------------------------------------------------

uint32_t batch_row(struct batch *b, int64_t time, uint32_t resource)
{
    if (b->rows == b->cap && !rows_grow(b))
        return 0;
    b->time[b->rows] = time;
    b->resource[b->rows] = resource;
    b->n_touched = 0;
    return b->rows++;
}

void batch_row_cancel(struct batch *b)
{
    if (!b->rows)
        return;
    b->rows--;
    for (uint32_t i = 0; i < b->n_touched; i++)
        b->columns[b->touched[i]].n--;
    b->n_touched = 0;
}

static void time_range(struct batch *b)
{
    for (uint32_t r = 0; r < b->rows; r++) {
        if (r == 0 || b->time[r] < b->min_time)
            b->min_time = b->time[r];
        if (r == 0 || b->time[r] > b->max_time)
            b->max_time = b->time[r];
    }
}

void batch_cut(struct batch *b, uint32_t rows)
{
    uint32_t kept = 0;
    if (rows >= b->rows)
        return;
    for (uint32_t i = 0; i < b->n_columns; i++) {
        struct column c = b->columns[i];
        while (c.n && (c.row ? c.row[c.n - 1] : c.n - 1) >= rows)
            c.n--;
        if (c.n == rows)
            c.row = NULL; // dense now
        if (c.n)
            b->columns[kept++] = c;
    }
    b->n_columns = kept;
    point_fields(b);
    b->rows = rows;
    time_range(b);
}

bool batch_seal(struct batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->n_columns; i++) {
        struct column *c = &b->columns[i];
        if (!c->n)
            continue;
        if (!c->row && c->n < b->rows)
            column_make_sparse(b, c);
        b->columns[kept++] = *c;
    }
    b->n_columns = kept;
    b->index = NULL; // column numbers may have changed
    b->index_size = 0;
    point_fields(b);
    time_range(b);
    b->sealed = true;
    return !b->failed;
}

// ---- resources ------------------------------------------------------------------------------------------------------

uint32_t labels_sort(struct label *labels, uint32_t n)
{
    // Insertion sort: stable, as the last of equal names must win; label sets are small (MAX_SERIES_LABELS).
    for (uint32_t i = 1; i < n; i++) {
        struct label l = labels[i];
        uint32_t at = i;
        for (; at && slice_cmp(labels[at - 1].name, l.name) > 0; at--)
            labels[at] = labels[at - 1];
        labels[at] = l;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i + 1 < n && slice_eq(labels[i].name, labels[i + 1].name))
            continue;
        if (labels[i].value.n)
            labels[kept++] = labels[i];
    }
    return kept;
}

static uint64_t slice_mix(uint64_t h, struct slice s)
{
    return hash64_seed(s.p, s.n, hash_mix(h, s.n));
}

static uint64_t labels_lane(const struct label *l, uint32_t n, uint64_t seed)
{
    uint64_t h = hash_mix(seed, n);
    for (uint32_t i = 0; i < n; i++)
        h = slice_mix(slice_mix(h, l[i].name), l[i].value);
    return h;
}

static uint64_t attr_lane(const struct attr *a, uint64_t seed)
{
    uint64_t h = slice_mix(hash_mix(seed, a->value.kind), a->key);
    if (column_is_text(a->value.kind))
        return slice_mix(h, a->value.s);
    if (a->value.kind == COL_ID128)
        return hash_mix(hash_mix(h, a->value.id128.hi), a->value.id128.lo);
    return hash_mix(h, a->value.kind == COL_BOOL ? (uint64_t)a->value.b : a->value.id64);
}

// Attributes have no order on the wire, so the sum of their hashes is taken. These values go to disk: do not change.
void resource_identify(struct resource *r)
{
    enum { SEED_HI = 0x50de, SEED_LO = 0x11be };
    r->labels_hash.hi = labels_lane(r->labels, r->n_labels, SEED_HI);
    r->labels_hash.lo = labels_lane(r->labels, r->n_labels, SEED_LO);
    struct id128 sum = {0};
    for (uint32_t i = 0; i < r->n_attrs; i++) {
        sum.hi += attr_lane(&r->attrs[i], SEED_HI);
        sum.lo += attr_lane(&r->attrs[i], SEED_LO);
    }
    r->hash.hi = hash_mix(hash_mix(r->labels_hash.hi, sum.hi), r->n_attrs);
    r->hash.lo = hash_mix(hash_mix(r->labels_hash.lo, sum.lo), r->n_attrs);
}

static bool resource_index_grow(struct batch *b)
{
    uint32_t size = b->resource_index_size ? b->resource_index_size * 2 : 16;
    uint32_t *index = arena_zalloc(&b->arena, size * sizeof *index);
    if (!index) {
        b->failed = true;
        return false;
    }
    for (uint32_t i = 0; i < b->n_resources; i++) {
        uint32_t at = (uint32_t)b->resources[i].hash.lo & (size - 1);
        while (index[at])
            at = (at + 1) & (size - 1);
        index[at] = i + 1;
    }
    b->resource_index = index;
    b->resource_index_size = size;
    return true;
}

// The slot of the hash in the index: holds number + 1, or 0 when it is not there. Null when memory ran out.
static uint32_t *resource_slot(struct batch *b, struct id128 hash)
{
    if ((b->n_resources + 1) * 2 > b->resource_index_size && !resource_index_grow(b))
        return NULL;
    uint32_t mask = b->resource_index_size - 1, at = (uint32_t)hash.lo & mask;
    while (b->resource_index[at] && !id128_eq(b->resources[b->resource_index[at] - 1].hash, hash))
        at = (at + 1) & mask;
    return &b->resource_index[at];
}

static uint32_t resource_add(struct batch *b, uint32_t *slot, const struct resource *r)
{
    if (b->n_resources == b->cap_resources) {
        uint32_t cap = b->cap_resources ? b->cap_resources * 2 : 4;
        struct resource *p = grown(b, b->resources, b->n_resources, cap, sizeof *p);
        if (!p)
            return 0;
        b->resources = p;
        b->cap_resources = cap;
    }
    struct resource n = *r;
    n.labels = arena_alloc(&b->arena, r->n_labels * sizeof *n.labels);
    n.attrs = arena_alloc(&b->arena, r->n_attrs * sizeof *n.attrs);
    if (!n.labels || !n.attrs) {
        b->failed = true;
        return 0;
    }
    if (r->n_labels)
        memcpy(n.labels, r->labels, r->n_labels * sizeof *n.labels);
    if (r->n_attrs)
        memcpy(n.attrs, r->attrs, r->n_attrs * sizeof *n.attrs);
    b->resources[b->n_resources] = n;
    *slot = ++b->n_resources;
    return b->n_resources - 1;
}

uint32_t batch_resource(struct batch *b, const struct label *labels, uint32_t n_labels, const struct attr *attrs,
                        uint32_t n_attrs)
{
    struct resource r = {
        .labels = (struct label *)labels, .attrs = (struct attr *)attrs, .n_labels = n_labels, .n_attrs = n_attrs};
    resource_identify(&r);
    uint32_t *slot = resource_slot(b, r.hash);
    if (!slot)
        return 0;
    return *slot ? *slot - 1 : resource_add(b, slot, &r);
}

uint32_t batch_resource_copy(struct batch *to, const struct resource *r)
{
    uint32_t *slot = resource_slot(to, r->hash);
    if (!slot)
        return 0;
    if (*slot)
        return *slot - 1;
    uint32_t i = resource_add(to, slot, r);
    if (to->failed)
        return 0;
    struct resource *n = &to->resources[i];
    for (uint32_t k = 0; k < n->n_labels; k++) {
        n->labels[k].name = batch_dup(to, n->labels[k].name);
        n->labels[k].value = batch_dup(to, n->labels[k].value);
    }
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        n->attrs[k].key = batch_dup(to, n->attrs[k].key);
        if (column_is_text(n->attrs[k].value.kind))
            n->attrs[k].value.s = batch_dup(to, n->attrs[k].value.s);
    }
    return i;
}
