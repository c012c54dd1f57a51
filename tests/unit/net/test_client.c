// The client: pool, streams, cancel, timeouts, and servers that misbehave.
#include "net_test.h"

// ---- asynchronous calls ---------------------------------------------------------------------------------------------
struct call_state {
    int status, done, ok;
    size_t bytes;
    enum errc why;
    int cancel_after; // data callbacks, 0 never
    struct http_client *client;
    const char *chain; // started from on_done
};

static void on_head(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg)
{
    ((struct call_state *)arg)->status = status;
}

static void on_data(struct http_call *c, struct slice bytes, void *arg)
{
    struct call_state *s = arg;
    s->bytes += bytes.n;
    if (s->cancel_after && --s->cancel_after == 0)
        http_call_cancel(c);
}

static void on_done(struct http_call *c, bool ok, const struct error *why, void *arg);

static struct http_call *start_call(struct http_client *c, const char *path, bool http2, int64_t timeout, struct call_state *s)
{
    char url[128];
    struct http_call *k = NULL;
    struct error e = {0};
    snprintf(url, sizeof url, "http://localhost:%d%s", port, path);
    struct http_call_options o = {.method = "GET", .url = url, .http2 = http2, .timeout_ns = timeout, .arg = s};
    o.on_head = on_head;
    o.on_data = on_data;
    o.on_done = on_done;
    s->client = c;
    if (http_client_start(c, &o, &k, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    return k;
}

static void on_done(struct http_call *c, bool ok, const struct error *why, void *arg)
{
    struct call_state *s = arg;
    s->done++;
    s->ok = ok;
    s->why = ok ? ERR_OK : why->code;
    if (s->chain) { // the connection is free again
        const char *path = s->chain;
        s->chain = NULL;
        start_call(s->client, path, false, 0, s);
    }
}

static struct loop *mine;
static struct http_client *client;

static void turn_until(const int *done, int want)
{
    int64_t end = clock_mono_ns() + 10000 * MS;
    while (*done < want && clock_mono_ns() < end)
        loop_turn(mine, 50 * MS);
    assert_int_equal(*done, want);
}

static void open_client(void)
{
    assert_int_equal(loop_new(&mine, NULL), ERR_OK);
    assert_int_equal(http_client_new(&client, mine, NULL), ERR_OK);
}

static void close_client(void)
{
    http_client_free(client);
    loop_free(mine);
}

static void test_many(void **state)
{
    enum { N = 150 };
    static struct call_state s[N];
    open_client();
    for (int http2 = 0; http2 < 2; http2++) {
        memset(s, 0, sizeof s);
        for (int i = 0; i < N; i++)
            start_call(client, i % 3 == 0 ? "/stream" : i % 3 == 1 ? "/a/b" : "/nowhere", http2, 0, &s[i]);
        for (int i = 0; i < N; i++) {
            turn_until(&s[i].done, 1);
            assert_true(s[i].ok);
            assert_int_equal(s[i].status, i % 3 == 2 ? 404 : 200);
            assert_int_equal(s[i].bytes, i % 3 == 0 ? 990 : i % 3 == 1 ? 10 : 30);
        }
    }
    close_client();
}

static void test_chain(void **state)
{
    struct call_state s = {.chain = "/a/b"};
    open_client();
    start_call(client, "/a/b", false, 0, &s);
    turn_until(&s.done, 2);
    assert_true(s.ok && s.bytes == 20);
    close_client();
}

static void test_cancel(void **state)
{
    open_client();
    for (int http2 = 0; http2 < 2; http2++) {
        struct call_state a = {.cancel_after = 1}, b = {0}, c = {0}, d = {0};
        struct http_call *k = start_call(client, "/later", http2, 0, &b);
        http_call_cancel(k); // before anything was sent
        assert_int_equal(b.done, 1);
        assert_int_equal(b.why, ERR_CANCELLED);
        start_call(client, "/stream", http2, 0, &a); // from its own callback
        k = start_call(client, "/later", http2, 0, &c);
        start_call(client, "/later", http2, 0, &d);
        turn_until(&a.done, 1);
        assert_int_equal(a.why, ERR_CANCELLED);
        http_call_cancel(k); // while waiting for the reply
        assert_int_equal(c.why, ERR_CANCELLED);
        turn_until(&d.done, 1); // its neighbour is not harmed
        assert_true(d.ok && d.bytes == 4);
    }
    struct call_state e = {0}, f = {0};
    start_call(client, "/later", false, 0, &e);
    start_call(client, "/later", true, 0, &f);
    loop_turn(mine, 0);
    close_client(); // cancels what is under way
    assert_true(e.why == ERR_CANCELLED && f.why == ERR_CANCELLED);
}

static void test_timeout(void **state)
{
    open_client();
    for (int http2 = 0; http2 < 2; http2++) {
        struct call_state s = {0}, t = {0};
        start_call(client, "/later", http2, 5 * MS, &s);
        start_call(client, "/later", http2, 5000 * MS, &t);
        turn_until(&s.done, 1);
        assert_int_equal(s.why, ERR_TIMEOUT);
        turn_until(&t.done, 1);
        assert_true(t.ok);
    }
    close_client();
}

// ---- servers that misbehave -----------------------------------------------------------------------------------------
struct fake {
    int fd;
    atomic_int accepts;
    const char *_Atomic say;
    bool wait; // for a request before it speaks
};

static void *fake_run(void *arg)
{
    struct fake *f = arg;
    char in[KIB(16)];
    for (int fd; (fd = accept(f->fd, NULL, NULL)) >= 0; close(fd)) {
        f->accepts++;
        if (f->wait)
            hear(fd, in, sizeof in, "\r\n\r\n", LONG_MS);
        say(fd, f->say, strlen(f->say));
        shutdown(fd, SHUT_WR);
        hear(fd, in, sizeof in, NULL, 200);
    }
    return NULL;
}

static void fake_open(struct fake *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(f->fd, (struct sockaddr *)&a, n) | listen(f->fd, 8) | getsockname(f->fd, (struct sockaddr *)&a, &n), 0);
    port = ntohs(a.sin_port);
}

static void test_fakes(void **state)
{
    static const struct {
        const char *say;
        enum errc rc;
        const char *body;
        int status;
    } t[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ERR_OK, "hi", 200},
        {"HTTP/1.1 200 OK\r\n\r\nuntil the end", ERR_OK, "until the end", 200},
        {"HTTP/1.0 200 OK\r\n\r\nuntil the end", ERR_OK, "until the end", 200},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 201 X\r\nContent-Length: 1\r\n\r\nz", ERR_OK,
         "z", 201},
        {"HTTP/1.1 204 No Content\r\n\r\n", ERR_OK, "", 204},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n", ERR_OK, "hi!", 200},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more", ERR_OK, "hi", 200},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", ERR_CLOSED, NULL, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", ERR_CLOSED, NULL, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", ERR_NET, NULL, 0},
        {"HTTP/1.1 200 OK\r\nContent-Le", ERR_CLOSED, NULL, 0},
        {"", ERR_CLOSED, NULL, 0},
        {"SSH-2.0-OpenSSH\r\n\r\n", ERR_NET, NULL, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", ERR_NET, NULL, 0},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", ERR_NET, NULL, 0},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct fake f = {.say = t[i].say, .wait = true};
        pthread_t th;
        char url[64];
        struct http_answer a;
        struct error e = {0};
        fake_open(&f);
        pthread_create(&th, NULL, fake_run, &f);
        snprintf(url, sizeof url, "http://127.0.0.1:%d/x", port);
        enum errc rc = http_fetch(NULL, &(struct http_fetch){.url = url, .timeout_ns = 3000 * MS}, &a, &e);
        if (rc != t[i].rc)
            fail_msg("%s → %d %s", t[i].say, rc, e.msg);
        assert_int_equal(rc, e.code);
        assert_int_equal(a.status, t[i].status);
        if (t[i].body)
            assert_true(slice_eq(buf_slice(&a.body), slice_str(t[i].body)));
        http_answer_free(&a);
        struct grpc_answer g;
        assert_int_not_equal(grpc_fetch(NULL, url, "", NULL, 0, SLICE("x"), false, 1000 * MS, &g, NULL), ERR_OK);
        grpc_answer_free(&g);
        shutdown(f.fd, SHUT_RDWR);
        pthread_join(th, NULL);
        close(f.fd);
    }
}

