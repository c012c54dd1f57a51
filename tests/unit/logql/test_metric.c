// Metric queries over batches in memory, with answers worked out by hand.
//
//   stream a, pod=1: a row each 10 s from 10 to 60, value v = 1 … 6, 10 bytes each ("v=1 b=1KB ", …)
//   stream a, pod=2: rows at 20, 40, 60 with v = 10, 20, 30
//   stream b:        rows at 30 and 50, JSON; the one at 50 broken
#include "rig.h"

static struct rig rig;

static int fill(void **state)
{
    char line[64];
    for (int i = 1; i <= 6; i++) {
        snprintf(line, sizeof line, "v=%d d=%ds x", i, i);
        rig_row(&rig, i * 10, "app=a,pod=1", i == 1 ? "user=amber" : "", line);
        if (i % 2 == 0) {
            snprintf(line, sizeof line, "v=%d", i * 5);
            rig_row(&rig, i * 10, "app=a,pod=2", "", line);
        }
        if (i == 3)
            rig_cut(&rig);
    }
    rig_row(&rig, 30, "app=b", "", "{\"k\":\"x\"}");
    rig_row(&rig, 50, "app=b", "", "{\"k\":");
    return 0;
}

static int empty(void **state)
{
    rig_free(&rig);
    return 0;
}

