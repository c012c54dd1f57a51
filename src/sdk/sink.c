#include "sdk/sink.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/quiet.h"
#include "sdk/sdk.h"
#include "sdk/trace.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { SITES = SITE_BLOCK * SITE_BLOCKS };

struct sink {
    bool on;
    enum sonde_sink_kind kind;
    struct line_style style;
    struct line_clock clock;
    struct filter *filter; // its own; null: DYN_LOG's. Atomic: sinks_want reads it under another lock
    uint8_t *level_of;     // of a call site by that filter, + 1; 0: not asked yet
    enum sonde_loss loss;
    unsigned block_ms, drop_below;
    sonde_sink_fn *write;
    void *arg;
    struct sink_file file;
    struct buf out; // lines; those up to `at` are written
    size_t at;
    bool failing;  // the last attempt failed with an error
    bool given_up; // it was waited for in vain, and has not moved since
    uint64_t taken, bytes, lost, lost_level[6];
    struct sink_episode episode;
};
static struct sink sinks[SONDE_SINKS_MAX];
static struct line_style plain; // stderr's
static bool env_read;

// ---- episodes -------------------------------------------------------------------------------------------------------
void sink_episode_add(struct sink_episode *e, uint64_t n, int64_t first, int64_t last)
{
    int64_t now = clock_mono_ns();
    if (!e->n) {
        e->first = first;
        e->last = last;
        e->began = now;
    }
    e->n += n;
    e->first = first < e->first ? first : e->first;
    e->last = last > e->last ? last : e->last;
    e->changed = now;
}

bool sink_episode_over(const struct sink_episode *e, int64_t now)
{
    return e->n && (now - e->changed >= SINK_EPISODE_NS || now - e->began >= (int64_t)SINK_EPISODE_MAX * 1000000000);
}

int sink_episode_text(char *out, size_t n, const struct sink_episode *e, bool local)
{
    char first[40], last[40];
    first[time_format(first, e->first, 6, local)] = 0;
    last[time_format(last, e->last, 6, local)] = 0;
    return snprintf(out, n, "lost %llu record%s between %s and %s", (unsigned long long)e->n, e->n == 1 ? "" : "s", first, last);
}

static void lost(struct sink *s, unsigned level, int64_t time)
{
    s->lost++;
    s->lost_level[level < 6 ? level : 0]++;
    sink_episode_add(&s->episode, 1, time, time);
}

// ---- which records --------------------------------------------------------------------------------------------------
bool sinks_want(unsigned level, struct slice target)
{
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        const struct filter *f = __atomic_load_n(&sinks[i].filter, __ATOMIC_ACQUIRE);
        if (f && (level <= f->max_span_level || level <= filter_level(f, target)))
            return true;
    }
    return false;
}

unsigned sinks_want_level(void)
{
    unsigned level = 0;
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        const struct filter *f = __atomic_load_n(&sinks[i].filter, __ATOMIC_ACQUIRE);
        for (unsigned k = 0; f && k < f->n; k++)
            level = f->row[k].level > level ? f->row[k].level : level;
        level = f && f->default_level > level ? f->default_level : level;
    }
    return level;
}

bool sinks_events(void)
{
    for (int i = 0; i < SONDE_SINKS_MAX; i++)
        if (sinks[i].on && sinks[i].style.jsonl)
            return true;
    return false;
}

static unsigned target_level(const struct sink *s, const struct site *site)
{
    if (site->number == 0 || site->number >= SITES || !s->level_of)
        return filter_level(s->filter, site->target);
    uint8_t *known = &s->level_of[site->number];
    if (!*known)
        *known = (uint8_t)(filter_level(s->filter, site->target) + 1);
    return *known - 1u;
}

