#include "serve/query_job.h"
#include "base/alloc.h"
#include "base/clock.h"

struct job_route {
    struct server *server;
    query_handler *fn;
};

struct started {
    struct query_job job;
    query_handler *fn;
};

enum errc query_job_check(const struct query_job *job, struct error *err)
{
    return http_req_gone(job->req) ? ERR(err, CANCELLED, "the client has gone") : ERR_OK;
}

static void run(void *arg)
{
    struct started *s = arg;
    if (http_req_gone(s->job.req)) { // nobody waits for it any more
        http_reply_text(s->job.req, 499, "the client has gone");
        return;
    }
    s->fn(&s->job);
}

static void submit(struct http_req *r, void *arg)
{
    const struct job_route *route = arg;
    const struct serve_settings *set = route->server->settings;
    struct started *s = ARENA_NEW(r->arena, struct started);
    struct error err = {0};
    if (!s) {
        http_reply_text(r, 503, "out of memory");
        return;
    }
    *s = (struct started){.fn = route->fn, .job = {.server = route->server, .req = r}};
    s->job.budget =
        (struct budget){.max_bytes = (uint64_t)set->query_bytes, .deadline_mono = clock_mono_ns() + set->query_timeout};
    if (server_tenant(r, &s->job.tenant, &err) != ERR_OK) {
        server_reply_error(r, &err);
        return;
    }
    if (pool_submit(route->server->pool, run, s) != ERR_OK)
        http_reply_text(r, 429, "too many queries are waiting; try again in a moment");
}

size_t query_routes(struct server *s, const struct query_route *in, size_t n, struct http_route *out, size_t max)
{
    struct job_route *routes = mem_zalloc(n * sizeof *routes); // as long as the server
    size_t k = 0, slot = 0;
    while (slot < sizeof s->memory / sizeof *s->memory - 1 && s->memory[slot])
        slot++;
    s->memory[slot] = routes;
    for (; routes && k < n && k < max; k++) {
        routes[k] = (struct job_route){s, in[k].fn};
        out[k] = (struct http_route){in[k].method, in[k].path, submit, &routes[k], 0, in[k].about};
    }
    return k;
}
