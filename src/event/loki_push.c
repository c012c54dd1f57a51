// What the two encodings of a Loki push share: labels, limits, structured metadata.
#include "base/utf8.h"
#include "event/decode.h"
#include <stdio.h>

static void __attribute__((format(printf, 2, 3))) refuse(struct loki_stream *s, const char *fmt, ...)
{
    if (s->bad)
        return; // the first reason is the one to tell
    s->bad = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
}

static bool name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool name_inner(char c)
{
    return name_start(c) || (c >= '0' && c <= '9');
}

static bool good_name(struct slice s)
{
    if (!s.n || !name_start(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!name_inner(s.p[i]))
            return false;
    return true;
}

void loki_label(struct decode *d, struct loki_stream *s, struct slice name, struct slice value)
{
    if (s->bad)
        return;
    name = decode_text(d, name);
    value = decode_text(d, value);
    if (name.n > MAX_LABEL_NAME)
        refuse(s, "label name \"%.*s…\" is %zu bytes long, at most %d are allowed", decode_shown(name), name.p, name.n,
               MAX_LABEL_NAME);
    else if (!good_name(name))
        refuse(s, "label name \"%.*s\" is not valid; names are letters, digits and _, and do not start with a digit",
               decode_shown(name), name.p);
    else if (value.n > MAX_LABEL_VALUE)
        refuse(s, "value of label \"%.*s\" is %zu bytes long, at most %d are allowed", decode_shown(name), name.p, value.n,
               MAX_LABEL_VALUE);
    else if (s->n == MAX_STREAM_LABELS)
        refuse(s, "stream has more than %d labels; send the others as structured metadata", MAX_STREAM_LABELS);
    else
        s->labels[s->n++] = (struct label){name, value};
}

// ---- {a="b", c="d"} -------------------------------------------------------------------------------------------------

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

// n digits of a base behind an escape; false when they are not there.
static bool digits(struct slice *s, int n, unsigned base, uint32_t *out)
{
    *out = 0;
    if (s->n < (size_t)n)
        return false;
    for (int i = 0; i < n; i++) {
        int v = hex_digit(s->p[i]);
        if (v < 0 || (unsigned)v >= base)
            return false;
        *out = *out * base + (unsigned)v;
    }
    *s = slice_from(*s, (size_t)n);
    return true;
}

// One escape of Go's strings; *s stands behind the backslash. Returns bytes written, 0 for a bad escape.
static int unescape(struct slice *s, char *out)
{
    static const char from[] = "abfnrtv\\\"'", to[] = "\a\b\f\n\r\t\v\\\"'";
    if (!s->n)
        return 0;
    char c = s->p[0];
    const char *simple = memchr(from, c, sizeof from - 1);
    uint32_t v;
    if (simple) {
        *s = slice_from(*s, 1);
        *out = to[simple - from];
        return 1;
    }
    if (c >= '0' && c <= '7') {
        if (!digits(s, 3, 8, &v) || v > 255)
            return 0;
        *out = (char)v;
        return 1;
    }
    *s = slice_from(*s, 1);
    if (c == 'x') {
        if (!digits(s, 2, 16, &v))
            return 0;
        *out = (char)v;
        return 1;
    }
    if ((c != 'u' && c != 'U') || !digits(s, c == 'u' ? 4 : 8, 16, &v) || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    return utf8_encode(out, v);
}

// A quoted string at the start of *s; the result is in the arena when it had escapes.
static bool go_string(struct decode *d, struct slice *s, struct slice *out)
{
    if (!s->n || (s->p[0] != '"' && s->p[0] != '`'))
        return false;
    char quote = s->p[0];
    size_t end = 1;
    bool escaped = false;
    for (; end < s->n && s->p[end] != quote; end++)
        if (quote == '"' && s->p[end] == '\\') {
            escaped = true;
            end++;
        }
    if (end >= s->n)
        return false;
    struct slice in = slice_of(s->p + 1, end - 1);
    *s = slice_from(*s, end + 1);
    *out = in;
    if (!escaped)
        return true;
    char *to = arena_alloc(&d->b->arena, in.n); // no escape is longer than what it is written as
    if (!to) {
        d->b->failed = true;
        return false;
    }
    *out = slice_of(to, 0);
    while (in.n) {
        int n = 1;
        char c = in.p[0];
        in = slice_from(in, 1);
        if (c == '\\')
            n = unescape(&in, to + out->n);
        else
            to[out->n] = c;
        if (!n)
            return false;
        out->n += (size_t)n;
    }
    return true;
}

static void skip_space(struct slice *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t' || s->p[0] == '\n' || s->p[0] == '\r'))
        *s = slice_from(*s, 1);
}

static bool take(struct slice *s, char c)
{
    skip_space(s);
    if (!s->n || s->p[0] != c)
        return false;
    *s = slice_from(*s, 1);
    return true;
}

void loki_labels_text(struct decode *d, struct loki_stream *s, struct slice text)
{
    struct slice rest = text;
    size_t at;
    if (!take(&rest, '{'))
        goto bad;
    if (take(&rest, '}'))
        goto end;
    do {
        struct slice name = rest, value;
        skip_space(&name);
        size_t n = 0;
        while (n < name.n && !strchr("=,{}\" \t\r\n", name.p[n]))
            n++;
        rest = slice_from(name, n);
        name = slice_cut(name, n);
        if (!name.n || !take(&rest, '='))
            goto bad;
        skip_space(&rest);
        if (!go_string(d, &rest, &value))
            goto bad;
        loki_label(d, s, name, value);
    } while (take(&rest, ','));
    if (!take(&rest, '}'))
        goto bad;
end:
    skip_space(&rest);
    if (!rest.n)
        return;
bad:
    at = (size_t)(rest.p - text.p);
    text = decode_text(d, text);
    refuse(s, "labels cannot be read at byte %zu: %.*s", at, decode_shown(text), text.p);
}

// ---- streams and entries --------------------------------------------------------------------------------------------

static const struct label *find_label(const struct loki_stream *s, struct slice name)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (slice_eq(s->labels[i].name, name))
            return &s->labels[i];
    return NULL;
}

static struct slice service_of(const struct loki_stream *s)
{
    static const char *const names[] = {"service",
                                        "app",
                                        "application",
                                        "app_name",
                                        "name",
                                        "app_kubernetes_io_name",
                                        "container",
                                        "container_name",
                                        "k8s_container_name",
                                        "component",
                                        "workload",
                                        "job",
                                        "k8s_job_name"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct label *l = find_label(s, slice_str(names[i]));
        if (l)
            return l->value;
    }
    return SLICE("unknown_service");
}

void loki_stream_ready(struct decode *d, struct loki_stream *s)
{
    s->n = labels_sort(s->labels, s->n);
    if (!s->n)
        refuse(s, "stream has no labels; at least one is needed");
    if (s->bad)
        return;
    if (d->opt->discover_service && !find_label(s, SLICE("service_name"))) {
        s->labels[s->n] = (struct label){SLICE("service_name"), service_of(s)};
        s->n = labels_sort(s->labels, s->n + 1);
    }
    s->resource = batch_resource(d->b, s->labels, s->n, NULL, 0);
}

bool loki_entry(struct decode *d, struct loki_stream *s, int64_t time, struct slice line)
{
    if (s->bad) {
        s->refused++;
        return false;
    }
    if (line.n > MAX_LOG_LINE) {
        decode_reject(d, 1, "line of %zu bytes at time %lld is too long; at most %zu are allowed", line.n, (long long)time,
                      MAX_LOG_LINE);
        return false;
    }
    batch_row(d->b, time, s->resource);
    batch_field_str(d->b, FIELD_BODY, decode_text(d, line));
    return !d->b->failed;
}

void loki_stream_end(struct decode *d, struct loki_stream *s)
{
    if (s->bad && s->refused)
        decode_reject(d, s->refused, "%s", s->why);
    s->refused = 0;
}

// a.b → a_b, 9x → key_9x: the names that can stand in a query. One _ for each character that cannot.
static struct slice metadata_name(struct decode *d, struct slice name)
{
    if (good_name(name))
        return name;
    char *out = arena_alloc(&d->b->arena, name.n + 4);
    if (!out) {
        d->b->failed = true;
        return name;
    }
    size_t n = 0;
    if (name.p[0] >= '0' && name.p[0] <= '9') {
        memcpy(out, "key_", 4);
        n = 4;
    }
    while (name.n) {
        int len;
        utf8_decode(name, &len);
        out[n++] = len == 1 && name_inner(name.p[0]) ? name.p[0] : '_';
        name = slice_from(name, (size_t)len);
    }
    return slice_of(out, n);
}

bool loki_metadata(struct decode *d, struct loki_metadata *m, struct slice name, struct slice value)
{
    m->n++;
    m->bytes += name.n + value.n;
    if (m->n > MAX_METADATA_ENTRIES)
        decode_reject(d, 1, "entry has more than %d entries of structured metadata", MAX_METADATA_ENTRIES);
    else if (m->bytes > MAX_METADATA_BYTES)
        decode_reject(d, 1, "entry has more than %zu bytes of structured metadata", MAX_METADATA_BYTES);
    else if (!name.n)
        decode_reject(d, 1, "entry has structured metadata without a name");
    else {
        if (value.n) // as in Loki, an empty value is no value
            batch_set(d->b, COL_ATTR, metadata_name(d, name), (struct value){.kind = COL_STR, .s = decode_text(d, value)});
        return true;
    }
    batch_row_cancel(d->b);
    return false;
}
