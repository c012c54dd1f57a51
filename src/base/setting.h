// Settings of a program, from one table: a row names the option on the command line and in the environment, its type, default,
// bounds and meaning. Parsing, help, documentation and validation come from the rows. Order: flag > environment > default.
#pragma once
#include "base/buf.h"
#include "base/error.h"

enum setting_type {
    SETTING_STR,      // const char *
    SETTING_INT,      // int64_t
    SETTING_SIZE,     // int64_t bytes: 64MiB, 10kB, 4096
    SETTING_DURATION, // int64_t nanoseconds: 500ms, 5s, 2m, 1h, 7d
    SETTING_BOOL,     // bool: 1 true on yes / 0 false off no; a flag without value means true
};

struct setting {
    const char *flag; // "http", given as --http VALUE or --http=VALUE
    const char *env;  // "SONDE_HTTP", or null
    enum setting_type type;
    const char *value;    // default, as text
    int64_t min, max;     // numbers: bounds, both 0 = none
    const char *argument; // "ADDR" in help
    const char *about;    // one sentence
    size_t offset;        // of the typed value in the program's settings structure
};

// Fills *out from defaults, environment, then argv[1…argc-1]. Words that are no options are moved to the front of argv[1…]
// and counted in *rest ("--" ends options). ERR_INPUT with a sentence that names the option, the value and what is accepted.
enum errc settings_load(const struct setting *rows, size_t n, void *out, int argc, char **argv, int *rest, struct error *err);
// One block of help text, a line an option.
void settings_help(const struct setting *rows, size_t n, struct buf *out);
// The value of one row as text, for `sonde env` and dumps.
void setting_print(const struct setting *row, const void *settings, struct buf *out);

enum errc setting_parse_size(struct slice text, int64_t *bytes, struct error *err);
enum errc setting_parse_duration(struct slice text, int64_t *ns, struct error *err);
