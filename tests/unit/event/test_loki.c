// Loki push requests: labels, entries, metadata, limits, in both encodings.
#include "base/limits.h"
#include "support.h"

static struct buf pb;

static void start(void)
{
    buf_free(&pb);
    buf_init(&pb, (size_t)256 << 20);
}

static void entry(int64_t seconds, int64_t nanos, struct slice line, const char *const *metadata)
{
    size_t e = pb_w_begin(&pb, 2), t = pb_w_begin(&pb, 1);
    pb_w_i64(&pb, 1, seconds);
    pb_w_i64(&pb, 2, nanos);
    pb_w_end(&pb, t);
    pb_w_bytes(&pb, 2, line);
    for (; metadata && *metadata; metadata += 2) {
        size_t pair = pb_w_begin(&pb, 3);
        pb_w_bytes(&pb, 1, slice_str(metadata[0]));
        pb_w_bytes(&pb, 2, slice_str(metadata[1]));
        pb_w_end(&pb, pair);
    }
    pb_w_end(&pb, e);
}

static char *labels_of(const struct batch *b, uint32_t row)
{
    const struct resource *r = &b->resources[b->resource[row]];
    struct buf t;
    buf_init(&t, 1 << 20);
    for (uint32_t i = 0; i < r->n_labels; i++) {
        buf_add(&t, r->labels[i].name);
        buf_char(&t, '=');
        buf_add(&t, r->labels[i].value);
        buf_char(&t, i + 1 < r->n_labels ? ',' : 0);
    }
    return t.p;
}

static void both_encodings_are_one(void **state)
{
    struct batch *a = decoded(
        WIRE_LOKI_JSON,
        SLICE("{\"streams\":[{\"stream\":{\"app\":\"x\",\"a_b\":\"t\\n\\\"\"},\"values\":[[\"1700000000000000001\",\"one\"],"
              "[\"1700000000000000002\",\"two\",{\"a.b\":\"v\",\"9x\":\"w\",\"empty\":\"\",\"\xc3\xa9-\":\"u\"}]]},"
              "{\"values\":[[\"-5\",\"\"]],\"more\":null,\"stream\":{\"app\":\"y\"}}]}"),
        NULL);
    static const char *const metadata[] = {"a.b", "v", "9x", "w", "empty", "", "\xc3\xa9-", "u", NULL};
    start();
    size_t s = pb_w_begin(&pb, 1);
    entry(1700000000, 1, SLICE("one"), NULL);
    pb_w_bytes(&pb, 1, SLICE("{ app = \"x\", a_b=\"t\\n\\\"\"}")); // behind an entry: order does not matter
    entry(1700000000, 2, SLICE("two"), metadata);
    pb_w_u64(&pb, 3, 12345);
    pb_w_end(&pb, s);
    s = pb_w_begin(&pb, 1);
    pb_w_bytes(&pb, 1, SLICE("{app=`y`}"));
    entry(-1, 999999995, SLICE(""), NULL);
    pb_w_end(&pb, s);
    struct batch *b = decoded(WIRE_LOKI_PB, buf_slice(&pb), NULL);
    assert_same_rows(a, b);
    assert_int_equal(b->rows, 3);
    assert_true(b->time[1] == 1700000000000000002 && b->time[2] == -5);
    assert_slice(cell(b, FIELD_BODY, 1), "two");
    assert_int_equal(b->resources[0].n_attrs, 0);
    struct value v;
    assert_true(batch_attr(b, COL_ATTR, SLICE("a_b"), 1, &v));
    assert_slice(v.s, "v");
    assert_true(batch_attr(b, COL_ATTR, SLICE("key_9x"), 1, &v));
    assert_true(batch_attr(b, COL_ATTR, SLICE("__"), 1, &v));
    assert_false(batch_attr(b, COL_ATTR, SLICE("empty"), 1, &v));
    char *text = labels_of(b, 0);
    assert_string_equal(text, "a_b=t\n\",app=x");
    free(text);
    for (uint32_t r = 0; r < 3; r++)
        assert_true(batch_row_hash(a, r) == batch_row_hash(b, r));
    batch_unref(a);
    batch_unref(b);
}

