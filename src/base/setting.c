#include "base/setting_int.h"

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

// NUMBER UNIT, repeated ("1h30m"); numbers may have a fraction. ERR_LIMIT: well written, but more than fits.
static enum errc parse_units(struct slice text, const struct unit *units, int64_t *out)
{
    double total = 0;
    size_t at = 0;
    if (text.n == 0)
        return ERR_INPUT;
    while (at < text.n) {
        size_t from = at;
        while (at < text.n && ((text.p[at] >= '0' && text.p[at] <= '9') || text.p[at] == '.'))
            at++;
        double number;
        if (at == from || !slice_to_f64(slice_of(text.p + from, at - from), &number))
            return ERR_INPUT;
        from = at;
        while (at < text.n && !((text.p[at] >= '0' && text.p[at] <= '9') || text.p[at] == '.'))
            at++;
        const struct unit *u = units;
        while (u->name && !slice_eq(slice_str(u->name), slice_of(text.p + from, at - from)))
            u++;
        if (!u->name)
            return ERR_INPUT;
        total += number * (double)u->factor;
    }
    if (total > 9.2e18)
        return ERR_LIMIT;
    *out = (int64_t)total;
    return ERR_OK;
}

enum errc setting_parse_size(struct slice text, int64_t *bytes, struct error *err)
{
    enum errc rc = parse_units(text, size_units, bytes);
    if (rc == ERR_OK)
        return ERR_OK;
    return ERR(err, INPUT, "\"%.*s\" is %s size; write 4096, 10kB or 64MiB", (int)text.n, text.p,
               rc == ERR_LIMIT ? "too large a" : "not a");
}

enum errc setting_parse_duration(struct slice text, int64_t *ns, struct error *err)
{
    if (slice_eq(text, SLICE("0"))) {
        *ns = 0;
        return ERR_OK;
    }
    enum errc rc = parse_units(text, time_units, ns);
    if (rc == ERR_OK)
        return ERR_OK;
    return ERR(err, INPUT, "\"%.*s\" is %s duration; write 500ms, 5s, 2m, 1h or 7d", (int)text.n, text.p,
               rc == ERR_LIMIT ? "too long a" : "not a");
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

static enum errc check_choice(const struct setting *row, const char *text, struct error *err)
{
    struct slice rest = slice_str(row->choices), word;
    while (row->choices && slice_split(&rest, ' ', &word))
        if (slice_eq(word, slice_str(text)))
            return ERR_OK;
    return row->choices ? ERR(err, INPUT, "\"%s\" is not accepted; write one of %s", text, row->choices) : ERR_OK;
}

enum errc setting_set(const struct setting *row, void *out, const char *text, struct error *err)
{
    void *at = (char *)out + row->offset;
    struct slice s = slice_str(text);
    int64_t v = 0;
    switch (row->type) {
    case SETTING_STR:
    case SETTING_CONFIG:
        *(const char **)at = text;
        return check_choice(row, text, err);
    case SETTING_BOOL:
        if (!parse_bool(s, at))
            return ERR(err, INPUT, "\"%s\" is neither on nor off; write one of 1 true on yes 0 false off no", text);
        return ERR_OK;
    case SETTING_INT:
        if (!slice_to_i64(s, &v)) {
            const char *digits = text + (*text == '-' || *text == '+');
            bool whole = *digits && !digits[strspn(digits, "0123456789")];
            return ERR(err, INPUT, "\"%s\" is %s whole number", text, whole ? "too large a" : "not a");
        }
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

// ---- nearness of words ----------------------------------------------------------------------------------------------
enum { NEAR_MAX = 64 };

static char plain(char c)
{
    return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

size_t word_distance(struct slice a, struct slice b)
{
    size_t rows[3][NEAR_MAX + 1], *old = rows[0], *last = rows[1], *now = rows[2]; // of the table of all prefixes
    if (a.n > NEAR_MAX || b.n > NEAR_MAX)
        return a.n > b.n ? a.n : b.n;
    for (size_t j = 0; j <= b.n; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            bool same = plain(a.p[i - 1]) == plain(b.p[j - 1]);
            size_t best = last[j - 1] + !same;
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && plain(a.p[i - 1]) == plain(b.p[j - 2]) && plain(a.p[i - 2]) == plain(b.p[j - 1]) &&
                old[j - 2] + 1 < best)
                best = old[j - 2] + 1;
            now[j] = best;
        }
        size_t *free_row = old;
        old = last;
        last = now;
        now = free_row;
    }
    return last[b.n];
}

bool word_is_near(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    return n > 1 && word_distance(a, b) <= (n + 2) / 4;
}

// ---- layers ---------------------------------------------------------------------------------------------------------
static const struct setting *find(const struct settings_load *l, struct slice name)
{
    for (size_t i = 0; i < l->n; i++)
        if (slice_eq(slice_str(l->rows[i].flag), name))
            return &l->rows[i];
    return NULL;
}

const struct setting *settings_config_row(const struct settings_load *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->rows[i].type == SETTING_CONFIG)
            return &l->rows[i];
    return NULL;
}

static enum errc unknown_option(const struct settings_load *l, const char *command, const char *arg, struct slice name)
{
    const struct setting *best = NULL;
    for (size_t i = 0; i < l->n; i++) {
        struct slice flag = slice_str(l->rows[i].flag);
        if (word_is_near(name, flag) && (!best || word_distance(name, flag) < word_distance(name, slice_str(best->flag))))
            best = &l->rows[i];
    }
    return ERR(l->err, INPUT, "unknown option %s%s%s%s `sonde help %s` lists the options", arg, best ? "; did you mean --" : "",
               best ? best->flag : "", best ? "?" : ";", command);
}

static enum errc load_defaults(const struct settings_load *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->rows[i].value)
            TRY(setting_set(&l->rows[i], l->out, l->rows[i].value, l->err));
        setting_came(l, &l->rows[i], SETTING_FROM_DEFAULT, 0);
    }
    return ERR_OK;
}

