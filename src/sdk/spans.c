#include "sdk/spans.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "sdk/line.h"
#include "sdk/sdk.h"
#include "sdk/trace.h"
#include "sdk/value.h"

struct span_limits span_limits = {128, 128, 128, 128, 128, UINT32_MAX};

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

// Ended spans that keep their memory for the next ones: most live a short time, and alone. Of the backend's table alone, by the
// drain lock's holder: who reads a ring beside it has a table of its own and no lock.
enum { SPARE_MAX = 32, SPARE_MEMORY = 8 << 10 };
static struct bspan *spare, *parents_spare; // of a fork's parent: never used, kept reachable
static unsigned n_spare;

void span_forked(void)
{
    parents_spare = spare;
    __asm__ volatile("" : : "r"(&parents_spare) : "memory"); // it is not read
    spare = NULL;
    n_spare = 0;
}

static void release(struct bspan *s)
{
    while (s && --s->refs == 0) {
        struct bspan *parent = s->parent;
        if (s->reused && n_spare < SPARE_MAX && s->arena.used <= SPARE_MEMORY) {
            s->next = spare;
            spare = s;
            n_spare++;
        } else {
            arena_free(&s->arena);
            mem_free(s);
        }
        s = parent;
    }
}

static struct bspan *zeroed(bool reused)
{
    struct bspan *s = reused ? spare : NULL;
    if (!s) {
        s = mem_zalloc(sizeof *s);
        if (s)
            arena_init(&s->arena, SPAN_MEMORY_MAX);
        return s;
    }
    spare = s->next;
    n_spare--;
    arena_reset(&s->arena);
    struct arena memory = s->arena;
    *s = (struct bspan){.arena = memory};
    return s;
}

static struct slice keep(struct bspan *s, struct slice v)
{
    if (!v.n)
        return SLICE("");
    struct slice copy = arena_dup(&s->arena, v);
    return copy.p ? copy : SLICE_NONE;
}

static struct bspan *bspan_new(const struct rec *r, bool reused)
{
    struct bspan *s = zeroed(reused);
    if (!s)
        return NULL;
    s->reused = reused;
    memcpy(s->trace_id, r->trace_id, 16);
    memcpy(s->span_id, r->span_id, 8);
    s->refs = 1;
    s->dirty = true;
    return s;
}

struct bspan *span_unknown(const struct rec *r)
{
    return bspan_new(r, false);
}

struct bspan *span_begin(struct span_table *t, const struct rec *r, const struct site *site, int64_t time)
{
    bool plain = r->kind == REC_SPAN_PLAIN;
    if (r->n < (plain ? 3 : 6) || t->n >= SPANS_MAX || !table_room(t)) {
        t->overflow++;
        return NULL;
    }
    struct bspan *s = bspan_new(r, t == &sdk.pipe.spans);
    if (!s)
        return NULL;
    s->site = site;
    s->started = true;
    memcpy(s->parent_id, &r->v[0].u, 8);
    s->has_parent = r->v[0].u != 0;
    s->flags = (uint8_t)r->v[1].u;
    s->kind = (uint8_t)(r->v[1].u >> 8);
    if (s->kind < SONDE_KIND_INTERNAL || s->kind > SONDE_KIND_CONSUMER)
        s->kind = SONDE_KIND_INTERNAL;
    s->remote = r->v[1].u >> 16 & 1;
    s->inherited = r->v[1].u & REC_INHERITED;
    s->keep = r->v[1].u & REC_KEEP;
    s->scope = scope_get((uint32_t)(r->v[1].u >> 32));
    s->start_ns = plain || !r->v[2].u ? time : (int64_t)r->v[2].u;
    s->name = keep(s, r->v[plain ? 2 : 3].s);
    if (!plain) {
        s->request_id = keep(s, r->v[4].s);
        s->tracestate = keep(s, r->v[5].s);
    }
    if (s->has_parent && !s->remote)
        s->parent = span_find(t, s->parent_id, s->trace_id);
    if (s->parent)
        s->parent->refs++;
    s->root = s->parent ? s->parent->root : s;
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
    span_forget_kept(t, s);
    release(s);
}

