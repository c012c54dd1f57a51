// Puts the server together: settings, store, loops, ports, routes; and takes it apart again on a signal.
#include "serve/serve.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "serve/assets.h"
#include "serve/delta.h"
#include "serve/loki_api.h"
#include "serve/scrape.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW(flag_, env_, type_, value_, argument_, about_, field_)                                          \
    {                                                                                                       \
        .flag = flag_, .env = env_, .type = type_, .value = value_, .argument = argument_, .about = about_, \
        .offset = offsetof(struct serve_settings, field_)                                                   \
    }

const struct setting serve_settings[SERVE_SETTINGS_N] = {
    ROW("config", "SONDE_CONFIG", SETTING_CONFIG, "", "FILE", "TOML file of settings; its keys are the flags with _ for -",
        config),
    ROW("data", "SONDE_DATA", SETTING_STR, "./sonde-data", "DIR", "data directory, made if missing", data),
    ROW("http", "SONDE_HTTP", SETTING_STR, "127.0.0.1:3100", "ADDR", "page; APIs of Loki, Tempo, Prometheus; receivers", http),
    ROW("otlp-grpc", "SONDE_OTLP_GRPC", SETTING_STR, "127.0.0.1:4317", "ADDR", "OTLP over gRPC; off = none", otlp_grpc),
    ROW("otlp-http", "SONDE_OTLP_HTTP", SETTING_STR, "127.0.0.1:4318", "ADDR", "OTLP over HTTP; off = none", otlp_http),
    {.flag = "threads",
     .env = "SONDE_THREADS",
     .type = SETTING_INT,
     .value = "2",
     .min = 1,
     .max = 64,
     .argument = "N",
     .about = "event loops, each with its own sockets",
     .offset = offsetof(struct serve_settings, threads)},
    {.flag = "query-threads",
     .env = "SONDE_QUERY_THREADS",
     .type = SETTING_INT,
     .value = "2",
     .min = 1,
     .max = 64,
     .argument = "N",
     .about = "threads that run queries",
     .offset = offsetof(struct serve_settings, query_threads)},
    ROW("retention", "SONDE_RETENTION", SETTING_DURATION, "0", "TIME", "events older than this are removed; 0 keeps all",
        retention),
    ROW("head-size", "SONDE_HEAD_SIZE", SETTING_SIZE, "64MiB", "SIZE", "memory of a table before it becomes a part on disk",
        head_bytes),
    ROW("inflight", "SONDE_INFLIGHT", SETTING_SIZE, "256MiB", "SIZE",
        "bytes of requests not yet on disk; above it clients get 503", inflight_bytes),
    ROW("query-bytes", "SONDE_QUERY_BYTES", SETTING_SIZE, "8GiB", "SIZE", "bytes that one query may read", query_bytes),
    ROW("query-timeout", "SONDE_QUERY_TIMEOUT", SETTING_DURATION, "60s", "TIME", "time that one query may take", query_timeout),
    ROW("discover-service", "SONDE_DISCOVER_SERVICE", SETTING_BOOL, "off", "",
        "add a service_name label to Loki pushes that have none", discover_service),
    ROW("scrape", "SONDE_SCRAPE", SETTING_STR, "", "[JOB=]URL,...",
        "pages of Prometheus metrics to fetch and store; HOST:PORT means /metrics there", scrape),
    ROW("scrape-interval", "SONDE_SCRAPE_INTERVAL", SETTING_DURATION, "15s", "TIME", "time between two scrapes of a page",
        scrape_interval),
    ROW("tls-cert", "SONDE_TLS_CERT", SETTING_STR, "", "FILE",
        "PEM file of the certificate and its chain: all ports speak TLS; read again when it changes", tls_cert),
    ROW("tls-key", "SONDE_TLS_KEY", SETTING_STR, "", "FILE", "PEM file of the certificate's key", tls_key),
    ROW("tls-client-ca", "SONDE_TLS_CLIENT_CA", SETTING_STR, "", "FILE",
        "PEM file of authorities: clients need a certificate of one of them", tls_client_ca),
    ROW("quiet", NULL, SETTING_BOOL, "off", "", "print nothing when ready", quiet),
};

// ---- helpers of the handlers ----------------------------------------------------------------------------------------

