// When a process of a serving stack said that it is up.
#pragma once
#include "base/slice.h"

struct ready {
    int64_t first_ns, again_ns; // of the first such line with a time; of the first one at or after `fault`. 0: none
    uint32_t most;              // how often it said the same: its starts
};
// Searches the whole text of a log, a long one by `threads` (0: one a core, at most 8). fault: 0 for none.
void ready_find(struct slice text, int64_t fault, unsigned threads, struct ready *out);
