// What may be registered. Everything is checked and allocated before anything is linked in, and all is linked in one place (the
// root's table): a refused metric leaves nothing behind.
#include "base/utf8.h"
#include "sdk/metric.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    enum metric_kind kind;
    bool vec;
} types[] = {
    [SONDE_COUNTER] = {"Counter", METRIC_COUNTER, false},
    [SONDE_COUNTER_VEC] = {"CounterVec", METRIC_COUNTER, true},
    [SONDE_INT_COUNTER] = {"IntCounter", METRIC_INT_COUNTER, false},
    [SONDE_INT_COUNTER_VEC] = {"IntCounterVec", METRIC_INT_COUNTER, true},
    [SONDE_GAUGE] = {"Gauge", METRIC_GAUGE, false},
    [SONDE_GAUGE_VEC] = {"GaugeVec", METRIC_GAUGE, true},
    [SONDE_INT_GAUGE] = {"IntGauge", METRIC_INT_GAUGE, false},
    [SONDE_INT_GAUGE_VEC] = {"IntGaugeVec", METRIC_INT_GAUGE, true},
    [SONDE_HISTOGRAM] = {"Histogram", METRIC_HISTOGRAM, false},
    [SONDE_HISTOGRAM_VEC] = {"HistogramVec", METRIC_HISTOGRAM, true},
    [SONDE_NATIVE_HISTOGRAM] = {"NativeHistogram", METRIC_NATIVE, false},
    [SONDE_NATIVE_HISTOGRAM_VEC] = {"NativeHistogramVec", METRIC_NATIVE, true},
};
static const char *const kind_name[] = {"Counter", "IntCounter", "Gauge", "IntGauge", "Histogram", "NativeHistogram"};

// One label of a metric that is being registered.
struct part {
    struct slice name, value; // value: constant ones
    int var;                  // number of the variable, or -1
};
struct draft {
    struct sonde_registry *r;
    const struct sonde_metric_options *o;
    enum sonde_metric_type type;
    char name[2 * METRIC_NAME_MAX + 4];
    struct part parts[SONDE_METRIC_LABELS_MAX];
    uint32_t n, n_constant;
    bool own;
    struct sonde_metric_error *err;
};

static int by_name(const void *a, const void *b)
{
    return slice_cmp(((const struct part *)a)->name, ((const struct part *)b)->name);
}

static bool part_add(struct draft *d, const char *name, struct slice value, int var, bool user)
{
    char clean[METRIC_NAME_MAX + 2];
    if (metric_label_clean(clean, name) != ERR_OK)
        return metric_refuse(d->err, SONDE_METRIC_NAME,
                             "metric \"%s\": the label name \"%.100s\" holds no letter or digit, or is too long", d->name,
                             name ? name : "(null)");
    if (user && metric_label_automatic(d->r, clean))
        return metric_refuse(d->err, SONDE_METRIC_LABEL_AUTOMATIC,
                             "metric \"%s\": the label \"%s\" is automatic, the registry sets it; leave it out", d->name, clean);
    if (strcmp(clean, "le") == 0 && types[d->type].kind >= METRIC_HISTOGRAM)
        return metric_refuse(d->err, SONDE_METRIC_LABEL_RESERVED,
                             "metric \"%s\": the label \"le\" names a histogram's buckets; take another name", d->name);
    for (uint32_t i = 0; i < d->n; i++)
        if (slice_eq(d->parts[i].name, slice_str(clean)))
            return metric_refuse(d->err, SONDE_METRIC_LABEL_DUPLICATE, "metric \"%s\": the label key \"%s\" is given twice",
                                 d->name, clean);
    if (d->n == SONDE_METRIC_LABELS_MAX)
        return metric_refuse(d->err, SONDE_METRIC_LIMIT, "metric \"%s\": more than %d labels", d->name, SONDE_METRIC_LABELS_MAX);
    struct slice copy = arena_dup(&d->r->root->arena, slice_str(clean));
    if (!copy.p)
        return metric_no_memory(d->err);
    d->parts[d->n++] = (struct part){copy, value, var};
    d->n_constant += var < 0;
    return true;
}

