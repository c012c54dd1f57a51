// sonde env [COMMAND [OPTIONS] | libsonde]: every setting, its value here and now, and where that value comes from.
#include "base/json.h"
#include "base/limits.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { ROWS_MAX = 64 };

struct env_settings {
    const char *output;
};
static const struct setting settings[] = {
    {.flag = "o",
     .type = SETTING_STR,
     .value = "text",
     .argument = "FORMAT",
     .about = "output: text or json",
     .offset = offsetof(struct env_settings, output),
     .choices = "text json"},
};

// The settings of one command, loaded.
struct loaded {
    const struct command *command;
    _Alignas(16) char values[4096]; // the command's settings structure
    struct setting_origin origins[ROWS_MAX];
    struct arena arena;
};

static enum errc load(struct loaded *l, const struct command *c, int argc, char **argv, struct error *err)
{
    int words = 0;
    *l = (struct loaded){.command = c};
    arena_init(&l->arena, MAX_SETTINGS_MEMORY);
    if (c->n_settings > ROWS_MAX)
        return ERR(err, BUG, "%s has more than %d settings", c->name, ROWS_MAX);
    for (size_t i = 0; i < c->n_settings; i++)
        if (c->settings[i].offset + sizeof(int64_t) > sizeof l->values)
            return ERR(err, BUG, "the settings of %s are too large", c->name);
    return settings_load_file(c->settings, c->n_settings, l->values, argc, argv, &words, &l->arena, l->origins, err);
}

static void put_value(const struct loaded *l, size_t i, struct buf *cell)
{
    const struct setting *s = &l->command->settings[i];
    struct buf text;
    buf_init(&text, MAX_CLI_OUTPUT);
    setting_print(s, l->values, &text);
    buf_reset(cell);
    setting_shown(s->env ? s->env : s->flag, buf_slice(&text), cell);
    buf_free(&text);
}

static void put_origin(const struct loaded *l, size_t i, struct buf *cell)
{
    buf_reset(cell);
    setting_print_origin(l->command->settings, l->command->n_settings, l->values, l->origins, i, cell);
}

static void text_rows(const struct loaded *l, struct buf *out)
{
    size_t name = 0, value = 0, origin = 0;
    struct buf cell;
    buf_init(&cell, MAX_CLI_OUTPUT);
    for (size_t i = 0; i < l->command->n_settings; i++) { // how wide the columns are
        size_t n = strlen(l->command->settings[i].flag) + 2;
        name = n > name ? n : name;
        put_value(l, i, &cell);
        value = cell.n > value && cell.n <= 40 ? cell.n : value;
        put_origin(l, i, &cell);
        origin = cell.n > origin && cell.n <= 40 ? cell.n : origin;
    }
    for (size_t i = 0; i < l->command->n_settings; i++) {
        const struct setting *row = &l->command->settings[i];
        put_value(l, i, &cell);
        buf_printf(out, "  %s%-*s  %-*.*s", row->flag[1] ? "--" : "-", (int)name - (row->flag[1] ? 2 : 1), row->flag, (int)value,
                   (int)cell.n, cell.n ? cell.p : "");
        put_origin(l, i, &cell);
        buf_printf(out, "  %-*.*s  %s\n", (int)origin, (int)cell.n, cell.p, row->about);
    }
    buf_free(&cell);
}

static void key_text(struct jw *w, struct slice key, const char *text)
{
    jw_key(w, key);
    if (text && *text)
        jw_str(w, slice_str(text));
    else
        jw_null(w);
}

static void json_row(const struct loaded *l, size_t i, struct jw *w, struct buf *cell)
{
    static const char *const from[] = {"default", "file", "environment", "flag"};
    const struct setting *row = &l->command->settings[i];
    jw_obj(w);
    JW_KEY(w, "flag");
    jw_str(w, slice_str(row->flag));
    key_text(w, SLICE("env"), row->env);
    buf_reset(cell);
    if (row->type != SETTING_CONFIG)
        setting_print_key(row, cell);
    buf_char(cell, 0);
    key_text(w, SLICE("key"), cell->p);
    key_text(w, SLICE("type"), setting_type_text(row->type));
    buf_reset(cell);
    setting_print_accepted(row, cell);
    JW_KEY(w, "accepted");
    jw_str(w, buf_slice(cell));
    JW_KEY(w, "value");
    put_value(l, i, cell);
    jw_str(w, buf_slice(cell));
    key_text(w, SLICE("default"), row->value);
    key_text(w, SLICE("from"), from[l->origins[i].from]);
    JW_KEY(w, "origin");
    put_origin(l, i, cell);
    jw_str(w, buf_slice(cell));
    key_text(w, SLICE("about"), row->about);
    jw_obj_end(w);
}

