// opentelemetry.proto.metrics.v1 → samples, by the rules that OpenTelemetry and Prometheus agreed on: names with units in words,
// job and instance from the service's attributes, the other resource attributes in target_info, the scope as otel_scope_*,
// explicit histograms as _bucket, _sum and _count, exponential ones as native histograms.
//
// Beyond these rules, the resource attributes that are labels of log streams (service_name …) are labels of each series too,
// so that one selector finds logs and metrics of a service.
#include "event/otlp_metrics.h"
#include "event/otel_name.h"
#include <stdlib.h>

enum { MAX_METRIC_NAME = 1024 };

// ---- labels ---------------------------------------------------------------------------------------------------------

static bool is_clean(struct slice s)
{
    if (!s.n || (s.p[0] >= '0' && s.p[0] <= '9'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    return true;
}

static struct slice arena_text(struct decode *d, struct buf *b)
{
    if (b->err != ERR_OK)
        d->b->failed = true;
    struct slice s = batch_dup(d->b, buf_slice(b));
    buf_free(b);
    return s.p ? s : SLICE("");
}

// The key as a label name; other: put in front where the name belongs to the model itself.
static struct slice label_name(struct decode *d, const char *prefix, struct slice key, bool attribute)
{
    static const char *const own[] = {"__name__", "job", "instance", "le", "quantile"};
    if (!*prefix && is_clean(key) && !attribute)
        return key;
    const char *front = prefix;
    for (size_t i = 0; attribute && i < sizeof own / sizeof *own; i++)
        if (slice_eq(key, slice_str(own[i])))
            front = "exported_";
    if (!*front && is_clean(key))
        return key;
    struct buf b;
    buf_init(&b, MAX_HTTP_BODY);
    buf_str(&b, front);
    otel_name_clean(&b, key, false);
    return arena_text(d, &b);
}

struct keyed {
    struct slice name, key, value;
};

static int by_name_and_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int c = slice_cmp(x->name, y->name);
    return c ? c : slice_cmp(x->key, y->key);
}

// Adds attributes as labels; the values of keys whose names became the same are joined in the order of the keys.
// False: there are too many.
static bool add_labels(struct decode *d, struct labels *to, const char *prefix, const struct attr *attrs, uint32_t n,
                       bool attribute)
{
    struct keyed k[MAX_SERIES_LABELS];
    uint32_t have = 0;
    bool in_order = true;
    if (n > MAX_SERIES_LABELS)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct slice name = label_name(d, prefix, attrs[i].key, attribute), value = decode_label_value(d, &attrs[i].value);
        if (!name.n || !value.n)
            continue;
        k[have++] = (struct keyed){name, attrs[i].key, value};
        in_order = in_order && (have < 2 || slice_cmp(k[have - 2].name, name) < 0);
    }
    if (!in_order)
        qsort(k, have, sizeof *k, by_name_and_key);
    for (uint32_t i = 0, end; i < have; i = end) {
        struct slice value = k[i].value;
        for (end = i + 1; end < have && slice_eq(k[end].name, k[i].name); end++) {
            if (slice_eq(k[end].key, k[end - 1].key)) { // the same key again: the last one counts
                value = k[end].value;
                continue;
            }
            struct buf b;
            buf_init(&b, MAX_HTTP_BODY);
            buf_add(&b, value);
            buf_char(&b, ';');
            buf_add(&b, k[end].value);
            value = arena_text(d, &b);
        }
        if (to->n == MAX_SERIES_LABELS)
            return false;
        to->v[to->n++] = (struct label){k[i].name, value};
    }
    return true;
}

// Nothing when the value is empty.
static void labels_put(struct labels *l, struct slice name, struct slice value)
{
    if (l->n < MAX_SERIES_LABELS + 2 && value.n)
        l->v[l->n++] = (struct label){name, value};
}

// ---- resource and scope ---------------------------------------------------------------------------------------------

static struct slice attr_text(struct decode *d, const struct attr *attrs, uint32_t n, struct slice key)
{
    for (uint32_t i = n; i-- > 0;)
        if (slice_eq(attrs[i].key, key))
            return decode_label_value(d, &attrs[i].value);
    return SLICE("");
}

