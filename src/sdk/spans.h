// The spans as the backend (or an inspector) knows them from their records: a table by id, with fields ready for lines and
// export. Thread rule: one thread.
#pragma once
#include "base/arena.h"
#include "sdk/site.h"

struct field {
    struct slice key;
    enum sonde_type type;
    uint64_t u;        // number as its bits
    struct slice s;    // SONDE_TYPE_STR
    struct slice json; // ,"key":value
};
struct moment { // a span event
    int64_t time;
    struct slice name;
};

enum { SPAN_FIELDS_MAX = 128, SPAN_EVENTS_MAX = 128, SPANS_MAX = 65536, SPAN_MEMORY_MAX = 1 << 20 };

struct bspan {
    uint8_t trace_id[16], span_id[8], parent_id[8];
    bool has_parent, remote, inherited, entered, started;
    uint8_t flags, kind, status;
    struct slice name, request_id, tracestate, status_message;
    const struct site *site; // null: unknown
    int64_t start_ns;
    struct field *field; // attributes, in the order of setting
    uint32_t n_fields, cap_fields;
    struct moment *event;
    uint32_t n_events, cap_events;
    uint32_t dropped_fields, dropped_events;
    struct field *item; // what a JSON line of this span carries, sorted by key; rebuilt when dirty
    uint32_t n_items;
    bool dirty;
    uint32_t depth; // how often entered at the moment
    int64_t entered_ns, busy_ns;
    struct bspan *parent; // held; null if not known here
    uint32_t refs;
    struct bspan *next; // of the same hash
    struct arena arena;
};

struct span_table {
    struct bspan **slot;
    uint32_t n, size;
    uint64_t overflow; // spans not kept because SPANS_MAX were open
};

void span_table_free(struct span_table *t);
struct bspan *span_find(const struct span_table *t, const uint8_t span_id[8], const uint8_t trace_id[16]);
// Applies REC_SPAN_START; the new span, or null.
struct bspan *span_begin(struct span_table *t, const struct rec *r, const struct site *site, int64_t time);
void span_attribute(struct bspan *s, const struct rec *r);
void span_moment(struct bspan *s, const struct rec *r);
void span_set_status(struct bspan *s, const struct rec *r);
void span_finish(struct span_table *t, struct bspan *s); // removes and frees it (or when its last child has gone)
// The sorted items for JSON lines.
const struct field *span_items(struct bspan *s, uint32_t *n);
// A span of which only the ids are known, for lines; free with span_finish(NULL, s). Null without memory.
struct bspan *span_unknown(const struct rec *r);
