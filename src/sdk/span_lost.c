// Spans whose end found no room in the ring. They would stay open for good, and after 65536 of them no span could be kept any
// more: their ids wait here until the backend has read what they said, and then it forgets them.
//
// The places are there from the beginning, as who ends a span must not wait for memory. A place: free, being written, ready (by
// any thread), taken (the backend, under the drain lock).
#include "sdk/meter_counts.h"
#include "sdk/sdk.h"

enum { PLACES = 4096, TRIES = 64 };
enum place_state { PLACE_FREE, PLACE_WRITTEN, PLACE_READY, PLACE_TAKEN };

static struct place {
    atomic_uint state;
    uint8_t ids[24];
} place[PLACES];
static atomic_uint next_place;
static atomic_uint n_ready; // may be behind, never too small for long

void sdk_span_end_lost(const uint8_t *ids)
{
    for (int i = 0; i < TRIES; i++) {
        struct place *p = &place[atomic_fetch_add_explicit(&next_place, 1, memory_order_relaxed) % PLACES];
        unsigned expected = PLACE_FREE;
        if (!atomic_compare_exchange_strong_explicit(&p->state, &expected, PLACE_WRITTEN, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        memcpy(p->ids, ids, sizeof p->ids);
        atomic_store_explicit(&p->state, PLACE_READY, memory_order_release);
        atomic_fetch_add_explicit(&n_ready, 1, memory_order_release);
        return;
    }
    sdk_lost(0, false); // that span stays open
}

bool sdk_span_ends_take(void)
{
    bool any = false;
    if (!atomic_load_explicit(&n_ready, memory_order_acquire))
        return false;
    for (int i = 0; i < PLACES; i++) {
        unsigned expected = PLACE_READY;
        if (atomic_load_explicit(&place[i].state, memory_order_relaxed) == PLACE_READY &&
            atomic_compare_exchange_strong_explicit(&place[i].state, &expected, PLACE_TAKEN, memory_order_acquire,
                                                    memory_order_relaxed)) {
            atomic_fetch_sub_explicit(&n_ready, 1, memory_order_relaxed);
            any = true;
        }
    }
    return any;
}

void sdk_span_ends_forget(void)
{
    for (int i = 0; i < PLACES; i++) {
        if (atomic_load_explicit(&place[i].state, memory_order_relaxed) != PLACE_TAKEN)
            continue;
        struct bspan *span = span_find(&sdk.pipe.spans, place[i].ids + 16, place[i].ids);
        if (span) {
            meter_count(&meter_counts.spans_ended);
            span_finish(&sdk.pipe.spans, span);
        }
        atomic_store_explicit(&place[i].state, PLACE_FREE, memory_order_release);
    }
}
