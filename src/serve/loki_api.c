#include "base/clock.h"
#include "base/limits.h"
#include "serve/loki_int.h"
#include "serve/serve.h"

enum { QUEUE_PER_THREAD = 64 };

// ---- jobs -----------------------------------------------------------------------------------------------------------

static bool gone(void *arg)
{
    return http_req_gone(arg);
}

static void reply_error(struct loki_job *j, const struct error *err)
{
    struct buf b;
    if (!j->json_error) {
        server_reply_error(j->req, err);
        return;
    }
    buf_init(&b, MAX_SHORT_TEXT);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, SLICE("invalid-query"));
    JW_KEY(&w, "error");
    jw_str(&w, slice_str(err->msg));
    jw_obj_end(&w);
    http_reply(j->req, 400, SLICE("application/json; charset=UTF-8"), buf_slice(&b));
    buf_free(&b);
}

static void run_job(void *arg)
{
    struct loki_job *j = arg;
    struct error err = {0};
    struct buf out;
    buf_init(&out, MAX_HTTP_REPLY);
    j->started = clock_mono_ns();
    j->now = clock_wall_ns();
    enum errc rc = query_init(&j->q, query_source_store(j->api->store), j->tenant, &j->api->limits, &err);
    j->q.gone = gone;
    j->q.gone_arg = j->req;
    j->q.stats.queue_ns = j->started - j->arrived;
    if (rc == ERR_OK)
        rc = j->fn(j, &out, &err);
    if (rc == ERR_OK && out.err)
        rc = ERR(&err, LIMIT, "the answer is larger than %zu MiB: narrow the query", MAX_HTTP_REPLY >> 20);
    query_free(&j->q);
    if (rc == ERR_OK)
        http_reply(j->req, 200, SLICE("application/json; charset=UTF-8"), buf_slice(&out));
    else
        reply_error(j, &err);
    buf_free(&out); // the job itself went with the request
}

struct loki_endpoint {
    const char *method, *path;
    enum errc (*fn)(struct loki_job *j, struct buf *out, struct error *err);
    const char *about;
    bool json_error;
};
static void handle(struct http_req *req, void *arg)
{
    const struct loki_bound *b = arg;
    struct error err = {0};
    struct loki_job *j = arena_zalloc(req->arena, sizeof *j);
    if (!j) {
        http_reply_text(req, 503, "out of memory");
        return;
    }
    *j = (struct loki_job){
        .api = b->api, .req = req, .fn = b->endpoint->fn, .arrived = clock_mono_ns(), .json_error = b->endpoint->json_error};
    if (server_tenant(req, &j->tenant, &err) != ERR_OK) {
        server_reply_error(req, &err);
        return;
    }
    if (pool_submit(b->api->pool, run_job, j) != ERR_OK)
        http_reply_text(req, 429, "too many outstanding requests: %d queries wait already; try again later", QUEUE_PER_THREAD);
}

// ---- query, query_range ---------------------------------------------------------------------------------------------

static enum errc query_plan(struct loki_job *j, struct logql_plan **plan, struct error *err)
{
    struct slice text;
    if (!loki_param(j, "query", &text))
        return ERR(err, INPUT, "parse error: the parameter query is missing or empty");
    return logql_compile(plan, text, 0, err);
}

static void begin(struct buf *out, const char *type)
{
    buf_printf(out, "{\"status\":\"success\",\"data\":{\"resultType\":\"%s\",\"result\":", type);
}

static void finish(struct loki_job *j, struct buf *out)
{
    j->q.stats.exec_ns = clock_mono_ns() - j->started;
    buf_str(out, ",\"stats\":");
    loki_put_stats(out, &j->q);
    buf_str(out, "}}");
}

static enum errc run_logs(struct loki_job *j, struct logql_plan *p, struct buf *out, struct error *err)
{
    struct log_result r;
    struct slice flags = http_req_header(j->req, SLICE("x-loki-response-encoding-flags"));
    bool categorize = slice_find(flags, SLICE("categorize-labels")) >= 0;
    TRY(log_query_run(&j->q, &p->logs, &r, err));
    begin(out, "streams");
    loki_put_streams(out, &r, categorize);
    if (categorize)
        buf_str(out, ",\"encodingFlags\":[\"categorize-labels\"]");
    finish(j, out);
    log_result_free(&r);
    return ERR_OK;
}

static enum errc run_metric(struct loki_job *j, const struct logql_plan *p, const struct expr_env *env, bool range,
                            struct buf *out, struct error *err)
{
    struct matrix m;
    TRY(expr_eval(p->expr, env, &m, err));
    if (!range && m.scalar) {
        begin(out, "scalar");
        buf_printf(out, "[%lld,\"", (long long)(env->start / 1000000));
        buf_f64(out, m.s[0].v[0]);
        buf_str(out, "\"]");
        finish(j, out);
        return ERR_OK;
    }
    matrix_finish(&m);
    if (m.n > j->q.limits.max_series)
        return ERR(err, LIMIT, "the answer has %u series, more than the maximum of %u: aggregate by fewer labels", m.n,
                   j->q.limits.max_series);
    j->q.stats.entries = m.n;
    begin(out, range ? "matrix" : "vector");
    loki_put_matrix(out, &m, env->start, env->step, range);
    finish(j, out);
    return ERR_OK;
}

static enum errc query_instant(struct loki_job *j, struct buf *out, struct error *err)
{
    struct logql_plan *p = NULL;
    struct expr_env env = {.q = &j->q, .start = j->now, .step = 1, .steps = 1};
    uint32_t limit;
    bool forward;
    enum errc rc;
    GO(query_plan(j, &p, err));
    GO(loki_param_limit(j, 100, &limit, err));
    GO(loki_param_forward(j, &forward, err));
    GO(loki_param_time(j, "time", &env.start, err));
    if (!p->metric)
        rc = ERR(err, INPUT, "log queries are not supported as an instant query type; ask query_range instead");
    else
        rc = run_metric(j, p, &env, false, out, err);
out:
    logql_plan_free(p);
    return rc;
}

