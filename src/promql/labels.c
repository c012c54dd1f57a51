// label_replace and label_join.
#include "promql/eval_int.h"
#include "query/regex.h"

static const struct prom_node *bare(const struct prom_node *n)
{
    while (n->kind == PROM_PAREN)
        n = n->arg[0];
    return n;
}
static struct slice text(const struct prom_node *n, uint32_t i)
{
    return bare(n->arg[i])->text;
}

static bool word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct slice group(const struct regex *re, const struct slice *groups, struct slice name)
{
    int64_t number;
    if (name.n < 9 && slice_to_i64(name, &number))
        return number >= 0 && number <= regex_groups(re) ? groups[number] : SLICE_NONE;
    for (int i = 1; i <= regex_groups(re); i++)
        if (slice_eq(slice_str(regex_group_name(re, i)), name))
            return groups[i];
    return SLICE_NONE;
}

// $1, ${1}, $name, ${name}, $$; an unknown name is empty, and what makes no sense stays as it is.
static void expand(struct buf *out, struct slice in, const struct regex *re, const struct slice *groups)
{
    for (size_t i = 0; i < in.n;) {
        size_t from = i + 1, to;
        if (in.p[i] != '$' || i + 1 == in.n) {
            buf_char(out, in.p[i++]);
            continue;
        }
        if (in.p[from] == '$') {
            buf_char(out, '$');
            i += 2;
            continue;
        }
        bool braced = in.p[from] == '{';
        from += braced;
        for (to = from; to < in.n && word_char(in.p[to]); to++)
            ;
        if (to == from || (braced && (to == in.n || in.p[to] != '}'))) {
            buf_char(out, in.p[i++]);
            continue;
        }
        buf_add(out, group(re, groups, slice_of(in.p + from, to - from)));
        i = to + braced;
    }
}

static enum errc set_label(struct prom_eval *e, struct prom_series *s, struct slice name, const struct buf *value)
{
    struct slice kept = arena_dup(e->a, buf_slice(value));
    if (value->err || !kept.p || !(s->l = prom_labels_set(e, s->l, s->n, name, kept, &s->n)))
        return prom_no_memory(e);
    s->hash = labels_hash(s->l, s->n);
    return ERR_OK;
}

static enum errc replace(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v, struct buf *value)
{
    struct slice to = text(n, 1), template = text(n, 2), from = text(n, 3), pattern = text(n, 4);
    struct error why = {0};
    struct regex *re = NULL;
    enum errc rc = ERR_OK;
    if (regex_new(&re, pattern, true, &why) != ERR_OK)
        return ERR(e->err, INPUT, "invalid regular expression in label_replace(): %.*s: %s", (int)slice_cut(pattern, 60).n,
                   pattern.p, why.msg);
    int n_groups = regex_groups(re) + 1;
    struct slice *groups = arena_alloc(e->a, (size_t)n_groups * sizeof *groups);
    for (uint32_t i = 0; groups && i < v->n && rc == ERR_OK; i++) {
        struct slice value_of = prom_label(v->s[i].l, v->s[i].n, from);
        if (!regex_find(re, value_of.p ? value_of : SLICE(""), groups, n_groups))
            continue;
        buf_reset(value);
        expand(value, template, re, groups);
        rc = set_label(e, &v->s[i], to, value);
    }
    regex_free(re);
    return groups ? rc : prom_no_memory(e);
}

static enum errc join(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v, struct buf *value)
{
    for (uint32_t i = 0; i < v->n; i++) {
        buf_reset(value);
        for (uint32_t k = 3; k < n->n_args; k++) {
            buf_add(value, k > 3 ? text(n, 2) : SLICE(""));
            buf_add(value, prom_label(v->s[i].l, v->s[i].n, text(n, k)));
        }
        TRY(set_label(e, &v->s[i], text(n, 1), value));
    }
    return ERR_OK;
}

enum errc prom_label_call(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    struct buf value;
    struct slice to = text(n, 1);
    if (to.n == 0)
        return ERR(e->err, INPUT, "invalid destination label name in %s(): \"\"", n->fn->name);
    buf_init(&value, MAX_QUERY_TEXT);
    enum errc rc = n->fn->id == FN_label_replace ? replace(e, n, v, &value) : join(e, n, v, &value);
    buf_free(&value);
    return rc == ERR_OK ? prom_unique(e, v, false) : rc;
}
