/* make_torrent: from a path on disk to the bytes of its .torrent file: walk, plan, hash, write.
 *
 * v1 alone follows symlinks and sorts whole paths, so that its info dictionary is what mktorrent
 * makes of the same tree; v2 and hybrid keep symlinks (BEP 47) and sort as the file tree does.
 *
 * Ownership  everything in the request is borrowed; results are good until make_torrent_clear
 * Threads    blocks its caller; hashes with threads of its own (hash_files.h)
 * Errors     as tree_walk, metainfo_plan, hash_files, metainfo_build; bad_path names the file
 */
#pragma once
#include "store/tree_walk.h"
#include <limits.h>
#include <stdatomic.h>

struct make_torrent {
    /* the request */
    const char *path;
    const char *name; /* NULL: the last element of the path */
    bool has_v1, has_v2;
    uint32_t piece_len; /* 0: chosen by size */
    unsigned n_threads; /* 0: one per core */
    struct build_options options;
    void (*progress)(void *ctx, uint64_t done_len, uint64_t total_len); /* may be NULL */
    void *ctx;
    atomic_bool is_cancelled; /* may be set from a signal handler */

    /* what came of it */
    struct tree tree;        /* what was left out: n_special, n_bad_links */
    char bad_path[PATH_MAX]; /* after a failure: the file it is about; "" if none */
    struct metainfo *info;   /* the result, read back as others will read it */
};

/* out gets the bytes of the .torrent file. */
enum err_code make_torrent(struct make_torrent *t, struct mem *mem, struct buf *out,
                           struct err *err) MUST_USE;
void make_torrent_clear(struct make_torrent *t);
