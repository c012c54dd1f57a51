// Writing a part: blocks, their columns and filters, resources, footer.
#include "base/alloc.h"
#include "base/limits.h"
#include "store/part_encode.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

enum { WRITE_BYTES = 1 << 20, ZSTD_LEVEL = 1, ZSTD_MIN = 64 };

struct writer {
    int fd;
    const char *path; // of the temporary file
    uint64_t offset;
    struct buf pending; // not yet in the file
    struct buf raw;     // the piece being made
    struct buf squeezed;
    ZSTD_CCtx *zstd;
    struct error *err;
    const struct batch *b;
    uint32_t *resource; // per row of the part: the resource's number, in order of appearance
    uint32_t *order;    // the batch's resource numbers in that order
    uint32_t n_resources;
    int64_t *min, *max; // per resource
    uint32_t *at;       // per column: the first value not yet written
};

static enum errc disk_error(struct writer *w, int e, const char *what)
{
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        return ERR(w->err, FULL, "%s %s: %s; make room on this file system", what, w->path, strerror(e));
    return ERR(w->err, IO, "%s %s: %s", what, w->path, strerror(e));
}

static enum errc flush_pending(struct writer *w)
{
    if (w->pending.err != ERR_OK)
        return ERR(w->err, NOMEM, "no memory to write %s", w->path);
    for (size_t at = 0; at < w->pending.n;) {
        ssize_t got = write(w->fd, w->pending.p + at, w->pending.n - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return disk_error(w, got < 0 ? errno : ENOSPC, "writing");
        at += (size_t)got;
    }
    // The disk begins now, so that the sync at the end is short: the log's syncs would wait behind a long one.
    (void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    buf_reset(&w->pending);
    return ERR_OK;
}

// Writes w->raw as a piece.
static enum errc write_piece(struct writer *w, struct part_piece *out)
{
    struct buf *raw = &w->raw;
    if (raw->err != ERR_OK)
        return ERR(w->err, NOMEM, "no memory to write %s: a column of a block is larger than %zu bytes", w->path,
                   (size_t)MAX_PART_PIECE);
    struct slice s = buf_slice(raw);
    *out = (struct part_piece){.offset = w->offset, .raw = (uint32_t)s.n};
    if (s.n >= ZSTD_MIN) {
        buf_reset(&w->squeezed);
        size_t room = ZSTD_compressBound(s.n);
        char *p = buf_reserve(&w->squeezed, room);
        if (!p)
            return ERR(w->err, NOMEM, "no memory to compress %zu bytes for %s", s.n, w->path);
        size_t n = ZSTD_compressCCtx(w->zstd, p, room, s.p, s.n, ZSTD_LEVEL);
        if (!ZSTD_isError(n) && n < s.n) {
            s = slice_of(p, n);
            out->zstd = true;
        }
    }
    out->stored = (uint32_t)s.n;
    out->check = hash64(s.p, s.n);
    buf_add(&w->pending, s);
    w->offset += s.n;
    return w->pending.n >= WRITE_BYTES ? flush_pending(w) : ERR_OK;
}

// ---- blocks ---------------------------------------------------------------------------------------------------------
// The values of column c in rows [row, row + rows): their number; *from is the first.
static uint32_t values_in(struct writer *w, uint32_t c, uint32_t row, uint32_t rows, uint32_t *from)
{
    const struct column *col = &w->b->columns[c];
    if (!col->row) {
        *from = row;
        return rows;
    }
    uint32_t n = 0;
    *from = w->at[c];
    while (*from + n < col->n && col->row[*from + n] < row + rows)
        n++;
    w->at[c] += n;
    return n;
}

static enum errc write_column(struct writer *w, uint32_t c, uint32_t row, uint32_t rows, struct buf *dir, uint32_t *chunks)
{
    const struct column *col = &w->b->columns[c];
    uint32_t from, n = values_in(w, c, row, rows, &from);
    if (!n)
        return ERR_OK;
    struct part_piece piece;
    buf_reset(&w->raw);
    if (n < rows) {
        uint32_t next = row;
        for (uint32_t i = 0; i < n; i++) {
            part_put_varint(&w->raw, col->row[from + i] - next);
            next = col->row[from + i] + 1;
        }
    }
    enum part_encoding e = part_encode_values(&w->raw, col, from, n);
    TRY(write_piece(w, &piece));
    part_put_varint(dir, PART_FIRST_COLUMN + c);
    buf_char(dir, (char)e);
    part_put_varint(dir, n);
    part_put_piece(dir, &piece);
    ++*chunks;
    return ERR_OK;
}

static enum errc write_fixed_columns(struct writer *w, uint32_t row, uint32_t rows, struct buf *dir)
{
    struct part_piece piece;
    buf_reset(&w->raw);
    bool steps = w->b->signal == SIGNAL_SAMPLE; // a series' times are regular
    if (steps)
        part_encode_steps(&w->raw, w->b->time + row, rows);
    else
        part_encode_delta(&w->raw, w->b->time + row, rows);
    TRY(write_piece(w, &piece));
    part_put_varint(dir, PART_TIME);
    buf_char(dir, steps ? PART_STEPS : PART_DELTA);
    part_put_varint(dir, rows);
    part_put_piece(dir, &piece);
    buf_reset(&w->raw);
    part_encode_runs(&w->raw, w->resource + row, rows);
    TRY(write_piece(w, &piece));
    part_put_varint(dir, PART_RESOURCE);
    buf_char(dir, PART_RUNS);
    part_put_varint(dir, rows);
    part_put_piece(dir, &piece);
    return ERR_OK;
}

static enum errc write_bloom(struct writer *w, uint32_t row, uint32_t rows, struct part_piece *out)
{
    *out = (struct part_piece){0};
    const struct column *c = w->b->field[FIELD_TRACE_ID];
    if (!c)
        return ERR_OK;
    uint32_t number = (uint32_t)(c - w->b->columns), from, saved = w->at[number];
    uint32_t n = values_in(w, number, row, rows, &from);
    w->at[number] = saved; // the column itself is written after
    if (!n)
        return ERR_OK;
    uint64_t bits = part_bloom_bits(part_count_ids(c->id128 + from, n));
    buf_reset(&w->raw);
    char *p = buf_reserve(&w->raw, bits / 8);
    if (p) {
        memset(p, 0, bits / 8);
        for (uint32_t i = 0; i < n; i++)
            part_bloom_add((uint8_t *)p, bits, c->id128[from + i]);
        w->raw.n += bits / 8;
    }
    return write_piece(w, out);
}

static int64_t row_end(const struct batch *b, uint32_t row, uint32_t *hint)
{
    const struct column *d = b->signal == SIGNAL_SPAN ? b->field[FIELD_DURATION] : NULL;
    int64_t i = d ? column_find_hint(d, row, hint) : -1, end;
    if (i < 0)
        return b->time[row];
    return __builtin_add_overflow(b->time[row], d->i64[i], &end) ? INT64_MAX : end;
}

static enum errc write_block(struct writer *w, uint32_t row, uint32_t rows, struct buf *footer, int64_t *max_end, uint32_t *hint)
{
    const struct batch *b = w->b;
    struct buf dir;
    struct part_piece piece, bloom;
    uint32_t chunks = 2;
    int64_t min = b->time[row], max = min, end = INT64_MIN;
    for (uint32_t r = row; r < row + rows; r++) {
        int64_t t = b->time[r], e = row_end(b, r, hint), *rmin = &w->min[w->resource[r]], *rmax = &w->max[w->resource[r]];
        min = t < min ? t : min;
        max = t > max ? t : max;
        end = e > end ? e : end;
        *rmin = t < *rmin ? t : *rmin;
        *rmax = t > *rmax ? t : *rmax;
    }
    *max_end = end > *max_end ? end : *max_end;
    enum errc rc;
    buf_init(&dir, MAX_PART_PIECE);
    GO(write_bloom(w, row, rows, &bloom));
    GO(write_fixed_columns(w, row, rows, &dir));
    for (uint32_t c = 0; c < b->n_columns; c++)
        GO(write_column(w, c, row, rows, &dir, &chunks));
    buf_reset(&w->raw);
    part_put_varint(&w->raw, chunks);
    buf_add(&w->raw, buf_slice(&dir));
    if (dir.err != ERR_OK)
        w->raw.err = dir.err;
    GO(write_piece(w, &piece));
    part_put_varint(footer, rows);
    part_put_fixed(footer, min);
    part_put_fixed(footer, max);
    part_put_fixed(footer, end);
    part_put_varint(footer, w->resource[row]); // sorted by resource
    part_put_varint(footer, w->resource[row + rows - 1]);
    part_put_piece(footer, &piece);
    part_put_piece(footer, &bloom);
out:
    buf_free(&dir);
    return rc;
}

// Sizes of the texts of every row, for cutting blocks; null when out of memory.
static uint32_t *row_sizes(const struct batch *b)
{
    uint32_t *n = mem_zalloc(((size_t)b->rows + 1) * sizeof *n);
    for (uint32_t c = 0; n && c < b->n_columns; c++) {
        const struct column *col = &b->columns[c];
        for (uint32_t i = 0; column_is_text(col->kind) && i < col->n; i++)
            n[col->row ? col->row[i] : i] += (uint32_t)col->s[i].n;
    }
    return n;
}

static enum errc write_blocks(struct writer *w, struct buf *blocks, uint32_t *n_blocks, int64_t *max_end)
{
    uint32_t *size = row_sizes(w->b), hint = 0;
    if (!size)
        return ERR(w->err, NOMEM, "no memory to write %s", w->path);
    enum errc rc = ERR_OK;
    for (uint32_t row = 0, rows; row < w->b->rows && rc == ERR_OK; row += rows) {
        uint64_t bytes = size[row];
        for (rows = 1; rows < MAX_PART_BLOCK_ROWS && row + rows < w->b->rows; rows++) {
            bytes += size[row + rows];
            if (bytes > MAX_PART_BLOCK_BYTES)
                break;
        }
        rc = write_block(w, row, rows, blocks, max_end, &hint);
        ++*n_blocks;
    }
    mem_free(size);
    return rc;
}

// ---- resources and footer -------------------------------------------------------------------------------------------
static void put_labels(struct buf *b, const struct resource *r)
{
    part_put_varint(b, r->n_labels);
    for (uint32_t k = 0; k < r->n_labels; k++) {
        part_put_text(b, r->labels[k].name);
        part_put_text(b, r->labels[k].value);
    }
}

static enum errc write_resources(struct writer *w, struct part_piece *out)
{
    struct buf *b = &w->raw;
    buf_reset(b);
    for (uint32_t i = 0; i < w->n_resources; i++) {
        const struct resource *r = &w->b->resources[w->order[i]];
        if (w->b->signal == SIGNAL_SAMPLE) { // many, and short: 48 bytes that do not shrink would be most of it
            part_put_varint(b, (uint64_t)w->min[i] - (uint64_t)w->b->min_time);
            part_put_varint(b, (uint64_t)w->max[i] - (uint64_t)w->min[i]);
            put_labels(b, r);
            continue;
        }
        part_put_id128(b, r->hash);
        part_put_id128(b, r->labels_hash);
        part_put_fixed(b, w->min[i]);
        part_put_fixed(b, w->max[i]);
        put_labels(b, r);
        part_put_varint(b, r->n_attrs);
        for (uint32_t k = 0; k < r->n_attrs; k++) {
            part_put_text(b, r->attrs[k].key);
            part_put_value(b, &r->attrs[k].value);
        }
    }
    return write_piece(w, out);
}

// Numbers the resources as they appear: rows are sorted by them, so each block has a range.
static enum errc number_resources(struct writer *w)
{
    const struct batch *b = w->b;
    size_t n = (size_t)b->n_resources + 1;
    uint32_t *number = mem_zalloc(n * sizeof *number); // + 1
    w->resource = mem_alloc(((size_t)b->rows + 1) * sizeof *w->resource);
    w->order = mem_alloc(n * sizeof *w->order);
    w->min = mem_alloc(n * sizeof *w->min);
    w->max = mem_alloc(n * sizeof *w->max);
    w->at = mem_zalloc(((size_t)b->n_columns + 1) * sizeof *w->at);
    bool ok = number && w->resource && w->order && w->min && w->max && w->at;
    for (uint32_t r = 0; ok && r < b->rows; r++) {
        uint32_t *k = &number[b->resource[r]];
        if (!*k) {
            w->order[w->n_resources] = b->resource[r];
            w->min[w->n_resources] = INT64_MAX;
            w->max[w->n_resources] = INT64_MIN;
            *k = ++w->n_resources;
        }
        w->resource[r] = *k - 1;
    }
    mem_free(number);
    return ok ? ERR_OK : ERR(w->err, NOMEM, "no memory to write %s", w->path);
}

// The footer, then the trailer that leads to it.
static enum errc write_footer(struct writer *w, const struct part_meta *meta, const struct part_piece *resources,
                              uint32_t n_blocks, const struct buf *blocks, int64_t max_end)
{
    const struct batch *b = w->b;
    struct part_piece footer;
    struct buf *f = &w->raw;
    buf_reset(f);
    part_put_varint(f, b->signal);
    part_put_text(f, meta->tenant);
    part_put_varint(f, meta->first);
    part_put_varint(f, meta->last);
    part_put_varint(f, b->rows);
    part_put_fixed(f, b->min_time);
    part_put_fixed(f, b->max_time);
    part_put_fixed(f, max_end);
    part_put_piece(f, resources);
    part_put_varint(f, w->n_resources);
    part_put_varint(f, b->n_columns);
    for (uint32_t c = 0; c < b->n_columns; c++) {
        buf_char(f, (char)b->columns[c].scope);
        buf_char(f, (char)b->columns[c].kind);
        part_put_varint(f, b->columns[c].field);
        part_put_text(f, b->columns[c].name);
    }
    part_put_varint(f, n_blocks);
    buf_add(f, buf_slice(blocks));
    if (blocks->err != ERR_OK)
        f->err = blocks->err;
    TRY(write_piece(w, &footer));
    struct part_trailer t = {.offset = footer.offset,
                             .stored = footer.stored,
                             .raw = footer.raw,
                             .zstd = footer.zstd,
                             .version = PART_VERSION,
                             .check = footer.check,
                             .size = w->offset + sizeof t};
    t.own_check = hash64(&t, offsetof(struct part_trailer, own_check));
    memcpy(t.magic, PART_END_MAGIC, sizeof t.magic);
    buf_put(&w->pending, &t, sizeof t);
    return flush_pending(w);
}

static enum errc write_all(struct writer *w, const struct part_meta *meta)
{
    struct buf blocks;
    struct part_piece resources;
    uint32_t n_blocks = 0;
    int64_t max_end = INT64_MIN;
    enum errc rc;
    uint32_t head[4] = {0, 0, PART_VERSION, 0};
    memcpy(head, PART_MAGIC, 8);
    buf_put(&w->pending, head, sizeof head);
    w->offset = sizeof head;
    buf_init(&blocks, MAX_PART_PIECE);
    GO(number_resources(w));
    GO(write_blocks(w, &blocks, &n_blocks, &max_end));
    GO(write_resources(w, &resources));
    rc = write_footer(w, meta, &resources, n_blocks, &blocks, max_end);
out:
    buf_free(&blocks);
    return rc;
}

static enum errc sync_folder(struct writer *w, const char *path)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return disk_error(w, e, "syncing the folder of");
    }
    close(fd);
    return ERR_OK;
}

