// Propagators in and out of a list of headers, of environments and of bytes.
#include "check.h"
#include "seen.h"
#include <spawn.h>
#include <stdarg.h>

#define ID   "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

struct headers {
    char name[32][64], value[32][600];
    size_t n;
};
static const char *get(void *carrier, const char *name, int nth, size_t *len)
{
    struct headers *h = carrier;
    for (size_t i = 0; i < h->n; i++) {
        if (strcasecmp(h->name[i], name) == 0 && nth-- == 0) {
            *len = strlen(h->value[i]);
            return h->value[i];
        }
    }
    return NULL;
}
static const char *keys(void *carrier, int nth)
{
    struct headers *h = carrier;
    return (size_t)nth < h->n ? h->name[nth] : NULL;
}
static void set(void *carrier, const char *name, const char *value, size_t len)
{
    struct headers *h = carrier;
    snprintf(h->name[h->n], 64, "%s", name);
    snprintf(h->value[h->n++], 600, "%.*s", (int)len, value);
}
// "name: value|name: value"
static void fill(struct headers *h, const char *text)
{
    struct slice rest = slice_str(text), part;
    h->n = 0;
    while (rest.n && slice_split(&rest, '|', &part)) {
        size_t at = (size_t)slice_find(part, SLICE(": "));
        snprintf(h->name[h->n], 64, "%.*s", (int)at, part.p);
        snprintf(h->value[h->n++], 600, "%.*s", (int)(part.n - at - 2), part.p + at + 2);
    }
}
static void print(const struct headers *h, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < h->n && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s: %s", i ? "|" : "", h->name[i], h->value[i]);
}

static void formats(void **state)
{
    (void)state;
    static const struct {
        const char *with, *in, *parent; // parent: what was understood, "" nothing
    } rows[] = {
        {"tracecontext", "Traceparent: 00-" ID "-" SPAN "-01", "00-" ID "-" SPAN "-01"},
        {"tracecontext", "traceparent: 00-" ID "-" SPAN "-01|traceparent: 00-" ID "-" SPAN "-01", ""},
        {"tracecontext", "b3: " ID "-" SPAN "-1", ""},
        {"b3", "b3: " ID "-" SPAN "-1", "00-" ID "-" SPAN "-01"},
        {"b3", "b3: " ID "-" SPAN "-0", "00-" ID "-" SPAN "-00"},
        {"b3", "b3: " ID "-" SPAN "-d", "00-" ID "-" SPAN "-01"},
        {"b3", "b3: " ID "-" SPAN, "00-" ID "-" SPAN "-01"},
        {"b3", "b3: " ID "-" SPAN "-1-00f067aa0ba902b7", "00-" ID "-" SPAN "-01"},
        {"b3", "b3: 8448eb211c80319c-" SPAN "-1", "00-00000000000000008448eb211c80319c-" SPAN "-01"},
        {"b3", "b3: 0", ""},
        {"b3", "b3: " ID, ""},
        {"b3", "b3: 1234-" SPAN "-1", ""},
        {"b3", "b3: " ID "-" SPAN "-1-x-y", ""},
        {"b3", "b3: 00000000000000000000000000000000-" SPAN "-1", ""},
        {"b3", "b3: zz|X-B3-TraceId: " ID "|X-B3-SpanId: " SPAN "|X-B3-Sampled: 1", "00-" ID "-" SPAN "-01"},
        {"b3multi", "X-B3-TraceId: " ID "|X-B3-SpanId: " SPAN "|X-B3-Sampled: 0", "00-" ID "-" SPAN "-00"},
        {"b3multi", "x-b3-traceid: " ID "|x-b3-spanid: " SPAN "|x-b3-sampled: true", "00-" ID "-" SPAN "-01"},
        {"b3multi", "x-b3-traceid: " ID "|x-b3-spanid: " SPAN "|x-b3-sampled: 0|x-b3-flags: 1", "00-" ID "-" SPAN "-01"},
        {"b3multi", "x-b3-traceid: " ID "|x-b3-spanid: " SPAN "|x-b3-flags: 1", "00-" ID "-" SPAN "-01"},
        {"b3multi", "x-b3-traceid: " ID, ""},
        {"jaeger", "uber-trace-id: " ID ":" SPAN ":0:1", "00-" ID "-" SPAN "-01"},
        {"jaeger", "uber-trace-id: " ID "%3A" SPAN "%3A0%3a0", "00-" ID "-" SPAN "-00"},
        {"jaeger", "uber-trace-id: 1c80319c:3331:0:3", "00-0000000000000000000000001c80319c-0000000000003331-01"},
        {"jaeger", "uber-trace-id: 0:0:0:1", ""},
        {"jaeger", "uber-trace-id: " ID ":" SPAN ":1", ""},
        {"jaeger", "uber-trace-id: " ID "1:" SPAN ":0:1", ""},
        {"jaeger", "uber-trace-id: x" ID ":" SPAN ":0:1", ""},
        {"ottrace", "ot-tracer-traceid: " ID "|ot-tracer-spanid: " SPAN "|ot-tracer-sampled: true", "00-" ID "-" SPAN "-01"},
        {"ottrace", "ot-tracer-traceid: 8448eb211c80319c|ot-tracer-spanid: " SPAN "|ot-tracer-sampled: false",
         "00-00000000000000008448eb211c80319c-" SPAN "-00"},
        {"ottrace", "ot-tracer-spanid: " SPAN, ""},
        {"xray", "X-Amzn-Trace-Id: Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=" SPAN ";Sampled=1", "00-" ID "-" SPAN "-01"},
        {"xray", "X-Amzn-Trace-Id: Sampled=0; Parent=" SPAN "; Root=1-0af76519-16cd43dd8448eb211c80319c",
         "00-" ID "-" SPAN "-00"},
        {"xray", "X-Amzn-Trace-Id: Root=1-0af7651-16cd43dd8448eb211c80319c;Parent=" SPAN, ""},
        {"xray", "X-Amzn-Trace-Id: Root=1-0af76519-16cd43dd8448eb211c80319c", ""},
        {"none", "traceparent: 00-" ID "-" SPAN "-01", ""},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        static struct headers h;
        struct sonde_carrier c = {get, set, keys, &h};
        struct sonde_context out = {.request_id = "kept"};
        const struct sonde_propagator *p = sonde_propagator_named(rows[i].with);
        char text[56];
        fill(&h, rows[i].in);
        check_row("%s: %s", rows[i].with, rows[i].in);
        CHECK_INT(p->extract(p, &out, NULL, &c), rows[i].parent[0] != 0);
        sonde_traceparent(&out, text);
        CHECK_STR(slice_str(text), rows[i].parent);
        CHECK(out.remote == (rows[i].parent[0] != 0) && strcmp(out.request_id, "kept") == 0);
    }
    check_done();
}