static bool start_resource(struct metrics *m, struct slice message)
{
    struct decode *d = m->d;
    struct label promoted[MAX_PROMOTED];
    if (!decode_attrs(d, message, 1, &m->attrs, &m->n_attrs))
        return false;
    struct slice name = attr_text(d, m->attrs, m->n_attrs, SLICE("service.name"));
    struct slice space = attr_text(d, m->attrs, m->n_attrs, SLICE("service.namespace"));
    m->base.n = 0;
    if (name.n && space.n) {
        struct buf b;
        buf_init(&b, MAX_HTTP_BODY);
        buf_add(&b, space);
        buf_char(&b, '/');
        buf_add(&b, name);
        name = arena_text(d, &b);
    }
    labels_put(&m->base, SLICE("job"), name);
    labels_put(&m->base, SLICE("instance"), attr_text(d, m->attrs, m->n_attrs, SLICE("service.instance.id")));
    m->identified = m->base.n > 0;
    uint32_t n = decode_promoted(d, m->attrs, m->n_attrs, promoted);
    for (uint32_t i = 0; i < n; i++)
        labels_put(&m->base, promoted[i].name, promoted[i].value);
    m->newest = 0;
    return !d->b->failed;
}

// One series that tells the rest of the resource, as of the newest sample.
static void target_info(struct metrics *m)
{
    struct labels l = {0};
    bool more = false;
    if (!m->identified || !m->newest)
        return;
    for (uint32_t i = 0; i < m->n_attrs && !more; i++)
        more = !slice_eq(m->attrs[i].key, SLICE("service.name")) && !slice_eq(m->attrs[i].key, SLICE("service.namespace")) &&
               !slice_eq(m->attrs[i].key, SLICE("service.instance.id"));
    if (!more || !add_labels(m->d, &l, "", m->attrs, m->n_attrs, true))
        return;
    metrics_emit(m, SLICE("target_info"), &l, SLICE_NONE, SLICE_NONE, m->newest, &(struct sample){.value = 1});
}

static bool start_scope(struct metrics *m, struct slice message)
{
    struct scope s;
    if (!decode_scope_message(m->d, message, &s))
        return false;
    m->scope.n = 0;
    labels_put(&m->scope, SLICE("otel_scope_name"), s.name);
    labels_put(&m->scope, SLICE("otel_scope_version"), s.version);
    add_labels(m->d, &m->scope, "otel_scope_", s.attrs, s.n_attrs, false);
    return !m->d->b->failed;
}

// ---- points ---------------------------------------------------------------------------------------------------------

bool metrics_emit(struct metrics *m, struct slice name, const struct labels *point, struct slice more_name,
                  struct slice more_value, int64_t time, const struct sample *s)
{
    struct label l[4 * MAX_SERIES_LABELS];
    uint32_t n = 0;
    // Of equal names the last one counts: a point's own before the resource's.
    for (uint32_t i = 0; i < m->base.n; i++)
        l[n++] = m->base.v[i];
    for (uint32_t i = 0; i < m->scope.n; i++)
        l[n++] = m->scope.v[i];
    for (uint32_t i = 0; point && i < point->n; i++)
        l[n++] = point->v[i];
    l[n++] = (struct label){SLICE("__name__"), name};
    if (more_name.n)
        l[n++] = (struct label){more_name, more_value};
    n = labels_sort(l, n);
    return decode_sample(m->d, l, n, time, s);
}

bool metrics_point_labels(struct metrics *m, struct slice point, uint32_t field, struct labels *out)
{
    struct attr *attrs;
    uint32_t n;
    out->n = 0;
    if (!decode_attrs(m->d, point, field, &attrs, &n))
        return false;
    out->bad = !add_labels(m->d, out, "", attrs, n, true);
    if (out->bad)
        decode_reject(m->d, 1, "metric \"%.*s\": a point with %u attributes; at most %d are accepted", decode_shown(m->name),
                      m->name.p, n, MAX_SERIES_LABELS);
    return true;
}

