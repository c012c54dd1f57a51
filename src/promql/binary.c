// Binary operators: of scalars, of a vector and a scalar, of two vectors with matching of labels.
#include "promql/eval_int.h"

// False: a comparison that does not hold.
static bool calculate(enum prom_op op, double a, double b, double *out)
{
    *out = a;
    switch (op) {
    case PROM_ADD:
        *out = a + b;
        return true;
    case PROM_SUB:
        *out = a - b;
        return true;
    case PROM_MUL:
        *out = a * b;
        return true;
    case PROM_DIV:
        *out = a / b;
        return true;
    case PROM_MOD:
        *out = fmod(a, b);
        return true;
    case PROM_POW:
        *out = pow(a, b);
        return true;
    case PROM_ATAN2:
        *out = atan2(a, b);
        return true;
    case PROM_EQ:
        return a == b;
    case PROM_NE:
        return a != b;
    case PROM_LT:
        return a < b;
    case PROM_LE:
        return a <= b;
    case PROM_GT:
        return a > b;
    default:
        return a >= b;
    }
}

// A value of either kind. Absent ones do not come here.
struct operand {
    double v;
    const struct prom_hist *h; // null: v
};

static struct prom_hist *scaled(struct prom_eval *e, const struct prom_hist *h, double f)
{
    struct prom_hist *c = prom_hist_copy(e->a, h);
    if (c)
        prom_hist_scale(c, f);
    return c;
}

// With a histogram on one side or both. PROM_HAS_NONE: it has no meaning, or does not hold.
static int calculate_hist(struct prom_eval *e, const struct prom_node *n, struct operand a, struct operand b,
                          struct prom_hist **h)
{
    if (a.h && b.h) {
        if (n->op == PROM_EQ || n->op == PROM_NE) {
            *h = (struct prom_hist *)a.h;
            return prom_hist_equal(a.h, b.h) == (n->op == PROM_EQ) ? PROM_HAS_HIST : PROM_HAS_NONE;
        }
        if (n->op == PROM_ADD || n->op == PROM_SUB) {
            *h = prom_hist_add(e->a, a.h, b.h, n->op == PROM_ADD ? 1 : -1);
            if (!*h)
                prom_warn(e, true, n, "histograms of different kinds of buckets cannot be added");
            return *h ? PROM_HAS_HIST : PROM_HAS_NONE;
        }
    } else if (n->op == PROM_MUL || (n->op == PROM_DIV && a.h)) {
        double f = a.h ? b.v : a.v;
        *h = scaled(e, a.h ? a.h : b.h, n->op == PROM_DIV ? 1 / f : f);
        return *h ? PROM_HAS_HIST : PROM_HAS_NONE;
    }
    prom_warn(e, false, n, "incompatible sample types encountered for binary operator \"%s\": %s and %s", prom_ops[n->op].text,
              a.h ? "histogram" : "float", b.h ? "histogram" : "float");
    return PROM_HAS_NONE;
}

// Writes the value at the step. keep: what a comparison that holds leaves.
static bool put(struct prom_eval *e, const struct prom_node *n, struct prom_series *s, uint32_t t, struct operand a,
                struct operand b, struct operand keep)
{
    double v;
    struct prom_hist *h = NULL;
    if (a.h || b.h) {
        int has = calculate_hist(e, n, a, b, &h);
        if (n->bool_result)
            prom_series_set(s, t, has != PROM_HAS_NONE);
        else if (has != PROM_HAS_NONE)
            return prom_series_set_hist(e, s, t, h);
        return !arena_failed(e->a);
    }
    bool holds = calculate(n->op, a.v, b.v, &v);
    if (n->bool_result)
        prom_series_set(s, t, holds);
    else if (holds)
        prom_series_set(s, t, prom_ops[n->op].comparison ? keep.v : v);
    return true;
}

static bool drops_name(const struct prom_node *n)
{
    return !prom_ops[n->op].comparison || n->bool_result;
}

static struct operand value_at(const struct prom_series *s, uint32_t t)
{
    return (struct operand){s->v[t], s->has[t] == PROM_HAS_HIST ? s->h[t] : NULL};
}

static enum errc with_scalar(struct prom_eval *e, const struct prom_node *n, struct prom_vector *l, struct prom_vector *r,
                             struct prom_vector *out)
{
    bool left_scalar = n->arg[0]->type == PROM_SCALAR;
    struct prom_vector *v = left_scalar ? r : l;
    const struct prom_series *c = &(left_scalar ? l : r)->s[0];
    for (uint32_t i = 0; i < v->n; i++)
        for (uint32_t t = 0; t < e->steps; t++) {
            struct prom_series *s = &v->s[i];
            if (!s->has[t])
                continue;
            struct operand x = value_at(s, t), y = {c->v[t], NULL};
            s->has[t] = PROM_HAS_NONE;
            if (!put(e, n, s, t, left_scalar ? y : x, left_scalar ? x : y, x))
                return prom_no_memory(e);
        }
    *out = *v;
    prom_vector_trim(out, e->steps);
    return drops_name(n) && n->type == PROM_VECTOR ? prom_drop_names(e, out, false) : ERR_OK;
}

