// TraceQL's spanset filter: what is accepted, where a mistake is reported, and what matches.
#include "base/limits.h"
#include "check.h"
#include "traceql/traceql.h"

#include <math.h>

static void accepted(void **state)
{
    static const char *const rows[] = {
        "",
        "  ",
        "{}",
        "{ }",
        "{ true }",
        "{ .a }",
        "{.a=1}",
        "{ span.a = 1 && resource.b = \"x\" }",
        "{ !.a }",
        "{ !(.a = 1) }",
        "{ (.a = 1 || .b = 2) && .c = 3 }",
        "{ name = `raw \\ string` }",
        "{ name =~ \"a.*\" }",
        "{ .a !~ \"b\" }",
        "{ .a = nil }",
        "{ .a != nil }",
        "{ status = error }",
        "{ status != ok }",
        "{ kind = server }",
        "{ duration > 1.5s }",
        "{ duration >= 1m30s && duration < 2h }",
        "{ span:duration > 20ms }",
        "{ duration > 1000000 }",
        "{ .a >= -1.5e3 }",
        "{ .a = true }",
        "{ statusMessage = \"\" }",
        "{ trace:id = \"1f\" }",
        "{ span:id =~ \"0.*\" }",
        "{ .http.status_code = 500 }",
        "{\n\t.a = \"quote \\\" backslash \\\\ newline \\n\"\r\n}",
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct traceql *q;
        struct error err = {0};
        check_row("%s", rows[i]);
        arena_init(&a, MIB(1));
        if (traceql_parse(slice_str(rows[i]), &a, &q, &err) != ERR_OK)
            check_failed(__FILE__, __LINE__, "%s", err.msg);
        traceql_free(q);
        arena_free(&a);
    }
    check_done();
}

static void refused(void **state)
{
    static const struct {
        const char *text;
        int position; // counted from 1
        const char *part;
    } rows[] = {
        {"x", 1, "expected {"},
        {"{", 2, "expected an attribute"},
        {"{ .a = }", 8, "expected a value"},
        {"{ .a = 1", 9, "expected }"},
        {"{ .a = 1 & .b = 2 }", 10, "expected }"},
        {"{ .a = 1 && }", 13, "expected an attribute"},
        {"{ a = 1 }", 3, "expected an attribute"},
        {"{ . = 1 }", 3, "expected an attribute"},
        {"{ span. = 1 }", 3, "expected an attribute"},
        {"{ (.a = 1 }", 11, "expected )"},
        {"{ .a = \"x }", 12, "closing quote"},
        {"{ .a = \"\\q\" }", 11, "unknown escape"},
        {"{ .a = 'x' }", 8, "expected a value"},
        {"{ .a = 5parsecs }", 8, "expected a value"},
        {"{ .a = nan }", 8, "expected a value"},
        {"{ .a =~ 5 }", 9, "a string"},
        {"{ .a =~ \"(\" }", 0, ""}, // the regular expression's own message
        {"{ duration =~ \"1s\" }", 15, "text on the left"},
        {"{ duration = \"1s\" }", 14, "a duration"},
        {"{ status = \"error\" }", 12, "without quotes"},
        {"{ status > error }", 12, "an order"},
        {"{ kind = 2 }", 10, "without quotes"},
        {"{ name = 5 }", 10, "a string"},
        {"{ name = nil }", 10, "never nil"},
        {"{ span.\"a }", 12, "closing quote"},
        {"{ .a > nil }", 8, "an order"},
        {"{ .a < true }", 8, "an order"},
        {"{ name }", 8, "expected one of"},
        {"{ .a = 1 } | rate()", 12, "only one spanset"},
        {"{ .a = 1 } >> { .b = 2 }", 12, "only one spanset"},
        {"{} && {}", 4, "only one spanset"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct traceql *q;
        struct error err = {0};
        int position = 0;
        check_row("%s", rows[i].text);
        arena_init(&a, MIB(1));
        CHECK(traceql_parse(slice_str(rows[i].text), &a, &q, &err) != ERR_OK);
        if (rows[i].position) {
            CHECK_INT(err.code, ERR_SYNTAX);
            CHECK_INT(sscanf(err.msg, "TraceQL, position %d", &position), 1);
            CHECK_INT(position, rows[i].position);
        }
        if (!strstr(err.msg, rows[i].part))
            check_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err.msg, rows[i].part);
        traceql_free(q);
        arena_free(&a);
    }
    check_done();
}

