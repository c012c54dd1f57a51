// The grammar of expressions; log pipelines are in parse_pipeline.c. Recursive descent, one token of look-ahead.
#include "logql/parse.h"
#include "base/limits.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct ast *expr(struct parser *p, int min); // operators that bind stronger than min; null after an error

bool expect(struct parser *p, enum tok t, const char *where)
{
    if (p->lex.tok == t) {
        lex_next(&p->lex);
        return !p->lex.failed;
    }
    lex_fail(&p->lex, p->lex.at, "expected %s %s, found %s", tok_text(t), where, found_text(p));
    return false;
}

const char *found_text(struct parser *p)
{
    const struct lex *l = &p->lex;
    if (l->tok == TOK_IDENT)
        snprintf(p->found, sizeof p->found, "\"%.*s\"", (int)(l->s.n < 40 ? l->s.n : 40), l->s.p);
    else
        snprintf(p->found, sizeof p->found, "%s", tok_text(l->tok));
    return p->found;
}

void *node(struct parser *p, size_t size)
{
    void *n = arena_zalloc(p->lex.arena, size);
    if (!n)
        lex_fail(&p->lex, p->lex.at, "out of memory");
    return n;
}

bool push(struct parser *p, void **array, uint32_t n, size_t size)
{
    if (n & (n - 1)) // room for the next power of two is there
        return true;
    void *more = arena_grow(p->lex.arena, *array, n * size, (n ? n * 2 : 1) * size);
    if (!more) {
        lex_fail(&p->lex, p->lex.at, "out of memory");
        return false;
    }
    *array = more;
    return true;
}

bool take_ident(struct parser *p, struct slice *out, const char *what)
{
    if (p->lex.tok != TOK_IDENT) {
        lex_fail(&p->lex, p->lex.at, "expected %s, found %s", what, found_text(p));
        return false;
    }
    *out = p->lex.s;
    lex_next(&p->lex);
    return !p->lex.failed;
}

bool take_string(struct parser *p, struct slice *out, const char *what)
{
    if (p->lex.tok != TOK_STRING) {
        lex_fail(&p->lex, p->lex.at, "expected %s in quotes, found %s", what, found_text(p));
        return false;
    }
    *out = p->lex.s.p ? p->lex.s : SLICE("");
    lex_next(&p->lex);
    return !p->lex.failed;
}

static bool names(struct parser *p, struct slice **out, uint32_t *n, const char *what)
{
    *n = 0;
    if (!expect(p, TOK_LPAREN, what))
        return false;
    if (p->lex.tok != TOK_RPAREN) {
        do {
            if (*n)
                lex_next(&p->lex);
            if (!push(p, (void **)out, *n, sizeof **out) || !take_ident(p, &(*out)[*n], "a label name"))
                return false;
            (*n)++;
        } while (p->lex.tok == TOK_COMMA);
    }
    return expect(p, TOK_RPAREN, what);
}

static bool at_grouping(const struct parser *p)
{
    return lex_word(&p->lex, "by") || lex_word(&p->lex, "without");
}

static bool grouping(struct parser *p, struct ast_group *g)
{
    if (g->given) {
        lex_fail(&p->lex, p->lex.at, "only one grouping (by or without) is allowed");
        return false;
    }
    g->given = true;
    g->without = lex_word(&p->lex, "without");
    lex_next(&p->lex);
    return names(p, &g->names, &g->n, "around the labels of by or without");
}

static struct ast *new_node(struct parser *p, int kind)
{
    struct ast *a = node(p, sizeof *a);
    if (a) {
        a->kind = kind;
        a->at = p->lex.at;
    }
    return a;
}

static bool signed_number(struct parser *p, double *out)
{
    double sign = 1;
    if (p->lex.tok == TOK_ADD || p->lex.tok == TOK_SUB) {
        sign = p->lex.tok == TOK_SUB ? -1 : 1;
        lex_next(&p->lex);
    }
    if (p->lex.tok != TOK_NUMBER) {
        lex_fail(&p->lex, p->lex.at, "expected a number, found %s", found_text(p));
        return false;
    }
    *out = sign * p->lex.number;
    lex_next(&p->lex);
    return !p->lex.failed;
}

