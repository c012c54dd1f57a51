// Records: SONDE_ERROR, SONDE_WARN, SONDE_INFO, SONDE_DEBUG, SONDE_TRACE.
//
//   SONDE_INFO("kv transfer done", SONDE_STR("from", peer), SONDE_UINT("bytes", n), SONDE_F64("ms", t));
//
// The message and the keys are string literals of at most 4000 bytes; level, target, file, line, message, keys and types
// stand in a static call-site record, so a call moves only its values: into a ring of the calling thread, without lock,
// allocation or formatting. Strings are copied. A call below the levels of the filter and of the flight recorder (sonde/sink.h:
// by default that keeps all levels in the ring) is one relaxed load and a branch that is not taken, and its values are not
// evaluated. At most SONDE_FIELDS_MAX fields. A string argument that is null leaves its key out.
//
// Fields (key: a string literal):
//   SONDE_KV(key, v)                  bool, any integer, float, double, char * by v's own type; in C++ also std::string,
//                                     string_view, std::chrono durations, and vectors and arrays of the array types below
//   SONDE_STR SONDE_STRN(key, p, n) SONDE_INT SONDE_UINT SONDE_F64 SONDE_BOOL
//   SONDE_BYTES(key, p, n)            lines: base64 in JSON, 0x… in text; OTLP: bytesValue
//   SONDE_ERRNO(key, number)          "Connection refused (os error 111)", worded behind the ring
//   SONDE_ERR(key, code, message)     "message (error 7)"; code 0: the message alone
//   SONDE_ID(key, p)                  16 bytes, as 32 hex digits
//   SONDE_DUR(key, ns)                "1.25ms", "90s": exact to the nanosecond; understood by LogQL's duration()
//   SONDE_INTS SONDE_UINTS SONDE_F64S SONDE_BOOLS SONDE_STRS(key, p, n)   n elements of int64_t, uint64_t, double, bool, char *
//
// Messages with arguments: SONDE_INFOF("loaded %s in %d ms", SONDE_ARGS(name, ms), fields…), likewise SONDE_ERRORF … TRACEF.
// The compiler checks the format as printf's; the arguments go into the ring as they are and are formatted behind it.
// All of printf works, also %.*s of an unterminated string, %2$s and %m. What costs at the call: a string its length, %m one
// copy of errno, %ls a conversion (1 KiB at most), %p of a char * some 100 ns. A long double goes as a double; %n does
// nothing; widths and precisions end at 4096. Arguments and fields together: SONDE_FIELDS_MAX - 1.
//
// Limits per call site, before the values are evaluated: SONDE_WARN_LIMIT(SONDE_EVERY(10, 100, 1), "message", fields…), also
// SONDE_LOG_LIMIT(level, …) and SONDE_LOGF_LIMIT(level, policy, format, SONDE_ARGS(…), fields…). Policies:
//   SONDE_EVERY(first, one_in, seconds)  in each window of that length the first records, then each one_in-th; 0: none
//   SONDE_ONCE_PER(seconds)              SONDE_EVERY(1, 0, seconds)
//   SONDE_DEDUP(seconds)                 drops a record whose values all equal the last one's of this call site, for that long
// What was held back is told by a line of the same level and place, "suppressed N similar records" with the fields suppressed
// and of (the message), at the window's end or at a flush. Written and suppressed together are exactly the calls, from any
// number of threads (but not from signal handlers that interrupt the same call site). A limited call reads the clock; one that
// is held back costs some 50 ns.
//
// Fields known only at run time: SONDE_LOG_ARRAY(level, message, fields, n), an array of struct sonde_field made with
// SONDE_FIELD(SONDE_INT(key, v)); any number up to SONDE_ARRAY_MAX, message and keys any strings. A slow path: it allocates.
//
// Thread rule: any thread, also in a forked child. In a signal handler: allowed on a thread and at a call site that have logged
// before; a call that interrupts another call of the same thread is dropped and counted.
// Loss: when the ring is full because the output cannot keep up, records are dropped and counted (one line an episode
// tells how many and when; sonde/sink.h has other policies); ERROR records and spans wait first, at most 10 ms, and only while
// the output moves at all. A field whose key is one of time, level, file, line, target, message, span_id, span_name, trace_id,
// parent_id, tracestate, or a field of the current span, is written as field.<key>.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { SONDE_FIELDS_MAX = 24, SONDE_ARRAY_MAX = 4096 };

