// ExportMetricsServiceRequest. Fields: opentelemetry-proto, opentelemetry/proto/metrics/v1/metrics.proto.
#include "sdk/meter_otlp.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/pb.h"
#include "base/utf8.h"
#include "sdk/env.h"
#include "sdk/meter.h"
#include "sdk/meter_counts.h"

enum { RESOURCE_METRICS = 1, RESOURCE = 1, SCOPE_METRICS = 2, SCOPE = 1, METRICS = 2, SCHEMA_URL = 3 };
enum { SCOPE_NAME = 1, SCOPE_VERSION, SCOPE_ATTRIBUTES };
enum { NAME = 1, DESCRIPTION, UNIT, GAUGE = 5, SUM = 7, HISTOGRAM = 9, EXPONENTIAL };
enum { DATA_POINTS = 1, TEMPORALITY, MONOTONIC };
enum { START = 2, TIME, COUNT, TOTAL };
enum { NUMBER_DOUBLE = 4, NUMBER_EXEMPLARS, NUMBER_INT, NUMBER_ATTRIBUTES };
enum { BUCKET_COUNTS = 6, BOUNDS, HISTOGRAM_EXEMPLARS, HISTOGRAM_ATTRIBUTES, HISTOGRAM_MIN = 11, HISTOGRAM_MAX };
enum { EXP_ATTRIBUTES = 1, EXP_SCALE = 6, EXP_ZEROS, POSITIVE, NEGATIVE, EXP_EXEMPLARS = 11, EXP_MIN, EXP_MAX };
enum { OFFSET = 1, COUNTS };
enum { EXEMPLAR_TIME = 2, EXEMPLAR_DOUBLE, EXEMPLAR_SPAN, EXEMPLAR_TRACE, EXEMPLAR_INT, EXEMPLAR_ATTRIBUTES };
enum { VALUE_STRING = 1, VALUE_BOOL, VALUE_INT, VALUE_DOUBLE };
enum { DELTA = 1, CUMULATIVE };
enum { MAX_REQUEST = 4 << 20, POINTS_AT_ONCE = 4096 };

// A string field: receivers refuse a whole request for one that is not UTF-8.
static void string(struct buf *b, uint32_t tag, struct slice s)
{
    struct buf clean;
    if (utf8_valid(s)) {
        pb_w_bytes(b, tag, s);
        return;
    }
    buf_init(&clean, MAX_METRIC_TEXT);
    utf8_append_clean(&clean, s);
    pb_w_bytes(b, tag, buf_slice(&clean));
    buf_free(&clean);
}

static void attributes(struct buf *b, uint32_t tag, const struct sonde_field *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t m = pb_w_begin(b, tag);
        string(b, 1, slice_str(f[i].key));
        size_t v = pb_w_begin(b, 2);
        switch (f[i].type) {
        case SONDE_TYPE_INT:
            pb_w_i64(b, VALUE_INT, f[i].arg.value.i);
            break;
        case SONDE_TYPE_F64:
            pb_w_double(b, VALUE_DOUBLE, f[i].arg.value.f);
            break;
        case SONDE_TYPE_BOOL:
            pb_w_bool(b, VALUE_BOOL, f[i].arg.value.u != 0);
            break;
        default:
            string(b, VALUE_STRING, slice_of(f[i].arg.value.s, f[i].arg.n));
        }
        pb_w_end(b, v);
        pb_w_end(b, m);
    }
}

static void exemplars(struct buf *b, uint32_t tag, const struct sonde_metric_data *d, const struct sonde_point *p)
{
    for (size_t i = 0; i < p->n_exemplars; i++) {
        const struct sonde_exemplar *e = &p->exemplars[i];
        size_t m = pb_w_begin(b, tag);
        pb_w_fixed64(b, EXEMPLAR_TIME, (uint64_t)e->time_ns);
        if (d->f64 || d->kind >= SONDE_DATA_HISTOGRAM)
            pb_w_double(b, EXEMPLAR_DOUBLE, e->value);
        else
            pb_w_fixed64(b, EXEMPLAR_INT, (uint64_t)(int64_t)e->value);
        if (e->has_span) {
            pb_w_bytes(b, EXEMPLAR_SPAN, slice_of(e->span_id, 8));
            pb_w_bytes(b, EXEMPLAR_TRACE, slice_of(e->trace_id, 16));
        }
        attributes(b, EXEMPLAR_ATTRIBUTES, e->attributes, e->n_attributes);
        pb_w_end(b, m);
    }
}