// ---- range aggregations ---------------------------------------------------------------------------------------------

static bool offset(struct parser *p, struct ast *a)
{
    if (!lex_word(&p->lex, "offset"))
        return true;
    lex_next(&p->lex);
    bool negative = p->lex.tok == TOK_SUB;
    if (negative)
        lex_next(&p->lex);
    if (p->lex.tok != TOK_DURATION) {
        lex_fail(&p->lex, p->lex.at, "expected a duration like 5m behind offset, found %s", found_text(p));
        return false;
    }
    if (p->lex.number > (double)MAX_LOGQL_RANGE) {
        lex_fail(&p->lex, p->lex.at, "the offset is longer than 50 years");
        return false;
    }
    a->offset = (int64_t)(negative ? -p->lex.number : p->lex.number);
    a->has_offset = true;
    lex_next(&p->lex);
    return !p->lex.failed;
}

// What stands in the parentheses of a range aggregation: the range before or behind the pipeline.
static bool range_inner(struct parser *p, struct ast *a)
{
    if (p->lex.tok == TOK_LPAREN) {
        if (!deeper(p))
            return false;
        lex_next(&p->lex);
        if (!range_inner(p, a) || !expect(p, TOK_RPAREN, "around the log query"))
            return false;
        p->depth--;
    } else {
        if (!parse_selector(p, a) || !parse_pipeline(p, a, true))
            return false;
    }
    if (p->lex.tok == TOK_LBRACKET) {
        if (a->range >= 0) {
            lex_fail(&p->lex, p->lex.at, "only one range is allowed");
            return false;
        }
        bool had_stages = a->stages != NULL;
        if (!lex_range(&p->lex, &a->range) || !offset(p, a))
            return false;
        return had_stages || parse_pipeline(p, a, true);
    }
    return true;
}

static bool check_unwrap(struct parser *p, struct ast *a)
{
    bool needs = range_needs_unwrap(a->range_fn);
    bool may = needs || a->range_fn == RANGE_RATE || a->range_fn == RANGE_ABSENT;
    if (needs && !a->unwrap)
        lex_fail(&p->lex, a->at, "invalid aggregation %s without unwrap: it needs | unwrap LABEL in its log query",
                 range_text(a->range_fn));
    else if (a->unwrap && !may)
        lex_fail(&p->lex, a->at, "%s counts lines: it cannot be used with | unwrap", range_text(a->range_fn));
    return !p->lex.failed;
}

static struct ast *range_call(struct parser *p, enum range_fn fn)
{
    struct ast *a = new_node(p, AST_RANGE);
    if (!a)
        return NULL;
    a->range_fn = fn;
    a->range = -1;
    lex_next(&p->lex);
    if (!expect(p, TOK_LPAREN, "behind the function"))
        return NULL;
    if (fn == RANGE_QUANTILE) {
        size_t at = p->lex.at;
        if (!signed_number(p, &a->number) || !expect(p, TOK_COMMA, "behind the quantile"))
            return NULL;
        if (a->number < 0)
            lex_fail(&p->lex, at, "a quantile is not negative");
    }
    if (!range_inner(p, a))
        return NULL;
    if (a->range < 0) {
        lex_fail(&p->lex, p->lex.at, "%s needs a range like [5m] behind its log query", range_text(fn));
        return NULL;
    }
    if (!expect(p, TOK_RPAREN, "at the end of the function") || !check_unwrap(p, a))
        return NULL;
    if (at_grouping(p)) {
        if (!range_may_group(fn)) {
            lex_fail(&p->lex, p->lex.at, "grouping not allowed for %s aggregation; put one like sum by (…) around it",
                     range_text(fn));
            return NULL;
        }
        if (!grouping(p, &a->group))
            return NULL;
    }
    return a;
}

// ---- vector aggregations, functions ---------------------------------------------------------------------------------

static bool vector_only(struct parser *p, const struct ast *a, const char *what)
{
    if (a->kind == AST_LOG)
        lex_fail(&p->lex, a->at, "%s takes a metric, not log lines; put a function like rate(… [5m]) around them", what);
    else if (a->kind == AST_NUMBER_LIT)
        lex_fail(&p->lex, a->at, "%s takes a vector, not a number", what);
    return !p->lex.failed;
}

