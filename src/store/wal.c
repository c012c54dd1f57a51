// The log's writing side: segments, group commit, and what happens when the disk refuses.
#include "store/wal.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "store/wal_format.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, IOV_BATCH = 1024 };

static void segment_path(const struct wal *w, uint64_t first, char out[PATH_BYTES])
{
    wal_segment_path(w, &(struct wal_segment){.first = first}, out, PATH_BYTES);
}

static enum errc disk_error(struct error *err, int e, const char *what, const char *path)
{
    bool full = e == ENOSPC || e == EDQUOT || e == EFBIG;
    if (full)
        return ERR(err, FULL, "%s %s: %s; make room on this file system", what, path, strerror(e));
    return ERR(err, IO, "%s %s: %s", what, path, strerror(e));
}

static enum errc sync_dir(const char *dir, struct error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return disk_error(err, errno, "opening", dir);
    enum errc rc = fsync(fd) == 0 ? ERR_OK : disk_error(err, errno, "syncing", dir);
    close(fd);
    return rc;
}

static enum errc add_segment(struct wal *w, struct wal_segment s, struct error *err)
{
    pthread_mutex_lock(&w->lock);
    enum errc rc = ERR_OK;
    if (w->n_segments == w->cap_segments) {
        size_t cap = w->cap_segments ? w->cap_segments * 2 : 16;
        struct wal_segment *p = mem_realloc(w->segment, cap * sizeof *p);
        if (p) {
            w->segment = p;
            w->cap_segments = cap;
        } else {
            rc = ERR(err, NOMEM, "no memory for the list of log segments");
        }
    }
    if (rc == ERR_OK)
        w->segment[w->n_segments++] = s;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

// <20 digits>.wal or <20 digits>-<20 digits>.wal
static bool read_name(struct slice name, struct wal_segment *s)
{
    *s = (struct wal_segment){0};
    if (name.n < 24 || !slice_eq(slice_from(name, name.n - 4), SLICE(".wal")) || !slice_to_u64(slice_cut(name, 20), &s->first))
        return false;
    s->end = s->first;
    s->covered = name.n == 45;
    return name.n == 24 || (s->covered && name.p[20] == '-' && slice_to_u64(slice_of(name.p + 21, 20), &s->end));
}

static int segment_order(const void *a, const void *b)
{
    const struct wal_segment *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static enum errc list_segments(struct wal *w, struct error *err)
{
    DIR *d = opendir(w->dir);
    if (!d)
        return disk_error(err, errno, "opening", w->dir);
    enum errc rc = ERR_OK;
    for (struct dirent *e; rc == ERR_OK && (e = readdir(d));) {
        struct slice name = slice_str(e->d_name);
        struct wal_segment s;
        struct stat st;
        if (!read_name(name, &s))
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, 0) != 0)
            continue;
        s.bytes = (uint64_t)st.st_size;
        rc = add_segment(w, s, err);
    }
    closedir(d);
    if (w->n_segments)
        qsort(w->segment, w->n_segments, sizeof *w->segment, segment_order);
    return rc;
}

enum errc wal_open(struct wal *w, const char *dir, size_t segment_bytes, size_t keep_bytes, uint64_t next, struct error *err)
{
    *w = (struct wal){.fd = -1, .segment_bytes = segment_bytes, .keep_bytes = keep_bytes, .next_sequence = next ? next : 1};
    pthread_mutex_init(&w->lock, NULL);
    w->dir = strdup(dir);
    if (!w->dir)
        return ERR(err, NOMEM, "no memory to open the log");
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return disk_error(err, errno, "making", dir);
    TRY(list_segments(w, err));
    if (w->n_segments && w->segment[w->n_segments - 1].end > w->next_sequence)
        w->next_sequence = w->segment[w->n_segments - 1].end;
    return ERR_OK;
}

enum errc wal_uncover(struct wal *w, struct error *err)
{
    bool any = false;
    for (size_t i = 0; i < w->n_segments; i++) {
        char from[PATH_BYTES], to[PATH_BYTES];
        struct wal_segment *s = &w->segment[i];
        if (!s->covered)
            continue;
        wal_segment_path(w, s, from, sizeof from);
        segment_path(w, s->first, to);
        if (rename(from, to) != 0)
            return disk_error(err, errno, "renaming", from);
        s->covered = false;
        any = true;
    }
    return any ? sync_dir(w->dir, err) : ERR_OK;
}

