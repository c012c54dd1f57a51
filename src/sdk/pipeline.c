#include "sdk/pipeline.h"
#include "base/alloc.h"
#include "sdk/meter_counts.h"
#include "sdk/sink.h"
#include "sdk/trace.h"
#include <stdio.h>

void pipeline_init(struct pipeline *p)
{
    memset(p, 0, sizeof *p);
    buf_init(&p->out, LINE_MAX);
    buf_init(&p->message, LINE_MAX);
}

void pipeline_free(struct pipeline *p)
{
    span_table_free(&p->spans);
    buf_free(&p->message);
    buf_free(&p->out);
}

// how: SINK_ bits.
static void emit(struct pipeline *p, const struct line *l, unsigned how)
{
    if (p->to_sinks)
        sinks_line(l, how);
    else
        line_write(&p->out, &p->style, &p->clock, l);
    if (p->on_log && !(how & SINK_EVENT) && (!(how & SINK_HELD) || (how & SINK_RETRO)))
        p->on_log(p->arg, l);
}

// The place of a line whose site the reader does not know: a damaged or overfull dictionary.
static const struct site *nowhere(void)
{
    static struct site s;
    if (!s.level) {
        s.target = SLICE("sonde");
        s.message = SLICE("record of an unknown call site");
        s.json_head = SLICE(",\"level\":\"INFO\",\"target\":\"sonde\",\"message\":\"record of an unknown call site\"");
        s.level = SONDE_LEVEL_INFO;
    }
    return &s;
}

void pipeline_say(struct pipeline *p, int64_t time, unsigned level, const char *message, const struct line_extra *extra,
                  uint32_t n)
{
    struct site s = {.level = (uint8_t)level, .target = SLICE("sonde"), .message = slice_str(message)};
    struct line l = {.time = time, .site = &s, .message = s.message, .extra = extra, .n_extra = n};
    emit(p, &l, 0);
}

static void log_record(struct pipeline *p, struct rec *r, const struct site *site, int64_t time, bool retro)
{
    struct bspan *known = r->in_span ? span_find(&p->spans, r->span_id, r->trace_id) : NULL;
    struct bspan *unknown = r->in_span && !known ? span_unknown(r) : NULL;
    struct line l = {.time = time,
                     .site = site ? site : nowhere(),
                     .rec = site && r->n == site->n ? r : NULL,
                     .span = known ? known : unknown};
    if (l.rec)
        l.message = line_message(&p->message, l.site, r);
    struct line_extra mark = {.key = "retro", .value = 1, .type = SONDE_TYPE_BOOL};
    if (retro) {
        l.extra = &mark;
        l.n_extra = 1;
    }
    emit(p, &l, (r->held ? SINK_HELD : 0) | (retro ? SINK_RETRO : 0));
    if (unknown)
        span_finish(NULL, unknown);
}

static void span_line(struct pipeline *p, struct bspan *s, int64_t time, const char *message, const struct line_extra *extra,
                      uint32_t n)
{
    if (!p->style.span_events || !(p->style.jsonl || p->to_sinks))
        return;
    const struct site *site = s->site ? s->site : nowhere();
    bool held = p->level && site->level > p->level(site->target);
    if (held && !p->to_sinks)
        return;
    struct line l = {.time = time, .site = site, .message = slice_str(message), .span = s, .extra = extra, .n_extra = n};
    emit(p, &l, SINK_EVENT | (held ? SINK_HELD : 0));
}

static void span_enter(struct pipeline *p, struct bspan *s, int64_t time)
{
    if (!s->entered)
        span_line(p, s, time, "SPAN_FIRST_ENTRY", NULL, 0);
    s->entered = true;
    if (s->depth++ == 0)
        s->entered_ns = time;
}

static void span_exit(struct bspan *s, int64_t time)
{
    if (s->depth && --s->depth == 0)
        s->busy_ns += time - s->entered_ns;
}

