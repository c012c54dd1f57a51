#include "sdk/inspect.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/pipeline.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct place { // one record
    uint64_t tick, seq;
    const char *p;
    uint32_t size;
};
struct reader {
    const char *path;
    int fd;
    bool own;         // this process's ring:
    const char *base; // instead of fd, its memory
    size_t mapped;
    struct ring_head head;
    struct clock_cal cal;
    struct site_table sites;
    char *chunks; // copies, RING_CHUNK each
    uint32_t n_chunks;
    struct place *place;
    size_t n, cap;
    uint64_t thread_seen[RING_CHUNKS_MAX / 64];
    int64_t last; // when the last record was made, or the process began
    struct ring_report report;
};

// Of our own anonymous memory, whose chunks may be written meanwhile; copy_chunk notices.
__attribute__((no_sanitize("thread"))) static bool copy_own(const struct reader *r, char *out, size_t n, uint64_t at)
{
    const volatile char *from = r->base + at;
    if (at + n > r->mapped)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = from[i];
    return true;
}

static bool read_at(const struct reader *r, void *out, size_t n, uint64_t at)
{
    size_t got = 0;
    if (r->base)
        return copy_own(r, out, n, at);
    while (got < n) {
        ssize_t k = pread(r->fd, (char *)out + got, n - got, (off_t)(at + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        got += (size_t)k;
    }
    return true;
}

// Whoever maps the file holds its lock. The number may be that of another process by now, or count in another container.
static bool lives(const struct reader *r)
{
    if (r->own)
        return true; // and asking would let go of the lock
    if (flock(r->fd, LOCK_SH | LOCK_NB) == 0) {
        flock(r->fd, LOCK_UN);
        return false;
    }
    return errno == EWOULDBLOCK || kill((pid_t)r->head.pid, 0) == 0 || errno == EPERM;
}

static enum errc read_head(struct reader *r, struct error *err)
{
    struct ring_head *h = &r->head;
    if (!read_at(r, h, sizeof *h, 0) && read_at(r, h->magic, 8, 0) && memcmp(h->magic, RING_MAGIC, 8) == 0)
        return ERR(err, CORRUPT, "%s: the ring file is cut off within its head of %d bytes", r->path, RING_HEAD);
    if (memcmp(h->magic, RING_MAGIC, 8) != 0)
        return ERR(err, CORRUPT, "%s: no ring file (it does not begin with " RING_MAGIC ")", r->path);
    if (h->version != RING_VERSION || h->chunk_size != RING_CHUNK || h->head_size != RING_HEAD)
        return ERR(err, UNSUPPORTED, "%s: ring format %u, this program reads %d", r->path, h->version, RING_VERSION);
    if (h->dict_at != RING_HEAD || h->chunks_at != RING_HEAD + RING_DICT || h->dict_used > RING_DICT ||
        h->n_backed > RING_CHUNKS_MAX)
        return ERR(err, CORRUPT, "%s: the ring's head is damaged", r->path);
    h->service[sizeof h->service - 1] = h->program[sizeof h->program - 1] = h->sdk_version[sizeof h->sdk_version - 1] = 0;
    r->cal = h->cal[h->cal_index & 1];
    if (r->cal.mult == 0 || r->cal.shift > 63)
        r->cal = h->cal[!(h->cal_index & 1)];
    if (r->cal.mult == 0 || r->cal.shift > 63)
        return ERR(err, CORRUPT, "%s: the ring's clock calibration is damaged", r->path);
    r->report.pid = h->pid;
    r->report.clean = h->clean;
    r->report.lost = h->lost;
    r->report.alive = lives(r);
    return ERR_OK;
}

static enum errc read_sites(struct reader *r, struct error *err)
{
    char *dict = mem_alloc(r->head.dict_used + 1);
    if (!dict)
        return ERR(err, NOMEM, "no memory for the dictionary of %s", r->path);
    if (!read_at(r, dict, r->head.dict_used, RING_HEAD))
        r->report.damaged++; // cut off: what follows cannot be named, but is read
    else
        for (size_t at = 0, size = 0; at < r->head.dict_used; at += size) {
            struct site *s = site_parse(dict + at, r->head.dict_used - at, &size);
            if (!s) {
                r->report.damaged++;
                break;
            }
            if (!site_put(&r->sites, s))
                site_free(s);
        }
    mem_free(dict);
    return ERR_OK;
}

// A copy of the chunk that its owner did not open anew meanwhile; false if it holds nothing (any more).
static bool copy_chunk(struct reader *r, uint32_t number, char *out)
{
    uint64_t at = RING_HEAD + RING_DICT + (uint64_t)number * RING_CHUNK;
    struct ring_chunk first, before, after; // first: one copy may take the commit before the seq
    if (!read_at(r, out, RING_CHUNK, at)) { // the file is cut off
        r->report.damaged++;
        return false;
    }
    for (int tries = 0; tries < 3; tries++) {
        if (!read_at(r, &first, sizeof first, at) || first.seq == 0 || !read_at(r, &before, sizeof before, at))
            return false;
        if (!read_at(r, out, RING_CHUNK, at) || !read_at(r, &after, sizeof after, at))
            return false;
        if (after.seq == first.seq && before.seq == first.seq) {
            memcpy(out, &before, sizeof before); // commit as it was before the copy, and certainly of this opening
            return true;
        }
    }
    return false;
}

static bool sensible(const struct rec_head *h, size_t room)
{
    return h->size >= sizeof *h && h->size % 8 == 0 && h->size <= room && h->size <= RING_RECORD_MAX + 64 &&
           rec_kind(h->what) < REC_KINDS;
}

static bool add_place(struct reader *r, struct place p)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 4096;
        struct place *more = mem_realloc(r->place, cap * sizeof *more);
        if (!more)
            return false;
        r->place = more;
        r->cap = cap;
    }
    r->place[r->n++] = p;
    return true;
}

