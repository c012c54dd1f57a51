// Reading a batch: look-ups, text and JSON of values, row identities.
#include "event/wire.h"

// First position in c->row[lo, hi) whose row is not below `row`.
static uint32_t lower_bound(const uint32_t *rows, uint32_t lo, uint32_t hi, uint32_t row)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (rows[mid] < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int64_t column_find(const struct column *c, uint32_t row)
{
    if (!c->row)
        return row < c->n ? (int64_t)row : -1;
    uint32_t i = lower_bound(c->row, 0, c->n, row);
    return i < c->n && c->row[i] == row ? (int64_t)i : -1;
}

int64_t column_find_hint(const struct column *c, uint32_t row, uint32_t *hint)
{
    if (!c->row)
        return row < c->n ? (int64_t)row : -1;
    uint32_t lo = *hint, hi;
    if (lo > c->n || (lo && c->row[lo - 1] >= row))
        lo = 0;
    for (uint32_t step = 1;; step *= 2) { // gallop
        hi = c->n - lo < step ? c->n : lo + step;
        if (hi == c->n || c->row[hi - 1] >= row)
            break;
        lo = hi;
    }
    uint32_t i = lower_bound(c->row, lo, hi, row);
    *hint = i;
    return i < c->n && c->row[i] == row ? (int64_t)i : -1;
}

struct value column_at(const struct column *c, uint32_t i)
{
    struct value v = {.kind = c->kind};
    switch (c->kind) {
    case COL_I64:
        v.i64 = c->i64[i];
        break;
    case COL_F64:
        v.f64 = c->f64[i];
        break;
    case COL_BOOL:
        v.b = c->b[i];
        break;
    case COL_STR:
    case COL_BYTES:
    case COL_ANY:
        v.s = c->s[i];
        break;
    case COL_ID64:
        v.id64 = c->id64[i];
        break;
    case COL_ID128:
        v.id128 = c->id128[i];
        break;
    }
    return v;
}

struct slice column_str(const struct column *c, uint32_t row)
{
    int64_t i = c && column_is_text(c->kind) ? column_find(c, row) : -1;
    return i < 0 ? SLICE("") : c->s[i];
}

int64_t column_i64(const struct column *c, uint32_t row, int64_t otherwise)
{
    int64_t i = c && c->kind == COL_I64 ? column_find(c, row) : -1;
    return i < 0 ? otherwise : c->i64[i];
}

uint64_t column_id64(const struct column *c, uint32_t row)
{
    int64_t i = c && c->kind == COL_ID64 ? column_find(c, row) : -1;
    return i < 0 ? 0 : c->id64[i];
}

struct id128 column_id128(const struct column *c, uint32_t row)
{
    int64_t i = c && c->kind == COL_ID128 ? column_find(c, row) : -1;
    return i < 0 ? (struct id128){0} : c->id128[i];
}

bool column_value(const struct column *c, uint32_t row, struct value *out)
{
    int64_t i = c ? column_find(c, row) : -1;
    if (i < 0)
        return false;
    *out = column_at(c, (uint32_t)i);
    return true;
}

bool batch_attr(const struct batch *b, enum col_scope scope, struct slice name, uint32_t row, struct value *out)
{
    for (uint32_t i = 0; i < b->n_columns; i++) {
        const struct column *c = &b->columns[i];
        if (c->scope == scope && slice_eq(c->name, name) && column_value(c, row, out))
            return true;
    }
    return false;
}

const struct attr *resource_attr(const struct resource *r, struct slice key)
{
    for (uint32_t i = 0; i < r->n_attrs; i++)
        if (slice_eq(r->attrs[i].key, key))
            return &r->attrs[i];
    return NULL;
}

struct slice resource_label(const struct resource *r, struct slice name)
{
    for (uint32_t i = 0; i < r->n_labels; i++)
        if (slice_eq(r->labels[i].name, name))
            return r->labels[i].value;
    return SLICE("");
}

// ---- text -----------------------------------------------------------------------------------------------------------

static size_t id_bytes(const struct value *v, unsigned char out[16])
{
    if (v->kind == COL_ID128) {
        id128_store(out, v->id128);
        return 16;
    }
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(v->id64 >> (56 - 8 * i));
    return 8;
}

void value_text(struct buf *out, const struct value *v)
{
    struct jw w = jw_to(out);
    unsigned char id[16];
    switch (v->kind) {
    case COL_I64:
        buf_i64(out, v->i64);
        break;
    case COL_F64:
        buf_f64(out, v->f64);
        break;
    case COL_BOOL:
        buf_str(out, v->b ? "true" : "false");
        break;
    case COL_STR:
        buf_add(out, v->s);
        break;
    case COL_BYTES: {
        // The writer of base64 quotes it: take the quotes off again.
        size_t at = out->n;
        jw_base64(&w, v->s);
        if (out->err == ERR_OK && out->n >= at + 2) {
            memmove(out->p + at, out->p + at + 1, out->n - at - 2);
            out->n -= 2;
        }
        break;
    }
    case COL_ANY:
        anyvalue_json(v->s, &w);
        break;
    case COL_ID64:
    case COL_ID128:
        buf_hex(out, id, id_bytes(v, id));
        break;
    }
}

void value_json(struct jw *w, const struct value *v)
{
    unsigned char id[16];
    switch (v->kind) {
    case COL_I64:
        jw_i64(w, v->i64);
        break;
    case COL_F64:
        jw_f64(w, v->f64);
        break;
    case COL_BOOL:
        jw_bool(w, v->b);
        break;
    case COL_STR:
        jw_str(w, v->s);
        break;
    case COL_BYTES:
        jw_base64(w, v->s);
        break;
    case COL_ANY:
        anyvalue_json(v->s, w);
        break;
    case COL_ID64:
    case COL_ID128:
        jw_hex(w, id, id_bytes(v, id));
        break;
    }
}

// ---- identities -----------------------------------------------------------------------------------------------------

static uint64_t column_seed(const struct column *c)
{
    return hash64_seed(c->name.p, c->name.n, (uint64_t)c->scope << 32 | (uint64_t)c->field << 8 | (uint64_t)c->kind);
}

static uint64_t cell_hash(const struct column *c, uint32_t i, uint64_t seed)
{
    switch (c->kind) {
    case COL_STR:
    case COL_BYTES:
    case COL_ANY:
        return hash64_seed(c->s[i].p, c->s[i].n, seed);
    case COL_ID128:
        return hash_mix(hash_mix(seed, c->id128[i].hi), c->id128[i].lo);
    case COL_BOOL:
        return hash_mix(seed, c->b[i]);
    default:
        return hash_mix(seed, c->id64[i]);
    }
}

static bool column_counts(const struct batch *b, const struct column *c)
{
    if (b->signal == SIGNAL_LOG)
        return true;
    if (b->signal == SIGNAL_SAMPLE)
        return c->scope == COL_FIELD && c->field != FIELD_START;
    switch (c->scope == COL_FIELD ? c->field : FIELD_NONE) {
    case FIELD_TRACE_ID:
    case FIELD_SPAN_ID:
    case FIELD_NAME:
    case FIELD_KIND:
    case FIELD_DURATION:
        return true;
    default:
        return false;
    }
}

// Sums of cell hashes, so that the order of columns does not matter.
static uint64_t row_base(const struct batch *b, uint32_t row)
{
    const struct resource *r = &b->resources[b->resource[row]];
    return hash_mix(hash_mix(r->hash.hi, r->hash.lo), (uint64_t)b->time[row]);
}

uint64_t batch_row_hash(const struct batch *b, uint32_t row)
{
    uint64_t h = row_base(b, row);
    for (uint32_t k = 0; k < b->n_columns; k++) {
        const struct column *c = &b->columns[k];
        int64_t i = column_counts(b, c) ? column_find(c, row) : -1;
        if (i >= 0)
            h += cell_hash(c, (uint32_t)i, column_seed(c));
    }
    return h;
}

void batch_row_hashes(const struct batch *b, uint64_t *out)
{
    for (uint32_t r = 0; r < b->rows; r++)
        out[r] = row_base(b, r);
    for (uint32_t k = 0; k < b->n_columns; k++) {
        const struct column *c = &b->columns[k];
        if (!column_counts(b, c))
            continue;
        uint64_t seed = column_seed(c);
        for (uint32_t i = 0; i < c->n; i++)
            out[c->row ? c->row[i] : i] += cell_hash(c, i, seed);
    }
}
