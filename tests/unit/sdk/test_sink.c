// Sinks: formats and filters side by side, rotation, logrotate, full disks, loss policies and their counts.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "sink::test"
#include "base/clock.h"
#include "sdk/sdk.h"
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char dir[64]; // of this test's log files, shared with the child by fork

static int setup(void **state)
{
    if (child_setup(state) != 0)
        return 1;
    snprintf(dir, sizeof dir, "%s/logs", child_dir);
    return mkdir(dir, 0700);
}

static char *in_dir(const char *name)
{
    static char path[4][128];
    static int at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static void append(struct buf *out, const char *path)
{
    char piece[65536];
    int fd = open(path, O_RDONLY);
    for (ssize_t n; fd >= 0 && (n = read(fd, piece, sizeof piece)) > 0;)
        buf_put(out, piece, (size_t)n);
    if (fd >= 0)
        close(fd);
}

// The text of all files of that pattern, 0 behind it.
static struct buf contents(const char *pattern)
{
    struct buf b;
    glob_t g;
    buf_init(&b, MIB(512));
    if (glob(in_dir(pattern), 0, NULL, &g) == 0)
        for (size_t i = 0; i < g.gl_pathc; i++)
            append(&b, g.gl_pathv[i]);
    globfree(&g);
    buf_char(&b, 0);
    b.n--;
    return b;
}

static size_t files_of(const char *pattern)
{
    glob_t g;
    size_t n = glob(in_dir(pattern), 0, NULL, &g) == 0 ? g.gl_pathc : 0;
    globfree(&g);
    return n;
}

// Lines with that text. By line: a sanitizer's strstr looks at all that follows each time.
static size_t lines_with(const struct buf *b, const char *text)
{
    size_t n = 0;
    for (const char *p = b->p, *end = b->p + b->n, *next; p < end; p = next) {
        next = memchr(p, '\n', (size_t)(end - p));
        next = next ? next + 1 : end;
        n += memmem(p, (size_t)(next - p), text, strlen(text)) != NULL;
    }
    return n;
}

static void line(int i)
{
    SONDE_INFO("line", SONDE_INT("i", i), SONDE_STR("pad", "0123456789012345678901234567890123456789"));
}

static uint64_t lost_in_ring(void)
{
    struct sonde_counts c;
    sonde_counts_get(&c);
    return c.records_lost;
}

// ---- side by side ---------------------------------------------------------------------------------------------------
static void five(void)
{
    SONDE_ERROR("e1");
    SONDE_WARN("w2");
    SONDE_INFO("i3");
    SONDE_DEBUG("debug #4");
    SONDE_TRACE("trace #5");
}

static int called;
static void callback(void *arg, const struct sonde_sink_line *l)
{
    called += l->text[l->n] == 0 && l->text[l->n - 1] == '\n' && l->time_ns > 0 && strchr(l->text, "?12345"[l->level]) ? 1 : 100;
    if (arg != &called)
        called += 1000;
}

static int several(void *arg)
{
    (void)arg;
    struct sonde_sink_options rows[] = {
        {.kind = SONDE_SINK_FILE, .path = in_dir("same")},
        {.kind = SONDE_SINK_FILE, .path = in_dir("json"), .format = SONDE_FORMAT_JSONL, .filter = "debug"},
        {.kind = SONDE_SINK_FILE, .path = in_dir("errors"), .filter = "error"},
        {.kind = SONDE_SINK_FILE, .path = in_dir("span"), .filter = "off,[wanted{n=3}]=trace"},
        {.kind = SONDE_SINK_CALLBACK, .write = callback, .arg = &called, .filter = "other=info,warn"},
    };
    int number = 0;
    for (size_t i = 0; i < CHECK_ROWS(rows); i++)
        if ((number = sonde_sink_add(&rows[i])) != (int)i + 2)
            return 1;
    static const struct sonde_sink_options wrong[] = {
        {.kind = SONDE_SINK_FILE}, {.kind = SONDE_SINK_CALLBACK}, {.kind = SONDE_SINK_FILE, .path = "/x", .filter = "a=loud"}};
    for (size_t i = 0; i < CHECK_ROWS(wrong); i++)
        if (sonde_sink_add(&wrong[i]) != 0)
            return 2;
    five();
    struct sonde_span *s = sonde_span_start("wanted", SONDE_KIND_INTERNAL, NULL);
    sonde_span_int(s, "n", 3);
    sonde_span_enter(s);
    five();
    sonde_span_end(s);
    if (!sonde_flush(30000) || called != 4)
        return 3;
    struct sonde_sink_counts c;
    if (!sonde_sink_counts_get(3, &c) || c.written != 8 || c.lost || c.failing || sonde_sink_counts_get(8, &c))
        return 4;
    if (!sonde_sink_remove(number) || sonde_sink_remove(number) || !sonde_sink_remove(SONDE_SINK_OF_STDERR))
        return 5;
    five();
    return sonde_flush(30000) && called == 4 ? 0 : 6;
}

static void side_by_side(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int all, debug, trace; // lines, of that level
        const char *part;
    } rows[] = {{"same", 9, 0, 0, "  INFO "},
                {"json", 12, 3, 0, "\"level\":\"DEBUG\""},
                {"errors", 3, 0, 0, " ERROR "},
                {"span", 5, 1, 1, "TRACE wanted: "}};
    static const char *const env[] = {"SONDE_FLIGHT_LEVEL=off", NULL};
    struct buf out;
    assert_int_equal(child_run(several, NULL, env, &out), 0);
    assert_int_equal(count_of(&out, "\n"), 3 + 3 + 3); // and the mistakes
    buf_free(&out);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b = contents(rows[i].file);
        check_row("%s", rows[i].file);
        CHECK_INT(count_of(&b, "\n"), rows[i].all);
        CHECK_INT(count_of(&b, "debug #4"), rows[i].debug);
        CHECK_INT(count_of(&b, "trace #5"), rows[i].trace);
        CHECK(strstr(b.p, rows[i].part) != NULL);
        buf_free(&b);
    }
    check_done();
}

