// What is taken and how it is printed; what is refused, where, and with which words.
#include "check.h"
#include "logql/logql.h"

// out: the canonical form; null: the same as in.
static const struct {
    const char *in, *out;
} good[] = {
    {"{app=\"x\"}", NULL},
    {"{  app =  \"x\",b!=\"y\" }", "{app=\"x\", b!=\"y\"}"},
    {"{app=~\"x.*\", b!~`y`}", "{app=~\"x.*\", b!~\"y\"}"},
    {"{app=`raw\\d`}", "{app=\"raw\\\\d\"}"},
    {"{app=\"\\u00e9\\x41\\101\"}", "{app=\"\xc3\xa9"
                                    "AA\"}"},
    {"{app=\"a\\tb\\nc\\\"d\"}", NULL},
    {"{app=\"x\"} # comment", "{app=\"x\"}"},
    {"{app=\"x\"} # |= \"no\"\n|= \"yes\"", "{app=\"x\"} |= \"yes\""},
    {"{}", "{}"},
    {"({app=\"x\"})", "{app=\"x\"}"},
    {"(({app=\"x\"} |= \"a\"))", "{app=\"x\"} |= \"a\""},
    {"{sum=\"x\", by=\"y\", json=\"z\"}", NULL},
    // line filters
    {"{a=\"b\"}|=\"c\"", "{a=\"b\"} |= \"c\""},
    {"{a=\"b\"} |= \"c\" != \"d\" |~ \"e\" !~ \"f\"", NULL},
    {"{a=\"b\"} |> \"<_>c\" !> \"d<_>\"", NULL},
    {"{a=\"b\"} |= \"c\" or \"d\" or \"e\"", NULL},
    {"{a=\"b\"} != \"c\" OR \"d\"", "{a=\"b\"} != \"c\" or \"d\""},
    {"{a=\"b\"} |= ip(\"10.0.0.0/8\")", NULL},
    {"{a=\"b\"} != ip(\"10.0.0.1\") or \"x\" or ip(\"::1\")", NULL},
    {"{a=\"b\"} |= `back\\slash`", "{a=\"b\"} |= \"back\\\\slash\""},
    {"{a=\"b\"} |= \"\"", NULL},
    // parsers
    {"{a=\"b\"} | json", NULL},
    {"{a=\"b\"} | JSON | LogFmt", "{a=\"b\"} | json | logfmt"},
    {"{a=\"b\"} | json x=\"y.z\", w", "{a=\"b\"} | json x=\"y.z\",w=\"w\""},
    {"{a=\"b\"} | json x=`y[\"k\"]`", "{a=\"b\"} | json x=\"y[\\\"k\\\"]\""},
    {"{a=\"b\"} | logfmt --strict --keep-empty e=\"f\"", NULL},
    {"{a=\"b\"} | logfmt --keep-empty --strict", "{a=\"b\"} | logfmt --strict --keep-empty"},
    {"{a=\"b\"} | regexp \"(?P<n>.)\"", NULL},
    {"{a=\"b\"} | pattern \"<x> - <_>\"", NULL},
    {"{a=\"b\"} | unpack | decolorize", NULL},
    {"{a=\"b\"} | json != \"x\"", NULL},
    {"{a=\"b\"} | json |= \"x\"", NULL},
    // label filters
    {"{a=\"b\"} | c=\"d\"", NULL},
    {"{a=\"b\"} | c!=\"d\" | e=~\"f\" | g!~\"h\"", NULL},
    {"{a=\"b\"} | c>5", NULL},
    {"{a=\"b\"} | c = 5", "{a=\"b\"} | c==5"},
    {"{a=\"b\"} | c == -5.5", "{a=\"b\"} | c==-5.5"},
    {"{a=\"b\"} | c >= 1e3", "{a=\"b\"} | c>=1000"},
    {"{a=\"b\"} | c >= 1_000", "{a=\"b\"} | c>=1000"},
    {"{a=\"b\"} | c < 0x1p4", "{a=\"b\"} | c<16"},
    {"{a=\"b\"} | c > .5", "{a=\"b\"} | c>0.5"},
    {"{a=\"b\"} | d>10s", NULL},
    {"{a=\"b\"} | d != 1h30m", "{a=\"b\"} | d!=1h30m0s"},
    {"{a=\"b\"} | d > 0.5h", "{a=\"b\"} | d>30m0s"},
    {"{a=\"b\"} | d < 1d", "{a=\"b\"} | d<24h0m0s"},
    {"{a=\"b\"} | d > -5ms", "{a=\"b\"} | d>-5ms"},
    {"{a=\"b\"} | s >= 1KB", "{a=\"b\"} | s>=1.0kB"},
    {"{a=\"b\"} | s >= 1KiB", "{a=\"b\"} | s>=1024B"},
    {"{a=\"b\"} | s < 20MB", "{a=\"b\"} | s<20MB"},
    {"{a=\"b\"} | ip=ip(\"10.0.0.0/8\")", NULL},
    {"{a=\"b\"} | ip != ip(\"::1\")", "{a=\"b\"} | ip!=ip(\"::1\")"},
    {"{a=\"b\"} | c=\"1\" and d=\"2\"", "{a=\"b\"} | ( c=\"1\" , d=\"2\" )"},
    {"{a=\"b\"} | c=\"1\", d=\"2\"", "{a=\"b\"} | ( c=\"1\" , d=\"2\" )"},
    {"{a=\"b\"} | c=\"1\" d=\"2\"", "{a=\"b\"} | ( c=\"1\" , d=\"2\" )"},
    {"{a=\"b\"} | c=\"1\" or d=\"2\" and e=\"3\"", "{a=\"b\"} | ( c=\"1\" or ( d=\"2\" , e=\"3\" ) )"},
    {"{a=\"b\"} | (c=\"1\" or d=\"2\") and e=\"3\"", "{a=\"b\"} | ( ( c=\"1\" or d=\"2\" ) , e=\"3\" )"},
    {"{a=\"b\"} | a > 5 and b = 10s or c >= 1KB", "{a=\"b\"} | ( ( a>5 , b==10s ) or c>=1.0kB )"},
    {"{a=\"b\"} | duration > 5s | bytes = 1KB | ip = \"x\"", "{a=\"b\"} | duration>5s | bytes==1.0kB | ip=\"x\""},
    {"{a=\"b\"} | json = \"x\"", "{a=\"b\"} | json=\"x\""},
    {"{a=\"b\"} | drop = \"x\"", "{a=\"b\"} | drop=\"x\""},
    {"{a=\"b\"} | __error__=\"\"", NULL},
    // formats
    {"{a=\"b\"} | line_format \"{{.x}}\"", NULL},
    {"{a=\"b\"} | label_format x=y, z=\"{{.w}}\"", "{a=\"b\"} | label_format x=y,z=\"{{.w}}\""},
    {"{a=\"b\"} | drop x, y=\"z\", w=~\"v.*\"", "{a=\"b\"} | drop x,y=\"z\",w=~\"v.*\""},
    {"{a=\"b\"} | keep x, y!=\"\"", "{a=\"b\"} | keep x,y!=\"\""},
    // ranges
    {"rate({a=\"b\"}[5m])", NULL},
    {"RATE({a=\"b\"} [ 5m ])", "rate({a=\"b\"}[5m])"},
    {"count_over_time({a=\"b\"} |= \"c\" [1h30m])", "count_over_time({a=\"b\"} |= \"c\"[1h30m])"},
    {"count_over_time({a=\"b\"}[1h30m] |= \"c\")", "count_over_time({a=\"b\"} |= \"c\"[1h30m])"},
    {"count_over_time(({a=\"b\"}[5m]))", "count_over_time({a=\"b\"}[5m])"},
    {"count_over_time(({a=\"b\"} | json) [5m])", "count_over_time({a=\"b\"} | json[5m])"},
    {"rate({a=\"b\"}[5m] offset 5m)", "rate({a=\"b\"}[5m] offset 5m0s)"},
    {"rate({a=\"b\"}[5m] offset -1h)", "rate({a=\"b\"}[5m] offset -1h0m0s)"},
    {"rate({a=\"b\"}[5m] offset 1m |= \"x\")", "rate({a=\"b\"} |= \"x\"[5m] offset 1m0s)"},
    {"bytes_rate({a=\"b\"}[1d])", NULL},
    {"bytes_over_time({a=\"b\"}[1w])", NULL},
    {"absent_over_time({a=\"b\"}[500ms])", NULL},
    {"count_over_time({a=\"b\"}[1500ms])", "count_over_time({a=\"b\"}[1s500ms])"},
    {"sum_over_time({a=\"b\"} | unwrap x [5m])", "sum_over_time({a=\"b\"} | unwrap x[5m])"},
    {"avg_over_time({a=\"b\"} | unwrap duration(x) [5m]) by (c)", "avg_over_time({a=\"b\"} | unwrap duration(x)[5m]) by (c)"},
    {"max_over_time({a=\"b\"} | unwrap bytes(x) | __error__=\"\" [5m]) without (c,d)",
     "max_over_time({a=\"b\"} | unwrap bytes(x) | __error__=\"\"[5m]) without (c,d)"},
    {"quantile_over_time(0.99,{a=\"b\"} | unwrap x[5m]) by (c)", NULL},
    {"rate_counter({a=\"b\"} | unwrap x[5m])", NULL},
    {"rate({a=\"b\"} | unwrap x[5m])", NULL},
    // aggregations
    {"sum(rate({a=\"b\"}[5m]))", NULL},
    {"sum(rate({a=\"b\"}[5m])) by (a)", "sum by (a)(rate({a=\"b\"}[5m]))"},
    {"sum by(a,b)(rate({a=\"b\"}[5m]))", "sum by (a,b)(rate({a=\"b\"}[5m]))"},
    {"sum without () (rate({a=\"b\"}[5m]))", "sum without ()(rate({a=\"b\"}[5m]))"},
    {"topk(3, rate({a=\"b\"}[5m]))", "topk(3,rate({a=\"b\"}[5m]))"},
    {"bottomk by (c) (1, rate({a=\"b\"}[5m]))", "bottomk by (c)(1,rate({a=\"b\"}[5m]))"},
    {"sort_desc(sum(rate({a=\"b\"}[5m])) by (a))", "sort_desc(sum by (a)(rate({a=\"b\"}[5m])))"},
    {"stddev(rate({a=\"b\"}[5m]))", NULL},
    // binary operations
    {"1+2*3", "7"},
    {"2 ^ 3 ^ 2", "512"},
    {"-2^2", "4"},
    {"1 - -2", "3"},
    {"10 % 4", "2"},
    {"1 > bool 2", "0"},
    {"1 / 0", "(1 / 0)"},
    {"vector(1)", "vector(1.000000)"},
    {"vector(1) or rate({a=\"b\"}[5m])", "(vector(1.000000) or rate({a=\"b\"}[5m]))"},
    {"rate({a=\"b\"}[5m]) / rate({a=\"b\"}[10m])", "(rate({a=\"b\"}[5m]) / rate({a=\"b\"}[10m]))"},
    {"vector(1) + vector(2) * vector(3)", "(vector(1.000000) + (vector(2.000000) * vector(3.000000)))"},
    {"vector(1) ^ vector(2) ^ vector(3)", "(vector(1.000000) ^ (vector(2.000000) ^ vector(3.000000)))"},
    {"vector(1) - vector(2) - vector(3)", "((vector(1.000000) - vector(2.000000)) - vector(3.000000))"},
    {"vector(1) or vector(2) and vector(3)", "(vector(1.000000) or (vector(2.000000) and vector(3.000000)))"},
    {"vector(1) > bool 2", "(vector(1.000000) > bool 2)"},
    {"vector(1) / on(a, b) group_left(c) vector(2)", "(vector(1.000000) / on (a,b) group_left (c) vector(2.000000))"},
    {"vector(1) * ignoring(a) group_right vector(2)", "(vector(1.000000) * ignoring (a) group_right () vector(2.000000))"},
    {"vector(1) * on(a) group_left (vector(2))", "(vector(1.000000) * on (a) group_left () vector(2.000000))"},
    {"vector(1) unless on() vector(2)", "(vector(1.000000) unless on () vector(2.000000))"},
    {"label_replace(vector(1), \"a\", \"$1\", \"b\", \"(.*)\")", "label_replace(vector(1.000000),\"a\",\"$1\",\"b\",\"(.*)\")"},
    {"(vector(1))", "vector(1.000000)"},
};

