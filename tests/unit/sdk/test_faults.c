// The whole life of the library in a process, with each allocation and each system call that may fail failing in turn: once, and
// from then on. Never a crash, a hang or another exit status; no line is written twice or torn, and what is missing was counted.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "faults::test"
#include "base/alloc.h"
#include "base/clock.h"
#include "sdk/sdk.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sonde/metrics.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

// ---- calls that fail ------------------------------------------------------------------------------------------------
enum call {
    MEMORY, // base/alloc.h
    WRITE,
    SHORT_WRITE, // half of it, at most; no error
    OPEN,
    RENAME,
    FTRUNCATE,
    MMAP,
    FALLOCATE,
    FSTAT,
    STAT,
    READ,
    FLOCK,
    MKDIR,
    UNLINK,
    THREAD,
    ALIGNED,
    SOCKET,
    CONNECT,
    FCNTL,
    POLL,
    CALLS,
};
static const struct {
    const char *name;
    int error;
    int in_turn; // so many of the first ones
} calls[CALLS] = {
    [MEMORY] = {"memory", ENOMEM, 100000},
    [WRITE] = {"write", ENOSPC, 40},
    [SHORT_WRITE] = {"short write", 0, 40},
    [OPEN] = {"open", EMFILE, 30},
    [RENAME] = {"rename", EACCES, 20},
    [FTRUNCATE] = {"ftruncate", EIO, 5},
    [MMAP] = {"mmap", ENOMEM, 5},
    [FALLOCATE] = {"fallocate", ENOSPC, 12},
    [FSTAT] = {"fstat", EIO, 40},
    [STAT] = {"stat", EACCES, 20},
    [READ] = {"read", EIO, 10},
    [FLOCK] = {"flock", ENOLCK, 4},
    [MKDIR] = {"mkdir", EACCES, 3},
    [UNLINK] = {"unlink", EACCES, 3},
    [THREAD] = {"pthread_create", EAGAIN, 5},
    [ALIGNED] = {"aligned_alloc", ENOMEM, 4},
    [SOCKET] = {"socket", EMFILE, 4},
    [CONNECT] = {"connect", ENETUNREACH, 4},
    [FCNTL] = {"fcntl", EMFILE, 6},
    [POLL] = {"poll", ENOMEM, 10},
};

static atomic_int failing = -1; // enum call
static atomic_long left;        // until it fails
static atomic_bool forever, hit;

static bool fails(enum call c)
{
    if (atomic_load_explicit(&failing, memory_order_relaxed) != (int)c)
        return false;
    long n = atomic_fetch_sub(&left, 1);
    if (n != 1 && !(n < 1 && atomic_load(&forever)))
        return false;
    atomic_store(&hit, true);
    errno = calls[c].error;
    return true;
}

#define WRAP(type, name, list, give, call, failed)        \
    type __real_##name list;                              \
    type __wrap_##name list;                              \
    type __wrap_##name list                               \
    {                                                     \
        return fails(call) ? failed : __real_##name give; \
    }
WRAP(void *, mem_alloc, (size_t n), (n), MEMORY, NULL)
WRAP(void *, mem_zalloc, (size_t n), (n), MEMORY, NULL)
WRAP(void *, mem_realloc, (void *p, size_t n), (p, n), MEMORY, NULL)
WRAP(int, rename, (const char *from, const char *to), (from, to), RENAME, -1)
WRAP(int, ftruncate64, (int fd, off_t n), (fd, n), FTRUNCATE, -1)
WRAP(void *, mmap64, (void *at, size_t n, int prot, int flags, int fd, off_t from), (at, n, prot, flags, fd, from), MMAP,
     MAP_FAILED)
WRAP(int, posix_fallocate64, (int fd, off_t at, off_t n), (fd, at, n), FALLOCATE, ENOSPC)
WRAP(int, fstat64, (int fd, struct stat *st), (fd, st), FSTAT, -1)
WRAP(int, stat64, (const char *path, struct stat *st), (path, st), STAT, -1)
WRAP(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), READ, -1)
WRAP(int, flock, (int fd, int what), (fd, what), FLOCK, -1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), MKDIR, -1)
WRAP(int, unlink, (const char *path), (path), UNLINK, -1)
WRAP(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg), (t, a, fn, arg), THREAD,
     EAGAIN)
WRAP(void *, aligned_alloc, (size_t align, size_t n), (align, n), ALIGNED, NULL)
WRAP(int, socket, (int family, int type, int protocol), (family, type, protocol), SOCKET, -1)
WRAP(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), CONNECT, -1)
WRAP(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), POLL, -1)

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    if (fails(SHORT_WRITE))
        n = n > 1 ? n / 2 : n;
    return fails(WRITE) ? -1 : __real_write(fd, p, n);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return fails(OPEN) ? -1 : __real_open64(path, flags, mode);
}

