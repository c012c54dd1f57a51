// Sonde's own API: the list of requests and one request whole. The answers are described in docs/api-sonde.md.
#include "analyze/request.h"
#include "base/clock.h"
#include "base/limits.h"
#include "serve/query_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LIST_DEFAULT = 50, LIST_MAX = 1000 };
#define MAX_REQUEST_ANSWER MIB(256)
static const int64_t HOUR_NS = 3600000000000, DAY_NS = 24 * 3600000000000;

// ---- writing ------------------------------------------------------------------------------------------------------

static void key_str(struct jw *w, const char *key, struct slice s)
{
    jw_key(w, slice_str(key));
    jw_str(w, s);
}

static void key_ns(struct jw *w, const char *key, int64_t ns)
{
    jw_key(w, slice_str(key));
    jw_str_i64(w, ns);
}

static void key_ms(struct jw *w, const char *key, int64_t ns)
{
    jw_key(w, slice_str(key));
    jw_f64(w, (double)ns / 1e6);
}

static void key_bool(struct jw *w, const char *key, bool v)
{
    jw_key(w, slice_str(key));
    jw_bool(w, v);
}

static void key_int(struct jw *w, const char *key, int64_t v, bool known)
{
    jw_key(w, slice_str(key));
    if (known)
        jw_i64(w, v);
    else
        jw_null(w);
}

static void key_f64(struct jw *w, const char *key, double v, bool known)
{
    jw_key(w, slice_str(key));
    if (known)
        jw_f64(w, v);
    else
        jw_null(w);
}

static void key_id64(struct jw *w, const char *key, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, id);
    key_str(w, key, id ? slice_of(text, 16) : SLICE(""));
}

static void key_id128(struct jw *w, const char *key, struct id128 id)
{
    uint8_t bytes[16];
    id128_store(bytes, id);
    jw_key(w, slice_str(key));
    jw_hex(w, bytes, 16);
}

