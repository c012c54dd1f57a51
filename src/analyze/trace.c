#include "analyze/trace.h"

#include <stdlib.h>

static int by_start(const void *x, const void *y)
{
    const struct span *a = x, *b = y;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    if (a->end != b->end)
        return a->end > b->end ? -1 : 1; // the longer one first: it is likelier to be the parent
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->kind - b->kind;
}

static void read_span(const struct batch *b, uint32_t row, struct span *s)
{
    const struct resource *r = &b->resources[b->resource[row]];
    const struct attr *service = resource_attr(r, SLICE("service.name"));
    *s = (struct span){
        .row = row,
        .id = column_id64(b->field[FIELD_SPAN_ID], row),
        .parent_id = column_id64(b->field[FIELD_PARENT_ID], row),
        .start = b->time[row],
        .name = column_str(b->field[FIELD_NAME], row),
        .kind = (int)column_i64(b->field[FIELD_KIND], row, 0),
        .status = (int)column_i64(b->field[FIELD_STATUS], row, 0),
        .service = service && service->value.kind == COL_STR ? service->value.s : resource_label(r, SLICE("service_name")),
        .parent = -1,
    };
    int64_t duration = column_i64(b->field[FIELD_DURATION], row, 0);
    s->end = duration <= 0 ? s->start : s->start > INT64_MAX - duration ? INT64_MAX : s->start + duration;
}

// A span sent again (retry after a lost acknowledgement) is the same span; sorted, it stands behind its double. A client and a
// server that share an id are two.
static uint32_t drop_repeats(struct span *spans, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || by_start(&spans[kept - 1], &spans[i]) != 0)
            spans[kept++] = spans[i];
    return kept;
}

struct by_id {
    uint64_t id;
    uint32_t at;
};

static int cmp_id(const void *x, const void *y)
{
    const struct by_id *a = x, *b = y;
    return a->id < b->id ? -1 : a->id > b->id ? 1 : (a->at > b->at) - (a->at < b->at);
}

static int32_t find_parent(const struct by_id *ids, uint32_t n, const struct span *s)
{
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (ids[mid].id < s->parent_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && ids[lo].id == s->parent_id ? (int32_t)ids[lo].at : -1;
}

// Depth first without recursion: a hostile trace may be a chain of any length, or a cycle (then its spans count as roots).
static void order(struct span *in, struct span *out, uint32_t n, int32_t *first, int32_t *next, int32_t *stack)
{
    uint32_t done = 0;
    int32_t *place = next + n; // index in `in` → index in `out`
    for (uint32_t i = 0; i < n; i++)
        place[i] = -1;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < n; i++) {
            if (place[i] >= 0 || (pass == 0 && in[i].parent >= 0))
                continue;
            uint32_t sp = 0;
            stack[sp++] = (int32_t)i;
            while (sp > 0) {
                int32_t at = stack[--sp];
                if (place[at] >= 0)
                    continue;
                int32_t parent = at == (int32_t)i ? -1 : place[in[at].parent];
                place[at] = (int32_t)done;
                out[done] = in[at];
                out[done].parent = parent;
                out[done].depth = parent < 0 ? 0 : out[parent].depth + 1;
                out[done].orphan = parent < 0 && in[at].parent_id != 0;
                done++;
                // children hang in the list latest first, so that the earliest is popped first
                for (int32_t c = first[at]; c >= 0; c = next[c])
                    stack[sp++] = c;
            }
        }
    }
}

// Time in which no child ran: children of a span stand in order of their start behind it.
static void compute_self(struct span *spans, uint32_t n, int64_t *covered_to)
{
    for (uint32_t i = 0; i < n; i++) {
        spans[i].self = spans[i].end - spans[i].start;
        covered_to[i] = spans[i].start;
    }
    for (uint32_t i = 0; i < n; i++) {
        int32_t p = spans[i].parent;
        if (p < 0)
            continue;
        int64_t from = spans[i].start > covered_to[p] ? spans[i].start : covered_to[p];
        int64_t to = spans[i].end < spans[p].end ? spans[i].end : spans[p].end;
        if (to > from) {
            spans[p].self -= to - from;
            covered_to[p] = to;
        }
    }
}

static int32_t find_root(const struct span *spans, uint32_t n)
{
    static const char route[] = "route_request"; // told of without the request's span, it is not the request
    int32_t best = -1;
    for (uint32_t i = 0; i < n; i++) {
        if (slice_eq(spans[i].name, SLICE("http-request")))
            return (int32_t)i;
        if (best < 0 && spans[i].parent < 0 && !spans[i].orphan)
            best = (int32_t)i;
    }
    return best >= 0 && slice_find(spans[best].name, slice_str(route)) >= 0 ? -1 : best;
}

