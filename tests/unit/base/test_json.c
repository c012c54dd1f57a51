#include "base/alloc.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/kernel.h"
#include "base/limits.h"
#include "check.h"
#include <math.h>
#include <stdlib.h>

// ---- what is JSON and what is not -----------------------------------------------------------------------------------
static const struct {
    const char *text;
    size_t n;
    const char *error; // null: accepted
} rows[] = {
#define YES(text)                   \
    {                               \
        text, sizeof text - 1, NULL \
    }
#define NO(text, error)              \
    {                                \
        text, sizeof text - 1, error \
    }
    // values alone
    YES("null"),
    YES("true"),
    YES("false"),
    YES("0"),
    YES("\"\""),
    YES("[]"),
    YES("{}"),
    YES(" \t\r\n1 \t\r\n"),
    NO("", "expected a value, found the end of the text, at byte 0"),
    NO("  ", "expected a value, found the end of the text, at byte 2"),
    NO("nul", "expected null at byte 0"),
    NO("nulll", "expected the end of the text at byte 4"),
    NO("True", "expected a value at byte 0"),
    NO("tru", "expected true or false at byte 0"),
    NO("fals e", "expected true or false at byte 0"),
    NO("1 2", "expected the end of the text at byte 2"),
    NO("\f1", "expected a value at byte 0"),
    NO("\xc2\xa0"
       "1",
       "expected a value at byte 0"),                   // a no-break space is no white space
    NO("\xef\xbb\xbf{}", "expected a value at byte 0"), // neither is a byte order mark
    NO("\0", "expected a value at byte 0"),
    NO("1\0", "expected the end of the text at byte 1"),
    NO("NaN", "expected a value at byte 0"),
    NO("Infinity", "expected a value at byte 0"),
    NO("-Infinity", "expected a digit at byte 1"),
    NO("undefined", "expected a value at byte 0"),
    NO("'a'", "expected a value at byte 0"),
    NO("/* */1", "expected a value at byte 0"),
    NO("1//", "expected the end of the text at byte 1"),
    // numbers
    YES("-0"),
    YES("10"),
    YES("-1"),
    YES("1.0"),
    YES("0.5"),
    YES("-0.0"),
    YES("1e5"),
    YES("1E5"),
    YES("1e+5"),
    YES("1e-5"),
    YES("1.25e10"),
    YES("0e0"),
    YES("123456789012345678901234567890"),
    YES("1e999"),
    YES("1e00005"),
    YES("0.00000001"),
    NO("-", "expected a digit at byte 1"),
    NO("+1", "expected a value at byte 0"),
    NO("01", "number begins with 0 at byte 0"),
    NO("-01", "number begins with 0 at byte 1"),
    NO("00", "number begins with 0 at byte 0"),
    NO("1.", "expected a digit after '.' at byte 2"),
    NO(".5", "expected a value at byte 0"),
    NO("-.5", "expected a digit at byte 1"),
    NO("1.e5", "expected a digit after '.' at byte 2"),
    NO("1e", "expected a digit of the exponent at byte 2"),
    NO("1e+", "expected a digit of the exponent at byte 3"),
    NO("1e1.5", "expected the end of the text at byte 3"),
    NO("1e5e5", "expected the end of the text at byte 3"),
    NO("0x10", "expected the end of the text at byte 1"),
    NO("1_000", "expected the end of the text at byte 1"),
    NO("1,000", "expected the end of the text at byte 1"),
    NO("--1", "expected a digit at byte 1"),
    NO("1-", "expected the end of the text at byte 1"),
    NO("1+2", "expected the end of the text at byte 1"),
    NO("\xef\xbc\x91", "expected a value at byte 0"), // a full-width 1
    // strings
    YES("\"abc\""),
    YES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    YES("\"\\u0041\\u00e9\\u20AC\""),
    YES("\"\\ud83d\\ude00\""),
    YES("\"\\ud83d\""),
    YES("\"\\ude00\\ud83d\""),
    YES("\"\\u0000\""),
    YES("\"\x7f\""),
    YES("\"\xc3\xa9\xf0\x9f\x98\x80\""),
    YES("\"\\\\\""),
    YES("\"/\""),
    YES("\"'\""),
    NO("\"", "string not closed at byte 1"),
    NO("\"abc", "string not closed at byte 4"),
    NO("\"abc\\\"", "string not closed at byte 6"),
    NO("\"abc\\", "string not closed at byte 5"),
    NO("\"a\nb\"", "control character in a string (must be escaped) at byte 2"),
    NO("\"a\tb\"", "control character in a string (must be escaped) at byte 2"),
    NO("\"a\0b\"", "control character in a string (must be escaped) at byte 2"),
    NO("\"\x1f\"", "control character in a string (must be escaped) at byte 1"),
    NO("\"\\a\"", "unknown escape at byte 1"),
    NO("\"\\'\"", "unknown escape at byte 1"),
    NO("\"\\0\"", "unknown escape at byte 1"),
    NO("\"\\x41\"", "unknown escape at byte 1"),
    NO("\"\\U0041\"", "unknown escape at byte 1"),
    NO("\"\\\0\"", "unknown escape at byte 1"),
    NO("\"\\\xc3\xa9\"", "unknown escape at byte 1"),
    NO("\"\\u\"", "expected 4 hex digits after \\u at byte 1"),
    NO("\"\\u004\"", "expected 4 hex digits after \\u at byte 1"),
    NO("\"\\u004g\"", "expected 4 hex digits after \\u at byte 1"),
    NO("\"\\u 041\"", "expected 4 hex digits after \\u at byte 1"),
    NO("\"\\ud83d\\u12\"", "expected 4 hex digits after \\u at byte 7"),
    NO("\"\\u00", "expected 4 hex digits after \\u at byte 1"),
    NO("\"a\"b", "expected the end of the text at byte 3"),
    NO("\"a\" \"b\"", "expected the end of the text at byte 4"),
    // arrays
    YES("[1]"),
    YES("[1,2,3]"),
    YES("[ 1 , 2 ]"),
    YES("[[],[[]],{}]"),
    YES("[null,true,false,\"\",0]"),
    YES("[ ]"),
    YES("[\n]"),
    NO("[", "expected ',' or ']' at byte 1"),
    NO("]", "expected a value at byte 0"),
    NO("[1", "expected ',' or ']' at byte 2"),
    NO("[1,", "expected a value, found the end of the text, at byte 3"),
    NO("[1,]", "expected a value after ',' at byte 3"),
    NO("[,1]", "expected a value at byte 1"),
    NO("[,]", "expected a value at byte 1"),
    NO("[1,,2]", "expected a value at byte 3"),
    NO("[1 2]", "expected ',' or ']' at byte 3"),
    NO("[1}", "expected ',' or ']' at byte 2"),
    NO("[1:2]", "expected ',' or ']' at byte 2"),
    NO("[]]", "expected the end of the text at byte 2"),
    NO("[][]", "expected the end of the text at byte 2"),
    NO("[\"a\",\n4\n,1,", "expected a value, found the end of the text, at byte 11"),
    NO("[a]", "expected a value at byte 1"),
    NO("[1\0]", "expected ',' or ']' at byte 2"),
    // objects
    YES("{\"a\":1}"),
    YES("{\"a\":1,\"b\":[2]}"),
    YES("{ \"a\" : { } , \"\" : null }"),
    YES("{\"a\":1,\"a\":2}"),
    YES("{\"\\u0061\":1}"),
    YES("{\"a\":{\"b\":{\"c\":[{\"d\":1}]}}}"),
    NO("{", "expected ',' or '}' at byte 1"),
    NO("}", "expected a value at byte 0"),
    NO("{\"a\"", "expected ':' after the key at byte 4"),
    NO("{\"a\":", "expected a value, found the end of the text, at byte 5"),
    NO("{\"a\":1", "expected ',' or '}' at byte 6"),
    NO("{\"a\":1,", "expected '\"' and a key at byte 7"),
    NO("{\"a\":1,}", "expected a value after ',' at byte 7"),
    NO("{,}", "expected '\"' and a key at byte 1"),
    NO("{\"a\" 1}", "expected ':' after the key at byte 5"),
    NO("{\"a\"::1}", "expected a value at byte 5"),
    NO("{\"a\",1}", "expected ':' after the key at byte 4"),
    NO("{\"a\":1 \"b\":2}", "expected ',' or '}' at byte 7"),
    NO("{\"a\":1,,\"b\":2}", "expected '\"' and a key at byte 7"),
    NO("{a:1}", "expected '\"' and a key at byte 1"),
    NO("{'a':1}", "expected '\"' and a key at byte 1"),
    NO("{1:1}", "expected '\"' and a key at byte 1"),
    NO("{null:1}", "expected '\"' and a key at byte 1"),
    NO("{\"a\":}", "expected a value at byte 5"),
    NO("{\"a\":1]", "expected ',' or '}' at byte 6"),
    NO("{\"a\n\":1}", "control character in a string (must be escaped) at byte 3"),
    NO("{\"a\":1}}", "expected the end of the text at byte 7"),
    NO("{\"a\":1}#", "expected the end of the text at byte 7"),
    NO("{\"a\":\"b}", "string not closed at byte 8"),
    NO("{\"a\":{}", "expected ',' or '}' at byte 7"),
    NO("{[]:1}", "expected '\"' and a key at byte 1"),
#undef YES
#undef NO
};

