// Samples into rows: what the decoders of metrics share.
#include "base/utf8.h"
#include "event/decode.h"
#include "event/sample.h"
#include <stdlib.h>

enum { MILLI = 1000000 };
#define HOUR_NS 3600000000000ll

int64_t sample_time(const struct decode *d, int64_t ns)
{
    if (ns < MILLI)
        ns = d->opt->received_ns;
    return ns - ns % MILLI;
}

void decode_sample_of(struct decode *d, uint32_t series, int64_t time_ns, const struct sample *s)
{
    batch_row(d->b, sample_time(d, time_ns), series);
    if (s->histogram.n) {
        batch_field_str(d->b, FIELD_HISTOGRAM, s->histogram);
        d->report->histograms++;
    } else if (!s->alone) {
        batch_field_f64(d->b, FIELD_VALUE, s->value);
    }
    if (s->start > 0)
        batch_field_i64(d->b, FIELD_START, s->start - s->start % MILLI);
    if (s->delta)
        batch_field_i64(d->b, FIELD_FLAGS, SAMPLE_DELTA);
    if (s->exemplars.n)
        batch_field_str(d->b, FIELD_EXEMPLARS, s->exemplars);
}

static bool named(const struct label *labels, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(labels[i].name, SLICE("__name__")))
            return true;
    return false;
}

static bool good_labels(struct decode *d, const struct label *labels, uint32_t n)
{
    if (n > MAX_SERIES_LABELS) {
        decode_reject(d, 1, "a series with %u labels; at most %d are accepted", n, MAX_SERIES_LABELS);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!labels[i].name.n || labels[i].name.n > MAX_LABEL_NAME) {
            decode_reject(d, 1, "a label name of %zu bytes; it must have 1 to %d", labels[i].name.n, MAX_LABEL_NAME);
            return false;
        }
        if (i && slice_eq(labels[i - 1].name, labels[i].name)) {
            decode_reject(d, 1, "label \"%.*s\" is there twice", decode_shown(labels[i].name), labels[i].name.p);
            return false;
        }
    }
    if (!named(labels, n)) {
        decode_reject(d, 1, "a series without __name__");
        return false;
    }
    return true;
}

static bool sorted(const struct label *labels, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!labels[i].value.n || (i && slice_cmp(labels[i - 1].name, labels[i].name) >= 0))
            return false;
    return true;
}

// As labels_sort, but equal names stay for good_labels to see.
static uint32_t sort(struct label *labels, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct label l = labels[i];
        uint32_t at = kept;
        if (!l.value.n)
            continue;
        for (; at && slice_cmp(labels[at - 1].name, l.name) > 0; at--)
            labels[at] = labels[at - 1];
        labels[at] = l;
        kept++;
    }
    return kept;
}

bool decode_sample(struct decode *d, struct label *labels, uint32_t n, int64_t time_ns, const struct sample *s)
{
    if (!sorted(labels, n))
        n = sort(labels, n);
    if (!good_labels(d, labels, n))
        return false;
    decode_sample_of(d, batch_resource(d->b, labels, n, NULL, 0), time_ns, s);
    return true;
}

void decode_metadata(struct decode *d, const struct decode_family *f)
{
    if (d->n_families == d->cap_families) {
        uint32_t cap = d->cap_families ? d->cap_families * 2 : 32;
        struct decode_family *p = arena_grow(&d->b->arena, d->families, d->n_families * sizeof *p, cap * sizeof *p);
        if (!p) {
            d->b->failed = true;
            return;
        }
        d->families = p;
        d->cap_families = cap;
    }
    d->families[d->n_families++] = *f;
}

static int by_family(const void *a, const void *b)
{
    const struct decode_family *x = a, *y = b;
    int c = slice_cmp(x->name, y->name);
    c = c ? c : slice_cmp(x->type, y->type);
    c = c ? c : slice_cmp(x->unit, y->unit);
    return c ? c : slice_cmp(x->description, y->description);
}

void decode_metadata_rows(struct decode *d)
{
    int64_t at = d->opt->received_ns;
    if (!d->n_families)
        return;
    qsort(d->families, d->n_families, sizeof *d->families, by_family);
    uint32_t none = batch_resource(d->b, NULL, 0, NULL, 0);
    for (uint32_t i = 0; i < d->n_families; i++) {
        const struct decode_family *f = &d->families[i];
        if (i && by_family(f - 1, f) == 0)
            continue;
        batch_row(d->b, at - at % HOUR_NS, none);
        batch_field_str(d->b, FIELD_NAME, f->name);
        if (f->type.n)
            batch_field_str(d->b, FIELD_METRIC_TYPE, f->type);
        if (f->unit.n)
            batch_field_str(d->b, FIELD_UNIT, f->unit);
        if (f->description.n)
            batch_field_str(d->b, FIELD_DESCRIPTION, f->description);
    }
}
