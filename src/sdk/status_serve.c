// The server and its pages.
#define SONDE_TARGET "sonde::status" // of the lines written here
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/metric.h"
#include "sdk/sdk.h"
#include "sdk/settings_sdk.h"
#include "sdk/status.h"
#include <sonde/meter.h>
#include <stdio.h>
#include <stdlib.h>

enum { REGISTRIES_MAX = 16, PATH_MAX_ = 256, GPUS_MAX = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   // tables
static pthread_mutex_t scrape = PTHREAD_MUTEX_INITIALIZER; // while registries are read; outside of lock
static pthread_mutex_t serve = PTHREAD_MUTEX_INITIALIZER;  // start and stop; outside of lock
static struct net_server *_Atomic server, *_Atomic page;   // page: of OTEL_METRICS_EXPORTER=prometheus
static char trouble[ERROR_MESSAGE_MAX + 128];
static char health_path[PATH_MAX_], live_path[PATH_MAX_];
static struct sonde_registry *registries[REGISTRIES_MAX];
static char *metadata;
static struct metrics_endpoint {
    struct metrics_endpoint *next;
    uint64_t instance;
    char json[];
} * metrics_endpoints;
static struct sonde_registry *meters; // of the page
static atomic_bool ending;
static pthread_once_t once = PTHREAD_ONCE_INIT;

// ---- small helpers --------------------------------------------------------------------------------------------------
bool status_param(struct slice query, const char *name, struct slice *value)
{
    struct slice one, key;
    while (query.p && slice_split(&query, '&', &one)) {
        if (!slice_split(&one, '=', &key) || !slice_eq(key, slice_str(name)))
            continue;
        *value = one.p ? one : SLICE("");
        return true;
    }
    return false;
}

struct slice status_header(const struct net_request *q, const char *name)
{
    for (size_t i = 0; i < q->n_headers; i++)
        if (slice_ieq(q->headers[i].name, slice_str(name)))
            return q->headers[i].value;
    return SLICE("");
}

void status_text(struct net_reply *out, int status, const char *text)
{
    out->status = status;
    buf_reset(&out->body);
    buf_str(&out->body, text);
}

bool status_get(const struct net_request *q)
{
    return slice_eq(q->method, SLICE("GET")) || slice_eq(q->method, SLICE("HEAD"));
}

void status_method(struct net_reply *out, const char *allow)
{
    status_text(out, 405, "Method not allowed");
    out->headers[out->n_headers++] = (struct http_header){SLICE("allow"), slice_str(allow)};
}

// ---- pages ----------------------------------------------------------------------------------------------------------
bool sonde_status_metrics(struct sonde_registry *root)
{
    bool ok = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < REGISTRIES_MAX && root && !ok; i++) {
        if (!registries[i] || registries[i] == root) {
            registries[i] = root;
            ok = true;
        }
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

void sonde_status_metrics_remove(struct sonde_registry *root)
{
    pthread_mutex_lock(&scrape); // it is not being read when we return
    pthread_mutex_lock(&lock);
    for (int i = 0; i < REGISTRIES_MAX; i++)
        if (root && registries[i] == root)
            registries[i] = NULL;
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&scrape);
}

static bool metrics_page(enum sonde_exposition form, struct buf *out)
{
    struct sonde_registry *now[REGISTRIES_MAX];
    size_t n = 0;
    pthread_mutex_lock(&scrape);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < REGISTRIES_MAX; i++)
        if (registries[i])
            now[n++] = registries[i];
    pthread_mutex_unlock(&lock);
    enum errc rc = metric_expose(now, n, form, out);
    pthread_mutex_unlock(&scrape);
    return rc == ERR_OK;
}

static void metrics(const struct net_request *q, struct net_reply *out)
{
    char text[4096];
    struct buf accept = {.p = text, .cap = sizeof text, .max = sizeof text};
    for (size_t i = 0; i < q->n_headers; i++) // they may come as several, which are one list
        if (slice_ieq(q->headers[i].name, SLICE("accept"))) {
            buf_add(&accept, q->headers[i].value);
            buf_char(&accept, ',');
        }
    buf_char(&accept, 0);
    enum sonde_exposition form = sonde_exposition_negotiate(accept.err == ERR_OK ? text : "");
    if (metrics_page(form, &out->body))
        out->content_type = slice_str(sonde_exposition_content_type(form));
    else
        status_text(out, 500, "Failed to get metrics");
}

bool sonde_status_metadata(const char *json)
{
    struct arena arena;
    struct json j;
    char *copy = NULL;
    if (json) {
        arena_init(&arena, MIB(16));
        json_init(&j, slice_str(json), &arena, NULL);
        bool ok = json_skip(&j, NULL) && json_finish(&j);
        arena_free(&arena);
        copy = ok ? strdup(json) : NULL;
        if (!copy)
            return false;
    }
    pthread_mutex_lock(&lock);
    free(metadata);
    metadata = copy;
    pthread_mutex_unlock(&lock);
    return true;
}

