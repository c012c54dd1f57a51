// Runs files of cases over samples in memory:
//
//   # comment
//   load 15s at 1s                 the first sample's time, and the distance of samples
//     name{a="b"} 0 1+2x3 _ stale 5x2     1+2x3 is 1 3 5 7; 5x2 is 5 5 5; _ leaves one out
//   eval 5m expression             at one time: lines of LABELS VALUE follow, in any order
//   eval 1m..5m/30s expression     a range: LABELS and a value for each step, _ where there is none
//     {a="b"} 1 _ 3
//   order 5m expression            as eval, and the lines stand in this order
//   fail 5m expression             an error; the next line holds a part of its text
#include "base/buf.h"
#include "base/limits.h"
#include "check.h"
#include "promql/engine.h"
#include "query/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *path;
static struct batch *batch;
static int line_number, cases;

static void fail_line(const char *what, struct slice got)
{
    fail_msg("%s:%d: %s: %.*s", path, line_number, what, (int)got.n, got.p);
}

static struct slice word(struct slice *s)
{
    *s = slice_trim(*s);
    size_t n = 0;
    while (n < s->n && s->p[n] != ' ')
        n++;
    struct slice w = slice_cut(*s, n);
    *s = slice_trim(slice_from(*s, n));
    return w;
}

static double number(struct slice s)
{
    double v = 0;
    if (!slice_to_f64(s, &v))
        fail_line("no number", s);
    return v;
}

static int64_t duration(struct slice s)
{
    int64_t ms = 0;
    if (!prom_duration_read(s, &ms))
        fail_line("no duration", s);
    return ms;
}

// ---- load -----------------------------------------------------------------------------------------------------------

// Splits "name{…} rest": labels may hold blanks.
static struct slice labels_of(struct slice *s)
{
    bool quoted = false;
    size_t n = 0;
    *s = slice_trim(*s);
    for (; n < s->n && (quoted || s->p[n] != ' '); n++)
        quoted ^= s->p[n] == '"' && s->p[n - 1] != '\\';
    struct slice l = slice_cut(*s, n);
    *s = slice_trim(slice_from(*s, n));
    return l;
}

static uint32_t read_labels(struct slice text, struct label *l)
{
    struct promql *p = NULL;
    struct error err = {0};
    uint32_t n = 0;
    if (slice_eq(text, SLICE("{}")))
        return 0;
    if (promql_parse_selector(&p, text, &err) != ERR_OK)
        fail_line(err.msg, text);
    for (uint32_t i = 0; i < p->root->n_matchers; i++)
        l[n++] = (struct label){batch_dup(batch, p->root->matchers[i].name), batch_dup(batch, p->root->matchers[i].value)};
    promql_free(p);
    return labels_sort(l, n);
}

static void put(int64_t t, uint32_t r, double v)
{
    batch_row(batch, t * 1000000, r);
    batch_field_f64(batch, FIELD_VALUE, v);
}

static void load(struct slice text, int64_t at, int64_t step)
{
    struct label l[MAX_SERIES_LABELS];
    uint32_t n = read_labels(labels_of(&text), l), r = batch_resource(batch, l, n, NULL, 0);
    while (text.n) {
        struct slice w = word(&text), times = w;
        double from, by = 0;
        int64_t more = 0;
        char *end;
        char copy[64];
        snprintf(copy, sizeof copy, "%.*s", (int)w.n, w.p);
        if (*copy == '_') {
            at += step;
            continue;
        }
        if (strcmp(copy, "stale") == 0) {
            put(at, r, sample_from_bits(SAMPLE_STALE));
            at += step;
            continue;
        }
        from = strtod(copy, &end);
        if (*end == '+' || *end == '-')
            by = strtod(end, &end);
        if (*end == 'x')
            more = strtol(end + 1, &end, 10);
        if (*end || end == copy)
            fail_line("no value", times);
        for (int64_t i = 0; i <= more; i++, at += step)
            put(at, r, from + by * (double)i);
    }
}

// ---- eval -----------------------------------------------------------------------------------------------------------

static void read_times(struct slice s, struct prom_request *r)
{
    ptrdiff_t dots = slice_find(s, SLICE("..")), slash = slice_find(s, SLICE("/"));
    r->instant = dots < 0;
    if (r->instant) {
        r->start = r->end = duration(s);
        return;
    }
    r->start = duration(slice_cut(s, (size_t)dots));
    r->end = duration(slice_cut(slice_from(s, (size_t)dots + 2), (size_t)(slash - dots - 2)));
    r->step = duration(slice_from(s, (size_t)slash + 1));
}

static enum errc evaluate(struct query *q, struct promql **p, struct slice times, struct slice text, struct prom_result *out,
                          struct error *err)
{
    struct prom_request r;
    prom_request_default(&r);
    read_times(times, &r);
    TRY(promql_parse(p, text, err));
    return promql_eval(q, *p, &r, out, err);
}

