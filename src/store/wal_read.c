// The log's reading side: walking a segment over torn tails and damage, replay, inspection.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/store.h"
#include "store/wal.h"
#include "store/wal_format.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

void wal_segment_path(const struct wal *w, const struct wal_segment *s, char *out, size_t room)
{
    unsigned long long first = s->first, end = s->end;
    if (s->covered)
        snprintf(out, room, "%s/%020llu-%020llu.wal", w->dir, first, end);
    else
        snprintf(out, room, "%s/%020llu.wal", w->dir, first);
}

// Reads the header: the first copy that is whole.
static bool read_header(struct slice file, bool verify, struct wal_header *out)
{
    for (size_t copy = 0; copy < 2; copy++) {
        if (file.n < (copy + 1) * WAL_HEADER_BYTES)
            return false;
        memcpy(out, file.p + copy * WAL_HEADER_BYTES, sizeof *out);
        if (memcmp(out->magic, WAL_MAGIC, sizeof out->magic) == 0 && out->version == WAL_VERSION && out->size == WAL_START &&
            (!verify || out->check == hash64(out, offsetof(struct wal_header, check))))
            return true;
    }
    return false;
}

// The record at byte `at`: its size, or 0 when there is no whole one.
static size_t read_record(struct slice file, size_t at, uint64_t salt, bool verify, struct wal_record *r)
{
    struct wal_record_header h;
    if (file.n - at < sizeof h)
        return 0;
    memcpy(&h, file.p + at, sizeof h);
    if (h.mark != wal_mark(salt) || h.length > file.n - at - sizeof h || h.n_dropped > MAX_WAL_RECORD / 4 ||
        h.tenant_n + 4 * (uint64_t)h.n_dropped + h.payload_n != h.length)
        return 0;
    const char *p = file.p + at + sizeof h;
    *r = (struct wal_record){
        .sequence = h.sequence,
        .received_ns = h.received_ns,
        .format = (enum wire_format)h.format,
        .discover = h.flags & WAL_FLAG_DISCOVER,
        .rows = h.rows,
        .n_dropped = h.n_dropped,
        .dropped = p + h.tenant_n,
        .tenant = slice_of(p, h.tenant_n),
        .payload = slice_of(p + h.tenant_n + 4 * (size_t)h.n_dropped, h.payload_n),
    };
    if (verify) {
        r->payload_hash = hash64(r->payload.p, r->payload.n);
        uint64_t x = hash64_seed(&h.sequence, WAL_RECORD_BYTES - 16, salt ^ r->payload_hash);
        x = hash64_seed(r->tenant.p, r->tenant.n, x);
        if (h.check != hash64_seed(r->dropped, 4 * (size_t)r->n_dropped, x))
            return 0;
    }
    return sizeof h + h.length;
}

// Where the next whole record begins, or file.n.
static size_t resume_at(struct slice file, size_t at, uint64_t salt, bool verify)
{
    struct wal_record r;
    uint32_t mark = wal_mark(salt);
    while (at < file.n) {
        const char *p = memmem(file.p + at, file.n - at, &mark, sizeof mark);
        if (!p)
            return file.n;
        at = (size_t)(p - file.p);
        if (read_record(file, at, salt, verify, &r))
            return at;
        at++;
    }
    return file.n;
}

uint64_t wal_walk(struct slice file, bool verify, bool (*fn)(void *arg, const struct wal_record *r, uint64_t offset),
                  wal_damage_fn *damage, void *arg)
{
    struct wal_header h;
    if (!read_header(file, verify, &h))
        return 0;
    uint64_t good = WAL_START;
    for (size_t at = WAL_START; at < file.n;) {
        struct wal_record r;
        size_t n = read_record(file, at, h.salt, verify, &r);
        if (!n) {
            size_t next = resume_at(file, at + 1, h.salt, verify);
            if (damage)
                damage(arg, at, next, next == file.n);
            at = next;
            continue;
        }
        if (!fn(arg, &r, at))
            return good;
        at += n;
        good = at;
    }
    return good;
}

