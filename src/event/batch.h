// The data model: an event is a time, a resource and typed fields; a batch is many events of one signal, in columns.
//
// Invariants
//   - rows are numbered 0 … rows-1; time[r] and resource[r] exist for each (they are columns of their own)
//   - a column holds values for some rows, in ascending row order; `row` names them, or is null when the column is
//     dense (value i belongs to row i, n values). A column with one value in 10,000 rows costs one value.
//   - a key that carries different types in different rows is one column per type
//   - everything a batch points to lives in its arena, or in memory that its maker promised to keep longer than the batch
//   - in a sealed batch a dense column has exactly `rows` values, and no column is empty
//   - a sealed batch never changes again and may be read by any number of threads; references are counted
//
//   rows      0    1    2    3    4
//   time      t0   t1   t2   t3   t4          int64 ns (span: its start)
//   resource  0    0    1    1    0   ───►  resources[2]: labels (sorted) + other typed attributes
//   FIELD body     "…"  "…"  "…"  "…"  "…"    dense: row == null
//   ATTR  tokens    ·   17    ·    9    ·     row = {1, 3}, i64 = {17, 9}
//
// Samples (SIGNAL_SAMPLE), the data model of Prometheus:
//   - one row is one sample; its resource IS THE SERIES: labels = all of the series' labels with __name__, attrs empty. So
//     store_resources lists series, and a scan with a match on labels reads their samples
//   - time is whole milliseconds, in ns. VALUE, or HISTOGRAM for a native histogram; neither where a row brings EXEMPLARS
//     alone, and in:
//   - metadata rows: their resource has no label at all (readers of series leave it out); NAME is the metric family as it
//     is named in queries, METRIC_TYPE counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown, UNIT and
//     DESCRIPTION may be missing. Their time is that of arrival cut to the hour (so that repeats within an hour
//     are one row): a reader that asks from T on must scan from an hour before
//   - FLAGS with SAMPLE_DELTA only stands between a decoder and the receiver, which makes such values cumulative
//   - a sample sent again is stored once. Two different values of one series at one time are both kept; a reader takes the
//     one that sample_wins (event/sample.h) names, which does not depend on the order of arrival
#pragma once
#include "base/arena.h"
#include "base/hash.h"
#include "base/json.h"

enum signal { SIGNAL_LOG, SIGNAL_SPAN, SIGNAL_SAMPLE, SIGNAL_COUNT };

enum col_kind {
    COL_I64,   // .i64
    COL_F64,   // .f64
    COL_BOOL,  // .b
    COL_STR,   // .s, valid UTF-8
    COL_BYTES, // .s, any bytes
    COL_ANY,   // .s, an encoded opentelemetry AnyValue (arrays, maps, bytes attributes)
    COL_ID64,  // .id64, the 8 bytes read big-endian
    COL_ID128, // .id128
};

enum col_scope {
    COL_FIELD, // fixed fields of the model, named by enum field
    COL_ATTR,  // attributes of a log record or span; structured metadata of a Loki push
    COL_SCOPE, // attributes of the instrumentation scope
};

