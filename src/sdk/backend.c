// The backend: empties all rings in time order, writes the lines, feeds the exporter.
//
// Order: a round takes a time stamp first and then only records up to it, so a record can come out after a later one of
// another thread only if its call was interrupted between reading the clock and committing, and never within a thread.
// Waiting: 1 ms after a line, doubling to 10 ms; 20 ms after spans alone, for which no reader waits: a wake-up costs as much as
// some ten of them. After 2 s without a line, or 0.1 s without the first, as long as there are few spans, 100 ms, or until a line
// comes. Less when the ring fills up; after 2 s without a record it sleeps until a record wakes it. That wake-up can be missed
// when the record and the falling asleep cross; the sleep ends by itself after 250 ms. Only falling asleep for long is told to
// the threads (sdk_hot), so that the cache line which each call reads changes seldom.
#include "base/limits.h"
#include "sdk/flight.h"
#include "sdk/limit.h"
#include "sdk/sdk.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MERGE_MAX = 4096, FEW_RECORDS = 4096, STOP_GRACE_NS = 100000000, FLUSH_SLACK = 100000 /* ticks */ };

static pthread_t thread;
static bool said;             // under the drain lock: the round has read a record that may be a line
static bool logged;           // the same: or one that is held back
static unsigned n_merged;     // the same: how many it has read
static __thread bool running; // the thread is in a round: a sink's callback that logs, flushes or exits

static void futex_wait(const void *word, int value, int64_t ns)
{
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &ts, NULL, 0);
}
static void futex_wake(const void *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

// ---- merging --------------------------------------------------------------------------------------------------------
struct head {
    struct ring_lane *lane;
    const char *p;
    uint64_t tick;
};

static bool load(struct head *h, struct ring *r, uint64_t limit)
{
    h->p = ring_read_peek(r, h->lane);
    if (h->p)
        h->tick = ((const struct rec_head *)h->p)->tick;
    return h->p && h->tick <= limit;
}

static void one(struct sdk *s, struct head *h, const struct clock_cal *cal)
{
    struct rec_head head;
    struct rec r;
    memcpy(&head, h->p, sizeof head);
    enum rec_kind kind = rec_kind(head.what);
    uint32_t n = 0;
    const uint8_t *types = kind == REC_LOG ? NULL : rec_types(kind, &n);
    struct site *site = site_get(&s->sites, rec_site(head.what));
    if (kind == REC_LOG && site) {
        types = site->type;
        n = site->n;
    }
    n_merged++;
    logged = logged || kind == REC_LOG;
    said = said || (kind == REC_LOG && !(head.what & REC_HELD));
    if (head.what & REC_HELD)
        flight_pass(s->ring, h->lane, h->p);
    else if (kind == REC_LOG && (head.what & REC_IN_SPAN) && flight_retro && site && site->level == SONDE_LEVEL_ERROR)
        flight_release(s, (const uint8_t *)h->p + sizeof head);
    if ((head.what & REC_HELD) && !(head.what & REC_EXTERN) && !__atomic_load_n(&s->want_level, __ATOMIC_RELAXED)) {
        ring_read_next(h->lane, head.size);
        return;
    }
    if (rec_read(&r, h->p, head.size, types, n, true))
        pipeline_record(&s->pipe, &r, site, clock_to_wall(cal, head.tick));
    ring_read_next(h->lane, head.size);
}

static unsigned earliest(const struct head *heads, unsigned n, uint64_t *second)
{
    unsigned best = 0;
    *second = UINT64_MAX;
    for (unsigned i = 1; i < n; i++) {
        if (heads[i].tick < heads[best].tick) {
            *second = heads[best].tick;
            best = i;
        } else if (heads[i].tick < *second) {
            *second = heads[i].tick;
        }
    }
    return best;
}

static bool merge(struct sdk *s, uint64_t limit)
{
    static struct head heads[MERGE_MAX]; // under the drain lock
    unsigned n = 0;
    struct clock_cal cal = ring_clock(s->ring);
    for (struct ring_lane *l = __atomic_load_n(&s->ring->lanes, __ATOMIC_ACQUIRE); l && n < MERGE_MAX; l = l->next) {
        heads[n].lane = l;
        if (ring_read_refresh(s->ring, l) && load(&heads[n], s->ring, limit))
            n++;
    }
    bool any = n > 0;
    while (n) {
        uint64_t second;
        unsigned best = earliest(heads, n, &second);
        bool more;
        do {
            one(s, &heads[best], &cal);
            more = load(&heads[best], s->ring, limit);
        } while (more && heads[best].tick <= second);
        if (!more)
            heads[best] = heads[--n];
    }
    return any;
}

// One line an episode, in every sink.
static void tell_losses(struct sdk *s, int64_t now, bool last)
{
    uint64_t lost = ring_lost(s->ring), first, end;
    char text[160];
    if (lost != s->lost_seen) {
        struct clock_cal cal = ring_clock(s->ring);
        bool when = ring_lost_episode(s->ring, &first, &end);
        int64_t wall = clock_wall_ns();
        sink_episode_add(&s->lost, lost - s->lost_seen, when ? clock_to_wall(&cal, first) : wall,
                         when ? clock_to_wall(&cal, end) : wall);
        s->lost_seen = lost;
    }
    if (!s->lost.n || !(last || sink_episode_over(&s->lost, now)))
        return;
    struct line_extra extra[] = {{"lost", (int64_t)s->lost.n}, {"lost_total", (int64_t)lost}};
    sink_episode_text(text, sizeof text, &s->lost, s->pipe.style.local_tz);
    s->lost = (struct sink_episode){0};
    pipeline_say(&s->pipe, clock_wall_ns(), SONDE_LEVEL_WARN, text, extra, 2);
}

static bool round_locked(struct sdk *s, bool last)
{
    if (!__atomic_load_n(&s->ring, __ATOMIC_ACQUIRE)) // it may come later, when there is memory
        return false;
    bool ends = sdk_span_ends_take();
    // A flush takes along what was written just before it on another core, whose clock may be read as a little later than ours.
    bool any = merge(s, clock_tick() + (last ? FLUSH_SLACK : 0));
    if (ends)
        sdk_span_ends_forget();
    int64_t now = clock_mono_ns();
    tell_losses(s, now, last);
    limit_tell(&s->pipe, &s->sites, last);
    bool out = sinks_turn(&s->pipe, last ? atomic_load(&s->flush_until) : 0);
    if (last) // an ordinary turn that follows at once is not what the flush was told
        atomic_store(&s->flush_ok, out);
    ring_grow_ahead(s->ring);
    if (now - s->calibrated_at > 1000000000 && (any || !s->calibrated_at)) {
        ring_each_second(s->ring);
        s->calibrated_at = now;
    }
    return any;
}

bool backend_inside(void)
{
    return running;
}

void backend_run(bool last)
{
    int old;
    if (running)
        return;
    running = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old); // nobody ends with the lock
    pthread_mutex_lock(&sdk.drain);
    round_locked(&sdk, last);
    pthread_mutex_unlock(&sdk.drain);
    pthread_setcancelstate(old, NULL);
    running = false;
}

