// traceparent, tracestate and x-request-id by the W3C rules, in and out.
#include "check.h"
#include "sdk/context.h"
#include <ctype.h>

#define ID   "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

static void parents(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int flags; // -1: refused
    } rows[] = {
        {"00-" ID "-" SPAN "-01", 1},
        {"00-" ID "-" SPAN "-00", 0},
        {"00-" ID "-" SPAN "-02", 2},
        {"00-" ID "-" SPAN "-03", 3},
        {"00-" ID "-" SPAN "-ff", 3}, // unknown flags are not carried on
        {"00-" ID "-" SPAN "-08", 0},
        {"cc-" ID "-" SPAN "-01", 1},
        {"cc-" ID "-" SPAN "-01-what-the-future-will-be-like", 1},
        {"cc-" ID "-" SPAN "-01-", 1},
        {"01-" ID "-" SPAN "-01-x", 1},
        {"fe-" ID "-" SPAN "-01", 1},
        {" 00-" ID "-" SPAN "-01", 1},
        {"00-" ID "-" SPAN "-01 ", 1},
        {"\t00-" ID "-" SPAN "-01\t", 1},
        {"ff-" ID "-" SPAN "-01", -1},
        {"00-" ID "-" SPAN "-01-", -1},
        {"00-" ID "-" SPAN "-01-x", -1},
        {"00-" ID "-" SPAN "-01.", -1},
        {"00-" ID "-" SPAN "-011", -1},
        {"cc-" ID "-" SPAN "-01.what", -1},
        {"cc-" ID "-" SPAN "-01x", -1},
        {"00-" ID "-" SPAN "-0", -1},
        {"00-" ID "-" SPAN "-", -1},
        {"00-" ID "-" SPAN, -1},
        {"00-" ID, -1},
        {"00", -1},
        {"", -1},
        {"-" ID "-" SPAN "-01", -1},
        {"0-" ID "-" SPAN "-01", -1},
        {"000-" ID "-" SPAN "-01", -1},
        {"0x-" ID "-" SPAN "-01", -1},
        {".0-" ID "-" SPAN "-01", -1},
        {"FF-" ID "-" SPAN "-01", -1},
        {"CC-" ID "-" SPAN "-01", -1},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", -1},
        {"00-" ID "-B7AD6B7169203331-01", -1},
        {"00-" ID "-" SPAN "-0A", -1},
        {"00-" ID "-" SPAN "-0x", -1},
        {"00-" ID "-" SPAN "-.0", -1},
        {"00-00000000000000000000000000000000-" SPAN "-01", -1},
        {"00-" ID "-0000000000000000-01", -1},
        {"00-0af7651916cd43dd8448eb211c80319-" SPAN "-01", -1},
        {"00-0af7651916cd43dd8448eb211c80319cc-" SPAN "-01", -1},
        {"00-0af7651916cd43dd8448eb211c80319g-" SPAN "-01", -1},
        {"00-.af7651916cd43dd8448eb211c80319c-" SPAN "-01", -1},
        {"00-" ID "-b7ad6b716920333-01", -1},
        {"00-" ID "-b7ad6b71692033311-01", -1},
        {"00-" ID "-b7ad6b716920333z-01", -1},
        {"00_" ID "-" SPAN "-01", -1},
        {"00-" ID "_" SPAN "-01", -1},
        {"00-" ID "-" SPAN "_01", -1},
        {"00-" ID "-" SPAN " -01", -1},
        {"00 -" ID "-" SPAN "-01", -1},
        {"00-" ID "-" SPAN "-01,00-" ID "-" SPAN "-01", -1},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct sonde_context c = {.flags = 77};
        bool ok = traceparent_parse(&c, slice_str(rows[i].value));
        check_row("%s", rows[i].value);
        CHECK_INT(ok ? c.flags : -1, rows[i].flags);
        if (ok) {
            char text[56];
            sonde_traceparent(&c, text);
            CHECK(strncmp(text, "00-" ID "-" SPAN "-", 53) == 0);
        } else {
            CHECK_INT(c.flags, 77); // untouched
            CHECK_INT(c.trace_id[0], 0);
        }
    }
    check_done();
}

