// Strings, numbers, booleans, dates and times of TOML.
#include "base/toml_int.h"
#include "base/utf8.h"

#include <math.h>

// ---- strings --------------------------------------------------------------------------------------------------------
struct quoted {
    const char *from, *to; // the inside
    char quote;            // '"' or '\''
    bool multi, escaped;
};

static bool is_control(int c)
{
    return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

// How many of the same quote stand at p.
static size_t quotes(const struct toml_parser *t, const char *p, char quote)
{
    size_t n = 0;
    while (p + n < t->end && p[n] == quote)
        n++;
    return n;
}

// One step of the inside; *end when the closing quotes were passed.
static enum errc string_step(struct toml_parser *t, struct quoted *q, bool *end)
{
    int c = toml_peek(t);
    if (c < 0)
        return toml_expected(t, q->quote == '"' ? (q->multi ? "\"\"\" at the end of the string" : "\" at the end of the string")
                                                : (q->multi ? "''' at the end of the string" : "' at the end of the string"));
    if (c == q->quote) {
        size_t n = q->multi ? quotes(t, t->p, q->quote) : 3; // up to two quotes may stand in front of the closing three
        if (n >= 3) {
            size_t inside = !q->multi ? 0 : n > 5 ? 2 : n - 3;
            q->to = t->p + inside;
            t->p = q->to + (q->multi ? 3 : 1);
            *end = true;
            return ERR_OK;
        }
        t->p += n;
        return ERR_OK;
    }
    if (q->multi && toml_newline(t))
        return ERR_OK;
    if (c == '\n' || (c == '\r' && t->p + 1 < t->end && t->p[1] == '\n'))
        return toml_expected(t, q->quote == '"' ? "\" at the end of the string" : "' at the end of the string");
    if (is_control(c))
        return toml_fail(t, t->p, ERR_SYNTAX, "a string may not hold the control character U+%04X%s", (unsigned)c,
                         q->quote == '"' ? "; write it as an escape" : "");
    if (c == '\\' && q->quote == '"') {
        q->escaped = true;
        t->p++;
        if (t->p < t->end && (*t->p == '"' || *t->p == '\\'))
            t->p++;
        return ERR_OK;
    }
    t->p++;
    return ERR_OK;
}

static enum errc find_end(struct toml_parser *t, bool multi, struct quoted *q)
{
    bool end = false;
    *q = (struct quoted){.quote = *t->p};
    size_t n = quotes(t, t->p, q->quote);
    q->multi = n >= 3;
    if (q->multi && !multi)
        return toml_fail(t, t->p, ERR_SYNTAX, "a key may not be a multi-line string; write it in one pair of quotes");
    t->p += q->multi ? 3 : 1;
    if (q->multi)
        toml_newline(t); // one right behind the opening quotes is not part of the string
    q->from = t->p;
    while (!end)
        TRY(string_step(t, q, &end));
    return ERR_OK;
}

// \uXXXX and \UXXXXXXXX; *p stands at the u.
static enum errc unescape_point(struct toml_parser *t, const char **p, const char *end, char **to)
{
    int digits = **p == 'u' ? 4 : 8;
    const char *at = *p - 1;
    uint32_t point = 0;
    for (int i = 1; i <= digits; i++) {
        int v = *p + i < end ? hex_of_char((*p)[i]) : -1;
        if (v < 0)
            return toml_fail(t, at, ERR_SYNTAX, "expected %d hexadecimal digits in the escape \\%c", digits, **p);
        point = point << 4 | (uint32_t)v;
    }
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return toml_fail(t, at, ERR_SYNTAX, "\\%c%0*X is no Unicode character", **p, digits, (unsigned)point);
    *to += utf8_encode(*to, point);
    *p += digits + 1;
    return ERR_OK;
}

// A backslash at the end of a line: true if there is one, then *p stands at the next text.
static bool skip_line_end(const char **p, const char *end)
{
    const char *s = *p;
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    if (s == end || (*s != '\n' && *s != '\r'))
        return false;
    while (s < end && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r'))
        s++;
    *p = s;
    return true;
}

static enum errc unescape(struct toml_parser *t, const struct quoted *q, struct slice *out)
{
    static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
    char *to = arena_alloc(t->arena, (size_t)(q->to - q->from)), *start = to; // an escape is never shorter than its character
    if (!to)
        return toml_no_memory(t);
    for (const char *p = q->from; p < q->to;) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        const char *at = p++;
        const char *name = p < q->to && *p ? strchr(names, *p) : NULL;
        if (q->multi && skip_line_end(&p, q->to))
            continue;
        if (p < q->to && (*p == 'u' || *p == 'U')) {
            TRY(unescape_point(t, &p, q->to, &to));
            continue;
        }
        if (!name)
            return toml_fail(t, at, ERR_SYNTAX,
                             "unknown escape in a string; accepted are \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX \\UXXXXXXXX; '…' "
                             "takes all as it stands");
        *to++ = values[name - names];
        p++;
    }
    *out = slice_of(start, (size_t)(to - start));
    return ERR_OK;
}

enum errc toml_string(struct toml_parser *t, bool multi, struct slice *out)
{
    struct quoted q;
    TRY(find_end(t, multi, &q));
    if (q.escaped)
        return unescape(t, &q, out);
    *out = slice_of(q.from, (size_t)(q.to - q.from));
    return ERR_OK;
}

// ---- numbers --------------------------------------------------------------------------------------------------------
static enum errc no_number(struct toml_parser *t, struct slice s, const char *why)
{
    return toml_fail(t, s.p, ERR_SYNTAX, "\"%.*s\" is no number: %s", (int)slice_cut(s, 60).n, s.p, why);
}

static bool is_digit_of(char c, int base)
{
    int v = hex_of_char(c);
    return v >= 0 && v < base;
}

// Digits with single underscores between them, from s[*at] on. False: none, or an underscore without digits around it.
static bool digits_of(struct slice s, size_t *at, int base)
{
    size_t i = *at;
    bool last = false; // the last character was a digit
    for (; i < s.n; i++) {
        if (is_digit_of(s.p[i], base))
            last = true;
        else if (s.p[i] == '_' && last)
            last = false;
        else
            break;
    }
    bool fine = last && i > *at;
    *at = i;
    return fine;
}

static enum errc based_integer(struct toml_parser *t, struct slice s, int base, struct toml *out)
{
    size_t at = 2;
    uint64_t v = 0;
    if (!digits_of(s, &at, base) || at != s.n)
        return no_number(t, s, "digits of its base must follow, with single _ between them at most");
    for (size_t i = 2; i < s.n; i++)
        if (s.p[i] != '_' && (__builtin_mul_overflow(v, (unsigned)base, &v) ||
                              __builtin_add_overflow(v, (unsigned)hex_of_char(s.p[i]), &v) || v > INT64_MAX))
            return toml_fail(t, s.p, ERR_SYNTAX, "%.*s does not fit a 64-bit integer", (int)slice_cut(s, 80).n, s.p);
    out->type = TOML_INTEGER;
    out->integer = (int64_t)v;
    return ERR_OK;
}

static enum errc without_underscores(struct toml_parser *t, struct slice s, struct slice *out)
{
    if (!memchr(s.p, '_', s.n)) {
        *out = s;
        return ERR_OK;
    }
    char *to = arena_alloc(t->arena, s.n);
    size_t n = 0;
    if (!to)
        return toml_no_memory(t);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_')
            to[n++] = s.p[i];
    *out = slice_of(to, n);
    return ERR_OK;
}

// Checks the grammar; *whole: no fraction and no exponent.
static enum errc check_decimal(struct toml_parser *t, struct slice s, bool *whole)
{
    size_t at = s.p[0] == '+' || s.p[0] == '-', from = at;
    *whole = true;
    if (!digits_of(s, &at, 10))
        return no_number(t, s, "digits are expected, with single _ between them at most");
    if (s.p[from] == '0' && at > from + 1)
        return no_number(t, s, "it may not begin with 0");
    if (at < s.n && s.p[at] == '.') {
        *whole = false;
        at++;
        if (!digits_of(s, &at, 10))
            return no_number(t, s, "digits must follow the point");
    }
    if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
        *whole = false;
        at++;
        at += at < s.n && (s.p[at] == '+' || s.p[at] == '-');
        if (!digits_of(s, &at, 10))
            return no_number(t, s, "digits must follow the exponent's e");
    }
    return at == s.n ? ERR_OK : no_number(t, s, "only digits, one point and one exponent may stand in it");
}

