#include "event/metrics_line.h"

bool metrics_line_next(struct metrics_line *l, struct slice *rest)
{
    struct slice line;
    while (rest->p && slice_split(rest, '\n', &line)) {
        l->number++;
        while (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        l->p = line.p;
        l->end = line.p + line.n;
        metrics_line_blanks(l);
        if (l->p < l->end)
            return true;
    }
    return false;
}

void metrics_line_blanks(struct metrics_line *l)
{
    while (l->p < l->end && (*l->p == ' ' || *l->p == '\t'))
        l->p++;
}

bool metrics_line_is(const struct metrics_line *l, char c)
{
    return l->p < l->end && *l->p == c;
}

bool metrics_line_take(struct metrics_line *l, char c)
{
    bool there = metrics_line_is(l, c);
    l->p += there;
    return there;
}

struct slice metrics_line_word(struct metrics_line *l)
{
    const char *from = l->p;
    while (l->p < l->end && *l->p != ' ' && *l->p != '\t')
        l->p++;
    return slice_of(from, (size_t)(l->p - from));
}

static bool name_char(char c, bool first, bool colons)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && colons) ||
           (!first && c >= '0' && c <= '9');
}

struct slice metrics_line_name(struct metrics_line *l, bool colons)
{
    const char *from = l->p;
    while (l->p < l->end && name_char(*l->p, l->p == from, colons))
        l->p++;
    return slice_of(from, (size_t)(l->p - from));
}

bool metrics_line_quoted(struct metrics_line *l, struct slice *raw)
{
    if (!metrics_line_take(l, '"'))
        return false;
    const char *from = l->p;
    while (l->p < l->end && *l->p != '"')
        l->p += *l->p == '\\' && l->p + 1 < l->end ? 2 : 1;
    *raw = slice_of(from, (size_t)(l->p - from));
    return metrics_line_take(l, '"');
}

struct slice metrics_line_unescape(struct arena *a, struct slice raw, bool quotes)
{
    if (!raw.n || !memchr(raw.p, '\\', raw.n))
        return raw;
    char *to = arena_alloc(a, raw.n);
    size_t n = 0;
    if (!to)
        return SLICE_NONE;
    for (size_t i = 0; i < raw.n; i++) {
        char next = raw.p[i] == '\\' && i + 1 < raw.n ? raw.p[i + 1] : 0;
        if (next == '\\' || next == 'n' || (next == '"' && quotes)) {
            to[n++] = next == 'n' ? '\n' : next;
            i++;
        } else {
            to[n++] = raw.p[i];
        }
    }
    return slice_of(to, n);
}
