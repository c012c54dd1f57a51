// A provider's instruments as Prometheus families, by OpenTelemetry's compatibility rules: names, units, scope labels,
// target_info.
#define SONDE_TARGET "sonde::metrics"
#include "base/alloc.h"
#include "base/utf8.h"
#include "event/otel_name.h"
#include "sdk/meter.h"
#include "sdk/metric_parse.h"
#include "sdk/sdk.h"
#include <math.h>
#include <sonde/export.h>
#include <stdlib.h>

struct meter_page {
    struct sonde_meter_provider *p;
    struct sonde_meter_page_options o;
    pthread_mutex_t lock; // one page at a time
    struct meter_states states;
    bool warned;
};

struct row { // one metric of the collection
    struct slice family, unit;
    const char *type;
    const struct sonde_metric_data *d;
    uint32_t at;
};
struct row_line { // one point
    struct slice labels;
    const struct sonde_metric_data *d;
    const struct sonde_point *p;
};
struct writer {
    struct meter_page *page;
    struct arena *a;
    struct buf *b;
    struct metric_names *names;
    bool om;
    const struct sonde_point **histograms; // written so far: the point of an exponential one, null for others; for protobuf
    size_t n_histograms;
};

// ---- names ----------------------------------------------------------------------------------------------------------
static bool row_fill(struct writer *w, const struct sonde_metric_data *d, struct row *r)
{
    const struct sonde_meter_page_options *o = &w->page->o;
    struct buf name, unit;
    bool counter = d->kind == SONDE_DATA_SUM && d->monotonic;
    buf_init(&name, KIB(4));
    buf_init(&unit, KIB(4));
    if (!o->no_units)
        otel_unit_words(&unit, slice_str(d->unit), d->kind == SONDE_DATA_GAUGE);
    otel_metric_name(&name, slice_str(d->name), buf_slice(&unit), counter && !o->no_total);
    *r = (struct row){.d = d, .type = counter ? "counter" : d->kind >= SONDE_DATA_HISTOGRAM ? "histogram" : "gauge"};
    r->family = arena_dup(w->a, buf_slice(&name));
    r->unit = arena_dup(w->a, buf_slice(&unit));
    bool ok = name.err == ERR_OK && unit.err == ERR_OK && r->family.p && r->unit.p;
    buf_free(&name);
    buf_free(&unit);
    return ok;
}

static int by_family(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = slice_cmp(x->family, y->family);
    return c ? c : x->at < y->at ? -1 : 1;
}

// ---- labels ---------------------------------------------------------------------------------------------------------
struct label {
    struct slice key, value; // key sanitised
    uint32_t at;
};

static int by_key(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);
    return c ? c : x->at < y->at ? -1 : 1;
}

static struct slice value_text(struct arena *a, const struct sonde_field *f)
{
    struct buf b;
    if (f->type == SONDE_TYPE_STR)
        return slice_of(f->arg.value.s, f->arg.n);
    if (f->type == SONDE_TYPE_BOOL)
        return f->arg.value.u ? SLICE("true") : SLICE("false");
    buf_init(&b, 64);
    if (f->type == SONDE_TYPE_INT)
        buf_i64(&b, f->arg.value.i);
    else
        buf_f64(&b, f->arg.value.f);
    struct slice text = arena_dup(a, buf_slice(&b));
    buf_free(&b);
    return text;
}

static void label_add(struct arena *a, struct label *to, uint32_t *n, const char *prefix, struct slice key, struct slice value)
{
    struct buf b;
    buf_init(&b, MIB(1));
    if (!utf8_valid(value)) {
        utf8_append_clean(&b, value);
        value = arena_dup(a, buf_slice(&b));
        buf_reset(&b);
    }
    buf_str(&b, prefix);
    otel_name_clean(&b, key, false);
    to[*n] = (struct label){arena_dup(a, buf_slice(&b)), value, *n};
    *n += to[*n].key.p && to[*n].key.n && value.p;
    buf_free(&b);
}

// a="1",b="2": keys sorted, the values of keys that became the same joined in the order of the original keys.
static struct slice labels_text(struct arena *a, struct label *l, uint32_t n)
{
    struct buf b;
    buf_init(&b, MIB(1));
    qsort(l, n, sizeof *l, by_key);
    for (uint32_t i = 0; i < n;) {
        buf_put(&b, ",", i > 0);
        buf_add(&b, l[i].key);
        buf_str(&b, "=\"");
        metric_text_label(&b, l[i].value);
        uint32_t k = i + 1;
        for (; k < n && slice_eq(l[k].key, l[i].key); k++) {
            buf_char(&b, ';');
            metric_text_label(&b, l[k].value);
        }
        buf_char(&b, '"');
        i = k;
    }
    struct slice text = b.err == ERR_OK ? arena_dup(a, b.n ? buf_slice(&b) : SLICE("")) : SLICE_NONE;
    buf_free(&b);
    return text;
}

