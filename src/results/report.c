// What a person reads: a summary of each aiperf test, one table of the older clients' tests, one of all others, then what the
// logs say.
#include "results/report.h"
#include "base/json.h"

// ---- aiperf ---------------------------------------------------------------------------------------------------------
static void pair(struct table *t, const char *name, struct slice value)
{
    struct slice *row = table_row(t);
    row[0] = slice_str(name);
    row[1] = value;
}

static struct slice latency_cell(struct arena *a, double v, double sla)
{
    if (isnan(v) || sla <= 0)
        return table_number(a, v, 3, "");
    return arena_printf(a, "%.3f %s (target %.3g)", v, v <= sla ? "✓" : "✗", sla);
}

static void component_rows(struct arena *a, struct table *t, const struct result *x)
{
    for (uint32_t i = 0; i < x->n_components; i++) {
        const struct result_component *c = &x->component[i];
        if (isnan(c->recovery) && !c->crash_loop)
            continue;
        struct slice name = arena_printf(a, "Recovery of %.*s", (int)c->name.n, c->name.p);
        struct slice time = table_number(a, c->recovery, 2, "sec");
        pair(t, name.p ? name.p : "", c->crash_loop ? arena_printf(a, "%.*s (%u starts)", (int)time.n, time.p, c->starts) : time);
    }
}

static struct slice faults_cell(struct arena *a, const struct result *x)
{
    struct slice out = SLICE("");
    for (uint32_t i = 0; i < x->n_faults; i++) {
        const struct result_fault *f = &x->fault[i];
        out = arena_printf(a, "%.*s%s%.*s: %.*s", (int)out.n, out.p, i ? "; " : "", (int)f->pod.n, f->pod.p, (int)f->command.n,
                           f->command.p);
    }
    return out;
}

// Of the clients that told one.
static double rate_per_client(const struct result *x)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n_client; i++)
        n += !isnan(x->client_rate[i]);
    return n ? x->load.throughput / n : NAN;
}

static struct slice told_count(struct arena *a, const struct result *x, uint64_t n)
{
    return x->load.told ? table_count(a, n) : SLICE("N/A");
}

static void aiperf_table(struct arena *a, const struct result *x, const struct results_options *o, enum results_format f,
                         struct buf *out)
{
    static const char *const head[] = {"Metric", "Value"};
    struct table t;
    table_start(&t, a, "FAULT TOLERANCE TEST SUMMARY - AI-PERF", head, 2);
    pair(&t, "Test Directory", x->path);
    pair(&t, "Number of Clients", table_count(a, x->load.clients));
    if (x->n_faults && x->fault[0].pod.n)
        pair(&t, "Failure", faults_cell(a, x));
    pair(&t, "Startup Time", table_number(a, x->startup, 2, "sec"));
    pair(&t, "Recovery Time", table_number(a, x->recovery, 2, "sec"));
    component_rows(a, &t, x);
    pair(&t, "Total Requests", told_count(a, x, x->load.total));
    pair(&t, "Successful Requests", told_count(a, x, x->load.ok));
    pair(&t, "Failed Requests", told_count(a, x, x->load.failed));
    pair(&t, "Success Rate", table_number(a, result_success(x), 2, "%"));
    pair(&t, "Mean Latency (s)", latency_cell(a, x->load.latency, o->sla));
    pair(&t, "P50 Latency (s)", table_number(a, x->load.p50, 3, ""));
    pair(&t, "P90 Latency (s)", table_number(a, x->load.p90, 3, ""));
    pair(&t, "P99 Latency (s)", table_number(a, x->load.p99, 3, ""));
    pair(&t, "Mean TTFT (s)", table_number(a, x->load.ttft, 3, ""));
    pair(&t, "Mean ITL (s)", table_number(a, x->load.itl, 4, ""));
    pair(&t, "Throughput (req/s)", table_number(a, x->load.throughput, 2, ""));
    pair(&t, "Throughput per Client (req/s)", table_number(a, rate_per_client(x), 2, ""));
    table_print(&t, f, out);
}

// ---- overflow and recovery ------------------------------------------------------------------------------------------
static const struct result *partner(const struct results *r, struct slice stem)
{
    struct slice other;
    for (uint32_t i = 0; i < r->n; i++)
        if (name_ends(r->item[i].name, "_recovery", &other) && slice_eq(stem, other))
            return &r->item[i];
    return NULL;
}