// Types of the values, as stored in the ring's call-site dictionary: never renumber.
enum sonde_type {
    SONDE_TYPE_STR = 1, // value.s, n bytes; n = SIZE_MAX: absent
    SONDE_TYPE_INT = 2,
    SONDE_TYPE_UINT = 3,
    SONDE_TYPE_F64 = 4,
    SONDE_TYPE_BOOL = 5,
    SONDE_TYPE_BYTES = 6,
    SONDE_TYPE_ERROR = 7,    // value.s the message or null, n the code
    SONDE_TYPE_ID = 8,       // 16 bytes
    SONDE_TYPE_DURATION = 9, // value.i ns
    SONDE_TYPE_INTS = 10,    // value.s the first element, n elements
    SONDE_TYPE_UINTS = 11,
    SONDE_TYPE_F64S = 12,
    SONDE_TYPE_BOOLS = 13,
    SONDE_TYPE_STRS = 14,    // of char *; null elements are empty strings
    SONDE_TYPE_MESSAGE = 15, // the record's message, instead of the call site's
    SONDE_TYPE_FIELDS = 16,  // keys, types and values, packed
    SONDE_TYPES,
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
    SONDE_SITE_NEW = 0, // not seen yet: the next call registers it and asks the filter
    SONDE_SITE_OFF = 1,
    SONDE_SITE_ON = 2,
    SONDE_SITE_HELD = 3, // kept by the flight recorder, or for a sink with its own filter
    SONDE_SITE_ASK = 4,  // depends on the current span
};

// One call site. Static storage; filled by the macros, registered by its first call.
struct sonde_site {
    uint32_t state;  // enum sonde_site_state, atomic
    uint32_t number; // in the ring's dictionary, from 1
    uint32_t line;
    uint8_t level; // enum sonde_level
    uint8_t n_fields;
    uint8_t is_span;
    uint8_t n_args; // the first fields are the arguments of the message, which then is a printf format
    const char *message, *target, *file;
    const char *const *keys;
    const unsigned char *types;
    uint64_t shape;             // libsonde's: what it wants to know of the types at each call
} __attribute__((aligned(64))); // one cache line is all that a call reads of it

// Limit of one call site: the policy, then what the library keeps.
struct sonde_limit {
    uint32_t first, one_in;
    uint64_t period_ns;
    uint32_t dedup, listed;
    uint64_t window, suppressed, hash;
    struct sonde_limit_kept *kept; // what outlives the call site
};

// A field of SONDE_LOG_ARRAY.
struct sonde_field {
    const char *key;
    unsigned char type; // enum sonde_type
    struct sonde_arg arg;
};

SONDE_API SONDE_NEAR void sonde_log_write(struct sonde_site *site, const struct sonde_arg *args);
SONDE_API SONDE_NEAR void sonde_log_format(struct sonde_site *site, const struct sonde_arg *args);
SONDE_API void sonde_log_limited(struct sonde_site *site, struct sonde_limit *limit, const struct sonde_arg *args);
SONDE_API void sonde_log_array(struct sonde_site *site, const char *message, size_t message_n, const struct sonde_field *fields,
                               size_t n);
// A call site made at run time, for bindings of other languages: for sonde_log_array, or (is_span) sonde_span_start_with_site.
// Texts are copied. Never freed: make one for each place, at most 65,535 in a process. Null without memory.
SONDE_API struct sonde_site *sonde_site_new(enum sonde_level level, const char *target, const char *file, uint32_t line,
                                            bool is_span);
SONDE_API bool sonde_limit_pass(struct sonde_limit *limit, const struct sonde_site *site);
// What the compiler checks arguments against; never called.
static inline __attribute__((format(printf, 1, 2))) void sonde_check_format(const char *format, ...)
{
    (void)format;
}

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

