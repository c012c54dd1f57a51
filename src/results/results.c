#include "results/results.h"
#include "base/alloc.h"
#include "results/find.h"
#include "results/logscan.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

const char *result_kind_text(enum result_kind kind)
{
    static const char *const text[] = {"logs", "pytest", "legacy", "aiperf", "junit"};
    return text[kind];
}

bool client_number(struct slice name, uint32_t *number)
{
    size_t i = 7;
    uint64_t n = 0;
    if (!slice_starts(name, SLICE("client_")))
        return false;
    for (; i < name.n && i < 16 && isdigit((unsigned char)name.p[i]); i++)
        n = n * 10 + (uint64_t)(name.p[i] - '0');
    *number = (uint32_t)n;
    struct slice rest = slice_from(name, i);
    return i > 7 && (rest.n == 0 || slice_eq(rest, SLICE(".log.txt")));
}

const char *result_verdict_text(enum result_verdict verdict)
{
    static const char *const text[] = {"", "passed", "failed", "skipped"};
    return text[verdict];
}

// What the pytest plug-in left of the test: {"outcome", "message", "attempts", "seconds"}.
static void mark_read(struct arena *a, struct result *r, const struct folder *f)
{
    struct slice text = SLICE("");
    for (uint32_t i = 0; i < f->n; i++)
        if (slice_eq(f->file[i].name, SLICE(RESULT_MARK)) && !result_text(a, r, &f->file[i], RESULT_FILE_MAX, &text))
            return;
    struct slice outcome = result_json_text(text, "outcome", a);
    for (enum result_verdict v = VERDICT_PASSED; v <= VERDICT_SKIPPED; v++)
        if (slice_eq(outcome, slice_str(result_verdict_text(v))))
            r->verdict = v;
    if (slice_eq(outcome, SLICE("interrupted")))
        result_note(a, r, "the test was interrupted");
    r->message = result_json_text(text, "message", a);
    r->seconds = result_json_number(text, "seconds", a);
    double attempts = result_json_number(text, "attempts", a);
    if (attempts > 1)
        result_note(a, r, "this is attempt %.0f; the ones before are in its folders attempt-<n>", attempts);
}

// ---- logs -----------------------------------------------------------------------------------------------------------
static bool is_log(struct slice name)
{
    size_t n = name.n;
    while (n > 0 && isdigit((unsigned char)name.p[n - 1]))
        n--;
    if (n > 1 && n < name.n && name.p[n - 1] == '.')
        name = slice_cut(name, n - 1); // rotated: run.log.1
    static const char *const tails[] = {".log", ".txt", ".jsonl", ".ndjson", ".out", ".err"};
    if (name_ends(name, ".metrics.log", NULL))
        return false;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (name_ends(name, tails[i], NULL))
            return true;
    return false;
}

// Files that hold measurements, not what happened.
static bool is_load(struct slice name)
{
    struct slice rest = name, part;
    uint32_t number;
    return slice_split(&rest, '/', &part) && client_number(part, &number);
}

static bool holds(const struct folder *f, struct slice name)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (slice_eq(f->file[i].plain, name))
            return true;
    return false;
}

// What the pytest plug-in wrote a second time: the test's log as JSON, and its reports, which show lines of other files.
static bool is_copy(struct slice name, bool log_too)
{
    return slice_eq(name, SLICE("report.txt")) || slice_eq(name, SLICE("flaky.txt")) ||
           (log_too && slice_eq(name, SLICE("test.log.jsonl")));
}

// What the logs say beside what the clients said; the most frequent first.
static enum errc add_classes(struct arena *a, struct result *r, const struct result_class *found, uint32_t n)
{
    struct result_class *all = ARENA_ARRAY(a, struct result_class, r->n_classes + n + 1);
    if (!all)
        return ERR_NOMEM;
    if (r->n_classes)
        memcpy(all, r->class, r->n_classes * sizeof *all);
    if (n)
        memcpy(all + r->n_classes, found, n * sizeof *all);
    r->class = all;
    r->n_classes += n;
    qsort(all, r->n_classes, sizeof *all, result_class_order);
    r->n_classes = r->n_classes < RESULTS_CLASSES ? r->n_classes : RESULTS_CLASSES;
    return ERR_OK;
}

