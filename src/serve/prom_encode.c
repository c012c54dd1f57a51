// Answers of queries as Prometheus writes them: numbers as strings, times as seconds with milliseconds.
#include "serve/prom_int.h"

#include <stdlib.h>

void prom_put_labels(struct buf *out, const struct label *l, uint32_t n)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    for (uint32_t i = 0; i < n; i++) {
        jw_key(&w, l[i].name);
        jw_str(&w, l[i].value);
    }
    jw_obj_end(&w);
}

void prom_put_time(struct buf *out, int64_t ms)
{
    if (ms < 0)
        buf_char(out, '-');
    uint64_t v = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    buf_u64(out, v / 1000);
    if (v % 1000)
        buf_printf(out, ".%03d", (int)(v % 1000));
}

static void number(struct buf *out, double v)
{
    buf_char(out, '"');
    prom_float_json(out, v);
    buf_char(out, '"');
}

static void point(struct buf *out, int64_t ms, double v)
{
    buf_char(out, '[');
    prom_put_time(out, ms);
    buf_char(out, ',');
    number(out, v);
    buf_char(out, ']');
}

static void histogram(struct buf *out, int64_t ms, const struct prom_hist *h)
{
    struct prom_bucket b;
    buf_char(out, '[');
    prom_put_time(out, ms);
    buf_str(out, ",{\"count\":");
    number(out, h->count);
    buf_str(out, ",\"sum\":");
    number(out, h->sum);
    for (uint32_t i = 0; prom_hist_bucket(h, i, &b); i++) {
        buf_str(out, i ? "," : ",\"buckets\":[");
        // 0: open on the left, 1: open on the right, 2: on both sides, 3: closed
        buf_printf(out, "[%d,", b.lower_inclusive ? (b.upper_inclusive ? 3 : 1) : b.upper_inclusive ? 0 : 2);
        number(out, b.lower);
        buf_char(out, ',');
        number(out, b.upper);
        buf_char(out, ',');
        number(out, b.count);
        buf_char(out, ']');
    }
    buf_str(out, prom_hist_bucket(h, 0, &b) ? "]}]" : "}]");
}

static void vector_at(struct buf *out, const struct prom_vector *v, int64_t ms)
{
    buf_char(out, '[');
    for (uint32_t i = 0; i < v->n; i++) {
        const struct prom_series *s = &v->s[i];
        buf_str(out, i ? ",{\"metric\":" : "{\"metric\":");
        prom_put_labels(out, s->l, s->n);
        if (s->has[0] == PROM_HAS_HIST) {
            buf_str(out, ",\"histogram\":");
            histogram(out, ms, s->h[0]);
        } else {
            buf_str(out, ",\"value\":");
            point(out, ms, s->v[0]);
        }
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

static void one_matrix(struct buf *out, const struct prom_series *s, const struct prom_request *r, uint32_t steps)
{
    const char *sep = ",\"values\":[";
    buf_str(out, "{\"metric\":");
    prom_put_labels(out, s->l, s->n);
    for (uint32_t t = 0; t < steps; t++)
        if (s->has[t] == PROM_HAS_FLOAT) {
            buf_str(out, sep);
            point(out, r->start + t * r->step, s->v[t]);
            sep = ",";
        }
    buf_str(out, *sep == ',' && sep[1] == 0 ? "]" : "");
    sep = ",\"histograms\":[";
    for (uint32_t t = 0; s->h && t < steps; t++)
        if (s->has[t] == PROM_HAS_HIST) {
            buf_str(out, sep);
            histogram(out, r->start + t * r->step, s->h[t]);
            sep = ",";
        }
    buf_str(out, sep[1] == 0 ? "]}" : "}");
}

static void raw_matrix(struct buf *out, const struct prom_raw *s)
{
    buf_str(out, "{\"metric\":");
    prom_put_labels(out, s->l, s->n_labels);
    for (uint32_t i = 0; i < s->n; i++) {
        buf_str(out, i ? "," : ",\"values\":[");
        point(out, s->t[i], s->v[i]);
    }
    buf_str(out, s->n ? "]" : "");
    for (uint32_t i = 0; i < s->n_h; i++) {
        buf_str(out, i ? "," : ",\"histograms\":[");
        histogram(out, s->ht[i], s->h[i]);
    }
    buf_str(out, s->n_h ? "]}" : "}");
}

static int by_labels(const void *a, const void *b)
{
    const struct prom_series *x = a, *y = b;
    for (uint32_t i = 0; i < x->n && i < y->n; i++) {
        int c = slice_cmp(x->l[i].name, y->l[i].name);
        c = c ? c : slice_cmp(x->l[i].value, y->l[i].value);
        if (c)
            return c;
    }
    return (x->n > y->n) - (x->n < y->n);
}

static uint32_t cut(struct prom_api_call *c, uint32_t n, uint32_t limit)
{
    c->truncated = c->truncated || n > limit;
    return n > limit ? limit : n;
}

void prom_put_result(struct prom_api_call *c, const struct prom_request *r, uint32_t limit)
{
    struct prom_result *res = &c->res;
    struct buf *out = &c->out;
    struct jw w = jw_to(out);
    if (r->instant && res->type == PROM_SCALAR) {
        buf_str(out, "{\"resultType\":\"scalar\",\"result\":");
        point(out, r->start, res->vector.s[0].v[0]);
    } else if (res->type == PROM_STRING) {
        buf_str(out, "{\"resultType\":\"string\",\"result\":[");
        prom_put_time(out, r->start);
        buf_char(out, ',');
        jw_str(&w, res->text);
        buf_char(out, ']');
    } else if (res->type == PROM_MATRIX) {
        res->n_raw = cut(c, res->n_raw, limit);
        buf_str(out, "{\"resultType\":\"matrix\",\"result\":[");
        for (uint32_t i = 0; i < res->n_raw; i++) {
            buf_str(out, i ? "," : "");
            raw_matrix(out, &res->raw[i]);
        }
        buf_char(out, ']');
    } else if (r->instant) {
        res->vector.n = cut(c, res->vector.n, limit);
        buf_str(out, "{\"resultType\":\"vector\",\"result\":");
        vector_at(out, &res->vector, r->start);
    } else {
        if (res->vector.n)
            qsort(res->vector.s, res->vector.n, sizeof *res->vector.s, by_labels);
        res->vector.n = cut(c, res->vector.n, limit);
        buf_str(out, "{\"resultType\":\"matrix\",\"result\":[");
        for (uint32_t i = 0; i < res->vector.n; i++) {
            buf_str(out, i ? "," : "");
            one_matrix(out, &res->vector.s[i], r, res->steps);
        }
        buf_char(out, ']');
    }
}
