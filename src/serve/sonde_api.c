// Sonde's own API: the list of requests and one request whole. The answers are described in docs/api-sonde.md.
#include "analyze/request.h"
#include "base/clock.h"
#include "base/limits.h"
#include "serve/query_job.h"
#include "serve/sonde_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LIST_DEFAULT = 50, LIST_MAX = 1000, FIND_DAYS = 30 }; // FIND_DAYS: how far back an id is looked for
static const int64_t HOUR_NS = 3600000000000, DAY_NS = 24 * 3600000000000;

// ---- reading --------------------------------------------------------------------------------------------------------

// A request with all that belongs to it.
struct whole {
    struct trace trace;
    struct request_logs logs;
    struct request request;
};

static void whole_free(struct whole *w)
{
    trace_free(&w->trace);
    request_logs_free(&w->logs);
}

static enum errc whole_load(struct query_job *job, const struct trace_ref *ref, bool thorough, struct arena *arena,
                            struct whole *w, struct error *err)
{
    struct store *s = job->server->store;
    int64_t from = ref->time > INT64_MIN + DAY_NS ? ref->time - DAY_NS : INT64_MIN,
            to = ref->time < INT64_MAX - DAY_NS ? ref->time + DAY_NS : INT64_MAX;
    enum errc rc;
    *w = (struct whole){0};
    TRY(trace_load(s, job->tenant, ref->id, from, to, &job->budget, &w->trace, err));
    rc = request_logs_load(s, job->tenant, &w->trace, thorough, &job->budget, &w->logs, err);
    if (rc == ERR_OK)
        rc = request_analyze(&w->trace, &w->logs, clock_wall_ns(), arena, &w->request, err);
    if (rc != ERR_OK)
        whole_free(w);
    return rc;
}

static void reply_error(struct http_req *r, const struct error *err)
{
    struct buf b;
    buf_init(&b, MAX_SHORT_TEXT);
    struct jw w = jw_to(&b);
    jw_obj(&w);
    json_key_str(&w, "error", slice_str(err->msg));
    jw_obj_end(&w);
    http_reply(r, server_status(err->code), SLICE("application/json"), buf_slice(&b));
    buf_free(&b);
}

struct list_filter {
    int64_t from, to, limit;
    struct slice status, q;
    double min_ms;
};

static enum errc read_filter(struct http_req *r, struct list_filter *f, struct error *err)
{
    struct slice text;
    *f = (struct list_filter){.to = clock_wall_ns() + 60000000000, .limit = LIST_DEFAULT};
    f->from = f->to - HOUR_NS;
    if (!server_param_time(r, "start", &f->from, err) || !server_param_time(r, "end", &f->to, err))
        return err->code;
    if (f->from >= f->to)
        return ERR(err, INPUT, "parameter start must be before end");
    if (http_req_param(r, SLICE("limit"), 0, &text) && text.n &&
        (!slice_to_i64(text, &f->limit) || f->limit < 1 || f->limit > LIST_MAX))
        return ERR(err, INPUT, "parameter limit=\"%.*s\": a whole number from 1 to %d is accepted", (int)slice_cut(text, 40).n,
                   text.p, LIST_MAX);
    if (http_req_param(r, SLICE("min_ms"), 0, &text) && text.n && !slice_to_f64(text, &f->min_ms))
        return ERR(err, INPUT, "parameter min_ms=\"%.*s\" is no number", (int)slice_cut(text, 40).n, text.p);
    http_req_param(r, SLICE("q"), 0, &f->q);
    if (http_req_param(r, SLICE("status"), 0, &f->status) && f->status.n) {
        for (int i = 0; i <= REQUEST_RUNNING; i++)
            if (slice_eq(f->status, slice_str(request_status_text((enum request_status)i))))
                return ERR_OK;
        return ERR(err, INPUT, "parameter status=\"%.*s\": ok, error, cancelled and running are accepted",
                   (int)slice_cut(f->status, 40).n, f->status.p);
    }
    return ERR_OK;
}

static bool wanted(const struct list_filter *f, const struct request *r)
{
    char hex[33];
    snprintf(hex, sizeof hex, "%016" PRIx64 "%016" PRIx64, r->trace_id.hi, r->trace_id.lo);
    if (f->status.n && !slice_eq(f->status, slice_str(request_status_text(r->status))))
        return false;
    if ((double)(r->end - r->start) / 1e6 < f->min_ms)
        return false;
    const struct slice fields[] = {r->id,      slice_of(hex, 32), r->model,        r->service,
                                   r->verdict, r->prefill_worker, r->decode_worker};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (slice_find(fields[i], f->q) >= 0)
            return true;
    return f->q.n == 0;
}

