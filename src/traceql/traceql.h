// TraceQL, its first part: one spanset filter, { condition && (condition || …) }, over attributes and span intrinsics.
// Whatever else the language has (pipelines, structural operators, metrics) is refused with an error that names it.
#pragma once
#include "event/batch.h"

struct traceql;

// text: the query; "" and "{}" match every span. Everything lives in the arena. Errors name the position.
enum errc traceql_parse(struct slice text, struct arena *arena, struct traceql **out, struct error *err);
bool traceql_match(const struct traceql *q, const struct batch *b, uint32_t row);
// Adds a condition key = value (legacy `tags`), attribute of any scope, joined by &&.
enum errc traceql_add_tag(struct traceql *q, struct arena *arena, struct slice key, struct slice value, struct error *err);
void traceql_free(struct traceql *q); // regular expressions; null is fine
