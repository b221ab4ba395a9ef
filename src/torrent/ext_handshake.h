/* ext_handshake: the handshake of the extension protocol (BEP 10), with the keys of BEP 9
 * (metadata_size), BEP 21 (upload_only) and BEP 54 (lt_donthave, whose one message is here too).
 *
 * A peer may send the handshake again: keys that are absent keep what was said before; a name in
 * m that maps to 0 is switched off.
 *
 * Ownership  struct ext_peer is a plain value; nothing borrows the input
 * Threads    pure functions
 * Errors     ERR_MALFORMED: not a bencoded dictionary; then *peer is unchanged. A key of the wrong
 *            type or out of range is ignored and counted in n_ignored. Unknown keys are not counted
 */
#pragma once
#include "base/addr.h"

enum ext_kind { EXT_METADATA, EXT_PEX, EXT_DONTHAVE, EXT_KIND_COUNT };
#define EXT_ID_HANDSHAKE 0u
/* The ids that we hand out: what a peer puts into an extended message to us. */
#define EXT_OUR_ID(kind) ((uint8_t)((kind) + 1u))

#define EXT_VERSION_LEN_MAX   64u         /* ours: a longer v is cut */
#define EXT_REQQ_DEFAULT      250u        /* BEP 10: libtorrent's default */
#define EXT_REQQ_MAX          65535u      /* ours: more is taken as this */
#define EXT_HANDSHAKE_LEN_MAX 512u        /* of ours */
#define METADATA_LEN_MAX      (10u << 20) /* ours: as for .torrent files */

struct ext_peer {                         /* what the far side has told */
    uint8_t ids[EXT_KIND_COUNT];          /* put into messages to them; 0: not supported */
    uint8_t version[EXT_VERSION_LEN_MAX]; /* v, as sent: escape before showing */
    uint8_t version_len;
    uint16_t port; /* p; 0: not told */
    uint32_t reqq;
    uint64_t metadata_size; /* 0: not told, or beyond METADATA_LEN_MAX */
    bool is_upload_only;
    bool has_complete_ago; /* complete_ago: seconds since it became a seed (libtorrent) */
    uint32_t complete_ago_s;
    struct addr yourip, ipv4, ipv6; /* family ADDR_NONE: not told; ports are 0 */
    uint32_t n_read;                /* handshakes taken */
    uint32_t n_ignored;             /* known keys with unusable values */
};

struct ext_ours {
    bool kinds[EXT_KIND_COUNT];
    const char *version;    /* NULL: none */
    uint16_t port;          /* 0: none */
    uint32_t reqq;          /* 0: none */
    uint64_t metadata_size; /* 0: none */
    bool is_upload_only;
    const struct addr *yourip; /* NULL: none */
};

void ext_peer_init(struct ext_peer *peer);
/* payload: what follows the id byte of the extended message. */
enum err_code ext_handshake_read(struct bytes payload, struct ext_peer *peer,
                                 struct err *err) MUST_USE;
/* The payload alone (peer_msg_write_extended adds the head); fits EXT_HANDSHAKE_LEN_MAX as long as
 * version has at most EXT_VERSION_LEN_MAX bytes. */
void ext_handshake_write(struct writer *w, const struct ext_ours *ours);
/* The kind whose id we handed out; EXT_KIND_COUNT when it is none of ours. */
enum ext_kind ext_kind_of_id(uint8_t id);

/* BEP 54: the payload of lt_donthave, a piece index. */
enum err_code donthave_read(struct bytes payload, uint32_t *out_piece, struct err *err) MUST_USE;
void donthave_write(struct writer *w, uint32_t piece);
