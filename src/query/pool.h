// A few threads for work that must not hold up an event loop: queries. A bounded queue; when it is full the caller
// answers "too many requests" at once instead of letting requests pile up.
#pragma once
#include "base/error.h"
#include <stddef.h>

struct pool;
typedef void pool_fn(void *arg);

// threads: 1 … 256. queue: jobs that may wait, those under way not counted.
enum errc pool_new(struct pool **out, unsigned threads, size_t queue, struct error *err);
// Thread-safe. ERR_LIMIT when the queue is full, ERR_CLOSED after pool_free has begun; then fn is not called.
enum errc pool_submit(struct pool *p, pool_fn *fn, void *arg);
// Takes no more jobs, runs those that wait, joins the threads. Null is fine.
void pool_free(struct pool *p);
struct pool_stats {
    size_t waiting, running, done, refused;
};
void pool_stats(struct pool *p, struct pool_stats *out);
