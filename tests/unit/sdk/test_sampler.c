// Samplers: by the environment, by the program, and what a decision leads to.
#include "check.h"
#include "sdk/sampler_remote.h"
#include "seen.h"
#include <sonde/export.h>

static struct sonde_context parent(int flags, bool remote)
{
    return (struct sonde_context){.trace_id = {7, [15] = 1}, .span_id = {8}, .flags = (uint8_t)flags, .remote = remote};
}

// What becomes of: a new trace, a child of a sampled remote parent, of one that is not. R: recorded, -: dropped.
static void outcome(char out[4])
{
    struct sonde_context yes = parent(1, true), no = parent(0, true);
    const struct sonde_context *p[] = {NULL, &yes, &no};
    for (int i = 0; i < 3; i++) {
        struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, p[i]);
        bool sampled = sonde_span_context(s)->flags & 1;
        out[i] = sonde_span_is_recording(s) ? sampled ? 'S' : 'R' : sampled ? '?' : '-';
        if (p[i]) {
            EXPECT(memcmp(sonde_span_context(s)->trace_id, p[i]->trace_id, 16) == 0);
            EXPECT(memcmp(sonde_span_context(s)->span_id, p[i]->span_id, 8) != 0); // a fresh one in any case
        }
        EXPECT(sonde_context_valid(sonde_span_context(s)));
        sonde_span_end(s);
    }
    out[3] = 0;
}

static int by_env(void *want)
{
    char out[4];
    outcome(out);
    EXPECT_STR(out, want);
    return seen_fails;
}

