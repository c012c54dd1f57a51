#include "sdk/site.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/utf8.h"

const char *level_text(unsigned level)
{
    static const char *const words[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
    return words[level < 6 ? level : 5];
}

bool site_reserved(struct slice key)
{
    static const char *const names[] = {"time",    "level",     "file",     "line",      "target",    "message",
                                        "span_id", "span_name", "trace_id", "parent_id", "tracestate"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq(key, slice_str(names[i])))
            return true;
    return false;
}

static struct slice relative(const char *path)
{
    struct slice s = slice_str(path);
    while (slice_starts(s, SLICE("../")) || slice_starts(s, SLICE("./")))
        s = slice_from(s, s.p[1] == '.' ? 3 : 2);
    return s;
}

static struct slice last_two_parts(struct slice s)
{
    size_t at = s.n, parts = 0;
    while (at > 1 && !(s.p[at - 1] == '/' && ++parts == 2))
        at--;
    return slice_from(s, at);
}

void site_target(struct buf *out, const char *text)
{
    struct slice s = relative(text);
    if (s.n && s.p[0] == '/')
        s = last_two_parts(s);
    const char *slash = s.p ? memrchr(s.p, '/', s.n) : NULL;
    const char *dot = s.p ? memrchr(s.p, '.', s.n) : NULL;
    // A target given by the application ("worker.main", "a::b") stays as it is; only source files lose their ending.
    static const char *const endings[] = {".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".hh", ".inc"};
    for (size_t i = 0; dot && dot > s.p && dot > slash && i < sizeof endings / sizeof *endings; i++) {
        if (slice_eq(slice_of(dot, (size_t)(s.p + s.n - dot)), slice_str(endings[i]))) {
            s.n = (size_t)(dot - s.p);
            break;
        }
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '/')
            buf_str(out, "::");
        else
            buf_char(out, s.p[i]);
    }
}

// ---- dictionary entries ---------------------------------------------------------------------------------------------
static void put_u16str(struct buf *b, struct slice s)
{
    uint16_t n = (uint16_t)(s.n < 4000 ? s.n : 4000);
    buf_put(b, &n, 2);
    buf_put(b, s.p, n);
}

void site_encode(struct buf *out, const struct sonde_site *s, uint32_t number)
{
    struct buf target;
    buf_init(&target, KIB(8));
    site_target(&target, s->target ? s->target : "");
    size_t at = out->n;
    struct fmt_arg args[SONDE_FIELDS_MAX];
    bool with_errno = s->n_args && fmt_scan(slice_str(s->message), args, s->n_args);
    uint32_t words[3] = {0, number, s->line};
    uint8_t bytes[4] = {s->level, (uint8_t)(s->n_fields + with_errno), s->is_span & 1, s->n_args};
    buf_put(out, words, 12);
    buf_put(out, bytes, 4);
    put_u16str(out, buf_slice(&target));
    put_u16str(out, relative(s->file ? s->file : ""));
    put_u16str(out, slice_str(s->message ? s->message : ""));
    for (unsigned i = 0; i < s->n_fields; i++) {
        // Wide strings, and strings of which only the address is asked for, go as text.
        bool text = i < s->n_args && (args[i].wide || (args[i].pointer && s->types[i] == SONDE_TYPE_STR));
        buf_char(out, (char)(text ? SONDE_TYPE_STR : s->types[i]));
        put_u16str(out, slice_str(s->keys[i]));
    }
    if (with_errno) {
        buf_char(out, SONDE_TYPE_INT);
        put_u16str(out, SLICE_NONE);
    }
    while (out->n % 4)
        buf_char(out, 0);
    uint32_t size = (uint32_t)(out->n - at);
    if (out->err == ERR_OK)
        out->err = target.err;
    if (out->err == ERR_OK)
        memcpy(out->p + at, &size, 4);
    buf_free(&target);
}

static bool take_u16str(struct slice *in, struct slice *out)
{
    uint16_t n;
    if (in->n < 2)
        return false;
    memcpy(&n, in->p, 2);
    if (in->n - 2 < n)
        return false;
    *out = slice_of(in->p + 2, n);
    *in = slice_from(*in, 2 + (size_t)n);
    return true;
}

static struct slice clean(struct buf *b, struct slice s)
{
    size_t at = b->n;
    utf8_append_clean(b, s);
    return slice_of((char *)(uintptr_t)at, b->n - at); // an offset until the buffer has stopped growing
}

static struct slice json_key(struct buf *b, struct slice key)
{
    size_t at = b->n;
    buf_str(b, ",\"");
    json_escape(b, key);
    buf_str(b, "\":");
    return slice_of((char *)(uintptr_t)at, b->n - at);
}

static void json_member(struct buf *b, const char *key, struct slice value)
{
    buf_printf(b, ",\"%s\":\"", key);
    json_escape(b, value);
    buf_char(b, '"');
}

static void json_head(struct buf *b, struct site *s, struct slice target, struct slice file, struct slice message)
{
    size_t at = b->n;
    json_member(b, "level", slice_str(level_text(s->level)));
    if (file.n) {
        json_member(b, "file", file);
        buf_printf(b, ",\"line\":%u", s->line);
    }
    json_member(b, "target", target);
    s->json_place = slice_of((char *)(uintptr_t)at, b->n - at);
    json_member(b, "message", message);
    s->json_head = slice_of((char *)(uintptr_t)at, b->n - at);
}

static void sort_fields(struct site *s)
{
    for (unsigned i = s->n_args; i < s->n - (unsigned)s->with_errno; i++) {
        unsigned at = 0;
        if (s->type[i] == SONDE_TYPE_MESSAGE || s->type[i] == SONDE_TYPE_FIELDS)
            continue;
        while (at < s->n_order && slice_cmp(s->key[s->order[at]], s->key[i]) < 0)
            at++;
        if (at < s->n_order && slice_eq(s->key[s->order[at]], s->key[i])) {
            s->order[at] = (uint8_t)i;
            continue;
        }
        memmove(s->order + at + 1, s->order + at, s->n_order - at);
        s->order[at] = (uint8_t)i;
        s->n_order++;
    }
}

static void rebase(struct slice *s, const char *base)
{
    s->p = base + (uintptr_t)s->p;
}

// Fills s from the fields behind the fixed part; all strings go to b.
static bool parse_fields(struct site *s, struct slice in, struct buf *b)
{
    struct slice target, file, message, key;
    if (!take_u16str(&in, &target) || !take_u16str(&in, &file) || !take_u16str(&in, &message))
        return false;
    s->target = clean(b, target);
    s->file = clean(b, file);
    s->message = clean(b, message);
    json_head(b, s, target, file, message);
    for (unsigned i = 0; i < s->n; i++) {
        if (!in.n)
            return false;
        s->type[i] = (uint8_t)in.p[0];
        in = slice_from(in, 1);
        if (s->type[i] < SONDE_TYPE_STR || s->type[i] >= SONDE_TYPES || !take_u16str(&in, &key))
            return false;
        size_t at = b->n;
        if (site_reserved(key))
            buf_str(b, "field.");
        utf8_append_clean(b, key);
        s->key[i] = slice_of((char *)(uintptr_t)at, b->n - at);
        struct buf name; // json_key may move b, so its name needs a place of its own
        buf_init(&name, KIB(16));
        buf_put(&name, b->err == ERR_OK ? b->p + at : "", b->err == ERR_OK ? b->n - at : 0);
        s->json_key[i] = json_key(b, buf_slice(&name));
        bool whole = name.err == ERR_OK;
        buf_free(&name);
        if (!whole)
            return false;
    }
    return true;
}

struct site *site_parse(const char *p, size_t n, size_t *size)
{
    uint32_t words[3];
    if (n < 16)
        return NULL;
    memcpy(words, p, 12);
    *size = words[0];
    if (words[0] < 16 || words[0] % 4 || words[0] > n || (uint8_t)p[13] > REC_VALUES_MAX || (uint8_t)p[15] > SONDE_FIELDS_MAX ||
        (uint8_t)p[15] > (uint8_t)p[13])
        return NULL;
    struct site *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->number = words[1];
    s->line = words[2];
    s->level = (uint8_t)p[12] < 1 || (uint8_t)p[12] > 5 ? SONDE_LEVEL_INFO : (uint8_t)p[12];
    s->n = (uint8_t)p[13];
    s->is_span = (uint8_t)p[14];
    s->n_args = (uint8_t)p[15];
    struct buf b;
    buf_init(&b, MIB(4));
    buf_put(&b, p, words[0]);
    bool ok = parse_fields(s, slice_of(p + 16, words[0] - 16), &b);
    if (!ok || b.err != ERR_OK) {
        buf_free(&b);
        mem_free(s);
        return NULL;
    }
    s->memory = b.p;
    s->entry = slice_of(b.p, words[0]);
    rebase(&s->target, b.p);
    rebase(&s->file, b.p);
    rebase(&s->message, b.p);
    rebase(&s->json_place, b.p);
    rebase(&s->json_head, b.p);
    for (unsigned i = 0; i < s->n; i++) {
        rebase(&s->key[i], b.p);
        rebase(&s->json_key[i], b.p);
    }
    s->with_errno = s->n_args && fmt_scan(s->message, s->arg, s->n_args) && s->n > s->n_args;
    s->with_fields = s->n == 2 && s->type[0] == SONDE_TYPE_MESSAGE && s->type[1] == SONDE_TYPE_FIELDS;
    sort_fields(s);
    return s;
}

void site_free(struct site *s)
{
    if (!s)
        return;
    struct buf b = {.p = s->memory};
    buf_free(&b);
    mem_free(s);
}

// ---- table ----------------------------------------------------------------------------------------------------------
struct site *site_get(const struct site_table *t, uint32_t number)
{
    if (number == 0 || number > SITE_BLOCK * SITE_BLOCKS)
        return NULL;
    struct site **block = __atomic_load_n(&t->block[(number - 1) / SITE_BLOCK], __ATOMIC_ACQUIRE);
    return block ? __atomic_load_n(&block[(number - 1) % SITE_BLOCK], __ATOMIC_ACQUIRE) : NULL;
}

bool site_put(struct site_table *t, struct site *s)
{
    if (s->number == 0 || s->number > SITE_BLOCK * SITE_BLOCKS)
        return false;
    uint32_t b = (s->number - 1) / SITE_BLOCK;
    if (!t->block[b]) {
        struct site **block = mem_zalloc(SITE_BLOCK * sizeof *block);
        if (!block)
            return false;
        __atomic_store_n(&t->block[b], block, __ATOMIC_RELEASE);
    }
    struct site **at = &t->block[b][(s->number - 1) % SITE_BLOCK];
    if (*at)
        return false;
    __atomic_store_n(at, s, __ATOMIC_RELEASE);
    if (s->number > t->n)
        t->n = s->number;
    return true;
}

void site_table_free(struct site_table *t)
{
    for (uint32_t i = 1; i <= t->n; i++)
        site_free(site_get(t, i));
    for (unsigned b = 0; b < SITE_BLOCKS; b++)
        mem_free(t->block[b]);
    memset(t, 0, sizeof *t);
}
