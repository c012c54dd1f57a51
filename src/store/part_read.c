// Reading a part: footer, resources, blocks. Whatever the bytes are, the answer is data or ERR_CORRUPT.
#include "base/alloc.h"
#include "base/limits.h"
#include "store/part_format.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { MAX_FOOTER_LISTS = 1 << 24 }; // resources, columns or blocks of one part

// ---- a bounded reader -------------------------------------------------------------------------------------------
struct rd {
    const uint8_t *p, *end;
    bool bad; // sticky: it ran over the end
};

static struct rd rd_of(struct slice s)
{
    return (struct rd){(const uint8_t *)s.p, (const uint8_t *)s.p + s.n, false};
}
static size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->p);
}

static uint64_t rd_varint(struct rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint8_t c = *r->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

static const uint8_t *rd_bytes(struct rd *r, uint64_t n)
{
    if (n > rd_left(r)) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return r->p - n;
}

static int64_t rd_fixed(struct rd *r)
{
    int64_t v = 0;
    const uint8_t *p = rd_bytes(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

static uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 1);
    return p ? *p : 0;
}

static struct slice rd_text(struct rd *r)
{
    uint64_t n = rd_varint(r);
    const uint8_t *p = rd_bytes(r, n);
    return slice_of(p, p ? n : 0);
}

static struct id128 rd_id128(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 16);
    return p ? id128_load(p) : (struct id128){0};
}

// A varint that must not be above max.
static uint32_t rd_count(struct rd *r, uint64_t max)
{
    uint64_t v = rd_varint(r);
    if (v > max)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)v;
}

