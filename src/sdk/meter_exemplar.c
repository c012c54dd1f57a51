// Reservoirs of exemplars: one a bucket of explicit histograms, a few by chance (each measurement since the last collection has
// the same one) of everything else, or the user's own.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "sdk/meter.h"
#include "sdk/sdk.h"

static struct meter_reservoir *reservoir(struct meter_series *s)
{
    struct meter_reservoir *r = atomic_load_explicit(&s->reservoir, memory_order_acquire), *other = NULL;
    if (r)
        return r;
    const struct sonde_reservoir *own = s->stream->reservoir;
    uint32_t n = own                                ? 0
                 : s->cell.kind == METRIC_HISTOGRAM ? s->cell.bounds->n + 1
                 : s->cell.kind == METRIC_NATIVE    ? METER_RESERVOIR_NATIVE
                                                    : METER_RESERVOIR;
    r = mem_zalloc(sizeof *r + n * sizeof r->e[0]);
    if (!r)
        return NULL;
    r->n = n;
    for (uint32_t i = 0; i < n; i++) {
        atomic_init(&r->e[i].shown, true);
        atomic_flag_clear_explicit(&r->e[i].busy, memory_order_relaxed);
    }
    r->custom = own && own->make ? own->make(own->arg) : NULL;
    if (atomic_compare_exchange_strong_explicit(&s->reservoir, &other, r, memory_order_acq_rel, memory_order_acquire))
        return r;
    if (r->custom && own->free)
        own->free(r->custom);
    mem_free(r);
    return other;
}

static bool in_series(const struct meter_series *s, const char *key)
{
    for (uint32_t i = 0; i < s->n_attributes; i++)
        if (strcmp(s->attributes[i].key, key) == 0)
            return true;
    return false;
}

// The attributes that the series does not have, copied behind each other; without memory none.
static void dropped_keep(struct meter_exemplar *e, const struct meter_series *s, const struct sonde_field *all, uint32_t n)
{
    const struct sonde_field *left[METER_ATTRIBUTES];
    size_t need = 0;
    uint32_t n_left = 0;
    e->n_attributes = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (in_series(s, all[i].key))
            continue;
        left[n_left++] = &all[i];
        need += sizeof **left + strlen(all[i].key) + 1 + (all[i].type == SONDE_TYPE_STR ? all[i].arg.n + 1 : 0);
    }
    if (need > e->room) {
        struct sonde_field *more = mem_realloc(e->attributes, need);
        if (!more)
            return;
        e->attributes = more;
        e->room = need;
    }
    char *text = (char *)(e->attributes + n_left);
    for (uint32_t i = 0; i < n_left; i++) {
        struct sonde_field *to = &e->attributes[i];
        size_t key = strlen(left[i]->key) + 1;
        *to = *left[i];
        to->key = memcpy(text, left[i]->key, key);
        text += key;
        if (to->type == SONDE_TYPE_STR) {
            to->arg.value.s = memcpy(text, left[i]->arg.value.s, to->arg.n);
            text += to->arg.n;
            *text++ = 0;
        }
    }
    e->n_attributes = n_left;
}

static void put(struct meter_exemplar *e, struct meter_series *s, double v, const struct sonde_field *all, uint32_t n)
{
    const struct sonde_context *c = sonde_current();
    if (atomic_flag_test_and_set_explicit(&e->busy, memory_order_acquire))
        return; // another thread's is as good
    e->value = v;
    e->time = clock_wall_ns();
    e->has_span = c != NULL;
    if (c) {
        memcpy(e->ids, c->trace_id, 16);
        memcpy(e->ids + 16, c->span_id, 8);
    }
    dropped_keep(e, s, all, n);
    e->set = true;
    atomic_store_explicit(&e->shown, false, memory_order_relaxed);
    atomic_flag_clear_explicit(&e->busy, memory_order_release);
}

void meter_offer(struct meter_series *s, double v, const struct sonde_field *all, uint32_t n)
{
    const struct sonde_context *c = sonde_current();
    unsigned char filter = atomic_load_explicit(&s->stream->instrument->meter->provider->exemplars, memory_order_relaxed);
    if (filter == SONDE_EXEMPLARS_ALWAYS_OFF || (filter == SONDE_EXEMPLARS_TRACE_BASED && (!c || !(c->flags & 1))))
        return;
    struct meter_reservoir *r = reservoir(s);
    if (!r)
        return;
    if (s->stream->reservoir) {
        if (r->custom && s->stream->reservoir->offer)
            s->stream->reservoir->offer(r->custom, v, all, n, c, clock_wall_ns());
        return;
    }
    uint32_t at;
    if (s->cell.kind == METRIC_HISTOGRAM) { // once between two collections
        at = metric_bounds_find(s->cell.bounds, v);
        if (at == METRIC_NO_BUCKET || !atomic_load_explicit(&r->e[at].shown, memory_order_relaxed))
            return;
    } else {
        at = atomic_load_explicit(&r->seen, memory_order_relaxed); // approximate where threads meet
        atomic_store_explicit(&r->seen, at + 1, memory_order_relaxed);
        if (at >= r->n)
            at = (uint32_t)(random_u64() % ((uint64_t)at + 1));
        if (at >= r->n)
            return;
    }
    put(&r->e[at], s, v, all, n);
}

static bool take(struct meter_exemplar *e, struct arena *a, int64_t since, struct sonde_exemplar *out)
{
    while (atomic_flag_test_and_set_explicit(&e->busy, memory_order_acquire))
        ; // held for a few copies
    bool ok = e->set && e->time >= since;
    if (ok) {
        *out = (struct sonde_exemplar){.value = e->value, .time_ns = e->time, .has_span = e->has_span};
        memcpy(out->trace_id, e->ids, 16);
        memcpy(out->span_id, e->ids + 16, 8);
        out->attributes = meter_attrs_copy(a, e->attributes, e->n_attributes);
        out->n_attributes = out->attributes ? e->n_attributes : 0;
    }
    atomic_store_explicit(&e->shown, true, memory_order_relaxed);
    atomic_flag_clear_explicit(&e->busy, memory_order_release);
    return ok;
}

const struct sonde_exemplar *meter_exemplars(struct meter_series *s, struct arena *a, int64_t since, size_t *n)
{
    struct meter_reservoir *r = atomic_load_explicit(&s->reservoir, memory_order_acquire);
    const struct sonde_reservoir *own = s->stream->reservoir;
    *n = 0;
    if (!r)
        return NULL;
    size_t max = own ? METER_ATTRIBUTES : r->n;
    struct sonde_exemplar *out = ARENA_ARRAY(a, struct sonde_exemplar, max);
    if (!out)
        return NULL;
    if (own)
        *n = r->custom && own->collect ? own->collect(r->custom, out, max) : 0;
    for (uint32_t i = 0; i < r->n; i++)
        *n += take(&r->e[i], a, since, &out[*n]);
    atomic_store_explicit(&r->seen, 0, memory_order_relaxed);
    return out;
}

void meter_reservoir_free(struct meter_series *s)
{
    struct meter_reservoir *r = atomic_load_explicit(&s->reservoir, memory_order_acquire);
    if (!r)
        return;
    for (uint32_t i = 0; i < r->n; i++)
        mem_free(r->e[i].attributes);
    if (r->custom && s->stream->reservoir->free)
        s->stream->reservoir->free(r->custom);
    mem_free(r);
}
