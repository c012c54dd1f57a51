// Every type of value through a ring and out as JSON, as text, as an OTLP attribute, and the same as a field of SONDE_LOG_ARRAY.
#include "check.h"
#include "child.h"
#define SONDE_TARGET "tests::fields" // whatever the build directory is
#include "base/pb.h"
#include "sdk/encode.h"
#include "sdk/pipeline.h"
#include "sdk/value.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <wchar.h>

static const int64_t T = 1768465812004217000; // 2026-01-15T08:30:12.004217Z

// ---- the table ------------------------------------------------------------------------------------------------------
struct row {
    struct sonde_field field;
    const char *json, *text;
    const char *otlp; // s string, b bool, i int, d double, x bytes, [] array
};

static const uint8_t id[16] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
static const int64_t ints[] = {1, -2, INT64_MAX};
static const uint64_t uints[] = {0, UINT64_MAX};
static const double doubles[] = {1, 0.25, NAN};
static const bool bools[] = {true, false};
static const char *const strings[] = {"a", "q\"", "", NULL, "a\xff"};

static size_t make_rows(struct row *r)
{
    const struct row rows[] = {
        {SONDE_FIELD(SONDE_STR("k", "v")), "\"v\"", "\"v\"", "s:v"},
        {SONDE_FIELD(SONDE_STRN("k", "a\0b", 3)), "\"a\\u0000b\"", "\"a\\0b\"", "s:a"},
        {SONDE_FIELD(SONDE_INT("k", -5)), "-5", "-5", "i:-5"},
        {SONDE_FIELD(SONDE_UINT("k", UINT64_MAX)), "18446744073709551615", "18446744073709551615", "s:18446744073709551615"},
        {SONDE_FIELD(SONDE_F64("k", 2)), "2.0", "2.0", "d:2"},
        {SONDE_FIELD(SONDE_BOOL("k", true)), "true", "true", "b:1"},
        {SONDE_FIELD(SONDE_BYTES("k", "\x00\xff\x10", 3)), "\"AP8Q\"", "0x00ff10", "x:00ff10"},
        {SONDE_FIELD(SONDE_BYTES("k", "", 0)), "\"\"", "0x", "x:"},
        {SONDE_FIELD(SONDE_ERRNO("k", ECONNREFUSED)), "\"Connection refused (os error 111)\"",
         "\"Connection refused (os error 111)\"", "s:Connection refused (os error 111)"},
        {SONDE_FIELD(SONDE_ERR("k", 7, "no \"route\"")), "\"no \\\"route\\\" (error 7)\"", "\"no \\\"route\\\" (error 7)\"",
         "s:no \"route\" (error 7)"},
        {SONDE_FIELD(SONDE_ERR("k", -1, "")), "\" (error -1)\"", "\" (error -1)\"", "s: (error -1)"},
        {SONDE_FIELD(SONDE_ERR("k", 0, "gone")), "\"gone\"", "\"gone\"", "s:gone"},
        {SONDE_FIELD(SONDE_ID("k", id)), "\"0af7651916cd43dd8448eb211c80319c\"", "0af7651916cd43dd8448eb211c80319c",
         "s:0af7651916cd43dd8448eb211c80319c"},
        {SONDE_FIELD(SONDE_DUR("k", 0)), "\"0ns\"", "0ns", "s:0ns"},
        {SONDE_FIELD(SONDE_DUR("k", 999)), "\"999ns\"", "999ns", "s:999ns"},
        {SONDE_FIELD(SONDE_DUR("k", 1500)), "\"1.5\xc2\xb5s\"", "1.5\xc2\xb5s", "s:1.5\xc2\xb5s"},
        {SONDE_FIELD(SONDE_DUR("k", -1250000)), "\"-1.25ms\"", "-1.25ms", "s:-1.25ms"},
        {SONDE_FIELD(SONDE_DUR("k", 90000000001)), "\"90.000000001s\"", "90.000000001s", "s:90.000000001s"},
        {SONDE_FIELD(SONDE_DUR("k", INT64_MIN)), "\"-9223372036.854775808s\"", "-9223372036.854775808s",
         "s:-9223372036.854775808s"},
        {SONDE_FIELD(SONDE_INTS("k", ints, 3)), "[1,-2,9223372036854775807]", "[1, -2, 9223372036854775807]",
         "[i:1 i:-2 i:9223372036854775807]"},
        {SONDE_FIELD(SONDE_INTS("k", ints, 0)), "[]", "[]", "[]"},
        {SONDE_FIELD(SONDE_UINTS("k", uints, 2)), "[0,18446744073709551615]", "[0, 18446744073709551615]",
         "[i:0 s:18446744073709551615]"},
        {SONDE_FIELD(SONDE_F64S("k", doubles, 3)), "[1.0,0.25,0]", "[1.0, 0.25, NaN]", "[d:1 d:0.25 d:nan]"},
        {SONDE_FIELD(SONDE_BOOLS("k", bools, 2)), "[true,false]", "[true, false]", "[b:1 b:0]"},
        {SONDE_FIELD(SONDE_STRS("k", strings, 5)), "[\"a\",\"q\\\"\",\"\",\"\",\"a\xef\xbf\xbd\"]",
         "[\"a\", \"q\\\"\", \"\", \"\", \"a\xef\xbf\xbd\"]", "[s:a s:q\" s: s: s:a\xef\xbf\xbd]"},
        // Absent: the key is left out.
        {SONDE_FIELD(SONDE_STR("k", (const char *)NULL)), NULL, NULL, NULL},
        {SONDE_FIELD(SONDE_BYTES("k", NULL, 3)), NULL, NULL, NULL},
        {SONDE_FIELD(SONDE_ID("k", NULL)), NULL, NULL, NULL},
        {SONDE_FIELD(SONDE_STRS("k", NULL, 3)), NULL, NULL, NULL},
    };
    memcpy(r, rows, sizeof rows);
    return CHECK_ROWS(rows);
}

