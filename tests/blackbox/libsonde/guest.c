/* A host program with libsonde in it: guest MODE [ARGUMENT…]. Built by test_libsonde.py in several languages, against the
 * shared and the static library. What it has to say goes to standard output; libsonde writes to standard error. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sonde/sonde.h>

static int mode_is(const char *name);
static int argc_;
static char **argv_;

static int mode_is(const char *name)
{
    return argc_ > 1 && strcmp(argv_[1], name) == 0;
}
static long number(int i, long otherwise)
{
    return argc_ > i ? atol(argv_[i]) : otherwise;
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- before main and after exit ---------------------------------------------------------------------------------------- */
static int early;

static void last_word(void)
{
    if (early)
        SONDE_INFO("atexit", SONDE_INT("n", 3));
}

__attribute__((constructor)) static void before_main(void)
{
    early = getenv("GUEST_EARLY") != NULL;
    if (!early)
        return;
    atexit(last_word); /* registered before libsonde's own: runs after it */
    SONDE_INFO("constructor", SONDE_INT("n", 1));
}

__attribute__((destructor)) static void after_exit(void)
{
    if (early)
        SONDE_INFO("destructor", SONDE_INT("n", 4));
}

static int mode_life(void)
{
    SONDE_INFO("main", SONDE_INT("n", 2));
    return 7;
}

/* ---- a plug-in with its own copy ----------------------------------------------------------------------------------------- */
static int ring_files(const char *pattern)
{
    char path[600];
    glob_t g;
    int n;
    snprintf(path, sizeof path, "%s/%s", getenv("SONDE_RING_DIR"), pattern);
    n = glob(path, 0, NULL, &g) == 0 ? (int)g.gl_pathc : 0;
    globfree(&g);
    return n;
}

static int mode_plugin(void)
{
    struct sonde_options o;
    void *lib;
    void (*work)(int);
    int i;
    memset(&o, 0, sizeof o);
    o.service = "host";
    sonde_init(&o);
    SONDE_INFO("host before");
    for (i = 0; i < 3; i++) {
        lib = dlopen(argv_[2], RTLD_NOW | RTLD_LOCAL);
        if (!lib) {
            printf("%s\n", dlerror());
            return 1;
        }
        *(void **)&work = dlsym(lib, "plugin_work");
        if (!work)
            return 2;
        work(i);
        SONDE_INFO("host meanwhile", SONDE_INT("i", i));
        printf("host %d plugin %d\n", ring_files("host-*.ring"), ring_files("plugin*.ring"));
        dlclose(lib);
    }
    SONDE_INFO("host after");
    return sonde_flush(2000) ? 0 : 3;
}

static pthread_barrier_t barrier;

static void *caller_of_plugin(void *work)
{
    void (*call)(int);
    *(void **)&call = work;
    call(0);
    pthread_barrier_wait(&barrier); /* logged */
    pthread_barrier_wait(&barrier); /* the library was closed */
    return NULL;
}

/* A thread that logged in a plug-in outlives it. */
static int mode_plugin_thread(void)
{
    pthread_t t;
    void *lib = dlopen(argv_[2], RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        printf("%s\n", dlerror());
        return 1;
    }
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&t, NULL, caller_of_plugin, dlsym(lib, "plugin_work"));
    pthread_barrier_wait(&barrier);
    dlclose(lib);
    pthread_barrier_wait(&barrier);
    pthread_join(t, NULL);
    SONDE_INFO("host after");
    return 0;
}

/* A plug-in that uses the host's libsonde is unloaded; its call sites are not touched any more. */
static int mode_plugin_level(void)
{
    int i;
    for (i = 0; i < 3; i++) {
        void (*work)(int);
        void *lib = dlopen(argv_[2], RTLD_NOW | RTLD_LOCAL);
        if (!lib)
            return 1;
        *(void **)&work = dlsym(lib, "plugin_work");
        if (!sonde_set_filter("warn"))
            return 2;
        work(i); /* silent */
        if (!sonde_set_filter("info"))
            return 3;
        work(i);
        dlclose(lib);
        if (!sonde_set_filter("debug"))
            return 4;
        SONDE_DEBUG("host", SONDE_INT("i", i));
    }
    return sonde_set_filter("info") ? 0 : 5;
}

