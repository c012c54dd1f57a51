#include "promql/lex.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "promql/promql.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void prom_lex_init(struct prom_lex *l, struct slice text, struct arena *a, struct error *err)
{
    *l = (struct prom_lex){.in = text, .arena = a, .err = err};
    prom_lex_next(l);
}

bool prom_lex_fail(struct prom_lex *l, uint32_t at, const char *fmt, ...)
{
    char text[ERROR_MESSAGE_MAX];
    uint32_t line = 1, column = 1;
    va_list ap;
    if (!l->failed) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        for (uint32_t i = 0; i < at && i < l->in.n; i++) {
            column = l->in.p[i] == '\n' ? 1 : column + 1;
            line += l->in.p[i] == '\n';
        }
        ERR(l->err, SYNTAX, "%u:%u: parse error: %s", line, column, text);
    }
    l->failed = true;
    l->token = TOK_END;
    return false;
}

struct slice prom_lex_name(struct prom_lex *l)
{
    struct slice raw = slice_cut(slice_of(l->in.p + l->from, l->to - l->from), 60);
    switch (l->token) {
    case TOK_END:
        return SLICE("end of input");
    case TOK_WORD:
        return arena_printf(l->arena, "identifier \"%.*s\"", (int)raw.n, raw.p);
    case TOK_NUMBER:
        return arena_printf(l->arena, "number \"%.*s\"", (int)raw.n, raw.p);
    case TOK_DURATION:
        return arena_printf(l->arena, "duration \"%.*s\"", (int)raw.n, raw.p);
    case TOK_STRING:
        return arena_printf(l->arena, "string %.*s", (int)raw.n, raw.p);
    default:
        return arena_printf(l->arena, "\"%.*s\"", (int)raw.n, raw.p);
    }
}

