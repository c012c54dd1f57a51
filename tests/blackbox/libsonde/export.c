/* A program that exports, told what to do by its arguments, in their order:
 *   everything   a log record, a trace and a metric with every field there is
 *   until_sampled:B starts traces until one is (B 1) or is not (B 0) sampled, at most 30 s
 *   go           waits for a line on standard input
 *   logs:N spans:N sleep:MS flush:MS shutdown:MS signal_shutdown:S fork abort
 * Prints "flush 1 0.012" (result, seconds) for each flush and shutdown, and the counts at the end. */
#define SONDE_TARGET "export::driver"
#include <errno.h>
#include <sonde/export.h>
#include <sonde/meter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void trace(void)
{
    static const int64_t ints[] = {1, -2, 3};
    static const char *const words[] = {"a", "b"};
    struct sonde_field scope[] = {SONDE_FIELD(SONDE_STR("scope.attr", "v"))};
    struct sonde_tracer_options to;
    memset(&to, 0, sizeof to);
    to.name = "my.tracer";
    to.version = "1.2";
    to.schema_url = "https://example.org/schema/1";
    to.attributes = scope;
    to.n_attributes = 1;
    struct sonde_context remote, linked;
    memset(&remote, 0, sizeof remote);
    remote.flags = 1;
    remote.remote = true;
    memset(remote.trace_id, 0xab, 16);
    memset(remote.span_id, 0xcd, 8);
    linked = remote;
    memset(linked.span_id, 0xee, 8);
    struct sonde_field on_link[] = {SONDE_FIELD(SONDE_INT("link.n", 4))};
    struct sonde_link link = {&linked, on_link, 1};
    struct sonde_field given[] = {SONDE_FIELD(SONDE_STR("text", "w\xc3\xb6rt")), SONDE_FIELD(SONDE_INT("int", -5)),
                                  SONDE_FIELD(SONDE_F64("double", 1.5)),         SONDE_FIELD(SONDE_BOOL("bool", true)),
                                  SONDE_FIELD(SONDE_INTS("ints", ints, 3)),      SONDE_FIELD(SONDE_STRS("words", words, 2)),
                                  SONDE_FIELD(SONDE_BYTES("bytes", "\0\1\2", 3))};
    struct sonde_span_options o;
    memset(&o, 0, sizeof o);
    o.kind = SONDE_KIND_SERVER;
    o.parent = &remote;
    o.start_ns = 1700000000000001000;
    o.tracer = sonde_tracer_get(&to);
    o.attributes = given;
    o.n_attributes = sizeof given / sizeof *given;
    o.links = &link;
    o.n_links = 1;
    struct sonde_span *s = sonde_span_start_with("operation", &o);
    struct sonde_field on_event[] = {SONDE_FIELD(SONDE_STR("token", "first")), SONDE_FIELD(SONDE_INT("n", 1))};
    sonde_span_event_with(s, "first token", 1700000000000001500, on_event, 2);
    struct sonde_exception e;
    memset(&e, 0, sizeof e);
    e.type = "OutOfMemory";
    e.message = "no pages";
    e.stack = "at f()";
    sonde_span_exception(s, &e);
    sonde_span_status(s, SONDE_STATUS_ERROR, "gave up");
    sonde_span_enter(s);
    SONDE_ERROR("failed", SONDE_STR("worker", "w-1"), SONDE_UINT("big", UINT64_MAX), SONDE_F64("ms", 2.5), SONDE_BOOL("b", false),
                SONDE_INTS("list", ints, 3), SONDE_ERRNO("cause", ENOENT));
    sonde_span_exit(s);
    sonde_span_end_at(s, 1700000000000004000);
    struct sonde_span *c = sonde_span_start_at("client call", SONDE_KIND_CLIENT, &remote, 1700000000000000000);
    sonde_span_str(c, "peer.service", "kv-store");
    sonde_span_status(c, SONDE_STATUS_OK, NULL);
    sonde_span_end_at(c, 1700000000000000100);
}

static void metrics(void)
{
    struct sonde_scope scope = {"my.meter", "3.4", "https://example.org/schema/2", NULL, 0};
    struct sonde_meter *m = sonde_meter_get(NULL, &scope);
    struct sonde_field a[] = {SONDE_FIELD(SONDE_STR("route", "/v1"))};
    struct sonde_instrument_options c = {"requests", "{request}", "all of them", false, NULL, 0, NULL, 0};
    struct sonde_instrument_options h = {"ttft", "s", "", true, NULL, 0, NULL, 0};
    sonde_instrument_add(sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &c), 7, a, 1);
    struct sonde_instrument *hist = sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, &h);
    sonde_instrument_add_f64(hist, 3, a, 1);
    sonde_instrument_add_f64(hist, 60, a, 1);
}

static void report(const char *what, bool ok, double start)
{
    printf("%s %d %.3f\n", what, ok, now() - start);
    fflush(stdout);
}

static void run(const char *command)
{
    const char *colon = strchr(command, ':');
    unsigned n = colon ? (unsigned)atoi(colon + 1) : 0;
    double start = now();
    if (!strcmp(command, "everything")) {
        trace();
        metrics();
    } else if (!strncmp(command, "logs:", 5)) {
        for (unsigned i = 0; i < n; i++)
            SONDE_INFO("line", SONDE_UINT("i", i));
    } else if (!strncmp(command, "spans:", 6)) {
        for (unsigned i = 0; i < n; i++)
            sonde_span_end(sonde_span_start("span", SONDE_KIND_INTERNAL, NULL));
    } else if (!strncmp(command, "until_sampled:", 14)) {
        unsigned sampled = 2;
        while (sampled != n && now() < start + 30) {
            struct sonde_span *s = sonde_span_start("span", SONDE_KIND_INTERNAL, NULL);
            sampled = sonde_span_context(s)->flags & 1;
            sonde_span_end(s);
            usleep(1000);
        }
        report(command, sampled == n, start);
    } else if (!strncmp(command, "sleep:", 6)) {
        usleep(n * 1000);
    } else if (!strcmp(command, "go")) {
        char line[16];
        if (!fgets(line, sizeof line, stdin))
            exit(2);
    } else if (!strncmp(command, "flush:", 6)) {
        report("flush", sonde_flush(n), start);
    } else if (!strncmp(command, "shutdown:", 9)) {
        report("shutdown", sonde_shutdown(n), start);
    } else if (!strncmp(command, "signal_shutdown:", 16)) {
        report("signal_shutdown", sonde_signal_shutdown((enum sonde_signal)n, 3000), start);
    } else if (!strcmp(command, "fork")) {
        pid_t child = fork();
        if (child == 0) {
            SONDE_INFO("in the child");
            exit(0);
        }
        waitpid(child, NULL, 0);
    } else if (!strcmp(command, "abort")) {
        abort();
    }
}

int main(int argc, char **argv)
{
    struct sonde_options o = {"driver", "component=decode,rank=0"};
    struct sonde_counts c;
    sonde_init(&o);
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    sonde_counts_get(&c);
    printf("counts %llu %llu %llu %llu\n", (unsigned long long)c.export_logs_sent, (unsigned long long)c.export_logs_dropped,
           (unsigned long long)c.export_spans_sent, (unsigned long long)c.export_spans_dropped);
    return 0;
}
