#include "query/needle.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// How common a byte is in log text, by class: lower is rarer and better to look for.
static int commonness(unsigned char c)
{
    static const char frequent[] = " etaoinsrlcdupm01234567=\":,.-_/";
    const char *p = c ? memchr(frequent, c, sizeof frequent - 1) : NULL;
    if (p)
        return 100 - (int)(p - frequent);
    return c >= 'a' && c <= 'z' ? 40 : c >= '0' && c <= '9' ? 45 : 10;
}

struct needle needle_of(struct slice text)
{
    struct needle n = {.text = text, .at = {0, text.n ? text.n - 1 : 0}};
    int best[2] = {1000, 1000};
    for (size_t i = 0; i < text.n; i++) {
        int c = commonness((unsigned char)text.p[i]);
        if (c < best[0]) {
            best[1] = best[0], n.at[1] = n.at[0];
            best[0] = c, n.at[0] = i;
        } else if (c < best[1]) {
            best[1] = c, n.at[1] = i;
        }
    }
    return n;
}

static ptrdiff_t find_plain(const struct needle *n, struct slice s)
{
    const char *p = memmem(s.p, s.n, n->text.p, n->text.n);
    return p ? p - s.p : -1;
}

#if defined(__x86_64__)
__attribute__((target("avx2,bmi"))) static ptrdiff_t find_avx2(const struct needle *n, struct slice s)
{
    size_t len = n->text.n, a = n->at[0], b = n->at[1];
    size_t last = s.n - len; // last start
    const __m256i va = _mm256_set1_epi8(n->text.p[a]), vb = _mm256_set1_epi8(n->text.p[b]);
    size_t far = a > b ? a : b, i = 0;
    for (; i + far + 32 <= s.n && i <= last; i += 32) {
        __m256i xa = _mm256_cmpeq_epi8(va, _mm256_loadu_si256((const __m256i *)(s.p + i + a)));
        __m256i xb = _mm256_cmpeq_epi8(vb, _mm256_loadu_si256((const __m256i *)(s.p + i + b)));
        unsigned mask = (unsigned)_mm256_movemask_epi8(_mm256_and_si256(xa, xb));
        for (; mask; mask &= mask - 1) {
            size_t at = i + (size_t)__builtin_ctz(mask);
            if (at <= last && memcmp(s.p + at, n->text.p, len) == 0)
                return (ptrdiff_t)at;
        }
    }
    if (i > last)
        return -1;
    ptrdiff_t rest = find_plain(n, slice_of(s.p + i, s.n - i));
    return rest < 0 ? -1 : rest + (ptrdiff_t)i;
}
#endif

ptrdiff_t needle_find(const struct needle *n, struct slice s)
{
    if (n->text.n == 0)
        return 0;
    if (s.n < n->text.n)
        return -1;
#if defined(__x86_64__)
    if (s.n >= 64 && __builtin_cpu_supports("avx2"))
        return find_avx2(n, s);
#endif
    return find_plain(n, s);
}
