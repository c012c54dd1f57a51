// Times, lines, shapes and statistics: tables of cases. Whole trees are tests/blackbox/test_results.py.
#include "results/logline.h"
#include "results/results_int.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_times(void **state)
{
    const int64_t base = 1795341600; // 2026-11-22T10:00:00Z
    static const struct {
        const char *text;
        int64_t s, ns;
        bool zoned;
        size_t n; // bytes taken; 0: no time
    } cases[] = {
        {"2026-11-22T10:00:00Z rest", 0, 0, true, 20},
        {"2026-11-22T10:00:00.123456Z", 0, 123456000, true, 27},
        {"2026-11-22T12:00:00.5+02:00", 0, 500000000, true, 27},
        {"2026-11-22T04:30:00-0530", 0, 0, true, 24},
        {"2026-11-22 10:00:00,250 INFO", 0, 250000000, false, 23},
        {"2026-11-22T10:00:00", 0, 0, false, 19},
        {"2026-11-22 12:00:00 +0200", 0, 0, true, 25},
        {"2026-11-22T10:00:00.1234567891Z", 0, 123456789, true, 31},
        {"2024-02-29T10:00:00Z", -86140800, 0, true, 20},
        {"1970-01-01T00:00:00Z", -1795341600, 0, true, 20},
        {"2026-11-22T10:00:00.", 0, 0, false, 19},
        {"2026-13-22T10:00:00Z", 0, 0, false, 0},
        {"2026-11-22T24:00:00Z", 0, 0, false, 0},
        {"2026-11-22X10:00:00Z", 0, 0, false, 0},
        {"2026-11-22T10:00", 0, 0, false, 0},
        {"", 0, 0, false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stamp t = {0};
        size_t n = stamp_read(slice_str(cases[i].text), &t);
        if (n != cases[i].n || (n && (t.ns != (base + cases[i].s) * 1000000000 + cases[i].ns || t.zoned != cases[i].zoned)))
            fail_msg("%s: %zu bytes, %lld, zone %d", cases[i].text, n, (long long)t.ns, t.zoned);
    }
}

static void test_values(void **state)
{
    static const struct {
        const char *text;
        int64_t ns; // 0: none
    } cases[] = {
        {"1795341600", 1795341600000000000},
        {"1795341600.5", 1795341600500000000},
        {"1795341600123", 1795341600123000000},
        {"1795341600123456", 1795341600123456000},
        {"1795341600123456789", 1795341600123456789},
        {"12", 0},
        {"soon", 0},
        {"2026-11-22T10:00:00Z", 1795341600000000000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stamp t = {0};
        bool found = stamp_value(slice_str(cases[i].text), &t);
        if (found != (cases[i].ns != 0) || (found && t.ns / 1000 != cases[i].ns / 1000))
            fail_msg("%s: %d, %lld", cases[i].text, found, (long long)t.ns);
    }
}

static void test_lines(void **state)
{
    static const struct {
        const char *line;
        enum logline_level level;
        bool timed;
        const char *who, *message;
    } cases[] = {
        {"2026-11-22T10:00:00.000001Z  INFO dynamo::x: ready", LOGLINE_INFO, true, "", "dynamo::x: ready"},
        {"\x1b[2m2026-11-22T10:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m a: b", LOGLINE_ERROR, true, "", "a: b"},
        {"[DECODE] 2026-11-22T10:00:00Z WARN a: b", LOGLINE_WARN, true, "DECODE", "a: b"},
        {"[2026-11-22 10:00:00,000] [ERROR] [x]: gone", LOGLINE_ERROR, true, "", "[x]: gone"},
        {"{\"time\":\"2026-11-22T10:00:00Z\",\"level\":\"WARN\",\"message\":\"a \\\"b\\\"\"}", LOGLINE_WARN, true, "",
         "a \\\"b\\\""},
        {"{\"ts\":1795341600.5,\"severity\":\"error\",\"msg\":\"x\"}", LOGLINE_ERROR, true, "", "x"},
        {"{\"level\" : \"fatal\", \"msg\" : \"x\"}", LOGLINE_ERROR, false, "", "x"},
        {"CRITICAL: out of slots", LOGLINE_ERROR, false, "", "out of slots"},
        {"an INFORMATION about ERRORS and MY_ERROR_CODE", LOGLINE_NONE, false, "",
         "an INFORMATION about ERRORS and MY_ERROR_CODE"},
        {"thread 'main' panicked at src/main.rs:3", LOGLINE_ERROR, false, "", "thread 'main' panicked at src/main.rs:3"},
        {"", LOGLINE_NONE, false, "", ""},
    };
    struct buf plain;
    (void)state;
    buf_init(&plain, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct logline l;
        logline_read(slice_str(cases[i].line), &plain, &l);
        if (l.level != cases[i].level || l.timed != cases[i].timed || !slice_eq(l.who, slice_str(cases[i].who)) ||
            !slice_eq(l.message, slice_str(cases[i].message)))
            fail_msg("%s: level %d, timed %d, who %.*s, message %.*s", cases[i].line, (int)l.level, l.timed, (int)l.who.n,
                     l.who.p, (int)l.message.n, l.message.p);
    }
    buf_free(&plain);
}

static void test_shapes(void **state)
{
    static const char *const cases[][2] = {
        {"request 17 lost after 3.5ms", "request <n> lost after <n>"},
        {"trace 0af7651916cd43dd8448eb211c80319c ended", "trace <id> ended"},
        {"id 3f2b1c9a-7d7e-4c55-8f0a-0123456789ab", "id <id>"},
        {"worker-17 at 10.0.0.1:8080", "worker-<n> at <n>:<n>"},
        {"no digits here", "no digits here"},
        {"0x7fffdeadbeef", "<n>"},
        {"", ""},
    };
    struct buf out;
    (void)state;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        logline_shape(slice_str(cases[i][0]), &out);
        if (!slice_eq(buf_slice(&out), slice_str(cases[i][1])))
            fail_msg("%s: %.*s", cases[i][0], (int)out.n, out.p);
    }
    buf_free(&out);
}

static void test_statistics(void **state)
{
    // the p value by integrating Student's density numerically
    double a[] = {27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4};
    double b[] = {27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 26.4};
    double v[] = {4, 1, 3, 2};
    (void)state;
    assert_true(fabs(stat_welch(a, 15, b, 15) - 0.006517711611) < 1e-9);
    assert_true(stat_welch(a, 15, a, 15) > 0.999);
    assert_true(isnan(stat_welch(a, 1, b, 15)));
    assert_true(fabs(stat_proportions(450, 500, 500, 500) - 4.0236721907e-13) < 1e-18);
    assert_true(stat_proportions(5, 10, 5, 10) == 1);
    assert_true(stat_percentile(v, 4, 50) == 2.5 && stat_percentile(v, 4, 100) == 4 && isnan(stat_percentile(v, 0, 50)));
    assert_true(fabs(stat_deviation(v, 4) - 1.2909944487) < 1e-9);
}

static void test_names_of_failures(void **state)
{
    static const char *const cases[][2] = {
        {"test_fault_scenario[vllm-agg-tp-1-dp-1-decode_worker_pod]", "decode_worker_pod"},
        {"test_fault_scenario[agg-none]", "none"},
        {"test_fault_scenario[agg-vllm_decode_engine_core]", "vllm_decode_engine_core"},
        {"test_fault_scenario[one]", "one"},
        {"test_plain", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(slice_eq(result_failure(slice_str(cases[i][0])), slice_str(cases[i][1])));
    assert_true(result_failure_order(SLICE("none")) < result_failure_order(SLICE("frontend")));
    assert_true(result_failure_order(SLICE("prefill_worker_pod")) < result_failure_order(SLICE("vllm_decode_engine_core")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),  cmocka_unit_test(test_values),     cmocka_unit_test(test_lines),
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_statistics), cmocka_unit_test(test_names_of_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
