// What the two versions of Prometheus' remote write share. Inside event/ only.
#pragma once
#include "event/decode.h"
#include "event/sample.h"

enum { METADATA_TYPES = 8 };
extern const char *const write_types[METADATA_TYPES]; // by number: "unknown", "counter" …

// A Histogram message. False: it cannot be read. *why is set (else null) when it is no histogram that can be stored.
struct write_histogram {
    struct slice bytes; // as event/sample.h encodes it, in the arena
    int64_t time_ms, start_ms;
    const char *why;
};
bool write_histogram_read(struct decode *d, struct pb *r, struct write_histogram *out);
// The other way: field `field` of the message that out holds.
void write_histogram_put(struct buf *out, uint32_t field, const struct histogram_sample *h, int64_t time_ms);
// Milliseconds as ns; those out of range become the nearest.
int64_t write_time(int64_t ms);
// A Sample of either version at r's field; start_ms (may be null) is of 2.0 alone.
bool write_sample_read(struct pb *r, double *value, int64_t *ms, int64_t *start_ms);
