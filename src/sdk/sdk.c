#include "sdk/sdk.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/config_file.h"
#include "sdk/env.h"
#include "sdk/export.h"
#include "sdk/flight.h"
#include "sdk/limit.h"
#include "sdk/quiet.h"
#include "sdk/sampler_remote.h"
#include "sdk/status.h"
#include "sdk/trace.h"
#include <errno.h>
#include <linux/futex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sdk sdk = {.life = PTHREAD_MUTEX_INITIALIZER, .drain = PTHREAD_MUTEX_INITIALIZER};
struct sdk_hot sdk_hot;
__thread struct sdk_tls sdk_tls __attribute__((tls_model("initial-exec")));

// The slow paths below take locks. A signal handler that interrupts one of them, or a record in the making, must not enter; and
// a thread that is being cancelled must not end in there.
static __thread bool tls_inside __attribute__((tls_model("initial-exec")));
static __thread int tls_cancel __attribute__((tls_model("initial-exec")));

bool sdk_enter(void)
{
    if (tls_inside || (tls_ring && tls_ring->busy))
        return false;
    tls_inside = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &tls_cancel);
    return true;
}

void sdk_leave(void)
{
    pthread_setcancelstate(tls_cancel, NULL);
    tls_inside = false;
}

static pthread_key_t thread_key;
static bool have_key; // under life, or where nothing else runs
static pthread_once_t once = PTHREAD_ONCE_INIT;

// ---- configuration --------------------------------------------------------------------------------------------------
bool sdk_tells(unsigned level)
{
    static const char *const words[] = {"none", "error", "warn", "info", "debug"};
    char word[16];
    unsigned most = SONDE_LEVEL_INFO;
    env_text("OTEL_LOG_LEVEL", word, sizeof word);
    for (unsigned i = 0; i < 5; i++)
        if (slice_ieq(slice_str(word), slice_str(words[i])))
            most = i;
    return level <= most;
}

