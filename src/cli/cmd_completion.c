// sonde completion bash|zsh|fish: a script for the shell, from the tables of commands and settings.
#include "base/limits.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

// What may stand where a command's words stand, read from its usage: "wal|part|ring FILE", "[COMMAND [OPTIONS]]".
struct words {
    struct buf choices; // with spaces between them
    bool files;
};

static void command_words(const char *more, struct buf *out)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s%s", i ? " " : "", all[i]->name);
    buf_str(out, more);
}

static void words_of(const struct command *c, struct words *w)
{
    struct slice rest = slice_str(c->arguments), word;
    buf_init(&w->choices, MAX_SHORT_TEXT);
    w->files = false;
    while (slice_split(&rest, ' ', &word)) {
        if (slice_find(word, SLICE("COMMAND")) >= 0)
            command_words("", &w->choices);
        w->files |= slice_eq(word, SLICE("FILE"));
        if (slice_find(word, SLICE("|")) < 0)
            continue;
        for (size_t i = 0; i < word.n; i++)
            if (word.p[i] != '[' && word.p[i] != ']')
                buf_char(&w->choices, word.p[i] == '|' ? ' ' : word.p[i]);
    }
}

static bool is_argument(const struct setting *s, const char *name)
{
    return s->argument && strcmp(s->argument, name) == 0;
}
static const char *dashes(const struct setting *s)
{
    return s->flag[1] ? "--" : "-";
}

// In a shell's '…'; in fish \' stands for the quote.
static void quoted(struct buf *out, const char *text, const char *quote, const char *with_backslash)
{
    for (; *text; text++) {
        if (*text == '\'')
            buf_str(out, quote);
        else if (strchr(with_backslash, *text))
            buf_printf(out, "\\%c", *text);
        else
            buf_char(out, *text);
    }
}

// ---- bash -----------------------------------------------------------------------------------------------------------
static void bash_values(const struct command *c, struct buf *out)
{
    for (size_t i = 0; i < c->n_settings; i++) {
        const struct setting *s = &c->settings[i];
        if (s->type == SETTING_BOOL)
            continue;
        buf_printf(out, "    \"%s %s%s\") ", c->name, dashes(s), s->flag);
        if (s->choices)
            buf_printf(out, "_sonde_words \"%s\"; ", s->choices);
        else if (is_argument(s, "FILE"))
            buf_str(out, "_sonde_files -f; ");
        else if (is_argument(s, "DIR"))
            buf_str(out, "_sonde_files -d; ");
        buf_str(out, "return ;;\n");
    }
}

static void bash_words(const struct command *c, struct buf *out)
{
    struct words w;
    words_of(c, &w);
    buf_printf(out, "    %s)\n        options=\"", c->name);
    for (size_t i = 0; i < c->n_settings; i++)
        buf_printf(out, "%s%s ", dashes(&c->settings[i]), c->settings[i].flag);
    buf_printf(out, "--help\" words=\"%.*s\" files=%s ;;\n", (int)w.choices.n, w.choices.n ? w.choices.p : "",
               w.files ? "yes" : "");
    buf_free(&w.choices);
}

static void bash(struct buf *out)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    buf_str(out, "# bash completion of sonde, written by `sonde completion bash`\n"
                 "_sonde_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n"
                 "_sonde_files() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\"); }\n"
                 "_sonde() {\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}\n"
                 "    local options='' words='' files=''\n"
                 "    COMPREPLY=()\n"
                 "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "        _sonde_words \"");
    command_words(" help", out);
    buf_str(out, "\"\n        return\n    fi\n    case \"$command $prev\" in\n");
    for (size_t i = 0; i < n; i++)
        bash_values(all[i], out);
    buf_str(out, "    esac\n    case $command in\n    help) words=\"");
    command_words("", out);
    buf_str(out, "\" ;;\n");
    for (size_t i = 0; i < n; i++)
        bash_words(all[i], out);
    buf_str(out, "    esac\n"
                 "    case $cur in\n"
                 "    -*) _sonde_words \"$options\" ;;\n"
                 "    *)\n"
                 "        if [ \"$COMP_CWORD\" -eq 2 ] && [ -n \"$words\" ]; then\n"
                 "            _sonde_words \"$words\"\n"
                 "        elif [ -n \"$files\" ]; then\n"
                 "            _sonde_files -f\n"
                 "        fi ;;\n"
                 "    esac\n"
                 "}\n"
                 "complete -F _sonde sonde\n");
}

// ---- zsh ------------------------------------------------------------------------------------------------------------
static void zsh_option(const struct setting *s, struct buf *out)
{
    buf_printf(out, " \\\n            '%s%s[", dashes(s), s->flag);
    quoted(out, s->about, "'\\''", "[]:\\");
    buf_char(out, ']');
    if (s->type != SETTING_BOOL) {
        buf_printf(out, ":%s:", s->argument && *s->argument ? s->argument : "VALUE");
        if (s->choices)
            buf_printf(out, "(%s)", s->choices);
        else
            buf_str(out, is_argument(s, "FILE") ? "_files" : is_argument(s, "DIR") ? "_files -/" : "");
    }
    buf_char(out, '\'');
}

