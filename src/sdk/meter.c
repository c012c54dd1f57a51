// Providers, meters, instruments, and what views make of them.
#define SONDE_TARGET "sonde::metrics"
#include "sdk/meter.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include <math.h>
#include <strings.h>

pthread_mutex_t meter_all_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
struct sonde_meter_provider *meter_all;
static struct sonde_meter_provider *own_default;
static _Atomic(struct sonde_meter_provider *) set_default;

static const char *dup(struct arena *a, const char *s)
{
    return arena_dup(a, slice_str(s ? s : "")).p;
}
static const char *dup_or_null(struct arena *a, const char *s, bool *ok)
{
    const char *copy = s ? dup(a, s) : NULL;
    *ok = *ok && (copy || !s);
    return copy;
}
static const char *const *dup_list(struct arena *a, const char *const *list, size_t n, bool *ok)
{
    const char **copy = list ? ARENA_ARRAY(a, const char *, n) : NULL;
    *ok = *ok && (copy || !list);
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = dup_or_null(a, list[i] ? list[i] : "", ok);
    return copy;
}

// ---- providers ------------------------------------------------------------------------------------------------------
static unsigned char filter_of(enum sonde_exemplar_filter f)
{
    static const uint8_t words[] = {SONDE_EXEMPLARS_TRACE_BASED, SONDE_EXEMPLARS_ALWAYS_ON, SONDE_EXEMPLARS_ALWAYS_OFF};
    int at = f == SONDE_EXEMPLARS_ENV ? env_choice("OTEL_METRICS_EXEMPLAR_FILTER") : -1;
    return f != SONDE_EXEMPLARS_ENV ? (unsigned char)f : words[at > 0 && at < 3 ? at : 0];
}

static bool ascending(const double *b, size_t n)
{
    bool ok = n <= SONDE_BUCKETS_MAX && (b || n == 0);
    for (size_t i = 0; ok && i < n; i++)
        ok = !isnan(b[i]) && (i == 0 || b[i] > b[i - 1]);
    return ok;
}

static const struct metric_bounds *bounds_make(struct arena *a, const double *b, size_t n)
{
    n -= n > 0 && isinf(b[n - 1]) && b[n - 1] > 0;
    return metric_bounds_new(a, b, n);
}

static bool view_copy(struct sonde_meter_provider *p, const struct sonde_view *from, size_t at)
{
    struct arena *a = &p->arena;
    struct sonde_view *v = &p->views[at];
    bool ok = true;
    *v = *from;
    v->instrument_name = dup_or_null(a, v->instrument_name, &ok);
    v->unit = dup_or_null(a, v->unit, &ok);
    v->meter_name = dup_or_null(a, v->meter_name, &ok);
    v->meter_version = dup_or_null(a, v->meter_version, &ok);
    v->meter_schema_url = dup_or_null(a, v->meter_schema_url, &ok);
    v->name = dup_or_null(a, v->name, &ok);
    if (v->description)
        v->description = metric_text_keep(a, v->description, METER_DESCRIPTION_MAX).p;
    ok = ok && (v->description || !from->description);
    v->keep = dup_list(a, v->keep, v->n_keep, &ok);
    v->leave_out = dup_list(a, v->leave_out, v->n_leave_out, &ok);
    if (v->name && v->instrument_name && strpbrk(v->instrument_name, "*?")) {
        SONDE_WARN("a view that may select several instruments cannot give them one name; its name is not used",
                   SONDE_STR("view", v->instrument_name), SONDE_STR("name", v->name));
        v->name = NULL;
    }
    if (v->aggregation >= SONDE_AGGREGATIONS)
        v->aggregation = SONDE_AGGREGATION_DEFAULT;
    if ((v->bounds || v->n_bounds) && !ascending(v->bounds, v->n_bounds)) {
        SONDE_WARN("a view's bounds must ascend and be at most 512; they are not used",
                   SONDE_STR("view", v->instrument_name ? v->instrument_name : "*"));
        v->bounds = NULL;
    }
    if (v->bounds)
        ok = (p->view_bounds[at] = (struct metric_bounds *)bounds_make(a, v->bounds, v->n_bounds)) && ok;
    return ok;
}

