// Recursive descent over the tokens; binary operators by climbing their precedence.
#include "base/alloc.h"
#include "promql/parse_int.h"
#include <math.h>
#include <stdlib.h>
#include <strings.h>

static struct prom_node *expr(struct prom_parser *p, int precedence);

const struct prom_op_info prom_ops[PROM_OP_COUNT] = {
#define X(name, text, precedence, comparison, set) {text, precedence, comparison, set},
    PROM_OP_LIST(X)
#undef X
};
const struct prom_agg_info prom_aggs[PROM_AGG_N] = {
#define X(name, text, param) {text, param},
    PROM_AGG_LIST(X)
#undef X
};

// ---- helpers --------------------------------------------------------------------------------------------------------

bool prom_unexpected(struct prom_parser *p, const char *where, const char *want)
{
    struct slice name = prom_lex_name(&p->l);
    return prom_lex_fail(&p->l, p->l.from, "unexpected %.*s%s%s%s%s", (int)name.n, name.p, where ? " in " : "",
                         where ? where : "", want ? ", expected " : "", want ? want : "");
}

bool prom_expect(struct prom_parser *p, enum prom_token t, const char *where, const char *want)
{
    if (p->l.token != t || p->l.failed)
        return prom_unexpected(p, where, want);
    prom_lex_next(&p->l);
    return !p->l.failed;
}

// Words of the language: case does not count.
static bool is_word(const struct prom_parser *p, const char *word)
{
    return p->l.token == TOK_WORD && slice_ieq(p->l.text, slice_str(word));
}

struct prom_node *prom_node_new(struct prom_parser *p, enum prom_kind kind, enum prom_type type, uint32_t from)
{
    struct prom_node *n = ARENA_NEW(&p->q->arena, struct prom_node);
    if (!n) {
        prom_lex_fail(&p->l, from, "the query is too large");
        return NULL;
    }
    n->kind = kind;
    n->type = type;
    n->from = from;
    return n;
}

static struct prom_node **args_new(struct prom_parser *p, uint32_t n)
{
    struct prom_node **a = ARENA_ARRAY(&p->q->arena, struct prom_node *, n + 1);
    if (!a)
        prom_lex_fail(&p->l, p->l.from, "the query is too large");
    return a;
}

// (a, b, "c")
static bool names(struct prom_parser *p, struct prom_names *out)
{
    struct slice found[PROM_MAX_ARGS];
    const char *where = "grouping opts";
    *out = (struct prom_names){0};
    if (!prom_expect(p, TOK_LPAREN, where, "\"(\""))
        return false;
    while (p->l.token != TOK_RPAREN) {
        bool quoted = p->l.token == TOK_STRING;
        if (!quoted && (p->l.token != TOK_WORD || !prom_name_plain(p->l.text, false)))
            return prom_unexpected(p, where, "label");
        if (out->n == PROM_MAX_ARGS)
            return prom_lex_fail(&p->l, p->l.from, "more than %d labels", PROM_MAX_ARGS);
        found[out->n++] = p->l.text;
        prom_lex_next(&p->l);
        if (p->l.token != TOK_RPAREN && !prom_expect(p, TOK_COMMA, where, "\",\" or \")\""))
            return false;
    }
    prom_lex_next(&p->l);
    out->s = arena_alloc(&p->q->arena, (out->n + 1) * sizeof *out->s);
    if (!out->s)
        return prom_lex_fail(&p->l, p->l.from, "the query is too large");
    memcpy(out->s, found, out->n * sizeof *found);
    return !p->l.failed;
}

// ---- numbers, calls, aggregations -----------------------------------------------------------------------------------

static struct prom_node *number_node(struct prom_parser *p)
{
    struct prom_node *n = prom_node_new(p, PROM_NUMBER, PROM_SCALAR, p->l.from);
    if (!n)
        return NULL;
    n->is_duration = p->l.token == TOK_DURATION;
    n->number = n->is_duration ? (double)p->l.ms / 1000 : p->l.number;
    if (p->l.token == TOK_WORD)
        n->number = (p->l.text.p[0] | 32) == 'n' ? NAN : INFINITY;
    n->to = p->l.to;
    prom_lex_next(&p->l);
    return n;
}

