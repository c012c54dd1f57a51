// Batches on disk: what has no room in memory or is left at the end waits in a directory, one file each, until the collector
// takes it, from this process or a later one.
//
// File "<20 digits: wall clock ns>-<pid>-<count>.otlp", little-endian:
//   0   "SONDSPL1"
//   8   u64 items
//   16  u64 bytes of the request
//   24  u64 XXH3 of the request, seeded with items
//   32  the request: Export…ServiceRequest
// Written as ".tmp-…", synced, renamed. Oldest first is the order of names. Whoever delivers holds flock on "lock" in the
// directory; anybody may add. Thread rule: any thread; a file taken is the taker's until spool_done.
#pragma once
#include "base/buf.h"

enum { SPOOL_NAME = 80, SPOOL_HEAD = 32 };
#define SPOOL_MAGIC "SONDSPL1"

struct spool;
// dir/name is made when first used; max: bytes of all files in it. Null without memory.
struct spool *spool_new(const char *dir, const char *name, uint64_t max);
void spool_free(struct spool *s);
// False: no room, or it could not be written (why tells).
bool spool_put(struct spool *s, struct slice request, size_t items, char *why, size_t n);
// Takes the oldest, if nobody else delivers; *damaged counts files that were removed because their content is not what was
// written. False: nothing there for us.
bool spool_take(struct spool *s, char name[SPOOL_NAME], struct buf *request, size_t *items, unsigned *damaged);
void spool_done(struct spool *s, const char *name, bool delivered); // delivered (or refused for good): the file is removed
bool spool_any(struct spool *s);                                    // files are there
void spool_forked(struct spool *s);                                 // in a child: gives up the parent's lock's descriptor
