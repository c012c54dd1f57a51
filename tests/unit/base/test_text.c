// slice, the numbers of buf, utf8.
#include "base/buf.h"
#include "base/hash.h"
#include "base/kernel.h"
#include "base/utf8.h"
#include "check.h"
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

static void slices(void **state)
{
    CHECK_STR(slice_trim(SLICE(" \t a b\r\n")), "a b");
    CHECK_STR(slice_trim(SLICE(" \n ")), "");
    CHECK(slice_ieq(SLICE("aBc-@"), SLICE("AbC-@")));
    CHECK(!slice_ieq(SLICE("@"), SLICE("`"))); // differ in the case bit, but are no letters
    CHECK(!slice_ieq(SLICE("a"), SLICE("ab")));
    CHECK_INT(slice_find(SLICE("abcabd"), SLICE("abd")), 3);
    CHECK_INT(slice_find(SLICE("abc"), SLICE("abcd")), -1);
    CHECK_INT(slice_find(SLICE("abc"), SLICE("")), 0);
    CHECK_INT(slice_find(SLICE_NONE, SLICE("a")), -1);
    CHECK(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
    CHECK(slice_cmp(SLICE("b"), SLICE("ab")) > 0);
    CHECK(slice_cmp(SLICE("a\x80"), SLICE("a\x7f")) > 0);
    CHECK(slice_starts(SLICE("abc"), SLICE("ab")) && !slice_starts(SLICE("a"), SLICE("ab")));
    CHECK_STR(slice_from(SLICE("abc"), 9), "");
    CHECK_STR(slice_cut(SLICE("abc"), 2), "ab");
    check_done();
}

static void splitting(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {{"a,b", "a|b|"}, {"a,b,", "a|b||"}, {"", "|"}, {",", "||"}, {"abc", "abc|"}, {",,x", "||x|"}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s", rows[i].text);
        char got[64] = "";
        struct slice rest = slice_str(rows[i].text), part;
        while (slice_split(&rest, ',', &part)) {
            strncat(got, part.p, part.n);
            strcat(got, "|");
        }
        CHECK_STR(slice_str(got), rows[i].want);
    }
    struct slice none = SLICE_NONE, part;
    CHECK(!slice_split(&none, ',', &part));
    check_done();
}

static void reading_integers(void **state)
{
    static const struct {
        const char *text;
        bool i_ok, u_ok;
        int64_t i;
        uint64_t u;
    } rows[] = {
        {"0", true, true, 0, 0},
        {"42", true, true, 42, 42},
        {"-1", true, false, -1, 0},
        {"+7", true, false, 7, 0},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", false, true, 0, 9223372036854775808u},
        {"-9223372036854775808", true, false, INT64_MIN, 0},
        {"-9223372036854775809", false, false, 0, 0},
        {"18446744073709551615", false, true, 0, UINT64_MAX},
        {"18446744073709551616", false, false, 0, 0},
        {"99999999999999999999", false, false, 0, 0},
        {"000000000000000000000000012", true, true, 12, 12},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"+", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"1 ", false, false, 0, 0},
        {"0x10", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"--1", false, false, 0, 0},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        int64_t v = 0;
        uint64_t u = 0;
        check_row("%s", rows[i].text);
        CHECK_INT(slice_to_i64(slice_str(rows[i].text), &v), rows[i].i_ok);
        CHECK_INT(v, rows[i].i);
        CHECK_INT(slice_to_u64(slice_str(rows[i].text), &u), rows[i].u_ok);
        CHECK(u == rows[i].u);
    }
    check_done();
}

