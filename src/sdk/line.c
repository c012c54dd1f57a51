#include "sdk/line.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/utf8.h"
#include "sdk/value.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// ---- values ---------------------------------------------------------------------------------------------------------
static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
    "555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

// The text of that time in c->text, c->n bytes.
static void tell_time(struct line_clock *c, int64_t ns, bool local)
{
    int64_t second = c->second, rest = ns - second * 1000000000;
    if (!c->valid || rest < 0 || rest >= 1000000000 || c->local != local) {
        second = ns / 1000000000 - (ns % 1000000000 < 0);
        *c = (struct line_clock){.second = second, .valid = true, .local = local, .text = {0}};
        c->n = time_format(c->text, second * 1000000000, 6, local);
        rest = ns - second * 1000000000;
    }
    uint32_t us = (uint32_t)rest / 1000;
    char *p = c->text + 20; // behind "2026-01-15T08:30:12."
    memcpy(p, pairs + us / 10000 * 2, 2);
    memcpy(p + 2, pairs + us / 100 % 100 * 2, 2);
    memcpy(p + 4, pairs + us % 100 * 2, 2);
}

void line_time(struct buf *out, struct line_clock *c, int64_t ns, bool local)
{
    tell_time(c, ns, local);
    buf_put(out, c->text, (size_t)c->n);
}

