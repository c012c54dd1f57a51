// Spans. The short way, for a block of code:
//
//   SONDE_SPAN("select_worker", SONDE_INT("candidates", n)); // current until the block ends; in C++ sonde::span s("…")
//   SONDE_SPAN_SET(sonde_span_current(), SONDE_STR("worker", id));
//
// and free-standing, for event loops: sonde_span_start, then from any thread and turn what there is to say, then sonde_span_end.
//
// What is said about a span goes into the ring, as records do: no lock, no allocation. Keys, names and values are copied. A null
// string, and an array that is null, is no value: such an attribute is left out. Texts are UTF-8, keys too; what is not is
// repaired on its way out. Prefer attributes at the start: samplers see only those.
//
// A span that the sampler drops is not recorded: starting and ending it costs a few ns. Its ids exist all the same, and the first
// log record inside of it makes it known to the lines, with what was said about it up to then (512 bytes at most).
//
// Thread rule: any call from any thread, several at a time too, but for enter and exit (sonde_span_enter) and for the end: a span
// that others may still use when it ends must be held by them (sonde_span_hold).
// Limits: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT … (128 attributes, events, links; 128 attributes of each of those); what is over is
// dropped, counted in the exported span, and told in one line a span.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum sonde_kind { SONDE_KIND_INTERNAL = 1, SONDE_KIND_SERVER, SONDE_KIND_CLIENT, SONDE_KIND_PRODUCER, SONDE_KIND_CONSUMER };
enum sonde_status { SONDE_STATUS_UNSET, SONDE_STATUS_OK, SONDE_STATUS_ERROR };

struct sonde_context;
struct sonde_span; // free-standing: may be started, used and ended on different threads and event-loop turns

// ---- start and end --------------------------------------------------------------------------------------------------
// parent null: the current span of this thread, or a new trace. A parent with a zero trace id: a new trace (its
// request ids are kept). Never returns null: without memory a span that records nothing.
SONDE_API struct sonde_span *sonde_span_start(const char *name, enum sonde_kind kind, const struct sonde_context *parent);
// As above with an explicit start, ns since 1970 (back-dated spans).
SONDE_API struct sonde_span *sonde_span_start_at(const char *name, enum sonde_kind kind, const struct sonde_context *parent,
                                                 int64_t start_ns);
struct sonde_tracer;
struct sonde_link {
    const struct sonde_context *context;
    const struct sonde_field *attributes; // made with SONDE_FIELD(SONDE_INT(key, v))
    size_t n_attributes;
};
struct sonde_span_options {
    enum sonde_kind kind;               // 0: internal
    const struct sonde_context *parent; // null: the current span of this thread
    bool root;                          // a new trace, whatever is current
    int64_t start_ns;                   // 0: now
    struct sonde_tracer *tracer;        // null: the scope is the target of the call's file
    const struct sonde_field *attributes;
    size_t n_attributes;
    const struct sonde_link *links;
    size_t n_links;
};
SONDE_API struct sonde_span *sonde_span_start_with(const char *name, const struct sonde_span_options *o);
// All three are also macros that add the place of the call (target, file, line), which SPAN_CLOSED lines and the exported scope
// tell.
struct sonde_site;
SONDE_API struct sonde_span *sonde_span_start_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                   const struct sonde_context *parent);
SONDE_API struct sonde_span *sonde_span_start_at_site(struct sonde_site *site, const char *name, enum sonde_kind kind,
                                                      const struct sonde_context *parent, int64_t start_ns);
SONDE_API struct sonde_span *sonde_span_start_with_site(struct sonde_site *site, const char *name,
                                                        const struct sonde_span_options *o);
#define SONDE_SPAN_SITE_(call, ...)                                                                                         \
    __extension__({                                                                                                         \
        static struct sonde_site sonde_span_site_ = {0, 0, __LINE__, SONDE_LEVEL_INFO, 0, 1, 0, "", SONDE_TARGET, __FILE__, \
                                                     0, 0, 0};                                                              \
        call(&sonde_span_site_, __VA_ARGS__);                                                                               \
    })
