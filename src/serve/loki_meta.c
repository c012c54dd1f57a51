// labels, label values, series, index/stats, index/volume.
#include "query/rows.h"
#include "serve/loki_int.h"
#include <stdlib.h>

enum { SIX_HOURS = 6 * 3600 };

// Streams of the range that match the parameter `query` (absent: all).
static enum errc streams(struct loki_job *j, struct label_set **sets, uint32_t *n, struct error *err)
{
    struct logql_plan *p;
    struct selector all = {0};
    int64_t start, end;
    TRY(loki_param_range(j, SIX_HOURS * 1000000000ll, &start, &end, err));
    TRY(loki_param_selector(j, "query", 0, &p, err));
    enum errc rc = query_streams(&j->q, p ? &p->logs.selector : &all, start, end + 1, sets, n, err);
    logql_plan_free(p);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

// Names of labels, or the values of one label, once each.
static enum errc distinct(struct loki_job *j, const struct slice *label, struct buf *out, struct error *err)
{
    struct label_set *sets;
    uint32_t n, total = 0, k = 0;
    TRY(streams(j, &sets, &n, err));
    for (uint32_t i = 0; i < n; i++)
        total += sets[i].n;
    struct slice *all = ARENA_ARRAY(&j->q.arena, struct slice, total);
    if (!all)
        return ERR(err, LIMIT, "too many streams for the memory of one query: narrow it with query={…}");
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t l = 0; l < sets[i].n; l++) {
            if (!label)
                all[k++] = sets[i].l[l].name;
            else if (slice_eq(sets[i].l[l].name, *label))
                all[k++] = sets[i].l[l].value;
        }
    qsort(all, k, sizeof *all, by_text);
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, SLICE("success"));
    JW_KEY(&w, "data");
    jw_arr(&w);
    for (uint32_t i = 0; i < k; i++)
        if (i == 0 || !slice_eq(all[i], all[i - 1]))
            jw_str(&w, all[i]);
    jw_arr_end(&w);
    jw_obj_end(&w);
    return ERR_OK;
}

enum errc loki_labels(struct loki_job *j, struct buf *out, struct error *err)
{
    return distinct(j, NULL, out, err);
}
enum errc loki_label_values(struct loki_job *j, struct buf *out, struct error *err)
{
    return distinct(j, &j->req->param[0], out, err);
}

static int by_pair(const void *a, const void *b)
{
    return labels_cmp(a, 1, b, 1);
}

// Each label with its number of distinct values.
enum errc loki_detected_labels(struct loki_job *j, struct buf *out, struct error *err)
{
    struct label_set *sets;
    uint32_t n, total = 0, k = 0;
    TRY(streams(j, &sets, &n, err));
    for (uint32_t i = 0; i < n; i++)
        total += sets[i].n;
    struct label *all = ARENA_ARRAY(&j->q.arena, struct label, total);
    if (!all)
        return ERR(err, LIMIT, "too many streams for the memory of one query: narrow it with query={…}");
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t l = 0; l < sets[i].n; l++)
            all[k++] = sets[i].l[l];
    qsort(all, k, sizeof *all, by_pair);
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "detectedLabels");
    jw_arr(&w);
    for (uint32_t i = 0; i < k;) {
        uint64_t values = 0;
        uint32_t from = i;
        for (; i < k && slice_eq(all[i].name, all[from].name); i++)
            values += i == from || !slice_eq(all[i].value, all[i - 1].value);
        jw_obj(&w);
        JW_KEY(&w, "label");
        jw_str(&w, all[from].name);
        JW_KEY(&w, "cardinality");
        jw_u64(&w, values);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return ERR_OK;
}

// ---- series ---------------------------------------------------------------------------------------------------------

