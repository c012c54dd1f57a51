// Lines of the text forms: what the pages of registries, of meters and of engines have in common.
#include "sdk/metric.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// OpenMetrics' canonical numbers are Go's %g with a point: 0.0001, 1.0, 100000.0, 1e+06.
void metric_text_f64_om(struct buf *b, double v)
{
    if (!isfinite(v)) {
        buf_f64(b, v);
        return;
    }
    char text[40];
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*e", digits - 1, v);
    while (digits++ < 17 && strtod(text, NULL) != v); // no locale sets LC_NUMERIC to a comma where strtod and snprintf disagree
    char *e = strchr(text, 'e');
    int exponent = atoi(e + 1);
    if (exponent < -4 || exponent >= 6) {
        buf_str(b, text);
        return;
    }
    int decimals = digits - 2 - exponent;
    snprintf(text, sizeof text, "%.*f", decimals > 1 ? decimals : 1, v);
    buf_str(b, text);
}

void metric_text_label(struct buf *b, struct slice value)
{
    for (size_t i = 0, from = 0; i <= value.n; i++) {
        char c = i < value.n ? value.p[i] : 0;
        if (i < value.n && c != '\\' && c != '"' && c != '\n')
            continue;
        buf_put(b, value.p + from, i - from);
        from = i + 1;
        if (i < value.n)
            buf_put(b, c == '\n' ? "\\n" : c == '"' ? "\\\"" : "\\\\", 2);
    }
}

// ---- names on a page ------------------------------------------------------------------------------------------------
void metric_names_init(struct metric_names *t, enum sonde_exposition e)
{
    *t = (struct metric_names){.om = e == SONDE_EXPOSITION_OPENMETRICS};
    arena_init(&t->arena, MAX_METRIC_MEMORY);
}

void metric_names_free(struct metric_names *t)
{
    arena_free(&t->arena);
}

static struct slice *names_find(const struct metric_names *t, struct slice name)
{
    uint32_t at = (uint32_t)hash64(name.p, name.n) & (t->size - 1);
    while (t->slot[at].p && !slice_eq(t->slot[at], name))
        at = (at + 1) & (t->size - 1);
    return &t->slot[at];
}

static bool names_have(const struct metric_names *t, struct slice name)
{
    return t->size && names_find(t, name)->p;
}

// Without memory a name is not remembered: the page may have it twice then.
static void names_add(struct metric_names *t, struct slice name)
{
    if (2 * t->n >= t->size) {
        struct metric_names more = {.size = t->size ? 2 * t->size : 256};
        more.slot = ARENA_ARRAY(&t->arena, struct slice, more.size);
        if (!more.slot)
            return;
        for (uint32_t i = 0; i < t->size; i++)
            if (t->slot[i].p)
                *names_find(&more, t->slot[i]) = t->slot[i];
        t->slot = more.slot;
        t->size = more.size;
    }
    struct slice copy = arena_dup(&t->arena, name);
    if (copy.p) {
        *names_find(t, name) = copy;
        t->n++;
    }
}

bool metric_names_take(struct metric_names *t, struct slice name, bool counter, struct slice *shown)
{
    *shown = name;
    if (names_have(t, name))
        return false;
    if (t->om && counter && metric_text_ends(name, SLICE("total"))) {
        struct slice x = slice_cut(name, name.n - 6);
        if (!names_have(t, x)) {
            names_add(t, x);
            *shown = x;
        }
    }
    names_add(t, name);
    return true;
}

// ---- lines ----------------------------------------------------------------------------------------------------------
void metric_text_help(struct buf *b, struct slice name, struct slice help, bool om)
{
    buf_str(b, "# HELP ");
    buf_add(b, name);
    buf_char(b, ' ');
    for (size_t i = 0; i < help.n; i++) {
        char c = help.p[i];
        if (c == '\\' || c == '\n' || (c == '"' && om))
            buf_char(b, '\\');
        buf_char(b, c == '\n' ? 'n' : c == '\r' ? ' ' : c);
    }
    buf_char(b, '\n');
}

bool metric_text_ends(struct slice name, struct slice end)
{
    return end.n && name.n > end.n + 1 && name.p[name.n - end.n - 1] == '_' && memcmp(name.p + name.n - end.n, end.p, end.n) == 0;
}

void metric_text_type(struct buf *b, struct slice name, struct slice type, struct slice unit)
{
    buf_str(b, "# TYPE ");
    buf_add(b, name);
    buf_char(b, ' ');
    buf_add(b, type);
    buf_char(b, '\n');
    if (!metric_text_ends(name, unit))
        return;
    buf_str(b, "# UNIT ");
    buf_add(b, name);
    buf_char(b, ' ');
    buf_add(b, unit);
    buf_char(b, '\n');
}

void metric_text_start(struct buf *b, struct slice name, const char *suffix, struct slice labels, struct slice le)
{
    buf_add(b, name);
    buf_put(b, suffix, strlen(suffix));
    if (labels.n || le.n) {
        buf_char(b, '{');
        buf_add(b, labels);
        if (le.n) {
            buf_put(b, ",", labels.n > 0);
            buf_put(b, "le=\"", 4);
            buf_add(b, le);
            buf_char(b, '"');
        }
        buf_char(b, '}');
    }
    buf_char(b, ' ');
}

void metric_text_bucket(const struct metric_text_buckets *h, double le, uint64_t up_to)
{
    char text[64];
    struct buf bound = {.p = text, .cap = sizeof text, .max = sizeof text};
    if (h->om)
        metric_text_f64_om(&bound, le);
    else
        buf_f64(&bound, le);
    metric_text_start(h->b, h->name, "_bucket", h->labels, buf_slice(&bound));
    buf_u64(h->b, up_to);
}

void metric_text_bucket_line(void *arg, double le, uint64_t up_to)
{
    const struct metric_text_buckets *h = arg;
    metric_text_bucket(h, le, up_to);
    buf_char(h->b, '\n');
}

void metric_text_tail(const struct metric_text_buckets *h, double sum, uint64_t count, bool rising)
{
    if (h->om && (!rising || sum < 0))
        return;
    metric_text_start(h->b, h->name, "_sum", h->labels, SLICE_NONE);
    buf_f64(h->b, sum);
    buf_char(h->b, '\n');
    metric_text_start(h->b, h->name, "_count", h->labels, SLICE_NONE);
    buf_u64(h->b, count);
    buf_char(h->b, '\n');
}
