// sonde metrics QUERY: PromQL at one time or over a range, as a table, JSON, CSV or a chart.
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "cli/chart.h"
#include "net/http.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metrics_settings {
    struct client_settings client;
    int64_t range, step;
    bool chart;
};

#define ROW(flag_, type_, value_, argument_, about_, field_)                                   \
    {                                                                                          \
        .flag = flag_, .type = type_, .value = value_, .argument = argument_, .about = about_, \
        .offset = offsetof(struct metrics_settings, field_)                                    \
    }

_Static_assert(offsetof(struct metrics_settings, client) == 0, "CLIENT_ROWS want it there");
enum { METRICS_SETTINGS_N = 4 + CLIENT_ROWS_N };
static const struct setting metrics_settings[METRICS_SETTINGS_N] = {
    ROW("range", SETTING_DURATION, "0", "TIME", "how far back: 15m, 3h, 2d; 0 asks for one time", range),
    ROW("step", SETTING_DURATION, "0", "TIME", "distance of points in a range; 0 gives about 60 of them", step),
    ROW("chart", SETTING_BOOL, "off", "", "draw the range (1h if none is given) in the terminal", chart),
    CLIENT_ROW("until", NULL, SETTING_STR, "", "TIME",
               "when, or the end of the range: 15m back, or 2026-01-31T12:00:00Z; now by default", until),
    CLIENT_ROWS("text json jsonl csv", "output: text, json (one document), jsonl (a series a line) or csv",
                "how many series at most"),
};

// ---- series of the answer -------------------------------------------------------------------------------------------

static void put_name(struct buf *out, const struct tree *metric)
{
    const char *sep = "";
    buf_add(out, tree_text(metric, "__name__"));
    buf_char(out, '{');
    for (const struct tree *l = metric ? metric->first : NULL; l; l = l->next) {
        if (slice_eq(l->key, SLICE("__name__")))
            continue;
        buf_printf(out, "%s%.*s=\"", sep, (int)l->key.n, l->key.p);
        json_escape(out, l->text);
        buf_char(out, '"');
        sep = ", ";
    }
    buf_char(out, '}');
}

// The [time, value] pairs of a series, of either shape; a native histogram's value is its JSON.
static const struct tree *first_point(const struct tree *s, bool *many)
{
    static const char *const names[] = {"values", "value", "histograms", "histogram"};
    for (int i = 0; i < 4; i++) {
        const struct tree *t = tree_get(s, names[i]);
        *many = i == 0 || i == 2;
        if (t)
            return *many ? t->first : t;
    }
    return NULL;
}

static void text_series(const struct painter *p, const struct tree *s, size_t width)
{
    bool many;
    const struct tree *v = first_point(s, &many);
    draw_style(p, "36");
    size_t styled = p->out->n;
    put_name(p->out, tree_get(s, "metric"));
    size_t columns = p->out->n - styled;
    draw_style(p, "");
    if (!many && v && v->first && v->first->next) {
        buf_printf(p->out, "%*s  %.*s\n", columns < width ? (int)(width - columns) : 0, "", (int)v->first->next->text.n,
                   v->first->next->text.p);
        return;
    }
    buf_char(p->out, '\n');
    for (; many && v && v->first && v->first->next; v = v->next) {
        buf_str(p->out, "  ");
        draw_time(p->out, (int64_t)(v->first->number * 1e9));
        buf_printf(p->out, "  %.*s\n", (int)v->first->next->text.n, v->first->next->text.p);
    }
}

static void csv_cell(struct buf *out, struct slice s)
{
    if (!memchr(s.p, ',', s.n) && !memchr(s.p, '"', s.n) && !memchr(s.p, '\n', s.n)) {
        buf_add(out, s);
        return;
    }
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_char(out, '"');
        buf_char(out, s.p[i]);
    }
    buf_char(out, '"');
}

enum { MAX_CSV_COLUMNS = 256 };

static int by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

