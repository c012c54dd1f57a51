#include "analyze/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t SETTLE_NS = 15000000000; // without a root span for this long after the last sign of life: it will not come

const char *role_text(enum role r)
{
    static const char *const names[] = {"other", "frontend", "prefill", "decode"};
    return names[r];
}

const char *phase_kind_text(enum phase_kind k)
{
    static const char *const names[] = {"work", "wait", "transfer", "unaccounted"};
    return names[k];
}

const char *request_status_text(enum request_status s)
{
    static const char *const names[] = {"ok", "error", "cancelled", "running"};
    return names[s];
}

// ---- reading attributes ---------------------------------------------------------------------------------------------

static struct slice span_text(const struct trace *t, const struct span *s, const char *key)
{
    struct value v;
    if (!s || !batch_attr(t->batch, COL_ATTR, slice_str(key), s->row, &v))
        return SLICE_NONE;
    return v.kind == COL_STR ? v.s : trace_attr_text(t, s, slice_str(key));
}

// A number that may have been written as a number or as text (Dynamo writes all as text).
static double span_number(const struct trace *t, const struct span *s, const char *key, double otherwise)
{
    double v;
    struct slice text = span_text(t, s, key);
    return text.n && slice_to_f64(text, &v) ? v : otherwise;
}

static struct slice log_text(const struct request_logs *logs, const struct request_log *l, const char *key, struct arena *arena)
{
    struct value v;
    if (!batch_attr(logs->batch, COL_ATTR, slice_str(key), l->row, &v)) {
        // a JSON line: the key may be in the text
        struct json j;
        struct slice k, raw;
        if (l->line.n == 0 || l->line.p[0] != '{')
            return SLICE_NONE;
        json_init(&j, l->line, arena, NULL);
        for (json_object(&j); json_next_key(&j, &k);) {
            bool hit = slice_eq(k, slice_str(key));
            if (hit && json_peek(&j) == JSON_STRING)
                return json_string(&j, &raw) ? raw : SLICE_NONE;
            if (!json_skip(&j, &raw))
                break;
            if (hit)
                return raw;
        }
        return SLICE_NONE;
    }
    if (v.kind == COL_STR)
        return v.s;
    struct buf b;
    buf_init(&b, MAX_VALUE_TEXT);
    value_text(&b, &v);
    struct slice s = arena_dup(arena, buf_slice(&b));
    buf_free(&b);
    return s;
}

static bool starts_with(struct slice s, const char *prefix)
{
    return slice_starts(s, slice_str(prefix));
}
static bool ends_with(struct slice s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

enum role role_of_words(struct slice s)
{
    if (slice_find(s, SLICE("prefill")) >= 0 || slice_find(s, SLICE("Prefill")) >= 0)
        return ROLE_PREFILL;
    if (slice_find(s, SLICE("decode")) >= 0 || slice_find(s, SLICE("Decode")) >= 0 || slice_eq(s, SLICE("backend")))
        return ROLE_DECODE;
    if (slice_find(s, SLICE("frontend")) >= 0 || slice_find(s, SLICE("router")) >= 0)
        return ROLE_FRONTEND;
    return ROLE_OTHER;
}

static const struct span *find_root(const struct trace *t)
{
    return t->root < 0 ? NULL : &t->spans[t->root];
}

bool span_is_route(const struct span *s)
{
    return ends_with(s->name, "route_request");
}

bool span_is_worker(const struct span *s)
{
    return slice_eq(s->name, SLICE("handle_payload")) || slice_eq(s->name, SLICE("llm_request"));
}

// The worker's span below a route span, null if it never came. Spans below another stand right behind it.
const struct span *route_worker(const struct trace *t, const struct span *route)
{
    enum { LOOK = 64 }; // a hostile trace may be one long chain of routes
    uint32_t at = (uint32_t)(route - t->spans);
    for (uint32_t i = at + 1; i < t->n && i <= at + LOOK && t->spans[i].depth > route->depth; i++)
        if (span_is_worker(&t->spans[i]))
            return &t->spans[i];
    return NULL;
}

// A route span belongs to the side it routes to: told by itself, by the worker that answered, or by what it counts.
static enum role route_role(const struct trace *t, const struct span *s)
{
    enum role r = role_of_words(span_text(t, s, "phase"));
    if (r != ROLE_OTHER)
        return r;
    const struct span *worker = route_worker(t, s);
    if (worker)
        return span_role(t, worker);
    struct slice id = span_text(t, s, "worker_id");
    const struct span *root = find_root(t);
    if (id.n && root && slice_eq(id, span_text(t, root, "decode_worker_id")))
        return ROLE_DECODE;
    if (id.n && root && slice_eq(id, span_text(t, root, "prefill_worker_id")))
        return ROLE_PREFILL;
    return span_text(t, s, "migration.tokens_completed").n ? ROLE_DECODE : ROLE_PREFILL;
}

enum role span_role(const struct trace *t, const struct span *s)
{
    if (slice_eq(s->name, SLICE("http-request")))
        return ROLE_FRONTEND;
    if (span_is_route(s))
        return route_role(t, s);
    enum role r = role_of_words(span_text(t, s, "component"));
    if (r == ROLE_OTHER)
        r = role_of_words(s->service);
    return r;
}

// ---- what the request was -------------------------------------------------------------------------------------------

static struct slice any_text(const struct trace *t, const char *key)
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct slice s = span_text(t, &t->spans[i], key);
        if (s.n)
            return s;
    }
    return SLICE_NONE;
}