static void label_texts(void **state)
{
    static const struct {
        const char *text;
        const char *labels; // null: refused
        const char *reason;
    } cases[] = {
        {"{a=\"b\"}", "a=b", NULL},
        {" { a = \"b\" , c=`d\\` } ", "a=b,c=d\\", NULL},
        {"{z=\"1\",a=\"2\"}", "a=2,z=1", NULL},
        {"{a=\"\\t\\\\\\x41\\101\\u00e9\\U0001F600\"}", "a=\t\\AA\xc3\xa9\xf0\x9f\x98\x80", NULL},
        {"{a=\"\\xff\"}", "a=\xef\xbf\xbd", NULL},
        {"{a=\"b\",c=\"\"}", "a=b", NULL},
        {"{_a1=\"b\"}", "_a1=b", NULL},
        {"{}", NULL, "no labels"},
        {"", NULL, "cannot be read at byte 0"},
        {"{a=\"\"}", NULL, "no labels"},
        {"{a=b}", NULL, "cannot be read"},
        {"{a=\"b}", NULL, "cannot be read"},
        {"{a=\"b\\\"}", NULL, "cannot be read"},
        {"{a=\"b\",}", NULL, "cannot be read"},
        {"{a=\"b\"} x", NULL, "cannot be read"},
        {"{a=\"\\q\"}", NULL, "cannot be read"},
        {"{a=\"\\u12\"}", NULL, "cannot be read"},
        {"{a=\"\\ud800\"}", NULL, "cannot be read"},
        {"{a=\"\\400\"}", NULL, "cannot be read"},
        {"{a-b=\"c\"}", NULL, "\"a-b\" is not valid"},
        {"{9=\"c\"}", NULL, "\"9\" is not valid"},
        {"{a \xff", NULL, "cannot be read at byte 3: {a \xef\xbf\xbd"},
        // 59 letters, then a character of two bytes: quoted whole or not at all
        {"{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9=\"c\"}", NULL, "aaaa\" is not valid"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start();
        size_t s = pb_w_begin(&pb, 1);
        pb_w_bytes(&pb, 1, slice_str(cases[i].text));
        entry(1, 0, SLICE("line"), NULL);
        entry(2, 0, SLICE("line"), NULL);
        pb_w_end(&pb, s);
        s = pb_w_begin(&pb, 1);
        pb_w_bytes(&pb, 1, SLICE("{good=\"stream\"}"));
        entry(3, 0, SLICE("kept"), NULL);
        pb_w_end(&pb, s);
        struct wire_report report;
        struct batch *b = decoded(WIRE_LOKI_PB, buf_slice(&pb), &report);
        assert_int_equal(report.accepted, cases[i].labels ? 3 : 1);
        assert_int_equal(report.rejected, cases[i].labels ? 0 : 2);
        assert_slice(cell(b, FIELD_BODY, b->rows - 1), "kept");
        if (cases[i].labels) {
            char *text = labels_of(b, 0);
            assert_string_equal(text, cases[i].labels);
            free(text);
        } else if (!strstr(report.reason[0], cases[i].reason)) {
            fail_msg("%s: %s", cases[i].text, report.reason[0]);
        }
        batch_unref(b);
    }
}

// One stream with n labels of the given sizes, one entry.
static struct batch *with_labels(int n, size_t name, size_t value, struct wire_report *report)
{
    struct buf json;
    buf_init(&json, 1 << 20);
    buf_str(&json, "{\"streams\":[{\"stream\":{");
    for (int i = 0; i < n; i++) {
        buf_printf(&json, "%s\"", i ? "," : "");
        for (size_t k = 0; k < name; k++)
            buf_char(&json, (char)('a' + i));
        buf_str(&json, "\":\"");
        for (size_t k = 0; k < value; k++)
            buf_char(&json, 'v');
        buf_char(&json, '"');
    }
    buf_str(&json, "},\"values\":[[\"1\",\"x\"]]}]}");
    struct batch *b = decoded(WIRE_LOKI_JSON, buf_slice(&json), report);
    buf_free(&json);
    return b;
}

static void label_limits(void **state)
{
    static const struct {
        int n;
        size_t name, value;
        bool good;
    } cases[] = {{15, 1, 1, true},
                 {16, 1, 1, false},
                 {0, 1, 1, false},
                 {1, MAX_LABEL_NAME, 1, true},
                 {1, MAX_LABEL_NAME + 1, 1, false},
                 {1, 1, MAX_LABEL_VALUE, true},
                 {1, 1, MAX_LABEL_VALUE + 1, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wire_report report;
        struct batch *b = with_labels(cases[i].n, cases[i].name, cases[i].value, &report);
        assert_int_equal(report.accepted, cases[i].good);
        assert_int_equal(report.rejected, !cases[i].good);
        assert_int_equal(report.n_reasons, !cases[i].good);
        batch_unref(b);
    }
}

static void entry_limits(void **state)
{
    struct slice huge = slice_of(calloc(1, MAX_LOG_LINE + 1), MAX_LOG_LINE + 1);
    memset((char *)huge.p, 'x', huge.n);
    char *big = strndup(huge.p, MAX_METADATA_BYTES);
    const char *many[2 * (MAX_METADATA_ENTRIES + 1) + 1] = {0};
    char names[MAX_METADATA_ENTRIES + 1][16];
    for (int i = 0; i <= MAX_METADATA_ENTRIES; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        many[2 * i] = names[i];
        many[2 * i + 1] = "v";
    }
    const char *heavy[] = {"k", big, NULL}, *nameless[] = {"k", "v", "", "v", NULL};
    start();
    size_t s = pb_w_begin(&pb, 1);
    pb_w_bytes(&pb, 1, SLICE("{a=\"b\"}"));
    entry(1, 0, slice_cut(huge, MAX_LOG_LINE), NULL);
    entry(2, 0, huge, NULL);
    entry(3, 0, SLICE("too many"), many);
    entry(4, 0, SLICE("just enough"), many + 2);
    entry(5, 0, SLICE("heavy"), heavy);
    entry(6, 0, SLICE("nameless"), nameless);
    entry(INT64_MAX / 1000, 0, SLICE("too late"), NULL);
    entry(7, 1000000000, SLICE("nanos"), NULL);
    entry(8, 0, SLICE("last \xff"), NULL);
    pb_w_end(&pb, s);
    struct wire_report report;
    struct batch *b = decoded(WIRE_LOKI_PB, buf_slice(&pb), &report);
    assert_int_equal(report.accepted, 3);
    assert_int_equal(report.rejected, 6);
    assert_int_equal(report.n_reasons, 6);
    static const char *const reasons[] = {"262145 bytes",   "more than 128 entries", "more than 65536 bytes",
                                          "without a name", "out of range",          "out of range"};
    for (int i = 0; i < 6; i++)
        if (!strstr(report.reason[i], reasons[i]))
            fail_msg("%s", report.reason[i]);
    assert_slice(cell(b, FIELD_BODY, 1), "just enough");
    assert_slice(cell(b, FIELD_BODY, 2), "last \xef\xbf\xbd");
    assert_int_equal(b->n_columns, 1 + MAX_METADATA_ENTRIES);
    batch_unref(b);
    free((char *)huge.p);
    free(big);
}

static void only_ten_reasons_are_kept(void **state)
{
    start();
    size_t s = pb_w_begin(&pb, 1);
    pb_w_bytes(&pb, 1, SLICE("{a=\"b\"}"));
    for (int i = 0; i < 25; i++)
        entry(i, -1, SLICE("x"), NULL);
    pb_w_end(&pb, s);
    struct wire_report report;
    batch_unref(decoded(WIRE_LOKI_PB, buf_slice(&pb), &report));
    assert_int_equal(report.rejected, 25);
    assert_int_equal(report.n_reasons, 10);
}

static void service_names_are_discovered(void **state)
{
    static const struct {
        const char *stream, *labels;
    } cases[] = {
        {"{\"app\":\"x\",\"job\":\"y\"}", "app=x,job=y,service_name=x"},
        {"{\"job\":\"y\",\"container\":\"c\"}", "container=c,job=y,service_name=c"},
        {"{\"other\":\"y\"}", "other=y,service_name=unknown_service"},
        {"{\"app\":\"x\",\"service_name\":\"mine\"}", "app=x,service_name=mine"},
    };
    struct wire_options opt = {.discover_service = true};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[300];
        struct batch *b;
        snprintf(json, sizeof json, "{\"streams\":[{\"stream\":%s,\"values\":[[\"1\",\"x\"]]}]}", cases[i].stream);
        assert_int_equal(wire_decode(WIRE_LOKI_JSON, slice_str(json), true, &opt, &b, NULL, NULL), ERR_OK);
        char *text = labels_of(b, 0);
        assert_string_equal(text, cases[i].labels);
        free(text);
        batch_unref(b);
    }
}

static void damaged_requests_name_the_byte(void **state)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "byte 0"},
        {"[]", "byte 0"},
        {"{}", "\"streams\" was expected"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[1,\"x\"]]}]}", "in quotes at byte 43"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1.5\",\"x\"]]}]}", "nanoseconds since 1970 at byte 43"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"99999999999999999999\",\"x\"]]}]}", "byte 43"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\"]]}]}", "byte"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",5]]}]}", "byte 47"},
        {"{\"streams\":[{\"stream\":{\"a\":5},\"values\":[]}]}", "byte 27"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\",{\"a\":1}]]}]}", "byte"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\",{},0]]}]}", "three parts"},
        {"{\"streams\":[{\"values\":[[1,\"x\"]],\"stream\":{\"a\":\"b\"}}]}", "in quotes at byte 24"},
        {"{\"streams\":[]} {", "byte 15"},
        {"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\"]]}", "byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch *b;
        struct error e = {0};
        assert_int_not_equal(wire_decode(WIRE_LOKI_JSON, slice_str(cases[i].json), true, &test_options, &b, NULL, &e), ERR_OK);
        assert_null(b);
        if (!strstr(e.msg, cases[i].message))
            fail_msg("case %zu: %s", i, e.msg);
    }
}

