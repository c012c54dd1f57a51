#include "sdk/resource.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "base/pb.h"
#include "event/otlp_numbers.h"
#include "sdk/dump.h"
#include "sdk/encode.h"
#include "sdk/env.h"
#include "sdk/export.h"
#include "sdk/sdk.h"
#include "sdk/value.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sonde_resource {
    struct buf packed, texts;
    struct packed fields;
    char *schema;
    struct item {
        size_t field, key, text, text_n; // of fields; offsets in texts
    } * item;
    size_t n;
};

// ---- gathering ------------------------------------------------------------------------------------------------------
void resource_str(struct buf *to, const char *key, const char *value)
{
    if (value && *value)
        packed_append(to, &(struct sonde_field){key, SONDE_TYPE_STR, sonde_arg_str(value)});
}

void resource_int(struct buf *to, const char *key, int64_t value)
{
    packed_append(to, &(struct sonde_field){key, SONDE_TYPE_INT, sonde_arg_int(value)});
}

// Percent escapes in place; false if one is none.
static bool unescape(char *p, size_t *n)
{
    size_t o = 0;
    for (size_t i = 0; i < *n; i++) {
        uint8_t byte = (uint8_t)p[i];
        if (byte == '%') {
            if (i + 2 >= *n || !hex_decode(&byte, 1, slice_of(p + i + 1, 2)))
                return false;
            i += 2;
        }
        p[o++] = (char)byte;
    }
    p[o] = 0;
    *n = o;
    return true;
}

static bool list_entry(struct buf *to, struct slice part)
{
    ptrdiff_t eq = slice_find(part, SLICE("="));
    struct slice key = eq > 0 ? slice_trim(slice_cut(part, (size_t)eq)) : SLICE_NONE;
    struct slice value = eq > 0 ? slice_trim(slice_from(part, (size_t)eq + 1)) : SLICE_NONE;
    char *copy = key.n ? mem_alloc(key.n + value.n + 2) : NULL;
    bool ok = copy != NULL;
    if (ok) {
        size_t key_n = key.n, value_n = value.n;
        memcpy(copy, key.p, key.n);
        memcpy(copy + key.n + 1, value.p, value.n);
        ok = unescape(copy, &key_n) && unescape(copy + key.n + 1, &value_n);
        if (ok)
            packed_append(to, &(struct sonde_field){copy, SONDE_TYPE_STR, sonde_arg_strn(copy + key.n + 1, value_n)});
    }
    mem_free(copy);
    return ok;
}

bool resource_list(struct buf *to, const char *list)
{
    struct slice rest = slice_str(list ? list : ""), part;
    size_t start = to->n;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (part.n && !list_entry(to, part)) {
            to->n = start;
            return false;
        }
    }
    return true;
}

// ---- a resource -----------------------------------------------------------------------------------------------------
static size_t add_text(struct buf *b, struct slice s)
{
    size_t at = b->n;
    buf_add(b, s);
    buf_char(b, 0);
    return at;
}

static void add_item(struct sonde_resource *r, size_t field)
{
    const struct packed_field *f = &r->fields.field[field];
    struct item *it = &r->item[r->n++];
    it->field = field;
    it->key = add_text(&r->texts, f->key);
    it->text = r->texts.n;
    if (f->v.type == SONDE_TYPE_STR)
        buf_add(&r->texts, f->v.s);
    else
        line_text_value(&r->texts, f->v.type, f->v.u, f->v.s);
    it->text_n = r->texts.n - it->text;
    buf_char(&r->texts, 0);
}

struct sonde_resource *resource_of(struct slice packed, const char *schema_url)
{
    struct sonde_resource *r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    buf_init(&r->packed, RESOURCE_MAX);
    buf_init(&r->texts, RESOURCE_MAX * 2);
    buf_add(&r->packed, packed);
    packed_read(&r->fields, buf_slice(&r->packed));
    size_t n = schema_url ? strlen(schema_url) : 0;
    r->schema = mem_zalloc(n + 1);
    r->item = mem_zalloc((r->fields.n + 1) * sizeof *r->item);
    if (!r->schema || !r->item || r->packed.err != ERR_OK)
        goto fail;
    if (n)
        memcpy(r->schema, schema_url, n);
    for (size_t i = 0; i < r->fields.n; i++)
        if (!r->fields.field[i].replaced && r->fields.field[i].key.n)
            add_item(r, i);
    if (r->texts.err == ERR_OK)
        return r;
fail:
    sonde_resource_free(r);
    return NULL;
}

struct sonde_resource *sonde_resource_new(const struct sonde_field *attributes, size_t n, const char *schema_url)
{
    struct buf packed;
    buf_init(&packed, RESOURCE_MAX);
    for (size_t i = 0; i < n; i++)
        packed_append(&packed, &attributes[i]);
    struct sonde_resource *r = resource_of(buf_slice(&packed), schema_url);
    buf_free(&packed);
    return r;
}

