// Providers, meters, instruments, views, cardinality, configuration.
#include "base/alloc.h"
#include "meter_dump.h"
#include <pthread.h>

#define OPTIONS(...)  (&(struct sonde_instrument_options){__VA_ARGS__})
#define PROVIDER(...) sonde_meter_provider_new(&(struct sonde_meter_provider_options){__VA_ARGS__})

static struct sonde_meter *meter(struct sonde_meter_provider *p, const char *name)
{
    return sonde_meter_get(p, &(struct sonde_scope){.name = name});
}

static void done(struct sonde_meter_provider *p, struct dump *d)
{
    sonde_meter_provider_free(p);
    buf_free(&d->text);
    check_done();
}

static void told(void *arg, struct sonde_observer *o)
{
    struct sonde_instrument **i = arg;
    sonde_observe(o, i[0], 100, ATTRS(A("cpu", "0")));
    sonde_observe(o, i[0], 50, ATTRS(A("cpu", "1")));
    sonde_observe(o, i[1], -7, NULL, 0);
    sonde_observe_f64(o, i[2], 36.5, NULL, 0);
}

// M9-M19, M49-M54: every kind with its default aggregation, type, unit.
static void kinds(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_meter *m = meter(p, "lib");
    struct sonde_instrument *counter =
        sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c", .unit = "{request}"));
    struct sonde_instrument *counter_f =
        sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "cf", .unit = "s", .f64 = true));
    struct sonde_instrument *updown = sonde_instrument_new(m, SONDE_INSTRUMENT_UPDOWN_COUNTER, OPTIONS(.name = "ud"));
    struct sonde_instrument *histogram =
        sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h", .unit = "ms", .f64 = true));
    struct sonde_instrument *gauge = sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "g"));
    struct sonde_instrument *async[] = {
        sonde_instrument_new(m, SONDE_INSTRUMENT_ASYNC_COUNTER, OPTIONS(.name = "ac", .unit = "By")),
        sonde_instrument_new(m, SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER, OPTIONS(.name = "aud")),
        sonde_instrument_new(m, SONDE_INSTRUMENT_ASYNC_GAUGE, OPTIONS(.name = "ag", .unit = "Cel", .f64 = true)),
    };
    CHECK(sonde_instrument_callback(async[0], told, async));
    CHECK(!sonde_instrument_callback(counter, told, async)); // synchronous
    sonde_instrument_add(counter, 2, ATTRS(A("b", "y"), I("a", 1)));
    sonde_instrument_add(counter, 3,
                         ATTRS(I("a", 1), A("b", "x"), A("b", "y"))); // the same set: order and the earlier b do not count
    sonde_instrument_add(counter, -1, NULL, 0);                       // refused
    sonde_instrument_add_f64(counter_f, 0.5, NULL, 0);
    sonde_instrument_add_f64(counter_f, __builtin_nan(""), NULL, 0);
    sonde_instrument_add(counter_f, 1, NULL, 0);
    sonde_instrument_add(updown, 5, NULL, 0);
    sonde_instrument_add(updown, -8, NULL, 0);
    sonde_instrument_add_f64(histogram, 7, NULL, 0);
    sonde_instrument_add_f64(histogram, 30000, NULL, 0);
    sonde_instrument_add_f64(histogram, -1, NULL, 0);
    sonde_instrument_add(gauge, 1, NULL, 0);
    sonde_instrument_add(gauge, -3, NULL, 0);
    sonde_instrument_add(async[0], 9, NULL, 0); // ignored
    dump_is(r, &d,
            "lib c [{request}] sum+ total {a=1,b=y} 5\n"
            "lib cf [s] sum+ total {} 1.5\n"
            "lib ud [] sum total {} -3\n"
            "lib h [ms] histogram total {} 2/30007 <=10:1 <=+Inf:1\n"
            "lib g [] gauge {} -3\n"
            "lib ac [By] sum+ total {cpu=0} 100\n"
            "lib ac [By] sum+ total {cpu=1} 50\n"
            "lib aud [] sum total {} -7\n"
            "lib ag [Cel] gauge {} 36.5\n");
    sonde_instrument_callback_remove(async[0], told, async); // nothing is told: nothing is exported
    dump_is(r, &d,
            "lib c [{request}] sum+ total {a=1,b=y} 5\n"
            "lib cf [s] sum+ total {} 1.5\n"
            "lib ud [] sum total {} -3\n"
            "lib h [ms] histogram total {} 2/30007 <=10:1 <=+Inf:1\n"
            "lib g [] gauge {} -3\n");
    done(p, &d);
}

