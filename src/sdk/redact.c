// What must not be shown: by name, and by the form of a text.
#include "base/limits.h"
#include "sdk/dump.h"
#include <ctype.h>

static const char parts[][12] = {"TOKEN",     "API_KEY",     "APIKEY",     "SECRET", "PASSWORD",
                                 "PASSWD",    "PASSPHRASE",  "CREDENTIAL", "AUTH",   "ACCESS_KEY",
                                 "ACCESSKEY", "PRIVATE_KEY", "PRIVATEKEY", "COOKIE", "HEADERS"};
// Taken out of a name before it is looked at.
static const char harmless[][12] = {"DETOKENIZE", "TOKENIZE", "AUTHORS", "AUTHOR_", "TOKENS"};
// Behind TOKEN: a number is no secret.
static const char counted[][8] = {"_ID", "_IDS", "_COUNT", "_LIMIT", "_LEN", "_LENGTH", "_SIZE", "_BUDGET", "_NUM"};

enum { NAME_MAX_LEN = 256 };

// Upper case, _ for every separator and where a small letter is followed by a capital.
static size_t normal(struct slice name, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < name.n && n + 3 < NAME_MAX_LEN; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (isupper(c) && i && islower((unsigned char)name.p[i - 1]))
            out[n++] = '_';
        out[n++] = isalnum(c) ? (char)toupper(c) : '_';
    }
    out[n] = 0;
    return n;
}

static bool number_text(struct slice v)
{
    double d;
    return slice_to_f64(slice_trim(v), &d);
}

static bool ends_counted(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++) {
        size_t k = strlen(counted[i]);
        if (n > k && strcmp(name + n - k, counted[i]) == 0)
            return true;
    }
    return false;
}

enum secrecy { OPEN, SECRET, SECRET_UNLESS_NUMBER };
static enum secrecy secrecy(const struct redact *r, struct slice name)
{
    char text[NAME_MAX_LEN], part[NAME_MAX_LEN];
    bool tokens = false;
    size_t n = normal(name, text);
    for (size_t i = 0; r->more && r->more[i]; i++)
        if (normal(slice_str(r->more[i]), part) && strstr(text, part))
            return SECRET;
    tokens = strstr(text, "TOKENS") || (strstr(text, "TOKEN") && ends_counted(text, n));
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        for (char *at; (at = strstr(text, harmless[i]));)
            memset(at, '.', strlen(harmless[i]));
    if (n >= 6 && strcmp(text + n - 6, "AUTHOR") == 0)
        memset(text + n - 6, '.', 6);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(text, parts[i]))
            return tokens && i == 0 ? SECRET_UNLESS_NUMBER : SECRET;
    return tokens ? SECRET_UNLESS_NUMBER : OPEN;
}

bool redact_name(const struct redact *r, struct slice name)
{
    return !r->off && secrecy(r, name) != OPEN;
}

// ---- by form --------------------------------------------------------------------------------------------------------
static bool key_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || c == '/' || c == '+' || c == '=';
}

// Length of what looks like a key at the start of s, 0 if nothing does; *keep of it is harmless.
static size_t key_at(struct slice s, size_t *keep)
{
    static const char marks[][12] = {"hf_",   "sk-",   "ghp_", "gho_",    "github_pat_", "nvapi-",
                                     "xoxb-", "xoxp-", "AKIA", "Bearer ", "bearer ",     "Basic "};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t k = strlen(marks[i]), n = k;
        if (s.n <= k || memcmp(s.p, marks[i], k) != 0)
            continue;
        while (n < s.n && key_char(s.p[n]))
            n++;
        *keep = marks[i][k - 1] == ' ' ? k : 0;
        if (n - k >= (*keep ? 8 : 14))
            return n;
    }
    return 0;
}

// "://user:password@": from the first : behind // to the last @ before the path. 0: none.
static size_t password_at(struct slice s, size_t *keep)
{
    size_t colon = 0, at = 0;
    if (s.n < 3 || memcmp(s.p, "://", 3) != 0)
        return 0;
    for (size_t i = 3; i < s.n && !strchr("/?# \t\n\"", s.p[i]); i++) {
        if (s.p[i] == ':' && !colon)
            colon = i;
        if (s.p[i] == '@')
            at = i;
    }
    *keep = colon + 1;
    return colon && at > colon ? at : 0;
}

// A signed token, header.payload.signature in base64: {" is eyJ there.
static size_t signed_at(struct slice s)
{
    size_t n = 0, dots = 0;
    if (!slice_starts(s, SLICE("eyJ")))
        return 0;
    for (; n < s.n && key_char(s.p[n]); n++)
        dots += s.p[n] == '.';
    return dots >= 2 && n >= 20 ? n : 0;
}

// A key in PEM, to its end or that of the text.
static size_t pem_at(struct slice s, size_t *keep)
{
    static const char begin[] = "-----BEGIN ", secret[] = "PRIVATE KEY-----", end[] = "-----END ";
    if (!slice_starts(s, SLICE("-----BEGIN ")))
        return 0;
    ptrdiff_t at = slice_find(slice_cut(s, sizeof begin + 32), slice_str(secret)), to = slice_find(s, slice_str(end));
    if (at < 0)
        return 0;
    *keep = (size_t)at + sizeof secret - 1;
    return to > at ? (size_t)to : s.n;
}

