// One query at work: where its rows come from, its memory, its budget, its counters. Everything a query allocates
// lives in its arena and goes with it.
// Thread rule: a query belongs to one thread; `cancelled` may be set from any.
#pragma once
#include "query/stage.h"
#include "store/store.h"

// The rows' origin: the store, or batches in memory (tests; answers from elsewhere). Same contract as store.h.
struct query_source {
    void *arg;
    enum errc (*scan)(void *arg, const struct scan_request *q, void **scan, struct error *err);
    enum errc (*next)(void *scan, struct scan_batch *out, struct error *err);
    void (*close)(void *scan);
    enum errc (*resources)(void *arg, struct slice tenant, enum signal signal, int64_t from, int64_t to,
                           bool (*fn)(void *arg, const struct resource *r), void *fn_arg, struct error *err);
};
struct query_source query_source_store(struct store *s);
// Batches in order of arrival. The source refers to the array; close of a scan frees what the scan needs.
struct batch_list {
    const struct batch *const *batches;
    uint32_t n;
};
struct query_source query_source_batches(const struct batch_list *list);

struct query_limits {
    uint32_t max_series;  // of an answer; default 2,000
    uint32_t max_entries; // upper bound of `limit`; default 50,000
    uint32_t max_steps;   // points of a series; default 11,000
    uint64_t max_bytes;   // column bytes read; 0 = no limit
    int64_t timeout_ns;   // default 60 s
    size_t max_memory;    // default MAX_QUERY_MEMORY
};
void query_limits_default(struct query_limits *l);

struct query_stats {
    uint64_t lines, bytes;      // rows that reached the line filters, and the bytes of their lines
    uint64_t post_filter_lines; // rows that passed the pipeline
    uint64_t entries;           // of the answer
    int64_t queue_ns, exec_ns;
};

struct query {
    struct query_source source;
    struct slice tenant;
    struct query_limits limits;
    struct arena arena;
    struct budget budget;
    struct query_stats stats;
    bool cancelled;
    bool (*gone)(void *arg); // may be null: asked by query_check; true cancels
    void *gone_arg;
};
// tenant is copied. Starts the clock of the timeout.
enum errc query_init(struct query *q, struct query_source source, struct slice tenant, const struct query_limits *l,
                     struct error *err);
void query_free(struct query *q);
void query_cancel(struct query *q);
// ERR_CANCELLED, ERR_TIMEOUT or ERR_OK: asked between batches, after each MiB that stages looked at, and in every loop whose work
// grows with the product of two things.
enum errc query_check(const struct query *q, struct error *err);

// Streams: all matchers must hold. Labels that are absent are empty.
struct selector {
    const struct matcher *m;
    uint32_t n;
};
bool selector_match(const struct selector *s, const struct resource *r);
// Distinct label sets in [from, to) that match; arrays and strings in the query's arena.
struct label_set {
    struct label *l;
    uint32_t n;
    struct id128 hash;
};
enum errc query_streams(struct query *q, const struct selector *s, int64_t from, int64_t to, struct label_set **out, uint32_t *n,
                        struct error *err);