static void states(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b; // two headers; b may be null
        const char *want;  // null: the whole list is dropped
    } rows[] = {
        {"foo=1", NULL, "foo=1"},
        {"foo=1,bar=2", NULL, "foo=1,bar=2"},
        {"foo=1", "bar=2", "foo=1,bar=2"},
        {"foo=1 \t,\tbar=2", NULL, "foo=1,bar=2"},
        {"foo=1,", NULL, "foo=1"},
        {",foo=1,,bar=2", NULL, "foo=1,bar=2"},
        {"", NULL, ""},
        {"", "foo=1", "foo=1"},
        {"foo=1,foo=2", NULL, "foo=1,foo=2"},
        {"foo@=1,bar=2", NULL, "foo@=1,bar=2"},
        {"foo@@bar=1", NULL, "foo@@bar=1"},
        {"foo@bar@baz=1", NULL, "foo@bar@baz=1"},
        {"f_-*/9=1", NULL, "f_-*/9=1"},
        {"9foo=1", NULL, "9foo=1"},
        {"foo=a b", NULL, "foo=a b"},
        {"foo= 1", NULL, "foo= 1"},
        {"foo=~!", NULL, "foo=~!"},
        {"ot=th:c;rv:1", NULL, "ot=th:c;rv:1"},
        {"@foo=1,bar=2", NULL, NULL},
        {"foo =1", NULL, NULL},
        {"FOO=1", NULL, NULL},
        {"foo.bar=1", NULL, NULL},
        {"foo", NULL, NULL},
        {"foo=", NULL, NULL},
        {"=1", NULL, NULL},
        {"foo=bar=baz", NULL, NULL},
        {"foo=,bar=3", NULL, NULL},
        {"foo=1;bar=2,x", NULL, NULL},
        {"foo=\x01", NULL, NULL},
        {"foo=\xc3\xa9", NULL, NULL},
        {"_foo=1", NULL, NULL},
        {"foo=1", "b@d =1", NULL},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct slice v[2] = {slice_str(rows[i].a), slice_str(rows[i].b)};
        char out[513];
        bool ok = tracestate_parse(out, v, rows[i].b ? 2 : 1);
        check_row("%s | %s", rows[i].a, rows[i].b ? rows[i].b : "");
        CHECK_INT(ok, rows[i].want != NULL);
        CHECK_STR(slice_str(out), rows[i].want ? rows[i].want : "");
    }
    check_done();
}

static size_t join(char *out, int from, int to, const char *fmt)
{
    char *p = out;
    for (int i = from; i < to; i++)
        p += sprintf(p, fmt, i > from ? "," : "", i);
    return (size_t)(p - out);
}

static void state_limits(void **state)
{
    (void)state;
    char in[40000], out[513], value[300];
    memset(value, 'v', sizeof value);
    struct slice v = {in, join(in, 0, 32, "%sbar%02d=x")};
    assert_true(tracestate_parse(out, &v, 1)); // 32 members
    assert_int_equal(strlen(out), v.n);
    v.n = join(in, 0, 33, "%sbar%02d=x");
    assert_false(tracestate_parse(out, &v, 1));
    v.n = (size_t)sprintf(in, "%.*s=1", 256, value);
    assert_true(tracestate_parse(out, &v, 1));
    v.n = (size_t)sprintf(in, "%.*s=1", 257, value);
    assert_false(tracestate_parse(out, &v, 1));
    v.n = (size_t)sprintf(in, "k=%.*s", 256, value);
    assert_true(tracestate_parse(out, &v, 1));
    v.n = (size_t)sprintf(in, "k=%.*s", 257, value);
    assert_false(tracestate_parse(out, &v, 1));
    // Over 512 bytes: members above 128 bytes go first, whole.
    v.n = (size_t)sprintf(in, "a=1,big=%.*s,b=2,mid=%.*s,m2=%.*s,c=3", 250, value, 120, value, 120, value);
    assert_true(tracestate_parse(out, &v, 1));
    assert_null(strstr(out, "big="));
    assert_non_null(strstr(out, "mid="));
    assert_non_null(strstr(out, ",c=3"));
    // Then from the right.
    v.n = join(in, 0, 8, "%sk%01d=");
    char *p = in;
    for (int i = 0; i < 8; i++)
        p += sprintf(p, "%sk%d=%.*s", i ? "," : "", i, 100, value);
    v.n = (size_t)(p - in);
    assert_true(tracestate_parse(out, &v, 1));
    assert_true(strlen(out) <= 512 && strlen(out) > 400);
    assert_non_null(strstr(out, "k0="));
    assert_null(strstr(out, "k7="));
}

