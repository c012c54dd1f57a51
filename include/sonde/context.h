// What travels with a request: the ids of its trace, its request ids, its baggage; and how that gets into and out of headers,
// environments and other carriers.
//
// Thread rule: struct sonde_context is a plain value. A baggage is changed by one thread at a time. Keys, contexts (struct
// sonde_ctx) and propagators are immutable and may be used by any thread; what is attached belongs to the attaching thread.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct sonde_context {
    uint8_t trace_id[16], span_id[8]; // all zero: none
    uint8_t flags;                    // bit 0 sampled, bit 1 random (W3C Trace Context Level 2), bit 2 B3's debug
    bool remote;                      // it came from another process
    char request_id[129];             // x-request-id, "" if none
    char tracestate[513];             // "" if none
    char dynamo_request_id[37];       // x-dynamo-request-id, a UUID in lower case, "" if none
};

// Both ids are there.
SONDE_API bool sonde_context_valid(const struct sonde_context *c);

// ---- headers --------------------------------------------------------------------------------------------------------
// get returns a header's value (n-th of that name; lower-case name) or null; set is called once a header.
typedef const char *sonde_get_fn(void *carrier, const char *name, int nth, size_t *len);
typedef void sonde_set_fn(void *carrier, const char *name, const char *value, size_t len);
typedef const char *sonde_keys_fn(void *carrier, int nth); // the n-th name, null behind the last
// By the global propagator (OTEL_PROPAGATORS; W3C by default), and the request ids: x-request-id; request-id or else
// x-dynamo-request-id (UUIDs, others are ignored). False if there were no valid ids of a span (the context then has a zero trace
// id, and the request ids that were sent).
SONDE_API bool sonde_extract(struct sonde_context *out, sonde_get_fn *get, void *carrier);
// c may be null: then only the baggage that is attached to this thread.
SONDE_API void sonde_inject(const struct sonde_context *c, sonde_set_fn *set, void *carrier);
// The same towards Dynamo's workers: always a request-id (a new one if c has none) and x-frontend-send-ts-ns, the time now.
SONDE_API void sonde_inject_dynamo(const struct sonde_context *c, sonde_set_fn *set, void *carrier);
// Ids as text, ended by a 0: "00-<trace>-<span>-<flags>"; "" if the context has no ids.
SONDE_API void sonde_traceparent(const struct sonde_context *c, char out[56]);
// Makes c's request id the given one if it is valid (1 to 128 printable ASCII characters); false and unchanged otherwise.
SONDE_API bool sonde_set_request_id(struct sonde_context *c, const char *id, size_t n);
// The same for the Dynamo request id: a UUID, with or without hyphens.
SONDE_API bool sonde_set_dynamo_request_id(struct sonde_context *c, const char *id, size_t n);
SONDE_API void sonde_new_request_id(char out[37]); // UUID version 4

// Sets the value of one tracestate member and moves it to the left end; value null removes it. False if key or value are not
// allowed there. Whole members are left out at the right end where 32 members or 512 characters do not suffice.
SONDE_API bool sonde_tracestate_set(struct sonde_context *c, const char *key, const char *value);
SONDE_API bool sonde_tracestate_get(const struct sonde_context *c, const char *key, char *out, size_t size);

// ---- baggage --------------------------------------------------------------------------------------------------------
// An ordered list of names, values and metadata. Names are not empty; values are UTF-8; metadata is passed on as it is,
// but not what a header has no form for (a line's end, a quote).
// At most 64 members and 8,192 bytes go out; whole members behind that are left out.
struct sonde_baggage;
SONDE_API struct sonde_baggage *sonde_baggage_new(void); // null without memory
SONDE_API struct sonde_baggage *sonde_baggage_copy(const struct sonde_baggage *b);
SONDE_API void sonde_baggage_free(struct sonde_baggage *b);
// Replaces what has that name. metadata may be null. False: empty name, or no room.
SONDE_API bool sonde_baggage_set(struct sonde_baggage *b, const char *name, const char *value, const char *metadata);
SONDE_API const char *sonde_baggage_get(const struct sonde_baggage *b, const char *name); // null: not there
SONDE_API bool sonde_baggage_remove(struct sonde_baggage *b, const char *name);
SONDE_API void sonde_baggage_clear(struct sonde_baggage *b);
SONDE_API size_t sonde_baggage_count(const struct sonde_baggage *b);
struct sonde_baggage_member {
    const char *name, *value, *metadata; // valid until the baggage changes; metadata "" if none
};
SONDE_API bool sonde_baggage_at(const struct sonde_baggage *b, size_t i, struct sonde_baggage_member *out);
// Adds the members of one header's value. False if some could not be read or did not fit; the others are there.
SONDE_API bool sonde_baggage_parse(struct sonde_baggage *b, const char *header, size_t n);
// The header's value, ended by a 0, as far as it fits; returns its length.
SONDE_API size_t sonde_baggage_print(const struct sonde_baggage *b, char *out, size_t size);
SONDE_API const struct sonde_baggage *sonde_baggage_current(void); // attached to this thread; null if none
// Reads what the global propagator finds in the carrier into b. False: nothing.
SONDE_API bool sonde_extract_baggage(struct sonde_baggage *b, sonde_get_fn *get, sonde_keys_fn *keys, void *carrier);