// All names of labels, sorted.
static size_t csv_columns(const struct tree *result, struct slice *names)
{
    size_t n = 0;
    for (const struct tree *s = result->first; s; s = s->next)
        for (const struct tree *l = tree_get(s, "metric") ? tree_get(s, "metric")->first : NULL; l; l = l->next) {
            size_t i = 0;
            while (i < n && !slice_eq(names[i], l->key))
                i++;
            if (i == n && n < MAX_CSV_COLUMNS)
                names[n++] = l->key;
        }
    qsort(names, n, sizeof *names, by_text);
    return n;
}

static struct slice label(const struct tree *metric, struct slice name)
{
    for (const struct tree *l = metric ? metric->first : NULL; l; l = l->next)
        if (slice_eq(l->key, name))
            return l->text;
    return SLICE("");
}

static void csv(struct buf *out, const struct tree *result)
{
    struct slice names[MAX_CSV_COLUMNS];
    size_t n = csv_columns(result, names);
    buf_str(out, "time");
    for (size_t i = 0; i < n; i++) {
        buf_char(out, ',');
        csv_cell(out, names[i]);
    }
    buf_str(out, ",value\n");
    for (const struct tree *s = result->first; s; s = s->next) {
        bool many;
        for (const struct tree *v = first_point(s, &many); v && v->first && v->first->next; v = many ? v->next : NULL) {
            buf_add(out, v->first->text);
            for (size_t i = 0; i < n; i++) {
                buf_char(out, ',');
                csv_cell(out, label(tree_get(s, "metric"), names[i]));
            }
            buf_char(out, ',');
            csv_cell(out, v->first->next->text);
            buf_char(out, '\n');
        }
    }
}

static double to_number(struct slice s)
{
    double v;
    return slice_to_f64(s, &v) ? v : NAN;
}

static void draw_chart(const struct painter *p, const struct tree *result, double from, double to)
{
    struct chart *c = chart_new(p, from, to);
    struct buf name;
    buf_init(&name, KIB(64));
    for (const struct tree *s = result->first; c && s; s = s->next) {
        bool many;
        buf_reset(&name);
        put_name(&name, tree_get(s, "metric"));
        chart_series(c, buf_slice(&name));
        for (const struct tree *v = first_point(s, &many); v && v->first && v->first->next; v = many ? v->next : NULL)
            chart_point(c, v->first->number, to_number(v->first->next->text));
    }
    chart_draw(c);
    chart_free(c);
    buf_free(&name);
}

// ---- the answer -----------------------------------------------------------------------------------------------------

static size_t name_width(const struct tree *result)
{
    size_t width = 0;
    struct buf b;
    buf_init(&b, MIB(1));
    for (const struct tree *s = result->first; s; s = s->next) {
        buf_reset(&b);
        put_name(&b, tree_get(s, "metric"));
        width = b.n > width ? b.n : width;
    }
    buf_free(&b);
    return width < 100 ? width : 100;
}

static void warnings(const struct tree *doc)
{
    static const char *const lists[] = {"warnings", "infos"};
    for (int i = 0; i < 2; i++)
        for (const struct tree *t = tree_get(doc, lists[i]) ? tree_get(doc, lists[i])->first : NULL; t; t = t->next)
            fprintf(stderr, "sonde: %.*s\n", (int)t->text.n, t->text.p);
}

static void show_result(const struct metrics_settings *s, const struct painter *p, const struct tree *data,
                        const struct tree *result, double from, double to)
{
    struct slice type = tree_text(data, "resultType");
    const char *output = s->client.output;
    if (slice_eq(type, SLICE("scalar")) || slice_eq(type, SLICE("string"))) {
        struct slice v = result->first && result->first->next ? result->first->next->text : SLICE("");
        buf_printf(p->out, strcmp(output, "csv") == 0 ? "value\n%.*s\n" : "%.*s\n", (int)v.n, v.p);
    } else if (strcmp(output, "csv") == 0) {
        csv(p->out, result);
    } else if (strcmp(output, "jsonl") == 0) {
        for (const struct tree *t = result->first; t; t = t->next)
            buf_printf(p->out, "%.*s\n", (int)t->text.n, t->text.p);
    } else if (s->chart) {
        draw_chart(p, result, from, to);
    } else {
        size_t width = name_width(result);
        for (const struct tree *t = result->first; t; t = t->next)
            text_series(p, t, width);
    }
}

