// A set of trace ids, each with the earliest time at which it was seen. Zeroed is empty.
#pragma once
#include "base/error.h"
#include "base/hash.h"

struct trace_ref {
    struct id128 id;
    int64_t time; // of the earliest span or record that was seen
};

struct trace_set {
    struct trace_ref *at; // open addressing, zero id = free; after trace_set_sort the first n
    size_t n, size;
};
// ERR_NOMEM; ERR_LIMIT beyond MAX_QUERY_MEMORY. The id zero is no trace and is left out.
enum errc trace_set_add(struct trace_set *s, struct id128 id, int64_t time, struct error *err);
// Newest first; nothing can be added any more.
void trace_set_sort(struct trace_set *s);
void trace_set_free(struct trace_set *s);