void sonde_resource_free(struct sonde_resource *r)
{
    if (!r)
        return;
    packed_free(&r->fields);
    buf_free(&r->packed);
    buf_free(&r->texts);
    mem_free(r->schema);
    mem_free(r->item);
    mem_free(r);
}

static void tell_schema(const char *a, const char *b)
{
    static bool told;
    char text[600];
    if (!__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
        sdk_note(text,
                 (size_t)snprintf(text, sizeof text,
                                  "sonde: resources with the schemas %.200s and %.200s are merged; the second is kept\n", a, b));
}

struct sonde_resource *sonde_resource_merge(const struct sonde_resource *old, const struct sonde_resource *updating)
{
    struct buf packed;
    const char *a = old ? old->schema : "", *b = updating ? updating->schema : "";
    buf_init(&packed, RESOURCE_MAX);
    if (old)
        buf_add(&packed, buf_slice(&old->packed));
    if (updating)
        buf_add(&packed, buf_slice(&updating->packed));
    if (*a && *b && strcmp(a, b) != 0)
        tell_schema(a, b);
    struct sonde_resource *r = resource_of(buf_slice(&packed), *b ? b : a);
    buf_free(&packed);
    return r;
}

size_t sonde_resource_count(const struct sonde_resource *r)
{
    return r ? r->n : 0;
}

bool sonde_resource_at(const struct sonde_resource *r, size_t i, struct sonde_resource_attribute *out)
{
    if (!r || i >= r->n)
        return false;
    const struct item *it = &r->item[i];
    *out = (struct sonde_resource_attribute){r->texts.p + it->key, r->texts.p + it->text, it->text_n,
                                             (unsigned char)r->fields.field[it->field].v.type};
    return true;
}

bool sonde_resource_find(const struct sonde_resource *r, const char *key, struct sonde_resource_attribute *out)
{
    for (size_t i = 0; sonde_resource_at(r, i, out); i++)
        if (strcmp(out->key, key) == 0)
            return true;
    return false;
}

const char *sonde_resource_schema_url(const struct sonde_resource *r)
{
    return r ? r->schema : "";
}

void resource_encode(struct buf *out, const struct sonde_resource *r)
{
    for (size_t i = 0; r && i < r->n; i++) {
        const struct packed_field *f = &r->fields.field[r->item[i].field];
        encode_attr(out, PB_RESOURCE_ATTRS, f->key, f->v.type, f->v.u, f->v.s);
    }
}

// ---- what was told of this process ----------------------------------------------------------------------------------
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct {
        char name[32];
        sonde_resource_detector_fn *fn;
        void *arg;
    } detector[RESOURCE_DETECTORS];
    size_t n;
    struct buf notes, updates; // packed
    char schema[256];          // of the updates
    bool told_bad;
} own;

void resource_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void resource_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

bool resource_note(const char *key, const char *value)
{
    struct packed_field *have = NULL;
    struct packed all;
    pthread_mutex_lock(&lock);
    if (!own.notes.max)
        buf_init(&own.notes, KIB(64));
    packed_read(&all, buf_slice(&own.notes));
    for (size_t i = 0; i < all.n; i++)
        if (!all.field[i].replaced && slice_eq(all.field[i].key, slice_str(key)))
            have = &all.field[i];
    bool news = !slice_eq(have ? have->v.s : SLICE(""), slice_str(value ? value : ""));
    packed_free(&all);
    if (news) // an empty text takes the key back, see add_notes
        packed_append(&own.notes, &(struct sonde_field){key, SONDE_TYPE_STR, sonde_arg_str(value ? value : "")});
    pthread_mutex_unlock(&lock);
    if (news)
        export_redescribe();
    return news;
}

bool sonde_resource_update(const struct sonde_resource *r)
{
    if (!r)
        return false;
    pthread_mutex_lock(&lock);
    if (!own.updates.max)
        buf_init(&own.updates, RESOURCE_MAX);
    buf_add(&own.updates, buf_slice(&r->packed));
    if (*r->schema)
        snprintf(own.schema, sizeof own.schema, "%s", r->schema);
    bool ok = own.updates.err == ERR_OK;
    pthread_mutex_unlock(&lock);
    export_redescribe();
    return ok;
}

