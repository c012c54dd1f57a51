// YAML by libyaml's parser of events, loaded when a file is to be read: no program needs it that has none.
#include "base/limits.h"
#include "sdk/config_model.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#if __has_include(<yaml.h>)
#include <yaml.h>

static struct {
    void *lib;
    int (*init)(yaml_parser_t *);
    void (*end)(yaml_parser_t *);
    void (*input)(yaml_parser_t *, const unsigned char *, size_t);
    int (*parse)(yaml_parser_t *, yaml_event_t *);
    void (*drop)(yaml_event_t *);
} yaml;

static bool load(void)
{
    void *lib = yaml.lib ? yaml.lib : dlopen("libyaml-0.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return false;
    yaml.init = (int (*)(yaml_parser_t *))dlsym(lib, "yaml_parser_initialize");
    yaml.end = (void (*)(yaml_parser_t *))dlsym(lib, "yaml_parser_delete");
    yaml.input = (void (*)(yaml_parser_t *, const unsigned char *, size_t))dlsym(lib, "yaml_parser_set_input_string");
    yaml.parse = (int (*)(yaml_parser_t *, yaml_event_t *))dlsym(lib, "yaml_parser_parse");
    yaml.drop = (void (*)(yaml_event_t *))dlsym(lib, "yaml_event_delete");
    yaml.lib = lib;
    return yaml.init && yaml.end && yaml.input && yaml.parse && yaml.drop;
}

struct reader {
    struct sonde_config *c;
    yaml_parser_t parser;
    struct error *err;
    struct anchor {
        struct anchor *next;
        struct slice name;
        const struct sonde_config_node *node;
    } * anchors;
    bool failed;
};

static void fail(struct reader *r, size_t line, const char *what)
{
    if (!r->failed)
        ERR(r->err, SYNTAX, "line %zu: %s", line, what);
    r->failed = true;
}

static bool next(struct reader *r, yaml_event_t *e)
{
    if (r->failed)
        return false;
    if (yaml.parse(&r->parser, e))
        return true;
    char what[256];
    snprintf(what, sizeof what, "%s%s%s", r->parser.problem ? r->parser.problem : "no YAML", r->parser.context ? ", " : "",
             r->parser.context ? r->parser.context : "");
    fail(r, r->parser.problem_mark.line + 1, what);
    return false;
}

static struct sonde_config_node *new_node(struct reader *r, enum sonde_node_type type, size_t line)
{
    struct sonde_config_node *n = ++r->c->nodes <= CONFIG_NODES_MAX ? ARENA_NEW(&r->c->arena, struct sonde_config_node) : NULL;
    if (!n) {
        fail(r, line, "the file is too large");
        return NULL;
    }
    n->type = type;
    n->line = (int)line;
    n->text = "";
    return n;
}

static void remember(struct reader *r, const unsigned char *name, const struct sonde_config_node *node)
{
    struct anchor *a = name && node ? ARENA_NEW(&r->c->arena, struct anchor) : NULL;
    if (!a)
        return;
    a->name = arena_dup(&r->c->arena, slice_str((const char *)name));
    a->node = node;
    a->next = r->anchors;
    r->anchors = a;
}

static struct sonde_config_node *copy(struct reader *r, const struct sonde_config_node *from)
{
    struct sonde_config_node *n = new_node(r, from->type, (size_t)from->line);
    const struct sonde_config_node **at = n ? &n->first : NULL;
    if (!n)
        return NULL;
    n->key = from->key;
    n->text = from->text;
    for (const struct sonde_config_node *k = from->first; k && at; k = k->next) {
        struct sonde_config_node *own = copy(r, k);
        *at = own;
        at = own ? &own->next : NULL;
    }
    return n;
}

static struct sonde_config_node *alias(struct reader *r, const yaml_event_t *e)
{
    size_t line = e->start_mark.line + 1;
    for (const struct anchor *a = r->anchors; a; a = a->next)
        if (slice_eq(a->name, slice_str((const char *)e->data.alias.anchor)))
            return copy(r, a->node);
    fail(r, line, "an alias of an anchor that is not known");
    return NULL;
}

static struct sonde_config_node *scalar(struct reader *r, const yaml_event_t *e)
{
    struct slice text = slice_of(e->data.scalar.value, e->data.scalar.length), out;
    size_t line = e->start_mark.line + 1;
    struct error err = {0};
    bool put, plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (memchr(text.p, 0, text.n)) {
        fail(r, line, "a value with the character U+0000");
        return NULL;
    }
    text = arena_dup(&r->c->arena, text);
    if (!text.p || !config_substitute(text, &r->c->arena, &out, &put, &err)) {
        fail(r, line, text.p ? err.msg : "the file is too large");
        return NULL;
    }
    struct sonde_config_node *n = new_node(r, plain ? config_scalar_type(out) : SONDE_NODE_STR, line);
    if (n && n->type == SONDE_NODE_BOOL)
        n->text = out.p[0] == 't' || out.p[0] == 'T' ? "true" : "false";
    else if (n && n->type != SONDE_NODE_NULL)
        n->text = out.p;
    return n;
}

static struct sonde_config_node *node(struct reader *r, const yaml_event_t *e, int depth);

static const struct sonde_config_node *key_in(const struct sonde_config_node *map, const char *key)
{
    const struct sonde_config_node *n = map->first;
    while (n && strcmp(n->key, key) != 0)
        n = n->next;
    return n;
}

static void append(struct sonde_config_node *to, struct sonde_config_node *n)
{
    struct sonde_config_node *last = (struct sonde_config_node *)(uintptr_t)to->first;
    while (last && last->next)
        last = (struct sonde_config_node *)(uintptr_t)last->next;
    if (last)
        last->next = n;
    else
        to->first = n;
}

// <<: what the merged map has and this one has not.
static void merge(struct reader *r, struct sonde_config_node *map, const struct sonde_config_node *from)
{
    for (const struct sonde_config_node *k = from->type == SONDE_NODE_MAP ? from->first : NULL; k; k = k->next) {
        struct sonde_config_node *own = key_in(map, k->key) ? NULL : copy(r, k);
        if (own)
            append(map, own);
    }
}

// merged: gets what stands under <<, which counts when the map's own entries are known.
static void map_entry(struct reader *r, struct sonde_config_node *map, const yaml_event_t *key, int depth,
                      const struct sonde_config_node **merged)
{
    yaml_event_t e;
    size_t line = key->start_mark.line + 1;
    if (key->type != YAML_SCALAR_EVENT) {
        fail(r, line, "a key must be a text");
        return;
    }
    struct slice name = arena_dup(&r->c->arena, slice_of(key->data.scalar.value, key->data.scalar.length)); // no ${…} in keys
    if (!next(r, &e))
        return;
    struct sonde_config_node *n = node(r, &e, depth);
    yaml.drop(&e);
    if (!n || !name.p)
        return;
    if (slice_eq(name, SLICE("<<"))) {
        *merged = n;
        return;
    }
    if (key_in(map, name.p)) {
        fail(r, line, "the same key twice");
        return;
    }
    n->key = name.p;
    append(map, n);
}

static struct sonde_config_node *collection(struct reader *r, bool map, size_t line, int depth)
{
    struct sonde_config_node *all = new_node(r, map ? SONDE_NODE_MAP : SONDE_NODE_LIST, line);
    const struct sonde_config_node *merged = NULL;
    if (depth > CONFIG_DEPTH)
        fail(r, line, "too deep");
    for (bool more = all != NULL; more && !r->failed;) {
        yaml_event_t e;
        if (!next(r, &e))
            break;
        more = e.type != YAML_MAPPING_END_EVENT && e.type != YAML_SEQUENCE_END_EVENT;
        if (more && map) {
            map_entry(r, all, &e, depth, &merged);
        } else if (more) {
            struct sonde_config_node *n = node(r, &e, depth);
            if (n)
                append(all, n);
        }
        yaml.drop(&e);
    }
    if (merged && merged->type == SONDE_NODE_MAP)
        merge(r, all, merged);
    for (const struct sonde_config_node *n = merged && merged->type == SONDE_NODE_LIST ? merged->first : NULL; n; n = n->next)
        merge(r, all, n);
    return all;
}

static struct sonde_config_node *node(struct reader *r, const yaml_event_t *e, int depth)
{
    struct sonde_config_node *n = NULL;
    size_t line = e->start_mark.line + 1;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        n = alias(r, e);
        if (n)
            n->key = NULL;
        break;
    case YAML_SCALAR_EVENT:
        n = scalar(r, e);
        remember(r, e->data.scalar.anchor, n);
        break;
    case YAML_MAPPING_START_EVENT:
        n = collection(r, true, line, depth + 1);
        remember(r, e->data.mapping_start.anchor, n);
        break;
    case YAML_SEQUENCE_START_EVENT:
        n = collection(r, false, line, depth + 1);
        remember(r, e->data.sequence_start.anchor, n);
        break;
    default:
        fail(r, line, "a value is missing");
    }
    return r->failed ? NULL : n;
}

