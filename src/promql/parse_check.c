// What may go together: types of operands and arguments, numbers of arguments, matching of vectors.
#include "promql/parse_int.h"

static bool names_have(const struct prom_names *in, struct slice name)
{
    for (uint32_t i = 0; i < in->n; i++)
        if (slice_eq(in->s[i], name))
            return true;
    return false;
}

static bool operand(struct prom_parser *p, const struct prom_node *a)
{
    if (a->type == PROM_SCALAR || a->type == PROM_VECTOR)
        return true;
    return prom_lex_fail(&p->l, a->from, "binary expression must contain only scalar and instant vector types, got %s",
                         prom_type_text(a->type));
}

bool prom_check_binary(struct prom_parser *p, struct prom_node *n)
{
    const struct prom_node *a = n->arg[0], *b = n->arg[1];
    const struct prom_op_info *op = &prom_ops[n->op];
    if (!operand(p, a) || !operand(p, b))
        return false;
    bool vectors = a->type == PROM_VECTOR && b->type == PROM_VECTOR;
    n->type = a->type == PROM_SCALAR && b->type == PROM_SCALAR ? PROM_SCALAR : PROM_VECTOR;
    if (op->comparison && n->type == PROM_SCALAR && !n->bool_result)
        return prom_lex_fail(&p->l, n->from, "comparisons between scalars must use BOOL modifier: write %s bool", op->text);
    if (op->set && !vectors)
        return prom_lex_fail(&p->l, n->from, "set operator \"%s\" not allowed in binary scalar expression", op->text);
    if (!vectors && (n->match_names.n || n->card == PROM_MANY_TO_ONE || n->card == PROM_ONE_TO_MANY))
        return prom_lex_fail(&p->l, n->from, "vector matching only allowed between instant vectors");
    for (uint32_t i = 0; n->on && i < n->match_names.n; i++)
        if (names_have(&n->include, n->match_names.s[i]))
            return prom_lex_fail(&p->l, n->from, "label \"%.*s\" must not occur in ON and GROUP clause at once",
                                 (int)slice_cut(n->match_names.s[i], 60).n, n->match_names.s[i].p);
    return true;
}

static bool typed(struct prom_parser *p, const struct prom_node *a, enum prom_type want, const char *where, const char *name)
{
    if (a->type == want)
        return true;
    return prom_lex_fail(&p->l, a->from, "expected type %s in %s%s%s%s, got %s%s", prom_type_text(want), where, name ? " \"" : "",
                         name ? name : "", name ? "\"" : "", prom_type_text(a->type),
                         want == PROM_MATRIX && a->type == PROM_VECTOR ? "; write a range behind it, like [5m]" : "");
}

bool prom_check_call(struct prom_parser *p, struct prom_node *n)
{
    const struct prom_function *f = n->fn;
    int least = f->variadic ? f->n - 1 : f->n, most = f->variadic < 0 ? PROM_MAX_ARGS : f->n - (f->variadic > 0) + f->variadic;
    int got = (int)n->n_args;
    if (f->variadic == 0 && got != f->n)
        return prom_lex_fail(&p->l, n->from, "expected %d argument(s) in call to \"%s\", got %d", f->n, f->name, got);
    if (got < least)
        return prom_lex_fail(&p->l, n->from, "expected at least %d argument(s) in call to \"%s\", got %d", least, f->name, got);
    if (got > most)
        return prom_lex_fail(&p->l, n->from, "expected at most %d argument(s) in call to \"%s\", got %d", most, f->name, got);
    for (int i = 0; i < got; i++)
        if (!typed(p, n->arg[i], f->types[i < f->n ? i : f->n - 1], "call to function", f->name))
            return false;
    return true;
}

bool prom_check_aggregate(struct prom_parser *p, struct prom_node *n)
{
    uint32_t want = prom_aggs[n->agg].param ? 2 : 1;
    if (n->n_args == 0)
        return prom_lex_fail(&p->l, n->from, "no arguments for aggregate expression provided");
    if (n->n_args != want)
        return prom_lex_fail(&p->l, n->from, "wrong number of arguments for aggregate expression provided, expected %u, got %u",
                             want, n->n_args);
    if (want == 2) { // the vector first, as in the tree
        struct prom_node *param = n->arg[0];
        n->arg[0] = n->arg[1];
        n->arg[1] = param;
        if (!typed(p, param, n->agg == PROM_AGG_COUNT_VALUES ? PROM_STRING : PROM_SCALAR, "aggregation parameter", NULL))
            return false;
    }
    return typed(p, n->arg[0], PROM_VECTOR, "aggregation expression", NULL);
}
