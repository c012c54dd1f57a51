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
    struct field *field;
    uint32_t n_fields, dropped_fields;
};
struct span_link {
    uint8_t trace_id[16], span_id[8];
    uint8_t flags;
    bool remote;
    struct slice tracestate;
    struct field *field;
    uint32_t n_fields, dropped_fields;
};
// The instrumentation scope of a tracer. Lives as long as the process.
struct scope {
    struct slice name, version, schema_url;
    struct field *field;
    uint32_t n_fields;
    struct slice identity; // differs for different scopes
};

// What a span may carry (sonde/trace.h); value_length in characters, UINT32_MAX: any.
struct span_limits {
    uint32_t fields, events, links, event_fields, link_fields, value_length;
};
extern struct span_limits span_limits; // set while the library starts

enum { SPAN_FIELDS_MAX = 128 }; // that a line shows
enum { SPANS_MAX = 65536, SPAN_MEMORY_MAX = 1 << 20 };
// Of traces that are exported only if they end in an error: ended spans that wait, of one trace and of all.
enum { SPAN_KEPT_TRACE = 256, SPAN_KEPT_MAX = 8192 };

struct bspan {
    uint8_t trace_id[16], span_id[8], parent_id[8];
    bool has_parent, remote, inherited, entered, started, keep, failed, ended;
    bool reused;               // its memory may be the next one's
    const struct scope *scope; // null: the call's target
    uint8_t flags, kind, status;
    struct slice name, request_id, tracestate, status_message;
    const struct site *site; // null: unknown
    int64_t start_ns;
    struct field *field; // attributes, in the order of setting
    uint32_t n_fields, cap_fields;
    uint64_t keys; // a bit for each key: one that is not there is a new key
    struct moment *event;
    uint32_t n_events, cap_events;
    struct span_link *link;
    uint32_t n_links, cap_links;
    uint32_t dropped_fields, dropped_events, dropped_links;
    struct field *item; // what a JSON line of this span carries, sorted by key; rebuilt when dirty
    uint32_t n_items;
    bool dirty;
    uint32_t depth; // how often entered at the moment
    int64_t entered_ns, busy_ns;
    struct bspan *parent; // held; null if not known here
    struct bspan *root;   // the first of the trace in this process; held through the parents. Itself for that one
    struct bspan *kept;   // of a root: ended spans of its trace, newest first, held
    struct bspan *kept_next;
    uint32_t n_kept;
    int64_t end_ns; // of a span that was kept
    uint32_t refs;
    struct bspan *next; // of the same hash
    struct arena arena;
};

struct span_table {
    struct bspan **slot;
    uint32_t n, size;
    uint32_t n_kept;   // of all traces
    uint64_t overflow; // spans not kept because SPANS_MAX were open
};

void span_table_free(struct span_table *t);
void span_forked(void); // in the child: another thread may have been in the middle of using the memory of ended spans
struct bspan *span_find(const struct span_table *t, const uint8_t span_id[8], const uint8_t trace_id[16]);
// Applies REC_SPAN_START or REC_SPAN_PLAIN; the new span, or null.
struct bspan *span_begin(struct span_table *t, const struct rec *r, const struct site *site, int64_t time);
void span_attribute(struct bspan *s, const struct rec *r);
void span_moment(struct bspan *s, const struct rec *r);
void span_more(struct bspan *s, const struct rec *r, int64_t time); // REC_SPAN_MORE
void span_set_status(struct bspan *s, const struct rec *r);
void span_finish(struct span_table *t, struct bspan *s); // removes and frees it (or when its last child has gone)
// Ended and perhaps to be exported later; false: no room.
bool span_keep(struct span_table *t, struct bspan *s, int64_t end);
void span_forget_kept(struct span_table *t, struct bspan *root);
// The sorted items for JSON lines.
const struct field *span_items(struct bspan *s, uint32_t *n);
// A span of which only the ids are known, for lines; free with span_finish(NULL, s). Null without memory.
struct bspan *span_unknown(const struct rec *r);
