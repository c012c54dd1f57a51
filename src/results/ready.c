#include "results/ready.h"
#include "results/logline.h"
#include "results/logscan.h"
#include <pthread.h>

enum { SEARCH_PIECE = 1 << 18, SEARCH_ALONE = 8 << 20 }; // a shorter text is not worth a thread

// What processes of a serving stack say when they are up.
static const struct slice ready_marks[] = {
    SLICE_INIT("Application startup complete"),
    SLICE_INIT("Uvicorn running on"),
    SLICE_INIT("HTTP service listening"),
    SLICE_INIT("Starting HTTP"),
    SLICE_INIT("added model"),
    SLICE_INIT("worker ready"),
    SLICE_INIT("has been initialized"),
    SLICE_INIT("Registered endpoint"),
    SLICE_INIT("ready to roll"),
    SLICE_INIT("erver is ready"),
    SLICE_INIT("listening on"),
    SLICE_INIT("Reading Events from"),
    SLICE_INIT("engine is ready"),
    SLICE_INIT("worker is ready"),
};
enum { N_MARKS = sizeof ready_marks / sizeof *ready_marks };

struct search {
    struct slice text;
    int64_t fault;
    size_t from, to;            // its part of the text
    int64_t first_ns, again_ns; // as in struct ready, of the part
    size_t first_at, again_at;  // where these stand
    uint32_t marks[N_MARKS];
    struct buf plain;
};

// The whole line around p.
static struct slice line_at(struct slice text, const char *p)
{
    const char *nl = memrchr(text.p, '\n', (size_t)(p - text.p)), *from = nl ? nl + 1 : text.p;
    const char *end = memchr(p, '\n', (size_t)(text.p + text.n - p));
    return slice_of(from, (size_t)((end ? end : text.p + text.n) - from));
}

// The end of the line that holds byte `at`, its line feed included.
static size_t line_end(struct slice text, size_t at)
{
    const char *nl = at < text.n ? memchr(text.p + at, '\n', text.n - at) : NULL;
    return nl ? (size_t)(nl - text.p) + 1 : text.n;
}

static void mark_at(struct search *s, struct slice line)
{
    struct logline l;
    size_t at = (size_t)(line.p - s->text.p);
    logline_read(slice_cut(line, LOGLINE_JSON_REACH), &s->plain, &l);
    if (!l.timed)
        return;
    if (!s->first_ns || at < s->first_at) {
        s->first_ns = l.time.ns;
        s->first_at = at;
    }
    if (s->fault && l.time.ns >= s->fault && (!s->again_ns || at < s->again_at)) {
        s->again_ns = l.time.ns;
        s->again_at = at;
    }
}

// Searches for one mark after the other, a piece that the cache holds at a time.
static void *search(void *arg)
{
    struct search *s = arg;
    buf_init(&s->plain, LOGLINE_JSON_REACH * 2);
    for (size_t from = s->from, to; from < s->to; from = to) {
        to = line_end(s->text, from + SEARCH_PIECE < s->to ? from + SEARCH_PIECE : s->to);
        for (size_t i = 0; i < N_MARKS; i++) {
            struct slice rest = slice_of(s->text.p + from, to - from);
            for (ptrdiff_t at; (at = slice_find(rest, ready_marks[i])) >= 0;) {
                struct slice line = line_at(s->text, rest.p + at);
                s->marks[i]++;
                mark_at(s, line);
                rest = slice_from(rest, (size_t)(line.p + line.n - rest.p));
            }
        }
    }
    buf_free(&s->plain);
    return NULL;
}

// Later parts know later lines: the first part that knows a time has the first one.
static void join(const struct search *s, unsigned n, struct ready *out)
{
    *out = (struct ready){0};
    for (unsigned k = 0; k < n; k++) {
        out->first_ns = out->first_ns ? out->first_ns : s[k].first_ns;
        out->again_ns = out->again_ns ? out->again_ns : s[k].again_ns;
    }
    for (size_t i = 0; i < N_MARKS; i++) {
        uint32_t marks = 0;
        for (unsigned k = 0; k < n; k++)
            marks += s[k].marks[i];
        out->most = marks > out->most ? marks : out->most;
    }
}

void ready_find(struct slice text, int64_t fault, unsigned threads, struct ready *out)
{
    struct search s[RESULTS_THREADS];
    pthread_t thread[RESULTS_THREADS];
    unsigned n = text.n < SEARCH_ALONE ? 1 : logscan_threads(threads), started = 1;
    size_t from = 0;
    for (unsigned k = 0; k < n; k++) {
        size_t to = k + 1 == n ? text.n : line_end(text, text.n / n * (k + 1));
        s[k] = (struct search){.text = text, .fault = fault, .from = from, .to = to > from ? to : from};
        from = s[k].to;
    }
    while (started < n && pthread_create(&thread[started], NULL, search, &s[started]) == 0)
        started++;
    search(&s[0]);
    for (unsigned k = started; k < n; k++)
        search(&s[k]);
    while (started > 1)
        pthread_join(thread[--started], NULL);
    join(s, n, out);
}
