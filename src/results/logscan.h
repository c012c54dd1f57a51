// All log files of a result, read once: lines and errors counted, errors gathered by shape. Files are mapped and cut into pieces
// of some megabytes that threads take one after the other.
#pragma once
#include "results/results.h"

struct logscan_file {
    const char *path;  // given
    struct slice name; // given: relative to the result's folder, for people
    uint64_t bytes, lines, errors, warnings;
    int64_t first_ns, last_ns; // 0: no time in it
    bool zoned;                // its times tell a zone
    int error;                 // errno of the attempt to read it; 0: read
};

enum { LOGSCAN_PIECE = 4 << 20, LOGSCAN_SHAPES = 4096, LOGSCAN_LINE = 64 << 10, LOGSCAN_TRACE_LINES = 200 };

// Fills files and *classes (in a; most frequent first, errors before warnings). threads 0: one a core, at most 8.
enum errc logscan(struct arena *a, struct logscan_file *files, uint32_t n, unsigned threads, struct result_class **classes,
                  uint32_t *n_classes);

// A whole file, mapped; n = 0 for an empty one. Returns errno, 0 when it went well.
int logscan_map(const char *path, struct slice *out);
void logscan_unmap(struct slice s);
// The next line of *rest without its line feed (and CR); false at the end.
static inline bool logscan_line(struct slice *rest, struct slice *line)
{
    if (rest->n == 0)
        return false;
    const char *end = (const char *)memchr(rest->p, '\n', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *line = slice_of(rest->p, n && rest->p[n - 1] == '\r' ? n - 1 : n);
    *rest = slice_from(*rest, n + (end != NULL));
    return true;
}
