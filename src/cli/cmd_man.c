// sonde man [COMMAND]: the manual as roff, from the tables; with --dir all pages as files, for the installation.
#include "base/limits.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct man_settings {
    const char *dir;
};
static const struct setting settings[] = {
    {.flag = "dir",
     .type = SETTING_STR,
     .value = "",
     .argument = "DIR",
     .about = "write every page into this directory instead",
     .offset = offsetof(struct man_settings, dir)},
};

// Text that roff takes as it stands.
static void put(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if ((c == '.' || c == '\'') && (i == 0 || s.p[i - 1] == '\n'))
            buf_str(out, "\\&");
        if (c == '\\')
            buf_str(out, "\\e");
        else if (c == '-')
            buf_str(out, "\\-");
        else
            buf_char(out, c);
    }
}

static void put_str(struct buf *out, const char *s)
{
    put(out, slice_str(s));
}

static void heading(struct buf *out, const char *title)
{
    buf_printf(out, ".SH %s\n", title);
}

static void head(struct buf *out, const char *page, const char *name, const char *about)
{
    buf_printf(out, ".TH %s 1 \"\" \"sonde %s\" \"Sonde\"\n", page, SONDE_VERSION);
    heading(out, "NAME");
    put_str(out, name);
    buf_str(out, " \\- ");
    put_str(out, about);
    buf_char(out, '\n');
}

static void exits(struct buf *out)
{
    heading(out, "EXIT STATUS");
    for (size_t i = 0; i < EXIT_CODES_N; i++) {
        buf_printf(out, ".TP\n%d\n", exit_codes[i].code);
        put_str(out, exit_codes[i].about);
        buf_char(out, '\n');
    }
}

static void option(struct buf *out, const struct setting *s)
{
    buf_str(out, ".TP\n.B ");
    put_str(out, s->flag[1] ? "--" : "-");
    put_str(out, s->flag);
    if (s->argument && *s->argument)
        buf_printf(out, " \\fI%s\\fR", s->argument);
    buf_char(out, '\n');
    put_str(out, s->about);
    buf_str(out, ".\n");
    if (s->choices || (s->type != SETTING_STR && s->type != SETTING_CONFIG)) {
        buf_str(out, "Accepted: ");
        setting_print_accepted(s, out);
        buf_str(out, ".\n");
    }
    if (s->value && *s->value) {
        buf_str(out, "Default: ");
        put_str(out, s->value);
        buf_str(out, ".\n");
    }
}

static void options(struct buf *out, const struct command *c)
{
    const struct setting *config = NULL;
    bool variables = false;
    if (c->n_settings)
        heading(out, "OPTIONS");
    for (size_t i = 0; i < c->n_settings; i++) {
        option(out, &c->settings[i]);
        variables |= c->settings[i].env != NULL;
        config = c->settings[i].type == SETTING_CONFIG ? &c->settings[i] : config;
    }
    if (variables)
        heading(out, "ENVIRONMENT");
    for (size_t i = 0; i < c->n_settings; i++)
        if (c->settings[i].env) {
            buf_printf(out, ".TP\n.B %s\nas ", c->settings[i].env);
            put_str(out, "--");
            put_str(out, c->settings[i].flag);
            buf_str(out, ", which wins over it\n");
        }
    if (!config)
        return;
    heading(out, "FILES");
    buf_str(out, "The file that ");
    put_str(out, "--");
    put_str(out, config->flag);
    buf_str(out, " names is TOML 1.0; flags and environment win over it. Its keys:\n");
    for (size_t i = 0; i < c->n_settings; i++)
        if (&c->settings[i] != config) {
            buf_str(out, ".br\n.B ");
            setting_print_key(&c->settings[i], out);
            buf_char(out, '\n');
        }
}

static void examples(struct buf *out, const struct command *c)
{
    if (!c->examples)
        return;
    heading(out, "EXAMPLES");
    buf_str(out, ".nf\n");
    put_str(out, c->examples);
    buf_str(out, ".fi\n");
}

static void see_also(struct buf *out, const struct command *but)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    heading(out, "SEE ALSO");
    if (but)
        buf_str(out, ".BR sonde (1)");
    for (size_t i = 0, told = 0; i < n; i++)
        if (all[i] != but)
            buf_printf(out, "%s.BR sonde\\-%s (1)", but || told++ ? ",\n" : "", all[i]->name);
    buf_char(out, '\n');
}

