#include "base/alloc.h"
#include "base/clock.h"
#include "net/loop_internal.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_A_TURN = 256 };

struct loop_io {
    struct loop *loop;
    int fd;
    unsigned events;
    loop_io_fn *fn; // null: removed, freed at the end of the turn
    void *arg;
    struct loop_io *next_dead;
};

struct loop_timer {
    struct loop *loop;
    loop_timer_fn *fn;
    void *arg;
    int64_t at;
    ptrdiff_t pos; // place in the heap, -1 when not set
};

struct loop {
    int ep, wake;
    atomic_bool stop, running;
    _Atomic pthread_t thread;
    int64_t now;
    struct loop_timer **heap;    // smallest `at` first
    size_t n_timers, cap_timers; // in the heap; its room
    size_t n_made;               // timers that exist, set or not
    struct loop_io *dead;
    pthread_mutex_t lock; // guards first, last; taken alone
    struct loop_item *first, *last;
};

struct posted { // what loop_post makes of a function
    struct loop_item item;
    void (*fn)(void *arg);
    void *arg;
};

// ---- timers: a binary heap ------------------------------------------------------------------------------------------
static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
    l->heap[i] = t;
    t->pos = (ptrdiff_t)i;
}

static void heap_up(struct loop *l, size_t i)
{
    struct loop_timer *t = l->heap[i];
    for (; i > 0 && l->heap[(i - 1) / 2]->at > t->at; i = (i - 1) / 2)
        heap_put(l, i, l->heap[(i - 1) / 2]);
    heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i)
{
    struct loop_timer *t = l->heap[i];
    for (size_t c; (c = 2 * i + 1) < l->n_timers; i = c) {
        if (c + 1 < l->n_timers && l->heap[c + 1]->at < l->heap[c]->at)
            c++;
        if (l->heap[c]->at >= t->at)
            break;
        heap_put(l, i, l->heap[c]);
    }
    heap_put(l, i, t);
}

// The heap has room for every timer that exists, so that setting one cannot fail.
struct loop_timer *loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg)
{
    if (l->n_made == l->cap_timers) {
        size_t cap = l->cap_timers ? l->cap_timers * 2 : 64;
        struct loop_timer **heap = mem_realloc(l->heap, cap * sizeof *heap);
        if (!heap)
            return NULL;
        l->heap = heap;
        l->cap_timers = cap;
    }
    struct loop_timer *t = mem_alloc(sizeof *t);
    if (!t)
        return NULL;
    *t = (struct loop_timer){.loop = l, .fn = fn, .arg = arg, .pos = -1};
    l->n_made++;
    return t;
}

void loop_timer_stop(struct loop_timer *t)
{
    struct loop *l = t->loop;
    if (t->pos < 0)
        return;
    size_t i = (size_t)t->pos;
    t->pos = -1;
    struct loop_timer *last = l->heap[--l->n_timers];
    if (last == t)
        return;
    heap_put(l, i, last);
    heap_up(l, i);
    heap_down(l, (size_t)last->pos);
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ns)
{
    struct loop *l = t->loop;
    loop_timer_stop(t);
    t->at = clock_mono_ns() + (delay_ns > 0 ? delay_ns : 0);
    heap_put(l, l->n_timers++, t);
    heap_up(l, l->n_timers - 1);
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    loop_timer_stop(t);
    t->loop->n_made--;
    mem_free(t);
}

// Timers that callbacks set for "now" wait for the next turn: a turn always ends.
static void run_timers(struct loop *l)
{
    int64_t until = l->now;
    while (l->n_timers && l->heap[0]->at <= until) {
        struct loop_timer *t = l->heap[0];
        loop_timer_stop(t);
        t->fn(t, t->arg);
    }
}

// ---- descriptors ----------------------------------------------------------------------------------------------------
static uint32_t to_epoll(unsigned events)
{
    return ((events & LOOP_READ) ? EPOLLIN : 0u) | ((events & LOOP_WRITE) ? EPOLLOUT : 0u) |
           ((events & LOOP_HUP) ? EPOLLRDHUP : 0u);
}

enum errc loop_io_add(struct loop *l, int fd, unsigned events, loop_io_fn *fn, void *arg, struct loop_io **out, struct error *err)
{
    struct loop_io *io = mem_alloc(sizeof *io);
    if (!io)
        return ERR(err, NOMEM, "no memory to watch descriptor %d", fd);
    *io = (struct loop_io){.loop = l, .fd = fd, .events = events, .fn = fn, .arg = arg};
    struct epoll_event ev = {.events = to_epoll(events), .data.ptr = io};
    if (epoll_ctl(l->ep, EPOLL_CTL_ADD, fd, &ev) != 0) {
        enum errc rc = ERR(err, IO, "cannot watch descriptor %d: %s", fd, strerror(errno));
        mem_free(io);
        return rc;
    }
    *out = io;
    return ERR_OK;
}

enum errc loop_io_set(struct loop_io *io, unsigned events)
{
    if (io->events == events)
        return ERR_OK;
    struct epoll_event ev = {.events = to_epoll(events), .data.ptr = io};
    if (epoll_ctl(io->loop->ep, EPOLL_CTL_MOD, io->fd, &ev) != 0)
        return ERR_IO;
    io->events = events;
    return ERR_OK;
}

void loop_io_remove(struct loop_io *io)
{
    if (!io || !io->fn)
        return;
    epoll_ctl(io->loop->ep, EPOLL_CTL_DEL, io->fd, NULL);
    io->fn = NULL; // events of this turn may still point here
    io->next_dead = io->loop->dead;
    io->loop->dead = io;
}

