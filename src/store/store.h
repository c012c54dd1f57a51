// The store: where events live. Nobody outside src/store knows files.
//
//   append ──► write-ahead log (group commit) ──► acknowledged
//      └────► head (batches in memory) ──► part (columns on disk, immutable)
//   scan  ──► head + parts ──► batches
//
// Directory:  DIR/lock  DIR/wal/<sequences>.wal  DIR/parts/<tenant-hex>/<signal>-<first>-<last>.part
// (the empty tenant's folder is "_"; what cannot be read at opening is set aside as *.damaged, with a line on stderr)
// An acknowledged request survives SIGKILL and power loss; after a restart every event is there once.
// Thread rule: all functions may be called from any thread.
#pragma once
#include "event/wire.h"

struct store;

struct store_options {
    const char *dir;           // made if missing
    size_t head_max_bytes;     // a table's head is turned into a part above this (default 64 MiB)
    int64_t head_max_age_ns;   // … or when its oldest row has been waiting this long (default 5 min)
    int64_t retention_ns;      // parts whose newest row is older are removed; 0 keeps everything
    size_t head_max_log_bytes; // … or when its requests take more than this in the log (default 8 MiB, a row counts
                               // as 64 bytes more): what a restart has to read again
    size_t wal_segment_bytes;  // default 8 MiB
    size_t wal_keep_bytes;     // covered requests kept for the filter of repeated ones (default 32 MiB)
    size_t resource_cache;     // lists of resources that parts keep for the next query (default 256 MiB)
    bool discover_service;     // passed to wire_decode on replay: must equal what receivers use
};
void store_options_default(struct store_options *o);

// Opens, repairs (a torn tail of the log is cut off, a half-written part removed; both are reported on stderr) and
// replays. ERR_DENIED if another process has the directory.
enum errc store_open(struct store **out, const struct store_options *o, struct error *err);
// Writes heads to parts, closes. Appends under way are completed first. Null is fine.
void store_close(struct store *s);

// Called once when the request is durable (ERR_OK; its rows are visible to scans from then on) or could not be written
// (ERR_FULL, ERR_IO, ERR_NOMEM: not visible). Comes from the log's thread: must not block. Not called when store_append
// itself fails.
typedef void store_commit_fn(void *arg, enum errc rc);

// Stores a decoded request. raw: its bytes as wire_decode got them; batch: what it gave (a reference is taken over,
// also on failure; it may refer to raw, which is copied where needed). Rows already stored (same batch_row_hash among
// recent rows, or in the same request) are left out silently. done may be null (then nothing is awaited).
enum errc store_append(struct store *s, struct slice tenant, enum wire_format f, struct slice raw, int64_t received_ns,
                       struct batch *batch, store_commit_fn *done, void *arg, struct error *err);

// ---- reading --------------------------------------------------------------------------------------------------------
// A budget of one query; counters are added to by scans. Over it: ERR_LIMIT.
struct budget {
    uint64_t max_bytes; // uncompressed column bytes read; 0 = unlimited
    uint64_t bytes, rows, blocks;
    uint64_t blocks_skipped; // ruled out by time, resource or trace id, or not reached before the scan was closed
    const bool *cancelled;   // may be null; polled
    int64_t deadline_mono;   // 0 = none
};

struct scan_request {
    struct slice tenant;
    enum signal signal;
    int64_t from, to; // rows with from <= time < to. For spans: those that overlap it when `overlap`
    bool overlap;
    bool newest_first;                                  // order of batches (see scan_next)
    bool (*match)(void *arg, const struct resource *r); // null = all resources
    void *match_arg;
    struct id128 trace_id; // not zero: only rows of this trace
    // Which columns are needed. fields: bit set of 1 << FIELD_x. attrs: names wanted of COL_ATTR and COL_SCOPE, or
    // all_attrs. Unwanted columns may be missing from the batches.
    uint64_t fields;
    bool all_attrs;
    const struct slice *attrs;
    size_t n_attrs;
    struct budget *budget; // may be null
};

struct scan;
enum errc store_scan(struct store *s, const struct scan_request *q, struct scan **out, struct error *err);

struct scan_batch {
    const struct batch *batch; // valid until the next scan_next or scan_close
    const uint32_t *rows;      // the matching rows, ascending; never null
    uint32_t n_rows;           // > 0
    int64_t bound;             // newest_first: no later batch of this scan has a row with time > bound; else none < bound
};
// ERR_OK with out->batch == NULL at the end. ERR_CORRUPT, ERR_IO: the error names file, block and column; the next call
// goes on behind it. ERR_LIMIT, ERR_CANCELLED, ERR_TIMEOUT: the budget ended it.
enum errc scan_next(struct scan *s, struct scan_batch *out, struct error *err);
void scan_close(struct scan *s);

// Every distinct resource with rows in [from, to): answers from indexes, without reading rows. Resources of the
// callback are valid during the call. Stops when fn returns false.
enum errc store_resources(struct store *s, struct slice tenant, enum signal signal, int64_t from, int64_t to,
                          bool (*fn)(void *arg, const struct resource *r), void *arg, struct error *err);

struct store_stats {
    uint64_t rows_head, rows_parts, parts, bytes_disk, bytes_head, wal_bytes, wal_segments;
    uint64_t appended_rows, duplicate_rows, commits, commit_errors, replayed_requests, torn_bytes;
    uint64_t commit_ns_total, commit_ns_max;
};
void store_stats(struct store *s, struct store_stats *out);
// Turns all heads into parts now (tests, shutdown, admin).
enum errc store_flush(struct store *s, struct error *err);

// ---- inspect: prints a file in readable form, tolerant of damage (says where it is). For `sonde inspect`. -----------
enum errc wal_inspect(const char *path, bool verbose, struct buf *out, struct error *err);
enum errc part_inspect(const char *path, bool verbose, struct buf *out, struct error *err);
