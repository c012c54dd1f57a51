#include "sdk/ring.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "sdk/env.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct ring_head) <= RING_HEAD, "the head fits its page");
_Static_assert(offsetof(struct ring_head, cal) == 56 && offsetof(struct ring_head, service) == 176, "head layout");
_Static_assert(offsetof(struct ring_head, limit) == 1024 && sizeof(struct ring_limit) == 24, "head layout");
_Static_assert(sizeof(struct ring_chunk) == RING_CHUNK_HEAD && offsetof(struct ring_chunk, seq) == 8, "chunk layout");
_Static_assert(sizeof(struct rec_head) == 16, "record layout");
_Static_assert(RING_RECORD_MAX * 4 <= RING_CHUNK, "a record fits a chunk several times");

// ---- files ----------------------------------------------------------------------------------------------------------
static bool own_dir(const char *path, bool make)
{
    struct stat st;
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
        return false;
    // A link, or a directory of somebody else in a shared place, could make us write into foreign files.
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_uid == geteuid() || !make);
}

static bool ring_dir(char *out, size_t n, struct error *err)
{
    const char *dir = env_get_path("SONDE_RING_DIR");
    struct stat st;
    if (dir && *dir) {
        mkdir(dir, 0700);
        if (env_absolute(out, n, dir) && stat(dir, &st) == 0 && (errno = S_ISDIR(st.st_mode) ? 0 : ENOTDIR) == 0 &&
            access(dir, W_OK | X_OK) == 0)
            return true;
        ERR(err, IO, "SONDE_RING_DIR=%.200s: %s; records will not survive a crash", dir, strerror(errno ? errno : ENAMETOOLONG));
        return false;
    }
    ERR(err, IO, "no directory for the ring file (SONDE_RING_DIR, XDG_RUNTIME_DIR, /dev/shm): records will not survive a crash");
    dir = env_get_path("XDG_RUNTIME_DIR");
    if (dir && *dir && snprintf(out, n, "%s/sonde", dir) < (int)n && own_dir(out, true))
        return true;
    return snprintf(out, n, "/dev/shm/sonde-%u", (unsigned)geteuid()) < (int)n && own_dir(out, true);
}

// copy: 1, more where there is a file of that name: of a second libsonde in the same process (one in a plug-in), of a process in
// another container with our number, or of one that has died with it: a container's processes get the same numbers each time.
static void file_name(char *out, size_t n, const char *dir, const char *service, int copy)
{
    char safe[64];
    size_t k = 0;
    for (; service[k] && k < sizeof safe - 1; k++) {
        char c = service[k];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        safe[k] = ok && (k || c != '.') ? c : '_';
    }
    safe[k] = 0;
    if (copy > 1)
        snprintf(out, n, "%s/%s.%d-%d.ring", dir, k ? safe : "process", copy, (int)getpid());
    else
        snprintf(out, n, "%s/%s-%d.ring", dir, k ? safe : "process", (int)getpid());
}

// Whether a living process holds the file.
static bool held(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool yes = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

// Process number in the name of a ring file; 0 if it is none.
static long number_in(const char *name)
{
    const char *dash = strrchr(name, '-');
    char *end = NULL;
    long pid = dash ? strtol(dash + 1, &end, 10) : 0;
    return pid > 0 && strcmp(end, ".ring") == 0 ? pid : 0;
}

static bool before(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

// A living process may have the number of one that has died: its file is then not held. (For a moment neither is one that is just
// being made.)
static bool is_dead(const char *dir, const char *name, long pid, time_t age)
{
    char path[700];
    if (pid == getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)) // we have none yet
        return true;
    return age > 3600 && snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && access(path, R_OK) == 0 &&
           !held(path);
}

// Removes the file of a dead process. In another container's process numbers it may only look dead, but it holds its lock.
static void remove_stale(const char *dir, const char *name)
{
    char path[700];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && !held(path))
        unlink(path);
}

