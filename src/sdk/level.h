// Which records go out by level and target, and changes of that while the process runs: sonde_set_filter, a filter that ends by
// itself, the control file.
//
// Two filters lie side by side; a change is parsed into the idle one, then the pointer changes under `lock`, then every call site
// gets its new state. Call sites are found by number, never through their own links: the library that held one may have been
// unloaded, so a site is touched only inside dl_iterate_phdr, which keeps libraries where they are.
// Locks: change (outermost of all) · the loader's · sdk.life · lock (innermost, held for one look-up).
#pragma once
#include "sdk/filter.h"
#include "sdk/site.h"

enum { LEVEL_POLL_NS = 50000000, LEVEL_CONTROL_MAX = FILTER_TEXT };

void level_configure(struct buf *notes);               // from the environment and files, at the start; under life
bool level_add_site(struct sonde_site *record);        // the next number's call site; false without memory. Under life
void level_drop_site(const struct sonde_site *record); // it was the last, and gets no number after all
uint32_t level_site_state(const struct site *s);       // enum sonde_site_state by the filter; under life
void level_refresh(void);                              // tells every call site its state
unsigned level_target(struct slice target);            // up to which records go out, whatever span they are in
// What a span of that name and target, with the fulfilled conditions, lets out; 0: nothing more. The generation tells filters
// apart: conditions hold for theirs only.
unsigned level_span(struct slice target, struct slice name, uint32_t conditions);
uint32_t level_field(struct slice key, struct slice value);
// The backend, each turn: control file and end of a filter with a time. Returns when it wants the next turn (monotonic ns).
int64_t level_turn(int64_t now);
struct level_shown {
    char now[FILTER_TEXT], then[FILTER_TEXT]; // directives in effect, and those that follow; "": the defaults
    int64_t left_ms;                          // until then; 0: no end
};
void level_show(struct level_shown *out); // tells env.h too where DYN_LOG's value comes from
void level_before_fork(void);
void level_after_fork(bool child);

extern struct level_now { // atomics, for the fast paths
    unsigned generation, max_span_level, n_conditions;
} level_now;
