// Phases of a request as lanes (what each process did, overlapping as it really did) and as one consecutive row whose lengths sum
// to the wall time. The row is painted: the window is cut at every boundary of an interval, and each piece gets the name of the
// most specific interval that covers it.
#include "analyze/request.h"

#include <stdlib.h>
#include <string.h>

enum { WORKERS_MAX = 64, NAMED_MAX = 512, PIECES_MAX = 4096 };

// A span that is itself a phase. In order of precedence where several cover the same moment.
static const struct {
    const char *name;
    enum phase_kind kind;
} named_phases[] = {{"kv_transfer", PHASE_TRANSFER}, {"decode", PHASE_WORK}, {"prefill", PHASE_WORK}, {"queue", PHASE_WAIT}};
enum { N_NAMED = sizeof named_phases / sizeof *named_phases };

struct interval {
    int64_t from, to;
    int which; // named: index into named_phases; workers: enum role
    const struct span *span;
    struct slice service;
    bool failed, names_phases, stands_in; // of workers
};

struct canvas {
    const struct trace *t;
    const struct request_logs *logs;
    struct request *r;
    int64_t first_token; // 0: unknown
    struct interval named[NAMED_MAX], workers[WORKERS_MAX];
    uint32_t n_named, n_workers;
    int64_t first_worker;                             // INT64_MAX: none
    int64_t prefill_start, prefill_end, decode_start; // of the last prefill and the last decode worker, 0: none
    struct slice frontend;
    bool told_retry; // a log line speaks of another try
};

static bool overlaps(const struct interval *i, int64_t from, int64_t to)
{
    return i->from < to && i->to > from;
}

static struct slice decode_service(const struct canvas *c)
{
    for (uint32_t i = 0; i < c->n_workers; i++)
        if (c->workers[i].which == ROLE_DECODE)
            return c->workers[i].service;
    return c->frontend;
}

// A worker that names its phases leaves the rest of its time unaccounted on purpose; for others it is derived.
static bool names_phases(const struct canvas *c, const struct interval *w)
{
    for (uint32_t i = 0; i < c->n_named; i++)
        if (slice_eq(c->named[i].service, w->service))
            return true;
    return false;
}

// Who worked behind a route span whose own span never came: its log records may have arrived all the same.
static struct slice service_behind(const struct canvas *c, enum role role, struct slice otherwise)
{
    for (uint32_t i = 0; c->logs && i < c->logs->n; i++)
        if (role_of_words(c->logs->at[i].service) == role)
            return c->logs->at[i].service;
    return otherwise;
}

static bool tells_retry(const struct request_logs *logs)
{
    for (uint32_t i = 0; logs && i < logs->n; i++)
        if (slice_find(logs->at[i].message, SLICE("recreat")) >= 0 || slice_find(logs->at[i].message, SLICE("retr")) >= 0)
            return true;
    return false;
}

static void add_named(struct canvas *c, const struct span *s, int which, int64_t from, int64_t to)
{
    if (from && to >= from && c->n_named < NAMED_MAX)
        c->named[c->n_named++] = (struct interval){.from = from, .to = to, .which = which, .span = s, .service = s->service};
}

enum { NAMED_TRANSFER, NAMED_DECODE, NAMED_PREFILL, NAMED_QUEUE }; // indexes into named_phases
enum {
    MARK_QUEUED,
    MARK_PREEMPTED,
    MARK_SCHEDULED,
    MARK_PREFILL_START,
    MARK_PREFILL_END,
    MARK_KV_START,
    MARK_KV_END,
    MARK_FIRST,
    MARK_LAST
};
static int mark_of(struct slice name)
{
    static const char *const names[] = {"queued",          "preempted",   "scheduled",
                                        "prefill_start",   "prefill_end", "kv_transfer_start",
                                        "kv_transfer_end", "first_token", "last_token"};
    for (int i = 0; i <= MARK_LAST; i++)
        if (slice_eq(name, slice_str(names[i])))
            return i;
    return -1;
}

