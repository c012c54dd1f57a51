// labels, label values, series, metadata, exemplars, tsdb: what is there, without evaluating anything.
#include "base/limits.h"
#include "query/matrix.h"
#include "serve/prom_int.h"

#include <stdlib.h>

enum { MAX_MATCHERS = 32 };

// The parameters match[]: selectors of which one must hold. None: everything.
struct selectors {
    struct promql *p[MAX_MATCHERS];
    uint32_t n;
};

static void selectors_free(struct selectors *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        promql_free(s->p[i]);
}

static enum errc selectors_read(struct prom_api_call *c, struct selectors *s)
{
    struct slice text;
    s->n = 0;
    while (http_req_param(c->job->req, SLICE("match[]"), (int)s->n, &text)) {
        if (s->n == MAX_MATCHERS) {
            c->bad_data = true;
            return ERR(&c->err, INPUT, "invalid parameter \"match[]\": more than %d of them", MAX_MATCHERS);
        }
        enum errc rc = promql_parse_selector(&s->p[s->n++], text, &c->err);
        if (rc != ERR_OK) {
            c->bad_data = true;
            error_prefix(&c->err, "invalid parameter \"match[]\": ");
            return rc;
        }
    }
    return ERR_OK;
}

static bool matches(const struct prom_node *n, const struct resource *r)
{
    for (uint32_t i = 0; i < n->n_matchers; i++)
        if (!matcher_test(&n->matchers[i], resource_label(r, n->matchers[i].name)))
            return false;
    return r->n_labels > 0;
}

static bool matches_any(const struct selectors *s, const struct resource *r)
{
    bool yes = s->n == 0 && r->n_labels > 0;
    for (uint32_t i = 0; i < s->n && !yes; i++)
        yes = matches(s->p[i]->root, r);
    return yes;
}

// ---- series ---------------------------------------------------------------------------------------------------------

struct collecting {
    const struct selectors *s;
    struct matrix *m; // a set of label sets
    struct prom_api_call *c;
    enum errc rc;
    uint32_t seen;
};

static bool collect(void *arg, const struct resource *r)
{
    struct collecting *k = arg;
    if ((++k->seen & 4095) == 0 && (k->rc = query_check(&k->c->q, &k->c->err)) != ERR_OK)
        return false;
    if (matches_any(k->s, r) && !matrix_series(k->m, r->labels, r->n_labels, NULL))
        k->rc = ERR(&k->c->err, LIMIT, "too many series for the memory of one query: narrow match[]");
    return k->rc == ERR_OK;
}

static int64_t to_ns(int64_t ms)
{
    return ms > 9000000000000ll ? INT64_MAX - 1 : ms < -9000000000000ll ? INT64_MIN : ms * 1000000;
}

// Series between start and end (absent: ever) that match, each once.
static enum errc series(struct prom_api_call *c, const struct selectors *s, struct matrix *m)
{
    int64_t start = INT64_MIN / 1000000, end = INT64_MAX / 1000000;
    struct collecting k = {.s = s, .m = m, .c = c};
    matrix_init(m, &c->q.arena, 0);
    TRY(prom_param_time(c, "start", &start));
    TRY(prom_param_time(c, "end", &end));
    if (start > end) {
        c->bad_data = true;
        return ERR(&c->err, INPUT, "invalid parameter \"end\": it lies before start");
    }
    enum errc rc =
        c->q.source.resources(c->q.source.arg, c->q.tenant, SIGNAL_SAMPLE, to_ns(start), to_ns(end) + 1, collect, &k, &c->err);
    return rc != ERR_OK ? rc : k.rc;
}

static int by_labels(const void *a, const void *b)
{
    const struct series *x = a, *y = b;
    return labels_cmp(x->l, x->n, y->l, y->n);
}

enum errc prom_series_get(struct prom_api_call *c)
{
    struct selectors s = {0};
    struct matrix m;
    uint32_t limit;
    enum errc rc;
    GO(selectors_read(c, &s));
    if (s.n == 0) {
        c->bad_data = true;
        rc = ERR(&c->err, INPUT, "no match[] parameter provided");
        goto out;
    }
    GO(prom_param_limit(c, "limit", &limit));
    GO(series(c, &s, &m));
    if (m.n)
        qsort(m.s, m.n, sizeof *m.s, by_labels);
    c->truncated = m.n > limit;
    buf_char(&c->out, '[');
    for (uint32_t i = 0; i < m.n && i < limit; i++) {
        buf_str(&c->out, i ? "," : "");
        prom_put_labels(&c->out, m.s[i].l, m.s[i].n);
    }
    buf_char(&c->out, ']');
out:
    selectors_free(&s);
    return rc;
}

