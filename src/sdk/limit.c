#include "sdk/limit.h"
#include "base/alloc.h"
#include "sdk/sdk.h"
#include <errno.h>

// window: the number of the current window + 1 in the upper half, the calls in it in the lower (stops counting at its end;
// 0 before the first call). So one compare-and-swap gives every call a number of its own in exactly one window.
//
// What is held back is counted twice: until a line tells of it, and in the ring's file, which survives the process. Both outlive
// the limit, which is a variable of the call site: its plug-in may be closed at any time.
struct sonde_limit_kept {
    struct sonde_site summary; // of the same level and place as what it sums up
    struct sonde_limit_kept *next;
    void *memory; // where its allocation begins
    uint64_t suppressed, period_ns;
    uint64_t window; // in which the first of them was held back, as in the limit
    uint32_t of;     // number of the call site
    uint32_t place;  // in the ring's head
    bool dedup;
};
static struct sonde_limit_kept *all;  // of every limit that was ever asked, newest first
static uint32_t n_places;             // atomic
static uint32_t site_of[RING_LIMITS]; // atomics: of each place in the ring's head, the call site
enum { LISTING = 1, LISTED };         // sonde_limit.listed

static const char *const summary_keys[] = {"", "suppressed", "of", 0};
static const unsigned char summary_types[] = {SONDE_TYPE_UINT, SONDE_TYPE_UINT, SONDE_TYPE_STR, 0};

// Lives as long as the process; a record of a call site begins a cache line.
static struct sonde_limit_kept *kept_new(void)
{
    const uintptr_t line = _Alignof(struct sonde_limit_kept) - 1;
    char *raw = mem_zalloc(sizeof(struct sonde_limit_kept) + line); // mem has no aligned form
    struct sonde_limit_kept *k = raw ? (struct sonde_limit_kept *)(((uintptr_t)raw + line) & ~line) : NULL;
    if (k)
        k->memory = raw;
    return k;
}

static void count(struct sonde_limit_kept *k, uint64_t n, uint64_t window)
{
    struct ring *r = __atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE);
    if (r)
        __atomic_fetch_add(&r->head->limit[k->place].suppressed, n, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&k->suppressed, __ATOMIC_RELAXED))
        __atomic_store_n(&k->window, window, __ATOMIC_RELAXED);
    __atomic_fetch_add(&k->suppressed, n, __ATOMIC_RELEASE);
}

// Those that were held back while another thread was entering the limit into the list.
static void move_over(struct sonde_limit *l, struct sonde_limit_kept *k, uint64_t window)
{
    uint64_t n = __atomic_exchange_n(&l->suppressed, 0, __ATOMIC_SEQ_CST);
    if (n)
        count(k, n, window);
}

static void held_back(struct sonde_limit *l, uint64_t window)
{
    struct sonde_limit_kept *k = __atomic_load_n(&l->kept, __ATOMIC_ACQUIRE);
    if (k) {
        count(k, 1, window);
        return;
    }
    __atomic_fetch_add(&l->suppressed, 1, __ATOMIC_SEQ_CST);
    if ((k = __atomic_load_n(&l->kept, __ATOMIC_SEQ_CST)))
        move_over(l, k, window);
}

static uint32_t take_place(const struct sonde_site *site)
{
    uint32_t place = __atomic_fetch_add(&n_places, 1, __ATOMIC_RELAXED);
    struct ring *r = __atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE);
    if (place >= RING_LIMITS - 1)
        return RING_LIMITS - 1;
    __atomic_store_n(&site_of[place], site->number, __ATOMIC_RELEASE);
    if (r)
        __atomic_store_n(&r->head->limit[place].site, site->number, __ATOMIC_RELEASE);
    return place;
}

void limit_ring(struct ring *r)
{
    for (uint32_t i = 0; i < RING_LIMITS - 1; i++)
        __atomic_store_n(&r->head->limit[i].site, __atomic_load_n(&site_of[i], __ATOMIC_ACQUIRE), __ATOMIC_RELAXED);
}

