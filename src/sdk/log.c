// The record path: call site to ring.
#include "base/hash.h"
#include "base/limits.h"
#include "sdk/limit.h"
#include "sdk/sdk.h"
#include "sdk/value.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <wchar.h>

enum { PASS = 1 };

bool sonde_site_enabled(struct sonde_site *site)
{
    uint32_t state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
    if (state == SONDE_SITE_NEW) {
        int saved = errno;
        sdk_register(site);
        errno = saved;
        state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
    }
    return state == SONDE_SITE_ON || (state == SONDE_SITE_ASK && site->level <= sdk_span_level());
}

static uint32_t decide(struct sonde_site *site)
{
    if (sonde_site_enabled(site))
        return PASS;
    uint32_t state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
    if (state == SONDE_SITE_NEW) // no memory for it, or a signal handler that interrupted the library
        sdk_lost(site->level, false);
    bool held = state == SONDE_SITE_HELD ||
                (state == SONDE_SITE_ASK && site->level <= __atomic_load_n(&sdk.held_level, __ATOMIC_RELAXED));
    return held ? PASS | REC_HELD : 0;
}

// PASS if the record is wanted, with REC_HELD if the filter does not let it out.
static inline uint32_t pass(struct sonde_site *site)
{
    uint32_t state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
    return __builtin_expect(state == SONDE_SITE_ON, 1) ? PASS : state == SONDE_SITE_HELD ? PASS | REC_HELD : decide(site);
}

bool sonde_site_wanted(struct sonde_site *site)
{
    return pass(site) != 0;
}

static inline void push(const struct sonde_site *site, uint32_t passed, const uint8_t *types, const struct sonde_arg *args,
                        uint32_t n)
{
    struct ring_thread *t = tls_ring;
    if (__builtin_expect(!t, 0) && !(t = sdk_thread())) {
        sdk_lost(site->level, passed & REC_HELD);
        return;
    }
    const uint8_t *ids = tls_span ? sdk_span_ids() : NULL;
    ring_push(t, site->number | (passed & REC_HELD), ids, types, args, n,
              RING_LEVEL(site->level) | (site->level == SONDE_LEVEL_ERROR ? RING_WAIT : RING_DROP));
    sdk_wrote_line();
}

// ---- the common record ----------------------------------------------------------------------------------------------
// One function without calls, which reads few cache lines and pages: the site's, the thread's in static TLS, the bytes of the
// strings, sdk_hot. A single call after other work costs what it takes to fetch these and its own code.
enum { SHAPE_PLAIN_BIT = 63 };
#define SHAPE_PLAIN (1ull << SHAPE_PLAIN_BIT) // numbers and strings alone; then a bit for each string

uint64_t log_shape(const struct sonde_site *site)
{
    uint64_t shape = site->n_args || site->n_fields > 32 || (site->n_fields && !site->types) ? 0 : SHAPE_PLAIN;
    for (unsigned i = 0; shape && i < site->n_fields; i++) {
        if (site->types[i] == SONDE_TYPE_STR)
            shape |= 1ull << i;
        else if (rec_is_string(site->types[i]))
            shape = 0;
    }
    return shape;
}

__attribute__((cold, noinline)) static void write_slow(struct sonde_site *site, const struct sonde_arg *args)
{
    uint32_t passed = pass(site);
    if (passed)
        push(site, passed, site->types, args, site->n_fields);
}

static inline void write_plain(char *p, uint64_t shape, const struct sonde_arg *args, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        memcpy(p + 8 * (size_t)i, &args[i].value.u, 8);
    char *s = p + 8 * (size_t)n;
    for (uint64_t strings = shape & ~SHAPE_PLAIN; strings; strings &= strings - 1) {
        unsigned i = (unsigned)__builtin_ctzll(strings);
        size_t kept = args[i].n == SIZE_MAX ? 0 : args[i].n;
        uint64_t slot = rec_slot(args[i].n, kept);
        memcpy(p + 8 * (size_t)i, &slot, 8);
        rec_copy(s, args[i].value.s, kept);
        s += kept;
    }
}

__attribute__((hot, aligned(64))) void sonde_log_write(struct sonde_site *site, const struct sonde_arg *args)
{
    uint32_t state = __atomic_load_n(&site->state, __ATOMIC_ACQUIRE), n = site->n_fields;
    struct ring_thread *t = &tls_ring_thread;
    uint64_t shape = site->shape;
    if (__builtin_expect((state != SONDE_SITE_ON && state != SONDE_SITE_HELD) || !t->lane || !(shape & SHAPE_PLAIN), 0)) {
        write_slow(site, args);
        return;
    }
    const uint8_t *ids = tls_span ? sdk_span_ids() : NULL;
    size_t size = sizeof(struct rec_head) + 8 * (size_t)n + (ids ? 24 : 0);
    for (uint64_t strings = shape & ~SHAPE_PLAIN; strings; strings &= strings - 1) {
        size_t k = args[__builtin_ctzll(strings)].n;
        size += k == SIZE_MAX ? 0 : k < RING_RECORD_MAX ? k : RING_RECORD_MAX;
    }
    if (__builtin_expect(size > RING_RECORD_MAX, 0)) {
        write_slow(site, args);
        return;
    }
    uint32_t what = site->number | (state == SONDE_SITE_HELD ? REC_HELD : 0) | (ids ? REC_IN_SPAN : 0);
    unsigned how = RING_LEVEL(site->level) | (site->level == SONDE_LEVEL_ERROR ? RING_WAIT : RING_DROP);
    size = (size + 7) & ~(size_t)7;
    if (__builtin_expect(!ring_enter(t, what, how), 0))
        return;
    char *p = ring_begin(t, what, size, how);
    if (__builtin_expect(p != NULL, 1)) {
        if (ids) {
            memcpy(p, ids, 24);
            p += 24;
        }
        write_plain(p, shape, args, n);
        ring_commit(t, size);
    }
    ring_leave(t);
    sdk_wrote_line();
}

