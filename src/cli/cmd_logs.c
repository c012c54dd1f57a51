// sonde logs QUERY: log lines by LogQL, oldest first; a metric query prints its series.
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "cli/draw.h"
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    int64_t time;
    struct slice text;
    const struct tree *labels;
    size_t order;
};

// Oldest first. The answer came newest first: of equal times the one behind is the older.
static int by_time(const void *x, const void *y)
{
    const struct line *a = x, *b = y;
    return a->time != b->time ? (a->time < b->time ? -1 : 1) : (a->order < b->order) - (a->order > b->order);
}

static size_t collect(const struct tree *result, struct line *lines)
{
    size_t n = 0;
    for (const struct tree *s = result->first; s; s = s->next)
        for (const struct tree *v = tree_get(s, "values") ? tree_get(s, "values")->first : NULL; v; v = v->next) {
            if (!v->first || !v->first->next)
                continue;
            if (lines) {
                lines[n] = (struct line){.text = v->first->next->text, .labels = tree_get(s, "stream"), .order = n};
                slice_to_i64(v->first->text, &lines[n].time);
            }
            n++;
        }
    return n;
}

static void draw_line(const struct painter *p, const struct line *l)
{
    static const char *const names[] = {"service_name", "app", "job", "component", "container"};
    struct slice who = SLICE("");
    for (size_t i = 0; who.n == 0 && i < sizeof names / sizeof *names; i++)
        who = tree_text(l->labels, names[i]);
    draw_style(p, "90");
    draw_time(p->out, l->time);
    draw_style(p, "36");
    buf_printf(p->out, " %.*s ", (int)who.n, who.p);
    draw_style(p, "");
    buf_add(p->out, l->text);
    buf_char(p->out, '\n');
}

static void json_line(struct buf *out, const struct line *l)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "time_ns");
    jw_str_i64(&w, l->time);
    JW_KEY(&w, "line");
    jw_str(&w, l->text);
    JW_KEY(&w, "labels");
    jw_raw(&w, l->labels ? l->labels->text : SLICE("{}"));
    jw_obj_end(&w);
    buf_char(out, '\n');
}

static int show_lines(const struct painter *p, enum output output, const struct tree *result, const struct client_settings *s)
{
    size_t n = collect(result, NULL);
    struct line *lines = malloc((n + 1) * sizeof *lines);
    if (!lines) {
        fprintf(stderr, "sonde: no memory for %zu lines\n", n);
        return EXIT_DATA;
    }
    collect(result, lines);
    qsort(lines, n, sizeof *lines, by_time);
    for (size_t i = 0; i < n; i++) {
        if (output == OUTPUT_JSONL)
            json_line(p->out, &lines[i]);
        else
            draw_line(p, &lines[i]);
    }
    free(lines);
    if (n == 0)
        return EXIT_NOTHING;
    if ((int64_t)n < s->limit)
        return EXIT_FOUND;
    fprintf(stderr, "sonde: stopped at %zu lines, the newest ones; --limit shows more\n", n);
    return EXIT_FOUND;
}

static int show_series(const struct painter *p, enum output output, const struct tree *result)
{
    for (const struct tree *s = result->first; s; s = s->next) {
        struct slice metric = tree_get(s, "metric") ? tree_get(s, "metric")->text : SLICE("{}");
        if (output == OUTPUT_JSONL) {
            buf_printf(p->out, "%.*s\n", (int)s->text.n, s->text.p);
            continue;
        }
        buf_printf(p->out, "%.*s\n", (int)metric.n, metric.p);
        const struct tree *values = tree_get(s, "values");
        for (const struct tree *v = values ? values->first : tree_get(s, "value"); v && v->first && v->first->next;
             v = values ? v->next : NULL) {
            buf_str(p->out, "  ");
            draw_time(p->out, (int64_t)(v->first->number * 1e9));
            buf_printf(p->out, "  %.*s\n", (int)v->first->next->text.n, v->first->next->text.p);
        }
    }
    return result->first ? EXIT_FOUND : EXIT_NOTHING;
}

static int show(const struct client_settings *s, enum output output, struct slice body)
{
    struct arena arena;
    struct error err = {0};
    struct buf text;
    int code;
    arena_init(&arena, MAX_CLI_MEMORY);
    buf_init(&text, MAX_HTTP_REPLY);
    struct painter p = {&text, term_color(s->color), term_width()};
    struct tree *doc = tree_parse(body, &arena, &err);
    const struct tree *data = tree_get(doc, "data"), *result = tree_get(data, "result");
    if (!doc || !result) {
        if (doc)
            ERR(&err, CORRUPT, "the server's answer has no data.result; is %s a Loki API?", s->url);
        code = cli_fail(&err);
    } else if (output == OUTPUT_JSON) {
        buf_printf(&text, "%.*s\n", (int)body.n, body.p);
        code = result->first ? EXIT_FOUND : EXIT_NOTHING;
    } else if (slice_eq(tree_text(data, "resultType"), SLICE("streams"))) {
        code = show_lines(&p, output, result, s);
    } else {
        code = show_series(&p, output, result);
    }
    if (code == EXIT_NOTHING && output == OUTPUT_TEXT)
        fprintf(stderr, "sonde: nothing matched in this time range; --since 24h looks further back\n");
    cli_write(buf_slice(&text));
    buf_free(&text);
    arena_free(&arena);
    return code;
}

static void path(struct buf *out, const struct client_settings *s, int64_t from, int64_t to, const char *query)
{
    buf_printf(out, "/loki/api/v1/query_range?start=%lld&end=%lld&limit=%lld&direction=backward&query=", (long long)from,
               (long long)to, (long long)s->limit);
    percent_encode(out, query ? slice_str(query) : SLICE("{service_name=~\".+\"}"));
}

static int run(int argc, char **argv)
{
    const struct client_ask ask = {
        &cmd_logs, 0,   1, "logs takes one query; put it in quotes: sonde logs '{service_name=\"decode\"} |= \"error\"'",
        path,      show};
    return client_run(&ask, argc, argv);
}

const struct command cmd_logs = {
    .name = "logs",
    .arguments = "[QUERY]",
    .about = "log lines by LogQL, oldest first; metric queries print series",
    .examples = "  sonde logs '{service_name=\"decode\"} |= \"error\"' --since 15m\n"
                "  sonde logs 'sum by (service_name) (count_over_time({service_name=~\".+\"}[1m]))'\n",
    .settings = client_settings,
    .n_settings = CLIENT_SETTINGS_N,
    .run = run,
};
