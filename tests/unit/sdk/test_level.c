// Level changes while the process runs: by call, for a time, by a watched file; many threads and call sites.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "level::test"
#include "base/clock.h"
#include "sdk/sdk.h"
#include <fcntl.h>
#include <pthread.h>

static const char *const plain[] = {"SONDE_FLIGHT_LEVEL=off", NULL};

// ---- one thread, a table of changes ---------------------------------------------------------------------------------
static void five(const char *step)
{
    SONDE_ERROR("e", SONDE_STR("at", step));
    SONDE_WARN("w", SONDE_STR("at", step));
    SONDE_INFO("i", SONDE_STR("at", step));
    SONDE_DEBUG("d", SONDE_STR("at", step));
    SONDE_TRACE("t", SONDE_STR("at", step));
}

static const struct {
    const char *set;
    bool ok;
    int lines;
} steps[] = {
    {NULL, true, 3},
    {"debug", true, 4},
    {"error", true, 1},
    {"off", true, 0},
    {"inof", true, 3}, // a target
    {"info,level=loud", false, 3},
    {"warn,level::test=trace", true, 5},
    {"info,level::test[span", false, 5}, // a mistake changes nothing
    {"warn,other=trace", true, 2},
    {"", true, 3},
};

static int change(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < CHECK_ROWS(steps); i++) {
        char name[16];
        snprintf(name, sizeof name, "<%zu>", i);
        if (sonde_set_filter(steps[i].set) != steps[i].ok)
            return 10 + (int)i;
        five(name);
    }
    return 0;
}

static void table(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(change, NULL, plain, &out), 0);
    for (size_t i = 0; i < CHECK_ROWS(steps); i++) {
        char name[16];
        snprintf(name, sizeof name, "\"<%zu>\"", i);
        check_row("%s", steps[i].set ? steps[i].set : "null");
        CHECK_INT(count_of(&out, name), steps[i].lines);
    }
    CHECK(strstr(out.p, "ignoring 'level=loud'") != NULL);
    buf_free(&out);
    check_done();
}

// ---- call sites made at run time ------------------------------------------------------------------------------------
static int at_run_time(void *arg)
{
    char target[] = "level::made", file[] = "made.py";
    struct sonde_site *s = sonde_site_new(SONDE_LEVEL_DEBUG, target, file, 7, false);
    struct sonde_field field = SONDE_FIELD(SONDE_INT("n", 1));
    (void)arg;
    target[0] = file[0] = '?'; // it has its own copies
    sonde_log_array(s, "before", SIZE_MAX, &field, 1);
    sonde_set_filter("info,level::made=debug");
    sonde_log_array(s, "during", SIZE_MAX, &field, 1);
    sonde_set_filter("info");
    sonde_log_array(s, "after", SIZE_MAX, &field, 1);
    return 0;
}

static void made(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(at_run_time, NULL, plain, &out), 0);
    CHECK_INT(count_of(&out, "during"), 1);
    CHECK_INT(count_of(&out, "before") + count_of(&out, "after"), 0);
    CHECK(strstr(out.p, "\"file\":\"made.py\",\"line\":7,\"target\":\"level::made\"") != NULL ||
          strstr(out.p, "level::made: during n=1") != NULL);
    buf_free(&out);
    check_done();
}

// ---- spans that are open when the filter changes --------------------------------------------------------------------
static void inner(const char *step)
{
    SONDE_DEBUG("inner", SONDE_STR("at", step));
}

static int in_span(void *arg)
{
    (void)arg;
    struct sonde_span *s = sonde_span_start("wanted", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    inner("before");
    sonde_set_filter("info,[wanted]=debug");
    inner("during");
    sonde_set_filter("info,[wanted{model=tiny}]=debug");
    inner("unset");
    sonde_span_str(s, "model", "tiny");
    inner("set");
    sonde_set_filter(NULL);
    inner("after");
    sonde_span_end(s);
    return 0;
}

static void open_spans(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(in_span, NULL, plain, &out), 0);
    assert_int_equal(count_of(&out, ": inner at="), 2);
    assert_int_equal(count_of(&out, "\"during\""), 1);
    assert_int_equal(count_of(&out, "\"set\""), 1);
    buf_free(&out);
}

// ---- a filter with an end -------------------------------------------------------------------------------------------
static bool debug_on(void)
{
    return SONDE_ENABLED(SONDE_LEVEL_DEBUG);
}
static bool info_on(void)
{
    return SONDE_ENABLED(SONDE_LEVEL_INFO);
}

enum { NEVER = 30000 };

// Milliseconds until what() has that value; NEVER if it never has.
static int until(bool (*what)(void), bool value)
{
    int64_t start = clock_mono_ns(), now = start;
    while (what() != value && now - start < (int64_t)NEVER * 1000000) {
        usleep(500);
        now = clock_mono_ns();
    }
    return (int)((now - start) / 1000000);
}

// Whether a filter with an end of that many ms holds at once, and does not end before them, nor never.
static bool holds_for(unsigned for_ms)
{
    int64_t start = clock_mono_ns();
    if (!sonde_set_filter_for("debug", for_ms) || !debug_on())
        return false;
    int ms = until(debug_on, false);
    return ms < NEVER && clock_mono_ns() - start >= (int64_t)for_ms * 1000000;
}

static int for_a_time(void *arg)
{
    (void)arg;
    if (debug_on() || !sonde_set_filter_for("debug", 2000) || !debug_on())
        return 1;
    if (!sonde_set_filter("warn") || !debug_on()) // waits for its turn
        return 2;
    if (until(debug_on, false) == NEVER || info_on())
        return 3;
    if (!sonde_set_filter_for("trace", 60000) || !debug_on() || !sonde_set_filter_for(NULL, 0) || debug_on())
        return 4;
    usleep(2300000); // the backend dozes
    if (!holds_for(1000))
        return 5;
    return sonde_set_filter_for("x=loud", 1000) ? 7 : 0;
}

