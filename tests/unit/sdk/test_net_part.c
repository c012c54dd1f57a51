// The table between libsonde and its half with sockets: the client's calls and the small server, as the exporter and the status
// server use them.
#include "check.h"
#include "sdk/net_part.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void handler(const struct net_request *q, struct net_reply *out, void *arg)
{
    ++*(int *)arg;
    if (slice_eq(q->path, SLICE("/teapot"))) {
        out->status = 418;
        out->content_type = SLICE("application/json");
        out->headers[out->n_headers++] = (struct http_header){SLICE("x-one"), SLICE("1")};
        out->headers[out->n_headers++] = (struct http_header){SLICE("x-two"), SLICE("2")};
        buf_str(&out->body, "{}");
        return;
    }
    buf_printf(&out->body, "%.*s %.*s %.*s %zu loopback=%d", (int)q->method.n, q->method.p, (int)q->path.n, q->path.p,
               (int)q->query.n, q->query.p, q->body.n, q->loopback);
    for (size_t i = 0; i < q->n_headers; i++) {
        if (slice_eq(q->headers[i].name, SLICE("x-mine")))
            buf_add(&out->body, q->headers[i].value);
    }
}

static int calls;
static struct net_server *server;
static char base[64];

static int start(void **state)
{
    struct net_server_options o = {
        .address = "127.0.0.1:0", .thread = "sonde-test", .fn = handler, .arg = &calls, .body_max = 1000, .stall_ns = 300000000};
    if (net_part()->serve(&server, &o, NULL) != ERR_OK)
        return -1;
    snprintf(base, sizeof base, "http://127.0.0.1:%d", net_part()->port(server));
    return 0;
}

static int stop(void **state)
{
    net_part()->close(server);
    return 0;
}

static void test_table(void **state)
{
    (void)state;
    CHECK(net_part() == sonde_net_part(NET_PART_VERSION));
    CHECK(!sonde_net_part(NET_PART_VERSION + 1));
    CHECK(net_part()->version == NET_PART_VERSION && strcmp(net_part()->build, SONDE_VERSION) == 0);
    CHECK(net_gzip());
    net_part()->close(NULL);
    net_part()->forget(NULL);
    net_part()->session_free(NULL);
    check_done();
}

static void test_server(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        size_t body;
        int status;
        const char *reply;
    } t[] = {{"GET", "/metrics?a=1&b=%20", 0, 200, "GET /metrics a=1&b=%20 0 loopback=1mine"},
             {"GET", "/a%20b/%C3%A9", 0, 200, "GET /a b/\xc3\xa9  0 loopback=1mine"},
             {"GET", "/", 0, 200, "GET /  0 loopback=1mine"},
             {"HEAD", "/metrics", 0, 200, ""},
             {"POST", "/level", 1000, 200, "POST /level  1000 loopback=1mine"},
             {"PUT", "/level", 3, 200, "PUT /level  3 loopback=1mine"},
             {"DELETE", "/level", 0, 200, "DELETE /level  0 loopback=1mine"},
             {"POST", "/level", 1001, 413, NULL},
             {"GET", "/teapot", 0, 418, "{}"},
             {"GET", "/bad%zz", 0, 400, NULL}};
    static char body[2000];
    struct http_session *s = net_part()->session_new();
    for (size_t i = 0; i < CHECK_ROWS(t); i++) {
        char url[128];
        struct http_answer a;
        struct http_header mine = {SLICE("x-mine"), SLICE("mine")};
        struct error err = {0};
        snprintf(url, sizeof url, "%s%s", base, t[i].path);
        check_row("%s %s", t[i].method, t[i].path);
        struct http_fetch f = {.url = url,
                               .method = t[i].method,
                               .headers = &mine,
                               .n_headers = 1,
                               .body = slice_of(body, t[i].body),
                               .accept_gzip = true};
        CHECK_INT(net_part()->fetch(s, &f, &a, &err), ERR_OK);
        CHECK_INT(a.status, t[i].status);
        if (t[i].reply)
            CHECK_STR(buf_slice(&a.body), t[i].reply);
        if (t[i].status == 418) {
            int seen = 0;
            CHECK_STR(a.content_type, "application/json");
            for (size_t k = 0; k < a.n_headers; k++)
                seen += slice_eq(a.headers[k].name, SLICE("x-one")) || slice_eq(a.headers[k].name, SLICE("x-two"));
            CHECK_INT(seen, 2);
        }
        net_part()->answer_free(&a);
    }
    net_part()->session_free(s);
    check_done();
}

static void test_addresses(void **state)
{
    (void)state;
    struct net_server *s = NULL;
    static const char *const bad[] = {"", "nonsense", "127.0.0.1:99999", "203.0.113.1:0", "127.0.0.1"};
    for (size_t i = 0; i < CHECK_ROWS(bad); i++) {
        struct error err = {0};
        struct net_server_options o = {.address = bad[i], .fn = handler, .arg = &calls};
        check_row("%s", bad[i]);
        CHECK(net_part()->serve(&s, &o, &err) != ERR_OK && err.msg[0]);
    }
    char taken[32];
    struct net_server_options o = {.address = taken, .fn = handler, .arg = &calls};
    struct error err = {0};
    snprintf(taken, sizeof taken, "127.0.0.1:%d", net_part()->port(server));
    check_row("a port in use");
    CHECK(net_part()->serve(&s, &o, &err) != ERR_OK && strstr(err.msg, taken));
    check_done();
}

// A child that forgets the server leaves the parent's alone, and does not keep its port.
static void test_fork(void **state)
{
    (void)state;
    struct http_session *s = net_part()->session_new();
    struct http_answer a;
    CHECK_INT(net_part()->fetch(s, &(struct http_fetch){.url = base}, &a, NULL), ERR_OK); // a connection stands
    net_part()->answer_free(&a);
    pid_t child = fork();
    if (child == 0) {
        net_part()->forget(server);
        pause();
    }
    for (int i = 0; i < 20; i++) {
        CHECK_INT(net_part()->fetch(i % 2 ? s : NULL, &(struct http_fetch){.url = base, .timeout_ns = 2000000000}, &a, NULL),
                  ERR_OK);
        net_part()->answer_free(&a);
        usleep(1000);
    }
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", net_part()->port(server));
    net_part()->close(server);
    struct net_server_options o = {.address = address, .fn = handler, .arg = &calls};
    CHECK_INT(net_part()->serve(&server, &o, NULL), ERR_OK);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    net_part()->session_free(s);
    check_done();
}

static void test_session_files(void **state)
{
    (void)state;
    struct http_session *s = net_part()->session_new();
    struct error err = {0};
    CHECK_INT(net_part()->session_tls(s, &(struct tls_options){.ca_file = "/nowhere/ca.pem"}, &err), ERR_INPUT);
    CHECK(strstr(err.msg, "/nowhere/ca.pem cannot be read"));
    net_part()->session_free(s);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_server),
                                       cmocka_unit_test(test_addresses), cmocka_unit_test(test_session_files),
                                       cmocka_unit_test(test_fork)};
    return cmocka_run_group_tests_name("net_part", tests, start, stop);
}
