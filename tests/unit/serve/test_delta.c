// Delta temporality made cumulative.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "event/sample.h"
#include "serve/delta.h"
#include <stdio.h>

#define T0 1700000000000000000ll
#define S  1000000000ll

// Exports one counter and one exponential histogram; gives the counter's value and the histogram's count. False: refused.
static bool send(struct delta *d, const char *tenant, int64_t time, double add, double *counter, double *count)
{
    char json[2000];
    snprintf(json, sizeof json,
             "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"c\",\"sum\":{\"aggregationTemporality\":1,"
             "\"isMonotonic\":true,\"dataPoints\":[{\"timeUnixNano\":\"%lld\",\"startTimeUnixNano\":\"%lld\",\"asDouble\":%g}]}},"
             "{\"name\":\"e\",\"exponentialHistogram\":{\"aggregationTemporality\":1,\"dataPoints\":[{\"timeUnixNano\":\"%lld\","
             "\"startTimeUnixNano\":\"%lld\",\"count\":\"%g\",\"scale\":2,\"positive\":{\"offset\":1,\"bucketCounts\":[\"%g\"]}}]"
             "}}]}]}]}",
             (long long)time, (long long)(time - S), add, (long long)time, (long long)(time - S), add, add);
    struct wire_options opt = {.received_ns = time};
    struct wire_report report;
    struct batch *b;
    struct error err = {0};
    if (wire_decode(WIRE_OTLP_METRICS_JSON, slice_str(json), false, &opt, &b, &report, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(report.accepted, 2);
    delta_apply(d, slice_str(tenant), b, &report);
    bool refused = report.rejected > 0;
    assert_int_equal(report.accepted + report.rejected, 2);
    struct buf out;
    struct batch *again;
    buf_init(&out, MIB(1));
    assert_int_equal(write2_encode(b, &out), ERR_OK);
    assert_int_equal(wire_decode(WIRE_WRITE2, buf_slice(&out), false, &opt, &again, &report, &err), ERR_OK);
    assert_int_equal(report.accepted, refused ? 0 : 2);
    for (uint32_t row = 0; row < again->rows; row++) {
        struct value v;
        struct histogram_sample h;
        struct arena a;
        struct slice bytes = column_str(again->field[FIELD_HISTOGRAM], row);
        arena_init(&a, MIB(1));
        if (column_value(again->field[FIELD_VALUE], row, &v))
            *counter = v.f64;
        if (bytes.n) {
            assert_int_equal(histogram_decode(bytes, &a, &h), ERR_OK);
            assert_true(h.positive.n == 1 && h.positive.counts[0] == h.count);
            *count = h.count;
        }
        if (again->resources[again->resource[row]].n_labels)
            assert_int_equal(column_i64(again->field[FIELD_START], row, 0), T0);
        arena_free(&a);
    }
    buf_free(&out);
    batch_unref(again);
    batch_unref(b);
    return !refused;
}

static void deltas_add_up(void **state)
{
    struct delta *d = delta_new();
    double counter = 0, count = 0;
    const struct {
        const char *tenant;
        int64_t at;
        double add, want;
        bool stored;
    } rows[] = {
        {"a", 1, 5, 5, true},     {"a", 2, 7, 12, true}, {"a", 2, 7, 12, true}, // the same request again
        {"a", 1, 5, 12, false},                                                 // an older one
        {"b", 1, 100, 100, true},                                               // another tenant's
        {"a", 3, 0, 12, true},    {"a", 4, 1, 13, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].stored) {
            assert_true(send(d, rows[i].tenant, T0 + rows[i].at * S, rows[i].add, &counter, &count));
            assert_true(counter == rows[i].want && count == rows[i].want);
        } else {
            assert_false(send(d, rows[i].tenant, T0 + rows[i].at * S, rows[i].add, &counter, &count));
        }
    }
    delta_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deltas_add_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
