// What propagate.c and propagate_more.c share.
#pragma once
#include "sdk/context.h"

extern const struct sonde_propagator propagate_b3, propagate_b3multi, propagate_jaeger, propagate_ottrace, propagate_xray;
void carrier_set(const struct sonde_carrier *to, const char *name, const char *text);
struct slice carrier_get(const struct sonde_carrier *from, const char *name); // trimmed; p null: not there
