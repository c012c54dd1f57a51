// TLS: the filter without a socket (two ends hand each other their bytes), then whole calls over sockets. Certificates are made
// by the openssl command.
#include "base/limits.h"
#include "check.h"
#include "net/tls.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[] = "/tmp/sonde-tls-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[8][100];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static int make_certificates(void **state)
{
    // good and other: for 127.0.0.1 and localhost, of two authorities; wrong: for another name; expired: of the past; client: any
    static const char script[] =
        "cd '%s' && for ca in ca ca2; do openssl req -x509 -newkey rsa:2048 -nodes -keyout $ca.key -out $ca.pem -subj /CN=$ca "
        "-days 30 2>/dev/null || exit 1; done\n"
        "make() { printf 'subjectAltName=%%s\\n' \"$3\" >ext; openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr "
        "-subj /CN=$1 2>/dev/null && openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -extfile ext "
        "-out $1.pem -days $4 2>/dev/null; }\n"
        "here=IP:127.0.0.1,DNS:localhost\n"
        "make good ca $here 30 && make other ca2 $here 30 && make wrong ca DNS:elsewhere.example 30 && make expired ca $here -1 "
        "&& "
        "make client ca DNS:client 30 && make stranger ca2 DNS:client 30";
    char command[2000];
    if (!mkdtemp(dir) || system("command -v openssl >/dev/null") != 0)
        return -1;
    snprintf(command, sizeof command, script, dir);
    return system(command) == 0 ? 0 : -1;
}

static int remove_certificates(void **state)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

// ---- two ends -------------------------------------------------------------------------------------------------------
struct ends {
    struct tls *client, *server;
    struct error client_error, server_error;
    enum tls_state c, s;
};

// Carries bytes in pieces of `step`.
static bool carry(struct tls *from, struct tls *to, size_t step)
{
    struct seg_queue q = {0};
    char piece[20000];
    bool any = false;
    assert_true(tls_output(from, &q));
    for (size_t n; (n = segs_take(&q, piece, step)); any = true)
        assert_true(tls_feed(to, piece, n));
    return any;
}

static void shake(struct ends *e, size_t step)
{
    e->c = e->s = TLS_WAIT;
    for (int i = 0; i < 20 && e->c != TLS_FAILED && (e->c != TLS_OK || e->s != TLS_OK); i++) {
        if (e->c == TLS_WAIT)
            e->c = tls_handshake(e->client, &e->client_error);
        carry(e->client, e->server, step);
        if (e->s == TLS_WAIT)
            e->s = tls_handshake(e->server, &e->server_error);
        carry(e->server, e->client, step);
    }
}

static const struct row {
    const char *name, *certificate, *ca, *server_name, *client_ca, *client;
    const char *error; // of the client, part of it; null: it works
} rows[] = {
    {"plain case", "good", "ca", NULL, NULL, NULL, NULL},
    {"unknown authority", "other", "ca", NULL, NULL, NULL, "authority unknown here"},
    {"wrong name", "wrong", "ca", NULL, NULL, NULL, "for another name"},
    {"name given", "wrong", "ca", "elsewhere.example", NULL, NULL, NULL},
    {"expired", "expired", "ca", NULL, NULL, NULL, "has expired"},
    {"certificate of the client", "good", "ca", NULL, "ca", "client", NULL},
    {"none", "good", "ca", NULL, "ca", NULL, "certificate of the client is required"},
    {"of a stranger", "good", "ca", NULL, "ca", "stranger", "refused our certificate"},
};

static struct tls_server *server_of(const char *certificate, const char *client_ca)
{
    struct tls_server *s = NULL;
    struct error err = {0};
    char cert[100], key[100], ca[100] = "";
    snprintf(cert, sizeof cert, "%s/%s.pem", dir, certificate);
    snprintf(key, sizeof key, "%s/%s.key", dir, certificate);
    if (client_ca)
        snprintf(ca, sizeof ca, "%s/%s.pem", dir, client_ca);
    CHECK_INT(tls_server_new(&s, cert, key, ca, NULL, &err), ERR_OK);
    return s;
}