static enum errc decimal(struct toml_parser *t, struct slice s, struct toml *out)
{
    struct slice plain;
    bool whole;
    TRY(check_decimal(t, s, &whole));
    TRY(without_underscores(t, s, &plain));
    out->type = whole ? TOML_INTEGER : TOML_FLOAT;
    if (whole ? slice_to_i64(plain, &out->integer) : slice_to_f64(plain, &out->number) && isfinite(out->number))
        return ERR_OK;
    return toml_fail(t, s.p, ERR_SYNTAX, "%.*s does not fit a 64-bit %s", (int)slice_cut(s, 80).n, s.p,
                     whole ? "integer" : "float");
}

// ---- dates and times ------------------------------------------------------------------------------------------------
static enum errc no_time(struct toml_parser *t, struct slice s, const char *why)
{
    return toml_fail(t, s.p, ERR_SYNTAX, "\"%.*s\" is no date or time: %s", (int)slice_cut(s, 60).n, s.p, why);
}

// Exactly n digits at s[*at].
static bool fixed(struct slice s, size_t *at, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (*at >= s.n || !toml_is_digit(s.p[*at]))
            return false;
        *out = *out * 10 + (s.p[*at] - '0');
    }
    return true;
}

static bool literal(struct slice s, size_t *at, char c)
{
    if (*at >= s.n || s.p[*at] != c)
        return false;
    ++*at;
    return true;
}

