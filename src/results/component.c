// Components: pods (a folder with <pod>.log and, after a restart, <pod>.previous.log) and processes (<name>.log.txt). When they
// were ready, how often they started, how long a restart took.
#include "results/logline.h"
#include "results/ready.h"
#include "results/results_int.h"
#include "results/textfile.h"

enum { FIRST_LINES = 100, LAST_LINES = 50, RECOVERY_MAX_S = 3600, LOOP_STARTS = 3 };

enum what { OTHER, POD, POD_PREVIOUS, PROCESS };

static enum what what_is(struct slice name, struct slice *component)
{
    const char *slash = memrchr(name.p, '/', name.n);
    struct slice base = slash ? slice_from(name, (size_t)(slash - name.p) + 1) : name;
    uint32_t number;
    struct slice stem;
    if (name_ends(base, ".metrics.log", &stem) ||
        client_number(slice_cut(name, slash ? (size_t)(strchrnul(name.p, '/') - name.p) : name.n), &number))
        return OTHER;
    if (name_ends(base, ".log.txt", component))
        return slice_eq(*component, SLICE("test")) ? OTHER : PROCESS;
    bool previous = name_ends(base, ".previous.log", &stem);
    if (!previous && !name_ends(base, ".log", &stem))
        return OTHER;
    *component = slash ? slice_cut(name, (size_t)(slash - name.p)) : stem;
    return previous ? POD_PREVIOUS : POD;
}

static struct result_component *component_of(struct result *r, struct slice name)
{
    for (uint32_t i = 0; i < r->n_components; i++)
        if (slice_eq(r->component[i].name, name))
            return &r->component[i];
    if (r->n_components == RESULTS_COMPONENTS)
        return NULL;
    r->component[r->n_components] = (struct result_component){.name = name, .startup = NAN, .recovery = NAN};
    return &r->component[r->n_components++];
}

// ---- one file -------------------------------------------------------------------------------------------------------
struct seen {
    int64_t first_ns, last_ns; // within the first and last lines
    struct ready ready;
    uint32_t restarts;
};

// What the first lines say of a start ("Starting worker 7": up to the first digit); "" without.
static struct slice start_text(struct slice text, struct buf *plain)
{
    struct slice line;
    for (int i = 0; i < FIRST_LINES && textfile_line(&text, &line); i++) {
        struct logline l;
        size_t n = 0;
        ptrdiff_t at = slice_find(line, SLICE("tarting "));
        if (at < 0)
            continue;
        logline_read(slice_cut(line, LOGLINE_JSON_REACH), plain, &l);
        at = slice_find(l.message, SLICE("tarting "));
        if (at < 0 || memchr(line.p, 0x1b, line.n))
            continue;
        struct slice what = slice_from(l.message, (size_t)at);
        while (n < what.n && !(what.p[n] >= '0' && what.p[n] <= '9'))
            n++;
        return slice_cut(what, n);
    }
    return SLICE("");
}

// How often the process said that it starts after one before it had crashed.
static uint32_t find_restarts(struct slice text, struct buf *plain)
{
    struct slice start = start_text(text, plain), rest = text;
    uint32_t n = 0;
    ptrdiff_t at = start.n ? slice_find(rest, start) : -1;
    while (at >= 0) {
        rest = slice_from(rest, (size_t)at + start.n);
        at = slice_find(rest, start);
        n += at >= 0 && logline_crash(slice_cut(rest, (size_t)at));
    }
    return n;
}

static void first_time(struct slice text, struct buf *plain, struct seen *s)
{
    struct slice line;
    for (int i = 0; i < FIRST_LINES && !s->first_ns && textfile_line(&text, &line); i++) {
        struct logline l;
        logline_read(slice_cut(line, LOGLINE_JSON_REACH), plain, &l);
        if (l.timed)
            s->first_ns = l.time.ns;
    }
}

