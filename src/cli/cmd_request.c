// sonde request ID and sonde trace ID: one request over all its processes, drawn as lanes, waterfall and log lines.
#include "base/json.h"
#include "base/limits.h"
#include "cli/draw.h"
#include "net/http.h"

#include <stdio.h>
#include <string.h>

enum { NAME_COLUMNS = 44, LANE_COLUMNS = 22, BARS_MAX = 256 };

// ---- head -----------------------------------------------------------------------------------------------------------

static void put_known(const struct painter *p, const char *words, const struct tree *r, const char *key, const char *unit)
{
    const struct tree *v = tree_get(r, key);
    if (!v || v->type == TREE_NULL || (v->type == TREE_STRING && v->text.n == 0))
        return;
    buf_printf(p->out, "   %s ", words);
    if (v->type == TREE_NUMBER && strcmp(unit, "ms") == 0)
        draw_ms(p->out, v->number);
    else
        buf_printf(p->out, "%.*s%s", (int)v->text.n, v->text.p, unit);
}

static void draw_head(const struct painter *p, const struct tree *doc)
{
    const struct tree *r = tree_get(doc, "request");
    struct slice id = tree_text(r, "request_id"), status = tree_text(r, "status"), verdict = tree_text(r, "verdict"),
                 trace = tree_text(r, "trace_id");
    bool good = slice_eq(status, SLICE("ok"));
    draw_style(p, "1");
    buf_printf(p->out, "request %.*s", (int)id.n, id.n ? id.p : "");
    draw_style(p, "");
    buf_str(p->out, "   ");
    draw_style(p, good ? "32" : slice_eq(status, SLICE("error")) ? "31" : "33");
    buf_printf(p->out, "%.*s: %.*s", (int)status.n, status.p, (int)verdict.n, verdict.p);
    draw_style(p, "");
    buf_printf(p->out, "\ntrace %.*s   ", (int)trace.n, trace.p);
    draw_time(p->out, tree_i64(r, "start_ns"));
    put_known(p, "took", r, "duration_ms", "ms");
    put_known(p, "HTTP", r, "http_status", "");
    buf_char(p->out, '\n');
    size_t from = p->out->n;
    put_known(p, "model", r, "model", "");
    put_known(p, "tokens in", r, "input_tokens", "");
    put_known(p, "out", r, "output_tokens", "");
    put_known(p, "TTFT", r, "ttft_ms", "ms");
    put_known(p, "ITL", r, "itl_ms", "ms");
    if (tree_number(r, "attempts", 1) > 1)
        put_known(p, "attempts", r, "attempts", "");
    if (p->out->n > from)
        buf_char(p->out, '\n');
    from = p->out->n;
    put_known(p, "prefill worker", r, "prefill_worker", "");
    put_known(p, "decode worker", r, "decode_worker", "");
    if (p->out->n > from)
        buf_char(p->out, '\n');
}

static void draw_failure(const struct painter *p, const struct tree *doc)
{
    const struct tree *f = tree_get(doc, "failure"), *notes = tree_get(doc, "notes");
    if (f && f->type == TREE_OBJECT) {
        struct slice where = tree_text(f, "where"), service = tree_text(f, "service"), what = tree_text(f, "what"),
                     why = tree_text(f, "why");
        double after = (double)(tree_i64(f, "when_ns") - tree_i64(tree_get(doc, "request"), "start_ns")) / 1e6;
        draw_style(p, "31");
        buf_printf(p->out, "\nfailed in %.*s (seen by %.*s), ", (int)where.n, where.p, (int)service.n, service.p);
        draw_ms(p->out, after);
        buf_printf(p->out, " after the start: %.*s: %.*s", (int)what.n, what.p, (int)why.n, why.p);
        draw_style(p, "");
        buf_char(p->out, '\n');
    }
    for (const struct tree *n = notes ? notes->first : NULL; n; n = n->next)
        buf_printf(p->out, "note: %.*s\n", (int)n->text.n, n->text.p);
}

