#include "query/pool.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct job {
    pool_fn *fn;
    void *arg;
};

struct pool {
    pthread_mutex_t lock; // the only lock; held for moments
    pthread_cond_t work;
    struct job *ring;
    size_t cap, head, n; // head: oldest
    size_t running, done, refused;
    bool closing;
    unsigned threads;
    pthread_t thread[];
};

static void *run(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->n && !p->closing)
            pthread_cond_wait(&p->work, &p->lock);
        if (!p->n)
            break;
        struct job j = p->ring[p->head];
        p->head = (p->head + 1) % p->cap;
        p->n--;
        p->running++;
        pthread_mutex_unlock(&p->lock);
        j.fn(j.arg);
        pthread_mutex_lock(&p->lock);
        p->running--;
        p->done++;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum errc pool_new(struct pool **out, unsigned threads, size_t queue, struct error *err)
{
    *out = NULL;
    if (threads < 1 || threads > 256 || queue < 1)
        return ERR(err, INPUT, "a pool has 1 to 256 threads and room for at least one job, not %u and %zu", threads, queue);
    struct pool *p = calloc(1, sizeof *p + threads * sizeof(pthread_t));
    if (!p || !(p->ring = calloc(queue, sizeof *p->ring))) {
        free(p);
        return ERR(err, NOMEM, "out of memory starting the query threads");
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->cap = queue;
    for (; p->threads < threads; p->threads++)
        if (pthread_create(&p->thread[p->threads], NULL, run, p) != 0) {
            pool_free(p);
            return ERR(err, NOMEM, "cannot start a query thread");
        }
    *out = p;
    return ERR_OK;
}

enum errc pool_submit(struct pool *p, pool_fn *fn, void *arg)
{
    enum errc rc = ERR_OK;
    pthread_mutex_lock(&p->lock);
    if (p->closing) {
        rc = ERR_CLOSED;
    } else if (p->n == p->cap) {
        rc = ERR_LIMIT;
        p->refused++;
    } else {
        p->ring[(p->head + p->n++) % p->cap] = (struct job){fn, arg};
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++)
        pthread_join(p->thread[i], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    free(p->ring);
    free(p);
}

void pool_stats(struct pool *p, struct pool_stats *out)
{
    pthread_mutex_lock(&p->lock);
    *out = (struct pool_stats){p->n, p->running, p->done, p->refused};
    pthread_mutex_unlock(&p->lock);
}