static bool constant_add(struct draft *d, const struct sonde_label *l, bool user)
{
    struct slice v = metric_text_keep(&d->r->root->arena, l->value, METRIC_VALUE_MAX);
    return (v.p || metric_no_memory(d->err)) && part_add(d, l->name, v, -1, user);
}

static bool labels_collect(struct draft *d)
{
    const struct sonde_metric_options *o = d->o;
    for (const struct sonde_registry *r = d->own ? NULL : d->r; r; r = r->parent)
        for (uint32_t i = 0; i < r->n_labels; i++)
            if (!constant_add(d, &r->labels[i], false))
                return false;
    for (size_t i = 0; i < o->n_labels; i++)
        if (!constant_add(d, &o->labels[i], true))
            return false;
    for (size_t i = 0; i < o->n_label_names; i++)
        if (!part_add(d, o->label_names[i], SLICE_NONE, (int)i, true))
            return false;
    qsort(d->parts, d->n, sizeof d->parts[0], by_name);
    return true;
}

static bool arguments_check(struct draft *d)
{
    const struct sonde_metric_options *o = d->o;
    const char *type = types[d->type].name;
    if (o->n_buckets && d->type != SONDE_HISTOGRAM && d->type != SONDE_HISTOGRAM_VEC)
        return metric_refuse(d->err, SONDE_METRIC_BUCKETS, "metric \"%s\": buckets are for Histogram alone, not for %s", d->name,
                             type);
    if (types[d->type].vec && o->n_label_names == 0)
        return metric_refuse(d->err, SONDE_METRIC_LABELS_MISSING, "metric \"%s\": %s needs the names of its variable labels",
                             d->name, type);
    if (!types[d->type].vec && o->n_label_names)
        return metric_refuse(d->err, SONDE_METRIC_LABELS_UNEXPECTED, "metric \"%s\": %s takes no variable label names; use %sVec",
                             d->name, type, type);
    if (o->n_buckets > SONDE_BUCKETS_MAX)
        return metric_refuse(d->err, SONDE_METRIC_BUCKETS, "metric \"%s\": %zu buckets, at most %d are allowed", d->name,
                             o->n_buckets, SONDE_BUCKETS_MAX);
    for (size_t i = 0; i < o->n_buckets; i++)
        if (isnan(o->buckets[i]) || (i && !(o->buckets[i] > o->buckets[i - 1])))
            return metric_refuse(d->err, SONDE_METRIC_BUCKETS,
                                 "metric \"%s\": bucket bounds must ascend, number %zu (%g) does not", d->name, i + 1,
                                 o->buckets[i]);
    return true;
}