// ---- labels, values -------------------------------------------------------------------------------------------------

static int by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

// Names of labels, or values of one, sorted, each once. Null: out of memory.
static struct slice *distinct(struct prom_api_call *c, const struct matrix *m, const struct slice *label, uint32_t *n)
{
    uint64_t total = 0;
    uint32_t k = 0, kept = 0;
    for (uint32_t i = 0; i < m->n; i++)
        total += label ? 1 : m->s[i].n;
    struct slice *all = ARENA_ARRAY(&c->q.arena, struct slice, total + 1);
    for (uint32_t i = 0; all && i < m->n; i++)
        for (uint32_t l = 0; l < m->s[i].n; l++)
            if (!label || slice_eq(m->s[i].l[l].name, *label))
                all[k++] = label ? m->s[i].l[l].value : m->s[i].l[l].name;
    if (all && k)
        qsort(all, k, sizeof *all, by_text);
    for (uint32_t i = 0; i < k; i++)
        if (i == 0 || !slice_eq(all[i], all[i - 1]))
            all[kept++] = all[i];
    *n = kept;
    return all;
}

static enum errc texts(struct prom_api_call *c, const struct slice *label)
{
    struct selectors s = {0};
    struct jw w = jw_to(&c->out);
    struct matrix m;
    uint32_t limit, n;
    enum errc rc;
    GO(selectors_read(c, &s));
    GO(prom_param_limit(c, "limit", &limit));
    GO(series(c, &s, &m));
    struct slice *all = distinct(c, &m, label, &n);
    if (!all) {
        rc = ERR(&c->err, LIMIT, "too many series for the memory of one query: narrow match[]");
        goto out;
    }
    c->truncated = n > limit;
    jw_arr(&w);
    for (uint32_t i = 0; i < n && i < limit; i++)
        jw_str(&w, all[i]);
    jw_arr_end(&w);
out:
    selectors_free(&s);
    return rc;
}

enum errc prom_labels_get(struct prom_api_call *c)
{
    return texts(c, NULL);
}
enum errc prom_label_values(struct prom_api_call *c)
{
    return texts(c, &c->job->req->param[0]);
}

// ---- metadata -------------------------------------------------------------------------------------------------------

struct meta {
    struct slice name, type, unit, help;
};

static bool without_labels(void *arg, const struct resource *r)
{
    return r->n_labels == 0;
}

static int by_meta(const void *a, const void *b)
{
    const struct meta *x = a, *y = b;
    int c = slice_cmp(x->name, y->name);
    c = c ? c : slice_cmp(x->type, y->type);
    c = c ? c : slice_cmp(x->unit, y->unit);
    return c ? c : slice_cmp(x->help, y->help);
}

static enum errc metas_of(struct prom_api_call *c, const struct scan_batch *sb, struct slice only, struct meta **all, uint32_t *n,
                          uint32_t *cap)
{
    const struct batch *b = sb->batch;
    for (uint32_t i = 0; i < sb->n_rows; i++) {
        uint32_t row = sb->rows[i];
        struct slice got[4] = {column_str(b->field[FIELD_NAME], row), column_str(b->field[FIELD_METRIC_TYPE], row),
                               column_str(b->field[FIELD_UNIT], row), column_str(b->field[FIELD_DESCRIPTION], row)};
        if (only.n && !slice_eq(only, got[0]))
            continue;
        if (*n == *cap) {
            uint32_t more = *cap ? *cap * 2 : 64;
            struct meta *m = arena_grow(&c->q.arena, *all, *cap * sizeof *m, more * sizeof *m);
            if (!m)
                return ERR(&c->err, LIMIT, "too much metadata for the memory of one query: ask for one metric=NAME");
            *all = m;
            *cap = more;
        }
        for (int k = 0; k < 4; k++)
            got[k] = arena_dup(&c->q.arena, got[k]);
        (*all)[(*n)++] = (struct meta){got[0], got[1], got[2], got[3]};
    }
    return ERR_OK;
}

