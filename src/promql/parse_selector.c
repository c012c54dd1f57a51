// name{label="value", "quoted name", …}
#include "promql/parse_int.h"

bool prom_name_plain(struct slice s, bool metric)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (i && c >= '0' && c <= '9') ||
              (metric && c == ':')))
            return false;
    }
    return s.n > 0;
}

static bool matcher_op(struct prom_parser *p, enum match_op *op)
{
    switch (p->l.token) {
    case TOK_ASSIGN:
        *op = MATCH_EQ;
        break;
    case TOK_NE:
        *op = MATCH_NE;
        break;
    case TOK_RE:
        *op = MATCH_RE;
        break;
    case TOK_NRE:
        *op = MATCH_NRE;
        break;
    default:
        return prom_unexpected(p, "label matching", "one of = != =~ !~");
    }
    prom_lex_next(&p->l);
    return !p->l.failed;
}

static bool add_matcher(struct prom_parser *p, struct prom_node *n, enum match_op op, struct slice name, struct slice value,
                        uint32_t at)
{
    struct error err = {0};
    if (n->n_matchers == PROM_MAX_MATCHERS)
        return prom_lex_fail(&p->l, at, "more than %d matchers", PROM_MAX_MATCHERS);
    if (matcher_init(&n->matchers[n->n_matchers], op, name, value, &p->q->arena, &p->q->regexes, &err) != ERR_OK)
        return prom_lex_fail(&p->l, at, "%s", err.msg);
    n->n_matchers++;
    return true;
}

static bool set_name(struct prom_parser *p, struct prom_node *n, struct slice name, uint32_t at)
{
    if (n->name.p)
        return prom_lex_fail(&p->l, at, "metric name must not be set twice: \"%.*s\" or \"%.*s\"", (int)slice_cut(n->name, 60).n,
                             n->name.p, (int)slice_cut(name, 60).n, name.p);
    n->name = name;
    return add_matcher(p, n, MATCH_EQ, SLICE("__name__"), name, at);
}

static bool one_matcher(struct prom_parser *p, struct prom_node *n)
{
    struct slice name = p->l.text;
    uint32_t at = p->l.from;
    enum match_op op = MATCH_EQ;
    bool quoted = p->l.token == TOK_STRING;
    if (p->l.token != TOK_STRING && p->l.token != TOK_WORD)
        return prom_unexpected(p, "label matching", "identifier or \"}\"");
    prom_lex_next(&p->l);
    if (quoted && (p->l.token == TOK_COMMA || p->l.token == TOK_RBRACE))
        return set_name(p, n, name, at);
    if (p->l.failed || !matcher_op(p, &op))
        return false;
    if (p->l.token != TOK_STRING)
        return prom_unexpected(p, "label matching", "string in quotes");
    if (n->name.p && slice_eq(name, SLICE("__name__")))
        return prom_lex_fail(&p->l, at, "metric name must not be set twice: \"%.*s\" or \"%.*s\"", (int)slice_cut(n->name, 60).n,
                             n->name.p, (int)slice_cut(p->l.text, 60).n, p->l.text.p);
    if (!add_matcher(p, n, op, name, p->l.text, at))
        return false;
    prom_lex_next(&p->l);
    return !p->l.failed;
}

static bool braces(struct prom_parser *p, struct prom_node *n)
{
    prom_lex_next(&p->l);
    while (p->l.token != TOK_RBRACE) {
        if (!one_matcher(p, n))
            return false;
        if (p->l.token == TOK_RBRACE)
            break;
        if (!prom_expect(p, TOK_COMMA, "label matching", "\",\" or \"}\""))
            return false;
    }
    n->to = p->l.to;
    prom_lex_next(&p->l);
    return !p->l.failed;
}

struct prom_node *prom_parse_selector(struct prom_parser *p, bool named)
{
    struct prom_node *n = prom_node_new(p, PROM_SELECTOR, PROM_VECTOR, p->l.from);
    if (!n)
        return NULL;
    n->matchers = ARENA_ARRAY(&p->q->arena, struct matcher, PROM_MAX_MATCHERS);
    if (!n->matchers) {
        prom_lex_fail(&p->l, n->from, "the query is too large");
        return NULL;
    }
    if (named) {
        n->to = p->l.to;
        if (!set_name(p, n, p->l.text, p->l.from))
            return NULL;
        prom_lex_next(&p->l);
    }
    if (p->l.token == TOK_LBRACE && !braces(p, n))
        return NULL;
    for (uint32_t i = 0; i < n->n_matchers; i++)
        if (!matcher_test(&n->matchers[i], SLICE("")))
            return p->l.failed ? NULL : n;
    prom_lex_fail(&p->l, n->from, "vector selector must contain at least one non-empty matcher, like {job=~\".+\"}");
    return NULL;
}
