/* hash_xfer: the hashes of v2 torrents that are not in the info dictionary, asked of peers and
 * given to them (BEP 52, "hash request").
 *
 * hash_fetch wants two kinds of hashes. Piece layers: of every file longer than a piece whose layer
 * the metainfo does not have (a magnet link): runs of at most 512 hashes, each proven up to the
 * pieces root; a finished layer goes into the metainfo (metainfo_set_piece_layer). Leaves: the
 * hashes of the blocks of one piece, asked for after that piece failed, proven up to its piece
 * hash, so that a bad block is pinned on its sender.
 *
 * A peer is asked for a run when it has a piece in it, for leaves when it has the piece. A reject
 * or a time-out sends the request to another peer; an answer that does not prove is the sender's
 * fault, whoever it is.
 *
 * hash_serve answers requests from the metainfo's layers and from leaves that the engine reads
 * back.
 *
 * Ownership  the metainfo is borrowed and must outlive both; leaves stay here until
 *            hash_fetch_drop_leaves
 * Threads    one owner
 * Errors     ERR_NO_MEMORY, ERR_LIMIT
 * Files      hash_xfer.c fetches, hash_serve.c serves
 * Memory     fetch: 12 bytes per run of a missing layer; the layers under way; HASH_LEAVES_MAX
 *            pieces. serve: HASH_SERVE_CACHE_LEN_MAX of trees
 */
#pragma once
#include "base/bitset.h"
#include "base/rate.h"
#include "base/timer.h"
#include "torrent/merkle.h"
#include "torrent/metainfo.h"

#define HASH_PEERS_MAX      64u              /* ours: more are refused; offered later again */
#define HASH_PEER_REQUESTS  4u               /* ours: out to one peer at once */
#define HASH_LEAVES_MAX     16u              /* ours: pieces whose leaves are wanted at once */
#define HASH_TIMEOUT_US     (20u * US_PER_S) /* ours */
#define HASH_LEAVES_US      (4u * US_PER_S) /* ours: the same for leaves, as a piece waits for them */
#define HASH_REJECT_WAIT_US (20u * US_PER_S) /* ours: a peer that rejected, or was silent, waits */

struct hash_fetch;

enum err_code hash_fetch_new(struct hash_fetch **out, struct mem *mem,
                             struct metainfo *info) MUST_USE;
void hash_fetch_free(struct hash_fetch *f);
/* Layers still missing. */
bool hash_fetch_needs_layers(const struct hash_fetch *f);
/* Want the leaves of a piece whose v2 hash is known. ERR_LIMIT: the table is full, or the piece is
 * a single block, whose leaf is its hash; ERR_NOT_FOUND: its hash is not known. Twice is fine. */
enum err_code hash_fetch_want_leaves(struct hash_fetch *f, uint32_t piece) MUST_USE;
/* layout_n_blocks(piece) proven leaves, SHA256_LEN each; NULL: not here (yet). */
const uint8_t *hash_fetch_leaves(const struct hash_fetch *f, uint32_t piece);
void hash_fetch_drop_leaves(struct hash_fetch *f, uint32_t piece); /* wanted or here */

/* Peers with WIRE_V2 agreed. ERR_LIMIT: no room. */
enum err_code hash_fetch_add_peer(struct hash_fetch *f, uint32_t conn) MUST_USE;
void hash_fetch_remove_peer(struct hash_fetch *f, uint32_t conn);
/* The next request for this peer, which has these pieces (NULL: all of them); false when there is
 * none now. To be called after inputs about this peer (its bitfield, an answer, room) until false.
 */
bool hash_fetch_next(struct hash_fetch *f, uint64_t now_us, uint32_t conn,
                     const struct bitset *have, struct merkle_request *out);

enum hash_verdict {
    HASH_TAKEN,       /* proven; more is needed before anything is complete */
    HASH_LAYER_DONE,  /* a layer is in the metainfo now: *out_file, and each file with that root */
    HASH_LEAVES_DONE, /* hash_fetch_leaves gives them: *out_piece */
    HASH_IGNORED,     /* not asked of this peer, timed out, or not wanted any more */
    HASH_BAD,         /* does not prove: the sender lied; close and ban */
    HASH_NO_MEMORY    /* taken as if it had timed out */
};
enum hash_verdict hash_fetch_on_hashes(struct hash_fetch *f, uint64_t now_us, uint32_t conn,
                                       const struct merkle_request *ref, struct bytes list,
                                       uint32_t *out_file, uint32_t *out_piece);
/* False: it was not asked of this peer. */
bool hash_fetch_on_reject(struct hash_fetch *f, uint64_t now_us, uint32_t conn,
                          const struct merkle_request *ref);
/* Expires requests; then every peer may be offered work again. */
void hash_fetch_on_tick(struct hash_fetch *f, uint64_t now_us);
uint64_t hash_fetch_deadline_us(const struct hash_fetch *f);

struct hash_fetch_counts {
    uint64_t n_requests, n_timeouts, n_rejects, n_unasked, n_bad, n_refused;
};
struct hash_fetch_counts hash_fetch_counts(const struct hash_fetch *f);
void hash_fetch_check(const struct hash_fetch *f);

/* --- serving --------------------------------------------------------------------------------- */

#define HASH_SERVE_TREES         12u         /* ours: trees kept, the least recently used go */
#define HASH_SERVE_CACHE_LEN_MAX (32u << 20) /* ours: bytes of trees kept, unless one is larger */
#define HASH_SERVE_RATE          16384u      /* ours: hashes a second that one peer gets */
#define HASH_SERVE_BURST         262144u     /* ours */
#define HASH_SERVE_BLOCK_COST    64u         /* ours: one block read back costs as many hashes */

struct hash_serve; /* one per torrent */

struct hash_serve_peer { /* one per connection */
    struct token_bucket budget;
};

enum hash_answer {
    HASH_ANSWER,        /* send `hashes` with out[0 .. *out_n) */
    HASH_ANSWER_REJECT, /* send `hash reject` */
    HASH_ANSWER_LEAVES  /* the leaves of *out_piece are needed: if we have that piece, read it back
                           (store_check), hash_serve_put_leaves, and call hash_serve_retry; if not,
                           reject */
};

enum err_code hash_serve_new(struct hash_serve **out, struct mem *mem,
                             const struct metainfo *info) MUST_USE;
void hash_serve_free(struct hash_serve *s);
void hash_serve_peer_init(struct hash_serve_peer *p, uint64_t now_us);
enum hash_answer hash_serve_on_request(struct hash_serve *s, uint64_t now_us,
                                       struct hash_serve_peer *p, const struct merkle_request *q,
                                       uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN], size_t *out_n,
                                       uint32_t *out_piece);
/* Without charging a peer; HASH_ANSWER_LEAVES again means that they are gone from the cache. */
enum hash_answer hash_serve_retry(struct hash_serve *s, const struct merkle_request *q,
                                  uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN], size_t *out_n,
                                  uint32_t *out_piece);
/* The leaves of a piece that has been verified: layout_n_blocks of them. Kept while there is room;
 * a failure to keep them shows in the retry. */
void hash_serve_put_leaves(struct hash_serve *s, uint32_t piece, const uint8_t *leaves);

struct hash_serve_counts {
    uint64_t n_answered, n_rejected, n_over_rate, n_bad_range, n_unknown_root, n_trees_made;
};
struct hash_serve_counts hash_serve_counts(const struct hash_serve *s);
