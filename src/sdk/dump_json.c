// JSON with sorted keys.
#include "base/limits.h"
#include "sdk/dump.h"
#include <stdlib.h>

struct entry {
    struct slice key, value;
    size_t at;
};

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

struct sorter {
    struct arena arena;
    const struct redact *r;
    struct jw w;
    struct error *err;
};

static bool value(struct sorter *s, struct slice name, struct slice json);

static bool object(struct sorter *s, struct json *j)
{
    struct entry *list = NULL;
    struct slice key, raw;
    size_t n = 0, cap = 0;
    if (!json_object(j))
        return false;
    while (json_next_key(j, &key)) {
        if (n == cap) {
            list = arena_grow(&s->arena, list, cap * sizeof *list, (cap ? cap * 2 : 16) * sizeof *list);
            cap = cap ? cap * 2 : 16;
        }
        if (!list || !json_skip(j, &raw))
            return false;
        list[n] = (struct entry){key, raw, n};
        n++;
    }
    if (j->failed)
        return false;
    if (n)
        qsort(list, n, sizeof *list, by_key);
    jw_obj(&s->w);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && slice_eq(list[i].key, list[i + 1].key))
            continue;
        jw_key(&s->w, list[i].key);
        if (!value(s, list[i].key, list[i].value))
            return false;
    }
    jw_obj_end(&s->w);
    return true;
}

static bool array(struct sorter *s, struct slice name, struct json *j)
{
    struct slice raw;
    if (!json_array(j))
        return false;
    jw_arr(&s->w);
    while (json_next_item(j))
        if (!json_skip(j, &raw) || !value(s, name, raw))
            return false;
    jw_arr_end(&s->w);
    return !j->failed;
}

// name: the key it stands under, also through arrays.
static bool value(struct sorter *s, struct slice name, struct slice text)
{
    struct json j;
    struct slice out;
    struct buf b;
    json_init(&j, text, &s->arena, s->err);
    enum json_type type = json_peek(&j);
    if (s->r && type == JSON_OBJECT && redact_name(s->r, name)) {
        if (!json_skip(&j, NULL))
            return false;
        jw_str(&s->w, SLICE(DUMP_REDACTED));
        return true;
    }
    if (type == JSON_OBJECT)
        return object(s, &j);
    if (type == JSON_ARRAY)
        return array(s, name, &j);
    if (type != JSON_STRING && type != JSON_NUMBER) { // true, false, null: no secrets
        if (!json_skip(&j, &out))
            return false;
        jw_raw(&s->w, out);
        return true;
    }
    bool ok = type == JSON_STRING ? json_string(&j, &out) : json_skip(&j, &out);
    if (!ok)
        return false;
    buf_init(&b, DUMP_MAX);
    if (s->r)
        redact_text(s->r, name, out, &b);
    else
        buf_add(&b, out);
    if (type == JSON_STRING || !slice_eq(buf_slice(&b), out))
        jw_str(&s->w, buf_slice(&b));
    else
        jw_raw(&s->w, out);
    buf_free(&b);
    return true;
}

bool dump_sort(struct slice json, const struct redact *r, struct buf *out, struct error *err)
{
    struct sorter s = {.r = r && !r->off ? r : NULL, .w = jw_to(out), .err = err};
    struct json j;
    size_t before = out->n;
    *err = (struct error){0};
    arena_init(&s.arena, 4 * (size_t)DUMP_MAX);
    json_init(&j, json, &s.arena, err);
    bool ok = json_skip(&j, &json) && json_finish(&j) && value(&s, SLICE_NONE, json) && out->err == ERR_OK;
    arena_free(&s.arena);
    if (!ok && out->err == ERR_OK)
        out->n = before;
    return ok;
}