static int month_days(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static enum errc date(struct toml_parser *t, struct slice s, size_t *at, struct toml_time *out)
{
    int y, m, d;
    if (!fixed(s, at, 4, &y) || !literal(s, at, '-') || !fixed(s, at, 2, &m) || !literal(s, at, '-') || !fixed(s, at, 2, &d))
        return no_time(t, s, "a date is written 2026-01-31");
    if (m < 1 || m > 12 || d < 1 || d > month_days(y, m))
        return no_time(t, s, "the calendar has no such day");
    out->year = (int16_t)y;
    out->month = (uint8_t)m;
    out->day = (uint8_t)d;
    return ERR_OK;
}

static enum errc clock_time(struct toml_parser *t, struct slice s, size_t *at, struct toml_time *out)
{
    int h, m, sec;
    if (!fixed(s, at, 2, &h) || !literal(s, at, ':') || !fixed(s, at, 2, &m) || !literal(s, at, ':') || !fixed(s, at, 2, &sec))
        return no_time(t, s, "a time is written 12:30:00 or 12:30:00.5");
    if (h > 23 || m > 59 || sec > 60) // 60: a leap second, as in RFC 3339
        return no_time(t, s, "the clock has no such time");
    out->hour = (uint8_t)h;
    out->minute = (uint8_t)m;
    out->second = (uint8_t)sec;
    if (!literal(s, at, '.'))
        return ERR_OK;
    size_t from = *at;
    for (uint32_t unit = 100000000; *at < s.n && toml_is_digit(s.p[*at]); ++*at, unit /= 10)
        out->ns += unit * (uint32_t)(s.p[*at] - '0');
    return *at > from ? ERR_OK : no_time(t, s, "digits must follow the point");
}

static enum errc offset(struct toml_parser *t, struct slice s, size_t *at, struct toml_time *out)
{
    int h, m, sign = s.p[*at] == '-' ? -1 : 1;
    if (literal(s, at, 'Z') || literal(s, at, 'z'))
        return ERR_OK;
    if ((!literal(s, at, '+') && !literal(s, at, '-')) || !fixed(s, at, 2, &h) || !literal(s, at, ':') || !fixed(s, at, 2, &m))
        return no_time(t, s, "a zone is written Z, +02:00 or -07:30");
    if (h > 23 || m > 59)
        return no_time(t, s, "no zone is that far away");
    out->offset = (int16_t)(sign * (h * 60 + m));
    return ERR_OK;
}

static enum errc moment(struct toml_parser *t, struct slice s, struct toml *out)
{
    size_t at = 0;
    out->time = (struct toml_time){0};
    out->type = TOML_LOCAL_TIME;
    if (s.p[2] != ':') {
        TRY(date(t, s, &at, &out->time));
        out->type = TOML_LOCAL_DATE;
        if (at == s.n)
            return ERR_OK;
        if (!literal(s, &at, 'T') && !literal(s, &at, 't') && !literal(s, &at, ' '))
            return no_time(t, s, "T or a space must follow the date");
        out->type = TOML_LOCAL_DATETIME;
    }
    TRY(clock_time(t, s, &at, &out->time));
    if (at < s.n && out->type == TOML_LOCAL_DATETIME) {
        out->type = TOML_OFFSET_DATETIME;
        TRY(offset(t, s, &at, &out->time));
    }
    return at == s.n ? ERR_OK : no_time(t, s, "nothing may follow it");
}

// ---- all ------------------------------------------------------------------------------------------------------------
static bool is_token(int c)
{
    return toml_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '+' || c == '-' || c == '.' ||
           c == ':';
}

static bool all_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!toml_is_digit(p[i]))
            return false;
    return true;
}

