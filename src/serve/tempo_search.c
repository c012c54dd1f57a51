// /api/search: traces with a span that matches, newest first.
#include "analyze/trace.h"
#include "analyze/trace_set.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "serve/tempo_api.h"
#include "traceql/traceql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEARCH_LIMIT_MAX = 1000, SPANS_PER_SET_MAX = 100, NAMES_MAX = 64 };

struct search {
    struct traceql *q;
    int64_t from, to, min_duration, max_duration;
    int64_t limit, spss;
    uint64_t inspected_spans, inspected_traces;
    struct traceql_named names[NAMES_MAX]; // what the query asks about, shown with each span
    size_t n_names;
};

// All traces with a matching span in the range, newest first.
static enum errc find_candidates(struct query_job *job, struct search *s, struct trace_set *c, struct error *err)
{
    struct scan_request q = {.tenant = job->tenant,
                             .signal = SIGNAL_SPAN,
                             .from = s->from,
                             .to = s->to,
                             .overlap = true,
                             .newest_first = true,
                             .fields = ~0ull,
                             .all_attrs = true,
                             .budget = &job->budget};
    struct scan *scan = NULL;
    struct scan_batch part;
    enum errc rc;
    GO(store_scan(job->server->store, &q, &scan, err));
    for (;;) {
        GO(scan_next(scan, &part, err));
        if (!part.batch)
            break;
        GO(query_job_check(job, err));
        s->inspected_spans += part.n_rows;
        for (uint32_t i = 0; i < part.n_rows; i++)
            if (traceql_match(s->q, part.batch, part.rows[i]))
                GO(trace_set_add(c, column_id128(part.batch->field[FIELD_TRACE_ID], part.rows[i]), part.batch->time[part.rows[i]],
                                 err));
    }
    trace_set_sort(c);
out:
    scan_close(scan);
    return rc;
}

static bool named_value(const struct traceql_named *n, const struct batch *b, uint32_t row, bool of_span, struct value *out)
{
    static const char *const status[] = {"unset", "ok", "error"}, *const kind[] = {"unspecified", "internal", "server",
                                                                                   "client",      "producer", "consumer"};
    int64_t i = 0;
    switch (n->field) {
    case FIELD_STATUS:
        i = column_i64(b->field[FIELD_STATUS], row, 0);
        *out = (struct value){.kind = COL_STR, .s = slice_str(status[i < 0 || i > 2 ? 0 : i])};
        return of_span;
    case FIELD_KIND:
        i = column_i64(b->field[FIELD_KIND], row, 0);
        *out = (struct value){.kind = COL_STR, .s = slice_str(kind[i < 0 || i > 5 ? 0 : i])};
        return of_span;
    case FIELD_STATUS_MESSAGE:
        *out = (struct value){.kind = COL_STR, .s = column_str(b->field[FIELD_STATUS_MESSAGE], row)};
        return of_span && out->s.n;
    default:
        break;
    }
    if (of_span)
        return n->span && batch_attr(b, COL_ATTR, n->name, row, out);
    const struct attr *a = n->resource ? resource_attr(&b->resources[b->resource[row]], n->name) : NULL;
    if (a)
        *out = a->value;
    return a != NULL;
}

static struct slice named_key(const struct traceql_named *n)
{
    return n->field == FIELD_NONE     ? n->name
           : n->field == FIELD_STATUS ? SLICE("status")
           : n->field == FIELD_KIND   ? SLICE("kind")
                                      : SLICE("statusMessage");
}

static void write_value(struct jw *w, const struct value *v)
{
    jw_obj(w);
    switch (v->kind) {
    case COL_I64:
        JW_KEY(w, "intValue");
        jw_str_i64(w, v->i64);
        break;
    case COL_F64:
        JW_KEY(w, "doubleValue");
        jw_f64(w, v->f64);
        break;
    case COL_BOOL:
        JW_KEY(w, "boolValue");
        jw_bool(w, v->b);
        break;
    case COL_STR:
        JW_KEY(w, "stringValue");
        jw_str(w, v->s);
        break;
    default: // an array, a map or bytes: searched for by nobody, but it may be there
        JW_KEY(w, "stringValue");
        struct buf text;
        buf_init(&text, MAX_VALUE_TEXT);
        value_text(&text, v);
        jw_str(w, buf_slice(&text));
        buf_free(&text);
    }
    jw_obj_end(w);
}

