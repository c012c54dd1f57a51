// Descriptors of a library in somebody else's process.
#pragma once
#include <fcntl.h>
#include <unistd.h>

// Gives a descriptor (or -1) a number above the standard streams'. A process may run with those closed, and what it then writes
// to "stderr", or opens there, must not meet ours. -1 if there is no other number; fd is then closed.
static inline int fd_above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return up;
}