enum errc part_write(const char *path, const struct batch *b, const struct part_meta *meta, struct error *err)
{
    char tmp[4100];
    enum errc rc;
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    struct writer w = {.path = tmp, .err = err, .b = b};
    w.fd = open(tmp, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
    if (w.fd < 0)
        return disk_error(&w, errno, "making");
    buf_init(&w.pending, MAX_PART_PIECE * 2);
    buf_init(&w.raw, MAX_PART_PIECE);
    buf_init(&w.squeezed, MAX_PART_PIECE * 2);
    w.zstd = ZSTD_createCCtx();
    if (!w.zstd) {
        rc = ERR(err, NOMEM, "no memory to compress %s", path);
        goto out;
    }
    GO(write_all(&w, meta));
    if (fsync(w.fd) != 0)
        GO(disk_error(&w, errno, "syncing"));
    if (rename(tmp, path) != 0)
        GO(disk_error(&w, errno, "renaming"));
    rc = sync_folder(&w, path);
    if (rc != ERR_OK)
        unlink(path);
out:
    close(w.fd);
    if (rc != ERR_OK)
        unlink(tmp);
    ZSTD_freeCCtx(w.zstd);
    buf_free(&w.pending);
    buf_free(&w.raw);
    buf_free(&w.squeezed);
    mem_free(w.resource);
    mem_free(w.order);
    mem_free(w.min);
    mem_free(w.max);
    mem_free(w.at);
    return rc;
}
