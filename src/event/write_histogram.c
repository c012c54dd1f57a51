// prometheus.Histogram and io.prometheus.write.v2.Histogram, which are the same bytes:
//   1 count_int, 2 count_float, 3 sum, 4 schema, 5 zero_threshold, 6 zero_count_int, 7 zero_count_float, 8 negative_spans,
//   9 negative_deltas, 10 negative_counts, 11 positive_spans, 12 positive_deltas, 13 positive_counts, 14 reset_hint,
//   15 timestamp, 16 custom_values, 17 start_timestamp (v2)
#include "event/write.h"

const char *const write_types[METADATA_TYPES] = {"unknown",        "counter", "gauge", "histogram",
                                                 "gaugehistogram", "summary", "info",  "stateset"};

int64_t write_time(int64_t ms)
{
    return ms > INT64_MAX / 1000000   ? INT64_MAX / 1000000 * 1000000
           : ms < INT64_MIN / 1000000 ? INT64_MIN / 1000000 * 1000000
                                      : ms * 1000000;
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

// ---- reading --------------------------------------------------------------------------------------------------------

struct counts {
    double *v;
    uint32_t n, cap;
    int64_t last;
};

static void add(struct arena *a, struct counts *c, double v)
{
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 32;
        double *p = arena_grow(a, c->v, c->n * sizeof *p, cap * sizeof *p);
        if (!p)
            return;
        c->v = p;
        c->cap = cap;
    }
    c->v[c->n++] = v;
}

static void read_count(struct arena *a, struct pb *r, bool delta, struct counts *c)
{
    uint64_t u;
    double v;
    if (delta && pb_u64(r, &u)) {
        c->last = (int64_t)((uint64_t)c->last + (uint64_t)unzigzag(u));
        add(a, c, (double)c->last);
    } else if (!delta && pb_double(r, &v)) {
        add(a, c, v);
    }
}

// sint64 differences or doubles, packed or not.
static void read_counts(struct arena *a, struct pb *r, bool delta, struct counts *c)
{
    struct slice s;
    struct pb each;
    if (r->wire != PB_LEN) {
        read_count(a, r, delta, c);
        return;
    }
    if (!pb_bytes(r, &s))
        return;
    pb_init(&each, s, r->err);
    each.wire = delta ? PB_VARINT : PB_FIXED64;
    while (each.p < each.end && !each.failed)
        read_count(a, &each, delta, c);
    r->failed |= each.failed;
}

static void read_span(struct arena *a, struct pb *r, struct histogram_side *side)
{
    struct histogram_span span = {0};
    struct pb s;
    uint64_t u;
    if (!pb_message(r, &s))
        return;
    while (pb_next(&s)) {
        if (s.field == 1 && pb_u64(&s, &u))
            span.offset = (int32_t)unzigzag(u & UINT32_MAX);
        else if (s.field == 2)
            pb_u32(&s, &span.length);
        else if (s.field != 1)
            pb_skip(&s);
    }
    if (!(side->n_spans & (side->n_spans + 1))) { // 0, 1, 3, 7 …: full
        struct histogram_span *p =
            arena_grow(a, side->spans, side->n_spans * sizeof *p, (2 * (size_t)side->n_spans + 1) * sizeof *p);
        if (!p)
            return;
        side->spans = p;
    }
    side->spans[side->n_spans++] = span;
}

static const char *side_wrong(struct histogram_side *s, const struct counts *c)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        n += s->spans[i].length;
        if (i && s->spans[i].offset < 0)
            return "a native histogram whose spans run into each other";
    }
    s->counts = c->v;
    s->n = c->n;
    if (n != c->n)
        return "a native histogram whose spans do not fit its buckets";
    return n > MAX_HISTOGRAM_BUCKETS ? "a native histogram with too many buckets" : NULL;
}

static bool read_fields(struct decode *d, struct pb *r, struct arena *a, struct histogram_sample *h, struct counts counts[2],
                        struct counts *bounds, struct write_histogram *out)
{
    while (pb_next(r)) {
        uint64_t u;
        uint32_t u32;
        double v;
        switch (r->field) {
        case 1:
        case 6:
            if (!pb_u64(r, &u))
                break;
            *(r->field == 1 ? &h->count : &h->zero_count) = (double)u;
            break;
        case 2:
        case 7:
            if (pb_double(r, &v))
                *(r->field == 2 ? &h->count : &h->zero_count) = v;
            break;
        case 3:
            pb_double(r, &h->sum);
            break;
        case 4:
            if (pb_u64(r, &u))
                h->schema = (int32_t)unzigzag(u & UINT32_MAX);
            break;
        case 5:
            pb_double(r, &h->zero_threshold);
            break;
        case 8:
        case 11:
            read_span(a, r, r->field == 8 ? &h->negative : &h->positive);
            break;
        case 9:
        case 12:
            read_counts(a, r, true, &counts[r->field == 9]);
            break;
        case 10:
        case 13:
            read_counts(a, r, false, &counts[r->field == 10]);
            break;
        case 14:
            if (pb_u32(r, &u32) && u32 <= HISTOGRAM_HINT_GAUGE)
                h->hint = (enum histogram_hint)u32;
            break;
        case 15:
            pb_i64(r, &out->time_ms);
            break;
        case 16:
            read_counts(a, r, false, bounds);
            break;
        case 17:
            pb_i64(r, &out->start_ms);
            break;
        default:
            pb_skip(r);
        }
        d->b->failed |= arena_failed(a);
    }
    return !r->failed && !d->b->failed;
}

