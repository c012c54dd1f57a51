// What libsonde reads of its surroundings: every variable goes through here and nowhere else, so that one place knows each
// setting's value and where it came from. The settings stand in settings.def.
//
// Order of those of the status server: environment (an empty value counts as none), /opt/dynamo/etc/runtime.toml,
// /opt/dynamo/defaults/runtime.toml, default. Of OpenTelemetry's, when OTEL_CONFIG_FILE names a file: that file and nothing else.
// Of all others: environment, default. What the program says itself (sonde_init …) stands between the two, and is told by
// env_from_program.
// Thread rule: as getenv; the library reads its settings once, while it starts. What env_get returns is a copy that stays.
#pragma once
#include "base/slice.h"

// The variable's value, "" included; null when it is not set. Never the default.
const char *env_get(const char *name);
// The same for names of files: null in a set-user-ID program, whose user must not choose them.
const char *env_get_path(const char *name);

// The path as it holds after the program has changed its directory, as daemons do; "" stays. False: longer than out has room,
// then out is cut.
bool env_absolute(char *out, size_t n, const char *path);

// By the table's type, default and bounds. An empty or blank value counts as unset. A value that is none: one line on stderr that
// names setting, value, what is accepted and what is used instead, then the default.
int64_t env_int(const char *name);                    // i, m, s, z; -1 when there is neither value nor default
double env_real(const char *name);                    // f
bool env_on(const char *name);                        // b, o, w
int env_choice(const char *name);                     // e: place of the word in the row, from 0; -1: none
unsigned env_level(const char *name);                 // v: as enum sonde_level; 0: off
bool env_text(const char *name, char *out, size_t n); // trimmed, cut to n - 1 bytes; false and "" when there is none
// What the program said in place of the environment; null forgets it. Only told (dump, sonde env), never read.
void env_from_program(const char *name, const char *value, const char *call);
