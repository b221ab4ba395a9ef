/* wire_in: cuts a connection's input into a handshake, messages and blocks (BEP 3), made for
 * lending: block data is read from the socket straight into the block's buffer, the rest into a
 * scratch that all connections of a session share. Where more blocks are to follow, buffers for
 * them are lent ahead, each behind the place for a head: [rest of the block] [head] [spare] [head]
 * [spare] ... [scratch]. If it came so, the engine adopts each spare as the block's buffer; if not
 * (another message lies between), all of it is input that is copied, and nothing is lost.
 *
 *   session_lend:      n = wire_in_lend(w, scratch, ahead, spans, cap);  host reads into the spans
 *   session_on_bytes:  wire_in_laid(w, len);
 *                      while (wire_in_next(w, &ev)) switch (ev.kind) { ... }
 *
 * Promises
 *  - the same bytes give the same events however they were split, except that WIRE_BLOCK_DATA
 *    comes once per stretch of a block and WIRE_NONE ends each batch
 *  - WIRE_BLOCK_HEAD is given as soon as its 13 bytes are here; at that event the engine says
 *    where the payload belongs (wire_in_adopt, wire_in_place), or else it is dropped. What follows
 *    in the same batch is there already or copied there; what comes later is lent
 *  - the batch must be drained (wire_in_next false) before the next wire_in_lend; what is left of
 *    a message is then kept in wire_in's own memory, so the scratch is free for other connections
 *  - memory: a small inline buffer; a longer message gets heap that grows as its bytes arrive, to
 *    at most its own length limit (peer_msg_len_max), freed once it has been given out
 *
 * Ownership  wire_in owns what it keeps; views in an event live until the next wire_in call. The
 *            block's buffer is the engine's: it must stay until WIRE_BLOCK_DATA says is_done, or
 *            until wire_in_drop
 * Threads    one owner
 * Errors     WIRE_FAIL once, then WIRE_NONE for ever: w->err tells why; close the connection.
 *            ERR_UNSUPPORTED: not a BitTorrent handshake (MSE: close at once, they come back plain)
 */
#pragma once
#include "base/mem.h"
#include "torrent/peer_wire.h"

#define WIRE_SCRATCH_LEN     65536u   /* recommended */
#define WIRE_AHEAD_MAX       15u      /* ours: with the scratch 300 KB in one read */
#define WIRE_UNKNOWN_LEN_MAX 1048576u /* ours: an unknown message longer than this closes */

enum wire_event_kind {
    WIRE_NONE,           /* the batch is drained */
    WIRE_FAIL,           /* w->err */
    WIRE_HANDSHAKE_HASH, /* 48 bytes: reserved and infohash of `handshake` are known: an incoming
                            connection can be answered now */
    WIRE_HANDSHAKE,      /* all 68 */
    WIRE_KEEP_ALIVE,
    WIRE_MSG,        /* `msg` */
    WIRE_UNKNOWN,    /* unknown id: `msg.id`, `len`; its payload will be skipped */
    WIRE_BLOCK_HEAD, /* `block`: call wire_in_adopt or wire_in_place now, or its data is dropped */
    WIRE_BLOCK_DATA  /* `len` more bytes of `block` (in place, or dropped); is_done: the last */
};

struct wire_event {
    enum wire_event_kind kind;
    uint32_t len;
    bool is_done;    /* WIRE_BLOCK_DATA */
    bool is_dropped; /* WIRE_BLOCK_DATA: this block has no buffer (any more) */
    struct wire_block block;
    struct wire_msg msg;
};

/* Buffers lent ahead, of one session, as the scratch is. A spare that was adopted turns NULL. */
struct wire_ahead {
    uint8_t *spares[WIRE_AHEAD_MAX];
    uint32_t n_spares, spare_len;
    /* the batch: what was lent behind the block, in order; filled are the first left bytes */
    struct span lent[2 * WIRE_AHEAD_MAX + 1];
    uint32_t n_lent, next;
    size_t left;
    uint8_t heads[WIRE_AHEAD_MAX][PIECE_HEAD_LEN];
};