static struct ast *agg_call(struct parser *p, enum agg_fn fn)
{
    struct ast *a = new_node(p, AST_AGG);
    if (!a)
        return NULL;
    a->agg_fn = fn;
    lex_next(&p->lex);
    if (at_grouping(p) && !grouping(p, &a->group))
        return NULL;
    if (!expect(p, TOK_LPAREN, "behind the aggregation"))
        return NULL;
    if (agg_takes_number(fn)) {
        size_t at = p->lex.at;
        if (p->lex.tok != TOK_NUMBER && p->lex.tok != TOK_SUB && p->lex.tok != TOK_ADD) {
            lex_fail(&p->lex, at, "parameter required for %s: a number in front of the vector", agg_text(fn));
            return NULL;
        }
        if (!signed_number(p, &a->number) || !expect(p, TOK_COMMA, "behind the number"))
            return NULL;
        if (a->number < 1 || a->number != floor(a->number) || a->number > 1e9) {
            lex_fail(&p->lex, at, "invalid parameter for %s: it needs a whole number, 1 or more", agg_text(fn));
            return NULL;
        }
    }
    a->left = expr(p, 0);
    if (!a->left || !vector_only(p, a->left, agg_text(fn)) || !expect(p, TOK_RPAREN, "at the end of the aggregation"))
        return NULL;
    if (at_grouping(p) && !grouping(p, &a->group))
        return NULL;
    if (a->group.given && !agg_may_group(fn)) {
        lex_fail(&p->lex, a->at, "grouping not allowed for %s: it takes no by or without", agg_text(fn));
        return NULL;
    }
    return a;
}

static struct ast *vector_call(struct parser *p)
{
    struct ast *a = new_node(p, AST_VECTOR);
    if (!a)
        return NULL;
    lex_next(&p->lex);
    if (!expect(p, TOK_LPAREN, "behind vector"))
        return NULL;
    if (p->lex.tok != TOK_NUMBER) {
        lex_fail(&p->lex, p->lex.at, "expected a number without a sign, found %s", found_text(p));
        return NULL;
    }
    a->number = p->lex.number;
    lex_next(&p->lex);
    return expect(p, TOK_RPAREN, "behind the number") ? a : NULL;
}

static struct ast *replace_call(struct parser *p)
{
    struct ast *a = new_node(p, AST_REPLACE);
    if (!a)
        return NULL;
    lex_next(&p->lex);
    if (!expect(p, TOK_LPAREN, "behind label_replace"))
        return NULL;
    a->left = expr(p, 0);
    struct slice *to[] = {&a->dst, &a->replacement, &a->src, &a->regex};
    static const char *const what[] = {"the new label", "the replacement", "the source label", "the regular expression"};
    if (!a->left || !vector_only(p, a->left, "label_replace"))
        return NULL;
    for (int i = 0; i < 4; i++)
        if (!expect(p, TOK_COMMA, "between the arguments of label_replace") || !take_string(p, to[i], what[i]))
            return NULL;
    return expect(p, TOK_RPAREN, "at the end of label_replace") ? a : NULL;
}

static struct ast *call(struct parser *p)
{
    for (int i = 0; i < RANGE_COUNT_; i++)
        if (lex_word(&p->lex, range_text((enum range_fn)i)))
            return range_call(p, (enum range_fn)i);
    for (int i = 0; i < AGG_COUNT_; i++)
        if (lex_word(&p->lex, agg_text((enum agg_fn)i)))
            return agg_call(p, (enum agg_fn)i);
    if (lex_word(&p->lex, "vector"))
        return vector_call(p);
    if (lex_word(&p->lex, "label_replace"))
        return replace_call(p);
    lex_fail(&p->lex, p->lex.at, "unknown function %s", found_text(p));
    return NULL;
}

// ---- binary operations ----------------------------------------------------------------------------------------------