// "( expr, expr )"; at most max.
static bool arguments(struct prom_parser *p, struct prom_node *n, const char *where)
{
    struct prom_node *found[PROM_MAX_ARGS];
    if (!prom_expect(p, TOK_LPAREN, where, "\"(\""))
        return false;
    while (p->l.token != TOK_RPAREN) {
        if (n->n_args == PROM_MAX_ARGS)
            return prom_lex_fail(&p->l, p->l.from, "more than %d arguments", PROM_MAX_ARGS);
        struct prom_node *a = expr(p, 1);
        if (!a)
            return false;
        found[n->n_args++] = a;
        if (p->l.token == TOK_RPAREN)
            break;
        uint32_t comma = p->l.from;
        if (!prom_expect(p, TOK_COMMA, where, "\",\" or \")\""))
            return false;
        if (p->l.token == TOK_RPAREN)
            return prom_lex_fail(&p->l, comma, "trailing commas not allowed in function call args");
    }
    n->to = p->l.to;
    prom_lex_next(&p->l);
    n->arg = args_new(p, n->n_args);
    if (n->arg)
        memcpy(n->arg, found, n->n_args * sizeof *found);
    return n->arg && !p->l.failed;
}

static struct prom_node *call(struct prom_parser *p, struct slice name, uint32_t from)
{
    struct prom_node *n = prom_node_new(p, PROM_CALL, PROM_VECTOR, from);
    if (!n)
        return NULL;
    n->fn = prom_function_find(name);
    if (!n->fn) {
        prom_lex_fail(&p->l, from, "unknown function with name \"%.*s\"", (int)slice_cut(name, 60).n, name.p);
        return NULL;
    }
    n->type = n->fn->result;
    return arguments(p, n, "function call") && prom_check_call(p, n) ? n : NULL;
}

static bool grouping(struct prom_parser *p, struct prom_node *n)
{
    if (n->grouped || (!is_word(p, "by") && !is_word(p, "without")))
        return true;
    n->grouped = true;
    n->without = is_word(p, "without");
    prom_lex_next(&p->l);
    return names(p, &n->grouping);
}

static struct prom_node *aggregate(struct prom_parser *p, enum prom_agg agg, uint32_t from)
{
    struct prom_node *n = prom_node_new(p, PROM_AGGREGATE, PROM_VECTOR, from);
    if (!n)
        return NULL;
    n->agg = agg;
    if (!grouping(p, n) || !arguments(p, n, "aggregation"))
        return NULL;
    uint32_t end = n->to;
    bool before = n->grouped;
    if (!grouping(p, n))
        return NULL;
    n->to = before == n->grouped ? end : p->l.from;
    return prom_check_aggregate(p, n) ? n : NULL;
}

static int aggregation(struct slice word)
{
    for (int i = 0; i < PROM_AGG_N; i++)
        if (slice_ieq(word, slice_str(prom_aggs[i].text)))
            return i;
    return -1;
}

// What stands behind the word at hand decides whether it names a function, an aggregation or a metric.
static struct prom_node *word(struct prom_parser *p)
{
    static const char *const reserved[] = {"and", "or", "unless", "atan2", "on", "ignoring", "group_left", "group_right", "bool"};
    struct prom_lex ahead = p->l;
    struct slice text = p->l.text;
    uint32_t from = p->l.from;
    ahead.err = NULL;
    prom_lex_next(&ahead);
    int agg = aggregation(text);
    bool group = ahead.token == TOK_WORD && (slice_ieq(ahead.text, SLICE("by")) || slice_ieq(ahead.text, SLICE("without")));
    if (agg >= 0 && (ahead.token == TOK_LPAREN || group)) {
        prom_lex_next(&p->l);
        return aggregate(p, (enum prom_agg)agg, from);
    }
    if (ahead.token == TOK_LPAREN) {
        prom_lex_next(&p->l);
        return call(p, text, from);
    }
    if (slice_ieq(text, SLICE("inf")) || slice_ieq(text, SLICE("nan")))
        return number_node(p);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (is_word(p, reserved[i])) {
            prom_unexpected(p, NULL, NULL);
            return NULL;
        }
    return prom_parse_selector(p, true);
}

