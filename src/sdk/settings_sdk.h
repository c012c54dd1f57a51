// The table of settings (settings.def) at run time, for whoever prints it: dump, `sonde env`, documentation.
// Thread rule: any; values are told as they are at that moment.
#pragma once
#include "base/buf.h"

struct sdk_setting {
    const char *name, *value, *accepted; // value: default, "" if none
    char type;                           // as in settings.def
};
size_t sdk_settings_n(void);
struct sdk_setting sdk_setting(size_t i);
int sdk_setting_find(const char *name); // -1: there is none
// "text", "path", "1 true on yes", "number 1 to 64", "one of text jsonl" …
void sdk_setting_print_accepted(const struct sdk_setting *s, struct buf *out);
const char *sdk_setting_type(char type); // "text", "path" … one word or two

enum env_from { ENV_FROM_DEFAULT, ENV_FROM_ENVIRONMENT, ENV_FROM_FILE, ENV_FROM_PROGRAM };
struct env_value {
    enum env_from from;
    const char *text;     // in effect; "" if none. Valid as long as the process
    const char *file;     // ENV_FROM_FILE: its path; ENV_FROM_PROGRAM: the call
    int line;             // ENV_FROM_FILE: 0 when not known
    const char *rejected; // what was given but not accepted, else null
};
struct env_value sdk_setting_value(size_t i);
// "default", "environment", "/etc/otel.yaml:12", "sonde_init".
void env_print_from(const struct env_value *v, struct buf *out);

// settings_runtime.c: the status server's settings in Dynamo's files. False: the setting is not one of those, or no file has it.
struct setting_found {
    const char *text, *file;
    int line;
};
bool settings_runtime(const char *name, struct setting_found *out);
bool settings_runtime_row(const char *name); // whether it is one of those
extern const char *settings_runtime_root;    // "/opt/dynamo"; tests change it before the first use
void settings_runtime_forget(void);          // of tests: reads the files again
// config_file.c: what the file of OTEL_CONFIG_FILE says. active: whether it rules.
bool config_file_active(void);
bool config_file_setting(const char *name, struct setting_found *out);
