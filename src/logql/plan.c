// Tree → operators of the query engine. Regular expressions, paths, templates and addresses are compiled here.
#include "base/limits.h"
#include "logql/ast.h"
#include <math.h>
#include <stdlib.h>

struct planner {
    struct logql_plan *plan;
    struct slice text;
    unsigned flags;
    struct error *err;
    struct stage_env env;
};

static enum errc no_memory(struct planner *p)
{
    return ERR(p->err, NOMEM, "the query is too large to plan");
}

static enum errc plan_selector(struct planner *p, const struct ast *a, struct selector *out)
{
    struct matcher *m = ARENA_ARRAY(&p->plan->arena, struct matcher, a->n_matchers);
    bool bound = false;
    if (!m)
        return no_memory(p);
    for (uint32_t i = 0; i < a->n_matchers; i++) {
        const struct ast_matcher *x = &a->matchers[i];
        TRY(matcher_init(&m[i], x->op, x->name, x->value, &p->plan->arena, &p->plan->regexes, p->err));
        bound |= !matcher_test(&m[i], SLICE(""));
    }
    *out = (struct selector){m, a->n_matchers};
    if (!bound && !(p->flags & LOGQL_ALLOW_EMPTY))
        return ERR(p->err, INPUT,
                   "the selector matches every stream: at least one matcher must not match the empty value, like app=\"x\" or "
                   "app=~\".+\"");
    return ERR_OK;
}

static enum errc plan_filter(struct planner *p, const struct ast_filter *f, struct label_test **out)
{
    struct label_test *t = *out = ARENA_NEW(&p->plan->arena, struct label_test);
    if (!t)
        return no_memory(p);
    t->name = f->name;
    t->cmp = f->cmp;
    t->number = f->number;
    switch (f->kind) {
    case AST_AND:
    case AST_OR:
        t->kind = f->kind == AST_AND ? LABEL_AND : LABEL_OR;
        TRY(plan_filter(p, f->left, &t->left));
        return plan_filter(p, f->right, &t->right);
    case AST_STRING:
        t->kind = LABEL_STRING;
        return matcher_init(&t->match, f->match, f->name, f->text, &p->plan->arena, &p->plan->regexes, p->err);
    case AST_NUMBER:
        t->kind = LABEL_NUMBER;
        return ERR_OK;
    case AST_DURATION:
        t->kind = LABEL_DURATION;
        return ERR_OK;
    case AST_BYTES:
        t->kind = LABEL_BYTES;
        return ERR_OK;
    case AST_IP:
        t->kind = LABEL_IP;
        return ip_range_parse(f->text, &t->ip, p->err);
    }
    return ERR(p->err, BUG, "unknown label filter");
}

static enum errc plan_picks(struct planner *p, const struct ast_stage *s, const struct stage **out)
{
    struct stage_pick *k = ARENA_ARRAY(&p->plan->arena, struct stage_pick, s->n);
    if (!k)
        return no_memory(p);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct ast_matcher *m = &s->picks[i];
        k[i].name = m->name;
        k[i].has_match = m->value.p != NULL;
        if (k[i].has_match)
            TRY(matcher_init(&k[i].match, m->op, m->name, m->value, &p->plan->arena, &p->plan->regexes, p->err));
    }
    return s->kind == AST_DROP ? stage_drop(out, &p->env, k, s->n) : stage_keep(out, &p->env, k, s->n);
}

static enum errc plan_stage(struct planner *p, const struct ast_stage *s, const struct stage **out)
{
    struct label_test *t;
    switch (s->kind) {
    case AST_LINE:
        return stage_line_filter(out, &p->env, s->line_op, s->texts, s->n);
    case AST_JSON:
        return stage_json(out, &p->env, s->exprs, s->n);
    case AST_LOGFMT:
        return stage_logfmt(out, &p->env, s->strict, s->keep_empty, s->exprs, s->n);
    case AST_REGEXP:
        return stage_regexp(out, &p->env, s->text);
    case AST_PATTERN:
        return stage_pattern(out, &p->env, s->text);
    case AST_UNPACK:
        return stage_unpack(out, &p->env);
    case AST_FILTER:
        TRY(plan_filter(p, s->filter, &t));
        return stage_label_filter(out, &p->env, t);
    case AST_LINE_FORMAT:
        return stage_line_format(out, &p->env, s->text);
    case AST_LABEL_FORMAT:
        return stage_label_format(out, &p->env, s->formats, s->n);
    case AST_DECOLORIZE:
        return stage_decolorize(out, &p->env);
    case AST_DROP:
    case AST_KEEP:
        return plan_picks(p, s, out);
    case AST_UNWRAP:
        return stage_unwrap(out, &p->env, s->text,
                            !s->convert.n                           ? UNWRAP_NUMBER
                            : slice_ieq(s->convert, SLICE("bytes")) ? UNWRAP_BYTES
                                                                    : UNWRAP_DURATION);
    }
    return ERR(p->err, BUG, "unknown stage");
}

