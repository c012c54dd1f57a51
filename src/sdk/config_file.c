// Which settings the file says; how they get there stands in config_map.c.
#include "sdk/config_file.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/config_model.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct said {
    struct said *next;
    int row, line;
    char text[];
} * said; // kept for good: env_get hands the texts out
static char file[1024];
static atomic_bool rules;

bool config_file_active(void)
{
    return atomic_load_explicit(&rules, memory_order_acquire);
}

static struct said **find(int row)
{
    struct said **at = &said;
    while (*at && (*at)->row != row)
        at = &(*at)->next;
    return at;
}

bool config_file_setting(const char *name, struct setting_found *out)
{
    const struct said *s = *find(sdk_setting_find(name));
    if (s)
        *out = (struct setting_found){s->text, file, s->line};
    return s != NULL;
}

bool config_file_put(const char *name, struct slice text, int line, bool join)
{
    int row = sdk_setting_find(name);
    struct said **at = find(row), *old = *at;
    size_t before = join && old ? strlen(old->text) + 1 : 0;
    if (row < 0 || text.n > 1 << 20)
        return false;
    struct said *s = mem_alloc(sizeof *s + before + text.n + 1);
    if (!s)
        return false;
    if (before) {
        memcpy(s->text, old->text, before - 1);
        s->text[before - 1] = ',';
    }
    memcpy(s->text + before, text.p, text.n);
    s->text[before + text.n] = 0;
    s->row = row;
    s->line = before ? old->line : line;
    s->next = old ? old->next : NULL;
    *at = s;
    mem_free(old);
    return true;
}

void config_file_rule(const char *path)
{
    snprintf(file, sizeof file, "%s", path);
    atomic_store_explicit(&rules, true, memory_order_release);
}

void config_file_clear(void)
{
    atomic_store(&rules, false);
    while (said) {
        struct said *s = said;
        said = s->next;
        mem_free(s);
    }
}

// ---- components -----------------------------------------------------------------------------------------------------
enum { COMPONENTS_MAX = 64 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct component {
    char kind[48], name[128];
    sonde_component_fn *fn;
    void *arg;
} components[COMPONENTS_MAX];

bool sonde_component_register(const char *kind, const char *name, sonde_component_fn *fn, void *arg)
{
    struct component *at = NULL;
    if (!kind || !name || !*name || strlen(kind) >= sizeof at->kind || strlen(name) >= sizeof at->name)
        return false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < COMPONENTS_MAX; i++) {
        struct component *c = &components[i];
        bool same = c->fn && strcmp(c->kind, kind) == 0 && strcmp(c->name, name) == 0;
        if (same || (!at && !c->fn && fn))
            at = c;
        if (same)
            break;
    }
    if (at) {
        snprintf(at->kind, sizeof at->kind, "%s", kind);
        snprintf(at->name, sizeof at->name, "%s", name);
        at->fn = fn;
        at->arg = arg;
    }
    pthread_mutex_unlock(&lock);
    return at != NULL;
}

bool component_make(const char *kind, const char *name, const struct sonde_config_node *properties, bool *known)
{
    struct component found = {.fn = NULL};
    pthread_mutex_lock(&lock);
    for (int i = 0; i < COMPONENTS_MAX; i++)
        if (components[i].fn && strcmp(components[i].kind, kind) == 0 && strcmp(components[i].name, name) == 0)
            found = components[i];
    pthread_mutex_unlock(&lock);
    *known = found.fn != NULL;
    return found.fn && found.fn(found.arg, kind, name, properties);
}

// ---- model ----------------------------------------------------------------------------------------------------------
static const struct sonde_config *current; // holds

static struct sonde_config *parse(struct slice yaml, struct error *err)
{
    struct sonde_config *c = mem_zalloc(sizeof *c);
    if (!c) {
        ERR(err, NOMEM, "no memory for the configuration file");
        return NULL;
    }
    arena_init(&c->arena, MIB(32));
    if (config_yaml(c, yaml, err) == ERR_OK)
        return c;
    sonde_config_free(c);
    return NULL;
}

