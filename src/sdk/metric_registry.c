// The tree of registries, its automatic labels and callbacks.
#include "base/alloc.h"
#include "base/clock.h"
#include "sdk/metric.h"
#include <stdio.h>

bool metric_refuse(struct sonde_metric_error *err, enum sonde_metric_errc code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
    }
    return false;
}

bool metric_no_memory(struct sonde_metric_error *err)
{
    return metric_refuse(err, SONDE_METRIC_NOMEM, "out of memory for metrics (at most %zu MiB a registry)",
                         MAX_METRIC_MEMORY >> 20);
}

pthread_mutex_t metric_roots_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
struct sonde_registry *metric_roots;

// ---- registries -----------------------------------------------------------------------------------------------------
struct sonde_registry *sonde_registry_new(const char *prefix)
{
    struct sonde_registry *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    char clean[METRIC_NAME_MAX + 2] = "";
    arena_init(&r->arena, MAX_METRIC_MEMORY);
    if (prefix && *prefix && metric_name_clean(clean, prefix) != ERR_OK)
        clean[0] = 0;
    r->root = r;
    r->prefix = arena_dup(&r->arena, slice_str(clean));
    r->born = clock_mono_ns();
    r->born_wall = clock_wall_ns();
    if (!r->prefix.p || pthread_mutex_init(&r->lock, NULL) != 0) {
        arena_free(&r->arena);
        mem_free(r);
        return NULL;
    }
    pthread_mutex_lock(&metric_roots_lock);
    r->next_root = metric_roots;
    metric_roots = r;
    pthread_mutex_unlock(&metric_roots_lock);
    return r;
}

static void series_free(struct metric_series *s)
{
    struct metric_exemplar *e = atomic_load_explicit(&s->exemplars, memory_order_acquire);
    for (uint32_t i = 0; e && i < (s->bounds ? s->bounds->n + 1 : 1); i++)
        mem_free(e[i].labels);
    mem_free(e);
    if (s->slot != METRIC_NO_SLOT)
        metric_slots_give(s->slot, metric_words(s));
}

static void pages_free(struct sonde_registry *r)
{
    for (struct metric_callback *c = atomic_load_explicit(&r->callbacks, memory_order_acquire); c; c = c->next)
        meter_page_free(c->page);
    for (struct sonde_registry *child = r->children; child; child = child->sibling)
        pages_free(child);
}

void sonde_registry_free(struct sonde_registry *root)
{
    if (!root || root->root != root)
        return;
    pthread_mutex_lock(&metric_roots_lock);
    struct sonde_registry **at = &metric_roots;
    while (*at && *at != root)
        at = &(*at)->next_root;
    if (*at)
        *at = root->next_root;
    pthread_mutex_unlock(&metric_roots_lock);
    for (uint32_t i = 0; i < root->n_families; i++)
        for (uint32_t k = 0; k < root->families[i]->n_series; k++)
            series_free(root->families[i]->series[k]);
    pages_free(root);
    pthread_mutex_destroy(&root->lock);
    arena_free(&root->arena);
    mem_free(root);
}

static const char *const level_label[] = {NULL, "dynamo_namespace", "dynamo_component", "dynamo_endpoint"};
enum { LEVELS = 4 };

static struct sonde_registry *child_make(struct sonde_registry *parent, const char *name, struct sonde_metric_error *err)
{
    struct arena *a = &parent->root->arena;
    char value[METRIC_NAME_MAX + 2];
    if (metric_label_clean(value, name) != ERR_OK) {
        metric_refuse(err, SONDE_METRIC_NAME,
                      "the registry name \"%.100s\" cannot become a label value: it needs a letter or digit, in at most %d bytes",
                      name, METRIC_NAME_MAX);
        return NULL;
    }
    struct sonde_registry *r = ARENA_NEW(a, struct sonde_registry);
    struct slice copy = arena_dup(a, slice_str(name)), text = arena_dup(a, slice_str(value));
    if (!r || !copy.p || !text.p || !(r->labels = ARENA_NEW(a, struct sonde_label))) {
        metric_no_memory(err);
        return NULL;
    }
    r->root = parent->root;
    r->parent = parent;
    r->name = copy;
    r->depth = parent->depth + 1;
    if (r->depth < LEVELS)
        r->labels[r->n_labels++] = (struct sonde_label){level_label[r->depth], text.p};
    r->sibling = parent->children;
    parent->children = r;
    return r;
}

