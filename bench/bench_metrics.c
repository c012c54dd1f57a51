// What an update of a metric costs, beside the floors of the machine, alone and on two threads at once, and what a scrape costs.
// Each figure is the lowest, the median and the highest of the rounds. bench_metrics [--json]: the last line is one JSON object.
#include "base/clock.h"
#include "base/slice.h"
#include <pthread.h>
#include <sonde/metrics.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 31, N = 100000, VALUES = 16384, SERIES = 10000 };

static struct sonde_int_counter *ints;
static struct sonde_counter *floats;
static struct sonde_histogram *classic, *native;
static struct sonde_counter_vec *vec;
static struct sonde_int_gauge *gauge;
static double values[VALUES];
static _Atomic uint64_t shared;
static __thread uint64_t own;

static void op_own(int i)
{
    own += (uint64_t)i;
    __asm__ volatile("" ::: "memory");
}
static void op_atomic(int i)
{
    atomic_fetch_add_explicit(&shared, (uint64_t)i, memory_order_relaxed);
}
static void op_int(int i)
{
    sonde_int_counter_add(ints, (uint64_t)i);
}
static void op_float(int i)
{
    sonde_counter_add(floats, 1.5 + i);
}
static void op_gauge(int i)
{
    sonde_int_gauge_add(gauge, i);
}
static void op_classic(int i)
{
    sonde_histogram_observe(classic, values[i & (VALUES - 1)]);
}
static void op_native(int i)
{
    sonde_histogram_observe(native, values[i & (VALUES - 1)]);
}
static void op_vec(int i)
{
    sonde_counter_add(sonde_counter_vec_with(vec, SONDE_VALUES("chat_completions", "success")), 1);
}

#define OPS(X)                                    \
    X(own, "floor: a thread's own number")        \
    X(atomic, "floor: one shared atomic number")  \
    X(int, "int counter add")                     \
    X(float, "counter add")                       \
    X(classic, "histogram observe, 18 buckets")   \
    X(native, "native histogram observe")         \
    X(gauge, "int gauge add (one shared atomic)") \
    X(vec, "look-up of two labels and counter add")

// Each loop of its own, so that the operation is inlined as in a caller.
#define LOOP(name, text)                              \
    static double run_##name(void)                    \
    {                                                 \
        int64_t start = clock_mono_ns();              \
        for (int i = 0; i < N; i++)                   \
            op_##name(i);                             \
        return (double)(clock_mono_ns() - start) / N; \
    }
OPS(LOOP)

// The exemplar of each bucket is there already, as it is between two scrapes.
static double run_span(void)
{
    struct sonde_span *span = sonde_span_start("bench", SONDE_KIND_INTERNAL, NULL);
    sonde_span_enter(span);
    double ns = run_classic();
    sonde_span_end(span);
    return ns;
}

static const struct {
    const char *name, *text;
    double (*run)(void);
} ops[] = {
#define ROW(name, text) {#name, text, run_##name},
    OPS(ROW){"span", "histogram observe within a sampled span", run_span}};

struct range {
    double min, median, max;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct range range_of(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return (struct range){v[0], v[n / 2], v[n - 1]};
}

static struct range alone(double (*run)(void))
{
    double v[ROUNDS];
    run();
    for (int r = 0; r < ROUNDS; r++)
        v[r] = run();
    return range_of(v, ROUNDS);
}

static pthread_barrier_t barrier;

static void *one_of_two(void *arg)
{
    double (*const *run)(void) = arg;
    double *v = malloc(ROUNDS * sizeof *v);
    (*run)();
    for (int r = 0; r < ROUNDS; r++) {
        pthread_barrier_wait(&barrier);
        v[r] = (*run)();
    }
    return v;
}

// Nanoseconds an update on each of two threads that do the same to the same metric.
static struct range two(double (*run)(void))
{
    pthread_t t[2];
    double v[2 * ROUNDS];
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, one_of_two, &run);
    for (int i = 0; i < 2; i++) {
        void *part;
        pthread_join(t[i], &part);
        memcpy(v + i * ROUNDS, part, sizeof v / 2);
        free(part);
    }
    pthread_barrier_destroy(&barrier);
    return range_of(v, 2 * ROUNDS);
}

