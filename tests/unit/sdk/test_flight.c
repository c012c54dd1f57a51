// The flight recorder: what is held, what an ERROR brings out, dumps.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "flight::test"
#include "base/clock.h"
#include "sdk/flight.h"
#include "sdk/sdk.h"
#include <errno.h>
#include <fcntl.h>

// ---- an error inside a trace ----------------------------------------------------------------------------------------
static void step(const char *trace, int i)
{
    SONDE_DEBUG("step", SONDE_STR("of", trace), SONDE_INT("i", i));
    SONDE_TRACE("detail", SONDE_STR("of", trace), SONDE_INT("i", i));
}

static int two_requests(void *arg)
{
    (void)arg;
    struct sonde_span *good = sonde_span_start("good", SONDE_KIND_SERVER, NULL);
    struct sonde_context fresh = {.flags = 1};
    struct sonde_span *bad = sonde_span_start("bad", SONDE_KIND_SERVER, &fresh);
    step("none", 0);
    for (int i = 0; i < 3; i++) {
        sonde_span_enter(good);
        step("good", i);
        SONDE_INFO("told", SONDE_STR("of", "good"));
        sonde_span_exit(good);
        sonde_span_enter(bad);
        step("bad", i);
        SONDE_INFO("told", SONDE_STR("of", "bad"));
        sonde_span_exit(bad);
    }
    SONDE_ERROR("outside any trace");
    sonde_span_enter(bad);
    SONDE_ERROR("it failed");
    SONDE_ERROR("again");
    step("bad", 3);
    SONDE_ERROR("and again");
    sonde_span_end(bad);
    sonde_span_end(good);
    return 0;
}

static void errors(void **state)
{
    (void)state;
    static const struct {
        const char *env[4];
        int retro, step, detail; // lines
    } rows[] = {
        {{NULL}, 8, 4, 4},
        {{"DYN_LOGGING_JSONL=1"}, 8, 4, 4},
        {{"SONDE_FLIGHT_LEVEL=debug"}, 4, 4, 0},
        {{"SONDE_FLIGHT_LEVEL=off"}, 0, 0, 0},
        {{"SONDE_FLIGHT_LEVEL=loud"}, 8, 4, 4},
        {{"SONDE_RETRO=off"}, 0, 0, 0},
        {{"DYN_LOG=debug"}, 4, 8, 4}, // the others came out in the ordinary way
        {{"DYN_LOG=trace"}, 0, 8, 8},
        {{"DYN_LOG=off"}, 0, 0, 0},
        {{"DYN_LOG=error"}, 8 + 3, 4, 4}, // INFO was below the filter too
        {{"SONDE_RING_DIR=/proc/none"}, 8, 4, 4},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf out;
        check_row("%s", rows[i].env[0] ? rows[i].env[0] : "default");
        CHECK_INT(child_run(two_requests, NULL, rows[i].env, &out), 0);
        const char *mark = i == 1 ? "\"retro\":true" : " retro=true";
        CHECK_INT(count_of(&out, mark), rows[i].retro);
        CHECK_INT(count_of(&out, i == 1 ? "\"message\":\"step\"" : ": step of="), rows[i].step);
        CHECK_INT(count_of(&out, i == 1 ? "\"message\":\"detail\"" : ": detail of="), rows[i].detail);
        // Before the error, in order, and only of its trace; those between two errors before the second.
        const char *failed = strstr(out.p, "it failed"), *first = strstr(out.p, mark);
        if (rows[i].retro) {
            const char *last = first;
            for (const char *p = first; p && p < failed; p = strstr(p + 1, mark))
                last = p;
            CHECK(first < failed && last < failed && strstr(out.p, "outside any trace") < first);
            const char *late = strstr(strstr(failed, "again"), mark);
            CHECK(late && late < strstr(out.p, "and again"));
        }
        if (i != 6 && i != 7)
            CHECK(!strstr(out.p, "step of=\"good\"") && !strstr(out.p, "step of=\"none\""));
        for (int k = 0; i == 0 && k < 4; k++) {
            char want[80];
            snprintf(want, sizeof want, "DEBUG bad: flight::test: step of=\"bad\" i=%d retro=true\n", k);
            CHECK_INT(count_of(&out, want), 1);
        }
        buf_free(&out);
    }
    check_done();
}