#define sonde_span_start(...)      SONDE_SPAN_SITE_(sonde_span_start_site, __VA_ARGS__)
#define sonde_span_start_at(...)   SONDE_SPAN_SITE_(sonde_span_start_at_site, __VA_ARGS__)
#define sonde_span_start_with(...) SONDE_SPAN_SITE_(sonde_span_start_with_site, __VA_ARGS__)
SONDE_API void sonde_span_end(struct sonde_span *s); // frees it, unless somebody holds it; null is fine
SONDE_API void sonde_span_end_at(struct sonde_span *s, int64_t end_ns);
// A held span stays valid behind its end, until the release; it then records nothing any more.
SONDE_API struct sonde_span *sonde_span_hold(struct sonde_span *s);
SONDE_API void sonde_span_release(struct sonde_span *s);
SONDE_API bool sonde_span_is_recording(const struct sonde_span *s); // false for dropped spans, and behind the end

// ---- the current span -----------------------------------------------------------------------------------------------
// Becomes current on this thread (a stack). A span is entered on one thread at a time, and left there before another ends it.
SONDE_API void sonde_span_enter(struct sonde_span *s);
SONDE_API void sonde_span_exit(struct sonde_span *s);
SONDE_API const struct sonde_context *sonde_span_context(const struct sonde_span *s); // valid as long as the span; never null
SONDE_API const struct sonde_context *sonde_current(void); // of this thread's current span; null if none
SONDE_API struct sonde_span *sonde_span_current(void);     // null if none

// ---- what a span says -----------------------------------------------------------------------------------------------
SONDE_API void sonde_span_str(struct sonde_span *s, const char *key, const char *value);
SONDE_API void sonde_span_strn(struct sonde_span *s, const char *key, const char *value, size_t n);
SONDE_API void sonde_span_int(struct sonde_span *s, const char *key, int64_t value);
SONDE_API void sonde_span_uint(struct sonde_span *s, const char *key, uint64_t value);
SONDE_API void sonde_span_f64(struct sonde_span *s, const char *key, double value);
SONDE_API void sonde_span_bool(struct sonde_span *s, const char *key, bool value);
// Any type, arrays of one type and bytes included: SONDE_SPAN_SET(s, SONDE_KV(key, v), SONDE_INTS(key, p, n), …).
SONDE_API void sonde_span_attributes(struct sonde_span *s, const struct sonde_field *fields, size_t n);
SONDE_API void sonde_span_name(struct sonde_span *s, const char *name); // filters go on knowing it by the name of its start
// OK is final; an error may become OK; the message is kept with an error only.
SONDE_API void sonde_span_status(struct sonde_span *s, enum sonde_status status, const char *message);
SONDE_API void sonde_span_event(struct sonde_span *s, const char *name); // now
SONDE_API void sonde_span_event_at(struct sonde_span *s, const char *name, int64_t time_ns);
SONDE_API void sonde_span_event_with(struct sonde_span *s, const char *name, int64_t time_ns, const struct sonde_field *fields,
                                     size_t n); // time_ns 0: now
SONDE_API void sonde_span_link(struct sonde_span *s, const struct sonde_link *link);
// An event "exception" with exception.type, .message and .stacktrace; at least one of type and message. fields win over those.
struct sonde_exception {
    const char *type, *message, *stack; // may be null
    bool capture_stack;                 // where stack is null: this thread's, now (slow)
    const struct sonde_field *fields;
    size_t n_fields;
};
SONDE_API void sonde_span_exception(struct sonde_span *s, const struct sonde_exception *e);

