// The allocator of the whole tree: malloc, with one hook by which a test lets the n-th allocation fail.
// Thread rule: any thread. The hook counts the allocations of all threads together.
#pragma once
#include <stdbool.h>
#include <stddef.h>

// n bytes, contents undefined; null when out of memory. n = 0 gives a valid pointer.
void *mem_alloc(size_t n);
void *mem_zalloc(size_t n); // zeroed
// As realloc: on failure null, and p stays as it was.
void *mem_realloc(void *p, size_t n);
void mem_free(void *p); // null is allowed

// For tests: the n-th allocation from now fails (1: the next one), later ones succeed again. 0 switches the hook off.
// A fault test runs its subject with n = 1, 2, 3 … until mem_fail_hit() says that no allocation failed any more.
void mem_fail_after(long n);
bool mem_fail_hit(void); // whether the failure asked for last has happened
