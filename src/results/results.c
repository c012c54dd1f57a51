#include "results/results.h"
#include "base/alloc.h"
#include "results/find.h"
#include "results/logscan.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *result_kind_text(enum result_kind kind)
{
    static const char *const text[] = {"logs", "pytest", "legacy", "aiperf", "junit"};
    return text[kind];
}

void result_note(struct arena *a, struct result *r, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!r->note)
        r->note = ARENA_ARRAY(a, struct slice, RESULTS_NOTES);
    if (!r->note || r->n_notes == RESULTS_NOTES || n < 0)
        return;
    struct slice copy = arena_dup(a, slice_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
    if (copy.p)
        r->note[r->n_notes++] = copy;
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

// ---- logs -----------------------------------------------------------------------------------------------------------
static bool is_log(struct slice name)
{
    static const char *const tails[] = {".log", ".txt", ".jsonl", ".ndjson", ".out", ".err"};
    if (name.n >= 12 && slice_eq(slice_from(name, name.n - 12), SLICE(".metrics.log")))
        return false;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t t = strlen(tails[i]);
        if (name.n > t && memcmp(name.p + name.n - t, tails[i], t) == 0)
            return true;
    }
    return false;
}

// Files that hold measurements, not what happened.
static bool is_load(struct slice name)
{
    struct slice rest = name, part;
    uint32_t number;
    return slice_split(&rest, '/', &part) && client_number(part, &number);
}

static enum errc read_logs(struct arena *a, struct result *r, const struct folder *f, const struct results_options *o)
{
    struct logscan_file *file = ARENA_ARRAY(a, struct logscan_file, f->n + 1);
    uint32_t n = 0;
    if (!file)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < f->n; i++)
        if (is_log(f->file[i].name) && !is_load(f->file[i].name))
            file[n++] = (struct logscan_file){.path = f->file[i].path, .name = f->file[i].name};
    TRY(logscan(a, file, n, o->threads, &r->class, &r->n_classes));
    for (uint32_t i = 0; i < n; i++) {
        if (file[i].error) {
            result_note(a, r, "%.*s cannot be read: %s", (int)file[i].name.n, file[i].name.p, strerror(file[i].error));
            continue;
        }
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
    *r = (struct result){.path = slice_str(f->path), .name = slice_str(f->name), .startup = NAN, .recovery = NAN};
    r->load =
        (struct result_load){.latency = NAN, .p50 = NAN, .p90 = NAN, .p99 = NAN, .ttft = NAN, .itl = NAN, .throughput = NAN};
    r->failure = result_failure(r->name);
    for (uint32_t i = 0; i < f->n_unread; i++)
        result_note(a, r, "%s cannot be listed: %s", f->unread[i].path, strerror(f->unread[i].error));
    TRY(choose(a, r, f, o, err));
    testlog_read(a, r, files);
    if (r->kind != RESULT_LOGS)
        TRY(components_read(a, r, files));
    if (r->kind == RESULT_AIPERF)
        TRY(aiperf_read(a, r, files));
    else if (r->kind == RESULT_LEGACY)
        TRY(legacy_read(a, r, files, o));
    for (uint32_t i = 0; i < files->n; i++)
        if ((f->kinds & FOUND_JUNIT) && files->file[i].name.n > 4 && !memchr(files->file[i].name.p, '/', files->file[i].name.n) &&
            slice_eq(slice_from(files->file[i].name, files->file[i].name.n - 4), SLICE(".xml")))
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

enum errc results_read(struct results *r, const char *dir, const struct results_options *o, struct error *err)
{
    struct found found;
    enum errc rc;
    *r = (struct results){.path = slice_str(dir)};
    arena_init(&r->arena, RESULTS_MEMORY);
    GO(results_find(&r->arena, dir, &found, err));
    r->path = arena_dup(&r->arena, slice_str(dir));
    r->item = ARENA_ARRAY(&r->arena, struct result, found.n);
    rc = r->item ? ERR_OK : ERR_NOMEM;
    for (uint32_t i = 0; rc == ERR_OK && i < found.n; i++) {
        if (i == 0 && !found.v[0].kinds && found.n > 1)
            continue; // the root only holds results
        rc = read_result(&r->arena, &r->item[r->n], &found.v[i], o, err);
        r->n++;
    }
    if (rc == ERR_OK &&
        (r->n == 0 || (r->n == 1 && r->item[0].kind == RESULT_LOGS && r->item[0].bytes == 0 && !r->item[0].n_notes)))
        rc = ERR(err, INPUT, "%s holds nothing that is a result: no client_*, test.log.txt, JUnit XML or log files", dir);
    if (rc == ERR_OK)
        qsort(r->item, r->n, sizeof *r->item, by_failure);
    else if (rc == ERR_NOMEM)
        ERR(err, NOMEM, "%s does not fit into %zu MiB", dir, RESULTS_MEMORY >> 20);
out:
    if (rc != ERR_OK)
        results_free(r);
    return rc;
}

void results_free(struct results *r)
{
    arena_free(&r->arena);
    *r = (struct results){.n = 0};
}

// ---- verdicts -------------------------------------------------------------------------------------------------------
double result_success(const struct result *x)
{
    if (x->load.total)
        return 100.0 * (double)x->load.ok / (double)x->load.total;
    return x->n_cases ? 100.0 * (double)(x->n_cases - x->cases_failed) / (double)x->n_cases : NAN;
}

unsigned results_misses(const struct results *r, const struct results_options *o, struct buf *out)
{
    unsigned misses = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct result *x = &r->item[i];
        double success = result_success(x);
        if (o->sla > 0 && x->load.latency > o->sla) {
            misses++;
            if (out)
                buf_printf(out, "%.*s: mean latency %.3f s is above %.3g s\n", (int)x->name.n, x->name.p, x->load.latency,
                           o->sla);
        }
        if (o->min_success > 0 && success < o->min_success) {
            misses++;
            if (out)
                buf_printf(out, "%.*s: %.2f %% succeeded, wanted are %.3g %%\n", (int)x->name.n, x->name.p, success,
                           o->min_success);
        }
    }
    return misses;
}
