#include "base/setting.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit size_units[] = {{"", 1},          {"B", 1},           {"kB", 1000},  {"KB", 1000},
                                         {"MB", 1000000},  {"GB", 1000000000}, {"KiB", 1024}, {"MiB", 1 << 20},
                                         {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit time_units[] = {{"ns", 1},          {"us", 1000},         {"ms", 1000000},       {"s", 1000000000},
                                         {"m", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000}, {"w", 604800000000000},
                                         {NULL, 0}};

// NUMBER UNIT, repeated ("1h30m"); numbers may have a fraction.
static bool parse_units(struct slice text, const struct unit *units, int64_t *out)
{
    double total = 0;
    size_t at = 0;
    if (text.n == 0)
        return false;
    while (at < text.n) {
        size_t from = at;
        while (at < text.n && ((text.p[at] >= '0' && text.p[at] <= '9') || text.p[at] == '.'))
            at++;
        double number;
        if (at == from || !slice_to_f64(slice_of(text.p + from, at - from), &number))
            return false;
        from = at;
        while (at < text.n && !((text.p[at] >= '0' && text.p[at] <= '9') || text.p[at] == '.'))
            at++;
        const struct unit *u = units;
        while (u->name && !slice_eq(slice_str(u->name), slice_of(text.p + from, at - from)))
            u++;
        if (!u->name)
            return false;
        total += number * (double)u->factor;
    }
    if (total > 9.2e18)
        return false;
    *out = (int64_t)total;
    return true;
}

enum errc setting_parse_size(struct slice text, int64_t *bytes, struct error *err)
{
    if (parse_units(text, size_units, bytes))
        return ERR_OK;
    return ERR(err, INPUT, "\"%.*s\" is not a size; write 4096, 10kB or 64MiB", (int)text.n, text.p);
}

enum errc setting_parse_duration(struct slice text, int64_t *ns, struct error *err)
{
    if (slice_eq(text, SLICE("0"))) {
        *ns = 0;
        return ERR_OK;
    }
    if (parse_units(text, time_units, ns))
        return ERR_OK;
    return ERR(err, INPUT, "\"%.*s\" is not a duration; write 500ms, 5s, 2m, 1h or 7d", (int)text.n, text.p);
}

static bool parse_bool(struct slice text, bool *out)
{
    static const char *const yes[] = {"1", "true", "on", "yes"}, *const no[] = {"0", "false", "off", "no"};
    for (size_t i = 0; i < 4; i++) {
        if (slice_ieq(text, slice_str(yes[i])))
            return *out = true, true;
        if (slice_ieq(text, slice_str(no[i])))
            return *out = false, true;
    }
    return false;
}

static enum errc check_bounds(const struct setting *row, int64_t v, const char *text, struct error *err)
{
    if ((row->min || row->max) && (v < row->min || v > row->max))
        return ERR(err, INPUT, "%s is out of bounds: %" PRId64 " to %" PRId64 " are accepted", text, row->min, row->max);
    return ERR_OK;
}

static enum errc set(const struct setting *row, void *out, const char *text, struct error *err)
{
    void *at = (char *)out + row->offset;
    struct slice s = slice_str(text);
    int64_t v = 0;
    switch (row->type) {
    case SETTING_STR:
        *(const char **)at = text;
        return ERR_OK;
    case SETTING_BOOL:
        if (!parse_bool(s, at))
            return ERR(err, INPUT, "\"%s\" is neither on nor off; write one of 1 true on yes 0 false off no", text);
        return ERR_OK;
    case SETTING_INT:
        if (!slice_to_i64(s, &v))
            return ERR(err, INPUT, "\"%s\" is not a whole number", text);
        break;
    case SETTING_SIZE:
        TRY(setting_parse_size(s, &v, err));
        break;
    case SETTING_DURATION:
        TRY(setting_parse_duration(s, &v, err));
        break;
    }
    *(int64_t *)at = v;
    return check_bounds(row, v, text, err);
}

static const struct setting *find(const struct setting *rows, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(slice_str(rows[i].flag), name))
            return &rows[i];
    return NULL;
}

static enum errc load_environment(const struct setting *rows, size_t n, void *out, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].value)
            TRY(set(&rows[i], out, rows[i].value, err));
        const char *text = rows[i].env ? getenv(rows[i].env) : NULL;
        if (text && *text && set(&rows[i], out, text, err) != ERR_OK)
            return error_prefix(err, "environment variable %s: ", rows[i].env);
    }
    return ERR_OK;
}

enum errc settings_load(const struct setting *rows, size_t n, void *out, int argc, char **argv, int *rest, struct error *err)
{
    TRY(load_environment(rows, n, out, err));
    int words = 0;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!options || arg[0] != '-' || arg[1] == 0) {
            argv[1 + words++] = argv[i];
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            options = false;
            continue;
        }
        const char *name = arg + (arg[1] == '-' ? 2 : 1);
        const char *eq = strchr(name, '=');
        const struct setting *row = find(rows, n, eq ? slice_of(name, (size_t)(eq - name)) : slice_str(name));
        if (!row)
            return ERR(err, INPUT, "unknown option %s; `sonde help` lists the options", arg);
        const char *text = eq ? eq + 1 : row->type == SETTING_BOOL ? "true" : i + 1 < argc ? argv[++i] : NULL;
        if (!text)
            return ERR(err, INPUT, "option %s needs a value: --%s %s", arg, row->flag, row->argument ? row->argument : "VALUE");
        if (set(row, out, text, err) != ERR_OK)
            return error_prefix(err, "option --%s: ", row->flag);
    }
    if (rest)
        *rest = words;
    return ERR_OK;
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

void setting_print(const struct setting *row, const void *settings, struct buf *out)
{
    const void *at = (const char *)settings + row->offset;
    switch (row->type) {
    case SETTING_STR:
        buf_str(out, *(const char *const *)at ? *(const char *const *)at : "");
        break;
    case SETTING_BOOL:
        buf_str(out, *(const bool *)at ? "on" : "off");
        break;
    case SETTING_DURATION:
        buf_f64(out, (double)*(const int64_t *)at / 1e9);
        buf_char(out, 's');
        break;
    default:
        buf_i64(out, *(const int64_t *)at);
    }
}