// ---- tracers --------------------------------------------------------------------------------------------------------
// The instrumentation scope of spans, exported with them. Equal options give the same tracer; it lives as long as the process.
// Any thread. An empty name works, too.
struct sonde_tracer_options {
    const char *name, *version, *schema_url;
    const struct sonde_field *attributes;
    size_t n_attributes;
};
SONDE_API struct sonde_tracer *sonde_tracer_get(const struct sonde_tracer_options *o); // null without memory

// ---- processors -----------------------------------------------------------------------------------------------------
// A span as it was when it ended. Texts are not terminated; everything is valid during the call.
struct sonde_text {
    const char *p;
    size_t n;
};
struct sonde_attribute {
    struct sonde_text key;
    unsigned char type;     // enum sonde_type
    uint64_t bits;          // of a number
    struct sonde_text text; // else: text, bytes, or elements as they lie in the ring
};
struct sonde_event_data {
    int64_t time_ns;
    struct sonde_text name;
    const struct sonde_attribute *attributes;
    size_t n_attributes, dropped_attributes;
};
struct sonde_link_data {
    const uint8_t *trace_id, *span_id;
    uint8_t flags;
    bool remote;
    struct sonde_text tracestate;
    const struct sonde_attribute *attributes;
    size_t n_attributes, dropped_attributes;
};
struct sonde_span_data {
    const uint8_t *trace_id, *span_id, *parent_id; // parent_id null: a root
    uint8_t flags;
    bool parent_remote;
    enum sonde_kind kind;
    enum sonde_status status;
    struct sonde_text name, status_message, tracestate, request_id;
    int64_t start_ns, end_ns;
    const struct sonde_attribute *attributes;
    const struct sonde_event_data *events;
    const struct sonde_link_data *links;
    size_t n_attributes, n_events, n_links, dropped_attributes, dropped_events, dropped_links;
    struct sonde_text scope_name, scope_version, scope_schema_url;
    const struct sonde_attribute *scope_attributes;
    size_t n_scope_attributes;
};
// Sees each span that is recorded. on_start and on_ending on the thread that starts or ends it, where the span may still be
// changed; parent has zero ids for a root. on_end on the library's own thread, before the exporter; sampled or not.
// Any may be null. They must not block.
struct sonde_span_processor {
    void (*on_start)(void *arg, struct sonde_span *s, const struct sonde_context *parent);
    void (*on_ending)(void *arg, struct sonde_span *s, int64_t end_ns); // end_ns 0: now
    void (*on_end)(void *arg, const struct sonde_span_data *d);
    void *arg;
};
enum { SONDE_SPAN_PROCESSORS_MAX = 8 };
// Copied. In the order of adding. False when there are too many. Add them before the spans they shall see.
SONDE_API bool sonde_span_processor_add(const struct sonde_span_processor *p);

// Makes ids, on any thread; both must not be zero. random: 56 low bits of its trace ids are random, which the W3C flag then says.
struct sonde_id_generator {
    void (*trace_id)(void *arg, uint8_t out[16]);
    void (*span_id)(void *arg, uint8_t out[8]);
    bool random;
    void *arg;
};
SONDE_API void sonde_id_generator_set(const struct sonde_id_generator *g); // must live on; null: the library's own

#ifdef __cplusplus
}
#endif
#include <sonde/log.h>

// ---- macros ---------------------------------------------------------------------------------------------------------
#ifdef __cplusplus
extern "C" {
#endif
SONDE_API struct sonde_span *sonde_span_scope_(struct sonde_site *site, const char *name, const struct sonde_field *fields,
                                               size_t n); // started and entered
static inline void sonde_span_scope_end_(struct sonde_span **s)
{
    sonde_span_end(*s);
}
#ifdef __cplusplus
}
#endif
#define SONDE_SPAN_FIELD_(f) SONDE_FIELD2_ f,
// SONDE_SPAN("name", fields…): a span from here to the end of the block, current meanwhile. SONDE_SPAN_AS(var, "name", fields…)
// gives its handle a name.
#define SONDE_SPAN(...) SONDE_SPAN_AS(SONDE_CAT_(sonde_scope_, __LINE__), __VA_ARGS__)
#define SONDE_SPAN_AS(var, ...)                                                      \
    struct sonde_span *var __attribute__((cleanup(sonde_span_scope_end_), unused)) = \
        SONDE_SPAN_N_(SONDE_COUNT_(__VA_ARGS__), __VA_ARGS__)
