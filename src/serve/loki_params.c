// Parameters of Loki's API: names, defaults and what is refused.
#include "base/clock.h"
#include "serve/loki_int.h"
#include "serve/serve.h"

bool loki_param(struct loki_job *j, const char *name, struct slice *out)
{
    return http_req_param(j->req, slice_str(name), 0, out) && out->n > 0;
}

static enum errc bad(struct error *err, const char *name, struct slice value, const char *want)
{
    return ERR(err, INPUT, "parameter %s=\"%.*s\": %s", name, (int)(value.n < 60 ? value.n : 60), value.p, want);
}

enum errc loki_param_duration(struct loki_job *j, const char *name, int64_t *out, struct error *err)
{
    struct slice s;
    double seconds;
    if (!loki_param(j, name, &s))
        return ERR_OK;
    if (slice_to_f64(s, &seconds)) {
        if (!(seconds > -9e9 && seconds < 9e9))
            return bad(err, name, s, "out of range");
        *out = (int64_t)(seconds * 1e9);
        return ERR_OK;
    }
    if (memchr(s.p, '.', s.n) || !unit_duration_long(s, out))
        return bad(err, name, s, "write seconds, or a duration like 30s, 5m, 1h30m");
    return ERR_OK;
}

enum errc loki_param_time(struct loki_job *j, const char *name, int64_t *out, struct error *err)
{
    if (!server_param_time(j->req, name, out, err))
        return ERR_INPUT;
    // Between 1938 and 2116: sums with ranges and offsets stay within 64 bits.
    if (*out < -1000000000000000000 || *out > 4611686018427387904)
        return ERR(err, INPUT, "parameter %s is out of range", name);
    return ERR_OK;
}

enum errc loki_param_range(struct loki_job *j, int64_t since, int64_t *start, int64_t *end, struct error *err)
{
    *end = j->now;
    TRY(loki_param_time(j, "end", end, err));
    TRY(loki_param_duration(j, "since", &since, err));
    if (since < 0 || since > j->now)
        return ERR(err, INPUT, "parameter since is out of range");
    *start = (*end < j->now ? *end : j->now) - since;
    TRY(loki_param_time(j, "start", start, err));
    if (*start > *end)
        return ERR(err, INPUT, "the end of the range lies before its start");
    return ERR_OK;
}

enum errc loki_param_limit(struct loki_job *j, uint32_t standard, uint32_t *out, struct error *err)
{
    struct slice s;
    int64_t v;
    *out = standard;
    if (!loki_param(j, "limit", &s))
        return ERR_OK;
    if (!slice_to_i64(s, &v) || v <= 0)
        return bad(err, "limit", s, "write a whole number above 0");
    if (v > j->q.limits.max_entries)
        return ERR(err, LIMIT, "parameter limit=%lld is above the maximum of %u entries", (long long)v, j->q.limits.max_entries);
    *out = (uint32_t)v;
    return ERR_OK;
}

enum errc loki_param_forward(struct loki_job *j, bool *forward, struct error *err)
{
    struct slice s;
    *forward = false;
    if (!loki_param(j, "direction", &s) || slice_ieq(s, SLICE("backward")))
        return ERR_OK;
    if (!slice_ieq(s, SLICE("forward")))
        return bad(err, "direction", s, "write forward or backward");
    *forward = true;
    return ERR_OK;
}

enum errc loki_param_step(struct loki_job *j, int64_t start, int64_t end, int64_t *step, struct error *err)
{
    struct slice s;
    int64_t seconds = (end - start) / 250000000000ll;
    *step = (seconds > 0 ? seconds : 1) * 1000000000;
    TRY(loki_param_duration(j, "step", step, err));
    if (*step <= 0 && loki_param(j, "step", &s))
        return bad(err, "step", s, "must be above 0");
    return ERR_OK;
}

enum errc loki_param_selector(struct loki_job *j, const char *name, int nth, struct logql_plan **plan, struct error *err)
{
    struct slice s;
    struct logql_plan *p;
    *plan = NULL;
    if (!http_req_param(j->req, slice_str(name), nth, &s) || !s.n)
        return ERR_OK;
    TRY(logql_compile(&p, s, LOGQL_ALLOW_EMPTY, err));
    if (p->metric || p->logs.pipeline.n) {
        logql_plan_free(p);
        return ERR(err, INPUT, "only a log selector like {app=\"x\"} is supported in the parameter %s", name);
    }
    *plan = p;
    return ERR_OK;
}
