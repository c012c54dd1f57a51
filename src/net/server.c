// The server's sockets: listening, accepting, reading, writing, idle connections, stopping.
#include "net/server.h"
#include "base/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_LEN = 24, READS_A_TURN = 4, ACCEPTS_A_TURN = 64, BACKLOG = 1024, TLS_PIECE = 16 << 10, WIRE_SOFT = 256 << 10 };
#define SWEEP_NS 500000000ll

struct http_server *conn_server(const struct conn *c)
{
    return c->sl->server;
}

void conn_done(struct conn *c)
{
    c->dead = true;
}

// ---- sending --------------------------------------------------------------------------------------------------------
static void progress(struct conn *c)
{
    c->active = c->sent = loop_now(c->sl->loop);
}

// False when the socket is full.
static bool send_queue(struct conn *c, struct seg_queue *q)
{
    size_t before = q->n;
    enum segs_result r = segs_send(q, c->fd);
    if (q->n < before)
        progress(c);
    if (r == SEGS_BROKEN)
        conn_done(c);
    return r != SEGS_FULL;
}

// Sends ciphertext; false when the socket is full.
static bool send_wire(struct conn *c)
{
    if (!tls_output(c->tls, &c->wire))
        conn_done(c);
    return send_queue(c, &c->wire);
}

// Encrypts what is to be sent, and sends it. False when the socket is full: what does not fit into it waits as ciphertext.
static bool seal(struct conn *c)
{
    struct iovec v[SEG_IOVECS];
    if (!send_wire(c))
        return false;
    ssize_t n = tls_push_all(c->tls, v, (size_t)segs_iov(&c->out, v, SEG_IOVECS), WIRE_SOFT);
    if (n < 0) {
        conn_done(c);
        return true;
    }
    segs_drop(&c->out, (size_t)n);
    progress(c);
    send_wire(c);
    return true;
}

// Tells the client that nothing more comes, if that can be done at once.
static void goodbye(struct conn *c)
{
    if (!c->tls || !c->tls_ready || c->wire.n)
        return;
    tls_close(c->tls);
    send_wire(c);
}

// ---- one connection -------------------------------------------------------------------------------------------------
static void accept_more(struct server_loop *sl)
{
    bool want = !sl->stopping && (sl->n_conns < sl->max_conns || sl->server->o.make_room);
    if (sl->io && want != sl->accepting && loop_io_set(sl->io, want ? LOOP_READ : 0) == ERR_OK)
        sl->accepting = want;
}

static void loop_empty(struct server_loop *sl)
{
    struct http_server *s = sl->server;
    pthread_mutex_lock(&s->lock);
    if (--s->n_open == 0)
        pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->lock);
}

static void conn_free(struct conn *c)
{
    struct server_loop *sl = c->sl;
    while (c->reqs)
        req_detach(c->reqs);
    goodbye(c);
    tls_free(c->tls);
    segs_clear(&c->wire);
    nghttp2_session_del(c->h2);
    loop_io_remove(c->io);
    close(c->fd);
    buf_free(&c->in);
    segs_clear(&c->out);
    if (c->prev)
        c->prev->next = c->next;
    else
        sl->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    mem_free(c);
    sl->n_conns--;
    accept_more(sl);
    if (sl->stopping && !sl->conns)
        loop_empty(sl);
}

// Sends what there is. False when the socket is full.
static bool flush(struct conn *c)
{
    for (;;) {
        if (c->kind == CONN_H2)
            h2_fill(c);
        if (!c->out.n || c->dead)
            return c->tls && !c->dead ? send_wire(c) : true;
        if (!(c->tls ? seal(c) : send_queue(c, &c->out)))
            return false;
    }
}

static void h1_rest(struct conn *c)
{
    size_t n = h1_input(c, c->in.p, c->in.n);
    if (n == c->in.n)
        buf_free(&c->in); // idle connections hold no memory
    else
        buf_drop(&c->in, n);
}

// A connection may be read unless it holds bytes enough that nobody consumes yet.
static bool wants_read(const struct conn *c)
{
    if (c->eof || c->closing)
        return false;
    return c->kind == CONN_H2 ? c->out.n < SERVER_OUT_SOFT * 4 : c->in.n < MAX_HTTP_HEAD;
}

