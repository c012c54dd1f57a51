#include "load_stats.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void samples_add(struct samples *s, double v)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        double *p = realloc(s->v, cap * sizeof *p);
        if (!p)
            return;
        s->v = p;
        s->cap = cap;
    }
    s->v[s->n++] = v;
    s->sorted = false;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double samples_quantile(struct samples *s, double q)
{
    if (s->n == 0)
        return NAN;
    if (!s->sorted)
        qsort(s->v, s->n, sizeof *s->v, ascending);
    s->sorted = true;
    size_t rank = (size_t)ceil(q * (double)s->n);
    return s->v[rank ? rank - 1 : 0];
}

double samples_mean(const struct samples *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->v[i];
    return s->n ? sum / (double)s->n : NAN;
}

void stats_error(struct load_stats *s, const char *kind)
{
    size_t i = 0;
    while (i < s->n_kinds && strcmp(s->kinds[i].name, kind) != 0)
        i++;
    if (i == s->n_kinds) {
        if (s->n_kinds == MAX_KINDS)
            i--; // the last one gathers the rest
        else
            snprintf(s->kinds[s->n_kinds++].name, sizeof s->kinds[0].name, "%s", kind);
    }
    s->kinds[i].n++;
    s->failed++;
}

static void text_row(struct buf *out, const char *name, struct samples *s)
{
    if (s->n)
        buf_printf(out, "%-12s %9.2f %9.2f %9.2f %9.2f %9.2f  (%zu)\n", name, samples_quantile(s, .5), samples_quantile(s, .9),
                   samples_quantile(s, .99), samples_quantile(s, 1), samples_mean(s), s->n);
    else
        buf_printf(out, "%-12s %9s\n", name, "none");
}

void stats_text(struct load_stats *s, struct buf *out)
{
    buf_printf(out,
               "%" PRId64 " requests in %.1f s (%.1f/s): %" PRId64 " answered, %" PRId64 " failed, %" PRId64
               " unfinished; %" PRId64 " streamed, %.0f output tokens/s\n",
               s->sent, s->seconds, s->seconds > 0 ? (double)s->sent / s->seconds : 0, s->ok, s->failed,
               s->sent - s->ok - s->failed, s->streamed, s->seconds > 0 ? (double)s->output_tokens / s->seconds : 0);
    buf_printf(out, "%-12s %9s %9s %9s %9s %9s\n", "ms", "p50", "p90", "p99", "max", "mean");
    text_row(out, "TTFT", &s->ttft_ms);
    text_row(out, "ITL", &s->itl_ms);
    text_row(out, "end to end", &s->e2e_ms);
    for (size_t i = 0; i < s->n_kinds; i++)
        buf_printf(out, "error %-40s %" PRId64 "\n", s->kinds[i].name, s->kinds[i].n);
    for (int f = 1; f < FAULT_COUNT; f++)
        if (s->fault_sent[f])
            buf_printf(out, "fault %-40s %" PRId64 " sent, %" PRId64 " failed\n", fault_names[f], s->fault_sent[f],
                       s->fault_failed[f]);
}

static void put_int(struct jw *w, const char *key, int64_t v)
{
    jw_key(w, slice_str(key));
    jw_i64(w, v);
}

static void put_f64(struct jw *w, const char *key, double v)
{
    jw_key(w, slice_str(key));
    jw_f64(w, isnan(v) ? v : round(v * 1000) / 1000);
}

static void put_samples(struct jw *w, const char *key, struct samples *s)
{
    jw_key(w, slice_str(key));
    jw_obj(w);
    put_int(w, "count", (int64_t)s->n);
    put_f64(w, "p50", samples_quantile(s, .5));
    put_f64(w, "p90", samples_quantile(s, .9));
    put_f64(w, "p99", samples_quantile(s, .99));
    put_f64(w, "max", samples_quantile(s, 1));
    put_f64(w, "mean", samples_mean(s));
    jw_obj_end(w);
}

void stats_json(struct load_stats *s, struct buf *out)
{
    struct jw w = jw_to(out);
    jw_obj(&w);
    put_int(&w, "sent", s->sent);
    put_int(&w, "ok", s->ok);
    put_int(&w, "failed", s->failed);
    put_int(&w, "unfinished", s->sent - s->ok - s->failed);
    put_int(&w, "streamed", s->streamed);
    put_int(&w, "input_tokens", s->input_tokens);
    put_int(&w, "output_tokens", s->output_tokens);
    put_f64(&w, "seconds", s->seconds);
    put_f64(&w, "rate", s->seconds > 0 ? (double)s->sent / s->seconds : 0);
    put_samples(&w, "ttft_ms", &s->ttft_ms);
    put_samples(&w, "itl_ms", &s->itl_ms);
    put_samples(&w, "e2e_ms", &s->e2e_ms);
    JW_KEY(&w, "errors");
    jw_obj(&w);
    for (size_t i = 0; i < s->n_kinds; i++)
        put_int(&w, s->kinds[i].name, s->kinds[i].n);
    jw_obj_end(&w);
    JW_KEY(&w, "faults");
    jw_obj(&w);
    for (int f = 1; f < FAULT_COUNT; f++)
        if (s->fault_sent[f]) {
            jw_key(&w, slice_str(fault_names[f]));
            jw_obj(&w);
            put_int(&w, "sent", s->fault_sent[f]);
            put_int(&w, "failed", s->fault_failed[f]);
            jw_obj_end(&w);
        }
    jw_obj_end(&w);
    jw_obj_end(&w);
    buf_char(out, '\n');
}

void stats_free(struct load_stats *s)
{
    free(s->ttft_ms.v);
    free(s->itl_ms.v);
    free(s->e2e_ms.v);
}
