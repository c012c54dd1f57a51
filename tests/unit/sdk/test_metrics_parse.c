// The parser of the text format: recorded pages of a running Dynamo come out as they went in, faults are named with their line.
#include "base/limits.h"
#include "check.h"
#include "sdk/metric.h"
#include "sdk/metric_parse.h"
#include <glob.h>
#include <stdlib.h>

static struct slice load(const char *path, struct arena *a)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *p = arena_alloc(a, n);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, n, f), n);
    fclose(f);
    return slice_of(p, n);
}

static void recorded(void **state)
{
    (void)state;
    const char *root = getenv("SONDE_TESTDATA");
    char pattern[600];
    glob_t files;
    snprintf(pattern, sizeof pattern, "%s/dynamo/metrics/*.prom", root ? root : "../shared/testdata");
    if (glob(pattern, 0, NULL, &files) != 0) {
        print_message("skipped: no recorded pages in %s; SONDE_TESTDATA names another folder\n", pattern);
        skip();
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct arena a;
        struct expfmt e;
        struct error err = {0};
        struct buf out;
        arena_init(&a, MIB(16));
        buf_init(&out, MIB(16));
        check_row("%s", files.gl_pathv[i]);
        struct slice page = load(files.gl_pathv[i], &a);
        if (!CHECK(expfmt_parse(&e, page, &a, &err) == ERR_OK))
            fprintf(stderr, "%s\n", err.msg);
        expfmt_write(&e, &out);
        CHECK_SLICE(buf_slice(&out), page);
        CHECK(e.n_families > 15 && e.n_samples > 50);
        for (uint32_t k = 0; k < e.n_samples; k++) { // the numbers themselves too
            buf_reset(&out);
            buf_f64(&out, e.samples[k].value);
            CHECK_SLICE(buf_slice(&out), e.samples[k].number);
        }
        buf_free(&out);
        arena_free(&a);
    }
    globfree(&files);
    check_done();
}

