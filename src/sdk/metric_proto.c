// Prometheus' protobuf form, io.prometheus.client.MetricFamily: the one that knows exponential buckets.
// Fields: https://github.com/prometheus/client_model, io/prometheus/client/metrics.proto.
#include "base/pb.h"
#include "sdk/metric.h"
#include "sdk/metric_parse.h"
#include <math.h>
#include <sonde/meter.h>

enum { FAMILY_NAME = 1, FAMILY_HELP, FAMILY_TYPE, FAMILY_METRIC, FAMILY_UNIT };
enum {
    METRIC_LABEL = 1,
    METRIC_IS_GAUGE,
    METRIC_IS_COUNTER,
    METRIC_IS_SUMMARY,
    METRIC_IS_UNTYPED,
    METRIC_TIME,
    METRIC_IS_HISTOGRAM
};
enum { TYPE_COUNTER, TYPE_GAUGE, TYPE_SUMMARY, TYPE_UNTYPED, TYPE_HISTOGRAM };
enum { COUNTER_VALUE = 1, COUNTER_EXEMPLAR };
enum {
    HISTOGRAM_COUNT = 1,
    HISTOGRAM_SUM,
    HISTOGRAM_BUCKET,
    SCHEMA = 5,
    ZERO_COUNT = 7,
    NEGATIVE_SPAN = 9,
    NEGATIVE_DELTA,
    POSITIVE_SPAN = 12,
    POSITIVE_DELTA,
    EXEMPLARS = 16
};
enum { BUCKET_COUNT = 1, BUCKET_BOUND, BUCKET_EXEMPLAR };
enum { SUMMARY_COUNT = 1, SUMMARY_SUM, SUMMARY_QUANTILE };
enum { EXEMPLAR_LABEL = 1, EXEMPLAR_VALUE, EXEMPLAR_TIME };

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static void label(struct buf *b, uint32_t field, struct slice name, struct slice value)
{
    size_t m = pb_w_begin(b, field);
    pb_w_bytes(b, 1, name);
    pb_w_bytes(b, 2, value);
    pb_w_end(b, m);
}

// An exemplar comes as text and is read by the parser of text.
static void exemplar(struct buf *b, uint32_t field, struct metric_series *s, uint32_t i)
{
    double value;
    int64_t time;
    struct buf text;
    struct arena a;
    struct expfmt e;
    if (!atomic_load_explicit(&s->exemplars, memory_order_relaxed))
        return;
    buf_init(&text, 8 * METRIC_EXEMPLAR_RUNES + 64);
    arena_init(&a, KIB(64));
    buf_char(&text, 'x');
    if (!metric_exemplar_read(s, i, &text, &value, &time))
        goto out;
    buf_str(&text, " 1");
    if (text.err != ERR_OK || expfmt_parse(&e, buf_slice(&text), &a, NULL) != ERR_OK)
        goto out;
    size_t m = pb_w_begin(b, field);
    for (uint32_t k = 0; k < e.n_labels; k++)
        label(b, EXEMPLAR_LABEL, e.labels[k].name, e.labels[k].value);
    pb_w_double(b, EXEMPLAR_VALUE, value);
    size_t t = pb_w_begin(b, EXEMPLAR_TIME);
    pb_w_i64(b, 1, time / 1000000000);
    pb_w_i64(b, 2, time % 1000000000);
    pb_w_end(b, t);
    pb_w_end(b, m);
out:
    arena_free(&a);
    buf_free(&text);
}

static void classic(struct buf *b, struct metric_series *s, uint64_t *counts)
{
    double sum;
    uint64_t up_to = 0, all = metric_histogram_read(s, counts, &sum);
    pb_w_u64(b, HISTOGRAM_COUNT, all);
    pb_w_double(b, HISTOGRAM_SUM, sum);
    for (uint32_t i = 0; i <= s->bounds->n; i++) {
        up_to += counts[i];
        size_t m = pb_w_begin(b, HISTOGRAM_BUCKET);
        pb_w_u64(b, BUCKET_COUNT, up_to);
        pb_w_double(b, BUCKET_BOUND, s->bounds->bound[i]);
        exemplar(b, BUCKET_EXEMPLAR, s, i);
        pb_w_end(b, m);
    }
}

