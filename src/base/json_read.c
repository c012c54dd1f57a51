#include "base/json.h"
#include "base/kernel.h"
#include "base/limits.h"
#include "base/utf8.h"
#include <math.h>

const char *json_kernel(void)
{
    return kernel()->name;
}

void json_init(struct json *j, struct slice text, struct arena *arena, struct error *err)
{
    const char *p = text.n ? text.p : "";
    *j = (struct json){.start = p, .p = p, .end = p + text.n, .arena = arena, .err = err};
}

static bool fail(struct json *j, enum errc code, const char *what)
{
    if (!j->failed)
        error_raise(j->err, code, __FILE__, __LINE__, "JSON: %s at byte %zu", what, json_at(j));
    j->failed = true;
    return false;
}

static bool fail_at(struct json *j, const char *at, const char *what)
{
    j->p = at;
    return fail(j, ERR_SYNTAX, what);
}

bool json_fail(struct json *j, const char *what)
{
    return fail(j, ERR_SYNTAX, what);
}

static void space(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
}

// The next byte after white space, or 0 at the end (a 0 in the text begins nothing either).
static char ahead(struct json *j)
{
    space(j);
    return j->p < j->end ? *j->p : 0;
}

static bool digit(const char *p, const char *end)
{
    return p < end && (unsigned char)(*p - '0') < 10;
}

enum json_type json_peek(struct json *j)
{
    if (j->failed)
        return JSON_BAD;
    char c = ahead(j);
    switch (c) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        break;
    }
    if (j->p == j->end)
        return JSON_END;
    return c == '-' || digit(j->p, j->end) ? JSON_NUMBER : JSON_BAD;
}

// ---- objects and arrays ---------------------------------------------------------------------------------------------
static bool enter(struct json *j, char c, const char *what)
{
    if (j->failed)
        return false;
    if (ahead(j) != c)
        return fail(j, ERR_SYNTAX, what);
    if (j->depth >= MAX_JSON_DEPTH)
        return fail(j, ERR_LIMIT, "nested more than 128 deep");
    _Static_assert(MAX_JSON_DEPTH == 128, "the message says so");
    j->p++;
    j->depth++;
    j->fresh = true;
    return true;
}

bool json_object(struct json *j)
{
    return enter(j, '{', "expected an object");
}
bool json_array(struct json *j)
{
    return enter(j, '[', "expected an array");
}

// Steps to the next member or item: false at the closing bracket, which is consumed, or on failure.
static bool step(struct json *j, char close, const char *what)
{
    if (j->failed)
        return false;
    char c = ahead(j);
    if (c == close) {
        j->p++;
        j->depth--;
        j->fresh = false;
        return false;
    }
    if (j->fresh) {
        j->fresh = false;
        return j->p < j->end ? true : fail(j, ERR_SYNTAX, what);
    }
    if (c != ',')
        return fail(j, ERR_SYNTAX, what);
    j->p++;
    return ahead(j) != close ? true : fail(j, ERR_SYNTAX, "expected a value after ','");
}

bool json_next_item(struct json *j)
{
    return step(j, ']', "expected ',' or ']'");
}

bool json_next_key(struct json *j, struct slice *key)
{
    if (!step(j, '}', "expected ',' or '}'"))
        return false;
    if (ahead(j) != '"')
        return fail(j, ERR_SYNTAX, "expected '\"' and a key");
    if (!json_string(j, key))
        return false;
    if (ahead(j) != ':')
        return fail(j, ERR_SYNTAX, "expected ':' after the key");
    j->p++;
    return true;
}

// ---- strings --------------------------------------------------------------------------------------------------------
static int hex4(const char *p)
{
    uint8_t v[2];
    return hex_decode(v, 2, slice_of(p, 4)) ? v[0] << 8 | v[1] : -1;
}

// From the opening quote: finds the closing one, checking what stands between. *raw is the inside.
static bool scan_string(struct json *j, struct slice *raw, bool *escaped)
{
    const struct kernel *k = kernel();
    const char *from = j->p + 1, *p = from;
    *escaped = false;
    for (;;) {
        // Keys and short values end within eight bytes: cheaper than a call.
        uint64_t hit = j->end - p >= 8 ? swar_special(swar_load(p)) : 0;
        p = hit ? p + swar_first(hit) : k->json_special(p, j->end);
        if (p == j->end)
            return fail_at(j, p, "string not closed");
        if (*p == '"')
            break;
        if (*p != '\\')
            return fail_at(j, p, "control character in a string (must be escaped)");
        *escaped = true;
        if (++p == j->end)
            return fail_at(j, p, "string not closed");
        if (*p == 'u') {
            if (j->end - p < 5 || hex4(p + 1) < 0)
                return fail_at(j, p - 1, "expected 4 hex digits after \\u");
            p += 5;
        } else if (*p && strchr("\"\\/bfnrt", *p)) {
            p++;
        } else {
            return fail_at(j, p - 1, "unknown escape");
        }
    }
    *raw = slice_of(from, (size_t)(p - from));
    j->p = p + 1;
    return true;
}

