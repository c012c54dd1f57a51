// Clocks. clock_tick() is the cheap one (TSC where it is invariant, else the vdso monotonic clock); ticks become
// wall time through a calibration that a background thread refreshes, so that a reader of a dead process's ring can
// convert them too (the calibration is part of the ring's header).
#pragma once
#include <stdbool.h>
#include <stdint.h>

int64_t clock_wall_ns(void); // CLOCK_REALTIME, nanoseconds since 1970
int64_t clock_mono_ns(void); // CLOCK_MONOTONIC

// ticks → wall: wall_ns = base_wall + ((ticks - base_tick) * mult >> shift), 128-bit intermediate.
struct clock_cal {
    uint64_t base_tick;
    int64_t base_wall;
    uint64_t mult;
    uint32_t shift;
    uint32_t is_tsc; // 1: ticks are TSC, 0: monotonic nanoseconds
};

uint64_t clock_tick_slow(void);
extern bool clock_use_tsc; // set once by clock_init, before threads
static inline uint64_t clock_tick(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(clock_use_tsc, 1))
        return __builtin_ia32_rdtsc();
#endif
    return clock_tick_slow();
}
void clock_init(void);                     // idempotent, thread-safe
void clock_calibrate(struct clock_cal *c); // first call: ~1 ms; later calls refine against the first
int64_t clock_to_wall(const struct clock_cal *c, uint64_t tick);

// RFC 3339 text. `digits` of the second's fraction: 0, 3, 6 or 9. UTC ends in Z; local in ±HH:MM.
// out needs 40 bytes; returns the length.
int time_format(char *out, int64_t wall_ns, int digits, bool local);
// Reads RFC 3339 with any fraction and zone. False if it is none.
bool time_parse(const char *p, unsigned long n, int64_t *wall_ns);
