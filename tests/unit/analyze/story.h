// A request written down as spans and log records, in milliseconds after STORY_T0, and what the analysis makes of it. The records
// go through the OTLP/JSON decoder, so that they look as if received.
#pragma once
#include "analyze/request.h"
#include "check.h"

#define STORY_T0    1700000000000000000ll
#define STORY_TRACE ((struct id128){0x0af7651916cd43dd, 0x8448eb211c80319c})

struct story_span {
    const char *service, *name;
    uint64_t id, parent;
    double from, to;
    int kind, status;
    const char *message;
    const char *attrs[24]; // key, value, …; text, unless the key begins with # (integer) or ? (bool)
    const char *event;     // one span event, at event_at
    double event_at;
    struct {
        const char *name;
        double at;
    } marks[16]; // more of them
};

struct story_log {
    const char *service;
    double at;
    const char *level, *body;
    const char *attrs[12];
    uint64_t span;
};

struct story {
    struct buf spans, logs;
    struct trace trace;
    struct request_logs records;
    struct arena arena;
    struct request r;
};

void story_begin(struct story *s);
void story_span(struct story *s, const struct story_span *span);
void story_log(struct story *s, const struct story_log *log);
// Links the spans; then story_tell analyses them as seen at `now`.
void story_link(struct story *s);
void story_tell(struct story *s, double now);
void story_free(struct story *s);

#define STORY_SPANS(s, table)                         \
    for (size_t i_ = 0; i_ < CHECK_ROWS(table); i_++) \
        story_span((s), &(table)[i_]);
#define STORY_LOGS(s, table)                          \
    for (size_t i_ = 0; i_ < CHECK_ROWS(table); i_++) \
        story_log((s), &(table)[i_]);

static inline double story_ms(int64_t time)
{
    return (double)(time - STORY_T0) / 1e6;
}
// "routing 0-2 prefill 2-70 …" in milliseconds. Says WRONG where the row has a gap or does not sum up to the request's length.
struct slice story_phases(struct story *s);
// Blocks of a service's lane in the same form, then its marks: "prefill 2-70 | error 71".
struct slice story_lane(struct story *s, const char *service);
// Macros, since each file counts its own failures.
#define story_check_phases(s, want)    CHECK_STR(story_phases(s), want)
#define story_check_sum(s)             CHECK(slice_find(story_phases(s), SLICE("WRONG")) < 0)
#define story_check_lane(s, svc, want) CHECK_STR(story_lane((s), (svc)), want)
bool story_has_note(const struct story *s, const char *part);