/* ---- cancelled threads ------------------------------------------------------------------------------------------------ */
static void *cancelled(void *arg)
{
    pthread_cancel(pthread_self()); /* takes effect at the first call that waits, if that is inside of libsonde */
    SONDE_INFO("cancelled", SONDE_INT("i", (long)(size_t)arg));
    pthread_testcancel();
    return NULL;
}

static int mode_cancel(void)
{
    pthread_t t;
    long i;
    void *end;
    for (i = 0; i < 3; i++) {
        pthread_create(&t, NULL, cancelled, (void *)(size_t)i);
        pthread_join(t, &end);
        if (end != PTHREAD_CANCELED)
            return 2;
    }
    SONDE_INFO("alive");
    if (!sonde_shutdown(2000))
        return 3;
    pthread_create(&t, NULL, cancelled, (void *)(size_t)i); /* writes by itself */
    pthread_join(t, &end);
    SONDE_INFO("alive");
    return 0;
}

/* ---- fork ------------------------------------------------------------------------------------------------------------- */
static volatile int stop;

static void *chatter(void *arg)
{
    long i;
    for (i = 0; !stop; i++) {
        SONDE_INFO("chatter", SONDE_INT("i", i), SONDE_STR("who", (const char *)arg));
        if (i % 20 == 0)
            usleep(500);
    }
    return NULL;
}

static int fork_child(int round)
{
    char mine[64];
    int i;
    SONDE_INFO("child begins", SONDE_INT("round", round));
    for (i = 0; i < 99; i++)
        SONDE_INFO("child", SONDE_INT("round", round), SONDE_INT("i", i));
    snprintf(mine, sizeof mine, "*-%d.ring", (int)getpid());
    if (ring_files(mine) != 1)
        return 9; /* no ring of its own */
    if (round % 2) {
        if (!sonde_flush(5000))
            return 8;
        _exit(0);
    }
    return 0;
}

/* Many short processes that end by _exit do not fill the ring directory. */
static int mode_fork_exit(void)
{
    int i, status;
    SONDE_INFO("parent");
    for (i = 0; i < number(2, 100); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            SONDE_INFO("child");
            _exit(0);
        }
        waitpid(pid, &status, 0);
    }
    return 0;
}

