// From an id to its traces and log records, over a store: head and parts.
#include "event/wire.h"
#include "story.h"

#include <ftw.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define TENANT SLICE("default")
#define FROM   (STORY_T0 - 1000000000)
#define TO     (STORY_T0 + 60000000000)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int done;

static void on_commit(void *arg, enum errc rc)
{
    assert_int_equal(rc, ERR_OK);
    pthread_mutex_lock(&mutex);
    done++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

static void append(struct store *s, enum wire_format f, const char *text)
{
    struct batch *b;
    struct wire_report report;
    struct error err = {0};
    struct slice raw = slice_str(text);
    if (wire_decode(f, raw, false, &(struct wire_options){.received_ns = STORY_T0}, &b, &report, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(report.rejected, 0);
    done = 0;
    if (store_append(s, TENANT, f, raw, STORY_T0, b, on_commit, NULL, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    pthread_mutex_lock(&mutex);
    while (!done)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void append_story(struct store *store)
{
    struct story s;
    story_begin(&s);
    story_span(&s, &(struct story_span){"frontend", "http-request", 1, 0, 0, 100, .kind = 2,
                                        .attrs = {"x_request_id", "ask-1", "request_id", "0001-own"}});
    story_span(&s, &(struct story_span){"decode", "handle_payload", 2, 1, 10, 90, .kind = 2, .attrs = {"component", "backend"}});
    story_log(&s, &(struct story_log){"frontend", 1, "INFO", "request received", {NULL}, 1});
    story_log(&s, &(struct story_log){"decode", 11, "INFO", "request received", {NULL}, 2});
    buf_str(&s.spans, "]}");
    buf_char(&s.spans, 0);
    buf_str(&s.logs, "]}");
    buf_char(&s.logs, 0);
    append(store, WIRE_OTLP_TRACES_JSON, s.spans.p);
    append(store, WIRE_OTLP_LOGS_JSON, s.logs.p);
    story_free(&s);
}

// A later trace without any request, a line that names our trace, and requests of which only lines are there.
static void append_others(struct store *s)
{
    append(s, WIRE_OTLP_TRACES_JSON,
           "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":["
           "{\"traceId\":\"000000000000000000000000000000aa\",\"spanId\":\"00000000000000a1\",\"name\":\"GET /\",\"kind\":2,"
           "\"startTimeUnixNano\":\"1700000005000000000\",\"endTimeUnixNano\":\"1700000005000000001\"},"
           "{\"traceId\":\"000000000000000000000000000000bb\",\"spanId\":\"00000000000000b1\",\"name\":\"cron\",\"kind\":1,"
           "\"startTimeUnixNano\":\"1700000006000000000\",\"endTimeUnixNano\":\"1700000006000000001\"}]}]}]}");
    append(s, WIRE_LOKI_JSON,
           "{\"streams\":[{\"stream\":{\"job\":\"file\"},\"values\":["
           "[\"1700000000050000000\",\"a line that names 0af7651916cd43dd8448eb211c80319c in its text\"],"
           "[\"1700000000051000000\",\"another line\"],"
           "[\"1700000001000000000\",\"{\\\"message\\\":\\\"lost\\\",\\\"x_request_id\\\":\\\"only-line\\\",\\\"trace_id\\\":"
           "\\\"000000000000000000000000000000cc\\\"}\"],"
           "[\"1700000002000000000\",\"tagged\",{\"x_request_id\":\"only-metadata\",\"trace_id\":"
           "\"000000000000000000000000000000dd\"}]]}]}");
}

static void check_finding(struct store *s)
{
    static const struct {
        const char *id;
        uint64_t lo; // of the trace found, 0 if none
        enum errc rc;
    } rows[] = {
        {"ask-1", 0x8448eb211c80319c, ERR_OK},
        {"0001-own", 0x8448eb211c80319c, ERR_OK},
        {"0af7651916cd43dd8448eb211c80319c", 0x8448eb211c80319c, ERR_OK},
        {"0AF7651916CD43DD8448EB211C80319C", 0x8448eb211c80319c, ERR_OK},
        {"only-line", 0xcc, ERR_OK},
        {"only-metadata", 0xdd, ERR_OK},
        {"ask-", 0, ERR_NOTFOUND},
        {"lost", 0, ERR_NOTFOUND}, // the message, no id
        {"00000000000000000000000000000001", 0, ERR_NOTFOUND},
        {"", 0, ERR_INPUT},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct trace_refs refs;
        check_row("%s", rows[i].id);
        CHECK_INT(request_find(s, TENANT, slice_str(rows[i].id), FROM, TO, NULL, &refs, NULL), rows[i].rc);
        CHECK_INT(refs.n, rows[i].rc == ERR_OK);
        if (refs.n)
            CHECK_INT(refs.at[0].id.lo, rows[i].lo);
        trace_refs_free(&refs);
    }
    struct trace_refs refs;
    CHECK_INT(request_find(s, SLICE("other"), SLICE("ask-1"), FROM, TO, NULL, &refs, NULL), ERR_NOTFOUND);
    CHECK_INT(request_find(s, TENANT, SLICE("ask-1"), TO, TO + 1, NULL, &refs, NULL), ERR_NOTFOUND);
}

static void check_list(struct store *s)
{
    struct trace_refs refs;
    check_row("list");
    CHECK_INT(request_list(s, TENANT, FROM, TO, 10, NULL, &refs, NULL), ERR_OK);
    if (CHECK(refs.n == 2 && !refs.truncated)) { // not the cron job
        CHECK_INT(refs.at[0].id.lo, 0xaa);       // newest first
        CHECK_INT(refs.at[1].id.lo, 0x8448eb211c80319c);
        CHECK_INT(refs.at[1].time, STORY_T0);
    }
    trace_refs_free(&refs);
    CHECK_INT(request_list(s, TENANT, FROM, TO, 1, NULL, &refs, NULL), ERR_OK);
    CHECK(refs.n == 1 && refs.truncated && refs.at[0].id.lo == 0xaa);
    trace_refs_free(&refs);
}

static void check_loading(struct store *s)
{
    struct trace t;
    struct request_logs logs;
    struct error err = {0};
    check_row("load");
    CHECK_INT(trace_load(s, TENANT, (struct id128){1, 2}, FROM, TO, NULL, &t, &err), ERR_NOTFOUND);
    CHECK(strstr(err.msg, "00000000000000010000000000000002"));
    if (!CHECK(trace_load(s, TENANT, STORY_TRACE, FROM, TO, NULL, &t, &err) == ERR_OK))
        return;
    CHECK_INT(t.n, 2);
    CHECK_STR(t.spans[0].name, "http-request");
    CHECK_STR(t.spans[1].service, "decode");
    CHECK_INT(request_logs_load(s, TENANT, &t, true, NULL, &logs, &err), ERR_OK);
    if (CHECK(logs.n == 3)) { // two by trace id, one by its text
        CHECK_STR(logs.at[0].service, "frontend");
        CHECK_STR(logs.at[1].service, "decode");
        CHECK_STR(logs.at[2].service, "file");
    }
    request_logs_free(&logs);
    trace_free(&t);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    return remove(path);
}

static void found_in_head_and_parts(void **state)
{
    char dir[] = "/tmp/sonde-analyze-XXXXXX";
    struct store_options o;
    struct store *s;
    struct error err = {0};
    assert_non_null(mkdtemp(dir));
    store_options_default(&o);
    o.dir = dir;
    if (store_open(&s, &o, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    append_story(s);
    append_others(s);
    for (int flushed = 0; flushed < 2; flushed++) {
        check_finding(s);
        check_list(s);
        check_loading(s);
        assert_int_equal(store_flush(s, &err), ERR_OK);
    }
    store_close(s);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(found_in_head_and_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
