// Regular expressions of filter directives, [span{field=value}]: . [a-z] [^a-z] ( ) (?: ) | * + ? {m,n} ^ $ \d \w \s \D \W \S and
// characters behind a backslash; (?i) at the beginning. As in the original grammar, a match may begin anywhere and must reach
// the end of the text. No memory is taken, and the time is at most the text's length times the pattern's.
#pragma once
#include "base/slice.h"

enum { PATTERN_MAX = 256 }; // steps of the longest pattern

// Whether it has a character that means something else than itself; without one a value is compared as it is.
bool pattern_is(struct slice pattern);
// Null, or what is wrong with it.
const char *pattern_check(struct slice pattern);
// A pattern with a mistake matches nothing.
bool pattern_match(struct slice pattern, struct slice text);
