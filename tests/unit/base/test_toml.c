// TOML: what is accepted and as what, what is refused and with which words; limits; reading the tree. The public suite runs
// beside it where it is installed (toml_suite.sh).
#include "base/limits.h"
#include "base/toml.h"
#include "check.h"

// The whole tree on one line, or the message.
static void show(struct slice text, size_t budget, struct buf *out)
{
    struct arena a;
    struct toml *root;
    struct error err = {0};
    arena_init(&a, budget);
    buf_reset(out);
    enum errc rc = toml_parse(text, &a, &root, &err);
    CHECK_INT(rc, err.code);
    CHECK((rc == ERR_OK) == (root != NULL));
    if (root)
        toml_print(root, out);
    else
        buf_str(out, err.msg);
    arena_free(&a);
}

static void accepted(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "{}"},
        {"\n\r\n", "{}"},
        {"# only a comment", "{}"},
        {"\357\273\277a = 1", "{a = 1}"},
        {"a = 1", "{a = 1}"},
        {"a=1#x", "{a = 1}"},
        {"  a\011=\0111  # x\r\n", "{a = 1}"},
        {"1 = 2\n-_ = 3", "{1 = 2, -_ = 3}"},
        {"\"a b\" = 1\n'c\"d' = 2", "{\"a b\" = 1, \"c\\\"d\" = 2}"},
        {"\"\" = 1", "{\"\" = 1}"},
        {"a . b . \"c.d\" = 1", "{a = {b = {\"c.d\" = 1}}}"},
        {"3.14 = 1", "{3 = {14 = 1}}"},
        {"a.b = 1\na.c = 2", "{a = {b = 1, c = 2}}"},
        {"a.b.c = 1\na.d = 2", "{a = {b = {c = 1}, d = 2}}"},
        {"\"\\u0041\" = 1", "{A = 1}"},
        {"\"\303\274\" = 1", "{\"\303\274\" = 1}"},
        {"a = +99", "{a = 99}"},
        {"a = -0", "{a = 0}"},
        {"a = +0", "{a = 0}"},
        {"a = 1_000_000", "{a = 1000000}"},
        {"a = 9223372036854775807", "{a = 9223372036854775807}"},
        {"a = -9223372036854775808", "{a = -9223372036854775808}"},
        {"a = 0xDEAD_beef", "{a = 3735928559}"},
        {"a = 0o755", "{a = 493}"},
        {"a = 0b1101_0110", "{a = 214}"},
        {"a = 0x7fffffffffffffff", "{a = 9223372036854775807}"},
        {"a = 0x0", "{a = 0}"},
        {"a = +1.0", "{a = 1.0}"},
        {"a = 3.1415", "{a = 3.1415}"},
        {"a = -0.01", "{a = -0.01}"},
        {"a = 5e+22", "{a = 5e+22}"},
        {"a = 1e06", "{a = 1000000.0}"},
        {"a = -2E-2", "{a = -0.02}"},
        {"a = 6.626e-34", "{a = 6.626e-34}"},
        {"a = 224_617.445_991_228", "{a = 224617.445991228}"},
        {"a = inf", "{a = inf}"},
        {"a = +inf", "{a = inf}"},
        {"a = -inf", "{a = -inf}"},
        {"a = nan", "{a = nan}"},
        {"a = -nan", "{a = nan}"},
        {"a = -0.0", "{a = -0.0}"},
        {"a = 1.7976931348623157e308", "{a = 1.7976931348623157e+308}"},
        {"a = true\nb = false", "{a = true, b = false}"},
        {"a = 1979-05-27T07:32:00Z", "{a = 1979-05-27T07:32:00Z}"},
        {"a = 1979-05-27t07:32:00z", "{a = 1979-05-27T07:32:00Z}"},
        {"a = 1979-05-27 07:32:00-07:00", "{a = 1979-05-27T07:32:00-07:00}"},
        {"a = 1979-05-27T00:32:00.999999+05:30", "{a = 1979-05-27T00:32:00.999999+05:30}"},
        {"a = 1979-05-27T07:32:00", "{a = 1979-05-27T07:32:00}"},
        {"a = 1979-05-27 # x", "{a = 1979-05-27}"},
        {"a = 1979-05-27 ", "{a = 1979-05-27}"},
        {"a = 07:32:00.5", "{a = 07:32:00.5}"},
        {"a = 00:00:00.1234567899", "{a = 00:00:00.123456789}"},
        {"a = 2024-02-29", "{a = 2024-02-29}"},
        {"a = 2000-02-29", "{a = 2000-02-29}"},
        {"a = 23:59:60", "{a = 23:59:60}"},
        {"a = \"\"", "{a = \"\"}"},
        {"a = ''", "{a = \"\"}"},
        {"a = \"x\\ty\\\"z\\\\\"", "{a = \"x\\u0009y\\\"z\\\\\"}"},
        {"a = \"\\b\\f\\n\\r\"", "{a = \"\\u0008\\u000C\\u000A\\u000D\"}"},
        {"a = \"\\u00e9\\U0001F600\"", "{a = \"\303\251\360\237\230\200\"}"},
        {"a = 'C:\\x\\'", "{a = \"C:\\\\x\\\\\"}"},
        {"a = \"\"\"\nx\ny\"\"\"", "{a = \"x\\u000Ay\"}"},
        {"a = \"\"\"\r\nx\r\n\"\"\"", "{a = \"x\\u000D\\u000A\"}"},
        {"a = \"\"\"\n\n\"\"\"", "{a = \"\\u000A\"}"},
        {"a = \"\"\"x \\\n\n   y\"\"\"", "{a = \"x y\"}"},
        {"a = \"\"\"x \\  \r\n y\\\n\"\"\"", "{a = \"x y\"}"},
        {"a = \"\"\"\"\"q\"\"\"\"\"", "{a = \"\\\"\\\"q\\\"\\\"\"}"},
        {"a = \"\"\"\"\"\"", "{a = \"\"}"},
        {"a = \"\"\"a\\\"\"\"b\"\"\"", "{a = \"a\\\"\\\"\\\"b\"}"},
        {"a = '''\nx'y''z'''", "{a = \"x'y''z\"}"},
        {"a = '''x\\'''", "{a = \"x\\\\\"}"},
        {"a = '''x'''''", "{a = \"x''\"}"},
        {"a = \"\011# no comment\"", "{a = \"\\u0009# no comment\"}"},
        {"a = \"\"\"\\\n   \"\"\"", "{a = \"\"}"},
        {"a = \"\\\\u0041\"", "{a = \"\\\\u0041\"}"},
        {"a = []", "{a = []}"},
        {"a = [ ]", "{a = []}"},
        {"a = [1,2,]", "{a = [1, 2]}"},
        {"a = [ # x\n 1, # y\n\n 2 # z\n , # w\n]", "{a = [1, 2]}"},
        {"a = [[1],['x', 2.5]]", "{a = [[1], [\"x\", 2.5]]}"},
        {"a = [{b = 1}, {}]", "{a = [{b = 1}, {}]}"},
        {"a = [\n]", "{a = []}"},
        {"a = {}", "{a = {}}"},
        {"a = { }", "{a = {}}"},
        {"a = { b = 1, c.d = 'x', c.e = [\n1,\n] }", "{a = {b = 1, c = {d = \"x\", e = [1]}}}"},
        {"a = {b = {c = {}}}", "{a = {b = {c = {}}}}"},
        {"[a]", "{a = {}}"},
        {"[a]\n[b]", "{a = {}, b = {}}"},
        {"[ a . 'b' ] # x\nc = 1", "{a = {b = {c = 1}}}"},
        {"[a.b]\nc = 1\n[a]\nd = 2", "{a = {b = {c = 1}, d = 2}}"},
        {"[a.b.c]\n[a]\nb.x = 1", "{a = {b = {c = {}, x = 1}}}"},
        {"[f]\na.c = 1\na.t.s = true\n[f.a.x]\ny = 2", "{f = {a = {c = 1, t = {s = true}, x = {y = 2}}}}"},
        {"x = 1\n[a]\nx = 2", "{x = 1, a = {x = 2}}"},
        {"[a.b]\n[a.c]\n[a]", "{a = {b = {}, c = {}}}"},
        {"[[a]]\nb = 1\n[[a]]\nb = 2", "{a = [{b = 1}, {b = 2}]}"},
        {"[[a]]\n[a.b]\nc = 1\n[[a]]\n[a.b]\nc = 2", "{a = [{b = {c = 1}}, {b = {c = 2}}]}"},
        {"[[a]]\n[[a.b]]\nx = 1\n[[a.b]]\n[[a]]\n[[a.b]]", "{a = [{b = [{x = 1}, {}]}, {b = [{}]}]}"},
        {"[[a.b]]\n[a]\nc = 1", "{a = {b = [{}], c = 1}}"},
        {"[[a]]\nb.c = 1\nb.d = 2", "{a = [{b = {c = 1, d = 2}}]}"},
        {"[a]\nb = 1\n[a.c]\n[[a.d]]", "{a = {b = 1, c = {}, d = [{}]}}"},
    };
    struct buf out;
    buf_init(&out, MIB(1));
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s", rows[i].text);
        show(slice_str(rows[i].text), MIB(1), &out);
        CHECK_STR(buf_slice(&out), rows[i].want);
    }
    buf_free(&out);
    check_done();
}

