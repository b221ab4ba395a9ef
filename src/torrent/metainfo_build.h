/* metainfo_build: makes the bytes of a .torrent file: v1, v2 or hybrid (BEP 3, 12, 19, 27, 47, 52).
 *
 * Two steps, with the hashing of the data between them: metainfo_plan lays the files out (pad files
 * included) as a struct metainfo that has no hashes yet; metainfo_build writes it with the hashes
 * of its pieces. The same plan, hashes and options always give the same bytes.
 *
 * Ownership  plan: metainfo_free. Everything passed in is borrowed for the call
 * Threads    one call, one owner
 * Errors     ERR_LIMIT (too many pieces or bytes), ERR_MALFORMED (a name or size that no torrent can
 *            carry; `at` is the file), ERR_NO_MEMORY
 */
#pragma once
#include "torrent/metainfo.h"

struct build_file {
    const char *path;    /* below the torrent's folder, '/' between elements; unused when single */
    const char *symlink; /* what it points at, in the same terms; NULL: not a link */
    uint64_t len;
    uint8_t flags; /* FILE_EXEC, FILE_HIDDEN, FILE_SYMLINK */
};

struct build_plan {
    const char *name;
    const struct build_file *files; /* in the order they shall have; see tree_walk.h */
    uint32_t n_files;
    bool is_multi_file, has_v1, has_v2;
    uint32_t piece_len;
};

/* A power of two from 16 KiB to 16 MiB that makes up to about two thousand pieces. */
uint32_t metainfo_choose_piece_len(uint64_t total_len);

/* Pad files follow every file but the last in a hybrid that has several. */
enum err_code metainfo_plan(struct metainfo **out, const struct build_plan *p, struct mem *mem,
                            struct err *err) MUST_USE;

struct build_tracker {
    const char *url;
    uint32_t tier; /* never decreasing */
};

struct build_options {
    const struct build_tracker *trackers;
    const char *const *webseeds;
    uint32_t n_trackers, n_webseeds;
    const char *comment, *created_by, *source; /* NULL: left out */
    bool is_private, has_creation_date;
    int64_t creation_date;
};

/* v1: n_pieces SHA-1 digests; v2: n_pieces piece hashes (merkle_piece_root), both by piece of the
 * plan; NULL where the plan does not have that version. Fails if the result would be longer than
 * what metainfo_read accepts. */
enum err_code metainfo_build(const struct metainfo *plan, const uint8_t *v1, const uint8_t *v2,
                             const struct build_options *options, struct buf *out,
                             struct err *err) MUST_USE;
