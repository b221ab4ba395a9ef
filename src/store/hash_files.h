/* hash_files: hashes all data of a torrent from disk, with all cores, v1 and v2 in one pass.
 *
 * Threads take runs of pieces in order, read them in long calls and hash several side by side
 * (crypto/sha_lanes.h); nothing is mapped. A piece that cannot be read whole (a file is absent,
 * short or fails) is marked, not an error.
 *
 * Ownership  metainfo and top are borrowed; results belong to the struct until hash_files_clear
 * Threads    hash_files_run blocks its caller and starts n_threads of its own; only is_cancelled may
 *            be touched from elsewhere (or a signal handler) meanwhile
 * Errors     ERR_NO_MEMORY, ERR_CANCELLED, ERR_IO (no thread could be started)
 */
#pragma once
#include "base/mem.h"
#include "torrent/metainfo.h"
#include <stdatomic.h>

enum hash_file_state {
    HASH_FILE_OK, /* there, with the right length */
    HASH_FILE_ABSENT,
    HASH_FILE_WRONG_LEN,  /* `len` is what it has */
    HASH_FILE_WRONG_KIND, /* not a regular file; a link that is none or points elsewhere */
    HASH_FILE_FAILED      /* `err_no`: could not be opened or read */
};

struct hash_file {
    _Atomic uint8_t state; /* enum hash_file_state */
    _Atomic int err_no;
    uint64_t len; /* on disk */
};

struct hash_files {
    const struct metainfo *info;
    const char *top; /* on disk: the file itself, or the folder that is the torrent's top */
    struct mem *mem;
    unsigned n_threads; /* 0: one per core */
    bool want_v1, want_v2;
    /* Called now and then by the thread in hash_files_run; may be NULL. */
    void (*progress)(void *ctx, uint64_t done_len, uint64_t total_len);
    void *ctx;
    atomic_bool is_cancelled;

    uint8_t *v1; /* n_pieces * 20, if wanted */
    uint8_t *v2; /* n_pieces * 32, if wanted: what merkle_piece_root gives; zeros for pad pieces */
    uint8_t *is_missing;     /* n_pieces; such a piece has no hashes */
    struct hash_file *files; /* one per file of the torrent */
};

/* The caller sets the first seven fields, all others zero. */
enum err_code hash_files_run(struct hash_files *h, struct err *err) MUST_USE;
void hash_files_clear(struct hash_files *h);
/* On disk: top + the part of the file's path below the torrent's top name. False: too long. */
bool hash_files_path(const struct hash_files *h, uint32_t file, char *out, size_t out_cap);
unsigned hash_files_n_cores(void);
