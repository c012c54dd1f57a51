#define SONDE_TARGET "sonde::export" // of the lines that it writes itself
#include "sdk/export.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/pb.h"
#include "net/http.h"
#include "sdk/encode.h"
#include "sdk/sdk.h"
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADERS_MAX = 32, SIGNALS = 2 };

// One signal: where it goes and what waits.
struct queue {
    const char *word, *env; // "traces", "TRACES"
    const char *grpc_path;
    bool on, grpc, gzip;
    char url[1024];
    char header_text[4096];
    struct http_header header[HEADERS_MAX];
    size_t n_headers;
    int64_t delay_ns, timeout_ns;
    size_t batch, max;
    // under the lock
    struct buf bytes;
    struct encode_message *m;
    size_t n, cap;
    int64_t first_at; // when the oldest of m came
    uint64_t sent, dropped;
    // the thread's own: taken from m, being sent
    struct buf out_bytes;
    struct encode_message *out;
    size_t out_n, out_at, out_cap;
    int64_t retry_at, backoff_ns;
    struct http_session *session;
};

struct export
{
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t thread;
    bool has_thread, stop, finished;
    unsigned flush_asked, flush_done;
    bool flush_ok;
    int64_t until; // deadline of the flush or stop that is under way
    bool away;
    struct queue q[SIGNALS]; // traces, logs
    struct buf resource;
};

// ---- settings -----------------------------------------------------------------------------------------------------------
// OTEL_EXPORTER_OTLP_<signal>_<what>, else OTEL_EXPORTER_OTLP_<what>; blank counts as unset.
static struct slice otlp_env(const char *signal, const char *what, bool *own)
{
    char name[96];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s_%s", signal, what);
    const char *v = getenv(name);
    struct slice s = slice_trim(slice_str(v ? v : ""));
    *own = s.n > 0;
    if (!s.n) {
        snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s", what);
        v = getenv(name);
        s = slice_trim(slice_str(v ? v : ""));
    }
    return s;
}

static uint64_t number_env(const char *name, uint64_t otherwise, uint64_t min, uint64_t max)
{
    const char *v = getenv(name);
    uint64_t n;
    if (!v || !*v)
        return otherwise;
    if (slice_to_u64(slice_trim(slice_str(v)), &n) && n >= min && n <= max)
        return n;
    char text[300];
    sdk_note(text, (size_t)snprintf(text, sizeof text, "sonde: %s: '%.60s' is not a number from %llu to %llu; %llu is used\n",
                                    name, v, (unsigned long long)min, (unsigned long long)max, (unsigned long long)otherwise));
    return otherwise;
}

static void complain(const char *signal, const char *what, struct slice value, const char *why)
{
    char text[400];
    int n = snprintf(text, sizeof text, "sonde: OTEL_EXPORTER_OTLP_[%s_]%s: '%.*s' %s\n", signal, what,
                     (int)(value.n < 100 ? value.n : 100), value.p, why);
    sdk_note(text, (size_t)n);
}

static size_t unescape(char *out, struct slice in)
{
    size_t o = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t byte = (uint8_t)in.p[i];
        if (byte == '%' && i + 2 < in.n && hex_decode(&byte, 1, slice_of(in.p + i + 1, 2)))
            i += 2;
        out[o++] = (char)byte;
    }
    return o;
}

static bool header_ok(struct slice name, const char *value, size_t n)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !memchr("!#$%&'*+-.^_`|~", name.p[i], 15))
            return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return false;
    return name.n > 0;
}

