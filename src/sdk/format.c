#include "sdk/format.h"
#include "sdk/site.h"
#include <stdio.h>
#include <wchar.h>

// ---- taking apart ---------------------------------------------------------------------------------------------------
enum { NONE = -1, STAR = -2 };

struct spec {
    char flags[8];
    int width, precision;         // NONE, STAR or the number
    unsigned width_arg, prec_arg; // where the stars' numbers stand
    unsigned arg;                 // index of the value
    char mod;                     // 0, h, H (hh), l, q (ll), j, z, t, L
    char conv;                    // 0: the format ends in the middle
};
struct cursor {
    const char *p, *end;
    unsigned next; // argument of the next specification without a number
};

static int number(struct cursor *c)
{
    int v = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        v = v < FMT_WIDTH_MAX ? v * 10 + (*c->p - '0') : v;
    return v < FMT_WIDTH_MAX ? v : FMT_WIDTH_MAX;
}

// "3$" → its index; otherwise nothing is consumed.
static bool position(struct cursor *c, unsigned *index)
{
    const char *from = c->p;
    int v = number(c);
    if (v > 0 && c->p < c->end && *c->p == '$') {
        c->p++;
        *index = (unsigned)v - 1;
        return true;
    }
    c->p = from;
    return false;
}

static int width(struct cursor *c, unsigned *arg)
{
    if (c->p < c->end && *c->p == '*') {
        c->p++;
        if (!position(c, arg))
            *arg = c->next++;
        return STAR;
    }
    return c->p < c->end && *c->p >= '0' && *c->p <= '9' ? number(c) : NONE;
}

static char modifier(struct cursor *c)
{
    char m = c->p < c->end && strchr("hlqjztL", *c->p) ? *c->p++ : 0;
    if ((m == 'h' || m == 'l') && c->p < c->end && *c->p == m) {
        c->p++;
        m = m == 'h' ? 'H' : 'q';
    }
    return m;
}

// Behind a '%'.
static struct spec take(struct cursor *c)
{
    struct spec s = {.width = NONE, .precision = NONE};
    bool given = position(c, &s.arg);
    for (size_t n = 0; c->p < c->end && *c->p && strchr("-+ #0'I", *c->p); c->p++)
        if (n < sizeof s.flags - 1 && !strchr(s.flags, *c->p) && *c->p != 'I')
            s.flags[n++] = *c->p;
    s.width = width(c, &s.width_arg);
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        s.precision = width(c, &s.prec_arg);
        s.precision = s.precision == NONE ? 0 : s.precision;
    }
    s.mod = modifier(c);
    s.conv = c->p < c->end ? *c->p++ : 0;
    if (s.conv == 'C' || s.conv == 'S') {
        s.mod = 'l';
        s.conv = s.conv == 'C' ? 'c' : 's';
    }
    if (!given && s.conv && s.conv != '%' && s.conv != 'm')
        s.arg = c->next++;
    return s;
}

bool fmt_scan(struct slice format, struct fmt_arg *args, unsigned n)
{
    bool with_errno = false;
    struct cursor c = {format.p, format.p + format.n, 0};
    for (unsigned i = 0; i < n; i++)
        args[i] = (struct fmt_arg){.precision = FMT_NO_PRECISION};
    while (c.p && (c.p = memchr(c.p, '%', (size_t)(c.end - c.p)))) {
        c.p++;
        struct spec s = take(&c);
        with_errno = with_errno || s.conv == 'm';
        if (s.arg >= n || s.conv == 'm' || s.conv == '%')
            continue;
        args[s.arg].pointer = s.conv == 'p';
        args[s.arg].wide = s.conv == 's' && s.mod == 'l';
        if (s.conv == 's')
            args[s.arg].precision = s.precision == STAR ? FMT_PRECISION_OF - (int)s.prec_arg : s.precision;
    }
    return with_errno;
}

// ---- making text ----------------------------------------------------------------------------------------------------
struct values {
    const struct rec_value *v;
    unsigned n;
    int64_t error;
};

static int star(const struct values *a, unsigned at)
{
    int64_t v = at < a->n ? (int)a->v[at].u : 0;
    return (int)(v > FMT_WIDTH_MAX ? FMT_WIDTH_MAX : v < -FMT_WIDTH_MAX ? -FMT_WIDTH_MAX : v);
}

static int64_t as_signed(char mod, uint64_t u)
{
    return mod == 0 ? (int)u : mod == 'h' ? (short)u : mod == 'H' ? (signed char)u : (int64_t)u;
}
static uint64_t as_unsigned(char mod, uint64_t u)
{
    return mod == 0 ? (unsigned)u : mod == 'h' ? (unsigned short)u : mod == 'H' ? (unsigned char)u : u;
}

static void put_padded(struct buf *out, const struct spec *s, struct slice text)
{
    size_t pad = s->width > 0 && (size_t)s->width > text.n ? (size_t)s->width - text.n : 0;
    bool left = strchr(s->flags, '-');
    for (size_t i = 0; !left && i < pad; i++)
        buf_char(out, ' ');
    buf_add(out, text);
    for (size_t i = 0; left && i < pad; i++)
        buf_char(out, ' ');
}

