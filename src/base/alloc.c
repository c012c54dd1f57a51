#include "base/alloc.h"
#include <stdatomic.h>
#include <stdlib.h>

// Allocations left until the one that fails; 0 is off.
static atomic_long fail_in;

static bool fails(void)
{
    if (__builtin_expect(atomic_load_explicit(&fail_in, memory_order_relaxed) <= 0, 1))
        return false;
    return atomic_fetch_sub_explicit(&fail_in, 1, memory_order_relaxed) == 1;
}

void *mem_alloc(size_t n)
{
    return fails() ? NULL : malloc(n ? n : 1);
}
void *mem_zalloc(size_t n)
{
    return fails() ? NULL : calloc(1, n ? n : 1);
}
void *mem_realloc(void *p, size_t n)
{
    return fails() ? NULL : realloc(p, n ? n : 1);
}
void mem_free(void *p)
{
    free(p);
}

void mem_fail_after(long n)
{
    atomic_store(&fail_in, n);
}
bool mem_fail_hit(void)
{
    return atomic_load(&fail_in) <= 0;
}
