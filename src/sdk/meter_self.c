// libsonde's own metrics by the semantic conventions of OpenTelemetry SDKs: otel.sdk.*.
#include "sdk/meter.h"
#include "sdk/meter_counts.h"
#include "sdk/sdk.h"
#include <stdio.h>

struct meter_counts meter_counts;

enum row {
    SPAN_STARTED,
    SPAN_LIVE,
    LOG_CREATED,
    QUEUE_SIZE, // from here on each for spans and log records
    QUEUE_CAPACITY,
    PROCESSED,
    INFLIGHT, // also for data points
    EXPORTED,
    ROWS
};
static const struct {
    const char *name, *unit, *description; // %s: span, log, metric_data_point
    enum sonde_instrument_kind kind;
    uint8_t first, end; // signals; end 0: no signal in the name
} rows[ROWS] = {
    [SPAN_STARTED] = {"otel.sdk.span.started", "{span}", "The number of created spans", SONDE_INSTRUMENT_ASYNC_COUNTER, 0, 0},
    [SPAN_LIVE] = {"otel.sdk.span.live", "{span}",
                   "The number of created spans for which the end operation has not been called yet",
                   SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER, 0, 0},
    [LOG_CREATED] = {"otel.sdk.log.created", "{log_record}", "The number of logs submitted to enabled SDK Loggers",
                     SONDE_INSTRUMENT_ASYNC_COUNTER, 0, 0},
    [QUEUE_SIZE] = {"otel.sdk.processor.%s.queue.size", NULL,
                    "The number of items in the queue of a given instance of an SDK processor",
                    SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER, EXPORT_TRACES, EXPORT_METRICS},
    [QUEUE_CAPACITY] = {"otel.sdk.processor.%s.queue.capacity", NULL,
                        "The maximum number of items the queue of a given instance of an SDK processor can hold",
                        SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER, EXPORT_TRACES, EXPORT_METRICS},
    [PROCESSED] = {"otel.sdk.processor.%s.processed", NULL,
                   "The number of items for which the processing has finished, either successful or failed",
                   SONDE_INSTRUMENT_ASYNC_COUNTER, EXPORT_TRACES, EXPORT_METRICS},
    [INFLIGHT] = {"otel.sdk.exporter.%s.inflight", NULL,
                  "The number of items which were passed to the exporter, but that have not been "
                  "exported yet",
                  SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER, EXPORT_TRACES, EXPORT_SIGNALS},
    [EXPORTED] = {"otel.sdk.exporter.%s.exported", NULL,
                  "The number of items for which the export has finished, either successful or failed",
                  SONDE_INSTRUMENT_ASYNC_COUNTER, EXPORT_TRACES, EXPORT_SIGNALS},
};
static const char *const item[] = {"span", "log", "metric_data_point"};
static const char *const item_unit[] = {"{span}", "{log_record}", "{data_point}"};
static const char *const processor[] = {"batching_span_processor", "batching_log_processor"};
static const char *const exporter[] = {"otlp_span_exporter", "otlp_log_exporter", "otlp_metric_exporter"};

struct self {
    struct sonde_instrument *i[ROWS][EXPORT_SIGNALS];
};
static _Atomic(struct sonde_instrument *) operation_time, collection_time; // of the provider that asked first

static void observe_signal(struct self *s, struct sonde_observer *o, enum export_signal g)
{
    struct export_stats x = {0};
    export_stats(g, &x);
    if (!x.on)
        return;
    const char *component = g < EXPORT_METRICS ? processor[g] : "", *to = exporter[g];
    struct sonde_field p[] = {SONDE_FIELD(SONDE_STR("otel.component.type", component)),
                              SONDE_FIELD(SONDE_STR("otel.component.name", "sonde")),
                              SONDE_FIELD(SONDE_STR("error.type", "queue_full"))};
    struct sonde_field e[] = {SONDE_FIELD(SONDE_STR("otel.component.type", to)),
                              SONDE_FIELD(SONDE_STR("otel.component.name", "sonde")), SONDE_FIELD(SONDE_STR("error.type", ""))};
    sonde_observe(o, s->i[QUEUE_SIZE][g], (int64_t)x.queue_size, p, 2);
    sonde_observe(o, s->i[QUEUE_CAPACITY][g], (int64_t)x.queue_capacity, p, 2);
    sonde_observe(o, s->i[PROCESSED][g], (int64_t)x.processed, p, 2);
    if (x.failed[EXPORT_QUEUE_FULL])
        sonde_observe(o, s->i[PROCESSED][g], (int64_t)x.failed[EXPORT_QUEUE_FULL], p, 3);
    sonde_observe(o, s->i[INFLIGHT][g], (int64_t)x.inflight, e, 2);
    sonde_observe(o, s->i[EXPORTED][g], (int64_t)x.exported, e, 2);
    for (int f = EXPORT_QUEUE_FULL + 1; f < EXPORT_FAILURES; f++) {
        const char *why = export_failure_text((enum export_failure)f);
        e[2] = (struct sonde_field)SONDE_FIELD(SONDE_STR("error.type", why));
        if (x.failed[f])
            sonde_observe(o, s->i[EXPORTED][g], (int64_t)x.failed[f], e, 3);
    }
}

