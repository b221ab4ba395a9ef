/* sockaddr: struct addr to and from the system's socket addresses, and sockets made from them. */
#pragma once
#include "base/addr.h"
#include <sys/socket.h>

socklen_t sockaddr_from_addr(struct sockaddr_storage *out, const struct addr *a);
/* IPv4-mapped addresses become IPv4; another family gives ADDR_NONE. */
struct addr sockaddr_to_addr(const struct sockaddr_storage *ss);
/* A non-blocking, close-on-exec socket of a's family, bound to it (IPv6: V6ONLY; SO_REUSEADDR). */
enum err_code sockaddr_bind(int *out_fd, int type, const struct addr *a, struct err *err) MUST_USE;
struct addr sockaddr_of_socket(int fd); /* its own address */
