// All log files of a result, read once: lines and errors counted, errors gathered by shape. Files are mapped and cut into pieces
// of some megabytes that threads take one after the other.
#pragma once
#include "results/results.h"
#include "results/textfile.h"

struct logscan_file {
    const char *path;  // given
    struct slice name; // given: relative to the result's folder, for people
    uint64_t bytes, lines, errors, warnings;
    int64_t first_ns, last_ns; // 0: no time in it
    bool zoned;                // its times tell a zone
    bool cut_short;            // gzip that breaks before its end
    int error;                 // of textfile_open(); 0: read
};

enum { LOGSCAN_PIECE = 4 << 20, LOGSCAN_SHAPES = 4096, LOGSCAN_LINE = 64 << 10, LOGSCAN_TRACE_LINES = 200, RESULTS_THREADS = 8 };

// Threads to read with: as many as asked, or one a core; at most RESULTS_THREADS.
unsigned logscan_threads(unsigned asked);
// For qsort: errors before warnings, the most frequent first.
int result_class_order(const void *x, const void *y);
// Fills files and *classes (in a; most frequent first, errors before warnings). threads 0: one a core, at most 8.
enum errc logscan(struct arena *a, struct logscan_file *files, uint32_t n, unsigned threads, struct result_class **classes,
                  uint32_t *n_classes);
