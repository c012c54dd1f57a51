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

static void explain(const struct expr *e, struct buf *out, int depth)
{
    buf_printf(out, "%*s", depth * 2, "");
    switch (e->kind) {
    case EXPR_RANGE:
        buf_printf(out, "%s range=%llds stages=%u line-stages=%u%s\n", range_text(e->range.fn),
                   (long long)(e->range.range / 1000000000), e->range.pipeline.n, e->range.pipeline.n_line,
                   e->range.projected ? " (labels pushed down)" : "");
        break;
    case EXPR_AGG:
        buf_printf(out, "%s\n", agg_text(e->agg.fn));
        explain(e->agg.arg, out, depth + 1);
        break;
    case EXPR_BINARY:
        buf_printf(out, "%s\n", binary_text(e->bin.op));
        explain(e->bin.left, out, depth + 1);
        explain(e->bin.right, out, depth + 1);
        break;
    case EXPR_REPLACE:
        buf_str(out, "label_replace\n");
        explain(e->replace.arg, out, depth + 1);
        break;
    case EXPR_SCALAR:
    case EXPR_VECTOR:
        buf_str(out, e->kind == EXPR_SCALAR ? "number " : "vector ");
        buf_f64(out, e->number);
        buf_char(out, '\n');
        break;
    }
}

void expr_explain(const struct expr *e, struct buf *out)
{
    explain(e, out, 0);
}