static void read_headers(struct queue *q)
{
    bool own;
    struct slice rest = otlp_env(q->env, "HEADERS", &own), part;
    size_t used = 0;
    while (rest.n && slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        ptrdiff_t eq = slice_find(part, SLICE("="));
        if (!part.n)
            continue;
        struct slice name = eq > 0 ? slice_trim(slice_cut(part, (size_t)eq)) : SLICE_NONE;
        struct slice value = eq > 0 ? slice_trim(slice_from(part, (size_t)eq + 1)) : SLICE_NONE;
        if (q->n_headers == HEADERS_MAX || used + name.n + value.n > sizeof q->header_text) {
            complain(q->env, "HEADERS", part, "is left out: too many headers");
            continue;
        }
        char *at = q->header_text + used;
        for (size_t i = 0; i < name.n; i++)
            at[i] = (char)tolower((unsigned char)name.p[i]);
        size_t n = unescape(at + name.n, value);
        if (!header_ok(slice_of(at, name.n), at + name.n, n)) {
            complain(q->env, "HEADERS", part, "is left out: a header is name=value");
            continue;
        }
        q->header[q->n_headers++] = (struct http_header){slice_of(at, name.n), slice_of(at + name.n, n)};
        used += name.n + n;
    }
}

static void read_protocol(struct queue *q)
{
    bool own;
    struct slice v = otlp_env(q->env, "PROTOCOL", &own);
    q->grpc = !slice_ieq(v, SLICE("http/protobuf"));
    if (v.n && q->grpc && !slice_ieq(v, SLICE("grpc")))
        complain(q->env, "PROTOCOL", v, "is neither grpc nor http/protobuf; grpc is used");
    v = otlp_env(q->env, "COMPRESSION", &own);
    q->gzip = slice_ieq(v, SLICE("gzip"));
    if (v.n && !q->gzip && !slice_ieq(v, SLICE("none")))
        complain(q->env, "COMPRESSION", v, "is neither gzip nor none; none is used");
    v = otlp_env(q->env, "TIMEOUT", &own);
    uint64_t ms = EXPORT_TIMEOUT_MS;
    if (v.n && (!slice_to_u64(v, &ms) || ms == 0 || ms > 600000)) {
        complain(q->env, "TIMEOUT", v, "is not a number of milliseconds; 10000 is used");
        ms = EXPORT_TIMEOUT_MS;
    }
    q->timeout_ns = (int64_t)ms * 1000000;
}

static bool read_endpoint(struct queue *q)
{
    bool own;
    struct slice v = otlp_env(q->env, "ENDPOINT", &own);
    if (!v.n)
        v = q->grpc ? SLICE("http://localhost:4317") : SLICE("http://localhost:4318");
    const char *scheme = slice_find(v, SLICE("://")) < 0 ? "http://" : "";
    struct url url;
    struct error err = {0};
    while (!own && v.n && v.p[v.n - 1] == '/')
        v.n--;
    int n = snprintf(q->url, sizeof q->url, "%s%.*s%s%s", scheme, (int)v.n, v.p, q->grpc || own ? "" : "/v1/",
                     q->grpc || own ? "" : q->word);
    if (n >= (int)sizeof q->url || url_parse(q->url, &url, &err) != ERR_OK) {
        complain(q->env, "ENDPOINT", v, "is no URL of the form http://host:port; this signal is not exported");
        return false;
    }
    return true;
}

static void configure(struct queue *q, const char *prefix)
{
    char name[64];
    const char *v;
    snprintf(name, sizeof name, "OTEL_%s_EXPORTER", q->env);
    v = getenv(name);
    if (v && strcmp(v, "none") == 0)
        return;
    read_protocol(q);
    read_headers(q);
    q->on = read_endpoint(q);
    snprintf(name, sizeof name, "OTEL_%s_SCHEDULE_DELAY", prefix);
    q->delay_ns = (int64_t)number_env(name, EXPORT_DELAY_MS, 0, 3600000) * 1000000;
    snprintf(name, sizeof name, "OTEL_%s_MAX_QUEUE_SIZE", prefix);
    q->max = number_env(name, EXPORT_QUEUE, 1, 1 << 22);
    snprintf(name, sizeof name, "OTEL_%s_MAX_EXPORT_BATCH_SIZE", prefix);
    q->batch = number_env(name, EXPORT_BATCH, 1, 1 << 16);
    if (q->batch > q->max)
        q->batch = q->max;
    buf_init(&q->bytes, EXPORT_QUEUE_BYTES + MIB(8));
    buf_init(&q->out_bytes, EXPORT_QUEUE_BYTES + MIB(8));
    q->backoff_ns = (int64_t)EXPORT_BACKOFF_MIN_MS * 1000000;
}