static void last_time(struct slice text, struct buf *plain, struct seen *s)
{
    for (int i = 0; i < LAST_LINES && !s->last_ns && text.n; i++) {
        size_t n = text.n - (text.p[text.n - 1] == '\n');
        const char *nl = n ? memrchr(text.p, '\n', n) : NULL;
        size_t from = nl ? (size_t)(nl - text.p) + 1 : 0;
        struct logline l;
        logline_read(slice_cut(slice_of(text.p + from, n - from), LOGLINE_JSON_REACH), plain, &l);
        if (l.timed)
            s->last_ns = l.time.ns;
        text = slice_cut(text, from);
    }
}

static bool read_file(struct result *r, const struct file *f, unsigned threads, struct buf *plain, struct seen *s)
{
    struct textfile t;
    memset(s, 0, sizeof *s);
    if (textfile_open(f->path, &t) != 0)
        return false; // the scan of all logs names it
    ready_find(t.text, r->fault_ns, threads, &s->ready);
    s->restarts = find_restarts(t.text, plain);
    first_time(t.text, plain, s);
    last_time(t.text, plain, s);
    textfile_close(&t);
    return true;
}

// Starts of the process that one file tells of: as often as it said the same of being ready, or that it starts again.
static uint32_t starts_in(const struct seen *s)
{
    return s->ready.most > s->restarts ? s->ready.most : s->restarts + 1;
}

// ---- all of a result ------------------------------------------------------------------------------------------------
struct reading {
    const struct folder *f;
    struct seen *seen;
    enum what *what;
    struct slice *of; // the component each file belongs to
    int64_t first, last;
};

// The file of the process before the i-th file's: pod-1.previous.log of pod-1.log; with `other` the way back. -1: there is none.
static int64_t pair_of(const struct reading *d, uint32_t i, enum what other)
{
    struct slice stem, mine, theirs;
    if (!name_ends(d->f->file[i].plain, ".log", &mine))
        return -1;
    if (name_ends(mine, ".previous", &stem))
        mine = stem;
    for (uint32_t k = 0; k < d->f->n; k++) {
        if (d->what[k] != other || !name_ends(d->f->file[k].plain, ".log", &theirs))
            continue;
        if (name_ends(theirs, ".previous", &stem) && other == POD_PREVIOUS)
            theirs = stem;
        if (slice_eq(mine, theirs))
            return k;
    }
    return -1;
}

// Recovery of a pod: what its own clock says of the restart; in tests of the older client, from the fault until it was ready.
static double pod_recovery(struct arena *a, struct result *r, const struct result_component *c, const struct seen *s,
                           const struct seen *before)
{
    if (r->kind == RESULT_LEGACY && r->fault_ns && s->ready.again_ns)
        return result_seconds(r->fault_ns, s->ready.again_ns);
    if (!before || !before->last_ns)
        return NAN;
    if (!s->first_ns)
        result_note(a, r, "%.*s: nothing in its log since the restart", (int)c->name.n, c->name.p);
    else if (s->first_ns < before->last_ns)
        result_note(a, r, "%.*s: its log begins %.0f s before that of the process before it ended; is a clock wrong?",
                    (int)c->name.n, c->name.p, (double)(before->last_ns - s->first_ns) / 1e9);
    return result_seconds(before->last_ns, s->first_ns);
}

static void larger(double *v, double candidate)
{
    if (!isnan(candidate) && (isnan(*v) || candidate > *v))
        *v = candidate;
}

static void apply(struct arena *a, struct result *r, struct result_component *c, const struct reading *d, uint32_t i)
{
    const struct seen *s = &d->seen[i];
    int64_t previous = d->what[i] == POD ? pair_of(d, i, POD_PREVIOUS) : -1;
    uint32_t starts = starts_in(s) + (previous >= 0 ? starts_in(&d->seen[previous]) : 0);
    if (d->what[i] == POD_PREVIOUS && pair_of(d, i, POD) < 0)
        result_note(a, r, "%.*s: no log since the restart", (int)c->name.n, c->name.p);
    c->starts = starts > c->starts ? starts : c->starts;
    if (d->what[i] == POD)
        larger(&c->recovery, pod_recovery(a, r, c, s, previous >= 0 ? &d->seen[previous] : NULL));
    if (d->what[i] == PROCESS && r->fault_ns)
        larger(&c->recovery, result_seconds(r->fault_ns, s->ready.again_ns));
    if (isnan(c->startup) && (!r->fault_ns || s->ready.first_ns < r->fault_ns))
        c->startup = result_seconds(r->start_ns, s->ready.first_ns);
    if (s->first_ns && (!c->first_ns || s->first_ns < c->first_ns))
        c->first_ns = s->first_ns;
    if (s->last_ns > c->last_ns)
        c->last_ns = s->last_ns;
}