// ---- rotation -------------------------------------------------------------------------------------------------------
enum { ROTATED = 20000 };
static int by_size(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROTATED; i++) {
        line(i);
        if (i % 1000 == 0)
            sonde_flush(30000);
    }
    return lost_in_ring() != 0;
}

// Each line whole, in order, once: over the old files from the oldest to the newest.
static void check_sequence(const char *name, int files, int first, int last)
{
    int next = -1;
    for (int i = files; i >= 0; i--) {
        char path[160];
        struct buf b;
        buf_init(&b, MIB(64));
        snprintf(path, sizeof path, i ? "%s/%s.%d" : "%s/%s", dir, name, i);
        append(&b, path);
        buf_char(&b, 0);
        CHECK(b.n < 2 || b.p[b.n - 2] == '\n');
        for (char *l = strtok(b.p, "\n"); l; l = strtok(NULL, "\n")) {
            int got;
            const char *at = strstr(l, ": line i=");
            if (!CHECK(at && sscanf(at, ": line i=%d pad=\"0123456789012345678901234567890123456789\"", &got) == 1 &&
                       l[0] == '2'))
                continue;
            if (next < 0)
                CHECK(first < 0 || got == first);
            else if (got != next)
                CHECK_INT(got, next);
            next = got + 1;
        }
        buf_free(&b);
    }
    CHECK_INT(next, last + 1);
}