static void times(struct buf *b, const struct sonde_point *p)
{
    if (p->start_ns)
        pb_w_fixed64(b, START, (uint64_t)p->start_ns);
    pb_w_fixed64(b, TIME, (uint64_t)p->time_ns);
}

static void number(struct buf *b, const struct sonde_metric_data *d, const struct sonde_point *p)
{
    times(b, p);
    if (d->f64)
        pb_w_double(b, NUMBER_DOUBLE, p->f);
    else
        pb_w_fixed64(b, NUMBER_INT, (uint64_t)p->i);
    attributes(b, NUMBER_ATTRIBUTES, p->attributes, p->n_attributes);
    exemplars(b, NUMBER_EXEMPLARS, d, p);
}

static void packed64(struct buf *b, uint32_t tag, const void *v, size_t n)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers go out as they lie in memory");
    pb_w_bytes(b, tag, slice_of(v, 8 * n));
}

static void extremes(struct buf *b, uint32_t min_tag, uint32_t max_tag, const struct sonde_point *p)
{
    if (!p->has_min_max)
        return;
    pb_w_double(b, min_tag, p->min);
    pb_w_double(b, max_tag, p->max);
}

static void histogram(struct buf *b, const struct sonde_metric_data *d, const struct sonde_point *p)
{
    times(b, p);
    pb_w_fixed64(b, COUNT, p->count);
    pb_w_double(b, TOTAL, p->sum);
    packed64(b, BUCKET_COUNTS, p->counts, d->n_bounds + 1);
    if (d->n_bounds)
        packed64(b, BOUNDS, d->bounds, d->n_bounds);
    attributes(b, HISTOGRAM_ATTRIBUTES, p->attributes, p->n_attributes);
    exemplars(b, HISTOGRAM_EXEMPLARS, d, p);
    extremes(b, HISTOGRAM_MIN, HISTOGRAM_MAX, p);
}

static void side(struct buf *b, uint32_t tag, const struct sonde_buckets_f *s)
{
    if (s->n == 0)
        return;
    size_t m = pb_w_begin(b, tag);
    pb_w_u64(b, OFFSET, (uint64_t)s->offset << 1 ^ (uint64_t)((int64_t)s->offset >> 63));
    size_t c = pb_w_begin(b, COUNTS);
    for (size_t i = 0; i < s->n; i++)
        pb_w_varint(b, s->counts[i]);
    pb_w_end(b, c);
    pb_w_end(b, m);
}

static void exponential(struct buf *b, const struct sonde_metric_data *d, const struct sonde_point *p)
{
    attributes(b, EXP_ATTRIBUTES, p->attributes, p->n_attributes);
    times(b, p);
    pb_w_fixed64(b, COUNT, p->count);
    pb_w_double(b, TOTAL, p->sum);
    pb_w_u64(b, EXP_SCALE, (uint32_t)p->scale << 1 ^ (uint32_t)(p->scale >> 31));
    pb_w_fixed64(b, EXP_ZEROS, p->zero);
    side(b, POSITIVE, &p->positive);
    side(b, NEGATIVE, &p->negative);
    exemplars(b, EXP_EXEMPLARS, d, p);
    extremes(b, EXP_MIN, EXP_MAX, p);
}