// ---- keys and values ------------------------------------------------------------------------------------------------
// An immutable list; each set makes a new one. Null is the empty one. Counted: who calls set or ref calls unref.
struct sonde_ctx;
struct sonde_ctx_key;                                                      // its address is its identity
SONDE_API const struct sonde_ctx_key *sonde_ctx_key_new(const char *name); // each call another key; never freed
SONDE_API struct sonde_ctx *sonde_ctx_set(struct sonde_ctx *c, const struct sonde_ctx_key *key, void *value,
                                          void (*free_value)(void *value));
SONDE_API void *sonde_ctx_get(const struct sonde_ctx *c, const struct sonde_ctx_key *key); // null: not there
SONDE_API struct sonde_ctx *sonde_ctx_ref(struct sonde_ctx *c);
SONDE_API void sonde_ctx_unref(struct sonde_ctx *c);
SONDE_API struct sonde_ctx *sonde_ctx_with_baggage(struct sonde_ctx *c, const struct sonde_baggage *b); // copies b
SONDE_API const struct sonde_baggage *sonde_ctx_baggage(const struct sonde_ctx *c);
// Makes c this thread's current context and returns the one before, for detach. The thread holds c meanwhile.
SONDE_API struct sonde_ctx *sonde_ctx_attach(struct sonde_ctx *c);
SONDE_API void sonde_ctx_detach(struct sonde_ctx *before);
SONDE_API struct sonde_ctx *sonde_ctx_current(void); // not counted

// ---- propagators ----------------------------------------------------------------------------------------------------
struct sonde_carrier {
    sonde_get_fn *get;
    sonde_set_fn *set;
    sonde_keys_fn *keys; // may be null: baggage in headers of unknown names (jaeger, ottrace) is then not found
    void *arg;
};
struct sonde_propagator {
    const char *name;
    const char *const *fields; // headers it may set, null at the end
    // Where it finds ids or members it writes them; else out stays as it is. Returns whether it found any. b may be null.
    bool (*extract)(const struct sonde_propagator *p, struct sonde_context *out, struct sonde_baggage *b,
                    const struct sonde_carrier *from);
    void (*inject)(const struct sonde_propagator *p, const struct sonde_context *c, const struct sonde_baggage *b,
                   const struct sonde_carrier *to);
    const struct sonde_propagator *const *parts; // of a composite, null at the end
};
// tracecontext, baggage, b3, b3multi, jaeger, ottrace, xray, none; null: not known.
SONDE_API const struct sonde_propagator *sonde_propagator_named(const char *name);
// All in that order, each once; lives as long as the process. Null without memory.
SONDE_API const struct sonde_propagator *sonde_propagator_composite(const struct sonde_propagator *const *parts, size_t n);
SONDE_API const struct sonde_propagator *sonde_propagator_global(void); // by OTEL_PROPAGATORS until it was set
SONDE_API void sonde_propagator_set_global(const struct sonde_propagator *p);

// ---- child processes ------------------------------------------------------------------------------------------------
// From this process's environment: TRACEPARENT, TRACESTATE, BAGGAGE and what else the global propagator reads, as upper-case
// names with _ for what is no letter or digit. b may be null.
SONDE_API bool sonde_extract_env(struct sonde_context *out, struct sonde_baggage *b);
// A copy of env (null at the end) with those variables set, for execve and posix_spawn. One piece of memory: free() it.
SONDE_API char **sonde_inject_env(const struct sonde_context *c, char *const *env);

// ---- bytes ----------------------------------------------------------------------------------------------------------
// The binary form of OpenCensus (grpc-trace-bin), 29 bytes.
SONDE_API size_t sonde_inject_binary(const struct sonde_context *c, uint8_t out[29]); // 0: no ids
SONDE_API bool sonde_extract_binary(struct sonde_context *out, const uint8_t *p, size_t n);

#ifdef __cplusplus
}
#endif