// A parser whose labels nobody looks at: nothing behind it filters or formats, and the answer has no labels.
static bool idle_parser(const struct ast_stage *s)
{
    if (s->kind != AST_JSON && s->kind != AST_LOGFMT && s->kind != AST_REGEXP && s->kind != AST_PATTERN)
        return false;
    for (s = s->next; s; s = s->next)
        if (s->kind == AST_FILTER || s->kind == AST_LINE_FORMAT || s->kind == AST_LABEL_FORMAT || s->kind == AST_UNWRAP)
            return false;
    return true;
}

static enum errc plan_pipeline(struct planner *p, const struct ast *a, bool no_labels, struct pipeline *out)
{
    uint32_t n = 0;
    for (const struct ast_stage *s = a->stages; s; s = s->next)
        n++;
    out->stages = ARENA_ARRAY(&p->plan->arena, const struct stage *, n);
    if (!out->stages)
        return no_memory(p);
    out->n = 0;
    for (const struct ast_stage *s = a->stages; s; s = s->next) {
        const struct stage *made;
        enum errc rc = plan_stage(p, s, &made); // also for an idle one: its mistakes are the client's
        if (rc != ERR_OK) {
            size_t line = 1, col = 1;
            for (size_t i = 0; i < s->at && i < p->text.n; i++) {
                col = p->text.p[i] == '\n' ? 1 : col + 1;
                line += p->text.p[i] == '\n';
            }
            if (p->err)
                error_prefix(p->err, "parse error at line %zu, col %zu: ", line, col);
            return rc;
        }
        if (!no_labels || !idle_parser(s))
            out->stages[out->n++] = made;
    }
    pipeline_seal(out);
    return ERR_OK;
}

static struct grouping plan_group(const struct ast_group *g)
{
    return (struct grouping){.given = g->given, .without = g->without, .names = g->names, .n = g->n};
}

static bool names_error(const struct ast_filter *f)
{
    if (f->kind == AST_AND || f->kind == AST_OR)
        return names_error(f->left) || names_error(f->right);
    return slice_eq(f->name, LABEL_ERROR);
}

static bool filters_errors(const struct ast *a)
{
    for (const struct ast_stage *s = a->stages; s; s = s->next)
        if (s->kind == AST_FILTER && names_error(s->filter))
            return true;
    return false;
}

static void filter_names(const struct ast_filter *f, struct slice *out, uint32_t *n)
{
    if (f->kind == AST_AND || f->kind == AST_OR) {
        filter_names(f->left, out, n);
        filter_names(f->right, out, n);
    } else {
        if (out)
            out[*n] = f->name;
        (*n)++;
    }
}

// Names of the labels that filters and the grouping look at. False when other stages touch labels, so that any may matter.
static bool wanted_names(const struct ast *a, const struct ast_group *g, struct slice *out, uint32_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        if (out)
            out[*n] = g->names[i];
        (*n)++;
    }
    for (const struct ast_stage *s = a->stages; s; s = s->next) {
        if (s->kind == AST_FILTER)
            filter_names(s->filter, out, n);
        else if (s->kind == AST_UNWRAP) {
            if (out)
                out[*n] = s->text;
            (*n)++;
        } else if (s->kind != AST_LINE && s->kind != AST_JSON && s->kind != AST_LOGFMT && s->kind != AST_REGEXP &&
                   s->kind != AST_PATTERN)
            return false;
    }
    return true;
}

// all_go: without a grouping no label stays.
static enum errc plan_wanted(struct planner *p, const struct ast *a, const struct ast_group *g, bool all_go, struct pipeline *out)
{
    uint32_t n;
    if ((!g->given && !all_go) || g->without || !wanted_names(a, g, NULL, &n))
        return ERR_OK;
    struct slice *names = ARENA_ARRAY(&p->plan->arena, struct slice, n + 1);
    if (!names)
        return no_memory(p);
    wanted_names(a, g, names, &out->n_wanted);
    out->wanted = names;
    return ERR_OK;
}

// sum: the sum directly around it, or null.
static enum errc plan_range(struct planner *p, const struct ast *a, const struct ast *sum, struct expr_range *out)
{
    bool counts =
        a->range_fn == RANGE_COUNT || a->range_fn == RANGE_RATE || a->range_fn == RANGE_BYTES || a->range_fn == RANGE_BYTES_RATE;
    bool push_down = sum && counts && !a->unwrap;
    bool no_labels = push_down && !sum->group.without && sum->group.n == 0;
    *out =
        (struct expr_range){.fn = a->range_fn, .param = a->number, .range = a->range, .offset = a->offset, .unwrap = a->unwrap};
    TRY(plan_selector(p, a, &out->selector));
    TRY(plan_pipeline(p, a, no_labels, &out->pipeline));
    for (const struct ast_stage *s = a->stages; s; s = s->next)
        if (s->kind == AST_UNWRAP)
            out->unwrap_label = s->text;
    out->group = plan_group(&a->group);
    TRY(plan_wanted(p, a, push_down ? &sum->group : &a->group, push_down, &out->pipeline));
    if (push_down) {
        out->projected = true;
        out->project = plan_group(&sum->group);
        out->count_parser_errors = filters_errors(a);
    }
    return ERR_OK;
}