// ---- lanes ----------------------------------------------------------------------------------------------------------

static void draw_lane(const struct painter *p, struct slice name, const struct tree *blocks, int64_t start, double total)
{
    struct bar bars[BARS_MAX];
    int n = 0, columns = p->width - LANE_COLUMNS - 2;
    for (const struct tree *b = blocks ? blocks->first : NULL; b && n < BARS_MAX; b = b->next) {
        double from = (double)(tree_i64(b, "start_ns") - start) / 1e6;
        bars[n++] = (struct bar){from, from + tree_number(b, "ms", 0), phase_glyph(tree_text(b, "kind")),
                                 phase_sgr(tree_text(b, "name"))};
    }
    draw_cell(p, name, LANE_COLUMNS);
    buf_str(p->out, " ");
    draw_bars(p, bars, n, total, columns);
    buf_char(p->out, '\n');
}

static bool is_same_phase(const struct tree *a, const struct tree *b)
{
    return slice_eq(tree_text(a, "name"), tree_text(b, "name")) && slice_eq(tree_text(a, "service"), tree_text(b, "service"));
}

static void draw_ms_cell(const struct painter *p, double ms, int columns)
{
    struct buf text;
    buf_init(&text, MAX_SHORT_TEXT);
    draw_ms(&text, ms);
    draw_cell(p, buf_slice(&text), columns);
    buf_free(&text);
}

static void draw_lanes(const struct painter *p, const struct tree *doc)
{
    const struct tree *r = tree_get(doc, "request"), *phases = tree_get(doc, "phases"), *lanes = tree_get(doc, "lanes");
    int64_t start = tree_i64(r, "start_ns");
    double total = tree_number(r, "duration_ms", 0), sum = 0;
    buf_str(p->out, "\nphases\n");
    draw_lane(p, SLICE("all"), phases, start, total);
    for (const struct tree *l = lanes ? lanes->first : NULL; l; l = l->next)
        draw_lane(p, tree_text(l, "service"), tree_get(l, "blocks"), start, total);
    for (const struct tree *b = phases ? phases->first : NULL; b; b = b->next) {
        struct slice name = tree_text(b, "name"), service = tree_text(b, "service");
        double ms = 0; // pieces of one phase in one process are told together, where the first of them began
        const struct tree *same = phases->first;
        while (same != b && !is_same_phase(same, b))
            same = same->next;
        sum += tree_number(b, "ms", 0);
        if (same != b)
            continue;
        for (; same; same = same->next)
            ms += is_same_phase(same, b) ? tree_number(same, "ms", 0) : 0;
        buf_str(p->out, "  ");
        draw_style(p, phase_sgr(name));
        buf_str(p->out, phase_glyph(tree_text(b, "kind")));
        draw_style(p, "");
        buf_char(p->out, ' ');
        draw_cell(p, name, 12);
        draw_ms_cell(p, ms, 12);
        buf_printf(p->out, "%5.1f %%   %.*s\n", total > 0 ? 100 * ms / total : 0, (int)service.n, service.p);
    }
    buf_str(p->out, "  = ");
    draw_cell(p, SLICE("sum"), 12);
    draw_ms(p->out, sum);
    buf_str(p->out, " of ");
    draw_ms(p->out, total);
    buf_char(p->out, '\n');
}

// ---- waterfall ------------------------------------------------------------------------------------------------------

