// What the C and C++ peers share: the same bursts, clocks and quantiles for every library. rust/src/main.rs and go/main.go do
// the same in their languages; bench/README.md says what is measured and why so.
//
//   PROGRAM VARIANT calls FILE THREADS          what a call costs
//   PROGRAM VARIANT flat FILE THREADS LINES     LINES as fast as they can be said; ends when all of them are on FILE
//   PROGRAM VARIANT whole FILE THREADS LINES    same, waiting for the output so often that a library which drops loses none
//
// Prints one JSON object. A peer defines the six functions peer_*; a program that only wants the clocks defines
// HARNESS_NO_MAIN.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    BURST = 2000,           // calls, after which the output is waited for: fewer than any peer's queue holds
    BURSTS = 30,            // with each call timed
    CHUNK = 100,            // calls timed together
    LOOPS = 10,             // bursts timed by chunks
    WARM_UP = 50,           // bursts that do not count, or
    WARM_UP_NS = 100000000, // as many as this time allows
    COLD = 300,
    DISABLED = 400000,
    ROUNDS = 5, // of DISABLED calls; the best counts
    THREADS_MAX = 8,
};

static double tick_ns; // nanoseconds a tick

static inline uint64_t tick(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
#endif
}

static inline int64_t mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static inline void calibrate(void)
{
    int64_t a = mono_ns();
    uint64_t ta = tick();
    usleep(20000);
    int64_t b = mono_ns();
    tick_ns = (double)(b - a) / (double)(tick() - ta);
}

static inline int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static inline double quantile(const uint64_t *sorted, size_t n, double q)
{
    return (double)sorted[(size_t)((double)(n - 1) * q)] * tick_ns;
}

// Two clock reads with nothing between them: taken off every timed call.
static inline double clock_floor(void)
{
    enum { N = 20000 };
    static uint64_t d[N];
    for (size_t i = 0; i < N; i++) {
        uint64_t t = tick();
        d[i] = tick() - t;
    }
    qsort(d, N, sizeof *d, by_value);
    return quantile(d, N, 0.5);
}

static inline void print_quantiles(const char *name, uint64_t *d, size_t n, double off)
{
    qsort(d, n, sizeof *d, by_value);
    printf(",\"%s\":{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f}", name, quantile(d, n, 0.5) - off,
           quantile(d, n, 0.9) - off, quantile(d, n, 0.99) - off, quantile(d, n, 0.999) - off);
}

#ifndef HARNESS_NO_MAIN
static bool peer_open(const char *variant, const char *file); // false: no such variant, or the file cannot be opened
static inline void peer_call(int64_t i);                      // the record: one string, two integers, one double
static inline void peer_disabled(int64_t i);                  // a record below the level
static void peer_drain(void);                                 // returns when all records so far are written
static void peer_close(void);                                 // orderly end; all is on the file afterwards
static int peer_batch(void);                                  // records in sight of which no queue is full, mode whole

static int n_threads;
static int64_t n_lines; // a thread
static bool mode_calls, mode_whole;
static pthread_barrier_t gate, barrier; // of all threads and main, once; of all threads, at each burst
static uint64_t start_at;               // tick at which all threads begin a burst, written between two barriers
static int64_t begun;                   // when main let the threads go
static int met;                         // times
static bool warmed_up;                  // written between two barriers
static uint64_t *warm[THREADS_MAX], cold[COLD];
static double chunks[THREADS_MAX * LOOPS * BURST / CHUNK], disabled_ns;
static int64_t sent;

// All threads meet, what they said is written out, and they begin the next burst in the same microsecond.
static void meet(int id)
{
    pthread_barrier_wait(&barrier);
    if (id == 0) {
        peer_drain();
        warmed_up = met++ >= WARM_UP || mono_ns() - begun >= WARM_UP_NS;
        start_at = n_threads > 1 ? tick() + (uint64_t)(50000 / tick_ns) : 0;
    }
    pthread_barrier_wait(&barrier);
    while (tick() < start_at)
        ;
}