// Everything up to a separator; a date may be followed by a space and a time.
static struct slice token(struct toml_parser *t)
{
    const char *from = t->p;
    while (is_token(toml_peek(t)))
        t->p++;
    if (t->p - from == 10 && all_digits(from, 4) && from[4] == '-' && t->end - t->p > 3 && *t->p == ' ' &&
        all_digits(t->p + 1, 2)) {
        t->p++;
        while (is_token(toml_peek(t)))
            t->p++;
    }
    return slice_of(from, (size_t)(t->p - from));
}

static bool word(struct slice s, struct toml *out)
{
    struct slice bare = s.p[0] == '+' || s.p[0] == '-' ? slice_from(s, 1) : s;
    if (slice_eq(s, SLICE("true")) || slice_eq(s, SLICE("false"))) {
        out->type = TOML_BOOLEAN;
        out->yes = s.n == 4;
        return true;
    }
    out->type = TOML_FLOAT;
    out->number = slice_eq(bare, SLICE("inf")) ? (double)INFINITY : (double)NAN;
    if (s.p[0] == '-')
        out->number = -out->number;
    return slice_eq(bare, SLICE("inf")) || slice_eq(bare, SLICE("nan"));
}

enum errc toml_scalar(struct toml_parser *t, struct toml *out)
{
    const char *from = t->p;
    struct slice s = token(t);
    if (s.n == 0)
        return toml_expected(t, "a value");
    if (word(s, out))
        return ERR_OK;
    if ((s.n > 4 && all_digits(s.p, 4) && s.p[4] == '-') || (s.n > 2 && all_digits(s.p, 2) && s.p[2] == ':'))
        return moment(t, s, out);
    if (s.n > 1 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'o' || s.p[1] == 'b'))
        return based_integer(t, s, s.p[1] == 'x' ? 16 : s.p[1] == 'o' ? 8 : 2, out);
    if (toml_is_digit(s.p[0]) || s.p[0] == '+' || s.p[0] == '-' || s.p[0] == '.')
        return decimal(t, s, out);
    return toml_fail(t, from, ERR_SYNTAX,
                     "expected a value, found \"%.*s\"; texts stand in quotes, truth is written true or false",
                     (int)slice_cut(s, 60).n, s.p);
}