// Attributes are what somebody sent: beyond any sense counts as unknown.
static int64_t number_or_unknown(double v)
{
    return v >= 0 && v < 1e15 ? (int64_t)v : -1;
}

static double ms_or_unknown(double v)
{
    return v >= 0 && v < 1e12 ? v : -1;
}

static int status_or_none(double v)
{
    return v >= 100 && v < 600 ? (int)v : 0;
}

static void note(struct request *r, struct slice text)
{
    if (text.p && r->n_notes < REQUEST_NOTES_MAX)
        r->notes[r->n_notes++] = text;
}

static void read_identity(const struct trace *t, const struct span *root, struct request *r)
{
    r->trace_id = t->id;
    r->id = any_text(t, "x_request_id");
    if (r->id.n == 0)
        r->id = any_text(t, "x-request-id");
    if (r->id.n == 0)
        r->id = any_text(t, "gen_ai.request.id");
    r->model = any_text(t, "model");
    if (r->model.n == 0)
        r->model = any_text(t, "gen_ai.request.model");
    r->name = root ? root->name : t->spans[0].name;
    r->service = root ? root->service : SLICE_NONE;
    for (uint32_t i = 0; i < t->n && r->service.n == 0; i++) // an orphaned route span still tells who the frontend was
        if (span_is_route(&t->spans[i]) || span_role(t, &t->spans[i]) == ROLE_FRONTEND)
            r->service = t->spans[i].service;
    if (r->service.n == 0)
        r->service = SLICE("frontend");
    r->has_root = root != NULL;
}

static void read_workers(const struct trace *t, struct request *r)
{
    r->prefill_worker = any_text(t, "prefill_worker_id");
    r->decode_worker = any_text(t, "decode_worker_id");
    for (uint32_t i = 0; i < t->n; i++) {
        const struct span *s = &t->spans[i];
        enum role role = span_role(t, s);
        struct slice id = span_text(t, s, span_is_route(s) ? "worker_id" : "instance_id");
        if (role == ROLE_PREFILL && r->prefill_worker.n == 0)
            r->prefill_worker = id;
        if (role == ROLE_DECODE && r->decode_worker.n == 0)
            r->decode_worker = id;
    }
}

// Attempts at the side that was tried most often.
static uint32_t count_attempts(const struct trace *t)
{
    uint32_t prefill = 0, decode = 0, other = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct span *s = &t->spans[i];
        if (!span_is_route(s) || (s->parent >= 0 && span_is_route(&t->spans[s->parent])))
            continue; // a router that calls a router is one attempt
        enum role role = span_role(t, s);
        prefill += role == ROLE_PREFILL;
        decode += role == ROLE_DECODE;
        other += role != ROLE_PREFILL && role != ROLE_DECODE;
    }
    uint32_t most = prefill > decode ? prefill : decode;
    most = most > other ? most : other;
    return most ? most : 1;
}

