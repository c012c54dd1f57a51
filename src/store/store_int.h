// What the files of src/store share. Who may touch what:
//
//   log thread (commit.c)   gathers requests, writes the log, adds to heads, owns each table's dedup
//   worker (flush.c)        turns heads into parts, removes old parts, trims the log
//   any thread              store_append (queue), scans (snapshot under the table's lock)
//
// Locks, in their order: flush_lock > tables_lock > table.lock > part.lock; queue_lock, work_lock and wal.lock stand alone.
#pragma once
#include "store/dedup.h"
#include "store/part.h"
#include "store/store.h"
#include "store/wal.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

// Commits wait for flushes when heads hold more than this many times head_max_bytes.
enum { HEAD_PRESSURE = 4 };

// What a request costs when it is replayed, in bytes of the log: decoding a row takes as long as so many bytes more.
enum { REPLAY_ROW_BYTES = 64 };
// How much more of the log a table of samples may leave to replay: small parts would be mostly their lists of series.
enum { SAMPLE_LOG = 4 };
static inline size_t replay_cost(const struct wal_record *r)
{
    return r->payload.n + (size_t)r->rows * REPLAY_ROW_BYTES;
}

// A batch of committed rows that is not in a part yet. The sequences are those of its first and last request.
struct head_batch {
    struct batch *batch;
    uint64_t first, last;
    int64_t max_end; // of spans: the latest end; of logs: max_time
    size_t memory;
    size_t log; // replay_cost of its requests
    // Filter of its trace ids (part_format.h: bloom), in the batch's arena; null: none, any id may be there.
    const uint8_t *traces;
    uint32_t trace_bits;
};
// Whether the batch may hold rows of the trace.
bool head_may_have_trace(const struct head_batch *h, struct id128 trace);
struct head_list {
    struct head_batch *v;
    uint32_t n, cap;
    size_t bytes;
    uint64_t rows;
    int64_t since;   // monotonic time when its first row came
    uint64_t log;    // replay_cost of its requests
    uint64_t log_at; // store.log_bytes when its first row came
};

// The rows of one tenant and signal. Lives as long as the store.
struct table {
    struct store *store;
    struct slice tenant;
    enum signal signal;
    struct dedup dedup; // log thread only
    pthread_mutex_t lock;
    struct head_list head;     // the log's thread adds at its end
    struct head_list flushing; // being written to a part; unchanged while so
    uint64_t swaps;            // times that head became flushing
    struct part **parts;       // ascending by first sequence, one reference each
    uint32_t n_parts, cap_parts;
    int64_t compact_after; // monotonic: a failed merge of parts waits; under flush_lock
};

struct request {
    struct request *next;
    struct table *table;
    struct batch *batch; // null once in the head
    struct batch *kept;  // its rows without the repeated ones, where those are not the last; null otherwise
    struct slice raw;    // in the batch's arena
    struct wal_record record;
    uint64_t *hashes;  // in the batch's arena, one a row
    uint32_t *dropped; // likewise
    bool logged;       // it has rows to keep, so it stands in the log
    store_commit_fn *done;
    void *arg;
};

// A part that could not be read at opening.
struct lost_part {
    struct lost_part *next;
    char path[];
};

struct store {
    struct store_options opt;
    char *dir, *parts_dir;
    int lock_fd;
    struct wal wal;

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_more, queue_room;
    struct request *queue, **queue_end;
    size_t queue_bytes;
    bool queue_closed;
    pthread_t log_thread;
    bool log_running;
    bool commit_failing; // the last commit failed; log thread only
    bool commit_stuck;   // closing, and a request that stands in the log found no memory; log thread only
    bool replayed;       // set before the threads start
    struct lost_part *lost;

    pthread_mutex_t tables_lock;
    struct table **tables;
    uint32_t n_tables, cap_tables;

    pthread_mutex_t flush_lock; // one flush, retention or trim at a time
    pthread_mutex_t work_lock;
    pthread_cond_t work_more, work_done;
    bool work_wanted, work_closed;
    uint32_t busy_passes; // passes with a flush and no merge; under flush_lock
    pthread_t worker;
    bool worker_running;
    _Atomic size_t head_bytes;  // of all tables, flushing included
    _Atomic uint64_t log_bytes; // replay_cost of all requests that came into heads
    _Atomic bool flush_failing; // the last flush did not succeed

