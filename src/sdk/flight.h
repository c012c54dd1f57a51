// The flight recorder: records below the filter lie in the ring like all others (REC_HELD) until they are overwritten. An ERROR
// inside a trace, or whoever calls sonde_flight_release, has those of its trace written out once.
//
// The backend passes each held record without reading it, and only notes its trace in a small set of its chunk (512 bits: a bit a
// trace). A release looks at the chunks whose set has the trace, at most 16 KiB each under the ring's lock, so that nobody takes
// the chunk meanwhile. A record that was released loses REC_HELD where it lies, and so is never written twice.
// Thread rule: under sdk.drain.
#pragma once
#include "sdk/ring.h"

enum {
    FLIGHT_RETRO_MAX = 1000,    // records of one trace that are written after all; the newest of them
    FLIGHT_COLLECT_MAX = 65536, // that are looked at for it
    FLIGHT_TRACES = 256,        // traces whose number of written records is remembered
    FLIGHT_SET = 512,           // bits a chunk
};

struct sdk;
struct buf;
void flight_configure(void); // SONDE_FLIGHT_LEVEL, SONDE_RETRO
extern bool flight_retro;    // whether an ERROR releases its trace
// A held record at p, in the chunk that is read of the lane.
void flight_pass(struct ring *r, const struct ring_lane *l, const char *p);
// Writes out what is held of the trace up to what the backend has read. This is the place where a verdict comes in: today that of
// an ERROR record of this process; one from the end of the request, across services, will arrive as a call of it.
void flight_release(struct sdk *s, const uint8_t trace_id[16]);
void flight_forget(void); // a forked child