static enum errc read_logs(struct arena *a, struct result *r, const struct folder *f, const struct results_options *o)
{
    struct logscan_file *file = ARENA_ARRAY(a, struct logscan_file, f->n + 1);
    struct result_class *found;
    uint32_t n = 0, n_found;
    bool marked = holds(f, SLICE(RESULT_MARK)), logged = holds(f, SLICE("test.log.txt"));
    if (!file)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < f->n; i++)
        if (is_log(f->file[i].plain) && !is_load(f->file[i].plain) && !(marked && is_copy(f->file[i].plain, logged)))
            file[n++] = (struct logscan_file){.path = f->file[i].path, .name = f->file[i].name};
    TRY(logscan(a, file, n, o->threads, &found, &n_found));
    TRY(add_classes(a, r, found, n_found));
    for (uint32_t i = 0; i < n; i++) {
        if (file[i].error) {
            result_unreadable(a, r, file[i].name, "cannot be read: %s", textfile_error(file[i].error));
            continue;
        }
        if (file[i].cut_short)
            result_unreadable(a, r, file[i].name, "is a gzip that breaks before its end: read as far as it goes");
        r->lines += file[i].lines;
        r->bytes += file[i].bytes;
        r->errors += file[i].errors;
        r->warnings += file[i].warnings;
        if (r->kind == RESULT_LOGS && file[i].first_ns && (!r->start_ns || file[i].first_ns < r->start_ns))
            r->start_ns = file[i].first_ns;
        if (r->kind == RESULT_LOGS && file[i].last_ns > r->end_ns)
            r->end_ns = file[i].last_ns;
    }
    return ERR_OK;
}

// ---- one result -----------------------------------------------------------------------------------------------------
static enum errc choose(struct arena *a, struct result *r, const struct found_folder *f, const struct results_options *o,
                        struct error *err)
{
    bool aiperf = f->kinds & FOUND_AIPERF, legacy = f->kinds & FOUND_LEGACY;
    if (o->parser == PARSER_AIPERF && !aiperf && legacy)
        return ERR(err, INPUT, "%s has no client_*/attempt_*: it cannot be read as aiperf", f->path);
    if (o->parser == PARSER_LEGACY && !legacy && aiperf)
        return ERR(err, INPUT, "%s has no client_<n>.log.txt: it cannot be read as legacy", f->path);
    if (aiperf && legacy && o->parser == PARSER_ANY)
        result_note(a, r, "it holds both kinds of load files; aiperf's are read (--force-parser legacy reads the others)");
    if (aiperf && o->parser != PARSER_LEGACY)
        r->kind = RESULT_AIPERF;
    else if (legacy)
        r->kind = RESULT_LEGACY;
    else
        r->kind = f->kinds & FOUND_PYTEST ? RESULT_PYTEST : f->kinds & FOUND_JUNIT ? RESULT_JUNIT : RESULT_LOGS;
    return ERR_OK;
}

static enum errc read_result(struct arena *a, struct result *r, const struct found_folder *f, const struct results_options *o,
                             struct error *err)
{
    const struct folder *files = &f->files;
    *r = (struct result){.path = result_clean(a, slice_str(f->path)),
                         .name = result_clean(a, slice_str(f->name)),
                         .startup = NAN,
                         .recovery = NAN,
                         .seconds = NAN};
    r->load =
        (struct result_load){.latency = NAN, .p50 = NAN, .p90 = NAN, .p99 = NAN, .ttft = NAN, .itl = NAN, .throughput = NAN};
    r->failure = result_failure(r->name);
    for (uint32_t i = 0; i < f->n_unread; i++)
        result_note(a, r, "%s cannot be listed: %s", f->unread[i].path, strerror(f->unread[i].error));
    TRY(choose(a, r, f, o, err));
    mark_read(a, r, files);
    testlog_read(a, r, files);
    if (r->kind != RESULT_LOGS)
        TRY(components_read(a, r, files, o->threads));
    if (r->kind == RESULT_AIPERF)
        TRY(aiperf_read(a, r, files));
    else if (r->kind == RESULT_LEGACY)
        TRY(legacy_read(a, r, files, o));
    for (uint32_t i = 0; i < files->n; i++)
        if ((f->kinds & FOUND_JUNIT) && !memchr(files->file[i].plain.p, '/', files->file[i].plain.n) &&
            name_ends(files->file[i].plain, ".xml", NULL))
            TRY(junit_read(a, r, &files->file[i]));
    if (r->n_cases)
        r->verdict = r->cases_failed ? VERDICT_FAILED : VERDICT_PASSED;
    return read_logs(a, r, files, o);
}

static int by_failure(const void *x, const void *y)
{
    const struct result *a = x, *b = y;
    int order = result_failure_order(a->failure) - result_failure_order(b->failure);
    order = order ? order : slice_cmp(a->name, b->name);
    return order ? order : slice_cmp(a->path, b->path);
}

