// Two trees of results, test by test. Repetitions are results of one name in a tree (run1/test_x, run2/test_x), else the clients
// of one test; Welch's test tells whether two means differ by more than chance, the test of two proportions whether success does.
#include "base/json.h"
#include "results/report.h"
#include <stdlib.h>

enum { SAMPLES_MAX = 4096 };

struct samples {
    double v[SAMPLES_MAX];
    uint32_t n;
};

struct metric {
    const char *name, *unit;
    bool more_is_better, by_client;
    double (*value)(const struct result *x);
    const double *(*clients)(const struct result *x);
};

static double latency(const struct result *x)
{
    return x->load.latency;
}
static double p99(const struct result *x)
{
    return x->load.p99;
}
static double ttft(const struct result *x)
{
    return x->load.ttft;
}
static double itl(const struct result *x)
{
    return x->load.itl;
}
static double throughput(const struct result *x)
{
    return x->load.throughput;
}
static double startup(const struct result *x)
{
    return x->startup;
}
static double recovery(const struct result *x)
{
    return x->recovery;
}
static double errors(const struct result *x)
{
    return (double)x->errors;
}
static const double *client_latency(const struct result *x)
{
    return x->client_latency;
}

static const struct metric metrics[] = {
    {"mean latency", "s", false, true, latency, client_latency},
    {"p99 latency", "s", false, false, p99, NULL},
    {"TTFT", "s", false, false, ttft, NULL},
    {"ITL", "s", false, false, itl, NULL},
    {"throughput", "req/s", true, false, throughput, NULL},
    {"startup", "s", false, false, startup, NULL},
    {"recovery", "s", false, false, recovery, NULL},
    {"error lines", "", false, false, errors, NULL},
};

static void gather(const struct results *r, struct slice name, const struct metric *m, struct samples *s)
{
    const struct result *only = NULL;
    s->n = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        if (!slice_eq(r->item[i].name, name))
            continue;
        double v = m->value(&r->item[i]);
        only = &r->item[i];
        if (!isnan(v) && s->n < SAMPLES_MAX)
            s->v[s->n++] = v;
    }
    if (s->n != 1 || !m->clients || only->n_client < 2)
        return;
    s->n = 0;
    for (uint32_t i = 0; i < only->n_client && s->n < SAMPLES_MAX; i++)
        if (!isnan(m->clients(only)[i]))
            s->v[s->n++] = m->clients(only)[i];
}

static void gather_success(const struct results *r, struct slice name, double *ok, double *n, uint32_t *runs)
{
    *ok = *n = 0;
    *runs = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct result *x = &r->item[i];
        if (!slice_eq(x->name, name) || (!x->load.total && !x->n_cases))
            continue;
        ++*runs;
        *ok += x->load.total ? (double)x->load.ok : x->n_cases - x->cases_skipped - x->cases_failed;
        *n += x->load.total ? (double)x->load.total : x->n_cases - x->cases_skipped;
    }
}

static bool is_worse(double before, double after, bool more_is_better, double p)
{
    if (more_is_better ? after >= before : after <= before)
        return false;
    double scale = fabs(before) > 1e-12 ? fabs(before) : fabs(after);
    return isnan(p) ? fabs(after - before) > scale / 10 : p < 0.05;
}

static void compare_test(const struct results *a, const struct results *b, struct slice name, struct samples *s,
                         struct result_change *out, uint32_t *n)
{
    double ok_a, n_a, ok_b, n_b;
    uint32_t runs_a, runs_b;
    gather_success(a, name, &ok_a, &n_a, &runs_a);
    gather_success(b, name, &ok_b, &n_b, &runs_b);
    if (n_a > 0 && n_b > 0) {
        struct result_change c = {name, "success", "%", 100 * ok_a / n_a, 100 * ok_b / n_b, runs_a, runs_b, NAN, false, false};
        c.p = stat_proportions(ok_a, n_a, ok_b, n_b);
        c.worse = is_worse(c.before, c.after, true, c.p);
        c.better = is_worse(c.after, c.before, true, c.p);
        out[(*n)++] = c;
    }
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        const struct metric *m = &metrics[i];
        gather(a, name, m, &s[0]);
        gather(b, name, m, &s[1]);
        if (!s[0].n || !s[1].n)
            continue;
        struct result_change c = {name, m->name, m->unit, stat_mean(s[0].v, s[0].n), stat_mean(s[1].v, s[1].n), s[0].n, s[1].n,
                                  NAN,  false,   false};
        c.p = stat_welch(s[0].v, s[0].n, s[1].v, s[1].n);
        c.worse = is_worse(c.before, c.after, m->more_is_better, c.p);
        c.better = is_worse(c.after, c.before, m->more_is_better, c.p);
        out[(*n)++] = c;
    }
}

static bool has(const struct results *r, struct slice name, uint32_t below)
{
    for (uint32_t i = 0; i < below; i++)
        if (slice_eq(r->item[i].name, name))
            return true;
    return false;
}

// By how much it is worse, in its own measure: twice as slow is as bad as half as many.
static double badness(const struct result_change *c)
{
    double low = fmin(fabs(c->before), fabs(c->after)), high = fmax(fabs(c->before), fabs(c->after));
    return low > 1e-12 ? high / low : high > 1e-12 ? INFINITY : 1;
}