// ---- filling the queues (the backend) -------------------------------------------------------------------------------------
// Room for one more message; else it is counted as dropped. Under the lock.
static struct encode_message *queue_add(struct queue *q, struct slice scope)
{
    if (q->n + (q->out_n - q->out_at) >= q->max || q->bytes.n > EXPORT_QUEUE_BYTES || q->bytes.err != ERR_OK) {
        q->dropped++;
        return NULL;
    }
    if (q->n == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 256;
        struct encode_message *m = mem_realloc(q->m, cap * sizeof *m);
        if (!m) {
            q->dropped++;
            return NULL;
        }
        q->m = m;
        q->cap = cap;
    }
    q->m[q->n] = (struct encode_message){.scope = scope, .at = q->bytes.n};
    return &q->m[q->n];
}

static void queue_added(struct export *e, struct queue *q)
{
    struct encode_message *m = &q->m[q->n];
    if (q->bytes.err != ERR_OK) { // the message did not fit whole; forget its beginning
        q->bytes.err = ERR_OK;
        q->bytes.n = m->at;
        q->dropped++;
        return;
    }
    m->n = q->bytes.n - m->at;
    if (q->n++ == 0)
        q->first_at = clock_mono_ns();
    if (q->n == 1 || q->n == q->batch)
        pthread_cond_signal(&e->wake);
}

static void add_log(void *arg, const struct line *l)
{
    struct export *e = arg;
    struct queue *q = &e->q[1];
    // The library's own lines have no site that lives on: their scope is a literal.
    struct slice scope = l->message.p ? SLICE("sonde") : l->site->target;
    if (!q->on)
        return;
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, scope)) {
        encode_log(&q->bytes, l, clock_wall_ns());
        queue_added(e, q);
    }
    pthread_mutex_unlock(&e->lock);
}

static void add_span(void *arg, const struct bspan *s, int64_t end)
{
    struct export *e = arg;
    struct queue *q = &e->q[0];
    if (!q->on)
        return;
    pthread_mutex_lock(&e->lock);
    if (queue_add(q, s->site ? s->site->target : SLICE("sonde"))) {
        encode_span(&q->bytes, s, end);
        queue_added(e, q);
    }
    pthread_mutex_unlock(&e->lock);
}

void export_attach(struct export *e, struct pipeline *p)
{
    p->on_log = e ? add_log : NULL;
    p->on_span = e ? add_span : NULL;
    p->arg = e;
}

// ---- sending (the thread) ---------------------------------------------------------------------------------------------------
enum outcome { SENT, RETRY, REFUSED };

// Export…PartialSuccess: {1 {1 rejected}}
static uint64_t rejected(struct slice reply)
{
    struct pb r, part;
    uint64_t n = 0;
    pb_init(&r, reply, NULL);
    while (pb_next(&r)) {
        if (r.field != 1 || r.wire != PB_LEN || !pb_message(&r, &part)) {
            pb_skip(&r);
            continue;
        }
        while (pb_next(&part)) {
            if (part.field == 1 && part.wire == PB_VARINT)
                pb_u64(&part, &n);
            else
                pb_skip(&part);
        }
    }
    return r.failed ? 0 : n;
}

static enum outcome send_grpc(struct queue *q, struct slice request, int64_t timeout, uint64_t *refused, int64_t *after,
                              char *why, size_t n)
{
    struct grpc_answer a;
    struct error err = {0};
    enum errc rc = grpc_fetch(q->session, q->url, q->grpc_path, q->header, q->n_headers, request, q->gzip, timeout, &a, &err);
    if (rc != ERR_OK) {
        snprintf(why, n, "%s", err.msg);
        return RETRY;
    }
    enum outcome o = SENT;
    if (a.status == GRPC_OK) {
        *refused = rejected(buf_slice(&a.body));
    } else {
        snprintf(why, n, "status %d %s", a.status, a.message);
        *after = a.retry_after_ns;
        bool again = a.status == GRPC_CANCELLED || a.status == GRPC_DEADLINE_EXCEEDED || a.status == GRPC_UNAVAILABLE ||
                     a.status == 10 || a.status == 11 || a.status == 15 ||
                     (a.status == GRPC_RESOURCE_EXHAUSTED && a.retry_after_ns >= 0);
        o = again ? RETRY : REFUSED;
    }
    grpc_answer_free(&a);
    return o;
}

