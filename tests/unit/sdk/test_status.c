// The status server over real sockets, each test in a child with an environment of its own: routes and bodies, readiness,
// canaries, debug pages, forks.
#include "base/clock.h"
#include "base/json.h"
#include "check.h"
#include "net/http.h"
#include "sdk/child.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sonde/config.h>
#include <sonde/meter.h>
#include <sonde/metrics.h>
#include <sonde/status.h>
#include <sys/socket.h>

static struct answer {
    int status;
    char type[128], allow[64], body[1 << 20];
} answer;

static const struct answer *call(const char *method, const char *path, const char *body, const char *header, const char *value)
{
    char url[512];
    struct error err = {0};
    struct http_answer a;
    struct http_header h = {slice_str(header), slice_str(value)};
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", sonde_status_port(), path);
    struct http_fetch f = {.method = method,
                           .url = url,
                           .body = slice_str(body),
                           .headers = &h,
                           .n_headers = header != NULL,
                           .timeout_ns = 60000000000};
    answer.status = 0;
    answer.body[0] = 0;
    if (http_fetch(NULL, &f, &a, &err) != ERR_OK) {
        check_failed(__FILE__, __LINE__, "%s: %s", url, err.msg);
        return &answer;
    }
    answer.status = a.status;
    snprintf(answer.type, sizeof answer.type, "%.*s", (int)a.content_type.n, a.content_type.p);
    snprintf(answer.body, sizeof answer.body, "%.*s", (int)a.body.n, a.body.n ? a.body.p : "");
    answer.allow[0] = 0;
    for (size_t i = 0; i < a.n_headers; i++)
        if (slice_eq(a.headers[i].name, SLICE("allow")))
            snprintf(answer.allow, sizeof answer.allow, "%.*s", (int)a.headers[i].value.n, a.headers[i].value.p);
    http_answer_free(&a);
    return &answer;
}
static const struct answer *get(const char *path)
{
    return call("GET", path, NULL, NULL, NULL);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0 || !check_str(__FILE__, __LINE__, slice_str(text), slice_str(with));
}

// A test in a child: its checks, then its exit code.
static void in_child(int (*fn)(void *), const char *const *env, struct buf *out)
{
    struct buf own;
    if (CHILD_TSAN)
        skip();
    CHECK_INT(child_run(fn, NULL, env, out ? out : &own), 0);
    if (check_failures)
        fprintf(stderr, "%s\n", (out ? out : &own)->p);
    if (!out)
        buf_free(&own);
    check_done();
}

// ---- routes ---------------------------------------------------------------------------------------------------------
static bool echo(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    char text[512];
    int n = snprintf(text, sizeof text, "{\"arg\":\"%s\",\"method\":\"%s\",\"path\":\"%s\",\"query\":\"%s\",\"body\":%s}",
                     (const char *)arg, q->method, q->path, q->query, q->body);
    sonde_engine_answer(out, text, (size_t)n);
    return true;
}
static bool broken(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    (void)arg, (void)q;
    sonde_engine_answer(out, "half an answer", 14);
    sonde_engine_fail(out, "the \"engine\" is off");
    return false;
}
static bool silent(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    (void)arg, (void)q;
    sonde_engine_status(out, 202);
    return true;
}

