// DYN_LOG: every form of a directive, what matches, what wins, what is told.
#include "check.h"
#include "sdk/filter.h"
#include "sdk/pattern.h"
#include <stdlib.h>
#include <unistd.h>

static void levels(void **state)
{
    (void)state;
    static const struct {
        const char *directives, *target;
        unsigned want;
    } rows[] = {
        {"", "any", 3},
        {"debug", "any", 4},
        {"DEBUG", "any", 4},
        {"off", "any", 0},
        {"0", "any", 0},
        {"1", "any", 1},
        {"5", "any", 5},
        {"warn", "any", 2},
        {"warning", "any", 2},
        {"critical", "any", 1},
        {"fatal", "any", 1},
        {"Trace", "any", 5},
        {"my_mod=debug", "my_mod", 4},
        {"my_mod=debug", "other", 3}, // the rest stays at info
        {"my_mod=debug", "my_mod::x", 4},
        {"dynamo_l=debug", "dynamo_llm::x", 4}, // a plain prefix
        {"my_mod", "my_mod", 5},                // a target alone: trace
        {"error,my_mod=debug", "other", 1},
        {"my_mod=debug,error", "other", 1}, // order does not matter
        {"a=error,a::b=debug", "a::b::c", 4},
        {"a::b=debug,a=error", "a::b::c", 4},
        {"a::b=debug,a=error", "a::c", 1},
        {"a=error,a=debug", "a", 4}, // of equals the later
        {"a=debug,a=error", "a", 1},
        {"a:debug", "a", 4}, // with a warning
        {"a::b:warn", "a::b", 2},
        {"a::b", "a::b", 5},
        {"a::info", "a::info", 5}, // no level behind '::'
        {" a = debug , b=warn ", "a", 4},
        {" a = debug , b=warn ", "b", 2},
        {",,a=debug,,", "a", 4},
        {"a=debug,", "b", 3},
        {"h2=debug", "h2", 4}, // environment beats the built-in
        {"", "h2::codec", 1},  // built-in
        {"debug", "tower::x", 1},
        {"a=nonsense", "a", 3}, // left out
        {"a=nonsense,b=debug", "b", 4},
        {"a=6", "a", 3},
        {"=debug", "a", 3},
        {"[span]=trace", "a", 3}, // only inside the span
        {"a[span]=trace,a=warn", "a", 2},
        {"info a=debug", "a", 3}, // left out
        {"a==debug", "a", 3},
        {"a b=debug", "a b", 3},
        {"off,a=info", "a", 3},
        {"off,a=info", "b", 0},
        {"a=off", "a", 0},
        {"info,a[s{x=1,y=2}]=debug,b=trace", "b", 5}, // the comma inside braces does not split
    };
    static struct filter f;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf notes;
        buf_init(&notes, 1 << 16);
        filter_init(&f);
        filter_parse(&f, slice_str(rows[i].directives), &notes);
        check_row("'%s' for %s", rows[i].directives, rows[i].target);
        CHECK_INT(filter_level(&f, slice_str(rows[i].target)), rows[i].want);
        buf_free(&notes);
    }
    check_done();
}

static void spans(void **state)
{
    (void)state;
    static const struct {
        const char *directives, *target, *name, *key, *value;
        unsigned want;
    } rows[] = {
        {"info", "t", "s", 0, 0, 0},
        {"[s]=debug", "t", "s", 0, 0, 4},
        {"[s]=debug", "t", "s2", 0, 0, 0}, // names match whole
        {"t[s]=debug", "t::x", "s", 0, 0, 4},
        {"u[s]=debug", "t::x", "s", 0, 0, 0},
        {"[s]", "t", "s", 0, 0, 5},
        {"[s]=off", "t", "s", 0, 0, 0},
        {"[{model}]=debug", "t", "any", "model", "x", 4},
        {"[{model}]=debug", "t", "any", "other", "x", 0},
        {"[s{model=x}]=debug", "t", "s", "model", "x", 4},
        {"[s{model=x}]=debug", "t", "s", "model", "y", 0},
        {"[s{model=\"x\"}]=debug", "t", "s", "model", "x", 4},
        {"[s{n=5}]=debug", "t", "s", "n", "5", 4},
        {"[s{n=5}]=debug", "t", "s", "n", "5.0", 4},
        {"[s{b=true}]=debug", "t", "s", "b", "true", 4},
        {"[ s { b = true } ] = debug", "t", "s", "b", "true", 4},
        {"[s{a=1,b=2}]=debug", "t", "s", "a", "1", 0},        // both are needed
        {"[s{user=bo.*}]=debug", "t", "s", "user", "bob", 4}, // a regular expression
        {"[s{user=bo.*}]=debug", "t", "s", "user", "abe", 0},
        {"[s{user=bob}]=debug", "t", "s", "user", "jacob", 0},
        {"[s{user=\"a|b\"}]=debug", "t", "s", "user", "b", 4},
        {"[s{id=[a-f]{2,3}}]=debug", "t", "s", "id", "abc", 4}, // its own brackets and comma
        {"[s{id=[a-f]{2,3},m}]=debug", "t", "s", "id", "abc", 0},
        {"[s{v=1.5}]=debug", "t", "s", "v", "1.50", 4},
        {"[s]=warn,[s{a=1}]=trace", "t", "s", "a", "1", 5},
        {"[s]=warn,[s{a=1}]=trace", "t", "s", "a", "2", 2},
        {"[s]=trace,t[s]=warn", "t", "s", 0, 0, 2}, // the longer target
    };
    static struct filter f;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        filter_init(&f);
        filter_parse(&f, slice_str(rows[i].directives), NULL);
        uint32_t conditions = rows[i].key ? filter_field(&f, slice_str(rows[i].key), slice_str(rows[i].value)) : 0;
        check_row("'%s' %s %s", rows[i].directives, rows[i].name, rows[i].value ? rows[i].value : "");
        CHECK_INT(filter_span(&f, slice_str(rows[i].target), slice_str(rows[i].name), conditions), rows[i].want);
    }
    check_done();
}

