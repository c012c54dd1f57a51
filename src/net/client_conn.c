// The client's sockets: finding addresses, connecting, reading, writing.
#include "base/fd.h"
#include "net/client.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READS_A_TURN = 4, TLS_PIECE = 16 << 10, WIRE_SOFT = 256 << 10 };

// ---- addresses ------------------------------------------------------------------------------------------------------
static void add4(struct cconn *c, struct in_addr a)
{
    struct sockaddr_in *s = (struct sockaddr_in *)&c->addr[c->n_addr++];
    *s = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port), .sin_addr = a};
}

static void add6(struct cconn *c, struct in6_addr a)
{
    struct sockaddr_in6 *s = (struct sockaddr_in6 *)&c->addr[c->n_addr++];
    *s = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)c->port), .sin6_addr = a};
}

// Numbers and localhost need no resolver; other names ask it, which blocks the thread for as long as it takes.
static enum errc resolve(struct cconn *c, struct error *err)
{
    struct in_addr a4;
    struct in6_addr a6;
    if (inet_pton(AF_INET, c->host, &a4) == 1) {
        add4(c, a4);
        return ERR_OK;
    }
    if (inet_pton(AF_INET6, c->host, &a6) == 1) {
        add6(c, a6);
        return ERR_OK;
    }
    if (slice_ieq(slice_str(c->host), SLICE("localhost"))) {
        add4(c, (struct in_addr){htonl(INADDR_LOOPBACK)});
        add6(c, in6addr_loopback);
        return ERR_OK;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(c->host, NULL, &hints, &list);
    if (rc != 0)
        return ERR(err, NET, "cannot find the address of %s: %s", c->host, gai_strerror(rc));
    for (struct addrinfo *a = list; a && c->n_addr < CLIENT_ADDRESSES; a = a->ai_next) {
        if (a->ai_family == AF_INET)
            add4(c, ((struct sockaddr_in *)a->ai_addr)->sin_addr);
        else if (a->ai_family == AF_INET6)
            add6(c, ((struct sockaddr_in6 *)a->ai_addr)->sin6_addr);
    }
    freeaddrinfo(list);
    return c->n_addr ? ERR_OK : ERR(err, NET, "%s has no address", c->host);
}

// ---- TLS ------------------------------------------------------------------------------------------------------------
static void settle(struct cconn *c);

static void on_handshake_timer(struct loop_timer *t, void *arg)
{
    struct cconn *c = arg;
    struct error err = {0};
    ERR(&err, TIMEOUT, "%s:%d did not finish the TLS handshake within %d s", c->host, c->port,
        (int)(TLS_HANDSHAKE_NS / 1000000000));
    c->busy = true;
    cconn_lose(c, &err);
    settle(c);
}

static void tls_broke(struct cconn *c, struct error *why)
{
    error_prefix(why, "https://%s:%d: ", c->host, c->port);
    cconn_lose(c, why);
}

static void tls_begin(struct cconn *c)
{
    struct error err = {0};
    if (!c->client->tls && http_client_tls(c->client, NULL, &err) != ERR_OK) {
        tls_broke(c, &err);
        return;
    }
    c->tls = tls_client(c->client->tls, c->host, c->http2);
    c->handshake = loop_timer_new(c->client->loop, on_handshake_timer, c);
    if (c->tls && c->handshake) {
        loop_timer_set(c->handshake, TLS_HANDSHAKE_NS);
        return;
    }
    ERR(&err, NOMEM, "no memory for TLS");
    tls_broke(c, &err);
}

// Sends ciphertext; false when the socket is full.
static bool send_wire(struct cconn *c)
{
    if (!tls_output(c->tls, &c->wire))
        c->dead = true;
    enum segs_result r = c->write_failed ? SEGS_SENT : segs_send(&c->wire, c->fd);
    c->write_failed = c->write_failed || r == SEGS_BROKEN;
    return r != SEGS_FULL;
}

// Tells the other side that nothing more comes, if that can be done at once.
static void goodbye(struct cconn *c)
{
    if (!c->tls || c->fd < 0 || !c->connected || c->wire.n)
        return;
    tls_close(c->tls);
    send_wire(c);
}

// ---- the end --------------------------------------------------------------------------------------------------------
void cconn_free(struct cconn *c)
{
    struct http_client *cl = c->client;
    goodbye(c);
    if (c->h2)
        nghttp2_session_del(c->h2);
    loop_io_remove(c->io);
    if (c->fd >= 0)
        close(c->fd);
    loop_timer_free(c->handshake);
    tls_free(c->tls);
    segs_clear(&c->wire);
    segs_clear(&c->out);
    buf_free(&c->in);
    if (c->prev)
        c->prev->next = c->next;
    else
        cl->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    mem_free(c);
}

void cconn_lose(struct cconn *c, const struct error *why)
{
    struct error e = *why; // `why` may live in a call
    c->dead = true;
    while (c->calls)
        call_lost(c->calls, &e);
}

// ---- connecting -----------------------------------------------------------------------------------------------------
static void on_io(struct loop_io *io, unsigned events, void *arg);

static void drop_socket(struct cconn *c)
{
    loop_io_remove(c->io);
    c->io = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

// Tries the addresses from at_addr on.
static enum errc try_connect(struct cconn *c, int *why)
{
    for (; c->at_addr < c->n_addr; c->at_addr++) {
        int one = 1;
        struct sockaddr_storage *a = &c->addr[c->at_addr];
        socklen_t n = a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        drop_socket(c);
        c->fd = fd_above_standard(socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (c->fd >= 0) {
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            if ((connect(c->fd, (struct sockaddr *)a, n) == 0 || errno == EINPROGRESS) &&
                loop_io_add(c->client->loop, c->fd, LOOP_WRITE, on_io, c, &c->io, NULL) == ERR_OK)
                return ERR_OK;
        }
        *why = errno;
    }
    drop_socket(c);
    return ERR_NET;
}

static enum errc connect_failed(const struct cconn *c, int e, struct error *err)
{
    return ERR(err, NET, "cannot connect to %s:%d: %s", c->host, c->port, strerror(e));
}

enum errc conn_open(struct http_client *cl, const struct url *u, bool http2, struct cconn **out, struct error *err)
{
    int e = 0;
    enum errc rc;
    struct cconn *c = mem_zalloc(sizeof *c);
    if (!c)
        return ERR(err, NOMEM, "no memory for a connection");
    c->client = cl;
    c->fd = -1;
    c->port = u->port;
    c->http2 = http2;
    c->secure = u->tls;
    snprintf(c->host, sizeof c->host, "%s", u->host);
    buf_init(&c->in, MAX_HTTP_HEAD + CLIENT_SCRATCH);
    c->next = cl->conns;
    if (c->next)
        c->next->prev = c;
    cl->conns = c;
    GO(resolve(c, err));
    if (try_connect(c, &e) != ERR_OK) {
        rc = connect_failed(c, e, err);
        goto out;
    }
    *out = c;
    return ERR_OK;
out:
    cconn_free(c);
    return rc;
}

static void ready(struct cconn *c);

static void on_connect(struct cconn *c)
{
    int e = 0;
    socklen_t n = sizeof e;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n);
    if (e) {
        c->at_addr++;
        if (try_connect(c, &e) != ERR_OK) {
            struct error err = {0};
            connect_failed(c, e, &err);
            cconn_lose(c, &err);
        }
        return;
    }
    if (c->secure)
        tls_begin(c);
    else
        ready(c);
}

static void handshake(struct cconn *c)
{
    struct error err = {0};
    enum tls_state s = tls_handshake(c->tls, &err);
    if (s == TLS_WAIT)
        return;
    if (s != TLS_OK) {
        ERR(&err, NET, "the other side ended the TLS handshake");
        send_wire(c); // the alert that says why
        tls_broke(c, &err);
        return;
    }
    loop_timer_stop(c->handshake);
    if (c->http2 && !tls_is_h2(c->tls)) {
        ERR(&err, NET, "the other side does not speak HTTP/2 over TLS; is this a gRPC server?");
        tls_broke(c, &err);
        return;
    }
    ready(c);
}

static void ready(struct cconn *c)
{
    c->connected = true;
    if (c->http2 && ch2_session(c) != ERR_OK) {
        struct error err = {0};
        ERR(&err, NOMEM, "no memory for an HTTP/2 session");
        cconn_lose(c, &err);
        return;
    }
    for (struct http_call *next, *k = c->calls; k; k = next) {
        next = k->cnext;
        if (c->http2)
            ch2_start(k);
        else
            ch1_start(k);
    }
}

// ---- reading and writing --------------------------------------------------------------------------------------------
static void lost(struct cconn *c, int e)
{
    struct error err = {0};
    if (e)
        ERR(&err, NET, "the connection to %s:%d broke: %s", c->host, c->port, strerror(e));
    else
        ERR(&err, CLOSED, "%s:%d closed the connection before the reply was whole", c->host, c->port);
    cconn_lose(c, &err);
}

// The other side sends no more.
static void ended(struct cconn *c)
{
    if (!c->http2)
        ch1_eof(c);
    lost(c, 0);
}

// Queued bytes, then (HTTP/1) the body straight from the call.
static int gather(struct cconn *c, struct iovec *v)
{
    int n = segs_iov(&c->out, v, SEG_IOVECS - 1);
    struct http_call *k = c->http2 ? NULL : c->calls;
    if (k && k->sent && k->body_at < k->o.body.n)
        v[n++] = (struct iovec){(char *)(uintptr_t)k->o.body.p + k->body_at, k->o.body.n - k->body_at};
    return n;
}

// Encrypts what is to be sent, and sends it; as sendmsg. What does not fit into the socket waits as ciphertext.
static ssize_t seal(struct cconn *c, const struct iovec *v, size_t n_v)
{
    if (c->wire.n && !send_wire(c)) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t done = tls_push_all(c->tls, v, n_v, WIRE_SOFT);
    if (done >= 0)
        send_wire(c);
    return done;
}

// False when the socket is full.
static bool flush(struct cconn *c)
{
    while (!c->dead && !c->write_failed) {
        if (c->http2)
            ch2_fill(c);
        struct iovec v[SEG_IOVECS];
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)gather(c, v)};
        if (!m.msg_iovlen)
            return c->tls ? send_wire(c) : true;
        ssize_t n = c->tls ? seal(c, v, m.msg_iovlen) : sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) { // an answer may have come before the connection broke: the reading side decides
            c->write_failed = true;
            return true;
        }
        size_t queued = (size_t)n < c->out.n ? (size_t)n : c->out.n;
        segs_drop(&c->out, queued);
        if (!c->http2 && c->calls)
            c->calls->body_at += (size_t)n - queued;
    }
    return true;
}