static void show_metadata(struct net_reply *out)
{
    pthread_mutex_lock(&lock);
    if (metadata) {
        buf_str(&out->body, metadata);
        out->content_type = SLICE("application/json");
    } else {
        status_text(out, 404, "Discovery metadata not found");
    }
    pthread_mutex_unlock(&lock);
}

bool sonde_status_metrics_endpoint(const char *name_space, uint64_t instance_id, const char *url, const char *const *gpu_uuids,
                                   size_t n_gpus)
{
    struct buf b;
    struct metrics_endpoint *e = NULL, **at = &metrics_endpoints;
    char id[17];
    if (!name_space || !url || n_gpus > GPUS_MAX)
        return false;
    buf_init(&b, KIB(64));
    struct jw w = jw_to(&b);
    snprintf(id, sizeof id, "%llx", (unsigned long long)instance_id);
    jw_obj(&w);
    JW_KEY(&w, "gpu_uuids");
    jw_arr(&w);
    for (size_t i = 0; gpu_uuids && i < n_gpus; i++)
        jw_str(&w, slice_str(gpu_uuids[i]));
    jw_arr_end(&w);
    JW_KEY(&w, "instance_id");
    jw_str(&w, slice_str(id));
    JW_KEY(&w, "namespace");
    jw_str(&w, slice_str(name_space));
    JW_KEY(&w, "url");
    jw_str(&w, slice_str(url));
    jw_obj_end(&w);
    buf_char(&b, 0);
    if (b.err == ERR_OK && (e = mem_alloc(sizeof *e + b.n))) {
        memcpy(e->json, b.p, b.n);
        e->instance = instance_id;
        pthread_mutex_lock(&lock);
        while (*at && (*at)->instance != instance_id)
            at = &(*at)->next;
        struct metrics_endpoint *old = *at;
        e->next = old ? old->next : NULL;
        *at = e;
        pthread_mutex_unlock(&lock);
        mem_free(old);
    }
    buf_free(&b);
    return e != NULL;
}

static void show_metrics_endpoints(struct net_reply *out)
{
    out->content_type = SLICE("application/json");
    buf_str(&out->body, "{\"object\":\"list\",\"data\":[");
    pthread_mutex_lock(&lock);
    for (const struct metrics_endpoint *e = metrics_endpoints; e; e = e->next) {
        buf_str(&out->body, e->json);
        buf_str(&out->body, e->next ? "," : "");
    }
    pthread_mutex_unlock(&lock);
    buf_str(&out->body, "]}");
}

// ---- dispatch -------------------------------------------------------------------------------------------------------
static void not_found(const struct net_request *q, struct net_reply *out)
{
    SONDE_INFO("status server: no such path", SONDE_STRN("path", q->path.p, q->path.n), SONDE_STR("peer", q->peer));
    status_text(out, 404, "Route not found");
}

static bool is(const struct net_request *q, const char *path)
{
    return slice_eq(q->path, slice_str(path));
}

static void handle(const struct net_request *q, struct net_reply *out, void *arg)
{
    (void)arg;
    bool fixed = is(q, health_path) || is(q, live_path) || is(q, "/metrics") || is(q, "/metadata") || is(q, "/metrics_endpoints");
    if (ending)
        status_text(out, 503, "the process ends");
    else if (fixed && !status_get(q))
        status_method(out, "GET, HEAD");
    else if (is(q, health_path) || is(q, live_path))
        out->status = status_health(&out->body) ? 200 : 503;
    else if (is(q, "/metrics"))
        metrics(q, out);
    else if (is(q, "/metadata"))
        show_metadata(out);
    else if (is(q, "/metrics_endpoints"))
        show_metrics_endpoints(out);
    else if (slice_starts(q->path, SLICE("/debug/")))
        status_debug(q, out);
    else if (!status_engine(q, out))
        not_found(q, out);
}

static void handle_page(const struct net_request *q, struct net_reply *out, void *arg)
{
    (void)arg;
    bool found = is(q, "/metrics") || is(q, "/");
    if (found && !status_get(q))
        status_method(out, "GET, HEAD");
    else if (found)
        metrics(q, out);
    else
        status_text(out, 404, "the metrics are at /metrics");
}

// ---- life -----------------------------------------------------------------------------------------------------------
// In a forked child nobody listens. What a thread of the parent was changing meanwhile stays as it was.
static void child(void)
{
    const struct net_part *net = server || page ? net_part() : NULL;
    struct net_server *one = server, *other = page;
    pthread_mutex_init(&lock, NULL);
    pthread_mutex_init(&scrape, NULL);
    pthread_mutex_init(&serve, NULL);
    server = page = NULL;
    if (net && one)
        net->forget(one);
    if (net && other)
        net->forget(other);
    status_child();
    status_engine_child();
}