// ---- peers that hold a call up: its deadline ends it, whatever they do ----------------------------------------------
enum stall { SILENT, DRIPS_HEAD, DRIPS_BODY, DRIPS_CHUNKS, NEVER_READS, ENDLESS_HEAD, STALLS };

struct staller {
    int fd;
    enum stall kind;
    atomic_bool stop;
};

static void *stall_run(void *arg)
{
    static const char *const open_with[STALLS] = {[SILENT] = "",
                                                  [DRIPS_HEAD] = "HTTP/1.1 200 OK\r\nA: ",
                                                  [DRIPS_BODY] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
                                                  [DRIPS_CHUNKS] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                                  [NEVER_READS] = "",
                                                  [ENDLESS_HEAD] = "HTTP/1.1 200 OK\r\n"};
    struct staller *s = arg;
    char in[KIB(4)];
    int fd = accept(s->fd, NULL, NULL);
    if (fd < 0)
        return NULL;
    if (s->kind != NEVER_READS)
        hear(fd, in, sizeof in, "\r\n\r\n", LONG_MS);
    say(fd, open_with[s->kind], strlen(open_with[s->kind]));
    while (!s->stop) {
        const char *piece = s->kind == DRIPS_CHUNKS ? "1\r\nx\r\n" : s->kind == ENDLESS_HEAD ? "Name: value\r\n" : "x";
        if (s->kind != SILENT && s->kind != NEVER_READS && send(fd, piece, strlen(piece), MSG_NOSIGNAL) < 0)
            break;
        usleep(s->kind == ENDLESS_HEAD ? 100 : 5000);
    }
    close(fd);
    return NULL;
}