static struct tls_options options_of(const struct row *r)
{
    static char ca[100], cert[100], key[100];
    snprintf(ca, sizeof ca, "%s/%s.pem", dir, r->ca);
    snprintf(cert, sizeof cert, "%s/%s.pem", dir, r->client ? r->client : "");
    snprintf(key, sizeof key, "%s/%s.key", dir, r->client ? r->client : "");
    return (struct tls_options){
        .ca_file = ca, .cert_file = r->client ? cert : NULL, .key_file = r->client ? key : "", .server_name = r->server_name};
}

static void test_two_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        const struct row *r = &rows[i];
        struct tls_options o = options_of(r);
        struct tls_server *server = server_of(r->certificate, r->client_ca);
        struct tls_context *context = NULL;
        struct ends e = {0};
        char got[100];
        size_t n = 0;
        check_row("%s", r->name);
        CHECK_INT(tls_client_context(&context, &o, NULL), ERR_OK);
        e.client = tls_client(context, "127.0.0.1", i % 2);
        e.server = tls_accept(server);
        shake(&e, i % 2 ? 1 : 20000);
        if (e.c == TLS_OK) { // with TLS 1.3 a refusal comes with the first read
            CHECK(tls_push(e.client, "hello", 5));
            carry(e.client, e.server, 20000);
            if (tls_pull(e.server, got, sizeof got, &n, &e.server_error) == TLS_OK) {
                CHECK(n == 5 && memcmp(got, "hello", 5) == 0);
                CHECK(tls_push(e.server, "hi", 2));
            }
            carry(e.server, e.client, 20000);
            e.c = tls_pull(e.client, got, sizeof got, &n, &e.client_error);
        }
        if (r->error) {
            CHECK_INT(e.c, TLS_FAILED);
            if (!strstr(e.client_error.msg, r->error))
                CHECK_STR(slice_str(e.client_error.msg), r->error);
        } else {
            CHECK(e.c == TLS_OK && n == 2);
            CHECK_INT(tls_is_h2(e.server), i % 2);
            CHECK_INT(tls_is_h2(e.client), i % 2);
            tls_close(e.client);
            carry(e.client, e.server, 1);
            CHECK_INT(tls_pull(e.server, got, sizeof got, &n, NULL), TLS_END);
        }
        tls_free(e.client);
        tls_free(e.server);
        tls_context_free(context);
        tls_server_free(server);
    }
    check_done();
}

static void test_files(void **state)
{
    (void)state;
    struct tls_context *c = NULL;
    struct tls_server *s = NULL;
    static const struct {
        const char *ca, *cert, *key, *error;
    } t[] = {{"nothing", "", "", "nothing cannot be read: No such file"},
             {"good.key", "", "", "good.key cannot be used"},
             {"ca.pem", "good.pem", "", "belong together"},
             {"ca.pem", "good.pem", "other.key", "does not belong to the certificate"},
             {"ca.pem", "good.key", "good.key", "the certificate"},
             {"ca.pem", "good.pem", "ext", "the key"}};
    for (size_t i = 0; i < CHECK_ROWS(t); i++) {
        struct error err = {0};
        struct tls_options o = {.ca_file = in_dir(t[i].ca),
                                .cert_file = *t[i].cert ? in_dir(t[i].cert) : "",
                                .key_file = *t[i].key ? in_dir(t[i].key) : ""};
        check_row("%s", t[i].error);
        CHECK_INT(tls_client_context(&c, &o, &err), ERR_INPUT);
        CHECK(strstr(err.msg, t[i].error));
    }
    check_row("server");
    CHECK_INT(tls_server_new(&s, in_dir("good.pem"), in_dir("other.key"), NULL, NULL, NULL), ERR_INPUT);
    CHECK_INT(tls_server_new(&s, in_dir("good.pem"), in_dir("good.key"), in_dir("nothing"), NULL, NULL), ERR_INPUT);
    check_done();
}

static char told[600];
static void tell(const char *text)
{
    snprintf(told, sizeof told, "%s", text);
}