// ---- limits, many traces and threads --------------------------------------------------------------------------------
static int long_trace(void *arg)
{
    (void)arg;
    struct sonde_span *s = sonde_span_start("long", SONDE_KIND_SERVER, NULL);
    sonde_span_enter(s);
    for (int i = 0; i < 3000; i++)
        SONDE_DEBUG("step", SONDE_INT("i", i));
    SONDE_ERROR("failed");
    SONDE_DEBUG("step", SONDE_INT("i", 3000));
    SONDE_ERROR("failed");
    sonde_span_end(s);
    return 0;
}

static void most(void **state)
{
    (void)state;
    static const char *const env[] = {NULL};
    struct buf out;
    assert_int_equal(child_run(long_trace, NULL, env, &out), 0);
    assert_int_equal(count_of(&out, " retro=true"), FLIGHT_RETRO_MAX);
    assert_non_null(strstr(out.p, "left_out=2000\n"));
    assert_non_null(strstr(out.p, ": step i=2000 retro=true"));
    assert_non_null(strstr(out.p, ": step i=2999 retro=true"));
    assert_null(strstr(out.p, "i=3000"));
    buf_free(&out);
}

enum { WORKERS = 4, REQUESTS = 2000 };
static void *worker(void *arg)
{
    for (int i = 0; i < REQUESTS; i++) {
        struct sonde_context fresh = {.flags = 1};
        struct sonde_span *s = sonde_span_start("request", SONDE_KIND_SERVER, &fresh);
        sonde_span_enter(s);
        int id = (int)(intptr_t)arg * REQUESTS + i;
        for (int k = 0; k < 5; k++)
            SONDE_DEBUG("step", SONDE_INT("id", id), SONDE_INT("k", k));
        if (i % 100 == 7)
            SONDE_ERROR("failed", SONDE_INT("id", id));
        sonde_span_end(s);
        if (i % 50 == 0)
            usleep(2000);
    }
    return NULL;
}

static int workers(void *arg)
{
    (void)arg;
    pthread_t t[WORKERS];
    struct sonde_counts c;
    for (long i = 0; i < WORKERS; i++)
        pthread_create(&t[i], NULL, worker, (void *)(intptr_t)i);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(t[i], NULL);
    sonde_flush(2000);
    sonde_counts_get(&c);
    return c.records_lost || c.held_lost;
}

// Each failed request has its five, in order, directly before it; no other has any.
static void many(void **state)
{
    (void)state;
    if (CHILD_TSAN)
        skip();
    static const char *const env[] = {"SONDE_RING_BYTES=16777216", NULL};
    struct buf out;
    int next = 0, failed = 0, id, k, of = -1;
    assert_int_equal(child_run(workers, NULL, env, &out), 0);
    for (char *line = strtok(out.p, "\n"); line; line = strtok(NULL, "\n")) {
        const char *at = strstr(line, "step id=");
        if (at && sscanf(at, "step id=%d k=%d retro=true", &id, &k) == 2) {
            CHECK_INT(k, next);
            CHECK(next == 0 || id == of);
            of = id;
            next++;
        } else if ((at = strstr(line, "failed id=")) && sscanf(at, "failed id=%d", &id) == 1) {
            CHECK(next == 5 && id == of);
            next = 0;
            failed++;
        }
    }
    CHECK_INT(failed, WORKERS * REQUESTS / 100);
    buf_free(&out);
    check_done();
}

// ---- held records push nobody out -----------------------------------------------------------------------------------
static int flood(void *arg)
{
    (void)arg;
    struct sonde_counts c;
    pthread_mutex_lock(&sdk.drain); // nobody reads
    for (int i = 0; i < 20000; i++)
        SONDE_DEBUG("flood", SONDE_INT("i", i));
    for (int i = 0; i < 100; i++)
        SONDE_INFO("told", SONDE_INT("i", i));
    sonde_counts_get(&c);
    pthread_mutex_unlock(&sdk.drain);
    return c.records_lost == 0 && c.held_lost > 1000 ? 0 : 1;
}

