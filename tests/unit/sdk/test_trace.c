// Spans as an application makes them and as a span processor gets them (and so the exporter).
#include "check.h"
#include "seen.h"
#include <unistd.h>

static int create(void *arg)
{
    (void)arg;
    seen_start();
    struct sonde_span *root = sonde_span_start("root", SONDE_KIND_SERVER, NULL);
    const struct sonde_context *rc = sonde_span_context(root);
    EXPECT(sonde_context_valid(rc) && !rc->remote && (rc->flags & 3) == 3); // sampled, random
    sonde_span_enter(root);
    EXPECT(sonde_current() == rc && sonde_span_current() == root);
    struct sonde_span *child = sonde_span_start("child", SONDE_KIND_INTERNAL, NULL); // of the current one
    const struct sonde_context *cc = sonde_span_context(child);
    EXPECT(memcmp(cc->trace_id, rc->trace_id, 16) == 0 && memcmp(cc->span_id, rc->span_id, 8) != 0);
    struct sonde_span *apart = sonde_span_start_with("apart", &(struct sonde_span_options){.root = true});
    EXPECT(memcmp(sonde_span_context(apart)->trace_id, rc->trace_id, 16) != 0);
    struct sonde_context remote = {.trace_id = {7}, .span_id = {8}, .flags = 1, .remote = true, .request_id = "r-1"};
    struct sonde_span *far =
        sonde_span_start_with("far", &(struct sonde_span_options){.parent = &remote, .kind = SONDE_KIND_CONSUMER});
    EXPECT(memcmp(sonde_span_context(far)->trace_id, remote.trace_id, 16) == 0);
    EXPECT_STR(sonde_span_context(far)->request_id, "r-1");
    EXPECT(!sonde_span_context(far)->remote);
    sonde_span_end(far);
    sonde_span_end(apart);
    sonde_span_end(child);
    sonde_span_end(root); // also leaves it
    EXPECT(!sonde_current() && !sonde_span_current());
    EXPECT_STR(seen_all(), "far kind=5\napart\nchild\nroot kind=2\n");
    return seen_fails;
}

// A number that is no kind would not even be one byte of a message.
static int kinds(void *arg)
{
    (void)arg;
    seen_start();
    static const int kind[] = {0, 6, 99, 200, -1, SONDE_KIND_CONSUMER};
    for (size_t i = 0; i < CHECK_ROWS(kind); i++)
        sonde_span_end(sonde_span_start("op", (enum sonde_kind)kind[i], NULL));
    EXPECT_STR(seen_all(), "op\nop\nop\nop\nop\nop kind=5\n");
    return seen_fails;
}

static int attributes(void *arg)
{
    (void)arg;
    seen_start();
    static const int64_t ints[] = {1, -2};
    static const double doubles[] = {0.5, 2};
    static const bool bools[] = {true, false};
    static const char *const strings[] = {"a", "b,c"};
    const struct sonde_field at_start[] = {SONDE_FIELD(SONDE_STR("first", "1")), SONDE_FIELD(SONDE_INT("n", 5))};
    struct sonde_span *s = sonde_span_start_with("op", &(struct sonde_span_options){.attributes = at_start, .n_attributes = 2});
    sonde_span_str(s, "s", "text");
    sonde_span_strn(s, "sn", "texts", 4);
    sonde_span_int(s, "i", INT64_MIN);
    sonde_span_uint(s, "u", UINT64_MAX);
    sonde_span_f64(s, "f", 1.5);
    sonde_span_bool(s, "b", true);
    SONDE_SPAN_SET(s, SONDE_INTS("is", ints, 2), SONDE_F64S("fs", doubles, 2), SONDE_BOOLS("bs", bools, 2),
                   SONDE_STRS("ss", strings, 2), SONDE_BYTES("y", "\x01\x02", 2), SONDE_INT("i", 7));
    sonde_span_str(s, "null", NULL); // no value
    sonde_span_str(s, "", "no key");
    sonde_span_str(s, "gr\xc3\xbc\xc3\x9f", "\xe4\xb8\x96\xe7\x95\x8c");
    char big[6000];
    memset(big, 'x', sizeof big);
    sonde_span_strn(s, "big", big, sizeof big);
    sonde_span_end(s);
    const char *got = seen_all(), *at = strstr(got, ",big='");
    EXPECT(at && strspn(at + 6, "x") == sizeof big);
    *(char *)(uintptr_t)at = 0;
    EXPECT_STR(got, "op a{first='1',n=5,s='text',sn='text',i=7,u=18446744073709551615u,f=1.5f,b=true,is=[1,-2],fs=[0.5,2.0],"
                    "bs=[true,false],ss=[\"a\",\"b,c\"],y=\"AQI=\",gr\xc3\xbc\xc3\x9f='\xe4\xb8\x96\xe7\x95\x8c'");
    return seen_fails;
}

