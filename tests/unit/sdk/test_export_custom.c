// Exporters and log processors of the program itself, the end of one signal, what a Retry-After says.
#define SONDE_TARGET "tests::custom"
#include "base/pb.h"
#include "check.h"
#include "child.h"
#include "sdk/export_int.h"
#include <errno.h>
#include <sonde/export.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// Records of all batches of a signal: field 2 of Scope… of Resource….
static size_t items_in(struct sonde_memory_exporter *m, enum sonde_signal signal)
{
    struct sonde_export_batch b;
    size_t n = 0;
    for (size_t i = 0; sonde_memory_exporter_get(m, i, &b); i++) {
        struct pb r, resource, scope;
        size_t found = 0;
        if (b.signal != signal)
            continue;
        pb_init(&r, slice_of(b.otlp, b.n), NULL);
        while (pb_next(&r) && pb_message(&r, &resource))
            while (pb_next(&resource)) {
                if (resource.field != 2 || !pb_message(&resource, &scope)) {
                    pb_skip(&resource);
                    continue;
                }
                while (pb_next(&scope)) {
                    found += scope.field == 2;
                    pb_skip(&scope);
                }
            }
        if (r.failed || found != b.items)
            return SIZE_MAX;
        n += found;
    }
    return n;
}

static bool holds(struct sonde_memory_exporter *m, const char *text)
{
    struct sonde_export_batch b;
    for (size_t i = 0; sonde_memory_exporter_get(m, i, &b); i++)
        if (slice_find(slice_of(b.otlp, b.n), slice_str(text)) >= 0)
            return true;
    return false;
}

struct told {
    int emitted, asked, flushed, stopped, exported, failed_first;
    bool ok;
    struct sonde_counts counts;
};

// Each child reports by its exit status: the line of the first mistake, or 0.
#define MUST(x)                                                     \
    do {                                                            \
        if (!(x)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
            return 1;                                               \
        }                                                           \
    } while (0)

static int in_memory(void *arg)
{
    (void)arg;
    struct sonde_memory_exporter *m = sonde_memory_exporter_new();
    struct sonde_exporter x = sonde_memory_exporter_of(m);
    MUST(sonde_exporter_add(&x));
    for (int i = 0; i < 100; i++)
        SONDE_INFO("kept", SONDE_INT("i", i));
    sonde_span_end(sonde_span_start("kept span", SONDE_KIND_INTERNAL, NULL));
    MUST(sonde_flush(2000));
    MUST(items_in(m, SONDE_LOGS) == 100 && items_in(m, SONDE_TRACES) == 1);
    MUST(holds(m, "kept span") && holds(m, "tests::custom") && holds(m, "telemetry.sdk.name"));
    size_t before = sonde_memory_exporter_count(m);
    MUST(before >= 2 && before < 50); // batches, not records
    sonde_memory_exporter_reset(m);
    MUST(sonde_memory_exporter_count(m) == 0 && !holds(m, "kept"));
    SONDE_INFO("more");
    MUST(sonde_signal_flush(SONDE_LOGS, 1000) && items_in(m, SONDE_LOGS) == 1);
    MUST(sonde_signal_shutdown(SONDE_LOGS, 1000));
    MUST(sonde_signal_shutdown(SONDE_LOGS, 1000)); // again: nothing
    SONDE_INFO("too late");
    sonde_span_end(sonde_span_start("still", SONDE_KIND_INTERNAL, NULL));
    MUST(sonde_shutdown(2000));
    MUST(items_in(m, SONDE_LOGS) == 1 && !holds(m, "too late") && holds(m, "still"));
    return 0;
}

static enum sonde_export_result one_by_one(void *arg, const struct sonde_export_batch *b)
{
    struct told *t = arg;
    t->exported += b->items == 1 ? 1 : 1000;
    return SONDE_EXPORT_OK;
}
static bool on_flush(void *arg, unsigned ms)
{
    ((struct told *)arg)->flushed++;
    return ms <= 2000;
}
static bool on_stop(void *arg, unsigned ms)
{
    (void)ms;
    ((struct told *)arg)->stopped++;
    return true;
}

static int simple(void *arg)
{
    (void)arg;
    static struct told t;
    struct sonde_exporter x = {.signals = 1u << SONDE_LOGS | 1u << SONDE_TRACES,
                               .simple = true,
                               .export_batch = one_by_one,
                               .force_flush = on_flush,
                               .shutdown = on_stop,
                               .arg = &t};
    MUST(sonde_exporter_add(&x));
    for (int i = 0; i < 10; i++)
        SONDE_INFO("one");
    sonde_span_end(sonde_span_start("span", SONDE_KIND_INTERNAL, NULL));
    MUST(sonde_flush(2000));
    MUST(t.exported == 11 && t.flushed == 2);
    MUST(sonde_shutdown(1000) && t.stopped == 1);
    return 0;
}

