// Log queries over batches in memory: every stage, order, limit.
#include "rig.h"

static struct rig rig;

static int fill(void **state)
{
    rig_row(&rig, 1, "app=j", "", "{\"l\":\"info\",\"n\":5,\"u\":{\"name\":\"amber\",\"tags\":[1,2]},\"x\":null}");
    rig_row(&rig, 2, "app=j", "", "{\"l\":\"warn\",\"app\":\"clash\",\"l\":\"second\"}");
    rig_row(&rig, 3, "app=j", "", "{\"l\":\"cut\",\"m\":");
    rig_row(&rig, 4, "app=f", "", "lvl=info d=15ms s=1KB ip=10.0.0.1 n=7 msg=\"a \\\"b\\\"\" e=");
    rig_cut(&rig);
    rig_row(&rig, 5, "app=f", "", "lvl=error d=fast s=huge ip=none n=x");
    rig_row(&rig, 6, "app=f", "", "lvl=warn a=\"open");
    rig_row(&rig, 7, "app=m", "trace=t1,a.b=dots,9x=d", "meta one");
    rig_row(&rig, 8, "app=m", "app=clash", "meta two");
    rig_row(&rig, 9, "app=m", "", "plain \x1b[31mred\x1b[0m");
    rig_row(&rig, 10, "app=tie", "", "t0");
    rig_row(&rig, 10, "app=tie", "", "t1");
    rig_cut(&rig);
    rig_row(&rig, 10, "app=tie", "", "t2");
    rig_row(&rig, 11, "app=tie", "", "t3");
    rig_row(&rig, 12, "app=p", "", "10.0.0.1 - amber \"GET /x\" 200");
    rig_row(&rig, 13, "app=p", "", "{\"_entry\":\"inner k=v\",\"pod\":\"p1\",\"n\":3}");
    rig_row(&rig, 14, "app=p", "", "{\"pod\":\"no entry\"}");
    return 0;
}

static int empty(void **state)
{
    rig_free(&rig);
    return 0;
}

