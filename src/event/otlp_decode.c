// The frame of an OTLP request, the same for all signals: resources, scopes, attributes. Fields may come in any order,
// so a message that holds both a resource (or scope) and records is walked twice.
#include "base/limits.h"
#include "event/anyvalue.h"
#include "event/decode.h"
#include "event/otlp_numbers.h"
#include "event/otlp_schema.h"

// An AnyValue stands at least this deep in a request: with it counted, whatever is accepted can be encoded again.
enum { ENVELOPE_DEPTH = 6 };

// The resource attributes that Loki makes labels by default, and the labels' names.
static const struct {
    struct slice attr, label;
} promoted[] = {
#define P(attr, label)                      \
    {                                       \
        SLICE_INIT(attr), SLICE_INIT(label) \
    }
    P("service.name", "service_name"),
    P("service.namespace", "service_namespace"),
    P("service.instance.id", "service_instance_id"),
    P("deployment.environment", "deployment_environment"),
    P("deployment.environment.name", "deployment_environment_name"),
    P("cloud.region", "cloud_region"),
    P("cloud.availability_zone", "cloud_availability_zone"),
    P("k8s.cluster.name", "k8s_cluster_name"),
    P("k8s.namespace.name", "k8s_namespace_name"),
    P("k8s.pod.name", "k8s_pod_name"),
    P("k8s.container.name", "k8s_container_name"),
    P("container.name", "container_name"),
    P("k8s.replicaset.name", "k8s_replicaset_name"),
    P("k8s.deployment.name", "k8s_deployment_name"),
    P("k8s.statefulset.name", "k8s_statefulset_name"),
    P("k8s.daemonset.name", "k8s_daemonset_name"),
    P("k8s.cronjob.name", "k8s_cronjob_name"),
    P("k8s.job.name", "k8s_job_name"),
#undef P
};
enum { N_PROMOTED = sizeof promoted / sizeof *promoted };
_Static_assert(N_PROMOTED == (int)MAX_PROMOTED, "decode.h says how many");

// ---- values ---------------------------------------------------------------------------------------------------------

bool decode_any(struct decode *d, struct slice any, struct value *out)
{
    struct pb r;
    bool dirty = false;
    decode_part(d, &r, any);
    r.depth = ENVELOPE_DEPTH;
    if (!anyvalue_read(&r, any, out))
        return false;
    if (out->kind == COL_STR)
        out->s = decode_text(d, out->s);
    if (out->kind != COL_ANY || !any.n)
        return true;
    decode_part(d, &r, any);
    r.depth = ENVELOPE_DEPTH;
    if (!otlp_check(&r, &otlp_any_value, &dirty))
        return false;
    if (!dirty)
        return true;
    struct buf clean;
    buf_init(&clean, MAX_HTTP_BODY * 3);
    pb_init(&r, any, NULL);
    if (!otlp_clean(&r, &otlp_any_value, &clean))
        d->b->failed = true;
    out->s = batch_dup(d->b, buf_slice(&clean));
    buf_free(&clean);
    return !d->b->failed;
}

// What nearly all attributes look like: key, then a value with a string or an integer, lengths of one byte. Anything else
// (false) goes the general way.
static bool plain_attr(struct slice m, struct attr *out)
{
    const uint8_t *p = (const uint8_t *)m.p;
    size_t key = m.n >= 2 && p[0] == 0x0a ? p[1] : 128;
    if (key >= 128 || m.n < key + 6 || p[2 + key] != 0x12 || p[3 + key] != m.n - key - 4)
        return false;
    const uint8_t *any = p + key + 4;
    size_t n = m.n - key - 4;
    if (n >= 128)
        return false;
    out->key = slice_of(p + 2, key);
    if (any[0] == 0x0a && any[1] == n - 2) {
        out->value = (struct value){.kind = COL_STR, .s = slice_of(any + 2, n - 2)};
        return true;
    }
    if (any[0] != 0x18 || n > 10) // nine bytes of seven bits: no number of more than 64 bits comes here
        return false;
    uint64_t v = 0;
    for (size_t i = 1; i < n; i++) {
        v |= (uint64_t)(any[i] & 0x7f) << (7 * (i - 1));
        if ((any[i] < 0x80) != (i == n - 1))
            return false;
    }
    out->value = (struct value){.kind = COL_I64, .i64 = (int64_t)v};
    return true;
}