static struct prom_node *primary(struct prom_parser *p)
{
    struct prom_node *n, *inner;
    uint32_t from = p->l.from;
    switch (p->l.failed ? TOK_END : p->l.token) {
    case TOK_NUMBER:
    case TOK_DURATION:
        return number_node(p);
    case TOK_STRING:
        n = prom_node_new(p, PROM_TEXT, PROM_STRING, from);
        if (n) {
            n->text = p->l.text;
            n->to = p->l.to;
        }
        prom_lex_next(&p->l);
        return n;
    case TOK_WORD:
        return word(p);
    case TOK_LBRACE:
        return prom_parse_selector(p, false);
    case TOK_LPAREN:
        prom_lex_next(&p->l);
        inner = expr(p, 1);
        n = inner ? prom_node_new(p, PROM_PAREN, inner->type, from) : NULL;
        if (!n || !(n->arg = args_new(p, 1)))
            return NULL;
        n->arg[0] = inner;
        n->n_args = 1;
        n->to = p->l.to;
        return prom_expect(p, TOK_RPAREN, NULL, "\")\"") ? n : NULL;
    case TOK_END:
        prom_lex_fail(&p->l, from, "unexpected end of input%s", p->l.parens > 0 ? ": a left parenthesis is not closed" : "");
        return NULL;
    default:
        prom_unexpected(p, NULL, NULL);
        return NULL;
    }
}

// ---- what stands behind an expression: [range], [range:step], offset, @ ------------------------------------------------

// A duration, or a number of seconds; with `sign` also negative.
static bool duration(struct prom_parser *p, bool sign, const char *where, int64_t *ms)
{
    uint32_t from = p->l.from;
    bool negative = sign && p->l.token == TOK_SUB;
    if (sign && (p->l.token == TOK_SUB || p->l.token == TOK_ADD))
        prom_lex_next(&p->l);
    if (p->l.failed)
        return false;
    if (p->l.token == TOK_NUMBER) {
        if (!(p->l.number >= 0 && p->l.number < 9e9))
            return prom_lex_fail(&p->l, from, "duration out of range");
        *ms = (int64_t)(p->l.number * 1000);
    } else if (p->l.token == TOK_DURATION) {
        *ms = p->l.ms;
    } else {
        return prom_unexpected(p, where, "duration like 5m");
    }
    if (!sign && *ms <= 0)
        return prom_lex_fail(&p->l, from, "duration must be greater than 0");
    *ms = negative ? -*ms : *ms;
    prom_lex_next(&p->l);
    return !p->l.failed;
}

static struct prom_node *brackets(struct prom_parser *p, struct prom_node *inner)
{
    int64_t range, step = 0;
    uint32_t bracket = p->l.from;
    bool sub = false;
    prom_lex_next(&p->l);
    if (!duration(p, false, "subquery or range selector", &range))
        return NULL;
    if (p->l.token == TOK_COLON) {
        sub = true;
        prom_lex_next(&p->l);
        if (p->l.token != TOK_RBRACKET && !duration(p, false, "subquery selector", &step))
            return NULL;
    }
    uint32_t end = p->l.to;
    if (!prom_expect(p, TOK_RBRACKET, sub ? "subquery selector" : "range selector", "\"]\""))
        return NULL;
    if (!sub && inner->kind != PROM_SELECTOR) {
        prom_lex_fail(&p->l, bracket, "ranges only allowed for vector selectors; [5m:] makes a subquery of an expression");
        return NULL;
    }
    if (!sub && (inner->offset || inner->at)) {
        prom_lex_fail(&p->l, bracket, "no %s modifiers allowed before range; write it behind the brackets",
                      inner->at ? "@" : "offset");
        return NULL;
    }
    if (sub && inner->type != PROM_VECTOR) {
        prom_lex_fail(&p->l, inner->from, "subquery is only allowed on instant vector, got %s instead",
                      prom_type_text(inner->type));
        return NULL;
    }
    struct prom_node *n = prom_node_new(p, sub ? PROM_SUBQUERY : PROM_RANGE, PROM_MATRIX, inner->from);
    if (!n || !(n->arg = args_new(p, 1)))
        return NULL;
    n->arg[0] = inner;
    n->n_args = 1;
    n->range = range;
    n->step = step;
    n->to = end;
    return n;
}

