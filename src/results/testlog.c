// The test's own log: when the deployment was started and ready, what was injected and when. And the name of the failure, from
// the folder's: test_fault_scenario[<prefix>-<failure>].
#include "results/results_int.h"
#include "results/stamp.h"
#include "results/textfile.h"

// `key='value'` within the brackets of Failure(…).
static struct slice failure_value(struct slice text, struct slice key)
{
    for (struct slice rest = text, part; slice_split(&rest, ',', &part);) {
        part = slice_trim(part);
        if (!slice_starts(part, key) || part.n <= key.n || part.p[key.n] != '=')
            continue;
        part = slice_from(part, key.n + 1);
        if (part.n >= 2 && (part.p[0] == '\'' || part.p[0] == '"'))
            part = slice_of(part.p + 1, part.n - 2);
        return part;
    }
    return SLICE("");
}

static void injected(struct arena *a, struct result *r, struct slice line, int64_t time)
{
    if (!r->fault)
        r->fault = ARENA_ARRAY(a, struct result_fault, RESULTS_FAULTS);
    if (!r->fault_ns)
        r->fault_ns = time;
    if (!r->fault || r->n_faults == RESULTS_FAULTS)
        return;
    ptrdiff_t open = slice_find(line, SLICE("Failure("));
    struct slice inside = open < 0 ? SLICE("") : slice_from(line, (size_t)open + 8);
    const char *close = memrchr(inside.p, ')', inside.n);
    if (close)
        inside = slice_cut(inside, (size_t)(close - inside.p));
    r->fault[r->n_faults++] = (struct result_fault){time, arena_dup(a, failure_value(inside, SLICE("pod_name"))),
                                                    arena_dup(a, failure_value(inside, SLICE("command")))};
}

static bool says(struct slice line, const char *word)
{
    return slice_find(line, slice_str(word)) >= 0;
}

static void read_marker(struct arena *a, struct result *r, struct slice line, int64_t time)
{
    if (!r->start_ns &&
        (says(line, "Starting Deployment") || says(line, "Starting deployment") || says(line, "tart of deployment")))
        r->start_ns = time;
    ptrdiff_t at = slice_find(line, SLICE("Deployment "));
    if (!r->ready_ns && at >= 0 && says(slice_from(line, (size_t)at), " is ready"))
        r->ready_ns = time;
    if (says(line, "Injecting failure for:"))
        injected(a, r, line, time);
    if (says(line, "CrashLoopBackOff") && r->n_notes < RESULTS_NOTES / 2)
        result_note(a, r, "the test's log tells of a CrashLoopBackOff");
}

void testlog_read(struct arena *a, struct result *r, const struct folder *f)
{
    struct slice rest, line;
    int64_t first = 0, last = 0;
    uint64_t zoneless = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct textfile file;
        if (!slice_eq(f->file[i].plain, SLICE("test.log.txt")))
            continue;
        if (textfile_open(f->file[i].path, &file) != 0)
            continue; // the scan of all logs names it
        for (rest = file.text; textfile_line(&rest, &line);) {
            struct stamp t;
            if (!stamp_find(slice_cut(line, 200), &t))
                continue;
            zoneless += !t.zoned;
            first = first ? first : t.ns;
            last = t.ns > last ? t.ns : last;
            read_marker(a, r, line, t.ns);
        }
        textfile_close(&file);
    }
    if (!r->start_ns)
        r->start_ns = first;
    r->end_ns = last;
    r->test_zoneless = zoneless > 0;
    r->startup = result_seconds(r->start_ns, r->ready_ns);
    if (r->start_ns && r->ready_ns && isnan(r->startup))
        result_note(a, r,
                    "its deployment was ready %.0f s before its deployment was started: the clock was set, or these are two runs",
                    (double)(r->start_ns - r->ready_ns) / 1e9);
}

double result_seconds(int64_t from, int64_t to)
{
    return from && to && to >= from ? (double)(to - from) / 1e9 : NAN;
}

static struct slice bracketed(struct slice name)
{
    const char *open = memchr(name.p, '[', name.n);
    if (!open || name.p[name.n - 1] != ']')
        return SLICE("");
    return slice_of(open + 1, (size_t)(name.p + name.n - open) - 2);
}

struct slice result_group(struct slice name)
{
    struct slice inside = bracketed(name), failure = result_failure(name);
    return inside.n > failure.n ? slice_cut(inside, inside.n - failure.n - 1) : SLICE("");
}

struct slice result_failure(struct slice name)
{
    static const char *const known[] = {
        "none",
        "frontend",
        "frontend_pod",
        "decode_worker",
        "decode_worker_pod",
        "prefill_worker",
        "prefill_worker_pod",
        "vllm_decode_engine_core",
        "vllm_prefill_engine_core",
        "sglang_decode_scheduler",
        "sglang_decode_detokenizer",
        "sglang_prefill_scheduler",
        "sglang_prefill_detokenizer",
        "trtllm_decode_engine_core",
        "trtllm_prefill_engine_core",
    };
    struct slice inside = bracketed(name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct slice k = slice_str(known[i]);
        if (inside.n > k.n && inside.p[inside.n - k.n - 1] == '-' && slice_eq(slice_from(inside, inside.n - k.n), k))
            return slice_from(inside, inside.n - k.n);
    }
    const char *dash = memrchr(inside.p, '-', inside.n);
    return dash ? slice_of(dash + 1, (size_t)(inside.p + inside.n - dash) - 1) : inside;
}

// The place of a failure in tables; unknown ones come last, by name.
int result_failure_order(struct slice failure)
{
    static const char *const order[] = {
        "none", "frontend", "frontend_pod", "decode_worker", "decode_worker_pod", "prefill_worker", "prefill_worker_pod"};
    enum { N = sizeof order / sizeof *order };
    for (int i = 0; i < N; i++)
        if (slice_eq(failure, slice_str(order[i])))
            return i;
    if (slice_find(failure, SLICE("engine_core")) >= 0)
        return N;
    return slice_find(failure, SLICE("scheduler")) >= 0 ? N + 1 : slice_find(failure, SLICE("detokenizer")) >= 0 ? N + 2 : N + 3;
}