static struct slice point_labels(struct writer *w, const struct sonde_metric_data *d, const struct sonde_point *p)
{
    struct label l[2 * METER_ATTRIBUTES + 3];
    uint32_t n = 0;
    for (size_t i = 0; i < p->n_attributes && n < METER_ATTRIBUTES; i++) {
        struct slice key = slice_str(p->attributes[i].key);
        bool taken = d->kind >= SONDE_DATA_HISTOGRAM && slice_eq(key, SLICE("le")); // the bucket's own label
        label_add(w->a, l, &n, taken ? "exported_" : "", key, value_text(w->a, &p->attributes[i]));
    }
    if (!w->page->o.no_scope_labels) {
        const struct sonde_scope *s = d->scope;
        const char *const fixed[] = {"name", s->name, "version", s->version, "schema_url", s->schema_url};
        for (int i = 0; i < 6; i += 2)
            if (fixed[i + 1] && *fixed[i + 1])
                label_add(w->a, l, &n, "otel_scope_", slice_str(fixed[i]), slice_str(fixed[i + 1]));
        for (size_t i = 0; i < s->n_attributes && n < 2 * METER_ATTRIBUTES; i++)
            label_add(w->a, l, &n, "otel_scope_", slice_str(s->attributes[i].key), value_text(w->a, &s->attributes[i]));
    }
    return labels_text(w->a, l, n);
}

static int by_labels(const void *a, const void *b)
{
    return slice_cmp(((const struct row_line *)a)->labels, ((const struct row_line *)b)->labels);
}

// ---- lines ----------------------------------------------------------------------------------------------------------
// The first exemplar of a value in (from, to]; its own attributes as far as OpenMetrics has room for them.
static void end(struct writer *w, const struct sonde_point *p, double from, double to)
{
    struct buf *b = w->b;
    const struct sonde_exemplar *e = NULL;
    for (size_t i = 0; w->om && !e && i < p->n_exemplars; i++)
        e = p->exemplars[i].value > from && p->exemplars[i].value <= to ? &p->exemplars[i] : NULL;
    if (e) {
        struct label l[METER_ATTRIBUTES];
        uint32_t n = 0;
        size_t room = METRIC_EXEMPLAR_RUNES - (e->has_span ? 8 + 32 + 7 + 16 : 0);
        buf_str(b, " # {");
        if (e->has_span) {
            buf_str(b, "trace_id=\"");
            buf_hex(b, e->trace_id, 16);
            buf_str(b, "\",span_id=\"");
            buf_hex(b, e->span_id, 8);
            buf_char(b, '"');
        }
        for (size_t i = 0; i < e->n_attributes && n < METER_ATTRIBUTES; i++) {
            struct slice value = value_text(w->a, &e->attributes[i]);
            size_t need = strlen(e->attributes[i].key) + 1 + value.n; // bytes: at least the characters
            if (need <= room) {
                label_add(w->a, l, &n, "", slice_str(e->attributes[i].key), value);
                room -= need;
            }
        }
        struct slice more = labels_text(w->a, l, n);
        buf_put(b, ",", e->has_span && more.n);
        buf_add(b, more);
        buf_str(b, "} ");
        buf_f64(b, e->value);
        buf_printf(b, " %lld.%03d", (long long)(e->time_ns / 1000000000), (int)(e->time_ns / 1000000 % 1000));
    }
    buf_char(b, '\n');
}

static void histogram(struct writer *w, struct slice name, const struct row_line *l)
{
    const struct sonde_point *p = l->p;
    const double *bounds = l->d->bounds;
    size_t n = l->d->n_bounds;
    bool explicit = l->d->kind == SONDE_DATA_HISTOGRAM;
    struct metric_text_buckets h = {w->b, name, l->labels, w->om};
    if (w->histograms)
        w->histograms[w->n_histograms++] = explicit ? NULL : p;
    uint64_t up_to = explicit ? 0 : p->zero;
    for (size_t i = 0; !explicit && i < p->negative.n; i++)
        up_to += p->negative.counts[i];
    if (!explicit)
        metric_native_classic(p->scale, up_to, p->positive.offset, p->positive.counts, p->positive.n, metric_text_bucket_line,
                              &h);
    for (size_t i = 0; explicit && i < n; i++) {
        up_to += p->counts[i];
        metric_text_bucket(&h, bounds[i], up_to);
        end(w, p, i ? bounds[i - 1] : -INFINITY, bounds[i]);
    }
    metric_text_bucket(&h, INFINITY, p->count);
    end(w, p, explicit && n ? bounds[n - 1] : -INFINITY, INFINITY);
    metric_text_tail(&h, p->sum, p->count, explicit ? !n || bounds[0] >= 0 : p->negative.n == 0);
}