struct metric_family *metric_family_find(struct sonde_registry *root, struct slice name, uint32_t *at)
{
    uint32_t lo = 0, hi = root->n_families;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int c = slice_cmp(root->families[mid]->name, name);
        if (c == 0)
            return root->families[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (at)
        *at = lo;
    return NULL;
}

// A histogram's lines have names of their own.
static bool lines_clash(struct draft *d)
{
    static const char *const suffix[] = {"_bucket", "_sum", "_count"};
    struct slice name = slice_str(d->name);
    for (int i = 0; i < 3; i++) {
        char other[sizeof d->name + 8];
        snprintf(other, sizeof other, "%s%s", d->name, suffix[i]);
        struct metric_family *f =
            types[d->type].kind >= METRIC_HISTOGRAM ? metric_family_find(d->r->root, slice_str(other), NULL) : NULL;
        size_t n = strlen(suffix[i]);
        if (!f && name.n > n && memcmp(name.p + name.n - n, suffix[i], n) == 0) {
            f = metric_family_find(d->r->root, slice_cut(name, name.n - n), NULL);
            f = f && f->kind >= METRIC_HISTOGRAM ? f : NULL;
        }
        if (f)
            return !metric_refuse(d->err, SONDE_METRIC_INCONSISTENT,
                                  "metric \"%s\": its lines would have the same names as those of \"%s\"", d->name, f->name.p);
    }
    return false;
}

// Whether the draft fits to what is registered under its name.
static bool family_check(struct draft *d, const struct metric_family *f)
{
    if (f->kind != types[d->type].kind)
        return metric_refuse(d->err, SONDE_METRIC_INCONSISTENT, "metric \"%s\" is registered already as %s, not %s", d->name,
                             kind_name[f->kind], types[d->type].name);
    struct slice help = slice_str(d->o->help);
    if (!utf8_valid(slice_cut(help, METRIC_HELP_MAX)))
        help = metric_text_keep(&d->r->root->arena, d->o->help, METRIC_HELP_MAX);
    if (!slice_eq(f->help, slice_cut(help, METRIC_HELP_MAX)))
        return metric_refuse(d->err, SONDE_METRIC_INCONSISTENT,
                             "metric \"%s\" is registered already with other help text (\"%.100s\")", d->name, f->help.p);
    bool same = f->n_labels == d->n && f->n_constant == d->n_constant;
    uint32_t c = 0;
    for (uint32_t i = 0; same && i < d->n; i++)
        same =
            slice_eq(f->labels[i], d->parts[i].name) && (d->parts[i].var >= 0 || slice_eq(f->constants[c++], d->parts[i].name));
    if (!same)
        return metric_refuse(d->err, SONDE_METRIC_INCONSISTENT,
                             "metric \"%s\" is registered already with another set of label names", d->name);
    for (const struct metric *m = f->metrics; m; m = m->next) {
        bool equal = true;
        c = 0;
        for (uint32_t i = 0; equal && i < d->n; i++)
            equal = d->parts[i].var >= 0 || slice_eq(m->constant[c++], d->parts[i].value);
        if (equal)
            return metric_refuse(d->err, SONDE_METRIC_EXISTS, "metric \"%s\" is registered already with the same constant labels",
                                 d->name);
    }
    return true;
}

static struct metric_family *family_make(struct draft *d)
{
    struct arena *a = &d->r->root->arena;
    struct metric_family *f = ARENA_NEW(a, struct metric_family);
    if (!f)
        return NULL;
    f->labels = ARENA_ARRAY(a, struct slice, d->n);
    f->constants = ARENA_ARRAY(a, struct slice, d->n_constant);
    f->name = arena_dup(a, slice_str(d->name));
    f->help = metric_text_keep(a, d->o->help, METRIC_HELP_MAX);
    f->unit = metric_text_keep(a, d->o->unit, METRIC_NAME_MAX);
    f->kind = types[d->type].kind;
    f->max_series = d->o->max_series ? d->o->max_series : METRIC_SERIES_DEFAULT;
    if (!f->labels || !f->constants || !f->name.p || !f->help.p || !f->unit.p)
        return NULL;
    for (uint32_t i = 0; i < d->n; i++) {
        f->labels[f->n_labels++] = d->parts[i].name;
        if (d->parts[i].var < 0)
            f->constants[f->n_constant++] = d->parts[i].name;
    }
    return f;
}

static const double default_buckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

static struct metric *metric_make(struct draft *d, struct metric_family *f)
{
    struct arena *a = &d->r->root->arena;
    struct metric *m = ARENA_NEW(a, struct metric);
    if (!m)
        return NULL;
    m->constant = ARENA_ARRAY(a, struct slice, d->n_constant);
    m->from = ARENA_ARRAY(a, uint8_t, d->n);
    if (!m->constant || !m->from)
        return NULL;
    m->family = f;
    m->registry = d->r;
    m->n_vars = (uint32_t)d->o->n_label_names;
    uint32_t c = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        const struct part *p = &d->parts[i];
        m->from[i] = (uint8_t)(p->var < 0 ? 2 * c : 2 * (uint32_t)p->var + 1);
        if (p->var < 0)
            m->constant[c++] = p->value;
    }
    if (f->kind == METRIC_HISTOGRAM) {
        size_t n = d->o->n_buckets;
        const double *b = n ? d->o->buckets : default_buckets;
        n = n ? n : sizeof default_buckets / sizeof *default_buckets;
        n -= isinf(b[n - 1]) && b[n - 1] > 0;
        m->bounds = metric_bounds_new(a, b, n);
        if (!m->bounds)
            return NULL;
    }
    return m;
}

