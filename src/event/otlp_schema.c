#include "event/otlp_schema.h"
#include "base/utf8.h"

#define F(num, t, name)                              \
    {                                                \
        num, OTLP_##t, false, SLICE_INIT(name), NULL \
    }
#define MSG(num, name, sub)                                \
    {                                                      \
        num, OTLP_MESSAGE, false, SLICE_INIT(name), &(sub) \
    }
#define MANY(num, name, sub)                              \
    {                                                     \
        num, OTLP_MESSAGE, true, SLICE_INIT(name), &(sub) \
    }
#define STRINGS(num, name)                             \
    {                                                  \
        num, OTLP_STRING, true, SLICE_INIT(name), NULL \
    }
#define NUMBERS(num, t, name)                       \
    {                                               \
        num, OTLP_##t, true, SLICE_INIT(name), NULL \
    }
#define MESSAGE(of, is_oneof)                   \
    {                                           \
        of, sizeof(of) / sizeof *(of), is_oneof \
    }

static const struct otlp_field array_fields[] = {MANY(1, "values", otlp_any_value)};
static const struct otlp_message array_value = MESSAGE(array_fields, false);
static const struct otlp_field kvlist_fields[] = {MANY(1, "values", otlp_key_value)};
static const struct otlp_message kvlist_value = MESSAGE(kvlist_fields, false);

static const struct otlp_field any_fields[] = {
    F(1, STRING, "stringValue"), F(2, BOOL, "boolValue"),           F(3, I64, "intValue"),
    F(4, DOUBLE, "doubleValue"), MSG(5, "arrayValue", array_value), MSG(6, "kvlistValue", kvlist_value),
    F(7, BASE64, "bytesValue"),
};
const struct otlp_message otlp_any_value = MESSAGE(any_fields, true);

static const struct otlp_field key_value_fields[] = {F(1, STRING, "key"), MSG(2, "value", otlp_any_value)};
const struct otlp_message otlp_key_value = MESSAGE(key_value_fields, false);

static const struct otlp_field entity_ref_fields[] = {
    F(1, STRING, "schemaUrl"),
    F(2, STRING, "type"),
    STRINGS(3, "idKeys"),
    STRINGS(4, "descriptionKeys"),
};
static const struct otlp_message entity_ref = MESSAGE(entity_ref_fields, false);

static const struct otlp_field resource_fields[] = {
    MANY(1, "attributes", otlp_key_value),
    F(2, U32, "droppedAttributesCount"),
    MANY(3, "entityRefs", entity_ref),
};
static const struct otlp_message resource = MESSAGE(resource_fields, false);

static const struct otlp_field scope_fields[] = {
    F(1, STRING, "name"),
    F(2, STRING, "version"),
    MANY(3, "attributes", otlp_key_value),
    F(4, U32, "droppedAttributesCount"),
};
static const struct otlp_message scope = MESSAGE(scope_fields, false);

// ---- logs -----------------------------------------------------------------------------------------------------------

static const struct otlp_field log_record_fields[] = {
    F(1, FIXED64, "timeUnixNano"),
    F(2, U32, "severityNumber"),
    F(3, STRING, "severityText"),
    MSG(5, "body", otlp_any_value),
    MANY(6, "attributes", otlp_key_value),
    F(7, U32, "droppedAttributesCount"),
    F(8, FIXED32, "flags"),
    F(9, HEX, "traceId"),
    F(10, HEX, "spanId"),
    F(11, FIXED64, "observedTimeUnixNano"),
    F(12, STRING, "eventName"),
};
const struct otlp_message otlp_log_record = MESSAGE(log_record_fields, false);