static int show(const struct metrics_settings *s, struct slice body, double from, double to)
{
    struct arena arena;
    struct error err = {0};
    struct buf text;
    int code;
    arena_init(&arena, MIB(2048));
    buf_init(&text, MAX_HTTP_REPLY);
    struct painter p = {&text, term_color(s->client.color), term_width()};
    struct tree *doc = tree_parse(body, &arena, &err);
    const struct tree *data = tree_get(doc, "data"), *result = tree_get(data, "result");
    if (!doc || !result) {
        if (doc)
            ERR(&err, CORRUPT, "the server's answer has no data.result; is %s a Prometheus API?", s->client.url);
        code = cli_fail(&err);
    } else {
        code = result->first ? EXIT_FOUND : EXIT_NOTHING;
        if (strcmp(s->client.output, "json") == 0)
            buf_printf(&text, "%.*s\n", (int)body.n, body.p);
        else
            show_result(s, &p, data, result, from, to);
        warnings(doc);
    }
    if (code == EXIT_NOTHING && strcmp(s->client.output, "text") == 0)
        fprintf(stderr, "sonde: no series matched; --until and --range look at other times\n");
    cli_write(buf_slice(&text));
    buf_free(&text);
    arena_free(&arena);
    return code;
}

// ---- the question ---------------------------------------------------------------------------------------------------

static void put_seconds(struct buf *out, const char *name, int64_t ns)
{
    buf_printf(out, "&%s=%lld.%03d", name, (long long)(ns / 1000000000), (int)(ns / 1000000 % 1000));
}

static int ask(struct metrics_settings *s, const char *query)
{
    struct error err = {0};
    struct buf path, body;
    int64_t from, to, now = clock_wall_ns();
    s->client.since = "100000d";
    if (!client_range(&s->client, &from, &to, &err))
        return cli_fail(&err);
    to = *s->client.until ? to : now;
    s->range = s->chart && !s->range ? 3600000000000 : s->range;
    int64_t step = s->step ? s->step : s->range / 60 > 1000000000 ? s->range / 60 / 1000000000 * 1000000000 : 1000000000;
    buf_init(&path, MAX_HTTP_TARGET);
    buf_init(&body, MAX_HTTP_REPLY);
    buf_str(&path, s->range ? "/api/v1/query_range?query=" : "/api/v1/query?query=");
    percent_encode(&path, slice_str(query));
    buf_printf(&path, "&limit=%lld", (long long)s->client.limit);
    if (s->range) {
        put_seconds(&path, "start", to - s->range);
        put_seconds(&path, "end", to);
        put_seconds(&path, "step", step);
    } else {
        put_seconds(&path, "time", to);
    }
    int code = EXIT_USAGE;
    if (path.err)
        fprintf(stderr, "sonde: the query is too long: at most %d bytes are accepted\n", MAX_HTTP_TARGET);
    else
        code = client_get(&s->client, buf_slice(&path), &body);
    if (code == EXIT_FOUND)
        code = show(s, buf_slice(&body), (double)(to - s->range) / 1e9, (double)to / 1e9);
    buf_free(&path);
    buf_free(&body);
    return code;
}

static int run(int argc, char **argv)
{
    struct metrics_settings s = {0};
    struct error err = {0};
    int words;
    if (settings_load(metrics_settings, METRICS_SETTINGS_N, &s, argc, argv, &words, &err) != ERR_OK)
        return cli_fail(&err);
    if (words != 1) {
        fprintf(stderr,
                "sonde: metrics takes one query; put it in quotes: sonde metrics 'sum by (job) (rate(requests_total[5m]))'\n");
        return EXIT_USAGE;
    }
    return ask(&s, argv[1]);
}

const struct command cmd_metrics = {
    .name = "metrics",
    .arguments = "QUERY",
    .about = "metrics by PromQL, at one time or over a range",
    .examples = "  sonde metrics 'sum by (service_name) (rate(requests_total[5m]))'\n"
                "  sonde metrics 'histogram_quantile(0.99, sum by (le) (rate(ttft_seconds_bucket[1m])))' --range 1h --chart\n"
                "  sonde metrics up --range 15m --step 15s -o csv\n",
    .settings = metrics_settings,
    .n_settings = METRICS_SETTINGS_N,
    .run = run,
};