static int routes(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK(sonde_status_port() > 0);
    CHECK_STR(slice_str(sonde_status_error()), "");
    begins(get("/health")->body, "{\"endpoints\":{},\"status\":\"notready\",\"uptime\":{\"nanos\":");
    CHECK_INT(answer.status, 503);
    CHECK(strstr(answer.body, ",\"secs\":"));
    begins(answer.type, "text/plain");
    sonde_status_ready(true);
    begins(get("/live")->body, "{\"endpoints\":{},\"status\":\"ready\",\"uptime\":{\"nanos\":");
    CHECK_INT(answer.status, 200);
    CHECK_INT(call("HEAD", "/live", NULL, NULL, NULL)->status, 200);
    CHECK_INT(call("POST", "/live", "{}", NULL, NULL)->status, 405);
    CHECK_STR(slice_str(answer.allow), "GET, HEAD");
    // metadata
    CHECK_INT(get("/metadata")->status, 404);
    CHECK_STR(slice_str(answer.body), "Discovery metadata not found");
    CHECK(!sonde_status_metadata("{"));
    CHECK(sonde_status_metadata("{\"instance\":1}"));
    CHECK_STR(slice_str(get("/metadata")->body), "{\"instance\":1}");
    CHECK_STR(slice_str(answer.type), "application/json");
    CHECK(sonde_status_metadata(NULL));
    CHECK_INT(get("/metadata")->status, 404);
    // metrics endpoints
    CHECK_STR(slice_str(get("/metrics_endpoints")->body), "{\"object\":\"list\",\"data\":[]}");
    const char *const gpus[] = {"GPU-1", "GPU-2"};
    CHECK(sonde_status_metrics_endpoint("dynamo", 0xabcd, "http://old", NULL, 0));
    CHECK(sonde_status_metrics_endpoint("dynamo", 0xabcd, "http://h:1/metrics", gpus, 2));
    CHECK_STR(
        slice_str(get("/metrics_endpoints")->body),
        "{\"object\":\"list\",\"data\":[{\"gpu_uuids\":[\"GPU-1\",\"GPU-2\"],\"instance_id\":\"abcd\",\"namespace\":\"dynamo\","
        "\"url\":\"http://h:1/metrics\"}]}");
    // engine
    CHECK(sonde_engine_route("sleep", echo, "a"));
    CHECK(sonde_engine_route("/lora/*", echo, "b"));
    CHECK(sonde_engine_route("bad", broken, NULL));
    CHECK(sonde_engine_route("quiet", silent, NULL));
    CHECK(!sonde_engine_route("", echo, NULL));
    CHECK_STR(slice_str(call("PUT", "/engine/sleep?x=1", "{\"level\":1}", NULL, NULL)->body),
              "{\"arg\":\"a\",\"method\":\"PUT\",\"path\":\"\",\"query\":\"x=1\",\"body\":{\"level\":1}}");
    CHECK_INT(answer.status, 200);
    CHECK_STR(slice_str(answer.type), "application/json");
    CHECK_STR(slice_str(call("DELETE", "/engine/lora/x/y", NULL, NULL, NULL)->body),
              "{\"arg\":\"b\",\"method\":\"DELETE\",\"path\":\"x/y\",\"query\":\"\",\"body\":{}}");
    CHECK_STR(slice_str(call("PATCH", "/engine/sleep", "{\"level\":2}", NULL, NULL)->body),
              "{\"arg\":\"a\",\"method\":\"PATCH\",\"path\":\"\",\"query\":\"\",\"body\":{\"level\":2}}");
    CHECK_STR(slice_str(call("GET", "/engine/sleep", "{\"level\":3}", NULL, NULL)->body),
              "{\"arg\":\"a\",\"method\":\"GET\",\"path\":\"\",\"query\":\"\",\"body\":{\"level\":3}}");
    CHECK_INT(call("PATCH", "/elsewhere", NULL, NULL, NULL)->status, 404);
    CHECK_INT(call("POST", "/engine/sleep", "{nonsense", NULL, NULL)->status, 400);
    begins(answer.body, "{\"error\":\"Invalid JSON\",\"message\":\"JSON: ");
    CHECK_INT(get("/engine/other")->status, 404);
    CHECK_STR(slice_str(answer.body), "{\"error\":\"Route not found\",\"message\":\"no route /engine/other is registered\"}");
    CHECK_INT(get("/engine/bad")->status, 500);
    CHECK_STR(slice_str(answer.body), "{\"error\":\"Handler error\",\"message\":\"the \\\"engine\\\" is off\"}");
    CHECK_INT(get("/engine/quiet")->status, 202);
    CHECK_STR(slice_str(answer.body), "{}");
    CHECK(sonde_engine_route("quiet", NULL, NULL));
    CHECK(!sonde_engine_route("quiet", NULL, NULL));
    CHECK_INT(get("/engine/quiet")->status, 404);
    CHECK(sonde_status_route("/v1/loras*", echo, "l"));
    CHECK_INT(get("/v1/loras")->status, 404); // not enabled
    setenv("DYN_LORA_ENABLED", "1", 1);
    CHECK_INT(get("/v1/loras")->status, 404); // only the word true
    setenv("DYN_LORA_ENABLED", "true", 1);
    CHECK_INT(get("/v1/loras/x")->status, 200);
    // anything else
    CHECK_INT(get("/nowhere")->status, 404);
    CHECK_STR(slice_str(answer.body), "Route not found");
    sonde_flush(2000);
    return check_failures;
}

