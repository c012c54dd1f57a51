#include "sdk/spool.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct spool {
    char path[512];
    uint64_t max;
    pthread_mutex_t mutex;
    unsigned count;
    int lock; // held while one of ours delivers; -1: not
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the head of a file is written as it lies in memory");
struct head {
    char magic[8];
    uint64_t items, bytes, hash;
};
_Static_assert(sizeof(struct head) == SPOOL_HEAD, "layout of the head");

struct spool *spool_new(const char *dir, const char *name, uint64_t max)
{
    struct spool *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    pthread_mutex_init(&s->mutex, NULL);
    snprintf(s->path, sizeof s->path, "%s/%s", dir, name);
    s->max = max;
    s->lock = -1;
    return s;
}

void spool_free(struct spool *s)
{
    if (!s)
        return;
    if (s->lock >= 0)
        close(s->lock);
    pthread_mutex_destroy(&s->mutex);
    mem_free(s);
}

static bool is_batch(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && n < SPOOL_NAME && name[0] >= '0' && name[0] <= '9' && strcmp(name + n - 5, ".otlp") == 0;
}

// The oldest file behind `after` (null: of all) and the bytes of all.
static bool look(const struct spool *s, char oldest[SPOOL_NAME], uint64_t *bytes)
{
    struct dirent *d;
    struct stat st;
    oldest[0] = 0;
    *bytes = 0;
    DIR *dir = opendir(s->path);
    while (dir && (d = readdir(dir))) {
        if (!is_batch(d->d_name) || fstatat(dirfd(dir), d->d_name, &st, 0) != 0)
            continue;
        *bytes += (uint64_t)st.st_size;
        if (!oldest[0] || strcmp(d->d_name, oldest) < 0)
            memcpy(oldest, d->d_name, strlen(d->d_name) + 1);
    }
    if (dir)
        closedir(dir);
    return oldest[0] != 0;
}

bool spool_any(struct spool *s)
{
    char name[SPOOL_NAME];
    uint64_t bytes;
    return look(s, name, &bytes);
}

// ---- adding ---------------------------------------------------------------------------------------------------------
static bool write_all(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n) {
        ssize_t k = write(fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

static bool make_dir(const char *path)
{
    char part[512];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(part, 0700);
        *p = '/';
    }
    return mkdir(part, 0700) == 0 || errno == EEXIST;
}

static bool put_file(struct spool *s, struct slice request, size_t items, const char *name)
{
    char temporary[640], final[640];
    struct head h = {.items = items, .bytes = request.n, .hash = hash64_seed(request.p, request.n, items)};
    memcpy(h.magic, SPOOL_MAGIC, sizeof h.magic);
    snprintf(temporary, sizeof temporary, "%s/.tmp-%s", s->path, name);
    snprintf(final, sizeof final, "%s/%s", s->path, name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, &h, sizeof h) && write_all(fd, request.p, request.n) && fsync(fd) == 0;
    int error = errno;
    close(fd);
    ok = ok && rename(temporary, final) == 0;
    if (!ok) {
        unlink(temporary);
        errno = error;
    }
    return ok;
}

bool spool_put(struct spool *s, struct slice request, size_t items, char *why, size_t n)
{
    char name[SPOOL_NAME], oldest[SPOOL_NAME];
    uint64_t have;
    pthread_mutex_lock(&s->mutex);
    snprintf(name, sizeof name, "%020lld-%d-%u.otlp", (long long)clock_wall_ns(), (int)getpid(), s->count++);
    look(s, oldest, &have);
    bool room = have + request.n + SPOOL_HEAD <= s->max;
    bool ok = room && make_dir(s->path) && put_file(s, request, items, name);
    if (!ok && why)
        snprintf(why, n, "%s: %s", s->path, room ? strerror(errno) : "SONDE_SPOOL_BYTES are used up");
    pthread_mutex_unlock(&s->mutex);
    return ok;
}

// ---- taking ---------------------------------------------------------------------------------------------------------
static bool lock_dir(struct spool *s)
{
    char path[640];
    if (s->lock >= 0)
        return false; // another worker of ours delivers
    snprintf(path, sizeof path, "%s/lock", s->path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    s->lock = fd;
    return true;
}

static bool read_batch(const char *path, struct buf *request, size_t *items)
{
    struct head h;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && read(fd, &h, sizeof h) == (ssize_t)sizeof h &&
              memcmp(h.magic, SPOOL_MAGIC, sizeof h.magic) == 0 && (uint64_t)st.st_size == h.bytes + SPOOL_HEAD &&
              h.bytes <= MIB(256);
    char *p = ok ? buf_reserve(request, h.bytes) : NULL;
    for (size_t at = 0; p && ok && at < h.bytes;) {
        ssize_t k = read(fd, p + at, h.bytes - at);
        ok = k > 0;
        at += ok ? (size_t)k : 0;
    }
    ok = ok && p && hash64_seed(p, h.bytes, h.items) == h.hash;
    if (ok) {
        request->n += h.bytes;
        *items = h.items;
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

bool spool_take(struct spool *s, char name[SPOOL_NAME], struct buf *request, size_t *items, unsigned *damaged)
{
    char path[640];
    uint64_t bytes;
    bool found = false;
    *damaged = 0;
    pthread_mutex_lock(&s->mutex);
    if (look(s, name, &bytes) && lock_dir(s)) {
        while (!found && look(s, name, &bytes)) { // anew: somebody else delivered meanwhile
            snprintf(path, sizeof path, "%s/%s", s->path, name);
            found = read_batch(path, request, items);
            if (!found) {
                buf_reset(request);
                (*damaged)++;
                if (unlink(path) != 0)
                    break;
            }
        }
        if (!found) {
            close(s->lock);
            s->lock = -1;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return found;
}

void spool_done(struct spool *s, const char *name, bool delivered)
{
    char path[640];
    pthread_mutex_lock(&s->mutex);
    if (delivered) {
        snprintf(path, sizeof path, "%s/%s", s->path, name);
        unlink(path);
    }
    if (s->lock >= 0)
        close(s->lock); // and with it the lock
    s->lock = -1;
    pthread_mutex_unlock(&s->mutex);
}

void spool_forked(struct spool *s)
{
    if (s->lock >= 0)
        close(s->lock);
    s->lock = -1;
}
