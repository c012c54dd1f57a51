// drop, keep, label_format, line_format, decolorize. Templates here are text with {{ .label }}, {{ __line__ }} and
// {{ __timestamp__ }}; anything else in a template is refused when the query is planned, by name.
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "query/stage.h"

struct pick_stage {
    struct stage stage;
    const struct stage_pick *p;
    uint32_t n;
};

static bool drop_run(const struct stage *st, struct row *r)
{
    const struct pick_stage *s = (const struct pick_stage *)st;
    for (uint32_t i = 0; i < s->n; i++)
        if (!s->p[i].has_match || matcher_test(&s->p[i].match, row_get(r, s->p[i].name, NULL)))
            row_drop(r, s->p[i].name);
    return true;
}
static const struct stage_ops drop_ops = {.name = "drop", .labels = true, .run = drop_run};

static bool kept(const struct pick_stage *s, const struct row_label *l)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (slice_eq(s->p[i].name, l->name) && (!s->p[i].has_match || matcher_test(&s->p[i].match, l->value)))
            return true;
    return false;
}

static bool keep_run(const struct stage *st, struct row *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++)
        if (kept((const struct pick_stage *)st, &r->l[i]))
            r->l[n++] = r->l[i];
    r->n = n;
    return true;
}
static const struct stage_ops keep_ops = {.name = "keep", .labels = true, .run = keep_run};

static enum errc pick(const struct stage **out, struct stage_env *e, const struct stage_ops *ops, const struct stage_pick *p,
                      uint32_t n)
{
    STAGE_NEW(e, struct pick_stage, ops);
    s->p = p;
    s->n = n;
    return ERR_OK;
}

enum errc stage_drop(const struct stage **out, struct stage_env *e, const struct stage_pick *p, uint32_t n)
{
    return pick(out, e, &drop_ops, p, n);
}

enum errc stage_keep(const struct stage **out, struct stage_env *e, const struct stage_pick *p, uint32_t n)
{
    return pick(out, e, &keep_ops, p, n);
}

// ---- templates ------------------------------------------------------------------------------------------------------

struct piece {
    enum { PIECE_TEXT, PIECE_LABEL, PIECE_LINE, PIECE_TIME } kind;
    struct slice text;
};
struct template
{
    struct piece *p;
    uint32_t n;
};

static enum errc action(struct piece *p, struct slice inside, struct error *err)
{
    inside = slice_trim(inside);
    if (inside.n > 1 && inside.p[0] == '.' && label_name_valid(slice_from(inside, 1)))
        *p = (struct piece){PIECE_LABEL, slice_from(inside, 1)};
    else if (slice_eq(inside, SLICE("__line__")))
        p->kind = PIECE_LINE;
    else if (slice_eq(inside, SLICE("__timestamp__")))
        p->kind = PIECE_TIME;
    else
        return ERR(err, INPUT,
                   "template action {{%.*s}} is not supported yet; {{.label}}, {{__line__}} and {{__timestamp__}} are",
                   (int)inside.n, inside.p);
    return ERR_OK;
}

static enum errc template_parse(struct template *t, struct slice text, struct stage_env *e)
{
    t->p = ARENA_ARRAY(e->a, struct piece, text.n / 2 + 2);
    if (!t->p)
        return ERR(e->err, NOMEM, "out of memory preparing a template");
    while (text.n) {
        ptrdiff_t open = slice_find(text, SLICE("{{"));
        if (open != 0)
            t->p[t->n++] = (struct piece){PIECE_TEXT, open < 0 ? text : slice_cut(text, (size_t)open)};
        if (open < 0)
            break;
        text = slice_from(text, (size_t)open + 2);
        ptrdiff_t close = slice_find(text, SLICE("}}"));
        if (close < 0)
            return ERR(e->err, SYNTAX, "template: unclosed action: {{ without }}");
        TRY(action(&t->p[t->n++], slice_cut(text, (size_t)close), e->err));
        text = slice_from(text, (size_t)close + 2);
    }
    return ERR_OK;
}

static struct slice render(const struct template *t, const struct row *r)
{
    struct slice parts[64];
    char when[40];
    size_t total = 0;
    uint32_t n = t->n < 64 ? t->n : 64;
    for (uint32_t i = 0; i < n; i++) {
        switch (t->p[i].kind) {
        case PIECE_TEXT:
            parts[i] = t->p[i].text;
            break;
        case PIECE_LABEL:
            parts[i] = slice_eq(t->p[i].text, LABEL_ERROR) ? SLICE("") : row_get(r, t->p[i].text, NULL);
            break;
        case PIECE_LINE:
            parts[i] = r->line;
            break;
        case PIECE_TIME:
            parts[i] = slice_of(when, (size_t)time_format(when, r->time, 9, false));
            break;
        }
        total += parts[i].n;
    }
    char *out = arena_alloc(r->scratch, total), *p = out;
    if (!out)
        return SLICE("");
    for (uint32_t i = 0; i < n; i++) {
        memcpy(p, parts[i].p, parts[i].n);
        p += parts[i].n;
    }
    return slice_of(out, total);
}

