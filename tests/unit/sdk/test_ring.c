// The ring: what survives kill -9, what a full ring drops and counts, threads that come and go, forks, damage.
#include "base/clock.h"
#include "check.h"
#include "child.h"
#include "sdk/inspect.h"
#include "sdk/ring.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { THREADS = 4 };
struct progress {
    volatile long done[THREADS]; // records whose call has returned
    volatile uint64_t lost;
    volatile int go;
};
static const char *const quiet[] = {"DYN_LOG=info", NULL};

static struct progress *progress;

// ---- kill -9 --------------------------------------------------------------------------------------------------------
static void *writer(void *arg)
{
    long t = (long)(intptr_t)arg;
    for (long i = 1;; i++) {
        SONDE_INFO("work", SONDE_INT("thread", t), SONDE_INT("i", i), SONDE_STR("text", "some words that fill the record"));
        progress->done[t] = i;
        if (i % 100 == 0)
            usleep(1000); // so that the backend keeps up
    }
    return NULL;
}

static int write_until_killed(void *arg)
{
    (void)arg;
    pthread_t t[THREADS];
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    sonde_init(&(struct sonde_options){.service = "killed"});
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, writer, (void *)(intptr_t)i);
    pause();
    return 0;
}

static void check_survivors(const struct buf *out, const long *done)
{
    long last[THREADS] = {0}, n[THREADS] = {0};
    char before[28] = "";
    for (char *line = strtok(out->p, "\n"); line; line = strtok(NULL, "\n")) {
        long t, i;
        char *at = strstr(line, "thread=");
        if (!at || sscanf(at, "thread=%ld i=%ld", &t, &i) != 2 || t < 0 || t >= THREADS)
            continue;
        if (n[t])
            CHECK_INT(i, last[t] + 1); // without a gap
        last[t] = i;
        n[t]++;
        CHECK(strncmp(before, line, 27) <= 0); // in time order
        memcpy(before, line, 27);
    }
    for (int t = 0; t < THREADS; t++) {
        // A record can be in the ring though its call had not returned.
        CHECK(last[t] == done[t] || last[t] == done[t] + 1);
        CHECK(n[t] >= (done[t] < 2000 ? done[t] : 2000));
    }
}

static void killed(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        char path[64];
        struct buf out;
        struct error err = {0};
        struct ring_report report;
        memset(progress, 0, sizeof *progress);
        struct child c = child_start(write_until_killed, NULL, quiet);
        for (int t = 0; t < THREADS; t++)
            for (int i = 0; progress->done[t] < 3000 * (round + 1) && i < 5000; i++)
                usleep(1000);
        kill(c.pid, SIGKILL);
        assert_int_equal(child_end(&c), 128 + SIGKILL);
        snprintf(path, sizeof path, "%s/killed-%d.ring", child_dir, (int)c.pid);
        buf_init(&out, INSPECT_OUT_MAX);
        check_row("round %d %s", round, path);
        CHECK_INT(ring_inspect_report(path, false, &out, &report, &err), ERR_OK);
        CHECK(report.torn <= THREADS);
        CHECK_INT(report.damaged, 0);
        CHECK_INT(report.threads, THREADS);
        CHECK(!report.alive && !report.clean);
        CHECK(strncmp(out.p, "# killed (", 10) == 0);
        CHECK_INT(report.lost, 0);
        if (report.lost == 0) {
            long done[THREADS];
            for (int t = 0; t < THREADS; t++)
                done[t] = progress->done[t];
            buf_char(&out, 0);
            check_survivors(&out, done);
        }
        buf_free(&out);
        buf_free(&c.out);
        unlink(path);
    }
    check_done();
}

// ---- a process number that comes again, as in a container -----------------------------------------------------------
static void leave(const char *name, int copy, const char *text)
{
    char path[300];
    if (copy > 1)
        snprintf(path, sizeof path, "%s/%s.%d-%d.ring", child_dir, name, copy, (int)getpid());
    else
        snprintf(path, sizeof path, "%s/%s-%d.ring", child_dir, name, (int)getpid());
    FILE *f = fopen(path, "w");
    if (f)
        fputs(text, f), fclose(f);
}

