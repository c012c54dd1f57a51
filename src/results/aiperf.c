// Load measured by aiperf: client_<n>/attempt_<m>/profile_export_aiperf.json, of each client the first attempt that has one.
// Beside it profile_export.jsonl may tell each request. Where the JSON is absent, the same table as CSV is read.
#include "base/json.h"
#include "results/results_int.h"
#include "results/textfile.h"
#include <stdio.h>

enum { ERRORS_MAX = 1000 }; // rows of a client's error_summary

struct client {
    uint32_t number;
    const struct file *json, *csv;
    uint64_t json_attempt, csv_attempt; // where these lie
    bool log;                           // genai_perf.log: it ran
};

// One client's numbers; NaN: not told.
struct counted {
    double count, errors, configured, latency, p50, p90, p99, ttft, itl, rate;
    bool cancelled;
};

// ---- which files ----------------------------------------------------------------------------------------------------
static struct client *client_of(struct client *list, uint32_t *n, uint32_t number)
{
    for (uint32_t i = 0; i < *n; i++)
        if (list[i].number == number)
            return &list[i];
    if (*n == CLIENTS_MAX)
        return NULL;
    list[*n] = (struct client){.number = number};
    return &list[(*n)++];
}

// client_3/attempt_0/name
static bool place_of(const struct file *f, uint32_t *client, uint64_t *attempt, struct slice *name)
{
    struct slice rest = f->plain, part;
    const struct slice word = SLICE("attempt_");
    if (!slice_split(&rest, '/', &part) || !client_number(part, client) || !rest.p || !slice_split(&rest, '/', &part) ||
        !slice_starts(part, word) || !rest.p)
        return false;
    if (!slice_to_u64(slice_from(part, word.n), attempt))
        *attempt = UINT64_MAX;
    *name = rest;
    return true;
}

static uint32_t gather(const struct folder *f, struct client *list)
{
    uint32_t n = 0, number;
    for (uint32_t i = 0; i < f->n_clients; i++)
        client_of(list, &n, f->client[i]);
    for (uint32_t i = 0; i < f->n; i++) {
        uint64_t attempt;
        struct slice name;
        struct client *c = place_of(&f->file[i], &number, &attempt, &name) ? client_of(list, &n, number) : NULL;
        if (!c)
            continue;
        if (slice_eq(name, SLICE("profile_export_aiperf.json")) && (!c->json || attempt < c->json_attempt)) {
            c->json = &f->file[i];
            c->json_attempt = attempt;
        } else if (name_ends(name, ".csv", NULL) && (!c->csv || attempt < c->csv_attempt)) {
            c->csv = &f->file[i];
            c->csv_attempt = attempt;
        } else if (slice_eq(name, SLICE("genai_perf.log"))) {
            c->log = true;
        }
    }
    return n;
}

// profile_export.jsonl of the attempt whose table counts.
static const struct file *records_of(const struct folder *f, const struct client *c)
{
    uint64_t attempt, want = c->json ? c->json_attempt : c->csv_attempt;
    uint32_t number;
    struct slice name;
    for (uint32_t i = 0; i < f->n; i++)
        if (place_of(&f->file[i], &number, &attempt, &name) && number == c->number &&
            slice_eq(name, SLICE("profile_export.jsonl")) && (attempt == want || (!c->json && !c->csv)))
            return &f->file[i];
    return NULL;
}

// ---- the table as JSON ----------------------------------------------------------------------------------------------
static double metric(struct slice text, const char *prefix, const char *name, const char *stat, struct arena *a)
{
    char path[128];
    snprintf(path, sizeof path, "%s%s.%s", prefix, name, stat);
    return result_json_number(text, path, a);
}

// In seconds; milliseconds where the file does not tell a unit.
static double seconds(struct slice text, const char *prefix, const char *name, const char *stat, struct arena *a)
{
    char path[128];
    snprintf(path, sizeof path, "%s%s.unit", prefix, name);
    struct slice unit = result_json_text(text, path, a);
    double v = metric(text, prefix, name, stat, a);
    if (slice_eq(unit, SLICE("s")) || slice_eq(unit, SLICE("sec")) || slice_eq(unit, SLICE("seconds")))
        return v;
    return slice_eq(unit, SLICE("us")) ? v / 1e6 : slice_eq(unit, SLICE("ns")) ? v / 1e9 : v / 1e3;
}

