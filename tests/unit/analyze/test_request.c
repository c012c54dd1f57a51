// What is told of a request: phases, lanes, how it ended and why. The stories have the shape of what Dynamo 1.6 and the C example
// write; the numbers are invented.
#include "story.h"

#define F "dynamo-frontend"
#define P "dynamo-worker-prefill"
#define D "dynamo-worker-decode"
#define ROOT_ATTRS(outcome)                                                                                                      \
    "x_request_id", "ask-1", "model", "tiny", "input_tokens", "40", "output_tokens", "12", "ttft_ms", "80.5", "avg_itl_ms", "6", \
        "prefill_worker_id", "7001", "decode_worker_id", "9007199254740993001", "request.outcome", outcome

// id 1 root, 2/3 route and worker of prefill, 4/5 of decode
static const struct story_span root_ok = {F, "http-request", 1, 0, 0, 160, .attrs = {ROOT_ATTRS("success")}};
static const struct story_span prefill_route = {
    F,         "router.route_request",
    2,         1,
    1,         71,
    .kind = 3, .attrs = {"worker_id", "7001", "request.attempt", "0", "request.outcome", "success"}};
static const struct story_span prefill_work = {
    P,         "handle_payload",
    3,         2,
    2,         70,
    .kind = 2, .attrs = {"component", "prefill", "instance_id", "7001", "x_request_id", "ask-1"}};
static const struct story_span decode_route = {F,
                                               "router.route_request",
                                               4,
                                               1,
                                               3,
                                               158,
                                               .kind = 3,
                                               .attrs = {"worker_id", "9007199254740993001", "request.attempt", "0",
                                                         "migration.tokens_completed", "0", "request.outcome", "success"}};
static const struct story_span decode_work = {
    D, "handle_payload", 5, 4, 4, 157, .kind = 2, .attrs = {"component", "backend", "instance_id", "9007199254740993001"}};

static void begin_dynamo(struct story *s)
{
    story_begin(s);
    story_span(s, &decode_work);
    story_span(s, &prefill_route);
    story_span(s, &prefill_work);
    story_span(s, &decode_route);
}

static void served(void **state)
{
    static const struct story_log logs[] = {
        {D, 4.5, "INFO", "request received", {"request_id", "x"}, 5},
        {F, 0.1, "INFO", "request received", {"request_type", "stream"}, 1},
        {F, 3.5, "INFO", "http response sent", {"status", "200"}, 1},
        {F, 159, "INFO", "request completed", {"status", "success"}, 1},
    };
    struct story s;
    begin_dynamo(&s);
    story_span(&s, &root_ok);
    STORY_LOGS(&s, logs);
    story_tell(&s, 200);
    CHECK_STR(s.r.id, "ask-1");
    CHECK_STR(s.r.model, "tiny");
    CHECK_STR(s.r.service, F);
    CHECK_STR(s.r.name, "http-request");
    CHECK_STR(s.r.verdict, "served");
    CHECK_INT(s.r.status, REQUEST_OK);
    CHECK_INT(s.r.http_status, 200);
    CHECK(s.r.stream && s.r.has_root && !s.r.failure.there);
    CHECK_INT(s.r.input_tokens, 40);
    CHECK_INT(s.r.output_tokens, 12);
    CHECK(s.r.ttft_ms == 80.5 && s.r.itl_ms == 6);
    CHECK_STR(s.r.prefill_worker, "7001");
    CHECK_STR(s.r.decode_worker, "9007199254740993001"); // whole, though no double holds it
    CHECK_INT(s.r.attempts, 1);
    CHECK_INT(s.r.errors, 0);
    CHECK_INT(s.r.n_notes, 0);
    CHECK_INT(s.records.n, 4);
    CHECK_STR(s.records.at[0].service, F); // by time
    story_check_phases(&s, "routing 0-2 prefill 2-70 handover 70-80.5 decode 80.5-157 unaccounted 157-160");
    story_check_lane(&s, F, "routing 0-2 unaccounted 157-160");
    story_check_lane(&s, P, "prefill 2-70");
    story_check_lane(&s, D, "waiting 4-70 handover 70-80.5 decode 80.5-157 | first_token 80.5");
    CHECK_INT(s.r.lanes[0].role, ROLE_FRONTEND);
    CHECK_INT(s.r.lanes[1].role, ROLE_PREFILL);
    CHECK_INT(s.r.lanes[2].role, ROLE_DECODE);
    story_free(&s);
    check_done();
}

