// Call sites that no compiler laid out.
#include "base/alloc.h"
#include "sdk/site.h"
#include <string.h>

struct made {
    struct sonde_site site; // first: its lines are the record path's
    char text[];            // target, file
};

struct sonde_site *sonde_site_new(enum sonde_level level, const char *target, const char *file, uint32_t line, bool is_span)
{
    static const char *const keys[] = {"", "", NULL};
    static const unsigned char types[] = {SONDE_TYPE_MESSAGE, SONDE_TYPE_FIELDS, 0};
    size_t target_n = strlen(target ? target : "") + 1, file_n = strlen(file ? file : "") + 1;
    size_t size = (sizeof(struct made) + target_n + file_n + 63) & ~(size_t)63;
    char *raw = mem_zalloc(size + 63); // mem has no aligned form, and this is never freed
    if (!raw)
        return NULL;
    struct made *m = (struct made *)(((uintptr_t)raw + 63) & ~(uintptr_t)63);
    memcpy(m->text, target ? target : "", target_n);
    memcpy(m->text + target_n, file ? file : "", file_n);
    struct sonde_site s = {.line = line,
                           .level = (uint8_t)level,
                           .n_fields = is_span ? 0 : 2,
                           .is_span = (uint8_t)(is_span | SITE_LASTING),
                           .message = "",
                           .target = m->text,
                           .file = m->text + target_n,
                           .keys = is_span ? NULL : keys,
                           .types = is_span ? NULL : types};
    m->site = s;
    return &m->site;
}
