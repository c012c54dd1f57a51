// Updates: the hot path of meters, and how a series is found.
#include "base/clock.h"
#include "sdk/meter.h"
#include "sdk/sdk.h"
#include <math.h>

// ---- series ---------------------------------------------------------------------------------------------------------
static bool keeps(const struct meter_stream *s, const char *key)
{
    bool kept = !s->keep;
    for (size_t i = 0; !kept && i < s->n_keep; i++)
        kept = strcmp(s->keep[i], key) == 0;
    for (size_t i = 0; kept && i < s->n_leave_out; i++)
        kept = strcmp(s->leave_out[i], key) != 0;
    return kept;
}

static struct meter_series *find(const struct meter_stream *s, const struct meter_attrs *set, uint64_t hash)
{
    const struct meter_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    for (uint32_t i = (uint32_t)hash; t; i++) {
        struct meter_series *x = atomic_load_explicit(&t->slot[i & t->mask], memory_order_acquire);
        if (!x)
            return NULL;
        if (x->cell.hash == hash && meter_attrs_equal(x->attributes, x->n_attributes, set->f, set->n))
            return x;
    }
    return NULL;
}

static void table_put(struct meter_table *t, struct meter_series *s)
{
    uint32_t i = (uint32_t)s->cell.hash & t->mask;
    while (atomic_load_explicit(&t->slot[i], memory_order_relaxed))
        i = (i + 1) & t->mask;
    atomic_store_explicit(&t->slot[i], s, memory_order_release);
    t->n++;
}

// Outgrown tables stay in the arena for those who are reading them.
static struct meter_table *table_room(struct meter_stream *s, struct arena *a)
{
    struct meter_table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    if (t && 2 * (t->n + 1) <= t->mask)
        return t;
    uint32_t size = t ? 2 * (t->mask + 1) : 8;
    struct meter_table *more = arena_zalloc(a, sizeof *more + size * sizeof more->slot[0]);
    if (!more)
        return NULL;
    more->mask = size - 1;
    for (uint32_t i = 0; t && i <= t->mask; i++) {
        struct meter_series *x = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
        if (x)
            table_put(more, x);
    }
    atomic_store_explicit(&s->table, more, memory_order_release);
    return more;
}

static struct meter_series *make(struct meter_stream *s, const struct meter_attrs *set, uint64_t hash)
{
    struct arena *a = &s->instrument->meter->provider->arena;
    struct meter_table *t = table_room(s, a);
    struct meter_series *x = t ? ARENA_NEW(a, struct meter_series) : NULL;
    if (!x || !(x->attributes = meter_attrs_copy(a, set->f, set->n)))
        return NULL;
    x->stream = s;
    x->n_attributes = set->n;
    x->cell.hash = hash;
    x->cell.kind = (uint8_t)s->kind;
    x->cell.bounds = s->bounds;
    x->cell.serial = metric_serial();
    x->cell.slot = METRIC_NO_SLOT;
    x->cell.absolute = s->instrument->async;
    x->start = clock_wall_ns();
    x->taken_low = s->extremes ? INFINITY : -INFINITY;
    x->taken_high = -x->taken_low;
    atomic_init(&x->low, metric_bits(x->taken_low));
    atomic_init(&x->high, metric_bits(x->taken_high));
    atomic_init(&x->cell.value, s->kind == METRIC_GAUGE       ? METER_NOT_SET_F64
                                : s->kind == METRIC_INT_GAUGE ? METER_NOT_SET_INT
                                                              : 0);
    if (!x->cell.absolute && s->kind != METRIC_GAUGE && s->kind != METRIC_INT_GAUGE) {
        x->cell.slot = metric_slots_take(metric_words(&x->cell));
        if (x->cell.slot == METRIC_NO_SLOT)
            return NULL;
    }
    table_put(t, x);
    return x;
}

static void link(struct meter_stream *s, struct meter_series *x)
{
    if (s->last)
        __atomic_store_n(&s->last->next, x, __ATOMIC_RELEASE);
    else
        atomic_store_explicit(&s->first, x, memory_order_release);
    s->last = x;
    s->n_series++;
}

