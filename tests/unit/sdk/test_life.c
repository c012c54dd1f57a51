// The library in a host process: before init, at exit, environment, order, filters at run time.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "tests::unit::sdk::test_life" // whatever the build directory is
#include "sdk/sdk.h"
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

static const char *const plain[] = {NULL};

static int evaluated;
static int count_call(void)
{
    return ++evaluated;
}

// ---- without init, flushed at exit ----------------------------------------------------------------------------------
static int no_init(void *arg)
{
    (void)arg;
    SONDE_INFO("first", SONDE_INT("n", count_call()));
    SONDE_DEBUG("off", SONDE_INT("n", count_call()));
    if (SONDE_ENABLED(SONDE_LEVEL_DEBUG))
        count_call();
    return evaluated; // 1: a disabled call evaluates nothing
}

static void works_without_init(void **state)
{
    (void)state;
    struct buf out;
    static const char *const env[] = {"SONDE_FLIGHT_LEVEL=off", NULL};
    assert_int_equal(child_run(no_init, NULL, env, &out), 1);
    assert_non_null(strstr(out.p, "  INFO "));
    assert_non_null(strstr(out.p, ": first n=1\n"));
    assert_null(strstr(out.p, "off"));
    assert_null(strchr(out.p, 27)); // no colour: it is no terminal
    buf_free(&out);
}

// ---- after shutdown -------------------------------------------------------------------------------------------------
static int after_shutdown(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    sonde_init(&(struct sonde_options){.service = "late"}); // does nothing
    SONDE_INFO("one");
    if (!sonde_shutdown(2000) || !sonde_shutdown(2000) || !sonde_flush(100))
        return 1;
    SONDE_INFO("two");
    SONDE_DEBUG("not this");
    _exit(0); // written already
}

static void records_after_shutdown(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(after_shutdown, NULL, plain, &out), 0);
    assert_int_equal(count_of(&out, ": one\n"), 1);
    assert_int_equal(count_of(&out, ": two\n"), 1);
    assert_int_equal(count_of(&out, "not this"), 0);
    buf_free(&out);
}

// ---- environment ----------------------------------------------------------------------------------------------------
static int some_lines(void *arg)
{
    (void)arg;
    sonde_init(&(struct sonde_options){.service = "lines"});
    SONDE_ERROR("e");
    SONDE_WARN("w");
    SONDE_INFO("i");
    SONDE_DEBUG("d");
    SONDE_TRACE("t");
    return 0;
}

