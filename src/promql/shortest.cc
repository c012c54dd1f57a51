// Shortest digits that read back the same, by the C++ library (Ryu): answers hold numbers by the hundred thousand, and trying
// precisions one after the other takes longer than the query.
#include <charconv>

extern "C" {
#include "promql/shortest.h"
}

extern "C" int prom_shortest(double v, char out[32])
{
    std::to_chars_result r = std::to_chars(out, out + 32, v, std::chars_format::scientific);
    return r.ec == std::errc() ? static_cast<int>(r.ptr - out) : 0;
}