static void calls(int id)
{
    int64_t said = 0;
    for (int counted = 0; counted < BURSTS; counted += warmed_up) {
        meet(id);
        uint64_t *d = warm[id] + counted * BURST;
        for (int i = 0; i < BURST; i++) {
            uint64_t t = tick();
            peer_call(i);
            d[i] = tick() - t;
        }
        said += BURST;
    }
    double *chunk = chunks + id * LOOPS * BURST / CHUNK;
    for (int l = 0; l < LOOPS; l++) {
        meet(id);
        for (int c = 0; c < BURST / CHUNK; c++) {
            uint64_t t = tick();
            for (int i = 0; i < CHUNK; i++)
                peer_call(i);
            *chunk++ = (double)(tick() - t) * tick_ns / CHUNK;
        }
        said += BURST;
    }
    meet(id);
    __atomic_fetch_add(&sent, said, __ATOMIC_RELAXED);
}

static void cold_and_disabled(void)
{
    for (int i = 0; i < COLD; i++) {
        usleep(500);
        uint64_t t = tick();
        peer_call(i);
        cold[i] = tick() - t;
    }
    sent += COLD;
    disabled_ns = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t t = mono_ns();
        for (int64_t i = 0; i < DISABLED; i++)
            peer_disabled(i);
        double ns = (double)(mono_ns() - t) / DISABLED;
        disabled_ns = ns < disabled_ns ? ns : disabled_ns;
    }
}

static void lines(int id)
{
    const int64_t batch = mode_whole ? peer_batch() / n_threads : n_lines;
    for (int64_t i = 0; i < n_lines;) {
        for (int64_t to = i + batch < n_lines ? i + batch : n_lines; i < to; i++)
            peer_call(i);
        if (mode_whole)
            meet(id);
    }
    __atomic_fetch_add(&sent, n_lines, __ATOMIC_RELAXED);
}

static void *worker(void *arg)
{
    int id = (int)(intptr_t)arg;
    pthread_barrier_wait(&gate);
    if (mode_calls)
        calls(id);
    else
        lines(id);
    if (mode_calls && n_threads == 1)
        cold_and_disabled();
    return NULL;
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

int main(int argc, char **argv)
{
    mode_calls = argc == 5 && strcmp(argv[2], "calls") == 0;
    mode_whole = argc == 6 && strcmp(argv[2], "whole") == 0;
    n_threads = argc >= 5 ? atoi(argv[4]) : 0;
    if (n_threads < 1 || n_threads > THREADS_MAX || (argc != 6 && !mode_calls) || !peer_open(argv[1], argv[3])) {
        fprintf(stderr, "usage: %s VARIANT calls FILE THREADS | VARIANT flat|whole FILE THREADS LINES\n", argv[0]);
        return 2;
    }
    n_lines = mode_calls ? 0 : atoll(argv[5]) / n_threads;
    calibrate();
    double off = clock_floor();
    pthread_barrier_init(&gate, NULL, (unsigned)n_threads + 1);
    pthread_barrier_init(&barrier, NULL, (unsigned)n_threads);
    pthread_t thread[THREADS_MAX];
    uint64_t *all = (uint64_t *)malloc(sizeof *all * BURST * BURSTS * (size_t)n_threads);
    memset(all, 1, sizeof *all * BURST * BURSTS * (size_t)n_threads); // no page fault between two clock reads
    for (int i = 0; i < n_threads; i++) {
        warm[i] = all + (size_t)i * BURST * BURSTS;
        pthread_create(&thread[i], NULL, worker, (void *)(intptr_t)i);
    }
    int64_t start = begun = mono_ns();
    double cpu = cpu_seconds();
    pthread_barrier_wait(&gate);
    for (int i = 0; i < n_threads; i++)
        pthread_join(thread[i], NULL);
    int64_t said = mono_ns();
    peer_drain();
    peer_close();
    int64_t end = mono_ns();
    cpu = cpu_seconds() - cpu;
    printf("{\"sent\":%lld,\"clock_ns\":%.2f,\"seconds\":%.6f,\"said_seconds\":%.6f,\"cpu_seconds\":%.6f", (long long)sent, off,
           (double)(end - start) * 1e-9, (double)(said - start) * 1e-9, cpu);
    if (mode_calls) {
        print_quantiles("warm", all, (size_t)BURST * BURSTS * (size_t)n_threads, off);
        size_t n = (size_t)n_threads * LOOPS * BURST / CHUNK;
        qsort(chunks, n, sizeof *chunks, by_double);
        printf(",\"mean\":%.2f", chunks[n / 2]);
        if (n_threads == 1) {
            print_quantiles("cold", cold, COLD, off);
            printf(",\"disabled\":%.3f", disabled_ns);
        }
    }
    puts("}");
    free(all);
    return 0;
}
#endif