static int precedence(const struct lex *l, enum binary_op *op)
{
    switch (l->tok) {
    case TOK_EQEQ:
        *op = BIN_EQ;
        return 3;
    case TOK_NE:
        *op = BIN_NE;
        return 3;
    case TOK_GT:
        *op = BIN_GT;
        return 3;
    case TOK_GE:
        *op = BIN_GE;
        return 3;
    case TOK_LT:
        *op = BIN_LT;
        return 3;
    case TOK_LE:
        *op = BIN_LE;
        return 3;
    case TOK_ADD:
        *op = BIN_ADD;
        return 4;
    case TOK_SUB:
        *op = BIN_SUB;
        return 4;
    case TOK_MUL:
        *op = BIN_MUL;
        return 5;
    case TOK_DIV:
        *op = BIN_DIV;
        return 5;
    case TOK_MOD:
        *op = BIN_MOD;
        return 5;
    case TOK_POW:
        *op = BIN_POW;
        return 6;
    default:
        break;
    }
    if (lex_word(l, "or")) {
        *op = BIN_OR;
        return 1;
    }
    if (lex_word(l, "and")) {
        *op = BIN_AND;
        return 2;
    }
    if (lex_word(l, "unless")) {
        *op = BIN_UNLESS;
        return 2;
    }
    return 0;
}

static bool modifiers(struct parser *p, struct ast *a)
{
    if (lex_word(&p->lex, "bool")) {
        a->is_bool = true;
        if (!binary_compares(a->op))
            lex_fail(&p->lex, p->lex.at, "bool goes with comparisons only");
        lex_next(&p->lex);
    }
    a->on = lex_word(&p->lex, "on");
    a->ignoring = lex_word(&p->lex, "ignoring");
    if (!a->on && !a->ignoring)
        return !p->lex.failed;
    lex_next(&p->lex);
    if (!names(p, &a->labels, &a->n_labels, "around the labels of on or ignoring"))
        return false;
    if (!lex_word(&p->lex, "group_left") && !lex_word(&p->lex, "group_right"))
        return true;
    if (binary_is_set(a->op)) {
        lex_fail(&p->lex, p->lex.at, "%s takes no group_left or group_right", binary_text(a->op));
        return false;
    }
    a->card = lex_word(&p->lex, "group_left") ? -1 : 1;
    lex_next(&p->lex);
    if (p->lex.tok != TOK_LPAREN)
        return !p->lex.failed;
    // group_left(team) X or group_left (X): a list of names if it is one
    struct lex before = p->lex;
    lex_next(&p->lex);
    bool list = p->lex.tok == TOK_RPAREN;
    if (p->lex.tok == TOK_IDENT) {
        lex_next(&p->lex);
        list = p->lex.tok == TOK_COMMA || p->lex.tok == TOK_RPAREN;
    }
    if (p->lex.failed)
        return false;
    p->lex = before;
    return !list || names(p, &a->include, &a->n_include, "around the labels of group_left or group_right");
}

static bool check_legs(struct parser *p, const struct ast *a)
{
    const struct ast *leg[] = {a->left, a->right};
    for (int i = 0; i < 2; i++) {
        if (leg[i]->kind == AST_LOG)
            lex_fail(&p->lex, a->at, "%s works on metrics; log lines cannot be a side of it", binary_text(a->op));
        else if (leg[i]->kind == AST_NUMBER_LIT && binary_is_set(a->op))
            lex_fail(&p->lex, a->at, "unexpected literal for %s leg of logical/set binary operation (%s): it needs vectors",
                     i ? "right" : "left", binary_text(a->op));
        else if (leg[i]->kind == AST_NUMBER_LIT && (a->on || a->ignoring))
            lex_fail(&p->lex, a->at, "on and ignoring need vectors on both sides");
    }
    return !p->lex.failed;
}

// Numbers among themselves are worked out at once.
static struct ast *fold(struct ast *a)
{
    if (a->left->kind != AST_NUMBER_LIT || a->right->kind != AST_NUMBER_LIT)
        return a;
    double v = binary_number(a->op, a->left->number, a->right->number);
    if (isfinite(v)) { // NaN and infinities cannot be written as literals
        a->number = v;
        a->kind = AST_NUMBER_LIT;
    }
    return a;
}

