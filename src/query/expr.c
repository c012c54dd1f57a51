#include "query/expr.h"
#include "base/buf.h"
#include <stdlib.h>

static const struct {
    const char *text;
    bool unwrap, group;
} ranges[] = {
#define X(name, text, unwrap, group) {text, unwrap, group},
    RANGE_LIST(X)
#undef X
};
const char *range_text(enum range_fn f)
{
    return ranges[f].text;
}
bool range_needs_unwrap(enum range_fn f)
{
    return ranges[f].unwrap;
}
bool range_may_group(enum range_fn f)
{
    return ranges[f].group;
}

static const struct {
    const char *text;
    bool number, group;
} aggs[] = {
#define X(name, text, number, group) {text, number, group},
    AGG_LIST(X)
#undef X
};
const char *agg_text(enum agg_fn f)
{
    return aggs[f].text;
}
bool agg_takes_number(enum agg_fn f)
{
    return aggs[f].number;
}
bool agg_may_group(enum agg_fn f)
{
    return aggs[f].group;
}

const char *binary_text(enum binary_op op)
{
    static const char *const text[] = {"+", "-", "*", "/", "%", "^", "==", "!=", ">", ">=", "<", "<=", "and", "or", "unless"};
    return text[op];
}

static enum errc constant(double v, bool scalar, const struct expr_env *env, struct matrix *out, struct error *err)
{
    struct series *s = matrix_series(out, NULL, 0, NULL);
    if (!s)
        return ERR(err, LIMIT, "the query needs more than its memory budget");
    for (uint32_t k = 0; k < env->steps; k++) {
        s->v[k] = v;
        s->has[k] = 1;
    }
    out->scalar = scalar;
    return ERR_OK;
}

enum errc expr_eval(const struct expr *e, const struct expr_env *env, struct matrix *out, struct error *err)
{
    matrix_init(out, &env->q->arena, env->steps);
    TRY(query_check(env->q, err));
    switch (e->kind) {
    case EXPR_RANGE:
        return expr_eval_range(&e->range, env, out, err);
    case EXPR_AGG:
        return expr_eval_agg(&e->agg, env, out, err);
    case EXPR_BINARY:
        return expr_eval_binary(&e->bin, env, out, err);
    case EXPR_REPLACE:
        return expr_eval_replace(&e->replace, env, out, err);
    case EXPR_SCALAR:
        return constant(e->number, true, env, out, err);
    case EXPR_VECTOR:
        return constant(e->number, false, env, out, err);
    }
    return ERR(err, BUG, "unknown kind of expression");
}