static const struct {
    const char *query, *want;
} rows[] = {
    // json
    {"{app=\"j\"} | json | l=\"info\"",
     "{app=j,l=info,n=5,u_name=amber} {\"l\":\"info\",\"n\":5,\"u\":{\"name\":\"amber\",\"tags\":[1,2]},\"x\":null}"},
    {"{app=\"j\"} | json | l=\"warn\" | line_format \"x\"", "{app=j,app_extracted=clash,l=warn} x"},
    {"{app=\"j\"} | json | l=\"cut\" | drop __error_details__ | line_format \"x\"", "{__error__=JSONParserErr,app=j,l=cut} x"},
    {"{app=\"j\"} | json | __error__=\"\" | keep l | line_format \"x\"", "{l=info} x ; {l=warn} x"},
    {"{app=\"j\"} |= \"amber\" | json who=\"u.name\", t=\"u.tags[1]\", none=\"u.nope\", obj=\"u.tags\" | line_format \"x\"",
     "{app=j,none=,obj=[1,2],t=2,who=amber} x"},
    {"{app=\"j\"} | json n | n > 4 | line_format \"x\" | drop __error__",
     "{app=j,n=5} x ; {app=j,n=} x ; {app=j,n=} x"}, // an empty label is no number: let through
    {"{app=\"j\"} | json | n == 5 | keep n | line_format \"{{.n}}-{{.nope}}-{{.u_name}}\"", "{n=5} 5--"},
    // logfmt
    {"{app=\"f\"} | logfmt | lvl=\"info\" | drop d, s, ip, n",
     "{app=f,lvl=info,msg=a \"b\"} lvl=info d=15ms s=1KB ip=10.0.0.1 n=7 msg=\"a \\\"b\\\"\" e="},
    {"{app=\"f\"} | logfmt --keep-empty | lvl=\"info\" | keep e, lvl | line_format \"x\"", "{e=,lvl=info} x"},
    {"{app=\"f\"} | logfmt --strict | lvl=\"warn\" | drop __error_details__ | line_format \"x\"",
     "{__error__=LogfmtParserErr,app=f,lvl=warn} x"},
    {"{app=\"f\"} | logfmt | lvl=\"warn\" | line_format \"x\"", "{app=f,lvl=warn} x"},
    {"{app=\"f\"} | logfmt level=\"lvl\", zip | line_format \"x\"",
     "{app=f,level=info,zip=} x ; {app=f,level=error,zip=} x ; {app=f,level=warn,zip=} x"},
    // label filters
    {"{app=\"f\"} | logfmt | d > 10ms | __error__=\"\" | keep lvl | line_format \"x\"", "{lvl=info} x"},
    {"{app=\"f\"} | logfmt | d > 1h | keep lvl, __error__ | drop __error_details__ | line_format \"x\"",
     "{__error__=LabelFilterErr,lvl=error} x"},
    {"{app=\"f\"} | logfmt | s >= 1000B | __error__=\"\" | keep lvl | line_format \"x\"", "{lvl=info} x"},
    {"{app=\"f\"} | logfmt | n = 7 | __error__=\"\" | keep lvl | line_format \"x\"", "{lvl=info} x"},
    {"{app=\"f\"} | logfmt | n=\"7\" | keep lvl | line_format \"x\"", "{lvl=info} x"},
    {"{app=\"f\"} | logfmt | nope != 7 | keep lvl", ""},
    {"{app=\"f\"} | logfmt | nope = \"\" | keep lvl | line_format \"x\"", "{lvl=info} x ; {lvl=error} x ; {lvl=warn} x"},
    {"{app=\"f\"} | logfmt | ip=ip(\"10.0.0.0/8\") | keep lvl | line_format \"x\"", "{lvl=info} x"},
    {"{app=\"f\"} | logfmt | lvl=~\"in.*|warn\" | keep lvl | line_format \"x\"", "{lvl=info} x ; {lvl=warn} x"},
    {"{app=\"f\"} | logfmt | lvl!~\"in.*|warn\" | keep lvl | line_format \"x\"", "{lvl=error} x"},
    {"{app=\"f\"} | logfmt | lvl=\"warn\" or lvl=\"info\" and n > 5 | keep lvl | line_format \"x\"",
     "{lvl=info} x ; {lvl=warn} x"},
    {"{app=\"f\"} | logfmt | (lvl=\"warn\" or lvl=\"info\") and n > 5 | keep lvl | line_format \"x\"", "{lvl=info} x"},
    {"{app=\"f\"} | lvl=\"info\"", ""},
    // line filters between parsers
    {"{app=\"f\"} | logfmt |= \"open\" | keep lvl | line_format \"x\"", "{lvl=warn} x"},
    {"{app=\"f\"} != \"info\" !~ \"err.r\" | logfmt | keep lvl | line_format \"x\"", "{lvl=warn} x"},
    {"{app=\"tie\"} |~ \"[12]$\"", "{app=tie} t1 ; {app=tie} t2"},
    // metadata
    {"{app=\"m\"} | trace=\"t1\"", "{a_b=dots,app=m,key_9x=d,trace=t1} meta one"},
    {"{app=\"m\"} | app_extracted=\"clash\"", "{app=m,app_extracted=clash} meta two"},
    {"{app=\"m\"} | trace=\"\" | keep app | line_format \"x\"", "{app=m} x ; {app=m} x"},
    {"{app=\"m\"} |= \"one\" | label_format tid=trace | keep tid, trace", "{tid=t1} meta one"},
    {"{app=\"m\"} |= \"one\" | label_format tid=\"<{{.trace}}>\" | keep tid, trace", "{tid=<t1>,trace=t1} meta one"},
    {"{app=\"m\"} |= \"one\" | drop trace, a_b=\"other\", key_9x=~\"d\"", "{a_b=dots,app=m} meta one"},
    {"{app=\"m\"} |= \"red\" | decolorize", "{app=m} plain red"},
    // regexp, pattern, unpack
    {"{app=\"p\"} | pattern `<ip> - <user> \"<_> <path>\" <st>` | st=200 | line_format \"x\"",
     "{app=p,ip=10.0.0.1,path=/x,st=200,user=amber} x"},
    {"{app=\"p\"} | regexp `(?P<verb>GET|POST) (?P<path>\\S+)\"` | verb!=\"\" | line_format \"x\"", "{app=p,path=/x,verb=GET} x"},
    {"{app=\"p\"} |= \"_entry\" | unpack | logfmt", "{app=p,k=v,pod=p1} inner k=v"},
    {"{app=\"p\"} |= \"no entry\" | unpack", "{app=p} {\"pod\":\"no entry\"}"},
    {"{app=\"p\"} | json | __error__=\"JSONParserErr\" | drop __error__ | line_format \"x\"", "{app=p} x"},
    // selectors
    {"{app=~\"m|tie\", app!=\"m\"} |= \"t3\"", "{app=tie} t3"},
    {"{app=\"tie\", nope=\"\"} |= \"t3\"", "{app=tie} t3"},
    {"{app=\"nope\"}", ""},
};

static void answers(void **state)
{
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        check_row("%s", rows[i].query);
        rig_answer(&rig, &(struct rig_ask){.query = rows[i].query, .end = 100}, &b);
        CHECK_STR(buf_slice(&b), rows[i].want);
        buf_free(&b);
    }
    check_done();
}

