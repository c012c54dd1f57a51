// Golden lines: one record, with and without spans, as JSONL and as text.
#include "check.h"
#include "sdk/pipeline.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>

static const int64_t T = 1768465812004217000; // 2026-01-15T08:30:12.004217Z

struct want {
    const char *name;
    unsigned level;
    const char *message;
    unsigned n;
    const char *keys[6];
    unsigned char types[6];
    struct sonde_arg args[6];
    const char *json; // behind ,"target":"t",
    const char *text; // behind "LEVEL t: "
};
enum { S = SONDE_TYPE_STR, I = SONDE_TYPE_INT, U = SONDE_TYPE_UINT, F = SONDE_TYPE_F64, B = SONDE_TYPE_BOOL };
#define STR(text)                                \
    {                                            \
        .value.s = (text), .n = sizeof(text) - 1 \
    }
#define ABSENT                         \
    {                                  \
        .value.s = NULL, .n = SIZE_MAX \
    }
#define INT(v)         \
    {                  \
        .value.i = (v) \
    }
#define F64(v)         \
    {                  \
        .value.f = (v) \
    }

static const struct want rows[] = {
    {"no fields", 3, "runtime ready", 0, {0}, {0}, {{{0}, 0}}, "\"message\":\"runtime ready\"}", "runtime ready"},
    {"empty message", 3, "", 0, {0}, {0}, {{{0}, 0}}, "\"message\":\"\"}", ""},
    {"sorted keys",
     3,
     "m",
     3,
     {"worker", "a", "Z"},
     {S, I, B},
     {STR("w 1"), INT(-7), INT(1)},
     "\"message\":\"m\",\"Z\":true,\"a\":-7,\"worker\":\"w 1\"}",
     "m worker=\"w 1\" a=-7 Z=true"},
    {"integers whole",
     4,
     "m",
     3,
     {"min", "max", "umax"},
     {I, I, U},
     {INT(INT64_MIN), INT(INT64_MAX), INT(-1)},
     "\"message\":\"m\",\"max\":9223372036854775807,\"min\":-9223372036854775808,\"umax\":18446744073709551615}",
     "m min=-9223372036854775808 max=9223372036854775807 umax=18446744073709551615"},
    {"strings are not read as JSON",
     3,
     "m",
     3,
     {"a", "b", "c"},
     {S, S, S},
     {STR("123"), STR("true"), STR("{\"x\":1}")},
     "\"message\":\"m\",\"a\":\"123\",\"b\":\"true\",\"c\":\"{\\\"x\\\":1}\"}",
     "m a=\"123\" b=\"true\" c=\"{\\\"x\\\":1}\""},
    {"whole doubles",
     3,
     "m",
     4,
     {"a", "b", "c", "d"},
     {F, F, F, F},
     {F64(3), F64(-0.0), F64(100), F64(1e15)},
     "\"message\":\"m\",\"a\":3.0,\"b\":-0.0,\"c\":100.0,\"d\":1000000000000000.0}",
     "m a=3.0 b=-0.0 c=100.0 d=1000000000000000.0"},
    {"doubles",
     3,
     "m",
     5,
     {"a", "b", "c", "d", "e"},
     {F, F, F, F, F},
     {F64(0.1), F64(1.25), F64(1e16), F64(1e-7), F64(12345.678901)},
     "\"message\":\"m\",\"a\":0.1,\"b\":1.25,\"c\":1e16,\"d\":1e-7,\"e\":12345.678901}",
     "m a=0.1 b=1.25 c=1e16 d=1e-7 e=12345.678901"},
    {"long doubles",
     3,
     "m",
     4,
     {"a", "b", "c", "d"},
     {F, F, F, F},
     {F64(0.30000000000000004), F64(1.7976931348623157e308), F64(123456789012345.67), F64(0.00012345)},
     "\"message\":\"m\",\"a\":0.30000000000000004,\"b\":1.7976931348623157e308,\"c\":123456789012345.67,\"d\":0.00012345}",
     "m a=0.30000000000000004 b=1.7976931348623157e308 c=123456789012345.67 d=0.00012345"},
    {"no numbers",
     3,
     "m",
     3,
     {"a", "b", "c"},
     {F, F, F},
     {F64(NAN), F64(INFINITY), F64(-INFINITY)},
     "\"message\":\"m\",\"a\":0,\"b\":0,\"c\":0}",
     "m a=NaN b=inf c=-inf"},
    {"escapes",
     2,
     "m",
     1,
     {"s"},
     {S},
     {STR("q\" b\\ \b\f\n\r\t\x01 / \x7f")},
     "\"message\":\"m\",\"s\":\"q\\\" b\\\\ \\b\\f\\n\\r\\t\\u0001 / \x7f\"}",
     "m s=\"q\\\" b\\\\ \\u{8}\\u{c}\\n\\r\\t\\u{1} / \\u{7f}\""},
    {"embedded nul", 3, "m", 1, {"s"}, {S}, {STR("a\0b")}, "\"message\":\"m\",\"s\":\"a\\u0000b\"}", "m s=\"a\\0b\""},
    {"multi-line message", 3, "a\nb\x1b[31m", 0, {0}, {0}, {{{0}, 0}}, "\"message\":\"a\\nb\\u001b[31m\"}", "a\\nb\\x1b[31m"},
    {"C1 control",
     3,
     "a\xc2\x9b"
     "b",
     0,
     {0},
     {0},
     {{{0}, 0}},
     "\"message\":\"a\xc2\x9b"
     "b\"}",
     "a\\u{9b}b"},
    {"UTF-8", 3, "grüße", 1, {"s"}, {S}, {STR("日本")}, "\"message\":\"grüße\",\"s\":\"日本\"}", "grüße s=\"日本\""},
    {"invalid UTF-8",
     3,
     "m",
     2,
     {"s", "t"},
     {S, S},
     {STR("a\xff"
          "b"),
      STR("\xe6\x97")},
     "\"message\":\"m\",\"s\":\"a\xef\xbf\xbd"
     "b\",\"t\":\"\xef\xbf\xbd\"}",
     "m s=\"a\xef\xbf\xbd"
     "b\" t=\"\xef\xbf\xbd\""},
    {"absent", 3, "m", 2, {"gone", "here"}, {S, I}, {ABSENT, INT(1)}, "\"message\":\"m\",\"here\":1}", "m here=1"},
    {"empty string", 3, "m", 1, {"s"}, {S}, {STR("")}, "\"message\":\"m\",\"s\":\"\"}", "m s=\"\""},
    {"fixed keys collide",
     3,
     "m",
     6,
     {"time", "level", "file", "line", "target", "message"},
     {I, I, I, I, I, S},
     {INT(1), INT(2), INT(3), INT(4), INT(5), STR("x")},
     "\"message\":\"m\",\"field.file\":3,\"field.level\":2,\"field.line\":4,\"field.message\":\"x\",\"field.target\":5,\"field."
     "time\":1}",
     "m field.time=1 field.level=2 field.file=3 field.line=4 field.target=5 field.message=\"x\""},
    {"span keys collide",
     3,
     "m",
     2,
     {"trace_id", "x_request_id"},
     {S, S},
     {STR("mine"), STR("r")},
     "\"message\":\"m\",\"field.trace_id\":\"mine\",\"x_request_id\":\"r\"}",
     "m field.trace_id=\"mine\" x_request_id=\"r\""},
    {"same key twice: the later",
     3,
     "m",
     3,
     {"a", "b", "a"},
     {I, I, I},
     {INT(1), INT(2), INT(3)},
     "\"message\":\"m\",\"a\":3,\"b\":2}",
     "m b=2 a=3"},
    {"key with a quote", 3, "m", 1, {"a\"b"}, {I}, {INT(1)}, "\"message\":\"m\",\"a\\\"b\":1}", "m a\"b=1"},
    {"error", 1, "m", 0, {0}, {0}, {{{0}, 0}}, "\"message\":\"m\"}", "m"},
    {"trace", 5, "m", 0, {0}, {0}, {{{0}, 0}}, "\"message\":\"m\"}", "m"},
};

