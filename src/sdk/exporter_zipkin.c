// Spans as a Zipkin v2 list (the mapping of OpenTelemetry's specification, sdk_exporters/zipkin).
#include "base/json.h"
#include "base/limits.h"
#include "base/pb.h"
#include "sdk/export_int.h"
#include <stdio.h>

struct zip { // what spans share
    struct jw w;
    struct slice service, scope, version;
    struct buf text; // scratch
};

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

// An AnyValue as JSON, strings quoted if quote says so (below the top level always).
static void value_put(struct buf *out, struct pb any, bool quote)
{
    struct jw w = jw_to(out);
    struct slice s;
    struct pb child;
    bool b;
    int64_t i;
    double d;
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
            jw_base64(&w, s);
        else
            pb_skip(&any);
    }
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

static void tag(struct zip *z, struct slice key, struct slice value)
{
    jw_key(&z->w, key);
    jw_str(&z->w, value);
}

// ---- one span -------------------------------------------------------------------------------------------------------
struct seen {
    struct slice trace, id, parent, name, message, peer;
    uint64_t kind, start, end, status;
};

static void annotation(struct zip *z, struct pb *event)
{
    struct slice name = SLICE_NONE, key;
    struct pb kv, any, walk = *event;
    uint64_t time = 0;
    unsigned n = 0;
    while (pb_next(&walk)) {
        if (walk.field == 1)
            pb_fixed64(&walk, &time);
        else if (walk.field == 2)
            pb_bytes(&walk, &name);
        else
            pb_skip(&walk);
    }
    buf_reset(&z->text);
    while (pb_next(event)) {
        if (event->field != 3 || !pb_message(event, &kv)) {
            pb_skip(event);
            continue;
        }
        if (!key_value(&kv, &key, &any))
            continue;
        struct jw w = jw_to(&z->text);
        if (!n++)
            jw_str(&w, name), buf_str(&z->text, ": {");
        else
            buf_char(&z->text, ',');
        w.need_comma = false;
        jw_str(&w, key);
        buf_char(&z->text, ':');
        value_json(&z->text, any);
    }
    if (n)
        buf_char(&z->text, '}');
    jw_obj(&z->w);
    JW_KEY(&z->w, "timestamp");
    jw_u64(&z->w, time / 1000);
    JW_KEY(&z->w, "value");
    jw_str(&z->w, n ? buf_slice(&z->text) : name);
    jw_obj_end(&z->w);
}

static void look(struct pb r, struct seen *s)
{
    struct pb child, any;
    struct slice key;
    while (pb_next(&r)) {
        switch (r.field) {
        case 1:
            pb_bytes(&r, &s->trace);
            break;
        case 2:
            pb_bytes(&r, &s->id);
            break;
        case 4:
            pb_bytes(&r, &s->parent);
            break;
        case 5:
            pb_bytes(&r, &s->name);
            break;
        case 6:
            pb_u64(&r, &s->kind);
            break;
        case 7:
            pb_fixed64(&r, &s->start);
            break;
        case 8:
            pb_fixed64(&r, &s->end);
            break;
        case 9:
            if (pb_message(&r, &child) && key_value(&child, &key, &any) &&
                (slice_eq(key, SLICE("peer.service")) || (!s->peer.n && slice_eq(key, SLICE("server.address")))) &&
                pb_next(&any) && any.field == 1)
                pb_bytes(&any, &s->peer);
            break;
        case 15:
            if (!pb_message(&r, &child))
                break;
            while (pb_next(&child)) {
                if (child.field == 2)
                    pb_bytes(&child, &s->message);
                else if (child.field == 3)
                    pb_u64(&child, &s->status);
                else
                    pb_skip(&child);
            }
            break;
        default:
            pb_skip(&r);
        }
    }
}

