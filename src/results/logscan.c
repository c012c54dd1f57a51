#include "results/logscan.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "results/logline.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

// ---- shapes of one thread -------------------------------------------------------------------------------------------
struct shape {
    uint64_t hash, count;
    struct slice text, sample;
    uint32_t file;
    uint64_t at; // offset of the sample in its file, to find the line's number by
    bool warning;
};
struct shapes {
    struct arena arena;
    struct shape slot[LOGSCAN_SHAPES * 2];
    uint32_t n;
    uint64_t beyond; // errors of shapes for which there was no room
    struct buf plain, text, message;
};

static void shapes_add(struct shapes *t, const struct shape *s)
{
    uint32_t mask = LOGSCAN_SHAPES * 2 - 1, i = (uint32_t)s->hash & mask;
    for (; t->slot[i].count; i = (i + 1) & mask) {
        if (t->slot[i].hash != s->hash)
            continue;
        struct shape *o = &t->slot[i];
        o->count += s->count;
        if (s->file < o->file || (s->file == o->file && s->at < o->at)) { // the sample is the first, whoever found it
            o->file = s->file;
            o->at = s->at;
            o->sample = arena_dup(&t->arena, s->sample);
        }
        return;
    }
    struct shape copy = *s;
    copy.text = arena_dup(&t->arena, s->text);
    copy.sample = arena_dup(&t->arena, s->sample);
    if (t->n == LOGSCAN_SHAPES || !copy.text.p || !copy.sample.p) {
        t->beyond += s->count;
        return;
    }
    t->slot[i] = copy;
    t->n++;
}

// ---- one piece of a file --------------------------------------------------------------------------------------------
struct piece {
    uint32_t file;
    size_t from, to;
    uint64_t lines, errors, warnings;
    int64_t first_ns, last_ns;
    bool zoned;
};
struct work {
    struct logscan_file *files;
    struct slice *text;
    struct textfile *open;
    struct piece *piece;
    uint32_t n_pieces;
    atomic_uint next;
};
struct worker {
    struct work *work;
    struct shapes shapes;
};

// A traceback's last line says what happened: the first one that is not indented.
static struct slice crash_message(struct slice rest, struct slice first)
{
    struct slice line;
    if (slice_find(first, SLICE("Traceback (most recent call last)")) < 0)
        return slice_trim(first);
    for (int i = 0; i < LOGSCAN_TRACE_LINES && textfile_line(&rest, &line); i++) {
        const char *close = line.n && line.p[0] == '[' ? memchr(line.p, ']', line.n < 80 ? line.n : 80) : NULL;
        if (close && close + 2 < line.p + line.n)
            line = slice_from(line, (size_t)(close - line.p) + 2);
        if (line.n && line.p[0] != ' ' && line.p[0] != '\t')
            return line;
    }
    return slice_trim(first);
}

static void note_error(struct shapes *t, const struct work *w, const struct piece *p, struct slice line, bool warning, bool crash)
{
    struct logline l;
    size_t at = (size_t)(line.p - w->text[p->file].p);
    logline_read(slice_cut(line, LOGSCAN_LINE), &t->plain, &l);
    struct slice message = crash ? crash_message(slice_from(w->text[p->file], at + line.n + 1), line) : l.message;
    if (!crash && l.json && memchr(message.p, '\\', message.n)) {
        logline_unescape(message, &t->message);
        message = buf_slice(&t->message);
    }
    if (message.n == 0)
        message = SLICE("(no message)");
    logline_shape(message, &t->text);
    struct shape s = {.count = 1,
                      .text = buf_slice(&t->text),
                      .sample = slice_cut(message, LOGLINE_MESSAGE),
                      .file = p->file,
                      .at = at,
                      .warning = warning};
    s.hash = hash64_seed(s.text.p, s.text.n, warning);
    shapes_add(t, &s);
}