static enum errc write_all(int fd, struct iovec *iov, size_t n, uint64_t offset, const char *path, struct error *err)
{
    while (n) {
        ssize_t got = pwritev(fd, iov, n < IOV_BATCH ? (int)n : IOV_BATCH, (off_t)offset);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return disk_error(err, errno, "writing", path);
        }
        if (got == 0)
            return disk_error(err, ENOSPC, "writing", path);
        offset += (uint64_t)got;
        while (n && (size_t)got >= iov->iov_len) {
            got -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + got;
            iov->iov_len -= (size_t)got;
        }
    }
    return ERR_OK;
}

// A new segment for records from next_sequence on. Made when the first record comes, so that opening and closing an
// idle store leaves nothing behind.
static enum errc start_segment(struct wal *w, struct error *err)
{
    char path[PATH_BYTES];
    segment_path(w, w->next_sequence, path);
    // A segment of this very name holds no good record (else next_sequence were higher): it is replaced.
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0)
        return disk_error(err, errno, "making the log segment", path);
    struct wal_header h[2] = {{.version = WAL_VERSION, .size = WAL_START, .first = w->next_sequence, .salt = random_u64()}};
    memcpy(h[0].magic, WAL_MAGIC, sizeof h[0].magic);
    h[0].check = hash64(&h[0], offsetof(struct wal_header, check));
    h[1] = h[0];
    struct iovec iov = {h, sizeof h};
    enum errc rc;
    GO(write_all(fd, &iov, 1, 0, path, err));
    GO(sync_dir(w->dir, err));
    if (!w->parent_synced) { // the log's folder, and the parts' beside it, may be as new
        char parent[PATH_BYTES + 4];
        snprintf(parent, sizeof parent, "%s/..", w->dir);
        GO(sync_dir(parent, err));
        w->parent_synced = true;
    }
    pthread_mutex_lock(&w->lock);
    bool known = w->n_segments && w->segment[w->n_segments - 1].first == w->next_sequence;
    if (known)
        w->segment[w->n_segments - 1] = (struct wal_segment){w->next_sequence, w->next_sequence, sizeof h, false};
    pthread_mutex_unlock(&w->lock);
    if (!known)
        GO(add_segment(w, (struct wal_segment){w->next_sequence, w->next_sequence, sizeof h, false}, err));
    w->fd = fd;
    w->offset = sizeof h;
    w->salt = h[0].salt;
    w->current = w->next_sequence;
    return ERR_OK;
out:
    close(fd);
    unlink(path);
    return rc;
}

static void end_segment(struct wal *w)
{
    close(w->fd);
    w->fd = -1;
}

// A commit failed: what was written of it goes away. When the disk cannot even do that, or a sync failed (the kernel
// may have dropped pages and will not say so twice), the segment is left; the next one's number voids the rest of it.
static void take_back(struct wal *w, bool synced)
{
    bool cut = ftruncate(w->fd, (off_t)w->offset) == 0;
    if (!cut || synced)
        end_segment(w);
}

static void fill_header(const struct wal *w, const struct wal_record *r, struct wal_record_header *h)
{
    *h = (struct wal_record_header){
        .mark = wal_mark(w->salt),
        .length = (uint32_t)(r->tenant.n + 4 * (size_t)r->n_dropped + r->payload.n),
        .sequence = r->sequence,
        .received_ns = r->received_ns,
        .format = (uint8_t)r->format,
        .tenant_n = (uint8_t)r->tenant.n,
        .flags = r->discover ? WAL_FLAG_DISCOVER : 0,
        .rows = r->rows,
        .n_dropped = r->n_dropped,
        .payload_n = (uint32_t)r->payload.n,
    };
    uint64_t x = hash64_seed(&h->sequence, WAL_RECORD_BYTES - 16, w->salt ^ r->payload_hash);
    x = hash64_seed(r->tenant.p, r->tenant.n, x);
    h->check = hash64_seed(r->dropped, 4 * (size_t)r->n_dropped, x);
}

