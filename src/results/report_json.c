// Results as one JSON document. Numbers that are not known are null; times are RFC 3339 in UTC.
#include "base/clock.h"
#include "base/json.h"
#include "results/report.h"

static void text(struct jw *w, const char *key, struct slice v)
{
    jw_key(w, slice_str(key));
    jw_str(w, v);
}
static void number(struct jw *w, const char *key, double v)
{
    jw_key(w, slice_str(key));
    jw_f64(w, v);
}
static void count(struct jw *w, const char *key, uint64_t v)
{
    jw_key(w, slice_str(key));
    jw_u64(w, v);
}
static void time_of(struct jw *w, const char *key, int64_t ns)
{
    char t[40];
    jw_key(w, slice_str(key));
    if (ns)
        jw_str(w, slice_of(t, (size_t)time_format(t, ns, 6, false)));
    else
        jw_null(w);
}

static void load(struct jw *w, const struct result *x)
{
    const struct result_load *l = &x->load;
    JW_KEY(w, "load");
    jw_obj(w);
    count(w, "clients", l->clients);
    count(w, "cancelled_clients", l->cancelled);
    count(w, "requests", l->total);
    count(w, "succeeded", l->ok);
    count(w, "failed", l->failed);
    number(w, "success_percent", result_success(x));
    number(w, "latency_s", l->latency);
    number(w, "latency_p50_s", l->p50);
    number(w, "latency_p90_s", l->p90);
    number(w, "latency_p99_s", l->p99);
    number(w, "ttft_s", l->ttft);
    number(w, "itl_s", l->itl);
    number(w, "throughput", l->throughput);
    jw_obj_end(w);
}

static void phases(struct jw *w, const struct result *x)
{
    JW_KEY(w, "phases");
    jw_arr(w);
    for (uint32_t i = 0; i < x->n_phases; i++) {
        const struct result_phase *p = &x->phase[i];
        jw_obj(w);
        text(w, "phase", slice_str(p->name));
        count(w, "succeeded", p->ok);
        count(w, "failed", p->failed);
        count(w, "violations", p->violations);
        number(w, "latency_s", p->latency);
        number(w, "deviation_s", p->deviation);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void components(struct jw *w, const struct result *x)
{
    JW_KEY(w, "components");
    jw_arr(w);
    for (uint32_t i = 0; i < x->n_components; i++) {
        const struct result_component *c = &x->component[i];
        jw_obj(w);
        text(w, "name", c->name);
        number(w, "startup_s", c->startup);
        number(w, "recovery_s", c->recovery);
        count(w, "starts", c->starts);
        JW_KEY(w, "crash_loop");
        jw_bool(w, c->crash_loop);
        time_of(w, "first", c->first_ns);
        time_of(w, "last", c->last_ns);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void requests(struct jw *w, const char *key, const struct result_request *q, uint32_t n)
{
    jw_key(w, slice_str(key));
    jw_arr(w);
    for (uint32_t i = 0; i < n; i++) {
        jw_obj(w);
        text(w, "id", q[i].id);
        time_of(w, "start", q[i].start_ns);
        number(w, "latency_s", q[i].latency);
        number(w, "ttft_s", q[i].ttft);
        text(w, "error", q[i].error);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void logs(struct jw *w, const struct result *x)
{
    count(w, "log_lines", x->lines);
    count(w, "log_bytes", x->bytes);
    count(w, "errors", x->errors);
    count(w, "warnings", x->warnings);
    JW_KEY(w, "error_shapes");
    jw_arr(w);
    for (uint32_t i = 0; i < x->n_classes; i++) {
        const struct result_class *c = &x->class[i];
        jw_obj(w);
        text(w, "level", c->warning ? SLICE("WARN") : SLICE("ERROR"));
        count(w, "count", c->count);
        text(w, "shape", c->text);
        text(w, "sample", c->sample);
        text(w, "file", c->file);
        count(w, "line", c->line);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void cases(struct jw *w, const struct result *x)
{
    JW_KEY(w, "cases");
    jw_arr(w);
    for (uint32_t i = 0; i < x->n_cases; i++) {
        jw_obj(w);
        text(w, "name", x->cases[i].name);
        text(w, "outcome", slice_str(result_verdict_text(x->cases[i].verdict)));
        number(w, "seconds", x->cases[i].seconds);
        text(w, "message", x->cases[i].message);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void one(struct jw *w, const struct result *x)
{
    jw_obj(w);
    text(w, "test", x->name);
    text(w, "path", x->path);
    text(w, "kind", slice_str(result_kind_text(x->kind)));
    text(w, "outcome", slice_str(result_verdict_text(x->verdict)));
    text(w, "message", x->message.p ? x->message : SLICE(""));
    number(w, "seconds", x->seconds);
    text(w, "failure", x->failure);
    text(w, "fault_pod", x->n_faults ? x->fault[0].pod : SLICE(""));
    text(w, "fault_command", x->n_faults ? x->fault[0].command : SLICE(""));
    JW_KEY(w, "faults");
    jw_arr(w);
    for (uint32_t i = 0; i < x->n_faults; i++) {
        jw_obj(w);
        time_of(w, "time", x->fault[i].time_ns);
        text(w, "pod", x->fault[i].pod);
        text(w, "command", x->fault[i].command);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    time_of(w, "start", x->start_ns);
    time_of(w, "ready", x->ready_ns);
    time_of(w, "fault", x->fault_ns);
    time_of(w, "end", x->end_ns);
    number(w, "startup_s", x->startup);
    number(w, "recovery_s", x->recovery);
    load(w, x);
    phases(w, x);
    components(w, x);
    requests(w, "slowest", x->slow, x->n_slow);
    requests(w, "failed_requests", x->failed, x->n_failed);
    logs(w, x);
    cases(w, x);
    count(w, "unreadable", x->unreadable);
    JW_KEY(w, "notes");
    jw_arr(w);
    for (uint32_t i = 0; i < x->n_notes; i++)
        jw_str(w, x->note[i]);
    jw_arr_end(w);
    jw_obj_end(w);
}

void report_json(const struct results *r, const struct results_options *o, struct buf *out)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    text(&w, "path", r->path);
    count(&w, "missed_targets", results_misses(r, o, NULL));
    JW_KEY(&w, "results");
    jw_arr(&w);
    for (uint32_t i = 0; i < r->n; i++)
        one(&w, &r->item[i]);
    jw_arr_end(&w);
    jw_obj_end(&w);
    buf_char(out, '\n');
}
