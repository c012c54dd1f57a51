// The paths that are paid for at each call: nothing is allocated there, and the quick way of a line writes what the general
// does.
#include "base/json.h"
#include "check.h"
#include "sdk/line.h"
#include <math.h>
#include <sonde/metrics.h>
#include <sonde/sonde.h>
#include <stdlib.h>
#include <unistd.h>

// ---- allocation -----------------------------------------------------------------------------------------------------
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
enum { COUNTS = 0 }; // they have an allocator of their own
static __thread volatile unsigned long allocated;
static __thread volatile bool counting;
#else
enum { COUNTS = 1 };
static __thread volatile unsigned long allocated;
static __thread volatile bool counting;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);
void *malloc(size_t n)
{
    allocated += counting;
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    allocated += counting;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    allocated += counting;
    return __libc_realloc(p, n);
}
void free(void *p)
{
    allocated += counting && p;
    __libc_free(p);
}
#endif

enum { WARM = 2000, CALLS = 20000, PIECE = 200 };
static struct sonde_counter *counter;
static struct sonde_histogram *histogram;

static void log_plain(int i)
{
    SONDE_INFO("kv transfer done", SONDE_STR("worker", "decode-worker-1"), SONDE_INT("tokens", i), SONDE_F64("ms", 1.25));
}
static void log_held(int i)
{
    SONDE_TRACE("held", SONDE_INT("i", i));
}
static void log_formatted(int i)
{
    SONDE_INFOF("%d blocks of %s", SONDE_ARGS(i, "worker"), SONDE_BOOL("ok", true));
}
static void log_values(int i)
{
    const int64_t ids[] = {i, 2, 3};
    SONDE_WARN("values", SONDE_INTS("ids", ids, 3), SONDE_ERRNO("error", 5), SONDE_DUR("took", 100), SONDE_KV("n", i));
}
static void log_limited(int i)
{
    SONDE_INFO_LIMIT(SONDE_EVERY(10, 100, 1), "often", SONDE_INT("i", i));
}
static void count(int i)
{
    (void)i;
    sonde_counter_add(counter, 1);
}
static void observe(int i)
{
    sonde_histogram_observe(histogram, i);
}

static void span(int i)
{
    struct sonde_span *s = sonde_span_start("bench", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    SONDE_SPAN_SET(s, SONDE_STR("worker", "decode-worker-1"), SONDE_INT("tokens", i), SONDE_F64("ms", 1.25),
                   SONDE_BOOL("hit", true));
    sonde_span_int(s, "late", i);
    sonde_span_event(s, "first token");
    SONDE_INFO("inside", SONDE_INT("i", i));
    sonde_span_status(s, SONDE_STATUS_ERROR, "gone");
    sonde_span_exit(s);
    sonde_span_end(s);
}
static void span_child(int i)
{
    struct sonde_span *s = sonde_span_start("parent", SONDE_KIND_SERVER, NULL);
    sonde_span_enter(s);
    for (int k = 0; k < 3; k++)
        span(i + k);
    sonde_span_end(s);
}

static const struct {
    const char *name;
    void (*call)(int i);
} hot[] = {
    {"a log call", log_plain},
    {"one that the flight recorder holds", log_held},
    {"with arguments", log_formatted},
    {"with arrays and errors", log_values},
    {"with a limit", log_limited},
    {"counter", count},
    {"histogram", observe},
    {"span", span},
    {"spans in a span", span_child},
};

static void nothing_is_allocated(void **state)
{
    (void)state;
    if (!COUNTS)
        skip();
    void *volatile probe;
    counting = true;
    probe = malloc(1);
    counting = false;
    assert_true(allocated == 1); // the counting itself works
    free(probe);
    for (size_t i = 0; i < CHECK_ROWS(hot); i++) {
        check_row("%s", hot[i].name);
        for (int k = 0; k < WARM; k++)
            hot[i].call(k);
        sonde_flush(1000);
        allocated = 0;
        counting = true;
        for (int k = 0; k < CALLS; k++) {
            if (k % PIECE == 0) { // the ring never fills: an end that is lost is remembered in the heap
                counting = false;
                sonde_flush(10000);
                counting = true;
            }
            hot[i].call(k);
        }
        counting = false;
        CHECK_INT(allocated, 0);
        sonde_flush(1000);
    }
    check_done();
}

// ---- the common line ------------------------------------------------------------------------------------------------
static const int64_t T = 1768465812004217000; // 2026-01-15T08:30:12.004217Z
static struct buf want, got;

static void compare(enum sonde_type type, uint64_t u, struct slice s)
{
    static struct site site = {.level = 3, .n = 1, .n_order = 1, .json_head = {",\"message\":\"m\"", 14}};
    static struct line_clock clock;
    const struct line_style style = {.jsonl = true};
    site.key[0] = SLICE("k");
    site.json_key[0] = SLICE(",\"k\":");
    site.type[0] = (uint8_t)type;
    static struct rec r;
    r.kind = REC_LOG;
    r.n = 1;
    r.v[0] = (struct rec_value){.type = type, .u = u, .s = s};
    struct line l = {.time = T, .site = &site, .rec = &r};
    buf_reset(&got);
    buf_reset(&want);
    line_write(&got, &style, &clock, &l);
    buf_str(&want, "{\"time\":\"2026-01-15T08:30:12.004217Z\",\"message\":\"m\",\"k\":");
    line_json_value(&want, type, u, s);
    buf_str(&want, "}\n");
    buf_char(&want, 0);
    CHECK_STR(buf_slice(&got), want.p ? want.p : "");
}

// Every length around the steps of eight bytes, with each kind of character that needs more at each place.
static void strings(void **state)
{
    (void)state;
    static const unsigned char odd[] = {'"',  '\\', 0x00, 0x1f, '\n', 0x20, 0x21, 0x23, 0x5b,
                                        0x5d, 0x7f, 0x80, 0xa0, 0xa2, 0xc3, 0xdc, 0xff};
    char text[64];
    for (size_t n = 0; n <= 26; n++) {
        char *s = malloc(n + 1); // as long as it is told: a sanitizer sees what is read behind it
        memset(s, 'x', n);
        check_row("%zu bytes", n);
        compare(SONDE_TYPE_STR, 0, slice_of(s, n));
        for (size_t at = 0; at < n; at++) {
            for (size_t k = 0; k < sizeof odd; k++) {
                char *exact = malloc(n);
                memset(exact, 'x', n);
                exact[at] = (char)odd[k];
                check_row("%zu bytes, 0x%02x at %zu", n, odd[k], at);
                compare(SONDE_TYPE_STR, 0, slice_of(exact, n));
                free(exact);
            }
        }
        free(s);
    }
    memcpy(text,
           "gr\xc3\xbc\xc3\x9f"
           "e aus M\xc3\xbcnchen",
           19);
    compare(SONDE_TYPE_STR, 0, slice_of(text, 19));
    check_done();
}

static uint64_t bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    return u;
}