static void test_routes(void **state)
{
    struct buf out;
    (void)state;
    in_child(routes, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", NULL}, &out);
    CHECK_INT(count_of(&out, "status server: no such path"), 4);
    CHECK_INT(count_of(&out, "path=\"/nowhere\"") + count_of(&out, "path=/nowhere"), 1);
    CHECK_INT(count_of(&out, "status server listens"), 1);
    buf_free(&out);
    check_done();
}

static int paths(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK_INT(get("/up")->status, 200); // starts as ready
    CHECK_INT(get("/alive")->status, 200);
    CHECK_INT(get("/health")->status, 404);
    sonde_status_stop();
    CHECK_INT(sonde_status_port(), -1);
    CHECK(sonde_status_start(NULL)); // again
    CHECK_INT(get("/up")->status, 200);
    return check_failures;
}

// An IPv6 address of all means IPv4's as well, whose callers on this machine stay callers on this machine.
static int all_addresses(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK_INT(get("/health")->status, 503);
    CHECK_INT(get("/debug/level")->status, 200);
    return check_failures;
}

static void test_paths(void **state)
{
    struct buf out;
    (void)state;
    in_child(paths,
             (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", "DYN_SYSTEM_HEALTH_PATH=/up",
                              "DYN_SYSTEM_LIVE_PATH=alive", "DYN_SYSTEM_STARTING_HEALTH_STATUS=ready", "DYN_SYSTEM_ENABLED=true",
                              NULL},
             &out);
    CHECK_INT(count_of(&out, "DYN_SYSTEM_ENABLED has no effect"), 1);
    buf_free(&out);
    in_child(all_addresses, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=::", NULL}, NULL);
    in_child(all_addresses, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=[::]", NULL}, NULL);
    check_done();
}

// ---- starting -------------------------------------------------------------------------------------------------------
static int no_port(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK_INT(sonde_status_port(), -1);
    CHECK(sonde_status_start(NULL)); // nobody asked for one
    CHECK_STR(slice_str(sonde_status_error()), "");
    return check_failures;
}

static int taken(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK_INT(sonde_status_port(), -1);
    CHECK(strstr(sonde_status_error(), "127.0.0.1:"));
    CHECK(!sonde_status_start(NULL));
    CHECK(sonde_status_start("127.0.0.1:0"));
    CHECK_STR(slice_str(sonde_status_error()), "");
    CHECK_INT(get("/health")->status, 503);
    sonde_flush(2000);
    return check_failures;
}

static void test_start(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char port[64];
    struct buf out;
    (void)state;
    in_child(no_port, (const char *[]){NULL}, NULL);
    in_child(no_port, (const char *[]){"DYN_SYSTEM_PORT=-1", NULL}, NULL);
    in_child(no_port, (const char *[]){"DYN_SYSTEM_PORT=40000", NULL}, NULL); // beyond 16 bits with a sign: not accepted
    do {
        if (fd >= 0)
            close(fd);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        a.sin_port = htons((uint16_t)(20000 + (uint64_t)clock_mono_ns() % 10000));
    } while (bind(fd, (struct sockaddr *)&a, n) != 0 || listen(fd, 1) != 0);
    snprintf(port, sizeof port, "DYN_SYSTEM_PORT=%d", ntohs(a.sin_port));
    in_child(taken, (const char *[]){port, "DYN_SYSTEM_HOST=127.0.0.1", NULL}, &out);
    CHECK_INT(count_of(&out, "ERROR") >= 1, 1);
    CHECK(count_of(&out, "status server cannot listen") >= 1);
    close(fd);
    buf_free(&out);
    check_done();
}

// ---- metrics --------------------------------------------------------------------------------------------------------
static int metrics(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK_INT(get("/metrics")->status, 200);
    CHECK_STR(slice_str(answer.body), "");
    struct sonde_registry *one = sonde_registry_new("one_"), *two = sonde_registry_new("two_");
    struct sonde_metric_options o = {.name = "things_total", .help = "things"};
    sonde_int_counter_add(sonde_int_counter_new(one, &o, NULL), 3);
    sonde_int_counter_add(sonde_int_counter_new(two, &o, NULL), 4);
    CHECK(sonde_status_metrics(one));
    CHECK(sonde_status_metrics(one)); // once is enough
    CHECK(sonde_status_metrics(two));
    get("/metrics");
    CHECK_STR(slice_str(answer.type), "text/plain; version=0.0.4; charset=utf-8");
    CHECK(strstr(answer.body, "\none_things_total 3\n") && strstr(answer.body, "\ntwo_things_total 4\n"));
    CHECK(strstr(strstr(answer.body, "\none_things_total 3\n") + 5, "one_things_total") == NULL);
    call("GET", "/metrics", NULL, "accept", "application/openmetrics-text; version=1.0.0");
    begins(answer.type, "application/openmetrics-text");
    const char *eof = strstr(answer.body, "# EOF\n");
    CHECK(eof && eof[6] == 0 && strstr(answer.body, "two_things_total 4") < eof);
    sonde_status_metrics_remove(one);
    CHECK(!strstr(get("/metrics")->body, "one_things_total"));
    sonde_status_metrics_remove(two);
    sonde_registry_free(one);
    sonde_registry_free(two);
    return check_failures;
}

static const char *engine_says(void *arg, struct sonde_text *t)
{
    sonde_text_append(t, arg, strlen(arg));
    return NULL;
}

// Two registries on one page: each name is there once, and a text without its last line's end takes nothing with it.
static int one_page(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    struct sonde_registry *r[2] = {sonde_registry_new("p_"), sonde_registry_new("p_")};
    for (int i = 0; i < 2; i++) {
        struct sonde_label l = {"from", i ? "b" : "a"};
        struct sonde_metric_options labelled = {.name = "n_total", .help = i ? "other" : "n", .labels = &l, .n_labels = 1};
        struct sonde_metric_options plain = {.name = "same"}, odd = {.name = "odd"};
        sonde_int_counter_add(sonde_int_counter_new(r[!i], &labelled, NULL), (uint64_t)(i + 1)); // the later one comes first
        sonde_int_gauge_set(sonde_int_gauge_new(r[i], &plain, NULL), i + 5);
        if (i)
            sonde_int_counter_add(sonde_int_counter_new(r[i], &odd, NULL), 1);
        else
            sonde_int_gauge_set(sonde_int_gauge_new(r[i], &odd, NULL), 1);
        CHECK(sonde_status_metrics(r[i]));
    }
    sonde_registry_on_text(r[0], engine_says, "e 1");
    sonde_registry_on_text(r[1], engine_says, "f 2");
    CHECK_STR(slice_str(get("/metrics")->body),
              "# HELP p_n_total other\n# TYPE p_n_total counter\np_n_total{from=\"a\"} 1\np_n_total{from=\"b\"} 2\n"
              "# TYPE p_odd gauge\np_odd 1\n# TYPE p_same gauge\np_same 5\ne 1\nf 2\n");
    CHECK_STR(slice_str(call("GET", "/metrics", NULL, "accept", "application/openmetrics-text")->body),
              "# HELP p_n other\n# TYPE p_n counter\np_n_total{from=\"a\"} 1\np_n_total{from=\"b\"} 2\n"
              "# TYPE p_odd gauge\np_odd 1\n# TYPE p_same gauge\np_same 5\ne 1\nf 2\n# EOF\n");
    // Accept in two lines is one list
    char url[64];
    struct http_answer a;
    struct http_header accept[] = {{SLICE("accept"), SLICE("text/plain;q=0.3")},
                                   {SLICE("accept"), SLICE("application/openmetrics-text")}};
    snprintf(url, sizeof url, "http://127.0.0.1:%d/metrics", sonde_status_port());
    struct http_fetch f = {.url = url, .headers = accept, .n_headers = 2, .timeout_ns = 60000000000};
    CHECK_INT(http_fetch(NULL, &f, &a, NULL), ERR_OK);
    CHECK(slice_starts(a.content_type, SLICE("application/openmetrics-text")));
    http_answer_free(&a);
    for (int i = 0; i < 2; i++)
        sonde_registry_add_meters(r[i], NULL, NULL);
    call("GET", "/metrics", NULL, "accept", "application/openmetrics-text");
    const char *info = strstr(answer.body, "# TYPE target info");
    CHECK(info && !strstr(info + 1, "# TYPE target info"));
    for (int i = 0; i < 2; i++) {
        sonde_status_metrics_remove(r[i]);
        sonde_registry_free(r[i]);
    }
    return check_failures;
}

static void test_metrics(void **state)
{
    (void)state;
    in_child(one_page, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", NULL}, NULL);
    in_child(metrics, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", NULL}, NULL);
}

static int prometheus(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    CHECK_INT(sonde_status_port(), -1); // the page is a server of its own
    CHECK(sonde_status_start("127.0.0.1:0"));
    struct sonde_meter *m = sonde_meter_get(NULL, &(struct sonde_scope){.name = "m"});
    struct sonde_instrument_options o = {.name = "things"};
    sonde_instrument_add(sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &o), 2, NULL, 0);
    CHECK(strstr(get("/metrics")->body, "things_total{")); // the meters' instruments are there by themselves
    sonde_flush(2000);
    return check_failures;
}

static void test_prometheus_page(void **state)
{
    struct buf out;
    (void)state;
    in_child(prometheus,
             (const char *[]){"OTEL_METRICS_EXPORTER=prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT=0",
                              "OTEL_EXPORTER_PROMETHEUS_HOST=127.0.0.1", NULL},
             &out);
    CHECK_INT(count_of(&out, "page of metrics"), 1);
    CHECK_INT(count_of(&out, "status server listens"), 2);
    buf_free(&out);
    check_done();
}

// ---- readiness ------------------------------------------------------------------------------------------------------
static int listed(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    sonde_status_ready(true); // does not count: the list decides
    CHECK_INT(get("/health")->status, 503);
    struct sonde_endpoint *a = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "generate"});
    struct sonde_endpoint *b = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "clear", .ready = true});
    struct sonde_endpoint *c = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "extra"});
    CHECK(a && b && c);
    CHECK(!sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "generate"}));
    CHECK(!sonde_endpoint_new(&(struct sonde_endpoint_options){.name = ""}));
    begins(get("/health")->body,
           "{\"endpoints\":{\"clear\":\"ready\",\"extra\":\"notready\",\"generate\":\"notready\"},\"status\":\"notready\",");
    sonde_endpoint_ready(a, true);
    begins(get("/health")->body,
           "{\"endpoints\":{\"clear\":\"ready\",\"extra\":\"notready\",\"generate\":\"ready\"},\"status\":\"ready\",");
    CHECK_INT(answer.status, 200);
    CHECK(sonde_status_is_ready());
    sonde_endpoint_remove(a);
    CHECK_INT(get("/health")->status, 503); // listed and gone
    return check_failures;
}

