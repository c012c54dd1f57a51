// Prometheus' HTTP API: queries, and how every answer is wrapped.
#include "base/clock.h"
#include "base/limits.h"
#include "serve/prom_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- parameters -----------------------------------------------------------------------------------------------------

bool prom_param(struct prom_api_call *c, const char *name, struct slice *out)
{
    return http_req_param(c->job->req, slice_str(name), 0, out) && out->n > 0;
}

static enum errc bad(struct prom_api_call *c, const char *name, struct slice value, const char *what)
{
    c->bad_data = true;
    value = slice_cut(value, 100);
    return ERR(&c->err, INPUT, "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid %s", name, (int)value.n, value.p,
               what);
}

enum errc prom_param_time(struct prom_api_call *c, const char *name, int64_t *ms)
{
    struct slice s;
    double seconds;
    int64_t ns;
    if (!prom_param(c, name, &s))
        return ERR_OK;
    if (slice_to_f64(s, &seconds)) {
        if (!(fabs(seconds) < 9e9))
            return bad(c, name, s, "timestamp: write seconds since 1970, or 2026-01-31T12:00:00Z");
        *ms = (int64_t)round(seconds * 1000);
        return ERR_OK;
    }
    if (!time_parse(s.p, s.n, &ns))
        return bad(c, name, s, "timestamp: write seconds since 1970, or 2026-01-31T12:00:00Z");
    *ms = ns / 1000000;
    return ERR_OK;
}

static enum errc param_duration(struct prom_api_call *c, const char *name, int64_t *ms)
{
    struct slice s;
    double seconds;
    if (!prom_param(c, name, &s))
        return ERR_OK;
    if (slice_to_f64(s, &seconds)) {
        if (!(fabs(seconds) < 9e9))
            return bad(c, name, s, "duration. It overflows");
        *ms = (int64_t)(seconds * 1000);
        return ERR_OK;
    }
    return prom_duration_read(s, ms) ? ERR_OK : bad(c, name, s, "duration: write seconds, or 30s, 5m, 1h30m");
}

enum errc prom_param_limit(struct prom_api_call *c, const char *name, uint32_t *out)
{
    struct slice s;
    int64_t v;
    *out = UINT32_MAX;
    if (!prom_param(c, name, &s))
        return ERR_OK;
    if (!slice_to_i64(s, &v) || v < 0 || v > UINT32_MAX)
        return bad(c, name, s, "number: limit must be non-negative");
    *out = v ? (uint32_t)v : UINT32_MAX;
    return ERR_OK;
}

enum errc prom_param_query(struct prom_api_call *c, struct promql **out)
{
    struct slice text = SLICE("");
    prom_param(c, "query", &text);
    enum errc rc = promql_parse(out, text, &c->err);
    if (rc != ERR_OK) {
        c->bad_data = true;
        error_prefix(&c->err, "invalid parameter \"query\": ");
    }
    return rc;
}

// ---- every answer ---------------------------------------------------------------------------------------------------

static void reply_error(struct prom_api_call *c)
{
    struct buf b;
    int status = 422;
    const char *type = "execution";
    switch (c->bad_data ? ERR_SYNTAX : c->err.code) {
    case ERR_SYNTAX:
        status = 400, type = "bad_data";
        break;
    case ERR_TIMEOUT:
        status = 503, type = "timeout";
        break;
    case ERR_CANCELLED:
        status = 499, type = "canceled";
        break;
    case ERR_NOTFOUND:
        status = 404, type = "not_found";
        break;
    case ERR_INPUT:
    case ERR_LIMIT:
        break;
    default:
        status = 500, type = "internal";
    }
    buf_init(&b, MAX_SHORT_TEXT);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, SLICE("error"));
    JW_KEY(&w, "errorType");
    jw_str(&w, slice_str(type));
    JW_KEY(&w, "error");
    jw_str(&w, slice_str(c->err.msg));
    jw_obj_end(&w);
    http_reply(c->job->req, status, SLICE("application/json"), buf_slice(&b));
    buf_free(&b);
}

static void notes(struct buf *out, const char *key, const struct slice *s, uint32_t n, const char *more, const char *more2)
{
    if (!n && !more && !more2)
        return;
    struct jw w = jw_to(out);
    buf_printf(out, ",\"%s\":", key);
    jw_arr(&w);
    for (uint32_t i = 0; i < n; i++)
        jw_str(&w, s[i]);
    if (more)
        jw_str(&w, slice_str(more));
    if (more2)
        jw_str(&w, slice_str(more2));
    jw_arr_end(&w);
}