static double summed_errors(struct slice text, struct arena *a)
{
    double sum = 0;
    for (int i = 0; i < ERRORS_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "error_summary.%d.count", i);
        double n = result_json_number(text, path, a);
        if (isnan(n))
            return i ? sum : NAN;
        sum += n;
    }
    return sum;
}

// One row of error_summary: {"error_details": {"code", "type", "message"}, "count"}. Equal ones of several clients are one class.
static void error_class(struct arena *a, struct result *r, struct slice row, struct slice file)
{
    struct slice type = result_json_text(row, "error_details.type", a), code = result_json_text(row, "error_details.code", a),
                 message = result_json_text(row, "error_details.message", a);
    double count = result_json_number(row, "count", a);
    if ((!type.n && !message.n) || !(count >= 1) || count > 1e15)
        return;
    bool coded = code.n && !slice_eq(code, SLICE("null"));
    struct slice text = arena_printf(a, "%.*s%s%.*s%s%s%.*s", (int)type.n, type.p, coded ? " (" : "", coded ? (int)code.n : 0,
                                     code.p, coded ? ")" : "", message.n ? ": " : "", (int)message.n, message.p);
    for (uint32_t i = 0; i < r->n_classes; i++)
        if (slice_eq(r->class[i].text, text)) {
            r->class[i].count += (uint64_t)count;
            return;
        }
    if (r->n_classes < RESULTS_CLASSES && text.p)
        r->class[r->n_classes++] = (struct result_class){.text = text, .sample = text, .file = file, .count = (uint64_t)count};
}

static void error_classes(struct slice text, struct arena *a, struct result *r, struct slice file)
{
    struct slice row;
    if (!r->class)
        r->class = ARENA_ARRAY(a, struct result_class, RESULTS_CLASSES);
    for (int i = 0; r->class && i < ERRORS_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "error_summary.%d", i);
        if (!result_json(text, path, a, &row, NULL))
            return;
        error_class(a, r, row, file);
    }
}

static void from_json(struct slice text, struct arena *a, struct counted *c)
{
    struct slice raw;
    const char *in = result_json(text, "records", a, &raw, NULL) && raw.n && raw.p[0] == '{' ? "records." : "";
    c->count = metric(text, in, "request_count", "avg", a);
    c->errors = metric(text, in, "error_request_count", "avg", a);
    if (isnan(c->errors))
        c->errors = summed_errors(text, a);
    c->configured = result_json_number(text, "input_config.loadgen.request_count", a);
    c->latency = seconds(text, in, "request_latency", "avg", a);
    c->p50 = seconds(text, in, "request_latency", "p50", a);
    c->p90 = seconds(text, in, "request_latency", "p90", a);
    c->p99 = seconds(text, in, "request_latency", "p99", a);
    c->ttft = seconds(text, in, "time_to_first_token", "avg", a);
    c->itl = seconds(text, in, "inter_token_latency", "avg", a);
    c->rate = metric(text, in, "request_throughput", "avg", a);
    c->cancelled = slice_eq(result_json_text(text, "was_cancelled", a), SLICE("true"));
}

// ---- the table as CSV: a row a metric, a column a statistic ---------------------------------------------------------
static struct slice cell(struct slice *rest)
{
    struct slice part = SLICE("");
    if (rest->n && rest->p[0] == '"') {
        const char *close = memchr(rest->p + 1, '"', rest->n - 1);
        if (close) {
            part = slice_of(rest->p + 1, (size_t)(close - rest->p) - 1);
            *rest = slice_from(*rest, part.n + 3);
            return part;
        }
    }
    if (rest->p)
        slice_split(rest, ',', &part);
    return slice_trim(part);
}

