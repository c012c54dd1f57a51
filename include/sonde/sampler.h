// Which traces are recorded and exported. By the environment: OTEL_TRACES_SAMPLER (always_on, always_off, traceidratio,
// probability, ratelimited, jaeger_remote, and parentbased_ of these; default parentbased_always_on) with
// OTEL_TRACES_SAMPLER_ARG, a share from 0 to 1; or OTEL_TRACES_SAMPLE_RATIO, the share of new traces (parent-based). The argument
// of ratelimited is new traces a second (100), that of jaeger_remote
// endpoint=URL,pollingIntervalMs=60000,initialSamplingRate=0.001: the endpoint (by gRPC http://localhost:14250; one with a path
// is asked by HTTP, http://localhost:5778/sampling) says what is sampled. SONDE_TRACES_KEEP_ERRORS truthy: what is not sampled is
// recorded all the same, and exported when a span of the trace in this process ended in an error.
//
// Samplers are immutable, live as long as the process and may be shared; constructors return null only without memory.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif
#include <sonde/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sonde_decision {
    SONDE_DROP,          // ids only
    SONDE_RECORD_ONLY,   // lines, ring and processors, but not exported; not sampled for others
    SONDE_RECORD_SAMPLE, // exported
};
struct sonde_sample_in {
    const struct sonde_context *parent; // whole, with tracestate and request ids; zero ids for a new trace
    struct sonde_ctx *ctx;              // of this thread; may be null
    const uint8_t *trace_id;
    const char *name;
    enum sonde_kind kind;
    const struct sonde_field *attributes;
    size_t n_attributes;
    const struct sonde_link *links;
    size_t n_links;
};
struct sonde_sample_out {
    char *tracestate;                 // 513 bytes: the parent's; may be changed (sonde_tracestate_edit)
    struct sonde_field attributes[8]; // to be added to the span; what they point to must stay until the start returns
    size_t n_attributes;
};
SONDE_API bool sonde_tracestate_edit(char tracestate[513], const char *key, const char *value); // as sonde_tracestate_set

struct sonde_sampler;
SONDE_API const struct sonde_sampler *sonde_sampler_always_on(void);
SONDE_API const struct sonde_sampler *sonde_sampler_always_off(void);
// By the trace id alone: the same share everywhere (R >= T over 56 bits); writes ot=th.
SONDE_API const struct sonde_sampler *sonde_sampler_ratio(double ratio);
// Consistent probability: also by the randomness that ot=rv brings.
SONDE_API const struct sonde_sampler *sonde_sampler_probability(double ratio);
// At most so many new traces a second (a bucket that holds one second's worth, at least one).
SONDE_API const struct sonde_sampler *sonde_sampler_rate(double per_second);
struct sonde_parent_based { // null members: on, off, on, off as the names say; root: always on
    const struct sonde_sampler *root, *remote_sampled, *remote_not_sampled, *local_sampled, *local_not_sampled;
};
SONDE_API const struct sonde_sampler *sonde_sampler_parent_based(const struct sonde_parent_based *p);
SONDE_API const struct sonde_sampler *sonde_sampler_always_record(const struct sonde_sampler *inner); // DROP becomes RECORD_ONLY
typedef enum sonde_decision sonde_sample_fn(void *arg, const struct sonde_sample_in *in, struct sonde_sample_out *out);
SONDE_API const struct sonde_sampler *sonde_sampler_custom(const char *description, sonde_sample_fn *fn, void *arg);
SONDE_API const char *sonde_sampler_description(const struct sonde_sampler *s); // "ParentBased{…}"
SONDE_API void sonde_sampler_set(const struct sonde_sampler *s);                // for spans from now on; null: by the environment
SONDE_API enum sonde_decision sonde_sampler_ask(const struct sonde_sampler *s, const struct sonde_sample_in *in,
                                                struct sonde_sample_out *out);

// ---- composable samplers --------------------------------------------------------------------------------------------
// Each says with which threshold a trace would be sampled; sonde_sampler_composite decides once, and writes ot=th.
struct sonde_composable;
SONDE_API const struct sonde_composable *sonde_composable_always_on(void);
SONDE_API const struct sonde_composable *sonde_composable_always_off(void);
SONDE_API const struct sonde_composable *sonde_composable_ratio(double ratio);
SONDE_API const struct sonde_composable *sonde_composable_parent_threshold(const struct sonde_composable *root); // of a new trace
struct sonde_rule {          // all that is set must hold; then `use`
    const char *name;        // of the span; null: any
    enum sonde_kind kind;    // 0: any
    const char *key, *value; // a string attribute at the start; value null: any value
    int parent;              // 0: any, 1: has one, 2: has none, 3: a remote one
    const struct sonde_composable *use;
};
// The first rule that holds; none: dropped. The texts must live on.
SONDE_API const struct sonde_composable *sonde_composable_rules(const struct sonde_rule *rules, size_t n);
// Adds attributes to what is sampled. They must live on.
SONDE_API const struct sonde_composable *sonde_composable_annotating(const struct sonde_composable *inner,
                                                                     const struct sonde_field *attributes, size_t n);
SONDE_API const struct sonde_sampler *sonde_sampler_composite(const struct sonde_composable *c);

#ifdef __cplusplus
}
#endif
