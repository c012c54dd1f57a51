// The public headers compile as strict C17 without a warning.
#include <sonde/config.h>
#include <sonde/export.h>
#include <sonde/genai.h>
#include <sonde/logger.h>
#include <sonde/sonde.h>
#include <sonde/status.h>

int headers_in_c(void);
// Spans of a block.
static bool spans_in_c(void)
{
    SONDE_SPAN("outer");
    SONDE_SPAN("second", SONDE_KV("n", 1), SONDE_STR("s", "v"));
    SONDE_SPAN_AS(last, "last");
    SONDE_SPAN_SET(last, SONDE_F64("f", 0.5));
    SONDE_SPAN_EVENT(last, "event", SONDE_INT("n", 1));
    SONDE_SPAN_EVENT(last, "without fields");
    struct sonde_span *with = sonde_span_start_with("with", 0);
    sonde_span_end(with);
    return sonde_span_current() == last;
}

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
    return spans_in_c() && sonde_set_request_id(&context, id, 36) && id[14] == '4';
}
