// Building, reading and merging batches.
#include "support.h"

static uint32_t resource_of(struct batch *b, const char *name)
{
    struct label l[3] = {{SLICE("z"), SLICE("")}, {SLICE("service_name"), slice_str(name)}, {SLICE("app"), SLICE("x")}};
    return batch_resource(b, l, labels_sort(l, 3), NULL, 0);
}

static void labels_are_sorted(void **state)
{
    struct label l[] = {{SLICE("b"), SLICE("1")}, {SLICE("a"), SLICE("2")}, {SLICE("b"), SLICE("3")}, {SLICE("c"), SLICE("")}};
    uint32_t n = labels_sort(l, 4);
    assert_int_equal(n, 2);
    assert_slice(l[0].name, "a");
    assert_slice(l[1].name, "b");
    assert_slice(l[1].value, "3");
}

static void columns_hold_what_was_set(void **state)
{
    struct batch *b = batch_new(SIGNAL_LOG, 1 << 20);
    for (uint32_t r = 0; r < 100; r++) {
        assert_int_equal(batch_row(b, 1000 - r, resource_of(b, r % 2 ? "odd" : "even")), r);
        batch_field_str(b, FIELD_BODY, SLICE("first"));
        batch_field_str(b, FIELD_BODY, r % 2 ? SLICE("one") : SLICE("two")); // the second value counts
        if (r % 10 == 3)
            batch_set(b, COL_ATTR, SLICE("n"), (struct value){.kind = COL_I64, .i64 = r});
        if (r % 10 == 4)
            batch_set(b, COL_ATTR, SLICE("n"), (struct value){.kind = COL_STR, .s = SLICE("text")});
        if (r < 50)
            batch_field_i64(b, FIELD_SEVERITY, 9);
    }
    assert_true(batch_seal(b));
    assert_sound(b);
    assert_int_equal(b->n_resources, 2);
    assert_int_equal(b->min_time, 901);
    assert_int_equal(b->max_time, 1000);
    assert_null(b->field[FIELD_BODY]->row); // dense
    assert_non_null(b->field[FIELD_SEVERITY]->row);
    assert_slice(cell(b, FIELD_BODY, 7), "one");
    assert_int_equal(column_i64(b->field[FIELD_SEVERITY], 49, -1), 9);
    assert_int_equal(column_i64(b->field[FIELD_SEVERITY], 50, -1), -1);
    struct value v;
    assert_true(batch_attr(b, COL_ATTR, SLICE("n"), 13, &v));
    assert_int_equal(v.kind, COL_I64);
    assert_int_equal(v.i64, 13);
    assert_true(batch_attr(b, COL_ATTR, SLICE("n"), 14, &v));
    assert_int_equal(v.kind, COL_STR);
    assert_false(batch_attr(b, COL_ATTR, SLICE("n"), 15, &v));
    assert_false(batch_attr(b, COL_SCOPE, SLICE("n"), 13, &v));
    assert_slice(resource_label(&b->resources[b->resource[1]], SLICE("service_name")), "odd");
    batch_unref(b);
}

static void a_cancelled_row_leaves_nothing(void **state)
{
    struct batch *b = batch_new(SIGNAL_LOG, 1 << 20);
    for (int i = 0; i < 20; i++) {
        batch_row(b, i, resource_of(b, "s"));
        batch_field_i64(b, FIELD_SEVERITY, i);
        batch_set(b, COL_ATTR, i % 2 ? SLICE("odd") : SLICE("even"), (struct value){.kind = COL_BOOL, .b = true});
        if (i % 2)
            batch_row_cancel(b);
    }
    assert_true(batch_seal(b));
    assert_sound(b);
    assert_int_equal(b->rows, 10);
    assert_int_equal(b->n_columns, 2); // "odd" has no value left
    for (uint32_t r = 0; r < 10; r++)
        assert_int_equal(column_i64(b->field[FIELD_SEVERITY], r, -1), 2 * r);
    batch_unref(b);
}

static void hints_find_the_same(void **state)
{
    struct batch *b = batch_new(SIGNAL_LOG, 1 << 24);
    for (uint32_t r = 0; r < 5000; r++) {
        batch_row(b, r, resource_of(b, "s"));
        if (r * 2654435761u % 7 == 0)
            batch_field_i64(b, FIELD_SEVERITY, r);
    }
    assert_true(batch_seal(b));
    const struct column *c = b->field[FIELD_SEVERITY];
    uint32_t hint = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t r = i % 3 ? i % 5000 : i * 40503u % 5000;
        assert_int_equal(column_find_hint(c, r, &hint), column_find(c, r));
    }
    batch_unref(b);
}