// Programs that name their phases: theirs count, and what they leave open stays open.
static void named_phases(void **state)
{
    static const struct story_span spans[] = {
        {"frontend", "http-request", 1, 0, 0, 100, .kind = 2, .attrs = {"x_request_id", "own", "request.outcome", "success"},
         .event = "first_token", .event_at = 45},
        {"frontend", "router.route_request", 2, 1, 1, 31, .kind = 3, .attrs = {"phase", "prefill", "worker_id", "p1"}},
        {"prefill", "handle_payload", 3, 2, 2, 30, .kind = 2, .attrs = {"component", "prefill", "instance_id", "p1"}},
        {"prefill", "queue", 4, 3, 2, 10},
        {"prefill", "prefill", 5, 3, 11, 30},
        {"frontend", "router.route_request", 6, 1, 32, 99, .kind = 3, .attrs = {"phase", "decode", "worker_id", "d1"}},
        {"decode", "handle_payload", 7, 6, 33, 98, .kind = 2, .attrs = {"component", "backend", "instance_id", "d1"}},
        {"decode", "queue", 8, 7, 33, 34},
        {"decode", "kv_transfer", 9, 7, 34, 40},
        {"decode", "decode", 10, 7, 40, 60},
        {"decode", "queue", 11, 7, 60, 65}, // preempted
        {"decode", "prefill", 12, 7, 65, 70},
        {"decode", "decode", 13, 7, 70, 97, .event = "last_token", .event_at = 97},
    };
    struct story s;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    story_tell(&s, 200);
    CHECK_STR(s.r.id, "own");
    CHECK(s.r.ttft_ms == 45);
    CHECK_STR(s.r.prefill_worker, "p1");
    CHECK_STR(s.r.decode_worker, "d1");
    CHECK_INT(s.r.status, REQUEST_OK);
    story_check_phases(&s, "routing 0-2 queue 2-10 unaccounted 10-11 prefill 11-30 handover 30-33 queue 33-34 kv_transfer 34-40 "
                           "decode 40-60 queue 60-65 "
                           "prefill 65-70 decode 70-97 unaccounted 97-100");
    story_check_lane(&s, "prefill", "queue 2-10 prefill 11-30");
    story_check_lane(&s, "decode",
                     "queue 33-34 kv_transfer 34-40 decode 40-60 queue 60-65 prefill 65-70 decode 70-97 | last_token 97");
    CHECK_INT(s.r.phases[1].span_id, 4);
    CHECK_STR(s.r.phases[1].service, "prefill");
    story_free(&s);
    check_done();
}

// Programs that tell their phases by events of the worker's span (sonde/genai.h) get the same row and lanes.
static void phases_by_events(void **state)
{
    static const struct story_span spans[] = {
        {"frontend", "http-request", 1, 0, 0, 100, .kind = 2, .attrs = {"x_request_id", "own", "request.outcome", "success"},
         .marks = {{"first_token", 45}, {"last_token", 98}}}, // tokens alone are no phases
        {"frontend", "router.route_request", 2, 1, 1, 31, .kind = 3, .attrs = {"phase", "prefill", "worker_id", "p1"}},
        {"prefill", "handle_payload", 3, 2, 2, 30, .kind = 2, .attrs = {"component", "prefill", "instance_id", "p1"},
         .marks = {{"queued", 2}, {"scheduled", 10}, {"prefill_start", 11}}}, // up to the span's end
        {"frontend", "router.route_request", 6, 1, 32, 99, .kind = 3, .attrs = {"phase", "decode", "worker_id", "d1"}},
        {"decode", "handle_payload", 7, 6, 33, 98, .kind = 2, .attrs = {"component", "backend", "instance_id", "d1"},
         .marks = {{"queued", 33},
                   {"scheduled", 34},
                   {"kv_transfer_start", 34},
                   {"kv_transfer_end", 40},
                   {"first_token", 45},
                   {"preempted", 60},
                   {"scheduled", 65},
                   {"prefill_start", 65},
                   {"prefill_end", 70},
                   {"last_token", 97}}},
    };
    struct story s;
    (void)state;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    story_tell(&s, 200);
    story_check_sum(&s);
    story_check_phases(&s, "routing 0-2 queue 2-10 unaccounted 10-11 prefill 11-30 handover 30-33 queue 33-34 kv_transfer 34-40 "
                           "handover 40-45 decode 45-60 queue 60-65 prefill 65-70 decode 70-97 unaccounted 97-100");
    story_check_lane(&s, "prefill", "queue 2-10 prefill 11-30");
    story_check_lane(
        &s, "decode",
        "queue 33-34 kv_transfer 34-40 decode 45-60 queue 60-65 prefill 65-70 decode 70-97 | first_token 45 preempted "
        "60 last_token 97");
    story_free(&s);
    check_done();
}