// One span of neighbours, empty ones included; counts as differences. Prometheus numbers a bucket by its upper bound.
static void side(struct buf *b, const struct sonde_buckets_f *s, uint32_t span, uint32_t delta)
{
    if (s->n == 0)
        return;
    size_t m = pb_w_begin(b, span);
    pb_w_u64(b, 1, zigzag((int64_t)s->offset + 1));
    pb_w_u64(b, 2, s->n);
    pb_w_end(b, m);
    m = pb_w_begin(b, delta);
    for (size_t i = 0; i < s->n; i++)
        pb_w_varint(b, zigzag((int64_t)(s->counts[i] - (i ? s->counts[i - 1] : 0))));
    pb_w_end(b, m);
}

static void exponential(struct buf *b, const struct sonde_point *p)
{
    pb_w_u64(b, HISTOGRAM_COUNT, p->count);
    pb_w_double(b, HISTOGRAM_SUM, p->sum);
    pb_w_u64(b, SCHEMA, zigzag(p->scale));
    pb_w_u64(b, ZERO_COUNT, p->zero);
    side(b, &p->negative, NEGATIVE_SPAN, NEGATIVE_DELTA);
    side(b, &p->positive, POSITIVE_SPAN, POSITIVE_DELTA);
    if (p->negative.n == 0 && p->positive.n == 0) // an empty span says that this is no classic histogram
        pb_w_end(b, pb_w_begin(b, POSITIVE_SPAN));
}

static void native(struct buf *b, struct metric_series *s)
{
    struct metric_native n;
    metric_native_read(s, &n);
    struct sonde_point p = {.count = n.count, .sum = n.sum, .scale = n.scale, .zero = n.zero};
    p.negative = (struct sonde_buckets_f){n.negative.min, n.negative.n, n.negative.count};
    p.positive = (struct sonde_buckets_f){n.positive.min, n.positive.n, n.positive.count};
    exponential(b, &p);
    exemplar(b, EXEMPLARS, s, 0);
}

static double value(const struct metric_series *s)
{
    uint64_t v = atomic_load_explicit(&s->value, memory_order_relaxed);
    switch (s->kind) {
    case METRIC_COUNTER:
        return s->absolute ? metric_double(v) : metric_sum_f64(s->slot);
    case METRIC_INT_COUNTER:
        return (double)(s->absolute ? v : metric_sum_u64(s->slot));
    case METRIC_GAUGE:
        return metric_double(v);
    default:
        return (double)(int64_t)v;
    }
}

static void metric(struct buf *b, struct metric_series *s, uint64_t *counts)
{
    const struct metric_family *f = s->metric->family;
    size_t m = pb_w_begin(b, FAMILY_METRIC);
    for (uint32_t i = 0; i < f->n_labels; i++)
        label(b, METRIC_LABEL, f->labels[i], s->values[i]);
    bool counter = s->kind == METRIC_COUNTER || s->kind == METRIC_INT_COUNTER, histogram = s->kind >= METRIC_HISTOGRAM;
    size_t v = pb_w_begin(b, histogram ? METRIC_IS_HISTOGRAM : counter ? METRIC_IS_COUNTER : METRIC_IS_GAUGE);
    if (s->kind == METRIC_HISTOGRAM)
        classic(b, s, counts);
    else if (s->kind == METRIC_NATIVE)
        native(b, s);
    else
        pb_w_double(b, COUNTER_VALUE, value(s));
    if (counter)
        exemplar(b, COUNTER_EXEMPLAR, s, 0);
    pb_w_end(b, v);
    pb_w_end(b, m);
}

static void delimited(struct buf *b, struct buf *message)
{
    if (message->err != ERR_OK && b->err == ERR_OK)
        b->err = message->err;
    pb_w_varint(b, message->n);
    buf_add(b, buf_slice(message));
    buf_free(message);
}

static void head(struct buf *b, struct slice name, struct slice help, uint64_t type)
{
    pb_w_bytes(b, FAMILY_NAME, name);
    pb_w_bytes(b, FAMILY_HELP, help);
    pb_w_u64(b, FAMILY_TYPE, type);
}

void metric_proto_family(const struct metric_family_view *f, uint64_t *counts, struct buf *b)
{
    struct buf m;
    const struct metric_family *family = f->family;
    bool counter = family->kind == METRIC_COUNTER || family->kind == METRIC_INT_COUNTER;
    buf_init(&m, MAX_METRIC_TEXT);
    head(&m, family->name, family->help, family->kind >= METRIC_HISTOGRAM ? TYPE_HISTOGRAM : counter ? TYPE_COUNTER : TYPE_GAUGE);
    for (uint32_t i = 0; i < f->n; i++)
        metric(&m, f->series[i], counts);
    if (family->unit.n)
        pb_w_bytes(&m, FAMILY_UNIT, family->unit);
    delimited(b, &m);
}

