#include "sdk/metric_parse.h"
#include "base/utf8.h"
#include "event/metrics_line.h"
#include "sdk/metric.h"
#include <math.h>

static const char *const type_name[] = {"untyped", "counter", "gauge", "histogram", "summary"};

struct parser {
    struct expfmt *out;
    struct arena *a;
    struct error *err;
    struct metrics_line line;
    uint32_t families_cap, samples_cap, labels_cap;
};

static enum errc bad(struct parser *p, const char *what)
{
    return ERR(p->err, SYNTAX, "metrics text, line %zu: %s", p->line.number, what);
}

static enum errc grow(struct parser *p, void **array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return ERR_OK;
    uint32_t more = *cap ? 2 * *cap : 64;
    void *to = more > *cap ? arena_grow(p->a, *array, *cap * size, more * size) : NULL;
    if (!to)
        return ERR(p->err, LIMIT, "metrics text, line %zu: the page is too large", p->line.number);
    *array = to;
    *cap = more;
    return ERR_OK;
}
#define GROW(p, field) grow((p), (void **)&(p)->out->field, (p)->out->n_##field, &(p)->field##_cap, sizeof *(p)->out->field)

static enum errc unescape(struct parser *p, struct slice raw, bool quotes, struct slice *out)
{
    *out = metrics_line_unescape(p->a, raw, quotes);
    return out->p ? ERR_OK : ERR(p->err, LIMIT, "metrics text, line %zu: the page is too large", p->line.number);
}

static struct expfmt_family *last_family(struct parser *p)
{
    return p->out->n_families ? &p->out->families[p->out->n_families - 1] : NULL;
}

static enum errc family_add(struct parser *p, struct slice n)
{
    TRY(GROW(p, families));
    p->out->families[p->out->n_families++] = (struct expfmt_family){.name = n, .first = p->out->n_samples};
    return ERR_OK;
}

// The family a HELP or TYPE line speaks of: the last one while it has no samples, or a new one.
static enum errc family_for(struct parser *p, struct slice n, struct expfmt_family **out)
{
    struct expfmt_family *f = last_family(p);
    if (!f || f->n || !slice_eq(f->name, n))
        TRY(family_add(p, n));
    *out = last_family(p);
    return ERR_OK;
}

static bool belongs(const struct expfmt_family *f, struct slice n)
{
    if (!slice_starts(n, f->name))
        return false;
    struct slice rest = slice_from(n, f->name.n);
    bool parts = f->type == EXPFMT_HISTOGRAM || f->type == EXPFMT_SUMMARY;
    return rest.n == 0 || (parts && (slice_eq(rest, SLICE("_sum")) || slice_eq(rest, SLICE("_count")))) ||
           (f->type == EXPFMT_HISTOGRAM && slice_eq(rest, SLICE("_bucket")));
}

static enum errc comment(struct parser *p)
{
    p->line.p++;
    metrics_line_blanks(&p->line);
    struct slice what = metrics_line_word(&p->line);
    bool help = slice_eq(what, SLICE("HELP"));
    if (!help && !slice_eq(what, SLICE("TYPE")))
        return ERR_OK; // said to people
    metrics_line_blanks(&p->line);
    struct slice n = metrics_line_name(&p->line, true), rest;
    if (n.n == 0 || metrics_line_word(&p->line).n)
        return bad(p, help ? "HELP needs a metric name" : "TYPE needs a metric name");
    rest = slice_of(p->line.p, (size_t)(p->line.end - p->line.p));
    struct expfmt_family *f;
    TRY(family_for(p, n, &f));
    if (help ? f->has_help : f->has_type)
        return bad(p, help ? "a second HELP for the same metric" : "a second TYPE for the same metric");
    if (help) {
        f->has_help = true; // one blank stands before it; further ones belong to the text
        TRY(unescape(p, slice_from(rest, rest.n > 0), false, &f->help));
        return utf8_valid(f->help) ? ERR_OK : bad(p, "a help text is not UTF-8");
    }
    struct slice t = slice_trim(rest);
    for (uint32_t i = 0; i < sizeof type_name / sizeof *type_name; i++)
        if (slice_eq(t, slice_str(type_name[i]))) {
            f->type = (enum expfmt_type)i;
            f->has_type = true;
            return ERR_OK;
        }
    return bad(p, "the type is none of counter, gauge, histogram, summary, untyped");
}