static void prefixes_and_flips_never_crash(void **state)
{
    static const char json[] =
        "{\"streams\":[{\"values\":[[\"1\",\"one \\u00e9\"]],\"stream\":{\"app\":\"x\"}},{\"stream\":{\"a\":\"\\n\"},\"values\":"
        "[[\"2\",\"two\",{\"a.b\":\"v\"}]]}]}";
    static const char *const metadata[] = {"a.b", "v", NULL};
    start();
    size_t s = pb_w_begin(&pb, 1);
    pb_w_bytes(&pb, 1, SLICE("{app=\"x\\n\", b=\"\\u00e9\"}"));
    entry(1, 1, SLICE("one"), metadata);
    pb_w_end(&pb, s);
    srand(5);
    for (int f = 0; f < 2; f++) {
        struct slice whole = f ? slice_str(json) : buf_slice(&pb);
        for (size_t k = 0; k < whole.n + 20000; k++) {
            size_t n = k < whole.n ? k : whole.n;
            char *p = malloc(n ? n : 1);
            memcpy(p, whole.p, n);
            for (int flips = k < whole.n ? 0 : 1 + rand() % 4; flips; flips--)
                p[(size_t)rand() % n] ^= (char)(1 << rand() % 8);
            struct batch *b;
            struct error e = {0};
            enum errc rc = wire_decode(f ? WIRE_LOKI_JSON : WIRE_LOKI_PB, slice_of(p, n), true, &test_options, &b, NULL, &e);
            if (k < whole.n)
                assert_int_equal(rc == ERR_OK, !f && k == 0);
            if (rc == ERR_OK)
                assert_sound(b);
            batch_unref(b);
            free(p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_encodings_are_one),
        cmocka_unit_test(label_texts),
        cmocka_unit_test(label_limits),
        cmocka_unit_test(entry_limits),
        cmocka_unit_test(only_ten_reasons_are_kept),
        cmocka_unit_test(service_names_are_discovered),
        cmocka_unit_test(damaged_requests_name_the_byte),
        cmocka_unit_test(prefixes_and_flips_never_crash),
    };
    int failed = cmocka_run_group_tests_name("loki", tests, NULL, NULL);
    buf_free(&pb);
    return failed;
}
