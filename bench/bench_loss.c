// What becomes of records: bursts of a million, a process that is killed, many threads, a process that is idle.
// bench_loss [--json] DIR: with --json the last line is one JSON object. DIR is for the file of lines and the rings.
#include "bench.h"
#include "sdk/inspect.h"
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { BURST = 1000000, LEFT = 10000, MANY = 64, IDLE_MS = 2000 };

static char dir[400], lines[450];

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

// ---- in a process of its own ----------------------------------------------------------------------------------------
struct job {
    int64_t n;
    pthread_barrier_t *go;
};

static void *say(void *arg)
{
    const struct job *j = arg;
    pthread_barrier_wait(j->go);
    for (int64_t i = 0; i < j->n; i++)
        call(i);
    return NULL;
}

// n records of so many threads, from the moment at which all are there. Returns when the last was said.
static int64_t records(int64_t n, unsigned threads)
{
    pthread_t t[MANY];
    pthread_barrier_t go;
    struct job j = {n / threads, &go};
    pthread_barrier_init(&go, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&t[i], NULL, say, &j);
    pthread_barrier_wait(&go);
    int64_t start = clock_mono_ns();
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    return start;
}

static void burst(unsigned threads, double out[4])
{
    struct sonde_counts c;
    int64_t start = records(BURST, threads), said = clock_mono_ns();
    sonde_flush(20000);
    int64_t end = clock_mono_ns();
    sonde_counts_get(&c);
    out[0] = (double)(said - start) * 1e-9;
    out[1] = (double)(end - start) * 1e-9;
    out[2] = (double)c.records_lost;
}

static void victim(unsigned threads, double out[4])
{
    (void)out;
    records(LEFT, threads);
    raise(SIGKILL);
}

static double ring_kib(void)
{
    struct stat st;
    return sdk.ring && stat(sdk.ring->path, &st) == 0 ? (double)st.st_blocks / 2 : 0;
}

// Threads that live, each of which has written one record.
static void *one_record(void *gate)
{
    call(0);
    pthread_barrier_wait(gate);
    pthread_barrier_wait(gate);
    return NULL;
}

static void memory(unsigned threads, double out[4])
{
    pthread_t t[MANY];
    pthread_barrier_t gate;
    pthread_attr_t attr;
    call(0); // the library's own memory
    sonde_flush(1000);
    double ring = ring_kib();
    struct mallinfo2 before = mallinfo2();
    pthread_barrier_init(&gate, NULL, threads + 1);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&t[i], &attr, one_record, &gate);
    pthread_barrier_wait(&gate);
    sonde_flush(1000);
    struct mallinfo2 after = mallinfo2();
    out[0] = (ring_kib() - ring) / threads;
    out[1] = (double)(after.uordblks - before.uordblks) / 1024 / threads;
    pthread_barrier_wait(&gate);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
}

// Half a second after the last record (short naps), and asleep (after two seconds).
static void idle(unsigned threads, double out[4])
{
    (void)threads;
    call(0);
    usleep(50000);
    double a = cpu_ms();
    usleep(IDLE_MS / 2 * 1000);
    double b = cpu_ms();
    usleep(1500000);
    double c = cpu_ms();
    usleep(IDLE_MS * 1000);
    out[0] = (b - a) / (IDLE_MS / 2.0) * 100;
    out[1] = (cpu_ms() - c) / IDLE_MS * 100;
}

// Runs it in a child with these settings; false when the child did not hand anything back.
static bool in_child(void (*what)(unsigned, double *), unsigned threads, const char *loss, const char *file, double out[4])
{
    int fd[2], status;
    if (pipe(fd) != 0)
        return false;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        double result[4] = {0};
        setenv("SONDE_LOG_STDERR_LOSS", loss, 1);
        setenv("SONDE_RING_DIR", dir, 1);
        setenv("SONDE_RING_BYTES", "8388608", 1);
        setenv("DYN_LOGGING_JSONL", "1", 1);
        setenv("DYN_LOG", "info", 1);
        unsetenv("OTEL_EXPORT_ENABLED");
        if (dup2(open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644), STDERR_FILENO) < 0)
            _exit(1);
        sonde_init(&(struct sonde_options){.service = "bench-loss"});
        what(threads, result);
        if (write(fd[1], result, sizeof result) != sizeof result)
            _exit(1);
        exit(0);
    }
    close(fd[1]);
    memset(out, 0, 4 * sizeof *out);
    bool ok = pid > 0 && read(fd[0], out, 4 * sizeof *out) == 4 * sizeof *out;
    close(fd[0]);
    waitpid(pid, &status, 0);
    return ok;
}

