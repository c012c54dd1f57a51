// Spans as Zipkin knows them (the mapping of OpenTelemetry's specification, sdk_exporters/zipkin): read from the OTLP request
// into struct zspan; zipkin_forms.c writes that down.
#include "base/json.h"
#include "base/limits.h"
#include "base/pb.h"
#include "sdk/zipkin.h"

// ---- values ---------------------------------------------------------------------------------------------------------
static void value_json(struct buf *out, struct pb any);

static void array_json(struct buf *out, struct pb *array)
{
    struct pb any;
    bool first = true;
    buf_char(out, '[');
    while (pb_next(array)) {
        if (array->field != 1 || !pb_message(array, &any)) {
            pb_skip(array);
            continue;
        }
        if (!first)
            buf_char(out, ',');
        first = false;
        value_json(out, any);
    }
    buf_char(out, ']');
}

// As base64.
static void bytes_put(struct buf *out, struct slice s, bool quote)
{
    struct jw w = jw_to(out);
    size_t at = out->n;
    jw_base64(&w, s);
    if (!quote && out->err == ERR_OK) {
        memmove(out->p + at, out->p + at + 1, out->n - at - 2);
        out->n -= 2;
    }
}

// An AnyValue as JSON, strings quoted if quote says so (below the top level always).
static void value_put(struct buf *out, struct pb any, bool quote)
{
    struct jw w = jw_to(out);
    struct slice s;
    struct pb child;
    bool b;
    int64_t i;
    double d;
    size_t before = out->n;
    while (pb_next(&any)) {
        if (any.field == 1 && pb_bytes(&any, &s))
            quote ? jw_str(&w, s) : buf_add(out, s);
        else if (any.field == 2 && pb_bool(&any, &b))
            buf_str(out, b ? "true" : "false");
        else if (any.field == 3 && pb_i64(&any, &i))
            buf_i64(out, i);
        else if (any.field == 4 && pb_double(&any, &d))
            buf_f64(out, d);
        else if (any.field == 5 && pb_message(&any, &child))
            array_json(out, &child);
        else if (any.field == 7 && pb_bytes(&any, &s))
            bytes_put(out, s, quote);
        else
            pb_skip(&any);
    }
    if (quote && out->n == before)
        buf_str(out, "null");
}

static void value_json(struct buf *out, struct pb any)
{
    value_put(out, any, true);
}

// KeyValue {1 key, 2 value}
static bool key_value(struct pb *kv, struct slice *key, struct pb *any)
{
    bool has = false;
    *key = SLICE_NONE;
    while (pb_next(kv)) {
        if (kv->field == 1)
            pb_bytes(kv, key);
        else if (kv->field == 2 && pb_message(kv, any)) {
            has = true;
            kv->p = any->end; // read later
        } else
            pb_skip(kv);
    }
    return has && !kv->failed;
}

// ---- one span -------------------------------------------------------------------------------------------------------
struct reader { // what spans share
    struct arena *arena;
    struct buf text; // scratch
    struct slice service, scope, version;
};

// A name, and behind it the attributes as JSON if there are any.
static struct znote annotation(struct reader *z, struct pb event)
{
    struct znote note = {.value = SLICE("")};
    struct slice name = SLICE(""), key;
    struct pb kv, any, walk = event;
    uint64_t time = 0;
    bool first = true;
    while (pb_next(&walk)) {
        if (walk.field == 1)
            pb_fixed64(&walk, &time);
        else if (walk.field == 2)
            pb_bytes(&walk, &name);
        else
            pb_skip(&walk);
    }
    buf_reset(&z->text);
    while (pb_next(&event)) {
        if (event.field != 3 || !pb_message(&event, &kv)) {
            pb_skip(&event);
            continue;
        }
        if (!key_value(&kv, &key, &any))
            continue;
        struct jw w = jw_to(&z->text);
        if (first)
            jw_str(&w, name), buf_str(&z->text, ": {");
        else
            buf_char(&z->text, ',');
        first = w.need_comma = false;
        jw_str(&w, key);
        buf_char(&z->text, ':');
        value_json(&z->text, any);
    }
    if (!first)
        buf_char(&z->text, '}');
    note.time = time / 1000;
    note.value = first ? name : arena_dup(z->arena, buf_slice(&z->text));
    return note;
}

static void tag(struct zspan *s, struct slice key, struct slice value)
{
    s->tag[s->n_tags++] = (struct ztag){key, value};
}

static void tags(struct reader *z, struct zspan *s, struct pb r, uint64_t status, struct slice message)
{
    struct pb kv, any, walk;
    struct slice key;
    while (pb_next(&r)) {
        if (r.field != 9 || !pb_message(&r, &kv)) {
            pb_skip(&r);
            continue;
        }
        if (!key_value(&kv, &key, &any))
            continue;
        buf_reset(&z->text);
        value_put(&z->text, any, false);
        tag(s, key, arena_dup(z->arena, z->text.n ? buf_slice(&z->text) : SLICE("")));
        walk = any;
        bool peer = slice_eq(key, SLICE("peer.service"));
        if ((peer || (!s->peer.n && slice_eq(key, SLICE("server.address")))) && pb_next(&walk) && walk.field == 1)
            pb_bytes(&walk, &s->peer);
    }
    if (status)
        tag(s, SLICE("otel.status_code"), status == 2 ? SLICE("ERROR") : SLICE("OK"));
    if (status == 2)
        tag(s, SLICE("error"), message);
    tag(s, SLICE("otel.scope.name"), z->scope);
    tag(s, SLICE("otel.library.name"), z->scope); // its former name
    if (z->version.n) {
        tag(s, SLICE("otel.scope.version"), z->version);
        tag(s, SLICE("otel.library.version"), z->version);
    }
}

