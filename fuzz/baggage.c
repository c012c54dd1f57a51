// A baggage header as it comes from any client: what was read is printed and read again to the same.
#include <sonde/sonde.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[8193], again[8193];
    struct sonde_baggage *a = sonde_baggage_new(), *b = sonde_baggage_new();
    struct sonde_baggage_member m, n;
    sonde_baggage_parse(a, (const char *)data, size);
    if (sonde_baggage_count(a) > 64)
        abort();
    size_t length = sonde_baggage_print(a, out, sizeof out);
    if (length > 8192 || !sonde_baggage_parse(b, out, length))
        abort();
    if (length != sonde_baggage_print(b, again, sizeof again) || memcmp(out, again, length) != 0)
        abort();
    for (size_t i = 0; sonde_baggage_at(b, i, &m) && sonde_baggage_count(a) == sonde_baggage_count(b); i++)
        if (!sonde_baggage_at(a, i, &n) || strcmp(m.name, n.name) != 0 || strcmp(m.value, n.value) != 0)
            abort();
    sonde_baggage_free(a);
    sonde_baggage_free(b);
    return 0;
}
