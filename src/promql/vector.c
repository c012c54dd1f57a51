// Tables of series, and what is done to labels.
#include "promql/eval_int.h"
#include <stdio.h>

enum errc prom_no_memory(struct prom_eval *e)
{
    return ERR(e->err, LIMIT,
               "the query needs more than %zu MiB of memory: narrow the selectors or the range of time, or ask for a larger step",
               e->a->max >> 20);
}

static bool same(const struct label *a, uint32_t na, const struct label *b, uint32_t nb)
{
    return na == nb && labels_cmp(a, na, b, nb) == 0;
}

// ---- series -----------------------------------------------------------------------------------------------------------

struct prom_series *prom_series_add(struct prom_eval *e, struct prom_vector *v, struct label *l, uint32_t n)
{
    if (v->n == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 16;
        struct prom_series *s = arena_grow(e->a, v->s, v->cap * sizeof *s, cap * sizeof *s);
        if (!s)
            return NULL;
        v->s = s;
        v->cap = cap;
    }
    struct prom_series *s = &v->s[v->n];
    *s = (struct prom_series){.l = l, .n = n, .hash = labels_hash(l, n)};
    s->has = arena_zalloc(e->a, e->steps);
    s->v = arena_alloc(e->a, e->steps * sizeof *s->v);
    if (!s->has || !s->v)
        return NULL;
    v->n++;
    return s;
}

static bool index_grow(struct prom_eval *e, struct prom_vector *v)
{
    uint32_t size = v->table_size ? v->table_size : 64;
    while (size < (v->n + 1) * 2)
        size *= 2;
    if (size == v->table_size)
        return true;
    v->table = arena_zalloc_array(e->a, sizeof *v->table, size);
    if (!v->table)
        return false;
    v->table_size = size;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t at = (uint32_t)v->s[i].hash & (size - 1);
        while (v->table[at])
            at = (at + 1) & (size - 1);
        v->table[at] = i + 1;
    }
    return true;
}

struct prom_series *prom_series_find_or_add(struct prom_eval *e, struct prom_vector *v, struct label *l, uint32_t n)
{
    uint64_t hash = labels_hash(l, n);
    if (!index_grow(e, v))
        return NULL;
    uint32_t at = (uint32_t)hash & (v->table_size - 1);
    for (; v->table[at]; at = (at + 1) & (v->table_size - 1)) {
        struct prom_series *s = &v->s[v->table[at] - 1];
        if (s->hash == hash && same(s->l, s->n, l, n))
            return s;
    }
    struct prom_series *s = prom_series_add(e, v, l, n);
    if (s)
        v->table[at] = v->n;
    return s;
}

bool prom_series_set_hist(struct prom_eval *e, struct prom_series *s, uint32_t step, struct prom_hist *h)
{
    if (!s->h && !(s->h = ARENA_ARRAY(e->a, struct prom_hist *, e->steps)))
        return false;
    s->h[step] = h;
    s->has[step] = PROM_HAS_HIST;
    return true;
}

void prom_vector_trim(struct prom_vector *v, uint32_t steps)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        bool any = false;
        for (uint32_t t = 0; t < steps && !any; t++)
            any = v->s[i].has[t] != PROM_HAS_NONE;
        if (any)
            v->s[k++] = v->s[i];
    }
    v->n = k;
    v->table = NULL;
    v->table_size = 0;
}

void prom_drop_hists(struct prom_eval *e, struct prom_vector *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        for (uint32_t t = 0; v->s[i].h && t < e->steps; t++)
            if (v->s[i].has[t] == PROM_HAS_HIST)
                v->s[i].has[t] = PROM_HAS_NONE;
        v->s[i].h = NULL;
    }
}

// ---- the same labels twice ---------------------------------------------------------------------------------------------

static bool merge(struct prom_eval *e, struct prom_series *to, const struct prom_series *from, bool *clash)
{
    for (uint32_t t = 0; t < e->steps; t++) {
        if (!from->has[t])
            continue;
        if (to->has[t]) {
            *clash = true;
            return true;
        }
        if (from->has[t] == PROM_HAS_HIST) {
            if (!prom_series_set_hist(e, to, t, from->h[t]))
                return false;
        } else {
            prom_series_set(to, t, from->v[t]);
        }
    }
    return true;
}

