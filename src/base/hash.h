// xxHash (XXH3), the library's header inlined in hash.c. Stable across processes and machines: these values go to disk.
#pragma once
#include "base/slice.h"

struct id128 {
    uint64_t hi, lo; // of the 16 bytes read big-endian: text order is byte order
};
static inline bool id128_eq(struct id128 a, struct id128 b)
{
    return a.hi == b.hi && a.lo == b.lo;
}
static inline bool id128_zero(struct id128 a)
{
    return (a.hi | a.lo) == 0;
}
static inline int id128_cmp(struct id128 a, struct id128 b)
{
    return a.hi != b.hi ? (a.hi > b.hi ? 1 : -1) : (a.lo > b.lo) - (a.lo < b.lo);
}
struct id128 id128_load(const void *bytes16);
void id128_store(void *bytes16, struct id128 id);

uint64_t hash64(const void *p, size_t n);
uint64_t hash64_seed(const void *p, size_t n, uint64_t seed);
static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    a ^= b + 0x9e3779b97f4a7c15ull + (a << 6) + (a >> 2);
    a *= 0xff51afd7ed558ccdull;
    return a ^ (a >> 33);
}
// Cryptographically unpredictable is not needed for ids; unique across processes and forks is. Per-thread xoshiro,
// seeded from getrandom, reseeded in a forked child.
uint64_t random_u64(void);
void random_u64s(uint64_t *out, unsigned n); // n of them, in less time than one by one
