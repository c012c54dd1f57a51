#include "base/alloc.h"
#include "sdk/metric.h"

__thread struct metric_shard *tls_shard __attribute__((tls_model("initial-exec")));
_Atomic(struct metric_shard *) metric_shards;
atomic_ullong metric_updates_lost;

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_key;

// The numbers stay where they are; the next new thread adds to them.
static void thread_ends(void *shard)
{
    struct metric_shard *s = shard;
    tls_shard = NULL;
    atomic_store_explicit(&s->used, 0, memory_order_release);
}

// Whatever another thread held here, it is not in the child to let go of it.
static void locks_after_fork(void)
{
    metric_roots_lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    for (struct sonde_registry *r = metric_roots; r; r = r->next_root)
        r->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    meter_after_fork();
}

// In the child only the forking thread lives on; what the others counted up to here stays counted.
static void after_fork(void)
{
    METRIC_EACH_SHARD(s)
    if (s != tls_shard)
        atomic_store_explicit(&s->used, 0, memory_order_release);
    locks_after_fork();
}

static void start(void)
{
    have_key = pthread_key_create(&key, thread_ends) == 0;
    pthread_atfork(NULL, NULL, after_fork);
}

// n zeroed bytes on cache lines of their own. *raw is what was allocated.
static void *lines(size_t n, void **raw)
{
    *raw = mem_zalloc(n + 64);
    return *raw ? (void *)(((uintptr_t)*raw + 63) & ~(uintptr_t)63) : NULL;
}

static struct metric_shard *shard_take(void)
{
    pthread_once(&once, start);
    if (!have_key)
        return NULL; // the thread's end would not be seen
    METRIC_EACH_SHARD(s)
    {
        unsigned idle = 0;
        if (atomic_load_explicit(&s->used, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&s->used, &idle, 1, memory_order_acquire, memory_order_relaxed))
            return s;
    }
    void *raw;
    struct metric_shard *s = lines(sizeof *s, &raw);
    if (!s)
        return NULL;
    s->raw = raw;
    atomic_store_explicit(&s->used, 1, memory_order_relaxed);
    s->next = atomic_load_explicit(&metric_shards, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&metric_shards, &s->next, s, memory_order_release, memory_order_relaxed))
        ;
    return s;
}

metric_word *metric_cell_slow(uint32_t slot)
{
    struct metric_shard *s = tls_shard;
    if (!s) {
        s = shard_take();
        if (!s)
            goto lost;
        if (pthread_setspecific(key, s) != 0) {
            atomic_store_explicit(&s->used, 0, memory_order_release);
            goto lost;
        }
        tls_shard = s;
    }
    metric_word *p = atomic_load_explicit(&s->pages[slot / METRIC_PAGE_WORDS], memory_order_relaxed);
    if (!p) {
        void *raw; // pages are never freed
        p = lines(METRIC_PAGE_WORDS * sizeof *p, &raw);
        if (!p)
            goto lost;
        atomic_store_explicit(&s->pages[slot / METRIC_PAGE_WORDS], p, memory_order_release);
    }
    return p + slot % METRIC_PAGE_WORDS;
lost:
    atomic_fetch_add_explicit(&metric_updates_lost, 1, memory_order_relaxed);
    return NULL;
}

size_t metric_shard_count(void)
{
    size_t n = 0;
    METRIC_EACH_SHARD(s) n++;
    return n;
}

uint64_t metric_serial(void)
{
    static atomic_ullong last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

uint64_t metric_sum_u64(uint32_t slot)
{
    uint64_t sum = 0;
    METRIC_EACH_SHARD(s)
    {
        metric_word *w = metric_peek(s, slot);
        sum += w ? atomic_load_explicit(w, memory_order_relaxed) : 0;
    }
    return sum;
}

double metric_sum_f64(uint32_t slot)
{
    double sum = 0;
    METRIC_EACH_SHARD(s)
    {
        metric_word *w = metric_peek(s, slot);
        sum += w ? metric_double(atomic_load_explicit(w, memory_order_relaxed)) : 0;
    }
    return sum;
}

// ---- which slots are taken ------------------------------------------------------------------------------------------
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct range {
    uint32_t slot, n;
} * idle; // given back, within one page each
static size_t n_idle, idle_cap;
static uint32_t next_slot;

static void idle_add(uint32_t slot, uint32_t n)
{
    if (n_idle == idle_cap) {
        size_t cap = idle_cap ? 2 * idle_cap : 64;
        struct range *more = mem_realloc(idle, cap * sizeof *more);
        if (!more)
            return; // these slots are not used again
        idle = more;
        idle_cap = cap;
    }
    idle[n_idle++] = (struct range){slot, n};
}

static uint32_t from_idle(uint32_t n)
{
    for (size_t i = n_idle; i-- > 0;) { // what was given back last fits best
        if (idle[i].n < n)
            continue;
        uint32_t slot = idle[i].slot;
        idle[i].slot += n;
        idle[i].n -= n;
        if (idle[i].n == 0)
            idle[i] = idle[--n_idle];
        return slot;
    }
    return METRIC_NO_SLOT;
}

uint32_t metric_slots_take(uint32_t n)
{
    pthread_mutex_lock(&slots_lock);
    uint32_t slot = from_idle(n);
    if (slot == METRIC_NO_SLOT && n <= METRIC_PAGE_WORDS) {
        uint32_t left = METRIC_PAGE_WORDS - next_slot % METRIC_PAGE_WORDS;
        if (left < n) {
            idle_add(next_slot, left);
            next_slot += left;
        }
        if (next_slot + n <= METRIC_PAGES * METRIC_PAGE_WORDS) {
            slot = next_slot;
            next_slot += n;
        }
    }
    pthread_mutex_unlock(&slots_lock);
    return slot;
}

void metric_slots_give(uint32_t slot, uint32_t n)
{
    METRIC_EACH_SHARD(s)
    {
        metric_word *w = metric_peek(s, slot);
        for (uint32_t i = 0; w && i < n; i++)
            atomic_store_explicit(w + i, 0, memory_order_relaxed);
    }
    pthread_mutex_lock(&slots_lock);
    idle_add(slot, n);
    pthread_mutex_unlock(&slots_lock);
}
