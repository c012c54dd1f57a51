// Selectors and the stages of log pipelines.
#include "logql/parse.h"

static bool match_op(struct parser *p, enum match_op *op)
{
    switch (p->lex.tok) {
    case TOK_EQ:
        *op = MATCH_EQ;
        return true;
    case TOK_NE:
        *op = MATCH_NE;
        return true;
    case TOK_RE:
        *op = MATCH_RE;
        return true;
    case TOK_NRE:
        *op = MATCH_NRE;
        return true;
    default:
        return false;
    }
}

bool parse_selector(struct parser *p, struct ast *a)
{
    if (!expect(p, TOK_LBRACE, "to start a selector"))
        return false;
    if (p->lex.tok == TOK_RBRACE) {
        lex_next(&p->lex);
        return !p->lex.failed;
    }
    for (;;) {
        if (a->n_matchers == MAX_LOGQL_MATCHERS) {
            lex_fail(&p->lex, p->lex.at, "more than %d matchers", MAX_LOGQL_MATCHERS);
            return false;
        }
        if (!push(p, (void **)&a->matchers, a->n_matchers, sizeof *a->matchers))
            return false;
        struct ast_matcher *m = &a->matchers[a->n_matchers];
        *m = (struct ast_matcher){0};
        if (!take_ident(p, &m->name, "a label name"))
            return false;
        if (!match_op(p, &m->op)) {
            lex_fail(&p->lex, p->lex.at, "expected =, !=, =~ or !~ behind the label, found %s", found_text(p));
            return false;
        }
        lex_next(&p->lex);
        if (!take_string(p, &m->value, "the label's value"))
            return false;
        a->n_matchers++;
        if (p->lex.tok != TOK_COMMA)
            return expect(p, TOK_RBRACE, "to end the selector");
        lex_next(&p->lex);
    }
}

// ---- line filters ---------------------------------------------------------------------------------------------------

static bool line_op(const struct lex *l, enum line_op *op)
{
    switch (l->tok) {
    case TOK_PIPE_EQ:
        *op = LINE_CONTAINS;
        return true;
    case TOK_NE:
        *op = LINE_LACKS;
        return true;
    case TOK_PIPE_RE:
        *op = LINE_MATCHES;
        return true;
    case TOK_NRE:
        *op = LINE_DIFFERS;
        return true;
    case TOK_PIPE_LIKE:
        *op = LINE_LIKE;
        return true;
    case TOK_NOT_LIKE:
        *op = LINE_UNLIKE;
        return true;
    default:
        return false;
    }
}

static bool ip_call(struct parser *p, struct slice *out)
{
    lex_next(&p->lex);
    return expect(p, TOK_LPAREN, "behind ip") && take_string(p, out, "an address") && expect(p, TOK_RPAREN, "behind the address");
}

static bool line_filter(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_LINE;
    do {
        lex_next(&p->lex);
        if (!push(p, (void **)&s->texts, s->n, sizeof *s->texts))
            return false;
        struct line_filter_text *t = &s->texts[s->n++];
        *t = (struct line_filter_text){.ip = lex_word(&p->lex, "ip")};
        if (!(t->ip ? ip_call(p, &t->text) : take_string(p, &t->text, "what to look for")))
            return false;
    } while (lex_word(&p->lex, "or"));
    return true;
}

// ---- label filters --------------------------------------------------------------------------------------------------

static struct ast_filter *filter_or(struct parser *p);

static bool cmp_op(enum tok t, enum cmp *c)
{
    switch (t) {
    case TOK_EQ:
    case TOK_EQEQ:
        *c = CMP_EQ;
        return true;
    case TOK_NE:
        *c = CMP_NE;
        return true;
    case TOK_GT:
        *c = CMP_GT;
        return true;
    case TOK_GE:
        *c = CMP_GE;
        return true;
    case TOK_LT:
        *c = CMP_LT;
        return true;
    case TOK_LE:
        *c = CMP_LE;
        return true;
    default:
        return false;
    }
}

static bool filter_value(struct parser *p, struct ast_filter *f)
{
    enum tok op = p->lex.tok;
    size_t at = p->lex.at;
    bool is_cmp = cmp_op(op, &f->cmp), is_match = match_op(p, &f->match);
    if (!is_cmp && !is_match) {
        lex_fail(&p->lex, at, "expected a comparison behind the label %.*s, found %s", (int)(f->name.n < 60 ? f->name.n : 60),
                 f->name.p, found_text(p));
        return false;
    }
    lex_next(&p->lex);
    if (p->lex.tok == TOK_STRING) {
        if (!is_match)
            lex_fail(&p->lex, at, "%s does not compare strings; use =, !=, =~ or !~, or a number without quotes", tok_text(op));
        f->kind = AST_STRING;
        return take_string(p, &f->text, "a value");
    }
    if (lex_word(&p->lex, "ip")) {
        if (op != TOK_EQ && op != TOK_NE)
            lex_fail(&p->lex, at, "unexpected ip: ip() goes with = and != only");
        f->kind = AST_IP;
        return ip_call(p, &f->text);
    }
    if (!is_cmp) {
        lex_fail(&p->lex, p->lex.at, "%s takes a string, found %s", tok_text(op), found_text(p));
        return false;
    }
    bool negative = p->lex.tok == TOK_SUB;
    if (negative || p->lex.tok == TOK_ADD)
        lex_next(&p->lex);
    f->kind = p->lex.tok == TOK_NUMBER ? AST_NUMBER : p->lex.tok == TOK_DURATION ? AST_DURATION : AST_BYTES;
    if (f->kind == AST_BYTES && p->lex.tok != TOK_BYTES) {
        lex_fail(&p->lex, p->lex.at, "expected a string, number, duration, byte size or ip(…), found %s", found_text(p));
        return false;
    }
    f->number = negative ? -p->lex.number : p->lex.number;
    lex_next(&p->lex);
    return !p->lex.failed;
}

