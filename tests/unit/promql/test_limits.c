// What ends a query before it is done: samples, steps of subqueries, memory, time, the client.
#include "base/clock.h"
#include "base/limits.h"
#include "check.h"
#include "promql/engine.h"

static enum errc ask(const char *text, struct query_limits limits, uint64_t max_samples, bool cancelled, struct error *err)
{
    struct batch *b = batch_new(SIGNAL_SAMPLE, MIB(16));
    for (uint32_t i = 0; i < 20; i++) {
        char name[2] = {(char)('a' + i), 0};
        struct label l[] = {{SLICE("__name__"), SLICE("m")}, {SLICE("n"), slice_str(name)}};
        l[1].value = batch_dup(b, l[1].value);
        uint32_t r = batch_resource(b, l, 2, NULL, 0);
        for (int64_t t = 0; t < 100; t++) {
            batch_row(b, t * 15000000000, r);
            batch_field_f64(b, FIELD_VALUE, (double)t);
        }
    }
    assert_true(batch_seal(b));
    const struct batch *const all[] = {b};
    struct batch_list list = {all, 1};
    struct prom_request r;
    struct prom_result out;
    struct promql *p = NULL;
    struct query q;
    prom_request_default(&r);
    r.end = 1500000, r.step = 15000, r.max_samples = max_samples;
    assert_int_equal(promql_parse(&p, slice_str(text), NULL), ERR_OK);
    assert_int_equal(query_init(&q, query_source_batches(&list), SLICE("t"), &limits, NULL), ERR_OK);
    q.cancelled = cancelled;
    enum errc rc = promql_eval(&q, p, &r, &out, err);
    query_free(&q);
    promql_free(p);
    batch_unref(b);
    return rc;
}

static struct query_limits standard(void)
{
    struct query_limits l;
    query_limits_default(&l);
    return l;
}

static void samples(void **state)
{
    struct error err = {0};
    assert_int_equal(ask("sum(m)", standard(), 5000, false, &err), ERR_OK);
    assert_int_equal(ask("sum(m)", standard(), 1999, false, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "too many samples"));
    err = (struct error){0};
    assert_int_equal(ask("max_over_time(m[10m:1s])", standard(), 5000, false, &err), ERR_LIMIT);
    assert_int_equal(ask("m + on () group_left vector(1)", standard(), 3000, false, NULL), ERR_LIMIT);
}

static void subquery_steps(void **state)
{
    struct error err = {0};
    assert_int_equal(ask("max_over_time(m[2000d:1s])", standard(), 0, false, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "write a larger step"));
}

// With every budget it either ends well or says that memory is over.
static void memory(void **state)
{
    static const char *const texts[] = {"sum by (n) (rate(m[5m])) / on (n) group_left () avg by (n) (m) or m",
                                        "topk(3, label_replace(m, \"x\", \"$1\", \"n\", \"(.*)\"))",
                                        "quantile_over_time(0.5, (m > 3)[5m:15s]) and count_values(\"v\", m)",
                                        "sort(absent(m)) or histogram_quantile(0.5, m)"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        bool ended = false;
        for (size_t max = 4096; !ended && max < MIB(64); max += max / 4) {
            struct query_limits l = standard();
            struct error err = {0};
            l.max_memory = max;
            enum errc rc = ask(texts[i], l, 0, false, &err);
            ended = rc == ERR_OK;
            if (rc != ERR_OK && rc != ERR_LIMIT)
                fail_msg("%s with %zu bytes: %s", texts[i], max, err.msg);
        }
        assert_true(ended);
    }
}

static void ends_early(void **state)
{
    struct query_limits l = standard();
    l.timeout_ns = 1;
    assert_int_equal(ask("sum(m)", l, 0, false, NULL), ERR_TIMEOUT);
    assert_int_equal(ask("sum(m)", standard(), 0, true, NULL), ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(samples), cmocka_unit_test(subquery_steps), cmocka_unit_test(memory),
                                       cmocka_unit_test(ends_early)};
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
