// Spans of libsonde beside OpenTelemetry's: start and end on the calling thread, in bursts that every queue has room for, with
// all that follows (reading, encoding) awaited between them and counted as CPU time.
//   PROGRAM plain|attributes|off THREADS
// plain: no attributes; attributes: ten; off: a sampler that drops all.
// Prints {"ns": median of the bursts' means, "p99_ns": of the bursts, "cpu_ns": CPU time of the whole process a span, "made",
// "exported"}.
#define _GNU_SOURCE
#include <pthread.h>
#include <sonde/export.h>
#include <sonde/sonde.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { BURST = 1000, BURSTS = 200, WARM_UP = 20, MAX_THREADS = 16 };

static pthread_barrier_t barrier;
static atomic_size_t exported;
static int threads;
static bool with_attributes;
static double figures[BURSTS * MAX_THREADS];

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static enum sonde_export_result count(void *arg, const struct sonde_export_batch *batch)
{
    (void)arg;
    atomic_fetch_add(&exported, batch->items);
    return SONDE_EXPORT_OK;
}

static void one(int64_t i)
{
    struct sonde_span *s = sonde_span_start("handle_payload", SONDE_KIND_INTERNAL, NULL);
    if (with_attributes)
        SONDE_SPAN_SET(s, SONDE_STR("component", "backend"), SONDE_STR("endpoint", "generate"),
                       SONDE_STR("worker_id", "7389121209872234"), SONDE_STR("model", "llama-3-8b"), SONDE_INT("input_tokens", i),
                       SONDE_INT("output_tokens", 128), SONDE_INT("attempt", 0), SONDE_F64("ttft_ms", 12.5),
                       SONDE_F64("share", 0.25), SONDE_BOOL("stream", true));
    sonde_span_end(s);
}

static void *run(void *arg)
{
    size_t id = (size_t)arg;
    for (int b = -WARM_UP; b < BURSTS; b++) {
        pthread_barrier_wait(&barrier);
        double t = now_ns();
        for (int i = 0; i < BURST / threads; i++)
            one(i);
        if (b >= 0)
            figures[(size_t)b * (size_t)threads + id] = (now_ns() - t) / (BURST / threads);
        pthread_barrier_wait(&barrier);
        if (id == 0 && !sonde_flush(5000))
            fprintf(stderr, "not flushed\n");
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

int main(int argc, char **argv)
{
    threads = argc == 3 ? atoi(argv[2]) : 0;
    bool off = argc == 3 && strcmp(argv[1], "off") == 0;
    with_attributes = argc == 3 && strcmp(argv[1], "attributes") == 0;
    if (threads < 1 || threads > MAX_THREADS || (!off && !with_attributes && strcmp(argv[1], "plain") != 0)) {
        fprintf(stderr, "usage: %s plain|attributes|off THREADS\n", argv[0]);
        return 2;
    }
    setenv("OTEL_TRACES_SAMPLER", off ? "always_off" : "always_on", 1);
    setenv("OTEL_EXPORT_ENABLED", "0", 1); // ours alone
    sonde_init(NULL);
    if (!sonde_exporter_add(&(struct sonde_exporter){.signals = 1u << SONDE_TRACES, .export_batch = count})) {
        fprintf(stderr, "no exporter\n");
        return 1;
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    pthread_t t[MAX_THREADS];
    double cpu = cpu_ns();
    for (int i = 0; i < threads; i++)
        pthread_create(&t[i], NULL, run, (void *)(size_t)i);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    cpu = cpu_ns() - cpu;
    size_t n = (size_t)BURSTS * (size_t)threads, made = (size_t)(BURSTS + WARM_UP) * (size_t)(BURST / threads) * (size_t)threads;
    qsort(figures, n, sizeof *figures, by_size);
    printf("{\"ns\":%.2f,\"p99_ns\":%.2f,\"cpu_ns\":%.2f,\"made\":%zu,\"exported\":%zu}\n", figures[n / 2], figures[n * 99 / 100],
           cpu / (double)made, made, atomic_load(&exported));
    return 0;
}
