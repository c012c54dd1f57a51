// Everything the record path can do, as fast as it goes: soak SECONDS THREADS. A line a second on standard output:
//   seconds records resident_kib lost_by_the_ring lost_held logs_sent logs_dropped
// and at the end one for each file sink: "sink NUMBER records written lost_by_ring_and_sink".
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SONDE_TARGET "soak"
#include <sonde/metrics.h>
#include <sonde/sonde.h>

static atomic_bool stop;
static atomic_ullong records;
static struct sonde_histogram *latency;

static void *short_life(void *arg)
{
    SONDE_DEBUG("a thread that came and goes", SONDE_INT("of", (int)(size_t)arg));
    return NULL;
}

static unsigned request(int of, unsigned long long n)
{
    static const int64_t blocks[] = {1, 2, 3, 5, 8};
    static char large[10000];
    struct sonde_context fresh;
    struct sonde_span *s;
    unsigned written = 0;
    int i;
    memset(&fresh, 0, sizeof fresh);
    fresh.flags = 1;
    s = sonde_span_start("request", SONDE_KIND_SERVER, &fresh);
    sonde_span_enter(s);
    sonde_span_str(s, "model", "tiny-llama");
    sonde_span_int(s, "tokens", (int64_t)n);
    for (i = 0; i < 20; i++, written++)
        SONDE_DEBUG("kv transfer", SONDE_INT("thread", of), SONDE_UINT("n", n), SONDE_STR("peer", "worker-1"),
                    SONDE_F64("ms", 1.25), SONDE_INTS("blocks", blocks, 5));
    SONDE_TRACE("below every sink", SONDE_UINT("n", n));
    SONDE_DEBUGF("formatted %s %d", SONDE_ARGS("text", i), SONDE_DUR("took", 1250000));
    written++;
    if (n % 50 == 0) {
        SONDE_INFO("handled", SONDE_UINT("n", n), SONDE_KV("ok", true));
        written++;
    }
    if (n % 500 == 0) {
        struct sonde_field fields[] = {SONDE_FIELD(SONDE_UINT("n", n)), SONDE_FIELD(SONDE_STR("made", "at run time"))};
        memset(large, 'x', sizeof large - 1);
        SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, "an array of fields", fields, 2);
        SONDE_INFO("a large record", SONDE_STR("text", large));
        written += 2;
    }
    if (n % 5000 == 0) {
        SONDE_ERROR("failed", SONDE_ERRNO("error", 111), SONDE_UINT("n", n));
        written++;
    }
    sonde_span_exit(s);
    sonde_span_end(s);
    sonde_histogram_observe(latency, 0.001 * (double)(n % 100));
    return written;
}

static void *work(void *arg)
{
    unsigned long long n;
    for (n = 0; !atomic_load_explicit(&stop, memory_order_relaxed); n++) {
        unsigned written = request((int)(size_t)arg, n);
        if (n % 20000 == 0) {
            pthread_t t;
            if (pthread_create(&t, NULL, short_life, arg) == 0) {
                pthread_join(t, NULL);
                written++;
            }
        }
        atomic_fetch_add_explicit(&records, written, memory_order_relaxed);
    }
    return NULL;
}

static long resident_kib(void)
{
    long pages = 0, all;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void tell(int second)
{
    struct sonde_counts c;
    sonde_counts_get(&c);
    printf("%d %llu %ld %llu %llu %llu %llu\n", second, atomic_load(&records), resident_kib(), (unsigned long long)c.records_lost,
           (unsigned long long)c.held_lost, (unsigned long long)c.export_logs_sent, (unsigned long long)c.export_logs_dropped);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 10, threads = argc > 2 ? atoi(argv[2]) : 3, i;
    struct sonde_registry *registry = sonde_registry_new("soak_");
    struct sonde_metric_options o;
    struct sonde_sink_options json;
    struct sonde_sink_counts sink;
    struct sonde_counts c;
    pthread_t t[64];
    int number[2];
    memset(&o, 0, sizeof o);
    memset(&json, 0, sizeof json);
    o.name = "latency_seconds";
    o.help = "of a request";
    latency = sonde_histogram_new(registry, &o, NULL);
    sonde_init(NULL); // the first file sink is the environment's
    json.kind = SONDE_SINK_FILE;
    json.path = argc > 3 ? argv[3] : "soak.jsonl";
    json.format = SONDE_FORMAT_JSONL;
    json.filter = "debug";
    json.rotate_size = 8 << 20;
    json.keep = 1;
    number[0] = 2;
    number[1] = sonde_sink_add(&json);
    for (i = 0; i < threads && i < 64; i++)
        pthread_create(&t[i], NULL, work, (void *)(size_t)i);
    for (i = 1; i <= seconds; i++) {
        sleep(1);
        tell(i);
        free(sonde_registry_text(registry, SONDE_EXPOSITION_OPENMETRICS, NULL));
    }
    atomic_store(&stop, true);
    for (i = 0; i < threads && i < 64; i++)
        pthread_join(t[i], NULL);
    sonde_flush(5000);
    sonde_counts_get(&c);
    for (i = 0; i < 2; i++)
        if (sonde_sink_counts_get(number[i], &sink))
            printf("sink %d %llu %llu %llu\n", number[i], atomic_load(&records), (unsigned long long)sink.written,
                   (unsigned long long)(sink.lost + c.records_lost + c.held_lost));
    fflush(stdout);
    sonde_shutdown(2000);
    return 0;
}