static bool read_chunk(struct reader *r, const char *c)
{
    struct ring_chunk chunk;
    struct rec_head h;
    memcpy(&chunk, c, sizeof chunk);
    if (chunk.commit < RING_CHUNK_HEAD || chunk.commit > RING_CHUNK) {
        r->report.damaged++;
        return true;
    }
    uint64_t last = chunk.opened;
    size_t at = RING_CHUNK_HEAD;
    for (; at + sizeof h <= chunk.commit; at += h.size) {
        memcpy(&h, c + at, sizeof h);
        if (!sensible(&h, chunk.commit - at)) {
            r->report.damaged++; // where the next one begins is unknown
            return true;
        }
        last = h.tick;
        if (!add_place(r, (struct place){h.tick, chunk.seq, c + at, h.size}))
            return false;
    }
    // Behind commit lies nothing, what an earlier use of the chunk left (older than its opening), or a record that was begun.
    if (chunk.next == 0 && at + sizeof h <= RING_CHUNK) {
        memcpy(&h, c + at, sizeof h);
        r->report.torn += sensible(&h, RING_CHUNK - at) && h.tick > chunk.opened && h.tick >= last;
    }
    uint32_t t = chunk.thread % RING_CHUNKS_MAX;
    r->report.threads += !(r->thread_seen[t / 64] >> (t % 64) & 1);
    r->thread_seen[t / 64] |= 1ull << (t % 64);
    return true;
}

static enum errc read_chunks(struct reader *r, struct error *err)
{
    r->chunks = mem_alloc((size_t)(r->head.n_backed + 1) * RING_CHUNK);
    if (!r->chunks)
        return ERR(err, NOMEM, "no memory for the %u chunks of %s", r->head.n_backed, r->path);
    for (uint32_t i = 0; i < r->head.n_backed; i++) {
        char *copy = r->chunks + (size_t)r->n_chunks * RING_CHUNK;
        if (!copy_chunk(r, i, copy))
            continue;
        r->n_chunks++;
        if (!read_chunk(r, copy))
            return ERR(err, NOMEM, "no memory for the records of %s", r->path);
    }
    return ERR_OK;
}

static int by_time(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->tick != b->tick)
        return a->tick < b->tick ? -1 : 1;
    if (a->seq != b->seq)
        return a->seq < b->seq ? -1 : 1;
    return (a->p > b->p) - (a->p < b->p);
}

static void write_records(struct reader *r, struct pipeline *p)
{
    r->last = r->head.start_ns;
    for (size_t i = 0; i < r->n; i++) {
        struct rec_head h;
        struct rec rec;
        memcpy(&h, r->place[i].p, sizeof h);
        uint32_t n = 0;
        const struct site *site = site_get(&r->sites, rec_site(h.what));
        const uint8_t *types = rec_types(rec_kind(h.what), &n);
        if (rec_kind(h.what) == REC_LOG) {
            types = site ? site->type : NULL;
            n = site ? site->n : 0;
        }
        if (!rec_read(&rec, r->place[i].p, r->place[i].size, types, n, false)) {
            r->report.damaged++;
            continue;
        }
        r->report.records++;
        r->last = clock_to_wall(&r->cal, h.tick);
        pipeline_record(p, &rec, site, clock_to_wall(&r->cal, h.tick));
    }
}

static void write_open_spans(struct reader *r, struct pipeline *p)
{
    for (uint32_t i = 0; i < p->spans.size; i++) {
        for (struct bspan *s = p->spans.slot[i]; s; s = s->next) {
            struct site unnamed = {.level = SONDE_LEVEL_INFO, .target = SLICE("sonde")};
            struct line l = {.time = s->start_ns, .site = s->site ? s->site : &unnamed, .message = SLICE("SPAN_OPEN"), .span = s};
            line_write(&p->out, &p->style, &p->clock, &l);
            r->report.open_spans++;
        }
    }
}

