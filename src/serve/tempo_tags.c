// Names of attributes and their values, for completion.
#include "base/clock.h"
#include "serve/tempo_api.h"
#include "traceql/traceql.h"

#include <string.h>

enum { TAG_VALUES_MAX = 10000, TAGS_SCAN_ROWS = 2000000 };

// A sorted set of texts with a type each.
struct text_set {
    struct arena arena;
    struct {
        struct slice text;
        const char *type;
    } * at;
    size_t n, cap;
};

static void set_add(struct text_set *s, struct slice text, const char *type)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = slice_cmp(s->at[mid].text, text);
        if (c == 0 && s->at[mid].type == type)
            return;
        if (c < 0 || (c == 0 && s->at[mid].type < type))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (s->n >= TAG_VALUES_MAX)
        return;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        void *bigger = arena_grow(&s->arena, s->at, s->cap * sizeof *s->at, cap * sizeof *s->at);
        if (!bigger)
            return;
        s->at = bigger;
        s->cap = cap;
    }
    struct slice copy = arena_dup(&s->arena, text);
    if (!copy.p)
        return;
    memmove(&s->at[lo + 1], &s->at[lo], (s->n - lo) * sizeof *s->at);
    s->at[lo].text = copy;
    s->at[lo].type = type;
    s->n++;
}

static const char *const intrinsics[] = {"duration",
                                         "kind",
                                         "name",
                                         "rootName",
                                         "rootServiceName",
                                         "status",
                                         "statusMessage",
                                         "traceDuration",
                                         "event:name",
                                         "event:timeSinceStart",
                                         "instrumentation:name",
                                         "instrumentation:version",
                                         "link:spanID",
                                         "link:traceID",
                                         "span:duration",
                                         "span:id",
                                         "span:kind",
                                         "span:name",
                                         "span:parentID",
                                         "span:status",
                                         "span:statusMessage",
                                         "trace:duration",
                                         "trace:id",
                                         "trace:rootName",
                                         "trace:rootService"};

typedef void tags_visit(void *arg, const struct batch *b, const uint32_t *rows, uint32_t n);

// Runs over the spans of the request's range (default: the last hour) with all fields and the attributes named, or all.
static enum errc visit_spans(struct query_job *job, bool all_attrs, const struct slice *attrs, size_t n_attrs, tags_visit *fn,
                             void *arg, struct error *err)
{
    struct scan_request q = {.tenant = job->tenant,
                             .signal = SIGNAL_SPAN,
                             .overlap = true,
                             .newest_first = true,
                             .fields = ~0ull,
                             .all_attrs = all_attrs,
                             .attrs = attrs,
                             .n_attrs = n_attrs,
                             .budget = &job->budget};
    struct scan *scan = NULL;
    struct scan_batch part;
    uint64_t rows = 0;
    enum errc rc;
    q.to = clock_wall_ns() + 60000000000;
    q.from = q.to - 3660000000000;
    if (!tempo_time_range(job->req, &q.from, &q.to, err))
        return err->code;
    GO(store_scan(job->server->store, &q, &scan, err));
    while (rows < TAGS_SCAN_ROWS) {
        GO(scan_next(scan, &part, err));
        if (!part.batch)
            break;
        GO(query_job_check(job, err));
        rows += part.n_rows;
        fn(arg, part.batch, part.rows, part.n_rows);
    }
out:
    scan_close(scan);
    return rc;
}

struct tag_names {
    struct text_set span, resource;
};

static bool holds_any(const struct column *c, const uint32_t *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (column_find(c, rows[i]) >= 0)
            return true;
    return false;
}

static void visit_names(void *arg, const struct batch *b, const uint32_t *rows, uint32_t n)
{
    struct tag_names *t = arg;
    for (uint32_t i = 0; i < b->n_columns; i++)
        if (b->columns[i].scope == COL_ATTR && holds_any(&b->columns[i], rows, n))
            set_add(&t->span, b->columns[i].name, "");
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t r = b->resource[rows[i]];
        if (r == last)
            continue;
        last = r;
        for (uint32_t k = 0; k < b->resources[r].n_attrs; k++)
            set_add(&t->resource, b->resources[r].attrs[k].key, "");
    }
}

static void write_names(struct jw *w, const struct text_set *s, int64_t limit)
{
    for (size_t i = 0; i < s->n && (int64_t)i < limit; i++)
        jw_str(w, s->at[i].text);
}

static void write_intrinsics(struct jw *w)
{
    for (size_t i = 0; i < sizeof intrinsics / sizeof *intrinsics; i++)
        jw_str(w, slice_str(intrinsics[i]));
}

