// The embedded page over a real server: every file, both encodings, conditional requests, paths of the page's router.
#include "serve/assets.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BUDGET = 120000 }; // bytes of gzip: the size gate of the page

struct fixture {
    struct loop *loop;
    struct http_server *server;
    pthread_t thread;
    struct http_route routes[8];
    char url[64];
};

static void *run(void *arg)
{
    loop_run(arg);
    return NULL;
}

static int setup(void **state)
{
    static struct fixture f;
    struct error err = {0};
    size_t n = assets_routes(f.routes, 8);
    assert_true(n > 0);
    struct http_server_options o = {.routes = f.routes, .n_routes = n};
    assert_int_equal(loop_new(&f.loop, &err), ERR_OK);
    if (http_server_new(&f.server, "127.0.0.1:0", &f.loop, 1, &o, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    snprintf(f.url, sizeof f.url, "http://127.0.0.1:%d", http_server_port(f.server));
    pthread_create(&f.thread, NULL, run, f.loop);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_stop(f->loop);
    pthread_join(f->thread, NULL);
    http_server_free(f->server);
    loop_free(f->loop);
    return 0;
}

static void get(struct fixture *f, const char *path, const char *name, const char *value, struct http_answer *out)
{
    char url[512];
    snprintf(url, sizeof url, "%s%s", f->url, path);
    struct http_header h = {slice_str(name), slice_str(value)};
    struct http_fetch q = {.method = "GET", .url = url, .headers = &h, .n_headers = name ? 1 : 0, .timeout_ns = 5000000000};
    struct error err = {0};
    if (http_fetch(NULL, &q, out, &err) != ERR_OK)
        fail_msg("%s: %s", path, err.msg);
}

static struct slice header(const struct http_answer *a, const char *name)
{
    for (size_t i = 0; i < a->n_headers; i++) {
        if (slice_eq(a->headers[i].name, slice_str(name)))
            return a->headers[i].value;
    }
    return SLICE_NONE;
}

static bool has(struct slice s, const char *word)
{
    return slice_find(s, slice_str(word)) >= 0;
}

static void every_file_arrives_in_both_encodings(void **state)
{
    for (size_t i = 0; i < assets_count; i++) {
        const struct asset *a = &assets_table[i];
        static const char *const accept[] = {"gzip", "br, gzip;q=0.5", "*", "identity", "gzip;q=0, br", "gzip; q=0.0"};
        for (size_t k = 0; k < sizeof accept / sizeof *accept; k++) {
            struct http_answer got = {0};
            char path[256];
            snprintf(path, sizeof path, "/ui/%s", a->name);
            get(*state, path, "accept-encoding", accept[k], &got);
            assert_int_equal(got.status, 200);
            assert_true(slice_eq(got.content_type, slice_str(a->type)));
            assert_true(slice_eq(header(&got, "etag"), slice_str(a->etag)));
            assert_true(has(header(&got, "vary"), "accept-encoding"));
            assert_true(slice_eq(header(&got, "x-content-type-options"), SLICE("nosniff")));
            assert_true(has(header(&got, "cache-control"), a->immutable ? "immutable" : "no-cache"));
            // whether the client has undone the encoding or not, the content is the file's
            struct buf plain;
            struct error err = {0};
            buf_init(&plain, a->size);
            if (got.body.n > 2 && memcmp(got.body.p, "\x1f\x8b", 2) == 0) {
                assert_true(k < 3);
                assert_int_equal(codec_decode(CODEC_GZIP, buf_slice(&got.body), a->size, &plain, &err), ERR_OK);
            } else {
                buf_add(&plain, buf_slice(&got.body));
            }
            assert_int_equal(plain.n, a->size);
            buf_free(&plain);
            http_answer_free(&got);
        }
    }
}

static void policy_is_strict(void **state)
{
    struct http_answer got = {0};
    get(*state, "/ui/", NULL, NULL, &got);
    struct slice csp = header(&got, "content-security-policy");
    assert_true(has(csp, "default-src 'none'") && has(csp, "script-src 'self'") && has(csp, "frame-ancestors 'none'"));
    assert_false(has(csp, "unsafe"));
    assert_true(slice_starts(buf_slice(&got.body), SLICE("<!doctype html>")));
    // nothing inline, nothing from elsewhere
    assert_false(has(buf_slice(&got.body), "<style"));
    assert_false(has(buf_slice(&got.body), "<script>"));
    assert_false(has(buf_slice(&got.body), "://"));
    http_answer_free(&got);
}

static void paths(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *type, *location;
    } rows[] = {
        {"/", 302, "text/plain", "/ui/"},
        {"/ui", 302, "text/plain", "/ui/"},
        {"/ui/", 200, "text/html", ""},
        {"/ui/index.html", 200, "text/html", ""},
        {"/ui/logs", 200, "text/html", ""},
        {"/ui/logs?q=%7Ba%3D%22b%22%7D", 200, "text/html", ""},
        {"/ui/request/demo-42", 200, "text/html", ""},
        {"/ui/request/a%2Fb", 200, "text/html", ""},
        {"/ui/request/looks.like.js", 200, "text/html", ""},
        {"/ui/request/../../etc/passwd", 200, "text/html", ""},
        {"/ui/app.0000000000.js", 404, "text/plain", ""},
        {"/ui/favicon.ico", 404, "text/plain", ""},
        {"/uix", 404, "text/plain", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer got = {0};
        get(*state, rows[i].path, NULL, NULL, &got);
        if (got.status != rows[i].status)
            fail_msg("%s: %d, want %d", rows[i].path, got.status, rows[i].status);
        assert_true(slice_starts(got.content_type, slice_str(rows[i].type)));
        assert_true(slice_eq(header(&got, "location"), slice_str(rows[i].location)));
        http_answer_free(&got);
    }
}

static void unchanged_files_are_not_sent_again(void **state)
{
    struct http_answer first = {0};
    get(*state, "/ui/", NULL, NULL, &first);
    char tag[128], strong[128], list[300];
    snprintf(tag, sizeof tag, "%.*s", (int)header(&first, "etag").n, header(&first, "etag").p);
    snprintf(strong, sizeof strong, "%s", tag + 2);
    snprintf(list, sizeof list, "\"other\" , %s", tag);
    http_answer_free(&first);
    const struct {
        const char *value;
        int status;
    } rows[] = {{tag, 304}, {strong, 304}, {list, 304}, {"*", 304}, {"\"other\"", 200}, {"", 200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer got = {0};
        get(*state, "/ui/", "if-none-match", rows[i].value, &got);
        assert_int_equal(got.status, rows[i].status);
        if (got.status == 304) {
            assert_int_equal(got.body.n, 0);
            assert_true(slice_eq(header(&got, "etag"), slice_str(tag)));
        }
        http_answer_free(&got);
    }
}

static void the_page_stays_small(void **state)
{
    size_t total = 0;
    for (size_t i = 0; i < assets_count; i++)
        total += assets_table[i].gzip_size;
    print_message("page: %zu bytes gzip of %d\n", total, BUDGET);
    assert_in_range(total, 10000, BUDGET);
    struct http_route one[1];
    assert_int_equal(assets_routes(one, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_arrives_in_both_encodings), cmocka_unit_test(policy_is_strict),     cmocka_unit_test(paths),
        cmocka_unit_test(unchanged_files_are_not_sent_again),   cmocka_unit_test(the_page_stays_small),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