// Numbers the records and lays out their pieces, four each. Returns the bytes.
static uint64_t gather(const struct wal *w, struct wal_record *r, size_t n, struct wal_record_header *h, struct iovec *iov)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++, iov += 4) {
        r[i].sequence = w->next_sequence + i;
        fill_header(w, &r[i], &h[i]);
        iov[0] = (struct iovec){&h[i], sizeof h[i]};
        iov[1] = (struct iovec){(void *)r[i].tenant.p, r[i].tenant.n};
        iov[2] = (struct iovec){(void *)r[i].dropped, 4 * (size_t)r[i].n_dropped};
        iov[3] = (struct iovec){(void *)r[i].payload.p, r[i].payload.n};
        total += sizeof h[i] + h[i].length;
    }
    return total;
}

enum errc wal_write(struct wal *w, struct wal_record *r, size_t n, struct error *err)
{
    if (w->fd >= 0 && w->offset >= w->segment_bytes)
        end_segment(w);
    if (w->fd < 0)
        TRY(start_segment(w, err));
    char path[PATH_BYTES];
    segment_path(w, w->current, path);
    enum errc rc = ERR_OK;
    struct wal_record_header *h = mem_alloc(n * sizeof *h);
    struct iovec *iov = mem_alloc(n * 4 * sizeof *iov);
    if (!h || !iov) {
        rc = ERR(err, NOMEM, "no memory for a commit of %zu requests", n);
        goto out;
    }
    uint64_t total = gather(w, r, n, h, iov);
    rc = write_all(w->fd, iov, 4 * n, w->offset, path, err);
    if (rc != ERR_OK) {
        take_back(w, false);
        goto out;
    }
    if (fdatasync(w->fd) != 0) {
        rc = disk_error(err, errno, "syncing", path);
        take_back(w, true);
        goto out;
    }
    w->offset += total;
    w->next_sequence += n;
    pthread_mutex_lock(&w->lock);
    w->segment[w->n_segments - 1].end = w->next_sequence;
    w->segment[w->n_segments - 1].bytes = w->offset;
    pthread_mutex_unlock(&w->lock);
out:
    mem_free(h);
    mem_free(iov);
    return rc;
}

// Its name tells that it is covered. A crash may undo that: opening then reads it once more.
static void mark_covered(const struct wal *w, struct wal_segment *s)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    wal_segment_path(w, s, from, sizeof from);
    s->covered = true;
    wal_segment_path(w, s, to, sizeof to);
    if (rename(from, to) != 0)
        s->covered = false;
}

uint64_t wal_settled(struct wal *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t first = w->n_segments ? w->segment[w->n_segments - 1].first : 0;
    pthread_mutex_unlock(&w->lock);
    return first;
}

void wal_trim(struct wal *w, uint64_t uncovered)
{
    pthread_mutex_lock(&w->lock);
    size_t done = 0; // segments 0 … done-1 are covered; the last one may be in use
    while (done + 1 < w->n_segments && w->segment[done + 1].first <= uncovered && w->segment[done].end <= uncovered)
        done++;
    size_t keep = done;
    for (uint64_t kept = 0; keep > 0 && kept < w->keep_bytes; keep--)
        kept += w->segment[keep - 1].bytes;
    for (size_t i = keep; i < done; i++)
        if (!w->segment[i].covered)
            mark_covered(w, &w->segment[i]);
    struct wal_segment old[64];
    size_t n = keep < 64 ? keep : 64;
    if (n)
        memcpy(old, w->segment, n * sizeof *old);
    memmove(w->segment, w->segment + n, (w->n_segments - n) * sizeof *w->segment);
    w->n_segments -= n;
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < n; i++) { // freeing a large file takes time, and commits need the lock
        char path[PATH_BYTES];
        wal_segment_path(w, &old[i], path, sizeof path);
        unlink(path);
    }
}

void wal_size(struct wal *w, uint64_t *bytes, uint64_t *segments)
{
    pthread_mutex_lock(&w->lock);
    *bytes = 0;
    *segments = w->n_segments;
    for (size_t i = 0; i < w->n_segments; i++)
        *bytes += w->segment[i].bytes;
    pthread_mutex_unlock(&w->lock);
}

void wal_close(struct wal *w)
{
    if (!w->dir)
        return;
    if (w->fd >= 0)
        close(w->fd);
    pthread_mutex_destroy(&w->lock);
    mem_free(w->segment);
    mem_free(w->dir);
    *w = (struct wal){.fd = -1};
}
