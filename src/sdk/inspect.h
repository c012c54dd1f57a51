// `sonde inspect ring FILE`: the records of a dead or living process, read from its ring without its binary.
#pragma once
#include "base/buf.h"
#include "base/error.h"

enum { INSPECT_OUT_MAX = 1 << 30 }; // what a caller may give `out` as its maximum

struct ring_report {
    uint64_t records, torn, damaged, lost;
    uint64_t suppressed; // by limits of call sites, as far as no line told of it
    uint32_t threads, pid, open_spans;
    bool clean, alive;
};

// Appends all records that the file still holds, written out by the process or not, threads merged in time order, as text
// (with # lines about the process) or as JSONL (whose last line tells the counts), then the spans that were not ended, then a
// line for each call site whose limit held records back: how many in all, and how many of them no line of the process told of.
// A record whose writing was cut off is counted as torn; damaged places are skipped and counted. ERR_IO: cannot be read,
// ERR_CORRUPT / ERR_UNSUPPORTED: no ring file, or of another version. report may be null.
// Of the calling process, also when its ring is anonymous memory.
struct ring;
enum errc ring_inspect_own(const struct ring *ring, bool jsonl, struct buf *out, struct error *err);
enum errc ring_inspect(const char *path, bool jsonl, struct buf *out, struct error *err);
enum errc ring_inspect_report(const char *path, bool jsonl, struct buf *out, struct ring_report *report, struct error *err);
