// The load generator: chat completions at random times (open loop, Poisson), and what became of them.
// A request's clock starts when it was due, also when --concurrency made it wait, so that a slow server is not flattered.
#include "base/clock.h"
#include "load_stats.h"
#include "service.h"

#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct settings {
    const char *url, *model, *rate, *faults, *prompt, *output, *stream, *prefix, *o;
    int64_t duration_ns, count, concurrency, timeout_ns;
};

#define ROW(flag, type, value, min, max, arg, about, field)                             \
    {                                                                                   \
        flag, NULL, type, value, min, max, arg, about, offsetof(struct settings, field) \
    }
static const struct setting rows[] = {
    ROW("url", SETTING_STR, "http://127.0.0.1:8000", 0, 0, "URL", "the frontend", url),
    ROW("model", SETTING_STR, "tiny", 0, 0, "NAME", "the model asked for", model),
    ROW("rate", SETTING_STR, "5", 0, 0, "N", "requests a second, on average", rate),
    ROW("duration", SETTING_DURATION, "10s", 0, 0, "TIME", "how long requests are sent (without --count)", duration_ns),
    ROW("count", SETTING_INT, "0", 0, 100000000, "N", "how many are sent; 0: as --duration says", count),
    ROW("concurrency", SETTING_INT, "256", 1, 100000, "N", "most requests at the same time; further ones wait", concurrency),
    ROW("prompt", SETTING_STR, "50-800", 0, 0, "MIN-MAX", "tokens of a prompt, log-uniform", prompt),
    ROW("output", SETTING_STR, "16-96", 0, 0, "MIN-MAX", "tokens of an answer, log-uniform", output),
    ROW("stream", SETTING_STR, "0.5", 0, 0, "SHARE", "share of streamed requests", stream),
    ROW("faults", SETTING_STR, NULL, 0, 0, "NAME=SHARE,…", "shares of requests that are made to go wrong", faults),
    ROW("prefix", SETTING_STR, "load", 0, 0, "TEXT", "x-request-id is TEXT-1, TEXT-2, …", prefix),
    ROW("timeout", SETTING_DURATION, "60s", 1, INT64_MAX, "TIME", "limit of one request", timeout_ns),
    ROW("o", SETTING_STR, "text", 0, 0, "FORMAT", "of the summary: text or json", o),
};

struct range {
    double low, high;
};

struct call {
    struct call *next;
    int64_t number, due_ns, first_ns, last_ns, tokens;
    int status;
    bool stream, done, bad;
    enum fault fault;
    struct http_call *call;
    struct lines lines;
    struct buf body;
    char kind[80]; // of a failure
};

static struct {
    struct settings set;
    struct fault_mix faults;
    struct range prompt, output;
    double rate, stream_share;
    struct loop *loop;
    struct http_client *client;
    struct loop_timer *arrival;
    struct load_stats stats;
    struct call *due, **due_end; // waiting for --concurrency
    int64_t began_ns, next_ns, arrivals, running;
    bool all_sent, stopping;
    char *filler; // prompt text
} my;

enum { FILLER = 1 << 20 };

static void start_due(void);

// ---- the answer -----------------------------------------------------------------------------------------------------
static void count(struct call *c)
{
    struct load_stats *s = &my.stats;
    s->fault_sent[c->fault]++;
    s->streamed += c->stream;
    if (c->bad) {
        s->fault_failed[c->fault]++;
        stats_error(s, c->kind);
        return;
    }
    s->ok++;
    s->output_tokens += c->tokens;
    samples_add(&s->e2e_ms, (double)(clock_mono_ns() - c->due_ns) / 1e6);
    if (c->stream && c->first_ns)
        samples_add(&s->ttft_ms, (double)(c->first_ns - c->due_ns) / 1e6);
}

static void finish(struct call *c)
{
    count(c);
    buf_free(&c->body);
    buf_free(&c->lines.rest);
    free(c);
    my.running--;
    start_due();
    if (my.all_sent && my.running == 0 && !my.due)
        loop_stop(my.loop);
}

__attribute__((format(printf, 2, 3))) static void bad(struct call *c, const char *fmt, ...)
{
    if (c->bad)
        return; // the first reason counts
    c->bad = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->kind, sizeof c->kind, fmt, ap);
    va_end(ap);
}

// The first string or number under a key, at any depth of a small object: enough to find content and completion_tokens.
static bool find_value(struct slice text, const char *key, struct slice *out)
{
    char quoted[40];
    int n = snprintf(quoted, sizeof quoted, "\"%s\":", key);
    ptrdiff_t at = slice_find(text, slice_of(quoted, (size_t)n));
    if (at < 0)
        return false;
    *out = slice_from(text, (size_t)at + (size_t)n);
    return true;
}