static void note_time(struct piece *p, struct slice line, struct buf *plain)
{
    struct logline l;
    logline_read(slice_cut(line, LOGLINE_JSON_REACH), plain, &l);
    if (!l.timed)
        return;
    p->zoned = p->zoned || l.time.zoned;
    if (!p->first_ns)
        p->first_ns = l.time.ns;
    p->last_ns = l.time.ns;
}

enum { TIME_LINES = 100 }; // looked at for a time, at each end of a piece

static void last_time(struct piece *p, struct slice text, struct buf *plain)
{
    size_t end = p->to;
    for (int i = 0; i < TIME_LINES && end > p->from; i++) {
        size_t n = end - p->from - (text.p[end - 1] == '\n');
        const char *nl = n ? memrchr(text.p + p->from, '\n', n) : NULL;
        size_t from = nl ? (size_t)(nl - text.p) + 1 : p->from;
        int64_t before = p->last_ns;
        p->last_ns = 0;
        note_time(p, slice_of(text.p + from, p->from + n - from), plain);
        if (p->last_ns)
            return;
        p->last_ns = before;
        end = from;
    }
}

static void scan_piece(struct worker *me, struct piece *p)
{
    struct work *w = me->work;
    struct slice rest = slice_of(w->text[p->file].p + p->from, p->to - p->from), line;
    while (textfile_line(&rest, &line)) {
        bool crash;
        p->lines++;
        enum logline_level level = logline_level(line, &crash);
        if (!p->first_ns && p->lines <= TIME_LINES)
            note_time(p, line, &me->shapes.plain);
        if (level == LOGLINE_ERROR || crash) {
            p->errors++;
            note_error(&me->shapes, w, p, line, false, crash);
        } else if (level == LOGLINE_WARN) {
            p->warnings++;
            note_error(&me->shapes, w, p, line, true, false);
        }
    }
    last_time(p, w->text[p->file], &me->shapes.plain);
}

static void *worker_main(void *arg)
{
    struct worker *me = arg;
    for (;;) {
        uint32_t i = atomic_fetch_add(&me->work->next, 1);
        if (i >= me->work->n_pieces)
            return NULL;
        scan_piece(me, &me->work->piece[i]);
    }
}

// ---- all of it ------------------------------------------------------------------------------------------------------
static enum errc cut(struct arena *a, struct work *w, uint32_t n)
{
    size_t pieces = 0;
    for (uint32_t i = 0; i < n; i++)
        pieces += w->text[i].n / LOGSCAN_PIECE + 1;
    w->piece = ARENA_ARRAY(a, struct piece, pieces);
    if (!w->piece)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct slice t = w->text[i];
        for (size_t from = 0, to; from < t.n; from = to) {
            to = from + LOGSCAN_PIECE < t.n ? from + LOGSCAN_PIECE : t.n;
            const char *nl = to < t.n ? memchr(t.p + to, '\n', t.n - to) : NULL;
            to = nl ? (size_t)(nl - t.p) + 1 : t.n;
            w->piece[w->n_pieces++] = (struct piece){.file = i, .from = from, .to = to};
        }
    }
    return ERR_OK;
}

static void sum_up(const struct work *w)
{
    for (uint32_t i = 0; i < w->n_pieces; i++) {
        const struct piece *p = &w->piece[i];
        struct logscan_file *f = &w->files[p->file];
        f->lines += p->lines;
        f->errors += p->errors;
        f->warnings += p->warnings;
        f->zoned = f->zoned || p->zoned;
        f->first_ns = f->first_ns ? f->first_ns : p->first_ns;
        f->last_ns = p->last_ns ? p->last_ns : f->last_ns;
    }
}

int result_class_order(const void *x, const void *y)
{
    const struct result_class *a = x, *b = y;
    if (a->warning != b->warning)
        return a->warning ? 1 : -1;
    return a->count != b->count ? (a->count < b->count ? 1 : -1) : slice_cmp(a->text, b->text);
}

