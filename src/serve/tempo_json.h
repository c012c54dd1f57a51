// Encoded OTLP trace data as the JSON that Tempo's API speaks (gogo jsonpb): names in lowerCamelCase, 64-bit integers as strings,
// enums by name, ids and bytes in base64.
#pragma once
#include "base/json.h"

// traces: an encoded TracesData message. Writes an array: its ResourceSpans. ERR_CORRUPT if the bytes are no such message.
enum errc tempo_json_resource_spans(struct jw *w, struct slice traces, struct error *err);