static bool number_point(struct metrics *m, struct slice message)
{
    struct decode *d = m->d;
    struct point p = {0};
    struct labels l;
    struct sample s = {.delta = m->delta};
    bool has_value = false;
    struct pb r;
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        uint64_t u;
        switch (r.field) {
        case 2:
            pb_fixed64(&r, &p.start);
            break;
        case 3:
            pb_fixed64(&r, &p.time);
            break;
        case 4:
            has_value |= pb_double(&r, &s.value);
            break;
        case 6:
            if (pb_fixed64(&r, &u)) {
                s.value = (double)(int64_t)u;
                has_value = true;
            }
            break;
        case 8:
            pb_u32(&r, &p.flags);
            break;
        default:
            pb_skip(&r);
        }
    }
    if (r.failed || !metrics_point_labels(m, message, 7, &l))
        return false;
    if (l.bad)
        return true;
    p.stale = p.flags & 1;
    if (!has_value && !p.stale) {
        decode_reject(d, 1, "metric \"%.*s\": a point without a value", decode_shown(m->name), m->name.p);
        return true;
    }
    if (!metrics_exemplars(m, message, 5, -INFINITY, INFINITY, &s.exemplars))
        return false;
    s.start = decode_time(p.start);
    if (p.stale)
        s = (struct sample){.value = sample_from_bits(SAMPLE_STALE)};
    metrics_count(m, &p, metrics_emit(m, m->family, &l, SLICE_NONE, SLICE_NONE, decode_time(p.time), &s));
    return !d->b->failed;
}

void metrics_count(struct metrics *m, const struct point *p, bool stored)
{
    int64_t t = sample_time(m->d, decode_time(p->time));
    m->d->report->accepted += stored;
    if (stored && t > m->newest)
        m->newest = t;
}

// ---- metrics --------------------------------------------------------------------------------------------------------

static struct slice with_suffix(struct decode *d, struct slice name, const char *suffix)
{
    struct buf b;
    buf_init(&b, MAX_METRIC_NAME * 4);
    buf_add(&b, name);
    buf_str(&b, suffix);
    return arena_text(d, &b);
}

static uint32_t count_points(struct pb r)
{
    uint32_t n = 0;
    while (pb_next(&r)) {
        n += r.field == 1;
        pb_skip(&r);
    }
    return n;
}

static bool read_temporality(struct metrics *m, struct slice data, enum metric_data kind)
{
    uint32_t temporality = 2;
    struct pb r;
    bool summed = kind == METRIC_SUM || kind == METRIC_HISTOGRAM || kind == METRIC_EXPONENTIAL;
    decode_part(m->d, &r, data);
    if (summed)
        temporality = 0;
    m->monotonic = false;
    while (pb_next(&r)) {
        if (summed && r.field == 2)
            pb_u32(&r, &temporality);
        else if (kind == METRIC_SUM && r.field == 3)
            pb_bool(&r, &m->monotonic);
        else
            pb_skip(&r);
    }
    m->delta = temporality == 1;
    m->refused = temporality == 0 || temporality > 2;
    return !r.failed;
}

static void name_metric(struct metrics *m, enum metric_data kind)
{
    struct decode *d = m->d;
    struct buf name, words;
    bool total = kind == METRIC_SUM && m->monotonic;
    buf_init(&name, MAX_METRIC_NAME * 4);
    buf_init(&words, KIB(1));
    otel_unit_words(&words, m->unit, kind == METRIC_GAUGE);
    otel_metric_name(&name, m->name, buf_slice(&words), total);
    m->family = arena_text(d, &name);
    m->words = arena_text(d, &words);
    if (kind == METRIC_HISTOGRAM || kind == METRIC_SUMMARY) {
        m->sum_name = with_suffix(d, m->family, "_sum");
        m->count_name = with_suffix(d, m->family, "_count");
        m->bucket_name = with_suffix(d, m->family, "_bucket");
    }
    m->type = total                                        ? SLICE("counter")
              : kind == METRIC_SUM || kind == METRIC_GAUGE ? SLICE("gauge")
              : kind == METRIC_SUMMARY                     ? SLICE("summary")
                                                           : SLICE("histogram");
}

