// Reading one block of a part, column by column. Whatever the bytes are, the answer is data or ERR_CORRUPT.
#include "base/limits.h"
#include "store/part_rd.h"
#include <stdio.h>

void part_cursor_init(struct part_cursor *c, size_t max_memory)
{
    *c = (struct part_cursor){.fd = -1};
    arena_init(&c->out.arena, max_memory);
}

void part_cursor_free(struct part_cursor *c)
{
    arena_free(&c->out.arena);
}

static enum errc corrupt(const struct part_cursor *c, const char *what, struct error *err)
{
    return ERR(err, CORRUPT, "%s: damaged: block %u, %s", c->part->path, c->block, what);
}

static void column_words(const struct part *p, uint32_t column, char out[120])
{
    if (column == PART_TIME)
        snprintf(out, 120, "column time");
    else if (column == PART_RESOURCE)
        snprintf(out, 120, "column resource");
    else {
        const struct part_column *c = &p->columns[column - PART_FIRST_COLUMN];
        struct slice name = c->scope == COL_FIELD ? slice_str(field_text(c->field)) : c->name;
        snprintf(out, 120, "column %.*s", (int)(name.n < 90 ? name.n : 90), name.n ? name.p : "");
    }
}

static enum errc read_directory(struct part_cursor *c, struct error *err)
{
    const struct part *p = c->part;
    const struct part_block *b = &p->blocks[c->block];
    struct slice bytes;
    TRY(part_read_piece(p, c->fd, &b->directory, &c->out.arena, &bytes, "the directory of a block", err));
    struct rd r = rd_of(bytes);
    c->n_chunks = rd_count(&r, rd_left(&r) / 8);
    c->chunks = ARENA_ARRAY(&c->out.arena, struct part_chunk, c->n_chunks);
    if (!c->chunks)
        return ERR(err, NOMEM, "no memory for the directory of a block of %s", p->path);
    for (uint32_t i = 0; i < c->n_chunks && !r.bad; i++) {
        struct part_chunk *k = &c->chunks[i];
        k->column = rd_count(&r, (uint64_t)PART_RESOURCE + p->info.n_columns);
        k->encoding = rd_u8(&r);
        k->n = rd_count(&r, b->rows);
        k->piece = rd_piece(&r);
        if (!k->n || (i && k->column <= c->chunks[i - 1].column)) // ascending: no column twice
            r.bad = true;
    }
    if (r.bad || r.p != r.end || c->n_chunks < 2 || c->chunks[0].column != PART_TIME || c->chunks[1].column != PART_RESOURCE ||
        c->chunks[0].n != b->rows || c->chunks[1].n != b->rows)
        return corrupt(c, "its directory makes no sense", err);
    return ERR_OK;
}

static enum errc read_chunk(struct part_cursor *c, const struct part_chunk *k, struct rd *r, struct error *err)
{
    char what[140], name[120];
    struct slice bytes;
    column_words(c->part, k->column, name);
    snprintf(what, sizeof what, "block %u %s", c->block, name);
    TRY(part_read_piece(c->part, c->fd, &k->piece, &c->out.arena, &bytes, what, err));
    c->bytes_read += k->piece.raw;
    *r = rd_of(bytes);
    return ERR_OK;
}

static void decode_delta(struct rd *r, int64_t *v, uint32_t n)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        at += (uint64_t)unzigzag(rd_varint(r));
        v[i] = (int64_t)at;
    }
}

static void decode_runs(struct rd *r, uint32_t *v, uint32_t n, uint32_t min, uint32_t max)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n && !r->bad;) {
        at += (uint32_t)rd_varint(r);
        uint32_t run = rd_count(r, n - i);
        if (!run || at < min || at > max)
            r->bad = true;
        for (; run && !r->bad; run--)
            v[i++] = at;
    }
}

static void decode_dict(struct rd *r, struct slice *s, uint32_t n)
{
    struct slice dict[PART_DICT_MAX];
    uint32_t d = rd_count(r, PART_DICT_MAX);
    for (uint32_t i = 0; i < d; i++)
        dict[i] = rd_text(r);
    const uint8_t *choice = rd_bytes(r, n);
    for (uint32_t i = 0; choice && i < n; i++) {
        if (choice[i] >= d) {
            r->bad = true;
            return;
        }
        s[i] = dict[choice[i]];
    }
}

static void decode_plain_text(struct rd *r, struct slice *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        s[i].n = rd_count(r, MAX_PART_PIECE);
    for (uint32_t i = 0; i < n && !r->bad; i++)
        s[i].p = (const char *)rd_bytes(r, s[i].n);
}

static void decode_values(struct rd *r, uint8_t encoding, struct column *c)
{
    if (column_is_text(c->kind) && encoding == PART_DICT) {
        decode_dict(r, c->s, c->n);
    } else if (c->kind == COL_I64 && encoding == PART_DELTA) {
        decode_delta(r, c->i64, c->n);
    } else if (c->kind == COL_F64 && encoding == PART_NUMBERS) {
        part_decode_numbers(r, c->f64, c->n);
    } else if (encoding != PART_PLAIN || c->kind == COL_I64) {
        r->bad = true;
    } else if (column_is_text(c->kind)) {
        decode_plain_text(r, c->s, c->n);
    } else if (c->kind == COL_ID128) {
        for (uint32_t i = 0; i < c->n; i++)
            c->id128[i] = rd_id128(r);
    } else if (c->kind == COL_BOOL) {
        for (uint32_t i = 0; i < c->n; i++)
            c->b[i] = rd_u8(r) != 0;
    } else {
        const uint8_t *p = rd_bytes(r, 8 * (uint64_t)c->n);
        if (p)
            memcpy(c->v, p, 8 * (size_t)c->n);
    }
}

