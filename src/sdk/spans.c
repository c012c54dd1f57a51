#include "sdk/spans.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "sdk/line.h"

static uint32_t slot_of(const uint8_t id[8], uint32_t size)
{
    uint64_t h;
    memcpy(&h, id, 8);
    return (uint32_t)(hash_mix(h, 0) & (size - 1));
}

static bool table_room(struct span_table *t)
{
    if (t->n < t->size)
        return true;
    uint32_t size = t->size ? t->size * 2 : 256;
    struct bspan **slot = mem_zalloc(size * sizeof *slot);
    if (!slot)
        return t->size > 0;
    for (uint32_t i = 0; i < t->size; i++) {
        for (struct bspan *s = t->slot[i], *next; s; s = next) {
            next = s->next;
            struct bspan **at = &slot[slot_of(s->span_id, size)];
            s->next = *at;
            *at = s;
        }
    }
    mem_free(t->slot);
    t->slot = slot;
    t->size = size;
    return true;
}

struct bspan *span_find(const struct span_table *t, const uint8_t span_id[8], const uint8_t trace_id[16])
{
    for (struct bspan *s = t->size ? t->slot[slot_of(span_id, t->size)] : NULL; s; s = s->next)
        if (memcmp(s->span_id, span_id, 8) == 0 && memcmp(s->trace_id, trace_id, 16) == 0)
            return s;
    return NULL;
}

static void release(struct bspan *s)
{
    while (s && --s->refs == 0) {
        struct bspan *parent = s->parent;
        arena_free(&s->arena);
        mem_free(s);
        s = parent;
    }
}

static struct slice keep(struct bspan *s, struct slice v)
{
    struct slice copy = arena_dup(&s->arena, v);
    return copy.p ? copy : SLICE_NONE;
}

static struct bspan *bspan_new(const struct rec *r)
{
    struct bspan *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    arena_init(&s->arena, SPAN_MEMORY_MAX);
    memcpy(s->trace_id, r->trace_id, 16);
    memcpy(s->span_id, r->span_id, 8);
    s->refs = 1;
    s->dirty = true;
    return s;
}

struct bspan *span_unknown(const struct rec *r)
{
    return bspan_new(r);
}

struct bspan *span_begin(struct span_table *t, const struct rec *r, const struct site *site, int64_t time)
{
    if (r->n < 6 || t->n >= SPANS_MAX || !table_room(t)) {
        t->overflow++;
        return NULL;
    }
    struct bspan *s = bspan_new(r);
    if (!s)
        return NULL;
    s->site = site;
    s->started = true;
    memcpy(s->parent_id, &r->v[0].u, 8);
    s->has_parent = r->v[0].u != 0;
    s->flags = (uint8_t)r->v[1].u;
    s->kind = (uint8_t)(r->v[1].u >> 8);
    s->remote = r->v[1].u >> 16 & 1;
    s->inherited = r->v[1].u & REC_INHERITED;
    s->start_ns = r->v[2].u ? (int64_t)r->v[2].u : time;
    s->name = keep(s, r->v[3].s);
    s->request_id = keep(s, r->v[4].s);
    s->tracestate = keep(s, r->v[5].s);
    if (s->has_parent && !s->remote)
        s->parent = span_find(t, s->parent_id, s->trace_id);
    if (s->parent)
        s->parent->refs++;
    struct bspan **at = &t->slot[slot_of(s->span_id, t->size)];
    s->next = *at;
    *at = s;
    t->n++;
    return s;
}

void span_finish(struct span_table *t, struct bspan *s)
{
    for (struct bspan **at = t && t->size ? &t->slot[slot_of(s->span_id, t->size)] : NULL; at && *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            t->n--;
            break;
        }
    }
    release(s);
}

void span_table_free(struct span_table *t)
{
    for (uint32_t i = 0; i < t->size; i++)
        while (t->slot[i])
            span_finish(t, t->slot[i]);
    mem_free(t->slot);
    memset(t, 0, sizeof *t);
}

static bool grow(struct bspan *s, void **array, uint32_t n, uint32_t *cap, size_t size, uint32_t max)
{
    if (n < *cap)
        return true;
    if (n >= max)
        return false;
    uint32_t more = *cap ? *cap * 2 : 8;
    void *p = arena_grow(&s->arena, *array, *cap * size, more * size);
    if (!p)
        return false;
    *array = p;
    *cap = more;
    return true;
}