struct line_format_stage {
    struct stage stage;
    struct template t;
};

static bool line_format_run(const struct stage *st, struct row *r)
{
    r->line = render(&((const struct line_format_stage *)st)->t, r);
    return true;
}
static const struct stage_ops line_format_ops = {.name = "line_format", .labels = true, .run = line_format_run};

static enum errc few_pieces(const struct template *t, struct error *err)
{
    return t->n <= 64 ? ERR_OK : ERR(err, LIMIT, "template: more than 64 pieces");
}

enum errc stage_line_format(const struct stage **out, struct stage_env *e, struct slice text)
{
    STAGE_NEW(e, struct line_format_stage, &line_format_ops);
    TRY(template_parse(&s->t, text, e));
    return few_pieces(&s->t, e->err);
}

struct label_format_stage {
    struct stage stage;
    const struct stage_format *f;
    struct template *t;
    uint32_t n;
};

static bool label_format_run(const struct stage *st, struct row *r)
{
    const struct label_format_stage *s = (const struct label_format_stage *)st;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct stage_format *f = &s->f[i];
        bool found = true;
        struct slice v = f->rename ? row_get(r, f->text, &found) : render(&s->t[i], r);
        if (!found)
            continue;
        if (slice_eq(f->label, LABEL_PRESERVE)) {
            r->preserve_error = slice_eq(v, SLICE("true"));
            continue;
        }
        if (f->rename && !slice_eq(f->label, f->text))
            row_drop(r, f->text);
        row_set(r, f->label, v, FROM_PARSED);
    }
    return true;
}
static const struct stage_ops label_format_ops = {.name = "label_format", .labels = true, .run = label_format_run};

enum errc stage_label_format(const struct stage **out, struct stage_env *e, const struct stage_format *f, uint32_t n)
{
    STAGE_NEW(e, struct label_format_stage, &label_format_ops);
    s->f = f;
    s->n = n;
    s->t = ARENA_ARRAY(e->a, struct template, n);
    if (!s->t)
        return ERR(e->err, NOMEM, "out of memory preparing a template");
    for (uint32_t i = 0; i < n; i++) {
        if (!f[i].rename)
            TRY(template_parse(&s->t[i], f[i].text, e));
        TRY(few_pieces(&s->t[i], e->err));
        if (slice_eq(f[i].label, LABEL_ERROR) || slice_eq(f[i].label, LABEL_ERROR_DETAILS))
            return ERR(e->err, SYNTAX, "label_format: %.*s cannot be formatted", (int)f[i].label.n, f[i].label.p);
        for (uint32_t k = 0; k < i; k++)
            if (slice_eq(f[k].label, f[i].label))
                return ERR(e->err, SYNTAX, "label_format: \"%.*s\" is given twice in one stage", (int)f[i].label.n, f[i].label.p);
    }
    return ERR_OK;
}

// ---- decolorize -----------------------------------------------------------------------------------------------------

struct decolorize_stage {
    struct stage stage;
};

// Length of a CSI (ESC [ parameters letter) or OSC (ESC ] text BEL) sequence at s, or 0.
static size_t escape_at(struct slice s)
{
    if (s.n < 3 || s.p[0] != 0x1b || (s.p[1] != '[' && s.p[1] != ']'))
        return 0;
    size_t i = 2;
    if (s.p[1] == ']') {
        const char *bel = memchr(s.p, 0x07, s.n);
        return bel ? (size_t)(bel - s.p) + 1 : 0;
    }
    while (i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == ';' || s.p[i] == '?'))
        i++;
    return i < s.n && ((s.p[i] >= 'A' && s.p[i] <= 'Z') || (s.p[i] >= 'a' && s.p[i] <= 'z')) ? i + 1 : 0;
}

static bool decolorize_run(const struct stage *st, struct row *r)
{
    if (!r->line.n || !memchr(r->line.p, 0x1b, r->line.n))
        return true;
    char *out = arena_alloc(r->scratch, r->line.n), *p = out;
    if (!out)
        return true;
    for (size_t i = 0; i < r->line.n;) {
        size_t len = escape_at(slice_from(r->line, i));
        if (len)
            i += len;
        else
            *p++ = r->line.p[i++];
    }
    r->line = slice_of(out, (size_t)(p - out));
    return true;
}
static const struct stage_ops decolorize_ops = {.name = "decolorize", .run = decolorize_run};

enum errc stage_decolorize(const struct stage **out, struct stage_env *e)
{
    STAGE_NEW(e, struct decolorize_stage, &decolorize_ops);
    return ERR_OK;
}
