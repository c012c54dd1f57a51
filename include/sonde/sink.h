// What leaves the process, and changing that while it runs: levels, sinks, losses, the flight recorder.
// Included by sonde.h. Thread rule: every function here may be called from any thread, but not from a signal handler.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ---- levels while running -------------------------------------------------------------------------------------------
// Directives as DYN_LOG's ("info,my::target=debug,[span{field=value}]=trace") from now on, in place of what DYN_LOG said; the
// configuration file's stay beneath. Null or "": back to how the process started. False: a directive was not understood; that is
// told on stderr, and nothing changes. When it returns, every call site knows. A condition on a span's field sees the
// fields that are set after the change.
SONDE_API bool sonde_set_filter(const char *directives);
// The same for ms milliseconds, after which the last sonde_set_filter (or the start's filter) holds again. A later call
// replaces an earlier one; ms = 0 ends it.
SONDE_API bool sonde_set_filter_for(const char *directives, unsigned ms);
// From outside: SONDE_LOG_CONTROL=FILE. The first line of that file is a filter, or "FILTER for 90s" (ms, s, m, h); an empty or
// missing file: back to the start's. Looked at every 50 ms; a change holds everywhere within 100 ms.

#ifdef __cplusplus
}
#endif
