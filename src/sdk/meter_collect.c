// What a reader gets: the streams of a provider as points, in an arena of the collection.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "sdk/meter.h"
#include <math.h>

void meter_collection_init(struct sonde_collection *c, const uint8_t *temporality, struct meter_states *states,
                           const struct sonde_metric_filter *filter)
{
    *c = (struct sonde_collection){.temporality = temporality, .states = states, .filter = filter, .now = clock_wall_ns()};
    c->last = &c->first;
    arena_init(&c->arena, 2 * MAX_METRIC_MEMORY);
}

void meter_collection_free(struct sonde_collection *c)
{
    arena_free(&c->arena);
}

bool meter_passes(const struct sonde_collection *c, const struct sonde_metric_data *d)
{
    return !c->filter || !c->filter->metric || c->filter->metric(c->filter->arg, d->scope, d->name, d->kind, d->unit);
}

// Takes d with its points, which lie in the arena or with a producer; those that the filter refuses are left out.
struct meter_metric *meter_metric_add(struct sonde_collection *c, const struct sonde_metric_data *d, const char *resource)
{
    struct meter_metric *m = d->n_points ? ARENA_NEW(&c->arena, struct meter_metric) : NULL;
    if (!m) {
        c->failed = c->failed || d->n_points;
        return NULL;
    }
    *m = (struct meter_metric){.d = *d, .resource = resource};
    *c->last = m;
    c->last = &m->next;
    c->n_points += d->n_points;
    return m;
}

static bool point_passes(const struct sonde_collection *c, const struct sonde_metric_data *d, const struct sonde_point *p)
{
    return !c->filter || !c->filter->point || c->filter->point(c->filter->arg, d->scope, d->name, p->attributes, p->n_attributes);
}

// ---- callbacks ------------------------------------------------------------------------------------------------------
struct sonde_observer {
    struct sonde_meter_provider *p;
    uint64_t turn;
    int64_t now;
};

static void total_put(struct meter_series *s, const struct sonde_observer *o, double f, int64_t i)
{
    bool again = s->turn == o->turn && s->stream->aggregation == SONDE_AGGREGATION_SUM; // two sets that a view made one
    if (s->turn == 0)
        s->start = s->stream->instrument->before;
    s->turn = o->turn;
    uint64_t old = again ? atomic_load_explicit(&s->cell.value, memory_order_relaxed) : 0;
    bool whole = s->cell.kind == METRIC_INT_COUNTER || s->cell.kind == METRIC_INT_GAUGE;
    uint64_t v = whole ? old + (uint64_t)i : metric_bits((again ? metric_double(old) : 0) + f);
    atomic_store_explicit(&s->cell.value, v, memory_order_relaxed);
}

static void observe(struct sonde_observer *o, struct sonde_instrument *i, double f, int64_t v,
                    const struct sonde_field *attributes, size_t n)
{
    struct meter_attrs set;
    if (!o || !i || !i->async || i->meter->provider != o->p || !atomic_load_explicit(&i->meter->on, memory_order_relaxed))
        return;
    meter_attrs_read(&set, attributes, n);
    for (uint32_t k = 0; k < i->n_streams; k++) {
        struct meter_series *s = meter_series_with(&i->streams[k], &set);
        if (s) {
            total_put(s, o, f, v);
            meter_offer(s, f, set.f, set.n);
        }
    }
}

void sonde_observe(struct sonde_observer *o, struct sonde_instrument *i, int64_t v, const struct sonde_field *attributes,
                   size_t n)
{
    observe(o, i, (double)v, v, attributes, n);
}

void sonde_observe_f64(struct sonde_observer *o, struct sonde_instrument *i, double v, const struct sonde_field *attributes,
                       size_t n)
{
    if (isfinite(v))
        observe(o, i, v, fabs(v) < 0x1p63 ? llround(v) : v > 0 ? INT64_MAX : INT64_MIN, attributes, n);
}

