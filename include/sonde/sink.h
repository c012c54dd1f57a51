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

// ---- sinks ----------------------------------------------------------------------------------------------------------
// Where lines go. At the start there is one, stderr (number 1); OTLP export goes its own way beside them. Up to SONDE_SINKS_MAX
// at once, each with its filter, format and way of losing. In the environment:
//   SONDE_LOG_STDERR               off: no lines on stderr
//   SONDE_LOG_STDERR_LOSS          drop (default), block:MS, level:LEVEL
//   SONDE_LOG_FILE                 path: lines go there too
//   SONDE_LOG_FILE_FORMAT          text or jsonl (default: as stderr's)
//   SONDE_LOG_FILE_FILTER          directives (default: DYN_LOG's, with its changes while running)
//   SONDE_LOG_FILE_ROTATE_SIZE     bytes, or with k, M, G: a new file before one would grow beyond
//   SONDE_LOG_FILE_ROTATE_TIME     hourly, daily, or a time (90s, 15m, 6h, 7d), counted from midnight UTC, 1970-01-01
//   SONDE_LOG_FILE_ROTATE_AT_START truthy: a new file each start
//   SONDE_LOG_FILE_KEEP            old files kept as PATH.1 (the latest) to PATH.n, default 5
//   SONDE_LOG_FILE_LOSS            as above
enum { SONDE_SINKS_MAX = 8, SONDE_SINK_OF_STDERR = 1, SONDE_SINK_KEEP = 5 };

enum sonde_sink_kind { SONDE_SINK_STDERR, SONDE_SINK_FILE, SONDE_SINK_CALLBACK };
enum sonde_format { SONDE_FORMAT_DEFAULT, SONDE_FORMAT_TEXT, SONDE_FORMAT_JSONL }; // default: as the environment says for stderr

// When a sink cannot take what comes. It keeps up to 8 MiB of lines, and the ring keeps records before that.
enum sonde_loss {
    SONDE_LOSS_DROP,  // the newest are dropped
    SONDE_LOSS_BLOCK, // a call that finds the ring full waits up to block_ms, once per standstill; then as above
    SONDE_LOSS_LEVEL, // records less severe than drop_below go first, when half is full; ERROR last
};

struct sonde_sink_line { // valid during the call
    enum sonde_level level;
    int64_t time_ns;  // since 1970
    const char *text; // ends with a line feed, then a 0
    size_t n;
};
// Called on the library's thread (or on that of sonde_shutdown), one line at a time. May log, and may exit; what would wait for
// the output fails in it: sonde_flush, sonde_shutdown, sonde_sink_*. Lines of the other sinks go out at least every 5 ms beside
// it.
typedef void sonde_sink_fn(void *arg, const struct sonde_sink_line *line);

// Zero is the default of every member. Strings are copied.
struct sonde_sink_options {
    enum sonde_sink_kind kind; // SONDE_SINK_STDERR: the new settings of stderr
    const char *filter;        // directives; null: DYN_LOG's
    enum sonde_format format;
    enum sonde_loss loss;
    unsigned block_ms;
    enum sonde_level drop_below;
    // File. Lines are appended, whole; a file that was moved, removed or truncated (logrotate) is opened anew within 250 ms. When
    // it cannot be written (full disk, no permission) that is said once, tried again each second, and said when it is over.
    const char *path;
    uint64_t rotate_size;    // bytes; 0: never
    unsigned rotate_seconds; // 0: never
    bool rotate_at_start;
    unsigned keep; // old files; 0: SONDE_SINK_KEEP
    // Callback
    sonde_sink_fn *write;
    void *arg;
};
// The sink's number, or 0 when the options make no sense, the filter has a mistake, or there are SONDE_SINKS_MAX (told on
// stderr).
SONDE_API int sonde_sink_add(const struct sonde_sink_options *o);
SONDE_API bool sonde_sink_remove(int sink); // writes out what it has, if that goes at once. False: there is none

struct sonde_sink_counts {
    uint64_t written, bytes; // lines given away
    uint64_t lost;           // records that it should have got
    uint64_t lost_level[6];  // of them by level; [0]: unknown
    uint64_t rotations, failures;
    bool failing; // its file cannot be written now
};
SONDE_API bool sonde_sink_counts_get(int sink, struct sonde_sink_counts *out);
// An episode of losses ends with one line "lost N records between T1 and T2", in the sink that lost them, or in all when
// the ring was full. sonde_counts_get tells those of the ring by level.

// ---- the flight recorder --------------------------------------------------------------------------------------------
// The ring keeps the last SONDE_RING_BYTES (default 8 MiB) of records of this process up to SONDE_FLIGHT_LEVEL (default trace;
// off: only those that the filter lets out), whatever the filter says; such a call costs what any record does, and evaluates its
// values. When an ERROR is written inside a trace, the held records of that trace are written before it, once, in order, marked
// retro=true ("retro":true), to every sink that takes the error and to OTLP: at most the newest 1000 a trace. SONDE_RETRO=off:
// not.
//
// Writes what the ring holds, of all levels and threads in time order, as text, or as JSON lines when path ends in .jsonl. What
// is there is replaced. False: errno tells why.
SONDE_API bool sonde_flight_dump(const char *path);
// The same as an ERROR does for that trace, for whoever knows later that a request went wrong (its own verdict, or one that came
// back from another service).
SONDE_API void sonde_flight_release(const uint8_t trace_id[16]);

#ifdef __cplusplus
}
#endif