// Reads a whole value with the calls an application makes.
static bool walk(struct json *j)
{
    struct slice s;
    bool b;
    double d;
    switch (json_peek(j)) {
    case JSON_OBJECT:
        for (json_object(j); json_next_key(j, &s);)
            if (!walk(j))
                return false;
        return !j->failed;
    case JSON_ARRAY:
        for (json_array(j); json_next_item(j);)
            if (!walk(j))
                return false;
        return !j->failed;
    case JSON_STRING:
        return json_string(j, &s);
    case JSON_NUMBER:
        return json_f64(j, &d);
    case JSON_BOOL:
        return json_bool(j, &b);
    case JSON_NULL:
        return json_null(j);
    default:
        return json_skip(j, NULL); // for its message
    }
}

static void run_table(const char *kernel_name)
{
    for (size_t i = 0; i < CHECK_ROWS(rows); i++)
        for (int way = 0; way < 2; way++) {
            struct error e = {0};
            struct arena a;
            struct json j;
            arena_init(&a, 1 << 20);
            char *copy = malloc(rows[i].n + 1); // at its end a sanitizer watches
            memcpy(copy + 1, rows[i].text, rows[i].n);
            json_init(&j, slice_of(copy + 1, rows[i].n), &a, &e);
            bool ok = (way ? walk(&j) : json_skip(&j, NULL)) && json_finish(&j);
            char want[200] = "";
            if (rows[i].error)
                snprintf(want, sizeof want, "JSON: %s", rows[i].error);
            check_row("%s %s: %s", kernel_name, way ? "walk" : "skip", rows[i].text);
            CHECK(ok == (rows[i].error == NULL));
            CHECK(ok == !j.failed);
            CHECK_STR(slice_str(e.msg), want);
            free(copy);
            arena_free(&a);
        }
}

