// Metrics in OTLP's JSON and back: every kind of point, numbers packed and not.
#include "base/limits.h"
#include "check.h"
#include "event/otlp_schema.h"

static const char *const whole[] = {
    "{\"resourceMetrics\":[]}",
    "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"x\"}}]},"
    "\"scopeMetrics\":[{\"scope\":{\"name\":\"m\",\"version\":\"1\"},\"metrics\":[{\"name\":\"g\",\"description\":\"d\",\"unit\":"
    "\"s\","
    "\"gauge\":{\"dataPoints\":[{\"timeUnixNano\":\"18446744073709551615\",\"asDouble\":-0.5,\"attributes\":[{\"key\":\"k\","
    "\"value\":"
    "{\"intValue\":\"-7\"}}],\"flags\":1}]}}],\"schemaUrl\":\"u\"}],\"schemaUrl\":\"v\"}]}",
    "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"c\",\"sum\":{\"dataPoints\":[{\"startTimeUnixNano\":"
    "\"1\","
    "\"timeUnixNano\":\"2\",\"exemplars\":[{\"timeUnixNano\":\"3\",\"spanId\":\"0102030405060708\",\"traceId\":"
    "\"000102030405060708090a0b0c0d0e0f\",\"asInt\":\"-9223372036854775808\"}],\"asInt\":\"-5\"}],\"aggregationTemporality\":2,"
    "\"isMonotonic\":true}}]}]}]}",
    "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"h\",\"histogram\":{\"dataPoints\":[{\"count\":\"6\","
    "\"sum\":1.25,"
    "\"bucketCounts\":[\"1\",\"2\",\"3\"],\"explicitBounds\":[0.5,1e+300],\"min\":-1,\"max\":2}],\"aggregationTemporality\":1}}]}"
    "]}]}",
    "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"e\",\"exponentialHistogram\":{\"dataPoints\":[{\"count\":"
    "\"300\","
    "\"scale\":-3,\"zeroCount\":\"1\",\"positive\":{\"offset\":-2147483648,\"bucketCounts\":[\"0\",\"300\","
    "\"18446744073709551615\"]},"
    "\"negative\":{\"offset\":2147483647,\"bucketCounts\":[\"7\"]},\"zeroThreshold\":0.001}]}}]}]}]}",
    "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"s\",\"summary\":{\"dataPoints\":[{\"count\":\"2\","
    "\"sum\":3,"
    "\"quantileValues\":[{\"quantile\":0.5,\"value\":\"NaN\"},{\"quantile\":1,\"value\":\"Infinity\"}]}]},\"metadata\":[{\"key\":"
    "\"a\","
    "\"value\":{\"boolValue\":true}}]}]}]}]}",
};

static bool to_json(struct slice pb, struct buf *out)
{
    struct pb r;
    struct jw w = jw_to(out);
    pb_init(&r, pb, NULL);
    return otlp_to_json(&r, &otlp_metrics_request, &w);
}

static bool from_json(const char *text, struct buf *out)
{
    struct arena a;
    struct json j;
    arena_init(&a, MIB(1));
    json_init(&j, slice_str(text), &a, NULL);
    bool ok = otlp_from_json(&j, &otlp_metrics_request, out) && json_finish(&j);
    arena_free(&a);
    return ok;
}

static void there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHECK_ROWS(whole); i++) {
        struct buf pb, json;
        buf_init(&pb, MIB(1));
        buf_init(&json, MIB(1));
        check_row("%zu", i);
        CHECK(from_json(whole[i], &pb));
        CHECK(to_json(buf_slice(&pb), &json));
        CHECK_STR(buf_slice(&json), i ? whole[i] : "{}"); // an empty list is none
        bool dirty = false;
        struct pb r;
        pb_init(&r, buf_slice(&pb), NULL);
        CHECK(otlp_check(&r, &otlp_metrics_request, &dirty) && !dirty);
        buf_free(&pb);
        buf_free(&json);
    }
    check_done();
}

// {1 {2 {2 {9 {1 {6 …}}}}}} with bucket counts in every way a writer may choose.
static void packed(void **state)
{
    (void)state;
    static const char two[16] = {1, 0, 0, 0, 0, 0, 0, 0, 2};
    static const char *const want =
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"histogram\":{\"dataPoints\":[{\"bucketCounts\":"
        "[\"1\",\"2\"]}]}}]}]}]}";
    for (int way = 0; way < 4; way++) {
        struct buf b, json;
        buf_init(&b, MIB(1));
        buf_init(&json, MIB(1));
        size_t m[5];
        m[0] = pb_w_begin(&b, 1);
        m[1] = pb_w_begin(&b, 2);
        m[2] = pb_w_begin(&b, 2);
        m[3] = pb_w_begin(&b, 9);
        m[4] = pb_w_begin(&b, 1);
        if (way == 0) {
            pb_w_bytes(&b, 6, slice_of(two, 16));
        } else if (way == 1) {
            pb_w_fixed64(&b, 6, 1);
            pb_w_fixed64(&b, 6, 2);
        } else if (way == 2) {
            pb_w_bytes(&b, 6, slice_of(two, 8));
            pb_w_fixed64(&b, 6, 2);
        } else {
            pb_w_bytes(&b, 6, slice_of(two, 13)); // not whole: refused, whatever was before
        }
        for (int i = 5; i-- > 0;)
            pb_w_end(&b, m[i]);
        check_row("way %d", way);
        CHECK_INT(to_json(buf_slice(&b), &json), way < 3);
        if (way < 3)
            CHECK_STR(buf_slice(&json), want);
        buf_free(&b);
        buf_free(&json);
    }
    check_done();
}

static void refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"histogram\":{\"dataPoints\":[{\"bucketCounts\":[\"x\"]}]}}]}]}"
        "]}",
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"histogram\":{\"dataPoints\":[{\"bucketCounts\":7}]}}]}]}]}",
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"exponentialHistogram\":{\"dataPoints\":[{\"scale\":2147483648}"
        "]}}]}]}]}",
        "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"sum\":{\"dataPoints\":[{\"asInt\":\"9223372036854775808\"}]}}]"
        "}]}]}",
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, MIB(1));
        check_row("%s", rows[i]);
        CHECK(!from_json(rows[i], &b));
        buf_free(&b);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(packed), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
