/* content: the bytes of a simulated torrent: a function of (key, offset in the piece space), so that
 * whoever needs them makes them and nobody stores them.
 *
 * Real: every byte is there and pieces are hashed with SHA-1 and SHA-256 as anywhere.
 * Phantom: of each 16 KiB block only the first CONTENT_TAG_LEN bytes are not zero, and digests are
 * taken over these tags alone; the engine cannot tell, and a block costs next to nothing. Needs
 * blocks that begin where the piece space has multiples of 16 KiB, which they always do.
 *
 * A wrong version of a block is the right one with every byte (or tag byte) xored with `variant`.
 *
 * Ownership  owns the .torrent bytes made for it; must outlive all nodes that use it
 * Threads    read-only once made
 * Errors     content_new: metainfo_read's, and ERR_LIMIT for sizes it will not do
 */
#pragma once
#include "base/buf.h"
#include "sim/world.h"
#include "torrent/host.h"
#include "torrent/metainfo.h"

#define CONTENT_TAG_LEN 16u

enum content_version { CONTENT_V1 = 1, CONTENT_V2 = 2, CONTENT_HYBRID = 3 };

struct content_params {
    const char *name;
    uint64_t len; /* of all files together */
    uint32_t piece_len;
    uint32_t n_files; /* 0 or 1: a single file */
    enum content_version version;
    bool is_phantom, is_private;
    const char *const *trackers; /* URLs, one tier each; ends with NULL; NULL: none */
    uint64_t key;                /* seeds the bytes */
};

struct content {
    struct mem *mem;
    uint64_t key;
    bool is_phantom;
    struct buf torrent;    /* the .torrent file */
    struct metainfo *info; /* of it, for everyone to look at */
};

enum err_code content_new(struct content **out, struct mem *mem, const struct content_params *p,
                          struct err *err) MUST_USE;
void content_free(struct content *c);
/* A fresh copy for a session to take over. */
enum err_code content_metainfo(const struct content *c, struct mem *mem, struct metainfo **out,
                               struct err *err) MUST_USE;

/* Bytes off .. off + len of the piece space. */
void content_fill(const struct content *c, uint64_t off, uint8_t variant, uint8_t *out, size_t len);
/* The same, but bytes that do not count are left as they are: their pages are never touched. */
void content_lay(const struct content *c, uint64_t off, uint8_t variant, uint8_t *out, size_t len);
/* The bytes of one block that count: all, or its tag. */
uint32_t content_core_len(const struct content *c, uint32_t block_len);
/* Do these core bytes at off (the start of a block) equal the content? */
bool content_is_right(const struct content *c, uint64_t off, const uint8_t *block,
                      uint32_t block_len);