static uint64_t status_of(struct pb r, struct slice *message)
{
    uint64_t code = 0;
    *message = SLICE("");
    while (pb_next(&r)) {
        if (r.field == 2)
            pb_bytes(&r, message);
        else if (r.field == 3)
            pb_u64(&r, &code);
        else
            pb_skip(&r);
    }
    return code;
}

// Room for what is counted here, and the six tags that come from elsewhere.
static bool make_room(struct reader *z, struct zspan *s, struct pb r)
{
    size_t tags = 6, notes = 0;
    for (; pb_next(&r); pb_skip(&r)) {
        tags += r.field == 9;
        notes += r.field == 11;
    }
    s->tag = ARENA_ARRAY(z->arena, struct ztag, tags);
    s->note = ARENA_ARRAY(z->arena, struct znote, notes);
    return s->tag && s->note;
}

static bool span(struct reader *z, struct pb r, struct zspan *s)
{
    uint64_t start = 0, end = 0, status = 0;
    struct slice message = SLICE("");
    struct pb child, whole = r;
    *s = (struct zspan){.name = SLICE(""), .service = z->service};
    if (!make_room(z, s, r))
        return false;
    while (pb_next(&r)) {
        if (r.field == 1)
            pb_bytes(&r, &s->trace);
        else if (r.field == 2)
            pb_bytes(&r, &s->id);
        else if (r.field == 4)
            pb_bytes(&r, &s->parent);
        else if (r.field == 5)
            pb_bytes(&r, &s->name);
        else if (r.field == 6)
            pb_u64(&r, &s->kind);
        else if (r.field == 7)
            pb_fixed64(&r, &start);
        else if (r.field == 8)
            pb_fixed64(&r, &end);
        else if (r.field == 11 && pb_message(&r, &child))
            s->note[s->n_notes++] = annotation(z, child);
        else if (r.field == 15 && pb_message(&r, &child))
            status = status_of(child, &message);
        else if (r.field != 11 && r.field != 15)
            pb_skip(&r);
    }
    tags(z, s, whole, status, message);
    if (s->kind != SONDE_KIND_CLIENT && s->kind != SONDE_KIND_PRODUCER)
        s->peer = SLICE_NONE;
    s->time = start / 1000;
    s->duration = end - start >= 2000 ? (end - start) / 1000 : 1; // 0 would mean unknown
    return !r.failed && !arena_failed(z->arena) && s->trace.n == 16 && s->id.n == 8;
}

// ---- the request ----------------------------------------------------------------------------------------------------
static void scope_of(struct reader *z, struct pb scope)
{
    z->scope = z->version = SLICE("");
    while (pb_next(&scope)) {
        if (scope.field == 1)
            pb_bytes(&scope, &z->scope);
        else if (scope.field == 2)
            pb_bytes(&scope, &z->version);
        else
            pb_skip(&scope);
    }
}

static void service_of(struct reader *z, struct pb resource)
{
    struct pb kv, any;
    struct slice key;
    while (pb_next(&resource)) {
        if (resource.field != 1 || !pb_message(&resource, &kv))
            pb_skip(&resource);
        else if (key_value(&kv, &key, &any) && slice_eq(key, SLICE("service.name")) && pb_next(&any) && any.field == 1)
            pb_bytes(&any, &z->service);
    }
}

static bool scope_spans(struct reader *z, struct zwriter *w, struct pb r)
{
    struct pb child;
    struct zspan s;
    bool ok = true;
    while (pb_next(&r)) {
        if (r.field == 1 && pb_message(&r, &child)) {
            scope_of(z, child);
        } else if (r.field == 2 && pb_message(&r, &child)) {
            ok = ok && span(z, child, &s);
            if (ok)
                zipkin_write(w, &s);
            arena_reset(z->arena);
        } else {
            pb_skip(&r);
        }
    }
    return ok && !r.failed;
}

bool export_zipkin(struct buf *out, enum zipkin_form form, struct slice request)
{
    struct arena arena;
    struct reader z = {.arena = &arena, .service = SLICE("unknown_service"), .scope = SLICE("")};
    struct zwriter w;
    struct pb r, top, child;
    bool ok = true;
    arena_init(&arena, MAX_EXPORT_TEXT);
    buf_init(&z.text, MAX_EXPORT_TEXT);
    pb_init(&r, request, NULL);
    zipkin_begin(&w, out, form);
    while (pb_next(&r)) {
        if (r.field != 1 || !pb_message(&r, &top)) {
            pb_skip(&r);
            continue;
        }
        while (pb_next(&top)) {
            if (top.field == 1 && pb_message(&top, &child))
                service_of(&z, child);
            else if (top.field == 2 && pb_message(&top, &child))
                ok = scope_spans(&z, &w, child) && ok;
            else
                pb_skip(&top);
        }
    }
    zipkin_end(&w);
    ok = ok && !r.failed && out->err == ERR_OK && z.text.err == ERR_OK;
    buf_free(&z.text);
    arena_free(&arena);
    return ok;
}
