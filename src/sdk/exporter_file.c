// OTLP JSON lines (the specification's file exporter): one request a line, all signals in one file, or in one each when the path
// holds {signal}. A file that would grow beyond SONDE_OTLP_FILE_BYTES becomes PATH.1, older ones PATH.2 …
#include "base/limits.h"
#include "sdk/env.h"
#include "sdk/export_int.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static bool file_path(char *out, size_t n, enum export_signal s)
{
    static const char *const words[EXPORT_SIGNALS] = {"traces", "logs", "metrics"};
    const char *path = env_get_path("SONDE_OTLP_FILE"), *at = path ? strstr(path, "{signal}") : NULL;
    if (!path || !*path)
        return false;
    if (at)
        snprintf(out, n, "%.*s%s%s", (int)(at - path), path, words[s], at + 8);
    else
        snprintf(out, n, "%s", path);
    return true;
}

static void rotate(const char *path)
{
    char from[PATH_MAX + 24], to[PATH_MAX + 24];
    for (int64_t k = env_int("SONDE_OTLP_FILE_KEEP"); k > 0; k--) {
        if (k == 1)
            snprintf(from, sizeof from, "%s", path);
        else
            snprintf(from, sizeof from, "%s.%lld", path, (long long)k - 1);
        snprintf(to, sizeof to, "%s.%lld", path, (long long)k);
        rename(from, to);
    }
    if (env_int("SONDE_OTLP_FILE_KEEP") == 0)
        unlink(path);
}

static bool append(const char *path, struct slice line)
{
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size + line.n > (uint64_t)env_int("SONDE_OTLP_FILE_BYTES"))
        rotate(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
    off_t start = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    size_t done = 0;
    while (fd >= 0 && done < line.n) {
        ssize_t n = write(fd, line.p + done, line.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    bool ok = fd >= 0 && done == line.n;
    int error = errno;
    if (fd >= 0 && !ok && done && ftruncate(fd, start) != 0) // no half line, also on a full disk
        ok = false;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}

bool export_file(const struct export_batch *b, char *why, size_t n)
{
    char path[PATH_MAX];
    struct buf out;
    if (!file_path(path, sizeof path, b->signal)) {
        snprintf(why, n, "SONDE_OTLP_FILE does not say where");
        return false;
    }
    buf_init(&out, MAX_EXPORT_TEXT);
    bool ok = export_json(&out, b->signal, buf_slice(&b->request));
    buf_char(&out, '\n');
    ok = ok && out.err == ERR_OK;
    if (!ok)
        snprintf(why, n, "no memory for a line of JSON");
    pthread_mutex_lock(&mutex); // traces, logs and metrics come from threads of their own
    if (ok && !append(path, buf_slice(&out))) {
        snprintf(why, n, "%s: %s", path, strerror(errno));
        ok = false;
    }
    pthread_mutex_unlock(&mutex);
    buf_free(&out);
    return ok;
}

void export_file_forked(void)
{
    pthread_mutex_init(&mutex, NULL);
}
