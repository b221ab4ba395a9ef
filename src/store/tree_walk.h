/* tree_walk: what is on disk below a path, as a list of files for a torrent.
 *
 * Regular files with their sizes, whether they may be executed, and symlinks that stay inside (or,
 * with follow_links, what links lead to). Folders without files leave no trace; sockets, devices
 * and pipes, and links that lead outside or nowhere, are left out and counted.
 *
 * Ownership  the tree owns its entries and strings until tree_clear
 * Threads    one call, one owner
 * Errors     ERR_IO (got: errno), ERR_LIMIT (files, depth), ERR_NO_MEMORY; bad_path says where
 */
#pragma once
#include "base/arena.h"
#include "torrent/metainfo_build.h"

enum tree_order {
    TREE_BY_PATH, /* whole paths as bytes, '/' among them: mktorrent's order */
    TREE_BY_LEVEL /* name by name, as the dictionaries of a v2 file tree (BEP 52) */
};

struct tree_options {
    enum tree_order order;
    bool follow_links; /* as mktorrent; a link to a folder above itself is still left out */
};

struct tree {
    struct arena arena;
    struct mem *mem;
    struct build_file *files; /* paths below the top; one file with path "" if the top is a file */
    uint32_t n_files, n_files_cap;
    bool is_dir;
    uint64_t total_len;
    uint32_t n_special, n_bad_links; /* left out */
    char *name;                      /* last element of the top's real path */
    char *top;                       /* real path of the top */
    const char *bad_path;            /* after a failure: where; NULL if nowhere in particular */
};

enum err_code tree_walk(struct tree *t, const char *path, const struct tree_options *options,
                        struct mem *mem, struct err *err) MUST_USE;
void tree_clear(struct tree *t);