static void rotation_by_size(void **state)
{
    (void)state;
    char file[160];
    snprintf(file, sizeof file, "SONDE_LOG_FILE=%s", in_dir("size"));
    const char *const env[] = {file, "SONDE_LOG_STDERR=off", "SONDE_LOG_FILE_ROTATE_SIZE=64k", "SONDE_LOG_FILE_KEEP=7", NULL};
    struct buf out;
    assert_int_equal(child_run(by_size, NULL, env, &out), 0);
    assert_int_equal(out.n, 0);
    buf_free(&out);
    CHECK_INT(files_of("size*"), 8);
    for (int i = 1; i <= 7; i++) {
        char name[32];
        struct stat st = {.st_size = 0};
        snprintf(name, sizeof name, "size.%d", i);
        stat(in_dir(name), &st);
        check_row("%s of %lld bytes", name, (long long)st.st_size);
        CHECK(st.st_size <= 65536 && st.st_size > 65536 - 200);
    }
    check_sequence("size", 7, -1, ROTATED - 1);
    check_done();
}

static int by_time(void *arg)
{
    (void)arg;
    for (int i = 0; i < 30; i++) {
        line(i);
        usleep(100000);
    }
    return 0;
}

static void rotation_by_time_and_start(void **state)
{
    (void)state;
    char file[160];
    snprintf(file, sizeof file, "SONDE_LOG_FILE=%s", in_dir("time"));
    const char *const env[] = {file, "SONDE_LOG_STDERR=off", "SONDE_LOG_FILE_ROTATE_TIME=1s", NULL};
    struct buf out;
    int64_t began = clock_mono_ns();
    assert_int_equal(child_run(by_time, NULL, env, &out), 0);
    size_t seconds = (size_t)((clock_mono_ns() - began) / 1000000000);
    buf_free(&out);
    size_t n = files_of("time*");
    CHECK(n >= 3 && n <= seconds + 2);
    check_sequence("time", (int)n - 1, 0, 29);
    snprintf(file, sizeof file, "SONDE_LOG_FILE=%s", in_dir("start"));
    const char *const again[] = {file, "SONDE_LOG_STDERR=off", "SONDE_LOG_FILE_ROTATE_AT_START=1", "SONDE_LOG_FILE_KEEP=2", NULL};
    for (int run = 0; run < 4; run++) {
        CHECK_INT(child_run(by_size, NULL, again, &out), 0);
        buf_free(&out);
    }
    CHECK_INT(files_of("start*"), 3);
    check_sequence("start", 0, 0, ROTATED - 1);
    check_done();
}

// ---- logrotate ------------------------------------------------------------------------------------------------------
static int moved(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4000; i++) {
        line(i);
        if (i % 100 == 0) {
            sonde_flush(30000);
            usleep(10000);
        }
        if (i == 1000)
            rename(in_dir("moved"), in_dir("moved.1"));
        if (i == 3000 && truncate(in_dir("moved"), 0) != 0)
            return 1;
    }
    return lost_in_ring() != 0;
}

static void logrotate(void **state)
{
    (void)state;
    char file[160];
    snprintf(file, sizeof file, "SONDE_LOG_FILE=%s", in_dir("moved"));
    const char *const env[] = {file, "SONDE_LOG_STDERR=off", NULL};
    struct buf out;
    assert_int_equal(child_run(moved, NULL, env, &out), 0);
    buf_free(&out);
    struct buf old = contents("moved.1"), new = contents("moved");
    size_t lines = count_of(&old, "\n");
    CHECK(lines >= 1001 && lines < 2500); // opened anew
    CHECK_INT(count_of(&old, ": line i="), lines);
    CHECK(count_of(&new, "\n") >= 900 && count_of(&new, "\n") < 1100 && memchr(new.p, 0, new.n) == NULL);
    CHECK(strstr(new.p, "i=3999 ") != NULL);
    buf_free(&old);
    buf_free(&new);
    check_done();
}

