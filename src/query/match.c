#include "query/match.h"
#include <stdlib.h>

void regex_list_free(struct regex_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        regex_free(l->r[i]);
    free(l->r);
    *l = (struct regex_list){0};
}

enum errc regex_keep(struct regex **out, struct slice pattern, bool anchored, struct regex_list *keep, struct error *err)
{
    if (keep->n == keep->cap) {
        size_t cap = keep->cap ? keep->cap * 2 : 8;
        struct regex **r = realloc(keep->r, cap * sizeof *r);
        if (!r)
            return ERR(err, NOMEM, "out of memory compiling a regular expression");
        keep->r = r;
        keep->cap = cap;
    }
    TRY(regex_new(out, pattern, anchored, err));
    keep->r[keep->n++] = *out;
    return ERR_OK;
}

enum errc matcher_init(struct matcher *m, enum match_op op, struct slice name, struct slice value, struct arena *a,
                       struct regex_list *keep, struct error *err)
{
    *m = (struct matcher){.name = name, .value = value, .op = op};
    if (op != MATCH_RE && op != MATCH_NRE)
        return ERR_OK;
    return regex_keep(&m->re, value, true, keep, err);
}

bool matcher_test(const struct matcher *m, struct slice value)
{
    switch (m->op) {
    case MATCH_EQ:
        return slice_eq(value, m->value);
    case MATCH_NE:
        return !slice_eq(value, m->value);
    case MATCH_RE:
        return regex_match(m->re, value);
    case MATCH_NRE:
        return !regex_match(m->re, value);
    }
    return false;
}

// ---- patterns -------------------------------------------------------------------------------------------------------

static bool name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

// Length of a <name> at s, or 0.
static size_t capture_at(struct slice s)
{
    if (s.n < 3 || s.p[0] != '<' || !name_char(s.p[1], true))
        return 0;
    size_t i = 2;
    while (i < s.n && name_char(s.p[i], false))
        i++;
    return i < s.n && s.p[i] == '>' ? i + 1 : 0;
}

struct pattern_piece *pattern_parse(struct slice text, struct arena *a, uint32_t *n, struct error *err)
{
    struct pattern_piece *out = arena_alloc(a, sizeof *out * (text.n + 1));
    if (!out) {
        ERR(err, NOMEM, "out of memory parsing a pattern");
        return NULL;
    }
    uint32_t k = 0;
    size_t from = 0;
    for (size_t i = 0; i < text.n;) {
        size_t len = capture_at(slice_from(text, i));
        if (!len) {
            i++;
            continue;
        }
        if (i > from)
            out[k++] = (struct pattern_piece){false, slice_of(text.p + from, i - from)};
        else if (k) {
            ERR(err, SYNTAX, "pattern \"%.*s\": two captures touch at byte %zu; put a literal between them", (int)text.n, text.p,
                i);
            return NULL;
        }
        out[k++] = (struct pattern_piece){true, slice_of(text.p + i + 1, len - 2)};
        i += len;
        from = i;
    }
    if (from < text.n)
        out[k++] = (struct pattern_piece){false, slice_from(text, from)};
    *n = k;
    return out;
}

// Loki's rule: a literal takes its first occurrence and nothing is tried again; <_> needs at least one character; the
// end must match, the start of a leading literal need not.
static bool pattern_like(const struct line_test *t, struct slice line)
{
    if (t->n == 1 && t->pieces[0].p) // no <_>: the whole line
        return slice_eq(t->pieces[0], line);
    struct slice rest = line;
    bool gap = false;
    for (uint32_t i = 0; i < t->n; i++) {
        struct slice lit = t->pieces[i];
        if (!lit.p) {
            gap = true;
            continue;
        }
        ptrdiff_t at = slice_find(rest, lit);
        if (at < 0 || (gap && at == 0))
            return false;
        rest = slice_from(rest, (size_t)at + lit.n);
        gap = false;
    }
    return gap ? rest.n > 0 : rest.n == 0;
}

static enum errc init_pattern(struct line_test *t, struct slice text, struct arena *a, struct error *err)
{
    uint32_t n = 0;
    struct pattern_piece *p = pattern_parse(text, a, &n, err);
    if (!p)
        return ERR_SYNTAX;
    t->kind = TEST_PATTERN;
    t->pieces = ARENA_ARRAY(a, struct slice, n + 1);
    if (!t->pieces)
        return ERR(err, NOMEM, "out of memory parsing a pattern");
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].capture && !slice_eq(p[i].text, SLICE("_")))
            return ERR(err, SYNTAX, "pattern filter \"%.*s\": the capture <%.*s> has a name; only <_> is allowed here",
                       (int)text.n, text.p, (int)p[i].text.n, p[i].text.p);
        t->pieces[i] = p[i].capture ? SLICE_NONE : p[i].text;
    }
    if (n == 0) { // the empty pattern: the empty line
        t->pieces[0] = SLICE("");
        n = 1;
    }
    t->n = n;
    return ERR_OK;
}

