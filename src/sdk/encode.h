// OTLP messages of one log record or span, and the request around them (protobuf; field numbers: event/otlp_numbers.h).
#pragma once
#include "sdk/line.h"

// LogRecord of the line, without tag.
void encode_log(struct buf *out, const struct line *l, int64_t observed_ns);
// Reads OTEL_LOGRECORD_ATTRIBUTE_…; what is over the limits is left out or cut, and counted in the record.
void encode_limits_read(void);
// Span, without tag.
void encode_span(struct buf *out, const struct bspan *s, int64_t end_ns);
// KeyValue as that field.
void encode_attr(struct buf *out, uint32_t field, struct slice key, enum sonde_type type, uint64_t u, struct slice s);

// Who made a record: only a name, or a tracer's scope.
struct encode_scope {
    struct slice name;
    const struct scope *more; // null: the name is all
};
struct encode_scope encode_span_scope(const struct bspan *s);
// One message of a queue.
struct encode_message {
    struct encode_scope scope;
    size_t at, n; // in the queue's bytes
};
// Export{Logs,Trace}ServiceRequest of the messages: one resource with its schema URL, a scope for each different one.
void encode_request(struct buf *out, struct slice resource, struct slice schema, const char *bytes,
                    const struct encode_message *m, size_t n);
