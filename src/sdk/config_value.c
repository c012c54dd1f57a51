// Scalars of a configuration file: ${…}, and what a text without quotes is.
#include "sdk/config_model.h"
#include <ctype.h>
#include <stdlib.h>

static bool name_char(char c, bool first)
{
    return c == '_' || (first ? isalpha((unsigned char)c) : isalnum((unsigned char)c));
}

// s begins behind "${". Appends the value; returns the length up to and with the }, 0 when it is malformed.
static size_t reference(struct slice s, struct buf *out)
{
    char name[256];
    size_t at = slice_starts(s, SLICE("env:")) ? 4 : 0, from = at;
    while (at < s.n && name_char(s.p[at], at == from))
        at++;
    struct slice word = slice_of(s.p + from, at - from), otherwise = SLICE("");
    if (!word.n || word.n >= sizeof name)
        return 0;
    if (at + 1 < s.n && s.p[at] == ':' && s.p[at + 1] == '-') {
        at += 2;
        from = at;
        while (at < s.n && s.p[at] != '}' && s.p[at] != '\n')
            at++;
        otherwise = slice_of(s.p + from, at - from);
    }
    if (at >= s.n || s.p[at] != '}')
        return 0;
    memcpy(name, word.p, word.n);
    name[word.n] = 0;
    const char *v = getenv(name); // not a setting: any variable may be named
    buf_add(out, v && *v ? slice_str(v) : otherwise);
    return at + 1;
}

bool config_substitute(struct slice text, struct arena *arena, struct slice *out, bool *put, struct error *err)
{
    struct buf b;
    *put = false;
    *out = text;
    if (!memchr(text.p, '$', text.n))
        return true;
    buf_init(&b, CONFIG_TEXT_MAX);
    for (size_t i = 0; i < text.n; i++) {
        bool two = i + 1 < text.n;
        if (text.p[i] == '$' && two && text.p[i + 1] == '$') {
            buf_char(&b, '$');
            i++;
        } else if (text.p[i] == '$' && two && text.p[i + 1] == '{') {
            size_t n = reference(slice_from(text, i + 2), &b);
            if (!n) {
                buf_free(&b);
                ERR(err, SYNTAX, "\"%.*s\": write ${NAME}, ${env:NAME} or ${NAME:-default}, and $$ for a $",
                    (int)slice_cut(slice_from(text, i), 60).n, text.p + i);
                return false;
            }
            *put = true;
            i += n + 1;
        } else {
            buf_char(&b, text.p[i]);
        }
    }
    *out = arena_dup(arena, b.n ? buf_slice(&b) : SLICE(""));
    bool ok = b.err == ERR_OK && out->p;
    buf_free(&b);
    if (!ok)
        ERR(err, LIMIT, "a value is larger than %d bytes", CONFIG_TEXT_MAX);
    return ok;
}

static bool one_of(struct slice s, const char *words)
{
    struct slice rest = slice_str(words), one;
    while (rest.p && slice_split(&rest, ' ', &one))
        if (slice_eq(s, one))
            return true;
    return false;
}

static bool integer(struct slice s)
{
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    bool hex = s.n > 2 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'o');
    i = hex ? 2 : i;
    if (i == s.n)
        return false;
    for (; i < s.n; i++)
        if (hex && s.p[1] == 'x' ? !isxdigit((unsigned char)s.p[i]) : !isdigit((unsigned char)s.p[i]) || (hex && s.p[i] > '7'))
            return false;
    return true;
}

enum sonde_node_type config_scalar_type(struct slice s)
{
    double d;
    if (!s.n || one_of(s, "~ null Null NULL"))
        return SONDE_NODE_NULL;
    if (one_of(s, "true True TRUE false False FALSE"))
        return SONDE_NODE_BOOL;
    if (integer(s))
        return SONDE_NODE_INT;
    bool number = isdigit((unsigned char)s.p[0]) || (s.n > 1 && strchr("-+.", s.p[0]));
    if (number && slice_to_f64(s.p[0] == '+' ? slice_from(s, 1) : s, &d))
        return SONDE_NODE_F64;
    return one_of(s, ".inf -.inf +.inf .nan") ? SONDE_NODE_F64 : SONDE_NODE_STR;
}