// The decode worker is killed: its span never comes, the frontend gives up. As stream (200 was sent) and as one answer (503).
static const struct story_span killed_root = {F, "http-request", 1, 0, 0, 1264, .status = 2, .attrs = {ROOT_ATTRS("error")}};
static const struct story_span killed_route = {F,
                                               "router.route_request",
                                               4,
                                               1,
                                               3,
                                               1000,
                                               .kind = 3,
                                               .status = 2,
                                               .message = "disconnected",
                                               .attrs = {"worker_id", "9007199254740993001", "request.attempt", "0",
                                                         "migration.tokens_completed", "0", "request.outcome",
                                                         "worker_disconnected", "error.type", "disconnected"}};
static const struct story_log killed_logs[] = {
    {D, 4.5, "INFO", "request received", {"request_id", "x"}, 5},
    {F, 1001, "WARN", "route request failed", {"request.outcome", "worker_disconnected", "error.type", "disconnected"}, 4},
    {F,
     1002,
     "WARN",
     "migration retries exhausted",
     {"#request.attempt", "0", "?migration.is_retry", "true", "#migration.tokens_completed", "158"},
     1},
    {F, 1262, "ERROR", "request completed", {"status", "error", "error_detail", "no backend worker available"}, 1},
};

static void killed_decode_worker(void **state)
{
    static const struct {
        const char *type, *status, *verdict;
        int http;
    } rows[] = {
        {"stream", "200",
         "the stream broke after a 200: decode worker 9007199254740993001 was lost after 158 tokens, and no retry was left", 200},
        {"unary", "503", "decode worker 9007199254740993001 was lost after 158 tokens, and no retry was left", 503},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct story s;
        check_row("%s", rows[i].type);
        story_begin(&s);
        story_span(&s, &killed_root);
        story_span(&s, &prefill_route);
        story_span(&s, &prefill_work);
        story_span(&s, &killed_route);
        STORY_LOGS(&s, killed_logs);
        story_log(&s, &(struct story_log){F, 0.1, "INFO", "request received", {"request_type", rows[i].type}, 1});
        story_log(&s, &(struct story_log){F, 1263, "INFO", "http response sent", {"status", rows[i].status}, 1});
        story_tell(&s, 1300);
        CHECK_INT(s.r.status, REQUEST_ERROR);
        CHECK_INT(s.r.http_status, rows[i].http);
        CHECK_STR(s.r.verdict, rows[i].verdict);
        CHECK(s.r.failure.there);
        CHECK_INT(s.r.failure.where, ROLE_DECODE);
        CHECK(story_ms(s.r.failure.when) == 1000);
        CHECK_STR(s.r.failure.what, "worker_disconnected");
        CHECK_INT(s.r.failure.n_evidence, 3);
        CHECK_STR(s.records.at[s.r.failure.evidence[0]].message, "route request failed");
        CHECK_INT(s.r.errors, 1);
        CHECK(story_has_note(&s, "the span of the decode worker never arrived"));
        story_check_phases(&s, "routing 0-2 prefill 2-70 handover 70-80.5 decode 80.5-1000 retry 1000-1264");
        // its log records tell that it was there, the frontend's span for how long
        story_check_lane(&s, D, "waiting 3-70 handover 70-80.5 decode 80.5-1000 | first_token 80.5");
        story_check_lane(&s, F, "routing 0-2 retry 1000-1264 | error 1262");
        story_free(&s);
    }
    check_done();
}