static struct sonde_context sample(void)
{
    struct sonde_context c = {.flags = 1, .tracestate = "a=1"};
    hex_decode(c.trace_id, 16, SLICE(ID));
    hex_decode(c.span_id, 8, SLICE(SPAN));
    return c;
}

// Formats that have a header for each member: a name once, the last one, and a value whole or not at all.
static void baggage_headers(void **state)
{
    (void)state;
    static char big[2000], text[8000];
    static struct headers h;
    struct sonde_carrier c = {get, set, keys, &h};
    struct sonde_baggage *b = sonde_baggage_new();
    struct sonde_context out = {{0}}, in = sample();
    fill(&h, "baggage: a=1,b=2,A=3,c=%20,a=4");
    const struct sonde_propagator *w3c = sonde_propagator_named("baggage"), *p = sonde_propagator_named("jaeger");
    CHECK(w3c->extract(w3c, &out, b, &c) || sonde_baggage_get(b, "b"));
    memset(big, ' ', sizeof big - 1); // three characters each in a header
    sonde_baggage_set(b, "big", big, NULL);
    h.n = 0;
    p->inject(p, &in, b, &c);
    print(&h, text, sizeof text);
    CHECK_STR(slice_str(text), "uber-trace-id: " ID ":" SPAN ":0:1|uberctx-b: 2|uberctx-c: %20|uberctx-a: 4");
    sonde_baggage_free(b);
    check_done();
}

