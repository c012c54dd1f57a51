// The headers of metrics compile as strict C without a warning.
#include <sonde/meter.h>

int metrics_in_c(struct sonde_registry *r);
int metrics_in_c(struct sonde_registry *r)
{
    static const char *const names[] = {"a"};
    struct sonde_metric_error err;
    struct sonde_metric_options o = {.name = "seconds", .label_names = names, .n_label_names = 1};
    sonde_histogram_observe(sonde_histogram_vec_with(sonde_histogram_vec_new(r, &o, &err), SONDE_VALUES("b")), 0.5);
    return err.code == SONDE_METRIC_OK && !sonde_native_histogram_new(r, &o, &err) && err.code == SONDE_METRIC_LABELS_UNEXPECTED;
}

int meters_in_c(struct sonde_meter_provider *p);
int meters_in_c(struct sonde_meter_provider *p)
{
    struct sonde_meter *m = sonde_meter_get(p, &(struct sonde_scope){.name = "c"});
    struct sonde_instrument_options o = {.name = "in.c"};
    struct sonde_field a[] = {SONDE_FIELD(SONDE_STR("k", "v")), SONDE_FIELD(SONDE_INT("n", 1))};
    struct sonde_instrument *c = sonde_instrument_new(m, SONDE_INSTRUMENT_COUNTER, &o);
    sonde_bound_add(sonde_instrument_bind(c, a, 2), 2);
    return sonde_instrument_enabled(c);
}
