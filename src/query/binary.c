// Binary operations and label_replace. Matching of series works on signatures: the labels that take part in it.
#include "base/buf.h"
#include "base/limits.h"
#include "query/expr.h"
#include <math.h>
#include <stdlib.h>

double binary_number(enum binary_op op, double a, double b)
{
    switch (op) {
    case BIN_ADD:
        return a + b;
    case BIN_SUB:
        return a - b;
    case BIN_MUL:
        return a * b;
    case BIN_DIV:
        return b == 0 ? NAN : a / b;
    case BIN_MOD:
        return b == 0 ? NAN : fmod(a, b);
    case BIN_POW:
        return pow(a, b);
    case BIN_EQ:
        return a == b;
    case BIN_NE:
        return a != b;
    case BIN_GT:
        return a > b;
    case BIN_GE:
        return a >= b;
    case BIN_LT:
        return a < b;
    case BIN_LE:
        return a <= b;
    default:
        return NAN;
    }
}

static enum errc over_budget(struct error *err)
{
    return ERR(err, LIMIT, "the query needs more than its memory budget");
}

// Value of a op b; false when a comparison without bool filters it out. keep: what a passing comparison gives.
static bool apply(const struct expr_binary *e, double a, double b, double keep, double *out)
{
    double v = binary_number(e->op, a, b);
    if (!binary_compares(e->op) || e->is_bool) {
        *out = v;
        return true;
    }
    *out = keep;
    return v != 0;
}

static enum errc with_scalar(const struct expr_binary *e, const struct expr_env *env, struct matrix *vec,
                             const struct matrix *num, bool scalar_left, struct matrix *out)
{
    const double *x = num->s[0].v;
    for (uint32_t i = 0; i < vec->n; i++) {
        struct series *s = &vec->s[i];
        for (uint32_t k = 0; k < env->steps; k++) {
            if (!s->has[k])
                continue;
            double a = scalar_left ? x[k] : s->v[k], b = scalar_left ? s->v[k] : x[k];
            s->has[k] = apply(e, a, b, s->v[k], &s->v[k]);
        }
    }
    *out = *vec;
    return ERR_OK;
}

static enum errc scalars(const struct expr_binary *e, const struct expr_env *env, struct matrix *l, const struct matrix *r,
                         struct matrix *out)
{
    for (uint32_t k = 0; k < env->steps; k++)
        l->s[0].v[k] = binary_number(e->op, l->s[0].v[k], r->s[0].v[k]);
    *out = *l;
    return ERR_OK;
}

// ---- matching -------------------------------------------------------------------------------------------------------

static bool listed(const struct slice *names, uint32_t n, struct slice name)
{
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(names[i], name))
            return true;
    return false;
}

static uint32_t signature(const struct expr_binary *e, const struct series *s, struct label *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        bool in = listed(e->labels, e->n_labels, s->l[i].name);
        if (e->on ? in : !in)
            out[n++] = s->l[i];
    }
    return n;
}

// Series of one side by signature: chains through next.
struct side {
    struct matrix sigs; // extra of a signature: first member + 1
    uint32_t *next;     // member → next member + 1
    uint32_t *sig;      // member → its signature's number
};

static enum errc side_init(struct side *d, const struct expr_binary *e, const struct matrix *m, struct error *err)
{
    matrix_init(&d->sigs, m->arena, 0);
    d->next = ARENA_ARRAY(m->arena, uint32_t, m->n);
    d->sig = ARENA_ARRAY(m->arena, uint32_t, m->n);
    if (!d->next || !d->sig)
        return over_budget(err);
    for (uint32_t i = m->n; i-- > 0;) { // backwards, so that chains run forward
        struct label *l = arena_alloc(m->arena, sizeof *l * (m->s[i].n + 1u));
        struct series *s = l ? matrix_series(&d->sigs, l, signature(e, &m->s[i], l), NULL) : NULL;
        if (!s)
            return over_budget(err);
        d->next[i] = (uint32_t)(uintptr_t)s->extra;
        s->extra = (void *)(uintptr_t)(i + 1);
        d->sig[i] = (uint32_t)(s - d->sigs.s);
    }
    return ERR_OK;
}

// First member with the signature, + 1; 0 if none.
static uint32_t side_first(const struct side *d, const struct series *sig)
{
    const struct series *s = matrix_find(&d->sigs, sig->l, sig->n);
    return s ? (uint32_t)(uintptr_t)s->extra : 0;
}

static bool side_has(const struct side *d, const struct matrix *m, const struct series *sig, uint32_t step)
{
    for (uint32_t i = side_first(d, sig); i; i = d->next[i - 1])
        if (m->s[i - 1].has[step])
            return true;
    return false;
}

static enum errc copy_series(const struct series *s, const struct expr_env *env, struct matrix *out, struct series **made,
                             struct error *err)
{
    *made = matrix_series(out, s->l, s->n, NULL);
    return *made ? ERR_OK : over_budget(err);
}