static void attributes(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    int64_t numbers[] = {1, 2};
    sonde_instrument_add(c, 1,
                         ATTRS(SONDE_FIELD(SONDE_F64("f", 0.5)), SONDE_FIELD(SONDE_BOOL("t", true)),
                               SONDE_FIELD(SONDE_UINT("u", 7u)), SONDE_FIELD(SONDE_DUR("d", 5)), A("", "no key"), A("none", NULL),
                               SONDE_FIELD(SONDE_INTS("list", numbers, 2)), A("s", "gr\xc3\xbcn")));
    sonde_instrument_add(c, 1, ATTRS(I("x", 1)));
    sonde_instrument_add(c, 1, ATTRS(A("x", "1"))); // another type: another series
    dump_is(r, &d,
            "l c [] sum+ total {d=5,f=0.5,s=gr\xc3\xbcn,t=true,u=7} 1\n"
            "l c [] sum+ total {x=1} 1\n"
            "l c [] sum+ total {x=1} 1\n");
    struct sonde_field many[METER_ATTRIBUTES + 10];
    char key[METER_ATTRIBUTES + 10][8];
    for (int i = 0; i < METER_ATTRIBUTES + 10; i++) {
        snprintf(key[i], sizeof key[i], "k%03d", i);
        many[i] = (struct sonde_field)I(key[i], i);
    }
    struct meter_attrs set;
    meter_attrs_read(&set, many, METER_ATTRIBUTES + 10);
    CHECK(set.n == METER_ATTRIBUTES);
    done(p, &d);
}

// M1-M8, M22, M30, M32-M36.
static const char *seen_resource;
static const struct sonde_scope *seen_scope;
static bool keep_resource(void *arg, const struct sonde_metrics *b, unsigned limit)
{
    (void)arg;
    (void)limit;
    seen_resource = b->resource;
    seen_scope = b->metrics[0].scope;
    return true;
}

static void providers(void **state)
{
    (void)state;
    struct dump d, e;
    struct sonde_meter_provider *usual = sonde_meter_provider_default();
    CHECK(usual && usual == sonde_meter_provider_default());
    struct sonde_meter_provider *p = PROVIDER(.is_private = true, .resource = "team=kv,zone=b"),
                                *q = PROVIDER(.is_private = true);
    sonde_meter_provider_set_default(p);
    CHECK(sonde_meter_provider_default() == p && sonde_meter_get(NULL, &(struct sonde_scope){.name = "x"}) == meter(p, "x"));
    sonde_meter_provider_set_default(NULL);
    CHECK(sonde_meter_provider_default() == usual);
    struct sonde_scope full = {"lib", "1.2", "https://s/1", ATTRS(A("k", "v"))};
    struct sonde_meter *m = sonde_meter_get(p, &full);
    CHECK(m && m == sonde_meter_get(p, &full));
    CHECK(m != meter(p, "lib") && m != sonde_meter_get(q, &full));
    full.version = "1.3";
    CHECK(m != sonde_meter_get(p, &full));
    struct sonde_meter *nameless = meter(p, ""), *null = meter(q, NULL); // both work and keep their name
    CHECK(nameless && nameless->scope.name[0] == 0 && null && null->scope.name[0] == 0);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0}),
                        *s = dump_reader(q, &e, (struct sonde_reader_options){0});
    struct sonde_reader *whole = sonde_reader_new(p, &(struct sonde_reader_options){.export_batch = keep_resource});
    sonde_instrument_add(sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "same")), 1, NULL, 0);
    sonde_instrument_add(sonde_instrument_new(nameless, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "same")), 2, NULL, 0);
    sonde_instrument_add(sonde_instrument_new(null, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "other")), 3, NULL, 0);
    dump_is(r, &d, "lib same [] sum+ total {} 1\n same [] sum+ total {} 2\n");
    dump_is(s, &e, " other [] sum+ total {} 3\n");
    CHECK(sonde_reader_collect(whole, 10000));
    CHECK_STR(slice_str(seen_resource), "team=kv,zone=b");
    CHECK(strcmp(seen_scope->version, "1.2") == 0 && strcmp(seen_scope->schema_url, "https://s/1") == 0 &&
          seen_scope->n_attributes == 1);
    sonde_meter_provider_free(q);
    sonde_meter_provider_shutdown(p, 10000); // the last collection
    buf_free(&e.text);
    done(p, &d);
}

