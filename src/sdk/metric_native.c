// Exponential histograms: bucket i of scale s holds the values in (2^(i·2^-s), 2^((i+1)·2^-s)]. Two buckets of a scale are one of
// the next coarser, so a histogram starts at the finest and halves its resolution when more than 160 buckets would be needed.
//
// Words of a slot range, in each thread's shard:
//   0  turn: odd while the owner moves buckets about      1  sum      2  zeros
//   3  state: bit 0 begun, bit 1 positives, bit 2 negatives, from bit 8 how far the scale is below 8, from bit 16 and 40 (24 bits
//   each) the origin
//      of the positive and the negative indices: one of those in use
//   4  positive indices: lowest | highest << 32           5  negative ones
//   6… positive buckets: index i in word i - origin, + 160 if that is negative         166… negative ones
// A range grows without moving anything; only a change of scale does, and a reader that meets one reads again.
#include "sdk/metric.h"
#include <math.h>

enum {
    TURN,
    SUM = METRIC_NATIVE_SUM,
    ZEROS,
    STATE = METRIC_NATIVE_STATE,
    RANGE = METRIC_NATIVE_RANGE,
    BUCKETS = METRIC_NATIVE_BUCKETS,
    WORDS = BUCKETS + 2 * METRIC_NATIVE_MAX
};
enum { BEGUN = 1, USED = METRIC_NATIVE_USED, SCALE_SHIFT = 8, ORIGIN_SHIFT = 16, ORIGIN_BITS = 24 };
_Static_assert((int)WORDS <= (int)METRIC_PAGE_WORDS, "a range lies in one page");

uint32_t metric_native_words(void)
{
    return WORDS;
}

