// What operators and data sources ask first: is it there, which version, how is it doing.
#include "base/clock.h"
#include "base/limits.h"
#include "serve/serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void ready(struct http_req *r, void *arg)
{
    http_reply_text(r, 200, "ready");
}
static void echo(struct http_req *r, void *arg)
{
    http_reply(r, 200, SLICE("text/plain; charset=utf-8"), SLICE("echo"));
}

static void buildinfo(struct http_req *r, void *arg)
{
    struct buf b;
    buf_init(&b, MAX_SHORT_TEXT);
    struct jw w = jw_to(&b);
    static const char *const rows[][2] = {{"version", SONDE_VERSION}, {"revision", ""},  {"branch", ""},
                                          {"buildUser", ""},          {"buildDate", ""}, {"goVersion", ""}};
    jw_obj(&w);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        jw_key(&w, slice_str(rows[i][0]));
        jw_str(&w, slice_str(rows[i][1]));
    }
    jw_obj_end(&w);
    http_reply(r, 200, SLICE("application/json"), buf_slice(&b));
    buf_free(&b);
}

static uint64_t resident_bytes(void)
{
    unsigned long total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%lu %lu", &total, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct buf *b, const char *name, const char *type, const char *help, double value)
{
    family(b, name, type, help);
    buf_printf(b, "%s ", name);
    buf_f64(b, value);
    buf_char(b, '\n');
}

static void receivers_metrics(struct buf *b, struct server *s)
{
    static const char *const names[RECEIVER_COUNT] = {"otlp-logs",    "otlp-traces",  "loki",  "otlp-metrics",
                                                      "remote-write", "metrics-text", "scrape"};
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        {"sonde_receiver_requests_total", "Requests received.", offsetof(struct receiver_stats, requests)},
        {"sonde_receiver_events_total", "Log records, spans, data points and samples accepted.",
         offsetof(struct receiver_stats, rows)},
        {"sonde_receiver_bytes_total", "Body bytes received, decompressed.", offsetof(struct receiver_stats, bytes)},
        {"sonde_receiver_rejected_events_total", "Log records, spans, data points and samples refused within accepted requests.",
         offsetof(struct receiver_stats, rejected_rows)},
        {"sonde_receiver_failed_requests_total", "Requests refused or not stored.", offsetof(struct receiver_stats, failed)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        family(b, rows[i].name, "counter", rows[i].help);
        for (int k = 0; k < RECEIVER_COUNT; k++) {
            _Atomic uint64_t *v = (void *)((char *)&s->receivers[k] + rows[i].offset);
            buf_printf(b, "%s{receiver=\"%s\"} %" PRIu64 "\n", rows[i].name, names[k], atomic_load(v));
        }
    }
}

static void metrics(struct http_req *r, void *arg)
{
    struct server *s = arg;
    struct store_stats st;
    struct buf b;
    store_stats(s->store, &st);
    buf_init(&b, MAX_STATUS_TEXT);
    single(&b, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)resident_bytes());
    single(&b, "process_start_time_seconds", "gauge", "Start of the process since 1970.", (double)s->started_ns / 1e9);
    family(&b, "sonde_build_info", "gauge", "Version of the running program.");
    buf_str(&b, "sonde_build_info{version=\"" SONDE_VERSION "\"} 1\n");
    receivers_metrics(&b, s);
    single(&b, "sonde_inflight_bytes", "gauge", "Bytes of requests not yet acknowledged.", (double)atomic_load(&s->inflight));
    single(&b, "sonde_store_head_rows", "gauge", "Events in memory.", (double)st.rows_head);
    single(&b, "sonde_store_head_bytes", "gauge", "Memory of the events in memory.", (double)st.bytes_head);
    single(&b, "sonde_store_part_rows", "gauge", "Events in parts on disk.", (double)st.rows_parts);
    single(&b, "sonde_store_parts", "gauge", "Parts on disk.", (double)st.parts);
    single(&b, "sonde_store_disk_bytes", "gauge", "Bytes of parts on disk.", (double)st.bytes_disk);
    single(&b, "sonde_store_duplicate_rows_total", "counter", "Events sent again and stored once.", (double)st.duplicate_rows);
    single(&b, "sonde_wal_bytes", "gauge", "Bytes of the write-ahead log.", (double)st.wal_bytes);
    single(&b, "sonde_wal_segments", "gauge", "Files of the write-ahead log.", (double)st.wal_segments);
    single(&b, "sonde_wal_commits_total", "counter", "Group commits.", (double)st.commits);
    single(&b, "sonde_wal_commit_errors_total", "counter", "Group commits that failed.", (double)st.commit_errors);
    single(&b, "sonde_wal_commit_seconds_total", "counter", "Time spent in group commits.", (double)st.commit_ns_total / 1e9);
    single(&b, "sonde_wal_commit_max_seconds", "gauge", "Slowest group commit.", (double)st.commit_ns_max / 1e9);
    single(&b, "sonde_replayed_requests", "gauge", "Requests replayed from the log at the last start.",
           (double)st.replayed_requests);
    http_reply(r, 200, SLICE("text/plain; version=0.0.4; charset=utf-8"), buf_slice(&b));
    buf_free(&b);
}

static void flush(struct http_req *r, void *arg)
{
    struct server *s = arg;
    struct error err = {0};
    if (store_flush(s->store, &err) != ERR_OK)
        server_reply_error(r, &err);
    else
        http_reply(r, 204, SLICE_NONE, SLICE_NONE);
}

size_t status_routes(struct server *s, struct http_route *out, size_t max)
{
    const struct http_route rows[] = {
        {"GET", "/ready", ready, s, 0, "200 when requests are served"},
        {"GET", "/api/echo", echo, s, 0, "health check of Grafana's Tempo data source"},
        {"GET", "/metrics", metrics, s, 0, "the server's own metrics, Prometheus text"},
        {"GET", "/loki/api/v1/status/buildinfo", buildinfo, s, 0, "version, as Loki tells it"},
        {"GET", "/api/status/buildinfo", buildinfo, s, 0, "version, as Tempo tells it"},
        {"POST", "/flush", flush, s, 0, "turn what is in memory into parts now"},
    };
    size_t n = 0;
    for (; n < sizeof rows / sizeof *rows && n < max; n++)
        out[n] = rows[n];
    return n;
}