static int number_again(void *arg)
{
    leave(program_invocation_short_name, 1, "left");
    leave("again", 1, "left");
    leave("again", 2, "left");
    for (int i = 0; i < *(const int *)arg; i++)
        leave("many", i + 1, "older");
    SONDE_INFO("before it has a name");
    sonde_init(&(struct sonde_options){.service = "again"});
    SONDE_INFO("named");
    return kill(getpid(), SIGKILL);
}

static void earlier_files_stay(void **state)
{
    (void)state;
    static const struct {
        int more, kept; // files besides those three; how many there are afterwards, with the new one
    } rows[] = {{0, 4}, {20, 24}, {60, 33}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        int more = rows[i].more, kept = 0;
        char path[300];
        struct buf out;
        struct ring_report report;
        struct child c = child_start(number_again, &more, quiet);
        check_row("%d files", more);
        CHECK_INT(child_end(&c), 128 + SIGKILL);
        if (more < 32) {
            buf_init(&out, INSPECT_OUT_MAX);
            snprintf(path, sizeof path, "%s/again.3-%d.ring", child_dir, (int)c.pid);
            CHECK_INT(ring_inspect_report(path, false, &out, &report, NULL), ERR_OK);
            CHECK_INT(report.records, 2);
            CHECK(!report.alive);
            buf_free(&out);
        }
        DIR *d = opendir(child_dir);
        for (struct dirent *e; (e = readdir(d));) {
            char *dash = strrchr(e->d_name, '-');
            if (!dash || atoi(dash + 1) != c.pid)
                continue;
            kept++;
            snprintf(path, sizeof path, "%s/%s", child_dir, e->d_name);
            unlink(path);
        }
        closedir(d);
        CHECK_INT(kept, rows[i].kept);
        buf_free(&c.out);
    }
    check_done();
}

// A number of a living process in a file that nobody holds: its process has died.
static void lives_by_its_lock(void **state)
{
    (void)state;
    struct child c = child_start(number_again, &(int){0}, quiet);
    child_end(&c);
    char path[300];
    struct buf out;
    struct ring_report report;
    uint32_t ours = (uint32_t)getpid();
    snprintf(path, sizeof path, "%s/again.3-%d.ring", child_dir, (int)c.pid);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, &ours, sizeof ours, offsetof(struct ring_head, pid)), sizeof ours);
    buf_init(&out, INSPECT_OUT_MAX);
    assert_int_equal(ring_inspect_report(path, false, &out, &report, NULL), ERR_OK);
    assert_int_equal(report.pid, ours);
    assert_false(report.alive);
    flock(fd, LOCK_EX);
    assert_int_equal(ring_inspect_report(path, false, &out, &report, NULL), ERR_OK);
    assert_true(report.alive);
    close(fd);
    buf_free(&out);
    buf_free(&c.out);
}

// ---- damage ---------------------------------------------------------------------------------------------------------
static int leave_ring(void *arg)
{
    (void)arg;
    struct sonde_span *s = sonde_span_start("left open", SONDE_KIND_SERVER, NULL);
    sonde_span_str(s, "key", "value");
    sonde_span_enter(s);
    for (int i = 0; i < 1000; i++)
        SONDE_INFO("line", SONDE_INT("i", i), SONDE_STR("s", "text"));
    kill(getpid(), SIGKILL);
    return 0;
}

