// Into and out of carriers: W3C Trace Context and Baggage, request ids, composites, the global propagator, environments.
#include "sdk/propagate.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "sdk/context.h"
#include "sdk/env.h"
#include "sdk/sdk.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PARTS_MAX = 16, FIELDS_MAX = 32 };

void carrier_set(const struct sonde_carrier *to, const char *name, const char *text)
{
    to->set(to->arg, name, text, strlen(text));
}

struct slice carrier_get(const struct sonde_carrier *from, const char *name)
{
    size_t n = 0;
    const char *v = from->get(from->arg, name, 0, &n);
    return v ? context_trim(slice_of(v, n)) : SLICE_NONE;
}

// ---- tracecontext ---------------------------------------------------------------------------------------------------
static bool w3c_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                        const struct sonde_carrier *from)
{
    (void)p, (void)b;
    size_t n = 0, count = 0;
    const char *v = from->get(from->arg, "traceparent", 0, &n);
    struct slice parent = slice_of(v, n), states[CONTEXT_STATE_MEMBERS + 1];
    if (!v || from->get(from->arg, "traceparent", 1, &n) || !traceparent_parse(out, parent))
        return false;
    out->remote = true;
    out->tracestate[0] = 0;
    while (count < CONTEXT_STATE_MEMBERS + 1 && (v = from->get(from->arg, "tracestate", (int)count, &n)))
        states[count++] = slice_of(v, n);
    if (count <= CONTEXT_STATE_MEMBERS)
        tracestate_parse(out->tracestate, states, count);
    return true;
}

static void w3c_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                       const struct sonde_carrier *to)
{
    (void)p, (void)b;
    char text[56];
    if (!sonde_context_valid(c))
        return;
    sonde_traceparent(c, text);
    carrier_set(to, "traceparent", text);
    if (c->tracestate[0])
        carrier_set(to, "tracestate", c->tracestate);
}

static const char *const w3c_fields[] = {"traceparent", "tracestate", NULL};
static const struct sonde_propagator w3c = {"tracecontext", w3c_fields, w3c_extract, w3c_inject, NULL};

// ---- baggage --------------------------------------------------------------------------------------------------------
static bool baggage_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                            const struct sonde_carrier *from)
{
    (void)p, (void)out;
    size_t n = 0, before = sonde_baggage_count(b);
    const char *v;
    struct buf all; // several headers are one list
    if (!b)
        return false;
    buf_init(&all, MIB(1));
    for (int i = 0; i < BAGGAGE_MEMBERS && (v = from->get(from->arg, "baggage", i, &n)); i++) {
        if (all.n)
            buf_char(&all, ',');
        buf_put(&all, v, n);
    }
    if (all.n && all.err == ERR_OK)
        sonde_baggage_parse(b, all.p, all.n);
    buf_free(&all);
    return sonde_baggage_count(b) > before;
}

static void baggage_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                           const struct sonde_carrier *to)
{
    (void)p, (void)c;
    char text[BAGGAGE_BYTES + 1];
    if (b && sonde_baggage_print(b, text, sizeof text))
        carrier_set(to, "baggage", text);
}

static const char *const baggage_fields[] = {"baggage", NULL};
static const struct sonde_propagator baggage = {"baggage", baggage_fields, baggage_extract, baggage_inject, NULL};

// ---- composites -----------------------------------------------------------------------------------------------------
static bool all_extract(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                        const struct sonde_carrier *from)
{
    bool any = false;
    for (size_t i = 0; p->parts[i]; i++)
        any = p->parts[i]->extract(p->parts[i], out, b, from) || any;
    return any;
}

static void all_inject(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                       const struct sonde_carrier *to)
{
    for (size_t i = 0; p->parts[i]; i++)
        p->parts[i]->inject(p->parts[i], c, b, to);
}

struct composite {
    struct sonde_propagator p;
    const struct sonde_propagator *parts[PARTS_MAX + 1];
    const char *fields[FIELDS_MAX + 1];
    struct composite *next; // of all
};
static struct composite *composites; // atomic

static void composite_add(struct composite *c, const struct sonde_propagator *part)
{
    size_t n = 0, f = 0;
    for (; c->parts[n]; n++)
        if (c->parts[n] == part || n == PARTS_MAX - 1)
            return;
    c->parts[n] = part;
    while (c->fields[f])
        f++;
    for (size_t i = 0; part->fields && part->fields[i] && f < FIELDS_MAX; i++) {
        bool known = false;
        for (size_t k = 0; k < f; k++)
            known = known || strcmp(c->fields[k], part->fields[i]) == 0;
        if (!known)
            c->fields[f++] = part->fields[i];
    }
}

