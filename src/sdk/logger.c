// sonde/logger.h: a tracer's scope with a call site for each level.
#include "base/alloc.h"
#include "sdk/sdk.h"
#include "sdk/trace.h"
#include <sonde/logger.h>

struct sonde_logger {
    const struct scope *scope;
    struct sonde_site *site[SONDE_LEVEL_TRACE + 1]; // by level
    struct sonde_logger *next;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // outermost
static struct sonde_logger *loggers;

// In a forked child the sites are known already, and so are their scopes.
static bool make_sites(struct sonde_logger *l, const char *name)
{
    for (int level = SONDE_LEVEL_ERROR; level <= SONDE_LEVEL_TRACE; level++) {
        l->site[level] = sonde_site_new((enum sonde_level)level, name && *name ? name : "logger", "", 0, false);
        if (!l->site[level])
            return false;
        sonde_site_enabled(l->site[level]); // gets its number
        struct site *s = site_get(&sdk.sites, l->site[level]->number);
        if (s) // no record of it was made yet
            s->scope = l->scope;
    }
    return true;
}

struct sonde_logger *sonde_logger_get(const struct sonde_logger_options *o)
{
    static const struct sonde_logger_options none;
    o = o ? o : &none;
    const struct sonde_tracer_options scope = {o->name, o->version, o->schema_url, o->attributes, o->n_attributes};
    struct sonde_tracer *t = sonde_tracer_get(&scope);
    if (!t)
        return NULL;
    pthread_mutex_lock(&lock);
    struct sonde_logger *l = loggers;
    while (l && l->scope != &t->scope)
        l = l->next;
    if (!l && (l = mem_zalloc(sizeof *l))) {
        l->scope = &t->scope;
        if (make_sites(l, o->name)) {
            l->next = loggers;
            loggers = l;
        } else {
            mem_free(l);
            l = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return l;
}

bool sonde_logger_enabled(struct sonde_logger *l, enum sonde_level level)
{
    return l && level >= SONDE_LEVEL_ERROR && level <= SONDE_LEVEL_TRACE && sonde_site_enabled(l->site[level]);
}

static size_t add_text(struct sonde_field *f, size_t n, const char *key, const char *text)
{
    if (text)
        f[n++] = (struct sonde_field){key, SONDE_TYPE_STR, sonde_arg_str(text)};
    return n;
}

void sonde_logger_emit(struct sonde_logger *l, const struct sonde_logger_record *r)
{
    enum { OWN = 4, STACK = 28 };
    struct sonde_field few[OWN + STACK], *f = few;
    char stack[8192];
    const struct sonde_exception *e = r->exception;
    if (!l || r->level < SONDE_LEVEL_ERROR || r->level > SONDE_LEVEL_TRACE || !sonde_site_wanted(l->site[r->level]))
        return;
    size_t n = 0, more = r->n_fields + (e ? e->n_fields : 0);
    if (more > STACK && !(f = mem_alloc((OWN + more) * sizeof *f)))
        return;
    n = add_text(f, n, "event.name", r->event_name);
    if (e) {
        n = add_text(f, n, "exception.type", e->type);
        n = add_text(f, n, "exception.message", e->message);
        n = add_text(f, n, "exception.stacktrace",
                     e->stack           ? e->stack
                     : e->capture_stack ? trace_stack(stack, sizeof stack)
                                        : NULL);
        for (size_t i = 0; i < e->n_fields; i++)
            f[n++] = e->fields[i];
    }
    for (size_t i = 0; i < r->n_fields; i++) // these win
        f[n++] = r->fields[i];
    sonde_log_array(l->site[r->level], r->message ? r->message : "", SIZE_MAX, f, n);
    if (f != few)
        mem_free(f);
}
