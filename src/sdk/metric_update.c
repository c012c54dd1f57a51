// Updates, and exemplars that are taken along.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "sdk/env.h"
#include "sdk/metric.h"
#include "sdk/sdk.h"
#include <math.h>
#include <stdlib.h>

// ---- exemplars ------------------------------------------------------------------------------------------------------
static uint32_t exemplar_places(const struct metric_series *s)
{
    return s->kind == METRIC_HISTOGRAM ? s->bounds->n + 1 : 1;
}

static struct metric_exemplar *places(struct metric_series *s)
{
    struct metric_exemplar *e = atomic_load_explicit(&s->exemplars, memory_order_acquire);
    if (e)
        return e;
    uint32_t n = exemplar_places(s);
    struct metric_exemplar *made = mem_zalloc(n * sizeof *made), *other = NULL;
    for (uint32_t i = 0; made && i < n; i++) {
        atomic_init(&made[i].shown, true);
        atomic_flag_clear_explicit(&made[i].busy, memory_order_relaxed);
    }
    if (made && atomic_compare_exchange_strong_explicit(&s->exemplars, &other, made, memory_order_acq_rel, memory_order_acquire))
        return made;
    mem_free(made);
    return other;
}

// Takes labels over (or ids); false and nothing taken if another thread is at it.
static bool exemplar_put(struct metric_exemplar *e, double v, const struct sonde_context *c, char *labels)
{
    int64_t now = clock_wall_ns();
    if (atomic_flag_test_and_set_explicit(&e->busy, memory_order_acquire))
        return false;
    char *old = e->labels;
    e->labels = labels;
    if (c) {
        memcpy(e->ids, c->trace_id, 16);
        memcpy(e->ids + 16, c->span_id, 8);
    }
    e->value = v;
    e->time = now;
    e->set = true;
    atomic_store_explicit(&e->shown, false, memory_order_relaxed);
    atomic_flag_clear_explicit(&e->busy, memory_order_release);
    mem_free(old);
    return true;
}

static atomic_int filter; // 0: not asked yet, 1: trace based, 2: off

static bool filter_on(void)
{
    int f = atomic_load_explicit(&filter, memory_order_relaxed);
    if (!f) {
        const char *text = env_get("OTEL_METRICS_EXEMPLAR_FILTER");
        f = text && strcmp(text, "always_off") == 0 ? 2 : 1;
        atomic_store_explicit(&filter, f, memory_order_relaxed);
    }
    return f == 1;
}

// Once between two scrapes: otherwise an update in a span costs one look at the flag.
__attribute__((noinline)) void metric_exemplar_offer(struct metric_series *s, uint32_t i, double v)
{
    const struct sonde_context *c = sonde_current();
    if (!c || !(c->flags & 1) || !filter_on())
        return;
    struct metric_exemplar *e = places(s);
    if (e && atomic_load_explicit(&e[i].shown, memory_order_relaxed))
        exemplar_put(&e[i], v, c, NULL);
}

static inline void exemplar(struct metric_series *s, uint32_t i, double v)
{
    if (!tls_span)
        return;
    struct metric_exemplar *e = atomic_load_explicit(&s->exemplars, memory_order_acquire);
    if (!e || atomic_load_explicit(&e[i].shown, memory_order_relaxed))
        metric_exemplar_offer(s, i, v);
}

bool metric_exemplar_read(struct metric_series *s, uint32_t i, struct buf *b, double *value, int64_t *time)
{
    struct metric_exemplar *e = atomic_load_explicit(&s->exemplars, memory_order_acquire);
    if (!e)
        return false;
    e += i;
    while (atomic_flag_test_and_set_explicit(&e->busy, memory_order_acquire))
        ; // held for a few copies
    bool set = e->set;
    if (set) {
        if (e->labels) {
            buf_str(b, e->labels);
        } else {
            buf_str(b, "{trace_id=\"");
            buf_hex(b, e->ids, 16);
            buf_str(b, "\",span_id=\"");
            buf_hex(b, e->ids + 16, 8);
            buf_str(b, "\"}");
        }
        *value = e->value;
        *time = e->time;
        atomic_store_explicit(&e->shown, true, memory_order_relaxed);
    }
    atomic_flag_clear_explicit(&e->busy, memory_order_release);
    return set;
}