static bool span_lets(const struct filter *f, const struct line *l)
{
    for (const struct bspan *s = l->span; s; s = s->parent) {
        uint32_t conditions = 0;
        for (uint32_t i = 0; f->n_conditions && i < s->n_fields; i++) {
            const struct field *v = &s->field[i];
            struct buf text;
            buf_init(&text, KIB(64));
            if (v->type != SONDE_TYPE_STR)
                line_json_value(&text, v->type, v->u, v->s);
            conditions |= filter_field(f, v->key, v->type == SONDE_TYPE_STR ? v->s : buf_slice(&text));
            buf_free(&text);
        }
        if (l->site->level <= filter_span(f, s->site ? s->site->target : SLICE_NONE, s->name, conditions))
            return true;
    }
    return false;
}

static bool wants(const struct sink *s, const struct line *l, unsigned how)
{
    if ((how & SINK_EVENT) && !s->style.jsonl)
        return false;
    if (!s->filter)
        return !(how & SINK_HELD) || (how & SINK_RETRO);
    unsigned level = target_level(s, l->site);
    bool ordinary = l->site->level <= level || (l->site->level <= s->filter->max_span_level && span_lets(s->filter, l));
    // Held records are written after all only where they were not before, and where the error was.
    return how & SINK_RETRO ? !ordinary && level >= SONDE_LEVEL_ERROR : ordinary;
}

// ---- writing --------------------------------------------------------------------------------------------------------
static size_t lines_in(const char *p, size_t n)
{
    size_t lines = 0;
    for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        lines++;
    return lines;
}

// Without blocking: a pipe or terminal gets only what it has room for now (POLLOUT of a pipe means a page).
static size_t write_stderr(struct sink *s, const char *p, size_t n)
{
    struct stat st;
    size_t done = 0;
    if (fstat(STDERR_FILENO, &st) != 0) {
        if (errno == EBADF)
            return n;         // closed: the records stay in the ring and go to the exporter
        st.st_mode = S_IFIFO; // may be anything
    }
    bool ready = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(STDERR_FILENO));
    while (done < n) {
        struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
        if (!ready && poll(&fd, 1, 0) <= 0)
            break;
        size_t piece = ready || n - done < 4096 ? n - done : 4096;
        const char *end = piece < n - done ? memrchr(p + done, '\n', piece) : NULL;
        if (end) // whole lines: a pipe takes up to a page in one go, so that those of other processes do not come in between
            piece = (size_t)(end + 1 - p) - done;
        ssize_t k = S_ISSOCK(st.st_mode) ? send(STDERR_FILENO, p + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : quiet_write(STDERR_FILENO, p + done, piece);
        if (k >= 0) {
            done += (size_t)k;
            s->failing = false;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO) {
            s->failing = true;
            break;
        } else if (errno != EINTR) { // broken for good
            size_t left = lines_in(p + done, n - done);
            s->taken -= left;
            s->lost += left;
            s->lost_level[0] += left;
            return n;
        }
    }
    return done;
}

// What can be written now; true if nothing is left.
static bool push(struct sink *s)
{
    size_t left = s->out.n - s->at;
    if (left) {
        size_t k = s->kind == SONDE_SINK_FILE ? sink_file_write(&s->file, s->out.p + s->at, left)
                                              : write_stderr(s, s->out.p + s->at, left);
        if (s->kind == SONDE_SINK_FILE)
            s->failing = s->file.error != 0;
        s->at += k;
        s->bytes += k;
        s->given_up = s->given_up && !k;
    }
    if (s->at < s->out.n) {
        if (s->at >= SINK_RESERVE) {
            buf_drop(&s->out, s->at);
            s->at = 0;
        }
        return false;
    }
    s->at = 0;
    if (s->out.cap > MIB(4)) // a burst's memory is not kept
        buf_free(&s->out), buf_init(&s->out, LINE_MAX);
    else
        buf_reset(&s->out);
    return true;
}

static void pause_for(const struct sink *s)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (s->kind == SONDE_SINK_STDERR && !s->failing)
        poll(&fd, 1, 10);
    else
        usleep(5000);
}