static enum errc label(struct parser *p, uint32_t first)
{
    struct slice n = metrics_line_name(&p->line, false), raw, value;
    if (n.n == 0)
        return bad(p, "a label name was expected");
    for (uint32_t i = first; i < p->out->n_labels; i++)
        if (slice_eq(p->out->labels[i].name, n))
            return bad(p, "a label is given twice");
    if (p->out->n_labels - first >= 2 * SONDE_METRIC_LABELS_MAX)
        return bad(p, "more than 128 labels");
    metrics_line_blanks(&p->line);
    if (!metrics_line_take(&p->line, '='))
        return bad(p, "'=' was expected behind a label name");
    metrics_line_blanks(&p->line);
    if (!metrics_line_is(&p->line, '"'))
        return bad(p, "a label value must stand in quotes");
    if (!metrics_line_quoted(&p->line, &raw))
        return bad(p, "a label value has no closing quote");
    TRY(unescape(p, raw, true, &value));
    if (!utf8_valid(value))
        return bad(p, "a label value is not UTF-8");
    TRY(GROW(p, labels));
    p->out->labels[p->out->n_labels++] = (struct expfmt_label){n, value};
    return ERR_OK;
}

static enum errc labels(struct parser *p, uint32_t first)
{
    p->line.p++; // {
    for (;;) {
        metrics_line_blanks(&p->line);
        if (metrics_line_is(&p->line, '}'))
            break;
        TRY(label(p, first));
        metrics_line_blanks(&p->line);
        if (!metrics_line_take(&p->line, ',') && !metrics_line_is(&p->line, '}'))
            return bad(p, "',' or '}' was expected behind a label");
    }
    p->line.p++;
    return ERR_OK;
}

static enum errc sample(struct parser *p)
{
    struct expfmt_sample s = {.name = metrics_line_name(&p->line, true), .first_label = p->out->n_labels};
    if (s.name.n == 0)
        return bad(p, "a metric name was expected");
    metrics_line_blanks(&p->line);
    if (metrics_line_is(&p->line, '{'))
        TRY(labels(p, s.first_label));
    s.n_labels = p->out->n_labels - s.first_label;
    metrics_line_blanks(&p->line);
    s.number = metrics_line_word(&p->line);
    if (!slice_to_f64(s.number, &s.value))
        return bad(p, "the value is not a number");
    metrics_line_blanks(&p->line);
    s.time = metrics_line_word(&p->line);
    int64_t ms;
    if (s.time.n && !slice_to_i64(s.time, &ms))
        return bad(p, "the time is not a whole number of milliseconds");
    metrics_line_blanks(&p->line);
    if (p->line.p < p->line.end)
        return bad(p, "something stands behind the value and its time");
    struct expfmt_family *f = last_family(p);
    if (!f || !belongs(f, s.name)) {
        TRY(family_add(p, s.name));
        f = last_family(p);
    }
    TRY(GROW(p, samples));
    p->out->samples[p->out->n_samples++] = s;
    f->n++;
    return ERR_OK;
}

enum errc expfmt_parse(struct expfmt *out, struct slice text, struct arena *a, struct error *err)
{
    *out = (struct expfmt){0};
    struct parser p = {.out = out, .a = a, .err = err};
    struct slice rest = text.n ? text : SLICE_NONE;
    while (metrics_line_next(&p.line, &rest))
        TRY(metrics_line_is(&p.line, '#') ? comment(&p) : sample(&p));
    return ERR_OK;
}

// ---- joining --------------------------------------------------------------------------------------------------------
// next[i]: the following family of the same name and type; first[i]: whether i is the first of its name.
static void chain(const struct expfmt *e, uint32_t *table, uint32_t mask, uint32_t *next, uint32_t *last, bool *first)
{
    for (uint32_t i = 0; i < e->n_families; i++) {
        const struct expfmt_family *f = &e->families[i];
        uint32_t at = (uint32_t)hash64(f->name.p, f->name.n) & mask;
        while (table[at] && !slice_eq(e->families[table[at] - 1].name, f->name))
            at = (at + 1) & mask;
        first[i] = !table[at];
        last[i] = i;
        if (first[i]) {
            table[at] = i + 1;
            continue;
        }
        uint32_t head = table[at] - 1;
        if (e->families[head].type != f->type)
            continue;
        next[last[head]] = i;
        last[head] = i;
    }
}

