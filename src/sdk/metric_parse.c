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

void expfmt_write_family(const struct expfmt *e, const struct expfmt_family *f, bool om, struct buf *b)
{
    head(f, om, b);
    struct slice counter = expfmt_om_name(f->name, f->type);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct expfmt_sample *s = &e->samples[f->first + i];
        if (om && f->type == EXPFMT_COUNTER) {
            buf_add(b, counter);
            buf_str(b, "_total");
        } else {
            buf_add(b, s->name);
        }
        labels_write(e, s, om, b);
        buf_char(b, ' ');
        if (om && !isfinite(s->value))
            buf_f64(b, s->value);
        else
            buf_add(b, s->number);
        time_write(s, om, b);
        buf_char(b, '\n');
    }
}

void expfmt_write(const struct expfmt *e, struct buf *b)
{
    for (uint32_t i = 0; i < e->n_families; i++)
        expfmt_write_family(e, &e->families[i], false, b);
}