static void accepted_and_refused(void **state)
{
    assert_true(CHECK_ROWS(rows) > 100);
    const struct kernel *was = kernel();
    run_table(was->name);
    kernel_chosen = &kernel_portable;
    run_table("portable");
    kernel_chosen = was;
    check_done();
}

// ---- both kernels do the same ---------------------------------------------------------------------------------------
static void kernels_agree(void **state)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2"))
        skip();
    const char *const letters[] = {"\"", "\\",   "\x1f", "\x20", "\x7f", "\x80", "\xff",
                                   "a",  "\x00", "\x01", "\x21", "\x23", "\x5b", "\x5d"};
    for (int round = 0; round < 20000; round++) {
        char text[200];
        size_t n = random_u64() % sizeof text, from = random_u64() % 40;
        bool rare = round % 2;
        for (size_t i = 0; i < n; i++)
            text[i] = rare && random_u64() % 64 ? 'a'
                      : round % 3               ? letters[random_u64() % CHECK_ROWS(letters)][0]
                                                : (char)random_u64();
        const char *p = text + (from < n ? from : n), *end = text + n;
        const char *special = end, *high = end; // the plain truth
        for (const char *q = end; q-- > p;) {
            if (*q == '"' || *q == '\\' || (unsigned char)*q < 0x20)
                special = q;
            if ((unsigned char)*q >= 0x80)
                high = q;
        }
        check_row("round %d, %zu bytes", round, n);
        CHECK_INT(kernel_avx2.json_special(p, end) - p, special - p);
        CHECK_INT(kernel_portable.json_special(p, end) - p, special - p);
        CHECK_INT(kernel_avx2.non_ascii(p, end) - p, high - p);
        CHECK_INT(kernel_portable.non_ascii(p, end) - p, high - p);
    }
    check_done();
