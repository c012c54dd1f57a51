// The service under test of the W3C Trace Context harness (github.com/w3c/trace-context, test/): POST /test with a JSON array of
// {"url", "arguments"}. For each element it posts the arguments as JSON to the url, each call with a span of its own and the
// headers that carry it on, then it answers 200. A call that fails is told in the answer's text; a body that is none is 400.
//
//   build/examples/w3c --listen 127.0.0.1:7000
//   STRICT_LEVEL=2 SPEC_LEVEL=2 python3 test.py http://127.0.0.1:7000/test
#include "base/json.h"
#include "base/limits.h"
#include "net/http.h"
#include <signal.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_MAX = 1000, AT_ONCE = 16, HEADERS_MAX = 128, TIMEOUT_NS = 10 * 1000000000ll };

static struct loop *loop;
static struct http_client *client;

struct call {
    struct request *of;
    struct sonde_span *span;
    struct slice url, arguments;
    int status; // of the reply
    struct call *next;
};
struct request { // one POST /test; lives in its own arena
    struct http_req *req;
    struct sonde_span *span;
    struct sonde_ctx *ctx;      // with the baggage that came
    struct call *first, **last; // still to be made
    size_t calls, waiting, failed;
    const char *why; // of the last failure
    bool starting;
};

// ---- headers --------------------------------------------------------------------------------------------------------
static const char *get_header(void *carrier, const char *name, int nth, size_t *len)
{
    const struct http_req *r = carrier;
    for (size_t i = 0; i < r->n_headers; i++) {
        if (slice_eq(r->headers[i].name, slice_str(name)) && nth-- == 0) {
            *len = r->headers[i].value.n;
            return r->headers[i].value.p;
        }
    }
    return NULL;
}

struct headers {
    struct arena *arena;
    struct http_header at[HEADERS_MAX];
    size_t n;
};

static void set_header(void *carrier, const char *name, const char *value, size_t len)
{
    struct headers *h = carrier;
    if (h->n < HEADERS_MAX)
        h->at[h->n++] = (struct http_header){arena_dup(h->arena, slice_str(name)), arena_dup(h->arena, slice_of(value, len))};
}

// ---- calls ----------------------------------------------------------------------------------------------------------
static void start_calls(struct request *r);

static void answer(struct request *r)
{
    char text[200] = "ok";
    if (r->failed) {
        snprintf(text, sizeof text, "%zu of %zu calls failed: %s", r->failed, r->calls, r->why ? r->why : "no memory");
        sonde_span_status(r->span, SONDE_STATUS_ERROR, text);
    }
    sonde_span_end(r->span);
    sonde_ctx_unref(r->ctx);
    http_reply_text(r->req, 200, text);
}

static void on_head(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg)
{
    (void)c, (void)h, (void)n;
    ((struct call *)arg)->status = status;
}

static void on_done(struct http_call *c, bool ok, const struct error *why, void *arg)
{
    (void)c;
    struct call *k = arg;
    struct request *r = k->of;
    struct error refused = {0};
    if (ok && k->status >= 400) {
        snprintf(refused.msg, sizeof refused.msg, "%s answered %d", k->url.p, k->status);
        why = &refused;
        ok = false;
    }
    if (!ok) {
        sonde_span_status(k->span, SONDE_STATUS_ERROR, why->msg);
        r->why = arena_dup(r->req->arena, slice_str(why->msg)).p;
        r->failed++;
    }
    sonde_span_end(k->span);
    r->waiting--;
    start_calls(r);
}

static void post(struct request *r, struct call *k)
{
    struct headers h = {.arena = r->req->arena, .at = {{SLICE("content-type"), SLICE("application/json")}}, .n = 1};
    struct error err = {0};
    struct http_call *call;
    k->span = sonde_span_start("call", SONDE_KIND_CLIENT, sonde_span_context(r->span));
    sonde_inject(sonde_span_context(k->span), set_header, &h);
    struct http_call_options o = {.method = "POST",
                                  .url = k->url.p,
                                  .headers = h.at,
                                  .n_headers = h.n,
                                  .body = k->arguments,
                                  .timeout_ns = TIMEOUT_NS,
                                  .on_head = on_head,
                                  .on_done = on_done,
                                  .arg = k};
    r->waiting++;
    if (http_client_start(client, &o, &call, &err) != ERR_OK)
        on_done(NULL, false, &err, k);
}

