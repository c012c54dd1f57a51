#include "base/clock.h"
#include "base/limits.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {&cmd_serve, &cmd_requests, &cmd_request, &cmd_trace, &cmd_logs, &cmd_inspect, &cmd_version};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void overview(struct buf *out)
{
    buf_str(out, "sonde: the flight recorder and the control room of LLM inference\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        buf_printf(out, "  sonde %-9s %-16s %s\n", commands[i]->name, commands[i]->arguments, commands[i]->about);
    buf_str(out, "\n`sonde help COMMAND` shows options and examples.\n"
                 "Exit codes: 0 found, 1 nothing matched, 2 usage or query, 3 server, 4 partial, 5 data.\n");
}

void command_help(const struct command *c, struct buf *out)
{
    buf_printf(out, "sonde %s %s\n  %s\n", c->name, c->arguments, c->about);
    if (c->examples)
        buf_printf(out, "\nExamples\n%s", c->examples);
    if (c->n_settings) {
        buf_str(out, "\nOptions\n");
        settings_help(c->settings, c->n_settings, out);
    }
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    fprintf(stderr, "sonde: there is no command \"%s\"; `sonde help` lists them\n", name);
    return EXIT_USAGE;
}

static int help(const char *name)
{
    const struct command *c = name ? find(name) : NULL;
    struct buf out;
    if (name && !c)
        return unknown(name);
    buf_init(&out, MIB(1));
    if (c)
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
        return help(argc > 2 ? argv[2] : NULL);
    const struct command *c = find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (!c)
        return unknown(argv[1]);
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(c->name);
    return c->run(argc - 1, argv + 1);
}
