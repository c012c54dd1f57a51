// The language: what is read, how it is printed, what is refused and where.
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "check.h"
#include "promql/promql.h"

static void prints(void **state)
{
    static const char *const rows[][2] = {
        {"up", NULL},
        {"up{a=\"b\"}", NULL},
        {"up{ b !~ 'c' , a=`d\\e`, }", "up{a=\"d\\\\e\",b!~\"c\"}"},
        {"{__name__=~\"a.*\"}", NULL},
        {"{\"utf8 name\",\"a label\"=\"x\"}", NULL},
        {"{\"plain\"}", "plain"},
        {"a:b:c[5m]", NULL},
        {"x[90m] offset -90s", "x[1h30m] offset -1m30s"},
        {"x[1d2h3m4s5ms]", "x[26h3m4s5ms]"},
        {"x[300]", "x[5m]"},
        {"x @ 3", "x @ 3.000"},
        {"x @ start() offset 1w", NULL},
        {"x offset 5m @ end()", "x @ end() offset 5m"},
        {"x[5m:] @ 1.5", "x[5m:] @ 1.500"},
        {"rate(x[1m])[5m:30s] offset 1m", NULL},
        {"-1 ^ 2", NULL},
        {"-a * b", NULL},
        {"1 + 2 * 3 ^ 4 ^ 5 - 6", NULL},
        {"a and b or c unless d", NULL},
        {"a == bool on () b", "a == bool on () b"},
        {"a * ON(x) GROUP_LEFT(y) b", "a * on (x) group_left (y) b"},
        {"a / ignoring (x) group_right () b", NULL},
        {"a + ignoring () b", "a + b"},
        {"sum(x) BY (a,b)", "sum by (a, b) (x)"},
        {"sum without () (x)", NULL},
        {"topk without (\"a b\") (3, x)", NULL},
        {"count_values(\"v\", x)", NULL},
        {"label_replace(x, 'a', '$1', 'b', '(.*)')", "label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")"},
        {"0x1F + 1e3 + .5 + 1_000 + 010", "31 + 1000 + 0.5 + 1000 + 8"},
        {"Inf + inf + -Inf + NaN", "+Inf + +Inf + -Inf + NaN"},
        {"1e6 + 1e-5 + 123456", "1e+06 + 1e-05 + 123456"},
        {"5m", NULL},
        {"time() - 1h30m", NULL},
        {"'a\\n\\x41\\u00e9\\'\"'", "\"a\\nA\xc3\xa9'\\\"\""},
        {"x # comment\n + y", "x + y"},
        {"sum", "sum"},
        {"sum{a=\"b\"} + by + offset", "sum{a=\"b\"} + by + offset"},
        {"((x))", NULL},
        {"- -x", "--x"},
        {"x > bool 1", NULL},
        {"a atan2 b % c", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct promql *p = NULL, *again = NULL;
        struct error err = {0};
        struct buf one, two;
        buf_init(&one, KIB(4));
        buf_init(&two, KIB(4));
        if (promql_parse(&p, slice_str(rows[i][0]), &err) != ERR_OK)
            fail_msg("%s: %s", rows[i][0], err.msg);
        promql_print(p->root, &one);
        const char *want = rows[i][1] ? rows[i][1] : rows[i][0];
        if (!slice_eq(buf_slice(&one), slice_str(want)))
            fail_msg("%s: printed %.*s, want %s", rows[i][0], (int)one.n, one.p, want);
        assert_int_equal(promql_parse(&again, buf_slice(&one), NULL), ERR_OK);
        promql_print(again->root, &two);
        assert_true(slice_eq(buf_slice(&one), buf_slice(&two)));
        struct jw w = jw_to(&two);
        promql_json(p->root, &w);
        assert_int_equal(two.err, ERR_OK);
        promql_free(p);
        promql_free(again);
        buf_free(&one);
        buf_free(&two);
    }
}

static void refuses(void **state)
{
    static const char *const rows[][2] = {
        {"", "1:1: parse error: no expression found in input"},
        {"# only this", "1:1: parse error: no expression"},
        {"sum(", "1:5: parse error: unexpected end of input"},
        {"a +\n  )", "2:3: parse error: unexpected right parenthesis"},
        {"a{b}", "1:4: parse error: unexpected \"}\" in label matching"},
        {"a{b=1}", "1:5: parse error: unexpected number \"1\" in label matching, expected string"},
        {"a{b=~\"(\"}", "1:3: parse error: "},
        {"{}", "vector selector must contain at least one non-empty matcher"},
        {"{a=\"\"}", "vector selector must contain at least one non-empty matcher"},
        {"a{__name__=\"b\"}", "metric name must not be set twice"},
        {"a[5m", "unexpected end of input"},
        {"a[5]m", "1:5: parse error: unexpected identifier \"m\""},
        {"a[0s]", "duration must be greater than 0"},
        {"a[5s1m]", "bad number or duration syntax"},
        {"1.5h", "bad number or duration syntax"},
        {"a[5m][5m]", "ranges only allowed for vector selectors"},
        {"a offset 5m[5m]", "no offset modifiers allowed before range"},
        {"(a + b) offset 5m", "offset modifier must be preceded by"},
        {"a offset 1m offset 2m", "offset may not be set multiple times"},
        {"a @ 1 @ 2", "@ <timestamp> may not be set multiple times"},
        {"a @ b", "expected timestamp in seconds"},
        {"1 == 2", "comparisons between scalars must use BOOL modifier"},
        {"1 and a", "set operator \"and\" not allowed in binary scalar expression"},
        {"a and on (x) group_left b", "no grouping allowed for \"and\" operation"},
        {"a + bool b", "bool modifier can only be used on comparison operators"},
        {"a + on (x) 1", "vector matching only allowed between instant vectors"},
        {"a + on (x) group_left (x) b", "label \"x\" must not occur in ON and GROUP clause at once"},
        {"a[5m] + 1", "binary expression must contain only scalar and instant vector types"},
        {"-a[5m]", "unary expression only allowed on expressions of type scalar or instant vector"},
        {"rate(a)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"},
        {"rate(a[5m], 1)", "expected 1 argument(s) in call to \"rate\", got 2"},
        {"round()", "expected at least 1 argument(s) in call to \"round\", got 0"},
        {"round(a, 1, 2)", "expected at most 2 argument(s) in call to \"round\", got 3"},
        {"nosuch(a)", "unknown function with name \"nosuch\""},
        {"abs(a,)", "trailing commas not allowed"},
        {"sum()", "no arguments for aggregate expression provided"},
        {"topk(a)", "wrong number of arguments for aggregate expression provided, expected 2, got 1"},
        {"sum by (1) (a)", "unexpected number \"1\" in grouping opts, expected label"},
        {"sum by (a) (b) by (c)", "unexpected identifier \"by\""},
        {"a ! b", "unexpected character after '!'"},
        {"a $ b", "unexpected character: '$'"},
        {"'abc", "unterminated quoted string"},
        {"'\\q'", "unknown escape sequence"},
        {"a b", "1:3: parse error: unexpected identifier \"b\""},
        {"time()[5m:]", "subquery is only allowed on instant vector"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct promql *p = NULL;
        struct error err = {0};
        if (promql_parse(&p, slice_str(rows[i][0]), &err) == ERR_OK)
            fail_msg("%s was accepted", rows[i][0]);
        if (slice_find(slice_str(err.msg), slice_str(rows[i][1])) < 0)
            fail_msg("%s: %s", rows[i][0], err.msg);
        assert_int_equal(err.code, ERR_SYNTAX);
        promql_free(p);
    }
}

static void deep_texts_end(void **state)
{
    static char text[100000];
    static const char *const units[] = {"(", "-", "sum(", "a+", "a^", "x[5m:]"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct promql *p = NULL;
        size_t n = 0, unit = strlen(units[u]);
        while (n + unit < sizeof text - 2) {
            memcpy(text + n, units[u], unit);
            n += unit;
        }
        text[n++] = 'a';
        assert_int_equal(promql_parse(&p, slice_of(text, n), NULL), ERR_SYNTAX);
        promql_free(p);
    }
}

static void lines_break_at_100(void **state)
{
    struct promql *p = NULL;
    struct buf b;
    const char *text = "sum by (a, b) (rate(a_rather_long_metric_name_total{label=\"value\"}[5m])) / on (a, b) group_left () "
                       "count by (a, b) (another_metric)";
    buf_init(&b, KIB(4));
    assert_int_equal(promql_parse(&p, slice_str(text), NULL), ERR_OK);
    promql_print_pretty(p->root, &b);
    assert_true(slice_eq(buf_slice(&b), SLICE("  sum by (a, b) (rate(a_rather_long_metric_name_total{label=\"value\"}[5m]))\n"
                                              "/ on (a, b) group_left ()\n  count by (a, b) (another_metric)")));
    promql_free(p);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(prints), cmocka_unit_test(refuses), cmocka_unit_test(deep_texts_end),
                                       cmocka_unit_test(lines_break_at_100)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