static void put_tags(struct zip *z, struct pb r, const struct seen *s)
{
    struct pb kv, any;
    struct slice key;
    JW_KEY(&z->w, "tags");
    jw_obj(&z->w);
    while (pb_next(&r)) {
        if (r.field != 9 || !pb_message(&r, &kv)) {
            pb_skip(&r);
            continue;
        }
        if (!key_value(&kv, &key, &any))
            continue;
        buf_reset(&z->text);
        value_put(&z->text, any, false);
        tag(z, key, buf_slice(&z->text));
    }
    if (s->status)
        tag(z, SLICE("otel.status_code"), s->status == 2 ? SLICE("ERROR") : SLICE("OK"));
    if (s->status == 2)
        tag(z, SLICE("error"), s->message);
    tag(z, SLICE("otel.scope.name"), z->scope);
    tag(z, SLICE("otel.library.name"), z->scope); // its former name
    if (z->version.n) {
        tag(z, SLICE("otel.scope.version"), z->version);
        tag(z, SLICE("otel.library.version"), z->version);
    }
    jw_obj_end(&z->w);
}

static void put_endpoint(struct jw *w, struct slice key, struct slice service)
{
    jw_key(w, key);
    jw_obj(w);
    JW_KEY(w, "serviceName");
    jw_str(w, service);
    jw_obj_end(w);
}

static void span(struct zip *z, struct pb *r)
{
    static const char *const kinds[] = {NULL, NULL, "SERVER", "CLIENT", "PRODUCER", "CONSUMER"};
    struct seen s = {0};
    struct pb child;
    struct jw *w = &z->w;
    look(*r, &s);
    jw_obj(w);
    JW_KEY(w, "traceId");
    jw_hex(w, s.trace.p, s.trace.n);
    JW_KEY(w, "id");
    jw_hex(w, s.id.p, s.id.n);
    if (s.parent.n) {
        JW_KEY(w, "parentId");
        jw_hex(w, s.parent.p, s.parent.n);
    }
    JW_KEY(w, "name");
    jw_str(w, s.name);
    if (s.kind < 6 && kinds[s.kind]) {
        JW_KEY(w, "kind");
        jw_str(w, slice_str(kinds[s.kind]));
    }
    uint64_t us = (s.end - s.start) / 1000; // 0 would mean unknown
    JW_KEY(w, "timestamp");
    jw_u64(w, s.start / 1000);
    JW_KEY(w, "duration");
    jw_u64(w, us ? us : 1);
    put_endpoint(w, SLICE("localEndpoint"), z->service);
    if (s.peer.n && (s.kind == SONDE_KIND_CLIENT || s.kind == SONDE_KIND_PRODUCER))
        put_endpoint(w, SLICE("remoteEndpoint"), s.peer);
    JW_KEY(w, "annotations");
    jw_arr(w);
    struct pb walk = *r;
    while (pb_next(&walk)) {
        if (walk.field == 11 && pb_message(&walk, &child))
            annotation(z, &child);
        else if (walk.field != 11)
            pb_skip(&walk);
    }
    jw_arr_end(w);
    put_tags(z, *r, &s);
    jw_obj_end(w);
    r->p = r->end;
}

// ---- the request ----------------------------------------------------------------------------------------------------
static void scope_of(struct zip *z, struct pb scope)
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

static void service_of(struct zip *z, struct pb resource)
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

static void scope_spans(struct zip *z, struct pb *r)
{
    struct pb child;
    while (pb_next(r)) {
        if (r->field == 1 && pb_message(r, &child))
            scope_of(z, child);
        else if (r->field == 2 && pb_message(r, &child))
            span(z, &child);
        else
            pb_skip(r);
    }
}

bool export_zipkin(struct buf *out, struct slice request)
{
    struct zip z = {.w = jw_to(out), .service = SLICE("unknown_service")};
    struct pb r, top, child;
    buf_init(&z.text, MAX_EXPORT_TEXT);
    pb_init(&r, request, NULL);
    jw_arr(&z.w);
    while (pb_next(&r)) {
        if (r.field != 1 || !pb_message(&r, &top)) {
            pb_skip(&r);
            continue;
        }
        while (pb_next(&top)) {
            if (top.field == 1 && pb_message(&top, &child))
                service_of(&z, child);
            else if (top.field == 2 && pb_message(&top, &child))
                scope_spans(&z, &child);
            else
                pb_skip(&top);
        }
    }
    jw_arr_end(&z.w);
    bool ok = !r.failed && out->err == ERR_OK && z.text.err == ERR_OK;
    buf_free(&z.text);
    return ok;
}