static void print_of(const char *in, const char *want)
{
    struct logql *q;
    struct error err = {0};
    struct buf b;
    buf_init(&b, 1 << 16);
    check_row("%s", in);
    if (CHECK(logql_parse(&q, slice_str(in), &err) == ERR_OK)) {
        logql_print(q, &b);
        CHECK_STR(buf_slice(&b), want);
        logql_free(q);
    } else {
        fprintf(stderr, "%s\n", err.msg);
    }
    buf_free(&b);
}

static void accepts(void **state)
{
    for (size_t i = 0; i < CHECK_ROWS(good); i++) {
        const char *want = good[i].out ? good[i].out : good[i].in;
        print_of(good[i].in, want);
        print_of(want, want); // the canonical form stands
    }
    check_done();
}

// at: byte that the error points to, -1 where the message has no place; word: must be in the message.
static const struct {
    const char *in;
    int at;
    const char *word;
} bad[] = {
    {"", 0, "selector"},
    {"{", 1, "label name"},
    {"{app}", 4, "'}'"},
    {"{app=x}", 5, "in quotes"},
    {"{app=\"x\"", 8, "'}'"},
    {"{app==\"x\"}", 4, "'=='"},
    {"{,}", 1, "label name"},
    {"{app=\"x\",}", 9, "label name"},
    {"{1app=\"x\"}", 1, "neither a number"},
    {"{app=~5}", 6, "in quotes"},
    {"{app>\"x\"}", 4, "'>'"},
    {"{app='x'}", 5, "strings stand in"},
    {"{app=\"x}", 5, "not closed"},
    {"{app=\"\\q\"}", 6, "escape"},
    {"{app=`x}", 5, "not closed"},
    {"{app=\"x\"} json", 10, "json"},
    {"{app=\"x\"} |", 11, "behind '|'"},
    {"{app=\"x\"} | json | json |", 25, "behind '|'"},
    {"{app=\"x\"} and {app=\"y\"}", 10, "log lines"},
    {"{app=\"x\"} \"y\"", 10, "end of the query"},
    {"{app=\"x\"} [5m]", 10, "'['"},
    {"{app=\"x\"} offset 5m", 10, "offset"},
    {"{app=\"x\"} | head 5", 17, "head"},
    {"{app=\"x\"} | a = ", 16, "the end"},
    {"{app=\"x\"} | = \"a\"", 12, "'='"},
    {"{app=\"x\"} | a = b", 16, "\"b\""},
    {"{app=\"x\"} | a ! \"b\"", 14, "unexpected character !"},
    {"{app=\"x\"} / 2", 10, "log lines"},
    {"{app=\"x\"} |== \"a\"", 12, "'='"},
    {"{app=\"x\"} !~", 12, "in quotes"},
    {"{app=\"x\"} |= \"a\" or", 19, "in quotes"},
    {"{app=\"x\"} |= \"a\" and \"b\"", 21, "selector"},
    {"{app=\"x\"} |= \"a\", \"b\"", 16, "','"},
    {"{app=\"x\"} |= 'GET'", 13, "strings stand in"},
    {"{app=\"x\"} =~ \"a\"", 10, "'=~'"},
    {"{app=\"x\"} | unwrap v", 10, "unwrap"},
    {"{app=\"x\"} | line_format", 23, "template"},
    {"{app=\"x\"} | label_format", 24, "label name"},
    {"{app=\"x\"} | label_format a", 26, "'='"},
    {"{app=\"x\"} | pattern", 19, "pattern"},
    {"{app=\"x\"} | regexp", 18, "regular expression"},
    {"{app=\"x\"} | json \"a\"", 17, "a string"},
    {"{app=\"x\"} | json a=\"x\",", 23, "label name"},
    {"{app=\"x\"} | logfmt --nosuch", 19, "--strict"},
    {"{app=\"x\"} | logfmt a=\"x\" --strict", 25, "a flag"},
    {"{app=\"x\"} | decolorize x", 23, "unexpected x"},
    {"{app=\"x\"} | drop a,", 19, "label name"},
    {"{app=\"x\"} | drop a=5", 19, "in quotes"},
    {"{app=\"x\"} | keep", 16, "label name"},
    {"{app=\"x\"} | status=~200", 20, "takes a string"},
    {"{app=\"x\"} | a==\"b\"", 13, "compare strings"},
    {"{app=\"x\"} | a > \"b\"", 14, "compare strings"},
    {"{app=\"x\"} | status=200ms5", 19, "200ms5"},
    {"{app=\"x\"} | status=1e", 19, "1e"},
    {"{app=\"x\"} | status=1.2.3", 19, "1.2.3"},
    {"{app=\"x\"} | size>0B", 17, "0B"},
    {"{app=\"x\"} | size<1kb", 17, "1kb"},
    {"{app=\"x\"} | n>0x10", 14, "0x10"},
    {"{app=\"x\"} | ip>ip(\"10.0.0.1\")", 14, "ip()"},
    {"{app=\"x\"} | ip=~ip(\"10.0.0.1\")", 14, "ip()"},
    {"{app=\"x\"} | not lvl=\"x\"", 16, "lvl"},
    {"{app=\"x\"} | a=\"x\" unless b=\"y\"", 25, "b"},
    {"{app=\"x\"} | a=\"x\" and and b=\"y\"", 26, "b"},
    {"{app=\"x\"} | (a=\"x\"", 18, "')'"},
    {"{app=\"x\"} | \xc3\xa4=\"b\"", 12, "unexpected character"},
    {"rate", 4, "'('"},
    {"rate()", 5, "'{'"},
    {"rate({app=\"x\"}[5m]", 18, "')'"},
    {"rate{app=\"x\"}[5m]", 4, "'('"},
    {"rate({app=\"x\"}[5mm])", 14, "5mm"},
    {"rate({app=\"x\"}[0.5h])", 14, "0.5h"},
    {"rate({app=\"x\"}[51y])", 14, "50 years"},
    {"rate({app=\"x\"}[1m] offset -51y)", 27, "50 years"},
    {"rate({app=\"x\"}[])", 14, "range"},
    {"rate({app=\"x\"}[-5m])", 14, "-5m"},
    {"rate({app=\"x\"}[5m:1m])", 14, "5m:1m"},
    {"rate({app=\"x\"}[5m", 14, "not closed"},
    {"rate({app=\"x\"}[5m] @ 5)", 19, "@"},
    {"rate({app=\"x\"}[5m])[5m]", 19, "'['"},
    {"rate({app=\"x\"})", 14, "range"},
    {"rate({app=\"x\"}[5m] offset 5)", 26, "duration"},
    {"count_over_time({app=\"x\"}[5m]) by (app)", 31, "grouping not allowed"},
    {"rate({app=\"x\"}[5m]) without (app)", 20, "grouping not allowed"},
    {"increase({app=\"x\"}[5m])", 0, "increase"},
    {"abs(vector(1))", 0, "abs"},
    {"label_join(vector(1), \"a\", \"-\", \"b\")", 0, "label_join"},
    {"sum_over_time({app=\"x\"}[5m])", 0, "unwrap"},
    {"count_over_time({app=\"x\"} | unwrap v [5m])", 0, "unwrap"},
    {"sum_over_time({app=\"x\"} | unwrap v | json [5m])", 35, "unwrap"},
    {"sum_over_time({app=\"x\"} | unwrap v | unwrap w [5m])", 35, "unwrap"},
    {"sum_over_time({app=\"x\"} | unwrap float(v) [5m])", 24, "bytes"},
    {"quantile_over_time(-1, {app=\"x\"} | unwrap v [5m])", 19, "negative"},
    {"quantile_over_time(\"x\", {app=\"x\"} | unwrap v [5m])", 19, "number"},
    {"sum by app (rate({app=\"x\"}[5m]))", 7, "'('"},
    {"sum by (app,) (rate({app=\"x\"}[5m]))", 12, "label name"},
    {"sum by (a) (rate({app=\"x\"}[5m])) by (b)", 33, "one grouping"},
    {"sum(1, rate({app=\"x\"}[5m]))", 4, "number"},
    {"sum({app=\"x\"})", 4, "log lines"},
    {"sum(5)", 4, "number"},
    {"topk(rate({app=\"x\"}[5m]))", 5, "number"},
    {"topk(0, rate({app=\"x\"}[5m]))", 5, "1 or more"},
    {"topk(1.5, rate({app=\"x\"}[5m]))", 5, "whole number"},
    {"sort by (a) (rate({app=\"x\"}[5m]))", 0, "by"},
    {"group(rate({app=\"x\"}[5m]))", 0, "group"},
    {"rate({app=\"x\"}[5m])) ", 19, "')'"},
    {"vector()", 7, "a number without a sign"},
    {"vector(-1)", 7, "sign"},
    {"-vector(1)", 1, "number"},
    {"1 +", 3, "found the end"},
    {"1 = 1", 2, "'='"},
    {"1 +* 2", 3, "'*'"},
    {"vector(1) and 1", 10, "and"},
    {"1 unless vector(1)", 2, "unless"},
    {"vector(1) + bool vector(1)", 12, "bool"},
    {"vector(1) + on a vector(1)", 15, "'('"},
    {"vector(1) + group_left vector(1)", 12, "group_left"},
    {"vector(1) and on(a) group_left vector(1)", 20, "group_left"},
    {"1 * on(a) vector(1)", 2, "vectors"},
    {"label_replace(vector(1), \"a\", \"b\", \"c\")", 38, "','"},
    {"label_replace({app=\"x\"}, \"a\", \"b\", \"c\", \"d\")", 14, "log lines"},
    {"()", 1, "')'"},
    {"({app=\"x\"}", 10, "')'"},
    {"rate({app=\"x\"}[5m])\n  / \n  foo(1)", 27, "foo"},
};