// ---- full disk, directory without permission ------------------------------------------------------------------------
static int full_disk(void *arg)
{
    struct rlimit small = {20000, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    struct sonde_sink_counts c;
    (void)arg;
    line(0);
    sonde_flush(30000); // the ring has its file
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 1; i < 1000; i++)
        line(i);
    int64_t start = clock_mono_ns();
    if (sonde_flush(60000) || clock_mono_ns() - start > 30000000000) // says that it could not, at once
        return 1;
    sonde_sink_counts_get(2, &c);
    if (!c.failing || c.written < 100 || c.written > 300)
        return 2;
    usleep(1200000);
    setrlimit(RLIMIT_FSIZE, &none);
    usleep(1300000);
    for (int i = 1000; i < 1100; i++)
        line(i);
    if (!sonde_flush(30000))
        return 3;
    sonde_sink_counts_get(2, &c);
    return c.failing || c.lost || c.written < 1100 ? 4 : c.failures > 4 ? 5 : 0;
}

static void disk(void **state)
{
    (void)state;
    char file[160];
    snprintf(file, sizeof file, "SONDE_LOG_FILE=%s", in_dir("full"));
    const char *const env[] = {file, "SONDE_LOG_STDERR=on", "SONDE_RING_DIR=/proc/none", NULL};
    struct buf out;
    assert_int_equal(child_run(full_disk, NULL, env, &out), 0);
    CHECK_INT(count_of(&out, " cannot be written: "), 1);
    CHECK_INT(count_of(&out, "is written again after"), 1);
    buf_free(&out);
    struct buf b = contents("full");
    CHECK_INT(count_of(&b, ": line i="), 1100);
    CHECK_INT(count_of(&b, "\n"), 1102);
    CHECK_INT(count_of(&b, "\n2"), 1101); // each at the beginning of a line
    buf_free(&b);
    check_done();
}

static int no_permission(void *arg)
{
    (void)arg;
    struct sonde_sink_counts c;
    int number = sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_FILE, .path = in_dir("later/log")});
    for (int i = 0; i < 200000 && i >= 0; i++) {
        line(i);
        if (i % 2000 == 0)
            sonde_flush(100);
    }
    sonde_sink_counts_get(number, &c);
    if (!number || !c.failing || c.written || !c.lost)
        return 1;
    mkdir(in_dir("later"), 0700);
    usleep(1300000);
    line(200000);
    if (!sonde_flush(30000))
        return 2;
    sonde_sink_counts_get(number, &c);
    return c.lost_level[SONDE_LEVEL_INFO] == c.lost ? 0 : 3;
}

static void directory(void **state)
{
    (void)state;
    static const char *const env[] = {"SONDE_LOG_STDERR=off", "SONDE_RING_SIZE=67108864", NULL};
    struct buf out;
    assert_int_equal(child_run(no_permission, NULL, env, &out), 0);
    buf_free(&out);
    struct buf b = contents("later/log");
    const char *told = strstr(b.p, " is written again after ");
    unsigned long long lost = 0;
    CHECK(told && sscanf(strstr(told, "lost "), "lost %llu records between 2", &lost) == 1);
    CHECK_INT(lines_with(&b, ": line i=") + lost, 200001);
    CHECK_INT(lines_with(&b, "lost_total="), 1);
    buf_free(&b);
    check_done();
}

// ---- what is no ordinary file, and a directory that changes ---------------------------------------------------------
static int into_pipe(void *arg) // nobody reads it at first
{
    static char got[1 << 20];
    const char *path = in_dir("pipe");
    int sink = sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_FILE,
                                                           .path = path,
                                                           .rotate_size = 200,
                                                           .rotate_at_start = true,
                                                           .loss = SONDE_LOSS_BLOCK,
                                                           .block_ms = 30000});
    struct stat st;
    size_t n = 0;
    (void)arg;
    for (int i = 0; i < 5; i++)
        line(i);
    sonde_flush(30000); // does not wait for a reader
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    for (int i = 5; i < 5000; i++) // more than a pipe holds
        line(i);
    time_t until = time(NULL) + 60;
    while (!memmem(got, n, "i=4999 ", 7) && time(NULL) < until) {
        ssize_t k = read(fd, got + n, sizeof got - n);
        n += k > 0 ? (size_t)k : 0;
        if (k <= 0)
            usleep(1000);
    }
    close(fd);
    size_t lines = 0;
    for (const char *p = got; (p = memmem(p, (size_t)(got + n - p), " pad=", 5)); p++) // not those that tell of the pipe
        lines++;
    if (lines != 5000)
        return 1;
    if (lstat(path, &st) != 0 || !S_ISFIFO(st.st_mode) || files_of("pipe.*") != 0) // it was not renamed
        return 2;
    return sonde_sink_remove(sink) ? 0 : 3;
}

