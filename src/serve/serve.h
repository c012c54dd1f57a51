// The server: store, loops, routes. Handlers get a struct server as their argument.
#pragma once
#include "base/setting.h"
#include "net/http.h"
#include "query/pool.h"
#include "store/store.h"

#include <stdatomic.h>

struct serve_settings {
    const char *config, *data, *http, *otlp_grpc, *otlp_http;
    int64_t threads, query_threads, retention, head_bytes, inflight_bytes, query_bytes, query_timeout;
    bool discover_service, quiet;
    const char *tls_cert, *tls_key, *tls_client_ca;
    const char *scrape;
    int64_t scrape_interval;
};
enum { SERVE_SETTINGS_N = 19 };
extern const struct setting serve_settings[SERVE_SETTINGS_N];

// Counters of one receiver protocol, shown on /metrics.
struct receiver_stats {
    _Atomic uint64_t requests, rows, bytes, rejected_rows, failed;
};
enum receiver {
    RECEIVER_OTLP_LOGS,
    RECEIVER_OTLP_TRACES,
    RECEIVER_LOKI,
    RECEIVER_OTLP_METRICS,
    RECEIVER_WRITE,
    RECEIVER_TEXT,
    RECEIVER_SCRAPE,
    RECEIVER_COUNT
};

struct server {
    const struct serve_settings *settings;
    struct store *store;
    struct delta *delta;
    struct pool *pool; // where queries run
    void *memory[8];   // tables of routes, freed at the end
    int64_t started_ns;
    struct receiver_stats receivers[RECEIVER_COUNT];
    _Atomic uint64_t inflight; // bytes of requests between arrival and acknowledgement
};

// Tenant of a request: X-Scope-OrgID, else "default". ERR_INPUT when it is longer than MAX_TENANT or holds a character
// outside [A-Za-z0-9!-_.*'()].
enum errc server_tenant(const struct http_req *r, struct slice *out, struct error *err);
// A 4xx/5xx status for an error code.
int server_status(enum errc code);
// Replies with the error's message as text, in the status that fits.
void server_reply_error(struct http_req *r, const struct error *err);
// Reads parameters as times: integer ns or s, float seconds, RFC 3339. Absent: *out unchanged, true. False: replied 400.
bool server_param_time(struct http_req *r, const char *name, int64_t *out, struct error *err);

// Runs until SIGINT or SIGTERM. Prints one line with the addresses when ready (not when quiet).
enum errc serve_run(const struct serve_settings *settings, struct error *err);

// Routes of each protocol, one file each. They append to a table with room for `max` rows and return how many.
size_t receive_routes(struct server *s, struct http_route *out, size_t max); // OTLP over HTTP and gRPC, Loki push, remote write
size_t tempo_routes(struct server *s, struct http_route *out, size_t max);
size_t prom_routes(struct server *s, struct http_route *out, size_t max); // Prometheus' API
size_t status_routes(struct server *s, struct http_route *out, size_t max);
size_t sonde_routes(struct server *s, struct http_route *out, size_t max);
