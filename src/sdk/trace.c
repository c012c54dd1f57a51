// What spans have once a process: tracers, processors, the id generator; and the stack of an exception.
#include "sdk/trace.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "sdk/value.h"
#include <execinfo.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct trace trace = {.mode = TRACE_PARENT};

// ---- tracers --------------------------------------------------------------------------------------------------------
// A list, newest first, and a table by number; both only grow. Lock: tracers, innermost.
enum { TRACERS_MAX = 4096 };
static pthread_mutex_t tracers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sonde_tracer *tracers;
static _Atomic(struct sonde_tracer *) by_number[TRACERS_MAX];
static uint32_t n_tracers;

const struct scope *scope_get(uint32_t number)
{
    struct sonde_tracer *t =
        number && number <= TRACERS_MAX ? atomic_load_explicit(&by_number[number - 1], memory_order_acquire) : NULL;
    return t ? &t->scope : NULL;
}

static void put_text(struct buf *b, const char *text)
{
    buf_str(b, text ? text : "");
    buf_char(b, 0);
}

static struct sonde_tracer *tracer_new(struct slice identity, const struct sonde_tracer_options *o)
{
    struct sonde_tracer *t = mem_zalloc(sizeof *t + identity.n);
    if (!t)
        return NULL;
    char *text = (char *)(t + 1);
    memcpy(text, identity.p, identity.n);
    t->scope.identity = slice_of(text, identity.n);
    struct slice rest = t->scope.identity, *part[] = {&t->scope.name, &t->scope.version, &t->scope.schema_url};
    for (int i = 0; i < 3; i++) {
        *part[i] = slice_str(rest.p);
        rest = slice_from(rest, part[i]->n + 1);
    }
    struct packed_field f;
    t->scope.field = o->n_attributes ? mem_zalloc(o->n_attributes * sizeof *t->scope.field) : NULL;
    while (t->scope.field && packed_next(&rest, &f))
        t->scope.field[t->scope.n_fields++] = (struct field){.key = f.key, .type = f.v.type, .u = f.v.u, .s = f.v.s};
    return t;
}

struct sonde_tracer *sonde_tracer_get(const struct sonde_tracer_options *o)
{
    static const struct sonde_tracer_options none;
    struct buf identity;
    struct sonde_tracer *t = NULL;
    o = o ? o : &none;
    buf_init(&identity, MIB(1));
    put_text(&identity, o->name);
    put_text(&identity, o->version);
    put_text(&identity, o->schema_url);
    for (size_t i = 0; i < o->n_attributes; i++)
        packed_append(&identity, &o->attributes[i]);
    if (identity.err != ERR_OK)
        goto out;
    pthread_mutex_lock(&tracers_lock);
    for (t = tracers; t && !slice_eq(t->scope.identity, buf_slice(&identity));)
        t = t->next;
    if (!t && n_tracers < TRACERS_MAX && (t = tracer_new(buf_slice(&identity), o))) {
        t->next = tracers;
        tracers = t;
        t->number = ++n_tracers;
        atomic_store_explicit(&by_number[t->number - 1], t, memory_order_release);
    }
    pthread_mutex_unlock(&tracers_lock);
out:
    buf_free(&identity);
    return t;
}

// ---- processors -----------------------------------------------------------------------------------------------------
bool sonde_span_processor_add(const struct sonde_span_processor *p)
{
    bool ok = false;
    pthread_mutex_lock(&tracers_lock);
    if (p && trace.n_processors < SONDE_SPAN_PROCESSORS_MAX) {
        trace.processor[trace.n_processors] = *p;
        atomic_store_explicit(&trace.n_processors, trace.n_processors + 1, memory_order_release);
        ok = true;
    }
    pthread_mutex_unlock(&tracers_lock);
    return ok;
}

void sonde_id_generator_set(const struct sonde_id_generator *g)
{
    atomic_store_explicit(&trace.ids, g, memory_order_release);
    trace_refresh();
}

