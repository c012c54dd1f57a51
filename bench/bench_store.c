// The store's figures: appends with sync of Loki-protobuf-like requests of 2,000 lines, parts, scans, reopening.
//   bench_store [--json] [--seconds N] [DIR]     last line with --json: one JSON object
#include "base/clock.h"
#include "base/limits.h"
#include "base/pb.h"
#include "store/store_int.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINES = 2000, STREAMS = 8, IN_FLIGHT = 8 };

static atomic_int in_flight;

static void committed(void *arg, enum errc rc)
{
    (void)arg;
    if (rc != ERR_OK) {
        fprintf(stderr, "commit: %s\n", errc_text(rc));
        exit(1);
    }
    atomic_fetch_sub(&in_flight, 1);
}

// PushRequest { streams = 1 { labels = 1, entries = 2 { timestamp = 1 { seconds = 1, nanos = 2 }, line = 2 } } }
static void make_push(struct buf *out, int64_t t0, unsigned request)
{
    for (int s = 0; s < STREAMS; s++) {
        char labels[120];
        snprintf(labels, sizeof labels, "{service_name=\"worker\", component=\"decode\", instance=\"%d\"}", s);
        size_t stream = pb_w_begin(out, 1);
        pb_w_bytes(out, 1, slice_str(labels));
        for (int i = 0; i < LINES / STREAMS; i++) {
            unsigned n = (request * LINES + (unsigned)(s * LINES / STREAMS + i)), x = n * 2654435761u;
            int64_t t = t0 + n * 100000ll;
            char line[300];
            int len = snprintf(line, sizeof line,
                               "level=info msg=\"token batch done\" request_id=%08x%08x slot=%u tokens=%u kv_blocks=%u "
                               "itl_ms=%u.%03u queue=%u preempted=false",
                               x, x * 40503u, x % 64, x % 17, x % 4096, x % 90, x % 1000, x % 7);
            size_t entry = pb_w_begin(out, 2), ts = pb_w_begin(out, 1);
            pb_w_u64(out, 1, (uint64_t)(t / 1000000000));
            pb_w_u64(out, 2, (uint64_t)(t % 1000000000));
            pb_w_end(out, ts);
            pb_w_bytes(out, 2, slice_of(line, (size_t)len));
            pb_w_end(out, entry);
        }
        pb_w_end(out, stream);
    }
}

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->msg);
    exit(1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static double seconds_since(int64_t t)
{
    return (double)(clock_mono_ns() - t) / 1e9;
}

struct figures {
    double append_mb_s, append_rows_s, decode_rows_s, commit_us, bytes_per_row, flush_rows_s, scan_mb_s, scan_rows_s;
    double replay_rows_s, reopen_ms, empty_open_ms, raw_bytes_per_row;
    uint64_t rows;
};

static void append(struct store *s, const struct buf *push, struct figures *f, uint64_t *raw, int64_t *decode_ns)
{
    struct wire_options opt = {.received_ns = 1, .discover_service = true};
    struct wire_report report = {0};
    struct error err = {0};
    struct batch *b;
    while (atomic_load(&in_flight) >= IN_FLIGHT)
        usleep(20);
    atomic_fetch_add(&in_flight, 1);
    int64_t began = clock_mono_ns();
    if (wire_decode(WIRE_LOKI_PB, buf_slice(push), true, &opt, &b, &report, &err) != ERR_OK)
        die("decode", &err);
    *decode_ns += clock_mono_ns() - began;
    f->rows += b->rows;
    *raw += push->n;
    if (store_append(s, SLICE_NONE, WIRE_LOKI_PB, buf_slice(push), 1, b, committed, NULL, &err) != ERR_OK)
        die("append", &err);
}

static struct store *open_dir(const char *dir, double *ms)
{
    struct store_options o;
    struct store *s;
    struct error err = {0};
    store_options_default(&o);
    o.dir = dir;
    int64_t began = clock_mono_ns();
    if (store_open(&s, &o, &err) != ERR_OK)
        die("open", &err);
    *ms = seconds_since(began) * 1e3;
    return s;
}

static void measure_append(struct store *s, double seconds, struct figures *f)
{
    enum { PUSHES = 64 };
    struct buf *push = calloc(PUSHES, sizeof *push);
    int64_t t0 = clock_wall_ns(), decode_ns = 0;
    uint64_t raw = 0;
    double took = 0;
    unsigned request = 0;
    while (took < seconds) {
        for (unsigned i = 0; i < PUSHES; i++) { // made outside the measured time
            buf_init(&push[i], MAX_HTTP_BODY);
            make_push(&push[i], t0, request++);
        }
        int64_t began = clock_mono_ns();
        for (unsigned i = 0; i < PUSHES; i++)
            append(s, &push[i], f, &raw, &decode_ns);
        while (atomic_load(&in_flight))
            usleep(20);
        took += seconds_since(began);
        for (unsigned i = 0; i < PUSHES; i++)
            buf_free(&push[i]);
    }
    struct store_stats st;
    store_stats(s, &st);
    f->append_mb_s = (double)raw / took / 1e6;
    f->append_rows_s = (double)f->rows / took;
    f->decode_rows_s = (double)f->rows / ((double)decode_ns / 1e9);
    f->commit_us = (double)st.commit_ns_total / (double)st.commits / 1e3;
    f->raw_bytes_per_row = (double)raw / (double)f->rows;
    free(push);
}

static void measure_scan(struct store *s, struct figures *f)
{
    struct budget b = {0};
    struct scan_request q = {
        .signal = SIGNAL_LOG, .from = INT64_MIN, .to = INT64_MAX, .fields = 1ull << FIELD_BODY, .budget = &b};
    struct scan *scan;
    struct scan_batch sb;
    struct error err = {0};
    uint64_t rows = 0;
    int64_t began = clock_mono_ns();
    if (store_scan(s, &q, &scan, &err) != ERR_OK)
        die("scan", &err);
    while (scan_next(scan, &sb, &err) == ERR_OK && sb.batch)
        rows += sb.n_rows;
    scan_close(scan);
    double took = seconds_since(began);
    if (rows != f->rows) {
        fprintf(stderr, "%llu rows scanned of %llu: %s\n", (unsigned long long)rows, (unsigned long long)f->rows, err.msg);
        exit(1);
    }
    f->scan_mb_s = (double)b.bytes / took / 1e6;
    f->scan_rows_s = (double)rows / took;
}

static void print(const struct figures *f, bool json)
{
    const struct {
        const char *key, *text;
        double v;
    } row[] = {{"append_rows_per_s", "rows/s appended, decoded and synced, one sender", f->append_rows_s},
               {"append_mb_per_s", "MB/s of requests", f->append_mb_s},
               {"decode_rows_per_s", "rows/s decoded (part of the above)", f->decode_rows_s},
               {"commit_us", "us for a commit: write and sync", f->commit_us},
               {"request_bytes_per_row", "bytes a row in requests", f->raw_bytes_per_row},
               {"part_bytes_per_row", "bytes a row in parts", f->bytes_per_row},
               {"flush_rows_per_s", "rows/s from head to part", f->flush_rows_s},
               {"scan_rows_per_s", "rows/s scanned from parts, body only", f->scan_rows_s},
               {"scan_mb_per_s", "MB/s of columns scanned", f->scan_mb_s},
               {"replay_rows_per_s", "rows/s replayed from the log", f->replay_rows_s},
               {"reopen_ms", "ms to reopen, all in parts", f->reopen_ms},
               {"empty_open_ms", "ms to open an empty directory", f->empty_open_ms}};
    size_t n = sizeof row / sizeof *row;
    for (size_t i = 0; i < n; i++)
        printf("%14.1f  %s\n", row[i].v, row[i].text);
    if (!json)
        return;
    printf("{\"rows\":%llu", (unsigned long long)f->rows);
    for (size_t i = 0; i < n; i++)
        printf(",\"%s\":%.2f", row[i].key, row[i].v);
    printf("}\n");
}

// Replays a directory as SIGKILL leaves it: the open store's, copied.
static void measure_replay(const char *dir, struct figures *f)
{
    char copy[1100], cmd[4000];
    snprintf(copy, sizeof copy, "%s-killed", dir);
    snprintf(cmd, sizeof cmd, "mkdir -p '%s/wal' && cp '%s'/wal/* '%s/wal/'", copy, dir, copy);
    if (system(cmd) != 0)
        exit(1);
    double ms;
    struct store_stats st;
    struct store *s = open_dir(copy, &ms); // no parts there: all that the log has
    store_stats(s, &st);
    f->replay_rows_s = (double)(st.rows_head + st.rows_parts) / (ms / 1e3);
    store_close(s);
    nftw(copy, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    bool json = false;
    double seconds = 3;
    char dir[1000] = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = atof(argv[++i]);
        else
            snprintf(dir, sizeof dir, "%s", argv[i]);
    }
    if (!*dir) {
        const char *base = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/bench-store-XXXXXX", base ? base : "/tmp");
        if (!mkdtemp(dir)) {
            perror(dir);
            return 1;
        }
    }
    struct figures f = {0};
    struct error err = {0};
    struct store_stats st;
    struct store *s = open_dir(dir, &f.empty_open_ms);
    measure_append(s, seconds, &f);
    measure_replay(dir, &f);
    store_stats(s, &st);
    uint64_t in_head = st.rows_head;
    int64_t began = clock_mono_ns();
    if (store_flush(s, &err) != ERR_OK)
        die("flush", &err);
    f.flush_rows_s = (double)in_head / seconds_since(began);
    store_stats(s, &st);
    f.bytes_per_row = (double)st.bytes_disk / (double)st.rows_parts;
    measure_scan(s, &f);
    store_close(s);
    s = open_dir(dir, &f.reopen_ms);
    store_close(s);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    print(&f, json);
    return 0;
}
