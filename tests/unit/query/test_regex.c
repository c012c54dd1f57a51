// The shim against Go's regexp: syntax that is taken or refused, and what matches.
#include "check.h"
#include "query/regex.h"

static void syntax(void **state)
{
    static const struct {
        const char *pattern;
        bool good;
    } rows[] = {
        {"a|b", true},
        {"(?P<n>x)", true},
        {"(?<n>x)", true},
        {"\\(?<n>x", true}, // an escaped parenthesis: an optional
                            // one, then <n>x
        {"[(?<n>]", true},
        {"\\Q(?<\\E", true},
        {"(?i)abc", true},
        {"(?U)a*", true},
        {"[[:word:]]", true},
        {"\\pN", true},
        {"\\p{Greek}", true},
        {"x{1,1000}", true},
        {"\\z", true},
        {"", true},
        {"(", false},
        {"*", false},
        {"a**", false},
        {"a{1001}", false},
        {"a{1,1001}", false},
        {"(?=a)", false},
        {"(?!a)", false},
        {"(?<=a)b", false},
        {"(?<!a)b", false},
        {"a++", false},
        {"(a)\\1", false},
        {"\\Z", false},
        {"\\C", false},
        {"a\\Cb", false},
        {"[\\C]", false},
        {"[b-a]", false},
        {"(?<1n>x)", true},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct regex *r;
        struct error err = {0};
        check_row("%s", rows[i].pattern);
        enum errc rc = regex_new(&r, slice_str(rows[i].pattern), false, &err);
        CHECK((rc == ERR_OK) == rows[i].good);
        CHECK((r != NULL) == rows[i].good);
        CHECK(rows[i].good || err.msg[0]);
        regex_free(r);
    }
    check_done();
}

static void matches(void **state)
{
    static const struct {
        const char *pattern;
        struct slice text;
        bool anchored, want;
    } rows[] = {
        {"foo$", SLICE("foo\n"), false, false},
        {"^.$", SLICE("\xff"), false, true},
        {"a.b",
         SLICE("a\xff"
               "b"),
         false, true},
        {"[^x]", SLICE("\xff"), true, true},
        {"^.$", SLICE("\xc3\xa9"), false, true},
        {"(?i)k", SLICE("\xe2\x84\xaa"), false, true},    // the Kelvin sign
        {"(?i)\xc3\xa9", SLICE("\xc3\x89"), false, true}, // é and É
        {"(?i)s", SLICE("\xc5\xbf"), false, true},        // long s
        {"\\s", SLICE("\v"), false, false},
        {"a.b", SLICE("a\nb"), false, false},
        {"(?s)a.b", SLICE("a\nb"), false, true},
        {"(?m)^line$", SLICE("a\nline\nb"), false, true},
        {"^line$", SLICE("a\nline\nb"), false, false},
        {"web", SLICE("web-1"), true, false},
        {"web.*", SLICE("web-1"), true, true},
        {"a|b", SLICE("ab"), true, false},
        {"a|ab", SLICE("ab"), true, true},
        {"", SLICE(""), true, true},
        {"x*", SLICE(""), true, true},
        {"\\x41", SLICE("A"), false, true},
        {"\\bfoo\\b", SLICE("a foo b"), false, true},
        {"\xc3\xa9", SLICE("\xff\xc3\xa9"), false, true}, // a literal beside a broken byte
        {"a\\d+", SLICE("a12 \xfe"), false, true},
        {"\\Qa.b\\E", SLICE("a.b"), true, true},
        {"\\Qa.b\\E", SLICE("axb"), true, false},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct regex *r;
        check_row("%s on %.*s", rows[i].pattern, (int)rows[i].text.n, rows[i].text.p);
        CHECK(regex_new(&r, slice_str(rows[i].pattern), rows[i].anchored, NULL) == ERR_OK);
        CHECK(regex_match(r, rows[i].text) == rows[i].want);
        regex_free(r);
    }
    check_done();
}

static void groups(void **state)
{
    struct regex *r;
    struct slice g[4];
    assert_int_equal(regex_new(&r, SLICE("(?<key>\\w+)=(\\w*)(!)?"), false, NULL), ERR_OK);
    assert_int_equal(regex_groups(r), 3);
    assert_string_equal(regex_group_name(r, 1), "key");
    assert_string_equal(regex_group_name(r, 2), "");
    assert_true(regex_find(r, SLICE("  k=v "), g, 4));
    assert_true(slice_eq(g[0], SLICE("k=v")));
    assert_true(slice_eq(g[1], SLICE("k")));
    assert_true(slice_eq(g[2], SLICE("v")));
    assert_null(g[3].p);
    assert_false(regex_find(r, SLICE("nothing"), g, 4));
    regex_free(r);
    regex_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(syntax), cmocka_unit_test(matches), cmocka_unit_test(groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
