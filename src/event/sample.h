// What a sample holds beside a number: native histograms and exemplars, as the bytes of FIELD_HISTOGRAM and FIELD_EXEMPLARS.
// Encoding and decoding are pure; the bytes go to disk, so a change needs a new first byte.
// Thread rule: none, except that an arena belongs to one thread at a time.
#pragma once
#include "event/batch.h"
#include <math.h>

// Prometheus' marker "the series has ended here". It is told from other NaN by its bits, so values are copied as bits.
#define SAMPLE_STALE 0x7ff0000000000002ull

// FIELD_FLAGS: the value counts from the sample before; the row is not to be written by write2_encode
enum { SAMPLE_DELTA = 1, SAMPLE_DROPPED = 2 };

static inline uint64_t sample_bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}
static inline double sample_from_bits(uint64_t u)
{
    double v;
    memcpy(&v, &u, sizeof v);
    return v;
}
static inline bool sample_is_stale(double v)
{
    return sample_bits(v) == SAMPLE_STALE;
}
// Of two different values of one series at one time: whether b takes the place of a. A number beats NaN, NaN beats the stale
// marker, the larger number the smaller (of a counter, it is the later).
static inline bool sample_wins(double a, double b)
{
    if (sample_is_stale(a) || sample_is_stale(b))
        return sample_is_stale(a);
    return isnan(a) ? !isnan(b) : b > a;
}

// ---- native histograms ----------------------------------------------------------------------------------------------
// The model of Prometheus. schema -4 … 8: the upper bound of bucket i is 2^(i * 2^-schema), inclusive; on the negative side
// the same with a minus. HISTOGRAM_CUSTOM: bounds[i] is the upper bound of bucket i, the last bucket is open, positive only.
enum { HISTOGRAM_SCHEMA_MIN = -4, HISTOGRAM_SCHEMA_MAX = 8, HISTOGRAM_CUSTOM = -53, MAX_HISTOGRAM_BUCKETS = 1 << 16 };
enum histogram_hint { HISTOGRAM_HINT_UNKNOWN, HISTOGRAM_HINT_RESET, HISTOGRAM_HINT_NO_RESET, HISTOGRAM_HINT_GAUGE };

struct histogram_span {
    int32_t offset;  // of the first: the index of its first bucket; else empty buckets since the span before
    uint32_t length; // buckets in a row
};
struct histogram_side {
    struct histogram_span *spans;
    double *counts;      // of each bucket by itself, one for each that the spans name (neither running totals nor differences)
    uint32_t n_spans, n; // n = sum of lengths
};
struct histogram_sample {
    int32_t schema;
    enum histogram_hint hint;
    double zero_threshold, zero_count; // observations with |v| <= zero_threshold
    double count, sum;                 // a stale marker is a histogram whose sum is SAMPLE_STALE
    struct histogram_side positive, negative;
    double *bounds; // HISTOGRAM_CUSTOM only
    uint32_t n_bounds;
};

// Appends the bytes. Whole counts take 1 or 2 bytes a bucket.
void histogram_encode(const struct histogram_sample *h, struct buf *out);
// Arrays come from the arena. ERR_CORRUPT for bytes that are no histogram, ERR_LIMIT when the arena's budget is over.
enum errc histogram_decode(struct slice bytes, struct arena *a, struct histogram_sample *out);

// x + y in the coarser of both schemas and with the wider zero bucket; arrays come from the arena. ERR_UNSUPPORTED for custom
// bounds, ERR_LIMIT when the arena's budget is over.
enum errc histogram_add(const struct histogram_sample *x, const struct histogram_sample *y, struct arena *a,
                        struct histogram_sample *out);

// ---- exemplars ------------------------------------------------------------------------------------------------------
// The exemplars of a sample stand one behind the other.
enum { MAX_EXEMPLAR_LABELS = 32 };
struct exemplar {
    int64_t time; // whole milliseconds in ns; 0: not known
    double value;
    uint32_t n_labels;
    struct label labels[MAX_EXEMPLAR_LABELS]; // sorted; trace_id and span_id are among them, in hex, where they were given
};
// Labels over the maximum are left out.
void exemplar_encode(const struct exemplar *e, struct buf *out);
// Takes the first off *bytes; texts point into them. False at the end, and where the bytes make no sense.
bool exemplar_next(struct slice *bytes, struct exemplar *out);
