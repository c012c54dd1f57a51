// One span against a query's tree, and what the query names.
#include "traceql/ast.h"

#include <inttypes.h>
#include <stdio.h>

static bool by_order(enum op op, int c)
{
    switch (op) {
    case EQ:
        return c == 0;
    case NE:
        return c != 0;
    case LT:
        return c < 0;
    case LE:
        return c <= 0;
    case GT:
        return c > 0;
    case GE:
        return c >= 0;
    default:
        return false;
    }
}

static bool match_text(const struct node *n, struct slice s)
{
    if (n->op == RE || n->op == NRE)
        return regex_match(n->re, s) == (n->op == RE);
    return n->lit.kind == LIT_STR && by_order(n->op, slice_cmp(s, n->lit.s));
}

static bool match_float(const struct node *n, double v)
{
    if (v != v) // NaN has no order and is equal to nothing
        return n->op == NE;
    return by_order(n->op, (v > n->lit.f) - (v < n->lit.f));
}

// Worker ids are integers beyond 2^53: no detour over double.
static bool match_int(const struct node *n, int64_t v)
{
    if (n->lit.kind == LIT_FLOAT)
        return match_float(n, (double)v);
    return by_order(n->op, (v > n->lit.i) - (v < n->lit.i));
}

// Comparisons with attributes are strict in type: an int literal does not match a double.
static bool match_value(const struct node *n, const struct value *v)
{
    char text[64];
    switch (v->kind) {
    case COL_STR:
        return match_text(n, v->s);
    case COL_I64:
        if (n->any_type)
            return slice_eq(n->lit.s, slice_of(text, (size_t)snprintf(text, sizeof text, "%" PRId64, v->i64)));
        return n->lit.kind == LIT_INT && match_int(n, v->i64);
    case COL_F64:
        return n->lit.kind == LIT_FLOAT && match_float(n, v->f64);
    case COL_BOOL:
        if (n->any_type)
            return slice_eq(n->lit.s, v->b ? SLICE("true") : SLICE("false"));
        return n->lit.kind == LIT_BOOL && by_order(n->op, (int)v->b - (int)n->lit.i);
    default:
        return false;
    }
}

static bool find_value(const struct node *n, const struct batch *b, uint32_t row, struct value *v)
{
    if (n->target != ATTR_RESOURCE && batch_attr(b, COL_ATTR, n->name, row, v))
        return true;
    const struct attr *a = n->target != ATTR_SPAN ? resource_attr(&b->resources[b->resource[row]], n->name) : NULL;
    if (a)
        *v = a->value;
    return a != NULL;
}

static bool match_id(const struct node *n, uint64_t id)
{
    char text[17];
    return match_text(n, slice_of(text, (size_t)snprintf(text, sizeof text, "%016" PRIx64, id)));
}

static bool match_trace_id(const struct node *n, struct id128 id)
{
    char text[33];
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, id.hi, id.lo);
    size_t zeros = strspn(text, "0");
    bool padded = match_text(n, slice_of(text, 32)), trimmed = match_text(n, slice_of(text + zeros, 32 - zeros));
    return n->op == NE || n->op == NRE ? padded && trimmed : padded || trimmed;
}

static bool compare(const struct node *n, const struct batch *b, uint32_t row)
{
    struct value v;
    if (n->target > ATTR_RESOURCE && n->lit.kind == LIT_NIL)
        return true;
    switch (n->target) {
    case NAME:
        return match_text(n, column_str(b->field[FIELD_NAME], row));
    case STATUS_MESSAGE:
        return match_text(n, column_str(b->field[FIELD_STATUS_MESSAGE], row));
    case DURATION:
        return match_int(n, column_i64(b->field[FIELD_DURATION], row, 0));
    case STATUS:
        return by_order(n->op, (int)(column_i64(b->field[FIELD_STATUS], row, 0) - n->lit.i));
    case KIND:
        return by_order(n->op, (int)(column_i64(b->field[FIELD_KIND], row, 0) - n->lit.i));
    case SPAN_ID:
        return match_id(n, column_id64(b->field[FIELD_SPAN_ID], row));
    case PARENT_ID:
        return match_id(n, column_id64(b->field[FIELD_PARENT_ID], row));
    case TRACE_ID:
        return match_trace_id(n, column_id128(b->field[FIELD_TRACE_ID], row));
    default:
        if (n->lit.kind == LIT_NIL)
            return find_value(n, b, row, &v) == (n->op == NE);
        return find_value(n, b, row, &v) && match_value(n, &v);
    }
}

static bool match(const struct node *n, const struct batch *b, uint32_t row)
{
    struct value v;
    switch (n->kind) {
    case NODE_TRUE:
        return true;
    case NODE_AND:
        return match(n->a, b, row) && match(n->b, b, row);
    case NODE_OR:
        return match(n->a, b, row) || match(n->b, b, row);
    case NODE_NOT:
        return !match(n->a, b, row);
    case NODE_EXISTS:
        return find_value(n, b, row, &v) && v.kind == COL_BOOL && v.b;
    case NODE_COMPARE:
        return compare(n, b, row);
    }
    return false;
}

bool traceql_match(const struct traceql *q, const struct batch *b, uint32_t row)
{
    return match(q->root, b, row);
}

// ---- what it names --------------------------------------------------------------------------------------------------

struct names {
    struct traceql_named *at;
    size_t n, max;
};

static bool describe(const struct node *n, struct traceql_named *out)
{
    *out = (struct traceql_named){.field = FIELD_NONE, .name = n->name};
    switch (n->target) {
    case ATTR_ANY:
    case ATTR_SPAN:
    case ATTR_RESOURCE:
        out->span = n->target != ATTR_RESOURCE;
        out->resource = n->target != ATTR_SPAN;
        return true;
    case STATUS:
        return out->field = FIELD_STATUS, true;
    case KIND:
        return out->field = FIELD_KIND, true;
    case STATUS_MESSAGE:
        return out->field = FIELD_STATUS_MESSAGE, true;
    default:
        return false; // every span of an answer has them anyway
    }
}

static void collect(const struct node *n, struct names *to)
{
    struct traceql_named d;
    if (n->a)
        collect(n->a, to);
    if (n->b)
        collect(n->b, to);
    if ((n->kind != NODE_COMPARE && n->kind != NODE_EXISTS) || !describe(n, &d))
        return;
    for (size_t i = 0; i < to->n; i++)
        if (to->at[i].field == d.field && to->at[i].span == d.span && to->at[i].resource == d.resource &&
            slice_eq(to->at[i].name, d.name))
            return;
    if (to->n < to->max)
        to->at[to->n++] = d;
}

size_t traceql_names(const struct traceql *q, struct traceql_named *out, size_t max)
{
    struct names to = {out, 0, max};
    collect(q->root, &to);
    return to.n;
}

static bool mentions(const struct node *n, enum target target)
{
    bool self = (n->kind == NODE_COMPARE || n->kind == NODE_EXISTS) && n->target == target;
    return self || (n->a && mentions(n->a, target)) || (n->b && mentions(n->b, target));
}

bool traceql_mentions_name(const struct traceql *q)
{
    return mentions(q->root, NAME);
}