static void refuses(void **state)
{
    for (size_t i = 0; i < CHECK_ROWS(bad); i++) {
        struct logql *q = NULL;
        struct error err = {0};
        check_row("%s", bad[i].in);
        CHECK(logql_parse(&q, slice_str(bad[i].in), &err) != ERR_OK);
        CHECK(!q);
        CHECK_INT(logql_error_at(slice_str(bad[i].in), &err), bad[i].at);
        if (!CHECK(strstr(err.msg, bad[i].word)))
            fprintf(stderr, "%s\n", err.msg);
        logql_free(q);
    }
    check_done();
}

// Parses, but has no plan: what is wrong shows when it is compiled.
static void unplannable(void **state)
{
    static const struct {
        const char *in, *word;
    } rows[] = {
        {"{}", "matches every stream"},
        {"{app=~\".*\"}", "matches every stream"},
        {"{app!=\"x\"}", "matches every stream"},
        {"{app=~\"a|\"}", "matches every stream"},
        {"{app=\"\", env=\"\"}", "matches every stream"},
        {"{app=~\"(\"}", "missing )"},
        {"{app=\"x\"} |~ \"(\"", "missing )"},
        {"{app=\"x\"} |= ip(\"10.0.0.9-10.0.0.1\")", "ascending"},
        {"{app=\"x\"} |~ ip(\"10.0.0.1\")", "|= and !="},
        {"{app=\"x\"} |> \"<name>\"", "<_>"},
        {"{app=\"x\"} | json a=\"[0\"", "line 1, col 11"},
        {"{app=\"x\"} | json a=\"\"", "json path"},
        {"{app=\"x\"} | json a=\"x.1y\"", "byte 2"},
        {"{app=\"x\"} | logfmt a=\"a-b\"", "a-b"},
        {"{app=\"x\"} | regexp \"x\"", "named"},
        {"{app=\"x\"} | pattern \"x\"", "named capture"},
        {"{app=\"x\"} | pattern \"<a><b>\"", "touch"},
        {"{app=\"x\"} | label_format a=b, a=c", "twice"},
        {"{app=\"x\"} | label_format __error__=\"x\"", "__error__"},
        {"{app=\"x\"} | line_format \"{{ nosuch .x }}\"", "nosuch"},
        {"{app=\"x\"} | line_format \"{{\"", "{{"},
        {"rate({app!=\"x\"}[5m])", "matches every stream"},
        {"label_replace(vector(1), \"a-b\", \"\", \"\", \"\")", "a-b"},
        {"label_replace(vector(1), \"a\", \"\", \"\", \"(\")", "missing )"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct logql *q;
        struct logql_plan *p;
        struct error err = {0};
        check_row("%s", rows[i].in);
        if (!CHECK(logql_parse(&q, slice_str(rows[i].in), &err) == ERR_OK))
            continue;
        CHECK(logql_plan(&p, q, 0, &err) != ERR_OK);
        CHECK(p == NULL);
        if (!CHECK(strstr(err.msg, rows[i].word)))
            fprintf(stderr, "%s\n", err.msg);
        logql_free(q);
    }
    check_done();
}

static void limits(void **state)
{
    static char text[140000];
    struct logql *q;
    struct error err = {0};
    memset(text, '(', 1000);
    memcpy(text + 1000, "vector(1)", 10);
    assert_int_not_equal(logql_parse(&q, slice_str(text), &err), ERR_OK);
    assert_non_null(strstr(err.msg, "nested deeper"));
    memset(text, ' ', sizeof text);
    memcpy(text, "vector(1)", 9);
    err = (struct error){0};
    assert_int_equal(logql_parse(&q, slice_of(text, sizeof text), &err), ERR_LIMIT);
    assert_int_equal(logql_parse(&q, slice_of(text, 131071), NULL), ERR_OK);
    assert_true(logql_is_metric(q));
    logql_free(q);
    for (int i = 0; i < 3000; i++)
        memcpy(text + i * 10, "vector(1)+", 10);
    memcpy(text + 30000, "vector(1)", 10);
    err = (struct error){0};
    assert_int_equal(logql_parse(&q, slice_str(text), &err), ERR_SYNTAX);
    assert_non_null(strstr(err.msg, "operators"));
    size_t at = (size_t)sprintf(text, "{a=\"b\"} | c=1");
    for (int i = 0; i < 3000; i++)
        at += (size_t)sprintf(text + at, " or c=1");
    err = (struct error){0};
    assert_int_equal(logql_parse(&q, slice_str(text), &err), ERR_SYNTAX);
    assert_non_null(strstr(err.msg, "operators"));
    assert_int_equal(logql_parse(&q, SLICE("{a=\"b\"}"), NULL), ERR_OK);
    assert_true(!logql_is_metric(q));
    logql_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepts), cmocka_unit_test(refuses), cmocka_unit_test(unplannable),
                                       cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
