// Body codings with their caps; percent escapes; URLs.
#include "base/limits.h"
#include "net/codec.h"
#include <libdeflate.h>
#include <setjmp.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zstd.h>

#include <cmocka.h> // needs the ones above

enum { N = 300000 };
static char plain[N], packed[N * 2];

static size_t pack(enum codec c)
{
    size_t n = sizeof packed;
    struct libdeflate_compressor *z = libdeflate_alloc_compressor(6);
    if (c == CODEC_GZIP)
        n = libdeflate_gzip_compress(z, plain, N, packed, n);
    else if (c == CODEC_DEFLATE)
        n = libdeflate_zlib_compress(z, plain, N, packed, n);
    else if (c == CODEC_ZSTD)
        n = ZSTD_compress(packed, n, plain, N, 1);
    else if (c == CODEC_SNAPPY)
        assert_int_equal(snappy_compress(plain, N, packed, &n), SNAPPY_OK);
    libdeflate_free_compressor(z);
    return n;
}

static enum errc decode(enum codec c, struct slice in, size_t max, bool same)
{
    struct buf out;
    struct error e = {0};
    buf_init(&out, max);
    enum errc rc = codec_decode(c, in, max, &out, &e);
    if (same)
        assert_true(rc == ERR_OK && slice_eq(buf_slice(&out), slice_of(plain, N)));
    if (rc != ERR_OK)
        assert_true(e.code == rc && e.msg[0]);
    assert_true(out.n <= max);
    buf_free(&out);
    return rc;
}

static void test_codecs(void **state)
{
    for (int i = 0; i < N; i++)
        plain[i] = (char)(i % 7 == 0 ? i / 7 : 'a' + i % 20);
    static const enum codec all[] = {CODEC_GZIP, CODEC_DEFLATE, CODEC_ZSTD, CODEC_SNAPPY};
    for (size_t i = 0; i < 4; i++) {
        size_t n = pack(all[i]);
        struct slice in = slice_of(packed, n);
        decode(all[i], in, MIB(64), true);
        decode(all[i], in, N, true);
        assert_int_equal(decode(all[i], in, N - 1, false), ERR_LIMIT);
        assert_int_equal(decode(all[i], in, 10, false), ERR_LIMIT);
        assert_int_equal(decode(all[i], slice_cut(in, n / 2), MIB(64), false), ERR_CORRUPT);
        assert_int_equal(decode(all[i], SLICE("not packed at all, plain text"), MIB(64), false), ERR_CORRUPT);
        for (size_t k = 0; k < n; k += 997) { // damaged anywhere: an error or other bytes, never a crash
            char old = packed[k];
            packed[k] ^= 0x55;
            decode(all[i], in, MIB(1), false);
            packed[k] = old;
        }
    }
    assert_int_equal(decode(CODEC_NONE, SLICE("abc"), 2, false), ERR_LIMIT);
}

static void test_deflate_bare(void **state)
{
    struct libdeflate_compressor *z = libdeflate_alloc_compressor(6);
    size_t n = libdeflate_deflate_compress(z, plain, N, packed, sizeof packed);
    libdeflate_free_compressor(z);
    decode(CODEC_DEFLATE, slice_of(packed, n), MIB(64), true);
}

static void test_gzip_round(void **state)
{
    struct buf b;
    buf_init(&b, MIB(2));
    assert_int_equal(codec_gzip(slice_of(plain, N / 2), &b), ERR_OK);
    assert_int_equal(codec_gzip(slice_of(plain + N / 2, N / 2), &b), ERR_OK); // two members are one body
    decode(CODEC_GZIP, buf_slice(&b), MIB(1), true);
    buf_free(&b);
    struct buf bomb, out;     // 64 MiB of nothing
    buf_init(&bomb, MIB(80)); // packing needs room for the worst case
    buf_init(&out, MIB(1));
    char *zeros = calloc(1, MIB(64));
    assert_int_equal(codec_gzip(slice_of(zeros, MIB(64)), &bomb), ERR_OK);
    free(zeros);
    assert_int_equal(codec_decode(CODEC_GZIP, buf_slice(&bomb), MIB(1), &out, NULL), ERR_LIMIT);
    assert_true(out.cap <= MIB(1));
    buf_free(&bomb);
    buf_free(&out);
}

static void test_names(void **state)
{
    enum codec c;
    assert_true(codec_from_name(SLICE("GZIP"), &c) && c == CODEC_GZIP);
    assert_true(codec_from_name(SLICE("identity"), &c) && c == CODEC_NONE);
    assert_false(codec_from_name(SLICE("br"), &c));
    assert_false(codec_from_name(SLICE("gzip, gzip"), &c));
}

static void test_percent(void **state)
{
    static const struct {
        const char *in, *out;
        bool plus;
    } t[] = {{"a%20b+c", "a b c", true}, {"a%20b+c", "a b+c", false}, {"%C3%bc", "ü", false}, {"", "", true},
             {"%", NULL, false},         {"%2", NULL, false},         {"%zz", NULL, false},   {"a%4", NULL, true}};
    struct arena a;
    struct slice out;
    arena_init(&a, MIB(1));
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        assert_int_equal(percent_decode(&a, slice_str(t[i].in), t[i].plus, &out), t[i].out != NULL);
        if (t[i].out)
            assert_true(slice_eq(out, slice_str(t[i].out)));
    }
    struct buf b;
    buf_init(&b, 100);
    percent_encode(&b, SLICE("a-Z_0.~ /%\xc3"));
    assert_true(slice_eq(buf_slice(&b), SLICE("a-Z_0.~%20%2F%25%C3")));
    buf_free(&b);
    arena_free(&a);
}

static void test_urls(void **state)
{
    static const struct {
        const char *text, *host;
        int port;
        const char *path;
    } t[] = {{"http://a", "a", 80, "/"},
             {"HTTP://a.b:81/c?d", "a.b", 81, "/c?d"},
             {"http://[::1]:3100/x", "::1", 3100, "/x"},
             {"http://[::1]", "::1", 80, "/"}};
    static const char *const bad[] = {"a:1",          "ftp://a/",       "http://",        "http://:1/",    "http://a:0/",
                                      "http://a:x/",  "http://a:70000", "http://u@a/",    "http://[::1/",  "http://a/ b",
                                      "http://a/b#c", "http://a?b",     "http://[::1]x/", "http://a:1:2/", "http://a/\n"};
    struct url u;
    struct error e;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        e = (struct error){0};
        assert_int_equal(url_parse(t[i].text, &u, &e), ERR_OK);
        assert_string_equal(u.host, t[i].host);
        assert_int_equal(u.port, t[i].port);
        assert_true(slice_eq(u.path, slice_str(t[i].path)));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        if (url_parse(bad[i], &u, &e) != ERR_INPUT)
            fail_msg("%s was accepted", bad[i]);
    }
    assert_int_equal(url_parse("HTTPS://a/b", &u, NULL), ERR_OK);
    assert_true(u.tls && u.port == 443 && slice_eq(u.path, SLICE("/b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codecs), cmocka_unit_test(test_deflate_bare), cmocka_unit_test(test_gzip_round),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_percent),      cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