static struct part_piece rd_piece(struct rd *r)
{
    struct part_piece p = {.zstd = rd_varint(r) != 0};
    p.offset = rd_varint(r);
    p.stored = rd_count(r, 2 * MAX_PART_PIECE);
    p.raw = rd_count(r, MAX_PART_PIECE);
    p.check = (uint64_t)rd_fixed(r);
    return p;
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

// ---- pieces -----------------------------------------------------------------------------------------------------
int part_file(const struct part *p, struct error *err)
{
    if (p->memory.p)
        return -1;
    int fd = open(p->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        ERR(err, IO, "opening %s: %s", p->path, strerror(errno));
    return fd;
}

static enum errc read_at(const struct part *p, int fd, uint64_t offset, void *out, size_t n, struct error *err)
{
    if (offset > p->info.bytes || n > p->info.bytes - offset)
        return ERR(err, CORRUPT, "%s: damaged: %zu bytes at byte %llu lie beyond its end", p->path, n,
                   (unsigned long long)offset);
    if (p->memory.p) {
        memcpy(out, p->memory.p + offset, n);
        return ERR_OK;
    }
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(fd, (char *)out + at, n - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR(err, IO, "reading %s at byte %llu: %s", p->path, (unsigned long long)(offset + at), strerror(errno));
        if (got == 0)
            return ERR(err, CORRUPT, "%s: damaged: it ends before byte %llu", p->path, (unsigned long long)(offset + n));
        at += (size_t)got;
    }
    return ERR_OK;
}

// Reads a piece, checks and decompresses it into the arena. what: its name in an error.
static enum errc read_piece(const struct part *p, int fd, const struct part_piece *c, struct arena *a, struct slice *out,
                            const char *what, struct error *err)
{
    if (c->offset > p->info.bytes || c->stored > p->info.bytes - c->offset)
        return ERR(err, CORRUPT, "%s: damaged: %s lies beyond its end", p->path, what);
    if (!c->zstd && c->stored != c->raw)
        return ERR(err, CORRUPT, "%s: damaged: size of %s at byte %llu", p->path, what, (unsigned long long)c->offset);
    char *stored = c->zstd ? mem_alloc(c->stored) : arena_alloc(a, c->stored);
    if (!stored)
        return ERR(err, NOMEM, "no memory to read %s of %s (%u bytes)", what, p->path, c->stored);
    enum errc rc;
    GO(read_at(p, fd, c->offset, stored, c->stored, err));
    if (p->verify && hash64(stored, c->stored) != c->check) {
        rc = ERR(err, CORRUPT, "%s: damaged: checksum of %s, %u bytes at byte %llu", p->path, what, c->stored,
                 (unsigned long long)c->offset);
        goto out;
    }
    *out = slice_of(stored, c->stored);
    if (!c->zstd)
        return ERR_OK;
    if (ZSTD_getFrameContentSize(stored, c->stored) != c->raw) {
        rc = ERR(err, CORRUPT, "%s: damaged: size of %s at byte %llu", p->path, what, (unsigned long long)c->offset);
        goto out;
    }
    char *raw = arena_alloc(a, c->raw);
    if (!raw) {
        rc = ERR(err, LIMIT, "no memory within the budget for %s of %s (%u bytes)", what, p->path, c->raw);
        goto out;
    }
    size_t n = ZSTD_decompress(raw, c->raw, stored, c->stored);
    if (ZSTD_isError(n) || n != c->raw)
        rc = ERR(err, CORRUPT, "%s: damaged: %s at byte %llu: %s", p->path, what, (unsigned long long)c->offset,
                 ZSTD_isError(n) ? ZSTD_getErrorName(n) : "wrong size");
    *out = slice_of(raw, c->raw);
out:
    if (c->zstd)
        mem_free(stored);
    return rc;
}

// ---- opening ----------------------------------------------------------------------------------------------------
static bool read_columns(struct part *p, struct rd *r)
{
    p->info.n_columns = rd_count(r, rd_left(r));
    p->columns = ARENA_ARRAY(&p->arena, struct part_column, p->info.n_columns);
    for (uint32_t i = 0; p->columns && i < p->info.n_columns && !r->bad; i++) {
        struct part_column *c = &p->columns[i];
        c->scope = (enum col_scope)rd_u8(r);
        c->kind = (enum col_kind)rd_u8(r);
        c->field = (enum field)rd_count(r, FIELD_COUNT - 1);
        c->name = rd_text(r);
        if (c->scope > COL_SCOPE || c->kind > COL_ID128 || (c->scope == COL_FIELD && c->kind != field_kind(c->field)))
            r->bad = true;
    }
    return p->columns;
}

static bool read_blocks(struct part *p, struct rd *r)
{
    p->info.n_blocks = rd_count(r, rd_left(r) / 8);
    p->blocks = ARENA_ARRAY(&p->arena, struct part_block, p->info.n_blocks);
    uint64_t rows = 0;
    for (uint32_t i = 0; p->blocks && i < p->info.n_blocks && !r->bad; i++) {
        struct part_block *b = &p->blocks[i];
        b->rows = rd_count(r, MAX_PART_BLOCK_ROWS);
        b->min_time = rd_fixed(r);
        b->max_time = rd_fixed(r);
        b->max_end = rd_fixed(r);
        b->min_resource = rd_count(r, p->info.n_resources - 1);
        b->max_resource = rd_count(r, p->info.n_resources - 1);
        b->directory = rd_piece(r);
        b->bloom = rd_piece(r);
        if (!b->rows || b->min_resource > b->max_resource || (b->bloom.raw & (b->bloom.raw - 1)) || b->min_time > b->max_time)
            r->bad = true;
        rows += b->rows;
    }
    if (rows != p->info.rows)
        r->bad = true;
    return p->blocks;
}

static enum errc parse_footer(struct part *p, struct slice footer, struct error *err)
{
    struct rd r = rd_of(footer);
    struct part_info *f = &p->info;
    f->signal = (enum signal)rd_count(&r, SIGNAL_COUNT - 1);
    f->tenant = rd_text(&r);
    f->first = rd_varint(&r);
    f->last = rd_varint(&r);
    f->rows = rd_varint(&r);
    f->min_time = rd_fixed(&r);
    f->max_time = rd_fixed(&r);
    f->max_end = rd_fixed(&r);
    p->resource_piece = rd_piece(&r);
    f->n_resources = rd_count(&r, MAX_FOOTER_LISTS);
    if (!f->n_resources || f->first > f->last || f->tenant.n > MAX_TENANT)
        r.bad = true;
    bool room = r.bad || (read_columns(p, &r) && (r.bad || read_blocks(p, &r)));
    if (r.bad || r.p != r.end)
        return ERR(err, CORRUPT, "%s: damaged: its footer makes no sense", p->path);
    return room ? ERR_OK : ERR(err, NOMEM, "no memory for the footer of %s", p->path);
}

static enum errc read_footer(struct part *p, int fd, struct error *err)
{
    struct part_trailer t;
    char head[PART_HEADER_BYTES];
    if (p->info.bytes < PART_HEADER_BYTES + PART_TRAILER_BYTES)
        return ERR(err, CORRUPT, "%s: damaged: %llu bytes are too few for a part", p->path, (unsigned long long)p->info.bytes);
    TRY(read_at(p, fd, 0, head, sizeof head, err));
    TRY(read_at(p, fd, p->info.bytes - sizeof t, &t, sizeof t, err));
    uint32_t version;
    memcpy(&version, head + 8, sizeof version);
    if (memcmp(head, PART_MAGIC, 8) != 0 || memcmp(t.magic, PART_END_MAGIC, 8) != 0 ||
        (p->verify && t.own_check != hash64(&t, offsetof(struct part_trailer, own_check))))
        return ERR(err, CORRUPT, "%s: damaged: its head or its last 64 bytes are not those of a part", p->path);
    if (version != PART_VERSION || t.version != PART_VERSION)
        return ERR(err, UNSUPPORTED, "%s: part of version %u, this program reads %d", p->path, t.version, PART_VERSION);
    if (t.size != p->info.bytes || t.raw > MAX_PART_PIECE)
        return ERR(err, CORRUPT, "%s: damaged: it should have %llu bytes and has %llu", p->path, (unsigned long long)t.size,
                   (unsigned long long)p->info.bytes);
    struct part_piece piece = {t.offset, t.stored, t.raw, t.check, t.zstd != 0};
    struct slice footer;
    TRY(read_piece(p, fd, &piece, &p->arena, &footer, "the footer", err));
    return parse_footer(p, footer, err);
}

static struct part *part_new(const char *path, bool verify)
{
    size_t n = strlen(path) + 1;
    struct part *p = mem_zalloc(sizeof *p + n);
    if (!p)
        return NULL;
    p->path = (char *)(p + 1);
    memcpy(p->path, path, n);
    p->verify = verify;
    p->refs = 1;
    arena_init(&p->arena, 4 * MAX_PART_PIECE);
    arena_init(&p->resource_arena, 4 * MAX_PART_PIECE);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

enum errc part_open_memory(struct slice bytes, bool verify, struct part **out, struct error *err)
{
    *out = NULL;
    struct part *p = part_new("(memory)", verify);
    if (!p)
        return ERR(err, NOMEM, "no memory to open a part");
    p->memory = bytes;
    p->info.bytes = bytes.n;
    enum errc rc = read_footer(p, -1, err);
    if (rc == ERR_OK)
        *out = p;
    else
        part_unref(p);
    return rc;
}

enum errc part_open(const char *path, struct part **out, struct error *err)
{
    *out = NULL;
    struct part *p = part_new(path, true);
    if (!p)
        return ERR(err, NOMEM, "no memory to open %s", path);
    struct stat st;
    enum errc rc;
    int fd = part_file(p, err);
    if (fd < 0) {
        rc = ERR_IO;
        goto out;
    }
    if (fstat(fd, &st) != 0) {
        rc = ERR(err, IO, "reading %s: %s", path, strerror(errno));
        goto out;
    }
    p->info.bytes = (uint64_t)st.st_size;
    rc = read_footer(p, fd, err);
out:
    if (fd >= 0)
        close(fd);
    if (rc == ERR_OK)
        *out = p;
    else
        part_unref(p);
    return rc;
}

struct part *part_ref(struct part *p)
{
    __atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void part_unref(struct part *p)
{
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (__atomic_load_n(&p->removed, __ATOMIC_ACQUIRE) && !p->memory.p)
        unlink(p->path);
    arena_free(&p->arena);
    arena_free(&p->resource_arena);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

void part_remove(struct part *p)
{
    __atomic_store_n(&p->removed, true, __ATOMIC_RELEASE);
}

// ---- resources --------------------------------------------------------------------------------------------------
static void read_value(struct rd *r, struct value *v)
{
    v->kind = (enum col_kind)rd_u8(r);
    switch (v->kind) {
    case COL_I64:
    case COL_F64:
    case COL_ID64:
        v->i64 = rd_fixed(r); // the union's eight bytes
        break;
    case COL_BOOL:
        v->b = rd_u8(r) != 0;
        break;
    case COL_ID128:
        v->id128 = rd_id128(r);
        break;
    case COL_STR:
    case COL_BYTES:
    case COL_ANY:
        v->s = rd_text(r);
        break;
    default:
        r->bad = true;
    }
}

static bool read_resource(struct rd *r, struct arena *a, struct resource *out, int64_t *min, int64_t *max)
{
    out->hash = rd_id128(r);
    out->labels_hash = rd_id128(r);
    *min = rd_fixed(r);
    *max = rd_fixed(r);
    out->n_labels = rd_count(r, rd_left(r) / 2);
    out->labels = ARENA_ARRAY(a, struct label, out->n_labels);
    for (uint32_t i = 0; out->labels && i < out->n_labels && !r->bad; i++) {
        out->labels[i].name = rd_text(r);
        out->labels[i].value = rd_text(r);
    }
    out->n_attrs = rd_count(r, rd_left(r) / 2);
    out->attrs = ARENA_ARRAY(a, struct attr, out->n_attrs);
    for (uint32_t i = 0; out->attrs && i < out->n_attrs && !r->bad; i++) {
        out->attrs[i].key = rd_text(r);
        read_value(r, &out->attrs[i].value);
    }
    return out->labels && out->attrs;
}

static enum errc load_resources(struct part *p, int fd, struct error *err)
{
    struct slice bytes;
    struct arena *a = &p->resource_arena;
    arena_free(a);
    TRY(read_piece(p, fd, &p->resource_piece, a, &bytes, "the table of resources", err));
    uint32_t n = p->info.n_resources;
    struct rd r = rd_of(bytes);
    if (n > bytes.n / 50) // the least that one takes
        return ERR(err, CORRUPT, "%s: damaged: its table of resources is too short", p->path);
    struct resource *v = ARENA_ARRAY(a, struct resource, n);
    p->resource_min = ARENA_ARRAY(a, int64_t, n);
    p->resource_max = ARENA_ARRAY(a, int64_t, n);
    bool room = v && p->resource_min && p->resource_max;
    for (uint32_t i = 0; room && i < n && !r.bad; i++)
        room = read_resource(&r, a, &v[i], &p->resource_min[i], &p->resource_max[i]);
    if (!room)
        return ERR(err, NOMEM, "no memory for the resources of %s", p->path);
    if (r.bad || r.p != r.end)
        return ERR(err, CORRUPT, "%s: damaged: its table of resources makes no sense", p->path);
    __atomic_store_n(&p->resources, v, __ATOMIC_RELEASE);
    return ERR_OK;
}

enum errc part_resources(struct part *p, int fd, struct error *err)
{
    if (__atomic_load_n(&p->resources, __ATOMIC_ACQUIRE))
        return ERR_OK;
    pthread_mutex_lock(&p->lock);
    enum errc rc = p->resources ? ERR_OK : load_resources(p, fd, err);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

// ---- blocks -----------------------------------------------------------------------------------------------------
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
    TRY(read_piece(p, c->fd, &b->directory, &c->out.arena, &bytes, "the directory of a block", err));
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
    TRY(read_piece(c->part, c->fd, &k->piece, &c->out.arena, &bytes, what, err));
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
    enum errc rc = read_piece(p, fd, c, &a, &bits, "a filter of trace ids", err);
    if (rc == ERR_OK) {
        *may = true;
        for (unsigned i = 0; i < PART_BLOOM_HASHES && *may; i++) {
            uint64_t bit = part_bloom_bit(trace, i, bits.n * 8);
            *may = (uint8_t)bits.p[bit / 8] >> (bit & 7) & 1;
        }
    }
    arena_free(&a);
    return rc;
}
