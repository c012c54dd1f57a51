// One attempt to deliver a batch: the request in the protocol's form, and what the answer means.
#include "base/clock.h"
#include "base/limits.h"
#include "base/pb.h"
#include "sdk/export_int.h"
#include "sdk/net_part.h"
#include <stdio.h>

#define USER_AGENT "OTel-OTLP-Exporter-C/" SONDE_VERSION

// ---- answers --------------------------------------------------------------------------------------------------------
// Export…ServiceResponse {1 partial_success {1 rejected, 2 error_message}}
static void partial(struct slice reply, struct attempt *a)
{
    struct pb r, part;
    struct slice message;
    pb_init(&r, reply, NULL);
    while (pb_next(&r)) {
        if (r.field != 1 || r.wire != PB_LEN || !pb_message(&r, &part)) {
            pb_skip(&r);
            continue;
        }
        while (pb_next(&part)) {
            if (part.field == 1 && part.wire == PB_VARINT)
                pb_u64(&part, &a->rejected);
            else if (part.field == 2 && part.wire == PB_LEN && pb_bytes(&part, &message))
                snprintf(a->why, sizeof a->why, "%.*s", (int)(message.n < 250 ? message.n : 250), message.p);
            else
                pb_skip(&part);
        }
    }
    if (r.failed) { // garbage behind a status that says all is well
        a->rejected = 0;
        a->why[0] = 0;
    }
}

// The same as JSON, of which two members matter: "rejectedSpans" (…LogRecords, …DataPoints) and "errorMessage".
static void partial_json(struct slice reply, struct attempt *a)
{
    ptrdiff_t at = slice_find(reply, SLICE("\"rejected"));
    if (at >= 0) {
        struct slice rest = slice_from(reply, (size_t)at + 9);
        ptrdiff_t colon = slice_find(rest, SLICE(":"));
        rest = slice_from(rest, colon < 0 ? rest.n : (size_t)colon + 1);
        size_t i = 0;
        while (i < rest.n && memchr(" \t\r\n\"", rest.p[i], 5))
            i++;
        for (; i < rest.n && rest.p[i] >= '0' && rest.p[i] <= '9' && a->rejected < 1u << 30; i++)
            a->rejected = a->rejected * 10 + (uint64_t)(rest.p[i] - '0');
    }
    at = slice_find(reply, SLICE("\"errorMessage\""));
    if (at < 0)
        return;
    struct slice rest = slice_from(reply, (size_t)at + 14);
    ptrdiff_t open = slice_find(rest, SLICE("\"")), close = 0;
    rest = slice_from(rest, open < 0 ? rest.n : (size_t)open + 1);
    while ((size_t)close < rest.n && rest.p[close] != '"')
        close += rest.p[close] == '\\' ? 2 : 1;
    size_t n = (size_t)close < rest.n ? (size_t)close : rest.n;
    snprintf(a->why, sizeof a->why, "%.*s", (int)(n < 250 ? n : 250), rest.p);
}

// google.rpc.Status of an HTTP error {2 message}; or text.
static void reason(struct slice type, struct slice body, char *out, size_t n)
{
    struct slice message = SLICE_NONE;
    struct pb r;
    if (slice_starts(type, SLICE("application/x-protobuf"))) {
        pb_init(&r, body, NULL);
        while (pb_next(&r)) {
            if (r.field == 2 && r.wire == PB_LEN)
                pb_bytes(&r, &message);
            else
                pb_skip(&r);
        }
        message = r.failed ? SLICE_NONE : message;
    } else if (slice_starts(type, SLICE("text/")) || slice_starts(type, SLICE("application/json"))) {
        message = slice_trim(body);
    }
    size_t length = message.n < 200 ? message.n : 200;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)message.p[i] < 0x20)
            length = i;
    if (length)
        snprintf(out, n, ": %.*s", (int)length, message.p);
}

static bool two_digits(const char *p, int *out)
{
    bool ok = p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9';
    *out = ok ? (p[0] - '0') * 10 + p[1] - '0' : 0;
    return ok;
}

