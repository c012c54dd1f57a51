#include "base/limits.h"
#include "cli/cli.h"
#include "serve/serve.h"

#include <stdio.h>

static int run(int argc, char **argv)
{
    static struct serve_settings settings; // lives as long as the server, as what the file holds
    static struct arena arena;
    struct error err = {0};
    int words = 0;
    arena_init(&arena, MAX_SETTINGS_MEMORY);
    if (settings_load_file(serve_settings, SERVE_SETTINGS_N, &settings, argc, argv, &words, &arena, NULL, &err) != ERR_OK)
        return cli_fail(&err);
    if (words) {
        fprintf(stderr, "sonde: serve takes no argument \"%s\"; `sonde help serve` lists its options\n", argv[1]);
        return EXIT_USAGE;
    }
    return serve_run(&settings, &err) == ERR_OK ? 0 : cli_fail(&err);
}

const struct command cmd_serve = {
    .name = "serve",
    .arguments = "[OPTIONS]",
    .about = "receive, store and answer: OTLP, Loki, Tempo, Prometheus, web page",
    .examples = "  sonde serve\n  sonde serve --data /var/lib/sonde --http 0.0.0.0:3100 --retention 7d\n  sonde serve --config "
                "/etc/sonde.toml\n",
    .settings = serve_settings,
    .n_settings = SERVE_SETTINGS_N,
    .run = run,
};
