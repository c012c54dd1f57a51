// prometheus.WriteRequest (remote write 1.0), already un-snappied: 1 timeseries { 1 labels { 1 name, 2 value }, 2 samples { 1
// value, 2 timestamp }, 3 exemplars { 1 labels, 2 value, 3 timestamp }, 4 histograms }, 3 metadata { 1 type, 2 family, 4 help, 5
// unit }.
#include "base/utf8.h"
#include "event/write.h"

// What nearly all labels are: name and value, in this order, lengths of one byte.
static bool plain_label(const uint8_t *p, size_t n, struct label *out)
{
    size_t name = n >= 4 && p[0] == 0x0a ? p[1] : 128;
    if (name >= 128 || n < name + 4 || p[2 + name] != 0x12 || p[3 + name] != n - name - 4 || n - name - 4 >= 128)
        return false;
    out->name = slice_of(p + 2, name);
    out->value = slice_of(p + name + 4, n - name - 4);
    return true;
}

static bool read_label(struct pb *r, struct label *out)
{
    struct slice s;
    struct pb l;
    *out = (struct label){SLICE(""), SLICE("")};
    struct pb again = *r;
    if (!pb_bytes(r, &s))
        return false;
    if (plain_label((const uint8_t *)s.p, s.n, out))
        return true;
    *out = (struct label){SLICE(""), SLICE("")};
    if (!pb_message(&again, &l))
        return false;
    while (pb_next(&l)) {
        if (l.field == 1)
            pb_bytes(&l, &out->name);
        else if (l.field == 2)
            pb_bytes(&l, &out->value);
        else
            pb_skip(&l);
    }
    r->failed |= l.failed;
    return !l.failed;
}

static bool read_exemplar(struct pb *r, struct exemplar *e)
{
    struct pb x;
    int64_t ms = 0;
    *e = (struct exemplar){0};
    if (!pb_message(r, &x))
        return false;
    while (pb_next(&x)) {
        struct label l;
        if (x.field == 1 && read_label(&x, &l)) {
            if (e->n_labels < MAX_EXEMPLAR_LABELS)
                e->labels[e->n_labels++] = l;
        } else if (x.field == 2) {
            pb_double(&x, &e->value);
        } else if (x.field == 3) {
            pb_i64(&x, &ms);
        } else if (x.field != 1) {
            pb_skip(&x);
        }
    }
    e->time = write_time(ms);
    e->n_labels = labels_sort(e->labels, e->n_labels);
    return !x.failed;
}

static void clean_labels(struct decode *d, struct label *l, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        l[i].name = decode_text(d, l[i].name);
        l[i].value = decode_text(d, l[i].value);
    }
}

// The exemplars of the series, together; they go with its first sample, or stand alone in a row.
static bool read_exemplars(struct decode *d, struct pb r, struct slice *out, int64_t *newest)
{
    struct exemplar e;
    struct buf b;
    buf_init(&b, MAX_HTTP_BODY);
    *newest = 0;
    while (pb_next(&r)) {
        if (r.field != 3) {
            pb_skip(&r);
        } else if (read_exemplar(&r, &e)) {
            clean_labels(d, e.labels, e.n_labels);
            exemplar_encode(&e, &b);
            *newest = e.time > *newest ? e.time : *newest;
            d->report->exemplars++;
        }
    }
    if (b.n)
        *out = batch_dup(d->b, buf_slice(&b));
    d->b->failed |= b.err != ERR_OK;
    buf_free(&b);
    return !r.failed && !d->b->failed;
}

static bool store(struct decode *d, struct label *labels, uint32_t n, bool *known, uint32_t *series, int64_t ms, struct sample *s)
{
    if (*known) {
        decode_sample_of(d, *series, write_time(ms), s);
    } else {
        if (!decode_sample(d, labels, n, write_time(ms), s))
            return false;
        *known = true;
        *series = d->b->resource[d->b->rows - 1];
    }
    d->report->accepted++;
    s->exemplars = SLICE("");
    return !d->b->failed;
}

