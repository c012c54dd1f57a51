// The frontend: OpenAI's chat completions in front of prefill and decode workers.
//
//   POST /v1/chat/completions   GET /v1/models   GET /v1/models/{id}   GET /health   GET /live   GET /metrics
#define SONDE_TARGET "inference::frontend"
#include "base/clock.h"
#include "front_metrics.h"

#include <sonde/status.h>
#include <stddef.h>

struct front front;

#define ROW(flag, type, value, min, max, arg, about, field)                                   \
    {                                                                                         \
        flag, NULL, type, value, min, max, arg, about, offsetof(struct front_settings, field) \
    }
static const struct setting rows[] = {
    ROW("listen", SETTING_STR, "127.0.0.1:8000", 0, 0, "ADDR", "where to listen; port 0 takes a free one", listen),
    ROW("prefill", SETTING_STR, "http://127.0.0.1:8081", 0, 0, "URL,…", "the prefill workers", prefill),
    ROW("decode", SETTING_STR, "http://127.0.0.1:8082", 0, 0, "URL,…", "the decode workers", decode),
    ROW("model", SETTING_STR, "tiny", 0, 0, "NAME", "the name of the model that is served", model),
    ROW("context", SETTING_INT, "32768", 16, 100000000, "TOKENS", "the longest prompt and answer together", context),
    ROW("timeout", SETTING_DURATION, "5s", 1, INT64_MAX, "TIME", "silence of a worker after which a request is given up",
        timeout_ns),
    ROW("aside", SETTING_DURATION, "5s", 0, 0, "TIME", "how long a worker is not chosen after it was lost", aside_ns),
    ROW("retries", SETTING_INT, "2", 0, 100, "N", "further attempts after a refused connection or an overloaded worker", retries),
    ROW("storm-retries", SETTING_INT, "12", 0, 1000, "N", "the same under the fault retry-storm", storm_retries),
    ROW("retry-delay", SETTING_DURATION, "5ms", 0, 0, "TIME", "pause between attempts", retry_delay_ns),
    ROW("fault", SETTING_STR, NULL, 0, 0, "NAME[=SHARE],…", "faults for a share of the requests, passed on to the workers",
        fault),
    ROW("dump-config-to", SETTING_STR, NULL, 0, 0, "FILE", DUMP_ABOUT, dump),
};

static void on_models(struct http_req *r, void *arg)
{
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    openai_models(&b);
    reply_json(r, 200, &b);
}

static void on_model(struct http_req *r, void *arg)
{
    if (!slice_eq(r->param[0], slice_str(front.set.model))) {
        reply_error(r, 404, "invalid_request_error", "model_not_found", "model",
                    "no such model; GET /v1/models lists what is served");
        return;
    }
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    struct jw w = jw_to(&b);
    openai_model(&w);
    reply_json(r, 200, &b);
}

static void write_pool(struct jw *w, const struct pool *p)
{
    int64_t now = clock_mono_ns();
    for (size_t i = 0; i < p->n; i++) {
        jw_obj(w);
        JW_KEY(w, "phase");
        jw_str(w, slice_str(p->phase));
        JW_KEY(w, "url");
        jw_str(w, slice_str(p->w[i].url));
        JW_KEY(w, "worker_id");
        jw_str(w, slice_str(p->w[i].id));
        JW_KEY(w, "put_aside");
        jw_bool(w, p->w[i].aside_until > now);
        jw_obj_end(w);
    }
}

// As Dynamo's frontend lists whom it has found.
static void write_instances(struct jw *w, const struct pool *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!p->w[i].id[0] || p->w[i].aside_until > clock_mono_ns())
            continue;
        jw_obj(w);
        JW_KEY(w, "component");
        jw_str(w, p == &front.decode ? SLICE("backend") : SLICE("prefill"));
        JW_KEY(w, "endpoint");
        jw_str(w, SLICE("generate"));
        JW_KEY(w, "instance_id");
        jw_str(w, slice_str(p->w[i].id));
        JW_KEY(w, "namespace");
        jw_str(w, SLICE("dynamo"));
        JW_KEY(w, "transport");
        jw_obj(w);
        JW_KEY(w, "http");
        jw_str(w, slice_str(p->w[i].url));
        jw_obj_end(w);
        jw_obj_end(w);
    }
}

