#include "results/stamp.h"
#include <math.h>

static int digits(const char *p, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

// Days since 1970-01-01 of a date of the Gregorian calendar; March is the first month of its year.
static int64_t days(int year, int month, int day)
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400, of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static size_t fraction(struct slice s, size_t at, int64_t *ns)
{
    int64_t unit = 100000000;
    size_t i = at + 1;
    if (at + 1 >= s.n || (s.p[at] != '.' && s.p[at] != ',') || s.p[at + 1] < '0' || s.p[at + 1] > '9')
        return at;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, unit /= 10)
        *ns += (s.p[i] - '0') * unit;
    return i;
}

static size_t zone(struct slice s, size_t at, struct stamp *out)
{
    size_t i = at;
    if (i < s.n && s.p[i] == 'Z') {
        out->zoned = true;
        return i + 1;
    }
    if (i + 1 < s.n && s.p[i] == ' ' && (s.p[i + 1] == '+' || s.p[i + 1] == '-'))
        i++;
    if (i + 5 > s.n || (s.p[i] != '+' && s.p[i] != '-'))
        return at;
    size_t colon = s.p[i + 3] == ':';
    if (i + 5 + colon > s.n)
        return at;
    int h = digits(s.p + i + 1, 2), m = digits(s.p + i + 3 + colon, 2);
    if (h < 0 || h > 15 || m < 0 || m > 59)
        return at;
    int64_t off = (h * 3600LL + m * 60LL) * 1000000000;
    out->ns -= s.p[i] == '-' ? -off : off;
    out->zoned = true;
    return i + 5 + colon;
}

size_t stamp_read(struct slice s, struct stamp *out)
{
    const char *p = s.p;
    if (s.n < 19 || p[4] != '-' || p[7] != '-' || (p[10] != 'T' && p[10] != ' ') || p[13] != ':' || p[16] != ':')
        return 0;
    int year = digits(p, 4), month = digits(p + 5, 2), day = digits(p + 8, 2);
    int h = digits(p + 11, 2), m = digits(p + 14, 2), sec = digits(p + 17, 2);
    if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31 || h < 0 || h > 23 || m < 0 || m > 59 ||
        sec < 0 || sec > 60)
        return 0;
    *out = (struct stamp){(days(year, month, day) * 86400 + h * 3600 + m * 60 + sec) * 1000000000, false};
    return zone(s, fraction(s, 19, &out->ns), out);
}

bool stamp_find(struct slice s, struct stamp *out)
{
    for (size_t i = 0; i + 19 <= s.n; i++) {
        const char *dash = memchr(s.p + i + 4, '-', s.n - i - 4);
        if (!dash)
            return false;
        i = (size_t)(dash - s.p) - 4;
        if (stamp_read(slice_from(s, i), out))
            return true;
    }
    return false;
}

bool stamp_value(struct slice s, struct stamp *out)
{
    double v;
    int64_t whole;
    if (stamp_read(s, out))
        return true;
    out->zoned = true;
    if (slice_to_i64(s, &whole) && whole > 100000000000000000) {
        out->ns = whole;
        return true;
    }
    if (!slice_to_f64(s, &v) || !isfinite(v) || v < 1e8 || v >= 1e19)
        return false;
    out->ns = (int64_t)(v < 1e11 ? v * 1e9 : v < 1e14 ? v * 1e6 : v < 1e17 ? v * 1e3 : v);
    return true;
}