static int elsewhere(void *arg)
{
    (void)arg;
    if (chdir(dir) != 0)
        return 1;
    sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_FILE, .path = "relative.log", .rotate_size = 200});
    five();
    sonde_flush(30000);
    if (chdir("/") != 0)
        return 2;
    for (int i = 0; i < 4; i++) { // long enough for it to look where the file is
        usleep(100000);
        five();
        sonde_flush(30000);
    }
    return access("/relative.log", F_OK) == 0 ? 3 : 0;
}

static void odd_places(void **state)
{
    static const char *const plain[] = {"SONDE_RING_KEEP=0", NULL};
    struct buf out;
    (void)state;
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    assert_int_equal(child_run(into_pipe, NULL, plain, &out), 0);
    buf_free(&out);
    assert_int_equal(child_run(elsewhere, NULL, plain, &out), 0);
    buf_free(&out);
    assert_true(files_of("relative.log*") > 1);
}

// ---- policies -------------------------------------------------------------------------------------------------------
enum { BURST = 1000000 };
struct outcome {
    uint64_t ring, sink, level[6], ring_level[6];
    long most_rests;
    bool go;
};
static struct outcome *seen;

static void count(int number)
{
    struct sonde_sink_counts c;
    struct sonde_counts all;
    sonde_counts_get(&all);
    sonde_sink_counts_get(number, &c);
    seen->ring = all.records_lost;
    seen->sink = c.lost;
    memcpy(seen->level, c.lost_level, sizeof c.lost_level);
    memcpy(seen->ring_level, all.records_lost_level, sizeof seen->ring_level);
}

static int burst(void *arg)
{
    (void)arg;
    for (int i = 0; i < BURST; i++)
        SONDE_INFO("b", SONDE_INT("i", i));
    bool ok = sonde_flush(20000);
    count(2);
    return !ok;
}

static void bursts(void **state)
{
    (void)state;
    static const char *const policies[] = {"block:5000", "drop", "level:error"};
    for (size_t i = 0; i < CHECK_ROWS(policies); i++) {
        char file[160], loss[64];
        snprintf(file, sizeof file, "SONDE_LOG_FILE=%s", in_dir("burst"));
        snprintf(loss, sizeof loss, "SONDE_LOG_FILE_LOSS=%s", policies[i]);
        const char *const env[] = {file, loss, "SONDE_LOG_STDERR=off", "SONDE_RING_SIZE=1048576", NULL};
        struct buf out;
        unlink(in_dir("burst"));
        memset(seen, 0, sizeof *seen);
        check_row("%s", policies[i]);
        CHECK_INT(child_run(burst, NULL, env, &out), 0);
        buf_free(&out);
        struct buf b = contents("burst");
        CHECK_INT(lines_with(&b, ": b i=") + seen->ring + seen->sink - seen->level[SONDE_LEVEL_WARN], BURST); // its own lines
        if (i == 0)
            CHECK_INT(seen->ring + seen->sink, 0);
        CHECK_INT(seen->ring_level[SONDE_LEVEL_INFO], seen->ring);
        char total[64];
        snprintf(total, sizeof total, "lost_total=%llu\n", (unsigned long long)seen->ring);
        CHECK_INT(lines_with(&b, total), seen->ring > 0);
        CHECK(lines_with(&b, "lost_total=") <= 5);
        buf_free(&b);
    }
    check_done();
}

// How often the calling thread has waited for something, by its own will.
static long rests(void)
{
    struct rusage u;
    getrusage(RUSAGE_THREAD, &u);
    return u.ru_nvcsw;
}

