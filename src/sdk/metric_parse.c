#include "sdk/metric_parse.h"
#include "base/utf8.h"
#include "sdk/metric.h"
#include <math.h>

static const char *const type_name[] = {"untyped", "counter", "gauge", "histogram", "summary"};

struct parser {
    struct expfmt *out;
    struct arena *a;
    struct error *err;
    const char *p, *end; // of the line
    size_t line;
    uint32_t families_cap, samples_cap, labels_cap;
};

static enum errc bad(struct parser *p, const char *what)
{
    return ERR(p->err, SYNTAX, "metrics text, line %zu: %s", p->line, what);
}

static enum errc grow(struct parser *p, void **array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return ERR_OK;
    uint32_t more = *cap ? 2 * *cap : 64;
    void *to = more > *cap ? arena_grow(p->a, *array, *cap * size, more * size) : NULL;
    if (!to)
        return ERR(p->err, LIMIT, "metrics text, line %zu: the page is too large", p->line);
    *array = to;
    *cap = more;
    return ERR_OK;
}
#define GROW(p, field) grow((p), (void **)&(p)->out->field, (p)->out->n_##field, &(p)->field##_cap, sizeof *(p)->out->field)

static void blanks(struct parser *p)
{
    while (p->p < p->end && (*p->p == ' ' || *p->p == '\t'))
        p->p++;
}

static bool name_char(char c, bool first, bool label)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && !label) ||
           (!first && c >= '0' && c <= '9');
}

static struct slice name(struct parser *p, bool label)
{
    const char *from = p->p;
    while (p->p < p->end && name_char(*p->p, p->p == from, label))
        p->p++;
    return slice_of(from, (size_t)(p->p - from));
}

static struct slice word(struct parser *p)
{
    const char *from = p->p;
    while (p->p < p->end && *p->p != ' ' && *p->p != '\t')
        p->p++;
    return slice_of(from, (size_t)(p->p - from));
}

// raw with its escapes resolved: \\ and \n, and \" where quoted. Others stay as they are.
static enum errc unescape(struct parser *p, struct slice raw, bool quoted, struct slice *out)
{
    *out = raw;
    if (!raw.n || !memchr(raw.p, '\\', raw.n))
        return ERR_OK;
    char *to = arena_alloc(p->a, raw.n);
    if (!to)
        return ERR(p->err, LIMIT, "metrics text, line %zu: the page is too large", p->line);
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        char next = raw.p[i] == '\\' && i + 1 < raw.n ? raw.p[i + 1] : 0;
        if (next == '\\' || next == 'n' || (next == '"' && quoted)) {
            to[n++] = next == 'n' ? '\n' : next;
            i++;
        } else {
            to[n++] = raw.p[i];
        }
    }
    *out = slice_of(to, n);
    return ERR_OK;
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
    p->p++;
    blanks(p);
    struct slice what = word(p);
    bool help = slice_eq(what, SLICE("HELP"));
    if (!help && !slice_eq(what, SLICE("TYPE")))
        return ERR_OK; // said to people
    blanks(p);
    struct slice n = name(p, false);
    if (n.n == 0 || (p->p < p->end && *p->p != ' ' && *p->p != '\t'))
        return bad(p, help ? "HELP needs a metric name" : "TYPE needs a metric name");
    struct expfmt_family *f;
    TRY(family_for(p, n, &f));
    if (help ? f->has_help : f->has_type)
        return bad(p, help ? "a second HELP for the same metric" : "a second TYPE for the same metric");
    if (help) {
        p->p += p->p < p->end; // one blank; further ones belong to the text
        f->has_help = true;
        TRY(unescape(p, slice_of(p->p, (size_t)(p->end - p->p)), false, &f->help));
        return utf8_valid(f->help) ? ERR_OK : bad(p, "a help text is not UTF-8");
    }
    blanks(p);
    struct slice t = slice_trim(slice_of(p->p, (size_t)(p->end - p->p)));
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
    struct slice n = name(p, true), value;
    if (n.n == 0)
        return bad(p, "a label name was expected");
    for (uint32_t i = first; i < p->out->n_labels; i++)
        if (slice_eq(p->out->labels[i].name, n))
            return bad(p, "a label is given twice");
    if (p->out->n_labels - first >= 2 * SONDE_METRIC_LABELS_MAX)
        return bad(p, "more than 128 labels");
    blanks(p);
    if (p->p == p->end || *p->p++ != '=')
        return bad(p, "'=' was expected behind a label name");
    blanks(p);
    if (p->p == p->end || *p->p++ != '"')
        return bad(p, "a label value must stand in quotes");
    const char *from = p->p;
    while (p->p < p->end && *p->p != '"')
        p->p += *p->p == '\\' && p->p + 1 < p->end ? 2 : 1;
    if (p->p >= p->end)
        return bad(p, "a label value has no closing quote");
    TRY(unescape(p, slice_of(from, (size_t)(p->p++ - from)), true, &value));
    if (!utf8_valid(value))
        return bad(p, "a label value is not UTF-8");
    TRY(GROW(p, labels));
    p->out->labels[p->out->n_labels++] = (struct expfmt_label){n, value};
    return ERR_OK;
}

