#include "base/kernel.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ONES  0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

static uint64_t load(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

// The lowest marked byte is right: a borrow makes false marks only above a true one.
static uint64_t zero_bytes(uint64_t v)
{
    return (v - ONES) & ~v & HIGHS;
}

static const char *json_special(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t v = load(p);
        uint64_t hit = zero_bytes(v ^ ONES * '"') | zero_bytes(v ^ ONES * '\\') | ((v - ONES * 0x20) & ~v & HIGHS);
        if (hit)
            return p + (__builtin_ctzll(hit) >> 3);
    }
    for (; p < end; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < 0x20)
            return p;
    return end;
}

static const char *non_ascii(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t hit = load(p) & HIGHS;
        if (hit)
            return p + (__builtin_ctzll(hit) >> 3);
    }
    while (p < end && (unsigned char)*p < 0x80)
        p++;
    return p;
}

const struct kernel kernel_portable = {"portable", json_special, non_ascii};
const struct kernel *kernel_chosen;

const struct kernel *kernel_choose(void)
{
    const struct kernel *k = &kernel_portable;
#if defined(__x86_64__)
    const char *forced = getenv("SONDE_CPU");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && !(forced && strcmp(forced, "portable") == 0))
        k = &kernel_avx2;
#endif
    __atomic_store_n(&kernel_chosen, k, __ATOMIC_RELAXED); // every thread chooses the same
    return k;
}