// ---- kept until the trace's end in this process ---------------------------------------------------------------------
bool span_keep(struct span_table *t, struct bspan *s, int64_t end)
{
    struct bspan *root = s->root;
    if (!root || root == s || root->n_kept >= SPAN_KEPT_TRACE || t->n_kept >= SPAN_KEPT_MAX)
        return false;
    s->end_ns = end;
    s->refs++;
    s->kept_next = root->kept;
    root->kept = s;
    root->n_kept++;
    t->n_kept++;
    return true;
}

void span_forget_kept(struct span_table *t, struct bspan *root)
{
    struct bspan *kept = root->kept;
    root->kept = NULL;
    if (t)
        t->n_kept -= root->n_kept;
    root->n_kept = 0;
    for (struct bspan *next; kept; kept = next) {
        next = kept->kept_next;
        release(kept);
    }
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
    if (n >= max)
        return false;
    if (n < *cap)
        return true;
    uint32_t more = *cap ? *cap * 2 : 8;
    void *p = arena_grow(&s->arena, *array, *cap * size, more * size);
    if (!p)
        return false;
    *array = p;
    *cap = more;
    return true;
}

// At most that many characters; the end of an invalid text counts by bytes.
static struct slice cut_text(struct slice s, uint32_t most)
{
    if (s.n <= most)
        return s;
    size_t at = 0;
    for (uint32_t n = 0; at < s.n && n < most; n++) {
        int length;
        utf8_decode(slice_from(s, at), &length);
        at += (size_t)length;
    }
    return slice_cut(s, at);
}

// Elements as in the ring: u32 length and bytes each.
static struct slice cut_texts(struct bspan *s, struct slice v, uint32_t most)
{
    char *copy = arena_alloc(&s->arena, v.n), *p = copy;
    struct rec_value element;
    while (copy && rec_value_next(SONDE_TYPE_STRS, &v, &element)) {
        struct slice text = cut_text(element.s, most);
        uint32_t n = (uint32_t)text.n;
        memcpy(p, &n, 4);
        memcpy(p + 4, text.p, n);
        p += 4 + n;
    }
    return slice_of(copy, copy ? (size_t)(p - copy) : 0);
}

static struct slice keep_value(struct bspan *s, const struct rec_value *v)
{
    uint32_t most = span_limits.value_length;
    if (most != UINT32_MAX && v->type == SONDE_TYPE_STRS)
        return cut_texts(s, v->s, most);
    struct slice text = most != UINT32_MAX && v->type == SONDE_TYPE_STR ? cut_text(v->s, most) : v->s;
    return keep(s, text);
}

static struct field *same_key(struct field *f, uint32_t n, struct slice key)
{
    for (uint32_t i = 0; i < n; i++)
        if (slice_eq(f[i].key, key))
            return &f[i];
    return NULL;
}

// ours: the key and the value are the span's memory already.
static void set_value(struct bspan *s, struct field *f, const struct rec_value *v, bool ours)
{
    f->type = v->type;
    f->u = v->u;
    f->s = !rec_is_string(v->type) ? SLICE_NONE : ours ? v->s : keep_value(s, v);
}

static uint64_t key_bit(struct slice key)
{
    return (uint64_t)1 << ((key.n * 11 + (uint8_t)key.p[0] * 5 + (uint8_t)key.p[key.n / 2] * 3 + (uint8_t)key.p[key.n - 1]) & 63);
}

// The key is not empty.
static void set_attribute(struct bspan *s, struct slice key, const struct rec_value *v, bool ours)
{
    uint64_t bit = key_bit(key);
    // The later value replaces the earlier.
    struct field *f = s->keys & bit ? same_key(s->field, s->n_fields, key) : NULL;
    if (!f) {
        if (!grow(s, (void **)&s->field, s->n_fields, &s->cap_fields, sizeof *s->field, span_limits.fields)) {
            s->dropped_fields++;
            return;
        }
        f = &s->field[s->n_fields++];
        f->key = ours ? key : keep(s, key);
        s->keys |= bit;
    }
    set_value(s, f, v, ours);
    s->dirty = true;
}

void span_attribute(struct bspan *s, const struct rec *r)
{
    if (r->n >= 2 && !r->v[0].absent && r->v[0].s.n && !r->v[1].absent)
        set_attribute(s, r->v[0].s, &r->v[1], false);
}

