#include "io/sockaddr.h"
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

socklen_t sockaddr_from_addr(struct sockaddr_storage *out, const struct addr *a)
{
    memset(out, 0, sizeof *out);
    if (a->family == ADDR_V4) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->port);
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof *in6;
}

static struct addr addr_of_in6(const struct sockaddr_in6 *in6)
{
    struct addr a = {.port = ntohs(in6->sin6_port), .family = ADDR_V6};
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        a.family = ADDR_V4;
        memcpy(a.ip, in6->sin6_addr.s6_addr + 12, 4);
    } else {
        memcpy(a.ip, &in6->sin6_addr, 16);
    }
    return a;
}

struct addr sockaddr_to_addr(const struct sockaddr_storage *ss)
{
    if (ss->ss_family == AF_INET6)
        return addr_of_in6((const struct sockaddr_in6 *)(const void *)ss);
    if (ss->ss_family != AF_INET)
        return (struct addr){.family = ADDR_NONE};
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;
    struct addr a = {.port = ntohs(in->sin_port), .family = ADDR_V4};
    memcpy(a.ip, &in->sin_addr, 4);
    return a;
}

enum err_code sockaddr_bind(int *out_fd, int type, const struct addr *a, struct err *err)
{
    *out_fd = -1;
    int family = a->family == ADDR_V4 ? AF_INET : AF_INET6;
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_at(err, ERR_IO, "cannot make a socket", 0, (uint64_t)errno, 0);
    int one = 1;
    /* Not for datagrams: there it would let two programs share one port. */
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from_addr(&ss, a);
    if (bind(fd, (struct sockaddr *)&ss, len) < 0) {
        int code = errno;
        close(fd);
        return err_set_at(err, ERR_IO, "cannot bind a socket", a->port, (uint64_t)code, 0);
    }
    *out_fd = fd;
    return ERR_OK;
}

struct addr sockaddr_of_socket(int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return (struct addr){.family = ADDR_NONE};
    return sockaddr_to_addr(&ss);
}