static int64_t event_time(const struct trace *t, const char *name)
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct slice events = column_str(t->batch->field[FIELD_EVENTS], t->spans[i].row);
        struct span_event e;
        while (span_event_next(&events, &e))
            if (slice_eq(e.name, slice_str(name)))
                return e.time;
    }
    return 0;
}

// The window of the request: its root span; without one, from the first to the last sign of life.
static void read_window(const struct trace *t, const struct request_logs *logs, const struct span *root, struct request *r)
{
    r->start = root ? root->start : t->start;
    r->end = root ? root->end : t->end;
    for (uint32_t i = 0; !root && logs && i < logs->n; i++) {
        if (logs->at[i].time < r->start)
            r->start = logs->at[i].time;
        if (logs->at[i].time > r->end)
            r->end = logs->at[i].time;
    }
    if (r->end <= r->start)
        r->end = r->start + 1;
}

// Time of the first token, 0 if unknown.
static int64_t read_tokens(const struct trace *t, const struct span *root, struct request *r)
{
    r->input_tokens =
        number_or_unknown(span_number(t, root, "input_tokens", span_number(t, root, "gen_ai.usage.input_tokens", -1)));
    r->output_tokens =
        number_or_unknown(span_number(t, root, "output_tokens", span_number(t, root, "gen_ai.usage.output_tokens", -1)));
    r->ttft_ms = ms_or_unknown(span_number(t, root, "ttft_ms", -1));
    r->itl_ms = ms_or_unknown(span_number(t, root, "avg_itl_ms", -1));
    int64_t first = r->ttft_ms >= 0 ? r->start + (int64_t)(r->ttft_ms * 1e6) : event_time(t, "first_token");
    if (r->ttft_ms < 0 && first > r->start)
        r->ttft_ms = (double)(first - r->start) / 1e6;
    return first > r->start ? first : 0;
}

// ---- how it ended ---------------------------------------------------------------------------------------------------

struct ending {
    struct slice outcome;             // request.outcome of the root
    const struct span *failed;        // the latest failed route or worker span
    const struct request_log *report; // ERROR "request completed", the only sign of a stream that broke after its 200
    struct slice detail, tokens, reason;
    bool exhausted;
};

// Only the spans that stand for a worker's answer: what fails inside one (a transfer cut short by the other side) is its
// consequence.
static bool is_failed_worker(const struct span *s)
{
    return s->status == 2 && (span_is_route(s) || span_is_worker(s));
}

static void read_logs(const struct request_logs *logs, struct arena *arena, struct request *r, struct ending *e)
{
    for (uint32_t i = 0; logs && i < logs->n; i++) {
        const struct request_log *l = &logs->at[i];
        bool is_error = strcmp(l->level, "ERROR") == 0;
        int64_t status;
        r->errors += is_error;
        if (starts_with(l->message, "http response sent") && slice_to_i64(log_text(logs, l, "status", arena), &status))
            r->http_status = status_or_none((double)status);
        if (starts_with(l->message, "request completed") &&
            (is_error || slice_eq(log_text(logs, l, "status", arena), SLICE("error")))) {
            e->report = l;
            e->detail = log_text(logs, l, "error_detail", arena);
            if (e->detail.n == 0)
                e->detail = log_text(logs, l, "error", arena);
        }
        if (starts_with(l->message, "request received") && !r->stream)
            r->stream = slice_eq(log_text(logs, l, "request_type", arena), SLICE("stream"));
        if (starts_with(l->message, "migration retries exhausted"))
            e->exhausted = true;
        struct slice tokens = log_text(logs, l, "migration.tokens_completed", arena);
        if (tokens.n == 0)
            tokens = log_text(logs, l, "tokens_completed", arena);
        if (tokens.n && !slice_eq(tokens, SLICE("0")))
            e->tokens = tokens;
    }
}

static bool is_word(struct slice s, const char *const *words)
{
    for (; *words; words++)
        if (slice_eq(s, slice_str(*words)))
            return true;
    return false;
}

