// Batch → ExportLogsServiceRequest / ExportTraceServiceRequest: rows sorted by (resource, scope, order given), so that each
// group is one message. JSON is written from the protobuf by the tables of otlp_schema.c.
#include "base/limits.h"
#include "event/otlp_numbers.h"
#include "event/otlp_schema.h"
#include "event/wire.h"
#include <stdlib.h>

struct placed {
    uint32_t resource, seq, row;
    uint64_t scope; // hash of everything about the scope
};

struct encode {
    const struct batch *b;
    struct buf *out;
    struct placed *rows;
    uint32_t n;
    uint32_t *hint; // one per column: rows mostly ascend
};

static bool is_scope(const struct column *c)
{
    return c->scope == COL_SCOPE || (c->scope == COL_FIELD && (c->field == FIELD_SCOPE_NAME || c->field == FIELD_SCOPE_VERSION));
}

static int64_t find(struct encode *e, const struct column *c, uint32_t row)
{
    return column_find_hint(c, row, &e->hint[c - e->b->columns]);
}

// ---- values ---------------------------------------------------------------------------------------------------------

static void put_any_fields(struct buf *out, const struct value *v)
{
    char id[16];
    char hex[32];
    switch (v->kind) {
    case COL_STR:
        pb_w_bytes(out, PB_ANY_STRING, v->s);
        break;
    case COL_BOOL:
        pb_w_bool(out, PB_ANY_BOOL, v->b);
        break;
    case COL_I64:
        pb_w_i64(out, PB_ANY_INT, v->i64);
        break;
    case COL_F64:
        pb_w_double(out, PB_ANY_DOUBLE, v->f64);
        break;
    case COL_BYTES:
        pb_w_bytes(out, PB_ANY_BYTES, v->s);
        break;
    case COL_ANY:
        buf_add(out, v->s);
        break;
    case COL_ID64:
        for (int i = 0; i < 8; i++)
            id[i] = (char)(v->id64 >> (56 - 8 * i));
        hex_encode(hex, id, 8);
        pb_w_bytes(out, PB_ANY_STRING, slice_of(hex, 16));
        break;
    case COL_ID128:
        id128_store(id, v->id128);
        hex_encode(hex, id, 16);
        pb_w_bytes(out, PB_ANY_STRING, slice_of(hex, 32));
        break;
    }
}

static void put_attr(struct buf *out, uint32_t field, struct slice key, const struct value *v)
{
    size_t pair = pb_w_begin(out, field);
    pb_w_bytes(out, PB_PAIR_KEY, key);
    size_t any = pb_w_begin(out, PB_PAIR_VALUE);
    put_any_fields(out, v);
    pb_w_end(out, any);
    pb_w_end(out, pair);
}

static void put_attrs(struct encode *e, enum col_scope scope, uint32_t field, uint32_t row)
{
    for (uint32_t k = 0; k < e->b->n_columns; k++) {
        const struct column *c = &e->b->columns[k];
        int64_t i = c->scope == scope ? find(e, c, row) : -1;
        if (i < 0)
            continue;
        struct value v = column_at(c, (uint32_t)i);
        put_attr(e->out, field, c->name, &v);
    }
}

// ---- fixed fields ---------------------------------------------------------------------------------------------------

enum how { AS_STRING, AS_VARINT, AS_FIXED32, AS_FIXED64, AS_ID, AS_RAW };
struct fixed {
    enum field field;
    enum how how;
    uint32_t number; // none for AS_RAW, whose bytes hold their tags
};

static const struct fixed log_fields[] = {
    {FIELD_SEVERITY, AS_VARINT, PB_LOG_SEVERITY},
    {FIELD_SEVERITY_TEXT, AS_STRING, PB_LOG_SEVERITY_TEXT},
    {FIELD_DROPPED_ATTRS, AS_VARINT, PB_LOG_DROPPED_ATTRS},
    {FIELD_FLAGS, AS_FIXED32, PB_LOG_FLAGS},
    {FIELD_TRACE_ID, AS_ID, PB_LOG_TRACE_ID},
    {FIELD_SPAN_ID, AS_ID, PB_LOG_SPAN_ID},
    {FIELD_OBSERVED, AS_FIXED64, PB_LOG_OBSERVED},
    {FIELD_EVENT_NAME, AS_STRING, PB_LOG_EVENT_NAME},
};
static const struct fixed span_fields[] = {
    {FIELD_TRACE_ID, AS_ID, PB_SPAN_TRACE_ID},
    {FIELD_SPAN_ID, AS_ID, PB_SPAN_ID},
    {FIELD_TRACE_STATE, AS_STRING, PB_SPAN_TRACE_STATE},
    {FIELD_PARENT_ID, AS_ID, PB_SPAN_PARENT_ID},
    {FIELD_NAME, AS_STRING, PB_SPAN_NAME},
    {FIELD_KIND, AS_VARINT, PB_SPAN_KIND},
    {FIELD_DROPPED_ATTRS, AS_VARINT, PB_SPAN_DROPPED_ATTRS},
    {FIELD_EVENTS, AS_RAW, 0},
    {FIELD_DROPPED_EVENTS, AS_VARINT, PB_SPAN_DROPPED_EVENTS},
    {FIELD_LINKS, AS_RAW, 0},
    {FIELD_DROPPED_LINKS, AS_VARINT, PB_SPAN_DROPPED_LINKS},
    {FIELD_FLAGS, AS_FIXED32, PB_SPAN_FLAGS},
};