static size_t runes(struct slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

// The labels as {a="b"}, malloc'd; null if they are invalid or too long.
static char *exemplar_labels(const struct sonde_label *labels, size_t n)
{
    struct buf b;
    size_t length = 0;
    buf_init(&b, 8 * METRIC_EXEMPLAR_RUNES + 16);
    buf_char(&b, '{');
    for (size_t i = 0; i < n; i++) {
        char clean[METRIC_NAME_MAX + 2];
        struct slice name = slice_str(labels[i].name), value = slice_str(labels[i].value);
        bool valid = value.p && metric_label_clean(clean, labels[i].name) == ERR_OK && slice_eq(name, slice_str(clean)) &&
                     utf8_valid(value);
        for (size_t k = 0; valid && k < i; k++)
            valid = strcmp(labels[k].name, labels[i].name) != 0;
        length += valid ? runes(name) + runes(value) : METRIC_EXEMPLAR_RUNES + 1;
        if (length > METRIC_EXEMPLAR_RUNES)
            goto out;
        buf_put(&b, ",", i > 0);
        buf_add(&b, name);
        buf_str(&b, "=\"");
        metric_text_label(&b, value);
        buf_char(&b, '"');
    }
    buf_put(&b, "}", 2);
    if (b.err == ERR_OK)
        return b.p;
out:
    buf_free(&b);
    return NULL;
}

static bool exemplar_given(struct metric_series *s, uint32_t i, double v, const struct sonde_label *labels, size_t n)
{
    char *text = labels || n == 0 ? exemplar_labels(labels, n) : NULL;
    struct metric_exemplar *e = text ? places(s) : NULL;
    if (e && exemplar_put(&e[i], v, NULL, text))
        return true;
    mem_free(text);
    return e != NULL; // another thread's is as good
}

// ---- counters -------------------------------------------------------------------------------------------------------
static inline bool amount(double v)
{
    return v >= 0 && v <= 1.7976931348623157e308;
}

static bool counter_add(struct metric_series *s, double v)
{
    metric_word *w = s && amount(v) ? metric_cell(s->slot) : NULL;
    if (!w)
        return false;
    metric_bump_f64(w, v);
    return true;
}

void sonde_counter_add(struct sonde_counter *c, double v)
{
    struct metric_series *s = (struct metric_series *)c;
    if (counter_add(s, v))
        exemplar(s, 0, v);
}

bool sonde_counter_add_exemplar(struct sonde_counter *c, double v, const struct sonde_label *labels, size_t n)
{
    struct metric_series *s = (struct metric_series *)c;
    return counter_add(s, v) && exemplar_given(s, 0, v, labels, n);
}

static inline bool int_counter_add(struct metric_series *s, uint64_t v)
{
    metric_word *w = s ? metric_cell(s->slot) : NULL;
    if (!w)
        return false;
    metric_bump(w, v);
    return true;
}

void sonde_int_counter_add(struct sonde_int_counter *c, uint64_t v)
{
    struct metric_series *s = (struct metric_series *)c;
    if (int_counter_add(s, v))
        exemplar(s, 0, (double)v);
}

bool sonde_int_counter_add_exemplar(struct sonde_int_counter *c, uint64_t v, const struct sonde_label *labels, size_t n)
{
    struct metric_series *s = (struct metric_series *)c;
    return int_counter_add(s, v) && exemplar_given(s, 0, (double)v, labels, n);
}

double sonde_counter_value(const struct sonde_counter *c)
{
    const struct metric_series *s = (const struct metric_series *)c;
    return s ? metric_sum_f64(s->slot) : 0;
}

uint64_t sonde_int_counter_value(const struct sonde_int_counter *c)
{
    const struct metric_series *s = (const struct metric_series *)c;
    return s ? metric_sum_u64(s->slot) : 0;
}

// ---- gauges ---------------------------------------------------------------------------------------------------------
void sonde_gauge_set(struct sonde_gauge *g, double v)
{
    struct metric_series *s = (struct metric_series *)g;
    if (s)
        atomic_store_explicit(&s->value, metric_bits(v), memory_order_relaxed);
}

void sonde_gauge_add(struct sonde_gauge *g, double v)
{
    struct metric_series *s = (struct metric_series *)g;
    if (!s)
        return;
    uint64_t old = atomic_load_explicit(&s->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&s->value, &old, metric_bits(metric_double(old) + v), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

double sonde_gauge_value(const struct sonde_gauge *g)
{
    const struct metric_series *s = (const struct metric_series *)g;
    return s ? metric_double(atomic_load_explicit(&s->value, memory_order_relaxed)) : 0;
}

void sonde_int_gauge_set(struct sonde_int_gauge *g, int64_t v)
{
    struct metric_series *s = (struct metric_series *)g;
    if (s)
        atomic_store_explicit(&s->value, (uint64_t)v, memory_order_relaxed);
}

void sonde_int_gauge_set_uint(struct sonde_int_gauge *g, uint64_t v)
{
    sonde_int_gauge_set(g, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

void sonde_int_gauge_add(struct sonde_int_gauge *g, int64_t v)
{
    struct metric_series *s = (struct metric_series *)g;
    if (s)
        atomic_fetch_add_explicit(&s->value, (uint64_t)v, memory_order_relaxed);
}

int64_t sonde_int_gauge_value(const struct sonde_int_gauge *g)
{
    const struct metric_series *s = (const struct metric_series *)g;
    return s ? (int64_t)atomic_load_explicit(&s->value, memory_order_relaxed) : 0;
}

// ---- histograms -----------------------------------------------------------------------------------------------------
// Bucket of the value; METRIC_NO_BUCKET: not counted.
static inline uint32_t observe(struct metric_series *s, double v)
{
    if (__builtin_expect(s->kind == METRIC_NATIVE, 0))
        return metric_native_observe(s->slot, v) ? 0 : METRIC_NO_BUCKET;
    uint32_t i = metric_bounds_find(s->bounds, v);
    metric_word *w = i != METRIC_NO_BUCKET ? metric_cell(s->slot) : NULL;
    if (!w)
        return METRIC_NO_BUCKET;
    metric_bump(w + 1 + i, 1);
    metric_bump_f64(w, v);
    return i;
}

// Of its own, so that neither kind saves registers for the other.
__attribute__((noinline, aligned(64))) static void observe_native(struct metric_series *s, double v)
{
    if (metric_native_observe(s->slot, v))
        exemplar(s, 0, v);
}

void sonde_histogram_observe(struct sonde_histogram *h, double v)
{
    struct metric_series *s = (struct metric_series *)h;
    if (s && s->kind == METRIC_NATIVE) {
        observe_native(s, v);
        return;
    }
    uint32_t i = s ? observe(s, v) : METRIC_NO_BUCKET;
    if (i != METRIC_NO_BUCKET)
        exemplar(s, i, v);
}

bool sonde_histogram_observe_exemplar(struct sonde_histogram *h, double v, const struct sonde_label *labels, size_t n)
{
    struct metric_series *s = (struct metric_series *)h;
    uint32_t i = s ? observe(s, v) : METRIC_NO_BUCKET;
    return i != METRIC_NO_BUCKET && exemplar_given(s, i, v, labels, n);
}
