// Requests as JSON: the shapes of docs/api-sonde.md.
#include "serve/sonde_json.h"

#include <inttypes.h>
#include <stdio.h>

void json_key_str(struct jw *w, const char *key, struct slice s)
{
    jw_key(w, slice_str(key));
    jw_str(w, s);
}

void json_key_ns(struct jw *w, const char *key, int64_t ns)
{
    jw_key(w, slice_str(key));
    jw_str_i64(w, ns);
}

void json_key_ms(struct jw *w, const char *key, int64_t ns)
{
    jw_key(w, slice_str(key));
    jw_f64(w, (double)ns / 1e6);
}

void json_key_bool(struct jw *w, const char *key, bool v)
{
    jw_key(w, slice_str(key));
    jw_bool(w, v);
}

static void key_int(struct jw *w, const char *key, int64_t v, bool known)
{
    jw_key(w, slice_str(key));
    if (known)
        jw_i64(w, v);
    else
        jw_null(w);
}

static void key_f64(struct jw *w, const char *key, double v, bool known)
{
    jw_key(w, slice_str(key));
    if (known)
        jw_f64(w, v);
    else
        jw_null(w);
}

static void key_id64(struct jw *w, const char *key, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, id);
    json_key_str(w, key, id ? slice_of(text, 16) : SLICE(""));
}

void json_key_id128(struct jw *w, const char *key, struct id128 id)
{
    uint8_t bytes[16];
    id128_store(bytes, id);
    jw_key(w, slice_str(key));
    jw_hex(w, bytes, 16);
}