int __real_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...)
{
    va_list ap;
    va_start(ap, what);
    long arg = va_arg(ap, long);
    va_end(ap);
    return fails(FCNTL) ? -1 : __real_fcntl64(fd, what, arg);
}

// ---- a life ---------------------------------------------------------------------------------------------------------
enum { STATUS = 7, THREADS = 2, LINES = 60, MARKED = THREADS * LINES + 8, SINKS = 4 };
struct life {
    enum call call;
    long n;
    bool forever;
    // what the process found
    bool hit, exports, has[SINKS];
    bool left_behind; // the backend was not done within the time that shutdown had: what it has in hand is on its way
    long emitted, called;
    double seconds;
    struct sonde_counts counts;
    struct sonde_sink_counts sink[SINKS];
    int number[SINKS];
};
static char dir[64];
static bool keep_files;
static atomic_long called, emitted;

static void callback(void *arg, const struct sonde_sink_line *l)
{
    (void)arg;
    atomic_fetch_add(&called, strstr(l->text, "mark=") != NULL);
}

#define MARK() SONDE_INT("mark", atomic_fetch_add(&emitted, 1))
static void *work(void *arg)
{
    for (int i = 0; i < LINES; i++)
        SONDE_INFO("working along", MARK(), SONDE_STR("pad", "some text that makes a file grow until it is rotated"));
    return arg;
}

static void request(void)
{
    static char large[20000];
    memset(large, 'x', sizeof large - 1);
    struct sonde_span *s = sonde_span_start("request", SONDE_KIND_SERVER, NULL);
    sonde_span_enter(s);
    sonde_span_str(s, "model", "tiny");
    sonde_span_event(s, "first token");
    SONDE_DEBUG("held", SONDE_INT("step", 1));
    SONDE_INFOF("formatted %s of %d", SONDE_ARGS("text", 5), MARK());
    SONDE_WARN("large", MARK(), SONDE_STR("text", large));
    struct sonde_field fields[] = {SONDE_FIELD(MARK()), SONDE_FIELD(SONDE_STR("k", "v"))};
    SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, "at run time", fields, 2);
    for (int i = 0; i < 4; i++)
        SONDE_INFO_LIMIT(SONDE_EVERY(1, 0, 60), "limited", SONDE_INT("i", i));
    SONDE_ERROR("failed", MARK(), SONDE_ERRNO("error", ECONNREFUSED));
    sonde_span_status(s, SONDE_STATUS_ERROR, "failed");
    sonde_span_exit(s);
    sonde_span_end(s);
}

static void metrics(void)
{
    struct sonde_registry *r = sonde_registry_new("faults_");
    struct sonde_metric_options o = {.name = "lines_total", .help = "lines"};
    sonde_int_counter_add(sonde_int_counter_new(r, &o, NULL), 1);
    o.name = "seconds";
    sonde_histogram_observe(sonde_histogram_new(r, &o, NULL), 0.5);
    free(sonde_registry_text(r, SONDE_EXPOSITION_OPENMETRICS, NULL));
    sonde_registry_free(r);
}

static void add_sinks(struct life *l)
{
    char path[100];
    snprintf(path, sizeof path, "%s/json", dir);
    l->number[0] = SONDE_SINK_OF_STDERR;
    l->number[1] = 2; // of the environment
    l->number[2] = sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_FILE,
                                                               .path = path,
                                                               .format = SONDE_FORMAT_JSONL,
                                                               .filter = "info,other=debug",
                                                               .rotate_size = 5000,
                                                               .keep = 50});
    l->number[3] = sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_CALLBACK, .write = callback});
    sonde_sink_remove(sonde_sink_add(&(struct sonde_sink_options){.kind = SONDE_SINK_CALLBACK, .write = callback}));
}

