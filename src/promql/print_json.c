// The tree as JSON, keys in alphabetical order as Prometheus gives them.
#include "base/json.h"
#include "base/limits.h"
#include "promql/promql.h"

static void key_text(struct jw *w, const char *key, struct slice s)
{
    jw_key(w, slice_str(key));
    jw_str(w, s);
}
static void key_node(struct jw *w, const char *key, const struct prom_node *n)
{
    jw_key(w, slice_str(key));
    promql_json(n, w);
}
static void key_names(struct jw *w, const char *key, const struct prom_names *n)
{
    jw_key(w, slice_str(key));
    jw_arr(w);
    for (uint32_t i = 0; i < n->n; i++)
        jw_str(w, n->s[i]);
    jw_arr_end(w);
}

static void start_or_end(struct jw *w, const struct prom_node *n)
{
    JW_KEY(w, "startOrEnd");
    if (n->at == PROM_AT_START || n->at == PROM_AT_END)
        jw_str(w, n->at == PROM_AT_START ? SLICE("start") : SLICE("end"));
    else
        jw_null(w);
}
static void timestamp(struct jw *w, const struct prom_node *n)
{
    JW_KEY(w, "timestamp");
    if (n->at == PROM_AT_TIME)
        jw_i64(w, n->at_ms);
    else
        jw_null(w);
}

static void selector(struct jw *w, const struct prom_node *n, const struct prom_node *range)
{
    static const char *const ops[] = {[MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~"};
    JW_KEY(w, "matchers");
    jw_arr(w);
    for (uint32_t i = 0; i < n->n_matchers; i++) {
        jw_obj(w);
        key_text(w, "name", n->matchers[i].name);
        key_text(w, "type", slice_str(ops[n->matchers[i].op]));
        key_text(w, "value", n->matchers[i].value);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    key_text(w, "name", n->name.p ? n->name : SLICE(""));
    JW_KEY(w, "offset");
    jw_i64(w, n->offset);
    if (range) {
        JW_KEY(w, "range");
        jw_i64(w, range->range);
    }
    start_or_end(w, n);
    timestamp(w, n);
    key_text(w, "type", range ? SLICE("matrixSelector") : SLICE("vectorSelector"));
}

static void binary(struct jw *w, const struct prom_node *n)
{
    static const char *const cards[] = {"one-to-one", "many-to-one", "one-to-many", "many-to-many"};
    JW_KEY(w, "bool");
    jw_bool(w, n->bool_result);
    key_node(w, "lhs", n->arg[0]);
    JW_KEY(w, "matching");
    if (n->arg[0]->type == PROM_VECTOR && n->arg[1]->type == PROM_VECTOR) {
        jw_obj(w);
        key_text(w, "card", slice_str(cards[n->card]));
        key_names(w, "include", &n->include);
        key_names(w, "labels", &n->match_names);
        JW_KEY(w, "on");
        jw_bool(w, n->on);
        jw_obj_end(w);
    } else {
        jw_null(w);
    }
    key_text(w, "op", slice_str(prom_ops[n->op].text));
    key_node(w, "rhs", n->arg[1]);
    key_text(w, "type", SLICE("binaryExpr"));
}

static void call(struct jw *w, const struct prom_node *n)
{
    static const char *const types[] = {"none", "scalar", "vector", "matrix", "string"};
    JW_KEY(w, "args");
    jw_arr(w);
    for (uint32_t i = 0; i < n->n_args; i++)
        promql_json(n->arg[i], w);
    jw_arr_end(w);
    JW_KEY(w, "func");
    jw_obj(w);
    JW_KEY(w, "argTypes");
    jw_arr(w);
    for (int i = 0; i < n->fn->n; i++)
        jw_str(w, slice_str(types[n->fn->types[i]]));
    jw_arr_end(w);
    key_text(w, "name", slice_str(n->fn->name));
    key_text(w, "returnType", slice_str(types[n->fn->result]));
    JW_KEY(w, "variadic");
    jw_i64(w, n->fn->variadic);
    jw_obj_end(w);
    key_text(w, "type", SLICE("call"));
}

static void aggregate(struct jw *w, const struct prom_node *n)
{
    key_node(w, "expr", n->arg[0]);
    key_names(w, "grouping", &n->grouping);
    key_text(w, "op", slice_str(prom_aggs[n->agg].text));
    JW_KEY(w, "param");
    if (n->n_args == 2)
        promql_json(n->arg[1], w);
    else
        jw_null(w);
    key_text(w, "type", SLICE("aggregation"));
    JW_KEY(w, "without");
    jw_bool(w, n->without);
}

static void subquery(struct jw *w, const struct prom_node *n)
{
    key_node(w, "expr", n->arg[0]);
    JW_KEY(w, "offset");
    jw_i64(w, n->offset);
    JW_KEY(w, "range");
    jw_i64(w, n->range);
    start_or_end(w, n);
    JW_KEY(w, "step");
    jw_i64(w, n->step);
    timestamp(w, n);
    key_text(w, "type", SLICE("subquery"));
}

void promql_json(const struct prom_node *n, struct jw *w)
{
    char text[512];
    struct buf b = {.p = text, .cap = sizeof text, .max = sizeof text};
    jw_obj(w);
    switch (n->kind) {
    case PROM_NUMBER:
        prom_float_f(&b, n->number);
        key_text(w, "type", SLICE("numberLiteral"));
        key_text(w, "val", buf_slice(&b));
        break;
    case PROM_TEXT:
        key_text(w, "type", SLICE("stringLiteral"));
        key_text(w, "val", n->text);
        break;
    case PROM_SELECTOR:
        selector(w, n, NULL);
        break;
    case PROM_RANGE:
        selector(w, n->arg[0], n);
        break;
    case PROM_SUBQUERY:
        subquery(w, n);
        break;
    case PROM_UNARY:
        key_node(w, "expr", n->arg[0]);
        key_text(w, "op", slice_str(prom_ops[n->op].text));
        key_text(w, "type", SLICE("unaryExpr"));
        break;
    case PROM_BINARY:
        binary(w, n);
        break;
    case PROM_CALL:
        call(w, n);
        break;
    case PROM_AGGREGATE:
        aggregate(w, n);
        break;
    case PROM_PAREN:
        key_node(w, "expr", n->arg[0]);
        key_text(w, "type", SLICE("parenExpr"));
        break;
    }
    jw_obj_end(w);
}
