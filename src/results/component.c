// Components: pods (a folder with <pod>.log and, after a restart, <pod>.previous.log) and processes (<name>.log.txt). When they
// were ready, how often they started, how long a restart took.
#include "results/logline.h"
#include "results/logscan.h"
#include "results/results_int.h"

enum { FIRST_LINES = 100, LAST_LINES = 50, RECOVERY_MAX_S = 3600, LOOP_STARTS = 3 };

// What processes of a serving stack say when they are up.
static const struct slice ready_marks[] = {
    {"Application startup complete", 28},
    {"Uvicorn running on", 18},
    {"HTTP service listening", 22},
    {"Starting HTTP", 13},
    {"added model", 11},
    {"worker ready", 12},
    {"has been initialized", 20},
    {"Registered endpoint", 19},
    {"ready to roll", 13},
    {"erver is ready", 14},
    {"listening on", 12},
    {"Reading Events from", 19},
    {"engine is ready", 15},
    {"worker is ready", 15},
};
enum { N_MARKS = sizeof ready_marks / sizeof *ready_marks };

static bool ends(struct slice s, const char *tail, struct slice *stem)
{
    struct slice t = slice_str(tail);
    if (s.n <= t.n || !slice_eq(slice_from(s, s.n - t.n), t))
        return false;
    *stem = slice_cut(s, s.n - t.n);
    return true;
}

enum what { OTHER, POD, POD_PREVIOUS, PROCESS };

static enum what what_is(struct slice name, struct slice *component)
{
    const char *slash = memrchr(name.p, '/', name.n);
    struct slice base = slash ? slice_from(name, (size_t)(slash - name.p) + 1) : name;
    uint32_t number;
    struct slice stem;
    if (ends(base, ".metrics.log", &stem) ||
        client_number(slice_cut(name, slash ? (size_t)(strchrnul(name.p, '/') - name.p) : name.n), &number))
        return OTHER;
    if (ends(base, ".log.txt", component))
        return slice_eq(*component, SLICE("test")) ? OTHER : PROCESS;
    bool previous = ends(base, ".previous.log", &stem);
    if (!previous && !ends(base, ".log", &stem))
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
    int64_t first_ns, last_ns;  // within the first and last lines
    int64_t ready_ns, again_ns; // first ready mark; the first one after the fault
    uint32_t marks[N_MARKS];
};

static void look_at(struct slice line, int64_t fault, struct buf *plain, struct seen *s)
{
    struct logline l = {.json = false};
    bool read = false;
    for (size_t i = 0; i < N_MARKS; i++) {
        if (slice_find(line, ready_marks[i]) < 0)
            continue;
        s->marks[i]++;
        if (!read)
            logline_read(slice_cut(line, LOGLINE_JSON_REACH), plain, &l);
        read = true;
        if (l.timed && !s->ready_ns)
            s->ready_ns = l.time.ns;
        if (l.timed && fault && l.time.ns >= fault && !s->again_ns)
            s->again_ns = l.time.ns;
    }
}

static void first_time(struct slice text, struct buf *plain, struct seen *s)
{
    struct slice line;
    for (int i = 0; i < FIRST_LINES && !s->first_ns && logscan_line(&text, &line); i++) {
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

static bool read_file(struct result *r, const struct file *f, struct buf *plain, struct seen *s)
{
    struct slice text, rest, line;
    memset(s, 0, sizeof *s);
    if (logscan_map(f->path, &text) != 0)
        return false; // the scan of all logs names it
    for (rest = text; logscan_line(&rest, &line);)
        look_at(line, r->fault_ns, plain, s);
    first_time(text, plain, s);
    last_time(text, plain, s);
    logscan_unmap(text);
    return true;
}

static uint32_t most(const uint32_t *marks)
{
    uint32_t n = 0;
    for (size_t i = 0; i < N_MARKS; i++)
        n = marks[i] > n ? marks[i] : n;
    return n;
}

// ---- all of a result ------------------------------------------------------------------------------------------------
static void apply(const struct result *r, struct result_component *c, enum what what, const struct seen *s, int64_t previous)
{
    uint32_t starts = most(s->marks);
    c->starts += starts ? starts : 1;
    if (what == POD && previous && s->first_ns)
        c->recovery = (double)(s->first_ns - previous) / 1e9;
    if (what == PROCESS && r->fault_ns && s->again_ns)
        c->recovery = (double)(s->again_ns - r->fault_ns) / 1e9;
    if (s->ready_ns && r->start_ns && isnan(c->startup) && (!r->fault_ns || s->ready_ns < r->fault_ns))
        c->startup = (double)(s->ready_ns - r->start_ns) / 1e9;
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
        if (!isnan(c->recovery) && (isnan(r->recovery) || c->recovery > r->recovery))
            r->recovery = c->recovery;
        if (!r->ready_ns && !isnan(c->startup) && (isnan(r->startup) || c->startup > r->startup))
            r->startup = c->startup;
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
    result_note(a, r, "test.log.txt tells no zone and is %+.2f hours from its components' UTC: corrected", (double)steps / 4);
}

struct reading {
    const struct folder *f;
    struct seen *seen;
    enum what *what;
    struct slice *of; // the component each file belongs to
    int64_t first, last;
};

static void read_all(struct result *r, struct reading *d, struct buf *plain)
{
    for (uint32_t i = 0; i < d->f->n; i++) {
        d->what[i] = what_is(d->f->file[i].name, &d->of[i]);
        if (d->what[i] == OTHER || !read_file(r, &d->f->file[i], plain, &d->seen[i])) {
            d->what[i] = OTHER;
            continue;
        }
        if (d->seen[i].first_ns && (!d->first || d->seen[i].first_ns < d->first))
            d->first = d->seen[i].first_ns;
        d->last = d->seen[i].last_ns > d->last ? d->seen[i].last_ns : d->last;
    }
}

// The last time in the log of the process before the i-th file's: pod-1.previous.log of pod-1.log. 0: there is none.
static int64_t previous_last(const struct reading *d, uint32_t i)
{
    struct slice mine, other;
    for (uint32_t k = 0; k < d->f->n; k++)
        if (d->what[k] == POD_PREVIOUS && ends(d->f->file[k].name, ".previous.log", &other) &&
            ends(d->f->file[i].name, ".log", &mine) && slice_eq(mine, other))
            return d->seen[k].last_ns;
    return 0;
}

enum errc components_read(struct arena *a, struct result *r, const struct folder *f)
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
    buf_init(&plain, LOGSCAN_LINE * 2);
    read_all(r, &d, &plain);
    mend_zone(a, r, d.first, d.last);
    if (r->fault_ns != fault)
        read_all(r, &d, &plain); // the corrected clock moved the fault: what comes after it is looked for again
    for (uint32_t i = 0; i < f->n; i++) {
        struct result_component *c = d.what[i] == OTHER ? NULL : component_of(r, d.of[i]);
        if (c)
            apply(r, c, d.what[i], &d.seen[i], d.what[i] == POD ? previous_last(&d, i) : 0);
    }
    judge(a, r);
    buf_free(&plain);
    return ERR_OK;
}