// "Sun, 06 Nov 1994 08:49:37 GMT" as seconds since 1970; -1: it is none. The one form that may be sent today.
static int64_t http_date(struct slice s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int day, month = 0, century, year, h, m, sec;
    if (s.n != 29 || memcmp(s.p + 3, ", ", 2) != 0 || memcmp(s.p + 25, " GMT", 4) != 0 || s.p[19] != ':' || s.p[22] != ':')
        return -1;
    while (month < 12 && memcmp(months + month * 3, s.p + 8, 3) != 0)
        month++;
    if (month == 12 || !two_digits(s.p + 5, &day) || !two_digits(s.p + 12, &century) || !two_digits(s.p + 14, &year) ||
        !two_digits(s.p + 17, &h) || !two_digits(s.p + 20, &m) || !two_digits(s.p + 23, &sec))
        return -1;
    // Days from the civil date, years that begin in March.
    int64_t y = century * 100 + year - (month < 2), era = y / 400, of_era = y % 400;
    int64_t of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    return days * 86400 + h * 3600 + m * 60 + sec;
}

int64_t export_retry_after(struct slice value, int64_t wall_ns)
{
    int64_t seconds;
    value = slice_trim(value);
    if (!slice_to_i64(value, &seconds)) {
        seconds = http_date(value);
        if (seconds < 0)
            return -1;
        seconds -= wall_ns / 1000000000;
        seconds = seconds < 0 ? 0 : seconds;
    }
    return seconds < 0 ? -1 : (seconds < 3600 ? seconds : 3600) * 1000000000;
}

// ---- attempts -------------------------------------------------------------------------------------------------------
static size_t headers_of(const struct export_dest *d, struct http_header *h, struct slice content_type)
{
    const struct export_way *w = d->way;
    bool auth = d->auth[0];
    size_t n = 0;
    h[n++] = (struct http_header){SLICE("user-agent"), SLICE(USER_AGENT)};
    if (content_type.n)
        h[n++] = (struct http_header){SLICE("content-type"), content_type};
    for (size_t i = 0; i < w->n_headers; i++) {
        auth = auth && !slice_eq(w->header[i].name, SLICE("authorization"));
        if (slice_eq(w->header[i].name, SLICE("user-agent")))
            h[0] = w->header[i];
        else
            h[n++] = w->header[i];
    }
    if (auth)
        h[n++] = (struct http_header){SLICE("authorization"), slice_str(d->auth)};
    return n;
}

// No answer: away, unless it is we who would not read it.
static void failed(struct attempt *a, enum errc rc, const struct error *err)
{
    snprintf(a->why, sizeof a->why, "%s", err->msg);
    a->outcome = rc == ERR_LIMIT || rc == ERR_INPUT ? REFUSED : RETRY;
    a->answered = rc == ERR_LIMIT;
}

static void send_grpc(struct export_dest *d, struct http_session *s, struct slice message, int64_t timeout, struct attempt *a)
{
    const struct export_queue *q = d->q;
    struct http_header h[HEADERS_MAX + 3];
    struct grpc_request r = {.url = d->url,
                             .path = q->grpc_path,
                             .metadata = h,
                             .message = message,
                             .gzip = d->way->gzip && net_gzip(),
                             .timeout_ns = timeout,
                             .reply_max = d->e->reply_max};
    struct grpc_answer g;
    struct error err = {0};
    r.n_metadata = headers_of(d, h, SLICE_NONE);
    enum errc rc = net_part()->grpc(s, &r, &g, &err);
    if (rc != ERR_OK) {
        failed(a, rc, &err);
        return;
    }
    a->answered = true;
    if (g.status == GRPC_OK) {
        a->outcome = SENT;
        partial(buf_slice(&g.body), a);
    } else {
        snprintf(a->why, sizeof a->why, "status %d %s", g.status, g.message);
        a->after = g.retry_after_ns;
        bool again = g.status == GRPC_CANCELLED || g.status == GRPC_DEADLINE_EXCEEDED || g.status == GRPC_UNAVAILABLE ||
                     g.status == 10 || g.status == 11 || g.status == 15 || // ABORTED, OUT_OF_RANGE, DATA_LOSS
                     (g.status == GRPC_RESOURCE_EXHAUSTED && g.retry_after_ns >= 0);
        a->outcome = again ? RETRY : REFUSED;
    }
    net_part()->grpc_free(&g);
}

static void read_answer(const struct http_answer *h, struct attempt *a)
{
    a->answered = true;
    if (h->status >= 200 && h->status < 300) {
        a->outcome = SENT;
        if (slice_starts(h->content_type, SLICE("application/json")))
            partial_json(buf_slice(&h->body), a);
        else if (slice_starts(h->content_type, SLICE("application/x-protobuf")))
            partial(buf_slice(&h->body), a);
        return;
    }
    int n = snprintf(a->why, sizeof a->why, "HTTP status %d", h->status);
    reason(h->content_type, buf_slice(&h->body), a->why + n, sizeof a->why - (size_t)n);
    a->outcome = h->status == 429 || h->status == 502 || h->status == 503 || h->status == 504 ? RETRY : REFUSED;
    for (size_t i = 0; i < h->n_headers; i++)
        if (slice_eq(h->headers[i].name, SLICE("retry-after")))
            a->after = export_retry_after(h->headers[i].value, clock_wall_ns());
}