// phases: true in the list (name and ms only), in the detail they stand on their own.
static void write_summary(struct jw *w, const struct trace *t, const struct request_logs *logs, const struct request *r, bool phases)
{
    jw_obj(w);
    key_str(w, "request_id", r->id);
    key_id128(w, "trace_id", r->trace_id);
    key_ns(w, "start_ns", r->start);
    key_ms(w, "duration_ms", r->end - r->start);
    key_str(w, "status", slice_str(request_status_text(r->status)));
    key_int(w, "http_status", r->http_status, r->http_status > 0);
    key_str(w, "verdict", r->verdict);
    key_str(w, "name", r->name);
    key_str(w, "service", r->service);
    key_str(w, "model", r->model);
    key_bool(w, "stream", r->stream);
    key_int(w, "input_tokens", r->input_tokens, r->input_tokens >= 0);
    key_int(w, "output_tokens", r->output_tokens, r->output_tokens >= 0);
    key_f64(w, "ttft_ms", r->ttft_ms, r->ttft_ms >= 0);
    key_f64(w, "itl_ms", r->itl_ms, r->itl_ms >= 0);
    key_str(w, "prefill_worker", r->prefill_worker);
    key_str(w, "decode_worker", r->decode_worker);
    key_int(w, "attempts", r->attempts, true);
    key_int(w, "spans", t->n, true);
    key_int(w, "logs", logs->n, true);
    key_int(w, "errors", r->errors, true);
    if (phases) {
        JW_KEY(w, "phases");
        jw_arr(w);
        for (uint32_t i = 0; i < r->n_phases; i++) {
            jw_obj(w);
            key_str(w, "name", slice_str(r->phases[i].name));
            key_ms(w, "ms", r->phases[i].ns);
            key_str(w, "kind", slice_str(phase_kind_text(r->phases[i].kind)));
            jw_obj_end(w);
        }
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

static void write_phase(struct jw *w, const struct phase *p)
{
    jw_obj(w);
    key_str(w, "name", slice_str(p->name));
    key_str(w, "service", p->service);
    key_ns(w, "start_ns", p->start);
    key_ms(w, "ms", p->ns);
    key_str(w, "kind", slice_str(phase_kind_text(p->kind)));
    key_id64(w, "span_id", p->span_id);
    jw_obj_end(w);
}

static void write_lanes(struct jw *w, const struct request *r)
{
    JW_KEY(w, "services");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_lanes; i++) {
        jw_obj(w);
        key_str(w, "name", r->lanes[i].service);
        key_str(w, "role", slice_str(role_text(r->lanes[i].role)));
        jw_obj_end(w);
    }
    jw_arr_end(w);
    JW_KEY(w, "phases");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_phases; i++)
        write_phase(w, &r->phases[i]);
    jw_arr_end(w);
    JW_KEY(w, "lanes");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_lanes; i++) {
        const struct lane *l = &r->lanes[i];
        jw_obj(w);
        key_str(w, "service", l->service);
        key_str(w, "role", slice_str(role_text(l->role)));
        JW_KEY(w, "blocks");
        jw_arr(w);
        for (uint32_t k = 0; k < l->n_blocks; k++)
            write_phase(w, &l->blocks[k]);
        jw_arr_end(w);
        JW_KEY(w, "marks");
        jw_arr(w);
        for (uint32_t k = 0; k < l->n_marks; k++) {
            jw_obj(w);
            key_str(w, "name", slice_str(l->marks[k].name));
            key_ns(w, "time_ns", l->marks[k].time);
            jw_obj_end(w);
        }
        jw_arr_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

// JavaScript reads numbers as doubles: what does not fit (Dynamo's worker ids) goes as a string.
static void write_value(struct jw *w, const struct value *v)
{
    const int64_t exact = (int64_t)1 << 53;
    if (v->kind == COL_I64 && (v->i64 > exact || v->i64 < -exact))
        jw_str_i64(w, v->i64);
    else
        value_json(w, v);
}

static void write_row_attributes(struct jw *w, const struct batch *b, uint32_t row)
{
    jw_obj(w);
    for (uint32_t i = 0; i < b->n_columns; i++) {
        struct value v;
        if (b->columns[i].scope == COL_FIELD || !column_value(&b->columns[i], row, &v))
            continue;
        jw_key(w, b->columns[i].name);
        write_value(w, &v);
    }
    jw_obj_end(w);
}

static void write_resource(struct jw *w, const struct resource *r)
{
    jw_obj(w);
    for (uint32_t i = 0; i < r->n_attrs; i++) {
        jw_key(w, r->attrs[i].key);
        write_value(w, &r->attrs[i].value);
    }
    for (uint32_t i = 0; r->n_attrs == 0 && i < r->n_labels; i++) {
        jw_key(w, r->labels[i].name);
        jw_str(w, r->labels[i].value);
    }
    jw_obj_end(w);
}

static void write_events(struct jw *w, struct slice events)
{
    struct span_event e;
    jw_arr(w);
    while (span_event_next(&events, &e)) {
        struct attr a;
        jw_obj(w);
        key_str(w, "name", e.name);
        key_ns(w, "time_ns", e.time);
        JW_KEY(w, "attributes");
        jw_obj(w);
        while (keyvalue_next(&e.attrs, 3, &a)) {
            jw_key(w, a.key);
            write_value(w, &a.value);
        }
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_spans(struct jw *w, const struct trace *t)
{
    static const char *const kinds[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    static const char *const statuses[] = {"unset", "ok", "error"};
    jw_arr(w);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct span *s = &t->spans[i];
        jw_obj(w);
        key_id64(w, "span_id", s->id);
        key_id64(w, "parent_id", s->parent_id);
        key_int(w, "depth", s->depth, true);
        key_str(w, "name", s->name);
        key_str(w, "kind", slice_str(s->kind >= 0 && s->kind < 6 ? kinds[s->kind] : "unspecified"));
        key_str(w, "service", s->service);
        key_str(w, "instance", trace_attr_text(t, s, SLICE("service.instance.id")));
        key_ns(w, "start_ns", s->start);
        key_ms(w, "duration_ms", s->end - s->start);
        key_ms(w, "self_ms", s->self);
        key_str(w, "status", slice_str(s->status >= 0 && s->status < 3 ? statuses[s->status] : "unset"));
        key_str(w, "status_message", column_str(t->batch->field[FIELD_STATUS_MESSAGE], s->row));
        key_bool(w, "orphan", s->orphan);
        JW_KEY(w, "attributes");
        write_row_attributes(w, t->batch, s->row);
        JW_KEY(w, "resource");
        write_resource(w, trace_resource(t, s));
        JW_KEY(w, "events");
        write_events(w, column_str(t->batch->field[FIELD_EVENTS], s->row));
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_logs(struct jw *w, const struct request_logs *logs)
{
    jw_arr(w);
    for (uint32_t i = 0; i < logs->n; i++) {
        const struct request_log *l = &logs->at[i];
        jw_obj(w);
        key_ns(w, "time_ns", l->time);
        key_str(w, "level", slice_str(l->level));
        key_str(w, "service", l->service);
        key_str(w, "target", l->target);
        key_str(w, "message", l->message);
        key_id64(w, "span_id", l->span_id);
        key_str(w, "line", l->line);
        JW_KEY(w, "fields");
        write_row_attributes(w, logs->batch, l->row);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_failure(struct jw *w, const struct request *r)
{
    const struct failure *f = &r->failure;
    JW_KEY(w, "failure");
    if (!f->there) {
        jw_null(w);
    } else {
        jw_obj(w);
        key_str(w, "where", slice_str(role_text(f->where)));
        key_str(w, "service", f->service);
        key_ns(w, "when_ns", f->when);
        key_str(w, "what", f->what);
        key_str(w, "why", f->why);
        JW_KEY(w, "evidence");
        jw_arr(w);
        for (uint32_t i = 0; i < f->n_evidence; i++)
            jw_u64(w, f->evidence[i]);
        jw_arr_end(w);
        jw_obj_end(w);
    }
    JW_KEY(w, "notes");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_notes; i++)
        jw_str(w, r->notes[i]);
    jw_arr_end(w);
}

// ---- reading ------------------------------------------------------------------------------------------------------

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

static enum errc whole_load(struct query_job *job, const struct trace_ref *ref, struct arena *arena, struct whole *w, struct error *err)
{
    struct store *s = job->server->store;
    int64_t from = ref->time > INT64_MIN + DAY_NS ? ref->time - DAY_NS : INT64_MIN, to = ref->time < INT64_MAX - DAY_NS ? ref->time + DAY_NS : INT64_MAX;
    enum errc rc;
    *w = (struct whole){0};
    TRY(trace_load(s, job->tenant, ref->id, from, to, &job->budget, &w->trace, err));
    rc = request_logs_load(s, job->tenant, &w->trace, &job->budget, &w->logs, err);
    if (rc == ERR_OK)
        rc = request_analyze(&w->trace, &w->logs, clock_wall_ns(), arena, &w->request, err);
    if (rc != ERR_OK)
        whole_free(w);
    return rc;
}

static void reply_error(struct http_req *r, const struct error *err)
{
    struct buf b;
    buf_init(&b, KIB(16));
    struct jw w = jw_to(&b);
    jw_obj(&w);
    key_str(&w, "error", slice_str(err->msg));
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
    if (http_req_param(r, SLICE("limit"), 0, &text) && text.n && (!slice_to_i64(text, &f->limit) || f->limit < 1 || f->limit > LIST_MAX))
        return ERR(err, INPUT, "parameter limit=\"%.*s\": a whole number from 1 to %d is accepted", (int)slice_cut(text, 40).n, text.p, LIST_MAX);
    if (http_req_param(r, SLICE("min_ms"), 0, &text) && text.n && !slice_to_f64(text, &f->min_ms))
        return ERR(err, INPUT, "parameter min_ms=\"%.*s\" is no number", (int)slice_cut(text, 40).n, text.p);
    http_req_param(r, SLICE("q"), 0, &f->q);
    if (http_req_param(r, SLICE("status"), 0, &f->status) && f->status.n) {
        for (int i = 0; i <= REQUEST_RUNNING; i++)
            if (slice_eq(f->status, slice_str(request_status_text((enum request_status)i))))
                return ERR_OK;
        return ERR(err, INPUT, "parameter status=\"%.*s\": ok, error, cancelled and running are accepted", (int)slice_cut(f->status, 40).n, f->status.p);
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
    const struct slice fields[] = {r->id, slice_of(hex, 32), r->model, r->service, r->verdict, r->prefill_worker, r->decode_worker};
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
    GO(request_list(job->server->store, job->tenant, f->from, f->to, filtered ? 10 * LIST_MAX : (size_t)f->limit, &job->budget, &refs, err));
    jw_obj(&w);
    JW_KEY(&w, "requests");
    jw_arr(&w);
    size_t i = 0;
    for (; i < refs.n && written < f->limit; i++) {
        struct whole whole;
        rc = whole_load(job, &refs.at[i], &arena, &whole, err);
        if (rc == ERR_NOTFOUND) { // removed by retention meanwhile
            *err = (struct error){0};
            continue;
        }
        if (rc != ERR_OK)
            goto out;
        if (wanted(f, &whole.request)) {
            write_summary(&w, &whole.trace, &whole.logs, &whole.request, true);
            written++;
        }
        whole_free(&whole);
        arena_reset(&arena);
    }
    jw_arr_end(&w);
    key_bool(&w, "truncated", refs.truncated || i < refs.n);
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
        if (whole_load(job, &refs->at[i], arena, &other, &ignored) != ERR_OK)
            continue;
        jw_obj(w);
        key_id128(w, "trace_id", other.request.trace_id);
        key_ns(w, "start_ns", other.request.start);
        key_ms(w, "duration_ms", other.request.end - other.request.start);
        key_str(w, "status", slice_str(request_status_text(other.request.status)));
        key_str(w, "verdict", other.request.verdict);
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
    int64_t from = clock_wall_ns() - 30 * DAY_NS, to = clock_wall_ns() + DAY_NS;
    enum errc rc;
    if (!server_param_time(job->req, "start", &from, err) || !server_param_time(job->req, "end", &to, err))
        return err->code;
    GO(request_find(job->server->store, job->tenant, job->req->param[0], from, to, &job->budget, &refs, err));
    GO(whole_load(job, choose(&refs, job->req), arena, &whole, err));
    jw_obj(&w);
    JW_KEY(&w, "request");
    write_summary(&w, &whole.trace, &whole.logs, &whole.request, false);
    write_other_traces(job, &w, &refs, arena);
    write_lanes(&w, &whole.request);
    JW_KEY(&w, "spans");
    write_spans(&w, &whole.trace);
    JW_KEY(&w, "logs");
    write_logs(&w, &whole.logs);
    write_failure(&w, &whole.request);
    jw_obj_end(&w);
    rc = out->err == ERR_OK ? ERR_OK : ERR(err, LIMIT, "the request's answer is larger than %zu MiB", (size_t)MAX_REQUEST_ANSWER >> 20);
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