static struct site *site_of(const struct sonde_site *record)
{
    struct buf b;
    size_t size;
    buf_init(&b, 1 << 20);
    site_encode(&b, record, 1);
    struct site *s = site_parse(b.p, b.n, &size);
    assert_non_null(s);
    assert_int_equal(size, b.n);
    buf_free(&b);
    return s;
}

static void fill(struct rec *r, unsigned n, const unsigned char *types, const struct sonde_arg *args)
{
    memset(r, 0, sizeof *r);
    r->n = n;
    for (unsigned i = 0; i < n; i++) {
        r->v[i] = (struct rec_value){.type = (enum sonde_type)types[i], .u = args[i].value.u};
        if (types[i] == S) {
            r->v[i].absent = args[i].n == SIZE_MAX;
            r->v[i].s = slice_of(args[i].value.s, r->v[i].absent ? 0 : args[i].n);
        }
    }
}

static void run(bool jsonl)
{
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        const struct want *w = &rows[i];
        struct sonde_site record = {0,       0,        7, (uint8_t)w->level, (uint8_t)w->n, 0, 0, w->message, "t", "../src/f.c",
                                    w->keys, w->types, 0};
        struct site *site = site_of(&record);
        struct pipeline p;
        struct rec r;
        char want[1024];
        pipeline_init(&p);
        p.style.jsonl = jsonl;
        fill(&r, w->n, w->types, w->args);
        pipeline_record(&p, &r, site, T);
        if (jsonl)
            snprintf(want, sizeof want,
                     "{\"time\":\"2026-01-15T08:30:12.004217Z\",\"level\":\"%s\",\"file\":\"src/"
                     "f.c\",\"line\":7,\"target\":\"t\",%s\n",
                     level_text(w->level), w->json);
        else
            snprintf(want, sizeof want, "2026-01-15T08:30:12.004217Z %5s t: %s\n", level_text(w->level), w->text);
        check_row("%s %s", w->name, jsonl ? "json" : "text");
        CHECK_STR(buf_slice(&p.out), want);
        pipeline_free(&p);
        site_free(site);
    }
    check_done();
}