// M16, M18, M23-M25.
static void syntax(void **state)
{
    (void)state;
    char longest[256], too_long[257], unit[65];
    memset(longest, 'a', 255);
    longest[255] = 0;
    memset(too_long, 'a', 256);
    too_long[256] = 0;
    memset(unit, 'u', 64);
    unit[64] = 0;
    struct {
        const char *name, *unit, *want_unit; // want_unit null: refused
    } rows[] = {
        {"a", "", ""},
        {"http.server.request_duration", "s", "s"},
        {"A-b/c_d.9", "{x}", "{x}"},
        {longest, NULL, ""},
        {too_long, "", NULL},
        {"", "", NULL},
        {NULL, "", NULL},
        {"1a", "", NULL},
        {"_a", "", NULL},
        {".a", "", NULL},
        {"a b", "", NULL},
        {"a\xc3\xbc", "", NULL},
        {"a*", "", NULL},
        {"with.long.unit", unit, ""},
        {"with.unit63", unit + 1, unit + 1},
        {"bad.unit", "\xc2\xb5s", ""},
    };
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s", rows[i].name ? rows[i].name : "(null)");
        struct sonde_instrument *c =
            sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = rows[i].name, .unit = rows[i].unit));
        CHECK((c != NULL) == (rows[i].want_unit != NULL));
        if (c)
            CHECK_STR(slice_str(c->unit), rows[i].want_unit);
        sonde_instrument_add(c, 1, NULL, 0); // null is fine
    }
    char text[5000];
    memset(text, 'x', sizeof text);
    text[4999] = 0;
    struct sonde_instrument *c =
        sonde_instrument_new(meter(p, "d"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "long", .description = text));
    CHECK(strlen(c->description) == METER_DESCRIPTION_MAX);
    c = sonde_instrument_new(meter(p, "d"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "broken", .description = "a\xff z"));
    CHECK_STR(slice_str(c->description), "a\xef\xbf\xbd z");
    sonde_meter_provider_free(p);
    check_done();
}

// What is written to stderr meanwhile, in a file.
static FILE *stderr_kept(int *old)
{
    FILE *f = tmpfile();
    sonde_flush(1000);
    *old = dup(2);
    dup2(fileno(f), 2);
    return f;
}

static void stderr_back(FILE *f, int old, char *text, size_t size)
{
    sonde_flush(1000);
    dup2(old, 2);
    close(old);
    rewind(f);
    text[fread(text, 1, size - 1, f)] = 0;
    fclose(f);
}

// M20-M22.
static void duplicates(void **state)
{
    (void)state;
    struct dump d;
    char said[8192];
    int old;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_meter *m = meter(p, "l");
    struct sonde_instrument *a =
        sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "Requests", .description = "first"));
    FILE *kept = stderr_kept(&old);
    CHECK(a == sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "Requests", .description = "first")));
    stderr_back(kept, old, said, sizeof said);
    CHECK(!strstr(said, "Requests")); // the same: nothing to say
    kept = stderr_kept(&old);
    CHECK(a == sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "requests", .description = "second")));
    CHECK_STR(slice_str(a->description), "first");
    struct sonde_instrument *unit = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "requests", .unit = "1"));
    struct sonde_instrument *kind = sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "REQUESTS"));
    struct sonde_instrument *type = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "Requests", .f64 = true));
    CHECK(unit && unit != a && kind && kind != a && type && type != a && type != unit);
    stderr_back(kept, old, said, sizeof said);
    CHECK(strstr(said, "WARN") && strstr(said, "another description or other capitals; the first ones stay") &&
          strstr(said, "another kind, unit or value type"));
    struct sonde_instrument *other = sonde_instrument_new(meter(p, "m"), SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "requests"));
    sonde_instrument_add(a, 1, NULL, 0);
    sonde_instrument_add(unit, 2, NULL, 0);
    sonde_instrument_add(kind, 3, NULL, 0);
    sonde_instrument_add_f64(type, 4.5, NULL, 0);
    sonde_instrument_add(other, 5, NULL, 0);
    dump_is(r, &d,
            "l Requests [] sum+ total {} 1\n"
            "l Requests [1] sum+ total {} 2\n"
            "l Requests [] gauge {} 3\n"
            "l Requests [] sum+ total {} 4.5\n"
            "m requests [] gauge {} 5\n");
    done(p, &d);
}