#define SONDE_SPAN_N_(n, ...) SONDE_SPAN_X_(n, __VA_ARGS__, ~)
#define SONDE_SPAN_X_(n, name, ...)                                                                                             \
    __extension__({                                                                                                             \
        static struct sonde_site sonde_span_site_ = {0, 0, __LINE__, SONDE_LEVEL_INFO, 0, 1, 0, "", SONDE_TARGET, __FILE__,     \
                                                     0, 0, 0};                                                                  \
        const struct sonde_field sonde_fields_[] = {SONDE_CAT_(SONDE_MAP_, n)(SONDE_SPAN_FIELD_, __VA_ARGS__){0, 0, {{0}, 0}}}; \
        sonde_span_scope_(&sonde_span_site_, name, sonde_fields_, n);                                                           \
    })
#define SONDE_SPAN_SET(...)       SONDE_SPAN_SET_N_(SONDE_COUNT_(__VA_ARGS__), __VA_ARGS__)
#define SONDE_SPAN_SET_N_(n, ...) SONDE_SPAN_SET_X_(n, __VA_ARGS__, ~)
#define SONDE_SPAN_SET_X_(n, s, ...)                                                                                            \
    do {                                                                                                                        \
        const struct sonde_field sonde_fields_[] = {SONDE_CAT_(SONDE_MAP_, n)(SONDE_SPAN_FIELD_, __VA_ARGS__){0, 0, {{0}, 0}}}; \
        sonde_span_attributes((s), sonde_fields_, n);                                                                           \
    } while (0)
// SONDE_SPAN_EVENT(s, "name", fields…)
#define SONDE_SPAN_EVENT(s, ...)       SONDE_SPAN_EVENT_N_(SONDE_COUNT_(__VA_ARGS__), s, __VA_ARGS__)
#define SONDE_SPAN_EVENT_N_(n, s, ...) SONDE_SPAN_EVENT_X_(n, s, __VA_ARGS__, ~)
#define SONDE_SPAN_EVENT_X_(n, s, name, ...)                                                                                    \
    do {                                                                                                                        \
        const struct sonde_field sonde_fields_[] = {SONDE_CAT_(SONDE_MAP_, n)(SONDE_SPAN_FIELD_, __VA_ARGS__){0, 0, {{0}, 0}}}; \
        sonde_span_event_with((s), name, 0, sonde_fields_, n);                                                                  \
    } while (0)

#ifdef __cplusplus
namespace sonde
{
// A span of a block: current from the constructor to the destructor.
class span
{
    sonde_span *s_;

  public:
    explicit span(const char *name, sonde_kind kind = SONDE_KIND_INTERNAL, const sonde_context *parent = nullptr)
        : s_(sonde_span_start(name, kind, parent))
    {
        sonde_span_enter(s_);
    }
    span(const span &) = delete;
    span &operator=(const span &) = delete;
    ~span() { sonde_span_end(s_); }
    operator sonde_span *() const { return s_; }
    template <class T> void set(const char *key, const T &value)
    {
        const sonde_field f = {key, static_cast<unsigned char>(sizeof(sonde_detail::type_of(value))),
                               sonde_detail::arg_of(value)};
        sonde_span_attributes(s_, &f, 1);
    }
    void event(const char *name) { sonde_span_event(s_, name); }
    void error(const char *message) { sonde_span_status(s_, SONDE_STATUS_ERROR, message); }
};
} // namespace sonde
#endif
