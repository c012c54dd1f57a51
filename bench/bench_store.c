// The store's figures: appends with sync of Loki-protobuf-like requests of 2,000 lines, parts, scans, reopening.
//   bench_store [--json] [--seconds N] [DIR]     last line with --json: one JSON object
#include "bench_store.h"

enum { LINES = 2000, STREAMS = 8 };

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

static double seconds_since(int64_t t)
{
    return (double)(clock_mono_ns() - t) / 1e9;
}

struct figures {
    double append_mb_s, append_rows_s, decode_rows_s, commit_us, bytes_per_row, flush_rows_s, scan_mb_s, scan_rows_s;
    double replay_rows_s, reopen_ms, empty_open_ms, raw_bytes_per_row, commit_max_ms, trace_head_us, trace_parts_us;
    double newest_us, newest_blocks;
    uint64_t rows;
};

static void append(struct store *s, const struct buf *push, struct figures *f, uint64_t *raw, int64_t *decode_ns)
{
    struct wire_options opt = {.received_ns = 1, .discover_service = true};
    struct wire_report report = {0};
    struct error err = {0};
    struct batch *b;
    wait_below(IN_FLIGHT);
    int64_t began = clock_mono_ns();
    if (wire_decode(WIRE_LOKI_PB, buf_slice(push), true, &opt, &b, &report, &err) != ERR_OK)
        die("decode", &err);
    *decode_ns += clock_mono_ns() - began;
    f->rows += b->rows;
    *raw += push->n;
    append_batch(s, WIRE_LOKI_PB, push, 1, b);
}

static struct store *open_timed(const char *dir, double *ms)
{
    int64_t began = clock_mono_ns();
    struct store *s = open_dir(dir, 0);
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
        wait_below(1);
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
    f->commit_max_ms = (double)st.commit_ns_max / 1e6;
    f->raw_bytes_per_row = (double)raw / (double)f->rows;
    free(push);
}

static void measure_scan(struct store *s, struct figures *f)
{
    struct budget b = {0};
    struct scan_request q = {
        .signal = SIGNAL_LOG, .from = INT64_MIN, .to = INT64_MAX, .fields = 1ull << FIELD_BODY, .budget = &b};
    int64_t began = clock_mono_ns();
    uint64_t rows = scan_rows(s, &q);
    double took = seconds_since(began);
    if (rows != f->rows) {
        fprintf(stderr, "%llu rows scanned of %llu\n", (unsigned long long)rows, (unsigned long long)f->rows);
        exit(1);
    }
    f->scan_mb_s = (double)b.bytes / took / 1e6;
    f->scan_rows_s = (double)rows / took;
}

// The newest 1,000 rows: blocks are read until the bound tells that no newer row comes.
static void measure_newest(struct store *s, struct figures *f)
{
    enum { TIMES = 20, LIMIT = 1000 };
    struct budget b = {0};
    struct error err = {0};
    int64_t began = clock_mono_ns();
    for (int i = 0; i < TIMES; i++) {
        struct scan_request q = {.signal = SIGNAL_LOG,
                                 .from = INT64_MIN,
                                 .to = INT64_MAX,
                                 .newest_first = true,
                                 .fields = 1ull << FIELD_BODY,
                                 .budget = &b};
        struct scan *scan;
        struct scan_batch sb = {.bound = INT64_MAX};
        int64_t newest[LIMIT]; // ascending
        uint32_t n = 0;
        if (store_scan(s, &q, &scan, &err) != ERR_OK)
            die("scan", &err);
        while ((n < LIMIT || sb.bound > newest[0]) && scan_next(scan, &sb, &err) == ERR_OK && sb.batch)
            for (uint32_t k = sb.n_rows; k-- > 0;) {
                int64_t t = sb.batch->time[sb.rows[k]];
                if (n == LIMIT && t <= newest[0])
                    continue;
                uint32_t at = n < LIMIT ? n++ : 0;
                if (at == 0 && n == LIMIT) { // out goes the oldest
                    for (; at + 1 < n && newest[at + 1] < t; at++)
                        newest[at] = newest[at + 1];
                } else {
                    for (; at > 0 && newest[at - 1] > t; at--)
                        newest[at] = newest[at - 1];
                }
                newest[at] = t;
            }
        scan_close(scan);
    }
    f->newest_us = seconds_since(began) * 1e6 / TIMES;
    f->newest_blocks = (double)b.blocks / TIMES;
}