// X(name, kind, text)
#define FIELD_LIST(X)                                                                                     \
    X(NONE, COL_STR, "")                                                                                  \
    X(TRACE_ID, COL_ID128, "trace_id")                                                                    \
    X(SPAN_ID, COL_ID64, "span_id")                                                                       \
    X(FLAGS, COL_I64, "flags")                                                                            \
    X(SCOPE_NAME, COL_STR, "scope_name")                                                                  \
    X(SCOPE_VERSION, COL_STR, "scope_version")                                                            \
    X(DROPPED_ATTRS, COL_I64, "dropped_attributes_count")                                                 \
    /* logs */                                                                                            \
    X(BODY, COL_STR, "body")         /* text of the line; a structured body as JSON text */               \
    X(BODY_ANY, COL_ANY, "body_any") /* the same, encoded, when it was not a string */                    \
    X(SEVERITY, COL_I64, "severity_number")                                                               \
    X(SEVERITY_TEXT, COL_STR, "severity_text")                                                            \
    X(OBSERVED, COL_I64, "observed_timestamp")                                                            \
    X(EVENT_NAME, COL_STR, "event_name")                                                                  \
    /* spans */                                                                                           \
    X(NAME, COL_STR, "name")                                                                              \
    X(KIND, COL_I64, "kind")                                                                              \
    X(DURATION, COL_I64, "duration") /* ns */                                                             \
    X(PARENT_ID, COL_ID64, "parent_id")                                                                   \
    X(STATUS, COL_I64, "status") /* 0 unset, 1 ok, 2 error */                                             \
    X(STATUS_MESSAGE, COL_STR, "status_message")                                                          \
    X(TRACE_STATE, COL_STR, "trace_state")                                                                \
    X(EVENTS, COL_BYTES, "events") /* OTLP Span fields 11, tags included, as on the wire, concatenated */ \
    X(LINKS, COL_BYTES, "links")   /* OTLP Span fields 13, likewise */                                    \
    X(DROPPED_EVENTS, COL_I64, "dropped_events_count")                                                    \
    X(DROPPED_LINKS, COL_I64, "dropped_links_count")                                                      \
    /* samples of metrics */                                                                              \
    X(VALUE, COL_F64, "value")           /* bits kept: SAMPLE_STALE is a NaN among others */              \
    X(HISTOGRAM, COL_BYTES, "histogram") /* event/sample.h; then there is no VALUE */                     \
    X(EXEMPLARS, COL_BYTES, "exemplars") /* event/sample.h */                                             \
    X(START, COL_I64, "start_time")      /* ns: since when a cumulative value counts, where known */      \
    X(METRIC_TYPE, COL_STR, "type")      /* of metadata rows, with UNIT and DESCRIPTION */                \
    X(UNIT, COL_STR, "unit")                                                                              \
    X(DESCRIPTION, COL_STR, "description")

enum field {
#define X(name, kind, text) FIELD_##name,
    FIELD_LIST(X)
#undef X
        FIELD_COUNT
};
const char *field_text(enum field f);
enum col_kind field_kind(enum field f);

struct value {
    enum col_kind kind;
    union {
        int64_t i64;
        double f64;
        bool b;
        struct slice s;
        uint64_t id64;
        struct id128 id128;
    };
};

struct attr {
    struct slice key;
    struct value value;
};

struct label {
    struct slice name, value;
};

// Who sent it. labels: what LogQL calls the stream, sorted by name, values not empty. attrs: all resource attributes
// as sent (those that became labels included), in order of arrival; empty for a Loki push.
struct resource {
    struct id128 hash;        // of labels and attrs: the resource's identity
    struct id128 labels_hash; // of labels alone: the stream's identity
    struct label *labels;
    struct attr *attrs;
    uint32_t n_labels, n_attrs;
};

struct column {
    enum col_scope scope;
    enum col_kind kind;
    enum field field;  // COL_FIELD only, else FIELD_NONE
    struct slice name; // COL_ATTR, COL_SCOPE
    uint32_t n, cap;
    uint32_t *row; // null: dense
    union {
        void *v;
        int64_t *i64;
        double *f64;
        bool *b;
        struct slice *s;
        uint64_t *id64;
        struct id128 *id128;
    };
};

struct batch {
    enum signal signal;
    uint32_t rows, cap;
    int64_t *time;
    uint32_t *resource;
    struct resource *resources;
    uint32_t n_resources, cap_resources;
    struct column *columns;
    uint32_t n_columns, cap_columns;
    uint32_t *index; // hash table: column key → number + 1; for batch_column only
    uint32_t index_size;
    uint32_t *resource_index; // hash table: resource hash → number + 1; for batch_resource only
    uint32_t resource_index_size;
    // Columns of the current row's values in the order set, for batch_row_cancel; behind them, up to known_touched, those
    // of earlier rows: the k-th value of a row is likely to go where the k-th of the row before went.
    uint32_t *touched;
    uint32_t n_touched, known_touched, cap_touched;
    struct column *field[FIELD_COUNT]; // the COL_FIELD columns, null where absent. Re-pointed when columns move.
    int64_t min_time, max_time;        // over all rows, valid once sealed and rows > 0
    struct arena arena;
    int refs; // atomic
    bool sealed;
    bool failed; // an append ran over the arena's budget: the batch must be thrown away
};

// A new batch with one reference, or null. max: its arena's budget.
struct batch *batch_new(enum signal signal, size_t max);
struct batch *batch_ref(struct batch *b);
void batch_unref(struct batch *b); // null is fine
// Ends building: computes min/max time, resource hashes are set; false if an append failed.
bool batch_seal(struct batch *b);
// Forgets the rows from `rows` on of a sealed batch that nobody else refers to.
void batch_cut(struct batch *b, uint32_t rows);
// Bytes of memory that the batch holds.
size_t batch_memory(const struct batch *b);