static void bury(struct loop *l)
{
    while (l->dead) {
        struct loop_io *io = l->dead;
        l->dead = io->next_dead;
        mem_free(io);
    }
}

// ---- posts ----------------------------------------------------------------------------------------------------------
static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->wake, &one, sizeof one); // fails only when the counter is full: then it is readable anyway
    (void)n;
}

void loop_post_item(struct loop *l, struct loop_item *it)
{
    it->next = NULL;
    pthread_mutex_lock(&l->lock);
    bool empty = !l->first;
    if (empty)
        l->first = it;
    else
        l->last->next = it;
    l->last = it;
    if (empty) // inside the lock: the loop cannot be freed by what this post sets off before we are done with it
        wake(l);
    pthread_mutex_unlock(&l->lock);
}

void loop_unpost(struct loop *l, struct loop_item *it)
{
    pthread_mutex_lock(&l->lock);
    struct loop_item **at = &l->first, *before = NULL;
    while (*at && *at != it) {
        before = *at;
        at = &before->next;
    }
    if (*at) {
        *at = it->next;
        if (l->last == it)
            l->last = before;
    }
    pthread_mutex_unlock(&l->lock);
}

static void run_posted(struct loop_item *it)
{
    struct posted p = *(struct posted *)it;
    mem_free(it);
    p.fn(p.arg);
}

enum errc loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct posted *p = mem_alloc(sizeof *p);
    if (!p)
        return ERR_NOMEM;
    *p = (struct posted){.item.fn = run_posted, .fn = fn, .arg = arg};
    loop_post_item(l, &p->item);
    return ERR_OK;
}

static struct loop_item *take_posts(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    struct loop_item *it = l->first;
    l->first = l->last = NULL;
    pthread_mutex_unlock(&l->lock);
    return it;
}

static void run_posts(struct loop *l)
{
    for (struct loop_item *next, *it = take_posts(l); it; it = next) {
        next = it->next;
        it->fn(it);
    }
}

// ---- the loop -------------------------------------------------------------------------------------------------------
enum errc loop_new(struct loop **out, struct error *err)
{
    struct loop *l = mem_zalloc(sizeof *l);
    if (!l)
        return ERR(err, NOMEM, "no memory for an event loop");
    l->ep = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (l->ep < 0 || l->wake < 0 || epoll_ctl(l->ep, EPOLL_CTL_ADD, l->wake, &ev) != 0) {
        enum errc rc = ERR(err, IO, "cannot make an event loop: %s", strerror(errno));
        if (l->ep >= 0)
            close(l->ep);
        if (l->wake >= 0)
            close(l->wake);
        mem_free(l);
        return rc;
    }
    pthread_mutex_init(&l->lock, NULL);
    l->now = clock_mono_ns();
    *out = l;
    return ERR_OK;
}

void loop_forget(struct loop *l)
{
    close(l->ep);
    close(l->wake);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    for (struct loop_item *next, *it = take_posts(l); it; it = next) {
        next = it->next;
        if (it->fn == run_posted)
            mem_free(it); // a function posted too late is forgotten
        else
            it->fn(it);
    }
    bury(l);
    close(l->ep);
    close(l->wake);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->heap);
    mem_free(l);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}

bool loop_here(const struct loop *l)
{
    return pthread_equal(l->thread, pthread_self());
}

bool loop_running(const struct loop *l)
{
    return l->running;
}

int64_t loop_now(struct loop *l)
{
    return l->now;
}

static int wait_ms(struct loop *l, int64_t timeout_ns)
{
    if (l->n_timers) {
        int64_t left = l->heap[0]->at - clock_mono_ns();
        left = left > 0 ? left : 0;
        if (timeout_ns < 0 || left < timeout_ns)
            timeout_ns = left;
    }
    if (timeout_ns < 0)
        return -1;
    int64_t ms = (timeout_ns + 999999) / 1000000; // rounded up: a turn before its time would spin
    return ms > 3600000 ? 3600000 : (int)ms;
}

static enum errc turn(struct loop *l, int64_t timeout_ns)
{
    struct epoll_event ev[EVENTS_A_TURN];
    int n = epoll_wait(l->ep, ev, EVENTS_A_TURN, wait_ms(l, timeout_ns));
    l->now = clock_mono_ns();
    if (n < 0)
        return errno == EINTR ? ERR_OK : ERR_IO;
    for (int i = 0; i < n; i++) {
        struct loop_io *io = ev[i].data.ptr;
        if (!io) {
            uint64_t count;
            ssize_t r = read(l->wake, &count, sizeof count);
            (void)r;
            continue;
        }
        uint32_t e = ev[i].events;
        unsigned events = ((e & EPOLLIN) ? LOOP_READ : 0) | ((e & EPOLLOUT) ? LOOP_WRITE : 0) |
                          ((e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ? LOOP_HUP : 0);
        if (io->fn)
            io->fn(io, events, io->arg);
    }
    run_posts(l);
    run_timers(l);
    bury(l);
    return ERR_OK;
}

enum errc loop_turn(struct loop *l, int64_t timeout_ns)
{
    bool outer = atomic_exchange(&l->running, true);
    l->thread = pthread_self();
    enum errc rc = turn(l, timeout_ns);
    if (!outer)
        l->running = false;
    return rc;
}

enum errc loop_run(struct loop *l)
{
    enum errc rc = ERR_OK;
    l->running = true;
    while (rc == ERR_OK && !atomic_load(&l->stop))
        rc = loop_turn(l, -1);
    l->running = false;
    atomic_store(&l->stop, false); // it may run again
    return rc;
}