enum errc prom_unique(struct prom_eval *e, struct prom_vector *v, bool strict)
{
    uint32_t size = 64, k = 0;
    bool clash = false;
    while (size < v->n * 2)
        size *= 2;
    uint32_t *table = arena_zalloc_array(e->a, sizeof *table, size);
    if (!table)
        return prom_no_memory(e);
    for (uint32_t i = 0; i < v->n; i++) {
        struct prom_series *s = &v->s[i];
        uint32_t at = (uint32_t)s->hash & (size - 1);
        while (table[at] &&
               !(v->s[table[at] - 1].hash == s->hash && same(v->s[table[at] - 1].l, v->s[table[at] - 1].n, s->l, s->n)))
            at = (at + 1) & (size - 1);
        if (!table[at]) {
            v->s[k++] = *s;
            table[at] = k;
            continue;
        }
        if (!strict && !merge(e, &v->s[table[at] - 1], s, &clash))
            return prom_no_memory(e);
        if (strict || clash) {
            struct buf b;
            buf_init(&b, MAX_SHORT_TEXT);
            prom_labels_text(&b, s->l, s->n);
            ERR(e->err, INPUT, "vector cannot contain metrics with the same labelset: %.*s is there twice", (int)b.n, b.p);
            buf_free(&b);
            return ERR_INPUT;
        }
    }
    v->n = k;
    v->table = NULL;
    v->table_size = 0;
    return ERR_OK;
}

static bool is_name(struct slice s)
{
    return slice_eq(s, SLICE("__name__"));
}

enum errc prom_drop_names(struct prom_eval *e, struct prom_vector *v, bool strict)
{
    bool changed = false;
    for (uint32_t i = 0; i < v->n; i++) {
        struct prom_series *s = &v->s[i];
        if (!prom_label(s->l, s->n, SLICE("__name__")).p)
            continue;
        changed = true;
        if (is_name(s->l[0].name)) { // nearly always: no copy
            s->l++;
            s->n--;
        } else if (!(s->l = prom_labels_set(e, s->l, s->n, SLICE("__name__"), SLICE_NONE, &s->n))) {
            return prom_no_memory(e);
        }
        s->hash = labels_hash(s->l, s->n);
    }
    return changed ? prom_unique(e, v, strict) : ERR_OK;
}

// ---- labels -----------------------------------------------------------------------------------------------------------

struct slice prom_label(const struct label *l, uint32_t n, struct slice name)
{
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(l[i].name, name))
            return l[i].value;
    return SLICE_NONE;
}

struct label *prom_labels_pick(struct prom_eval *e, const struct label *l, uint32_t n, const struct prom_names *names,
                               bool without, uint32_t *out_n)
{
    struct label *out = arena_alloc(e->a, (n + 1) * sizeof *out);
    uint32_t k = 0;
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        bool named = false;
        for (uint32_t j = 0; j < names->n && !named; j++)
            named = slice_eq(names->s[j], l[i].name);
        if (without ? !named && !is_name(l[i].name) : named)
            out[k++] = l[i];
    }
    *out_n = k;
    return out;
}

struct label *prom_labels_set(struct prom_eval *e, const struct label *l, uint32_t n, struct slice name, struct slice value,
                              uint32_t *out_n)
{
    struct label *out = arena_alloc(e->a, (n + 2) * sizeof *out);
    uint32_t k = 0;
    bool put = value.n == 0;
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        int c = slice_cmp(l[i].name, name);
        if (c >= 0 && !put) {
            out[k++] = (struct label){name, value};
            put = true;
        }
        if (c != 0)
            out[k++] = l[i];
    }
    if (!put)
        out[k++] = (struct label){name, value};
    *out_n = k;
    return out;
}

void prom_labels_text(struct buf *out, const struct label *l, uint32_t n)
{
    bool first = true;
    buf_add(out, prom_label(l, n, SLICE("__name__")));
    buf_char(out, '{');
    for (uint32_t i = 0; i < n; i++) {
        if (is_name(l[i].name))
            continue;
        buf_str(out, first ? "" : ", ");
        first = false;
        if (prom_name_plain(l[i].name, false))
            buf_add(out, l[i].name);
        else
            prom_quote(out, l[i].name);
        buf_char(out, '=');
        prom_quote(out, l[i].value);
    }
    buf_char(out, '}');
}
