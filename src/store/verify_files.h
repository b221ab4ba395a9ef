/* verify_files: compares the data on disk with a torrent, piece by piece.
 *
 * A piece is good when every hash known for it matches: SHA-1 in v1, the piece layer in v2, both in
 * a hybrid. A v2 file whose piece layer is not known is compared as a whole, with its root.
 *
 * Ownership  results are good until verify_files_clear
 * Threads    blocks its caller; hashes with threads of its own (hash_files.h)
 * Errors     as hash_files_run; bad data is a result, not an error
 */
#pragma once
#include "store/hash_files.h"

enum verify_state { VERIFY_GOOD, VERIFY_BAD, VERIFY_MISSING };

struct verify_files {
    struct hash_files hash;    /* the caller sets info, top, mem, and what else he likes */
    uint8_t *pieces;           /* n_pieces enum verify_state */
    uint32_t n_bad, n_missing; /* pieces */
    uint32_t n_bad_files;
    uint8_t *is_bad_file; /* n_files; a piece of it is not good, or it is not as it should be */
};

enum err_code verify_files_run(struct verify_files *v, struct err *err) MUST_USE;
void verify_files_clear(struct verify_files *v);
/* How many pieces of the file are not good; its first and last piece. False: it has none. */
bool verify_files_count(const struct verify_files *v, uint32_t file, uint32_t *out_n_bad);