static void send_http(struct export_dest *d, struct http_session *s, struct slice body, int64_t timeout, struct attempt *a)
{
    const struct export_queue *q = d->q;
    static const char *const zipkin[] = {"application/json", "application/x-protobuf", "application/json",
                                         "application/x-thrift"};
    const char *type = d->kind == DEST_ZIPKIN              ? zipkin[q->zipkin]
                       : d->way->protocol == PROTOCOL_JSON ? "application/json"
                                                           : "application/x-protobuf";
    struct http_header h[HEADERS_MAX + 3];
    struct http_fetch f = {.method = "POST",
                           .url = d->url,
                           .headers = h,
                           .body = body,
                           .timeout_ns = timeout,
                           .reply_max = d->e->reply_max,
                           .gzip = d->way->gzip && net_gzip(),
                           .accept_gzip = d->way->gzip}; // who does not pack does not look for zlib either
    struct http_answer answer;
    struct error err = {0};
    f.n_headers = headers_of(d, h, slice_str(type));
    enum errc rc = net_part()->fetch(s, &f, &answer, &err);
    if (rc != ERR_OK) {
        failed(a, rc, &err);
        return;
    }
    read_answer(&answer, a);
    net_part()->answer_free(&answer);
}

static struct http_session *open_session(const struct export_dest *d, struct attempt *a)
{
    const struct net_part *net = net_part();
    struct error err = {0};
    struct http_session *s = net ? net->session_new() : NULL;
    a->broken = !net;
    if (!s) {
        snprintf(a->why, sizeof a->why, net ? "no memory for a connection" : "libsonde-net.so is missing");
    } else if (slice_ieq(slice_cut(slice_str(d->url), 8), SLICE("https://")) &&
               net->session_tls(s, &d->way->tls, &err) != ERR_OK) {
        snprintf(a->why, sizeof a->why, "%s", err.msg);
        a->broken = err.code == ERR_UNSUPPORTED; // a file may be put right
        net->session_free(s);
        s = NULL;
    }
    return s;
}

static void send_otlp(struct export_dest *d, struct http_session **session, const struct export_batch *b, int64_t timeout,
                      struct attempt *a)
{
    struct buf text;
    bool made = d->kind == DEST_ZIPKIN || d->way->protocol == PROTOCOL_JSON, ok = true;
    struct slice body = buf_slice(&b->request);
    *session = *session ? *session : open_session(d, a);
    if (!*session)
        return;
    buf_init(&text, d->q->request_max);
    if (made) {
        ok = d->kind == DEST_ZIPKIN ? export_zipkin(&text, d->q->zipkin, body) : export_json(&text, b->signal, body);
        body = buf_slice(&text);
    }
    if (!ok || body.n > d->q->request_max) {
        a->outcome = REFUSED;
        snprintf(a->why, sizeof a->why, "the request is larger than %zu bytes (SONDE_OTLP_MAX_REQUEST)", d->q->request_max);
    } else if (d->kind == DEST_OTLP && d->way->protocol == PROTOCOL_GRPC) {
        send_grpc(d, *session, body, timeout, a);
    } else {
        send_http(d, *session, body, timeout, a);
    }
    buf_free(&text);
}

void export_attempt(struct export_dest *d, struct http_session **session, const struct export_batch *b, int64_t timeout,
                    struct attempt *a)
{
    *a = (struct attempt){.outcome = RETRY, .after = -1};
    switch (d->kind) {
    case DEST_CONSOLE:
        a->outcome = export_console(b) ? SENT : REFUSED;
        break;
    case DEST_STDOUT:
        a->outcome = export_stdout(b) ? SENT : REFUSED;
        break;
    case DEST_FILE:
        a->outcome = export_file(b, a->why, sizeof a->why) ? SENT : RETRY;
        break;
    case DEST_CUSTOM:
        a->outcome = custom_send(d, b);
        a->answered = true;
        break;
    default:
        send_otlp(d, session, b, timeout, a);
        break;
    }
}