// The whole file in memory (to be freed). Not mapped: a disk error must be an error, not a signal.
static enum errc read_file(const char *path, char **out, size_t *n, struct error *err)
{
    *out = NULL;
    *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR(err, NOTFOUND, "%s is not there", path)
                               : ERR(err, IO, "opening %s: %s", path, strerror(errno));
    enum errc rc = ERR_OK;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        rc = ERR(err, IO, "reading %s: %s", path, strerror(errno));
        goto out;
    }
    size_t size = (size_t)st.st_size;
    *out = mem_alloc(size + 1);
    if (!*out) {
        rc = ERR(err, NOMEM, "no memory to read %s (%zu bytes)", path, size);
        goto out;
    }
    while (*n < size) {
        ssize_t got = pread(fd, *out + *n, size - *n, (off_t)*n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = ERR(err, IO, "reading %s at byte %zu: %s", path, *n, strerror(errno));
            goto out;
        }
        if (got == 0)
            break;
        *n += (size_t)got;
    }
out:
    close(fd);
    if (rc != ERR_OK) {
        mem_free(*out);
        *out = NULL;
    }
    return rc;
}

struct replay {
    struct wal *w;
    const char *path;
    uint64_t stop; // records from this sequence on are void
    uint64_t end;  // one more than the last sequence seen
    bool repair;
    wal_record_fn *fn;
    void *arg;
    enum errc rc;
    struct error *err;
};

static bool replay_record(void *arg, const struct wal_record *r, uint64_t offset)
{
    struct replay *p = arg;
    (void)offset;
    if (r->sequence >= p->stop)
        return true;
    if (r->sequence >= p->end)
        p->end = r->sequence + 1;
    p->rc = p->fn(p->arg, r, p->err);
    return p->rc == ERR_OK;
}

static void replay_damage(void *arg, uint64_t from, uint64_t to, bool tail)
{
    struct replay *p = arg;
    if (!p->repair)
        return;
    unsigned long long n = to - from, at = from;
    if (tail)
        p->w->torn_bytes += to - from;
    fprintf(stderr,
            tail ? "sonde: %s: torn tail of %llu bytes at byte %llu cut off\n"
                 : "sonde: %s: damaged: %llu bytes at byte %llu cannot be read, what follows is used\n",
            p->path, n, at);
}

static void repair_segment(struct wal *w, size_t i, const char *path, uint64_t good, size_t size)
{
    if (good == 0) { // no header: nothing in it can be checked
        if (size > WAL_START) {
            char kept[PATH_BYTES + 16];
            snprintf(kept, sizeof kept, "%s.damaged", path);
            fprintf(stderr, "sonde: %s: header damaged, the segment is set aside as %s\n", path, kept);
            if (rename(path, kept) != 0)
                fprintf(stderr, "sonde: renaming %s: %s\n", path, strerror(errno));
        } else {
            unlink(path); // killed while it was being made
        }
        w->torn_bytes += size;
        w->segment[i].bytes = 0;
        return;
    }
    if (good < size && truncate(path, (off_t)good) != 0)
        fprintf(stderr, "sonde: cutting %s at byte %llu: %s\n", path, (unsigned long long)good, strerror(errno));
    w->segment[i].bytes = good;
}

static enum errc replay_segment(struct replay *p, size_t i, const struct wal_segment *s)
{
    struct wal *w = p->w;
    char path[PATH_BYTES];
    char *file;
    size_t n;
    wal_segment_path(w, s, path, sizeof path);
    enum errc rc = read_file(path, &file, &n, p->err);
    if (rc == ERR_NOTFOUND && !p->repair && !s->covered) { // marked as covered meanwhile
        struct wal_segment covered = *s;
        covered.covered = true;
        wal_segment_path(w, &covered, path, sizeof path);
        rc = read_file(path, &file, &n, p->err);
    }
    if (rc == ERR_NOTFOUND && !p->repair)
        return ERR_OK; // trimmed meanwhile
    TRY(rc);
    p->path = path;
    p->end = s->first;
    uint64_t good = wal_walk(slice_of(file, n), true, replay_record, replay_damage, p);
    if (p->rc == ERR_OK)
        p->rc = p->fn(p->arg, NULL, p->err);
    mem_free(file);
    TRY(p->rc);
    if (p->repair) {
        repair_segment(w, i, path, good, n);
        w->segment[i].end = p->end;
        if (p->end > w->next_sequence)
            w->next_sequence = p->end;
    }
    return ERR_OK;
}