static void over_budget_fails_cleanly(void **state)
{
    for (size_t max = 0; max < 300000; max += 4096) {
        struct batch *b = batch_new(SIGNAL_LOG, max);
        for (uint32_t r = 0; r < 500 && !b->failed; r++) {
            char name[16];
            batch_row(b, r, resource_of(b, "s"));
            snprintf(name, sizeof name, "a%u", r);
            batch_set(b, COL_ATTR, batch_dup(b, slice_str(name)), (struct value){.kind = COL_I64, .i64 = r});
        }
        bool failed = b->failed;
        assert_int_equal(batch_seal(b), !failed && !b->failed);
        batch_unref(b);
    }
}

static void resources_ignore_the_order_of_attributes(void **state)
{
    struct batch *b = batch_new(SIGNAL_LOG, 1 << 20);
    struct attr x = {SLICE("pid"), {.kind = COL_I64, .i64 = 7}}, y = {SLICE("host"), {.kind = COL_STR, .s = SLICE("h")}};
    struct attr text = {SLICE("pid"), {.kind = COL_STR, .s = SLICE("7")}};
    struct attr xy[] = {x, y}, yx[] = {y, x}, ty[] = {text, y};
    struct label l[] = {{SLICE("a"), SLICE("b")}};
    assert_int_equal(batch_resource(b, l, 1, xy, 2), 0);
    assert_int_equal(batch_resource(b, l, 1, yx, 2), 0);
    assert_int_equal(batch_resource(b, l, 1, ty, 2), 1);
    assert_int_equal(batch_resource(b, l, 1, NULL, 0), 2);
    assert_true(id128_eq(b->resources[0].labels_hash, b->resources[2].labels_hash));
    assert_false(id128_eq(b->resources[0].hash, b->resources[2].hash));
    assert_int_equal(resource_attr(&b->resources[0], SLICE("pid"))->value.i64, 7);
    assert_null(resource_attr(&b->resources[0], SLICE("none")));
    batch_unref(b);
}

static void values_as_text(void **state)
{
    static const struct {
        struct value v;
        const char *text, *json;
    } cases[] = {
        {{.kind = COL_I64, .i64 = -5}, "-5", "-5"},
        {{.kind = COL_F64, .f64 = 0.1}, "0.1", "0.1"},
        {{.kind = COL_BOOL, .b = true}, "true", "true"},
        {{.kind = COL_STR, .s = {"a\"b", 3}}, "a\"b", "\"a\\\"b\""},
        {{.kind = COL_BYTES, .s = {"\1\2\3", 3}}, "AQID", "\"AQID\""},
        {{.kind = COL_ID64, .id64 = 0xab}, "00000000000000ab", "\"00000000000000ab\""},
        {{.kind = COL_ID128, .id128 = {1, 2}}, "00000000000000010000000000000002", "\"00000000000000010000000000000002\""},
        // {"k": [1, true, "x"]}
        {{.kind = COL_ANY,
          .s = {"\x32\x16\x0a\x14\x0a\x01k\x12\x0f\x2a\x0d\x0a\x02\x18\x01\x0a\x02\x10\x01\x0a\x03\x0a\x01x", 24}},
         "{\"k\":[1,true,\"x\"]}",
         "{\"k\":[1,true,\"x\"]}"},
        {{.kind = COL_ANY, .s = {"", 0}}, "null", "null"},
        {{.kind = COL_ANY, .s = {"\x0a\xff", 2}}, "null", "null"}, // damaged
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b;
        buf_init(&b, 4096);
        struct jw w = jw_to(&b);
        value_text(&b, &cases[i].v);
        assert_slice(buf_slice(&b), cases[i].text);
        buf_reset(&b);
        value_json(&w, &cases[i].v);
        assert_slice(buf_slice(&b), cases[i].json);
        buf_free(&b);
    }
}

// ---- merging --------------------------------------------------------------------------------------------------------

static uint32_t rng = 1;
static uint32_t any_of(uint32_t n)
{
    rng = rng * 1664525 + 1013904223;
    return (rng >> 8) % n;
}

static struct batch *random_batch(uint32_t rows)
{
    struct batch *b = batch_new(any_of(1) ? SIGNAL_SPAN : SIGNAL_LOG, 1 << 28);
    char text[32];
    for (uint32_t r = 0; r < rows; r++) {
        snprintf(text, sizeof text, "service-%u", any_of(5));
        batch_row(b, any_of(1000), resource_of(b, batch_dup(b, slice_str(text)).p));
        snprintf(text, sizeof text, "line %u", any_of(100000));
        batch_field_str(b, FIELD_BODY, batch_dup(b, slice_str(text)));
        if (any_of(3) == 0)
            batch_field_id128(b, FIELD_TRACE_ID, (struct id128){any_of(9), r});
        if (any_of(3) == 0)
            batch_field_id64(b, FIELD_SPAN_ID, r);
        if (any_of(2000) == 0)
            batch_set(b, COL_ATTR, SLICE("rare"), (struct value){.kind = COL_BOOL, .b = true});
        snprintf(text, sizeof text, "attr%u", any_of(20));
        batch_set(b, COL_ATTR, batch_dup(b, slice_str(text)), (struct value){.kind = any_of(2) ? COL_I64 : COL_F64, .i64 = r});
        if (any_of(2))
            batch_set(b, COL_SCOPE, SLICE("lib"), (struct value){.kind = COL_STR, .s = SLICE("v")});
    }
    assert_true(batch_seal(b));
    assert_sound(b);
    return b;
}