// At a checked \u: the code point, with a surrogate pair joined and a lone surrogate replaced. *p moves behind it.
static uint32_t unescape_unicode(const char **p, const char *end)
{
    uint32_t cp = (uint32_t)hex4(*p + 2);
    *p += 6;
    if (cp < 0xd800 || cp > 0xdfff)
        return cp;
    if (cp < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = (uint32_t)hex4(*p + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *p += 6;
            return 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return 0xfffd;
}

// Copies what stands before the next backslash, returns its length. Eight bytes at a time while the source has them: runs
// between escapes are short. May write up to 7 bytes more than it says, never more than end - p.
static size_t plain_run(char *to, const char *p, const char *end)
{
    const char *from = p;
    for (; end - p >= 8; p += 8, to += 8) {
        uint64_t hit = swar_equal(swar_load(p), '\\');
        memcpy(to, p, 8);
        if (hit)
            return (size_t)(p - from) + swar_first(hit);
    }
    while (p < end && *p != '\\')
        *to++ = *p++;
    return (size_t)(p - from);
}

// raw is checked. The text is never longer than its escaped form.
static bool unescape(struct json *j, struct slice raw, struct slice *out)
{
    static const char plain[128] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    if (!j->arena)
        return fail(j, ERR_BUG, "escaped string, and no arena to unescape it into,");
    char *to = arena_alloc(j->arena, raw.n + 1), *o = to;
    if (!to)
        return fail(j, ERR_LIMIT, "memory budget used up by strings");
    const char *p = raw.p, *end = raw.p + raw.n;
    while (p < end) {
        size_t n = plain_run(o, p, end);
        o += n;
        p += n;
        if (p == end)
            break;
        if (p[1] == 'u') {
            o += utf8_encode(o, unescape_unicode(&p, end));
        } else {
            *o++ = plain[(unsigned char)p[1]];
            p += 2;
        }
    }
    *o = 0;
    *out = slice_of(to, (size_t)(o - to));
    return true;
}

bool json_string(struct json *j, struct slice *out)
{
    if (j->failed)
        return false;
    if (ahead(j) != '"')
        return fail(j, ERR_SYNTAX, "expected a string");
    struct slice raw;
    bool escaped;
    if (!scan_string(j, &raw, &escaped))
        return false;
    if (escaped)
        return unescape(j, raw, out);
    *out = raw;
    return true;
}

// ---- numbers and words ----------------------------------------------------------------------------------------------
// RFC 8259 §6: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
static bool number(struct json *j, struct slice *out, bool *integer)
{
    if (j->failed)
        return false;
    ahead(j);
    const char *from = j->p, *p = from, *end = j->end;
    p += p < end && *p == '-';
    if (!digit(p, end))
        return fail_at(j, p, p > from ? "expected a digit" : "expected a number");
    if (*p == '0' && digit(p + 1, end))
        return fail_at(j, p, "number begins with 0");
    while (digit(p, end))
        p++;
    *integer = true;
    if (p < end && *p == '.') {
        *integer = false;
        if (!digit(++p, end))
            return fail_at(j, p, "expected a digit after '.'");
        while (digit(p, end))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        *integer = false;
        p++;
        p += p < end && (*p == '+' || *p == '-');
        if (!digit(p, end))
            return fail_at(j, p, "expected a digit of the exponent");
        while (digit(p, end))
            p++;
    }
    *out = slice_of(from, (size_t)(p - from));
    j->p = p;
    return true;
}

bool json_number_text(struct json *j, struct slice *out)
{
    bool integer;
    return number(j, out, &integer);
}

// The text of a number, bare or in a string. *at is where it stands, for an error about its value.
static bool number_or_string(struct json *j, struct slice *text, const char **at)
{
    if (j->failed)
        return false;
    bool quoted = ahead(j) == '"';
    *at = j->p;
    return quoted ? json_string(j, text) : json_number_text(j, text);
}

// 1e3 and 2.0 are integers too.
static bool integral(struct slice text, double *v)
{
    return text.n && slice_to_f64(text, v) && *v == rint(*v) && fabs(*v) <= 0x1p53;
}

bool json_i64(struct json *j, int64_t *out)
{
    struct slice text;
    const char *at;
    double v;
    if (!number_or_string(j, &text, &at))
        return false;
    if (slice_to_i64(text, out))
        return true;
    if (!integral(text, &v))
        return fail_at(j, at, "expected an integer of 64 bits");
    *out = (int64_t)v;
    return true;
}

bool json_u64(struct json *j, uint64_t *out)
{
    struct slice text;
    const char *at;
    double v;
    if (!number_or_string(j, &text, &at))
        return false;
    if (slice_to_u64(text, out))
        return true;
    if (!integral(text, &v) || v < 0)
        return fail_at(j, at, "expected an integer of 64 bits, not negative,");
    *out = (uint64_t)v;
    return true;
}

bool json_f64(struct json *j, double *out)
{
    struct slice text;
    const char *at;
    if (!number_or_string(j, &text, &at))
        return false;
    return slice_to_f64(text, out) ? true : fail_at(j, at, "expected a number");
}

static bool word(struct json *j, const char *w)
{
    size_t n = strlen(w);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, w, n) != 0)
        return false;
    j->p += n;
    return true;
}

