#include "base/slice.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool slice_ieq(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
    while (s.n && blank(s.p[0]))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

ptrdiff_t slice_find(struct slice s, struct slice needle)
{
    if (needle.n == 0)
        return 0;
    const char *at = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at ? at - s.p : -1;
}

bool slice_split(struct slice *rest, char sep, struct slice *part)
{
    if (!rest->p)
        return false;
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (!at) {
        *part = *rest;
        *rest = SLICE_NONE; // the null pointer marks the end: "a," still owes an empty part
        return true;
    }
    size_t n = (size_t)(at - rest->p);
    *part = slice_of(rest->p, n);
    *rest = slice_of(at + 1, rest->n - n - 1);
    return true;
}

bool slice_to_u64(struct slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - '0';
        if (d > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *out = v;
    return true;
}

bool slice_to_i64(struct slice s, int64_t *out)
{
    bool neg = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = slice_of(s.p + 1, s.n - 1);
    uint64_t v;
    if (!slice_to_u64(s, &v) || v > (uint64_t)INT64_MAX + neg)
        return false;
    *out = neg ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool to_f64_word(struct slice s, bool neg, double *out)
{
    if (slice_ieq(s, SLICE("inf")) || slice_ieq(s, SLICE("infinity"))) {
        *out = neg ? -INFINITY : INFINITY;
        return true;
    }
    if (slice_ieq(s, SLICE("nan"))) {
        *out = NAN;
        return true;
    }
    return false;
}

// A decimal number taken apart: value = 0.d1d2d3… × 10^(exp) with the digits as an integer: digits × 10^exp10.
// 768 significant digits decide every double; what follows only matters as "more than nothing".
enum { F64_DIGITS_MAX = 800 };
struct decimal {
    char digits[F64_DIGITS_MAX + 32]; // room for a sticky digit and the exponent
    int n;
    int64_t exp10;
    bool sticky, any;
};

static void decimal_digit(struct decimal *d, char c, bool fraction)
{
    d->any = true;
    if (c == '0' && d->n == 0) {
        d->exp10 -= fraction; // a leading zero
    } else if (d->n < F64_DIGITS_MAX) {
        d->digits[d->n++] = c;
        d->exp10 -= fraction;
    } else {
        d->sticky |= c != '0';
        d->exp10 += !fraction;
    }
}

static bool decimal_parse(struct decimal *d, struct slice s)
{
    size_t i = 0;
    bool fraction = false;
    for (; i < s.n; i++) {
        if (s.p[i] == '.' && !fraction)
            fraction = true;
        else if (s.p[i] >= '0' && s.p[i] <= '9')
            decimal_digit(d, s.p[i], fraction);
        else
            break;
    }
    if (!d->any)
        return false;
    if (i == s.n)
        return true;
    if (s.p[i] != 'e' && s.p[i] != 'E')
        return false;
    i++;
    bool neg = i < s.n && s.p[i] == '-';
    i += i < s.n && (s.p[i] == '-' || s.p[i] == '+');
    if (i == s.n)
        return false;
    int64_t e = 0;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (e < 1000000000000)
            e = e * 10 + (s.p[i] - '0');
    }
    d->exp10 += neg ? -e : e;
    return true;
}

static double decimal_value(struct decimal *d)
{
    static const double pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (d->n == 0)
        return 0;
    if (d->n <= 15 && d->exp10 >= -22 && d->exp10 <= 22) {
        // Both factors are exact, so one operation rounds once (Clinger 1990).
        uint64_t m = 0;
        for (int i = 0; i < d->n; i++)
            m = m * 10 + (uint64_t)(d->digits[i] - '0');
        return d->exp10 < 0 ? (double)m / pow10[-d->exp10] : (double)m * pow10[d->exp10];
    }
    if (d->sticky) {
        d->digits[d->n++] = '1';
        d->exp10--;
    }
    int64_t e = d->exp10 > 100000 ? 100000 : d->exp10 < -100000 ? -100000 : d->exp10;
    // No decimal point in the text: strtod then does not depend on the locale.
    snprintf(d->digits + d->n, sizeof d->digits - (size_t)d->n, "e%lld", (long long)e);
    return strtod(d->digits, NULL);
}

bool slice_to_f64(struct slice s, double *out)
{
    bool neg = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = slice_of(s.p + 1, s.n - 1);
    if (s.n == 0)
        return false;
    if (s.p[0] != '.' && (s.p[0] < '0' || s.p[0] > '9'))
        return to_f64_word(s, neg, out);
    struct decimal d;
    d.n = 0;
    d.exp10 = 0;
    d.sticky = d.any = false;
    if (!decimal_parse(&d, s))
        return false;
    double v = decimal_value(&d);
    *out = neg ? -v : v;
    return true;
}

void hex_encode(char *out, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = "0123456789abcdef"[p[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
    }
}

int hex_of_char(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(void *out, size_t n, struct slice text)
{
    if (text.n != 2 * n)
        return false;
    uint8_t *o = out;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_of_char(text.p[2 * i]), lo = hex_of_char(text.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        o[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}