static void phase_row(struct arena *a, struct table *t, struct slice test, const char *phase, uint64_t ok, uint64_t failed,
                      double latency)
{
    struct slice *row = table_row(t);
    double success = ok + failed ? 100.0 * (double)ok / (double)(ok + failed) : NAN;
    row[0] = test;
    row[1] = slice_str(phase);
    row[2] = table_count(a, ok + failed);
    row[3] = table_count(a, failed);
    row[4] = table_number(a, success, 2, "%");
    row[5] = table_number(a, latency, 3, "");
    row[6] = isnan(success) ? SLICE("N/A") : success >= PHASE_PASSES ? SLICE("passed ✓") : SLICE("failed ✗");
}

static void phases_table(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    static const char *const head[] = {"Test", "Phase", "Requests", "Failed", "Success", "Mean Latency (s)", "Verdict"};
    struct table t;
    struct slice stem;
    table_start(&t, a, "SUCCESS BY PHASE", head, 7);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct result *x = &r->item[i], *y;
        for (uint32_t k = 0; k < x->n_phases; k++)
            phase_row(a, &t, x->label, x->phase[k].name, x->phase[k].ok, x->phase[k].failed, x->phase[k].latency);
        if (!name_ends(x->name, "_overflow", &stem) || !(y = partner(r, stem)))
            continue;
        double n = (double)(x->load.ok + y->load.ok);
        phase_row(a, &t, stem, "overflow", x->load.ok, x->load.failed, x->load.latency);
        phase_row(a, &t, stem, "recovery", y->load.ok, y->load.failed, y->load.latency);
        phase_row(a, &t, stem, "combined", x->load.ok + y->load.ok, x->load.failed + y->load.failed,
                  n > 0 ? (x->load.latency * (double)x->load.ok + y->load.latency * (double)y->load.ok) / n : NAN);
    }
    if (t.rows)
        table_print(&t, f, out);
}

// ---- the older client -----------------------------------------------------------------------------------------------
static void legacy_row(struct arena *a, struct table *t, const struct result *x, bool sla)
{
    struct slice *row = table_row(t);
    const struct result_phase *before = x->n_phases > 0 ? &x->phase[0] : NULL, *after = x->n_phases > 1 ? &x->phase[1] : NULL;
    uint32_t c = 0;
    row[c++] = x->failure.n ? x->failure : x->label;
    row[c++] = table_number(a, x->startup, 2, "");
    row[c++] = before ? table_count(a, before->ok) : SLICE("N/A");
    row[c++] = before ? table_count(a, before->failed) : SLICE("N/A");
    row[c++] = after ? table_count(a, after->ok) : SLICE("N/A");
    row[c++] = after ? table_count(a, after->failed) : SLICE("N/A");
    row[c++] = table_number(a, before ? before->latency : NAN, 2, "");
    row[c++] = table_number(a, after ? after->latency : NAN, 2, "");
    if (sla) {
        row[c++] = before ? table_count(a, before->violations) : SLICE("N/A");
        row[c++] = after ? table_count(a, after->violations) : SLICE("N/A");
    }
    row[c++] = table_number(a, x->recovery, 2, "");
}

// The rows of one group of scenarios: those whose names begin alike.
static void group_table(struct arena *a, const struct results *r, struct slice group, const char *title,
                        const struct results_options *o, enum results_format f, struct buf *out)
{
    static const char *const plain[] = {"Failure",      "Startup",        "Success Before", "Failed Before", "Success After",
                                        "Failed After", "Latency Before", "Latency After",  "Recovery"};
    static const char *const with_sla[] = {"Failure",           "Startup",          "Success Before", "Failed Before",
                                           "Success After",     "Failed After",     "Latency Before", "Latency After",
                                           "Violations Before", "Violations After", "Recovery"};
    struct table t;
    bool sla = o->sla > 0;
    table_start(&t, a, title, sla ? with_sla : plain, sla ? 11 : 9);
    for (uint32_t i = 0; i < r->n; i++)
        if (r->item[i].kind == RESULT_LEGACY && slice_eq(result_group(r->item[i].name), group))
            legacy_row(a, &t, &r->item[i], sla);
    table_print(&t, f, out);
}

