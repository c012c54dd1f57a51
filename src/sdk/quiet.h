// Writing in somebody else's thread: a pipe without a reader or a file at its size limit is an error here, and not a signal
// that ends the process. The host's handlers and mask stay as they are.
#pragma once
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static inline ssize_t quiet_write(int fd, const void *p, size_t n)
{
    sigset_t ours, old, waiting;
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    sigaddset(&ours, SIGXFSZ);
    sigemptyset(&waiting);
    sigpending(&waiting);
    pthread_sigmask(SIG_BLOCK, &ours, &old);
    ssize_t k = write(fd, p, n);
    int why = errno, signo = k >= 0 ? 0 : why == EPIPE ? SIGPIPE : why == EFBIG ? SIGXFSZ : 0;
    if (signo && !sigismember(&waiting, signo)) { // takes back what the write sent to this thread
        sigemptyset(&ours);
        sigaddset(&ours, signo);
        while (sigtimedwait(&ours, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = why;
    return k;
}