static void reverts(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(for_a_time, NULL, plain, &out), 0);
    buf_free(&out);
}

// ---- many threads and sites -----------------------------------------------------------------------------------------
static atomic_bool stop;
static atomic_int calls;

#define FOUR(n)                  \
    SONDE_DEBUG("site " #n "0"); \
    SONDE_DEBUG("site " #n "1"); \
    SONDE_DEBUG("site " #n "2"); \
    SONDE_DEBUG("site " #n "3");
#define SIXTEEN(n)    FOUR(n##0) FOUR(n##1) FOUR(n##2) FOUR(n##3)
#define SIXTY_FOUR(n) SIXTEEN(n##0) SIXTEEN(n##1) SIXTEEN(n##2) SIXTEEN(n##3)

static void *loud(void *arg)
{
    (void)arg;
    while (!stop) {
        SIXTY_FOUR(1) SIXTY_FOUR(2) SIXTY_FOUR(3) SIXTY_FOUR(4) calls++;
        usleep(100);
    }
    return NULL;
}

// Each change silences or wakes all 256 sites at once, on all threads.
static int many(void *arg)
{
    (void)arg;
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, loud, NULL);
    int bad = 0;
    for (int round = 0; round < 20; round++) {
        sonde_set_filter(round % 2 ? "info" : "debug");
        int seen = calls;
        while (calls < seen + 16)
            usleep(100);
        for (uint32_t i = 1; i <= sdk.n_sites; i++) {
            struct site *s = site_get(&sdk.sites, i);
            if (s->level == SONDE_LEVEL_DEBUG && level_site_state(s) != (round % 2 ? SONDE_SITE_OFF : SONDE_SITE_ON))
                bad++;
        }
    }
    sonde_set_filter("info");
    usleep(20000); // calls that had read the old state
    stop = true;
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    sonde_flush(2000);
    SONDE_WARN("quiet from here");
    loud(NULL);
    return bad > 100 ? 100 : bad;
}

static void threads(void **state)
{
    (void)state;
    if (CHILD_TSAN)
        skip();
    struct buf out;
    assert_int_equal(child_run(many, NULL, plain, &out), 0);
    assert_true(count_of(&out, ": site 1000\n") > 0 && count_of(&out, ": site 4333\n") > 0);
    assert_null(strstr(strstr(out.p, "quiet from here"), ": site"));
    buf_free(&out);
}

// ---- control file ---------------------------------------------------------------------------------------------------
static char control[64];

static void put(const char *text)
{
    char aside[80];
    snprintf(aside, sizeof aside, "%s.new", control);
    FILE *f = fopen(aside, "w");
    fputs(text, f);
    fclose(f);
    rename(aside, control);
}

// Each change holds within 100 ms where nothing else keeps the processor from it: in one of some rounds.
static int watched(void *arg)
{
    static const struct {
        const char *text; // null: the file goes
        bool debug, info;
    } rows[] = {{"debug\n", true, true},     {"warn", false, false},       {"info,level::test=trace\nsecond line\n", true, true},
                {NULL, false, true},         {"trace for 1h", true, true}, {"error", false, false},
                {"debug for 3s", true, true}};
    bool fast[CHECK_ROWS(rows)] = {false};
    size_t n_fast = 0;
    (void)arg;
    SONDE_INFO("first");
    for (int round = 0; round < 20 && n_fast < CHECK_ROWS(rows); round++) {
        for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
            if (i == 2 && round == 0)
                usleep(2200000); // asleep
            if (rows[i].text)
                put(rows[i].text);
            else
                unlink(control);
            int ms = until(debug_on, rows[i].debug), more = until(info_on, rows[i].info);
            if (ms == NEVER || more == NEVER)
                return 10 + (int)i;
            n_fast += !fast[i] && ms + more <= 100;
            fast[i] = fast[i] || ms + more <= 100;
        }
        if (until(debug_on, false) == NEVER || info_on()) // back to "error"
            return 3;
    }
    return n_fast < CHECK_ROWS(rows) ? 4 : 0;
}

static void control_file(void **state)
{
    (void)state;
    char name[100];
    snprintf(control, sizeof control, "%s/control", child_dir);
    snprintf(name, sizeof name, "SONDE_LOG_CONTROL=%s", control);
    const char *const env[] = {"SONDE_FLIGHT_LEVEL=off", name, NULL};
    struct buf out;
    assert_int_equal(child_run(watched, NULL, env, &out), 0);
    buf_free(&out);
}

// ---- fork -----------------------------------------------------------------------------------------------------------
static int forks(void *arg)
{
    (void)arg;
    SONDE_DEBUG("unseen");
    sonde_set_filter("debug");
    pid_t pid = fork();
    if (pid == 0)
        exit(debug_on() && (sonde_set_filter("warn"), !info_on()) ? 0 : 1);
    int status;
    waitpid(pid, &status, 0);
    return status || !debug_on();
}

static void forked(void **state)
{
    (void)state;
    if (CHILD_TSAN || CHILD_ASAN)
        skip();
    struct buf out;
    assert_int_equal(child_run(forks, NULL, plain, &out), 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table),   cmocka_unit_test(made),    cmocka_unit_test(open_spans),
                                       cmocka_unit_test(reverts), cmocka_unit_test(threads), cmocka_unit_test(control_file),
                                       cmocka_unit_test(forked)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
