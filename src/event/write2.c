// io.prometheus.write.v2.Request (remote write 2.0), already un-snappied: 4 symbols, 5 timeseries { 1 labels_refs, 2 samples { 1
// value, 2 timestamp, 3 start_timestamp }, 3 histograms, 4 exemplars { 1 labels_refs, 2 value, 3 timestamp }, 5 metadata { 1
// type, 3 help_ref, 4 unit_ref }, 6 created_timestamp }. References are numbers of symbols; symbol 0 is the empty text.
#include "event/write.h"

struct write2 {
    struct decode *d;
    struct slice *symbols; // UTF-8
    uint32_t n;
};

static bool read_symbols(struct write2 *w, struct pb r)
{
    struct pb walk = r;
    uint32_t n = 0;
    while (pb_next(&walk)) {
        n += walk.field == 4;
        pb_skip(&walk);
    }
    w->symbols = arena_alloc(&w->d->b->arena, n * sizeof *w->symbols);
    if (!w->symbols) {
        w->d->b->failed = true;
        return false;
    }
    while (pb_next(&r)) {
        if (r.field != 4)
            pb_skip(&r);
        else if (pb_bytes(&r, &w->symbols[w->n]))
            w->n++;
    }
    for (uint32_t i = 0; i < w->n; i++)
        w->symbols[i] = decode_text(w->d, w->symbols[i]);
    return !r.failed && !walk.failed;
}

// Pairs of references, packed or not; many times. Those that name no symbol set *why.
struct refs {
    uint32_t v[2 * (MAX_SERIES_LABELS + 1)];
    uint32_t n;
};

static void read_refs(struct pb *r, struct refs *to)
{
    struct slice s;
    struct pb each;
    uint64_t u;
    if (r->wire != PB_LEN) {
        if (pb_u64(r, &u) && to->n < sizeof to->v / sizeof *to->v)
            to->v[to->n++] = u > UINT32_MAX ? UINT32_MAX : (uint32_t)u;
        return;
    }
    if (!pb_bytes(r, &s))
        return;
    pb_init(&each, s, r->err);
    each.wire = PB_VARINT;
    while (each.p < each.end && pb_u64(&each, &u))
        if (to->n < sizeof to->v / sizeof *to->v)
            to->v[to->n++] = u > UINT32_MAX ? UINT32_MAX : (uint32_t)u;
    r->failed |= each.failed;
}

// Null when all is well.
static const char *refs_labels(const struct write2 *w, const struct refs *r, struct label *out, uint32_t *n)
{
    *n = 0;
    if (r->n % 2)
        return "an odd number of label references";
    for (uint32_t i = 0; i < r->n; i += 2) {
        if (r->v[i] >= w->n || r->v[i + 1] >= w->n)
            return "a reference behind the last symbol";
        out[(*n)++] = (struct label){w->symbols[r->v[i]], w->symbols[r->v[i + 1]]};
    }
    return NULL;
}

static struct slice symbol(const struct write2 *w, uint32_t ref)
{
    return ref < w->n ? w->symbols[ref] : SLICE("");
}

static bool read_exemplar(struct write2 *w, struct pb *r, struct buf *out, int64_t *newest)
{
    struct exemplar e = {0};
    struct label labels[MAX_SERIES_LABELS + 1];
    struct refs refs = {.n = 0};
    struct pb x;
    int64_t ms = 0;
    if (!pb_message(r, &x))
        return false;
    while (pb_next(&x)) {
        if (x.field == 1)
            read_refs(&x, &refs);
        else if (x.field == 2)
            pb_double(&x, &e.value);
        else if (x.field == 3)
            pb_i64(&x, &ms);
        else
            pb_skip(&x);
    }
    if (x.failed)
        return false;
    uint32_t n;
    if (refs_labels(w, &refs, labels, &n))
        return true; // the sample is worth more than its exemplar
    e.time = write_time(ms);
    e.n_labels = n < MAX_EXEMPLAR_LABELS ? n : MAX_EXEMPLAR_LABELS;
    memcpy(e.labels, labels, e.n_labels * sizeof *labels);
    e.n_labels = labels_sort(e.labels, e.n_labels);
    exemplar_encode(&e, out);
    *newest = e.time > *newest ? e.time : *newest;
    w->d->report->exemplars++;
    return true;
}

// What stands in a series beside its points.
struct series {
    struct refs refs;
    struct slice exemplars;
    int64_t newest_exemplar, created_ms;
    uint32_t type, help, unit, points;
    bool has_metadata;
};

static void read_metadata(struct pb *r, struct series *s)
{
    struct pb m;
    if (!pb_message(r, &m))
        return;
    s->has_metadata = true;
    while (pb_next(&m)) {
        if (m.field == 1)
            pb_u32(&m, &s->type);
        else if (m.field == 3)
            pb_u32(&m, &s->help);
        else if (m.field == 4)
            pb_u32(&m, &s->unit);
        else
            pb_skip(&m);
    }
}

