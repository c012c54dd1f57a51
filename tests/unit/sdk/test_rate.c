// Limits of call sites: exact counts from several threads, windows, repeats, and the summary lines.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "tests::rate" // whatever the build directory is
#include "sdk/inspect.h"
#include "sdk/limit.h"
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

// ---- the counts -----------------------------------------------------------------------------------------------------
struct row {
    uint32_t first, one_in, threads, calls; // calls: of each thread
    uint64_t passed;
};

static const struct row rows[] = {
    {10, 0, 1, 10, 10},       {10, 0, 1, 11, 10},          {10, 0, 4, 10000, 10},
    {0, 0, 4, 1000, 0},       {0, 1, 2, 500, 1000},        {0, 2, 1, 10, 5},
    {1, 3, 1, 7, 3},          {5, 100, 1, 104, 5},         {5, 100, 1, 105, 6},
    {5, 100, 4, 25000, 1004}, {7, 13, 4, 10001, 7 + 3076}, {100, 1000, 3, 33, 99},
    {1, 0, 4, 20000, 1},      {UINT32_MAX, 0, 1, 50, 50},
};

struct work {
    struct sonde_limit *limit;
    struct sonde_site *site;
    uint32_t calls;
    uint64_t passed;
    pthread_t thread;
};

static void *ask(void *arg)
{
    struct work *w = arg;
    for (uint32_t i = 0; i < w->calls; i++)
        w->passed += sonde_limit_pass(w->limit, w->site);
    return NULL;
}

static void counts(void **state)
{
    (void)state;
    static struct sonde_limit limits[CHECK_ROWS(rows)];
    static struct sonde_site site = {0, 0, 1, SONDE_LEVEL_INFO, 0, 0, 0, "m", "t", "f.c", NULL, NULL, 0};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        const struct row *r = &rows[i];
        struct work w[4];
        uint64_t passed = 0;
        limits[i].first = r->first;
        limits[i].one_in = r->one_in;
        limits[i].period_ns = 0; // one window for ever
        limits[i].listed = 1;    // the backend does not tell of it: the counts are ours
        for (uint32_t t = 0; t < r->threads; t++) {
            w[t] = (struct work){.limit = &limits[i], .site = &site, .calls = r->calls};
            pthread_create(&w[t].thread, NULL, ask, &w[t]);
        }
        for (uint32_t t = 0; t < r->threads; t++) {
            pthread_join(w[t].thread, NULL);
            passed += w[t].passed;
        }
        check_row("first %u, 1 in %u, %u threads, %u calls", r->first, r->one_in, r->threads, r->calls);
        CHECK_INT(passed, r->passed);
        CHECK_INT(limits[i].suppressed, (uint64_t)r->threads * r->calls - passed);
    }
    check_done();
}

// Windows that end while four threads call: in each at most `first`, and nothing is counted twice or not at all.
static void windows(void **state)
{
    (void)state;
    static struct sonde_limit limit = {.first = 3, .period_ns = 5000000, .listed = 1};
    static struct sonde_site site = {0, 0, 1, SONDE_LEVEL_INFO, 0, 0, 0, "m", "t", "f.c", NULL, NULL, 0};
    struct work w[4];
    uint64_t passed = 0, calls = 0;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int t = 0; t < 4; t++) {
        w[t] = (struct work){.limit = &limit, .site = &site, .calls = 100000};
        pthread_create(&w[t].thread, NULL, ask, &w[t]);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(w[t].thread, NULL);
        passed += w[t].passed;
        calls += w[t].calls;
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    int64_t ns = (b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec);
    assert_true(passed >= 3 && passed <= 3 * (uint64_t)(ns / 5000000 + 2));
    assert_int_equal(passed + limit.suppressed, calls);
}

// ---- repeats --------------------------------------------------------------------------------------------------------
static void *repeat(void *arg)
{
    struct work *w = arg;
    for (uint32_t i = 0; i < w->calls; i++)
        w->passed += !limit_repeats(w->limit, 42);
    return NULL;
}

static void repeats(void **state)
{
    (void)state;
    static struct sonde_limit limit = {.dedup = 1, .period_ns = 3600ull * 1000000000};
    struct work w[4];
    uint64_t passed = 0;
    for (int t = 0; t < 4; t++) {
        w[t] = (struct work){.limit = &limit, .calls = 10000};
        pthread_create(&w[t].thread, NULL, repeat, &w[t]);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(w[t].thread, NULL);
        passed += w[t].passed;
    }
    assert_int_equal(passed, 1);
    assert_int_equal(limit.suppressed, 39999);
    assert_false(limit_repeats(&limit, 77)); // another
    assert_false(limit_repeats(&limit, 42)); // and back
    assert_true(limit_repeats(&limit, 42));
    assert_int_equal(limit.suppressed, 40000);
    limit.period_ns = 0; // over at once
    assert_false(limit_repeats(&limit, 77));
    assert_false(limit_repeats(&limit, 77));
}

