// docs/settings.md from the tables: `sonde help --markdown` prints it, `make docs` writes it, a test compares.
#include "base/limits.h"
#include "cli/cli.h"

static void cell(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|')
            buf_char(out, '\\');
        buf_char(out, s.p[i]);
    }
}

static void code(struct buf *out, const char *s)
{
    if (s && *s) {
        buf_char(out, '`');
        cell(out, slice_str(s));
        buf_char(out, '`');
    }
}

static void row(const struct setting *s, bool file, struct buf *out)
{
    struct buf text;
    buf_init(&text, MAX_SHORT_TEXT);
    buf_printf(out, "| `%s%s", s->flag[1] ? "--" : "-", s->flag);
    if (s->argument && *s->argument)
        buf_printf(out, " %s", s->argument);
    buf_str(out, "` | ");
    code(out, s->env);
    if (file) {
        buf_str(out, " | ");
        if (s->type != SETTING_CONFIG)
            setting_print_key(s, &text);
        buf_char(&text, 0);
        code(out, text.p);
    }
    buf_str(out, " | ");
    code(out, s->value);
    buf_str(out, " | ");
    buf_reset(&text);
    setting_print_accepted(s, &text);
    cell(out, buf_slice(&text));
    buf_str(out, " | ");
    cell(out, slice_str(s->about));
    buf_str(out, " |\n");
    buf_free(&text);
}

static bool has_file(const struct command *c)
{
    for (size_t i = 0; i < c->n_settings; i++)
        if (c->settings[i].type == SETTING_CONFIG)
            return true;
    return false;
}

static void example(const struct command *c, struct buf *out)
{
    buf_str(out, "\nA file with every default, as `sonde serve --config FILE` takes it:\n\n```toml\n");
    for (size_t i = 0; i < c->n_settings; i++) {
        const struct setting *s = &c->settings[i];
        if (s->type == SETTING_CONFIG)
            continue;
        bool bare = s->type == SETTING_INT, truth = s->type == SETTING_BOOL;
        setting_print_key(s, out);
        buf_str(out, " = ");
        if (truth)
            buf_str(out, s->value[1] == 'n' ? "true" : "false"); // on, off
        else
            buf_printf(out, "%s%s%s", bare ? "" : "\"", s->value, bare ? "" : "\"");
        buf_char(out, '\n');
    }
    buf_str(out, "```\n");
}

void settings_markdown(struct buf *out)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    buf_str(
        out,
        "# Settings\n\n"
        "<!-- Written by `make docs` from the tables of the program; a test fails when this file is older than they are. -->\n\n"
        "A flag wins over an environment variable, that over the configuration file, that over the default. An empty variable\n"
        "counts as unset. `sonde env` shows every setting with its value here and now and where that value comes from;\n"
        "`sonde env serve --config FILE` shows what a server started so would use.\n\n"
        "The file is TOML 1.0, named by `--config` or `SONDE_CONFIG`; none is looked for by itself. Its keys are the flags with\n"
        "`_` for `-`. An unknown key or a value of a wrong type ends the start with a message that names file, line and key.\n");
    for (size_t i = 0; i < n; i++) {
        const struct command *c = all[i];
        bool file = has_file(c);
        if (!command_leads(i))
            continue;
        buf_str(out, "\n## sonde ");
        command_names(i, out);
        buf_printf(out, "\n\n| flag | environment |%s default | accepted | meaning |\n|---|---|%s---|---|---|\n",
                   file ? " key in the file |" : "", file ? "---|" : "");
        for (size_t k = 0; k < c->n_settings; k++)
            row(&c->settings[k], file, out);
        if (file)
            example(c, out);
    }
    sdk_settings_markdown(out);
}