static void out_again(void **state)
{
    (void)state;
    static const struct {
        const char *with, *out;
    } rows[] = {
        {"tracecontext", "traceparent: 00-" ID "-" SPAN "-01|tracestate: a=1"},
        {"baggage", "baggage: user=A%20B"},
        {"b3", "b3: " ID "-" SPAN "-1"},
        {"b3multi", "x-b3-traceid: " ID "|x-b3-spanid: " SPAN "|x-b3-sampled: 1"},
        {"jaeger", "uber-trace-id: " ID ":" SPAN ":0:1|uberctx-user: A%20B"},
        {"ottrace",
         "ot-tracer-traceid: 8448eb211c80319c|ot-tracer-spanid: " SPAN "|ot-tracer-sampled: true|ot-baggage-user: A%20B"},
        {"xray", "x-amzn-trace-id: Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=" SPAN ";Sampled=1"},
        {"none", ""},
    };
    struct sonde_baggage *b = sonde_baggage_new();
    sonde_baggage_set(b, "user", "A B", NULL);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        static struct headers h;
        struct sonde_carrier c = {get, set, keys, &h};
        struct sonde_context in = sample(), none = {{0}};
        const struct sonde_propagator *p = sonde_propagator_named(rows[i].with);
        char text[2000];
        check_row("%s", rows[i].with);
        h.n = 0;
        p->inject(p, &none, NULL, &c);
        CHECK_INT(h.n, 0); // nothing to say
        p->inject(p, &in, b, &c);
        print(&h, text, sizeof text);
        CHECK_STR(slice_str(text), rows[i].out);
        for (size_t k = 0; k < h.n; k++) { // what it sets are its fields, but for baggage under names of its own
            bool known = strstr(h.name[k], "uberctx-") || strstr(h.name[k], "ot-baggage-");
            for (size_t f = 0; p->fields[f]; f++)
                known = known || strcmp(p->fields[f], h.name[k]) == 0;
            CHECK(known);
        }
        struct sonde_baggage *back = sonde_baggage_new();
        struct sonde_context out = {{0}};
        if (h.n)
            CHECK(p->extract(p, &out, back, &c));
        if (strstr(rows[i].out, "A%20B"))
            CHECK_STR(slice_str(sonde_baggage_get(back, "user")), "A B");
        sonde_baggage_free(back);
    }
    sonde_baggage_free(b);
    check_done();
}

// B3's debug is kept for those behind us, through a span as well; other formats do not know it.
static int debug_on(void *arg)
{
    (void)arg;
    static const struct {
        const char *in, *b3, *multi;
    } rows[] = {{"b3: " ID "-" SPAN "-d", "-d", "x-b3-flags: 1"},
                {"x-b3-traceid: " ID "|x-b3-spanid: " SPAN "|x-b3-flags: 1", "-d", "x-b3-flags: 1"},
                {"b3: " ID "-" SPAN "-1", "-1", "x-b3-sampled: 1"},
                {"b3: " ID "-" SPAN "-0", "-0", "x-b3-sampled: 0"}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        static struct headers h;
        struct sonde_carrier c = {get, set, keys, &h};
        struct sonde_context in = {{0}};
        char text[2000], parent[56];
        const struct sonde_propagator *b3 = sonde_propagator_named("b3"), *multi = sonde_propagator_named("b3multi");
        fill(&h, rows[i].in);
        EXPECT(b3->extract(b3, &in, NULL, &c));
        struct sonde_span *s = sonde_span_start("op", SONDE_KIND_SERVER, &in);
        h.n = 0;
        b3->inject(b3, sonde_span_context(s), NULL, &c);
        print(&h, text, sizeof text);
        EXPECT(strlen(text) > 2 && strcmp(text + strlen(text) - 2, rows[i].b3) == 0);
        h.n = 0;
        multi->inject(multi, sonde_span_context(s), NULL, &c);
        print(&h, text, sizeof text);
        EXPECT(h.n == 3 && strstr(text, rows[i].multi));
        sonde_traceparent(sonde_span_context(s), parent);
        EXPECT(parent[53] == '0' && parent[54] == (rows[i].b3[1] == '0' ? '0' : '1'));
        sonde_span_end(s);
    }
    return seen_fails;
}
static void debug(void **state)
{
    (void)state;
    in_child(debug_on, NULL, (const char *const[]){NULL});
}

