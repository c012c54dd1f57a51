#include "net/seg.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct seg *seg_new(enum seg_kind kind, int status, size_t cap)
{
    struct seg *s = mem_alloc(sizeof *s + cap);
    if (s) {
        s->next = NULL;
        s->kind = kind;
        s->status = status;
        s->n = s->at = 0;
        s->cap = cap;
    }
    return s;
}

void segs_push(struct seg_queue *q, struct seg *s)
{
    if (s->at == s->n) {
        seg_free(s);
        return;
    }
    s->next = NULL;
    if (q->last)
        q->last->next = s;
    else
        q->first = s;
    q->last = s;
    q->n += s->n - s->at;
}

bool segs_put(struct seg_queue *q, const void *p, size_t n)
{
    const char *from = p;
    if (q->last && n) {
        size_t room = q->last->cap - q->last->n, k = room < n ? room : n;
        memcpy(q->last->data + q->last->n, from, k);
        q->last->n += k;
        q->n += k;
        from += k;
        n -= k;
    }
    if (!n)
        return true;
    struct seg *s = seg_new(SEG_DATA, 0, n < SEG_ROOM ? SEG_ROOM : n);
    if (!s)
        return false;
    memcpy(s->data, from, n);
    s->n = n;
    segs_push(q, s);
    return true;
}

void segs_drop(struct seg_queue *q, size_t n)
{
    q->n -= n;
    while (q->first) {
        struct seg *s = q->first;
        size_t k = s->n - s->at < n ? s->n - s->at : n;
        s->at += k;
        n -= k;
        if (s->at < s->n)
            return;
        q->first = s->next;
        if (!q->first)
            q->last = NULL;
        seg_free(s);
    }
}

size_t segs_take(struct seg_queue *q, void *to, size_t n)
{
    size_t done = 0;
    while (done < n && q->first) {
        struct seg *s = q->first;
        size_t k = s->n - s->at < n - done ? s->n - s->at : n - done;
        memcpy((char *)to + done, s->data + s->at, k);
        done += k;
        segs_drop(q, k);
    }
    return done;
}

int segs_iov(const struct seg_queue *q, struct iovec *v, int max)
{
    int n = 0;
    for (struct seg *s = q->first; s && n < max; s = s->next)
        v[n++] = (struct iovec){s->data + s->at, s->n - s->at};
    return n;
}

void segs_clear(struct seg_queue *q)
{
    while (q->first) {
        struct seg *s = q->first;
        q->first = s->next;
        seg_free(s);
    }
    *q = (struct seg_queue){0};
}

enum segs_result segs_send(struct seg_queue *q, int fd)
{
    while (q->n) {
        struct iovec v[SEG_IOVECS];
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)segs_iov(q, v, SEG_IOVECS)};
        ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? SEGS_FULL : SEGS_BROKEN;
        segs_drop(q, (size_t)n);
    }
    return SEGS_SENT;
}
