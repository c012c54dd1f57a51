// RE2 behind a C face (regex_shim.cc; the only other C++ of the program is promql/shortest.cc). Syntax and meaning of Go's
// regexp.
#pragma once
#include "base/error.h"
#include "base/slice.h"

struct regex;
// anchored: must match the whole text. Compiled once, usable from any thread.
enum errc regex_new(struct regex **out, struct slice pattern, bool anchored, struct error *err);
void regex_free(struct regex *r); // null is fine
bool regex_match(const struct regex *r, struct slice text);
int regex_groups(const struct regex *r);                        // capture groups
const char *regex_group_name(const struct regex *r, int group); // 1 … groups; "" if unnamed
// Fills groups+1 slices (0 is the whole match; unmatched groups have p == NULL). False if no match.
bool regex_find(const struct regex *r, struct slice text, struct slice *groups, int n);