enum errc server_tenant(const struct http_req *r, struct slice *out, struct error *err)
{
    struct slice id = http_req_header(r, SLICE("x-scope-orgid"));
    *out = id.n ? id : SLICE("default");
    if (id.n > MAX_TENANT)
        return ERR(err, INPUT, "X-Scope-OrgID has %zu characters; at most %d are accepted", id.n, MAX_TENANT);
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!-_.*'()", c));
        if (!fine)
            return ERR(err, INPUT,
                       "X-Scope-OrgID has an unusable character at position %zu; letters, digits and !-_.*'() are accepted", i);
    }
    return ERR_OK;
}

int server_status(enum errc code)
{
    switch (code) {
    case ERR_OK:
        return 200;
    case ERR_INPUT:
    case ERR_SYNTAX:
    case ERR_LIMIT:
        return 400;
    case ERR_NOTFOUND:
        return 404;
    case ERR_CANCELLED:
        return 499;
    case ERR_UNSUPPORTED:
        return 501;
    case ERR_FULL:
        return 503;
    case ERR_TIMEOUT:
        return 504;
    default:
        return 500;
    }
}

void server_reply_error(struct http_req *r, const struct error *err)
{
    http_reply_text(r, server_status(err->code), "%s", err->msg);
}

bool server_param_time(struct http_req *r, const char *name, int64_t *out, struct error *err)
{
    struct slice text;
    int64_t whole;
    double seconds;
    if (!http_req_param(r, slice_str(name), 0, &text) || text.n == 0)
        return true;
    if (slice_to_i64(text, &whole)) // up to 10 digits are seconds (until the year 2286), else nanoseconds
        *out = whole > -10000000000 && whole < 10000000000 ? whole * 1000000000 : whole;
    else if (slice_to_f64(text, &seconds) && seconds > -9e9 && seconds < 9e9)
        *out = (int64_t)(seconds * 1e9);
    else if (!time_parse(text.p, text.n, out)) {
        ERR(err, INPUT, "parameter %s=\"%.*s\" is no time: write seconds, nanoseconds or 2026-01-31T12:00:00Z", name,
            (int)slice_cut(text, 60).n, text.p);
        return false;
    }
    return true;
}

// ---- life -----------------------------------------------------------------------------------------------------------

enum { MAX_ROUTES = 128, MAX_LOOPS = 64 };

struct running {
    struct server server;
    struct loop *loops[MAX_LOOPS];
    pthread_t threads[MAX_LOOPS];
    size_t n_loops, n_threads;
    struct http_route routes[MAX_ROUTES];
    size_t n_routes;
    struct http_server *ports[3];
    struct tls_server *tls; // null: plain
    struct loki_api loki;
    struct scraper *scraper; // null: nothing to scrape
};

static void *loop_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

// Signals are blocked in every thread and taken here, so that handlers never interrupt anything.
static void wait_for_end(void)
{
    sigset_t set;
    int got;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    while (sigwait(&set, &got) != 0)
        ;
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file over the limit is a full disk (EFBIG), not the end
}

static bool is_off(const char *address)
{
    return !*address || strcmp(address, "off") == 0 || strcmp(address, "none") == 0;
}

static enum errc start_loops(struct running *run, struct error *err)
{
    run->n_loops = (size_t)run->server.settings->threads;
    for (size_t i = 0; i < run->n_loops; i++)
        TRY(loop_new(&run->loops[i], err));
    return ERR_OK;
}

static enum errc run_loops(struct running *run, struct error *err)
{
    for (size_t i = 0; i < run->n_loops; i++) {
        if (pthread_create(&run->threads[i], NULL, loop_main, run->loops[i]) != 0)
            return ERR(err, NOMEM, "cannot start a thread: %s", strerror(errno));
        run->n_threads++;
    }
    return ERR_OK;
}

static void collect_routes(struct running *run)
{
    struct server *s = &run->server;
    struct http_route *r = run->routes;
    size_t n = 0;
    n += receive_routes(s, r + n, MAX_ROUTES - n);
    n += loki_api_routes(&run->loki, r + n, MAX_ROUTES - n);
    n += tempo_routes(s, r + n, MAX_ROUTES - n);
    n += prom_routes(s, r + n, MAX_ROUTES - n);
    n += sonde_routes(s, r + n, MAX_ROUTES - n);
    n += status_routes(s, r + n, MAX_ROUTES - n);
    n += assets_routes(r + n, MAX_ROUTES - n);
    run->n_routes = n;
}

static void tls_told(const char *text)
{
    fprintf(stderr, "sonde: %s\n", text);
}