static void numbers(void **state)
{
    (void)state;
    static const double doubles[] = {0,        -0.0,      1,         -1,          0.5,        1.25,   0.001,  0.0009,
                                     0.123456, 0.1234567, 1.000001,  999999999,   1e9,        1e15,   1e16,   1e300,
                                     5e-324,   NAN,       INFINITY,  -INFINITY,   0.1,        -12.75, 100.01, 3.0000005,
                                     0.3,      1e-3,      33.333333, 123456789.5, 123456.789, 2.5e-3};
    for (uint64_t v = 1, i = 0; i < 20; i++, v *= 10) {
        for (int off = -1; off <= 1; off++) {
            check_row("10^%d%+d", (int)i, off);
            compare(SONDE_TYPE_UINT, v + (uint64_t)off, SLICE_NONE);
            compare(SONDE_TYPE_INT, v + (uint64_t)off, SLICE_NONE);
            compare(SONDE_TYPE_INT, 0 - (v + (uint64_t)off), SLICE_NONE);
        }
    }
    compare(SONDE_TYPE_INT, (uint64_t)INT64_MIN, SLICE_NONE);
    compare(SONDE_TYPE_UINT, UINT64_MAX, SLICE_NONE);
    compare(SONDE_TYPE_BOOL, 0, SLICE_NONE);
    compare(SONDE_TYPE_BOOL, 1, SLICE_NONE);
    for (size_t i = 0; i < CHECK_ROWS(doubles); i++) {
        check_row("%.17g", doubles[i]);
        compare(SONDE_TYPE_F64, bits(doubles[i]), SLICE_NONE);
    }
    for (int i = -3000; i < 3000; i += 7) {
        check_row("%d / 1000", i);
        compare(SONDE_TYPE_F64, bits(i / 1000.0), SLICE_NONE);
    }
    check_done();
}

int main(void)
{
    char dir[] = "/tmp/sonde-hot-XXXXXX";
    if (!mkdtemp(dir))
        return 1;
    setenv("SONDE_RING_DIR", dir, 1);
    setenv("SONDE_LOG_STDERR", "off", 1);
    setenv("DYN_LOG", "info", 1);
    unsetenv("OTEL_EXPORT_ENABLED");
    sonde_init(&(struct sonde_options){.service = "hot"});
    struct sonde_registry *registry = sonde_registry_new("hot");
    counter = sonde_counter_new(registry, &(struct sonde_metric_options){.name = "calls_total", .help = "calls"}, NULL);
    histogram = sonde_histogram_new(registry, &(struct sonde_metric_options){.name = "seconds", .help = "time"}, NULL);
    buf_init(&want, 1 << 20);
    buf_init(&got, 1 << 20);
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_allocated), cmocka_unit_test(strings),
                                       cmocka_unit_test(numbers)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&want);
    buf_free(&got);
    sonde_registry_free(registry);
    sonde_shutdown(1000);
    rmdir(dir);
    return failed;
}