static enum sonde_export_result later(void *arg, const struct sonde_export_batch *b)
{
    struct told *t = arg;
    (void)b;
    if (__atomic_fetch_sub(&t->failed_first, 1, __ATOMIC_RELAXED) > 0)
        return SONDE_EXPORT_RETRY;
    __atomic_fetch_add(&t->exported, 1, __ATOMIC_RELAXED);
    return SONDE_EXPORT_OK;
}
static enum sonde_export_result never(void *arg, const struct sonde_export_batch *b)
{
    (void)arg;
    (void)b;
    return SONDE_EXPORT_FAILED;
}

static int retried(void *arg)
{
    (void)arg;
    static struct told t = {.failed_first = 2};
    struct sonde_counts c;
    struct sonde_exporter x = {.signals = 1u << SONDE_LOGS, .export_batch = later, .arg = &t};
    MUST(sonde_exporter_add(&x));
    SONDE_INFO("again and again");
    int64_t start = now_ms();
    MUST(sonde_flush(5000) && now_ms() - start >= 200); // with backoff
    MUST(__atomic_load_n(&t.exported, __ATOMIC_RELAXED) >= 1);
    x = (struct sonde_exporter){.signals = 1u << SONDE_TRACES, .export_batch = never};
    MUST(sonde_exporter_add(&x));
    sonde_span_end(sonde_span_start("span", SONDE_KIND_INTERNAL, NULL));
    sonde_flush(1000);
    sonde_counts_get(&c);
    MUST(c.export_spans_dropped == 1 && c.export_spans_sent == 0);
    return 0;
}

static int refused_options(void *arg)
{
    (void)arg;
    struct sonde_exporter none = {.signals = 1}, nothing = {.export_batch = never}, good = {.signals = 1, .export_batch = never};
    MUST(!sonde_exporter_add(NULL) && !sonde_exporter_add(&none) && !sonde_exporter_add(&nothing));
    for (int i = 0; i < SONDE_EXPORTERS_MAX; i++)
        MUST(sonde_exporter_add(&good));
    MUST(!sonde_exporter_add(&good));
    MUST(!sonde_log_processor_add(NULL) && !sonde_log_processor_add(&(struct sonde_log_processor){0}));
    MUST(sonde_signal_flush((enum sonde_signal)9, 10) && sonde_signal_shutdown((enum sonde_signal)9, 10));
    return 0;
}

// ---- processors -----------------------------------------------------------------------------------------------------
static bool mark(void *arg, struct sonde_log_record *r)
{
    struct told *t = arg;
    t->emitted++;
    t->ok = r->target_n == 13 && !memcmp(r->target, "tests::custom", 13) && r->time_ns > 0 && r->observed_ns >= r->time_ns;
    t->ok = t->ok && slice_find(slice_of(r->otlp, r->otlp_n), SLICE("number")) >= 0;
    sonde_log_record_add_str(r, "added.by", "processor");
    sonde_log_record_add_int(r, "added.n", 42);
    return r->level != SONDE_LEVEL_DEBUG;
}
static bool second(void *arg, struct sonde_log_record *r)
{
    struct told *t = arg;
    t->exported += slice_find(slice_of(r->otlp, r->otlp_n), SLICE("added.by")) >= 0 && r->in_span && (r->flags & 1);
    return true;
}
static bool not_warnings(void *arg, enum sonde_level level, const char *target, size_t n)
{
    struct told *t = arg;
    t->asked++;
    return level != SONDE_LEVEL_WARN && target && n;
}

