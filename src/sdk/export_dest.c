// A destination: the list of what waits for it, and the threads that deliver. Each has its own, so that one that hangs holds up
// nobody else.
#define SONDE_TARGET "sonde::export" // of the lines written here
#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "sdk/export_int.h"
#include "sdk/meter_counts.h"
#include "sdk/net_part.h"
#include "sdk/sdk.h"
#include <signal.h>
#include <stdio.h>

// ---- the list (under the lock) --------------------------------------------------------------------------------------
void batch_put(struct export *e, struct export_batch *b)
{
    if (!b || --b->refs)
        return;
    if (b->request.cap > e->spare.cap && b->request.cap <= EXPORT_SPARE_MAX) {
        struct buf less = e->spare;
        e->spare = b->request;
        b->request = less;
    }
    buf_free(&b->request);
    mem_free(b);
}

bool dest_has_room(const struct export_dest *d, size_t n)
{
    return d->waiting + n <= d->q->max && d->bytes <= EXPORT_QUEUE_BYTES;
}

static void insert(struct export_dest *d, struct export_item *it)
{
    struct export_item **at = &d->first;
    while (*at && (*at)->number < it->number)
        at = &(*at)->next;
    it->next = *at;
    *at = it;
}

static void forget(struct export_dest *d, struct export_item *it)
{
    if (it->number) {
        d->waiting -= it->batch->items;
        d->bytes -= it->batch->request.n;
    }
    batch_put(d->e, it->batch);
    mem_free(it);
}

// Not delivered: into the spool, else lost for that reason. Gives up the lock while it writes if `unlock`.
static void set_aside(struct export_dest *d, const struct export_batch *b, enum export_failure why, bool unlock)
{
    struct export_stats *stats = &d->q->stats;
    bool kept = false;
    if (d->spool) {
        if (unlock)
            pthread_mutex_unlock(&d->e->lock);
        kept = spool_put(d->spool, buf_slice(&b->request), b->items, NULL, 0);
        if (unlock)
            pthread_mutex_lock(&d->e->lock);
    }
    d->in_spool = d->in_spool || kept;
    stats->spooled += kept ? b->items : 0;
    stats->failed[d->spool ? EXPORT_SPOOL_LOST : why] += kept ? 0 : b->items;
}

static void *work(void *arg);