static void test_deadlines(void **state)
{
    size_t large = MIB(32);
    char *body = calloc(1, large);
    for (int i = 0; i < STALLS * 2; i++) {
        struct fake f = {0};
        struct error e = {0};
        char url[64];
        pthread_t th;
        bool grpc = i >= STALLS;
        fake_open(&f);
        struct staller s = {.fd = f.fd, .kind = (enum stall)(i % STALLS)};
        pthread_create(&th, NULL, stall_run, &s);
        snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
        struct slice request = slice_of(body, s.kind == NEVER_READS ? large : 3);
        int64_t begin = clock_mono_ns();
        enum errc rc;
        if (grpc) {
            struct grpc_answer g;
            rc = grpc_fetch(NULL, url, "/a/b", NULL, 0, request, false, 150 * MS, &g, &e);
        } else {
            struct http_answer a;
            rc = http_fetch(NULL, &(struct http_fetch){.url = url, .body = request, .timeout_ns = 150 * MS}, &a, &e);
        }
        int64_t took = clock_mono_ns() - begin;
        // a gRPC client, and one that is flooded with headers, sees the nonsense before its deadline
        bool early = s.kind == ENDLESS_HEAD || (grpc && s.kind != SILENT && s.kind != NEVER_READS);
        if (rc == ERR_OK || (!early && rc != ERR_TIMEOUT) || took > LONG_MS * MS || (!early && took < 140 * MS))
            fail_msg("kind %d%s: %d after %lld ms: %s", s.kind, grpc ? " gRPC" : "", rc, (long long)(took / MS), e.msg);
        s.stop = true;
        shutdown(f.fd, SHUT_RDWR);
        pthread_join(th, NULL);
        close(f.fd);
    }
    free(body);
}

// A listener whose backlog is full: the connection never comes about.
static void test_half_open(void **state)
{
    struct fake f = {0};
    struct error e = {0};
    struct http_answer a;
    char url[64];
    int fill[64];
    fake_open(&f);
    listen(f.fd, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    for (int i = 0; i < 64; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = url, .timeout_ns = 200 * MS}, &a, &e), ERR_TIMEOUT);
    assert_non_null(strstr(e.msg, "no connection to 127.0.0.1"));
    for (int i = 0; i < 64; i++)
        close(fill[i]);
    close(f.fd);
}

// A kept connection that turns out dead is replaced once; a fresh one that fails is an error at once.
static void test_retry(void **state)
{
    struct fake f = {.say = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", .wait = true};
    pthread_t th;
    struct http_session *s = http_session_new();
    fake_open(&f);
    pthread_create(&th, NULL, fake_run, &f);
    for (int i = 0; i < 3; i++) { // says keep-alive, and closes all the same
        struct http_answer a = fetch(s, "/", SLICE("body"), false);
        assert_int_equal(a.status, 200);
        http_answer_free(&a);
    }
    assert_int_equal(f.accepts, 3);
    f.say = "";
    f.accepts = 0;
    struct http_answer a;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    usleep(250000);
    assert_int_equal(http_fetch(s, &(struct http_fetch){.url = url}, &a, NULL), ERR_CLOSED);
    assert_int_equal(f.accepts, 1);
    shutdown(f.fd, SHUT_RDWR);
    pthread_join(th, NULL);
    close(f.fd);
    http_session_free(s);
}

static void test_errors(void **state)
{
    struct http_answer a;
    struct error e = {0};
    struct http_header bad = {SLICE("x"), SLICE("a\r\nb: c")};
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = "http://127.0.0.1:1/"}, &a, &e), ERR_NET);
    assert_non_null(strstr(e.msg, "cannot connect to 127.0.0.1:1"));
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = "http://no.such.host.invalid/"}, &a, NULL), ERR_NET);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = "https://127.0.0.1:1/"}, &a, NULL), ERR_NET);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = "x"}, &a, NULL), ERR_INPUT);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = "http://a/", .headers = &bad, .n_headers = 1}, &a, NULL),
                     ERR_INPUT);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = "http://a/", .method = "G T"}, &a, NULL), ERR_INPUT);
}

static bool three(struct slice bytes, void *arg)
{
    return --*(int *)arg > 0;
}

static void test_fetch_streams(void **state)
{
    int left = 1;
    char url[64];
    struct http_answer a;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/stream", port);
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = url, .on_data = three, .arg = &left}, &a, NULL), ERR_OK);
    assert_int_equal(a.status, 200);
    assert_true(slice_eq(a.content_type, SLICE("text/event-stream")));
    http_answer_free(&a);
    assert_int_equal(left, 0);
    struct error e = {0};
    assert_int_equal(http_fetch(NULL, &(struct http_fetch){.url = url, .reply_max = 100}, &a, &e), ERR_LIMIT);
    assert_int_equal(e.code, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many, start, stop),
        cmocka_unit_test_setup_teardown(test_chain, start, stop),
        cmocka_unit_test_setup_teardown(test_cancel, start, stop),
        cmocka_unit_test_setup_teardown(test_timeout, start, stop),
        cmocka_unit_test_setup_teardown(test_fetch_streams, start_two, stop),
        cmocka_unit_test(test_fakes),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_half_open),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