static int processors(void *arg)
{
    (void)arg;
    static struct told a, b;
    struct sonde_memory_exporter *m = sonde_memory_exporter_new();
    struct sonde_exporter x = sonde_memory_exporter_of(m);
    struct sonde_log_processor p = {mark, not_warnings, on_flush, on_stop, &a}, q = {second, NULL, NULL, NULL, &b};
    MUST(sonde_log_processor_add(&p) && sonde_log_processor_add(&q) && sonde_exporter_add(&x));
    struct sonde_span *s = sonde_span_start("span", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(s);
    SONDE_INFO("seen", SONDE_INT("number", 1));
    SONDE_DEBUG("kept back", SONDE_INT("number", 2));
    SONDE_WARN("not asked for", SONDE_INT("number", 3));
    sonde_span_exit(s);
    sonde_span_end(s);
    MUST(sonde_flush(2000));
    MUST(a.emitted == 2 && a.asked == 3 && a.ok && a.flushed == 1);
    MUST(b.exported == 1);
    MUST(items_in(m, SONDE_LOGS) == 2 && holds(m, "added.by") && !holds(m, "kept back") && holds(m, "not asked for"));
    MUST(sonde_shutdown(1000) && a.stopped == 1);
    return 0;
}

static int processor_alone(void *arg) // without any exporter
{
    (void)arg;
    static struct told a;
    struct sonde_log_processor p = {.on_emit = mark, .arg = &a};
    MUST(sonde_log_processor_add(&p));
    SONDE_INFO("seen", SONDE_INT("number", 1));
    MUST(sonde_flush(1000) && a.emitted == 1 && a.ok);
    return 0;
}

// The batcher holds what it took while a detector keeps it from going on.
static atomic_int asked, let_go, answered;
static struct sonde_resource *waits(void *arg)
{
    (void)arg;
    atomic_store(&asked, 1);
    while (!atomic_load(&let_go))
        usleep(1000);
    atomic_store(&answered, 1);
    return NULL;
}
static bool comes(atomic_int *what)
{
    for (int64_t until = now_ms() + 30000; !atomic_load(what) && now_ms() < until;)
        usleep(1000);
    return atomic_load(what);
}
static int left_behind(void *arg)
{
    (void)arg;
    struct sonde_counts c, later;
    struct sonde_memory_exporter *m = sonde_memory_exporter_new();
    struct sonde_exporter x = sonde_memory_exporter_of(m);
    MUST(sonde_resource_detector_add("waits", waits, NULL));
    MUST(sonde_exporter_add(&x));
    for (int i = 0; i < 5; i++)
        sonde_span_end(sonde_span_start("held", SONDE_KIND_INTERNAL, NULL));
    for (int i = 0; i < 3; i++)
        SONDE_INFO("held, too");
    MUST(!sonde_flush(200) && comes(&asked));
    sonde_span_end(sonde_span_start("behind it", SONDE_KIND_INTERNAL, NULL));
    MUST(!sonde_shutdown(200));
    sonde_counts_get(&c);
    MUST(c.export_spans_dropped == 6 && c.export_logs_dropped == 3 && c.export_spans_sent + c.export_logs_sent == 0);
    atomic_store(&let_go, 1);
    MUST(comes(&answered));
    usleep(100000); // the batcher goes on: nothing is given away or counted again
    sonde_counts_get(&later);
    MUST(memcmp(&c, &later, sizeof c) == 0 && sonde_memory_exporter_count(m) == 0);
    return 0;
}
static void left_at_the_end(void **state)
{
    (void)state;
    const char *env[] = {"DYN_LOG=info", NULL};
    struct buf out;
    check_row("left at the end");
    if (!CHECK_INT(child_run(left_behind, NULL, env, &out), 0) ||
        !CHECK_INT(slice_find(buf_slice(&out), SLICE("sonde: shutdown left 6 spans and 3 log records unexported\n")) >= 0, 1))
        fprintf(stderr, "%s", out.p);
    buf_free(&out);
    check_done();
}

static void children(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int (*fn)(void *);
    } rows[] = {{"in memory", in_memory},     {"simple", simple},         {"retried", retried},
                {"refused", refused_options}, {"processors", processors}, {"processor alone", processor_alone}};
    const char *env[] = {"DYN_LOG=debug", NULL};
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        struct buf out;
        check_row("%s", rows[i].name);
        if (!CHECK_INT(child_run(rows[i].fn, NULL, env, &out), 0))
            fprintf(stderr, "%s", out.p);
        buf_free(&out);
    }
    check_done();
}

// ---- Retry-After ----------------------------------------------------------------------------------------------------
static void retry_after(void **state)
{
    (void)state;
    const int64_t s = 1000000000, now = 784111777 * s; // Sun, 06 Nov 1994 08:49:37 GMT
    static const struct {
        const char *text;
        int64_t seconds; // -1: none
    } rows[] = {
        {"0", 0},
        {"120", 120},
        {" 7 ", 7},
        {"86400", 3600},
        {"-1", -1},
        {"", -1},
        {"soon", -1},
        {"1.5", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:50:37 GMT", 60},
        {"Sun, 06 Nov 1994 08:49:30 GMT", 0},
        {"Tue, 01 Nov 1994 08:49:37 GMT", 0},
        {"Mon, 07 Nov 1994 00:00:00 GMT", 3600},
        {"Sun, 06 Nov 1994 09:00:00 CET", -1},
        {"Sun, 06 Nix 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 8:49:37 GMT", -1},
    };
    for (size_t i = 0; i < CHECK_ROWS(rows); i++) {
        check_row("'%s'", rows[i].text);
        CHECK_INT(export_retry_after(slice_str(rows[i].text), now), rows[i].seconds < 0 ? -1 : rows[i].seconds * s);
    }
    // Days of all months, over a leap day.
    CHECK_INT(export_retry_after(SLICE("Thu, 29 Feb 2024 00:00:05 GMT"), 1709164800 * s), 5 * s);
    CHECK_INT(export_retry_after(SLICE("Fri, 01 Mar 2024 00:00:01 GMT"), 1709251200 * s), 1 * s);
    CHECK_INT(export_retry_after(SLICE("Wed, 01 Jan 2025 00:00:02 GMT"), 1735689600 * s), 2 * s);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(children), cmocka_unit_test(left_at_the_end),
                                       cmocka_unit_test(retry_after)};
    return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