static bool provider_fill(struct sonde_meter_provider *p, const struct sonde_meter_provider_options *o)
{
    arena_init(&p->arena, MAX_METRIC_MEMORY);
    p->resource = dup(&p->arena, o->resource);
    p->views = ARENA_ARRAY(&p->arena, struct sonde_view, o->n_views);
    p->view_bounds = ARENA_ARRAY(&p->arena, struct metric_bounds *, o->n_views);
    if (!p->resource || !p->views || !p->view_bounds)
        return false;
    for (size_t i = 0; i < o->n_views; i++)
        if (!view_copy(p, &o->views[i], i))
            return false;
    p->n_views = o->n_views;
    p->first_view_only = o->first_view_only;
    p->is_private = o->is_private;
    atomic_init(&p->exemplars, filter_of(o->exemplar_filter));
    return pthread_mutex_init(&p->lock, NULL) == 0 && pthread_mutex_init(&p->collecting, NULL) == 0;
}

struct sonde_meter_provider *sonde_meter_provider_new(const struct sonde_meter_provider_options *o)
{
    static const struct sonde_meter_provider_options defaults;
    struct sonde_meter_provider *p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    if (!provider_fill(p, o ? o : &defaults)) {
        arena_free(&p->arena);
        mem_free(p);
        return NULL;
    }
    if (!p->is_private) { // what the library's export will ask for
        bool ok;
        struct meter_config c = {0};
        if (env_choice("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION") == 1)
            c.aggregation[SONDE_INSTRUMENT_HISTOGRAM] = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM;
        meter_config_of(p, &c, &ok);
    }
    pthread_mutex_lock(&meter_all_lock);
    p->next = meter_all;
    meter_all = p;
    pthread_mutex_unlock(&meter_all_lock);
    return p;
}

struct sonde_meter_provider *sonde_meter_provider_default(void)
{
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    struct sonde_meter_provider *p = atomic_load_explicit(&set_default, memory_order_acquire);
    if (p)
        return p;
    pthread_mutex_lock(&making);
    bool fresh = !own_default;
    if (fresh)
        own_default = sonde_meter_provider_new(NULL);
    p = own_default;
    pthread_mutex_unlock(&making);
    if (fresh && env_on("SONDE_SELF_METRICS"))
        sonde_meter_provider_add_self(p);
    return p;
}

void sonde_meter_provider_set_default(struct sonde_meter_provider *p)
{
    atomic_store_explicit(&set_default, p, memory_order_release);
}

static void instrument_free(struct sonde_instrument *i)
{
    for (uint32_t k = 0; k < i->n_streams; k++)
        for (struct meter_series *s = atomic_load_explicit(&i->streams[k].first, memory_order_acquire); s; s = s->next) {
            meter_reservoir_free(s);
            if (s->cell.slot != METRIC_NO_SLOT)
                metric_slots_give(s->cell.slot, metric_words(&s->cell));
        }
}

void sonde_meter_provider_free(struct sonde_meter_provider *p)
{
    if (!p)
        return;
    sonde_meter_provider_shutdown(p, 1000);
    pthread_mutex_lock(&meter_all_lock);
    struct sonde_meter_provider **at = &meter_all;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    if (own_default == p)
        own_default = NULL;
    pthread_mutex_unlock(&meter_all_lock);
    struct sonde_meter_provider *mine = p;
    atomic_compare_exchange_strong(&set_default, &mine, NULL);
    meter_self_gone(p);
    if (!meter_readers_free(p->readers))
        return; // a hanging exporter still uses it: better lost than freed
    while (p->callbacks) {
        struct meter_callback *c = p->callbacks->next;
        mem_free(p->callbacks);
        p->callbacks = c;
    }
    for (struct sonde_meter *m = atomic_load_explicit(&p->first, memory_order_acquire); m; m = m->next)
        for (struct sonde_instrument *i = atomic_load_explicit(&m->first, memory_order_acquire); i; i = i->next)
            instrument_free(i);
    mem_free(p->rules);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->collecting);
    arena_free(&p->arena);
    mem_free(p);
}