static void metric(struct buf *b, const struct sonde_metric_data *d)
{
    static const uint8_t tag[] = {[SONDE_DATA_GAUGE] = GAUGE,
                                  [SONDE_DATA_SUM] = SUM,
                                  [SONDE_DATA_HISTOGRAM] = HISTOGRAM,
                                  [SONDE_DATA_EXPONENTIAL] = EXPONENTIAL};
    size_t m = pb_w_begin(b, METRICS);
    string(b, NAME, slice_str(d->name));
    if (*d->description)
        string(b, DESCRIPTION, slice_str(d->description));
    if (*d->unit)
        string(b, UNIT, slice_str(d->unit));
    size_t data = pb_w_begin(b, tag[d->kind]);
    for (size_t i = 0; i < d->n_points; i++) {
        size_t p = pb_w_begin(b, DATA_POINTS);
        if (d->kind == SONDE_DATA_HISTOGRAM)
            histogram(b, d, &d->points[i]);
        else if (d->kind == SONDE_DATA_EXPONENTIAL)
            exponential(b, d, &d->points[i]);
        else
            number(b, d, &d->points[i]);
        pb_w_end(b, p);
    }
    if (d->kind != SONDE_DATA_GAUGE)
        pb_w_u64(b, TEMPORALITY, d->temporality == SONDE_TEMPORALITY_DELTA ? DELTA : CUMULATIVE);
    if (d->kind == SONDE_DATA_SUM && d->monotonic)
        pb_w_bool(b, MONOTONIC, true);
    pb_w_end(b, data);
    pb_w_end(b, m);
}

static void scope_write(struct buf *b, const struct sonde_scope *s)
{
    size_t m = pb_w_begin(b, SCOPE);
    string(b, SCOPE_NAME, slice_str(s->name));
    if (*s->version)
        string(b, SCOPE_VERSION, slice_str(s->version));
    attributes(b, SCOPE_ATTRIBUTES, s->attributes, s->n_attributes);
    pb_w_end(b, m);
}

void meter_encode(struct buf *b, struct slice resource, const struct sonde_metrics *batch)
{
    size_t r = pb_w_begin(b, RESOURCE_METRICS);
    if (resource.n)
        pb_w_bytes(b, RESOURCE, resource);
    for (size_t i = 0; i < batch->n;) {
        const struct sonde_scope *s = batch->metrics[i].scope;
        size_t m = pb_w_begin(b, SCOPE_METRICS);
        scope_write(b, s);
        for (; i < batch->n && batch->metrics[i].scope == s; i++)
            metric(b, &batch->metrics[i]);
        if (*s->schema_url)
            string(b, SCHEMA_URL, slice_str(s->schema_url));
        pb_w_end(b, m);
    }
    pb_w_end(b, r);
}

// ---- what the exporter drives ---------------------------------------------------------------------------------------
struct meter_otlp {
    uint8_t temporality[SONDE_INSTRUMENT_KINDS];
    struct meter_states states;
};

