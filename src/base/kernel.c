#include "base/kernel.h"
#include <stdbool.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *json_special(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t hit = swar_special(swar_load(p));
        if (hit)
            return p + swar_first(hit);
    }
    for (; p < end; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < 0x20)
            return p;
    return end;
}

static const char *non_ascii(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t hit = swar_load(p) & SWAR_EACH(0x80);
        if (hit)
            return p + swar_first(hit);
    }
    while (p < end && (unsigned char)*p < 0x80)
        p++;
    return p;
}

#if defined(__x86_64__)
// AVX2 and BMI1 in the processor, and vector registers kept by the operating system. (__builtin_cpu_supports would bring 5 KB of
// libgcc's table of all processors into libsonde.)
static bool has_avx2(void)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (bit_OSXSAVE | bit_AVX)) != (bit_OSXSAVE | bit_AVX))
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    return (b & (bit_AVX2 | bit_BMI)) == (bit_AVX2 | bit_BMI);
}
#endif

const struct kernel kernel_portable = {"portable", json_special, non_ascii};
const struct kernel *kernel_chosen;

const struct kernel *kernel_choose(void)
{
    const struct kernel *k = &kernel_portable;
#if defined(__x86_64__)
    const char *forced = getenv("SONDE_CPU");
    if (has_avx2() && !(forced && strcmp(forced, "portable") == 0))
        k = &kernel_avx2;
#endif
    __atomic_store_n(&kernel_chosen, k, __ATOMIC_RELAXED); // every thread chooses the same
    return k;
}
