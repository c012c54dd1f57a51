// Points of histograms, exponential histograms and summaries; exemplars.
#include "event/otlp_metrics.h"

// ---- exemplars ------------------------------------------------------------------------------------------------------

static void exemplar_label(struct exemplar *e, struct slice name, struct slice value)
{
    if (name.n && value.n && e->n_labels < MAX_EXEMPLAR_LABELS)
        e->labels[e->n_labels++] = (struct label){name, value};
}

static struct slice hex_text(struct decode *d, struct slice id)
{
    char text[32];
    hex_encode(text, id.p, id.n);
    return batch_dup(d->b, slice_of(text, 2 * id.n));
}

static bool read_exemplar(struct decode *d, struct slice message, struct exemplar *e)
{
    struct pb r;
    *e = (struct exemplar){0};
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        struct slice s;
        struct attr a;
        uint64_t u;
        switch (r.field) {
        case 2:
            if (pb_fixed64(&r, &u))
                e->time = decode_time(u) / 1000000 * 1000000;
            break;
        case 3:
            pb_double(&r, &e->value);
            break;
        case 4:
            if (pb_bytes(&r, &s) && s.n == 8 && load_be64(s.p))
                exemplar_label(e, SLICE("span_id"), hex_text(d, s));
            break;
        case 5:
            if (pb_bytes(&r, &s) && s.n == 16 && !id128_zero(id128_load(s.p)))
                exemplar_label(e, SLICE("trace_id"), hex_text(d, s));
            break;
        case 6:
            if (pb_fixed64(&r, &u))
                e->value = (double)(int64_t)u;
            break;
        case 7:
            if (!pb_bytes(&r, &s) || !decode_attr(d, s, &a))
                return false;
            exemplar_label(e, a.key, decode_label_value(d, &a.value));
            break;
        default:
            pb_skip(&r);
        }
    }
    e->n_labels = labels_sort(e->labels, e->n_labels);
    return !r.failed;
}

bool metrics_exemplars(struct metrics *m, struct slice point, uint32_t field, double above, double up_to, struct slice *out)
{
    struct decode *d = m->d;
    struct buf b;
    struct pb r;
    *out = SLICE("");
    buf_init(&b, MAX_HTTP_BODY);
    decode_part(d, &r, point);
    while (pb_next(&r)) {
        struct exemplar e;
        struct slice s;
        if (r.field != field) {
            pb_skip(&r);
            continue;
        }
        if (!pb_bytes(&r, &s) || !read_exemplar(d, s, &e)) {
            r.failed = true;
            break;
        }
        bool inside = (above == -INFINITY || e.value > above) && (up_to == INFINITY || e.value <= up_to);
        if (inside) {
            exemplar_encode(&e, &b);
            d->report->exemplars++;
        }
    }
    if (b.n)
        *out = batch_dup(d->b, buf_slice(&b));
    d->b->failed |= b.err != ERR_OK;
    buf_free(&b);
    return !r.failed && !d->b->failed;
}

// ---- numbers --------------------------------------------------------------------------------------------------------

struct numbers {
    double *v;
    uint32_t n, cap;
};

static void number_add(struct metrics *m, struct numbers *to, double v)
{
    if (to->n == to->cap) {
        uint32_t cap = to->cap ? to->cap * 2 : 32;
        double *p = arena_grow(&m->scratch, to->v, to->n * sizeof *p, cap * sizeof *p);
        if (!p) {
            m->d->b->failed = true;
            return;
        }
        to->v = p;
        to->cap = cap;
    }
    to->v[to->n++] = v;
}

enum number { NUMBER_DOUBLE, NUMBER_FIXED64, NUMBER_VARINT };

static void read_number(struct metrics *m, struct pb *r, enum number kind, struct numbers *to)
{
    uint64_t u = 0;
    double v = 0;
    if (kind == NUMBER_DOUBLE ? !pb_double(r, &v) : kind == NUMBER_FIXED64 ? !pb_fixed64(r, &u) : !pb_u64(r, &u))
        return;
    number_add(m, to, kind == NUMBER_DOUBLE ? v : (double)u);
}

