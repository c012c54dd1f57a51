#define SONDE_TARGET "sonde::export" // of the lines written here
#include "base/hash.h"
#include "base/limits.h"
#include "base/pb.h"
#include "sdk/export_int.h"
#include "sdk/sdk.h"
#include <stdio.h>

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

static enum outcome send_grpc(struct export_queue *q, struct slice request, int64_t timeout, uint64_t *refused, int64_t *after,
                              char *why, size_t n)
{
    struct grpc_answer a;
    struct error err = {0};
    const struct net_part *net = net_part();
    struct grpc_request r = {.url = q->url,
                             .path = q->grpc_path,
                             .metadata = q->header,
                             .n_metadata = q->n_headers,
                             .message = request,
                             .gzip = q->gzip,
                             .timeout_ns = timeout,
                             .reply_max = MIB(4)};
    enum errc rc = net->grpc(q->session, &r, &a, &err);
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
    net->grpc_free(&a);
    return o;
}

static enum outcome send_http(struct export_queue *q, struct slice request, int64_t timeout, uint64_t *refused, int64_t *after,
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
    const struct net_part *net = net_part();
    if (net->fetch(q->session, &f, &a, &err) != ERR_OK) {
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
    net->answer_free(&a);
    return o;
}

static void say_away(struct export *e, struct export_queue *q, const char *why)
{
    if (!e->away)
        SONDE_WARN("collector unreachable, export waits", SONDE_STR("endpoint", q->url), SONDE_STR("error", why));
    e->away = true;
}

static void say_back(struct export *e, struct export_queue *q)
{
    if (e->away)
        SONDE_INFO("collector reachable again", SONDE_STR("endpoint", q->url));
    e->away = false;
}

static void count(struct export *e, struct export_queue *q, size_t n, uint64_t dropped)
{
    pthread_mutex_lock(&e->lock);
    dropped = dropped < n ? dropped : n;
    q->sent += n - dropped;
    q->dropped += dropped;
    pthread_mutex_unlock(&e->lock);
}

static void schedule_retry(struct export_queue *q, int64_t after)
{
    int64_t wait = q->backoff_ns / 2 + (int64_t)(random_u64() % (uint64_t)(q->backoff_ns / 2 + 1)); // jitter
    q->retry_at = clock_mono_ns() + (after > wait ? after : wait);
    q->backoff_ns = q->backoff_ns * 2 < (int64_t)EXPORT_BACKOFF_MAX_MS * 1000000 ? q->backoff_ns * 2
                                                                                 : (int64_t)EXPORT_BACKOFF_MAX_MS * 1000000;
}

// What came of one request.
struct attempt {
    enum outcome outcome;
    uint64_t refused; // of an accepted request: messages that the collector did not take
    int64_t after;    // it asks to be left alone for so long; -1: it does not
    bool tried;       // false: there was no time left
    char why[ERROR_MESSAGE_MAX + 8];
};

static void attempt(struct export *e, struct export_queue *q, size_t n, struct attempt *a)
{
    struct buf request, resource;
    *a = (struct attempt){.outcome = REFUSED, .after = -1};
    buf_init(&request, MIB(64));
    buf_init(&resource, MIB(1));
    pthread_mutex_lock(&e->lock);
    buf_add(&resource, buf_slice(&e->resource));
    int64_t left = e->until ? e->until - clock_mono_ns() : INT64_MAX;
    pthread_mutex_unlock(&e->lock);
    int64_t timeout = left < q->timeout_ns ? left : q->timeout_ns;
    a->tried = timeout > 0;
    encode_request(&request, buf_slice(&resource), q->out_bytes.p, q->out + q->out_at, n);
    if (request.err != ERR_OK || resource.err != ERR_OK)
        snprintf(a->why, sizeof a->why, "no memory for the request");
    else if (!a->tried)
        a->outcome = RETRY;
    else if (q->grpc)
        a->outcome = send_grpc(q, buf_slice(&request), timeout, &a->refused, &a->after, a->why, sizeof a->why);
    else
        a->outcome = send_http(q, buf_slice(&request), timeout, &a->refused, &a->after, a->why, sizeof a->why);
    buf_free(&request);
    buf_free(&resource);
}

// One request of at most a batch; true if the queue may go on.
static bool send_batch(struct export *e, struct export_queue *q)
{
    struct attempt a;
    size_t n = q->out_n - q->out_at < q->batch ? q->out_n - q->out_at : q->batch;
    attempt(e, q, n, &a);
    if (a.outcome == RETRY) {
        schedule_retry(q, a.after);
        if (a.tried)
            say_away(e, q, a.why);
        return false;
    }
    q->retry_at = 0;
    q->backoff_ns = (int64_t)EXPORT_BACKOFF_MIN_MS * 1000000;
    if (a.outcome == REFUSED)
        SONDE_WARN("collector refused a batch", SONDE_STR("endpoint", q->url), SONDE_STR("error", a.why),
                   SONDE_UINT("dropped", n));
    else
        say_back(e, q);
    count(e, q, n, a.outcome == REFUSED ? n : a.refused);
    pthread_mutex_lock(&e->lock);
    q->out_at += n;
    pthread_mutex_unlock(&e->lock);
    return true;
}

static bool take(struct export *e, struct export_queue *q)
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
    if (!q->session) { // no half with sockets (said once), or no descriptors: nothing will ever leave
        q->dropped += q->out_n - q->out_at;
        q->out_at = q->out_n;
    }
    bool any = q->out_at < q->out_n;
    pthread_mutex_unlock(&e->lock);
    return any;
}

// Sends what waits; false if something could not be delivered now.
bool export_send_queue(struct export *e, struct export_queue *q)
{
    while (q->on && take(e, q))
        if (!send_batch(e, q))
            return false;
    return true;
}
