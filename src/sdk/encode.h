// OTLP messages of one log record or span, and the request around them (protobuf; the proto's field numbers stand in encode.c).
#pragma once
#include "sdk/line.h"

// LogRecord of the line, without tag.
void encode_log(struct buf *out, const struct line *l, int64_t observed_ns);
// Span, without tag.
void encode_span(struct buf *out, const struct bspan *s, int64_t end_ns);
// Resource message: service.name, service.instance.id (host:pid), process.pid, host.name, telemetry.sdk.*, then the attributes of
// "k=v,k2=v2" lists (later ones win).
void encode_resource(struct buf *out, const char *service, const char *const *lists, size_t n);
// One message of a queue.
struct encode_message {
    struct slice scope;
    size_t at, n; // in the queue's bytes
};
// Export{Logs,Trace}ServiceRequest of the messages: one resource, a scope for each different scope name.
void encode_request(struct buf *out, struct slice resource, const char *bytes, const struct encode_message *m, size_t n);
