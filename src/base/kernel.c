#include "base/kernel.h"
#include <stdlib.h>

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
