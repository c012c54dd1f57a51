// TraceQL text to its tree.
#include "base/limits.h"
#include "query/units.h"
#include "traceql/ast.h"

#include <stdio.h>

// Matching recurses: both bounds keep its stack small.
enum { MAX_DEPTH = 64, MAX_TERMS = 1000 };

struct parser {
    struct slice text;
    size_t at;
    int depth, terms;
    struct arena *arena;
    struct error *err;
    struct traceql *q;
};

// ---- lexer ----------------------------------------------------------------------------------------------------------

static enum errc fail(struct parser *p, const char *what)
{
    struct slice rest = slice_cut(slice_from(p->text, p->at), 24);
    if (!rest.n)
        return ERR(p->err, SYNTAX, "TraceQL, position %zu: %s, found the end of the query", p->at + 1, what);
    return ERR(p->err, SYNTAX, "TraceQL, position %zu: %s, found \"%.*s\"", p->at + 1, what, (int)rest.n, rest.p);
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->text.n && memchr(" \t\r\n", p->text.p[p->at], 4))
        p->at++;
}

static bool take(struct parser *p, const char *token)
{
    skip_blanks(p);
    struct slice t = slice_str(token);
    if (!slice_starts(slice_from(p->text, p->at), t))
        return false;
    p->at += t.n;
    return true;
}

static const char NAME_ENDS[] = " \t\r\n{}()=~!<>&|^,\"`";

static struct slice word(struct parser *p)
{
    skip_blanks(p);
    size_t from = p->at;
    while (p->at < p->text.n && !memchr(NAME_ENDS, p->text.p[p->at], sizeof NAME_ENDS - 1))
        p->at++;
    return slice_of(p->text.p + from, p->at - from);
}

static enum errc string_literal(struct parser *p, struct slice *out)
{
    char quote = p->text.p[p->at++];
    char *to = arena_alloc(p->arena, p->text.n - p->at + 1);
    size_t n = 0;
    if (!to)
        return ERR(p->err, LIMIT, "query needs too much memory");
    while (p->at < p->text.n && p->text.p[p->at] != quote) {
        char c = p->text.p[p->at++];
        if (c == '\\' && quote == '"') {
            if (p->at >= p->text.n)
                break;
            c = p->text.p[p->at++];
            const char *from = "nrt\"\\'", *become = "\n\r\t\"\\'", *hit = strchr(from, c);
            if (!c || !hit)
                return fail(p, "unknown escape in a string");
            c = become[hit - from];
        }
        to[n++] = c;
    }
    if (p->at >= p->text.n)
        return fail(p, "string without its closing quote");
    p->at++;
    *out = slice_of(to, n);
    return ERR_OK;
}

static bool named(struct slice w, const char *const *names, int64_t *out)
{
    for (int i = 0; names[i]; i++)
        if (slice_eq(w, slice_str(names[i])))
            return *out = i, true;
    return false;
}

static const char *const status_words[] = {"unset", "ok", "error", NULL};
static const char *const kind_words[] = {"unspecified", "internal", "server", "client", "producer", "consumer", NULL};

static enum errc parse_literal(struct parser *p, struct literal *out)
{
    skip_blanks(p);
    if (p->at < p->text.n && (p->text.p[p->at] == '"' || p->text.p[p->at] == '`')) {
        out->kind = LIT_STR;
        return string_literal(p, &out->s);
    }
    size_t from = p->at;
    struct slice w = word(p);
    if (slice_to_i64(w, &out->i)) {
        out->kind = LIT_INT;
        out->f = (double)out->i;
    } else if (w.n && memchr("0123456789.", w.p[w.n > 1 && (w.p[0] == '-' || w.p[0] == '+')], 11) &&
               slice_to_f64(w, &out->f)) { // nil is not NaN
        out->kind = LIT_FLOAT;
    } else if (unit_duration_long(w, &out->i)) {
        out->kind = LIT_DURATION;
        out->f = (double)out->i;
    } else if (slice_eq(w, SLICE("true")) || slice_eq(w, SLICE("false"))) {
        out->kind = LIT_BOOL;
        out->i = w.p[0] == 't';
    } else if (slice_eq(w, SLICE("nil"))) {
        out->kind = LIT_NIL;
    } else if (named(w, status_words, &out->i)) {
        out->kind = LIT_STATUS;
    } else if (named(w, kind_words, &out->i)) {
        out->kind = LIT_KIND;
    } else {
        p->at = from;
        return fail(p, "expected a value (string, number, duration, true, false, nil, status or kind)");
    }
    return ERR_OK;
}

// ---- parser ---------------------------------------------------------------------------------------------------------