static void on_event(struct call *c, struct slice data)
{
    char type[40], message[120];
    struct slice content;
    if (slice_eq(data, SLICE("[DONE]"))) {
        c->done = true;
    } else if (slice_starts(data, SLICE("{\"error\""))) {
        error_read(data, type, sizeof type, message, sizeof message);
        bad(c, "stream %s", type);
    } else if (find_value(data, "content", &content) && !slice_starts(content, SLICE("\"\""))) {
        int64_t now = clock_mono_ns();
        if (c->tokens++ == 0)
            c->first_ns = now;
        else
            samples_add(&my.stats.itl_ms, (double)(now - c->last_ns) / 1e6);
        c->last_ns = now;
    }
}

static bool on_line(struct slice line, void *arg)
{
    if (slice_starts(line, SLICE("data:")))
        on_event(arg, slice_trim(slice_from(line, 5)));
    return true;
}

static void on_head(struct http_call *hc, int status, const struct http_header *h, size_t n, void *arg)
{
    ((struct call *)arg)->status = status;
}

static void on_data(struct http_call *hc, struct slice bytes, void *arg)
{
    struct call *c = arg;
    if (c->status == 200 && c->stream)
        lines_feed(&c->lines, bytes, on_line, c);
    else
        buf_add(&c->body, bytes);
}

static void on_done(struct http_call *hc, bool ok, const struct error *why, void *arg)
{
    struct call *c = arg;
    char type[40], message[120];
    struct slice tokens;
    if (!ok) {
        bad(c, "%s", why->code == ERR_TIMEOUT ? "timeout" : c->status ? "broken off" : "no connection");
    } else if (c->status != 200) {
        error_read(buf_slice(&c->body), type, sizeof type, message, sizeof message);
        bad(c, "%d %s", c->status, type);
    } else if (c->stream && !c->done) {
        bad(c, "stream without end");
    } else if (!c->stream && find_value(buf_slice(&c->body), "completion_tokens", &tokens)) {
        c->tokens = strtoll(tokens.p, NULL, 10);
    } else if (!c->stream) {
        bad(c, "answer without usage");
    }
    finish(c);
}

// ---- the request ----------------------------------------------------------------------------------------------------
static int64_t draw(struct range r)
{
    return (int64_t)llround(r.low * pow(r.high / r.low, chance_uniform()));
}

static void write_body(struct call *c, struct buf *out)
{
    int64_t prompt = draw(my.prompt);
    size_t bytes = (size_t)prompt * 4 > 28 ? (size_t)prompt * 4 - 28 : 1; // the frontend's count adds some for the template
    my.stats.input_tokens += prompt;
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "model");
    jw_str(&w, slice_str(my.set.model));
    JW_KEY(&w, "stream");
    jw_bool(&w, c->stream);
    JW_KEY(&w, "max_tokens");
    jw_i64(&w, draw(my.output));
    JW_KEY(&w, "messages");
    jw_arr(&w);
    jw_obj(&w);
    JW_KEY(&w, "role");
    jw_str(&w, SLICE("user"));
    JW_KEY(&w, "content");
    jw_str(&w, slice_of(my.filler, bytes < FILLER ? bytes : FILLER));
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_obj_end(&w);
}

static void start(struct call *c)
{
    char url[300], id[200];
    struct headers hs = {0};
    struct buf body;
    struct error err = {0};
    snprintf(url, sizeof url, "%s/v1/chat/completions", my.set.url);
    snprintf(id, sizeof id, "%s-%lld", my.set.prefix, (long long)c->number);
    headers_add(&hs, SLICE("content-type"), SLICE("application/json"));
    headers_add(&hs, SLICE("x-request-id"), slice_str(id));
    if (c->fault != FAULT_NONE)
        headers_add(&hs, SLICE("x-sonde-fault"), slice_str(fault_names[c->fault]));
    buf_init(&body, MAX_SERVICE_BODY);
    write_body(c, &body);
    const struct http_call_options o = {.method = "POST",
                                        .url = url,
                                        .headers = hs.h,
                                        .n_headers = hs.n,
                                        .body = buf_slice(&body),
                                        .timeout_ns = my.set.timeout_ns,
                                        .on_head = on_head,
                                        .on_data = on_data,
                                        .on_done = on_done,
                                        .arg = c};
    my.running++;
    my.stats.sent++;
    if (http_client_start(my.client, &o, &c->call, &err) != ERR_OK) {
        bad(c, "no connection");
        finish(c);
    }
    buf_free(&body);
}

static void start_due(void)
{
    while (my.due && my.running < my.set.concurrency && !my.stopping) {
        struct call *c = my.due;
        my.due = c->next;
        if (!my.due)
            my.due_end = &my.due;
        start(c);
    }
}