static void page_of(struct buf *out, const struct command *c)
{
    char name[64], page[64];
    snprintf(name, sizeof name, "sonde-%s", c->name);
    snprintf(page, sizeof page, "SONDE\\-%s", c->name);
    head(out, page, name, c->about);
    heading(out, "SYNOPSIS");
    buf_printf(out, ".B sonde %s\n", c->name);
    if (c->n_settings && strcmp(c->arguments, "[OPTIONS]") != 0)
        buf_str(out, "[OPTIONS]\n");
    put_str(out, c->arguments);
    buf_char(out, '\n');
    options(out, c);
    if (c == &cmd_env)
        sdk_settings_man(out, put);
    examples(out, c);
    exits(out);
    see_also(out, c);
}

static void page_of_all(struct buf *out)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    head(out, "SONDE", "sonde", "flight recorder and control room of LLM inference");
    heading(out, "SYNOPSIS");
    buf_str(out, ".B sonde\n.I COMMAND\n[OPTIONS]\n");
    heading(out, "DESCRIPTION");
    buf_str(out, "Receives logs and traces, stores, searches, explains and shows them.\n"
                 "A flag wins over an environment variable, that over the configuration file of\n.BR sonde\\-serve (1),\n"
                 "that over the default.\n.B sonde env\nshows every setting with its value and where that comes from.\n");
    heading(out, "COMMANDS");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, ".TP\n.B %s \\fR", all[i]->name);
        put_str(out, all[i]->arguments);
        buf_char(out, '\n');
        put_str(out, all[i]->about);
        buf_char(out, '\n');
    }
    exits(out);
    see_also(out, NULL);
}

static enum errc write_page(const char *dir, const char *name, struct slice text, struct error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/sonde%s%s.1", dir, *name ? "-" : "", name);
    FILE *f = fopen(path, "w");
    if (!f)
        return ERR(err, IO, "cannot write %s: %s", path, strerror(errno));
    bool good = fwrite(text.p, 1, text.n, f) == text.n;
    good = fclose(f) == 0 && good;
    return good ? ERR_OK : ERR(err, IO, "cannot write %s: %s", path, strerror(errno));
}

static enum errc write_all(const char *dir, struct error *err)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    struct buf out;
    enum errc rc;
    buf_init(&out, MAX_HELP_TEXT);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        GO(ERR(err, IO, "cannot make %s: %s", dir, strerror(errno)));
    page_of_all(&out);
    GO(write_page(dir, "", buf_slice(&out), err));
    for (size_t i = 0; i < n; i++) {
        buf_reset(&out);
        page_of(&out, all[i]);
        GO(write_page(dir, all[i]->name, buf_slice(&out), err));
    }
    utimensat(AT_FDCWD, dir, NULL, 0); // new for the build tool, also where only files inside changed
out:
    buf_free(&out);
    return rc;
}

static int run(int argc, char **argv)
{
    struct man_settings s;
    struct error err = {0};
    struct buf out;
    int words = 0;
    if (settings_load(settings, 1, &s, argc, argv, &words, &err) != ERR_OK)
        return cli_fail(&err);
    if (*s.dir)
        return write_all(s.dir, &err) == ERR_OK ? 0 : cli_fail(&err);
    const struct command *c = words ? command_find(argv[1]) : NULL;
    if (words > 1) {
        fprintf(stderr, "sonde: man takes one command at most; `sonde help` lists them\n");
        return EXIT_USAGE;
    }
    if (words && !c)
        return command_unknown(argv[1]);
    buf_init(&out, MAX_HELP_TEXT);
    if (c)
        page_of(&out, c);
    else
        page_of_all(&out);
    cli_write(buf_slice(&out));
    buf_free(&out);
    return 0;
}

const struct command cmd_man = {
    .name = "man",
    .arguments = "[COMMAND]",
    .about = "the manual, as roff for man",
    .examples = "  sonde man | man -l -\n  sonde man serve | man -l -\n  sonde man --dir /usr/local/share/man/man1\n",
    .settings = settings,
    .n_settings = 1,
    .run = run,
};
