// The byte-scanning kernels, portable and AVX2, chosen once by what the processor can do. Private to src/base.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

// Eight bytes in one register: the first in the lowest bits. A mark is the high bit of a byte; the lowest mark is always
// right, marks above it may be false (a borrow), so only the first hit is to be used.
static inline uint64_t swar_load(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}
#define SWAR_EACH(byte) (0x0101010101010101ull * (unsigned char)(byte))
// byte: at most 0x80.
static inline uint64_t swar_below(uint64_t v, unsigned char byte)
{
    return (v - SWAR_EACH(byte)) & ~v & SWAR_EACH(0x80);
}
static inline uint64_t swar_equal(uint64_t v, unsigned char byte)
{
    return swar_below(v ^ SWAR_EACH(byte), 1);
}
static inline uint64_t swar_special(uint64_t v)
{
    return swar_equal(v, '"') | swar_equal(v, '\\') | swar_below(v, 0x20);
}
static inline size_t swar_first(uint64_t marks)
{
    return (size_t)__builtin_ctzll(marks) >> 3;
}