bool json_bool(struct json *j, bool *out)
{
    if (j->failed)
        return false;
    ahead(j);
    *out = word(j, "true");
    return *out || word(j, "false") ? true : fail(j, ERR_SYNTAX, "expected true or false");
}

bool json_null(struct json *j)
{
    if (j->failed)
        return false;
    ahead(j);
    return word(j, "null") ? true : fail(j, ERR_SYNTAX, "expected null");
}

// ---- whole values ---------------------------------------------------------------------------------------------------
static bool skip(struct json *j);

static bool skip_string(struct json *j)
{
    struct slice raw;
    bool escaped;
    return scan_string(j, &raw, &escaped);
}

static bool skip_object(struct json *j)
{
    json_object(j);
    while (step(j, '}', "expected ',' or '}'")) {
        if (ahead(j) != '"')
            return fail(j, ERR_SYNTAX, "expected '\"' and a key");
        if (!skip_string(j))
            return false;
        if (ahead(j) != ':')
            return fail(j, ERR_SYNTAX, "expected ':' after the key");
        j->p++;
        if (!skip(j))
            return false;
    }
    return !j->failed;
}

static bool skip_array(struct json *j)
{
    json_array(j);
    while (json_next_item(j))
        if (!skip(j))
            return false;
    return !j->failed;
}

// Recursion ends at MAX_JSON_DEPTH.
static bool skip(struct json *j)
{
    struct slice text;
    bool truth;
    switch (json_peek(j)) {
    case JSON_OBJECT:
        return skip_object(j);
    case JSON_ARRAY:
        return skip_array(j);
    case JSON_STRING:
        return skip_string(j);
    case JSON_NUMBER:
        return json_number_text(j, &text);
    case JSON_BOOL:
        return json_bool(j, &truth);
    case JSON_NULL:
        return json_null(j);
    case JSON_END:
        return fail(j, ERR_SYNTAX, "expected a value, found the end of the text,");
    case JSON_BAD:
        break;
    }
    return fail(j, ERR_SYNTAX, "expected a value");
}

bool json_skip(struct json *j, struct slice *raw)
{
    if (j->failed)
        return false;
    ahead(j);
    const char *from = j->p;
    if (!skip(j))
        return false;
    if (raw)
        *raw = slice_of(from, (size_t)(j->p - from));
    return true;
}

bool json_finish(struct json *j)
{
    if (j->failed)
        return false;
    space(j);
    return j->p == j->end ? true : fail(j, ERR_SYNTAX, "expected the end of the text");
}

// ---- base64 ---------------------------------------------------------------------------------------------------------
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool base64_decode(struct arena *a, struct slice text, struct slice *out)
{
    if (text.n % 4 == 0 && text.n && text.p[text.n - 1] == '=')
        text.n -= text.p[text.n - 2] == '=' ? 2 : 1;
    if (text.n % 4 == 1)
        return false;
    size_t n = text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0);
    uint8_t *to = arena_alloc(a, n);
    if (!to)
        return false;
    uint32_t bits = 0;
    size_t o = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = base64_value(text.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 == 0)
            continue;
        unsigned left = 6 - 2 * (unsigned)(i % 4); // bits of v that belong to the next byte
        to[o++] = (uint8_t)(bits >> left);
    }
    *out = slice_of(to, n);
    return true;
}