static bool room(const struct sink *s, unsigned level)
{
    size_t limit = SINK_PENDING + (level == SONDE_LEVEL_ERROR ? SINK_RESERVE : 0);
    if (s->loss == SONDE_LOSS_LEVEL && level > s->drop_below)
        limit = SINK_PENDING / 2;
    return s->out.n - s->at < limit;
}

// For a sink that is full: until there is room, or it stood still for as long as its policy says.
static bool wait_room(struct sink *s, unsigned level)
{
    bool block = s->loss == SONDE_LOSS_BLOCK;
    int64_t patience = (int64_t)(block ? s->block_ms : SINK_PATIENCE_MS) * 1000000, start = clock_mono_ns();
    size_t before = s->out.n - s->at;
    push(s);
    while (!room(s, level)) {
        size_t left = s->out.n - s->at;
        if (left < before)
            start = clock_mono_ns();
        before = left;
        if (s->given_up || (s->failing && !block) || atomic_load(&sdk.stopping) || clock_mono_ns() - start >= patience) {
            s->given_up = true;
            return false;
        }
        pause_for(s);
        push(s);
    }
    return true;
}

static void call_back(struct sink *s, const struct line *l)
{
    buf_char(&s->out, 0);
    if (s->out.err == ERR_OK) {
        struct sonde_sink_line line = {(enum sonde_level)l->site->level, l->time, s->out.p, s->out.n - 1};
        s->bytes += line.n;
        s->write(s->arg, &line);
    } else { // no memory for its closing 0
        s->taken--;
        lost(s, l->site->level, l->time);
    }
    buf_reset(&s->out);
}

static void give(struct sink *s, const struct line *l)
{
    unsigned level = l->site->level;
    if (!room(s, level) && !wait_room(s, level)) {
        lost(s, level, l->time);
        return;
    }
    size_t mark = s->out.n;
    line_write(&s->out, &s->style, &s->clock, l);
    if (s->out.err != ERR_OK) { // no memory for it
        s->out.err = ERR_OK;
        s->out.n = mark;
        lost(s, level, l->time);
        return;
    }
    s->taken++;
    if (s->kind == SONDE_SINK_CALLBACK)
        call_back(s, l);
    else if (s->out.n - s->at >= SINK_BATCH && !s->given_up && !s->failing)
        push(s);
}

// A callback may take its time, or not return: what waits for the others goes out first.
static void push_others(void)
{
    static int64_t pushed_at;
    int64_t now = clock_mono_ns();
    if (now - pushed_at < SINK_CALLBACK_NS)
        return;
    pushed_at = now;
    for (int i = 0; i < SONDE_SINKS_MAX; i++)
        if (sinks[i].on && sinks[i].kind != SONDE_SINK_CALLBACK && !sinks[i].given_up && !sinks[i].failing)
            push(&sinks[i]);
}

void sinks_line(const struct line *l, unsigned how)
{
    bool called = false;
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        if (!sinks[i].on || !wants(&sinks[i], l, how))
            continue;
        if (sinks[i].kind == SONDE_SINK_CALLBACK && !called)
            push_others();
        called = called || sinks[i].kind == SONDE_SINK_CALLBACK;
        give(&sinks[i], l);
    }
}

// ---- each turn ------------------------------------------------------------------------------------------------------
static void own_line(struct sink *s, const char *text)
{
    struct line_extra extra[] = {{"lost", (int64_t)s->episode.n}, {"lost_total", (int64_t)s->lost}};
    struct site site = {.level = SONDE_LEVEL_WARN, .target = SLICE("sonde"), .message = slice_str(text)};
    struct line l = {.time = clock_wall_ns(), .site = &site, .message = site.message, .extra = extra, .n_extra = 2};
    s->episode = (struct sink_episode){0};
    give(s, &l);
}

