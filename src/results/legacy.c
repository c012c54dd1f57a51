// Load measured by the older client: client_<n>.log.txt, a line {"time": …, "results": [{"status", "request_elapsed_time",
// "result"}]} for each request. One try succeeded if the last of its results has a choice with at least 100 characters of content
// (or reasoning_content). Counts and latencies are told before and after the fault.
#include "base/json.h"
#include "results/results_int.h"
#include "results/stamp.h"
#include "results/textfile.h"
#include <stdio.h>

enum { CONTENT_MIN = 100 };

struct sample {
    int64_t time;
    double latency;
    bool ok;
};
struct samples {
    struct sample *v;
    size_t n, cap;
};

static size_t runes(struct slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static bool answered(struct slice result, struct arena *a)
{
    static const char *const paths[] = {"choices.%d.message.content", "choices.%d.message.reasoning_content", "choices.%d.text"};
    for (int choice = 0; choice < 64; choice++) {
        char path[64];
        struct slice raw;
        snprintf(path, sizeof path, "choices.%d", choice);
        if (!result_json(result, path, a, &raw, NULL))
            return false;
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
            snprintf(path, sizeof path, paths[i], choice);
            struct slice text = result_json_text(result, path, a);
            if (!slice_eq(text, SLICE("null")) && runes(text) >= CONTENT_MIN)
                return true;
        }
    }
    return false;
}

static bool read_line(struct slice line, struct arena *a, struct sample *out, struct result_request *q)
{
    struct slice time, results, raw = SLICE_NONE, last = SLICE_NONE;
    struct stamp t;
    if (!result_json(line, "time", a, &time, NULL) || !result_json(line, "results", a, &results, NULL))
        return false;
    time = result_json_text(line, "time", a);
    if (!stamp_value(time, &t))
        return false;
    for (int i = 0; i < 1000; i++) {
        char path[24];
        snprintf(path, sizeof path, "%d", i);
        if (!result_json(results, path, a, &raw, NULL))
            break;
        last = raw;
    }
    *out = (struct sample){t.ns, NAN, false};
    *q = (struct result_request){.id = SLICE(""), .error = SLICE(""), .start_ns = t.ns, .latency = NAN, .ttft = NAN};
    if (!last.p) {
        q->error = SLICE("no result");
        return true;
    }
    double status = result_json_number(last, "status", a);
    out->latency = q->latency = result_json_number(last, "request_elapsed_time", a);
    out->ok = result_json(last, "result", a, &raw, NULL) && answered(raw, a);
    q->id = result_json_text(last, "result.id", a);
    if (!out->ok)
        q->error = isnan(status) || status == 200 ? SLICE("an answer without content") : arena_printf(a, "status %.0f", status);
    return true;
}

static bool keep(struct arena *a, struct samples *s, struct sample one)
{
    if (s->n == s->cap) {
        size_t more = s->cap ? s->cap * 2 : 256;
        struct sample *v = arena_grow(a, s->v, s->cap * sizeof *v, more * sizeof *v);
        if (!v)
            return false;
        s->v = v;
        s->cap = more;
    }
    s->v[s->n++] = one;
    return true;
}

static enum errc read_client(struct arena *a, struct result *r, const struct file *f, struct samples *all, struct tally *tally)
{
    struct slice rest, line;
    uint64_t bad = 0, number = 0, bad_at = 0;
    if (!result_text(a, r, f, RESULTS_MEMORY, &rest))
        return ERR_OK;
    r->load.told = true;
    if (rest.n == 0)
        result_note(a, r, "%.*s is empty", (int)f->name.n, f->name.p);
    result_json_lenient(rest);
    while (textfile_line(&rest, &line)) {
        struct sample s;
        struct result_request q;
        number++;
        line = slice_trim(line);
        if (line.n == 0)
            continue;
        if (!read_line(line, a, &s, &q)) {
            bad_at = bad++ ? bad_at : number;
            continue;
        }
        tally_add(tally, &q);
        if (!keep(a, all, s))
            return ERR_NOMEM;
    }
    if (bad)
        result_note(a, r, "%.*s: %llu line%s left out, no whole result (line %llu first)", (int)f->name.n, f->name.p,
                    (unsigned long long)bad, bad == 1 ? "" : "s", (unsigned long long)bad_at);
    return ERR_OK;
}

static struct result_phase phase_of(struct arena *a, const char *name, const struct samples *s, int64_t from, int64_t to,
                                    double sla)
{
    struct result_phase p = {.name = name, .latency = NAN, .deviation = NAN};
    double *v = ARENA_ARRAY(a, double, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct sample *x = &s->v[i];
        if (x->time < from || x->time >= to)
            continue;
        p.ok += x->ok;
        p.failed += !x->ok;
        if (!x->ok || isnan(x->latency))
            continue;
        p.violations += sla > 0 && x->latency > sla;
        if (v)
            v[n++] = x->latency;
    }
    if (v && n) {
        p.latency = stat_mean(v, n);
        p.deviation = stat_deviation(v, n);
    }
    return p;
}

static void add_up(struct arena *a, struct result *r, const struct samples *all)
{
    double *v = ARENA_ARRAY(a, double, all->n + 1);
    size_t n = 0;
    int64_t from = INT64_MAX, to = 0;
    for (size_t i = 0; i < all->n; i++) {
        r->load.total++;
        r->load.ok += all->v[i].ok;
        r->load.failed += !all->v[i].ok;
        from = all->v[i].time < from ? all->v[i].time : from;
        to = all->v[i].time > to ? all->v[i].time : to;
        if (v && all->v[i].ok && !isnan(all->v[i].latency))
            v[n++] = all->v[i].latency;
    }
    r->load.latency = v ? stat_mean(v, n) : NAN;
    r->load.p50 = v ? stat_percentile(v, n, 50) : NAN;
    r->load.p90 = v ? stat_percentile(v, n, 90) : NAN;
    r->load.p99 = v ? stat_percentile(v, n, 99) : NAN;
    if (to > from)
        r->load.throughput = (double)all->n / ((double)(to - from) / 1e9);
}

enum errc legacy_read(struct arena *a, struct result *r, const struct folder *f, const struct results_options *o)
{
    struct samples all = {.n = 0};
    struct tally tally = {.n_slow = 0};
    uint32_t number, n = 0;
    r->client_latency = ARENA_ARRAY(a, double, f->n + 1);
    r->client_rate = ARENA_ARRAY(a, double, f->n + 1);
    if (!r->client_latency || !r->client_rate)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < f->n; i++) {
        size_t before = all.n;
        if (memchr(f->file[i].plain.p, '/', f->file[i].plain.n) || !client_number(f->file[i].plain, &number))
            continue;
        TRY(read_client(a, r, &f->file[i], &all, &tally));
        double sum = 0, count = 0;
        for (size_t k = before; k < all.n; k++)
            if (all.v[k].ok && !isnan(all.v[k].latency)) {
                sum += all.v[k].latency;
                count++;
            }
        r->client_rate[n] = NAN;
        r->client_latency[n++] = count > 0 ? sum / count : NAN;
    }
    r->load.clients = r->n_client = n;
    add_up(a, r, &all);
    int64_t fault = r->fault_ns ? r->fault_ns : INT64_MAX;
    r->phase[r->n_phases++] = phase_of(a, "before", &all, INT64_MIN, fault, o->sla);
    if (r->fault_ns)
        r->phase[r->n_phases++] = phase_of(a, "after", &all, fault, INT64_MAX, o->sla);
    return tally_keep(a, r, &tally);
}