static int events_and_links(void *arg)
{
    (void)arg;
    seen_start();
    struct sonde_context a = {.trace_id = {0xaa}, .span_id = {1}}, b = {.trace_id = {0xbb}, .span_id = {2}, .remote = true};
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("k", "v")), SONDE_FIELD(SONDE_INT("n", 1))};
    const struct sonde_link links[] = {{&b, f, 2}, {&a, NULL, 0}};
    struct sonde_span *s = sonde_span_start_with("op", &(struct sonde_span_options){.links = links, .n_links = 2});
    sonde_span_event(s, "one");
    sonde_span_event_with(s, "two", 1700000000000000000, f, 2);
    SONDE_SPAN_EVENT(s, "three", SONDE_BOOL("yes", true));
    sonde_span_event_at(s, "four", 5);
    sonde_span_link(s, &links[1]); // after the start
    sonde_span_link(s, &(struct sonde_link){0});
    sonde_span_end(s);
    EXPECT_STR(seen_all(), "op event:one event:two e{k='v',n=1} event:three e{yes=true} event:four link:bb l{k='v',n=1} link:aa "
                           "link:aa\n");
    return seen_fails;
}

static int statuses(void *arg)
{
    (void)arg;
    seen_start();
    static const struct {
        enum sonde_status first, second;
        const char *seen;
    } rows[] = {
        {SONDE_STATUS_UNSET, SONDE_STATUS_UNSET, "op\n"},
        {SONDE_STATUS_ERROR, SONDE_STATUS_UNSET, "op status=2'm'\n"},
        {SONDE_STATUS_ERROR, SONDE_STATUS_OK, "op status=1''\n"},
        {SONDE_STATUS_OK, SONDE_STATUS_ERROR, "op status=1''\n"}, // final
        {SONDE_STATUS_UNSET, SONDE_STATUS_ERROR, "op status=2'm'\n"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
        sonde_span_status(s, rows[i].first, "m");
        sonde_span_status(s, rows[i].second, "m");
        sonde_span_end(s);
        EXPECT_STR(seen_all(), rows[i].seen);
    }
    return seen_fails;
}

static int names_and_times(void *arg)
{
    (void)arg;
    seen_start();
    struct sonde_span *s = sonde_span_start_at("before", SONDE_KIND_CLIENT, NULL, 1700000000000000000);
    sonde_span_name(s, "after");
    sonde_span_end_at(s, 1700000001000000000);
    EXPECT_STR(seen_all(), "after kind=3\n");
    return seen_fails;
}

static int64_t times[2];
static void take_times(void *arg, const struct sonde_span_data *d)
{
    (void)arg;
    times[0] = d->start_ns;
    times[1] = d->end_ns;
}
static int explicit_times(void *arg)
{
    (void)arg;
    static const struct sonde_span_processor p = {.on_end = take_times};
    sonde_span_processor_add(&p);
    struct sonde_span *s = sonde_span_start_at("op", SONDE_KIND_CLIENT, NULL, 1700000000000000000);
    sonde_span_end_at(s, 1700000001000000000);
    sonde_flush(2000);
    EXPECT(times[0] == 1700000000000000000 && times[1] == 1700000001000000000);
    return seen_fails;
}

static int exceptions(void *arg)
{
    (void)arg;
    seen_start();
    const struct sonde_field more[] = {SONDE_FIELD(SONDE_INT("attempt", 3)), SONDE_FIELD(SONDE_STR("exception.type", "better"))};
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    sonde_span_exception(s, &(struct sonde_exception){.type = "oom", .message = "no memory", .stack = "a\nb"});
    sonde_span_exception(s, &(struct sonde_exception){.type = "oom", .message = "m", .fields = more, .n_fields = 2});
    sonde_span_exception(s, &(struct sonde_exception){.stack = "neither type nor message"});
    sonde_span_end(s);
    EXPECT_STR(seen_all(), "op event:exception e{exception.type='oom',exception.message='no memory',exception.stacktrace='a\nb'} "
                           "event:exception e{exception.type='better',exception.message='m',attempt=3}\n");
    s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    sonde_span_exception(s, &(struct sonde_exception){.message = "m", .capture_stack = true});
    sonde_span_end(s);
    EXPECT(strstr(seen_all(), "exception.stacktrace='")); // and it holds frames:
    return seen_fails;
}

static int recording(void *arg)
{
    (void)arg;
    seen_start();
    struct sonde_span *s = sonde_span_hold(sonde_span_start("op", SONDE_KIND_INTERNAL, NULL));
    EXPECT(sonde_span_is_recording(s));
    sonde_span_end(s);
    EXPECT(!sonde_span_is_recording(s));
    sonde_span_str(s, "late", "x"); // nothing of this counts any more
    sonde_span_event(s, "late");
    sonde_span_end(s);
    sonde_span_enter(s);
    EXPECT(!sonde_span_current());
    EXPECT(sonde_context_valid(sonde_span_context(s)));
    sonde_span_release(s);
    EXPECT_STR(seen_all(), "op\n");
    return seen_fails;
}

static int scopes(void *arg)
{
    (void)arg;
    (void)0;
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("team", "x"))};
    struct sonde_tracer_options o = {"lib", "1.2", "https://opentelemetry.io/schemas/1.0", f, 1}, p = o;
    struct sonde_tracer *t = sonde_tracer_get(&o);
    EXPECT(t && sonde_tracer_get(&o) == t);
    p.version = "1.3";
    EXPECT(sonde_tracer_get(&p) != t);
    p = o;
    p.n_attributes = 0;
    EXPECT(sonde_tracer_get(&p) != t);
    EXPECT(sonde_tracer_get(&(struct sonde_tracer_options){.name = ""}) != NULL);
    return seen_fails;
}