// Ends every visit to a connection: goes on with what waits, sends, decides what to watch. c may be freed.
static void settle(struct conn *c)
{
    bool sent = true;
    for (size_t before = 1; !c->dead && before;) {
        before = 0;
        if (c->kind == CONN_H1 && c->in.n) {
            size_t had = c->in.n;
            h1_rest(c);
            before = had - c->in.n;
        }
        sent = flush(c);
        if (c->kind == CONN_H1 && c->reqs)
            c->reqs->unsent = c->out.n;
        if (!sent)
            break;
    }
    if (!c->dead && sent && c->kind == CONN_H1) {
        bool over = c->closing || (c->state == H1_LINGER && c->eof) || (c->sl->stopping && !c->reqs && c->state == H1_HEAD);
        if (over)
            c->dead = true;
        else if (c->state == H1_LINGER) {
            goodbye(c);
            shutdown(c->fd, SHUT_WR);
        }
    }
    if (!c->dead && c->kind == CONN_H2 && sent &&
        (c->closing || (!nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2)) || (c->goaway && !c->reqs)))
        c->dead = true;
    if (!c->dead && loop_io_set(c->io, (wants_read(c) ? LOOP_READ : 0) | (sent ? 0 : LOOP_WRITE)) != ERR_OK)
        c->dead = true;
    c->busy = false;
    if (c->dead)
        conn_free(c);
}

void conn_kick(struct conn *c)
{
    if (c->busy)
        return;
    c->busy = true;
    settle(c);
}

// The first bytes tell the protocol.
static bool detect(struct conn *c, const char *p, size_t n)
{
    size_t seen = c->in.n, k = n < PREFACE_LEN - seen ? n : PREFACE_LEN - seen;
    if (memcmp(p, preface + seen, k) != 0) {
        c->kind = CONN_H1;
    } else if (seen + k == PREFACE_LEN) {
        c->kind = CONN_H2;
        c->since = 0;
        if (h2_start(c) != ERR_OK)
            conn_done(c);
    }
    return c->kind != CONN_NEW;
}

static void input(struct conn *c, const char *p, size_t n)
{
    c->active = loop_now(c->sl->loop);
    if (c->kind == CONN_NEW && !detect(c, p, n)) {
        c->since = c->since ? c->since : c->active;
        buf_put(&c->in, p, n);
        if (c->in.err != ERR_OK)
            conn_done(c);
        return;
    }
    if (c->dead)
        return;
    if (c->kind == CONN_H2) {
        if (c->in.n)
            h2_input(c, c->in.p, c->in.n);
        buf_free(&c->in);
        if (!c->dead)
            h2_input(c, p, n);
        return;
    }
    size_t used = c->in.n ? 0 : h1_input(c, p, n);
    if (used < n)
        buf_put(&c->in, p + used, n - used);
    if (c->in.err != ERR_OK)
        conn_done(c);
    else if (used == 0)
        h1_rest(c);
}

// A client that speaks plain HTTP to a TLS port gets an answer that it can read.
static void not_tls(struct conn *c)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
                               "this port speaks TLS: use https://\n";
    send(c->fd, text, sizeof text - 1, MSG_NOSIGNAL);
    conn_done(c);
}

static void end_of_input(struct conn *c)
{
    c->eof = true;
    if (c->kind == CONN_H1)
        h1_eof(c);
    else
        conn_done(c);
}

// Ciphertext arrived: what it holds goes to the protocol.
static void unseal(struct conn *c, const char *p, size_t n)
{
    char plain[TLS_PIECE];
    size_t got;
    enum tls_state s = TLS_OK;
    c->active = loop_now(c->sl->loop);
    if (!c->tls_ready && *p != 22 && c->since == 0) {
        not_tls(c);
        return;
    }
    if (!tls_feed(c->tls, p, n)) {
        conn_done(c);
        return;
    }
    if (!c->tls_ready) {
        c->since = c->since ? c->since : c->active;
        s = tls_handshake(c->tls, NULL);
        c->tls_ready = s == TLS_OK;
        if (c->tls_ready)
            c->since = 0;
        send_wire(c); // also the alert that says what was wrong
        if (s == TLS_FAILED || s == TLS_END)
            conn_done(c);
    }
    while (s == TLS_OK && !c->dead) {
        s = tls_pull(c->tls, plain, sizeof plain, &got, NULL);
        if (s == TLS_OK)
            input(c, plain, got);
        else if (s == TLS_END)
            end_of_input(c);
        else if (s == TLS_FAILED)
            conn_done(c);
    }
}