// ---- the lines ------------------------------------------------------------------------------------------------------
static int evaluated;
static int count_call(void)
{
    return ++evaluated;
}

static void *caller(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        SONDE_WARN_LIMIT(SONDE_EVERY(5, 100, 3600), "busy", SONDE_INT("i", i));
    return NULL;
}

static int lines(void *arg)
{
    (void)arg;
    pthread_t t[4];
    const char *state = "a";
    sonde_init(NULL);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, caller, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 10; i++)
        SONDE_INFO_LIMIT(SONDE_ONCE_PER(3600), "once", SONDE_INT("i", count_call()));
    for (int i = 0; i < 10; i++) {
        state = i < 6 ? "a" : "b";
        SONDE_INFO_LIMIT(SONDE_DEDUP(3600), "state", SONDE_STR("is", state), SONDE_INT("n", 1));
    }
    for (int i = 0; i < 4; i++)
        SONDE_LOGF_LIMIT(SONDE_LEVEL_ERROR, SONDE_DEDUP(3600), "peer %s down: %d", SONDE_ARGS(i < 2 ? "p1" : "p2", 5),
                         SONDE_INT("port", 80));
    SONDE_DEBUG_LIMIT(SONDE_ONCE_PER(1), "off", SONDE_INT("i", count_call()));
    sonde_flush(2000);
    return evaluated; // 1: what is held back is not evaluated
}

static void summaries(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(lines, NULL, (const char *const[]){"SONDE_FLIGHT_LEVEL=off", NULL}, &out), 1);
    assert_int_equal(count_of(&out, ": busy i="), 5 + 39);
    assert_int_equal(count_of(&out, ": once i=1\n"), 1);
    assert_int_equal(count_of(&out, ": state is=\"a\" n=1\n"), 1);
    assert_int_equal(count_of(&out, ": state is=\"b\" n=1\n"), 1);
    assert_int_equal(count_of(&out, ": peer p1 down: 5 port=80\n"), 1);
    assert_int_equal(count_of(&out, ": peer p2 down: 5 port=80\n"), 1);
    assert_int_equal(count_of(&out, " WARN tests::rate: suppressed 3956 similar records suppressed=3956 of=\"busy\"\n"), 1);
    assert_int_equal(count_of(&out, " INFO tests::rate: suppressed 9 similar records suppressed=9 of=\"once\"\n"), 1);
    assert_int_equal(count_of(&out, " INFO tests::rate: suppressed 8 similar records suppressed=8 of=\"state\"\n"), 1);
    assert_int_equal(count_of(&out, "ERROR tests::rate: suppressed 2 similar records suppressed=2 of=\"peer %s down: %d\"\n"), 1);
    assert_int_equal(count_of(&out, "off"), 0);
    buf_free(&out);
}

// Without a flush: the window's end is enough. A forked child tells only what it held back itself.
static int at_the_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++)
        SONDE_INFO_LIMIT(SONDE_EVERY(2, 0, 0.1), "burst");
    usleep(2000000);
    for (int i = 0; i < 5; i++)
        SONDE_INFO_LIMIT(SONDE_ONCE_PER(3600), "parent");
    pid_t pid = fork();
    if (pid == 0) {
        SONDE_INFO("child");
        exit(0);
    }
    waitpid(pid, NULL, 0);
    _exit(0); // what is not told yet is gone
}

static void windows_end(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(at_the_end, NULL, (const char *const[]){NULL}, &out), 0);
    uint64_t told = 0, written = count_of(&out, ": burst\n");
    for (const char *p = out.p; (p = strstr(p, "suppressed=")); p += 11)
        told += strstr(p, " of=\"burst\"") == strchr(p, ' ') ? strtoull(p + 11, NULL, 10) : 0;
    assert_int_equal(written + told, 20);
    assert_true(written == 2 || written == 4); // the calls may lie on both sides of a window's end
    assert_int_equal(count_of(&out, ": child\n"), 1);
    assert_int_equal(count_of(&out, "of=\"parent\""), 0);
    buf_free(&out);
}

// A call site that never pauses: each window is told of, though the next one has begun by then.
static unsigned told; // atomic

