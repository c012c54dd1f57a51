// The exporter against a collector made of our HTTP server: what arrives, retries, refusals, absence.
#define SONDE_TARGET "tests::unit::sdk::test_export" // whatever the build directory is
#include "check.h"
#include "child.h"
#include "event/wire.h"
#include "net/http.h"
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sonde/sonde.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

// ---- the collector: a process of its own, so that the children are those of a process without threads, as sanitizers need it
// -----
enum { KEEP = 64, BODIES = 64 << 20 };
static struct got {
    pthread_mutex_t lock;
    struct slice body[KEEP];
    bool is_logs[KEEP];
    char header[200];
    int n, fail, fail_status, rejected, port;
    int64_t first_at;
    size_t used;
    char bytes[BODIES];
} * got; // shared by both
static pid_t collector;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void receive(struct http_req *req, void *arg)
{
    bool grpc = slice_find(req->path, SLICE("opentelemetry")) >= 0;
    bool logs = arg != NULL;
    pthread_mutex_lock(&got->lock);
    int fail = got->fail > 0 ? got->fail-- : 0;
    if (!fail && got->n < KEEP && req->body.n <= BODIES - got->used) {
        got->is_logs[got->n] = logs;
        char *copy = got->bytes + got->used;
        memcpy(copy, req->body.p, req->body.n); // the mapping lies at the same place in both
        got->used += req->body.n;
        got->body[got->n++] = slice_of(copy, req->body.n);
        snprintf(got->header, sizeof got->header, "%.*s", (int)http_req_header(req, SLICE("x-tenant")).n,
                 http_req_header(req, SLICE("x-tenant")).p);
        if (!got->first_at)
            got->first_at = now_ns();
    }
    int status = got->fail_status;
    char partial[4] = {0x0a, 2, 8, (char)got->rejected}; // {1 {1 rejected}}
    struct slice reply = slice_of(partial, got->rejected ? 4 : 0);
    pthread_mutex_unlock(&got->lock);
    if (fail && grpc)
        grpc_reply(req, (enum grpc_status)status, "not now", SLICE_NONE);
    else if (fail)
        http_reply(req, status, SLICE("text/plain"), SLICE("not now"));
    else if (grpc)
        grpc_reply(req, GRPC_OK, "", reply);
    else
        http_reply(req, 200, SLICE("application/x-protobuf"), reply);
}

