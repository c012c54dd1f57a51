// The series of a metric: made once, found without a lock, kept until the root is freed.
#include "base/alloc.h"
#include "base/utf8.h"
#include "sdk/metric.h"

uint32_t metric_words(const struct metric_series *s)
{
    switch (s->kind) {
    case METRIC_HISTOGRAM:
        return s->bounds->n + 2; // sum, buckets, +Inf
    case METRIC_NATIVE:
        return metric_native_words();
    default:
        return 1;
    }
}

struct slice metric_text_keep(struct arena *a, const char *s, size_t max)
{
    struct slice text = slice_cut(slice_str(s), max);
    struct buf clean;
    if (utf8_valid(text))
        return arena_dup(a, text);
    buf_init(&clean, 3 * max);
    utf8_append_clean(&clean, text);
    text = clean.err == ERR_OK ? arena_dup(a, buf_slice(&clean)) : SLICE_NONE;
    buf_free(&clean);
    return text;
}

static bool labels_render(struct metric_series *s, struct arena *a)
{
    const struct metric_family *f = s->metric->family;
    struct buf b;
    buf_init(&b, SONDE_METRIC_LABELS_MAX * (METRIC_NAME_MAX + 6 * METRIC_VALUE_MAX));
    for (uint32_t i = 0; i < f->n_labels; i++) {
        buf_put(&b, ",", i > 0);
        buf_add(&b, f->labels[i]);
        buf_put(&b, "=\"", 2);
        metric_text_label(&b, s->values[i]);
        buf_char(&b, '"');
    }
    s->labels = arena_dup(a, buf_slice(&b));
    bool ok = b.err == ERR_OK && s->labels.p;
    buf_free(&b);
    return ok;
}

static int by_values(const struct metric_series *a, const struct metric_series *b)
{
    for (uint32_t i = 0, n = a->metric->family->n_labels; i < n; i++) {
        int c = slice_cmp(a->values[i], b->values[i]);
        if (c)
            return c;
    }
    return 0;
}

static bool family_add(struct metric_family *f, struct metric_series *s, struct arena *a)
{
    if (f->n_series == f->series_cap) {
        uint32_t cap = f->series_cap ? 2 * f->series_cap : 4;
        struct metric_series **more = ARENA_ARRAY(a, struct metric_series *, cap);
        if (!more)
            return false;
        if (f->n_series)
            memcpy(more, f->series, f->n_series * sizeof *more);
        f->series = more;
        f->series_cap = cap;
    }
    uint32_t lo = 0, hi = f->n_series;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (by_values(f->series[mid], s) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    memmove(f->series + lo + 1, f->series + lo, (f->n_series - lo) * sizeof *f->series);
    f->series[lo] = s;
    f->n_series++;
    return true;
}

struct metric_series *metric_series_make(struct metric *m, const struct slice *given, uint64_t hash, bool overflow)
{
    struct metric_family *f = m->family;
    struct arena *a = &m->registry->root->arena;
    struct metric_series *s = ARENA_NEW(a, struct metric_series);
    if (!s)
        return NULL;
    s->values = ARENA_ARRAY(a, struct slice, f->n_labels);
    s->given = ARENA_ARRAY(a, struct slice, m->n_vars);
    if (!s->values || !s->given)
        return NULL;
    s->metric = m;
    s->kind = (uint8_t)f->kind;
    s->bounds = m->bounds;
    s->hash = hash;
    s->serial = metric_serial();
    for (uint32_t i = 0; i < m->n_vars; i++) {
        s->given[i] = overflow ? SLICE("__overflow__") : arena_dup(a, given[i]);
        if (!s->given[i].p)
            return NULL;
    }
    for (uint32_t i = 0; i < f->n_labels; i++)
        s->values[i] = m->from[i] & 1 ? s->given[m->from[i] / 2] : m->constant[m->from[i] / 2];
    if (!labels_render(s, a))
        return NULL;
    s->slot = METRIC_NO_SLOT;
    if (s->kind != METRIC_GAUGE && s->kind != METRIC_INT_GAUGE) {
        s->slot = metric_slots_take(metric_words(s));
        if (s->slot == METRIC_NO_SLOT)
            return NULL;
    }
    if (!family_add(f, s, a)) {
        if (s->slot != METRIC_NO_SLOT)
            metric_slots_give(s->slot, metric_words(s));
        return NULL;
    }
    return s;
}

// ---- vectors --------------------------------------------------------------------------------------------------------
static uint64_t hash_values(const struct slice *v, uint32_t n)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < n; i++)
        h = hash_mix(h, hash64(v[i].p, v[i].n));
    return h;
}

static struct metric_series *table_find(const struct metric *m, const struct slice *v, uint64_t hash)
{
    const struct metric_table *t = atomic_load_explicit(&m->table, memory_order_acquire);
    if (!t)
        return NULL;
    for (uint32_t i = (uint32_t)hash & t->mask;; i = (i + 1) & t->mask) {
        struct metric_series *s = atomic_load_explicit(&t->slot[i], memory_order_acquire);
        if (!s)
            return NULL;
        bool same = s->hash == hash;
        for (uint32_t k = 0; same && k < m->n_vars; k++)
            same = slice_eq(s->given[k], v[k]);
        if (same)
            return s;
    }
}

