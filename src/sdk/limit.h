// Limits of call sites: what SONDE_…_LIMIT holds back and tells of.
#pragma once
#include "sdk/pipeline.h"

// Writes the summary line of each limit whose window is over (all: of each that held back something). Backend, under drain.
void limit_tell(struct pipeline *p, const struct site_table *sites, bool all);
void limit_ring(struct ring *r); // a new one, not in use yet, learns of the limits; under life
void limit_forked(void);         // what the parent held back is the parent's
// Whether a record with that hash repeats the last one within the policy's time; it is counted then.
bool limit_repeats(struct sonde_limit *l, uint64_t hash);