// A repeated number, packed or not.
static void read_numbers(struct metrics *m, struct pb *r, enum number kind, struct numbers *to)
{
    struct slice s;
    struct pb each;
    if (r->wire != PB_LEN) {
        read_number(m, r, kind, to);
        return;
    }
    if (!pb_bytes(r, &s))
        return;
    decode_part(m->d, &each, s);
    each.wire = kind == NUMBER_VARINT ? PB_VARINT : PB_FIXED64;
    while (each.p < each.end && !each.failed && !m->d->b->failed)
        read_number(m, &each, kind, to);
    r->failed |= each.failed;
}

// What the points of histograms and summaries begin with.
struct head {
    struct point p;
    double count, sum;
    bool has_sum;
};

// False: the field is none of these. Flags stand elsewhere in a summary.
static bool read_head(struct pb *r, struct head *h, uint32_t flags_field)
{
    uint64_t u;
    if (r->field == flags_field) {
        pb_u32(r, &h->p.flags);
        h->p.stale = h->p.flags & 1;
        return true;
    }
    switch (r->field) {
    case 2:
        pb_fixed64(r, &h->p.start);
        return true;
    case 3:
        pb_fixed64(r, &h->p.time);
        return true;
    case 4:
        if (pb_fixed64(r, &u))
            h->count = (double)u;
        return true;
    case 5:
        h->has_sum |= pb_double(r, &h->sum);
        return true;
    default:
        return false;
    }
}

// ---- explicit histograms --------------------------------------------------------------------------------------------

struct histogram {
    struct head head;
    struct numbers counts, bounds;
};

static bool read_histogram(struct metrics *m, struct slice message, struct histogram *h)
{
    struct pb r;
    decode_part(m->d, &r, message);
    while (pb_next(&r)) {
        if (r.field == 6)
            read_numbers(m, &r, NUMBER_FIXED64, &h->counts);
        else if (r.field == 7)
            read_numbers(m, &r, NUMBER_DOUBLE, &h->bounds);
        else if (!read_head(&r, &h->head, 10))
            pb_skip(&r);
    }
    return !r.failed && !m->d->b->failed;
}

// Why the numbers are no histogram, or null.
static const char *histogram_wrong(const struct histogram *h)
{
    if (h->counts.n && h->counts.n != h->bounds.n + 1)
        return "has not one bucket more than bounds";
    for (uint32_t i = 0; i < h->bounds.n; i++)
        if (h->bounds.v[i] != h->bounds.v[i] || (i && h->bounds.v[i] <= h->bounds.v[i - 1]))
            return "has bounds that do not rise";
    return NULL;
}

static struct slice bound_text(struct decode *d, double bound)
{
    struct buf b;
    buf_init(&b, 512);
    buf_f64(&b, bound);
    struct slice s = batch_dup(d->b, buf_slice(&b));
    buf_free(&b);
    return s;
}

static bool emit_buckets(struct metrics *m, struct slice message, const struct histogram *h, const struct labels *l,
                         struct sample s)
{
    double up_to = 0, above = -INFINITY;
    uint32_t n = h->counts.n || h->head.p.stale ? h->bounds.n : 0;
    for (uint32_t i = 0; i <= n; i++) {
        double bound = i < n ? h->bounds.v[i] : INFINITY;
        up_to += i < h->counts.n ? h->counts.v[i] : 0;
        if (i < n && bound == INFINITY) // the bucket that comes anyway
            continue;
        if (!h->head.p.stale)
            s.value = i == n ? h->head.count : up_to;
        if (!metrics_exemplars(m, message, 8, above, bound, &s.exemplars))
            return false;
        metrics_emit(m, m->bucket_name, l, SLICE("le"), bound_text(m->d, bound), decode_time(h->head.p.time), &s);
        above = bound;
    }
    return true;
}