static inline struct sonde_arg sonde_arg_bool(bool v)
{
    return sonde_arg_uint(v ? 1u : 0u);
}
static inline struct sonde_arg sonde_arg_ptr(const volatile void *p)
{
    return sonde_arg_uint((uint64_t)(uintptr_t)p);
}
static inline struct sonde_arg sonde_arg_cstr(const char *s) // an argument of a format, which tells how far it may be read
{
    return sonde_arg_strn(s, 0);
}
static inline struct sonde_arg sonde_arg_error(int64_t code, const char *message)
{
    struct sonde_arg a;
    a.value.s = message;
    a.n = (size_t)code;
    return a;
}
static inline struct sonde_arg sonde_arg_data(const void *p, size_t n)
{
    return sonde_arg_strn((const char *)p, n);
}
// Elements of exactly the type that is read behind the ring.
static inline struct sonde_arg sonde_arg_ints(const int64_t *p, size_t n)
{
    return sonde_arg_data(p, n);
}
static inline struct sonde_arg sonde_arg_uints(const uint64_t *p, size_t n)
{
    return sonde_arg_data(p, n);
}
static inline struct sonde_arg sonde_arg_f64s(const double *p, size_t n)
{
    return sonde_arg_data(p, n);
}
static inline struct sonde_arg sonde_arg_bools(const bool *p, size_t n)
{
    return sonde_arg_data(p, n);
}
static inline struct sonde_arg sonde_arg_strs(const char *const *p, size_t n)
{
    return sonde_arg_data(p, n);
}

// Fields: (key, type, argument).
#define SONDE_STR(key, v)             (key, SONDE_TYPE_STR, sonde_arg_str(v))
#define SONDE_STRN(key, p, n)         (key, SONDE_TYPE_STR, sonde_arg_strn((p), (n)))
#define SONDE_INT(key, v)             (key, SONDE_TYPE_INT, sonde_arg_int(v))
#define SONDE_UINT(key, v)            (key, SONDE_TYPE_UINT, sonde_arg_uint(v))
#define SONDE_F64(key, v)             (key, SONDE_TYPE_F64, sonde_arg_f64(v))
#define SONDE_BOOL(key, v)            (key, SONDE_TYPE_BOOL, sonde_arg_uint((v) ? 1u : 0u))
#define SONDE_BYTES(key, p, n)        (key, SONDE_TYPE_BYTES, sonde_arg_data((p), (n)))
#define SONDE_ERRNO(key, number)      (key, SONDE_TYPE_ERROR, sonde_arg_error((number), 0))
#define SONDE_ERR(key, code, message) (key, SONDE_TYPE_ERROR, sonde_arg_error((code), (message)))
#define SONDE_ID(key, p)              (key, SONDE_TYPE_ID, sonde_arg_data((p), 16))
#define SONDE_DUR(key, ns)            (key, SONDE_TYPE_DURATION, sonde_arg_int(ns))
#define SONDE_INTS(key, p, n)         (key, SONDE_TYPE_INTS, sonde_arg_ints((p), (n)))
#define SONDE_UINTS(key, p, n)        (key, SONDE_TYPE_UINTS, sonde_arg_uints((p), (n)))
#define SONDE_F64S(key, p, n)         (key, SONDE_TYPE_F64S, sonde_arg_f64s((p), (n)))
#define SONDE_BOOLS(key, p, n)        (key, SONDE_TYPE_BOOLS, sonde_arg_bools((p), (n)))
#define SONDE_STRS(key, p, n)         (key, SONDE_TYPE_STRS, sonde_arg_strs((p), (n)))
#define SONDE_KV(key, v)              (key, SONDE_TYPE_OF_(v), SONDE_ARG_OF_(v))
#define SONDE_ARGS(...)               (__VA_ARGS__)

#define SONDE_ERROR(...) SONDE_LOG(SONDE_LEVEL_ERROR, __VA_ARGS__)
#define SONDE_WARN(...)  SONDE_LOG(SONDE_LEVEL_WARN, __VA_ARGS__)
#define SONDE_INFO(...)  SONDE_LOG(SONDE_LEVEL_INFO, __VA_ARGS__)
#define SONDE_DEBUG(...) SONDE_LOG(SONDE_LEVEL_DEBUG, __VA_ARGS__)
#define SONDE_TRACE(...) SONDE_LOG(SONDE_LEVEL_TRACE, __VA_ARGS__)

// SONDE_LOG(level, "message", fields…)
#define SONDE_LOG(level, ...) SONDE_LOG_N_(SONDE_COUNT_(__VA_ARGS__), (level, SONDE_PLAIN_, ()), __VA_ARGS__)
// SONDE_LOGF(level, "format", SONDE_ARGS(…), fields…)
#define SONDE_LOGF(level, ...) SONDE_LOGF_N_(SONDE_COUNTF_(__VA_ARGS__), (level, SONDE_FORMAT_, ()), __VA_ARGS__)
#define SONDE_ERRORF(...)      SONDE_LOGF(SONDE_LEVEL_ERROR, __VA_ARGS__)
#define SONDE_WARNF(...)       SONDE_LOGF(SONDE_LEVEL_WARN, __VA_ARGS__)
#define SONDE_INFOF(...)       SONDE_LOGF(SONDE_LEVEL_INFO, __VA_ARGS__)
#define SONDE_DEBUGF(...)      SONDE_LOGF(SONDE_LEVEL_DEBUG, __VA_ARGS__)
#define SONDE_TRACEF(...)      SONDE_LOGF(SONDE_LEVEL_TRACE, __VA_ARGS__)