// ---- points ---------------------------------------------------------------------------------------------------------
static bool native_point(struct sonde_collection *c, const struct metric_series *s, struct sonde_point *p)
{
    struct metric_native n;
    metric_native_read(s, &n);
    p->count = n.count;
    p->sum = n.sum;
    p->zero = n.zero;
    p->scale = n.scale;
    for (int side = 0; side < 2; side++) {
        const struct metric_native_side *from = side ? &n.negative : &n.positive;
        uint64_t *counts = ARENA_ARRAY(&c->arena, uint64_t, from->n);
        if (!counts)
            return false;
        memcpy(counts, from->count, from->n * sizeof *counts);
        *(side ? &p->negative : &p->positive) = (struct sonde_buckets_f){from->min, from->n, counts};
    }
    return true;
}

bool meter_point_read(struct sonde_collection *c, const struct metric_series *s, struct sonde_point *p)
{
    uint64_t v = atomic_load_explicit(&s->value, memory_order_relaxed), *counts;
    switch (s->kind) {
    case METRIC_COUNTER:
        p->f = s->absolute ? metric_double(v) : metric_sum_f64(s->slot);
        return true;
    case METRIC_INT_COUNTER:
        p->i = (int64_t)(s->absolute ? v : metric_sum_u64(s->slot));
        return true;
    case METRIC_GAUGE:
        p->f = metric_double(v);
        return v != METER_NOT_SET_F64;
    case METRIC_INT_GAUGE:
        p->i = (int64_t)v;
        return v != METER_NOT_SET_INT;
    case METRIC_HISTOGRAM:
        counts = ARENA_ARRAY(&c->arena, uint64_t, s->bounds->n + 1);
        if (!counts)
            return false;
        p->count = metric_histogram_read(s, counts, &p->sum);
        p->counts = counts;
        p->positive.n = s->bounds->n + 1; // for meter_temporality
        return true;
    default:
        return native_point(c, s, p);
    }
}

// The smallest and largest value of what the point counts: since the series began, or since this reader of deltas was last told.
static void extremes_read(struct sonde_collection *c, struct meter_series *s, bool delta, struct sonde_point *p)
{
    struct meter_extremes *mine = s->readers;
    unsigned n = 0;
    for (; mine && mine->reader != c->states; mine = mine->next)
        n++;
    bool known = !delta || mine || n < METER_EXTREMES_READERS;
    if (delta && !mine && known) {
        struct sonde_meter_provider *provider = s->stream->instrument->meter->provider;
        pthread_mutex_lock(&provider->lock);
        mine = ARENA_NEW(&provider->arena, struct meter_extremes);
        pthread_mutex_unlock(&provider->lock);
        known = mine != NULL;
        if (mine) { // nothing was told yet
            *mine = (struct meter_extremes){s->readers, c->states, s->taken_low, s->taken_high};
            s->readers = mine;
        }
    }
    bool take = s->readers != NULL; // without readers of deltas what is there may stay there
    uint64_t none = metric_bits(INFINITY), none_high = metric_bits(-INFINITY);
    double low = metric_double(take ? atomic_exchange(&s->low, none) : atomic_load(&s->low));
    double high = metric_double(take ? atomic_exchange(&s->high, none_high) : atomic_load(&s->high));
    s->taken_low = fmin(s->taken_low, low);
    s->taken_high = fmax(s->taken_high, high);
    for (struct meter_extremes *r = s->readers; r; r = r->next) {
        r->low = fmin(r->low, low);
        r->high = fmax(r->high, high);
    }
    p->min = mine ? mine->low : s->taken_low;
    p->max = mine ? mine->high : s->taken_high;
    p->has_min_max = known && p->count && p->min <= p->max;
    if (mine) {
        mine->low = INFINITY;
        mine->high = -INFINITY;
    }
}

static enum sonde_data_kind data_kind(const struct meter_stream *s)
{
    static const uint8_t kinds[] = {[SONDE_AGGREGATION_SUM] = SONDE_DATA_SUM,
                                    [SONDE_AGGREGATION_LAST_VALUE] = SONDE_DATA_GAUGE,
                                    [SONDE_AGGREGATION_EXPLICIT_HISTOGRAM] = SONDE_DATA_HISTOGRAM,
                                    [SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM] = SONDE_DATA_EXPONENTIAL};
    return kinds[s->aggregation];
}

