// The tree of a TraceQL query: made by parse.c, read by match.c.
#pragma once
#include "query/regex.h"
#include "traceql/traceql.h"

enum node_kind { NODE_TRUE, NODE_AND, NODE_OR, NODE_NOT, NODE_COMPARE, NODE_EXISTS };
enum target { ATTR_ANY, ATTR_SPAN, ATTR_RESOURCE, NAME, DURATION, STATUS, STATUS_MESSAGE, KIND, SPAN_ID, PARENT_ID, TRACE_ID };
enum op { EQ, NE, LT, LE, GT, GE, RE, NRE };
enum lit_kind { LIT_STR, LIT_INT, LIT_FLOAT, LIT_DURATION, LIT_BOOL, LIT_STATUS, LIT_KIND, LIT_NIL };

struct literal {
    enum lit_kind kind;
    struct slice s;
    int64_t i;
    double f;
};

struct node {
    enum node_kind kind;
    struct node *a, *b;
    enum target target;
    struct slice name;
    enum op op;
    struct literal lit;
    bool any_type; // a tag of the legacy syntax: compared by its text
    struct regex *re;
    struct node *next_regex; // all that own a regex, to free them
};

struct traceql {
    struct node *root;
    struct node *regexes;
};
