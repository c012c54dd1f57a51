// Pages in the forms of text: Prometheus text 0.0.4 and OpenMetrics 1.0; and what goes around a page in any form.
#define SONDE_TARGET "sonde::metrics"
#include "base/alloc.h"
#include "sdk/metric.h"
#include "sdk/metric_parse.h"
#include "sdk/sdk.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct page {
    struct buf *b;
    struct metric_names *names;
    struct slice name; // of the lines: an OpenMetrics counter's without _total
    uint64_t *count;   // SONDE_BUCKETS_MAX + 1
    bool om, proto;
};

static bool is_counter(const struct metric_family *f)
{
    return f->kind == METRIC_COUNTER || f->kind == METRIC_INT_COUNTER;
}

static void line_end(struct page *p, struct metric_series *s, uint32_t exemplar)
{
    double value;
    int64_t time;
    struct buf *b = p->b;
    if (p->om && s && atomic_load_explicit(&s->exemplars, memory_order_relaxed)) {
        size_t at = b->n;
        buf_str(b, " # ");
        if (metric_exemplar_read(s, exemplar, b, &value, &time)) {
            buf_char(b, ' ');
            buf_f64(b, value);
            buf_printf(b, " %lld.%03d", (long long)(time / 1000000000), (int)(time / 1000000 % 1000));
        } else if (b->err == ERR_OK) {
            b->n = at;
        }
    }
    buf_char(b, '\n');
}

static void number_write(struct page *p, struct metric_series *s)
{
    uint64_t v = atomic_load_explicit(&s->value, memory_order_relaxed);
    switch (s->kind) {
    case METRIC_COUNTER:
        buf_f64(p->b, s->absolute ? metric_double(v) : metric_sum_f64(s->slot));
        break;
    case METRIC_INT_COUNTER:
        buf_u64(p->b, s->absolute ? v : metric_sum_u64(s->slot));
        break;
    case METRIC_GAUGE:
        buf_f64(p->b, metric_double(v));
        break;
    default:
        buf_i64(p->b, (int64_t)v);
    }
}

static struct metric_text_buckets buckets_of(const struct page *p, const struct metric_series *s)
{
    return (struct metric_text_buckets){p->b, p->name, s->labels, p->om};
}

static void histogram_write(struct page *p, struct metric_series *s)
{
    const struct metric_bounds *bounds = s->bounds;
    const struct metric_text_buckets h = buckets_of(p, s);
    double sum;
    uint64_t up_to = 0;
    metric_histogram_read(s, p->count, &sum);
    for (uint32_t i = 0; i <= bounds->n; i++) {
        up_to += p->count[i];
        metric_text_start(p->b, p->name, "_bucket", s->labels, p->om ? bounds->le_om[i] : bounds->le[i]);
        buf_u64(p->b, up_to);
        line_end(p, s, i);
    }
    metric_text_tail(&h, sum, up_to, bounds->n == 0 || bounds->bound[0] >= 0);
}

// Text has no form for exponential buckets.
static void native_write(struct page *p, struct metric_series *s)
{
    struct metric_text_buckets h = buckets_of(p, s);
    struct metric_native n;
    uint64_t below = 0;
    metric_native_read(s, &n);
    for (uint32_t i = 0; i < n.negative.n; i++)
        below += n.negative.count[i];
    metric_native_classic(n.scale, below + n.zero, n.positive.min, n.positive.count, n.positive.n, metric_text_bucket_line, &h);
    metric_text_bucket(&h, INFINITY, n.count);
    line_end(p, s, 0);
    metric_text_tail(&h, n.sum, n.count, n.negative.n == 0);
}

static void family_write(struct page *p, const struct metric_family_view *f)
{
    const struct metric_family *family = f->family;
    bool counter = is_counter(family);
    if (!metric_names_take(p->names, family->name, counter, &p->name))
        return;
    if (p->proto) {
        metric_proto_family(f, p->count, p->b);
        return;
    }
    bool typed = !p->om || !counter || p->name.n < family->name.n || !metric_text_ends(family->name, SLICE("total"));
    const char *suffix = p->om && counter && typed ? "_total" : "";
    const char *type = !typed ? "unknown" : counter ? "counter" : family->kind >= METRIC_HISTOGRAM ? "histogram" : "gauge";
    if (family->help.n)
        metric_text_help(p->b, p->name, family->help, p->om);
    metric_text_type(p->b, p->name, slice_str(type), p->om ? family->unit : SLICE_NONE);
    for (uint32_t i = 0; i < f->n; i++) {
        struct metric_series *s = f->series[i];
        if (s->kind == METRIC_HISTOGRAM) {
            histogram_write(p, s);
        } else if (s->kind == METRIC_NATIVE) {
            native_write(p, s);
        } else {
            metric_text_start(p->b, p->name, suffix, s->labels, SLICE_NONE);
            number_write(p, s);
            line_end(p, counter ? s : NULL, 0);
        }
    }
}