struct sonde_registry *sonde_registry_child(struct sonde_registry *parent, const char *name, struct sonde_metric_error *err)
{
    if (!parent || !name) {
        metric_refuse(err, SONDE_METRIC_ARGUMENT, "a registry's child needs a parent and a name, and got null");
        return NULL;
    }
    pthread_mutex_lock(&parent->root->lock);
    struct sonde_registry *r = parent->children;
    while (r && !slice_eq(r->name, slice_str(name)))
        r = r->sibling;
    if (!r)
        r = child_make(parent, name, err);
    pthread_mutex_unlock(&parent->root->lock);
    return r;
}

bool metric_label_automatic(const struct sonde_registry *r, const char *name)
{
    bool hierarchy = r->depth > 0 || r->root->prefix.n > 0;
    for (int i = 1; hierarchy && i < LEVELS; i++)
        if (strcmp(name, level_label[i]) == 0)
            return true;
    for (; r; r = r->parent)
        for (uint32_t i = 0; i < r->n_labels; i++)
            if (strcmp(name, r->labels[i].name) == 0)
                return true;
    return false;
}

static bool label_add(struct sonde_registry *r, const char *name, const char *value, struct sonde_metric_error *err)
{
    char clean[METRIC_NAME_MAX + 2];
    struct arena *a = &r->root->arena;
    if (metric_label_clean(clean, name) != ERR_OK)
        return metric_refuse(err, SONDE_METRIC_NAME, "the label name \"%.100s\" holds no letter or digit", name);
    if (metric_label_automatic(r, clean))
        return metric_refuse(err, SONDE_METRIC_LABEL_AUTOMATIC, "the label \"%s\" is automatic in this registry already", clean);
    if (r->n_labels >= SONDE_METRIC_LABELS_MAX)
        return metric_refuse(err, SONDE_METRIC_LIMIT, "a registry has at most %d automatic labels", SONDE_METRIC_LABELS_MAX);
    struct sonde_label *labels = ARENA_ARRAY(a, struct sonde_label, r->n_labels + 1);
    struct slice n = arena_dup(a, slice_str(clean)), v = metric_text_keep(a, value, METRIC_VALUE_MAX);
    if (!labels || !n.p || !v.p)
        return metric_no_memory(err);
    for (uint32_t i = 0; i < r->n_labels; i++)
        labels[i] = r->labels[i];
    labels[r->n_labels] = (struct sonde_label){n.p, v.p};
    r->labels = labels;
    r->n_labels++;
    return true;
}

bool sonde_registry_label(struct sonde_registry *r, const char *name, const char *value, struct sonde_metric_error *err)
{
    if (!r || !name || !value)
        return metric_refuse(err, SONDE_METRIC_ARGUMENT, "an automatic label needs a registry, a name and a value, and got null");
    pthread_mutex_lock(&r->root->lock);
    bool ok = label_add(r, name, value, err);
    pthread_mutex_unlock(&r->root->lock);
    return ok;
}

bool metric_callback_add(struct sonde_registry *r, struct metric_callback c)
{
    if (!r)
        return false;
    pthread_mutex_lock(&r->root->lock);
    struct metric_callback *n = ARENA_NEW(&r->root->arena, struct metric_callback);
    if (n) {
        *n = c;
        struct metric_callback *last = atomic_load_explicit(&r->callbacks, memory_order_relaxed);
        while (last && last->next)
            last = last->next;
        if (last)
            last->next = n;
        else
            atomic_store_explicit(&r->callbacks, n, memory_order_release);
    }
    pthread_mutex_unlock(&r->root->lock);
    return n != NULL;
}

bool sonde_registry_on_update(struct sonde_registry *r, sonde_update_fn *fn, void *arg)
{
    return fn && metric_callback_add(r, (struct metric_callback){.update = fn, .arg = arg});
}

bool sonde_registry_on_text(struct sonde_registry *r, sonde_text_fn *fn, void *arg)
{
    return fn && metric_callback_add(r, (struct metric_callback){.text = fn, .arg = arg});
}