void sdk_note(const char *text, size_t n)
{
    if (!sdk_tells(SONDE_LEVEL_WARN))
        return;
    while (n) {
        ssize_t k = quiet_write(STDERR_FILENO, text, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return;
        text += k;
        n -= (size_t)k;
    }
}

static bool console_jsonl(struct buf *notes)
{
    const char *v = env_get("DYN_LOGGING_CONSOLE_FORMAT");
    struct slice word = slice_trim(slice_str(v ? v : ""));
    if (slice_ieq(word, SLICE("jsonl")))
        return true;
    if (slice_ieq(word, SLICE("readable")))
        return false;
    if (word.n)
        buf_printf(notes, "sonde: DYN_LOGGING_CONSOLE_FORMAT: '%.*s' is neither readable nor jsonl; readable is used\n",
                   (int)(word.n < 100 ? word.n : 100), word.p);
    return word.n == 0 && env_on("DYN_LOGGING_JSONL");
}

// The service's name as the environment says it: OTEL_SERVICE_NAME, else service.name of OTEL_RESOURCE_ATTRIBUTES.
static bool env_service(void)
{
    const char *name = env_get("OTEL_SERVICE_NAME"), *list = env_get("OTEL_RESOURCE_ATTRIBUTES");
    struct slice rest = slice_str(list ? list : ""), part, found = slice_str(name ? name : "");
    while (!found.n && rest.n && slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (slice_starts(part, SLICE("service.name=")))
            found = slice_from(part, 13);
    }
    if (found.n)
        snprintf(sdk.service, sizeof sdk.service, "%.*s", (int)found.n, found.p);
    return found.n > 0;
}

void sdk_held_level(void)
{
    unsigned want = sinks_want_level();
    __atomic_store_n(&sdk.want_level, want, __ATOMIC_RELAXED);
    __atomic_store_n(&sdk.held_level, want > sdk.flight_level ? want : sdk.flight_level, __ATOMIC_RELAXED);
}

static void configure(void)
{
    struct buf notes;
    buf_init(&notes, KIB(64));
    struct line_style *style = &sdk.pipe.style;
    style->jsonl = console_jsonl(&notes);
    const char *no_color = env_get("NO_COLOR"), *term = env_get("TERM");
    style->color = !style->jsonl && isatty(STDERR_FILENO) && !(no_color && *no_color) &&
                   !env_on("DYN_SDK_DISABLE_ANSI_LOGGING") && !(term && strcmp(term, "dumb") == 0);
    style->local_tz = env_on("DYN_LOG_USE_LOCAL_TZ");
    style->span_events = env_on("DYN_LOGGING_SPAN_EVENTS");
    flight_configure();
    sinks_configure(style, &notes);
    sdk.span_events = style->span_events && sinks_events();
    trace_configure(&notes);
    sdk_held_level();
    level_configure(&notes);
    if (!env_service() && !sdk.service[0])
        snprintf(sdk.service, sizeof sdk.service, "%s", program_invocation_short_name);
    if (notes.err == ERR_OK)
        sdk_note(notes.p, notes.n);
    buf_free(&notes);
}

// ---- call sites -----------------------------------------------------------------------------------------------------
static struct site *add_site(const struct sonde_site *record, uint32_t number)
{
    struct buf entry;
    size_t size;
    buf_init(&entry, MIB(1));
    site_encode(&entry, record, number);
    struct site *s = entry.err == ERR_OK ? site_parse(entry.p, entry.n, &size) : NULL;
    if (s && !site_put(&sdk.sites, s)) {
        site_free(s);
        s = NULL;
    }
    if (s && sdk.ring)
        ring_dict_add(sdk.ring, entry.p, entry.n);
    buf_free(&entry);
    return s;
}

void sdk_register(struct sonde_site *record)
{
    sdk_start();
    if (!sdk_enter())
        return;
    pthread_mutex_lock(&sdk.life);
    if (record->state == SONDE_SITE_NEW && sdk.n_sites == SITE_BLOCK * SITE_BLOCKS) {
        static bool said;
        static const char text[] = "sonde: 65536 call sites are known; those that come now stay silent\n";
        if (!said)
            sdk_note(text, sizeof text - 1);
        said = true;
        __atomic_store_n(&record->state, SONDE_SITE_OFF, __ATOMIC_RELEASE);
    } else if (record->state == SONDE_SITE_NEW) {
        record->shape = log_shape(record);
        struct site *s = level_add_site(record) ? add_site(record, sdk.n_sites + 1) : NULL;
        if (s)
            record->number = ++sdk.n_sites;
        else
            level_drop_site(record); // no memory: stays new, and its next call tries again
        __atomic_store_n(&record->state, s ? level_site_state(s) : SONDE_SITE_NEW, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&sdk.life);
    sdk_leave();
}

// ---- threads --------------------------------------------------------------------------------------------------------
static void thread_ended(void *t)
{
    sdk_span_forget();
    struct ring_thread *mine = t;
    if (mine->lane && mine->lane->ring == sdk.ring) // not the state of a parent process
        ring_thread_end(mine);
    mine->lane = NULL;
}

static void make_ring(void);

struct ring_thread *sdk_thread(void)
{
    sdk_start();
    if (!sdk_enter())
        return NULL;
    if (!__atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE)) { // there was no memory for it
        static int64_t again;                            // not for each record
        int64_t now = clock_mono_ns();
        pthread_mutex_lock(&sdk.life);
        if (!sdk.ring && sdk.phase == SDK_RUNNING && now >= again) {
            make_ring();
            again = now + SDK_RING_AGAIN_NS;
        }
        pthread_mutex_unlock(&sdk.life);
    }
    struct ring *ring = __atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE);
    if (!ring) {
        sdk_leave();
        return NULL;
    }
    struct ring_thread *t = ring_thread_get(ring, &tls_ring_thread) ? &tls_ring_thread : NULL;
    if (t && __atomic_load_n(&have_key, __ATOMIC_RELAXED))
        pthread_setspecific(thread_key, t);
    sdk_leave();
    if (t && tls_span)
        sdk_span_adopt();
    return t;
}

// ---- fork -----------------------------------------------------------------------------------------------------------
static void before_fork(void)
{
    level_before_fork();
    pthread_mutex_lock(&sdk.life);
    export_before_fork(sdk.export);
}
static void after_fork_parent(void)
{
    export_after_fork(sdk.export);
    pthread_mutex_unlock(&sdk.life);
    level_after_fork(false);
}