bool decode_attr(struct decode *d, struct slice message, struct attr *out)
{
    if (plain_attr(message, out)) {
        out->key = decode_text(d, out->key);
        if (out->value.kind == COL_STR)
            out->value.s = decode_text(d, out->value.s);
        return true;
    }
    struct slice any = SLICE(""), s;
    struct pb r;
    *out = (struct attr){.key = SLICE("")};
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        if (r.field == PB_PAIR_KEY)
            pb_bytes(&r, &out->key);
        else if (r.field == PB_PAIR_VALUE && pb_bytes(&r, &s))
            decode_merge(d, &any, s);
        else if (r.field != PB_PAIR_VALUE)
            pb_skip(&r);
    }
    out->key = decode_text(d, out->key);
    return !r.failed && decode_any(d, any, &out->value);
}

// The attributes in field `field` of the rest of r, as an array in the arena.
bool decode_attrs(struct decode *d, struct slice message, uint32_t field, struct attr **out, uint32_t *n)
{
    struct pb r;
    struct slice one;
    uint32_t count = 0;
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        count += r.field == field;
        pb_skip(&r);
    }
    *n = 0;
    *out = arena_alloc(&d->b->arena, count * sizeof **out);
    if (!*out) {
        d->b->failed = true;
        return false;
    }
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        if (r.field != field)
            pb_skip(&r);
        else if (!pb_bytes(&r, &one) || !decode_attr(d, one, &(*out)[(*n)++]))
            return false;
    }
    return !r.failed;
}

// ---- resource and scope ---------------------------------------------------------------------------------------------

struct slice decode_label_value(struct decode *d, const struct value *v)
{
    if (v->kind == COL_STR)
        return v->s;
    struct buf text;
    buf_init(&text, MAX_HTTP_BODY);
    value_text(&text, v);
    struct slice s = batch_dup(d->b, buf_slice(&text));
    buf_free(&text);
    return s;
}

uint32_t decode_promoted(struct decode *d, const struct attr *attrs, uint32_t n_attrs, struct label labels[MAX_PROMOTED])
{
    const struct attr *from[N_PROMOTED] = {NULL};
    for (uint32_t i = 0; i < n_attrs; i++)
        for (uint32_t k = 0; k < N_PROMOTED; k++)
            if (slice_eq(attrs[i].key, promoted[k].attr))
                from[k] = &attrs[i];
    uint32_t n = 0;
    for (uint32_t k = 0; k < N_PROMOTED; k++) {
        struct slice value = from[k] ? decode_label_value(d, &from[k]->value) : SLICE("");
        if (k == 0 && !value.n)
            value = SLICE("unknown_service");
        if (value.n)
            labels[n++] = (struct label){promoted[k].label, value};
    }
    return n;
}

static bool decode_resource(struct decode *d, struct slice message, uint32_t *number)
{
    struct attr *attrs;
    struct label labels[MAX_PROMOTED];
    uint32_t n_attrs;
    if (!decode_attrs(d, message, PB_RESOURCE_ATTRS, &attrs, &n_attrs))
        return false;
    uint32_t n = labels_sort(labels, decode_promoted(d, attrs, n_attrs, labels));
    *number = batch_resource(d->b, labels, n, attrs, n_attrs);
    return !d->b->failed;
}