struct meter_otlp *meter_otlp_new(void)
{
    struct meter_otlp *o = mem_zalloc(sizeof *o);
    int preference = env_choice("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
    bool delta = preference == 1, low = preference == 2;
    if (!o)
        return NULL;
    memset(o->temporality, SONDE_TEMPORALITY_CUMULATIVE, sizeof o->temporality);
    if (delta || low)
        o->temporality[SONDE_INSTRUMENT_COUNTER] = o->temporality[SONDE_INSTRUMENT_HISTOGRAM] = SONDE_TEMPORALITY_DELTA;
    if (delta)
        o->temporality[SONDE_INSTRUMENT_ASYNC_COUNTER] = SONDE_TEMPORALITY_DELTA;
    return o;
}

void meter_otlp_free(struct meter_otlp *o)
{
    if (o)
        meter_states_free(&o->states);
    mem_free(o);
}

// Whether the list "k=v,…" sets that key.
static bool sets(const char *own, struct slice key)
{
    struct slice rest = slice_str(own), part, k;
    while (rest.p && slice_split(&rest, ',', &part)) {
        struct slice value = part;
        if (slice_split(&value, '=', &k) && value.p && slice_eq(slice_trim(k), key))
            return true;
    }
    return false;
}

// The Resource message of the process with a provider's own attributes, which win.
static void resource_with(struct buf *to, struct slice process, const char *own)
{
    struct slice rest = slice_str(own), part, key, raw;
    struct pb r, attribute;
    pb_init(&r, process, NULL);
    while (pb_next(&r)) {
        struct pb copy = r;
        key = SLICE_NONE;
        if (r.field == 1 && pb_message(&copy, &attribute) && pb_next(&attribute) && attribute.field == 1)
            pb_bytes(&attribute, &key);
        if (pb_raw_field(&r, &raw) && !(key.p && sets(own, key)))
            buf_add(to, raw);
    }
    while (*own && rest.p && slice_split(&rest, ',', &part)) {
        struct slice value = part;
        if (!slice_split(&value, '=', &key) || !value.p || slice_trim(key).n == 0)
            continue;
        size_t m = pb_w_begin(to, 1);
        pb_w_bytes(to, 1, slice_trim(key));
        size_t v = pb_w_begin(to, 2);
        pb_w_bytes(to, VALUE_STRING, slice_trim(value));
        pb_w_end(to, v);
        pb_w_end(to, m);
    }
}

static enum errc send_all(struct sonde_collection *c, struct slice resource, size_t max, meter_otlp_send_fn *send, void *arg,
                          size_t *points)
{
    struct meter_metric *m = c->first;
    struct sonde_metrics batch;
    struct buf b, own;
    enum errc rc = ERR_OK;
    bool go = true;
    size_t at = 0;
    buf_init(&b, MAX_METRIC_TEXT);
    buf_init(&own, MAX_METRIC_TEXT);
    max = max && max < POINTS_AT_ONCE ? max : POINTS_AT_ONCE;
    while (go && rc == ERR_OK && m) {
        struct meter_metric *from = m;
        size_t from_at = at;
        if (!meter_batch(c, &m, &at, max, &batch))
            break;
        buf_reset(&b);
        buf_reset(&own);
        if (*batch.resource)
            resource_with(&own, resource, batch.resource);
        meter_encode(&b, *batch.resource ? buf_slice(&own) : resource, &batch);
        rc = b.err != ERR_OK ? b.err : own.err;
        if (rc == ERR_OK && b.n > MAX_REQUEST && batch.n_points > 1) { // too large: the same points in smaller requests
            m = from;
            at = from_at;
            max = batch.n_points / 2;
            continue;
        }
        if (rc == ERR_OK)
            go = send(arg, buf_slice(&b), batch.n_points);
        *points += batch.n_points;
    }
    buf_free(&own);
    buf_free(&b);
    return rc;
}

enum errc meter_otlp_collect(struct meter_otlp *o, struct slice resource, size_t max_points, meter_otlp_send_fn *send, void *arg,
                             size_t *points)
{
    struct sonde_collection c;
    size_t n = 0;
    int64_t began = clock_mono_ns();
    meter_collection_init(&c, o->temporality, &o->states, NULL);
    pthread_mutex_lock(&metric_roots_lock);
    for (struct sonde_registry *r = metric_roots; r; r = r->next_root)
        meter_collect_registry(&c, r);
    pthread_mutex_unlock(&metric_roots_lock);
    sonde_meter_provider_default(); // SONDE_SELF_METRICS
    pthread_mutex_lock(&meter_all_lock);
    for (struct sonde_meter_provider *p = meter_all; p; p = p->next)
        if (!p->is_private && !p->stopped)
            meter_collect_provider(&c, p, 0);
    pthread_mutex_unlock(&meter_all_lock);
    meter_states_sweep(&o->states);
    meter_self_collection(clock_mono_ns() - began);
    enum errc rc = send_all(&c, resource, max_points, send, arg, &n);
    rc = rc == ERR_OK && c.failed ? ERR_NOMEM : rc;
    meter_collection_free(&c);
    if (points)
        *points = n;
    return rc;
}