static void refused(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a", "line 1, column 2: expected '=' behind the key, found the end of the text"},
        {"a =", "line 1, column 4: expected a value, found the end of the text"},
        {"a = ", "line 1, column 5: expected a value, found the end of the text"},
        {"= 1", "line 1, column 1: expected a key, found '='"},
        {"a = 1 b = 2", "line 1, column 7: expected the end of the line, found 'b'"},
        {"a = 1\na = 2", "line 2, column 1: a is set twice; first on line 1"},
        {"a.b = 1\na.b = 2", "line 2, column 3: a.b is set twice; first on line 1"},
        {"a = 1\na.b = 2", "line 2, column 1: dotted keys may not add to a, which is an integer since line 1"},
        {"[a]\n[a]", "line 2, column 2: the table a is defined twice; first on line 1"},
        {"[a\n", "line 1, column 3: expected ']' or '.', found the end of the line"},
        {"[a]]", "line 1, column 4: expected the end of the line, found ']'"},
        {"[[a]\n", "line 1, column 5: expected ']]', found the end of the line"},
        {"[]", "line 1, column 2: expected a key, found ']'"},
        {"[a.]", "line 1, column 4: expected a key, found ']'"},
        {"[.a]", "line 1, column 2: expected a key, found '.'"},
        {"[a] x", "line 1, column 5: expected the end of the line, found 'x'"},
        {"[a]\nb = 1\n[a.b]", "line 3, column 4: a.b cannot be a table of its own: it is an integer since line 2"},
        {"a = []\n[[a]]", "line 2, column 3: a cannot be an array of tables: it is an array since line 1"},
        {"[[a]]\n[a]", "line 2, column 2: a cannot be a table of its own: it is an array of tables since line 1"},
        {"[a]\n[[a]]", "line 2, column 3: a cannot be an array of tables: it is a table since line 1"},
        {"a = {}\n[a]", "line 2, column 2: a cannot be a table of its own: it is a table since line 1"},
        {"a = {}\n[a.b]", "line 2, column 2: a header may not add to a, which is an inline table since line 1"},
        {"a = {b = 1}\na.c = 2", "line 2, column 1: dotted keys may not add to a, which is an inline table since line 1"},
        {"a.b.c = 1\n[a.b]",
         "line 2, column 4: a.b cannot be a table of its own: it is a table since line 1, made by a dotted key"},
        {"[a.b.c]\n[a]\nb.c.d = 1", "line 3, column 3: dotted keys may not add to a.b.c, which is a table since line 1"},
        {"[[a.b]]\n[a]\nb.c = 1", "line 3, column 1: dotted keys may not add to a.b, which is an array since line 1"},
        {"a = {b = 1, b = 2}", "line 1, column 13: a.b is set twice; first on line 1"},
        {"a = {b = 1,}", "line 1, column 12: expected a key, found '}'"},
        {"a = {b = 1\n}", "line 1, column 11: expected ',' or '}', found the end of the line"},
        {"a = {b = 1 c = 2}", "line 1, column 12: expected ',' or '}', found 'c'"},
        {"a = {,}", "line 1, column 6: expected a key, found ','"},
        {"a = {", "line 1, column 6: expected a key, found the end of the text"},
        {"a = [1 2]", "line 1, column 8: expected ',' or ']', found '2'"},
        {"a = [1,,2]", "line 1, column 8: expected a value, found ','"},
        {"a = [", "line 1, column 6: expected a value, found the end of the text"},
        {"a = [1\n", "line 2, column 1: expected ',' or ']', found the end of the text"},
        {"a = [,1]", "line 1, column 6: expected a value, found ','"},
        {"a = 1,", "line 1, column 6: expected the end of the line, found ','"},
        {"a = \"x", "line 1, column 7: expected \" at the end of the string, found the end of the text"},
        {"a = \"x\ny\"", "line 1, column 7: expected \" at the end of the string, found the end of the line"},
        {"a = 'x", "line 1, column 7: expected ' at the end of the string, found the end of the text"},
        {"a = 'x\ny'", "line 1, column 7: expected ' at the end of the string, found the end of the line"},
        {"a = \"\"\"x", "line 1, column 9: expected \"\"\" at the end of the string, found the end of the text"},
        {"a = '''x''", "line 1, column 11: expected ''' at the end of the string, found the end of the text"},
        {"a = \"\"\"x\"\"\"\"\"\"", "line 1, column 14: expected the end of the line, found '\"'"},
        {"a = \"\\q\"", "line 1, column 6: unknown escape in a string; accepted are \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX "
                        "\\UXXXXXXXX; '\342\200\246' takes all as it stands"},
        {"a = \"\\u12\"", "line 1, column 6: expected 4 hexadecimal digits in the escape \\u"},
        {"a = \"\\uD800\"", "line 1, column 6: \\uD800 is no Unicode character"},
        {"a = \"\\U00110000\"", "line 1, column 6: \\U00110000 is no Unicode character"},
        {"a = \"\\x41\"", "line 1, column 6: unknown escape in a string; accepted are \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX "
                          "\\UXXXXXXXX; '\342\200\246' takes all as it stands"},
        {"a = \"\"\"\\ x\"\"\"", "line 1, column 8: unknown escape in a string; accepted are \\b \\t \\n \\f \\r \\\" \\\\ "
                                 "\\uXXXX \\UXXXXXXXX; '\342\200\246' takes all as it stands"},
        {"a = \"\001\"", "line 1, column 6: a string may not hold the control character U+0001; write it as an escape"},
        {"a = '\177'", "line 1, column 6: a string may not hold the control character U+007F"},
        {"a = \"x\ry\"", "line 1, column 7: a string may not hold the control character U+000D; write it as an escape"},
        {"\"\"\"a\"\"\" = 1", "line 1, column 1: a key may not be a multi-line string; write it in one pair of quotes"},
        {"'''a''' = 1", "line 1, column 1: a key may not be a multi-line string; write it in one pair of quotes"},
        {"a = 01", "line 1, column 5: \"01\" is no number: it may not begin with 0"},
        {"a = 1_", "line 1, column 5: \"1_\" is no number: digits are expected, with single _ between them at most"},
        {"a = _1", "line 1, column 5: expected a value, found \"_1\"; texts stand in quotes, truth is written true or false"},
        {"a = 1__0", "line 1, column 5: \"1__0\" is no number: digits are expected, with single _ between them at most"},
        {"a = 0x", "line 1, column 5: \"0x\" is no number: digits of its base must follow, with single _ between them at most"},
        {"a = 0xG", "line 1, column 5: \"0xG\" is no number: digits of its base must follow, with single _ between them at most"},
        {"a = +0x1", "line 1, column 5: \"+0x1\" is no number: only digits, one point and one exponent may stand in it"},
        {"a = 0b2", "line 1, column 5: \"0b2\" is no number: digits of its base must follow, with single _ between them at most"},
        {"a = 0o8", "line 1, column 5: \"0o8\" is no number: digits of its base must follow, with single _ between them at most"},
        {"a = 0X1", "line 1, column 5: \"0X1\" is no number: only digits, one point and one exponent may stand in it"},
        {"a = 9223372036854775808", "line 1, column 5: 9223372036854775808 does not fit a 64-bit integer"},
        {"a = -9223372036854775809", "line 1, column 5: -9223372036854775809 does not fit a 64-bit integer"},
        {"a = 0x8000000000000000", "line 1, column 5: 0x8000000000000000 does not fit a 64-bit integer"},
        {"a = 1.", "line 1, column 5: \"1.\" is no number: digits must follow the point"},
        {"a = .5", "line 1, column 5: \".5\" is no number: digits are expected, with single _ between them at most"},
        {"a = 1.e3", "line 1, column 5: \"1.e3\" is no number: digits must follow the point"},
        {"a = 1e", "line 1, column 5: \"1e\" is no number: digits must follow the exponent's e"},
        {"a = 1e999", "line 1, column 5: 1e999 does not fit a 64-bit float"},
        {"a = 1.2.3", "line 1, column 5: \"1.2.3\" is no number: only digits, one point and one exponent may stand in it"},
        {"a = 1._5", "line 1, column 5: \"1._5\" is no number: digits must follow the point"},
        {"a = 00.5", "line 1, column 5: \"00.5\" is no number: it may not begin with 0"},
        {"a = +-1", "line 1, column 5: \"+-1\" is no number: digits are expected, with single _ between them at most"},
        {"a = 1x", "line 1, column 5: \"1x\" is no number: only digits, one point and one exponent may stand in it"},
        {"a = True", "line 1, column 5: expected a value, found \"True\"; texts stand in quotes, truth is written true or false"},
        {"a = yes", "line 1, column 5: expected a value, found \"yes\"; texts stand in quotes, truth is written true or false"},
        {"a = nul", "line 1, column 5: expected a value, found \"nul\"; texts stand in quotes, truth is written true or false"},
        {"a = Inf", "line 1, column 5: expected a value, found \"Inf\"; texts stand in quotes, truth is written true or false"},
        {"a = nano", "line 1, column 5: expected a value, found \"nano\"; texts stand in quotes, truth is written true or false"},
        {"a = hello world",
         "line 1, column 5: expected a value, found \"hello\"; texts stand in quotes, truth is written true or false"},
        {"a = %", "line 1, column 5: expected a value, found '%'"},
        {"a = \303\274", "line 1, column 5: expected a value, found '\303\274'"},
        {"\303\274 = 1", "line 1, column 1: expected a key, found '\303\274'"},
        {"a b = 1", "line 1, column 3: expected '=' behind the key, found 'b'"},
        {"a. = 1", "line 1, column 4: expected a key, found '='"},
        {"a = # x", "line 1, column 5: expected a value, found '#'"},
        {"a = 1 \010", "line 1, column 7: expected the end of the line, found the control character U+0008"},
        {"a\rb = 1", "line 1, column 2: expected '=' behind the key, found the control character U+000D"},
        {"a = 1\r", "line 1, column 6: expected the end of the line, found the control character U+000D"},
        {"a = 2026-02-29", "line 1, column 5: \"2026-02-29\" is no date or time: the calendar has no such day"},
        {"a = 2026-13-01", "line 1, column 5: \"2026-13-01\" is no date or time: the calendar has no such day"},
        {"a = 2026-1-1", "line 1, column 5: \"2026-1-1\" is no date or time: a date is written 2026-01-31"},
        {"a = 1987-07-05T17:45",
         "line 1, column 5: \"1987-07-05T17:45\" is no date or time: a time is written 12:30:00 or 12:30:00.5"},
        {"a = 1987-07-05T25:00:00", "line 1, column 5: \"1987-07-05T25:00:00\" is no date or time: the clock has no such time"},
        {"a = 24:00:00", "line 1, column 5: \"24:00:00\" is no date or time: the clock has no such time"},
        {"a = 12:60:00", "line 1, column 5: \"12:60:00\" is no date or time: the clock has no such time"},
        {"a = 12:30", "line 1, column 5: \"12:30\" is no date or time: a time is written 12:30:00 or 12:30:00.5"},
        {"a = 12:30:00.", "line 1, column 5: \"12:30:00.\" is no date or time: digits must follow the point"},
        {"a = 12:30:00Z", "line 1, column 5: \"12:30:00Z\" is no date or time: nothing may follow it"},
        {"a = 1987-07-05X10:00:00",
         "line 1, column 5: \"1987-07-05X10:00:00\" is no date or time: T or a space must follow the date"},
        {"a = 1987-07-05T10:00:00+25:00",
         "line 1, column 5: \"1987-07-05T10:00:00+25:00\" is no date or time: no zone is that far away"},
        {"a = 1987-07-05T10:00:00+1:00",
         "line 1, column 5: \"1987-07-05T10:00:00+1:00\" is no date or time: a zone is written Z, +02:00 or -07:30"},
        {"a = 1987-07-05T", "line 1, column 5: \"1987-07-05T\" is no date or time: a time is written 12:30:00 or 12:30:00.5"},
        {"a = 1987-07-05 1", "line 1, column 16: expected the end of the line, found '1'"},
        {"a = 12:00:61", "line 1, column 5: \"12:00:61\" is no date or time: the clock has no such time"},
        {"x = \"\303\274\303\274\303\274\" y", "line 1, column 11: expected the end of the line, found 'y'"},
        {"\n\n  [t]\n  k = 1\n  k = 2", "line 5, column 3: t.k is set twice; first on line 4"},
        {"a = [\n  1,\n  oops,\n]",
         "line 3, column 3: expected a value, found \"oops\"; texts stand in quotes, truth is written true or false"},
        {"\"a b\".\"\" = 1\n\"a b\".\"\" = 2", "line 2, column 7: \"a b\".\"\" is set twice; first on line 1"},
        {"[[a]]\nb = 1\nb = 2", "line 3, column 1: a[0].b is set twice; first on line 2"},
        {"[a.b]\n[[a]]", "line 2, column 3: a cannot be an array of tables: it is a table since line 1"},
        {"a = 1\n[a.b.c]", "line 2, column 2: a header may not add to a, which is an integer since line 1"},
        {"[x]\na.b = 1\n[x.a]",
         "line 3, column 4: x.a cannot be a table of its own: it is a table since line 2, made by a dotted key"},
    };
    struct buf out;
    buf_init(&out, MIB(1));
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s", rows[i].text);
        show(slice_str(rows[i].text), MIB(1), &out);
        CHECK_STR(buf_slice(&out), rows[i].want);
    }
    check_row("bytes");
    show(SLICE("a = 1\nb = \"\xc3\xbc\xff\""), MIB(1), &out);
    CHECK_STR(buf_slice(&out), "line 2, column 7: the text is not valid UTF-8");
    show(SLICE("a = \"\xed\xa0\x80\""), MIB(1), &out); // a surrogate
    CHECK_STR(buf_slice(&out), "line 1, column 6: the text is not valid UTF-8");
    show(SLICE("a = 1\n# \0"), MIB(1), &out);
    CHECK_STR(buf_slice(&out), "line 2, column 3: a comment may not hold the control character U+0000");
    show(SLICE("a\0 = 1"), MIB(1), &out);
    CHECK_STR(buf_slice(&out), "line 1, column 2: expected '=' behind the key, found the control character U+0000");
    show(SLICE("a = \"\\\0\""), MIB(1), &out);
    CHECK_STR(buf_slice(&out), "line 1, column 7: a string may not hold the control character U+0000; write it as an escape");
    buf_free(&out);
    check_done();
}

