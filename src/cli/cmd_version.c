#include "base/json.h"
#include "cli/cli.h"

#include <stdio.h>

static int run(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "sonde: version takes no argument \"%s\"\n", argv[1]);
        return EXIT_USAGE;
    }
    printf("sonde %s (json kernel %s)\n", SONDE_VERSION, json_kernel());
    return 0;
}

const struct command cmd_version = {.name = "version", .arguments = "", .about = "the program's version", .run = run};