static void decide_status(const struct trace *t, const struct span *root, int64_t now, struct request *r, const struct ending *e)
{
    static const char *const good[] = {"success", "ok", NULL}, *const stopped[] = {"cancelled", "canceled", "client_disconnected",
                                                                                   NULL};
    if (!root)
        r->status = now - r->end < SETTLE_NS && !e->exhausted && !e->report ? REQUEST_RUNNING
                                                                            : REQUEST_ERROR; // a failed attempt may be moved
    else if (is_word(e->outcome, stopped))
        r->status = REQUEST_CANCELLED;
    else if (is_word(e->outcome, good))
        r->status = REQUEST_OK; // an ERROR line inside the span colours it red though the request was moved and served
    else if (e->outcome.n)
        r->status = REQUEST_ERROR;
    else
        r->status = root->status == 2 || e->report || r->http_status >= 400 ? REQUEST_ERROR : REQUEST_OK;
    double sent = span_number(t, root, "http.response.status_code", span_number(t, root, "http.status_code", 0));
    if (r->http_status == 0)
        r->http_status = status_or_none(sent);
}

static struct slice worker_words(const struct trace *t, const struct span *s, struct arena *arena)
{
    struct slice id = span_text(t, s, span_is_route(s) ? "worker_id" : "instance_id");
    return arena_printf(arena, "%s worker%s%.*s", role_text(span_role(t, s)), id.n ? " " : "", (int)id.n, id.p);
}

static struct slice failure_words(const struct trace *t, const struct span *s)
{
    static const struct {
        const char *type, *words;
    } rows[] = {{"disconnected", "was lost"},
                {"worker_disconnected", "was lost"},
                {"cannot_connect", "could not be reached"},
                {"connection_failed", "could not be reached"},
                {"connection_timeout", "did not accept the connection in time"},
                {"response_timeout", "did not answer in time"},
                {"timeout", "did not answer in time"},
                {"worker_unavailable", "was not available"},
                {"worker_overloaded", "was overloaded"},
                {"rejected", "refused the request"}};
    struct slice type = span_text(t, s, "error.type"), outcome = span_text(t, s, "request.outcome");
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if (slice_eq(pass ? outcome : type, slice_str(rows[i].type)))
                return slice_str(rows[i].words);
    return SLICE("failed");
}

static void describe_failure(const struct trace *t, const struct request_logs *logs, struct arena *arena, struct request *r,
                             const struct ending *e)
{
    struct failure *f = &r->failure;
    struct slice tokens = e->tokens.n ? arena_printf(arena, " after %.*s tokens", (int)e->tokens.n, e->tokens.p) : SLICE("");
    f->there = true;
    if (e->failed) {
        struct slice who = worker_words(t, e->failed, arena), how = failure_words(t, e->failed);
        struct slice message = column_str(t->batch->field[FIELD_STATUS_MESSAGE], e->failed->row);
        f->where = span_role(t, e->failed);
        f->service = e->failed->service;
        f->when = e->failed->end;
        f->what = span_text(t, e->failed, "request.outcome");
        if (f->what.n == 0)
            f->what = span_text(t, e->failed, "error.type");
        struct slice more = e->detail.n ? e->detail : slice_eq(how, SLICE("failed")) ? message : SLICE_NONE;
        if (e->exhausted || slice_eq(how, SLICE("was lost"))) // the frontend's own words say less than that
            more = SLICE_NONE;
        f->why =
            arena_printf(arena, "%.*s %.*s%.*s%s%s%.*s", (int)who.n, who.p, (int)how.n, how.p, (int)tokens.n, tokens.p,
                         e->exhausted ? ", and no retry was left" : "", more.n ? ": " : "", (int)more.n, more.p ? more.p : "");
    } else {
        f->where = ROLE_FRONTEND;
        f->service = r->service;
        f->when = e->report ? e->report->time : r->end;
        f->what = e->outcome.n ? e->outcome : SLICE("error");
        if (r->http_status >= 400 && r->http_status < 500)
            f->why = arena_printf(arena, "the client's request was refused with %d%s%.*s", r->http_status,
                                  e->detail.n ? ": " : "", (int)e->detail.n, e->detail.p);
        else if (e->detail.n)
            f->why = e->detail;
        else if (r->http_status >= 500 && r->prefill_worker.n == 0 && r->decode_worker.n == 0)
            f->why = arena_printf(arena, "the frontend answered %d without asking a worker: none was ready", r->http_status);
        else
            f->why = SLICE("the frontend reports an error and no worker failed");
    }
    for (uint32_t i = 0; logs && i < logs->n && f->n_evidence < 16; i++)
        if (strcmp(logs->at[i].level, "ERROR") == 0 || strcmp(logs->at[i].level, "WARN") == 0)
            f->evidence[f->n_evidence++] = i;
}

