// What bench_server.py needs and Python is too slow for: bodies to send, and the machine's floors.
//   bench_load loki SEED COUNT      COUNT pushes of 2,000 lines (JSON of about 380 bytes, 10 services), snappy protobuf
//   bench_load spans SEED COUNT     COUNT OTLP trace requests of 1,000 spans (10 attributes), protobuf
//   bench_load floors DIR           one JSON object: clock read, memcpy, write + fdatasync of 4 KiB in DIR
// Bodies go to standard output, each behind its length and the bytes that count (of the lines; of the request), u32 little-endian
// each. Different seeds give different events.
#include "base/clock.h"
#include "base/limits.h"
#include "base/pb.h"

#include <fcntl.h>
#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 2000, SPANS = 1000, SERVICES = 10, ATTRS = 10 };
#define BODY_MAX MIB(16)

static uint64_t state;

static uint64_t next_random(void) // splitmix64
{
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void emit(struct slice body, size_t raw)
{
    uint32_t n[2] = {(uint32_t)body.n, (uint32_t)raw};
    if (fwrite(n, sizeof n, 1, stdout) != 1 || fwrite(body.p, 1, body.n, stdout) != body.n)
        exit(1);
}

// ---- Loki -----------------------------------------------------------------------------------------------------------

static int make_line(char *line, size_t size, int64_t t)
{
    static const char *const levels[] = {"DEBUG", "DEBUG", "DEBUG", "DEBUG", "INFO", "DEBUG", "DEBUG", "DEBUG", "DEBUG", "WARN"};
    static const char *const messages[] = {"scheduled for decode", "KV cache received", "token batch done", "block evicted",
                                           "request completed"};
    uint64_t a = next_random(), b = next_random(), c = next_random();
    return snprintf(line, size,
                    "{\"time\":\"2026-11-22T18:%02d:%02d.%06dZ\",\"level\":\"%s\",\"target\":\"engine::scheduler\",\"file\":"
                    "\"engine/scheduler.c\","
                    "\"line\":%d,\"message\":\"%s\",\"trace_id\":\"%016llx%016llx\",\"span_id\":\"%016llx\",\"x_request_id\":\"%"
                    "08x-%04x-4%03x-8%03x-%012llx\","
                    "\"slot\":%d,\"tokens\":%d,\"kv_blocks_used\":%d,\"elapsed_ms\":%d.%06d,\"preempted\":false}",
                    (int)(t / 60000000000 % 60), (int)(t / 1000000000 % 60), (int)(t / 1000 % 1000000), levels[a % 10],
                    (int)(a >> 8) & 511, messages[(a >> 20) % 5], (unsigned long long)a, (unsigned long long)b,
                    (unsigned long long)c, (unsigned)b, (unsigned)(b >> 32) & 0xffff, (unsigned)(b >> 48) & 0xfff,
                    (unsigned)(c >> 48) & 0xfff, (unsigned long long)(c & 0xffffffffffff), (int)(a >> 30) & 63,
                    (int)(a >> 36) & 127, (int)(b >> 10) & 4095, (int)(b >> 22) & 255, (int)(c >> 16) % 1000000 & 0xfffff);
}

static size_t make_push(struct buf *out, int64_t t0)
{
    size_t bytes = 0;
    for (int s = 0; s < SERVICES; s++) {
        char text[600];
        int n = snprintf(text, sizeof text, "{service_name=\"service-%d\", component=\"engine\", instance=\"i-%d\"}", s, s);
        size_t stream = pb_w_begin(out, 1);
        pb_w_bytes(out, 1, slice_of(text, (size_t)n));
        for (int i = 0; i < LINES / SERVICES; i++) {
            int64_t t = t0 + (int64_t)(i * SERVICES + s) * 600000;
            n = make_line(text, sizeof text, t);
            bytes += (size_t)n;
            size_t entry = pb_w_begin(out, 2), ts = pb_w_begin(out, 1);
            pb_w_u64(out, 1, (uint64_t)(t / 1000000000));
            pb_w_u64(out, 2, (uint64_t)(t % 1000000000));
            pb_w_end(out, ts);
            pb_w_bytes(out, 2, slice_of(text, (size_t)n));
            pb_w_end(out, entry);
        }
        pb_w_end(out, stream);
    }
    return bytes;
}

static void emit_push(int64_t t0)
{
    struct buf raw;
    buf_init(&raw, BODY_MAX);
    size_t bytes = make_push(&raw, t0);
    size_t n = snappy_max_compressed_length(raw.n);
    char *packed = malloc(n);
    if (!packed || snappy_compress(raw.p, raw.n, packed, &n) != SNAPPY_OK)
        exit(1);
    emit(slice_of(packed, n), bytes);
    free(packed);
    buf_free(&raw);
}

// ---- OTLP spans -----------------------------------------------------------------------------------------------------

static void text_attr(struct buf *out, uint32_t field, const char *key, const char *value)
{
    size_t kv = pb_w_begin(out, field);
    pb_w_bytes(out, 1, slice_str(key));
    size_t any = pb_w_begin(out, 2);
    pb_w_bytes(out, 1, slice_str(value));
    pb_w_end(out, any);
    pb_w_end(out, kv);
}

static void make_span(struct buf *out, int64_t t0, int i)
{
    static const char *const names[] = {"http-request",         "router.route_request", "handle_payload", "queue",  "prefill",
                                        "router.route_request", "handle_payload",       "kv_transfer",    "decode", "detokenize"};
    static uint64_t trace[2];
    char text[80];
    if (i % 10 == 0) {
        trace[0] = next_random();
        trace[1] = next_random();
    }
    uint64_t id = next_random();
    int64_t from = t0 + (int64_t)i * 600000;
    size_t span = pb_w_begin(out, 2);
    pb_w_bytes(out, 1, slice_of(trace, 16));
    pb_w_bytes(out, 2, slice_of(&id, 8));
    if (i % 10)
        pb_w_bytes(out, 4, slice_of(&trace[1], 8));
    pb_w_bytes(out, 5, slice_str(names[i % 10]));
    pb_w_u64(out, 6, 1 + (uint64_t)i % 3);
    pb_w_fixed64(out, 7, (uint64_t)from);
    pb_w_fixed64(out, 8, (uint64_t)from + id % 100000000);
    snprintf(text, sizeof text, "%08x-%04x-4000-8000-%012llx", (unsigned)trace[0], (unsigned)(trace[0] >> 32) & 0xffff,
             (unsigned long long)(trace[1] >> 16));
    text_attr(out, 9, "x_request_id", text);
    text_attr(out, 9, "request.outcome", "success");
    text_attr(out, 9, "component", i & 1 ? "prefill" : "backend");
    text_attr(out, 9, "endpoint", "generate");
    text_attr(out, 9, "namespace", "dynamo");
    text_attr(out, 9, "router_mode", "round-robin");
    for (int k = 6; k < ATTRS; k++) {
        static const char *const keys[] = {"busy_ns", "idle_ns", "thread.id", "input_tokens"};
        snprintf(text, sizeof text, "%u", (unsigned)(id >> (8 * (k - 6))) & 0xfffff);
        text_attr(out, 9, keys[k - 6], text);
    }
    pb_w_end(out, span);
}

static void emit_spans(int64_t t0)
{
    struct buf b;
    buf_init(&b, BODY_MAX);
    for (int s = 0; s < SERVICES; s++) {
        char name[32];
        size_t resource_spans = pb_w_begin(&b, 1), resource = pb_w_begin(&b, 1);
        snprintf(name, sizeof name, "service-%d", s);
        text_attr(&b, 1, "service.name", name);
        text_attr(&b, 1, "service.instance.id", name);
        pb_w_end(&b, resource);
        size_t scope_spans = pb_w_begin(&b, 2), scope = pb_w_begin(&b, 1);
        pb_w_bytes(&b, 1, SLICE("bench"));
        pb_w_end(&b, scope);
        for (int i = 0; i < SPANS / SERVICES; i++)
            make_span(&b, t0 + s * 60000, i);
        pb_w_end(&b, scope_spans);
        pb_w_end(&b, resource_spans);
    }
    emit(buf_slice(&b), b.n);
    buf_free(&b);
}

// ---- floors ---------------------------------------------------------------------------------------------------------

static int by_value(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static double clock_read_ns(void)
{
    enum { N = 2000000 };
    struct timespec ts;
    int64_t began = clock_mono_ns();
    for (int i = 0; i < N; i++)
        clock_gettime(CLOCK_REALTIME, &ts);
    return (double)(clock_mono_ns() - began) / N;
}

static double memcpy_gb_s(void)
{
    enum { ROUNDS = 16 };
    size_t n = MIB(64); // beyond the caches
    char *from = malloc(n), *to = malloc(n);
    if (!from || !to)
        exit(1);
    memset(from, 1, n);
    memset(to, 2, n);
    int64_t began = clock_mono_ns();
    for (int i = 0; i < ROUNDS; i++) {
        from[i] = (char)i;
        memcpy(to, from, n);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    double s = (double)(clock_mono_ns() - began) / 1e9;
    free(from);
    free(to);
    return (double)n * ROUNDS / s / 1e9;
}

static double sync_us(const char *dir, double *max)
{
    enum { N = 300 };
    static int64_t took[N];
    char path[4096], block[4096];
    snprintf(path, sizeof path, "%s/floor", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    memset(block, 'x', sizeof block);
    for (int i = 0; i < N; i++) {
        int64_t began = clock_mono_ns();
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0) {
            perror(path);
            exit(1);
        }
        took[i] = clock_mono_ns() - began;
    }
    close(fd);
    unlink(path);
    qsort(took, N, sizeof *took, by_value);
    *max = (double)took[N - 1] / 1e3;
    return (double)took[N / 2] / 1e3;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "floors") == 0) {
        double max, p50 = sync_us(argv[2], &max);
        printf("{\"clock_read_ns\":%.1f,\"memcpy_gb_per_s\":%.2f,\"fdatasync_4k_us_p50\":%.0f,\"fdatasync_4k_us_max\":%.0f}\n",
               clock_read_ns(), memcpy_gb_s(), p50, max);
        return 0;
    }
    bool loki = argc == 4 && strcmp(argv[1], "loki") == 0;
    if (!loki && !(argc == 4 && strcmp(argv[1], "spans") == 0)) {
        fprintf(stderr, "usage: bench_load loki|spans SEED COUNT | floors DIR\n");
        return 2;
    }
    int seed = atoi(argv[2]), count = atoi(argv[3]);
    int64_t t0 = clock_wall_ns() - 3600000000000 + (int64_t)seed * 1000;
    state = (uint64_t)seed * 0x2545f4914f6cdd1d + loki;
    for (int i = 0; i < count; i++, t0 += 1200000000)
        loki ? emit_push(t0) : emit_spans(t0);
    return fflush(stdout) == 0 ? 0 : 1;
}