static void put_id(struct buf *out, uint32_t number, const struct value *v)
{
    char id[16];
    if (v->kind == COL_ID128) {
        id128_store(id, v->id128);
        pb_w_bytes(out, number, slice_of(id, 16));
        return;
    }
    for (int i = 0; i < 8; i++)
        id[i] = (char)(v->id64 >> (56 - 8 * i));
    pb_w_bytes(out, number, slice_of(id, 8));
}

static bool field_value(struct encode *e, enum field f, uint32_t row, struct value *v)
{
    const struct column *c = e->b->field[f];
    int64_t i = c ? find(e, c, row) : -1;
    if (i < 0)
        return false;
    *v = column_at(c, (uint32_t)i);
    return true;
}

static void put_fixed(struct encode *e, const struct fixed *fields, size_t n, uint32_t row)
{
    for (size_t k = 0; k < n; k++) {
        struct value v;
        if (!field_value(e, fields[k].field, row, &v))
            continue;
        switch (fields[k].how) {
        case AS_STRING:
            pb_w_bytes(e->out, fields[k].number, v.s);
            break;
        case AS_VARINT:
            pb_w_i64(e->out, fields[k].number, v.i64);
            break;
        case AS_FIXED32:
            pb_w_fixed32(e->out, fields[k].number, (uint32_t)v.i64);
            break;
        case AS_FIXED64:
            pb_w_fixed64(e->out, fields[k].number, (uint64_t)v.i64);
            break;
        case AS_ID:
            put_id(e->out, fields[k].number, &v);
            break;
        case AS_RAW:
            buf_add(e->out, v.s);
            break;
        }
    }
}

// ---- records --------------------------------------------------------------------------------------------------------

static void put_log(struct encode *e, uint32_t row)
{
    struct value v;
    pb_w_fixed64(e->out, PB_LOG_TIME, (uint64_t)e->b->time[row]);
    put_fixed(e, log_fields, sizeof log_fields / sizeof *log_fields, row);
    if (field_value(e, FIELD_BODY_ANY, row, &v) || field_value(e, FIELD_BODY, row, &v)) {
        size_t body = pb_w_begin(e->out, PB_LOG_BODY);
        put_any_fields(e->out, &v);
        pb_w_end(e->out, body);
    }
    put_attrs(e, COL_ATTR, PB_LOG_ATTRS, row);
}

static void put_span(struct encode *e, uint32_t row)
{
    struct value duration, message, code;
    uint64_t start = (uint64_t)e->b->time[row];
    put_fixed(e, span_fields, sizeof span_fields / sizeof *span_fields, row);
    pb_w_fixed64(e->out, PB_SPAN_START, start);
    if (field_value(e, FIELD_DURATION, row, &duration))
        pb_w_fixed64(e->out, PB_SPAN_END, start + (uint64_t)duration.i64);
    put_attrs(e, COL_ATTR, PB_SPAN_ATTRS, row);
    bool has_message = field_value(e, FIELD_STATUS_MESSAGE, row, &message), has_code = field_value(e, FIELD_STATUS, row, &code);
    if (!has_message && !has_code)
        return;
    size_t status = pb_w_begin(e->out, PB_SPAN_STATUS);
    if (has_message)
        pb_w_bytes(e->out, PB_STATUS_MESSAGE, message.s);
    if (has_code)
        pb_w_i64(e->out, PB_STATUS_CODE, code.i64);
    pb_w_end(e->out, status);
}

static void put_scope(struct encode *e, uint32_t row)
{
    struct value v;
    size_t scope = pb_w_begin(e->out, PB_GROUP_HEAD);
    if (field_value(e, FIELD_SCOPE_NAME, row, &v))
        pb_w_bytes(e->out, PB_SCOPE_NAME, v.s);
    if (field_value(e, FIELD_SCOPE_VERSION, row, &v))
        pb_w_bytes(e->out, PB_SCOPE_VERSION, v.s);
    put_attrs(e, COL_SCOPE, PB_SCOPE_ATTRS, row);
    pb_w_end(e->out, scope);
}