// Everything that is due by now; then sleeps until the next one.
static void on_arrival(struct loop_timer *t, void *arg)
{
    int64_t now = clock_mono_ns();
    while (my.next_ns <= now) {
        my.all_sent = my.set.count ? my.arrivals >= my.set.count : my.next_ns - my.began_ns >= my.set.duration_ns;
        struct call *c = my.all_sent ? NULL : calloc(1, sizeof *c);
        if (!c)
            break;
        *c = (struct call){.number = ++my.arrivals,
                           .due_ns = my.next_ns,
                           .stream = chance_uniform() < my.stream_share,
                           .fault = fault_draw(&my.faults)};
        buf_init(&c->body, MAX_SERVICE_REPLY);
        *my.due_end = c;
        my.due_end = &c->next;
        my.next_ns += (int64_t)(chance_exponential(1 / my.rate) * 1e9);
    }
    start_due();
    if (!my.all_sent)
        loop_timer_set(t, my.next_ns > now ? my.next_ns - now : 1000000);
    else if (my.running == 0 && !my.due)
        loop_stop(my.loop);
}

// SIGINT, SIGTERM: no more requests, the summary of those that are answered.
static void on_signal(int number)
{
    my.stopping = true;
    loop_stop(my.loop);
}

static void forget_due(void)
{
    for (struct call *c; (c = my.due) != NULL;) {
        my.due = c->next;
        buf_free(&c->body);
        free(c);
    }
}

// ---- the program ----------------------------------------------------------------------------------------------------
static bool read_share(const char *name, const char *text, double min, double max, double *out)
{
    if (slice_to_f64(slice_str(text), out) && *out >= min && *out <= max)
        return true;
    fprintf(stderr, "load: option --%s: \"%s\" is not a number from %g to %g\n", name, text, min, max);
    return false;
}

static bool read_range(const char *name, const char *text, struct range *out)
{
    struct slice rest = slice_str(text), low;
    if (slice_split(&rest, '-', &low) && slice_to_f64(low, &out->low) && out->low >= 1) {
        out->high = out->low;
        if (low.n == strlen(text) || (slice_to_f64(rest, &out->high) && out->high >= out->low && out->high <= FILLER / 4))
            return true;
    }
    fprintf(stderr, "load: option --%s: \"%s\" is no range; write 50-800 or 100\n", name, text);
    return false;
}

static bool prepare(void)
{
    struct error err = {0};
    if (!read_share("rate", my.set.rate, 0.001, 100000, &my.rate) ||
        !read_share("stream", my.set.stream, 0, 1, &my.stream_share) || !read_range("prompt", my.set.prompt, &my.prompt) ||
        !read_range("output", my.set.output, &my.output))
        return false;
    if (strcmp(my.set.o, "text") != 0 && strcmp(my.set.o, "json") != 0) {
        fprintf(stderr, "load: option -o: \"%s\" is no format; write text or json\n", my.set.o);
        return false;
    }
    if (fault_mix_parse(my.set.faults, &my.faults, &err) != ERR_OK) {
        fprintf(stderr, "load: option --faults: %s\n", err.msg);
        return false;
    }
    my.filler = malloc(FILLER);
    for (size_t i = 0, word = 0; my.filler && i < FILLER; word++)
        for (const char *p = chance_word(word); *p && i < FILLER; p++)
            my.filler[i++] = *p;
    return my.filler != NULL;
}

static void print_summary(void)
{
    struct buf out;
    buf_init(&out, MAX_SUMMARY);
    if (strcmp(my.set.o, "json") == 0)
        stats_json(&my.stats, &out);
    else
        stats_text(&my.stats, &out);
    fwrite(out.p, 1, out.n, stdout);
    fflush(stdout);
    buf_free(&out);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    service_settings("load: sends chat completions at random times and says how long they took.\n"
                     "Exit code: 0, or 1 if no request was answered at all, 2 for a mistake in the options.",
                     rows, sizeof rows / sizeof *rows, &my.set, argc, argv);
    if (!prepare())
        return 2;
    signal(SIGPIPE, SIG_IGN);
    my.due_end = &my.due;
    if (loop_new(&my.loop, &err) != ERR_OK || http_client_new(&my.client, my.loop, &err) != ERR_OK) {
        fprintf(stderr, "load: %s\n", err.msg);
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    my.arrival = loop_timer_new(my.loop, on_arrival, NULL);
    if (!my.arrival)
        return 1;
    my.began_ns = my.next_ns = clock_mono_ns();
    loop_timer_set(my.arrival, 0);
    loop_run(my.loop);
    my.stats.seconds = (double)(clock_mono_ns() - my.began_ns) / 1e9;
    print_summary();
    bool none = my.stats.ok == 0 && my.stats.n_kinds == 1 && strcmp(my.stats.kinds[0].name, "no connection") == 0;
    my.stopping = true;
    http_client_free(my.client);
    forget_due();
    loop_timer_free(my.arrival);
    loop_free(my.loop);
    stats_free(&my.stats);
    free(my.filler);
    return none ? 1 : 0;
}
