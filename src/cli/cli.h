// The `sonde` program: one file for each command, registered in the table of main.c. What commands share stands here.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/setting.h"

// Exit codes; `sonde help` lists them.
enum {
    EXIT_FOUND = 0,
    EXIT_NOTHING = 1, // ran fine, nothing matched
    EXIT_USAGE = 2,   // usage or query syntax
    EXIT_SERVER = 3,  // cannot reach the server, refused
    EXIT_PARTIAL = 4, // a limit was hit: the output is valid but not all
    EXIT_DATA = 5,    // data or storage error
};

struct command {
    const char *name, *arguments, *about;
    const char *examples; // lines, may be null
    const struct setting *settings;
    size_t n_settings;
    int (*run)(int argc, char **argv); // argv[0] is the command's name
};
extern const struct command cmd_serve, cmd_logs, cmd_metrics, cmd_trace, cmd_request, cmd_requests, cmd_inspect, cmd_results,
    cmd_config, cmd_env, cmd_man, cmd_completion, cmd_version;
void command_help(const struct command *c, struct buf *out);

// ---- the tables, from which help, man pages, completion and docs/settings.md come -----------------------------------
const struct command *const *command_table(size_t *n);
const struct command *command_find(const char *name); // null if there is none
int command_unknown(const char *name);                // says so on stderr, with what was perhaps meant; the exit code
struct exit_code {
    int code;
    const char *about;
};
enum { EXIT_CODES_N = 6 };
extern const struct exit_code exit_codes[EXIT_CODES_N];
// Commands that share one table of settings are told together: false when an earlier one has the table of the i-th, or it has
// none.
bool command_leads(size_t i);
// "serve", "requests, request, trace and logs": those that share the table of the i-th.
void command_names(size_t i, struct buf *out);
// docs/settings.md, printed by `sonde help --markdown`.
void settings_markdown(struct buf *out);

// libsonde's settings (src/sdk/settings.def): for `sonde env`, docs/settings.md and the manual of sonde-env.
struct jw;
void sdk_settings_text(struct buf *out);
// A setting's value as it may be shown: without keys, tokens and passwords, as in a dump. Appended.
void setting_shown(const char *name, struct slice value, struct buf *out);
void sdk_settings_json(struct jw *w);
void sdk_settings_markdown(struct buf *out);
void sdk_settings_man(struct buf *out, void (*put)(struct buf *out, struct slice s));

// Says "sonde: message" on stderr; returns the exit code that fits the error.
int cli_fail(const struct error *err);
// Writes everything to stdout; a closed pipe ends quietly. On a terminal control characters are shown instead of obeyed.
void cli_write(struct slice s);

// ---- options of the commands that ask a server ----------------------------------------------------------------------
struct client_settings {
    const char *url, *org, *output, *color;
    const char *since, *until;
    int64_t limit, timeout;
    const char *ca, *cert, *key;
};
enum { CLIENT_ROWS_N = 9, CLIENT_SETTINGS_N = CLIENT_ROWS_N + 2 };
extern const struct setting client_settings[CLIENT_SETTINGS_N];
// A row whose value is a member of client_settings, in a command's table; client_settings comes first in the command's structure.
#define CLIENT_ROW(flag_, env_, type_, value_, argument_, about_, field_)                                   \
    {                                                                                                       \
        .flag = flag_, .env = env_, .type = type_, .value = value_, .argument = argument_, .about = about_, \
        .offset = offsetof(struct client_settings, field_)                                                  \
    }
