// The header of metrics compiles as C++17 without a warning, alone and first.
#include <cstdlib>
#include <cstring>
#include <sonde/metrics.h>

extern "C" int metrics_in_c(sonde_registry *r);

int main()
{
    sonde_registry *r = sonde_registry_new("app_");
    sonde_metric_options o{};
    const char *const names[] = {"status"}, *const values[] = {"ok"};
    o.name = "requests_total";
    o.label_names = names;
    o.n_label_names = 1;
    sonde_int_counter_add(sonde_int_counter_vec_with(sonde_int_counter_vec_new(r, &o, nullptr), values, 1), 2);
    int ok = metrics_in_c(r);
    char *page = sonde_registry_text(r, sonde_exposition_negotiate("*/*"), nullptr);
    ok = ok && page && std::strstr(page, "app_requests_total{status=\"ok\"} 2\n") &&
         std::strstr(page, "app_seconds_count{a=\"b\"} 1\n");
    std::free(page);
    sonde_registry_free(r);
    return ok ? 0 : 1;
}