static void observe(void *arg, struct sonde_observer *o)
{
    struct self *s = arg;
    uint64_t ended = atomic_load_explicit(&meter_counts.spans_ended, memory_order_relaxed);
    uint64_t started = atomic_load_explicit(&meter_counts.spans_started, memory_order_relaxed);
    sonde_observe(o, s->i[SPAN_STARTED][0], (int64_t)started, NULL, 0);
    sonde_observe(o, s->i[SPAN_LIVE][0], started > ended ? (int64_t)(started - ended) : 0, NULL, 0);
    sonde_observe(o, s->i[LOG_CREATED][0], (int64_t)atomic_load_explicit(&meter_counts.logs_created, memory_order_relaxed), NULL,
                  0);
    for (int g = EXPORT_TRACES; g < EXPORT_SIGNALS; g++)
        observe_signal(s, o, (enum export_signal)g);
}

static struct sonde_instrument *seconds(struct sonde_meter *m, const char *name, const char *description)
{
    static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    return sonde_instrument_new(m, SONDE_INSTRUMENT_HISTOGRAM,
                                &(struct sonde_instrument_options){.name = name,
                                                                   .unit = "s",
                                                                   .description = description,
                                                                   .f64 = true,
                                                                   .bounds = bounds,
                                                                   .n_bounds = sizeof bounds / sizeof *bounds});
}

static bool instruments_make(struct sonde_meter *m, struct self *s)
{
    bool ok = true;
    for (int r = 0; r < ROWS; r++)
        for (int g = rows[r].first; g < (rows[r].end ? rows[r].end : 1); g++) {
            char name[96];
            const char *place = strstr(rows[r].name, "%s");
            int before = place ? (int)(place - rows[r].name) : (int)strlen(rows[r].name);
            snprintf(name, sizeof name, "%.*s%s%s", before, rows[r].name, place ? item[g] : "", place ? place + 2 : "");
            s->i[r][g] = sonde_instrument_new(
                m, rows[r].kind,
                &(struct sonde_instrument_options){
                    .name = name, .unit = rows[r].unit ? rows[r].unit : item_unit[g], .description = rows[r].description});
            ok = ok && s->i[r][g];
        }
    return ok;
}

bool sonde_meter_provider_add_self(struct sonde_meter_provider *p)
{
    p = p ? p : sonde_meter_provider_default();
    struct sonde_meter *m = sonde_meter_get(p, &(struct sonde_scope){.name = "sonde"});
    if (!m)
        return false;
    pthread_mutex_lock(&p->lock);
    struct self *s = p->self ? NULL : ARENA_NEW(&p->arena, struct self);
    bool before = p->self;
    p->self = true;
    pthread_mutex_unlock(&p->lock);
    if (before)
        return true;
    if (!s || !instruments_make(m, s))
        return false;
    struct sonde_instrument *none = NULL;
    struct sonde_instrument *operation =
        seconds(m, "otel.sdk.exporter.operation.duration", "The duration of exporting a batch of telemetry records");
    struct sonde_instrument *collection =
        seconds(m, "otel.sdk.metric_reader.collection.duration", "The duration of the collect operation of the metric reader");
    if (atomic_compare_exchange_strong(&operation_time, &none, operation))
        atomic_store(&collection_time, collection);
    return sonde_instrument_callback(s->i[SPAN_STARTED][0], observe, s);
}

void meter_self_gone(struct sonde_meter_provider *p)
{
    struct sonde_instrument *i = atomic_load(&operation_time);
    if (i && i->meter->provider == p) {
        atomic_store(&operation_time, NULL);
        atomic_store(&collection_time, NULL);
    }
}

void meter_self_operation(enum export_signal signal, int64_t ns, bool ok)
{
    struct sonde_instrument *i = atomic_load_explicit(&operation_time, memory_order_acquire);
    const char *to = signal < EXPORT_SIGNALS ? exporter[signal] : "";
    struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("otel.component.type", to)),
                              SONDE_FIELD(SONDE_STR("otel.component.name", "sonde")),
                              SONDE_FIELD(SONDE_STR("error.type", "_OTHER"))};
    sonde_instrument_add_f64(i, (double)ns * 1e-9, f, ok ? 2 : 3);
}

void meter_self_collection(int64_t ns)
{
    struct sonde_field f[] = {SONDE_FIELD(SONDE_STR("otel.component.type", "periodic_metric_reader")),
                              SONDE_FIELD(SONDE_STR("otel.component.name", "sonde"))};
    sonde_instrument_add_f64(atomic_load_explicit(&collection_time, memory_order_acquire), (double)ns * 1e-9, f, 2);
}
