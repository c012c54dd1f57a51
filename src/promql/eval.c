// Walks the tree; selectors, subqueries, and what is the same at every step.
#include "promql/eval_int.h"
#include <stdio.h>

enum { MAX_SUBQUERY_STEPS = 1000000 };

void prom_request_default(struct prom_request *r)
{
    *r = (struct prom_request){
        .step = 1000, .lookback = PROM_LOOKBACK_MS, .subquery_step = 60000, .max_samples = PROM_MAX_SAMPLES};
}

enum errc prom_count(struct prom_eval *e, uint64_t samples)
{
    e->samples += samples;
    if (e->r->max_samples && e->samples > e->r->max_samples)
        return ERR(
            e->err, LIMIT,
            "query processing would load too many samples into memory: more than %llu; narrow the selectors or the range of time",
            (unsigned long long)e->r->max_samples);
    return ERR_OK;
}

void prom_warn(struct prom_eval *e, bool warning, const struct prom_node *n, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    uint32_t line = 1, column = 1;
    struct slice *list = warning ? e->out->warnings : e->out->infos;
    uint32_t *count = warning ? &e->out->n_warnings : &e->out->n_infos;
    for (uint32_t i = 0; i < n->from && i < e->p->text.n; i++) {
        column = e->p->text.p[i] == '\n' ? 1 : column + 1;
        line += e->p->text.p[i] == '\n';
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct slice s = arena_printf(e->a, "PromQL %s: %s (%u:%u)", warning ? "warning" : "info", text, line, column);
    for (uint32_t i = 0; i < *count; i++)
        if (slice_eq(list[i], s))
            return;
    if (s.p && *count < PROM_MAX_NOTES)
        list[(*count)++] = s;
}

// ---- selectors ------------------------------------------------------------------------------------------------------

static int64_t at_time(const struct prom_eval *e, const struct prom_node *n, int64_t now)
{
    switch (n->at) {
    case PROM_AT_TIME:
        return n->at_ms;
    case PROM_AT_START:
        return e->r->start;
    case PROM_AT_END:
        return e->r->end;
    default:
        return now;
    }
}

int64_t prom_reference(const struct prom_eval *e, const struct prom_node *n, int64_t now)
{
    return at_time(e, n, now) - n->offset;
}

static bool old(const struct prom_eval *e, int64_t t, int64_t from)
{
    return e->r->closed_windows ? t < from : t <= from;
}

static bool put_instant(struct prom_eval *e, struct prom_series *s, uint32_t step, const struct prom_raw *raw, uint32_t i,
                        uint32_t h, int64_t oldest, bool times)
{
    // i and h count the samples up to the reference; the later one of both kinds holds
    bool is_hist = h && (!i || raw->ht[h - 1] >= raw->t[i - 1]);
    int64_t t = is_hist ? raw->ht[h - 1] : i ? raw->t[i - 1] : INT64_MIN;
    if (t == INT64_MIN || old(e, t, oldest))
        return true;
    if (is_hist ? sample_is_stale(raw->h[h - 1]->sum) : sample_is_stale(raw->v[i - 1]))
        return true;
    if (is_hist && !times)
        return prom_series_set_hist(e, s, step, raw->h[h - 1]);
    prom_series_set(s, step, times ? (double)t / 1000 : raw->v[i - 1]);
    return true;
}

enum errc prom_eval_selector(struct prom_eval *e, const struct prom_node *n, bool times, struct prom_vector *out)
{
    int64_t first = prom_reference(e, n, e->start), last = prom_reference(e, n, prom_time(e, e->steps - 1));
    struct prom_raw *raw;
    uint32_t n_raw;
    TRY(prom_gather(e, n, first - e->r->lookback, last, true, &raw, &n_raw));
    for (uint32_t k = 0; k < n_raw; k++) {
        struct prom_series *s = prom_series_add(e, out, raw[k].l, raw[k].n_labels);
        uint32_t i = 0, h = 0;
        if (!s)
            return prom_no_memory(e);
        for (uint32_t step = 0; step < e->steps; step++) {
            int64_t now = prom_reference(e, n, prom_time(e, step));
            while (i < raw[k].n && raw[k].t[i] <= now)
                i++;
            while (h < raw[k].n_h && raw[k].ht[h] <= now)
                h++;
            if (!put_instant(e, s, step, &raw[k], i, h, now - e->r->lookback, times))
                return prom_no_memory(e);
        }
    }
    TRY(prom_count(e, (uint64_t)out->n * e->steps));
    prom_vector_trim(out, e->steps);
    return ERR_OK;
}

// ---- range vectors --------------------------------------------------------------------------------------------------

static enum errc to_raw(struct prom_eval *e, const struct prom_eval *inner, const struct prom_series *s, struct prom_raw *raw)
{
    *raw = (struct prom_raw){.l = s->l, .n_labels = s->n};
    for (uint32_t i = 0; i < inner->steps; i++) {
        raw->n += s->has[i] == PROM_HAS_FLOAT;
        raw->n_h += s->has[i] == PROM_HAS_HIST;
    }
    raw->t = arena_alloc(e->a, raw->n * sizeof *raw->t);
    raw->v = arena_alloc(e->a, raw->n * sizeof *raw->v);
    raw->ht = arena_alloc(e->a, raw->n_h * sizeof *raw->ht);
    raw->h = arena_alloc(e->a, raw->n_h * sizeof(struct prom_hist *));
    if (!raw->t || !raw->v || !raw->ht || !raw->h)
        return prom_no_memory(e);
    raw->n = raw->n_h = 0;
    for (uint32_t i = 0; i < inner->steps; i++) {
        if (s->has[i] == PROM_HAS_FLOAT) {
            raw->t[raw->n] = prom_time(inner, i);
            raw->v[raw->n++] = s->v[i];
        } else if (s->has[i] == PROM_HAS_HIST) {
            raw->ht[raw->n_h] = prom_time(inner, i);
            raw->h[raw->n_h++] = s->h[i];
        }
    }
    return ERR_OK;
}

// The expression inside, at the multiples of the step that lie in the windows of all steps.
static enum errc subquery(struct prom_eval *e, const struct prom_node *n, struct prom_ranges *out)
{
    struct prom_eval inner = *e;
    int64_t step = n->step ? n->step : e->r->subquery_step;
    int64_t from = prom_reference(e, n, e->start) - n->range, to = prom_reference(e, n, prom_time(e, e->steps - 1));
    struct prom_vector v = {0};
    int64_t start = from / step * step;
    while (old(e, start, from))
        start += step;
    while (!old(e, start - step, from)) // the division rounds towards 0
        start -= step;
    *out = (struct prom_ranges){.modified = n, .range = n->range};
    if (start > to)
        return ERR_OK;
    if ((to - start) / step >= MAX_SUBQUERY_STEPS)
        return ERR(e->err, LIMIT, "a subquery would be evaluated at %lld times, more than %d: write a larger step, like [1h:1m]",
                   (long long)((to - start) / step + 1), MAX_SUBQUERY_STEPS);
    inner.start = start;
    inner.step = step;
    inner.steps = (uint32_t)((to - start) / step + 1);
    TRY(prom_eval_node(&inner, n->arg[0], &v));
    e->samples = inner.samples;
    out->raw = ARENA_ARRAY(e->a, struct prom_raw, v.n + 1);
    if (!out->raw)
        return prom_no_memory(e);
    for (uint32_t i = 0; i < v.n; i++)
        TRY(to_raw(e, &inner, &v.s[i], &out->raw[out->n++]));
    return ERR_OK;
}

enum errc prom_eval_range(struct prom_eval *e, const struct prom_node *n, struct prom_ranges *out)
{
    while (n->kind == PROM_PAREN)
        n = n->arg[0];
    if (n->kind == PROM_SUBQUERY)
        return subquery(e, n, out);
    const struct prom_node *s = n->arg[0];
    int64_t first = prom_reference(e, s, e->start), last = prom_reference(e, s, prom_time(e, e->steps - 1));
    *out = (struct prom_ranges){.modified = s, .range = n->range};
    return prom_gather(e, s, first - n->range, last, false, &out->raw, &out->n);
}

// ---- the tree -------------------------------------------------------------------------------------------------------

static enum errc scalar(struct prom_eval *e, double v, struct prom_vector *out)
{
    struct prom_series *s = prom_series_add(e, out, NULL, 0);
    if (!s)
        return prom_no_memory(e);
    for (uint32_t t = 0; t < e->steps; t++)
        prom_series_set(s, t, v);
    return ERR_OK;
}

static enum errc unary(struct prom_eval *e, const struct prom_node *n, struct prom_vector *v)
{
    TRY(prom_eval_node(e, n->arg[0], v));
    if (n->op != PROM_SUB)
        return ERR_OK;
    for (uint32_t i = 0; i < v->n; i++)
        for (uint32_t t = 0; t < e->steps; t++) {
            struct prom_series *s = &v->s[i];
            if (s->has[t] == PROM_HAS_FLOAT) {
                s->v[t] = -s->v[t];
            } else if (s->has[t] == PROM_HAS_HIST) {
                if (!(s->h[t] = prom_hist_copy(e->a, s->h[t])))
                    return prom_no_memory(e);
                prom_hist_scale(s->h[t], -1);
            }
        }
    return prom_drop_names(e, v, true);
}

static enum errc dispatch(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    switch (n->kind) {
    case PROM_NUMBER:
        return scalar(e, n->number, out);
    case PROM_SELECTOR:
        return prom_eval_selector(e, n, false, out);
    case PROM_UNARY:
        return unary(e, n, out);
    case PROM_BINARY:
        return prom_binary(e, n, out);
    case PROM_CALL:
        return prom_call(e, n, out);
    case PROM_AGGREGATE:
        return prom_aggregate(e, n, out);
    case PROM_PAREN:
        return prom_eval_node(e, n->arg[0], out);
    default:
        return ERR(e->err, BUG, "a %s cannot be evaluated here", prom_type_text(n->type));
    }
}

// One step, written to all.
static enum errc spread(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    struct prom_eval once = *e;
    struct prom_vector v = {0};
    once.steps = 1;
    TRY(dispatch(&once, n, &v));
    e->samples = once.samples;
    TRY(prom_count(e, (uint64_t)v.n * e->steps));
    for (uint32_t i = 0; i < v.n; i++) {
        struct prom_series *s = prom_series_add(e, out, v.s[i].l, v.s[i].n);
        if (!s)
            return prom_no_memory(e);
        for (uint32_t t = 0; t < e->steps; t++) {
            if (v.s[i].has[0] == PROM_HAS_HIST) {
                if (!prom_series_set_hist(e, s, t, v.s[i].h[0]))
                    return prom_no_memory(e);
            } else if (v.s[i].has[0]) {
                prom_series_set(s, t, v.s[i].v[0]);
            }
        }
    }
    return ERR_OK;
}

enum errc prom_eval_node(struct prom_eval *e, const struct prom_node *n, struct prom_vector *out)
{
    TRY(query_check(e->q, e->err));
    enum errc rc = n->invariant && e->steps > 1 && n->kind != PROM_NUMBER ? spread(e, n, out) : dispatch(e, n, out);
    if (rc == ERR_OK && arena_failed(e->a))
        return prom_no_memory(e);
    return rc;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

// What an instant query gives for a range vector: the samples themselves.
static enum errc raw_result(struct prom_eval *e, const struct prom_node *n, struct prom_result *out)
{
    struct prom_ranges r;
    TRY(prom_eval_range(e, n, &r));
    out->raw = r.raw;
    for (uint32_t i = 0; i < r.n; i++)
        if (r.raw[i].n || r.raw[i].n_h)
            out->raw[out->n_raw++] = r.raw[i];
    return ERR_OK;
}

enum errc promql_eval(struct query *q, const struct promql *p, const struct prom_request *r, struct prom_result *out,
                      struct error *err)
{
    struct prom_scratch scratch = {0};
    struct prom_eval e = {.scratch = &scratch,
                          .q = q,
                          .a = &q->arena,
                          .p = p,
                          .r = r,
                          .out = out,
                          .err = err,
                          .start = r->start,
                          .step = r->step,
                          .steps = 1};
    const struct prom_node *n = p->root;
    *out = (struct prom_result){.type = n->type, .steps = 1};
    if (!r->instant) {
        if (n->type != PROM_SCALAR && n->type != PROM_VECTOR)
            return ERR(err, INPUT, "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                       prom_type_text(n->type));
        if (r->step <= 0 || r->end < r->start)
            return ERR(err, INPUT, "a range query needs an end that is not before its start, and a step above 0");
        if ((r->end - r->start) / r->step >= 10 * (int64_t)PROM_MAX_STEPS)
            return ERR(err, LIMIT, "more than %d steps: ask for a larger step", 10 * PROM_MAX_STEPS);
        e.steps = out->steps = (uint32_t)((r->end - r->start) / r->step + 1);
    }
    while (n->kind == PROM_PAREN)
        n = n->arg[0];
    enum errc rc = ERR_OK;
    if (n->type == PROM_STRING)
        out->text = n->text;
    else if (n->type == PROM_MATRIX)
        rc = raw_result(&e, n, out);
    else
        rc = prom_eval_node(&e, n, &out->vector);
    out->samples = e.samples;
    if (rc == ERR_OK)
        prom_vector_trim(&out->vector, out->steps);
    return rc;
}