static void repeat(struct buf *b, const char *text, int n)
{
    for (int i = 0; i < n; i++)
        buf_str(b, text);
}

static void limits(void **state)
{
    static const struct {
        const char *head, *open, *middle, *close;
    } rows[] = {
        {"a = ", "[", "", "]"},             // arrays
        {"a = ", "{b = ", "1", "}"},        // inline tables
        {"", "a.", "a = 1", ""},            // dotted keys
        {"[", "a.", "a]", ""},              // headers
        {"a = ", "{b.c.d.e = [", "", "]}"}, // all of them
    };
    struct buf text, out;
    buf_init(&text, MIB(4));
    buf_init(&out, MIB(4));
    for (size_t i = 0; i < CHECK_ROWS(rows); i++)
        for (int deep = 0; deep < 2; deep++) {
            int n = deep ? i < 4 ? MAX_TOML_DEPTH + 1 : 26 : i < 4 ? MAX_TOML_DEPTH - 1 : 25;
            check_row("%s %d", rows[i].open, n);
            buf_reset(&text);
            buf_str(&text, rows[i].head);
            repeat(&text, rows[i].open, n);
            buf_str(&text, rows[i].middle);
            repeat(&text, rows[i].close, n);
            show(buf_slice(&text), MIB(1), &out);
            CHECK((slice_find(buf_slice(&out), SLICE("more than 128 deep")) >= 0) == deep);
        }
    check_row("budget"); // every allocation in turn
    struct slice much = SLICE("[[a.b]]\nc = [1, {d = \"\\u0041\"}, 1_0]\n[a.c]\nd.e.f = 1\ng = 0\nh = 0\ni = 0\nj = 0\n");
    buf_reset(&text);
    repeat(&text, "[[a]]\nb = 1\nc.d = \"\\t\"\n", 200);
    buf_add(&text, SLICE("[e]\nx = 1\n"));
    for (size_t budget = 0, bad = 1; bad; budget += 1024) {
        show(buf_slice(&text), budget, &out);
        bad = buf_slice(&out).p[0] == 'l';
        CHECK(bad ? slice_find(buf_slice(&out), SLICE("no memory for what follows: ")) > 0
                  : slice_starts(buf_slice(&out), SLICE("{a = [{b = 1, c = ")));
        if (budget == 0)
            CHECK_STR(buf_slice(&out), "line 1, column 1: no memory for what follows: 0 of at most 0 bytes are in use");
        CHECK(budget < MIB(4));
        if (budget >= MIB(4))
            break;
    }
    show(much, MIB(1), &out);
    CHECK_STR(buf_slice(&out), "{a = {b = [{c = [1, {d = \"A\"}, 10]}], c = {d = {e = {f = 1}}, g = 0, h = 0, i = 0, j = 0}}}");
    buf_reset(&text); // many keys: the time must not grow with their square
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "k%d = %d\n", i, i);
    buf_str(&text, "k77777 = 1\n");
    show(buf_slice(&text), MIB(64), &out);
    CHECK_STR(buf_slice(&out), "line 100001, column 1: k77777 is set twice; first on line 77778");
    buf_free(&text);
    buf_free(&out);
    check_done();
}

