#include "net/client.h"
#include "base/clock.h"

enum errc http_client_new(struct http_client **out, struct loop *l, struct error *err)
{
    struct http_client *c = mem_zalloc(sizeof *c);
    if (c)
        c->scratch = mem_alloc(CLIENT_SCRATCH);
    if (!c || !c->scratch) {
        mem_free(c);
        return ERR(err, NOMEM, "no memory for an HTTP client");
    }
    c->loop = l;
    *out = c;
    return ERR_OK;
}

enum errc http_client_tls(struct http_client *c, const struct tls_options *o, struct error *err)
{
    struct tls_context *fresh;
    TRY(tls_client_context(&fresh, o, err));
    tls_context_free(c->tls);
    c->tls = fresh;
    return ERR_OK;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    while (c->calls)
        http_call_cancel(c->calls);
    while (c->conns)
        cconn_free(c->conns);
    tls_context_free(c->tls);
    mem_free(c->scratch);
    mem_free(c);
}

// ---- calls ----------------------------------------------------------------------------------------------------------
static void attach(struct http_call *k, struct cconn *c)
{
    k->conn = c;
    k->cprev = NULL;
    k->cnext = c->calls;
    if (c->calls)
        c->calls->cprev = k;
    c->calls = k;
    c->n_calls++;
}

void call_detach(struct http_call *k)
{
    struct cconn *c = k->conn;
    if (!c)
        return;
    if (k->cprev)
        k->cprev->cnext = k->cnext;
    else
        c->calls = k->cnext;
    if (k->cnext)
        k->cnext->cprev = k->cprev;
    k->conn = NULL;
    if (--c->n_calls == 0)
        c->idle_since = clock_mono_ns();
}

static void call_free(struct http_call *k)
{
    struct http_client *c = k->client;
    if (k->prev)
        k->prev->next = k->next;
    else if (c->calls == k)
        c->calls = k->next;
    if (k->next)
        k->next->prev = k->prev;
    loop_timer_free(k->timer);
    arena_free(&k->arena);
    mem_free(k);
}

void call_finish(struct http_call *k, const struct error *why)
{
    call_detach(k);
    if (k->o.on_done)
        k->o.on_done(k, !why, why, k->o.arg);
    call_free(k);
}

// Leaves the connection in a state where others can use it, or ends it.
static void leave(struct http_call *k)
{
    struct cconn *c = k->conn;
    if (!c)
        return;
    call_detach(k);
    if (c->http2 && c->connected)
        ch2_cancel(c, k->stream);
    else if (!c->http2 || !c->n_calls)
        c->dead = true; // the rest of the reply would be taken for the next one
    cconn_kick(c);
}

void http_call_cancel(struct http_call *k)
{
    struct error e = {0};
    ERR(&e, CANCELLED, "the call was cancelled");
    leave(k);
    call_finish(k, &e);
}

static void on_timer(struct loop_timer *t, void *arg)
{
    struct http_call *k = arg;
    struct error e = {0};
    if (k->conn && k->conn->tls && !k->conn->connected)
        ERR(&e, TIMEOUT, "%s:%d did not finish the TLS handshake within %lld ms", k->url.host, k->url.port,
            (long long)(k->timeout_ns / 1000000));
    else if (k->conn && !k->conn->connected)
        ERR(&e, TIMEOUT, "no connection to %s:%d within %lld ms", k->url.host, k->url.port, (long long)(k->timeout_ns / 1000000));
    ERR(&e, TIMEOUT, "no whole reply from %s:%d within %lld ms", k->url.host, k->url.port, (long long)(k->timeout_ns / 1000000));
    leave(k);
    call_finish(k, &e);
}

// ---- the pool -------------------------------------------------------------------------------------------------------
static struct cconn *find_conn(struct http_client *cl, const struct url *u, bool http2)
{
    struct cconn *found = NULL;
    int64_t now = clock_mono_ns();
    for (struct cconn *next, *c = cl->conns; c; c = next) {
        next = c->next;
        if (c->dead || c->goaway || c->http2 != http2 || c->secure != u->tls || c->port != u->port ||
            strcmp(c->host, u->host) != 0)
            continue;
        if (!c->n_calls && !c->busy && now - c->idle_since > CLIENT_IDLE_NS)
            cconn_free(c);
        else if (http2 ? c->n_calls < CLIENT_H2_STREAMS : !c->n_calls && c->connected)
            found = found && found->idle_since > c->idle_since ? found : c;
    }
    return found;
}

