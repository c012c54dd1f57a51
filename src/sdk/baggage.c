// Baggage, and the immutable contexts it is attached by.
#include "base/alloc.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "sdk/context.h"
#include <stdlib.h>

struct member {
    char *name, *value, *metadata; // one piece of memory, name first
};
struct sonde_baggage {
    struct member *member;
    size_t n, cap;
};

// ---- the list -------------------------------------------------------------------------------------------------------
struct sonde_baggage *sonde_baggage_new(void)
{
    return mem_zalloc(sizeof(struct sonde_baggage));
}

void sonde_baggage_clear(struct sonde_baggage *b)
{
    while (b->n)
        mem_free(b->member[--b->n].name);
}

void sonde_baggage_free(struct sonde_baggage *b)
{
    if (!b)
        return;
    sonde_baggage_clear(b);
    mem_free(b->member);
    mem_free(b);
}

static bool member_new(struct member *m, struct slice name, struct slice value, struct slice metadata)
{
    m->name = mem_alloc(name.n + value.n + metadata.n + 3);
    if (!m->name)
        return false;
    struct slice part[] = {name, value, metadata};
    char *p = m->name, **to[] = {&m->name, &m->value, &m->metadata};
    for (int i = 0; i < 3; i++) {
        *to[i] = p;
        memcpy(p, part[i].p ? part[i].p : "", part[i].n);
        p[part[i].n] = 0;
        p += part[i].n + 1;
    }
    return true;
}

static bool add(struct sonde_baggage *b, struct slice name, struct slice value, struct slice metadata)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 8;
        struct member *m = b->n < BAGGAGE_HELD_MAX ? mem_realloc(b->member, cap * sizeof *m) : NULL;
        if (!m)
            return false;
        b->member = m;
        b->cap = cap;
    }
    if (!member_new(&b->member[b->n], name, value, metadata))
        return false;
    b->n++;
    return true;
}

bool sonde_baggage_remove(struct sonde_baggage *b, const char *name)
{
    size_t kept = 0, n = b->n;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(b->member[i].name, name) == 0)
            mem_free(b->member[i].name);
        else
            b->member[kept++] = b->member[i];
    }
    b->n = kept;
    return kept < n;
}

// In its old place, if it had one.
bool sonde_baggage_set(struct sonde_baggage *b, const char *name, const char *value, const char *metadata)
{
    struct member m;
    size_t first = SIZE_MAX, kept = 0;
    if (!b || !name || !*name || !value)
        return false;
    for (size_t i = 0; i < b->n && first == SIZE_MAX; i++)
        first = strcmp(b->member[i].name, name) == 0 ? i : first;
    if (first == SIZE_MAX)
        return add(b, slice_str(name), slice_str(value), slice_str(metadata));
    if (!member_new(&m, slice_str(name), slice_str(value), slice_str(metadata)))
        return false;
    for (size_t i = 0; i < b->n; i++) {
        if (i == first) {
            mem_free(b->member[i].name);
            b->member[kept++] = m;
        } else if (i > first && strcmp(b->member[i].name, m.name) == 0) {
            mem_free(b->member[i].name);
        } else {
            b->member[kept++] = b->member[i];
        }
    }
    b->n = kept;
    return true;
}

const char *sonde_baggage_get(const struct sonde_baggage *b, const char *name)
{
    for (size_t i = b && name ? b->n : 0; i-- > 0;) // of several, the last that came
        if (strcmp(b->member[i].name, name) == 0)
            return b->member[i].value;
    return NULL;
}

size_t sonde_baggage_count(const struct sonde_baggage *b)
{
    return b ? b->n : 0;
}

bool sonde_baggage_at(const struct sonde_baggage *b, size_t i, struct sonde_baggage_member *out)
{
    if (!b || i >= b->n)
        return false;
    *out = (struct sonde_baggage_member){b->member[i].name, b->member[i].value, b->member[i].metadata};
    return true;
}

struct sonde_baggage *sonde_baggage_copy(const struct sonde_baggage *b)
{
    struct sonde_baggage *copy = sonde_baggage_new();
    for (size_t i = 0; copy && b && i < b->n; i++) {
        const struct member *m = &b->member[i];
        if (!add(copy, slice_str(m->name), slice_str(m->value), slice_str(m->metadata))) {
            sonde_baggage_free(copy);
            return NULL;
        }
    }
    return copy;
}