// The attributes the query names; one that both the span and its resource have comes twice, as in Tempo.
static void write_named(struct jw *w, const struct search *q, const struct batch *b, uint32_t row)
{
    bool any = false;
    struct value v;
    for (size_t i = 0; i < q->n_names; i++)
        for (int of_span = 1; of_span >= 0; of_span--) {
            if (!named_value(&q->names[i], b, row, of_span, &v))
                continue;
            if (!any) {
                JW_KEY(w, "attributes");
                jw_arr(w);
            }
            any = true;
            jw_obj(w);
            JW_KEY(w, "key");
            jw_str(w, named_key(&q->names[i]));
            JW_KEY(w, "value");
            write_value(w, &v);
            jw_obj_end(w);
        }
    if (any)
        jw_arr_end(w);
}

static void write_span(struct jw *w, const struct search *q, const struct trace *t, const struct span *s)
{
    uint8_t id[8];
    for (int i = 0; i < 8; i++)
        id[i] = (uint8_t)(s->id >> (56 - 8 * i));
    jw_obj(w);
    JW_KEY(w, "spanID");
    jw_hex(w, id, 8);
    if (traceql_mentions_name(q->q)) {
        JW_KEY(w, "name");
        jw_str(w, s->name);
    }
    JW_KEY(w, "startTimeUnixNano");
    jw_str_i64(w, s->start);
    JW_KEY(w, "durationNanos");
    jw_str_i64(w, s->end - s->start);
    write_named(w, q, t->batch, s->row);
    jw_obj_end(w);
}

static int by_service(const void *x, const void *y)
{
    const struct span *const *a = x, *const *b = y;
    return slice_cmp((*a)->service, (*b)->service);
}

// Spans and errors of each service: spans sorted by service, so that a trace of 100,000 spans costs a sort.
static void write_service_stats(struct jw *w, const struct trace *t)
{
    const struct span **sorted = mem_alloc((t->n + 1) * sizeof *sorted);
    uint32_t from = 0;
    jw_obj(w);
    for (uint32_t i = 0; sorted && i < t->n; i++)
        sorted[i] = &t->spans[i];
    if (sorted)
        qsort(sorted, t->n, sizeof *sorted, by_service);
    while (sorted && from < t->n) {
        uint32_t to = from, errors = 0;
        for (; to < t->n && slice_eq(sorted[to]->service, sorted[from]->service); to++)
            errors += sorted[to]->status == 2;
        jw_key(w, sorted[from]->service);
        jw_obj(w);
        JW_KEY(w, "spanCount");
        jw_u64(w, to - from);
        if (errors) {
            JW_KEY(w, "errorCount");
            jw_u64(w, errors);
        }
        jw_obj_end(w);
        from = to;
    }
    jw_obj_end(w);
    mem_free(sorted);
}

static const struct span *trace_root(const struct trace *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (t->spans[i].parent < 0 && !t->spans[i].orphan)
            return &t->spans[i];
    return NULL;
}

static void write_span_set(struct jw *w, const struct search *s, const struct trace *t)
{
    int64_t matched = 0;
    jw_obj(w);
    JW_KEY(w, "spans");
    jw_arr(w);
    for (uint32_t i = 0; i < t->n; i++) {
        if (!traceql_match(s->q, t->batch, t->spans[i].row))
            continue;
        if (matched++ < s->spss)
            write_span(w, s, t, &t->spans[i]);
    }
    jw_arr_end(w);
    JW_KEY(w, "matched");
    jw_i64(w, matched);
    jw_obj_end(w);
}

static void write_trace(struct jw *w, const struct search *s, const struct trace *t)
{
    const struct span *root = trace_root(t);
    char hex[33]; // without leading zeros, as in Tempo
    snprintf(hex, sizeof hex, "%016" PRIx64 "%016" PRIx64, t->id.hi, t->id.lo);
    jw_obj(w);
    JW_KEY(w, "traceID");
    jw_str(w, slice_str(hex + strspn(hex, "0")));
    JW_KEY(w, "rootServiceName");
    jw_str(w, root ? root->service : SLICE("<root span not yet received>"));
    if (root) {
        JW_KEY(w, "rootTraceName");
        jw_str(w, root->name);
    }
    JW_KEY(w, "startTimeUnixNano");
    jw_str_i64(w, t->start);
    JW_KEY(w, "durationMs");
    jw_i64(w, (t->end - t->start) / 1000000);
    JW_KEY(w, "spanSet");
    write_span_set(w, s, t);
    JW_KEY(w, "spanSets");
    jw_arr(w);
    write_span_set(w, s, t);
    jw_arr_end(w);
    JW_KEY(w, "serviceStats");
    write_service_stats(w, t);
    jw_obj_end(w);
}

