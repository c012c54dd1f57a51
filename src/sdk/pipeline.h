// What happens to a record behind the ring: spans are followed, lines are written, exporters are fed. Used by the backend
// thread on its own ring and by `sonde inspect ring` on any.
// Thread rule: one thread.
#pragma once
#include "sdk/filter.h"
#include "sdk/line.h"

struct pipeline {
    struct span_table spans;
    struct line_style style;
    struct line_clock clock;
    struct buf out;                         // finished lines
    bool to_sinks;                          // they go to the sinks instead
    struct buf message;                     // of the current record, when it is made of arguments
    unsigned (*level)(struct slice target); // up to which span event lines go out; null: all
    // Export, may be null. The pointers are valid during the call.
    void (*on_log)(void *arg, const struct line *l);
    void (*on_span)(void *arg, const struct bspan *s, int64_t end_ns); // sampled ones that this process owns
    void *arg;
};

void pipeline_init(struct pipeline *p);
void pipeline_free(struct pipeline *p);
// site: of a log record or a span's start; a log record of an unknown site is written with what is known. Consumes r->heap.
void pipeline_record(struct pipeline *p, struct rec *r, const struct site *site, int64_t time);
// A held log record that is written after all.
void pipeline_retro(struct pipeline *p, struct rec *r, const struct site *site, int64_t time);
// A line of the library's own, at that level.
void pipeline_say(struct pipeline *p, int64_t time, unsigned level, const char *message, const struct line_extra *extra,
                  uint32_t n);
