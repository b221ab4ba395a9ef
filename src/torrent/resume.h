/* resume: what a torrent remembers between runs, as one checked blob.
 *
 * A bencoded dictionary and the SHA-1 of it. It claims: `synced` pieces were verified and then
 * synced to disk; `unsynced` ones were being written, or written but not synced. After a clean
 * stop `files` says how each file looked; after an unclean one it is empty.
 *
 * Ownership  views in struct resume borrow the input
 * Threads    pure functions
 * Errors     ERR_TRUNCATED, ERR_MALFORMED (checksum, fields), ERR_UNSUPPORTED (version)
 */
#pragma once
#include "base/buf.h"
#include "crypto/sha.h"
#include "torrent/host.h"

#define RESUME_VERSION   1u
#define RESUME_LEN_MAX   (32u << 20) /* ours: a .torrent file, bits and a million files */
#define RESUME_FILE_LEN  17u         /* exists, length, mtime */
#define RESUME_PEERS_MAX 200u        /* ours: kept for the next start */

struct resume {
    uint8_t key[SHA1_LEN];
    bool is_clean;
    uint32_t n_pieces; /* 0: metadata was not known */
    uint64_t down_total, up_total, wasted_total, bad_total, seeded_us;
    struct bytes synced, unsynced; /* bits, wire form; both div_ceil(n_pieces, 8) long */
    struct bytes files;            /* RESUME_FILE_LEN each; may be empty */
    struct bytes peers4, peers6;   /* compact */
    struct bytes torrent;          /* a .torrent file, when the metadata came from peers */
    struct bytes partials;         /* pieces of which some blocks are written; see below */
};

enum err_code resume_read(struct resume *out, struct bytes in, struct err *err) MUST_USE;
void resume_write(struct buf *out, const struct resume *r);

/* Partial pieces: a piece, how many blocks it has, and a bit for each that was written. Nobody has
 * hashed them: the whole piece is read back once it is complete. */
struct resume_partial {
    uint32_t piece, n_blocks;
    struct bytes bits; /* wire form */
};
void resume_write_partial(struct buf *out, const struct resume_partial *p);
/* Walk: start with reader_init(r->partials); false at the end or where it makes no sense. */
bool resume_next_partial(struct reader *r, struct resume_partial *out);

void resume_write_file(uint8_t out[RESUME_FILE_LEN], const struct store_file_stat *f);
/* index < files.len / RESUME_FILE_LEN */
struct store_file_stat resume_file(const struct resume *r, size_t index);