// The parent's rings, threads and pending lines are the parent's. The child begins anew with its first record; what the parent
// allocated for them is left alone, because another thread may have been in the middle of it.
static void after_fork_child(void)
{
    pthread_mutex_init(&sdk.life, NULL);
    pthread_mutex_init(&sdk.drain, NULL);
    limit_forked();
    span_forked();
    level_after_fork(true);
    if (sdk.ring)
        ring_forget(sdk.ring);
    export_forked(sdk.export);
    sampler_remote_forked();
    sdk.parents.ring = sdk.ring;
    sdk.parents.export = sdk.export;
    sdk.parents.pipe = sdk.pipe;
    sdk.ring = NULL;
    sdk.generation++;
    sdk.export = NULL;
    sdk.has_thread = false;
    tls_ring_thread = (struct ring_thread){0};
    if (have_key)
        pthread_setspecific(thread_key, NULL);
    struct line_style style = sdk.pipe.style;
    pipeline_init(&sdk.pipe);
    sdk.pipe.style = style;
    sdk.flush_asked = sdk.flush_done = 0;
    sdk.dozing = SDK_AWAKE;
    sdk_hot.wake = 0;
    sdk.stopping = false;
    sdk.lost = (struct sink_episode){0};
    sdk.lost_seen = 0;
    sinks_after_fork();
    flight_forget();
    sdk.phase = SDK_NONE;
}

// ---- start and stop -------------------------------------------------------------------------------------------------
static bool shut_down(unsigned timeout_ms);

static void at_exit(void)
{
    shut_down(2000);
}

static void first_time(void)
{
    have_key = pthread_key_create(&thread_key, thread_ended) == 0;
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    atexit(at_exit);
}

// A plug-in with this library inside is unloaded, or the process ends: threads that live on must not call into it any more.
__attribute__((destructor)) static void unloaded(void)
{
    if (__atomic_exchange_n(&have_key, false, __ATOMIC_RELAXED))
        pthread_key_delete(thread_key);
}

static size_t ring_size(void)
{
    int64_t earlier = env_int("SONDE_RING_SIZE"); // without a default
    const char *v = env_get("SONDE_RING_BYTES");
    return (size_t)(earlier >= 0 && !(v && *v) ? earlier : env_int("SONDE_RING_BYTES"));
}

// Records that came to no ring. It takes those over that were lost while there was none.
static uint64_t lost_early[6], lost_early_held;

void sdk_lost(unsigned level, bool held)
{
    struct ring *r = __atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE);
    if (r)
        ring_lose(r, level, held);
    else
        __atomic_fetch_add(held ? &lost_early_held : &lost_early[level % 6], 1, __ATOMIC_RELAXED);
}

// Under life.
static void make_ring(void)
{
    static bool said;
    struct error err = {0};
    struct ring *r = NULL;
    if ((ring_new(&r, sdk.service, ring_size(), &err) != ERR_OK || err.code != ERR_OK) && (r || !said)) {
        char text[ERROR_MESSAGE_MAX + 16];
        sdk_note(text, (size_t)snprintf(text, sizeof text, "sonde: %s\n", err.msg));
        said = !r;
    }
    if (!r)
        return;
    for (uint32_t i = 1; i <= sdk.n_sites; i++) { // a forked child: the sites are known already
        struct site *s = site_get(&sdk.sites, i);
        if (s)
            ring_dict_add(r, s->entry.p, s->entry.n);
    }
    for (unsigned i = 0; i < 6; i++)
        for (uint64_t n = __atomic_exchange_n(&lost_early[i], 0, __ATOMIC_RELAXED); n; n--)
            ring_lose(r, i, false);
    for (uint64_t n = __atomic_exchange_n(&lost_early_held, 0, __ATOMIC_RELAXED); n; n--)
        ring_lose(r, 0, true);
    limit_ring(r);
    r->pressed = sdk_pressed;
    __atomic_store_n(&sdk.ring, r, __ATOMIC_RELEASE);
    sinks_configure(&sdk.pipe.style, NULL); // tells the ring
}