static int mode_fork(void)
{
    pthread_t t[3];
    int i, status, bad = 0;
    long rounds = number(2, 50);
    for (i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, chatter, (void *)"thread");
    for (i = 0; i < rounds; i++) {
        pid_t pid;
        SONDE_INFO("parent", SONDE_INT("round", i));
        pid = fork();
        if (pid == 0)
            exit(fork_child(i));
        waitpid(pid, &status, 0);
        if (status != 0) {
            printf("round %d: status %d\n", i, status);
            bad++;
        }
    }
    stop = 1;
    for (i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    return bad != 0;
}

/* ---- threads that come and go --------------------------------------------------------------------------------------------- */
static void *one_line(void *arg)
{
    SONDE_INFO("short life", SONDE_INT("i", (long)(size_t)arg));
    return NULL;
}

static long resident_kib(void)
{
    long pages = 0, all;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int mode_threads(void)
{
    long i, n = number(2, 10000), before = 0;
    pthread_t t[4];
    int k;
    for (i = 0; i < n; i += 4) {
        if (i == n / 5)
            before = resident_kib(); /* everything has been used once */
        for (k = 0; k < 4; k++)
            pthread_create(&t[k], NULL, one_line, (void *)(size_t)(i + k));
        for (k = 0; k < 4; k++)
            pthread_join(t[k], NULL);
    }
    sonde_flush(5000);
    printf("grown %ld KiB\n", resident_kib() - before);
    return 0;
}

/* ---- ends -------------------------------------------------------------------------------------------------------------------
 */
static int mode_quick_end(void)
{
    SONDE_INFO("last words", SONDE_INT("n", 1));
    _exit(5);
}

static int mode_crash(void)
{
    volatile int *nowhere = NULL;
    SONDE_ERROR("about to crash", SONDE_INT("n", 1));
    *nowhere = 1;
    return 0;
}

static int mode_abort(void)
{
    SONDE_ERROR("about to abort");
    abort();
}

/* ---- signals ------------------------------------------------------------------------------------------------------------------
 */
static int mode_handlers(void)
{
    struct sigaction before[65], after;
    sigset_t mask_before, mask_after;
    struct sonde_span *s;
    int i, bad = 0;
    memset(before, 0, sizeof before);
    for (i = 1; i <= 64; i++)
        sigaction(i, NULL, &before[i]);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    sonde_init(NULL);
    s = sonde_span_start("work", SONDE_KIND_SERVER, NULL);
    sonde_span_enter(s);
    SONDE_INFO("line");
    sonde_span_exit(s);
    sonde_span_end(s);
    sonde_shutdown(1000);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (i = 1; i <= 64; i++) {
        memset(&after, 0, sizeof after);
        sigaction(i, NULL, &after);
        if (after.sa_handler != before[i].sa_handler || after.sa_flags != before[i].sa_flags ||
            sigismember(&mask_before, i) != sigismember(&mask_after, i)) {
            printf("signal %d was touched\n", i);
            bad++;
        }
    }
    return bad != 0;
}

/* ---- without standard streams ---------------------------------------------------------------------------------------------- */
static int mode_closed(void)
{
    const char *which = argv_[2], *p;
    FILE *f;
    int i, fd;
    for (p = which; *p; p++)
        close(*p - '0');
    sonde_init(NULL);
    for (i = 0; i < 500; i++)
        SONDE_INFO("line", SONDE_INT("i", i));
    /* A host may open its own things there afterwards: nobody but it may hold these numbers. */
    for (p = which; *p; p++) {
        if (fcntl(*p - '0', F_GETFD) != -1)
            return 20 + (*p - '0');
    }
    fd = open(argv_[3], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f)
        return 30;
    fprintf(f, "own data\n");
    fclose(f);
    return sonde_shutdown(2000) ? 0 : 1;
}

/* A daemon closes everything that it does not know; its next files get those numbers. */
static int mode_daemon(void)
{
    int fd[32], i, status;
    struct stat st;
    pid_t pid;
    sonde_init(NULL);
    SONDE_INFO("before");
    for (i = 3; i < 64; i++)
        close(i);
    for (i = 0; i < 32; i++) {
        fd[i] = open(argv_[2], O_RDWR | O_CREAT, 0600);
        if (fd[i] < 0)
            return 2;
    }
    for (i = 0; i < 50000; i++) /* the ring grows */
        SONDE_INFO("line", SONDE_INT("i", i));
    SONDE_INFO("another call site");
    if (fstat(fd[0], &st) != 0 || st.st_size != 0 || st.st_blocks != 0)
        return 3; /* written into a file of the host */
    pid = fork();
    if (pid == 0) {
        SONDE_INFO("child");
        for (i = 0; i < 32; i++)
            if (fstat(fd[i], &st) != 0)
                _exit(4); /* closed a file of the host */
        exit(0);
    }
    waitpid(pid, &status, 0);
    if (status != 0)
        return 5;
    return sonde_shutdown(5000) ? 0 : 6;
}

/* ---- small stacks ----------------------------------------------------------------------------------------------------- */
static void *on_a_small_stack(void *arg)
{
    struct sonde_span *s = sonde_span_start("small", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    SONDE_INFO("small", SONDE_INT("a", (long)(size_t)arg), SONDE_STR("b", "text"), SONDE_F64("c", 1.0 / 3), SONDE_BOOL("d", 1));
    sonde_span_exit(s);
    sonde_span_end(s);
    return NULL;
}

static int mode_small_stack(void)
{
    pthread_attr_t attr;
    pthread_t t;
    int i;
    pthread_attr_init(&attr);
    if (pthread_attr_setstacksize(&attr, (size_t)number(2, 65536)) != 0)
        return 2;
    for (i = 0; i < 3; i++) { /* the first one starts the library */
        pthread_create(&t, &attr, on_a_small_stack, (void *)(size_t)i);
        pthread_join(t, NULL);
    }
    sonde_shutdown(2000);
    pthread_create(&t, &attr, on_a_small_stack, (void *)(size_t)i); /* writes by itself */
    pthread_join(t, NULL);
    return 0;
}

/* ---- limits
 * ---------------------------------------------------------------------------------------------------------------------- */
static int mode_file_limit(void)
{
    struct rlimit l;
    int i;
    l.rlim_cur = l.rlim_max = (rlim_t)number(2, 4096);
    if (setrlimit(RLIMIT_FSIZE, &l) != 0)
        return 2;
    for (i = 0; i < 20000; i++)
        SONDE_INFO("line", SONDE_INT("i", i));
    return sonde_shutdown(5000) ? 0 : 1;
}

/* Standard error breaks: a pipe without a reader, or a file at its limit. Also behind the shutdown, when callers write
 * themselves. */
static int mode_broken(void)
{
    struct rlimit l;
    int fds[2], i;
    if (strcmp(argv_[2], "pipe") == 0) {
        if (pipe(fds) != 0)
            return 2;
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
    } else {
        l.rlim_cur = l.rlim_max = 65536;
        dup2(open(argv_[2], O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
        if (setrlimit(RLIMIT_FSIZE, &l) != 0)
            return 3;
    }
    for (i = 0; i < 3000; i++)
        SONDE_ERROR("line", SONDE_INT("i", i), SONDE_STR("text", "some words that fill the file"));
    sonde_shutdown(2000);
    for (i = 0; i < 3; i++)
        SONDE_ERROR("after", SONDE_INT("i", i));
    return 0;
}

static int mode_lines(void)
{
    long i, n = number(2, 100);
    for (i = 0; i < n; i++)
        SONDE_INFO("line", SONDE_INT("i", i));
    return sonde_shutdown(5000) ? 0 : 1;
}

static int mode_exported(void)
{
    struct sonde_counts c;
    mode_lines();
    sonde_counts_get(&c);
    printf("sent %lu dropped %lu\n", (unsigned long)c.export_logs_sent, (unsigned long)c.export_logs_dropped);
    return 0;
}

/* ---- idle
 * -------------------------------------------------------------------------------------------------------------------------- */
static int mode_idle(void)
{
    double wall, cpu;
    sonde_init(NULL);
    SONDE_INFO("line");
    sleep(3); /* until the backend dozes */
    wall = seconds(CLOCK_MONOTONIC);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    sleep((unsigned)number(2, 10));
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    printf("%.6f\n", cpu / wall);
    return 0;
}

/* ---- bursts, order, kill -9
 * ---------------------------------------------------------------------------------------------------------- */
static int mode_burst(void)
{
    long i, n = number(2, 1000000);
    struct sonde_counts counts;
    for (i = 0; i < n; i++)
        SONDE_INFO("burst", SONDE_INT("i", i), SONDE_STR("text", "some words that fill the record"));
    sonde_flush(60000);
    sonde_counts_get(&counts);
    printf("%llu\n", (unsigned long long)counts.records_lost);
    return sonde_shutdown(10000) ? 0 : 1;
}

static void *in_order(void *arg)
{
    long i, n = number(3, 20000);
    for (i = 0; i < n; i++) {
        SONDE_INFO("order", SONDE_INT("t", (long)(size_t)arg), SONDE_INT("i", i));
        if (i % 64 == 0)
            usleep(200);
    }
    return NULL;
}

static int mode_order(void)
{
    pthread_t t[64];
    long i, n = number(2, 4);
    for (i = 0; i < n; i++)
        pthread_create(&t[i], NULL, in_order, (void *)(size_t)i);
    for (i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    return sonde_shutdown(10000) ? 0 : 1;
}

static volatile long *progress;

static void *until_killed(void *arg)
{
    long t = (long)(size_t)arg, i;
    for (i = 1;; i++) {
        SONDE_INFO("work", SONDE_INT("t", t), SONDE_INT("i", i), SONDE_STR("text", "some words that fill the record"));
        __atomic_store_n(&progress[t], i, __ATOMIC_RELEASE);
        if (i % (100 / number(2, 4) + 2) == 0) /* slow enough for the backend, whatever the number of threads */
            usleep(1000);
    }
    return NULL;
}

static int mode_killed(void)
{
    pthread_t t;
    long i, n = number(2, 4);
    int fd = open(argv_[3], O_RDWR);
    progress = (volatile long *)mmap(NULL, 64 * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (progress == MAP_FAILED)
        return 2;
    for (i = 0; i < n; i++)
        pthread_create(&t, NULL, until_killed, (void *)(size_t)i);
    pause();
    return 0;
}

/* ---- for callgrind: what each call costs
 * --------------------------------------------------------------------------------------------- */
__attribute__((noinline)) static void count_enabled(long i)
{
    SONDE_INFO("warm call", SONDE_STR("model", "tiny-llama"), SONDE_INT("tokens", i), SONDE_INT("slot", 3),
               SONDE_F64("ms", 1.25));
}
__attribute__((noinline)) static void count_disabled(long i)
{
    SONDE_DEBUG("disabled", SONDE_STR("model", "tiny-llama"), SONDE_INT("tokens", i), SONDE_INT("slot", 3),
                SONDE_F64("ms", 1.25));
}
__attribute__((noinline)) static void count_span(void)
{
    sonde_span_end(sonde_span_start("work", SONDE_KIND_INTERNAL, NULL));
}

__attribute__((noinline)) static void count_attributes(long i)
{
    struct sonde_span *s = sonde_span_start("work", SONDE_KIND_INTERNAL, NULL);
    SONDE_SPAN_SET(s, SONDE_STR("model", "tiny-llama"), SONDE_INT("tokens", i), SONDE_INT("slot", 3), SONDE_F64("ms", 1.25),
                   SONDE_BOOL("hit", 1));
    sonde_span_end(s);
}

static int mode_counts(void)
{
    const char *what = argv_[2];
    long i, n = number(3, 1000);
    sonde_init(NULL);
    for (i = 0; i < n; i++) {
        if (strcmp(what, "enabled") == 0)
            count_enabled(i);
        else if (strcmp(what, "disabled") == 0)
            count_disabled(i);
        else if (strcmp(what, "attributes") == 0)
            count_attributes(i);
        else
            count_span();
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {{"life", mode_life},
                 {"plugin", mode_plugin},
                 {"fork", mode_fork},
                 {"threads", mode_threads},
                 {"quick_end", mode_quick_end},
                 {"crash", mode_crash},
                 {"abort", mode_abort},
                 {"handlers", mode_handlers},
                 {"closed", mode_closed},
                 {"lines", mode_lines},
                 {"exported", mode_exported},
                 {"file_limit", mode_file_limit},
                 {"idle", mode_idle},
                 {"burst", mode_burst},
                 {"order", mode_order},
                 {"killed", mode_killed},
                 {"counts", mode_counts},
                 {"broken", mode_broken},
                 {"plugin_thread", mode_plugin_thread},
                 {"cancel", mode_cancel},
                 {"daemon", mode_daemon},
                 {"small_stack", mode_small_stack},
                 {"plugin_level", mode_plugin_level},
                 {"fork_exit", mode_fork_exit}};
    size_t i;
    argc_ = argc;
    argv_ = argv;
    for (i = 0; i < sizeof modes / sizeof *modes; i++)
        if (mode_is(modes[i].name))
            return modes[i].run();
    return 100;
}
