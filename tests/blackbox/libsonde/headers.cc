// The public headers and macros as C++17, alone in a program.
#include <sonde/sonde.h>
#include <string>
#include <vector>

int main()
{
    sonde_options options{};
    options.service = "cxx";
    sonde_init(&options);
    std::string worker = "w-1";
    SONDE_INFO("from C++", SONDE_STR("worker", worker.c_str()), SONDE_INT("n", 1), SONDE_F64("f", 0.5), SONDE_BOOL("b", true));
    SONDE_INFO("empty", SONDE_KV("text", std::string()), SONDE_KV("list", std::vector<double>()));
    sonde_span *span = sonde_span_start("work", SONDE_KIND_SERVER, nullptr);
    sonde_span_enter(span);
    SONDE_WARN("in a span");
    sonde_span_exit(span);
    sonde_span_end(span);
    return sonde_shutdown(2000) ? 0 : 1;
}
