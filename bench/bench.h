// What the benchmarks of libsonde share: clocks, quantiles, the record of four fields, JSON.
#pragma once
#include "base/clock.h"
#include "sdk/sdk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double tick_ns; // nanoseconds a tick

static inline void calibrate(void)
{
    int64_t a = clock_mono_ns();
    uint64_t ta = clock_tick();
    usleep(50000);
    int64_t b = clock_mono_ns();
    tick_ns = (double)(b - a) / (double)(clock_tick() - ta);
}

static inline int by_ticks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct quantiles {
    double p50, p90, p99, p999;
};

static inline struct quantiles quantiles(uint64_t *ticks, size_t n, double off_ns)
{
    qsort(ticks, n, sizeof *ticks, by_ticks);
#define AT_(q) ((double)ticks[(size_t)((double)(n - 1) * (q))] * tick_ns - off_ns)
    return (struct quantiles){AT_(0.5), AT_(0.9), AT_(0.99), AT_(0.999)};
#undef AT_
}

// The cost of timing itself: two clock reads with nothing between them.
static inline double clock_floor(void)
{
    static uint64_t d[20000];
    for (size_t i = 0; i < 20000; i++) {
        uint64_t t = clock_tick();
        d[i] = clock_tick() - t;
    }
    return quantiles(d, 20000, 0).p50;
}

// The record: one string, two integers, one double.
static inline __attribute__((always_inline)) void call(int64_t i)
{
    SONDE_INFO("kv transfer done", SONDE_STR("worker", "decode-worker-1"), SONDE_INT("tokens", i), SONDE_INT("blocks", 17),
               SONDE_F64("ms", 1.25));
}

// ---- what is found: one line of JSON at the end ---------------------------------------------------------------------
static char found[16384];
static inline void note(const char *name, const char *format, double v)
{
    size_t n = strlen(found);
    n += (size_t)snprintf(found + n, sizeof found - n, "%s\"%s\":", n ? "," : "", name);
    snprintf(found + n, sizeof found - n, format, v);
}
static inline void note_quantiles(const char *name, struct quantiles q)
{
    const double v[] = {q.p50, q.p90, q.p99, q.p999};
    static const char *const at[] = {"p50", "p90", "p99", "p999"};
    char key[80];
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "%s_%s_ns", name, at[i]);
        note(key, "%.1f", v[i]);
    }
}
static inline void say_quantiles(const char *what, struct quantiles q)
{
    printf("  %-44s p50 %6.1f  p90 %6.1f  p99 %7.1f  p99.9 %8.1f ns\n", what, q.p50, q.p90, q.p99, q.p999);
}