// ---- callbacks ------------------------------------------------------------------------------------------------------
struct calls {
    struct metric_callback *list;
    size_t n, cap;
    bool failed;
};

static void calls_collect(struct calls *c, struct sonde_registry *r)
{
    for (struct metric_callback *k = atomic_load_explicit(&r->callbacks, memory_order_acquire); k; k = k->next) {
        if (c->n == c->cap) {
            size_t cap = c->cap ? 2 * c->cap : 16;
            struct metric_callback *more = mem_realloc(c->list, cap * sizeof *more);
            if (!more) {
                c->failed = true;
                return;
            }
            c->list = more;
            c->cap = cap;
        }
        c->list[c->n++] = *k;
    }
    for (struct sonde_registry *child = r->children; child; child = child->sibling)
        calls_collect(c, child);
}

void sonde_text_append(struct sonde_text *t, const char *p, size_t n)
{
    if (t && p)
        buf_put((struct buf *)t, p, n);
}

static void updates_run(const struct calls *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const char *wrong = c->list[i].update ? c->list[i].update(c->list[i].arg) : NULL;
        if (wrong)
            SONDE_ERROR("a metrics update callback failed", SONDE_STR("error", wrong));
    }
}

// Hides those of the families, counters or others, that the page has.
static void names_take(struct page *p, struct expfmt *e, bool counters)
{
    for (uint32_t i = 0; i < e->n_families; i++) {
        struct expfmt_family *f = &e->families[i];
        struct slice shown;
        if (f->hidden || (f->type == EXPFMT_COUNTER) != counters)
            continue;
        f->hidden = !metric_names_take(p->names, f->name, counters, &shown);
        if (counters && p->om && shown.n == f->name.n && metric_text_ends(f->name, SLICE("total")))
            f->type = EXPFMT_UNTYPED;
    }
}

// Families of the engines' pages that this page does not have yet.
static enum errc text_translate(struct page *p, struct slice text, struct error *err)
{
    struct arena a;
    struct expfmt e;
    arena_init(&a, MAX_METRIC_MEMORY);
    enum errc rc = expfmt_parse(&e, text, &a, err);
    if (rc == ERR_OK)
        rc = expfmt_merge(&e, &a);
    if (rc == ERR_OK && p->om)
        expfmt_own_created(&e);
    for (int counters = 0; rc == ERR_OK && counters < 2; counters++) // a counter can do without its short name
        names_take(p, &e, counters);
    for (uint32_t i = 0; rc == ERR_OK && i < e.n_families; i++) {
        if (e.families[i].hidden)
            continue;
        if (p->proto)
            metric_proto_text(&e, &e.families[i], NULL, p->b);
        else
            expfmt_write_family(&e, &e.families[i], true, p->b);
    }
    arena_free(&a);
    return rc;
}

static enum errc text_check(struct slice text, struct error *err)
{
    struct arena a;
    struct expfmt e;
    arena_init(&a, MAX_METRIC_MEMORY);
    enum errc rc = expfmt_parse(&e, text, &a, err);
    arena_free(&a);
    return rc;
}

// Appends what the callback says to all; a faulty text leaves nothing.
static void text_take(const struct page *p, const struct metric_callback *c, struct buf *all)
{
    struct buf text;
    buf_init(&text, MAX_METRIC_TEXT);
    const char *wrong = c->text(c->arg, (struct sonde_text *)&text);
    struct error err = {0};
    if (!wrong && text.err != ERR_OK)
        wrong = errc_text(text.err);
    if (!wrong && (p->om || p->proto) && text_check(buf_slice(&text), &err) != ERR_OK)
        wrong = err.msg;
    if (wrong) {
        SONDE_ERROR("a metrics text callback failed", SONDE_STR("error", wrong));
    } else if (text.n) {
        if (all->n && all->p[all->n - 1] != '\n')
            buf_char(all, '\n');
        buf_add(all, buf_slice(&text));
    }
    buf_free(&text);
}