static enum outcome send_http(struct queue *q, struct slice request, int64_t timeout, uint64_t *refused, int64_t *after,
                              char *why, size_t n)
{
    struct http_header headers[HEADERS_MAX + 1];
    headers[0] = (struct http_header){SLICE("content-type"), SLICE("application/x-protobuf")};
    memcpy(headers + 1, q->header, q->n_headers * sizeof *headers);
    struct http_fetch f = {.method = "POST",
                           .url = q->url,
                           .headers = headers,
                           .n_headers = q->n_headers + 1,
                           .body = request,
                           .timeout_ns = timeout,
                           .reply_max = MIB(4),
                           .gzip = q->gzip};
    struct http_answer a;
    struct error err = {0};
    if (http_fetch(q->session, &f, &a, &err) != ERR_OK) {
        snprintf(why, n, "%s", err.msg);
        return RETRY;
    }
    enum outcome o = SENT;
    if (a.status >= 200 && a.status < 300) {
        *refused = rejected(buf_slice(&a.body));
    } else {
        snprintf(why, n, "HTTP status %d", a.status);
        bool again = a.status == 408 || a.status == 429 || a.status == 502 || a.status == 503 || a.status == 504;
        o = again ? RETRY : REFUSED;
        int64_t seconds;
        for (size_t i = 0; i < a.n_headers; i++)
            if (slice_eq(a.headers[i].name, SLICE("retry-after")) && slice_to_i64(a.headers[i].value, &seconds) && seconds >= 0)
                *after = (seconds < 3600 ? seconds : 3600) * 1000000000;
    }
    http_answer_free(&a);
    return o;
}

static void say_away(struct export *e, struct queue *q, const char *why)
{
    if (!e->away)
        SONDE_WARN("collector unreachable, export waits", SONDE_STR("endpoint", q->url), SONDE_STR("error", why));
    e->away = true;
}

static void say_back(struct export *e, struct queue *q)
{
    if (e->away)
        SONDE_INFO("collector reachable again", SONDE_STR("endpoint", q->url));
    e->away = false;
}

static void count(struct export *e, struct queue *q, size_t n, uint64_t dropped)
{
    pthread_mutex_lock(&e->lock);
    dropped = dropped < n ? dropped : n;
    q->sent += n - dropped;
    q->dropped += dropped;
    pthread_mutex_unlock(&e->lock);
}

static void schedule_retry(struct queue *q, int64_t after)
{
    int64_t wait = q->backoff_ns / 2 + (int64_t)(random_u64() % (uint64_t)(q->backoff_ns / 2 + 1)); // jitter
    q->retry_at = clock_mono_ns() + (after > wait ? after : wait);
    q->backoff_ns = q->backoff_ns * 2 < (int64_t)EXPORT_BACKOFF_MAX_MS * 1000000 ? q->backoff_ns * 2
                                                                                 : (int64_t)EXPORT_BACKOFF_MAX_MS * 1000000;
}

