#include "analyze/trace_set.h"
#include "base/limits.h"

#include <stdlib.h>

enum { FIRST_SIZE = 256 };

// Where the id stands, or would.
static size_t place(const struct trace_ref *at, size_t size, struct id128 id)
{
    size_t k = id.lo & (size - 1);
    while (!id128_zero(at[k].id) && !id128_eq(at[k].id, id))
        k = (k + 1) & (size - 1);
    return k;
}

static enum errc grow(struct trace_set *s, struct error *err)
{
    size_t size = s->size ? 2 * s->size : FIRST_SIZE;
    if (size * sizeof *s->at > MAX_QUERY_MEMORY)
        return ERR(err, LIMIT, "more than %zu traces match: narrow the time range or the query", s->n);
    struct trace_ref *bigger = calloc(size, sizeof *bigger);
    if (!bigger)
        return ERR(err, NOMEM, "no memory for a search over %zu traces", s->n);
    for (size_t i = 0; i < s->size; i++)
        if (!id128_zero(s->at[i].id))
            bigger[place(bigger, size, s->at[i].id)] = s->at[i];
    free(s->at);
    s->at = bigger;
    s->size = size;
    return ERR_OK;
}

enum errc trace_set_add(struct trace_set *s, struct id128 id, int64_t time, struct error *err)
{
    if (id128_zero(id))
        return ERR_OK;
    if (2 * (s->n + 1) > s->size)
        TRY(grow(s, err));
    struct trace_ref *r = &s->at[place(s->at, s->size, id)];
    if (id128_zero(r->id)) {
        *r = (struct trace_ref){id, time};
        s->n++;
    } else if (time < r->time) {
        r->time = time;
    }
    return ERR_OK;
}

static int newest_first(const void *x, const void *y)
{
    const struct trace_ref *a = x, *b = y;
    return a->time != b->time ? (a->time < b->time ? 1 : -1) : id128_cmp(a->id, b->id);
}

void trace_set_sort(struct trace_set *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->size; i++)
        if (!id128_zero(s->at[i].id))
            s->at[n++] = s->at[i];
    if (n)
        qsort(s->at, n, sizeof *s->at, newest_first);
}

void trace_set_free(struct trace_set *s)
{
    free(s->at);
    *s = (struct trace_set){0};
}