static bool is_first_of_group(const struct results *r, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (r->item[k].kind == RESULT_LEGACY && slice_eq(result_group(r->item[k].name), result_group(r->item[i].name)))
            return false;
    return r->item[i].kind == RESULT_LEGACY;
}

static void legacy_tables(struct arena *a, const struct results *r, const struct results_options *o, enum results_format f,
                          struct buf *out)
{
    static const char *const title = "FAULT TOLERANCE TESTS";
    uint32_t groups = 0;
    for (uint32_t i = 0; i < r->n; i++)
        groups += is_first_of_group(r, i);
    for (uint32_t i = 0; i < r->n; i++) {
        if (!is_first_of_group(r, i))
            continue;
        struct slice group = result_group(r->item[i].name);
        struct slice named = arena_printf(a, "%s: %.*s", title, (int)group.n, group.p);
        group_table(a, r, group, groups > 1 && group.n && named.p ? named.p : title, o, f, out);
    }
}

// ---- everything else ------------------------------------------------------------------------------------------------
static struct slice verdict_cell(struct arena *a, const struct result *x)
{
    if (x->n_cases)
        return arena_printf(a, x->cases_skipped ? "%u of %u passed, %u skipped" : "%u of %u passed",
                            x->n_cases - x->cases_failed - x->cases_skipped, x->n_cases, x->cases_skipped);
    return slice_str(result_verdict_text(x->verdict));
}

static void others_table(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    static const char *const head[] = {"Test", "Kind", "Outcome", "Start", "Duration (s)", "Log Lines", "Errors", "Warnings"};
    struct table t;
    table_start(&t, a, "TESTS AND LOGS", head, 8);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct result *x = &r->item[i];
        if (x->kind == RESULT_AIPERF || x->kind == RESULT_LEGACY)
            continue;
        struct slice *row = table_row(&t);
        row[0] = x->label;
        row[1] = slice_str(result_kind_text(x->kind));
        row[2] = verdict_cell(a, x);
        row[3] = table_time(a, x->start_ns);
        row[4] = table_number(a, x->start_ns && x->end_ns ? (double)(x->end_ns - x->start_ns) / 1e9 : NAN, 2, "");
        row[5] = table_count(a, x->lines);
        row[6] = table_count(a, x->errors);
        row[7] = table_count(a, x->warnings);
    }
    if (t.rows)
        table_print(&t, f, out);
}

static void failed_row(struct arena *a, struct table *t, struct slice name, enum result_verdict verdict, double seconds,
                       struct slice message)
{
    if (verdict != VERDICT_FAILED || t->rows == REPORT_ROWS)
        return;
    struct slice *row = table_row(t);
    row[0] = name;
    row[1] = table_number(a, seconds, 3, "");
    row[2] = message;
}

static void failed_cases(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    static const char *const head[] = {"Failed Test", "Seconds", "Message"};
    struct table t;
    table_start(&t, a, "FAILED TESTS", head, 3);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct result *x = &r->item[i];
        if (!x->n_cases)
            failed_row(a, &t, x->label, x->verdict, x->seconds, x->message);
        for (uint32_t k = 0; k < x->n_cases; k++)
            failed_row(a, &t, x->cases[k].name, x->cases[k].verdict, x->cases[k].seconds, x->cases[k].message);
    }
    if (t.rows)
        table_print(&t, f, out);
}

static void classes_table(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    static const char *const head[] = {"Test", "Level", "Count", "Error", "First Seen"};
    struct table t;
    table_start(&t, a, "ERRORS BY SHAPE", head, 5);
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < r->item[i].n_classes && k < REPORT_CLASSES; k++) {
            const struct result_class *c = &r->item[i].class[k];
            struct slice *row = table_row(&t);
            row[0] = r->item[i].label;
            row[1] = c->warning ? SLICE("WARN") : SLICE("ERROR");
            row[2] = table_count(a, c->count);
            row[3] = slice_cut(c->count == 1 ? c->sample : c->text, REPORT_TEXT);
            row[4] = c->line ? arena_printf(a, "%.*s:%llu", (int)c->file.n, c->file.p, (unsigned long long)c->line) : c->file;
        }
    if (t.rows)
        table_print(&t, f, out);
}

