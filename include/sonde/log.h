// Records: SONDE_ERROR, SONDE_WARN, SONDE_INFO, SONDE_DEBUG, SONDE_TRACE.
//
//   SONDE_INFO("kv transfer done", SONDE_STR("from", peer), SONDE_UINT("bytes", n), SONDE_F64("ms", t));
//
// The message and the keys are string literals; level, target, file, line, message, keys and types stand in a static
// call-site record, so a call moves only its values: into a ring of the calling thread, without lock, allocation or
// formatting. Strings are copied. A call below the filter's level is one relaxed load and a branch that is not taken, and its
// values are not evaluated. At most SONDE_FIELDS_MAX fields. A string argument that is null leaves its key out.
//
// Thread rule: any thread, also in a forked child. In a signal handler: allowed on a thread and at a call site that have logged
// before; a call that interrupts another call of the same thread is dropped and counted.
// Loss: when the ring is full because the output cannot keep up, records are dropped and counted (a "records lost" line tells
// how many); ERROR records and spans wait first, at most 10 ms, and only while the output moves at all.
// A field whose key is one of time, level, file, line, target, message, span_id, span_name, trace_id, parent_id, tracestate, or
// a field of the current span, is written as field.<key>.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { SONDE_FIELDS_MAX = 24 };

// Types of the values, as stored in the ring's call-site dictionary: never renumber.
enum sonde_type {
    SONDE_TYPE_STR = 1, // value.s, n bytes; n = SIZE_MAX: absent
    SONDE_TYPE_INT = 2,
    SONDE_TYPE_UINT = 3,
    SONDE_TYPE_F64 = 4,
    SONDE_TYPE_BOOL = 5,
};

// One value on its way into the ring.
struct sonde_arg {
    union {
        const char *s;
        int64_t i;
        uint64_t u;
        double f;
    } value;
    size_t n;
};

enum sonde_site_state {
    SONDE_SITE_NEW = 0,    // not seen yet: the next call registers it and asks the filter
    SONDE_SITE_OFF = 1,
    SONDE_SITE_ON = 2,
    SONDE_SITE_ASK = 3,    // depends on the current span
};

// One call site. Static storage; filled by the macros, registered by its first call.
struct sonde_site {
    uint32_t state;  // enum sonde_site_state, atomic
    uint32_t number; // in the ring's dictionary, from 1
    uint32_t line;
    uint8_t level;    // enum sonde_level
    uint8_t n_fields;
    uint8_t is_span;
    uint8_t reserved;
    const char *message, *target, *file;
    const char *const *keys;
    const unsigned char *types;
    struct sonde_site *next; // list of registered sites
};

SONDE_API void sonde_log_write(struct sonde_site *site, const struct sonde_arg *args);

static inline struct sonde_arg sonde_arg_strn(const char *s, size_t n)
{
    struct sonde_arg a;
    a.value.s = s;
    a.n = s ? n : (size_t)-1;
    return a;
}
static inline struct sonde_arg sonde_arg_str(const char *s)
{
    return sonde_arg_strn(s, s ? __builtin_strlen(s) : 0);
}
static inline struct sonde_arg sonde_arg_int(int64_t v)
{
    struct sonde_arg a;
    a.value.i = v;
    a.n = 0;
    return a;
}
static inline struct sonde_arg sonde_arg_uint(uint64_t v)
{
    struct sonde_arg a;
    a.value.u = v;
    a.n = 0;
    return a;
}
static inline struct sonde_arg sonde_arg_f64(double v)
{
    struct sonde_arg a;
    a.value.f = v;
    a.n = 0;
    return a;
}

// Fields. key: a string literal.
#define SONDE_STR(key, v) (key, SONDE_TYPE_STR, sonde_arg_str(v))
#define SONDE_STRN(key, p, n) (key, SONDE_TYPE_STR, sonde_arg_strn((p), (n)))
#define SONDE_INT(key, v) (key, SONDE_TYPE_INT, sonde_arg_int(v))
#define SONDE_UINT(key, v) (key, SONDE_TYPE_UINT, sonde_arg_uint(v))
#define SONDE_F64(key, v) (key, SONDE_TYPE_F64, sonde_arg_f64(v))
#define SONDE_BOOL(key, v) (key, SONDE_TYPE_BOOL, sonde_arg_uint((v) ? 1u : 0u))

#define SONDE_ERROR(...) SONDE_LOG(SONDE_LEVEL_ERROR, __VA_ARGS__)
#define SONDE_WARN(...) SONDE_LOG(SONDE_LEVEL_WARN, __VA_ARGS__)
#define SONDE_INFO(...) SONDE_LOG(SONDE_LEVEL_INFO, __VA_ARGS__)
#define SONDE_DEBUG(...) SONDE_LOG(SONDE_LEVEL_DEBUG, __VA_ARGS__)
#define SONDE_TRACE(...) SONDE_LOG(SONDE_LEVEL_TRACE, __VA_ARGS__)

