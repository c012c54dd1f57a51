// The store's figures for metrics: an hour of 10,000 series with a sample each 15 s, as Prometheus sends it by remote write 1.0
// (2,000 samples a request, 9 labels a series): ingest, size on disk, reading back.
//   bench_samples [--json] [--series N] [--rounds N] [DIR]
#include "bench_store.h"
#include <math.h>
#include <time.h>

enum { PER_REQUEST = 2000, PER_TARGET = 100 };

static double *values;
static uint32_t n_series = 10000, n_rounds = 240;

static void put_label(struct buf *b, const char *name, const char *fmt, uint32_t n)
{
    char text[100];
    int len = snprintf(text, sizeof text, fmt, n);
    size_t mark = pb_w_begin(b, 1);
    pb_w_bytes(b, 1, slice_str(name));
    pb_w_bytes(b, 2, slice_of(text, (size_t)len));
    pb_w_end(b, mark);
}

static uint64_t dice(void)
{
    static uint64_t x = 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

// Of a target's 100 series 60 are buckets of histograms, 20 other counters, 10 sums of seconds, 10 gauges.
static double next_value(uint32_t series)
{
    uint32_t k = series % PER_TARGET;
    double *v = &values[series];
    if (k < 60)
        *v = k % 12 == 0 ? (double)(dice() % 20) + *v : k % 12 == 11 ? *v : *v + (double)(dice() % 6);
    else if (k < 80)
        *v += (double)(dice() % (k % 3 ? 1000 : 3));
    else if (k < 90)
        *v += (double)(dice() % 1000000) / 1e6;
    else if (k < 95)
        *v = (double)(dice() % 4096) * 4096 + 3e8;
    else
        *v = (double)(dice() % 1000) / 1000;
    return *v;
}

static void make_request(struct buf *b, uint32_t first, int64_t ms)
{
    static uint32_t jitter[64];
    buf_reset(b);
    for (size_t i = 0; first == 0 && i < 64; i++)
        jitter[i] = (uint32_t)(dice() % 4);
    for (uint32_t s = first; s < first + PER_REQUEST && s < n_series; s++) {
        uint32_t k = s % PER_TARGET, target = s / PER_TARGET;
        size_t mark = pb_w_begin(b, 1);
        put_label(b, "__name__", k < 60 ? "http_request_duration_seconds_bucket_%u" : "process_runtime_something_total_%u",
                  k / 12);
        put_label(b, "container", "worker%.0u", 0);
        put_label(b, "endpoint", "metrics-%u", 0);
        put_label(b, "instance", "10.0.12.%u:9100", target);
        put_label(b, "job", "inference/worker-%u", target % 7);
        if (k < 60)
            put_label(b, "le", "0.%u", k % 12);
        put_label(b, "namespace", "production-eu-%u", target % 3);
        if (k >= 60)
            put_label(b, "path", "/v1/path/%u", k);
        put_label(b, "pod", "worker-7f9c6d5b8-x%04u", target);
        put_label(b, "zone", "eu-central-%u", k % 2);
        size_t sample = pb_w_begin(b, 2);
        pb_w_double(b, 1, next_value(s));
        // Each fourth target is not in step: a push of OTLP rather than a scrape, which Prometheus aligns.
        pb_w_i64(b, 2, ms + target * 131 % 15000 + (target % 4 ? 0 : jitter[target % 64]));
        pb_w_end(b, sample);
        pb_w_end(b, mark);
    }
}

static double cpu(clockid_t c)
{
    struct timespec t;
    clock_gettime(c, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool first_target(void *arg, const struct resource *r)
{
    (void)arg;
    return slice_eq(resource_label(r, SLICE("instance")), SLICE("10.0.12.3:9100"));
}

static bool first_metric(void *arg, const struct resource *r)
{
    (void)arg;
    return slice_eq(resource_label(r, SLICE("__name__")), SLICE("http_request_duration_seconds_bucket_2"));
}

static uint64_t scan(struct store *s, bool (*match)(void *arg, const struct resource *r))
{
    struct scan_request q = {
        .signal = SIGNAL_SAMPLE, .from = INT64_MIN, .to = INT64_MAX, .fields = 1ull << FIELD_VALUE, .match = match};
    return scan_rows(s, &q);
}

int main(int argc, char **argv)
{
    char dir[DIR_SIZE] = "";
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--series") == 0 && i + 1 < argc)
            n_series = (uint32_t)atoi(argv[++i]);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            n_rounds = (uint32_t)atoi(argv[++i]);
        else
            snprintf(dir, sizeof dir, "%s", argv[i]);
    }
    make_dir(dir, "bench-samples");
    values = calloc(n_series, sizeof *values);
    struct error err = {0};
    struct store *s = open_dir(dir, 0);
    struct buf b;
    buf_init(&b, MAX_HTTP_BODY);
    int64_t t0 = clock_wall_ns() / 1000000;
    double decode = 0, append = 0, make = 0, wall = 0;
    uint64_t bytes = 0, samples = 0, peak = 0;
    double all_cpu = cpu(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t round = 0; round < n_rounds; round++)
        for (uint32_t first = 0; first < n_series; first += PER_REQUEST) {
            struct wire_options opt = {.received_ns = (t0 + round * 15000) * 1000000};
            struct wire_report report;
            struct batch *batch;
            double began = cpu(CLOCK_THREAD_CPUTIME_ID);
            make_request(&b, first, t0 + (int64_t)round * 15000);
            make += cpu(CLOCK_THREAD_CPUTIME_ID) - began;
            int64_t wall_began = clock_mono_ns();
            wait_below(IN_FLIGHT);
            began = cpu(CLOCK_THREAD_CPUTIME_ID);
            if (wire_decode(WIRE_WRITE1, buf_slice(&b), true, &opt, &batch, &report, &err) != ERR_OK)
                die("decode", &err);
            decode += cpu(CLOCK_THREAD_CPUTIME_ID) - began;
            samples += report.accepted;
            bytes += b.n;
            began = cpu(CLOCK_THREAD_CPUTIME_ID);
            append_batch(s, WIRE_WRITE1, &b, opt.received_ns, batch);
            append += cpu(CLOCK_THREAD_CPUTIME_ID) - began;
            wall += (double)(clock_mono_ns() - wall_began) / 1e9;
            struct store_stats st;
            if (first == 0) {
                store_stats(s, &st);
                peak = st.bytes_head > peak ? st.bytes_head : peak;
            }
        }
    wait_below(1);
    all_cpu = cpu(CLOCK_PROCESS_CPUTIME_ID) - all_cpu - make;
    struct store_stats st;
    double flush = cpu(CLOCK_PROCESS_CPUTIME_ID);
    if (store_flush(s, &err) != ERR_OK)
        die("flush", &err);
    flush = cpu(CLOCK_PROCESS_CPUTIME_ID) - flush;
    store_stats(s, &st);
    uint64_t parts = st.parts, disk = st.bytes_disk;
    double merge = cpu(CLOCK_PROCESS_CPUTIME_ID);
    for (int quiet = 0; quiet < 4;) { // until the worker has merged what it merges
        uint64_t before = st.parts;
        usleep(1200000);
        store_stats(s, &st);
        quiet = st.parts == before ? quiet + 1 : 0;
    }
    merge = cpu(CLOCK_PROCESS_CPUTIME_ID) - merge;
    int64_t began = clock_mono_ns();
    uint64_t one = scan(s, first_target);
    double one_ms = (double)(clock_mono_ns() - began) / 1e6;
    began = clock_mono_ns();
    uint64_t metric = scan(s, first_metric);
    double metric_ms = (double)(clock_mono_ns() - began) / 1e6;
    began = clock_mono_ns();
    uint64_t rows = scan(s, NULL);
    double all_s = (double)(clock_mono_ns() - began) / 1e9;
    const struct figure row[] = {
        {"decode_samples_per_s", "samples/s decoded by one core", (double)samples / decode},
        {"append_samples_per_s", "samples/s handed to the store by one core", (double)samples / append},
        {"cpu_us_per_sample", "us of CPU a sample, all threads, until acknowledged", all_cpu / (double)samples * 1e6},
        {"samples_per_s", "samples/s acknowledged, wall clock", (double)samples / wall},
        {"request_bytes_per_sample", "bytes a sample in requests", (double)bytes / (double)samples},
        {"head_peak_mib", "MiB of heads at most", (double)peak / 1048576},
        {"flush_cpu_s", "s of CPU for the last flush", flush},
        {"merge_cpu_s", "s of CPU for merging parts", merge},
        {"parts_before", "parts before merging", (double)parts},
        {"bytes_per_sample_before", "bytes a sample before merging", (double)disk / (double)samples},
        {"parts", "parts", (double)st.parts},
        {"bytes_per_sample", "bytes a sample on disk", (double)st.bytes_disk / (double)st.rows_parts},
        {"target_ms", "ms to read the samples of one target", one_ms},
        {"metric_ms", "ms to read one metric of all targets", metric_ms},
        {"scan_samples_per_s", "samples/s scanned", (double)rows / all_s}};
    print_figures(row, sizeof row / sizeof *row, "samples", samples, json);
    if (one != (uint64_t)PER_TARGET * n_rounds || metric != samples / PER_TARGET * 12 || rows != samples) {
        fprintf(stderr, "read %llu of %llu, %llu of all %llu\n", (unsigned long long)one,
                (unsigned long long)PER_TARGET * n_rounds, (unsigned long long)rows, (unsigned long long)samples);
        return 1;
    }
    store_close(s);
    if (!getenv("BENCH_KEEP"))
        remove_dir(dir);
    return 0;
}
