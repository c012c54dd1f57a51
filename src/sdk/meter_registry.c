// Registries as data points: their families, and what engines add to the page as text.
#include "base/alloc.h"
#include "sdk/meter.h"
#include "sdk/metric_parse.h"

static const struct sonde_scope scope = {.name = "dynamo.runtime.metrics", .version = "", .schema_url = ""};

static struct sonde_field field(struct slice key, struct slice value)
{
    return (struct sonde_field){.key = key.p, .type = SONDE_TYPE_STR, .arg = {.value.s = value.p ? value.p : "", .n = value.n}};
}

// An exemplar is kept as text and read by the parser of text; labels that are ids become the ids.
static bool exemplar_read(struct sonde_collection *c, struct metric_series *s, uint32_t i, struct sonde_exemplar *out)
{
    struct buf text;
    struct expfmt e;
    bool ok = false;
    *out = (struct sonde_exemplar){0};
    buf_init(&text, 8 * METRIC_EXEMPLAR_RUNES + 64);
    buf_char(&text, 'x');
    if (!metric_exemplar_read(s, i, &text, &out->value, &out->time_ns))
        goto out;
    buf_str(&text, " 1");
    struct slice copy = text.err == ERR_OK ? arena_dup(&c->arena, buf_slice(&text)) : SLICE_NONE;
    if (!copy.p || expfmt_parse(&e, copy, &c->arena, NULL) != ERR_OK)
        goto out;
    struct sonde_field *f = ARENA_ARRAY(&c->arena, struct sonde_field, e.n_labels);
    for (uint32_t k = 0; f && k < e.n_labels; k++) {
        struct slice name = e.labels[k].name, value = e.labels[k].value;
        if (slice_eq(name, SLICE("trace_id")) && hex_decode(out->trace_id, 16, value))
            out->has_span = true;
        else if (!(slice_eq(name, SLICE("span_id")) && hex_decode(out->span_id, 8, value)))
            f[out->n_attributes++] = field(arena_dup(&c->arena, name), arena_dup(&c->arena, value));
    }
    out->attributes = f;
    ok = f != NULL;
out:
    buf_free(&text);
    return ok;
}

static void exemplars(struct sonde_collection *c, struct metric_series *s, struct sonde_point *p)
{
    if (!atomic_load_explicit(&s->exemplars, memory_order_relaxed))
        return;
    uint32_t n = s->kind == METRIC_HISTOGRAM ? s->bounds->n + 1 : 1;
    struct sonde_exemplar *e = ARENA_ARRAY(&c->arena, struct sonde_exemplar, n);
    for (uint32_t i = 0; e && i < n; i++)
        p->n_exemplars += exemplar_read(c, s, i, &e[p->n_exemplars]);
    p->exemplars = e;
}

// Kind of instrument that such a family would come from: the reader's temporality goes by it.
static enum sonde_instrument_kind as_instrument(enum metric_kind k)
{
    return k >= METRIC_HISTOGRAM ? SONDE_INSTRUMENT_HISTOGRAM
           : k >= METRIC_GAUGE   ? SONDE_INSTRUMENT_GAUGE
                                 : SONDE_INSTRUMENT_COUNTER;
}

static bool series_point(struct sonde_collection *c, const struct sonde_metric_data *d, struct metric_series *s, int64_t start,
                         struct sonde_point *p)
{
    const struct metric_family *f = s->metric->family;
    struct sonde_field *attrs = ARENA_ARRAY(&c->arena, struct sonde_field, f->n_labels);
    if (!attrs)
        return false;
    for (uint32_t i = 0; i < f->n_labels; i++)
        attrs[i] = field(f->labels[i], s->values[i]);
    *p = (struct sonde_point){.attributes = attrs, .n_attributes = f->n_labels, .time_ns = c->now};
    p->start_ns = d->kind == SONDE_DATA_GAUGE ? 0 : start;
    if (!meter_point_read(c, s, p))
        return false;
    if (d->kind != SONDE_DATA_GAUGE)
        exemplars(c, s, p);
    return meter_temporality(c, d->kind, d->monotonic, d->f64, SONDE_TEMPORALITY_CUMULATIVE, d->temporality, s->serial, p);
}

