// What a log call costs, beside the floors of the machine, and how fast the backend writes JSON lines.
// bench_log [--json] [FILE]: with --json the last line is one JSON object. FILE (default bench_log.out, removed again) is where
// lines are written that go to a file.
#include "bench.h"
#include <fcntl.h>
#include <time.h>

enum { BURST = 2000, BURSTS = 100, COLD = 1000, LINES = 60000, DISABLED = 4000000, ROUNDS = 5, DRAINS = 20, THREADS = 2 };

static const char *path = "bench_log.out";

static void lines_to(const char *file)
{
    sonde_flush(5000);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0) {
        printf("bench_log: %s cannot be written\n", file);
        exit(1);
    }
    close(fd);
}

static double copy_floor(void)
{
    enum { SIZE = 8 << 20, N = 2000000 };
    char *to = malloc(SIZE), from[64] = "sixty-four bytes, as large as a small record is with its head.";
    memset(to, 1, SIZE);
    int64_t start = clock_mono_ns();
    for (size_t i = 0; i < N; i++) {
        memcpy(to + i * 64 % SIZE, from, 64);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    double ns = (double)(clock_mono_ns() - start) / N;
    free(to);
    return ns;
}

// ---- warm: threads begin each burst in the same microsecond, with an empty ring -------------------------------------
static pthread_barrier_t barrier;
static unsigned n_threads;
static uint64_t *timed[THREADS], start_at;

static void *bursts(void *arg)
{
    int id = (int)(intptr_t)arg;
    for (int b = -50; b < BURSTS; b++) { // the first bursts touch the whole ring
        pthread_barrier_wait(&barrier);
        if (id == 0) {
            sonde_flush(1000);
            start_at = n_threads > 1 ? clock_tick() + (uint64_t)(50000 / tick_ns) : 0;
        }
        pthread_barrier_wait(&barrier);
        uint64_t *d = timed[id] + (b < 0 ? 0 : b) * BURST;
        while (clock_tick() < start_at)
            ;
        for (int i = 0; i < BURST; i++) {
            uint64_t t = clock_tick();
            call(i);
            d[i] = clock_tick() - t;
        }
    }
    return NULL;
}

static struct quantiles warm(unsigned threads, double floor_ns)
{
    enum { N = BURST * BURSTS };
    uint64_t *all = malloc(sizeof *all * N * threads);
    pthread_t t[THREADS];
    memset(all, 1, sizeof *all * N * threads); // no page fault between two clock reads
    n_threads = threads;
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        timed[i] = all + i * N;
        pthread_create(&t[i], NULL, bursts, (void *)(intptr_t)i);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&barrier);
    struct quantiles q = quantiles(all, N * threads, floor_ns);
    free(all);
    return q;
}

static double average(void)
{
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t start = clock_mono_ns();
        for (int i = 0; i < 20000; i++)
            call(i);
        double ns = (double)(clock_mono_ns() - start) / 20000;
        best = ns < best ? ns : best;
        sonde_flush(1000);
    }
    return best;
}

// ---- cold: one call after 0.5 ms ------------------------------------------------------------------------------------
enum other_work { ASLEEP, CACHES, PAGES };
static char *memory;

// Reads and writes 4 MiB (more than the caches of a core hold), or a part of 32 MiB (also more pages than its TLB), for 0.5 ms.
static void work(enum other_work what)
{
    static size_t at;
    const size_t size = what == CACHES ? 4 << 20 : 32 << 20;
    int64_t until = clock_mono_ns() + 500000;
    if (what == ASLEEP) {
        usleep(500);
        return;
    }
    do {
        for (int k = 0; k < 64; k++) {
            at = (at + 4160) % size;
            for (size_t i = 0; i < 1024; i += 64)
                memory[(at + i) % size]++;
        }
    } while (clock_mono_ns() < until);
}

static __attribute__((noinline)) uint64_t timed_call(int64_t i)
{
    uint64_t t = clock_tick();
    call(i);
    return clock_tick() - t;
}
static __attribute__((noinline)) uint64_t timed_nothing(void)
{
    uint64_t t = clock_tick();
    __asm__ volatile("" : : : "memory");
    return clock_tick() - t;
}

// One line of memory that was last used before the other work.
static __attribute__((noinline)) uint64_t timed_line(void)
{
    static volatile char line[192] __attribute__((aligned(64)));
    uint64_t t = clock_tick();
    line[64]++;
#if defined(__x86_64__)
    __asm__ volatile("lfence" : : : "memory"); // until it is there
#endif
    return clock_tick() - t;
}

enum timed { NOTHING, LINE, CALL };

static struct quantiles cold(enum other_work what, enum timed which, double off_ns)
{
    static uint64_t d[COLD];
    for (int i = 0; i < COLD; i++) {
        work(what);
        d[i] = which == NOTHING ? timed_nothing() : which == LINE ? timed_line() : timed_call(i);
    }
    return quantiles(d, COLD, off_ns);
}