// ---- two vectors ------------------------------------------------------------------------------------------------------

// Each distinct set of matching labels has a number.
struct sides {
    struct prom_vector sig;
    uint32_t *of[2]; // [series] of left and right
};

static enum errc signatures(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *const v[2], struct sides *s)
{
    struct prom_eval none = *e; // these series need no places for values
    none.steps = 0;
    *s = (struct sides){0};
    for (int side = 0; side < 2; side++) {
        s->of[side] = arena_alloc(e->a, (v[side]->n + 1) * sizeof *s->of[side]);
        for (uint32_t i = 0; s->of[side] && i < v[side]->n; i++) {
            uint32_t k;
            struct label *l = prom_labels_pick(e, v[side]->s[i].l, v[side]->s[i].n, &n->match_names, !n->on, &k);
            struct prom_series *found = l ? prom_series_find_or_add(&none, &s->sig, l, k) : NULL;
            if (!found)
                return prom_no_memory(e);
            s->of[side][i] = (uint32_t)(found - s->sig.s);
        }
        if (!s->of[side])
            return prom_no_memory(e);
    }
    return ERR_OK;
}

static enum errc clash(struct prom_eval *e, const struct prom_series *a, const struct prom_series *b,
                       const struct prom_series *sig, const char *side)
{
    struct buf x, y, z;
    buf_init(&x, MAX_SHORT_TEXT);
    buf_init(&y, MAX_SHORT_TEXT);
    buf_init(&z, MAX_SHORT_TEXT);
    prom_labels_text(&x, sig->l, sig->n);
    prom_labels_text(&y, a->l, a->n);
    prom_labels_text(&z, b->l, b->n);
    ERR(e->err, INPUT,
        "found duplicate series for the match group %.*s on the %s hand-side of the operation: [%.*s, %.*s];"
        "many-to-many matching not allowed: matching labels must be unique on one side",
        (int)x.n, x.p, side, (int)y.n, y.p, (int)z.n, z.p);
    buf_free(&x);
    buf_free(&y);
    buf_free(&z);
    return ERR_INPUT;
}

// Labels of the answer for a pair; `one` is the side that may be in several pairs.
static struct label *result_labels(struct prom_eval *e, const struct prom_node *n, const struct prom_series *many,
                                   const struct prom_series *one, uint32_t *out_n)
{
    const struct prom_names none = {0};
    struct label *l = many->l;
    *out_n = many->n;
    if (drops_name(n))
        l = prom_labels_pick(e, l, *out_n, &none, true, out_n);
    if (l && n->card == PROM_ONE_TO_ONE && n->on)
        l = prom_labels_pick(e, l, *out_n, &n->match_names, false, out_n);
    else if (l && n->card == PROM_ONE_TO_ONE && n->match_names.n)
        for (uint32_t i = 0; l && i < n->match_names.n; i++)
            l = prom_labels_set(e, l, *out_n, n->match_names.s[i], SLICE_NONE, out_n);
    for (uint32_t i = 0; l && i < n->include.n; i++)
        l = prom_labels_set(e, l, *out_n, n->include.s[i], prom_label(one->l, one->n, n->include.s[i]), out_n);
    return l;
}

struct pairing {
    uint32_t *one_at;              // [signature] series of the one side at this step + 1
    uint32_t *matched;             // [signature] series of the many side at this step + 1; one to one only
    uint32_t *last_one, *last_out; // [many series] the pair before: the same one most of the time. +1
};