// M26-M28.
static void advice_and_bound(void **state)
{
    (void)state;
    struct dump d;
    static const double bounds[] = {1, 2}, falling[] = {2, 1};
    static const char *const keys[] = {"route"};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_meter *m = meter(p, "l");
    struct sonde_instrument *h =
        sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM,
                             OPTIONS(.name = "h", .bounds = bounds, .n_bounds = 2, .attributes = keys, .n_attributes = 1));
    struct sonde_instrument *usual =
        sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "u", .bounds = falling, .n_bounds = 2));
    struct sonde_instrument *c = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *g = sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "g"));
    sonde_instrument_add(h, 2, ATTRS(A("route", "/a"), A("user", "1")));
    sonde_instrument_add(h, 3, ATTRS(A("route", "/a"), A("user", "2")));
    sonde_instrument_add(usual, 2, NULL, 0);
    struct sonde_bound *bh = sonde_instrument_bind(h, ATTRS(A("user", "3"), A("route", "/a")));
    struct sonde_bound *bc = sonde_instrument_bind(c, ATTRS(A("k", "v"))), *bg = sonde_instrument_bind(g, NULL, 0);
    CHECK(bh && bc && bg);
    sonde_bound_add(bh, 1);
    for (int i = 0; i < 1000; i++)
        sonde_bound_add(bc, 3);
    sonde_bound_add(bc, -1);
    sonde_bound_add_f64(bc, 0.6); // an integer instrument rounds
    dump_is(r, &d,
            "l h [] histogram total {route=/a} 3/6 <=1:1 <=2:1 <=+Inf:1\n"
            "l u [] histogram total {} 1/2 <=5:1\n"
            "l c [] sum+ total {k=v} 3001\n"); // the bound gauge has no value yet
    sonde_bound_add(bg, 4);
    sonde_instrument_add(g, 5, ATTRS(A("k", "v")));
    dump_is(r, &d,
            "l h [] histogram total {route=/a} 3/6 <=1:1 <=2:1 <=+Inf:1\n"
            "l u [] histogram total {} 1/2 <=5:1\n"
            "l c [] sum+ total {k=v} 3001\n"
            "l g [] gauge {} 4\n"
            "l g [] gauge {k=v} 5\n");
    done(p, &d);
}

static void match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {{"*", "", true},          {"*", "abc", true},        {"a*c", "abbc", true},
                {"a*c", "abbd", false},   {"?bc", "abc", true},      {"?", "", false},
                {"a?", "a", false},       {"**", "x", true},         {"", "", true},
                {"", "a", false},         {"abc", "abc", true},      {"abc", "abcd", false},
                {"a*b*c", "axbxc", true}, {"a*b*c", "axcxb", false}, {"*.duration", "http.duration", true},
                {"ABC", "abc", true}};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("%s %s", rows[i].pattern, rows[i].text);
        CHECK(meter_match(rows[i].pattern, rows[i].text, true) == rows[i].match);
    }
    CHECK(!meter_match("ABC", "abc", false) && meter_match(NULL, "anything", false));
    check_done();
}

static void feed(struct sonde_meter *m)
{
    struct sonde_instrument *c =
        sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "http.requests", .unit = "1", .description = "d"));
    struct sonde_instrument *h =
        sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "http.duration", .unit = "s", .f64 = true));
    struct sonde_instrument *g = sonde_instrument_new(m, SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "queue"));
    sonde_instrument_add(c, 2, ATTRS(A("route", "/a"), A("user", "u1")));
    sonde_instrument_add(c, 3, ATTRS(A("route", "/a"), A("user", "u2")));
    sonde_instrument_add_f64(h, 4, ATTRS(A("route", "/a")));
    sonde_instrument_add(g, 9, NULL, 0);
}
#define C2 "lib http.requests [1] sum+ total {route=/a,user=u1} 2\nlib http.requests [1] sum+ total {route=/a,user=u2} 3\n"
#define H  "lib http.duration [s] histogram total {route=/a} 1/4 <=5:1\n"
#define G  "lib queue [] gauge {} 9\n"