static struct ast_filter *filter_one(struct parser *p)
{
    struct ast_filter *f;
    if (p->lex.tok == TOK_LPAREN) {
        if (!deeper(p))
            return NULL;
        lex_next(&p->lex);
        f = filter_or(p);
        p->depth--;
        return f && expect(p, TOK_RPAREN, "to close the label filter") ? f : NULL;
    }
    f = node(p, sizeof *f);
    return f && take_ident(p, &f->name, "a label name") && filter_value(p, f) ? f : NULL;
}

static struct ast_filter *join(struct parser *p, int kind, struct ast_filter *l, struct ast_filter *r)
{
    struct ast_filter *f = l && r && one_more(p) ? node(p, sizeof *f) : NULL;
    if (f)
        *f = (struct ast_filter){.kind = kind, .left = l, .right = r};
    return f;
}

// and, a comma, or nothing between two filters
static struct ast_filter *filter_and(struct parser *p)
{
    struct ast_filter *f = filter_one(p);
    while (f && !p->lex.failed) {
        bool named = lex_word(&p->lex, "and");
        bool bare = p->lex.tok == TOK_LPAREN || (p->lex.tok == TOK_IDENT && !lex_word(&p->lex, "or") &&
                                                 !lex_word(&p->lex, "unless") && !lex_word(&p->lex, "offset"));
        if (!named && p->lex.tok != TOK_COMMA && !bare)
            break;
        if (named || p->lex.tok == TOK_COMMA)
            lex_next(&p->lex);
        f = join(p, AST_AND, f, filter_one(p));
    }
    return f;
}

static struct ast_filter *filter_or(struct parser *p)
{
    struct ast_filter *f = filter_and(p);
    while (f && lex_word(&p->lex, "or")) {
        lex_next(&p->lex);
        f = join(p, AST_OR, f, filter_and(p));
    }
    return f;
}

static bool stage_filter(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_FILTER;
    s->filter = filter_or(p);
    return s->filter != NULL;
}

// ---- named stages ---------------------------------------------------------------------------------------------------

static bool exprs(struct parser *p, struct ast_stage *s)
{
    if (p->lex.tok != TOK_IDENT)
        return true;
    for (;;) {
        if (!push(p, (void **)&s->exprs, s->n, sizeof *s->exprs))
            return false;
        struct stage_expr *x = &s->exprs[s->n++];
        if (!take_ident(p, &x->label, "a label name"))
            return false;
        x->path = x->label;
        if (p->lex.tok == TOK_EQ) {
            lex_next(&p->lex);
            if (!take_string(p, &x->path, "where the value stands"))
                return false;
        }
        if (p->lex.tok != TOK_COMMA)
            return true;
        lex_next(&p->lex);
    }
}

static bool stage_json_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_JSON;
    return exprs(p, s);
}

static bool stage_logfmt_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_LOGFMT;
    for (; p->lex.tok == TOK_FLAG; lex_next(&p->lex)) {
        if (slice_eq(p->lex.s, SLICE("strict"))) {
            s->strict = true;
        } else if (slice_eq(p->lex.s, SLICE("keep-empty"))) {
            s->keep_empty = true;
        } else {
            lex_fail(&p->lex, p->lex.at, "logfmt knows the flags --strict and --keep-empty");
            return false;
        }
    }
    return exprs(p, s);
}

static bool stage_regexp_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_REGEXP;
    return take_string(p, &s->text, "a regular expression");
}

static bool stage_pattern_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_PATTERN;
    return take_string(p, &s->text, "a pattern");
}

static bool stage_unpack_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_UNPACK;
    return true;
}

static bool stage_decolorize_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_DECOLORIZE;
    return true;
}

static bool stage_line_format_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_LINE_FORMAT;
    return take_string(p, &s->text, "a template");
}

