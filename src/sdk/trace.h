// What the files of spans share: span*.c (handles; span_int.h), trace.c (tracers, processors, what is said once a process),
// sampler.c, sampler_composite.c, trace_env.c (settings). Thread rule: settings are written while the library starts, or
// atomically; read by any thread.
#pragma once
#include "base/buf.h"
#include "sdk/spans.h"
#include <sonde/sampler.h>
#include <stdatomic.h>

// How the start of a span is decided without asking a sampler object.
enum trace_mode {
    TRACE_ASK,        // trace.sampler
    TRACE_ON,         // always_on, always_off
    TRACE_OFF,        //
    TRACE_PARENT,     // as the parent, if there is one; else by the threshold
    TRACE_PARENT_OFF, // parentbased_always_off
};
enum { TRACE_QUICK_CHILD = 1, TRACE_QUICK_ROOT = 2 };
struct trace {
    unsigned quick; // atomic, TRACE_QUICK_: what is dropped without a question: children of what is not sampled; new traces
    _Atomic(enum trace_mode) mode;
    uint64_t threshold; // of new traces in TRACE_PARENT, 56 bits; 0: all
    char state[32];     // "ot=th:…" for those that pass it; "" if all do
    _Atomic(const struct sonde_sampler *) sampler;
    bool keep_errors, disabled;
    _Atomic(const struct sonde_id_generator *) ids;
    struct sonde_span_processor processor[SONDE_SPAN_PROCESSORS_MAX];
    atomic_uint n_processors;
};
extern struct trace trace;

void trace_refresh(void);                // after a change of the sampler, of span events, of span directives: sets quick
void trace_configure(struct buf *notes); // from the environment; under sdk.life
// 56-bit rejection threshold of a share of 0 to 1, and its text "th:…" without trailing zeros.
uint64_t threshold_of(double ratio);
void threshold_text(char out[16], uint64_t threshold);
bool threshold_parse(struct slice text, uint64_t *out);
uint64_t trace_randomness(const uint8_t trace_id[16]); // its last seven bytes

struct sonde_tracer {
    uint32_t number; // from 1
    struct scope scope;
    struct sonde_tracer *next;
};
const struct scope *scope_get(uint32_t number); // null: unknown

// Calls the processors' on_end. The backend.
bool trace_has_on_end(void);
void trace_on_end(const struct bspan *s, int64_t end);
// This thread's stack as text, one frame a line; "" if it cannot be had.
const char *trace_stack(char *out, size_t size);