static enum errc write_search(struct query_job *job, struct search *s, const struct trace_set *c, struct buf *out,
                              struct error *err)
{
    struct jw w = jw_to(out);
    int64_t written = 0;
    jw_obj(&w);
    JW_KEY(&w, "traces");
    jw_arr(&w);
    for (size_t i = 0; i < c->n && written < s->limit; i++) {
        struct trace t;
        TRY(query_job_check(job, err));
        // A trace may have begun before the range or go on behind it: a day each way is looked at.
        int64_t day = 86400000000000, from = c->at[i].time > INT64_MIN + day ? c->at[i].time - day : INT64_MIN;
        int64_t to = c->at[i].time < INT64_MAX - day ? c->at[i].time + day : INT64_MAX;
        enum errc rc = trace_load(job->server->store, job->tenant, c->at[i].id, from, to, &job->budget, &t, err);
        if (rc == ERR_NOTFOUND) { // removed by retention meanwhile
            *err = (struct error){0};
            continue;
        }
        TRY(rc);
        s->inspected_traces++;
        int64_t took = t.end - t.start;
        if (took >= s->min_duration && took <= s->max_duration) {
            write_trace(&w, s, &t);
            written++;
        }
        trace_free(&t);
    }
    jw_arr_end(&w);
    JW_KEY(&w, "metrics");
    jw_obj(&w);
    JW_KEY(&w, "inspectedTraces");
    jw_u64(&w, s->inspected_traces);
    JW_KEY(&w, "inspectedBytes");
    jw_str_u64(&w, job->budget.bytes);
    JW_KEY(&w, "inspectedSpans");
    jw_str_u64(&w, s->inspected_spans);
    jw_obj_end(&w);
    jw_obj_end(&w);
    return out->err == ERR_OK ? ERR_OK : ERR(err, LIMIT, "the answer is too large; ask for fewer traces");
}

bool tempo_param_int(struct http_req *r, const char *name, int64_t min, int64_t max, int64_t *out, struct error *err)
{
    struct slice text;
    if (!http_req_param(r, slice_str(name), 0, &text) || text.n == 0)
        return true;
    if (slice_to_i64(text, out) && *out >= min && *out <= max)
        return true;
    ERR(err, INPUT, "parameter %s=\"%.*s\": a whole number from %" PRId64 " to %" PRId64 " is accepted", name,
        (int)slice_cut(text, 40).n, text.p, min, max);
    return false;
}

static bool param_duration(struct http_req *r, const char *name, int64_t *out, struct error *err)
{
    struct slice text;
    if (!http_req_param(r, slice_str(name), 0, &text) || text.n == 0)
        return true;
    if (setting_parse_duration(text, out, err) == ERR_OK)
        return true;
    error_prefix(err, "parameter %s: ", name);
    return false;
}

struct tag_keys {
    struct slice at[NAMES_MAX];
    size_t n;
};

static enum errc add_tag(struct query_job *job, struct search *s, struct tag_keys *seen, struct slice key, struct slice value,
                         struct error *err)
{
    for (size_t i = 0; i < seen->n; i++)
        if (slice_eq(seen->at[i], key))
            return ERR(err, INPUT, "parameter tags: \"%.*s\" is given twice", (int)slice_cut(key, 64).n, key.p);
    if (seen->n == NAMES_MAX)
        return ERR(err, INPUT, "parameter tags: more than %d tags", NAMES_MAX);
    seen->at[seen->n++] = key;
    return traceql_add_tag(s->q, job->req->arena, key, value, err);
}

