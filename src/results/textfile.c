#include "results/textfile.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

// One member after the other, until the bytes end or make no sense.
static int unpack(struct slice in, struct textfile *t)
{
    z_stream z = {.next_in = (Bytef *)in.p};
    int rc = inflateInit2(&z, 15 + 16), error = 0;
    if (rc != Z_OK)
        return ENOMEM;
    size_t left = in.n;
    while (rc == Z_OK || rc == Z_BUF_ERROR || (rc == Z_STREAM_END && (left || z.avail_in))) {
        if (rc == Z_STREAM_END && inflateReset(&z) != Z_OK)
            break;
        if (z.avail_in == 0) {
            z.avail_in = left < TEXTFILE_BLOCK ? (uInt)left : TEXTFILE_BLOCK;
            left -= z.avail_in;
        }
        char *to = buf_reserve(&t->unpacked, TEXTFILE_BLOCK);
        if (!to) {
            error = EFBIG;
            break;
        }
        z.next_out = (Bytef *)to;
        z.avail_out = TEXTFILE_BLOCK;
        bool ended = z.avail_in == 0;
        rc = inflate(&z, Z_NO_FLUSH);
        t->unpacked.n += TEXTFILE_BLOCK - z.avail_out;
        if (ended && rc == Z_BUF_ERROR)
            break; // no more bytes, and the member is not whole
    }
    inflateEnd(&z);
    t->cut_short = rc != Z_STREAM_END;
    return error ? error : t->cut_short && t->unpacked.n == 0 ? EBADMSG : 0;
}

static int map(const char *path, struct textfile *t)
{
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0) {
        rc = errno;
    } else if (!S_ISREG(st.st_mode)) {
        rc = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    } else if (st.st_size > 0) {
        t->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        t->mapped = (size_t)st.st_size;
        if (t->map == MAP_FAILED) {
            rc = errno;
            t->map = NULL;
        }
    }
    close(fd);
    return rc;
}

int textfile_open(const char *path, struct textfile *t)
{
    *t = (struct textfile){.text = SLICE("")};
    int rc = map(path, t);
    if (rc || !t->map)
        return rc;
    t->text = slice_of(t->map, t->mapped);
    if (slice_starts(t->text, SLICE("\x1f\x8b"))) {
        buf_init(&t->unpacked, TEXTFILE_UNPACKED_MAX);
        rc = unpack(t->text, t);
        t->text = rc || !t->unpacked.n ? SLICE("") : buf_slice(&t->unpacked);
    }
    if (slice_starts(t->text, SLICE("\xef\xbb\xbf")))
        t->text = slice_from(t->text, 3);
    if (rc)
        textfile_close(t);
    return rc;
}

void textfile_close(struct textfile *t)
{
    if (t->map)
        munmap(t->map, t->mapped);
    buf_free(&t->unpacked);
    *t = (struct textfile){.text = SLICE("")};
}

const char *textfile_error(int error)
{
    return error == EBADMSG ? "it is no whole gzip" : strerror(error);
}

struct slice textfile_name(struct slice name)
{
    bool packed = name.n > 3 && memcmp(name.p + name.n - 3, ".gz", 3) == 0;
    return packed ? slice_cut(name, name.n - 3) : name;
}
