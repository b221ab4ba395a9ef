/* metainfo_names: tells equal paths of one torrent apart and settles where its symlinks point.
 *
 * Works on the cleaned paths of a file list ('/' between elements, no element empty, "." or ".."):
 * a file whose path is taken, by an earlier file or by a folder, becomes "name.1.ext" (then .2 …);
 * a symlink whose target is not in the torrent, or leads round in a circle, becomes an empty file.
 * Pad files have no place on disk and are left alone.
 *
 * Ownership  new names go to the arena; scratch memory comes from mem and is given back
 * Threads    one call, one owner
 * Errors     ERR_LIMIT (more than METAINFO_N_COLLISIONS_MAX names were taken), ERR_NO_MEMORY
 * Cost       linear in the elements of all paths, plus a bounded number of renames
 */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "torrent/metainfo.h"

enum err_code metainfo_resolve_names(struct metainfo_file *files, uint32_t n_files,
                                     struct arena *arena, struct mem *mem, struct map_seed seed,
                                     struct err *err) MUST_USE;
