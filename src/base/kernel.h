// The byte-scanning kernels, portable and AVX2, chosen once by what the processor can do. Private to src/base.
#pragma once
#include <stddef.h>

struct kernel {
    const char *name;
    // The first quote, backslash or control character (below 0x20) in p … end, or end.
    const char *(*json_special)(const char *p, const char *end);
    // The first byte of 0x80 or more in p … end, or end.
    const char *(*non_ascii)(const char *p, const char *end);
};
extern const struct kernel kernel_portable, kernel_avx2;

// The kernel in use. SONDE_CPU=portable in the environment forces the portable one.
extern const struct kernel *kernel_chosen; // null until the first kernel()
const struct kernel *kernel_choose(void);
static inline const struct kernel *kernel(void)
{
    const struct kernel *k = __atomic_load_n(&kernel_chosen, __ATOMIC_RELAXED);
    return __builtin_expect(k != NULL, 1) ? k : kernel_choose();
}