// The node that carries the modifiers, or null with an error.
static struct prom_node *modified(struct prom_parser *p, struct prom_node *n, const char *what)
{
    if (n->kind == PROM_SELECTOR || n->kind == PROM_SUBQUERY)
        return n;
    if (n->kind == PROM_RANGE)
        return n->arg[0];
    prom_lex_fail(&p->l, p->l.from,
                  "%s modifier must be preceded by an instant vector selector or range vector selector or a subquery", what);
    return NULL;
}

static bool offset(struct prom_parser *p, struct prom_node *n)
{
    struct prom_node *to = modified(p, n, "offset");
    int64_t ms;
    if (!to)
        return false;
    if (to->offset)
        return prom_lex_fail(&p->l, p->l.from, "offset may not be set multiple times");
    prom_lex_next(&p->l);
    if (!duration(p, true, "offset", &ms))
        return false;
    to->offset = ms;
    return true;
}

static bool at_modifier(struct prom_parser *p, struct prom_node *n)
{
    struct prom_node *to = modified(p, n, "@");
    if (!to)
        return false;
    if (to->at)
        return prom_lex_fail(&p->l, p->l.from, "@ <timestamp> may not be set multiple times");
    prom_lex_next(&p->l);
    if (is_word(p, "start") || is_word(p, "end")) {
        to->at = is_word(p, "start") ? PROM_AT_START : PROM_AT_END;
        prom_lex_next(&p->l);
        return prom_expect(p, TOK_LPAREN, "@", "\"(\"") && prom_expect(p, TOK_RPAREN, "@", "\")\"");
    }
    bool negative = p->l.token == TOK_SUB;
    uint32_t from = p->l.from;
    if (negative || p->l.token == TOK_ADD)
        prom_lex_next(&p->l);
    if (p->l.token != TOK_NUMBER)
        return prom_unexpected(p, "@", "timestamp in seconds, start() or end()");
    if (!(p->l.number < 9e9))
        return prom_lex_fail(&p->l, from, "timestamp out of bounds for @ modifier: %g", p->l.number);
    to->at = PROM_AT_TIME;
    to->at_ms = llround((negative ? -p->l.number : p->l.number) * 1000);
    prom_lex_next(&p->l);
    return !p->l.failed;
}

static struct prom_node *postfix(struct prom_parser *p, struct prom_node *n)
{
    while (n && !p->l.failed) {
        uint32_t before = p->l.from;
        if (p->l.token == TOK_LBRACKET)
            n = brackets(p, n);
        else if (is_word(p, "offset") ? !offset(p, n) : p->l.token == TOK_AT && !at_modifier(p, n))
            return NULL;
        if (p->l.from == before || !n)
            return n;
        struct prom_node *to = n->kind == PROM_RANGE ? n->arg[0] : n;
        n->to = n->to > to->to ? n->to : to->to;
    }
    return p->l.failed ? NULL : n;
}

// ---- operators ------------------------------------------------------------------------------------------------------