// A span that tells its phases by events (sonde/genai.h): each begins with one and ends with another, or with the span. A
// preempted sequence waits until it is scheduled again. Tokens alone tell no phases: a frontend sees those, too.
static void collect_marks(struct canvas *c, const struct span *s)
{
    struct slice all = column_str(c->t->batch->field[FIELD_EVENTS], s->row), events = all;
    struct span_event e;
    enum { Q = 1 << NAMED_QUEUE, P = 1 << NAMED_PREFILL, T = 1 << NAMED_TRANSFER, D = 1 << NAMED_DECODE };
    static const uint8_t ends[] = {
        [MARK_PREEMPTED] = D, [MARK_SCHEDULED] = Q, [MARK_PREFILL_START] = Q | D, [MARK_PREFILL_END] = P,
        [MARK_KV_START] = Q,  [MARK_KV_END] = T,    [MARK_FIRST] = Q | P,         [MARK_LAST] = D | Q};
    bool told = false, decoding = false;
    int64_t since[N_NAMED] = {0};
    while (span_event_next(&events, &e)) {
        int mark = mark_of(e.name);
        told = told || (mark >= 0 && mark < MARK_FIRST && mark != MARK_PREEMPTED);
    }
    while (told && span_event_next(&all, &e)) {
        int mark = mark_of(e.name), begins = -1;
        if (mark < 0)
            continue;
        for (int i = 0; i < N_NAMED; i++) {
            if (!(ends[mark] >> i & 1) || !since[i])
                continue;
            if (e.time > since[i])
                add_named(c, s, i, since[i], e.time);
            since[i] = 0;
        }
        decoding = mark == MARK_FIRST || (decoding && mark != MARK_LAST);
        if (mark == MARK_QUEUED || mark == MARK_PREEMPTED)
            begins = NAMED_QUEUE;
        else if (mark == MARK_PREFILL_START)
            begins = NAMED_PREFILL;
        else if (mark == MARK_KV_START)
            begins = NAMED_TRANSFER;
        else if (decoding && mark != MARK_KV_END)
            begins = NAMED_DECODE;
        if (begins >= 0 && !since[begins])
            since[begins] = e.time;
    }
    for (int i = 0; i < N_NAMED; i++)
        add_named(c, s, i, since[i], s->end);
}

static void collect(struct canvas *c)
{
    c->told_retry = tells_retry(c->logs);
    for (uint32_t i = 0; i < c->t->n; i++) {
        const struct span *s = &c->t->spans[i];
        struct interval it = {.from = s->start, .to = s->end, .span = s, .service = s->service};
        bool is_phase = false;
        for (int k = 0; k < N_NAMED; k++)
            if (slice_eq(s->name, slice_str(named_phases[k].name))) {
                add_named(c, s, k, s->start, s->end);
                is_phase = true;
            }
        if (!is_phase)
            collect_marks(c, s);
        // where the worker's span never came (it was killed), the frontend's route span that waited for it stands in
        bool stands_in = span_is_route(s) && !route_worker(c->t, s);
        if (!span_is_worker(s) && !stands_in)
            continue;
        it.which = span_role(c->t, s);
        if (c->n_workers == WORKERS_MAX || (it.which != ROLE_PREFILL && it.which != ROLE_DECODE))
            continue;
        it.failed =
            s->status == 2 || (s->parent >= 0 && span_is_route(&c->t->spans[s->parent]) && c->t->spans[s->parent].status == 2);
        it.stands_in = stands_in;
        if (stands_in)
            it.service = service_behind(c, (enum role)it.which, it.service);
        c->workers[c->n_workers++] = it;
        if (s->start < c->first_worker)
            c->first_worker = s->start;
        if (it.which == ROLE_PREFILL && s->end > c->prefill_end)
            c->prefill_end = s->end;
        if (it.which == ROLE_DECODE && s->start > c->decode_start)
            c->decode_start = s->start;
        if (it.which == ROLE_PREFILL && s->start > c->prefill_start)
            c->prefill_start = s->start;
    }
    for (uint32_t i = 0; i < c->n_named; i++)
        if (c->named[i].from < c->first_worker)
            c->first_worker = c->named[i].from;
    for (uint32_t i = 0; i < c->n_workers; i++)
        c->workers[i].names_phases = !c->workers[i].stands_in && names_phases(c, &c->workers[i]); // a killed one could not finish
}

