// Needles, units, addresses, label names, line filters.
#include "base/buf.h"
#include "base/limits.h"
#include "check.h"
#include "query/match.h"
#include "query/row.h"
#include <math.h>
#include <stdlib.h>

// Every needle of up to 6 bytes at every place of texts around the vector width, against the plain search.
static void needles(void **state)
{
    srand(7);
    for (int round = 0; round < 3000; round++) {
        char text[200], pattern[8];
        size_t n = (size_t)(rand() % 160), m = (size_t)(rand() % 6);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)("ab=\0"[rand() % 4]);
        for (size_t i = 0; i < m; i++)
            pattern[i] = (char)("ab=\0"[rand() % 4]);
        char *tight = malloc(n + 1); // ends where the sanitizer sees
        memcpy(tight, text, n);
        struct slice want = slice_of(pattern, m);
        struct needle x = needle_of(want);
        ptrdiff_t got = needle_find(&x, slice_of(tight, n));
        char *ref = m ? memmem(tight, n, pattern, m) : tight;
        assert_int_equal(got, ref ? ref - tight : -1);
        free(tight);
    }
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool good;
        double want;
    } rows[] = {{"1", true, 1},
                {"-2.5", true, -2.5},
                {"1e3", true, 1000},
                {"1_000", true, 1000},
                {"Inf", true, INFINITY},
                {"-Inf", true, -INFINITY},
                {"infinity", true, INFINITY},
                {"0x1p4", true, 16},
                {"0x1F", false, 0},
                {"", false, 0},
                {"1_", false, 0},
                {"_1", false, 0},
                {"1x", false, 0},
                {" 1", false, 0},
                {"1.2.3", false, 0},
                {".5", true, .5},
                {"+7", true, 7}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        double v = 0;
        check_row("%s", rows[i].text);
        CHECK(unit_number(slice_str(rows[i].text), &v) == rows[i].good);
        CHECK(!rows[i].good || v == rows[i].want);
    }
    check_done();
}

static void durations(void **state)
{
    static char long_fraction[1000] = "1.5";
    long_fraction[sizeof long_fraction - 2] = 's';
    static const struct {
        const char *text;
        bool good, good_long;
        int64_t want;
    } rows[] = {{"5s", true, true, 5000000000},
                {"1h15m30.9s", true, true, 4530900000000},
                {"-3ms", true, true, -3000000},
                {"0", true, true, 0},
                {"1.5h", true, true, 5400000000000},
                {"250us", true, true, 250000},
                {"250\xc2\xb5s", true, true, 250000},
                {"1d", false, true, 86400000000000},
                {"2w", false, true, 1209600000000000},
                {"1y", false, true, 31536000000000000},
                {"5", false, false, 0},
                {"", false, false, 0},
                {"s", false, false, 0},
                {"5x", false, false, 0},
                {"5 s", false, false, 0},
                {"fast", false, false, 0},
                {long_fraction, true, true, 1500000000}};
    memset(long_fraction + 3, '0', sizeof long_fraction - 5);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        int64_t ns = 0;
        check_row("%s", rows[i].text);
        CHECK(unit_duration(slice_str(rows[i].text), &ns) == rows[i].good);
        CHECK(!rows[i].good || ns == rows[i].want);
        CHECK(unit_duration_long(slice_str(rows[i].text), &ns) == rows[i].good_long);
        CHECK(!rows[i].good_long || ns == rows[i].want);
    }
    check_done();
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        bool good;
        double want;
    } rows[] = {{"512", true, 512},      {"1KB", true, 1000},      {"1kb", true, 1000},
                {"2KiB", true, 2048},    {"1.5MB", true, 1500000}, {"1 MB", true, 1000000},
                {"1MB ", true, 1000000}, {"1,024B", true, 1024},   {"3Gi", true, 3221225472.0},
                {"1XB", false, 0},       {"huge", false, 0},       {"", false, 0},
                {"-1B", false, 0}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        double v = 0;
        check_row("%s", rows[i].text);
        CHECK(unit_bytes(slice_str(rows[i].text), &v) == rows[i].good);
        CHECK(!rows[i].good || v == rows[i].want);
    }
    check_done();
}

