#include "query/stage.h"

void pipeline_seal(struct pipeline *p)
{
    p->n_line = 0;
    while (p->n_line < p->n && !p->stages[p->n_line]->ops->labels)
        p->n_line++;
}

bool pipeline_run(const struct pipeline *p, uint32_t from, struct row *r)
{
    for (uint32_t i = from; i < p->n; i++)
        if (!stage_run(p->stages[i], r))
            return false;
    return true;
}

struct line_stage {
    struct stage stage;
    struct line_filter filter;
};

static bool line_run(const struct stage *s, struct row *r)
{
    return line_filter_test(&((const struct line_stage *)s)->filter, r->line);
}
static const struct stage_ops line_ops = {.name = "line filter", .run = line_run};

enum errc stage_line_filter(const struct stage **out, struct stage_env *e, enum line_op op, const struct line_filter_text *texts,
                            uint32_t n)
{
    STAGE_NEW(e, struct line_stage, &line_ops);
    return line_filter_init(&s->filter, op, texts, n, e->a, e->keep, e->err);
}

// ---- unwrap ---------------------------------------------------------------------------------------------------------

struct unwrap_stage {
    struct stage stage;
    struct slice label;
    enum unwrap_as as;
};

static bool unwrap_run(const struct stage *st, struct row *r)
{
    const struct unwrap_stage *s = (const struct unwrap_stage *)st;
    bool found, good = false;
    struct slice v = row_get(r, s->label, &found);
    if (!found || v.n == 0)
        return false;
    int64_t ns;
    switch (s->as) {
    case UNWRAP_NUMBER:
        good = unit_number(v, &r->value);
        break;
    case UNWRAP_DURATION:
        good = unit_duration(v, &ns);
        if (good)
            r->value = (double)ns / 1e9;
        break;
    case UNWRAP_BYTES:
        good = unit_bytes(v, &r->value);
        break;
    }
    if (!good) {
        r->value = 0;
        row_fail(r, SLICE("SampleExtractionErr"),
                 arena_printf(r->scratch, "cannot read \"%.*s\" as a value", (int)(v.n < 100 ? v.n : 100), v.p));
    }
    r->has_value = true;
    return true;
}
static const struct stage_ops unwrap_ops = {.name = "unwrap", .labels = true, .run = unwrap_run};

enum errc stage_unwrap(const struct stage **out, struct stage_env *e, struct slice label, enum unwrap_as as)
{
    STAGE_NEW(e, struct unwrap_stage, &unwrap_ops);
    s->label = label;
    s->as = as;
    return ERR_OK;
}