static void zsh_command(const struct command *c, struct buf *out)
{
    struct words w;
    words_of(c, &w);
    buf_printf(out, "    %s)\n        _arguments '--help[show help]'", c->name);
    for (size_t i = 0; i < c->n_settings; i++)
        zsh_option(&c->settings[i], out);
    if (w.choices.n)
        buf_printf(out, " \\\n            '1:argument:(%.*s)'", (int)w.choices.n, w.choices.p);
    if (w.files)
        buf_str(out, " \\\n            '*:file:_files'");
    buf_str(out, " ;;\n");
    buf_free(&w.choices);
}

static void zsh(struct buf *out)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    buf_str(out, "#compdef sonde\n# zsh completion of sonde, written by `sonde completion zsh`\n_sonde() {\n    local -a "
                 "commands\n    commands=(\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "        '%s:", all[i]->name);
        quoted(out, all[i]->about, "'\\''", "\\:");
        buf_str(out, "'\n");
    }
    buf_str(out, "        'help:show help'\n    )\n"
                 "    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
                 "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n    help) _arguments "
                 "'1:command:(");
    command_words("", out);
    buf_str(out, ")' ;;\n");
    for (size_t i = 0; i < n; i++)
        zsh_command(all[i], out);
    buf_str(out, "    esac\n}\n"
                 "if [ \"$funcstack[1]\" = _sonde ]; then\n    _sonde \"$@\"\nelse\n    compdef _sonde sonde\nfi\n");
}

// ---- fish -----------------------------------------------------------------------------------------------------------
static void fish_option(const struct command *c, const struct setting *s, struct buf *out)
{
    buf_printf(out, "complete -c sonde -n '__fish_seen_subcommand_from %s' -%s %s", c->name, s->flag[1] ? "l" : "s", s->flag);
    if (s->choices)
        buf_printf(out, " -x -a '%s'", s->choices);
    else if (is_argument(s, "FILE"))
        buf_str(out, " -r -F");
    else if (is_argument(s, "DIR"))
        buf_str(out, " -x -a '(__fish_complete_directories)'");
    else if (s->type != SETTING_BOOL)
        buf_str(out, " -x");
    buf_str(out, " -d '");
    quoted(out, s->about, "\\'", "\\");
    buf_str(out, "'\n");
}

static void fish(struct buf *out)
{
    size_t n;
    const struct command *const *all = command_table(&n);
    buf_str(out, "# fish completion of sonde, written by `sonde completion fish`\ncomplete -c sonde -f\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "complete -c sonde -n __fish_use_subcommand -a %s -d '", all[i]->name);
        quoted(out, all[i]->about, "\\'", "\\");
        buf_str(out, "'\n");
    }
    buf_str(out, "complete -c sonde -n __fish_use_subcommand -a help -d 'show help'\n"
                 "complete -c sonde -n '__fish_seen_subcommand_from help' -a '");
    command_words("", out);
    buf_str(out, "'\n");
    for (size_t i = 0; i < n; i++) {
        struct words w;
        words_of(all[i], &w);
        for (size_t k = 0; k < all[i]->n_settings; k++)
            fish_option(all[i], &all[i]->settings[k], out);
        if (w.choices.n)
            buf_printf(out, "complete -c sonde -n '__fish_seen_subcommand_from %s' -a '%.*s'\n", all[i]->name, (int)w.choices.n,
                       w.choices.p);
        if (w.files)
            buf_printf(out, "complete -c sonde -n '__fish_seen_subcommand_from %s' -F\n", all[i]->name);
        buf_free(&w.choices);
    }
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(struct buf *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    struct error err = {0};
    int words = 0;
    if (settings_load(NULL, 0, NULL, argc, argv, &words, &err) != ERR_OK)
        return cli_fail(&err);
    for (size_t i = 0; words == 1 && i < sizeof shells / sizeof *shells; i++)
        if (strcmp(argv[1], shells[i].name) == 0) {
            struct buf out;
            buf_init(&out, MAX_HELP_TEXT);
            shells[i].print(&out);
            cli_write(buf_slice(&out));
            buf_free(&out);
            return 0;
        }
    fprintf(stderr, "sonde: completion needs the shell's name: sonde completion bash, zsh or fish\n");
    return EXIT_USAGE;
}

const struct command cmd_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .about = "completion for a shell",
    .examples = "  source <(sonde completion bash)\n  source <(sonde completion zsh)\n  sonde completion fish | source\n",
    .run = run,
};
