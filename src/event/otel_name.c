#include "event/otel_name.h"

static bool letter(char c, bool colon)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (colon && c == ':');
}

void otel_name_clean(struct buf *out, struct slice s, bool colon)
{
    size_t start = out->n;
    if (s.n && s.p[0] >= '0' && s.p[0] <= '9')
        buf_char(out, '_');
    for (size_t i = 0; i < s.n; i++) {
        bool keep = letter(s.p[i], colon);
        if (keep || out->n == start || out->p[out->n - 1] != '_')
            buf_char(out, keep ? s.p[i] : '_');
    }
}

static const char units[] =
    "d\0days\0h\0hours\0min\0minutes\0s\0seconds\0ms\0milliseconds\0us\0microseconds\0ns\0nanoseconds\0"
    "By\0bytes\0KiBy\0kibibytes\0MiBy\0mebibytes\0GiBy\0gibibytes\0TiBy\0tibibytes\0KBy\0kilobytes\0"
    "MBy\0megabytes\0GBy\0gigabytes\0TBy\0terabytes\0m\0meters\0V\0volts\0A\0amperes\0J\0joules\0W\0watts\0"
    "g\0grams\0Cel\0celsius\0Hz\0hertz\0%\0percent\0$\0dollars\0";
static const char rates[] = "s\0second\0m\0minute\0min\0minute\0h\0hour\0d\0day\0w\0week\0mo\0month\0y\0year\0";

static struct slice word_of(const char *table, struct slice unit)
{
    for (const char *p = table; *p;) {
        const char *word = p + strlen(p) + 1;
        if (slice_eq(unit, slice_str(p)))
            return slice_str(word);
        p = word + strlen(word) + 1;
    }
    return unit;
}

void otel_unit_words(struct buf *out, struct slice unit, bool gauge)
{
    char text[OTEL_UNIT_MAX + 1];
    size_t n = 0, start = out->n;
    int depth = 0;
    for (size_t i = 0; i < unit.n && n < OTEL_UNIT_MAX; i++) {
        depth += unit.p[i] == '{';
        if (depth == 0)
            text[n++] = unit.p[i];
        depth -= unit.p[i] == '}' && depth > 0;
    }
    struct slice rest = slice_of(text, n), part = SLICE_NONE;
    if (slice_eq(rest, SLICE("1"))) {
        buf_str(out, gauge ? "ratio" : "");
        return;
    }
    if (n == 0 || !slice_split(&rest, '/', &part))
        return;
    otel_name_clean(out, word_of(units, part), false);
    if (rest.p && rest.n) {
        buf_str(out, out->n > start ? "_per_" : "per_");
        otel_name_clean(out, word_of(rates, rest), false);
    }
}

static bool ends_in(struct slice s, struct slice end)
{
    return s.n > end.n && memcmp(s.p + s.n - end.n, end.p, end.n) == 0 && s.p[s.n - end.n - 1] == '_';
}

void otel_metric_name(struct buf *name, struct slice metric, struct slice words, bool total)
{
    otel_name_clean(name, metric, true);
    if (total && ends_in(buf_slice(name), SLICE("total")))
        name->n -= 6;
    if (words.n && !ends_in(buf_slice(name), words) && !slice_eq(buf_slice(name), words)) {
        buf_char(name, '_');
        buf_add(name, words);
    }
    if (total)
        buf_str(name, "_total");
}