// phases: true in the list (name and ms only), in the detail they stand on their own.
void sonde_write_summary(struct jw *w, const struct trace *t, const struct request_logs *logs, const struct request *r,
                         bool phases)
{
    jw_obj(w);
    json_key_str(w, "request_id", r->id);
    json_key_id128(w, "trace_id", r->trace_id);
    json_key_ns(w, "start_ns", r->start);
    json_key_ms(w, "duration_ms", r->end - r->start);
    json_key_str(w, "status", slice_str(request_status_text(r->status)));
    key_int(w, "http_status", r->http_status, r->http_status > 0);
    json_key_str(w, "verdict", r->verdict);
    json_key_str(w, "name", r->name);
    json_key_str(w, "service", r->service);
    json_key_str(w, "model", r->model);
    json_key_bool(w, "stream", r->stream);
    key_int(w, "input_tokens", r->input_tokens, r->input_tokens >= 0);
    key_int(w, "output_tokens", r->output_tokens, r->output_tokens >= 0);
    key_f64(w, "ttft_ms", r->ttft_ms, r->ttft_ms >= 0);
    key_f64(w, "itl_ms", r->itl_ms, r->itl_ms >= 0);
    json_key_str(w, "prefill_worker", r->prefill_worker);
    json_key_str(w, "decode_worker", r->decode_worker);
    key_int(w, "attempts", r->attempts, true);
    key_int(w, "spans", t->n, true);
    key_int(w, "logs", logs->n, true);
    key_int(w, "errors", r->errors, true);
    if (phases) {
        JW_KEY(w, "phases");
        jw_arr(w);
        for (uint32_t i = 0; i < r->n_phases; i++) {
            jw_obj(w);
            json_key_str(w, "name", slice_str(r->phases[i].name));
            json_key_ms(w, "ms", r->phases[i].ns);
            json_key_str(w, "kind", slice_str(phase_kind_text(r->phases[i].kind)));
            jw_obj_end(w);
        }
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

static void write_phase(struct jw *w, const struct phase *p)
{
    jw_obj(w);
    json_key_str(w, "name", slice_str(p->name));
    json_key_str(w, "service", p->service);
    json_key_ns(w, "start_ns", p->start);
    json_key_ms(w, "ms", p->ns);
    json_key_str(w, "kind", slice_str(phase_kind_text(p->kind)));
    key_id64(w, "span_id", p->span_id);
    jw_obj_end(w);
}

void sonde_write_lanes(struct jw *w, const struct request *r)
{
    JW_KEY(w, "services");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_lanes; i++) {
        jw_obj(w);
        json_key_str(w, "name", r->lanes[i].service);
        json_key_str(w, "role", slice_str(role_text(r->lanes[i].role)));
        jw_obj_end(w);
    }
    jw_arr_end(w);
    JW_KEY(w, "phases");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_phases; i++)
        write_phase(w, &r->phases[i]);
    jw_arr_end(w);
    JW_KEY(w, "lanes");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_lanes; i++) {
        const struct lane *l = &r->lanes[i];
        jw_obj(w);
        json_key_str(w, "service", l->service);
        json_key_str(w, "role", slice_str(role_text(l->role)));
        JW_KEY(w, "blocks");
        jw_arr(w);
        for (uint32_t k = 0; k < l->n_blocks; k++)
            write_phase(w, &l->blocks[k]);
        jw_arr_end(w);
        JW_KEY(w, "marks");
        jw_arr(w);
        for (uint32_t k = 0; k < l->n_marks; k++) {
            jw_obj(w);
            json_key_str(w, "name", slice_str(l->marks[k].name));
            json_key_ns(w, "time_ns", l->marks[k].time);
            jw_obj_end(w);
        }
        jw_arr_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

// JavaScript reads numbers as doubles: what does not fit (Dynamo's worker ids) goes as a string.
static void write_value(struct jw *w, const struct value *v)
{
    const int64_t exact = (int64_t)1 << 53;
    if (v->kind == COL_I64 && (v->i64 > exact || v->i64 < -exact))
        jw_str_i64(w, v->i64);
    else
        value_json(w, v);
}

static void write_row_attributes(struct jw *w, const struct batch *b, uint32_t row)
{
    jw_obj(w);
    for (uint32_t i = 0; i < b->n_columns; i++) {
        struct value v;
        if (b->columns[i].scope == COL_FIELD || !column_value(&b->columns[i], row, &v))
            continue;
        jw_key(w, b->columns[i].name);
        write_value(w, &v);
    }
    jw_obj_end(w);
}

static void write_resource(struct jw *w, const struct resource *r)
{
    jw_obj(w);
    for (uint32_t i = 0; i < r->n_attrs; i++) {
        jw_key(w, r->attrs[i].key);
        write_value(w, &r->attrs[i].value);
    }
    for (uint32_t i = 0; r->n_attrs == 0 && i < r->n_labels; i++) {
        jw_key(w, r->labels[i].name);
        jw_str(w, r->labels[i].value);
    }
    jw_obj_end(w);
}

static void write_events(struct jw *w, struct slice events)
{
    struct span_event e;
    jw_arr(w);
    while (span_event_next(&events, &e)) {
        struct attr a;
        jw_obj(w);
        json_key_str(w, "name", e.name);
        json_key_ns(w, "time_ns", e.time);
        JW_KEY(w, "attributes");
        jw_obj(w);
        while (span_event_attr(&e.attrs, &a)) {
            jw_key(w, a.key);
            write_value(w, &a.value);
        }
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

void sonde_write_spans(struct jw *w, const struct trace *t)
{
    static const char *const kinds[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    static const char *const statuses[] = {"unset", "ok", "error"};
    jw_arr(w);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct span *s = &t->spans[i];
        jw_obj(w);
        key_id64(w, "span_id", s->id);
        key_id64(w, "parent_id", s->parent_id);
        key_int(w, "depth", s->depth, true);
        json_key_str(w, "name", s->name);
        json_key_str(w, "kind", slice_str(s->kind >= 0 && s->kind < 6 ? kinds[s->kind] : "unspecified"));
        json_key_str(w, "service", s->service);
        json_key_str(w, "instance", trace_attr_text(t, s, SLICE("service.instance.id")));
        json_key_ns(w, "start_ns", s->start);
        json_key_ms(w, "duration_ms", s->end - s->start);
        json_key_ms(w, "self_ms", s->self);
        json_key_str(w, "status", slice_str(s->status >= 0 && s->status < 3 ? statuses[s->status] : "unset"));
        json_key_str(w, "status_message", column_str(t->batch->field[FIELD_STATUS_MESSAGE], s->row));
        json_key_bool(w, "orphan", s->orphan);
        JW_KEY(w, "attributes");
        write_row_attributes(w, t->batch, s->row);
        JW_KEY(w, "resource");
        write_resource(w, trace_resource(t, s));
        JW_KEY(w, "events");
        write_events(w, column_str(t->batch->field[FIELD_EVENTS], s->row));
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

void sonde_write_logs(struct jw *w, const struct request_logs *logs)
{
    jw_arr(w);
    for (uint32_t i = 0; i < logs->n; i++) {
        const struct request_log *l = &logs->at[i];
        jw_obj(w);
        json_key_ns(w, "time_ns", l->time);
        json_key_str(w, "level", slice_str(l->level));
        json_key_str(w, "service", l->service);
        json_key_str(w, "target", l->target);
        json_key_str(w, "message", l->message);
        key_id64(w, "span_id", l->span_id);
        json_key_str(w, "line", l->line);
        JW_KEY(w, "fields");
        write_row_attributes(w, logs->batch, l->row);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

void sonde_write_failure(struct jw *w, const struct request *r)
{
    const struct failure *f = &r->failure;
    JW_KEY(w, "failure");
    if (!f->there) {
        jw_null(w);
    } else {
        jw_obj(w);
        json_key_str(w, "where", slice_str(role_text(f->where)));
        json_key_str(w, "service", f->service);
        json_key_ns(w, "when_ns", f->when);
        json_key_str(w, "what", f->what);
        json_key_str(w, "why", f->why);
        JW_KEY(w, "evidence");
        jw_arr(w);
        for (uint32_t i = 0; i < f->n_evidence; i++)
            jw_u64(w, f->evidence[i]);
        jw_arr_end(w);
        jw_obj_end(w);
    }
    JW_KEY(w, "notes");
    jw_arr(w);
    for (uint32_t i = 0; i < r->n_notes; i++)
        jw_str(w, r->notes[i]);
    jw_arr_end(w);
}
