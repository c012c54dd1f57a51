// sonde inspect wal|part|ring FILE: prints a file in readable form, as far as it can be read.
#include "base/limits.h"
#include "cli/cli.h"
#include "sdk/inspect.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

struct inspect_settings {
    bool verbose, json;
};

static const struct setting settings[] = {
    {.flag = "v",
     .type = SETTING_BOOL,
     .value = "off",
     .about = "every record, not only the summary",
     .offset = offsetof(struct inspect_settings, verbose)},
    {.flag = "json",
     .type = SETTING_BOOL,
     .value = "off",
     .about = "ring: records as JSONL",
     .offset = offsetof(struct inspect_settings, json)},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

static int run(int argc, char **argv)
{
    struct inspect_settings s = {0};
    struct error err = {0};
    struct buf out;
    int words = 0;
    enum errc rc;
    if (settings_load(settings, N_SETTINGS, &s, argc, argv, &words, &err) != ERR_OK)
        return cli_fail(&err);
    if (words != 2) {
        fprintf(stderr, "sonde: inspect needs a kind and a file: sonde inspect wal|part|ring FILE\n");
        return EXIT_USAGE;
    }
    buf_init(&out, MAX_INSPECT_TEXT);
    if (strcmp(argv[1], "wal") == 0)
        rc = wal_inspect(argv[2], s.verbose, &out, &err);
    else if (strcmp(argv[1], "part") == 0)
        rc = part_inspect(argv[2], s.verbose, &out, &err);
    else if (strcmp(argv[1], "ring") == 0)
        rc = ring_inspect(argv[2], s.json, &out, &err);
    else
        rc = ERR(&err, INPUT, "inspect \"%s\": wal, part and ring are accepted", argv[1]);
    cli_write(buf_slice(&out));
    buf_free(&out);
    return rc == ERR_OK ? 0 : cli_fail(&err);
}

const struct command cmd_inspect = {
    .name = "inspect",
    .arguments = "wal|part|ring FILE",
    .about = "print a file of Sonde's in readable form",
    .examples = "  sonde inspect ring /dev/shm/sonde-0/decode-4711.ring\n  sonde inspect wal -v sonde-data/wal/*.wal\n",
    .settings = settings,
    .n_settings = N_SETTINGS,
    .run = run,
};
