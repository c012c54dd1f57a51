// The machine and the process, for the dump.
#include "base/limits.h"
#include "sdk/dump.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static void put(struct jw *w, const char *key, const char *value)
{
    jw_key(w, slice_str(key));
    jw_str(w, slice_str(value));
}

void dump_system(struct jw *w)
{
    struct utsname u = {0};
    char text[512];
    uname(&u);
    jw_obj(w);
    JW_KEY(w, "architecture");
    jw_arr(w);
    jw_str(w, sizeof(void *) == 8 ? SLICE("64bit") : SLICE("32bit"));
    jw_str(w, SLICE("ELF"));
    jw_arr_end(w);
    put(w, "hostname", u.nodename);
    put(w, "os_name", u.sysname);
    put(w, "os_release", u.release);
    put(w, "os_version", u.version);
    snprintf(text, sizeof text, "%s-%s-%s-with-glibc%s", u.sysname, u.release, u.machine, gnu_get_libc_version());
    put(w, "platform", text);
    put(w, "processor", u.machine[0] ? u.machine : "unknown");
    jw_obj_end(w);
}

static size_t read_all(const char *path, struct buf *b)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (char *to; fd >= 0 && (to = buf_reserve(b, 4096));) {
        ssize_t n = read(fd, to, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        b->n += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    return b->n;
}

void dump_runtime(const struct redact *r, struct jw *w)
{
    char path[4096];
    struct buf line;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    buf_init(&line, DUMP_MAX / 4);
    read_all("/proc/self/cmdline", &line);
    JW_KEY(w, "command_line_args");
    redact_words(r, line.p, line.n, w);
    put(w, "compiler", "C " __VERSION__);
    put(w, "executable", path);
    put(w, "libc", gnu_get_libc_version());
    JW_KEY(w, "pid");
    jw_i64(w, getpid());
    put(w, "sdk_version", SONDE_VERSION);
    buf_free(&line);
}