static void count_told(void *arg, const struct sonde_sink_line *line)
{
    (void)arg;
    if (strstr(line->text, ": suppressed "))
        __atomic_fetch_add(&told, 1, __ATOMIC_RELAXED);
}

static int restless(void *arg)
{
    (void)arg;
    sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_CALLBACK, .write = count_told, .format = SONDE_FORMAT_TEXT});
    time_t until = time(NULL) + 60;
    while (__atomic_load_n(&told, __ATOMIC_RELAXED) < 3 && time(NULL) < until)
        SONDE_INFO_LIMIT(SONDE_EVERY(1, 0, 0.01), "restless");
    return __atomic_load_n(&told, __ATOMIC_RELAXED) >= 3 ? 0 : 1;
}

static void told_while_it_goes_on(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(restless, NULL, (const char *const[]){NULL}, &out), 0);
    buf_free(&out);
}

// What no line told of when the process was killed is in its ring.
static int killed(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++)
        SONDE_WARN_LIMIT(SONDE_EVERY(1, 0, 3600), "flooded", SONDE_INT("i", i));
    for (int i = 0; i < 10; i++)
        SONDE_INFO_LIMIT(SONDE_DEDUP(3600), "again", SONDE_INT("n", 1));
    sonde_flush(30000); // tells of all so far
    for (int i = 0; i < 7; i++)
        SONDE_INFO_LIMIT(SONDE_ONCE_PER(3600), "late");
    for (int i = 0; i < 200; i++) { // more limits than there are places
        static struct sonde_limit limit[200];
        static struct sonde_site site = {.level = SONDE_LEVEL_INFO, .message = "many", .target = "t", .file = "f.c", .line = 1};
        limit[i].first = 1;
        if (sonde_site_enabled(&site))
            sonde_limit_pass(&limit[i], &site), sonde_limit_pass(&limit[i], &site);
    }
    kill(getpid(), SIGKILL);
    return 0;
}

static void kept_in_the_ring(void **state)
{
    (void)state;
    static const char *const want[] = {"WARN tests::rate: suppressed 49 similar records of=\"flooded\" suppressed=49 untold=0\n",
                                       "INFO tests::rate: suppressed 9 similar records of=\"again\" suppressed=9 untold=0\n",
                                       "INFO tests::rate: suppressed 6 similar records of=\"late\" suppressed=6 untold=6\n",
                                       "INFO t: suppressed 1 similar records of=\"many\" suppressed=1 untold=1\n",
                                       "INFO sonde: suppressed 104 similar records of=\"several call sites\"",
                                       ", suppressed 206\n"};
    char path[128] = "";
    struct buf text, json;
    struct error err = {0};
    glob_t g;
    struct child c = child_start(killed, NULL, (const char *const[]){NULL});
    assert_int_equal(child_end(&c), 128 + SIGKILL);
    snprintf(path, sizeof path, "%s/*-%d.ring", child_dir, (int)c.pid);
    assert_int_equal(glob(path, 0, NULL, &g), 0);
    assert_int_equal(g.gl_pathc, 1);
    buf_init(&text, MIB(16));
    buf_init(&json, MIB(16));
    assert_int_equal(ring_inspect(g.gl_pathv[0], false, &text, &err), ERR_OK);
    assert_int_equal(ring_inspect(g.gl_pathv[0], true, &json, &err), ERR_OK);
    buf_char(&text, 0);
    buf_char(&json, 0);
    for (size_t i = 0; i < CHECK_ROWS(want); i++) {
        check_row("%s", want[i]);
        CHECK_INT(count_of(&text, want[i]), i == 3 ? 96 : 1);
    }
    CHECK_INT(count_of(&json, "\"target\":\"tests::rate\",\"message\":\"suppressed 6 similar records\",\"of\":\"late\","
                              "\"suppressed\":6,\"untold\":6}\n"),
              1);
    CHECK_INT(count_of(&json, "\"records\":"), 1);
    CHECK_INT(count_of(&json, "\"suppressed\":206,\"threads\":1"), 1);
    globfree(&g);
    buf_free(&c.out);
    buf_free(&text);
    buf_free(&json);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(windows),
        cmocka_unit_test(repeats),
    };
    const struct CMUnitTest processes[] = {
        cmocka_unit_test(summaries),
        cmocka_unit_test(windows_end),
        cmocka_unit_test(told_while_it_goes_on),
        cmocka_unit_test(kept_in_the_ring),
    };
    // Processes first: a forked child of a process that has started the library inherits its call sites.
    int failed = CHILD_TSAN ? 0 : cmocka_run_group_tests_name("rate in processes", processes, child_setup, child_teardown);
    return failed + cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