static uint64_t get(const metric_word *w)
{
    return atomic_load_explicit(w, memory_order_acquire);
}
static void put(metric_word *w, uint64_t v)
{
    atomic_store_explicit(w, v, memory_order_release);
}
static int32_t low(uint64_t range)
{
    return (int32_t)(uint32_t)range;
}
static int32_t high(uint64_t range)
{
    return (int32_t)(uint32_t)(range >> 32);
}
static uint64_t range_of(int32_t min, int32_t max)
{
    return (uint32_t)min | (uint64_t)(uint32_t)max << 32;
}
static int scale_of(uint64_t state)
{
    return METRIC_NATIVE_SCALE - (int)(state >> SCALE_SHIFT & 0xff);
}
#define origin_of metric_native_origin
#define place     metric_native_place
static uint64_t with_origin(uint64_t state, int side, int32_t origin)
{
    int shift = ORIGIN_SHIFT + side * ORIGIN_BITS;
    uint64_t mask = (1ull << ORIGIN_BITS) - 1;
    return (state & ~(mask << shift)) | ((uint64_t)(uint32_t)origin & mask) << shift;
}
uint64_t metric_native_step[METRIC_NATIVE_STEPS + 1];
uint16_t metric_native_guess[1 << METRIC_NATIVE_GUESS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void tables(void)
{
    const uint64_t mantissa = (1ull << 52) - 1;
    for (int j = 0; j < METRIC_NATIVE_STEPS; j++)
        metric_native_step[j] = metric_bits(exp2((double)j / METRIC_NATIVE_STEPS)) & mantissa;
    metric_native_step[METRIC_NATIVE_STEPS] = UINT64_MAX;
    for (uint32_t t = 0, j = 0; t < 1 << METRIC_NATIVE_GUESS; t++) {
        while (metric_native_step[j] < (uint64_t)t << (52 - METRIC_NATIVE_GUESS))
            j++;
        metric_native_guess[t] = (uint16_t)j;
    }
}

// Index at the finest scale of a positive, finite value.
static int32_t finest(double v)
{
    return metric_native_finest(metric_bits(v < 0x1p-1022 ? 0x1p-1022 : v));
}

double metric_native_bound(int scale, int64_t index)
{
    return exp2(ldexp((double)index, -scale));
}

// Makes the buckets of one side coarser by `by` scales.
static void side_coarsen(metric_word *range, metric_word *bucket, int32_t origin, int by)
{
    int32_t min = low(get(range)), max = high(get(range));
    uint64_t sum[METRIC_NATIVE_MAX] = {0};
    for (int32_t i = min; i <= max; i++) {
        metric_word *w = bucket + place(i, origin);
        sum[(i >> by) - (min >> by)] += get(w);
        put(w, 0);
    }
    for (int32_t i = min >> by; i <= max >> by; i++)
        put(bucket + place(i, origin >> by), sum[i - (min >> by)]);
    put(range, range_of(min >> by, max >> by));
}

static uint64_t coarsen(metric_word *w, uint64_t state, int by)
{
    uint64_t turn = get(w + TURN);
    put(w + TURN, turn + 1);
    for (int side = 0; side < 2; side++) {
        int32_t origin = origin_of(state, side);
        if (state & (uint64_t)USED << side)
            side_coarsen(w + RANGE + side, w + BUCKETS + side * METRIC_NATIVE_MAX, origin, by);
        state = with_origin(state, side, origin >> by);
    }
    state += (uint64_t)by << SCALE_SHIFT;
    put(w + STATE, state);
    put(w + TURN, turn + 2);
    return state;
}

static inline void add(metric_word *w, int side, uint64_t state, int32_t i, double v)
{
    metric_bump(w + BUCKETS + side * METRIC_NATIVE_MAX + place(i, origin_of(state, side)), 1);
    metric_bump_f64(w + SUM, v);
}

// A first value, or one outside of the range so far.
static void widen(metric_word *w, double v)
{
    pthread_once(&once, tables);
    uint64_t state = get(w + STATE);
    if (!state)
        put(w + STATE, state = BEGUN);
    if (v == 0) {
        metric_bump(w + ZEROS, 1);
        return;
    }
    int side = v < 0;
    int32_t i = finest(fabs(v)) >> (METRIC_NATIVE_SCALE - scale_of(state));
    uint64_t used = state & (uint64_t)USED << side, r = used ? get(w + RANGE + side) : range_of(i, i);
    int32_t min = i < low(r) ? i : low(r), max = i > high(r) ? i : high(r);
    int by = 0;
    while ((max >> by) - (min >> by) >= METRIC_NATIVE_MAX)
        by++;
    if (by)
        state = coarsen(w, state, by);
    put(w + RANGE + side, range_of(min >> by, max >> by));
    if (!used)
        put(w + STATE, state = with_origin(state, side, i >> by) | (uint64_t)USED << side);
    add(w, side, state, i >> by, v);
}

// The first of its kind, a negative one, 0, or one that needs more room.
bool metric_native_slow(metric_word *w, double v)
{
    if (!isfinite(v))
        return false;
    int side = v < 0;
    uint64_t state = atomic_load_explicit(w + STATE, memory_order_relaxed);
    if ((state & (uint64_t)USED << side) && v != 0) { // so the tables are there
        int32_t i = finest(fabs(v)) >> (METRIC_NATIVE_SCALE - scale_of(state));
        uint64_t r = atomic_load_explicit(w + RANGE + side, memory_order_relaxed);
        if (i >= low(r) && i <= high(r)) {
            add(w, side, state, i, v);
            return true;
        }
    }
    widen(w, v);
    return true;
}

// ---- reading --------------------------------------------------------------------------------------------------------
static void copy(metric_word *w, uint64_t *to)
{
    for (;;) {
        uint64_t turn = get(w + TURN);
        // ranges before buckets: what is counted meanwhile outside of them is left for the next time
        for (int i = SUM; i < WORDS; i++)
            to[i] = get(w + i);
        if (!(turn & 1) && atomic_load_explicit(w + TURN, memory_order_relaxed) == turn)
            return;
    }
}

static void side_coarser(struct metric_native_side *s, int by)
{
    if (by == 0 || s->n == 0)
        return;
    int32_t min = s->min >> by, max = (s->min + (int32_t)s->n - 1) >> by;
    uint64_t sum[METRIC_NATIVE_MAX] = {0};
    for (uint32_t i = 0; i < s->n; i++)
        sum[((s->min + (int32_t)i) >> by) - min] += s->count[i];
    memcpy(s->count, sum, sizeof sum);
    s->min = min;
    s->n = (uint32_t)(max - min + 1);
}

static void coarser(struct metric_native *h, int by)
{
    side_coarser(&h->positive, by);
    side_coarser(&h->negative, by);
    h->scale -= by;
}

static void shard_view(const uint64_t *w, struct metric_native *out)
{
    *out = (struct metric_native){.scale = scale_of(w[STATE]), .zero = w[ZEROS], .sum = metric_double(w[SUM])};
    for (int side = 0; side < 2; side++) {
        struct metric_native_side *s = side ? &out->negative : &out->positive;
        if (!(w[STATE] & (uint64_t)USED << side))
            continue;
        s->min = low(w[RANGE + side]);
        s->n = (uint32_t)(high(w[RANGE + side]) - s->min + 1);
        for (uint32_t i = 0; i < s->n; i++)
            s->count[i] = w[BUCKETS + side * METRIC_NATIVE_MAX + place(s->min + (int32_t)i, origin_of(w[STATE], side))];
    }
}

static int merged_excess(const struct metric_native_side *a, const struct metric_native_side *b)
{
    if (a->n == 0 || b->n == 0)
        return 0;
    int32_t min = a->min < b->min ? a->min : b->min, by = 0;
    int32_t a_max = a->min + (int32_t)a->n - 1, b_max = b->min + (int32_t)b->n - 1, max = a_max > b_max ? a_max : b_max;
    while ((max >> by) - (min >> by) >= METRIC_NATIVE_MAX)
        by++;
    return by;
}

static void side_add(struct metric_native_side *to, const struct metric_native_side *from)
{
    if (from->n == 0)
        return;
    if (to->n == 0) {
        *to = *from;
        return;
    }
    int32_t to_max = to->min + (int32_t)to->n - 1, from_max = from->min + (int32_t)from->n - 1;
    int32_t min = to->min < from->min ? to->min : from->min, max = to_max > from_max ? to_max : from_max;
    memmove(to->count + (to->min - min), to->count, to->n * sizeof *to->count);
    memset(to->count, 0, (size_t)(to->min - min) * sizeof *to->count);
    for (uint32_t i = 0; i < from->n; i++)
        to->count[from->min - min + (int32_t)i] += from->count[i];
    to->min = min;
    to->n = (uint32_t)(max - min + 1);
}

static void merge(struct metric_native *to, struct metric_native *from)
{
    if (to->scale > from->scale)
        coarser(to, to->scale - from->scale);
    else
        coarser(from, from->scale - to->scale);
    int by = merged_excess(&to->positive, &from->positive), negative = merged_excess(&to->negative, &from->negative);
    by = by > negative ? by : negative;
    coarser(to, by);
    coarser(from, by);
    side_add(&to->positive, &from->positive);
    side_add(&to->negative, &from->negative);
    to->zero += from->zero;
    to->sum += from->sum;
}

void metric_native_read(const struct metric_series *s, struct metric_native *out)
{
    *out = (struct metric_native){.scale = METRIC_NATIVE_SCALE};
    METRIC_EACH_SHARD(shard)
    {
        metric_word *w = metric_peek(shard, s->slot);
        uint64_t words[WORDS] = {0};
        if (!w)
            continue;
        copy(w, words);
        if (!words[STATE])
            continue;
        struct metric_native one;
        shard_view(words, &one);
        merge(out, &one);
    }
    out->count = out->zero;
    for (uint32_t i = 0; i < out->positive.n; i++)
        out->count += out->positive.count[i];
    for (uint32_t i = 0; i < out->negative.n; i++)
        out->count += out->negative.count[i];
}

// ---- as classic buckets ---------------------------------------------------------------------------------------------
// The exponent of two of base^index, rounded down; exact: index is one.
static int64_t power(int scale, int64_t index, bool *exact)
{
    int64_t p = scale >= 0 ? index >> scale : index * ((int64_t)1 << -scale);
    *exact = scale < 0 || p * ((int64_t)1 << scale) == index;
    return p;
}

void metric_native_classic(int scale, uint64_t below, int64_t first, const uint64_t *count, size_t n, metric_le_fn *line,
                           void *arg)
{
    uint64_t up_to = below;
    bool exact;
    if (below)
        line(arg, 0, below);
    while (n && !count[n - 1]) // ranges may begin and end with buckets that a difference left empty
        n--;
    for (; n && !*count; count++, first++)
        n--;
    int64_t p = power(scale, first, &exact);
    if (n && p >= -1074)
        line(arg, ldexp(1, (int)p), up_to);
    for (size_t i = 0; i < n; i++) {
        up_to += count[i];
        p = power(scale, first + (int64_t)i + 1, &exact);
        if ((exact || i + 1 == n) && p + !exact >= -1074 && p + !exact <= 1023)
            line(arg, ldexp(1, (int)p + !exact), up_to);
    }
}