static struct prom_node *unary(struct prom_parser *p)
{
    if (p->l.token != TOK_ADD && p->l.token != TOK_SUB)
        return postfix(p, primary(p));
    uint32_t from = p->l.from;
    bool minus = p->l.token == TOK_SUB;
    prom_lex_next(&p->l);
    struct prom_node *inner = expr(p, prom_ops[PROM_MUL].precedence + 1); // -a^b is -(a^b), -a*b is (-a)*b
    if (!inner)
        return NULL;
    if (inner->kind == PROM_NUMBER) {
        inner->number = minus ? -inner->number : inner->number;
        inner->from = from;
        return inner;
    }
    if (inner->type != PROM_SCALAR && inner->type != PROM_VECTOR) {
        prom_lex_fail(&p->l, from, "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                      prom_type_text(inner->type));
        return NULL;
    }
    struct prom_node *n = prom_node_new(p, PROM_UNARY, inner->type, from);
    if (!n || !(n->arg = args_new(p, 1)))
        return NULL;
    n->arg[0] = inner;
    n->n_args = 1;
    n->op = minus ? PROM_SUB : PROM_ADD;
    n->to = inner->to;
    return n;
}

static int operator_at(const struct prom_parser *p)
{
    static const uint8_t of[] = {[TOK_EQ] = PROM_EQ,   [TOK_NE] = PROM_NE,   [TOK_LE] = PROM_LE,   [TOK_LT] = PROM_LT,
                                 [TOK_GE] = PROM_GE,   [TOK_GT] = PROM_GT,   [TOK_ADD] = PROM_ADD, [TOK_SUB] = PROM_SUB,
                                 [TOK_MUL] = PROM_MUL, [TOK_DIV] = PROM_DIV, [TOK_MOD] = PROM_MOD, [TOK_POW] = PROM_POW};
    static const enum prom_op words[] = {PROM_OR, PROM_AND, PROM_UNLESS, PROM_ATAN2};
    if (p->l.token >= TOK_EQ)
        return of[p->l.token];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(p, prom_ops[words[i]].text))
            return (int)words[i];
    return -1;
}

static bool modifiers(struct prom_parser *p, struct prom_node *n)
{
    n->card = prom_ops[n->op].set ? PROM_MANY_TO_MANY : PROM_ONE_TO_ONE;
    if (is_word(p, "bool")) {
        if (!prom_ops[n->op].comparison)
            return prom_lex_fail(&p->l, p->l.from, "bool modifier can only be used on comparison operators");
        n->bool_result = true;
        prom_lex_next(&p->l);
    }
    if (!is_word(p, "on") && !is_word(p, "ignoring"))
        return !p->l.failed;
    n->on = is_word(p, "on");
    n->ignoring = !n->on;
    prom_lex_next(&p->l);
    if (!names(p, &n->match_names))
        return false;
    if (!is_word(p, "group_left") && !is_word(p, "group_right"))
        return !p->l.failed;
    if (n->card == PROM_MANY_TO_MANY)
        return prom_lex_fail(&p->l, p->l.from, "no grouping allowed for \"%s\" operation", prom_ops[n->op].text);
    n->card = is_word(p, "group_left") ? PROM_MANY_TO_ONE : PROM_ONE_TO_MANY;
    prom_lex_next(&p->l);
    return p->l.token != TOK_LPAREN ? !p->l.failed : names(p, &n->include);
}

static struct prom_node *binary(struct prom_parser *p, struct prom_node *left, enum prom_op op)
{
    struct prom_node *n = prom_node_new(p, PROM_BINARY, PROM_VECTOR, left->from);
    if (!n || !(n->arg = args_new(p, 2)))
        return NULL;
    n->op = op;
    prom_lex_next(&p->l);
    if (!modifiers(p, n))
        return NULL;
    // what stands to the right binds tighter; ^ leans to the right
    n->arg[0] = left;
    n->arg[1] = expr(p, prom_ops[op].precedence + (op != PROM_POW));
    if (!n->arg[1])
        return NULL;
    n->n_args = 2;
    n->to = n->arg[1]->to;
    return prom_check_binary(p, n) ? n : NULL;
}