// The last of the cardinality is the overflow series.
static struct meter_series *find_or_make(struct meter_stream *s, const struct meter_attrs *set, uint64_t hash)
{
    static const struct sonde_field mark = {"otel.metric.overflow", SONDE_TYPE_BOOL, {.value.u = 1}};
    struct sonde_meter_provider *p = s->instrument->meter->provider;
    pthread_mutex_lock(&p->lock);
    struct meter_series *x = find(s, set, hash);
    if (!x && s->n_series + 1 < s->cardinality && (x = make(s, set, hash)))
        link(s, x);
    if (!x)
        x = atomic_load_explicit(&s->overflow, memory_order_relaxed);
    if (!x) {
        struct meter_attrs one = {.n = 1, .f = {mark}};
        x = make(s, &one, meter_attrs_hash(one.f, 1));
        if (x) {
            link(s, x);
            atomic_store_explicit(&s->overflow, x, memory_order_release);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return x;
}

struct meter_series *meter_series_with(struct meter_stream *s, const struct meter_attrs *given)
{
    const struct meter_attrs *set = given;
    struct meter_attrs kept;
    if (s->filters) {
        kept.n = 0;
        for (uint32_t i = 0; i < given->n; i++)
            if (keeps(s, given->f[i].key))
                kept.f[kept.n++] = given->f[i];
        set = &kept;
    }
    uint64_t hash = meter_attrs_hash(set->f, set->n);
    struct meter_series *x = find(s, set, hash);
    return x ? x : find_or_make(s, set, hash);
}

// ---- values ---------------------------------------------------------------------------------------------------------
static inline bool extreme(const struct meter_series *s, double v)
{
    return v < metric_double(atomic_load_explicit(&s->low, memory_order_relaxed)) ||
           v > metric_double(atomic_load_explicit(&s->high, memory_order_relaxed));
}

__attribute__((noinline)) static void extreme_keep(struct meter_series *s, double v)
{
    uint64_t old = atomic_load_explicit(&s->low, memory_order_relaxed);
    while (v < metric_double(old) && !atomic_compare_exchange_weak(&s->low, &old, metric_bits(v)))
        ;
    old = atomic_load_explicit(&s->high, memory_order_relaxed);
    while (v > metric_double(old) && !atomic_compare_exchange_weak(&s->high, &old, metric_bits(v)))
        ;
}

static inline void observe(struct meter_series *s, double v)
{
    bool counted;
    if (s->cell.kind == METRIC_NATIVE) {
        counted = metric_native_observe(s->cell.slot, v);
    } else {
        uint32_t i = metric_bounds_find(s->cell.bounds, v);
        metric_word *w = i != METRIC_NO_BUCKET ? metric_cell(s->cell.slot) : NULL;
        counted = w != NULL;
        if (w) {
            metric_bump(w + 1 + i, 1);
            metric_bump_f64(w, v);
        }
    }
    if (counted && extreme(s, v))
        extreme_keep(s, v);
}

__attribute__((noinline)) static void put_int(struct meter_series *s, int64_t v)
{
    uint8_t kind = s->cell.kind; // compared one after the other: a jump through a table costs more than all of it
    if (kind == METRIC_INT_COUNTER || kind == METRIC_COUNTER) {
        metric_word *w = metric_cell(s->cell.slot);
        if (w && kind == METRIC_INT_COUNTER)
            metric_bump(w, (uint64_t)v);
        else if (w)
            metric_bump_f64(w, (double)v);
    } else if (kind >= METRIC_HISTOGRAM) {
        observe(s, (double)v);
    } else {
        atomic_store_explicit(&s->cell.value, kind == METRIC_INT_GAUGE ? (uint64_t)v : metric_bits((double)v),
                              memory_order_relaxed);
    }
}

static inline int64_t rounded(double v)
{
    return fabs(v) < 0x1p63 ? llround(v) : v > 0 ? INT64_MAX : INT64_MIN;
}

__attribute__((noinline)) static void put_f64(struct meter_series *s, double v)
{
    uint8_t kind = s->cell.kind;
    if (kind >= METRIC_HISTOGRAM) {
        observe(s, v);
    } else if (kind == METRIC_COUNTER) {
        metric_word *w = metric_cell(s->cell.slot);
        if (w)
            metric_bump_f64(w, v);
    } else if (kind == METRIC_GAUGE) {
        atomic_store_explicit(&s->cell.value, metric_bits(v), memory_order_relaxed);
    } else {
        put_int(s, rounded(v));
    }
}

// Whether a value counts, and whether somebody may want it as an exemplar.
static inline bool wanted(const struct sonde_instrument *i, bool negative)
{
    return atomic_load_explicit(&i->meter->on, memory_order_relaxed) && !(negative && i->rising);
}
static inline bool exemplar(const struct sonde_instrument *i)
{
    return tls_span ||
           __builtin_expect(
               atomic_load_explicit(&i->meter->provider->exemplars, memory_order_relaxed) == SONDE_EXEMPLARS_ALWAYS_ON, 0);
}

// All series and exemplars, the first update of a thread, bucket ranges that grow: what the quick way below does not do.
__attribute__((noinline)) static void bound_int(const struct sonde_bound *b, int64_t v)
{
    for (uint32_t k = 0; k < b->n; k++)
        put_int(b->series[k], v);
    for (uint32_t k = 0; k < b->n && (tls_span || b->always); k++)
        meter_offer(b->series[k], (double)v, b->attributes, b->n_attributes);
}

__attribute__((noinline)) static void bound_f64(const struct sonde_bound *b, double v)
{
    for (uint32_t k = 0; k < b->n; k++)
        put_f64(b->series[k], v);
    for (uint32_t k = 0; k < b->n && (tls_span || b->always); k++)
        meter_offer(b->series[k], v, b->attributes, b->n_attributes);
}

static inline bool number(double v)
{
    return fabs(v) <= 1.7976931348623157e308;
}

// The same by one jump, for what is usual: bits of values that are not negative have the values' order. Others count as extremes.
static inline bool maybe_extreme(const struct meter_series *s, uint64_t bits)
{
    uint64_t above = bits - atomic_load_explicit(&s->low, memory_order_relaxed);
    uint64_t under = atomic_load_explicit(&s->high, memory_order_relaxed) - bits;
    return (int64_t)(above | under) < 0;
}

// The usual case without a call, so that no register is saved: false where it is another.
static inline bool quick_f64(struct meter_series *s, double v, bool rising)
{
    metric_word *w = s->cell.slot != METRIC_NO_SLOT ? metric_cell_quick(s->cell.slot) : NULL;
    if (__builtin_expect(!w, 0))
        return false;
    if (s->cell.kind == METRIC_COUNTER) {
        if (!number(v) || (v < 0 && rising))
            return false;
        metric_bump_f64(w, v);
        return true;
    }
    if (__builtin_expect(maybe_extreme(s, metric_bits(v)), 0))
        return false;
    if (s->cell.kind == METRIC_NATIVE) // takes what is positive and finite, as the index of bounds below does
        return metric_native_quick(w, v);
    const struct metric_bounds *b = s->cell.bounds;
    uint64_t at = b ? (uint64_t)(((int64_t)metric_bits(v) >> b->shift) - b->first) : 0;
    if (__builtin_expect(!b || at >= b->n_index, 0))
        return false;
    uint32_t i = b->index[at];
    while (v > b->bound[i])
        i++;
    metric_bump(w + 1 + i, 1);
    metric_bump_f64(w, v);
    return true;
}

static inline bool quick_int(struct meter_series *s, int64_t v)
{
    if (s->cell.kind != METRIC_INT_COUNTER)
        return s->cell.kind != METRIC_INT_GAUGE && quick_f64(s, (double)v, false);
    metric_word *w = metric_cell_quick(s->cell.slot);
    if (__builtin_expect(!w, 0))
        return false;
    metric_bump(w, (uint64_t)v);
    return true;
}

void sonde_bound_add(struct sonde_bound *b, int64_t v)
{
    if (!b || !atomic_load_explicit(b->on, memory_order_relaxed) || (v < 0 && b->rising))
        return;
    if (tls_span || !b->single || !quick_int(b->series[0], v))
        bound_int(b, v);
}

void sonde_bound_add_f64(struct sonde_bound *b, double v)
{
    if (!b || !atomic_load_explicit(b->on, memory_order_relaxed))
        return;
    if (__builtin_expect(!tls_span && b->single, 1) && quick_f64(b->series[0], v, b->rising))
        return;
    if (number(v) && !(v < 0 && b->rising))
        bound_f64(b, v);
}

static bool add_ok(const struct sonde_instrument *i, bool negative)
{
    return i && !i->async && wanted(i, negative);
}

void sonde_instrument_add(struct sonde_instrument *i, int64_t v, const struct sonde_field *attributes, size_t n)
{
    if (!add_ok(i, v < 0))
        return;
    struct meter_attrs set;
    meter_attrs_read(&set, attributes, n);
    for (uint32_t k = 0; k < i->n_streams; k++) {
        struct meter_series *s = meter_series_with(&i->streams[k], &set);
        if (!s)
            continue;
        put_int(s, v);
        if (exemplar(i))
            meter_offer(s, (double)v, set.f, set.n);
    }
}

void sonde_instrument_add_f64(struct sonde_instrument *i, double v, const struct sonde_field *attributes, size_t n)
{
    if (!isfinite(v) || !add_ok(i, v < 0))
        return;
    struct meter_attrs set;
    meter_attrs_read(&set, attributes, n);
    for (uint32_t k = 0; k < i->n_streams; k++) {
        struct meter_series *s = meter_series_with(&i->streams[k], &set);
        if (!s)
            continue;
        put_f64(s, v);
        if (exemplar(i))
            meter_offer(s, v, set.f, set.n);
    }
}

struct sonde_bound *sonde_instrument_bind(struct sonde_instrument *i, const struct sonde_field *attributes, size_t n)
{
    if (!i || i->async)
        return NULL;
    struct sonde_meter_provider *p = i->meter->provider;
    struct meter_attrs set;
    meter_attrs_read(&set, attributes, n);
    pthread_mutex_lock(&p->lock);
    struct sonde_bound *b = arena_zalloc(&p->arena, sizeof *b + i->n_streams * sizeof b->series[0]);
    if (b && !(b->attributes = meter_attrs_copy(&p->arena, set.f, set.n)))
        b = NULL;
    pthread_mutex_unlock(&p->lock);
    if (!b)
        return NULL;
    b->on = &i->meter->on;
    b->rising = i->rising;
    b->always = atomic_load_explicit(&p->exemplars, memory_order_relaxed) == SONDE_EXEMPLARS_ALWAYS_ON;
    b->n_attributes = set.n;
    for (uint32_t k = 0; k < i->n_streams; k++)
        if ((b->series[b->n] = meter_series_with(&i->streams[k], &set)))
            b->n++;
    b->single = b->n == 1 && !b->always;
    return b->n == i->n_streams ? b : NULL;
}
