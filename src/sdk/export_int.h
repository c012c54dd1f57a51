// What the exporter's files share: export.c (queues, batcher, life), export_dest.c (what waits at a destination, its workers),
// export_send.c (OTLP requests), export_settings.c and export_way.c (environment), export_custom.c (the program's own),
// export_reader.c (metrics), exporter_console.c, exporter_file.c (local destinations), spool.c (files).
//
// Lock: export.lock, for everything marked so. Records are logged without it: a full ring waits for the backend, which takes it.
#pragma once
#include "net/http.h"
#include "sdk/encode.h"
#include "sdk/export.h"
#include "sdk/resource.h"
#include "sdk/spool.h"

enum { HEADERS_MAX = 32, DESTS_MAX = 12, WORKERS_MAX = 16, EXPORT_SHUTDOWN_MS = 1000 };

enum dest_kind { DEST_OTLP, DEST_CONSOLE, DEST_STDOUT, DEST_FILE, DEST_ZIPKIN, DEST_CUSTOM };
enum zipkin_form { ZIPKIN_JSON, ZIPKIN_PROTOBUF, ZIPKIN_V1_JSON, ZIPKIN_V1_THRIFT }; // as OTEL_EXPORTER_ZIPKIN_PROTOCOL
enum protocol { PROTOCOL_GRPC, PROTOCOL_PROTOBUF, PROTOCOL_JSON };

// A request, made once, given to all destinations. Never changed; counted under the lock.
struct export_batch {
    int refs;
    enum export_signal signal;
    size_t items;
    struct buf request; // Export…ServiceRequest
};

// One batch at one destination.
struct export_item {
    struct export_item *next;
    struct export_batch *batch;
    uint64_t number;       // ascending in the order of making; 0: from the spool
    int64_t began;         // of the export under way, which ends at the signal's timeout; 0: none yet
    bool counted;          // the end left it behind, and said so: whether it arrives changes no count
    char file[SPOOL_NAME]; // from the spool
};

// How a destination is spoken to.
struct export_way {
    enum protocol protocol;
    bool gzip, insecure;
    char header_text[4096];
    struct http_header header[HEADERS_MAX];
    size_t n_headers;
    struct tls_options tls;
    int64_t timeout_ns;
};

struct export_queue;
struct export_dest {
    struct export *e;
    struct export_queue *q;
    enum dest_kind kind;
    const struct export_way *way; // the queue's, or its own
    char url[1024], auth[400];    // auth: of a user in the URL, as the header authorization; url is without
    struct sonde_exporter custom;
    pthread_mutex_t call; // around the program's callbacks
    struct spool *spool;  // null: none
    bool has_wake;
    pthread_cond_t wake;
    // under the lock
    struct export_item *first;
    size_t waiting, bytes; // in the list and under way
    unsigned n_workers, busy, ended;
    pthread_t worker[WORKERS_MAX];
    struct export_item *doing[WORKERS_MAX];
    bool in_spool; // there may be files
    int64_t retry_at, backoff_ns;
    unsigned tried, failed; // tickets of the flushes that saw an attempt begin, and one fail
    int64_t turned_at;      // when `away` changed last: what began before is no news
    bool away, broken;      // broken: can never deliver (no network part, bad certificate files)
};

// One signal: what waits to become batches, and where they go.
struct export_queue {
    struct export *e;
    enum export_signal signal;
    const char *word, *env; // "traces", "TRACES"
    const char *grpc_path;
    bool on, closed;
    struct export_way way, to_zipkin;
    bool json; // a destination takes JSON
    enum zipkin_form zipkin;
    int64_t delay_ns, timeout_max_ns; // a way's timeout is no longer
    size_t batch, max, request_max;
    struct export_dest *dest[DESTS_MAX];
    size_t n_dests;
    // under the lock
    struct buf bytes;
    struct encode_message *m;
    size_t n, cap;
    int64_t first_at; // when the oldest of m came
    size_t taken;     // in the batcher's hands
    unsigned flushed; // ticket: all that came before it has been given to the destinations
    uint64_t flushed_to;
    struct export_stats stats;
    // the batcher's own
    struct buf out_bytes;
    struct encode_message *out;
    size_t out_n, out_cap;
};