static void json_lines(void **state)
{
    (void)state;
    run(true);
}
static void text_lines(void **state)
{
    (void)state;
    run(false);
}

// ---- spans ----------------------------------------------------------------------------------------------------------
struct world {
    struct pipeline p;
    struct site *log, *span;
    int exported;
};

static void give(struct world *w, enum rec_kind kind, uint8_t span, const struct sonde_arg *args, int64_t time)
{
    struct rec r;
    uint32_t n;
    const uint8_t *types = rec_types(kind, &n);
    if (kind == REC_LOG) {
        types = w->log->type;
        n = w->log->n;
    }
    fill(&r, n, types, args);
    r.kind = kind;
    r.in_span = span;
    memset(r.trace_id, 0xab, 16);
    memset(r.span_id, span, 8);
    pipeline_record(&w->p, &r, kind == REC_LOG ? w->log : w->span, time);
}

static void start(struct world *w, uint8_t span, uint8_t parent, const char *name, const char *request_id, const char *state)
{
    struct sonde_arg a[6] = {{.n = 0}};
    memset(&a[0].value.u, parent, 8);
    a[1].value.u = 1 | SONDE_KIND_SERVER << 8;
    a[3] = sonde_arg_str(name);
    a[4] = sonde_arg_str(request_id);
    a[5] = sonde_arg_str(state);
    give(w, REC_SPAN_START, span, a, T);
}

static void attr_str(struct world *w, uint8_t span, const char *key, const char *value)
{
    struct sonde_arg a[2] = {sonde_arg_str(key), sonde_arg_str(value)};
    give(w, (enum rec_kind)(REC_SPAN_ATTR + S - 1), span, a, T);
}

static void attr_int(struct world *w, uint8_t span, const char *key, int64_t value)
{
    struct sonde_arg a[2] = {sonde_arg_str(key), sonde_arg_int(value)};
    give(w, (enum rec_kind)(REC_SPAN_ATTR + I - 1), span, a, T);
}