static enum errc sets(const struct expr_binary *e, const struct expr_env *env, const struct matrix *l, const struct matrix *r,
                      struct matrix *out, struct error *err)
{
    struct side left, right;
    struct series *o;
    TRY(side_init(&left, e, l, err));
    TRY(side_init(&right, e, r, err));
    for (uint32_t i = 0; i < l->n; i++) {
        TRY(query_check(env->q, err)); // a series may be held against all of the other side, at each step
        TRY(copy_series(&l->s[i], env, out, &o, err));
        for (uint32_t k = 0; k < env->steps; k++) {
            if (!l->s[i].has[k])
                continue;
            bool other = e->op != BIN_OR && side_has(&right, r, &left.sigs.s[left.sig[i]], k);
            if (e->op == BIN_OR || other == (e->op == BIN_AND)) {
                o->v[k] = l->s[i].v[k];
                o->has[k] = 1;
            }
        }
    }
    for (uint32_t i = 0; e->op == BIN_OR && i < r->n; i++) {
        TRY(query_check(env->q, err));
        TRY(copy_series(&r->s[i], env, out, &o, err));
        for (uint32_t k = 0; k < env->steps; k++) {
            if (!r->s[i].has[k] || side_has(&left, l, &right.sigs.s[right.sig[i]], k))
                continue;
            o->v[k] = r->s[i].v[k];
            o->has[k] = 1;
        }
    }
    return ERR_OK;
}

// Labels of a match: one to one the signature (default: all labels), else those of the many side with the included
// ones taken from the one side.
static uint32_t result_labels(const struct expr_binary *e, const struct series *many, const struct series *one, struct label *out)
{
    uint32_t n = 0;
    if (e->card == CARD_ONE)
        return signature(e, many, out);
    for (uint32_t i = 0; i < many->n; i++)
        if (!listed(e->include, e->n_include, many->l[i].name))
            out[n++] = many->l[i];
    for (uint32_t i = 0; i < one->n; i++)
        if (listed(e->include, e->n_include, one->l[i].name))
            out[n++] = one->l[i];
    return labels_sort(out, n);
}

enum clash { CLASH_ONE_SIDE, CLASH_MANY_SIDE, CLASH_RESULT };

static enum errc ambiguous(const struct expr_binary *e, enum clash what, struct error *err)
{
    const char *op = binary_text(e->op);
    if (what == CLASH_ONE_SIDE)
        return ERR(err, INPUT, "found duplicate series on the %s hand-side of %s: its matching labels must be unique",
                   e->card == CARD_MANY_RIGHT ? "left" : "right", op);
    if (e->card == CARD_ONE)
        return ERR(err, INPUT,
                   "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right) at %s", op);
    return ERR(err, INPUT, "multiple matches for labels: grouping labels must ensure unique matches at %s", op);
}

static enum errc match_one(const struct expr_binary *e, const struct expr_env *env, const struct series *m,
                           const struct series *o, bool many_left, struct matrix *out, struct error *err)
{
    struct label *l = arena_alloc(out->arena, sizeof *l * (m->n + o->n + 1u));
    struct series *s = l ? matrix_series(out, l, result_labels(e, m, o, l), NULL) : NULL;
    if (!s)
        return over_budget(err);
    for (uint32_t k = 0; k < env->steps; k++) {
        if (!m->has[k] || !o->has[k])
            continue;
        double a = many_left ? m->v[k] : o->v[k], b = many_left ? o->v[k] : m->v[k], v;
        if (s->extra && ((uint8_t *)s->extra)[k]) // two matches give the same series
            return ambiguous(e, CLASH_RESULT, err);
        if (!s->extra && !(s->extra = arena_zalloc(out->arena, env->steps)))
            return over_budget(err);
        ((uint8_t *)s->extra)[k] = 1;
        if (!apply(e, a, b, a, &v))
            continue;
        s->v[k] = v;
        s->has[k] = 1;
    }
    return ERR_OK;
}

// At each step a signature may stand for one series only on the one side.
static enum errc check_one(const struct expr_binary *e, enum clash what, const struct expr_env *env, const struct side *d,
                           const struct matrix *m, const struct side *other, const struct matrix *om, struct error *err)
{
    for (uint32_t g = 0; g < d->sigs.n; g++) {
        uint32_t first = (uint32_t)(uintptr_t)d->sigs.s[g].extra;
        if (!first || !d->next[first - 1])
            continue;
        TRY(query_check(env->q, err));
        for (uint32_t k = 0; k < env->steps; k++) {
            uint32_t live = 0;
            for (uint32_t i = first; i; i = d->next[i - 1])
                live += m->s[i - 1].has[k];
            if (live > 1 && side_has(other, om, &d->sigs.s[g], k))
                return ambiguous(e, what, err);
        }
    }
    return ERR_OK;
}