static const struct otlp_field scope_logs_fields[] = {
    MSG(1, "scope", scope),
    MANY(2, "logRecords", otlp_log_record),
    F(3, STRING, "schemaUrl"),
};
static const struct otlp_message scope_logs = MESSAGE(scope_logs_fields, false);
static const struct otlp_field resource_logs_fields[] = {
    MSG(1, "resource", resource),
    MANY(2, "scopeLogs", scope_logs),
    F(3, STRING, "schemaUrl"),
};
static const struct otlp_message resource_logs = MESSAGE(resource_logs_fields, false);
static const struct otlp_field logs_request_fields[] = {MANY(1, "resourceLogs", resource_logs)};
const struct otlp_message otlp_logs_request = MESSAGE(logs_request_fields, false);

// ---- traces ---------------------------------------------------------------------------------------------------------

static const struct otlp_field event_fields[] = {
    F(1, FIXED64, "timeUnixNano"),
    F(2, STRING, "name"),
    MANY(3, "attributes", otlp_key_value),
    F(4, U32, "droppedAttributesCount"),
};
static const struct otlp_message event = MESSAGE(event_fields, false);

static const struct otlp_field link_fields[] = {
    F(1, HEX, "traceId"),
    F(2, HEX, "spanId"),
    F(3, STRING, "traceState"),
    MANY(4, "attributes", otlp_key_value),
    F(5, U32, "droppedAttributesCount"),
    F(6, FIXED32, "flags"),
};
static const struct otlp_message span_link = MESSAGE(link_fields, false);

static const struct otlp_field status_fields[] = {F(2, STRING, "message"), F(3, U32, "code")};
static const struct otlp_message status = MESSAGE(status_fields, false);

static const struct otlp_field span_fields[] = {
    F(1, HEX, "traceId"),
    F(2, HEX, "spanId"),
    F(3, STRING, "traceState"),
    F(4, HEX, "parentSpanId"),
    F(5, STRING, "name"),
    F(6, U32, "kind"),
    F(7, FIXED64, "startTimeUnixNano"),
    F(8, FIXED64, "endTimeUnixNano"),
    MANY(9, "attributes", otlp_key_value),
    F(10, U32, "droppedAttributesCount"),
    MANY(11, "events", event),
    F(12, U32, "droppedEventsCount"),
    MANY(13, "links", span_link),
    F(14, U32, "droppedLinksCount"),
    MSG(15, "status", status),
    F(16, FIXED32, "flags"),
};
const struct otlp_message otlp_span = MESSAGE(span_fields, false);

static const struct otlp_field scope_spans_fields[] = {
    MSG(1, "scope", scope),
    MANY(2, "spans", otlp_span),
    F(3, STRING, "schemaUrl"),
};
static const struct otlp_message scope_spans = MESSAGE(scope_spans_fields, false);
static const struct otlp_field resource_spans_fields[] = {
    MSG(1, "resource", resource),
    MANY(2, "scopeSpans", scope_spans),
    F(3, STRING, "schemaUrl"),
};
static const struct otlp_message resource_spans = MESSAGE(resource_spans_fields, false);
static const struct otlp_field traces_request_fields[] = {MANY(1, "resourceSpans", resource_spans)};
const struct otlp_message otlp_traces_request = MESSAGE(traces_request_fields, false);

// ---- metrics --------------------------------------------------------------------------------------------------------

static const struct otlp_field exemplar_fields[] = {
    F(2, FIXED64, "timeUnixNano"), F(3, DOUBLE, "asDouble"), F(4, HEX, "spanId"),
    F(5, HEX, "traceId"),          F(6, SFIXED64, "asInt"),  MANY(7, "filteredAttributes", otlp_key_value),
};
static const struct otlp_message exemplar = MESSAGE(exemplar_fields, false);

static const struct otlp_field number_point_fields[] = {
    F(2, FIXED64, "startTimeUnixNano"),
    F(3, FIXED64, "timeUnixNano"),
    F(4, DOUBLE, "asDouble"),
    MANY(5, "exemplars", exemplar),
    F(6, SFIXED64, "asInt"),
    MANY(7, "attributes", otlp_key_value),
    F(8, U32, "flags"),
};
static const struct otlp_message number_point = MESSAGE(number_point_fields, false);

