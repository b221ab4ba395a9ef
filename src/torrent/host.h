/* host: what the BitTorrent engine may ask of the world. io/ and sim/ implement it.
 *
 * A call records or starts something and returns; it never calls back into the engine. What comes
 * of it arrives later as an input of session.h. Jobs carry a number that the engine chose; each
 * job is answered exactly once, in any order, by the input named beside the call.
 *
 * Ownership  unless said otherwise, what is passed is borrowed for the duration of the call;
 *            a `struct store_*` request stays the engine's, but is the host's to use from the
 *            call until its answer, buffers included
 * Threads    called on the engine's thread only
 * Errors     arrive with the answer
 */
#pragma once
#include "base/addr.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha.h"

#define BLOCK_LEN 16384u /* BEP 3 by custom, BEP 52 by rule */

struct layout;   /* torrent/layout.h: where the bytes of pieces lie in files */
struct metainfo; /* torrent/metainfo.h */

/* --- storage requests ------------------------------------------------------------------------ */

/* A storage answer of ERR_IO has errno in `got` and in `at` the index of the file in the metainfo,
 * or this where no one file is to blame. */
#define STORE_NO_FILE UINT64_MAX

enum store_alloc { STORE_SPARSE, STORE_FULL };

/* State of one file as the store sees it; compared with resume data at start. */
struct store_file_stat {
    uint64_t len;      /* bytes on disk; 0 when absent */
    uint64_t mtime_ns; /* since 1970; 0 when absent */
    bool exists;
};

struct store_open {
    uint32_t torrent;
    const struct metainfo *info; /* outlives the storage */
    const char *dir;             /* folder that holds the torrent's top name */
    enum store_alloc alloc;
    bool is_read_only;             /* a seed's data: nothing is created or changed */
    struct store_file_stat *files; /* out: one per file of the metainfo, in its order */
};

/* Hash a run of consecutive blocks of one piece, then write it. The run continues v1 where the
 * run before it ended; at most one such request per piece is under way. */
struct store_put {
    uint32_t torrent, piece;
    uint32_t begin, len;          /* bytes of the piece; begin is a multiple of BLOCK_LEN */
    const uint8_t *const *blocks; /* div_ceil(len, BLOCK_LEN) pointers, the last may be short */
    struct sha1_state *v1;        /* updated with the run; NULL where v1 does not matter */
    uint32_t v1_zeros;            /* zero bytes (pad files) to hash after the run, with v1_last */
    bool v1_last;                 /* the run ends the piece: finish v1, compare with v1_want */
    uint8_t v1_want[SHA1_LEN];
    uint8_t (
        *v2_leaves)[SHA256_LEN]; /* out: SHA-256 of each block; NULL where v2 does not matter */
    const uint8_t (*v2_want)[SHA256_LEN]; /* leaves known to be right, or NULL: not known yet */
    bool is_hash_only;                    /* do not write */
    bool is_bad; /* out: v1 or a known leaf differs; nothing was written, v2_leaves are filled */
    bool is_written; /* out */
};

/* Read one piece of the data on disk and hash it (recheck). A piece that cannot be read because
 * a file is short or absent is answered ERR_OK with is_missing. */
struct store_check {
    uint32_t torrent, piece;
    bool want_v1;
    uint8_t v1_digest[SHA1_LEN];      /* out */
    uint8_t (*v2_leaves)[SHA256_LEN]; /* out: one per block; NULL where v2 does not matter */
    bool is_missing;                  /* out */
};

struct store_read {
    uint32_t torrent, piece, begin, len;
    uint8_t *out;
};

/* --- fetching -------------------------------------------------------------------------------- */

struct fetch {
    const char *url; /* http or https */
    const char *user_agent;
    size_t body_len_max;            /* after decompression; more is ERR_LIMIT */
    uint32_t timeout_ms;            /* for the whole of it */
    uint64_t range_from, range_len; /* range_len 0: no Range header */
    uint8_t ip_family;              /* ADDR_NONE: any; ADDR_V4 or ADDR_V6: only that */
    bool is_tracker; /* a tracker that a stranger named (a torrent, a link, a peer): on this machine
                      * and in its networks only what looks like a tracker may be asked */
};

/* --- the table ------------------------------------------------------------------------------- */

enum torrent_socket { SOCKET_TCP = 0 }; /* uTP joins here */

struct torrent_host {
    void *ctx;

    /* Connections. Answers: session_on_connected, then session_on_room; session_on_closed. */
    void (*connect)(void *ctx, uint32_t conn, const struct addr *to);
    /* Bytes are copied or written before return; counts against the room announced. */
    void (*send)(void *ctx, uint32_t conn, struct bytes b);
    /* head, then len bytes of the torrent's data straight from storage, pad bytes as zeros. Counts
     * head.len + len against the room. If storage fails: session_on_store_error, and the
     * connection is closed by the host. An idle connection must announce room for the longest
     * request and its head (128 KiB and 13 bytes). */
    void (*send_block)(void *ctx, uint32_t conn, struct bytes head, uint32_t torrent,
                       uint32_t piece, uint32_t begin, uint32_t len);
    /* Ask for reads again after session_lend gave nothing. */
    void (*want_read)(void *ctx, uint32_t conn);
    /* What was sent is still flushed, for at most a few seconds. No input for conn comes after. */
    void (*close)(void *ctx, uint32_t conn);

    /* Datagrams (UDP trackers). Best effort. Input: session_on_datagram. */
    void (*datagram)(void *ctx, const struct addr *to, struct bytes b);

    /* Answers: session_on_resolved, session_on_fetched. */
    void (*resolve)(void *ctx, uint64_t job, const char *name, uint16_t port);
    void (*fetch)(void *ctx, uint64_t job, const struct fetch *request);

    /* Storage. Answer: session_on_done. Requests of one torrent may overtake each other, except
     * that store_sync covers every store_put answered before it was asked, and store_close
     * comes after all that was asked before it. */
    void (*store_open)(void *ctx, uint64_t job, struct store_open *request);
    void (*store_put)(void *ctx, uint64_t job, struct store_put *request);
    void (*store_check)(void *ctx, uint64_t job, struct store_check *request);
    void (*store_read)(void *ctx, uint64_t job, struct store_read *request);
    void (*store_sync)(void *ctx, uint64_t job, uint32_t torrent);
    /* Fresh sizes and times, one per file, for resume data. */
    void (*store_stat)(void *ctx, uint64_t job, uint32_t torrent,
                       struct store_file_stat *out_files);
    void (*store_close)(void *ctx, uint64_t job, uint32_t torrent);

    /* Resume data of the torrent with this key (its info-hash), replaced atomically. The bytes are
     * copied. is_final: also synced to disk before the answer. Answer: session_on_done. */
    void (*resume_save)(void *ctx, uint64_t job, struct bytes key, struct bytes resume,
                        bool is_final);
};
