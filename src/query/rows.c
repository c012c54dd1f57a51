#include "query/rows.h"
#include "base/limits.h"
#include <stdlib.h>

// The fields of the model that show up as structured metadata.
#define META_FIELDS                                                                                                     \
    (1ull << FIELD_TRACE_ID | 1ull << FIELD_SPAN_ID | 1ull << FIELD_FLAGS | 1ull << FIELD_SCOPE_NAME |                  \
     1ull << FIELD_SCOPE_VERSION | 1ull << FIELD_DROPPED_ATTRS | 1ull << FIELD_SEVERITY | 1ull << FIELD_SEVERITY_TEXT | \
     1ull << FIELD_OBSERVED | 1ull << FIELD_EVENT_NAME)

struct meta {
    const struct column *c;
    struct slice name;
    uint32_t at;    // where the last look-up ended
    bool skip_zero; // a number that means "not given" when 0
    bool as_level;  // a severity number, told as detected_level
};

struct base { // labels of one resource
    struct row_label *l;
    uint32_t n;
    uint32_t n_stream;
};

enum { CHECK_WORK = 1 << 20, ROW_WORK = 256 }; // bytes that stages looked at between two looks at the clock; a row counts too

struct rows_state {
    struct query *q;
    struct rows_options o;
    void *scan;
    struct scan_batch sb;
    uint32_t at;   // next of sb.rows, in the order of reading
    uint64_t work; // since the last query_check
    bool labels;   // rows need labels at all
    struct arena batch_arena, scratch;
    struct buf text;
    struct base *bases; // [resource of the batch], l == null: not made yet
    struct meta *metas;
    uint32_t n_metas;
    const struct column *body;
    uint32_t body_at;
    struct row_label labels_room[MAX_ROW_LABELS];
};

static bool match_resource(void *arg, const struct resource *r)
{
    return selector_match(arg, r);
}

enum errc rows_open(struct rows *r, struct query *q, const struct rows_options *o, struct error *err)
{
    *r = (struct rows){.floor = INT64_MIN, .ceil = INT64_MAX};
    struct rows_state *s = r->state = calloc(1, sizeof *s);
    if (!s)
        return ERR(err, NOMEM, "out of memory");
    s->q = q;
    s->o = *o;
    s->labels = o->need == ROWS_LABELS || o->pipeline->n_line < o->pipeline->n;
    if (o->pipeline->n_line < o->pipeline->n)
        s->o.names = NULL;
    arena_init(&s->batch_arena, q->limits.max_memory);
    arena_init(&s->scratch, q->limits.max_memory);
    buf_init(&s->text, MAX_LOG_LINE * 4);
    r->row.l = s->labels_room;
    r->row.scratch = &s->scratch;
    struct scan_request sr = {.tenant = q->tenant,
                              .signal = SIGNAL_LOG,
                              .from = o->from,
                              .to = o->to,
                              .newest_first = o->newest_first,
                              .match = match_resource,
                              .match_arg = (void *)o->selector,
                              .fields = (o->line || o->pipeline->n ? 1ull << FIELD_BODY : 0) | (s->labels ? META_FIELDS : 0),
                              .all_attrs = s->labels,
                              .budget = &q->budget};
    return q->source.scan(q->source.arg, &sr, &s->scan, err);
}

void rows_close(struct rows *r)
{
    struct rows_state *s = r->state;
    if (!s)
        return;
    if (s->scan)
        s->q->source.close(s->scan);
    arena_free(&s->batch_arena);
    arena_free(&s->scratch);
    buf_free(&s->text);
    free(s);
    r->state = NULL;
}

static bool wanted(const struct rows_state *s, struct slice name)
{
    return label_wanted(s->o.names, s->o.n_names, name);
}