static bool family_link(struct sonde_registry *root, struct metric_family *f, uint32_t at)
{
    if (root->n_families == root->families_cap) {
        uint32_t cap = root->families_cap ? 2 * root->families_cap : 32;
        struct metric_family **more = ARENA_ARRAY(&root->arena, struct metric_family *, cap);
        if (!more)
            return false;
        if (root->n_families)
            memcpy(more, root->families, root->n_families * sizeof *more);
        root->families = more;
        root->families_cap = cap;
    }
    memmove(root->families + at + 1, root->families + at, (root->n_families - at) * sizeof *root->families);
    root->families[at] = f;
    root->n_families++;
    return true;
}

static bool name_make(struct draft *d)
{
    char clean[METRIC_NAME_MAX + 2];
    const char *raw = d->o->name;
    if (metric_name_clean(clean, raw) != ERR_OK)
        return metric_refuse(
            d->err, SONDE_METRIC_NAME,
            "the metric name \"%.100s\" cannot be sanitised: it needs at least one letter or digit, in at most %d bytes",
            raw ? raw : "(null)", METRIC_NAME_MAX);
    snprintf(d->name, sizeof d->name, "%s%s", d->own ? "" : d->r->root->prefix.p, clean);
    return true;
}

struct metric *metric_register(struct sonde_registry *r, enum sonde_metric_type type, const struct sonde_metric_options *o,
                               bool own, bool absolute, struct sonde_metric_error *err)
{
    struct draft d = {.r = r, .o = o, .type = type, .own = own, .err = err};
    uint32_t at = 0;
    if (!name_make(&d) || !arguments_check(&d) || !labels_collect(&d) || lines_clash(&d))
        return NULL;
    struct metric_family *old = metric_family_find(r->root, slice_str(d.name), &at);
    if (old && !family_check(&d, old))
        return NULL;
    struct metric_family *f = old ? old : family_make(&d);
    struct metric *m = f ? metric_make(&d, f) : NULL;
    if (!m) {
        metric_no_memory(err);
        return NULL;
    }
    if (m->n_vars == 0) { // before the family is linked: a failure leaves nothing
        m->one = metric_series_make(m, NULL, 0, false);
        if (!m->one) {
            metric_refuse(err, SONDE_METRIC_LIMIT, "metric \"%s\": no room for one more series of this process", d.name);
            return NULL;
        }
        m->one->absolute = absolute;
    }
    if (!old && !family_link(r->root, f, at)) {
        if (m->one && m->one->slot != METRIC_NO_SLOT)
            metric_slots_give(m->one->slot, metric_words(m->one));
        metric_no_memory(err);
        return NULL;
    }
    m->next = f->metrics;
    f->metrics = m;
    return m;
}

void *sonde_metric_new(struct sonde_registry *r, enum sonde_metric_type type, const struct sonde_metric_options *o,
                       struct sonde_metric_error *err)
{
    if (err)
        *err = (struct sonde_metric_error){0};
    if (!r || !o || type < SONDE_COUNTER || type > SONDE_NATIVE_HISTOGRAM_VEC || (o->n_labels && !o->labels) ||
        (o->n_label_names && !o->label_names) || (o->n_buckets && !o->buckets)) {
        metric_refuse(err, SONDE_METRIC_ARGUMENT,
                      "a metric needs a registry, a known type and options whose arrays are not null");
        return NULL;
    }
    for (size_t i = 0; i < o->n_labels; i++)
        if (!o->labels[i].value) {
            metric_refuse(err, SONDE_METRIC_ARGUMENT, "the constant label \"%.100s\" has no value",
                          o->labels[i].name ? o->labels[i].name : "(null)");
            return NULL;
        }
    pthread_mutex_lock(&r->root->lock);
    struct metric *m = metric_register(r, type, o, false, false, err);
    pthread_mutex_unlock(&r->root->lock);
    return !m ? NULL : m->one ? (void *)m->one : (void *)m;
}