#else
    skip();
#endif
}

static void the_kernel_can_be_forced(void **state)
{
    const struct kernel *was = kernel();
    CHECK_STR(slice_str(json_kernel()), was->name);
    setenv("SONDE_CPU", "portable", 1);
    CHECK(kernel_choose() == &kernel_portable);
    CHECK_STR(slice_str(json_kernel()), "portable");
    setenv("SONDE_CPU", "", 1);
    CHECK(kernel_choose() == (__builtin_cpu_supports("avx2") ? &kernel_avx2 : &kernel_portable));
    unsetenv("SONDE_CPU");
    kernel_chosen = was;
    check_done();
}

// A valid text, changed by chance: skipping and walking must come to the same answer under both kernels.
static void random_texts_agree(void **state)
{
    static const char seed[] =
        "{\"streams\":[{\"stream\":{\"a\":\"b\\u00e9\\n\",\"long\":\"0123456789 0123456789 0123456789 0123456789\"},"
        "\"values\":[[\"1700000000000000000\",\"line \\\"x\\\"\"],[-1.5e3,null,true,false,{}]]}]}";
    const struct kernel *was = kernel();
    for (int round = 0; round < 20000; round++) {
        char text[sizeof seed - 1];
        memcpy(text, seed, sizeof text);
        size_t n = round % 5 ? sizeof text : random_u64() % sizeof text;
        for (int k = round % 4; k > 0 && n; k--)
            text[random_u64() % n] = (char)(round % 2 ? random_u64() : (uint64_t) "\"\\{}[],:0e. \n"[random_u64() % 13]);
        bool ok[4];
        char msg[4][ERROR_MESSAGE_MAX];
        for (int way = 0; way < 4; way++) {
            kernel_chosen = way & 1 ? &kernel_portable : was;
            struct arena a;
            struct error e = {0};
            struct json j;
            arena_init(&a, 1 << 20);
            json_init(&j, slice_of(text, n), &a, &e);
            ok[way] = (way & 2 ? walk(&j) : json_skip(&j, NULL)) && json_finish(&j);
            memcpy(msg[way], e.msg, sizeof e.msg);
            arena_free(&a);
        }
        kernel_chosen = was;
        check_row("%.*s", (int)n, text);
        for (int way = 1; way < 4; way++)
            CHECK(ok[way] == ok[0] && strcmp(msg[way], msg[0]) == 0);
    }
    check_done();
}