static void find_metas(struct rows_state *s, const struct batch *b)
{
    s->metas = ARENA_ARRAY(&s->batch_arena, struct meta, b->n_columns + 1);
    s->n_metas = 0;
    if (!s->metas)
        return;
    for (uint32_t i = 0; i < b->n_columns; i++) {
        const struct column *c = &b->columns[i];
        struct meta m = {.c = c};
        if (!c->n)
            continue;
        if (c->scope == COL_FIELD) {
            if (!(META_FIELDS >> c->field & 1))
                continue;
            m.name = slice_str(field_text(c->field));
            m.skip_zero = c->field == FIELD_FLAGS || c->field == FIELD_SEVERITY || c->field == FIELD_DROPPED_ATTRS ||
                          c->field == FIELD_OBSERVED;
        } else {
            m.name = row_name(&s->batch_arena, c->name, SLICE("key_"));
        }
        if (m.name.n && wanted(s, m.name))
            s->metas[s->n_metas++] = m;
    }
    const struct column *severity = b->field[FIELD_SEVERITY];
    if (severity && severity->n && wanted(s, SLICE("detected_level")))
        s->metas[s->n_metas++] =
            (struct meta){.c = severity, .name = SLICE("detected_level"), .skip_zero = true, .as_level = true};
}

// As Loki names the level of a record that came with a severity number.
static struct slice level_text(int64_t severity)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error", "fatal"};
    return severity >= 1 && severity <= 24 ? slice_str(names[(severity - 1) / 4]) : SLICE("unknown");
}

static enum errc next_batch(struct rows *r, bool *more, struct error *err)
{
    struct rows_state *s = r->state;
    TRY(query_check(s->q, err));
    TRY(s->q->source.next(s->scan, &s->sb, err));
    *more = s->sb.batch != NULL;
    r->batch = s->sb.batch;
    r->bound = s->sb.bound;
    s->at = 0;
    r->batches++;
    if (!*more)
        return ERR_OK;
    const struct batch *b = s->sb.batch;
    arena_reset(&s->batch_arena);
    s->body = b->field[FIELD_BODY];
    s->body_at = 0;
    s->n_metas = 0;
    if (s->labels) {
        s->bases = ARENA_ARRAY(&s->batch_arena, struct base, b->n_resources);
        find_metas(s, b);
    }
    return arena_failed(&s->batch_arena) ? ERR(err, LIMIT, "the query needs more than its memory budget") : ERR_OK;
}

// Position of the row's value, remembering where the last one was: rows come in order, one way or the other.
static int64_t seek(const struct column *c, uint32_t row, uint32_t *at)
{
    if (!c->row)
        return row < c->n ? (int64_t)row : -1;
    for (int k = 0; k < 3 && *at < c->n; k++) {
        if (c->row[*at] == row)
            return *at;
        if (c->row[*at] < row && *at + 1 < c->n && c->row[*at + 1] <= row)
            (*at)++;
        else if (c->row[*at] > row && *at > 0 && c->row[*at - 1] >= row)
            (*at)--;
        else
            return -1;
    }
    int64_t found = column_find(c, row);
    if (found >= 0)
        *at = (uint32_t)found;
    return found;
}

static struct slice text_of(struct rows_state *s, struct arena *a, const struct value *v)
{
    if (v->kind == COL_STR)
        return v->s;
    buf_reset(&s->text);
    value_text(&s->text, v);
    return s->text.err ? SLICE("") : arena_dup(a, buf_slice(&s->text));
}

// Adds a metadata label; one that the stream has too becomes name_extracted.
static void add_meta(struct row *r, uint32_t n_stream, struct slice name, struct slice value)
{
    if (!value.n || r->n == MAX_ROW_LABELS)
        return;
    for (uint32_t i = 0; i < r->n; i++) {
        if (!slice_eq(r->l[i].name, name))
            continue;
        if (i >= n_stream)
            return;
        row_set(r, arena_printf(r->scratch, "%.*s_extracted", (int)name.n, name.p), value, FROM_META);
        return;
    }
    r->l[r->n++] = (struct row_label){name, value, FROM_META};
}