static void tell(struct sink *s, struct pipeline *p, bool last)
{
    char text[SINK_PATH_MAX + 400], what[160] = "";
    struct sink_file *f = &s->file;
    int64_t now = clock_mono_ns();
    if (f->tell_failed) {
        f->tell_failed = false;
        snprintf(text, sizeof text, "log file %s cannot be written: %s; tried again every second", f->path,
                 strerrordesc_np(f->error ? f->error : EIO));
        pipeline_say(p, clock_wall_ns(), SONDE_LEVEL_WARN, text, NULL, 0);
    }
    if (f->tell_cleared && !s->failing) {
        f->tell_cleared = false;
        if (s->episode.n)
            sink_episode_text(what, sizeof what, &s->episode, s->style.local_tz);
        snprintf(text, sizeof text, "log file %s is written again after %.1f s%s%s", f->path, (double)(now - f->failed_at) * 1e-9,
                 what[0] ? "; " : "", what);
        struct line_extra extra[] = {{"lost", (int64_t)s->episode.n}, {"lost_total", (int64_t)s->lost}};
        s->episode = (struct sink_episode){0};
        pipeline_say(p, clock_wall_ns(), SONDE_LEVEL_INFO, text, extra, 2);
    }
    if (!s->failing && !s->given_up && s->episode.n && (last || sink_episode_over(&s->episode, now)) &&
        room(s, SONDE_LEVEL_TRACE)) {
        sink_episode_text(text, sizeof text, &s->episode, s->style.local_tz);
        own_line(s, text);
    }
}

// What is waiting goes out, at most until then (0: as much as goes at once). True when nothing is left.
static bool push_until(struct sink *s, int64_t until)
{
    bool all = push(s);
    while (s->out.n > s->at && until && !s->failing && clock_mono_ns() < until && !atomic_load(&sdk.stopping)) {
        pause_for(s);
        all = push(s);
    }
    return all;
}

bool sinks_turn(struct pipeline *p, int64_t until)
{
    bool all = true;
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        struct sink *s = &sinks[i];
        if (!s->on || s->kind == SONDE_SINK_CALLBACK)
            continue;
        if (s->kind == SONDE_SINK_FILE && !s->file.mid_line)
            sink_file_check(&s->file);
        push_until(s, until);
        tell(s, p, until != 0);
    }
    for (int i = 0; i < SONDE_SINKS_MAX; i++) // what was told
        all = (!sinks[i].on || sinks[i].kind == SONDE_SINK_CALLBACK || push_until(&sinks[i], until)) && all;
    return all;
}

void sinks_end(void)
{
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        struct sink *s = &sinks[i];
        size_t left = s->out.n > s->at ? lines_in(s->out.p + s->at, s->out.n - s->at) : 0;
        s->taken -= left;
        s->lost += left;
        s->lost_level[0] += left;
        buf_reset(&s->out);
        s->at = 0;
    }
}

// ---- adding and removing --------------------------------------------------------------------------------------------
static void say(const char *what, const char *detail)
{
    char text[400];
    sdk_note(text, (size_t)snprintf(text, sizeof text, "sonde: sonde_sink_add: %s%.300s\n", what, detail));
}

// Null: none is asked for, or (*ok false) it has a mistake.
static struct filter *own_filter(const char *directives, const char *of, bool *ok)
{
    struct filter *f = directives ? mem_alloc(sizeof *f) : NULL;
    struct buf notes;
    *ok = !directives || f;
    if (!f)
        return NULL;
    buf_init(&notes, KIB(64));
    filter_init(f);
    f->of = of;
    filter_parse(f, slice_str(directives), &notes);
    if (notes.err == ERR_OK)
        sdk_note(notes.p, notes.n);
    buf_free(&notes);
    *ok = f->mistakes == 0;
    if (!*ok) {
        mem_free(f);
        return NULL;
    }
    return f;
}

static bool sensible(const struct sonde_sink_options *o)
{
    if (o->kind == SONDE_SINK_FILE && (!o->path || !*o->path || strlen(o->path) >= SINK_PATH_MAX))
        return say("a file sink needs a path of at most 1023 bytes", ""), false;
    if (o->kind == SONDE_SINK_CALLBACK && !o->write)
        return say("a callback sink needs a function", ""), false;
    if (o->kind > SONDE_SINK_CALLBACK || o->format > SONDE_FORMAT_JSONL || o->loss > SONDE_LOSS_LEVEL)
        return say("unknown kind, format or loss policy", ""), false;
    return true;
}

