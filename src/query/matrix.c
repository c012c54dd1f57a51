#include "query/matrix.h"
#include <stdlib.h>

void matrix_init(struct matrix *m, struct arena *a, uint32_t steps)
{
    *m = (struct matrix){.arena = a, .steps = steps};
}

uint64_t labels_hash(const struct label *l, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++)
        h = hash_mix(h, label_hash(l[i].name, l[i].value));
    return h;
}

int labels_cmp(const struct label *a, uint32_t na, const struct label *b, uint32_t nb)
{
    for (uint32_t i = 0; i < na && i < nb; i++) {
        int c = slice_cmp(a[i].name, b[i].name);
        if (!c)
            c = slice_cmp(a[i].value, b[i].value);
        if (c)
            return c;
    }
    return (na > nb) - (na < nb);
}

static uint32_t place(const struct matrix *m, uint64_t hash, const struct label *l, uint32_t n)
{
    uint32_t at = (uint32_t)hash & (m->table_size - 1);
    for (; m->table[at]; at = (at + 1) & (m->table_size - 1)) {
        const struct series *s = &m->s[m->table[at] - 1];
        if (s->hash == hash && labels_cmp(s->l, s->n, l, n) == 0)
            break;
    }
    return at;
}

static bool grow_table(struct matrix *m)
{
    uint32_t size = m->table_size ? m->table_size * 2 : 64;
    uint32_t *t = ARENA_ARRAY(m->arena, uint32_t, size);
    if (!t)
        return false;
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t at = (uint32_t)m->s[i].hash & (size - 1);
        while (t[at])
            at = (at + 1) & (size - 1);
        t[at] = i + 1;
    }
    m->table = t;
    m->table_size = size;
    return true;
}

struct series *matrix_series(struct matrix *m, const struct label *l, uint32_t n, bool *added)
{
    if (m->n * 2 >= m->table_size && !grow_table(m))
        return NULL;
    uint64_t hash = labels_hash(l, n);
    uint32_t at = place(m, hash, l, n);
    if (added)
        *added = !m->table[at];
    if (m->table[at])
        return &m->s[m->table[at] - 1];
    if (m->n == m->cap) {
        uint32_t cap = m->cap ? m->cap * 2 : 16;
        struct series *s = arena_grow(m->arena, m->s, m->cap * sizeof *s, cap * sizeof *s);
        if (!s)
            return NULL;
        m->s = s;
        m->cap = cap;
    }
    struct series *s = &m->s[m->n];
    *s = (struct series){.n = n, .hash = hash};
    s->l = ARENA_ARRAY(m->arena, struct label, n);
    s->v = ARENA_ARRAY(m->arena, double, m->steps);
    s->has = arena_zalloc(m->arena, m->steps);
    if (!s->l || !s->v || !s->has)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        s->l[i] = (struct label){arena_dup(m->arena, l[i].name), arena_dup(m->arena, l[i].value)};
    if (arena_failed(m->arena))
        return NULL;
    m->table[at] = ++m->n;
    return s;
}

const struct series *matrix_find(const struct matrix *m, const struct label *l, uint32_t n)
{
    if (!m->table_size)
        return NULL;
    uint32_t at = place(m, labels_hash(l, n), l, n);
    return m->table[at] ? &m->s[m->table[at] - 1] : NULL;
}

static int by_labels(const void *a, const void *b)
{
    const struct series *x = a, *y = b;
    return labels_cmp(x->l, x->n, y->l, y->n);
}

void matrix_finish(struct matrix *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        bool any = false;
        for (uint32_t k = 0; k < m->steps && !any; k++)
            any = m->s[i].has[k];
        if (any)
            m->s[n++] = m->s[i];
    }
    m->n = n;
    m->table = NULL;
    m->table_size = 0;
    if (!m->ordered && n > 1)
        qsort(m->s, n, sizeof *m->s, by_labels);
}

bool grouping_has(const struct grouping *g, struct slice name)
{
    for (uint32_t i = 0; i < g->n; i++)
        if (slice_eq(g->names[i], name))
            return true;
    return false;
}

uint32_t grouping_pick(const struct grouping *g, const struct label *l, uint32_t n, struct label *out)
{
    uint32_t k = 0;
    if (!g->given)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        if (grouping_has(g, l[i].name) != g->without)
            out[k++] = l[i];
    return k;
}