// SONDE_LOG_LIMIT(level, policy, "message", fields…), SONDE_LOGF_LIMIT(level, policy, "format", SONDE_ARGS(…), fields…)
#define SONDE_EVERY(first, one_in, seconds)  (first, one_in, (uint64_t)((seconds)*1000000000.0), 0)
#define SONDE_ONCE_PER(seconds)              SONDE_EVERY(1, 0, seconds)
#define SONDE_DEDUP(seconds)                 (0, 0, (uint64_t)((seconds)*1000000000.0), 1)
#define SONDE_LOG_LIMIT(level, policy, ...)  SONDE_LOG_N_(SONDE_COUNT_(__VA_ARGS__), (level, SONDE_LIMIT_, policy), __VA_ARGS__)
#define SONDE_LOGF_LIMIT(level, policy, ...) SONDE_LOGF_N_(SONDE_COUNTF_(__VA_ARGS__), (level, SONDE_LIMIT_, policy), __VA_ARGS__)
#define SONDE_ERROR_LIMIT(policy, ...)       SONDE_LOG_LIMIT(SONDE_LEVEL_ERROR, policy, __VA_ARGS__)
#define SONDE_WARN_LIMIT(policy, ...)        SONDE_LOG_LIMIT(SONDE_LEVEL_WARN, policy, __VA_ARGS__)
#define SONDE_INFO_LIMIT(policy, ...)        SONDE_LOG_LIMIT(SONDE_LEVEL_INFO, policy, __VA_ARGS__)
#define SONDE_DEBUG_LIMIT(policy, ...)       SONDE_LOG_LIMIT(SONDE_LEVEL_DEBUG, policy, __VA_ARGS__)
#define SONDE_TRACE_LIMIT(policy, ...)       SONDE_LOG_LIMIT(SONDE_LEVEL_TRACE, policy, __VA_ARGS__)

// SONDE_LOG_ARRAY(level, message, fields, n): message any string, fields an array of struct sonde_field.
// SONDE_LOG_ARRAY_N(level, message, message_n, fields, n): a message with its length, nul bytes included.
#define SONDE_FIELD(f)                                          SONDE_FIELD2_ f
#define SONDE_LOG_ARRAY(level, message, fields, n)              SONDE_EMIT_ARRAY_(level, (message), SIZE_MAX, fields, n)
#define SONDE_LOG_ARRAY_N(level, message, message_n, fields, n) SONDE_EMIT_ARRAY_(level, message, message_n, fields, n)

// Whether a record of that level would be written by this file's target now (for work that only a record needs).
#define SONDE_ENABLED(level)                                                                                            \
    (__extension__({                                                                                                    \
        static struct sonde_site sonde_site_ = {0, 0, __LINE__, (level), 0, 0, 0, "", SONDE_TARGET, __FILE__, 0, 0, 0}; \
        uint32_t sonde_state_ = __atomic_load_n(&sonde_site_.state, __ATOMIC_RELAXED);                                  \
        sonde_state_ == SONDE_SITE_OFF ? 0 : sonde_site_enabled(&sonde_site_);                                          \
    }))
SONDE_API bool sonde_site_enabled(struct sonde_site *site);
SONDE_API bool sonde_site_wanted(struct sonde_site *site); // the same, or held by the flight recorder

// ---- machinery ------------------------------------------------------------------------------------------------------
#define SONDE_CAT_(a, b)    SONDE_CAT2_(a, b)
#define SONDE_CAT2_(a, b)   a##b
#define SONDE_UNPAREN_(...) __VA_ARGS__
#define SONDE_EVAL_(...)    __VA_ARGS__