enum wire_in_state { WIRE_IN_HANDSHAKE, WIRE_IN_MSG, WIRE_IN_BLOCK, WIRE_IN_SKIP, WIRE_IN_FAILED };

#define WIRE_IN_SMALL_CAP 72u /* a handshake; every message of fixed length */

struct wire_in {
    struct mem *mem;
    enum wire_in_state state;
    struct err err;             /* err.at: offset in the stream of the message that failed */
    struct handshake handshake; /* filled as the events say */
    uint64_t n_bytes, n_msgs, n_unknown;
    /* rules */
    uint32_t features; /* agreed: ours & theirs, by the engine */
    uint32_t n_pieces; /* 0: not known yet */
    /* the batch */
    struct bytes in; /* not parsed yet */
    const uint8_t *scratch;
    struct wire_ahead *ahead; /* NULL: the scratch alone was lent */
    uint32_t lent_len;        /* of the block's buffer, by the last wire_in_lend */
    uint32_t block_new;       /* laid down in the block's buffer, not told yet */
    uint64_t at;              /* offset of the message under way */
    bool was_hash_told;
    /* what is here of a message that is not complete */
    bool is_keep_given; /* the message was given out: let go of it at the next call */
    uint8_t small[WIRE_IN_SMALL_CAP];
    uint8_t *heap; /* instead of small, when that is not enough */
    uint32_t keep_len, heap_cap;
    /* the block under way, or what is skipped */
    struct wire_block block;
    uint8_t *block_buf; /* NULL: dropped */
    uint32_t block_got, skip_left;
};

void wire_in_init(struct wire_in *w, struct mem *mem);
void wire_in_clear(struct wire_in *w);

/* Agreed features (ours & theirs), once the handshake is here: messages of BEP 6 without
 * WIRE_FAST fail (reject: without WIRE_FAST and WIRE_V2). Before, none is agreed. */
void wire_in_set_features(struct wire_in *w, uint32_t features);
/* Once known: a bitfield must then have exactly this many bits. */
void wire_in_set_n_pieces(struct wire_in *w, uint32_t n_pieces);

/* Where the next bytes belong: the rest of the block's buffer (when a block is under way and
 * placed), spares with their heads (ahead NULL: none), then the scratch. out_cap >= 1; with room
 * for one span only, the first of them. Returns the number of spans; 0 after a failure. */
size_t wire_in_lend(struct wire_in *w, struct span scratch, struct wire_ahead *ahead,
                    struct span *out, size_t out_cap);
/* The host has laid len bytes into the spans of the last wire_in_lend. */
void wire_in_laid(struct wire_in *w, size_t len);
/* Bytes that lie elsewhere (tests; decrypted input): instead of lend and laid. They must stay
 * until wire_in_next gives false. */
void wire_in_feed(struct wire_in *w, struct bytes in);
/* The next event; false (WIRE_NONE) when the batch is drained. */
bool wire_in_next(struct wire_in *w, struct wire_event *out);

/* At WIRE_BLOCK_HEAD: the spare that the payload was read into, from now on the block's buffer and
 * the engine's; or NULL: it lies elsewhere. */
uint8_t *wire_in_adopt(struct wire_in *w);
/* At WIRE_BLOCK_HEAD: the block's payload belongs to buf, ev.block.len bytes. */
void wire_in_place(struct wire_in *w, uint8_t *buf);
/* The block's buffer goes away, or is not wanted: what is to come of this block is dropped. Any
 * time; but between wire_in_lend and wire_in_laid the host may still be writing to it. */
void wire_in_drop(struct wire_in *w);
/* Payload bytes of the block under way that have not come yet; 0 when there is none. */
uint32_t wire_in_pending(const struct wire_in *w);
/* The block under way; false when there is none. */
bool wire_in_block(const struct wire_in *w, struct wire_block *out);
void wire_in_check(const struct wire_in *w);
