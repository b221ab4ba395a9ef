/* peer_wire: the messages that two peers exchange: BEP 3 (handshake and ids 0-8), BEP 5 (port),
 * BEP 6 (13-17), BEP 10 (20), BEP 52 (21-23). Codec only; wire_in.h cuts a stream into messages.
 *
 * Ownership  views in a decoded message borrow the input
 * Threads    pure functions
 * Errors     reading: ERR_TRUNCATED or ERR_MALFORMED when the length is not the message's own,
 *            ERR_LIMIT beyond a bound below. Writing: the writer is sticky; PEER_MSG_LEN_MAX of
 *            room is enough for every message without a variable part
 */
#pragma once
#include "base/bytes.h"
#include "torrent/merkle.h"

/* --- handshake (BEP 3) ----------------------------------------------------------------------- */

#define HANDSHAKE_LEN      68u
#define HANDSHAKE_HASH_LEN 48u /* protocol, reserved and info-hash: enough to answer */
#define WIRE_HASH_LEN      20u /* SHA-1, or the first 20 bytes of SHA-256 (BEP 52) */
#define WIRE_ID_LEN        20u

struct handshake {
    uint8_t reserved[8];
    uint8_t infohash[WIRE_HASH_LEN];
    uint8_t peer_id[WIRE_ID_LEN];
};

/* Features are bits of the reserved bytes, in a form that ours and theirs can be and-ed. WIRE_V2 is
 * for torrents that have a v2 half: libtorrent 2.0.8 closes a connection for a v1 torrent that
 * sets it ("invalid info-hash", seen). */
enum wire_feature {
    WIRE_DHT = 1,       /* BEP 5:  [7] & 0x01 */
    WIRE_FAST = 2,      /* BEP 6:  [7] & 0x04 */
    WIRE_EXTENSION = 4, /* BEP 10: [5] & 0x10 */
    WIRE_V2 = 8         /* BEP 52, "Upgrade Path": [7] & 0x10 */
};

void handshake_set_features(struct handshake *h, uint32_t features); /* or of enum wire_feature */
uint32_t handshake_features(const struct handshake *h);
/* ERR_UNSUPPORTED: the first 20 bytes are not the protocol's name (perhaps an encrypted start). */
enum err_code handshake_read(struct bytes in, struct handshake *out, struct err *err) MUST_USE;
void handshake_write(struct writer *w, const struct handshake *h);
/* What has come so far, 0 to 68 bytes, can still become a handshake. */
bool handshake_may_begin(struct bytes in);

/* --- messages -------------------------------------------------------------------------------- */

enum msg_id {
    MSG_CHOKE = 0,
    MSG_UNCHOKE = 1,
    MSG_INTERESTED = 2,
    MSG_NOT_INTERESTED = 3,
    MSG_HAVE = 4,
    MSG_BITFIELD = 5,
    MSG_REQUEST = 6,
    MSG_PIECE = 7,
    MSG_CANCEL = 8,
    MSG_PORT = 9,
    MSG_SUGGEST = 13,
    MSG_HAVE_ALL = 14,
    MSG_HAVE_NONE = 15,
    MSG_REJECT = 16,
    MSG_ALLOWED_FAST = 17,
    MSG_EXTENDED = 20,
    MSG_HASH_REQUEST = 21,
    MSG_HASHES = 22,
    MSG_HASH_REJECT = 23
};

#define REQUEST_LEN_MAX   (128u * 1024u) /* ours: BEP 3's peers close above 2^14, we above 2^17 */
#define WIRE_N_PIECES_MAX 0x200000u      /* ours: as libtorrent; bounds a bitfield */
#define BITFIELD_LEN_MAX  (WIRE_N_PIECES_MAX / 8u)
#define EXTENDED_LEN_MAX  (128u * 1024u) /* ours: id byte and payload; BEP 9 needs 17 KiB */
#define PIECE_HEAD_LEN    13u            /* prefix, id, index, begin */
#define PEER_MSG_LEN_MAX  64u            /* any message of ours without its variable part */

struct wire_block { /* request, cancel, reject; and the head of piece */
    uint32_t piece, begin, len;
};

/* A message other than piece, decoded. Which member holds follows from id. */
struct wire_msg {
    uint8_t id; /* enum msg_id */
    union {
        uint32_t piece;          /* have, suggest, allowed fast */
        struct wire_block block; /* request, cancel, reject */
        struct bytes bitfield;   /* length and spare bits are the reader's to check (bitset_read) */
        uint16_t port;
        struct {
            uint8_t id; /* 0: handshake; else one of the ids that we handed out */
            struct bytes payload;
        } extended;
        struct {
            struct merkle_request ref; /* BEP 52: hash request, hashes, hash reject */
            struct bytes list; /* hashes: whole SHA-256 values, base layer first; else empty */
        } hashes;
    };
};

bool merkle_request_equal(const struct merkle_request *a, const struct merkle_request *b);

/* True for the ids that this codec knows, piece included. */
bool peer_msg_is_known(uint8_t id);
/* The shortest and longest a message may be, id byte included; piece: with its block. */
uint32_t peer_msg_len_min(uint8_t id);
uint32_t peer_msg_len_max(uint8_t id);
/* `in` is the id byte and all that follows: exactly one message, not piece. */
enum err_code peer_msg_read(struct bytes in, struct wire_msg *out, struct err *err) MUST_USE;

/* Each writes one whole message, length prefix included. */
void peer_msg_write_keep_alive(struct writer *w);
/* choke, unchoke, interested, not interested, have all, have none */
void peer_msg_write_plain(struct writer *w, enum msg_id id);
/* have, suggest, allowed fast */
void peer_msg_write_piece_index(struct writer *w, enum msg_id id, uint32_t piece);
/* request, cancel, reject */
void peer_msg_write_block(struct writer *w, enum msg_id id, const struct wire_block *b);
void peer_msg_write_bitfield(struct writer *w, struct bytes bits); /* 5 bytes more than bits */
/* The PIECE_HEAD_LEN bytes before the block's own, which are sent after. */
void peer_msg_write_piece_head(struct writer *w, const struct wire_block *b);
void peer_msg_write_port(struct writer *w, uint16_t port);
/* 6 bytes more than payload */
void peer_msg_write_extended(struct writer *w, uint8_t ext_id, struct bytes payload);
/* The 6 bytes before a payload of payload_len that follows in pieces. */
void peer_msg_write_extended_head(struct writer *w, uint8_t ext_id, size_t payload_len);
void peer_msg_write_hash_request(struct writer *w, const struct merkle_request *r);
void peer_msg_write_hash_reject(struct writer *w, const struct merkle_request *r);
/* 53 bytes more than list */
void peer_msg_write_hashes(struct writer *w, const struct merkle_request *r, struct bytes list);
