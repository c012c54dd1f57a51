// A server with routes for every test, in a thread of its own, and raw sockets to be rude to it.
#pragma once
#include "base/clock.h"
#include "base/limits.h"
#include "net/http.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h> // needs the ones above

#define MS 1000000ll

enum { LONG_MS = 30000 }; // for what surely comes

static struct loop *loops[2];
static pthread_t threads[2];
static struct http_server *server;
static int port;
static atomic_size_t pending_seen;
static atomic_int gone_seen, refused_seen, began, finished, flood_cut, flood_over;

static void *turn(void *l)
{
    loop_run(l);
    return NULL;
}

// ---- handlers -------------------------------------------------------------------------------------------------------
static void h_name(struct http_req *r, void *arg)
{
    http_reply_text(r, 200, "%s %.*s %.*s", (const char *)arg, (int)r->param[0].n, r->param[0].p ? r->param[0].p : "",
                    (int)r->param[1].n, r->param[1].p ? r->param[1].p : "");
}

static void h_params(struct http_req *r, void *arg)
{
    struct buf b;
    struct slice name, value;
    buf_init(&b, KIB(64));
    for (int k = 0; http_req_param_at(r, k, &name, &value); k++)
        buf_printf(&b, "%.*s=%.*s;", (int)name.n, name.p, (int)value.n, value.p);
    http_reply(r, 200, SLICE("text/plain"), buf_slice(&b));
    buf_free(&b);
}

// How much memory the request's parameters took, in KiB.
static void h_weight(struct http_req *r, void *arg)
{
    struct slice name, value;
    int k = 0;
    while (http_req_param_at(r, k, &name, &value))
        k++;
    http_reply_text(r, 200, "%d %zu", k, r->arena->used / 1024);
}

static void h_echo(struct http_req *r, void *arg)
{
    http_reply_header(r, SLICE("X-Method"), r->method);
    http_reply_header(r, SLICE("x-bad"), SLICE("a\r\nx-injected: 1"));
    http_reply(r, 200, SLICE("text/plain"), r->body);
}

static void h_size(struct http_req *r, void *arg)
{
    http_reply_text(r, 200, "%zu", r->body.n);
}

static void h_grpc(struct http_req *r, void *arg)
{
    grpc_reply(r, GRPC_OK, NULL, r->body);
}

static void h_grpc_bad(struct http_req *r, void *arg)
{
    http_reply_header(r, SLICE("grpc-status-details-bin"), // code 8, one RetryInfo of 1.5 s
                      SLICE("CAgaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCAyrXuAQ"));
    grpc_reply(r, GRPC_RESOURCE_EXHAUSTED, "100% full\nü", SLICE_NONE);
}

static void *later(void *arg) // a reply from a foreign thread, 30 ms after the handler returned
{
    struct http_req *r = arg;
    usleep(30000);
    gone_seen += http_req_gone(r);
    http_reply(r, 200, SLICE("text/plain"), SLICE("late"));
    finished++;
    return NULL;
}

static void *stream(void *arg)
{
    struct http_req *r = arg;
    http_stream_begin(r, 200, SLICE("text/event-stream"));
    for (int i = 0; i < 100; i++) {
        char line[32];
        http_stream_write(r, slice_of(line, (size_t)snprintf(line, sizeof line, "data: %d\n\n", i)));
        if (i % 10 == 0)
            usleep(500);
    }
    http_stream_end(r);
    finished++;
    return NULL;
}

static void *flood(void *arg) // writes until the server cuts it
{
    struct http_req *r = arg;
    char *block = calloc(1, MIB(1));
    http_stream_begin(r, 200, SLICE("application/octet-stream"));
    for (int i = 0; i < 400 && !http_req_gone(r); i++) {
        http_stream_write(r, slice_of(block, MIB(1)));
        if (http_stream_pending(r) > pending_seen)
            pending_seen = http_stream_pending(r);
        usleep(200);
    }
    for (int i = 0; i < 20000 && !http_req_gone(r); i++) // its loop may be late to cut
        usleep(1000);
    flood_cut = http_req_gone(r);
    http_stream_end(r);
    free(block);
    flood_over = 1;
    return NULL;
}

static void h_thread(struct http_req *r, void *arg)
{
    pthread_t t;
    began++;
    pthread_create(&t, NULL, (void *(*)(void *))arg, r);
    pthread_detach(t);
}