// how: (level, kind, policy). Lists end with a ~, so that one without fields is none without arguments.
#define SONDE_LOG_N_(n, how, ...) SONDE_LOG_X_(n, how, __VA_ARGS__, ~)
#define SONDE_LOG_X_(n, how, message, ...)                                                       \
    SONDE_EMIT_(how, message, 0, n, (void)0, SONDE_CAT_(SONDE_MAP_, n)(SONDE_KEY_, __VA_ARGS__), \
                SONDE_CAT_(SONDE_MAP_, n)(SONDE_TYPE_, __VA_ARGS__), SONDE_CAT_(SONDE_MAP_, n)(SONDE_ARG_, __VA_ARGS__))
#define SONDE_LOGF_N_(n, how, ...) SONDE_LOGF_X_(n, how, __VA_ARGS__, ~)
#define SONDE_LOGF_X_(n, how, format, args, ...)                                                                               \
    SONDE_EMIT_(                                                                                                               \
        how, format, SONDE_NARGS_ args, n, sonde_check_format("" format, SONDE_UNPAREN_ args),                                 \
        SONDE_MAPA_(SONDE_AKEY_, SONDE_NARGS_ args, SONDE_UNPAREN_ args) SONDE_CAT_(SONDE_MAP_, n)(SONDE_KEY_, __VA_ARGS__),   \
        SONDE_MAPA_(SONDE_ATYPE_, SONDE_NARGS_ args, SONDE_UNPAREN_ args) SONDE_CAT_(SONDE_MAP_, n)(SONDE_TYPE_, __VA_ARGS__), \
        SONDE_MAPA_(SONDE_AARG_, SONDE_NARGS_ args, SONDE_UNPAREN_ args) SONDE_CAT_(SONDE_MAP_, n)(SONDE_ARG_, __VA_ARGS__))
#define SONDE_NARGS_(...)       SONDE_COUNT_(~, __VA_ARGS__)
#define SONDE_MAPA_(...)        SONDE_MAPA2_(__VA_ARGS__, ~)
#define SONDE_MAPA2_(m, n, ...) SONDE_CAT_(SONDE_MAP_, n)(m, __VA_ARGS__)
#define SONDE_AKEY_(v)          "",
#define SONDE_ATYPE_(v)         SONDE_ATYPE_OF_(v),
#define SONDE_AARG_(v)          SONDE_AARG_OF_(v),
#define SONDE_KEY_(f)           SONDE_KEY2_ f,
#define SONDE_KEY2_(k, t, a)    "" k
#define SONDE_TYPE_(f)          SONDE_TYPE2_ f,
#define SONDE_TYPE2_(k, t, a)   t
#define SONDE_ARG_(f)           SONDE_ARG2_ f,
#define SONDE_ARG2_(k, t, a)    a
#define SONDE_FIELD2_(k, t, a) \
    {                          \
        k, t, a                \
    }
#define SONDE_LEVEL_OF_(level, kind, policy) level
#define SONDE_DECL_(level, kind, policy)     SONDE_CAT_(SONDE_DECL_, kind)(policy)
#define SONDE_DECL_SONDE_PLAIN_(policy)
#define SONDE_DECL_SONDE_FORMAT_(policy)
#define SONDE_DECL_SONDE_LIMIT_(policy) static struct sonde_limit sonde_limit_ = SONDE_BRACES_ policy;
#define SONDE_BRACES_(first, one_in, period, dedup) \
    {                                               \
        first, one_in, period, dedup, 0, 0, 0, 0, 0 \
    }
#define SONDE_GATE_(level, kind, policy) SONDE_CAT_(SONDE_GATE_, kind)
#define SONDE_GATE_SONDE_PLAIN_
#define SONDE_GATE_SONDE_FORMAT_
#define SONDE_GATE_SONDE_LIMIT_          &&sonde_limit_pass(&sonde_limit_, &sonde_site_)
#define SONDE_CALL_(level, kind, policy) SONDE_CAT_(SONDE_CALL_, kind)
#define SONDE_CALL_SONDE_PLAIN_          sonde_log_write(&sonde_site_, sonde_args_)
#define SONDE_CALL_SONDE_FORMAT_         sonde_log_format(&sonde_site_, sonde_args_)
#define SONDE_CALL_SONDE_LIMIT_          sonde_log_limited(&sonde_site_, &sonde_limit_, sonde_args_)

#define SONDE_SITE_PASS_(...)                                                            \
    const uint32_t sonde_state_ = __atomic_load_n(&sonde_site_.state, __ATOMIC_RELAXED); \
    if (__builtin_expect(sonde_state_ != SONDE_SITE_OFF, 0) &&                           \
        ((sonde_state_ & SONDE_SITE_ON) || sonde_site_wanted(&sonde_site_)) __VA_ARGS__)
