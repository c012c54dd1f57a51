#define SONDE_TARGET "inference::service"
#include "service.h"
#include "base/clock.h"
#include "base/hash.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sonde/config.h>
#include <sonde/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

void service_settings(const char *about, const struct setting *rows, size_t n, void *out, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            struct buf help;
            buf_init(&help, MAX_SERVICE_LINE);
            settings_help(rows, n, &help);
            printf("%s\n\n%.*s", about, (int)help.n, help.p);
            buf_free(&help);
            exit(0);
        }
    struct error err = {0};
    int words = 0;
    if (settings_load(rows, n, out, argc, argv, &words, &err) == ERR_OK && words == 0)
        return;
    if (words)
        fprintf(stderr, "%s: \"%s\" is no option; --help lists them\n", argv[0], argv[1]);
    else
        fprintf(stderr, "%s: %s\n", argv[0], err.msg);
    exit(2);
}

// ---- life -----------------------------------------------------------------------------------------------------------
static void drain_tick(struct loop_timer *t, void *arg)
{
    struct service *s = arg;
    if (s->active == 0 || clock_mono_ns() >= s->drain_until) {
        if (s->active)
            SONDE_WARN("breaking off requests that are still under way", SONDE_INT("active", s->active));
        loop_stop(s->loop);
        return;
    }
    loop_timer_set(t, 20 * 1000000);
}