static void notes(void **state)
{
    (void)state;
    static const struct {
        const char *directives, *want; // part of the note; "" none
    } rows[] = {
        {"debug,a=warn,[s{x=1}]=info", ""},
        {"a:debug", "taken as 'a=debug'"},
        {"a=loud", "ignoring 'a=loud'"},
        {"a[s=debug", "']' is missing"},
        {"a[s{x]=debug", "'}' is missing"},
        {"=debug", "target is missing"},
        {"info a=debug", "separate directives by commas"},
        {"a==debug", "ignoring 'a==debug'"},
        {"s]=debug", "ignoring 's]=debug'"},
        {"[{=1}]=debug", "no name"},
        {"[{a=(x}]=debug", "')' is missing"},
        {"[{a=*}]=debug", "nothing to repeat"},
    };
    static struct filter f;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        filter_init(&f);
        filter_parse(&f, slice_str(rows[i].directives), &b);
        check_row("'%s' notes '%.*s'", rows[i].directives, (int)b.n, b.p);
        if (rows[i].want[0])
            CHECK(slice_find(buf_slice(&b), slice_str(rows[i].want)) >= 0);
        else
            CHECK_INT(b.n, 0);
        buf_free(&b);
    }
    check_done();
}

// ---- regular expressions --------------------------------------------------------------------------------------------
static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool want;
    } rows[] = {
        {"a.c", "abc", true},
        {"a.c", "a\u00e4c", true}, // a code point
        {"a.c", "ac", false},
        {"a.c", "xxabc", true}, // begins anywhere
        {"a.c", "abcx", false}, // and reaches the end
        {"^a.c", "xxabc", false},
        {"^a.c$", "abc", true},
        {"$", "", true},
        {".*", "", true},
        {".+", "", false},
        {"a*b+c?", "aabb", true},
        {"^a*b+c?$", "aabbcc", false},
        {"^(ab)*$", "ababab", true},
        {"^(ab)*$", "ababa", false},
        {"^(a|b|cd)+$", "abcdab", true},
        {"^(a|b|cd)+$", "abcab", false},
        {"^(?:a|)b$", "b", true},
        {"^x|y$", "xz", false},
        {"^a{3}$", "aaa", true},
        {"^a{3}$", "aa", false},
        {"^a{2,}$", "aaaa", true},
        {"^a{2,}$", "a", false},
        {"^a{0,2}$", "", true},
        {"^a{0,2}$", "aaa", false},
        {"^a{0}b$", "b", true},
        {"^(ab){2}$", "abab", true},
        {"^(a|bc){2,3}$", "bcabc", true},
        {"^(a*)*b$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", true}, // no explosion
        {"^(a*)*b$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
        {"^[a-c0-9_]+$", "b7_", true},
        {"^[a-c0-9_]+$", "d", false},
        {"^[^a-c]$", "d", true},
        {"^[^a-c]$", "b", false},
        {"^[]x-]+$", "]-x", true},
        {"^[\\d\\-]+$", "1-2", true},
        {"^\\d+\\.\\d+$", "12.5", true},
        {"^\\d+\\.\\d+$", "12x5", false},
        {"^\\w+\\s\\W\\D\\S$", "ab_9 -xy", true},
        {"^\\[a\\]$", "[a]", true},
        {"^a+?b*?$", "aab", true},
        {"(?i)^hello [a-z]+$", "HeLLo WORLD", true},
        {"(?i)^hello$", "hellp", false},
        {"^\u00e4[\u00e0-\u00ff]$", "\u00e4\u00f6", true},
    };
    static const char *const bad[] = {"(",
                                      ")",
                                      "a)",
                                      "(a",
                                      "[a",
                                      "[",
                                      "*",
                                      "+a",
                                      "a{",
                                      "a{x}",
                                      "a{3,2}",
                                      "a{999}",
                                      "\\",
                                      "\\q",
                                      "(?=a)",
                                      "[z-a]",
                                      "((((((((((((((((((((((((((((((((((((((((a"};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("/%s/ '%s'", rows[i].pattern, rows[i].text);
        CHECK(pattern_check(slice_str(rows[i].pattern)) == NULL);
        CHECK_INT(pattern_match(slice_str(rows[i].pattern), slice_str(rows[i].text)), rows[i].want);
    }
    for (size_t i = 0; i < CHECK_ROWS(bad); i++) {
        check_row("/%s/", bad[i]);
        CHECK(pattern_check(slice_str(bad[i])) != NULL);
        CHECK(!pattern_match(slice_str(bad[i]), SLICE("a")));
    }
    CHECK(pattern_check(SLICE("(abcdefgh){100}")) != NULL); // too long
    check_done();
}