static void copy(const char *from, const char *to)
{
    char command[300];
    snprintf(command, sizeof command, "cp '%s' '%s'", in_dir(from), in_dir(to));
    assert_int_equal(system(command), 0);
}

// Does a client that trusts this authority get through?
static bool reaches(struct tls_server *s, const char *ca)
{
    struct tls_options o = {.ca_file = in_dir(ca)};
    struct tls_context *context = NULL;
    struct ends e = {0};
    CHECK_INT(tls_client_context(&context, &o, NULL), ERR_OK);
    e.client = tls_client(context, "localhost", false);
    e.server = tls_accept(s);
    shake(&e, 20000);
    tls_free(e.client);
    tls_free(e.server);
    tls_context_free(context);
    return e.c == TLS_OK && e.s == TLS_OK;
}

static void test_reload(void **state)
{
    (void)state;
    struct tls_server *s = NULL;
    const struct timespec more_than_a_second = {1, 50000000};
    copy("good.pem", "now.pem");
    copy("good.key", "now.key");
    CHECK_INT(tls_server_new(&s, in_dir("now.pem"), in_dir("now.key"), NULL, tell, NULL), ERR_OK);
    CHECK(reaches(s, "ca.pem") && !reaches(s, "ca2.pem") && !told[0]);
    copy("other.pem", "now.pem"); // half of it
    nanosleep(&more_than_a_second, NULL);
    CHECK(reaches(s, "ca.pem"));
    CHECK(strstr(told, "the ones before stay") && strstr(told, "does not belong"));
    copy("other.key", "now.key");
    nanosleep(&more_than_a_second, NULL);
    CHECK(reaches(s, "ca2.pem") && !reaches(s, "ca.pem"));
    CHECK(strstr(told, "now.pem was read again"));
    tls_server_free(s);
    check_done();
}

// ---- whole calls ----------------------------------------------------------------------------------------------------
static void echo(struct http_req *q, void *arg)
{
    if (q->route->body_max == 1)
        grpc_reply(q, GRPC_OK, "", SLICE("x"));
    else if (slice_starts(q->path, SLICE("/t.S")))
        grpc_reply(q, GRPC_OK, "", q->body);
    else
        http_reply(q, 200, SLICE("application/octet-stream"), q->body);
}

static struct http_server *http;
static struct loop *server_loop;
static pthread_t server_thread;

static void *run_loop(void *l)
{
    loop_run(l);
    return NULL;
}

static int serve(struct tls_server *tls)
{
    static const struct http_route routes[] = {{.method = "POST", .path = "/echo", .fn = echo, .body_max = MIB(64)},
                                               {.method = "GRPC", .path = "/t.S/Echo", .fn = echo, .body_max = MIB(64)}};
    struct http_server_options o = {.routes = routes, .n_routes = 2, .tls = tls};
    struct error err = {0};
    assert_int_equal(loop_new(&server_loop, &err), ERR_OK);
    assert_int_equal(http_server_new(&http, "127.0.0.1:0", &server_loop, 1, &o, &err), ERR_OK);
    pthread_create(&server_thread, NULL, run_loop, server_loop);
    return http_server_port(http);
}

static void end_serving(void)
{
    http_server_stop(http, 100000000);
    loop_stop(server_loop);
    pthread_join(server_thread, NULL);
    http_server_free(http);
    loop_free(server_loop);
}