static const struct {
    struct rig_ask ask;
    const char *want;
} rows[] = {
    // windows are half open: (T - range, T]
    {{.query = "count_over_time({pod=\"1\"} | drop user [30s])", .end = 60}, "{app=a,pod=1} 3"},
    {{.query = "count_over_time({pod=\"1\"} | drop user [31s])", .end = 60}, "{app=a,pod=1} 4"},
    {{.query = "count_over_time({pod=\"1\"} | drop user [10s])", .end = 60}, "{app=a,pod=1} 1"},
    {{.query = "count_over_time({pod=\"1\"} | drop user [10s])", .end = 59.9}, "{app=a,pod=1} 1"},
    {{.query = "count_over_time({pod=\"1\"}[1m])", .end = 60}, "{app=a,pod=1} 5 ; {app=a,pod=1,user=amber} 1"},
    {{.query = "count_over_time({pod=\"2\"}[20s])", .start = 20, .end = 80, .step = 10}, "{app=a,pod=2} 1 1 1 1 1 1 _"},
    {{.query = "count_over_time({pod=\"2\"}[1m])", .start = 0, .end = 120, .step = 30}, "{app=a,pod=2} _ 1 3 2 _"},
    {{.query = "count_over_time({pod=\"2\"}[1m] offset 30s)", .start = 0, .end = 120, .step = 30}, "{app=a,pod=2} _ _ 1 3 2"},
    {{.query = "count_over_time({pod=\"2\"}[1m] offset -30s)", .start = 0, .end = 60, .step = 30}, "{app=a,pod=2} 1 3 2"},
    {{.query = "rate({pod=\"2\"}[1m])", .end = 60}, "{app=a,pod=2} 0.05"},
    {{.query = "bytes_over_time({pod=\"2\"}[1m])", .end = 60}, "{app=a,pod=2} 12"},
    {{.query = "bytes_rate({pod=\"2\"}[1m])", .end = 60}, "{app=a,pod=2} 0.2"},
    {{.query = "count_over_time({pod=\"2\"} |= \"v=2\" [1m])", .end = 60}, "{app=a,pod=2} 1"},
    {{.query = "count_over_time({app=\"nope\"}[1m])", .end = 60}, ""},
    // absent
    {{.query = "absent_over_time({app=\"nope\", pod=~\"x.*\"}[1m])", .end = 60}, "{app=nope} 1"},
    {{.query = "absent_over_time({app=\"nope\", app=\"x\"}[1m])", .end = 60}, "{} 1"},
    {{.query = "absent_over_time({pod=\"2\"}[10s])", .start = 20, .end = 60, .step = 10}, "{pod=2} _ 1 _ 1 _"},
    {{.query = "sum(absent_over_time({app=\"nope\"}[1m]))", .end = 60}, "{} 1"},
    // aggregations: in the last minute pod 1 has 6 rows, pod 2 has 3, b has 2
    {{.query = "sum(count_over_time({app=~\"a|b\"}[1m]))", .end = 60}, "{} 11"},
    {{.query = "sum by (app) (count_over_time({app=~\"a|b\"}[1m]))", .end = 60}, "{app=a} 9 ; {app=b} 2"},
    {{.query = "sum by (pod, nope) (count_over_time({app=~\"a|b\"}[1m]))", .end = 60}, "{} 2 ; {pod=1} 6 ; {pod=2} 3"},
    {{.query = "sum by (user) (count_over_time({app=\"a\"}[1m]))", .end = 60}, "{} 8 ; {user=amber} 1"},
    {{.query = "sum without (user) (count_over_time({app=\"a\"}[1m]))", .end = 60}, "{app=a,pod=1} 6 ; {app=a,pod=2} 3"},
    {{.query = "sum without (pod, user) (count_over_time({app=\"a\"}[1m]))", .end = 60}, "{app=a} 9"},
    {{.query = "avg(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{} 4.5"},
    {{.query = "min(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{} 3"},
    {{.query = "max(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{} 6"},
    {{.query = "count(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{} 2"},
    {{.query = "stddev(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{} 1.5"},
    {{.query = "stdvar(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{} 2.25"},
    {{.query = "topk(1, sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{pod=1} 6"},
    {{.query = "bottomk(1, sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{pod=2} 3"},
    {{.query = "topk(5, sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{pod=1} 6 ; {pod=2} 3"},
    {{.query = "topk by (app) (1, sum by (app, pod) (count_over_time({app=~\"a|b\"}[1m])))", .end = 60},
     "{app=a,pod=1} 6 ; {app=b} 2"},
    {{.query = "sort(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{pod=2} 3 ; {pod=1} 6"},
    {{.query = "sort_desc(sum by (pod) (count_over_time({app=\"a\"}[1m])))", .end = 60}, "{pod=1} 6 ; {pod=2} 3"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[20s]))", .start = 20, .end = 60, .step = 20},
     "{pod=1} 2 2 2 ; {pod=2} 1 1 1"},
    // unwrap: values of pod 1 in the last 30 s are 4, 5, 6
    {{.query = "sum_over_time({pod=\"1\"} | logfmt | keep pod, v | unwrap v [30s])", .end = 60}, "{pod=1} 15"},
    {{.query = "avg_over_time({pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} 5"},
    {{.query = "min_over_time({pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} 4"},
    {{.query = "max_over_time({pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} 6"},
    {{.query = "first_over_time({pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} 4"},
    {{.query = "last_over_time({pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} 6"},
    {{.query = "stdvar_over_time({pod=\"1\"} | logfmt | unwrap v [20s]) by (pod)", .end = 60}, "{pod=1} 0.25"},
    {{.query = "stddev_over_time({pod=\"1\"} | logfmt | unwrap v [20s]) by (pod)", .end = 60}, "{pod=1} 0.5"},
    {{.query = "quantile_over_time(0.5, {app=\"a\"} | logfmt | unwrap v [1m]) by (app)", .end = 60}, "{app=a} 5"},
    {{.query = "quantile_over_time(0.25, {pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} 4.5"},
    {{.query = "quantile_over_time(2, {pod=\"1\"} | logfmt | unwrap v [30s]) by (pod)", .end = 60}, "{pod=1} +Inf"},
    {{.query = "sum_over_time({pod=\"1\"} | logfmt | keep pod, d | unwrap duration(d) [30s])", .end = 60}, "{pod=1} 15"},
    {{.query = "rate({pod=\"1\"} | logfmt | keep pod, v | unwrap v [30s])", .end = 60}, "{pod=1} 0.5"},
    {{.query = "rate_counter({pod=\"1\"} | logfmt | keep pod, v | unwrap v [20s])", .end = 60}, "{pod=1} 0.1"},
    {{.query = "sum_over_time({app=\"a\"} | logfmt | unwrap v | pod=\"2\" [1m])", .end = 60}, "{app=a,pod=2} 60"},
    {{.query = "sum by (pod) (sum_over_time({app=\"a\"} | logfmt | unwrap v [20s]))", .start = 20, .end = 60, .step = 20},
     "{pod=1} 3 7 11 ; {pod=2} 10 20 30"},
    {{.query = "sum_over_time({app=\"a\"} | unwrap nope [1m])", .end = 60}, ""},
    // errors in lines
    {{.query = "count_over_time({app=\"b\"} | json [1m])", .end = 60},
     "error: pipeline error: JSONParserErr (not a JSON object: byte 5) in line \"{\"k\":\": filter such lines with | "
     "__error__=\"\", or drop the label with | "
     "drop __error__"},
    {{.query = "count_over_time({app=\"b\"} | json | __error__=\"\" [1m])", .end = 60}, "{app=b,k=x} 1"},
    {{.query = "sum(count_over_time({app=\"b\"} | json [1m]))", .end = 60}, "{} 2"}, // nobody needs the parser
    {{.query = "sum by (app) (count_over_time({app=\"b\"} | json | __error__=~\".+\" [1m]))", .end = 60}, "{app=b} 1"},
    {{.query = "sum by (k) (count_over_time({app=\"b\"} | json | drop __error__ [1m]))", .end = 60}, "{} 1 ; {k=x} 1"},
    // only labels that someone looks at are read out of lines: the answer must not show it
    {{.query = "sum by (v) (count_over_time({app=\"a\"} | logfmt | d=\"2s\" or pod_extracted=\"x\" [1m]))", .end = 60},
     "{v=2} 1"},
    {{.query = "sum(count_over_time({pod=\"1\"} | logfmt | v > 4 [1m]))", .end = 60}, "{} 2"},
    {{.query = "sum by (x) (count_over_time({pod=\"1\"} | logfmt | label_format x=v | v=\"\" | x > 4 [1m]))", .end = 60},
     "{x=5} 1 ; {x=6} 1"},
    {{.query = "sum by (app_extracted) (count_over_time({app=\"b\"} | json app=\"k\" | __error__=\"\" [1m]))", .end = 60},
     "{app_extracted=x} 1"},
    // binary operations
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) * 2", .end = 60}, "{pod=1} 12 ; {pod=2} 6"},
    {{.query = "10 - sum by (pod) (count_over_time({app=\"a\"}[1m]))", .end = 60}, "{pod=1} 4 ; {pod=2} 7"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) > 4", .end = 60}, "{pod=1} 6"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) > bool 4", .end = 60}, "{pod=1} 1 ; {pod=2} 0"},
    {{.query = "4 < sum by (pod) (count_over_time({app=\"a\"}[1m]))", .end = 60}, "{pod=1} 6"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) / 0", .end = 60}, "{pod=1} NaN ; {pod=2} NaN"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) / sum by (pod) (count_over_time({app=\"a\"}[20s]))", .end = 60},
     "{pod=1} 3 ; {pod=2} 3"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) / ignoring(pod) group_left sum(count_over_time({app=\"a\"}[1m]))",
      .end = 60},
     "{pod=1} 0.6666666666666666 ; {pod=2} 0.3333333333333333"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) and sum by (pod) (count_over_time({pod=\"2\"}[1m]))", .end = 60},
     "{pod=2} 3"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) unless sum by (pod) (count_over_time({pod=\"2\"}[1m]))",
      .end = 60},
     "{pod=1} 6"},
    {{.query = "sum by (pod) (count_over_time({pod=\"2\"}[1m])) or vector(0)", .end = 60}, "{} 0 ; {pod=2} 3"},
    {{.query = "sum by (pod) (count_over_time({app=\"a\"}[1m])) + on() sum by (pod) (count_over_time({app=\"a\"}[1m]))",
      .end = 60},
     "error: "},
    {{.query =
          "sum by (pod) (count_over_time({app=\"a\"}[1m])) + on() group_left sum by (pod) (count_over_time({app=\"a\"}[1m]))",
      .end = 60},
     "error: "},
    {{.query = "label_replace(sum by (pod) (count_over_time({app=\"a\"}[1m])), \"p\", \"<$1>\", \"pod\", \"(.*)\")", .end = 60},
     "{p=<1>,pod=1} 6 ; {p=<2>,pod=2} 3"},
    {{.query = "label_replace(sum by (pod) (count_over_time({app=\"a\"}[1m])), \"pod\", \"\", \"pod\", \"1\")", .end = 60},
     "{} 6 ; {pod=2} 3"},
    {{.query = "label_replace(sum by (pod) (count_over_time({app=\"a\"}[1m])), \"pod\", \"x\", \"pod\", \".*\")", .end = 60},
     "error: "},
    {{.query = "1 + 1", .end = 60}, "{} 2"},
    {{.query = "vector(3)", .start = 0, .end = 20, .step = 10}, "{} 3 3 3"},
};

static void answers(void **state)
{
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        check_row("%s", rows[i].ask.query);
        rig_answer(&rig, &rows[i].ask, &b);
        struct slice got = buf_slice(&b);
        if (strcmp(rows[i].want, "error: ") == 0) // whatever the words
            got = slice_cut(got, 7);
        CHECK_STR(got, rows[i].want);
        buf_free(&b);
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, fill, empty);
}