// The CLIENT_ROWS_N rows that all such commands have; outputs: the choices of -o.
#define CLIENT_ROWS(outputs, about_output, about_limit)                                                           \
    CLIENT_ROW("url", "SONDE_URL", SETTING_STR, "http://127.0.0.1:3100", "URL", "the server to ask", url),        \
        CLIENT_ROW("org", "SONDE_ORG", SETTING_STR, "", "TENANT", "tenant, sent as X-Scope-OrgID", org),          \
        {.flag = "o",                                                                                             \
         .type = SETTING_STR,                                                                                     \
         .value = "text",                                                                                         \
         .argument = "FORMAT",                                                                                    \
         .about = about_output,                                                                                   \
         .offset = offsetof(struct client_settings, output),                                                      \
         .choices = outputs},                                                                                     \
        {.flag = "color",                                                                                         \
         .type = SETTING_STR,                                                                                     \
         .value = "auto",                                                                                         \
         .argument = "WHEN",                                                                                      \
         .about = "auto, always or never",                                                                        \
         .offset = offsetof(struct client_settings, color),                                                       \
         .choices = "auto always never"},                                                                         \
        {.flag = "limit",                                                                                         \
         .type = SETTING_INT,                                                                                     \
         .value = "1000",                                                                                         \
         .min = 1,                                                                                                \
         .max = 1000000,                                                                                          \
         .argument = "N",                                                                                         \
         .about = about_limit,                                                                                    \
         .offset = offsetof(struct client_settings, limit)},                                                      \
        CLIENT_ROW("timeout", NULL, SETTING_DURATION, "30s", "TIME", "how long to wait for the answer", timeout), \
        CLIENT_ROW("ca", "SONDE_CA", SETTING_STR, "", "FILE",                                                     \
                   "https: PEM file of the authorities to trust; the system's by default", ca),                   \
        CLIENT_ROW("cert", "SONDE_CERT", SETTING_STR, "", "FILE",                                                 \
                   "https: PEM file of our own certificate, where the server wants one", cert),                   \
        CLIENT_ROW("key", "SONDE_KEY", SETTING_STR, "", "FILE", "https: PEM file of its key", key)

enum output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_JSONL };
// Loads settings (client_settings). False: *code holds the exit code, the message was printed.
bool client_load(struct client_settings *s, enum output *output, const struct command *c, int argc, char **argv, int *words,
                 int *code);
// One question to a server: what stands on the command line, the path to ask for, how the answer is shown.
struct client_ask {
    const struct command *command;
    int min_words, max_words;
    const char *usage; // said when the number of words is another
    // word: the argument, null if there is none
    void (*path)(struct buf *out, const struct client_settings *s, int64_t from, int64_t to, const char *word);
    int (*show)(const struct client_settings *s, enum output output, struct slice body);
};
int client_run(const struct client_ask *a, int argc, char **argv); // returns the exit code
// GET url + path; the body into *out. Prints what was wrong and returns the exit code, or EXIT_FOUND.
int client_get(const struct client_settings *s, struct slice path, struct buf *out);
// Times of --since and --until as ns; --since may be a duration back from now (15m, 3h, 2d) or RFC 3339 or seconds.
bool client_range(const struct client_settings *s, int64_t *from, int64_t *to, struct error *err);

// ---- terminal -------------------------------------------------------------------------------------------------------
bool term_color(const char *when); // auto, always, never; NO_COLOR, FORCE_COLOR, TERM=dumb
int term_width(void);              // columns of stdout, COLUMNS, else 100

// ---- a JSON text as a tree ------------------------------------------------------------------------------------------
enum tree_type { TREE_NULL, TREE_BOOL, TREE_NUMBER, TREE_STRING, TREE_ARRAY, TREE_OBJECT };
struct tree {
    enum tree_type type;
    struct slice key;  // in an object
    struct slice text; // string, or the number as written; for arrays and objects the raw JSON
    double number;
    bool yes;
    struct tree *first, *next;
};
// Null with *err when it is no JSON.
struct tree *tree_parse(struct slice json, struct arena *arena, struct error *err);
const struct tree *tree_get(const struct tree *t, const char *key); // null if absent
struct slice tree_text(const struct tree *t, const char *key);      // "" if absent
double tree_number(const struct tree *t, const char *key, double otherwise);
int64_t tree_i64(const struct tree *t, const char *key); // also of a string; 0 if absent
