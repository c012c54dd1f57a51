// The KV pool of a simulated engine: blocks of KV_BLOCK tokens, taken when a sequence is admitted and as it grows.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { KV_BLOCK = 16, KV_BYTES_PER_TOKEN = 128 << 10 }; // 128 KiB: an 8B model in bfloat16

struct kv_pool {
    int64_t total, used;
};
static inline int64_t kv_blocks(int64_t tokens)
{
    return (tokens + KV_BLOCK - 1) / KV_BLOCK;
}
// All or nothing.
static inline bool kv_take(struct kv_pool *p, int64_t blocks)
{
    if (blocks > p->total - p->used)
        return false;
    p->used += blocks;
    return true;
}
static inline void kv_give(struct kv_pool *p, int64_t blocks)
{
    p->used -= blocks;
}
