#include "store/dedup.h"
#include "base/alloc.h"
#include "base/limits.h"
#include <string.h>

enum { FIRST_SLOTS = 64 };

// The kept segments of the log may have more than one generation: after a start one may be larger.
enum { RESTORED = 2 };

static uint32_t slot_of(const struct dedup_set *s, uint64_t hash)
{
    uint32_t i = (uint32_t)(hash >> 7) & (s->cap - 1);
    while (s->slot[i] && s->slot[i] != hash)
        i = (i + 1) & (s->cap - 1);
    return i;
}

static bool set_has(const struct dedup_set *s, uint64_t hash)
{
    return s->n && s->slot[slot_of(s, hash)] == hash;
}

static bool set_grow(struct dedup_set *s)
{
    struct dedup_set bigger = {.n = s->n, .cap = s->cap ? s->cap * 2 : FIRST_SLOTS};
    bigger.slot = mem_zalloc(bigger.cap * sizeof *bigger.slot);
    if (!bigger.slot)
        return false;
    for (uint32_t i = 0; i < s->cap; i++)
        if (s->slot[i])
            bigger.slot[slot_of(&bigger, s->slot[i])] = s->slot[i];
    mem_free(s->slot);
    *s = bigger;
    return true;
}

static void set_add(struct dedup_set *s, uint64_t hash)
{
    if (s->n * 2 >= s->cap && !set_grow(s) && s->n + 1 >= s->cap)
        return;
    uint32_t i = slot_of(s, hash);
    s->n += s->slot[i] == 0;
    s->slot[i] = hash;
}

static void set_free(struct dedup_set *s)
{
    mem_free(s->slot);
    *s = (struct dedup_set){0};
}

bool dedup_seen(const struct dedup *d, uint64_t hash)
{
    hash += hash == 0;
    return set_has(&d->pending, hash) || set_has(&d->now, hash) || set_has(&d->before, hash);
}

void dedup_add_pending(struct dedup *d, uint64_t hash)
{
    set_add(&d->pending, hash + (hash == 0));
}

static void add(struct dedup *d, uint64_t hash, uint32_t generation)
{
    if (d->now.n >= generation) {
        set_free(&d->before);
        d->before = d->now;
        d->now = (struct dedup_set){0};
    }
    set_add(&d->now, hash + (hash == 0));
}

void dedup_restore(struct dedup *d, uint64_t hash)
{
    add(d, hash, RESTORED * MAX_DEDUP_ROWS);
}

void dedup_commit(struct dedup *d)
{
    if (!d->pending.n)
        return;
    for (uint32_t i = 0; i < d->pending.cap; i++)
        if (d->pending.slot[i])
            add(d, d->pending.slot[i], MAX_DEDUP_ROWS);
    dedup_forget(d);
}

void dedup_forget(struct dedup *d)
{
    if (d->pending.cap > 1 << 16) // a giant request does not keep its memory
        set_free(&d->pending);
    else if (d->pending.n)
        memset(d->pending.slot, 0, d->pending.cap * sizeof *d->pending.slot);
    d->pending.n = 0;
}

void dedup_free(struct dedup *d)
{
    set_free(&d->now);
    set_free(&d->before);
    set_free(&d->pending);
}
