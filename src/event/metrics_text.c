// The two formats differ in the time's unit, in names of counters, and in exemplars, which OpenMetrics alone has.
#include "event/metrics_text.h"
#include "base/utf8.h"
#include "event/decode.h"
#include "event/metrics_line.h"
#include "event/sample.h"

struct page {
    struct decode *d;
    const struct metrics_text *t;
    struct metrics_line line;
    struct decode_family family; // that the last comments spoke of
    struct label labels[2 * MAX_SERIES_LABELS];
    uint32_t n;
    uint32_t scraped;
};

static bool bad(struct page *g, const char *what)
{
    ERR(g->d->err, SYNTAX, "metrics text, line %zu: %s", g->line.number, what);
    return false;
}

static struct slice unescaped(struct page *g, struct slice raw, bool quotes)
{
    struct slice text = metrics_line_unescape(&g->d->b->arena, raw, quotes);
    g->d->b->failed |= !text.p;
    return text.p ? text : SLICE("");
}

// A quoted text at the place.
static bool quoted(struct page *g, struct slice *out)
{
    struct slice raw;
    if (!metrics_line_quoted(&g->line, &raw))
        return bad(g, "a quote is not closed");
    *out = unescaped(g, raw, true);
    return utf8_valid(*out) || bad(g, "a quoted text is not UTF-8");
}

static bool name_at(struct page *g, struct slice *out)
{
    if (metrics_line_is(&g->line, '"'))
        return quoted(g, out);
    *out = metrics_line_name(&g->line, true);
    return out->n || bad(g, "a name was expected");
}

// {a="b", …}; a quoted name without a value is the metric's.
static bool label_set(struct page *g, struct label *to, uint32_t *n, uint32_t max, struct slice *metric)
{
    struct metrics_line *l = &g->line;
    l->p++;
    for (;;) {
        struct label at;
        metrics_line_blanks(l);
        if (metrics_line_is(l, '}'))
            break;
        bool in_quotes = metrics_line_is(l, '"');
        if (!name_at(g, &at.name))
            return false;
        metrics_line_blanks(l);
        if (metrics_line_take(l, '=')) {
            metrics_line_blanks(l);
            if (!metrics_line_is(l, '"'))
                return bad(g, "a label's value must stand in quotes");
            if (!quoted(g, &at.value))
                return false;
            if (*n == max)
                return bad(g, "too many labels");
            to[(*n)++] = at;
        } else if (in_quotes && metric && !metric->n) {
            *metric = at.name;
        } else {
            return bad(g, "'=' was expected behind a label's name");
        }
        metrics_line_blanks(l);
        if (!metrics_line_take(l, ',') && !metrics_line_is(l, '}'))
            return bad(g, "',' or '}' was expected behind a label");
    }
    l->p++;
    return true;
}

static bool time_at(struct page *g, bool seconds, int64_t *ns)
{
    struct slice text = metrics_line_word(&g->line);
    int64_t ms;
    double s;
    if (!seconds && slice_to_i64(text, &ms) && ms > -9000000000000 && ms < 9000000000000)
        *ns = ms * 1000000;
    else if (seconds && slice_to_f64(text, &s) && s > -9e9 && s < 9e9)
        *ns = (int64_t)(s * 1e3 + (s < 0 ? -0.5 : 0.5)) * 1000000;
    else
        return bad(g, seconds ? "the time is not a number of seconds" : "the time is not a whole number of milliseconds");
    return true;
}

// # {trace_id="…"} 0.5 [seconds]
static bool exemplar_at(struct page *g, struct slice *out)
{
    struct exemplar e = {0};
    struct buf b;
    g->line.p++;
    metrics_line_blanks(&g->line);
    if (!metrics_line_is(&g->line, '{'))
        return bad(g, "'{' was expected behind the # of an exemplar");
    if (!label_set(g, e.labels, &e.n_labels, MAX_EXEMPLAR_LABELS, NULL))
        return false;
    metrics_line_blanks(&g->line);
    if (!slice_to_f64(metrics_line_word(&g->line), &e.value))
        return bad(g, "an exemplar's value is not a number");
    metrics_line_blanks(&g->line);
    if (g->line.p < g->line.end && !time_at(g, true, &e.time))
        return false;
    e.n_labels = labels_sort(e.labels, e.n_labels);
    buf_init(&b, MAX_HTTP_BODY);
    exemplar_encode(&e, &b);
    *out = batch_dup(g->d->b, buf_slice(&b));
    g->d->report->exemplars++;
    buf_free(&b);
    return true;
}