// Folders X_overflow and X_recovery are halves of the test X: what its log and its components tell holds for both.
static void share_deployment(struct results *r)
{
    struct slice stem;
    for (uint32_t i = 0; i < r->n; i++) {
        struct result *x = &r->item[i];
        if (x->start_ns || (!name_ends(x->name, "_overflow", &stem) && !name_ends(x->name, "_recovery", &stem)))
            continue;
        for (uint32_t k = 0; k < r->n; k++) {
            const struct result *of = &r->item[k];
            if (!slice_eq(of->name, stem) || !of->start_ns)
                continue;
            x->start_ns = of->start_ns;
            x->ready_ns = of->ready_ns;
            x->fault_ns = of->fault_ns;
            x->fault = of->fault;
            x->n_faults = of->n_faults;
            x->startup = of->startup;
            x->recovery = isnan(x->recovery) ? of->recovery : x->recovery;
            x->failure = x->failure.n ? x->failure : of->failure;
        }
    }
}

// Files that lie beside results, in a folder that is none itself: a result if they are logs.
static bool is_beside(const struct result *x)
{
    return x->kind == RESULT_LOGS && !x->start_ns && !x->errors && !x->warnings && !x->n_notes;
}

static int by_name(const void *x, const void *y)
{
    return slice_cmp((*(struct result *const *)x)->name, (*(struct result *const *)y)->name);
}

// Results of one name in several folders (runs) are told apart by their folders.
static enum errc label(struct results *r, uint32_t n_dirs)
{
    struct result **order = ARENA_ARRAY(&r->arena, struct result *, r->n + 1);
    if (!order)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < r->n; i++)
        order[i] = &r->item[i];
    qsort(order, r->n, sizeof *order, by_name);
    for (uint32_t i = 0; i < r->n; i++) {
        struct result *x = order[i];
        bool shared = (i > 0 && slice_eq(order[i - 1]->name, x->name)) || (i + 1 < r->n && slice_eq(order[i + 1]->name, x->name));
        bool below = n_dirs == 1 && slice_starts(x->path, r->path) && x->path.n > r->path.n;
        struct slice path = below ? slice_from(x->path, r->path.n) : x->path;
        while (below && path.n > 1 && path.p[0] == '/')
            path = slice_from(path, 1);
        x->label = shared ? path : x->name;
    }
    return ERR_OK;
}

static enum errc read_tree(struct results *r, char *dir, const struct results_options *o, struct error *err)
{
    struct found found;
    TRY(results_find(&r->arena, dir, &found, err));
    struct result *item = arena_grow(&r->arena, r->item, r->n * sizeof *item, (r->n + found.n) * sizeof *item);
    if (!item)
        return ERR_NOMEM;
    r->item = item;
    uint32_t before = r->n;
    for (uint32_t i = 0; i < found.n; i++) {
        TRY(read_result(&r->arena, &r->item[r->n], &found.v[i], o, err));
        r->n += i > 0 || found.v[0].kinds || found.n == 1 || !is_beside(&r->item[r->n]);
    }
    const struct result *only = &r->item[before];
    if (r->n == before || (r->n == before + 1 && only->kind == RESULT_LOGS && only->bytes == 0 && !only->n_notes))
        return ERR(err, INPUT, "%s holds nothing that is a result: no client_*, test.log.txt, JUnit XML or log files", dir);
    return ERR_OK;
}

enum errc results_read(struct results *r, char *const *dirs, uint32_t n, const struct results_options *o, struct error *err)
{
    enum errc rc = ERR_OK;
    *r = (struct results){.path = SLICE("")};
    arena_init(&r->arena, RESULTS_MEMORY);
    for (uint32_t i = 0; rc == ERR_OK && i < n; i++) {
        struct slice dir = result_clean(&r->arena, slice_str(dirs[i]));
        r->path = i ? arena_printf(&r->arena, "%.*s %.*s", (int)r->path.n, r->path.p, (int)dir.n, dir.p) : dir;
        rc = read_tree(r, dirs[i], o, err);
        if (rc == ERR_NOMEM)
            ERR(err, NOMEM, "%s does not fit into %zu MiB", dirs[i], RESULTS_MEMORY >> 20);
    }
    if (rc == ERR_OK) {
        share_deployment(r);
        qsort(r->item, r->n, sizeof *r->item, by_failure);
        rc = label(r, n);
    }
    if (rc != ERR_OK)
        results_free(r);
    return rc;
}

void results_free(struct results *r)
{
    arena_free(&r->arena);
    *r = (struct results){.n = 0};
}