static void reading(void **state)
{
    struct slice text = SLICE("name = 'plain'\nesc = \"a\\tb\"\nn = 5\nf = 2.5\non = true\n[t.\"x y\"]\nz = [1, {q = 2}]\n");
    struct arena a;
    struct toml *root;
    struct error err = {0};
    struct buf out;
    buf_init(&out, MIB(1));
    arena_init(&a, MIB(1));
    CHECK_INT(toml_parse(text, &a, &root, &err), ERR_OK);
    const struct toml *name = toml_get(root, "name"), *esc = toml_get(root, "esc"), *n = toml_get(root, "n");
    CHECK_STR(name->text, "plain");
    CHECK(name->text.p > text.p && name->text.p < text.p + text.n); // not copied
    CHECK_STR(esc->text, "a\tb");
    CHECK(n->type == TOML_INTEGER && n->integer == 5);
    CHECK(toml_get(root, "f")->number == 2.5 && toml_get(root, "on")->yes);
    CHECK(toml_get(root, "name.of.nothing") == NULL && toml_get(root, "t.none") == NULL);
    const struct toml *z = toml_get(toml_get(root, "t.x y"), "z");
    CHECK(z && z->type == TOML_ARRAY && z->n == 2 && z->line == 7 && z->column == 1);
    if (z)
        toml_path(toml_get(z->last, "q"), &out);
    CHECK_STR(buf_slice(&out), "t.\"x y\".z[1].q");
    arena_free(&a);
    buf_free(&out);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
