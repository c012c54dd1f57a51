// The messages of OTLP (opentelemetry-proto 1.x: common, resource, logs, trace, metrics) as tables: names of the JSON mapping,
// field numbers, types. One table serves the reader of JSON, its writer, and the check of messages that are kept encoded.
#pragma once
#include "base/json.h"
#include "base/pb.h"

enum otlp_type {
    OTLP_STRING,
    OTLP_HEX,     // bytes; JSON: hex digits
    OTLP_BASE64,  // bytes; JSON: base64
    OTLP_U32,     // varint; JSON: number (enums too)
    OTLP_I64,     // varint; JSON: string
    OTLP_FIXED64, // JSON: string
    OTLP_SFIXED64,
    OTLP_U64, // varint; JSON: string
    OTLP_S32, // zigzag varint; JSON: number
    OTLP_FIXED32,
    OTLP_DOUBLE,
    OTLP_BOOL,
    OTLP_MESSAGE,
};

struct otlp_message;
struct otlp_field {
    uint32_t number;
    enum otlp_type type;
    bool repeated; // numbers: packed on the wire (read unpacked, too)
    struct slice json;
    const struct otlp_message *message; // OTLP_MESSAGE only
};
struct otlp_message {
    const struct otlp_field *fields; // ascending by number
    uint32_t n;
    bool oneof; // all fields are alternatives: the last one on the wire counts
};

extern const struct otlp_message otlp_any_value, otlp_key_value, otlp_span, otlp_log_record, otlp_logs_request,
    otlp_traces_request, otlp_metrics_request;

const struct otlp_field *otlp_field_by_number(const struct otlp_message *m, uint32_t number); // null if unknown
const struct otlp_field *otlp_field_by_name(const struct otlp_message *m, struct slice json);

bool otlp_packed(const struct otlp_field *f, enum pb_wire wire); // the value holds many numbers

// Walks the rest of r and everything below it. False (r->failed) when something cannot be read; *dirty is set when a string
// is not UTF-8.
bool otlp_check(struct pb *r, const struct otlp_message *m, bool *dirty);
// Copies the rest of r, with invalid UTF-8 in strings replaced by U+FFFD.
bool otlp_clean(struct pb *r, const struct otlp_message *m, struct buf *out);
// JSON → protobuf. False: j has failed. Unknown names and nulls are skipped.
bool otlp_from_json(struct json *j, const struct otlp_message *m, struct buf *out);
// Protobuf → JSON, the rest of r as one object. False (r->failed) when something cannot be read.
bool otlp_to_json(struct pb *r, const struct otlp_message *m, struct jw *w);