bool decode_scope_message(struct decode *d, struct slice message, struct scope *out)
{
    *out = (struct scope){.name = SLICE(""), .version = SLICE("")};
    struct pb r;
    decode_part(d, &r, message);
    while (pb_next(&r)) {
        if (r.field == PB_SCOPE_NAME)
            pb_bytes(&r, &out->name);
        else if (r.field == PB_SCOPE_VERSION)
            pb_bytes(&r, &out->version);
        else
            pb_skip(&r);
    }
    if (r.failed || !decode_attrs(d, message, PB_SCOPE_ATTRS, &out->attrs, &out->n_attrs))
        return false;
    out->name = decode_text(d, out->name);
    out->version = decode_text(d, out->version);
    return true;
}

void decode_scope(struct decode *d, const struct scope *s)
{
    if (s->name.n)
        batch_field_str(d->b, FIELD_SCOPE_NAME, s->name);
    if (s->version.n)
        batch_field_str(d->b, FIELD_SCOPE_VERSION, s->version);
    for (uint32_t i = 0; i < s->n_attrs; i++)
        batch_set(d->b, COL_SCOPE, s->attrs[i].key, s->attrs[i].value);
}

// ---- the frame ------------------------------------------------------------------------------------------------------

// Merged when it came more than once.
bool decode_group_head(struct decode *d, struct pb r, struct slice *out)
{
    struct slice s;
    *out = SLICE("");
    while (pb_next(&r)) {
        if (r.field != PB_GROUP_HEAD)
            pb_skip(&r);
        else if (pb_bytes(&r, &s))
            decode_merge(d, out, s);
    }
    return !r.failed && !d->b->failed;
}

static bool decode_scope_group(struct decode *d, struct pb *r, uint32_t resource)
{
    struct slice message;
    struct scope scope;
    if (!decode_group_head(d, *r, &message) || !decode_scope_message(d, message, &scope))
        return false;
    while (pb_next(r)) {
        struct pb record;
        if (r->field != PB_GROUP_ITEMS) {
            pb_skip(r);
            continue;
        }
        if (!pb_message(r, &record))
            return false;
        bool ok = d->b->signal == SIGNAL_SPAN ? decode_span(d, &record, resource, &scope)
                                              : decode_log_record(d, &record, resource, &scope);
        if (!ok || d->b->failed)
            return false;
    }
    return !r->failed;
}

static bool decode_resource_group(struct decode *d, struct pb *r)
{
    struct slice message;
    uint32_t resource;
    if (!decode_group_head(d, *r, &message))
        return false;
    if (d->b->signal == SIGNAL_SAMPLE)
        return decode_resource_metrics(d, r, message);
    if (!decode_resource(d, message, &resource))
        return false;
    while (pb_next(r)) {
        struct pb group;
        if (r->field != PB_GROUP_ITEMS)
            pb_skip(r);
        else if (!pb_message(r, &group) || !decode_scope_group(d, &group, resource))
            return false;
    }
    return !r->failed;
}

bool decode_otlp(struct decode *d, struct slice bytes)
{
    struct pb r;
    decode_part(d, &r, bytes);
    while (pb_next(&r)) {
        struct pb group;
        if (r.field != PB_REQUEST_GROUPS)
            pb_skip(&r);
        else if (!pb_message(&r, &group) || !decode_resource_group(d, &group))
            return false;
    }
    return !r.failed;
}

bool decode_otlp_json(struct decode *d, struct slice text)
{
    struct arena scratch;
    struct buf pb;
    struct json j;
    arena_init(&scratch, MAX_BATCH_MEMORY);
    buf_init(&pb, MAX_BATCH_MEMORY);
    json_init(&j, text, &scratch, d->err);
    static const struct otlp_message *const requests[SIGNAL_COUNT] = {&otlp_logs_request, &otlp_traces_request,
                                                                      &otlp_metrics_request};
    bool ok = otlp_from_json(&j, requests[d->b->signal], &pb) && json_finish(&j);
    if (pb.err != ERR_OK || arena_failed(&scratch)) {
        d->b->failed = true;
        ok = false;
    }
    if (ok) {
        d->bytes = batch_dup(d->b, buf_slice(&pb));
        ok = !d->b->failed && decode_otlp(d, d->bytes);
    }
    buf_free(&pb);
    arena_free(&scratch);
    return ok;
}