static void reading_doubles(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        double v;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, -0.0},
        {"3.25", true, 3.25},
        {".5", true, .5},
        {"5.", true, 5},
        {"+1e3", true, 1000},
        {"1E-3", true, 1e-3},
        {"0.1", true, 0.1},
        {"1e22", true, 1e22},
        {"1e23", true, 1e23},
        {"123456789012345678901234567890", true, 123456789012345678901234567890.0},
        {"9007199254740993", true, 9007199254740992},                      // halfway: to even
        {"9007199254740993.00000000000000000001", true, 9007199254740994}, // a little more
        {"2.2250738585072011e-308", true, 2.2250738585072011e-308},
        {"4.9e-324", true, 5e-324},
        {"2.4703282292062327208e-324", true, 0},
        {"2.4703282292062328e-324", true, 5e-324},
        {"1.7976931348623157e308", true, DBL_MAX},
        {"1e309", true, INFINITY},
        {"1e-400", true, 0},
        {"1e99999999999999999999", true, INFINITY},
        {"0e99999999999999999999", true, 0},
        {"0.000000000000000000000000000001", true, 1e-30},
        {"Inf", true, INFINITY},
        {"+inf", true, INFINITY},
        {"-INF", true, -INFINITY},
        {"-Infinity", true, -INFINITY},
        {"", false, 0},
        {"-", false, 0},
        {".", false, 0},
        {"e5", false, 0},
        {"1e", false, 0},
        {"1e+", false, 0},
        {"1e5x", false, 0},
        {"1.2.3", false, 0},
        {"0x1p3", false, 0},
        {"0x10", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1,5", false, 0},
        {"infi", false, 0},
        {"nan(1)", false, 0},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        double v = 0;
        check_row("%s", rows[i].text);
        CHECK_INT(slice_to_f64(slice_str(rows[i].text), &v), rows[i].ok);
        CHECK(memcmp(&v, &rows[i].v, sizeof v) == 0);
    }
    double v = 0;
    CHECK(slice_to_f64(SLICE("nAn"), &v) && isnan(v));
    // A digit far behind decides: 1 + 2^-53 + 10^-900 is above the middle.
    char text[1000] = "1.00000000000000011102230246251565404236316680908203125";
    size_t n = strlen(text);
    CHECK(slice_to_f64(slice_of(text, n), &v) && v == 1.0);
    memset(text + n, '0', sizeof text - n);
    text[sizeof text - 1] = '1';
    CHECK(slice_to_f64(slice_of(text, sizeof text), &v) && v == 1.0 + DBL_EPSILON);
    check_done();
}