static enum errc vectors(const struct expr_binary *e, const struct expr_env *env, const struct matrix *l, const struct matrix *r,
                         struct matrix *out, struct error *err)
{
    bool many_left = e->card != CARD_MANY_RIGHT;
    const struct matrix *m = many_left ? l : r, *o = many_left ? r : l;
    struct side many, one;
    TRY(side_init(&many, e, m, err));
    TRY(side_init(&one, e, o, err));
    TRY(check_one(e, CLASH_ONE_SIDE, env, &one, o, &many, m, err));
    if (e->card == CARD_ONE)
        TRY(check_one(e, CLASH_MANY_SIDE, env, &many, m, &one, o, err));
    for (uint32_t i = 0; i < m->n; i++) {
        TRY(query_check(env->q, err));
        for (uint32_t k = side_first(&one, &many.sigs.s[many.sig[i]]); k; k = one.next[k - 1])
            TRY(match_one(e, env, &m->s[i], &o->s[k - 1], many_left, out, err));
    }
    return ERR_OK;
}

enum errc expr_eval_binary(const struct expr_binary *e, const struct expr_env *env, struct matrix *out, struct error *err)
{
    struct matrix l, r;
    TRY(expr_eval(e->left, env, &l, err));
    TRY(expr_eval(e->right, env, &r, err));
    if (l.scalar && r.scalar)
        return scalars(e, env, &l, &r, out);
    if (binary_is_set(e->op) && (l.scalar || r.scalar))
        return ERR(err, INPUT, "%s needs a vector on both sides", binary_text(e->op));
    if (l.scalar || r.scalar)
        return with_scalar(e, env, l.scalar ? &r : &l, l.scalar ? &l : &r, l.scalar, out);
    return binary_is_set(e->op) ? sets(e, env, &l, &r, out, err) : vectors(e, env, &l, &r, out, err);
}

// ---- label_replace --------------------------------------------------------------------------------------------------

enum { MAX_GROUPS = 64 };

// $1, ${1}, $name, ${name}, $$ as Go's Regexp.Expand.
static void expand(struct buf *b, struct slice t, const struct regex *re, const struct slice *g, int groups)
{
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] != '$' || i + 1 == t.n) {
            buf_char(b, t.p[i]);
            continue;
        }
        if (t.p[i + 1] == '$') {
            buf_char(b, t.p[++i]);
            continue;
        }
        bool brace = t.p[i + 1] == '{';
        size_t from = i + 1 + brace, to = from;
        while (to < t.n && ((t.p[to] >= '0' && t.p[to] <= '9') || (t.p[to] >= 'a' && t.p[to] <= 'z') ||
                            (t.p[to] >= 'A' && t.p[to] <= 'Z') || t.p[to] == '_'))
            to++;
        struct slice name = slice_of(t.p + from, to - from);
        if (!name.n || (brace && (to == t.n || t.p[to] != '}'))) {
            buf_char(b, '$');
            continue;
        }
        uint64_t number;
        if (slice_to_u64(name, &number)) {
            if (number <= (uint64_t)groups && g[number].p)
                buf_add(b, g[number]);
        } else {
            for (int k = 1; k <= groups; k++)
                if (slice_eq(slice_str(regex_group_name(re, k)), name) && g[k].p)
                    buf_add(b, g[k]);
        }
        i = to - 1 + brace;
    }
}

static enum errc replace_one(const struct expr_replace *e, const struct expr_env *env, const struct series *s, struct matrix *out,
                             struct error *err)
{
    struct slice src = SLICE(""), g[MAX_GROUPS + 1];
    int groups = regex_groups(e->re);
    struct label *l = arena_alloc(out->arena, sizeof *l * (s->n + 2u));
    if (!l)
        return over_budget(err);
    uint32_t n = s->n;
    memcpy(l, s->l, sizeof *l * n);
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(l[i].name, e->src))
            src = l[i].value;
    if (groups <= MAX_GROUPS && regex_find(e->re, src, g, groups + 1)) {
        struct buf text;
        buf_init(&text, MAX_QUERY_TEXT);
        expand(&text, e->replacement, e->re, g, groups);
        uint32_t k = 0;
        for (uint32_t i = 0; i < n; i++)
            if (!slice_eq(l[i].name, e->dst))
                l[k++] = l[i];
        l[k++] = (struct label){e->dst, arena_dup(out->arena, buf_slice(&text))};
        buf_free(&text);
        n = labels_sort(l, k);
    }
    struct series *o = matrix_series(out, l, n, NULL);
    if (!o)
        return over_budget(err);
    for (uint32_t k = 0; k < env->steps; k++) {
        if (!s->has[k])
            continue;
        if (o->has[k])
            return ERR(err, INPUT, "label_replace: two series get the same labels");
        o->has[k] = 1;
        o->v[k] = s->v[k];
    }
    return ERR_OK;
}

enum errc expr_eval_replace(const struct expr_replace *e, const struct expr_env *env, struct matrix *out, struct error *err)
{
    struct matrix in;
    TRY(expr_eval(e->arg, env, &in, err));
    for (uint32_t i = 0; i < in.n; i++)
        TRY(replace_one(e, env, &in.s[i], out, err));
    return ERR_OK;
}
