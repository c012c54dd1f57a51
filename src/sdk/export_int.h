// What the exporter's three files share: export.c (queues, thread, life), export_settings.c (environment), export_send.c
// (requests, retries). Lock: export.lock; "the thread" is the exporter's own.
#pragma once
#include "sdk/encode.h"
#include "sdk/export.h"
#include "sdk/net_part.h"

enum { HEADERS_MAX = 32, SIGNALS = 2 };

// One signal: where it goes and what waits.
struct export_queue {
    const char *word, *env; // "traces", "TRACES"
    const char *grpc_path;
    bool on, grpc, gzip;
    char url[1024];
    char header_text[4096];
    struct http_header header[HEADERS_MAX];
    size_t n_headers;
    int64_t delay_ns, timeout_ns;
    size_t batch, max;
    // under the lock
    struct buf bytes;
    struct encode_message *m;
    size_t n, cap;
    int64_t first_at; // when the oldest of m came
    uint64_t sent, dropped;
    // the thread's own: taken from m, being sent
    struct buf out_bytes;
    struct encode_message *out;
    size_t out_n, out_at, out_cap;
    int64_t retry_at, backoff_ns;
    struct http_session *session;
};

struct export
{
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t thread;
    bool has_thread, stop, finished;
    unsigned flush_asked, flush_done;
    bool flush_ok;
    int64_t until; // deadline of the flush or stop that is under way
    bool away;
    struct export_queue q[SIGNALS]; // traces, logs
    struct buf resource;
};

// Fills q from the environment; word, env and grpc_path are set. prefix: "BSP" or "BLRP".
void export_configure(struct export_queue *q, const char *prefix);
// Sends what waits in q; false if something could not be delivered now. The thread.
bool export_send_queue(struct export *e, struct export_queue *q);