static void json_group(const struct loaded *l, struct slice names, struct jw *w)
{
    struct buf cell;
    buf_init(&cell, MAX_CLI_OUTPUT);
    jw_obj(w);
    JW_KEY(w, "commands");
    jw_str(w, names);
    JW_KEY(w, "settings");
    jw_arr(w);
    for (size_t i = 0; i < l->command->n_settings; i++)
        json_row(l, i, w, &cell);
    jw_arr_end(w);
    jw_obj_end(w);
    buf_free(&cell);
}

// One command's settings; names: of the commands that share them.
static enum errc show(const struct command *c, struct slice names, int argc, char **argv, struct jw *json, struct buf *out,
                      struct error *err)
{
    static struct loaded l;
    enum errc rc = load(&l, c, argc, argv, err);
    if (rc == ERR_OK && json) {
        json_group(&l, names, json);
    } else if (rc == ERR_OK) {
        buf_printf(out, "%ssonde %.*s\n", out->n ? "\n" : "", (int)names.n, names.p);
        text_rows(&l, out);
    }
    arena_free(&l.arena);
    return rc;
}

static void show_libsonde(struct jw *json, struct buf *out)
{
    if (json) {
        sdk_settings_json(json);
        return;
    }
    if (out->n)
        buf_char(out, '\n');
    sdk_settings_text(out);
}

static enum errc show_all(struct jw *json, struct buf *out, struct error *err)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    enum errc rc = ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        char *none[] = {(char *)all[i]->name, NULL};
        struct buf names;
        if (!command_leads(i))
            continue;
        buf_init(&names, MAX_SHORT_TEXT);
        command_names(i, &names);
        rc = show(all[i], buf_slice(&names), 1, none, json, out, err);
        buf_free(&names);
    }
    if (rc == ERR_OK)
        show_libsonde(json, out);
    return rc;
}

// Moves `-o FORMAT` of this command to *format and the rest together. What follows the command's name is for that command, but
// for -o, unless it stands behind "--".
static int take_format(int argc, char **argv, const char **format)
{
    int n = 1;
    bool raw = false;
    for (int i = 1; i < argc; i++) {
        if (!raw && strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            *format = argv[++i];
        else if (!raw && strncmp(argv[i], "-o=", 3) == 0)
            *format = argv[i] + 3;
        else if (!raw && strcmp(argv[i], "--") == 0)
            raw = true;
        else
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    return n;
}

static int run(int argc, char **argv)
{
    const char *format = settings[0].value;
    struct error err = {0};
    enum errc rc;
    struct buf out;
    argc = take_format(argc, argv, &format);
    bool json = strcmp(format, "json") == 0;
    const struct command *c = argc > 1 ? command_find(argv[1]) : NULL;
    if (!json && strcmp(format, "text") != 0) {
        fprintf(stderr, "sonde: option -o: \"%s\" is not accepted; write one of %s\n", format, settings[0].choices);
        return EXIT_USAGE;
    }
    bool library = argc == 2 && strcmp(argv[1], "libsonde") == 0;
    if (argc > 1 && !c && !library) {
        fprintf(stderr,
                "sonde: there is no command \"%s\"; write sonde env COMMAND [OPTIONS OF THE COMMAND], or sonde env libsonde\n",
                argv[1]);
        return EXIT_USAGE;
    }
    buf_init(&out, MAX_CLI_OUTPUT);
    struct jw w = jw_to(&out);
    if (json)
        jw_arr(&w);
    rc = ERR_OK;
    if (library)
        show_libsonde(json ? &w : NULL, &out);
    else
        rc = c ? show(c, slice_str(c->name), argc - 1, argv + 1, json ? &w : NULL, &out, &err)
               : show_all(json ? &w : NULL, &out, &err);
    if (json) {
        jw_arr_end(&w);
        buf_char(&out, '\n');
    }
    if (rc == ERR_OK)
        cli_write(buf_slice(&out));
    buf_free(&out);
    return rc == ERR_OK ? 0 : cli_fail(&err);
}

const struct command cmd_env = {
    .name = "env",
    .arguments = "[COMMAND [OPTIONS] | libsonde]",
    .about = "every setting, its value, and where the value comes from",
    .examples =
        "  sonde env\n  sonde env serve --config /etc/sonde.toml --threads 4\n  sonde env libsonde\n  sonde env -o json\n",
    .settings = settings,
    .n_settings = 1,
    .run = run,
};