static void put_meta(struct buf *out, const struct meta *m)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "type");
    jw_str(&w, m->type.n ? m->type : SLICE("unknown"));
    JW_KEY(&w, "unit");
    jw_str(&w, m->unit);
    JW_KEY(&w, "help");
    jw_str(&w, m->help);
    jw_obj_end(&w);
}

static void put_metas(struct prom_api_call *c, const struct meta *all, uint32_t n, uint32_t limit, uint32_t each)
{
    struct jw w = jw_to(&c->out);
    uint32_t names = 0, here = 0;
    jw_obj(&w);
    for (uint32_t i = 0; i < n; i++) {
        bool first = i == 0 || !slice_eq(all[i].name, all[i - 1].name);
        if (!first && by_meta(&all[i], &all[i - 1]) == 0)
            continue;
        if (first) {
            buf_str(&c->out, names ? "]" : "");
            if (names++ == limit)
                return jw_obj_end(&w);
            jw_key(&w, all[i].name);
            w.need_comma = true;
            buf_char(&c->out, '[');
            here = 0;
        }
        if (here == each)
            continue;
        buf_str(&c->out, here++ ? "," : "");
        put_meta(&c->out, &all[i]);
    }
    buf_str(&c->out, names ? "]" : "");
    jw_obj_end(&w);
}

enum errc prom_metadata(struct prom_api_call *c)
{
    struct scan_request want = {.tenant = c->q.tenant,
                                .signal = SIGNAL_SAMPLE,
                                .from = INT64_MIN,
                                .to = INT64_MAX,
                                .match = without_labels,
                                .fields = 1ull << FIELD_NAME | 1ull << FIELD_METRIC_TYPE | 1ull << FIELD_UNIT |
                                          1ull << FIELD_DESCRIPTION,
                                .budget = &c->q.budget};
    struct slice only = SLICE_NONE;
    struct meta *all = NULL;
    uint32_t n = 0, cap = 0, limit, each;
    struct scan_batch b;
    void *scan = NULL;
    enum errc rc;
    prom_param(c, "metric", &only);
    GO(prom_param_limit(c, "limit", &limit));
    GO(prom_param_limit(c, "limit_per_metric", &each));
    GO(c->q.source.scan(c->q.source.arg, &want, &scan, &c->err));
    for (;;) {
        GO(c->q.source.next(scan, &b, &c->err));
        if (!b.batch)
            break;
        GO(metas_of(c, &b, only, &all, &n, &cap));
    }
    if (n)
        qsort(all, n, sizeof *all, by_meta);
    put_metas(c, all, n, limit, each);
out:
    if (scan)
        c->q.source.close(scan);
    return rc;
}

// ---- exemplars ------------------------------------------------------------------------------------------------------

static bool matches_tree(const struct prom_node *n, const struct resource *r)
{
    if (n->kind == PROM_SELECTOR)
        return matches(n, r);
    bool yes = false;
    for (uint32_t i = 0; i < n->n_args && !yes; i++)
        yes = matches_tree(n->arg[i], r);
    return yes;
}
static bool match_resource(void *arg, const struct resource *r)
{
    return matches_tree(arg, r);
}

struct found {
    struct series *s;
    struct exemplar e;
};
struct founds {
    struct matrix m; // the series
    uint32_t *series;
    struct exemplar **e;
    uint32_t n, cap;
};

static bool add_exemplar(struct prom_api_call *c, struct founds *f, uint32_t series_number, const struct exemplar *e)
{
    struct arena *a = &c->q.arena;
    if (f->n == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 64;
        uint32_t *s = arena_grow(a, f->series, f->cap * sizeof *s, cap * sizeof *s);
        struct exemplar **es =
            s ? arena_grow(a, f->e, f->cap * sizeof(struct exemplar *), cap * sizeof(struct exemplar *)) : NULL;
        if (!es)
            return false;
        f->series = s, f->e = es, f->cap = cap;
    }
    size_t size = offsetof(struct exemplar, labels) + e->n_labels * sizeof e->labels[0];
    struct exemplar *copy = arena_alloc(a, size);
    if (!copy)
        return false;
    memcpy(copy, e, size);
    for (uint32_t i = 0; i < e->n_labels; i++)
        copy->labels[i] = (struct label){arena_dup(a, e->labels[i].name), arena_dup(a, e->labels[i].value)};
    f->series[f->n] = series_number;
    f->e[f->n++] = copy;
    return !arena_failed(a);
}