// Legacy tags, logfmt: key=value key2="two words".
static enum errc add_tags(struct query_job *job, struct search *s, struct slice tags, struct error *err)
{
    struct tag_keys seen = {.n = 0};
    size_t at = 0;
    while (at < tags.n) {
        while (at < tags.n && tags.p[at] == ' ')
            at++;
        if (at == tags.n)
            break;
        size_t from = at;
        while (at < tags.n && tags.p[at] != '=')
            at++;
        if (at == tags.n)
            return ERR(err, INPUT, "parameter tags: \"%.*s\" has no =; write key=value key2=\"two words\"", (int)(at - from),
                       tags.p + from);
        struct slice key = slice_of(tags.p + from, at - from), value;
        bool quoted = ++at < tags.n && tags.p[at] == '"';
        from = at += quoted;
        while (at < tags.n && tags.p[at] != (quoted ? '"' : ' '))
            at++;
        if (quoted && at == tags.n)
            return ERR(err, INPUT, "parameter tags: a quote is not closed");
        value = slice_of(tags.p + from, at - from);
        at += quoted;
        TRY(add_tag(job, s, &seen, key, value, err));
    }
    return ERR_OK;
}

// Tempo's oldest form: with neither q nor tags, every parameter without a meaning of its own is a tag.
static enum errc add_loose_tags(struct query_job *job, struct search *s, struct error *err)
{
    static const char *const reserved[] = {"q", "tags", "minDuration", "maxDuration", "limit", "start", "end", "spss"};
    struct tag_keys seen = {.n = 0};
    struct slice name, value;
    for (int k = 0; http_req_param_at(job->req, k, &name, &value); k++) {
        bool known = name.n == 0;
        for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
            known = known || slice_eq(name, slice_str(reserved[i]));
        if (!known)
            TRY(add_tag(job, s, &seen, name, value, err));
    }
    return ERR_OK;
}

static enum errc read_search(struct query_job *job, struct search *s, struct error *err)
{
    struct http_req *r = job->req;
    struct slice q = SLICE_NONE, tags = SLICE_NONE, min, max;
    bool has_q = http_req_param(r, SLICE("q"), 0, &q), has_tags = http_req_param(r, SLICE("tags"), 0, &tags);
    *s = (struct search){
        .to = clock_wall_ns() + 60000000000, .min_duration = 0, .max_duration = INT64_MAX, .limit = 20, .spss = 3};
    s->from = s->to - 3660000000000;
    if (has_q && has_tags && q.n && tags.n)
        return ERR(err, INPUT, "give q or tags, not both");
    if (!tempo_time_range(r, &s->from, &s->to, err) || !tempo_param_int(r, "limit", 1, SEARCH_LIMIT_MAX, &s->limit, err) ||
        !tempo_param_int(r, "spss", 0, SPANS_PER_SET_MAX, &s->spss, err) ||
        !param_duration(r, "minDuration", &s->min_duration, err) || !param_duration(r, "maxDuration", &s->max_duration, err))
        return err->code;
    if (s->spss == 0)
        s->spss = 3;
    if (http_req_param(r, SLICE("minDuration"), 0, &min) && http_req_param(r, SLICE("maxDuration"), 0, &max) &&
        s->max_duration <= s->min_duration)
        return ERR(err, INPUT, "parameter maxDuration must be greater than minDuration");
    if (has_q && q.n) { // the language has its own durations
        s->min_duration = 0;
        s->max_duration = INT64_MAX;
    }
    TRY(traceql_parse(q, r->arena, &s->q, err));
    TRY(has_q || has_tags ? add_tags(job, s, tags, err) : add_loose_tags(job, s, err));
    s->n_names = traceql_names(s->q, s->names, NAMES_MAX);
    return ERR_OK;
}

void tempo_search(struct query_job *job)
{
    struct error err = {0};
    struct search s;
    struct trace_set c = {0};
    struct buf out;
    buf_init(&out, MAX_TEMPO_ANSWER);
    enum errc rc = read_search(job, &s, &err);
    if (rc == ERR_OK)
        rc = find_candidates(job, &s, &c, &err);
    if (rc == ERR_OK)
        rc = write_search(job, &s, &c, &out, &err);
    traceql_free(s.q); // before the answer: the request and its arena go with that
    if (rc == ERR_OK)
        http_reply(job->req, 200, SLICE("application/json"), buf_slice(&out));
    else
        server_reply_error(job->req, &err);
    trace_set_free(&c);
    buf_free(&out);
}
