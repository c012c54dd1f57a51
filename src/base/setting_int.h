// What setting.c and the file layer (setting_file.c) share.
#pragma once
#include "base/setting.h"

struct settings_load {
    const struct setting *rows;
    size_t n;
    void *out;
    struct setting_origin *origins; // may be null
    struct arena *arena;            // may be null where there is no file
    struct error *err;
};

// Checks a text and stores the typed value.
enum errc setting_set(const struct setting *row, void *out, const char *text, struct error *err);
// Reads the file that the row of type SETTING_CONFIG names.
enum errc settings_load_toml(const struct settings_load *l, const struct setting *config);
// The row of type SETTING_CONFIG, or null.
const struct setting *settings_config_row(const struct settings_load *l);
static inline void setting_came(const struct settings_load *l, const struct setting *row, enum setting_from from, int line)
{
    if (l->origins)
        l->origins[row - l->rows] = (struct setting_origin){from, line};
}
