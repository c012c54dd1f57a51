// The header of metrics compiles as strict C17 without a warning.
#include <sonde/metrics.h>

int metrics_in_c(struct sonde_registry *r);
int metrics_in_c(struct sonde_registry *r)
{
    static const char *const names[] = {"a"};
    struct sonde_metric_error err;
    struct sonde_metric_options o = {.name = "seconds", .label_names = names, .n_label_names = 1};
    sonde_histogram_observe(sonde_histogram_vec_with(sonde_histogram_vec_new(r, &o, &err), SONDE_VALUES("b")), 0.5);
    return err.code == SONDE_METRIC_OK && !sonde_native_histogram_new(r, &o, &err) && err.code == SONDE_METRIC_LABELS_UNEXPECTED;
}
