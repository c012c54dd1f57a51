// Times as logs write them.
#pragma once
#include "base/slice.h"

struct stamp {
    int64_t ns; // since 1970; as if UTC when there is no zone
    bool zoned;
};

// A time at the beginning of s: 2026-11-22T10:00:00 with a blank for the T, a fraction behind '.' or ',' of any length or none,
// and Z, ±HH:MM, ±HHMM (a blank may stand before) or no zone. Returns the number of bytes it takes; 0: there is none.
size_t stamp_read(struct slice s, struct stamp *out);
// The first one in s.
bool stamp_find(struct slice s, struct stamp *out);
// A JSON value: such a time, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970 (told by its size).
bool stamp_value(struct slice s, struct stamp *out);