// The config of these wishes, a new one if it is new; *ok false: no more room for one.
uint32_t meter_config_of(struct sonde_meter_provider *p, const struct meter_config *c, bool *ok)
{
    struct meter_config full = *c;
    for (int k = 1; k < SONDE_INSTRUMENT_KINDS; k++) {
        full.aggregation[k] = full.aggregation[k] ? full.aggregation[k] : full.aggregation[0];
        full.cardinality[k] = full.cardinality[k]   ? full.cardinality[k]
                              : full.cardinality[0] ? full.cardinality[0]
                                                    : METER_CARDINALITY;
    }
    full.aggregation[0] = 0;
    full.cardinality[0] = 0;
    *ok = true;
    for (uint32_t i = 0; i < p->n_configs; i++)
        if (memcmp(&p->configs[i], &full, sizeof full) == 0)
            return i;
    bool instruments = false;
    for (struct sonde_meter *m = atomic_load_explicit(&p->first, memory_order_relaxed); m; m = m->next)
        instruments = instruments || atomic_load_explicit(&m->first, memory_order_relaxed);
    *ok = p->n_configs < METER_CONFIGS && !instruments;
    if (*ok)
        p->configs[p->n_configs++] = full;
    return *ok ? p->n_configs - 1 : 0;
}

// ---- meters ---------------------------------------------------------------------------------------------------------
static void rules_apply(const struct sonde_meter_provider *p, struct sonde_meter *m)
{
    bool on = !p->stopped;
    for (size_t i = p->n_rules; on && i-- > 0;)
        if (meter_match(p->rules[i].meter_name, m->scope.name, false)) {
            on = !p->rules[i].off;
            break;
        }
    atomic_store_explicit(&m->on, on, memory_order_relaxed);
}

bool sonde_meter_provider_configure(struct sonde_meter_provider *p, const struct sonde_meter_rule *rules, size_t n)
{
    size_t texts = 0;
    for (size_t i = 0; i < n; i++)
        texts += rules[i].meter_name ? strlen(rules[i].meter_name) + 1 : 0;
    struct sonde_meter_rule *copy = p ? mem_alloc(n * sizeof *copy + texts) : NULL;
    if (!copy)
        return false;
    char *text = (char *)(copy + n);
    for (size_t i = 0; i < n; i++) {
        copy[i] = rules[i];
        if (rules[i].meter_name) {
            size_t length = strlen(rules[i].meter_name) + 1;
            copy[i].meter_name = memcpy(text, rules[i].meter_name, length);
            text += length;
        }
    }
    pthread_mutex_lock(&p->lock);
    mem_free(p->rules);
    p->rules = copy;
    p->n_rules = n;
    for (struct sonde_meter *m = atomic_load_explicit(&p->first, memory_order_relaxed); m; m = m->next)
        rules_apply(p, m);
    pthread_mutex_unlock(&p->lock);
    return true;
}

static bool same_scope(const struct sonde_scope *a, const struct sonde_scope *b, const struct meter_attrs *attrs)
{
    return strcmp(a->name, b->name ? b->name : "") == 0 && strcmp(a->version, b->version ? b->version : "") == 0 &&
           strcmp(a->schema_url, b->schema_url ? b->schema_url : "") == 0 &&
           meter_attrs_equal(a->attributes, (uint32_t)a->n_attributes, attrs->f, attrs->n);
}

static struct sonde_meter *meter_make(struct sonde_meter_provider *p, const struct sonde_scope *from,
                                      const struct meter_attrs *attrs)
{
    struct arena *a = &p->arena;
    struct sonde_meter *m = ARENA_NEW(a, struct sonde_meter);
    if (!m)
        return NULL;
    m->provider = p;
    m->scope.name = dup(a, from->name);
    m->scope.version = dup(a, from->version);
    m->scope.schema_url = dup(a, from->schema_url);
    m->scope.attributes = meter_attrs_copy(a, attrs->f, attrs->n);
    m->scope.n_attributes = attrs->n;
    if (!m->scope.name || !m->scope.version || !m->scope.schema_url || !m->scope.attributes)
        return NULL;
    rules_apply(p, m);
    if (p->last)
        __atomic_store_n(&p->last->next, m, __ATOMIC_RELEASE);
    else
        atomic_store_explicit(&p->first, m, memory_order_release);
    p->last = m;
    return m;
}

