// Answers of queries in Loki's JSON.
#include "serve/loki_int.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// ---- streams --------------------------------------------------------------------------------------------------------

struct group {
    uint64_t hash;
    uint32_t first, last; // entries, linked by next
};
struct groups {
    struct group *g;
    uint32_t n;
    uint32_t *table, size; // number + 1
    uint32_t *next;        // entry → next entry of its group, UINT32_MAX at the end
};

static bool in_stream(const struct row_label *l, bool categorize)
{
    return !categorize || l->from == FROM_STREAM;
}

static bool same_stream(const struct log_entry *a, const struct log_entry *b, bool categorize)
{
    uint32_t i = 0, k = 0;
    for (;; i++, k++) {
        while (i < a->n_labels && !in_stream(&a->labels[i], categorize))
            i++;
        while (k < b->n_labels && !in_stream(&b->labels[k], categorize))
            k++;
        if (i == a->n_labels || k == b->n_labels)
            return i == a->n_labels && k == b->n_labels;
        if (!slice_eq(a->labels[i].name, b->labels[k].name) || !slice_eq(a->labels[i].value, b->labels[k].value))
            return false;
    }
}

static uint64_t stream_hash(const struct log_entry *e, bool categorize)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < e->n_labels; i++)
        if (in_stream(&e->labels[i], categorize))
            h = hash_mix(h, label_hash(e->labels[i].name, e->labels[i].value));
    return h;
}

static bool group_entries(struct groups *g, const struct log_result *r, bool categorize)
{
    g->size = 16;
    while (g->size < r->n * 2)
        g->size *= 2;
    g->g = calloc(r->n + 1u, sizeof *g->g);
    g->table = calloc(g->size, sizeof *g->table);
    g->next = malloc((r->n + 1u) * sizeof *g->next);
    if (!g->g || !g->table || !g->next)
        return false;
    for (uint32_t i = 0; i < r->n; i++) {
        uint64_t h = stream_hash(r->entries[i], categorize);
        uint32_t at = (uint32_t)h & (g->size - 1);
        while (g->table[at] && (g->g[g->table[at] - 1].hash != h ||
                                !same_stream(r->entries[g->g[g->table[at] - 1].first], r->entries[i], categorize)))
            at = (at + 1) & (g->size - 1);
        g->next[i] = UINT32_MAX;
        if (!g->table[at]) {
            g->g[g->n] = (struct group){h, i, i};
            g->table[at] = ++g->n;
        } else {
            struct group *x = &g->g[g->table[at] - 1];
            g->next[x->last] = i;
            x->last = i;
        }
    }
    return true;
}

static void put_object(struct jw *w, const struct log_entry *e, enum label_from from, bool all)
{
    jw_obj(w);
    for (uint32_t i = 0; i < e->n_labels; i++)
        if (all || e->labels[i].from == from) {
            jw_key(w, e->labels[i].name);
            jw_str(w, e->labels[i].value);
        }
    jw_obj_end(w);
}

static bool has_from(const struct log_entry *e, enum label_from from)
{
    for (uint32_t i = 0; i < e->n_labels; i++)
        if (e->labels[i].from == from)
            return true;
    return false;
}

