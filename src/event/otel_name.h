// Names of OpenTelemetry's metrics, units and attributes in Prometheus (the specification's "Prometheus and OpenMetrics
// Compatibility"). One place for both ways: the page that libsonde shows and the metrics that a server stores.
// Thread rule: none.
#pragma once
#include "base/buf.h"

enum { OTEL_UNIT_MAX = 63 }; // of a unit only so many bytes are read

// Appends the name with other characters than letters, digits, _ (and : when colon) made _, several of them one; a digit in front
// gets a _.
void otel_name_clean(struct buf *out, struct slice name, bool colon);
// Appends the unit in words: "By/s" bytes_per_second, "1" of a gauge ratio; annotations in braces go.
void otel_unit_words(struct buf *out, struct slice unit, bool gauge);
// "http.server.duration" in "s" → http_server_duration_seconds: appends to the (empty) *name; total: the suffix _total comes
// last. *words is the unit in words, as it was appended.
void otel_metric_name(struct buf *name, struct slice metric, struct slice words, bool total);