static enum errc exemplars_of(struct prom_api_call *c, const struct scan_batch *sb, int64_t from, int64_t to, struct founds *f)
{
    const struct batch *b = sb->batch;
    uint32_t hint = 0;
    for (uint32_t i = 0; b->field[FIELD_EXEMPLARS] && i < sb->n_rows; i++) {
        int64_t at = column_find_hint(b->field[FIELD_EXEMPLARS], sb->rows[i], &hint);
        struct slice bytes = at >= 0 ? b->field[FIELD_EXEMPLARS]->s[at] : SLICE_NONE;
        struct exemplar e;
        while (exemplar_next(&bytes, &e)) {
            const struct resource *r = &b->resources[b->resource[sb->rows[i]]];
            e.time = e.time ? e.time : b->time[sb->rows[i]];
            if (e.time < from || e.time > to)
                continue;
            struct series *s = matrix_series(&f->m, r->labels, r->n_labels, NULL);
            if (!s || !add_exemplar(c, f, (uint32_t)(s - f->m.s), &e))
                return ERR(&c->err, LIMIT, "too many exemplars for the memory of one query: narrow the range of time");
        }
    }
    return ERR_OK;
}

static int by_series_and_time(const void *a, const void *b, void *arg)
{
    const struct founds *f = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const struct series *s = &f->m.s[f->series[x]], *t = &f->m.s[f->series[y]];
    int c = f->series[x] == f->series[y] ? 0 : labels_cmp(s->l, s->n, t->l, t->n);
    return c ? c : (f->e[x]->time > f->e[y]->time) - (f->e[x]->time < f->e[y]->time);
}

static bool same_exemplar(const struct founds *f, uint32_t x, uint32_t y)
{
    return f->series[x] == f->series[y] && f->e[x]->time == f->e[y]->time && f->e[x]->value == f->e[y]->value &&
           labels_cmp(f->e[x]->labels, f->e[x]->n_labels, f->e[y]->labels, f->e[y]->n_labels) == 0;
}

static void put_exemplars(struct buf *out, const struct founds *f, const uint32_t *order)
{
    buf_char(out, '[');
    for (uint32_t i = 0; i < f->n; i++) {
        const struct exemplar *e = f->e[order[i]];
        const struct series *s = &f->m.s[f->series[order[i]]];
        bool next = i == 0 || f->series[order[i]] != f->series[order[i - 1]];
        if (!next && same_exemplar(f, order[i], order[i - 1])) // a scrape sees it again
            continue;
        if (next) {
            buf_str(out, i ? "]},{\"seriesLabels\":" : "{\"seriesLabels\":");
            prom_put_labels(out, s->l, s->n);
            buf_str(out, ",\"exemplars\":[");
        }
        buf_str(out, next ? "{\"labels\":" : ",{\"labels\":");
        prom_put_labels(out, e->labels, e->n_labels);
        buf_str(out, ",\"value\":\"");
        prom_float_json(out, e->value);
        buf_str(out, "\",\"timestamp\":");
        prom_put_time(out, e->time / 1000000);
        buf_char(out, '}');
    }
    buf_str(out, f->n ? "]}]" : "]");
}

enum errc prom_exemplars(struct prom_api_call *c)
{
    struct scan_request want = {.tenant = c->q.tenant,
                                .signal = SIGNAL_SAMPLE,
                                .match = match_resource,
                                .fields = 1ull << FIELD_EXEMPLARS,
                                .budget = &c->q.budget};
    int64_t start = c->now - 3600000, end = c->now;
    struct founds f = {0};
    struct promql *p = NULL;
    struct scan_batch b;
    void *scan = NULL;
    enum errc rc;
    matrix_init(&f.m, &c->q.arena, 0);
    GO(prom_param_time(c, "start", &start));
    GO(prom_param_time(c, "end", &end));
    GO(prom_param_query(c, &p));
    if (end < start) {
        c->bad_data = true;
        rc = ERR(&c->err, INPUT, "invalid parameter \"end\": end timestamp must not be before start timestamp");
        goto out;
    }
    want.match_arg = p->root;
    want.from = to_ns(start);
    want.to = to_ns(end) + 60000000000ll; // an exemplar may be older than the sample it came with
    GO(c->q.source.scan(c->q.source.arg, &want, &scan, &c->err));
    for (;;) {
        GO(query_check(&c->q, &c->err));
        GO(c->q.source.next(scan, &b, &c->err));
        if (!b.batch)
            break;
        GO(exemplars_of(c, &b, to_ns(start), to_ns(end) + 999999, &f));
    }
    uint32_t *order = arena_alloc(&c->q.arena, (f.n + 1) * sizeof *order);
    if (!order) {
        rc = ERR(&c->err, LIMIT, "too many exemplars for the memory of one query: narrow the range of time");
        goto out;
    }
    for (uint32_t i = 0; i < f.n; i++)
        order[i] = i;
    qsort_r(order, f.n, sizeof *order, by_series_and_time, &f);
    put_exemplars(&c->out, &f, order);
out:
    if (scan)
        c->q.source.close(scan);
    promql_free(p);
    return rc;
}

