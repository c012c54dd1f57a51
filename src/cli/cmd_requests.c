// sonde requests [TEXT]: the newest requests, a line each.
#include "base/limits.h"
#include "cli/draw.h"
#include "net/http.h"

#include <stdio.h>

enum { LIMIT_MAX = 1000 }; // of the server

static void draw_row(const struct painter *p, const struct tree *r)
{
    struct slice id = tree_text(r, "request_id"), status = tree_text(r, "status"), verdict = tree_text(r, "verdict");
    const struct tree *phases = tree_get(r, "phases");
    struct bar bars[64];
    int n = 0;
    double at = 0;
    for (const struct tree *b = phases ? phases->first : NULL; b && n < 64; b = b->next) {
        double ms = tree_number(b, "ms", 0);
        bars[n++] = (struct bar){at, at + ms, phase_glyph(tree_text(b, "kind")), phase_sgr(tree_text(b, "name"))};
        at += ms;
    }
    struct buf cell;
    buf_init(&cell, MAX_SHORT_TEXT);
    draw_time(p->out, tree_i64(r, "start_ns"));
    buf_str(p->out, "  ");
    draw_cell(p, id.n ? id : tree_text(r, "trace_id"), 24);
    buf_char(p->out, ' ');
    draw_style(p, slice_eq(status, SLICE("ok")) ? "32" : slice_eq(status, SLICE("error")) ? "31" : "33");
    draw_cell(p, status, 9);
    draw_style(p, "");
    static const char *const keys[] = {"duration_ms", "ttft_ms", "itl_ms"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        buf_reset(&cell);
        draw_ms(&cell, tree_number(r, keys[i], -1));
        draw_cell(p, buf_slice(&cell), 10);
    }
    buf_reset(&cell);
    struct slice in = tree_text(r, "input_tokens"), out = tree_text(r, "output_tokens");
    if (in.n || out.n)
        buf_printf(&cell, "%.*s>%.*s", in.n ? (int)in.n : 1, in.n ? in.p : "?", out.n ? (int)out.n : 1, out.n ? out.p : "?");
    else
        buf_char(&cell, '?');
    draw_cell(p, buf_slice(&cell), 12);
    draw_bars(p, bars, n, at, 20);
    buf_printf(p->out, " %.*s\n", (int)verdict.n, verdict.p);
    buf_free(&cell);
}

static int show(const struct client_settings *s, enum output output, struct slice body)
{
    struct arena arena;
    struct error err = {0};
    struct buf text;
    int code = EXIT_NOTHING;
    arena_init(&arena, MAX_CLI_MEMORY);
    buf_init(&text, MAX_CLI_OUTPUT);
    struct painter p = {&text, term_color(s->color), term_width()};
    struct tree *doc = tree_parse(body, &arena, &err);
    const struct tree *requests = tree_get(doc, "requests"), *cut = tree_get(doc, "truncated");
    if (!doc) {
        code = cli_fail(&err);
    } else if (output == OUTPUT_JSON) {
        buf_printf(&text, "%.*s\n", (int)body.n, body.p);
        code = EXIT_FOUND;
    } else {
        if (output == OUTPUT_TEXT && requests && requests->first)
            buf_str(
                &text,
                "time                      id                       status   took      TTFT      ITL       tokens      phases\n");
        for (const struct tree *r = requests ? requests->first : NULL; r; r = r->next) {
            code = EXIT_FOUND;
            if (output == OUTPUT_JSONL)
                buf_printf(&text, "%.*s\n", (int)r->text.n, r->text.p);
            else
                draw_row(&p, r);
        }
        if (code == EXIT_NOTHING)
            fprintf(stderr, "sonde: no request in this time range; --since 24h looks further back\n");
    }
    if (cut && cut->yes)
        fprintf(stderr, "sonde: there are more: --limit shows more of them\n");
    cli_write(buf_slice(&text));
    buf_free(&text);
    arena_free(&arena);
    return code;
}

static void path(struct buf *out, const struct client_settings *s, int64_t from, int64_t to, const char *text)
{
    buf_printf(out, "/api/sonde/v1/requests?start=%lld&end=%lld&limit=%lld&q=", (long long)from, (long long)to,
               (long long)(s->limit > LIMIT_MAX ? LIMIT_MAX : s->limit));
    percent_encode(out, text ? slice_str(text) : SLICE(""));
}

static int run(int argc, char **argv)
{
    const struct client_ask ask = {&cmd_requests, 0, 1, "requests takes one text to look for at most", path, show};
    return client_run(&ask, argc, argv);
}

const struct command cmd_requests = {
    .name = "requests",
    .arguments = "[TEXT]",
    .about = "the newest requests with phases, a line each",
    .examples = "  sonde requests --since 15m\n  sonde requests demo --limit 20\n",
    .settings = client_settings,
    .n_settings = CLIENT_SETTINGS_N,
    .run = run,
};
