/* magnet: links that name a torrent by its info-hash (BEP 9, 53; v2: BEP 52 multihash "btmh").
 *
 * Ownership  owns copies of all strings in its arena; magnet_clear ends them
 * Threads    plain value
 * Errors     ERR_MALFORMED with the offset in the link, ERR_LIMIT, ERR_NO_MEMORY. Parameters that
 *            are not known are ignored; a link without any info-hash is refused
 */
#pragma once
#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "crypto/sha.h"

#define MAGNET_LEN_MAX        (64u * 1024u) /* ours, as all of these; what is beyond an n is dropped */
#define MAGNET_N_TRACKERS_MAX 128u
#define MAGNET_N_WEBSEEDS_MAX 128u
#define MAGNET_N_PEERS_MAX    128u
#define MAGNET_N_RANGES_MAX   1024u

struct magnet_peer {  /* x.pe */
    struct addr addr; /* family ADDR_NONE: host is a name to look up */
    const char *host;
    uint16_t port;
};

struct magnet_range { /* so (BEP 53): file indexes, both ends included */
    uint32_t first, last;
};

struct magnet {
    struct arena arena;
    bool has_v1, has_v2;
    uint8_t infohash_v1[SHA1_LEN];
    uint8_t infohash_v2[SHA256_LEN];
    const char *name; /* dn; NULL when absent; valid UTF-8, not a safe file name */
    const char **trackers, **webseeds;
    struct magnet_peer *peers;
    struct magnet_range *ranges; /* ascending, disjoint; none: all files */
    uint32_t n_trackers, n_webseeds, n_peers, n_ranges;
    uint64_t len; /* xl; 0: not given */
    uint32_t n_dropped;
};

bool magnet_is_link(const char *text); /* begins "magnet:?" */
enum err_code magnet_read(struct magnet *m, struct bytes text, struct mem *mem,
                          struct err *err) MUST_USE;
enum err_code magnet_copy(struct magnet *m, const struct magnet *from, struct mem *mem) MUST_USE;
void magnet_clear(struct magnet *m);
/* 20 bytes: v1 if there is one, else v2 cut to 20; as metainfo_key. */
const uint8_t *magnet_key(const struct magnet *m);
/* Is the file selected by `so`? True for all when there is no `so`. */
bool magnet_selects(const struct magnet *m, uint32_t file);
void magnet_write(const struct magnet *m, struct buf *out);

struct metainfo;
/* The link to a torrent: hashes, name, length, trackers, web seeds. */
void magnet_write_metainfo(const struct metainfo *info, struct buf *out);