// The same with workers that name their phases: what the killed one did is derived from the frontend's span.
static void killed_named_worker(void **state)
{
    static const struct story_span spans[] = {
        {"frontend", "http-request", 1, 0, 0, 100, .kind = 2, .status = 2,
         .attrs = {"request.outcome", "error", "ttft_ms", "45"}},
        {"frontend", "router.route_request", 2, 1, 1, 31, .kind = 3, .attrs = {"phase", "prefill"}},
        {"prefill", "handle_payload", 3, 2, 2, 30, .kind = 2, .attrs = {"component", "prefill"}},
        {"prefill", "prefill", 5, 3, 2, 30},
        {"frontend", "router.route_request", 6, 1, 32, 90, .kind = 3, .status = 2,
         .attrs = {"phase", "decode", "worker_id", "d1", "error.type", "disconnected"}},
    };
    struct story s;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    story_tell(&s, 200);
    story_check_phases(&s, "routing 0-2 prefill 2-30 handover 30-45 decode 45-90 unaccounted 90-100");
    CHECK_STR(s.r.verdict, "decode worker d1 was lost");
    story_free(&s);
    check_done();
}

// A killed worker that got its first phases out: the rest is derived. Its span is missing, its phases are orphans.
static void killed_after_first_phases(void **state)
{
    static const struct story_span spans[] = {
        {"frontend", "http-request", 1, 0, 0, 100, .kind = 2, .status = 2,
         .attrs = {"request.outcome", "error", "ttft_ms", "45"}},
        {"frontend", "router.route_request", 2, 1, 1, 31, .kind = 3, .attrs = {"phase", "prefill"}},
        {"prefill", "handle_payload", 3, 2, 2, 30, .kind = 2, .attrs = {"component", "prefill"}},
        {"prefill", "prefill", 5, 3, 2, 30},
        {"frontend", "router.route_request", 6, 1, 32, 90, .kind = 3, .status = 2,
         .attrs = {"phase", "decode", "error.type", "disconnected"}},
        {"decode", "queue", 8, 7, 33, 34},
        {"decode", "kv_transfer", 9, 7, 34, 40},
    };
    struct story s;
    story_begin(&s);
    STORY_SPANS(&s, spans);
    story_log(&s, &(struct story_log){"decode", 33, "INFO", "request received", {NULL}, 7});
    story_tell(&s, 200);
    story_check_phases(
        &s,
        "routing 0-2 prefill 2-30 handover 30-33 queue 33-34 kv_transfer 34-40 handover 40-45 decode 45-90 unaccounted 90-100");
    story_check_lane(&s, "decode", "handover 40-45 decode 45-90 queue 33-34 kv_transfer 34-40 | first_token 45");
    CHECK(story_has_note(&s, "2 spans arrived without the parent"));
    story_free(&s);
    check_done();
}

// Attempts that were refused before any token: one piece of lost time, not a row of splinters.
static void refused_attempts(void **state)
{
    struct story s;
    story_begin(&s);
    story_span(&s,
               &(struct story_span){F, "http-request", 1, 0, 0, 100, .attrs = {"request.outcome", "success", "ttft_ms", "60"}});
    story_span(&s, &(struct story_span){F, "router.route_request", 2, 1, 1, 31, .kind = 3, .attrs = {"phase", "prefill"}});
    story_span(&s, &(struct story_span){P, "handle_payload", 3, 2, 2, 30, .kind = 2, .attrs = {"component", "prefill"}});
    for (int i = 0; i < 3; i++)
        story_span(&s, &(struct story_span){F, "router.route_request", 10 + (uint64_t)i, 1, 31 + 6 * i, 32 + 6 * i, .kind = 3,
                                            .status = 2, .attrs = {"phase", "decode", "error.type", "worker_overloaded"}});
    story_span(&s, &(struct story_span){F, "router.route_request", 20, 1, 50, 98, .kind = 3, .attrs = {"phase", "decode"}});
    story_span(&s, &(struct story_span){D, "handle_payload", 21, 20, 51, 97, .kind = 2, .attrs = {"component", "backend"}});
    story_tell(&s, 200);
    CHECK_INT(s.r.attempts, 4);
    story_check_phases(&s, "routing 0-2 prefill 2-30 handover 30-31 retry 31-51 handover 51-60 decode 60-97 unaccounted 97-100");
    story_free(&s);
    check_done();
}