// The ring's part of the policies: the longest block, the strictest level.
static void tell_ring(void)
{
    unsigned block = 0, below = 0;
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        const struct sink *s = &sinks[i];
        if (s->on && s->loss == SONDE_LOSS_BLOCK && s->block_ms > block)
            block = s->block_ms;
        if (s->on && s->loss == SONDE_LOSS_LEVEL && (!below || s->drop_below < below))
            below = s->drop_below;
    }
    if (sdk.ring)
        ring_policy(sdk.ring, block, below);
}

static void set_loss(struct sink *s, const struct sonde_sink_options *o)
{
    s->loss = o->loss;
    s->block_ms = o->block_ms ? o->block_ms : SINK_PATIENCE_MS;
    s->drop_below = o->drop_below ? o->drop_below : SONDE_LEVEL_WARN;
}

static void set_up(struct sink *s, const struct sonde_sink_options *o, struct filter *f)
{
    if (!s->out.max)
        buf_init(&s->out, LINE_MAX);
    s->kind = o->kind;
    s->style = plain;
    s->style.jsonl = o->format == SONDE_FORMAT_DEFAULT ? plain.jsonl : o->format == SONDE_FORMAT_JSONL;
    s->style.color = o->kind == SONDE_SINK_STDERR && !s->style.jsonl && plain.color;
    s->write = o->write;
    s->arg = o->arg;
    set_loss(s, o);
    if (o->kind == SONDE_SINK_FILE) {
        s->file = (struct sink_file){.rotate_size = o->rotate_size,
                                     .rotate_seconds = o->rotate_seconds,
                                     .rotate_at_start = o->rotate_at_start,
                                     .keep = o->keep ? o->keep : SONDE_SINK_KEEP,
                                     .fd = -1};
        env_absolute(s->file.path, sizeof s->file.path, o->path);
    }
    s->level_of = f ? mem_zalloc(SITES) : NULL;
    __atomic_store_n(&s->filter, f, __ATOMIC_RELEASE);
    s->on = true;
}

// Under drain. What is freed later is handed back in *old_filter.
static int add(const struct sonde_sink_options *o, struct filter *f, struct filter **old_filter)
{
    int at = o->kind == SONDE_SINK_STDERR ? 0 : 1;
    while (at && at < SONDE_SINKS_MAX && sinks[at].on)
        at++;
    if (at == SONDE_SINKS_MAX)
        return 0;
    struct sink *s = &sinks[at];
    *old_filter = s->filter;
    mem_free(s->level_of);
    if (at) { // a number used before begins anew
        buf_free(&s->out);
        *s = (struct sink){.filter = s->filter};
    }
    set_up(s, o, f);
    tell_ring();
    return at + 1;
}

static void changed(struct filter *old_filter)
{
    sdk.span_events = sdk.pipe.style.span_events && sinks_events();
    trace_refresh();
    sdk_held_level();
    level_refresh();
    pthread_mutex_lock(&sdk.life); // who was looking at the old filter is done
    pthread_mutex_unlock(&sdk.life);
    mem_free(old_filter);
}

int sonde_sink_add(const struct sonde_sink_options *o)
{
    struct filter *old = NULL, *f;
    bool ok;
    if (!sensible(o) || backend_inside())
        return 0;
    f = own_filter(o->filter, "sonde_sink_add", &ok);
    if (!ok)
        return 0;
    sdk_start();
    if (!sdk_enter()) {
        mem_free(f);
        return 0;
    }
    pthread_mutex_lock(&sdk.drain);
    int number = add(o, f, &old);
    pthread_mutex_unlock(&sdk.drain);
    if (number)
        changed(old);
    else
        mem_free(f), say("there are 8 sinks already", "");
    sdk_leave();
    return number;
}