// The handshake's first bytes are ours, and each answer.
static bool shake(struct cconn *c)
{
    handshake(c);
    return c->dead || send_wire(c);
}

// Sends what can be sent, watches for what is awaited, and frees a connection that is dead.
static void settle(struct cconn *c)
{
    bool sent = true;
    if (!c->dead && c->tls && !c->connected)
        sent = shake(c);
    if (!c->dead && c->connected)
        sent = flush(c);
    if (!c->dead && c->http2 && c->connected &&
        ((c->goaway && !c->n_calls) || (!nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2))))
        c->dead = true;
    if (!c->dead && loop_io_set(c->io, c->connected || c->tls ? LOOP_READ | (sent ? 0 : LOOP_WRITE) : LOOP_WRITE) != ERR_OK)
        c->dead = true;
    if (c->dead && c->calls)
        lost(c, 0);
    c->busy = false;
    if (c->dead)
        cconn_free(c);
}

void cconn_kick(struct cconn *c)
{
    if (c->busy)
        return;
    c->busy = true;
    settle(c);
}

static void input(struct cconn *c, const char *p, size_t n)
{
    if (c->http2)
        ch2_input(c, p, n);
    else
        ch1_input(c, p, n);
}

// Ciphertext arrived: what it holds goes to the protocol.
static void unseal(struct cconn *c, const char *p, size_t n)
{
    struct error err = {0};
    char plain[TLS_PIECE];
    size_t got;
    if (!tls_feed(c->tls, p, n)) {
        lost(c, ENOMEM);
        return;
    }
    if (!c->connected)
        handshake(c);
    while (!c->dead && c->connected) {
        enum tls_state s = tls_pull(c->tls, plain, sizeof plain, &got, &err);
        if (s == TLS_OK)
            input(c, plain, got);
        else if (s == TLS_FAILED)
            tls_broke(c, &err);
        else if (s == TLS_END)
            ended(c);
        if (s != TLS_OK)
            return;
    }
}

static void on_readable(struct cconn *c)
{
    for (int i = 0; i < READS_A_TURN && !c->dead; i++) {
        ssize_t n = recv(c->fd, c->client->scratch, CLIENT_SCRATCH, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (c->write_failed)
                lost(c, EPIPE);
            return;
        }
        if (n < 0)
            lost(c, errno);
        else if (n == 0 && c->tls) // without TLS's goodbye a reply may have been cut by anybody
            lost(c, 0);
        else if (n == 0)
            ended(c);
        else if (c->tls)
            unseal(c, c->client->scratch, (size_t)n);
        else
            input(c, c->client->scratch, (size_t)n);
        if (n < (ssize_t)CLIENT_SCRATCH)
            return;
    }
}

static void on_io(struct loop_io *io, unsigned events, void *arg)
{
    struct cconn *c = arg;
    c->busy = true;
    if (!c->connected && !c->tls)
        on_connect(c);
    else if (events & (LOOP_READ | LOOP_HUP))
        on_readable(c);
    settle(c);
}
