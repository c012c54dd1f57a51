// Spans put together: order, orphans, cycles, repeats, self time.
#include "story.h"

struct expected {
    uint64_t id;
    int parent, depth;
    bool orphan;
    double self;
};

static void check_tree(struct story *s, const struct expected *want, uint32_t n)
{
    story_link(s);
    CHECK_INT(s->trace.n, n);
    for (uint32_t i = 0; i < n && i < s->trace.n; i++) {
        const struct span *got = &s->trace.spans[i];
        check_row("span %u", i);
        CHECK_INT(got->id, want[i].id);
        CHECK_INT(got->parent, want[i].parent);
        CHECK_INT(got->depth, want[i].depth);
        CHECK_INT(got->orphan, want[i].orphan);
        CHECK_INT(got->self, (int64_t)(want[i].self * 1e6));
    }
    story_free(s);
    check_done();
}

static void tree_order_and_self_time(void **state)
{
    static const struct story_span spans[] = {
        // as they arrive: children first, out of order
        {"d", "late child", 5, 1, 60, 90},  {"d", "grandchild", 4, 3, 22, 28},
        {"d", "early child", 3, 1, 20, 50}, {"d", "overlapping child", 2, 1, 40, 70},
        {"f", "root", 1, 0, 0, 100},        {"d", "runs over its parent's end", 6, 5, 80, 120},
    };
    static const struct expected want[] = {
        {1, -1, 0, false, 30}, // 0-20 and 90-100: children overlap each other
        {3, 0, 1, false, 24},  {4, 1, 2, false, 6}, {2, 0, 1, false, 30}, {5, 0, 1, false, 20}, {6, 4, 2, false, 40},
    };
    struct story s;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    check_tree(&s, want, CHECK_ROWS(want));
}

static void orphans_and_cycles(void **state)
{
    static const struct story_span spans[] = {
        {"f", "its own parent", 7, 7, 50, 60}, {"d", "orphan", 2, 99, 10, 20},     {"d", "orphan's child", 3, 2, 12, 14},
        {"d", "one of a cycle", 5, 6, 30, 40}, {"d", "other of it", 6, 5, 35, 38},
    };
    static const struct expected want[] = {
        {2, -1, 0, true, 8}, {3, 0, 1, false, 2}, {7, -1, 0, true, 10}, {5, -1, 0, true, 7}, {6, 3, 1, false, 3},
    };
    struct story s;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    check_tree(&s, want, CHECK_ROWS(want));
}

static void repeated_spans(void **state)
{
    static const struct story_span spans[] = {
        {"f", "root", 1, 0, 0, 100},
        {"d", "a", 2, 1, 10, 20},
        {"d", "other", 3, 1, 10, 20},
        {"f", "root", 1, 0, 0, 100}, // sent again after a lost acknowledgement
        {"d", "a", 2, 1, 10, 20},
        {"d", "client", 4, 1, 30, 40, .kind = 3},
        {"e", "server", 4, 1, 30, 40, .kind = 2}, // Zipkin's shared id: two spans
    };
    static const struct expected want[] = {
        {1, -1, 0, false, 80}, {2, 0, 1, false, 10}, {3, 0, 1, false, 10}, {4, 0, 1, false, 10}, {4, 0, 1, false, 10}};
    struct story s;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    check_tree(&s, want, CHECK_ROWS(want));
}

// A chain may be as long as it likes: nothing here recurses.
static void long_chain(void **state)
{
    enum { N = 20000 };
    struct story s;
    story_begin(&s);
    for (uint64_t i = N; i >= 1; i--)
        story_span(&s, &(struct story_span){"a", "x", i, i - 1, 1e-3 * (double)i, 100});
    story_link(&s);
    assert_int_equal(s.trace.n, N);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(s.trace.spans[i].depth, i);
        assert_int_equal(s.trace.spans[i].parent, (int32_t)i - 1);
    }
    story_free(&s);
}

static void end_before_start(void **state)
{
    struct story s;
    story_begin(&s);
    story_span(&s, &(struct story_span){"a", "clock went back", 1, 0, 10, 5});
    story_link(&s);
    assert_true(s.trace.spans[0].end >= s.trace.spans[0].start);
    assert_true(s.trace.spans[0].self >= 0);
    story_free(&s);
}

static void attributes(void **state)
{
    struct story s;
    struct value v;
    story_begin(&s);
    story_span(&s, &(struct story_span){"worker", "a", 1, 0, 0, 1, .attrs = {"text", "x", "#number", "-5", "?yes", "true"}});
    story_span(&s, &(struct story_span){"worker", "b", 2, 1, 0, 1, .attrs = {"#number", "1234567890123456789"}});
    story_link(&s);
    const struct span *a = &s.trace.spans[0], *b = &s.trace.spans[1];
    CHECK_STR(a->service, "worker");
    CHECK_STR(trace_attr_text(&s.trace, a, SLICE("text")), "x");
    CHECK_STR(trace_attr_text(&s.trace, a, SLICE("yes")), "true");
    CHECK_STR(trace_attr_text(&s.trace, b, SLICE("number")), "1234567890123456789");
    CHECK_STR(trace_attr_text(&s.trace, b, SLICE("service.name")), "worker"); // from the resource
    CHECK(!trace_attr(&s.trace, b, SLICE("text"), &v));
    CHECK_INT(trace_attr_text(&s.trace, b, SLICE("text")).n, 0);
    story_free(&s);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_order_and_self_time), cmocka_unit_test(orphans_and_cycles),
        cmocka_unit_test(repeated_spans),           cmocka_unit_test(long_chain),
        cmocka_unit_test(end_before_start),         cmocka_unit_test(attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
