// Readiness: endpoints, canaries, and what decides.
#define SONDE_TARGET "sonde::status" // of the lines written here
#include "sdk/status.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENDPOINTS_MAX = 1024, ENDPOINT_NAME = 256 };

struct sonde_endpoint {
    struct sonde_endpoint *next; // by name
    char name[ENDPOINT_NAME];
    sonde_canary_fn *canary;
    void *arg;
    char *payload;
    atomic_bool ready;
    atomic_llong traffic; // monotonic
    atomic_llong asked;   // when the canary under way began; 0: none
    bool stop;            // under lock
    bool has_thread;
    pthread_t thread;
    unsigned generation; // of the process that made its thread
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sonde_endpoint *endpoints;
static size_t n_endpoints;
static int64_t started_ns, wait_ns, timeout_ns;
static bool canaries;
static atomic_int process_ready; // 0: no, 1: yes, -1: nobody said so far
static char list[4096];          // DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS, checked; empty: it names none
static unsigned generation;

static void read_list(void)
{
    struct json j;
    struct arena arena;
    struct slice name;
    bool ok;
    if (!env_text("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS", list, sizeof list))
        return;
    arena_init(&arena, KIB(64));
    json_init(&j, slice_str(list), &arena, NULL);
    ok = json_array(&j);
    size_t n = 0;
    for (; ok && json_next_item(&j); n++)
        ok = json_string(&j, &name);
    ok = ok && json_finish(&j);
    arena_free(&arena);
    if (!ok) {
        SONDE_WARN("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS is not used: it must be a JSON array of names, as [\"generate\"]",
                   SONDE_STR("value", list));
        list[0] = 0;
    } else if (!n) {
        list[0] = 0;
    } else {
        SONDE_WARN("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS is deprecated; endpoints with a canary decide by themselves");
    }
}

static void new_condition(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);
}

static void begin(void)
{
    new_condition();
    started_ns = clock_mono_ns();
    process_ready = env_choice("DYN_SYSTEM_STARTING_HEALTH_STATUS") == 0;
    canaries = env_on("DYN_HEALTH_CHECK_ENABLED");
    wait_ns = env_int("DYN_CANARY_WAIT_TIME") * 1000000000;
    timeout_ns = env_int("DYN_HEALTH_CHECK_REQUEST_TIMEOUT") * 1000000000;
    read_list();
}

static void ready_to_go(void)
{
    sdk_start();
    pthread_once(&once, begin);
}

void sonde_status_ready(bool ready)
{
    ready_to_go();
    process_ready = ready;
}

// ---- canaries -------------------------------------------------------------------------------------------------------
static bool up(const struct sonde_endpoint *e)
{
    int64_t asked = e->asked;
    return e->ready && !(asked && clock_mono_ns() - asked > timeout_ns);
}

static void ask(struct sonde_endpoint *e)
{
    int64_t from = clock_mono_ns();
    e->asked = from;
    bool ok = e->canary(e->arg, e->payload, strlen(e->payload), (unsigned)(timeout_ns / 1000000));
    int64_t now = clock_mono_ns();
    ok = ok && now - from <= timeout_ns;
    if (!ok && e->ready)
        SONDE_WARN("endpoint does not answer its canary; it is not ready", SONDE_STR("endpoint", e->name),
                   SONDE_INT("ms", (now - from) / 1000000));
    e->ready = ok;
    e->traffic = now;
    e->asked = 0;
}