// Series of one family may have different bounds (metrics of two registries): each bounds a metric of its own.
static void family_collect(struct sonde_collection *c, const struct metric_family_view *v, int64_t start)
{
    const struct metric_family *f = v->family;
    struct sonde_metric_data d = {.scope = &scope, .name = f->name.p, .unit = f->unit.p, .description = f->help.p};
    d.kind = f->kind == METRIC_HISTOGRAM ? SONDE_DATA_HISTOGRAM
             : f->kind == METRIC_NATIVE  ? SONDE_DATA_EXPONENTIAL
             : f->kind >= METRIC_GAUGE   ? SONDE_DATA_GAUGE
                                         : SONDE_DATA_SUM;
    d.f64 = f->kind == METRIC_COUNTER || f->kind == METRIC_GAUGE;
    d.monotonic = d.kind == SONDE_DATA_SUM;
    d.temporality = (enum sonde_temporality)c->temporality[as_instrument(f->kind)];
    if (!meter_passes(c, &d))
        return;
    for (uint32_t from = 0, to; from < v->n; from = to) {
        const struct metric_bounds *b = v->series[from]->bounds;
        for (to = from + 1; to < v->n && v->series[to]->bounds == b;)
            to++;
        struct sonde_point *points = ARENA_ARRAY(&c->arena, struct sonde_point, to - from);
        if (!points)
            return;
        d.n_points = 0;
        for (uint32_t i = from; i < to; i++)
            d.n_points += series_point(c, &d, v->series[i], start, &points[d.n_points]);
        d.points = points;
        d.bounds = b ? b->bound : NULL;
        d.n_bounds = b ? b->n : 0;
        meter_metric_add(c, &d, "");
    }
}

// ---- families that came as text -------------------------------------------------------------------------------------
struct text {
    struct sonde_collection *c;
    const struct expfmt *e;
    int64_t start;
};

// A point with the sample's labels but `inner`.
static struct sonde_point text_point(const struct text *t, const struct expfmt_sample *s, struct slice inner, double value)
{
    struct sonde_point p = {.time_ns = t->c->now, .start_ns = t->start, .f = value};
    struct sonde_field *f = ARENA_ARRAY(&t->c->arena, struct sonde_field, s->n_labels);
    for (uint32_t i = 0; f && i < s->n_labels; i++) {
        const struct expfmt_label *l = &t->e->labels[s->first_label + i];
        if (!inner.n || !slice_eq(l->name, inner))
            f[p.n_attributes++] = field(arena_dup(&t->c->arena, l->name), l->value);
    }
    p.attributes = f;
    p.n_attributes = f ? p.n_attributes : 0;
    return p;
}

static void text_add(const struct text *t, const struct expfmt_family *f, struct slice name, enum sonde_data_kind kind,
                     const struct sonde_point *p, const double *bounds, size_t n_bounds)
{
    struct sonde_metric_data d = {
        .scope = &scope, .name = arena_dup(&t->c->arena, name).p, .unit = "", .f64 = true, .kind = kind};
    d.description = arena_dup(&t->c->arena, f->help).p;
    d.monotonic = kind == SONDE_DATA_SUM;
    d.temporality = SONDE_TEMPORALITY_CUMULATIVE;
    d.points = p;
    d.n_points = 1;
    d.bounds = bounds;
    d.n_bounds = n_bounds;
    if (d.name && d.description)
        sonde_collection_add(t->c, &d);
}

static double label_number(const struct expfmt *e, const struct expfmt_sample *s, struct slice name)
{
    double v = __builtin_nan("");
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (slice_eq(e->labels[s->first_label + i].name, name))
            slice_to_f64(e->labels[s->first_label + i].value, &v);
    return v;
}