static void on_signal(struct loop_io *io, unsigned events, void *arg)
{
    struct service *s = arg;
    struct signalfd_siginfo info;
    if (read(s->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (s->draining) { // a second signal: at once
        loop_stop(s->loop);
        return;
    }
    s->draining = true;
    sonde_status_ready(false);
    SONDE_INFO("shutting down, waiting for requests under way", SONDE_INT("signal", info.ssi_signo),
               SONDE_INT("active", s->active));
    s->drain_until = clock_mono_ns() + MAX_SERVICE_DRAIN_MS * (int64_t)1000000;
    loop_timer_set(s->drain, 0);
}

// Before any thread starts, so that all inherit the mask and the loop alone sees the signals.
static enum errc block_signals(struct service *s, struct error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || (s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return ERR(err, IO, "cannot watch for signals: %m");
    return ERR_OK;
}

// ---- the configuration dump -----------------------------------------------------------------------------------------
struct dumping {
    const struct service_about *about;
    struct buf value;
};

static bool config_pair(void *arg, size_t i, const char **key, const char **value)
{
    struct dumping *d = arg;
    if (i >= d->about->n_rows)
        return false;
    buf_reset(&d->value);
    setting_print(&d->about->rows[i], d->about->settings, &d->value);
    buf_char(&d->value, 0);
    *key = d->about->rows[i].flag;
    *value = d->value.err ? "" : d->value.p;
    return true;
}

static void dump(const struct service_about *about)
{
    struct dumping d = {.about = about};
    buf_init(&d.value, MAX_SERVICE_LINE);
    sonde_config_dump(&(struct sonde_dump_options){.path = about->dump_to, .config_pair = config_pair, .arg = &d});
    buf_free(&d.value);
}

enum errc service_start(struct service *s, const struct service_about *about, const char *listen,
                        const struct http_server_options *o, struct error *err)
{
    *s = (struct service){.name = about->name, .signal_fd = -1};
    TRY(block_signals(s, err));
    snprintf(s->instance, sizeof s->instance, "%" PRIu64, random_u64());
    sonde_init(&(struct sonde_options){.service = about->name});
    if (sonde_status_error()[0])
        return ERR(err, IO, "no status server: %s", sonde_status_error());
    dump(about);
    TRY(loop_new(&s->loop, err));
    TRY(loop_io_add(s->loop, s->signal_fd, LOOP_READ, on_signal, s, &s->signals, err));
    s->drain = loop_timer_new(s->loop, drain_tick, s);
    if (!s->drain)
        return ERR(err, NOMEM, "no memory for a timer");
    TRY(http_client_new(&s->client, s->loop, err));
    TRY(http_server_new(&s->server, listen, &s->loop, 1, o, err));
    const char *colon = strrchr(listen, ':');
    int host = colon && colon > listen ? (int)(colon - listen) : 0;
    bool any = host == 0 || strncmp(listen, "0.0.0.0", 7) == 0;
    snprintf(s->url, sizeof s->url, "http://%.*s:%d", any ? 9 : host, any ? "127.0.0.1" : listen, http_server_port(s->server));
    printf("listening on %s\n", s->url);
    if (sonde_status_port() >= 0)
        printf("status on http://127.0.0.1:%d\n", sonde_status_port());
    fflush(stdout);
    SONDE_INFO("HTTP service started", SONDE_STR("address", s->url), SONDE_STR("instance_id", s->instance));
    return ERR_OK;
}

int service_run(struct service *s)
{
    enum errc rc = loop_run(s->loop);
    http_server_stop(s->server, 0);
    http_client_free(s->client);
    loop_io_remove(s->signals);
    loop_timer_free(s->drain);
    close(s->signal_fd);
    http_server_free(s->server);
    loop_free(s->loop);
    SONDE_INFO("stopped");
    sonde_shutdown(2000);
    return rc == ERR_OK ? 0 : 1;
}

// ---- context --------------------------------------------------------------------------------------------------------
static const char *get_header(void *carrier, const char *name, int nth, size_t *len)
{
    const struct http_req *r = carrier;
    for (size_t i = 0; i < r->n_headers; i++)
        if (slice_eq(r->headers[i].name, slice_str(name)) && nth-- == 0) {
            *len = r->headers[i].value.n;
            return r->headers[i].value.p;
        }
    return NULL;
}

void context_of_request(struct sonde_context *out, const struct http_req *r)
{
    *out = (struct sonde_context){0};
    sonde_extract(out, get_header, (void *)r);
}

void headers_add(struct headers *hs, struct slice name, struct slice value)
{
    if (value.n == 0 || hs->n == MAX_SERVICE_HEADERS || name.n + value.n > sizeof hs->text - hs->used)
        return;
    char *at = hs->text + hs->used;
    memcpy(at, name.p, name.n);
    memcpy(at + name.n, value.p, value.n);
    hs->h[hs->n++] = (struct http_header){slice_of(at, name.n), slice_of(at + name.n, value.n)};
    hs->used += name.n + value.n;
}

static const char *name_of_header(void *carrier, int nth)
{
    // names are not terminated; baggage is looked for by its one name
    return nth == 0 ? "baggage" : NULL;
}

struct sonde_ctx *baggage_of_request(const struct http_req *r)
{
    if (!http_req_has_header(r, SLICE("baggage")))
        return NULL;
    struct sonde_baggage *b = sonde_baggage_new();
    struct sonde_ctx *c =
        b && sonde_extract_baggage(b, get_header, name_of_header, (void *)r) ? sonde_ctx_with_baggage(NULL, b) : NULL;
    sonde_baggage_free(b);
    return c;
}

static void set_header(void *carrier, const char *name, const char *value, size_t len)
{
    headers_add(carrier, slice_str(name), slice_of(value, len));
}

void headers_context(struct headers *hs, const struct sonde_span *span, struct sonde_ctx *baggage, bool to_worker)
{
    struct sonde_ctx *before = sonde_ctx_attach(baggage);
    if (to_worker)
        sonde_inject_dynamo(sonde_span_context(span), set_header, hs);
    else
        sonde_inject(sonde_span_context(span), set_header, hs);
    sonde_ctx_detach(before);
}

// ---- replies --------------------------------------------------------------------------------------------------------
static void text_or_null(struct jw *w, const char *text)
{
    if (text)
        jw_str(w, slice_str(text));
    else
        jw_null(w);
}

void error_json(struct buf *out, const char *type, const char *code, const char *param, const char *message)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "error");
    jw_obj(&w);
    JW_KEY(&w, "message");
    jw_str(&w, slice_str(message));
    JW_KEY(&w, "type");
    jw_str(&w, slice_str(type));
    JW_KEY(&w, "param");
    text_or_null(&w, param);
    JW_KEY(&w, "code");
    text_or_null(&w, code);
    jw_obj_end(&w);
    jw_obj_end(&w);
}

void reply_json(struct http_req *r, int status, struct buf *body)
{
    http_reply(r, status, SLICE("application/json"), buf_slice(body));
    buf_free(body);
}

void reply_error(struct http_req *r, int status, const char *type, const char *code, const char *param, const char *message)
{
    struct buf b;
    buf_init(&b, MAX_SERVICE_LINE);
    error_json(&b, type, code, param, message);
    reply_json(r, status, &b);
}

static void copy_text(char *out, size_t size, struct slice s)
{
    snprintf(out, size, "%.*s", (int)s.n, s.p ? s.p : "");
}

bool error_read(struct slice body, char *type, size_t type_size, char *message, size_t message_size)
{
    struct arena a;
    arena_init(&a, MAX_SERVICE_LINE);
    struct json j;
    json_init(&j, body, &a, NULL);
    struct slice key, text = SLICE_NONE, kind = SLICE_NONE;
    if (json_object(&j))
        while (json_next_key(&j, &key)) {
            if (!slice_eq(key, SLICE("error")) || json_peek(&j) != JSON_OBJECT) {
                json_skip(&j, NULL);
                continue;
            }
            json_object(&j);
            while (json_next_key(&j, &key)) {
                struct slice *to = slice_eq(key, SLICE("type")) ? &kind : slice_eq(key, SLICE("message")) ? &text : NULL;
                if (!to || json_peek(&j) != JSON_STRING)
                    json_skip(&j, NULL);
                else
                    json_string(&j, to);
            }
        }
    bool found = !j.failed && kind.n > 0;
    copy_text(type, type_size, found ? kind : SLICE("unknown"));
    copy_text(message, message_size, found ? text : slice_cut(body, 200));
    arena_free(&a);
    return found;
}

// ---- lines ----------------------------------------------------------------------------------------------------------
bool lines_feed(struct lines *l, struct slice bytes, bool (*fn)(struct slice line, void *arg), void *arg)
{
    if (l->rest.max == 0)
        buf_init(&l->rest, MAX_SERVICE_LINE);
    const char *end;
    while ((end = memchr(bytes.p, '\n', bytes.n)) != NULL) {
        size_t n = (size_t)(end - bytes.p);
        bool more;
        if (l->rest.n) {
            buf_put(&l->rest, bytes.p, n);
            more = !l->rest.err && fn(slice_trim(buf_slice(&l->rest)), arg);
            if (more)
                buf_reset(&l->rest);
        } else {
            more = fn(slice_trim(slice_of(bytes.p, n)), arg);
        }
        if (!more)
            return false; // the owner of l may be gone
        bytes = slice_from(bytes, n + 1);
    }
    buf_add(&l->rest, bytes);
    return l->rest.err == ERR_OK;
}

// ---- chance ---------------------------------------------------------------------------------------------------------
double chance_uniform(void)
{
    return (double)(random_u64() >> 11) * 0x1p-53;
}

double chance_exponential(double mean)
{
    return -mean * log1p(-chance_uniform());
}

double chance_jitter(double spread)
{
    double normal = sqrt(-2 * log1p(-chance_uniform())) * cos(2 * M_PI * chance_uniform());
    return fmin(3, fmax(1.0 / 3, exp(spread * normal)));
}

int64_t chance_between(int64_t low, int64_t high)
{
    return low + (int64_t)(chance_uniform() * (double)(high - low + 1));
}

void chance_id(char out[33])
{
    uint64_t id[2] = {random_u64(), random_u64()};
    hex_encode(out, id, sizeof id);
    out[32] = 0;
}

const char *chance_word(uint64_t n)
{
    static const char *const words[] = {"the ",  "cache ", "holds ", "what ",  "the ",   "prompt ", "said, ",
                                        "and ",  "each ",  "token ", "reads ", "it ",    "again ",  "before ",
                                        "it ",   "adds ",  "one ",   "more ",  "line ",  "to ",     "answer ",
                                        "you; ", "so ",    "here ",  "is ",    "where ", "time "};
    return words[n % (sizeof words / sizeof *words)];
}