bool sonde_resource_detector_add(const char *name, sonde_resource_detector_fn *fn, void *arg)
{
    bool ok = name && *name && fn && strlen(name) < sizeof own.detector[0].name;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; ok && i < own.n; i++)
        ok = strcmp(own.detector[i].name, name) != 0;
    for (size_t i = 0; ok && i < resource_n_detectors; i++)
        ok = strcmp(resource_detectors[i].name, name) != 0;
    ok = ok && own.n < RESOURCE_DETECTORS;
    if (ok) {
        snprintf(own.detector[own.n].name, sizeof own.detector[own.n].name, "%s", name);
        own.detector[own.n].fn = fn;
        own.detector[own.n++].arg = arg;
    }
    pthread_mutex_unlock(&lock);
    if (ok)
        export_redescribe();
    return ok;
}

// ---- the process's resource -----------------------------------------------------------------------------------------
static bool selected(const char *name)
{
    const char *list = env_get("SONDE_RESOURCE_DETECTORS");
    struct slice rest = slice_trim(slice_str(list ? list : "")), part;
    if (!rest.n)
        return true;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (slice_ieq(part, SLICE("all")) || slice_ieq(part, slice_str(name)))
            return true;
    }
    return false;
}

static void add_library(struct buf *to)
{
    char host[256] = "", instance[280];
    gethostname(host, sizeof host - 1);
    snprintf(instance, sizeof instance, "%s:%d", host, (int)getpid()); // tells two workers of one service apart
    resource_str(to, "telemetry.sdk.name", "sonde");
    resource_str(to, "telemetry.sdk.language", "c");
    resource_str(to, "telemetry.sdk.version", SONDE_VERSION);
    resource_str(to, "service.instance.id", instance);
    resource_str(to, "host.name", host);
    resource_int(to, "process.pid", getpid());
}

static void add_notes(struct buf *to)
{
    struct packed all;
    pthread_mutex_lock(&lock);
    packed_read(&all, buf_slice(&own.notes));
    for (size_t i = 0; i < all.n; i++) {
        struct slice key = all.field[i].key, value = all.field[i].v.s;
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)key.n, key.p);
        if (!all.field[i].replaced && value.n)
            packed_append(to, &(struct sonde_field){name, SONDE_TYPE_STR, sonde_arg_strn(value.p, value.n)});
    }
    packed_free(&all);
    pthread_mutex_unlock(&lock);
}

// Merges `more`, which is freed, into `into`.
static struct sonde_resource *merge_in(struct sonde_resource *into, struct sonde_resource *more)
{
    struct sonde_resource *all = more ? sonde_resource_merge(into, more) : NULL;
    if (all)
        sonde_resource_free(into);
    sonde_resource_free(more);
    return all ? all : into;
}

static struct sonde_resource *run_detectors(struct sonde_resource *r)
{
    pthread_mutex_lock(&lock);
    size_t n = own.n; // only ever grows
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++)
        if (selected(own.detector[i].name))
            r = merge_in(r, own.detector[i].fn(own.detector[i].arg));
    return r;
}

static void add_environment(struct buf *to)
{
    const char *list = env_get("OTEL_RESOURCE_ATTRIBUTES");
    if (!resource_list(to, list) && !__atomic_exchange_n(&own.told_bad, true, __ATOMIC_RELAXED)) {
        char text[400];
        sdk_note(text,
                 (size_t)snprintf(text, sizeof text,
                                  "sonde: OTEL_RESOURCE_ATTRIBUTES: '%.200s' is not key=value,key=value with percent escapes; "
                                  "all of it is ignored\n",
                                  list));
    }
}

struct sonde_resource *resource_make(const char *service, const char *options)
{
    struct buf first, last;
    buf_init(&first, RESOURCE_MAX);
    buf_init(&last, RESOURCE_MAX);
    add_library(&first);
    for (size_t i = 0; i < resource_n_detectors; i++)
        if (selected(resource_detectors[i].name))
            resource_detectors[i].find(&first);
    if (selected("config")) {
        dump_note_hash();
        add_notes(&first);
    }
    struct sonde_resource *r = run_detectors(resource_of(buf_slice(&first), RESOURCE_SCHEMA));
    resource_list(&last, options);
    pthread_mutex_lock(&lock);
    buf_add(&last, buf_slice(&own.updates));
    pthread_mutex_unlock(&lock);
    add_environment(&last);
    resource_str(&last, "service.name", service); // decided before: OTEL_SERVICE_NAME, the list's, the program's own
    r = merge_in(r, resource_of(buf_slice(&last), own.schema));
    buf_free(&first);
    buf_free(&last);
    return r;
}

struct sonde_resource *sonde_resource_current(void)
{
    char service[sizeof sdk.service], options[sizeof sdk.resource];
    sdk_start();
    if (!sdk_enter())
        return NULL;
    pthread_mutex_lock(&sdk.life);
    memcpy(service, sdk.service, sizeof service);
    memcpy(options, sdk.resource, sizeof options);
    pthread_mutex_unlock(&sdk.life);
    sdk_leave();
    return resource_make(service, options);
}