static void reply_data(struct prom_api_call *c)
{
    struct buf b;
    buf_init(&b, MAX_HTTP_REPLY);
    buf_str(&b, "{\"status\":\"success\",\"data\":");
    buf_add(&b, buf_slice(&c->out));
    notes(&b, "warnings", c->res.warnings, c->res.n_warnings, c->truncated ? "results truncated due to limit" : NULL, c->damaged);
    notes(&b, "infos", c->res.infos, c->res.n_infos, NULL, NULL);
    buf_char(&b, '}');
    if (b.err || c->out.err) {
        ERR(&c->err, LIMIT, "the answer is larger than %zu MiB: narrow the query, or ask for a larger step",
            MAX_HTTP_REPLY >> 20);
        reply_error(c);
    } else {
        http_reply(c->job->req, 200, SLICE("application/json"), buf_slice(&b));
    }
    buf_free(&b);
}

static bool gone(void *arg)
{
    return http_req_gone(arg);
}

static void run(struct query_job *job, prom_handler *fn)
{
    struct prom_api_call c = {.job = job, .now = clock_wall_ns() / 1000000};
    struct query_limits limits;
    const struct serve_settings *set = job->server->settings;
    query_limits_default(&limits);
    limits.max_bytes = (uint64_t)set->query_bytes;
    limits.timeout_ns = set->query_timeout;
    limits.max_memory = PROM_MAX_MEMORY;
    buf_init(&c.out, MAX_HTTP_REPLY);
    enum errc rc = query_init(&c.q, query_source_store(job->server->store), job->tenant, &limits, &c.err);
    c.q.gone = gone;
    c.q.gone_arg = job->req;
    int64_t timeout = set->query_timeout / 1000000;
    if (rc == ERR_OK)
        rc = param_duration(&c, "timeout", &timeout);
    if (timeout > 0 && timeout < set->query_timeout / 1000000) {
        c.q.limits.timeout_ns = timeout * 1000000;
        c.q.budget.deadline_mono = clock_mono_ns() + timeout * 1000000;
    }
    if (rc == ERR_OK)
        rc = fn(&c);
    if (rc == ERR_OK)
        reply_data(&c);
    else
        reply_error(&c);
    buf_free(&c.out);
    query_free(&c.q);
}

// ---- query, query_range ---------------------------------------------------------------------------------------------

static void stats(struct prom_api_call *c, int64_t started)
{
    struct slice s;
    if (!prom_param(c, "stats", &s))
        return;
    double seconds = (double)(clock_mono_ns() - started) / 1e9;
    buf_printf(
        &c->out,
        ",\"stats\":{\"timings\":{\"evalTotalTime\":%.9f,\"resultSortTime\":0,\"queryPreparationTime\":0,\"innerEvalTime\":%.9f,"
        "\"execQueueTime\":0,\"execTotalTime\":%.9f},\"samples\":{\"totalQueryableSamples\":%llu,\"peakSamples\":%llu}}",
        seconds, seconds, seconds, (unsigned long long)c->res.samples, (unsigned long long)c->res.samples);
}

static enum errc evaluate(struct prom_api_call *c, const struct promql *p, struct prom_request *r)
{
    int64_t started = clock_mono_ns();
    uint32_t limit;
    TRY(prom_param_limit(c, "limit", &limit));
    TRY(param_duration(c, "lookback_delta", &r->lookback));
    r->lookback = r->lookback > 0 ? r->lookback : PROM_LOOKBACK_MS;
    TRY(promql_eval(&c->q, p, r, &c->res, &c->err));
    prom_put_result(c, r, limit);
    stats(c, started);
    buf_char(&c->out, '}');
    return ERR_OK;
}

static enum errc instant(struct prom_api_call *c)
{
    struct promql *p = NULL;
    struct prom_request r;
    enum errc rc;
    prom_request_default(&r);
    r.instant = true;
    r.start = c->now;
    GO(prom_param_time(c, "time", &r.start));
    r.end = r.start;
    GO(prom_param_query(c, &p));
    rc = evaluate(c, p, &r);
out:
    promql_free(p);
    return rc;
}

