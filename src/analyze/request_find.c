// Finding the traces and the log records of a request.
#include "analyze/request.h"
#include "base/clock.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_REFS_MAX = 100000 };
static const int64_t LOG_SLACK_NS = 10000000000; // records around the spans of a trace: clocks differ, batches come late
static const int64_t DAY_NS = 86400000000000;

// ---- a set of traces ------------------------------------------------------------------------------------------------

static enum errc refs_add(struct trace_set *s, struct id128 id, int64_t time, struct error *err)
{
    return s->n < TRACE_REFS_MAX ? trace_set_add(s, id, time, err) : ERR_OK;
}

static void refs_finish(struct trace_set *s, size_t max, struct trace_refs *out)
{
    trace_set_sort(s);
    *out = (struct trace_refs){.at = s->at, .n = s->n < max ? s->n : max, .truncated = s->n > max};
}

void trace_refs_free(struct trace_refs *r)
{
    free(r->at);
    *r = (struct trace_refs){0};
}

// ---- by an id -------------------------------------------------------------------------------------------------------

// The last one is not an id to look for: it tells the trace of a record that was pushed to Loki's API with metadata.
static const struct slice id_keys[] = {SLICE_INIT("x_request_id"), SLICE_INIT("request_id"), SLICE_INIT("x-request-id"),
                                       SLICE_INIT("gen_ai.request.id"), SLICE_INIT("trace_id")};
enum { N_ID_KEYS = sizeof id_keys / sizeof *id_keys - 1 };

static bool row_has_id(const struct batch *b, uint32_t row, struct slice id)
{
    for (int k = 0; k < N_ID_KEYS; k++) {
        struct value v;
        if (batch_attr(b, COL_ATTR, id_keys[k], row, &v) && v.kind == COL_STR && slice_eq(v.s, id))
            return true;
    }
    return false;
}

static bool parse_id128(struct slice text, struct id128 *out)
{
    uint8_t bytes[16];
    if (text.n != 32 || !hex_decode(bytes, 16, text))
        return false;
    *out = id128_load(bytes);
    return !id128_zero(*out);
}

// The trace id of a JSON line of which one of the id keys has the value `id`; false if it is none.
static bool json_line_trace(struct slice line, struct slice id, struct id128 *trace)
{
    struct arena a;
    struct json j;
    struct slice key, value;
    bool named = false, has_trace = false;
    if (line.n == 0 || line.p[0] != '{' || slice_find(line, id) < 0)
        return false;
    arena_init(&a, MAX_VALUE_TEXT);
    json_init(&j, line, &a, NULL);
    for (json_object(&j); json_next_key(&j, &key);) {
        if (json_peek(&j) != JSON_STRING) {
            json_skip(&j, NULL);
            continue;
        }
        if (!json_string(&j, &value))
            break;
        for (int k = 0; k < N_ID_KEYS; k++)
            named = named || (slice_eq(key, id_keys[k]) && slice_eq(value, id));
        if (slice_eq(key, SLICE("trace_id")))
            has_trace = parse_id128(value, trace);
    }
    arena_free(&a);
    return named && has_trace;
}

static enum errc find_in(struct store *s, struct slice tenant, enum signal signal, struct slice id, int64_t from, int64_t to,
                         struct budget *budget, struct trace_set *set, struct error *err)
{
    struct scan_request q = {.tenant = tenant,
                             .signal = signal,
                             .from = from,
                             .to = to,
                             .newest_first = true,
                             .fields = 1ull << FIELD_TRACE_ID | 1ull << FIELD_BODY,
                             .attrs = id_keys,
                             .n_attrs = N_ID_KEYS + 1,
                             .budget = budget};
    struct scan *scan = NULL;
    struct scan_batch part;
    enum errc rc;
    GO(store_scan(s, &q, &scan, err));
    for (;;) {
        GO(scan_next(scan, &part, err));
        if (!part.batch)
            break;
        for (uint32_t i = 0; i < part.n_rows; i++) {
            uint32_t row = part.rows[i];
            struct id128 trace = column_id128(part.batch->field[FIELD_TRACE_ID], row);
            struct value v;
            if (id128_zero(trace) && batch_attr(part.batch, COL_ATTR, id_keys[N_ID_KEYS], row, &v) && v.kind == COL_STR)
                parse_id128(v.s, &trace);
            if (row_has_id(part.batch, row, id) ||
                (signal == SIGNAL_LOG && json_line_trace(column_str(part.batch->field[FIELD_BODY], row), id, &trace)))
                GO(refs_add(set, trace, part.batch->time[row], err));
        }
    }
out:
    scan_close(scan);
    return rc;
}