struct export
{
    pthread_mutex_t lock;
    pthread_cond_t wake, done, tick; // of the batcher, of who waits for it, of the metrics reader
    pthread_t thread, reader;
    bool has_thread, has_reader, stop, finished, reader_ended;
    bool left; // the end has counted what the batcher holds: it gives nothing any more
    unsigned flush_asked, flushers;
    uint64_t numbered;
    int64_t until; // deadline of the latest flush or stop
    unsigned collect_asked, collect_done;
    unsigned concurrency;
    size_t reply_max;
    struct export_queue q[EXPORT_SIGNALS];
    bool describe; // the resource is to be made (anew)
    char service[128], options[1024];
    struct buf resource, schema; // encoded; read and written by the batcher and reader under resource_lock
    pthread_mutex_t resource_lock;
    pthread_mutex_t describing; // while the resource is made: detectors run, perhaps fork
    struct meter_otlp *meter;
    int64_t interval_ns;
    bool has_processors; // under the lock
    struct buf scratch;  // of the backend
    struct buf spare;    // under the lock: a delivered request's memory, for the next one
};

// export_settings.c
void export_configure(struct export *e, struct export_queue *q);
// A destination of that kind for q; false when there are too many or no memory.
bool export_dest_add(struct export_queue *q, enum dest_kind kind, struct export_dest **out);
bool export_wanted(enum export_signal s); // the environment asks for it
void export_dest_free(struct export_dest *d);

// export_way.c
bool export_is_url(const char *url); // http://host… or https://host…; the rest is found out by who connects
struct slice export_endpoint(const struct export_queue *q, bool *own); // as the environment has it; own: that of the signal
void export_way_read(struct export_queue *q,
                     bool whole); // q->way; not whole: without headers and TLS, of no use to the program's own
// From "key=value;…" of an entry of that setting; null without memory.
struct export_way *export_way_new(const struct export_queue *q, const char *list, struct slice text);
// d->url, d->auth. scheme: where v has none. path: appended before a query; null: none. whole: v's path stands as it is.
bool export_set_url(struct export_dest *d, struct slice v, const char *scheme, const char *path, bool whole);
bool export_otlp_url(struct export_dest *d, const char *list, struct slice v, bool as_given); // false: told

// export_dest.c; under the lock
void dest_begin(struct export_dest *d); // delivers what an earlier process left
bool dest_has_room(const struct export_dest *d, size_t n);
bool dest_settled(const struct export_dest *d, uint64_t number, unsigned ticket,
                  bool *ok);                              // nothing up to number is left, or it failed
bool dest_idle(const struct export_dest *d);              // all workers have ended
void dest_leave(struct export_dest *d);                   // the end: what is left goes to the spool or is dropped
void batch_put(struct export *e, struct export_batch *b); // one reference less
// To all of q's; takes the batch over. Where there is no room it goes to the spool, meanwhile without the lock, or is dropped.
void export_give(struct export *e, struct export_queue *q, struct export_batch *b);

// export_send.c: one attempt. Without the lock.
enum outcome { SENT, RETRY, REFUSED };
struct attempt {
    enum outcome outcome;
    uint64_t rejected; // of an accepted request: items that the collector did not take
    int64_t after;     // it asks to be left alone for so long; -1: it does not
    bool answered;     // somebody is there
    bool broken;
    char why[ERROR_MESSAGE_MAX + 300];
};
struct http_session;
void export_attempt(struct export_dest *d, struct http_session **session, const struct export_batch *b, int64_t timeout,
                    struct attempt *out);
// A Retry-After header: seconds or an HTTP date; -1 if neither.
int64_t export_retry_after(struct slice value, int64_t wall_ns);

// exporter_console.c, exporter_file.c
bool export_json(struct buf *out, enum export_signal s, struct slice request); // one object, no line feed
bool export_console(const struct export_batch *b);                             // a line a record, on stdout
bool export_stdout(const struct export_batch *b);
bool export_file(const struct export_batch *b, char *why, size_t n);
void export_file_forked(void);
// exporter_zipkin.c: the spans as Zipkin's list
bool export_zipkin(struct buf *out, enum zipkin_form form, struct slice request);

// export_custom.c
void custom_attach(struct export *e); // destinations for what the program has added
enum outcome custom_send(struct export_dest *d, const struct export_batch *b);
bool custom_flush(struct export_dest *d, int64_t until);
void custom_stop(struct export_dest *d, int64_t until);
bool processors_any(void);
bool processors_emit(const struct line *l, int64_t observed, struct buf *encoded); // false: goes no further
bool processors_flush(int64_t until);
void processors_stop(int64_t until);
void custom_before_fork(void);
void custom_after_fork(void);

// export_reader.c
void reader_start(struct export *e);
void reader_collect(struct export *e); // at once; the reader's thread

// Resource and schema for a request being made.
void export_resource(struct export *e);