static void composites(void **state)
{
    (void)state;
    const struct sonde_propagator *w3c = sonde_propagator_named("tracecontext"), *b3 = sonde_propagator_named("B3");
    const struct sonde_propagator *parts[] = {w3c, b3, w3c, b3}, *p = sonde_propagator_composite(parts, 4);
    static struct headers h;
    struct sonde_carrier c = {get, set, keys, &h};
    struct sonde_context in = sample(), out = {{0}};
    char text[1000];
    CHECK(p->fields[0] && p->fields[1] && p->fields[2] && !p->fields[3]); // each once
    p->inject(p, &in, NULL, &c);
    print(&h, text, sizeof text);
    CHECK_STR(slice_str(text), "traceparent: 00-" ID "-" SPAN "-01|tracestate: a=1|b3: " ID "-" SPAN "-1");
    fill(&h, "traceparent: broken|b3: " ID "-" SPAN "-1"); // what is broken does not disturb the others
    CHECK(p->extract(p, &out, NULL, &c));
    CHECK(sonde_propagator_named("w3c") == NULL && sonde_propagator_named(NULL) == NULL);
    check_done();
}

// ---- the global one -------------------------------------------------------------------------------------------------
static int fields_of_global(void *want)
{
    char text[300] = "";
    sonde_init(NULL);
    const struct sonde_propagator *p = sonde_propagator_global();
    for (size_t i = 0; p->fields[i]; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? "," : "", p->fields[i]);
    EXPECT_STR(text, want);
    sonde_propagator_set_global(sonde_propagator_named("b3"));
    EXPECT(sonde_propagator_global() == sonde_propagator_named("b3"));
    static struct headers h;
    struct sonde_context c = sample();
    sonde_inject(&c, set, &h);
    EXPECT(h.n == 1 && strcmp(h.name[0], "b3") == 0);
    return seen_fails;
}

static void environment(void **state)
{
    (void)state;
    static const struct {
        const char *env[3], *want, *note;
    } rows[] = {
        {{NULL}, "traceparent,tracestate,baggage", NULL},
        {{"OTEL_PROPAGATORS="}, "traceparent,tracestate,baggage", NULL},
        {{"OTEL_PROPAGATORS=tracecontext"}, "traceparent,tracestate", NULL},
        {{"OTEL_PROPAGATORS=b3, b3 ,baggage,b3"}, "b3,baggage", NULL},
        {{"OTEL_PROPAGATORS=b3multi,jaeger"}, "x-b3-traceid,x-b3-spanid,x-b3-sampled,x-b3-flags,uber-trace-id", NULL},
        {{"OTEL_PROPAGATORS=none"}, "", NULL},
        {{"OTEL_PROPAGATORS=tracecontext,none"}, "", NULL},
        {{"OTEL_PROPAGATORS=smoke,xray"}, "x-amzn-trace-id", "OTEL_PROPAGATORS: 'smoke' is not known"},
        {{"OTEL_PROPAGATORS=tracecontext", "OTEL_SDK_DISABLED=true"}, "traceparent,tracestate", NULL},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf out;
        check_row("%s", rows[i].env[0] ? rows[i].env[0] : "");
        CHECK_INT(child_run(fields_of_global, (void *)(uintptr_t)rows[i].want, rows[i].env, &out), 0);
        CHECK_INT(count_of(&out, "OTEL_PROPAGATORS"), rows[i].note ? 1 : 0);
        if (rows[i].note)
            CHECK_INT(count_of(&out, rows[i].note), 1);
        buf_free(&out);
    }
    check_done();
}

static void request_ids(void **state)
{
    (void)state;
#define UUID "11112222-3333-4444-8555-666677778888"
    static const struct {
        const char *in, *request, *dynamo;
    } rows[] = {
        {"x-request-id: demo-42", "demo-42", ""},
        {"x-dynamo-request-id: " UUID, "", UUID},
        {"request-id: " UUID "|x-dynamo-request-id: 99992222-3333-4444-8555-666677778888", "", UUID},
        {"request-id: no-uuid|x-dynamo-request-id: " UUID, "", UUID},
        {"x-dynamo-request-id: 11112222333344448555666677778888", "", UUID},
        {"x-dynamo-request-id: 1111AAAA-3333-4444-8555-666677778888", "", "1111aaaa-3333-4444-8555-666677778888"},
        {"x-dynamo-request-id: 1111222-23333-4444-8555-666677778888", "", ""},
        {"x-dynamo-request-id: demo", "", ""},
        {"x-dynamo-request-id: " UUID "1", "", ""},
        {"x-request-id: a b|x-dynamo-request-id: " UUID "|traceparent: broken", "a b", UUID},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        static struct headers h;
        struct sonde_context c;
        check_row("%s", rows[i].in);
        fill(&h, rows[i].in);
        CHECK(!sonde_extract(&c, get, &h));
        CHECK_STR(slice_str(c.request_id), rows[i].request);
        CHECK_STR(slice_str(c.dynamo_request_id), rows[i].dynamo);
        h.n = 0;
        sonde_inject(&c, set, &h);
        CHECK_INT(h.n, (rows[i].request[0] != 0) + (rows[i].dynamo[0] != 0));
    }
    static struct headers h;
    struct sonde_context c = sample();
    size_t n;
    sonde_inject_dynamo(&c, set, &h);
    CHECK(get(&h, "request-id", 0, &n) && n == 36); // always one
    const char *now = get(&h, "x-frontend-send-ts-ns", 0, &n);
    CHECK(now && llabs(strtoll(now, NULL, 10) - clock_wall_ns()) < 10000000000);
    check_done();
}

