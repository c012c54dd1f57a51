#include "query/units.h"
#include "base/buf.h"
#include <arpa/inet.h>
#include <math.h>
#include <stdlib.h>

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

bool unit_number(struct slice s, double *out)
{
    char text[128];
    size_t n = 0;
    bool hex = false;
    if (s.n == 0 || s.n >= sizeof text)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '_') { // only between digits
            if (i == 0 || i + 1 == s.n || !digit(s.p[i - 1]) || !digit(s.p[i + 1]))
                return false;
            continue;
        }
        hex |= s.p[i] == 'x' || s.p[i] == 'X';
        text[n++] = s.p[i];
    }
    text[n] = 0;
    size_t sign = text[0] == '+' || text[0] == '-';
    if (hex) {
        if (!strpbrk(text, "pP") || text[sign] != '0')
            return false;
        char *end;
        *out = strtod(text, &end);
        return *end == 0;
    }
    if (slice_ieq(slice_of(text + sign, n - sign), SLICE("infinity"))) {
        *out = text[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    return slice_to_f64(slice_of(text, n), out);
}

struct unit {
    const char *text;
    double ns;
};
static const struct unit duration_units[] = {{"ns", 1},      {"us", 1e3},        {"\xc2\xb5s", 1e3},  {"\xce\xbcs", 1e3},
                                             {"ms", 1e6},    {"s", 1e9},         {"m", 60e9},         {"h", 3600e9},
                                             {"d", 86400e9}, {"w", 7 * 86400e9}, {"y", 365 * 86400e9}};
enum { SHORT_UNITS = 8, ALL_UNITS = 11 };

static const struct unit *unit_find(struct slice s, int n)
{
    for (int i = 0; i < n; i++)
        if (slice_eq(s, slice_str(duration_units[i].text)))
            return &duration_units[i];
    return NULL;
}

static bool duration(struct slice s, int units, int64_t *ns)
{
    bool negative = false;
    size_t i = 0;
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        negative = s.p[i++] == '-';
    if (slice_eq(slice_from(s, i), SLICE("0"))) {
        *ns = 0;
        return true;
    }
    double total = 0;
    bool any = false;
    while (i < s.n) {
        size_t from = i;
        double whole = 0, fraction = 0, scale = 1;
        bool digits = false;
        for (; i < s.n && digit(s.p[i]); i++, digits = true)
            whole = whole * 10 + (s.p[i] - '0');
        if (i < s.n && s.p[i] == '.')
            for (i++; i < s.n && digit(s.p[i]); i++, digits = true)
                if (scale < 1e18) // what comes later is less than a nanosecond of any unit, and in the end infinity over infinity
                    fraction = fraction * 10 + (s.p[i] - '0'), scale *= 10;
        if (!digits || i == from)
            return false;
        from = i;
        while (i < s.n && !digit(s.p[i]) && s.p[i] != '.')
            i++;
        const struct unit *u = unit_find(slice_of(s.p + from, i - from), units);
        if (!u)
            return false;
        total += whole * u->ns + floor(fraction * (u->ns / scale));
        any = true;
    }
    if (!any || total >= 9223372036854775807.0)
        return false;
    *ns = negative ? -(int64_t)total : (int64_t)total;
    return true;
}

bool unit_duration(struct slice s, int64_t *ns)
{
    return duration(s, SHORT_UNITS, ns);
}
bool unit_duration_long(struct slice s, int64_t *ns)
{
    return duration(s, ALL_UNITS, ns);
}

bool unit_bytes(struct slice s, double *out)
{
    static const struct {
        const char *text;
        double factor;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1e3},     {"kb", 1e3},     {"ki", 0x1p10}, {"kib", 0x1p10},
                 {"m", 1e6},     {"mb", 1e6},     {"mi", 0x1p20}, {"mib", 0x1p20}, {"g", 1e9},     {"gb", 1e9},
                 {"gi", 0x1p30}, {"gib", 0x1p30}, {"t", 1e12},    {"tb", 1e12},    {"ti", 0x1p40}, {"tib", 0x1p40},
                 {"p", 1e15},    {"pb", 1e15},    {"pi", 0x1p50}, {"pib", 0x1p50}, {"e", 1e18},    {"eb", 1e18},
                 {"ei", 0x1p60}, {"eib", 0x1p60}};
    size_t i = 0;
    char number[64];
    size_t n = 0;
    for (; i < s.n && (digit(s.p[i]) || s.p[i] == '.' || s.p[i] == ',') && n < sizeof number - 1; i++)
        if (s.p[i] != ',')
            number[n++] = s.p[i];
    double v;
    if (n == 0 || !slice_to_f64(slice_of(number, n), &v))
        return false;
    struct slice unit = slice_trim(slice_from(s, i));
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++)
        if (slice_ieq(unit, slice_str(units[k].text))) {
            *out = floor(v * units[k].factor);
            return true;
        }
    return false;
}

static void put_part(struct buf *b, int64_t *ns, int64_t unit, const char *text)
{
    if (*ns >= unit)
        buf_printf(b, "%lld%s", (long long)(*ns / unit), text);
    *ns %= unit;
}

static void put_fraction(struct buf *b, double v, const char *unit)
{
    buf_f64(b, v);
    buf_str(b, unit);
}