enum errc part_cursor_block(struct part_cursor *c, struct part *p, int fd, uint32_t block, struct error *err)
{
    struct arena arena = c->out.arena;
    arena_reset(&arena);
    const struct part_block *b = &p->blocks[block];
    *c = (struct part_cursor){.part = p, .fd = fd, .block = block};
    c->out = (struct batch){.signal = p->info.signal,
                            .rows = b->rows,
                            .cap = b->rows,
                            .min_time = b->min_time,
                            .max_time = b->max_time,
                            .arena = arena,
                            .refs = 1,
                            .sealed = true};
    TRY(part_resources(p, fd, err));
    c->out.resources = p->resources;
    c->out.n_resources = c->out.cap_resources = p->info.n_resources;
    struct arena *a = &c->out.arena;
    c->out.columns = ARENA_ARRAY(a, struct column, p->info.n_columns);
    c->out.time = ARENA_ARRAY(a, int64_t, b->rows);
    c->out.resource = ARENA_ARRAY(a, uint32_t, b->rows);
    if (!c->out.columns || !c->out.time || !c->out.resource)
        return ERR(err, LIMIT, "no memory within the budget for a block of %s", p->path);
    c->out.cap_columns = p->info.n_columns;
    TRY(read_directory(c, err));
    struct rd r;
    TRY(read_chunk(c, &c->chunks[0], &r, err));
    if (c->chunks[0].encoding == PART_STEPS)
        part_decode_steps(&r, c->out.time, b->rows);
    else
        decode_delta(&r, c->out.time, b->rows);
    if (r.bad || r.p != r.end)
        return corrupt(c, "column time makes no sense", err);
    TRY(read_chunk(c, &c->chunks[1], &r, err));
    decode_runs(&r, c->out.resource, b->rows, b->min_resource, b->max_resource);
    if (r.bad || r.p != r.end)
        return corrupt(c, "column resource makes no sense", err);
    return ERR_OK;
}

static bool has_column(const struct part_cursor *c, const struct part_column *k)
{
    if (k->scope == COL_FIELD)
        return c->out.field[k->field];
    for (uint32_t i = 0; i < c->out.n_columns; i++)
        if (c->out.columns[i].name.p == k->name.p && c->out.columns[i].kind == k->kind && c->out.columns[i].scope == k->scope)
            return true;
    return false;
}

static bool read_rows(struct rd *r, uint32_t *row, uint32_t n, uint32_t rows)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        at += rd_count(r, rows);
        if (at >= rows)
            return false;
        row[i] = (uint32_t)at++;
    }
    return true;
}

enum errc part_cursor_column(struct part_cursor *c, uint32_t column, struct error *err)
{
    const struct part_column *k = &c->part->columns[column];
    const struct part_chunk *chunk = NULL;
    for (uint32_t lo = 0, hi = c->n_chunks; lo < hi && !chunk;) {
        uint32_t mid = (lo + hi) / 2;
        if (c->chunks[mid].column == column + PART_FIRST_COLUMN)
            chunk = &c->chunks[mid];
        else if (c->chunks[mid].column < column + PART_FIRST_COLUMN)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!chunk || has_column(c, k))
        return ERR_OK;
    struct rd r;
    TRY(read_chunk(c, chunk, &r, err));
    struct column *out = &c->out.columns[c->out.n_columns];
    *out = (struct column){.scope = k->scope,
                           .kind = k->kind,
                           .field = k->scope == COL_FIELD ? k->field : FIELD_NONE,
                           .name = k->name,
                           .n = chunk->n,
                           .cap = chunk->n};
    out->v = arena_zalloc(&c->out.arena, column_width(k->kind) * chunk->n);
    bool sparse = chunk->n < c->out.rows;
    if (sparse)
        out->row = ARENA_ARRAY(&c->out.arena, uint32_t, chunk->n);
    if (!out->v || (sparse && !out->row))
        return ERR(err, LIMIT, "no memory within the budget for a block of %s", c->part->path);
    bool ok = !sparse || read_rows(&r, out->row, chunk->n, c->out.rows);
    if (ok)
        decode_values(&r, chunk->encoding, out);
    if (!ok || r.bad || r.p != r.end) {
        char name[120], what[160];
        column_words(c->part, chunk->column, name);
        snprintf(what, sizeof what, "%s makes no sense", name);
        return corrupt(c, what, err);
    }
    c->out.n_columns++;
    if (k->scope == COL_FIELD)
        c->out.field[k->field] = out;
    return ERR_OK;
}

enum errc part_may_have_trace(struct part *p, int fd, uint32_t block, struct id128 trace, bool *may, struct error *err)
{
    const struct part_piece *c = &p->blocks[block].bloom;
    struct arena a;
    struct slice bits;
    *may = false;
    if (!c->raw)
        return ERR_OK;
    arena_init(&a, 2 * MAX_PART_PIECE);
    enum errc rc = part_read_piece(p, fd, c, &a, &bits, "a filter of trace ids", err);
    if (rc == ERR_OK)
        *may = part_bloom_has((const uint8_t *)bits.p, bits.n * 8, trace);
    arena_free(&a);
    return rc;
}