// Building. Strings given to these are NOT copied: they must live in b->arena or outlive the batch
// (batch_dup copies). Labels must be sorted by name, without empty values: use batch_labels_sort.
struct slice batch_dup(struct batch *b, struct slice s);
// Finds or adds; equal resources within a batch share a number. The arrays are copied, not the strings.
uint32_t batch_resource(struct batch *b, const struct label *labels, uint32_t n_labels, const struct attr *attrs,
                        uint32_t n_attrs);
// Sorts by name, drops empty values, keeps the last of equal names; returns the new count.
uint32_t labels_sort(struct label *labels, uint32_t n);
// Starts a row; the setters below write into it. Returns its number.
uint32_t batch_row(struct batch *b, int64_t time, uint32_t resource);
// Takes the row back (it was invalid): values already set for it are removed.
void batch_row_cancel(struct batch *b);
// The column's number; added if new. Numbers are stable, pointers are not.
uint32_t batch_column(struct batch *b, enum col_scope scope, enum field f, enum col_kind kind, struct slice name);
// Sets the current row's value; a second value for the same row and column replaces the first.
void batch_set(struct batch *b, enum col_scope scope, struct slice name, struct value v);
void batch_field_i64(struct batch *b, enum field f, int64_t v);
void batch_field_f64(struct batch *b, enum field f, double v);
void batch_field_str(struct batch *b, enum field f, struct slice v);
void batch_field_id64(struct batch *b, enum field f, uint64_t v);
void batch_field_id128(struct batch *b, enum field f, struct id128 v);

// Reading. Position of the row's value in the column, or -1.
int64_t column_find(const struct column *c, uint32_t row);
// The same for walks over mostly ascending rows: *hint (start at 0) keeps the place.
int64_t column_find_hint(const struct column *c, uint32_t row, uint32_t *hint);
size_t column_width(enum col_kind k); // bytes of one value in the array
static inline bool column_is_text(enum col_kind k)
{
    return k == COL_STR || k == COL_BYTES || k == COL_ANY;
} // uses .s
// Typed look-ups with a default; c may be null.
struct slice column_str(const struct column *c, uint32_t row);
int64_t column_i64(const struct column *c, uint32_t row, int64_t otherwise);
uint64_t column_id64(const struct column *c, uint32_t row);
struct id128 column_id128(const struct column *c, uint32_t row);
bool column_value(const struct column *c, uint32_t row, struct value *out);
struct value column_at(const struct column *c, uint32_t i); // the i-th value, i < n
// First column of that scope and name that has a value for the row; false if none.
bool batch_attr(const struct batch *b, enum col_scope scope, struct slice name, uint32_t row, struct value *out);
const struct attr *resource_attr(const struct resource *r, struct slice key); // null if none
struct slice resource_label(const struct resource *r, struct slice name);     // empty if none

// Text of a value as LogQL shows it: numbers in shortest form, true/false, AnyValue as JSON, bytes as base64, ids hex.
void value_text(struct buf *out, const struct value *v);
void value_json(struct jw *w, const struct value *v); // typed JSON: numbers as numbers
// The identity of a row for "the same event sent twice": resource, time, and all fields and attributes (logs) or
// trace id, span id, kind, name and duration (spans), or value (samples; of metadata all). Independent of the order of columns.
uint64_t batch_row_hash(const struct batch *b, uint32_t row);
// The same for all rows at once, column by column (much cheaper); out has room for b->rows.
void batch_row_hashes(const struct batch *b, uint64_t *out);
// Computes both hashes from labels and attrs.
void resource_identify(struct resource *r);
// The number in `to` of a resource of another batch: found by its hash, else added with all its strings copied.
uint32_t batch_resource_copy(struct batch *to, const struct resource *r);
// Appends row `row` of `from` (strings copied) to `to`, for a few rows; batch_merge is the fast way for many.
void batch_copy_row(struct batch *to, const struct batch *from, uint32_t row);
// New sealed batch with the rows of all, sorted by (labels_hash, resource hash, time, order given);
// samples by (labels, time, order given). Null on failure.
struct batch *batch_merge(struct batch *const *in, size_t n, size_t max);
