// Totals to deltas and back: what a reader saw last of each series.
#include "base/alloc.h"
#include "base/hash.h"
#include "sdk/meter.h"

static struct meter_state *state_of(struct meter_states *s, uint64_t key, bool *fresh)
{
    if (2 * (s->n + 1) > s->size) {
        uint32_t size = s->size ? 2 * s->size : 64;
        struct meter_state **more = mem_zalloc(size * sizeof *more);
        if (!more)
            return NULL;
        for (uint32_t i = 0; i < s->size; i++) {
            uint32_t at = s->slot[i] ? (uint32_t)hash_mix(s->slot[i]->key, 1) : 0;
            while (s->slot[i] && more[at & (size - 1)])
                at++;
            if (s->slot[i])
                more[at & (size - 1)] = s->slot[i];
        }
        mem_free(s->slot);
        s->slot = more;
        s->size = size;
    }
    uint32_t at = (uint32_t)hash_mix(key, 1);
    while (s->slot[at & (s->size - 1)] && s->slot[at & (s->size - 1)]->key != key)
        at++;
    struct meter_state **p = &s->slot[at & (s->size - 1)];
    *fresh = !*p;
    if (!*p && (*p = mem_zalloc(sizeof **p))) {
        (*p)->key = key;
        s->n++;
    }
    if (*p)
        (*p)->turn = s->turn;
    return *p;
}

static void state_free(struct meter_state *s)
{
    mem_free(s->counts);
    mem_free(s);
}

void meter_states_sweep(struct meter_states *s)
{
    uint32_t kept = 0;
    struct meter_state **old = s->slot;
    for (uint32_t i = 0; i < s->size; i++)
        kept += old[i] && old[i]->turn == s->turn;
    s->turn++;
    if (kept == s->n)
        return;
    struct meter_state **more = mem_zalloc(s->size * sizeof *more);
    if (!more)
        return;
    for (uint32_t i = 0; i < s->size; i++) {
        if (!old[i])
            continue;
        if (old[i]->turn != s->turn - 1) {
            state_free(old[i]);
            continue;
        }
        uint32_t at = (uint32_t)hash_mix(old[i]->key, 1);
        while (more[at & (s->size - 1)])
            at++;
        more[at & (s->size - 1)] = old[i];
    }
    mem_free(old);
    s->slot = more;
    s->n = kept;
}

void meter_states_free(struct meter_states *s)
{
    for (uint32_t i = 0; i < s->size; i++)
        if (s->slot[i])
            state_free(s->slot[i]);
    mem_free(s->slot);
    *s = (struct meter_states){0};
}

// ---- counts ---------------------------------------------------------------------------------------------------------
static bool counts_room(struct meter_state *s, uint32_t n)
{
    if (n <= s->room)
        return true;
    uint64_t *more = mem_realloc(s->counts, n * sizeof *more);
    if (!more)
        return false;
    s->counts = more;
    s->room = n;
    return true;
}

// Buckets `by` scales coarser, in the arena.
static bool coarser(struct arena *a, struct sonde_buckets_f *b, int by)
{
    if (by <= 0 || b->n == 0)
        return true;
    by = by > 30 ? 30 : by;
    int32_t min = b->offset >> by, max = (b->offset + (int32_t)b->n - 1) >> by;
    uint64_t *sum = ARENA_ARRAY(a, uint64_t, max - min + 1);
    for (size_t i = 0; sum && i < b->n; i++)
        sum[((b->offset + (int32_t)i) >> by) - min] += b->counts[i];
    *b = (struct sonde_buckets_f){min, (size_t)(max - min + 1), sum};
    return sum != NULL;
}

// What the reader saw last as buckets of the point's form.
static struct sonde_buckets_f remembered(const struct meter_state *s, int side)
{
    return (struct sonde_buckets_f){s->offset[side], s->n[side], s->counts + (side ? s->n[0] : 0)};
}

// a + sign · b over the range of both; parts of b outside of a's range are 0 where sign is negative.
static bool combine(struct arena *a, struct sonde_buckets_f *to, const struct sonde_buckets_f *b, bool minus)
{
    if (b->n == 0)
        return true;
    int32_t min = b->offset, max = b->offset + (int32_t)b->n - 1;
    if (to->n) {
        min = to->offset < min ? to->offset : min;
        max = to->offset + (int32_t)to->n - 1 > max ? to->offset + (int32_t)to->n - 1 : max;
    }
    uint64_t *sum = ARENA_ARRAY(a, uint64_t, (size_t)((int64_t)max - min + 1));
    if (!sum)
        return false;
    for (size_t i = 0; i < to->n; i++)
        sum[to->offset - min + (int32_t)i] = to->counts[i];
    for (size_t i = 0; i < b->n; i++)
        sum[b->offset - min + (int32_t)i] += minus ? -b->counts[i] : b->counts[i];
    *to = (struct sonde_buckets_f){min, (size_t)((int64_t)max - min + 1), sum};
    return true;
}

