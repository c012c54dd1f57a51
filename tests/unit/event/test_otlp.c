// OTLP logs and traces: decode, encode, JSON, damaged and hostile requests.
#include "event/otlp_schema.h"
#include "support.h"

static struct buf pb;

static void start(void)
{
    buf_free(&pb);
    buf_init(&pb, (size_t)256 << 20);
}

static void string_attr(uint32_t field, const char *key, const char *value)
{
    size_t kv = pb_w_begin(&pb, field);
    pb_w_bytes(&pb, 1, slice_str(key));
    size_t any = pb_w_begin(&pb, 2);
    pb_w_bytes(&pb, 1, slice_str(value));
    pb_w_end(&pb, any);
    pb_w_end(&pb, kv);
}

static void resource(const char *service)
{
    size_t r = pb_w_begin(&pb, 1);
    string_attr(1, "service.name", service);
    string_attr(1, "host.name", "h1");
    pb_w_end(&pb, r);
}

static const char trace_id[] = "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c",
                  span_id[] = "\xb7\xad\x6b\x71\x69\x20\x33\x31";

// A request with everything in it, as JSON; the tests turn it into protobuf with the library's own tables and compare.
static const char logs_json[] =
    "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"decode\"}},"
    "{\"key\":\"k8s.pod.name\",\"value\":{\"stringValue\":\"p-1\"}},{\"key\":\"process.pid\",\"value\":{\"intValue\":\"42\"}}]},"
    "\"scopeLogs\":[{\"scope\":{\"name\":\"lib\",\"version\":\"1.2\",\"attributes\":[{\"key\":\"s\",\"value\":{\"boolValue\":"
    "true}}]},"
    "\"logRecords\":[{\"timeUnixNano\":\"1700000000000000001\",\"observedTimeUnixNano\":1700000000000000002,\"severityNumber\":"
    "17,"
    "\"severityText\":\"ERROR\",\"body\":{\"stringValue\":\"it broke\"},\"traceId\":\"0AF7651916cd43dd8448eb211c80319c\","
    "\"spanId\":\"b7ad6b7169203331\",\"flags\":1,\"droppedAttributesCount\":3,\"eventName\":\"e\",\"attributes\":["
    "{\"key\":\"i\",\"value\":{\"intValue\":-7}},{\"key\":\"d\",\"value\":{\"doubleValue\":0.25}},{\"key\":\"inf\",\"value\":"
    "{\"doubleValue\":\"-Infinity\"}},{\"key\":\"none\",\"value\":{}},{\"key\":\"bytes\",\"value\":{\"bytesValue\":\"AQID\"}},"
    "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},{\"stringValue\":\"x\"},{}]}}}],\"unknown\":["
    "1,{}]},"
    "{\"observedTimeUnixNano\":\"1700000000000000003\",\"body\":{\"kvlistValue\":{\"values\":[{\"key\":\"a\",\"value\":{"
    "\"intValue\":"
    "\"1\"}}]}}},{\"body\":{\"intValue\":\"5\"}},{\"severityText\":null}]}]}]}";

static const char traces_json[] =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"frontend\"}}]},"
    "\"scopeSpans\":[{\"scope\":{\"name\":\"lib\"},\"spans\":[{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":"
    "\"b7ad6b7169203331\",\"parentSpanId\":\"00f067aa0ba902b7\",\"traceState\":\"a=b\",\"name\":\"http-request\",\"kind\":2,"
    "\"startTimeUnixNano\":\"1700000000000000000\",\"endTimeUnixNano\":\"1700000000000000500\",\"attributes\":[{\"key\":\"n\","
    "\"value\":{\"intValue\":\"9\"}}],\"droppedAttributesCount\":1,\"events\":[{\"timeUnixNano\":\"1700000000000000100\","
    "\"name\":"
    "\"first "
    "token\",\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}},{\"key\":\"m\",\"value\":{\"kvlistValue\":{"
    "\"values\":[]}}}]},{\"timeUnixNano\":\"1700000000000000200\",\"name\":\"last\"}],\"droppedEventsCount\":2,\"links\":[{"
    "\"traceId\":"
    "\"0af7651916cd43dd8448eb211c80319d\",\"spanId\":\"b7ad6b7169203332\",\"flags\":257}],\"droppedLinksCount\":4,\"status\":{"
    "\"code\":2,\"message\":\"bad\"},\"flags\":769}]}]}]}";