bool write_histogram_read(struct decode *d, struct pb *r, struct write_histogram *out)
{
    struct histogram_sample h = {0};
    struct counts counts[2] = {{0}}, bounds = {0};
    struct arena a;
    struct buf b;
    *out = (struct write_histogram){.bytes = SLICE("")};
    arena_init(&a, MIB(64));
    buf_init(&b, MIB(4));
    bool ok = read_fields(d, r, &a, &h, counts, &bounds, out);
    if (ok) {
        out->why = side_wrong(&h.positive, &counts[0]);
        out->why = out->why ? out->why : side_wrong(&h.negative, &counts[1]);
        h.bounds = bounds.v;
        h.n_bounds = bounds.n;
        if ((h.schema < HISTOGRAM_SCHEMA_MIN || h.schema > HISTOGRAM_SCHEMA_MAX) && h.schema != HISTOGRAM_CUSTOM)
            out->why = "a native histogram of an unknown schema";
    }
    if (ok && !out->why) {
        histogram_encode(&h, &b);
        out->bytes = batch_dup(d->b, buf_slice(&b));
        ok = b.err == ERR_OK && !d->b->failed;
    }
    buf_free(&b);
    arena_free(&a);
    return ok;
}

// ---- writing --------------------------------------------------------------------------------------------------------

static bool whole(const struct histogram_side *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!(s->counts[i] >= 0 && s->counts[i] < 9007199254740992.0 && s->counts[i] == (double)(int64_t)s->counts[i]))
            return false;
    return true;
}

static void put_side(struct buf *out, const struct histogram_side *s, uint32_t spans, bool floats)
{
    for (uint32_t i = 0; i < s->n_spans; i++) {
        int32_t o = s->spans[i].offset;
        size_t mark = pb_w_begin(out, spans);
        pb_w_u64(out, 1, (uint32_t)((uint32_t)o << 1 ^ (uint32_t)(o >> 31)));
        pb_w_u64(out, 2, s->spans[i].length);
        pb_w_end(out, mark);
    }
    if (!s->n)
        return;
    size_t mark = pb_w_begin(out, floats ? spans + 2 : spans + 1);
    int64_t before = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        if (floats) {
            buf_put(out, &s->counts[i], sizeof s->counts[i]);
            continue;
        }
        int64_t v = (int64_t)s->counts[i], diff = v - before;
        pb_w_varint(out, (uint64_t)diff << 1 ^ (uint64_t)(diff >> 63));
        before = v;
    }
    pb_w_end(out, mark);
}

void write_histogram_put(struct buf *out, uint32_t field, const struct histogram_sample *h, int64_t time_ms)
{
    struct histogram_side all = {.counts = (double[]){h->count, h->zero_count}, .n = 2};
    bool floats = !whole(&h->positive) || !whole(&h->negative) || !whole(&all);
    size_t mark = pb_w_begin(out, field);
    if (floats) {
        pb_w_double(out, 2, h->count);
        pb_w_double(out, 7, h->zero_count);
    } else {
        pb_w_u64(out, 1, (uint64_t)h->count);
        pb_w_u64(out, 6, (uint64_t)h->zero_count);
    }
    pb_w_double(out, 3, h->sum);
    pb_w_u64(out, 4, (uint32_t)((uint32_t)h->schema << 1 ^ (uint32_t)(h->schema >> 31)));
    pb_w_double(out, 5, h->zero_threshold);
    put_side(out, &h->negative, 8, floats);
    put_side(out, &h->positive, 11, floats);
    pb_w_u64(out, 14, h->hint);
    pb_w_i64(out, 15, time_ms);
    if (h->n_bounds) {
        size_t bounds = pb_w_begin(out, 16);
        buf_put(out, h->bounds, h->n_bounds * sizeof *h->bounds);
        pb_w_end(out, bounds);
    }
    pb_w_end(out, mark);
}