static void put_entry(struct jw *w, const struct log_entry *e, bool categorize)
{
    jw_arr(w);
    jw_str_i64(w, e->time);
    jw_str(w, e->line);
    if (categorize) {
        jw_obj(w);
        if (has_from(e, FROM_META)) {
            JW_KEY(w, "structuredMetadata");
            put_object(w, e, FROM_META, false);
        }
        if (has_from(e, FROM_PARSED)) {
            JW_KEY(w, "parsed");
            put_object(w, e, FROM_PARSED, false);
        }
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

void loki_put_streams(struct buf *out, const struct log_result *r, bool categorize)
{
    struct groups g = {0};
    if (!group_entries(&g, r, categorize))
        out->err = ERR_NOMEM;
    struct jw w = jw_to(out);
    jw_arr(&w);
    for (uint32_t i = 0; i < g.n && !out->err; i++) {
        jw_obj(&w);
        JW_KEY(&w, "stream");
        put_object(&w, r->entries[g.g[i].first], FROM_STREAM, !categorize);
        JW_KEY(&w, "values");
        jw_arr(&w);
        for (uint32_t k = g.g[i].first; k != UINT32_MAX; k = g.next[k])
            put_entry(&w, r->entries[k], categorize);
        jw_arr_end(&w);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    free(g.g);
    free(g.table);
    free(g.next);
}

// ---- series ---------------------------------------------------------------------------------------------------------

// Seconds; a fraction of milliseconds only where there is one.
static void put_seconds(struct buf *b, int64_t ns)
{
    int64_t ms = ns / 1000000;
    buf_i64(b, ms / 1000);
    if (ms % 1000)
        buf_printf(b, ".%03lld", (long long)llabs(ms % 1000));
}

// The shortest text that reads back the same, without an exponent, as Prometheus writes samples.
static void put_value(struct buf *b, double v)
{
    size_t from = b->n;
    buf_f64(b, v);
    const char *e = b->n > from && isfinite(v) ? memchr(b->p + from, 'e', b->n - from) : NULL;
    if (!e)
        return;
    int exponent = atoi(e + 1), digits = 0;
    for (const char *p = b->p + from; p < e; p++)
        digits += *p >= '0' && *p <= '9';
    b->n = from;
    buf_printf(b, "%.*f", exponent < 0 ? digits - 1 - exponent : 0, v);
}

void loki_put_labels(struct jw *w, const struct label *l, uint32_t n)
{
    jw_obj(w);
    for (uint32_t i = 0; i < n; i++) {
        jw_key(w, l[i].name);
        jw_str(w, l[i].value);
    }
    jw_obj_end(w);
}

static void put_point(struct buf *out, int64_t at, double v)
{
    buf_char(out, '[');
    put_seconds(out, at);
    buf_str(out, ",\"");
    put_value(out, v);
    buf_str(out, "\"]");
}

void loki_put_matrix(struct buf *out, const struct matrix *m, int64_t at, int64_t step, bool range)
{
    buf_char(out, '[');
    for (uint32_t i = 0; i < m->n; i++) {
        const struct series *s = &m->s[i];
        buf_str(out, i ? ",{\"metric\":" : "{\"metric\":");
        struct jw w = jw_to(out);
        loki_put_labels(&w, s->l, s->n);
        buf_str(out, range ? ",\"values\":[" : ",\"value\":");
        bool first = true;
        for (uint32_t k = 0; k < m->steps; k++) {
            if (!s->has[k])
                continue;
            if (!first)
                buf_char(out, ',');
            first = false;
            put_point(out, at + (int64_t)k * step, s->v[k]);
        }
        buf_str(out, range ? "]}" : "}");
    }
    buf_char(out, ']');
}

// ---- stats ----------------------------------------------------------------------------------------------------------

static void put_number(struct jw *w, const char *key, uint64_t v)
{
    jw_key(w, slice_str(key));
    jw_u64(w, v);
}

// What Grafana shows of a query; counters that have no meaning here are 0.
static void put_origin(struct jw *w, const char *key, const struct query *q)
{
    jw_key(w, slice_str(key));
    jw_obj(w);
    JW_KEY(w, "store");
    jw_obj(w);
    put_number(w, "totalChunksRef", q ? q->budget.blocks + q->budget.blocks_skipped : 0);
    put_number(w, "totalChunksDownloaded", q ? q->budget.blocks : 0);
    put_number(w, "chunksDownloadTime", 0);
    JW_KEY(w, "chunk");
    jw_obj(w);
    put_number(w, "headChunkBytes", 0);
    put_number(w, "headChunkLines", 0);
    put_number(w, "decompressedBytes", q ? q->stats.bytes : 0);
    put_number(w, "decompressedLines", q ? q->stats.lines : 0);
    put_number(w, "compressedBytes", 0);
    put_number(w, "totalDuplicates", 0);
    jw_obj_end(w);
    jw_obj_end(w);
    jw_obj_end(w);
}

void loki_put_stats(struct buf *out, const struct query *q)
{
    struct jw w = jw_to(out);
    double seconds = (double)q->stats.exec_ns / 1e9, per = seconds > 0 ? 1 / seconds : 0;
    jw_obj(&w);
    JW_KEY(&w, "summary");
    jw_obj(&w);
    put_number(&w, "bytesProcessedPerSecond", (uint64_t)((double)q->stats.bytes * per));
    put_number(&w, "linesProcessedPerSecond", (uint64_t)((double)q->stats.lines * per));
    put_number(&w, "totalBytesProcessed", q->stats.bytes);
    put_number(&w, "totalLinesProcessed", q->stats.lines);
    JW_KEY(&w, "execTime");
    jw_f64(&w, seconds);
    JW_KEY(&w, "queueTime");
    jw_f64(&w, (double)q->stats.queue_ns / 1e9);
    put_number(&w, "subqueries", 0);
    put_number(&w, "totalEntriesReturned", q->stats.entries);
    put_number(&w, "splits", 0);
    put_number(&w, "shards", 0);
    put_number(&w, "totalPostFilterLines", q->stats.post_filter_lines);
    put_number(&w, "totalStructuredMetadataBytesProcessed", 0);
    jw_obj_end(&w);
    put_origin(&w, "querier", q);
    put_origin(&w, "ingester", NULL);
    JW_KEY(&w, "cache");
    jw_obj(&w);
    jw_obj_end(&w);
    JW_KEY(&w, "index");
    jw_obj(&w);
    jw_obj_end(&w);
    jw_obj_end(&w);
}