static const struct span *last_failed(const struct trace *t)
{
    const struct span *found = NULL;
    for (uint32_t i = 0; i < t->n; i++)
        if (is_failed_worker(&t->spans[i]) &&
            (!found || t->spans[i].end > found->end || (t->spans[i].end == found->end && !span_is_route(found))))
            found = &t->spans[i];
    return found;
}

static void write_verdict(const struct trace *t, const struct span *root, struct arena *arena, struct request *r,
                          const struct ending *e)
{
    const char *broke = r->http_status == 200 && r->stream ? "the stream broke after a 200: " : "";
    switch (r->status) {
    case REQUEST_RUNNING:
        r->verdict = SLICE("still running");
        if (e->failed) {
            struct slice who = worker_words(t, e->failed, arena), how = failure_words(t, e->failed);
            r->verdict = arena_printf(arena, "still running; so far %.*s %.*s", (int)who.n, who.p, (int)how.n, how.p);
        }
        break;
    case REQUEST_CANCELLED:
        r->verdict = SLICE("the client went away");
        break;
    case REQUEST_ERROR:
        r->verdict = arena_printf(arena, "%s%.*s", root || e->failed ? broke : "", (int)r->failure.why.n, r->failure.why.p);
        if (!root && !e->failed && !e->report)
            r->verdict = SLICE("the root span never arrived: the frontend died or did not export it");
        break;
    case REQUEST_OK:
        if (e->failed) {
            struct slice who = worker_words(t, e->failed, arena), how = failure_words(t, e->failed);
            r->verdict =
                arena_printf(arena, "served, after %u attempts: %.*s %.*s", r->attempts, (int)who.n, who.p, (int)how.n, how.p);
        } else {
            r->verdict = SLICE("served");
        }
    }
}

static void write_notes(const struct trace *t, const struct span *root, struct arena *arena, struct request *r,
                        const struct ending *e)
{
    uint32_t orphans = 0, requests = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        orphans += t->spans[i].orphan && &t->spans[i] != root; // the root's parent may be the caller's, who exports elsewhere
        requests += slice_eq(t->spans[i].name, SLICE("http-request"));
    }
    if (!root && r->status != REQUEST_RUNNING)
        note(r, SLICE("the root span never arrived; start and end are those of the spans and log records that did"));
    else if (root && orphans)
        note(r, arena_printf(arena, "%u span%s arrived without the parent", orphans, orphans == 1 ? "" : "s"));
    if (root && r->status == REQUEST_OK && root->status == 2)
        note(r, SLICE("the root span says error, but the request was served: an error line inside a span marks it so"));
    if (requests > 1)
        note(r, arena_printf(arena, "the trace holds %u requests; this is the first", requests));
    if (e->failed && r->failure.there && span_is_route(e->failed) && !route_worker(t, e->failed))
        note(r, arena_printf(
                    arena, "the span of the %s worker never arrived: a killed process takes with it what it had not exported yet",
                    role_text(r->failure.where)));
}

enum errc request_analyze(const struct trace *t, const struct request_logs *logs, int64_t now, struct arena *arena,
                          struct request *out, struct error *err)
{
    const struct span *root = find_root(t);
    struct ending e = {.outcome = span_text(t, root, "request.outcome"), .failed = last_failed(t)};
    *out = (struct request){.input_tokens = -1, .output_tokens = -1, .ttft_ms = -1, .itl_ms = -1};
    read_identity(t, root, out);
    read_workers(t, out);
    read_window(t, logs, root, out);
    out->attempts = count_attempts(t);
    out->stream = slice_eq(span_text(t, root, "gen_ai.request.stream"), SLICE("true"));
    int64_t first_token = read_tokens(t, root, out);
    read_logs(logs, arena, out, &e);
    decide_status(t, root, now, out, &e);
    if (out->status == REQUEST_ERROR)
        describe_failure(t, logs, arena, out, &e);
    write_verdict(t, root, arena, out, &e);
    write_notes(t, root, arena, out, &e);
    TRY(request_phases(t, logs, first_token, arena, out, err));
    return arena_failed(arena) ? ERR(err, LIMIT, "no memory to describe the request") : ERR_OK;
}