// A trace id is known when it has a span, whenever that was.
static enum errc find_trace(struct store *s, struct slice tenant, struct id128 id, struct budget *budget, struct trace_set *set,
                            struct error *err)
{
    struct scan_request q = {.tenant = tenant,
                             .signal = SIGNAL_SPAN,
                             .from = INT64_MIN,
                             .to = INT64_MAX,
                             .trace_id = id,
                             .newest_first = true,
                             .fields = 1ull << FIELD_TRACE_ID,
                             .budget = budget};
    struct scan *scan = NULL;
    struct scan_batch part;
    enum errc rc;
    GO(store_scan(s, &q, &scan, err));
    GO(scan_next(scan, &part, err));
    if (part.batch)
        rc = refs_add(set, id, part.batch->time[part.rows[0]], err);
out:
    scan_close(scan);
    return rc;
}

enum errc request_find(struct store *s, struct slice tenant, struct slice id, int64_t from, int64_t to, struct budget *budget,
                       struct trace_refs *out, struct error *err)
{
    struct trace_set set = {0};
    struct id128 trace;
    enum errc rc = ERR_OK;
    *out = (struct trace_refs){0};
    if (id.n == 0)
        return ERR(err, INPUT, "the id is empty; give an x-request-id or a trace id of 32 hexadecimal digits");
    if (parse_id128(id, &trace))
        GO(find_trace(s, tenant, trace, budget, &set, err));
    if (set.n == 0) { // also for 32 digits: many clients send a bare UUID as their request id
        GO(find_in(s, tenant, SIGNAL_SPAN, id, from, to, budget, &set, err));
        if (set.n == 0) // no span told it: a killed process exports none
            GO(find_in(s, tenant, SIGNAL_LOG, id, from, to, budget, &set, err));
    }
    if (set.n == 0)
        rc = ERR(err, NOTFOUND, "no request \"%.*s\" in the last %d days", (int)slice_cut(id, 128).n, id.p,
                 (int)((clock_wall_ns() - from) / DAY_NS));
out:
    if (rc == ERR_OK)
        refs_finish(&set, TRACE_REFS_MAX, out);
    else
        trace_set_free(&set);
    return rc;
}

// ---- the list -------------------------------------------------------------------------------------------------------

static bool looks_like_request(const struct batch *b, uint32_t row)
{
    static const struct slice names[] = {SLICE_INIT("http-request"), SLICE_INIT("handle_payload"), SLICE_INIT("llm_request")};
    struct slice name = column_str(b->field[FIELD_NAME], row);
    struct value v;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq(name, names[i]))
            return true;
    for (int k = 0; k < N_ID_KEYS; k++)
        if (batch_attr(b, COL_ATTR, id_keys[k], row, &v))
            return true;
    if (batch_attr(b, COL_ATTR, SLICE("gen_ai.operation.name"), row, &v))
        return true;
    return column_id64(b->field[FIELD_PARENT_ID], row) == 0 && column_i64(b->field[FIELD_KIND], row, 0) == 2;
}

