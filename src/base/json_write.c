#include "base/json.h"
#include "base/kernel.h"
#include "base/utf8.h"
#include <math.h>

// s is valid UTF-8.
static void escape_valid(struct buf *b, struct slice s)
{
    const struct kernel *k = kernel();
    for (const char *p = s.p, *end = s.p + s.n; p < end; p++) {
        const char *at = k->json_special(p, end);
        buf_put(b, p, (size_t)(at - p));
        if (at == end)
            return;
        p = at;
        static const char shorts[32] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
        unsigned char c = (unsigned char)*p;
        char text[6] = {'\\', (char)c};
        if (c >= 0x20) {
            buf_put(b, text, 2);
        } else if (shorts[c]) {
            text[1] = shorts[c];
            buf_put(b, text, 2);
        } else {
            memcpy(text, "\\u00", 4);
            hex_encode(text + 4, p, 1);
            buf_put(b, text, 6);
        }
    }
}

void json_escape(struct buf *b, struct slice s)
{
    while (s.n) {
        size_t n = utf8_valid_prefix(s);
        escape_valid(b, slice_cut(s, n));
        s = slice_from(s, n);
        if (s.n == 0)
            return;
        buf_put(b, "\xef\xbf\xbd", 3);
        s = slice_from(s, utf8_invalid_part(s));
    }
}

static void before_value(struct jw *w)
{
    if (w->need_comma)
        buf_char(w->b, ',');
    w->need_comma = true;
}

static void open(struct jw *w, char c)
{
    before_value(w);
    buf_char(w->b, c);
    w->need_comma = false;
}

static void end(struct jw *w, char c)
{
    buf_char(w->b, c);
    w->need_comma = true;
}

void jw_obj(struct jw *w)
{
    open(w, '{');
}
void jw_obj_end(struct jw *w)
{
    end(w, '}');
}
void jw_arr(struct jw *w)
{
    open(w, '[');
}
void jw_arr_end(struct jw *w)
{
    end(w, ']');
}

void jw_key(struct jw *w, struct slice key)
{
    jw_str(w, key);
    buf_char(w->b, ':');
    w->need_comma = false;
}

void jw_str(struct jw *w, struct slice s)
{
    before_value(w);
    buf_char(w->b, '"');
    json_escape(w->b, s);
    buf_char(w->b, '"');
}

void jw_i64(struct jw *w, int64_t v)
{
    before_value(w);
    buf_i64(w->b, v);
}

void jw_u64(struct jw *w, uint64_t v)
{
    before_value(w);
    buf_u64(w->b, v);
}

void jw_f64(struct jw *w, double v)
{
    before_value(w);
    if (isfinite(v))
        buf_f64(w->b, v);
    else
        buf_put(w->b, "null", 4);
}

void jw_bool(struct jw *w, bool v)
{
    jw_raw(w, v ? SLICE("true") : SLICE("false"));
}
void jw_null(struct jw *w)
{
    jw_raw(w, SLICE("null"));
}

void jw_raw(struct jw *w, struct slice json)
{
    before_value(w);
    buf_add(w->b, json);
}

void jw_str_i64(struct jw *w, int64_t v)
{
    before_value(w);
    buf_char(w->b, '"');
    buf_i64(w->b, v);
    buf_char(w->b, '"');
}

void jw_str_u64(struct jw *w, uint64_t v)
{
    before_value(w);
    buf_char(w->b, '"');
    buf_u64(w->b, v);
    buf_char(w->b, '"');
}

void jw_hex(struct jw *w, const void *p, size_t n)
{
    before_value(w);
    buf_char(w->b, '"');
    buf_hex(w->b, p, n);
    buf_char(w->b, '"');
}

static void base64(char *to, const uint8_t *p, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; n; to += 4) {
        size_t take = n < 3 ? n : 3;
        uint32_t v = (uint32_t)p[0] << 16 | (take > 1 ? (uint32_t)p[1] << 8 : 0) | (take > 2 ? p[2] : 0);
        to[0] = letters[v >> 18];
        to[1] = letters[v >> 12 & 63];
        to[2] = take > 1 ? letters[v >> 6 & 63] : '=';
        to[3] = take > 2 ? letters[v & 63] : '=';
        p += take;
        n -= take;
    }
}

void jw_base64(struct jw *w, struct slice bytes)
{
    before_value(w);
    size_t n = (bytes.n / 3 + (bytes.n % 3 != 0)) * 4;
    char *to = buf_reserve(w->b, n + 2);
    if (!to)
        return;
    to[0] = '"';
    base64(to + 1, (const uint8_t *)bytes.p, bytes.n);
    to[n + 1] = '"';
    w->b->n += n + 2;
}