struct sonde_meter *sonde_meter_get(struct sonde_meter_provider *p, const struct sonde_scope *scope)
{
    static const struct sonde_scope none;
    struct meter_attrs attrs;
    p = p ? p : sonde_meter_provider_default();
    if (!p)
        return NULL;
    scope = scope ? scope : &none;
    meter_attrs_read(&attrs, scope->attributes, scope->n_attributes);
    pthread_mutex_lock(&p->lock);
    struct sonde_meter *m = atomic_load_explicit(&p->first, memory_order_relaxed);
    while (m && !same_scope(&m->scope, scope, &attrs))
        m = m->next;
    bool fresh = !m;
    if (fresh)
        m = meter_make(p, scope, &attrs);
    pthread_mutex_unlock(&p->lock);
    if (fresh && !(scope->name && *scope->name))
        SONDE_WARN("a meter without a name: its metrics will show an empty scope name; give it the name of the library");
    return m;
}

// ---- instruments ----------------------------------------------------------------------------------------------------
static bool name_ok(const char *s)
{
    size_t n = s ? strlen(s) : 0;
    if (n == 0 || n > METER_NAME_MAX || !((s[0] >= 'a' && s[0] <= 'z') || (s[0] >= 'A' && s[0] <= 'Z')))
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/") == n;
}

static bool unit_ok(const char *s)
{
    size_t n = 0;
    while (s && s[n] && n <= METER_UNIT_MAX && (unsigned char)s[n] < 0x80)
        n++;
    return !s || (s[n] == 0 && n <= METER_UNIT_MAX);
}

static bool view_selects(const struct sonde_view *v, const struct sonde_instrument *i)
{
    const struct sonde_scope *s = &i->meter->scope;
    return meter_match(v->instrument_name, i->name, true) && (v->kind == 0 || v->kind == i->kind) &&
           meter_match(v->unit, i->unit, false) && meter_match(v->meter_name, s->name, false) &&
           meter_match(v->meter_version, s->version, false) && meter_match(v->meter_schema_url, s->schema_url, false);
}

static enum sonde_aggregation by_kind(enum sonde_instrument_kind k)
{
    return k == SONDE_INSTRUMENT_HISTOGRAM                                    ? SONDE_AGGREGATION_EXPLICIT_HISTOGRAM
           : k == SONDE_INSTRUMENT_GAUGE || k == SONDE_INSTRUMENT_ASYNC_GAUGE ? SONDE_AGGREGATION_LAST_VALUE
                                                                              : SONDE_AGGREGATION_SUM;
}

// An aggregation that the kind cannot have becomes its default, with a warning.
static enum sonde_aggregation aggregation_for(const struct sonde_instrument *i, enum sonde_aggregation wanted)
{
    bool gauge = i->kind == SONDE_INSTRUMENT_GAUGE || i->kind == SONDE_INSTRUMENT_ASYNC_GAUGE;
    if (wanted == SONDE_AGGREGATION_DEFAULT)
        return by_kind(i->kind);
    if ((wanted == SONDE_AGGREGATION_SUM && gauge) || (wanted >= SONDE_AGGREGATION_EXPLICIT_HISTOGRAM && i->async)) {
        SONDE_WARN("this aggregation does not fit to the kind of the instrument; its default is used",
                   SONDE_STR("instrument", i->name), SONDE_INT("aggregation", wanted), SONDE_INT("kind", i->kind));
        return by_kind(i->kind);
    }
    return wanted;
}

static const double default_bounds[] = {0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000};

struct draft {
    struct sonde_instrument *i;
    const struct sonde_instrument_options *o;
    const struct metric_bounds *advice; // made once
    const char *const *keys;
    bool failed;
};

static const struct metric_bounds *advice(struct draft *d)
{
    const double *b = d->o->bounds;
    size_t n = d->o->n_bounds;
    if (!d->advice) {
        if (!b || !ascending(b, n)) {
            if (b)
                SONDE_WARN("an instrument's advised bounds must ascend and be at most 512; the usual ones are used",
                           SONDE_STR("instrument", d->i->name));
            b = default_bounds;
            n = sizeof default_bounds / sizeof *b;
        }
        d->advice = bounds_make(&d->i->meter->provider->arena, b, n);
        d->failed = d->failed || !d->advice;
    }
    return d->advice;
}