static struct {
    char scope[300];
} scoped;
static void take_scope(void *arg, const struct sonde_span_data *d)
{
    (void)arg;
    snprintf(scoped.scope, sizeof scoped.scope, "%.*s|%.*s|%.*s|%zu|%.*s", (int)d->scope_name.n, d->scope_name.p,
             (int)d->scope_version.n, d->scope_version.p, (int)d->scope_schema_url.n, d->scope_schema_url.p,
             d->n_scope_attributes, d->n_scope_attributes ? (int)d->scope_attributes[0].text.n : 0,
             d->n_scope_attributes ? d->scope_attributes[0].text.p : "");
}
static int scope_on_span(void *arg)
{
    (void)arg;
    static const struct sonde_span_processor p = {.on_end = take_scope};
    sonde_span_processor_add(&p);
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("team", "x"))};
    struct sonde_tracer *t = sonde_tracer_get(&(struct sonde_tracer_options){"lib", "1.2", "https://schema", f, 1});
    sonde_span_end(sonde_span_start_with("op", &(struct sonde_span_options){.tracer = t}));
    sonde_flush(2000);
    EXPECT_STR(scoped.scope, "lib|1.2|https://schema|1|x");
    sonde_span_end(sonde_span_start("op", SONDE_KIND_INTERNAL, NULL)); // without a tracer: the place of the call
    sonde_flush(2000);
    EXPECT(strstr(scoped.scope, "test_trace|||0|"));
    return seen_fails;
}

static void on_start(void *arg, struct sonde_span *s, const struct sonde_context *parent)
{
    (void)arg;
    char text[160];
    snprintf(text, sizeof text, "%s", sonde_context_valid(parent) ? parent->request_id : "root");
    sonde_span_str(s, "parent", text);
}
static void on_ending(void *arg, struct sonde_span *s, int64_t end_ns)
{
    (void)arg, (void)end_ns;
    EXPECT(sonde_span_is_recording(s));
    sonde_span_bool(s, "ending", true); // still allowed
}
static int processors(void *arg)
{
    (void)arg;
    static const struct sonde_span_processor p = {.on_start = on_start, .on_ending = on_ending};
    EXPECT(sonde_span_processor_add(&p));
    seen_start();
    struct sonde_context remote = {.trace_id = {7}, .span_id = {8}, .flags = 1, .request_id = "demo"};
    sonde_span_end(sonde_span_start("child", SONDE_KIND_INTERNAL, &remote));
    sonde_span_end(sonde_span_start("top", SONDE_KIND_INTERNAL, NULL));
    EXPECT_STR(seen_all(), "child a{parent='demo',ending=true}\ntop a{parent='root',ending=true}\n");
    for (int i = 2; i < SONDE_SPAN_PROCESSORS_MAX; i++)
        EXPECT(sonde_span_processor_add(&p));
    EXPECT(!sonde_span_processor_add(&p));
    return seen_fails;
}

