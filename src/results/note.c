// What is said of a result beside its numbers, and files that cannot be read.
#include "base/utf8.h"
#include "results/results_int.h"
#include "results/textfile.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { NOTE_MAX = 512 };

// Names of files may hold any bytes: what is shown is UTF-8.
struct slice result_clean(struct arena *a, struct slice s)
{
    struct buf b;
    if (utf8_valid(s))
        return arena_dup(a, s);
    buf_init(&b, s.n * 3 + 1);
    utf8_append_clean(&b, s);
    struct slice copy = arena_dup(a, buf_slice(&b));
    buf_free(&b);
    return copy;
}

static void keep_note(struct arena *a, struct result *r, const char *text, size_t n)
{
    if (!r->note)
        r->note = ARENA_ARRAY(a, struct slice, RESULTS_NOTES);
    if (!r->note || r->n_notes == RESULTS_NOTES)
        return;
    struct slice copy = result_clean(a, slice_of(text, n < NOTE_MAX ? n : NOTE_MAX - 1));
    if (copy.p)
        r->note[r->n_notes++] = copy;
}

void result_note(struct arena *a, struct result *r, const char *fmt, ...)
{
    char text[NOTE_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= 0)
        keep_note(a, r, text, (size_t)n);
}

void result_unreadable(struct arena *a, struct result *r, struct slice name, const char *fmt, ...)
{
    char text[NOTE_MAX];
    va_list args;
    int head = snprintf(text, sizeof text, "%.*s ", (int)(name.n < NOTE_MAX / 2 ? name.n : NOTE_MAX / 2), name.p);
    va_start(args, fmt);
    int n = vsnprintf(text + head, sizeof text - (size_t)head, fmt, args);
    va_end(args);
    r->unreadable++;
    if (n >= 0)
        keep_note(a, r, text, (size_t)(head + n));
}

bool result_text(struct arena *a, struct result *r, const struct file *f, size_t max, struct slice *out)
{
    struct textfile t;
    int failed = f->size > max ? EFBIG : textfile_open(f->path, &t);
    *out = SLICE("");
    if (failed) {
        result_unreadable(a, r, f->name, "cannot be read: %s", textfile_error(failed));
        return false;
    }
    if (t.cut_short)
        result_unreadable(a, r, f->name, "is a gzip that breaks before its end: read as far as it goes");
    bool fits = t.text.n <= max && (t.text.n == 0 || (*out = arena_dup(a, t.text)).p);
    if (!fits)
        result_unreadable(a, r, f->name, "cannot be read: it does not fit into memory");
    textfile_close(&t);
    return fits;
}
