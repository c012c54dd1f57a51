// Scan → rows of a log pipeline. Works in two steps for each row: the line filters at the front of the pipeline see the
// bytes of the line alone; labels and metadata are put together only for the rows that pass.
#pragma once
#include "query/query.h"

// What the consumer needs of a row's labels when no stage of the pipeline needs them.
enum rows_need { ROWS_NOTHING, ROWS_LABELS };

struct rows_options {
    const struct selector *selector;
    const struct pipeline *pipeline;
    int64_t from, to; // from <= time < to
    bool newest_first;
    bool line; // the consumer reads the line
    enum rows_need need;
    const struct slice *names; // with ROWS_LABELS and no label stage: only these labels; null = all
    uint32_t n_names;
};

struct rows {
    struct row row;      // the current one
    uint32_t resource;   // its resource's number in the batch
    bool plain;          // its labels are exactly those of its resource: no metadata, no stage touched them
    uint64_t seq;        // ascending in order of arrival
    int64_t floor, ceil; // set by the consumer at any time: rows outside are skipped unread
    uint64_t batches;    // seen so far: changes when `resource` numbers get a new meaning
    const struct batch *batch;
    int64_t bound; // see scan_batch
    struct rows_state *state;
};

enum errc rows_open(struct rows *r, struct query *q, const struct rows_options *o, struct error *err);
// *more = false at the end. The row is valid until the next call.
enum errc rows_next(struct rows *r, bool *more, struct error *err);
void rows_close(struct rows *r); // also after a failed open
