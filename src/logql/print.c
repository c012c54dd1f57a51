// Tree → canonical text on one line, as Loki's /format_query writes it. What is printed parses to the same tree.
#include "base/utf8.h"
#include "logql/ast.h"
#include <math.h>

static void quote(struct buf *b, struct slice s)
{
    buf_char(b, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        int len = 1;
        if (c == '"' || c == '\\') {
            buf_char(b, '\\');
            buf_char(b, (char)c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            buf_str(b, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\x%02x", c);
        } else if (c < 0x80) {
            buf_char(b, (char)c);
        } else if (utf8_decode(slice_from(s, i), &len) == 0xFFFD && len == 1) {
            buf_printf(b, "\\x%02x", c);
        } else {
            buf_put(b, s.p + i, (size_t)len);
        }
        i += (size_t)len;
    }
    buf_char(b, '"');
}

static const char *const match_text[] = {"=", "!=", "=~", "!~"};

static void print_selector(const struct ast *a, struct buf *b)
{
    buf_char(b, '{');
    for (uint32_t i = 0; i < a->n_matchers; i++) {
        if (i)
            buf_str(b, ", ");
        buf_add(b, a->matchers[i].name);
        buf_str(b, match_text[a->matchers[i].op]);
        quote(b, a->matchers[i].value);
    }
    buf_char(b, '}');
}

// The largest unit that gives the exact size with at most one decimal, else plain bytes.
static void print_bytes(struct buf *b, double v)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double a = fabs(v);
    int u = 0;
    for (double x = a; u < 5 && x >= 1000; u++)
        x /= 1000;
    for (; u > 0; u--) {
        double x = a / pow(1000, u);
        if (x < 10 ? x * 10 == floor(x * 10) : x == floor(x)) {
            buf_printf(b, x < 10 ? "%s%.1f%s" : "%s%.0f%s", v < 0 ? "-" : "", x, units[u]);
            return;
        }
    }
    buf_printf(b, "%.0fB", v);
}

static void print_filter(const struct ast_filter *f, struct buf *b)
{
    if (f->kind == AST_AND || f->kind == AST_OR) {
        buf_str(b, "( ");
        print_filter(f->left, b);
        buf_str(b, f->kind == AST_AND ? " , " : " or ");
        print_filter(f->right, b);
        buf_str(b, " )");
        return;
    }
    buf_add(b, f->name);
    if (f->kind == AST_STRING) {
        buf_str(b, match_text[f->match]);
        quote(b, f->text);
        return;
    }
    if (f->kind == AST_IP) {
        buf_str(b, f->cmp == CMP_EQ ? "=ip(" : "!=ip(");
        quote(b, f->text);
        buf_char(b, ')');
        return;
    }
    buf_str(b, cmp_text(f->cmp));
    if (f->kind == AST_NUMBER)
        buf_f64(b, f->number);
    else if (f->kind == AST_DURATION)
        unit_duration_text(b, (int64_t)f->number);
    else
        print_bytes(b, f->number);
}

static void print_exprs(const struct ast_stage *s, struct buf *b)
{
    for (uint32_t i = 0; i < s->n; i++) {
        buf_char(b, i ? ',' : ' ');
        buf_add(b, s->exprs[i].label);
        buf_char(b, '=');
        quote(b, s->exprs[i].path);
    }
}

static void print_line(const struct ast_stage *s, struct buf *b)
{
    static const char *const ops[] = {"|= ", "!= ", "|~ ", "!~ ", "|> ", "!> "};
    buf_str(b, ops[s->line_op]);
    for (uint32_t i = 0; i < s->n; i++) {
        if (i)
            buf_str(b, " or ");
        if (s->texts[i].ip)
            buf_str(b, "ip(");
        quote(b, s->texts[i].text);
        if (s->texts[i].ip)
            buf_char(b, ')');
    }
}

static void print_formats(const struct ast_stage *s, struct buf *b)
{
    for (uint32_t i = 0; i < s->n; i++) {
        buf_char(b, i ? ',' : ' ');
        buf_add(b, s->formats[i].label);
        buf_char(b, '=');
        if (s->formats[i].rename)
            buf_add(b, s->formats[i].text);
        else
            quote(b, s->formats[i].text);
    }
}

static void print_picks(const struct ast_stage *s, struct buf *b)
{
    for (uint32_t i = 0; i < s->n; i++) {
        buf_char(b, i ? ',' : ' ');
        buf_add(b, s->picks[i].name);
        if (!s->picks[i].value.p)
            continue;
        buf_str(b, match_text[s->picks[i].op]);
        quote(b, s->picks[i].value);
    }
}

static void print_stage(const struct ast_stage *s, struct buf *b)
{
    static const char *const words[] = {"",       "json", "logfmt",      "regexp",       "pattern",
                                        "unpack", "",     "line_format", "label_format", "decolorize",
                                        "drop",   "keep", "unwrap"};
    buf_char(b, ' ');
    if (s->kind == AST_LINE) {
        print_line(s, b);
        return;
    }
    buf_str(b, "| ");
    buf_str(b, words[s->kind]);
    switch (s->kind) {
    case AST_LOGFMT:
        buf_str(b, s->strict ? " --strict" : "");
        buf_str(b, s->keep_empty ? " --keep-empty" : "");
        print_exprs(s, b);
        break;
    case AST_JSON:
        print_exprs(s, b);
        break;
    case AST_REGEXP:
    case AST_PATTERN:
    case AST_LINE_FORMAT:
        buf_char(b, ' ');
        quote(b, s->text);
        break;
    case AST_FILTER:
        print_filter(s->filter, b);
        break;
    case AST_LABEL_FORMAT:
        print_formats(s, b);
        break;
    case AST_DROP:
    case AST_KEEP:
        print_picks(s, b);
        break;
    case AST_UNWRAP:
        buf_char(b, ' ');
        buf_add(b, s->convert);
        buf_str(b, s->convert.n ? "(" : "");
        buf_add(b, s->text);
        buf_str(b, s->convert.n ? ")" : "");
        break;
    default:
        break;
    }
}

static void print_names(struct buf *b, const struct slice *names, uint32_t n)
{
    buf_char(b, '(');
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            buf_char(b, ',');
        buf_add(b, names[i]);
    }
    buf_char(b, ')');
}