static bool stream_make(struct draft *d, const struct sonde_view *v, uint32_t config, struct meter_stream *s)
{
    struct sonde_instrument *i = d->i;
    struct sonde_meter_provider *p = i->meter->provider;
    const struct meter_config *c = &p->configs[config];
    enum sonde_aggregation want = v && v->aggregation ? v->aggregation : (enum sonde_aggregation)c->aggregation[i->kind];
    if (want == SONDE_AGGREGATION_DROP)
        return false;
    *s = (struct meter_stream){.instrument = i, .configs = 1u << config, .aggregation = aggregation_for(i, want)};
    s->name = v && v->name ? v->name : i->name;
    s->description = v && v->description ? v->description : i->description;
    s->cardinality = v && v->cardinality ? v->cardinality : c->cardinality[i->kind];
    s->reservoir = v ? v->reservoir : NULL;
    s->extremes = s->aggregation >= SONDE_AGGREGATION_EXPLICIT_HISTOGRAM && !(v && v->no_min_max);
    s->keep = v && v->keep ? v->keep : v && v->leave_out ? NULL : d->keys;
    s->n_keep = v && v->keep ? v->n_keep : s->keep ? d->o->n_attributes : 0;
    s->leave_out = v ? v->leave_out : NULL;
    s->n_leave_out = v && v->leave_out ? v->n_leave_out : 0;
    s->filters = s->keep || s->n_leave_out;
    switch (s->aggregation) {
    case SONDE_AGGREGATION_EXPLICIT_HISTOGRAM:
        s->kind = METRIC_HISTOGRAM;
        s->bounds = v && v->bounds ? p->view_bounds[v - p->views] : advice(d);
        break;
    case SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM:
        s->kind = METRIC_NATIVE;
        break;
    case SONDE_AGGREGATION_LAST_VALUE:
        s->kind = i->f64 ? METRIC_GAUGE : METRIC_INT_GAUGE;
        break;
    default:
        s->kind = i->f64 ? METRIC_COUNTER : METRIC_INT_COUNTER;
    }
    return true;
}

static void streams_add(struct draft *d, const struct sonde_view *v, struct meter_stream *to, uint32_t *n)
{
    uint32_t first = *n;
    for (uint32_t c = 0; c < d->i->meter->provider->n_configs && *n < METER_STREAMS; c++) {
        struct meter_stream s;
        if (!stream_make(d, v, c, &s))
            continue;
        uint32_t k = first;
        while (k < *n && !(to[k].aggregation == s.aggregation && to[k].cardinality == s.cardinality))
            k++;
        if (k < *n)
            to[k].configs |= s.configs;
        else
            to[(*n)++] = s;
    }
}

static bool streams_make(struct draft *d)
{
    struct sonde_meter_provider *p = d->i->meter->provider;
    struct meter_stream made[METER_STREAMS];
    bool any = false, ok = true;
    uint32_t n = 0;
    if (p->n_configs == 0)
        meter_config_of(p, &(struct meter_config){0}, &ok);
    for (size_t v = 0; v < p->n_views && !(any && p->first_view_only); v++) {
        if (!view_selects(&p->views[v], d->i))
            continue;
        any = true;
        streams_add(d, &p->views[v], made, &n);
    }
    if (!any)
        streams_add(d, NULL, made, &n);
    d->i->streams = ARENA_ARRAY(&p->arena, struct meter_stream, n);
    if (!d->i->streams || d->failed)
        return false;
    memcpy(d->i->streams, made, n * sizeof *made);
    d->i->n_streams = n;
    return true;
}

static struct sonde_instrument *instrument_make(struct sonde_meter *m, enum sonde_instrument_kind kind, const char *name,
                                                const char *unit, const struct sonde_instrument_options *o)
{
    struct arena *a = &m->provider->arena;
    struct sonde_instrument *i = ARENA_NEW(a, struct sonde_instrument);
    bool ok = i != NULL;
    if (!ok)
        return NULL;
    *i = (struct sonde_instrument){.meter = m, .kind = kind, .f64 = o->f64, .born = clock_wall_ns()};
    i->name = dup(a, name);
    i->unit = dup(a, unit);
    i->description = metric_text_keep(a, o->description, METER_DESCRIPTION_MAX).p;
    i->rising = kind == SONDE_INSTRUMENT_COUNTER || kind == SONDE_INSTRUMENT_HISTOGRAM;
    i->async = kind >= SONDE_INSTRUMENT_ASYNC_COUNTER;
    i->before = i->born;
    struct draft d = {.i = i, .o = o, .keys = dup_list(a, o->attributes, o->n_attributes, &ok)};
    ok = ok && i->name && i->unit && i->description && streams_make(&d);
    if (!ok)
        return NULL;
    if (m->last)
        __atomic_store_n(&m->last->next, i, __ATOMIC_RELEASE);
    else
        atomic_store_explicit(&m->first, i, memory_order_release);
    m->last = i;
    return i;
}

