// Settings of a program, from one table: a row names the option on the command line, in the environment and in a TOML file, its
// type, default, bounds and meaning. Parsing, help, documentation, completion and validation come from the rows.
// Order: flag > environment > file > default. There is a file where a row of type SETTING_CONFIG names one; its keys are the
// flags of the other rows with _ for -: otlp_grpc = "0.0.0.0:4317". An empty environment variable counts as unset.
// Thread rule: loading belongs to the main thread before others start (getenv); reading the values to any.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum setting_type {
    SETTING_STR,      // const char *
    SETTING_INT,      // int64_t
    SETTING_SIZE,     // int64_t bytes: 64MiB, 10kB, 4096
    SETTING_DURATION, // int64_t nanoseconds: 500ms, 5s, 2m, 1h, 7d
    SETTING_BOOL,     // bool: 1 true on yes / 0 false off no; a flag without value means true
    SETTING_CONFIG,   // const char *: path of the TOML file that holds values of the other rows; at most one row
};

struct setting {
    const char *flag; // "http", given as --http VALUE or --http=VALUE
    const char *env;  // "SONDE_HTTP", or null
    enum setting_type type;
    const char *value;    // default, as text
    int64_t min, max;     // numbers: bounds, both 0 = none
    const char *argument; // "ADDR" in help; FILE and DIR are completed as such
    const char *about;    // one sentence
    size_t offset;        // of the typed value in the program's settings structure
    const char *choices;  // SETTING_STR: the accepted words, "text json jsonl"; null = any
};

enum setting_from { SETTING_FROM_DEFAULT, SETTING_FROM_FILE, SETTING_FROM_ENV, SETTING_FROM_FLAG };
struct setting_origin {
    enum setting_from from;
    int line; // of the file
};

// Fills *out from defaults, file, environment, then argv[1…argc-1]; argv[0] is the command, for messages. Words that are no
// options are moved to the front of argv[1…] and counted in *rest ("--" ends options). ERR_INPUT with a sentence that names the
// option, the value and what is accepted; for the file also its line (ERR_SYNTAX when it is no TOML).
enum errc settings_load(const struct setting *rows, size_t n, void *out, int argc, char **argv, int *rest, struct error *err);
// The same, with what a file needs: the arena holds the texts from it and must live as long as *out. origins: n elements that are
// filled, or null. settings_load() itself refuses rows of type SETTING_CONFIG (ERR_BUG).
enum errc settings_load_file(const struct setting *rows, size_t n, void *out, int argc, char **argv, int *rest,
                             struct arena *arena, struct setting_origin *origins, struct error *err);
// One block of help text, a line an option.
void settings_help(const struct setting *rows, size_t n, struct buf *out);
// The value of one row as text that may be given again, for `sonde env` and dumps: 64MiB, 1500ms, on.
void setting_print(const struct setting *row, const void *settings, struct buf *out);
// Where the value of rows[i] came from: "flag --http", "environment SONDE_HTTP", "/etc/sonde.toml:3", "default".
void setting_print_origin(const struct setting *rows, size_t n, const void *settings, const struct setting_origin *origins,
                          size_t i, struct buf *out);
// The row's key in a TOML file.
void setting_print_key(const struct setting *row, struct buf *out);
// What is accepted: "number 1 to 64", "text, json or jsonl", "size, as 64MiB or 10kB".
void setting_print_accepted(const struct setting *row, struct buf *out);
// "text", "number", "size", "duration", "on or off", "file".
const char *setting_type_text(enum setting_type type);

enum errc setting_parse_size(struct slice text, int64_t *bytes, struct error *err);
enum errc setting_parse_duration(struct slice text, int64_t *ns, struct error *err);

// How many letters must be put in, left out, changed or swapped with their neighbour to make b of a; case and - against _ do
// not count. Words beyond 64 letters are as far as their length.
size_t word_distance(struct slice a, struct slice b);
// Whether b is near enough to a to ask "did you mean".
bool word_is_near(struct slice a, struct slice b);