static int unlisted(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    struct sonde_endpoint *a = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "a"});
    CHECK(!sonde_status_is_ready());
    sonde_status_ready(true);
    CHECK(sonde_status_is_ready()); // endpoints without canaries do not decide …
    sonde_endpoint_ready(a, false);
    CHECK(sonde_status_is_ready());
    return check_failures;
}

static int all_count(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    struct sonde_endpoint *a = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "a"});
    sonde_status_ready(true);
    CHECK(!sonde_status_is_ready()); // … unless health checks are on
    sonde_endpoint_ready(a, true);
    CHECK(sonde_status_is_ready());
    return check_failures;
}

static void test_readiness(void **state)
{
    struct buf out;
    (void)state;
    in_child(listed,
             (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1",
                              "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS=[\"generate\", \"clear\"]", NULL},
             &out);
    CHECK_INT(count_of(&out, "is deprecated"), 1);
    buf_free(&out);
    in_child(unlisted, (const char *[]){NULL}, NULL);
    in_child(all_count, (const char *[]){"DYN_HEALTH_CHECK_ENABLED=1", NULL}, NULL);
    in_child(unlisted, (const char *[]){"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS=generate", NULL}, NULL); // no JSON: not used
    in_child(unlisted, (const char *[]){"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS=[ ]", NULL}, NULL);      // names none
}

