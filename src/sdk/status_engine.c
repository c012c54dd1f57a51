// Callbacks behind paths: /engine/… and any other.
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/status.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUTES_MAX = 64, ROUTE_PATH = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct route {
    char path[ROUTE_PATH]; // whole
    sonde_engine_fn *fn;
    void *arg;
} routes[ROUTES_MAX];
static size_t n_routes;

struct sonde_engine_reply {
    struct net_reply *out;
    bool answered;
    char message[1024];
};

void sonde_engine_answer(struct sonde_engine_reply *r, const char *json, size_t n)
{
    buf_reset(&r->out->body);
    buf_put(&r->out->body, json, n);
    r->answered = true;
}

void sonde_engine_status(struct sonde_engine_reply *r, int status)
{
    r->out->status = status >= 200 && status <= 599 ? status : 500;
}

void sonde_engine_fail(struct sonde_engine_reply *r, const char *message)
{
    snprintf(r->message, sizeof r->message, "%s", message ? message : "");
}

bool sonde_status_route(const char *path, sonde_engine_fn *fn, void *arg)
{
    bool ok = path && path[0] == '/' && strlen(path) < ROUTE_PATH;
    size_t i = 0;
    pthread_mutex_lock(&lock);
    while (ok && i < n_routes && strcmp(routes[i].path, path) != 0)
        i++;
    if (ok && !fn) {
        ok = i < n_routes;
        if (ok)
            routes[i] = routes[--n_routes];
    } else if (ok && (ok = i < ROUTES_MAX)) {
        snprintf(routes[i].path, ROUTE_PATH, "%s", path);
        routes[i].fn = fn;
        routes[i].arg = arg;
        n_routes += i == n_routes;
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

bool sonde_engine_route(const char *path, sonde_engine_fn *fn, void *arg)
{
    char whole[ROUTE_PATH + 8];
    while (path && *path == '/')
        path++;
    return path && *path && snprintf(whole, sizeof whole, "/engine/%s", path) < ROUTE_PATH && sonde_status_route(whole, fn, arg);
}

// The route of that path, the longest where several with * take it; *rest: what stands for the *.
static bool find(struct slice path, struct route *out, struct slice *rest)
{
    size_t best = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_routes; i++) {
        struct slice p = slice_str(routes[i].path);
        bool star = p.n && p.p[p.n - 1] == '*';
        p.n -= star;
        if (star ? slice_starts(path, p) && p.n >= best : slice_eq(path, p)) {
            best = star ? p.n : SIZE_MAX;
            *out = routes[i];
            *rest = star ? slice_from(path, p.n) : SLICE("");
        }
        if (best == SIZE_MAX)
            break;
    }
    pthread_mutex_unlock(&lock);
    return best > 0;
}

static void refuse(struct net_reply *out, int status, const char *error, const char *message)
{
    out->status = status;
    buf_reset(&out->body);
    struct jw w = jw_to(&out->body);
    jw_obj(&w);
    JW_KEY(&w, "error");
    jw_str(&w, slice_str(error));
    JW_KEY(&w, "message");
    jw_str(&w, slice_str(message));
    jw_obj_end(&w);
}

static char *text_of(struct slice s)
{
    char *p = mem_alloc(s.n + 1);
    if (p) {
        memcpy(p, s.p ? s.p : "", s.n);
        p[s.n] = 0;
    }
    return p;
}

static bool loras_off(struct slice path)
{
    char word[8];
    return slice_starts(path, SLICE("/v1/loras")) &&
           !(env_text("DYN_LORA_ENABLED", word, sizeof word) && strcmp(word, "true") == 0);
}

static void call(const struct net_request *q, const struct route *r, struct slice rest, struct net_reply *out)
{
    struct slice body = slice_trim(q->body).n ? q->body : SLICE("{}");
    char *text[] = {text_of(q->method), text_of(rest), text_of(q->query), text_of(body)};
    struct sonde_engine_request in = {text[0], text[1], text[2], text[3], body.n};
    struct sonde_engine_reply reply = {.out = out};
    if (!text[0] || !text[1] || !text[2] || !text[3]) {
        refuse(out, 500, "Handler error", "no memory for the request");
    } else if (!r->fn(r->arg, &in, &reply)) {
        refuse(out, out->status >= 400 ? out->status : 500, "Handler error",
               reply.message[0] ? reply.message : "the handler failed");
    } else if (!reply.answered) {
        buf_reset(&out->body);
        buf_str(&out->body, "{}");
    }
    for (int i = 0; i < 4; i++)
        mem_free(text[i]);
}

bool status_engine(const struct net_request *q, struct net_reply *out)
{
    struct route r;
    struct slice rest;
    struct json j;
    struct error err = {0};
    struct arena arena;
    bool engine = slice_starts(q->path, SLICE("/engine/"));
    bool found = !loras_off(q->path) && find(q->path, &r, &rest);
    if (!found && !engine)
        return false;
    out->content_type = SLICE("application/json");
    arena_init(&arena, MIB(16));
    json_init(&j, q->body, &arena, &err);
    char message[ROUTE_PATH + 64];
    if (!found) {
        snprintf(message, sizeof message, "no route %.*s is registered", (int)slice_cut(q->path, ROUTE_PATH).n, q->path.p);
        refuse(out, 404, "Route not found", message);
    } else if (slice_trim(q->body).n && !(json_skip(&j, NULL) && json_finish(&j))) {
        refuse(out, 400, "Invalid JSON", err.msg);
    } else {
        call(q, &r, rest, out);
    }
    arena_free(&arena);
    return true;
}

void status_engine_child(void)
{
    pthread_mutex_init(&lock, NULL);
}