// ---- through a ring -------------------------------------------------------------------------------------------------
static struct site *site_of(const struct sonde_site *record)
{
    struct buf b;
    size_t size;
    buf_init(&b, 1 << 20);
    site_encode(&b, record, 1);
    struct site *s = site_parse(b.p, b.n, &size);
    assert_non_null(s);
    buf_free(&b);
    return s;
}

struct way { // a ring and the thread that writes into it
    struct ring *ring;
    struct ring_thread thread;
};

static void way_open(struct way *w)
{
    setenv("SONDE_RING_DIR", child_dir, 1);
    assert_int_equal(ring_new(&w->ring, "fields", 1 << 20, NULL), ERR_OK);
    assert_true(ring_thread_get(w->ring, &w->thread));
}

static struct rec carry(struct way *w, const struct site *site, const struct sonde_arg *args)
{
    struct rec r = {.n = 0};
    struct rec_head h;
    assert_true(ring_push(&w->thread, site->number, NULL, site->type, args, site->n, RING_DROP));
    assert_true(ring_read_refresh(w->ring, w->thread.lane));
    const char *p = ring_read_peek(w->ring, w->thread.lane);
    memcpy(&h, p, sizeof h);
    assert_true(rec_read(&r, p, h.size, site->type, site->n, true));
    ring_read_next(w->thread.lane, h.size);
    return r;
}

static void dump_any(struct buf *out, struct pb *any)
{
    struct slice s;
    struct pb array, element;
    uint64_t u;
    int64_t i;
    double d;
    bool flag, more = false;
    while (pb_next(any)) {
        if (any->field == 1 && pb_string(any, &s))
            buf_printf(out, "s:%.*s", (int)s.n, s.p);
        else if (any->field == 2 && pb_bool(any, &flag))
            buf_printf(out, "b:%d", flag);
        else if (any->field == 3 && pb_i64(any, &i))
            buf_printf(out, "i:%lld", (long long)i);
        else if (any->field == 4 && pb_double(any, &d))
            isnan(d) ? buf_str(out, "d:nan") : buf_printf(out, "d:%g", d);
        else if (any->field == 7 && pb_bytes(any, &s))
            buf_str(out, "x:"), buf_hex(out, s.p, s.n);
        else if (any->field == 5 && pb_message(any, &array)) {
            buf_char(out, '[');
            for (; pb_next(&array) && pb_message(&array, &element); more = true) {
                buf_str(out, more ? " " : "");
                dump_any(out, &element);
            }
            buf_char(out, ']');
        } else if (!pb_u64(any, &u))
            return;
    }
}

