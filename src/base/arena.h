// An arena: memory that lives and dies together (a batch, a request, a query). Chunks grow; nothing is freed alone.
// The maximum is a budget: an allocation beyond it returns NULL, and arena_failed() says so until the arena is reset.
// Thread rule: one thread at a time.
#pragma once
#include "base/error.h"
#include "base/slice.h"
#include <stdalign.h>

struct arena_chunk;
struct arena {
    struct arena_chunk *chunk; // newest first
    char *at, *end;            // free part of the newest chunk
    size_t used;               // bytes taken from the system
    size_t max;                // budget for `used`
    bool failed;
};

void arena_init(struct arena *a, size_t max);
void arena_free(struct arena *a);  // gives everything back; the arena may be used again
void arena_reset(struct arena *a); // forgets the contents, keeps one chunk for reuse

// n bytes, aligned for any type, contents undefined; NULL when over budget or out of memory. n = 0 gives a valid pointer.
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);                    // zeroed
void *arena_zalloc_array(struct arena *a, size_t size, size_t n); // n zeroed elements; an overflow counts as over budget
// Grows an array: a new place with the old bytes copied, or the old one if it could grow in place. NULL as above.
void *arena_grow(struct arena *a, void *old, size_t old_n, size_t new_n);
// A copy of the bytes, with a 0 behind it (not counted). p is NULL when over budget.
struct slice arena_dup(struct arena *a, struct slice s);
struct slice arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool arena_failed(const struct arena *a)
{
    return a->failed;
}
#define ARENA_NEW(a, type)      ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zalloc_array((a), sizeof(type), (size_t)(n)))
