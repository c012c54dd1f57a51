#include "sdk/flight.h"
#include "base/fd.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/inspect.h"
#include "sdk/quiet.h"
#include "sdk/sdk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

bool flight_retro = true;

// Of each chunk: the opening it stands for, and the traces with held records in it.
static struct chunk_set {
    uint64_t seq, bits[FLIGHT_SET / 64];
} set[RING_CHUNKS_MAX];
static struct known {
    uint8_t trace_id[16];
    uint32_t written;
} known[FLIGHT_TRACES];

void flight_configure(void)
{
    sdk.flight_level = env_level("SONDE_FLIGHT_LEVEL");
    flight_retro = env_on("SONDE_RETRO");
}

void flight_forget(void)
{
    memset(set, 0, sizeof set);
    memset(known, 0, sizeof known);
}

// ---- which chunks ---------------------------------------------------------------------------------------------------
static unsigned bit_of(const char *trace_id)
{
    uint64_t low;
    memcpy(&low, trace_id + 8, 8);
    return (unsigned)(low * 0x9e3779b97f4a7c15u >> 55); // 9 bits
}

void flight_pass(struct ring *r, const struct ring_lane *l, const char *p)
{
    struct rec_head h;
    memcpy(&h, p, sizeof h);
    if (!(h.what & REC_IN_SPAN))
        return;
    struct chunk_set *s = &set[ring_chunk_number(r, l->read)];
    uint64_t seq = __atomic_load_n(&l->read->seq, __ATOMIC_RELAXED);
    if (s->seq != seq)
        *s = (struct chunk_set){.seq = seq};
    unsigned bit = bit_of(p + sizeof h);
    s->bits[bit / 64] |= 1ull << (bit % 64);
}

// ---- collecting -----------------------------------------------------------------------------------------------------
struct found {
    uint64_t tick;
    size_t at; // in bytes
    uint32_t size;
};
struct collect {
    const uint8_t *trace_id;
    struct buf bytes, found;
    size_t n;
};

static void see(void *arg, struct ring_chunk *chunk, uint32_t to)
{
    struct collect *c = arg;
    char *p = (char *)chunk + RING_CHUNK_HEAD, *end = (char *)chunk + to;
    struct rec_head h;
    for (; p + sizeof h <= end; p += h.size) {
        memcpy(&h, p, sizeof h);
        if (h.size < sizeof h || h.size > (size_t)(end - p))
            return;
        if ((h.what & (REC_HELD | REC_IN_SPAN)) != (REC_HELD | REC_IN_SPAN) || memcmp(p + sizeof h, c->trace_id, 16) != 0)
            continue;
        if (c->n == FLIGHT_COLLECT_MAX)
            return;
        struct found f = {h.tick, c->bytes.n, h.size};
        buf_put(&c->bytes, p, h.size);
        buf_put(&c->found, &f, sizeof f);
        if (c->bytes.err != ERR_OK || c->found.err != ERR_OK)
            return;
        h.what &= ~REC_HELD;
        memcpy(p, &h, sizeof h);
        c->n++;
    }
}

static void collect(struct ring *r, struct collect *c)
{
    unsigned bit = bit_of((const char *)c->trace_id);
    uint32_t n = ring_chunks(r);
    for (uint32_t i = 0; i < n; i++)
        if (set[i].seq && (set[i].bits[bit / 64] >> (bit % 64) & 1))
            ring_see_retired(r, i, set[i].seq, see, c);
    for (struct ring_lane *l = __atomic_load_n(&r->lanes, __ATOMIC_ACQUIRE); l; l = l->next)
        if (l->read)
            see(c, l->read, l->read_at);
}

static int by_time(const void *x, const void *y)
{
    const struct found *a = x, *b = y;
    if (a->tick != b->tick)
        return a->tick < b->tick ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at); // of one thread: as they lay
}

// ---- writing --------------------------------------------------------------------------------------------------------
static void write_one(struct sdk *s, const struct clock_cal *cal, const char *p, uint32_t size)
{
    struct rec_head h;
    struct rec r;
    memcpy(&h, p, sizeof h);
    const struct site *site = site_get(&s->sites, rec_site(h.what));
    if (site && rec_kind(h.what) == REC_LOG && rec_read(&r, p, size, site->type, site->n, false))
        pipeline_retro(&s->pipe, &r, site, clock_to_wall(cal, h.tick));
}

static void write_found(struct sdk *s, struct collect *c, struct known *k)
{
    struct clock_cal cal = ring_clock(s->ring);
    struct found *f = (struct found *)(void *)c->found.p;
    size_t room = FLIGHT_RETRO_MAX - k->written, skip = c->n > room ? c->n - room : 0;
    qsort(f, c->n, sizeof *f, by_time);
    if (skip) {
        struct line_extra extra[] = {{.key = "left_out", .value = (int64_t)skip}};
        pipeline_say(&s->pipe, clock_to_wall(&cal, f[skip].tick), SONDE_LEVEL_WARN,
                     "older records of the trace are not written: a trace gets 1000 after all", extra, 1);
    }
    for (size_t i = skip; i < c->n; i++)
        write_one(s, &cal, c->bytes.p + f[i].at, f[i].size);
    k->written += (uint32_t)(c->n - skip);
}

void flight_release(struct sdk *s, const uint8_t trace_id[16])
{
    struct known *k = &known[bit_of((const char *)trace_id) % FLIGHT_TRACES];
    struct collect c = {.trace_id = trace_id};
    if (memcmp(k->trace_id, trace_id, 16) != 0) {
        memcpy(k->trace_id, trace_id, 16);
        k->written = 0;
    }
    if (k->written >= FLIGHT_RETRO_MAX)
        return;
    buf_init(&c.bytes, MIB(64));
    buf_init(&c.found, FLIGHT_COLLECT_MAX * sizeof(struct found));
    collect(s->ring, &c);
    if (c.n)
        write_found(s, &c, k);
    buf_free(&c.bytes);
    buf_free(&c.found);
}

void sonde_flight_release(const uint8_t trace_id[16])
{
    sdk_start();
    if (!sdk_enter())
        return;
    if (sdk.ring)
        backend_release(trace_id);
    sdk_leave();
}

// ---- dump -----------------------------------------------------------------------------------------------------------
bool sonde_flight_dump(const char *path)
{
    struct buf out;
    struct error err = {0};
    bool ok = false;
    sdk_start();
    if (!path || !sdk.ring)
        return false;
    size_t n = strlen(path), at = 0;
    buf_init(&out, INSPECT_OUT_MAX);
    if (ring_inspect_own(sdk.ring, n > 6 && strcmp(path + n - 6, ".jsonl") == 0, &out, &err) != ERR_OK) {
        errno = err.code == ERR_NOMEM ? ENOMEM : EIO;
        goto out;
    }
    int fd = fd_above_standard(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600));
    while (fd >= 0 && at < out.n) {
        ssize_t k = quiet_write(fd, out.p + at, out.n - at);
        if (k <= 0 && errno != EINTR)
            break;
        at += k > 0 ? (size_t)k : 0;
    }
    int why = errno;
    ok = fd >= 0 && at == out.n;
    if (fd >= 0)
        close(fd);
    errno = why;
out:
    buf_free(&out);
    return ok;
}
