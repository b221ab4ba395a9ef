/* metainfo: .torrent files and info dictionaries, v1, v2 and hybrid (BEP 3, 5, 12, 17, 19, 27, 38,
 * 47, 52), checked once and then read-only.
 *
 * What is accepted: the info-hash is over the bytes as they stand; v1 info may be unsorted, v2 and
 * hybrid must be canonical; a key twice in info is refused; a hybrid's halves must describe the
 * same files; piece layers must hash up to their roots, but may be absent (then as from a magnet:
 * they come through hash requests and metainfo_set_piece_layer). Names cannot leave the
 * download folder: every element is cleaned (path_sanitize.h), equal paths are told apart by
 * "name.1.ext". Symlinks point inside the torrent, without loops, or are empty files.
 *
 * Ownership  one block of memory behind struct metainfo; all pointers and views in it live until
 *            metainfo_free. The input may go after the read
 * Threads    read-only once made, so it may be shared; metainfo_add_tracker and
 *            metainfo_set_piece_layer belong to the owner's thread, before or between uses
 * Errors     ERR_TRUNCATED, ERR_MALFORMED, ERR_LIMIT, ERR_UNSUPPORTED (meta version),
 * ERR_NO_MEMORY; the note names the field and holds the offset in the file
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "crypto/sha.h"
#include "torrent/layout.h"

#define METAINFO_N_PIECES_MAX     0x200000u         /* as libtorrent's load_torrent_limits */
#define METAINFO_PIECE_LEN_MAX    (32767u * 16384u) /* libtorrent: blocks are counted in 15 bits */
#define METAINFO_N_FILES_MAX      1000000u          /* ours */
#define METAINFO_DIR_DEPTH_MAX    100u              /* as libtorrent */
#define METAINFO_N_COLLISIONS_MAX 500u              /* as libtorrent */
#define METAINFO_FILE_LEN_MAX     (((1ull << 30) - 1) * 16384u) /* BEP 52 trees; as libtorrent */
#define METAINFO_SPACE_LEN_MAX    ((1ull << 48) - 1)            /* as libtorrent */
#define METAINFO_N_TRACKERS_MAX   256u /* ours; what is beyond is dropped and counted, as below */
#define METAINFO_N_WEBSEEDS_MAX   256u
#define METAINFO_N_NODES_MAX      256u
#define METAINFO_N_SIMILAR_MAX    256u /* and as many collections */
#define METAINFO_URL_LEN_MAX      2048u

struct metainfo_limits {
    size_t len_max; /* of the file */
    uint32_t n_tokens_max, depth_max, n_pieces_max, n_files_max;
};

enum metainfo_file_flag {
    FILE_PAD = 1, /* zeros, never written */
    FILE_EXEC = 2,
    FILE_HIDDEN = 4,
    FILE_SYMLINK = 8 /* len is 0; `symlink` is set */
};

struct metainfo_file {
    const char *path;    /* cleaned, '/' between elements, the torrent's top name first; unique */
    const char *symlink; /* path of what it points at, in the same terms; NULL: not a link */
    uint64_t len;
    uint64_t off;               /* in the piece space (layout.h) */
    uint64_t pad_from;          /* pad files: start of the run of pads this one belongs to */
    const uint8_t *pieces_root; /* v2: 32 bytes; NULL in v1, for pads, links and empty files */
    const uint8_t *piece_layer; /* v2: n_layer hashes; NULL: one piece at most, or not known yet */
    uint32_t first_piece;       /* that holds `off` */
    uint32_t n_layer;           /* v2: hashes its piece layer has or must get; 0: none needed */
    uint8_t flags;              /* enum metainfo_file_flag */
};

struct metainfo_tracker {
    const char *url;
    uint32_t tier; /* from 0, never decreasing along the list */
};

struct metainfo_webseed {
    const char *url;  /* percent-encoded; ends in '/' when the torrent has several files (BEP 19) */
    bool is_httpseed; /* BEP 17 */
};

struct metainfo_node {
    const char *host; /* name or address */
    uint16_t port;
};