static void forms(void **state)
{
    (void)state;
    static const struct {
        const char *in, *text, *om; // null: as in
    } rows[] = {
        {"", NULL, NULL},
        {"up 1\n", NULL, "up 1\n"},
        {"up 1", "up 1\n", "up 1\n"},
        {"\n \n# a remark\n#HELPless\nup 1\r\n", "up 1\n", "up 1\n"},
        {"# HELP a \\\\ and\\nmore \\x \"q\"\n# TYPE a gauge\na 1\n",
         "# HELP a \\\\ and\\nmore \\\\x \"q\"\n# TYPE a gauge\na 1\n",
         "# HELP a \\\\ and\\nmore \\\\x \\\"q\\\"\n# TYPE a gauge\na 1\n"},
        {"a{b=\"\\\\ \\\" \\n\",c=\"ä\"} 1\n", NULL, NULL},
        {"  a { b = \"1\" , c=\"2\", } \t 1e5   1500 \n", "a{b=\"1\",c=\"2\"} 1e5 1500\n", "a{b=\"1\",c=\"2\"} 1e5 1.500\n"},
        {"a{} -Inf -1\n", "a -Inf -1\n", "a -Inf -0.001\n"},
        {"# TYPE a_total counter\na_total 1.0\n", NULL, "# TYPE a counter\na_total 1.0\n"},
        {"# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n", NULL, "# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\n"},
        {"# TYPE a untyped\na nan\n", NULL, "# TYPE a unknown\na NaN\n"},
        {"# TYPE h histogram\nh_bucket{le=\"5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nh_other 1\n", NULL,
         "# TYPE h histogram\nh_bucket{le=\"5.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nh_other 1\n"},
        {"# TYPE s summary\ns{quantile=\"1\"} 1\ns_sum 3\ns_count 2\n", NULL,
         "# TYPE s summary\ns{quantile=\"1.0\"} 1\ns_sum 3\ns_count 2\n"},
        {"# HELP a\n# TYPE a gauge\na 1\n", "# HELP a \n# TYPE a gauge\na 1\n", "# HELP a \n# TYPE a gauge\na 1\n"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct expfmt e;
        struct buf out;
        struct error err = {0};
        arena_init(&a, MIB(1));
        buf_init(&out, MIB(1));
        check_row("%s", rows[i].in);
        if (!CHECK(expfmt_parse(&e, slice_str(rows[i].in), &a, &err) == ERR_OK))
            fprintf(stderr, "%s\n", err.msg);
        expfmt_write(&e, &out);
        CHECK_STR(buf_slice(&out), rows[i].text ? rows[i].text : rows[i].in);
        buf_reset(&out);
        for (uint32_t k = 0; k < e.n_families; k++)
            expfmt_write_family(&e, &e.families[k], true, &out);
        CHECK_STR(buf_slice(&out), rows[i].om ? rows[i].om : rows[i].in);
        buf_free(&out);
        arena_free(&a);
    }
    check_done();
}

static void structure(void **state)
{
    (void)state;
    struct arena a;
    struct expfmt e;
    arena_init(&a, MIB(1));
    struct slice text = SLICE("# HELP h help\n# TYPE h histogram\nh_bucket{m=\"x\",le=\"+Inf\"} 2\nh_sum{m=\"x\"} "
                              "3.5\nh_count{m=\"x\"} 2\nother 7 9\n");
    assert_int_equal(expfmt_parse(&e, text, &a, NULL), ERR_OK);
    assert_int_equal(e.n_families, 2);
    assert_true(slice_eq(e.families[0].name, SLICE("h")) && slice_eq(e.families[0].help, SLICE("help")));
    assert_int_equal(e.families[0].type, EXPFMT_HISTOGRAM);
    assert_int_equal(e.families[0].n, 3);
    assert_int_equal(e.families[1].type, EXPFMT_UNTYPED);
    assert_false(e.families[1].has_type || e.families[1].has_help);
    assert_int_equal(e.families[1].first, 3);
    assert_true(e.samples[1].value == 3.5 && e.samples[3].value == 7 && slice_eq(e.samples[3].time, SLICE("9")));
    assert_int_equal(e.samples[0].n_labels, 2);
    assert_true(slice_eq(e.labels[e.samples[0].first_label + 1].value, SLICE("+Inf")));
    arena_free(&a);
}

static void joined(void **state)
{
    (void)state;
    struct arena a;
    struct expfmt e;
    struct buf out;
    arena_init(&a, MIB(1));
    buf_init(&out, MIB(1));
    struct slice text = SLICE("# HELP a first\n# TYPE a gauge\na{e=\"0\"} 1\nb 1\n# HELP a second\n# TYPE a gauge\na{e=\"1\"} 2\n"
                              "# TYPE a counter\na 9\nc 1\nb{x=\"1\"} 2\na 3\n# TYPE a gauge\na{e=\"2\"} 4\n");
    check_row("joined");
    CHECK(expfmt_parse(&e, text, &a, NULL) == ERR_OK && expfmt_merge(&e, &a) == ERR_OK);
    expfmt_write(&e, &out);
    CHECK_STR(buf_slice(&out),
              "# HELP a first\n# TYPE a gauge\na{e=\"0\"} 1\na{e=\"1\"} 2\na{e=\"2\"} 4\nb 1\nb{x=\"1\"} 2\nc 1\n");
    CHECK_INT(e.n_samples, 6);
    buf_free(&out);
    arena_free(&a);
    check_done();
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *in, *says;
    } rows[] = {
        {"up", "line 1: the value is not a number"},
        {"up 1\nup x\n", "line 2: the value is not a number"},
        {"up 0x10\n", "the value is not a number"},
        {"up 1 2.5\n", "the time is not a whole number"},
        {"up 1 2 3\n", "behind the value and its time"},
        {"1up 1\n", "a metric name was expected"},
        {"{a=\"1\"} 1\n", "a metric name was expected"},
        {"up{a=\"1\" 1\n", "',' or '}' was expected"},
        {"up{a=\"1\n", "no closing quote"},
        {"up{a=\"1\\\"} 1\n", "no closing quote"},
        {"up{a=1} 1\n", "must stand in quotes"},
        {"up{a} 1\n", "'=' was expected"},
        {"up{a", "'=' was expected"},
        {"up{", "a label name was expected"},
        {"up{,} 1\n", "a label name was expected"},
        {"up{1a=\"\"} 1\n", "a label name was expected"},
        {"up{a:b=\"\"} 1\n", "'=' was expected"},
        {"up{a=\"1\",a=\"2\"} 1\n", "a label is given twice"},
        {"up{a=\"\xff\"} 1\n", "not UTF-8"},
        {"# HELP up \xff\nup 1\n", "not UTF-8"},
        {"# TYPE up nonsense\n", "the type is none of"},
        {"# TYPE up\n", "the type is none of"},
        {"# TYPE\n", "TYPE needs a metric name"},
        {"# HELP 1\n", "HELP needs a metric name"},
        {"# TYPE up gauge\n# TYPE up gauge\n", "line 2: a second TYPE"},
        {"# HELP up a\n# TYPE up gauge\n# HELP up b\n", "line 3: a second HELP"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct arena a;
        struct expfmt e;
        struct error err = {0};
        arena_init(&a, MIB(1));
        check_row("%s", rows[i].in);
        CHECK_INT(expfmt_parse(&e, slice_str(rows[i].in), &a, &err), ERR_SYNTAX);
        if (!strstr(err.msg, rows[i].says))
            CHECK_STR(slice_str(err.msg), rows[i].says);
        arena_free(&a);
    }
    check_row("too large");
    struct arena a;
    struct expfmt e;
    struct error err = {0};
    arena_init(&a, 8192);
    struct buf page;
    buf_init(&page, MIB(1));
    for (int i = 0; i < 5000; i++)
        buf_str(&page, "up{a=\"b\"} 1\n");
    CHECK_INT(expfmt_parse(&e, buf_slice(&page), &a, &err), ERR_LIMIT);
    buf_free(&page);
    arena_free(&a);
    check_done();
}

// What the exposition writes, the parser takes, and writes again.
static void own_pages(void **state)
{
    (void)state;
    static const char *const names[] = {"path"};
    struct sonde_registry *r = sonde_registry_new(SONDE_DYNAMO_PREFIX);
    sonde_registry_add_process(r, NULL);
    struct sonde_histogram_vec *v = sonde_histogram_vec_new(
        r, &(struct sonde_metric_options){.name = "seconds", .help = "a\\b\nc \"d\"", .label_names = names, .n_label_names = 1},
        NULL);
    sonde_histogram_observe(sonde_histogram_vec_with(v, SONDE_VALUES("\\\n\"ä")), 0.3);
    size_t n;
    char *page = sonde_registry_text(r, SONDE_EXPOSITION_TEXT, &n);
    struct arena a;
    struct expfmt e;
    struct buf out;
    arena_init(&a, MIB(1));
    buf_init(&out, MIB(1));
    assert_int_equal(expfmt_parse(&e, slice_of(page, n), &a, NULL), ERR_OK);
    expfmt_write(&e, &out);
    CHECK_SLICE(buf_slice(&out), slice_of(page, n));
    free(page);
    buf_free(&out);
    arena_free(&a);
    sonde_registry_free(r);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded), cmocka_unit_test(forms),  cmocka_unit_test(structure),
        cmocka_unit_test(joined),   cmocka_unit_test(faults), cmocka_unit_test(own_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