// How many names or values are asked for; absent or 0: as many as there are.
static bool read_limit(struct query_job *job, int64_t *limit, struct error *err)
{
    *limit = 0;
    if (!tempo_param_int(job->req, "limit", 0, INT32_MAX, limit, err))
        return false;
    if (*limit == 0)
        *limit = TAG_VALUES_MAX;
    return true;
}

static bool scope_is(struct slice scope, const char *name)
{
    return scope.n == 0 || slice_eq(scope, SLICE("none")) || slice_eq(scope, slice_str(name));
}

static void write_scope(struct jw *w, const char *name, const struct text_set *s, int64_t limit)
{
    jw_obj(w);
    JW_KEY(w, "name");
    jw_str(w, slice_str(name));
    JW_KEY(w, "tags");
    jw_arr(w);
    if (s)
        write_names(w, s, limit);
    else
        write_intrinsics(w);
    jw_arr_end(w);
    jw_obj_end(w);
}

static void tags(struct query_job *job, bool v2)
{
    struct error err = {0};
    struct tag_names t = {0};
    struct slice scope = SLICE_NONE;
    struct buf out;
    static const char *const scopes[] = {"", "none", "span", "resource", "intrinsic", "event", "link", "instrumentation"};
    bool known = false;
    int64_t limit;
    http_req_param(job->req, SLICE("scope"), 0, &scope);
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
        known = known || slice_eq(scope, slice_str(scopes[i]));
    if (!known) {
        http_reply_text(job->req, 400,
                        "unknown scope \"%.*s\"; span, resource, intrinsic, event, link, instrumentation or none are accepted",
                        (int)scope.n, scope.p);
        return;
    }
    arena_init(&t.span.arena, MAX_TAGS_MEMORY);
    arena_init(&t.resource.arena, MAX_TAGS_MEMORY);
    buf_init(&out, MAX_TAGS_MEMORY);
    if (!read_limit(job, &limit, &err) || visit_spans(job, true, NULL, 0, visit_names, &t, &err) != ERR_OK) {
        server_reply_error(job->req, &err);
    } else {
        struct jw w = jw_to(&out);
        jw_obj(&w);
        jw_key(&w, v2 ? SLICE("scopes") : SLICE("tagNames"));
        jw_arr(&w);
        if (v2) {
            if (scope_is(scope, "span") && t.span.n)
                write_scope(&w, "span", &t.span, limit);
            if (scope_is(scope, "resource") && t.resource.n)
                write_scope(&w, "resource", &t.resource, limit);
            if (scope_is(scope, "intrinsic"))
                write_scope(&w, "intrinsic", NULL, limit);
        } else {
            struct text_set all = {0};
            arena_init(&all.arena, MAX_TAGS_MEMORY);
            for (size_t i = 0; scope_is(scope, "span") && i < t.span.n; i++)
                set_add(&all, t.span.at[i].text, "");
            for (size_t i = 0; scope_is(scope, "resource") && i < t.resource.n; i++)
                set_add(&all, t.resource.at[i].text, "");
            write_names(&w, &all, limit);
            if (slice_eq(scope, SLICE("intrinsic")))
                write_intrinsics(&w);
            arena_free(&all.arena);
        }
        jw_arr_end(&w);
        JW_KEY(&w, "metrics");
        jw_obj(&w);
        jw_obj_end(&w);
        jw_obj_end(&w);
        http_reply(job->req, 200, SLICE("application/json"), buf_slice(&out));
    }
    arena_free(&t.span.arena);
    arena_free(&t.resource.arena);
    buf_free(&out);
}

void tempo_tags_v1(struct query_job *job)
{
    tags(job, false);
}
void tempo_tags_v2(struct query_job *job)
{
    tags(job, true);
}

enum values_from { FROM_NOWHERE, FROM_ATTR, FROM_FIELD, FROM_ROOT_NAME, FROM_ROOT_SERVICE };

struct tag_values {
    struct text_set set;
    enum values_from from;
    struct slice name; // FROM_ATTR
    bool span, resource;
    enum field field;       // FROM_FIELD
    struct traceql *narrow; // only spans that match; null: all
};

static void add_value(struct text_set *set, const struct value *v)
{
    static const char *const types[] = {[COL_I64] = "int", [COL_F64] = "float", [COL_BOOL] = "bool", [COL_STR] = "string"};
    struct buf b;
    if (v->kind > COL_STR)
        return; // arrays, maps and bytes have no tag values
    buf_init(&b, MAX_VALUE_TEXT);
    value_text(&b, v);
    set_add(set, buf_slice(&b), types[v->kind]);
    buf_free(&b);
}

