#include "serve/scrape.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "event/metrics_text.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define TIMEOUT_NS  10000000000ll
#define SHORTEST_NS 100000000ll

struct target {
    struct scraper *scraper;
    char *url;
    struct slice job, instance; // in url's allocation
    struct loop_timer *timer;
    int64_t due;          // monotonic: of the next scrape
    int64_t started, at;  // of the one under way: monotonic, wall clock
    struct batch *before; // what the last one gave
    int64_t before_at;
    // the reply
    struct buf body;
    int status;
    bool openmetrics, gzip;
    bool told_down;
};

struct scraper {
    struct server *server;
    struct loop *loop;
    struct http_client *client;
    pthread_t thread;
    bool running;
    int64_t interval;
    struct target *targets;
    uint32_t n;
};

// ---- one scrape -----------------------------------------------------------------------------------------------------

// Stores the rows of a batch: as remote write 2.0, which the log can keep.
static enum errc store_rows(struct server *s, const struct batch *b, int64_t now, struct error *err)
{
    struct wire_options opt = {.received_ns = now};
    struct wire_report report;
    struct batch *batch = NULL;
    struct buf out;
    buf_init(&out, MAX_WAL_RECORD);
    enum errc rc = write2_encode(b, &out);
    if (rc != ERR_OK)
        ERR(err, LIMIT, "the page is too large to be kept");
    else
        rc = wire_decode(WIRE_WRITE2, buf_slice(&out), true, &opt, &batch, &report, err);
    if (rc == ERR_OK)
        rc = store_append(s->store, SLICE("default"), WIRE_WRITE2, buf_slice(&out), now, batch, NULL, NULL, err);
    buf_free(&out);
    return rc;
}

static void tell(struct target *t, const struct error *why)
{
    if (why->code != ERR_OK && !t->told_down)
        fprintf(stderr, "sonde: scraping %s: %s\n", t->url, why->msg);
    else if (why->code == ERR_OK && t->told_down)
        fprintf(stderr, "sonde: scraping %s: works again\n", t->url);
    t->told_down = why->code != ERR_OK;
}

// The reply's text, unpacked. Null p: why says what is wrong with it.
static struct slice reply_text(struct target *t, struct buf *unpacked, struct error *why)
{
    if (t->status != 200) {
        ERR(why, INPUT, "HTTP status %d", t->status);
        return SLICE_NONE;
    }
    if (t->body.err != ERR_OK) {
        ERR(why, LIMIT, "the page is larger than %zu MiB", (size_t)MAX_HTTP_BODY >> 20);
        return SLICE_NONE;
    }
    if (!t->gzip)
        return t->body.n ? buf_slice(&t->body) : SLICE("");
    if (codec_decode(CODEC_GZIP, buf_slice(&t->body), MAX_HTTP_BODY, unpacked, why) != ERR_OK)
        return SLICE_NONE;
    return unpacked->n ? buf_slice(unpacked) : SLICE("");
}

static void finish(struct target *t, struct error *why)
{
    struct server *s = t->scraper->server;
    struct receiver_stats *st = &s->receivers[RECEIVER_SCRAPE];
    struct label target[] = {{SLICE("job"), t->job}, {SLICE("instance"), t->instance}};
    struct wire_report report = {0};
    struct batch *b = NULL;
    struct buf unpacked;
    struct error ignored = {0};
    buf_init(&unpacked, MAX_HTTP_BODY);
    struct slice text = why->code == ERR_OK ? reply_text(t, &unpacked, why) : SLICE_NONE;
    struct metrics_text page = {.text = text.p ? text : SLICE(""),
                                .openmetrics = t->openmetrics,
                                .now = t->at,
                                .target = target,
                                .n_target = 2,
                                .scrape = true,
                                .up = text.p != NULL,
                                .seconds = (double)(clock_mono_ns() - t->started) / 1e9,
                                .before = t->before,
                                .before_time = t->before_at};
    atomic_fetch_add(&st->requests, 1);
    atomic_fetch_add(&st->bytes, page.text.n);
    if (metrics_text_read(&page, &b, &report, why) != ERR_OK) { // a page that cannot be read is a target that is down
        page.text = SLICE("");
        page.up = false;
        metrics_text_read(&page, &b, &report, &ignored);
    }
    if (b && store_rows(s, b, t->at, why) == ERR_OK) {
        atomic_fetch_add(&st->rows, report.accepted);
        atomic_fetch_add(&st->rejected_rows, report.rejected);
    }
    atomic_fetch_add(&st->failed, why->code != ERR_OK);
    tell(t, why);
    if (b) {
        batch_unref(t->before);
        t->before = b;
        t->before_at = t->at;
    }
    buf_free(&unpacked);
    buf_free(&t->body);
}