// Files of dead processes are kept for a day, so that a crash can be looked at, then removed by whoever starts next; and of many,
// as short-lived children leave, the latest RING_DEAD alone.
static void collect_stale(const char *dir)
{
    struct dead {
        struct timespec at;
        char name[256];
    } *dead = mem_alloc(RING_DEAD * sizeof *dead); // a thread's stack may be small
    unsigned n = 0;
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && dead && (e = readdir(d))) {
        long pid = number_in(e->d_name);
        struct stat st;
        if (!pid || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        time_t age = time(NULL) - st.st_mtime;
        if (!is_dead(dir, e->d_name, pid, age))
            continue;
        if (age > 86400) {
            remove_stale(dir, e->d_name);
            continue;
        }
        unsigned at = n;
        if (n < RING_DEAD) {
            n++;
        } else { // the oldest goes
            at = 0;
            for (unsigned i = 1; i < n; i++)
                at = before(dead[i].at, dead[at].at) ? i : at;
            bool newer = before(dead[at].at, st.st_mtim);
            remove_stale(dir, newer ? dead[at].name : e->d_name);
            if (!newer)
                continue;
        }
        dead[at].at = st.st_mtim;
        snprintf(dead[at].name, sizeof dead[at].name, "%s", e->d_name);
    }
    if (d)
        closedir(d);
    mem_free(dead);
}

// Room in the file; 0 or an errno. Beyond the process's file size limit the kernel would send SIGXFSZ, which ends it.
static int reserve(int fd, off_t at, off_t n)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && (rlim_t)(at + n) > limit.rlim_cur)
        return EFBIG;
    int why, tries = 0;
    do // tmpfs of Linux before 6.2 gives up at any signal, which a profiler sends all the time
        why = posix_fallocate(fd, at, n);
    while (why == EINTR && ++tries < 100);
    return why;
}

static bool is_ours(const struct ring *r, int fd)
{
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino;
}

// Room in the ring's file. Daemons close all descriptors they do not know, and ours may be another file's number by now: then the
// file is opened again by its name. (The lock lives on with the mapping.)
static bool reserve_own(struct ring *r, off_t at, off_t n)
{
    if (r->fd == -1)
        return true;
    if (!is_ours(r, r->fd)) {
        int fd = r->path[0] ? fd_above_standard(open(r->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC)) : -1;
        if (fd >= 0 && !is_ours(r, fd)) {
            close(fd);
            fd = -1;
        }
        __atomic_store_n(&r->fd, fd >= 0 ? fd : -2, __ATOMIC_RELAXED); // ring_inspect_own() looks without the lock
    }
    return r->fd >= 0 && reserve(r->fd, at, n) == 0;
}

static int open_file(struct ring *r, const char *service, struct error *err)
{
    char dir[400];
    struct error none = {0};
    if (!ring_dir(dir, sizeof dir, &none)) {
        *err = none;
        return -1;
    }
    collect_stale(dir);
    do
        file_name(r->path, sizeof r->path, dir, service, ++r->copy);
    while (r->copy < RING_COPIES && exists(r->path));
    if (!held(r->path))
        unlink(r->path);
    int fd = fd_above_standard(open(r->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 || (errno = reserve(fd, 0, RING_HEAD)) != 0 ||
        (errno = reserve(fd, RING_HEAD + RING_DICT, (off_t)RING_GROW * RING_CHUNK)) != 0) {
        ERR(err, IO, "%s: %s; records will not survive a crash (set SONDE_RING_DIR to a place with room)", r->path,
            strerror(errno));
        if (fd >= 0) {
            unlink(r->path);
            close(fd);
        }
        return -1;
    }
    return fd;
}

// ---- life -----------------------------------------------------------------------------------------------------------
static void fill_head(struct ring *r, const char *service)
{
    struct ring_head *h = r->head;
    h->version = RING_VERSION;
    h->head_size = RING_HEAD;
    h->dict_at = RING_HEAD;
    h->dict_size = RING_DICT;
    h->chunks_at = RING_HEAD + RING_DICT;
    h->chunk_size = RING_CHUNK;
    h->n_chunks = r->n_chunks;
    h->n_backed = RING_GROW;
    h->pid = (uint32_t)getpid();
    h->start_ns = clock_wall_ns();
    clock_calibrate(&h->cal[0]);
    snprintf(h->sdk_version, sizeof h->sdk_version, "%s", SONDE_VERSION);
    snprintf(h->service, sizeof h->service, "%s", service);
    snprintf(h->program, sizeof h->program, "%s", program_invocation_short_name);
    h->build_id_n = (uint8_t)ring_build_id(h->build_id, sizeof h->build_id);
    memcpy(h->magic, RING_MAGIC, 8);
}

// The file, or anonymous memory (fd -1): as much address space as there is. False: not even for the least.
static bool map(struct ring *r)
{
    const uint32_t sizes[] = {RING_CHUNKS_MAX, r->nominal, RING_GROW};
    int flags = r->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        r->n_chunks = sizes[i];
        r->mapped = RING_HEAD + RING_DICT + (size_t)r->n_chunks * RING_CHUNK;
        r->base = mmap(NULL, r->mapped, PROT_READ | PROT_WRITE, flags, r->fd, 0);
        if (r->base != MAP_FAILED) {
            r->nominal = r->nominal < r->n_chunks ? r->nominal : r->n_chunks;
            return true;
        }
    }
    return false;
}