const struct sonde_propagator *sonde_propagator_composite(const struct sonde_propagator *const *parts, size_t n)
{
    struct composite *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->p = (struct sonde_propagator){"composite", c->fields, all_extract, all_inject, c->parts};
    for (size_t i = 0; i < n; i++)
        if (parts[i])
            composite_add(c, parts[i]);
    c->next = __atomic_load_n(&composites, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&composites, &c->next, c, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
    return &c->p;
}

static const struct sonde_propagator *const no_parts[] = {NULL};
static const char *const no_fields[] = {NULL};
static const struct sonde_propagator nothing = {"none", no_fields, all_extract, all_inject, no_parts};

const struct sonde_propagator *sonde_propagator_named(const char *name)
{
    const struct sonde_propagator *const known[] = {
        &w3c, &baggage, &propagate_b3, &propagate_b3multi, &propagate_jaeger, &propagate_ottrace, &propagate_xray, &nothing};
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (slice_ieq(slice_str(name), slice_str(known[i]->name)))
            return known[i];
    return NULL;
}

// ---- the global one -------------------------------------------------------------------------------------------------
static const struct sonde_propagator *const usual_parts[] = {&w3c, &baggage, NULL};
static const char *const usual_fields[] = {"traceparent", "tracestate", "baggage", NULL};
static const struct sonde_propagator usual = {"composite", usual_fields, all_extract, all_inject, usual_parts};
static const struct sonde_propagator *by_env, *by_program; // atomics

static const struct sonde_propagator *read_env(struct buf *notes)
{
    const struct sonde_propagator *part[PARTS_MAX];
    const char *v = env_get("OTEL_PROPAGATORS");
    struct slice rest = slice_trim(slice_str(v ? v : "")), word;
    size_t n = 0;
    bool none = false;
    if (!rest.n)
        return &usual;
    while (slice_split(&rest, ',', &word) && n < PARTS_MAX) {
        char name[32];
        word = slice_trim(word);
        snprintf(name, sizeof name, "%.*s", (int)(word.n < 31 ? word.n : 31), word.p ? word.p : "");
        const struct sonde_propagator *p = sonde_propagator_named(name);
        none = none || p == &nothing;
        if (p)
            part[n++] = p;
        else if (word.n)
            buf_printf(notes, "sonde: OTEL_PROPAGATORS: '%s' is not known here and ignored\n", name);
    }
    if (none || !n)
        return &nothing;
    const struct sonde_propagator *made = sonde_propagator_composite(part, n);
    return made ? made : &usual;
}

void propagate_configure(struct buf *notes)
{
    __atomic_store_n(&by_env, read_env(notes), __ATOMIC_RELEASE);
}

const struct sonde_propagator *sonde_propagator_global(void)
{
    const struct sonde_propagator *p = __atomic_load_n(&by_program, __ATOMIC_ACQUIRE);
    p = p ? p : __atomic_load_n(&by_env, __ATOMIC_ACQUIRE);
    if (p)
        return p;
    struct buf notes; // the library has not started: what is wrong is told when it does
    buf_init(&notes, KIB(4));
    p = read_env(&notes);
    buf_free(&notes);
    const struct sonde_propagator *none = NULL;
    __atomic_compare_exchange_n(&by_env, &none, p, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return p;
}

void sonde_propagator_set_global(const struct sonde_propagator *p)
{
    __atomic_store_n(&by_program, p, __ATOMIC_RELEASE);
}

// ---- headers --------------------------------------------------------------------------------------------------------
static void extract_request_ids(struct sonde_context *out, sonde_get_fn *get, void *carrier)
{
    static const char *const names[] = {"request-id", "x-dynamo-request-id"};
    size_t n = 0;
    const char *v = get(carrier, "x-request-id", 0, &n);
    if (v)
        sonde_set_request_id(out, v, n);
    for (int i = 0; i < 2; i++) {
        v = get(carrier, names[i], 0, &n);
        if (v && sonde_set_dynamo_request_id(out, v, n))
            return;
    }
}

bool sonde_extract(struct sonde_context *out, sonde_get_fn *get, void *carrier)
{
    struct sonde_carrier from = {.get = get, .arg = carrier};
    const struct sonde_propagator *p = sonde_propagator_global();
    memset(out, 0, sizeof *out);
    extract_request_ids(out, get, carrier);
    p->extract(p, out, NULL, &from);
    return sonde_context_valid(out);
}

bool sonde_extract_baggage(struct sonde_baggage *b, sonde_get_fn *get, sonde_keys_fn *keys, void *carrier)
{
    struct sonde_carrier from = {.get = get, .keys = keys, .arg = carrier};
    const struct sonde_propagator *p = sonde_propagator_global();
    struct sonde_context ids = {{0}};
    size_t before = sonde_baggage_count(b);
    p->extract(p, &ids, b, &from);
    return sonde_baggage_count(b) > before;
}

static void inject(const struct sonde_context *c, const struct sonde_carrier *to)
{
    const struct sonde_propagator *p = sonde_propagator_global();
    p->inject(p, c, sonde_baggage_current(), to);
    if (c && c->request_id[0])
        carrier_set(to, "x-request-id", c->request_id);
    if (c && c->dynamo_request_id[0])
        carrier_set(to, "x-dynamo-request-id", c->dynamo_request_id);
}

void sonde_inject(const struct sonde_context *c, sonde_set_fn *set, void *carrier)
{
    inject(c, &(struct sonde_carrier){.set = set, .arg = carrier});
}

void sonde_inject_dynamo(const struct sonde_context *c, sonde_set_fn *set, void *carrier)
{
    struct sonde_carrier to = {.set = set, .arg = carrier};
    char id[37], now[24];
    inject(c, &to);
    if (!c || !c->dynamo_request_id[0])
        sonde_new_request_id(id);
    carrier_set(&to, "request-id", c && c->dynamo_request_id[0] ? c->dynamo_request_id : id);
    snprintf(now, sizeof now, "%lld", (long long)clock_wall_ns());
    carrier_set(&to, "x-frontend-send-ts-ns", now);
}

// ---- environments ---------------------------------------------------------------------------------------------------
// traceparent → TRACEPARENT, x-request-id → X_REQUEST_ID
static void env_name(char out[128], const char *name)
{
    size_t i = 0;
    for (; name[i] && i < 127; i++)
        out[i] = (char)(isalnum((unsigned char)name[i]) ? toupper((unsigned char)name[i]) : '_');
    out[i] = 0;
}

static const char *get_env(void *arg, const char *name, int nth, size_t *len)
{
    char text[128];
    (void)arg;
    env_name(text, name);
    const char *v = nth == 0 ? env_get(text) : NULL;
    if (v)
        *len = strlen(v);
    return v && *v ? v : NULL;
}

bool sonde_extract_env(struct sonde_context *out, struct sonde_baggage *b)
{
    bool ids = sonde_extract(out, get_env, NULL);
    bool members = b && sonde_extract_baggage(b, get_env, NULL, NULL);
    return ids || members;
}

struct env_list {
    struct buf text; // NAME=value 0 …
    size_t n;
};

static void set_env(void *arg, const char *name, const char *value, size_t len)
{
    struct env_list *l = arg;
    char text[128];
    env_name(text, name);
    buf_str(&l->text, text);
    buf_char(&l->text, '=');
    buf_put(&l->text, value, len);
    buf_char(&l->text, 0);
    l->n++;
}

static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n + 1) == 0;
}