static void duration_texts(void **state)
{
    static const struct {
        int64_t ns;
        const char *go, *range;
    } rows[] = {{300000000000, "5m0s", "5m"},      {5400000000000, "1h30m0s", "1h30m"},
                {3605000000000, "1h0m5s", "1h5s"}, {1500000000, "1.5s", "1s500ms"},
                {300000000, "300ms", "300ms"},     {1500, "1.5\xc2\xb5s", "1us500ns"},
                {86400000000000, "24h0m0s", "1d"}, {0, "0s", "0s"},
                {-60000000000, "-1m0s", NULL}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, 1000);
        check_row("%s", rows[i].go);
        unit_duration_text(&b, rows[i].ns);
        CHECK_STR(buf_slice(&b), rows[i].go);
        buf_reset(&b);
        if (rows[i].range) {
            unit_range_text(&b, rows[i].ns);
            CHECK_STR(buf_slice(&b), rows[i].range);
        }
        buf_free(&b);
    }
    check_done();
}

static void addresses(void **state)
{
    static const struct {
        const char *range, *line;
        int want; // -1: the range is refused
    } rows[] = {
        {"10.0.0.1", "from 10.0.0.1 on", 1},
        {"10.0.0.1", "from 10.0.0.12 on", 0},
        {"10.0.0.0/8", "url http://10.9.8.7/x", 1},
        {"10.0.0.0/8", "10.9.8.7:443", 1},
        {"10.0.0.0/8", "code:10.9.8.7", 1},
        {"10.0.0.0/8", "at the end 10.9.8.7.", 1},
        {"10.0.0.0/8", "::ffff:10.9.8.7 mapped", 0},
        {"10.0.0.0/8", "300.1.2.3 and 10.2.3", 0},
        {"192.168.4.0-192.168.5.255", "glued192.168.4.6tail", 1},
        {"192.168.4.0-192.168.5.255", "192.168.6.0", 0},
        {"2001:db8::/32", "v6 2001:db8::1 seen", 1},
        {"2001:db8::/32", "v6 fe80::1 seen", 0},
        {"2001:db8::/32", "10.0.0.1", 0},
        {"0.0.0.0/0", "1.2.3.4", 1},
        {"1.2.3.4/32", "1.2.3.5", 0},
        {"10.0.0.9-10.0.0.1", "", -1},
        {"10.0.0.1-2001::1", "", -1},
        {"10.0.0.0/33", "", -1},
        {"10.0.0", "", -1},
        {"nonsense", "", -1},
        {"", "", -1},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct ip_range r;
        struct error err = {0};
        check_row("%s in %s", rows[i].range, rows[i].line);
        enum errc rc = ip_range_parse(slice_str(rows[i].range), &r, &err);
        CHECK((rc == ERR_OK) == (rows[i].want >= 0));
        CHECK(rows[i].want < 0 || ip_line(&r, slice_str(rows[i].line)) == rows[i].want);
    }
    check_done();
}

static void names(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {{"a", "a"},
                {"a.b", "a_b"},
                {"a-b/c", "a_b_c"},
                {"9x", "_9x"},
                {"\xc3\xbcn\xc3\xaf", "_n_"},
                {"\xd0\xba\xd0\xbb", "__"},
                {"a b", "a_b"},
                {"\xff", "_"},
                {"", ""},
                {"__x", "__x"}};
    struct arena a;
    arena_init(&a, MIB(1));
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s", rows[i].in);
        CHECK_STR(row_name(&a, slice_str(rows[i].in), SLICE("_")), rows[i].out);
    }
    check_row("key_");
    CHECK_STR(row_name(&a, SLICE("9x"), SLICE("key_")), "key_9x");
    arena_free(&a);
    check_done();
}

