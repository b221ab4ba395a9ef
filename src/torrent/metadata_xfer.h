/* metadata_xfer: fetching the info dictionary from peers, and serving it (BEP 9).
 *
 * metadata_fetch asks several peers at once for 16 KiB pieces, at most METADATA_PEER_REQUESTS of
 * one peer, and verifies the whole against every info-hash that is wanted. Peers that claim another
 * size than the one being fetched wait; the size most claimants agree on is fetched. When the
 * hash is wrong: had one peer supplied all of it, that peer is to blame; had several, the next
 * try takes everything from one peer, and when a try succeeds, each peer whose piece differed is to
 * blame. Who is to blame is asked no more and comes out of metadata_fetch_next_blamed.
 *
 *   COLLECTING --- last piece, hash right ---> DONE
 *      ^  |
 *      +--+ last piece, hash wrong: start over without, or from only one of, the suppliers
 *
 * Ownership  owns the bytes gathered; metadata_fetch_info borrows until clear
 * Threads    one owner
 * Errors     ERR_NO_MEMORY from init and add_peer; bad messages are a verdict
 * Memory     one buffer of the size claimed (at most METADATA_LEN_MAX), asked for when the first
 *            piece of a try arrives; peers and pieces are bounded tables
 */
#pragma once
#include "base/addr.h"
#include "base/mem.h"
#include "base/timer.h"
#include "crypto/sha.h"
#include "torrent/ext_handshake.h"
#include "torrent/ut_metadata.h"

#define METADATA_N_PIECES_MAX   (METADATA_LEN_MAX / METADATA_PIECE_LEN)
#define METADATA_PEERS_MAX      64u /* ours: more are refused; the engine offers them later */
#define METADATA_PEER_REQUESTS  4u  /* ours */
#define METADATA_TIMEOUT_US     (8u * US_PER_S)  /* ours: others are asked; a late answer counts */
#define METADATA_REJECT_WAIT_US (30u * US_PER_S) /* ours: before a peer that rejected is asked */
#define METADATA_STRIKES_MAX    4u /* ours: time-outs in a row, then passed over for as long */

struct metadata_want {
    bool has_v1, has_v2; /* at least one; a hybrid magnet wants both */
    uint8_t v1[SHA1_LEN];
    uint8_t v2[SHA256_LEN];
};

enum metadata_verdict {
    METADATA_MORE,     /* taken, or of no use any more */
    METADATA_DONE,     /* all here and verified */
    METADATA_HASH_BAD, /* all were here and the hash is wrong: begun again; see next_blamed */
    METADATA_IGNORED,  /* unasked, or from a peer not known: counted */
    METADATA_BAD, /* size or length disagree with what it said: it is asked no more; close it */
    METADATA_NO_MEMORY /* no room for the whole: the piece will be asked for again */
};

struct metadata_fetch;

enum err_code metadata_fetch_new(struct metadata_fetch **out, struct mem *mem,
                                 const struct metadata_want *want) MUST_USE;
void metadata_fetch_free(struct metadata_fetch *f);
/* A peer whose extension handshake names ut_metadata and a metadata_size (1..METADATA_LEN_MAX);
 * again when it says another size. ERR_LIMIT: no room, or size out of range; ERR_PROTOCOL: it was
 * blamed before (by conn). */
enum err_code metadata_fetch_add_peer(struct metadata_fetch *f, uint64_t now_us, uint32_t conn,
                                      const struct addr *addr, uint64_t metadata_size) MUST_USE;
/* Its connection is gone: what it owes is asked of others. */
void metadata_fetch_remove_peer(struct metadata_fetch *f, uint32_t conn);
/* The next request to send: false when there is none now. Call until false after every input. */
bool metadata_fetch_next(struct metadata_fetch *f, uint64_t now_us, uint32_t *out_conn,
                         uint32_t *out_piece);
enum metadata_verdict metadata_fetch_on_data(struct metadata_fetch *f, uint64_t now_us,
                                             uint32_t conn, const struct ut_metadata_msg *msg);
void metadata_fetch_on_reject(struct metadata_fetch *f, uint64_t now_us, uint32_t conn,
                              uint32_t piece);
/* Expires requests; metadata_fetch_next may give more then. */
void metadata_fetch_on_tick(struct metadata_fetch *f, uint64_t now_us);
uint64_t metadata_fetch_deadline_us(const struct metadata_fetch *f);
/* Peers proven to have sent wrong bytes, each once; *out_conn is 0 when its connection is gone. */
bool metadata_fetch_next_blamed(struct metadata_fetch *f, uint32_t *out_conn,
                                struct addr *out_addr);
bool metadata_fetch_is_done(const struct metadata_fetch *f);
struct bytes metadata_fetch_info(const struct metadata_fetch *f); /* once done: the raw info */
/* For people: pieces here, of how many (0: size not known yet). */
void metadata_fetch_progress(const struct metadata_fetch *f, uint32_t *out_n_have,
                             uint32_t *out_n_pieces);

struct metadata_fetch_counts {
    uint64_t n_requests, n_timeouts, n_rejects, n_unasked, n_bad, n_hash_bad, n_refused;
};
struct metadata_fetch_counts metadata_fetch_counts(const struct metadata_fetch *f);
void metadata_fetch_check(const struct metadata_fetch *f);

/* --- serving: one per connection; a plain value ---------------------------------------------- */

#define METADATA_SERVE_QUEUE 128u  /* ours: requests waiting on one connection; more are rejected */
#define METADATA_SERVE_TIMES 3u    /* BEP 9, flood protection: each gets so many times the whole */
#define METADATA_SERVE_FLOOD 2000u /* ours: refusals after which the connection is closed */

struct metadata_serve {
    uint16_t queue[METADATA_SERVE_QUEUE];
    uint8_t first, n;
    uint32_t n_served, n_refused;
};

enum metadata_answer { METADATA_QUEUED, METADATA_REJECT, METADATA_CLOSE };

void metadata_serve_init(struct metadata_serve *s);
/* A request came. info_len 0: we have no metadata (or will not give it): METADATA_REJECT: send a
 * reject for this piece now. */
enum metadata_answer metadata_serve_on_request(struct metadata_serve *s, uint32_t piece,
                                               uint64_t info_len);
/* With room on the connection (METADATA_PIECE_LEN + 100 bytes): the next piece to send as data;
 * false when none waits. */
bool metadata_serve_next(struct metadata_serve *s, uint32_t *out_piece);
/* The bytes of piece: a view of info; piece must be in range. */
struct bytes metadata_serve_data(struct bytes info, uint32_t piece);