static size_t spaces(struct slice s, size_t from)
{
    while (from < s.n && (s.p[from] == ' ' || s.p[from] == '\t'))
        from++;
    return from;
}

static size_t until(struct slice s, size_t from, const char *any)
{
    while (from < s.n && !strchr(any, s.p[from]))
        from++;
    return from;
}

static bool told_openly(struct slice v) // a level of a filter, a switch
{
    static const char words[][6] = {"true",  "false", "null", "none",  "None",  "True",  "False", "on",   "off",   "yes",  "no",
                                    "error", "warn",  "info", "debug", "trace", "ERROR", "WARN",  "INFO", "DEBUG", "TRACE"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_eq(v, slice_str(words[i])))
            return true;
    return v.n == 0;
}

// name=value, name: value, "name": 'value', --name value within a text, where the name is one that is not shown.
static size_t pair_at(const struct redact *r, struct slice s, size_t *keep)
{
    size_t n = 0;
    while (n < s.n && n < NAME_MAX_LEN / 2 && (isalnum((unsigned char)s.p[n]) || strchr("_-.", s.p[n])))
        n++;
    struct slice name = slice_cut(s, n);
    if (n == 0 || n == s.n)
        return 0;
    bool option = slice_starts(s, SLICE("--"));
    n += s.p[n] == '"' || s.p[n] == '\'' || s.p[n] == '\\';
    size_t at = spaces(s, n), from = at;
    if (at < s.n && (s.p[at] == '=' || s.p[at] == ':'))
        from = spaces(s, at + 1);
    else if (!option || at == n || at == s.n || s.p[at] == '-')
        return 0;
    if (from >= s.n || slice_starts(slice_from(s, at), SLICE("://")) || slice_starts(slice_from(s, at), SLICE("::")))
        return 0;
    enum secrecy secret = secrecy(r, name);
    if (secret == OPEN)
        return 0;
    char quote[] = {s.p[from], 0};
    bool quoted = *quote == '"' || *quote == '\'', header = s.p[at] == ':' && from > at + 1;
    from += quoted;
    size_t to = until(s, from, quoted ? quote : header ? "\r\n\"',}" : " \t\r\n\"',;&})]");
    struct slice value = slice_of(s.p + from, to - from);
    *keep = from;
    return told_openly(value) || (secret == SECRET_UNLESS_NUMBER && number_text(value)) ? 0 : to;
}

static void by_form(const struct redact *r, struct slice v, struct buf *out)
{
    for (size_t i = 0, n, keep; i < v.n; i += n) {
        bool begins = i == 0 || !isalnum((unsigned char)v.p[i - 1]);
        keep = 0;
        n = begins ? key_at(slice_from(v, i), &keep) : 0;
        n = n || !begins ? n : signed_at(slice_from(v, i));
        n = n || !begins ? n : pem_at(slice_from(v, i), &keep);
        n = n || !begins || (i && strchr("_-.", v.p[i - 1])) ? n : pair_at(r, slice_from(v, i), &keep);
        n = n ? n : password_at(slice_from(v, i), &keep);
        if (n) {
            buf_put(out, v.p + i, keep);
            buf_str(out, DUMP_REDACTED);
        } else {
            buf_char(out, v.p[i]);
            n = 1;
        }
    }
}

void redact_text(const struct redact *r, struct slice name, struct slice value, struct buf *out)
{
    enum secrecy s = r->off ? OPEN : secrecy(r, name);
    struct error err;
    if (r->off)
        buf_add(out, value);
    else if (value.n && (s == SECRET || (s == SECRET_UNLESS_NUMBER && !number_text(value))))
        buf_str(out, DUMP_REDACTED);
    else if (!(value.n > 1 && (value.p[0] == '{' || value.p[0] == '[') && dump_sort(value, r, out, &err)))
        by_form(r, value, out);
}

// ---- command line ---------------------------------------------------------------------------------------------------
void redact_words(const struct redact *r, const char *words, size_t n, struct jw *w)
{
    struct buf b;
    struct slice before = SLICE_NONE; // an option whose value may be the next word
    buf_init(&b, DUMP_MAX);
    jw_arr(w);
    for (size_t i = 0; i < n;) {
        struct slice word = slice_of(words + i, strnlen(words + i, n - i));
        ptrdiff_t eq = slice_find(word, SLICE("="));
        bool option = word.n > 1 && word.p[0] == '-' && !number_text(word);
        struct slice name = slice_cut(word, eq > 0 ? (size_t)eq : word.n);
        i += word.n + 1;
        buf_reset(&b);
        if (eq > 0 && memchr(name.p, '{', name.n) == NULL && memchr(name.p, ' ', name.n) == NULL) {
            buf_put(&b, word.p, (size_t)eq + 1);
            redact_text(r, name, slice_from(word, (size_t)eq + 1), &b);
        } else {
            redact_text(r, option ? SLICE_NONE : before, word, &b);
        }
        jw_str(w, buf_slice(&b));
        before = option && eq < 0 ? word : SLICE_NONE;
    }
    jw_arr_end(w);
    buf_free(&b);
}
