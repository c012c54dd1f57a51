// Attribute sets: sorted by key, each key once, scalars alone.
#include "base/hash.h"
#include "base/utf8.h"
#include "sdk/meter.h"
#include <ctype.h>

// False: a type that metrics do not carry, or an absent value.
static bool normal(struct sonde_field *f)
{
    switch (f->type) {
    case SONDE_TYPE_STR:
        return f->arg.value.s && f->arg.n != SIZE_MAX;
    case SONDE_TYPE_UINT:
        f->type = SONDE_TYPE_INT;
        if (f->arg.value.u > INT64_MAX) {
            f->type = SONDE_TYPE_F64;
            f->arg.value.f = (double)f->arg.value.u;
        }
        break;
    case SONDE_TYPE_DURATION:
        f->type = SONDE_TYPE_INT;
        break;
    case SONDE_TYPE_BOOL:
        f->arg.value.u = f->arg.value.u != 0;
        break;
    case SONDE_TYPE_INT:
    case SONDE_TYPE_F64:
        break;
    default:
        return false;
    }
    f->arg.n = 0;
    return true;
}

void meter_attrs_read(struct meter_attrs *out, const struct sonde_field *f, size_t n)
{
    out->n = 0;
    for (size_t i = 0; f && i < n; i++) {
        struct sonde_field one = f[i];
        if (!one.key || !*one.key || !normal(&one))
            continue;
        uint32_t at = out->n;
        int c = -1;
        while (at > 0 && (c = strcmp(one.key, out->f[at - 1].key)) < 0)
            at--;
        if (at > 0 && c == 0) {
            out->f[at - 1] = one;
            continue;
        }
        if (out->n == METER_ATTRIBUTES)
            continue;
        memmove(out->f + at + 1, out->f + at, (out->n - at) * sizeof *out->f);
        out->f[at] = one;
        out->n++;
    }
}

uint64_t meter_attrs_hash(const struct sonde_field *f, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++) {
        h = hash_mix(h, hash64(f[i].key, strlen(f[i].key)));
        h = hash_mix(h + f[i].type, f[i].type == SONDE_TYPE_STR ? hash64(f[i].arg.value.s, f[i].arg.n) : f[i].arg.value.u);
    }
    return h;
}

bool meter_attrs_equal(const struct sonde_field *a, uint32_t n_a, const struct sonde_field *b, uint32_t n_b)
{
    bool same = n_a == n_b;
    for (uint32_t i = 0; same && i < n_a; i++)
        same = a[i].type == b[i].type && strcmp(a[i].key, b[i].key) == 0 &&
               (a[i].type == SONDE_TYPE_STR
                    ? slice_eq(slice_of(a[i].arg.value.s, a[i].arg.n), slice_of(b[i].arg.value.s, b[i].arg.n))
                    : a[i].arg.value.u == b[i].arg.value.u);
    return same;
}

struct sonde_field *meter_attrs_copy(struct arena *a, const struct sonde_field *f, uint32_t n)
{
    struct sonde_field *copy = ARENA_ARRAY(a, struct sonde_field, n);
    for (uint32_t i = 0; copy && i < n; i++) {
        copy[i] = f[i];
        copy[i].key = arena_dup(a, slice_str(f[i].key)).p;
        if (f[i].type == SONDE_TYPE_STR)
            copy[i].arg.value.s = arena_dup(a, slice_of(f[i].arg.value.s, f[i].arg.n)).p;
        if (!copy[i].key || (f[i].type == SONDE_TYPE_STR && !copy[i].arg.value.s))
            return NULL;
    }
    return copy;
}

bool meter_match(const char *pattern, const char *text, bool fold)
{
    if (!pattern)
        return true;
    const char *star = NULL, *from = NULL;
    while (*text) {
        int p = (unsigned char)*pattern, t = (unsigned char)*text;
        if (p == '*') {
            star = ++pattern;
            from = text;
        } else if (p == '?' || p == t || (fold && tolower(p) == tolower(t))) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}