static void bounds(void **state)
{
    struct buf b;
    struct arena a;
    struct traceql *q;
    static const struct {
        const char *open, *close;
        int times;
        bool good;
    } rows[] = {{"(", ")", 60, true},  {"(", ")", 100, false},        {"!", "", 60, true},
                {"!", "", 100, false}, {".b = 1 || ", "", 900, true}, {".b = 1 || ", "", 1001, false}};
    arena_init(&a, MIB(16));
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct error err = {0};
        check_row("%s %d times", rows[i].open, rows[i].times);
        buf_init(&b, MIB(4));
        buf_char(&b, '{');
        for (int k = 0; k < rows[i].times; k++)
            buf_str(&b, rows[i].open);
        buf_str(&b, ".a");
        for (int k = 0; k < rows[i].times; k++)
            buf_str(&b, rows[i].close);
        buf_char(&b, '}');
        CHECK_INT(traceql_parse(buf_slice(&b), &a, &q, &err) == ERR_OK, rows[i].good);
        traceql_free(q);
        buf_free(&b);
    }
    buf_init(&b, MIB(4));
    for (int i = 0; i <= MAX_QUERY_TEXT; i++)
        buf_char(&b, ' ');
    CHECK_INT(traceql_parse(buf_slice(&b), &a, &q, NULL), ERR_LIMIT);
    buf_free(&b);
    arena_free(&a);
    check_done();
}

static struct batch *one_span(void)
{
    struct batch *b = batch_new(SIGNAL_SPAN, MIB(1));
    struct label labels[] = {{SLICE("service_name"), SLICE("decode")}};
    struct attr attrs[] = {{SLICE("service.name"), {.kind = COL_STR, .s = SLICE("decode")}},
                           {SLICE("both"), {.kind = COL_STR, .s = SLICE("resource")}}};
    static const struct {
        const char *name;
        struct value v;
    } own[] = {
        {"text", {.kind = COL_STR, .s = {"hello world", 11}}},
        {"empty", {.kind = COL_STR, .s = {"", 0}}},
        {"number", {.kind = COL_I64, .i64 = 500}},
        {"worker", {.kind = COL_I64, .i64 = 9007199254740993}},
        {"ratio", {.kind = COL_F64, .f64 = 0.5}},
        {"nan", {.kind = COL_F64, .f64 = NAN}},
        {"yes", {.kind = COL_BOOL, .b = true}},
        {"no", {.kind = COL_BOOL, .b = false}},
        {"both", {.kind = COL_STR, .s = {"span", 4}}},
        {"http.status_code", {.kind = COL_I64, .i64 = 503}},
    };
    batch_row(b, 1000, batch_resource(b, labels, 1, attrs, 2));
    batch_field_str(b, FIELD_NAME, SLICE("handle_payload"));
    batch_field_i64(b, FIELD_DURATION, 1500000000);
    batch_field_i64(b, FIELD_STATUS, 2);
    batch_field_str(b, FIELD_STATUS_MESSAGE, SLICE("disconnected\nfrom worker"));
    batch_field_i64(b, FIELD_KIND, 2);
    batch_field_id64(b, FIELD_SPAN_ID, 0x00000000000000ab);
    batch_field_id128(b, FIELD_TRACE_ID, (struct id128){0, 0x1f00000000000003});
    for (size_t i = 0; i < CHECK_ROWS(own); i++)
        batch_set(b, COL_ATTR, slice_str(own[i].name), own[i].v);
    assert_true(batch_seal(b));
    return b;
}

