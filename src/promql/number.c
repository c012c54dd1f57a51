// Numbers, durations and quoted strings as Prometheus writes them.
#include "base/buf.h"
#include "promql/promql.h"
#include "promql/shortest.h"
#include <math.h>
#include <stdlib.h>

struct digits {
    char d[32]; // without a point, no zero at the ends
    int n, exp; // value = 0.d × 10^exp
    bool negative;
};

// The fewest digits that read back the same.
static void take_apart(double v, struct digits *out)
{
    char text[32];
    int n = prom_shortest(fabs(v), text), exp = 0, i = 0;
    *out = (struct digits){.negative = signbit(v)};
    for (; i < n && text[i] != 'e'; i++)
        if (text[i] != '.')
            out->d[out->n++] = text[i];
    for (int k = i + 2; k < n; k++)
        exp = exp * 10 + (text[k] - '0');
    out->exp = (i + 1 < n && text[i + 1] == '-' ? -exp : exp) + 1;
    while (out->n > 1 && out->d[out->n - 1] == '0')
        out->n--;
}

static bool special(struct buf *out, double v)
{
    if (isnan(v))
        buf_str(out, "NaN");
    else if (isinf(v))
        buf_str(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == 0)
        buf_str(out, signbit(v) ? "-0" : "0");
    else
        return false;
    return true;
}

static void plain(struct buf *out, const struct digits *d)
{
    if (d->negative)
        buf_char(out, '-');
    if (d->exp <= 0)
        buf_str(out, "0.");
    for (int i = d->exp; i < 0; i++)
        buf_char(out, '0');
    if (d->exp > 0 && d->exp < d->n) {
        buf_put(out, d->d, (size_t)d->exp);
        buf_char(out, '.');
        buf_put(out, d->d + d->exp, (size_t)(d->n - d->exp));
        return;
    }
    buf_put(out, d->d, (size_t)d->n);
    for (int i = d->n; i < d->exp; i++)
        buf_char(out, '0');
}

static void scientific(struct buf *out, const struct digits *d)
{
    int e = d->exp - 1;
    buf_printf(out, "%s%c", d->negative ? "-" : "", d->d[0]);
    if (d->n > 1)
        buf_printf(out, ".%.*s", d->n - 1, d->d + 1);
    buf_printf(out, "e%c%02d", e < 0 ? '-' : '+', abs(e));
}

// An exponent is written where the decimal one is below low, or high and above.
static void put(struct buf *out, double v, int low, int high)
{
    struct digits d;
    if (special(out, v))
        return;
    take_apart(v, &d);
    if (d.exp - 1 < low || d.exp - 1 >= high)
        scientific(out, &d);
    else
        plain(out, &d);
}

void prom_float_v(struct buf *out, double v)
{
    put(out, v, -4, 6);
}
void prom_float_f(struct buf *out, double v)
{
    put(out, v, -1000, 1000);
}
void prom_float_json(struct buf *out, double v)
{
    if (fabs(v) < 0x1p31 && v == (double)(int32_t)v && (v != 0 || !signbit(v))) {
        buf_i64(out, (int32_t)v);
        return;
    }
    put(out, v, -6, 21);
}

void prom_duration_put(struct buf *out, int64_t ms)
{
    static const struct {
        const char *name;
        int64_t ms;
        bool exact;
    } units[] = {{"y", 365 * 86400000ll, true}, {"w", 7 * 86400000ll, true}, {"d", 86400000, true}, {"h", 3600000, false},
                 {"m", 60000, false},           {"s", 1000, false},          {"ms", 1, false}};
    if (ms == 0)
        buf_str(out, "0s");
    for (size_t i = 0; i < sizeof units / sizeof *units && ms; i++) {
        if (units[i].exact && ms % units[i].ms != 0)
            continue;
        if (ms / units[i].ms)
            buf_printf(out, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
        ms %= units[i].ms;
    }
}

void prom_quote(struct buf *out, struct slice s)
{
    static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        const char *e = c ? strchr(from, c) : NULL;
        if (e)
            buf_printf(out, "\\%c", to[e - from]);
        else if ((unsigned char)c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", (unsigned char)c);
        else
            buf_char(out, c);
    }
    buf_char(out, '"');
}
