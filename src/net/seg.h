// Segments: bytes on their way out, in a queue; and, from a replier to the loop's thread, what to do with them.
#pragma once
#include "base/alloc.h"
#include "base/slice.h"
#include <sys/uio.h>

enum seg_kind { SEG_DATA, SEG_REPLY, SEG_BEGIN, SEG_END, SEG_GRPC };

struct seg {
    struct seg *next;
    enum seg_kind kind;
    int status;        // SEG_REPLY, SEG_BEGIN: HTTP; SEG_GRPC: gRPC
    size_t n, at, cap; // bytes, sent, room
    char data[];
};
struct seg_queue {
    struct seg *first, *last;
    size_t n; // unsent bytes
};
enum { SEG_ROOM = 16 << 10, SEG_IOVECS = 32 };

struct seg *seg_new(enum seg_kind kind, int status, size_t cap); // null without memory
static inline void seg_free(struct seg *s)
{
    mem_free(s);
}
void segs_push(struct seg_queue *q, struct seg *s);          // takes it; frees an empty one
bool segs_put(struct seg_queue *q, const void *p, size_t n); // copies, filling up the last one; false without memory
size_t segs_take(struct seg_queue *q, void *to, size_t n);   // copies out and removes
int segs_iov(const struct seg_queue *q, struct iovec *v, int max);
void segs_drop(struct seg_queue *q, size_t n); // n bytes were sent
void segs_clear(struct seg_queue *q);
// Sends what there is on a socket that does not block. SEGS_SENT: the queue is empty; SEGS_FULL: the socket takes no more now;
// SEGS_BROKEN: it never will (errno).
enum segs_result { SEGS_SENT, SEGS_FULL, SEGS_BROKEN };
enum segs_result segs_send(struct seg_queue *q, int fd);