#define SONDE_EMIT_(how, message, n_args, n, check_, keys_, types_, args_)                                             \
    do {                                                                                                               \
        static const char *const sonde_keys_[] = {SONDE_EVAL_(keys_) 0};                                               \
        static const unsigned char sonde_types_[] = {SONDE_EVAL_(types_) 0};                                           \
        static struct sonde_site sonde_site_ = {0,                                                                     \
                                                0,                                                                     \
                                                __LINE__,                                                              \
                                                SONDE_LEVEL_OF_ how,                                                   \
                                                (n_args) + (n),                                                        \
                                                0,                                                                     \
                                                (n_args),                                                              \
                                                "" message,                                                            \
                                                SONDE_TARGET,                                                          \
                                                __FILE__,                                                              \
                                                sonde_keys_,                                                           \
                                                sonde_types_,                                                          \
                                                0};                                                                    \
        SONDE_DECL_ how SONDE_ASSERT_((n_args) + (n) < SONDE_FIELDS_MAX + !(n_args), "too many fields in one record"); \
        if (0)                                                                                                         \
            check_;                                                                                                    \
        SONDE_SITE_PASS_(SONDE_GATE_ how)                                                                              \
        {                                                                                                              \
            const struct sonde_arg sonde_args_[] = {SONDE_EVAL_(args_){{0}, 0}};                                       \
            SONDE_CALL_ how;                                                                                           \
        }                                                                                                              \
    } while (0)
// The record of SONDE_LOG_ARRAY: its message and its fields are values.
#define SONDE_EMIT_ARRAY_(level, message, message_n, fields, n)                                                          \
    do {                                                                                                                 \
        static const char *const sonde_keys_[] = {"", "", 0};                                                            \
        static const unsigned char sonde_types_[] = {SONDE_TYPE_MESSAGE, SONDE_TYPE_FIELDS, 0};                          \
        static struct sonde_site sonde_site_ = {0,        0,           __LINE__,     (level), 2, 0, 0, "", SONDE_TARGET, \
                                                __FILE__, sonde_keys_, sonde_types_, 0};                                 \
        SONDE_SITE_PASS_()                                                                                               \
        {                                                                                                                \
            sonde_log_array(&sonde_site_, (message), (message_n), (fields), (n));                                        \
        }                                                                                                                \
    } while (0)

// Number of fields: arguments after the message.
#define SONDE_COUNT_(...) \
    SONDE_COUNT2_(__VA_ARGS__, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, unused)
#define SONDE_COUNT2_(message, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, \
                      a22, a23, a24, n, ...)                                                                                   \
    n
#define SONDE_COUNTF_(...) \
    SONDE_COUNTF2_(__VA_ARGS__, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, unused)
#define SONDE_COUNTF2_(format, args, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, \
                       a21, a22, a23, a24, n, ...)                                                                              \
    n