// The attributes' values, but for what an error is told as besides.
static void dump_attributes(struct buf *out, struct slice log)
{
    struct pb r, kv, any;
    struct slice key = SLICE_NONE;
    struct error err = {0};
    pb_init(&r, log, &err);
    while (pb_next(&r)) {
        if (r.field != 6 || !pb_message(&r, &kv)) {
            pb_skip(&r);
            continue;
        }
        while (pb_next(&kv))
            if (kv.field == 1)
                pb_bytes(&kv, &key);
            else if (!slice_starts(key, SLICE("exception.")) && pb_message(&kv, &any))
                dump_any(out, &any);
            else
                pb_skip(&kv);
    }
    assert_int_equal(err.code, ERR_OK);
    buf_char(out, 0);
    out->n--;
}

static void check_line(struct site *site, struct rec r, const struct row *row, bool jsonl)
{
    struct pipeline p;
    char want[512];
    pipeline_init(&p);
    p.style.jsonl = jsonl;
    r.heap = NULL; // the caller's
    pipeline_record(&p, &r, site, T);
    const char *value = jsonl ? row->json : row->text;
    if (jsonl)
        snprintf(want, sizeof want,
                 "{\"time\":\"2026-01-15T08:30:12.004217Z\",\"level\":\"INFO\",\"file\":\"f.c\",\"line\":7,\"target\":\"t\","
                 "\"message\":"
                 "\"m\"%s%s}\n",
                 value ? ",\"k\":" : "", value ? value : "");
    else
        snprintf(want, sizeof want, "2026-01-15T08:30:12.004217Z  INFO t: m%s%s\n", value ? " k=" : "", value ? value : "");
    CHECK_STR(buf_slice(&p.out), want);
    pipeline_free(&p);
}

static void check_otlp(struct site *site, struct rec *r, const struct row *row)
{
    struct buf out, text;
    buf_init(&out, MIB(1));
    buf_init(&text, MIB(1));
    struct line l = {.time = T, .site = site, .rec = r, .message = SLICE("m")};
    encode_log(&out, &l, T);
    dump_attributes(&text, buf_slice(&out));
    CHECK_STR(slice_str(text.p), row->otlp ? row->otlp : "");
    buf_free(&out);
    buf_free(&text);
}

static void every_type(void **state)
{
    (void)state;
    struct row rows[64];
    size_t n = make_rows(rows);
    struct way w;
    way_open(&w);
    for (size_t i = 0; i < n; i++) {
        const char *const keys[] = {"k", 0};
        const unsigned char types[] = {rows[i].field.type, 0};
        struct sonde_site record = {0, 0, 7, SONDE_LEVEL_INFO, 1, 0, 0, "m", "t", "f.c", keys, types, 0};
        struct site *site = site_of(&record);
        check_row("%zu %s", i, rows[i].text ? rows[i].text : "absent");
        struct rec r = carry(&w, site, &rows[i].field.arg);
        check_line(site, r, &rows[i], true);
        check_line(site, r, &rows[i], false);
        check_otlp(site, &r, &rows[i]);
        site_free(site);
    }
    ring_free(w.ring, true);
    check_done();
}

