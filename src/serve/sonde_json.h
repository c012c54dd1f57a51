// Requests as JSON: the shapes of docs/api-sonde.md. Each function writes one value, or keys of the object that is open.
#pragma once
#include "analyze/request.h"
#include "base/json.h"

// phases: with the consecutive phases, as in the list.
void sonde_write_summary(struct jw *w, const struct trace *t, const struct request_logs *logs, const struct request *r,
                         bool phases);
void sonde_write_lanes(struct jw *w, const struct request *r); // keys services, phases, lanes
void sonde_write_spans(struct jw *w, const struct trace *t);
void sonde_write_logs(struct jw *w, const struct request_logs *logs);
void sonde_write_failure(struct jw *w, const struct request *r); // keys failure, notes

// A key and its value.
void json_key_str(struct jw *w, const char *key, struct slice s);
void json_key_ns(struct jw *w, const char *key, int64_t ns); // as text: JavaScript's numbers are too small
void json_key_ms(struct jw *w, const char *key, int64_t ns); // milliseconds, a number
void json_key_bool(struct jw *w, const char *key, bool v);
void json_key_id128(struct jw *w, const char *key, struct id128 id);
