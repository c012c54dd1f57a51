#include "base/hash.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct id128 id128_load(const void *bytes16)
{
    uint64_t v[2];
    memcpy(v, bytes16, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v[0] = __builtin_bswap64(v[0]);
    v[1] = __builtin_bswap64(v[1]);
#endif
    return (struct id128){v[0], v[1]};
}

void id128_store(void *bytes16, struct id128 id)
{
    uint64_t v[2] = {id.hi, id.lo};
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v[0] = __builtin_bswap64(v[0]);
    v[1] = __builtin_bswap64(v[1]);
#endif
    memcpy(bytes16, v, sizeof v);
}

uint64_t hash64(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}
uint64_t hash64_seed(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

// ---- random: xoshiro256** (Blackman and Vigna), one state a thread --------------------------------------------------
static atomic_uint fork_count; // a child's states are its parent's until it draws new seeds
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
// Of the static TLS block, as libsonde's other state that each span needs.
static __thread struct {
    uint64_t s[4];
    unsigned seeded_at; // fork_count + 1 of the seeding; 0 is never
} state __attribute__((tls_model("initial-exec")));

static void on_fork(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}
static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, on_fork);
}

static void seed(unsigned mark)
{
    pthread_once(&fork_once, watch_forks);
    if (getrandom(state.s, sizeof state.s, GRND_NONBLOCK) != sizeof state.s) {
        // Early in boot, or forbidden by a sandbox: what tells this thread from every other one.
        uint64_t mix[4] = {(uint64_t)clock_wall_ns(), (uint64_t)clock_mono_ns(), (uint64_t)getpid(), (uint64_t)(uintptr_t)&state};
        for (int i = 0; i < 4; i++)
            state.s[i] = hash64_seed(mix, sizeof mix, (uint64_t)i);
    }
    state.s[0] |= (state.s[0] | state.s[1] | state.s[2] | state.s[3]) == 0; // all zero is a fixed point
    state.seeded_at = mark;
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void random_u64s(uint64_t *out, unsigned n)
{
    unsigned mark = atomic_load_explicit(&fork_count, memory_order_relaxed) + 1;
    if (__builtin_expect(state.seeded_at != mark, 0))
        seed(mark);
    uint64_t a = state.s[0], b = state.s[1], c = state.s[2], d = state.s[3];
    for (unsigned i = 0; i < n; i++) {
        out[i] = rotl(b * 5, 7) * 9;
        uint64_t t = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= t;
        d = rotl(d, 45);
    }
    state.s[0] = a;
    state.s[1] = b;
    state.s[2] = c;
    state.s[3] = d;
}

uint64_t random_u64(void)
{
    uint64_t one;
    random_u64s(&one, 1);
    return one;
}