static int worst_first(const void *x, const void *y)
{
    const struct result_change *a = x, *b = y;
    if (a->worse != b->worse)
        return a->worse ? -1 : 1;
    double bad_a = badness(a), bad_b = badness(b);
    if (a->worse && bad_a != bad_b)
        return bad_a > bad_b ? -1 : 1;
    int order = slice_cmp(a->test, b->test);
    return order ? order : strcmp(a->metric, b->metric);
}

enum errc results_compare(struct results *a, struct results *b, struct result_change **out, uint32_t *n)
{
    struct samples *s = malloc(2 * sizeof *s);
    size_t per_test = sizeof metrics / sizeof *metrics + 1;
    struct result_change *c = ARENA_ARRAY(&a->arena, struct result_change, a->n * per_test + 1);
    *n = 0;
    if (!s || !c) {
        free(s);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        struct slice name = a->item[i].name;
        if (has(a, name, i))
            continue;
        if (has(b, name, b->n))
            compare_test(a, b, name, s, c, n);
        else
            result_note(&a->arena, &a->item[i], "only in %.*s", (int)a->path.n, a->path.p);
    }
    for (uint32_t i = 0; i < b->n; i++)
        if (!has(a, b->item[i].name, a->n) && !has(b, b->item[i].name, i))
            result_note(&b->arena, &b->item[i], "only in %.*s", (int)b->path.n, b->path.p);
    qsort(c, *n, sizeof *c, worst_first);
    *out = c;
    free(s);
    return ERR_OK;
}

// ---- printed --------------------------------------------------------------------------------------------------------
static struct slice chance(struct arena *a, double p)
{
    return isnan(p) ? SLICE("N/A") : p < 0.0001 ? SLICE("< 0.0001") : arena_printf(a, "%.4f", p);
}

static void changes_json(const struct result_change *c, uint32_t n, struct buf *out)
{
    struct jw w = jw_to(out);
    jw_arr(&w);
    for (uint32_t i = 0; i < n; i++) {
        jw_obj(&w);
        JW_KEY(&w, "test");
        jw_str(&w, c[i].test);
        JW_KEY(&w, "metric");
        jw_str(&w, slice_str(c[i].metric));
        JW_KEY(&w, "unit");
        jw_str(&w, slice_str(c[i].unit));
        JW_KEY(&w, "before");
        jw_f64(&w, c[i].before);
        JW_KEY(&w, "after");
        jw_f64(&w, c[i].after);
        JW_KEY(&w, "repetitions_before");
        jw_u64(&w, c[i].n_before);
        JW_KEY(&w, "repetitions_after");
        jw_u64(&w, c[i].n_after);
        JW_KEY(&w, "p");
        jw_f64(&w, c[i].p);
        JW_KEY(&w, "worse");
        jw_bool(&w, c[i].worse);
        JW_KEY(&w, "better");
        jw_bool(&w, c[i].better);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    buf_char(out, '\n');
}

static void only_in(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < r->item[i].n_notes; k++)
            if (slice_starts(r->item[i].note[k], SLICE("only in ")))
                report_note(table_line(a, r->item[i].name), r->item[i].note[k], f, out);
}

void results_print_changes(const struct results *a, const struct results *b, const struct result_change *c, uint32_t n,
                           enum results_format f, struct buf *out)
{
    static const char *const head[] = {"Test", "Metric", "Before", "After", "Change", "Runs", "p", "Verdict"};
    struct arena arena;
    struct table t;
    if (f == RESULTS_JSON) {
        changes_json(c, n, out);
        return;
    }
    arena_init(&arena, RESULTS_MEMORY);
    if (f == RESULTS_HTML)
        report_page(arena_printf(&arena, "%.*s and %.*s", (int)a->path.n, a->path.p, (int)b->path.n, b->path.p), out);
    table_start(&t, &arena, "WHAT CHANGED", head, 8);
    for (uint32_t i = 0; i < n; i++) {
        struct slice *row = table_row(&t);
        double part = fabs(c[i].before) > 1e-12 ? 100 * (c[i].after - c[i].before) / fabs(c[i].before) : NAN;
        row[0] = c[i].test;
        row[1] = *c[i].unit ? arena_printf(&arena, "%s (%s)", c[i].metric, c[i].unit) : slice_str(c[i].metric);
        row[2] = table_number(&arena, c[i].before, 3, "");
        row[3] = table_number(&arena, c[i].after, 3, "");
        row[4] = isnan(part) ? SLICE("N/A") : arena_printf(&arena, "%+.1f %%", part);
        row[5] = arena_printf(&arena, "%u / %u", c[i].n_before, c[i].n_after);
        row[6] = chance(&arena, c[i].p);
        row[7] = c[i].worse ? SLICE("worse") : c[i].better ? SLICE("better") : SLICE("");
    }
    table_print(&t, f, out);
    if (f == RESULTS_HTML)
        buf_str(out, "<ul>\n");
    if (f == RESULTS_MARKDOWN)
        buf_char(out, '\n');
    if (f != RESULTS_CSV) {
        only_in(&arena, a, f, out);
        only_in(&arena, b, f, out);
    }
    if (f == RESULTS_HTML) {
        buf_str(out, "</ul>\n");
        report_page_end(out);
    }
    arena_free(&arena);
}