// Moved to another worker and served: a span and the root say error all the same.
static void moved_and_served(void **state)
{
    static const struct story_span root = {F, "http-request", 1, 0, 0, 260, .status = 2, .attrs = {ROOT_ATTRS("success")}};
    static const struct story_span first = {
        F,
        "router.route_request",
        4,
        1,
        3,
        100,
        .kind = 3,
        .status = 2,
        .attrs = {"worker_id", "8001", "request.attempt", "0", "migration.tokens_completed", "0", "error.type", "disconnected"}};
    static const struct story_span second = {F,
                                             "router.route_request",
                                             6,
                                             1,
                                             120,
                                             250,
                                             .kind = 3,
                                             .attrs = {"worker_id", "9007199254740993001", "request.attempt", "1",
                                                       "migration.tokens_completed", "3", "request.outcome", "success"}};
    static const struct story_span work = {
        D, "handle_payload", 7, 6, 121, 249, .kind = 2, .attrs = {"component", "backend", "instance_id", "9007199254740993001"}};
    struct story s;
    story_begin(&s);
    story_span(&s, &root);
    story_span(&s, &prefill_route);
    story_span(&s, &prefill_work);
    story_span(&s, &first);
    story_span(&s, &second);
    story_span(&s, &work);
    story_log(&s, &(struct story_log){F, 101, "ERROR", "Stream disconnected, recreating stream", {NULL}, 1});
    story_tell(&s, 300);
    CHECK_INT(s.r.status, REQUEST_OK);
    CHECK_INT(s.r.attempts, 2);
    CHECK_INT(s.r.errors, 1);
    CHECK(!s.r.failure.there);
    CHECK_STR(s.r.verdict, "served, after 2 attempts: decode worker 8001 was lost");
    CHECK(story_has_note(&s, "the root span says error, but the request was served"));
    story_check_phases(
        &s, "routing 0-2 prefill 2-70 handover 70-80.5 decode 80.5-100 retry 100-121 decode 121-249 unaccounted 249-260");
    story_free(&s);
    check_done();
}