static struct slice transcoded(const char *json, const struct otlp_message *m)
{
    struct arena a;
    struct json j;
    struct error e = {0};
    arena_init(&a, 1 << 24);
    json_init(&j, slice_str(json), &a, &e);
    start();
    if (!otlp_from_json(&j, m, &pb))
        fail_msg("%s", e.msg);
    arena_free(&a);
    return buf_slice(&pb);
}

static void logs_into_columns(void **state)
{
    struct wire_report report;
    struct batch *b = decoded(WIRE_OTLP_LOGS_JSON, slice_str(logs_json), &report);
    assert_int_equal(report.accepted, 4);
    assert_int_equal(report.rejected, 0);
    const struct resource *r = &b->resources[0];
    assert_int_equal(b->n_resources, 1);
    assert_int_equal(r->n_labels, 2);
    assert_slice(r->labels[0].name, "k8s_pod_name");
    assert_slice(r->labels[1].name, "service_name");
    assert_slice(r->labels[1].value, "decode");
    assert_int_equal(resource_attr(r, SLICE("process.pid"))->value.i64, 42);

    static const struct {
        uint32_t row;
        int64_t time;
        const char *body;
    } rows[] = {{0, 1700000000000000001, "it broke"},
                {1, 1700000000000000003, "{\"a\":1}"},
                {2, 1700000000000000000, "5"},
                {3, 1700000000000000000, ""}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(b->time[rows[i].row] == rows[i].time);
        assert_slice(cell(b, FIELD_BODY, rows[i].row), rows[i].body);
    }
    assert_int_equal(column_find(b->field[FIELD_BODY_ANY], 0), -1);
    assert_true(column_find(b->field[FIELD_BODY_ANY], 1) >= 0 && column_find(b->field[FIELD_BODY_ANY], 2) >= 0);
    assert_int_equal(column_i64(b->field[FIELD_SEVERITY], 0, 0), 17);
    assert_slice(cell(b, FIELD_SEVERITY_TEXT, 0), "ERROR");
    assert_true(column_id128(b->field[FIELD_TRACE_ID], 0).hi == 0x0af7651916cd43dd);
    assert_true(column_id64(b->field[FIELD_SPAN_ID], 0) == 0xb7ad6b7169203331);
    assert_int_equal(column_i64(b->field[FIELD_FLAGS], 0, 0), 1);
    assert_int_equal(column_i64(b->field[FIELD_DROPPED_ATTRS], 0, 0), 3);
    assert_slice(cell(b, FIELD_EVENT_NAME, 0), "e");
    assert_slice(cell(b, FIELD_SCOPE_VERSION, 3), "1.2");

    static const struct {
        const char *name;
        enum col_kind kind;
        const char *json;
    } attrs[] = {{"i", COL_I64, "-7"},      {"d", COL_F64, "0.25"},         {"inf", COL_F64, "null"},
                 {"none", COL_ANY, "null"}, {"bytes", COL_ANY, "\"AQID\""}, {"list", COL_ANY, "[1,\"x\",null]"}};
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++) {
        struct value v;
        struct buf out;
        buf_init(&out, 4096);
        struct jw w = jw_to(&out);
        assert_true(batch_attr(b, COL_ATTR, slice_str(attrs[i].name), 0, &v));
        assert_int_equal(v.kind, attrs[i].kind);
        value_json(&w, &v);
        assert_slice(buf_slice(&out), attrs[i].json);
        buf_free(&out);
    }
    struct value v;
    assert_true(batch_attr(b, COL_SCOPE, SLICE("s"), 2, &v) && v.kind == COL_BOOL && v.b);
    batch_unref(b);
}

