// W3C Trace Context (Level 2, second edition) and x-request-id: strict parsing and writing of header values.
#pragma once
#include "base/buf.h"
#include <sonde/sonde.h>

enum { CONTEXT_STATE_MEMBERS = 32, CONTEXT_REQUEST_ID = 128 };
// Of baggage: what goes in and out of a header, and members that one object holds.
enum { BAGGAGE_MEMBERS = 64, BAGGAGE_BYTES = 8192, BAGGAGE_HELD_MAX = 4096 };

// One traceparent value, blanks and tabs around it allowed. False: invalid, out untouched.
bool traceparent_parse(struct sonde_context *out, struct slice value);
// tracestate values in the order of their headers; the joined list goes to out (at least 512 bytes: whole members are left out
// to fit, those longer than 128 bytes first, then from the right). False: malformed, out is "".
bool tracestate_parse(char out[513], const struct slice *values, size_t n);
bool request_id_valid(struct slice value);
// The value of one member, ended by a 0; false: not there, or longer than size - 1.
bool tracestate_find(const char *state, struct slice key, char *out, size_t size);
struct slice context_trim(struct slice s); // without blanks and tabs at both ends

// propagate.c: OTEL_PROPAGATORS.
void propagate_configure(struct buf *notes);
