// A process that makes spans at a steady rate and does nothing else, and what CPU time that costs it, its export included.
//   PROGRAM none|plain|attributes RATE SECONDS
// A hundred wake-ups a second, as an event loop might have; none: the same without spans, which is what the loop itself costs.
// Export as the environment says (OTEL_EXPORTER_OTLP_ENDPOINT …). Prints {"made", "sent", "dropped", "seconds", "cpu_seconds"}.
#define _GNU_SOURCE
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { WAKES = 100 };

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void one(int64_t i, bool attributes)
{
    struct sonde_span *s = sonde_span_start("handle_payload", SONDE_KIND_SERVER, NULL);
    if (attributes)
        SONDE_SPAN_SET(s, SONDE_STR("component", "backend"), SONDE_STR("endpoint", "generate"),
                       SONDE_STR("worker_id", "7389121209872234"), SONDE_STR("model", "llama-3-8b"), SONDE_INT("input_tokens", i),
                       SONDE_INT("output_tokens", 128), SONDE_INT("attempt", 0), SONDE_F64("ttft_ms", 12.5),
                       SONDE_F64("share", 0.25), SONDE_BOOL("stream", true));
    sonde_span_end(s);
}

int main(int argc, char **argv)
{
    int rate = argc == 4 ? atoi(argv[2]) : 0, seconds = argc == 4 ? atoi(argv[3]) : 0;
    bool none = argc == 4 && strcmp(argv[1], "none") == 0, attributes = argc == 4 && strcmp(argv[1], "attributes") == 0;
    if (rate < WAKES || seconds < 1 || (!none && !attributes && strcmp(argv[1], "plain") != 0)) {
        fprintf(stderr, "usage: %s none|plain|attributes RATE SECONDS\n", argv[0]);
        return 2;
    }
    sonde_init(&(struct sonde_options){.service = "span-rate"});
    long made = 0;
    if (!none) {
        one(0, attributes); // starts the library's threads, connects
        sonde_flush(2000);
        made = 1;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double cpu = cpu_seconds();
    for (int wake = 0; wake < seconds * WAKES; wake++) {
        for (int i = 0; i < rate / WAKES && !none; i++, made++)
            one(made, attributes);
        t.tv_nsec += 1000000000 / WAKES;
        if (t.tv_nsec >= 1000000000) {
            t.tv_nsec -= 1000000000;
            t.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
    if (!none)
        sonde_flush(5000);
    cpu = cpu_seconds() - cpu;
    struct sonde_counts c;
    sonde_counts_get(&c);
    printf("{\"made\":%ld,\"sent\":%llu,\"dropped\":%llu,\"seconds\":%d,\"cpu_seconds\":%.6f}\n", made,
           (unsigned long long)c.export_spans_sent, (unsigned long long)(c.export_spans_dropped + c.records_lost), seconds, cpu);
    return 0;
}
