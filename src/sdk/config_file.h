// The file of OTEL_CONFIG_FILE: read while the library starts, mapped onto the rows of settings.def.
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "sdk/settings_sdk.h"

// Reads OTEL_CONFIG_FILE if it is set, once in the process; complaints go to stderr. Takes the loader's lock, so no lock of ours
// may be held.
void config_file_start(void);
// What a model says about one setting; the text is copied. Later ones of the same name are put behind a comma when join is set.
// Before the library starts, or in config_file_start. False without memory, or when there is no such setting.
bool config_file_put(const char *name, struct slice text, int line, bool join);
void config_file_rule(const char *path); // from now on it holds: no other OTEL_ variable counts
void config_file_clear(void);            // forgets everything put so far