enum errc trace_build(struct batch *b, struct id128 id, struct trace *out, struct error *err)
{
    uint32_t n = b->rows;
    struct span *in = ARENA_ARRAY(&b->arena, struct span, n + 1), *spans = ARENA_ARRAY(&b->arena, struct span, n + 1);
    int32_t *links = ARENA_ARRAY(&b->arena, int32_t, 5 * (size_t)n + 1);
    struct by_id *ids = ARENA_ARRAY(&b->arena, struct by_id, n + 1);
    int64_t *covered = ARENA_ARRAY(&b->arena, int64_t, n + 1);
    if (!in || !spans || !links || !ids || !covered)
        return ERR(err, LIMIT, "the trace has %u spans, more than memory allows", n);
    for (uint32_t i = 0; i < n; i++)
        read_span(b, i, &in[i]);
    qsort(in, n, sizeof *in, by_start);
    n = drop_repeats(in, n);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (struct by_id){in[i].id, i};
    qsort(ids, n, sizeof *ids, cmp_id);
    int32_t *first = links, *next = links + b->rows, *stack = links + 3 * (size_t)b->rows;
    for (uint32_t i = 0; i < n; i++)
        first[i] = next[i] = -1;
    for (uint32_t i = 0; i < n; i++) {
        int32_t p = in[i].parent_id ? find_parent(ids, n, &in[i]) : -1;
        in[i].parent = p == (int32_t)i ? -1 : p;
        if (in[i].parent >= 0) {
            next[i] = first[in[i].parent];
            first[in[i].parent] = (int32_t)i;
        }
    }
    order(in, spans, n, first, next, stack);
    compute_self(spans, n, covered);
    *out = (struct trace){.id = id, .batch = b, .spans = spans, .n = n, .root = find_root(spans, n)};
    for (uint32_t i = 0; i < n; i++) {
        out->start = i == 0 || spans[i].start < out->start ? spans[i].start : out->start;
        out->end = i == 0 || spans[i].end > out->end ? spans[i].end : out->end;
    }
    return ERR_OK;
}

enum errc trace_load(struct store *s, struct slice tenant, struct id128 id, int64_t from, int64_t to, struct budget *budget,
                     struct trace *out, struct error *err)
{
    struct scan_request q = {.tenant = tenant,
                             .signal = SIGNAL_SPAN,
                             .from = from,
                             .to = to,
                             .trace_id = id,
                             .fields = ~0ull,
                             .all_attrs = true,
                             .budget = budget};
    struct scan *scan = NULL;
    struct batch *b = batch_new(SIGNAL_SPAN, MAX_QUERY_MEMORY);
    enum errc rc;
    *out = (struct trace){0};
    if (!b)
        return ERR(err, NOMEM, "no memory for a trace");
    GO(store_scan(s, &q, &scan, err));
    struct scan_batch part;
    for (;;) {
        GO(scan_next(scan, &part, err));
        if (!part.batch)
            break;
        for (uint32_t i = 0; i < part.n_rows; i++)
            batch_copy_row(b, part.batch, part.rows[i]);
    }
    if (b->rows == 0)
        rc = ERR(err, NOTFOUND, "no trace with id %016llx%016llx", (unsigned long long)id.hi, (unsigned long long)id.lo);
    else if (!batch_seal(b))
        rc = ERR(err, LIMIT, "the trace is larger than %zu MiB", (size_t)MAX_QUERY_MEMORY >> 20);
    else
        rc = trace_build(b, id, out, err);
out:
    scan_close(scan);
    if (rc != ERR_OK) {
        batch_unref(b);
        out->batch = NULL;
    }
    return rc;
}

void trace_free(struct trace *t)
{
    batch_unref(t->batch);
    *t = (struct trace){0};
}

const struct resource *trace_resource(const struct trace *t, const struct span *s)
{
    return &t->batch->resources[t->batch->resource[s->row]];
}

bool trace_attr(const struct trace *t, const struct span *s, struct slice key, struct value *out)
{
    if (batch_attr(t->batch, COL_ATTR, key, s->row, out))
        return true;
    const struct attr *a = resource_attr(trace_resource(t, s), key);
    if (a)
        *out = a->value;
    return a != NULL;
}

struct slice trace_attr_text(const struct trace *t, const struct span *s, struct slice key)
{
    struct value v;
    if (!trace_attr(t, s, key, &v))
        return SLICE_NONE;
    if (v.kind == COL_STR)
        return v.s;
    struct buf b;
    buf_init(&b, MAX_VALUE_TEXT);
    value_text(&b, &v);
    struct slice text = arena_dup(&t->batch->arena, buf_slice(&b));
    buf_free(&b);
    return text.p ? text : SLICE_NONE;
}