// The process ends: a request under way is not waited for, as its callback may hang; new ones find the door closed.
static void at_exit_(void)
{
    ending = true;
}

static void first(void)
{
    pthread_atfork(NULL, NULL, child);
    atexit(at_exit_);
}

static void path_of(const char *name, char *out)
{
    char text[PATH_MAX_ - 1];
    env_text(name, text, sizeof text);
    snprintf(out, PATH_MAX_, "%s%s", text[0] == '/' ? "" : "/", text);
}

static bool listen_on(struct net_server *_Atomic *at, const char *address, net_handler *fn, const char *what)
{
    struct error err = {0};
    struct net_server *s = NULL;
    const struct net_part *net = net_part();
    struct net_server_options o = {.address = address, .thread = "sonde-status", .fn = fn, .body_max = MIB(4)};
    enum errc rc = net ? net->serve(&s, &o, &err) : ERR_UNSUPPORTED;
    if (rc == ERR_OK) {
        int port = net->port(s);
        *at = s;
        trouble[0] = 0;
        SONDE_INFO("status server listens", SONDE_STR("what", what), SONDE_STR("address", address), SONDE_INT("port", port));
        return true;
    }
    snprintf(trouble, sizeof trouble, "%s at %s: %s", what, address, net ? err.msg : "libsonde-net.so cannot be loaded");
    SONDE_ERROR("status server cannot listen", SONDE_STR("what", what), SONDE_STR("address", address),
                SONDE_STR("error", net ? err.msg : "libsonde-net.so cannot be loaded"));
    return false;
}

// "HOST:PORT"; an IPv6 address gets its brackets. The one of all addresses means IPv4's, too, as in Dynamo.
static void address_of(const char *host_name, int64_t port, char *out, size_t n)
{
    char host[256];
    env_text(host_name, host, sizeof host);
    bool six = strchr(host, ':') && host[0] != '[';
    if (strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0)
        host[0] = 0, six = false;
    snprintf(out, n, "%s%s%s:%lld", six ? "[" : "", host, six ? "]" : "", (long long)port);
}

bool sonde_status_start(const char *address)
{
    char text[320];
    bool ok = true;
    sdk_start();
    pthread_once(&once, first);
    pthread_mutex_lock(&serve);
    int64_t port = env_int("DYN_SYSTEM_PORT");
    if (!server && (address || port >= 0)) {
        path_of("DYN_SYSTEM_HEALTH_PATH", health_path);
        path_of("DYN_SYSTEM_LIVE_PATH", live_path);
        if (!address)
            address_of("DYN_SYSTEM_HOST", port, text, sizeof text);
        status_canaries(); // they and uptime count from now
        ok = listen_on(&server, address ? address : text, handle, "status server");
    }
    pthread_mutex_unlock(&serve);
    return ok;
}

static bool has_word(const char *list, struct slice word)
{
    struct slice rest = slice_str(list), one;
    while (rest.p && slice_split(&rest, ',', &one))
        if (slice_eq(slice_trim(one), word))
            return true;
    return false;
}

static void start_page(void)
{
    char text[320];
    const char *to = env_get("OTEL_METRICS_EXPORTER");
    if (!to || !has_word(to, SLICE("prometheus")))
        return;
    pthread_once(&once, first);
    pthread_mutex_lock(&serve);
    if (!meters) { // what OpenTelemetry's instruments measure, on this page and on /metrics
        meters = sonde_registry_new(NULL);
        sonde_registry_add_meters(meters, sonde_meter_provider_default(), NULL);
        sonde_status_metrics(meters);
    }
    if (!page) {
        address_of("OTEL_EXPORTER_PROMETHEUS_HOST", env_int("OTEL_EXPORTER_PROMETHEUS_PORT"), text, sizeof text);
        listen_on(&page, text, handle_page, "page of metrics");
    }
    pthread_mutex_unlock(&serve);
}

void status_from_environment(void)
{
    const char *enabled = env_get("DYN_SYSTEM_ENABLED");
    if (enabled && *enabled)
        SONDE_WARN("DYN_SYSTEM_ENABLED has no effect any more; DYN_SYSTEM_PORT decides", SONDE_STR("value", enabled));
    sonde_status_start(NULL);
    start_page();
}

const char *sonde_status_error(void)
{
    return trouble;
}

int sonde_status_port(void)
{
    struct net_server *s = server;
    const struct net_part *net = s ? net_part() : NULL;
    return net ? net->port(s) : -1;
}

void sonde_status_stop(void)
{
    pthread_mutex_lock(&serve);
    const struct net_part *net = server || page ? net_part() : NULL;
    struct net_server *one = server, *other = page;
    server = page = NULL;
    pthread_mutex_unlock(&serve);
    if (net && one)
        net->close(one);
    if (net && other)
        net->close(other);
}
