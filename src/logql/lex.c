#include "logql/lex.h"
#include "base/utf8.h"
#include "query/units.h"
#include <math.h>
#include <stdio.h>

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

const char *tok_text(enum tok t)
{
    static const char *const text[] = {"the end of the query",
                                       "a bad word",
                                       "a name",
                                       "a string",
                                       "a number",
                                       "a duration",
                                       "a byte size",
                                       "a flag",
                                       "'{'",
                                       "'}'",
                                       "'('",
                                       "')'",
                                       "'['",
                                       "','",
                                       "'|'",
                                       "'='",
                                       "'=='",
                                       "'!='",
                                       "'=~'",
                                       "'!~'",
                                       "'>'",
                                       "'>='",
                                       "'<'",
                                       "'<='",
                                       "'|='",
                                       "'|~'",
                                       "'|>'",
                                       "'!>'",
                                       "'+'",
                                       "'-'",
                                       "'*'",
                                       "'/'",
                                       "'%'",
                                       "'^'"};
    return text[t];
}

void lex_init(struct lex *l, struct slice text, struct arena *a, struct error *err)
{
    *l = (struct lex){.text = text, .arena = a, .err = err};
    lex_next(l);
}

void lex_fail(struct lex *l, size_t at, const char *fmt, ...)
{
    if (l->failed)
        return;
    char msg[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    size_t line = 1, col = 1;
    for (size_t i = 0; i < at && i < l->text.n; i++) {
        col++;
        if (l->text.p[i] == '\n') {
            line++;
            col = 1;
        }
    }
    ERR(l->err, SYNTAX, "parse error at line %zu, col %zu: syntax error: %s", line, col, msg);
    l->failed = true;
    l->tok = TOK_BAD;
}

bool lex_word(const struct lex *l, const char *word)
{
    return l->tok == TOK_IDENT && slice_ieq(l->s, slice_str(word));
}

static void skip_blank(struct lex *l)
{
    while (l->next < l->text.n) {
        char c = l->text.p[l->next];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            l->next++;
        } else if (c == '#') {
            while (l->next < l->text.n && l->text.p[l->next] != '\n')
                l->next++;
        } else {
            return;
        }
    }
}

static bool escape_number(struct lex *l, size_t *i, int digits, int base, uint32_t *out)
{
    uint32_t v = 0;
    for (int k = 0; k < digits; k++, (*i)++) {
        if (*i >= l->text.n)
            return false;
        int d = hex_of_char(l->text.p[*i]);
        if (d < 0 || d >= base)
            return false;
        v = v * (uint32_t)base + (uint32_t)d;
    }
    *out = v;
    return true;
}