static void refused(struct http_req *r, int status, const char *why, void *arg)
{
    refused_seen++;
    http_reply_text(r, status, "refused: %s", why);
}

static const struct http_route routes[] = {
    {"GET", "/a/{x}", h_name, "capture"},
    {"GET", "/a/b", h_name, "literal"},
    {"GET", "/a/{*}", h_name, "rest"},
    {"GET", "/a/{x}/c/{y}", h_name, "two"},
    {"GET", "/", h_name, "root"},
    {"GET", "/params", h_params},
    {"POST", "/params", h_params, NULL, KIB(64)},
    {"GET", "/weight", h_weight},
    {"POST", "/echo", h_echo, NULL, MIB(32)},
    {"GET", "/echo", h_echo},
    {"POST", "/small", h_size, NULL, 1000},
    {"POST", "/none", h_size},
    {"GET", "/later", h_thread, (void *)later},
    {"GET", "/stream", h_thread, (void *)stream},
    {"GET", "/flood", h_thread, (void *)flood},
    {"GRPC", "/t.S/Echo", h_grpc, NULL, MIB(32)},
    {"GRPC", "/t.S/Small", h_grpc, NULL, 1000},
    {"GRPC", "/t.S/Bad", h_grpc_bad, NULL, 1000},
};

static int start_with(struct http_server_options o, int n_loops)
{
    struct error e = {0};
    o.routes = routes;
    o.n_routes = sizeof routes / sizeof *routes;
    for (int i = 0; i < n_loops; i++)
        assert_int_equal(loop_new(&loops[i], NULL), ERR_OK);
    if (http_server_new(&server, "127.0.0.1:0", loops, (size_t)n_loops, &o, &e) != ERR_OK)
        fail_msg("%s", e.msg);
    port = http_server_port(server);
    for (int i = 0; i < n_loops; i++)
        pthread_create(&threads[i], NULL, turn, loops[i]);
    return 0;
}

static inline int start(void **state)
{
    return start_with((struct http_server_options){.refused = refused}, 1);
}
static inline int start_two(void **state)
{
    return start_with((struct http_server_options){0}, 2);
}

static int stop(void **state)
{
    for (int i = 0; i < 2 && loops[i]; i++) {
        loop_stop(loops[i]);
        pthread_join(threads[i], NULL);
    }
    http_server_free(server);
    for (int i = 0; i < 2; i++) {
        loop_free(loops[i]);
        loops[i] = NULL;
    }
    return 0;
}

// ---- raw sockets ----------------------------------------------------------------------------------------------------
static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        p += k;
        n -= (size_t)k;
    }
}

// Reads until the peer closes, `until` was seen, or wait_ms passed without a byte. The text is 0-terminated.
static size_t hear(int fd, char *out, size_t cap, const char *until, int wait_ms)
{
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    out[0] = 0;
    while (n + 1 < cap && poll(&p, 1, wait_ms) > 0) {
        ssize_t k = recv(fd, out + n, cap - 1 - n, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
        out[n] = 0;
        if (until && strstr(out, until))
            break;
    }
    return n;
}

static inline bool closed(int fd, int wait_ms)
{
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, wait_ms) > 0 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

// One request on its own connection; the reply's text.
static inline const char *ask(const char *text)
{
    static char reply[KIB(64)];
    int fd = dial();
    say(fd, text, strlen(text));
    shutdown(fd, SHUT_WR); // the server closes once it has answered
    hear(fd, reply, sizeof reply, NULL, LONG_MS);
    close(fd);
    return reply;
}

static inline void wait_for(atomic_int *v, int at_least)
{
    for (int i = 0; i < 30000 && *v < at_least; i++)
        usleep(1000);
    assert_true(*v >= at_least);
}

static struct http_answer fetch(struct http_session *s, const char *path, struct slice body, bool gzip)
{
    char url[256];
    struct http_answer a;
    struct error e = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
    struct http_fetch f = {.url = url, .body = body, .gzip = gzip, .timeout_ns = 20000 * MS};
    if (http_fetch(s, &f, &a, &e) != ERR_OK)
        fail_msg("%s: %s", path, e.msg);
    return a;
}

static inline void expect(const char *path, int status, const char *text)
{
    struct http_answer a = fetch(NULL, path, SLICE_NONE, false);
    if (a.status != status || !slice_eq(buf_slice(&a.body), slice_str(text)))
        fail_msg("%s → %d %.*s", path, a.status, (int)a.body.n, a.body.p);
    http_answer_free(&a);
}