static void write_limits(struct reader *r, struct pipeline *p)
{
    for (uint32_t i = 0; i < RING_LIMITS; i++) {
        const struct ring_limit *l = &r->head.limit[i];
        const struct site *site = l->site ? site_get(&r->sites, l->site) : NULL;
        struct site unnamed = {.level = SONDE_LEVEL_INFO, .target = SLICE("sonde"), .message = SLICE("several call sites")};
        if (!l->suppressed)
            continue;
        site = site ? site : &unnamed;
        int64_t untold = l->suppressed > l->told ? (int64_t)(l->suppressed - l->told) : 0;
        char message[64];
        snprintf(message, sizeof message, "suppressed %llu similar records", (unsigned long long)l->suppressed);
        struct line_extra extra[] = {{.key = "of", .type = SONDE_TYPE_STR, .text = site->message},
                                     {.key = "suppressed", .value = (int64_t)l->suppressed},
                                     {.key = "untold", .value = untold}};
        struct line line = {.time = r->last, .site = site, .message = slice_str(message), .extra = extra, .n_extra = 3};
        line_write(&p->out, &p->style, &p->clock, &line);
        r->report.suppressed += (uint64_t)untold;
    }
}

static void write_head(struct reader *r, struct buf *out)
{
    char start[40];
    int n = time_format(start, r->head.start_ns, 6, false);
    char id[2 * RING_BUILD_ID_MAX];
    size_t id_n = r->head.build_id_n <= RING_BUILD_ID_MAX ? r->head.build_id_n : 0;
    hex_encode(id, r->head.build_id, id_n);
    buf_printf(out, "# %s (%s), process %u, %s, started %.*s, libsonde %s%s%.*s\n", r->head.service, r->head.program, r->head.pid,
               r->report.clean   ? "ended in order"
               : r->report.alive ? "living"
                                 : "died",
               n, start, r->head.sdk_version, id_n ? ", build id " : "", (int)(2 * id_n), id);
}

static void write_tail(struct reader *r, struct pipeline *p, bool jsonl)
{
    const struct ring_report *t = &r->report;
    if (!jsonl) {
        buf_printf(&p->out, "# %llu records of %u threads; torn %llu, damaged %llu, lost %llu, open spans %u, suppressed %llu\n",
                   (unsigned long long)t->records, t->threads, (unsigned long long)t->torn, (unsigned long long)t->damaged,
                   (unsigned long long)t->lost, t->open_spans, (unsigned long long)t->suppressed);
        return;
    }
    struct line_extra extra[] = {
        {.key = "damaged", .value = (int64_t)t->damaged}, {.key = "lost", .value = (int64_t)t->lost},
        {.key = "open_spans", .value = t->open_spans},    {.key = "pid", .value = t->pid},
        {.key = "records", .value = (int64_t)t->records}, {.key = "suppressed", .value = (int64_t)t->suppressed},
        {.key = "threads", .value = t->threads},          {.key = "torn", .value = (int64_t)t->torn}};
    pipeline_say(p, clock_wall_ns(), SONDE_LEVEL_INFO, "ring inspected", extra, 8);
}

// own: this process's ring, of which the path is only told.
static enum errc inspect(const char *path, const struct ring *own, bool jsonl, struct buf *out, struct ring_report *report,
                         struct error *err)
{
    enum errc rc = ERR_OK;
    struct pipeline p;
    pipeline_init(&p);
    p.style.jsonl = jsonl;
    struct reader *r = mem_zalloc(sizeof *r);
    if (!r)
        return ERR(err, NOMEM, "no memory to inspect %s", path);
    r->path = path;
    r->own = own;
    // ring.c may just open the own file again
    r->fd = own ? __atomic_load_n(&own->fd, __ATOMIC_RELAXED) : open(path, O_RDONLY | O_CLOEXEC);
    if (own && r->fd < 0) {
        r->base = own->base;
        r->mapped = own->mapped;
    } else if (r->fd < 0) {
        rc = ERR(err, IO, "%s: %s", path, strerror(errno));
        goto out;
    }
    GO(read_head(r, err));
    GO(read_sites(r, err));
    GO(read_chunks(r, err));
    if (r->n)
        qsort(r->place, r->n, sizeof *r->place, by_time);
    if (!jsonl)
        write_head(r, &p.out);
    write_records(r, &p);
    write_open_spans(r, &p);
    write_limits(r, &p);
    write_tail(r, &p, jsonl);
    if (p.out.err != ERR_OK)
        rc = ERR(err, NOMEM, "%s: its lines need more than %d MiB of memory", path, LINE_MAX >> 20);
    else
        buf_add(out, buf_slice(&p.out));
    if (report)
        *report = r->report;
out:
    pipeline_free(&p);
    if (r->fd >= 0 && !own)
        close(r->fd);
    site_table_free(&r->sites);
    mem_free(r->chunks);
    mem_free(r->place);
    mem_free(r);
    return rc;
}

enum errc ring_inspect_report(const char *path, bool jsonl, struct buf *out, struct ring_report *report, struct error *err)
{
    return inspect(path, NULL, jsonl, out, report, err);
}

enum errc ring_inspect_own(const struct ring *ring, bool jsonl, struct buf *out, struct error *err)
{
    int fd = __atomic_load_n(&ring->fd, __ATOMIC_RELAXED);
    return inspect(fd < 0 ? "the ring in memory" : ring->path, ring, jsonl, out, NULL, err);
}

enum errc ring_inspect(const char *path, bool jsonl, struct buf *out, struct error *err)
{
    return ring_inspect_report(path, jsonl, out, NULL, err);
}
