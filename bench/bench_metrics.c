// What an update of a metric costs, beside the floors of the machine, alone and on two threads at once, and what a scrape costs.
// Each figure is the lowest, the median and the highest of the rounds. bench_metrics [--json]: the last line is one JSON object.
#include "base/clock.h"
#include "base/slice.h"
#include "sdk/meter_otlp.h"
#include <pthread.h>
#include <sonde/meter.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 31, N = 100000, VALUES = 16384, SERIES = 10000 };

static struct sonde_int_counter *ints;
static struct sonde_counter *floats;
static struct sonde_histogram *classic, *native;
static struct sonde_counter_vec *vec;
static struct sonde_int_gauge *gauge;
static struct sonde_instrument *instrument;
static struct sonde_bound *bound_int, *bound_float, *bound_classic, *bound_native;
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

static void op_bound_int(int i)
{
    sonde_bound_add(bound_int, i);
}
static void op_bound_float(int i)
{
    sonde_bound_add_f64(bound_float, 1.5 + i);
}
static void op_bound_classic(int i)
{
    sonde_bound_add_f64(bound_classic, values[i & (VALUES - 1)]);
}
static void op_bound_native(int i)
{
    sonde_bound_add_f64(bound_native, values[i & (VALUES - 1)]);
}
static void op_attributes(int i)
{
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("http.route", "/v1/chat/completions")),
                                    SONDE_FIELD(SONDE_INT("status", 200))};
    sonde_instrument_add(instrument, i, f, 2);
}

#define OPS(X)                                             \
    X(own, "floor: a thread's own number")                 \
    X(atomic, "floor: one shared atomic number")           \
    X(int, "int counter add")                              \
    X(float, "counter add")                                \
    X(classic, "histogram observe, 18 buckets")            \
    X(native, "native histogram observe")                  \
    X(gauge, "int gauge add (one shared atomic)")          \
    X(vec, "look-up of two labels and counter add")        \
    X(bound_int, "bound counter add")                      \
    X(bound_float, "bound double counter add")             \
    X(bound_classic, "bound histogram record, 18 buckets") \
    X(bound_native, "bound exponential histogram record")  \
    X(attributes, "meter's counter add, two attributes")

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

static void meters_make(const double *bounds, size_t n)
{
    static const struct sonde_view native_view = {.instrument_name = "native",
                                                  .aggregation = SONDE_AGGREGATION_EXPONENTIAL_HISTOGRAM};
    struct sonde_meter_provider *p =
        sonde_meter_provider_new(&(struct sonde_meter_provider_options){.is_private = true, .views = &native_view, .n_views = 1});
    struct sonde_meter *m = sonde_meter_get(p, &(struct sonde_scope){.name = "bench"});
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("model", "m"))};
    struct sonde_instrument_options o = {.name = "ints"};
    instrument = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &o);
    bound_int = sonde_instrument_bind(instrument, f, 1);
    o = (struct sonde_instrument_options){.name = "floats", .f64 = true};
    bound_float = sonde_instrument_bind(sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &o), f, 1);
    o = (struct sonde_instrument_options){.name = "classic", .f64 = true, .bounds = bounds, .n_bounds = n};
    bound_classic = sonde_instrument_bind(sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, &o), f, 1);
    o = (struct sonde_instrument_options){.name = "native", .f64 = true};
    bound_native = sonde_instrument_bind(sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM, &o), f, 1);
}

static bool count_bytes(void *arg, struct slice request, size_t points)
{
    (void)points;
    *(size_t *)arg += request.n;
    return true;
}

// What a periodic export costs before it is sent: all series of the process collected and encoded.
static struct range otlp(size_t *bytes)
{
    struct meter_otlp *o = meter_otlp_new();
    double v[ROUNDS];
    for (int i = -2; i < ROUNDS; i++) {
        int64_t start = clock_mono_ns();
        *bytes = 0;
        meter_otlp_collect(o, SLICE_NONE, 0, count_bytes, bytes, NULL);
        if (i >= 0)
            v[i] = (double)(clock_mono_ns() - start) * 1e-6;
    }
    meter_otlp_free(o);
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
    meters_make(bounds, n);
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
    size_t bytes, bytes_om, bytes_otlp;
    struct range text = scrape(many, SONDE_EXPOSITION_TEXT, &bytes), om = scrape(many, SONDE_EXPOSITION_OPENMETRICS, &bytes_om);
    struct range requests = otlp(&bytes_otlp);
    printf("scrape of %d series: text %.2f / %.2f / %.2f ms (%zu kB), OpenMetrics %.2f / %.2f / %.2f ms, OTLP %.2f / %.2f / %.2f "
           "ms (%zu kB)\n",
           SERIES, text.min, text.median, text.max, bytes / 1000, om.min, om.median, om.max, requests.min, requests.median,
           requests.max, bytes_otlp / 1000);
    if (json)
        printf("{\"metrics\":{%s\"scrape_10k_ms\":[%.2f,%.2f,%.2f],\"otlp_10k_ms\":[%.2f,%.2f,%.2f]}}\n", out, text.min,
               text.median, text.max, requests.min, requests.median, requests.max);
    sonde_registry_free(many);
    sonde_registry_free(r);
    return 0;
}
