// One byte for each resource hash: what a scan was answered about it, so that it asks once.
#pragma once
#include "base/hash.h"

struct answers {
    struct id128 *key; // open addressing
    uint8_t *answer;   // 0: free
    uint32_t n, cap;
};

// The place of the key's answer (0: new, to be set to something else); null when out of memory. Valid until the next call.
uint8_t *answer_of(struct answers *m, struct id128 key);
void answers_free(struct answers *m);