// ---- reading --------------------------------------------------------------------------------------------------------
static void strings(void **state)
{
    static const struct {
        const char *text, *want;
        size_t n;
    } table[] = {
#define ROW(text, want) {text, want, sizeof want - 1}
        ROW("\"abc\"", "abc"),
        ROW("\"\"", ""),
        ROW("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"),
        ROW("\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac"),
        ROW("\"x\\u0000y\"", "x\0y"),
        ROW("\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!"),
        ROW("\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf"),
        ROW("\"\\ud83d\"", "\xef\xbf\xbd"),
        ROW("\"\\ud83dx\"", "\xef\xbf\xbdx"),
        ROW("\"\\ud83d\\n\"", "\xef\xbf\xbd\n"),
        ROW("\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd"),
        ROW("\"\\ude00\\ude01\"", "\xef\xbf\xbd\xef\xbf\xbd"),
        ROW("\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                                  "A"),
        ROW("\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"),
#undef ROW
    };
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        struct arena a;
        struct json j;
        struct slice s = {0}, key = {0};
        arena_init(&a, 1 << 20);
        check_row("%s", table[i].text);
        json_init(&j, slice_str(table[i].text), &a, NULL);
        CHECK(json_string(&j, &s) && json_finish(&j));
        CHECK_SLICE(s, slice_of(table[i].want, table[i].n));
        bool plain = strchr(table[i].text, '\\') == NULL;
        CHECK(plain == (s.p == table[i].text + 1)); // in place where it can be
        char object[100];
        snprintf(object, sizeof object, "{%s:0}", table[i].text);
        json_init(&j, slice_str(object), &a, NULL);
        CHECK(json_object(&j) && json_next_key(&j, &key) && json_skip(&j, NULL) && !json_next_key(&j, &key) && json_finish(&j));
        CHECK_SLICE(key, slice_of(table[i].want, table[i].n));
        struct error e = {0};
        json_init(&j, slice_str(table[i].text), NULL, &e); // without an arena: escapes are an error
        CHECK(json_string(&j, &s) == plain);
        CHECK_INT(e.code, plain ? ERR_OK : ERR_BUG);
        arena_free(&a);
    }
    struct arena tight;
    struct json j;
    struct slice s;
    struct error e = {0};
    arena_init(&tight, 10);
    json_init(&j, SLICE("\"\\n\""), &tight, &e);
    CHECK(!json_string(&j, &s) && e.code == ERR_LIMIT);
    check_done();
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool i_ok, u_ok, f_ok;
        int64_t i;
        double f;
    } table[] = {
        {"0", true, true, true, 0, 0},
        {"-7", true, false, true, -7, -7},
        {"\"-7\"", true, false, true, -7, -7},
        {"\"1700000000000000001\"", true, true, true, 1700000000000000001, 1700000000000000001.0},
        {"9223372036854775807", true, true, true, INT64_MAX, 9223372036854775807.0},
        {"-9223372036854775808", true, false, true, INT64_MIN, -9223372036854775808.0},
        {"9223372036854775808", false, true, true, 0, 9223372036854775808.0},
        {"1e3", true, true, true, 1000, 1000},
        {"2.0", true, true, true, 2, 2},
        {"2.5", false, false, true, 0, 2.5},
        {"1e300", false, false, true, 0, 1e300},
        {"\"NaN\"", false, false, true, 0, NAN},
        {"\"Infinity\"", false, false, true, 0, INFINITY},
        {"\"-Infinity\"", false, false, true, 0, -INFINITY},
        {"\"\"", false, false, false, 0, 0},
        {"\"x\"", false, false, false, 0, 0},
        {"\"0x10\"", false, false, false, 0, 0},
        {"\"1 \"", false, false, false, 0, 0},
        {"true", false, false, false, 0, 0},
        {"null", false, false, false, 0, 0},
        {"[1]", false, false, false, 0, 0},
        {"", false, false, false, 0, 0},
    };
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        struct json j;
        struct error e = {0};
        int64_t v = 0;
        uint64_t u = 0;
        double f = 0;
        struct slice text = slice_str(table[i].text);
        check_row("%s", table[i].text);
        json_init(&j, text, NULL, &e);
        CHECK(json_i64(&j, &v) == table[i].i_ok && v == table[i].i);
        CHECK(j.failed == !table[i].i_ok && (e.code != ERR_OK) == j.failed);
        json_init(&j, text, NULL, NULL);
        CHECK(json_u64(&j, &u) == table[i].u_ok);
        CHECK(!table[i].u_ok || !table[i].i_ok || u == (uint64_t)table[i].i);
        json_init(&j, text, NULL, NULL);
        CHECK(json_f64(&j, &f) == table[i].f_ok && (f == table[i].f || (isnan(f) && isnan(table[i].f))));
    }
    struct json j;
    struct slice text;
    json_init(&j, SLICE(" -1.50e+3 "), NULL, NULL);
    CHECK(json_number_text(&j, &text) && json_finish(&j));
    CHECK_STR(text, "-1.50e+3");
    check_done();
}