static void my_trace(void *arg, uint8_t out[16])
{
    (void)arg;
    memset(out, 0x11, 16);
}
static void my_span(void *arg, uint8_t out[8])
{
    memset(out, ++*(uint8_t *)arg, 8);
}
static int generators(void *arg)
{
    (void)arg;
    static uint8_t n;
    static struct sonde_id_generator g = {my_trace, my_span, false, &n};
    char text[56];
    sonde_id_generator_set(&g);
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    sonde_traceparent(sonde_span_context(s), text);
    EXPECT_STR(text, "00-11111111111111111111111111111111-0101010101010101-01"); // not random: flag 2 is not set
    struct sonde_span *c = sonde_span_start("op", SONDE_KIND_INTERNAL, sonde_span_context(s));
    sonde_traceparent(sonde_span_context(c), text);
    EXPECT_STR(text, "00-11111111111111111111111111111111-0202020202020202-01");
    sonde_span_end(c);
    sonde_span_end(s);
    sonde_id_generator_set(NULL);
    s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    EXPECT(sonde_span_context(s)->trace_id[0] != 0x11 || sonde_span_context(s)->trace_id[1] != 0x11);
    sonde_span_end(s);
    return seen_fails;
}

static int blocks(void *arg)
{
    (void)arg;
    seen_start();
    {
        SONDE_SPAN("outer", SONDE_INT("n", 1));
        {
            SONDE_SPAN_AS(inner, "inner");
            EXPECT(sonde_span_current() == inner);
        }
        EXPECT(sonde_span_current() != NULL);
    }
    EXPECT(sonde_span_current() == NULL);
    EXPECT_STR(seen_all(), "inner\nouter a{n=1}\n");
    return seen_fails;
}

// ---- limits ---------------------------------------------------------------------------------------------------------
static int limited(void *want)
{
    seen_start();
    static const char *const strings[] = {"abcd", "gr\xc3\xbc\xc3\x9f"
                                                  "e"};
    struct sonde_context c = {.trace_id = {0xaa}, .span_id = {1}};
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("k1", "vvvvv")), SONDE_FIELD(SONDE_INT("k2", 123456)),
                                    SONDE_FIELD(SONDE_BOOL("k3", true))};
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    sonde_span_attributes(s, f, 3);
    SONDE_SPAN_SET(s, SONDE_STRS("k1", strings, 2)); // replaces, which is always allowed
    for (int i = 0; i < 3; i++) {
        sonde_span_event_with(s, "e", 1, f, 3);
        sonde_span_link(s, &(struct sonde_link){&c, f, 3});
    }
    sonde_span_end(s);
    EXPECT_STR(seen_all(), want);
    return seen_fails;
}

