// The bytes of native histograms and exemplars.
//
//   histogram  u8 1, u8 hint | 16 when counts are f64 (else varints), varint zigzag schema, f64 zero threshold,
//              count zero count, count all, f64 sum, side positive, side negative,
//              schema custom only: varint bounds, f64 each
//   side       varint spans: { varint zigzag offset, varint length }, then of each bucket its count (f64), or the varint zigzag
//              difference to the bucket before
//   exemplar   u8 1, varint zigzag ns, f64 value, varint labels: { varint length, name, varint length, value }
#include "event/sample.h"
#include "base/pb.h"

enum { FORMAT = 1, FLOATS = 16 };

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

// ---- writing --------------------------------------------------------------------------------------------------------

static void put_f64(struct buf *out, double v)
{
    buf_put(out, &v, sizeof v);
}

static bool is_whole(double v)
{
    return v >= 0 && v <= 9007199254740992.0 && v == (double)(uint64_t)v;
}

static bool side_is_whole(const struct histogram_side *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!is_whole(s->counts[i]))
            return false;
    return true;
}

static void put_side(struct buf *out, const struct histogram_side *s, bool floats)
{
    int64_t before = 0;
    pb_w_varint(out, s->n_spans);
    for (uint32_t i = 0; i < s->n_spans; i++) {
        pb_w_varint(out, zigzag(s->spans[i].offset));
        pb_w_varint(out, s->spans[i].length);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        if (floats) {
            put_f64(out, s->counts[i]);
        } else {
            pb_w_varint(out, zigzag((int64_t)s->counts[i] - before));
            before = (int64_t)s->counts[i];
        }
    }
}

void histogram_encode(const struct histogram_sample *h, struct buf *out)
{
    bool floats = !is_whole(h->count) || !is_whole(h->zero_count) || !side_is_whole(&h->positive) || !side_is_whole(&h->negative);
    buf_char(out, FORMAT);
    buf_char(out, (char)((int)h->hint | (floats ? FLOATS : 0)));
    pb_w_varint(out, zigzag(h->schema));
    put_f64(out, h->zero_threshold);
    if (floats) {
        put_f64(out, h->zero_count);
        put_f64(out, h->count);
    } else {
        pb_w_varint(out, (uint64_t)h->zero_count);
        pb_w_varint(out, (uint64_t)h->count);
    }
    put_f64(out, h->sum);
    put_side(out, &h->positive, floats);
    put_side(out, &h->negative, floats);
    if (h->schema == HISTOGRAM_CUSTOM) {
        pb_w_varint(out, h->n_bounds);
        for (uint32_t i = 0; i < h->n_bounds; i++)
            put_f64(out, h->bounds[i]);
    }
}

// ---- reading --------------------------------------------------------------------------------------------------------

struct reader {
    const uint8_t *p, *end;
    bool bad;
};

static uint64_t get_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        uint8_t c = *r->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return v;
    }
    r->bad = true;
    return 0;
}

static double get_f64(struct reader *r)
{
    double v = 0;
    if (r->end - r->p < (ptrdiff_t)sizeof v) {
        r->bad = true;
        return 0;
    }
    memcpy(&v, r->p, sizeof v);
    r->p += sizeof v;
    return v;
}

// A number of things of which each takes at least `each` bytes.
static uint32_t get_count(struct reader *r, uint32_t each)
{
    uint64_t n = get_varint(r);
    if (n > (uint64_t)(r->end - r->p) / each)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)n;
}

static struct slice get_text(struct reader *r)
{
    uint32_t n = get_count(r, 1);
    struct slice s = slice_of(r->p, n);
    r->p += n;
    return s;
}

