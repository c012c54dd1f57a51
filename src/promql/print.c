// The tree as canonical text, on one line or broken at 100 characters.
#include "base/buf.h"
#include "base/limits.h"
#include "promql/promql.h"
#include <math.h>
#include <stdlib.h>

enum { LINE_MAX_CHARACTERS = 100 };

static void label_name(struct buf *out, struct slice s)
{
    if (prom_name_plain(s, false))
        buf_add(out, s);
    else
        prom_quote(out, s);
}

static void names(struct buf *out, const struct prom_names *n)
{
    buf_char(out, '(');
    for (uint32_t i = 0; i < n->n; i++) {
        buf_str(out, i ? ", " : "");
        label_name(out, n->s[i]);
    }
    buf_char(out, ')');
}

static const char *const match_text[] = {[MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~"};

static void matcher(struct buf *out, const struct matcher *m)
{
    label_name(out, m->name);
    buf_str(out, match_text[m->op]);
    prom_quote(out, m->value);
}

static int by_text(const void *a, const void *b)
{
    const struct buf *x = a, *y = b;
    return slice_cmp(buf_slice(x), buf_slice(y));
}

static void modifiers(struct buf *out, const struct prom_node *n)
{
    if (n->at == PROM_AT_TIME)
        buf_printf(out, " @ %.3f", (double)n->at_ms / 1000);
    else if (n->at)
        buf_str(out, n->at == PROM_AT_START ? " @ start()" : " @ end()");
    if (n->offset) {
        buf_str(out, n->offset < 0 ? " offset -" : " offset ");
        prom_duration_put(out, llabs(n->offset));
    }
}

// The selector without its modifiers; matchers in the order of their texts.
static void selector(struct buf *out, const struct prom_node *n)
{
    struct buf *texts = calloc(n->n_matchers + 1u, sizeof *texts);
    uint32_t k = 0;
    bool quoted = n->name.p && !prom_name_plain(n->name, true);
    if (!texts) {
        out->err = ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < n->n_matchers; i++) {
        const struct matcher *m = &n->matchers[i];
        if (n->name.p && m->op == MATCH_EQ && slice_eq(m->name, SLICE("__name__")) && slice_eq(m->value, n->name))
            continue;
        buf_init(&texts[k], MAX_QUERY_TEXT * 8);
        matcher(&texts[k++], m);
    }
    qsort(texts, k, sizeof *texts, by_text);
    if (!quoted)
        buf_add(out, n->name);
    if (k || quoted) {
        buf_char(out, '{');
        if (quoted)
            prom_quote(out, n->name);
        for (uint32_t i = 0; i < k; i++) {
            buf_str(out, i || quoted ? "," : "");
            buf_add(out, buf_slice(&texts[i]));
        }
        buf_char(out, '}');
    }
    for (uint32_t i = 0; i < k; i++)
        buf_free(&texts[i]);
    free(texts);
}

static void binary_middle(struct buf *out, const struct prom_node *n)
{
    buf_printf(out, "%s%s", prom_ops[n->op].text, n->bool_result ? " bool" : "");
    if (!n->on && !n->match_names.n)
        return;
    buf_printf(out, " %s ", n->on ? "on" : "ignoring");
    names(out, &n->match_names);
    if (n->card == PROM_MANY_TO_ONE || n->card == PROM_ONE_TO_MANY) {
        buf_printf(out, " group_%s ", n->card == PROM_MANY_TO_ONE ? "left" : "right");
        names(out, &n->include);
    }
}

static void aggregate_head(struct buf *out, const struct prom_node *n)
{
    buf_str(out, prom_aggs[n->agg].text);
    if (!n->without && !n->grouping.n)
        return;
    buf_str(out, n->without ? " without " : " by ");
    names(out, &n->grouping);
    buf_char(out, ' ');
}

static void subquery_tail(struct buf *out, const struct prom_node *n)
{
    buf_char(out, '[');
    prom_duration_put(out, n->range);
    buf_char(out, ':');
    if (n->step)
        prom_duration_put(out, n->step);
    buf_char(out, ']');
    modifiers(out, n);
}

static void list(struct buf *out, const struct prom_node *n)
{
    for (uint32_t i = 0; i < n->n_args; i++) {
        buf_str(out, i ? ", " : "");
        promql_print(n->arg[i], out);
    }
}

static void number(struct buf *out, const struct prom_node *n)
{
    double ms = n->number * 1000;
    if (n->is_duration) {
        if (ms < 0)
            buf_char(out, '-');
        prom_duration_put(out, (int64_t)(ms < 0 ? -ms + 0.5 : ms + 0.5));
    } else {
        prom_float_v(out, n->number);
    }
}

void promql_print(const struct prom_node *n, struct buf *out)
{
    switch (n->kind) {
    case PROM_NUMBER:
        number(out, n);
        return;
    case PROM_TEXT:
        prom_quote(out, n->text);
        return;
    case PROM_SELECTOR:
        selector(out, n);
        modifiers(out, n);
        return;
    case PROM_RANGE:
        selector(out, n->arg[0]);
        buf_char(out, '[');
        prom_duration_put(out, n->range);
        buf_char(out, ']');
        modifiers(out, n->arg[0]);
        return;
    case PROM_SUBQUERY:
        promql_print(n->arg[0], out);
        subquery_tail(out, n);
        return;
    case PROM_UNARY:
        buf_str(out, prom_ops[n->op].text);
        promql_print(n->arg[0], out);
        return;
    case PROM_BINARY:
        if (n->op == PROM_POW && n->arg[0]->kind == PROM_NUMBER && n->arg[0]->number == INFINITY)
            buf_str(out, "Inf"); // a sign would be taken for that of the whole power
        else
            promql_print(n->arg[0], out);
        buf_char(out, ' ');
        binary_middle(out, n);
        buf_char(out, ' ');
        promql_print(n->arg[1], out);
        return;
    case PROM_CALL:
        buf_printf(out, "%s(", n->fn->name);
        list(out, n);
        buf_char(out, ')');
        return;
    case PROM_AGGREGATE:
        aggregate_head(out, n);
        buf_char(out, '(');
        if (n->n_args == 2) {
            promql_print(n->arg[1], out);
            buf_str(out, ", ");
        }
        promql_print(n->arg[0], out);
        buf_char(out, ')');
        return;
    case PROM_PAREN:
        buf_char(out, '(');
        list(out, n);
        buf_char(out, ')');
    }
}

// ---- broken into lines ----------------------------------------------------------------------------------------------

static void indent(struct buf *out, int level)
{
    for (int i = 0; i < level; i++)
        buf_str(out, "  ");
}

static bool is_long(const struct prom_node *n)
{
    struct buf b;
    buf_init(&b, LINE_MAX_CHARACTERS); // whatever is longer fails to fit
    promql_print(n, &b);
    bool yes = b.err != ERR_OK;
    buf_free(&b);
    return yes;
}

static void pretty(const struct prom_node *n, int level, bool indented, struct buf *out);

static void pretty_list(struct prom_node *const *arg, uint32_t n, int level, struct buf *out)
{
    for (uint32_t i = 0; i < n; i++) {
        buf_str(out, i ? ",\n" : "");
        pretty(arg[i], level + 1, true, out);
    }
    buf_char(out, '\n');
    indent(out, level);
}

static void pretty(const struct prom_node *n, int level, bool indented, struct buf *out)
{
    struct prom_node *turned[2];
    if (n->kind == PROM_BINARY && is_long(n)) {
        pretty(n->arg[0], level + 1, true, out);
        buf_char(out, '\n');
        indent(out, level);
        binary_middle(out, n);
        buf_char(out, '\n');
        pretty(n->arg[1], level + 1, true, out);
        return;
    }
    if (indented && !(n->kind == PROM_SUBQUERY && is_long(n)))
        indent(out, level);
    if (n->kind == PROM_UNARY) {
        buf_str(out, prom_ops[n->op].text);
        pretty(n->arg[0], level, false, out);
        return;
    }
    if (n->kind < PROM_SUBQUERY || !is_long(n)) {
        promql_print(n, out);
        return;
    }
    switch (n->kind) {
    case PROM_SUBQUERY:
        pretty(n->arg[0], level, indented, out);
        subquery_tail(out, n);
        return;
    case PROM_CALL:
        buf_printf(out, "%s(\n", n->fn->name);
        pretty_list(n->arg, n->n_args, level, out);
        break;
    case PROM_AGGREGATE:
        aggregate_head(out, n);
        buf_str(out, "(\n");
        turned[0] = n->arg[n->n_args - 1];
        turned[1] = n->arg[0];
        pretty_list(turned, n->n_args, level, out);
        break;
    default:
        buf_str(out, "(\n");
        pretty_list(n->arg, 1, level, out);
    }
    buf_char(out, ')');
}

void promql_print_pretty(const struct prom_node *n, struct buf *out)
{
    pretty(n, 0, true, out);
}