static void every_type_in_an_array(void **state)
{
    (void)state;
    struct row rows[64];
    size_t n = make_rows(rows);
    struct way w;
    way_open(&w);
    const char *const keys[] = {"", "", 0};
    const unsigned char types[] = {SONDE_TYPE_MESSAGE, SONDE_TYPE_FIELDS, 0};
    struct sonde_site record = {0, 0, 7, SONDE_LEVEL_INFO, 2, 0, 0, "", "t", "f.c", keys, types, 0};
    struct site *site = site_of(&record);
    for (size_t i = 0; i < n; i++) {
        struct buf packed;
        buf_init(&packed, MIB(1));
        packed_append(&packed, &rows[i].field);
        struct sonde_arg args[2] = {sonde_arg_str("m"), sonde_arg_strn(packed.p ? packed.p : "", packed.n)};
        check_row("%zu packed %s", i, rows[i].text ? rows[i].text : "absent");
        struct rec r = carry(&w, site, args);
        check_line(site, r, &rows[i], true);
        check_line(site, r, &rows[i], false);
        check_otlp(site, &r, &rows[i]);
        buf_free(&packed);
    }
    site_free(site);
    ring_free(w.ring, true);
    check_done();
}

// A record that is cut in the ring (its heap copy is gone, as after a crash) shows whole elements only.
static void cut_arrays(void **state)
{
    (void)state;
    static int64_t many[2000];
    static const char *words[2000];
    for (int i = 0; i < 2000; i++) {
        many[i] = i;
        words[i] = "word";
    }
    const struct {
        unsigned char type;
        struct sonde_arg arg;
        const char *end; // of the line
    } rows[] = {
        {SONDE_TYPE_INTS, sonde_arg_ints(many, 2000), ",505,506]}\n"},
        {SONDE_TYPE_STRS, sonde_arg_strs(words, 2000), ",\"word\",\"word\"]}\n"},
    };
    struct way w;
    way_open(&w);
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        const char *const keys[] = {"k", 0};
        const unsigned char types[] = {rows[i].type, 0};
        struct sonde_site record = {0, 0, 7, SONDE_LEVEL_INFO, 1, 0, 0, "m", "t", "f.c", keys, types, 0};
        struct site *site = site_of(&record);
        struct rec_head h;
        struct rec r;
        check_row("cut %zu", i);
        CHECK(ring_push(&w.thread, 1, NULL, types, &rows[i].arg, 1, RING_DROP));
        CHECK(ring_read_refresh(w.ring, w.thread.lane));
        const char *at = ring_read_peek(w.ring, w.thread.lane);
        memcpy(&h, at, sizeof h);
        CHECK(rec_read(&r, at, h.size, types, 1, true)); // whole: 2000 elements
        CHECK_INT(r.v[0].cut, 0);
        char *heap = r.heap;
        CHECK(heap != NULL);
        CHECK(rec_read(&r, at, h.size, types, 1, false));
        CHECK_INT(r.v[0].cut, 1);
        ring_read_next(w.thread.lane, h.size);
        struct pipeline p;
        pipeline_init(&p);
        p.style.jsonl = true;
        pipeline_record(&p, &r, site, T);
        size_t n = strlen(rows[i].end);
        CHECK(p.out.n > n);
        CHECK_STR(slice_from(buf_slice(&p.out), p.out.n - n), rows[i].end);
        pipeline_free(&p);
        site_free(site);
        free(heap);
    }
    ring_free(w.ring, true);
    check_done();
}

// ---- SONDE_KV -------------------------------------------------------------------------------------------------------
static int kv(void *arg)
{
    (void)arg;
    char text[] = "array";
    const char *null = NULL;
    const unsigned char byte = 200;
    float f = 0.5f;
    SONDE_INFO("kv", SONDE_KV("b", (bool)1), SONDE_KV("c", (char)65), SONDE_KV("sc", (signed char)-1), SONDE_KV("s", (short)-2),
               SONDE_KV("i", -3), SONDE_KV("l", -4l), SONDE_KV("ll", -5ll), SONDE_KV("uc", byte),
               SONDE_KV("us", (unsigned short)6), SONDE_KV("u", 7u), SONDE_KV("ul", sizeof text), SONDE_KV("ull", ~0ull),
               SONDE_KV("f", f), SONDE_KV("d", 1.25), SONDE_KV("ld", 2.0L), SONDE_KV("a", text), SONDE_KV("p", "lit"),
               SONDE_KV("none", null));
    return 0;
}