// Decimals with up to six places, the common case, without the search for the shortest form.
static bool short_decimal(struct buf *out, double v)
{
    static const double scale[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    double a = fabs(v);
    if (!(a < 1e9) || (a < 1e-3 && a != 0))
        return false;
    for (int k = 0; k <= 6; k++) {
        double r = nearbyint(a * scale[k]);
        if (r / scale[k] != a)
            continue;
        uint64_t whole = (uint64_t)r, unit = (uint64_t)scale[k];
        if (signbit(v))
            buf_char(out, '-');
        buf_u64(out, whole / unit);
        buf_char(out, '.');
        if (k == 0)
            buf_char(out, '0');
        for (uint64_t rest = whole % unit, at = unit / 10; at; at /= 10)
            buf_char(out, (char)('0' + rest / at % 10));
        return true;
    }
    return false;
}

// Digits and exponent of the shortest form, laid out as Rust does: whole values keep ".0"; an exponent from 1e16 on and below
// `small`.
static void put_f64(struct buf *out, double v, double small)
{
    if (short_decimal(out, v))
        return;
    struct buf b;
    char digits[40];
    int n = 0, point = 0, exp = 0;
    bool seen = false;
    buf_init(&b, 256);
    buf_f64(&b, fabs(v));
    out->err = out->err == ERR_OK ? b.err : out->err;
    for (size_t i = 0; b.err == ERR_OK && i < b.n; i++) {
        char c = b.p[i];
        if (c == 'e' || c == 'E') {
            bool minus = i + 1 < b.n && b.p[i + 1] == '-';
            for (i++; i < b.n; i++)
                exp = b.p[i] >= '0' && b.p[i] <= '9' ? exp * 10 + (b.p[i] - '0') : exp;
            exp = minus ? -exp : exp;
        } else if (c == '.') {
            seen = true;
        } else if (n < 39 && (n || c != '0')) {
            digits[n++] = c;
            point += !seen;
        } else {
            point -= n == 0 && seen;
        }
    }
    // A whole number written out has its zeros among the digits.
    point += exp;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    buf_free(&b);
    if (signbit(v))
        buf_char(out, '-');
    double a = fabs(v);
    if (n == 0) {
        buf_str(out, "0.0");
    } else if (a >= 1e16 || a < small) {
        buf_char(out, digits[0]);
        if (n > 1)
            buf_char(out, '.');
        buf_put(out, digits + 1, (size_t)n - 1);
        buf_printf(out, "e%d", point - 1);
    } else if (point <= 0) {
        buf_str(out, "0.");
        for (int i = point; i < 0; i++)
            buf_char(out, '0');
        buf_put(out, digits, (size_t)n);
    } else {
        for (int i = 0; i < point; i++)
            buf_char(out, i < n ? digits[i] : '0');
        buf_char(out, '.');
        if (n > point)
            buf_put(out, digits + point, (size_t)(n - point));
        else
            buf_char(out, '0');
    }
}

static double as_f64(uint64_t u)
{
    double v;
    memcpy(&v, &u, 8);
    return v;
}

void line_json_key(struct buf *out, struct slice key)
{
    buf_put(out, ",\"", 2);
    json_escape(out, key);
    buf_put(out, "\":", 2);
}

void line_json_value(struct buf *out, enum sonde_type type, uint64_t u, struct slice s)
{
    switch (type) {
    case SONDE_TYPE_STR:
        buf_char(out, '"');
        json_escape(out, s);
        buf_char(out, '"');
        break;
    case SONDE_TYPE_INT:
        buf_i64(out, (int64_t)u);
        break;
    case SONDE_TYPE_UINT:
        buf_u64(out, u);
        break;
    case SONDE_TYPE_F64:
        if (isfinite(as_f64(u)))
            put_f64(out, as_f64(u), 1e-5);
        else
            buf_char(out, '0');
        break;
    case SONDE_TYPE_BOOL:
        buf_str(out, u ? "true" : "false");
        break;
    default:
        rec_value_json(out, type, u, s);
        break;
    }
}

struct slice line_message(struct buf *scratch, const struct site *site, const struct rec *rec)
{
    if (site->with_fields)
        return rec->v[0].absent ? SLICE("") : slice_of(rec->v[0].s.p ? rec->v[0].s.p : "", rec->v[0].s.n);
    if (!site->n_args)
        return SLICE_NONE;
    buf_reset(scratch);
    fmt_write(scratch, site, rec);
    if (scratch->err != ERR_OK)
        return site->message; // no memory: the format says more than nothing
    return scratch->n ? buf_slice(scratch) : SLICE("");
}

// ---- JSONL ----------------------------------------------------------------------------------------------------------
struct item {
    struct slice key;
    const struct field *field;      // of the span, or
    const struct line_extra *extra; // of the pipeline, or
    unsigned index;                 // a field of the record
};

static void put_item(struct buf *out, const struct line *l, const struct item *i)
{
    if (i->field) {
        buf_add(out, i->field->json);
        return;
    }
    line_json_key(out, i->key);
    if (i->extra)
        line_json_value(out, i->extra->type ? i->extra->type : SONDE_TYPE_INT, (uint64_t)i->extra->value, i->extra->text);
    else
        line_json_value(out, l->rec->v[i->index].type, l->rec->v[i->index].u, l->rec->v[i->index].s);
}

static unsigned insert(struct item *items, unsigned n, struct item it)
{
    unsigned at = 0;
    while (at < n && slice_cmp(items[at].key, it.key) < 0)
        at++;
    if (at < n && slice_eq(items[at].key, it.key))
        return n; // the first to come stays
    memmove(items + at + 1, items + at, (n - at) * sizeof *items);
    items[at] = it;
    return n + 1;
}

// The general way: everything sorted, collisions renamed.
static void members_slow(struct buf *out, const struct line *l, const struct field *span, uint32_t n_span)
{
    struct item items[SPAN_FIELDS_MAX + 8 + SONDE_FIELDS_MAX + 8];
    char names[REC_VALUES_MAX][256];
    unsigned n = 0;
    for (uint32_t i = 0; i < l->n_extra && i < 8; i++)
        n = insert(items, n, (struct item){.key = slice_str(l->extra[i].key), .extra = &l->extra[i]});
    for (uint32_t i = 0; i < n_span; i++)
        n = insert(items, n, (struct item){.key = span[i].key, .field = &span[i]});
    for (unsigned k = 0; l->rec && k < l->site->n_order; k++) {
        unsigned i = l->site->order[k];
        if (l->rec->v[i].absent)
            continue;
        struct item it = {.key = l->site->key[i], .index = i};
        unsigned before = n;
        n = insert(items, n, it);
        if (n == before) {
            int len = snprintf(names[i], sizeof names[i], "field.%.*s", (int)it.key.n, it.key.p);
            it.key = slice_of(names[i], len < (int)sizeof names[i] ? (size_t)len : sizeof names[i] - 1);
            n = insert(items, n, it);
        }
    }
    for (unsigned i = 0; i < n; i++)
        put_item(out, l, &items[i]);
}

enum { LINE_RENAMED = 1 << 30 }; // rank of a field that gave way to one of the span

// The fields of SONDE_LOG_ARRAY: too many to be inserted one by one.
struct many {
    struct slice key;
    const struct item *item;   // of the pipeline or the span, or
    const struct rec_value *v; // a packed field
    size_t rank;
};

static int by_key_and_rank(const void *a, const void *b)
{
    const struct many *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);
    return c ? c : (x->rank > y->rank) - (x->rank < y->rank);
}

