/* merkle: the hash trees of BitTorrent v2 (BEP 52, "pieces root", "piece layers", "hash request").
 *
 * A leaf is the SHA-256 of 16 KiB of one file (the last one of what is left). The leaves are
 * completed with all-zero hashes to a power of two, and every inner node is the SHA-256 of its two
 * children. Heights count from the leaves: 0 is the leaf layer, log2(piece length / 16 KiB) the
 * piece layer. A file no longer than a piece has a tree of its own blocks only.
 *
 * Hashes stand in packed arrays of SHA256_LEN bytes, as in "piece layers" and on the wire.
 *
 * Ownership  struct merkle_tree owns its nodes; everything else works on the caller's arrays
 * Threads    plain values
 * Errors     ERR_NO_MEMORY; ERR_LIMIT, ERR_MALFORMED for requests that cannot be right
 */
#pragma once
#include "base/bytes.h"
#include "base/mem.h"
#include "crypto/sha.h"

#define MERKLE_BLOCK_LEN     16384u
#define MERKLE_HEIGHT_MAX    30u  /* 2^30 leaves, 16 TiB in one file; as libtorrent          */
#define MERKLE_REQUEST_N_MAX 512u /* BEP 52, "hash request": length should not be above this */
/* Base hashes and one uncle per layer. */
#define MERKLE_ANSWER_N_MAX (MERKLE_REQUEST_N_MAX + MERKLE_HEIGHT_MAX)

/* ceil(log2(n)), 0 for n <= 1: the height of a tree over n hashes. */
unsigned merkle_height(uint64_t n);
/* The hash of a subtree of this height whose leaves are all zero hashes. */
void merkle_pad(unsigned height, uint8_t out[SHA256_LEN]);
/* The root over n hashes of a layer at layer_height, completed with pads to 2^(root_height -
 * layer_height) >= n hashes. n may be 0 (all pad). O(n) time, O(height) memory. */
void merkle_root(const uint8_t *hashes, uint64_t n, unsigned layer_height, unsigned root_height,
                 uint8_t out[SHA256_LEN]);

/* The shape of one file's tree. */
struct merkle_shape {
    uint64_t n_leaves; /* 16 KiB blocks of the file */
    uint64_t n_pieces;
    unsigned piece_height; /* of the torrent: log2(piece_len / 16 KiB) */
    unsigned root_height;  /* merkle_height(n_leaves) */
};
/* False when the file needs more than 2^MERKLE_HEIGHT_MAX leaves or piece_len is not a power of
 * two of at least 16 KiB; file_len is not 0. */
bool merkle_shape_of(uint64_t file_len, uint32_t piece_len, struct merkle_shape *out);
/* Hashes in the layer that really exist (pads not counted). */
uint64_t merkle_layer_n(const struct merkle_shape *s, unsigned height);
/* The height of the hash that a v2 piece is checked against: piece_height, or root_height in a
 * file of at most one piece (then the hash is the pieces root). */
unsigned merkle_piece_root_height(const struct merkle_shape *s);
/* Root of the blocks of one piece, to be compared with its entry in the piece layer or, in a file
 * of one piece, with the pieces root. */
void merkle_piece_root(const struct merkle_shape *s, const uint8_t *leaves, uint32_t n_leaves,
                       uint8_t out[SHA256_LEN]);
/* Is this the piece layer (n_pieces hashes) of the file with this pieces root? */
bool merkle_layer_is_good(const struct merkle_shape *s, const uint8_t *layer,
                          const uint8_t root[SHA256_LEN]);

/* --- a tree whose inner nodes are kept: about twice the layer it stands on ------------------- */

struct merkle_tree {
    struct mem *mem;
    uint8_t *nodes; /* layer by layer from the base, each ended by one pad */
    uint32_t level_off[MERKLE_HEIGHT_MAX + 2]; /* first node of each level, in hashes */
    uint64_t n;                                /* hashes in the base layer */
    unsigned base_height, root_height;
};
enum err_code merkle_tree_init(struct merkle_tree *t, struct mem *mem, const uint8_t *hashes,
                               uint64_t n, unsigned base_height, unsigned root_height) MUST_USE;
void merkle_tree_clear(struct merkle_tree *t);
/* base_height <= height <= root_height, index < 2^(root_height - height); pads are computed. */
void merkle_tree_node(const struct merkle_tree *t, unsigned height, uint64_t index,
                      uint8_t out[SHA256_LEN]);

/* --- hash requests and their answers --------------------------------------------------------- */

struct merkle_request {
    uint8_t root[SHA256_LEN]; /* pieces root: names the file */
    uint32_t base_layer;      /* height of the lowest layer */
    uint32_t index, length;   /* hashes; index a multiple of length */
    uint32_t proof_layers;    /* layers above base_layer to prove */
};

/* Ours or a peer's: length a power of two from 2 to MERKLE_REQUEST_N_MAX, index a multiple of it,
 * all inside the file's tree, proof_layers not above the root. */
enum err_code merkle_request_check(const struct merkle_request *q, const struct merkle_shape *s,
                                   struct err *err) MUST_USE;
/* Uncle hashes that follow the base hashes: the first log2(length) - 1 proof layers are left out.
 */
uint32_t merkle_request_n_uncles(const struct merkle_request *q);
/* proof_layers that lead from this request up to the root of the file. */
uint32_t merkle_proof_layers_to_root(const struct merkle_shape *s, uint32_t base_layer);

/* Folds `length` base hashes and the uncles into the ancestor that they prove: out is its hash,
 * *out_height and *out_index its place. The caller compares it with the pieces root
 * (height root_height) or a hash it already trusts. hashes: length + n_uncles of them. False when
 * the number of hashes is not what the (checked) request makes it. */
bool merkle_proof_fold(const struct merkle_request *q, const uint8_t *hashes, size_t n_hashes,
                       uint8_t out[SHA256_LEN], unsigned *out_height, uint64_t *out_index);
/* The fold ends at the root and equals it. */
bool merkle_proof_is_good(const struct merkle_request *q, const struct merkle_shape *s,
                          const uint8_t *hashes, size_t n_hashes);

/* The answer to a checked request, from the tree over the file's piece layer (or over its leaves,
 * when the file is no longer than a piece: piece NULL). For a base layer below the piece layer
 * also the tree over the leaves of the one piece that the range lies in (base_height 0, root_height
 * piece_height). Returns the number of hashes in out; 0: these trees do not reach down to it. */
size_t merkle_answer(const struct merkle_request *q, const struct merkle_tree *file,
                     const struct merkle_tree *piece, uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN]);
