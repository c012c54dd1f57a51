// The smallest program: a few records, fields of several types, and a span whose ids the records inside of it carry.
#include <errno.h>
#include <sonde/sonde.h>

int main(void)
{
    sonde_init(&(struct sonde_options){.service = "hello"});
    SONDE_INFO("worker ready", SONDE_KV("worker", "w-1"), SONDE_KV("slots", 8), SONDE_KV("load", 0.25));
    SONDE_DEBUG("not shown: the filter is info", SONDE_INT("n", 1));

    struct sonde_span *span = sonde_span_start("handle", SONDE_KIND_SERVER, NULL);
    sonde_span_enter(span);
    SONDE_WARN("peer lost", SONDE_ERRNO("error", ECONNREFUSED), SONDE_DUR("after", 1250000));
    SONDE_INFOF("loaded %s in %d ms", SONDE_ARGS("model.bin", 42), SONDE_KV("gpu", 0));
    sonde_span_exit(span);
    sonde_span_end(span);
    return sonde_shutdown(2000) ? 0 : 1; // happens at exit by itself, too
}