void backend_release(const uint8_t trace_id[16])
{
    if (running)
        return;
    pthread_mutex_lock(&sdk.drain);
    running = true;
    round_locked(&sdk, false); // what it has written so far is among what was read
    flight_release(&sdk, trace_id);
    sinks_turn(&sdk.pipe, 0);
    running = false;
    pthread_mutex_unlock(&sdk.drain);
}

// ---- thread ---------------------------------------------------------------------------------------------------------
// Until one of those records comes that `waker` says, or it is `turn`, or `wait` ns are over.
static void rest(int64_t now, enum sdk_waker waker, int64_t wait, int64_t turn, unsigned asked)
{
    bool doze = waker == SDK_WAKE_ALL;
    if (atomic_load(&sdk.stopping)) // it may be SDK_GONE already
        return;
    if (doze && turn - now < SDK_DOZE_NS)
        wait = turn > now ? turn - now : 0;
    else if (doze)
        wait = SDK_DOZE_NS;
    int how = doze ? SDK_DOZE : SDK_NAP;
    atomic_store(&sdk.dozing, how);
    if (atomic_load_explicit(&sdk_hot.wake, memory_order_relaxed) != (int)waker)
        atomic_store(&sdk_hot.wake, waker);
    if (wait && atomic_load(&sdk.flush_asked) == asked && !atomic_load(&sdk.stopping))
        futex_wait(&sdk.dozing, how, wait);
    atomic_compare_exchange_strong(&sdk.dozing, &how, SDK_AWAKE);
}