static bool read_points(struct metrics *m, struct slice data, enum metric_data kind)
{
    static bool (*const point[])(struct metrics * m, struct slice message) = {
        [METRIC_GAUGE] = number_point,
        [METRIC_SUM] = number_point,
        [METRIC_HISTOGRAM] = metrics_histogram_point,
        [METRIC_EXPONENTIAL] = metrics_exponential_point,
        [METRIC_SUMMARY] = metrics_summary_point,
    };
    struct pb r;
    decode_part(m->d, &r, data);
    if (m->refused) {
        decode_reject(m->d, count_points(r), "metric \"%.*s\" has no temporality that is known; send cumulative or delta",
                      decode_shown(m->name), m->name.p);
        return true;
    }
    while (pb_next(&r)) {
        struct slice s;
        if (r.field != 1)
            pb_skip(&r);
        else if (!pb_bytes(&r, &s) || !point[kind](m, s))
            return false;
    }
    return !r.failed;
}

static bool read_metric(struct metrics *m, struct pb *r)
{
    static const enum metric_data kinds[12] = {
        [5] = METRIC_GAUGE, [7] = METRIC_SUM, [9] = METRIC_HISTOGRAM, [10] = METRIC_EXPONENTIAL, [11] = METRIC_SUMMARY};
    struct decode *d = m->d;
    struct slice data = SLICE(""), s;
    enum metric_data kind = METRIC_NONE;
    m->name = m->unit = m->description = SLICE("");
    while (pb_next(r)) {
        enum metric_data k = r->field < 12 ? kinds[r->field] : METRIC_NONE;
        if (r->field == 1)
            pb_bytes(r, &m->name);
        else if (r->field == 2)
            pb_bytes(r, &m->description);
        else if (r->field == 3)
            pb_bytes(r, &m->unit);
        else if (k == METRIC_NONE)
            pb_skip(r);
        else if (pb_bytes(r, &s)) {
            if (k != kind)
                data = SLICE("");
            kind = k;
            decode_merge(d, &data, s);
        }
    }
    if (r->failed || d->b->failed)
        return false;
    m->name = decode_text(d, m->name);
    m->description = decode_text(d, m->description);
    if (kind == METRIC_NONE) // of a newer kind, or empty: there is no point to count
        return true;
    if (!read_temporality(m, data, kind))
        return false;
    if (!m->name.n || m->name.n > MAX_METRIC_NAME) {
        struct pb points;
        decode_part(d, &points, data);
        decode_reject(d, count_points(points), "a metric whose name has %zu bytes; it must have 1 to %d", m->name.n,
                      MAX_METRIC_NAME);
        return true;
    }
    name_metric(m, kind);
    uint32_t before = d->b->rows;
    bool ok = !d->b->failed && read_points(m, data, kind);
    if (ok && d->b->rows > before)
        decode_metadata(d, &(struct decode_family){m->family, m->type, m->words, m->description});
    return ok && !d->b->failed;
}

static bool read_scope_group(struct metrics *m, struct pb *r)
{
    struct slice message;
    if (!decode_group_head(m->d, *r, &message) || !start_scope(m, message))
        return false;
    struct pb look = *r;
    while (pb_next(&look)) { // the schema's address is a label, too
        struct slice s;
        if (look.field != 3)
            pb_skip(&look);
        else if (pb_bytes(&look, &s))
            labels_put(&m->scope, SLICE("otel_scope_schema_url"), decode_text(m->d, s));
    }
    while (pb_next(r)) {
        struct pb metric;
        if (r->field != 2)
            pb_skip(r);
        else if (!pb_message(r, &metric) || !read_metric(m, &metric))
            return false;
    }
    return !r->failed && !look.failed;
}

bool decode_resource_metrics(struct decode *d, struct pb *r, struct slice resource)
{
    struct metrics m = {.d = d};
    if (!start_resource(&m, resource))
        return false;
    bool ok = true;
    arena_init(&m.scratch, MAX_BATCH_MEMORY);
    while (ok && pb_next(r)) {
        struct pb group;
        if (r->field != 2)
            pb_skip(r);
        else
            ok = pb_message(r, &group) && read_scope_group(&m, &group);
    }
    arena_free(&m.scratch);
    if (!ok || r->failed)
        return false;
    m.scope.n = 0;
    target_info(&m);
    return !d->b->failed;
}