static void start_locked(void)
{
    clock_init();
    if (!sdk.pipe.out.max)
        pipeline_init(&sdk.pipe);
    configure();
    make_ring();
    sdk.pipe.level = level_target;
    sdk.pipe.to_sinks = true;
    sdk.export = export_new(sdk.service, sdk.resource);
    export_attach(sdk.export, &sdk.pipe);
    backend_start();
    sampler_remote_start();
}

void sdk_start(void)
{
    if (__builtin_expect(atomic_load_explicit(&sdk.phase, memory_order_acquire) != SDK_NONE, 1))
        return;
    if (!sdk_enter())
        return;
    config_file_start(); // loads a library: before our locks
    bool anew = false;
    pthread_once(&once, first_time);
    pthread_mutex_lock(&sdk.life);
    if (sdk.phase == SDK_NONE) {
        start_locked();
        atomic_store_explicit(&sdk.phase, SDK_RUNNING, memory_order_release);
        anew = sdk.n_sites > 0;
    }
    pthread_mutex_unlock(&sdk.life);
    if (anew)
        level_refresh(); // a forked child, whose environment may have changed
    sdk_leave();
}

void sonde_init(const struct sonde_options *o)
{
    static bool done;
    config_file_start();
    pthread_once(&once, first_time);
    pthread_mutex_lock(&sdk.life);
    bool mine = !done;
    done = true;
    if (mine && o) {
        env_from_program("OTEL_SERVICE_NAME", o->service, "sonde_init");
        env_from_program("OTEL_RESOURCE_ATTRIBUTES", o->resource, "sonde_init");
        if (!env_service() && o->service)
            snprintf(sdk.service, sizeof sdk.service, "%s", o->service);
        if (o->resource)
            snprintf(sdk.resource, sizeof sdk.resource, "%s", o->resource);
        if (sdk.phase != SDK_NONE) { // records came before us
            if (sdk.ring)
                ring_rename(sdk.ring, sdk.service);
            export_describe(sdk.export, sdk.service, sdk.resource);
        }
    }
    pthread_mutex_unlock(&sdk.life);
    sdk_start();
    if (mine)
        status_from_environment();
}

static int64_t deadline(unsigned ms)
{
    return clock_mono_ns() + (int64_t)ms * 1000000;
}

bool sonde_flush(unsigned timeout_ms)
{
    if (sdk.phase == SDK_NONE)
        return true;
    int64_t until = deadline(timeout_ms);
    bool ok = backend_flush(until);
    return export_flush(sdk.export, until) && ok;
}

bool sonde_shutdown(unsigned timeout_ms)
{
    return !backend_inside() && shut_down(timeout_ms);
}

static bool shut_down(unsigned timeout_ms)
{
    int expected = SDK_RUNNING;
    int64_t until = deadline(timeout_ms);
    if (!atomic_compare_exchange_strong(&sdk.phase, &expected, SDK_STOPPED))
        return true; // never started, or stopped already
    bool ok = backend_flush(until);
    backend_stop(until);
    ok = export_stop(sdk.export, until) && ok;
    sampler_remote_stop(until);
    if (ok && sdk.ring) {
        sdk.ring->head->clean = 1;
        if (sdk.ring->path[0] && !env_on("SONDE_RING_KEEP")) {
            unlink(sdk.ring->path);
            sdk.ring->path[0] = 0;
        }
    }
    return ok;
}

void sonde_counts_get(struct sonde_counts *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 6; i++)
        out->records_lost += out->records_lost_level[i] = __atomic_load_n(&lost_early[i], __ATOMIC_RELAXED);
    out->held_lost = __atomic_load_n(&lost_early_held, __ATOMIC_RELAXED);
    if (__atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE)) {
        out->records_lost = ring_lost(sdk.ring);
        for (int i = 0; i < 6; i++)
            out->records_lost_level[i] = __atomic_load_n(&sdk.ring->lost_level[i], __ATOMIC_RELAXED);
        out->held_lost = __atomic_load_n(&sdk.ring->lost_held, __ATOMIC_RELAXED);
    }
    export_counts(sdk.export, out);
}