enum errc config_yaml(struct sonde_config *c, struct slice text, struct error *err)
{
    struct reader r = {.c = c, .err = err};
    yaml_event_t e;
    bool end = false;
    if (!load())
        return ERR(err, UNSUPPORTED, "libyaml-0.so.2 cannot be loaded; install it (Debian: libyaml-0-2)");
    if (!yaml.init(&r.parser))
        return ERR(err, NOMEM, "no memory for the configuration file");
    yaml.input(&r.parser, (const unsigned char *)text.p, text.n);
    while (!end && next(&r, &e)) {
        bool value =
            e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT && e.type != YAML_DOCUMENT_END_EVENT;
        end = e.type == YAML_STREAM_END_EVENT;
        if (value && !end && c->root)
            fail(&r, e.start_mark.line + 1, "a second document");
        else if (value && !end)
            c->root = node(&r, &e, 0);
        yaml.drop(&e);
    }
    yaml.end(&r.parser);
    if (!r.failed && (!c->root || c->root->type != SONDE_NODE_MAP))
        fail(&r, 1, "the file must be a map, beginning with file_format");
    return r.failed ? ERR_SYNTAX : ERR_OK;
}
#else
enum errc config_yaml(struct sonde_config *c, struct slice text, struct error *err)
{
    (void)c, (void)text;
    return ERR(err, UNSUPPORTED, "this libsonde was built without libyaml's header; install libyaml-dev and build it again");
}
#endif
