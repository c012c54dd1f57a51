// Shared by the two halves of the parser.
#pragma once
#include "logql/ast.h"
#include "logql/lex.h"

struct parser {
    struct lex lex;
    int depth, operators;
    char found[64];
};

bool parse_selector(struct parser *p, struct ast *a);
// Stages up to the first token that starts none. unwrap: whether | unwrap is allowed.
bool parse_pipeline(struct parser *p, struct ast *a, bool unwrap);

bool deeper(struct parser *p);
bool one_more(struct parser *p); // operator
bool expect(struct parser *p, enum tok t, const char *where);
const char *found_text(struct parser *p);
void *node(struct parser *p, size_t size); // zeroed
// Makes room for element n of an array that grows by doubling.
bool push(struct parser *p, void **array, uint32_t n, size_t size);
bool take_ident(struct parser *p, struct slice *out, const char *what);
bool take_string(struct parser *p, struct slice *out, const char *what);