#define SONDE_MAP_0(m, ...)
#define SONDE_MAP_1(m, a, ...)  m(a)
#define SONDE_MAP_2(m, a, ...)  m(a) SONDE_MAP_1(m, __VA_ARGS__)
#define SONDE_MAP_3(m, a, ...)  m(a) SONDE_MAP_2(m, __VA_ARGS__)
#define SONDE_MAP_4(m, a, ...)  m(a) SONDE_MAP_3(m, __VA_ARGS__)
#define SONDE_MAP_5(m, a, ...)  m(a) SONDE_MAP_4(m, __VA_ARGS__)
#define SONDE_MAP_6(m, a, ...)  m(a) SONDE_MAP_5(m, __VA_ARGS__)
#define SONDE_MAP_7(m, a, ...)  m(a) SONDE_MAP_6(m, __VA_ARGS__)
#define SONDE_MAP_8(m, a, ...)  m(a) SONDE_MAP_7(m, __VA_ARGS__)
#define SONDE_MAP_9(m, a, ...)  m(a) SONDE_MAP_8(m, __VA_ARGS__)
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
} // extern "C"
#define SONDE_ASSERT_(...) static_assert(__VA_ARGS__)
#define SONDE_TYPE_OF_(v)  static_cast<unsigned char>(sizeof(sonde_detail::type_of(v)))
#define SONDE_ARG_OF_(v)   sonde_detail::arg_of(v)
#define SONDE_ATYPE_OF_(v) static_cast<unsigned char>(sizeof(sonde_detail::format_type_of(v)))
#define SONDE_AARG_OF_(v)  sonde_detail::format_arg_of(v)
// By overloading; a type's number is the size of what the (never defined) function returns.
namespace sonde_detail
{
template <unsigned N> using tag = char (&)[N];
tag<SONDE_TYPE_BOOL> type_of(bool);
inline sonde_arg arg_of(bool v)
{
    return sonde_arg_bool(v);
}
#define SONDE_SCALAR_(T, kind, make) \
    tag<kind> type_of(T);            \
    inline sonde_arg arg_of(T v)     \
    {                                \
        return make;                 \
    }
SONDE_SCALAR_(char, SONDE_TYPE_INT, sonde_arg_int(v))
SONDE_SCALAR_(signed char, SONDE_TYPE_INT, sonde_arg_int(v))
SONDE_SCALAR_(short, SONDE_TYPE_INT, sonde_arg_int(v))
SONDE_SCALAR_(int, SONDE_TYPE_INT, sonde_arg_int(v))
SONDE_SCALAR_(long, SONDE_TYPE_INT, sonde_arg_int(v))
SONDE_SCALAR_(long long, SONDE_TYPE_INT, sonde_arg_int(v))
SONDE_SCALAR_(unsigned char, SONDE_TYPE_UINT, sonde_arg_uint(v))
SONDE_SCALAR_(unsigned short, SONDE_TYPE_UINT, sonde_arg_uint(v))
SONDE_SCALAR_(unsigned, SONDE_TYPE_UINT, sonde_arg_uint(v))
SONDE_SCALAR_(unsigned long, SONDE_TYPE_UINT, sonde_arg_uint(v))
SONDE_SCALAR_(unsigned long long, SONDE_TYPE_UINT, sonde_arg_uint(v))
SONDE_SCALAR_(float, SONDE_TYPE_F64, sonde_arg_f64(static_cast<double>(v)))
SONDE_SCALAR_(double, SONDE_TYPE_F64, sonde_arg_f64(v))
SONDE_SCALAR_(long double, SONDE_TYPE_F64, sonde_arg_f64(static_cast<double>(v)))
SONDE_SCALAR_(const char *, SONDE_TYPE_STR, sonde_arg_str(v))
SONDE_SCALAR_(char *, SONDE_TYPE_STR, sonde_arg_str(v))
#undef SONDE_SCALAR_
// What data() points to: text, or elements.
#define SONDE_ELEMENT_(T, kind) tag<kind> data_type(const T *);
SONDE_ELEMENT_(char, SONDE_TYPE_STR)
SONDE_ELEMENT_(long, SONDE_TYPE_INTS)
SONDE_ELEMENT_(long long, SONDE_TYPE_INTS)
SONDE_ELEMENT_(unsigned long, SONDE_TYPE_UINTS)
SONDE_ELEMENT_(unsigned long long, SONDE_TYPE_UINTS)
SONDE_ELEMENT_(double, SONDE_TYPE_F64S)
SONDE_ELEMENT_(bool, SONDE_TYPE_BOOLS)
SONDE_ELEMENT_(unsigned char, SONDE_TYPE_BYTES)
SONDE_ELEMENT_(char *, SONDE_TYPE_STRS)
SONDE_ELEMENT_(char *const, SONDE_TYPE_STRS)
#undef SONDE_ELEMENT_
tag<SONDE_TYPE_STRS> data_type(const char *const *);
static_assert(sizeof(long long) == 8, "elements are read as 64 bits");
template <class T> auto type_of(const T &v) -> decltype((void)v.size(), data_type(v.data()));
template <class T> auto arg_of(const T &v) -> decltype((void)data_type(v.data()), sonde_arg_data(v.data(), v.size()))
{
    return sonde_arg_data(v.data() ? static_cast<const void *>(v.data()) : "", v.size()); // nothing in it is not nothing
}
// std::chrono::duration
template <class T, class P = typename T::period>
auto type_of(const T &v) -> decltype((void)v.count(), (tag<SONDE_TYPE_DURATION>)*(char *)0);
template <class T, class P = typename T::period> auto arg_of(const T &v) -> decltype((void)v.count(), sonde_arg())
{
    return P::num == 1 && 1000000000 % P::den == 0
               ? sonde_arg_int(
                     static_cast<int64_t>(v.count() * static_cast<typename T::rep>(P::num == 1 ? 1000000000 / P::den : 1)))
               : sonde_arg_int(static_cast<int64_t>(static_cast<double>(v.count()) * 1e9 * static_cast<double>(P::num) /
                                                    static_cast<double>(P::den)));
}
// Arguments of formats: also pointers; strings without their length.
template <class T> auto format_type_of(T v) -> decltype(type_of(v));
tag<SONDE_TYPE_UINT> format_type_of(const volatile void *);
template <class T> auto format_arg_of(T v) -> decltype(arg_of(v))
{
    return arg_of(v);
}
inline sonde_arg format_arg_of(const volatile void *v)
{
    return sonde_arg_ptr(v);
}
inline sonde_arg format_arg_of(const char *v)
{
    return sonde_arg_cstr(v);
}
inline sonde_arg format_arg_of(char *v)
{
    return sonde_arg_cstr(v);
}
} // namespace sonde_detail
#else
#define SONDE_ASSERT_(...) _Static_assert(__VA_ARGS__)
#define SONDE_TYPE_OF_(v) \
    _Generic((v),                                                                                                            \
        _Bool: SONDE_TYPE_BOOL,                                                                                              \
        char: SONDE_TYPE_INT, signed char: SONDE_TYPE_INT, short: SONDE_TYPE_INT, int: SONDE_TYPE_INT, long: SONDE_TYPE_INT, long long: SONDE_TYPE_INT,\
        unsigned char: SONDE_TYPE_UINT, unsigned short: SONDE_TYPE_UINT, unsigned: SONDE_TYPE_UINT, unsigned long: SONDE_TYPE_UINT, unsigned long long: SONDE_TYPE_UINT,\
        float: SONDE_TYPE_F64, double: SONDE_TYPE_F64, long double: SONDE_TYPE_F64,                                          \
        char *: SONDE_TYPE_STR, const char *: SONDE_TYPE_STR)