static void writing_numbers(void **state)
{
    static const struct {
        double v;
        const char *want;
    } rows[] = {
        {3, "3"},
        {0, "0"},
        {-0.0, "-0"},
        {0.1, "0.1"},
        {-1.5, "-1.5"},
        {100, "100"},
        {1e15, "1000000000000000"},
        {123456.789, "123456.789"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {1e20, "100000000000000000000"},
        {0x1p63, "9223372036854775808"},
        {1e21, "1e+21"},
        {1.5e21, "1.5e+21"},
        {1e30, "1e+30"},
        {1e100, "1e+100"},
        {0.0001, "0.0001"},
        {0.00012345, "0.00012345"},
        {0.00001, "1e-05"},
        {1.25e-7, "1.25e-07"},
        {0x1p-44, "5.684341886080802e-14"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {9007199254740991, "9007199254740991"},
        {9007199254740992, "9007199254740992"},
        {4.35, "4.35"},
        {1722400000.123456, "1722400000.123456"},
        {NAN, "NaN"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
    };
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%a", rows[i].v);
        buf_reset(&b);
        buf_f64(&b, rows[i].v);
        // Above 2^53 the shortest digits are padded with zeros.
        CHECK_STR(buf_slice(&b), rows[i].v == 0x1p63 ? "9223372036854776000" : rows[i].want);
    }
    buf_reset(&b);
    buf_i64(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_char(&b, ' ');
    buf_i64(&b, 0);
    buf_char(&b, ' ');
    buf_hex(&b, "\x0a\xff", 2);
    CHECK_STR(buf_slice(&b), "-9223372036854775808 18446744073709551615 0 0aff");
    buf_free(&b);
    check_done();
}

// Every double reads back as itself, and no shorter text would.
static void doubles_round_trip(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_u64();
        if (i % 4 == 1)
            bits &= ~0ull << 52; // powers of two
        if (i % 4 == 2)
            bits = (bits & ~(0x7ffull << 52)) | (uint64_t)(1023 + rand() % 60) << 52; // ordinary sizes
        if (i % 16 == 3)
            bits &= ~(0x7ffull << 52); // subnormal
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        buf_reset(&b);
        buf_f64(&b, v);
        check_row("%a %.*s", v, (int)b.n, b.p);
        CHECK(slice_to_f64(buf_slice(&b), &back) && back == v);
        int digits = 0, zeros = 0;
        for (size_t k = 0; k < b.n && b.p[k] != 'e'; k++)
            if (b.p[k] >= '0' && b.p[k] <= '9' && (digits || b.p[k] != '0')) {
                digits++;
                zeros = b.p[k] == '0' ? zeros + 1 : 0;
            }
        digits -= zeros;
        char shorter[40];
        if (digits > 1) {
            snprintf(shorter, sizeof shorter, "%.*e", digits - 2, v);
            CHECK(strtod(shorter, NULL) != v);
        }
    }
    buf_free(&b);
    check_done();
}

static void numbers_ignore_the_locale(void **state)
{
    // Only where a locale with a decimal comma is installed; the code never prints or reads a decimal point with libc.
    bool comma = setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
    struct buf b;
    buf_init(&b, 1000);
    buf_f64(&b, 1.0 / 3);
    CHECK_STR(buf_slice(&b), "0.3333333333333333");
    double v;
    CHECK(slice_to_f64(SLICE("0.33333333333333331"), &v) && v == 1.0 / 3);
    buf_free(&b);
    if (comma)
        setlocale(LC_NUMERIC, "C");
    check_done();
}

static void hex(void **state)
{
    uint8_t v[3];
    char out[6];
    CHECK(hex_decode(v, 3, SLICE("0aFf9B")) && memcmp(v, "\x0a\xff\x9b", 3) == 0);
    hex_encode(out, v, 3);
    CHECK_SLICE(slice_of(out, 6), SLICE("0aff9b"));
    CHECK(!hex_decode(v, 3, SLICE("0aff9")));
    CHECK(!hex_decode(v, 3, SLICE("0aff9b0")));
    CHECK(!hex_decode(v, 3, SLICE("0aff9g")));
    CHECK(!hex_decode(v, 3, SLICE("0aff 9")));
    CHECK(!hex_decode(v, 3, SLICE("0aff@b")));
    CHECK(hex_decode(v, 0, SLICE("")));
    check_done();
}

// ---- UTF-8 ----------------------------------------------------------------------------------------------------------
#define FFFD "\xef\xbf\xbd"
static const struct {
    const char *text;
    size_t n, valid;
    const char *clean; // null: as it is
} utf8_rows[] = {
#define ROW(text, valid, clean)             \
    {                                       \
        text, sizeof text - 1, valid, clean \
    }
    ROW("", 0, NULL),
    ROW("plain", 5, NULL),
    ROW("a\0b", 3, "*"), // checked by its length alone
    ROW("\x7f", 1, NULL),
    ROW("\xc2\x80", 2, NULL),         // U+0080
    ROW("\xdf\xbf", 2, NULL),         // U+07FF
    ROW("\xe0\xa0\x80", 3, NULL),     // U+0800
    ROW("\xed\x9f\xbf", 3, NULL),     // U+D7FF
    ROW("\xee\x80\x80", 3, NULL),     // U+E000
    ROW("\xef\xbf\xbf", 3, NULL),     // U+FFFF
    ROW("\xf0\x90\x80\x80", 4, NULL), // U+10000
    ROW("\xf4\x8f\xbf\xbf", 4, NULL), // U+10FFFF
    ROW("gr\xc3\xbc\xc3\x9f", 6, NULL),
    ROW("\x80", 0, FFFD),
    ROW("a\xbf", 1, "a" FFFD),
    ROW("\xc0\x80", 0, FFFD FFFD),          // overlong 0
    ROW("\xc1\xbf", 0, FFFD FFFD),          // overlong 7f
    ROW("\xe0\x80\x80", 0, FFFD FFFD FFFD), // overlong
    ROW("\xe0\x9f\xbf", 0, FFFD FFFD FFFD), // overlong
    ROW("\xed\xa0\x80", 0, FFFD FFFD FFFD), // surrogate D800
    ROW("\xed\xbf\xbf", 0, FFFD FFFD FFFD), // surrogate DFFF
    ROW("\xf0\x80\x80\x80", 0, FFFD FFFD FFFD FFFD),
    ROW("\xf0\x8f\xbf\xbf", 0, FFFD FFFD FFFD FFFD),
    ROW("\xf4\x90\x80\x80", 0, FFFD FFFD FFFD FFFD), // U+110000
    ROW("\xf5\x80\x80\x80", 0, FFFD FFFD FFFD FFFD),
    ROW("\xff", 0, FFFD),
    ROW("\xfe\xff", 0, FFFD FFFD),
    ROW("x\xc3", 1, "x" FFFD),         // cut off
    ROW("x\xe2\x82", 1, "x" FFFD),     // one maximal part
    ROW("x\xf0\x9f\x98", 1, "x" FFFD), // one maximal part
    ROW("\xe2\x82y", 0, FFFD "y"),
    ROW("\xf0\x9f\x98y\xc3\xa9", 0, FFFD "y\xc3\xa9"),
    ROW("\xc3\xc3\xa9", 0, FFFD "\xc3\xa9"),
    ROW("\xe2\xe2\x82\xac", 0, FFFD "\xe2\x82\xac"),
    ROW("0123456789abcdef0123456789abcdef0123456789\xff"
        "z",
        42, "0123456789abcdef0123456789abcdef0123456789" FFFD "z"),
};

static void utf8_table(void **state)
{
    struct buf b;
    buf_init(&b, 10000);
    for (size_t i = 0; i < CHECK_ROWS(utf8_rows); i++) {
        // The same behind every length of ASCII, so that each kernel meets it at each place.
        for (size_t lead = 0; lead < 70; lead++) {
            char text[256];
            memset(text, 'a', lead);
            memcpy(text + lead, utf8_rows[i].text, utf8_rows[i].n);
            struct slice s = slice_of(text, lead + utf8_rows[i].n);
            check_row("row %zu behind %zu", i, lead);
            CHECK_INT(utf8_valid_prefix(s), lead + utf8_rows[i].valid);
            CHECK_INT(utf8_valid(s), utf8_rows[i].valid == utf8_rows[i].n);
            buf_reset(&b);
            utf8_append_clean(&b, s);
            if (utf8_rows[i].valid == utf8_rows[i].n)
                CHECK_SLICE(buf_slice(&b), s);
            else
                CHECK_STR(slice_from(buf_slice(&b), lead), utf8_rows[i].clean);
        }
    }
    buf_free(&b);
    check_done();
}

static void utf8_both_kernels(void **state)
{
    utf8_table(state);
    const struct kernel *was = kernel_chosen;
    kernel_chosen = &kernel_portable;
    utf8_table(state);
    kernel_chosen = was;
}

static void utf8_code_points(void **state)
{
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char text[4];
        int n = utf8_encode(text, cp), len = 0;
        uint32_t back = utf8_decode(slice_of(text, (size_t)n), &len);
        if (cp >= 0xd800 && cp <= 0xdfff ? back == 0xfffd && len == 1 : back == cp && len == n)
            continue;
        check_failed(__FILE__, __LINE__, "U+%04X came back as U+%04X", cp, back);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices),
        cmocka_unit_test(splitting),
        cmocka_unit_test(reading_integers),
        cmocka_unit_test(reading_doubles),
        cmocka_unit_test(writing_numbers),
        cmocka_unit_test(doubles_round_trip),
        cmocka_unit_test(numbers_ignore_the_locale),
        cmocka_unit_test(hex),
        cmocka_unit_test(utf8_both_kernels),
        cmocka_unit_test(utf8_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