static void *loop(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "sonde-backend");
    int64_t wait = SDK_POLL_NS, busy_at = clock_mono_ns();
    int64_t line_at = busy_at - SDK_DOZE_AFTER_NS + SDK_POLL_QUIET_NS; // for the first line, which may come while we start
    while (!atomic_load(&sdk.stopping)) {
        unsigned asked = atomic_load(&sdk.flush_asked);
        pthread_mutex_lock(&sdk.drain);
        said = logged = false;
        n_merged = 0;
        running = true;
        bool any = round_locked(&sdk, asked != atomic_load(&sdk.flush_done)), line = said, few = n_merged < FEW_RECORDS;
        running = false;
        line_at = logged || sdk.span_events ? INT64_MAX : line_at; // now, as soon as that is known
        pthread_mutex_unlock(&sdk.drain);
        if (atomic_exchange(&sdk.flush_done, asked) != asked)
            futex_wake(&sdk.flush_done);
        int64_t now = clock_mono_ns();
        if (any)
            busy_at = now;
        line_at = line_at < now ? line_at : now;
        bool quiet = few && now - line_at > SDK_DOZE_AFTER_NS;
        enum sdk_waker waker = now - busy_at > SDK_DOZE_AFTER_NS ? SDK_WAKE_ALL : quiet ? SDK_WAKE_LINES : SDK_WAKE_NOBODY;
        wait = wait * 2 < SDK_POLL_MAX_NS ? wait * 2 : SDK_POLL_MAX_NS;
        if (any)
            wait = line ? SDK_POLL_NS : SDK_POLL_SPANS_NS;
        if (quiet)
            wait = SDK_POLL_QUIET_NS;
        rest(now, waker, wait, level_turn(now), asked);
    }
    return NULL;
}

void sdk_wake(void)
{
    int how = atomic_load(&sdk.dozing);
    if ((how == SDK_DOZE || how == SDK_NAP) && atomic_compare_exchange_strong(&sdk.dozing, &how, SDK_AWAKE))
        futex_wake(&sdk.dozing);
}

void sdk_pressed(void)
{
    if (atomic_load_explicit(&sdk.dozing, memory_order_relaxed) == SDK_NAP)
        sdk_wake();
}

__attribute__((cold)) void sdk_wrote_slow(void)
{
    int saved = errno;
    if (atomic_load(&sdk.dozing) == SDK_GONE) // nobody else writes it out
        backend_run(true);
    else
        sdk_wake();
    errno = saved;
}

// From now on every record is written by its own thread.
static void gone(void)
{
    atomic_store(&sdk.dozing, SDK_GONE);
    atomic_store(&sdk_hot.wake, SDK_WAKE_ALL);
}

void backend_start(void)
{
    sigset_t all, old;
    sdk.stopping = false;
    sdk.dozing = SDK_AWAKE;
    sdk_hot.wake = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); // the application's signals are not for our threads
    sdk.has_thread = pthread_create(&thread, NULL, loop, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!sdk.has_thread)
        gone();
}

bool backend_flush(int64_t until)
{
    if (running) // it would wait for itself
        return false;
    atomic_store(&sdk.flush_until, until);
    if (!sdk.has_thread) {
        backend_run(true);
        return atomic_load(&sdk.flush_ok);
    }
    unsigned ticket = atomic_fetch_add(&sdk.flush_asked, 1) + 1, done;
    sdk_wake();
    while ((int)((done = atomic_load(&sdk.flush_done)) - ticket) < 0) {
        int64_t left = until - clock_mono_ns();
        if (left <= 0)
            return false;
        futex_wait(&sdk.flush_done, (int)done, left < SDK_POLL_MAX_NS ? left : SDK_POLL_MAX_NS);
    }
    return atomic_load(&sdk.flush_ok);
}

void backend_stop(int64_t until)
{
    if (running) { // a callback has called exit(): what is finished goes out
        sinks_turn(&sdk.pipe, until);
        sinks_end();
    }
    atomic_store(&sdk.stopping, true);
    if (running)
        return;
    sdk_wake();
    if (sdk.has_thread) {
        struct timespec ts;
        int64_t now = clock_mono_ns(), grace = now + STOP_GRACE_NS; // it does not block in a write, mostly
        int64_t at = clock_wall_ns() + ((until > grace ? until : grace) - now);
        ts = (struct timespec){at / 1000000000, at % 1000000000};
        // Blocked in a write to a terminal or pipe that nobody reads: leave it behind.
        if (pthread_timedjoin_np(thread, NULL, &ts) != 0) {
            pthread_detach(thread);
            return;
        }
    }
    sdk.has_thread = false;
    gone();
    backend_run(true);
    pthread_mutex_lock(&sdk.drain);
    sinks_end();
    pthread_mutex_unlock(&sdk.drain);
}
