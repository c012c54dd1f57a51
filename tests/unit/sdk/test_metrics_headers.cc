// The headers of metrics compile as C++17 without a warning, alone and first.
#include <cstdlib>
#include <cstring>
#include <sonde/meter.h>

extern "C" int metrics_in_c(sonde_registry *r);
extern "C" int meters_in_c(sonde_meter_provider *p);

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
    sonde_meter_provider_options po{};
    po.is_private = true;
    sonde_meter_provider *p = sonde_meter_provider_new(&po);
    sonde_scope scope{};
    scope.name = "cc";
    sonde_instrument_options io{};
    io.name = "in.cc";
    const sonde_field a[] = {SONDE_FIELD(SONDE_STR("k", "v")), SONDE_FIELD(SONDE_BOOL("b", true))};
    sonde_instrument_add(sonde_instrument_new(sonde_meter_get(p, &scope), SONDE_INSTRUMENT_UPDOWN_COUNTER, &io), -2, a, 2);
    sonde_meter_page_options page_options{};
    page_options.no_scope_labels = page_options.no_target_info = true;
    ok = ok && meters_in_c(p) && (page = sonde_meter_text(p, &page_options, SONDE_EXPOSITION_TEXT, nullptr));
    ok = ok && std::strstr(page, "in_c_total{k=\"v\",n=\"1\"} 2\n") && std::strstr(page, "in_cc{b=\"true\",k=\"v\"} -2\n");
    std::free(page);
    sonde_meter_provider_free(p);
    return ok ? 0 : 1;
}