static bool series_point(struct sonde_collection *c, const struct sonde_metric_data *d, struct meter_series *s, uint64_t turn,
                         struct sonde_point *p)
{
    if (s->stream->instrument->async && s->turn != turn)
        return false;
    *p = (struct sonde_point){.attributes = s->attributes, .n_attributes = s->n_attributes, .time_ns = c->now};
    p->start_ns = d->kind == SONDE_DATA_GAUGE ? 0 : s->start;
    if (!point_passes(c, d, p) || !meter_point_read(c, &s->cell, p))
        return false;
    if (s->stream->extremes)
        extremes_read(c, s, d->temporality == SONDE_TEMPORALITY_DELTA, p);
    if (!meter_temporality(c, d->kind, d->monotonic, d->f64, SONDE_TEMPORALITY_CUMULATIVE, d->temporality, s->cell.serial, p))
        return false;
    p->exemplars = meter_exemplars(s, &c->arena, d->temporality == SONDE_TEMPORALITY_DELTA ? p->start_ns : 0, &p->n_exemplars);
    return true;
}

static void stream_collect(struct sonde_collection *c, struct meter_stream *s, uint64_t turn)
{
    struct sonde_instrument *i = s->instrument;
    struct sonde_metric_data d = {.scope = &i->meter->scope,
                                  .name = s->name,
                                  .unit = i->unit,
                                  .description = s->description,
                                  .kind = data_kind(s),
                                  .temporality = (enum sonde_temporality)c->temporality[i->kind],
                                  .f64 = s->kind == METRIC_COUNTER || s->kind == METRIC_GAUGE,
                                  .monotonic = i->rising || i->kind == SONDE_INSTRUMENT_ASYNC_COUNTER};
    struct meter_series *first = atomic_load_explicit(&s->first, memory_order_acquire);
    uint32_t n = 0, room = 0;
    if (s->bounds) {
        d.bounds = s->bounds->bound;
        d.n_bounds = s->bounds->n;
    }
    if (!meter_passes(c, &d))
        return;
    for (struct meter_series *x = first; x; x = __atomic_load_n(&x->next, __ATOMIC_ACQUIRE))
        room++;
    struct sonde_point *points = ARENA_ARRAY(&c->arena, struct sonde_point, room);
    if (!points) {
        c->failed = true;
        return;
    }
    for (struct meter_series *x = first; x && n < room; x = __atomic_load_n(&x->next, __ATOMIC_ACQUIRE))
        n += series_point(c, &d, x, turn, &points[n]);
    d.points = points;
    d.n_points = n;
    meter_metric_add(c, &d, i->meter->provider->resource);
}

void meter_collect_provider(struct sonde_collection *c, struct sonde_meter_provider *p, uint32_t config)
{
    pthread_mutex_lock(&p->collecting);
    struct sonde_observer o = {p, ++p->turn, c->now};
    for (struct meter_callback *k = p->callbacks; k; k = k->next)
        if (atomic_load_explicit(&k->instrument->meter->on, memory_order_relaxed))
            k->fn(k->arg, &o);
    c->now = clock_wall_ns();
    for (struct sonde_meter *m = atomic_load_explicit(&p->first, memory_order_acquire); m;
         m = __atomic_load_n(&m->next, __ATOMIC_ACQUIRE)) {
        if (!atomic_load_explicit(&m->on, memory_order_relaxed))
            continue;
        for (struct sonde_instrument *i = atomic_load_explicit(&m->first, memory_order_acquire); i;
             i = __atomic_load_n(&i->next, __ATOMIC_ACQUIRE)) {
            for (uint32_t k = 0; k < i->n_streams; k++)
                if (i->streams[k].configs >> config & 1)
                    stream_collect(c, &i->streams[k], p->turn);
            i->before = c->now;
        }
    }
    pthread_mutex_unlock(&p->collecting);
    c->failed = c->failed || arena_failed(&c->arena);
}