enum errc ring_new(struct ring **out, const char *service, size_t size, struct error *err)
{
    struct ring *r = mem_zalloc(sizeof *r);
    if (!r)
        return ERR(err, NOMEM, "no memory for the ring's state");
    pthread_mutex_init(&r->lock, NULL);
    r->nominal = (uint32_t)(size / RING_CHUNK);
    r->nominal = r->nominal < RING_GROW ? RING_GROW : r->nominal > RING_CHUNKS_MAX ? RING_CHUNKS_MAX : r->nominal;
    r->fd = open_file(r, service, err);
    struct stat st;
    if (r->fd >= 0 && fstat(r->fd, &st) == 0) {
        r->dev = st.st_dev;
        r->ino = st.st_ino;
    }
    bool mapped = r->fd >= 0 && map(r);
    if (!mapped) {
        if (r->fd >= 0) {
            ERR(err, IO, "%s: cannot be mapped: %s; records will not survive a crash", r->path, strerror(errno));
            unlink(r->path);
            close(r->fd);
        }
        r->fd = -1;
        r->path[0] = 0;
        mapped = map(r);
    }
    if (!mapped) {
        mem_free(r);
        return ERR(err, NOMEM, "no address space for the ring");
    }
    madvise(r->base, r->mapped, MADV_DONTFORK);
    r->head = (struct ring_head *)r->base;
    fill_head(r, service);
    *out = r;
    return ERR_OK;
}

void ring_rename(struct ring *r, const char *service)
{
    snprintf(r->head->service, sizeof r->head->service, "%s", service);
    if (!r->path[0])
        return;
    char dir[400], path[512];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(r->path, '/') - r->path), r->path);
    for (int copy = r->copy; copy < RING_COPIES; copy++) {
        file_name(path, sizeof path, dir, service, copy);
        if (strcmp(path, r->path) == 0)
            return;
        if (exists(path))
            continue;
        if (rename(r->path, path) == 0) {
            memcpy(r->path, path, sizeof path);
            r->copy = copy;
        }
        return;
    }
}

void ring_forget(struct ring *r)
{
    if (is_ours(r, r->fd))
        close(r->fd);
    r->fd = -1;
}

