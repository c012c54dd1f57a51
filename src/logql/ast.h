// The tree of a LogQL query. Nodes and strings live in the arena of struct logql.
#pragma once
#include "logql/logql.h"

// Operators bound the depth of a tree that leans to the left, and with it the stack of those who walk it.
enum { MAX_LOGQL_DEPTH = 200, MAX_LOGQL_MATCHERS = 1000, MAX_LOGQL_OPERATORS = 2000 };

struct ast_matcher {
    struct slice name, value;
    enum match_op op;
};

struct ast_filter { // label filter
    enum { AST_AND, AST_OR, AST_STRING, AST_NUMBER, AST_DURATION, AST_BYTES, AST_IP } kind;
    struct ast_filter *left, *right;
    struct slice name, text; // text: string, address
    enum match_op match;     // STRING
    enum cmp cmp;            // others
    double number;
};

struct ast_stage {
    enum {
        AST_LINE,
        AST_JSON,
        AST_LOGFMT,
        AST_REGEXP,
        AST_PATTERN,
        AST_UNPACK,
        AST_FILTER,
        AST_LINE_FORMAT,
        AST_LABEL_FORMAT,
        AST_DECOLORIZE,
        AST_DROP,
        AST_KEEP,
        AST_UNWRAP,
    } kind;
    size_t at; // byte of the query
    enum line_op line_op;
    struct line_filter_text *texts; // LINE
    struct stage_expr *exprs;       // JSON, LOGFMT
    struct stage_format *formats;   // LABEL_FORMAT
    struct ast_matcher *picks;      // DROP, KEEP; value.p == NULL: the name alone
    uint32_t n;
    bool strict, keep_empty;
    struct slice text;    // REGEXP, PATTERN, LINE_FORMAT; UNWRAP: the label
    struct slice convert; // UNWRAP: bytes, duration, duration_seconds or empty
    struct ast_filter *filter;
    struct ast_stage *next;
};

struct ast_group {
    bool given, without;
    struct slice *names;
    uint32_t n;
};

struct ast {
    enum { AST_LOG, AST_RANGE, AST_AGG, AST_BINARY, AST_NUMBER_LIT, AST_VECTOR, AST_REPLACE } kind;
    size_t at;
    // LOG, RANGE
    struct ast_matcher *matchers;
    uint32_t n_matchers;
    struct ast_stage *stages;
    // RANGE
    enum range_fn range_fn;
    int64_t range, offset;
    bool has_offset, unwrap;
    // AGG
    enum agg_fn agg_fn;
    // RANGE quantile, AGG topk, NUMBER_LIT, VECTOR
    double number;
    struct ast_group group;
    struct ast *left, *right; // AGG and REPLACE: left
    // BINARY
    enum binary_op op;
    bool is_bool, on, ignoring;
    int card; // 0, -1 group_left, 1 group_right
    struct slice *labels, *include;
    uint32_t n_labels, n_include;
    // REPLACE
    struct slice dst, replacement, src, regex;
};

struct logql {
    struct arena arena;
    struct slice text;
    struct ast *root;
};