static struct slice moved_aside(struct page *g, struct slice name)
{
    char *p = arena_alloc(&g->d->b->arena, name.n + 9);
    if (!p) {
        g->d->b->failed = true;
        return name;
    }
    memcpy(p, "exported_", 9);
    memcpy(p + 9, name.p, name.n);
    return slice_of(p, name.n + 9);
}

static void add_target(struct page *g)
{
    uint32_t own = g->n;
    for (uint32_t i = 0; i < g->t->n_target; i++) {
        for (uint32_t k = 0; k < own; k++)
            if (slice_eq(g->labels[k].name, g->t->target[i].name))
                g->labels[k].name = moved_aside(g, g->labels[k].name);
        g->labels[g->n++] = g->t->target[i];
    }
}

static bool sample_line(struct page *g)
{
    struct slice metric = SLICE("");
    struct sample s = {.exemplars = SLICE("")};
    int64_t time = g->t->now;
    g->n = 0;
    if (!metrics_line_is(&g->line, '{') && !name_at(g, &metric))
        return false;
    metrics_line_blanks(&g->line);
    if (metrics_line_is(&g->line, '{') && !label_set(g, g->labels, &g->n, MAX_SERIES_LABELS, &metric))
        return false;
    if (!metric.n)
        return bad(g, "a metric's name was expected");
    metrics_line_blanks(&g->line);
    if (!slice_to_f64(metrics_line_word(&g->line), &s.value))
        return bad(g, "the value is not a number");
    metrics_line_blanks(&g->line);
    if (g->line.p < g->line.end && !metrics_line_is(&g->line, '#') && !time_at(g, g->t->openmetrics, &time))
        return false;
    metrics_line_blanks(&g->line);
    if (metrics_line_is(&g->line, '#') && !exemplar_at(g, &s.exemplars))
        return false;
    metrics_line_blanks(&g->line);
    if (g->line.p < g->line.end)
        return bad(g, "something stands behind the value and its time");
    g->labels[g->n++] = (struct label){SLICE("__name__"), metric};
    add_target(g);
    bool stored = decode_sample(g->d, g->labels, g->n, time, &s);
    g->d->report->accepted += stored;
    g->scraped++;
    return !g->d->b->failed;
}

// ---- comments -------------------------------------------------------------------------------------------------------

static void family_end(struct page *g)
{
    struct decode_family *f = &g->family;
    if (f->name.n && (f->type.n || f->description.n || f->unit.n)) {
        if (g->t->openmetrics && slice_eq(f->type, SLICE("counter"))) { // as queries name it
            struct buf b;
            buf_init(&b, KIB(64));
            buf_add(&b, f->name);
            buf_str(&b, "_total");
            f->name = batch_dup(g->d->b, buf_slice(&b));
            buf_free(&b);
        }
        if (!f->type.n)
            f->type = SLICE("unknown");
        decode_metadata(g->d, f);
    }
    *f = (struct decode_family){SLICE(""), SLICE(""), SLICE(""), SLICE("")};
}

static bool comment(struct page *g)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "gaugehistogram",
                                        "summary", "info",  "stateset",  "unknown"};
    struct slice name, rest, what;
    g->line.p++;
    metrics_line_blanks(&g->line);
    what = metrics_line_word(&g->line);
    bool help = slice_eq(what, SLICE("HELP")), type = slice_eq(what, SLICE("TYPE")), unit = slice_eq(what, SLICE("UNIT"));
    if (!help && !type && !unit)
        return true; // said to people, or the end
    metrics_line_blanks(&g->line);
    if (!name_at(g, &name))
        return false;
    g->line.p += g->line.p < g->line.end;
    rest = slice_of(g->line.p, (size_t)(g->line.end - g->line.p));
    if (!slice_eq(name, g->family.name)) {
        family_end(g);
        g->family.name = name;
    }
    if (help) {
        g->family.description = decode_text(g->d, unescaped(g, rest, g->t->openmetrics));
    } else if (unit) {
        g->family.unit = decode_text(g->d, slice_trim(rest));
    } else {
        rest = slice_trim(rest);
        g->family.type = SLICE("unknown"); // "untyped" and what is not known
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            if (slice_eq(rest, slice_str(types[i])))
                g->family.type = slice_str(types[i]);
    }
    return true;
}

static bool read_lines(struct page *g)
{
    struct slice rest = g->d->bytes.n ? g->d->bytes : SLICE_NONE;
    while (metrics_line_next(&g->line, &rest))
        if (!(metrics_line_is(&g->line, '#') ? comment(g) : sample_line(g)))
            return false;
    family_end(g);
    return !g->d->b->failed;
}

