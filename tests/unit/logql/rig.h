// A small store in memory for tests of whole queries: rows are added one by one, batches cut at will.
#pragma once
#include "base/limits.h"
#include "check.h"
#include "logql/logql.h"
#include <stdlib.h>

enum { RIG_BATCHES = 16 };
struct rig {
    struct batch *batches[RIG_BATCHES];
    uint32_t n;
    bool open; // the last batch takes rows
};

// "a=1,b=2" → labels; strings in the batch's arena.
static inline uint32_t rig_labels(struct batch *b, const char *text, struct label *out)
{
    struct slice rest = batch_dup(b, slice_str(text)), part;
    uint32_t n = 0;
    while (rest.n && slice_split(&rest, ',', &part)) {
        ptrdiff_t eq = slice_find(part, SLICE("="));
        out[n++] = (struct label){slice_cut(part, (size_t)eq), slice_from(part, (size_t)eq + 1)};
    }
    return n;
}

// Adds a row: its time in seconds, the stream's labels, metadata, the line.
static inline void rig_row(struct rig *r, double seconds, const char *stream, const char *meta, const char *line)
{
    struct label l[16];
    if (!r->open) {
        r->batches[r->n++] = batch_new(SIGNAL_LOG, MIB(4));
        r->open = true;
    }
    struct batch *b = r->batches[r->n - 1];
    uint32_t n = labels_sort(l, rig_labels(b, stream, l));
    batch_row(b, (int64_t)(seconds * 1e9), batch_resource(b, l, n, NULL, 0));
    batch_field_str(b, FIELD_BODY, batch_dup(b, slice_str(line)));
    n = rig_labels(b, meta, l);
    for (uint32_t i = 0; i < n; i++)
        batch_set(b, COL_ATTR, l[i].name, (struct value){.kind = COL_STR, .s = l[i].value});
}

static inline void rig_cut(struct rig *r)
{
    if (r->open)
        batch_seal(r->batches[r->n - 1]);
    r->open = false;
}

static inline void rig_free(struct rig *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        batch_unref(r->batches[i]);
    *r = (struct rig){0};
}

static inline void rig_put_label(struct buf *b, struct slice name, struct slice value, bool first)
{
    if (!first)
        buf_char(b, ',');
    buf_add(b, name);
    buf_char(b, '=');
    buf_add(b, value);
}

struct rig_ask {
    const char *query;
    double start, end, step; // seconds; step 0: instant at `end`
    bool backward;
    uint32_t limit; // 0: 1000
    double interval;
    bool from; // print where a label comes from: s, m, p
};

static inline void rig_logs(struct logql_plan *p, struct query *q, const struct rig_ask *a, struct buf *out, struct error *err)
{
    struct log_result r;
    p->logs.from = (int64_t)(a->start * 1e9);
    p->logs.to = (int64_t)(a->end * 1e9);
    p->logs.forward = !a->backward;
    p->logs.limit = a->limit ? a->limit : 1000;
    p->logs.interval = (int64_t)(a->interval * 1e9);
    if (log_query_run(q, &p->logs, &r, err) != ERR_OK)
        return;
    for (uint32_t i = 0; i < r.n; i++) {
        buf_str(out, i ? " ; {" : "{");
        for (uint32_t k = 0; k < r.entries[i]->n_labels; k++) {
            const struct row_label *l = &r.entries[i]->labels[k];
            rig_put_label(out, l->name, l->value, k == 0);
            if (a->from)
                buf_printf(out, ":%c", "smp"[l->from]);
        }
        buf_str(out, "} ");
        buf_add(out, r.entries[i]->line);
    }
    log_result_free(&r);
}

static inline void rig_metric(struct logql_plan *p, struct query *q, const struct rig_ask *a, struct buf *out, struct error *err)
{
    struct expr_env env = {.q = q, .start = (int64_t)((a->step > 0 ? a->start : a->end) * 1e9), .step = 1, .steps = 1};
    struct matrix m;
    if (a->step > 0) {
        env.step = (int64_t)(a->step * 1e9);
        env.steps = (uint32_t)((a->end - a->start) / a->step) + 1;
    }
    if (expr_eval(p->expr, &env, &m, err) != ERR_OK)
        return;
    if (!m.scalar)
        matrix_finish(&m);
    for (uint32_t i = 0; i < m.n; i++) {
        buf_str(out, i ? " ; {" : "{");
        for (uint32_t k = 0; k < m.s[i].n; k++)
            rig_put_label(out, m.s[i].l[k].name, m.s[i].l[k].value, k == 0);
        buf_char(out, '}');
        for (uint32_t k = 0; k < env.steps; k++) {
            buf_char(out, ' ');
            if (m.s[i].has[k])
                buf_f64(out, m.s[i].v[k]);
            else
                buf_char(out, '_');
        }
    }
}

// The answer as text: entries or series joined by " ; ". An error: "error: " and its message.
static inline void rig_answer(struct rig *r, const struct rig_ask *a, struct buf *out)
{
    struct logql_plan *p = NULL;
    struct query q;
    struct query_limits limits;
    struct error err = {0};
    struct batch_list list = {(const struct batch *const *)r->batches, r->n};
    rig_cut(r);
    query_limits_default(&limits);
    query_init(&q, query_source_batches(&list), SLICE("t"), &limits, &err);
    if (logql_compile(&p, slice_str(a->query), 0, &err) == ERR_OK) {
        if (p->metric)
            rig_metric(p, &q, a, out, &err);
        else
            rig_logs(p, &q, a, out, &err);
    }
    if (err.code)
        buf_printf(out, "error: %s", err.msg);
    logql_plan_free(p);
    query_free(&q);
}