static const struct interval *worker_at(const struct canvas *c, int role, int64_t from, int64_t to)
{
    for (uint32_t i = 0; i < c->n_workers; i++)
        if (c->workers[i].which == role && overlaps(&c->workers[i], from, to))
            return &c->workers[i];
    return NULL;
}

// Nobody of the role is at work, the last one who was has failed, and another was asked or looked for: a log line tells of tries
// that found nobody.
static bool between_attempts(const struct canvas *c, int role, int64_t from, int64_t to)
{
    const struct interval *last = NULL;
    bool again = c->told_retry;
    for (uint32_t i = 0; i < c->n_workers; i++) {
        if (c->workers[i].which != role)
            continue;
        again = again || c->workers[i].from >= to;
        if (c->workers[i].to <= from && (!last || c->workers[i].to > last->to))
            last = &c->workers[i];
    }
    return last && last->failed && again && !worker_at(c, role, from, to);
}

// An attempt that failed before it gave a token, and after which another one began: time lost, whatever was tried.
static bool in_lost_attempt(const struct canvas *c, const struct interval *w, int64_t last_start)
{
    return w && !w->names_phases && w->failed && w->to <= last_start && (!c->first_token || w->to <= c->first_token);
}

static struct phase make(const char *name, enum phase_kind kind, struct slice service, const struct interval *it)
{
    return (struct phase){.name = name, .kind = kind, .service = service, .span_id = it ? it->span->id : 0};
}

// What the request was doing between from and to, where nothing begins or ends.
static struct phase paint(const struct canvas *c, int64_t from, int64_t to)
{
    for (int k = 0; k < N_NAMED; k++)
        for (uint32_t i = 0; i < c->n_named; i++)
            if (c->named[i].which == k && overlaps(&c->named[i], from, to))
                return make(named_phases[k].name, named_phases[k].kind, c->named[i].service, &c->named[i]);
    const struct interval *prefill = worker_at(c, ROLE_PREFILL, from, to), *decode = worker_at(c, ROLE_DECODE, from, to);
    bool before_token = c->first_token && from < c->first_token, after_prefill = c->prefill_end && from >= c->prefill_end;
    if (c->first_worker == INT64_MAX && !slice_eq(c->r->name, SLICE("http-request"))) // no inference request at all
        return make("unaccounted", PHASE_UNACCOUNTED, c->frontend, NULL);
    if (from < c->first_worker)
        return make("routing", PHASE_WORK, c->frontend, NULL);
    if (in_lost_attempt(c, prefill, c->prefill_start) || (!prefill && in_lost_attempt(c, decode, c->decode_start)))
        return make("retry", PHASE_WAIT, c->frontend, NULL);
    if (prefill && !prefill->names_phases && (before_token || !c->first_token))
        return make("prefill", PHASE_WORK, prefill->service, prefill);
    if (between_attempts(c, ROLE_PREFILL, from, to) || between_attempts(c, ROLE_DECODE, from, to))
        return make("retry", PHASE_WAIT, c->frontend, NULL);
    if (after_prefill && (before_token || (!c->first_token && from < c->decode_start)))
        return make("handover", PHASE_TRANSFER, decode && !decode->names_phases ? decode->service : c->frontend, decode);
    if (decode && !decode->names_phases && !(before_token && c->prefill_end))
        return make("decode", PHASE_WORK, decode->service, decode);
    if (prefill && !prefill->names_phases)
        return make("prefill", PHASE_WORK, prefill->service, prefill);
    return make("unaccounted", PHASE_UNACCOUNTED, c->frontend, NULL);
}