static struct sonde_config *parse_file(const char *path, struct error *err)
{
    struct buf text;
    struct sonde_config *c = NULL;
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        ERR(err, IO, "%s", strerrordesc_np(errno));
        return NULL;
    }
    buf_init(&text, MAX_SETTINGS_FILE);
    for (char *to; n > 0 && (to = buf_reserve(&text, 4096));) {
        n = read(fd, to, 4096);
        text.n += n > 0 ? (size_t)n : 0;
    }
    if (n < 0)
        ERR(err, IO, "%s", strerrordesc_np(errno));
    else if (n > 0)
        ERR(err, LIMIT, "larger than %zu bytes", (size_t)MAX_SETTINGS_FILE);
    else
        c = parse(text.n ? buf_slice(&text) : SLICE(""), err);
    close(fd);
    buf_free(&text);
    return c;
}

static struct sonde_config *told(struct sonde_config *c, const struct error *err, char *error, size_t n)
{
    if (n)
        snprintf(error, n, "%s", c ? "" : err->msg);
    return c;
}

struct sonde_config *sonde_config_parse(const char *yaml, size_t n, char *error, size_t error_n)
{
    struct error err = {0};
    return told(parse(slice_of(yaml, n), &err), &err, error, error_n);
}

struct sonde_config *sonde_config_parse_file(const char *path, char *error, size_t error_n)
{
    struct error err = {0};
    struct sonde_config *c = parse_file(path, &err);
    if (!c)
        error_prefix(&err, "%s: ", path);
    return told(c, &err, error, error_n);
}

void sonde_config_free(struct sonde_config *c)
{
    if (!c)
        return;
    arena_free(&c->arena);
    mem_free(c);
}

const struct sonde_config_node *sonde_config_root(const struct sonde_config *c)
{
    return c ? c->root : NULL;
}

const struct sonde_config_node *sonde_config_current(void)
{
    return config_file_active() && current ? current->root : NULL;
}

const struct sonde_config_node *sonde_config_get(const struct sonde_config_node *from, const char *path)
{
    struct slice rest = slice_str(path), part;
    while (from && rest.p && slice_split(&rest, '.', &part)) {
        const struct sonde_config_node *n = from->type == SONDE_NODE_MAP || from->type == SONDE_NODE_LIST ? from->first : NULL;
        uint64_t index;
        bool list = from->type == SONDE_NODE_LIST;
        if (list && !slice_to_u64(part, &index))
            return NULL;
        while (n && (list ? index-- > 0 : !slice_eq(slice_str(n->key), part)))
            n = n->next;
        from = n;
    }
    return from;
}

// ---- creating -------------------------------------------------------------------------------------------------------
static bool create(const struct sonde_config *c, const char *name, struct sonde_config_parts *parts, struct error *err)
{
    struct buf notes;
    buf_init(&notes, KIB(64));
    config_file_clear();
    bool ok = config_map(c, parts, &notes, err);
    if (notes.err == ERR_OK)
        sdk_note(notes.p, notes.n);
    buf_free(&notes);
    if (ok) {
        current = c;
        config_file_rule(name);
        parts->meter = parts->meter_provider ? config_views(c->root) : NULL;
    } else {
        config_file_clear();
    }
    return ok;
}

bool sonde_config_create(const struct sonde_config *c, struct sonde_config_parts *parts, char *error, size_t error_n)
{
    struct sonde_config_parts own;
    struct error err = {0};
    bool ok = false;
    if (!c)
        ERR(&err, INPUT, "there is no model");
    else if (sdk.phase != SDK_NONE)
        ERR(&err, INPUT, "libsonde runs already; create the parts before sonde_init and the first record");
    else
        ok = create(c, "sonde_config_create", parts ? parts : &own, &err);
    if (error_n)
        snprintf(error, error_n, "%s", err.msg);
    return ok;
}

static void start(void)
{
    struct error err = {0};
    struct sonde_config_parts parts;
    const char *path = env_get_path("OTEL_CONFIG_FILE");
    if (!path || !*path || config_file_active())
        return;
    struct sonde_config *c = parse_file(path, &err);
    if (c && create(c, path, &parts, &err))
        return;
    char note[ERROR_MESSAGE_MAX + 1200];
    sdk_note(note, (size_t)snprintf(note, sizeof note, "sonde: OTEL_CONFIG_FILE: %.1000s: %s; the environment is used instead\n",
                                    path, err.msg));
    sonde_config_free(c);
}

void config_file_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}