static void environment(void **state)
{
    (void)state;
    static const struct {
        const char *want;
        const char *env[4];
        const char *note;
    } rows[] = {
        {"SS-", {NULL}, NULL},
        {"SSS", {"OTEL_TRACES_SAMPLER=always_on"}, NULL},
        {"---", {"OTEL_TRACES_SAMPLER=always_off"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLER=parentbased_always_on"}, NULL},
        {"-S-", {"OTEL_TRACES_SAMPLER=parentbased_always_off"}, NULL},
        {"SSS", {"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=1"}, NULL},
        {"---", {"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, NULL},
        {"-S-", {"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLER=parentbased_traceidratio"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=7"}, "OTEL_TRACES_SAMPLER_ARG: '7'"},
        {"SSS", {"OTEL_TRACES_SAMPLER=ratelimited", "OTEL_TRACES_SAMPLER_ARG=1000"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLER=parentbased_ratelimited", "OTEL_TRACES_SAMPLER_ARG=1000"}, NULL},
        {"S--", {"OTEL_TRACES_SAMPLER=ratelimited", "OTEL_TRACES_SAMPLER_ARG=0.0001"}, NULL},
        {"SS-",
         {"OTEL_TRACES_SAMPLER=parentbased_ratelimited", "OTEL_TRACES_SAMPLER_ARG=often"},
         "OTEL_TRACES_SAMPLER_ARG: 'often'"},
        {"SS-", {"OTEL_TRACES_SAMPLER=parentbased_ratelimited", "OTEL_TRACES_SAMPLER_ARG=-1"}, "OTEL_TRACES_SAMPLER_ARG: '-1'"},
        {"SSS", {"OTEL_TRACES_SAMPLER=probability"}, NULL},
        {"---", {"OTEL_TRACES_SAMPLER=probability", "OTEL_TRACES_SAMPLER_ARG=0"}, NULL},
        {"-S-", {"OTEL_TRACES_SAMPLER=parentbased_probability", "OTEL_TRACES_SAMPLER_ARG=0"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLER=sometimes"}, "OTEL_TRACES_SAMPLER: 'sometimes'"},
        {"SSS",
         {"OTEL_TRACES_SAMPLER=jaeger_remote", "OTEL_TRACES_SAMPLER_ARG=endpoint=127.0.0.1:1,initialSamplingRate=1"},
         NULL},
        {"-S-",
         {"OTEL_TRACES_SAMPLER=parentbased_jaeger_remote",
          "OTEL_TRACES_SAMPLER_ARG=endpoint=http://127.0.0.1:1,initialSamplingRate=0"},
         NULL},
        {"SSS",
         {"OTEL_TRACES_SAMPLER=jaeger_remote",
          "OTEL_TRACES_SAMPLER_ARG=endpoint=http://127.0.0.1:1,initialSamplingRate=1,pollingIntervalMs=0"},
         "'pollingIntervalMs=0' is left out"},
        {"-S-", {"OTEL_TRACES_SAMPLE_RATIO=0"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLE_RATIO=1"}, NULL},
        {"SS-", {"OTEL_TRACES_SAMPLE_RATIO=-1"}, "OTEL_TRACES_SAMPLE_RATIO: '-1'"},
        {"SS-", {"OTEL_TRACES_SAMPLE_RATIO=nan"}, "OTEL_TRACES_SAMPLE_RATIO: 'nan'"},
        {"SSS", {"OTEL_TRACES_SAMPLE_RATIO=0", "OTEL_TRACES_SAMPLER=always_on"}, NULL},
        {"RSR", {"OTEL_TRACES_SAMPLE_RATIO=0", "SONDE_TRACES_KEEP_ERRORS=1"}, NULL},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf out;
        check_row("%s %s", rows[i].env[0] ? rows[i].env[0] : "", rows[i].want);
        CHECK_INT(child_run(by_env, (void *)(uintptr_t)rows[i].want, rows[i].env, &out), 0);
        CHECK_INT(count_of(&out, "TEST FAILED"), 0);
        CHECK_INT(count_of(&out, "OTEL_TRACES_SAMPL"), rows[i].note ? 1 : 0);
        if (rows[i].note)
            CHECK_INT(count_of(&out, rows[i].note), 1);
        buf_free(&out);
    }
    check_done();
}

static int shares(void *arg)
{
    (void)arg;
    unsigned n = 0, all = 20000;
    for (unsigned i = 0; i < all; i++) {
        struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
        const struct sonde_context *c = sonde_span_context(s);
        bool sampled = c->flags & 1;
        EXPECT(sampled == (trace_randomness(c->trace_id) >= threshold_of(0.25))); // R >= T
        EXPECT(sampled == (strcmp(c->tracestate, "ot=th:c") == 0));
        n += sampled;
        sonde_span_end(s);
    }
    EXPECT(n > all / 4 - 400 && n < all / 4 + 400);
    return seen_fails;
}
static void ratio(void **state)
{
    (void)state;
    static const char *const env[2][3] = {{"OTEL_TRACES_SAMPLE_RATIO=0.25"},
                                          {"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25"}};
    in_child(shares, NULL, env[0]);
    in_child(shares, NULL, env[1]);
}

static void thresholds(void **state)
{
    (void)state;
    static const struct {
        double ratio;
        const char *text;
    } rows[] = {{1, "0"}, {0.5, "8"}, {0.25, "c"}, {0.75, "4"}, {0.0625, "f"}, {1.0 / 4096, "fff"}, {0.1, "e6666666666668"}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        char text[16];
        uint64_t t;
        threshold_text(text, threshold_of(rows[i].ratio));
        check_row("%g", rows[i].ratio);
        CHECK_STR(slice_cut(slice_str(text), strlen(rows[i].text)), rows[i].text);
        CHECK(strlen(text) == strlen(rows[i].text));
        CHECK(threshold_parse(slice_str(text), &t) && t == threshold_of(rows[i].ratio));
    }
    uint64_t t;
    CHECK(threshold_of(0) == THRESHOLD_NEVER);
    CHECK(!threshold_parse(slice_str(""), &t) && !threshold_parse(slice_str("123456789012345"), &t) &&
          !threshold_parse(slice_str("C"), &t));
    check_done();
}

// One question to a sampler, apart from spans.
static enum sonde_decision ask(const struct sonde_sampler *s, const struct sonde_context *p, uint8_t low, char state[513],
                               struct sonde_sample_out *out)
{
    static const struct sonde_context none;
    uint8_t id[16] = {1, [9] = low};
    struct sonde_sample_in in = {.parent = p ? p : &none, .trace_id = id, .name = "op", .kind = SONDE_KIND_SERVER};
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("route", "/health"))};
    in.attributes = f;
    in.n_attributes = 1;
    struct sonde_sample_out own;
    out = out ? out : &own;
    out->tracestate = state;
    out->n_attributes = 0;
    return sonde_sampler_ask(s, &in, out);
}

static void consistent(void **state)
{
    (void)state;
    const struct sonde_sampler *half = sonde_sampler_probability(0.5), *plain = sonde_sampler_ratio(0.5);
    char ts[513] = "";
    CHECK_INT(ask(half, NULL, 0x80, ts, NULL), SONDE_RECORD_SAMPLE);
    CHECK_STR(slice_str(ts), "ot=th:8");
    snprintf(ts, sizeof ts, "a=1,ot=rv:80000000000000;x:y,b=2"); // own randomness, whatever the trace id says
    CHECK_INT(ask(half, NULL, 0, ts, NULL), SONDE_RECORD_SAMPLE);
    CHECK_STR(slice_str(ts), "ot=th:8;rv:80000000000000;x:y,a=1,b=2");
    snprintf(ts, sizeof ts, "ot=rv:7fffffffffffff;th:0");
    CHECK_INT(ask(half, NULL, 0xff, ts, NULL), SONDE_DROP);
    CHECK_STR(slice_str(ts), "ot=rv:7fffffffffffff"); // no threshold of what was dropped
    snprintf(ts, sizeof ts, "ot=rv:7fffffffffffff");
    CHECK_INT(ask(plain, NULL, 0xff, ts, NULL), SONDE_RECORD_SAMPLE); // by the trace id alone
    CHECK(strcmp(sonde_sampler_description(half), "ProbabilitySampler{0.5}") == 0);
    check_done();
}

static void parents(void **state)
{
    (void)state;
    const struct sonde_sampler *on = sonde_sampler_always_on(), *off = sonde_sampler_always_off();
    struct sonde_context c[4] = {parent(1, true), parent(0, true), parent(1, false), parent(0, false)};
    char ts[513] = "";
    for (int only = 0; only < 5; only++) { // each delegate is asked for its own case and for no other
        struct sonde_parent_based p = {only == 0 ? on : off, only == 1 ? on : off, only == 2 ? on : off, only == 3 ? on : off,
                                       only == 4 ? on : off};
        const struct sonde_sampler *s = sonde_sampler_parent_based(&p);
        CHECK_INT(ask(s, NULL, 0, ts, NULL) == SONDE_RECORD_SAMPLE, only == 0);
        for (int i = 0; i < 4; i++)
            CHECK_INT(ask(s, &c[i], 0, ts, NULL) == SONDE_RECORD_SAMPLE, only == i + 1);
    }
    const struct sonde_sampler *usual = sonde_sampler_parent_based(NULL);
    CHECK(strncmp(sonde_sampler_description(usual), "ParentBased{root:AlwaysOnSampler,", 33) == 0);
    CHECK_INT(ask(sonde_sampler_always_record(off), NULL, 0, ts, NULL), SONDE_RECORD_ONLY);
    CHECK_INT(ask(sonde_sampler_always_record(on), NULL, 0, ts, NULL), SONDE_RECORD_SAMPLE);
    check_done();
}

static void rate(void **state)
{
    (void)state;
    const struct sonde_sampler *s = sonde_sampler_rate(50);
    char ts[513] = "";
    int n = 0;
    int64_t until = clock_mono_ns() + 500000000;
    while (clock_mono_ns() < until)
        n += ask(s, NULL, 0, ts, NULL) == SONDE_RECORD_SAMPLE;
    CHECK(n >= 60 && n <= 90); // a full bucket of 50, and 25 more
    CHECK_INT(ask(sonde_sampler_rate(0), NULL, 0, ts, NULL), SONDE_DROP);
    CHECK_INT(ask(sonde_sampler_rate(0.001), NULL, 0, ts, NULL), SONDE_RECORD_SAMPLE); // the first one
    check_done();
}

static void composed(void **state)
{
    (void)state;
    const struct sonde_field note[] = {SONDE_FIELD(SONDE_STR("why", "rule"))};
    const struct sonde_composable *on = sonde_composable_always_on(), *off = sonde_composable_always_off();
    const struct sonde_rule rules[] = {{.key = "route", .value = "/health", .use = off}, {.use = on}};
    const struct sonde_rule by_name[] = {
        {.name = "other", .use = off},
        {.name = "op", .kind = SONDE_KIND_SERVER, .parent = 2, .use = sonde_composable_annotating(on, note, 1)}};
    struct sonde_context p = parent(1, true);
    struct sonde_sample_out out;
    char ts[513] = "";
    CHECK_INT(ask(sonde_sampler_composite(on), NULL, 0, ts, NULL), SONDE_RECORD_SAMPLE);
    CHECK_STR(slice_str(ts), "ot=th:0");
    CHECK_INT(ask(sonde_sampler_composite(off), NULL, 0xff, ts, NULL), SONDE_DROP);
    CHECK_STR(slice_str(ts), "");
    CHECK_INT(ask(sonde_sampler_composite(sonde_composable_ratio(0.5)), NULL, 0x7f, ts, NULL), SONDE_DROP);
    CHECK_INT(ask(sonde_sampler_composite(sonde_composable_ratio(0.5)), NULL, 0x80, ts, NULL), SONDE_RECORD_SAMPLE);
    CHECK_STR(slice_str(ts), "ot=th:8");
    ts[0] = 0;
    CHECK_INT(ask(sonde_sampler_composite(sonde_composable_rules(rules, 2)), NULL, 0xff, ts, NULL), SONDE_DROP);
    CHECK_INT(ask(sonde_sampler_composite(sonde_composable_rules(rules, 0)), NULL, 0xff, ts, NULL), SONDE_DROP);
    CHECK_INT(ask(sonde_sampler_composite(sonde_composable_rules(by_name, 2)), NULL, 0, ts, &out), SONDE_RECORD_SAMPLE);
    CHECK_INT(out.n_attributes, 1);
    CHECK_INT(ask(sonde_sampler_composite(sonde_composable_rules(by_name, 2)), &p, 0, ts, &out), SONDE_DROP); // has a parent
    // The parent's threshold decides again with the same randomness; without one, its flag.
    const struct sonde_sampler *by_parent = sonde_sampler_composite(sonde_composable_parent_threshold(off));
    snprintf(p.tracestate, sizeof p.tracestate, "ot=th:8");
    snprintf(ts, sizeof ts, "%s", p.tracestate);
    CHECK_INT(ask(by_parent, &p, 0x90, ts, NULL), SONDE_RECORD_SAMPLE);
    CHECK_STR(slice_str(ts), "ot=th:8");
    CHECK_INT(ask(by_parent, &p, 0x70, ts, NULL), SONDE_DROP);
    p.tracestate[0] = ts[0] = 0;
    CHECK_INT(ask(by_parent, &p, 0, ts, NULL), SONDE_RECORD_SAMPLE);
    CHECK_STR(slice_str(ts), ""); // not known
    CHECK_INT(ask(by_parent, NULL, 0xff, ts, NULL), SONDE_DROP);
    check_done();
}

static enum sonde_decision mine(void *arg, const struct sonde_sample_in *in, struct sonde_sample_out *out)
{
    (void)arg;
    EXPECT(in->parent && strcmp(in->parent->request_id, "demo") == 0 && strcmp(in->parent->tracestate, "a=1") == 0);
    EXPECT(sonde_context_valid(in->parent) && in->parent->remote && in->kind == SONDE_KIND_CLIENT);
    EXPECT(in->n_attributes == 1 && in->n_links == 1 && strcmp(in->name, "op") == 0);
    EXPECT(strcmp(out->tracestate, "a=1") == 0);
    sonde_tracestate_edit(out->tracestate, "mine", "yes");
    out->attributes[out->n_attributes++] = (struct sonde_field){"sampler", SONDE_TYPE_STR, sonde_arg_str("mine")};
    return strcmp(in->attributes[0].key, "keep") == 0 ? SONDE_RECORD_SAMPLE : SONDE_RECORD_ONLY;
}
static int own(void *arg)
{
    (void)arg;
    seen_start();
    sonde_sampler_set(sonde_sampler_custom("mine", mine, NULL));
    struct sonde_context p = parent(0, true);
    snprintf(p.request_id, sizeof p.request_id, "demo");
    snprintf(p.tracestate, sizeof p.tracestate, "a=1");
    const struct sonde_link link = {.context = &p};
    for (int i = 0; i < 2; i++) {
        const struct sonde_field f = SONDE_FIELD(SONDE_STR(i ? "drop" : "keep", "x"));
        struct sonde_span *s = sonde_span_start_with(
            "op",
            &(struct sonde_span_options){
                .kind = SONDE_KIND_CLIENT, .parent = &p, .attributes = &f, .n_attributes = 1, .links = &link, .n_links = 1});
        EXPECT_STR(sonde_span_context(s)->tracestate, "mine=yes,a=1");
        EXPECT((sonde_span_context(s)->flags & 1) == !i && sonde_span_is_recording(s));
        sonde_span_end(s);
    }
    EXPECT_STR(seen_all(), "op kind=3 a{sampler='mine',keep='x'} link:07\nop kind=3 a{sampler='mine',drop='x'} link:07\n");
    sonde_sampler_set(NULL); // as before
    char out[4];
    outcome(out);
    EXPECT_STR(out, "SS-");
    return seen_fails;
}
static void custom(void **state)
{
    (void)state;
    alone(own);
}

// ---- what failed is exported after all ------------------------------------------------------------------------------
static struct sonde_memory_exporter *memory;
static bool exported(const char *name)
{
    struct sonde_export_batch b;
    sonde_flush(5000);
    for (size_t i = 0; sonde_memory_exporter_get(memory, i, &b); i++)
        if (memmem(b.otlp, b.n, name, strlen(name)))
            return true;
    return false;
}
static void trace_of(const char *root, const char *child, const char *grandchild, bool fails)
{
    struct sonde_span *r = sonde_span_start(root, SONDE_KIND_SERVER, NULL);
    struct sonde_span *c = sonde_span_start(child, SONDE_KIND_INTERNAL, sonde_span_context(r));
    struct sonde_span *g = sonde_span_start(grandchild, SONDE_KIND_INTERNAL, sonde_span_context(c));
    if (fails)
        sonde_span_status(g, SONDE_STATUS_ERROR, "m");
    sonde_span_end(g);
    sonde_span_end(c);
    EXPECT(!exported(child)); // not before the trace's end here
    sonde_span_end(r);
}
static int kept(void *arg)
{
    (void)arg;
    memory = sonde_memory_exporter_new();
    struct sonde_exporter x = sonde_memory_exporter_of(memory);
    x.signals = 1 << SONDE_TRACES;
    EXPECT(sonde_exporter_add(&x));
    trace_of("good-root", "good-child", "good-grandchild", false);
    EXPECT(!exported("good-root") && !exported("good-child") && !exported("good-grandchild"));
    trace_of("bad-root", "bad-child", "bad-grandchild", true);
    EXPECT(exported("bad-root") && exported("bad-child") && exported("bad-grandchild"));
    EXPECT(!exported("good-"));
    struct sonde_span *r = sonde_span_start("many-root", SONDE_KIND_SERVER, NULL);
    for (int i = 0; i < 1000; i++) // bounded
        sonde_span_end(sonde_span_start(i < 600 ? "many-first" : "many-last", SONDE_KIND_INTERNAL, sonde_span_context(r)));
    sonde_span_status(r, SONDE_STATUS_ERROR, NULL);
    sonde_span_end(r);
    EXPECT(exported("many-root") && exported("many-first") && !exported("many-last"));
    return seen_fails;
}
static void kept_errors(void **state)
{
    (void)state;
    static const char *const env[] = {"SONDE_TRACES_KEEP_ERRORS=1", "OTEL_TRACES_SAMPLE_RATIO=0", "OTEL_EXPORT_ENABLED=0", NULL};
    in_child(kept, NULL, env);
}

// ---- what Jaeger says -----------------------------------------------------------------------------------------------
// Randomness just below a half: sampled by shares above a half.
static char ask_as(const struct sonde_sampler *s, const char *name, char state[513])
{
    uint8_t id[16] = {1, [9] = 0x7f, 0xff};
    struct sonde_sample_out out = {.tracestate = state};
    state[0] = 0;
    return sonde_sampler_ask(s, &(struct sonde_sample_in){.trace_id = id, .name = name}, &out) == SONDE_RECORD_SAMPLE ? 'S' : '-';
}

static int strategies(void *arg)
{
    (void)arg;
    static const struct {
        const char *answer; // JSON; or what stands behind "pb:", in hex
        bool ok;
        const char *want; // operations a, b, c
        const char *state;
    } rows[] = {
        {"{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.75}}", true, "SSS", "ot=th:4"},
        {"{\"strategyType\":0,\"probabilisticSampling\":{\"samplingRate\":0.25}}", true, "---", ""},
        {"{\"probabilisticSampling\":{\"samplingRate\":1}, \"new\":[1,{}]}", true, "SSS", "ot=th:0"},
        {"{\"probabilisticSampling\":{\"samplingRate\":1.5}}", false, "SSS", "ot=th:0"}, // what was holds
        {"{\"probabilisticSampling\":{\"samplingRate\":-1}}", false, "SSS", "ot=th:0"},
        {"{\"strategyType\":\"PROBABILISTIC\"}", false, "SSS", "ot=th:0"},
        {"{\"strategyType\":7,\"probabilisticSampling\":{\"samplingRate\":0}}", false, "SSS", "ot=th:0"},
        {"{\"strategyType\":\"GUESSING\",\"probabilisticSampling\":{\"samplingRate\":0}}", false, "SSS", "ot=th:0"},
        {"{\"probabilisticSampling\":{\"samplingRate\":0}", false, "SSS", "ot=th:0"},
        {"", false, "SSS", "ot=th:0"},
        {"[]", false, "SSS", "ot=th:0"},
        {"{\"strategyType\":\"RATE_LIMITING\",\"rateLimitingSampling\":{\"maxTracesPerSecond\":1000}}", true, "SSS", ""},
        {"{\"strategyType\":1,\"rateLimitingSampling\":{\"maxTracesPerSecond\":-5}}", false, "SSS", ""},
        {"{\"strategyType\":1,\"rateLimitingSampling\":{\"maxTracesPerSecond\":0}}", true, "---", ""},
        {"{\"operationSampling\":{\"defaultSamplingProbability\":0.25,\"perOperationStrategies\":["
         "{\"operation\":\"a\",\"probabilisticSampling\":{\"samplingRate\":0.75}},"
         "{\"operation\":\"c\",\"probabilisticSampling\":{\"samplingRate\":0}}]}}",
         true, "S--", "ot=th:4"},
        {"{\"operationSampling\":{\"defaultSamplingProbability\":1,\"perOperationStrategies\":["
         "{\"operation\":\"b\",\"probabilisticSampling\":{\"samplingRate\":0}}]}}",
         true, "S-S", "ot=th:0"}, // a and c are named no more
        {"{\"operationSampling\":{\"defaultSamplingProbability\":1,\"perOperationStrategies\":["
         "{\"operation\":\"b\",\"probabilisticSampling\":{\"samplingRate\":2}}]}}",
         false, "S-S", "ot=th:0"},
        {"{\"operationSampling\":{\"defaultSamplingProbability\":0,\"defaultLowerBoundTracesPerSecond\":1e-5}}", true, "SSS",
         ""}, // the first of each
        {"{\"operationSampling\":{\"defaultSamplingProbability\":0,\"defaultLowerBoundTracesPerSecond\":1e-5}}", true, "---", ""},
        {"pb:1209090000"
         "0000"
         "0000"
         "e83f",
         true, "SSS", "ot=th:4"},                                            // 0.75
        {"pb:08011a0308e807", true, "SSS", ""},                              // 1,000 a second
        {"pb:08011a00", true, "---", ""},                                    // none
        {"pb:221009000000000000f03f1a050a01621200", true, "S-S", "ot=th:0"}, // 1, b 0
        {"pb:220b09000000000000f0bf1a00", false, "S-S", "ot=th:0"},          // -1
        {"pb:08", false, "S-S", "ot=th:0"},
        {"pb:", false, "S-S", "ot=th:0"},
    };
    sonde_init(NULL);
    const struct sonde_sampler *s = atomic_load(&trace.sampler);
    EXPECT(s && strcmp(sonde_sampler_description(s), "JaegerRemoteSampler") == 0);
    for (size_t i = 0; s && i < sizeof rows / sizeof *rows; i++) {
        bool json = strncmp(rows[i].answer, "pb:", 3) != 0;
        struct slice answer = slice_str(json ? rows[i].answer : rows[i].answer + 3);
        uint8_t bytes[256];
        char got[4] = "", state[3][513];
        if (!json) {
            EXPECT(hex_decode(bytes, answer.n / 2, answer));
            answer = slice_of(bytes, answer.n / 2);
        }
        bool ok = sampler_remote_answer(json, answer);
        for (int k = 0; k < 3; k++)
            got[k] = ask_as(s, k == 0 ? "a" : k == 1 ? "b" : "c", state[k]);
        if (ok != rows[i].ok || strcmp(got, rows[i].want) != 0 || strcmp(state[0], rows[i].state) != 0)
            fprintf(stderr, "row %zu: %d %s '%s'\n", i, ok, got, state[0]);
        EXPECT(ok == rows[i].ok);
        EXPECT_STR(got, rows[i].want);
        EXPECT_STR(state[0], rows[i].state);
    }
    for (int i = 0; i < 3000; i++) { // more operations than are kept apart
        char name[16], state[513];
        snprintf(name, sizeof name, "op %d", i);
        EXPECT(ask_as(s, name, state) == 'S');
    }
    return seen_fails;
}

static void remote_strategies(void **state)
{
    (void)state;
    static const char *const env[] = {
        "OTEL_TRACES_SAMPLER=jaeger_remote",
        "OTEL_TRACES_SAMPLER_ARG=endpoint=http://127.0.0.1:1,pollingIntervalMs=86400000,initialSamplingRate=1", NULL};
    in_child(strategies, NULL, env);
}

int main(void)
{
    if (CHILD_TSAN)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment),       cmocka_unit_test(ratio),   cmocka_unit_test(thresholds),
        cmocka_unit_test(consistent),        cmocka_unit_test(parents), cmocka_unit_test(rate),
        cmocka_unit_test(composed),          cmocka_unit_test(custom),  cmocka_unit_test(kept_errors),
        cmocka_unit_test(remote_strategies),
    };
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