static void draw_spans(const struct painter *p, const struct tree *doc)
{
    const struct tree *spans = tree_get(doc, "spans");
    int64_t start = INT64_MAX, end = INT64_MIN;
    for (const struct tree *s = spans ? spans->first : NULL; s; s = s->next) {
        int64_t at = tree_i64(s, "start_ns"), to = at + (int64_t)(tree_number(s, "duration_ms", 0) * 1e6);
        start = at < start ? at : start;
        end = to > end ? to : end;
    }
    buf_str(p->out, "\nspans\n");
    for (const struct tree *s = spans ? spans->first : NULL; s; s = s->next) {
        char name[256];
        struct slice label = tree_text(s, "name"), service = tree_text(s, "service");
        const struct tree *orphan = tree_get(s, "orphan");
        bool bad = slice_eq(tree_text(s, "status"), SLICE("error"));
        int n = snprintf(name, sizeof name, "%*s%s%.*s · %.*s", 2 * (int)tree_number(s, "depth", 0), "",
                         orphan && orphan->yes ? "↯ " : "", (int)label.n, label.p, (int)service.n, service.p);
        double from = (double)(tree_i64(s, "start_ns") - start) / 1e6, ms = tree_number(s, "duration_ms", 0);
        struct bar bar = {from, from + ms, "━", bad ? "31" : "36"};
        int columns = p->width - NAME_COLUMNS - 14;
        draw_cell(p, slice_of(name, n < (int)sizeof name ? (size_t)n : sizeof name - 1), NAME_COLUMNS);
        buf_char(p->out, ' ');
        draw_bars(p, &bar, 1, (double)(end - start) / 1e6, columns > 10 ? columns : 10);
        buf_char(p->out, ' ');
        draw_ms(p->out, ms);
        if (bad)
            buf_str(p->out, " !");
        buf_char(p->out, '\n');
    }
}

// ---- log lines ------------------------------------------------------------------------------------------------------

