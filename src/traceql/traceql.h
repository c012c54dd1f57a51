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
// What a query names: an attribute (of the span, of the resource, or of either), or a field of the span.
struct traceql_named {
    enum field field; // FIELD_STATUS, FIELD_KIND, FIELD_STATUS_MESSAGE; FIELD_NONE: an attribute
    struct slice name;
    bool span, resource; // where the attribute is looked for
};
// The attributes and the three fields above that the query names, once each, in its order: what a search shows of each span.
// Returns how many were written; no more than max.
size_t traceql_names(const struct traceql *q, struct traceql_named *out, size_t max);
// Whether a condition is about the span's name: only then does Tempo's search tell it.
bool traceql_mentions_name(const struct traceql *q);
void traceql_free(struct traceql *q); // regular expressions; null is fine