static uint64_t whole(double v)
{
    return v >= 0 && v < 0x1p64 ? (uint64_t)v : 0;
}

// Lines _bucket … _sum, _count of one series from sample i on, counts no longer cumulative; returns where the next begins.
static uint32_t text_histogram(const struct text *t, const struct expfmt_family *f, uint32_t i)
{
    const struct expfmt_sample *s = &t->e->samples[f->first + i];
    double bounds[SONDE_BUCKETS_MAX];
    uint64_t counts[SONDE_BUCKETS_MAX + 1], before = 0, all = 0;
    struct sonde_point p = text_point(t, s, SLICE("le"), 0);
    uint32_t n = 0;
    bool count = false, bucket = false;
    for (; i < f->n; i++) {
        const struct expfmt_sample *x = &t->e->samples[f->first + i];
        struct slice rest = slice_from(x->name, f->name.n);
        if (slice_eq(rest, SLICE("_bucket"))) {
            double le = label_number(t->e, x, SLICE("le"));
            if (count || (bucket && all && le < __builtin_inf() && n && le <= bounds[n - 1]))
                break; // the next series
            bucket = true;
            all = whole(x->value);
            if (le < __builtin_inf() && n < SONDE_BUCKETS_MAX) {
                bounds[n] = le;
                counts[n++] = all > before ? all - before : 0;
                before = all;
            }
        } else if (slice_eq(rest, SLICE("_sum"))) {
            p.sum = x->value;
        } else if (slice_eq(rest, SLICE("_count"))) {
            if (count)
                break;
            all = whole(x->value);
            count = true;
        } else if (count) {
            break;
        }
    }
    p.count = all;
    counts[n] = all > before ? all - before : 0;
    p.counts = counts;
    text_add(t, f, f->name, SONDE_DATA_HISTOGRAM, &p, bounds, n);
    return i;
}

static void text_family(const struct text *t, const struct expfmt_family *f)
{
    for (uint32_t i = 0; i < f->n;) {
        const struct expfmt_sample *s = &t->e->samples[f->first + i];
        if (f->type == EXPFMT_HISTOGRAM) {
            i = text_histogram(t, f, i);
            continue;
        }
        // a summary's quantiles are gauges, its sum and count are sums, each under the line's own name
        bool sum = f->type == EXPFMT_COUNTER || (f->type == EXPFMT_SUMMARY && s->name.n > f->name.n);
        struct sonde_point p = text_point(t, s, SLICE_NONE, s->value);
        text_add(t, f, f->type == EXPFMT_SUMMARY ? s->name : f->name, sum ? SONDE_DATA_SUM : SONDE_DATA_GAUGE, &p, NULL, 0);
        i++;
    }
}

void meter_collect_registry(struct sonde_collection *c, struct sonde_registry *root)
{
    struct metric_view view;
    struct buf texts;
    struct expfmt e;
    buf_init(&texts, MAX_METRIC_TEXT);
    if (metric_gather(root, &view, &texts) != ERR_OK)
        c->failed = true;
    for (uint32_t i = 0; i < view.n; i++)
        family_collect(c, &view.families[i], root->born_wall);
    // labels point into the text where nothing is escaped: it must live as long as the points
    struct slice text = texts.n && texts.err == ERR_OK ? arena_dup(&c->arena, buf_slice(&texts)) : SLICE_NONE;
    if (text.p && expfmt_parse(&e, text, &c->arena, NULL) == ERR_OK && expfmt_merge(&e, &c->arena) == ERR_OK) {
        struct text t = {c, &e, root->born_wall};
        for (uint32_t i = 0; i < e.n_families; i++)
            text_family(&t, &e.families[i]);
    }
    c->failed = c->failed || arena_failed(&c->arena);
    metric_view_free(&view);
    buf_free(&texts);
}
