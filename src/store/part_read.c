// Reading a part: pieces, footer, resources. Whatever the bytes are, the answer is data or ERR_CORRUPT.
#include "base/alloc.h"
#include "base/limits.h"
#include "store/part_rd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { MAX_FOOTER_LISTS = 1 << 24 }; // resources, columns or blocks of one part

// ---- decompression --------------------------------------------------------------------------------------------------
// A context has some 100 KiB, which a scan of many small pieces would make and drop again and again: each thread keeps one.
static pthread_key_t unpacker_key;
static bool unpacker_kept;

static void drop_unpacker(void *p)
{
    ZSTD_freeDCtx(p);
}

static void make_key(void)
{
    unpacker_kept = pthread_key_create(&unpacker_key, drop_unpacker) == 0;
}

// Decompresses; the bytes, or an error of zstd's.
static size_t unpack(void *out, size_t room, const void *p, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    ZSTD_DCtx *d = unpacker_kept ? pthread_getspecific(unpacker_key) : NULL;
    if (!d && unpacker_kept && (d = ZSTD_createDCtx()) && pthread_setspecific(unpacker_key, d) != 0) {
        ZSTD_freeDCtx(d);
        d = NULL;
    }
    return d ? ZSTD_decompressDCtx(d, out, room, p, n) : ZSTD_decompress(out, room, p, n);
}

// ---- pieces ---------------------------------------------------------------------------------------------------------
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

enum errc part_read_piece(const struct part *p, int fd, const struct part_piece *c, struct arena *a, struct slice *out,
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
    size_t n = unpack(raw, c->raw, stored, c->stored);
    if (ZSTD_isError(n) || n != c->raw)
        rc = ERR(err, CORRUPT, "%s: damaged: %s at byte %llu: %s", p->path, what, (unsigned long long)c->offset,
                 ZSTD_isError(n) ? ZSTD_getErrorName(n) : "wrong size");
    *out = slice_of(raw, c->raw);
out:
    if (c->zstd)
        mem_free(stored);
    return rc;
}

// ---- opening --------------------------------------------------------------------------------------------------------
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
    TRY(part_read_piece(p, fd, &piece, &p->arena, &footer, "the footer", err));
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

// ---- resources ------------------------------------------------------------------------------------------------------
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

static bool read_labels(struct rd *r, struct arena *a, struct resource *out)
{
    out->n_labels = rd_count(r, rd_left(r) / 2);
    out->labels = ARENA_ARRAY(a, struct label, out->n_labels);
    for (uint32_t i = 0; out->labels && i < out->n_labels && !r->bad; i++) {
        out->labels[i].name = rd_text(r);
        out->labels[i].value = rd_text(r);
    }
    return out->labels;
}

static bool read_series(const struct part *p, struct rd *r, struct arena *a, struct resource *out, int64_t *min, int64_t *max)
{
    *min = (int64_t)((uint64_t)p->info.min_time + rd_varint(r));
    *max = (int64_t)((uint64_t)*min + rd_varint(r));
    bool room = read_labels(r, a, out);
    if (room && !r->bad)
        resource_identify(out);
    return room;
}

static bool read_resource(struct rd *r, struct arena *a, struct resource *out, int64_t *min, int64_t *max)
{
    out->hash = rd_id128(r);
    out->labels_hash = rd_id128(r);
    *min = rd_fixed(r);
    *max = rd_fixed(r);
    if (!read_labels(r, a, out))
        return false;
    out->n_attrs = rd_count(r, rd_left(r) / 2);
    out->attrs = ARENA_ARRAY(a, struct attr, out->n_attrs);
    for (uint32_t i = 0; out->attrs && i < out->n_attrs && !r->bad; i++) {
        out->attrs[i].key = rd_text(r);
        read_value(r, &out->attrs[i].value);
    }
    return out->attrs;
}

static enum errc load_resources(struct part *p, int fd, struct error *err)
{
    struct slice bytes;
    struct arena *a = &p->resource_arena;
    arena_free(a);
    TRY(part_read_piece(p, fd, &p->resource_piece, a, &bytes, "the table of resources", err));
    uint32_t n = p->info.n_resources;
    struct rd r = rd_of(bytes);
    bool samples = p->info.signal == SIGNAL_SAMPLE;
    if (n > bytes.n / (samples ? 3 : 50)) // the least that one takes
        return ERR(err, CORRUPT, "%s: damaged: its table of resources is too short", p->path);
    struct resource *v = ARENA_ARRAY(a, struct resource, n);
    p->resource_min = ARENA_ARRAY(a, int64_t, n);
    p->resource_max = ARENA_ARRAY(a, int64_t, n);
    bool room = v && p->resource_min && p->resource_max;
    for (uint32_t i = 0; room && i < n && !r.bad; i++)
        room = samples ? read_series(p, &r, a, &v[i], &p->resource_min[i], &p->resource_max[i])
                       : read_resource(&r, a, &v[i], &p->resource_min[i], &p->resource_max[i]);
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

size_t part_resource_memory(const struct part *p)
{
    return __atomic_load_n(&p->resources, __ATOMIC_ACQUIRE) ? p->resource_arena.used : 0;
}

bool part_forget_resources(struct part *p)
{
    if (__atomic_load_n(&p->refs, __ATOMIC_ACQUIRE) > 1)
        return false;
    pthread_mutex_lock(&p->lock);
    __atomic_store_n(&p->resources, NULL, __ATOMIC_RELEASE);
    p->resource_min = p->resource_max = NULL;
    arena_free(&p->resource_arena);
    pthread_mutex_unlock(&p->lock);
    return true;
}