static void add_text(struct text_set *set, struct slice s)
{
    if (s.n)
        set_add(set, s, "string");
}

static void visit_row(struct tag_values *t, const struct batch *b, uint32_t row)
{
    const struct resource *r = &b->resources[b->resource[row]];
    const struct attr *a;
    struct value v;
    switch (t->from) {
    case FROM_NOWHERE:
        break;
    case FROM_FIELD:
        add_text(&t->set, column_str(b->field[t->field], row));
        break;
    case FROM_ROOT_NAME:
        if (column_id64(b->field[FIELD_PARENT_ID], row) == 0)
            add_text(&t->set, column_str(b->field[FIELD_NAME], row));
        break;
    case FROM_ROOT_SERVICE:
        a = column_id64(b->field[FIELD_PARENT_ID], row) == 0 ? resource_attr(r, SLICE("service.name")) : NULL;
        if (a)
            add_value(&t->set, &a->value);
        break;
    case FROM_ATTR:
        if (t->span && batch_attr(b, COL_ATTR, t->name, row, &v))
            add_value(&t->set, &v);
        a = t->resource ? resource_attr(r, t->name) : NULL;
        if (a)
            add_value(&t->set, &a->value);
        break;
    }
}

static void visit_values(void *arg, const struct batch *b, const uint32_t *rows, uint32_t n)
{
    struct tag_values *t = arg;
    for (uint32_t i = 0; i < n; i++)
        if (!t->narrow || traceql_match(t->narrow, b, rows[i]))
            visit_row(t, b, rows[i]);
}

// Tags whose values stand in no attribute, or are known without looking. v1 and v2 differ in the enumerations.
static const struct special {
    const char *name;
    bool v1, v2;
    enum values_from from;
    enum field field;
    const char *type;
    const char *const *fixed;
} specials[] = {
#define STATUS_VALUES                \
    "keyword", (const char *const[]) \
    {                                \
        "error", "ok", "unset", NULL \
    }
#define KIND_VALUES                                                                 \
    "keyword", (const char *const[])                                                \
    {                                                                               \
        "client", "consumer", "internal", "producer", "server", "unspecified", NULL \
    }
    {"status", false, true, FROM_NOWHERE, FIELD_NONE, STATUS_VALUES},
    {"span:status", true, true, FROM_NOWHERE, FIELD_NONE, STATUS_VALUES},
    {"kind", false, true, FROM_NOWHERE, FIELD_NONE, KIND_VALUES},
    {"span:kind", true, true, FROM_NOWHERE, FIELD_NONE, KIND_VALUES},
    {"status.code", true, false, FROM_NOWHERE, FIELD_NONE, STATUS_VALUES},
    {"error", true, false, FROM_NOWHERE, FIELD_NONE, "bool", (const char *const[]){"true", NULL}},
    {"status", true, false, FROM_NOWHERE, FIELD_NONE, NULL, NULL},
    {"kind", true, false, FROM_NOWHERE, FIELD_NONE, NULL, NULL},
    {"name", true, true, FROM_FIELD, FIELD_NAME, NULL, NULL},
    {"span:name", true, true, FROM_FIELD, FIELD_NAME, NULL, NULL},
    {"statusMessage", true, true, FROM_FIELD, FIELD_STATUS_MESSAGE, NULL, NULL},
    {"span:statusMessage", true, true, FROM_FIELD, FIELD_STATUS_MESSAGE, NULL, NULL},
    {"instrumentation:name", true, true, FROM_FIELD, FIELD_SCOPE_NAME, NULL, NULL},
    {"instrumentation:version", true, true, FROM_FIELD, FIELD_SCOPE_VERSION, NULL, NULL},
    {"rootName", true, true, FROM_ROOT_NAME, FIELD_NONE, NULL, NULL},
    {"trace:rootName", true, true, FROM_ROOT_NAME, FIELD_NONE, NULL, NULL},
    {"rootServiceName", true, true, FROM_ROOT_SERVICE, FIELD_NONE, NULL, NULL},
    {"trace:rootService", true, true, FROM_ROOT_SERVICE, FIELD_NONE, NULL, NULL},
#undef STATUS_VALUES
#undef KIND_VALUES
};