// ---- the header -----------------------------------------------------------------------------------------------------
static bool token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!token_char(s.p[i]))
            return false;
    return s.n > 0;
}

// What a value may hold as it is.
static bool octet(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\';
}

// Percent-decoded, then repaired where it is not UTF-8.
static bool decode(struct buf *out, struct slice v)
{
    struct buf raw;
    bool ok = true;
    buf_init(&raw, MIB(1));
    for (size_t i = 0; i < v.n && ok; i++) {
        uint8_t byte;
        if (v.p[i] == '%' && v.n - i > 2 && hex_decode(&byte, 1, slice_of(v.p + i + 1, 2))) {
            buf_char(&raw, (char)byte);
            i += 2;
        } else {
            ok = octet((uint8_t)v.p[i]);
            buf_char(&raw, v.p[i]);
        }
    }
    utf8_append_clean(out, buf_slice(&raw));
    ok = ok && raw.err == ERR_OK && out->err == ERR_OK && !memchr(raw.p ? raw.p : "", 0, raw.n);
    buf_free(&raw);
    return ok;
}

static bool metadata_ok(struct slice rest)
{
    struct slice part;
    while (rest.n && slice_split(&rest, ';', &part)) {
        const char *eq = memchr(part.p, '=', part.n);
        size_t at = eq ? (size_t)(eq - part.p) : part.n;
        if (!token(context_trim(slice_cut(part, at))))
            return false;
        struct slice v = eq ? context_trim(slice_from(part, at + 1)) : SLICE_NONE;
        for (size_t i = 0; i < v.n; i++)
            if (!octet((uint8_t)v.p[i]))
                return false;
    }
    return true;
}

static bool parse_member(struct sonde_baggage *b, struct slice m)
{
    const char *end = memchr(m.p, ';', m.n), *eq;
    struct slice pair = slice_cut(m, end ? (size_t)(end - m.p) : m.n);
    struct slice metadata = end ? context_trim(slice_from(m, pair.n + 1)) : SLICE_NONE;
    eq = memchr(pair.p, '=', pair.n);
    if (!eq)
        return false;
    struct slice name = context_trim(slice_cut(pair, (size_t)(eq - pair.p)));
    struct slice value = context_trim(slice_from(pair, (size_t)(eq - pair.p) + 1));
    struct buf text;
    buf_init(&text, MIB(1));
    bool ok = token(name) && metadata_ok(metadata) && decode(&text, value);
    ok = ok && add(b, name, text.n ? buf_slice(&text) : SLICE(""), metadata);
    buf_free(&text);
    return ok;
}

bool sonde_baggage_parse(struct sonde_baggage *b, const char *header, size_t n)
{
    struct slice rest = slice_of(header, n), part;
    bool ok = true;
    size_t bytes = 0;
    while (rest.n && slice_split(&rest, ',', &part)) {
        part = context_trim(part);
        if (!part.n)
            continue;
        size_t with = bytes + part.n + (bytes ? 1 : 0);
        bool taken = b->n < BAGGAGE_MEMBERS && with <= BAGGAGE_BYTES && parse_member(b, part);
        bytes = taken ? with : bytes; // what is dropped takes no room
        ok = ok && taken;
    }
    return ok;
}

static bool put_member(char *out, size_t *at, size_t max, const struct member *m)
{
    static const char hex[] = "0123456789ABCDEF";
    char text[BAGGAGE_BYTES + 1];
    // Metadata that could break out of its header stays here.
    size_t n = 0, name_n = strlen(m->name), metadata_n = metadata_ok(slice_str(m->metadata)) ? strlen(m->metadata) : 0;
    max = max < BAGGAGE_BYTES ? max : BAGGAGE_BYTES;
    if (!token(slice_of(m->name, name_n)) || name_n + metadata_n + 2 > max)
        return false; // a header has no form for other names
    memcpy(text, m->name, name_n);
    n = name_n;
    text[n++] = '=';
    for (const char *v = m->value; *v; v++) {
        bool plain = octet((uint8_t)*v) && *v != '%';
        if (n + (plain ? 1 : 3) > max)
            return false;
        if (!plain) {
            text[n++] = '%';
            text[n++] = hex[(uint8_t)*v >> 4];
            text[n++] = hex[*v & 15];
        } else {
            text[n++] = *v;
        }
    }
    if (*at + (*at ? 1 : 0) + n + (metadata_n ? metadata_n + 1 : 0) > max)
        return false;
    if (*at)
        out[(*at)++] = ',';
    memcpy(out + *at, text, n);
    *at += n;
    if (metadata_n) {
        out[(*at)++] = ';';
        memcpy(out + *at, m->metadata, metadata_n);
        *at += metadata_n;
    }
    return true;
}