static void request_ids(void **state)
{
    (void)state;
    char long_id[140];
    memset(long_id, 'a', sizeof long_id);
    struct sonde_context c = {.request_id = "old"};
    assert_true(sonde_set_request_id(&c, long_id, 128));
    assert_int_equal(strlen(c.request_id), 128);
    assert_false(sonde_set_request_id(&c, long_id, 129));
    assert_int_equal(strlen(c.request_id), 128); // unchanged
    assert_true(sonde_set_request_id(&c, " demo-42\t", 9));
    assert_string_equal(c.request_id, "demo-42");
    static const char *const bad[] = {"", " ", "a\nb", "a\x1b[31m", "\xc3\xa9", "a\x7f"};
    for (size_t i = 0; i < CHECK_ROWS(bad); i++)
        assert_false(sonde_set_request_id(&c, bad[i], strlen(bad[i])));
    assert_false(sonde_set_request_id(&c, "a\0b", 3));
    char a[37], b[37];
    sonde_new_request_id(a);
    sonde_new_request_id(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_true(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-' && a[14] == '4' && strchr("89ab", a[19]));
}

// ---- carriers -------------------------------------------------------------------------------------------------------
struct headers {
    const char *name[8], *value[8];
    char text[8][600];
    int n;
};

static const char *get(void *carrier, const char *name, int nth, size_t *len)
{
    struct headers *h = carrier;
    for (int i = 0; i < h->n; i++) {
        if (strcmp(h->name[i], name) == 0 && nth-- == 0) {
            *len = strlen(h->value[i]);
            return h->value[i];
        }
    }
    return NULL;
}

static void set(void *carrier, const char *name, const char *value, size_t len)
{
    struct headers *h = carrier;
    h->name[h->n] = name;
    snprintf(h->text[h->n], sizeof h->text[0], "%.*s", (int)len, value);
    h->value[h->n] = h->text[h->n];
    h->n++;
}

static void headers(void **state)
{
    (void)state;
    struct sonde_context c;
    struct headers in = {{"traceparent", "tracestate", "tracestate", "x-request-id"},
                         {"00-" ID "-" SPAN "-01", "a=1", "b=2", "demo-42"},
                         {{0}},
                         4};
    assert_true(sonde_extract(&c, get, &in));
    assert_true(c.remote);
    assert_string_equal(c.tracestate, "a=1,b=2");
    assert_string_equal(c.request_id, "demo-42");
    struct headers out = {.n = 0};
    sonde_inject(&c, set, &out);
    assert_int_equal(out.n, 3);
    assert_string_equal(out.value[0], "00-" ID "-" SPAN "-01");
    assert_string_equal(out.value[1], "a=1,b=2");
    assert_string_equal(out.value[2], "demo-42");
    // Two parents are none; the request id is kept, the state is not.
    in.name[1] = "traceparent";
    in.value[1] = in.value[0];
    assert_false(sonde_extract(&c, get, &in));
    assert_int_equal(c.trace_id[0], 0);
    assert_string_equal(c.tracestate, "");
    assert_string_equal(c.request_id, "demo-42");
    // A malformed state drops the state alone.
    in.name[1] = "tracestate";
    in.value[1] = "@a=1";
    assert_true(sonde_extract(&c, get, &in));
    assert_string_equal(c.tracestate, "");
    // A state without a parent is nothing.
    in.name[0] = "other";
    assert_false(sonde_extract(&c, get, &in));
    assert_string_equal(c.tracestate, "");
    out.n = 0;
    sonde_inject(&c, set, &out);
    assert_int_equal(out.n, 1); // the request id
    sonde_inject(NULL, set, &out);
    assert_int_equal(out.n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parents), cmocka_unit_test(states), cmocka_unit_test(state_limits),
                                       cmocka_unit_test(request_ids), cmocka_unit_test(headers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