static void filters(void **state)
{
    static const struct {
        enum line_op op;
        const char *text[3];
        const char *line;
        int want; // -1: refused
    } rows[] = {
        {LINE_CONTAINS, {"GET"}, "GET /x", 1},
        {LINE_CONTAINS, {"get"}, "GET /x", 0},
        {LINE_CONTAINS, {""}, "", 1},
        {LINE_LACKS, {"GET"}, "GET /x", 0},
        {LINE_LACKS, {"a", "b"}, "xbx", 0},
        {LINE_LACKS, {"a", "b"}, "xyz", 1},
        {LINE_CONTAINS, {"a", "b", "c"}, "xcx", 1},
        {LINE_MATCHES, {"a.c"}, "abc", 1},
        {LINE_MATCHES, {"abc"}, "xabcx", 1}, // a literal in disguise
        {LINE_MATCHES, {".*abc.*"}, "xabcx", 1},
        {LINE_MATCHES, {".*?abc"}, "xabcx", 1},
        {LINE_MATCHES, {"ab|cd|ef"}, "xcdx", 1}, // literals in disguise
        {LINE_MATCHES, {"ab|cd|ef"}, "xcex", 0},
        {LINE_MATCHES, {"ab|"}, "nothing", 1},
        {LINE_MATCHES, {".*a|b.*"}, "xbx", 1},
        {LINE_MATCHES, {"a\\+b"}, "a+b", 1},
        {LINE_MATCHES, {"^GET"}, " GET", 0},
        {LINE_MATCHES, {"(?i)abc"}, "xABCx", 1},
        {LINE_MATCHES, {".*"}, "", 1},
        {LINE_DIFFERS, {"a", "b"}, "xbx", 0},
        {LINE_DIFFERS, {"^a$"}, "ab", 1},
        {LINE_MATCHES, {"("}, "", -1},
        {LINE_LIKE, {"<_>GET<_>"}, "a GET b", 1},
        {LINE_LIKE, {"<_>GET<_>"}, "GET b", 0},
        {LINE_LIKE, {"a-<_>-c"}, "a-b-c", 1},
        {LINE_LIKE, {"a-<_>-c"}, "a--c", 0},
        {LINE_LIKE, {"a-<_>-c"}, "xa-b-c", 1}, // a leading literal is not anchored
        {LINE_LIKE, {"a-<_>-c"}, "a-b-cx", 0},
        {LINE_LIKE, {"<_>"}, "x", 1},
        {LINE_LIKE, {"<_>"}, "", 0},
        {LINE_LIKE, {"whole"}, "whole", 1},
        {LINE_LIKE, {"whole"}, "a whole", 0},
        {LINE_UNLIKE, {"<_>b<_>", "<_>c<_>"}, "xbx", 0},
        {LINE_UNLIKE, {"<_>b<_>", "<_>c<_>"}, "xdx", 1},
        {LINE_LIKE, {"<name>"}, "x", -1},
        {LINE_LIKE, {"<_><_>"}, "x", -1},
    };
    struct arena a;
    arena_init(&a, MIB(4));
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct line_filter f;
        struct line_filter_text t[3];
        struct regex_list keep = {0};
        struct error err = {0};
        uint32_t n = 0;
        for (; n < 3 && rows[i].text[n]; n++)
            t[n] = (struct line_filter_text){slice_str(rows[i].text[n]), false};
        check_row("%d %s on %s", rows[i].op, rows[i].text[0], rows[i].line);
        enum errc rc = line_filter_init(&f, rows[i].op, t, n, &a, &keep, &err);
        CHECK((rc == ERR_OK) == (rows[i].want >= 0));
        CHECK(rc != ERR_OK || line_filter_test(&f, slice_str(rows[i].line)) == rows[i].want);
        regex_list_free(&keep);
    }
    arena_free(&a);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(needles), cmocka_unit_test(numbers),        cmocka_unit_test(durations),
                                       cmocka_unit_test(sizes),   cmocka_unit_test(duration_texts), cmocka_unit_test(addresses),
                                       cmocka_unit_test(names),   cmocka_unit_test(filters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
