#include "base/clock.h"
#include "base/fd.h"
#include "sdk/quiet.h"
#include "sdk/sink.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(struct sink_file *f, int error)
{
    int64_t now = clock_mono_ns();
    if (!f->error) {
        f->failed_at = now;
        f->tell_failed = true;
    }
    f->error = error;
    f->failures++;
    f->retry_at = now + SINK_RETRY_NS;
}

static void works(struct sink_file *f)
{
    if (f->error)
        f->tell_cleared = true;
    f->error = 0;
}

// A host may close descriptors that it does not know, as daemons do; the number is then another file's.
static bool is_ours(const struct sink_file *f)
{
    struct stat st;
    return f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->inode;
}

static void let_go(struct sink_file *f)
{
    if (is_ours(f))
        close(f->fd);
    f->fd = -1;
    f->mid_line = false;
}

void sink_file_close(struct sink_file *f)
{
    let_go(f);
}

static int64_t period_of(const struct sink_file *f, int64_t second)
{
    return f->rotate_seconds ? second / f->rotate_seconds : 0;
}

static bool open_it(struct sink_file *f)
{
    struct stat st;
    // A pipe nobody reads must not hold up the others, neither here nor when it is full.
    f->fd = fd_above_standard(open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640));
    if (f->fd < 0 || fstat(f->fd, &st) != 0) {
        fail(f, errno);
        if (f->fd >= 0)
            close(f->fd);
        f->fd = -1;
        f->mid_line = false;
        return false;
    }
    f->dev = st.st_dev;
    f->inode = st.st_ino;
    f->regular = S_ISREG(st.st_mode);
    f->size = (uint64_t)st.st_size;
    f->period = period_of(f, st.st_size ? st.st_mtim.tv_sec : clock_wall_ns() / 1000000000);
    f->checked_at = clock_mono_ns();
    return true;
}

static bool still_there(const struct sink_file *f, struct stat *st)
{
    return stat(f->path, st) == 0 && st->st_dev == f->dev && st->st_ino == f->inode;
}

// PATH becomes PATH.1, PATH.1 becomes PATH.2 … by rename, so that a reader finds every file whole under one of the names. Another
// process that writes to the same PATH may have done it before us.
static bool rotate(struct sink_file *f)
{
    char from[SINK_PATH_MAX + 16], to[SINK_PATH_MAX + 16];
    struct stat st;
    if (!still_there(f, &st)) {
        let_go(f);
        return true;
    }
    for (unsigned i = f->keep - 1; i > 0; i--) {
        snprintf(from, sizeof from, "%s.%u", f->path, i);
        snprintf(to, sizeof to, "%s.%u", f->path, i + 1);
        rename(from, to);
    }
    snprintf(to, sizeof to, "%s.1", f->path);
    if (rename(f->path, to) != 0) {
        f->failures++; // goes on in the same file
        f->no_rotation_until = clock_mono_ns() + SINK_RETRY_NS;
        return false;
    }
    f->rotations++;
    let_go(f);
    return true;
}

void sink_file_check(struct sink_file *f)
{
    struct stat st;
    int64_t now = clock_mono_ns();
    if (f->error && now < f->retry_at)
        return;
    if (f->fd >= 0 && !is_ours(f))
        let_go(f);
    if (f->fd >= 0 && now - f->checked_at >= SINK_CHECK_NS) {
        f->checked_at = now;
        if (!still_there(f, &st))
            let_go(f);
        else if ((uint64_t)st.st_size < f->size) // truncated; O_APPEND goes on at the new end
            f->size = (uint64_t)st.st_size;
    }
    if (f->fd < 0 && open_it(f) && !f->started) {
        f->started = true;
        if (f->rotate_at_start && f->regular && f->size && rotate(f))
            open_it(f);
    }
}

static bool time_is_over(const struct sink_file *f)
{
    return f->rotate_seconds && f->size && period_of(f, clock_wall_ns() / 1000000000) != f->period;
}

static size_t first_line(const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);
    return end ? (size_t)(end - p) + 1 : n;
}

static size_t whole_lines(const char *p, size_t n)
{
    const char *end = memrchr(p, '\n', n);
    return end ? (size_t)(end - p) + 1 : 0;
}

// How many of the n bytes go into this file; 0: the next one first.
static size_t share(struct sink_file *f, const char *p, size_t n)
{
    if (f->mid_line)
        return first_line(p, n);
    if (!f->regular || clock_mono_ns() < f->no_rotation_until)
        return n;
    if (time_is_over(f))
        return 0;
    if (!f->rotate_size || f->size + n <= f->rotate_size)
        return n;
    size_t some = f->size < f->rotate_size ? whole_lines(p, (size_t)(f->rotate_size - f->size)) : 0;
    return some ? some : f->size ? 0 : first_line(p, n); // a longer line has a file of its own
}

// The disk was full in the middle of a line: takes the piece back, unless somebody else writes to the file.
static bool take_back(struct sink_file *f, size_t n)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0 || (uint64_t)st.st_size != f->size || ftruncate(f->fd, st.st_size - (off_t)n) != 0)
        return false;
    f->size -= n;
    return true;
}

// One write; the bytes that are out, 0 after a failure, and where a pipe has no room now.
static size_t put(struct sink_file *f, const char *p, size_t n)
{
    ssize_t k;
    do
        k = quiet_write(f->fd, p, n);
    while (k < 0 && errno == EINTR);
    if (k < 0 && errno == EAGAIN)
        return 0;
    if (k <= 0) {
        fail(f, k ? errno : ENOSPC);
        return 0;
    }
    size_t done = (size_t)k;
    f->size += done;
    if (done < n && f->regular) {
        size_t whole = whole_lines(p, done);
        if (whole < done && !f->mid_line && take_back(f, done - whole))
            done = whole;
        f->mid_line = done ? p[done - 1] != '\n' : f->mid_line;
        fail(f, ENOSPC);
        return done;
    }
    f->mid_line = p[done - 1] != '\n';
    works(f);
    return done;
}

size_t sink_file_write(struct sink_file *f, const char *p, size_t n)
{
    size_t done = 0;
    unsigned rotations = 0; // without a byte written between
    if (f->error && clock_mono_ns() < f->retry_at)
        return 0;
    do {
        if (!f->mid_line || !is_ours(f))
            sink_file_check(f);
        if (f->fd < 0)
            break;
        size_t k = share(f, p + done, n - done);
        if (k) {
            size_t out = put(f, p + done, k);
            done += out;
            rotations = 0;
            if (!out && !f->error)
                break;
        } else if (rotations++ < 3) {
            rotate(f);
        } else { // the same file comes back each time: goes on in it
            f->failures++;
            f->no_rotation_until = clock_mono_ns() + SINK_RETRY_NS;
        }
    } while (done < n && !(f->error && clock_mono_ns() < f->retry_at));
    return done;
}