static const struct http_route routes[] = {
    {"POST", "/v1/traces", receive, NULL, 64 << 20, "traces"},
    {"POST", "/v1/logs", receive, "logs", 64 << 20, "logs"},
    {"GRPC", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", receive, NULL, 64 << 20, "traces"},
    {"GRPC", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", receive, "logs", 64 << 20, "logs"},
};

static void collect(void)
{
    struct http_server *server;
    struct loop *loop;
    struct http_server_options o = {.routes = routes, .n_routes = 4};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (loop_new(&loop, NULL) != ERR_OK || http_server_new(&server, "127.0.0.1:0", &loop, 1, &o, NULL) != ERR_OK)
        _exit(1);
    __atomic_store_n(&got->port, http_server_port(server), __ATOMIC_RELEASE);
    loop_run(loop);
    _exit(0);
}

static int start_collector(void **state)
{
    pthread_mutexattr_t attr;
    got = child_shared(sizeof *got);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&got->lock, &attr);
    if (child_setup(state))
        return 1;
    collector = fork();
    if (collector == 0)
        collect();
    for (int i = 0; !__atomic_load_n(&got->port, __ATOMIC_ACQUIRE) && i < 10000; i++)
        usleep(1000);
    return got->port == 0;
}

static int stop_collector(void **state)
{
    kill(collector, SIGKILL);
    waitpid(collector, NULL, 0);
    return child_teardown(state);
}

static void forget(void)
{
    pthread_mutex_lock(&got->lock);
    got->n = got->fail = got->rejected = 0;
    got->used = 0;
    got->fail_status = 503;
    got->first_at = 0;
    pthread_mutex_unlock(&got->lock);
}

// ---- what the child does --------------------------------------------------------------------------------------------
struct plan {
    char endpoint[64], protocol[64], extra[3][80];
    unsigned shutdown_ms;
    int lines, linger_ms;
    bool ok;        // what shutdown returned
    double seconds; // it took
    struct sonde_counts counts;
};

static int emit(void *arg)
{
    struct plan *p = arg;
    sonde_init(&(struct sonde_options){.service = "decode worker", .resource = "component=decode,gpu=0"});
    struct sonde_context remote = {.flags = 1, .remote = true, .tracestate = "a=1"};
    memset(remote.trace_id, 0xab, 16);
    memset(remote.span_id, 0xcd, 8);
    sonde_set_request_id(&remote, "demo-42", 7);
    struct sonde_span *s = sonde_span_start("handle_payload", SONDE_KIND_SERVER, &remote);
    sonde_span_enter(s);
    sonde_span_str(s, "component", "decode");
    sonde_span_int(s, "tokens", -5);
    sonde_span_f64(s, "ttft_ms", 1.5);
    sonde_span_bool(s, "stream", true);
    sonde_span_event(s, "first token");
    sonde_span_status(s, SONDE_STATUS_ERROR, "gave up");
    struct sonde_span *child = sonde_span_start_at("generate", SONDE_KIND_INTERNAL, NULL, 1000);
    SONDE_WARN("slow", SONDE_STR("worker", "w\xff"), SONDE_UINT("big", UINT64_MAX), SONDE_INT("n", 7), SONDE_F64("ms", 2.5),
               SONDE_BOOL("b", false));
    sonde_span_end_at(child, 3000);
    sonde_span_end(s);
    for (int i = 0; i < p->lines; i++)
        SONDE_INFO("line", SONDE_INT("i", i));
    usleep((unsigned)p->linger_ms * 1000);
    int64_t start = now_ns();
    p->ok = sonde_shutdown(p->shutdown_ms);
    p->seconds = (double)(now_ns() - start) * 1e-9;
    sonde_counts_get(&p->counts);
    return 0;
}

static struct plan *plan_new(const char *protocol)
{
    struct plan *p = child_shared(sizeof *p);
    snprintf(p->endpoint, sizeof p->endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", got->port);
    snprintf(p->protocol, sizeof p->protocol, "OTEL_EXPORTER_OTLP_PROTOCOL=%s", protocol);
    p->shutdown_ms = 5000;
    for (int i = 0; i < 3; i++)
        snprintf(p->extra[i], sizeof p->extra[i], "UNUSED_%d=1", i);
    return p;
}

static void run_plan(struct plan *p, struct buf *out)
{
    const char *env[] = {
        "OTEL_EXPORT_ENABLED=true", "TZ=UTC", p->endpoint, p->protocol, p->extra[0], p->extra[1], p->extra[2], NULL};
    int rc = child_run(emit, p, env, out);
    if (rc)
        fprintf(stderr, "%.3000s\n", out->p ? out->p : "");
    assert_int_equal(rc, 0);
}

// ---- what arrived ---------------------------------------------------------------------------------------------------
static struct batch *decode(int i)
{
    struct batch *b = NULL;
    struct wire_report report = {0};
    struct error err = {0};
    struct wire_options opt = {.received_ns = 1};
    enum wire_format f = got->is_logs[i] ? WIRE_OTLP_LOGS_PB : WIRE_OTLP_TRACES_PB;
    if (wire_decode(f, got->body[i], true, &opt, &b, &report, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(report.rejected, 0);
    return b;
}

static void attr_is(const struct batch *b, uint32_t row, const char *key, const char *want)
{
    struct value v;
    struct buf text;
    buf_init(&text, 4096);
    check_row("attribute %s", key);
    if (CHECK(batch_attr(b, COL_ATTR, slice_str(key), row, &v))) {
        value_text(&text, &v);
        CHECK_STR(buf_slice(&text), want);
    }
    buf_free(&text);
}

static struct slice text_of(const struct batch *b, enum field f, uint32_t row)
{
    return column_str(b->field[f], row);
}

static void check_resource(const struct batch *b)
{
    static const char *const want[][2] = {{"service.name", "decode worker"},
                                          {"component", "decode"},
                                          {"gpu", "1"},
                                          {"telemetry.sdk.name", "sonde"},
                                          {"telemetry.sdk.language", "c"}};
    assert_int_equal(b->n_resources, 1);
    for (size_t i = 0; i < CHECK_ROWS(want); i++) {
        const struct attr *a = resource_attr(&b->resources[0], slice_str(want[i][0]));
        check_row("resource %s", want[i][0]);
        if (CHECK(a != NULL))
            CHECK_STR(a->value.s, want[i][1]);
    }
    CHECK(resource_attr(&b->resources[0], SLICE("service.instance.id")) != NULL);
}

static void check_logs(const struct batch *b)
{
    uint32_t r = 0;
    check_resource(b);
    check_row("log record");
    CHECK_INT(b->rows, 1);
    CHECK_STR(text_of(b, FIELD_BODY, r), "slow");
    CHECK_STR(text_of(b, FIELD_SEVERITY_TEXT, r), "WARN");
    CHECK_INT(column_i64(b->field[FIELD_SEVERITY], r, 0), 13);
    CHECK_STR(text_of(b, FIELD_SCOPE_NAME, r), "tests::unit::sdk::test_export");
    CHECK(slice_find(text_of(b, FIELD_EVENT_NAME, r), SLICE("event ")) == 0);
    CHECK(slice_find(text_of(b, FIELD_EVENT_NAME, r), SLICE("tests/unit/sdk/test_export.c:")) > 0);
    CHECK(b->time[r] > 1700000000000000000 && column_i64(b->field[FIELD_OBSERVED], r, 0) >= b->time[r]);
    CHECK(column_id128(b->field[FIELD_TRACE_ID], r).lo == 0xababababababababull);
    CHECK(column_id64(b->field[FIELD_SPAN_ID], r) != 0xcdcdcdcdcdcdcdcdull);
    attr_is(b, r, "worker", "w\xef\xbf\xbd");
    attr_is(b, r, "big", "18446744073709551615");
    attr_is(b, r, "n", "7");
    attr_is(b, r, "ms", "2.5");
    attr_is(b, r, "b", "false");
    attr_is(b, r, "x_request_id", "demo-42");
}

static void check_spans(const struct batch *b)
{
    check_resource(b);
    check_row("spans");
    CHECK_INT(b->rows, 2); // in the order of ending
    uint32_t child = 0, s = 1;
    CHECK_STR(text_of(b, FIELD_NAME, child), "generate");
    CHECK_STR(text_of(b, FIELD_NAME, s), "handle_payload");
    CHECK_INT(b->time[child], 1000);
    CHECK_INT(column_i64(b->field[FIELD_DURATION], child, 0), 2000);
    CHECK_INT(column_i64(b->field[FIELD_KIND], s, 0), SONDE_KIND_SERVER);
    CHECK(column_id64(b->field[FIELD_PARENT_ID], s) == 0xcdcdcdcdcdcdcdcdull);
    CHECK(column_id64(b->field[FIELD_PARENT_ID], child) == column_id64(b->field[FIELD_SPAN_ID], s));
    CHECK(id128_eq(column_id128(b->field[FIELD_TRACE_ID], s), column_id128(b->field[FIELD_TRACE_ID], child)));
    CHECK_STR(text_of(b, FIELD_TRACE_STATE, s), "a=1");
    CHECK_INT(column_i64(b->field[FIELD_STATUS], s, 0), SONDE_STATUS_ERROR);
    CHECK_STR(text_of(b, FIELD_STATUS_MESSAGE, s), "gave up");
    struct slice events = text_of(b, FIELD_EVENTS, s);
    struct span_event e;
    if (CHECK(span_event_next(&events, &e)))
        CHECK_STR(e.name, "first token");
    attr_is(b, s, "component", "decode");
    attr_is(b, s, "tokens", "-5");
    attr_is(b, s, "ttft_ms", "1.5");
    attr_is(b, s, "stream", "true");
    attr_is(b, s, "x_request_id", "demo-42");
    attr_is(b, child, "x_request_id", "demo-42");
}

static void delivered(const char *protocol)
{
    struct plan *p = plan_new(protocol);
    struct buf out;
    forget();
    snprintf(p->extra[0], sizeof p->extra[0], "OTEL_EXPORTER_OTLP_HEADERS=X-Tenant=team%%201,bad header=1");
    snprintf(p->extra[1], sizeof p->extra[1], "OTEL_RESOURCE_ATTRIBUTES=gpu=1");
    run_plan(p, &out);
    assert_true(p->ok);
    assert_int_equal(p->counts.export_spans_sent, 2);
    assert_int_equal(p->counts.export_logs_sent, 1);
    assert_int_equal(p->counts.export_logs_dropped + p->counts.export_spans_dropped, 0);
    assert_string_equal(got->header, "team 1");
    assert_non_null(strstr(out.p, "'bad' is left out"));
    assert_int_equal(got->n, 2);
    for (int i = 0; i < 2; i++) {
        struct batch *b = decode(i);
        got->is_logs[i] ? check_logs(b) : check_spans(b);
        batch_unref(b);
    }
    buf_free(&out);
    check_done();
}

static void over_grpc(void **state)
{
    (void)state;
    delivered("grpc");
}
static void over_http(void **state)
{
    (void)state;
    delivered(" HTTP/protobuf ");
}

static int logs_received(void)
{
    int n = 0;
    for (int i = 0; i < got->n; i++) {
        if (got->is_logs[i]) {
            struct batch *b = decode(i);
            n += (int)b->rows;
            batch_unref(b);
        }
    }
    return n;
}

// ---- what an error brings out ---------------------------------------------------------------------------------------
enum { STEPS = 5 };

// Two requests at once: one ends well, one fails and fails again.
static int requests(void *arg)
{
    struct plan *p = arg;
    struct sonde_context fresh = {.flags = 1};
    sonde_init(NULL);
    struct sonde_span *good = sonde_span_start("good", SONDE_KIND_SERVER, &fresh),
                      *bad = sonde_span_start("bad", SONDE_KIND_SERVER, &fresh);
    for (int i = 0; i < STEPS; i++) {
        struct sonde_span *s[] = {good, bad};
        for (int k = 0; k < 2; k++) {
            sonde_span_enter(s[k]);
            SONDE_DEBUG("step", SONDE_INT("i", i), SONDE_BOOL("bad", k));
            SONDE_TRACE("detail", SONDE_INT("i", i), SONDE_BOOL("bad", k));
            SONDE_INFO("told", SONDE_INT("i", i), SONDE_BOOL("bad", k));
            sonde_span_exit(s[k]);
        }
    }
    sonde_span_enter(bad);
    SONDE_ERROR("failed", SONDE_INT("i", 0));
    SONDE_DEBUG("step", SONDE_INT("i", STEPS), SONDE_BOOL("bad", true));
    SONDE_ERROR("failed", SONDE_INT("i", 1));
    sonde_span_end(bad);
    sonde_span_end(good);
    p->ok = sonde_shutdown(5000);
    sonde_counts_get(&p->counts);
    return 0;
}

static int64_t int_attr(const struct batch *b, uint32_t row, const char *key)
{
    struct value v;
    return batch_attr(b, COL_ATTR, slice_str(key), row, &v) ? v.kind == COL_BOOL ? v.b : v.i64 : -1;
}

static void retro(void **state)
{
    (void)state;
    // What must arrive, in this order (told ones aside): the held records of the failed trace once, before the error; those of
    // the time between before the second one.
    int next = 0, told = 0, retro_rows = 0;
    struct plan *p = plan_new("grpc");
    struct buf out;
    const char *env[] = {"OTEL_EXPORT_ENABLED=true", p->endpoint, p->protocol, NULL};
    forget();
    assert_int_equal(child_run(requests, p, env, &out), 0);
    assert_true(p->ok);
    for (int i = 0; i < got->n; i++) {
        struct batch *b = got->is_logs[i] ? decode(i) : NULL;
        for (uint32_t r = 0; b && r < b->rows; r++) {
            static const char *const words[] = {"step", "detail"};
            struct slice body = text_of(b, FIELD_BODY, r);
            bool is_retro = int_attr(b, r, "retro") == 1;
            retro_rows += is_retro;
            if (slice_eq(body, SLICE("told"))) {
                told++;
                CHECK(!is_retro);
                continue;
            }
            check_row("row %d: %.*s %d", next, (int)body.n, body.p, (int)int_attr(b, r, "i"));
            const char *want = next < 2 * STEPS ? words[next % 2] : next == 2 * STEPS + 1 ? "step" : "failed";
            bool error = strcmp(want, "failed") == 0;
            CHECK_STR(body, want);
            CHECK_INT(int_attr(b, r, "i"), next < 2 * STEPS        ? next / 2
                                           : next == 2 * STEPS + 1 ? STEPS
                                           : next == 2 * STEPS     ? 0
                                                                   : 1);
            CHECK(is_retro == !error && (error || int_attr(b, r, "bad") == 1));
            CHECK_INT(column_i64(b->field[FIELD_SEVERITY], r, 0), error ? 17 : strcmp(want, "step") == 0 ? 5 : 1);
            CHECK(column_id128(b->field[FIELD_TRACE_ID], r).lo != 0);
            next++;
        }
        if (b)
            batch_unref(b);
    }
    check_row("all");
    CHECK_INT(next, 2 * STEPS + 3);
    CHECK_INT(told, 2 * STEPS);
    CHECK_INT(retro_rows, 2 * STEPS + 1);
    CHECK_INT(count_of(&out, " retro=true\n"), 2 * STEPS + 1);
    buf_free(&out);
    check_done();
}

// ---- trouble --------------------------------------------------------------------------------------------------------
static void retries(void **state)
{
    (void)state;
    static const struct {
        const char *protocol;
        int status;
    } rows[] = {{"grpc", GRPC_UNAVAILABLE}, {"http/protobuf", 503}, {"http/protobuf", 429}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct plan *p = plan_new(rows[i].protocol);
        struct buf out;
        forget();
        got->fail = 3;
        got->fail_status = rows[i].status;
        p->linger_ms = 2500;
        p->lines = 50;
        run_plan(p, &out);
        check_row("%s %d", rows[i].protocol, rows[i].status);
        CHECK(p->ok);
        CHECK_INT(p->counts.export_logs_dropped + p->counts.export_spans_dropped, 0);
        CHECK_INT(count_of(&out, " WARN sonde::export: collector unreachable"), 1);
        CHECK_INT(count_of(&out, "collector reachable again"), 1);
        CHECK_INT(logs_received(), 51 + 2); // the two lines just named are exported too
        buf_free(&out);
    }
    check_done();
}

static void refused(void **state)
{
    (void)state;
    struct plan *p = plan_new("http/protobuf");
    struct buf out;
    forget();
    got->fail = 2;
    got->fail_status = 400;
    run_plan(p, &out);
    assert_int_equal(p->counts.export_spans_dropped, 2);
    assert_true(p->counts.export_logs_dropped >= 1); // the line about the spans can be among them
    assert_true(count_of(&out, "collector refused a batch") >= 1);
    assert_non_null(strstr(out.p, "HTTP status 400"));
    buf_free(&out);
    p = plan_new("grpc"); // accepted in part
    forget();
    got->rejected = 1;
    run_plan(p, &out);
    assert_int_equal(p->counts.export_spans_sent, 1);
    assert_int_equal(p->counts.export_spans_dropped, 1);
    buf_free(&out);
}

static void within_half_a_second(void **state)
{
    (void)state;
    struct plan *p = plan_new("grpc");
    struct buf out;
    forget();
    p->linger_ms = 1500; // nothing flushes
    int64_t start = now_ns();
    run_plan(p, &out);
    assert_true(got->first_at > 0 && got->first_at - start < 600000000);
    buf_free(&out);
}

static void absent(void **state)
{
    (void)state;
    static const char *const protocols[] = {"grpc", "http/protobuf"};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(s, (struct sockaddr *)&a, n), 0); // bound, but nobody listens
    getsockname(s, (struct sockaddr *)&a, &n);
    for (int hangs = 0; hangs < 2; hangs++) {
        if (hangs)
            assert_int_equal(listen(s, 8), 0); // accepts and never answers
        for (int i = 0; i < 2; i++) {
            struct plan *p = plan_new(protocols[i]);
            struct buf out;
            snprintf(p->endpoint, sizeof p->endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", ntohs(a.sin_port));
            snprintf(p->extra[0], sizeof p->extra[0], "OTEL_BLRP_MAX_QUEUE_SIZE=10");
            p->shutdown_ms = 700;
            p->lines = 100;
            p->linger_ms = 300;
            run_plan(p, &out);
            check_row("%s, %s: %.3f s", hangs ? "hangs" : "refuses", protocols[i], p->seconds);
            CHECK(!p->ok);
            CHECK(p->seconds < (hangs ? 1.2 : 0.5));
            CHECK(p->counts.export_logs_dropped >= 90);
            CHECK_INT(count_of(&out, ": line i="), 100); // the lines themselves are not touched by it
            CHECK(hangs || count_of(&out, "collector unreachable") == 1);
            buf_free(&out);
        }
    }
    close(s);
    check_done();
}

static void off(void **state)
{
    (void)state;
    static const char *const extra[] = {"OTEL_EXPORT_ENABLED=0", "OTEL_SDK_DISABLED=true", "OTEL_TRACES_SAMPLE_RATIO=1"};
    for (int i = 0; i < 2; i++) {
        struct plan *p = plan_new("grpc");
        struct buf out;
        forget();
        const char *env[] = {i ? "OTEL_EXPORT_ENABLED=1" : "UNUSED=1", p->endpoint, extra[i], NULL};
        assert_int_equal(child_run(emit, p, env, &out), 0);
        assert_int_equal(got->n, 0);
        assert_true(p->ok);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(over_grpc), cmocka_unit_test(over_http),
                                       cmocka_unit_test(retro),     cmocka_unit_test(retries),
                                       cmocka_unit_test(refused),   cmocka_unit_test(within_half_a_second),
                                       cmocka_unit_test(absent),    cmocka_unit_test(off)};
    return cmocka_run_group_tests(tests, start_collector, stop_collector);
}
