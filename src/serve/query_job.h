// A request that reads the store: it runs on the query pool, with a tenant and a budget, never on an event loop.
#pragma once
#include "serve/serve.h"

struct query_job {
    struct server *server;
    struct http_req *req; // replied to exactly once by the handler
    struct slice tenant;
    struct budget budget;
};

// ERR_CANCELLED once the client is gone: asked between the batches of a scan, which sees to the time limit.
enum errc query_job_check(const struct query_job *job, struct error *err);

typedef void query_handler(struct query_job *job);

struct query_route {
    const char *method, *path;
    query_handler *fn;
    const char *about;
};

// Fills rows of the server's route table; the query_route array must be static. Returns how many.
size_t query_routes(struct server *s, const struct query_route *in, size_t n, struct http_route *out, size_t max);