static enum errc refuse(struct prom_api_call *c, const char *why)
{
    c->bad_data = true;
    return ERR(&c->err, INPUT, "%s", why);
}

static enum errc range_params(struct prom_api_call *c, struct prom_request *r)
{
    static const char *const needed[] = {"start", "end", "step"};
    struct slice s;
    for (int i = 0; i < 3; i++)
        if (!prom_param(c, needed[i], &s)) {
            c->bad_data = true;
            return ERR(&c->err, INPUT, "invalid parameter \"%s\": cannot parse \"\" to a valid %s", needed[i],
                       i < 2 ? "timestamp" : "duration");
        }
    TRY(prom_param_time(c, "start", &r->start));
    TRY(prom_param_time(c, "end", &r->end));
    TRY(param_duration(c, "step", &r->step));
    if (r->end < r->start)
        return refuse(c, "invalid parameter \"end\": end timestamp must not be before start time");
    if (r->step <= 0)
        return refuse(
            c, "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive "
               "integer");
    if ((r->end - r->start) / r->step > PROM_MAX_STEPS)
        return refuse(
            c, "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)");
    return ERR_OK;
}

static enum errc range(struct prom_api_call *c)
{
    struct promql *p = NULL;
    struct prom_request r;
    enum errc rc;
    prom_request_default(&r);
    GO(range_params(c, &r));
    GO(prom_param_query(c, &p));
    if (p->root->type != PROM_SCALAR && p->root->type != PROM_VECTOR) {
        c->bad_data = true;
        rc = ERR(&c->err, INPUT,
                 "invalid parameter \"query\": invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                 prom_type_text(p->root->type));
        goto out;
    }
    rc = evaluate(c, p, &r);
out:
    promql_free(p);
    return rc;
}

static enum errc format(struct prom_api_call *c)
{
    struct promql *p = NULL;
    struct buf text;
    struct jw w = jw_to(&c->out);
    buf_init(&text, MAX_QUERY_PRINTED);
    enum errc rc = prom_param_query(c, &p);
    if (rc == ERR_OK) {
        promql_print_pretty(p->root, &text);
        jw_str(&w, buf_slice(&text));
    }
    promql_free(p);
    buf_free(&text);
    return rc;
}

static enum errc parse(struct prom_api_call *c)
{
    struct promql *p = NULL;
    struct jw w = jw_to(&c->out);
    enum errc rc = prom_param_query(c, &p);
    if (rc == ERR_OK)
        promql_json(p->root, &w);
    promql_free(p);
    return rc;
}

// ---- targets --------------------------------------------------------------------------------------------------------

// What is scraped shows in the series `up`, whoever scrapes it: ourselves, or an agent that writes to us.
static enum errc targets(struct prom_api_call *c)
{
    struct promql *p = NULL;
    struct prom_request r;
    enum errc rc;
    struct jw w = jw_to(&c->out);
    prom_request_default(&r);
    r.instant = true;
    r.start = r.end = c->now;
    GO(promql_parse(&p, SLICE("up"), &c->err));
    GO(promql_eval(&c->q, p, &r, &c->res, &c->err));
    buf_str(&c->out, "{\"activeTargets\":");
    jw_arr(&w);
    for (uint32_t i = 0; i < c->res.vector.n; i++) {
        const struct prom_series *s = &c->res.vector.s[i];
        struct slice job = SLICE("");
        for (uint32_t l = 0; l < s->n; l++)
            job = slice_eq(s->l[l].name, SLICE("job")) ? s->l[l].value : job;
        bool up = s->has[0] == PROM_HAS_FLOAT && s->v[0] == 1;
        jw_obj(&w);
        JW_KEY(&w, "discoveredLabels");
        jw_raw(&w, SLICE("{}"));
        JW_KEY(&w, "labels");
        jw_raw(&w, SLICE(""));
        prom_put_labels(&c->out, s->l + (s->n && slice_eq(s->l[0].name, SLICE("__name__"))),
                        s->n - (s->n && slice_eq(s->l[0].name, SLICE("__name__"))));
        JW_KEY(&w, "scrapePool");
        jw_str(&w, job);
        JW_KEY(&w, "health");
        jw_str(&w, up ? SLICE("up") : SLICE("down"));
        JW_KEY(&w, "lastError");
        jw_str(&w, up ? SLICE("") : SLICE("the target's page could not be fetched or read"));
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    buf_str(&c->out, ",\"droppedTargets\":[],\"droppedTargetCounts\":{}}");
out:
    promql_free(p);
    return rc;
}

// ---- routes ---------------------------------------------------------------------------------------------------------

#define CALL(name, fn)                      \
    static void name(struct query_job *job) \
    {                                       \
        run(job, fn);                       \
    }
CALL(run_instant, instant)
CALL(run_range, range)
CALL(run_format, format)
CALL(run_parse, parse)
CALL(run_labels, prom_labels_get)
CALL(run_values, prom_label_values)
CALL(run_series, prom_series_get)
CALL(run_metadata, prom_metadata)
CALL(run_exemplars, prom_exemplars)
CALL(run_tsdb, prom_tsdb)
CALL(run_targets, targets)

#define CONSTANT(name, text)                                                                                       \
    static void name(struct query_job *job)                                                                        \
    {                                                                                                              \
        http_reply(job->req, 200, SLICE("application/json"), SLICE("{\"status\":\"success\",\"data\":" text "}")); \
    }
CONSTANT(rules, "{\"groups\":[]}")
CONSTANT(alerts, "{\"alerts\":[]}")
CONSTANT(alertmanagers, "{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}")

static void healthy(struct query_job *job)
{
    http_reply_text(job->req, 200, "Sonde is healthy.");
}
static void ready(struct query_job *job)
{
    http_reply_text(job->req, 200, "Sonde is ready.");
}

size_t prom_routes(struct server *s, struct http_route *out, size_t max)
{
    static const struct query_route rows[] = {
        {"GET", "/api/v1/query", run_instant, "PromQL at one time"},
        {"POST", "/api/v1/query", run_instant, "PromQL at one time"},
        {"GET", "/api/v1/query_range", run_range, "PromQL at equal steps"},
        {"POST", "/api/v1/query_range", run_range, "PromQL at equal steps"},
        {"GET", "/api/v1/format_query", run_format, "PromQL in canonical form"},
        {"POST", "/api/v1/format_query", run_format, "PromQL in canonical form"},
        {"GET", "/api/v1/parse_query", run_parse, "PromQL as a tree"},
        {"POST", "/api/v1/parse_query", run_parse, "PromQL as a tree"},
        {"GET", "/api/v1/labels", run_labels, "names of metrics' labels"},
        {"POST", "/api/v1/labels", run_labels, "names of metrics' labels"},
        {"GET", "/api/v1/label/{name}/values", run_values, "values of a metrics' label"},
        {"GET", "/api/v1/series", run_series, "label sets of metrics' series"},
        {"POST", "/api/v1/series", run_series, "label sets of metrics' series"},
        {"GET", "/api/v1/metadata", run_metadata, "type, unit and help of metrics"},
        {"GET", "/api/v1/query_exemplars", run_exemplars, "exemplars, with the ids of their traces"},
        {"POST", "/api/v1/query_exemplars", run_exemplars, "exemplars, with the ids of their traces"},
        {"GET", "/api/v1/targets", run_targets, "what is scraped, from the series up"},
        {"GET", "/api/v1/rules", rules, "none: rules are not evaluated"},
        {"GET", "/api/v1/alerts", alerts, "none"},
        {"GET", "/api/v1/alertmanagers", alertmanagers, "none"},
        {"GET", "/-/healthy", healthy, "200, as Prometheus says it"},
        {"GET", "/-/ready", ready, "200, as Prometheus says it"},
        {"GET", "/api/v1/status/buildinfo", prom_buildinfo, "version, as Prometheus tells it"},
        {"GET", "/api/v1/status/config", prom_config, "settings as Prometheus shows its file"},
        {"GET", "/api/v1/status/flags", prom_flags, "settings"},
        {"GET", "/api/v1/status/runtimeinfo", prom_runtimeinfo, "since when, how many series"},
        {"GET", "/api/v1/status/tsdb", run_tsdb, "series by metric and label"},
    };
    size_t n = query_routes(s, rows, sizeof rows / sizeof *rows, out, max);
    for (size_t i = 0; i < n; i++)
        if (strcmp(out[i].method, "POST") == 0)
            out[i].body_max = MAX_QUERY_TEXT * 4;
    return n;
}