static bool read_points(struct decode *d, struct pb *r, struct label *labels, uint32_t n, struct slice exemplars)
{
    bool known = false, refused = false;
    uint32_t series = 0;
    struct sample s = {.exemplars = exemplars};
    while (pb_next(r)) {
        int64_t ms;
        struct pb h;
        struct write_histogram hist;
        if (r->field != 2 && r->field != 4) {
            pb_skip(r);
            continue;
        }
        if (r->field == 2 ? !write_sample_read(r, &s.value, &ms, NULL)
                          : !pb_message(r, &h) || !write_histogram_read(d, &h, &hist))
            return false;
        if (refused) { // the labels are no good
            d->report->rejected++;
        } else if (r->field == 4 && hist.why) {
            decode_reject(d, 1, "%s", hist.why);
        } else {
            s.histogram = r->field == 4 ? hist.bytes : SLICE("");
            refused = !store(d, labels, n, &known, &series, r->field == 4 ? hist.time_ms : ms, &s);
        }
        if (d->b->failed)
            return false;
    }
    return !r->failed;
}

static bool read_series(struct decode *d, struct pb *r)
{
    struct label labels[MAX_SERIES_LABELS + 1];
    struct slice exemplars = SLICE("");
    struct pb points = *r;
    uint32_t n = 0;
    bool any = false, has_exemplars = false;
    int64_t newest;
    const uint8_t *from = r->p, *to = r->p; // the labels, as long as nothing stands between them
    while (pb_next(r)) {
        struct label spare;
        if (r->field == 1) {
            bool next = r->tag == to;
            if (!read_label(r, n <= MAX_SERIES_LABELS ? &labels[n] : &spare))
                return false;
            n += n <= MAX_SERIES_LABELS;
            to = next ? r->p : NULL;
            continue;
        }
        any |= r->field == 2 || r->field == 4;
        has_exemplars |= r->field == 3;
        pb_skip(r);
    }
    if (r->failed)
        return false;
    // Where the labels with their tags and lengths are UTF-8 each of them is: tags are ASCII, and so is a length or its second
    // byte.
    if (!to || !utf8_valid(slice_of(from, (size_t)(to - from))))
        clean_labels(d, labels, n);
    if (has_exemplars && !read_exemplars(d, points, &exemplars, &newest))
        return false;
    if (any)
        return read_points(d, &points, labels, n, exemplars);
    if (exemplars.n && decode_sample(d, labels, n, newest, &(struct sample){.exemplars = exemplars, .alone = true}))
        return !d->b->failed;
    return !d->b->failed;
}

static bool read_metadata(struct decode *d, struct pb *r)
{
    struct decode_family f = {SLICE(""), SLICE(""), SLICE(""), SLICE("")};
    uint32_t type = 0;
    while (pb_next(r)) {
        if (r->field == 1)
            pb_u32(r, &type);
        else if (r->field == 2)
            pb_bytes(r, &f.name);
        else if (r->field == 4)
            pb_bytes(r, &f.description);
        else if (r->field == 5)
            pb_bytes(r, &f.unit);
        else
            pb_skip(r);
    }
    f.type = slice_str(write_types[type < METADATA_TYPES ? type : 0]);
    f.name = decode_text(d, f.name);
    f.description = decode_text(d, f.description);
    f.unit = decode_text(d, f.unit);
    if (!r->failed && f.name.n)
        decode_metadata(d, &f);
    return !r->failed && !d->b->failed;
}

bool decode_write1(struct decode *d, struct slice bytes)
{
    struct pb r;
    decode_part(d, &r, bytes);
    while (pb_next(&r)) {
        struct pb part;
        if (r.field != 1 && r.field != 3)
            pb_skip(&r);
        else if (!pb_message(&r, &part))
            return false;
        else if (r.field == 1 ? !read_series(d, &part) : !read_metadata(d, &part))
            return false;
    }
    return !r.failed;
}
