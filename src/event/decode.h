// What all decoders share. Inside event/ only.
#pragma once
#include "base/json.h"
#include "base/limits.h"
#include "base/pb.h"
#include "event/wire.h"

struct decode {
    struct batch *b;
    struct slice bytes; // the request, for positions in messages
    const struct wire_options *opt;
    struct wire_report *report;
    struct error *err;
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

// ---- Loki push ------------------------------------------------------------------------------------------------------
struct loki_stream {
    struct label labels[MAX_STREAM_LABELS + 1]; // and service_name
    uint32_t n;
    bool bad;          // its entries are refused
    char why[160];     // bad: the reason
    uint32_t resource; // not bad
    uint32_t refused;  // bad: entries so far
};
void loki_bad(struct loki_stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
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