static struct prom_node *expr(struct prom_parser *p, int precedence)
{
    if (++p->depth > PROM_MAX_DEPTH) {
        prom_lex_fail(&p->l, p->l.from, "more than %d levels of parentheses and operators", PROM_MAX_DEPTH);
        return NULL;
    }
    struct prom_node *n = unary(p);
    int op, height = 0;
    while (n && !p->l.failed && (op = operator_at(p)) >= 0 && prom_ops[op].precedence >= precedence) {
        if (++height > 4 * PROM_MAX_DEPTH) {
            prom_lex_fail(&p->l, p->l.from, "more than %d operators in a row", 4 * PROM_MAX_DEPTH);
            return NULL;
        }
        n = binary(p, n, (enum prom_op)op);
    }
    p->depth--;
    return p->l.failed ? NULL : n;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

// What does not depend on the step: numbers, selectors with @, and what is made of these alone by functions that do not ask for
// the time.
static void mark(struct prom_node *n)
{
    bool all = true;
    for (uint32_t i = 0; i < n->n_args; i++) {
        mark(n->arg[i]);
        all = all && n->arg[i]->invariant;
    }
    switch (n->kind) {
    case PROM_SELECTOR:
    case PROM_SUBQUERY:
        n->invariant = n->at != PROM_AT_NONE;
        return;
    case PROM_CALL:
        switch (n->fn->id) {
        case FN_days_in_month:
        case FN_day_of_month:
        case FN_day_of_week:
        case FN_day_of_year:
        case FN_hour:
        case FN_minute:
        case FN_month:
        case FN_year:
        case FN_predict_linear:
        case FN_time:
        case FN_timestamp:
            return;
        default:
            n->invariant = all;
            return;
        }
    default:
        n->invariant = all;
    }
}

enum { MAX_TREE_MEMORY = 64 << 20 };

static enum errc parse(struct promql **out, struct slice text, bool selector, struct error *err)
{
    struct error own = {0};
    struct prom_parser p = {0};
    *out = NULL;
    if (text.n > MAX_QUERY_TEXT)
        return ERR(err, SYNTAX, "1:1: parse error: the query has %zu bytes; at most %d are accepted", text.n, MAX_QUERY_TEXT);
    struct promql *q = p.q = mem_zalloc(sizeof *q);
    if (!q)
        return ERR(err, NOMEM, "no memory for a query");
    *out = q;
    arena_init(&q->arena, MAX_TREE_MEMORY);
    q->text = arena_dup(&q->arena, text);
    if (!q->text.p)
        return ERR(err, NOMEM, "no memory for a query");
    err = err ? err : &own;
    prom_lex_init(&p.l, q->text, &q->arena, err);
    if (p.l.token == TOK_END && !p.l.failed)
        prom_lex_fail(&p.l, 0, "no expression found in input");
    struct prom_node *root = p.l.failed ? NULL : expr(&p, 1);
    if (root && p.l.token != TOK_END)
        prom_unexpected(&p, NULL, "an operator or the end");
    if (root && selector && !p.l.failed && (root->kind != PROM_SELECTOR || root->offset || root->at))
        prom_lex_fail(&p.l, root->from, "only a series selector like up{job=\"x\"} can stand here");
    if (!root && !p.l.failed)
        prom_lex_fail(&p.l, 0, "the query is too large");
    q->root = p.l.failed ? NULL : root;
    if (q->root)
        mark(q->root);
    return p.l.failed ? err->code : ERR_OK;
}

enum errc promql_parse(struct promql **out, struct slice text, struct error *err)
{
    return parse(out, text, false, err);
}

enum errc promql_parse_selector(struct promql **out, struct slice text, struct error *err)
{
    return parse(out, text, true, err);
}

void promql_free(struct promql *q)
{
    if (!q)
        return;
    regex_list_free(&q->regexes);
    arena_free(&q->arena);
    mem_free(q);
}