static atomic_int asked, answer_ms, answer_well;
static char payload_seen[64];
static bool canary_fn(void *arg, const char *payload, size_t n, unsigned timeout_ms)
{
    (void)arg;
    CHECK_INT(timeout_ms, 1000);
    snprintf(payload_seen, sizeof payload_seen, "%.*s", (int)n, payload);
    asked++;
    usleep((useconds_t)answer_ms * 1000);
    return answer_well;
}

static bool becomes(bool ready, int ms)
{
    for (int i = 0; i < ms / 10 && sonde_status_is_ready() != ready; i++)
        usleep(10000);
    return sonde_status_is_ready() == ready;
}

static int canary(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    answer_well = 1;
    struct sonde_endpoint_options o = {.name = "generate", .canary = canary_fn, .payload = "{\"prompt\":\"hi\"}"};
    struct sonde_endpoint *e = sonde_endpoint_new(&o);
    int64_t longest = 0, last = clock_mono_ns();
    for (int i = 0; i < 15; i++) { // traffic: no canary
        usleep(100000);
        sonde_endpoint_traffic(e);
        longest = clock_mono_ns() - last > longest ? clock_mono_ns() - last : longest;
        last = clock_mono_ns();
    }
    CHECK(asked == 0 || longest > 900000000); // a machine may be too busy for steady traffic
    CHECK(becomes(true, 30000));
    CHECK(asked >= 1);
    CHECK_STR(slice_str(payload_seen), arg ? "other" : "{\"prompt\":\"hi\"}");
    answer_well = 0;
    CHECK(becomes(false, 30000));
    answer_well = 1;
    CHECK(becomes(true, 30000));
    answer_ms = 2500; // too late: not ready as soon as the time is over, and afterwards
    int before = asked;
    CHECK(becomes(false, 30000));
    CHECK(asked > before);
    sonde_endpoint_remove(e); // waits for it
    CHECK_INT(sonde_status_is_ready(), 0);
    return check_failures;
}