static struct node *new_node(struct parser *p, enum node_kind kind)
{
    struct node *n = ARENA_NEW(p->arena, struct node);
    if (n)
        n->kind = kind;
    return n;
}

static bool resolve_field(struct slice w, struct node *n)
{
    static const struct {
        const char *name;
        enum target target;
    } names[] = {{"name", NAME},
                 {"span:name", NAME},
                 {"duration", DURATION},
                 {"span:duration", DURATION},
                 {"status", STATUS},
                 {"span:status", STATUS},
                 {"statusMessage", STATUS_MESSAGE},
                 {"span:statusMessage", STATUS_MESSAGE},
                 {"kind", KIND},
                 {"span:kind", KIND},
                 {"span:id", SPAN_ID},
                 {"span:parentID", PARENT_ID},
                 {"trace:id", TRACE_ID}};
    static const struct {
        const char *prefix;
        enum target target;
    } scopes[] = {{"span.", ATTR_SPAN}, {"resource.", ATTR_RESOURCE}, {".", ATTR_ANY}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq(w, slice_str(names[i].name)))
            return n->target = names[i].target, true;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        struct slice prefix = slice_str(scopes[i].prefix);
        if (slice_starts(w, prefix) && w.n > prefix.n) {
            n->target = scopes[i].target;
            n->name = slice_from(w, prefix.n);
            return true;
        }
    }
    return false;
}