static void on_span(void *arg, const struct bspan *s, int64_t end)
{
    struct world *w = arg;
    w->exported++;
    assert_int_equal(end, T + 5000000);
    assert_int_equal(s->n_fields, 2);
}

static void world_new(struct world *w, bool jsonl)
{
    static const char *const keys[] = {"model", "uri", 0};
    static const unsigned char types[] = {S, S, 0};
    struct sonde_site log = {0, 0, 7, 3, 2, 0, 0, "m", "t", "src/f.c", keys, types, 0};
    struct sonde_site span = {0, 0, 9, 3, 0, 1, 0, "", "spans::here", "src/g.c", NULL, NULL, 0};
    memset(w, 0, sizeof *w);
    pipeline_init(&w->p);
    w->p.style.jsonl = jsonl;
    w->p.style.span_events = true;
    w->p.on_span = on_span;
    w->p.arg = w;
    w->log = site_of(&log);
    w->span = site_of(&span);
    start(w, 0x11, 0, "http-request", "job-42", "a=1");
    attr_str(w, 0x11, "uri", "/v1 x");
    attr_int(w, 0x11, "n", 5);
    start(w, 0x22, 0x11, "select_worker", "job-42", "");
    attr_int(w, 0x22, "overlap", 3);
}

static void world_free(struct world *w)
{
    pipeline_free(&w->p);
    site_free(w->log);
    site_free(w->span);
}

static void span_json(void **state)
{
    (void)state;
    struct world w;
    struct sonde_arg args[2] = {sonde_arg_str("m1"), sonde_arg_str("mine")}, none[1] = {{.n = 0}};
    world_new(&w, true);
    give(&w, REC_LOG, 0x11, args, T);
    give(&w, REC_LOG, 0x22, args, T);
    give(&w, REC_LOG, 0x33, args, T); // a span whose start was lost
    give(&w, REC_SPAN_ENTER, 0x11, none, T);
    give(&w, REC_SPAN_EXIT, 0x11, none, T + 1500000);
    give(&w, REC_SPAN_ENTER, 0x11, none, T + 2000000); // not the first
    give(&w, REC_SPAN_EXIT, 0x11, none, T + 3000000);
    give(&w, REC_SPAN_END, 0x11, none, T + 5000000);
    check_row("spans as JSON");
#define HEAD                                                                       \
    "{\"time\":\"2026-01-15T08:30:12.004217Z\",\"level\":\"INFO\",\"file\":\"src/" \
    "f.c\",\"line\":7,\"target\":\"t\",\"message\":\"m\","
#define IDS   "\"span_id\":\"1111111111111111\",\"span_name\":\"http-request\","
#define TRACE "\"trace_id\":\"abababababababababababababababab\","
    CHECK_STR(
        buf_slice(&w.p.out),
        // the user's uri gives way to the span's
        HEAD
        "\"field.uri\":\"mine\",\"model\":\"m1\",\"n\":5," IDS TRACE
        "\"tracestate\":\"a=1\",\"uri\":\"/v1 x\",\"x_request_id\":\"job-42\"}\n"
        // only the innermost span's fields; the request id is inherited
        HEAD "\"model\":\"m1\",\"overlap\":3,\"parent_id\":\"1111111111111111\",\"span_id\":\"2222222222222222\","
        "\"span_name\":\"select_worker\"," TRACE "\"uri\":\"mine\",\"x_request_id\":\"job-42\"}\n" HEAD
        "\"model\":\"m1\",\"span_id\":\"3333333333333333\",\"trace_id\":\"abababababababababababababababab\",\"uri\":\"mine\"}\n"
        "{\"time\":\"2026-01-15T08:30:12.004217Z\",\"level\":\"INFO\",\"file\":\"src/g.c\",\"line\":9,\"target\":\"spans::here\","
        "\"message\":\"SPAN_FIRST_ENTRY\",\"n\":5," IDS TRACE
        "\"tracestate\":\"a=1\",\"uri\":\"/v1 x\",\"x_request_id\":\"job-42\"}\n"
        "{\"time\":\"2026-01-15T08:30:12.009217Z\",\"level\":\"INFO\",\"file\":\"src/g.c\",\"line\":9,\"target\":\"spans::here\","
        "\"message\":\"SPAN_CLOSED\",\"n\":5," IDS "\"time.busy_us\":2500,\"time.duration_us\":5000,\"time.idle_us\":2500," TRACE
        "\"tracestate\":\"a=1\",\"uri\":\"/v1 x\",\"x_request_id\":\"job-42\"}\n");
    CHECK_INT(w.exported, 1);
    CHECK_INT(w.p.spans.n, 1);
    world_free(&w);
    check_done();
}