static const struct otlp_field histogram_point_fields[] = {
    F(2, FIXED64, "startTimeUnixNano"),
    F(3, FIXED64, "timeUnixNano"),
    F(4, FIXED64, "count"),
    F(5, DOUBLE, "sum"),
    NUMBERS(6, FIXED64, "bucketCounts"),
    NUMBERS(7, DOUBLE, "explicitBounds"),
    MANY(8, "exemplars", exemplar),
    MANY(9, "attributes", otlp_key_value),
    F(10, U32, "flags"),
    F(11, DOUBLE, "min"),
    F(12, DOUBLE, "max"),
};
static const struct otlp_message histogram_point = MESSAGE(histogram_point_fields, false);

static const struct otlp_field exp_buckets_fields[] = {F(1, S32, "offset"), NUMBERS(2, U64, "bucketCounts")};
static const struct otlp_message exp_buckets = MESSAGE(exp_buckets_fields, false);
static const struct otlp_field exp_point_fields[] = {
    MANY(1, "attributes", otlp_key_value),
    F(2, FIXED64, "startTimeUnixNano"),
    F(3, FIXED64, "timeUnixNano"),
    F(4, FIXED64, "count"),
    F(5, DOUBLE, "sum"),
    F(6, S32, "scale"),
    F(7, FIXED64, "zeroCount"),
    MSG(8, "positive", exp_buckets),
    MSG(9, "negative", exp_buckets),
    F(10, U32, "flags"),
    MANY(11, "exemplars", exemplar),
    F(12, DOUBLE, "min"),
    F(13, DOUBLE, "max"),
    F(14, DOUBLE, "zeroThreshold"),
};
static const struct otlp_message exp_point = MESSAGE(exp_point_fields, false);

static const struct otlp_field quantile_fields[] = {F(1, DOUBLE, "quantile"), F(2, DOUBLE, "value")};
static const struct otlp_message quantile = MESSAGE(quantile_fields, false);
static const struct otlp_field summary_point_fields[] = {
    F(2, FIXED64, "startTimeUnixNano"),  F(3, FIXED64, "timeUnixNano"),         F(4, FIXED64, "count"), F(5, DOUBLE, "sum"),
    MANY(6, "quantileValues", quantile), MANY(7, "attributes", otlp_key_value), F(8, U32, "flags"),
};
static const struct otlp_message summary_point = MESSAGE(summary_point_fields, false);

static const struct otlp_field gauge_fields[] = {MANY(1, "dataPoints", number_point)};
static const struct otlp_message gauge = MESSAGE(gauge_fields, false);
static const struct otlp_field sum_fields[] = {MANY(1, "dataPoints", number_point), F(2, U32, "aggregationTemporality"),
                                               F(3, BOOL, "isMonotonic")};
static const struct otlp_message sum = MESSAGE(sum_fields, false);
static const struct otlp_field histogram_fields[] = {MANY(1, "dataPoints", histogram_point), F(2, U32, "aggregationTemporality")};
static const struct otlp_message histogram = MESSAGE(histogram_fields, false);
static const struct otlp_field exp_histogram_fields[] = {MANY(1, "dataPoints", exp_point), F(2, U32, "aggregationTemporality")};
static const struct otlp_message exp_histogram = MESSAGE(exp_histogram_fields, false);
static const struct otlp_field summary_fields[] = {MANY(1, "dataPoints", summary_point)};
static const struct otlp_message summary = MESSAGE(summary_fields, false);

static const struct otlp_field metric_fields[] = {
    F(1, STRING, "name"),
    F(2, STRING, "description"),
    F(3, STRING, "unit"),
    MSG(5, "gauge", gauge),
    MSG(7, "sum", sum),
    MSG(9, "histogram", histogram),
    MSG(10, "exponentialHistogram", exp_histogram),
    MSG(11, "summary", summary),
    MANY(12, "metadata", otlp_key_value),
};
static const struct otlp_message metric = MESSAGE(metric_fields, false);

