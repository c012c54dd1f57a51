// Metric expressions: a tree that a language's planner builds and expr_eval() evaluates over all steps. Nodes live in
// the plan's arena and are read-only: any number of threads may evaluate one plan.
#pragma once
#include "query/matrix.h"

// X(name, text, needs unwrap, takes by/without)
#define RANGE_LIST(X)                             \
    X(COUNT, "count_over_time", false, false)     \
    X(RATE, "rate", false, false)                 \
    X(BYTES, "bytes_over_time", false, false)     \
    X(BYTES_RATE, "bytes_rate", false, false)     \
    X(ABSENT, "absent_over_time", false, false)   \
    X(SUM, "sum_over_time", true, false)          \
    X(AVG, "avg_over_time", true, true)           \
    X(MIN, "min_over_time", true, true)           \
    X(MAX, "max_over_time", true, true)           \
    X(STDDEV, "stddev_over_time", true, true)     \
    X(STDVAR, "stdvar_over_time", true, true)     \
    X(QUANTILE, "quantile_over_time", true, true) \
    X(FIRST, "first_over_time", true, true)       \
    X(LAST, "last_over_time", true, true)         \
    X(RATE_COUNTER, "rate_counter", true, false)
enum range_fn {
#define X(name, text, unwrap, group) RANGE_##name,
    RANGE_LIST(X)
#undef X
        RANGE_COUNT_
};
const char *range_text(enum range_fn f);
bool range_needs_unwrap(enum range_fn f);
bool range_may_group(enum range_fn f);

// X(name, text, takes a number, may be grouped)
#define AGG_LIST(X)                                                                   \
    X(SUM, "sum", false, true)                                                        \
    X(AVG, "avg", false, true)                                                        \
    X(MIN, "min", false, true)                                                        \
    X(MAX, "max", false, true)                                                        \
    X(COUNT, "count", false, true)                                                    \
    X(STDDEV, "stddev", false, true)                                                  \
    X(STDVAR, "stdvar", false, true)                                                  \
    X(TOPK, "topk", true, true)                                                       \
    X(BOTTOMK, "bottomk", true, true)                                                 \
    X(APPROX_TOPK, "approx_topk", true, false) /* exact here; instant queries only */ \
    X(SORT, "sort", false, false)                                                     \
    X(SORT_DESC, "sort_desc", false, false)
enum agg_fn {
#define X(name, text, param, group) AGG_##name,
    AGG_LIST(X)
#undef X
        AGG_COUNT_
};
const char *agg_text(enum agg_fn f);
bool agg_takes_number(enum agg_fn f);
bool agg_may_group(enum agg_fn f);

enum binary_op {
    BIN_ADD,
    BIN_SUB,
    BIN_MUL,
    BIN_DIV,
    BIN_MOD,
    BIN_POW,
    BIN_EQ,
    BIN_NE,
    BIN_GT,
    BIN_GE,
    BIN_LT,
    BIN_LE,
    BIN_AND,
    BIN_OR,
    BIN_UNLESS
};
const char *binary_text(enum binary_op op);
static inline bool binary_compares(enum binary_op op)
{
    return op >= BIN_EQ && op <= BIN_LE;
}
static inline bool binary_is_set(enum binary_op op)
{
    return op >= BIN_AND;
}
// A comparison gives 1 or 0.
double binary_number(enum binary_op op, double a, double b);

struct expr_range {
    enum range_fn fn;
    double param; // quantile
    struct selector selector;
    struct pipeline pipeline;
    int64_t range, offset;
    bool unwrap;               // an unwrap stage is in the pipeline
    struct slice unwrap_label; // leaves the series' labels
    struct grouping group;     // of the aggregation itself
    struct grouping project;   // of a sum around it: `given` means that only these labels matter
    bool projected;            // a sum is around it (then project may be "no labels at all")
    bool count_parser_errors;  // rows with errors of parsers are counted, because a filter let them through
};
struct expr_agg {
    enum agg_fn fn;
    double param;
    struct grouping group;
    struct expr *arg;
};
struct expr_binary {
    enum binary_op op;
    struct expr *left, *right;
    bool is_bool;
    bool on, ignoring; // matching by `labels`
    struct slice *labels;
    uint32_t n_labels;
    enum { CARD_ONE, CARD_MANY_LEFT, CARD_MANY_RIGHT } card; // group_left: many on the left
    struct slice *include;
    uint32_t n_include;
};
struct expr_replace {
    struct expr *arg;
    struct slice dst, replacement, src;
    struct regex *re; // anchored
};

struct expr {
    enum { EXPR_RANGE, EXPR_AGG, EXPR_BINARY, EXPR_SCALAR, EXPR_VECTOR, EXPR_REPLACE } kind;
    union {
        struct expr_range range;
        struct expr_agg agg;
        struct expr_binary bin;
        struct expr_replace replace;
        double number; // SCALAR, VECTOR
    };
};

// Steps: start, start + step, … ; `steps` of them.
struct expr_env {
    struct query *q;
    int64_t start, step;
    uint32_t steps;
};
// Errors: ERR_INPUT for what the client's data or query got wrong (pipeline errors, ambiguous matching), ERR_LIMIT …
enum errc expr_eval(const struct expr *e, const struct expr_env *env, struct matrix *out, struct error *err);
// One file a kind; called by expr_eval.
enum errc expr_eval_range(const struct expr_range *e, const struct expr_env *env, struct matrix *out, struct error *err);
enum errc expr_eval_agg(const struct expr_agg *e, const struct expr_env *env, struct matrix *out, struct error *err);
enum errc expr_eval_binary(const struct expr_binary *e, const struct expr_env *env, struct matrix *out, struct error *err);
enum errc expr_eval_replace(const struct expr_replace *e, const struct expr_env *env, struct matrix *out, struct error *err);