static void enlist(struct sonde_limit *l, const struct sonde_site *site)
{
    uint32_t none = 0;
    if (__atomic_load_n(&l->listed, __ATOMIC_ACQUIRE) ||
        !__atomic_compare_exchange_n(&l->listed, &none, LISTING, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    struct sonde_limit_kept *k = kept_new();
    if (k) {
        k->period_ns = l->period_ns;
        k->dedup = l->dedup;
        k->of = site->number;
        k->summary = (struct sonde_site){.line = site->line,
                                         .level = site->level,
                                         .n_fields = 3,
                                         .n_args = 1,
                                         .message = "suppressed %llu similar records",
                                         .target = site->target,
                                         .file = site->file,
                                         .keys = summary_keys,
                                         .types = summary_types};
        sonde_site_enabled(&k->summary); // gets its number here: the backend does not register
    }
    if (!k || __atomic_load_n(&k->summary.state, __ATOMIC_ACQUIRE) == SONDE_SITE_NEW) { // no memory: the next call tries again
        mem_free(k ? k->memory : NULL);
        __atomic_store_n(&l->listed, 0, __ATOMIC_RELEASE);
        return;
    }
    k->place = take_place(site);
    struct sonde_limit_kept *first = __atomic_load_n(&all, __ATOMIC_RELAXED);
    do
        k->next = first;
    while (!__atomic_compare_exchange_n(&all, &first, k, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    __atomic_store_n(&l->kept, k, __ATOMIC_SEQ_CST);
    move_over(l, k, __atomic_load_n(&l->window, __ATOMIC_RELAXED));
    __atomic_store_n(&l->listed, LISTED, __ATOMIC_RELEASE);
}

static uint32_t window_now(uint64_t period_ns)
{
    return period_ns ? (uint32_t)((uint64_t)clock_mono_ns() / period_ns) + 1 : 1;
}

bool sonde_limit_pass(struct sonde_limit *l, const struct sonde_site *site)
{
    int saved = errno;
    enlist(l, site);
    errno = saved;
    if (l->dedup)
        return true; // decided by the values
    uint64_t old = __atomic_load_n(&l->window, __ATOMIC_RELAXED), now, nth;
    uint32_t window = window_now(l->period_ns);
    do {
        // A thread that looked at the clock before another moved the window on counts in the newer one.
        bool same = old && (int32_t)(window - (uint32_t)(old >> 32)) <= 0;
        uint64_t head = same ? old & ~(uint64_t)UINT32_MAX : (uint64_t)window << 32;
        nth = same ? old & UINT32_MAX : 0;
        now = head | (nth < UINT32_MAX ? nth + 1 : nth);
    } while (!__atomic_compare_exchange_n(&l->window, &old, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (nth < l->first || (l->one_in && (nth - l->first + 1) % l->one_in == 0))
        return true;
    held_back(l, now);
    return false;
}

bool limit_repeats(struct sonde_limit *l, uint64_t hash)
{
    hash |= 1; // 0: nothing was written yet
    uint64_t until = __atomic_load_n(&l->window, __ATOMIC_ACQUIRE), now = (uint64_t)clock_mono_ns();
    if (__atomic_load_n(&l->hash, __ATOMIC_ACQUIRE) == hash && now < until) {
        held_back(l, until);
        return true;
    }
    // Of several threads that come here with the same values, one goes on.
    uint64_t last = __atomic_exchange_n(&l->hash, hash, __ATOMIC_ACQ_REL);
    if (last == hash &&
        !__atomic_compare_exchange_n(&l->window, &until, now + l->period_ns, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        held_back(l, until);
        return true;
    }
    if (last != hash)
        __atomic_store_n(&l->window, now + l->period_ns, __ATOMIC_RELEASE);
    return false;
}

static bool over(const struct sonde_limit_kept *k)
{
    uint64_t window = __atomic_load_n(&k->window, __ATOMIC_RELAXED);
    return k->dedup ? (uint64_t)clock_mono_ns() >= window : window_now(k->period_ns) != (uint32_t)(window >> 32);
}

void limit_tell(struct pipeline *p, const struct site_table *sites, bool every)
{
    for (struct sonde_limit_kept *k = __atomic_load_n(&all, __ATOMIC_ACQUIRE); k; k = k->next) {
        if (!__atomic_load_n(&k->suppressed, __ATOMIC_ACQUIRE) || !(every || over(k)))
            continue;
        const struct site *site = site_get(sites, k->summary.number), *of = site_get(sites, k->of);
        if (!site)
            continue;
        uint64_t n = __atomic_exchange_n(&k->suppressed, 0, __ATOMIC_RELAXED);
        struct ring *ring = __atomic_load_n(&sdk.ring, __ATOMIC_ACQUIRE);
        if (ring)
            __atomic_fetch_add(&ring->head->limit[k->place].told, n, __ATOMIC_RELAXED);
        struct rec r = {.kind = REC_LOG, .site = site->number, .n = 3, .held = p->level && site->level > p->level(site->target)};
        r.v[0] = r.v[1] = (struct rec_value){.type = SONDE_TYPE_UINT, .u = n};
        r.v[2] = (struct rec_value){.type = SONDE_TYPE_STR, .s = of ? of->message : SLICE_NONE};
        pipeline_record(p, &r, site, clock_wall_ns());
    }
}

void limit_forked(void)
{
    for (struct sonde_limit_kept *k = all; k; k = k->next)
        k->suppressed = 0;
}