static void order(void **state)
{
    static const struct {
        struct rig_ask ask;
        const char *want;
    } asks[] = {
        {{.query = "{app=\"tie\"}", .end = 100}, "{app=tie} t0 ; {app=tie} t1 ; {app=tie} t2 ; {app=tie} t3"},
        {{.query = "{app=\"tie\"}", .end = 100, .backward = true}, "{app=tie} t3 ; {app=tie} t2 ; {app=tie} t1 ; {app=tie} t0"},
        {{.query = "{app=\"tie\"}", .end = 100, .limit = 2}, "{app=tie} t0 ; {app=tie} t1"},
        {{.query = "{app=\"tie\"}", .end = 100, .limit = 3, .backward = true}, "{app=tie} t3 ; {app=tie} t2 ; {app=tie} t1"},
        {{.query = "{app=\"tie\"}", .end = 11}, "{app=tie} t0 ; {app=tie} t1 ; {app=tie} t2"}, // end is exclusive
        {{.query = "{app=\"tie\"}", .start = 11, .end = 12}, "{app=tie} t3"},                  // start is inclusive
        {{.query = "{app=\"tie\"}", .end = 100, .interval = 1}, "{app=tie} t0 ; {app=tie} t3"},
        {{.query = "{app=\"tie\"}", .end = 100, .interval = 1, .backward = true}, "{app=tie} t3 ; {app=tie} t2"},
        {{.query = "{app=\"tie\"}", .end = 100, .interval = 1, .limit = 1}, "{app=tie} t0"},
        {{.query = "{app=\"m\"} |= \"one\"", .end = 100, .from = true}, "{a_b=dots:m,app=m:s,key_9x=d:m,trace=t1:m} meta one"},
        {{.query = "{app=\"m\"} |= \"one\" | regexp \"(?P<trace>meta)\" | keep app, trace, trace_extracted",
          .end = 100,
          .from = true},
         "{app=m:s,trace=t1:m,trace_extracted=meta:p} meta one"},
    };
    for (size_t i = 0; i < CHECK_ROWS(asks); i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        check_row("%s limit %u backward %d", asks[i].ask.query, asks[i].ask.limit, asks[i].ask.backward);
        rig_answer(&rig, &asks[i].ask, &b);
        CHECK_STR(buf_slice(&b), asks[i].want);
        buf_free(&b);
    }
    check_done();
}

// Records of OTLP: fields of the model and attributes of the resource show up as metadata.
static void otlp_fields(void **state)
{
    struct rig r = {0};
    struct batch *b = r.batches[r.n++] = batch_new(SIGNAL_LOG, MIB(1));
    struct label l[] = {{SLICE("service_name"), SLICE("svc")}};
    struct attr a[] = {{SLICE("service.name"), {.kind = COL_STR, .s = SLICE("svc")}},
                       {SLICE("process.pid"), {.kind = COL_I64, .i64 = 42}}};
    uint32_t res = batch_resource(b, l, 1, a, 2);
    batch_row(b, 1000000000, res);
    batch_field_str(b, FIELD_BODY, SLICE("hello"));
    batch_field_i64(b, FIELD_SEVERITY, 9);
    batch_field_str(b, FIELD_SEVERITY_TEXT, SLICE("INFO"));
    batch_field_i64(b, FIELD_FLAGS, 0);
    batch_field_id128(b, FIELD_TRACE_ID, (struct id128){1, 2});
    batch_field_id64(b, FIELD_SPAN_ID, 3);
    batch_set(b, COL_ATTR, SLICE("http.status"), (struct value){.kind = COL_I64, .i64 = 200});
    batch_set(b, COL_ATTR, SLICE("ok"), (struct value){.kind = COL_BOOL, .b = true});
    r.open = true;
    struct buf out;
    buf_init(&out, 1 << 16);
    rig_answer(&r, &(struct rig_ask){.query = "{service_name=\"svc\"} | http_status >= 200", .end = 10}, &out);
    check_row("otlp");
    CHECK_STR(buf_slice(&out),
              "{detected_level=info,http_status=200,ok=true,process_pid=42,service_name=svc,severity_number=9,severity_text=INFO,"
              "span_id=0000000000000003,trace_id=00000000000000010000000000000002} hello");
    buf_free(&out);
    rig_free(&r);
    check_done();
}

static void cancels(void **state)
{
    struct query q;
    struct query_limits limits;
    struct error err = {0};
    struct batch_list list = {(const struct batch *const *)rig.batches, rig.n};
    struct logql_plan *p;
    struct log_result r;
    query_limits_default(&limits);
    query_init(&q, query_source_batches(&list), SLICE("t"), &limits, NULL);
    assert_int_equal(logql_compile(&p, SLICE("{app=\"tie\"}"), 0, NULL), ERR_OK);
    p->logs.to = INT64_MAX;
    p->logs.limit = 10;
    query_cancel(&q);
    assert_int_equal(log_query_run(&q, &p->logs, &r, &err), ERR_CANCELLED);
    assert_int_equal(r.n, 0);
    query_free(&q);
    limits.timeout_ns = 1;
    query_init(&q, query_source_batches(&list), SLICE("t"), &limits, NULL);
    assert_int_equal(log_query_run(&q, &p->logs, &r, NULL), ERR_TIMEOUT);
    query_free(&q);
    logql_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers), cmocka_unit_test(order), cmocka_unit_test(otlp_fields),
                                       cmocka_unit_test(cancels)};
    return cmocka_run_group_tests(tests, fill, empty);
}
