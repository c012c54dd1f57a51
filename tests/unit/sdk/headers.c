// The public headers compile as strict C17 without a warning.
#include <sonde/sonde.h>
#include <sonde/config.h>
#include <sonde/status.h>

int headers_in_c(void);
int headers_in_c(void)
{
    struct sonde_context context = {.flags = 1};
    struct sonde_span *span = sonde_span_start("c", SONDE_KIND_CLIENT, &(struct sonde_context){.flags = 1, .remote = true});
    if (1)
        SONDE_ERROR("in an if without braces", SONDE_INT("n", 1));
    else
        SONDE_TRACE("never");
    sonde_span_end_at(span, 0);
    char id[37] = "";
    struct sonde_field fields[] = {SONDE_FIELD(SONDE_INT("a", 1)), SONDE_FIELD(SONDE_KV("b", id))};
    SONDE_INFO("kv", SONDE_KV("n", 1), SONDE_KV("s", "x"), SONDE_ERRNO("e", 2), SONDE_DUR("d", 5));
    SONDE_INFOF("format %s %d %p", SONDE_ARGS("x", 1, (void *)fields));
    SONDE_INFOF("format %*.*s", SONDE_ARGS(5, 1, "x"), SONDE_INT("n", 1));
    SONDE_WARN_LIMIT(SONDE_EVERY(1, 10, 0.5), "limited");
    SONDE_LOGF_LIMIT(SONDE_LEVEL_WARN, SONDE_ONCE_PER(1), "limited %d", SONDE_ARGS(1), SONDE_INT("n", 1));
    SONDE_LOG_ARRAY(SONDE_LEVEL_INFO, "array", fields, 2);
    sonde_new_request_id(id);
    return sonde_set_request_id(&context, id, 36) && id[14] == '4';
}