static const struct otlp_field scope_metrics_fields[] = {
    MSG(1, "scope", scope),
    MANY(2, "metrics", metric),
    F(3, STRING, "schemaUrl"),
};
static const struct otlp_message scope_metrics = MESSAGE(scope_metrics_fields, false);
static const struct otlp_field resource_metrics_fields[] = {
    MSG(1, "resource", resource),
    MANY(2, "scopeMetrics", scope_metrics),
    F(3, STRING, "schemaUrl"),
};
static const struct otlp_message resource_metrics = MESSAGE(resource_metrics_fields, false);
static const struct otlp_field metrics_request_fields[] = {MANY(1, "resourceMetrics", resource_metrics)};
const struct otlp_message otlp_metrics_request = MESSAGE(metrics_request_fields, false);

// ---- walks ----------------------------------------------------------------------------------------------------------

const struct otlp_field *otlp_field_by_number(const struct otlp_message *m, uint32_t number)
{
    // Ascending with few gaps: field n is at n - 1 or a little before.
    for (uint32_t i = number < m->n ? number : m->n; i-- > 0 && m->fields[i].number >= number;)
        if (m->fields[i].number == number)
            return &m->fields[i];
    return NULL;
}

const struct otlp_field *otlp_field_by_name(const struct otlp_message *m, struct slice json)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (slice_eq(m->fields[i].json, json))
            return &m->fields[i];
    return NULL;
}

bool otlp_packed(const struct otlp_field *f, enum pb_wire wire)
{
    return f->repeated && wire == PB_LEN && f->type != OTLP_MESSAGE && f->type > OTLP_BASE64;
}

static bool check_scalar(struct pb *r, enum otlp_type t, bool *dirty)
{
    uint64_t u;
    uint32_t u32;
    struct slice s;
    switch (t) {
    case OTLP_STRING:
        if (!pb_bytes(r, &s))
            return false;
        *dirty |= !utf8_valid(s);
        return true;
    case OTLP_HEX:
    case OTLP_BASE64:
        return pb_bytes(r, &s);
    case OTLP_FIXED64:
    case OTLP_SFIXED64:
    case OTLP_DOUBLE:
        return pb_fixed64(r, &u);
    case OTLP_FIXED32:
        return pb_fixed32(r, &u32);
    default:
        return pb_u64(r, &u);
    }
}

bool otlp_check(struct pb *r, const struct otlp_message *m, bool *dirty)
{
    while (pb_next(r)) {
        const struct otlp_field *f = otlp_field_by_number(m, r->field);
        struct pb child;
        if (!f || otlp_packed(f, r->wire)) // the numbers of metrics are checked by who reads them
            pb_skip(r);
        else if (f->type != OTLP_MESSAGE)
            check_scalar(r, f->type, dirty);
        else if (pb_message(r, &child) && !otlp_check(&child, f->message, dirty))
            r->failed = true;
    }
    return !r->failed;
}

bool otlp_clean(struct pb *r, const struct otlp_message *m, struct buf *out)
{
    while (pb_next(r)) {
        const struct otlp_field *f = otlp_field_by_number(m, r->field);
        struct pb child;
        struct slice s;
        if (f && f->type == OTLP_STRING) {
            uint32_t field = r->field;
            if (!pb_bytes(r, &s))
                break;
            size_t mark = pb_w_begin(out, field);
            utf8_append_clean(out, s);
            pb_w_end(out, mark);
        } else if (f && f->type == OTLP_MESSAGE) {
            size_t mark = pb_w_begin(out, r->field);
            if (pb_message(r, &child) && !otlp_clean(&child, f->message, out))
                r->failed = true;
            pb_w_end(out, mark);
        } else if (pb_raw_field(r, &s)) {
            buf_add(out, s);
        }
    }
    return !r->failed && out->err == ERR_OK;
}