// The fields of an event or a link.
static struct field *read_fields(struct bspan *s, struct slice packed, uint32_t most, uint32_t *n, uint32_t *dropped)
{
    struct packed_field f;
    uint32_t cap = 0;
    *n = *dropped = 0;
    for (struct slice rest = packed; packed_next(&rest, &f);)
        cap++;
    struct field *all = cap ? arena_alloc(&s->arena, (cap < most ? cap : most) * sizeof *all) : NULL;
    for (struct slice rest = packed; packed_next(&rest, &f);) {
        struct field *at = same_key(all, *n, f.key);
        if (!at && (!all || *n >= most || !f.key.n)) {
            ++*dropped;
            continue;
        }
        if (!at) {
            at = &all[(*n)++];
            at->key = keep(s, f.key);
        }
        set_value(s, at, &f.v, false);
    }
    return all;
}

static struct moment *add_moment(struct bspan *s, int64_t time, struct slice name)
{
    if (!grow(s, (void **)&s->event, s->n_events, &s->cap_events, sizeof *s->event, span_limits.events)) {
        s->dropped_events++;
        return NULL;
    }
    s->event[s->n_events] = (struct moment){.time = time, .name = keep(s, name)};
    return &s->event[s->n_events++];
}

void span_moment(struct bspan *s, const struct rec *r)
{
    if (r->n >= 2)
        add_moment(s, (int64_t)r->v[0].u, r->v[1].s);
}

static void add_link(struct bspan *s, const struct rec *r)
{
    if (r->v[3].s.n < 24)
        return;
    if (!grow(s, (void **)&s->link, s->n_links, &s->cap_links, sizeof *s->link, span_limits.links)) {
        s->dropped_links++;
        return;
    }
    struct span_link *l = &s->link[s->n_links++];
    *l = (struct span_link){.flags = (uint8_t)(r->v[0].u >> 8), .remote = r->v[0].u >> 16 & 1, .tracestate = keep(s, r->v[2].s)};
    memcpy(l->trace_id, r->v[3].s.p, 16);
    memcpy(l->span_id, r->v[3].s.p + 16, 8);
    l->field = read_fields(s, r->v[4].s, span_limits.link_fields, &l->n_fields, &l->dropped_fields);
}

// One copy of all of them, where no value is cut and none is likely to be left out.
static void set_attributes(struct bspan *s, struct slice packed)
{
    struct packed_field f;
    struct slice copy = SLICE_NONE;
    if (packed.n < SPARE_MEMORY && span_limits.value_length == UINT32_MAX && s->n_fields < span_limits.fields)
        copy = keep(s, packed);
    for (struct slice rest = copy.p ? copy : packed; packed_next(&rest, &f);)
        if (f.key.n)
            set_attribute(s, f.key, &f.v, copy.p);
}

void span_more(struct bspan *s, const struct rec *r, int64_t time)
{
    if (r->n < 5)
        return;
    struct slice rest = r->v[4].s;
    struct moment *m;
    switch ((enum rec_more)(r->v[0].u & 0xff)) {
    case MORE_FIELDS:
        set_attributes(s, rest);
        break;
    case MORE_EVENT:
        m = add_moment(s, r->v[1].u ? (int64_t)r->v[1].u : time, r->v[2].s);
        if (m)
            m->field = read_fields(s, rest, span_limits.event_fields, &m->n_fields, &m->dropped_fields);
        break;
    case MORE_LINK:
        add_link(s, r);
        break;
    case MORE_NAME:
        s->name = keep(s, r->v[2].s);
        s->dirty = true;
        break;
    }
}

void span_set_status(struct bspan *s, const struct rec *r)
{
    if (r->n < 2 || s->status == SONDE_STATUS_OK || r->v[0].u == SONDE_STATUS_UNSET || r->v[0].u > SONDE_STATUS_ERROR)
        return;
    s->status = (uint8_t)r->v[0].u;
    s->status_message = s->status == SONDE_STATUS_ERROR && !r->v[1].absent ? keep(s, r->v[1].s) : SLICE_NONE;
}

// ---- items of a JSON line -------------------------------------------------------------------------------------------
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
        uint32_t shown = s->n_fields < SPAN_FIELDS_MAX ? s->n_fields : SPAN_FIELDS_MAX;
        s->item = arena_alloc(&s->arena, (shown + 8) * sizeof *s->item);
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
        for (uint32_t i = 0; i < shown; i++) {
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