enum {
    STALLED = 400000, // more than there is room for behind a reader who does not read: 8 MiB of lines, 4 MiB of records
    STALLED_ERRORS = STALLED / 20, // as many as the ring's reserve holds
};

// stderr is a pipe that nobody reads until `go`.
static int stalled(void *arg)
{
    (void)arg;
    for (int i = 0; i < STALLED; i++) {
        long before = rests();
        if (i % 20 == 0)
            SONDE_ERROR("severe", SONDE_INT("i", i));
        else
            SONDE_INFO("light", SONDE_INT("i", i));
        long n = rests() - before;
        seen->most_rests = n > seen->most_rests ? n : seen->most_rests;
        if (i % 10000 == 0)
            usleep(i == 350000 ? 500000 : 15000);
    }
    sonde_flush(100);
    __atomic_store_n(&seen->go, true, __ATOMIC_RELEASE);
    bool ok = sonde_flush(60000);
    count(SONDE_SINK_OF_STDERR);
    return !ok;
}

static void standstill(void **state)
{
    (void)state;
    static const struct {
        const char *policy;
        long most_rests; // of one call; one that waits rests for 0.1 ms at a time, ERROR up to 10 ms
        bool severe_kept;
    } rows[] = {{"SONDE_LOG_STDERR_LOSS=drop", 150, false},
                {"SONDE_LOG_STDERR_LOSS=block:200", 2050, false},
                {"SONDE_LOG_STDERR_LOSS=level:warn", 150, true}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        const char *const env[] = {rows[i].policy, "SONDE_RING_SIZE=4194304", NULL};
        memset(seen, 0, sizeof *seen);
        struct child c = child_start(stalled, NULL, env);
        while (!__atomic_load_n(&seen->go, __ATOMIC_ACQUIRE) && waitpid(c.pid, NULL, WNOHANG) == 0)
            usleep(1000);
        CHECK_INT(child_end(&c), 0);
        check_row("%s: ring %llu, sink %llu, rests %ld", rows[i].policy, (unsigned long long)seen->ring,
                  (unsigned long long)seen->sink, seen->most_rests);
        CHECK(seen->most_rests < rows[i].most_rests);
        CHECK(seen->ring + seen->sink > 0);
        size_t severe = lines_with(&c.out, ": severe i="), light = lines_with(&c.out, ": light i=");
        CHECK_INT(severe + light + seen->ring + seen->sink - seen->level[SONDE_LEVEL_WARN], STALLED); // its own lines
        CHECK_INT(severe + seen->level[SONDE_LEVEL_ERROR] + seen->ring_level[SONDE_LEVEL_ERROR], STALLED_ERRORS);
        if (rows[i].severe_kept)
            CHECK_INT(severe, STALLED_ERRORS);
        CHECK(strstr(c.out.p, " WARN sonde: lost ") != NULL);
        CHECK(lines_with(&c.out, "lost_total=") <= 100);
        buf_free(&c.out);
    }
    check_done();
}

// ---- callbacks ------------------------------------------------------------------------------------------------------
static void callback_waits(void *arg, const struct sonde_sink_line *l)
{
    struct sonde_sink_options o = {.kind = SONDE_SINK_FILE, .path = in_dir("never")};
    struct sonde_sink_counts c;
    int *bad = arg;
    if (strstr(l->text, "own"))
        return;
    *bad = sonde_flush(600000) || sonde_shutdown(0) || sonde_sink_add(&o) || sonde_sink_remove(1) || sonde_sink_counts_get(1, &c);
    SONDE_INFO("own"); // and logs
}

static int waits_for_itself(void *arg)
{
    static int bad = 1;
    struct sonde_sink_options o = {.kind = SONDE_SINK_CALLBACK, .write = callback_waits, .arg = &bad};
    (void)arg;
    sonde_sink_add(&o);
    SONDE_INFO("first");
    sonde_flush(30000);
    sonde_flush(30000);
    return bad;
}