static void texts_add(struct page *p, const struct calls *calls)
{
    struct buf all;
    struct error err = {0};
    buf_init(&all, MAX_METRIC_TEXT);
    for (size_t i = 0; i < calls->n; i++)
        if (calls->list[i].text)
            text_take(p, &calls->list[i], p->om || p->proto ? &all : p->b);
    if (all.n && all.err == ERR_OK && text_translate(p, buf_slice(&all), &err) != ERR_OK)
        SONDE_ERROR("the texts of metrics callbacks could not be translated", SONDE_STR("error", err.msg));
    if (all.err != ERR_OK)
        SONDE_ERROR("the texts of metrics callbacks are too large together");
    buf_free(&all);
}

enum errc metric_gather(struct sonde_registry *r, struct metric_view *view, struct buf *texts)
{
    struct calls calls = {0};
    struct page p = {.proto = true};
    *view = (struct metric_view){0};
    pthread_mutex_lock(&r->root->lock);
    calls_collect(&calls, r);
    pthread_mutex_unlock(&r->root->lock);
    if (!calls.failed)
        updates_run(&calls);
    enum errc rc = calls.failed ? ERR_NOMEM : metric_view_take(view, r);
    for (size_t i = 0; rc == ERR_OK && i < calls.n; i++)
        if (calls.list[i].text)
            text_take(&p, &calls.list[i], texts);
    mem_free(calls.list);
    return rc;
}

// What all of the registries have, sorted; their update callbacks ran.
static enum errc view_of(struct sonde_registry *const *r, size_t n, struct metric_view *out)
{
    struct metric_view *views = mem_zalloc(n * sizeof *views);
    enum errc rc = views ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; rc == ERR_OK && i < n; i++)
        rc = metric_view_take(&views[i], r[i]);
    if (rc == ERR_OK)
        rc = metric_view_join(out, views, n);
    for (size_t i = 0; views && i < n; i++)
        metric_view_free(&views[i]);
    mem_free(views);
    return rc;
}

enum errc metric_expose(struct sonde_registry *const *r, size_t n, enum sonde_exposition e, struct buf *out)
{
    struct calls calls = {0};
    struct metric_view view = {0};
    struct metric_names names;
    uint64_t count[SONDE_BUCKETS_MAX + 1];
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&r[i]->root->lock);
        calls_collect(&calls, r[i]);
        pthread_mutex_unlock(&r[i]->root->lock);
    }
    metric_names_init(&names, e);
    enum errc rc = calls.failed ? ERR_NOMEM : ERR_OK;
    if (rc == ERR_OK) {
        updates_run(&calls);
        rc = n == 1 ? metric_view_take(&view, r[0]) : n ? view_of(r, n, &view) : ERR_OK;
    }
    struct page p = {.b = out, .names = &names, .count = count, .om = names.om, .proto = e == SONDE_EXPOSITION_PROTOBUF};
    for (uint32_t i = 0; rc == ERR_OK && i < view.n; i++)
        family_write(&p, &view.families[i]);
    for (size_t i = 0; rc == ERR_OK && i < calls.n; i++)
        if (calls.list[i].page)
            meter_page_write(calls.list[i].page, e, &names, out);
    if (rc == ERR_OK)
        texts_add(&p, &calls);
    if (!p.proto && out->n && out->p[out->n - 1] != '\n') // a callback's text; readers want whole lines
        buf_char(out, '\n');
    if (p.om)
        buf_str(out, "# EOF\n");
    metric_names_free(&names);
    metric_view_free(&view);
    mem_free(calls.list);
    return rc == ERR_OK ? out->err : rc;
}

char *sonde_registry_text(struct sonde_registry *r, enum sonde_exposition e, size_t *n)
{
    if (n)
        *n = 0;
    if (!r)
        return NULL;
    struct buf b;
    buf_init(&b, MAX_METRIC_TEXT + 1);
    if (metric_expose(&r, 1, e, &b) == ERR_OK) {
        size_t length = b.n;
        buf_char(&b, 0);
        if (b.err == ERR_OK) {
            if (n)
                *n = length;
            return b.p;
        }
    }
    buf_free(&b);
    return NULL;
}
