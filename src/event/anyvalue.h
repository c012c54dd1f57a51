// Encoded AnyValue and KeyValue messages, read one at a time. Inside event/ only; the public side is in wire.h.
#pragma once
#include "base/pb.h"
#include "event/batch.h"

// One AnyValue as a typed value: string, bool, int and double by themselves; arrays, maps, bytes and the empty value as
// COL_ANY holding `any` itself. Strings may be invalid UTF-8. False when it cannot be read.
bool anyvalue_read(struct pb *r, struct slice any, struct value *out);