enum errc expfmt_merge(struct expfmt *e, struct arena *a)
{
    uint32_t size = 16, n = 0, n_families = 0;
    while (size < 2 * e->n_families)
        size *= 2;
    uint32_t *table = ARENA_ARRAY(a, uint32_t, size), *next = ARENA_ARRAY(a, uint32_t, e->n_families);
    uint32_t *last = ARENA_ARRAY(a, uint32_t, e->n_families);
    bool *first = ARENA_ARRAY(a, bool, e->n_families);
    struct expfmt_sample *samples = ARENA_ARRAY(a, struct expfmt_sample, e->n_samples);
    struct expfmt_family *families = ARENA_ARRAY(a, struct expfmt_family, e->n_families);
    if (!table || !next || !last || !first || !samples || !families)
        return ERR_LIMIT;
    chain(e, table, size - 1, next, last, first);
    for (uint32_t i = 0; i < e->n_families; i++) {
        if (!first[i])
            continue;
        struct expfmt_family *to = &families[n_families++];
        *to = e->families[i];
        to->first = n;
        for (uint32_t k = i;; k = next[k]) { // 0 is never a following one
            const struct expfmt_family *f = &e->families[k];
            if (f->n)
                memcpy(samples + n, e->samples + f->first, f->n * sizeof *samples);
            n += f->n;
            if (!next[k])
                break;
        }
        to->n = n - to->first;
    }
    e->families = families;
    e->n_families = n_families;
    e->samples = samples;
    e->n_samples = n;
    return ERR_OK;
}

// ---- metrics of a family --------------------------------------------------------------------------------------------
struct slice expfmt_inner_label(enum expfmt_type type)
{
    return type == EXPFMT_HISTOGRAM ? SLICE("le") : type == EXPFMT_SUMMARY ? SLICE("quantile") : SLICE_NONE;
}

static bool is_inner(const struct expfmt_label *l, struct slice inner)
{
    return inner.n && slice_eq(l->name, inner);
}

bool expfmt_same_metric(const struct expfmt *e, const struct expfmt_sample *x, const struct expfmt_sample *y, struct slice inner)
{
    uint32_t i = 0, k = 0;
    for (;; i++, k++) {
        while (i < x->n_labels && is_inner(&e->labels[x->first_label + i], inner))
            i++;
        while (k < y->n_labels && is_inner(&e->labels[y->first_label + k], inner))
            k++;
        if (i == x->n_labels || k == y->n_labels)
            return i == x->n_labels && k == y->n_labels;
        const struct expfmt_label *a = &e->labels[x->first_label + i], *c = &e->labels[y->first_label + k];
        if (!slice_eq(a->name, c->name) || !slice_eq(a->value, c->value))
            return false;
    }
}

// The family whose gauge x_created c is; null: none.
static struct expfmt_family *created_of(struct expfmt *e, uint32_t c)
{
    struct slice x = slice_cut(e->families[c].name, e->families[c].name.n - 8);
    for (uint32_t i = 0; i < e->n_families; i++) {
        struct expfmt_family *f = &e->families[(c + e->n_families - 1 + i) % e->n_families]; // it stands before, as a rule
        bool owner = f->type == EXPFMT_COUNTER || f->type == EXPFMT_HISTOGRAM || f->type == EXPFMT_SUMMARY;
        if (owner && slice_eq(expfmt_om_name(f->name, f->type), x))
            return f;
    }
    return NULL;
}

void expfmt_own_created(struct expfmt *e)
{
    for (uint32_t i = 0; i < e->n_families; i++) {
        struct expfmt_family *f = &e->families[i];
        bool named = f->type == EXPFMT_GAUGE && metric_text_ends(f->name, SLICE("created"));
        struct expfmt_family *owner = named ? created_of(e, i) : NULL;
        f->hidden = owner != NULL;
        if (owner)
            owner->created = i + 1;
    }
}

// ---- writing --------------------------------------------------------------------------------------------------------
struct slice expfmt_om_name(struct slice n, enum expfmt_type type)
{
    if (type == EXPFMT_COUNTER && n.n > 6 && memcmp(n.p + n.n - 6, "_total", 6) == 0)
        n.n -= 6;
    return n;
}

static void head(const struct expfmt_family *f, bool om, struct buf *b)
{
    struct slice n = om ? expfmt_om_name(f->name, f->type) : f->name;
    if (f->has_help)
        metric_text_help(b, n, f->help, om);
    if (f->has_type)
        metric_text_type(b, n, slice_str(om && f->type == EXPFMT_UNTYPED ? "unknown" : type_name[f->type]), SLICE_NONE);
}