static void on_readable(struct conn *c)
{
    for (int i = 0; i < READS_A_TURN && !c->dead && wants_read(c); i++) {
        ssize_t n = recv(c->fd, c->sl->scratch, SERVER_SCRATCH, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            conn_done(c);
        } else if (n == 0 && c->eof) { // after TLS's own end
            return;
        } else if (n == 0) {
            end_of_input(c);
        } else if (c->tls) {
            unseal(c, c->sl->scratch, (size_t)n);
        } else {
            input(c, c->sl->scratch, (size_t)n);
        }
        if (n < (ssize_t)SERVER_SCRATCH)
            return;
    }
}

static void on_io(struct loop_io *io, unsigned events, void *arg)
{
    struct conn *c = arg;
    c->busy = true;
    if ((events & LOOP_READ) && wants_read(c))
        on_readable(c);
    else if (events & LOOP_HUP)
        conn_done(c);
    settle(c);
}

// ---- accepting ------------------------------------------------------------------------------------------------------
static void peer_name(char *out, size_t n, const struct sockaddr_storage *a)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *s = (const struct sockaddr_in6 *)a;
        if (IN6_IS_ADDR_V4MAPPED(&s->sin6_addr)) {
            inet_ntop(AF_INET, &s->sin6_addr.s6_addr[12], host, sizeof host);
            snprintf(out, n, "%s:%d", host, ntohs(s->sin6_port));
            return;
        }
        inet_ntop(AF_INET6, &s->sin6_addr, host, sizeof host);
        snprintf(out, n, "[%s]:%d", host, ntohs(s->sin6_port));
    } else {
        const struct sockaddr_in *s = (const struct sockaddr_in *)a;
        inet_ntop(AF_INET, &s->sin_addr, host, sizeof host);
        snprintf(out, n, "%s:%d", host, ntohs(s->sin_port));
    }
}

