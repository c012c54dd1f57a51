// AVX2 forms of kernel.c. Reads stay inside p … end.
#include "base/kernel.h"
#include <immintrin.h>
#include <stdint.h>

static uint32_t special_mask(__m256i v)
{
    __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    __m256i slash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v); // v <= 0x1f, unsigned
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, slash), control));
}

static const char *json_special(const char *p, const char *end)
{
    for (; end - p >= 32; p += 32) {
        uint32_t hit = special_mask(_mm256_loadu_si256((const __m256i *)p));
        if (hit)
            return p + _tzcnt_u32(hit);
    }
    return kernel_portable.json_special(p, end);
}

static const char *non_ascii(const char *p, const char *end)
{
    for (; end - p >= 32; p += 32) {
        uint32_t hit = (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const __m256i *)p));
        if (hit)
            return p + _tzcnt_u32(hit);
    }
    return kernel_portable.non_ascii(p, end);
}

const struct kernel kernel_avx2 = {"avx2", json_special, non_ascii};
