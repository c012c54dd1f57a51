// The sampler jaeger_remote (sampler_remote.c). Thread rule: all but its decisions under sdk.life.
#pragma once
#include "sdk/sampler.h"

// By OTEL_TRACES_SAMPLER_ARG, "endpoint=http://localhost:14250,pollingIntervalMs=60000,initialSamplingRate=0.001"; what is wrong
// in there is told and its default taken. Null without memory.
const struct sonde_sampler *sampler_remote(struct slice arg, struct buf *notes);
void sampler_remote_start(void); // asks from now on, if that sampler is the environment's
void sampler_remote_stop(int64_t until);
void sampler_remote_forked(void); // the thread is the parent's
// Takes an answer's strategy over; false when it is none, and the last one holds.
bool sampler_remote_answer(bool json, struct slice answer);
