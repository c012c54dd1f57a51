#include "base/clock.h"
#include "base/limits.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {&cmd_serve,   &cmd_requests,   &cmd_request, &cmd_trace,  &cmd_logs,
                                                 &cmd_metrics, &cmd_results,    &cmd_inspect, &cmd_config, &cmd_env,
                                                 &cmd_man,     &cmd_completion, &cmd_version};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

const struct exit_code exit_codes[EXIT_CODES_N] = {
    {EXIT_FOUND, "found, done"},
    {EXIT_NOTHING, "ran fine, nothing matched"},
    {EXIT_USAGE, "wrong usage, setting or query"},
    {EXIT_SERVER, "no server, or it refused"},
    {EXIT_PARTIAL, "a limit was hit: the output is valid but not all"},
    {EXIT_DATA, "damaged data or storage"},
};

const struct command *const *command_table(size_t *n)
{
    *n = N_COMMANDS;
    return commands;
}

bool command_leads(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (commands[k]->settings == commands[i]->settings)
            return false;
    return commands[i]->n_settings > 0;
}

void command_names(size_t i, struct buf *out)
{
    size_t left = 0, told = 0;
    for (size_t k = 0; k < N_COMMANDS; k++)
        left += commands[k]->settings == commands[i]->settings;
    for (size_t k = 0; k < N_COMMANDS; k++)
        if (commands[k]->settings == commands[i]->settings) {
            left--;
            buf_printf(out, "%s%s", told++ == 0 ? "" : left ? ", " : " and ", commands[k]->name);
        }
}

static void overview(struct buf *out)
{
    buf_str(out, "sonde: the flight recorder and the control room of LLM inference\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        buf_printf(out, "  sonde %-10s %-19s %s\n", commands[i]->name, commands[i]->arguments, commands[i]->about);
    buf_str(out, "\n`sonde help COMMAND` shows options and examples.\n"
                 "`sonde env` shows every setting, its value and where it comes from; `sonde man` the manual.\n\nExit codes\n");
    for (size_t i = 0; i < EXIT_CODES_N; i++)
        buf_printf(out, "  %d  %s\n", exit_codes[i].code, exit_codes[i].about);
}

void command_help(const struct command *c, struct buf *out)
{
    buf_printf(out, "sonde %s%s%s\n  %s\n", c->name, *c->arguments ? " " : "", c->arguments, c->about);
    if (c->examples)
        buf_printf(out, "\nExamples\n%s", c->examples);
    if (c->n_settings) {
        buf_str(out, "\nOptions\n");
        settings_help(c->settings, c->n_settings, out);
    }
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

int command_unknown(const char *name)
{
    const struct command *best = NULL;
    struct slice s = slice_str(name);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        struct slice other = slice_str(commands[i]->name);
        if (word_is_near(s, other) && (!best || word_distance(s, other) < word_distance(s, slice_str(best->name))))
            best = commands[i];
    }
    fprintf(stderr, "sonde: there is no command \"%s\"%s%s%s `sonde help` lists them\n", name, best ? "; did you mean " : "",
            best ? best->name : "", best ? "?" : ";");
    return EXIT_USAGE;
}

static int help(const char *name)
{
    bool markdown = name && strcmp(name, "--markdown") == 0;
    const struct command *c = name && !markdown ? command_find(name) : NULL;
    struct buf out;
    if (name && !c && !markdown)
        return command_unknown(name);
    buf_init(&out, MAX_HELP_TEXT);
    if (markdown)
        settings_markdown(&out);
    else if (c)
        command_help(c, &out);
    else
        overview(&out);
    cli_write(buf_slice(&out));
    buf_free(&out);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    clock_init();
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(NULL);
    if (strcmp(argv[1], "help") == 0)
        return help(argc > 2 && strcmp(argv[2], "--help") != 0 && strcmp(argv[2], "-h") != 0 ? argv[2] : NULL);
    const struct command *c = command_find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (!c)
        return command_unknown(argv[1]);
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(c->name);
    return c->run(argc - 1, argv + 1);
}