static void limits(void **state)
{
    (void)state;
    static const struct {
        const char *env[4];
        const char *want;
    } rows[] = {
        {{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=2"},
         "op a{k1=[\"abcd\",\"gr\xc3\xbc\xc3\x9f"
         "e\"],k2=123456,-1} event:e e{k1='vvvvv',k2=123456,k3=true} event:e "
         "e{k1='vvvvv',k2=123456,k3=true} event:e e{k1='vvvvv',k2=123456,k3=true} link:aa l{k1='vvvvv',k2=123456,k3=true} "
         "link:aa "
         "l{k1='vvvvv',k2=123456,k3=true} link:aa l{k1='vvvvv',k2=123456,k3=true}\n"},
        {{"OTEL_SPAN_EVENT_COUNT_LIMIT=1", "OTEL_SPAN_LINK_COUNT_LIMIT=0", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=0"},
         "op a{-4} event:e e{k1='vvvvv',k2=123456,k3=true} events-2 links-3\n"},
        {{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT=1", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT=2", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=3"},
         "op a{k1=[\"abc\",\"gr\xc3\xbc\"],k2=123456,k3=true} event:e e{k1='vvv',-2} event:e e{k1='vvv',-2} event:e "
         "e{k1='vvv',-2} "
         "link:aa l{k1='vvv',k2=123456,-1} link:aa l{k1='vvv',k2=123456,-1} link:aa l{k1='vvv',k2=123456,-1}\n"},
        {{"OTEL_ATTRIBUTE_COUNT_LIMIT=1", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=4",
          "OTEL_SPAN_EVENT_COUNT_LIMIT=1"}, // the general ones
         "op a{k1=[\"abcd\",\"gr\xc3\xbc\xc3\x9f\"],-2} event:e e{k1='vvvv',-2} events-2 link:aa l{k1='vvvv',-2} link:aa "
         "l{k1='vvvv',-2} link:aa l{k1='vvvv',-2}\n"},
        {{"OTEL_ATTRIBUTE_COUNT_LIMIT=1", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=3", "OTEL_SPAN_EVENT_COUNT_LIMIT=0"}, // own ones win
         "op a{k1=[\"abcd\",\"gr\xc3\xbc\xc3\x9f"
         "e\"],k2=123456,k3=true} events-3 link:aa l{k1='vvvvv',-2} link:aa "
         "l{k1='vvvvv',-2} link:aa l{k1='vvvvv',-2}\n"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++)
        in_child(limited, (void *)(uintptr_t)rows[i].want, rows[i].env);
}

static void limit_told_once(void **state)
{
    (void)state;
    struct buf out;
    static const char *const env[] = {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=1", "OTEL_SPAN_EVENT_COUNT_LIMIT=1", NULL};
    CHECK_INT(child_run(limited,
                        "op a{k1=[\"abcd\",\"gr\xc3\xbc\xc3\x9f"
                        "e\"],-2} event:e e{k1='vvvvv',k2=123456,k3=true} "
                        "events-2 link:aa l{k1='vvvvv',k2=123456,k3=true} link:aa l{k1='vvvvv',k2=123456,k3=true} "
                        "link:aa l{k1='vvvvv',k2=123456,k3=true}\n",
                        env, &out),
              0);
    CHECK_INT(count_of(&out, "is over its limits"), 1);
    CHECK_INT(count_of(&out, "dropped_attributes=2"), 1);
    buf_free(&out);
    check_done();
}

// ---- threads --------------------------------------------------------------------------------------------------------
static void *say_much(void *arg)
{
    struct sonde_span *s = arg;
    for (int i = 0; i < 100; i++) {
        sonde_span_event(s, "e");
        sonde_span_int(s, "n", i);
        sonde_span_end(sonde_span_start("child", SONDE_KIND_INTERNAL, sonde_span_context(s)));
    }
    sonde_span_release(s);
    return NULL;
}
static int together(void *arg)
{
    (void)arg;
    seen_start();
    pthread_t t[4];
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, say_much, sonde_span_hold(s));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    sonde_span_end(s);
    const char *got = seen_all();
    size_t children = 0, events = 0;
    for (const char *p = got; (p = strstr(p, "child\n")); p++)
        children++;
    for (const char *p = got; (p = strstr(p, "event:e")); p++)
        events++;
    EXPECT(children == 400 && events == 128 && strstr(got, "events-272"));
    return seen_fails;
}
static void *end_there(void *arg)
{
    sonde_span_str(arg, "ended", "there");
    sonde_span_end(arg);
    return NULL;
}
static int moved(void *arg)
{
    (void)arg;
    seen_start();
    pthread_t t;
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    sonde_span_exit(s);
    pthread_create(&t, NULL, end_there, s);
    pthread_join(t, NULL);
    EXPECT_STR(seen_all(), "op a{ended='there'}\n");
    return seen_fails;
}
static void *get_tracers(void *arg)
{
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i % 20);
        if (!sonde_tracer_get(&(struct sonde_tracer_options){.name = name}))
            *(int *)arg = 1;
    }
    return NULL;
}
static int tracers_together(void *arg)
{
    (void)arg;
    pthread_t t[4];
    int failed[4] = {0};
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, get_tracers, &failed[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    EXPECT(!(failed[0] | failed[1] | failed[2] | failed[3]));
    EXPECT(sonde_tracer_get(&(struct sonde_tracer_options){.name = "t3"}) ==
           sonde_tracer_get(&(struct sonde_tracer_options){.name = "t3"}));
    return seen_fails;
}

// ---- life -----------------------------------------------------------------------------------------------------------
static int flush_and_end(void *arg)
{
    (void)arg;
    seen_start();
    sonde_span_end(sonde_span_start("flushed", SONDE_KIND_INTERNAL, NULL));
    EXPECT(sonde_flush(5000));
    EXPECT(strstr(seen.p, "flushed\n"));
    sonde_span_end(sonde_span_start("late", SONDE_KIND_INTERNAL, NULL));
    EXPECT(sonde_shutdown(5000));
    EXPECT(strstr(seen.p, "late\n"));
    EXPECT(sonde_shutdown(5000)); // again: nothing happens
    sonde_span_end(sonde_span_start("after", SONDE_KIND_INTERNAL, NULL));
    return seen_fails;
}

static int off(void *arg)
{
    (void)arg;
    seen_start();
    struct sonde_context remote = {.trace_id = {7}, .span_id = {8}, .flags = 1, .remote = true}, out;
    struct sonde_span *s = sonde_span_start("op", SONDE_KIND_INTERNAL, &remote);
    EXPECT(!sonde_span_is_recording(s));
    EXPECT(memcmp(sonde_span_context(s)->span_id, remote.span_id, 8) == 0); // passed through
    sonde_span_end(s);
    s = sonde_span_start("op", SONDE_KIND_INTERNAL, NULL);
    EXPECT(!sonde_context_valid(sonde_span_context(s)));
    sonde_span_enter(s);
    SONDE_INFO("in a span that is none");
    sonde_span_end(s);
    EXPECT_STR(seen_all(), "");
    EXPECT(sonde_propagator_global() != sonde_propagator_named("none")); // propagators stay
    (void)out;
    return seen_fails;
}
static void disabled(void **state)
{
    (void)state;
    static const char *const env[] = {"OTEL_SDK_DISABLED=true", NULL};
    in_child(off, NULL, env);
}

// A record inside of a dropped span: its line is as complete as any.
static int told(void *arg)
{
    (void)arg;
    struct sonde_context remote = {.trace_id = {7}, .span_id = {8}, .flags = 0, .remote = true, .request_id = "demo-1"};
    struct sonde_span *s = sonde_span_start("dropped", SONDE_KIND_SERVER, &remote);
    sonde_span_str(s, "model", "m1");
    sonde_span_enter(s);
    sonde_span_int(s, "n", 2);
    SONDE_INFO("inside");
    sonde_span_str(s, "later", "x");
    SONDE_INFO("again");
    EXPECT(!sonde_span_is_recording(s));
    sonde_span_end(s);
    return seen_fails;
}
static void dropped_spans_on_lines(void **state)
{
    (void)state;
    static const char *const env[] = {"DYN_LOGGING_JSONL=1", NULL};
    struct buf out;
    CHECK_INT(child_run(told, NULL, env, &out), 0);
    CHECK_INT(count_of(&out, "\"message\":\"inside\",\"model\":\"m1\",\"n\":2,\"parent_id\":\"0800000000000000\",\"span_id\":\""),
              1);
    CHECK_INT(count_of(&out, "\"message\":\"again\",\"later\":\"x\",\"model\":\"m1\",\"n\":2"), 1);
    CHECK_INT(count_of(&out, "\"span_name\":\"dropped\""), 2);
    CHECK_INT(count_of(&out, "\"x_request_id\":\"demo-1\""), 2);
    buf_free(&out);
    check_done();
}

// Dropped spans one after the other have one handle: none has anything of those before it.
static int reused(void *arg)
{
    (void)arg;
    struct sonde_context remote = {.trace_id = {7}, .span_id = {8}, .remote = true}, ids[3];
    for (int round = 0; round < 3; round++) {
        struct sonde_span *s = sonde_span_start("child", SONDE_KIND_SERVER, &remote);
        EXPECT(sonde_span_context(s)->trace_id[0] == 7);
        sonde_span_end(s);
        if (round == 1)
            sonde_span_end(sonde_span_start("nothing", SONDE_KIND_CLIENT, NULL));
        s = sonde_span_start("said", SONDE_KIND_SERVER, NULL);
        sonde_span_str(s, "old", "x");
        sonde_span_end(s);
        s = sonde_span_start("fresh", SONDE_KIND_INTERNAL, NULL);
        sonde_span_enter(s);
        ids[round] = *sonde_span_context(s);
        EXPECT(sonde_context_valid(&ids[round]) && !(ids[round].flags & 1) && !ids[round].remote);
        SONDE_INFO("inside", SONDE_INT("round", round));
        sonde_span_end(s);
        for (int i = 0; i < round; i++)
            EXPECT(memcmp(ids[i].trace_id, ids[round].trace_id, 16) != 0 && memcmp(ids[i].span_id, ids[round].span_id, 8) != 0);
    }
    return seen_fails;
}
static void dropped_spans_of_one_handle(void **state)
{
    (void)state;
    static const char *const env[] = {"DYN_LOGGING_JSONL=1", "OTEL_TRACES_SAMPLER=always_off", NULL};
    struct buf out;
    CHECK_INT(child_run(reused, NULL, env, &out), 0);
    CHECK_INT(count_of(&out, "\"message\":\"inside\",\"round\":"), 3); // between them would be "old" and "parent_id"
    CHECK_INT(count_of(&out, "\"span_name\":\"fresh\""), 3);
    CHECK_INT(count_of(&out, "\"old\"") + count_of(&out, "parent_id"), 0);
    buf_free(&out);
    check_done();
}

// A handle that somebody holds is nobody else's, behind its end neither; two that live at a time are two.
static int held_dropped(void *arg)
{
    (void)arg;
    struct sonde_span *held[4] = {NULL};
    for (int round = 0; round < 4; round++) {
        struct sonde_span *s = sonde_span_start("held", SONDE_KIND_INTERNAL, NULL);
        sonde_span_hold(s);
        if (round & 1)
            sonde_span_release(s);
        sonde_span_end(s);
        struct sonde_span *a = sonde_span_start("other", SONDE_KIND_INTERNAL, NULL);
        struct sonde_span *b = sonde_span_start("other", SONDE_KIND_INTERNAL, NULL);
        EXPECT(a != b && ((round & 1) || (s != a && s != b)));
        for (int i = 0; i < round; i++)
            EXPECT(held[i] != a && held[i] != b);
        if (!(round & 1)) {
            held[round] = s;
            EXPECT(sonde_context_valid(sonde_span_context(s)));
        }
        sonde_span_end(b);
        sonde_span_end(a);
    }
    for (int round = 0; round < 4; round += 2)
        sonde_span_release(held[round]);
    return seen_fails;
}
static void dropped_spans_held(void **state)
{
    (void)state;
    static const char *const env[] = {"OTEL_TRACES_SAMPLER=always_off", NULL};
    struct buf out;
    CHECK_INT(child_run(held_dropped, NULL, env, &out), 0);
    buf_free(&out);
    check_done();
}

#define ALONE(fn)                   \
    static void fn##_(void **state) \
    {                               \
        (void)state;                \
        alone(fn);                  \
    }
ALONE(create)
ALONE(kinds)
ALONE(attributes)
ALONE(events_and_links)
ALONE(statuses)
ALONE(names_and_times)
ALONE(explicit_times)
ALONE(exceptions)
ALONE(recording)
ALONE(scopes)
ALONE(scope_on_span)
ALONE(processors)
ALONE(generators)
ALONE(blocks)
ALONE(together)
ALONE(moved)
ALONE(tracers_together)
ALONE(flush_and_end)

int main(void)
{
    if (CHILD_TSAN)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_),
        cmocka_unit_test(kinds_),
        cmocka_unit_test(attributes_),
        cmocka_unit_test(events_and_links_),
        cmocka_unit_test(statuses_),
        cmocka_unit_test(names_and_times_),
        cmocka_unit_test(explicit_times_),
        cmocka_unit_test(exceptions_),
        cmocka_unit_test(recording_),
        cmocka_unit_test(scopes_),
        cmocka_unit_test(scope_on_span_),
        cmocka_unit_test(processors_),
        cmocka_unit_test(generators_),
        cmocka_unit_test(blocks_),
        cmocka_unit_test(limits),
        cmocka_unit_test(limit_told_once),
        cmocka_unit_test(together_),
        cmocka_unit_test(moved_),
        cmocka_unit_test(tracers_together_),
        cmocka_unit_test(flush_and_end_),
        cmocka_unit_test(disabled),
        cmocka_unit_test(dropped_spans_on_lines),
        cmocka_unit_test(dropped_spans_of_one_handle),
        cmocka_unit_test(dropped_spans_held),
    };
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