// A child that has a server of its own asks its endpoints, too.
static int canary_of_child(void *arg)
{
    int status;
    (void)arg;
    sonde_init(NULL);
    answer_well = 1;
    struct sonde_endpoint_options o = {.name = "generate", .canary = canary_fn, .payload = ""};
    struct sonde_endpoint *e = sonde_endpoint_new(&o);
    CHECK(becomes(true, 30000));
    pid_t pid = fork();
    if (pid == 0) {
        answer_well = 0;
        CHECK(sonde_status_start("127.0.0.1:0"));
        CHECK(becomes(false, 30000));
        sonde_endpoint_remove(e);
        sonde_status_stop();
        _exit(check_failures);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(sonde_status_is_ready());
    sonde_endpoint_remove(e);
    return check_failures;
}

static int other_payload(void *arg)
{
    (void)arg;
    return canary("other");
}

static void test_canary(void **state)
{
    (void)state;
    in_child(
        canary_of_child,
        (const char *[]){"DYN_HEALTH_CHECK_ENABLED=true", "DYN_CANARY_WAIT_TIME=1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT=1", NULL},
        NULL);
    in_child(
        canary,
        (const char *[]){"DYN_HEALTH_CHECK_ENABLED=true", "DYN_CANARY_WAIT_TIME=1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT=1", NULL},
        NULL);
    in_child(other_payload,
             (const char *[]){"DYN_HEALTH_CHECK_ENABLED=true", "DYN_CANARY_WAIT_TIME=1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT=1",
                              "DYN_HEALTH_CHECK_PAYLOAD=other", NULL},
             NULL);
}

// ---- debug ----------------------------------------------------------------------------------------------------------
static int debug(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    // level
    CHECK_STR(slice_str(get("/debug/level")->body), "{\"expires_in_ms\":null,\"filter\":\"warn\",\"then\":null}\n");
    SONDE_INFO("unseen line");
    CHECK_INT(call("PUT", "/debug/level", "info,x=debug", NULL, NULL)->status, 200);
    CHECK_STR(slice_str(answer.body), "{\"expires_in_ms\":null,\"filter\":\"info,x=debug\",\"then\":null}\n");
    SONDE_INFO("seen line");
    CHECK_INT(call("PUT", "/debug/level", "x=nonsense=y", NULL, NULL)->status, 400);
    CHECK_INT(call("PUT", "/debug/level", "debug for 0s", NULL, NULL)->status, 400);
    CHECK_INT(call("PUT", "/debug/level", "debug for 5 minutes", NULL, NULL)->status, 400);
    CHECK_INT(call("POST", "/debug/level", "trace", "origin", "http://evil.example")->status, 403);
    CHECK(strstr(get("/debug/level")->body, "\"filter\":\"info,x=debug\""));
    CHECK_INT(call("PATCH", "/debug/level", "trace", NULL, NULL)->status, 405);
    CHECK_STR(slice_str(answer.allow), "GET, HEAD, PUT, POST, DELETE");
    CHECK_INT(call("DELETE", "/debug/ring", NULL, NULL, NULL)->status, 405);
    CHECK_INT(call("PUT", "/debug/level", "debug for 10m\n", NULL, NULL)->status, 200);
    CHECK(strstr(answer.body, "\"filter\":\"debug\",\"then\":\"info,x=debug\""));
    SONDE_DEBUG("deep line");
    CHECK_INT(call("PUT", "/debug/level", "debug for 300ms\n", NULL, NULL)->status, 200);
    for (int i = 0; i < 300 && strstr(get("/debug/level")->body, "\"filter\":\"debug\""); i++)
        usleep(100000);
    SONDE_DEBUG("too late line");
    CHECK(strstr(get("/debug/level")->body, "\"filter\":\"info,x=debug\""));
    CHECK(strstr(get("/debug/config")->body, "\"DYN_LOG\":{\"from\":\"sonde_set_filter\",\"value\":\"info,x=debug\"}"));
    CHECK_INT(call("DELETE", "/debug/level", NULL, NULL, NULL)->status, 200);
    CHECK_STR(slice_str(answer.body), "{\"expires_in_ms\":null,\"filter\":\"warn\",\"then\":null}\n");
    // ring
    for (int i = 0; i < 20; i++)
        SONDE_WARN("ring line", SONDE_INT("i", i));
    sonde_flush(2000);
    get("/debug/ring?n=3");
    CHECK(strstr(answer.body, "i=19") && strstr(answer.body, "i=17") && !strstr(answer.body, "i=16"));
    get("/debug/ring?format=jsonl&n=2");
    CHECK_STR(slice_str(answer.type), "application/x-ndjson");
    CHECK(answer.body[0] == '{' && strstr(answer.body, "\"i\":19") && !strstr(answer.body, "\"i\":17"));
    CHECK_INT(get("/debug/ring?format=xml")->status, 400);
    // config
    free(sonde_config_dump_text(&(struct sonde_dump_options){.config = "{\"mine\":1,\"secret\":\"geheim\"}", .no_gpu = true}));
    get("/debug/config");
    CHECK_STR(slice_str(answer.type), "application/json");
    CHECK(strstr(answer.body, "\"config\":{\"mine\":1,\"secret\":\"<REDACTED>\"}"));
    CHECK(strstr(answer.body, "\"DYN_LOG\":{\"from\":\"environment\",\"value\":\"warn\"}"));
    // spans
    struct sonde_span *outer = sonde_span_start("outer \"one\"", SONDE_KIND_SERVER, NULL);
    struct sonde_span *inner = sonde_span_start("inner", SONDE_KIND_INTERNAL, sonde_span_context(outer));
    usleep(30000);
    get("/debug/spans");
    begins(answer.body, "{\"open\":2,\"spans\":[{\"age_ms\":");
    const char *first = strstr(answer.body, "outer \\\"one\\\""), *second = strstr(answer.body, "\"name\":\"inner\"");
    CHECK(first && second && first < second && strstr(answer.body, "\"parent_id\":null"));
    sonde_span_end(inner);
    CHECK(strstr(get("/debug/spans?n=0")->body, "{\"open\":1,\"spans\":[]}"));
    sonde_span_end(outer);
    CHECK_STR(slice_str(get("/debug/spans")->body), "{\"open\":0,\"spans\":[]}\n");
    CHECK_INT(get("/debug/other")->status, 404);
    // who may: a page that was led here by a name may not, a token opens
    CHECK_INT(call("GET", "/debug/level", NULL, "host", "evil.example:80")->status, 403);
    CHECK_INT(call("GET", "/debug/level", NULL, "host", "localhost:80")->status, 200);
    sonde_flush(2000);
    return check_failures;
}

static void test_debug(void **state)
{
    struct buf out;
    (void)state;
    in_child(debug, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", "DYN_LOG=warn", NULL}, &out);
    CHECK_INT(count_of(&out, "unseen line"), 0);
    CHECK_INT(count_of(&out, " seen line"), 1);
    CHECK_INT(count_of(&out, "deep line"), 1);
    CHECK_INT(count_of(&out, "too late line"), 0);
    buf_free(&out);
    check_done();
}

static int token(void *arg)
{
    (void)arg;
    sonde_init(NULL);
    char request[256], text[4096];
    static const struct {
        const char *sent;
        int status;
    } rows[] = {{"", 403},
                {"Authorization: Bearer geheim\r\n", 200},
                {"authorization: bearer geheim\r\n", 200}, // the scheme's case does not count
                {"Authorization: Bearer geheimm\r\n", 403},
                {"Authorization: Bearer gehei\r\n", 403},
                {"Authorization: geheim\r\n", 403},
                {"Authorization: Bearer \r\n", 403}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        a.sin_port = htons((uint16_t)sonde_status_port());
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        check_row("%s", rows[i].sent);
        CHECK_INT(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
        int n = snprintf(request, sizeof request, "GET /debug/level HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n%s\r\n",
                         rows[i].sent);
        CHECK_INT(write(fd, request, (size_t)n), n);
        ssize_t got = read(fd, text, sizeof text - 1);
        text[got > 0 ? got : 0] = 0;
        CHECK_INT(got > 12 ? atoi(text + 9) : 0, rows[i].status);
        close(fd);
    }
    return check_failures;
}

static void test_token(void **state)
{
    (void)state;
    in_child(token, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", "SONDE_DEBUG_TOKEN=geheim", NULL}, NULL);
}

// ---- fork, end ------------------------------------------------------------------------------------------------------
static int forked(void *arg)
{
    int status;
    (void)arg;
    sonde_init(NULL);
    int port = sonde_status_port();
    struct sonde_endpoint *e = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "generate", .ready = true});
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_INT(sonde_status_port(), -1);
        CHECK(sonde_status_start("127.0.0.1:0"));
        CHECK(sonde_status_port() != port);
        begins(get("/health")->body, "{\"endpoints\":{\"generate\":\"ready\"},");
        sonde_endpoint_remove(e);
        sonde_status_stop();
        _exit(check_failures);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_INT(sonde_status_port(), port);
    begins(get("/health")->body, "{\"endpoints\":{\"generate\":\"ready\"},");
    sonde_shutdown(2000);
    CHECK_INT(get("/health")->status, 503); // still there
    return check_failures;
}

static bool hangs(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    (void)q, (void)out;
    atomic_store((atomic_int *)arg, 1);
    sleep(600);
    return true;
}
static void *hanging_call(void *arg)
{
    get(arg);
    return NULL;
}
static int ends(void *arg)
{
    static atomic_int there;
    pthread_t t;
    (void)arg;
    sonde_init(NULL);
    sonde_engine_route("hang", hangs, &there);
    pthread_create(&t, NULL, hanging_call, "/engine/hang");
    while (!there)
        usleep(1000);
    return check_failures; // exit() while a callback hangs
}

static void test_fork_and_end(void **state)
{
    (void)state;
    in_child(forked, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", NULL}, NULL);
    int64_t from = clock_mono_ns();
    in_child(ends, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", NULL}, NULL);
    CHECK(clock_mono_ns() - from < 300000000000);
    check_done();
}

// ---- threads --------------------------------------------------------------------------------------------------------
// Not in a child, so that the thread sanitizer sees it; the last test, as it starts the library.
static atomic_bool over;
static void *turns(void *arg)
{
    char name[16];
    snprintf(name, sizeof name, "e%d", (int)(intptr_t)arg);
    for (int i = 0; i < 50; i++) {
        struct sonde_endpoint *e = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = name});
        sonde_endpoint_ready(e, i & 1);
        sonde_endpoint_traffic(e);
        sonde_status_ready(i & 1);
        sonde_status_metadata(i & 1 ? "{}" : NULL);
        sonde_status_metrics_endpoint("ns", (uint64_t)(intptr_t)arg, "http://h", NULL, 0);
        sonde_engine_route(name, silent, NULL);
        free(sonde_config_dump_text(&(struct sonde_dump_options){.config = "{\"a\":1}", .no_gpu = true}));
        struct sonde_span *s = sonde_span_start("turn", SONDE_KIND_INTERNAL, NULL);
        sonde_set_filter_for(i & 1 ? "warn" : "off", 50);
        sonde_span_end(s);
        sonde_engine_route(name, NULL, NULL);
        sonde_endpoint_remove(e);
    }
    return NULL;
}
static void *asking(void *arg)
{
    static const char *const pages[] = {"/health",      "/metadata",    "/metrics",        "/metrics_endpoints", "/debug/config",
                                        "/debug/spans", "/debug/level", "/debug/ring?n=5", "/engine/e1"};
    (void)arg;
    for (size_t i = 0; !over; i++)
        get(pages[i % CHECK_ROWS(pages)]);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t t[3];
    (void)state;
    setenv("SONDE_RING_DIR", child_dir, 1);
    setenv("DYN_LOG", "off", 1);
    assert_true(sonde_status_start("127.0.0.1:0"));
    pthread_create(&t[2], NULL, asking, NULL);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, turns, (void *)(intptr_t)(i + 1));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    over = true;
    pthread_join(t[2], NULL);
    CHECK(strstr(get("/health")->body, "{\"endpoints\":{},"));
    sonde_status_stop();
    CHECK_INT(sonde_status_port(), -1);
    check_done();
}

// Whoever holds connections, health is told.
static int crowd(void *arg)
{
    (void)arg;
    enum { CROWD = 200 };
    int fd[CROWD];
    sonde_init(NULL);
    CHECK(sonde_status_port() > 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)sonde_status_port())};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < CROWD; i++) { // some say nothing, some half a head
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fd[i], (struct sockaddr *)&a, sizeof a) == 0);
        if (i % 2)
            CHECK(send(fd[i], "GET /health HT", 14, MSG_NOSIGNAL) == 14 || errno == EPIPE || errno == ECONNRESET);
    }
    for (int i = 0; i < 3; i++)
        CHECK_INT(get("/live")->status, 503);
    for (int i = 0; i < CROWD; i++)
        close(fd[i]);
    return check_failures;
}

static void test_crowd(void **state)
{
    (void)state;
    in_child(crowd, (const char *[]){"DYN_SYSTEM_PORT=0", "DYN_SYSTEM_HOST=127.0.0.1", NULL}, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowd),     cmocka_unit_test(test_routes),       cmocka_unit_test(test_paths),
        cmocka_unit_test(test_start),     cmocka_unit_test(test_metrics),      cmocka_unit_test(test_prometheus_page),
        cmocka_unit_test(test_readiness), cmocka_unit_test(test_canary),       cmocka_unit_test(test_debug),
        cmocka_unit_test(test_token),     cmocka_unit_test(test_fork_and_end), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