static void csv_row(struct slice head, struct slice row, struct counted *c)
{
    static const struct {
        struct slice metric, stat;
        size_t at;
        bool ms;
    } want[] = {
        {SLICE_INIT("Request Count"), SLICE_INIT("avg"), offsetof(struct counted, count), false},
        {SLICE_INIT("Error Request Count"), SLICE_INIT("avg"), offsetof(struct counted, errors), false},
        {SLICE_INIT("Request Latency"), SLICE_INIT("avg"), offsetof(struct counted, latency), true},
        {SLICE_INIT("Request Latency"), SLICE_INIT("p50"), offsetof(struct counted, p50), true},
        {SLICE_INIT("Request Latency"), SLICE_INIT("p90"), offsetof(struct counted, p90), true},
        {SLICE_INIT("Request Latency"), SLICE_INIT("p99"), offsetof(struct counted, p99), true},
        {SLICE_INIT("Time to First Token"), SLICE_INIT("avg"), offsetof(struct counted, ttft), true},
        {SLICE_INIT("Inter Token Latency"), SLICE_INIT("avg"), offsetof(struct counted, itl), true},
        {SLICE_INIT("Request Throughput"), SLICE_INIT("avg"), offsetof(struct counted, rate), false},
    };
    struct slice name = cell(&row), column, value;
    bool in_seconds = slice_find(name, SLICE("(s)")) >= 0 || slice_find(name, SLICE("(sec)")) >= 0;
    ptrdiff_t paren = slice_find(name, SLICE(" ("));
    name = paren > 0 ? slice_cut(name, (size_t)paren) : name;
    cell(&head);
    while (head.n) {
        double v;
        column = cell(&head);
        value = cell(&row);
        if (!slice_to_f64(value, &v))
            continue;
        for (size_t i = 0; i < sizeof want / sizeof *want; i++)
            if (slice_ieq(name, want[i].metric) && slice_ieq(column, want[i].stat))
                *(double *)((char *)c + want[i].at) = want[i].ms && !in_seconds ? v / 1e3 : v;
        if (slice_ieq(column, SLICE("value")) && slice_ieq(name, want[0].metric))
            c->count = v;
        else if (slice_ieq(column, SLICE("value")) && slice_ieq(name, want[1].metric))
            c->errors = v;
    }
}

static void from_csv(struct slice text, struct counted *c)
{
    struct slice head = SLICE(""), line;
    while (textfile_line(&text, &line)) {
        line = slice_trim(line);
        if (slice_starts(line, SLICE("Metric")))
            head = line;
        else if (line.n && head.n)
            csv_row(head, line, c);
    }
}

// ---- each request ---------------------------------------------------------------------------------------------------
static void one_request(struct slice line, struct arena *a, struct tally *t)
{
    struct result_request q = {.id = SLICE(""), .error = SLICE("")};
    double start = result_json_number(line, "metadata.request_start_ns", a);
    struct slice raw;
    q.id = result_json_text(line, "metadata.x_request_id", a);
    q.start_ns = isnan(start) ? 0 : (int64_t)start;
    q.latency = result_json_number(line, "metrics.request_latency.value", a) / 1e3;
    q.ttft = result_json_number(line, "metrics.time_to_first_token.value", a) / 1e3;
    if (result_json(line, "error", a, &raw, NULL) && raw.n && raw.p[0] == '{') {
        q.error = result_json_text(raw, "message", a);
        if (q.error.n == 0)
            q.error = result_json_text(raw, "type", a);
        if (q.error.n == 0)
            q.error = SLICE("error");
    } else if (slice_eq(result_json_text(line, "metadata.was_cancelled", a), SLICE("true"))) {
        q.error = SLICE("cancelled");
    }
    tally_add(t, &q);
}

static void read_records(struct arena *a, struct result *r, const struct file *f, struct tally *t)
{
    struct slice rest, line;
    uint64_t bad = 0;
    if (!result_text(a, r, f, RESULTS_MEMORY, &rest)) // ids and errors point into it
        return;
    result_json_lenient(rest);
    while (textfile_line(&rest, &line)) {
        struct slice raw;
        line = slice_trim(line);
        if (line.n && !result_json(line, "metadata", a, &raw, NULL))
            bad++;
        else if (line.n)
            one_request(line, a, t);
    }
    if (bad)
        result_note(a, r, "%.*s: %llu lines are no JSON and were left out", (int)f->name.n, f->name.p, (unsigned long long)bad);
}