static int by_value(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static uint32_t add_cut(const struct canvas *c, int64_t *cuts, uint32_t n, int64_t at)
{
    if (at > c->r->start && at < c->r->end && n < PIECES_MAX - 2)
        cuts[n++] = at;
    return n;
}

static uint32_t collect_cuts(const struct canvas *c, int64_t *cuts)
{
    uint32_t n = 0;
    cuts[n++] = c->r->start;
    for (uint32_t i = 0; i < c->n_named; i++) {
        n = add_cut(c, cuts, n, c->named[i].from);
        n = add_cut(c, cuts, n, c->named[i].to);
    }
    for (uint32_t i = 0; i < c->n_workers; i++) {
        n = add_cut(c, cuts, n, c->workers[i].from);
        n = add_cut(c, cuts, n, c->workers[i].to);
    }
    if (c->first_token)
        n = add_cut(c, cuts, n, c->first_token);
    if (c->first_worker != INT64_MAX)
        n = add_cut(c, cuts, n, c->first_worker);
    cuts[n++] = c->r->end;
    qsort(cuts, n, sizeof *cuts, by_value);
    return n;
}

static enum errc paint_row(struct canvas *c, struct arena *arena, struct error *err)
{
    int64_t *cuts = arena_alloc(arena, PIECES_MAX * sizeof *cuts);
    struct phase *row = arena_alloc(arena, PIECES_MAX * sizeof *row);
    if (!cuts || !row)
        return ERR(err, LIMIT, "no memory for the phases of a request");
    uint32_t n_cuts = collect_cuts(c, cuts), n = 0;
    for (uint32_t i = 0; i + 1 < n_cuts; i++) {
        if (cuts[i] == cuts[i + 1])
            continue;
        struct phase p = paint(c, cuts[i], cuts[i + 1]);
        p.start = cuts[i];
        p.ns = cuts[i + 1] - cuts[i];
        struct phase *last = n ? &row[n - 1] : NULL;
        bool same = last && strcmp(last->name, p.name) == 0;
        if (same && last->kind == PHASE_TRANSFER && slice_eq(last->service, c->frontend))
            last->service = p.service; // a handover begins at the frontend and is the taker's
        if (same && slice_eq(last->service, p.service))
            last->ns += p.ns;
        else
            row[n++] = p;
    }
    c->r->phases = row;
    c->r->n_phases = n;
    return ERR_OK;
}

// ---- lanes ----------------------------------------------------------------------------------------------------------

static struct lane *lane_of(struct request *r, struct slice service, enum role role)
{
    for (uint32_t i = 0; i < r->n_lanes; i++)
        if (slice_eq(r->lanes[i].service, service)) {
            if (r->lanes[i].role == ROLE_OTHER)
                r->lanes[i].role = role;
            return &r->lanes[i];
        }
    if (r->n_lanes == REQUEST_LANES_MAX)
        return NULL;
    r->lanes[r->n_lanes] = (struct lane){.service = service, .role = role};
    return &r->lanes[r->n_lanes++];
}

// Room for one more item behind n; doubles, for lists of several lanes grow in turn in one arena. Null without memory.
static void *one_more(struct arena *arena, void *list, uint32_t n, size_t size)
{
    return n & (n - 1) ? list : arena_grow(arena, list, n * size, (n ? 2 * (size_t)n : 1) * size);
}

static void add_block(struct arena *arena, struct lane *l, struct phase p, int64_t from, int64_t to)
{
    if (!l || to <= from)
        return;
    struct phase *more = one_more(arena, l->blocks, l->n_blocks, sizeof *more);
    if (!more)
        return;
    p.start = from;
    p.ns = to - from;
    l->blocks = more;
    l->blocks[l->n_blocks++] = p;
}

static void add_mark(struct arena *arena, struct lane *l, const char *name, int64_t time)
{
    if (!l)
        return;
    struct mark *more = one_more(arena, l->marks, l->n_marks, sizeof *more);
    if (!more)
        return;
    l->marks = more;
    l->marks[l->n_marks++] = (struct mark){name, time};
}

// Up to where the worker told what it did: a killed one leaves its finished phases.
static int64_t told_until(const struct canvas *c, const struct interval *w)
{
    int64_t until = w->from;
    for (uint32_t i = 0; w->stands_in && i < c->n_named; i++)
        if (slice_eq(c->named[i].service, w->service) && overlaps(&c->named[i], w->from, w->to) && c->named[i].to > until)
            until = c->named[i].to;
    return until;
}

// A worker that names no phases: prefill is one block; decode waits until the prefill is done, takes over, and decodes from the
// first token on.
static void derive_blocks(struct canvas *c, struct arena *arena, const struct interval *w)
{
    if (w->stands_in &&
        slice_eq(w->service, c->frontend)) // nothing tells the worker's name: the frontend's lane shows what the row does
        return;
    struct lane *l = lane_of(c->r, w->service, (enum role)w->which);
    int64_t from = told_until(c, w);
    if (!l)
        return;
    if (w->which == ROLE_PREFILL) {
        add_block(arena, l, make("prefill", PHASE_WORK, l->service, w), from, w->to);
        return;
    }
    int64_t ready = c->prefill_end > from ? c->prefill_end : from, token = c->first_token;
    if (ready > w->to)
        ready = w->to;
    if (!token || token < ready)
        token = ready;
    if (token > w->to)
        token = w->to;
    add_block(arena, l, make("waiting", PHASE_WAIT, l->service, w), from, ready);
    add_block(arena, l, make("handover", PHASE_TRANSFER, l->service, w), ready, token);
    add_block(arena, l, make("decode", PHASE_WORK, l->service, w), token, w->to);
}

static void lane_blocks(struct canvas *c, const struct request_logs *logs, struct arena *arena)
{
    struct request *r = c->r;
    lane_of(r, c->frontend, ROLE_FRONTEND);
    for (int role = ROLE_PREFILL; role <= ROLE_DECODE; role++) // in the order of the request, not of arrival
        for (uint32_t i = 0; i < c->n_workers; i++)
            if (c->workers[i].which == role && span_is_worker(c->workers[i].span))
                lane_of(r, c->workers[i].service, (enum role)role);
    for (uint32_t i = 0; i < c->t->n; i++)
        lane_of(r, c->t->spans[i].service, span_role(c->t, &c->t->spans[i]));
    for (uint32_t i = 0; logs && i < logs->n; i++) {
        enum role role = role_of_words(logs->at[i].service);
        if (role == ROLE_PREFILL || role == ROLE_DECODE)
            lane_of(r, logs->at[i].service, role);
    }
    for (uint32_t i = 0; i < c->n_workers; i++)
        if (!c->workers[i].names_phases)
            derive_blocks(c, arena, &c->workers[i]);
    for (uint32_t i = 0; i < c->n_named; i++) {
        const struct interval *it = &c->named[i];
        struct phase p = make(named_phases[it->which].name, named_phases[it->which].kind, it->service, it);
        add_block(arena, lane_of(r, it->service, ROLE_OTHER), p, it->from, it->to);
    }
    for (uint32_t i = 0; i < r->n_phases; i++) // what the row attributes to the frontend
        if (slice_eq(r->phases[i].service, c->frontend))
            add_block(arena, lane_of(r, c->frontend, ROLE_FRONTEND), r->phases[i], r->phases[i].start,
                      r->phases[i].start + r->phases[i].ns);
}

static void lane_marks(struct canvas *c, const struct request_logs *logs, struct arena *arena)
{
    static const char *const names[] = {"first_token", "last_token", "preempted"};
    bool token = false;
    for (uint32_t i = 0; i < c->t->n; i++) {
        struct slice events = column_str(c->t->batch->field[FIELD_EVENTS], c->t->spans[i].row);
        struct span_event e;
        while (span_event_next(&events, &e))
            for (size_t k = 0; k < sizeof names / sizeof *names; k++)
                if (slice_eq(e.name, slice_str(names[k]))) {
                    add_mark(arena, lane_of(c->r, c->t->spans[i].service, ROLE_OTHER), names[k], e.time);
                    token = token || k == 0;
                }
    }
    if (!token && c->first_token)
        add_mark(arena, lane_of(c->r, decode_service(c), ROLE_OTHER), "first_token", c->first_token);
    for (uint32_t i = 0; logs && i < logs->n; i++)
        if (strcmp(logs->at[i].level, "ERROR") == 0)
            add_mark(arena, lane_of(c->r, logs->at[i].service, ROLE_OTHER), "error", logs->at[i].time);
}

enum errc request_phases(const struct trace *t, const struct request_logs *logs, int64_t first_token, struct arena *arena,
                         struct request *r, struct error *err)
{
    struct canvas *c = ARENA_NEW(arena, struct canvas);
    if (!c)
        return ERR(err, LIMIT, "no memory for the phases of a request");
    c->t = t;
    c->r = r;
    c->logs = logs;
    c->first_token = first_token;
    c->first_worker = INT64_MAX;
    c->frontend = r->service;
    collect(c);
    TRY(paint_row(c, arena, err));
    lane_blocks(c, logs, arena);
    lane_marks(c, logs, arena);
    return ERR_OK;
}