static void labels_write(const struct expfmt *e, const struct expfmt_sample *s, bool om, struct buf *b)
{
    for (uint32_t i = 0; i < s->n_labels; i++) {
        const struct expfmt_label *l = &e->labels[s->first_label + i];
        double bound;
        buf_char(b, i ? ',' : '{');
        buf_add(b, l->name);
        buf_str(b, "=\"");
        if (om && (slice_eq(l->name, SLICE("le")) || slice_eq(l->name, SLICE("quantile"))) && slice_to_f64(l->value, &bound))
            metric_text_f64_om(b, bound);
        else
            metric_text_label(b, l->value);
        buf_char(b, '"');
    }
    if (s->n_labels)
        buf_char(b, '}');
}

static void time_write(const struct expfmt_sample *s, bool om, struct buf *b)
{
    if (!s->time.n)
        return;
    buf_char(b, ' ');
    int64_t ms = 0;
    if (!om || !slice_to_i64(s->time, &ms)) {
        buf_add(b, s->time);
        return;
    }
    uint64_t u = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    buf_printf(b, "%s%llu.%03llu", ms < 0 ? "-" : "", (unsigned long long)(u / 1000), (unsigned long long)(u % 1000));
}

static void line_write(const struct expfmt *e, const struct expfmt_sample *s, struct slice name, const char *suffix, bool om,
                       struct buf *b)
{
    buf_add(b, name);
    buf_str(b, suffix);
    labels_write(e, s, om, b);
    buf_char(b, ' ');
    if (om && !isfinite(s->value))
        buf_f64(b, s->value);
    else
        buf_add(b, s->number);
    time_write(s, om, b);
    buf_char(b, '\n');
}

// x_created of the metric that s is of, the nth of its family: they stand in the same order, as a rule.
static void created_write(const struct expfmt *e, const struct expfmt_family *f, const struct expfmt_sample *s, uint32_t nth,
                          struct buf *b)
{
    const struct expfmt_family *c = f->created ? &e->families[f->created - 1] : NULL;
    struct slice inner = expfmt_inner_label(f->type);
    for (uint32_t i = 0; c && i < c->n; i++) {
        const struct expfmt_sample *at = &e->samples[c->first + (nth + i) % c->n];
        if (expfmt_same_metric(e, s, at, inner)) {
            line_write(e, at, c->name, "", true, b);
            return;
        }
    }
}

// OpenMetrics has no sum where it may fall.
static bool falls(const struct expfmt *e, const struct expfmt_family *f, uint32_t from, uint32_t to)
{
    double bound;
    for (uint32_t i = from; i < to; i++) {
        const struct expfmt_sample *s = &e->samples[f->first + i];
        if (slice_eq(slice_from(s->name, f->name.n), SLICE("_sum")) && s->value < 0)
            return true;
        for (uint32_t k = 0; k < s->n_labels; k++) {
            const struct expfmt_label *l = &e->labels[s->first_label + k];
            if (slice_eq(l->name, SLICE("le")) && slice_to_f64(l->value, &bound) && bound < 0)
                return true;
        }
    }
    return false;
}

// The lines of one metric.
static void metric_write(const struct expfmt *e, const struct expfmt_family *f, uint32_t from, uint32_t to, uint32_t nth,
                         struct buf *b)
{
    bool counter = f->type == EXPFMT_COUNTER, no_sum = f->type == EXPFMT_HISTOGRAM && falls(e, f, from, to);
    for (uint32_t i = from; i < to; i++) {
        const struct expfmt_sample *s = &e->samples[f->first + i];
        struct slice rest = slice_from(s->name, counter ? s->name.n : f->name.n);
        if (no_sum && (slice_eq(rest, SLICE("_sum")) || slice_eq(rest, SLICE("_count"))))
            continue;
        line_write(e, s, counter ? expfmt_om_name(f->name, f->type) : s->name, counter ? "_total" : "", true, b);
    }
    created_write(e, f, &e->samples[f->first + from], nth, b);
}

void expfmt_write_family(const struct expfmt *e, const struct expfmt_family *f, bool om, struct buf *b)
{
    struct slice inner = expfmt_inner_label(f->type);
    head(f, om, b);
    for (uint32_t i = 0, end, nth = 0; i < f->n; i = end, nth++) {
        end = i + 1;
        while (om && inner.n && end < f->n &&
               expfmt_same_metric(e, &e->samples[f->first + i], &e->samples[f->first + end], inner))
            end++;
        if (om)
            metric_write(e, f, i, end, nth, b);
        else
            line_write(e, &e->samples[f->first + i], e->samples[f->first + i].name, "", false, b);
    }
}

void expfmt_write(const struct expfmt *e, struct buf *b)
{
    for (uint32_t i = 0; i < e->n_families; i++)
        expfmt_write_family(e, &e->families[i], false, b);
}