enum errc request_list(struct store *s, struct slice tenant, int64_t from, int64_t to, size_t max, struct budget *budget,
                       struct trace_refs *out, struct error *err)
{
    static const struct slice attrs[] = {SLICE_INIT("x_request_id"), SLICE_INIT("request_id"), SLICE_INIT("x-request-id"),
                                         SLICE_INIT("gen_ai.request.id"), SLICE_INIT("gen_ai.operation.name")};
    struct scan_request q = {.tenant = tenant,
                             .signal = SIGNAL_SPAN,
                             .from = from,
                             .to = to,
                             .newest_first = true,
                             .fields = 1ull << FIELD_TRACE_ID | 1ull << FIELD_NAME | 1ull << FIELD_KIND | 1ull << FIELD_PARENT_ID,
                             .attrs = attrs,
                             .n_attrs = sizeof attrs / sizeof *attrs,
                             .budget = budget};
    struct trace_set set = {0};
    struct scan *scan = NULL;
    struct scan_batch part;
    enum errc rc;
    GO(store_scan(s, &q, &scan, err));
    for (;;) {
        GO(scan_next(scan, &part, err));
        if (!part.batch)
            break;
        for (uint32_t i = 0; i < part.n_rows; i++)
            if (looks_like_request(part.batch, part.rows[i]))
                GO(refs_add(&set, column_id128(part.batch->field[FIELD_TRACE_ID], part.rows[i]), part.batch->time[part.rows[i]],
                            err));
        // Enough newer ones are known, and nothing newer than the bound is to come. A minute covers a trace's own length.
        if (set.n > 4 * max) {
            size_t newer = 0;
            for (size_t i = 0; i < set.size; i++)
                newer += !id128_zero(set.at[i].id) && set.at[i].time > part.bound + 60000000000;
            if (newer > max)
                break;
        }
    }
out:
    scan_close(scan);
    if (rc == ERR_OK)
        refs_finish(&set, max, out);
    else
        trace_set_free(&set);
    return rc;
}

// ---- log records ----------------------------------------------------------------------------------------------------