static bool read_frame(struct write2 *w, struct pb r, struct series *s)
{
    struct buf exemplars;
    bool ok = true;
    buf_init(&exemplars, MAX_HTTP_BODY);
    while (ok && pb_next(&r)) {
        switch (r.field) {
        case 1:
            read_refs(&r, &s->refs);
            break;
        case 4:
            ok = read_exemplar(w, &r, &exemplars, &s->newest_exemplar);
            break;
        case 5:
            read_metadata(&r, s);
            break;
        case 6:
            pb_i64(&r, &s->created_ms);
            break;
        default:
            s->points += r.field == 2 || r.field == 3;
            pb_skip(&r);
        }
    }
    s->exemplars = exemplars.n ? batch_dup(w->d->b, buf_slice(&exemplars)) : SLICE("");
    w->d->b->failed |= exemplars.err != ERR_OK;
    buf_free(&exemplars);
    return ok && !r.failed && !w->d->b->failed;
}

static bool ends_in(struct slice *s, struct slice end)
{
    if (s->n <= end.n || memcmp(s->p + s->n - end.n, end.p, end.n) != 0)
        return false;
    s->n -= end.n;
    return true;
}

static void note_metadata(struct write2 *w, const struct series *s, const struct label *labels, uint32_t n)
{
    struct slice type = slice_str(write_types[s->type < METADATA_TYPES ? s->type : 0]), name = SLICE("");
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(labels[i].name, SLICE("__name__")))
            name = labels[i].value;
    if (s->points &&
        (slice_eq(type, SLICE("histogram")) || slice_eq(type, SLICE("summary")) || slice_eq(type, SLICE("gaugehistogram"))))
        (void)(ends_in(&name, SLICE("_bucket")) || ends_in(&name, SLICE("_count")) || ends_in(&name, SLICE("_sum")));
    struct slice help = symbol(w, s->help), unit = symbol(w, s->unit);
    if (name.n && (s->type || help.n || unit.n || !s->points))
        decode_metadata(w->d, &(struct decode_family){name, type, unit, help});
}

bool write_sample_read(struct pb *r, double *value, int64_t *ms, int64_t *start_ms)
{
    struct pb s;
    *value = 0;
    *ms = 0;
    if (start_ms)
        *start_ms = 0;
    if (!pb_message(r, &s))
        return false;
    while (pb_next(&s)) {
        if (s.field == 1)
            pb_double(&s, value);
        else if (s.field == 2)
            pb_i64(&s, ms);
        else if (s.field == 3 && start_ms)
            pb_i64(&s, start_ms);
        else
            pb_skip(&s);
    }
    return !s.failed;
}

static bool read_points(struct write2 *w, struct pb *r, const struct series *s, struct label *labels, uint32_t n,
                        const char *wrong)
{
    struct decode *d = w->d;
    struct sample out = {.exemplars = s->exemplars};
    bool known = false, refused = false;
    uint32_t series = 0;
    while (pb_next(r)) {
        int64_t ms = 0, start = 0;
        struct pb h;
        struct write_histogram hist = {0};
        if (r->field != 2 && r->field != 3) {
            pb_skip(r);
            continue;
        }
        bool native = r->field == 3;
        if (native ? !pb_message(r, &h) || !write_histogram_read(d, &h, &hist) : !write_sample_read(r, &out.value, &ms, &start))
            return false;
        if (wrong || hist.why) {
            decode_reject(d, 1, "%s", wrong ? wrong : hist.why);
            continue;
        }
        if (refused) {
            d->report->rejected++;
            continue;
        }
        out.histogram = native ? hist.bytes : SLICE("");
        ms = native ? hist.time_ms : ms;
        start = native ? hist.start_ms : start;
        out.start = write_time(start ? start : s->created_ms);
        if (known) {
            decode_sample_of(d, series, write_time(ms), &out);
        } else if ((known = decode_sample(d, labels, n, write_time(ms), &out))) {
            series = d->b->resource[d->b->rows - 1];
        } else {
            refused = true;
            continue;
        }
        out.exemplars = SLICE("");
        d->report->accepted++;
        if (d->b->failed)
            return false;
    }
    return !r->failed;
}

static bool read_series(struct write2 *w, struct pb *r)
{
    struct series s = {.exemplars = SLICE("")};
    struct label labels[MAX_SERIES_LABELS + 1];
    uint32_t n;
    if (!read_frame(w, *r, &s))
        return false;
    const char *wrong = refs_labels(w, &s.refs, labels, &n);
    if (!wrong && s.has_metadata)
        note_metadata(w, &s, labels, n);
    if (!wrong && !s.points && s.exemplars.n)
        decode_sample(w->d, labels, n, s.newest_exemplar, &(struct sample){.exemplars = s.exemplars, .alone = true});
    return read_points(w, r, &s, labels, n, wrong) && !w->d->b->failed;
}

bool decode_write2(struct decode *d, struct slice bytes)
{
    struct write2 w = {.d = d};
    struct pb r;
    decode_part(d, &r, bytes);
    if (!read_symbols(&w, r))
        return false;
    while (pb_next(&r)) {
        struct pb series;
        if (r.field != 5)
            pb_skip(&r);
        else if (!pb_message(&r, &series) || !read_series(&w, &series))
            return false;
    }
    return !r.failed;
}