struct metainfo {
    struct mem *mem;
    struct arena arena;

    const char *name; /* cleaned: the file, or the folder that all files are in */
    bool has_v1, has_v2, is_private, is_multi_file;
    uint8_t infohash_v1[SHA1_LEN];
    uint8_t infohash_v2[SHA256_LEN];
    struct bytes info; /* the info dictionary as it stands, for BEP 9 and for saving */

    struct layout layout; /* over `files` */
    uint32_t piece_len, n_pieces;
    uint64_t total_len; /* the piece space, pads included; without pads: layout.data_len */
    uint32_t n_files;
    struct metainfo_file *files; /* v1 order, pads among them; v2 alone: the tree's order */
    const uint8_t *v1_pieces;    /* n_pieces * 20 bytes; NULL in v2 alone */
    bool has_piece_layers;       /* v2: every file that needs its layer has it */
    uint32_t *by_root;           /* files without their layer, by root; made by the first one set */
    uint32_t n_by_root, n_layers_missing;

    struct metainfo_tracker *trackers;
    struct metainfo_webseed *webseeds;
    struct metainfo_node *nodes;  /* BEP 5 */
    const char **collections;     /* BEP 38 */
    uint8_t (*similar)[SHA1_LEN]; /* BEP 38 */
    uint32_t n_trackers, n_webseeds, n_nodes, n_collections, n_similar;
    uint32_t n_dropped; /* trackers, seeds, nodes… not kept: beyond a maximum, or not usable */
    const char *comment, *created_by, *source; /* UTF-8 made valid; NULL when absent */
    int64_t creation_date; /* seconds since 1970; meaningful with has_creation_date */
    bool has_creation_date;
};

/* A .torrent file; bytes after the top dictionary are allowed. limits NULL: the maxima above. */
enum err_code metainfo_read(struct metainfo **out, struct bytes file, struct mem *mem,
                            const struct metainfo_limits *limits, struct err *err) MUST_USE;
/* A bare info dictionary (BEP 9). The caller compares the hashes with the ones it asked for
 * (metainfo_has_hash), before or after; nothing may follow the dictionary. */
enum err_code metainfo_read_info(struct metainfo **out, struct bytes info, struct mem *mem,
                                 const struct metainfo_limits *limits, struct err *err) MUST_USE;
void metainfo_free(struct metainfo *m); /* NULL is fine */

/* Is it this torrent? len 20: v1, or v2 cut to 20 (BEP 52, trackers and handshake); 32: v2. */
bool metainfo_has_hash(const struct metainfo *m, const uint8_t *hash, size_t len);
/* 20 bytes: v1 if there is one, else v2 cut to 20. The key of a torrent everywhere. */
const uint8_t *metainfo_key(const struct metainfo *m);
const uint8_t *metainfo_v1_piece_hash(const struct metainfo *m, uint32_t piece); /* NULL in v2 */
/* The hash a v2 piece must have (32 bytes): the layer's entry, or the root of a file of one
 * piece; NULL when not v2, not a data piece, or the layer is not known. */
const uint8_t *metainfo_v2_piece_hash(const struct metainfo *m, uint32_t piece);

/* From the magnet link that the info came for. Doubles and what is beyond the maximum is dropped.
 */
enum err_code metainfo_add_tracker(struct metainfo *m, const char *url, uint32_t tier) MUST_USE;
enum err_code metainfo_add_webseed(struct metainfo *m, const char *url) MUST_USE;
/* A layer that came by hash requests: n_layer hashes, checked against the root (ERR_MALFORMED),
 * copied, set for every file with that root and length. */
enum err_code metainfo_set_piece_layer(struct metainfo *m, uint32_t file, struct bytes layer,
                                       struct err *err) MUST_USE;
/* The whole as a .torrent file: the info as it stands, layers, trackers, seeds, comment. */
void metainfo_write(const struct metainfo *m, struct buf *out);
/* Asserts what the header promises: tests and fuzzers. */
void metainfo_check(const struct metainfo *m);