static enum errc query_range(struct loki_job *j, struct buf *out, struct error *err)
{
    struct logql_plan *p = NULL;
    int64_t start, end, step, interval = 0;
    uint32_t limit;
    bool forward;
    enum errc rc;
    GO(query_plan(j, &p, err));
    GO(loki_param_range(j, 3600 * 1000000000ll, &start, &end, err));
    GO(loki_param_limit(j, 100, &limit, err));
    GO(loki_param_forward(j, &forward, err));
    GO(loki_param_step(j, start, end, &step, err));
    GO(loki_param_duration(j, "interval", &interval, err));
    if (interval < 0) {
        rc = ERR(err, INPUT, "parameter interval must not be negative");
        goto out;
    }
    if (!p->metric) {
        struct log_query *l = &p->logs;
        l->from = start, l->to = end, l->forward = forward, l->limit = limit, l->interval = interval;
        rc = run_logs(j, p, out, err);
        goto out;
    }
    int64_t steps = (end - start) / step + 1;
    if (steps > j->q.limits.max_steps) {
        rc = ERR(err, LIMIT, "exceeded maximum resolution of %u points per series; ask for a larger step", j->q.limits.max_steps);
        goto out;
    }
    struct expr_env env = {.q = &j->q, .start = start, .step = step, .steps = (uint32_t)steps};
    rc = run_metric(j, p, &env, true, out, err);
out:
    logql_plan_free(p);
    return rc;
}

static enum errc format_query(struct loki_job *j, struct buf *out, struct error *err)
{
    struct slice text;
    struct logql *q = NULL;
    struct logql_plan *p = NULL;
    struct buf printed;
    enum errc rc;
    buf_init(&printed, MAX_QUERY_PRINTED);
    if (!loki_param(j, "query", &text))
        return ERR(err, INPUT, "parse error: the parameter query is missing or empty");
    GO(logql_parse(&q, text, err));
    GO(logql_plan(&p, q, 0, err));
    logql_print(q, &printed);
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, SLICE("success"));
    JW_KEY(&w, "data");
    jw_str(&w, buf_slice(&printed));
    jw_obj_end(&w);
out:
    logql_plan_free(p);
    logql_free(q);
    buf_free(&printed);
    return rc;
}

// ---- routes ---------------------------------------------------------------------------------------------------------

static const struct loki_endpoint endpoints[] = {
    {"GET", "/loki/api/v1/query", query_instant, "LogQL at one time", false},
    {"POST", "/loki/api/v1/query", query_instant, "LogQL at one time", false},
    {"GET", "/loki/api/v1/query_range", query_range, "LogQL over a range of time", false},
    {"POST", "/loki/api/v1/query_range", query_range, "LogQL over a range of time", false},
    {"GET", "/loki/api/v1/labels", loki_labels, "names of stream labels", false},
    {"POST", "/loki/api/v1/labels", loki_labels, "names of stream labels", false},
    {"GET", "/loki/api/v1/label", loki_labels, "names of stream labels", false},
    {"GET", "/loki/api/v1/label/{name}/values", loki_label_values, "values of a stream label", false},
    {"GET", "/loki/api/v1/detected_labels", loki_detected_labels, "stream labels and how many values each has", false},
    {"POST", "/loki/api/v1/detected_labels", loki_detected_labels, "stream labels and how many values each has", false},
    {"GET", "/loki/api/v1/series", loki_series, "label sets of streams", false},
    {"POST", "/loki/api/v1/series", loki_series, "label sets of streams", false},
    {"GET", "/loki/api/v1/index/stats", loki_index_stats, "streams, entries and bytes of a selector", false},
    {"POST", "/loki/api/v1/index/stats", loki_index_stats, "streams, entries and bytes of a selector", false},
    {"GET", "/loki/api/v1/index/volume", loki_volume, "bytes by labels", false},
    {"POST", "/loki/api/v1/index/volume", loki_volume, "bytes by labels", false},
    {"GET", "/loki/api/v1/format_query", format_query, "LogQL in canonical form", true},
    {"POST", "/loki/api/v1/format_query", format_query, "LogQL in canonical form", true},
};
enum { N_ENDPOINTS = sizeof endpoints / sizeof endpoints[0] };

_Static_assert((int)N_ENDPOINTS <= (int)LOKI_ROUTES, "raise LOKI_ROUTES");

size_t loki_api_routes(struct loki_api *a, struct http_route *out, size_t max)
{
    size_t n = 0;
    for (; n < N_ENDPOINTS && n < max; n++) {
        a->bound[n] = (struct loki_bound){a, &endpoints[n]};
        out[n] = (struct http_route){endpoints[n].method, endpoints[n].path,  handle,
                                     &a->bound[n],        MAX_QUERY_TEXT * 4, endpoints[n].about};
    }
    return n;
}

enum errc loki_api_start(struct loki_api *a, struct store *s, int threads, uint64_t query_bytes, int64_t timeout_ns,
                         struct error *err)
{
    *a = (struct loki_api){.store = s};
    query_limits_default(&a->limits);
    a->limits.max_bytes = query_bytes;
    a->limits.timeout_ns = timeout_ns;
    return pool_new(&a->pool, (unsigned)threads, (size_t)threads * QUEUE_PER_THREAD, err);
}

void loki_api_stop(struct loki_api *a)
{
    pool_free(a->pool);
    a->pool = NULL;
}