// ---- families that came as text -------------------------------------------------------------------------------------
static uint64_t whole(double v)
{
    return v >= 0 && v < 0x1p64 ? (uint64_t)v : 0;
}

static void inner_line(struct buf *b, const struct expfmt *e, const struct expfmt_family *f, const struct expfmt_sample *s)
{
    struct slice rest = slice_from(s->name, f->name.n);
    bool histogram = f->type == EXPFMT_HISTOGRAM;
    double at = NAN;
    if (slice_eq(rest, SLICE("_count"))) {
        pb_w_u64(b, HISTOGRAM_COUNT, whole(s->value));
        return;
    }
    if (slice_eq(rest, SLICE("_sum"))) {
        pb_w_double(b, HISTOGRAM_SUM, s->value);
        return;
    }
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (slice_eq(e->labels[s->first_label + i].name, expfmt_inner_label(f->type)))
            slice_to_f64(e->labels[s->first_label + i].value, &at);
    if (isnan(at))
        return;
    size_t m = pb_w_begin(b, histogram ? HISTOGRAM_BUCKET : SUMMARY_QUANTILE);
    if (histogram) {
        pb_w_u64(b, BUCKET_COUNT, whole(s->value));
        pb_w_double(b, BUCKET_BOUND, at);
    } else {
        pb_w_double(b, 1, at);
        pb_w_double(b, 2, s->value);
    }
    pb_w_end(b, m);
}

// The metric that begins at sample i; returns where the next begins.
static uint32_t text_metric(struct buf *b, const struct expfmt *e, const struct expfmt_family *f, uint32_t i,
                            const struct sonde_point ***histograms)
{
    static const uint32_t field[] = {[EXPFMT_UNTYPED] = METRIC_IS_UNTYPED,
                                     [EXPFMT_COUNTER] = METRIC_IS_COUNTER,
                                     [EXPFMT_GAUGE] = METRIC_IS_GAUGE,
                                     [EXPFMT_HISTOGRAM] = METRIC_IS_HISTOGRAM,
                                     [EXPFMT_SUMMARY] = METRIC_IS_SUMMARY};
    const struct expfmt_sample *s = &e->samples[f->first + i];
    struct slice inner = expfmt_inner_label(f->type);
    size_t m = pb_w_begin(b, FAMILY_METRIC);
    for (uint32_t k = 0; k < s->n_labels; k++)
        if (!slice_eq(e->labels[s->first_label + k].name, inner))
            label(b, METRIC_LABEL, e->labels[s->first_label + k].name, e->labels[s->first_label + k].value);
    size_t v = pb_w_begin(b, field[f->type]);
    if (inner.n) {
        const struct sonde_point *p = f->type == EXPFMT_HISTOGRAM && histograms ? *(*histograms)++ : NULL;
        if (p)
            exponential(b, p);
        for (; i < f->n && expfmt_same_metric(e, s, &e->samples[f->first + i], inner); i++)
            if (!p)
                inner_line(b, e, f, &e->samples[f->first + i]);
    } else {
        pb_w_double(b, COUNTER_VALUE, s->value);
        i++;
    }
    pb_w_end(b, v);
    int64_t ms;
    if (s->time.n && slice_to_i64(s->time, &ms))
        pb_w_i64(b, METRIC_TIME, ms);
    pb_w_end(b, m);
    return i;
}

void metric_proto_text(const struct expfmt *e, const struct expfmt_family *f, const struct sonde_point ***histograms,
                       struct buf *b)
{
    static const uint8_t type[] = {[EXPFMT_UNTYPED] = TYPE_UNTYPED,
                                   [EXPFMT_COUNTER] = TYPE_COUNTER,
                                   [EXPFMT_GAUGE] = TYPE_GAUGE,
                                   [EXPFMT_HISTOGRAM] = TYPE_HISTOGRAM,
                                   [EXPFMT_SUMMARY] = TYPE_SUMMARY};
    struct buf m;
    if (f->n == 0)
        return;
    buf_init(&m, MAX_METRIC_TEXT);
    head(&m, f->name, f->help, type[f->type]);
    for (uint32_t i = 0; i < f->n;)
        i = text_metric(&m, e, f, i, histograms);
    delimited(b, &m);
}
