#include "sdk/level.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include "sdk/trace.h"
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct level_now level_now;

static struct {
    pthread_mutex_t change, lock;
    struct filter slot[2];
    unsigned in_use;           // under lock
    char start[FILTER_TEXT];   // DYN_LOG; what follows is under change
    char file[512];            // DYN_LOGGING_CONFIG_PATH
    char set[FILTER_TEXT];     // sonde_set_filter; "": start holds
    char passing[FILTER_TEXT]; // sonde_set_filter_for
    int64_t until;             // of passing; 0: it does not hold. Atomic
    char control[512];
    struct timespec seen;
    off_t seen_size;
    ino_t seen_inode;
    int64_t look_at;   // the backend's own
    uintptr_t *record; // struct sonde_site *, with 1 added to those that live as long as the process
    uint32_t n, cap;
} level = {.change = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

// ---- the filter -----------------------------------------------------------------------------------------------------
static const struct filter *held(void)
{
    pthread_mutex_lock(&level.lock);
    return &level.slot[level.in_use];
}

static void let_go(void)
{
    pthread_mutex_unlock(&level.lock);
}

unsigned level_target(struct slice target)
{
    unsigned l = filter_level(held(), target);
    let_go();
    return l;
}

unsigned level_span(struct slice target, struct slice name, uint32_t conditions)
{
    unsigned l = filter_span(held(), target, name, conditions);
    let_go();
    return l;
}

uint32_t level_field(struct slice key, struct slice value)
{
    uint32_t bits = filter_field(held(), key, value);
    let_go();
    return bits;
}

uint32_t level_site_state(const struct site *s)
{
    const struct filter *f = held();
    uint32_t state = s->level <= filter_level(f, s->target) ? SONDE_SITE_ON
                     : s->level <= f->max_span_level        ? SONDE_SITE_ASK
                                                            : SONDE_SITE_OFF;
    let_go();
    if (state == SONDE_SITE_OFF && (s->level <= sdk.flight_level || sinks_want(s->level, s->target)))
        state = SONDE_SITE_HELD;
    return state;
}

// Under change. All or nothing when strict: a slip of the pen must not silence a server.
static bool build(const char *text, bool strict, struct buf *notes)
{
    struct filter *f = &level.slot[!level.in_use];
    filter_init(f); // later ones win: built-in, the system's file, the named file, the directives
    filter_file(f, "/opt/dynamo/etc/logging.toml", notes);
    if (level.file[0])
        filter_file(f, level.file, notes);
    f->mistakes = 0;
    f->of = strict ? "the new filter" : "DYN_LOG";
    filter_parse(f, slice_str(text), notes);
    if (strict && f->mistakes)
        return false;
    pthread_mutex_lock(&level.lock);
    level.in_use = !level.in_use;
    __atomic_store_n(&level_now.max_span_level, f->max_span_level, __ATOMIC_RELAXED);
    trace_refresh();
    __atomic_store_n(&level_now.n_conditions, f->n_conditions, __ATOMIC_RELAXED);
    __atomic_fetch_add(&level_now.generation, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&level.lock);
    return true;
}

static void copy_path(char *out, size_t n, const char *name)
{
    const char *v = env_get_path(name); // files: not those that the user of a set-user-ID program names
    env_absolute(out, n, v ? v : "");
}

// What is too long ends before the directive that does not fit.
static void copy_directives(struct buf *notes)
{
    const char *v = env_get_path("DYN_LOG");
    size_t n = v ? strlen(v) : 0;
    if (n >= FILTER_TEXT) {
        const char *comma = memrchr(v, ',', FILTER_TEXT - 1);
        n = comma ? (size_t)(comma - v) : 0;
        buf_printf(notes, "sonde: DYN_LOG: longer than %d bytes; what comes after the first %zu is left out\n", FILTER_TEXT - 1,
                   n);
    }
    if (n)
        memcpy(level.start, v, n);
    level.start[n] = 0;
}

// A forked child keeps what was set in its parent.
void level_configure(struct buf *notes)
{
    copy_directives(notes);
    copy_path(level.file, sizeof level.file, "DYN_LOGGING_CONFIG_PATH");
    copy_path(level.control, sizeof level.control, "SONDE_LOG_CONTROL");
    build(level.until ? level.passing : level.set[0] ? level.set : level.start, false, notes);
}

// ---- call sites -----------------------------------------------------------------------------------------------------
bool level_add_site(struct sonde_site *record)
{
    if (level.n == level.cap) {
        uint32_t cap = level.cap ? level.cap * 2 : 256;
        uintptr_t *more = mem_realloc(level.record, cap * sizeof *more);
        if (!more)
            return false;
        level.record = more;
        level.cap = cap;
    }
    level.record[level.n++] = (uintptr_t)record | (record->is_span & SITE_LASTING ? 1 : 0);
    return true;
}

void level_drop_site(const struct sonde_site *record)
{
    if (level.n && (level.record[level.n - 1] & ~(uintptr_t)1) == (uintptr_t)record)
        level.n--;
}

static void refresh_record(struct sonde_site *r, uint32_t number)
{
    const struct site *s = site_get(&sdk.sites, number);
    if (s && r->number == number && r->line == s->line && r->level == s->level)
        __atomic_store_n(&r->state, level_site_state(s), __ATOMIC_RELEASE);
}

// The records inside one writable segment. What was loaded where another library has been does not bear the number.
static void refresh_segment(uintptr_t from, uintptr_t to)
{
    for (uint32_t i = 0; i < level.n; i++) {
        uintptr_t r = level.record[i];
        if (!(r & 1) && r >= from && r + sizeof(struct sonde_site) <= to)
            refresh_record((struct sonde_site *)r, i + 1);
    }
}

static void refresh_lasting(void)
{
    pthread_mutex_lock(&sdk.life);
    for (uint32_t i = 0; i < level.n; i++)
        if (level.record[i] & 1)
            refresh_record((struct sonde_site *)(level.record[i] & ~(uintptr_t)1), i + 1);
    pthread_mutex_unlock(&sdk.life);
}

static int refresh_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    pthread_mutex_lock(&sdk.life);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W))
            refresh_segment(info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz);
    }
    pthread_mutex_unlock(&sdk.life);
    return 0;
}