static uint64_t line_number(struct slice text, uint64_t at)
{
    uint64_t n = 1;
    for (const char *p = text.p, *end = text.p + at; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        n++;
    return n;
}

static enum errc classes_of(struct arena *a, const struct work *w, const struct shapes *t, struct result_class **out, uint32_t *n)
{
    struct result_class *c = ARENA_ARRAY(a, struct result_class, t->n + 1);
    if (!c)
        return ERR_NOMEM;
    *n = 0;
    for (uint32_t i = 0; i < LOGSCAN_SHAPES * 2; i++) {
        const struct shape *s = &t->slot[i];
        if (s->count)
            c[(*n)++] = (struct result_class){
                arena_dup(a, s->text), arena_dup(a, s->sample), w->files[s->file].name, s->at, s->count, s->warning};
    }
    qsort(c, *n, sizeof *c, result_class_order);
    for (uint32_t i = 0; i < *n; i++)
        for (uint32_t f = 0; i < RESULTS_CLASSES && f <= w->piece[w->n_pieces - 1].file; f++)
            if (w->files[f].name.p == c[i].file.p) {
                c[i].line = line_number(w->text[f], c[i].line);
                break;
            }
    *n = *n < RESULTS_CLASSES ? *n : RESULTS_CLASSES;
    *out = c;
    return ERR_OK;
}

unsigned logscan_threads(unsigned asked)
{
    long n = asked ? (long)asked : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > RESULTS_THREADS ? RESULTS_THREADS : (unsigned)n;
}

static void run(struct worker *worker, unsigned n)
{
    pthread_t thread[RESULTS_THREADS];
    unsigned started = 0;
    while (started + 1 < n && pthread_create(&thread[started], NULL, worker_main, &worker[started + 1]) == 0)
        started++;
    worker_main(&worker[0]);
    while (started > 0)
        pthread_join(thread[--started], NULL);
}

enum errc logscan(struct arena *a, struct logscan_file *files, uint32_t n, unsigned threads, struct result_class **classes,
                  uint32_t *n_classes)
{
    enum errc rc = ERR_NOMEM;
    struct work w = {.files = files, .text = ARENA_ARRAY(a, struct slice, n + 1), .open = ARENA_ARRAY(a, struct textfile, n + 1)};
    unsigned n_workers = logscan_threads(threads);
    struct worker *worker = mem_zalloc(n_workers * sizeof *worker);
    *n_classes = 0;
    if (!w.text || !w.open || !worker)
        goto out;
    for (uint32_t i = 0; i < n; i++) {
        files[i].error = textfile_open(files[i].path, &w.open[i]);
        files[i].cut_short = w.open[i].cut_short;
        w.text[i] = w.open[i].text;
        files[i].bytes = w.text[i].n;
    }
    GO(cut(a, &w, n));
    for (unsigned i = 0; i < n_workers; i++) {
        worker[i].work = &w;
        arena_init(&worker[i].shapes.arena, (size_t)256 << 20);
        buf_init(&worker[i].shapes.plain, LOGSCAN_LINE * 2);
        buf_init(&worker[i].shapes.text, LOGLINE_MESSAGE * 8);
        buf_init(&worker[i].shapes.message, LOGLINE_MESSAGE);
    }
    run(worker, n_workers);
    for (unsigned k = 1; k < n_workers; k++)
        for (uint32_t i = 0; i < LOGSCAN_SHAPES * 2; i++)
            if (worker[k].shapes.slot[i].count)
                shapes_add(&worker[0].shapes, &worker[k].shapes.slot[i]);
    sum_up(&w);
    rc = w.n_pieces ? classes_of(a, &w, &worker[0].shapes, classes, n_classes) : ERR_OK;
out:
    for (uint32_t i = 0; w.text && w.open && i < n; i++)
        textfile_close(&w.open[i]);
    for (unsigned i = 0; worker && i < n_workers && worker[i].work; i++) {
        arena_free(&worker[i].shapes.arena);
        buf_free(&worker[i].shapes.plain);
        buf_free(&worker[i].shapes.text);
        buf_free(&worker[i].shapes.message);
    }
    mem_free(worker);
    return rc;
}