static void *canary(void *arg)
{
    struct sonde_endpoint *e = arg;
    pthread_setname_np(pthread_self(), "sonde-canary");
    pthread_mutex_lock(&lock);
    while (!e->stop) {
        int64_t due = e->traffic + wait_ns, now = clock_mono_ns();
        if (now >= due) {
            pthread_mutex_unlock(&lock);
            ask(e);
            pthread_mutex_lock(&lock);
            continue;
        }
        struct timespec ts = {due / 1000000000, due % 1000000000};
        pthread_cond_timedwait(&changed, &lock, &ts);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void start_canary(struct sonde_endpoint *e)
{
    sigset_t all, old;
    if (!canaries || !e->canary || e->has_thread)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e->has_thread = pthread_create(&e->thread, NULL, canary, e) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    e->generation = generation;
}

// ---- endpoints ------------------------------------------------------------------------------------------------------
static void let_go(struct sonde_endpoint *e)
{
    if (e)
        free(e->payload);
    mem_free(e);
}

struct sonde_endpoint *sonde_endpoint_new(const struct sonde_endpoint_options *o)
{
    char payload[4096];
    if (!o || !o->name || !*o->name || strlen(o->name) >= ENDPOINT_NAME)
        return NULL;
    ready_to_go();
    struct sonde_endpoint *e = mem_zalloc(sizeof *e), **at = &endpoints;
    bool given = env_text("DYN_HEALTH_CHECK_PAYLOAD", payload, sizeof payload);
    char *copy = strdup(given ? payload : o->payload ? o->payload : "");
    if (!e || !copy) {
        free(copy);
        mem_free(e);
        return NULL;
    }
    snprintf(e->name, sizeof e->name, "%s", o->name);
    e->payload = copy;
    e->ready = o->ready;
    e->canary = o->canary;
    e->arg = o->arg;
    e->traffic = clock_mono_ns();
    pthread_mutex_lock(&lock);
    while (*at && strcmp((*at)->name, e->name) < 0)
        at = &(*at)->next;
    bool ok = n_endpoints < ENDPOINTS_MAX && !(*at && strcmp((*at)->name, e->name) == 0);
    if (ok) {
        e->next = *at;
        *at = e;
        n_endpoints++;
        start_canary(e);
    }
    pthread_mutex_unlock(&lock);
    if (ok)
        return e;
    let_go(e);
    return NULL;
}

void sonde_endpoint_remove(struct sonde_endpoint *e)
{
    struct sonde_endpoint **at = &endpoints;
    if (!e)
        return;
    pthread_mutex_lock(&lock);
    while (*at && *at != e)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found) {
        *at = e->next;
        n_endpoints--;
        e->stop = true;
        pthread_cond_broadcast(&changed);
    }
    bool join = found && e->has_thread && e->generation == generation;
    pthread_mutex_unlock(&lock);
    if (join)
        pthread_join(e->thread, NULL);
    if (found)
        let_go(e);
}

void sonde_endpoint_ready(struct sonde_endpoint *e, bool ready)
{
    if (e)
        e->ready = ready;
}

void sonde_endpoint_traffic(struct sonde_endpoint *e)
{
    if (e)
        atomic_store_explicit(&e->traffic, clock_mono_ns(), memory_order_relaxed);
}

// ---- deciding -------------------------------------------------------------------------------------------------------
static bool listed_ready(void)
{
    struct json j;
    struct arena arena;
    struct slice name;
    bool all = true;
    arena_init(&arena, KIB(64));
    json_init(&j, slice_str(list), &arena, NULL);
    json_array(&j);
    while (json_next_item(&j) && json_string(&j, &name)) {
        const struct sonde_endpoint *e = endpoints;
        while (e && !slice_eq(slice_str(e->name), name))
            e = e->next;
        all &= e && up(e);
    }
    arena_free(&arena);
    return all;
}

static bool decide(void)
{
    bool all = true, targets = false;
    if (list[0])
        return listed_ready();
    for (const struct sonde_endpoint *e = endpoints; e; e = e->next)
        targets |= e->canary != NULL;
    if (!targets && !(canaries && endpoints))
        return process_ready > 0;
    for (const struct sonde_endpoint *e = endpoints; e; e = e->next)
        all &= up(e) || (targets && !e->canary);
    return all;
}

bool status_health(struct buf *out)
{
    struct jw w = jw_to(out);
    ready_to_go();
    pthread_mutex_lock(&lock);
    bool ready = decide();
    jw_obj(&w);
    JW_KEY(&w, "endpoints");
    jw_obj(&w);
    for (const struct sonde_endpoint *e = endpoints; e; e = e->next) {
        jw_key(&w, slice_str(e->name));
        jw_str(&w, slice_str(up(e) ? "ready" : "notready"));
    }
    jw_obj_end(&w);
    pthread_mutex_unlock(&lock);
    int64_t up_ns = clock_mono_ns() - started_ns;
    JW_KEY(&w, "status");
    jw_str(&w, slice_str(ready ? "ready" : "notready"));
    JW_KEY(&w, "uptime");
    jw_obj(&w);
    JW_KEY(&w, "nanos");
    jw_i64(&w, up_ns % 1000000000);
    JW_KEY(&w, "secs");
    jw_i64(&w, up_ns / 1000000000);
    jw_obj_end(&w);
    jw_obj_end(&w);
    return ready;
}

bool sonde_status_is_ready(void)
{
    ready_to_go();
    pthread_mutex_lock(&lock);
    bool ready = decide();
    pthread_mutex_unlock(&lock);
    return ready;
}

void status_canaries(void)
{
    ready_to_go();
    pthread_mutex_lock(&lock);
    for (struct sonde_endpoint *e = endpoints; e; e = e->next)
        start_canary(e);
    pthread_mutex_unlock(&lock);
}

// The endpoints stay, as the child may serve them; the canaries' threads are the parent's, until the child has a server.
void status_child(void)
{
    pthread_mutex_init(&lock, NULL);
    new_condition();
    generation++;
    for (struct sonde_endpoint *e = endpoints; e; e = e->next) {
        e->has_thread = false;
        e->asked = 0;
        e->traffic = clock_mono_ns();
    }
}
