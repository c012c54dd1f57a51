#include "base/buf.h"
#include "base/alloc.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    mem_free(b->p);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->err = ERR_OK;
}

static bool grow(struct buf *b, size_t n)
{
    if (n > b->max - b->n) {
        b->err = ERR_LIMIT;
        return false;
    }
    size_t cap = b->cap < 128 ? 128 : b->cap <= b->max / 2 ? b->cap * 2 : b->max;
    if (cap < b->n + n)
        cap = b->n + n;
    if (cap > b->max)
        cap = b->max;
    char *p = mem_realloc(b->p, cap);
    if (!p) {
        b->err = ERR_NOMEM;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->err != ERR_OK)
        return NULL;
    if ((n > b->cap - b->n || !b->p) && !grow(b, n))
        return NULL;
    return b->p + b->n;
}

void buf_put_slow(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    char *to = buf_reserve(b, n);
    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void buf_str(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char small[256];
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
    } else if (n >= 0) {
        char *all = mem_alloc((size_t)n + 1); // its closing 0 may not fit below the maximum
        if (all) {
            vsnprintf(all, (size_t)n + 1, fmt, again);
            buf_put(b, all, (size_t)n);
        } else if (b->err == ERR_OK) {
            b->err = ERR_NOMEM;
        }
        mem_free(all);
    }
    va_end(again);
}

// Decimal digits of v, ending at end; returns where they begin.
static char *digits_before(char *end, uint64_t v)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
        "555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    for (; v >= 100; v /= 100)
        memcpy(end -= 2, pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(end -= 2, pairs + v * 2, 2);
    else
        *--end = (char)('0' + v);
    return end;
}

void buf_u64(struct buf *b, uint64_t v)
{
    char text[20], *end = text + sizeof text, *p = digits_before(end, v);
    buf_put(b, p, (size_t)(end - p));
}

void buf_i64(struct buf *b, int64_t v)
{
    char text[21], *end = text + sizeof text, *p = digits_before(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    if (v < 0)
        *--p = '-';
    buf_put(b, p, (size_t)(end - p));
}

// ---- the shortest decimal that reads back as the same double --------------------------------------------------------
// value = d[0].d[1]d[2]… × 10^exp
struct shortest {
    char d[20];
    int n, exp;
};

static void shortest_trim(struct shortest *s)
{
    while (s->n > 1 && s->d[s->n - 1] == '0')
        s->n--;
}

// The digits as an integer with an exponent: without a point in it, strtod does not depend on the locale.
static bool reads_back(const struct shortest *s, double v)
{
    char text[40];
    snprintf(text, sizeof text, "%.*se%d", s->n, s->d, s->exp - s->n + 1);
    return strtod(text, NULL) == v;
}

static void shortest_round(struct shortest *s, double v, int digits)
{
    char text[48];
    snprintf(text, sizeof text, "%.*e", digits - 1, v);
    const char *p = text;
    s->n = 0;
    for (; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') // leaves out the locale's point
            s->d[s->n++] = *p;
    s->exp = atoi(p + 1);
}

// The neighbour above in the last of the digits.
static void shortest_next(struct shortest *s)
{
    int i = s->n - 1;
    while (i >= 0 && s->d[i] == '9')
        s->d[i--] = '0';
    if (i >= 0) {
        s->d[i]++;
        return;
    }
    s->d[0] = '1';
    s->exp++;
}

// v > 0 and finite. Any decimal of up to 15 digits survives a normal double, so the search begins there; subnormals have
// fewer digits. Below a power of two the doubles stand closer than above it, so there the shortest decimal may be the
// upper neighbour of the correctly rounded one.
static void shortest_search(struct shortest *s, double v)
{
    int two_exp;
    bool power = frexp(v, &two_exp) == 0.5;
    for (int digits = v < 2.3e-308 ? 1 : 15; digits < 17; digits++) {
        shortest_round(s, v, digits);
        if (reads_back(s, v))
            return;
        if (power) {
            shortest_next(s);
            if (reads_back(s, v))
                return;
        }
    }
    shortest_round(s, v, 17);
}

// Values with a few decimals, which are nearly all: m / 10^k with m below 10^15 is unique, and the division rounds once.
static bool shortest_quick(struct shortest *s, double v)
{
    static const double pow10[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    if (v < 1e-5 || v >= 1e15)
        return false;
    for (int k = 1; k < 10; k++) {
        double m = rint(v * pow10[k]);
        if (m >= 1e15)
            return false;
        if (m / pow10[k] != v)
            continue;
        char text[20], *end = text + sizeof text, *p = digits_before(end, (uint64_t)m);
        s->n = (int)(end - p);
        memcpy(s->d, p, (size_t)s->n);
        s->exp = s->n - 1 - k;
        return true;
    }
    return false;
}

static void put_zeros(struct buf *b, int n)
{
    for (; n > 0; n--)
        buf_char(b, '0');
}

static void put_shortest(struct buf *b, const struct shortest *s)
{
    if (s->exp < -4 || s->exp >= 21) {
        buf_char(b, s->d[0]);
        if (s->n > 1)
            buf_char(b, '.');
        buf_put(b, s->d + 1, (size_t)s->n - 1);
        buf_printf(b, "e%c%02d", s->exp < 0 ? '-' : '+', abs(s->exp));
    } else if (s->exp < 0) {
        buf_put(b, "0.", 2);
        put_zeros(b, -s->exp - 1);
        buf_put(b, s->d, (size_t)s->n);
    } else {
        int whole = s->n < s->exp + 1 ? s->n : s->exp + 1;
        buf_put(b, s->d, (size_t)whole);
        put_zeros(b, s->exp + 1 - whole);
        if (s->n > whole)
            buf_char(b, '.');
        buf_put(b, s->d + whole, (size_t)(s->n - whole));
    }
}

void buf_f64(struct buf *b, double v)
{
    if (isnan(v)) {
        buf_str(b, "NaN");
        return;
    }
    if (isinf(v)) {
        buf_str(b, v > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (signbit(v))
        buf_char(b, '-');
    v = fabs(v);
    if (v < 0x1p53 && v == (double)(uint64_t)v) {
        buf_u64(b, (uint64_t)v);
        return;
    }
    struct shortest s;
    if (!shortest_quick(&s, v)) {
        shortest_search(&s, v);
        shortest_trim(&s);
    }
    put_shortest(b, &s);
}

void buf_hex(struct buf *b, const void *p, size_t n)
{
    char *to = n <= SIZE_MAX / 2 ? buf_reserve(b, 2 * n) : NULL;
    if (!to)
        return;
    hex_encode(to, p, n);
    b->n += 2 * n;
}

void buf_drop(struct buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}