static void walking(void **state)
{
    struct json j;
    struct slice key, raw;
    int64_t v;
    bool b;
    struct error e = {0};
    json_init(&j, SLICE("{\"a\": [1, 2], \"b\": {\"x\":[ {} ]} , \"c\":true}"), NULL, &e);
    CHECK_INT(json_peek(&j), JSON_OBJECT);
    CHECK(json_object(&j) && json_next_key(&j, &key));
    CHECK_STR(key, "a");
    CHECK(json_array(&j) && json_next_item(&j) && json_i64(&j, &v) && v == 1 && json_next_item(&j) && json_i64(&j, &v) && v == 2);
    CHECK(!json_next_item(&j) && !j.failed);
    CHECK(json_next_key(&j, &key) && json_skip(&j, &raw));
    CHECK_STR(raw, "{\"x\":[ {} ]}");
    CHECK(json_next_key(&j, &key) && json_bool(&j, &b) && b && !json_next_key(&j, &key) && json_finish(&j) && !j.failed);
    CHECK_INT(json_peek(&j), JSON_END);
    CHECK_INT(e.code, ERR_OK);
    json_init(&j, SLICE("[1]"), NULL, &e);
    CHECK(!json_object(&j) && j.failed);
    CHECK_STR(slice_str(e.msg), "JSON: expected an object at byte 0");
    CHECK(!json_array(&j) && !json_skip(&j, NULL) && !json_finish(&j) && !json_next_item(&j)); // sticky
    CHECK_INT(json_peek(&j), JSON_BAD);
    e = (struct error){0};
    json_init(&j, SLICE("  7"), NULL, &e);
    json_peek(&j);
    CHECK(!json_fail(&j, "expected a stream"));
    CHECK_STR(slice_str(e.msg), "JSON: expected a stream at byte 2");
    check_done();
}

static void depth_is_limited(void **state)
{
    char text[2 * (MAX_JSON_DEPTH + 1)];
    for (int object = 0; object < 2; object++)
        for (size_t deep = MAX_JSON_DEPTH; deep <= MAX_JSON_DEPTH + 1; deep++) {
            struct error e = {0};
            struct json j;
            struct buf b;
            buf_init(&b, 10000);
            for (size_t i = 0; i < deep; i++)
                buf_str(&b, object ? "{\"\":" : "[");
            buf_char(&b, '1');
            for (size_t i = 0; i < deep; i++)
                buf_char(&b, object ? '}' : ']');
            json_init(&j, buf_slice(&b), NULL, &e);
            bool fits = deep == MAX_JSON_DEPTH;
            check_row("%zu %s", deep, object ? "objects" : "arrays");
            CHECK((json_skip(&j, NULL) && json_finish(&j)) == fits);
            CHECK_INT(e.code, fits ? ERR_OK : ERR_LIMIT);
            buf_free(&b);
        }
    struct json j;
    memset(text, '[', sizeof text);
    struct error e = {0};
    json_init(&j, slice_of(text, sizeof text), NULL, &e);
    CHECK(!json_skip(&j, NULL));
    CHECK_STR(slice_str(e.msg), "JSON: nested more than 128 deep at byte 128");
    check_done();
}

// ---- writing --------------------------------------------------------------------------------------------------------
static void writing(void **state)
{
    struct buf b;
    buf_init(&b, 10000);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "a\"");
    jw_arr(&w);
    jw_i64(&w, INT64_MIN);
    jw_u64(&w, UINT64_MAX);
    jw_f64(&w, 0.5);
    jw_f64(&w, NAN);
    jw_f64(&w, -INFINITY);
    jw_bool(&w, true);
    jw_bool(&w, false);
    jw_null(&w);
    jw_arr_end(&w);
    JW_KEY(&w, "b");
    jw_obj(&w);
    jw_obj_end(&w);
    JW_KEY(&w, "c");
    jw_arr(&w);
    jw_arr(&w);
    jw_arr_end(&w);
    jw_raw(&w, SLICE("{\"r\":1}"));
    jw_str_i64(&w, -5);
    jw_str_u64(&w, 5);
    jw_hex(&w, "\x0a\xf7", 2);
    jw_str(&w, SLICE("x"));
    jw_arr_end(&w);
    jw_obj_end(&w);
    CHECK_STR(buf_slice(&b), "{\"a\\\"\":[-9223372036854775808,18446744073709551615,0.5,null,null,true,false,null],\"b\":{},"
                             "\"c\":[[],{\"r\":1},\"-5\",\"5\",\"0af7\",\"x\"]}");
    struct json j;
    json_init(&j, buf_slice(&b), NULL, NULL);
    CHECK(json_skip(&j, NULL) && json_finish(&j));
    buf_free(&b);
    check_done();
}

