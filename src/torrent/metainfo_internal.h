/* metainfo_internal: the parts that metainfo_read is put together from.
 *
 * Each fills its fields of a struct metainfo under construction; on failure the caller frees it.
 * Views taken from the parsed document point into the input; metainfo_keep moves them into m.
 */
#pragma once
#include "torrent/bencode.h"
#include "torrent/metainfo.h"

/* A file list under construction, and whose arena its strings live in. */
struct file_list {
    struct metainfo_file *files;
    uint32_t n, cap;
    struct arena *arena;
};

/* Where an info dictionary is read from and to. */
struct info_reader {
    struct metainfo *m;
    struct mem *mem;
    struct bencode_value info;
    struct metainfo_limits limits;
    struct err *err;
    struct arena scratch; /* ends with the read */
};

/* "input" view -> the same bytes in m's own copy of the info dictionary. */
const uint8_t *metainfo_keep(const struct info_reader *r, struct bytes in_info);
/* Failure at a value: its offset goes into the note. */
enum err_code metainfo_fail(const struct info_reader *r, struct bencode_value at,
                            enum err_code code, const char *what);

/* metainfo_files.c: the file lists of v1 and v2, and their agreement. Sets name, files, n_files,
 * is_multi_file, offsets, v1_pieces, n_pieces, layout. */
enum err_code metainfo_read_files(struct info_reader *r) MUST_USE;
/* "piece layers" of the top dictionary; an absent one is fine. */
enum err_code metainfo_read_layers(struct info_reader *r, struct bencode_value layers) MUST_USE;
/* Sets first_piece, n_layer, pad_from, layout; offsets and lengths are there. */
void metainfo_finish_files(struct metainfo *m);

/* metainfo_extra.c: trackers, seeds, nodes, BEP 38, texts. What is odd is dropped, not refused. */
enum err_code metainfo_read_extra(struct info_reader *r, struct bencode_value top) MUST_USE;
enum err_code metainfo_read_info_extra(struct info_reader *r) MUST_USE;
/* A terminated copy with what is not UTF-8 replaced; NULL for no memory. */
const char *metainfo_text(struct arena *arena, struct bytes text);
