// The server over real sockets: routes, bodies, refusals, pipelining, rude clients, replies from other threads.
#include "net_test.h"

#include "base/alloc.h"
#include <zstd.h>

static void test_routes(void **state)
{
    expect("/", 200, "root  \n");
    expect("/a/b", 200, "literal  \n");
    expect("/a/b?x=/c", 200, "literal  \n");
    expect("/a/z", 200, "capture z \n");
    expect("/a/%C3%BC%2Fx", 200, "capture ü/x \n");
    expect("/%61/b", 200, "literal  \n");
    expect("/a/1/2/3", 200, "rest 1/2/3 \n");
    expect("/a/", 200, "rest  \n");
    expect("/a/1/c/2", 200, "two 1 2\n");
    expect("/a", 404, "there is nothing at this path\n");
    expect("/A/b", 404, "there is nothing at this path\n");
    expect("/a%2Fb", 404, "there is nothing at this path\n");
    expect("/t.S/Echo", 404, "there is nothing at this path\n");
    expect("/x%zz", 400, "refused: the path holds a bad percent escape\n");
    expect("/x%00", 400, "refused: the path holds a bad percent escape\n");
    expect("/params?a=1&b=%20+x&&c&a=2", 200, "a=1;b=  x;c=;a=2;");
    const char *r = ask("DELETE /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(r, "HTTP/1.1 405 Method Not Allowed\r\n"));
    assert_non_null(strstr(r, "allow: POST, GET, HEAD\r\n"));
    r = ask("POST /params?q=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 7\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n\r\nf=a%26b");
    assert_non_null(strstr(r, "\r\n\r\nq=1;f=a&b;"));
    r = ask("HEAD /a/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(r, "content-length: 10\r\n"));
    assert_string_equal(strstr(r, "\r\n\r\n"), "\r\n\r\n");
    r = ask("POST /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc");
    assert_non_null(strstr(r, "\r\n\r\n0\n"));
    r = ask("GET /echo HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(r, "connection: close\r\n"));
    assert_null(strstr(r, "x-injected"));
}

static void test_bodies(void **state)
{
    struct buf b;
    char head[256], zs[4096];
    static char reply[KIB(64)];
    const char *text = "hello hello hello hello hello hello";
    buf_init(&b, KIB(64));
    assert_int_equal(codec_gzip(slice_str(text), &b), ERR_OK);
    size_t zn = ZSTD_compress(zs, sizeof zs, text, strlen(text), 1);
    const struct {
        const char *coding, *path;
        struct slice body;
        const char *want;
    } t[] = {
        {"gzip", "/echo", buf_slice(&b), "\r\n\r\nhello hello hello hello hello hello"},
        {"zstd", "/echo", slice_of(zs, zn), "\r\n\r\nhello hello hello hello hello hello"},
        {"identity", "/echo", SLICE("abc"), "\r\n\r\nabc"},
        {"snappy", "/echo", SLICE("abc"), "\r\n\r\nabc"},
        {"gzip", "/echo", SLICE("not gzip"), "HTTP/1.1 400 Bad Request"},
        {"gzip", "/echo", slice_of(b.p, b.n - 3), "HTTP/1.1 400 Bad Request"},
        {"br", "/echo", SLICE("abc"), "HTTP/1.1 415 Unsupported Media Type"},
        {"gzip, gzip", "/echo", SLICE("abc"), "HTTP/1.1 415 Unsupported Media Type"},
    };
    int fd = dial(); // refusals of a body that was read keep the connection
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        say(fd, head,
            (size_t)snprintf(head, sizeof head,
                             "POST %s HTTP/1.1\r\nHost: a\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", t[i].path,
                             t[i].coding, t[i].body.n));
        say(fd, t[i].body.p, t[i].body.n);
        hear(fd, reply, sizeof reply, t[i].want, LONG_MS);
        if (!strstr(reply, t[i].want))
            fail_msg("%s: %s", t[i].coding, reply);
        hear(fd, reply, sizeof reply, NULL, 20);
    }
    close(fd);
    buf_free(&b);
    struct buf bomb;
    char *zeros = calloc(1, MIB(64));
    buf_init(&bomb, MIB(80)); // packing needs room for the worst case
    assert_int_equal(codec_gzip(slice_of(zeros, MIB(64)), &bomb), ERR_OK);
    char url[64];
    struct http_header h = {SLICE("content-encoding"), SLICE("gzip")};
    struct http_answer a;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/echo", port);
    assert_int_equal(
        http_fetch(NULL, &(struct http_fetch){.url = url, .headers = &h, .n_headers = 1, .body = buf_slice(&bomb)}, &a, NULL),
        ERR_OK);
    assert_int_equal(a.status, 413);
    http_answer_free(&a);
    buf_free(&bomb);
    free(zeros);
}

static void test_too_large(void **state)
{
    static char big[2000], reply[KIB(64)];
    memset(big, 'x', sizeof big);
    const char *chunked = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n";
    struct http_answer a = fetch(NULL, "/small", slice_of(big, 1000), false);
    assert_int_equal(a.status, 200);
    http_answer_free(&a);
    a = fetch(NULL, "/small", slice_of(big, 1001), false);
    assert_int_equal(a.status, 413);
    assert_true(slice_eq(buf_slice(&a.body), SLICE("refused: the body is larger than this path allows\n")));
    http_answer_free(&a);
    int fd = dial();
    say(fd, chunked, strlen(chunked));
    say(fd, big, 2000);
    hear(fd, reply, sizeof reply, "allows\n", LONG_MS);
    assert_non_null(strstr(reply, "HTTP/1.1 413 Content Too Large\r\n"));
    assert_non_null(strstr(reply, "connection: close\r\n"));
    say(fd, big, 2000); // still read away
    shutdown(fd, SHUT_WR);
    assert_true(closed(fd, LONG_MS));
    close(fd);
    const char *r = ask("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    assert_non_null(strstr(r, "HTTP/1.1 404 Not Found\r\n"));
    char *huge = calloc(1, MIB(100)); // the answer arrives although the body is refused at its head
    a = fetch(NULL, "/echo", slice_of(huge, MIB(100)), false);
    assert_int_equal(a.status, 413);
    http_answer_free(&a);
    free(huge);
}

static void test_continue(void **state)
{
    static char reply[KIB(64)];
    const char *head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    int fd = dial();
    say(fd, head, strlen(head));
    hear(fd, reply, sizeof reply, "\r\n\r\n", LONG_MS);
    assert_string_equal(reply, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "abc", 3);
    hear(fd, reply, sizeof reply, "abc", LONG_MS);
    assert_non_null(strstr(reply, "HTTP/1.1 200 OK\r\n"));
    close(fd);
    const char *r = ask("POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3000\r\n\r\n");
    assert_true(strncmp(r, "HTTP/1.1 413", 12) == 0); // no 100 before the refusal
}

static void test_smuggling(void **state)
{
    static const char *const rude[] = {
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /a/b "
        "HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\nGET /a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\nGET /a/b HTTP/1.1\r\nHost: "
        "a\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nX: y\r\n Z: q\r\n\r\nGET /a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo HTTP/1.1\nHost: a\n\nGET /a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET /a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof rude / sizeof *rude; i++) {
        static char reply[KIB(64)];
        int fd = dial();
        say(fd, rude[i], strlen(rude[i]));
        size_t n = hear(fd, reply, sizeof reply, "\r\n\r\n", LONG_MS);
        hear(fd, reply + n, sizeof reply - n, NULL, 200); // whatever else may come
        if (strncmp(reply, "HTTP/1.1 400", 12) != 0 && strncmp(reply, "HTTP/1.1 505", 12) != 0)
            fail_msg("%s → %s", rude[i], reply);
        assert_null(strstr(reply, "literal")); // what followed was not taken for a request
        assert_null(strstr(strstr(reply, "\r\n\r\n"), "HTTP/1.1 200"));
        shutdown(fd, SHUT_WR);
        assert_true(closed(fd, LONG_MS));
        close(fd);
    }
    assert_true(refused_seen > 0);
}

static void test_pipeline(void **state)
{
    enum { N = 500 };
    struct buf b;
    static char reply[MIB(1)];
    buf_init(&b, MIB(1));
    for (int i = 0; i < N; i++) // every third waits for another thread: order holds all the same
        buf_printf(&b, i % 100 == 3 ? "GET /later HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /params?n=%d HTTP/1.1\r\nHost: a\r\n\r\n",
                   i);
    buf_str(&b, "GET /params?n=end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    int fd = dial();
    say(fd, b.p, b.n);
    hear(fd, reply, sizeof reply, NULL, LONG_MS);
    const char *at = reply;
    for (int i = 0; i < N; i++) {
        char want[32];
        snprintf(want, sizeof want, i % 100 == 3 ? "\r\n\r\nlate" : "\r\n\r\nn=%d;", i);
        at = strstr(at, "HTTP/1.1 200 OK\r\n");
        assert_non_null(at);
        at = strstr(at, "\r\n\r\n");
        if (strncmp(at, want, strlen(want)) != 0)
            fail_msg("reply %d: %.40s", i, at);
    }
    assert_non_null(strstr(at, "n=end;"));
    close(fd);
    buf_free(&b);
}

static void test_bytewise(void **state)
{
    static char reply[KIB(64)];
    const char *t =
        "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\nabcd\r\n3\r\nefg\r\n0\r\nT: v\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    int fd = dial();
    for (const char *p = t; *p; p++) {
        say(fd, p, 1);
        if (p - t < 20)
            usleep(500);
    }
    hear(fd, reply, sizeof reply, NULL, LONG_MS);
    assert_non_null(strstr(reply, "abcdefg"));
    assert_non_null(strstr(reply, "\r\n\r\nhi"));
    close(fd);
}

static void test_keep_alive(void **state)
{
    struct http_session *s = http_session_new();
    for (int i = 0; i < 1000; i++) {
        struct http_answer a = fetch(s, "/a/b", SLICE_NONE, false);
        assert_int_equal(a.status, 200);
        http_answer_free(&a);
    }
    http_session_free(s);
}

static void test_large(void **state)
{
    size_t n = 20 * 1000 * 1000;
    char *big = malloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 2654435761u >> 13);
    struct http_session *s = http_session_new();
    for (int gzip = 0; gzip < 2; gzip++) {
        struct http_answer a = fetch(s, "/echo", slice_of(big, n), gzip);
        assert_int_equal(a.status, 200);
        assert_true(slice_eq(buf_slice(&a.body), slice_of(big, n)));
        http_answer_free(&a);
        struct grpc_answer g;
        struct error e = {0};
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
        if (grpc_fetch(s, url, "/t.S/Echo", NULL, 0, slice_of(big, n), gzip, 0, &g, &e) != ERR_OK)
            fail_msg("%s", e.msg);
        assert_int_equal(g.status, GRPC_OK);
        assert_true(slice_eq(buf_slice(&g.body), slice_of(big, n)));
        grpc_answer_free(&g);
    }
    http_session_free(s);
    free(big);
}

static void test_gzip_reply(void **state)
{
    char *text = malloc(100000);
    memset(text, 'a', 100000);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/echo", port);
    static const struct {
        const char *accept;
        bool gzip;
    } t[] = {{"gzip", true},         {"br, GZIP;q=0.5", true},
             {"gzip;q=0", false},    {"gzip; q=0.0", false},
             {"gzip;q=0.3", true},   {"*", true},
             {"gzip;q=0, *", false}, {"*;q=0", false},
             {"x-gzip", true},       {"gzip;Q=0.000", false},
             {"br", false},          {"", false}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct http_header h = {SLICE("accept-encoding"), slice_str(t[i].accept)};
        struct http_answer a;
        struct http_fetch f = {.url = url, .headers = &h, .n_headers = 1, .body = slice_of(text, 100000)};
        assert_int_equal(http_fetch(NULL, &f, &a, NULL), ERR_OK);
        if ((a.body.n < 10000) != t[i].gzip)
            fail_msg("%s: %zu bytes", t[i].accept, a.body.n);
        if (t[i].gzip) {
            struct buf plain;
            buf_init(&plain, MIB(1));
            assert_int_equal(codec_decode(CODEC_GZIP, buf_slice(&a.body), MIB(1), &plain, NULL), ERR_OK);
            assert_true(slice_eq(buf_slice(&plain), slice_of(text, 100000)));
            buf_free(&plain);
        }
        http_answer_free(&a);
    }
    // asked for by the client itself: unpacked, and no more than the maximum
    struct http_answer a;
    struct error e = {0};
    struct http_fetch f = {.url = url, .body = slice_of(text, 100000), .accept_gzip = true, .reply_max = 100000};
    assert_int_equal(http_fetch(NULL, &f, &a, NULL), ERR_OK);
    assert_true(slice_eq(buf_slice(&a.body), slice_of(text, 100000)));
    http_answer_free(&a);
    f.reply_max = 99999;
    assert_int_equal(http_fetch(NULL, &f, &a, &e), ERR_LIMIT);
    assert_non_null(strstr(e.msg, url));
    free(text);
}

static void test_threads(void **state)
{
    char want[2000] = "";
    size_t n = 0;
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(want + n, sizeof want - n, "data: %d\n\n", i);
    expect("/later", 200, "late");
    expect("/stream", 200, want);
}

// Clients that leave in the middle of everything. Nothing to compare: the sanitizers and the last request judge.
static void test_abrupt(void **state)
{
    static const char *const part[] = {
        "G",
        "GET /a/b HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0garbage garbage garbage",
        "PRI * HT",
    };
    finished = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
            int fd = dial();
            say(fd, part[i], i == 8 ? 24 + 9 + 23 : strlen(part[i]));
            if (round == 1)
                usleep(1000);
            struct linger hard = {1, 0};
            if (round == 2)
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            close(fd);
        }
        expect("/a/b", 200, "literal  \n");
    }
    usleep(100000);
    int fd = dial();
    const char *get = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
    gone_seen = finished = 0;
    say(fd, get, strlen(get));
    usleep(5000);
    close(fd);
    wait_for(&finished, 1);
    assert_true(gone_seen == 1);
    fd = dial(); // half-closed: the answer still comes
    static char reply[KIB(4)];
    say(fd, get, strlen(get));
    shutdown(fd, SHUT_WR);
    hear(fd, reply, sizeof reply, NULL, 2000);
    assert_non_null(strstr(reply, "\r\n\r\nlate"));
    close(fd);
}

static void test_flood(void **state)
{
    const char *get = "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n";
    int fd = dial();
    say(fd, get, strlen(get));
    wait_for(&flood_over, 1); // we never read: cut at 64 MiB, not after 400
    assert_int_equal(flood_cut, 1);
    assert_true(pending_seen > MIB(32) && pending_seen <= MIB(65));
    close(fd);
}

static void test_grpc(void **state)
{
    static char big[2000];
    char url[64];
    struct grpc_answer g;
    struct http_session *s = http_session_new();
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    for (int gzip = 0; gzip < 2; gzip++) {
        assert_int_equal(grpc_fetch(s, url, "/t.S/Echo", NULL, 0, SLICE("hi"), gzip, 0, &g, NULL), ERR_OK);
        assert_int_equal(g.status, GRPC_OK);
        assert_true(slice_eq(buf_slice(&g.body), SLICE("hi")));
        grpc_answer_free(&g);
        assert_int_equal(grpc_fetch(s, url, "/t.S/Small", NULL, 0, slice_of(big, 1001), gzip, 0, &g, NULL), ERR_OK);
        assert_int_equal(g.status, GRPC_RESOURCE_EXHAUSTED); // packed it fits, unpacked not
        grpc_answer_free(&g);
        assert_int_equal(grpc_fetch(s, url, "/t.S/Small", NULL, 0, slice_of(big, 1000), gzip, 0, &g, NULL), ERR_OK);
        assert_int_equal(g.status, GRPC_OK);
        grpc_answer_free(&g);
    }
    assert_int_equal(grpc_fetch(s, url, "/t.S/None", NULL, 0, SLICE("hi"), false, 0, &g, NULL), ERR_OK);
    assert_int_equal(g.status, GRPC_UNIMPLEMENTED);
    grpc_answer_free(&g);
    assert_int_equal(grpc_fetch(s, url, "/t.S/Bad", NULL, 0, SLICE(""), false, 0, &g, NULL), ERR_OK);
    assert_int_equal(g.status, GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(g.message, "100% full\nü");
    assert_int_equal(g.retry_after_ns, 1500 * MS);
    grpc_answer_free(&g);
    struct http_header lzo = {SLICE("grpc-encoding"), SLICE("lzo")};
    assert_int_equal(grpc_fetch(s, url, "/t.S/Echo", &lzo, 1, SLICE("plain all the same"), false, 0, &g, NULL), ERR_OK);
    assert_int_equal(g.status, GRPC_OK);
    grpc_answer_free(&g);
    assert_int_equal(grpc_fetch(s, url, "/a/b", NULL, 0, SLICE("x"), false, 0, &g, NULL), ERR_OK);
    assert_int_equal(g.status, GRPC_UNIMPLEMENTED);
    grpc_answer_free(&g);
    http_session_free(s);
}

static void test_drain(void **state)
{
    static char reply[KIB(64)];
    const char *get = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
    int idle = dial(), busy = dial();
    began = 0;
    say(busy, get, strlen(get));
    wait_for(&began, 1);
    int64_t t = clock_mono_ns();
    http_server_stop(server, 4 * LONG_MS * MS);
    assert_true(clock_mono_ns() - t < 2 * LONG_MS * MS); // waited for the reply, not for the deadline
    hear(busy, reply, sizeof reply, NULL, LONG_MS);
    assert_non_null(strstr(reply, "connection: close\r\n"));
    assert_non_null(strstr(reply, "\r\n\r\nlate"));
    assert_true(closed(idle, LONG_MS));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
    close(idle);
    close(busy);
}

static void test_free_first(void **state) // the server goes while a thread still owes a reply
{
    const char *get = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
    began = finished = 0;
    start(state);
    int fd = dial();
    say(fd, get, strlen(get));
    wait_for(&began, 1);
    stop(state);
    wait_for(&finished, 1);
    close(fd);
}

static void test_two_loops(void **state)
{
    for (int i = 0; i < 40; i++)
        expect("/a/b", 200, "literal  \n");
    struct http_server *other;
    struct loop *l;
    struct error e = {0};
    char at[64];
    assert_int_equal(loop_new(&l, NULL), ERR_OK);
    snprintf(at, sizeof at, "127.0.0.1:%d", port);
    struct http_server_options o = {.routes = routes, .n_routes = 1};
    assert_int_equal(http_server_new(&other, at, &l, 1, &o, &e), ERR_NET); // the port is taken, and it says so
    assert_non_null(strstr(e.msg, "another program holds this port"));
    static const char *const bad[] = {"1234", "localhost", "a:b:1", "127.0.0.1:99999", "127.0.0.1:x", "no.such.host.invalid:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(http_server_new(&other, bad[i], &l, 1, &o, NULL), ERR_OK);
    loop_free(l);
}

static int start_tight(void **state)
{
    return start_with((struct http_server_options){.idle_ns = 60 * MS, .max_connections = 2}, 1);
}

static void test_idle_and_many(void **state)
{
    static char reply[KIB(64)];
    const char *get = "GET /a/b HTTP/1.1\r\nHost: a\r\n\r\n";
    int a = dial(), b = dial(), c = dial();
    usleep(5000);
    say(c, get, strlen(get)); // the third waits in the backlog until the idle ones are closed
    hear(c, reply, sizeof reply, "literal", LONG_MS);
    assert_non_null(strstr(reply, "literal"));
    assert_true(closed(a, LONG_MS) && closed(b, LONG_MS));
    hear(c, reply, sizeof reply, NULL, LONG_MS); // until it is idle, too
    struct http_session *s = http_session_new(); // a kept connection that the server closed is replaced silently
    for (int i = 0; i < 3; i++) {
        struct http_answer r = fetch(s, "/a/b", SLICE_NONE, false);
        assert_int_equal(r.status, 200);
        http_answer_free(&r);
        usleep(120000);
    }
    http_session_free(s);
    close(a);
    close(b);
    close(c);
}

// Each allocation fails in turn, in the client, the server and between: an error or an answer, never a crash or a leak.
static void test_no_memory(void **state)
{
    static char body[5000];
    char url[64];
    int answers = 0;
    for (int kind = 0; kind < 3; kind++) {
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, kind == 2 ? "/" : kind ? "/stream" : "/echo");
        for (long n = 1;; n++) {
            struct http_answer a = {0};
            struct grpc_answer g = {0};
            mem_fail_after(n);
            enum errc rc;
            if (kind == 2)
                rc = grpc_fetch(NULL, url, "/t.S/Echo", NULL, 0, slice_of(body, sizeof body), true, 3000 * MS, &g, NULL);
            else
                rc = http_fetch(NULL,
                                &(struct http_fetch){.url = url,
                                                     .method = kind ? "GET" : "POST",
                                                     .timeout_ns = 3000 * MS,
                                                     .body = slice_of(body, kind ? 0 : sizeof body)},
                                &a, NULL);
            bool hit = mem_fail_hit();
            mem_fail_after(0);
            answers += rc == ERR_OK;
            http_answer_free(&a);
            grpc_answer_free(&g);
            if (!hit) {
                assert_int_equal(rc, ERR_OK);
                break;
            }
        }
    }
    assert_true(answers >= 3);
    expect("/a/b", 200, "literal  \n");
}

// Many small parameters: memory in proportion to them.
static void test_many_params(void **state)
{
    static char path[30000];
    size_t n = (size_t)snprintf(path, sizeof path, "/weight?");
    int count = 0, kib = 0;
    for (; n + 2 < sizeof path; n += 2)
        memcpy(path + n, "a&", 2);
    char url[sizeof path + 64];
    struct http_answer a;
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = url}, &a, NULL), ERR_OK);
    assert_int_equal(a.status, 200);
    buf_char(&a.body, 0);
    assert_int_equal(sscanf(a.body.p, "%d %d", &count, &kib), 2);
    assert_int_equal(count, (int)(n - 8) / 2);
    assert_in_range(kib, 1, 8 * 1024);
    http_answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, start, stop),
        cmocka_unit_test_setup_teardown(test_bodies, start, stop),
        cmocka_unit_test_setup_teardown(test_too_large, start, stop),
        cmocka_unit_test_setup_teardown(test_continue, start, stop),
        cmocka_unit_test_setup_teardown(test_smuggling, start, stop),
        cmocka_unit_test_setup_teardown(test_pipeline, start, stop),
        cmocka_unit_test_setup_teardown(test_bytewise, start, stop),
        cmocka_unit_test_setup_teardown(test_keep_alive, start, stop),
        cmocka_unit_test_setup_teardown(test_large, start, stop),
        cmocka_unit_test_setup_teardown(test_gzip_reply, start, stop),
        cmocka_unit_test_setup_teardown(test_threads, start, stop),
        cmocka_unit_test_setup_teardown(test_abrupt, start, stop),
        cmocka_unit_test_setup_teardown(test_flood, start, stop),
        cmocka_unit_test_setup_teardown(test_grpc, start, stop),
        cmocka_unit_test_setup_teardown(test_no_memory, start, stop),
        cmocka_unit_test_setup_teardown(test_drain, start, stop),
        cmocka_unit_test_setup_teardown(test_many_params, start, stop),
        cmocka_unit_test(test_free_first),
        cmocka_unit_test_setup_teardown(test_two_loops, start_two, stop),
        cmocka_unit_test_setup_teardown(test_idle_and_many, start_tight, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
