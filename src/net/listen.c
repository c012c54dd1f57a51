// Listening sockets.
#include "net/server.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

struct place {
    char host[256];
    int port;
};

static enum errc split(const char *address, struct place *out, struct error *err)
{
    struct slice a = slice_str(address), host, port;
    const char *colon = strrchr(address, ':');
    int64_t n;
    if (!colon)
        return ERR(err, INPUT, "address %s: must be HOST:PORT, or :PORT for all addresses", address);
    host = slice_cut(a, (size_t)(colon - address));
    port = slice_from(a, host.n + 1);
    if (!slice_to_i64(port, &n) || n < 0 || n > 65535)
        return ERR(err, INPUT, "address %s: the port must be a number from 0 to 65535", address);
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_of(host.p + 1, host.n - 2);
    else if (memchr(host.p, ':', host.n))
        return ERR(err, INPUT, "address %s: an IPv6 address must stand in brackets", address);
    if (host.n >= sizeof out->host)
        return ERR(err, INPUT, "address %s: the host is too long", address);
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = 0;
    out->port = (int)n;
    return ERR_OK;
}

static int open_one(const struct addrinfo *a, bool shared, bool all)
{
    int one = 1, zero = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, all ? &zero : &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

enum errc listen_on(const char *address, bool shared, int *port, int *out, struct error *err)
{
    struct place at;
    TRY(split(address, &at, err));
    bool first = *port == 0, all = !at.host[0];
    char service[8];
    snprintf(service, sizeof service, "%d", first ? at.port : *port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    int gai = getaddrinfo(all ? "::" : at.host, service, &hints, &list);
    if (gai == 0) {
        *out = -1;
        // SO_REUSEPORT would also let in another process that was started by mistake: one exclusive try tells
        int probe = shared && first && at.port ? open_one(list, false, all) : -1;
        bool taken = shared && first && at.port && probe < 0 && errno == EADDRINUSE;
        if (probe >= 0)
            close(probe);
        for (struct addrinfo *a = list; a && *out < 0 && !taken; a = a->ai_next)
            *out = open_one(a, shared, all);
        if (taken)
            errno = EADDRINUSE;
        int e = errno;
        freeaddrinfo(list);
        errno = e;
        if (*out < 0 && all && errno != EADDRINUSE) { // no IPv6 here
            struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(service))};
            struct addrinfo a = {.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&v4, .ai_addrlen = sizeof v4};
            *out = open_one(&a, shared, false);
        }
    }
    if (gai != 0)
        return ERR(err, NET, "cannot listen on %s: %s", address, gai_strerror(gai));
    if (*out < 0 && errno == EADDRINUSE)
        return ERR(err, NET, "cannot listen on %s: another program holds this port; stop it or choose another port", address);
    if (*out < 0)
        return ERR(err, NET, "cannot listen on %s: %s", address, strerror(errno));
    *port = port_of(*out);
    return ERR_OK;
}