enum errc wal_replay(struct wal *w, bool repair, wal_record_fn *fn, void *arg, struct error *err)
{
    struct replay p = {.w = w, .repair = repair, .fn = fn, .arg = arg, .err = err};
    pthread_mutex_lock(&w->lock);
    size_t n = w->n_segments;
    struct wal_segment *s = mem_alloc((n + 1) * sizeof *s);
    if (s && n)
        memcpy(s, w->segment, n * sizeof *s);
    pthread_mutex_unlock(&w->lock);
    if (!s)
        return ERR(err, NOMEM, "no memory to replay the log");
    enum errc rc = ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        p.stop = i + 1 < n ? s[i + 1].first : UINT64_MAX;
        if (repair && s[i].covered)
            continue;
        rc = replay_segment(&p, i, &s[i]);
    }
    mem_free(s);
    if (repair && rc == ERR_OK) { // segments that are gone leave the list
        size_t k = 0;
        for (size_t i = 0; i < n; i++)
            if (w->segment[i].bytes)
                w->segment[k++] = w->segment[i];
        w->n_segments = k;
    }
    return rc;
}

// ---- inspect --------------------------------------------------------------------------------------------------------
struct inspect {
    struct buf *out;
    bool verbose;
    uint64_t records, rows, dropped, payload;
};

static bool inspect_record(void *arg, const struct wal_record *r, uint64_t offset)
{
    struct inspect *p = arg;
    p->records++;
    p->rows += r->rows;
    p->dropped += r->n_dropped;
    p->payload += r->payload.n;
    char time[40];
    time_format(time, r->received_ns, 9, false);
    const char *format = wire_text(r->format);
    buf_printf(p->out, "%10llu  seq %-8llu %s  tenant %.*s  %s  %u rows, %u known before, %zu bytes\n",
               (unsigned long long)offset, (unsigned long long)r->sequence, time, (int)r->tenant.n,
               r->tenant.n ? r->tenant.p : "", format ? format : "unknown format", r->rows, r->n_dropped, r->payload.n);
    if (!p->verbose)
        return true;
    size_t n = r->payload.n < 256 ? r->payload.n : 256;
    buf_str(p->out, "            ");
    for (size_t i = 0; i < n; i++) {
        char c = r->payload.p[i];
        buf_char(p->out, c >= ' ' && c < 127 ? c : '.');
    }
    buf_str(p->out, n < r->payload.n ? " …\n" : "\n");
    return true;
}

static void inspect_damage(void *arg, uint64_t from, uint64_t to, bool tail)
{
    struct inspect *p = arg;
    buf_printf(p->out, "%10llu  %s: %llu bytes cannot be read\n", (unsigned long long)from, tail ? "torn tail" : "DAMAGED",
               (unsigned long long)(to - from));
}

enum errc wal_inspect(const char *path, bool verbose, struct buf *out, struct error *err)
{
    char *file;
    size_t n;
    TRY(read_file(path, &file, &n, err));
    struct inspect p = {.out = out, .verbose = verbose};
    struct wal_header h;
    enum errc rc = ERR_OK;
    if (!read_header(slice_of(file, n), true, &h)) {
        rc = ERR(err, CORRUPT, "%s: no whole header of a write-ahead log segment in its first %d bytes", path, WAL_START);
        goto out;
    }
    buf_printf(out, "write-ahead log segment, version %u, first sequence %llu, %zu bytes\n", h.version,
               (unsigned long long)h.first, n);
    buf_str(out, "    offset\n");
    wal_walk(slice_of(file, n), true, inspect_record, inspect_damage, &p);
    buf_printf(out, "%llu records, %llu rows (%llu known before), %llu payload bytes\n", (unsigned long long)p.records,
               (unsigned long long)p.rows, (unsigned long long)p.dropped, (unsigned long long)p.payload);
    rc = out->err;
out:
    mem_free(file);
    return rc;
}