static void members(void **state)
{
    (void)state;
    static const struct {
        const char *before, *key, *value;
        bool ok;
        const char *after;
    } rows[] = {
        {"", "a", "1", true, "a=1"},
        {"b=2,c=3", "a", "1", true, "a=1,b=2,c=3"},
        {"b=2,a=0,c=3", "a", "1", true, "a=1,b=2,c=3"}, // changed: to the left end
        {"b=2,ab=0", "a", "1", true, "a=1,b=2,ab=0"},
        {"b=2,a=0,c=3", "a", NULL, true, "b=2,c=3"},
        {"b=2", "a", NULL, true, "b=2"},
        {"b=2", "A", "1", false, "b=2"},
        {"b=2", "a", "", false, "b=2"},
        {"b=2", "a", "x,y", false, "b=2"},
        {"b=2", "a", "x=y", false, "b=2"},
        {"b=2", "ot", "th:8;rv:01234567890123", true, "ot=th:8;rv:01234567890123,b=2"},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct sonde_context c = {{0}};
        snprintf(c.tracestate, sizeof c.tracestate, "%s", rows[i].before);
        check_row("%s %s", rows[i].before, rows[i].key);
        CHECK_INT(sonde_tracestate_set(&c, rows[i].key, rows[i].value), rows[i].ok);
        CHECK_STR(slice_str(c.tracestate), rows[i].after);
    }
    struct sonde_context c = {{0}};
    for (int i = 0; i < 40; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        CHECK(sonde_tracestate_set(&c, key, "v"));
    }
    char out[8];
    CHECK(sonde_tracestate_get(&c, "k39", out, sizeof out) && sonde_tracestate_get(&c, "k8", out, sizeof out));
    CHECK(!sonde_tracestate_get(&c, "k7", out, sizeof out)); // 32 members, the oldest went
    CHECK_STR(slice_str(out), "v");
    char long_value[257];
    memset(long_value, 'x', 256);
    long_value[256] = 0;
    CHECK(sonde_tracestate_set(&c, "long", long_value) && strlen(c.tracestate) <= 512);
    CHECK(sonde_tracestate_set(&c, "longer", long_value) && strlen(c.tracestate) <= 512);
    CHECK(!sonde_tracestate_get(&c, "long", long_value, sizeof long_value));
    // What has to go: long members first, wherever they stand.
    char key[513], want[513];
    snprintf(c.tracestate, sizeof c.tracestate, "long=%0250d,m=%0100d,n=%0100d", 0, 1, 2);
    snprintf(key, sizeof key, "%060d", 3);
    snprintf(want, sizeof want, "a=%060d,m=%0100d,n=%0100d", 3, 1, 2);
    CHECK(sonde_tracestate_set(&c, "a", key));
    CHECK_STR(slice_str(c.tracestate), want);
    memset(want, 'x', 256);
    want[256] = 0;
    memset(key, 'k', 255);
    key[255] = 0;
    CHECK(sonde_tracestate_set(&c, key, want) && strlen(c.tracestate) == 512); // nothing beside it
    CHECK(sonde_tracestate_set(&c, key, NULL) && c.tracestate[0] == 0);
    check_done();
}