void ring_free(struct ring *r, bool remove_file)
{
    if (!r)
        return;
    for (struct ring_lane *l = r->lanes, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    if (remove_file && r->path[0])
        unlink(r->path);
    munmap(r->base, r->mapped);
    if (is_ours(r, r->fd))
        close(r->fd);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

struct clock_cal ring_clock(const struct ring *r)
{
    return r->head->cal[__atomic_load_n(&r->head->cal_index, __ATOMIC_ACQUIRE) & 1];
}

void ring_each_second(struct ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->no_space = false;
    pthread_mutex_unlock(&r->lock);
    uint32_t other = !(r->head->cal_index & 1);
    r->head->cal[other] = r->head->cal[!other];
    clock_calibrate(&r->head->cal[other]);
    __atomic_store_n(&r->head->cal_index, other, __ATOMIC_RELEASE);
}

bool ring_dict_add(struct ring *r, const char *entry, size_t n)
{
    bool ok = false;
    pthread_mutex_lock(&r->lock);
    uint32_t used = r->head->dict_used;
    if (n <= RING_DICT - used && reserve_own(r, RING_HEAD + used, (off_t)n)) {
        memcpy(r->base + RING_HEAD + used, entry, n);
        __atomic_store_n(&r->head->dict_used, used + (uint32_t)n, __ATOMIC_RELEASE);
        ok = true;
    }
    pthread_mutex_unlock(&r->lock);
    return ok;
}

uint64_t ring_lost(const struct ring *r)
{
    return __atomic_load_n(&r->head->lost, __ATOMIC_RELAXED);
}

// ---- chunks ---------------------------------------------------------------------------------------------------------
static struct ring_chunk *chunk_at(const struct ring *r, uint32_t number)
{
    return (struct ring_chunk *)(r->base + RING_HEAD + RING_DICT + (size_t)number * RING_CHUNK);
}
uint32_t ring_chunk_number(const struct ring *r, const struct ring_chunk *c)
{
    return (uint32_t)(((const char *)c - (r->base + RING_HEAD + RING_DICT)) / RING_CHUNK);
}

// Memory for RING_GROW more chunks. Asked for from the file system first: touching a page of a full tmpfs would end
// the process with SIGBUS.
static bool grow(struct ring *r, uint32_t limit)
{
    uint32_t have = __atomic_load_n(&r->head->n_backed, __ATOMIC_RELAXED);
    if (have + RING_GROW > limit || r->no_space)
        return false;
    off_t at = RING_HEAD + RING_DICT + (off_t)have * RING_CHUNK;
    if (!reserve_own(r, at, (off_t)RING_GROW * RING_CHUNK)) {
        r->no_space = true; // not asked again for each record; once a second is enough
        return false;
    }
    __atomic_store_n(&r->head->n_backed, have + RING_GROW, __ATOMIC_RELEASE);
    return true;
}

void ring_grow_ahead(struct ring *r)
{
    pthread_mutex_lock(&r->lock);
    uint32_t taken = r->fresh - r->fresh_before, ahead = taken > RING_GROW / 2 ? taken : RING_GROW / 2; // as much as since then
    uint32_t had = r->head->n_backed;
    r->fresh_before = r->fresh;
    while (r->fresh + ahead > r->head->n_backed && grow(r, r->nominal))
        ;
    uint32_t more = r->head->n_backed - had;
    pthread_mutex_unlock(&r->lock);
#ifdef MADV_POPULATE_WRITE
    if (more)
        madvise(chunk_at(r, had), (size_t)more * RING_CHUNK, MADV_POPULATE_WRITE);
#else
    (void)more;
#endif
}

// Chunks that can be had without waiting. Under the lock.
static uint32_t chunks_free(const struct ring *r)
{
    return (r->nominal > r->fresh ? r->nominal - r->fresh : 0) + r->retired_n;
}

// What a low record must leave to the others.
static uint32_t chunks_reserved(const struct ring *r)
{
    return r->nominal / RING_RESERVE;
}

// Never-used memory first, so that history is kept as long as possible; then the oldest read chunk. A thread without any
// chunk may take memory beyond the nominal size.
static struct ring_chunk *chunk_take(struct ring *r, bool first, bool low, uint64_t *seq, bool *scarce)
{
    struct ring_chunk *c = NULL;
    pthread_mutex_lock(&r->lock);
    *scarce = chunks_free(r) <= chunks_reserved(r);
    bool pressed = r->fresh - r->retired_n > r->nominal / RING_PRESSED;
    if (low && *scarce && !first) {
        // dropped, so that there is room for what matters more
    } else if (r->fresh < r->head->n_backed || grow(r, r->nominal) || (first && !r->retired_n && grow(r, r->n_chunks))) {
        c = chunk_at(r, r->fresh++);
    } else if (r->retired_n) {
        r->is_retired[r->retired[r->retired_at]] = false;
        c = chunk_at(r, r->retired[r->retired_at]);
        r->retired_at = (r->retired_at + 1) % RING_CHUNKS_MAX;
        r->retired_n--;
    }
    *seq = c ? ++r->seq : 0;
    pthread_mutex_unlock(&r->lock);
    if (pressed && r->pressed)
        r->pressed();
    return c;
}

static void chunk_retire(struct ring *r, struct ring_chunk *c)
{
    pthread_mutex_lock(&r->lock);
    r->retired[(r->retired_at + r->retired_n++) % RING_CHUNKS_MAX] = ring_chunk_number(r, c);
    r->is_retired[ring_chunk_number(r, c)] = true;
    pthread_mutex_unlock(&r->lock);
    __atomic_store_n(&r->stuck, false, __ATOMIC_RELAXED);
}

static void chunk_open(struct ring_thread *t, struct ring_chunk *c, uint64_t seq)
{
    __atomic_store_n(&c->seq, 0, __ATOMIC_RELEASE); // an inspector that is reading the old contents notices:
#ifndef __SANITIZE_THREAD__                         // gcc's does not know fences
    __atomic_thread_fence(__ATOMIC_RELEASE);        // nothing new becomes visible before it
#endif
    __atomic_store_n(&c->commit, RING_CHUNK_HEAD, __ATOMIC_RELAXED);
    __atomic_store_n(&c->next, 0, __ATOMIC_RELAXED);
    c->thread = t->lane->number;
    c->tid = t->lane->tid;
    c->opened = clock_tick();
    memcpy(c->name, t->lane->name, sizeof c->name);
    __atomic_store_n(&c->seq, seq, __ATOMIC_RELEASE);
    struct ring_chunk *old = t->chunk;
    t->chunk = c;
    t->at = (char *)c + RING_CHUNK_HEAD;
    t->end = (char *)c + RING_CHUNK;
    if (old)
        __atomic_store_n(&old->next, ring_chunk_number(t->lane->ring, c) + 1, __ATOMIC_RELEASE);
    else
        __atomic_store_n(&t->lane->first, c, __ATOMIC_RELEASE);
}

static void count_lost(struct ring *r, unsigned how, bool held, uint64_t tick)
{
    if (held) {
        __atomic_fetch_add(&r->lost_held, 1, __ATOMIC_RELAXED);
        return;
    }
    uint64_t none = 0;
    __atomic_fetch_add(&r->head->lost, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&r->lost_level[(how >> 4) % 6], 1, __ATOMIC_RELAXED);
    __atomic_compare_exchange_n(&r->lost_first, &none, tick, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    __atomic_store_n(&r->lost_last, tick, __ATOMIC_RELAXED);
}

void ring_lose(struct ring *r, unsigned level, bool held)
{
    count_lost(r, RING_LEVEL(level), held, clock_tick());
}

void ring_policy(struct ring *r, unsigned block_ms, unsigned drop_below)
{
    __atomic_store_n(&r->block_ms, block_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&r->drop_below, drop_below, __ATOMIC_RELAXED);
}

bool ring_lost_episode(struct ring *r, uint64_t *first, uint64_t *last)
{
    *first = __atomic_exchange_n(&r->lost_first, 0, __ATOMIC_RELAXED);
    *last = __atomic_load_n(&r->lost_last, __ATOMIC_RELAXED);
    if (*last < *first) // its sender is just between the two
        *last = *first;
    return *first != 0;
}

// The next chunk of a thread. While only the reserve is left, each record comes by here: `end` is then before `at`.
static bool chunk_next(struct ring_thread *t, unsigned how, bool low, bool held)
{
    struct ring *r = t->lane->ring;
    uint64_t seq;
    bool scarce;
    struct ring_chunk *c = chunk_take(r, !t->chunk, low, &seq, &scarce);
    unsigned block = __atomic_load_n(&r->block_ms, __ATOMIC_RELAXED);
    bool may_wait = !c && !held && (block || (how & RING_WAIT)) && !__atomic_load_n(&r->stuck, __ATOMIC_RELAXED);
    int64_t until = may_wait ? clock_mono_ns() + (int64_t)(block > RING_WAIT_MS ? block : RING_WAIT_MS) * 1000000 : 0;
    while (!c && may_wait && clock_mono_ns() < until) {
        usleep(100);
        c = chunk_take(r, !t->chunk, low, &seq, &scarce);
    }
    if (!c) {
        if (may_wait) // the output stands still: nobody else waits until it moves again
            __atomic_store_n(&r->stuck, true, __ATOMIC_RELAXED);
        return false;
    }
    chunk_open(t, c, seq);
    if (scarce)
        t->end = (char *)c;
    return true;
}

// Where a record does not fit the free part that `end` tells.
__attribute__((cold, noinline)) bool ring_make_room(struct ring_thread *t, size_t size, unsigned how, bool held, uint64_t tick)
{
    struct ring *r = t->lane->ring;
    unsigned below = __atomic_load_n(&r->drop_below, __ATOMIC_RELAXED);
    bool low = held || (below && how >> 4 > below), ok = true;
    char *end = t->chunk ? (char *)t->chunk + RING_CHUNK : t->at;
    if (t->chunk && (size_t)(end - t->at) >= size) { // a chunk of the reserve
        pthread_mutex_lock(&r->lock);
        if (chunks_free(r) > chunks_reserved(r))
            t->end = end;
        else
            ok = !low;
        pthread_mutex_unlock(&r->lock);
    } else {
        ok = chunk_next(t, how, low, held);
    }
    if (!ok)
        count_lost(r, how, held, tick);
    return ok;
}

uint32_t ring_chunks(struct ring *r)
{
    pthread_mutex_lock(&r->lock);
    uint32_t n = r->fresh;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void ring_see_retired(struct ring *r, uint32_t number, uint64_t seq, ring_see_fn *see, void *arg)
{
    struct ring_chunk *c = chunk_at(r, number);
    pthread_mutex_lock(&r->lock);
    if (r->is_retired[number] && __atomic_load_n(&c->seq, __ATOMIC_ACQUIRE) == seq)
        see(arg, c, __atomic_load_n(&c->commit, __ATOMIC_ACQUIRE));
    pthread_mutex_unlock(&r->lock);
}

// ---- threads --------------------------------------------------------------------------------------------------------
bool ring_thread_get(struct ring *r, struct ring_thread *t)
{
    pthread_mutex_lock(&r->lock);
    struct ring_lane *l = r->idle;
    if (l) {
        r->idle = l->next_idle;
    } else if ((l = aligned_alloc(64, sizeof *l))) {
        memset(l, 0, sizeof *l);
        l->ring = r;
        l->number = ++r->n_lanes;
        l->next = r->lanes;
        __atomic_store_n(&r->lanes, l, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&r->lock);
    if (!l)
        return false;
    *t = l->rest;
    t->tsc = clock_use_tsc;
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // a signal handler finds all of it or nothing
    t->lane = l;
    l->tid = (uint32_t)syscall(SYS_gettid);
    prctl(PR_GET_NAME, l->name);
    if (t->chunk) { // of an earlier thread
        struct sonde_arg a[2] = {{.value.u = l->tid}, {.value.s = l->name, .n = strlen(l->name)}};
        uint32_t n;
        const uint8_t *types = rec_types(REC_THREAD, &n);
        ring_push(t, (uint32_t)REC_THREAD << 24, NULL, types, a, n, RING_DROP);
    }
    return true;
}

void ring_thread_end(struct ring_thread *t)
{
    struct ring_lane *l = t->lane;
    struct ring *r = l->ring;
    t->busy = 0;
    t->lane = NULL;
    pthread_mutex_lock(&r->lock);
    l->rest = *t;
    l->next_idle = r->idle;
    r->idle = l;
    pthread_mutex_unlock(&r->lock);
}

// ---- writing --------------------------------------------------------------------------------------------------------
__attribute__((cold)) bool ring_interrupted(struct ring_thread *t, uint32_t what, unsigned how)
{
    count_lost(t->lane->ring, how, what & REC_HELD, clock_tick());
    return false;
}

// Values and strings from p on; strings cut so that at most `room` bytes of them are kept.
static char *write_values(char *p, const uint8_t *types, const struct sonde_arg *a, uint32_t n, size_t room)
{
    char *s = p + 8 * (size_t)n;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t slot = a[i].value.u;
        if (types[i] == SONDE_TYPE_STR) {
            size_t kept = a[i].n == SIZE_MAX ? 0 : a[i].n < room ? a[i].n : room;
            slot = rec_slot(a[i].n, kept);
            rec_copy(s, a[i].value.s ? a[i].value.s : "", kept);
            s += kept;
            room -= kept;
        } else if (__builtin_expect(types[i] > SONDE_TYPE_BOOL, 0) && rec_is_string(types[i])) {
            bool absent = a[i].n == SIZE_MAX && types[i] != SONDE_TYPE_ERROR;
            size_t kept = rec_string_put(s, room, types[i], &a[i]);
            slot = rec_slot(absent ? SIZE_MAX : rec_string_size(types[i], &a[i]), kept);
            s += kept;
            room -= kept;
        }
        memcpy(p + 8 * (size_t)i, &slot, 8);
    }
    return s;
}

static size_t strings_size(const uint8_t *types, const struct sonde_arg *a, uint32_t n)
{
    size_t size = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (types[i] == SONDE_TYPE_STR)
            size += a[i].n != SIZE_MAX ? a[i].n : 0;
        else if (__builtin_expect(types[i] > SONDE_TYPE_BOOL, 0) && rec_is_string(types[i]))
            size += rec_string_size(types[i], &a[i]);
    }
    return size;
}

// A copy of all values in the heap; null if it cannot be had (the record is then cut).
static char *heap_copy(const uint8_t *types, const struct sonde_arg *a, uint32_t n, size_t strings)
{
    char *p = strings < UINT32_MAX - 4096 ? mem_alloc(8 * (size_t)n + strings) : NULL;
    if (p)
        write_values(p, types, a, n, strings);
    return p;
}

bool ring_push(struct ring_thread *t, uint32_t what, const uint8_t *ids, const uint8_t *types, const struct sonde_arg *args,
               uint32_t n, unsigned how)
{
    if (!ring_enter(t, what, how))
        return false;
    size_t strings = strings_size(types, args, n);
    size_t fixed = sizeof(struct rec_head) + (ids ? 24 : 0) + 8 * (size_t)n;
    char *heap = NULL;
    size_t room = strings, heap_size = 8 * (size_t)n + strings;
    if (__builtin_expect(fixed + strings > RING_RECORD_MAX, 0)) {
        heap = heap_copy(types, args, n, strings);
        fixed += 16;
        room = RING_RECORD_MAX - fixed;
        what |= REC_EXTERN;
        heap_size = heap ? heap_size : 0;
    }
    size_t size = (fixed + room + 7) & ~(size_t)7;
    char *p = ring_begin(t, what | (ids ? REC_IN_SPAN : 0), size, how);
    if (!p) {
        mem_free(heap);
        ring_leave(t);
        return false;
    }
    if (ids) {
        memcpy(p, ids, 24);
        p += 24;
    }
    if (__builtin_expect(what & REC_EXTERN, 0)) {
        uint64_t ext[2] = {(uint64_t)(uintptr_t)heap, heap_size};
        memcpy(p, ext, 16);
        p += 16;
    }
    write_values(p, types, args, n, room);
    ring_commit(t, size);
    ring_leave(t);
    return true;
}

// ---- reading --------------------------------------------------------------------------------------------------------
bool ring_read_refresh(struct ring *r, struct ring_lane *l)
{
    if (!l->read) {
        l->read = __atomic_load_n(&l->first, __ATOMIC_ACQUIRE);
        if (!l->read)
            return false;
        l->read_at = RING_CHUNK_HEAD;
    }
    l->read_to = __atomic_load_n(&l->read->commit, __ATOMIC_ACQUIRE);
    return ring_read_peek(r, l) != NULL;
}

const char *ring_read_peek(struct ring *r, struct ring_lane *l)
{
    while (l->read && l->read_at >= l->read_to) {
        uint32_t next = __atomic_load_n(&l->read->next, __ATOMIC_ACQUIRE);
        l->read_to = __atomic_load_n(&l->read->commit, __ATOMIC_ACQUIRE);
        if (l->read_at < l->read_to)
            break;
        if (!next)
            return NULL;
        chunk_retire(r, l->read);
        l->read = chunk_at(r, next - 1);
        l->read_at = RING_CHUNK_HEAD;
        l->read_to = __atomic_load_n(&l->read->commit, __ATOMIC_ACQUIRE);
    }
    return l->read ? (const char *)l->read + l->read_at : NULL;
}