static bool stage_label_format_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_LABEL_FORMAT;
    for (;;) {
        if (!push(p, (void **)&s->formats, s->n, sizeof *s->formats))
            return false;
        struct stage_format *f = &s->formats[s->n++];
        *f = (struct stage_format){0};
        if (!take_ident(p, &f->label, "a label name") || !expect(p, TOK_EQ, "behind the label"))
            return false;
        f->rename = p->lex.tok == TOK_IDENT;
        if (!(f->rename ? take_ident(p, &f->text, "a label name") : take_string(p, &f->text, "a label name, or a template")))
            return false;
        if (p->lex.tok != TOK_COMMA)
            return true;
        lex_next(&p->lex);
    }
}

static bool picks(struct parser *p, struct ast_stage *s)
{
    for (;;) {
        if (!push(p, (void **)&s->picks, s->n, sizeof *s->picks))
            return false;
        struct ast_matcher *m = &s->picks[s->n++];
        *m = (struct ast_matcher){0};
        if (!take_ident(p, &m->name, "a label name"))
            return false;
        if (match_op(p, &m->op)) {
            lex_next(&p->lex);
            if (!take_string(p, &m->value, "the label's value"))
                return false;
        }
        if (p->lex.tok != TOK_COMMA)
            return true;
        lex_next(&p->lex);
    }
}

static bool stage_drop_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_DROP;
    return picks(p, s);
}

static bool stage_keep_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_KEEP;
    return picks(p, s);
}

static bool stage_unwrap_(struct parser *p, struct ast_stage *s)
{
    s->kind = AST_UNWRAP;
    if (!take_ident(p, &s->text, "a label name"))
        return false;
    if (p->lex.tok != TOK_LPAREN)
        return true;
    s->convert = s->text;
    if (!slice_ieq(s->convert, SLICE("bytes")) && !slice_ieq(s->convert, SLICE("duration")) &&
        !slice_ieq(s->convert, SLICE("duration_seconds"))) {
        lex_fail(&p->lex, s->at, "unwrap converts by bytes(…), duration(…) or duration_seconds(…)");
        return false;
    }
    lex_next(&p->lex);
    return take_ident(p, &s->text, "a label name") && expect(p, TOK_RPAREN, "behind the label");
}

static const struct {
    const char *word;
    bool (*parse)(struct parser *p, struct ast_stage *s);
} stages[] = {
    {"json", stage_json_},
    {"logfmt", stage_logfmt_},
    {"regexp", stage_regexp_},
    {"pattern", stage_pattern_},
    {"unpack", stage_unpack_},
    {"line_format", stage_line_format_},
    {"label_format", stage_label_format_},
    {"decolorize", stage_decolorize_},
    {"drop", stage_drop_},
    {"keep", stage_keep_},
    {"unwrap", stage_unwrap_},
};

// The current token is the one behind '|'.
static bool named_stage(struct parser *p, struct ast_stage *s)
{
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        if (!lex_word(&p->lex, stages[i].word))
            continue;
        struct lex before = p->lex;
        enum match_op m;
        enum cmp c;
        lex_next(&p->lex);
        if (p->lex.failed)
            return false;
        if (match_op(p, &m) || cmp_op(p->lex.tok, &c)) {
            // Either a label of that name (| json = "x") or, after a stage without arguments, a line filter (| json != "x").
            struct lex here = p->lex;
            bool line = p->lex.tok == TOK_NE || p->lex.tok == TOK_NRE;
            if (!line || stages[i].parse == stage_drop_ || stages[i].parse == stage_keep_ || stages[i].parse == stage_unwrap_) {
                p->lex = before;
                break;
            }
            p->lex = here;
        }
        return stages[i].parse(p, s);
    }
    if (p->lex.tok == TOK_IDENT || p->lex.tok == TOK_LPAREN)
        return stage_filter(p, s);
    lex_fail(&p->lex, p->lex.at, "expected a parser, a filter or a format behind '|', found %s", found_text(p));
    return false;
}

bool parse_pipeline(struct parser *p, struct ast *a, bool unwrap)
{
    struct ast_stage **end = &a->stages;
    while (*end)
        end = &(*end)->next;
    for (;;) {
        enum line_op op;
        bool line = line_op(&p->lex, &op);
        if (p->lex.failed)
            return false;
        if (!line && p->lex.tok != TOK_PIPE)
            return true;
        struct ast_stage *s = node(p, sizeof *s);
        if (!s)
            return false;
        s->at = p->lex.at;
        s->line_op = line ? op : LINE_CONTAINS;
        if (!line)
            lex_next(&p->lex);
        if (!(line ? line_filter(p, s) : named_stage(p, s)))
            return false;
        if (s->kind == AST_UNWRAP && (!unwrap || a->unwrap))
            lex_fail(&p->lex, s->at,
                     a->unwrap ? "only one unwrap is allowed" : "unwrap is for range aggregations like sum_over_time only");
        else if (a->unwrap && s->kind != AST_FILTER)
            lex_fail(&p->lex, s->at, "only label filters may follow unwrap");
        a->unwrap |= s->kind == AST_UNWRAP;
        if (p->lex.failed)
            return false;
        *end = s;
        end = &s->next;
    }
}