bool deeper(struct parser *p)
{
    if (++p->depth <= MAX_LOGQL_DEPTH)
        return true;
    lex_fail(&p->lex, p->lex.at, "nested deeper than %d", MAX_LOGQL_DEPTH);
    return false;
}

bool one_more(struct parser *p)
{
    if (++p->operators <= MAX_LOGQL_OPERATORS)
        return true;
    lex_fail(&p->lex, p->lex.at, "more than %d operators", MAX_LOGQL_OPERATORS);
    return false;
}

static struct ast *primary(struct parser *p)
{
    struct ast *a = NULL;
    switch (p->lex.tok) {
    case TOK_LBRACE:
        a = new_node(p, AST_LOG);
        return a && parse_selector(p, a) && parse_pipeline(p, a, false) ? a : NULL;
    case TOK_LPAREN:
        lex_next(&p->lex);
        a = expr(p, 0);
        return a && expect(p, TOK_RPAREN, "to close the parenthesis") ? a : NULL;
    case TOK_NUMBER:
    case TOK_ADD:
    case TOK_SUB:
        a = new_node(p, AST_NUMBER_LIT);
        return a && signed_number(p, &a->number) ? a : NULL;
    case TOK_IDENT:
        return call(p);
    default:
        lex_fail(&p->lex, p->lex.at, "expected a selector like {app=\"x\"}, a function or a number, found %s", found_text(p));
        return NULL;
    }
}

static struct ast *expr(struct parser *p, int min)
{
    if (!deeper(p))
        return NULL;
    struct ast *left = primary(p);
    enum binary_op op = BIN_ADD;
    for (int prec; left && !p->lex.failed && (prec = precedence(&p->lex, &op)) > min;) {
        struct ast *a = one_more(p) ? new_node(p, AST_BINARY) : NULL;
        if (!a)
            return NULL;
        a->op = op;
        a->left = left;
        lex_next(&p->lex);
        if (!modifiers(p, a))
            return NULL;
        a->right = expr(p, op == BIN_POW ? prec - 1 : prec);
        if (!a->right || !check_legs(p, a))
            return NULL;
        left = fold(a);
    }
    p->depth--;
    return p->lex.failed ? NULL : left;
}

static void unexpected_end(struct parser *p)
{
    struct slice s = slice_cut(p->lex.s, 40);
    if (p->lex.tok == TOK_IDENT)
        lex_fail(&p->lex, p->lex.at, "unexpected %.*s behind the end of the query", (int)s.n, s.p);
    else
        lex_fail(&p->lex, p->lex.at, "unexpected %s behind the end of the query", tok_text(p->lex.tok));
}

enum errc logql_parse(struct logql **out, struct slice text, struct error *err)
{
    *out = NULL;
    if (text.n > MAX_QUERY_TEXT)
        return ERR(err, LIMIT, "the query is %zu bytes long; at most %d are allowed", text.n, MAX_QUERY_TEXT);
    struct logql *q = calloc(1, sizeof *q);
    if (!q)
        return ERR(err, NOMEM, "out of memory");
    struct error own = {0};
    arena_init(&q->arena, MIB(64));
    q->text = arena_dup(&q->arena, text);
    struct parser p = {0};
    lex_init(&p.lex, q->text, &q->arena, err ? err : &own);
    q->root = expr(&p, 0);
    if (q->root && p.lex.tok != TOK_END)
        unexpected_end(&p);
    if (!p.lex.failed && q->root) {
        *out = q;
        return ERR_OK;
    }
    logql_free(q);
    return err && err->code ? err->code : ERR_SYNTAX;
}

void logql_free(struct logql *q)
{
    if (!q)
        return;
    arena_free(&q->arena);
    free(q);
}

bool logql_is_metric(const struct logql *q)
{
    return q->root->kind != AST_LOG;
}
long logql_error_at(struct slice text, const struct error *err)
{
    unsigned long line, col;
    if (sscanf(err->msg, "parse error at line %lu, col %lu", &line, &col) != 2)
        return -1;
    size_t at = 0;
    while (line > 1 && at < text.n)
        if (text.p[at++] == '\n')
            line--;
    at += col - 1;
    return (long)(at < text.n ? at : text.n);
}