static void spans_into_columns(void **state)
{
    struct batch *b = decoded(WIRE_OTLP_TRACES_JSON, slice_str(traces_json), NULL);
    assert_int_equal(b->rows, 1);
    assert_true(b->time[0] == 1700000000000000000);
    static const struct {
        enum field f;
        int64_t v;
    } numbers[] = {{FIELD_KIND, 2},           {FIELD_DURATION, 500},    {FIELD_STATUS, 2}, {FIELD_DROPPED_ATTRS, 1},
                   {FIELD_DROPPED_EVENTS, 2}, {FIELD_DROPPED_LINKS, 4}, {FIELD_FLAGS, 769}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_int_equal(column_i64(b->field[numbers[i].f], 0, -1), numbers[i].v);
    assert_slice(cell(b, FIELD_NAME, 0), "http-request");
    assert_slice(cell(b, FIELD_TRACE_STATE, 0), "a=b");
    assert_slice(cell(b, FIELD_STATUS_MESSAGE, 0), "bad");
    assert_true(column_id64(b->field[FIELD_PARENT_ID], 0) == 0x00f067aa0ba902b7);
    assert_slice(resource_label(&b->resources[0], SLICE("service_name")), "frontend");

    struct slice events = cell(b, FIELD_EVENTS, 0);
    struct span_event e;
    struct attr a;
    assert_true(span_event_next(&events, &e));
    assert_true(e.time == 1700000000000000100);
    assert_slice(e.name, "first token");
    assert_true(span_event_attr(&e.attrs, &a));
    assert_slice(a.key, "k");
    assert_slice(a.value.s, "v");
    assert_true(span_event_attr(&e.attrs, &a));
    assert_int_equal(a.value.kind, COL_ANY);
    assert_false(span_event_attr(&e.attrs, &a));
    assert_true(span_event_next(&events, &e));
    assert_slice(e.name, "last");
    assert_false(span_event_attr(&e.attrs, &a));
    assert_false(span_event_next(&events, &e));
    batch_unref(b);
}

// ---- round trips ----------------------------------------------------------------------------------------------------

static enum wire_format as_json(enum wire_format f)
{
    return f == WIRE_OTLP_LOGS_PB ? WIRE_OTLP_LOGS_JSON : WIRE_OTLP_TRACES_JSON;
}

static void assert_survives(const struct batch *b, enum wire_format f)
{
    struct buf out;
    buf_init(&out, (size_t)1 << 28);
    assert_int_equal(otlp_encode(b, NULL, 0, &out), ERR_OK);
    struct batch *again = decoded(f, buf_slice(&out), NULL);
    assert_same_rows(b, again);
    batch_unref(again);
    buf_reset(&out);
    assert_int_equal(otlp_encode_json(b, NULL, 0, &out), ERR_OK);
    again = decoded(as_json(f), buf_slice(&out), NULL);
    assert_same_rows(b, again);
    batch_unref(again);
    buf_free(&out);
}

static void both_encodings_are_one(void **state)
{
    static const struct {
        const char *json;
        const struct otlp_message *m;
        enum wire_format f;
    } cases[] = {{logs_json, &otlp_logs_request, WIRE_OTLP_LOGS_PB}, {traces_json, &otlp_traces_request, WIRE_OTLP_TRACES_PB}};
    for (int i = 0; i < 2; i++) {
        struct batch *a = decoded(as_json(cases[i].f), slice_str(cases[i].json), NULL);
        struct batch *b = decoded(cases[i].f, transcoded(cases[i].json, cases[i].m), NULL);
        assert_same_rows(a, b);
        assert_survives(a, cases[i].f);
        batch_unref(a);
        batch_unref(b);
    }
}

static void json_is_the_mapping_of_otlp(void **state)
{
    struct batch *b = decoded(WIRE_OTLP_TRACES_JSON, slice_str(traces_json), NULL);
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(otlp_encode_json(b, NULL, 0, &out), ERR_OK);
    static const char *const parts[] = {"\"traceId\":\"0af7651916cd43dd8448eb211c80319c\"",
                                        "\"startTimeUnixNano\":\"1700000000000000000\"",
                                        "\"endTimeUnixNano\":\"1700000000000000500\"",
                                        "\"kind\":2",
                                        "\"intValue\":\"9\"",
                                        "\"flags\":769",
                                        "\"status\":{\"message\":\"bad\",\"code\":2}"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (slice_find(buf_slice(&out), slice_str(parts[i])) < 0)
            fail_msg("%s is missing in %.*s", parts[i], (int)out.n, out.p);
    buf_free(&out);
    batch_unref(b);

    struct value any = {.kind = COL_ANY, .s = {"\x2a\x0d\x0a\x02\x18\x01\x0a\x02\x10\x01\x0a\x03\x0a\x01x", 15}};
    buf_init(&out, 1 << 20);
    struct jw w = jw_to(&out);
    struct pb r;
    pb_init(&r, any.s, NULL);
    assert_true(otlp_to_json(&r, &otlp_any_value, &w));
    assert_slice(buf_slice(&out),
                 "{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},{\"boolValue\":true},{\"stringValue\":\"x\"}]}}");
    buf_free(&out);
}

static void some_rows_are_encoded(void **state)
{
    struct batch *b = decoded(WIRE_OTLP_LOGS_JSON, slice_str(logs_json), NULL);
    struct buf out;
    buf_init(&out, 1 << 20);
    uint32_t rows[] = {0, 2};
    assert_int_equal(otlp_encode(b, rows, 2, &out), ERR_OK);
    struct batch *again = decoded(WIRE_OTLP_LOGS_PB, buf_slice(&out), NULL);
    assert_int_equal(again->rows, 2);
    char *x = row_text(b, 2), *y = row_text(again, 1);
    assert_string_equal(x, y);
    free(x);
    free(y);
    batch_unref(again);
    batch_unref(b);
    buf_free(&out);
}

// ---- what Dynamo sent -----------------------------------------------------------------------------------------------

// An independent walk: how often field 2 of field 2 of field 1 occurs.
static uint32_t count_records(const unsigned char *p, const unsigned char *end, int level)
{
    uint32_t n = 0;
    while (p < end) {
        uint64_t v[2] = {0};
        for (int k = 0; k < 2; k++) {
            for (int shift = 0;; shift += 7) {
                unsigned char c = *p++;
                v[k] |= (uint64_t)(c & 127) << shift;
                if (c < 128)
                    break;
            }
            if (k == 0 && (v[0] & 7) == 1)
                p += 8;
            else if (k == 0 && (v[0] & 7) == 5)
                p += 4;
            if (k == 0 && ((v[0] & 7) == 1 || (v[0] & 7) == 5))
                break;
        }
        if ((v[0] & 7) != 2)
            continue;
        uint32_t wanted = level == 0 ? 1 : 2;
        if (v[0] >> 3 == wanted)
            n += level == 2 ? 1 : count_records(p, p + v[1], level + 1);
        p += v[1];
    }
    return n;
}

static struct slice read_whole(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(n + 1);
    assert_int_equal(fread(p, 1, n, f), n);
    fclose(f);
    return slice_of(p, n);
}

static void recorded_requests_lose_nothing(void **state)
{
    const char *root = getenv("SONDE_TESTDATA");
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s/dynamo/otlp", root ? root : "../shared/testdata");
    DIR *d = opendir(folder);
    if (!d) {
        print_message("skipped: no recorded requests in %s; SONDE_TESTDATA names another folder\n", folder);
        skip();
    }
    int files = 0;
    for (struct dirent *e; (e = readdir(d));) {
        bool traces = strstr(e->d_name, "-traces.pb");
        if (!traces && !strstr(e->d_name, "-logs.pb"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        struct slice s = read_whole(path);
        uint32_t n = count_records((const unsigned char *)s.p, (const unsigned char *)s.p + s.n, 0);
        enum wire_format f = traces ? WIRE_OTLP_TRACES_PB : WIRE_OTLP_LOGS_PB;
        struct wire_report report;
        struct batch *b = decoded(f, s, &report);
        assert_true(n > 0);
        assert_int_equal(report.accepted, n);
        assert_int_equal(report.rejected, 0);
        assert_int_equal(b->rows, n);
        for (uint32_t r = 0; r < n; r++)
            assert_true(cell(b, traces ? FIELD_NAME : FIELD_BODY, r).n || !traces);
        assert_survives(b, f);
        batch_unref(b);
        free((char *)s.p);
        files++;
    }
    closedir(d);
    assert_true(files > 0);
}

// ---- order of fields ------------------------------------------------------------------------------------------------

struct raw {
    uint32_t field, key, seq;
    struct slice s;
};

static int by_field(const void *a, const void *b)
{
    const struct raw *x = a, *y = b;
    return x->field != y->field ? (x->field > y->field) - (x->field < y->field) : (x->key > y->key) - (x->key < y->key);
}
static int by_seq(const void *a, const void *b)
{
    const struct raw *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}
static int by_key(const void *a, const void *b)
{
    const struct raw *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

// Writes the message with its fields in random order, those of one number keeping theirs; an unknown field thrown in.
static void shuffle(struct pb *r, const struct otlp_message *m, struct buf *out)
{
    struct raw raw[400];
    uint32_t n = 0;
    struct pb walk = *r;
    while (pb_next(&walk)) {
        assert_true(n < 399);
        raw[n].seq = n;
        raw[n].field = walk.field;
        raw[n].key = (uint32_t)rand();
        assert_true(pb_raw_field(&walk, &raw[n++].s));
    }
    // Keys ascend among the fields of one number.
    struct raw sorted[400];
    memcpy(sorted, raw, n * sizeof *raw);
    qsort(sorted, n, sizeof *raw, by_field);
    qsort(raw, n, sizeof *raw, by_seq);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = 0, at = 0;
        for (uint32_t k = 0; k < i; k++)
            rank += raw[k].field == raw[i].field;
        while (sorted[at].field != raw[i].field)
            at++;
        raw[i].key = sorted[at + rank].key;
    }
    raw[n] = (struct raw){.field = 900, .key = (uint32_t)rand(), .s = SLICE("\xa2\x38\x02hi")};
    qsort(raw, ++n, sizeof *raw, by_key);
    for (uint32_t i = 0; i < n; i++) {
        const struct otlp_field *f = otlp_field_by_number(m, raw[i].field);
        bool kept_encoded = m == &otlp_span && (raw[i].field == 11 || raw[i].field == 13);
        if (!f || f->type != OTLP_MESSAGE || f->message == &otlp_any_value || kept_encoded) {
            buf_add(out, raw[i].s);
            continue;
        }
        struct pb one, child;
        pb_init(&one, raw[i].s, NULL);
        assert_true(pb_next(&one) && pb_message(&one, &child));
        size_t mark = pb_w_begin(out, raw[i].field);
        shuffle(&child, f->message, out);
        pb_w_end(out, mark);
    }
}

static void any_order_of_fields(void **state)
{
    srand(7);
    for (int i = 0; i < 200; i++) {
        bool traces = i % 2;
        const struct otlp_message *m = traces ? &otlp_traces_request : &otlp_logs_request;
        enum wire_format f = traces ? WIRE_OTLP_TRACES_PB : WIRE_OTLP_LOGS_PB;
        struct batch *a = decoded(f, transcoded(traces ? traces_json : logs_json, m), NULL);
        struct buf out;
        struct pb r;
        buf_init(&out, 1 << 20);
        pb_init(&r, buf_slice(&pb), NULL);
        shuffle(&r, m, &out);
        struct batch *b = decoded(f, buf_slice(&out), NULL);
        assert_same_rows(a, b);
        batch_unref(a);
        batch_unref(b);
        buf_free(&out);
    }
}

static void repeated_messages_are_merged(void **state)
{
    start();
    size_t group = pb_w_begin(&pb, 1);
    size_t r = pb_w_begin(&pb, 1);
    string_attr(1, "service.name", "a");
    pb_w_end(&pb, r);
    size_t scope = pb_w_begin(&pb, 2);
    size_t s = pb_w_begin(&pb, 1);
    pb_w_bytes(&pb, 1, SLICE("name"));
    pb_w_end(&pb, s);
    size_t record = pb_w_begin(&pb, 2);
    pb_w_end(&pb, record);
    s = pb_w_begin(&pb, 1);
    pb_w_bytes(&pb, 2, SLICE("version"));
    pb_w_end(&pb, s);
    pb_w_end(&pb, scope);
    resource("b");
    pb_w_end(&pb, group);
    struct batch *b = decoded(WIRE_OTLP_LOGS_PB, buf_slice(&pb), NULL);
    assert_int_equal(b->rows, 1);
    assert_int_equal(b->resources[0].n_attrs, 3);
    assert_slice(resource_label(&b->resources[0], SLICE("service_name")), "b");
    assert_slice(cell(b, FIELD_SCOPE_NAME, 0), "name");
    assert_slice(cell(b, FIELD_SCOPE_VERSION, 0), "version");
    batch_unref(b);
}

// ---- what is refused, mended, or fatal ------------------------------------------------------------------------------

static void bad_spans_are_counted(void **state)
{
    static const struct {
        const char *trace, *span;
        bool good;
        const char *reason;
    } cases[] = {
        {"0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true, NULL},
        {"", "b7ad6b7169203331", false, "trace id of 0 bytes"},
        {"00000000000000000000000000000000", "b7ad6b7169203331", false,
         "trace id of 16 bytes; it must be 16 bytes and not all zero"},
        {"0af7651916cd43dd8448eb211c8031", "b7ad6b7169203331", false, "trace id of 15 bytes"},
        {"0af7651916cd43dd8448eb211c80319c", "0000000000000000", false, "span id of 8 bytes"},
        {"0af7651916cd43dd8448eb211c80319c", "b7ad", false, "span id of 2 bytes"},
        {"0af7651916cd43dd8448eb211c80319c", "nothex!!", false, "span id of 1 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[1000];
        snprintf(json, sizeof json,
                 "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"%s\",\"spanId\":\"%s\",\"name\":\"n\","
                 "\"attributes\":["
                 "{\"key\":\"a\",\"value\":{\"intValue\":1}}]},{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":"
                 "\"b7ad6b7169203331\",\"name\":\"good\"}]}]}]}",
                 cases[i].trace, cases[i].span);
        struct wire_report report;
        struct batch *b = decoded(WIRE_OTLP_TRACES_JSON, slice_str(json), &report);
        assert_int_equal(report.accepted, cases[i].good ? 2 : 1);
        assert_int_equal(report.rejected, cases[i].good ? 0 : 1);
        assert_int_equal(report.n_reasons, report.rejected);
        if (!cases[i].good && !strstr(report.reason[0], cases[i].reason))
            fail_msg("%s", report.reason[0]);
        assert_slice(cell(b, FIELD_NAME, b->rows - 1), "good");
        assert_slice(resource_label(&b->resources[0], SLICE("service_name")), "unknown_service");
        batch_unref(b);
    }
}

static void odd_values(void **state)
{
    // A log record's ids of a wrong length are left out; a span that ends before it starts lasts 0.
    start();
    size_t group = pb_w_begin(&pb, 1), scope = pb_w_begin(&pb, 2), record = pb_w_begin(&pb, 2);
    pb_w_bytes(&pb, 9, SLICE("short"));
    pb_w_bytes(&pb, 10, SLICE("\0\0\0\0\0\0\0\0"));
    pb_w_bytes(&pb, 3, SLICE("bad \xff utf-8"));
    string_attr(6, "k\xc3", "v\xe2\x82");
    size_t list = pb_w_begin(&pb, 6);
    pb_w_bytes(&pb, 1, SLICE("list"));
    pb_w_bytes(&pb, 2, SLICE("\x2a\x05\x0a\x03\x0a\x01\xff")); // ["\xff"]
    pb_w_end(&pb, list);
    pb_w_fixed64(&pb, 1, UINT64_MAX);
    pb_w_end(&pb, record);
    pb_w_end(&pb, scope);
    pb_w_end(&pb, group);
    struct batch *b = decoded(WIRE_OTLP_LOGS_PB, buf_slice(&pb), NULL);
    assert_null(b->field[FIELD_TRACE_ID]);
    assert_null(b->field[FIELD_SPAN_ID]);
    assert_true(b->time[0] == INT64_MAX);
    assert_slice(cell(b, FIELD_SEVERITY_TEXT, 0), "bad \xef\xbf\xbd utf-8");
    struct value v;
    assert_true(batch_attr(b, COL_ATTR, SLICE("k\xef\xbf\xbd"), 0, &v));
    assert_slice(v.s, "v\xef\xbf\xbd");
    assert_true(batch_attr(b, COL_ATTR, SLICE("list"), 0, &v));
    assert_int_equal(v.kind, COL_ANY);
    assert_int_equal(v.s.n, 9);
    assert_memory_equal(v.s.p, "\x2a\x07\x0a\x05\x0a\x03\xef\xbf\xbd", 9);
    batch_unref(b);

    start();
    group = pb_w_begin(&pb, 1), scope = pb_w_begin(&pb, 2), record = pb_w_begin(&pb, 2);
    pb_w_bytes(&pb, 1, slice_of(trace_id, 16));
    pb_w_bytes(&pb, 2, slice_of(span_id, 8));
    pb_w_fixed64(&pb, 7, 500);
    pb_w_fixed64(&pb, 8, 400);
    pb_w_bytes(&pb, 11, SLICE("\x12\x02\xff\x41")); // an event whose name is not UTF-8
    pb_w_end(&pb, record);
    pb_w_end(&pb, scope);
    pb_w_end(&pb, group);
    b = decoded(WIRE_OTLP_TRACES_PB, buf_slice(&pb), NULL);
    assert_int_equal(column_i64(b->field[FIELD_DURATION], 0, -1), 0);
    struct slice events = cell(b, FIELD_EVENTS, 0);
    struct span_event e;
    assert_true(span_event_next(&events, &e));
    assert_slice(e.name, "\xef\xbf\xbd"
                         "A");
    batch_unref(b);
}

static void damaged_requests_name_the_byte(void **state)
{
    static const struct {
        enum wire_format f;
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
#define C(f, bytes, message) {WIRE_##f, bytes, sizeof(bytes) - 1, message}
        C(OTLP_LOGS_PB, "\x0a\x05\x12", "byte"),
        C(OTLP_LOGS_PB, "\x0a\x06\x12\x04\x12\x02\x09\x01", "cut off at byte 7"),
        C(OTLP_TRACES_PB, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "byte"),
        C(OTLP_TRACES_PB, "\x0b", "byte 0"),
        C(OTLP_TRACES_PB, "\x08\x01", "byte 0"),
        C(OTLP_LOGS_JSON, "", "byte 0"),
        C(OTLP_LOGS_JSON, "{\"resourceLogs\":[", "byte 17"),
        C(OTLP_LOGS_JSON, "{\"resourceLogs\":{}}", "byte 16"),
        C(OTLP_LOGS_JSON, "[]", "byte 0"),
        C(OTLP_LOGS_JSON, "{} x", "byte 3"),
        C(OTLP_TRACES_JSON, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":\"SERVER\"}]}]}]}", "byte"),
#undef C
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch *b;
        struct error e = {0};
        assert_int_not_equal(wire_decode(cases[i].f, slice_of(cases[i].bytes, cases[i].n), true, &test_options, &b, NULL, &e),
                             ERR_OK);
        assert_null(b);
        if (!strstr(e.msg, cases[i].message))
            fail_msg("case %zu: %s", i, e.msg);
    }
    struct batch *b = decoded(WIRE_OTLP_LOGS_PB, SLICE(""), NULL);
    assert_int_equal(b->rows, 0);
    batch_unref(b);
    assert_int_equal(wire_decode((enum wire_format)99, SLICE(""), true, &test_options, &b, NULL, NULL), ERR_UNSUPPORTED);
    assert_null(wire_text((enum wire_format)99));
}

// Every prefix of a request, in memory of exactly its size so that a sanitizer sees a read behind it.
static void prefixes_never_crash(void **state)
{
    static const struct {
        const char *json;
        const struct otlp_message *m;
        enum wire_format f;
        bool is_json;
    } cases[] = {{logs_json, &otlp_logs_request, WIRE_OTLP_LOGS_PB, false},
                 {traces_json, &otlp_traces_request, WIRE_OTLP_TRACES_PB, false},
                 {logs_json, NULL, WIRE_OTLP_LOGS_JSON, true},
                 {traces_json, NULL, WIRE_OTLP_TRACES_JSON, true}};
    for (size_t i = 0; i < 4; i++) {
        struct slice whole = cases[i].is_json ? slice_str(cases[i].json) : transcoded(cases[i].json, cases[i].m);
        for (size_t n = 0; n < whole.n; n++) {
            char *p = malloc(n ? n : 1);
            memcpy(p, whole.p, n);
            struct batch *b;
            struct error e = {0};
            enum errc rc = wire_decode(cases[i].f, slice_of(p, n), true, &test_options, &b, NULL, &e);
            // One resource group: only the empty prefix of protobuf is a whole request.
            assert_int_equal(rc == ERR_OK, n == 0 && !cases[i].is_json);
            assert_true(rc == ERR_OK || strstr(e.msg, "byte"));
            batch_unref(b);
            free(p);
        }
    }
}

static void flipped_bits_never_crash(void **state)
{
    srand(3);
    for (int i = 0; i < 4; i++) {
        bool traces = i & 1, json = i & 2;
        struct slice whole =
            json ? slice_str(traces ? traces_json : logs_json)
                 : transcoded(traces ? traces_json : logs_json, traces ? &otlp_traces_request : &otlp_logs_request);
        enum wire_format f = traces ? WIRE_OTLP_TRACES_PB : WIRE_OTLP_LOGS_PB;
        for (int k = 0; k < 5000; k++) {
            char *p = malloc(whole.n);
            memcpy(p, whole.p, whole.n);
            for (int flips = rand() % 4; flips >= 0; flips--)
                p[(size_t)rand() % whole.n] ^= (char)(1 << rand() % 8);
            struct batch *b;
            if (wire_decode(json ? as_json(f) : f, slice_of(p, whole.n), true, &test_options, &b, NULL, NULL) == ERR_OK) {
                assert_sound(b);
                struct buf out;
                buf_init(&out, 1 << 24);
                assert_int_equal(otlp_encode(b, NULL, 0, &out), ERR_OK);
                struct batch *again = decoded(f, buf_slice(&out), NULL); // what was accepted can be sent on
                assert_int_equal(again->rows, b->rows);
                batch_unref(again);
                buf_free(&out);
            }
            batch_unref(b);
            free(p);
        }
    }
}

static void hostile_requests(void **state)
{
    // AnyValues nested beyond the limit, in both encodings.
    start();
    size_t marks[400];
    int n = 0;
    marks[n++] = pb_w_begin(&pb, 1);
    marks[n++] = pb_w_begin(&pb, 2);
    marks[n++] = pb_w_begin(&pb, 2);
    marks[n++] = pb_w_begin(&pb, 5);
    for (int i = 0; i < 150; i++) {
        marks[n++] = pb_w_begin(&pb, 5);
        marks[n++] = pb_w_begin(&pb, 1);
    }
    while (n)
        pb_w_end(&pb, marks[--n]);
    struct batch *b;
    struct error e = {0};
    assert_int_not_equal(wire_decode(WIRE_OTLP_LOGS_PB, buf_slice(&pb), true, &test_options, &b, NULL, &e), ERR_OK);
    assert_non_null(strstr(e.msg, "byte"));

    struct buf json;
    buf_init(&json, 1 << 20);
    buf_str(&json, "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":");
    for (int i = 0; i < 1000; i++)
        buf_str(&json, "{\"arrayValue\":{\"values\":[");
    assert_int_not_equal(wire_decode(WIRE_OTLP_LOGS_JSON, buf_slice(&json), true, &test_options, &b, NULL, NULL), ERR_OK);
    buf_free(&json);

    // 10,000 attributes of one record, and as many records with an attribute of their own each.
    for (int many = 0; many < 2; many++) {
        start();
        size_t group = pb_w_begin(&pb, 1), scope = pb_w_begin(&pb, 2), record = pb_w_begin(&pb, 2);
        for (int i = 0; i < 10000; i++) {
            char key[20];
            snprintf(key, sizeof key, "key-%d", i);
            string_attr(6, key, "v");
            if (many) {
                pb_w_end(&pb, record);
                record = pb_w_begin(&pb, 2);
            }
        }
        pb_w_end(&pb, record);
        pb_w_end(&pb, scope);
        pb_w_end(&pb, group);
        b = decoded(WIRE_OTLP_LOGS_PB, buf_slice(&pb), NULL);
        struct value v;
        assert_int_equal(b->rows, many ? 10001 : 1);
        assert_true(batch_attr(b, COL_ATTR, SLICE("key-9999"), many ? 9999 : 0, &v));
        struct batch *merged = batch_merge(&b, 1, (size_t)1 << 28);
        assert_non_null(merged);
        assert_true(batch_attr(merged, COL_ATTR, SLICE("key-9999"), many ? 9999 : 0, &v));
        batch_unref(merged);
        batch_unref(b);
    }
}

static void a_kept_request_is_not_copied(void **state)
{
    struct slice s = transcoded(logs_json, &otlp_logs_request);
    struct batch *b;
    assert_int_equal(wire_decode(WIRE_OTLP_LOGS_PB, s, true, &test_options, &b, NULL, NULL), ERR_OK);
    struct slice body = cell(b, FIELD_BODY, 0);
    assert_true(body.p >= s.p && body.p < s.p + s.n);
    batch_unref(b);
    assert_int_equal(wire_decode(WIRE_OTLP_LOGS_PB, s, false, &test_options, &b, NULL, NULL), ERR_OK);
    memset((char *)s.p, 'x', s.n);
    assert_slice(cell(b, FIELD_BODY, 0), "it broke");
    batch_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_into_columns),
        cmocka_unit_test(spans_into_columns),
        cmocka_unit_test(both_encodings_are_one),
        cmocka_unit_test(json_is_the_mapping_of_otlp),
        cmocka_unit_test(some_rows_are_encoded),
        cmocka_unit_test(recorded_requests_lose_nothing),
        cmocka_unit_test(any_order_of_fields),
        cmocka_unit_test(repeated_messages_are_merged),
        cmocka_unit_test(bad_spans_are_counted),
        cmocka_unit_test(odd_values),
        cmocka_unit_test(damaged_requests_name_the_byte),
        cmocka_unit_test(prefixes_never_crash),
        cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(hostile_requests),
        cmocka_unit_test(a_kept_request_is_not_copied),
    };
    int failed = cmocka_run_group_tests_name("otlp", tests, NULL, NULL);
    buf_free(&pb);
    return failed;
}
