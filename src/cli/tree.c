#include "base/json.h"
#include "cli/cli.h"

static struct tree *parse(struct json *j, struct arena *a)
{
    struct tree *t = ARENA_NEW(a, struct tree), **tail;
    struct slice key;
    const char *from;
    if (!t) {
        ERR(j->err, LIMIT, "the answer needs more than %zu MiB of memory", a->max >> 20);
        return NULL;
    }
    tail = &t->first;
    switch (json_peek(j)) {
    case JSON_NULL:
        json_null(j);
        break;
    case JSON_BOOL:
        t->type = TREE_BOOL;
        json_bool(j, &t->yes);
        break;
    case JSON_NUMBER:
        t->type = TREE_NUMBER;
        if (json_number_text(j, &t->text))
            slice_to_f64(t->text, &t->number);
        break;
    case JSON_STRING:
        t->type = TREE_STRING;
        json_string(j, &t->text);
        break;
    case JSON_ARRAY:
        t->type = TREE_ARRAY;
        from = j->p;
        for (json_array(j); json_next_item(j); tail = &(*tail)->next)
            if (!(*tail = parse(j, a)))
                return NULL;
        t->text = slice_of(from, (size_t)(j->p - from));
        break;
    case JSON_OBJECT:
        t->type = TREE_OBJECT;
        from = j->p;
        for (json_object(j); json_next_key(j, &key); tail = &(*tail)->next) {
            if (!(*tail = parse(j, a)))
                return NULL;
            (*tail)->key = key;
        }
        t->text = slice_of(from, (size_t)(j->p - from));
        break;
    default:
        json_fail(j, "expected a value");
    }
    return j->failed ? NULL : t;
}

struct tree *tree_parse(struct slice json, struct arena *arena, struct error *err)
{
    struct json j;
    json_init(&j, json, arena, err);
    struct tree *t = parse(&j, arena);
    return t && json_finish(&j) ? t : NULL;
}

const struct tree *tree_get(const struct tree *t, const char *key)
{
    for (const struct tree *c = t ? t->first : NULL; c; c = c->next)
        if (slice_eq(c->key, slice_str(key)))
            return c;
    return NULL;
}

struct slice tree_text(const struct tree *t, const char *key)
{
    const struct tree *c = tree_get(t, key);
    return c ? c->text : SLICE("");
}

double tree_number(const struct tree *t, const char *key, double otherwise)
{
    const struct tree *c = tree_get(t, key);
    return c && c->type == TREE_NUMBER ? c->number : otherwise;
}

int64_t tree_i64(const struct tree *t, const char *key)
{
    int64_t v = 0;
    return slice_to_i64(tree_text(t, key), &v) ? v : 0;
}