// What a limit took away, once a span.
static void tell_limits(struct pipeline *p, const struct bspan *s, int64_t time)
{
    uint32_t events = s->dropped_events, links = s->dropped_links, fields = s->dropped_fields, inner = 0;
    if (!(events | links | fields | s->n_events | s->n_links)) // nearly all
        return;
    for (uint32_t i = 0; i < s->n_events; i++)
        inner += s->event[i].dropped_fields;
    for (uint32_t i = 0; i < s->n_links; i++)
        inner += s->link[i].dropped_fields;
    if (!(events | links | fields | inner) || s->inherited)
        return;
    char text[256];
    snprintf(text, sizeof text, "span '%.100s' is over its limits: see OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT and its like",
             s->name.p ? s->name.p : "");
    struct line_extra extra[] = {{"dropped_attributes", fields, 0},
                                 {"dropped_events", events, 0},
                                 {"dropped_inner_attributes", inner, 0},
                                 {"dropped_links", links, 0}};
    pipeline_say(p, time, SONDE_LEVEL_WARN, text, extra, 4);
}

// To the exporter; a trace that was not sampled only if it fails: then all of it that is known here.
static void hand_out(struct pipeline *p, struct bspan *s, int64_t end)
{
    if (trace_has_on_end())
        trace_on_end(s, end);
    if (!p->on_span)
        return;
    if (s->flags & 1) {
        p->on_span(p->arg, s, end);
        return;
    }
    struct bspan *root = s->root;
    if (!s->keep || !root)
        return;
    root->failed = root->failed || s->status == SONDE_STATUS_ERROR;
    s->end_ns = end;
    if (s != root && !root->ended) {
        span_keep(&p->spans, s, end);
        return;
    }
    root->ended = true;
    if (!root->failed)
        return;
    for (const struct bspan *k = s == root ? root->kept : NULL; k; k = k->kept_next)
        p->on_span(p->arg, k, k->end_ns);
    p->on_span(p->arg, s, end);
}

static void closed_line(struct pipeline *p, struct bspan *s, int64_t end)
{
    int64_t duration = end > s->start_ns ? (end - s->start_ns) / 1000 : 0;
    int64_t busy = s->busy_ns / 1000 < duration ? s->busy_ns / 1000 : duration;
    struct line_extra times[] = {{"time.busy_us", busy}, {"time.duration_us", duration}, {"time.idle_us", duration - busy}};
    span_line(p, s, end, "SPAN_CLOSED", times, 3);
}

static void span_end(struct pipeline *p, struct bspan *s, int64_t end)
{
    while (s->depth)
        span_exit(s, end);
    if (p->style.span_events)
        closed_line(p, s, end);
    tell_limits(p, s, end);
    if (!s->inherited)
        hand_out(p, s, end);
    meter_count(&meter_counts.spans_ended);
    span_finish(&p->spans, s);
}

static void span_record(struct pipeline *p, struct rec *r, int64_t time)
{
    struct bspan *s = span_find(&p->spans, r->span_id, r->trace_id);
    if (!s)
        return; // its start was lost, and that was counted
    switch (r->kind) {
    case REC_SPAN_DONE:
        span_end(p, s, time);
        break;
    case REC_SPAN_END:
        span_end(p, s, r->n && r->v[0].u ? (int64_t)r->v[0].u : time);
        break;
    case REC_SPAN_ENTER:
        span_enter(p, s, time);
        break;
    case REC_SPAN_EXIT:
        span_exit(s, time);
        break;
    case REC_SPAN_STATUS:
        span_set_status(s, r);
        break;
    case REC_SPAN_EVENT:
        if (r->n && !r->v[0].u)
            r->v[0].u = (uint64_t)time;
        span_moment(s, r);
        break;
    case REC_SPAN_MORE:
        span_more(s, r, time);
        break;
    default:
        span_attribute(s, r);
        break;
    }
}

void pipeline_retro(struct pipeline *p, struct rec *r, const struct site *site, int64_t time)
{
    log_record(p, r, site, time, true);
}

void pipeline_record(struct pipeline *p, struct rec *r, const struct site *site, int64_t time)
{
    if (r->kind == REC_LOG) {
        meter_count(&meter_counts.logs_created);
        log_record(p, r, site, time, false);
    } else if (r->kind == REC_SPAN_START || r->kind == REC_SPAN_PLAIN) {
        meter_count(&meter_counts.spans_started);
        span_begin(&p->spans, r, site, time);
    } else if (r->kind != REC_THREAD && r->in_span) {
        span_record(p, r, time);
    }
    mem_free(r->heap);
    r->heap = NULL;
}