static void test_calls(void **state)
{
    (void)state;
    struct tls_server *tls = server_of("good", "ca");
    struct tls_options o = options_of(&rows[5]);
    struct http_session *session = http_session_new();
    size_t n = MIB(5) + 3;
    char url[64], *body = malloc(n);
    int port = serve(tls);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7919 >> 5);
    CHECK_INT(http_session_tls(session, &o, NULL), ERR_OK);
    for (int round = 0; round < 3; round++) {
        struct http_answer a;
        struct grpc_answer g;
        struct error err = {0};
        snprintf(url, sizeof url, "https://localhost:%d/echo", port);
        check_row("round %d", round);
        CHECK_INT(http_fetch(session, &(struct http_fetch){.url = url, .body = slice_of(body, n)}, &a, &err), ERR_OK);
        CHECK(a.status == 200 && slice_eq(buf_slice(&a.body), slice_of(body, n)));
        http_answer_free(&a);
        url[strlen(url) - 5] = 0;
        CHECK_INT(grpc_fetch(session, url, "/t.S/Echo", NULL, 0, slice_of(body, n), round % 2, 0, &g, &err), ERR_OK);
        CHECK(g.status == GRPC_OK && slice_eq(buf_slice(&g.body), slice_of(body, n)));
        grpc_answer_free(&g);
        CHECK_STR(slice_str(err.msg), "");
    }
    http_session_free(session);
    end_serving();
    tls_server_free(tls);
    free(body);
    check_done();
}

static void test_call_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        const struct row *r = &rows[i];
        struct tls_server *tls = server_of(r->certificate, r->client_ca);
        struct tls_options o = options_of(r);
        struct http_session *session = http_session_new();
        char url[64];
        struct http_answer a;
        struct grpc_answer g;
        struct error err = {0}, gerr = {0};
        check_row("%s", r->name);
        snprintf(url, sizeof url, "https://127.0.0.1:%d/echo", serve(tls));
        CHECK_INT(http_session_tls(session, &o, NULL), ERR_OK);
        enum errc rc = http_fetch(session, &(struct http_fetch){.url = url, .method = "POST", .body = SLICE("x")}, &a, &err);
        enum errc grc = grpc_fetch(session, url, "/t.S/Echo", NULL, 0, SLICE("x"), false, 0, &g, &gerr);
        if (r->error) {
            CHECK(rc == ERR_DENIED && grc == ERR_DENIED);
            CHECK(strstr(err.msg, r->error) && strstr(gerr.msg, r->error) && strstr(err.msg, "https://127.0.0.1:"));
        } else {
            CHECK(rc == ERR_OK && grc == ERR_OK);
            http_answer_free(&a);
            grpc_answer_free(&g);
        }
        http_session_free(session);
        end_serving();
        tls_server_free(tls);
    }
    check_done();
}

static void test_plain_and_tls_meet(void **state)
{
    (void)state;
    struct tls_server *tls = server_of("good", NULL);
    struct http_answer a;
    struct error err = {0};
    char url[64];
    int port = serve(tls);
    check_row("plain to a TLS port");
    snprintf(url, sizeof url, "http://127.0.0.1:%d/echo", port);
    CHECK_INT(http_fetch(NULL, &(struct http_fetch){.url = url}, &a, &err), ERR_OK);
    CHECK(a.status == 400 && slice_find(buf_slice(&a.body), SLICE("use https://")) >= 0);
    http_answer_free(&a);
    end_serving();
    check_row("TLS to a plain port");
    port = serve(NULL);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/echo", port);
    CHECK_INT(http_fetch(NULL, &(struct http_fetch){.url = url}, &a, &err), ERR_NET);
    CHECK(strstr(err.msg, "no TLS is spoken there"));
    end_serving();
    tls_server_free(tls);
    check_done();
}

// A peer that accepts and says nothing.
static void test_silence(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    struct http_answer a;
    struct error err = {0};
    char url[64];
    struct timespec before, after;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    listen(fd, 5);
    getsockname(fd, (struct sockaddr *)&at, &n);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", ntohs(at.sin_port));
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_INT(http_fetch(NULL, &(struct http_fetch){.url = url, .timeout_ns = 300000000}, &a, &err), ERR_TIMEOUT);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(strstr(err.msg, "did not finish the TLS handshake within 300 ms"));
    CHECK(after.tv_sec - before.tv_sec <= 2);
    close(fd);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_ends),    cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_reload),      cmocka_unit_test(test_calls),
                                       cmocka_unit_test(test_call_errors), cmocka_unit_test(test_plain_and_tls_meet),
                                       cmocka_unit_test(test_silence)};
    return cmocka_run_group_tests_name("tls", tests, make_certificates, remove_certificates);
}