// ---- traces ---------------------------------------------------------------------------------------------------------
enum { SPANS = 500000, SPANS_PER_TRACE = 10, SPANS_PER_REQUEST = 2000 };

static struct id128 trace_number(uint32_t n)
{
    return (struct id128){n * 0x9e3779b97f4a7c15ull + 1, n};
}

// Spans of a trace lie in one request, as a tracing library sends them, between those of others.
static void append_spans(struct store *s, uint32_t first)
{
    struct batch *b = batch_new(SIGNAL_SPAN, MAX_BATCH_MEMORY), *again;
    struct label l[] = {{SLICE("service_name"), SLICE("worker")}};
    struct attr a[] = {{SLICE("service.name"), {.kind = COL_STR, .s = SLICE("worker")}}};
    uint32_t resource = batch_resource(b, l, 1, a, 1), traces = SPANS_PER_REQUEST / SPANS_PER_TRACE;
    for (uint32_t i = 0; i < SPANS_PER_REQUEST; i++) {
        batch_row(b, 1700000000000000000ll + (int64_t)(first + i) * 10000, resource);
        batch_field_id128(b, FIELD_TRACE_ID, trace_number(first / SPANS_PER_TRACE + i % traces));
        batch_field_id64(b, FIELD_SPAN_ID, first + i + 1);
        batch_field_str(b, FIELD_NAME, SLICE("decode"));
        batch_field_i64(b, FIELD_DURATION, 5000000);
        batch_set(b, COL_ATTR, SLICE("tokens"), (struct value){.kind = COL_I64, .i64 = i});
    }
    struct buf raw;
    struct error err = {0};
    struct wire_report report;
    struct wire_options opt = {.received_ns = 1};
    buf_init(&raw, MAX_HTTP_BODY);
    if (!batch_seal(b) || otlp_encode(b, NULL, 0, &raw) != ERR_OK ||
        wire_decode(WIRE_OTLP_TRACES_PB, buf_slice(&raw), true, &opt, &again, &report, &err) != ERR_OK)
        die("spans", &err);
    wait_below(IN_FLIGHT);
    append_batch(s, WIRE_OTLP_TRACES_PB, &raw, 1, again);
    buf_free(&raw);
    batch_unref(b);
}

static double load_traces(struct store *s)
{
    enum { TIMES = 100 };
    int64_t began = clock_mono_ns();
    for (uint32_t i = 0; i < TIMES; i++) {
        struct scan_request q = {.signal = SIGNAL_SPAN,
                                 .from = INT64_MIN,
                                 .to = INT64_MAX,
                                 .overlap = true,
                                 .all_attrs = true,
                                 .fields = UINT64_MAX,
                                 .trace_id = trace_number(i * (SPANS / SPANS_PER_TRACE / TIMES) + i % 10)};
        uint64_t rows = scan_rows(s, &q);
        if (rows != SPANS_PER_TRACE) {
            fprintf(stderr, "trace %u has %llu spans of %d\n", i, (unsigned long long)rows, SPANS_PER_TRACE);
            exit(1);
        }
    }
    return seconds_since(began) * 1e6 / TIMES;
}

static void measure_traces(const char *dir, struct figures *f)
{
    char path[1100];
    struct error err = {0};
    snprintf(path, sizeof path, "%s-traces", dir);
    struct store *s = open_dir(path, MIB(2048)); // all stays in the head
    for (uint32_t i = 0; i < SPANS; i += SPANS_PER_REQUEST)
        append_spans(s, i);
    wait_below(1);
    f->trace_head_us = load_traces(s);
    if (store_flush(s, &err) != ERR_OK)
        die("flush", &err);
    f->trace_parts_us = load_traces(s);
    store_close(s);
    remove_dir(path);
}