static void environment(void **state)
{
    (void)state;
    static const struct {
        const char *env[4];
        int lines;        // of the five
        const char *part; // somewhere in the output
    } rows[] = {
        {{NULL}, 3, " INFO "},
        {{"DYN_LOG=trace"}, 5, "TRACE "},
        {{"DYN_LOG=off"}, 0, ""},
        {{"DYN_LOG=error"}, 1, "ERROR "},
        {{"DYN_LOG=other=debug"}, 3, " WARN "},
        {{"DYN_LOG=tests::unit::sdk=debug"}, 4, "DEBUG "},
        {{"DYN_LOG=tests::unit:debug"}, 4, "sonde: DYN_LOG: 'tests::unit:debug' is taken as"},
        {{"DYN_LOG=a=loud,debug"}, 4, "sonde: DYN_LOG: ignoring 'a=loud'"},
        {{"DYN_LOGGING_JSONL=1"}, 3, "{\"time\":\""},
        {{"DYN_LOGGING_JSONL=YES"}, 3, "{\"time\":\""},
        {{"DYN_LOGGING_JSONL=enabled"}, 3, "Z  INFO "},
        {{"DYN_LOGGING_JSONL=1", "DYN_LOGGING_CONSOLE_FORMAT=readable"}, 3, "Z  INFO "},
        {{"DYN_LOGGING_CONSOLE_FORMAT= JSONL "}, 3, "\"message\":\"i\"}"},
        {{"DYN_LOGGING_CONSOLE_FORMAT=xml"}, 3, "sonde: DYN_LOGGING_CONSOLE_FORMAT: 'xml'"},
        {{"DYN_LOG_USE_LOCAL_TZ=1", "TZ=UTC-02"}, 3, "+02:00  INFO "},
        {{"DYN_LOG_USE_LOCAL_TZ=1", "TZ=UTC"}, 3, "+00:00  INFO "},
        {{"SONDE_RING_DIR=/nonexistent/dir"}, 3, "sonde: SONDE_RING_DIR=/nonexistent/dir: No such file or directory"},
        {{"OTEL_TRACES_SAMPLE_RATIO=2"}, 3, "sonde: OTEL_TRACES_SAMPLE_RATIO: '2'"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf out;
        size_t lines = 0;
        static const char *const words[] = {": e\n",
                                            ": w\n",
                                            ": i\n",
                                            ": d\n",
                                            ": t\n",
                                            "\"message\":\"e\"}",
                                            "\"message\":\"w\"}",
                                            "\"message\":\"i\"}",
                                            "\"message\":\"d\"}",
                                            "\"message\":\"t\"}"};
        check_row("%s", rows[i].env[0] ? rows[i].env[0] : "nothing set");
        CHECK_INT(child_run(some_lines, NULL, rows[i].env, &out), 0);
        for (size_t k = 0; k < CHECK_ROWS(words); k++)
            lines += count_of(&out, words[k]);
        CHECK_INT(lines, rows[i].lines);
        CHECK(strstr(out.p ? out.p : "", rows[i].part) != NULL);
        buf_free(&out);
    }
    check_done();
}

// ---- span directives ------------------------------------------------------------------------------------------------
static void debug_line(const char *where)
{
    SONDE_DEBUG("inner", SONDE_STR("where", where));
}

static int span_filter(void *arg)
{
    (void)arg;
    debug_line("outside");
    struct sonde_span *s = sonde_span_start("wanted", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    debug_line("without the field");
    sonde_span_str(s, "model", "tiny");
    debug_line("inside");
    struct sonde_span *child = sonde_span_start("child", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(child);
    debug_line("deeper");
    sonde_span_end(child);
    sonde_span_exit(s);
    debug_line("left");
    sonde_span_end(s);
    return 0;
}

static void span_directives(void **state)
{
    (void)state;
    static const char *const env[] = {"DYN_LOG=info,[wanted{model=tiny}]=debug", NULL};
    struct buf out;
    assert_int_equal(child_run(span_filter, NULL, env, &out), 0);
    assert_int_equal(count_of(&out, ": inner where="), 2);
    assert_int_equal(count_of(&out, "where=\"inside\""), 1);
    assert_int_equal(count_of(&out, "where=\"deeper\""), 1);
    buf_free(&out);
}

// What a span around told already stands once on a text line; another value of the same name stands beside it.
static int nested(void *arg)
{
    struct sonde_span *outer = sonde_span_start("outer", SONDE_KIND_SERVER, NULL);
    (void)arg;
    sonde_span_str(outer, "id", "one");
    sonde_span_int(outer, "n", 1);
    sonde_span_enter(outer);
    struct sonde_span *inner = sonde_span_start("inner", SONDE_KIND_INTERNAL, NULL);
    sonde_span_str(inner, "id", "one");
    sonde_span_int(inner, "n", 2);
    sonde_span_enter(inner);
    SONDE_INFO("here");
    sonde_span_end(inner);
    sonde_span_end(outer);
    return 0;
}

static void told_once(void **state)
{
    (void)state;
    static const char *const env[] = {"DYN_LOGGING_JSONL=0", NULL};
    struct buf out;
    assert_int_equal(child_run(nested, NULL, env, &out), 0);
    assert_int_equal(count_of(&out, ": here id=\"one\" n=1 n=2\n"), 1);
    buf_free(&out);
}

// ---- order ----------------------------------------------------------------------------------------------------------
static void *ordered(void *arg)
{
    for (int i = 0; i < 5000; i++)
        SONDE_INFO("o", SONDE_INT("t", (intptr_t)arg), SONDE_INT("i", i));
    return NULL;
}

static int order(void *arg)
{
    (void)arg;
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, ordered, (void *)(intptr_t)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    return 0;
}

static void order_within_threads(void **state)
{
    (void)state;
    struct buf out;
    long next[4] = {0}, lines = 0, back = 0;
    char before[28] = "";
    assert_int_equal(child_run(order, NULL, plain, &out), 0);
    for (char *line = strtok(out.p, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        long t, i;
        assert_int_equal(sscanf(strstr(line, "t="), "t=%ld i=%ld", &t, &i), 2);
        assert_int_equal(i, next[t]++);
        back += strncmp(before, line, 27) > 0;
        memcpy(before, line, 27);
    }
    assert_int_equal(lines, 20000);
    assert_true(back <= 20); // only where a call was interrupted between its clock and its commit
    buf_free(&out);
}

// ---- a good guest ---------------------------------------------------------------------------------------------------
static volatile sig_atomic_t handled;

static void handler(int signo)
{
    SONDE_INFO("from a handler", SONDE_INT("signal", signo));
    handled++;
}

static int signals(void *arg)
{
    (void)arg;
    struct sigaction sa = {.sa_handler = handler};
    sigaction(SIGALRM, &sa, NULL);
    handler(0); // its call site is known before the first signal
    ualarm(200, 200);
    while (handled < 1000) {
        for (int i = 0; i < 20000; i++)
            SONDE_INFO("busy", SONDE_STR("s", "words"));
        sonde_flush(30000); // there is room for all of them
    }
    ualarm(0, 0);
    return 0;
}

static void in_signal_handlers(void **state)
{
    (void)state;
    struct buf out;
    static const char *const env[] = {"SONDE_RING_SIZE=67108864", NULL};
    assert_int_equal(child_run(signals, NULL, env, &out), 0);
    assert_true(count_of(&out, ": from a handler signal=14\n") > 50);
    for (char *line = strtok(out.p, "\n"); line; line = strtok(NULL, "\n")) // none is mixed up
        assert_true(strstr(line, ": busy s=\"words\"") || strstr(line, ": from a handler") || strstr(line, " lost_total="));
    buf_free(&out);
}

static int blocked_stderr(void *arg)
{
    struct timespec a, b;
    (void)arg;
    for (int i = 0; i < 20000; i++)
        SONDE_INFO("nobody reads this", SONDE_INT("i", i));
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 200000; i++)
        SONDE_ERROR("these wait for room, but not each of them", SONDE_INT("i", i));
    bool ok = sonde_shutdown(300);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    _exit(!ok && s < 60 ? 0 : 1); // each alone would wait its 100 ms or more: hours
}

static void shutdown_is_bounded(void **state)
{
    (void)state;
    struct child c = child_start(blocked_stderr, NULL, plain);
    int status;
    waitpid(c.pid, &status, 0); // without reading its stderr
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    child_read(&c);
    buf_free(&c.out);
}

// Less address space than the ring would like to have: it makes do.
static int little_space(void *arg)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    bool ok = f && fscanf(f, "%ld", &pages) == 1;
    rlim_t size = (rlim_t)pages * 4096 + (16 << 20);
    fclose(f);
    setrlimit(RLIMIT_AS, &(struct rlimit){size, size});
    for (int i = 0; i < 100; i++)
        SONDE_INFO("narrow", SONDE_INT("i", i));
    *(bool *)arg = sdk.ring && sdk.ring->path[0];
    return !ok;
}

static void little_address_space(void **state)
{
    (void)state;
    struct buf out;
    bool *in_file = child_shared(sizeof *in_file);
    if (CHILD_TSAN || CHILD_ASAN)
        skip();
    assert_int_equal(child_run(little_space, in_file, plain, &out), 0);
    assert_int_equal(count_of(&out, ": narrow i="), 100);
    assert_true(*in_file);
    buf_free(&out);
}

static int closed_stderr(void *arg)
{
    (void)arg;
    close(2);
    for (int i = 0; i < 1000; i++)
        SONDE_ERROR("into nothing");
    return sonde_shutdown(1000) ? 0 : 1;
}

static int broken_pipe(void *arg)
{
    int fds[2];
    (void)arg;
    if (pipe(fds) != 0)
        return 2;
    dup2(fds[1], 2);
    close(fds[0]);
    close(fds[1]);
    for (int i = 0; i < 1000; i++)
        SONDE_ERROR("into nothing");
    sonde_shutdown(1000);
    return 0; // SIGPIPE would have ended us
}

static void no_stderr(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(closed_stderr, NULL, plain, &out), 0);
    buf_free(&out);
    assert_int_equal(child_run(broken_pipe, NULL, plain, &out), 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(works_without_init),  cmocka_unit_test(records_after_shutdown),
                                       cmocka_unit_test(environment),         cmocka_unit_test(span_directives),
                                       cmocka_unit_test(told_once),           cmocka_unit_test(order_within_threads),
                                       cmocka_unit_test(in_signal_handlers),  cmocka_unit_test(little_address_space),
                                       cmocka_unit_test(shutdown_is_bounded), cmocka_unit_test(no_stderr)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