static void kv_types(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(kv, NULL, (const char *const[]){NULL}, &out), 0);
    const char *at = strstr(out.p, ": kv ");
    assert_non_null(at);
    assert_string_equal(at,
                        ": kv b=true c=65 sc=-1 s=-2 i=-3 l=-4 ll=-5 uc=200 us=6 u=7 ul=6 ull=18446744073709551615 f=0.5 d=1.25 "
                        "ld=2.0 a=\"array\" p=\"lit\"\n");
    buf_free(&out);
}

// ---- messages with arguments ----------------------------------------------------------------------------------------
struct expected {
    size_t n;
    char text[16384];
};

static void expect(struct expected *e, const char *line)
{
    e->n += (size_t)snprintf(e->text + e->n, sizeof e->text - e->n, "%s\n", line);
}

// The message must be what printf makes of the same format and arguments.
#define F(format, ...)                                      \
    do {                                                    \
        char line_[8192];                                   \
        errno = ENOENT;                                     \
        SONDE_INFOF(format, SONDE_ARGS(__VA_ARGS__));       \
        errno = ENOENT;                                     \
        snprintf(line_, sizeof line_, format, __VA_ARGS__); \
        expect(e, line_);                                   \
    } while (0)

static int formats(void *arg)
{
    struct expected *e = arg;
    char raw[3] = {'x', 'y', 'z'}; // not terminated
    const char *name = "decode", *volatile null = NULL;
    setlocale(LC_ALL, "C.UTF-8");
    F("loaded %s in %d ms", name, 12);
    F("%d%%", 50);
    F("%5d|%-5d|%05d|%+d|% d|%i", 42, 42, 42, 42, 42, -42);
    F("%u %x %X %#x %o %#o", 42u, 255u, 255u, 255u, 8u, 8u);
    F("%u", -1);
    F("%hhd %hd %hhu %hu", (signed char)-1, (short)-2, (unsigned char)255, (unsigned short)65535);
    F("%hhd", 300);
    F("%ld %lld %lu %llu", -1l, -2ll, 3ul, ~0ull);
    F("%jd %zu %td", (intmax_t)-7, sizeof raw, (ptrdiff_t)-8);
    F("%f %.2f %8.3f|%-8.1f|%e %g %a", 1.5, 2.345, 3.14159, 2.5, 12345.678, 0.0001, 1.0);
    F("%f %f", (double)INFINITY, (double)-INFINITY);
    F("%Lf", 2.5L);
    F("%s|%10s|%-10s|%.3s|%10.2s", name, name, name, name, name);
    F("%.*s|%.2s|%*s|%-*s", 3, raw, raw, 8, name, -8, name);
    F("%.*s", -1, name);
    F("%c%c|%3c|%-3c", 'a', 'b', 'c', 'd');
    F("%p %p", (void *)raw, (void *)NULL);
    F("%p", name);
    F("%2$s %1$d %2$s", 7, name);
    F("%1$*2$d|%3$.*4$s", 7, 5, name, 2);
    F("%s: %m", name);
    F("%s: %20m|%-25m|%.4m", name);
    F("%s", null);
    F("%ls|%.3ls|%lc", L"gr\u00fc\u00dfe", L"gr\u00fc", (wint_t)0x65e5);
    F("%.*ls|%8ls", 2, L"xyz", L"w");
    F("%d and an end in %s", 1, "");
    F("%6.2f%%|%+.1e|%#.0f", 99.5, -0.000123, 3.0);
    F("%1$s%1$s", "twice");
    F("%d %d %d %d %d %d %d %d %d %d %d %d", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    errno = EAGAIN;
    SONDE_INFOF("%s in %d ms: %m", SONDE_ARGS(name, 3), SONDE_INT("n", 4), SONDE_KV("from", name));
    int kept = errno == EAGAIN; // a call leaves errno alone
    expect(e, "decode in 3 ms: Resource temporarily unavailable n=4 from=\"decode\"");
    return kept ? 0 : 1;
}

static void formats_as_printf(void **state)
{
    (void)state;
    struct buf out;
    struct expected *e = child_shared(sizeof *e);
    assert_int_equal(child_run(formats, e, (const char *const[]){NULL}, &out), 0);
    struct slice lines = buf_slice(&out), want = slice_of(e->text, e->n), line, expected;
    while (slice_split(&want, '\n', &expected) && expected.n) {
        if (!CHECK(slice_split(&lines, '\n', &line)))
            break;
        ptrdiff_t at = slice_find(line, SLICE("tests::fields: "));
        check_row("%.*s", (int)expected.n, expected.p);
        CHECK(at > 0);
        CHECK_SLICE(slice_from(line, (size_t)at + 15), expected);
    }
    CHECK_INT(lines.n, 0);
    check_done();
    buf_free(&out);
}

// ---- large and odd --------------------------------------------------------------------------------------------------
enum { MANY = 1000, LARGE = 1 << 20 };

static int large(void *arg)
{
    (void)arg;
    static char text[LARGE + 1], names[MANY][16];
    static struct sonde_field fields[MANY + 3];
    memset(text, 'x', LARGE);
    text[7] = '\n';
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "k%03d", (i * 7) % MANY); // not in order
        fields[i] = (struct sonde_field)SONDE_FIELD(SONDE_INT(names[i], (i * 7) % MANY));
    }
    fields[MANY] = (struct sonde_field)SONDE_FIELD(SONDE_STR("k005", "the last one stays"));
    fields[MANY + 1] = (struct sonde_field)SONDE_FIELD(SONDE_STR("level", "reserved"));
    fields[MANY + 2] = (struct sonde_field)SONDE_FIELD(SONDE_STR("bad\xff", "key"));
    SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, "many", fields, MANY + 3);
    SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, text, fields, 1);
    SONDE_LOG_ARRAY_N(SONDE_LEVEL_INFO, "a\0b\xff", 4, fields, 0);
    SONDE_LOG_ARRAY(SONDE_LEVEL_DEBUG, "off", fields, 1);
    SONDE_INFO("large", SONDE_STRN("s", text, LARGE), SONDE_BYTES("b", text, LARGE));
    SONDE_INFOF("large %s", SONDE_ARGS(text));
    return 0;
}