static void matching(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"", true},
        {"{}", true},
        {"{ true }", true},
        // text
        {"{ .text = \"hello world\" }", true},
        {"{ .text = \"hello\" }", false},
        {"{ .text != \"hello\" }", true},
        {"{ .text != \"hello world\" }", false},
        {"{ .text > \"hello\" }", true},
        {"{ .text < \"hello\" }", false},
        {"{ .empty = \"\" }", true},
        // regular expressions hold for the whole text; a dot is any character, a line's end too
        {"{ .text =~ \"hello\" }", false},
        {"{ .text =~ \"hello.*\" }", true},
        {"{ .text !~ \"hello\" }", true},
        {"{ .text !~ \".*world\" }", false},
        {"{ .text =~ \"a|hello world\" }", true},
        {"{ .number =~ \".*\" }", false},
        {"{ statusMessage =~ \"disconnected.*\" }", true},
        // numbers: an integer is no float, and none is text
        {"{ .number = 500 }", true},
        {"{ .number != 500 }", false},
        {"{ .number >= 500 }", true},
        {"{ .number > 500 }", false},
        {"{ .number < 501 }", true},
        {"{ .number = 500.0 }", false},
        {"{ .number = \"500\" }", false},
        {"{ .ratio = 0.5 }", true},
        {"{ .ratio > 0 }", false},
        {"{ .ratio <= 0.5 }", true},
        {"{ .worker = 9007199254740993 }", true},
        {"{ .worker = 9007199254740992 }", false},
        {"{ .http.status_code >= 500 }", true},
        {"{ .nan = 1.5 }", false},
        {"{ .nan != 1.5 }", true},
        {"{ .nan < 1.5 }", false},
        {"{ .text = 5 }", false},
        // bool, existence, nil
        {"{ .yes = true }", true},
        {"{ .no = false }", true},
        {"{ .yes != true }", false},
        {"{ .yes }", true},
        {"{ .no }", false},
        {"{ .text }", false},
        {"{ !.no }", true},
        {"{ .text != nil }", true},
        {"{ .text = nil }", false},
        {"{ .missing = nil }", true},
        {"{ .missing != nil }", false},
        // a missing attribute compares with nothing
        {"{ .missing = \"\" }", false},
        {"{ .missing != \"x\" }", false},
        {"{ .missing !~ \"x\" }", false},
        {"{ .missing < 5 }", false},
        {"{ !(.missing = 5) }", true},
        // scopes
        {"{ span.both = \"span\" }", true},
        {"{ resource.both = \"resource\" }", true},
        {"{ .both = \"span\" }", true},
        {"{ span.service.name = \"decode\" }", false},
        {"{ resource.service.name = \"decode\" }", true},
        {"{ .service.name = \"decode\" }", true},
        {"{ resource.text = \"hello world\" }", false},
        // intrinsics
        {"{ name = \"handle_payload\" }", true},
        {"{ name != nil && duration != nil }", true},
        {"{ span.\"text\" = \"hello world\" }", true},
        {"{ .http.\"status_code\" = 503 }", true},
        {"{ .\"http\".status_code = 503 }", true},
        {"{ span:name =~ \"handle.*\" }", true},
        {"{ status = error }", true},
        {"{ status != error }", false},
        {"{ status = ok }", false},
        {"{ kind = server }", true},
        {"{ kind != client }", true},
        {"{ span:kind = client }", false},
        {"{ duration = 1.5s }", true},
        {"{ duration > 1499ms }", true},
        {"{ duration >= 1500ms }", true},
        {"{ duration > 1500000us }", false},
        {"{ duration < 0.025m }", false},
        {"{ duration = 1500000000 }", true},
        {"{ span:id = \"00000000000000ab\" }", true},
        {"{ span:id = \"ab\" }", false},
        {"{ span:parentID = \"0000000000000000\" }", true},
        {"{ trace:id = \"00000000000000001f00000000000003\" }", true},
        {"{ trace:id = \"1f00000000000003\" }", true},
        {"{ trace:id = \"1f\" }", false},
        {"{ trace:id != \"1f\" }", true},
        {"{ trace:id != \"1f00000000000003\" }", false},
        {"{ trace:id != \"00000000000000001f00000000000003\" }", false},
        {"{ trace:id =~ \"1f.*\" }", true},
        // && and || have one rank and group from the left
        {"{ .yes || .no && .no }", false},
        {"{ .yes || (.no && .no) }", true},
        {"{ .no && .no || .yes }", true},
        {"{ .no && (.no || .yes) }", false},
        {"{ .number = 500 && name = \"handle_payload\" && status = error }", true},
        {"{ !.yes || .yes }", true},
        {"{ !(.yes || .yes) }", false},
        {"{ !!.yes }", true},
    };
    struct batch *b = one_span();
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct traceql *q;
        struct error err = {0};
        check_row("%s", rows[i].text);
        arena_init(&a, MIB(1));
        if (traceql_parse(slice_str(rows[i].text), &a, &q, &err) != ERR_OK)
            check_failed(__FILE__, __LINE__, "%s", err.msg);
        else
            CHECK_INT(traceql_match(q, b, 0), rows[i].want);
        traceql_free(q);
        arena_free(&a);
    }
    batch_unref(b);
    check_done();
}