void unit_duration_text(struct buf *b, int64_t ns)
{
    if (ns < 0) {
        buf_char(b, '-');
        ns = -ns;
    }
    if (ns == 0) {
        buf_str(b, "0s");
    } else if (ns < 1000) {
        buf_printf(b, "%lldns", (long long)ns);
    } else if (ns < 1000000) {
        put_fraction(b, (double)ns / 1e3, "\xc2\xb5s");
    } else if (ns < 1000000000) {
        put_fraction(b, (double)ns / 1e6, "ms");
    } else {
        bool hours = ns >= 3600000000000;
        put_part(b, &ns, 3600000000000, "h");
        if (hours && ns < 60000000000)
            buf_str(b, "0m");
        put_part(b, &ns, 60000000000, "m");
        put_fraction(b, (double)ns / 1e9, "s");
    }
}

void unit_range_text(struct buf *b, int64_t ns)
{
    if (ns == 0) {
        buf_str(b, "0s");
        return;
    }
    if (ns % 86400000000000 == 0) {
        int64_t days = ns / 86400000000000;
        if (days % 365 == 0)
            buf_printf(b, "%lldy", (long long)(days / 365));
        else if (days % 7 == 0)
            buf_printf(b, "%lldw", (long long)(days / 7));
        else
            buf_printf(b, "%lldd", (long long)days);
        return;
    }
    put_part(b, &ns, 3600000000000, "h");
    put_part(b, &ns, 60000000000, "m");
    put_part(b, &ns, 1000000000, "s");
    put_part(b, &ns, 1000000, "ms");
    put_part(b, &ns, 1000, "us");
    put_part(b, &ns, 1, "ns");
}

enum { IP_TEXT_MAX = 64 }; // with a zone; longer texts are no address

bool ip_parse(struct slice s, struct ip *out)
{
    char text[IP_TEXT_MAX];
    if (s.n < 2 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    char *zone = strchr(text, '%');
    if (zone)
        *zone = 0;
    *out = (struct ip){0};
    if (strchr(text, ':')) {
        out->v6 = true;
        return inet_pton(AF_INET6, text, out->b) == 1;
    }
    return inet_pton(AF_INET, text, out->b) == 1;
}

static enum errc ip_cidr(struct slice s, size_t slash, struct ip_range *out, struct error *err)
{
    uint64_t bits = 0;
    if (!ip_parse(slice_cut(s, slash), &out->from) || !slice_to_u64(slice_from(s, slash + 1), &bits) ||
        bits > (out->from.v6 ? 128u : 32u))
        return ERR(err, SYNTAX, "ip: invalid pattern \"%.*s\": not an address range like 10.0.0.0/8", (int)s.n, s.p);
    out->to = out->from;
    unsigned total = out->from.v6 ? 128 : 32;
    for (unsigned i = (unsigned)bits; i < total; i++) {
        unsigned char bit = (unsigned char)(0x80 >> (i % 8));
        out->from.b[i / 8] &= (unsigned char)~bit;
        out->to.b[i / 8] |= bit;
    }
    return ERR_OK;
}

enum errc ip_range_parse(struct slice s, struct ip_range *out, struct error *err)
{
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL, *dash = s.n ? memchr(s.p, '-', s.n) : NULL;
    if (slash)
        return ip_cidr(s, (size_t)(slash - s.p), out, err);
    if (dash) {
        size_t at = (size_t)(dash - s.p);
        if (ip_parse(slice_cut(s, at), &out->from) && ip_parse(slice_from(s, at + 1), &out->to) && out->from.v6 == out->to.v6 &&
            memcmp(out->from.b, out->to.b, 16) <= 0)
            return ERR_OK;
        return ERR(err, SYNTAX, "ip: invalid pattern \"%.*s\": not an ascending range of two addresses of one kind", (int)s.n,
                   s.p);
    }
    if (!ip_parse(s, &out->from))
        return ERR(err, SYNTAX, "ip: invalid pattern \"%.*s\": not an address, a range a-b or a prefix like 10.0.0.0/8", (int)s.n,
                   s.p);
    out->to = out->from;
    return ERR_OK;
}

bool ip_in(const struct ip_range *r, const struct ip *a)
{
    return a->v6 == r->from.v6 && memcmp(a->b, r->from.b, 16) >= 0 && memcmp(a->b, r->to.b, 16) <= 0;
}

static bool ip_char(char c, bool v6)
{
    return digit(c) || c == '.' || (v6 && (c == ':' || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

// The IPv4 address at [from, to) is the tail of an IPv6 address, as in ::ffff:10.0.0.1.
static bool inside_v6(struct slice line, size_t from, size_t to)
{
    size_t start = from;
    struct ip a;
    while (start > 0 && to - start < IP_TEXT_MAX && ip_char(line.p[start - 1], true))
        start--;
    return start < from && line.p[from - 1] == ':' && ip_parse(slice_of(line.p + start, to - start), &a);
}

bool ip_line(const struct ip_range *r, struct slice line)
{
    bool v6 = r->from.v6;
    for (size_t i = 0; i < line.n;) {
        if (!ip_char(line.p[i], v6)) {
            i++;
            continue;
        }
        size_t from = i;
        while (i < line.n && ip_char(line.p[i], v6))
            i++;
        struct slice run = slice_of(line.p + from, i - from);
        while (run.n && run.p[run.n - 1] == '.') // the end of a sentence
            run.n--;
        struct ip a;
        if (run.n >= 2 && ip_parse(run, &a) && ip_in(r, &a) && (v6 || !inside_v6(line, from, from + run.n)))
            return true;
    }
    return false;
}
