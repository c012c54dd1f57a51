// The public headers compile as strict C17 without a warning.
#include <sonde/sonde.h>

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
    char id[37];
    sonde_new_request_id(id);
    return sonde_set_request_id(&context, id, 36) && id[14] == '4';
}