// Of another context, which the child must not mix with this one: its tracestate, baggage, request id.
static bool stale(const char *entry)
{
    static const char *const ids[] = {"x-request-id", "x-dynamo-request-id", NULL};
    const char *const *const lists[] = {sonde_propagator_global()->fields, ids};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; lists[k] && lists[k][i]; i++) {
            char name[129];
            env_name(name, lists[k][i]);
            strcat(name, "=");
            if (same_name(name, entry))
                return true;
        }
    return false;
}

static bool replaced(const struct env_list *l, const char *entry)
{
    const char *p = l->text.p;
    for (size_t i = 0; i < l->n; i++, p += strlen(p) + 1)
        if (same_name(p, entry))
            return true;
    return false;
}

char **sonde_inject_env(const struct sonde_context *c, char *const *env)
{
    struct env_list l = {.n = 0};
    char **out = NULL, *const none[] = {NULL};
    size_t count = 0, n = 0;
    bool whole = sonde_context_valid(c); // without ids the child gets what this process got
    buf_init(&l.text, MIB(1));
    sonde_inject(c, set_env, &l);
    env = env ? env : none;
    while (env[count])
        count++;
    // The strings of env stay where they are; ours lie behind the list.
    if (l.text.err == ERR_OK)
        out = malloc((count + l.n + 1) * sizeof *out + l.text.n);
    if (out) {
        char *p = (char *)(out + count + l.n + 1);
        for (size_t i = 0; i < count; i++)
            if (!replaced(&l, env[i]) && !(whole && stale(env[i])))
                out[n++] = env[i];
        memcpy(p, l.text.p ? l.text.p : "", l.text.n);
        for (size_t i = 0; i < l.n; i++, p += strlen(p) + 1)
            out[n++] = p;
        out[n] = NULL;
    }
    buf_free(&l.text);
    return out;
}