static bool near(double a, double b)
{
    return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) || fabs(a - b) < 1e-12;
}

static void check_series(const struct prom_result *res, uint32_t i, struct slice want)
{
    for (uint32_t t = 0; t < res->steps; t++) {
        struct slice w = word(&want);
        double got = res->vector.s[i].v[t];
        if ((res->vector.s[i].has[t] == PROM_HAS_NONE) != slice_eq(w, SLICE("_")))
            fail_msg("%s:%d: step %u: %s, want %.*s", path, line_number, t, res->vector.s[i].has[t] ? "a value" : "none",
                     (int)w.n, w.p);
        if (res->vector.s[i].has[t] && !near(got, number(w)))
            fail_msg("%s:%d: step %u: got %.17g, want %.*s", path, line_number, t, got, (int)w.n, w.p);
    }
    if (want.n)
        fail_line("more values than steps", want);
}

// Takes the series with these labels off the answer, or the first.
static void check_line(struct prom_result *res, struct slice text, bool ordered)
{
    struct label l[MAX_SERIES_LABELS];
    struct slice labels = labels_of(&text);
    uint32_t n = read_labels(labels, l), i = 0;
    while (i < res->vector.n && (res->vector.s[i].n != n || labels_cmp(res->vector.s[i].l, res->vector.s[i].n, l, n) != 0))
        i++;
    if (i == res->vector.n || (ordered && i))
        fail_line(i ? "not in this order" : "there is no such series", labels);
    check_series(res, i, text);
    for (res->vector.n--; i < res->vector.n; i++)
        res->vector.s[i] = res->vector.s[i + 1];
}

// ---- the file -------------------------------------------------------------------------------------------------------

static void one_case(FILE *f, char *line, size_t size, bool *again, struct slice kind, struct slice rest)
{
    const struct batch *const all[] = {batch};
    struct batch_list list = {all, 1};
    struct query_limits limits;
    struct prom_result res = {0};
    struct promql *p = NULL;
    struct error err = {0};
    struct query q;
    bool bad = slice_eq(kind, SLICE("fail"));
    query_limits_default(&limits);
    assert_int_equal(query_init(&q, query_source_batches(&list), SLICE("t"), &limits, NULL), ERR_OK);
    struct slice times = word(&rest);
    enum errc rc = evaluate(&q, &p, times, rest, &res, &err);
    cases++;
    if ((rc != ERR_OK) != bad)
        fail_line(rc ? err.msg : "no error", rest);
    while ((*again = fgets(line, (int)size, f) != NULL)) {
        line_number++;
        struct slice s = slice_trim(slice_str(line));
        if (*line != ' ')
            break;
        if (bad && slice_find(slice_str(err.msg), s) < 0)
            fail_line(err.msg, s);
        if (!bad)
            check_line(&res, s, slice_eq(kind, SLICE("order")));
    }
    if (!bad && res.vector.n) {
        struct buf b;
        buf_init(&b, KIB(4));
        for (uint32_t i = 0; i < res.vector.s[0].n; i++)
            buf_printf(&b, " %.*s=%.*s", (int)res.vector.s[0].l[i].name.n, res.vector.s[0].l[i].name.p,
                       (int)res.vector.s[0].l[i].value.n, res.vector.s[0].l[i].value.p);
        fail_line("a series before this line that is not expected", buf_slice(&b));
    }
    promql_free(p);
    query_free(&q);
}

static void file(void **state)
{
    static char line[1 << 16];
    FILE *f = fopen(path, "r");
    int64_t step = 0, at = 0;
    assert_non_null(f);
    batch = batch_new(SIGNAL_SAMPLE, MIB(64));
    bool more = fgets(line, sizeof line, f) != NULL, loading = false;
    line_number = 1;
    while (more) {
        struct slice s = slice_trim(slice_str(line)), rest = s, kind = word(&rest);
        if (*line == ' ' && loading) {
            load(s, at, step);
        } else if (slice_eq(kind, SLICE("load"))) {
            loading = true;
            step = duration(word(&rest));
            at = word(&rest).n ? duration(rest) : 0;
        } else if (s.n && *s.p != '#') {
            if (!batch->sealed && !batch_seal(batch))
                fail_line("the samples do not fit", s);
            char text[1 << 14];
            snprintf(text, sizeof text, "%.*s", (int)rest.n, rest.p);
            one_case(f, line, sizeof line, &more,
                     slice_eq(kind, SLICE("fail"))    ? SLICE("fail")
                     : slice_eq(kind, SLICE("order")) ? SLICE("order")
                                                      : SLICE("eval"),
                     slice_str(text));
            continue;
        }
        more = fgets(line, sizeof line, f) != NULL;
        line_number++;
    }
    fclose(f);
    batch_unref(batch);
    assert_true(cases > 0);
    printf("%d cases\n", cases);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(file)};
    path = argc > 1 ? argv[1] : "";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