// One escape; *i stands behind the backslash. Returns the bytes written, -1 when it is none of Go's.
static int escape(struct lex *l, size_t *i, char *out)
{
    static const char from[] = "abfnrtv\\\"", to[] = "\a\b\f\n\r\t\v\\\"";
    if (*i >= l->text.n)
        return -1;
    char c = l->text.p[*i];
    uint32_t v;
    const char *k = memchr(from, c, sizeof from - 1);
    if (k) {
        (*i)++;
        *out = to[k - from];
        return 1;
    }
    if (c >= '0' && c <= '7') {
        if (!escape_number(l, i, 3, 8, &v) || v > 255)
            return -1;
        *out = (char)v;
        return 1;
    }
    (*i)++;
    if (c == 'x') {
        if (!escape_number(l, i, 2, 16, &v))
            return -1;
        *out = (char)v;
        return 1;
    }
    if ((c != 'u' && c != 'U') || !escape_number(l, i, c == 'u' ? 4 : 8, 16, &v) || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        return -1;
    return utf8_encode(out, v);
}

// From i on: where the quote stands that closes the string, or the end of the text.
static size_t string_end(const struct lex *l, size_t i, char quote)
{
    while (i < l->text.n && l->text.p[i] != quote)
        i += l->text.p[i] == '\\' ? 2 : 1;
    return i < l->text.n ? i : l->text.n;
}

static void string(struct lex *l)
{
    size_t i = l->at + 1;
    char quote = l->text.p[l->at];
    const char *raw = l->text.p + i;
    char *out = NULL, *p = NULL;
    for (; i < l->text.n && l->text.p[i] != quote;) {
        char c = l->text.p[i];
        if (quote == '"' && c == '\n')
            break;
        if (quote == '"' && c == '\\') {
            if (!out) {
                out = p = arena_alloc(l->arena, string_end(l, i, quote) - l->at); // no escape is shorter than its bytes
                if (!out) {
                    lex_fail(l, l->at, "out of memory");
                    return;
                }
                memcpy(p, raw, (size_t)(l->text.p + i - raw));
                p += l->text.p + i - raw;
            }
            size_t at = i++;
            int n = escape(l, &i, p);
            if (n < 0) {
                lex_fail(l, at, "unknown escape in a string; write \\\\ for a backslash, or use backquotes");
                return;
            }
            p += n;
        } else {
            if (p)
                *p++ = c;
            i++;
        }
    }
    if (i >= l->text.n || l->text.p[i] != quote) {
        lex_fail(l, l->at, "the string that starts here is not closed by %c", quote);
        return;
    }
    l->s = out ? slice_of(out, (size_t)(p - out)) : slice_of(raw, (size_t)(l->text.p + i - raw));
    l->tok = TOK_STRING;
    l->next = i + 1;
}

static bool byte_size(struct slice s, double *out)
{
    static const char *const units[] = {"B", "kB", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;
    while (i < s.n && (digit(s.p[i]) || s.p[i] == '.'))
        i++;
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++)
        if (slice_eq(slice_from(s, i), slice_str(units[k])))
            return unit_bytes(s, out) && *out > 0;
    return false;
}

static bool number(struct slice s, double *out) // no hex, octal or binary integers
{
    if (s.n > 1 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'X') && !memchr(s.p, 'p', s.n) && !memchr(s.p, 'P', s.n))
        return false;
    return unit_number(s, out) && isfinite(*out);
}

static void numeric(struct lex *l)
{
    size_t i = l->at;
    bool hex = i + 1 < l->text.n && l->text.p[i] == '0' && (l->text.p[i + 1] | 32) == 'x';
    for (; i < l->text.n; i++) {
        unsigned char c = (unsigned char)l->text.p[i];
        if (digit((char)c) || letter((char)c) || c == '.' || c >= 0x80)
            continue;
        char e = i > l->at ? (char)(l->text.p[i - 1] | 32) : 0;
        if ((c == '+' || c == '-') && (e == 'p' || (e == 'e' && !hex)) && i + 1 < l->text.n && digit(l->text.p[i + 1]))
            continue;
        break;
    }
    l->s = slice_of(l->text.p + l->at, i - l->at);
    l->next = i;
    int64_t ns;
    if (number(l->s, &l->number)) {
        l->tok = TOK_NUMBER;
    } else if (unit_duration_long(l->s, &ns)) {
        l->tok = TOK_DURATION;
        l->number = (double)ns;
    } else if (byte_size(l->s, &l->number)) {
        l->tok = TOK_BYTES;
    } else if (l->s.n > 1 && l->s.p[0] == '0' && letter(l->s.p[1])) {
        lex_fail(l, l->at, "unable to parse literal as a float: \"%.*s\"; numbers are decimal", (int)(l->s.n < 60 ? l->s.n : 60),
                 l->s.p);
    } else {
        lex_fail(l, l->at, "\"%.*s\" is neither a number nor a duration (5m, 1h30m) nor a byte size (1KB, 2MiB)",
                 (int)(l->s.n < 60 ? l->s.n : 60), l->s.p);
    }
}

static void word(struct lex *l)
{
    size_t i = l->at;
    while (i < l->text.n && (letter(l->text.p[i]) || digit(l->text.p[i])))
        i++;
    l->s = slice_of(l->text.p + l->at, i - l->at);
    l->tok = TOK_IDENT;
    l->next = i;
}

