#include "sdk/net_serve.h"
#include "base/alloc.h"
#include "base/limits.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { NET_BODY = 64 << 10, NET_CONNECTIONS = 64, NET_METHODS = 6 };
#define NET_STALL_NS 5000000000ll  // a head, or the next piece of a body or reply
#define NET_IDLE_NS  60000000000ll // scrapes come every few seconds and keep their connection
#define NET_END_NS   200000000ll   // replies under way when the server is closed

struct net_server {
    struct loop *loop;
    struct http_server *http;
    struct http_route route[NET_METHODS];
    net_handler *fn;
    void *arg;
    char thread_name[16];
    pthread_t thread;
};

// peer: "127.0.0.1:5123", "[::1]:5123"
static bool is_loopback(const char *peer)
{
    return strncmp(peer, "127.", 4) == 0 || strncmp(peer, "[::1]:", 6) == 0;
}

static void handle(struct http_req *q, void *arg)
{
    struct net_server *s = arg;
    struct net_request in = {.method = q->method,
                             .path = q->path,
                             .query = q->query,
                             .headers = q->headers,
                             .n_headers = q->n_headers,
                             .body = q->body,
                             .peer = q->peer,
                             .loopback = is_loopback(q->peer)};
    struct net_reply out = {.status = 200, .content_type = SLICE("text/plain; charset=utf-8")};
    buf_init(&out.body, MAX_HTTP_REPLY);
    s->fn(&in, &out, s->arg);
    for (size_t i = 0; i < out.n_headers && i < NET_REPLY_HEADERS; i++)
        http_reply_header(q, out.headers[i].name, out.headers[i].value);
    if (out.body.err == ERR_OK)
        http_reply(q, out.status, out.content_type, buf_slice(&out.body));
    else
        http_reply_text(q, 500, "no memory for the reply");
    buf_free(&out.body);
}

static void *run(void *arg)
{
    struct net_server *s = arg;
    pthread_setname_np(pthread_self(), s->thread_name);
    loop_run(s->loop);
    return NULL;
}

static void routes(struct net_server *s, size_t body_max)
{
    static const char *const methods[NET_METHODS] = {"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    for (int i = 0; i < NET_METHODS; i++)
        s->route[i] = (struct http_route){.method = methods[i], .path = "/{*}", .fn = handle, .arg = s, .body_max = body_max};
}

enum errc net_serve(struct net_server **out, const struct net_server_options *o, struct error *err)
{
    enum errc rc;
    sigset_t all, old;
    struct net_server *s = mem_zalloc(sizeof *s);
    if (!s)
        return ERR(err, NOMEM, "no memory for a server on %s", o->address);
    s->fn = o->fn;
    s->arg = o->arg;
    snprintf(s->thread_name, sizeof s->thread_name, "%s", o->thread ? o->thread : "sonde-net");
    routes(s, o->body_max ? o->body_max : NET_BODY);
    GO(loop_new(&s->loop, err));
    struct http_server_options h = {.routes = s->route,
                                    .n_routes = NET_METHODS,
                                    .idle_ns = NET_IDLE_NS,
                                    .stall_ns = o->stall_ns > 0 ? o->stall_ns : NET_STALL_NS,
                                    .make_room = true, // health must be told whoever holds connections
                                    .max_connections = o->max_connections ? o->max_connections : NET_CONNECTIONS};
    GO(http_server_new(&s->http, o->address, &s->loop, 1, &h, err));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e) {
        rc = ERR(err, NOMEM, "no thread for the server on %s: %s", o->address, strerror(e));
        goto out;
    }
    *out = s;
    return ERR_OK;
out:
    http_server_free(s->http);
    loop_free(s->loop);
    mem_free(s);
    return rc;
}

int net_serve_port(const struct net_server *s)
{
    return http_server_port(s->http);
}

void net_serve_close(struct net_server *s)
{
    if (!s)
        return;
    http_server_stop(s->http, NET_END_NS);
    loop_stop(s->loop);
    pthread_join(s->thread, NULL);
    http_server_free(s->http);
    loop_free(s->loop);
    mem_free(s);
}

// The memory stays: the lost thread may have held a lock of the allocator's or ours in any state.
void net_serve_forget(struct net_server *s)
{
    if (!s)
        return;
    http_server_forget(s->http);
    loop_forget(s->loop);
}
