#define SONDE_TARGET "inference::status"
#include "work_status.h"
#include "work_metrics.h"

#include <sonde/status.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct {
    struct service *service;
    struct sonde_endpoint *generate;
    void (*resumed)(void);
    _Atomic bool paused; // set by the status server's thread, read by the loop's
} status;

// On a thread of the status server's own, over the socket, as a frontend would.
static bool canary(void *arg, const char *payload, size_t n, unsigned timeout_ms)
{
    char url[120];
    snprintf(url, sizeof url, "%s/generate", status.service->url);
    const struct http_header json = {SLICE("content-type"), SLICE("application/json")};
    const struct http_fetch f = {
        .url = url, .headers = &json, .n_headers = 1, .body = slice_of(payload, n), .timeout_ns = timeout_ms * (int64_t)1000000};
    struct http_answer a;
    bool good = http_fetch(NULL, &f, &a, NULL) == ERR_OK;
    if (good) {
        good = a.status == 200;
        http_answer_free(&a);
    }
    return good;
}

static void answer_state(struct sonde_engine_reply *out)
{
    char json[160];
    int n = snprintf(json, sizeof json, "{\"paused\":%s,\"waiting\":%lld,\"running\":%lld}", status.paused ? "true" : "false",
                     (long long)sonde_int_gauge_value(work.queue_depth), (long long)sonde_int_gauge_value(work.active_tasks));
    sonde_engine_answer(out, json, (size_t)n);
}

static void on_resumed(void *arg)
{
    status.resumed();
}

// arg: null to pause
static bool on_pause(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    bool pause = arg == NULL;
    status.paused = pause;
    sonde_endpoint_ready(status.generate, !pause);
    SONDE_INFO("engine paused or resumed", SONDE_BOOL("paused", pause));
    if (!pause)
        loop_post(status.service->loop, on_resumed, NULL);
    answer_state(out);
    return true;
}

static bool on_kv(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    char json[160];
    int64_t total = sonde_int_gauge_value(work.total_blocks), active = sonde_int_gauge_value(work.active_blocks);
    int n = snprintf(json, sizeof json, "{\"block_tokens\":%d,\"total_blocks\":%lld,\"active_blocks\":%lld,\"usage\":%.4f}",
                     KV_BLOCK, (long long)total, (long long)active, total ? (double)active / (double)total : 0);
    sonde_engine_answer(out, json, (size_t)n);
    return true;
}

static void tell_metadata(const struct service *s, const char *component)
{
    char json[320];
    snprintf(json, sizeof json,
             "{\"namespace\":\"dynamo\",\"component\":\"%s\",\"endpoint\":\"generate\",\"instance_id\":\"%s\",\"transport\":{"
             "\"http\":\"%s\"}}",
             component, s->instance, s->url);
    sonde_status_metadata(json);
    char page[80];
    snprintf(page, sizeof page, "http://127.0.0.1:%d/metrics", sonde_status_port());
    if (sonde_status_port() >= 0)
        sonde_status_metrics_endpoint("dynamo", strtoull(s->instance, NULL, 10), page, NULL, 0);
}

void work_status_start(struct service *s, const char *component, const char *payload, void (*resumed)(void))
{
    status.service = s;
    status.resumed = resumed;
    sonde_status_metrics(work.page);
    tell_metadata(s, component);
    status.generate = sonde_endpoint_new(
        &(struct sonde_endpoint_options){.name = "generate", .ready = true, .canary = canary, .payload = payload});
    sonde_engine_route("pause", on_pause, NULL);
    sonde_engine_route("resume", on_pause, &status);
    sonde_engine_route("kv", on_kv, NULL);
    sonde_status_ready(true);
}

bool work_paused(void)
{
    return status.paused;
}

void work_served(void)
{
    if (status.generate)
        sonde_endpoint_traffic(status.generate);
}
