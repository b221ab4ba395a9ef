/* plain_peer: the least a seed or a downloader of BitTorrent can be (BEP 3), on blocking sockets:
 * what a shoal on the other side is measured against.
 *
 * Ownership  nothing is kept
 * Threads    any
 * Errors     the program ends with a line on stderr
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct plain_peer_info {
    const uint8_t *infohash; /* 20 bytes */
    uint64_t len;
    uint32_t piece_len;
};

/* Listens on 127.0.0.1, tells the port to port_fd, serves one peer until it leaves. */
void plain_seed(const struct plain_peer_info *info, const char *path, int port_fd,
                size_t batch_len);
/* Takes everything from 127.0.0.1:port in order, and looks at none of it. */
void plain_get(const struct plain_peer_info *info, uint16_t port);