static void span_text(void **state)
{
    (void)state;
    struct world w;
    struct sonde_arg args[2] = {sonde_arg_str("m1"), sonde_arg_str("mine")}, none[1] = {{.n = 0}};
    world_new(&w, false);
    give(&w, REC_LOG, 0x22, args, T);
    give(&w, REC_SPAN_ENTER, 0x11, none, T); // no span events in text
    give(&w, REC_SPAN_END, 0x11, none, T + 5000000);
    give(&w, REC_LOG, 0x22, args, T); // the parent has ended, its name and fields still stand
    check_row("spans as text");
#define LINE                                                                                                          \
    "2026-01-15T08:30:12.004217Z  INFO http-request:select_worker: t: m model=\"m1\" uri=\"mine\" uri=\"/v1 x\" n=5 " \
    "x_request_id=\"job-42\" overlap=3\n"
    CHECK_STR(buf_slice(&w.p.out), LINE LINE);
    world_free(&w);
    check_done();
}

static void colour_and_zone(void **state)
{
    (void)state;
    struct world w;
    struct sonde_arg args[2] = {sonde_arg_str("x"), {.value.s = NULL, .n = SIZE_MAX}};
    setenv("TZ", "XXX-01:30", 1);
    tzset();
    world_new(&w, false);
    w.p.style.color = true;
    w.p.style.local_tz = true;
    give(&w, REC_LOG, 0, args, T);
    check_row("colour, local time");
    CHECK_STR(buf_slice(&w.p.out),
              "\x1b[2m2026-01-15T10:00:12.004217+01:30\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mt\x1b[0m\x1b[2m:\x1b[0m m "
              "\x1b[3mmodel\x1b[0m\x1b[2m=\x1b[0m\"x\"\n");
    buf_reset(&w.p.out);
    give(&w, REC_LOG, 0x22, args, T); // each span's fields are a dimmed group
    CHECK(strstr(w.p.out.p, "\x1b[1mhttp-request\x1b[0m:\x1b[1mselect_worker\x1b[0m: \x1b[2mt\x1b[0m") != NULL);
    CHECK(strstr(w.p.out.p,
                 " \x1b[2m\x1b[3muri\x1b[0m\x1b[2m=\x1b[0m\"/v1 x\" \x1b[3mn\x1b[0m\x1b[2m=\x1b[0m5 \x1b[3mx_request_id\x1b[0m"
                 "\x1b[2m=\x1b[0m\"job-42\"\x1b[0m \x1b[2m\x1b[3moverlap\x1b[0m\x1b[2m=\x1b[0m3\x1b[0m\n") != NULL);
    world_free(&w);
    check_done();
}

static void targets(void **state)
{
    (void)state;
    static const struct {
        const char *path, *want;
    } table[] = {{"../examples/inference/frontend.c", "examples::inference::frontend"},
                 {"a.c", "a"},
                 {"./x/y.cpp", "x::y"},
                 {"/home/u/p/src/f.c", "src::f"},
                 {"worker.main", "worker.main"},
                 {"a::b", "a::b"},
                 {"/f.c", "f"},
                 {"", ""},
                 {".c", ".c"}};
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        struct buf b;
        buf_init(&b, 4096);
        site_target(&b, table[i].path);
        check_row("%s", table[i].path);
        CHECK_STR(buf_slice(&b), table[i].want);
        buf_free(&b);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(json_lines),      cmocka_unit_test(text_lines),
                                       cmocka_unit_test(span_json),       cmocka_unit_test(span_text),
                                       cmocka_unit_test(colour_and_zone), cmocka_unit_test(targets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
