// A whole file of text: mapped, or unpacked where it is gzip; a byte order mark at its beginning is left out.
// Memory: the mapping or the unpacked bytes belong to the struct; textfile_close() ends them and every slice of text.
#pragma once
#include "base/buf.h"

struct textfile {
    struct slice text;
    bool cut_short; // gzip that ends or breaks before its end: text is what came before
    void *map;
    size_t mapped;
    struct buf unpacked;
};
enum { TEXTFILE_BLOCK = 1 << 20 };
#define TEXTFILE_UNPACKED_MAX ((size_t)4 << 30) // of one file

// Returns errno, 0 when it went well; EBADMSG: it says it is gzip and nothing of it can be unpacked. After a failure
// there is nothing to close.
int textfile_open(const char *path, struct textfile *t);
void textfile_close(struct textfile *t);
const char *textfile_error(int error); // what to tell a person

// "pod.log" of "pod.log.gz"; other names as they are.
struct slice textfile_name(struct slice name);
// The next line of *rest without its line feed (and CR); false at the end.
static inline bool textfile_line(struct slice *rest, struct slice *line)
{
    if (rest->n == 0)
        return false;
    const char *end = (const char *)memchr(rest->p, '\n', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *line = slice_of(rest->p, n && rest->p[n - 1] == '\r' ? n - 1 : n);
    *rest = slice_from(*rest, n + (end != NULL));
    return true;
}