static int live(void *arg)
{
    struct life *l = arg;
    pthread_t t[THREADS];
    bool started[THREADS];
    char path[100];
    int64_t start = clock_mono_ns();
    alarm(60); // a hang is a failure
    atomic_store(&left, l->n);
    atomic_store(&forever, l->forever);
    atomic_store(&failing, (int)l->call);
    sonde_init(&(struct sonde_options){.service = "faults"});
    add_sinks(l);
    for (int i = 0; i < THREADS; i++)
        started[i] = pthread_create(&t[i], NULL, work, NULL) == 0;
    request();
    metrics();
    sonde_set_filter("info,a=debug,[request{model=tiny}]=info");
    snprintf(path, sizeof path, "%s/dump", dir);
    sonde_flight_dump(path);
    for (int i = 0; i < THREADS; i++)
        if (started[i])
            pthread_join(t[i], NULL);
        else
            work(NULL);
    sonde_flush(50);
    for (int i = 0; i < 4; i++)
        SONDE_INFO("last", MARK());
    for (int i = 0; i < SINKS; i++) // a sink that could not be added has nothing
        l->has[i] = l->number[i] && sonde_sink_counts_get(l->number[i], &l->sink[i]);
    sonde_shutdown(100);
    l->left_behind = sdk.has_thread;
    l->hit = atomic_load(&hit);
    atomic_store(&failing, -1);
    sonde_counts_get(&l->counts);
    for (int i = 0; i < SINKS; i++)
        l->has[i] = l->has[i] && sonde_sink_counts_get(l->number[i], &l->sink[i]);
    l->called = atomic_load(&called);
    l->emitted = atomic_load(&emitted);
    l->exports = sdk.export != NULL;
    l->seconds = (double)(clock_mono_ns() - start) * 1e-9;
    return STATUS;
}

// ---- what is left of it ---------------------------------------------------------------------------------------------
// Marked lines of a text; a number that is there twice, or a line that does not end, counts 1000. A pipe that takes nothing from
// some moment on may have the beginning of a long line.
static long marks_in(const struct buf *b, bool *seen, bool may_be_cut)
{
    long n = 0;
    for (const char *p = b->p, *end = b->p + b->n, *next; p && p < end; p = next) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        next = line_end ? line_end + 1 : end;
        static const char *const words[] = {"mark=", "\"mark\":"};
        for (int i = 0; i < 2; i++) {
            const char *at = memmem(p, (size_t)(next - p), words[i], strlen(words[i]));
            long mark = at ? atol(at + strlen(words[i])) : -1;
            if (!at || (!line_end && may_be_cut))
                continue;
            n += mark < 0 || mark >= MARKED || seen[mark] || !line_end ? 1000 : 1;
            seen[mark >= 0 && mark < MARKED ? mark : 0] = true;
        }
    }
    return n;
}

// Of all files of that name, with those that were rotated away; removes them.
static long marks_of(const char *name)
{
    bool seen[MARKED] = {false};
    long n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[400], piece[65536];
        struct buf b;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strncmp(e->d_name, name, strlen(name)) != 0)
            continue;
        buf_init(&b, MIB(64));
        int fd = open(path, O_RDONLY);
        for (ssize_t k; fd >= 0 && (k = read(fd, piece, sizeof piece)) > 0;)
            buf_put(&b, piece, (size_t)k);
        close(fd);
        if (!keep_files)
            unlink(path);
        n += marks_in(&b, seen, false);
        buf_free(&b);
    }
    closedir(d);
    return n;
}

static void check_sink(const struct life *l, int i, long written)
{
    long lost = (long)(l->counts.records_lost + l->sink[i].lost);
    if (!l->has[i] || l->left_behind)
        return;
    if (!CHECK(written <= l->emitted && written + lost >= l->emitted))
        fprintf(stderr, "    sink %d: %ld of %ld written, %llu lost by the ring, %llu by the sink\n", l->number[i], written,
                l->emitted, (unsigned long long)l->counts.records_lost, (unsigned long long)l->sink[i].lost);
}

// False: that call does not happen so often.
static bool one_life(struct life *l, enum call c, long n, bool always)
{
    static char file[100], control[100];
    snprintf(file, sizeof file, "SONDE_LOG_FILE=%s/text", dir);
    snprintf(control, sizeof control, "SONDE_LOG_CONTROL=%s/control", child_dir);
    static const char *const env[] = {file,
                                      "SONDE_LOG_FILE_ROTATE_SIZE=4000",
                                      "SONDE_LOG_FILE_KEEP=50",
                                      control,
                                      "OTEL_EXPORT_ENABLED=1",
                                      "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
                                      "OTEL_BLRP_SCHEDULE_DELAY=10",
                                      NULL};
    bool seen[MARKED] = {false};
    struct buf out;
    memset(l, 0, sizeof *l);
    l->call = c;
    l->n = n;
    l->forever = always;
    check_row("%s %ld%s", calls[c].name, n, always ? " and all later ones" : "");
    int status = child_run(live, l, env, &out);
    if (!CHECK_INT(status, STATUS))
        fprintf(stderr, "%.3000s\n", out.p ? out.p : "");
    CHECK(l->seconds < 30);
    check_sink(l, 0, marks_in(&out, seen, always));
    check_sink(l, 1, marks_of("text"));
    check_sink(l, 2, marks_of("json"));
    check_sink(l, 3, l->called);
    if (l->exports && c != POLL && !l->left_behind &&
        !(out.p &&
          strstr(out.p,
                 "sonde: no memory for a destination: logs"))) // a shutdown that runs out of its time leaves the exporter behind
        CHECK((long)(l->counts.export_logs_sent + l->counts.export_logs_dropped + l->counts.records_lost) >= l->emitted);
    if (!l->hit && !l->left_behind && status == STATUS) { // nothing failed: nothing is missing
        CHECK_INT(l->emitted, MARKED);
        CHECK_INT(l->counts.records_lost + l->sink[0].lost + l->sink[1].lost + l->sink[2].lost + l->sink[3].lost, 0);
        CHECK(l->has[1] && l->has[2] && l->has[3] && l->exports);
    }
    buf_free(&out);
    return l->hit;
}

