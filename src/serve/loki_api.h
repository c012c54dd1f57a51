// Loki's HTTP API: queries. (Pushes are in receive.c.) Requests are answered by the query pool, never on an event loop;
// when its queue is full the answer is 429.
//
//   struct loki_api loki;
//   loki_api_start(&loki, store, threads, bytes, timeout, &err);
//   n += loki_api_routes(&loki, routes + n, max - n);       the api must outlive the server
//   … stop the server …
//   loki_api_stop(&loki);                                    finishes what was asked
//
// GET and POST (form) /loki/api/v1/query, query_range, labels, label, detected_labels, series,
// index/stats, index/volume, format_query;
// GET /loki/api/v1/label/{name}/values.
#pragma once
#include "net/http.h"
#include "query/pool.h"
#include "query/query.h"

enum { LOKI_ROUTES = 24 };
struct loki_api;
struct loki_bound { // argument of one route
    struct loki_api *api;
    const struct loki_endpoint *endpoint;
};

struct loki_api {
    struct store *store;
    struct pool *pool; // may be used by other protocols' queries too
    struct query_limits limits;
    struct loki_bound bound[LOKI_ROUTES];
};

// query_bytes: column bytes that one query may read (0: no limit). timeout_ns: of one query.
enum errc loki_api_start(struct loki_api *a, struct store *s, int threads, uint64_t query_bytes, int64_t timeout_ns,
                         struct error *err);
void loki_api_stop(struct loki_api *a);
// Appends at most max rows; returns how many.
size_t loki_api_routes(struct loki_api *a, struct http_route *out, size_t max);