static void large_and_odd(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(large, NULL, (const char *const[]){"DYN_LOGGING_JSONL=1", NULL}, &out), 0);
    struct slice rest = buf_slice(&out), line[6];
    for (int i = 0; i < 5; i++)
        assert_true(slice_split(&rest, '\n', &line[i]));
    assert_int_equal(rest.n, 0);
    struct buf want;
    buf_init(&want, MIB(1));
    buf_str(&want, "\"message\":\"many\",\"bad\xef\xbf\xbd\":\"key\",\"field.level\":\"reserved\"");
    for (int i = 0; i < MANY; i++)
        i == 5 ? buf_str(&want, ",\"k005\":\"the last one stays\"") : buf_printf(&want, ",\"k%03d\":%d", i, i);
    buf_char(&want, '}');
    ptrdiff_t at = slice_find(line[0], SLICE("\"message\""));
    CHECK_SLICE(slice_from(line[0], (size_t)at), buf_slice(&want));
    CHECK(line[1].n > LARGE && slice_find(line[1], SLICE("xxx\",\"k000\":0}")) > LARGE); // \n takes two
    CHECK(slice_find(line[2], SLICE("\"message\":\"a\\u0000b\xef\xbf\xbd\"}")) > 0);
    CHECK(line[3].n > LARGE + LARGE / 3 * 4);
    CHECK(slice_find(line[4], SLICE("\"message\":\"large xxxxxxx\\nxxx")) > 0 && line[4].n > LARGE);
    check_done();
    buf_free(&want);
    buf_free(&out);
}

// A field that the span has too gives way, as a field of a call site does.
static int in_a_span(void *arg)
{
    (void)arg;
    struct sonde_field fields[] = {SONDE_FIELD(SONDE_INT("z", 1)), SONDE_FIELD(SONDE_INT("k", 2)), SONDE_FIELD(SONDE_INT("a", 3)),
                                   SONDE_FIELD(SONDE_INT("field.a", 4))};
    struct sonde_span *span = sonde_span_start("handle", SONDE_KIND_SERVER, NULL);
    sonde_span_int(span, "k", 10);
    sonde_span_int(span, "a", 11);
    sonde_span_enter(span);
    SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, "array", fields, 4);
    SONDE_INFO("site", SONDE_INT("z", 1), SONDE_INT("k", 2));
    sonde_span_exit(span);
    sonde_span_end(span);
    return 0;
}