static struct life *life;

static void in_turn(enum call from, enum call to)
{
    for (enum call c = from; c < to; c++) {
        bool more = true;
        long n = 1;
        // Many allocations are alike: all of the first hundred, then ever fewer.
        for (; more && n <= calls[c].in_turn; n += n < 100 || c != MEMORY ? 1 : n / 20)
            more = one_life(life, c, n, false);
        if (getenv("FAULTS_TELL"))
            fprintf(stderr, "%s: %ld\n", calls[c].name, n);
        CHECK(n > 2 || c == FTRUNCATE || c == FCNTL); // else the call is not made any more: a fault less to test
    }
    check_done();
}

static void each_allocation(void **state)
{
    (void)state;
    in_turn(MEMORY, MEMORY + 1);
}

static void each_call(void **state)
{
    (void)state;
    in_turn(MEMORY + 1, CALLS);
}

static void from_then_on(void **state)
{
    (void)state;
    static const long beginnings[] = {1, 2, 3, 5, 8, 20, 50, 100, 200, 500};
    for (enum call c = 0; c < CALLS; c++)
        for (size_t i = 0; i < CHECK_ROWS(beginnings); i++)
            if (!one_life(life, c, beginnings[i], true))
                break;
    check_done();
}

// ---- a full ring ----------------------------------------------------------------------------------------------------
enum { OPEN_SPANS = 300 };
static int ends_without_room(void *arg)
{
    struct sonde_span *span[OPEN_SPANS];
    struct sonde_counts c = {.records_lost = 0};
    (void)arg;
    sonde_init(NULL);
    for (int round = 0; round < 3; round++) {
        pthread_mutex_lock(&sdk.drain); // nobody reads
        for (int i = 0; i < OPEN_SPANS; i++)
            span[i] = sonde_span_start("open", SONDE_KIND_INTERNAL, NULL);
        for (uint64_t before = c.records_lost; c.records_lost < before + 10; sonde_counts_get(&c))
            SONDE_INFO("fills the ring");
        mem_fail_after(1);
        for (int i = 0; i < OPEN_SPANS; i++)
            sonde_span_end(span[i]);
        bool asked = mem_fail_hit(); // by any thread; the others sleep or wait for the lock
        mem_fail_after(0);
        if (asked)
            return 20 + round;
        pthread_mutex_unlock(&sdk.drain);
        if (!sonde_flush(5000) || sdk.pipe.spans.n != 0)
            return 1 + round;
    }
    sonde_counts_get(&c);
    return c.records_lost_level[0] >= OPEN_SPANS ? 0 : 10; // the ends
}

// A span whose end found no room is not open for good.
static void lost_ends(void **state)
{
    (void)state;
    static const char *const env[] = {"SONDE_RING_BYTES=262144", NULL};
    struct buf out;
    assert_int_equal(child_run(ends_without_room, NULL, env, &out), 0);
    buf_free(&out);
}

static int setup(void **state)
{
    life = child_shared(sizeof *life);
    if (child_setup(state) != 0)
        return 1;
    snprintf(dir, sizeof dir, "%s/logs", child_dir);
    char control[100];
    snprintf(control, sizeof control, "%s/control", child_dir);
    int fd = open(control, O_WRONLY | O_CREAT, 0600);
    return fd < 0 || write(fd, "info\n", 5) != 5 || close(fd) != 0 || mkdir(dir, 0700) != 0;
}

int main(int argc, char **argv)
{
    if (argc == 4) { // CALL N ALWAYS: one row, whose files are left to be looked at
        setup(NULL);
        keep_files = true;
        printf("%s\n", dir);
        return one_life(life, (enum call)atoi(argv[1]), atol(argv[2]), atoi(argv[3]));
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation), cmocka_unit_test(each_call),
                                       cmocka_unit_test(from_then_on), cmocka_unit_test(lost_ends)};
    return cmocka_run_group_tests(tests, setup, child_teardown);
}
