// PromQL: text to a checked tree, and the tree to canonical text.
//
//   struct promql *q = NULL;
//   if (promql_parse(&q, text, &err) == ERR_OK) promql_print(q->root, &out);
//   promql_free(q);
//
// Errors are ERR_SYNTAX, "LINE:COLUMN: parse error: what, and what to do". A tree never changes after promql_parse and may be
// evaluated by several threads (engine.h).
#pragma once
#include "promql/ast.h"

struct json;
struct jw;

struct promql {
    struct arena arena;
    struct regex_list regexes;
    struct slice text; // a copy
    struct prom_node *root;
};

// The text is copied. *out is set also on failure of the checks, so that promql_free suits both.
enum errc promql_parse(struct promql **out, struct slice text, struct error *err);
// Only a selector like x{a="b"} (what match[] takes); others are refused.
enum errc promql_parse_selector(struct promql **out, struct slice text, struct error *err);
void promql_free(struct promql *q); // null is fine

// One line. promql_print_pretty breaks what is longer than 100 characters into indented lines.
void promql_print(const struct prom_node *n, struct buf *out);
void promql_print_pretty(const struct prom_node *n, struct buf *out);
// The tree as JSON, as /api/v1/parse_query gives it.
void promql_json(const struct prom_node *n, struct jw *w);
// A whole number of milliseconds as 1h30m.
void prom_duration_put(struct buf *out, int64_t ms);
// A float as Go's %v prints it (exponent below 1e-4 and from 1e6 on), and as its 'f' format (never an exponent).
void prom_float_v(struct buf *out, double v);
void prom_float_f(struct buf *out, double v);
// As in JSON answers: 'f', but an exponent below 1e-6 and from 1e21 on.
void prom_float_json(struct buf *out, double v);
// "1h30m", "500ms", "5m": units in falling order, each once. False for anything else, also where it does not fit.
bool prom_duration_read(struct slice s, int64_t *ms);
// "…" with escapes.
void prom_quote(struct buf *out, struct slice s);
// Whether the name may stand without quotes: [a-zA-Z_][a-zA-Z0-9_]*, with colons where `metric`.
bool prom_name_plain(struct slice s, bool metric);
