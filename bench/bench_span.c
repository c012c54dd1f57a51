// What a span costs: started and ended, with ten attributes, not sampled; and behind the ring: put together, encoded as OTLP.
// bench_span [--json]: with --json the last line is one JSON object.
#include "bench.h"
#include "sdk/encode.h"
#include <fcntl.h>
#include <sonde/trace.h>

enum { SPANS = 5000, ROUNDS = 40, ENCODED = 8 };

static void bare(int i)
{
    (void)i;
    sonde_span_end(sonde_span_start("bench", SONDE_KIND_INTERNAL, NULL));
}

static void ten(int i)
{
    struct sonde_span *s = sonde_span_start("bench", SONDE_KIND_INTERNAL, NULL);
    SONDE_SPAN_SET(s, SONDE_STR("worker", "decode-worker-1"), SONDE_INT("tokens", i), SONDE_INT("blocks", 17),
                   SONDE_F64("ms", 1.25), SONDE_BOOL("hit", true), SONDE_STR("model", "llama-3.1-8b"),
                   SONDE_STR("phase", "prefill"), SONDE_UINT("queue", 3), SONDE_INT("prompt", 512), SONDE_F64("ratio", 0.75));
    sonde_span_end(s);
}

// The best of many rounds: of a part of the ring at a time, so that nothing is lost.
static double mean_ns(void (*span)(int))
{
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t start = clock_mono_ns();
        for (int i = 0; i < SPANS; i++)
            span(i);
        double ns = (double)(clock_mono_ns() - start) / SPANS;
        best = ns < best ? ns : best;
        sonde_flush(1000);
    }
    return best;
}

static struct buf encoded;
static uint64_t ticks, n_encoded;

static void encode(void *arg, const struct bspan *s, int64_t end)
{
    (void)arg;
    uint64_t t = clock_tick();
    buf_reset(&encoded);
    for (int i = 0; i < ENCODED; i++)
        encode_span(&encoded, s, end);
    ticks += clock_tick() - t;
    n_encoded += ENCODED;
}

static void behind(void (*span)(int), double *encode_ns, double *behind_ns)
{
    *encode_ns = *behind_ns = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        sonde_flush(1000);
        pthread_mutex_lock(&sdk.drain);
        sdk.pipe.on_span = r % 2 ? encode : NULL;
        for (int i = 0; i < SPANS; i++)
            span(i);
        ticks = n_encoded = 0;
        int64_t start = clock_mono_ns();
        pthread_mutex_unlock(&sdk.drain);
        sonde_flush(1000);
        double all = (double)(clock_mono_ns() - start) / SPANS;
        if (n_encoded) {
            double ns = (double)ticks * tick_ns / (double)n_encoded;
            *encode_ns = ns < *encode_ns ? ns : *encode_ns;
        } else {
            *behind_ns = all < *behind_ns ? all : *behind_ns;
        }
    }
    pthread_mutex_lock(&sdk.drain);
    sdk.pipe.on_span = NULL;
    pthread_mutex_unlock(&sdk.drain);
}

// In a process of its own, as the sampler is set at its start.
static double unsampled(const char *self)
{
    char command[1000];
    double ns = 0;
    snprintf(command, sizeof command, "OTEL_TRACES_SAMPLER=always_off '%s' --unsampled", self);
    FILE *f = popen(command, "re");
    if (!f || fscanf(f, "%lf", &ns) != 1)
        ns = 0;
    if (f)
        pclose(f);
    return ns;
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0, off = argc > 1 && strcmp(argv[1], "--unsampled") == 0;
    setenv("DYN_LOG", "info", 1);
    unsetenv("OTEL_EXPORT_ENABLED");
    dup2(open("/dev/null", O_WRONLY), 2);
    sonde_init(&(struct sonde_options){.service = "bench-span"});
    calibrate();
    if (off) {
        printf("%.2f\n", mean_ns(bare));
        return 0;
    }
    double encode_ns, behind_ns, encode_bare, behind_bare, none = mean_ns(bare), with_ten = mean_ns(ten),
                                                           dropped = unsampled(argv[0]);
    buf_init(&encoded, 1 << 20);
    behind(bare, &encode_bare, &behind_bare);
    behind(ten, &encode_ns, &behind_ns);
    buf_free(&encoded);
    printf("span, start and end: %.1f ns; with ten attributes %.1f ns; not sampled %.1f ns\n", none, with_ten, dropped);
    printf("backend: %.1f ns to put a span together, %.1f ns to encode it; with ten attributes %.1f and %.1f ns\n", behind_bare,
           encode_bare, behind_ns, encode_ns);
    note("span_ns", "%.1f", none);
    note("span_ten_ns", "%.1f", with_ten);
    note("span_unsampled_ns", "%.2f", dropped);
    note("span_behind_ns", "%.1f", behind_bare);
    note("span_ten_behind_ns", "%.1f", behind_ns);
    note("span_encode_ns", "%.1f", encode_bare);
    note("span_ten_encode_ns", "%.1f", encode_ns);
    if (json)
        printf("{\"span\":{%s}}\n", found);
    return 0;
}
