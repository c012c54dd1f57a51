// HTTP/1 syntax: what is accepted, what is refused and with which status; whole and byte by byte.
#include "net/http1.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h> // needs the ones above

#define H "Host: a\r\n"
static const struct {
    const char *text;
    int status; // 0: accepted
} heads[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHOST:a\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", 0},
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    {"HEAD /a/b?c=%20&d={e=\"f\"} HTTP/1.1\r\n" H "\r\n", 0},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0},
    {"GET http://a:3/x HTTP/1.1\r\n" H "\r\n", 0},
    {"GET http://a HTTP/1.1\r\n" H "\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "X: \t a b \t\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "X:\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "X: \xc3\xbc\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "!#$%&'*+-.^_`|~9: x\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
    {"PUT / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n", 0},
    // the request line
    {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /  HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" H "\r\n", 400},
    {"GET\t/ HTTP/1.1\r\n" H "\r\n", 400},
    {" GET / HTTP/1.1\r\n" H "\r\n", 400},
    {"G(T / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET a HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /a\x01 HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\xc3\xbc HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /#x HTTP/1.1\r\n" H "\r\n", 400},
    {"GET * HTTP/1.1\r\n" H "\r\n", 400},
    {"GET https://a/ HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http:///x HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http://u@a/x HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / http/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/11\r\n" H "\r\n", 400},
    {"GET / HTTP/1.10\r\n" H "\r\n", 400},
    {"GET / XTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/2.0\r\n" H "\r\n", 505},
    {"GET / HTTP/1.2\r\n" H "\r\n", 505},
    {"GET / HTTP/0.9\r\n" H "\r\n", 505},
    {"BREW / HTTP/1.1\r\n" H "\r\n", 501},
    {"get / HTTP/1.1\r\n" H "\r\n", 501},
    {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 501},
    {"\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400},
    {"\x16\x03\x01\x02\r\n\r\n", 400},
    // lines
    {"GET / HTTP/1.1\n" H "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X: y\r\n z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X: y\r\n\tz\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n " H "\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X : y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X\t: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X y: z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H ": z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X(: z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X: a\x01z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X: a\x7fz\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "\xc3\xbc: z\r\n\r\n", 400},
    // Host
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H H "\r\n", 400},
    {"GET / HTTP/1.0\r\n" H H "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    // framing: every way to make two readers see two lengths
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: \r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n", 400},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400},
    {"PUT / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", 417},
};

// The status for a head that arrives `step` bytes at a time; -1 if it never ends.
static int outcome(const char *text, size_t n, size_t step, struct h1_head *h)
{
    struct h1_scan s = {0};
    size_t head = 0;
    for (size_t at = 0; at < n;) {
        at = at + step < n ? at + step : n;
        char *copy = malloc(at); // moves, and ends where the bytes end
        memcpy(copy, text, at);
        enum h1_result r = h1_scan(&s, copy, at, &head);
        int rc = r == H1_BAD ? s.status : r == H1_DONE ? h1_parse_request(copy, head, h) : -1;
        free(copy);
        if (rc >= 0)
            return rc;
    }
    return -1;
}

static void test_heads(void **state)
{
    struct http_header store[MAX_HTTP_HEADERS];
    struct h1_head h = {.headers = store};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        size_t n = strlen(heads[i].text);
        for (size_t step = 1; step <= n; step = step == 1 ? 3 : step == 3 ? n : n + 1) {
            int got = outcome(heads[i].text, n, step, &h);
            if (got != heads[i].status)
                fail_msg("%s → %d, want %d (%s)", heads[i].text, got, heads[i].status, h.why ? h.why : "");
        }
    }
}

static void test_fields(void **state)
{
    char text[] = "POST http://h:9/p?q HTTP/1.1\r\nHost: x\r\nX-Y:  Value \r\nConnection: a, CLOSE\r\n"
                  "Content-Length: 12\r\nExpect: 100-Continue\r\n\r\n";
    struct http_header store[MAX_HTTP_HEADERS];
    struct h1_head h = {.headers = store};
    assert_int_equal(h1_parse_request(text, sizeof text - 1, &h), 0);
    assert_true(slice_eq(h.method, SLICE("POST")));
    assert_true(slice_eq(h.target, SLICE("/p?q")));
    assert_true(slice_eq(h.authority, SLICE("h:9")));
    assert_int_equal(h.version, 11);
    assert_int_equal(h.content_length, 12);
    assert_false(h.keep_alive);
    assert_true(h.expect_continue);
    assert_int_equal(h.n_headers, 5);
    assert_true(slice_eq(store[1].name, SLICE("x-y")));
    assert_true(slice_eq(store[1].value, SLICE("Value")));
    char nul[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    assert_int_equal(h1_parse_request(nul, sizeof nul - 1, &h), 400);
    char old[] = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    assert_int_equal(h1_parse_request(old, sizeof old - 1, &h), 0);
    assert_true(h.keep_alive);
}

static int limit(size_t target, size_t headers, size_t value)
{
    struct http_header store[MAX_HTTP_HEADERS];
    struct h1_head h = {.headers = store};
    struct buf b;
    buf_init(&b, MIB(1));
    buf_str(&b, "GET /");
    for (size_t i = 1; i < target; i++)
        buf_char(&b, 'a');
    buf_str(&b, " HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < headers; i++)
        buf_str(&b, "X: y\r\n");
    buf_str(&b, "Y: ");
    for (size_t i = 0; i < value; i++)
        buf_char(&b, 'v');
    buf_str(&b, "\r\n\r\n");
    int rc = outcome(b.p, b.n, b.n, &h), pieces = outcome(b.p, b.n, 1000, &h);
    assert_int_equal(rc, pieces);
    buf_free(&b);
    return rc;
}

static void test_limits(void **state)
{
    assert_int_equal(limit(MAX_HTTP_TARGET, 0, 0), 0);
    assert_int_equal(limit(MAX_HTTP_TARGET + 1, 0, 0), 414);
    assert_int_equal(limit(MAX_HTTP_TARGET + 10000, 0, 0), 414);
    assert_int_equal(limit(1, MAX_HTTP_HEADERS - 2, 0), 0);
    assert_int_equal(limit(1, MAX_HTTP_HEADERS - 1, 0), 431);
    assert_int_equal(limit(1, 0, MAX_HTTP_HEAD - 100), 0);
    assert_int_equal(limit(1, 0, MAX_HTTP_HEAD), 431);
}

static const struct {
    const char *in, *body; // body null: refused
    size_t after;          // bytes left behind the end
} chunked[] = {
    {"0\r\n\r\n", "", 0},
    {"3\r\nabc\r\n0\r\n\r\n", "abc", 0},
    {"3\r\nabc\r\n0\r\n\r\nGET", "abc", 3},
    {"03\r\nabc\r\n000\r\n\r\n", "abc", 0},
    {"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", "0123456789x", 0},
    {"A;x=y;z=\"q\"\r\n0123456789\r\n0;e\r\n\r\n", "0123456789", 0},
    {"1\r\nx\r\n0\r\nT: v\r\nU:\r\n\r\n", "x", 0},
    {"\r\n", NULL, 0},
    {"g\r\n", NULL, 0},
    {"0x3\r\nabc\r\n", NULL, 0},
    {"+3\r\nabc\r\n", NULL, 0},
    {"-3\r\nabc\r\n", NULL, 0},
    {" 3\r\nabc\r\n", NULL, 0},
    {"3 \r\nabc\r\n", NULL, 0},
    {"3 ;x\r\nabc\r\n", NULL, 0},
    {"3\nabc\r\n", NULL, 0},
    {"3\r\r\nabc\r\n", NULL, 0},
    {"3;\x01\r\nabc\r\n", NULL, 0},
    {"3;a\nabc\r\n", NULL, 0},
    {"3\r\nabcd\r\n", NULL, 0},
    {"3\r\nabc\n0\r\n\r\n", NULL, 0},
    {"3\r\nabc0\r\n\r\n", NULL, 0},
    {"fffffffffffffffff\r\n", NULL, 0},
    {"0\r\n T: v\r\n\r\n", NULL, 0},
    {"0\r\nT : v\r\n\r\n", NULL, 0},
    {"0\r\nT: v\n\r\n", NULL, 0},
    {"0\r\n\rX", NULL, 0},
};

static void test_chunks(void **state)
{
    for (size_t i = 0; i < sizeof chunked / sizeof *chunked; i++) {
        size_t n = strlen(chunked[i].in);
        for (int whole = 0; whole < 2; whole++) {
            struct h1_chunks c = {0};
            struct slice in = slice_of(chunked[i].in, n), piece;
            char body[64];
            size_t got = 0;
            enum h1_result r = H1_MORE;
            while (in.n && r != H1_DONE && r != H1_BAD) {
                struct slice part = slice_cut(in, whole ? n : 1);
                size_t had = part.n;
                while ((r = h1_chunks_next(&c, &part, &piece)) == H1_DATA) {
                    memcpy(body + got, piece.p, piece.n);
                    got += piece.n;
                }
                in = slice_from(in, had - part.n);
            }
            if ((r == H1_DONE) != (chunked[i].body != NULL) || (r != H1_DONE && r != H1_BAD))
                fail_msg("%s: result %d", chunked[i].in, r);
            if (r == H1_DONE) {
                assert_true(slice_eq(slice_of(body, got), slice_str(chunked[i].body)));
                assert_int_equal(in.n, chunked[i].after);
            }
        }
    }
    struct h1_chunks c = {0};
    char line[MAX_CHUNK_LINE + 10] = "1;";
    memset(line + 2, 'x', sizeof line - 2);
    struct slice in = slice_of(line, sizeof line), piece;
    assert_int_equal(h1_chunks_next(&c, &in, &piece), H1_BAD);
}

static const struct {
    const char *text;
    int status;
} replies[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", 200},
    {"HTTP/1.1 200\r\n\r\n", 200},
    {"HTTP/1.0 404 \r\nX: y\r\n\r\n", 404},
    {"HTTP/1.1 2000 OK\r\n\r\n", 0},
    {"HTTP/1.1 20 OK\r\n\r\n", 0},
    {"HTTP/1.1 abc OK\r\n\r\n", 0},
    {"HTTP/2 200 OK\r\n\r\n", 0},
    {"HTTP/1.1  200 OK\r\n\r\n", 0},
    {"ICY 200 OK\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", 0},
};

static void test_replies(void **state)
{
    struct http_header store[MAX_HTTP_HEADERS];
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        char text[256];
        struct h1_head h = {.headers = store};
        snprintf(text, sizeof text, "%s", replies[i].text);
        int rc = h1_parse_response(text, strlen(text), &h);
        if ((rc == 0) != (replies[i].status != 0) || (rc == 0 && h.status != replies[i].status))
            fail_msg("%s → %d, status %d", replies[i].text, rc, h.status);
    }
}

static void test_lists(void **state)
{
    assert_true(http_list_has(SLICE("a, Gzip;q=0.5 ,b"), SLICE("gzip")));
    assert_false(http_list_has(SLICE("xgzip"), SLICE("gzip")));
    assert_false(http_list_has(SLICE(""), SLICE("gzip")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),  cmocka_unit_test(test_fields),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_chunks), cmocka_unit_test(test_replies), cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