static enum errc load_variable(const struct settings_load *l, const struct setting *row)
{
    const char *text = row->env ? getenv(row->env) : NULL;
    if (!text || !*text)
        return ERR_OK;
    if (setting_set(row, l->out, text, l->err) != ERR_OK)
        return error_prefix(l->err, "environment variable %s: ", row->env);
    setting_came(l, row, SETTING_FROM_ENV, 0);
    return ERR_OK;
}

// With only, no other row is set, and argv stays as it is.
static enum errc load_flags(const struct settings_load *l, int argc, char **argv, int *rest, const struct setting *only)
{
    int words = 0;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        char *arg = argv[i];
        if (!options || arg[0] != '-' || arg[1] == 0) {
            words++;
            if (!only)
                argv[words] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            options = false;
            continue;
        }
        const char *from = arg + (arg[1] == '-' ? 2 : 1), *eq = strchr(from, '=');
        struct slice name = eq ? slice_of(from, (size_t)(eq - from)) : slice_str(from);
        const struct setting *row = find(l, name);
        if (!row)
            return unknown_option(l, argv[0], arg, name);
        const char *text = eq ? eq + 1 : row->type == SETTING_BOOL ? "true" : i + 1 < argc ? argv[++i] : NULL;
        if (!text)
            return ERR(l->err, INPUT, "option %s needs a value: %s%s %s", arg, row->flag[1] ? "--" : "-", row->flag,
                       row->argument ? row->argument : "VALUE");
        if (only && row != only)
            continue;
        if (setting_set(row, l->out, text, l->err) != ERR_OK)
            return error_prefix(l->err, "option %s%s: ", row->flag[1] ? "--" : "-", row->flag);
        setting_came(l, row, SETTING_FROM_FLAG, 0);
    }
    if (rest)
        *rest = words;
    return ERR_OK;
}

static enum errc load_config(const struct settings_load *l, int argc, char **argv)
{
    const struct setting *row = settings_config_row(l);
    if (!row)
        return ERR_OK;
    if (!l->arena)
        return ERR(l->err, BUG, "settings with a file need an arena");
    TRY(load_variable(l, row));
    TRY(load_flags(l, argc, argv, NULL, row));
    const char *path = *(const char *const *)((const char *)l->out + row->offset);
    return path && *path ? settings_load_toml(l, row) : ERR_OK;
}

enum errc settings_load_file(const struct setting *rows, size_t n, void *out, int argc, char **argv, int *rest,
                             struct arena *arena, struct setting_origin *origins, struct error *err)
{
    const struct settings_load l = {rows, n, out, origins, arena, err};
    TRY(load_defaults(&l));
    TRY(load_config(&l, argc, argv));
    for (size_t i = 0; i < n; i++)
        TRY(load_variable(&l, &rows[i]));
    return load_flags(&l, argc, argv, rest, NULL);
}

enum errc settings_load(const struct setting *rows, size_t n, void *out, int argc, char **argv, int *rest, struct error *err)
{
    return settings_load_file(rows, n, out, argc, argv, rest, NULL, NULL, err);
}
