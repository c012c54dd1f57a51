// What libsonde reads of its surroundings: every variable goes through here and nowhere else, so that one place knows where a
// setting's value came from.
// Thread rule: as getenv; the library reads its settings once, while it starts.
#pragma once

// The variable's value, "" included; null when it is not set.
const char *env_get(const char *name);
// The same for names of files: null in a set-user-ID program, whose user must not choose them.
const char *env_get_path(const char *name);