bool trace_has_on_end(void)
{
    unsigned n = atomic_load_explicit(&trace.n_processors, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if (trace.processor[i].on_end)
            return true;
    return false;
}

static struct sonde_text text_of(struct slice s)
{
    return (struct sonde_text){s.p ? s.p : "", s.n};
}

static struct sonde_attribute *attributes_of(struct arena *a, const struct field *f, uint32_t n)
{
    struct sonde_attribute *out = ARENA_ARRAY(a, struct sonde_attribute, n);
    for (uint32_t i = 0; out && i < n; i++)
        out[i] = (struct sonde_attribute){text_of(f[i].key), (unsigned char)f[i].type, f[i].u, text_of(f[i].s)};
    return out;
}

static bool view_parts(struct arena *a, const struct bspan *s, struct sonde_span_data *d)
{
    struct sonde_event_data *events = ARENA_ARRAY(a, struct sonde_event_data, s->n_events);
    struct sonde_link_data *links = ARENA_ARRAY(a, struct sonde_link_data, s->n_links);
    for (uint32_t i = 0; events && i < s->n_events; i++) {
        const struct moment *m = &s->event[i];
        events[i] = (struct sonde_event_data){m->time, text_of(m->name), attributes_of(a, m->field, m->n_fields), m->n_fields,
                                              m->dropped_fields};
    }
    for (uint32_t i = 0; links && i < s->n_links; i++) {
        const struct span_link *l = &s->link[i];
        links[i] = (struct sonde_link_data){
            l->trace_id, l->span_id,       l->flags, l->remote, text_of(l->tracestate), attributes_of(a, l->field, l->n_fields),
            l->n_fields, l->dropped_fields};
    }
    d->events = events;
    d->links = links;
    d->n_events = s->n_events;
    d->n_links = s->n_links;
    d->attributes = attributes_of(a, s->field, s->n_fields);
    d->n_attributes = s->n_fields;
    if (s->scope)
        d->scope_attributes = attributes_of(a, s->scope->field, s->scope->n_fields);
    return !arena_failed(a);
}

void trace_on_end(const struct bspan *s, int64_t end)
{
    struct arena a;
    arena_init(&a, MIB(4));
    struct sonde_span_data d = {.trace_id = s->trace_id,
                                .span_id = s->span_id,
                                .parent_id = s->has_parent ? s->parent_id : NULL,
                                .flags = s->flags,
                                .parent_remote = s->remote,
                                .kind = (enum sonde_kind)s->kind,
                                .status = (enum sonde_status)s->status,
                                .name = text_of(s->name),
                                .status_message = text_of(s->status_message),
                                .tracestate = text_of(s->tracestate),
                                .request_id = text_of(s->request_id),
                                .start_ns = s->start_ns,
                                .end_ns = end > s->start_ns ? end : s->start_ns,
                                .dropped_attributes = s->dropped_fields,
                                .dropped_events = s->dropped_events,
                                .dropped_links = s->dropped_links};
    d.scope_name = text_of(s->scope ? s->scope->name : s->site ? s->site->target : SLICE("sonde"));
    d.scope_version = text_of(s->scope ? s->scope->version : SLICE_NONE);
    d.scope_schema_url = text_of(s->scope ? s->scope->schema_url : SLICE_NONE);
    d.n_scope_attributes = s->scope ? s->scope->n_fields : 0;
    unsigned n = atomic_load_explicit(&trace.n_processors, memory_order_acquire);
    if (view_parts(&a, s, &d))
        for (unsigned i = 0; i < n; i++)
            if (trace.processor[i].on_end)
                trace.processor[i].on_end(trace.processor[i].arg, &d);
    arena_free(&a);
}

// ---- stacks ---------------------------------------------------------------------------------------------------------
const char *trace_stack(char *out, size_t size)
{
    enum { FRAMES = 64, OWN = 2 }; // without this function and sonde_span_exception
    void *frame[FRAMES];
    int n = backtrace(frame, FRAMES);
    char **text = backtrace_symbols(frame, n);
    size_t at = 0;
    out[0] = 0;
    for (int i = OWN; text && i < n && at < size; i++) {
        int k = snprintf(out + at, size - at, "%s%s", at ? "\n" : "", text[i]);
        at += k > 0 ? (size_t)k : 0;
    }
    free(text);
    return out;
}