static void assert_order(const struct batch *b)
{
    for (uint32_t r = 1; r < b->rows; r++) {
        const struct resource *x = &b->resources[b->resource[r - 1]], *y = &b->resources[b->resource[r]];
        int c = id128_cmp(x->labels_hash, y->labels_hash);
        c = c ? c : id128_cmp(x->hash, y->hash);
        assert_true(c < 0 || (c == 0 && b->time[r - 1] <= b->time[r]));
    }
}

static void merge_keeps_every_row(void **state)
{
    static const uint32_t sizes[][4] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {5, 7, 0, 1}, {300, 20, 500, 1}, {5000, 4000, 0, 3000}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct batch *in[4], *all = batch_new(SIGNAL_LOG, 1 << 28);
        for (int i = 0; i < 4; i++) {
            in[i] = random_batch(sizes[k][i]);
            for (uint32_t r = 0; r < in[i]->rows; r++)
                batch_copy_row(all, in[i], r); // the slow way, row by row
        }
        assert_true(batch_seal(all));
        struct batch *out = batch_merge(in, 4, 1 << 28);
        assert_non_null(out);
        for (int i = 0; i < 4; i++) {
            // Strings must have been copied.
            for (uint32_t c = 0; c < in[i]->n_columns; c++)
                for (uint32_t v = 0; column_is_text(in[i]->columns[c].kind) && v < in[i]->columns[c].n; v++)
                    in[i]->columns[c].s[v] = SLICE("overwritten");
            batch_unref(in[i]);
        }
        assert_sound(out);
        assert_order(out);
        assert_same_rows(out, all);
        batch_unref(out);
        batch_unref(all);
    }
}

static void merge_is_stable(void **state)
{
    struct batch *in[3];
    for (int i = 0; i < 3; i++) {
        in[i] = batch_new(SIGNAL_LOG, 1 << 20);
        for (int r = 0; r < 50; r++) {
            batch_row(in[i], r % 2, resource_of(in[i], "s"));
            batch_field_i64(in[i], FIELD_SEVERITY, i * 100 + r);
        }
        batch_seal(in[i]);
    }
    struct batch *out = batch_merge(in, 3, 1 << 20);
    assert_int_equal(out->rows, 150);
    for (uint32_t r = 1; r < 150; r++)
        if (out->time[r - 1] == out->time[r])
            assert_true(column_i64(out->field[FIELD_SEVERITY], r - 1, -1) < column_i64(out->field[FIELD_SEVERITY], r, -1));
    batch_unref(out);
    assert_null(batch_merge(in, 3, 64)); // over budget
    for (int i = 0; i < 3; i++)
        batch_unref(in[i]);
}

static void row_hashes_tell_rows_apart(void **state)
{
    struct batch *b = random_batch(2000), *in[] = {b}, *sorted = batch_merge(in, 1, 1 << 28);
    uint64_t *all = malloc(b->rows * sizeof *all), *again = malloc(b->rows * sizeof *again);
    batch_row_hashes(b, all);
    batch_row_hashes(sorted, again);
    uint64_t sum = 0, sum_sorted = 0;
    for (uint32_t r = 0; r < b->rows; r++) {
        assert_true(batch_row_hash(b, r) == all[r]);
        assert_true(batch_row_hash(sorted, r) == again[r]);
        sum += all[r] * 3 + (all[r] >> 7);
        sum_sorted += again[r] * 3 + (again[r] >> 7);
        for (uint32_t k = 0; k < r && r < 300; k++)
            assert_true(all[k] != all[r]);
    }
    assert_true(sum == sum_sorted); // the same rows in another order
    free(all);
    free(again);
    batch_unref(b);
    batch_unref(sorted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_sorted),
        cmocka_unit_test(columns_hold_what_was_set),
        cmocka_unit_test(a_cancelled_row_leaves_nothing),
        cmocka_unit_test(hints_find_the_same),
        cmocka_unit_test(over_budget_fails_cleanly),
        cmocka_unit_test(resources_ignore_the_order_of_attributes),
        cmocka_unit_test(values_as_text),
        cmocka_unit_test(merge_keeps_every_row),
        cmocka_unit_test(merge_is_stable),
        cmocka_unit_test(row_hashes_tell_rows_apart),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
