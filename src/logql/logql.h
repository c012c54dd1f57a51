// LogQL: text → tree → text, and tree → plan of the query engine.
//
//   struct logql *q; logql_parse(&q, text, &err);     syntax, types of legs, numbers in range
//   logql_print(q, &buf);                              canonical form on one line
//   struct logql_plan *p; logql_plan(&p, q, 0, &err);  regular expressions, templates, paths are compiled here
//
// Errors name line and column of the query (both from 1; columns count bytes); logql_error_at gives the byte for a
// caret. A function that is not known, or not yet supported, is named.
// Thread rule: a tree and a plan are read-only once made.
#pragma once
#include "base/buf.h"
#include "query/expr.h"
#include "query/logs.h"

struct logql;
enum errc logql_parse(struct logql **out, struct slice text, struct error *err);
void logql_free(struct logql *q); // null is fine
void logql_print(const struct logql *q, struct buf *out);
// A metric query; else a log query.
bool logql_is_metric(const struct logql *q);
// Line and column of a parse error's message, in bytes from the start; -1 if the message has none.
long logql_error_at(struct slice text, const struct error *err);

enum {
    LOGQL_ALLOW_EMPTY = 1, // selectors that match everything, as /series and /volume take them
};

struct logql_plan {
    struct logql *owned; // by logql_compile; logql_plan's tree must outlive the plan
    struct arena arena;
    struct regex_list regexes;
    bool metric;
    struct log_query logs; // not metric: selector and pipeline are set
    struct expr *expr;     // metric
};
enum errc logql_plan(struct logql_plan **out, const struct logql *q, unsigned flags, struct error *err);
void logql_plan_free(struct logql_plan *p); // null is fine
// Parses and plans; the text may go afterwards.
enum errc logql_compile(struct logql_plan **out, struct slice text, unsigned flags, struct error *err);
