// Loggers with a scope of their own, for bridges from other logging libraries and for named events. Whoever writes C or C++ wants
// the macros of sonde/log.h. Not included by sonde.h.
//
//   struct sonde_logger *l = sonde_logger_get(&(struct sonde_logger_options){.name = "my.lib", .version = "1.2"});
//   if (sonde_logger_enabled(l, SONDE_LEVEL_INFO))
//       sonde_logger_emit(l, &(struct sonde_logger_record){.level = SONDE_LEVEL_INFO, .message = "moved", .event_name =
//       "kv.moved"});
//
// Records take the same way as all: filter (by the logger's name as target), ring, lines, export; they carry the ids of the
// thread's current span. Cost: as SONDE_LOG_ARRAY. Thread rule: any thread.
#pragma once
#include <sonde/sonde.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sonde_logger;
struct sonde_logger_options { // exported as the instrumentation scope
    const char *name, *version, *schema_url;
    const struct sonde_field *attributes;
    size_t n_attributes;
};
// Equal options give the same logger; it lives as long as the process. Null without memory.
SONDE_API struct sonde_logger *sonde_logger_get(const struct sonde_logger_options *o);
// Whether a record of that level would be written now, in the current span.
SONDE_API bool sonde_logger_enabled(struct sonde_logger *l, enum sonde_level level);

struct sonde_logger_record {
    enum sonde_level level;
    const char *message;                     // null: ""
    const char *event_name;                  // null: none. Exported as such, a field event.name on lines
    const struct sonde_exception *exception; // null: none. Fields exception.type, .message, .stacktrace and its own
    const struct sonde_field *fields;
    size_t n_fields;
};
SONDE_API void sonde_logger_emit(struct sonde_logger *l, const struct sonde_logger_record *r);

#ifdef __cplusplus
}
#endif