static void legacy_tags(void **state)
{
    static const struct {
        const char *query, *key, *value;
        bool want;
    } rows[] = {
        {"", "text", "hello world", true},
        {"", "text", "hello", false},
        {"", "number", "500", true},
        {"", "number", "50", false},
        {"", "yes", "true", true},
        {"", "yes", "false", false},
        {"", "service.name", "decode", true},
        {"", "missing", "", false},
        {"", "name", "handle_payload", true},
        {"", "name", "x", false},
        {"", "error", "true", true},
        {"{ .no }", "text", "hello world", false},
        {"{ .no || .yes }", "number", "500", true},
        {"{ .yes || .yes }", "number", "5", false},
    };
    struct batch *b = one_span();
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct traceql *q;
        check_row("%s + %s=%s", rows[i].query, rows[i].key, rows[i].value);
        arena_init(&a, MIB(1));
        assert_int_equal(traceql_parse(slice_str(rows[i].query), &a, &q, NULL), ERR_OK);
        assert_int_equal(traceql_add_tag(q, &a, slice_str(rows[i].key), slice_str(rows[i].value), NULL), ERR_OK);
        CHECK_INT(traceql_match(q, b, 0), rows[i].want);
        traceql_free(q);
        arena_free(&a);
    }
    batch_unref(b);
    check_done();
}

static void names(void **state)
{
    static const struct {
        const char *query, *want; // scope letters and name of each
    } rows[] = {
        {"{}", ""},
        {"{ name = \"x\" && duration > 1s && trace:id = \"1\" && span:id = \"2\" }", ""},
        {"{ .a = 1 && span.b = 2 || !(resource.c = 3) }", "sr:a s:b r:c "},
        {"{ .a = 1 && .a > 2 && span.a = 3 && .flag }", "sr:a s:a sr:flag "},
        {"{ status = error || kind = server && statusMessage = \"x\" && span:status = ok }", "status kind status_message "},
    };
    static const char *const fields[FIELD_COUNT] = {
        [FIELD_STATUS] = "status", [FIELD_KIND] = "kind", [FIELD_STATUS_MESSAGE] = "status_message"};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct traceql *q;
        struct traceql_named got[8];
        struct buf text;
        check_row("%s", rows[i].query);
        arena_init(&a, MIB(1));
        buf_init(&text, KIB(4));
        assert_int_equal(traceql_parse(slice_str(rows[i].query), &a, &q, NULL), ERR_OK);
        size_t n = traceql_names(q, got, 8);
        for (size_t k = 0; k < n; k++)
            if (got[k].field != FIELD_NONE)
                buf_printf(&text, "%s ", fields[got[k].field]);
            else
                buf_printf(&text, "%s%s:%.*s ", got[k].span ? "s" : "", got[k].resource ? "r" : "", (int)got[k].name.n,
                           got[k].name.p);
        CHECK_STR(buf_slice(&text), rows[i].want);
        assert_true(traceql_names(q, got, 1) <= 1);
        CHECK_INT(traceql_mentions_name(q), strstr(rows[i].query, "name") != NULL);
        buf_free(&text);
        traceql_free(q);
        arena_free(&a);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted), cmocka_unit_test(refused),     cmocka_unit_test(bounds),
        cmocka_unit_test(matching), cmocka_unit_test(legacy_tags), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
