// W3C Trace Context (Level 2, second edition) and x-request-id: strict parsing and writing of header values.
#pragma once
#include "base/slice.h"
#include <sonde/sonde.h>

enum { CONTEXT_STATE_MEMBERS = 32, CONTEXT_REQUEST_ID = 128 };

// One traceparent value, blanks and tabs around it allowed. False: invalid, out untouched.
bool traceparent_parse(struct sonde_context *out, struct slice value);
// tracestate values in the order of their headers; the joined list goes to out (at least 512 bytes: whole members are left out
// to fit, those longer than 128 bytes first, then from the right). False: malformed, out is "".
bool tracestate_parse(char out[513], const struct slice *values, size_t n);
bool request_id_valid(struct slice value);