// ---- a client -------------------------------------------------------------------------------------------------------
static bool read_client(struct arena *a, struct result *r, const struct client *c, struct counted *out)
{
    const struct file *f = c->json ? c->json : c->csv;
    struct slice text;
    struct error err = {0};
    *out = (struct counted){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, false};
    if (!f) {
        result_note(a, r, "client_%u wrote no profile_export_aiperf.json%s", c->number,
                    c->log ? "; its genai_perf.log says that it ran" : "");
        return false;
    }
    if (!result_text(a, r, f, RESULT_FILE_MAX, &text))
        return false;
    result_json_lenient(text);
    if (text.n == 0) {
        result_unreadable(a, r, f->name, "is empty");
        return false;
    }
    if (!c->json) {
        from_csv(text, out);
        result_note(a, r, "client_%u: read from %.*s, there is no JSON", c->number, (int)f->name.n, f->name.p);
    } else if (!result_json_whole(text, a, &err)) {
        result_unreadable(a, r, f->name, "is damaged: %s", err.msg);
        return false;
    } else {
        from_json(text, a, out);
        error_classes(text, a, r, f->name);
    }
    return true;
}

// Means of all clients; each weighs as many requests as it comes from.
struct sum {
    double latency, ttft, itl, weight_latency, weight_ttft, weight_itl;
};

static void weigh(double value, double n, double *mean, double *weight)
{
    if (!isnan(value) && n > 0) {
        *weight += n;
        *mean += (value - *mean) * (n / *weight);
    }
}

// Counts are not negative, and no larger than a double tells apart.
static double counted_or_zero(struct arena *a, struct result *r, uint32_t client, double v)
{
    if (isnan(v) || (v >= 0 && v <= 9007199254740992.0))
        return isnan(v) ? 0 : v;
    result_note(a, r, "client_%u tells of %.10g requests: left out", client, v);
    return 0;
}

static void larger(double *v, double candidate)
{
    if (isnan(*v) || candidate > *v)
        *v = candidate;
}

static void add_client(struct arena *a, struct result *r, uint32_t client, const struct counted *c, struct sum *s)
{
    double ok = counted_or_zero(a, r, client, c->count), errors = counted_or_zero(a, r, client, c->errors), total = ok + errors;
    double configured = counted_or_zero(a, r, client, c->configured);
    if (isnan(c->count) && !isnan(c->configured)) {
        total = configured;
        ok = total > errors ? total - errors : 0;
    }
    if (c->cancelled) {
        total = total > 0 ? total : configured;
        ok = 0;
    }
    r->load.told = r->load.told || !isnan(c->count) || !isnan(c->errors) || !isnan(c->configured);
    r->load.cancelled += c->cancelled;
    r->load.total += (uint64_t)llround(total);
    r->load.ok += (uint64_t)llround(ok);
    r->load.failed += (uint64_t)llround(total - ok);
    weigh(c->latency, c->count, &s->latency, &s->weight_latency);
    weigh(c->ttft, c->count, &s->ttft, &s->weight_ttft);
    weigh(c->itl, c->count, &s->itl, &s->weight_itl);
    larger(&r->load.p50, c->p50);
    larger(&r->load.p90, c->p90);
    larger(&r->load.p99, c->p99);
    if (!isnan(c->rate))
        r->load.throughput = (isnan(r->load.throughput) ? 0 : r->load.throughput) + c->rate;
    r->client_latency[r->n_client] = c->latency;
    r->client_rate[r->n_client++] = c->rate;
}

enum errc aiperf_read(struct arena *a, struct result *r, const struct folder *f)
{
    struct client *list = ARENA_ARRAY(a, struct client, CLIENTS_MAX);
    struct sum sum = {0};
    struct tally tally = {.n_slow = 0};
    uint32_t n = list ? gather(f, list) : 0;
    r->client_latency = ARENA_ARRAY(a, double, n + 1);
    r->client_rate = ARENA_ARRAY(a, double, n + 1);
    if (!list || !r->client_latency || !r->client_rate)
        return ERR_NOMEM;
    r->load.clients = n;
    for (uint32_t i = 0; i < n; i++) {
        struct counted c;
        const struct file *records = records_of(f, &list[i]);
        if (read_client(a, r, &list[i], &c)) {
            if (c.cancelled)
                result_note(a, r, "client_%u was cancelled: all its requests count as failed", list[i].number);
            add_client(a, r, list[i].number, &c, &sum);
        }
        if (records)
            read_records(a, r, records, &tally);
    }
    r->load.latency = sum.weight_latency > 0 ? sum.latency : NAN;
    r->load.ttft = sum.weight_ttft > 0 ? sum.ttft : NAN;
    r->load.itl = sum.weight_itl > 0 ? sum.itl : NAN;
    return tally_keep(a, r, &tally);
}