bool metrics_histogram_point(struct metrics *m, struct slice message)
{
    struct decode *d = m->d;
    struct histogram h = {0};
    struct labels l;
    arena_reset(&m->scratch);
    if (!read_histogram(m, message, &h) || !metrics_point_labels(m, message, 9, &l))
        return false;
    const char *wrong = h.head.p.stale ? NULL : histogram_wrong(&h);
    if (wrong && !l.bad)
        decode_reject(d, 1, "histogram \"%.*s\": a point %s", decode_shown(m->name), m->name.p, wrong);
    if (wrong || l.bad)
        return true;
    struct sample s = {.start = decode_time(h.head.p.start), .delta = m->delta, .value = h.head.count};
    int64_t time = decode_time(h.head.p.time);
    if (h.head.p.stale)
        s = (struct sample){.value = sample_from_bits(SAMPLE_STALE)};
    bool stored = metrics_emit(m, m->count_name, &l, SLICE_NONE, SLICE_NONE, time, &s);
    metrics_count(m, &h.head.p, stored);
    if (!stored)
        return true;
    if (!emit_buckets(m, message, &h, &l, s))
        return false;
    if (h.head.has_sum && !h.head.p.stale)
        s.value = h.head.sum;
    if (h.head.has_sum || h.head.p.stale)
        metrics_emit(m, m->sum_name, &l, SLICE_NONE, SLICE_NONE, time, &s);
    return !d->b->failed;
}

// ---- exponential histograms -----------------------------------------------------------------------------------------

struct exponential {
    struct head head;
    double zero_count, zero_threshold;
    int32_t scale, offset[2];
    struct numbers counts[2]; // positive, negative
};

static int32_t zigzag32(uint64_t u)
{
    return (int32_t)((uint32_t)u >> 1) ^ -(int32_t)(u & 1);
}

static void read_buckets(struct metrics *m, struct pb *r, int32_t *offset, struct numbers *counts)
{
    struct pb b;
    uint64_t u;
    if (!pb_message(r, &b))
        return;
    while (pb_next(&b)) {
        if (b.field == 1 && pb_u64(&b, &u))
            *offset = zigzag32(u);
        else if (b.field == 2)
            read_numbers(m, &b, NUMBER_VARINT, counts);
        else if (b.field != 1)
            pb_skip(&b);
    }
}

static bool read_exponential(struct metrics *m, struct slice message, struct exponential *e)
{
    struct pb r;
    uint64_t u;
    decode_part(m->d, &r, message);
    while (pb_next(&r)) {
        switch (r.field) {
        case 6:
            if (pb_u64(&r, &u))
                e->scale = zigzag32(u);
            break;
        case 7:
            if (pb_fixed64(&r, &u))
                e->zero_count = (double)u;
            break;
        case 8:
        case 9:
            read_buckets(m, &r, &e->offset[r.field - 8], &e->counts[r.field - 8]);
            break;
        case 14:
            pb_double(&r, &e->zero_threshold);
            break;
        default:
            if (!read_head(&r, &e->head, 10))
                pb_skip(&r);
        }
    }
    return !r.failed && !m->d->b->failed;
}

// Buckets from `offset` on, `shift` times two of them made one, as spans. OpenTelemetry's bucket i begins where Prometheus' i
// ends.
static bool fill_side(struct metrics *m, const struct numbers *counts, int32_t offset, int shift, struct histogram_side *out)
{
    struct numbers merged = {0};
    int64_t first = 0, at;
    uint32_t gap = 0;
    for (uint32_t i = 0; i < counts->n; i++) {
        at = (((int64_t)offset + i) >> shift) + 1;
        if (!merged.n && counts->v[i] == 0)
            continue;
        if (!merged.n)
            first = at;
        while (first + merged.n <= at && !m->d->b->failed)
            number_add(m, &merged, 0);
        if (m->d->b->failed)
            return false;
        merged.v[at - first] += counts->v[i];
    }
    while (merged.n && merged.v[merged.n - 1] == 0)
        merged.n--;
    out->spans = ARENA_ARRAY(&m->scratch, struct histogram_span, merged.n + 1);
    out->counts = ARENA_ARRAY(&m->scratch, double, merged.n);
    if (!out->spans || !out->counts || first != (int32_t)first)
        return false;
    enum { GAP = 2 }; // so many empty buckets are cheaper than a span
    for (uint32_t i = 0; i < merged.n; i++) {
        struct histogram_span *s = out->n_spans ? &out->spans[out->n_spans - 1] : NULL;
        if (merged.v[i] == 0) {
            gap++;
            continue;
        }
        if (!s || gap > GAP) {
            out->spans[out->n_spans++] = (struct histogram_span){s ? (int32_t)gap : (int32_t)first, 1};
        } else {
            s->length += gap + 1;
            for (; gap; gap--)
                out->counts[out->n++] = 0;
        }
        gap = 0;
        out->counts[out->n++] = merged.v[i];
    }
    return true;
}