// Fields that say again what stands in the line's head, or where in the source it came from.
static bool is_noise(struct slice key)
{
    static const char *const keys[] = {"x_request_id", "request_id", "trace_id", "span_id", "span_name", "target",
                                       "level",        "file",       "line",     "model",   "endpoint"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (slice_eq(key, slice_str(keys[i])))
            return true;
    return slice_starts(key, SLICE("code.")) || slice_starts(key, SLICE("thread."));
}

static void draw_log(const struct painter *p, const struct tree *l, int64_t start)
{
    struct slice level = tree_text(l, "level"), service = tree_text(l, "service"), message = tree_text(l, "message");
    char at[32];
    snprintf(at, sizeof at, "%+10.1f ms ", (double)(tree_i64(l, "time_ns") - start) / 1e6);
    buf_str(p->out, at);
    draw_cell(p, service, LANE_COLUMNS);
    buf_char(p->out, ' ');
    draw_style(p, level_sgr(level));
    draw_cell(p, level, 5);
    draw_style(p, "");
    buf_char(p->out, ' ');
    for (size_t i = 0; i < message.n; i++) // one line each, whatever the message holds
        buf_char(p->out, (unsigned char)message.p[i] < 0x20 ? ' ' : message.p[i]);
    const struct tree *fields = tree_get(l, "fields");
    draw_style(p, "90");
    for (const struct tree *f = fields ? fields->first : NULL; f; f = f->next) {
        struct slice text = f->type == TREE_BOOL ? (f->yes ? SLICE("true") : SLICE("false")) : f->text;
        const char *nl = text.n ? memchr(text.p, '\n', text.n) : NULL;
        if (nl)
            text.n = (size_t)(nl - text.p);
        if (!is_noise(f->key))
            buf_printf(p->out, " %.*s=%.*s", (int)f->key.n, f->key.p, (int)slice_cut(text, 120).n, text.p);
    }
    draw_style(p, "");
    buf_char(p->out, '\n');
}

static void draw_logs(const struct painter *p, const struct tree *doc, int64_t limit)
{
    const struct tree *logs = tree_get(doc, "logs");
    int64_t start = tree_i64(tree_get(doc, "request"), "start_ns"), n = 0;
    buf_str(p->out, "\nlogs\n");
    for (const struct tree *l = logs ? logs->first : NULL; l; l = l->next)
        if (n++ < limit)
            draw_log(p, l, start);
    if (n == 0)
        buf_str(p->out, "  none\n");
    if (n > limit)
        fprintf(stderr, "sonde: %lld more log lines: --limit %lld shows all\n", (long long)(n - limit), (long long)n);
}

static void draw_others(const struct painter *p, const struct tree *doc)
{
    const struct tree *traces = tree_get(doc, "traces");
    if (!traces || !traces->first || !traces->first->next)
        return;
    buf_str(p->out, "\nthis id has several traces (the client sent it again)\n");
    for (const struct tree *t = traces->first; t; t = t->next) {
        struct slice id = tree_text(t, "trace_id"), status = tree_text(t, "status"), verdict = tree_text(t, "verdict");
        buf_printf(p->out, "  %.*s  ", (int)id.n, id.p);
        draw_time(p->out, tree_i64(t, "start_ns"));
        buf_printf(p->out, "  %.*s: %.*s\n", (int)status.n, status.p, (int)verdict.n, verdict.p);
    }
}

// ---- commands -------------------------------------------------------------------------------------------------------

static int show(const struct client_settings *s, enum output output, struct slice body, bool lanes)
{
    struct arena arena;
    struct error err = {0};
    struct buf text;
    int code = EXIT_FOUND;
    arena_init(&arena, MAX_CLI_MEMORY);
    buf_init(&text, MAX_CLI_OUTPUT);
    struct painter p = {&text, term_color(s->color), term_width()};
    struct tree *doc = tree_parse(body, &arena, &err);
    if (!doc) {
        code = cli_fail(&err);
    } else if (output == OUTPUT_JSON) {
        buf_add(&text, body);
        buf_char(&text, '\n');
    } else if (output == OUTPUT_JSONL) { // the spans, then the log records, a line each
        static const char *const lists[] = {"spans", "logs"};
        for (int i = 0; i < (lanes ? 2 : 1); i++)
            for (const struct tree *x = tree_get(doc, lists[i]) ? tree_get(doc, lists[i])->first : NULL; x; x = x->next)
                buf_printf(&text, "%.*s\n", (int)x->text.n, x->text.p);
    } else {
        draw_head(&p, doc);
        draw_failure(&p, doc);
        if (lanes)
            draw_lanes(&p, doc);
        draw_spans(&p, doc);
        if (lanes)
            draw_logs(&p, doc, s->limit);
        draw_others(&p, doc);
    }
    cli_write(buf_slice(&text));
    buf_free(&text);
    arena_free(&arena);
    return code;
}

static int show_request(const struct client_settings *s, enum output output, struct slice body)
{
    return show(s, output, body, true);
}
static int show_trace(const struct client_settings *s, enum output output, struct slice body)
{
    return show(s, output, body, false);
}

static void path(struct buf *out, const struct client_settings *s, int64_t from, int64_t to, const char *id)
{
    buf_str(out, "/api/sonde/v1/requests/");
    percent_encode(out, slice_str(id));
}

static int run_request(int argc, char **argv)
{
    const struct client_ask ask = {
        &cmd_request, 1, 1, "request needs one id: sonde request ID, an x-request-id or a trace id", path, show_request};
    return client_run(&ask, argc, argv);
}

static int run_trace(int argc, char **argv)
{
    const struct client_ask ask = {&cmd_trace, 1,         1, "trace needs one id: sonde trace ID, a trace id or an x-request-id",
                                   path,       show_trace};
    return client_run(&ask, argc, argv);
}

const struct command cmd_request = {
    .name = "request",
    .arguments = "ID",
    .about = "one request: phases as lanes, spans, log lines, why it failed",
    .examples = "  sonde request demo-42\n  sonde request 0af7651916cd43dd8448eb211c80319c -o json\n",
    .settings = client_settings,
    .n_settings = CLIENT_SETTINGS_N,
    .run = run_request,
};

const struct command cmd_trace = {
    .name = "trace",
    .arguments = "ID",
    .about = "one trace as a waterfall",
    .examples = "  sonde trace 0af7651916cd43dd8448eb211c80319c\n  sonde trace demo-42 -o jsonl\n",
    .settings = client_settings,
    .n_settings = CLIENT_SETTINGS_N,
    .run = run_trace,
};
