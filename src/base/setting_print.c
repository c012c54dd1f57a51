// Settings as text: help, values, where they came from.
#include "base/setting_int.h"

#include <inttypes.h>

const char *setting_type_text(enum setting_type type)
{
    static const char *const text[] = {"text", "number", "size", "duration", "on or off", "file"};
    return text[type];
}

void setting_print_accepted(const struct setting *row, struct buf *out)
{
    struct slice rest = slice_str(row->choices), word;
    bool bounds = row->min || row->max;
    if (row->choices) {
        for (size_t n = 0; slice_split(&rest, ' ', &word); n++)
            buf_printf(out, "%s%.*s", n == 0 ? "" : rest.p ? ", " : " or ", (int)word.n, word.p);
        return;
    }
    buf_str(out, setting_type_text(row->type));
    if (bounds)
        buf_printf(out, " %" PRId64 " to %" PRId64, row->min, row->max);
    else if (row->type == SETTING_SIZE)
        buf_str(out, ", as 64MiB or 10kB");
    else if (row->type == SETTING_DURATION)
        buf_str(out, ", as 500ms, 5s, 2m, 1h or 7d");
}

void setting_print_key(const struct setting *row, struct buf *out)
{
    for (const char *p = row->flag; *p; p++)
        buf_char(out, *p == '-' ? '_' : *p);
}

void settings_help(const struct setting *rows, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        size_t from = out->n;
        buf_printf(out, "  %s%s %s", strlen(rows[i].flag) == 1 ? "-" : "--", rows[i].flag,
                   rows[i].argument ? rows[i].argument : "");
        while (out->n - from < 28 && !out->err)
            buf_char(out, ' ');
        buf_printf(out, " %s", rows[i].about);
        if (rows[i].value && *rows[i].value && rows[i].type != SETTING_BOOL)
            buf_printf(out, " (default %s)", rows[i].value);
        if (rows[i].env)
            buf_printf(out, " [%s]", rows[i].env);
        buf_char(out, '\n');
    }
}

// In the largest unit that leaves no rest.
static void print_units(int64_t v, const char *const *names, const int64_t *factors, struct buf *out)
{
    while (*factors > 1 && (v == 0 || v % *factors != 0)) {
        names++;
        factors++;
    }
    buf_i64(out, v / *factors);
    if (v)
        buf_str(out, *names);
}

void setting_print(const struct setting *row, const void *settings, struct buf *out)
{
    static const char *const sizes[] = {"GiB", "MiB", "KiB", "GB", "MB", "kB", ""}, *const times[] = {"d",  "h",  "m", "s",
                                                                                                      "ms", "us", "ns"};
    static const int64_t size_factors[] = {1 << 30, 1 << 20, 1 << 10, 1000000000, 1000000, 1000, 1};
    static const int64_t time_factors[] = {86400000000000, 3600000000000, 60000000000, 1000000000, 1000000, 1000, 1};
    const void *at = (const char *)settings + row->offset;
    switch (row->type) {
    case SETTING_STR:
    case SETTING_CONFIG:
        buf_str(out, *(const char *const *)at ? *(const char *const *)at : "");
        break;
    case SETTING_BOOL:
        buf_str(out, *(const bool *)at ? "on" : "off");
        break;
    case SETTING_DURATION:
        print_units(*(const int64_t *)at, times, time_factors, out);
        break;
    case SETTING_SIZE:
        print_units(*(const int64_t *)at, sizes, size_factors, out);
        break;
    case SETTING_INT:
        buf_i64(out, *(const int64_t *)at);
        break;
    }
}

void setting_print_origin(const struct setting *rows, size_t n, const void *settings, const struct setting_origin *origins,
                          size_t i, struct buf *out)
{
    const struct settings_load l = {.rows = rows, .n = n};
    switch (origins[i].from) {
    case SETTING_FROM_FLAG:
        buf_printf(out, "flag %s%s", rows[i].flag[1] ? "--" : "-", rows[i].flag);
        break;
    case SETTING_FROM_ENV:
        buf_printf(out, "environment %s", rows[i].env);
        break;
    case SETTING_FROM_FILE:
        setting_print(settings_config_row(&l), settings, out);
        buf_printf(out, ":%d", origins[i].line);
        break;
    case SETTING_FROM_DEFAULT:
        buf_str(out, "default");
        break;
    }
}