static enum errc write_list(struct query_job *job, const struct list_filter *f, struct buf *out, struct error *err)
{
    struct trace_refs refs = {0};
    struct arena arena;
    struct jw w = jw_to(out);
    int64_t written = 0;
    enum errc rc;
    bool filtered = f->status.n || f->q.n || f->min_ms > 0;
    arena_init(&arena, MAX_QUERY_MEMORY);
    GO(request_list(job->server->store, job->tenant, f->from, f->to, filtered ? 10 * LIST_MAX : (size_t)f->limit, &job->budget,
                    &refs, err));
    jw_obj(&w);
    JW_KEY(&w, "requests");
    jw_arr(&w);
    size_t i = 0;
    for (; i < refs.n && written < f->limit; i++) {
        struct whole whole;
        GO(query_job_check(job, err));
        rc = whole_load(job, &refs.at[i], false, &arena, &whole, err);
        if (rc == ERR_NOTFOUND) { // removed by retention meanwhile
            *err = (struct error){0};
            continue;
        }
        if (rc != ERR_OK)
            goto out;
        if (wanted(f, &whole.request)) {
            sonde_write_summary(&w, &whole.trace, &whole.logs, &whole.request, true);
            written++;
        }
        whole_free(&whole);
        arena_reset(&arena);
    }
    jw_arr_end(&w);
    json_key_bool(&w, "truncated", refs.truncated || i < refs.n);
    jw_obj_end(&w);
    rc = out->err == ERR_OK ? ERR_OK : ERR(err, LIMIT, "the answer is too large; lower limit");
out:
    arena_free(&arena);
    trace_refs_free(&refs);
    return rc;
}

static void list(struct query_job *job)
{
    struct error err = {0};
    struct list_filter f;
    struct buf out;
    buf_init(&out, MAX_REQUEST_ANSWER);
    enum errc rc = read_filter(job->req, &f, &err);
    if (rc == ERR_OK)
        rc = write_list(job, &f, &out, &err);
    if (rc == ERR_OK)
        http_reply(job->req, 200, SLICE("application/json"), buf_slice(&out));
    else
        reply_error(job->req, &err);
    buf_free(&out);
}

static void write_other_traces(struct query_job *job, struct jw *w, const struct trace_refs *refs, struct arena *arena)
{
    JW_KEY(w, "traces");
    jw_arr(w);
    for (size_t i = 0; i < refs->n && i < 100; i++) {
        struct whole other;
        struct error ignored = {0};
        if (whole_load(job, &refs->at[i], false, arena, &other, &ignored) != ERR_OK)
            continue;
        jw_obj(w);
        json_key_id128(w, "trace_id", other.request.trace_id);
        json_key_ns(w, "start_ns", other.request.start);
        json_key_ms(w, "duration_ms", other.request.end - other.request.start);
        json_key_str(w, "status", slice_str(request_status_text(other.request.status)));
        json_key_str(w, "verdict", other.request.verdict);
        jw_obj_end(w);
        whole_free(&other);
    }
    jw_arr_end(w);
}

static const struct trace_ref *choose(const struct trace_refs *refs, struct http_req *r)
{
    struct slice text;
    uint8_t id[16];
    if (http_req_param(r, SLICE("trace"), 0, &text) && text.n == 32 && hex_decode(id, 16, text))
        for (size_t i = 0; i < refs->n; i++)
            if (id128_eq(refs->at[i].id, id128_load(id)))
                return &refs->at[i];
    return &refs->at[0];
}

static enum errc write_one(struct query_job *job, struct arena *arena, struct buf *out, struct error *err)
{
    struct trace_refs refs = {0};
    struct whole whole = {0};
    struct jw w = jw_to(out);
    int64_t from = clock_wall_ns() - FIND_DAYS * DAY_NS, to = clock_wall_ns() + DAY_NS;
    enum errc rc;
    if (!server_param_time(job->req, "start", &from, err) || !server_param_time(job->req, "end", &to, err))
        return err->code;
    GO(request_find(job->server->store, job->tenant, job->req->param[0], from, to, &job->budget, &refs, err));
    GO(whole_load(job, choose(&refs, job->req), true, arena, &whole, err));
    jw_obj(&w);
    JW_KEY(&w, "request");
    sonde_write_summary(&w, &whole.trace, &whole.logs, &whole.request, false);
    write_other_traces(job, &w, &refs, arena);
    sonde_write_lanes(&w, &whole.request);
    JW_KEY(&w, "spans");
    sonde_write_spans(&w, &whole.trace);
    JW_KEY(&w, "logs");
    sonde_write_logs(&w, &whole.logs);
    sonde_write_failure(&w, &whole.request);
    jw_obj_end(&w);
    rc = out->err == ERR_OK ? ERR_OK
                            : ERR(err, LIMIT, "the request's answer is larger than %zu MiB", (size_t)MAX_REQUEST_ANSWER >> 20);
out:
    whole_free(&whole);
    trace_refs_free(&refs);
    return rc;
}

static void one(struct query_job *job)
{
    struct error err = {0};
    struct arena arena;
    struct buf out;
    arena_init(&arena, MAX_QUERY_MEMORY);
    buf_init(&out, MAX_REQUEST_ANSWER);
    if (write_one(job, &arena, &out, &err) == ERR_OK)
        http_reply(job->req, 200, SLICE("application/json"), buf_slice(&out));
    else
        reply_error(job->req, &err);
    buf_free(&out);
    arena_free(&arena);
}

size_t sonde_routes(struct server *s, struct http_route *out, size_t max)
{
    static const struct query_route rows[] = {
        {"GET", "/api/sonde/v1/requests", list, "requests, newest first"},
        {"GET", "/api/sonde/v1/requests/{id}", one, "one request: phases, spans, logs of all processes"},
    };
    return query_routes(s, rows, sizeof rows / sizeof *rows, out, max);
}