    struct {
        _Atomic uint64_t appended_rows, duplicate_rows, commits, commit_errors, replayed_requests;
        _Atomic uint64_t commit_ns_total, commit_ns_max;
    } stats;
};

// ---- table.c ----
// Finds or makes; null when out of memory.
struct table *table_get(struct store *s, struct slice tenant, enum signal signal);
struct table *table_find(struct store *s, struct slice tenant, enum signal signal); // null if none
void table_free(struct table *t);
// Calls fn for every table (a snapshot: tables are never removed) until it returns something else than ERR_OK.
enum errc tables_each(struct store *s, enum errc (*fn)(struct table *t, void *arg), void *arg);
bool table_covers(struct table *t, uint64_t sequence); // a part has it
// A part begins between the two sequences: then rows of the one and of the other may not become one batch or part, whose
// range would cover that part's. So it is after a part was lost and its requests replayed.
bool table_part_between(struct table *t, uint64_t after, uint64_t before);
static inline size_t table_log_max(const struct table *t)
{
    return t->store->opt.head_max_log_bytes * (t->signal == SIGNAL_SAMPLE ? SAMPLE_LOG : 1);
}
// Adds committed rows of the requests first … last with their replay_cost, and merges small batches (not
// during replay). Takes the batch over when ERR_OK. Log thread only.
enum errc table_insert(struct table *t, struct batch *b, uint64_t first, uint64_t last, size_t cost);
// All batches of the head and of what is being flushed, one reference each. To be freed; null when out of memory.
struct batch **table_head_batches(struct table *t, uint32_t *n);
// Adds a part (its reference is taken over when ERR_OK); parts whose sequences it covers leave and are removed. If one
// that is there covers it, it is removed itself.
enum errc table_add_part(struct table *t, struct part *p);
// A flush, under flush_lock: the head's beginning, up to the next part's range, becomes `flushing` (false: there was none) …
bool table_take_head(struct table *t);
// … and then gives way to the part at one moment, as table_add_part, or becomes the head's beginning again. When that
// fails for want of memory it stays where it is, visible, and is taken up by the next flush.
enum errc table_flushed(struct table *t, struct part *p);
enum errc table_flush_failed(struct table *t);

// ---- commit.c ----
enum errc commit_start(struct store *s, struct error *err);
void commit_stop(struct store *s); // completes what is queued
// b without the rows named (ascending numbers), self-contained and sealed. b is taken over; nobody else may refer to it. Cheap
// when the last rows are dropped: so it is with the metadata that a sender of metrics repeats each time. Null: out of memory.
struct batch *batch_drop(struct batch *b, const uint32_t *dropped, uint32_t n);

// ---- replay.c ----
enum errc store_replay(struct store *s, struct error *err);
// Fills the tables' filters of repeated rows. By the log's thread, before its first commit.
void store_rebuild_filter(struct store *s);

// ---- flush.c ----
enum errc worker_start(struct store *s, struct error *err);
void worker_stop(struct store *s);
void worker_wake(struct store *s);
void store_flush_due(struct store *s); // heads that are large or old; under flush_lock
void worker_wait(struct store *s);     // for the end of the next pass, or a moment
// So many ns from now, for the store's conditions: their clock is the steady one, since a wall clock that is set back would
// stretch every wait.
void store_deadline(struct timespec *ts, int64_t ns);

// ---- compact.c ----
// Merges a run of small neighbouring parts into one, if there is such a run. Under flush_lock.
// Sets *merged when it did.
enum errc table_compact(struct table *t, bool *merged, struct error *err);

// ---- catalog.c ----
// What cannot be read goes to store.lost.
enum errc catalog_open(struct store *s, uint64_t *next_sequence, struct error *err);
// Renames the lost parts, after wal_uncover: killed in between, the next opening finds them again.
void catalog_set_aside(struct store *s);
void catalog_forget_lost(struct store *s);
// DIR/parts/<tenant>/<signal>-<first>-<last>.part; makes the folder. To be freed; null when out of memory.
char *catalog_path(const struct store *s, const struct table *t, uint64_t first, uint64_t last);