bool metrics_exponential_point(struct metrics *m, struct slice message)
{
    struct decode *d = m->d;
    struct exponential e = {0};
    struct labels l;
    arena_reset(&m->scratch);
    if (!read_exponential(m, message, &e) || !metrics_point_labels(m, message, 1, &l))
        return false;
    if (l.bad)
        return true;
    int shift = e.scale > HISTOGRAM_SCHEMA_MAX ? e.scale - HISTOGRAM_SCHEMA_MAX : 0;
    struct histogram_sample h = {.schema = e.scale - shift,
                                 .zero_threshold = e.zero_threshold > 0 ? e.zero_threshold : 1e-128,
                                 .zero_count = e.zero_count,
                                 .count = e.head.count,
                                 .sum = e.head.sum};
    if (e.head.p.stale)
        h = (struct histogram_sample){.sum = sample_from_bits(SAMPLE_STALE)};
    bool fine = e.scale >= HISTOGRAM_SCHEMA_MIN && shift < 32 && e.counts[0].n + e.counts[1].n <= MAX_HISTOGRAM_BUCKETS;
    if (fine && !e.head.p.stale)
        fine = fill_side(m, &e.counts[0], e.offset[0], shift, &h.positive) &&
               fill_side(m, &e.counts[1], e.offset[1], shift, &h.negative);
    if (!fine) {
        decode_reject(
            d, 1, "exponential histogram \"%.*s\": scale %d, %u buckets; the scale must be %d or more, the buckets at most %d",
            decode_shown(m->name), m->name.p, e.scale, e.counts[0].n + e.counts[1].n, HISTOGRAM_SCHEMA_MIN,
            MAX_HISTOGRAM_BUCKETS);
        return !d->b->failed;
    }
    struct buf b;
    buf_init(&b, MIB(2));
    histogram_encode(&h, &b);
    struct sample s = {
        .histogram = batch_dup(d->b, buf_slice(&b)), .start = decode_time(e.head.p.start), .delta = m->delta && !e.head.p.stale};
    buf_free(&b);
    if (!metrics_exemplars(m, message, 11, -INFINITY, INFINITY, &s.exemplars))
        return false;
    metrics_count(m, &e.head.p, metrics_emit(m, m->family, &l, SLICE_NONE, SLICE_NONE, decode_time(e.head.p.time), &s));
    return !d->b->failed;
}

// ---- summaries ------------------------------------------------------------------------------------------------------

static bool read_quantile(struct pb *r, double *quantile, double *value)
{
    struct pb q;
    *quantile = *value = 0;
    if (!pb_message(r, &q))
        return false;
    while (pb_next(&q)) {
        if (q.field == 1)
            pb_double(&q, quantile);
        else if (q.field == 2)
            pb_double(&q, value);
        else
            pb_skip(&q);
    }
    return !q.failed;
}

bool metrics_summary_point(struct metrics *m, struct slice message)
{
    struct decode *d = m->d;
    struct head h = {0};
    struct labels l;
    struct pb r;
    double quantile, value;
    decode_part(d, &r, message);
    while (pb_next(&r))
        if (!read_head(&r, &h, 8))
            pb_skip(&r);
    if (r.failed || !metrics_point_labels(m, message, 7, &l))
        return false;
    if (l.bad)
        return true;
    double stale = sample_from_bits(SAMPLE_STALE);
    struct sample s = {.start = h.p.stale ? 0 : decode_time(h.p.start), .value = h.p.stale ? stale : h.count};
    int64_t time = decode_time(h.p.time);
    bool stored = metrics_emit(m, m->count_name, &l, SLICE_NONE, SLICE_NONE, time, &s);
    metrics_count(m, &h.p, stored);
    s.value = h.p.stale ? stale : h.sum;
    if (stored)
        metrics_emit(m, m->sum_name, &l, SLICE_NONE, SLICE_NONE, time, &s);
    decode_part(d, &r, message);
    while (stored && pb_next(&r)) {
        if (r.field != 6) {
            pb_skip(&r);
            continue;
        }
        if (!read_quantile(&r, &quantile, &value))
            return false;
        s.value = h.p.stale ? stale : value;
        metrics_emit(m, m->family, &l, SLICE("quantile"), bound_text(d, quantile), time, &s);
    }
    return !r.failed && !d->b->failed;
}