static bool get_side(struct reader *r, struct histogram_side *s, bool floats, struct arena *a)
{
    int64_t before = 0;
    uint64_t n = 0;
    s->n_spans = get_count(r, 2);
    s->spans = ARENA_ARRAY(a, struct histogram_span, s->n_spans);
    for (uint32_t i = 0; s->spans && i < s->n_spans && !r->bad; i++) {
        s->spans[i].offset = (int32_t)unzigzag(get_varint(r));
        s->spans[i].length = (uint32_t)get_varint(r);
        n += s->spans[i].length;
    }
    if (n > (uint64_t)(r->end - r->p) / (floats ? 8 : 1))
        r->bad = true;
    s->n = r->bad ? 0 : (uint32_t)n;
    s->counts = ARENA_ARRAY(a, double, s->n);
    for (uint32_t i = 0; s->counts && i < s->n && !r->bad; i++) {
        if (!floats)
            before = (int64_t)((uint64_t)before + (uint64_t)unzigzag(get_varint(r)));
        s->counts[i] = floats ? get_f64(r) : (double)before;
    }
    return s->spans && s->counts;
}

enum errc histogram_decode(struct slice bytes, struct arena *a, struct histogram_sample *out)
{
    struct reader r = {(const uint8_t *)bytes.p, (const uint8_t *)bytes.p + bytes.n, bytes.n < 2 || bytes.p[0] != FORMAT};
    *out = (struct histogram_sample){0};
    if (r.bad)
        return ERR_CORRUPT;
    bool floats = r.p[1] & FLOATS;
    out->hint = (enum histogram_hint)(r.p[1] & 3);
    r.p += 2;
    out->schema = (int32_t)unzigzag(get_varint(&r));
    out->zero_threshold = get_f64(&r);
    out->zero_count = floats ? get_f64(&r) : (double)get_varint(&r);
    out->count = floats ? get_f64(&r) : (double)get_varint(&r);
    out->sum = get_f64(&r);
    bool memory = get_side(&r, &out->positive, floats, a) && get_side(&r, &out->negative, floats, a);
    if (memory && out->schema == HISTOGRAM_CUSTOM) {
        out->n_bounds = get_count(&r, 8);
        out->bounds = ARENA_ARRAY(a, double, out->n_bounds);
        memory = out->bounds != NULL;
        for (uint32_t i = 0; memory && i < out->n_bounds; i++)
            out->bounds[i] = get_f64(&r);
    }
    if (!memory)
        return ERR_LIMIT;
    return r.bad || r.p != r.end ? ERR_CORRUPT : ERR_OK;
}

// ---- exemplars ------------------------------------------------------------------------------------------------------

void exemplar_encode(const struct exemplar *e, struct buf *out)
{
    uint32_t n = e->n_labels < MAX_EXEMPLAR_LABELS ? e->n_labels : MAX_EXEMPLAR_LABELS;
    buf_char(out, FORMAT);
    pb_w_varint(out, zigzag(e->time));
    put_f64(out, e->value);
    pb_w_varint(out, n);
    for (uint32_t i = 0; i < n; i++) {
        pb_w_varint(out, e->labels[i].name.n);
        buf_add(out, e->labels[i].name);
        pb_w_varint(out, e->labels[i].value.n);
        buf_add(out, e->labels[i].value);
    }
}

bool exemplar_next(struct slice *bytes, struct exemplar *out)
{
    if (!bytes->n || bytes->p[0] != FORMAT)
        return false;
    struct reader r = {(const uint8_t *)bytes->p + 1, (const uint8_t *)bytes->p + bytes->n, false};
    out->time = unzigzag(get_varint(&r));
    out->value = get_f64(&r);
    out->n_labels = get_count(&r, 2);
    if (out->n_labels > MAX_EXEMPLAR_LABELS)
        return false;
    for (uint32_t i = 0; i < out->n_labels; i++) {
        out->labels[i].name = get_text(&r);
        out->labels[i].value = get_text(&r);
    }
    if (r.bad)
        return false;
    *bytes = slice_of(r.p, (size_t)(r.end - r.p));
    return true;
}