static enum errc open_tls(struct running *run, struct error *err)
{
    const struct serve_settings *set = run->server.settings;
    if (!*set->tls_cert && !*set->tls_key && !*set->tls_client_ca)
        return ERR_OK;
    if (!*set->tls_cert || !*set->tls_key)
        return ERR(err, INPUT, "TLS needs --tls-cert and --tls-key together");
    return tls_server_new(&run->tls, set->tls_cert, set->tls_key, set->tls_client_ca, tls_told, err);
}

static enum errc open_port(struct running *run, int which, const char *flag, const char *address, struct error *err)
{
    struct http_server_options o = {.routes = run->routes, .n_routes = run->n_routes, .tls = run->tls};
    if (is_off(address))
        return ERR_OK;
    if (http_server_new(&run->ports[which], address, run->loops, run->n_loops, &o, err) != ERR_OK)
        return error_prefix(err, "--%s %s: ", flag, address);
    return ERR_OK;
}

static void print_ready(const struct running *run)
{
    const struct serve_settings *set = run->server.settings;
    static const char *const names[] = {"http", "otlp-grpc", "otlp-http"};
    printf("sonde %s is ready: ", SONDE_VERSION);
    for (int i = 0; i < 3; i++) {
        const char *address = i == 0 ? set->http : i == 1 ? set->otlp_grpc : set->otlp_http;
        const char *colon = strrchr(address, ':');
        if (run->ports[i])
            printf("%s%s http%s://%.*s:%d%s", i ? ", " : "", names[i], run->tls ? "s" : "", colon ? (int)(colon - address) : 0,
                   colon == address ? "127.0.0.1" : address, http_server_port(run->ports[i]), i == 0 ? "/" : "");
    }
    printf(", data %s (%.0f ms)\n", set->data, (double)(clock_wall_ns() - run->server.started_ns) / 1e6);
    fflush(stdout);
}

static void shut_down(struct running *run)
{
    scrape_stop(run->scraper);
    for (int i = 0; i < 3; i++)
        if (run->ports[i])
            http_server_stop(run->ports[i], 2000000000);
    // The store first: it acknowledges what is pending, while loops still carry the answers out.
    struct timespec ts = {0, 50000000};
    if (run->n_threads)
        nanosleep(&ts, NULL);
    for (size_t i = 0; i < run->n_threads; i++)
        loop_stop(run->loops[i]);
    for (size_t i = 0; i < run->n_threads; i++)
        pthread_join(run->threads[i], NULL);
    loki_api_stop(&run->loki);
    store_close(run->server.store);
    delta_free(run->server.delta);
    for (int i = 0; i < 3; i++)
        http_server_free(run->ports[i]);
    tls_server_free(run->tls);
    for (size_t i = 0; i < run->n_loops; i++)
        loop_free(run->loops[i]);
    for (size_t i = 0; i < sizeof run->server.memory / sizeof *run->server.memory; i++)
        mem_free(run->server.memory[i]);
}

enum errc serve_run(const struct serve_settings *settings, struct error *err)
{
    static struct running run; // one server a process; large
    struct store_options so;
    enum errc rc;
    run = (struct running){.server = {.settings = settings, .started_ns = clock_wall_ns()}};
    block_signals();
    clock_init();
    store_options_default(&so);
    so.dir = settings->data;
    so.retention_ns = settings->retention;
    so.head_max_bytes = (size_t)settings->head_bytes;
    so.discover_service = settings->discover_service;
    GO(open_tls(&run, err));
    GO(store_open(&run.server.store, &so, err));
    run.server.delta = delta_new();
    if (!run.server.delta) {
        rc = ERR(err, NOMEM, "no memory to start");
        goto out;
    }
    GO(start_loops(&run, err));
    GO(loki_api_start(&run.loki, run.server.store, (int)settings->query_threads, (uint64_t)settings->query_bytes,
                      settings->query_timeout, err));
    run.server.pool = run.loki.pool;
    collect_routes(&run);
    GO(open_port(&run, 0, "http", settings->http, err));
    GO(open_port(&run, 1, "otlp-grpc", settings->otlp_grpc, err));
    GO(open_port(&run, 2, "otlp-http", settings->otlp_http, err));
    GO(run_loops(&run, err));
    GO(scrape_start(&run.scraper, &run.server, settings->scrape, settings->scrape_interval, err));
    if (!settings->quiet)
        print_ready(&run);
    wait_for_end();
out:
    shut_down(&run);
    return rc;
}
