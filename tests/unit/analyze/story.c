#include "story.h"

#include "event/wire.h"

static void begin_list(struct buf *b, const char *head)
{
    buf_init(b, MIB(64));
    buf_str(b, head);
}

void story_begin(struct story *s)
{
    memset(s, 0, sizeof *s);
    begin_list(&s->spans, "{\"resourceSpans\":[");
    begin_list(&s->logs, "{\"resourceLogs\":[");
    arena_init(&s->arena, MIB(16));
}

static void write_attrs(struct jw *w, const char *const *attrs)
{
    JW_KEY(w, "attributes");
    jw_arr(w);
    for (; *attrs; attrs += 2) {
        const char *key = attrs[0], *type = *key == '#' ? "intValue" : *key == '?' ? "boolValue" : "stringValue";
        jw_obj(w);
        JW_KEY(w, "key");
        jw_str(w, slice_str(key + (*key == '#' || *key == '?')));
        JW_KEY(w, "value");
        jw_obj(w);
        jw_key(w, slice_str(type));
        if (*key == '?')
            jw_bool(w, attrs[1][0] == 't');
        else
            jw_str(w, slice_str(attrs[1]));
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_time(struct jw *w, const char *key, double ms)
{
    jw_key(w, slice_str(key));
    jw_str_i64(w, STORY_T0 + (int64_t)(ms * 1e6));
}

static void write_id(struct jw *w, const char *key, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    jw_key(w, slice_str(key));
    jw_str(w, slice_str(id ? text : ""));
}

static void write_head(struct jw *w, struct buf *b, const char *service, const char *scopes, const char *rows)
{
    *w = jw_to(b);
    if (b->p[b->n - 1] != '[')
        buf_char(b, ',');
    jw_obj(w);
    JW_KEY(w, "resource");
    jw_obj(w);
    write_attrs(w, (const char *[]){"service.name", service, NULL});
    jw_obj_end(w);
    jw_key(w, slice_str(scopes));
    jw_arr(w);
    jw_obj(w);
    jw_key(w, slice_str(rows));
    jw_arr(w);
    jw_obj(w);
    JW_KEY(w, "traceId");
    jw_str(w, SLICE("0af7651916cd43dd8448eb211c80319c"));
}

static void write_tail(struct jw *w)
{
    jw_obj_end(w);
    jw_arr_end(w);
    jw_obj_end(w);
    jw_arr_end(w);
    jw_obj_end(w);
}

static void write_event(struct jw *w, const char *name, double at)
{
    jw_obj(w);
    write_time(w, "timeUnixNano", at);
    JW_KEY(w, "name");
    jw_str(w, slice_str(name));
    jw_obj_end(w);
}

void story_span(struct story *s, const struct story_span *span)
{
    struct jw w;
    write_head(&w, &s->spans, span->service, "scopeSpans", "spans");
    write_id(&w, "spanId", span->id);
    write_id(&w, "parentSpanId", span->parent);
    JW_KEY(&w, "name");
    jw_str(&w, slice_str(span->name));
    JW_KEY(&w, "kind");
    jw_i64(&w, span->kind ? span->kind : 1);
    write_time(&w, "startTimeUnixNano", span->from);
    write_time(&w, "endTimeUnixNano", span->to);
    JW_KEY(&w, "status");
    jw_obj(&w);
    JW_KEY(&w, "code");
    jw_i64(&w, span->status);
    JW_KEY(&w, "message");
    jw_str(&w, slice_str(span->message ? span->message : ""));
    jw_obj_end(&w);
    write_attrs(&w, span->attrs);
    JW_KEY(&w, "events");
    jw_arr(&w);
    if (span->event)
        write_event(&w, span->event, span->event_at);
    for (size_t i = 0; i < CHECK_ROWS(span->marks) && span->marks[i].name; i++)
        write_event(&w, span->marks[i].name, span->marks[i].at);
    jw_arr_end(&w);
    write_tail(&w);
}

void story_log(struct story *s, const struct story_log *log)
{
    struct jw w;
    write_head(&w, &s->logs, log->service, "scopeLogs", "logRecords");
    write_id(&w, "spanId", log->span);
    write_time(&w, "observedTimeUnixNano", log->at); // Dynamo's records have no other
    JW_KEY(&w, "severityText");
    jw_str(&w, slice_str(log->level));
    JW_KEY(&w, "body");
    jw_obj(&w);
    JW_KEY(&w, "stringValue");
    jw_str(&w, slice_str(log->body));
    jw_obj_end(&w);
    write_attrs(&w, log->attrs);
    write_tail(&w);
}

static struct batch *decode(struct buf *b, enum wire_format f)
{
    struct batch *out = NULL;
    struct wire_report report;
    struct error err = {0};
    buf_str(b, "]}");
    if (wire_decode(f, buf_slice(b), true, &(struct wire_options){.received_ns = STORY_T0}, &out, &report, &err) != ERR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(report.rejected, 0);
    return out;
}

void story_link(struct story *s)
{
    struct error err = {0};
    if (trace_build(decode(&s->spans, WIRE_OTLP_TRACES_JSON), STORY_TRACE, &s->trace, &err) != ERR_OK)
        fail_msg("%s", err.msg);
}

void story_tell(struct story *s, double now)
{
    struct error err = {0};
    story_link(s);
    if (request_logs_build(decode(&s->logs, WIRE_OTLP_LOGS_JSON), &s->records, &err) != ERR_OK ||
        request_analyze(&s->trace, &s->records, STORY_T0 + (int64_t)(now * 1e6), &s->arena, &s->r, &err) != ERR_OK)
        fail_msg("%s", err.msg);
}

void story_free(struct story *s)
{
    trace_free(&s->trace);
    request_logs_free(&s->records);
    arena_free(&s->arena);
    buf_free(&s->spans);
    buf_free(&s->logs);
}

static void add_phase(struct buf *b, const struct phase *p)
{
    buf_printf(b, "%s%s %g-%g", b->n ? " " : "", p->name, story_ms(p->start), story_ms(p->start + p->ns));
}

static struct slice take(struct story *s, struct buf *b)
{
    struct slice text = arena_dup(&s->arena, buf_slice(b));
    buf_free(b);
    return text;
}

struct slice story_phases(struct story *s)
{
    struct buf b;
    int64_t at = s->r.start;
    buf_init(&b, MIB(1));
    for (uint32_t i = 0; i < s->r.n_phases; i++) {
        const struct phase *p = &s->r.phases[i];
        add_phase(&b, p);
        if (p->start != at || p->ns <= 0)
            buf_str(&b, " (WRONG: a gap or an overlap)");
        at = p->start + p->ns;
    }
    if (at != s->r.end)
        buf_str(&b, " (WRONG: not up to the end)");
    return take(s, &b);
}

struct slice story_lane(struct story *s, const char *service)
{
    struct buf b;
    buf_init(&b, MIB(1));
    for (uint32_t i = 0; i < s->r.n_lanes; i++) {
        const struct lane *l = &s->r.lanes[i];
        if (!slice_eq(l->service, slice_str(service)))
            continue;
        for (uint32_t k = 0; k < l->n_blocks; k++)
            add_phase(&b, &l->blocks[k]);
        for (uint32_t k = 0; k < l->n_marks; k++)
            buf_printf(&b, "%s%s %g", k ? " " : " | ", l->marks[k].name, story_ms(l->marks[k].time));
    }
    return take(s, &b);
}

bool story_has_note(const struct story *s, const char *part)
{
    for (uint32_t i = 0; i < s->r.n_notes; i++)
        if (slice_find(s->r.notes[i], slice_str(part)) >= 0)
            return true;
    return false;
}
