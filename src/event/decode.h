// What all decoders share. Inside event/ only.
#pragma once
#include "base/json.h"
#include "base/limits.h"
#include "base/pb.h"
#include "event/wire.h"

struct decode_family { // what becomes a metadata row at the end
    struct slice name, type, unit, description;
};

struct decode {
    struct batch *b;
    struct slice bytes; // the request, for positions in messages
    const struct wire_options *opt;
    struct wire_report *report;
    struct error *err;
    struct decode_family *families;
    uint32_t n_families, cap_families;
};

// Counts n refused rows; the first reasons are kept.
void decode_reject(struct decode *d, uint32_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4), nonnull(3)));
// For %.*s: as many bytes of a text as a message quotes, ending between characters.
int decode_shown(struct slice s);
// s itself when it is UTF-8, else a cleaned copy in the arena.
struct slice decode_text(struct decode *d, struct slice s);
// A reader of a part of the request; errors name the byte in the whole where the part lies inside it.
void decode_part(struct decode *d, struct pb *r, struct slice part);
// A sub-message that came again: by the rules of protobuf the two, one behind the other, are the merged message.
void decode_merge(struct decode *d, struct slice *have, struct slice more);

// The formats. False: d->err is raised (or memory ran out: d->b->failed).
bool decode_otlp(struct decode *d, struct slice pb);
bool decode_otlp_json(struct decode *d, struct slice json);
bool decode_loki_pb(struct decode *d, struct slice pb);
bool decode_loki_json(struct decode *d, struct slice json);
bool decode_write1(struct decode *d, struct slice pb);
bool decode_write2(struct decode *d, struct slice pb);
bool decode_metrics_text(struct decode *d, struct slice text);

// ---- OTLP -----------------------------------------------------------------------------------------------------------
struct scope {
    struct slice name, version;
    struct attr *attrs;
    uint32_t n_attrs;
};
// One record of a request into one row (or none, when refused).
bool decode_log_record(struct decode *d, struct pb *r, uint32_t resource, const struct scope *s);
bool decode_span(struct decode *d, struct pb *r, uint32_t resource, const struct scope *s);
void decode_scope(struct decode *d, const struct scope *s); // the current row's scope columns
// The scope of an encoded InstrumentationScope.
bool decode_scope_message(struct decode *d, struct slice message, struct scope *out);
// What a group begins with: its resource or scope, from wherever r stands.
bool decode_group_head(struct decode *d, struct pb r, struct slice *out);
// The KeyValues in field `field` of a message, as an array in the arena.
bool decode_attrs(struct decode *d, struct slice message, uint32_t field, struct attr **out, uint32_t *n);
// Resource attributes that become labels of all signals: at most MAX_PROMOTED, service_name always. Not sorted.
enum { MAX_PROMOTED = 18 };
uint32_t decode_promoted(struct decode *d, const struct attr *attrs, uint32_t n_attrs, struct label labels[MAX_PROMOTED]);
struct slice decode_label_value(struct decode *d, const struct value *v); // any value as text
// A ResourceMetrics message: r at its start, resource its first field.
bool decode_resource_metrics(struct decode *d, struct pb *r, struct slice resource);
// An AnyValue, checked and cleaned. False when it cannot be read.
bool decode_any(struct decode *d, struct slice any, struct value *out);
// A KeyValue message, likewise.
bool decode_attr(struct decode *d, struct slice message, struct attr *out);
static inline int64_t decode_time(uint64_t t)
{
    return t > INT64_MAX ? INT64_MAX : (int64_t)t;
}
static inline uint64_t load_be64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}

// ---- samples --------------------------------------------------------------------------------------------------------
// What becomes a row beside its series and time.
struct sample {
    double value;
    struct slice histogram; // not empty: instead of value
    struct slice exemplars;
    int64_t start; // ns, 0: not known
    bool delta;
    bool alone; // exemplars only
};
// Sorts the labels and starts a row. False (and counted as refused): no or a bad __name__, a label twice, too many.
// The arrays' strings must be in the arena or in the request.
bool decode_sample(struct decode *d, struct label *labels, uint32_t n, int64_t time_ns, const struct sample *s);
// The row of a series that is known already.
void decode_sample_of(struct decode *d, uint32_t series, int64_t time_ns, const struct sample *s);
int64_t sample_time(const struct decode *d, int64_t ns); // whole milliseconds; below one: time of arrival
// A metadata row for the end of the request, where repeated ones are cheap to leave out.
void decode_metadata(struct decode *d, const struct decode_family *f);
void decode_metadata_rows(struct decode *d); // writes them, each once

// ---- Loki push ------------------------------------------------------------------------------------------------------
struct loki_stream {
    struct label labels[MAX_STREAM_LABELS + 1]; // and service_name
    uint32_t n;
    bool bad;          // its entries are refused
    char why[160];     // bad: the reason
    uint32_t resource; // not bad
    uint32_t refused;  // bad: entries so far
};
// Adds a label while reading; too many make the stream bad.
void loki_label(struct decode *d, struct loki_stream *s, struct slice name, struct slice value);
// The text {a="b", c="d"} with Go's escapes.
void loki_labels_text(struct decode *d, struct loki_stream *s, struct slice text);
// Checks the labels and finds the resource.
void loki_stream_ready(struct decode *d, struct loki_stream *s);
// Starts a row for a line, or counts it as refused and returns false.
bool loki_entry(struct decode *d, struct loki_stream *s, int64_t time, struct slice line);
// Structured metadata of the current row; false: the row was refused and taken back.
struct loki_metadata {
    uint32_t n;
    size_t bytes;
};
bool loki_metadata(struct decode *d, struct loki_metadata *m, struct slice name, struct slice value);
// Counts the refused entries of a bad stream.
void loki_stream_end(struct decode *d, struct loki_stream *s);