static void requests_table(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    static const char *const head[] = {"Test", "Request", "Start", "Latency (s)", "TTFT (s)", "Error"};
    struct table t;
    table_start(&t, a, "SLOWEST AND FAILED REQUESTS", head, 6);
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < r->item[i].n_slow + r->item[i].n_failed; k++) {
            const struct result *x = &r->item[i];
            const struct result_request *q = k < x->n_slow ? &x->slow[k] : &x->failed[k - x->n_slow];
            struct slice *row = table_row(&t);
            row[0] = x->name;
            row[1] = q->id;
            row[2] = table_time(a, q->start_ns);
            row[3] = table_number(a, q->latency, 3, "");
            row[4] = table_number(a, q->ttft, 3, "");
            row[5] = slice_cut(q->error, REPORT_TEXT);
        }
    if (t.rows)
        table_print(&t, f, out);
}

void report_note(struct slice name, struct slice text, enum results_format f, struct buf *out)
{
    if (f != RESULTS_HTML) {
        buf_printf(out, "%s%.*s: %.*s\n", f == RESULTS_MARKDOWN ? "- " : "  ", (int)name.n, name.p, (int)text.n, text.p);
        return;
    }
    buf_str(out, "<li>");
    table_html(out, name);
    buf_str(out, ": ");
    table_html(out, text);
    buf_str(out, "</li>\n");
}

static void notes(struct arena *a, const struct results *r, enum results_format f, struct buf *out)
{
    uint32_t n = 0, unreadable = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        n += r->item[i].n_notes;
        unreadable += r->item[i].unreadable;
    }
    if (!n)
        return;
    buf_str(out, f == RESULTS_HTML ? "<h2>Notes</h2>\n<ul>\n" : f == RESULTS_MARKDOWN ? "\n## Notes\n\n" : "\nNotes\n");
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < r->item[i].n_notes; k++)
            report_note(table_line(a, r->item[i].label), table_line(a, r->item[i].note[k]), f, out);
    if (unreadable)
        report_note(SLICE("All"),
                    arena_printf(a, "%u file%s could not be read, or not whole", unreadable, unreadable == 1 ? "" : "s"), f, out);
    if (f == RESULTS_HTML)
        buf_str(out, "</ul>\n");
}

void report_tables(struct arena *a, const struct results *r, const struct results_options *o, enum results_format f,
                   struct buf *out)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->item[i].kind == RESULT_AIPERF)
            aiperf_table(a, &r->item[i], o, f, out);
    legacy_tables(a, r, o, f, out);
    phases_table(a, r, f, out);
    others_table(a, r, f, out);
    failed_cases(a, r, f, out);
    requests_table(a, r, f, out);
    classes_table(a, r, f, out);
    notes(a, r, f, out);
}

// ---- CSV: one row a result ------------------------------------------------------------------------------------------
static void csv(struct arena *a, const struct results *r, struct buf *out)
{
    static const char *const head[] = {"test",     "kind",   "failure",         "startup_s", "recovery_s", "clients",
                                       "requests", "failed", "success_percent", "latency_s", "p50_s",      "p90_s",
                                       "p99_s",    "ttft_s", "itl_s",           "errors"};
    struct table t;
    table_start(&t, a, NULL, head, 16);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct result *x = &r->item[i];
        struct slice *row = table_row(&t);
        double v[] = {x->startup,      x->recovery, NAN,         NAN,         NAN,          result_success(x),
                      x->load.latency, x->load.p50, x->load.p90, x->load.p99, x->load.ttft, x->load.itl};
        row[0] = x->name;
        row[1] = slice_str(result_kind_text(x->kind));
        row[2] = x->failure;
        for (uint32_t k = 0; k < 12; k++)
            row[3 + k] = isnan(v[k]) ? SLICE("") : table_number(a, v[k], 6, "");
        row[5] = table_count(a, x->load.clients);
        row[6] = table_count(a, x->load.total);
        row[7] = table_count(a, x->load.failed);
        row[15] = table_count(a, x->errors);
    }
    table_print(&t, RESULTS_CSV, out);
}

void results_print(const struct results *r, const struct results_options *o, enum results_format f, struct buf *out)
{
    struct arena a;
    arena_init(&a, RESULTS_MEMORY);
    if (f == RESULTS_JSON)
        report_json(r, o, out);
    else if (f == RESULTS_CSV)
        csv(&a, r, out);
    else if (f == RESULTS_HTML)
        report_html(&a, r, o, out);
    else
        report_tables(&a, r, o, f, out);
    arena_free(&a);
}