// Labels of a resource, then its attributes that are not labels, as metadata.
static struct base *base_of(struct rows *r, uint32_t number)
{
    struct rows_state *s = r->state;
    struct base *b = &s->bases[number];
    if (b->l)
        return b;
    const struct resource *res = &s->sb.batch->resources[number];
    struct row tmp = {.l = s->labels_room, .scratch = &s->batch_arena};
    for (uint32_t i = 0; i < res->n_labels && tmp.n < MAX_ROW_LABELS; i++)
        if (wanted(s, res->labels[i].name))
            tmp.l[tmp.n++] = (struct row_label){res->labels[i].name, res->labels[i].value, FROM_STREAM};
    b->n_stream = tmp.n;
    for (uint32_t i = 0; i < res->n_attrs; i++) {
        struct slice name = row_name(&s->batch_arena, res->attrs[i].key, SLICE("key_"));
        if (resource_label(res, name).n || !wanted(s, name))
            continue;
        add_meta(&tmp, b->n_stream, name, text_of(s, &s->batch_arena, &res->attrs[i].value));
    }
    b->n = tmp.n;
    b->l = arena_alloc(&s->batch_arena, sizeof *b->l * (tmp.n + 1u));
    if (b->l)
        memcpy(b->l, tmp.l, sizeof *b->l * tmp.n);
    return b;
}

static void make_labels(struct rows *r, uint32_t row)
{
    struct rows_state *s = r->state;
    struct base *b = base_of(r, r->resource);
    if (!b->l)
        return;
    memcpy(r->row.l, b->l, sizeof *b->l * b->n);
    r->row.n = b->n;
    for (uint32_t i = 0; i < s->n_metas; i++) {
        struct meta *m = &s->metas[i];
        int64_t at = seek(m->c, row, &m->at);
        if (at < 0)
            continue;
        struct value v = column_at(m->c, (uint32_t)at);
        if (m->skip_zero && v.i64 == 0)
            continue;
        add_meta(&r->row, b->n_stream, m->name, m->as_level ? level_text(v.i64) : text_of(s, &s->scratch, &v));
        r->plain = false;
    }
}

// One row through the pipeline; false when it is dropped.
static bool take(struct rows *r, uint32_t row)
{
    struct rows_state *s = r->state;
    const struct pipeline *p = s->o.pipeline;
    arena_reset(&s->scratch);
    struct row *w = &r->row;
    *w = (struct row){.time = s->sb.batch->time[row],
                      .l = s->labels_room,
                      .scratch = &s->scratch,
                      .wanted = p->wanted,
                      .n_wanted = p->n_wanted};
    r->resource = s->sb.batch->resource[row];
    r->plain = true;
    if (s->body) {
        int64_t at = seek(s->body, row, &s->body_at);
        w->line = at < 0 ? SLICE("") : s->body->s[at];
        if (!w->line.p)
            w->line = SLICE("");
    } else {
        w->line = SLICE("");
    }
    s->q->stats.lines++;
    s->q->stats.bytes += w->line.n;
    s->work += ROW_WORK + w->line.n * (p->n + 1u);
    for (uint32_t i = 0; i < p->n_line; i++)
        if (!stage_run(p->stages[i], w))
            return false;
    if (s->labels)
        make_labels(r, row);
    if (p->n_line < p->n) {
        r->plain = false;
        if (!pipeline_run(p, p->n_line, w))
            return false;
    }
    s->q->stats.post_filter_lines++;
    return true;
}

enum errc rows_next(struct rows *r, bool *more, struct error *err)
{
    struct rows_state *s = r->state;
    for (;;) {
        if (!s->sb.batch || s->at == s->sb.n_rows) {
            // What comes later cannot lie inside the consumer's limits: equal times arrived on the losing side.
            if (s->sb.batch && (s->o.newest_first ? r->bound <= r->floor : r->bound >= r->ceil)) {
                *more = false;
                return ERR_OK;
            }
            TRY(next_batch(r, more, err));
            if (!*more)
                return ERR_OK;
        }
        uint32_t k = s->at++;
        if (s->work > CHECK_WORK) {
            s->work = 0;
            TRY(query_check(s->q, err));
        }
        uint32_t row = s->sb.rows[s->o.newest_first ? s->sb.n_rows - 1 - k : k];
        int64_t t = s->sb.batch->time[row];
        if (t < r->floor || t > r->ceil || !take(r, row))
            continue;
        if (arena_failed(&s->scratch) || arena_failed(&s->batch_arena))
            return ERR(err, LIMIT, "the query needs more than its memory budget");
        // Of equal times the later arrival has the greater number. Read newest first, earlier batches are later ones.
        r->seq = (s->o.newest_first ? UINT32_MAX - r->batches : r->batches) << 32 | row;
        *more = true;
        return ERR_OK;
    }
}
