// | logfmt [--strict] [--keep-empty] [expressions]. Pairs are separated by white space; a value may be quoted. A pair
// that cannot be read is left out; with --strict it ends the line with LogfmtParserErr.
#include "base/utf8.h"
#include "query/stage.h"

struct logfmt_stage {
    struct stage stage;
    bool strict, keep_empty;
    const struct stage_expr *x;
    uint32_t n;
};

static bool blank(char c)
{
    return (unsigned char)c <= ' ';
}
static bool key_char(char c)
{
    return !blank(c) && c != '=' && c != '"';
}

enum pair { PAIR_OK, PAIR_END, PAIR_BAD };

static bool hex4(struct slice s, uint32_t *out)
{
    unsigned char b[2];
    if (s.n < 4 || !hex_decode(b, 2, slice_cut(s, 4)))
        return false;
    *out = (uint32_t)(b[0] << 8 | b[1]);
    return true;
}

// The inside of a quoted value with escapes → plain text. False on an escape that JSON does not know.
static bool unquote(struct arena *a, struct slice in, struct slice *out)
{
    char *o = arena_alloc(a, in.n + 1), *p = o;
    uint32_t cp, low;
    if (!o)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '\\') {
            *p++ = in.p[i];
            continue;
        }
        if (++i >= in.n)
            return false;
        static const char from[] = "\"\\/bfnrt'", to[] = "\"\\/\b\f\n\r\t'";
        const char *k = memchr(from, in.p[i], sizeof from - 1);
        if (k) {
            *p++ = to[k - from];
        } else if (in.p[i] == 'u' && hex4(slice_from(in, i + 1), &cp)) {
            i += 4;
            if (cp >= 0xD800 && cp < 0xDC00 && slice_starts(slice_from(in, i + 1), SLICE("\\u")) &&
                hex4(slice_from(in, i + 3), &low) && low >= 0xDC00 && low < 0xE000) {
                cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
                i += 6;
            } else if (cp >= 0xD800 && cp < 0xE000) {
                cp = 0xFFFD;
            }
            p += utf8_encode(p, cp);
        } else {
            return false;
        }
    }
    *out = slice_of(o, (size_t)(p - o));
    return true;
}

static enum pair quoted(struct slice *rest, struct slice *value, struct arena *a)
{
    size_t i = 1;
    bool escapes = false;
    while (i < rest->n && rest->p[i] != '"') {
        escapes |= rest->p[i] == '\\';
        i += rest->p[i] == '\\' ? 2 : 1;
    }
    if (i >= rest->n) { // never closed
        *rest = slice_from(*rest, rest->n);
        return PAIR_BAD;
    }
    *value = slice_of(rest->p + 1, i - 1);
    *rest = slice_from(*rest, i + 1);
    return !escapes || unquote(a, *value, value) ? PAIR_OK : PAIR_BAD;
}

static enum pair next_pair(struct slice *rest, struct slice *key, struct slice *value, struct arena *a)
{
    size_t i = 0;
    while (i < rest->n && blank(rest->p[i]))
        i++;
    *rest = slice_from(*rest, i);
    if (!rest->n)
        return PAIR_END;
    *value = slice_of("", 0);
    for (i = 0; i < rest->n && key_char(rest->p[i]);)
        i++;
    *key = slice_cut(*rest, i);
    bool good = i > 0 && utf8_valid(*key);
    *rest = slice_from(*rest, i);
    if (good && (!rest->n || blank(rest->p[0])))
        return PAIR_OK; // a key alone
    if (good && rest->p[0] == '=') {
        *rest = slice_from(*rest, 1);
        if (rest->n && rest->p[0] == '"')
            return quoted(rest, value, a);
        for (i = 0; i < rest->n && key_char(rest->p[i]);)
            i++;
        *value = slice_cut(*rest, i);
        *rest = slice_from(*rest, i);
        if (!rest->n || blank(rest->p[0]))
            return PAIR_OK;
    }
    for (i = 0; i < rest->n && !blank(rest->p[i]);) // the rest of the bad pair
        i++;
    *rest = slice_from(*rest, i);
    return PAIR_BAD;
}

static const struct stage_expr *wanted(const struct logfmt_stage *s, struct slice key, uint32_t *at)
{
    for (; *at < s->n; (*at)++)
        if (slice_eq(s->x[*at].path, key) || slice_eq(s->x[*at].label, key))
            return &s->x[(*at)++];
    return NULL;
}

static void take(const struct logfmt_stage *s, struct row *r, struct slice key, struct slice value)
{
    struct slice name = row_name(r->scratch, key, SLICE("_"));
    if (s->n == 0) {
        if (value.n || s->keep_empty)
            row_extract(r, name, value, true);
        return;
    }
    uint32_t at = 0;
    for (const struct stage_expr *x; (x = wanted(s, name, &at));)
        row_extract(r, x->label, value, false);
}

static bool logfmt_run(const struct stage *st, struct row *r)
{
    const struct logfmt_stage *s = (const struct logfmt_stage *)st;
    for (uint32_t i = 0; i < s->n; i++) { // a missing key is an empty label, unless the name is taken
        bool taken;
        row_get(r, s->x[i].label, &taken);
        if (!taken)
            row_extract(r, s->x[i].label, SLICE(""), false);
    }
    struct slice rest = r->line, key, value;
    for (enum pair p; (p = next_pair(&rest, &key, &value, r->scratch)) != PAIR_END;) {
        if (p == PAIR_OK) {
            take(s, r, key, value);
        } else if (s->strict) {
            row_fail(r, SLICE("LogfmtParserErr"), arena_printf(r->scratch, "not logfmt: byte %zu", (size_t)(rest.p - r->line.p)));
            break;
        }
    }
    return true;
}
static const struct stage_ops logfmt_ops = {.name = "logfmt", .parses = true, .labels = true, .run = logfmt_run};

enum errc stage_logfmt(const struct stage **out, struct stage_env *e, bool strict, bool keep_empty, const struct stage_expr *x,
                       uint32_t n)
{
    STAGE_NEW(e, struct logfmt_stage, &logfmt_ops);
    s->strict = strict;
    s->keep_empty = keep_empty;
    s->n = n;
    s->x = x;
    for (uint32_t i = 0; i < n; i++) {
        struct slice p = x[i].path;
        bool good = p.n > 0;
        for (size_t k = 0; k < p.n; k++)
            good &= (unsigned char)p.p[k] >= 0x80 || p.p[k] == '_' || (p.p[k] >= 'a' && p.p[k] <= 'z') ||
                    (p.p[k] >= 'A' && p.p[k] <= 'Z') || (k && p.p[k] >= '0' && p.p[k] <= '9');
        if (!good)
            return ERR(e->err, SYNTAX, "logfmt expression \"%.*s\": a key is letters, digits and _", (int)p.n, p.p);
    }
    return ERR_OK;
}