// One request of at most a batch; true if the queue may go on.
static bool send_batch(struct export *e, struct queue *q)
{
    struct buf request, resource;
    size_t n = q->out_n - q->out_at < q->batch ? q->out_n - q->out_at : q->batch;
    uint64_t refused = 0;
    int64_t after = -1;
    char why[ERROR_MESSAGE_MAX + 8] = "";
    buf_init(&request, MIB(64));
    buf_init(&resource, MIB(1));
    pthread_mutex_lock(&e->lock);
    buf_add(&resource, buf_slice(&e->resource));
    int64_t timeout = e->until && e->until - clock_mono_ns() < q->timeout_ns ? e->until - clock_mono_ns() : q->timeout_ns;
    pthread_mutex_unlock(&e->lock);
    encode_request(&request, buf_slice(&resource), q->out_bytes.p, q->out + q->out_at, n);
    enum outcome o = REFUSED;
    if (request.err != ERR_OK || resource.err != ERR_OK)
        snprintf(why, sizeof why, "no memory for the request");
    else if (timeout <= 0)
        o = RETRY;
    else if (q->grpc)
        o = send_grpc(q, buf_slice(&request), timeout, &refused, &after, why, sizeof why);
    else
        o = send_http(q, buf_slice(&request), timeout, &refused, &after, why, sizeof why);
    buf_free(&request);
    buf_free(&resource);
    if (o == RETRY) {
        schedule_retry(q, after);
        if (timeout > 0)
            say_away(e, q, why);
        return false;
    }
    q->retry_at = 0;
    q->backoff_ns = (int64_t)EXPORT_BACKOFF_MIN_MS * 1000000;
    if (o == REFUSED)
        SONDE_WARN("collector refused a batch", SONDE_STR("endpoint", q->url), SONDE_STR("error", why), SONDE_UINT("dropped", n));
    else
        say_back(e, q);
    count(e, q, n, o == REFUSED ? n : refused);
    pthread_mutex_lock(&e->lock);
    q->out_at += n;
    pthread_mutex_unlock(&e->lock);
    return true;
}

static bool take(struct export *e, struct queue *q)
{
    pthread_mutex_lock(&e->lock);
    if (q->out_at == q->out_n && q->n) {
        struct buf bytes = q->out_bytes;
        struct encode_message *m = q->out;
        size_t cap = q->out_cap;
        q->out_bytes = q->bytes;
        q->out = q->m;
        q->out_n = q->n;
        q->out_at = 0;
        q->out_cap = q->cap;
        buf_reset(&bytes);
        q->bytes = bytes;
        q->m = m;
        q->cap = cap;
        q->n = 0;
    }
    bool any = q->out_at < q->out_n;
    pthread_mutex_unlock(&e->lock);
    return any;
}

// Sends what waits; false if something could not be delivered now.
static bool send_queue(struct export *e, struct queue *q)
{
    while (q->on && take(e, q))
        if (!send_batch(e, q))
            return false;
    return true;
}

// When the queue wants to be sent: INT64_MAX for never. Under the lock.
static int64_t due(const struct queue *q)
{
    if (!q->on || (q->n == 0 && q->out_at == q->out_n))
        return INT64_MAX;
    if (q->out_at < q->out_n)
        return q->retry_at;
    int64_t at = q->n >= q->batch ? 0 : q->first_at + q->delay_ns;
    return at > q->retry_at ? at : q->retry_at;
}

static void wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t at)
{
    if (at == INT64_MAX) {
        pthread_cond_wait(c, lock);
        return;
    }
    struct timespec ts = {at / 1000000000, at % 1000000000};
    pthread_cond_timedwait(c, lock, &ts);
}