void span_attribute(struct bspan *s, const struct rec *r)
{
    struct slice key = r->v[0].s;
    const struct rec_value *v = &r->v[1];
    if (r->n < 2 || v->absent)
        return;
    struct field *f = NULL;
    for (uint32_t i = 0; i < s->n_fields && !f; i++)
        if (slice_eq(s->field[i].key, key))
            f = &s->field[i]; // the later value replaces the earlier
    if (!f) {
        if (!grow(s, (void **)&s->field, s->n_fields, &s->cap_fields, sizeof *s->field, SPAN_FIELDS_MAX)) {
            s->dropped_fields++;
            return;
        }
        f = &s->field[s->n_fields++];
        f->key = keep(s, key);
    }
    f->type = v->type;
    f->u = v->u;
    f->s = v->type == SONDE_TYPE_STR ? keep(s, v->s) : SLICE_NONE;
    s->dirty = true;
}

void span_moment(struct bspan *s, const struct rec *r)
{
    if (r->n < 2)
        return;
    if (!grow(s, (void **)&s->event, s->n_events, &s->cap_events, sizeof *s->event, SPAN_EVENTS_MAX))
        s->dropped_events++;
    else
        s->event[s->n_events++] = (struct moment){(int64_t)r->v[0].u, keep(s, r->v[1].s)};
}

void span_set_status(struct bspan *s, const struct rec *r)
{
    if (r->n < 2)
        return;
    s->status = (uint8_t)r->v[0].u;
    s->status_message = r->v[1].absent ? SLICE_NONE : keep(s, r->v[1].s);
}

// ---- items of a JSON line ---------------------------------------------------------------------------------------------
static void add_item(struct bspan *s, struct field f)
{
    struct buf b;
    buf_init(&b, SPAN_MEMORY_MAX);
    uint32_t at = 0;
    while (at < s->n_items && slice_cmp(s->item[at].key, f.key) < 0)
        at++;
    if (at < s->n_items && slice_eq(s->item[at].key, f.key))
        return; // ids come first and win; attributes are unique
    line_json_key(&b, f.key);
    line_json_value(&b, f.type, f.u, f.s);
    f.json = b.err == ERR_OK ? keep(s, buf_slice(&b)) : SLICE_NONE;
    buf_free(&b);
    f.s = SLICE_NONE; // may be the caller's; lines need only the rendered form
    memmove(s->item + at + 1, s->item + at, (s->n_items - at) * sizeof *s->item);
    s->item[at] = f;
    s->n_items++;
}

static void add_text(struct bspan *s, const char *key, struct slice text)
{
    if (text.n)
        add_item(s, (struct field){.key = slice_str(key), .type = SONDE_TYPE_STR, .s = text});
}

const struct field *span_items(struct bspan *s, uint32_t *n)
{
    if (s->dirty) {
        s->dirty = false;
        s->n_items = 0;
        s->item = arena_alloc(&s->arena, (s->n_fields + 8) * sizeof *s->item);
        if (!s->item) {
            *n = 0;
            return NULL;
        }
        char hex[32];
        hex_encode(hex, s->trace_id, 16);
        add_text(s, "trace_id", slice_of(hex, 32));
        hex_encode(hex, s->span_id, 8);
        add_text(s, "span_id", slice_of(hex, 16));
        hex_encode(hex, s->parent_id, 8);
        if (s->has_parent)
            add_text(s, "parent_id", slice_of(hex, 16));
        add_text(s, "span_name", s->name);
        add_text(s, "tracestate", s->tracestate);
        add_text(s, "x_request_id", s->request_id);
        for (uint32_t i = 0; i < s->n_fields; i++) {
            struct field f = s->field[i];
            if (site_reserved(f.key) || (s->request_id.n && slice_eq(f.key, SLICE("x_request_id"))))
                f.key = arena_printf(&s->arena, "field.%.*s", (int)f.key.n, f.key.p);
            if (f.key.p)
                add_item(s, f);
        }
    }
    *n = s->n_items;
    return s->item;
}