static enum errc labels(struct parser *p, uint32_t first)
{
    p->p++; // {
    for (;;) {
        blanks(p);
        if (p->p < p->end && *p->p == '}')
            break;
        TRY(label(p, first));
        blanks(p);
        if (p->p < p->end && *p->p == ',')
            p->p++;
        else if (p->p == p->end || *p->p != '}')
            return bad(p, "',' or '}' was expected behind a label");
    }
    p->p++;
    return ERR_OK;
}

static enum errc sample(struct parser *p)
{
    struct expfmt_sample s = {.name = name(p, false), .first_label = p->out->n_labels};
    if (s.name.n == 0)
        return bad(p, "a metric name was expected");
    blanks(p);
    if (p->p < p->end && *p->p == '{')
        TRY(labels(p, s.first_label));
    s.n_labels = p->out->n_labels - s.first_label;
    blanks(p);
    s.number = word(p);
    if (!slice_to_f64(s.number, &s.value))
        return bad(p, "the value is not a number");
    blanks(p);
    s.time = word(p);
    int64_t ms;
    if (s.time.n && !slice_to_i64(s.time, &ms))
        return bad(p, "the time is not a whole number of milliseconds");
    blanks(p);
    if (p->p < p->end)
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
    struct slice rest = text.n ? text : SLICE_NONE, line;
    while (rest.p && slice_split(&rest, '\n', &line)) {
        p.line++;
        while (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        p.p = line.p;
        p.end = line.p + line.n;
        blanks(&p);
        if (p.p == p.end)
            continue;
        TRY(*p.p == '#' ? comment(&p) : sample(&p));
    }
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
static void help_text(struct buf *b, struct slice s, bool quotes)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' || c == '\n' || (c == '"' && quotes)) {
            buf_char(b, '\\');
            c = c == '\n' ? 'n' : c;
        }
        buf_char(b, c);
    }
}

struct slice expfmt_om_name(struct slice n, enum expfmt_type type)
{
    if (type == EXPFMT_COUNTER && n.n > 6 && memcmp(n.p + n.n - 6, "_total", 6) == 0)
        n.n -= 6;
    return n;
}

static void head(const struct expfmt_family *f, bool om, struct buf *b)
{
    struct slice n = om ? expfmt_om_name(f->name, f->type) : f->name;
    if (f->has_help) {
        buf_str(b, "# HELP ");
        buf_add(b, n);
        buf_char(b, ' ');
        help_text(b, f->help, om);
        buf_char(b, '\n');
    }
    if (f->has_type) {
        buf_str(b, "# TYPE ");
        buf_add(b, n);
        buf_char(b, ' ');
        buf_str(b, om && f->type == EXPFMT_UNTYPED ? "unknown" : type_name[f->type]);
        buf_char(b, '\n');
    }
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
