// The inside of samplers, shared by sampler.c, sampler_composite.c and trace_env.c.
#pragma once
#include "sdk/trace.h"

#define THRESHOLD_NEVER (UINT64_C(1) << 56) // larger than any randomness

typedef enum sonde_decision sampler_fn(const struct sonde_sampler *s, const struct sonde_sample_in *in,
                                       struct sonde_sample_out *out);
struct sonde_sampler {
    sampler_fn *fn;
    char description[320];
    uint64_t threshold;
    bool explicit_randomness;
    int64_t interval_ns; // of one trace
    _Atomic int64_t full_at;
    const struct sonde_sampler *inner[5];
    const struct sonde_composable *composable;
    sonde_sample_fn *custom;
    void *arg;
    struct sonde_sampler *next; // of all
};
struct sonde_sampler *sampler_new(sampler_fn *fn, const char *description); // lives on; null without memory
// A token bucket that holds what one second brings, at least one token; false: it is empty.
bool sampler_bucket(_Atomic int64_t *full_at, int64_t interval_ns);

// The member ot of a tracestate: th and rv; writing keeps what else is in it. known false: without th.
bool ot_randomness(const char *state, uint64_t *out);
bool ot_threshold(const char *state, uint64_t *out);
void ot_set_threshold(char state[513], uint64_t threshold, bool known);