// SONDE_LOG(level, "message", fields…)
#define SONDE_LOG(level, ...) SONDE_LOG_N_(SONDE_COUNT_(__VA_ARGS__), level, __VA_ARGS__)

// Whether a record of that level would be written by this file's target now (for work that only a record needs).
#define SONDE_ENABLED(level)                                                                                                 \
    (__extension__({                                                                                                         \
        static struct sonde_site sonde_site_ = {0, 0, __LINE__, (level), 0, 0, 0, "", SONDE_TARGET, __FILE__, 0, 0, 0};      \
        uint32_t sonde_state_ = __atomic_load_n(&sonde_site_.state, __ATOMIC_RELAXED);                                       \
        sonde_state_ == SONDE_SITE_OFF ? 0 : sonde_site_enabled(&sonde_site_);                                               \
    }))
SONDE_API bool sonde_site_enabled(struct sonde_site *site);

// ---- machinery --------------------------------------------------------------------------------------------------------
#define SONDE_CAT_(a, b) SONDE_CAT2_(a, b)
#define SONDE_CAT2_(a, b) a##b
#define SONDE_LOG_N_(n, level, ...) SONDE_CAT_(SONDE_LOG_, n)(level, __VA_ARGS__)
#define SONDE_LOG_0(level, message) SONDE_EMIT_(level, message, 0, , , )
#define SONDE_LOG_X_(level, message, n, ...)                                                                                 \
    SONDE_EMIT_(level, message, n, SONDE_CAT_(SONDE_MAP_, n)(SONDE_KEY_, __VA_ARGS__),                                       \
                SONDE_CAT_(SONDE_MAP_, n)(SONDE_TYPE_, __VA_ARGS__), SONDE_CAT_(SONDE_MAP_, n)(SONDE_ARG_, __VA_ARGS__))
#define SONDE_KEY_(f) SONDE_KEY2_ f,
#define SONDE_KEY2_(k, t, a) "" k
#define SONDE_TYPE_(f) SONDE_TYPE2_ f,
#define SONDE_TYPE2_(k, t, a) t
#define SONDE_ARG_(f) SONDE_ARG2_ f,
#define SONDE_ARG2_(k, t, a) a
#define SONDE_EVAL_(...) __VA_ARGS__

#define SONDE_EMIT_(level, message, n, keys_, types_, args_)                                                                 \
    do {                                                                                                                     \
        static const char *const sonde_keys_[] = {SONDE_EVAL_(keys_) 0};                                                     \
        static const unsigned char sonde_types_[] = {SONDE_EVAL_(types_) 0};                                                 \
        static struct sonde_site sonde_site_ = {                                                                             \
            0, 0, __LINE__, (level), (n), 0, 0, "" message, SONDE_TARGET, __FILE__, sonde_keys_, sonde_types_, 0};           \
        const uint32_t sonde_state_ = __atomic_load_n(&sonde_site_.state, __ATOMIC_RELAXED);                                 \
        if (__builtin_expect(sonde_state_ != SONDE_SITE_OFF, 0) &&                                                           \
            (sonde_state_ == SONDE_SITE_ON || sonde_site_enabled(&sonde_site_))) {                                           \
            const struct sonde_arg sonde_args_[] = {SONDE_EVAL_(args_){{0}, 0}};                                             \
            sonde_log_write(&sonde_site_, sonde_args_);                                                                      \
        }                                                                                                                    \
    } while (0)