// ---- regular expressions that are literals --------------------------------------------------------------------------

static bool plain(struct slice s) // no character with a meaning
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("\\.+*?()|[]{}^$", s.p[i]) && s.p[i])
            return false;
    return true;
}

static struct slice strip_any(struct slice s) // .*lit.* asks what lit asks, on lines without newlines: only for searches
{
    while (s.n >= 2 && s.p[0] == '.' && s.p[1] == '*' && (s.n == 2 || (s.p[2] != '?' && s.p[2] != '+' && s.p[2] != '*')))
        s = slice_from(s, 2);
    while (s.n >= 2 && s.p[s.n - 1] == '*' && s.p[s.n - 2] == '.' && (s.n == 2 || s.p[s.n - 3] != '\\'))
        s.n -= 2;
    return s;
}

static bool literals(struct line_test *t, struct slice text, struct arena *a)
{
    size_t bars = 0;
    struct slice rest = text, part;
    while (slice_split(&rest, '|', &part)) {
        if (!plain(part))
            return false;
        bars++;
    }
    if (bars < 2 || bars > 16 || !(t->needles = ARENA_ARRAY(a, struct needle, bars)))
        return false;
    rest = text;
    for (uint32_t i = 0; slice_split(&rest, '|', &part); i++)
        t->needles[i] = needle_of(part);
    t->kind = TEST_ANY_LITERAL;
    t->n = (uint32_t)bars;
    return true;
}

static enum errc init_regex(struct line_test *t, struct slice text, struct arena *a, struct regex_list *keep, struct error *err)
{
    struct slice lit = strip_any(text);
    if (lit.n && plain(lit)) {
        t->kind = TEST_LITERAL;
        t->needle = needle_of(lit);
        return ERR_OK;
    }
    if (lit.n && literals(t, text, a))
        return ERR_OK;
    t->kind = TEST_REGEX;
    return regex_keep(&t->re, text, false, keep, err);
}

enum errc line_filter_init(struct line_filter *f, enum line_op op, const struct line_filter_text *texts, uint32_t n,
                           struct arena *a, struct regex_list *keep, struct error *err)
{
    *f = (struct line_filter){.negative = op == LINE_LACKS || op == LINE_DIFFERS || op == LINE_UNLIKE, .n = n};
    f->tests = ARENA_ARRAY(a, struct line_test, n);
    if (!f->tests)
        return ERR(err, NOMEM, "out of memory preparing a line filter");
    for (uint32_t i = 0; i < n; i++) {
        struct line_test *t = &f->tests[i];
        if (texts[i].ip) {
            if (op != LINE_CONTAINS && op != LINE_LACKS)
                return ERR(err, SYNTAX, "ip() goes with |= and != only");
            t->kind = TEST_IP;
            TRY(ip_range_parse(texts[i].text, &t->ip, err));
        } else if (op == LINE_CONTAINS || op == LINE_LACKS) {
            t->kind = TEST_LITERAL;
            t->needle = needle_of(texts[i].text);
        } else if (op == LINE_MATCHES || op == LINE_DIFFERS) {
            TRY(init_regex(t, texts[i].text, a, keep, err));
        } else {
            TRY(init_pattern(t, texts[i].text, a, err));
        }
    }
    return ERR_OK;
}

static bool test_line(const struct line_test *t, struct slice line)
{
    switch (t->kind) {
    case TEST_LITERAL:
        return needle_in(&t->needle, line);
    case TEST_ANY_LITERAL:
        for (uint32_t i = 0; i < t->n; i++)
            if (needle_in(&t->needles[i], line))
                return true;
        return false;
    case TEST_REGEX:
        return regex_match(t->re, line);
    case TEST_PATTERN:
        return pattern_like(t, line);
    case TEST_IP:
        return ip_line(&t->ip, line);
    }
    return false;
}

bool line_filter_test(const struct line_filter *f, struct slice line)
{
    bool any = false;
    for (uint32_t i = 0; i < f->n && !any; i++)
        any = test_line(&f->tests[i], line);
    return any != f->negative;
}