static void table_put(struct metric_table *t, struct metric_series *s)
{
    uint32_t i = (uint32_t)s->hash & t->mask;
    while (atomic_load_explicit(&t->slot[i], memory_order_relaxed))
        i = (i + 1) & t->mask;
    atomic_store_explicit(&t->slot[i], s, memory_order_release);
    t->n++;
}

// A table with room for one more; the old ones stay in the arena for those who are reading them.
static struct metric_table *table_room(struct metric *m)
{
    struct metric_table *t = atomic_load_explicit(&m->table, memory_order_relaxed);
    if (t && 2 * (t->n + 1) <= t->mask)
        return t;
    uint32_t size = t ? 2 * (t->mask + 1) : 16;
    struct metric_table *more = arena_zalloc(&m->registry->root->arena, sizeof *more + size * sizeof more->slot[0]);
    if (!more)
        return NULL;
    more->mask = size - 1;
    for (uint32_t i = 0; t && i <= t->mask; i++) {
        struct metric_series *s = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
        if (s)
            table_put(more, s);
    }
    atomic_store_explicit(&m->table, more, memory_order_release);
    return more;
}

// One more refused label set; the family of the count appears with the first.
static void count_overflow(struct metric *m)
{
    struct metric_family *f = m->family;
    struct sonde_registry *root = m->registry->root;
    if (!f->overflowed) {
        static const char *const names[] = {"family"};
        if (!root->overflow)
            root->overflow =
                metric_register(root, SONDE_INT_COUNTER_VEC,
                                &(struct sonde_metric_options){.name = "sonde_metrics_overflow_total",
                                                               .help = "label sets beyond the limit of a metric's series",
                                                               .label_names = names,
                                                               .n_label_names = 1},
                                true, false, NULL);
        if (root->overflow)
            f->overflowed = metric_series_make(root->overflow, &f->name, hash_values(&f->name, 1), false);
    }
    if (f->overflowed)
        sonde_int_counter_add((struct sonde_int_counter *)f->overflowed, 1);
}

static struct metric_series *overflow_of(struct metric *m)
{
    struct metric_series *s = atomic_load_explicit(&m->overflow, memory_order_acquire);
    if (!s) {
        s = metric_series_make(m, NULL, 0, true);
        atomic_store_explicit(&m->overflow, s, memory_order_release);
    }
    count_overflow(m);
    return s;
}

// Cleaned copies of the values stand in text.
static void values_clean(struct slice *v, uint32_t n, struct buf *text)
{
    size_t at[SONDE_METRIC_LABELS_MAX + 1];
    for (uint32_t i = 0; i < n; i++) {
        at[i] = text->n;
        utf8_append_clean(text, v[i]);
    }
    at[n] = text->n;
    for (uint32_t i = 0; text->err == ERR_OK && i < n; i++)
        v[i] = slice_of(text->p ? text->p + at[i] : "", at[i + 1] - at[i]);
}

static struct metric_series *find_or_make(struct metric *m, struct slice *v)
{
    struct buf text;
    buf_init(&text, 3 * METRIC_VALUE_MAX * SONDE_METRIC_LABELS_MAX);
    values_clean(v, m->n_vars, &text);
    uint64_t hash = hash_values(v, m->n_vars);
    struct sonde_registry *root = m->registry->root;
    pthread_mutex_lock(&root->lock);
    struct metric_series *s = table_find(m, v, hash);
    if (!s && text.err == ERR_OK) {
        bool named = true; // as the shared one: there is but one series of those labels
        for (uint32_t i = 0; i < m->n_vars; i++)
            named = named && slice_eq(v[i], SLICE("__overflow__"));
        struct metric_table *t = !named && m->family->n_series < m->family->max_series ? table_room(m) : NULL;
        s = t ? metric_series_make(m, v, hash, false) : NULL;
        if (s)
            table_put(t, s);
        else
            s = overflow_of(m);
    }
    pthread_mutex_unlock(&root->lock);
    buf_free(&text);
    return s;
}

struct metric_series *metric_with(struct metric *m, const char *const *values, size_t n)
{
    if (!m || n != m->n_vars || !values)
        return NULL;
    struct slice v[SONDE_METRIC_LABELS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        v[i] = slice_of(values[i] ? values[i] : "", values[i] ? strnlen(values[i], METRIC_VALUE_MAX + 1) : 0);
        if (v[i].n > METRIC_VALUE_MAX) // cut in front of a character
            for (v[i].n = METRIC_VALUE_MAX; v[i].n > 0 && ((unsigned char)v[i].p[v[i].n] & 0xc0) == 0x80;)
                v[i].n--;
    }
    struct metric_series *s = table_find(m, v, hash_values(v, m->n_vars));
    return s ? s : find_or_make(m, v);
}

#define WITH(name)                                                                                                  \
    struct sonde_##name *sonde_##name##_vec_with(struct sonde_##name##_vec *v, const char *const *values, size_t n) \
    {                                                                                                               \
        return (struct sonde_##name *)metric_with((struct metric *)v, values, n);                                   \
    }
WITH(counter)
WITH(int_counter)
WITH(gauge)
WITH(int_gauge)
WITH(histogram)
