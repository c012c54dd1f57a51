// The flight recorder: DEBUG is kept in the ring and costs no output; when a request fails, what it had said comes out after all.
// flight FILE writes everything that is held into FILE at the end.
#include <sonde/sonde.h>
#include <stdio.h>

static void request(int i)
{
    struct sonde_context fresh = {.flags = 1}; // a trace of its own
    struct sonde_span *span = sonde_span_start("request", SONDE_KIND_SERVER, &fresh);
    sonde_span_enter(span);
    SONDE_DEBUG("queued", SONDE_INT("request", i));
    SONDE_DEBUG("prefill", SONDE_INT("request", i), SONDE_INT("tokens", 100 * i));
    if (i == 2)
        SONDE_ERROR("out of blocks", SONDE_INT("request", i)); // before it: its two DEBUG records, marked retro
    sonde_span_exit(span);
    sonde_span_end(span);
}

int main(int argc, char **argv)
{
    sonde_init(&(struct sonde_options){.service = "flight"});
    for (int i = 1; i <= 3; i++)
        request(i);
    if (argc > 1 && !sonde_flight_dump(argv[1])) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