// 200 while a request could be served, as far as is known.
static void on_health(struct http_req *r, void *arg)
{
    bool good = !front.service.draining && pool_usable(&front.prefill) && pool_usable(&front.decode);
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "endpoints");
    jw_arr(&w);
    if (pool_usable(&front.prefill))
        jw_str(&w, SLICE("dyn://dynamo.prefill.generate"));
    if (pool_usable(&front.decode))
        jw_str(&w, SLICE("dyn://dynamo.backend.generate"));
    jw_arr_end(&w);
    JW_KEY(&w, "instances");
    jw_arr(&w);
    write_instances(&w, &front.prefill);
    write_instances(&w, &front.decode);
    jw_arr_end(&w);
    JW_KEY(&w, "status");
    jw_str(&w, good ? SLICE("healthy") : front.service.draining ? SLICE("draining") : SLICE("unhealthy"));
    JW_KEY(&w, "workers");
    jw_arr(&w);
    write_pool(&w, &front.prefill);
    write_pool(&w, &front.decode);
    jw_arr_end(&w);
    jw_obj_end(&w);
    reply_json(r, good ? 200 : 503, &b);
}

static void on_live(struct http_req *r, void *arg)
{
    http_reply(r, 200, SLICE("application/json"), SLICE("{\"message\":\"the process runs\",\"status\":\"live\"}"));
}

static void on_metrics(struct http_req *r, void *arg)
{
    reply_metrics(r, fm.page);
}

static void on_unknown(struct http_req *r, void *arg)
{
    reply_error(r, 404, "invalid_request_error", "unknown_url", NULL, "no such path; try POST /v1/chat/completions");
}

static void on_refused(struct http_req *r, int status, const char *why, void *arg)
{
    reply_error(r, status, status < 500 ? "invalid_request_error" : "server_error", NULL, NULL, why);
}

static const struct http_route routes[] = {
    {"POST", "/v1/chat/completions", on_chat, NULL, MAX_SERVICE_BODY, "a chat completion"},
    {"GET", "/v1/models", on_models, NULL, 0, "what is served"},
    {"GET", "/v1/models/{id}", on_model, NULL, 0, "one model"},
    {"GET", "/health", on_health, NULL, 0, "state of the workers"},
    {"GET", "/live", on_live, NULL, 0, "the process runs"},
    {"GET", "/metrics", on_metrics, NULL, 0, "what it counts"},
};

int main(int argc, char **argv)
{
    struct error err = {0};
    service_settings("frontend: OpenAI's chat completions over prefill and decode workers", rows, sizeof rows / sizeof *rows,
                     &front.set, argc, argv);
    front.started = clock_wall_ns() / 1000000000;
    const struct http_server_options o = {
        .routes = routes, .n_routes = sizeof routes / sizeof *routes, .not_found = on_unknown, .refused = on_refused};
    if (pool_read(&front.prefill, "prefill", front.set.prefill, &err) != ERR_OK ||
        pool_read(&front.decode, "decode", front.set.decode, &err) != ERR_OK ||
        fault_mix_parse(front.set.fault, &front.faults, &err) != ERR_OK ||
        service_start(&front.service,
                      &(const struct service_about){"frontend", rows, sizeof rows / sizeof *rows, &front.set, front.set.dump},
                      front.set.listen, &o, &err) != ERR_OK) {
        fprintf(stderr, "frontend: %s\n", err.msg);
        return 1;
    }
    front_metrics_start();
    sonde_status_metrics(fm.page);
    sonde_status_ready(true);
    front.probe = loop_timer_new(front.service.loop, workers_probe, NULL);
    if (!front.probe)
        return 1;
    loop_timer_set(front.probe, 0);
    return service_run(&front.service);
}
