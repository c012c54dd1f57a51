// Runs a function in a forked child with libsonde fresh, an environment of its own and its stderr caught.
#pragma once
#include "base/buf.h"
#include "base/limits.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char child_dir[] = "/dev/shm/sonde-test-XXXXXX"; // of ring files

__attribute__((unused)) static int child_setup(void **state)
{
    (void)state;
    return mkdtemp(child_dir) == NULL;
}

__attribute__((unused)) static int child_teardown(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", child_dir);
    return system(command);
}

// The thread sanitizer cannot follow a forked child of a threaded process that starts threads; such tests are skipped under it.
#ifdef __SANITIZE_THREAD__
enum { CHILD_TSAN = 1 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { CHILD_TSAN = 1 };
#else
enum { CHILD_TSAN = 0 };
#endif
#else
enum { CHILD_TSAN = 0 };
#endif

// A thread of the parent that is inside the address sanitizer's allocator while the child is made leaves its lock taken there for
// good: time for it to come to rest.
#ifdef __SANITIZE_ADDRESS__
enum { CHILD_REST_US = 50000, CHILD_ASAN = 1 };
#else
enum { CHILD_REST_US = 0, CHILD_ASAN = 0 };
#endif

struct child {
    pid_t pid;
    int err; // read end of its stderr
    struct buf out;
};

// Memory that parent and child share.
static inline void *child_shared(size_t n)
{
    return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

// env: "NAME=value" …, null at the end. The child leaves by exit(), so that atexit handlers run.
static inline struct child child_start(int (*fn)(void *arg), void *arg, const char *const *env)
{
    int fds[2];
    struct child c = {.err = -1};
    buf_init(&c.out, MIB(512));
    if (pipe(fds) != 0)
        return c;
    fflush(stdout);
    if (CHILD_REST_US)
        usleep(CHILD_REST_US);
    c.pid = fork();
    if (c.pid == 0) {
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
        clearenv();
        setenv("SONDE_RING_DIR", child_dir, 1);
        for (; *env; env++)
            putenv((char *)(uintptr_t)*env);
        exit(fn(arg));
    }
    close(fds[1]);
    c.err = fds[0];
    return c;
}

static inline void child_read(struct child *c)
{
    char piece[65536];
    for (ssize_t n; (n = read(c->err, piece, sizeof piece)) > 0;)
        buf_put(&c->out, piece, (size_t)n);
    buf_char(&c->out, 0);
    c->out.n--;
    close(c->err);
}

// Everything it wrote, then its exit status (128 + signal).
static inline int child_end(struct child *c)
{
    int status = 0;
    child_read(c);
    waitpid(c->pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int child_run(int (*fn)(void *arg), void *arg, const char *const *env, struct buf *out)
{
    struct child c = child_start(fn, arg, env);
    int rc = child_end(&c);
    *out = c.out;
    return rc;
}

static inline size_t count_of(const struct buf *b, const char *needle)
{
    size_t n = 0;
    for (const char *p = b->p; p && (p = strstr(p, needle)); p++)
        n++;
    return n;
}