static void plan(struct target *t)
{
    int64_t now = clock_mono_ns();
    t->due += t->scraper->interval;
    if (t->due < now) // the machine slept
        t->due = now + t->scraper->interval;
    loop_timer_set(t->timer, t->due - now);
}

static void on_head(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg)
{
    struct target *t = arg;
    (void)c;
    t->status = status;
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(h[i].name, SLICE("content-type")))
            t->openmetrics = slice_starts(h[i].value, SLICE("application/openmetrics-text"));
        if (slice_eq(h[i].name, SLICE("content-encoding")))
            t->gzip = slice_ieq(slice_trim(h[i].value), SLICE("gzip"));
    }
}

static void on_data(struct http_call *c, struct slice bytes, void *arg)
{
    struct target *t = arg;
    (void)c;
    buf_add(&t->body, bytes);
}

static void on_done(struct http_call *c, bool ok, const struct error *why, void *arg)
{
    struct target *t = arg;
    struct error err = ok ? (struct error){0} : *why;
    (void)c;
    if (err.code == ERR_CANCELLED) { // the end
        buf_free(&t->body);
        return;
    }
    finish(t, &err);
    plan(t);
}

static void begin(struct loop_timer *timer, void *arg)
{
    static const struct http_header headers[] = {
        {SLICE("accept"), SLICE("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")},
        {SLICE("accept-encoding"), SLICE("gzip")},
        {SLICE("user-agent"), SLICE("sonde/" SONDE_VERSION)},
    };
    struct target *t = arg;
    struct http_call *call;
    struct error err = {0};
    int64_t interval = t->scraper->interval;
    (void)timer;
    struct http_call_options o = {.method = "GET",
                                  .url = t->url,
                                  .headers = headers,
                                  .n_headers = sizeof headers / sizeof *headers,
                                  .timeout_ns = interval < TIMEOUT_NS ? interval : TIMEOUT_NS,
                                  .on_head = on_head,
                                  .on_data = on_data,
                                  .on_done = on_done,
                                  .arg = t};
    buf_init(&t->body, MAX_HTTP_BODY);
    t->status = 0;
    t->openmetrics = t->gzip = false;
    t->started = clock_mono_ns();
    t->at = clock_wall_ns();
    if (http_client_start(t->scraper->client, &o, &call, &err) != ERR_OK) {
        finish(t, &err);
        plan(t);
    }
}

// ---- targets --------------------------------------------------------------------------------------------------------

