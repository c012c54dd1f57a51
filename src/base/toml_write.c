// A TOML tree back as text: paths for messages, values on one line.
#include "base/limits.h"
#include "base/toml_int.h"

#include <math.h>

static void put_quoted(struct slice s, struct buf *out)
{
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\u%04X", c);
            continue;
        }
        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        buf_char(out, (char)c);
    }
    buf_char(out, '"');
}

static void put_key(struct slice key, struct buf *out)
{
    bool bare = key.n > 0;
    for (size_t i = 0; i < key.n; i++)
        bare = bare && toml_is_bare((unsigned char)key.p[i]);
    if (bare)
        buf_add(out, key);
    else
        put_quoted(key, out);
}

void toml_path(const struct toml *t, struct buf *out)
{
    const struct toml *way[2 * MAX_TOML_DEPTH + 4];
    size_t n = 0;
    for (; t && t->parent && n < sizeof way / sizeof *way; t = t->parent)
        way[n++] = t;
    for (size_t i = n; i-- > 0;) {
        if (way[i]->parent->type == TOML_ARRAY) {
            size_t nth = 0;
            for (const struct toml *x = way[i]->parent->first; x != way[i]; x = x->next)
                nth++;
            buf_printf(out, "[%zu]", nth);
            continue;
        }
        if (i + 1 < n)
            buf_char(out, '.');
        put_key(way[i]->key, out);
    }
}

static void put_float(double v, struct buf *out)
{
    size_t from = out->n;
    if (!isfinite(v)) {
        buf_str(out, isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
        return;
    }
    buf_f64(out, v);
    if (!out->err && !memchr(out->p + from, '.', out->n - from) && !memchr(out->p + from, 'e', out->n - from))
        buf_str(out, ".0"); // else it would be an integer
}

static void put_time(const struct toml *t, struct buf *out)
{
    const struct toml_time *x = &t->time;
    if (t->type != TOML_LOCAL_TIME)
        buf_printf(out, "%04d-%02d-%02d", x->year, x->month, x->day);
    if (t->type == TOML_LOCAL_DATE)
        return;
    if (t->type != TOML_LOCAL_TIME)
        buf_char(out, 'T');
    buf_printf(out, "%02d:%02d:%02d", x->hour, x->minute, x->second);
    if (x->ns)
        buf_printf(out, ".%09u", (unsigned)x->ns);
    for (uint32_t ns = x->ns; ns && ns % 10 == 0 && !out->err; ns /= 10)
        out->n--;
    int off = x->offset < 0 ? -x->offset : x->offset;
    if (t->type == TOML_OFFSET_DATETIME && off == 0)
        buf_char(out, 'Z');
    else if (t->type == TOML_OFFSET_DATETIME)
        buf_printf(out, "%c%02d:%02d", x->offset < 0 ? '-' : '+', off / 60, off % 60);
}

void toml_print(const struct toml *t, struct buf *out)
{
    switch (t->type) {
    case TOML_STRING:
        put_quoted(t->text, out);
        break;
    case TOML_INTEGER:
        buf_i64(out, t->integer);
        break;
    case TOML_FLOAT:
        put_float(t->number, out);
        break;
    case TOML_BOOLEAN:
        buf_str(out, t->yes ? "true" : "false");
        break;
    case TOML_ARRAY:
    case TOML_TABLE:
        buf_char(out, t->type == TOML_ARRAY ? '[' : '{');
        for (const struct toml *x = t->first; x; x = x->next) {
            if (t->type == TOML_TABLE) {
                put_key(x->key, out);
                buf_str(out, " = ");
            }
            toml_print(x, out);
            if (x->next)
                buf_str(out, ", ");
        }
        buf_char(out, t->type == TOML_ARRAY ? ']' : '}');
        break;
    default:
        put_time(t, out);
    }
}