// Where the values of a tag come from. *fixed: the special that lists them itself, else null.
static enum errc resolve_tag(struct slice tag, bool v2, struct tag_values *t, const struct special **fixed, struct error *err)
{
    static const struct {
        const char *prefix;
        bool span, resource;
    } scopes[] = {{"span.", true, false}, {"resource.", false, true}, {".", true, true}};
    *fixed = NULL;
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        if ((v2 ? specials[i].v2 : specials[i].v1) && slice_eq(tag, slice_str(specials[i].name))) {
            t->from = specials[i].from;
            t->field = specials[i].field;
            *fixed = specials[i].fixed ? &specials[i] : NULL;
            return ERR_OK;
        }
    for (size_t i = 0; i < sizeof intrinsics / sizeof *intrinsics; i++)
        if (slice_eq(tag, slice_str(intrinsics[i])))
            return ERR_OK; // durations and ids: an empty list by definition
    t->from = FROM_ATTR;
    t->name = tag;
    t->span = t->resource = true;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        struct slice prefix = slice_str(scopes[i].prefix);
        if (tag.n > prefix.n && slice_starts(tag, prefix)) {
            t->name = slice_from(tag, prefix.n);
            t->span = scopes[i].span;
            t->resource = scopes[i].resource;
            return ERR_OK;
        }
    }
    if (v2)
        return ERR(err, INPUT, "tag \"%.*s\" has no scope: write .%.*s, span.%.*s or resource.%.*s", (int)slice_cut(tag, 64).n,
                   tag.p, (int)slice_cut(tag, 64).n, tag.p, (int)slice_cut(tag, 64).n, tag.p, (int)slice_cut(tag, 64).n, tag.p);
    return ERR_OK;
}

// The q of v2: a query that may be half written; what does not parse narrows nothing.
static void read_narrow(struct query_job *job, struct tag_values *t)
{
    struct slice q;
    struct error ignored = {0};
    if (!http_req_param(job->req, SLICE("q"), 0, &q) || !q.n)
        return;
    if (traceql_parse(q, job->req->arena, &t->narrow, &ignored) != ERR_OK) {
        traceql_free(t->narrow);
        t->narrow = NULL;
    }
}

static void write_tag_value(struct jw *w, bool v2, struct slice text, const char *type)
{
    if (!v2) {
        jw_str(w, text);
        return;
    }
    jw_obj(w);
    JW_KEY(w, "type");
    jw_str(w, slice_str(type));
    JW_KEY(w, "value");
    jw_str(w, text);
    jw_obj_end(w);
}

static void write_tag_values(struct jw *w, bool v2, const struct text_set *set, const struct special *fixed, int64_t limit)
{
    jw_obj(w);
    JW_KEY(w, "tagValues");
    jw_arr(w);
    for (int64_t i = 0; fixed && fixed->fixed[i] && i < limit; i++)
        write_tag_value(w, v2, slice_str(fixed->fixed[i]), fixed->type);
    for (int64_t i = 0; i < (int64_t)set->n && i < limit; i++)
        write_tag_value(w, v2, set->at[i].text, set->at[i].type);
    jw_arr_end(w);
    JW_KEY(w, "metrics");
    jw_obj(w);
    jw_obj_end(w);
    jw_obj_end(w);
}

static void tag_values(struct query_job *job, bool v2)
{
    struct error err = {0};
    struct tag_values t = {.from = FROM_NOWHERE};
    const struct special *fixed = NULL;
    struct slice tag = job->req->param[0], decoded;
    struct buf out;
    int64_t limit, from = INT64_MIN, to = INT64_MAX;
    if (slice_find(tag, SLICE("%")) >= 0 &&
        percent_decode(job->req->arena, tag, false, &decoded)) // Grafana encodes the name twice
        tag = decoded;
    arena_init(&t.set.arena, MAX_TAGS_MEMORY);
    buf_init(&out, MAX_TAGS_MEMORY);
    enum errc rc = read_limit(job, &limit, &err) && tempo_time_range(job->req, &from, &to, &err) ? ERR_OK : err.code;
    if (rc == ERR_OK)
        rc = resolve_tag(tag, v2, &t, &fixed, &err);
    if (rc == ERR_OK && v2)
        read_narrow(job, &t);
    if (rc == ERR_OK && t.from != FROM_NOWHERE)
        rc = visit_spans(job, t.narrow != NULL, &t.name, t.from == FROM_ATTR, visit_values, &t, &err);
    traceql_free(t.narrow); // before the answer: the request and its arena go with that
    if (rc != ERR_OK) {
        server_reply_error(job->req, &err);
    } else {
        struct jw w = jw_to(&out);
        write_tag_values(&w, v2, &t.set, fixed, limit);
        http_reply(job->req, 200, SLICE("application/json"), buf_slice(&out));
    }
    arena_free(&t.set.arena);
    buf_free(&out);
}

void tempo_tag_values_v1(struct query_job *job)
{
    tag_values(job, false);
}
void tempo_tag_values_v2(struct query_job *job)
{
    tag_values(job, true);
}