// "job=http://host:port/path" → the target's texts.
static enum errc read_target(struct target *t, struct slice text, struct error *err)
{
    const char *equals = memchr(text.p, '=', text.n), *slash = memchr(text.p, '/', text.n);
    struct slice job = SLICE("scrape"), rest = text;
    struct url u;
    struct buf b;
    if (equals && (!slash || equals < slash)) {
        job = slice_of(text.p, (size_t)(equals - text.p));
        rest = slice_from(text, job.n + 1);
    }
    if (!job.n || !rest.n)
        return ERR(err, INPUT, "--scrape %.*s: write URL or JOB=URL", (int)text.n, text.p);
    bool scheme = slice_find(rest, SLICE("://")) >= 0;
    buf_init(&b, MAX_SHORT_TEXT);
    buf_str(&b, scheme ? "" : "http://");
    size_t host = b.n + (scheme ? (size_t)slice_find(rest, SLICE("://")) + 3 : 0);
    buf_add(&b, rest);
    size_t host_end = host;
    while (host_end < b.n && b.p[host_end] != '/' && b.p[host_end] != '?')
        host_end++;
    if (host_end == b.n)
        buf_str(&b, "/metrics");
    buf_char(&b, 0);
    size_t job_at = b.n;
    buf_add(&b, job);
    enum errc rc = b.err;
    if (rc == ERR_OK)
        rc = url_parse(b.p, &u, err);
    if (rc != ERR_OK) {
        buf_free(&b);
        return error_prefix(err, "--scrape %.*s: ", (int)text.n, text.p);
    }
    t->url = b.p; // the buffer's memory stays
    t->instance = slice_of(b.p + host, host_end - host);
    t->job = slice_of(b.p + job_at, job.n);
    return ERR_OK;
}

static enum errc read_targets(struct scraper *s, const char *list, struct error *err)
{
    struct slice rest = slice_str(list), part;
    uint32_t most = 1;
    for (const char *p = list; *p; p++)
        most += *p == ',';
    if (most > MAX_SCRAPE_TARGETS)
        return ERR(err, INPUT, "--scrape names %u targets; at most %d are possible", most, MAX_SCRAPE_TARGETS);
    s->targets = mem_zalloc(most * sizeof *s->targets);
    if (!s->targets)
        return ERR(err, NOMEM, "no memory for %u targets", most);
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (!part.n)
            continue;
        struct target *t = &s->targets[s->n];
        t->scraper = s;
        TRY(read_target(t, part, err));
        s->n++;
    }
    return ERR_OK;
}

static void *scrape_main(void *arg)
{
    struct scraper *s = arg;
    loop_run(s->loop);
    return NULL;
}

enum errc scrape_start(struct scraper **out, struct server *server, const char *list, int64_t interval_ns, struct error *err)
{
    *out = NULL;
    if (!*list)
        return ERR_OK;
    if (interval_ns < SHORTEST_NS)
        return ERR(err, INPUT, "--scrape-interval is too short: 100ms or more are accepted");
    struct scraper *s = mem_zalloc(sizeof *s);
    if (!s)
        return ERR(err, NOMEM, "no memory to scrape");
    *out = s;
    s->server = server;
    s->interval = interval_ns;
    TRY(read_targets(s, list, err));
    TRY(loop_new(&s->loop, err));
    TRY(http_client_new(&s->client, s->loop, err));
    for (uint32_t i = 0; i < s->n; i++) {
        struct target *t = &s->targets[i];
        int64_t offset = s->interval / s->n * i; // not all at the same moment
        t->timer = loop_timer_new(s->loop, begin, t);
        if (!t->timer)
            return ERR(err, NOMEM, "no memory to scrape %s", t->url);
        t->due = clock_mono_ns() + offset;
        loop_timer_set(t->timer, offset);
    }
    if (pthread_create(&s->thread, NULL, scrape_main, s) != 0)
        return ERR(err, NOMEM, "cannot start a thread: %s", strerror(errno));
    s->running = true;
    return ERR_OK;
}

void scrape_stop(struct scraper *s)
{
    if (!s)
        return;
    if (s->running) {
        loop_stop(s->loop);
        pthread_join(s->thread, NULL);
    }
    http_client_free(s->client);
    for (uint32_t i = 0; s->targets && i < s->n; i++) {
        loop_timer_free(s->targets[i].timer);
        batch_unref(s->targets[i].before);
        mem_free(s->targets[i].url);
    }
    loop_free(s->loop);
    mem_free(s->targets);
    mem_free(s);
}