// ---- environments and bytes -----------------------------------------------------------------------------------------
static int in_env(void *arg)
{
    (void)arg;
    struct sonde_context c;
    struct sonde_baggage *b = sonde_baggage_new();
    char text[56];
    EXPECT(sonde_extract_env(&c, b));
    sonde_traceparent(&c, text);
    EXPECT_STR(text, "00-" ID "-" SPAN "-01");
    EXPECT_STR(c.tracestate, "a=1");
    EXPECT_STR(c.request_id, "demo");
    EXPECT(sonde_baggage_get(b, "user") && strcmp(sonde_baggage_get(b, "user"), "A B") == 0);
    struct sonde_ctx *ctx = sonde_ctx_with_baggage(NULL, b), *before = sonde_ctx_attach(ctx);
    char *old[] =
        {"PATH=/bin:/usr/bin", "TRACEPARENT=old", "TRACEPARENTS=other", "X_DYNAMO_REQUEST_ID=old", "=", "odd", "", NULL},
         **env = sonde_inject_env(&c, old);
    static const char *const want[] = {
        "PATH=/bin:/usr/bin", "TRACEPARENTS=other", "=", "odd", "", "TRACEPARENT=00-" ID "-" SPAN "-01", "TRACESTATE=a=1",
        "BAGGAGE=user=A%20B", "X_REQUEST_ID=demo"};
    size_t n = 0;
    for (; env[n]; n++)
        EXPECT(n < CHECK_ROWS(want) && strcmp(env[n], want[n]) == 0);
    EXPECT(n == CHECK_ROWS(want));
    char *argv[] = {"sh", "-c", "test \"$TRACEPARENT\" = 00-" ID "-" SPAN "-01", NULL};
    pid_t pid;
    int status = 1;
    EXPECT(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, env) == 0);
    waitpid(pid, &status, 0);
    EXPECT(status == 0);
    free(env);
    sonde_ctx_detach(before);
    // A trace of its own has nothing of what the environment says of another; without a trace it is handed on.
    static const struct sonde_context none;
    struct sonde_context fresh = {.trace_id = {1}, .span_id = {2}};
    char *full[] = {"TRACESTATE=a=1", "BAGGAGE=x=1", "X_REQUEST_ID=demo", "TRACEPARENT=old", "B3=kept", NULL};
    env = sonde_inject_env(&fresh, full);
    EXPECT(env && strcmp(env[0], "B3=kept") == 0 && strncmp(env[1], "TRACEPARENT=00-01", 17) == 0 && !env[2]);
    free(env);
    env = sonde_inject_env(&none, full);
    for (n = 0; env && full[n]; n++)
        EXPECT(env[n] && strcmp(env[n], full[n]) == 0);
    EXPECT(env && !env[n]);
    free(env);
    sonde_ctx_unref(ctx);
    sonde_baggage_free(b);
    return seen_fails;
}
static void environments(void **state)
{
    (void)state;
    static const char *const env[] = {"TRACEPARENT=00-" ID "-" SPAN "-01", "TRACESTATE=a=1", "BAGGAGE=user=A%20B",
                                      "X_REQUEST_ID=demo", NULL};
    in_child(in_env, NULL, env);
}

static void binary(void **state)
{
    (void)state;
    struct sonde_context c = sample(), out, none = {{0}};
    uint8_t bytes[29];
    CHECK_INT(sonde_inject_binary(&none, bytes), 0);
    CHECK_INT(sonde_inject_binary(&c, bytes), 29);
    CHECK(bytes[0] == 0 && bytes[1] == 0 && bytes[2] == 0x0a && bytes[18] == 1 && bytes[19] == 0xb7 && bytes[27] == 2 &&
          bytes[28] == 1);
    CHECK(sonde_extract_binary(&out, bytes, 29) && memcmp(out.trace_id, c.trace_id, 24) == 0 && out.flags == 1 && out.remote);
    CHECK(sonde_extract_binary(&out, bytes, 27) && out.flags == 0); // options are optional
    for (size_t n = 0; n < 27; n++)
        CHECK(!sonde_extract_binary(&out, bytes, n));
    bytes[0] = 1;
    CHECK(!sonde_extract_binary(&out, bytes, 29));
    check_done();
}

int main(void)
{
    if (CHILD_TSAN)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats), cmocka_unit_test(baggage_headers), cmocka_unit_test(out_again),
        cmocka_unit_test(debug),   cmocka_unit_test(composites),      cmocka_unit_test(environment),
        cmocka_unit_test(members), cmocka_unit_test(request_ids),     cmocka_unit_test(environments),
        cmocka_unit_test(binary),
    };
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