static void print_group(struct buf *b, const struct ast_group *g)
{
    if (!g->given)
        return;
    buf_str(b, g->without ? " without " : " by ");
    print_names(b, g->names, g->n);
}

static void print(const struct ast *a, struct buf *b);

static void print_range(const struct ast *a, struct buf *b)
{
    buf_str(b, range_text(a->range_fn));
    buf_char(b, '(');
    if (a->range_fn == RANGE_QUANTILE) {
        buf_f64(b, a->number);
        buf_char(b, ',');
    }
    print_selector(a, b);
    for (const struct ast_stage *s = a->stages; s; s = s->next)
        print_stage(s, b);
    buf_char(b, '[');
    unit_range_text(b, a->range);
    buf_char(b, ']');
    if (a->has_offset) {
        buf_str(b, " offset ");
        unit_duration_text(b, a->offset);
    }
    buf_char(b, ')');
    print_group(b, &a->group);
}

static void print_binary(const struct ast *a, struct buf *b)
{
    buf_char(b, '(');
    print(a->left, b);
    buf_printf(b, " %s ", binary_text(a->op));
    if (a->is_bool)
        buf_str(b, "bool ");
    if (a->on || a->ignoring) {
        buf_str(b, a->on ? "on " : "ignoring ");
        print_names(b, a->labels, a->n_labels);
        buf_char(b, ' ');
    }
    if (a->card) {
        buf_str(b, a->card < 0 ? "group_left " : "group_right ");
        print_names(b, a->include, a->n_include);
        buf_char(b, ' ');
    }
    print(a->right, b);
    buf_char(b, ')');
}

static void print(const struct ast *a, struct buf *b)
{
    switch (a->kind) {
    case AST_LOG:
        print_selector(a, b);
        for (const struct ast_stage *s = a->stages; s; s = s->next)
            print_stage(s, b);
        break;
    case AST_RANGE:
        print_range(a, b);
        break;
    case AST_AGG:
        buf_str(b, agg_text(a->agg_fn));
        print_group(b, &a->group);
        buf_char(b, '(');
        if (agg_takes_number(a->agg_fn))
            buf_printf(b, "%.0f,", a->number);
        print(a->left, b);
        buf_char(b, ')');
        break;
    case AST_BINARY:
        print_binary(a, b);
        break;
    case AST_NUMBER_LIT:
        buf_f64(b, a->number);
        break;
    case AST_VECTOR:
        buf_printf(b, "vector(%f)", a->number);
        break;
    case AST_REPLACE:
        buf_str(b, "label_replace(");
        print(a->left, b);
        const struct slice *args[] = {&a->dst, &a->replacement, &a->src, &a->regex};
        for (int i = 0; i < 4; i++) {
            buf_char(b, ',');
            quote(b, *args[i]);
        }
        buf_char(b, ')');
        break;
    }
}

void logql_print(const struct logql *q, struct buf *out)
{
    print(q->root, out);
}