static bool remember(struct meter_state *s, enum sonde_data_kind kind, const struct sonde_point *p,
                     const struct sonde_buckets_f side[2])
{
    s->i = p->i;
    s->f = p->f;
    s->sum = p->sum;
    s->count = p->count;
    s->zero = p->zero;
    s->scale = p->scale;
    if (kind < SONDE_DATA_HISTOGRAM)
        return true;
    if (!counts_room(s, (uint32_t)(side[0].n + side[1].n)))
        return false;
    for (int k = 0; k < 2; k++) {
        s->offset[k] = side[k].offset;
        s->n[k] = (uint32_t)side[k].n;
        if (side[k].n)
            memcpy(s->counts + (k ? side[0].n : 0), side[k].counts, side[k].n * sizeof *s->counts);
    }
    return true;
}

// The sides of a point: an explicit histogram's buckets are one from 0.
static void sides_of(enum sonde_data_kind kind, const struct sonde_point *p, size_t n, struct sonde_buckets_f side[2])
{
    side[0] = kind == SONDE_DATA_EXPONENTIAL ? p->positive
                                             : (struct sonde_buckets_f){0, kind == SONDE_DATA_HISTOGRAM ? n : 0, p->counts};
    side[1] = kind == SONDE_DATA_EXPONENTIAL ? p->negative : (struct sonde_buckets_f){0};
}

static void sides_set(enum sonde_data_kind kind, struct sonde_point *p, const struct sonde_buckets_f side[2])
{
    if (kind == SONDE_DATA_EXPONENTIAL) {
        p->positive = side[0];
        p->negative = side[1];
    } else if (kind == SONDE_DATA_HISTOGRAM) {
        p->counts = side[0].counts;
    }
}

struct change {
    struct arena *a;
    enum sonde_data_kind kind;
    size_t n; // buckets of an explicit histogram
    bool minus;
};

// p ± what is remembered.
static bool apply(const struct change *c, struct sonde_point *p, const struct meter_state *s)
{
    struct sonde_buckets_f side[2], old[2] = {remembered(s, 0), remembered(s, 1)};
    sides_of(c->kind, p, c->n, side);
    int scale = p->scale < s->scale ? p->scale : s->scale;
    for (int k = 0; k < 2; k++)
        if ((c->kind == SONDE_DATA_EXPONENTIAL &&
             (!coarser(c->a, &old[k], s->scale - scale) || !coarser(c->a, &side[k], p->scale - scale))) ||
            (c->kind >= SONDE_DATA_HISTOGRAM && !combine(c->a, &side[k], &old[k], c->minus)))
            return false;
    uint64_t sign = c->minus ? UINT64_MAX : 1;
    p->i = (int64_t)((uint64_t)p->i + sign * (uint64_t)s->i);
    p->f += c->minus ? -s->f : s->f;
    p->sum += c->minus ? -s->sum : s->sum;
    p->count += sign * s->count;
    p->zero += sign * s->zero;
    p->scale = scale;
    sides_set(c->kind, p, side);
    return true;
}

bool meter_temporality(struct sonde_collection *c, enum sonde_data_kind kind, bool monotonic, bool f64,
                       enum sonde_temporality have, enum sonde_temporality want, uint64_t key, struct sonde_point *p)
{
    bool fresh;
    if (kind == SONDE_DATA_GAUGE || have == want)
        return true;
    struct meter_state *s = state_of(c->states, key, &fresh);
    if (!s) {
        c->failed = true;
        return false;
    }
    struct change change = {&c->arena, kind, p->n_attributes, want == SONDE_TEMPORALITY_DELTA};
    change.n = kind == SONDE_DATA_HISTOGRAM ? p->positive.n : 0; // see meter_metric_add
    struct sonde_buckets_f side[2];
    struct sonde_point total = *p;
    bool ok = true;
    if (want == SONDE_TEMPORALITY_DELTA) {
        bool fell =
            !fresh && (kind >= SONDE_DATA_HISTOGRAM ? p->count < s->count : monotonic && (f64 ? p->f < s->f : p->i < s->i));
        if (!fresh && !fell) {
            ok = apply(&change, p, s);
            p->start_ns = s->time;
        }
        sides_of(kind, &total, change.n, side);
        ok = remember(s, kind, &total, side) && ok;
        s->time = p->time_ns;
        ok = ok && !(kind >= SONDE_DATA_HISTOGRAM && p->count == 0) &&
             !(kind == SONDE_DATA_SUM && monotonic && !fresh && !p->i && p->f == 0);
        return ok;
    }
    if (fresh)
        s->start = p->start_ns;
    else
        ok = apply(&change, p, s);
    p->start_ns = s->start;
    sides_of(kind, p, change.n, side);
    return remember(s, kind, p, side) && ok;
}