static void limits(void **state)
{
    (void)state;
    static struct filter f;
    struct buf text, b;
    buf_init(&text, 1 << 20);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 300; i++)
        buf_printf(&text, "target%d=debug,", i);
    filter_init(&f);
    filter_parse(&f, buf_slice(&text), &b);
    assert_int_equal(f.n, FILTER_MAX);
    assert_true(slice_find(buf_slice(&b), SLICE("more than 128")) >= 0);
    assert_int_equal(filter_level(&f, SLICE("target0")), 4);
    buf_reset(&b);
    for (int i = 0; i < 3000; i++)
        buf_str(&text, "long=debug,");
    filter_init(&f);
    filter_parse(&f, buf_slice(&text), &b);
    assert_true(slice_find(buf_slice(&b), SLICE("longer than")) >= 0);
    assert_int_equal(filter_level(&f, SLICE("long")), 3);
    buf_free(&text);
    buf_free(&b);
}

static void files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *directives, *target;
        unsigned want;
        const char *note; // part of it; "" none
    } rows[] = {
        {"log_level = \"warn\"", "", "any", 2, ""},
        {"log_level = \"warn\"", "debug", "any", 4, ""}, // the environment wins
        {"log_level = \"warn\"", "a=debug", "b", 2, ""}, // and leaves the rest to the file
        {"[log_filters]\na = \"debug\"", "", "a::b", 4, ""},
        {"[log_filters]\n\"a::b\" = \"TRACE\"", "", "a::b::c", 5, ""},
        {"[log_filters]\na = \"debug\"", "a=error", "a", 1, ""},
        {"[log_filters]\nh2 = \"debug\"", "", "h2", 4, ""}, // against the built-in
        {"other = 1\n[more]\nx = 2", "", "any", 3, ""},
        {"", "", "any", 3, ""},
        {"log_level = \"loud\"", "", "any", 3, "line 1: log_level must be"},
        {"log_level = 3", "", "any", 3, "line 1: log_level must be"},
        {"log_level = \"warn\"\n[log_filters]\na = \"loud\"\nb = \"debug\"", "", "b", 4, "line 3: log_filters: ignoring 'a'"},
        {"log_filters = 3", "", "any", 3, "log_filters must be a table"},
        {"log_level = \"warn\"\nx = ", "", "any", 3, "the file is left out"}, // wholly
    };
    char path[] = "/tmp/sonde-filter-XXXXXX";
    int fd = mkstemp(path);
    static struct filter f;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rows[i].text, strlen(rows[i].text), 0), strlen(rows[i].text));
        filter_init(&f);
        filter_file(&f, path, &b);
        filter_parse(&f, slice_str(rows[i].directives), &b);
        check_row("%s | %s notes '%.*s'", rows[i].text, rows[i].directives, (int)b.n, b.p ? b.p : "");
        CHECK_INT(filter_level(&f, slice_str(rows[i].target)), rows[i].want);
        if (rows[i].note[0])
            CHECK(slice_find(buf_slice(&b), slice_str(rows[i].note)) >= 0);
        else
            CHECK_INT(b.n, 0);
        buf_free(&b);
    }
    struct buf none;
    buf_init(&none, 4096);
    filter_file(&f, "/nonexistent", &none); // silently
    assert_int_equal(none.n, 0);
    filter_file(&f, "/", &none); // there, but no file
    assert_true(slice_find(buf_slice(&none), SLICE("cannot be read")) > 0);
    buf_free(&none);
    close(fd);
    unlink(path);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(levels), cmocka_unit_test(spans),  cmocka_unit_test(patterns),
                                       cmocka_unit_test(notes),  cmocka_unit_test(limits), cmocka_unit_test(files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