static enum errc plan_expr(struct planner *p, const struct ast *a, const struct ast *parent, struct expr **out);

static enum errc plan_binary(struct planner *p, const struct ast *a, struct expr_binary *b)
{
    *b = (struct expr_binary){.op = a->op,
                              .is_bool = a->is_bool,
                              .on = a->on,
                              .ignoring = a->ignoring,
                              .labels = a->labels,
                              .n_labels = a->n_labels,
                              .include = a->include,
                              .n_include = a->n_include,
                              .card = a->card < 0   ? CARD_MANY_LEFT
                                      : a->card > 0 ? CARD_MANY_RIGHT
                                                    : CARD_ONE};
    TRY(plan_expr(p, a->left, a, &b->left));
    return plan_expr(p, a->right, a, &b->right);
}

static enum errc plan_replace(struct planner *p, const struct ast *a, struct expr_replace *r)
{
    if (!label_name_valid(a->dst))
        return ERR(p->err, SYNTAX, "label_replace: \"%.*s\" is not a label name", (int)a->dst.n, a->dst.p);
    *r = (struct expr_replace){.dst = a->dst, .replacement = a->replacement, .src = a->src};
    TRY(regex_keep(&r->re, a->regex, true, &p->plan->regexes, p->err));
    return plan_expr(p, a->left, a, &r->arg);
}

static enum errc plan_expr(struct planner *p, const struct ast *a, const struct ast *parent, struct expr **out)
{
    struct expr *e = *out = ARENA_NEW(&p->plan->arena, struct expr);
    if (!e)
        return no_memory(p);
    switch (a->kind) {
    case AST_RANGE:
        e->kind = EXPR_RANGE;
        return plan_range(p, a, parent && parent->kind == AST_AGG && parent->agg_fn == AGG_SUM ? parent : NULL, &e->range);
    case AST_AGG:
        e->kind = EXPR_AGG;
        e->agg = (struct expr_agg){.fn = a->agg_fn, .param = a->number, .group = plan_group(&a->group)};
        return plan_expr(p, a->left, a, &e->agg.arg);
    case AST_BINARY:
        e->kind = EXPR_BINARY;
        return plan_binary(p, a, &e->bin);
    case AST_NUMBER_LIT:
        e->kind = EXPR_SCALAR;
        e->number = a->number;
        return ERR_OK;
    case AST_VECTOR:
        e->kind = EXPR_VECTOR;
        e->number = a->number;
        return ERR_OK;
    case AST_REPLACE:
        e->kind = EXPR_REPLACE;
        return plan_replace(p, a, &e->replace);
    default:
        return ERR(p->err, SYNTAX, "log lines stand where a metric is needed");
    }
}

enum errc logql_plan(struct logql_plan **out, const struct logql *q, unsigned flags, struct error *err)
{
    struct logql_plan *plan = calloc(1, sizeof *plan);
    *out = NULL;
    if (!plan)
        return ERR(err, NOMEM, "out of memory");
    arena_init(&plan->arena, MIB(64));
    struct planner p = {.plan = plan, .text = q->text, .flags = flags, .err = err, .env = {&plan->arena, &plan->regexes, err}};
    enum errc rc;
    plan->metric = logql_is_metric(q);
    if (plan->metric) {
        rc = plan_expr(&p, q->root, NULL, &plan->expr);
    } else {
        rc = plan_selector(&p, q->root, &plan->logs.selector);
        if (rc == ERR_OK)
            rc = plan_pipeline(&p, q->root, false, &plan->logs.pipeline);
    }
    if (rc != ERR_OK) {
        logql_plan_free(plan);
        return rc;
    }
    *out = plan;
    return ERR_OK;
}

void logql_plan_free(struct logql_plan *p)
{
    if (!p)
        return;
    regex_list_free(&p->regexes);
    arena_free(&p->arena);
    logql_free(p->owned);
    free(p);
}

enum errc logql_compile(struct logql_plan **out, struct slice text, unsigned flags, struct error *err)
{
    struct logql *q;
    *out = NULL;
    TRY(logql_parse(&q, text, err));
    enum errc rc = logql_plan(out, q, flags, err);
    if (rc == ERR_OK)
        (*out)->owned = q;
    else
        logql_free(q);
    return rc;
}
