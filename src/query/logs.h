// A log query: the first or last `limit` rows of a pipeline. Keeps at most limit rows; once it has them, rows that
// cannot make it are skipped unread, and the scan ends as soon as its bound says so.
#pragma once
#include "query/rows.h"

struct log_query {
    struct selector selector;
    struct pipeline pipeline;
    int64_t from, to;
    bool forward;
    uint32_t limit;
    int64_t interval; // > 0: the first row, then each at least so much later
};

struct log_entry {
    int64_t time;
    uint64_t seq;
    struct slice line;
    struct row_label *labels; // sorted by name
    uint32_t n_labels;
};
struct log_result {
    struct log_entry **entries; // in the order asked for; equal times in order of arrival (backward: reversed)
    uint32_t n;
};

enum errc log_query_run(struct query *q, const struct log_query *l, struct log_result *out, struct error *err);
void log_result_free(struct log_result *r);