static enum errc pair_step(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *many,
                           const struct prom_vector *one, const struct sides *s, bool swapped, uint32_t t, struct pairing *p,
                           struct prom_vector *out)
{
    const uint32_t *many_sig = s->of[swapped], *one_sig = s->of[!swapped];
    memset(p->one_at, 0, s->sig.n * sizeof *p->one_at);
    memset(p->matched, 0, s->sig.n * sizeof *p->matched);
    for (uint32_t i = 0; i < one->n; i++) {
        if (!one->s[i].has[t])
            continue;
        uint32_t *at = &p->one_at[one_sig[i]];
        if (*at)
            return clash(e, &one->s[i], &one->s[*at - 1], &s->sig.s[one_sig[i]], swapped ? "left" : "right");
        *at = i + 1;
    }
    for (uint32_t i = 0; i < many->n; i++) {
        uint32_t sig = many_sig[i], k = p->one_at[sig];
        if (!many->s[i].has[t] || !k)
            continue;
        struct operand a = value_at(&many->s[i], t), b = value_at(&one->s[k - 1], t);
        if (p->last_one[i] != k) {
            uint32_t n_labels;
            struct label *l = result_labels(e, n, &many->s[i], &one->s[k - 1], &n_labels);
            struct prom_series *r = l ? prom_series_find_or_add(e, out, l, n_labels) : NULL;
            if (!r)
                return prom_no_memory(e);
            p->last_one[i] = k;
            p->last_out[i] = (uint32_t)(r - out->s) + 1;
        }
        struct prom_series *r = &out->s[p->last_out[i] - 1];
        double v;
        if (!n->bool_result && prom_ops[n->op].comparison && !a.h && !b.h &&
            !calculate(n->op, swapped ? b.v : a.v, swapped ? a.v : b.v, &v))
            continue; // filtered out: cannot collide
        if (n->card == PROM_ONE_TO_ONE && p->matched[sig])
            return ERR(e->err, INPUT,
                       "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
        if (r->has[t])
            return ERR(e->err, INPUT,
                       n->card == PROM_ONE_TO_ONE
                           ? "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                           : "multiple matches for labels: grouping labels must ensure unique matches");
        p->matched[sig] = i + 1;
        struct operand left = swapped ? b : a, right = swapped ? a : b;
        if (!put(e, n, r, t, left, right, left))
            return prom_no_memory(e);
    }
    return ERR_OK;
}

static enum errc pairs(struct prom_eval *e, const struct prom_node *n, const struct prom_vector *l, const struct prom_vector *r,
                       const struct sides *s, struct prom_vector *out)
{
    bool swapped = n->card == PROM_ONE_TO_MANY;
    const struct prom_vector *many = swapped ? r : l, *one = swapped ? l : r;
    struct pairing p = {arena_alloc(e->a, (s->sig.n + 1) * sizeof(uint32_t)),
                        arena_alloc(e->a, (s->sig.n + 1) * sizeof(uint32_t)), ARENA_ARRAY(e->a, uint32_t, many->n + 1),
                        ARENA_ARRAY(e->a, uint32_t, many->n + 1)};
    if (!p.one_at || !p.matched || !p.last_one || !p.last_out)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++)
        TRY(pair_step(e, n, many, one, s, swapped, t, &p, out));
    return ERR_OK;
}

// and, or, unless: series of the left by whether the right has the same matching labels at the step.
static enum errc set_operation(struct prom_eval *e, const struct prom_node *n, struct prom_vector *l, struct prom_vector *r,
                               const struct sides *s, struct prom_vector *out)
{
    uint8_t *there = arena_alloc(e->a, s->sig.n + 1);
    struct prom_vector *from = n->op == PROM_OR ? l : r, *to = n->op == PROM_OR ? r : l;
    const uint32_t *from_sig = s->of[n->op != PROM_OR], *to_sig = s->of[n->op == PROM_OR];
    if (!there)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++) {
        memset(there, 0, s->sig.n + 1);
        for (uint32_t i = 0; i < from->n; i++)
            there[from_sig[i]] |= from->s[i].has[t] != PROM_HAS_NONE;
        for (uint32_t i = 0; i < to->n; i++)
            if (there[to_sig[i]] == (n->op != PROM_AND))
                to->s[i].has[t] = PROM_HAS_NONE;
    }
    *out = *l;
    if (n->op != PROM_OR)
        return ERR_OK;
    out->s = arena_alloc(e->a, ((size_t)l->n + r->n + 1) * sizeof *out->s);
    if (!out->s)
        return prom_no_memory(e);
    if (l->n)
        memcpy(out->s, l->s, l->n * sizeof *l->s);
    if (r->n)
        memcpy(out->s + l->n, r->s, r->n * sizeof *r->s);
    out->n = l->n + r->n;
    out->cap = out->n + 1;
    prom_vector_trim(out, e->steps);
    return prom_unique(e, out, false);
}

enum errc prom_binary(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    struct prom_vector l = {0}, r = {0};
    struct sides s;
    TRY(prom_eval_node(e, n->arg[0], &l));
    TRY(prom_eval_node(e, n->arg[1], &r));
    if (n->arg[0]->type == PROM_SCALAR || n->arg[1]->type == PROM_SCALAR)
        return with_scalar(e, n, &l, &r, out);
    TRY(signatures(e, n, (const struct prom_vector *const[]){&l, &r}, &s));
    if (prom_ops[n->op].set)
        TRY(set_operation(e, n, &l, &r, &s, out));
    else if (l.n && r.n)
        TRY(pairs(e, n, &l, &r, &s, out));
    TRY(prom_count(e, (uint64_t)out->n * e->steps));
    prom_vector_trim(out, e->steps);
    return ERR_OK;
}
