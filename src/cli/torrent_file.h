/* torrent_file: what the subcommands about .torrent files share.
 *
 * Errors     reported on stderr in one line before false is returned
 */
#pragma once
#include "base/buf.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"

#define TORRENT_FILE_LEN_MAX (10u * 1024u * 1024u)

/* path "-": standard input. metainfo_free(*out). */
bool torrent_file_read(const char *path, struct mem *mem, struct metainfo **out);
/* Replaces the file at once or not at all; "-": standard output. */
bool torrent_file_write(const char *path, struct bytes content);
const char *torrent_version(bool has_v1, bool has_v2); /* "v1", "v2", "hybrid" */
/* Text of strangers for a terminal: control characters become '?'. */
void torrent_print_text(FILE *f, const char *text);