// The root span never comes; the failed route is an orphan.
static void root_never_came(void **state)
{
    static const struct story_log given_up = {
        F, 1002, "WARN", "migration retries exhausted", {"#migration.tokens_completed", "9"}, 1};
    static const struct {
        const char *what;
        double now;
        bool exhausted;
        enum request_status status;
        const char *verdict;
    } rows[] = {
        {"later", 20000, false, REQUEST_ERROR, "decode worker 9007199254740993001 was lost"},
        {"at once: may still be moved", 1100, false, REQUEST_RUNNING,
         "still running; so far decode worker 9007199254740993001 was lost"},
        {"at once, but given up", 1100, true, REQUEST_ERROR,
         "decode worker 9007199254740993001 was lost after 9 tokens, and no retry was left"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct story s;
        check_row("%s", rows[i].what);
        story_begin(&s);
        story_span(&s, &killed_route);
        story_log(&s, &(struct story_log){F, 0.5, "INFO", "request received", {NULL}, 1});
        if (rows[i].exhausted)
            story_log(&s, &given_up);
        story_tell(&s, rows[i].now);
        CHECK(s.trace.spans[0].orphan && !s.r.has_root);
        CHECK_INT(s.r.status, rows[i].status);
        CHECK_STR(s.r.verdict, rows[i].verdict);
        CHECK_INT(story_has_note(&s, "the root span never arrived"), rows[i].status == REQUEST_ERROR);
        CHECK(story_ms(s.r.start) == 0.5); // the first sign of life
        CHECK_STR(s.r.service, F);
        story_check_sum(&s);
        story_free(&s);
    }
    check_done();
}

// A killed frontend leaves the workers' spans alone.
static void killed_frontend(void **state)
{
    struct story s;
    story_begin(&s);
    story_span(&s, &prefill_work);
    story_span(&s, &decode_work);
    story_tell(&s, 60000);
    CHECK_INT(s.r.status, REQUEST_ERROR);
    CHECK_STR(s.r.verdict, "the root span never arrived: the frontend died or did not export it");
    CHECK_STR(s.r.id, "ask-1"); // the worker's span knows it
    CHECK_STR(s.r.decode_worker, "9007199254740993001");
    story_check_phases(&s, "prefill 2-70 decode 70-157");
    story_free(&s);
    check_done();
}

static void still_running(void **state)
{
    struct story s;
    story_begin(&s);
    story_span(&s, &prefill_work);
    story_tell(&s, 100);
    CHECK_INT(s.r.status, REQUEST_RUNNING);
    CHECK_STR(s.r.verdict, "still running");
    CHECK_INT(s.r.n_notes, 0);
    story_free(&s);
    check_done();
}

static void endings_told_by_the_root(void **state)
{
    static const struct {
        const char *outcome, *http, *detail, *level;
        int span_status, status, http_status;
        const char *verdict;
        bool failure;
    } rows[] = {
        {"success", "200", "", "INFO", 0, REQUEST_OK, 200, "served", false},
        {"cancelled", "200", "", "INFO", 0, REQUEST_CANCELLED, 200, "the client went away", false},
        {"error", "400", "messages: must not be empty", "ERROR", 2, REQUEST_ERROR, 400,
         "the client's request was refused with 400: messages: must not be empty", true},
        {"error", "404", "", "WARN", 0, REQUEST_ERROR, 404, "the client's request was refused with 404", true},
        {"error", "500", "prompt too long", "ERROR", 2, REQUEST_ERROR, 500, "prompt too long", true},
        {"", "200", "", "INFO", 0, REQUEST_OK, 200, "served", false},
        {"", "503", "", "INFO", 0, REQUEST_ERROR, 503, "the frontend answered 503 without asking a worker: none was ready", true},
        {"", "200", "", "INFO", 2, REQUEST_ERROR, 200, "the frontend reports an error and no worker failed", true},
        {"", "200", "broke", "ERROR", 0, REQUEST_ERROR, 200, "broke", true},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct story s;
        struct story_span root = {F, "http-request", 1, 0, 0, 50, .status = rows[i].span_status, .attrs = {"x_request_id", "r"}};
        check_row("%s %s %s", rows[i].outcome, rows[i].http, rows[i].detail);
        if (rows[i].outcome[0]) {
            root.attrs[2] = "request.outcome";
            root.attrs[3] = rows[i].outcome;
        }
        story_begin(&s);
        story_span(&s, &root);
        story_log(&s, &(struct story_log){F,
                                          48,
                                          rows[i].level,
                                          "request completed",
                                          {"status", rows[i].span_status == 2 || rows[i].detail[0] ? "error" : "success",
                                           "error_detail", rows[i].detail},
                                          1});
        story_log(&s, &(struct story_log){F, 49, "INFO", "http response sent", {"status", rows[i].http}, 1});
        story_tell(&s, 100);
        CHECK_INT(s.r.status, rows[i].status);
        CHECK_INT(s.r.http_status, rows[i].http_status);
        CHECK_STR(s.r.verdict, rows[i].verdict);
        CHECK_INT(s.r.failure.there, rows[i].failure);
        if (rows[i].failure)
            CHECK_INT(s.r.failure.where, ROLE_FRONTEND);
        story_check_phases(&s, "routing 0-50");
        story_free(&s);
    }
    check_done();
}

// error.type and request.outcome of a route span in words.
static void kinds_of_failure(void **state)
{
    static const struct {
        const char *type, *outcome, *words;
    } rows[] = {
        {"disconnected", "worker_disconnected", "was lost"},
        {"cannot_connect", "connection_failed", "could not be reached"},
        {"connection_timeout", "timeout", "did not accept the connection in time"},
        {"response_timeout", "timeout", "did not answer in time"},
        {"worker_unavailable", "error", "was not available"},
        {"worker_overloaded", "rejected", "was overloaded"},
        {"kv_transfer_failed", "error", "failed: of its own kind"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct story s;
        char want[128];
        struct story_span route = killed_route;
        check_row("%s", rows[i].type);
        route.attrs[7] = rows[i].outcome;
        route.attrs[9] = rows[i].type;
        route.message = "of its own kind";
        story_begin(&s);
        story_span(&s, &killed_root);
        story_span(&s, &route);
        story_tell(&s, 1300);
        snprintf(want, sizeof want, "decode worker 9007199254740993001 %s", rows[i].words);
        CHECK_STR(s.r.verdict, want);
        CHECK_STR(s.r.failure.what, rows[i].outcome);
        story_free(&s);
    }
    check_done();
}

// A caller that traces itself: the request is the http-request, not the caller's span; its parent may also never come.
static void callers_span_above(void **state)
{
    struct story s;
    struct story_span root = root_ok;
    root.parent = 77;
    for (int caller = 0; caller < 2; caller++) {
        check_row("caller's span %s", caller ? "there" : "missing");
        begin_dynamo(&s);
        story_span(&s, &root);
        if (caller)
            story_span(&s, &(struct story_span){"notebook", "chat", 77, 0, -5, 170, .kind = 3});
        story_tell(&s, 200);
        CHECK_INT(s.r.status, REQUEST_OK);
        CHECK_STR(s.r.name, "http-request");
        CHECK(story_ms(s.r.start) == 0 && story_ms(s.r.end) == 160);
        CHECK_INT(s.r.n_notes, 0);
        story_check_phases(&s, "routing 0-2 prefill 2-70 handover 70-80.5 decode 80.5-157 unaccounted 157-160");
        story_free(&s);
    }
    check_done();
}

// A trace of any other program: nothing is claimed about its phases.
static void no_inference(void **state)
{
    struct story s;
    story_begin(&s);
    story_span(&s,
               &(struct story_span){"shop", "GET /cart", 1, 0, 0, 20, .kind = 2, .attrs = {"http.response.status_code", "200"}});
    story_span(&s, &(struct story_span){"db", "SELECT", 2, 1, 5, 9, .kind = 3, .status = 2});
    story_tell(&s, 100);
    CHECK_INT(s.r.status, REQUEST_OK);
    CHECK_INT(s.r.http_status, 200);
    CHECK_STR(s.r.verdict, "served");
    CHECK_INT(s.r.n_lanes, 2);
    story_check_phases(&s, "unaccounted 0-20");
    story_free(&s);
    check_done();
}

// KV-aware routing: the router's own steps stand between the route and the worker.
static void kv_aware_routing(void **state)
{
    struct story s;
    struct story_span inner = decode_route, work = decode_work;
    begin_dynamo(&s);
    story_free(&s);
    story_begin(&s);
    story_span(&s, &root_ok);
    story_span(&s, &prefill_route);
    story_span(&s, &prefill_work);
    story_span(&s, &(struct story_span){F, "kv_router.route_request", 20, 1, 2.5, 158.5, .kind = 3});
    story_span(&s, &(struct story_span){F, "kv_router.select_worker", 21, 20, 2.6, 2.9});
    inner.parent = 20;
    story_span(&s, &inner);
    story_span(&s, &work);
    story_tell(&s, 200);
    CHECK_INT(s.r.attempts, 1);
    story_check_phases(&s, "routing 0-2 prefill 2-70 handover 70-80.5 decode 80.5-157 unaccounted 157-160");
    story_free(&s);
    check_done();
}

// Whatever arrives, and in whatever order of time, the row of phases is consecutive and sums up.
static void phases_always_sum(void **state)
{
    static const char *const names[] = {"http-request", "router.route_request", "handle_payload", "queue", "prefill",
                                        "decode",       "kv_transfer",          "other"};
    static const char *const components[] = {"prefill", "backend", "router"};
    uint32_t x = 1;
    for (int round = 0; round < 400; round++) {
        struct story s;
        check_row("round %d", round);
        story_begin(&s);
        for (int i = 0, n = 1 + round % 17; i < n; i++) {
            uint32_t v[6];
            for (int k = 0; k < 6; k++)
                v[k] = (x = x * 1664525 + 1013904223) >> 8;
            double from = v[0] % 100, to = from + v[1] % 60;
            story_span(&s, &(struct story_span){
                               v[2] % 3 ? "a" : "b", names[v[3] % 8], 1 + (uint64_t)i, v[4] % 12, from, to,
                               .status = v[5] % 4 ? 0 : 2,
                               .attrs = {"component", components[v[5] % 3], v[2] % 5 ? "x" : "ttft_ms", v[2] % 2 ? "31" : "-7"}});
        }
        story_tell(&s, round % 2 ? 50 : 50000);
        CHECK(s.r.end > s.r.start);
        CHECK(s.r.n_phases > 0);
        CHECK(s.r.verdict.n > 0);
        story_check_sum(&s);
        story_free(&s);
    }
    check_done();
}

// A hostile trace: time that grows with the square of its spans would run into the test's time limit.
static void many_routes(void **state)
{
    struct story s;
    story_begin(&s);
    for (uint64_t i = 1; i <= 40000; i++)
        story_span(&s, &(struct story_span){F, "router.route_request", i, i - 1, 1e-3 * (double)i, 100, .status = 2,
                                            .attrs = {"worker_id", "7"}});
    story_tell(&s, 100000);
    CHECK_INT(s.trace.n, 40000);
    CHECK_INT(s.r.attempts, 1);
    CHECK(!s.r.has_root);
    story_check_sum(&s);
    story_free(&s);
    check_done();
}

// Lines of a JSON log that came over Loki's API, without typed fields.
static void json_lines(void **state)
{
    struct story s;
    begin_dynamo(&s);
    story_span(&s, &killed_root);
    story_log(
        &s,
        &(struct story_log){
            F, 5, "",
            "{\"time\":\"2023-11-14T22:13:20.050Z\",\"level\":\"ERROR\",\"target\":\"x::y\",\"message\":\"request completed\","
            "\"error_detail\":\"no backend worker available\",\"span_id\":\"00000000000000aa\"}"});
    story_tell(&s, 2000);
    CHECK_STR(s.records.at[0].message, "request completed");
    CHECK_STR(slice_str(s.records.at[0].level), "ERROR");
    CHECK_STR(s.records.at[0].target, "x::y");
    CHECK_INT(s.records.at[0].span_id, 0xaa);
    CHECK(story_ms(s.records.at[0].time) == 50);
    CHECK_STR(s.r.verdict, "no backend worker available");
    story_free(&s);
    check_done();
}

// Numbers and times beyond any sense, as anybody may send them.
static void senseless_numbers(void **state)
{
    static const char *const numbers[] = {"1e300", "-1e300", "inf", "nan", "9223372036854775807"};
    for (size_t i = 0; i < CHECK_ROWS(numbers); i++) {
        struct story s;
        check_row("%s", numbers[i]);
        story_begin(&s);
        story_span(&s, &(struct story_span){F, "http-request", 1, 0, 0, 160,
                                            .attrs = {"ttft_ms", numbers[i], "avg_itl_ms", numbers[i], "input_tokens", numbers[i],
                                                      "http.response.status_code", numbers[i]}});
        story_tell(&s, 200);
        CHECK(s.r.ttft_ms == -1 && s.r.itl_ms == -1);
        CHECK_INT(s.r.input_tokens, -1);
        CHECK_INT(s.r.http_status, 0);
        story_check_sum(&s);
        story_free(&s);
    }
    struct story s;
    story_begin(&s);
    story_span(&s, &decode_work); // no root: the window is that of all signs of life
    story_log(&s, &(struct story_log){D, 10, "INFO", "{\"time\":\"1690-01-01T00:00:00Z\",\"message\":\"x\"}"});
    story_tell(&s, 20);
    CHECK(s.r.start == STORY_T0 + 4000000 && s.r.end > s.r.start);
    story_free(&s);
    check_done();
}

// Marks of two lanes in turn: memory in proportion to them (a story has 16 MiB).
static void many_errors(void **state)
{
    struct story s;
    begin_dynamo(&s);
    story_span(&s, &root_ok);
    for (int i = 0; i < 12000; i++)
        story_log(&s, &(struct story_log){i % 2 ? D : P, 5 + i * 0.01, "ERROR", "again"});
    story_tell(&s, 200);
    CHECK_INT(s.r.errors, 12000);
    for (uint32_t i = 0; i < s.r.n_lanes; i++)
        CHECK(s.r.lanes[i].role == ROLE_FRONTEND || s.r.lanes[i].n_marks >= 6000);
    story_free(&s);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_after_first_phases),
        cmocka_unit_test(refused_attempts),
        cmocka_unit_test(served),
        cmocka_unit_test(no_inference),
        cmocka_unit_test(named_phases),
        cmocka_unit_test(phases_by_events),
        cmocka_unit_test(killed_decode_worker),
        cmocka_unit_test(killed_named_worker),
        cmocka_unit_test(moved_and_served),
        cmocka_unit_test(root_never_came),
        cmocka_unit_test(killed_frontend),
        cmocka_unit_test(still_running),
        cmocka_unit_test(endings_told_by_the_root),
        cmocka_unit_test(kinds_of_failure),
        cmocka_unit_test(callers_span_above),
        cmocka_unit_test(kv_aware_routing),
        cmocka_unit_test(phases_always_sum),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(many_routes),
        cmocka_unit_test(senseless_numbers),
        cmocka_unit_test(many_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