static bool has_key(const struct item *items, unsigned n, struct slice key)
{
    for (unsigned i = 0; i < n; i++)
        if (slice_eq(items[i].key, key))
            return true;
    return false;
}

static void put_many(struct buf *out, const struct line *l, struct many *m, size_t n)
{
    qsort(m, n, sizeof *m, by_key_and_rank);
    for (size_t i = 0; i < n; i++) {
        if (i && slice_eq(m[i].key, m[i - 1].key))
            continue;
        if (m[i].item) {
            put_item(out, l, m[i].item);
            continue;
        }
        line_json_key(out, m[i].key);
        line_json_value(out, m[i].v->type, m[i].v->u, m[i].v->s);
    }
}

static void members_many(struct buf *out, const struct line *l, const struct field *span, uint32_t n_span)
{
    struct item items[SPAN_FIELDS_MAX + 8 + 8];
    unsigned n = 0;
    struct packed p;
    for (uint32_t i = 0; i < l->n_extra && i < 8; i++)
        n = insert(items, n, (struct item){.key = slice_str(l->extra[i].key), .extra = &l->extra[i]});
    for (uint32_t i = 0; i < n_span; i++)
        n = insert(items, n, (struct item){.key = span[i].key, .field = &span[i]});
    packed_read(&p, l->rec->v[1].s);
    struct many *m = mem_alloc((n + p.n) * sizeof *m + 1);
    struct buf names;
    buf_init(&names, LINE_MAX);
    size_t k = 0;
    for (unsigned i = 0; m && i < n; i++, k++)
        m[k] = (struct many){.key = items[i].key, .item = &items[i], .rank = k};
    // Names are remembered as offsets into memory that may move, then sorted out.
    for (size_t i = 0; m && i < p.n; i++) {
        struct packed_field *f = &p.field[i];
        if (f->replaced)
            continue;
        m[k] = (struct many){.key = f->key, .v = &f->v, .rank = k};
        if (has_key(items, n, f->key)) {
            m[k].key = slice_of((char *)(uintptr_t)(names.n + 1), f->key.n + 6);
            buf_str(&names, "field.");
            buf_add(&names, f->key);
            m[k].rank = k + LINE_RENAMED;
        }
        k++;
    }
    for (size_t i = 0; i < k; i++)
        if (m[i].rank >= LINE_RENAMED)
            m[i].key.p = names.p + ((uintptr_t)m[i].key.p - 1);
    if (m && names.err == ERR_OK && !p.failed)
        put_many(out, l, m, k);
    else
        out->err = ERR_NOMEM; // rather no line, which is counted, than one without its fields
    mem_free(m);
    buf_free(&names);
    packed_free(&p);
}

static void put_member(struct buf *out, const struct line *l, unsigned i)
{
    buf_add(out, l->site->json_key[i]);
    line_json_value(out, l->rec->v[i].type, l->rec->v[i].u, l->rec->v[i].s);
}

// Two sorted lists; false (and nothing usable written) when a key is in both.
static bool members_merge(struct buf *out, const struct line *l, const struct field *span, uint32_t n_span)
{
    uint32_t s = 0;
    for (unsigned k = 0; l->rec && k < l->site->n_order; k++) {
        unsigned i = l->site->order[k];
        if (l->rec->v[i].absent)
            continue;
        int c = 1;
        while (s < n_span && (c = slice_cmp(span[s].key, l->site->key[i])) < 0)
            buf_add(out, span[s++].json);
        if (s < n_span && c == 0)
            return false;
        put_member(out, l, i);
    }
    while (s < n_span)
        buf_add(out, span[s++].json);
    return true;
}

static void head_json(struct buf *out, const struct line *l)
{
    const struct site *s = l->site;
    if (!l->message.p) {
        buf_add(out, s->json_head);
        return;
    }
    if (s->json_place.n) {
        buf_add(out, s->json_place);
        buf_str(out, ",\"message\":\"");
        json_escape(out, l->message);
        buf_char(out, '"');
        return;
    }
    buf_printf(out, ",\"level\":\"%s\"", level_text(s->level));
    if (s->file.n) {
        buf_str(out, ",\"file\":\"");
        json_escape(out, s->file);
        buf_printf(out, "\",\"line\":%u", s->line);
    }
    buf_str(out, ",\"target\":\"");
    json_escape(out, s->target);
    buf_str(out, "\",\"message\":\"");
    json_escape(out, l->message);
    buf_char(out, '"');
}

