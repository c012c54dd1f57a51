// | json: all fields, nested ones joined with _, or the paths of expressions. Arrays and null are left out unless a path
// names them. What stands before a syntax error is kept; text behind the object is ignored.
#include "base/json.h"
#include "base/limits.h"
#include "query/stage.h"

enum { MAX_PATH = 32, MAX_FLAT_NAME = 2048 };

struct step {
    struct slice key; // p == NULL: an index
    uint64_t index;
};
struct path {
    struct slice label;
    struct step steps[MAX_PATH];
    int n;
};
struct json_stage {
    struct stage stage;
    struct path *paths;
    uint32_t n;
};

static void fail(struct row *r, struct json *j)
{
    row_fail(r, SLICE("JSONParserErr"), arena_printf(r->scratch, "not a JSON object: byte %zu", json_at(j)));
}

// The text of a scalar; false for arrays, objects, null and errors, which are consumed too.
static bool scalar(struct json *j, struct slice *out)
{
    bool b;
    struct slice raw;
    switch (json_peek(j)) {
    case JSON_STRING:
        return json_string(j, out);
    case JSON_NUMBER:
        return json_number_text(j, out);
    case JSON_BOOL:
        if (!json_bool(j, &b))
            return false;
        *out = b ? SLICE("true") : SLICE("false");
        return true;
    default:
        json_skip(j, &raw);
        return false;
    }
}

// name[0 … n) is the prefix so far.
static void flatten(struct json *j, struct row *r, char *name, size_t n)
{
    struct slice key, value;
    if (!json_object(j))
        return;
    while (json_next_key(j, &key)) {
        struct slice part = row_name(r->scratch, key, n ? SLICE("") : SLICE("_"));
        size_t len = n + (n ? 1 : 0) + part.n;
        if (key.n == 0 || len > MAX_FLAT_NAME) {
            json_skip(j, &value);
            continue;
        }
        if (n)
            name[n] = '_';
        memcpy(name + len - part.n, part.p, part.n);
        if (json_peek(j) == JSON_OBJECT)
            flatten(j, r, name, len);
        else if (scalar(j, &value) && row_wants(r, slice_of(name, len)))
            row_extract(r, arena_dup(r->scratch, slice_of(name, len)), value, true);
        if (j->failed)
            return;
    }
}

// Goes to the value of the path; false when there is none.
static bool walk(struct json *j, const struct path *p)
{
    for (int i = 0; i < p->n; i++) {
        const struct step *s = &p->steps[i];
        struct slice key;
        bool here = false;
        if (s->key.p) {
            if (json_peek(j) != JSON_OBJECT || !json_object(j))
                return false;
            while (!here && json_next_key(j, &key))
                if (!(here = slice_eq(key, s->key)) && !json_skip(j, NULL))
                    return false;
        } else {
            if (json_peek(j) != JSON_ARRAY || !json_array(j))
                return false;
            for (uint64_t k = 0; !here && json_next_item(j); k++)
                if (!(here = k == s->index) && !json_skip(j, NULL))
                    return false;
        }
        if (!here)
            return false;
    }
    return true;
}

static void extract_path(const struct path *p, struct row *r)
{
    struct json j;
    struct slice value = SLICE("");
    json_init(&j, r->line, r->scratch, NULL);
    if (walk(&j, p)) {
        enum json_type t = json_peek(&j);
        if (t == JSON_OBJECT || t == JSON_ARRAY) {
            if (!json_skip(&j, &value))
                value = SLICE("");
        } else if (!scalar(&j, &value)) {
            value = SLICE("");
        }
    }
    row_extract(r, p->label, value, false);
}

static bool json_run(const struct stage *st, struct row *r)
{
    const struct json_stage *s = (const struct json_stage *)st;
    struct json j;
    json_init(&j, r->line, r->scratch, NULL);
    if (s->n == 0) {
        char name[MAX_FLAT_NAME + 8];
        if (json_peek(&j) != JSON_OBJECT)
            j.failed = true;
        else
            flatten(&j, r, name, 0);
        if (j.failed)
            fail(r, &j);
        return true;
    }
    if (!json_skip(&j, NULL)) {
        fail(r, &j);
        if (json_at(&j) == 0)
            return true;
    }
    for (uint32_t i = 0; i < s->n; i++)
        extract_path(&s->paths[i], r);
    return true;
}
static const struct stage_ops json_ops = {.name = "json", .parses = true, .labels = true, .run = json_run};

// ---- paths: name.name[0]["any text"] --------------------------------------------------------------------------------

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum errc path_parse(struct path *out, struct slice text, struct arena *a, struct error *err)
{
    size_t i = 0;
    out->n = 0;
    while (i < text.n) {
        if (out->n == MAX_PATH)
            return ERR(err, LIMIT, "json path \"%.*s\": more than %d steps", (int)text.n, text.p, MAX_PATH);
        struct step *s = &out->steps[out->n];
        if (text.p[i] == '[' && i + 1 < text.n && text.p[i + 1] == '"') {
            struct json j;
            json_init(&j, slice_from(text, i + 1), a, NULL);
            if (!json_string(&j, &s->key))
                goto bad;
            if (!s->key.p)
                s->key.p = "";
            i += 1 + json_at(&j);
            if (i >= text.n || text.p[i++] != ']')
                goto bad;
        } else if (text.p[i] == '[') {
            size_t from = ++i;
            while (i < text.n && digit(text.p[i]))
                i++;
            if (i == from || i >= text.n || text.p[i] != ']' || !slice_to_u64(slice_of(text.p + from, i - from), &s->index))
                goto bad;
            s->key = SLICE_NONE;
            i++;
        } else {
            if (out->n) {
                if (text.p[i] != '.')
                    goto bad;
                i++;
            }
            size_t from = i;
            while (i < text.n && (letter(text.p[i]) || (i > from && digit(text.p[i]))))
                i++;
            if (i == from)
                goto bad;
            s->key = slice_of(text.p + from, i - from);
        }
        out->n++;
    }
    if (out->n)
        return ERR_OK;
bad:
    return ERR(err, SYNTAX, "json path \"%.*s\": cannot parse expression at byte %zu; write it as name.name[0][\"any key\"]",
               (int)text.n, text.p, i);
}

enum errc stage_json(const struct stage **out, struct stage_env *e, const struct stage_expr *x, uint32_t n)
{
    STAGE_NEW(e, struct json_stage, &json_ops);
    s->n = n;
    s->paths = ARENA_ARRAY(e->a, struct path, n);
    if (!s->paths)
        return ERR(e->err, NOMEM, "out of memory preparing a query");
    for (uint32_t i = 0; i < n; i++) {
        s->paths[i].label = x[i].label;
        TRY(path_parse(&s->paths[i], x[i].path, e->a, e->err));
    }
    return ERR_OK;
}