bool sonde_sink_remove(int number)
{
    if (number < 1 || number > SONDE_SINKS_MAX || backend_inside() || !sdk_enter())
        return false;
    struct sink *s = &sinks[number - 1];
    struct filter *old = NULL;
    pthread_mutex_lock(&sdk.drain);
    bool was = s->on;
    if (was) {
        if (s->kind != SONDE_SINK_CALLBACK)
            push(s);
        s->on = false;
        old = s->filter;
        __atomic_store_n(&s->filter, NULL, __ATOMIC_RELEASE);
        mem_free(s->level_of);
        s->level_of = NULL;
        buf_free(&s->out), buf_init(&s->out, LINE_MAX);
        s->at = 0;
        if (s->kind == SONDE_SINK_FILE)
            sink_file_close(&s->file);
        tell_ring();
    }
    pthread_mutex_unlock(&sdk.drain);
    if (was)
        changed(old);
    sdk_leave();
    return was;
}

bool sonde_sink_counts_get(int number, struct sonde_sink_counts *out)
{
    memset(out, 0, sizeof *out);
    if (number < 1 || number > SONDE_SINKS_MAX || backend_inside())
        return false;
    const struct sink *s = &sinks[number - 1];
    pthread_mutex_lock(&sdk.drain);
    bool on = s->on;
    if (on) {
        out->written = s->taken - (s->out.n > s->at ? lines_in(s->out.p + s->at, s->out.n - s->at) : 0);
        out->bytes = s->bytes;
        out->lost = s->lost;
        memcpy(out->lost_level, s->lost_level, sizeof out->lost_level);
        out->rotations = s->file.rotations;
        out->failures = s->file.failures;
        out->failing = s->failing;
    }
    pthread_mutex_unlock(&sdk.drain);
    return on;
}

// ---- start ----------------------------------------------------------------------------------------------------------
static void stderr_loss(struct sonde_sink_options *o, struct buf *notes)
{
    const char *v = env_get("SONDE_LOG_STDERR_LOSS");
    struct sink_loss loss = {.how = SONDE_LOSS_DROP};
    if (v && *v && !sink_loss_word(slice_trim(slice_str(v)), &loss))
        buf_printf(notes, "sonde: SONDE_LOG_STDERR_LOSS: '%.100s' is neither drop, block:MS nor level:LEVEL; drop is used\n", v);
    o->loss = loss.how;
    o->block_ms = loss.block_ms;
    o->drop_below = (enum sonde_level)loss.drop_below;
}

// Called before anything runs; in a forked child again, which keeps the sinks that its parent had.
void sinks_configure(const struct line_style *style, struct buf *notes)
{
    struct sonde_sink_options o = {.kind = SONDE_SINK_STDERR};
    bool ok;
    plain = *style;
    tell_ring();
    if (env_read)
        return;
    env_read = true;
    stderr_loss(&o, notes);
    set_up(&sinks[0], &o, NULL);
    sinks[0].on = env_on("SONDE_LOG_STDERR");
    if (sink_env_file(&o, notes)) {
        struct filter *f = own_filter(o.filter, "SONDE_LOG_FILE_FILTER", &ok);
        if (strlen(o.path) >= SINK_PATH_MAX)
            buf_printf(notes, "sonde: SONDE_LOG_FILE: longer than 1023 bytes; no file is written\n"), mem_free(f);
        else
            set_up(&sinks[1], &o, f);
    }
}

// The parent's pending lines are the parent's; its memory is left alone, as somebody may have been in the middle of it.
void sinks_after_fork(void)
{
    for (int i = 0; i < SONDE_SINKS_MAX; i++) {
        struct sink *s = &sinks[i];
        if (s->out.max)
            buf_init(&s->out, LINE_MAX);
        s->at = 0;
        s->file.mid_line = false;
        s->taken = s->bytes = s->lost = 0;
        memset(s->lost_level, 0, sizeof s->lost_level);
        s->episode = (struct sink_episode){0};
        s->given_up = s->failing = false;
    }
}