// ---- messages with arguments ----------------------------------------------------------------------------------------
struct texts { // what has to be formatted at the call
    char text[SONDE_FIELDS_MAX][32];
    char wide[FMT_WIDE_MAX];
    size_t wide_n;
};

static struct sonde_arg wide_text(struct texts *t, const wchar_t *w, int64_t precision)
{
    char *to = t->wide + t->wide_n;
    size_t room = sizeof t->wide - t->wide_n, most = precision >= 0 ? (size_t)precision : room;
    mbstate_t state = {0};
    size_t n = 0;
    while (n < most && n + MB_LEN_MAX <= room && *w) { // whole characters; one that the locale lacks becomes a question mark
        size_t k = wcrtomb(to + n, *w++, &state);
        if (k == (size_t)-1) {
            to[n] = '?';
            k = 1;
        }
        if (n + k > most)
            break;
        n += k;
    }
    t->wide_n += n;
    return sonde_arg_strn(to, n);
}

static struct sonde_arg text_of(struct texts *t, const struct site *s, unsigned i, const struct sonde_arg *args, uint8_t type)
{
    const struct fmt_arg *how = &s->arg[i];
    const void *p = args[i].value.s;
    if (how->pointer)
        return sonde_arg_strn(t->text[i], (size_t)snprintf(t->text[i], sizeof t->text[i], p ? "%p" : "(nil)", p));
    if (!p)
        return sonde_arg_strn(NULL, 0);
    int64_t most = how->precision;
    if (most <= FMT_PRECISION_OF && FMT_PRECISION_OF - most < s->n_args)
        most = (int)args[FMT_PRECISION_OF - most].value.i;
    if (how->wide && type != SONDE_TYPE_STR)
        return wide_text(t, p, most);
    return sonde_arg_strn(p, most >= 0 ? strnlen(p, (size_t)most) : strlen(p));
}

static const struct site *resolve(const struct sonde_site *record, const struct sonde_arg *args, struct sonde_arg *out,
                                  struct texts *texts, int error)
{
    const struct site *s = site_get(&sdk.sites, record->number);
    if (!s)
        return NULL;
    texts->wide_n = 0;
    for (unsigned i = 0; i < record->n_fields; i++)
        out[i] = i < s->n_args && s->type[i] == SONDE_TYPE_STR ? text_of(texts, s, i, args, record->types[i]) : args[i];
    if (s->with_errno)
        out[s->n - 1] = sonde_arg_int(error);
    return s;
}

void sonde_log_format(struct sonde_site *site, const struct sonde_arg *args)
{
    int error = errno;
    struct sonde_arg values[REC_VALUES_MAX];
    struct texts texts;
    uint32_t passed = pass(site);
    if (!passed)
        return;
    const struct site *s = resolve(site, args, values, &texts, error);
    if (s)
        push(site, passed, s->type, values, s->n);
    errno = error;
}

// ---- limits ---------------------------------------------------------------------------------------------------------
static uint64_t hash_value(uint64_t h, unsigned type, const struct sonde_arg *a)
{
    if (!rec_is_string(type))
        return hash_mix(h, a->value.u);
    if (type == SONDE_TYPE_ERROR)
        return hash_mix(hash64_seed(a->value.s, a->value.s ? strlen(a->value.s) : 0, h), a->n);
    if (type == SONDE_TYPE_STRS) {
        const char *const *strings = (const char *const *)(const void *)a->value.s;
        for (size_t i = 0; strings && i < a->n; i++)
            h = hash64_seed(strings[i], strings[i] ? strlen(strings[i]) : 0, h);
        return hash_mix(h, a->n);
    }
    return hash_mix(hash64_seed(a->value.s, rec_string_size(type, a), h), a->n);
}

void sonde_log_limited(struct sonde_site *site, struct sonde_limit *limit, const struct sonde_arg *args)
{
    int error = errno;
    struct sonde_arg values[REC_VALUES_MAX];
    struct texts texts;
    uint32_t passed = pass(site);
    if (!passed)
        return;
    const uint8_t *types = site->types;
    uint32_t n = site->n_fields;
    if (site->n_args) {
        const struct site *s = resolve(site, args, values, &texts, error);
        if (!s)
            return;
        args = values;
        types = s->type;
        n = s->n;
    }
    uint64_t hash = 0;
    for (uint32_t i = 0; limit->dedup && i < n; i++)
        hash = hash_value(hash, types[i], &args[i]);
    if (!limit->dedup || !limit_repeats(limit, hash))
        push(site, passed, types, args, n);
    errno = error;
}

// ---- any number of fields -------------------------------------------------------------------------------------------
void sonde_log_array(struct sonde_site *site, const char *message, size_t message_n, const struct sonde_field *fields, size_t n)
{
    uint32_t passed = pass(site);
    if (!passed)
        return;
    struct buf packed;
    buf_init(&packed, MIB(256));
    for (size_t i = 0; i < n && i < SONDE_ARRAY_MAX; i++)
        packed_append(&packed, &fields[i]);
    if (message && message_n == SIZE_MAX)
        message_n = strlen(message);
    if (packed.err == ERR_OK) {
        struct sonde_arg values[2] = {sonde_arg_strn(message, message_n), sonde_arg_strn(packed.p ? packed.p : "", packed.n)};
        push(site, passed, site->types, values, 2);
    } else {
        sdk_lost(site->level, passed & REC_HELD);
    }
    buf_free(&packed);
}
