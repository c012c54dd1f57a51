// A query stays within its memory and asks often enough whether it is still wanted: counted in questions, not in time.
#include "rig.h"

static int asked;
static bool count_asked(void *arg)
{
    asked++;
    return false;
}

// Runs over the rig's rows; the code. asked: how often the query looked up from its work.
static enum errc run(struct rig *r, const struct rig_ask *a, size_t max_memory)
{
    struct logql_plan *p = NULL;
    struct query q;
    struct query_limits limits;
    struct error err = {0};
    struct buf out;
    struct batch_list list = {(const struct batch *const *)r->batches, r->n};
    rig_cut(r);
    buf_init(&out, MIB(64));
    query_limits_default(&limits);
    if (max_memory)
        limits.max_memory = max_memory;
    query_init(&q, query_source_batches(&list), SLICE("t"), &limits, NULL);
    q.gone = count_asked;
    asked = 0;
    assert_int_equal(logql_compile(&p, slice_str(a->query), 0, &err), ERR_OK);
    if (p->metric)
        rig_metric(p, &q, a, &out, &err);
    else
        rig_logs(p, &q, a, &out, &err);
    logql_plan_free(p);
    query_free(&q);
    buf_free(&out);
    return err.code;
}

// Long lines and several stages: few rows are much work.
static void test_lines(void **state)
{
    enum { ROWS = 100, LONG = 200000 };
    struct rig rig = {0};
    static char line[LONG + 1];
    memset(line, 'y', LONG);
    for (int i = 0; i < ROWS; i++) {
        rig_row(&rig, i + 1, "app=a", "", line);
        if (i % 10 == 9)
            rig_cut(&rig);
    }
    struct rig_ask a = {.query = "{app=\"a\"} != `x` != `xx` !~ `x|z` | line_format `short`", .end = 1000};
    assert_int_equal(run(&rig, &a, 0), ERR_OK);
    assert_in_range(asked, ROWS * LONG / MIB(1), 10 * ROWS);
    rig_free(&rig);
}

// Windows that overlap: samples × steps.
static void test_windows(void **state)
{
    enum { ROWS = 20000, STEPS = 1000 };
    struct rig rig = {0};
    for (int i = 0; i < ROWS; i++)
        rig_row(&rig, 1 + i * 0.0001, "app=a", "", "v=1");
    struct rig_ask a = {
        .query = "sum_over_time({app=\"a\"} | logfmt | unwrap v [1h])", .start = 10, .end = 10 + STEPS - 1, .step = 1};
    assert_int_equal(run(&rig, &a, 0), ERR_OK);
    assert_in_range(asked, 15, 1000);
    rig_free(&rig);
}

// Matching: series × series.
static void test_matching(void **state)
{
    enum { SERIES = 300 };
    static const char *const queries[] = {
        "count_over_time({app=\"a\"}[1h]) and on() count_over_time({app=\"a\"}[1h])",
        "count_over_time({app=\"a\"}[1h]) or on() count_over_time({app=\"a\"}[1h])",
        "count_over_time({app=\"a\"}[1h]) + count_over_time({app=\"a\"}[1h])",
        "count_over_time({app=\"a\"}[1h]) * on() group_left sum(count_over_time({app=\"a\"}[1h]))",
    };
    struct rig rig = {0};
    for (int i = 0; i < SERIES; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "app=a,pod=%d", i);
        rig_row(&rig, 1, labels, "", "x");
    }
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        struct rig_ask a = {.query = queries[i], .end = 10};
        assert_int_equal(run(&rig, &a, 0), ERR_OK);
        assert_in_range(asked, SERIES, 10 * SERIES);
    }
    rig_free(&rig);
}

// Backward, the older batch is read later: its rows take the place of smaller ones, and the answer may grow beyond the budget.
static void test_answer(void **state)
{
    enum { ROWS = 10, LONG = 200000 };
    struct rig rig = {0};
    static char line[LONG + 1];
    memset(line, 'y', LONG);
    for (int i = 0; i < ROWS; i++)
        rig_row(&rig, 100 + i, "app=a", "", line);
    rig_cut(&rig);
    for (int i = 0; i < ROWS; i++)
        rig_row(&rig, 50 + i, "app=a", "", "small");
    struct rig_ask a = {.query = "{app=\"a\"}", .end = 1000, .backward = true, .limit = ROWS};
    assert_int_equal(run(&rig, &a, MIB(1)), ERR_LIMIT);
    assert_int_equal(run(&rig, &a, MIB(4)), ERR_OK);
    rig_free(&rig);
}

// Many strings with escapes: memory in proportion to them.
static void test_text(void **state)
{
    struct buf b;
    struct logql *q;
    struct error err = {0};
    buf_init(&b, MAX_QUERY_TEXT);
    buf_str(&b, "{app=\"a\"}");
    while (b.n < 100000)
        buf_str(&b, " |= \"a\\\"b\"");
    if (logql_parse(&q, buf_slice(&b), &err) != ERR_OK)
        fail_msg("%s", err.msg);
    logql_free(q);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_windows),
                                       cmocka_unit_test(test_matching), cmocka_unit_test(test_answer),
                                       cmocka_unit_test(test_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