static enum errc one_match(struct loki_job *j, struct logql_plan *p, int64_t start, int64_t end, struct matrix *seen,
                           struct error *err)
{
    struct label_set *sets;
    uint32_t n;
    struct selector all = {0};
    TRY(query_streams(&j->q, p ? &p->logs.selector : &all, start, end + 1, &sets, &n, err));
    for (uint32_t i = 0; i < n; i++) {
        struct series *s = matrix_series(seen, sets[i].l, sets[i].n, NULL);
        if (!s)
            return ERR(err, LIMIT, "too many streams for the memory of one query: narrow match[]");
        s->has[0] = 1;
    }
    return ERR_OK;
}

enum errc loki_series(struct loki_job *j, struct buf *out, struct error *err)
{
    int64_t start, end;
    struct slice text;
    struct matrix seen; // a set of label sets
    matrix_init(&seen, &j->q.arena, 1);
    TRY(loki_param_range(j, SIX_HOURS * 1000000000ll, &start, &end, err));
    const char *name = http_req_param(j->req, SLICE("match[]"), 0, &text) ? "match[]" : "match";
    for (int k = 0; k == 0 || http_req_param(j->req, slice_str(name), k, &text); k++) {
        struct logql_plan *p;
        TRY(loki_param_selector(j, name, k, &p, err));
        enum errc rc = one_match(j, p, start, end, &seen, err);
        logql_plan_free(p);
        if (rc != ERR_OK)
            return rc;
    }
    matrix_finish(&seen);
    struct jw w = jw_to(out);
    jw_obj(&w);
    JW_KEY(&w, "status");
    jw_str(&w, SLICE("success"));
    JW_KEY(&w, "data");
    jw_arr(&w);
    for (uint32_t i = 0; i < seen.n; i++)
        loki_put_labels(&w, seen.s[i].l, seen.s[i].n);
    jw_arr_end(&w);
    jw_obj_end(&w);
    return ERR_OK;
}

// ---- index/stats, index/volume --------------------------------------------------------------------------------------

struct volume {
    struct matrix m; // by stream: v[0] bytes
    uint64_t entries, bytes, batches;
};

static enum errc measure(struct loki_job *j, const struct selector *s, int64_t start, int64_t end, struct volume *v,
                         struct error *err)
{
    struct pipeline none = {0};
    struct rows_options o = {.selector = s, .pipeline = &none, .from = start, .to = end, .line = true};
    struct rows r;
    bool more = true;
    enum errc rc;
    matrix_init(&v->m, &j->q.arena, 1);
    GO(rows_open(&r, &j->q, &o, err));
    while (more) {
        GO(rows_next(&r, &more, err));
        if (!more)
            break;
        const struct resource *res = &r.batch->resources[r.resource];
        struct series *x = matrix_series(&v->m, res->labels, res->n_labels, NULL);
        if (!x) {
            rc = ERR(err, LIMIT, "too many streams for the memory of one query: narrow the selector");
            goto out;
        }
        x->v[0] += (double)r.row.line.n;
        x->has[0] = 1;
        v->entries++;
        v->bytes += r.row.line.n;
    }
    v->batches = r.batches - 1;
out:
    rows_close(&r);
    return rc;
}

enum errc loki_index_stats(struct loki_job *j, struct buf *out, struct error *err)
{
    struct volume v = {0};
    struct logql_plan *p;
    struct selector all = {0};
    int64_t start, end;
    TRY(loki_param_range(j, SIX_HOURS * 1000000000ll, &start, &end, err));
    TRY(loki_param_selector(j, "query", 0, &p, err));
    enum errc rc = measure(j, p ? &p->logs.selector : &all, start, end, &v, err);
    logql_plan_free(p);
    if (rc != ERR_OK)
        return rc;
    buf_printf(out, "{\"streams\":%u,\"chunks\":%llu,\"entries\":%llu,\"bytes\":%llu}", v.m.n, (unsigned long long)v.batches,
               (unsigned long long)v.entries, (unsigned long long)v.bytes);
    return ERR_OK;
}