// ---- seen from outside ----------------------------------------------------------------------------------------------
static size_t count(const char *p, size_t n)
{
    static const char word[] = "\"kv transfer done\"";
    size_t found_n = 0;
    for (const char *end = p + n; p && (p = memmem(p, (size_t)(end - p), word, sizeof word - 1)); p += sizeof word - 1)
        found_n++;
    return found_n;
}

static size_t lines_in_file(void)
{
    FILE *f = fopen(lines, "re");
    static char p[1 << 16];
    size_t n = 0;
    while (f && fgets(p, sizeof p, f))
        n += count(p, strlen(p));
    if (f)
        fclose(f);
    unlink(lines);
    return n;
}

static bool report_burst(const char *loss, unsigned threads)
{
    const char *word = loss[0] == 'b' ? "block" : "drop";
    double r[4];
    char key[80];
    if (!in_child(burst, threads, loss, lines, r))
        return false;
    size_t written = lines_in_file();
    bool exact = (double)written + r[2] == BURST;
    printf("  %-6s %u thread%s %7.0f lost (%.1f %%), %s; %.2f M lines/s to the file, said in %.0f ms\n", word, threads,
           threads > 1 ? "s:" : ": ", r[2], r[2] * 100 / BURST, exact ? "each written or counted" : "NOT ALL COUNTED",
           (double)written / r[1] * 1e-6, r[0] * 1e3);
    snprintf(key, sizeof key, "%s%u_lost_percent", word, threads);
    note(key, "%.3f", r[2] * 100 / BURST);
    snprintf(key, sizeof key, "%s%u_uncounted", word, threads);
    note(key, "%.0f", BURST - (double)written - r[2]);
    snprintf(key, sizeof key, "%s%u_lines_per_s", word, threads);
    note(key, "%.0f", (double)written / r[1]);
    return exact && (r[2] == 0 || word[0] == 'd');
}

// The ring of the child that was killed.
static size_t records_left(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    struct buf out;
    struct error err = {0};
    char path[700];
    size_t n = 0;
    buf_init(&out, INSPECT_OUT_MAX);
    while (d && (e = readdir(d))) {
        if (!strstr(e->d_name, ".ring"))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (ring_inspect(path, true, &out, &err) == ERR_OK)
            n = count(out.p, out.n);
        unlink(path);
    }
    if (d)
        closedir(d);
    buf_free(&out);
    return n;
}

static bool report_left(unsigned threads)
{
    double r[4];
    char key[40];
    const size_t said = LEFT / threads * threads;
    in_child(victim, threads, "drop", "/dev/null", r);
    size_t left = records_left();
    printf("  SIGKILL after %zu records of %u thread%s %zu are in the ring's file\n", said, threads, threads > 1 ? "s:" : ":",
           left);
    snprintf(key, sizeof key, "kill%u_missing", threads);
    note(key, "%.0f", (double)said - (double)left);
    return left + threads >= said;
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0, good = true;
    double r[4];
    if (argc != 2 + json) {
        fprintf(stderr, "usage: bench_loss [--json] DIR\n");
        return 2;
    }
    snprintf(dir, sizeof dir, "%s", argv[1 + json]);
    mkdir(dir, 0700);
    snprintf(lines, sizeof lines, "%s/lines", dir);
    printf("a million records flat out into a ring of 8 MiB (about 90,000 of them), JSON lines to a file\n");
    for (unsigned threads = 1; threads <= 2; threads++)
        good = report_burst("drop", threads) && good;
    for (unsigned threads = 1; threads <= 2; threads++)
        good = report_burst("block:10000", threads) && good;
    good = report_left(1) && good;
    good = report_left(MANY) && good;
    if (in_child(memory, MANY, "drop", "/dev/null", r)) {
        printf("  memory a thread, %u threads with a record each: %.1f KiB of the ring, %.2f KiB elsewhere\n", MANY, r[0], r[1]);
        note("thread_kib", "%.1f", r[0] + r[1]);
    }
    if (in_child(idle, 1, "drop", "/dev/null", r)) {
        printf("  CPU of an idle process: %.3f %% of a core in the second after a record, %.4f %% asleep\n", r[0], r[1]);
        note("idle_naps_percent", "%.4f", r[0]);
        note("idle_percent", "%.4f", r[1]);
    }
    if (!good)
        printf("  NOT AS PROMISED: a record is neither written nor counted, or a blocking sink lost one\n");
    if (json)
        printf("{\"loss\":{%s}}\n", found);
    return good ? 0 : 1;
}