static void point(struct writer *w, const struct row *r, struct slice name, const char *suffix, const struct row_line *l)
{
    if (l->d->kind >= SONDE_DATA_HISTOGRAM) {
        histogram(w, name, l);
        return;
    }
    metric_text_start(w->b, name, suffix, l->labels, SLICE_NONE);
    if (l->d->f64)
        buf_f64(w->b, l->p->f);
    else
        buf_i64(w->b, l->p->i);
    if (r->type[0] == 'c' && *suffix) {
        end(w, l->p, -INFINITY, INFINITY);
        return;
    }
    buf_char(w->b, '\n');
}

static void warn_once(struct writer *w, const char *what, struct slice family)
{
    if (!w->page->warned)
        SONDE_WARN("instruments meet in one Prometheus family", SONDE_STR("family", family.p), SONDE_STR("reason", what));
    w->page->warned = true;
}

// Rows r[0 … n): one family. The first says type and help.
static void family(struct writer *w, const struct row *r, uint32_t n)
{
    struct slice name = r->family;
    size_t room = 0, lines = 0;
    const char *suffix = "", *type = r->type;
    if (!metric_names_take(w->names, r->family, r->type[0] == 'c', &name)) {
        warn_once(w, "the page has a metric of that name; the instrument is left out", r->family);
        return;
    }
    if (w->om && r->type[0] == 'c') { // OpenMetrics knows no counter that has no _total
        if (name.n < r->family.n)
            suffix = "_total";
        else
            type = "unknown";
    }
    for (uint32_t i = 0; i < n; i++)
        room += r[i].d->n_points;
    struct row_line *l = ARENA_ARRAY(w->a, struct row_line, room);
    for (uint32_t i = 0; l && i < n; i++) {
        if (r[i].type != r->type) {
            warn_once(w, "another type; the first one stays", r->family);
            continue;
        }
        if (strcmp(r[i].d->description, r->d->description) != 0)
            warn_once(w, "another help text; the first one stays", r->family);
        for (size_t k = 0; k < r[i].d->n_points; k++)
            l[lines++] = (struct row_line){point_labels(w, r[i].d, &r[i].d->points[k]), r[i].d, &r[i].d->points[k]};
    }
    if (!l)
        return;
    qsort(l, lines, sizeof *l, by_labels);
    if (*r->d->description)
        metric_text_help(w->b, name, slice_str(r->d->description), w->om);
    metric_text_type(w->b, name, slice_str(type), w->om ? r->unit : SLICE_NONE);
    for (size_t i = 0; i < lines; i++) {
        if (i && slice_eq(l[i].labels, l[i - 1].labels)) {
            warn_once(w, "the same labels twice; one is left out", r->family);
            continue;
        }
        point(w, r, name, suffix, &l[i]);
    }
}

static void target_info(struct writer *w)
{
    struct sonde_resource *r = sonde_resource_current();
    size_t n = sonde_resource_count(r);
    struct label *l = ARENA_ARRAY(w->a, struct label, n + METER_ATTRIBUTES);
    struct slice rest = slice_str(w->page->p->resource), part, key;
    struct sonde_resource_attribute at;
    uint32_t have = 0;
    for (size_t i = 0; l && i < n; i++)
        if (sonde_resource_at(r, i, &at))
            label_add(w->a, l, &have, "", slice_str(at.key), slice_of(at.text, at.text_n));
    for (uint32_t own = 0; l && *w->page->p->resource && rest.p && own < METER_ATTRIBUTES && slice_split(&rest, ',', &part);) {
        struct slice value = part;
        if (!slice_split(&value, '=', &key) || !value.p)
            continue;
        uint32_t before = have, k = 0;
        label_add(w->a, l, &have, "", slice_trim(key), slice_trim(value));
        while (have > before && k < before && !slice_eq(l[k].key, l[before].key))
            k++;
        if (have > before && k < before) { // the provider's own wins
            l[k].value = l[before].value;
            have = before;
        }
        own += have > before;
    }
    struct slice labels = l ? labels_text(w->a, l, have) : SLICE_NONE;
    const char *name = w->om ? "target" : "target_info", *type = w->om ? "info" : "gauge";
    struct slice shown;
    if (labels.n && metric_names_take(w->names, SLICE("target_info"), false, &shown)) {
        buf_printf(w->b, "# HELP %s Target metadata\n# TYPE %s %s\n", name, name, type);
        metric_text_start(w->b, SLICE("target_info"), "", labels, SLICE_NONE);
        buf_str(w->b, "1\n");
    }
    sonde_resource_free(r);
}