static void damaged(void **state)
{
    (void)state;
    struct child c = child_start(leave_ring, NULL, quiet);
    child_end(&c);
    char path[64], copy[64];
    snprintf(copy, sizeof copy, "%s/copy.ring", child_dir);
    snprintf(path, sizeof path, "%s/%s-%d.ring", child_dir, program_invocation_short_name, (int)c.pid);
    int fd = open(path, O_RDONLY);
    struct stat st;
    assert_true(fd >= 0);
    fstat(fd, &st);
    char *whole = malloc((size_t)st.st_size), *bytes = malloc((size_t)st.st_size);
    assert_int_equal(pread(fd, whole, (size_t)st.st_size, 0), st.st_size);
    close(fd);
    struct buf out;
    struct ring_report report;
    buf_init(&out, INSPECT_OUT_MAX);
    assert_int_equal(ring_inspect_report(path, false, &out, &report, NULL), ERR_OK);
    assert_int_equal(report.records, 1002);
    assert_int_equal(report.open_spans, 1);
    buf_char(&out, 0);
    assert_non_null(strstr(out.p, "left open: "));
    assert_non_null(strstr(out.p, "SPAN_OPEN key=\"value\""));
    uint32_t seed = 42;
    int read_anyway = 0;
    for (int round = 0; round < 400; round++) {
        size_t n = (size_t)st.st_size;
        memcpy(bytes, whole, n);
        for (int k = 0; k < 1 + round % 8; k++) {
            seed = seed * 1664525 + 1013904223;
            // the head, the dictionary, or the first chunks, where something stands
            size_t at = seed % 3 == 0   ? seed / 3 % 400
                        : seed % 3 == 1 ? RING_HEAD + seed / 3 % 600
                                        : RING_HEAD + RING_DICT + seed / 3 % 65536;
            bytes[at] ^= (char)(1 << seed % 8 | seed >> 24);
        }
        if (round % 5 == 0)
            n = seed % n;
        fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, bytes, n), n);
        close(fd);
        struct error err = {0};
        buf_reset(&out);
        enum errc rc = ring_inspect(copy, round % 2, &out, &err);
        read_anyway += rc == ERR_OK;
        assert_true(rc == ERR_OK || err.msg[0]); // an error says what
    }
    assert_true(read_anyway > 100);
    assert_int_equal(ring_inspect("/nonexistent/file", false, &out, NULL), ERR_IO);
    unlink(copy);
    unlink(path);
    buf_free(&out);
    buf_free(&c.out);
    free(whole);
    free(bytes);
}

// ---- full -----------------------------------------------------------------------------------------------------------
enum { FLOOD = 60000 };

static int flood(void *arg)
{
    (void)arg;
    struct sonde_counts counts;
    for (int i = 0; i < FLOOD; i++)
        SONDE_INFO("flood", SONDE_INT("i", i), SONDE_STR("text", "some words that fill the record"));
    sonde_counts_get(&counts);
    progress->lost = counts.records_lost;
    progress->go = 1; // now somebody reads our stderr
    return sonde_shutdown(20000) ? 0 : 1;
}

static void full(void **state)
{
    (void)state;
    static const char *const env[] = {"SONDE_RING_SIZE=262144", NULL};
    memset(progress, 0, sizeof *progress);
    struct child c = child_start(flood, NULL, env);
    for (int i = 0; !progress->go && i < 20000; i++)
        usleep(1000);
    int rc = child_end(&c);
    assert_int_equal(rc, 0);
    check_row("lost %llu", (unsigned long long)progress->lost);
    CHECK(progress->lost > 0);
    CHECK_INT(count_of(&c.out, ": flood i=") + progress->lost, FLOOD);
    char want[64];
    snprintf(want, sizeof want, "lost_total=%llu", (unsigned long long)progress->lost);
    CHECK(strstr(c.out.p, "WARN sonde: lost ") != NULL);
    CHECK(strstr(c.out.p, want) != NULL);
    buf_free(&c.out);
    check_done();
}

// ---- large records --------------------------------------------------------------------------------------------------
static int large(void *arg)
{
    (void)arg;
    size_t n = 1 << 20;
    char *text = malloc(n + 1);
    memset(text, 'x', n);
    text[n] = 0;
    SONDE_INFO("large", SONDE_STR("text", text), SONDE_INT("after", 7));
    SONDE_INFO("edge", SONDE_STRN("text", text, 4000), SONDE_STRN("more", text, 5000));
    for (size_t i = 4030; i < 4110; i++)
        SONDE_INFO("size", SONDE_STRN("text", text, i));
    free(text);
    return 0;
}

static void large_records(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(large, NULL, quiet, &out), 0);
    char *line = strstr(out.p, "large text=\"");
    assert_non_null(line);
    assert_int_equal(strspn(line + 12, "x"), 1 << 20);
    assert_int_equal(strncmp(line + 12 + (1 << 20), "\" after=7\n", 10), 0);
    line = strstr(out.p, "edge text=\"");
    assert_non_null(line);
    assert_int_equal(strspn(line + 11, "x"), 4000);
    assert_int_equal(strspn(line + 11 + 4000 + 8, "x"), 5000);
    line = out.p;
    for (size_t i = 4030; i < 4110; i++) {
        line = strstr(line + 1, "size text=\"");
        assert_non_null(line);
        assert_int_equal(strspn(line + 11, "x"), i);
    }
    buf_free(&out);
}

