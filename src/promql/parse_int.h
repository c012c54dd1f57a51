// Shared by the parser's files.
#pragma once
#include "base/limits.h"
#include "promql/lex.h"
#include "promql/promql.h"

enum { PROM_MAX_DEPTH = 200, PROM_MAX_ARGS = 64, PROM_MAX_MATCHERS = 64 };

struct prom_parser {
    struct prom_lex l;
    struct promql *q;
    int depth;
};

// All of these raise an error and return null or false when the text is wrong.
struct prom_node *prom_parse_selector(struct prom_parser *p, bool named);
struct prom_node *prom_node_new(struct prom_parser *p, enum prom_kind kind, enum prom_type type, uint32_t from);
bool prom_expect(struct prom_parser *p, enum prom_token t, const char *where, const char *want);
bool prom_unexpected(struct prom_parser *p, const char *where, const char *want);

// Types and what may go together.
bool prom_check_binary(struct prom_parser *p, struct prom_node *n);
bool prom_check_call(struct prom_parser *p, struct prom_node *n);
bool prom_check_aggregate(struct prom_parser *p, struct prom_node *n);