static void report_cold(double clock_ns)
{
    static const struct {
        enum other_work what;
        const char *name, *key;
    } rows[] = {
        {ASLEEP, "0.5 ms asleep", "cold"}, {CACHES, "0.5 ms in 4 MiB", "cold_caches"}, {PAGES, "0.5 ms in 32 MiB", "cold_pages"}};
    char text[80];
    memory = malloc(32 << 20);
    memset(memory, 1, 32 << 20);
    for (size_t i = 0; i < 3; i++) {
        struct quantiles floor = cold(rows[i].what, NOTHING, 0), line = cold(rows[i].what, LINE, 0);
        struct quantiles q = cold(rows[i].what, CALL, clock_ns);
        snprintf(text, sizeof text, "cold, one after %s", rows[i].name);
        say_quantiles(text, q);
        printf("    floors: the clock read alone, cold: p50 %.1f  p99 %.1f ns; with one line of memory p50 %.1f  p99 %.1f ns\n",
               floor.p50, floor.p99, line.p50, line.p99);
        note_quantiles(rows[i].key, q);
        snprintf(text, sizeof text, "%s_clock_ns", rows[i].key);
        note(text, "%.1f", floor.p50);
        snprintf(text, sizeof text, "%s_line_ns", rows[i].key);
        note(text, "%.1f", line.p50);
    }
    free(memory);
}

// ---- what is not written --------------------------------------------------------------------------------------------
static double disabled(void)
{
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t start = clock_mono_ns();
        for (int64_t i = 0; i < DISABLED; i++)
            SONDE_TRACE("never", SONDE_INT("i", i));
        double ns = (double)(clock_mono_ns() - start) / DISABLED;
        best = ns < best ? ns : best;
    }
    return best;
}

// Below the filter, within the flight recorder's level: into the ring, past the backend, and no further.
static double held(void)
{
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t start = clock_mono_ns();
        for (int64_t i = 0; i < 20000; i++)
            SONDE_DEBUG("kv transfer done", SONDE_STR("worker", "decode-worker-1"), SONDE_INT("tokens", i),
                        SONDE_INT("blocks", 17), SONDE_F64("ms", 1.25));
        double ns = (double)(clock_mono_ns() - start) / 20000;
        best = ns < best ? ns : best;
        sonde_flush(1000);
    }
    return best;
}

// ---- the backend alone ----------------------------------------------------------------------------------------------
// The ring is filled while the backend is kept from draining it, then drained while nothing is written. Its write calls count.
static double backend_rate(const char *file)
{
    double best = 0;
    lines_to(file);
    for (int r = 0; r < DRAINS; r++) {
        sonde_flush(1000);
        if (ftruncate(STDERR_FILENO, 0) != 0 && strcmp(file, "/dev/null") != 0)
            break;
        uint64_t lost = ring_lost(sdk.ring);
        pthread_mutex_lock(&sdk.drain);
        for (int i = 0; i < LINES; i++)
            call(i);
        int64_t start = clock_mono_ns();
        pthread_mutex_unlock(&sdk.drain);
        sonde_flush(5000);
        double rate = LINES / ((double)(clock_mono_ns() - start) * 1e-9);
        if (ring_lost(sdk.ring) == lost)
            best = rate > best ? rate : best;
    }
    lines_to("/dev/null");
    return best;
}

// What the file costs by itself: as many bytes in writes as large as the backend's.
static double file_floor(void)
{
    enum { SIZE = 256 << 10, N = 48 };
    char *p = calloc(1, SIZE);
    double best = 0;
    for (int r = 0; r < ROUNDS; r++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        int64_t start = clock_mono_ns();
        for (int i = 0; i < N; i++)
            if (write(fd, p, SIZE) != SIZE)
                break;
        double rate = (double)SIZE * N / (double)(clock_mono_ns() - start);
        best = rate > best ? rate : best;
        close(fd);
    }
    free(p);
    return best;
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 + json)
        path = argv[1 + json];
    setenv("DYN_LOGGING_JSONL", "1", 1);
    setenv("DYN_LOG", "info", 1);
    setenv("SONDE_FLIGHT_LEVEL", "debug", 1); // TRACE is disabled, DEBUG kept only by the flight recorder
    unsetenv("OTEL_EXPORT_ENABLED");
    lines_to("/dev/null");
    sonde_init(&(struct sonde_options){.service = "bench-log"});
    calibrate();
    double clock_ns = clock_floor(), copy = copy_floor();
    printf("floor: clock read %.1f ns, 64-byte copy %.1f ns\n", clock_ns, copy);
    printf("call with 1 string, 2 ints, 1 double (clock's cost taken off)\n");
    note("clock_ns", "%.1f", clock_ns);
    note("copy64_ns", "%.1f", copy);
    struct quantiles one = warm(1, clock_ns);
    lines_to(path);
    struct quantiles one_file = warm(1, clock_ns), two_file = warm(2, clock_ns);
    lines_to("/dev/null");
    say_quantiles("warm, 1 thread, /dev/null", one);
    say_quantiles("warm, 1 thread, file", one_file);
    say_quantiles("warm, 2 threads, file", two_file);
    note_quantiles("warm", one);
    note_quantiles("file1", one_file);
    note_quantiles("file2", two_file);
    report_cold(clock_ns);
    double mean = average(), off = disabled(), kept = held();
    printf("  mean in a loop %.1f, below the level %.2f, kept only by the flight recorder %.1f ns\n", mean, off, kept);
    note("loop_mean_ns", "%.1f", mean);
    note("disabled_ns", "%.2f", off);
    note("held_ns", "%.1f", kept);
    double null = backend_rate("/dev/null"), file = backend_rate(path), floor = file_floor();
    printf("backend: %.2f M JSON lines/s on one core to /dev/null, %.2f to a file (which takes %.1f GB/s of zeros)\n",
           null * 1e-6, file * 1e-6, floor);
    note("json_lines_per_s", "%.0f", null);
    note("json_file_lines_per_s", "%.0f", file);
    note("file_gb_per_s", "%.2f", floor);
    unlink(path);
    if (json)
        printf("{\"log\":{%s}}\n", found);
    return 0;
}