static void families(struct writer *w, struct sonde_collection *c)
{
    uint32_t n = 0, room = 0;
    for (struct meter_metric *m = c->first; m; m = m->next)
        room++;
    struct row *rows = ARENA_ARRAY(w->a, struct row, room);
    for (struct meter_metric *m = c->first; rows && m; m = m->next)
        if (row_fill(w, &m->d, &rows[n])) {
            rows[n].at = n;
            n++;
        }
    if (!rows)
        return;
    qsort(rows, n, sizeof *rows, by_family);
    if (!w->page->o.no_target_info)
        target_info(w);
    for (uint32_t i = 0, to; i < n; i = to) {
        for (to = i + 1; to < n && slice_eq(rows[to].family, rows[i].family);)
            to++;
        family(w, rows + i, to - i);
    }
}

static void as_protobuf(struct writer *w, struct buf *b)
{
    struct expfmt e;
    const struct sonde_point **next = w->histograms;
    if (expfmt_parse(&e, buf_slice(w->b), w->a, NULL) != ERR_OK)
        return;
    for (uint32_t i = 0; i < e.n_families; i++)
        metric_proto_text(&e, &e.families[i], &next, b);
}

void meter_page_write(struct meter_page *m, enum sonde_exposition e, struct metric_names *names, struct buf *b)
{
    static const uint8_t cumulative[SONDE_INSTRUMENT_KINDS] = {[0 ... SONDE_INSTRUMENT_KINDS - 1] = SONDE_TEMPORALITY_CUMULATIVE};
    struct sonde_collection c;
    struct buf text;
    pthread_mutex_lock(&m->lock);
    buf_init(&text, MAX_METRIC_TEXT);
    meter_collection_init(&c, cumulative, &m->states, NULL);
    struct writer w = {m,    &c.arena, e == SONDE_EXPOSITION_PROTOBUF ? &text : b, names, e == SONDE_EXPOSITION_OPENMETRICS,
                       NULL, 0};
    meter_collect_provider(&c, m->p, 0);
    if (m->o.producer && !m->o.producer(m->o.producer_arg, NULL, &c))
        SONDE_ERROR("a metrics producer failed");
    meter_states_sweep(&m->states);
    if (e == SONDE_EXPOSITION_PROTOBUF)
        w.histograms = ARENA_ARRAY(&c.arena, const struct sonde_point *, c.n_points + 1);
    families(&w, &c);
    if (e == SONDE_EXPOSITION_PROTOBUF && w.histograms)
        as_protobuf(&w, b);
    if (c.failed && b->err == ERR_OK)
        b->err = ERR_NOMEM;
    meter_collection_free(&c);
    buf_free(&text);
    pthread_mutex_unlock(&m->lock);
}

void meter_page_free(struct meter_page *m)
{
    if (!m)
        return;
    meter_states_free(&m->states);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static struct meter_page *page_new(struct sonde_meter_provider *p, const struct sonde_meter_page_options *o)
{
    struct meter_page *m = p ? mem_zalloc(sizeof *m) : NULL;
    if (!m)
        return NULL;
    m->p = p;
    if (o)
        m->o = *o;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

bool sonde_registry_add_meters(struct sonde_registry *r, struct sonde_meter_provider *p, const struct sonde_meter_page_options *o)
{
    struct meter_page *m = r ? page_new(p ? p : sonde_meter_provider_default(), o) : NULL;
    bool ok = m && metric_callback_add(r, (struct metric_callback){.page = m});
    if (!ok)
        meter_page_free(m);
    return ok;
}

char *sonde_meter_text(struct sonde_meter_provider *p, const struct sonde_meter_page_options *o, enum sonde_exposition e,
                       size_t *n)
{
    struct meter_page *m = page_new(p ? p : sonde_meter_provider_default(), o);
    struct buf b;
    if (n)
        *n = 0;
    if (!m)
        return NULL;
    struct metric_names names;
    buf_init(&b, MAX_METRIC_TEXT + 1);
    metric_names_init(&names, e);
    meter_page_write(m, e, &names, &b);
    metric_names_free(&names);
    meter_page_free(m);
    if (e == SONDE_EXPOSITION_OPENMETRICS)
        buf_str(&b, "# EOF\n");
    size_t length = b.n;
    buf_char(&b, 0);
    if (b.err != ERR_OK) {
        buf_free(&b);
        return NULL;
    }
    if (n)
        *n = length;
    return b.p;
}
