// The filter of repeated requests: hashes (batch_row_hash) of the rows a table got lately. Two generations of
// MAX_DEDUP_ROWS each: when the younger is full it becomes the older, and the older is forgotten. Hashes of a commit
// under way stand apart until it succeeded.
// A table that is out of memory remembers less; a repeated row may then be stored again.
// Thread rule: the log's thread only (and the opening thread before it starts).
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct dedup_set {
    uint64_t *slot; // open addressing, 0 = free
    uint32_t n, cap;
};
struct dedup {
    struct dedup_set now, before, pending;
};

bool dedup_seen(const struct dedup *d, uint64_t hash);
void dedup_add_pending(struct dedup *d, uint64_t hash);
// At a start, oldest first: the generations may be larger, since the log that is kept may have more rows than two.
void dedup_restore(struct dedup *d, uint64_t hash);
void dedup_commit(struct dedup *d); // the pending ones stay
void dedup_forget(struct dedup *d); // the pending ones go
void dedup_free(struct dedup *d);