static void print(const struct figures *f, bool json)
{
    const struct figure row[] = {{"append_rows_per_s", "rows/s appended, decoded and synced, one sender", f->append_rows_s},
                                 {"append_mb_per_s", "MB/s of requests", f->append_mb_s},
                                 {"decode_rows_per_s", "rows/s decoded (part of the above)", f->decode_rows_s},
                                 {"commit_us", "us for a commit: write and sync", f->commit_us},
                                 {"commit_max_ms", "ms for the slowest commit", f->commit_max_ms},
                                 {"request_bytes_per_row", "bytes a row in requests", f->raw_bytes_per_row},
                                 {"part_bytes_per_row", "bytes a row in parts", f->bytes_per_row},
                                 {"flush_rows_per_s", "rows/s from head to part", f->flush_rows_s},
                                 {"scan_rows_per_s", "rows/s scanned from parts, body only", f->scan_rows_s},
                                 {"scan_mb_per_s", "MB/s of columns scanned", f->scan_mb_s},
                                 {"newest_us", "us for the newest 1,000 rows", f->newest_us},
                                 {"newest_blocks", "blocks read for them", f->newest_blocks},
                                 {"trace_head_us", "us for a trace by its id, 500,000 spans in memory", f->trace_head_us},
                                 {"trace_parts_us", "us for a trace by its id, 500,000 spans in parts", f->trace_parts_us},
                                 {"replay_rows_per_s", "rows/s replayed from the log", f->replay_rows_s},
                                 {"reopen_ms", "ms to reopen, all in parts", f->reopen_ms},
                                 {"empty_open_ms", "ms to open an empty directory", f->empty_open_ms}};
    print_figures(row, sizeof row / sizeof *row, "rows", f->rows, json);
}

// Replays the log of a closed store, as if no part had any of it.
static void measure_replay(const char *dir, struct figures *f)
{
    char copy[1100], cmd[4000];
    snprintf(copy, sizeof copy, "%s-killed", dir);
    snprintf(cmd, sizeof cmd,
             "mkdir -p '%s/wal' && cp '%s'/wal/* '%s/wal/' && cd '%s/wal' && for f in *-*.wal; do if [ -e $f ]; then mv $f "
             "${f%%-*}.wal; fi; done",
             copy, dir, copy, copy); // as if no part covered them
    if (system(cmd) != 0)
        exit(1);
    double ms;
    struct store_stats st;
    struct store *s = open_timed(copy, &ms); // no parts there: all that the log has
    store_stats(s, &st);
    f->replay_rows_s = (double)(st.rows_head + st.rows_parts) / (ms / 1e3);
    store_close(s);
    remove_dir(copy);
}

int main(int argc, char **argv)
{
    bool json = false;
    double seconds = 3;
    char dir[DIR_SIZE] = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = atof(argv[++i]);
        else
            snprintf(dir, sizeof dir, "%s", argv[i]);
    }
    make_dir(dir, "bench-store");
    struct figures f = {0};
    struct error err = {0};
    struct store_stats st;
    struct store *s = open_timed(dir, &f.empty_open_ms);
    measure_append(s, seconds, &f);
    store_stats(s, &st);
    uint64_t in_head = st.rows_head;
    int64_t began = clock_mono_ns();
    if (store_flush(s, &err) != ERR_OK)
        die("flush", &err);
    if (in_head) // the worker may have been quicker
        f.flush_rows_s = (double)in_head / seconds_since(began);
    store_stats(s, &st);
    f.bytes_per_row = (double)st.bytes_disk / (double)st.rows_parts;
    measure_scan(s, &f);
    measure_newest(s, &f);
    store_close(s);
    s = open_timed(dir, &f.reopen_ms);
    store_close(s);
    measure_replay(dir, &f);
    measure_traces(dir, &f);
    remove_dir(dir);
    print(&f, json);
    return 0;
}