static void hire(struct export_dest *d)
{
    sigset_t all, old;
    if (d->n_workers == d->e->concurrency || (d->kind != DEST_OTLP && d->n_workers) || d->busy < d->n_workers)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); // the application's signals are not for our threads
    if (pthread_create(&d->worker[d->n_workers], NULL, work, d) == 0) {
        d->n_workers++;
        d->busy++; // until it says otherwise
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void dest_begin(struct export_dest *d)
{
    if (d->in_spool && !d->n_workers)
        hire(d);
}

// False: no room.
static bool push(struct export_dest *d, struct export_batch *b)
{
    struct export_item *it = NULL;
    if (dest_has_room(d, b->items) && !d->broken)
        it = mem_zalloc(sizeof *it);
    if (!it)
        return false;
    it->batch = b;
    it->number = d->e->numbered;
    b->refs++;
    d->waiting += b->items;
    d->bytes += b->request.n;
    insert(d, it);
    hire(d);
    pthread_cond_signal(&d->wake);
    return true;
}

void export_give(struct export *e, struct export_queue *q, struct export_batch *b)
{
    bool left[DESTS_MAX] = {false};
    size_t n = q->n_dests;
    e->numbered++;
    for (size_t i = 0; i < n; i++)
        if (q->dest[i]->kind != DEST_CUSTOM || !q->dest[i]->custom.simple || q->signal == EXPORT_METRICS)
            left[i] = !push(q->dest[i], b);
    for (size_t i = 0; i < n; i++)
        if (left[i])
            set_aside(q->dest[i], b, EXPORT_QUEUE_FULL, true);
    batch_put(e, b);
}

bool dest_settled(const struct export_dest *d, uint64_t number, unsigned ticket, bool *ok)
{
    bool left = d->first && d->first->number <= number;
    for (unsigned i = 0; i < d->n_workers && !left; i++)
        left = d->doing[i] && d->doing[i]->number && d->doing[i]->number <= number;
    if (left && (int)(d->failed - ticket) >= 0) {
        *ok = false;
        return true;
    }
    return !left;
}

bool dest_idle(const struct export_dest *d)
{
    return d->ended == d->n_workers;
}

void dest_leave(struct export_dest *d)
{
    while (d->first) {
        struct export_item *it = d->first;
        d->first = it->next;
        set_aside(d, it->batch, EXPORT_UNREACHABLE, false);
        forget(d, it);
    }
    for (unsigned i = 0; i < d->n_workers; i++)
        if (d->doing[i] && d->doing[i]->number && !d->doing[i]->counted) { // hangs; whether it arrives nobody knows
            set_aside(d, d->doing[i]->batch, EXPORT_UNREACHABLE, false);
            d->doing[i]->counted = true;
        }
}

// ---- what is to be done ---------------------------------------------------------------------------------------------
// A flush or the end wants an attempt even though it is not yet time for one.
static bool urgent(const struct export_dest *d)
{
    return d->tried != d->e->flush_asked;
}

static struct export_item *from_spool(struct export_dest *d)
{
    struct export_item *it = mem_zalloc(sizeof *it);
    struct export_batch *b = mem_zalloc(sizeof *b);
    unsigned damaged = 0;
    d->in_spool = false; // unless more comes meanwhile
    pthread_mutex_unlock(&d->e->lock);
    bool found = false;
    if (it && b) {
        buf_init(&b->request, MIB(257));
        found = spool_take(d->spool, it->file, &b->request, &b->items, &damaged);
    }
    bool more = found || spool_any(d->spool);
    if (damaged && sdk_tells(SONDE_LEVEL_WARN))
        SONDE_WARN("damaged files removed from the spool", SONDE_UINT("files", damaged), SONDE_STR("endpoint", d->url));
    pthread_mutex_lock(&d->e->lock);
    d->q->stats.failed[EXPORT_SPOOL_LOST] += damaged; // how many records were in them nobody knows
    if (found) {
        it->batch = b;
        b->refs = 1;
        b->signal = d->q->signal;
        return it;
    }
    d->in_spool = d->in_spool || more;
    if (more) // another process delivers, look again later
        d->retry_at = clock_mono_ns() + 1000000000;
    if (b)
        buf_free(&b->request);
    mem_free(b);
    mem_free(it);
    return NULL;
}

// The next item, or null and when to look again.
static struct export_item *pick(struct export_dest *d, int64_t *next)
{
    int64_t now = clock_mono_ns();
    *next = INT64_MAX;
    bool stopped = d->e->stop || d->q->closed;
    if (!d->first && (!d->in_spool || stopped))
        return NULL;
    if (now < d->retry_at && !(d->first && urgent(d))) {
        *next = d->retry_at;
        return NULL;
    }
    struct export_item *it = d->first;
    if (!it)
        return from_spool(d);
    d->first = it->next;
    return it;
}

// ---- one attempt ----------------------------------------------------------------------------------------------------
// The same collector: equal up to the path.
static bool same_origin(const struct export_dest *a, const struct export_dest *b)
{
    const char *slashes = strstr(a->url, "://");
    size_t n = slashes ? (size_t)(slashes - a->url) + 3 : 0;
    n += strcspn(a->url + n, "/");
    return strncmp(a->url, b->url, n) == 0 && (b->url[n] == 0 || b->url[n] == '/');
}

// Notes that the collector is away, for all signals that go there; true if that is news. An attempt that began before the last
// change tells nothing: its answer comes late, or its thread does.
static bool turned(struct export_dest *d, bool away, int64_t began)
{
    struct export *e = d->e;
    pthread_mutex_lock(&e->lock);
    bool before = d->away, late = began < d->turned_at;
    if (late || before == away) {
        pthread_mutex_unlock(&e->lock);
        return false;
    }
    int64_t now = clock_mono_ns();
    for (int i = 0; i < EXPORT_SIGNALS; i++)
        for (size_t k = 0; k < e->q[i].n_dests; k++) {
            struct export_dest *o = e->q[i].dest[k];
            if (same_origin(d, o)) {
                o->away = away;
                o->turned_at = now;
            }
        }
    pthread_mutex_unlock(&e->lock);
    return true;
}

static void say(struct export_dest *d, const struct export_batch *b, const struct attempt *a, int64_t began)
{
    const char *at = d->url;
    if (a->outcome == RETRY) {
        if (turned(d, true, began) && sdk_tells(SONDE_LEVEL_WARN))
            SONDE_WARN("collector unreachable, export waits", SONDE_STR("endpoint", at), SONDE_STR("error", a->why));
        return;
    }
    if (a->outcome == REFUSED) {
        if (!sdk_tells(SONDE_LEVEL_WARN))
            return;
        SONDE_WARN_LIMIT(SONDE_EVERY(5, 0, 10), "collector refused a batch", SONDE_STR("endpoint", at),
                         SONDE_STR("error", a->why), SONDE_UINT("dropped", b->items), SONDE_STR("signal", d->q->word));
        return;
    }
    if (turned(d, false, began) && sdk_tells(SONDE_LEVEL_INFO))
        SONDE_INFO("collector reachable again", SONDE_STR("endpoint", at));
    if ((a->rejected || a->why[0]) && sdk_tells(SONDE_LEVEL_WARN))
        SONDE_WARN_LIMIT(SONDE_EVERY(5, 0, 10), "collector took a batch in part", SONDE_STR("endpoint", at),
                         SONDE_UINT("rejected", a->rejected), SONDE_UINT("sent", b->items), SONDE_STR("signal", d->q->word),
                         SONDE_STR("reason", a->why));
}

static void back_off(struct export_dest *d, const struct attempt *a)
{
    int64_t half = d->backoff_ns / 2, most = (int64_t)EXPORT_BACKOFF_MAX_MS * 1000000;
    int64_t wait = half + (int64_t)(random_u64() % (uint64_t)(half + 1)); // jitter
    d->retry_at = clock_mono_ns() + (a->after > wait ? a->after : wait);
    d->backoff_ns = d->backoff_ns * 2 < most ? d->backoff_ns * 2 : most;
}

// Under the lock: what becomes of the item.
static void settle(struct export_dest *d, struct export_item *it, const struct attempt *a, unsigned ticket)
{
    struct export_queue *q = d->q;
    size_t n = it->batch->items;
    uint64_t rejected = a->rejected < n ? a->rejected : n;
    if (it->counted) {
        forget(d, it);
        return;
    }
    if (a->outcome == RETRY) {
        back_off(d, a);
        // The server is there and time is left: a flush goes on waiting. Otherwise it is told.
        if (!a->answered || !d->e->until || d->retry_at >= d->e->until)
            d->failed = ticket;
        bool over = d->retry_at - it->began >= d->way->timeout_ns; // this export ends; another begins with the next attempt
        if (over)
            it->began = 0;
        q->stats.operations_failed++;
        if (a->broken || (over && q->signal == EXPORT_METRICS)) { // the next reading tells it all again
            q->stats.failed[EXPORT_UNREACHABLE] += n;
            d->broken = a->broken;
        } else if (it->number) {
            insert(d, it);
            return;
        }
    } else {
        d->retry_at = 0;
        d->backoff_ns = (int64_t)EXPORT_BACKOFF_MIN_MS * 1000000;
        q->stats.exported += a->outcome == SENT ? n - rejected : 0;
        q->stats.failed[EXPORT_REJECTED] += a->outcome == SENT ? rejected : 0;
        q->stats.failed[EXPORT_REFUSED] += a->outcome == REFUSED ? n : 0;
        q->stats.operations_failed += a->outcome == REFUSED;
        q->stats.spool_sent += a->outcome == SENT && !it->number ? n : 0;
    }
    if (!it->number) // a file that waits longer is looked at again
        d->in_spool = true;
    forget(d, it);
}

static void deliver(struct export_dest *d, unsigned me, struct export_item *it, struct http_session **session)
{
    struct export *e = d->e;
    struct attempt a;
    int64_t start = clock_mono_ns();
    d->doing[me] = it;
    d->tried = e->flush_asked;
    unsigned ticket = e->flush_asked;
    it->began = it->began ? it->began : start;
    int64_t left = it->began + d->way->timeout_ns - start;
    if (e->until && e->until - start < left)
        left = e->until - start;
    d->q->stats.inflight += it->batch->items;
    pthread_mutex_unlock(&e->lock);
    if (left > 0)
        export_attempt(d, session, it->batch, left, &a);
    else
        a = (struct attempt){.outcome = RETRY, .after = -1};
    int64_t took = clock_mono_ns() - start;
    if (left > 0) {
        meter_self_operation(d->q->signal, took, a.outcome == SENT);
        say(d, it->batch, &a, start);
    }
    if (it->file[0])
        spool_done(d->spool, it->file, a.outcome != RETRY);
    pthread_mutex_lock(&e->lock);
    d->q->stats.inflight -= it->batch->items;
    d->q->stats.operations++;
    d->q->stats.operation_ns += (uint64_t)took;
    d->doing[me] = NULL;
    settle(d, it, &a, ticket);
    pthread_cond_broadcast(&e->done);
}

static void *work(void *arg)
{
    struct export_dest *d = arg;
    struct export *e = d->e;
    struct http_session *session = NULL;
    int64_t next;
    pthread_setname_np(pthread_self(), "sonde-send");
    pthread_mutex_lock(&e->lock);
    d->busy--;
    unsigned me = 0;
    while (!pthread_equal(d->worker[me], pthread_self()))
        me++;
    for (;;) {
        struct export_item *it = pick(d, &next);
        if (it) {
            d->busy++;
            if (d->first)
                hire(d);
            deliver(d, me, it, &session);
            d->busy--;
            continue;
        }
        if ((e->stop && e->finished && (!d->first || (int)(d->failed - e->flush_asked) >= 0)) || (d->q->closed && !d->first))
            break;
        if (e->stop && e->finished && next < INT64_MAX && next >= e->until)
            break;
        if (next == INT64_MAX) {
            pthread_cond_wait(&d->wake, &e->lock);
        } else {
            struct timespec ts = {next / 1000000000, next % 1000000000};
            pthread_cond_timedwait(&d->wake, &e->lock, &ts);
        }
    }
    d->ended++;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
    if (session)
        net_part()->session_free(session);
    return NULL;
}