// As many as may be under way at once; a call that is refused at once comes back here, hence `starting`.
static void start_calls(struct request *r)
{
    if (r->starting)
        return;
    r->starting = true;
    struct sonde_ctx *before = sonde_ctx_attach(r->ctx);
    while (r->first && r->waiting < AT_ONCE) {
        struct call *k = r->first;
        r->first = k->next;
        post(r, k);
    }
    sonde_ctx_detach(before);
    r->starting = false;
    if (!r->waiting)
        answer(r);
}

// Reads the array; false: it is none, or has more than CALLS_MAX elements.
static bool read_calls(struct request *r, struct json *j)
{
    if (!json_array(j))
        return false;
    while (json_next_item(j)) {
        struct call *k = arena_zalloc(r->req->arena, sizeof *k);
        struct slice key;
        if (!k || r->calls++ == CALLS_MAX || !json_object(j))
            return false;
        *k = (struct call){.of = r, .arguments = SLICE("[]")};
        while (json_next_key(j, &key)) {
            if (slice_eq(key, SLICE("url")))
                json_string(j, &k->url);
            else
                json_skip(j, slice_eq(key, SLICE("arguments")) ? &k->arguments : NULL);
        }
        if (j->failed || !k->url.n)
            return false;
        k->url = arena_dup(r->req->arena, k->url); // ends with a NUL
        *r->last = k;
        r->last = &k->next;
    }
    return json_finish(j);
}

static void on_test(struct http_req *req, void *arg)
{
    (void)arg;
    struct request *r = arena_zalloc(req->arena, sizeof *r);
    struct sonde_context parent;
    struct json j;
    if (!r) {
        http_reply_text(req, 500, "no memory");
        return;
    }
    *r = (struct request){.req = req, .last = &r->first};
    json_init(&j, req->body, req->arena, NULL);
    if (!read_calls(r, &j)) {
        http_reply_text(req, 400, "the body must be a JSON array of at most 1000 {\"url\": text, \"arguments\": value}");
        return;
    }
    struct sonde_baggage *members = sonde_baggage_new();
    sonde_extract(&parent, get_header, req);
    sonde_extract_baggage(members, get_header, NULL, req);
    r->ctx = sonde_ctx_with_baggage(NULL, members);
    r->span = sonde_span_start("test", SONDE_KIND_SERVER, &parent);
    sonde_baggage_free(members);
    start_calls(r);
}

// ---- life -----------------------------------------------------------------------------------------------------------
static void stop(int number)
{
    (void)number;
    loop_stop(loop);
}

int main(int argc, char **argv)
{
    static const struct http_route routes[] = {{"POST", "/test", on_test, NULL, MIB(4), "calls the URLs of the body"}};
    const struct http_server_options o = {.routes = routes, .n_routes = 1};
    struct http_server *server;
    struct error err = {0};
    if (argc != 3 || strcmp(argv[1], "--listen") != 0) {
        fprintf(stderr, "usage: %s --listen HOST:PORT\n", argv[0]);
        return 2;
    }
    sonde_init(&(struct sonde_options){.service = "w3c"});
    signal(SIGPIPE, SIG_IGN);
    if (loop_new(&loop, &err) != ERR_OK || http_client_new(&client, loop, &err) != ERR_OK ||
        http_server_new(&server, argv[2], &loop, 1, &o, &err) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], err.msg);
        return 1;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    printf("listening on port %d\n", http_server_port(server));
    fflush(stdout);
    loop_run(loop);
    http_server_stop(server, 0);
    http_client_free(client);
    http_server_free(server);
    loop_free(loop);
    sonde_shutdown(1000);
    return 0;
}
