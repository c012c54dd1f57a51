// For tests of meters: an exporter that turns what it gets into lines "scope name unit kind temporality {a=1} value", sorted as
// they come.
#pragma once
#include "base/buf.h"
#include "check.h"
#include "sdk/meter.h"
#include <stdlib.h>
#include <unistd.h>

struct dump {
    struct buf text;
    atomic_size_t batches; // what tests read while the reader runs is atomic
    size_t points, largest;
    bool times, extremes; // start and time in the lines; nothing but count, smallest and largest value
    unsigned limit_ms;
    atomic_uint sleep_ms, flushes, shutdowns;
    atomic_bool fail;
    atomic_int inside, overlapped;
    int64_t start, time; // of the last point
};

static void dump_attributes(struct buf *b, const struct sonde_field *f, size_t n)
{
    buf_char(b, '{');
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s%s=", i ? "," : "", f[i].key);
        if (f[i].type == SONDE_TYPE_STR)
            buf_put(b, f[i].arg.value.s, f[i].arg.n);
        else if (f[i].type == SONDE_TYPE_F64)
            buf_f64(b, f[i].arg.value.f);
        else if (f[i].type == SONDE_TYPE_BOOL)
            buf_str(b, f[i].arg.value.u ? "true" : "false");
        else
            buf_i64(b, f[i].arg.value.i);
    }
    buf_char(b, '}');
}

static void dump_side(struct buf *b, const char *name, const struct sonde_buckets_f *s)
{
    if (s->n == 0)
        return;
    buf_printf(b, " %s%d", name, s->offset);
    for (size_t i = 0; i < s->n; i++)
        buf_printf(b, "%c%llu", i ? ',' : ':', (unsigned long long)s->counts[i]);
}

static void dump_point(struct dump *d, const struct sonde_metric_data *m, const struct sonde_point *p)
{
    static const char *const kinds[] = {"", "gauge", "sum", "histogram", "exponential"};
    struct buf *b = &d->text;
    if (d->extremes) {
        buf_printf(b, p->has_min_max ? "%s %llu %g %g\n" : "%s %llu\n", m->name, (unsigned long long)p->count, p->min, p->max);
        return;
    }
    buf_printf(b, "%s %s [%s] %s%s%s ", m->scope->name, m->name, m->unit, kinds[m->kind],
               m->monotonic && m->kind == SONDE_DATA_SUM ? "+" : "",
               m->kind == SONDE_DATA_GAUGE                 ? ""
               : m->temporality == SONDE_TEMPORALITY_DELTA ? " delta"
                                                           : " total");
    dump_attributes(b, p->attributes, p->n_attributes);
    buf_char(b, ' ');
    if (m->kind == SONDE_DATA_HISTOGRAM) {
        buf_printf(b, "%llu/", (unsigned long long)p->count);
        buf_f64(b, p->sum);
        for (size_t i = 0; i <= m->n_bounds; i++) {
            if (!p->counts[i])
                continue;
            buf_str(b, " <=");
            buf_f64(b, i < m->n_bounds ? m->bounds[i] : __builtin_inf());
            buf_printf(b, ":%llu", (unsigned long long)p->counts[i]);
        }
    } else if (m->kind == SONDE_DATA_EXPONENTIAL) {
        buf_printf(b, "%llu/", (unsigned long long)p->count);
        buf_f64(b, p->sum);
        buf_printf(b, " scale %d zero %llu", p->scale, (unsigned long long)p->zero);
        dump_side(b, "+", &p->positive);
        dump_side(b, "-", &p->negative);
    } else if (m->f64) {
        buf_f64(b, p->f);
    } else {
        buf_i64(b, p->i);
    }
    for (size_t i = 0; i < p->n_exemplars; i++) {
        buf_str(b, " ~");
        buf_f64(b, p->exemplars[i].value);
        if (p->exemplars[i].has_span)
            buf_str(b, "@span");
        if (p->exemplars[i].n_attributes)
            dump_attributes(b, p->exemplars[i].attributes, p->exemplars[i].n_attributes);
    }
    buf_char(b, '\n');
    d->start = p->start_ns;
    d->time = p->time_ns;
}

__attribute__((unused)) static bool dump_export(void *arg, const struct sonde_metrics *batch, unsigned limit_ms)
{
    struct dump *d = arg;
    if (atomic_fetch_add(&d->inside, 1) > 0)
        atomic_store(&d->overlapped, 1);
    for (size_t i = 0; i < batch->n; i++)
        for (size_t k = 0; k < batch->metrics[i].n_points; k++)
            dump_point(d, &batch->metrics[i], &batch->metrics[i].points[k]);
    d->batches++;
    d->points += batch->n_points;
    d->largest = batch->n_points > d->largest ? batch->n_points : d->largest;
    d->limit_ms = limit_ms;
    if (d->sleep_ms)
        usleep(d->sleep_ms * 1000);
    atomic_fetch_sub(&d->inside, 1);
    return !d->fail;
}
__attribute__((unused)) static bool dump_flush(void *arg, unsigned limit_ms)
{
    (void)limit_ms;
    ((struct dump *)arg)->flushes++;
    return !((struct dump *)arg)->fail;
}
__attribute__((unused)) static bool dump_shutdown(void *arg, unsigned limit_ms)
{
    (void)limit_ms;
    ((struct dump *)arg)->shutdowns++;
    return !((struct dump *)arg)->fail;
}

__attribute__((unused)) static struct sonde_reader *dump_reader(struct sonde_meter_provider *p, struct dump *d,
                                                                struct sonde_reader_options o)
{
    memset(d, 0, sizeof *d);
    buf_init(&d->text, 1 << 20);
    o.export_batch = dump_export;
    o.flush = dump_flush;
    o.shutdown = dump_shutdown;
    o.arg = d;
    return sonde_reader_new(p, &o);
}

// Collects and compares the lines; "" for none.
__attribute__((unused)) static void dump_is(struct sonde_reader *r, struct dump *d, const char *want)
{
    buf_reset(&d->text);
    CHECK(sonde_reader_collect(r, 10000) == !d->fail);
    CHECK_STR(buf_slice(&d->text), want);
}
#define ATTRS(...) \
    ((const struct sonde_field[]){__VA_ARGS__}), sizeof((const struct sonde_field[]){__VA_ARGS__}) / sizeof(struct sonde_field)
#define A(key, value) SONDE_FIELD(SONDE_STR(key, value))
#define I(key, value) SONDE_FIELD(SONDE_INT(key, value))