static void judge(struct arena *a, struct result *r)
{
    for (uint32_t i = 0; i < r->n_components; i++) {
        struct result_component *c = &r->component[i];
        c->crash_loop = c->starts >= LOOP_STARTS;
        if (c->crash_loop)
            result_note(a, r, "%.*s started %u times: a crash loop", (int)c->name.n, c->name.p, c->starts);
        if (c->recovery > RECOVERY_MAX_S)
            result_note(a, r, "%.*s: a recovery of %.0f s is hardly one; are its logs of one run?", (int)c->name.n, c->name.p,
                        c->recovery);
        larger(&r->recovery, c->recovery);
        if (!r->ready_ns)
            larger(&r->startup, c->startup);
    }
}

// The clock of a test's log that tells no zone, against that of its components: whole quarters of an hour are a zone.
static void mend_zone(struct arena *a, struct result *r, int64_t first, int64_t last)
{
    const int64_t quarter = 900 * 1000000000LL;
    int64_t from = r->start_ns, to = r->end_ns ? r->end_ns : from;
    if (!r->test_zoneless || !from || !first || (first <= to + quarter / 2 && last >= from - quarter / 2))
        return;
    int64_t apart = from - first, steps = (apart + (apart < 0 ? -quarter / 2 : quarter / 2)) / quarter;
    if (steps == 0 || steps > 56 || steps < -56)
        return;
    int64_t *times[] = {&r->start_ns, &r->ready_ns, &r->fault_ns, &r->end_ns};
    for (size_t i = 0; i < 4; i++)
        *times[i] -= *times[i] ? steps * quarter : 0;
    for (uint32_t i = 0; i < r->n_faults; i++)
        r->fault[i].time_ns -= steps * quarter;
    result_note(a, r, "test.log.txt tells no zone and is %+.2f hours from its components' UTC: corrected", (double)steps / 4);
}

static void read_all(struct result *r, struct reading *d, unsigned threads, struct buf *plain)
{
    for (uint32_t i = 0; i < d->f->n; i++) {
        d->what[i] = what_is(d->f->file[i].plain, &d->of[i]);
        if (d->what[i] == OTHER || !read_file(r, &d->f->file[i], threads, plain, &d->seen[i])) {
            d->what[i] = OTHER;
            continue;
        }
        if (d->seen[i].first_ns && (!d->first || d->seen[i].first_ns < d->first))
            d->first = d->seen[i].first_ns;
        d->last = d->seen[i].last_ns > d->last ? d->seen[i].last_ns : d->last;
    }
}

enum errc components_read(struct arena *a, struct result *r, const struct folder *f, unsigned threads)
{
    struct reading d = {.f = f,
                        .seen = ARENA_ARRAY(a, struct seen, f->n + 1),
                        .what = ARENA_ARRAY(a, enum what, f->n + 1),
                        .of = ARENA_ARRAY(a, struct slice, f->n + 1)};
    struct buf plain;
    int64_t fault = r->fault_ns;
    r->component = ARENA_ARRAY(a, struct result_component, RESULTS_COMPONENTS);
    if (!d.seen || !d.what || !d.of || !r->component)
        return ERR_NOMEM;
    buf_init(&plain, LOGLINE_JSON_REACH * 2);
    read_all(r, &d, threads, &plain);
    mend_zone(a, r, d.first, d.last);
    if (r->fault_ns != fault)
        read_all(r, &d, threads, &plain); // the corrected clock moved the fault: what comes after it is looked for again
    for (uint32_t i = 0; i < f->n; i++) {
        struct result_component *c = d.what[i] == OTHER ? NULL : component_of(r, d.of[i]);
        if (c)
            apply(a, r, c, &d, i);
    }
    judge(a, r);
    buf_free(&plain);
    return ERR_OK;
}