struct sonde_instrument *sonde_instrument_new(struct sonde_meter *m, enum sonde_instrument_kind kind,
                                              const struct sonde_instrument_options *o)
{
    if (!m || !o || kind < SONDE_INSTRUMENT_COUNTER || kind >= SONDE_INSTRUMENT_KINDS)
        return NULL;
    if (!name_ok(o->name)) {
        SONDE_WARN("an instrument's name must be a letter, then up to 254 letters, digits, _ . - or /; it is not made",
                   SONDE_STR("meter", m->scope.name), SONDE_STR("name", o->name));
        return NULL;
    }
    const char *unit = o->unit ? o->unit : "";
    if (!unit_ok(unit)) {
        SONDE_WARN("an instrument's unit must be at most 63 ASCII characters; it is left out", SONDE_STR("name", o->name),
                   SONDE_STR("unit", unit));
        unit = "";
    }
    pthread_mutex_lock(&m->provider->lock);
    struct sonde_instrument *first = NULL, *same = NULL;
    for (struct sonde_instrument *i = atomic_load_explicit(&m->first, memory_order_relaxed); i && !same; i = i->next) {
        if (strcasecmp(i->name, o->name) != 0)
            continue;
        first = first ? first : i;
        same = i->kind == kind && i->f64 == o->f64 && strcmp(i->unit, unit) == 0 ? i : NULL;
    }
    const char *name = first ? first->name : o->name;
    struct sonde_instrument *i = same ? same : instrument_make(m, kind, name, unit, o);
    pthread_mutex_unlock(&m->provider->lock);
    if (first && !same)
        SONDE_WARN(
            "an instrument of this name has another kind, unit or value type; both are exported under one name. Rename one, by a "
            "view if it is not yours",
            SONDE_STR("meter", m->scope.name), SONDE_STR("instrument", name));
    else if (same && (strcmp(same->name, o->name) != 0 || (o->description && strcmp(same->description, o->description) != 0)))
        SONDE_WARN("an instrument was made before with another description or other capitals; the first ones stay",
                   SONDE_STR("meter", m->scope.name), SONDE_STR("instrument", name));
    return i;
}

bool sonde_instrument_enabled(const struct sonde_instrument *i)
{
    return i && i->n_streams && atomic_load_explicit(&i->meter->on, memory_order_relaxed);
}

// ---- callbacks ------------------------------------------------------------------------------------------------------
bool sonde_instrument_callback(struct sonde_instrument *i, sonde_observe_fn *fn, void *arg)
{
    if (!i || !i->async || !fn)
        return false;
    struct sonde_meter_provider *p = i->meter->provider;
    struct meter_callback *c = mem_alloc(sizeof *c), **end = &p->callbacks;
    if (!c)
        return false;
    *c = (struct meter_callback){NULL, fn, arg, i};
    pthread_mutex_lock(&p->collecting);
    while (*end)
        end = &(*end)->next;
    *end = c;
    pthread_mutex_unlock(&p->collecting);
    return true;
}

void sonde_instrument_callback_remove(struct sonde_instrument *i, sonde_observe_fn *fn, void *arg)
{
    if (!i)
        return;
    struct sonde_meter_provider *p = i->meter->provider;
    pthread_mutex_lock(&p->collecting);
    struct meter_callback **at = &p->callbacks;
    while (*at && !((*at)->fn == fn && (*at)->arg == arg && (*at)->instrument == i))
        at = &(*at)->next;
    struct meter_callback *c = *at;
    if (c)
        *at = c->next;
    pthread_mutex_unlock(&p->collecting);
    mem_free(c);
}