void level_refresh(void)
{
    dl_iterate_phdr(refresh_object, NULL);
    refresh_lasting();
}

// ---- changes --------------------------------------------------------------------------------------------------------
// Under change: makes the text hold that is due.
static bool apply(const char *text)
{
    struct buf notes;
    buf_init(&notes, KIB(64));
    bool ok = build(text, true, &notes);
    if (notes.err == ERR_OK)
        sdk_note(notes.p, notes.n);
    buf_free(&notes);
    if (ok)
        level_refresh();
    return ok;
}

static bool change(char *where, const char *directives, int64_t until)
{
    const char *text = directives ? directives : "";
    bool ok = false;
    sdk_start();
    if (!sdk_enter())
        return false;
    if (strlen(text) >= FILTER_TEXT) {
        char note[80];
        sdk_note(note, (size_t)snprintf(note, sizeof note, "sonde: the new filter: longer than %d bytes\n", FILTER_TEXT - 1));
    }
    pthread_mutex_lock(&level.change);
    bool passing = where == level.passing;
    if (strlen(text) < FILTER_TEXT) {
        const char *lasting = passing ? level.set : text;
        ok = apply(passing && until ? text : lasting[0] ? lasting : level.start);
        if (ok && !passing && level.until) // the new one was understood, and waits for the end of the passing one
            apply(level.passing);
    }
    if (ok)
        snprintf(where, FILTER_TEXT, "%s", text);
    if (ok && passing)
        __atomic_store_n(&level.until, until, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&level.change);
    sdk_leave();
    sdk_wake(); // a backend asleep learns of the time
    return ok;
}