// ---- the common line: no span, a fixed message, numbers and strings that need no escape, into room that is had once ----
enum { NUMBER_ROOM = 32, TIME_ROOM = 64 };

static unsigned digits_of(uint64_t v)
{
    unsigned n = 1;
    for (; v >= 10000; v /= 10000)
        n += 4;
    return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

static char *put_digits(char *p, uint64_t v)
{
    char *end = p + digits_of(v), *at = end;
    for (; v >= 100; v /= 100)
        memcpy(at -= 2, pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(at - 2, pairs + v * 2, 2);
    else
        at[-1] = (char)('0' + v);
    return end;
}

static char *put_integer(char *p, int64_t v)
{
    if (v < 0)
        *p++ = '-';
    return put_digits(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

// As put_f64 for decimals of up to six places; null for others.
static char *put_decimal(char *p, double v)
{
    static const double scale[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    double a = fabs(v), r = 0;
    int k = 0;
    if (!(a < 1e9) || (a < 1e-3 && a != 0))
        return NULL;
    for (; k <= 6; k++) {
        r = nearbyint(a * scale[k]);
        if (r / scale[k] == a)
            break;
    }
    if (k > 6)
        return NULL;
    uint64_t whole = (uint64_t)r, unit = (uint64_t)scale[k];
    if (signbit(v))
        *p++ = '-';
    p = put_digits(p, whole / unit);
    *p++ = '.';
    if (k == 0)
        *p++ = '0';
    uint64_t rest = whole % unit;
    for (int i = k; i-- > 0; rest /= 10)
        p[i] = (char)('0' + rest % 10);
    return p + k;
}

// Whether one of eight bytes does not stand in JSON as it is: below 0x20, a quote, a backslash, or not ASCII. Where a byte
// borrows, an earlier one is such a byte itself.
static inline bool special(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
    return (((w - ones * ' ') | (quote - ones) | (slash - ones) | w) & high) != 0;
}

static inline uint64_t load(const char *p, size_t n)
{
    uint64_t w = 0;
    memcpy(&w, p, n);
    return w;
}

// Up to seven bytes, spaces behind them.
static inline uint64_t load_short(const char *p, size_t n)
{
    uint64_t w = n >= 4   ? load(p, 4) | load(p + n - 4, 4) << (n - 4) * 8
                 : n >= 2 ? load(p, 2) | load(p + n - 2, 2) << (n - 2) * 8
                          : (uint8_t)p[0];
    return w | 0x2020202020202020u << n * 8;
}

// Copies text that stands in JSON as it is; null for other text. Some bytes behind it are written, too.
static char *put_ascii(char *p, struct slice s)
{
    uint64_t w;
    if (s.n < 8) {
        w = s.n ? load_short(s.p, s.n) : 0x2020202020202020u;
        memcpy(p, &w, 8);
        return special(w) ? NULL : p + s.n;
    }
    for (size_t i = 0; i + 8 <= s.n; i += 8) {
        w = load(s.p + i, 8);
        if (special(w))
            return NULL;
        memcpy(p + i, &w, 8);
    }
    w = load(s.p + s.n - 8, 8);
    memcpy(p + s.n - 8, &w, 8);
    return special(w) ? NULL : p + s.n;
}

static char *put_value(char *p, const struct rec_value *v)
{
    switch (v->type) {
    case SONDE_TYPE_STR:
        *p++ = '"';
        if ((p = put_ascii(p, v->s)))
            *p++ = '"';
        return p;
    case SONDE_TYPE_INT:
        return put_integer(p, (int64_t)v->u);
    case SONDE_TYPE_UINT:
        return put_digits(p, v->u);
    case SONDE_TYPE_F64:
        return put_decimal(p, as_f64(v->u));
    case SONDE_TYPE_BOOL:
        memcpy(p, v->u ? "true" : "false", v->u ? 4 : 5);
        return p + (v->u ? 4 : 5);
    default:
        return NULL;
    }
}

// False, and nothing written, when the line is not a common one.
static bool write_common(struct buf *out, const struct line_style *style, struct line_clock *clock, const struct line *l)
{
    const struct site *s = l->site;
    size_t room = TIME_ROOM + s->json_head.n;
    if (!l->rec || l->span || l->message.p || l->n_extra || s->with_fields || out->err != ERR_OK)
        return false;
    for (unsigned k = 0; k < s->n_order; k++)
        room += s->json_key[s->order[k]].n + l->rec->v[s->order[k]].s.n + NUMBER_ROOM;
    char *p = buf_reserve(out, room);
    if (!p)
        return false; // the other way says what is wrong
    memcpy(p, "{\"time\":\"", 9);
    tell_time(clock, l->time, style->local_tz);
    memcpy(p + 9, clock->text, sizeof clock->text);
    p += 9 + clock->n;
    *p++ = '"';
    memcpy(p, s->json_head.p, s->json_head.n);
    p += s->json_head.n;
    for (unsigned k = 0; k < s->n_order; k++) {
        unsigned i = s->order[k];
        if (l->rec->v[i].absent)
            continue;
        rec_copy(p, s->json_key[i].p, s->json_key[i].n);
        p = put_value(p + s->json_key[i].n, &l->rec->v[i]);
        if (!p)
            return false;
    }
    *p++ = '}';
    *p++ = '\n';
    out->n = (size_t)(p - out->p);
    return true;
}

static void write_json(struct buf *out, const struct line_style *style, struct line_clock *clock, const struct line *l)
{
    uint32_t n_span = 0;
    if (write_common(out, style, clock, l))
        return;
    const struct field *span = l->span ? span_items(l->span, &n_span) : NULL;
    buf_str(out, "{\"time\":\"");
    line_time(out, clock, l->time, style->local_tz);
    buf_char(out, '"');
    head_json(out, l);
    size_t mark = out->n;
    if (l->rec && l->site->with_fields) {
        members_many(out, l, span, n_span);
    } else if (l->n_extra || !members_merge(out, l, span, n_span)) {
        if (out->err == ERR_OK)
            out->n = mark;
        members_slow(out, l, span, n_span);
    }
    buf_put(out, "}\n", 2);
}

// ---- text -----------------------------------------------------------------------------------------------------------
// Escapes what could forge lines or drive a terminal: C0, DEL, C1. quoted: also " and \, as Rust's debug form.
static void put_text(struct buf *out, struct slice s, bool quoted)
{
    size_t from = 0;
    if (!utf8_valid(s)) {
        struct buf b;
        buf_init(&b, LINE_MAX);
        utf8_append_clean(&b, s);
        if (b.err == ERR_OK)
            put_text(out, buf_slice(&b), quoted);
        else
            out->err = out->err == ERR_OK ? b.err : out->err;
        buf_free(&b);
        return;
    }
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        bool c1 = c == 0xc2 && i + 1 < s.n && (uint8_t)s.p[i + 1] < 0xa0;
        bool plain = c >= 0x20 && c != 0x7f && !c1 && !(quoted && (c == '"' || c == '\\'));
        if (plain)
            continue;
        buf_put(out, s.p + from, i - from);
        if (c1)
            buf_printf(out, "\\u{%x}", (uint8_t)s.p[++i]);
        else if (c == '\n' || c == '\r' || c == '\t')
            buf_str(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (quoted && c)
            buf_printf(out, "\\u{%x}", c);
        else if (quoted)
            buf_str(out, "\\0");
        else
            buf_printf(out, "\\x%02x", c);
        from = i + 1;
    }
    if (from < s.n) // an empty one may have no place
        buf_put(out, s.p + from, s.n - from);
}

void line_text_value(struct buf *out, enum sonde_type type, uint64_t u, struct slice s)
{
    double v = as_f64(u);
    if (type == SONDE_TYPE_STR) {
        buf_char(out, '"');
        put_text(out, s, true);
        buf_char(out, '"');
    } else if (type == SONDE_TYPE_F64 && !isfinite(v)) {
        buf_str(out, isnan(v) ? "NaN" : v > 0 ? "inf" : "-inf");
    } else if (type == SONDE_TYPE_F64) {
        put_f64(out, v, 1e-4);
    } else if (type > SONDE_TYPE_BOOL) {
        rec_value_text(out, type, u, s);
    } else {
        line_json_value(out, type, u, s);
    }
}

static void put_pair(struct buf *out, bool color, const char *lead, struct slice key, enum sonde_type type, uint64_t u,
                     struct slice s)
{
    buf_str(out, lead);
    buf_str(out, color ? "\x1b[3m" : "");
    put_text(out, key, false);
    buf_str(out, color ? "\x1b[0m\x1b[2m=\x1b[0m" : "=");
    line_text_value(out, type, u, s);
}

// Root first.
static void put_chain(struct buf *out, bool color, const struct bspan *s)
{
    if (s->parent)
        put_chain(out, color, s->parent);
    buf_str(out, color ? "\x1b[1m" : "");
    put_text(out, s->name, false);
    buf_str(out, color ? "\x1b[0m:" : ":");
}

// What a span around it told already, key and value: request ids that children have from their parents.
static bool told_above(const struct bspan *s, const struct field *f)
{
    for (const struct bspan *p = s->parent; p; p = p->parent)
        for (uint32_t i = 0; i < p->n_fields; i++)
            if (slice_eq(p->field[i].key, f->key) && p->field[i].type == f->type && p->field[i].u == f->u &&
                slice_eq(p->field[i].s, f->s))
                return true;
    return false;
}

// A group a span, root first, dimmed as a whole (the first inner reset ends that, as it does in Dynamo's lines).
static void put_span_fields(struct buf *out, bool color, const struct bspan *s)
{
    if (s->parent)
        put_span_fields(out, color, s->parent);
    bool id = s->request_id.n && !(s->parent && s->parent->request_id.n); // once, where it entered this process
    const char *lead = color ? " \x1b[2m" : " ";
    bool any = id;
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (told_above(s, &s->field[i]))
            continue;
        put_pair(out, color, lead, s->field[i].key, s->field[i].type, s->field[i].u, s->field[i].s);
        any = true;
        lead = " ";
    }
    if (id)
        put_pair(out, color, lead, SLICE("x_request_id"), SONDE_TYPE_STR, 0, s->request_id);
    if (color && any)
        buf_str(out, "\x1b[0m");
}

static void put_packed(struct buf *out, bool color, struct slice fields)
{
    struct packed p;
    packed_read(&p, fields);
    for (size_t i = 0; i < p.n; i++)
        if (!p.field[i].replaced)
            put_pair(out, color, " ", p.field[i].key, p.field[i].v.type, p.field[i].v.u, p.field[i].v.s);
    if (p.failed)
        out->err = ERR_NOMEM;
    packed_free(&p);
}

static void write_text(struct buf *out, const struct line_style *style, struct line_clock *clock, const struct line *l)
{
    static const char *const colors[] = {"", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[34m", "\x1b[35m"};
    bool color = style->color;
    buf_str(out, color ? "\x1b[2m" : "");
    line_time(out, clock, l->time, style->local_tz);
    buf_str(out, color ? "\x1b[0m " : " ");
    const char *level = level_text(l->site->level);
    buf_str(out, color ? colors[l->site->level] : "");
    buf_printf(out, "%5s", level);
    buf_str(out, color ? "\x1b[0m " : " ");
    if (l->span && l->span->started) {
        put_chain(out, color, l->span);
        buf_char(out, ' ');
    }
    buf_str(out, color ? "\x1b[2m" : "");
    put_text(out, l->site->target, false);
    buf_str(out, color ? "\x1b[0m\x1b[2m:\x1b[0m " : ": ");
    put_text(out, l->message.p ? l->message : l->site->message, false);
    for (unsigned i = 0; l->rec && i < l->site->n; i++) {
        bool last = memchr(l->site->order, (int)i, l->site->n_order) != NULL; // a later field of the same name replaces it
        if (last && !l->rec->v[i].absent)
            put_pair(out, color, " ", l->site->key[i], l->rec->v[i].type, l->rec->v[i].u, l->rec->v[i].s);
    }
    if (l->rec && l->site->with_fields)
        put_packed(out, color, l->rec->v[1].s);
    for (uint32_t i = 0; i < l->n_extra; i++)
        put_pair(out, color, " ", slice_str(l->extra[i].key), l->extra[i].type ? l->extra[i].type : SONDE_TYPE_INT,
                 (uint64_t)l->extra[i].value, l->extra[i].text);
    if (l->span && l->span->started)
        put_span_fields(out, color, l->span);
    buf_char(out, '\n');
}

void line_write(struct buf *out, const struct line_style *style, struct line_clock *clock, const struct line *l)
{
    if (style->jsonl)
        write_json(out, style, clock, l);
    else
        write_text(out, style, clock, l);
}
