// libsonde: JSON lines on stderr, which is the file here. Variant: jsonl.
#include "harness.h"
#include <fcntl.h>
#include <sonde/sonde.h>

static bool peer_open(const char *variant, const char *file)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (strcmp(variant, "jsonl") != 0 || fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        return false;
    close(fd);
    setenv("DYN_LOGGING_JSONL", "1", 1);
    setenv("DYN_LOG", "info", 1);
    setenv("SONDE_FLIGHT_LEVEL", "debug", 1); // TRACE is disabled, as it is for the others; else it would be held in the ring
    unsetenv("OTEL_EXPORT_ENABLED");
    struct sonde_options o = {.service = "bench-peers"};
    sonde_init(&o);
    return true;
}

static inline void peer_call(int64_t i)
{
    SONDE_INFO("kv transfer done", SONDE_STR("worker", "decode-worker-1"), SONDE_INT("tokens", i), SONDE_INT("blocks", 17),
               SONDE_F64("ms", 1.25));
}

static inline void peer_disabled(int64_t i)
{
    SONDE_TRACE("never", SONDE_INT("i", i));
}

static void peer_drain(void)
{
    sonde_flush(10000);
}

static void peer_close(void)
{
    sonde_shutdown(10000);
}

static int peer_batch(void)
{
    return 40000; // of the hundred thousand that the ring holds
}