// M39-M54, M86.
static void views(void **state)
{
    (void)state;
    static const char *const route[] = {"route"}, *const user[] = {"user"};
    static const double bounds[] = {3, 6};
    static const struct {
        const char *what;
        struct sonde_view view[2];
        size_t n;
        bool first;
        const char *want;
    } rows[] = {
        {"none", {{0}}, 0, false, C2 H G},
        {"rename",
         {{.instrument_name = "http.requests", .name = "r"}},
         1,
         false,
         "lib r [1] sum+ total {route=/a,user=u1} 2\nlib r [1] sum+ total {route=/a,user=u2} 3\n" H G},
        {"no name for a wildcard", {{.instrument_name = "http.*", .name = "r"}}, 1, false, C2 H G},
        {"keep",
         {{.instrument_name = "http.requests", .keep = route, .n_keep = 1}},
         1,
         false,
         "lib http.requests [1] sum+ total {route=/a} 5\n" H G},
        {"keep none",
         {{.instrument_name = "http.requests", .keep = route}},
         1,
         false,
         "lib http.requests [1] sum+ total {} 5\n" H G},
        {"leave out",
         {{.instrument_name = "http.requests", .leave_out = user, .n_leave_out = 1}},
         1,
         false,
         "lib http.requests [1] sum+ total {route=/a} 5\n" H G},
        {"drop by wildcard", {{.instrument_name = "http.*", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, G},
        {"drop all", {{.instrument_name = "*", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, ""},
        {"by kind", {{.kind = SONDE_INSTRUMENT_GAUGE, .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, C2 H},
        {"by unit", {{.unit = "s", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, C2 G},
        {"by meter", {{.meter_name = "lib", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, ""},
        {"by another meter", {{.meter_name = "other", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, C2 H G},
        {"by version", {{.meter_version = "2", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, C2 H G},
        {"by schema", {{.meter_schema_url = "https*", .aggregation = SONDE_AGGREGATION_DROP}}, 1, false, C2 H G},
        {"sum",
         {{.instrument_name = "http.duration", .aggregation = SONDE_AGGREGATION_SUM}},
         1,
         false,
         C2 "lib http.duration [s] sum+ total {route=/a} 4\n" G},
        {"last value",
         {{.instrument_name = "http.duration", .aggregation = SONDE_AGGREGATION_LAST_VALUE}},
         1,
         false,
         C2 "lib http.duration [s] gauge {route=/a} 4\n" G},
        {"explicit",
         {{.instrument_name = "http.duration",
           .aggregation = SONDE_AGGREGATION_EXPLICIT_HISTOGRAM,
           .bounds = bounds,
           .n_bounds = 2}},
         1,
         false,
         C2 "lib http.duration [s] histogram total {route=/a} 1/4 <=6:1\n" G},
        {"exponential",
         {{.instrument_name = "http.duration", .aggregation = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM}},
         1,
         false,
         C2 "lib http.duration [s] exponential total {route=/a} 1/4 scale 8 zero 0 +511:1\n" G},
        {"histogram of a counter",
         {{.instrument_name = "http.requests", .keep = route, .aggregation = SONDE_AGGREGATION_EXPLICIT_HISTOGRAM}},
         1,
         false,
         "lib http.requests [1] histogram total {} 2/5 <=5:2\n" H G},
        {"a sum does not fit to a gauge", {{.instrument_name = "queue", .aggregation = SONDE_AGGREGATION_SUM}}, 1, false, C2 H G},
        {"two views",
         {{.instrument_name = "http.requests", .name = "a", .keep = route},
          {.instrument_name = "http.req*", .keep = user, .n_keep = 1}},
         2,
         false,
         "lib a [1] sum+ total {} 5\nlib http.requests [1] sum+ total {user=u1} 2\nlib http.requests [1] sum+ total {user=u2} "
         "3\n" H G},
        {"the first alone",
         {{.instrument_name = "http.requests", .name = "a", .keep = route},
          {.instrument_name = "http.req*", .keep = user, .n_keep = 1}},
         2,
         true,
         "lib a [1] sum+ total {} 5\n" H G},
        {"cardinality",
         {{.instrument_name = "http.requests", .cardinality = 2}},
         1,
         false,
         "lib http.requests [1] sum+ total {route=/a,user=u1} 2\nlib http.requests [1] sum+ total {otel.metric.overflow=true} "
         "3\n" H G},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct dump d;
        check_row("%s", rows[i].what);
        struct sonde_meter_provider *p =
            PROVIDER(.is_private = true, .views = rows[i].view, .n_views = rows[i].n, .first_view_only = rows[i].first);
        struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
        feed(meter(p, "lib"));
        dump_is(r, &d, rows[i].want);
        sonde_meter_provider_free(p);
        buf_free(&d.text);
    }
    check_done();
}

static void view_description(void **state)
{
    (void)state;
    struct sonde_view v = {.instrument_name = "c", .description = "better"};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true, .views = &v, .n_views = 1);
    struct sonde_instrument *c =
        sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c", .description = "worse"));
    CHECK_STR(slice_str(c->streams[0].description), "better");
    sonde_meter_provider_free(p);
    check_done();
}

// M84, M85: the reader's limit, by kind; the overflow series counts.
static void cardinality(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r =
        dump_reader(p, &d, (struct sonde_reader_options){.cardinality = {[0] = 3, [SONDE_INSTRUMENT_GAUGE] = 2}});
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *g = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_GAUGE, OPTIONS(.name = "g"));
    for (int i = 0; i < 10; i++) {
        sonde_instrument_add(c, 1, ATTRS(I("i", i)));
        sonde_instrument_add(g, i, ATTRS(I("i", i)));
    }
    sonde_instrument_add(c, 1, ATTRS(I("i", 0))); // known ones go on
    dump_is(r, &d,
            "l c [] sum+ total {i=0} 2\nl c [] sum+ total {i=1} 1\nl c [] sum+ total {otel.metric.overflow=true} 8\n"
            "l g [] gauge {i=0} 0\nl g [] gauge {otel.metric.overflow=true} 9\n");
    struct dump e; // other wishes, too late
    CHECK(dump_reader(p, &e, (struct sonde_reader_options){.cardinality = {5}}) == NULL);
    CHECK(dump_reader(p, &e, (struct sonde_reader_options){.cardinality = {[0] = 3, [SONDE_INSTRUMENT_GAUGE] = 2}}) != NULL);
    sonde_meter_provider_shutdown(p, 10000);
    buf_free(&e.text);
    done(p, &d);
}

// M56: aggregations and cardinalities of two readers side by side.
static void two_readers(void **state)
{
    (void)state;
    struct dump d, e;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_reader *s = dump_reader(
        p, &e,
        (struct sonde_reader_options){.aggregation = {[SONDE_INSTRUMENT_HISTOGRAM] = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM,
                                                      [SONDE_INSTRUMENT_GAUGE] = SONDE_AGGREGATION_DROP}});
    feed(meter(p, "lib"));
    dump_is(r, &d, C2 H G);
    dump_is(s, &e, C2 "lib http.duration [s] exponential total {route=/a} 1/4 scale 8 zero 0 +511:1\n");
    sonde_meter_provider_shutdown(p, 10000); // the last collection
    buf_free(&e.text);
    done(p, &d);
}

// M37, M38.
static void configure(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_instrument *a = sonde_instrument_new(meter(p, "noisy.a"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *b = sonde_instrument_new(meter(p, "quiet"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_bound *bound = sonde_instrument_bind(a, NULL, 0);
    sonde_instrument_add(a, 1, NULL, 0);
    sonde_instrument_add(b, 1, NULL, 0);
    const struct sonde_meter_rule off[] = {{"noisy.*", true}, {"noisy.but.wanted", false}};
    CHECK(sonde_meter_provider_configure(p, off, 2));
    struct sonde_instrument *late = sonde_instrument_new(meter(p, "noisy.late"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *wanted =
        sonde_instrument_new(meter(p, "noisy.but.wanted"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    CHECK(!sonde_instrument_enabled(a) && sonde_instrument_enabled(b) && !sonde_instrument_enabled(late) &&
          sonde_instrument_enabled(wanted));
    sonde_instrument_add(a, 10, NULL, 0);
    sonde_bound_add(bound, 10);
    sonde_instrument_add(b, 10, NULL, 0);
    sonde_instrument_add(wanted, 10, NULL, 0);
    dump_is(r, &d, "quiet c [] sum+ total {} 11\nnoisy.but.wanted c [] sum+ total {} 10\n");
    CHECK(sonde_meter_provider_configure(p, NULL, 0));
    sonde_bound_add(bound, 5);
    dump_is(r, &d, "noisy.a c [] sum+ total {} 6\nquiet c [] sum+ total {} 11\nnoisy.but.wanted c [] sum+ total {} 10\n");
    done(p, &d);
}

// M29-M31: everything at once from several threads; nothing is lost.
enum { THREADS = 4, ROUNDS = 5000 };
static void *worker(void *arg)
{
    struct sonde_meter_provider *p = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct sonde_meter *m = meter(p, i & 1 ? "a" : "b");
        struct sonde_instrument *c = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
        struct sonde_instrument *h = sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h"));
        sonde_instrument_add(c, 1, ATTRS(I("i", i % 10)));
        sonde_instrument_add(h, i % 20, NULL, 0);
    }
    return NULL;
}

static bool add_up(void *arg, const struct sonde_metrics *b, unsigned limit)
{
    (void)limit;
    int64_t *sum = arg;
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->metrics[i].n_points; k++)
            sum[b->metrics[i].kind == SONDE_DATA_HISTOGRAM] +=
                b->metrics[i].kind == SONDE_DATA_HISTOGRAM ? (int64_t)b->metrics[i].points[k].count : b->metrics[i].points[k].i;
    return true;
}

static void threads(void **state)
{
    (void)state;
    int64_t sum[2] = {0};
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = sonde_reader_new(
        p, &(struct sonde_reader_options){.export_batch = add_up, .arg = sum, .temporality = {SONDE_TEMPORALITY_DELTA}});
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, worker, p);
    for (int i = 0; i < 20; i++)
        CHECK(sonde_reader_collect(r, 10000));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK(sonde_reader_collect(r, 10000));
    CHECK(sum[0] == THREADS * ROUNDS && sum[1] == THREADS * ROUNDS); // deltas: nothing lost, nothing twice
    sonde_meter_provider_free(p);
    check_done();
}

// Known series cost no memory, bound or not, in a span or not (exemplars are there after the first round).
static void no_allocation(void **state)
{
    (void)state;
    struct dump d;
    struct sonde_meter_provider *p = PROVIDER(.is_private = true);
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    struct sonde_instrument *c = sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_COUNTER, OPTIONS(.name = "c"));
    struct sonde_instrument *h =
        sonde_instrument_new(meter(p, "l"), SONDE_INSTRUMENT_HISTOGRAM, OPTIONS(.name = "h", .f64 = true));
    struct sonde_bound *b = sonde_instrument_bind(h, ATTRS(A("k", "v")));
    struct sonde_span *s = sonde_span_start("s", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    sonde_flush(1000); // the backend has nothing to do meanwhile
    for (int round = 0; round < 2; round++) {
        if (round == 1)
            mem_fail_after(1);
        for (int i = 0; i < 100; i++) {
            sonde_instrument_add(c, 1, ATTRS(A("k", "v"), I("i", i % 3)));
            sonde_instrument_add_f64(h, i, NULL, 0);
            sonde_bound_add_f64(b, i);
        }
    }
    CHECK(!mem_fail_hit());
    mem_fail_after(0);
    sonde_span_exit(s);
    sonde_span_end(s);
    CHECK(sonde_reader_collect(r, 10000) && d.points == 5);
    done(p, &d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation), cmocka_unit_test(kinds),
        cmocka_unit_test(attributes),    cmocka_unit_test(providers),
        cmocka_unit_test(syntax),        cmocka_unit_test(duplicates),
        cmocka_unit_test(match),         cmocka_unit_test(advice_and_bound),
        cmocka_unit_test(views),         cmocka_unit_test(view_description),
        cmocka_unit_test(cardinality),   cmocka_unit_test(two_readers),
        cmocka_unit_test(configure),     cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
