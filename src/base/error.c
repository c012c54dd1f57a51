#include "base/error.h"
#include <stdio.h>
#include <string.h>

const char *errc_text(enum errc code)
{
    static const char *const text[] = {
#define X(name, words) words,
        ERRC_LIST(X)
#undef X
    };
    return (unsigned)code < ERRC_COUNT ? text[code] : "unknown error";
}

enum errc error_raise(struct error *e, enum errc code, const char *file, int line, const char *fmt, ...)
{
    if (!e || e->code != ERR_OK)
        return code;
    e->code = code;
    e->file = file;
    e->line = line;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    return code;
}

enum errc error_prefix(struct error *e, const char *fmt, ...)
{
    if (!e || e->code == ERR_OK)
        return ERR_BUG; // never a success: callers hand this on as the reason of their failure
    char front[ERROR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    size_t at = n < 0 ? 0 : (size_t)n < sizeof front ? (size_t)n : sizeof front - 1;
    size_t keep = strlen(e->msg);
    if (keep > sizeof e->msg - 1 - at)
        keep = sizeof e->msg - 1 - at; // the end of the old message gives way
    memmove(e->msg + at, e->msg, keep);
    memcpy(e->msg, front, at);
    e->msg[at + keep] = 0;
    return e->code;
}