bool sonde_set_filter(const char *directives)
{
    return change(level.set, directives, 0);
}

bool sonde_set_filter_for(const char *directives, unsigned ms)
{
    return change(level.passing, directives, ms ? clock_mono_ns() + (int64_t)ms * 1000000 : 0);
}

void level_show(struct level_shown *out)
{
    pthread_mutex_lock(&level.change);
    int64_t left = level.until ? level.until - clock_mono_ns() : 0;
    const char *lasting = level.set[0] ? level.set : level.start;
    const char *now = level.until ? level.passing : lasting;
    snprintf(out->now, sizeof out->now, "%s", now);
    snprintf(out->then, sizeof out->then, "%s", lasting);
    out->left_ms = level.until ? (left > 1000000 ? left / 1000000 : 1) : 0;
    env_from_program("DYN_LOG", now == level.start ? NULL : now, "sonde_set_filter");
    pthread_mutex_unlock(&level.change);
}

// ---- control file ---------------------------------------------------------------------------------------------------
// "90s" in milliseconds; false if it is none.
static bool duration(struct slice s, unsigned *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = 0;
    uint64_t n;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!slice_to_u64(slice_cut(s, digits), &n) || n == 0 || n > 100000000)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (slice_eq(slice_from(s, digits), slice_str(units[i].unit)) && n * units[i].ms < UINT32_MAX) {
            *ms = (unsigned)(n * units[i].ms);
            return true;
        }
    }
    return false;
}

static void obey(char *text, size_t n)
{
    char *end = memchr(text, '\n', n);
    struct slice line = slice_trim(slice_of(text, end ? (size_t)(end - text) : n));
    unsigned ms = 0;
    for (size_t i = line.n; i > 5; i--) {
        if (memcmp(line.p + i - 5, " for ", 5) == 0 && duration(slice_trim(slice_from(line, i)), &ms)) {
            line = slice_trim(slice_cut(line, i - 5));
            break;
        }
    }
    char *directives = text + (line.p - text);
    directives[line.n] = 0;
    if (ms) {
        sonde_set_filter_for(directives, ms);
        return;
    }
    sonde_set_filter_for(NULL, 0);
    sonde_set_filter(directives);
}

static void look_at_control(void)
{
    struct stat st = {.st_size = 0};
    bool there = stat(level.control, &st) == 0;
    if (st.st_mtim.tv_sec == level.seen.tv_sec && st.st_mtim.tv_nsec == level.seen.tv_nsec && st.st_size == level.seen_size &&
        st.st_ino == level.seen_inode)
        return;
    char *text = mem_zalloc(LEVEL_CONTROL_MAX + 1);
    int fd = there && text ? open(level.control, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    ssize_t n = fd >= 0 ? read(fd, text, LEVEL_CONTROL_MAX) : 0;
    if (fd >= 0)
        close(fd);
    if (text && n >= 0 && (fd >= 0 || !there)) { // else it is tried again
        level.seen = st.st_mtim;
        level.seen_size = st.st_size;
        level.seen_inode = st.st_ino;
        obey(text, (size_t)n);
    }
    mem_free(text);
}

int64_t level_turn(int64_t now)
{
    int64_t next = INT64_MAX, until = __atomic_load_n(&level.until, __ATOMIC_RELAXED);
    if (until && now >= until) {
        sonde_set_filter_for(NULL, 0);
        until = 0;
    }
    if (level.control[0]) {
        if (now >= level.look_at) {
            look_at_control();
            level.look_at = now + LEVEL_POLL_NS;
        }
        next = level.look_at;
    }
    return until && until < next ? until : next;
}

// ---- fork -----------------------------------------------------------------------------------------------------------
void level_before_fork(void)
{
    pthread_mutex_lock(&level.change);
}

void level_after_fork(bool child)
{
    if (!child) {
        pthread_mutex_unlock(&level.change);
        return;
    }
    pthread_mutex_init(&level.change, NULL);
    pthread_mutex_init(&level.lock, NULL);
}