static void array_in_a_span(void **state)
{
    (void)state;
    struct buf out;
    assert_int_equal(child_run(in_a_span, NULL, (const char *const[]){"DYN_LOGGING_JSONL=1", NULL}, &out), 0);
    assert_int_equal(count_of(&out, "\"message\":\"array\",\"a\":11,\"field.a\":4,\"field.k\":2,\"k\":10,\"span_id\":\""), 1);
    assert_int_equal(count_of(&out, "\"message\":\"site\",\"a\":11,\"field.k\":2,\"k\":10,\"span_id\":\""), 1);
    assert_int_equal(count_of(&out, "\",\"z\":1}\n"), 2);
    buf_free(&out);
}

// Damage in the packed fields is noticed, nothing is read outside.
static void packed_damage(void **state)
{
    (void)state;
    struct buf whole;
    buf_init(&whole, MIB(1));
    const struct sonde_field fields[] = {SONDE_FIELD(SONDE_INT("a", 1)), SONDE_FIELD(SONDE_STR("message", "m")),
                                         SONDE_FIELD(SONDE_STRS("c", strings, 5))};
    for (size_t i = 0; i < 3; i++)
        packed_append(&whole, &fields[i]);
    for (size_t cut = 0; cut <= whole.n; cut++) {
        for (int flip = 0; flip < 2; flip++) {
            char *copy = malloc(cut + 1); // its end is the end of readable memory for the sanitizer
            copy = realloc(copy, cut ? cut : 1);
            memcpy(copy, whole.p, cut);
            if (flip && cut)
                copy[cut * 7 % cut] ^= 0x55;
            struct packed p;
            packed_read(&p, slice_of(copy, cut));
            assert_true(p.n <= 3 && (flip || p.n == 3) == (flip || cut == whole.n));
            packed_free(&p);
            free(copy);
        }
    }
    buf_free(&whole);
}

// Protobuf's strings are UTF-8: one byte that is not, wherever it stands, of the key or of the value, is replaced.
static void bytes_that_are_not_text(void **state)
{
    (void)state;
    static const char odd[] = {'\x80', '\xff'};
    for (size_t n = 1; n <= 40; n++) {
        for (size_t at = 0; at <= n; at++) { // n: nowhere
            char *text = malloc(n);          // not a byte more may be read
            memset(text, 'a', n);
            if (at < n)
                text[at] = odd[at % 2];
            for (int key = 0; key < 2; key++) {
                struct buf b;
                buf_init(&b, 1 << 16);
                struct slice it = slice_of(text, n), other = SLICE("plain");
                encode_attr(&b, 9, key ? it : other, SONDE_TYPE_STR, 0, key ? other : it);
                CHECK(b.err == ERR_OK && (slice_find(buf_slice(&b), SLICE("\xef\xbf\xbd")) >= 0) == (at < n));
                CHECK((slice_find(buf_slice(&b), it) >= 0) == (at == n));
                buf_free(&b);
            }
            free(text);
        }
    }
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),    cmocka_unit_test(every_type_in_an_array),  cmocka_unit_test(cut_arrays),
        cmocka_unit_test(packed_damage), cmocka_unit_test(bytes_that_are_not_text),
    };
    const struct CMUnitTest processes[] = {
        cmocka_unit_test(kv_types),
        cmocka_unit_test(formats_as_printf),
        cmocka_unit_test(large_and_odd),
        cmocka_unit_test(array_in_a_span),
    };
    int failed = cmocka_run_group_tests_name("fields", tests, child_setup, NULL);
    return failed + (CHILD_TSAN ? 0 : cmocka_run_group_tests_name("fields in processes", processes, NULL, child_teardown));
}