// ---- tsdb -----------------------------------------------------------------------------------------------------------

struct counted {
    struct slice name;
    uint64_t n;
};
static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n ? 1 : -1) : slice_cmp(x->name, y->name);
}

// The texts that occur most often, at most limit.
static void top(struct prom_api_call *c, const char *key, struct slice *all, uint32_t n, uint32_t limit)
{
    struct counted *counts = ARENA_ARRAY(&c->q.arena, struct counted, n + 1);
    struct jw w = jw_to(&c->out);
    uint32_t k = 0;
    if (n)
        qsort(all, n, sizeof *all, by_text);
    for (uint32_t i = 0; counts && i < n; i++) {
        k += i == 0 || !slice_eq(all[i], all[i - 1]);
        counts[k - 1].name = all[i];
        counts[k - 1].n++;
    }
    if (k)
        qsort(counts, k, sizeof *counts, by_count);
    buf_printf(&c->out, ",\"%s\":", key);
    jw_arr(&w);
    for (uint32_t i = 0; i < k && i < limit; i++) {
        jw_obj(&w);
        JW_KEY(&w, "name");
        jw_str(&w, counts[i].name);
        JW_KEY(&w, "value");
        jw_u64(&w, counts[i].n);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
}

static int by_pair(const void *a, const void *b)
{
    return labels_cmp(a, 1, b, 1);
}

enum errc prom_tsdb(struct prom_api_call *c)
{
    struct selectors none = {0};
    struct matrix m;
    uint32_t limit, pairs = 0, distinct_pairs = 0, k = 0;
    TRY(prom_param_limit(c, "limit", &limit));
    limit = limit == UINT32_MAX ? 10 : limit;
    TRY(series(c, &none, &m));
    for (uint32_t i = 0; i < m.n; i++)
        pairs += m.s[i].n;
    struct label *pair = ARENA_ARRAY(&c->q.arena, struct label, pairs + 1);
    struct slice *text = ARENA_ARRAY(&c->q.arena, struct slice, pairs + 1);
    if (!pair || !text)
        return ERR(&c->err, LIMIT, "too many series for the memory of one query");
    pairs = 0;
    for (uint32_t i = 0; i < m.n; i++)
        for (uint32_t l = 0; l < m.s[i].n; l++)
            pair[pairs++] = m.s[i].l[l];
    if (pairs)
        qsort(pair, pairs, sizeof *pair, by_pair);
    for (uint32_t i = 0; i < pairs; i++)
        distinct_pairs += i == 0 || by_pair(&pair[i], &pair[i - 1]) != 0;
    buf_printf(&c->out, "{\"headStats\":{\"numSeries\":%u,\"numLabelPairs\":%u,\"chunkCount\":0,\"minTime\":0,\"maxTime\":0}",
               m.n, distinct_pairs);
    for (uint32_t i = 0; i < pairs; i++)
        if (slice_eq(pair[i].name, SLICE("__name__")))
            text[k++] = pair[i].value;
    top(c, "seriesCountByMetricName", text, k, limit);
    for (uint32_t i = k = 0; i < pairs; i++)
        if (i == 0 || by_pair(&pair[i], &pair[i - 1]) != 0)
            text[k++] = pair[i].name;
    top(c, "labelValueCountByLabelName", text, k, limit);
    for (uint32_t i = k = 0; i < pairs; i++)
        text[k++] =
            arena_printf(&c->q.arena, "%.*s=%.*s", (int)pair[i].name.n, pair[i].name.p, (int)pair[i].value.n, pair[i].value.p);
    top(c, "seriesCountByLabelValuePair", text, arena_failed(&c->q.arena) ? 0 : k, limit);
    buf_str(&c->out, ",\"memoryInBytesByLabelName\":[]}");
    return ERR_OK;
}