static const char *level_of(struct slice text, int64_t number)
{
    static const struct {
        const char *word, *level;
    } words[] = {{"error", "ERROR"},  {"err", "ERROR"}, {"fatal", "ERROR"}, {"critical", "ERROR"}, {"warn", "WARN"},
                 {"warning", "WARN"}, {"info", "INFO"}, {"debug", "DEBUG"}, {"trace", "TRACE"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_ieq(text, slice_str(words[i].word)))
            return words[i].level;
    if (number <= 0)
        return "";
    return number < 5 ? "TRACE" : number < 9 ? "DEBUG" : number < 13 ? "INFO" : number < 17 ? "WARN" : "ERROR";
}

// The sender's own time, unless its clock is out of its mind: differences of such times do not fit.
static void read_time(struct slice text, struct request_log *out)
{
    static const int64_t year = 365 * 86400000000000;
    int64_t t;
    if (time_parse(text.p, text.n, &t) && t > out->time - year && t < out->time + year)
        out->time = t;
}

// What a JSON line says of itself.
static void read_json_line(struct slice line, struct arena *arena, struct request_log *out)
{
    struct json j;
    struct slice key, value;
    uint8_t id[8];
    json_init(&j, line, arena, NULL);
    for (json_object(&j); json_next_key(&j, &key);) {
        if (json_peek(&j) != JSON_STRING) {
            json_skip(&j, NULL);
            continue;
        }
        if (!json_string(&j, &value))
            break;
        if (slice_eq(key, SLICE("level")))
            out->level = level_of(value, 0);
        else if (slice_eq(key, SLICE("message")))
            out->message = value;
        else if (slice_eq(key, SLICE("target")) || slice_eq(key, SLICE("log.target")))
            out->target = value;
        else if (slice_eq(key, SLICE("time")))
            read_time(value, out);
        else if (slice_eq(key, SLICE("span_id")) && value.n == 16 && hex_decode(id, 8, value)) {
            out->span_id = 0;
            for (int i = 0; i < 8; i++)
                out->span_id = out->span_id << 8 | id[i];
        }
    }
}

static void read_record(struct batch *b, uint32_t row, struct request_log *out)
{
    const struct resource *r = &b->resources[b->resource[row]];
    const struct attr *service = resource_attr(r, SLICE("service.name"));
    struct value v;
    *out = (struct request_log){
        .time = b->time[row],
        .row = row,
        .line = column_str(b->field[FIELD_BODY], row),
        .target = column_str(b->field[FIELD_SCOPE_NAME], row),
        .span_id = column_id64(b->field[FIELD_SPAN_ID], row),
        .service = service && service->value.kind == COL_STR ? service->value.s : resource_label(r, SLICE("service_name")),
    };
    static const struct slice others[] = {SLICE_INIT("job"), SLICE_INIT("app"), SLICE_INIT("container"), SLICE_INIT("component")};
    for (size_t i = 0; out->service.n == 0 && i < sizeof others / sizeof *others; i++)
        out->service = resource_label(r, others[i]);
    out->message = out->line;
    out->level = level_of(column_str(b->field[FIELD_SEVERITY_TEXT], row), column_i64(b->field[FIELD_SEVERITY], row, 0));
    if (out->level[0] == 0 && batch_attr(b, COL_ATTR, SLICE("level"), row, &v) && v.kind == COL_STR)
        out->level = level_of(v.s, 0);
    if (out->line.n && out->line.p[0] == '{')
        read_json_line(out->line, &b->arena, out);
}

static int by_time(const void *x, const void *y)
{
    const struct request_log *a = x, *b = y;
    return a->time != b->time ? (a->time < b->time ? -1 : 1) : (a->row > b->row) - (a->row < b->row);
}

enum errc request_logs_build(struct batch *b, struct request_logs *out, struct error *err)
{
    *out = (struct request_logs){.batch = b, .n = b->rows, .at = ARENA_ARRAY(&b->arena, struct request_log, b->rows + 1)};
    if (!out->at)
        return ERR(err, LIMIT, "the request has %u log records, more than memory allows", b->rows);
    for (uint32_t i = 0; i < b->rows; i++)
        read_record(b, i, &out->at[i]);
    qsort(out->at, out->n, sizeof *out->at, by_time);
    return ERR_OK;
}

static bool log_belongs(const struct batch *b, uint32_t row, struct id128 id, struct slice hex)
{
    struct value v;
    if (id128_eq(column_id128(b->field[FIELD_TRACE_ID], row), id))
        return true;
    if (batch_attr(b, COL_ATTR, SLICE("trace_id"), row, &v) && v.kind == COL_STR && slice_ieq(v.s, hex))
        return true;
    return slice_find(column_str(b->field[FIELD_BODY], row), hex) >= 0;
}

enum errc request_logs_load(struct store *s, struct slice tenant, const struct trace *t, bool thorough, struct budget *budget,
                            struct request_logs *out, struct error *err)
{
    char hex[33];
    int64_t from = t->start < INT64_MIN + LOG_SLACK_NS ? INT64_MIN : t->start - LOG_SLACK_NS;
    int64_t to = t->end > INT64_MAX - 3 * LOG_SLACK_NS ? INT64_MAX : t->end + 3 * LOG_SLACK_NS;
    struct scan_request q = {
        .tenant = tenant, .signal = SIGNAL_LOG, .from = from, .to = to, .fields = ~0ull, .all_attrs = true, .budget = budget};
    if (!thorough)
        q.trace_id = t->id;
    struct batch *b = batch_new(SIGNAL_LOG, MAX_QUERY_MEMORY);
    struct scan *scan = NULL;
    struct scan_batch part;
    enum errc rc;
    *out = (struct request_logs){0};
    if (!b)
        return ERR(err, NOMEM, "no memory for log records");
    snprintf(hex, sizeof hex, "%016" PRIx64 "%016" PRIx64, t->id.hi, t->id.lo);
    GO(store_scan(s, &q, &scan, err));
    for (;;) {
        GO(scan_next(scan, &part, err));
        if (!part.batch)
            break;
        for (uint32_t i = 0; i < part.n_rows; i++)
            if (log_belongs(part.batch, part.rows[i], t->id, slice_of(hex, 32)))
                batch_copy_row(b, part.batch, part.rows[i]);
    }
    if (!batch_seal(b))
        rc = ERR(err, LIMIT, "the request's log records need more than %zu MiB", (size_t)MAX_QUERY_MEMORY >> 20);
    else
        rc = request_logs_build(b, out, err);
out:
    scan_close(scan);
    if (rc != ERR_OK) {
        batch_unref(b);
        *out = (struct request_logs){0};
    }
    return rc;
}

void request_logs_free(struct request_logs *l)
{
    batch_unref(l->batch);
    *l = (struct request_logs){0};
}
