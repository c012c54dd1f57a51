// A trace: all spans of one trace id, put together from whatever arrived, as a forest in tree order.
// Thread rule: one thread at a time, for reading too: texts of attributes are made in the batch's arena.
#pragma once
#include "base/limits.h"
#include "store/store.h"

struct span {
    uint32_t row; // in trace->batch
    uint64_t id, parent_id;
    int64_t start, end;
    struct slice name;
    int kind, status;     // as in OTLP: kind 1 internal 2 server 3 client …; status 0 unset 1 ok 2 error
    struct slice service; // service.name, "" if unknown
    int32_t parent;       // index into spans, -1 for roots and orphans
    int32_t depth;
    bool orphan;  // has a parent id, but the parent never arrived
    int64_t self; // ns of its duration in which no child ran
};

struct trace {
    struct id128 id;
    struct batch *batch; // holds every row; owned
    struct span *spans;  // parents before children, siblings by start; in the batch's arena
    uint32_t n;
    int64_t start, end; // of all spans
    int32_t root;       // the request's own span: the first http-request, which may have a parent (the caller's); in a trace of
                        // other programs the first span without a parent. -1: it never came
};

// Loads the trace with all its columns. ERR_NOTFOUND when there is no span of that id in [from, to).
enum errc trace_load(struct store *s, struct slice tenant, struct id128 id, int64_t from, int64_t to, struct budget *budget,
                     struct trace *out, struct error *err);
void trace_free(struct trace *t);
// Value of an attribute of a span, looked up in the span, then in its resource.
bool trace_attr(const struct trace *t, const struct span *s, struct slice key, struct value *out);
// The same as text, in the batch's arena; empty if absent.
struct slice trace_attr_text(const struct trace *t, const struct span *s, struct slice key);
const struct resource *trace_resource(const struct trace *t, const struct span *s);
// Sorts, links and numbers spans of a batch; what trace_load does after reading. For tests and other sources.
enum errc trace_build(struct batch *b, struct id128 id, struct trace *out, struct error *err);
