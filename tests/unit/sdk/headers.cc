// The public headers compile as C++17 without a warning, and the macros work there.
#include <sonde/sonde.h>
#include <string>

extern "C" int headers_in_c(void);

static int in_cxx()
{
    std::string name = "w-1";
    sonde_init(nullptr);
    SONDE_INFO("from C++", SONDE_STR("name", name.c_str()), SONDE_STRN("part", name.data(), 1), SONDE_INT("n", -3),
               SONDE_UINT("u", 4u), SONDE_F64("f", 1.5), SONDE_BOOL("b", true));
    SONDE_WARN("no fields");
    sonde_span *span = sonde_span_start("cxx", SONDE_KIND_INTERNAL, nullptr);
    sonde_span_enter(span);
    int ids = sonde_current() != nullptr;
    sonde_span_end(span);
    return ids && SONDE_ENABLED(SONDE_LEVEL_ERROR) && !SONDE_ENABLED(SONDE_LEVEL_TRACE);
}

int main()
{
    return in_cxx() && headers_in_c() ? 0 : 1;
}