static bool parse_op(struct parser *p, enum op *op)
{
    static const struct {
        const char *text;
        enum op op;
    } ops[] = {{"=~", RE}, {"!~", NRE}, {"!=", NE}, {"<=", LE}, {">=", GE}, {"=", EQ}, {"<", LT}, {">", GT}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (take(p, ops[i].text))
            return *op = ops[i].op, true;
    return false;
}

// An attribute's name may have parts in quotes: span."cargo type". The word ended at the first of them.
static enum errc quoted_name(struct parser *p, struct slice *w)
{
    while (p->at < p->text.n && p->text.p[p->at] == '"') {
        struct slice part;
        TRY(string_literal(p, &part));
        size_t from = p->at;
        while (p->at < p->text.n && !memchr(NAME_ENDS, p->text.p[p->at], sizeof NAME_ENDS - 1))
            p->at++;
        *w = arena_printf(p->arena, "%.*s%.*s%.*s", (int)w->n, w->p, (int)part.n, part.p, (int)(p->at - from), p->text.p + from);
        if (!w->p)
            return ERR(p->err, LIMIT, "query needs too much memory");
    }
    return ERR_OK;
}

// What can never be true is refused, so that a typing mistake does not look like an empty answer.
static const char *type_error(const struct node *n)
{
    bool equality = n->op == EQ || n->op == NE,
         number = n->lit.kind == LIT_INT || n->lit.kind == LIT_FLOAT || n->lit.kind == LIT_DURATION;
    if (n->op == RE || n->op == NRE) {
        bool text = n->target <= ATTR_RESOURCE || n->target == NAME || n->target == STATUS_MESSAGE || n->target >= SPAN_ID;
        return n->lit.kind == LIT_STR && text ? NULL : "=~ and !~ need text on the left and a string on the right";
    }
    if (!equality && n->lit.kind != LIT_STR && !number)
        return "only numbers and strings have an order";
    if (n->target > ATTR_RESOURCE && n->lit.kind == LIT_NIL)
        return n->op == NE ? NULL : "this field is never nil";
    switch (n->target) {
    case ATTR_ANY:
    case ATTR_SPAN:
    case ATTR_RESOURCE:
        return NULL;
    case DURATION:
        return number ? NULL : "duration is compared with a duration such as 1.5s or 20ms";
    case STATUS:
        return n->lit.kind == LIT_STATUS ? NULL : "status is ok, error or unset, without quotes";
    case KIND:
        return n->lit.kind == LIT_KIND ? NULL
                                       : "kind is server, client, internal, producer, consumer or unspecified, without quotes";
    default:
        return n->lit.kind == LIT_STR ? NULL : "this field is compared with a string in double quotes";
    }
}

static enum errc compile_regex(struct parser *p, struct node *n)
{
    struct slice pattern = arena_printf(p->arena, "(?s)%.*s", (int)n->lit.s.n, n->lit.s.p); // a dot is a line's end too
    if (!pattern.p)
        return ERR(p->err, LIMIT, "query needs too much memory");
    TRY(regex_new(&n->re, pattern, true, p->err));
    n->next_regex = p->q->regexes;
    p->q->regexes = n;
    return ERR_OK;
}

static enum errc parse_comparison(struct parser *p, struct node **out)
{
    struct node *n = new_node(p, NODE_COMPARE);
    if (!n)
        return ERR(p->err, LIMIT, "query needs too much memory");
    skip_blanks(p);
    size_t from = p->at;
    struct slice w = word(p);
    *out = n;
    TRY(quoted_name(p, &w));
    if (slice_eq(w, SLICE("true"))) {
        n->kind = NODE_TRUE;
        return ERR_OK;
    }
    if (!resolve_field(w, n)) {
        p->at = from;
        return fail(p, "expected an attribute (.name, span.name, resource.name) or one of name, duration, status, statusMessage, "
                       "kind, span:id, trace:id");
    }
    if (!parse_op(p, &n->op)) {
        n->kind = NODE_EXISTS; // `{ .a }`
        return n->target <= ATTR_RESOURCE ? ERR_OK : fail(p, "expected one of = != =~ !~ < <= > >=");
    }
    skip_blanks(p);
    from = p->at;
    TRY(parse_literal(p, &n->lit));
    const char *wrong = type_error(n);
    if (wrong) {
        p->at = from;
        return fail(p, wrong);
    }
    return n->op == RE || n->op == NRE ? compile_regex(p, n) : ERR_OK;
}

static enum errc parse_or(struct parser *p, struct node **out);

static enum errc parse_unary(struct parser *p, struct node **out)
{
    if (++p->depth > MAX_DEPTH || ++p->terms > MAX_TERMS)
        return fail(p, "too many or too deeply nested conditions");
    enum errc rc;
    if (take(p, "(")) {
        rc = parse_or(p, out);
        if (rc == ERR_OK && !take(p, ")"))
            rc = fail(p, "expected )");
    } else if (take(p, "!")) {
        struct node *n = new_node(p, NODE_NOT);
        *out = n;
        rc = n ? parse_unary(p, &n->a) : ERR(p->err, LIMIT, "query needs too much memory");
    } else {
        rc = parse_comparison(p, out);
    }
    p->depth--;
    return rc;
}

// && and || have the same rank and group from the left.
static enum errc parse_or(struct parser *p, struct node **out)
{
    TRY(parse_unary(p, out));
    for (;;) {
        enum node_kind kind;
        if (take(p, "&&"))
            kind = NODE_AND;
        else if (take(p, "||"))
            kind = NODE_OR;
        else
            return ERR_OK;
        struct node *n = new_node(p, kind);
        if (!n)
            return ERR(p->err, LIMIT, "query needs too much memory");
        n->a = *out;
        TRY(parse_unary(p, &n->b));
        *out = n;
    }
}

enum errc traceql_parse(struct slice text, struct arena *arena, struct traceql **out, struct error *err)
{
    struct parser p = {.text = text, .arena = arena, .err = err};
    *out = NULL;
    if (text.n > MAX_QUERY_TEXT)
        return ERR(err, LIMIT, "the query has %zu bytes; at most %d are accepted", text.n, MAX_QUERY_TEXT);
    p.q = ARENA_NEW(arena, struct traceql);
    if (!p.q || !(p.q->root = new_node(&p, NODE_TRUE)))
        return ERR(err, LIMIT, "query needs too much memory");
    *out = p.q;
    skip_blanks(&p);
    if (p.at == text.n)
        return ERR_OK;
    if (!take(&p, "{"))
        return fail(&p, "expected {");
    if (!take(&p, "}")) {
        TRY(parse_or(&p, &p.q->root));
        if (!take(&p, "}"))
            return fail(&p, "expected }, && or ||");
    }
    skip_blanks(&p);
    if (p.at < text.n)
        return fail(&p, "only one spanset filter { … } is supported so far, expected the end");
    return ERR_OK;
}

enum errc traceql_add_tag(struct traceql *q, struct arena *arena, struct slice key, struct slice value, struct error *err)
{
    struct node *cmp = ARENA_NEW(arena, struct node), *both = ARENA_NEW(arena, struct node);
    if (!cmp || !both)
        return ERR(err, LIMIT, "query needs too much memory");
    *cmp = (struct node){.kind = NODE_COMPARE, .op = EQ, .any_type = true, .lit = {.kind = LIT_STR, .s = value}};
    if (slice_eq(key, SLICE("name")))
        cmp->target = NAME;
    else if (slice_eq(key, SLICE("error"))) {
        cmp->target = STATUS;
        cmp->lit = (struct literal){.kind = LIT_STATUS, .i = 2};
    } else {
        cmp->target = ATTR_ANY;
        cmp->name = key;
    }
    *both = (struct node){.kind = NODE_AND, .a = q->root, .b = cmp};
    q->root = both;
    return ERR_OK;
}

void traceql_free(struct traceql *q)
{
    for (struct node *n = q ? q->regexes : NULL; n; n = n->next_regex)
        regex_free(n->re);
}