// ---- scrapes --------------------------------------------------------------------------------------------------------

static void report_series(struct page *g, const char *name, double value)
{
    g->n = 0;
    g->labels[g->n++] = (struct label){SLICE("__name__"), slice_str(name)};
    for (uint32_t i = 0; i < g->t->n_target; i++)
        g->labels[g->n++] = g->t->target[i];
    decode_sample(g->d, g->labels, g->n, g->t->now, &(struct sample){.value = value});
}

// A series of the scrape before that this one has not: adding its resource here would find it otherwise.
static void mark_gone(struct page *g)
{
    const struct metrics_text *t = g->t;
    struct batch *b = g->d->b;
    const struct column *c = t->before->field[FIELD_VALUE];
    for (uint32_t i = 0; c && i < c->n; i++) {
        uint32_t row = c->row ? c->row[i] : i, known = b->n_resources;
        const struct resource *r = &t->before->resources[t->before->resource[row]];
        // A sample with a time of its own may stay as old as it is.
        if (!r->n_labels || sample_is_stale(c->f64[i]) || t->before->time[row] != sample_time(g->d, t->before_time))
            continue;
        uint32_t series = batch_resource_copy(b, r);
        if (b->n_resources > known)
            decode_sample_of(g->d, series, t->now, &(struct sample){.value = sample_from_bits(SAMPLE_STALE)});
    }
}

static uint32_t count_new(const struct page *g)
{
    const struct batch *b = g->d->b, *old = g->t->before;
    uint32_t same = 0, n = b->n_resources;
    struct batch *look = old ? batch_new(SIGNAL_SAMPLE, MAX_BATCH_MEMORY) : NULL;
    for (uint32_t i = 0; look && i < old->n_resources; i++)
        batch_resource_copy(look, &old->resources[i]);
    for (uint32_t i = 0; look && i < n; i++) {
        uint32_t known = look->n_resources;
        batch_resource_copy(look, &b->resources[i]);
        same += look->n_resources == known;
    }
    batch_unref(look);
    return n - same;
}

static void finish_scrape(struct page *g)
{
    uint32_t added = count_new(g);
    report_series(g, "up", g->t->up);
    report_series(g, "scrape_duration_seconds", g->t->seconds);
    report_series(g, "scrape_samples_scraped", g->scraped);
    report_series(g, "scrape_samples_post_metric_relabeling", g->d->report->accepted);
    report_series(g, "scrape_series_added", added);
    if (g->t->before)
        mark_gone(g);
}

bool decode_metrics_text(struct decode *d, struct slice text)
{
    struct slice end = slice_trim(text);
    struct metrics_text t = {.openmetrics = end.n >= 5 && memcmp(end.p + end.n - 5, "# EOF", 5) == 0, .now = d->opt->received_ns};
    struct page g = {.d = d, .t = &t, .family = {SLICE(""), SLICE(""), SLICE(""), SLICE("")}};
    return read_lines(&g);
}

enum errc metrics_text_read(const struct metrics_text *t, struct batch **out, struct wire_report *report, struct error *err)
{
    struct wire_report unasked;
    struct error local = {0};
    struct wire_options opt = {.received_ns = t->now};
    struct batch *b = batch_new(SIGNAL_SAMPLE, MAX_BATCH_MEMORY);
    *out = NULL;
    if (!b)
        return ERR(err, NOMEM, "no memory to read a page of metrics");
    struct decode d = {.b = b, .opt = &opt, .report = report ? report : &unasked, .err = &local};
    struct page g = {.d = &d, .t = t, .family = {SLICE(""), SLICE(""), SLICE(""), SLICE("")}};
    *d.report = (struct wire_report){0};
    d.bytes = batch_dup(b, t->text);
    bool ok = !b->failed && read_lines(&g);
    if (ok && t->scrape)
        finish_scrape(&g);
    if (ok)
        decode_metadata_rows(&d);
    if (ok && batch_seal(b)) {
        *out = b;
        return ERR_OK;
    }
    bool memory = b->failed || arena_failed(&b->arena);
    batch_unref(b);
    if (memory || local.code == ERR_OK)
        return ERR(err, LIMIT, "a page of metrics of %zu bytes needs more than %zu MiB of memory", t->text.n,
                   MAX_BATCH_MEMORY >> 20);
    return error_raise(err, local.code, local.file, local.line, "%s", local.msg);
}