static void *loop(void *arg)
{
    struct export *e = arg;
    pthread_setname_np(pthread_self(), "sonde-export");
    pthread_mutex_lock(&e->lock);
    for (;;) {
        int64_t now = clock_mono_ns(), next = INT64_MAX;
        bool urgent = e->stop || e->flush_asked != e->flush_done;
        bool go[SIGNALS];
        for (int i = 0; i < SIGNALS; i++) {
            int64_t at = due(&e->q[i]);
            go[i] = at <= now || urgent;
            next = at < next ? at : next;
        }
        if (!go[0] && !go[1]) {
            wait_until(&e->wake, &e->lock, next);
            continue;
        }
        unsigned asked = e->flush_asked;
        bool stop = e->stop, ok = true;
        pthread_mutex_unlock(&e->lock);
        for (int i = 0; i < SIGNALS; i++)
            if (go[i])
                ok = send_queue(e, &e->q[i]) && ok;
        pthread_mutex_lock(&e->lock);
        if (urgent) {
            e->flush_ok = ok;
            e->flush_done = asked;
            e->until = 0;
            pthread_cond_broadcast(&e->done);
        }
        if (stop)
            break;
    }
    e->finished = true;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

// ---- life -------------------------------------------------------------------------------------------------------------------
void export_describe(struct export *e, const char *service, const char *resource)
{
    if (!e)
        return;
    const char *lists[] = {resource, getenv("OTEL_RESOURCE_ATTRIBUTES")};
    pthread_mutex_lock(&e->lock);
    buf_reset(&e->resource);
    encode_resource(&e->resource, service, lists, 2);
    pthread_mutex_unlock(&e->lock);
}

static void free_all(struct export *e)
{
    for (int i = 0; i < SIGNALS; i++) {
        struct queue *q = &e->q[i];
        buf_free(&q->bytes);
        buf_free(&q->out_bytes);
        mem_free(q->m);
        mem_free(q->out);
        if (q->session)
            http_session_free(q->session);
    }
    buf_free(&e->resource);
    mem_free(e);
}

struct export *export_new(const char *service, const char *resource)
{
    sigset_t all, old;
    pthread_condattr_t attr;
    const char *disabled = getenv("OTEL_SDK_DISABLED");
    if (!sdk_truthy("OTEL_EXPORT_ENABLED") || (disabled && slice_ieq(slice_str(disabled), SLICE("true"))))
        return NULL;
    struct export *e = mem_zalloc(sizeof *e);
    if (!e)
        return NULL;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->wake, &attr);
    pthread_cond_init(&e->done, &attr);
    pthread_condattr_destroy(&attr);
    buf_init(&e->resource, MIB(1));
    e->q[0].word = "traces";
    e->q[0].env = "TRACES";
    e->q[0].grpc_path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    e->q[1].word = "logs";
    e->q[1].env = "LOGS";
    e->q[1].grpc_path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    configure(&e->q[0], "BSP");
    configure(&e->q[1], "BLRP");
    for (int i = 0; i < SIGNALS; i++)
        e->q[i].session = e->q[i].on ? http_session_new() : NULL;
    export_describe(e, service, resource);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e->has_thread = pthread_create(&e->thread, NULL, loop, e) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!e->has_thread) {
        free_all(e);
        return NULL;
    }
    return e;
}

bool export_flush(struct export *e, int64_t until)
{
    if (!e)
        return true;
    pthread_mutex_lock(&e->lock);
    unsigned ticket = ++e->flush_asked;
    e->until = until;
    pthread_cond_signal(&e->wake);
    while ((int)(e->flush_done - ticket) < 0 && clock_mono_ns() < until)
        wait_until(&e->done, &e->lock, until);
    bool ok = (int)(e->flush_done - ticket) >= 0 && e->flush_ok;
    pthread_mutex_unlock(&e->lock);
    return ok;
}

bool export_stop(struct export *e, int64_t until)
{
    if (!e)
        return true;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    e->until = until;
    pthread_cond_signal(&e->wake);
    while (!e->finished && clock_mono_ns() < until)
        wait_until(&e->done, &e->lock, until);
    bool finished = e->finished, ok = finished && e->flush_ok;
    // What is left behind is lost, and says so in the counts.
    for (int i = 0; finished && i < SIGNALS; i++)
        e->q[i].dropped += e->q[i].n + (e->q[i].out_n - e->q[i].out_at), e->q[i].on = false;
    pthread_mutex_unlock(&e->lock);
    // A thread that hangs in a call keeps its state; the process is about to end anyway.
    if (finished)
        pthread_join(e->thread, NULL);
    else
        pthread_detach(e->thread);
    return ok;
}

void export_counts(struct export *e, struct sonde_counts *out)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    out->export_spans_sent = e->q[0].sent;
    out->export_spans_dropped = e->q[0].dropped;
    out->export_logs_sent = e->q[1].sent;
    out->export_logs_dropped = e->q[1].dropped;
    pthread_mutex_unlock(&e->lock);
}

void export_before_fork(struct export *e)
{
    if (e)
        pthread_mutex_lock(&e->lock);
}
void export_after_fork(struct export *e)
{
    if (e)
        pthread_mutex_unlock(&e->lock);
}