static void callback_exits(void *arg, const struct sonde_sink_line *l)
{
    (void)arg;
    if (strstr(l->text, "leave"))
        exit(7);
}

static int leaves(void *arg)
{
    struct sonde_sink_options o = {.kind = SONDE_SINK_CALLBACK, .write = callback_exits};
    (void)arg;
    sonde_sink_add(&o);
    SONDE_INFO("before");
    SONDE_INFO("leave");
    pause();
    return 0;
}

// Stands still with the second record until stderr's reader has seen the first.
static void callback_rests(void *arg, const struct sonde_sink_line *l)
{
    (void)arg;
    usleep(10000);
    while (strstr(l->text, "second") && !__atomic_load_n(&seen->go, __ATOMIC_ACQUIRE))
        usleep(1000);
}

static int rests_in_callback(void *arg)
{
    struct sonde_sink_options o = {.kind = SONDE_SINK_CALLBACK, .write = callback_rests};
    (void)arg;
    sonde_sink_add(&o);
    SONDE_INFO("first");
    SONDE_INFO("second");
    return 0;
}

static void callbacks(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(waits_for_itself, NULL, (const char *const[]){NULL}, &out), 0);
    assert_int_equal(count_of(&out, ": own\n"), 1);
    buf_free(&out);
    assert_int_equal(child_run(leaves, NULL, (const char *const[]){NULL}, &out), 7);
    assert_int_equal(count_of(&out, ": before\n"), 1);
    assert_int_equal(count_of(&out, ": leave\n"), 1);
    buf_free(&out);
    memset(seen, 0, sizeof *seen);
    struct child c = child_start(rests_in_callback, NULL, (const char *const[]){NULL});
    char text[200] = "";
    assert_true(read(c.err, text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, ": first\n"));
    __atomic_store_n(&seen->go, true, __ATOMIC_RELEASE);
    assert_int_equal(child_end(&c), 0);
    buf_free(&c.out);
}

// ---- words ----------------------------------------------------------------------------------------------------------
static void words(void **state)
{
    (void)state;
    static const struct {
        char kind; // t or l
        const char *word;
        bool ok;
        uint64_t value;
    } rows[] = {{'t', "s", false, 0},          {'t', "0s", false, 0},         {'t', "1.5h", false, 0},
                {'t', "-1s", false, 0},        {'t', "366d", true, 31622400}, {'t', "", false, 0},
                {'t', "hourly", true, 3600},   {'t', "7d", true, 604800},     {'t', "90s", true, 90},
                {'t', "90", false, 0},         {'t', "900d", false, 0},       {'l', "drop", true, 0},
                {'l', "block:250", true, 250}, {'l', "block:0", false, 0},    {'l', "level:warn", true, 2},
                {'l', "level:off", false, 0},  {'l', "level:loud", false, 0}, {'l', "", false, 0}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct slice w = slice_str(rows[i].word);
        unsigned seconds = 0;
        struct sink_loss loss = {.how = SONDE_LOSS_DROP};
        check_row("%s", rows[i].word);
        bool ok = rows[i].kind == 't' ? sink_time_word(w, &seconds) : sink_loss_word(w, &loss);
        CHECK_INT(ok, rows[i].ok);
        CHECK_INT(seconds + loss.block_ms + loss.drop_below, rows[i].value);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words),
                                       cmocka_unit_test(side_by_side),
                                       cmocka_unit_test(rotation_by_size),
                                       cmocka_unit_test(rotation_by_time_and_start),
                                       cmocka_unit_test(logrotate),
                                       cmocka_unit_test(disk),
                                       cmocka_unit_test(directory),
                                       cmocka_unit_test(odd_places),
                                       cmocka_unit_test(bursts),
                                       cmocka_unit_test(standstill),
                                       cmocka_unit_test(callbacks)};
    seen = child_shared(sizeof *seen);
    return cmocka_run_group_tests(tests, setup, child_teardown);
}
