// A table-driven walk: one row for each field of the OTLP trace messages says its JSON name and how its value is written.
#include "serve/tempo_json.h"
#include "base/limits.h"
#include "base/pb.h"

enum how { STRING, BASE64, TIME, INT, UINT, INT_STRING, BOOLEAN, DOUBLE, ENUM_KIND, ENUM_STATUS, MESSAGE };

struct row {
    uint32_t field;
    const char *name;
    enum how how;
    bool repeated;
    const struct row *message; // MESSAGE
};

static const struct row any_value[];
static const struct row key_value[] = {{1, "key", STRING, false, NULL}, {2, "value", MESSAGE, false, any_value}, {0}};
static const struct row array_value[] = {{1, "values", MESSAGE, true, any_value}, {0}};
static const struct row kvlist_value[] = {{1, "values", MESSAGE, true, key_value}, {0}};
static const struct row any_value[] = {
    {1, "stringValue", STRING, false, NULL},        {2, "boolValue", BOOLEAN, false, NULL},
    {3, "intValue", INT_STRING, false, NULL},       {4, "doubleValue", DOUBLE, false, NULL},
    {5, "arrayValue", MESSAGE, false, array_value}, {6, "kvlistValue", MESSAGE, false, kvlist_value},
    {7, "bytesValue", BASE64, false, NULL},         {0}};
static const struct row event_row[] = {{1, "timeUnixNano", TIME, false, NULL},
                                       {2, "name", STRING, false, NULL},
                                       {3, "attributes", MESSAGE, true, key_value},
                                       {4, "droppedAttributesCount", UINT, false, NULL},
                                       {0}};
static const struct row link_row[] = {{1, "traceId", BASE64, false, NULL},
                                      {2, "spanId", BASE64, false, NULL},
                                      {3, "traceState", STRING, false, NULL},
                                      {4, "attributes", MESSAGE, true, key_value},
                                      {5, "droppedAttributesCount", UINT, false, NULL},
                                      {6, "flags", UINT, false, NULL},
                                      {0}};
static const struct row status_row[] = {{2, "message", STRING, false, NULL}, {3, "code", ENUM_STATUS, false, NULL}, {0}};
static const struct row span_row[] = {{1, "traceId", BASE64, false, NULL},
                                      {2, "spanId", BASE64, false, NULL},
                                      {3, "traceState", STRING, false, NULL},
                                      {4, "parentSpanId", BASE64, false, NULL},
                                      {5, "name", STRING, false, NULL},
                                      {6, "kind", ENUM_KIND, false, NULL},
                                      {7, "startTimeUnixNano", TIME, false, NULL},
                                      {8, "endTimeUnixNano", TIME, false, NULL},
                                      {9, "attributes", MESSAGE, true, key_value},
                                      {10, "droppedAttributesCount", UINT, false, NULL},
                                      {11, "events", MESSAGE, true, event_row},
                                      {12, "droppedEventsCount", UINT, false, NULL},
                                      {13, "links", MESSAGE, true, link_row},
                                      {14, "droppedLinksCount", UINT, false, NULL},
                                      {15, "status", MESSAGE, false, status_row},
                                      {16, "flags", UINT, false, NULL},
                                      {0}};
static const struct row scope_row[] = {{1, "name", STRING, false, NULL},
                                       {2, "version", STRING, false, NULL},
                                       {3, "attributes", MESSAGE, true, key_value},
                                       {4, "droppedAttributesCount", UINT, false, NULL},
                                       {0}};
static const struct row scope_spans[] = {
    {1, "scope", MESSAGE, false, scope_row}, {2, "spans", MESSAGE, true, span_row}, {3, "schemaUrl", STRING, false, NULL}, {0}};
static const struct row resource_row[] = {
    {1, "attributes", MESSAGE, true, key_value}, {2, "droppedAttributesCount", UINT, false, NULL}, {0}};
static const struct row resource_spans[] = {{1, "resource", MESSAGE, false, resource_row},
                                            {2, "scopeSpans", MESSAGE, true, scope_spans},
                                            {3, "schemaUrl", STRING, false, NULL},
                                            {0}};

static const char *const kind_names[] = {"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER",
                                         "SPAN_KIND_CLIENT",      "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"};
static const char *const status_names[] = {"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"};

static bool write_message(struct jw *w, struct pb *r, const struct row *rows);

static bool write_enum(struct jw *w, struct pb *r, const char *const *names, uint64_t n)
{
    uint64_t v;
    if (!pb_u64(r, &v))
        return false;
    if (v < n)
        jw_str(w, slice_str(names[v]));
    else
        jw_u64(w, v);
    return true;
}

static bool write_value(struct jw *w, struct pb *r, const struct row *row)
{
    struct slice s;
    struct pb child;
    uint64_t u;
    double d;
    bool b;
    switch (row->how) {
    case STRING:
        return pb_string(r, &s) && (jw_str(w, s), true);
    case BASE64:
        return pb_bytes(r, &s) && (jw_base64(w, s), true);
    case TIME:
        return pb_fixed64(r, &u) && (jw_str_u64(w, u), true);
    case INT:
    case UINT:
        if (r->wire == PB_FIXED32) { // flags
            uint32_t v;
            return pb_fixed32(r, &v) && (jw_u64(w, v), true);
        }
        return pb_u64(r, &u) && (jw_u64(w, u), true);
    case INT_STRING:
        return pb_u64(r, &u) && (jw_str_i64(w, (int64_t)u), true);
    case BOOLEAN:
        return pb_bool(r, &b) && (jw_bool(w, b), true);
    case DOUBLE:
        return pb_double(r, &d) && (jw_f64(w, d), true);
    case ENUM_KIND:
        return write_enum(w, r, kind_names, 6);
    case ENUM_STATUS:
        return write_enum(w, r, status_names, 3);
    case MESSAGE:
        return pb_message(r, &child) && write_message(w, &child, row->message);
    }
    return false;
}

static const struct row *find_row(const struct row *rows, uint32_t field)
{
    while (rows->field && rows->field != field)
        rows++;
    return rows->field ? rows : NULL;
}

// Our encoder writes the values of a repeated field one after the other, so an array ends where another field begins.
static bool write_message(struct jw *w, struct pb *r, const struct row *rows)
{
    const struct row *open = NULL;
    jw_obj(w);
    while (pb_next(r)) {
        const struct row *row = find_row(rows, r->field);
        if (open && row != open) {
            jw_arr_end(w);
            open = NULL;
        }
        if (!row) {
            pb_skip(r);
            continue;
        }
        if (row != open) {
            jw_key(w, slice_str(row->name));
            if (row->repeated) {
                jw_arr(w);
                open = row;
            }
        }
        if (!write_value(w, r, row))
            return false;
    }
    if (open)
        jw_arr_end(w);
    jw_obj_end(w);
    return !r->failed;
}

enum errc tempo_json_resource_spans(struct jw *w, struct slice traces, struct error *err)
{
    struct pb r, child;
    pb_init(&r, traces, err);
    jw_arr(w);
    while (pb_next(&r)) {
        if (r.field != 1)
            pb_skip(&r);
        else if (!pb_message(&r, &child) || !write_message(w, &child, resource_spans))
            break;
    }
    jw_arr_end(w);
    if (r.failed || (err && err->code != ERR_OK))
        return ERR(err, CORRUPT, "the encoded trace cannot be read back");
    return w->b->err == ERR_OK ? ERR_OK : ERR(err, LIMIT, "the trace is too large for one answer of %zu MiB", w->b->max >> 20);
}