static struct sonde_registry *many_series(void)
{
    static const char *const names[] = {"worker", "status"};
    struct sonde_registry *r = sonde_registry_new("bench_");
    struct sonde_int_counter_vec *v = sonde_int_counter_vec_new(
        r,
        &(struct sonde_metric_options){
            .name = "requests_total", .help = "h", .label_names = names, .n_label_names = 2, .max_series = SERIES},
        NULL);
    for (int i = 0; i < SERIES; i++) {
        char worker[16];
        snprintf(worker, sizeof worker, "worker-%d", i / 2);
        sonde_int_counter_add(sonde_int_counter_vec_with(v, SONDE_VALUES(worker, i & 1 ? "success" : "error")),
                              (uint64_t)i * 7919);
    }
    return r;
}

static struct range scrape(struct sonde_registry *r, enum sonde_exposition e, size_t *bytes)
{
    double v[ROUNDS];
    for (int i = -2; i < ROUNDS; i++) {
        int64_t start = clock_mono_ns();
        char *page = sonde_registry_text(r, e, bytes);
        if (i >= 0)
            v[i] = (double)(clock_mono_ns() - start) * 1e-6;
        free(page);
    }
    return range_of(v, ROUNDS);
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    double bounds[SONDE_BUCKETS_MAX];
    static const char *const names[] = {"endpoint", "status"};
    struct sonde_registry *r = sonde_registry_new(SONDE_DYNAMO_PREFIX);
    size_t n = sonde_buckets(0.001, 480, 18, bounds);
    ints = sonde_int_counter_new(r, &(struct sonde_metric_options){.name = "ints_total"}, NULL);
    floats = sonde_counter_new(r, &(struct sonde_metric_options){.name = "floats_total"}, NULL);
    gauge = sonde_int_gauge_new(r, &(struct sonde_metric_options){.name = "gauge"}, NULL);
    classic = sonde_histogram_new(r, &(struct sonde_metric_options){.name = "classic", .buckets = bounds, .n_buckets = n}, NULL);
    native = sonde_native_histogram_new(r, &(struct sonde_metric_options){.name = "native"}, NULL);
    vec = sonde_counter_vec_new(r, &(struct sonde_metric_options){.name = "vec_total", .label_names = names, .n_label_names = 2},
                                NULL);
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < VALUES; i++) { // times to the first token from 1 ms to 16 s, evenly in the logarithm
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        values[i] = 0.001 * (double)(1u << (x % 14)) * (1 + (double)(x >> 40) / (double)(1 << 24));
    }
    printf("nanoseconds, lowest / median / highest of %d rounds of %d\n", ROUNDS, N);
    char out[4096] = "";
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct range a = alone(ops[i].run), b = two(ops[i].run);
        printf("%-42s one thread %5.1f /%5.1f /%5.1f   two threads %5.1f /%5.1f /%5.1f\n", ops[i].text, a.min, a.median, a.max,
               b.min, b.median, b.max);
        size_t at = strlen(out);
        snprintf(out + at, sizeof out - at, "\"%s_ns\":[%.2f,%.2f,%.2f],\"%s_two_ns\":[%.2f,%.2f,%.2f],", ops[i].name, a.min,
                 a.median, a.max, ops[i].name, b.min, b.median, b.max);
    }
    struct sonde_registry *many = many_series();
    size_t bytes, bytes_om;
    struct range text = scrape(many, SONDE_EXPOSITION_TEXT, &bytes), om = scrape(many, SONDE_EXPOSITION_OPENMETRICS, &bytes_om);
    printf("scrape of %d series: text %.2f / %.2f / %.2f ms (%zu kB), OpenMetrics %.2f / %.2f / %.2f ms\n", SERIES, text.min,
           text.median, text.max, bytes / 1000, om.min, om.median, om.max);
    if (json)
        printf("{\"metrics\":{%s\"scrape_10k_ms\":[%.2f,%.2f,%.2f]}}\n", out, text.min, text.median, text.max);
    sonde_registry_free(many);
    sonde_registry_free(r);
    return 0;
}