#define SONDE_ARG_OF_(v) \
    _Generic((v),                                                                                                            \
        _Bool: sonde_arg_bool,                                                                                               \
        char: sonde_arg_int, signed char: sonde_arg_int, short: sonde_arg_int, int: sonde_arg_int, long: sonde_arg_int, long long: sonde_arg_int,\
        unsigned char: sonde_arg_uint, unsigned short: sonde_arg_uint, unsigned: sonde_arg_uint, unsigned long: sonde_arg_uint, unsigned long long: sonde_arg_uint,\
        float: sonde_arg_f64, double: sonde_arg_f64, long double: sonde_arg_f64,                                             \
        char *: sonde_arg_str, const char *: sonde_arg_str)(v)
#define SONDE_ATYPE_OF_(v) \
    _Generic((v),                                                                                                            \
        _Bool: SONDE_TYPE_BOOL,                                                                                              \
        char: SONDE_TYPE_INT, signed char: SONDE_TYPE_INT, short: SONDE_TYPE_INT, int: SONDE_TYPE_INT, long: SONDE_TYPE_INT, long long: SONDE_TYPE_INT,\
        unsigned char: SONDE_TYPE_UINT, unsigned short: SONDE_TYPE_UINT, unsigned: SONDE_TYPE_UINT, unsigned long: SONDE_TYPE_UINT, unsigned long long: SONDE_TYPE_UINT,\
        float: SONDE_TYPE_F64, double: SONDE_TYPE_F64, long double: SONDE_TYPE_F64,                                          \
        char *: SONDE_TYPE_STR, const char *: SONDE_TYPE_STR, default: SONDE_TYPE_UINT)
#define SONDE_AARG_OF_(v) \
    _Generic((v),                                                                                                            \
        _Bool: sonde_arg_bool,                                                                                               \
        char: sonde_arg_int, signed char: sonde_arg_int, short: sonde_arg_int, int: sonde_arg_int, long: sonde_arg_int, long long: sonde_arg_int,\
        unsigned char: sonde_arg_uint, unsigned short: sonde_arg_uint, unsigned: sonde_arg_uint, unsigned long: sonde_arg_uint, unsigned long long: sonde_arg_uint,\
        float: sonde_arg_f64, double: sonde_arg_f64, long double: sonde_arg_f64,                                             \
        char *: sonde_arg_cstr, const char *: sonde_arg_cstr, default: sonde_arg_ptr)(v)
#endif
