#include "base/arena.h"
#include "base/alloc.h"
#include <stdarg.h>
#include <stdio.h>

// With the address sanitizer, what no allocation owns is poisoned: the free rest of a chunk, and the padding
// between two allocations.
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 16, CHUNK_FIRST = 4 << 10, CHUNK_LAST = 1 << 20 };

struct arena_chunk {
    struct arena_chunk *next; // older
    size_t size;              // with this head
};
_Static_assert(sizeof(struct arena_chunk) == ALIGN, "the first allocation of a chunk must be aligned");
_Static_assert(alignof(max_align_t) <= ALIGN, "aligned for any type");

static char *chunk_data(struct arena_chunk *c)
{
    return (char *)(c + 1);
}

static void chunk_release(struct arena_chunk *c)
{
    UNPOISON(chunk_data(c), c->size - sizeof *c);
    mem_free(c);
}

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_free(struct arena *a)
{
    for (struct arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        chunk_release(c);
    }
    arena_init(a, a->max);
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = NULL;
    for (struct arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        if (c->size <= CHUNK_LAST && (!keep || c->size > keep->size)) {
            struct arena_chunk *less = keep;
            keep = c;
            c = less;
        }
        if (c)
            chunk_release(c);
    }
    arena_init(a, a->max);
    if (!keep)
        return;
    keep->next = NULL;
    a->chunk = keep;
    a->used = keep->size;
    a->at = chunk_data(keep);
    a->end = (char *)keep + keep->size;
    POISON(a->at, a->end - a->at);
}

static struct arena_chunk *chunk_new(struct arena *a, size_t size)
{
    if (size > a->max || a->used > a->max - size)
        return NULL;
    struct arena_chunk *c = mem_alloc(size);
    if (!c)
        return NULL;
    c->size = size;
    a->used += size;
    return c;
}

// A place of n bytes (a multiple of ALIGN) that the current chunk has no room for.
static char *alloc_slow(struct arena *a, size_t n)
{
    size_t least = n + sizeof(struct arena_chunk);
    size_t size = a->chunk && a->at ? a->chunk->size * 2 : CHUNK_FIRST;
    if (size > CHUNK_LAST)
        size = CHUNK_LAST;
    // A big one gets a chunk of its own behind the current one, whose free rest goes on being used.
    bool own = least > CHUNK_LAST / 4 && least > size / 2;
    if (own || size < least)
        size = least;
    if (size > a->max - a->used)
        size = least; // what the budget may still allow
    struct arena_chunk *c = chunk_new(a, size);
    if (!c)
        return NULL;
    if (own && a->chunk) {
        c->next = a->chunk->next;
        a->chunk->next = c;
        return chunk_data(c);
    }
    c->next = a->chunk;
    a->chunk = c;
    a->at = chunk_data(c) + n;
    a->end = (char *)c + size;
    POISON(a->at, a->end - a->at);
    return chunk_data(c);
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t whole = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    char *p = NULL;
    if (__builtin_expect(whole >= n && whole <= (size_t)(a->end - a->at), 1)) {
        p = a->at;
        a->at += whole;
    } else if (whole >= n && n < SIZE_MAX / 2) {
        p = alloc_slow(a, whole);
    }
    if (!p) {
        a->failed = true;
        return NULL;
    }
    UNPOISON(p, n);
    POISON(p + n, whole - n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *arena_zalloc_array(struct arena *a, size_t size, size_t n)
{
    size_t whole;
    if (__builtin_mul_overflow(size, n, &whole)) {
        a->failed = true;
        return NULL;
    }
    return arena_zalloc(a, whole);
}

void *arena_grow(struct arena *a, void *old, size_t old_n, size_t new_n)
{
    if (old && new_n <= old_n)
        return old;
    size_t old_whole = old_n ? (old_n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    if (old && (char *)old + old_whole == a->at && new_n - old_n <= (size_t)(a->end - a->at)) {
        size_t whole = (new_n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
        if (whole - old_whole <= (size_t)(a->end - a->at)) {
            a->at = (char *)old + whole;
            UNPOISON(old, new_n);
            return old;
        }
    }
    void *p = arena_alloc(a, new_n);
    if (p && old_n)
        memcpy(p, old, old_n);
    return p;
}

struct slice arena_dup(struct arena *a, struct slice s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!p)
        return SLICE_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return slice_of(p, s.n);
}

struct slice arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p ? slice_of(p, (size_t)n) : SLICE_NONE;
}