static void reserve(void **state)
{
    (void)state;
    static const char *const env[] = {"SONDE_RING_BYTES=262144", NULL};
    struct buf out;
    assert_int_equal(child_run(flood, NULL, env, &out), 0);
    assert_int_equal(count_of(&out, "\n"), 100);
    buf_free(&out);
}

// ---- a verdict that comes later, dumps, other sinks -----------------------------------------------------------------
static char path[2][100];

static int later(void *arg)
{
    (void)arg;
    struct sonde_span *s = sonde_span_start("slow", SONDE_KIND_SERVER, NULL);
    uint8_t trace[16];
    memcpy(trace, sonde_span_context(s)->trace_id, 16);
    sonde_span_enter(s);
    step("slow", 1);
    sonde_span_end(s);
    step("none", 2);
    if (!sonde_flight_dump(path[0]) || !sonde_flight_dump(path[1]) || sonde_flight_dump("/proc/none/dump") || errno != ENOENT)
        return 1;
    sonde_flight_release(trace);
    sonde_flight_release(trace); // once
    return 0;
}

static void released(void **state)
{
    (void)state;
    static const char *const rings[] = {"SONDE_RETRO=on", "SONDE_RING_DIR=/proc/none"};
    for (int i = 0; i < 2; i++) {
        const char *const env[] = {rings[i], NULL};
        char text[65536];
        struct buf out;
        check_row("%s", rings[i]);
        snprintf(path[0], sizeof path[0], "%s/dump", child_dir);
        snprintf(path[1], sizeof path[1], "%s/dump.jsonl", child_dir);
        CHECK_INT(child_run(later, NULL, env, &out), 0);
        CHECK_INT(count_of(&out, " retro=true\n"), 2);
        CHECK_INT(count_of(&out, "of=\"slow\" i=1 retro=true\n"), 2);
        buf_free(&out);
        for (int k = 0; k < 2; k++) {
            int fd = open(path[k], O_RDONLY);
            ssize_t n = read(fd, text, sizeof text - 1);
            text[n > 0 ? n : 0] = 0;
            close(fd);
            struct buf b = {.p = text};
            CHECK_INT(count_of(&b, k ? "\"message\":\"step\"" : "DEBUG "), 2);
            CHECK_INT(count_of(&b, k ? "\"message\":\"detail\"" : "TRACE "), 2);
            CHECK(strstr(text, k ? "\"i\":2" : " i=2\n") != NULL && text[0] == (k ? '{' : '#'));
        }
    }
    check_done();
}

static int beside(void *arg)
{
    (void)arg;
    sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_FILE, .path = path[0], .filter = "debug"});
    sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_FILE, .path = path[1], .filter = "off"});
    struct sonde_span *s = sonde_span_start("bad", SONDE_KIND_SERVER, NULL);
    sonde_span_enter(s);
    step("bad", 1);
    SONDE_ERROR("failed");
    sonde_span_end(s);
    return 0;
}

static void other_sinks(void **state)
{
    (void)state;
    static const char *const env[] = {NULL};
    struct buf out;
    char text[4096];
    unlink(path[0]);
    unlink(path[1]);
    assert_int_equal(child_run(beside, NULL, env, &out), 0);
    assert_int_equal(count_of(&out, "\n"), 3);
    buf_free(&out);
    int fd = open(path[0], O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    struct buf b = {.p = text};
    assert_int_equal(count_of(&b, "\n"), 3); // DEBUG as ever, then TRACE, then the error
    assert_int_equal(count_of(&b, " retro=true\n"), 1);
    assert_int_equal(count_of(&b, "TRACE bad: flight::test: detail of=\"bad\" i=1 retro=true\n"), 1);
    fd = open(path[1], O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors),  cmocka_unit_test(most),     cmocka_unit_test(many),
                                       cmocka_unit_test(reserve), cmocka_unit_test(released), cmocka_unit_test(other_sinks)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