// Number of fields: arguments after the message.
#define SONDE_COUNT_(...) SONDE_COUNT2_(__VA_ARGS__, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, unused)
#define SONDE_COUNT2_(message, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24, n, ...) n
#define SONDE_LOG_1(level, message, ...) SONDE_LOG_X_(level, message, 1, __VA_ARGS__)
#define SONDE_LOG_2(level, message, ...) SONDE_LOG_X_(level, message, 2, __VA_ARGS__)
#define SONDE_LOG_3(level, message, ...) SONDE_LOG_X_(level, message, 3, __VA_ARGS__)
#define SONDE_LOG_4(level, message, ...) SONDE_LOG_X_(level, message, 4, __VA_ARGS__)
#define SONDE_LOG_5(level, message, ...) SONDE_LOG_X_(level, message, 5, __VA_ARGS__)
#define SONDE_LOG_6(level, message, ...) SONDE_LOG_X_(level, message, 6, __VA_ARGS__)
#define SONDE_LOG_7(level, message, ...) SONDE_LOG_X_(level, message, 7, __VA_ARGS__)
#define SONDE_LOG_8(level, message, ...) SONDE_LOG_X_(level, message, 8, __VA_ARGS__)
#define SONDE_LOG_9(level, message, ...) SONDE_LOG_X_(level, message, 9, __VA_ARGS__)
#define SONDE_LOG_10(level, message, ...) SONDE_LOG_X_(level, message, 10, __VA_ARGS__)
#define SONDE_LOG_11(level, message, ...) SONDE_LOG_X_(level, message, 11, __VA_ARGS__)
#define SONDE_LOG_12(level, message, ...) SONDE_LOG_X_(level, message, 12, __VA_ARGS__)
#define SONDE_LOG_13(level, message, ...) SONDE_LOG_X_(level, message, 13, __VA_ARGS__)
#define SONDE_LOG_14(level, message, ...) SONDE_LOG_X_(level, message, 14, __VA_ARGS__)
#define SONDE_LOG_15(level, message, ...) SONDE_LOG_X_(level, message, 15, __VA_ARGS__)
#define SONDE_LOG_16(level, message, ...) SONDE_LOG_X_(level, message, 16, __VA_ARGS__)
#define SONDE_LOG_17(level, message, ...) SONDE_LOG_X_(level, message, 17, __VA_ARGS__)
#define SONDE_LOG_18(level, message, ...) SONDE_LOG_X_(level, message, 18, __VA_ARGS__)
#define SONDE_LOG_19(level, message, ...) SONDE_LOG_X_(level, message, 19, __VA_ARGS__)
#define SONDE_LOG_20(level, message, ...) SONDE_LOG_X_(level, message, 20, __VA_ARGS__)
#define SONDE_LOG_21(level, message, ...) SONDE_LOG_X_(level, message, 21, __VA_ARGS__)
#define SONDE_LOG_22(level, message, ...) SONDE_LOG_X_(level, message, 22, __VA_ARGS__)
#define SONDE_LOG_23(level, message, ...) SONDE_LOG_X_(level, message, 23, __VA_ARGS__)
#define SONDE_LOG_24(level, message, ...) SONDE_LOG_X_(level, message, 24, __VA_ARGS__)
#define SONDE_MAP_1(m, a) m(a)
#define SONDE_MAP_2(m, a, ...) m(a) SONDE_MAP_1(m, __VA_ARGS__)
#define SONDE_MAP_3(m, a, ...) m(a) SONDE_MAP_2(m, __VA_ARGS__)
#define SONDE_MAP_4(m, a, ...) m(a) SONDE_MAP_3(m, __VA_ARGS__)
#define SONDE_MAP_5(m, a, ...) m(a) SONDE_MAP_4(m, __VA_ARGS__)
#define SONDE_MAP_6(m, a, ...) m(a) SONDE_MAP_5(m, __VA_ARGS__)
#define SONDE_MAP_7(m, a, ...) m(a) SONDE_MAP_6(m, __VA_ARGS__)
#define SONDE_MAP_8(m, a, ...) m(a) SONDE_MAP_7(m, __VA_ARGS__)
#define SONDE_MAP_9(m, a, ...) m(a) SONDE_MAP_8(m, __VA_ARGS__)
#define SONDE_MAP_10(m, a, ...) m(a) SONDE_MAP_9(m, __VA_ARGS__)
#define SONDE_MAP_11(m, a, ...) m(a) SONDE_MAP_10(m, __VA_ARGS__)
#define SONDE_MAP_12(m, a, ...) m(a) SONDE_MAP_11(m, __VA_ARGS__)
#define SONDE_MAP_13(m, a, ...) m(a) SONDE_MAP_12(m, __VA_ARGS__)
#define SONDE_MAP_14(m, a, ...) m(a) SONDE_MAP_13(m, __VA_ARGS__)
#define SONDE_MAP_15(m, a, ...) m(a) SONDE_MAP_14(m, __VA_ARGS__)
#define SONDE_MAP_16(m, a, ...) m(a) SONDE_MAP_15(m, __VA_ARGS__)
#define SONDE_MAP_17(m, a, ...) m(a) SONDE_MAP_16(m, __VA_ARGS__)
#define SONDE_MAP_18(m, a, ...) m(a) SONDE_MAP_17(m, __VA_ARGS__)
#define SONDE_MAP_19(m, a, ...) m(a) SONDE_MAP_18(m, __VA_ARGS__)
#define SONDE_MAP_20(m, a, ...) m(a) SONDE_MAP_19(m, __VA_ARGS__)
#define SONDE_MAP_21(m, a, ...) m(a) SONDE_MAP_20(m, __VA_ARGS__)
#define SONDE_MAP_22(m, a, ...) m(a) SONDE_MAP_21(m, __VA_ARGS__)
#define SONDE_MAP_23(m, a, ...) m(a) SONDE_MAP_22(m, __VA_ARGS__)
#define SONDE_MAP_24(m, a, ...) m(a) SONDE_MAP_23(m, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
