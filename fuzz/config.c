// The declarative configuration file: YAML into the model, ${…}, and the model onto the settings.
#include "sdk/config_file.h"
#include "sdk/config_model.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sonde_config_parts parts;
    struct error err = {0};
    struct arena arena;
    struct slice out;
    struct buf notes;
    bool put;
    setenv("SET", "a: ${SET} $$", 1);
    arena_init(&arena, 1 << 24);
    if (config_substitute(slice_of(data, size), &arena, &out, &put, &err) && !put && out.n > size)
        abort();
    arena_free(&arena);
    struct sonde_config *c = sonde_config_parse((const char *)data, size, err.msg, sizeof err.msg);
    if (!c)
        return 0;
    buf_init(&notes, 1 << 22);
    config_map(c, &parts, &notes, &err);
    buf_free(&notes);
    config_file_clear();
    sonde_config_free(c);
    return 0;
}
