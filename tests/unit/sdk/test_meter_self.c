// The library's own metrics otel.sdk.* (O1-O17): fed with what the exporter would say.
#include "meter_dump.h"
#include "sdk/meter_counts.h"
#include "sdk/meter_otlp.h"
#include "sdk/sdk.h"

static bool drop(void *arg, struct slice request, size_t points)
{
    (void)arg;
    (void)request;
    (void)points;
    return true;
}

// Every name with its unit and kind, and the values that this process itself makes. Nothing is exported: the rows of processors
// and exporters are there, without points.
static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *unit;
        enum sonde_instrument_kind kind;
    } rows[] = {
        {"otel.sdk.span.started", "{span}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.span.live", "{span}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.processor.span.queue.size", "{span}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.processor.span.queue.capacity", "{span}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.processor.span.processed", "{span}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.exporter.span.inflight", "{span}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.exporter.span.exported", "{span}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.log.created", "{log_record}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.processor.log.queue.size", "{log_record}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.processor.log.queue.capacity", "{log_record}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.processor.log.processed", "{log_record}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.exporter.log.inflight", "{log_record}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.exporter.log.exported", "{log_record}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.exporter.metric_data_point.inflight", "{data_point}", SONDE_INSTRUMENT_ASYNC_UPDOWN_COUNTER},
        {"otel.sdk.exporter.metric_data_point.exported", "{data_point}", SONDE_INSTRUMENT_ASYNC_COUNTER},
        {"otel.sdk.metric_reader.collection.duration", "s", SONDE_INSTRUMENT_HISTOGRAM},
        {"otel.sdk.exporter.operation.duration", "s", SONDE_INSTRUMENT_HISTOGRAM},
    };
    struct sonde_meter_provider *p = sonde_meter_provider_new(&(struct sonde_meter_provider_options){.is_private = true});
    CHECK(sonde_meter_provider_add_self(p) && sonde_meter_provider_add_self(p)); // the second time nothing new
    struct sonde_meter *m = sonde_meter_get(p, &(struct sonde_scope){.name = "sonde"});
    size_t n = 0;
    for (struct sonde_instrument *i = m->first; i; i = i->next)
        n++;
    CHECK(n == CHECK_ROWS(rows));
    for (size_t k = 0; k < CHECK_ROWS(rows); k++) {
        struct sonde_instrument *i = m->first;
        check_row("%s", rows[k].name);
        while (i && strcmp(i->name, rows[k].name) != 0)
            i = i->next;
        CHECK(i && i->kind == rows[k].kind && strcmp(i->unit, rows[k].unit) == 0 && *i->description);
    }
    sonde_meter_provider_free(p);
    check_done();
}

static int64_t line_value(const struct dump *d, const char *start)
{
    char *at = d->text.p ? strstr(d->text.p, start) : NULL;
    return at ? strtoll(at + strlen(start), NULL, 10) : -1;
}

static void values(void **state)
{
    (void)state;
    struct dump d;
    setenv("OTEL_EXPORT_ENABLED", "true", 1); // to nobody: a closed port
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", 1);
    setenv("OTEL_METRICS_EXPORTER", "otlp", 1);
    setenv("OTEL_BSP_MAX_QUEUE_SIZE", "77", 1);
    setenv("SONDE_RING_BYTES", "0", 1);
    sonde_init(NULL);
    struct sonde_meter_provider *p = sonde_meter_provider_new(&(struct sonde_meter_provider_options){.is_private = true});
    struct sonde_reader *r = dump_reader(p, &d, (struct sonde_reader_options){0});
    CHECK(sonde_meter_provider_add_self(p));
    struct sonde_span *open = sonde_span_start("open", SONDE_KIND_INTERNAL, NULL);
    for (int i = 0; i < 3; i++)
        sonde_span_end(sonde_span_start("s", SONDE_KIND_INTERNAL, NULL));
    SONDE_WARN("one");
    sonde_flush(300);
    struct meter_otlp *o = meter_otlp_new();
    CHECK(meter_otlp_collect(o, SLICE_NONE, 0, drop, NULL, NULL) == ERR_OK); // a collection that takes its time
    meter_otlp_free(o);
    buf_reset(&d.text);
    CHECK(sonde_reader_collect(r, 10000));
    buf_char(&d.text, 0);
    CHECK_INT(line_value(&d, "sonde otel.sdk.span.started [{span}] sum+ total {} "), 4);
    CHECK_INT(line_value(&d, "sonde otel.sdk.span.live [{span}] sum total {} "), 1);
    CHECK(line_value(&d, "sonde otel.sdk.log.created [{log_record}] sum+ total {} ") >= 1);
#define BSP "{otel.component.name=sonde,otel.component.type=batching_span_processor} "
#define OSE "{otel.component.name=sonde,otel.component.type=otlp_span_exporter} "
    CHECK_INT(line_value(&d, "sonde otel.sdk.processor.span.queue.capacity [{span}] sum total " BSP), 77);
    CHECK_INT(line_value(&d, "sonde otel.sdk.processor.span.processed [{span}] sum+ total " BSP), 3);
    CHECK(line_value(&d, "sonde otel.sdk.processor.span.queue.size [{span}] sum total " BSP) >= 0);
    CHECK(line_value(&d, "sonde otel.sdk.exporter.span.inflight [{span}] sum total " OSE) >= 0);
    CHECK_INT(line_value(&d, "sonde otel.sdk.exporter.span.exported [{span}] sum+ total " OSE), 0);
#define BLP "{otel.component.name=sonde,otel.component.type=batching_log_processor} "
#define OLE "{otel.component.name=sonde,otel.component.type=otlp_log_exporter} "
    CHECK(line_value(&d, "sonde otel.sdk.processor.log.queue.size [{log_record}] sum total " BLP) >= 0);
    CHECK(line_value(&d, "sonde otel.sdk.processor.log.queue.capacity [{log_record}] sum total " BLP) > 0);
    CHECK(line_value(&d, "sonde otel.sdk.processor.log.processed [{log_record}] sum+ total " BLP) >= 1);
    CHECK(line_value(&d, "sonde otel.sdk.exporter.log.inflight [{log_record}] sum total " OLE) >= 0);
    CHECK_INT(line_value(&d, "sonde otel.sdk.exporter.log.exported [{log_record}] sum+ total " OLE), 0);
#define MDE "{otel.component.name=sonde,otel.component.type=otlp_metric_exporter} "
    CHECK(line_value(&d, "sonde otel.sdk.exporter.metric_data_point.inflight [{data_point}] sum total " MDE) >= 0);
    CHECK_INT(line_value(&d, "sonde otel.sdk.exporter.metric_data_point.exported [{data_point}] sum+ total " MDE), 0);
    CHECK(line_value(&d, "sonde otel.sdk.metric_reader.collection.duration [s] histogram total "
                         "{otel.component.name=sonde,otel.component.type=periodic_metric_reader} ") >= 1);
    CHECK(line_value(&d, "sonde otel.sdk.exporter.operation.duration [s] histogram total "
                         "{error.type=_OTHER,otel.component.name=sonde,otel.component.type=otlp_span_exporter} ") >= 1);
    sonde_span_end(open);
    sonde_meter_provider_free(p);
    buf_free(&d.text);
    check_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