static void accepted(struct server_loop *sl, int fd, const struct sockaddr_storage *a)
{
    int one = 1;
    struct conn *c = mem_zalloc(sizeof *c);
    struct tls_server *tls = sl->server->o.tls;
    if (c && tls)
        c->tls = tls_accept(tls);
    if (!c || (tls && !c->tls) || loop_io_add(sl->loop, fd, LOOP_READ, on_io, c, &c->io, NULL) != ERR_OK) {
        tls_free(c ? c->tls : NULL);
        mem_free(c);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->sl = sl;
    c->fd = fd;
    c->active = c->sent = c->accepted = loop_now(sl->loop);
    buf_init(&c->in, MAX_HTTP_HEAD + SERVER_SCRATCH + TLS_PIECE); // a read may complete a record of TLS that waited
    peer_name(c->peer, sizeof c->peer, a);
    c->next = sl->conns;
    if (c->next)
        c->next->prev = c;
    sl->conns = c;
    sl->n_conns++;
}

// False: there is none to close for another.
static bool room(struct server_loop *sl)
{
    struct conn *quiet = NULL;
    if (sl->n_conns < sl->max_conns)
        return true;
    for (struct conn *c = sl->conns; c; c = c->next)
        if (!c->reqs && (!quiet || c->active < quiet->active))
            quiet = c;
    if (quiet)
        conn_free(quiet);
    return quiet != NULL;
}

static void on_accept(struct loop_io *io, unsigned events, void *arg)
{
    struct server_loop *sl = arg;
    for (int i = 0; i < ACCEPTS_A_TURN && (sl->n_conns < sl->max_conns || sl->server->o.make_room); i++) {
        struct sockaddr_storage a;
        socklen_t n = sizeof a;
        int fd = accept4(sl->fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (room(sl))
                accepted(sl, fd, &a);
            else
                close(fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            // no descriptors: asking again at once would spin; the sweep tries anew
            if (loop_io_set(sl->io, 0) == ERR_OK)
                sl->accepting = false;
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    accept_more(sl);
}

// ---- the sweep: what took too long ----------------------------------------------------------------------------------
// A stream that waits for the client: for the rest of its body, or for room to send.
static bool stuck(const struct conn *c)
{
    for (const struct sreq *r = c->kind == CONN_H2 ? c->reqs : NULL; r; r = r->next) {
        if (!r->refused || r->out.n)
            return true;
    }
    return false;
}

static void check_time(struct conn *c, int64_t now)
{
    struct server_loop *sl = c->sl;
    int64_t quiet = now - c->active, stall = sl->server->o.stall_ns;
    bool lingering = c->kind == CONN_H1 && c->state == H1_LINGER;
    bool shaking = c->tls && !c->tls_ready;
    bool unsent = c->out.n || c->wire.n;
    bool late = c->since && now - c->since > stall;
    bool idle = !c->reqs && !c->out.n && !shaking && (c->kind == CONN_H2 || (!c->since && c->state == H1_HEAD));
    bool body = c->kind == CONN_H1 && (c->state == H1_LENGTH || c->state == H1_CHUNKED);
    c->busy = true;
    if (!unsent)
        c->sent = now;
    if (c->kind == CONN_H2)
        h2_reset_stalled(c, now);
    if ((sl->stopping && now >= sl->stop_at) || (shaking && now - c->accepted > TLS_HANDSHAKE_NS) ||
        (lingering && (quiet > LINGER_NS || late)) || (c->kind == CONN_NEW && !shaking && late) ||
        (unsent && now - c->sent > stall) || (stuck(c) && quiet > stall)) {
        c->dead = true;
    } else if (c->kind == CONN_H1 && (late || (body && quiet > stall))) {
        h1_timeout(c);
    } else if (idle && quiet > sl->server->o.idle_ns) {
        if (c->kind == CONN_H2)
            h2_shutdown(c);
        else
            c->dead = true;
    }
    settle(c);
}

static void on_sweep(struct loop_timer *t, void *arg)
{
    struct server_loop *sl = arg;
    int64_t now = loop_now(sl->loop);
    // the first time, or again when memory was short
    if (!sl->io && !sl->stopping && loop_io_add(sl->loop, sl->fd, LOOP_READ, on_accept, sl, &sl->io, NULL) == ERR_OK)
        sl->accepting = true;
    for (struct conn *next, *c = sl->conns; c; c = next) {
        next = c->next;
        check_time(c, now);
    }
    accept_more(sl);
    const struct http_server_options *o = &sl->server->o;
    int64_t every = (o->idle_ns < o->stall_ns ? o->idle_ns : o->stall_ns) / 4;
    if (!sl->stopping || sl->conns)
        loop_timer_set(t, sl->stopping ? SWEEP_NS / 50 : every < SWEEP_NS ? every : SWEEP_NS);
}

// ---- starting and stopping ------------------------------------------------------------------------------------------
static void start_loop(struct loop_item *it)
{
    struct server_loop *sl = (struct server_loop *)((char *)it - offsetof(struct server_loop, start));
    if (sl->stopping)
        return;
    sl->sweep = loop_timer_new(sl->loop, on_sweep, sl); // here, because timers belong to the loop's thread
    if (sl->sweep)
        on_sweep(sl->sweep, sl);
    else
        loop_post_item(sl->loop, &sl->start); // memory is short: again in the next turn
}

static void stop_loop(struct loop_item *it)
{
    struct server_loop *sl = (struct server_loop *)((char *)it - offsetof(struct server_loop, stop));
    if (sl->stopping)
        return;
    sl->stopping = true;
    sl->stop_at = clock_mono_ns() + sl->server->deadline_ns;
    loop_io_remove(sl->io);
    sl->io = NULL;
    close(sl->fd);
    sl->fd = -1;
    if (!sl->conns)
        loop_empty(sl);
    for (struct conn *next, *c = sl->conns; c; c = next) {
        next = c->next;
        c->busy = true;
        if (c->kind == CONN_H2)
            h2_shutdown(c);
        else if (c->kind == CONN_NEW || (c->state == H1_HEAD && !c->reqs && !c->out.n))
            c->dead = true;
        settle(c);
    }
    if (sl->conns)
        loop_timer_set(sl->sweep, 0);
}

void http_server_stop(struct http_server *s, int64_t deadline_ns)
{
    bool here = false, running = false;
    s->deadline_ns = deadline_ns > 0 ? deadline_ns : 0;
    for (size_t i = 0; i < s->n_loops; i++) {
        struct server_loop *sl = &s->loops[i];
        here = here || (loop_running(sl->loop) && loop_here(sl->loop));
        running = running || loop_running(sl->loop);
        if (!sl->stop.fn) {
            sl->stop.fn = stop_loop;
            loop_post_item(sl->loop, &sl->stop);
        }
    }
    if (here || !running)
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + s->deadline_ns % 1000000000 + 200000000; // the sweep needs a moment for the rest
    until.tv_sec += s->deadline_ns / 1000000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&s->lock);
    while (s->n_open && pthread_cond_timedwait(&s->drained, &s->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&s->lock);
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

// Epoll is shared with the parent: taking a descriptor out of it would take it from the parent.
void http_server_forget(struct http_server *s)
{
    for (size_t i = 0; i < s->n_loops; i++) {
        if (s->loops[i].fd >= 0)
            close(s->loops[i].fd);
        for (const struct conn *c = s->loops[i].conns; c; c = c->next)
            close(c->fd);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_loops; i++) {
        struct server_loop *sl = &s->loops[i];
        loop_unpost(sl->loop, &sl->start);
        loop_unpost(sl->loop, &sl->stop);
        for (struct conn *c; (c = sl->conns);) {
            c->busy = true;
            conn_free(c);
        }
        loop_io_remove(sl->io);
        loop_timer_free(sl->sweep);
        if (sl->fd >= 0)
            close(sl->fd);
        mem_free(sl->scratch);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->drained);
    mem_free(s->loops);
    mem_free(s);
}

static enum errc loops_init(struct http_server *s, const char *address, struct loop *const *loops, size_t n_loops,
                            struct error *err)
{
    size_t max = s->o.max_connections / n_loops;
    for (size_t i = 0; i < n_loops; i++)
        s->loops[i].fd = -1;
    for (size_t i = 0; i < n_loops; i++) {
        struct server_loop *sl = &s->loops[i];
        s->n_loops = s->n_open = i + 1;
        sl->server = s;
        sl->loop = loops[i];
        sl->max_conns = max ? max : 1;
        TRY(listen_on(address, n_loops > 1, &s->port, &sl->fd, err));
        sl->scratch = mem_alloc(SERVER_SCRATCH);
        if (!sl->scratch)
            return ERR(err, NOMEM, "no memory for an HTTP server on %s", address);
    }
    return ERR_OK;
}

enum errc http_server_new(struct http_server **out, const char *address, struct loop *const *loops, size_t n_loops,
                          const struct http_server_options *o, struct error *err)
{
    enum errc rc;
    struct http_server *s = mem_zalloc(sizeof *s);
    if (s && n_loops)
        s->loops = mem_zalloc(n_loops * sizeof *s->loops);
    if (!s || !s->loops) {
        mem_free(s);
        return n_loops ? ERR(err, NOMEM, "no memory for an HTTP server") : ERR(err, BUG, "an HTTP server needs a loop");
    }
    pthread_condattr_t steady; // a wall clock that is set must not stretch the wait of http_server_stop
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->drained, &steady);
    pthread_condattr_destroy(&steady);
    s->o = *o;
    s->o.idle_ns = o->idle_ns > 0 ? o->idle_ns : 75000000000ll;
    s->o.stall_ns = o->stall_ns > 0 ? o->stall_ns : 30000000000ll;
    s->o.max_connections = o->max_connections ? o->max_connections : 4096;
    GO(loops_init(s, address, loops, n_loops, err));
    for (size_t i = 0; i < n_loops; i++) { // the loops may run already: each starts in its own thread
        s->loops[i].start.fn = start_loop;
        loop_post_item(loops[i], &s->loops[i].start);
    }
    *out = s;
    return ERR_OK;
out:
    http_server_free(s);
    return rc;
}