// A resource without attributes came by a Loki push: its labels stand in.
static void put_resource(struct encode *e, const struct resource *r)
{
    size_t resource = pb_w_begin(e->out, PB_GROUP_HEAD);
    for (uint32_t i = 0; i < r->n_attrs; i++)
        put_attr(e->out, PB_RESOURCE_ATTRS, r->attrs[i].key, &r->attrs[i].value);
    for (uint32_t i = 0; !r->n_attrs && i < r->n_labels; i++) {
        bool service = slice_eq(r->labels[i].name, SLICE("service_name"));
        if (service && slice_eq(r->labels[i].value, SLICE("unknown_service")))
            continue; // what a decoder puts there when there is none
        put_attr(e->out, PB_RESOURCE_ATTRS, service ? SLICE("service.name") : r->labels[i].name,
                 &(struct value){.kind = COL_STR, .s = r->labels[i].value});
    }
    pb_w_end(e->out, resource);
}

// ---- groups ---------------------------------------------------------------------------------------------------------

static int placed_order(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->resource != y->resource)
        return x->resource > y->resource ? 1 : -1;
    if (x->scope != y->scope)
        return x->scope > y->scope ? 1 : -1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static uint64_t scope_hash(struct encode *e, uint32_t row)
{
    uint64_t h = 0;
    for (uint32_t k = 0; k < e->b->n_columns; k++) {
        const struct column *c = &e->b->columns[k];
        int64_t i = is_scope(c) ? find(e, c, row) : -1;
        if (i < 0)
            continue;
        struct value v = column_at(c, (uint32_t)i);
        h = hash_mix(h, k + 1);
        h = column_is_text(v.kind) ? hash64_seed(v.s.p, v.s.n, h) : hash_mix(h, v.kind == COL_BOOL ? (uint64_t)v.b : v.id64);
    }
    return h;
}

static bool place_rows(struct encode *e, const uint32_t *rows)
{
    e->hint = calloc(e->b->n_columns + 1u, sizeof *e->hint);
    e->rows = malloc((e->n + 1u) * sizeof *e->rows);
    if (!e->hint || !e->rows)
        return false;
    bool sorted = true;
    for (uint32_t i = 0; i < e->n; i++) {
        uint32_t row = rows ? rows[i] : i;
        e->rows[i] = (struct placed){e->b->resource[row], i, row, scope_hash(e, row)};
        sorted = sorted && (!i || placed_order(&e->rows[i - 1], &e->rows[i]) < 0);
    }
    if (!sorted)
        qsort(e->rows, e->n, sizeof *e->rows, placed_order);
    return true;
}

static void put_groups(struct encode *e)
{
    uint32_t i = 0;
    while (i < e->n && e->out->err == ERR_OK) {
        uint32_t resource = e->rows[i].resource;
        size_t group = pb_w_begin(e->out, PB_REQUEST_GROUPS);
        put_resource(e, &e->b->resources[resource]);
        while (i < e->n && e->rows[i].resource == resource) {
            uint64_t scope = e->rows[i].scope;
            size_t scope_group = pb_w_begin(e->out, PB_GROUP_ITEMS);
            put_scope(e, e->rows[i].row);
            for (; i < e->n && e->rows[i].resource == resource && e->rows[i].scope == scope; i++) {
                size_t record = pb_w_begin(e->out, PB_GROUP_ITEMS);
                if (e->b->signal == SIGNAL_SPAN)
                    put_span(e, e->rows[i].row);
                else
                    put_log(e, e->rows[i].row);
                pb_w_end(e->out, record);
            }
            pb_w_end(e->out, scope_group);
        }
        pb_w_end(e->out, group);
    }
}

enum errc otlp_encode(const struct batch *b, const uint32_t *rows, uint32_t n_rows, struct buf *out)
{
    struct encode e = {.b = b, .out = out, .n = rows ? n_rows : b->rows};
    enum errc rc = place_rows(&e, rows) ? ERR_OK : ERR_NOMEM;
    if (rc == ERR_OK) {
        put_groups(&e);
        rc = out->err;
    }
    free(e.rows);
    free(e.hint);
    return rc;
}

enum errc otlp_encode_json(const struct batch *b, const uint32_t *rows, uint32_t n_rows, struct buf *out)
{
    const struct otlp_message *request = b->signal == SIGNAL_SPAN ? &otlp_traces_request : &otlp_logs_request;
    struct buf pb;
    struct pb r;
    struct jw w = jw_to(out);
    buf_init(&pb, MAX_BATCH_MEMORY);
    enum errc rc = otlp_encode(b, rows, n_rows, &pb);
    if (rc == ERR_OK) {
        pb_init(&r, buf_slice(&pb), NULL);
        rc = otlp_to_json(&r, request, &w) ? out->err : ERR_BUG;
    }
    buf_free(&pb);
    return rc;
}