static enum errc place(struct http_call *k, bool fresh, struct error *err)
{
    struct cconn *c = fresh ? NULL : find_conn(k->client, &k->url, k->o.http2);
    if (!c)
        TRY(conn_open(k->client, &k->url, k->o.http2, &c, err));
    attach(k, c);
    if (!c->connected)
        return ERR_OK; // started when the connection stands
    if (c->http2)
        ch2_start(k);
    else
        ch1_start(k);
    // What goes wrong at once is told after the caller has its call in hand: sending happens in a turn of the loop.
    loop_io_set(c->io, LOOP_READ | LOOP_WRITE);
    return ERR_OK;
}

void call_lost(struct http_call *k, const struct error *why)
{
    bool again = k->conn && k->conn->reused && !k->answered && !k->retried;
    call_detach(k);
    if (again) {
        struct error e = {0};
        k->retried = true;
        k->body_at = 0;
        k->sent = false;
        k->fields.n = k->fields.bytes = 0;
        if (place(k, true, &e) == ERR_OK)
            return;
        call_finish(k, &e);
        return;
    }
    call_finish(k, why);
}

static bool bad_text(struct slice s, bool name)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (name ? !http_token_char(c) : (c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return name && !s.n;
}

static enum errc copy_headers(struct http_call *k, const struct http_call_options *o, struct error *err)
{
    struct http_header *h = ARENA_ARRAY(&k->arena, struct http_header, o->n_headers + 1);
    if (!h)
        return ERR(err, NOMEM, "no memory for the request");
    for (size_t i = 0; i < o->n_headers; i++) {
        if (bad_text(o->headers[i].name, true) || bad_text(o->headers[i].value, false))
            return ERR(err, INPUT, "header %zu of the request holds a character that HTTP does not allow", i + 1);
        h[i] = (struct http_header){arena_dup(&k->arena, o->headers[i].name), arena_dup(&k->arena, o->headers[i].value)};
        if (!h[i].name.p || !h[i].value.p)
            return ERR(err, NOMEM, "no memory for the request");
        for (char *p = (char *)(uintptr_t)h[i].name.p; *p; p++) {
            if (*p >= 'A' && *p <= 'Z')
                *p |= 0x20;
        }
    }
    k->o.headers = h;
    return ERR_OK;
}

static enum errc call_copy(struct http_call *k, const struct http_call_options *o, bool borrow, struct error *err)
{
    struct slice url = arena_dup(&k->arena, slice_str(o->url)), method = arena_dup(&k->arena, slice_str(o->method));
    k->o = *o;
    if (!borrow && o->body.n)
        k->o.body = arena_dup(&k->arena, o->body);
    if (!borrow && o->head.n)
        k->o.head = arena_dup(&k->arena, o->head);
    if (!url.p || !method.p || (o->body.n && !k->o.body.p) || (o->head.n && !k->o.head.p))
        return ERR(err, NOMEM, "no memory for the request to %s", o->url);
    if (bad_text(method, true))
        return ERR(err, INPUT, "\"%s\" is not an HTTP method", o->method);
    k->o.url = url.p;
    k->o.method = method.p;
    k->head_request = strcmp(o->method, "HEAD") == 0;
    TRY(url_parse(url.p, &k->url, err));
    return copy_headers(k, o, err);
}

enum errc call_start(struct http_client *c, const struct http_call_options *o, bool borrow, struct http_call **out,
                     struct error *err)
{
    enum errc rc;
    struct http_call *k = mem_zalloc(sizeof *k);
    if (!k)
        return ERR(err, NOMEM, "no memory for a request");
    k->client = c;
    arena_init(&k->arena, MAX_REQUEST_MEMORY);
    k->next = c->calls;
    if (k->next)
        k->next->prev = k;
    c->calls = k;
    GO(call_copy(k, o, borrow, err));
    k->timer = loop_timer_new(c->loop, on_timer, k);
    if (!k->timer) {
        rc = ERR(err, NOMEM, "no memory for a request");
        goto out;
    }
    k->timeout_ns = o->timeout_ns > 0 ? o->timeout_ns : CLIENT_TIMEOUT_NS;
    loop_timer_set(k->timer, k->timeout_ns);
    GO(place(k, false, err));
    if (out)
        *out = k;
    return ERR_OK;
out:
    call_detach(k);
    call_free(k);
    return rc;
}

enum errc http_client_start(struct http_client *c, const struct http_call_options *o, struct http_call **out, struct error *err)
{
    return call_start(c, o, false, out, err);
}