static void flag(struct lex *l)
{
    size_t i = l->at + 2;
    while (i < l->text.n && (letter(l->text.p[i]) || l->text.p[i] == '-'))
        i++;
    l->s = slice_of(l->text.p + l->at + 2, i - l->at - 2);
    l->tok = TOK_FLAG;
    l->next = i;
}

static void symbol(struct lex *l)
{
    static const struct {
        const char *text;
        enum tok tok;
    } symbols[] = {{"|=", TOK_PIPE_EQ}, {"|~", TOK_PIPE_RE}, {"|>", TOK_PIPE_LIKE}, {"!>", TOK_NOT_LIKE}, {"!=", TOK_NE},
                   {"!~", TOK_NRE},     {"==", TOK_EQEQ},    {"=~", TOK_RE},        {">=", TOK_GE},       {"<=", TOK_LE},
                   {"=", TOK_EQ},       {">", TOK_GT},       {"<", TOK_LT},         {"|", TOK_PIPE},      {"{", TOK_LBRACE},
                   {"}", TOK_RBRACE},   {"(", TOK_LPAREN},   {")", TOK_RPAREN},     {"[", TOK_LBRACKET},  {",", TOK_COMMA},
                   {"+", TOK_ADD},      {"-", TOK_SUB},      {"*", TOK_MUL},        {"/", TOK_DIV},       {"%", TOK_MOD},
                   {"^", TOK_POW}};
    struct slice rest = slice_from(l->text, l->at);
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        if (slice_starts(rest, slice_str(symbols[i].text))) {
            l->s = slice_cut(rest, strlen(symbols[i].text));
            l->tok = symbols[i].tok;
            l->next = l->at + l->s.n;
            return;
        }
    int len;
    uint32_t cp = utf8_decode(rest, &len);
    if (cp < 0x20 || cp == 0xFFFD)
        lex_fail(l, l->at, "unexpected byte 0x%02x", (unsigned char)rest.p[0]);
    else
        lex_fail(l, l->at, "unexpected character %.*s%s", len, rest.p,
                 rest.p[0] == '\'' ? "; strings stand in \"…\" or `…`" : "");
}

void lex_next(struct lex *l)
{
    if (l->failed)
        return;
    skip_blank(l);
    l->at = l->next;
    l->s = SLICE_NONE;
    if (l->at >= l->text.n) {
        l->tok = TOK_END;
        return;
    }
    char c = l->text.p[l->at], d = l->at + 1 < l->text.n ? l->text.p[l->at + 1] : 0;
    if (c == '"' || c == '`')
        string(l);
    else if (letter(c))
        word(l);
    else if (digit(c) || (c == '.' && digit(d)))
        numeric(l);
    else if (c == '-' && d == '-')
        flag(l);
    else
        symbol(l);
}

bool lex_range(struct lex *l, int64_t *ns)
{
    size_t from = l->at + 1, to = from;
    while (to < l->text.n && l->text.p[to] != ']')
        to++;
    struct slice s = slice_trim(slice_of(l->text.p + from, to - from));
    if (to >= l->text.n) {
        lex_fail(l, l->at, "the range that starts here is not closed by ']'");
        return false;
    }
    if (!s.n || !digit(s.p[0]) || memchr(s.p, '.', s.n) || !unit_duration_long(s, ns)) {
        lex_fail(l, l->at, "\"%.*s\" is not a range; write whole numbers with units, like [5m] or [1h30m]",
                 (int)(s.n < 60 ? s.n : 60), s.p);
        return false;
    }
    if (*ns > MAX_LOGQL_RANGE) {
        lex_fail(l, l->at, "the range %.*s is longer than 50 years", (int)(s.n < 60 ? s.n : 60), s.p);
        return false;
    }
    l->next = to + 1;
    lex_next(l);
    return !l->failed;
}