static void put_string(struct buf *out, const struct spec *s, const struct rec_value *v)
{
    struct slice text = v->absent ? SLICE("(null)") : v->s;
    if (s->precision >= 0 && s->mod != 'l')
        text = slice_cut(text, (size_t)s->precision);
    put_padded(out, s, text);
}

// UTF-8 of one code point.
static void put_wide(struct buf *out, const struct spec *s, uint32_t c)
{
    char b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (char)c;
    } else if (c < 0x800) {
        b[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        b[n++] = (char)(0xe0 | c >> 12);
        b[n++] = (char)(0x80 | (c >> 6 & 63));
    } else {
        b[n++] = (char)(0xf0 | (c >> 18 & 7));
        b[n++] = (char)(0x80 | (c >> 12 & 63));
        b[n++] = (char)(0x80 | (c >> 6 & 63));
    }
    if (c >= 0x80)
        b[n++] = (char)(0x80 | (c & 63));
    put_padded(out, s, slice_of(b, n));
}

// The specification for the C library, which knows all about digits. conv: with its length modifier.
static void spell(char *to, size_t n, const struct spec *s, const char *conv)
{
    int k = snprintf(to, n, "%%%s", s->flags);
    if (s->width >= 0)
        k += snprintf(to + k, n - (size_t)k, "%d", s->width);
    if (s->precision >= 0)
        k += snprintf(to + k, n - (size_t)k, ".%d", s->precision);
    snprintf(to + k, n - (size_t)k, "%s", conv);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void put_number(struct buf *out, const struct spec *s, uint64_t u)
{
    char spec[40], conv[4] = {'l', 'l', s->conv, 0};
    double f;
    bool plain = !s->flags[0] && s->width < 0 && s->precision < 0;
    switch (s->conv) {
    case 'd':
    case 'i':
        if (plain) {
            buf_i64(out, as_signed(s->mod, u));
            return;
        }
        spell(spec, sizeof spec, s, conv);
        buf_printf(out, spec, (long long)as_signed(s->mod, u));
        return;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        if (plain && s->conv == 'u') {
            buf_u64(out, as_unsigned(s->mod, u));
            return;
        }
        spell(spec, sizeof spec, s, conv);
        buf_printf(out, spec, (unsigned long long)as_unsigned(s->mod, u));
        return;
    default:
        memcpy(&f, &u, 8);
        spell(spec, sizeof spec, s, conv + 2);
        buf_printf(out, spec, f);
        return;
    }
}
#pragma GCC diagnostic pop

static void put_pointer(struct buf *out, const struct spec *s, const struct rec_value *v)
{
    char text[32];
    if (v->type == SONDE_TYPE_STR)
        put_padded(out, s, v->s);
    else if (!v->u)
        put_padded(out, s, SLICE("(nil)"));
    else
        put_padded(out, s, slice_of(text, (size_t)snprintf(text, sizeof text, "0x%llx", (unsigned long long)v->u)));
}

static void put_value(struct buf *out, const struct spec *s, const struct values *a)
{
    const struct rec_value *v = &a->v[s->arg];
    bool number = v->type == SONDE_TYPE_INT || v->type == SONDE_TYPE_UINT || v->type == SONDE_TYPE_BOOL;
    if (s->conv == 'p')
        put_pointer(out, s, v);
    else if (s->conv == 's' && v->type == SONDE_TYPE_STR)
        put_string(out, s, v);
    else if (s->conv == 'c' && number && s->mod == 'l')
        put_wide(out, s, (uint32_t)v->u);
    else if (s->conv == 'c' && number)
        put_padded(out, s, slice_of(&(char){(char)v->u}, 1));
    else if (strchr("diuxXo", s->conv) && number)
        put_number(out, s, v->u);
    else if (strchr("fFeEgGaA", s->conv) && v->type == SONDE_TYPE_F64)
        put_number(out, s, v->u);
    else if (s->conv != 'n')
        buf_char(out, '?'); // a call that the compiler warned of
}

static void put_spec(struct buf *out, struct spec *s, const struct values *a)
{
    if (s->width == STAR && (s->width = star(a, s->width_arg)) < 0) {
        s->width = -s->width;
        if (!strchr(s->flags, '-'))
            s->flags[strlen(s->flags)] = '-';
    }
    if (s->precision == STAR && (s->precision = star(a, s->prec_arg)) < 0)
        s->precision = NONE;
    if (s->conv == '%') {
        buf_char(out, '%');
    } else if (s->conv == 'm') {
        char text[128];
        struct slice message = slice_str(strerror_r((int)a->error, text, sizeof text));
        put_padded(out, s, s->precision >= 0 ? slice_cut(message, (size_t)s->precision) : message);
    } else if (s->conv && s->arg < a->n) {
        put_value(out, s, a);
    }
}

void fmt_write(struct buf *out, const struct site *site, const struct rec *rec)
{
    struct values a = {rec->v, site->n_args, site->with_errno ? (int64_t)rec->v[rec->n - 1].u : 0};
    struct cursor c = {site->message.p, site->message.p + site->message.n, 0};
    while (c.p < c.end) {
        const char *percent = memchr(c.p, '%', (size_t)(c.end - c.p));
        buf_put(out, c.p, (size_t)((percent ? percent : c.end) - c.p));
        if (!percent)
            break;
        c.p = percent + 1;
        struct spec s = take(&c);
        put_spec(out, &s, &a);
    }
}