// ---- producers ------------------------------------------------------------------------------------------------------
static uint64_t key_of(const struct sonde_metric_data *d, const struct sonde_point *p)
{
    uint64_t h = hash64(d->name, strlen(d->name));
    h = hash_mix(h, d->scope ? hash64(d->scope->name, strlen(d->scope->name)) : 0);
    return hash_mix(h + d->kind, meter_attrs_hash(p->attributes, (uint32_t)p->n_attributes)) | 1ull << 63;
}

bool sonde_collection_add(struct sonde_collection *c, const struct sonde_metric_data *m)
{
    static const struct sonde_scope none = {.name = "", .version = "", .schema_url = ""};
    // the kinds of instruments that such data would come from: their temporality is what the reader wants
    enum sonde_instrument_kind kind = m->kind == SONDE_DATA_SUM && m->monotonic ? SONDE_INSTRUMENT_ASYNC_COUNTER
                                      : m->kind == SONDE_DATA_SUM               ? SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER
                                                                                : SONDE_INSTRUMENT_HISTOGRAM;
    struct sonde_metric_data d = *m;
    d.scope = d.scope ? d.scope : &none;
    d.unit = d.unit ? d.unit : "";
    d.description = d.description ? d.description : "";
    enum sonde_temporality have =
        m->temporality == SONDE_TEMPORALITY_DELTA ? SONDE_TEMPORALITY_DELTA : SONDE_TEMPORALITY_CUMULATIVE;
    d.temporality = (enum sonde_temporality)c->temporality[kind];
    if (!meter_passes(c, &d))
        return true;
    struct sonde_point *points = ARENA_ARRAY(&c->arena, struct sonde_point, m->n_points);
    d.n_points = 0;
    d.points = points;
    for (size_t i = 0; points && i < m->n_points; i++) {
        struct sonde_point *p = &points[d.n_points];
        struct meter_attrs set;
        *p = m->points[i];
        meter_attrs_read(&set, p->attributes, p->n_attributes);
        p->attributes = meter_attrs_copy(&c->arena, set.f, set.n);
        p->n_attributes = p->attributes ? set.n : 0;
        p->time_ns = p->time_ns ? p->time_ns : c->now;
        p->has_min_max = p->has_min_max && have == d.temporality; // not known of a total of deltas, nor of a difference
        if (d.kind == SONDE_DATA_HISTOGRAM)
            p->positive.n = d.n_bounds + 1;
        if (p->attributes && point_passes(c, &d, p) &&
            meter_temporality(c, d.kind, d.monotonic, d.f64, have, d.temporality, key_of(&d, p), p))
            d.n_points++;
    }
    if (!points || c->failed || arena_failed(&c->arena)) {
        c->failed = true;
        return false;
    }
    meter_metric_add(c, &d, "");
    return !c->failed;
}

// ---- batches --------------------------------------------------------------------------------------------------------
bool meter_batch(struct sonde_collection *c, struct meter_metric **m, size_t *at, size_t max_points, struct sonde_metrics *out)
{
    size_t n = 0, points = 0;
    const char *resource = *m ? (*m)->resource : "";
    for (struct meter_metric *k = *m; k && strcmp(k->resource, resource) == 0; k = k->next)
        n++;
    struct sonde_metric_data *d = n ? ARENA_ARRAY(&c->arena, struct sonde_metric_data, n) : NULL;
    if (!d) {
        c->failed = c->failed || n;
        return false;
    }
    *out = (struct sonde_metrics){.resource = resource, .metrics = d};
    while (*m && out->n < n && (!max_points || points < max_points)) {
        size_t left = (*m)->d.n_points - *at, take = max_points && left > max_points - points ? max_points - points : left;
        d[out->n] = (*m)->d;
        d[out->n].points += *at;
        d[out->n++].n_points = take;
        points += take;
        *at += take;
        if (*at == (*m)->d.n_points) {
            *m = (*m)->next;
            *at = 0;
        }
    }
    out->n_points = points;
    return true;
}