static void escaping(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *want;
    } table[] = {
#define ROW(text, want) {text, sizeof text - 1, want}
        ROW("", ""),
        ROW("plain /", "plain /"),
        ROW("\"\\", "\\\"\\\\"),
        ROW("\b\f\n\r\t", "\\b\\f\\n\\r\\t"),
        ROW("\0\x01\x0b\x1f\x20\x7f", "\\u0000\\u0001\\u000b\\u001f \x7f"),
        ROW("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
        ROW("a\xff\nb\xe2\x82", "a\xef\xbf\xbd\\nb\xef\xbf\xbd"),
        ROW("a long line of plain text, longer than any vector, then a \" and more plain text behind it",
            "a long line of plain text, longer than any vector, then a \\\" and more plain text behind it"),
#undef ROW
    };
    struct buf b;
    buf_init(&b, 10000);
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        check_row("%zu", i);
        buf_reset(&b);
        json_escape(&b, slice_of(table[i].text, table[i].n));
        CHECK_STR(buf_slice(&b), table[i].want);
    }
    buf_free(&b);
    check_done();
}

// What was written is read back, byte for byte, for any valid UTF-8.
static void escapes_round_trip(void **state)
{
    struct buf b;
    struct arena a;
    buf_init(&b, 100000);
    arena_init(&a, 1 << 20);
    for (int round = 0; round < 3000; round++) {
        char text[300];
        size_t n = random_u64() % sizeof text;
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(random_u64() % (round % 2 ? 0x80 : 0x30));
        buf_reset(&b);
        arena_reset(&a);
        struct jw w = jw_to(&b);
        jw_str(&w, slice_of(text, n));
        struct json j;
        struct slice back = {0};
        json_init(&j, buf_slice(&b), &a, NULL);
        check_row("round %d", round);
        CHECK(json_string(&j, &back) && json_finish(&j));
        CHECK_SLICE(back, slice_of(text, n));
    }
    buf_free(&b);
    arena_free(&a);
    check_done();
}

static void base64(void **state)
{
    static const struct {
        const char *text, *want; // null: refused
    } table[] = {
        {"", ""},        {"Zg==", "f"},   {"Zm8=", "fo"},           {"Zm9v", "foo"},          {"Zm9vYg==", "foob"},
        {"Zg", "f"},     {"Zm8", "fo"},   {"-_-_", "\xfb\xff\xbf"}, {"+/+/", "\xfb\xff\xbf"}, {"Z", NULL},
        {"Zm9vY", NULL}, {"Zg=", NULL},   {"====", NULL},           {"Zg==Zg==", NULL},       {"Z===", NULL},
        {"Zm9v ", NULL}, {"Zm 9v", NULL}, {"Zm9v\n", NULL},         {"=Zm9", NULL},           {"Zm!v", NULL},
    };
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < CHECK_ROWS(table); i++) {
        struct slice out = {0};
        check_row("%s", table[i].text);
        CHECK(base64_decode(&a, slice_str(table[i].text), &out) == (table[i].want != NULL));
        if (table[i].want)
            CHECK_STR(out, table[i].want);
    }
    struct buf b;
    buf_init(&b, 10000);
    for (size_t n = 0; n < 100; n++) {
        char bytes[100];
        struct slice out = {0};
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)random_u64();
        buf_reset(&b);
        struct jw w = jw_to(&b);
        jw_base64(&w, slice_of(bytes, n));
        check_row("%zu bytes", n);
        CHECK_INT(b.n, (n + 2) / 3 * 4 + 2);
        CHECK(b.n >= 2 && base64_decode(&a, slice_of(b.p + 1, b.n - 2), &out));
        CHECK_SLICE(out, slice_of(bytes, n));
    }
    buf_free(&b);
    arena_free(&a);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_and_refused),
        cmocka_unit_test(kernels_agree),
        cmocka_unit_test(the_kernel_can_be_forced),
        cmocka_unit_test(random_texts_agree),
        cmocka_unit_test(strings),
        cmocka_unit_test(numbers),
        cmocka_unit_test(walking),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(writing),
        cmocka_unit_test(escaping),
        cmocka_unit_test(escapes_round_trip),
        cmocka_unit_test(base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