// ---- threads --------------------------------------------------------------------------------------------------------
static void *one_line(void *arg)
{
    SONDE_INFO("short life", SONDE_INT("i", (intptr_t)arg));
    return NULL;
}

static int churn(void *arg)
{
    (void)arg;
    for (long i = 0; i < 3000; i += 4) {
        pthread_t t[4];
        for (long k = 0; k < 4; k++)
            if (pthread_create(&t[k], NULL, one_line, (void *)(intptr_t)(i + k)) != 0)
                return 10;
        for (int k = 0; k < 4; k++)
            pthread_join(t[k], NULL);
    }
    struct buf out;
    struct ring_report report;
    char path[300];
    snprintf(path, sizeof path, "%s/%s-%d.ring", child_dir, program_invocation_short_name, (int)getpid());
    buf_init(&out, INSPECT_OUT_MAX);
    enum errc rc = ring_inspect_report(path, true, &out, &report, NULL);
    buf_free(&out);
    if (rc != ERR_OK || !report.alive)
        return 2;                       // a living process's ring can be read
    return report.threads <= 8 ? 0 : 3; // rings are recycled
}

static void short_threads(void **state)
{
    (void)state;
    struct buf out;
    int rc = child_run(churn, NULL, quiet, &out);
    if (rc)
        fprintf(stderr, "%s\n", out.n > 5000 ? out.p + out.n - 5000 : out.p);
    assert_int_equal(rc, 0);
    assert_int_equal(count_of(&out, ": short life i="), 3000);
    buf_free(&out);
}

// ---- fork -----------------------------------------------------------------------------------------------------------
static void *chatter(void *arg)
{
    volatile int *stop = arg;
    for (long i = 0; !*stop; i++) {
        SONDE_DEBUG("chatter", SONDE_INT("i", i)); // off, but its site is asked for again and again
        SONDE_INFO("chatter", SONDE_INT("i", i));
        usleep(50);
    }
    return NULL;
}

static int forks(void *arg)
{
    (void)arg;
    pthread_t t;
    volatile int stop = 0;
    sonde_init(NULL);
    pthread_create(&t, NULL, chatter, (void *)(uintptr_t)&stop);
    struct sonde_context context = {.request_id = "demo-42"};
    struct sonde_span *s = sonde_span_start("outer", SONDE_KIND_SERVER, &context);
    sonde_span_enter(s);
    int bad = 0;
    for (int i = 0; i < 40; i++) {
        SONDE_INFO("parent", SONDE_INT("i", i));
        pid_t pid = fork();
        if (pid == 0) {
            SONDE_INFO("child", SONDE_INT("i", i));
            if (i % 2)
                _exit(sonde_flush(2000) ? 0 : 1);
            exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        bad += status != 0;
    }
    stop = 1;
    pthread_join(t, NULL);
    sonde_span_end(s);
    return bad;
}

static void forked(void **state)
{
    (void)state;
    if (CHILD_TSAN || CHILD_ASAN) // neither follows the forked child of a threaded process
        skip();
    static const char *const env[] = {"DYN_LOGGING_JSONL=1", NULL};
    struct buf out;
    int rc = child_run(forks, NULL, env, &out);
    if (rc)
        fprintf(stderr, "%.*s\n", (int)(out.n < 5000 ? out.n : 5000), out.p);
    assert_int_equal(rc, 0);
    assert_int_equal(count_of(&out, "\"message\":\"parent\""), 40);
    assert_int_equal(count_of(&out, "\"message\":\"child\""), 40);
    // The child's records still tell the span that it was forked in.
    char *line = strstr(out.p, "\"message\":\"child\"");
    assert_non_null(line);
    *strchr(line, '\n') = 0;
    assert_non_null(strstr(line, "\"span_name\":\"outer\""));
    assert_non_null(strstr(line, "\"x_request_id\":\"demo-42\""));
    buf_free(&out);
}

static int setup(void **state)
{
    progress = child_shared(sizeof *progress);
    return progress == MAP_FAILED || child_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed),
                                       cmocka_unit_test(earlier_files_stay),
                                       cmocka_unit_test(lives_by_its_lock),
                                       cmocka_unit_test(damaged),
                                       cmocka_unit_test(full),
                                       cmocka_unit_test(large_records),
                                       cmocka_unit_test(short_threads),
                                       cmocka_unit_test(forked)};
    return cmocka_run_group_tests(tests, setup, child_teardown);
}
