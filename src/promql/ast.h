// PromQL's syntax tree. One struct for all kinds of nodes: which fields hold is said beside the kind.
// Everything lives in the arena of the struct promql; times and durations are whole milliseconds, as in Prometheus.
#pragma once
#include "promql/functions.h"
#include "query/match.h"

enum prom_kind {
    PROM_NUMBER,    // number; is_duration: it was written as one
    PROM_TEXT,      // text
    PROM_SELECTOR,  // name, matchers, and the modifiers
    PROM_RANGE,     // arg[0] is a selector, which carries the modifiers; range
    PROM_SUBQUERY,  // arg[0], range, step (0: the standard one), and the modifiers
    PROM_UNARY,     // op is PROM_SUB or PROM_ADD, arg[0]
    PROM_BINARY,    // op, arg[0], arg[1], bool_result, and the matching
    PROM_CALL,      // fn, args
    PROM_AGGREGATE, // agg, arg[0] the vector, arg[1] the parameter if any; grouping
    PROM_PAREN,     // arg[0]
};

// X(name, text, precedence, comparison, set operator)
#define PROM_OP_LIST(X)          \
    X(OR, "or", 1, 0, 1)         \
    X(AND, "and", 2, 0, 1)       \
    X(UNLESS, "unless", 2, 0, 1) \
    X(EQ, "==", 3, 1, 0)         \
    X(NE, "!=", 3, 1, 0)         \
    X(LE, "<=", 3, 1, 0)         \
    X(LT, "<", 3, 1, 0)          \
    X(GE, ">=", 3, 1, 0)         \
    X(GT, ">", 3, 1, 0)          \
    X(ADD, "+", 4, 0, 0)         \
    X(SUB, "-", 4, 0, 0)         \
    X(MUL, "*", 5, 0, 0)         \
    X(DIV, "/", 5, 0, 0)         \
    X(MOD, "%", 5, 0, 0)         \
    X(ATAN2, "atan2", 5, 0, 0)   \
    X(POW, "^", 6, 0, 0)
enum prom_op {
#define X(name, text, precedence, comparison, set) PROM_##name,
    PROM_OP_LIST(X)
#undef X
        PROM_OP_COUNT
};
struct prom_op_info {
    const char *text;
    int precedence;
    bool comparison, set;
};
extern const struct prom_op_info prom_ops[PROM_OP_COUNT];

// X(name, text, takes a parameter)
#define PROM_AGG_LIST(X)               \
    X(SUM, "sum", 0)                   \
    X(AVG, "avg", 0)                   \
    X(MIN, "min", 0)                   \
    X(MAX, "max", 0)                   \
    X(COUNT, "count", 0)               \
    X(GROUP, "group", 0)               \
    X(STDDEV, "stddev", 0)             \
    X(STDVAR, "stdvar", 0)             \
    X(TOPK, "topk", 1)                 \
    X(BOTTOMK, "bottomk", 1)           \
    X(QUANTILE, "quantile", 1)         \
    X(COUNT_VALUES, "count_values", 1) \
    X(LIMITK, "limitk", 1)             \
    X(LIMIT_RATIO, "limit_ratio", 1)
enum prom_agg {
#define X(name, text, param) PROM_AGG_##name,
    PROM_AGG_LIST(X)
#undef X
        PROM_AGG_N
};
struct prom_agg_info {
    const char *text;
    bool param;
};
extern const struct prom_agg_info prom_aggs[PROM_AGG_N];

enum prom_at { PROM_AT_NONE, PROM_AT_TIME, PROM_AT_START, PROM_AT_END };
enum prom_card { PROM_ONE_TO_ONE, PROM_MANY_TO_ONE, PROM_ONE_TO_MANY, PROM_MANY_TO_MANY };

struct prom_names {
    struct slice *s; // as written
    uint32_t n;
};

struct prom_node {
    enum prom_kind kind;
    enum prom_type type;
    uint32_t from, to; // bytes of the text
    struct prom_node **arg;
    uint32_t n_args;
    bool invariant; // the same at every step (promql_mark says so)
    double number;
    bool is_duration;
    struct slice text; // of PROM_TEXT
    // selectors
    struct slice name; // written before the braces; there is a matcher for it among the others
    struct matcher *matchers;
    uint32_t n_matchers;
    int64_t offset;
    enum prom_at at;
    int64_t at_ms;
    int64_t range, step;
    // operators
    enum prom_op op;
    bool bool_result;
    bool on, ignoring;             // which of the two was written
    struct prom_names match_names; // of on() or ignoring()
    enum prom_card card;
    struct prom_names include; // of group_left() or group_right()
    // calls and aggregations
    const struct prom_function *fn;
    enum prom_agg agg;
    bool without, grouped;
    struct prom_names grouping;
};