size_t sonde_baggage_print(const struct sonde_baggage *b, char *out, size_t size)
{
    size_t at = 0, members = 0;
    if (!size)
        return 0;
    for (size_t i = 0; b && i < b->n && members < BAGGAGE_MEMBERS; i++)
        members += put_member(out, &at, size - 1, &b->member[i]);
    out[at] = 0;
    return at;
}

// ---- contexts -------------------------------------------------------------------------------------------------------
struct sonde_ctx_key {
    char name[64];
    struct sonde_ctx_key *next; // of all
};
struct sonde_ctx {
    uint32_t refs; // atomic
    const struct sonde_ctx_key *key;
    void *value;
    void (*free_value)(void *value);
    struct sonde_ctx *rest; // held
};
static const struct sonde_ctx_key baggage_key = {.name = "baggage"};
static struct sonde_ctx_key *keys;
static __thread struct sonde_ctx *tls_ctx __attribute__((tls_model("initial-exec")));

const struct sonde_ctx_key *sonde_ctx_key_new(const char *name)
{
    struct sonde_ctx_key *k = mem_zalloc(sizeof *k);
    if (!k)
        return NULL;
    size_t n = strnlen(name ? name : "", sizeof k->name - 1);
    memcpy(k->name, name ? name : "", n);
    k->next = __atomic_load_n(&keys, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&keys, &k->next, k, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
    return k;
}

struct sonde_ctx *sonde_ctx_ref(struct sonde_ctx *c)
{
    if (c)
        __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void sonde_ctx_unref(struct sonde_ctx *c)
{
    while (c && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        struct sonde_ctx *rest = c->rest;
        if (c->free_value)
            c->free_value(c->value);
        mem_free(c);
        c = rest;
    }
}

struct sonde_ctx *sonde_ctx_set(struct sonde_ctx *c, const struct sonde_ctx_key *key, void *value,
                                void (*free_value)(void *value))
{
    struct sonde_ctx *made = mem_alloc(sizeof *made);
    if (made)
        *made = (struct sonde_ctx){1, key, value, free_value, sonde_ctx_ref(c)};
    return made;
}

void *sonde_ctx_get(const struct sonde_ctx *c, const struct sonde_ctx_key *key)
{
    for (; c; c = c->rest)
        if (c->key == key)
            return c->value;
    return NULL;
}

static void free_baggage(void *b)
{
    sonde_baggage_free(b);
}

struct sonde_ctx *sonde_ctx_with_baggage(struct sonde_ctx *c, const struct sonde_baggage *b)
{
    struct sonde_baggage *copy = sonde_baggage_copy(b);
    struct sonde_ctx *made = copy ? sonde_ctx_set(c, &baggage_key, copy, free_baggage) : NULL;
    if (!made)
        sonde_baggage_free(copy);
    return made;
}

const struct sonde_baggage *sonde_ctx_baggage(const struct sonde_ctx *c)
{
    return sonde_ctx_get(c, &baggage_key);
}

struct sonde_ctx *sonde_ctx_attach(struct sonde_ctx *c)
{
    struct sonde_ctx *before = tls_ctx;
    tls_ctx = sonde_ctx_ref(c);
    return before;
}

void sonde_ctx_detach(struct sonde_ctx *before)
{
    struct sonde_ctx *now = tls_ctx;
    tls_ctx = before;
    sonde_ctx_unref(now);
}

struct sonde_ctx *sonde_ctx_current(void)
{
    return tls_ctx;
}

const struct sonde_baggage *sonde_baggage_current(void)
{
    return sonde_ctx_baggage(tls_ctx);
}