// The names that group volumes: targetLabels, else those of the matchers; none: every label.
static enum errc volume_names(struct loki_job *j, const struct selector *s, struct slice **names, uint32_t *n, struct error *err)
{
    struct slice text, part;
    size_t max = s->n + 1;
    *n = 0;
    bool given = loki_param(j, "targetLabels", &text);
    for (size_t i = 0; given && i < text.n; i++)
        max += text.p[i] == ',';
    *names = ARENA_ARRAY(&j->q.arena, struct slice, max);
    if (!*names)
        return ERR(err, LIMIT, "the query needs more than its memory budget");
    while (given && slice_split(&text, ',', &part))
        (*names)[(*n)++] = slice_trim(part);
    for (uint32_t i = 0; !given && i < s->n; i++)
        (*names)[(*n)++] = s->m[i].name;
    return ERR_OK;
}

static enum errc group_volumes(struct loki_job *j, const struct volume *v, const struct grouping *by, bool by_labels,
                               struct matrix *out, struct error *err)
{
    for (uint32_t i = 0; i < v->m.n; i++) {
        const struct series *s = &v->m.s[i];
        struct label *l = arena_alloc(&j->q.arena, sizeof *l * (s->n + 1u));
        uint32_t n = 0;
        if (!l)
            return ERR(err, LIMIT, "the query needs more than its memory budget");
        for (uint32_t k = 0; k < s->n; k++)
            if (by->n == 0 || grouping_has(by, s->l[k].name))
                l[n++] = s->l[k];
        if (!by_labels && n == 0)
            continue;
        for (uint32_t k = 0; k < (by_labels ? n : 1); k++) {
            struct label name = {by_labels ? l[k].name : SLICE(""), SLICE("")};
            struct series *x = matrix_series(out, by_labels ? &name : l, by_labels ? 1 : n, NULL);
            if (!x)
                return ERR(err, LIMIT, "the query needs more than its memory budget");
            x->v[0] += s->v[0];
            x->has[0] = 1;
        }
    }
    return ERR_OK;
}

static int by_volume(const void *a, const void *b)
{
    const struct series *x = a, *y = b;
    if (x->v[0] != y->v[0])
        return x->v[0] < y->v[0] ? 1 : -1;
    return labels_cmp(x->l, x->n, y->l, y->n);
}

enum errc loki_volume(struct loki_job *j, struct buf *out, struct error *err)
{
    struct logql_plan *p = NULL;
    struct volume v = {0};
    struct matrix m;
    struct selector all = {0};
    struct grouping by = {.given = true};
    struct slice how = SLICE_NONE;
    int64_t start, end;
    uint32_t limit;
    enum errc rc;
    matrix_init(&m, &j->q.arena, 1);
    GO(loki_param_range(j, SIX_HOURS * 1000000000ll, &start, &end, err));
    GO(loki_param_limit(j, 100, &limit, err));
    if (loki_param(j, "aggregateBy", &how) && !slice_eq(how, SLICE("labels")) && !slice_eq(how, SLICE("series"))) {
        rc = ERR(err, INPUT, "parameter aggregateBy=\"%.*s\": write series or labels", (int)(how.n < 60 ? how.n : 60), how.p);
        goto out;
    }
    GO(loki_param_selector(j, "query", 0, &p, err));
    const struct selector *s = p ? &p->logs.selector : &all;
    GO(volume_names(j, s, (struct slice **)&by.names, &by.n, err));
    GO(measure(j, s, start, end, &v, err));
    GO(group_volumes(j, &v, &by, slice_eq(how, SLICE("labels")), &m, err));
    if (m.n > 1)
        qsort(m.s, m.n, sizeof *m.s, by_volume);
    m.n = m.n < limit ? m.n : limit;
    buf_str(out, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":");
    loki_put_matrix(out, &m, end, 1, false);
    buf_str(out, ",\"stats\":");
    loki_put_stats(out, &j->q);
    buf_str(out, "}}");
out:
    logql_plan_free(p);
    return rc;
}
