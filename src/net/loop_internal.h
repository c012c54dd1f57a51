// Parts of the loop that only net/ itself uses.
#pragma once
#include "net/loop.h"
#include <stdbool.h>

// A message that lives inside its sender's structure, so that posting it cannot fail. fn owns the item from then on.
// The item must not be posted again before fn ran. loop_free runs items that are still waiting.
struct loop_item {
    struct loop_item *next;
    void (*fn)(struct loop_item *it);
};
void loop_post_item(struct loop *l, struct loop_item *it); // thread-safe

// Takes back an item that waits; nothing if it does not. While the loop is not running.
void loop_unpost(struct loop *l, struct loop_item *it);

bool loop_here(const struct loop *l);    // the calling thread is the one that turns (or last turned) the loop
bool loop_running(const struct loop *l); // inside loop_run or loop_turn; thread-safe