static int at(const struct prom_lex *l, size_t i)
{
    return i < l->in.n ? (unsigned char)l->in.p[i] : -1;
}
static bool alpha(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool digit(int c)
{
    return c >= '0' && c <= '9';
}

// ---- numbers and durations ------------------------------------------------------------------------------------------

static size_t unit_of(struct slice s, int *rank, int64_t *ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {
        {"y", 365 * 86400000ll}, {"w", 7 * 86400000ll}, {"d", 86400000}, {"h", 3600000}, {"ms", 1}, {"m", 60000}, {"s", 1000}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (slice_starts(s, slice_str(units[i].name))) {
            *ms = units[i].ms;
            *rank = i == 4 ? 7 : (int)i; // milliseconds come last
            return strlen(units[i].name);
        }
    return 0;
}

bool prom_duration_read(struct slice s, int64_t *ms)
{
    int last = -1, rank;
    int64_t total = 0, unit, part, sum;
    if (slice_eq(s, SLICE("0"))) {
        *ms = 0;
        return true;
    }
    while (s.n) {
        size_t n = 0;
        while (n < s.n && digit((unsigned char)s.p[n]))
            n++;
        int64_t v;
        if (n == 0 || !slice_to_i64(slice_cut(s, n), &v))
            return false;
        s = slice_from(s, n);
        n = unit_of(s, &rank, &unit);
        if (n == 0 || rank <= last || __builtin_mul_overflow(v, unit, &part) || __builtin_add_overflow(total, part, &sum))
            return false;
        total = sum;
        last = rank;
        s = slice_from(s, n);
    }
    *ms = total;
    return last >= 0 && total <= INT64_MAX / 1000000; // fits in nanoseconds
}

static size_t digits(const struct prom_lex *l, size_t i, bool hex)
{
    while (digit(at(l, i)) || (hex && isxdigit(at(l, i))) ||
           (at(l, i) == '_' && (digit(at(l, i + 1)) || (hex && isxdigit(at(l, i + 1))))))
        i++;
    return i;
}

static bool to_number(struct slice s, double *out)
{
    char text[400];
    size_t n = 0;
    char *end;
    if (s.n >= sizeof text)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '_')
            text[n++] = s.p[i];
    text[n] = 0;
    if (n > 1 && text[0] == '0' && strspn(text, "01234567") == n) { // as in Go: a leading 0 means octal
        *out = (double)strtoull(text, NULL, 8);
        return true;
    }
    *out = strtod(text, &end);
    return end == text + n;
}

static void number(struct prom_lex *l)
{
    size_t i = l->from, unit;
    int rank;
    int64_t ms;
    bool hex = at(l, i) == '0' && (at(l, i + 1) | 32) == 'x';
    i = digits(l, hex ? i + 2 : i, hex);
    unit = hex ? 0 : unit_of(slice_from(l->in, i), &rank, &ms);
    if (unit) {
        while (unit && i > l->from) {
            i += unit;
            size_t next = digits(l, i, false);
            unit = next > i ? unit_of(slice_from(l->in, next), &rank, &ms) : 0;
            i = unit ? next : i;
        }
        l->token = TOK_DURATION;
    } else {
        if (!hex && at(l, i) == '.')
            i = digits(l, i + 1, false);
        if (!hex && (at(l, i) | 32) == 'e') {
            size_t sign = i + 1 + (at(l, i + 1) == '+' || at(l, i + 1) == '-');
            i = digits(l, sign, false) > sign ? digits(l, sign, false) : i;
        }
        l->token = TOK_NUMBER;
    }
    while (alpha(at(l, i)) || digit(at(l, i)) || at(l, i) == '.') { // what cannot follow belongs to the message
        l->token = TOK_END;
        i++;
    }
    struct slice s = slice_of(l->in.p + l->from, i - l->from);
    l->to = (uint32_t)i;
    if (l->token == TOK_END || (l->token == TOK_NUMBER && !to_number(s, &l->number)) ||
        (l->token == TOK_DURATION && !prom_duration_read(s, &l->ms)))
        prom_lex_fail(l, l->from,
                      "bad number or duration syntax: \"%.*s\"; durations are whole numbers with units in falling order: 1h30m",
                      (int)slice_cut(s, 60).n, s.p);
}

// ---- strings --------------------------------------------------------------------------------------------------------

static int hex_value(int c)
{
    return digit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static size_t put_rune(char *to, uint32_t r)
{
    if (r < 0x80)
        return to[0] = (char)r, 1;
    if (r < 0x800)
        return to[0] = (char)(0xc0 | r >> 6), to[1] = (char)(0x80 | (r & 63)), 2;
    if (r < 0x10000)
        return to[0] = (char)(0xe0 | r >> 12), to[1] = (char)(0x80 | (r >> 6 & 63)), to[2] = (char)(0x80 | (r & 63)), 3;
    to[0] = (char)(0xf0 | r >> 18), to[1] = (char)(0x80 | (r >> 12 & 63)), to[2] = (char)(0x80 | (r >> 6 & 63)),
    to[3] = (char)(0x80 | (r & 63));
    return 4;
}

// The escape behind the backslash at *i; *i is left behind it. Bytes written, 0 when it is none.
static size_t escape(const struct prom_lex *l, size_t *i, char quote, char *to)
{
    static const char from[] = "abfnrtv\\", means[] = "\a\b\f\n\r\t\v\\";
    int c = at(l, *i + 1);
    const char *p = c > 0 ? strchr(from, c) : NULL;
    int n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t v = 0;
    if (p || c == quote) {
        *i += 2;
        *to = p ? means[p - from] : quote;
        return 1;
    }
    if (c >= '0' && c <= '7') {
        for (int k = 1; k <= 3; k++) {
            int d = at(l, *i + (size_t)k);
            if (d < '0' || d > '7')
                return 0;
            v = v * 8 + (uint32_t)(d - '0');
        }
        *i += 4;
        *to = (char)v;
        return v < 256;
    }
    for (int k = 0; k < n; k++) {
        int d = hex_value(at(l, *i + 2 + (size_t)k));
        if (d < 0)
            return 0;
        v = v << 4 | (uint32_t)d;
    }
    if (n == 0 || (n > 2 && (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))))
        return 0;
    *i += 2 + (size_t)n;
    if (n == 2)
        return *to = (char)v, 1;
    return put_rune(to, v);
}

static void string(struct prom_lex *l)
{
    char quote = l->in.p[l->from];
    char *to = arena_alloc(l->arena, l->in.n - l->from + 4);
    size_t n = 0, i = l->from + 1, k;
    if (!to) {
        prom_lex_fail(l, l->from, "the query is too large");
        return;
    }
    for (;;) {
        int c = at(l, i);
        if (c < 0 || (c == '\n' && quote != '`')) {
            prom_lex_fail(l, l->from, "unterminated %s",
                          quote == '`' ? "raw string: a ` is missing" : "quoted string: the closing quote is missing");
            return;
        }
        if (c == quote)
            break;
        if (c != '\\' || quote == '`') {
            to[n++] = (char)c;
            i++;
            continue;
        }
        k = escape(l, &i, quote, to + n);
        if (k == 0) {
            prom_lex_fail(l, (uint32_t)i, "unknown escape sequence \"\\%c\"; \\\\ writes a backslash",
                          isprint(at(l, i + 1)) ? at(l, i + 1) : '?');
            return;
        }
        n += k;
    }
    l->to = (uint32_t)i + 1;
    l->token = TOK_STRING;
    l->text = slice_of(to, n);
}

// ---- tokens ---------------------------------------------------------------------------------------------------------

static size_t skip(const struct prom_lex *l, size_t i)
{
    for (;;) {
        int c = at(l, i);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            i++;
        else if (c == '#')
            while (at(l, i) >= 0 && at(l, i) != '\n')
                i++;
        else
            return i;
    }
}

static void one(struct prom_lex *l, enum prom_token t, uint32_t n)
{
    l->token = t;
    l->to = l->from + n;
}

static void bracket(struct prom_lex *l, int c)
{
    switch (c) {
    case '(':
        l->parens++;
        one(l, TOK_LPAREN, 1);
        return;
    case ')':
        if (--l->parens < 0)
            prom_lex_fail(l, l->from, "unexpected right parenthesis ')'");
        else
            one(l, TOK_RPAREN, 1);
        return;
    case '{':
        l->braces = true;
        one(l, TOK_LBRACE, 1);
        return;
    case '}':
        if (!l->braces)
            prom_lex_fail(l, l->from, "unexpected right brace '}'");
        else
            one(l, TOK_RBRACE, 1);
        l->braces = false;
        return;
    case '[':
        if (l->brackets)
            prom_lex_fail(l, l->from, "unexpected left bracket '['");
        else
            one(l, TOK_LBRACKET, 1);
        l->brackets = true;
        return;
    default:
        if (!l->brackets)
            prom_lex_fail(l, l->from, "unexpected right bracket ']'");
        else
            one(l, TOK_RBRACKET, 1);
        l->brackets = false;
    }
}

static void sign(struct prom_lex *l, int c)
{
    int next = at(l, l->from + 1u);
    switch (c) {
    case ',':
        one(l, TOK_COMMA, 1);
        return;
    case '@':
        one(l, TOK_AT, 1);
        return;
    case '=':
        one(l,
            next == '=' && !l->braces ? TOK_EQ
            : next == '~'             ? TOK_RE
                                      : TOK_ASSIGN,
            (next == '=' && !l->braces) || next == '~' ? 2 : 1);
        return;
    case '!':
        if (next == '=' || next == '~')
            one(l, next == '=' ? TOK_NE : TOK_NRE, 2);
        else
            prom_lex_fail(l, l->from, "unexpected character after '!'; write != or !~");
        return;
    case '<':
    case '>':
        if (next == '=')
            one(l, c == '<' ? TOK_LE : TOK_GE, 2);
        else
            one(l, c == '<' ? TOK_LT : TOK_GT, 1);
        return;
    case '+':
        one(l, TOK_ADD, 1);
        return;
    case '-':
        one(l, TOK_SUB, 1);
        return;
    case '*':
        one(l, TOK_MUL, 1);
        return;
    case '/':
        one(l, TOK_DIV, 1);
        return;
    case '%':
        one(l, TOK_MOD, 1);
        return;
    case '^':
        one(l, TOK_POW, 1);
        return;
    default:
        if (c >= 0x21 && c < 0x7f)
            prom_lex_fail(l, l->from, "unexpected character: '%c'", c);
        else
            prom_lex_fail(l, l->from, "unexpected byte 0x%02x; names with other characters stand in quotes: {\"…\"}", c);
    }
}

void prom_lex_next(struct prom_lex *l)
{
    if (l->failed)
        return;
    l->from = l->to = (uint32_t)skip(l, l->to);
    int c = at(l, l->from);
    size_t i = l->from;
    l->token = TOK_END;
    if (c < 0)
        return;
    if (c == '"' || c == '\'' || c == '`') {
        string(l);
    } else if (digit(c) || (c == '.' && digit(at(l, i + 1)))) {
        number(l);
    } else if (c == ':' && l->brackets && !l->braces) {
        one(l, TOK_COLON, 1);
    } else if (alpha(c) || (c == ':' && !l->braces)) {
        while (alpha(at(l, i)) || digit(at(l, i)) || (at(l, i) == ':' && !l->braces && !l->brackets))
            i++;
        one(l, TOK_WORD, (uint32_t)(i - l->from));
        l->text = slice_of(l->in.p + l->from, i - l->from);
    } else if (c && strchr("(){}[]", c)) {
        bracket(l, c);
    } else {
        sign(l, c);
    }
}
